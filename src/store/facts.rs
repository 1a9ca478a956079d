//! What there is, in memory: organisations, organisers, meetings, numbers, carriers, countries, the deck. One immutable
//! snapshot, made anew at each `apply`; decisions and look-ups read it without waiting for anybody.

use super::pin::PinKey;
use super::rows;
use super::sql::Connection;
use crate::meeting::Settings;
use crate::rating::{
    Countries, Deck, DialOutPolicy, Discount, Licences, Organiser, Payer, PoolSplit, PriceList, Prices,
};
use crate::trunk::{Directory, Limit};
use crate::types::{Country, Currency, Language, MeetingId, Micros, OrganisationId, UserId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The name of everybody's price list.
pub const HOUSE: &str = "house";

/// What happens to a leg whose credit is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnEmpty {
    /// It ends.
    #[default]
    Cut,
    /// It goes on, up to the organisation's overdraft.
    Finish,
}

impl OnEmpty {
    pub const WORDS: &'static [(&'static str, OnEmpty)] = &[("cut", OnEmpty::Cut), ("finish", OnEmpty::Finish)];

    pub const fn slug(self) -> &'static str {
        match self {
            OnEmpty::Cut => "cut",
            OnEmpty::Finish => "finish",
        }
    }
}

/// Limits of an organisation; `None` is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub max_calls: Option<u32>,
    pub max_calls_per_second: Option<u32>,
    /// The longest call, in seconds.
    pub max_call_s: Option<u32>,
    /// Credits that may be used on one day of the organisation's calendar, holds included.
    pub max_spend_per_day: Option<Micros>,
    pub max_spend_per_leg: Option<Micros>,
}

impl Limits {
    /// The part that counts calls, as the guard wants it.
    pub const fn calls(&self) -> Limit {
        Limit { max_calls: self.max_calls, max_calls_per_second: self.max_calls_per_second }
    }
}

/// The paying customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organisation {
    pub id: OrganisationId,
    pub name: String,
    pub country: Country,
    pub currency: Currency,
    pub volume_licensing: bool,
    pub require_credits_licence: bool,
    pub on_empty: OnEmpty,
    /// How far a leg that is let finish may take the account below zero.
    pub overdraft: Micros,
    /// IANA name: where its months and days turn.
    pub time_zone: String,
    pub allow_prefixes: Vec<String>,
    /// Price lists of its own, asked in this order, then the house's.
    pub price_lists: Vec<String>,
    /// Off the house's prices. Lists of its own have what was agreed, and no discount.
    pub discount: Discount,
    pub pool_split: PoolSplit,
    /// How long a funding that had expired is open again when a refund comes back to it; 0: the refund is a new funding.
    pub refund_days: u32,
    pub limits: Limits,
}

/// A user who owns meetings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub organisation: OrganisationId,
    pub name: String,
    pub licences: Licences,
    pub dial_out: DialOutPolicy,
    pub toll_free: bool,
    /// Usage location; the organisation's country where `None`.
    pub country: Option<Country>,
    /// Keyed hash.
    pub(super) pin: Option<String>,
}

impl User {
    pub const fn has_pin(&self) -> bool {
        self.pin.is_some()
    }
}

/// A meeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// As the meeting's own room wants it; it names the organiser and the organisation, who are asked for licences,
    /// policies and money.
    pub settings: Settings,
    /// Of prompts to people who are called; the bridge's own where `None`.
    pub language: Option<Language>,
}

/// The snapshot.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Grows with every change.
    pub version: u64,
    pub organisations: BTreeMap<OrganisationId, Organisation>,
    pub users: BTreeMap<UserId, User>,
    pub meetings: BTreeMap<MeetingId, Meeting>,
    pub directory: Directory,
    pub countries: Countries,
    /// The house's deck.
    pub deck: Arc<Deck>,
    /// The other decks, by the names of their lists.
    pub price_lists: BTreeMap<String, Arc<Deck>>,
    prices: HashMap<OrganisationId, Prices>,
    house: Prices,
    by_conference_id: HashMap<String, MeetingId>,
    pins: PinKey,
}

impl Facts {
    /// What an organisation pays by.
    pub fn prices(&self, organisation: &Organisation) -> &Prices {
        self.prices.get(&organisation.id).unwrap_or(&self.house)
    }

    /// Whether no file was ever applied: nobody is in it, and nothing leads in or out.
    pub fn is_empty(&self) -> bool {
        self.organisations.is_empty() && self.directory.numbers().is_empty() && self.directory.carriers().is_empty()
    }

