//! A dry run: what would come of an order, told, and nothing made or changed for it. A bridge that holds the books is asked;
//! else they are tried here, in a rehearsal of which nothing stays.

use super::books::{Books, elsewhere, here_or_there, known_to, missing, words};
use super::bridge::{Bridge, Pace};
use super::{Context, Failure};
use crate::api::correct::{self, RerateOrder};
use crate::api::hot::{self, HotFile};
use crate::api::money::{self, File};
use crate::api::privacy::{self, ForgetOrder, Retention, RetentionOrder};
use crate::api::report::{self, CarrierFile};
use crate::clock;
use crate::rating::Deck;
use crate::rating::report::Masking;
use crate::store::{Editions, Rehearsal};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) enum Trial {
    Here(Box<Rehearsal>),
    There(Bridge),
}

impl Trial {
    /// On the books of these settings, whatever their edition, or on empty ones where there are none.
    pub async fn find(context: &Context) -> Result<Trial, Failure> {
        match missing(context).and_then(|_| elsewhere(context)) {
            Some(bridge) => Ok(Trial::There(bridge)),
            None => Trial::open(context).await,
        }
    }

    /// On the books of these settings, whatever their edition, which must be there already.
    pub async fn find_known(context: &Context) -> Result<Trial, Failure> {
        match missing(context) {
            None => Trial::open(context).await,
            Some(missing) => elsewhere(context).map(Trial::There).ok_or(missing),
        }
    }

    async fn open(context: &Context) -> Result<Trial, Failure> {
        let options = context.settings.store_options();
        let open = async || Rehearsal::open(&context.settings.store_url, &options).await;
        Ok(match here_or_there(context, open).await? {
            Ok(rehearsal) => Trial::Here(Box::new(rehearsal)),
            Err(bridge) => Trial::There(bridge),
        })
    }

    /// What the file would change. Hooks that it names are held against the settings of whoever holds the books.
    pub async fn preview(&mut self, context: &Context, file: File) -> Result<Value, Failure> {
        match self {
            Trial::Here(rehearsal) => {
                let gate = context.settings.notice.gate();
                money::tried_of(rehearsal, &gate, file, clock::wall()).await.map_err(words)
            }
            Trial::There(bridge) => bridge.post("/apply?dry_run=true", &file, Pace::Long),
        }
    }

    /// The list that `deck` would take the place of; an empty one where it is the first.
    pub async fn known_deck(self, list: &str, deck: &Deck) -> Result<Arc<Deck>, Failure> {
        match self {
            Trial::Here(rehearsal) => Ok(known_to(rehearsal.facts(), list, deck)),
            Trial::There(bridge) => Books::There(bridge).known_deck(list, deck).await,
        }
    }

    pub async fn import_hot(&mut self, list: &str, file: &HotFile) -> Result<Value, Failure> {
        match self {
            Trial::Here(rehearsal) => hot::tried_of(rehearsal, list, file).await.map_err(words),
            Trial::There(bridge) => bridge.post(&format!("/hot-list/{list}/import"), file, Pace::Long),
        }
    }

    pub async fn reconcile(&mut self, carrier: &str, file: CarrierFile, masking: &Masking) -> Result<Value, Failure> {
        match self {
            Trial::Here(rehearsal) => report::reconcile_tried(rehearsal, masking, carrier, file).await.map_err(words),
            Trial::There(bridge) => bridge.post(&format!("/carriers/{carrier}/reconcile"), &file, Pace::Long),
        }
    }

    pub async fn rerate(&mut self, order: &RerateOrder) -> Result<Value, Failure> {
        match self {
            Trial::Here(rehearsal) => correct::rerate_tried(rehearsal, order).await.map_err(words),
            Trial::There(bridge) => bridge.post("/rerate", order, Pace::Long),
        }
    }

    /// A bridge goes by its own settings.
    pub async fn retain(&mut self, own: &Retention) -> Result<Value, Failure> {
        match self {
            Trial::Here(rehearsal) => privacy::retain_tried(rehearsal, own, clock::wall()).await.map_err(words),
            Trial::There(bridge) => bridge.post("/retention", &RetentionOrder { dry_run: true }, Pace::Long),
        }
    }

    pub async fn forget(&mut self, order: &ForgetOrder) -> Result<Value, Failure> {
        match self {
            Trial::Here(rehearsal) => privacy::forget_tried(rehearsal, order).await.map_err(words),
            Trial::There(bridge) => bridge.post("/forget", order, Pace::Long),
        }
    }

    /// What would become of the store itself.
    pub fn first(&self) -> First {
        let Trial::Here(rehearsal) = self else { return First(None) };
        let editions = rehearsal.editions();
        First((editions.found < editions.newest).then(|| (editions, rehearsal.place().to_owned())))
    }
}

/// What would be done before all else: a store made, or brought up to date; or nothing.
pub(super) struct First(Option<(Editions, String)>);

impl First {
    pub const fn nothing() -> First {
        First(None)
    }

    /// A line for people.
    pub fn words(&self) -> String {
        match &self.0 {
            None => String::new(),
            Some((Editions { found: 0, .. }, store)) => {
                format!("there is no store {store}: it would be made, and this was tried on an empty one\n")
            }
            Some((Editions { found, newest }, store)) => format!(
                "the store {store} is of schema {found}: it would first be brought to {newest}, and this was tried on it as \
                 it would be then\n"
            ),
        }
    }

    /// A key for programs, where anything would be done.
    pub fn mark(&self, answer: &mut Value) {
        if let Some((Editions { found, newest }, _)) = self.0 {
            answer["schema"] = json!({ "found": found, "newest": newest });
        }
    }
}
