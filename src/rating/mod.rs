//! May they, for how much, what was paid. Pure and deterministic: no clock, no store, no float.
//!
//! The law is the table in `decide`; the arithmetic is one function, C(t): the exact charge if the leg ended at t.
//! A slice costs R(C(t2)) − R(C(t1)), so that slices always add up to R(C(T)), whatever their lengths.

use crate::clock::Wall;
use crate::types::{Country, Currency, E164, Micros, OrganisationId, UserId};

/// The three kinds of phone leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallType {
    DialInToll,
    DialInTollFree,
    DialOut,
}

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
    /// Destinations allowed beyond own country and Zone A, as digit prefixes; names premium ranges too.
    pub allow_prefixes: Vec<String>,
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
}

/// One question: may this leg be?
#[derive(Clone, Debug)]
pub struct Request {
    pub call_type: CallType,
    /// In: our number that was called. Out: the destination.
    pub number: E164,
    /// In: the caller, where known.
    pub caller: Option<E164>,
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

/// The capability word of the usage record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    AudioConferencing, // MCOMEETADD
    PayPerMinute,      // MCOMEETACPEA
    Credits,           // MCOPSTNPP
    ExtendedDialOut,   // MCOMEETADD_DIALOUT_US
    FreeCall,          // FREECALL
}

/// An amount of one currency, as it passes between rooms.
pub type Amount = Micros;