    /// The meeting that callers name by `digits`.
    pub fn meeting_named(&self, digits: &str) -> Option<&Meeting> {
        self.by_conference_id.get(digits).and_then(|id| self.meetings.get(id))
    }

    pub fn meeting(&self, id: &MeetingId) -> Option<&Meeting> {
        self.meetings.get(id)
    }

    /// How many digits a conference ID has: all of a bridge have the same number. `None` where there is no meeting.
    pub fn conference_id_len(&self) -> Option<usize> {
        self.by_conference_id.keys().next().map(String::len)
    }

    /// The organiser of a meeting and their organisation: who is asked for licences, policies and money.
    pub fn payer_of(&self, meeting: &MeetingId) -> Option<(&User, &Organisation)> {
        let user = self.users.get(&self.meetings.get(meeting)?.settings.organiser)?;
        Some((user, self.organisations.get(&user.organisation)?))
    }

    /// Whether `pin` is the one of the meeting's organiser. As slow for a meeting without a PIN as for a wrong one.
    pub fn check_pin(&self, meeting: &MeetingId, pin: &str) -> bool {
        let known = self.payer_of(meeting).and_then(|(user, _)| Some((&user.id, user.pin.as_deref()?)));
        match known {
            Some((user, hash)) => self.pins.fits(user, pin, hash),
            None => self.pins.fits_nobody(pin),
        }
    }

    pub(super) const fn pins(&self) -> &PinKey {
        &self.pins
    }

    /// Per-user licences assigned in an organisation: what its pool is made of.
    pub(super) fn pool_licences(&self, organisation: &OrganisationId) -> u64 {
        let of = |user: &&User| user.organisation == *organisation && user.licences.audio_conferencing;
        self.users.values().filter(of).count() as u64
    }
}

impl Organisation {
    /// As the decision wants it.
    pub(super) fn payer(&self, credits_set_up: bool) -> Payer {
        Payer {
            organisation: self.id.clone(),
            country: self.country,
            currency: self.currency,
            volume_licensing: self.volume_licensing,
            credits_set_up,
            require_credits_licence: self.require_credits_licence,
            pool_split: self.pool_split,
            allow_prefixes: self.allow_prefixes.clone(),
        }
    }
}

impl User {
    /// As the decision wants it.
    pub(super) fn organiser(&self, organisation: &Organisation) -> Organiser {
        Organiser {
            user: self.id.clone(),
            licences: self.licences,
            dial_out: self.dial_out,
            toll_free: self.toll_free,
            country: self.country.unwrap_or(organisation.country),
        }
    }
}

/// Reads everything.
pub(super) async fn load(conn: &mut Connection, pins: PinKey, version: u64) -> Result<Facts, String> {
    let organisations = rows::organisations(conn).await?;
    let users = rows::users(conn).await?;
    let meetings = rows::meetings(conn).await?;
    let directory = Directory::new(rows::carriers(conn).await?, rows::numbers(conn).await?);
    let mut countries = Countries::embedded();
    for (country, record) in rows::countries(conn).await? {
        countries.set_record(country, record);
    }
    let by_conference_id = meetings.values().map(|meeting: &Meeting| named(&meeting.settings)).collect();
    let mut price_lists = rows::decks(conn).await?;
    let deck = price_lists.remove(HOUSE).unwrap_or_else(|| Arc::new(Deck::empty(Currency::USD)));
    let exchanges = Arc::new(rows::exchanges(conn).await?);
    let house = Prices { exchanges: exchanges.clone(), ..Prices::of(deck.clone()) };
    let prices_of = |organisation: &Organisation| {
        let own = organisation.price_lists.iter().filter_map(|name| price_lists.get(name));
        let own = own.map(|deck| PriceList { deck: deck.clone(), discount: Discount::default() });
        let house = PriceList { deck: deck.clone(), discount: organisation.discount };
        Prices { lists: own.chain([house]).collect(), exchanges: exchanges.clone() }
    };
    let prices =
        organisations.values().map(|organisation| (organisation.id.clone(), prices_of(organisation))).collect();
    Ok(Facts {
        version,
        organisations,
        users,
        meetings,
        directory,
        countries,
        deck,
        price_lists,
        prices,
        house,
        by_conference_id,
        pins,
    })
}

fn named(settings: &Settings) -> (String, MeetingId) {
    (settings.conference_id.clone(), settings.id.clone())
}
