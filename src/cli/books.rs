//! The books, wherever they are: held by a running bridge, and then asked through it, or opened here. Both give the
//! same answer, since both ask the functions of `api::money`.

use super::bridge::{Bridge, Pace};
use super::{Context, Failure};
use crate::api::alert::{self, AlertsQuery};
use crate::api::correct::{self, CorrectionsQuery, RefundOrder, RerateOrder};
use crate::api::entry::{self, EntriesQuery, Shelf, Spot, TermOrder};
use crate::api::grant::{self, GrantOrder, GrantsQuery};
use crate::api::hot::{self, HotFile, HotNote, HotQuery, LiftOrder};
use crate::api::limit::{self, ConfirmOrder};
use crate::api::money::{self, AsOfQuery, CreditsOrder, File, QuoteQuery, UsageQuery};
use crate::api::privacy::{self, ForgetOrder, Retention, RetentionOrder};
use crate::api::problem::Problem;
use crate::api::rates::{self, MarginQuery};
use crate::api::report::{self, CarrierFile, ReportQuery};
use crate::api::revoke::{self, LockQuery};
use crate::api::token::{self, TokenOrder};
use crate::api::trail::{self, TrailQuery};
use crate::clock;
use crate::rating::Deck;
use crate::rating::report::{Masking, Period};
use crate::store::{ChangeStep, EntryKind, Facts, LimitsOf, OpenError, Store, TrailDoor, Who, file_of};
use crate::trunk::HotKey;
use crate::types::OrganisationId;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A bridge that starts or stops, or another command, holds the store for a moment without answering.
const PATIENCE: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(50);
/// How often the sign of long work moves.
const SPIN: Duration = Duration::from_millis(120);

pub(super) enum Books {
    Here(Store),
    There(Bridge),
}

impl Books {
    /// The books of these settings, which must be there already.
    pub async fn find(context: &Context) -> Result<Books, Failure> {
        match missing(context) {
            None => Books::find_or_make(context).await,
            Some(missing) => elsewhere(context).map(Books::There).ok_or(missing),
        }
    }

    pub async fn find_or_make(context: &Context) -> Result<Books, Failure> {
        let open = async || Store::open(&context.settings.store_url, context.settings.store_options()).await;
        Ok(match here_or_there(context, open).await? {
            Ok(store) => Books::Here(store.by(who())),
            Err(bridge) => Books::There(bridge),
        })
    }

