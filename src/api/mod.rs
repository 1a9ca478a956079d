//! The reception window: HTTP. One resource a file; each handler translates, asks, and translates back.

pub mod alert;
pub mod auth;
pub mod correct;
pub mod entry;
pub mod extract;
pub mod grant;
pub mod health;
pub mod hot;
pub mod io;
pub mod leg;
pub mod limit;
pub mod meeting;
pub mod money;
pub mod openapi;
pub mod privacy;
pub mod problem;
pub mod rates;
pub mod refusal;
pub mod report;
pub mod revoke;
mod standing;
pub mod token;
pub mod trace;
pub mod trail;

use crate::notice::Gate;
use crate::rating::report::Masking;
use crate::sip::io::Memory;
use crate::store::Store;
use crate::switchboard::io::Handle;
use auth::Need;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{self, MethodRouter};
use metrics_exporter_prometheus::PrometheusHandle;

/// The largest body taken: an `apply` file with a deck of 200,000 rows beside it.
const LARGEST_FILE: usize = 64 << 20;
/// Of any other request: a few names and an amount.
const LARGEST_ORDER: usize = 64 << 10;

/// What every handler may ask.
#[derive(Clone)]
pub struct Reception {
    pub switchboard: Handle,
    pub store: Store,
    /// What was said of calls over SIP.
    pub memory: Memory,
    /// Where hooks may lead.
    pub gate: Gate,
    pub token: auth::Token,
    /// Who was not let in, until the trail tells of it.
    pub refusals: refusal::Refusals,
    /// How much of outside parties' numbers is shown.
    pub masking: Masking,
    pub retention: privacy::Retention,
    /// `None` where nothing collects metrics (several nodes in one test process).
    pub metrics: Option<PrometheusHandle>,
}

/// One page: what a method on a path does.
struct Page {
    /// What it asks of whoever comes.
    need: Need,
    method: &'static str,
    path: &'static str,
    answer: MethodRouter<Reception>,
}

/// Pages as a table: what is needed, and the method that is served.
macro_rules! pages {
    ($($need:ident: $method:ident $path:literal => $answer:path $(, at most $bytes:expr)?;)*) => {
        vec![$(Page {
            need: Need::$need,
            method: stringify!($method),
            path: $path,
            answer: routing::$method($answer)$(.layer(DefaultBodyLimit::max($bytes)))?,
        },)*]
    };
}

/// Before the path of pages that want the bearer token.
const V1: &str = "/api/v1";

