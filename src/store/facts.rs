//! What there is, in memory: organisations, organisers, meetings, numbers, carriers, countries, the deck. One immutable
//! snapshot, made anew at each `apply`; decisions and look-ups read it without waiting for anybody.

use super::cooling::{self, HeldLimit};
use super::fault::StoreError;
use super::hot::{self, Hot};
use super::licence::{Seats, Terms};
use super::lock::Lock;
use super::pin::PinKey;
use super::sql::Connection;
use super::token::{self, Token};
use super::{licence, rows, wishes};
use crate::clock::Wall;
use crate::meeting::Settings;
use crate::notice::{HookUrl, Mailbox, SecretRef};
use crate::rating::costs::COST;
use crate::rating::{
    Costs, Countries, Deck, DialOutPolicy, Discount, Licences, Organiser, Payer, PoolSplit, PriceList, Prices,
};
use crate::trunk::{Directory, Limit};
use crate::types::{CarrierId, Country, Currency, Language, MeetingId, Micros, OrganisationId, UserId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;
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
    pub caps: Caps,
}

/// Limits against fraud, kept together in one column. `None` is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Caps {
    /// Calls at once, and new ones a second, of each organiser and of each meeting.
    pub organiser_calls: Option<u32>,
    pub organiser_calls_per_second: Option<u32>,
    pub meeting_calls: Option<u32>,
    pub meeting_calls_per_second: Option<u32>,
    /// Credits of one day of the organisation's calendar, holds included, for each organiser and for each meeting, in
    /// millionths.
    pub organiser_day_micros: Option<i64>,
    pub meeting_day_micros: Option<i64>,
    /// Calls out at once to one block of numbers.
    pub block_calls: Option<u32>,
    /// The dearest minute, in millionths of the organisation's currency.
    pub rate_micros: Option<i64>,
    /// What the first 24 hours may use, holds included, in millionths.
    pub first_day_micros: Option<i64>,
    /// Of the limits on calls at once and on spending a day, so much holds from midnight to six, and on Saturday and Sunday.
    pub quiet_percent: Option<u32>,
}

impl Caps {
    pub const fn organiser(&self) -> Limit {
        Limit { max_calls: self.organiser_calls, max_calls_per_second: self.organiser_calls_per_second }
    }

    pub const fn meeting(&self) -> Limit {
        Limit { max_calls: self.meeting_calls, max_calls_per_second: self.meeting_calls_per_second }
    }
}

/// The hour at which a night is over. Before it nothing of the day is spent yet, so that a share of the day's limit is
/// what the night may use.
const MORNING: i8 = 6;

/// How long an organisation is new.
const FIRST_DAY_MS: u64 = 86_400_000;

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
    /// As they were set: what holds of them is told by [`Organisation::limits_at`].
    pub limits: Limits,
    /// Those that were raised and hold on for a while.
    pub(super) held: Vec<HeldLimit>,
    /// Whom to tell of its money; `None`: nobody.
    pub alerts: Option<AlertSettings>,
    /// How it is fetched before it runs out.
    pub recharge: Option<RechargeSettings>,
    pub seats: Seats,
    /// When it was first written into the books.
    pub since: Wall,
    /// It was removed: the books know it, and nobody else.
    pub closed: bool,
    /// Why it has no calls; `None`: it has.
    pub locked: Option<Lock>,
}

/// Whom an organisation (or the house) wants told, and of what beyond the usual.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AlertSettings {
    pub mails: Vec<Mailbox>,
    pub hook: Option<(HookUrl, SecretRef)>,
    /// Below this the balance is low.
    pub low_balance: Option<LowBalance>,
    /// It is low, too, when it lasts no longer than so many days like the last seven.
    pub low_days: Option<u32>,
    /// A day is unusual on which more than so many times a usual day is spent.
    pub unusual_spend: Option<u32>,
}

/// When a balance is low.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LowBalance {
    Amount(Micros),
    /// Percent of what there was after the last payment.
    Share(u8),
}

impl FromStr for LowBalance {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<LowBalance, &'static str> {
        const EXPECTED: &str = "expected a share like \"20%\" or an amount like \"5.00\"";
        match text.strip_suffix('%') {
            Some(percent) => match percent.trim().parse() {
                Ok(percent @ 1..=99) => Ok(LowBalance::Share(percent)),
                _ => Err(EXPECTED),
            },
            None => match text.parse::<Micros>() {
                Ok(amount) if amount > Micros::ZERO => Ok(LowBalance::Amount(amount)),
                _ => Err(EXPECTED),
            },
        }
    }
}

impl fmt::Display for LowBalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LowBalance::Amount(amount) => amount.fmt(f),
            LowBalance::Share(percent) => write!(f, "{percent}%"),
        }
    }
}