    /// Hooks that the file names are held against the settings of whoever holds the books.
    pub async fn apply(&self, context: &Context, file: File) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => {
                let gate = context.settings.notice.gate();
                money::apply_to(store, &gate, file, clock::wall()).await.map_err(words)
            }
            Books::There(bridge) => bridge.post("/apply", &file, Pace::Long),
        }
    }

    /// The text of the records, JSON or CSV as the query asks.
    pub async fn usage(&self, query: &UsageQuery) -> Result<String, Failure> {
        match self {
            Books::Here(store) => money::usage_of(store, &Masking::off(), query).await.map_err(words),
            Books::There(bridge) => {
                let below = bridge.below_named(query.org.as_deref())?;
                bridge.get_text(&format!("{below}/usage"), &UsageQuery { org: None, ..query.clone() })
            }
        }
    }

    pub async fn quote(&self, query: &QuoteQuery) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => money::quote_of(store, query, clock::wall()).await.map_err(words),
            Books::There(bridge) => {
                let below = bridge.below(None)?;
                Ok(serde_json::from_str(&bridge.get_text(&format!("{below}/quote"), query)?)?)
            }
        }
    }

    pub async fn balance(&self, organisation: &str) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => money::balance_of(store, organisation, clock::wall()).await.map_err(words),
            Books::There(bridge) => bridge.get(&format!("/organisations/{organisation}/balance")),
        }
    }

    pub async fn as_of(&self, organisation: &str, query: &AsOfQuery) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => money::as_of(store, organisation, query, clock::wall()).await.map_err(words),
            Books::There(bridge) => {
                Ok(serde_json::from_str(&bridge.get_text(&format!("/organisations/{organisation}/as-of"), query)?)?)
            }
        }
    }

    pub async fn credits(&self, organisation: &str, order: &CreditsOrder) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => money::credits_of(store, organisation, order, clock::wall()).await.map_err(words),
            Books::There(bridge) => bridge.post(&format!("/organisations/{organisation}/credits"), order, Pace::Short),
        }
    }

    pub async fn refund(&self, leg: &str, order: &RefundOrder) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => correct::refund_of(store, leg, order, clock::wall()).await.map_err(words),
            Books::There(bridge) => bridge.post(&format!("/usage/{leg}/refund"), order, Pace::Short),
        }
    }

    pub async fn rerate(&self, order: &RerateOrder) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => correct::rerate_of(store, order, clock::wall()).await.map_err(words),
            Books::There(bridge) => bridge.post("/rerate", order, Pace::Long),
        }
    }

    pub async fn corrections(&self, query: &CorrectionsQuery) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => correct::corrections_of(store, query).await.map_err(words),
            Books::There(bridge) => {
                let below = bridge.below_named(query.org.as_deref())?;
                let query = CorrectionsQuery { org: None, ..query.clone() };
                Ok(serde_json::from_str(&bridge.get_text(&format!("{below}/corrections"), &query)?)?)
            }
        }
    }

    /// A settled leg with its corrections.
    pub async fn usage_of_leg(&self, leg: &str) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => correct::usage_of_leg(store, &Masking::off(), None, leg).await.map_err(words),
            Books::There(bridge) => bridge.get(&format!("{}/usage/{leg}", bridge.below(None)?)),
        }
    }

    /// Price lists in use.
    pub async fn rates(&self) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => Ok(rates::lists_of(store)),
            Books::There(bridge) => bridge.get("/rates"),
        }
    }

    /// Price against cost of every destination.
    pub async fn margins(&self, query: &MarginQuery) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => rates::margins_of(store, query, clock::wall()).await.map_err(words),
            Books::There(bridge) => Ok(serde_json::from_str(&bridge.get_text("/margins", query)?)?),
        }
    }

    /// A price list as CSV.
    pub async fn deck(&self, list: &str) -> Result<String, Failure> {
        match self {
            Books::Here(store) => rates::deck_of(store, list).await.map_err(words),
            Books::There(bridge) => bridge.get_text(&format!("/rates/{list}"), &()),
        }
    }

    /// The list that `deck` is to take the place of; an empty one where it is the first.
    pub async fn known_deck(&self, list: &str, deck: &Deck) -> Result<Arc<Deck>, Failure> {
        if let Books::Here(store) = self {
            return Ok(known_to(&store.facts(), list, deck));
        }
        let lists = self.rates().await?;
        let mut known = lists.as_array().into_iter().flatten();
        if !known.any(|known| known["list"] == list && known["rows"] != 0) {
            return Ok(Deck::empty(deck.currency()).into());
        }
        let (known, _) = Deck::salvage(list, &self.deck(list).await?);
        Ok(known.into())
    }

    /// The text of a report, JSON or CSV as the query asks. A bridge shows numbers as its own settings say.
    pub async fn report(
        &self,
        (name, org): (&str, Option<&str>),
        query: &ReportQuery,
        masking: &Masking,
    ) -> Result<String, Failure> {
        match (self, org) {
            (Books::Here(store), _) => {
                report::report_text(store, masking, (name, org), query, clock::wall()).await.map_err(words)
            }
            (Books::There(bridge), Some(org)) => {
                bridge.get_text(&format!("/organisations/{org}/reports/{name}"), query)
            }
            (Books::There(bridge), None) => bridge.get_text(&format!("{}/reports/{name}", bridge.below(None)?), query),
        }
    }

    /// The page of a month.
    pub async fn statement(&self, org: &str, month: &str) -> Result<String, Failure> {
        match self {
            Books::Here(store) => report::statement_of(store, org, month, clock::wall()).await.map_err(words),
            Books::There(bridge) => {
                // It stands in a path: what is no month goes no farther.
                Period::month("UTC", month)?;
                bridge.get_text(&format!("/organisations/{org}/statements/{month}"), &())
            }
        }
    }

    pub async fn reconcile(&self, carrier: &str, file: CarrierFile, masking: &Masking) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => {
                report::reconcile_of(store, masking, carrier, file, clock::wall()).await.map_err(words)
            }
            Books::There(bridge) => bridge.post(&format!("/carriers/{carrier}/reconcile"), &file, Pace::Long),
        }
    }

    /// Empties what is too old. A bridge goes by its own settings.
    pub async fn retain(&self, order: RetentionOrder, own: &Retention) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => privacy::retain_of(store, own, order, clock::wall()).await.map_err(words),
            Books::There(bridge) => bridge.post("/retention", &order, Pace::Long),
        }
    }

    pub async fn forget(&self, order: &ForgetOrder) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => privacy::forget_of(store, order, clock::wall()).await.map_err(words),
            Books::There(bridge) => bridge.post("/forget", order, Pace::Long),
        }
    }

    pub async fn alerts(&self, query: &AlertsQuery) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => alert::alerts_of(store, &Masking::off(), query).await.map_err(words),
            Books::There(bridge) => {
                let below = bridge.below_named(query.org.as_deref())?;
                let query = AlertsQuery { org: None };
                Ok(serde_json::from_str(&bridge.get_text(&format!("{below}/alerts"), &query)?)?)
            }
        }
    }

    pub async fn test_alert(&self, organisation: &str) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => alert::test_of(store, organisation, clock::wall()).await.map_err(words),
            Books::There(bridge) => {
                bridge.post(&format!("/organisations/{organisation}/alerts/test"), &(), Pace::Short)
            }
        }
    }

    /// All entries of a shelf, part after part.
    pub async fn entries(&self, shelf: &Shelf) -> Result<Vec<Value>, Failure> {
        let (mut entries, mut after) = (Vec::new(), None);
        let path = match self {
            // Numbers are the house's, and each organisation sees those that it may use.
            Books::There(bridge) if shelf.of.is_none() && shelf.kind == EntryKind::Number => {
                format!("{}{}", bridge.below(None)?, shelf.path())
            }
            _ => shelf.path(),
        };
        loop {
            let query = EntriesQuery { after };
            let part = match self {
                Books::Here(store) => entry::list_of(store, shelf, &query).map_err(words)?,
                Books::There(bridge) => serde_json::from_str(&bridge.get_text(&path, &query)?)?,
            };
            entries.extend(part["entries"].as_array().into_iter().flatten().cloned());
            after = part["next"].as_str().map(str::to_owned);
            if after.is_none() {
                return Ok(entries);
            }
        }
    }

    pub async fn entry(&self, spot: &Spot) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => entry::show_of(store, spot).map_err(words),
            Books::There(bridge) => bridge.get(&spot.path()),
        }
    }

    /// Changes what the keys name of an entry; makes it where there is none.
    pub async fn set(&self, context: &Context, spot: Spot, keys: &Value) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => {
                let gate = context.settings.notice.gate();
                let is_there = entry::show_of(store, &spot).is_ok();
                let step = if is_there { ChangeStep::Patch } else { ChangeStep::Put };
                let changed = entry::change_of(store, &gate, spot, step(keys.to_string()), clock::wall()).await;
                changed.map(|(_, answer)| answer).map_err(words)
            }
            Books::There(bridge) => match bridge.patch(&spot.path(), keys)? {
                Some(answer) => Ok(answer),
                None => bridge.put(&spot.path(), keys),
            },
        }
    }

    /// Gives a user a licence, or takes it away (`None`).
    pub async fn licence(&self, spot: Spot, licence: &str, term: Option<&TermOrder>) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => entry::licence_of(store, spot, licence, term, clock::wall()).await.map_err(words),
            Books::There(bridge) => {
                let path = format!("{}/licences/{licence}", spot.path());
                match term {
                    Some(term) => bridge.put(&path, term),
                    None => Ok(serde_json::from_str(&bridge.take(&path)?)?),
                }
            }
        }
    }

    pub async fn remove(&self, spot: Spot) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => entry::remove_of(store, spot, clock::wall()).await.map_err(words),
            Books::There(bridge) => Ok(serde_json::from_str(&bridge.take(&spot.path())?)?),
        }
    }

    pub async fn unlock(&self, of: &OrganisationId, query: &LockQuery) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => revoke::unlock_of(store, of.as_str(), query, clock::wall()).await.map_err(words),
            Books::There(bridge) => {
                let user = query.user.as_ref().map(|user| format!("?user={user}")).unwrap_or_default();
                Ok(serde_json::from_str(&bridge.take(&format!("/organisations/{of}/lock{user}"))?)?)
            }
        }
    }

    pub async fn licences(&self, of: &OrganisationId) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => entry::licences_of(store, of.as_str(), clock::wall()).map_err(words),
            Books::There(bridge) => bridge.get(&format!("/organisations/{of}/licences")),
        }
    }

    pub async fn tokens(&self, of: Option<&OrganisationId>) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => Ok(token::tokens_of(store, of)),
            Books::There(bridge) => bridge.get(&format!("{}/tokens", bridge.below(of)?)),
        }
    }

    pub async fn make_token(&self, of: Option<OrganisationId>, order: &TokenOrder) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => token::make_of(store, of, order, clock::wall()).await.map_err(words),
            Books::There(bridge) => bridge.post(&format!("{}/tokens", bridge.below(of.as_ref())?), order, Pace::Short),
        }
    }

    pub async fn revoke_token(&self, of: Option<OrganisationId>, name: &str) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => token::revoke_of(store, of, name, clock::wall()).await.map_err(words),
            Books::There(bridge) => {
                let below = bridge.below(of.as_ref())?;
                Ok(serde_json::from_str(&bridge.take(&format!("{below}/tokens/{name}"))?)?)
            }
        }
    }

    /// Who changed what.
    pub async fn grants(&self, organisation: &str, query: &GrantsQuery) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => grant::grants_of(store, organisation, query, clock::wall()).await.map_err(words),
            Books::There(bridge) => {
                let path = format!("/organisations/{organisation}/grants");
                Ok(serde_json::from_str(&bridge.get_text(&path, query)?)?)
            }
        }
    }

    pub async fn add_grant(&self, organisation: &str, order: &GrantOrder) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => grant::add_to(store, organisation, order, clock::wall()).await.map_err(words),
            Books::There(bridge) => bridge.post(&format!("/organisations/{organisation}/grants"), order, Pace::Short),
        }
    }

    pub async fn end_grant(&self, organisation: &str, id: &str) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => grant::end_of(store, organisation, id, clock::wall()).await.map_err(words),
            Books::There(bridge) => {
                bridge.post(&format!("/organisations/{organisation}/grants/{id}/end"), &Value::Null, Pace::Short)
            }
        }
    }

    pub async fn pending_limits(&self, of: &LimitsOf) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => limit::pending_of(store, of, clock::wall()).map_err(words),
            Books::There(bridge) => bridge.get(&limits_page(of)),
        }
    }

    pub async fn confirm_limits(&self, of: &LimitsOf, order: &ConfirmOrder) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => limit::confirm_of(store, of.clone(), order, clock::wall()).await.map_err(words),
            Books::There(bridge) => bridge.post(&format!("{}/confirm", limits_page(of)), order, Pace::Short),
        }
    }

    pub async fn import_hot(&self, list: &str, file: &HotFile) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => hot::import_to(store, list, file, clock::wall()).await.map_err(words),
            Books::There(bridge) => bridge.post(&format!("/hot-list/{list}/import"), file, Pace::Long),
        }
    }

    pub async fn add_hot(&self, list: &str, key: &HotKey, note: &HotNote) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => hot::add_to(store, list, &key.to_string(), note, clock::wall()).await.map_err(words),
            Books::There(bridge) => bridge.put(&hot_page(list, key), note),
        }
    }

    pub async fn remove_hot(&self, list: &str, key: &HotKey) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => hot::remove_from(store, list, &key.to_string(), clock::wall()).await.map_err(words),
            Books::There(bridge) => Ok(serde_json::from_str(&bridge.take(&hot_page(list, key))?)?),
        }
    }

    pub async fn hot_lists(&self) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => hot::lists_of(store).await.map_err(words),
            Books::There(bridge) => bridge.get("/hot-list"),
        }
    }

    /// A part of them: `next` leads to the part behind it.
    pub async fn hot_entries(&self, query: &HotQuery) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => hot::entries_of(store, query).await.map_err(words),
            Books::There(bridge) => Ok(serde_json::from_str(&bridge.get_text("/hot-list/entries", query)?)?),
        }
    }

    pub async fn blocks(&self) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => hot::blocks_of(store, None, clock::wall()).map_err(words),
            Books::There(bridge) => bridge.get("/blocks"),
        }
    }

    pub async fn lift(&self, organisation: &str, order: &LiftOrder) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => hot::lift_of(store, organisation, order, clock::wall()).await.map_err(words),
            Books::There(bridge) => {
                bridge.post(&format!("/organisations/{organisation}/blocks/lift"), order, Pace::Short)
            }
        }
    }

    pub async fn trail(&self, query: &TrailQuery) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => trail::trail_of(store, query).await.map_err(words),
            Books::There(bridge) => {
                let below = bridge.below_named(query.org.as_deref())?;
                let query = TrailQuery { org: None, ..query.clone() };
                Ok(serde_json::from_str(&bridge.get_text(&format!("{below}/trail"), &query)?)?)
            }
        }
    }

    pub async fn audit(&self) -> Result<Value, Failure> {
        match self {
            Books::Here(store) => money::audit_of(store, clock::wall()).await.map_err(words),
            Books::There(bridge) => bridge.get("/audit"),
        }
    }
}