fn v1_pages() -> Vec<Page> {
    pages! {
        Known: get "/token" => token::own;
        Read: get "/legs" => leg::list;
        Manage: post "/legs" => leg::dial;
        Read: get "/legs/{leg}" => leg::show;
        Manage: delete "/legs/{leg}" => leg::remove;
        Operate: get "/legs/{leg}/trace" => trace::show;
        Operate: get "/trace" => trace::show_call;
        Manage: post "/legs/{leg}/mute" => leg::mute;
        Manage: post "/legs/{leg}/transfer" => leg::transfer;
        Read: get "/meetings" => meeting::list;
        Manage: delete "/meetings/{meeting}" => meeting::end;
        Manage: post "/meetings/{meeting}/lock" => meeting::lock;
        Manage: post "/meetings/{meeting}/record" => meeting::record;
        Manage: post "/meetings/{meeting}/admit" => meeting::admit;
        Read: get "/organisations/{organisation}/legs" => leg::list;
        Manage: post "/organisations/{organisation}/legs" => leg::dial;
        Read: get "/organisations/{organisation}/legs/{leg}" => leg::show;
        Manage: delete "/organisations/{organisation}/legs/{leg}" => leg::remove;
        Manage: post "/organisations/{organisation}/legs/{leg}/mute" => leg::mute;
        Read: get "/organisations/{organisation}/running" => meeting::list;
        Manage: post "/organisations/{organisation}/meetings/{meeting}/end" => meeting::end;
        Manage: post "/organisations/{organisation}/meetings/{meeting}/lock" => meeting::lock;
        Manage: post "/organisations/{organisation}/meetings/{meeting}/record" => meeting::record;
        Manage: post "/organisations/{organisation}/meetings/{meeting}/admit" => meeting::admit;
        Operate: post "/apply" => money::apply, at most LARGEST_FILE;
        Books: get "/usage" => money::usage;
        Books: get "/usage/{leg}" => correct::usage;
        Pay: post "/usage/{leg}/refund" => correct::refund;
        Pay: post "/rerate" => correct::rerate;
        Books: get "/corrections" => correct::corrections;
        Books: get "/quote" => money::quote;
        Books: get "/audit" => money::audit;
        Operate: get "/margins" => rates::margin;
        Read: get "/trail" => trail::list;
        Operate: get "/rates" => rates::lists;
        Operate: get "/rates/{list}" => rates::deck;
        Read: get "/organisations" => entry::list::<entry::Organisation>;
        Read: get "/organisations/{organisation}" => entry::show::<entry::Organisation>;
        Operate: put "/organisations/{organisation}" => entry::put::<entry::Organisation>;
        Operate: patch "/organisations/{organisation}" => entry::patch::<entry::Organisation>;
        Operate: delete "/organisations/{organisation}" => entry::remove::<entry::Organisation>;
        Read: get "/organisations/{organisation}/users" => entry::list::<entry::User>;
        Read: get "/organisations/{organisation}/users/{user}" => entry::show::<entry::User>;
        Manage: put "/organisations/{organisation}/users/{user}" => entry::put::<entry::User>;
        Manage: patch "/organisations/{organisation}/users/{user}" => entry::patch::<entry::User>;
        Manage: delete "/organisations/{organisation}/users/{user}" => entry::remove::<entry::User>;
        Read: get "/organisations/{organisation}/meetings" => entry::list::<entry::Meeting>;
        Read: get "/organisations/{organisation}/meetings/{meeting}" => entry::show::<entry::Meeting>;
        Manage: put "/organisations/{organisation}/meetings/{meeting}" => entry::put::<entry::Meeting>;
        Manage: patch "/organisations/{organisation}/meetings/{meeting}" => entry::patch::<entry::Meeting>;
        Manage: delete "/organisations/{organisation}/meetings/{meeting}" => entry::remove::<entry::Meeting>;
        Read: get "/organisations/{organisation}/numbers" => entry::list::<entry::Number>;
        Manage: put "/organisations/{organisation}/users/{user}/licences/{licence}" => entry::give;
        Manage: delete "/organisations/{organisation}/users/{user}/licences/{licence}" => entry::take;
        Read: get "/organisations/{organisation}/licences" => entry::licences;
        Read: get "/numbers" => entry::list::<entry::Number>;
        Read: get "/numbers/{number}" => entry::show::<entry::Number>;
        Operate: put "/numbers/{number}" => entry::put::<entry::Number>;
        Operate: patch "/numbers/{number}" => entry::patch::<entry::Number>;
        Operate: delete "/numbers/{number}" => entry::remove::<entry::Number>;
        Read: get "/standings" => standing::list;
        Read: get "/metrics" => health::all_metrics;
        Read: get "/carriers" => entry::list::<entry::Carrier>;
        Read: get "/carriers/{carrier}" => entry::show::<entry::Carrier>;
        Operate: put "/carriers/{carrier}" => entry::put::<entry::Carrier>;
        Operate: patch "/carriers/{carrier}" => entry::patch::<entry::Carrier>;
        Operate: delete "/carriers/{carrier}" => entry::remove::<entry::Carrier>;
        Books: get "/organisations/{organisation}/usage" => money::usage_of_one;
        Books: get "/organisations/{organisation}/usage/{leg}" => correct::usage;
        Books: get "/organisations/{organisation}/corrections" => correct::corrections_of_one;
        Books: get "/organisations/{organisation}/quote" => money::quote_of_one;
        Books: get "/organisations/{organisation}/alerts" => alert::list_of_one;
        Read: get "/organisations/{organisation}/trail" => trail::list_of_one;
        Books: get "/organisations/{organisation}/balance" => money::balance;
        Books: get "/organisations/{organisation}/as-of" => money::balance_as_of;
        Pay: post "/organisations/{organisation}/credits" => money::credits;
        Manage: post "/organisations/{organisation}/revoke" => revoke::revoke;
        Manage: delete "/organisations/{organisation}/lock" => revoke::unlock;
        Books: get "/organisations/{organisation}/grants" => grant::of_organisation;
        Pay: post "/organisations/{organisation}/grants" => grant::add;
        Pay: post "/organisations/{organisation}/grants/{grant}/end" => grant::end;
        Books: get "/organisations/{organisation}/reports/{report}" => report::of_one;
        Books: get "/organisations/{organisation}/statements/{month}" => report::statement;
        Books: get "/reports/{report}" => report::of_all;
        Read: get "/organisations/{organisation}/limits" => limit::pending;
        Operate: post "/organisations/{organisation}/limits/confirm" => limit::confirm;
        Read: get "/carriers/{carrier}/limits" => limit::pending_of_carrier;
        Operate: post "/carriers/{carrier}/limits/confirm" => limit::confirm_of_carrier;
        Operate: get "/hot-list" => hot::lists;
        Operate: get "/hot-list/entries" => hot::entries;
        Operate: post "/hot-list/{list}/import" => hot::import, at most LARGEST_FILE;
        Operate: put "/hot-list/{list}/entries/{prefix}" => hot::add;
        Operate: delete "/hot-list/{list}/entries/{prefix}" => hot::remove;
        Read: get "/blocks" => hot::blocks;
        Read: get "/organisations/{organisation}/blocks" => hot::blocks;
        Operate: post "/organisations/{organisation}/blocks/lift" => hot::lift;
        Operate: get "/tokens" => token::list;
        Operate: post "/tokens" => token::make;
        Operate: delete "/tokens/{token}" => token::revoke;
        Manage: get "/organisations/{organisation}/tokens" => token::list;
        Manage: post "/organisations/{organisation}/tokens" => token::make;
        Manage: delete "/organisations/{organisation}/tokens/{token}" => token::revoke;
        Operate: post "/retention" => privacy::retain;
        Operate: post "/forget" => privacy::forget;
        Operate: post "/carriers/{carrier}/reconcile" => report::reconcile, at most LARGEST_FILE;
        Books: get "/alerts" => alert::list;
        Manage: post "/organisations/{organisation}/alerts/test" => alert::test;
    }
}

