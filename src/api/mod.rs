//! The reception window: HTTP. One resource a file; each handler translates, asks, and translates back.

pub mod alert;
pub mod auth;
pub mod correct;
pub mod entry;
pub mod extract;
pub mod grant;
pub mod health;
pub mod io;
pub mod leg;
pub mod meeting;
pub mod money;
pub mod openapi;
pub mod privacy;
pub mod problem;
pub mod rates;
pub mod report;
pub mod revoke;
pub mod trail;

use crate::notice::Gate;
use crate::rating::report::Masking;
use crate::store::Store;
use crate::switchboard::io::Handle;
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
    /// Where hooks may lead.
    pub gate: Gate,
    pub token: auth::Token,
    /// How much of outside parties' numbers reports show.
    pub masking: Masking,
    pub retention: privacy::Retention,
    /// `None` where nothing collects metrics (several nodes in one test process).
    pub metrics: Option<PrometheusHandle>,
}

/// One page: what a method on a path does.
struct Page {
    /// For whoever compares the pages with the document.
    #[cfg_attr(not(test), expect(dead_code))]
    method: &'static str,
    path: &'static str,
    answer: MethodRouter<Reception>,
}

/// Pages as a table: the method that is listed is the one that is served.
macro_rules! pages {
    ($($method:ident $path:literal => $answer:path $(, at most $bytes:expr)?;)*) => {
        vec![$(Page {
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
        get "/legs" => leg::list;
        post "/legs" => leg::dial;
        get "/legs/{leg}" => leg::show;
        delete "/legs/{leg}" => leg::remove;
        post "/legs/{leg}/mute" => leg::mute;
        get "/meetings" => meeting::list;
        delete "/meetings/{meeting}" => meeting::end;
        post "/meetings/{meeting}/lock" => meeting::lock;
        post "/meetings/{meeting}/record" => meeting::record;
        post "/meetings/{meeting}/admit" => meeting::admit;
        post "/apply" => money::apply, at most LARGEST_FILE;
        get "/usage" => money::usage;
        get "/usage/{leg}" => correct::usage;
        post "/usage/{leg}/refund" => correct::refund;
        post "/rerate" => correct::rerate;
        get "/corrections" => correct::corrections;
        get "/quote" => money::quote;
        get "/audit" => money::audit;
        get "/margins" => rates::margin;
        get "/trail" => trail::list;
        get "/rates" => rates::lists;
        get "/rates/{list}" => rates::deck;
        get "/organisations" => entry::list::<entry::Organisation>;
        get "/organisations/{organisation}" => entry::show::<entry::Organisation>;
        put "/organisations/{organisation}" => entry::put::<entry::Organisation>;
        patch "/organisations/{organisation}" => entry::patch::<entry::Organisation>;
        delete "/organisations/{organisation}" => entry::remove::<entry::Organisation>;
        get "/organisations/{organisation}/users" => entry::list::<entry::User>;
        get "/organisations/{organisation}/users/{user}" => entry::show::<entry::User>;
        put "/organisations/{organisation}/users/{user}" => entry::put::<entry::User>;
        patch "/organisations/{organisation}/users/{user}" => entry::patch::<entry::User>;
        delete "/organisations/{organisation}/users/{user}" => entry::remove::<entry::User>;
        get "/organisations/{organisation}/meetings" => entry::list::<entry::Meeting>;
        get "/organisations/{organisation}/meetings/{meeting}" => entry::show::<entry::Meeting>;
        put "/organisations/{organisation}/meetings/{meeting}" => entry::put::<entry::Meeting>;
        patch "/organisations/{organisation}/meetings/{meeting}" => entry::patch::<entry::Meeting>;
        delete "/organisations/{organisation}/meetings/{meeting}" => entry::remove::<entry::Meeting>;
        get "/organisations/{organisation}/numbers" => entry::list::<entry::Number>;
        get "/numbers" => entry::list::<entry::Number>;
        get "/numbers/{number}" => entry::show::<entry::Number>;
        put "/numbers/{number}" => entry::put::<entry::Number>;
        patch "/numbers/{number}" => entry::patch::<entry::Number>;
        delete "/numbers/{number}" => entry::remove::<entry::Number>;
        get "/carriers" => entry::list::<entry::Carrier>;
        get "/carriers/{carrier}" => entry::show::<entry::Carrier>;
        put "/carriers/{carrier}" => entry::put::<entry::Carrier>;
        patch "/carriers/{carrier}" => entry::patch::<entry::Carrier>;
        delete "/carriers/{carrier}" => entry::remove::<entry::Carrier>;
        get "/organisations/{organisation}/balance" => money::balance;
        get "/organisations/{organisation}/as-of" => money::balance_as_of;
        post "/organisations/{organisation}/credits" => money::credits;
        post "/organisations/{organisation}/revoke" => revoke::revoke;
        get "/organisations/{organisation}/grants" => grant::of_organisation;
        post "/organisations/{organisation}/grants" => grant::add;
        post "/organisations/{organisation}/grants/{grant}/end" => grant::end;
        get "/organisations/{organisation}/reports/{report}" => report::of_one;
        get "/organisations/{organisation}/statements/{month}" => report::statement;
        get "/reports/{report}" => report::of_all;
        post "/retention" => privacy::retain;
        post "/forget" => privacy::forget;
        post "/carriers/{carrier}/reconcile" => report::reconcile, at most LARGEST_FILE;
        get "/alerts" => alert::list;
        post "/organisations/{organisation}/alerts/test" => alert::test;
    }
}

fn open_pages() -> Vec<Page> {
    pages! {
        get "/api/openapi.json" => openapi::show;
        get "/health/live" => health::live;
        get "/health/ready" => health::ready;
        get "/metrics" => health::metrics;
    }
}

fn bound(pages: Vec<Page>) -> Router<Reception> {
    pages.into_iter().fold(Router::new(), |router, page| router.route(page.path, page.answer))
}

/// All pages. Those below `/api/v1` want the bearer token; health does not.
pub fn router(reception: Reception) -> Router {
    let v1 = bound(v1_pages())
        .route_layer(middleware::from_fn_with_state(reception.clone(), auth::bearer))
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(LARGEST_ORDER));
    bound(open_pages())
        .nest(V1, v1)
        .method_not_allowed_fallback(problem::no_such_method)
        .fallback(problem::no_such_page)
        .with_state(reception)
}