/// How money is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RechargeSettings {
    /// Below this much available.
    pub trigger: Micros,
    pub amount: Micros,
    /// Of one day of the organisation's calendar, all recharges together.
    pub max_per_day: Micros,
    pub hook: HookUrl,
    pub secret: SecretRef,
}

/// A user who owns meetings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub organisation: OrganisationId,
    pub name: String,
    /// All that are given, whether their days have come or are over.
    pub licences: Licences,
    pub terms: Terms,
    pub dial_out: DialOutPolicy,
    pub toll_free: bool,
    /// Usage location; the organisation's country where `None`.
    pub country: Option<Country>,
    /// Why their meetings have no calls; `None`: they have.
    pub locked: Option<Lock>,
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
    /// What carriers take, by lists of their own.
    pub costs: Costs,
    /// All of them, as they were read.
    decks: Arc<BTreeMap<String, Arc<Deck>>>,
    prices: HashMap<OrganisationId, Prices>,
    house: Prices,
    /// By keyed hashes: a try costs the same work whether it is right or wrong, and no comparison tells how near it was.
    by_conference_id: HashMap<String, MeetingId>,
    pub(super) hot: Arc<Hot>,
    /// Of their limits a day, what holds on although it was raised.
    pub(super) held_of_carriers: HashMap<CarrierId, HeldLimit>,
    pub(super) closed: Closed,
    /// By their hashes.
    pub(super) tokens: HashMap<String, Token>,
    pub(super) revoked: HashMap<String, Token>,
    pins: PinKey,
}

/// Names that were removed: only whose they were may make them again.
#[derive(Clone, Debug, Default)]
pub(super) struct Closed {
    pub users: HashMap<UserId, OrganisationId>,
    pub meetings: HashMap<MeetingId, OrganisationId>,
}

impl Facts {
    /// An organisation that was not removed.
    pub fn open_organisation(&self, id: &OrganisationId) -> Option<&Organisation> {
        self.organisations.get(id).filter(|organisation| !organisation.closed)
    }

    /// What an organisation pays by.
    pub fn prices(&self, organisation: &Organisation) -> &Prices {
        self.prices.get(&organisation.id).unwrap_or(&self.house)
    }

    /// What somebody would pay who pays by one list alone, and no discount; `None` where there is no such list.
    pub fn prices_of_list(&self, name: &str) -> Option<Prices> {
        let deck = if name == HOUSE { &self.deck } else { self.price_lists.get(name)? };
        Some(Prices { exchanges: self.house.exchanges.clone(), ..Prices::of(deck.clone()) })
    }

    /// The deck of a list by its name: the house's, a price list, or what a carrier takes.
    pub fn deck_named(&self, name: &str) -> Option<&Arc<Deck>> {
        match name.strip_prefix(COST) {
            _ if name == HOUSE => Some(&self.deck),
            Some(carrier) => self.costs.deck(&carrier.parse().ok()?),
            None => self.price_lists.get(name),
        }
    }

    /// Whether no file was ever applied: nobody is in it, and nothing leads in or out.
    pub fn is_empty(&self) -> bool {
        self.organisations.is_empty() && self.directory.numbers().is_empty() && self.directory.carriers().is_empty()
    }

    /// The meeting that callers name by `digits`.
    pub fn meeting_named(&self, digits: &str) -> Option<&Meeting> {
        self.by_conference_id.get(&self.pins.alias(digits)).and_then(|id| self.meetings.get(id))
    }

    pub fn meeting(&self, id: &MeetingId) -> Option<&Meeting> {
        self.meetings.get(id)
    }

    /// How many digits a conference ID has: all of a bridge have the same number. `None` where there is no meeting.
    pub fn conference_id_len(&self) -> Option<usize> {
        self.meetings.values().next().map(|meeting| meeting.settings.conference_id.len())
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

    /// Per-user licences held in an organisation at a moment: what its pool is made of.
    pub(super) fn pool_licences(&self, organisation: &Organisation, at: Wall) -> u64 {
        let holds = |user: &User| user.licences_at(organisation, at).audio_conferencing;
        let of = |user: &&User| user.organisation == organisation.id && holds(user);
        self.users.values().filter(of).count() as u64
    }
}

impl Organisation {
    /// Whether `at` is in the night or on a weekend where its days turn.
    pub fn is_quiet(&self, at: Wall) -> bool {
        let zone = jiff::tz::TimeZone::get(&self.time_zone);
        let stamp = jiff::Timestamp::from_microsecond(at.micros());
        // A zone that is gone from the machine: the tighter of the two.
        let (Ok(zone), Ok(stamp)) = (zone, stamp) else { return true };
        let there = zone.to_datetime(stamp);
        let weekend = [jiff::civil::Weekday::Saturday, jiff::civil::Weekday::Sunday].contains(&there.weekday());
        weekend || there.hour() < MORNING
    }