/// What to say where there is no file that a store would be.
pub(super) fn missing(context: &Context) -> Option<Failure> {
    let file = file_of(&context.settings.store_url).filter(|file| !file.exists())?;
    Some(Failure(format!(
        "there is no store {}: make one with `tollbridge serve` or `tollbridge apply FILE`, or name another \
         (--config, TOLLBRIDGE__STORE__URL)",
        file.display()
    )))
}

/// A bridge whose token is at hand where there is no store: who has a token is let in, wherever the bridge keeps its own.
pub(super) fn elsewhere(context: &Context) -> Option<Bridge> {
    context.settings.api.token_file.as_ref().and_then(|_| Bridge::reach(context).ok())
}

/// The books as `open` gives them, or the bridge that holds them.
pub(super) async fn here_or_there<T>(
    context: &Context,
    open: impl AsyncFn() -> Result<T, OpenError>,
) -> Result<Result<T, Bridge>, Failure> {
    let until = Instant::now() + PATIENCE;
    loop {
        let held = match open().await {
            Ok(books) => return Ok(Ok(books)),
            Err(held @ OpenError::Held { .. }) => held,
            Err(other) => return Err(other.into()),
        };
        match Bridge::reach(context) {
            Ok(bridge) => return Ok(Err(bridge)),
            Err(Failure(no)) if Instant::now() > until => return Err(Failure(format!("{held}; and {no}"))),
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}

/// The list that `deck` is to take the place of, as facts have it.
pub(super) fn known_to(facts: &Facts, list: &str, deck: &Deck) -> Arc<Deck> {
    let known = facts.deck_named(list).cloned().filter(|known| !known.is_empty());
    known.unwrap_or_else(|| Deck::empty(deck.currency()).into())
}

/// Whoever typed the command, by the name that the shell gives.
fn who() -> Who {
    let name = std::env::var("USER").ok().filter(|name| !name.is_empty());
    Who { name: name.unwrap_or_else(|| "unknown".to_owned()), door: TrailDoor::Cli, role: None, organisation: None }
}

/// Where the bridge has an entry of a hot list: a salt may have what a path reads otherwise.
fn hot_page(list: &str, key: &HotKey) -> String {
    let key = key.to_string().replace('/', "%2F").replace('+', "%2B");
    format!("/hot-list/{list}/entries/{key}")
}

/// Where the bridge shows raises that wait.
fn limits_page(of: &LimitsOf) -> String {
    match of {
        LimitsOf::Organisation(id) => format!("/organisations/{id}/limits"),
        LimitsOf::Carrier(id) => format!("/carriers/{id}/limits"),
    }
}

pub(super) fn words(problem: Problem) -> Failure {
    Failure(problem.into_body().to_string())
}

/// A sign of life on a terminal, for work whose length nobody knows; it is gone when it is dropped.
pub(super) struct Working(ProgressBar);

impl Working {
    pub fn on(what: impl Into<String>) -> Working {
        if !std::io::stderr().is_terminal() {
            return Working(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner().with_message(what.into());
        bar.enable_steady_tick(SPIN);
        Working(bar)
    }
}

/// How far work has come whose length is known, on a terminal; it is gone when it is dropped.
pub(super) struct Progress(ProgressBar);

impl Progress {
    pub fn over(what: impl Into<String>, steps: usize) -> Progress {
        if !std::io::stderr().is_terminal() {
            return Progress(ProgressBar::hidden());
        }
        let style = ProgressStyle::with_template("{msg} {wide_bar} {percent:>3} %");
        let bar = ProgressBar::new(steps as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Progress(bar.with_message(what.into()))
    }

    /// So many steps are done.
    pub fn at(&self, step: usize) {
        self.0.set_position(step as u64);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
