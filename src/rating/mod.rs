//! May they, for how much, what was paid. Pure and deterministic: no clock, no store, no float.
//!
//! The law is the table in `decide`; the arithmetic is one function, C(t): the exact charge if the leg ended at t.
//! A slice costs R(C(t2)) − R(C(t1)), so that slices always add up to R(C(T)), whatever their lengths.

pub mod bands;
pub mod burn;
pub mod clauses;
pub mod convert;
pub mod costs;
pub mod country;
pub mod decide;
pub mod deck;
pub mod explain;
pub mod export;
pub mod grant;
#[cfg(test)]
mod grants;
pub mod hold;
#[cfg(test)]
mod laws;
pub mod ledger;
pub mod margin;
pub mod pool;
pub mod price;
pub mod prices;
pub mod rate;
pub mod reader;
pub mod reconcile;
pub mod record;
pub mod report;
pub mod review;
pub mod terms;
#[cfg(test)]
mod worked;

pub use clauses::{Clauses, Origin};
pub use costs::Costs;
pub use country::Countries;
pub use decide::{Book, NumberFacts, Unpriced, decide, reprice};
pub use deck::{Deck, Lookup};
pub use grant::{Bucket, Grant, Means};
pub use hold::{Hold, SLICE_MS, Settlement, Tab, Used, back, quote};
pub use price::Exact;
pub use prices::{Answer, Exchanges, PriceList, Prices, Quoted};
pub use rate::{Class, Rate, RateRow};
pub use record::UsageRecord;
pub use terms::{Discount, Exchange, PoolSplit, Price, Step, Tariff, Terms};

use crate::clock::Wall;
use crate::types::{Country, Currency, E164, Micros, OrganisationId, UserId};
use std::fmt;
use std::str::FromStr;

/// Gives each variant its one word, in files, records and the API alike.
macro_rules! words {
    ($name:ident: $what:literal { $($variant:ident $word:literal),* $(,)? }) => {
        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The word in files, records and the API.
            pub const fn slug(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.pad(self.slug())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = &'static str;
            fn from_str(text: &str) -> Result<$name, &'static str> {
                $name::ALL.iter().copied().find(|value| value.slug() == text).ok_or($what)
            }
        }
    };
}
pub(crate) use words;

/// The three kinds of phone leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallType {
    DialInToll,
    DialInTollFree,
    DialOut,
}

words!(CallType: "expected dial-in-toll, dial-in-toll-free or dial-out" {
    DialInToll "dial-in-toll",
    DialInTollFree "dial-in-toll-free",
    DialOut "dial-out",
});

/// Licences of a user, each yes or no.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Licences {
    pub audio_conferencing: bool,
    pub pay_per_minute: bool,
    pub communications_credits: bool,
    pub extended_dial_out: bool,
}

/// Where an organiser's meetings may dial to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DialOutPolicy {
    #[default]
    Any,
    SameCountry,
    ZoneA,
    None,
}

words!(DialOutPolicy: "expected any, same-country, zone-a or none" {
    Any "any",
    SameCountry "same-country",
    ZoneA "zone-a",
    None "none",
});

/// What a country allows: independent facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountryRecord {
    pub service_sold: bool,
    pub automatic_numbers: bool,
    pub toll: bool,
    pub toll_free: bool,
    pub dial_out: bool,
    pub credits_sold: bool,
    pub zone_a: bool,
}

/// What the decision needs to know of the paying organisation.
#[derive(Clone, Debug)]
pub struct Payer {
    pub organisation: OrganisationId,
    pub country: Country,
    pub currency: Currency,
    pub volume_licensing: bool,
    /// Credits were ever funded.
    pub credits_set_up: bool,
    /// Both licences are asked for (`require_credits_licence`).
    pub require_credits_licence: bool,
    /// What the pool takes of a leg that it pays in part.
    pub pool_split: PoolSplit,
    /// Destinations allowed beyond own country and Zone A, as digit prefixes; names premium ranges too.
    pub allow_prefixes: Vec<String>,
    /// It has no calls until it is unlocked.
    pub locked: bool,
}

/// What the decision needs to know of the organiser of the meeting.
#[derive(Clone, Debug)]
pub struct Organiser {
    pub user: UserId,
    pub licences: Licences,
    pub dial_out: DialOutPolicy,
    pub toll_free: bool,
    /// Usage location; the organisation's country where not set.
    pub country: Country,
    /// Their meetings have no calls until they are unlocked.
    pub locked: bool,
}

/// One question: may this leg be?
#[derive(Clone, Debug)]
pub struct Request {
    pub call_type: CallType,
    /// In: our number that was called. Out: the destination.
    pub number: E164,
    /// In: the caller, where known.
    pub caller: Option<E164>,
    /// In: where the call began, where that can be told.
    pub origin: Origin,
    pub at: Wall,
}

/// Who pays the minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Funding {
    /// Toll calls in of a per-user organiser; US and Canada with the add-on.
    Included,
    /// The pool first; when it is gone, credits if the organiser may spend them (`credits`), else the end.
    Pool {
        then_credits: bool,
    },
    Credits,
    /// The price could not be told by our own fault: free, recorded as FREECALL, alarmed.
    Free,
}

impl Funding {
    /// The word in frozen terms.
    pub const fn slug(self) -> &'static str {
        match self {
            Funding::Included => "included",
            Funding::Pool { then_credits: false } => "pool",
            Funding::Pool { then_credits: true } => "pool-then-credits",
            Funding::Credits => "credits",
            Funding::Free => "free",
        }
    }
}

impl fmt::Display for Funding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

impl FromStr for Funding {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Funding, &'static str> {
        let pool = [false, true].map(|then_credits| Funding::Pool { then_credits });
        let all = [Funding::Included, Funding::Credits, Funding::Free].into_iter().chain(pool);
        all.into_iter().find(|funding| funding.slug() == text).ok_or("expected a funding")
    }
}

/// The capability word of the usage record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    AudioConferencing,
    PayPerMinute,
    Credits,
    ExtendedDialOut,
    FreeCall,
}

words!(Capability: "expected a capability, like MCOMEETADD" {
    AudioConferencing "MCOMEETADD",
    PayPerMinute "MCOMEETACPEA",
    Credits "MCOPSTNPP",
    ExtendedDialOut "MCOMEETADD_DIALOUT_US",
    FreeCall "FREECALL",
});

/// An amount of one currency, as it passes between rooms.
pub type Amount = Micros;