    fn percent(&self, at: Wall) -> Option<u32> {
        self.limits_at(at).caps.quiet_percent.filter(|_| self.is_quiet(at))
    }

    /// The limits that count its calls, at a moment, as the guard wants them. However small the share, one call has room.
    pub fn calls(&self, at: Wall) -> Limit {
        let percent = u64::from(self.percent(at).unwrap_or(100));
        let share = |most: u32| (u64::from(most) * percent).div_ceil(100) as u32;
        Limit { max_calls: self.limits.max_calls.map(share), max_calls_per_second: self.limits.max_calls_per_second }
    }

    /// What the day around `at` may use.
    pub(super) fn day_limit(&self, at: Wall) -> Option<Micros> {
        self.limits_at(at).max_spend_per_day.map(|most| self.share(most, at))
    }

    /// Of an amount a day, what holds around `at`.
    pub(super) fn share(&self, most: Micros, at: Wall) -> Micros {
        let percent = i128::from(self.percent(at).unwrap_or(100));
        Micros((i128::from(most.0) * percent / 100) as i64)
    }

    /// What all of it may use, while it is new.
    pub(super) fn first_day_limit(&self, at: Wall) -> Option<Micros> {
        let is_new = at.micros() < self.since.plus_millis(FIRST_DAY_MS).micros();
        self.limits_at(at).caps.first_day_micros.filter(|_| is_new).map(Micros)
    }

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
            locked: self.locked.is_some(),
        }
    }
}

impl User {
    /// As the decision wants it.
    pub(super) fn organiser(&self, organisation: &Organisation, at: Wall) -> Organiser {
        Organiser {
            user: self.id.clone(),
            licences: self.licences_at(organisation, at),
            dial_out: self.dial_out,
            toll_free: self.toll_free,
            country: self.country.unwrap_or(organisation.country),
            locked: self.locked.is_some(),
        }
    }
}

/// Reads everything, but the decks and the hot numbers where `decks_of` has those in use.
pub(super) async fn load(
    conn: &mut Connection,
    pins: PinKey,
    version: u64,
    decks_of: Option<&Facts>,
) -> Result<Facts, StoreError> {
    let mut organisations = rows::organisations(conn).await?;
    wishes::load(conn, &mut organisations).await?;
    licence::load_seats(conn, &mut organisations).await?;
    cooling::load(conn, &mut organisations).await?;
    let users = rows::users(conn).await?;
    let meetings = rows::meetings(conn).await?;
    let held_of_carriers = cooling::load_of_carriers(conn).await?;
    let directory = Directory::new(rows::carriers(conn).await?, rows::numbers(conn).await?);
    let mut countries = Countries::embedded();
    for (country, record) in rows::countries(conn).await? {
        countries.set_record(country, record);
    }
    let closed = rows::closed(conn).await?;
    let (tokens, revoked) = token::load(conn).await?;
    let by_conference_id = meetings.values().map(|meeting: &Meeting| named(&pins, &meeting.settings)).collect();
    let decks = match decks_of {
        Some(known) => known.decks.clone(),
        None => Arc::new(rows::decks(conn).await?),
    };
    let hot = match decks_of {
        Some(known) => known.hot.clone(),
        None => Arc::new(hot::load(conn).await?),
    };
    let mut price_lists = BTreeMap::clone(&decks);
    let deck = price_lists.remove(HOUSE).unwrap_or_else(|| Arc::new(Deck::empty(Currency::USD)));
    let exchanges = Arc::new(rows::exchanges(conn).await?);
    let costs = price_lists.extract_if(COST.to_owned().., |name, _| name.starts_with(COST));
    let costs = costs.filter_map(|(name, deck)| Some((name[COST.len()..].parse().ok()?, deck)));
    let costs = Costs::new(costs.collect::<Vec<_>>(), exchanges.clone());
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
        costs,
        decks,
        prices,
        house,
        by_conference_id,
        hot,
        held_of_carriers,
        closed,
        tokens,
        revoked,
        pins,
    })
}

/// The same, with other tokens.
pub(super) fn with_tokens(facts: &Facts, tokens: HashMap<String, Token>, revoked: HashMap<String, Token>) -> Facts {
    Facts { version: facts.version + 1, tokens, revoked, ..facts.clone() }
}

/// The same, with other hot numbers or blocks.
pub(super) fn with_hot(facts: &Facts, hot: Hot) -> Facts {
    Facts { version: facts.version + 1, hot: Arc::new(hot), ..facts.clone() }
}

fn named(pins: &PinKey, settings: &Settings) -> (String, MeetingId) {
    (pins.alias(&settings.conference_id), settings.id.clone())
}