fn open_pages() -> Vec<Page> {
    pages! {
        Anyone: get "/api/openapi.json" => openapi::show;
        Anyone: get "/health/live" => health::live;
        Anyone: get "/health/ready" => health::ready;
        Anyone: get "/metrics" => health::metrics;
    }
}

/// Before the path of pages that one organisation's token may open.
const OF_ONE: &str = "/organisations/{organisation}";

/// A page by its method and path, and what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    pub need: Need,
    pub method: &'static str,
    /// Below `/api/v1`; names in braces.
    pub path: &'static str,
}

/// What every page below `/api/v1` needs.
pub fn permissions() -> Vec<Permission> {
    let permission = |page: &Page| Permission { need: page.need, method: page.method, path: page.path };
    v1_pages().iter().map(permission).collect()
}

/// A page that needs something stands behind its own guard.
fn bound(pages: Vec<Page>, reception: &Reception) -> Router<Reception> {
    pages.into_iter().fold(Router::new(), |router, page| {
        let guarded = match page.need {
            Need::Anyone => page.answer,
            need => page.answer.route_layer(middleware::from_fn_with_state((reception.clone(), need), auth::bearer)),
        };
        router.route(page.path, guarded)
    })
}

/// All pages. Those below `/api/v1` want a bearer token; health does not.
pub fn router(reception: Reception) -> Router {
    let v1 = bound(v1_pages(), &reception)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(LARGEST_ORDER));
    bound(open_pages(), &reception)
        .nest(V1, v1)
        .method_not_allowed_fallback(problem::no_such_method)
        .fallback(problem::no_such_page)
        .with_state(reception)
}
