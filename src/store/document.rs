//! A file for `apply`, read: every value by its own type, all mistakes at once. What only the whole bridge can tell
//! (is there such an organiser, is the conference ID free) is asked in `check`.

use super::door::NewGrant;
use super::entry::LOCKED;
use super::facts::{Caps, HOUSE, Limits, Meeting, OnEmpty, Organisation, User};
use super::known;
use super::licence::{Seats, Terms, give};
use super::lock::{Lock, Locker};
use super::pin::is_pin;
use super::{gift, manner, wishes};
use crate::clock::Wall;
use crate::form::{Document as Sheet, Form, Mistake};
use crate::meeting::{MOST_PARTICIPANTS, Settings};
use crate::notice::HookUrl;
use crate::rating::costs::COST;
use crate::rating::reader::read_moment;
use crate::rating::{Countries, CountryRecord, Deck, Exchange, Licences};
use crate::trunk::{Carrier, DialPlan, Failure, Number, TlsName, WrittenAs};
use crate::types::{CarrierId, Cause, Country, Currency, Micros, OrganisationId, UserId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The largest file read: 100 000 users' worth. A larger one is no file for `apply`.
pub const LARGEST_FILE: usize = 64 << 20;

/// A value and the line that it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Placed<T> {
    pub line: usize,
    pub value: T,
}

/// What a file says, before it is held against what there is.
#[derive(Clone, Debug)]
pub struct Document {
    pub(super) file: String,
    pub(super) organisations: Vec<Placed<Organisation>>,
    /// The opening funding of each organisation, in the order of `organisations`.
    pub(super) credits: Vec<Option<Placed<Micros>>>,
    /// Of each organisation, likewise, whether the file says that it is locked or open.
    pub(super) names_lock: Vec<bool>,
    pub(super) users: Vec<Placed<UserEntry>>,
    pub(super) meetings: Vec<Placed<Meeting>>,
    pub(super) grants: Vec<Placed<NewGrant>>,
    pub(super) numbers: Vec<Placed<Number>>,
    pub(super) carriers: Vec<Placed<Carrier>>,
    /// Of each carrier, in the order of `carriers`, whether the file says that it is locked or open.
    pub(super) names_carrier_lock: Vec<bool>,
    pub(super) countries: Vec<Placed<(Country, CountryRecord)>>,
    pub(super) exchanges: Vec<Placed<ExchangeEntry>>,
    /// The decks beside the file, the house's first.
    pub(super) decks: Vec<Placed<DeckFile>>,
    /// Whose eyes its mistakes are for, where it is one entry of an organisation: others' names are not told to them.
    pub(super) seen_by: Option<OrganisationId>,
}

/// Where one entry stands, when it is read by itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Within<'a> {
    Organisation,
    User(&'a Organisation),
    Meeting(&'a Organisation),
    Number,
    Carrier,
}

/// A user, and the PIN as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UserEntry {
    pub user: User,
    pub pin: Option<Pin>,
    /// Whether the file says that they are locked or open.
    pub names_lock: bool,
}

/// A PIN on its way to its hash. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pin(pub String);

impl std::fmt::Debug for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pin")
    }
}

/// A rate of exchange as the file has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExchangeEntry {
    pub exchange: Exchange,
    pub to: Currency,
    pub valid_from: Wall,
}

/// A deck beside the file.
#[derive(Clone, Debug)]
pub(super) struct DeckFile {
    pub list: String,
    pub name: String,
    pub csv: String,
    pub deck: Arc<Deck>,
}

/// What `apply` changed: how many of each the file had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub organisations: usize,
    pub users: usize,
    pub meetings: usize,
    pub numbers: usize,
    pub carriers: usize,
    pub countries: usize,
    /// Rows of the decks that are newly in use; `None` where the file named none, or those in use.
    pub rates: Option<usize>,
    /// Opening fundings booked now (a repeat books none).
    pub funded: usize,
    /// Grants given now, likewise.
    pub granted: usize,
    /// Grants that are over and were never given: they are not.
    pub over: usize,
    /// Raised limits of its organisations and carriers that wait.
    pub pending: usize,
}

/// What a file would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    pub applied: Applied,
    /// As the trail would tell it: a JSON object of `changed` (what, before, after), `more_changed`, `pending`, `lists`, each
    /// where there is any.
    pub detail: String,
}

impl Document {
    /// Reads `text`. `beside` reads a file that stands beside it (a deck), or says why it cannot be read.
    pub fn parse(
        file: &str,
        text: &str,
        mut beside: impl FnMut(&str) -> Result<String, String>,
    ) -> Result<Document, Vec<Mistake>> {
        if text.len() > LARGEST_FILE {
            let text = format!("larger than {} MiB", LARGEST_FILE >> 20);
            return Err(vec![Mistake { file: file.to_owned(), line: 1, text }]);
        }
        let sheet = Sheet::parse(file, text);
        let form = sheet.form();
        let mut deck_mistakes = Vec::new();
        let mut decks = Vec::new();
        let mut read = |form: &Form<'_>, list: String| {
            let (deck, mistakes) = deck(form, list, &mut beside);
            deck_mistakes.extend(mistakes);
            decks.extend(placed(form, deck));
        };
        read(&form, HOUSE.to_owned());
        for form in form.tables("price_list") {
            if let Some(name) = form.required::<String>("name") {
                price_list_name(&form, "name", &name);
                form.required::<String>("rates").into_iter().for_each(|_| read(&form, name.clone()));
            }
            form.finish();
        }
        let mut document = Document {
            numbers: all(&form, "number", number),
            carriers: all(&form, "carrier", carrier),
            names_carrier_lock: form.tables("carrier").iter().map(|form| form.has(LOCKED)).collect(),
            countries: countries(&form),
            exchanges: all(&form, "exchange", exchange),
            decks,
            ..Document::empty(file)
        };
        for part in form.tables("organisation") {
            document.organisation(&part);
        }
        form.finish();
        let mut mistakes = sheet.mistakes();
        mistakes.extend(deck_mistakes);
        if mistakes.is_empty() { Ok(document) } else { Err(mistakes) }
    }

    fn empty(file: &str) -> Document {
        Document {
            file: file.to_owned(),
            organisations: Vec::new(),
            credits: Vec::new(),
            names_lock: Vec::new(),
            users: Vec::new(),
            meetings: Vec::new(),
            grants: Vec::new(),
            numbers: Vec::new(),
            carriers: Vec::new(),
            names_carrier_lock: Vec::new(),
            countries: Vec::new(),
            exchanges: Vec::new(),
            decks: Vec::new(),
            seen_by: None,
        }
    }

    /// One entry by itself: its keys stand at the top of `text`.
    pub(super) fn of_one(name: &str, text: &str, within: Within<'_>) -> Result<Document, Vec<Mistake>> {
        let sheet = Sheet::parse(name, text);
        let form = sheet.form();
        let mut document = Document::empty(name);
        match within {
            Within::Organisation => document.organisation_alone(&form),
            Within::User(of) => {
                let all = user(&form, Some(of)).map(|entry| UserEntry { names_lock: true, ..entry });
                document.users.extend(placed(&form, all));
            }
            Within::Meeting(of) => document.meetings.extend(placed(&form, meeting(&form, Some(of)))),
            Within::Number => document.numbers.extend(placed(&form, number(&form))),
            Within::Carrier => {
                document.carriers.extend(placed(&form, carrier(&form)));
                document.names_carrier_lock = vec![true; document.carriers.len()];
            }
        }
        if let Within::User(of) | Within::Meeting(of) = within {
            document.seen_by = Some(of.id.clone());
        }
        form.finish();
        let mistakes = sheet.mistakes();
        if mistakes.is_empty() { Ok(document) } else { Err(mistakes) }
    }

    fn organisation_alone(&mut self, form: &Form<'_>) {
        let credits = form.decimal("credits").and_then(|amount| money(form, "credits", amount));
        let Some(organisation) = placed(form, organisation(form)) else { return };
        self.credits.push(credits.map(|value| Placed { line: form.line_of("credits"), value }));
        self.names_lock.push(true);
        self.organisations.push(organisation);
    }

    /// Every hook that the file names, and its line: for whoever looks where they lead before they are saved.
    pub fn hooks(&self) -> Vec<(usize, HookUrl)> {
        let of = |placed: &Placed<Organisation>| {
            let webhook = placed.value.alerts.as_ref().and_then(|alerts| alerts.hook.as_ref()).map(|(url, _)| url);
            let payment = placed.value.recharge.as_ref().map(|recharge| &recharge.hook);
            webhook.into_iter().chain(payment).map(|url| (placed.line, url.clone())).collect::<Vec<_>>()
        };
        self.organisations.iter().flat_map(of).collect()
    }

    /// What it is called where its mistakes are told.
    pub fn file(&self) -> &str {
        &self.file
    }

    fn organisation(&mut self, form: &Form<'_>) {
        let organisation = organisation(form);
        let credits = form.decimal("credits").and_then(|amount| money(form, "credits", amount));
        let users = form.tables("user");
        let meetings = form.tables("meeting");
        let grants = form.tables("grant");
        form.finish();
        let Some(organisation) = organisation else {
            // Its users, meetings and grants are read all the same, for their own mistakes.
            users.iter().for_each(|form| drop(user(form, None)));
            meetings.iter().for_each(|form| drop(meeting(form, None)));
            grants.iter().for_each(|form| drop(gift::read(form, None)));
            return;
        };
        let of = Some(&organisation);
        self.users.extend(users.iter().filter_map(|form| placed(form, user(form, of))));
        self.meetings.extend(meetings.iter().filter_map(|form| placed(form, meeting(form, of))));
        self.grants.extend(grants.iter().filter_map(|form| placed(form, gift::read(form, of))));
        let line = form.line_of("credits");
        self.credits.push(credits.map(|value| Placed { line, value }));
        self.names_lock.push(form.has(LOCKED));
        self.organisations.push(Placed { line: form.line(), value: organisation });
    }
}

fn placed<T>(form: &Form<'_>, value: Option<T>) -> Option<Placed<T>> {
    value.map(|value| Placed { line: form.line(), value })
}

/// All tables of `[[key]]`; keys that nobody knows are told.
fn all<T>(form: &Form<'_>, key: &str, read: fn(&Form<'_>) -> Option<T>) -> Vec<Placed<T>> {
    let one = |form: &Form<'_>| {
        let value = read(form);
        form.finish();
        placed(form, value)
    };
    form.tables(key).iter().filter_map(one).collect()
}

fn money(form: &Form<'_>, key: &str, amount: rust_decimal::Decimal) -> Option<Micros> {
    let amount = Micros::from_decimal(amount).map_err(|error| form.mistake(key, error)).ok()?;
    if amount < Micros::ZERO {
        form.mistake(key, "expected an amount of zero or more");
        return None;
    }
    Some(amount)
}

fn limit(form: &Form<'_>, key: &str) -> Option<u32> {
    form.number(key, 1..=1_000_000).and_then(|number| u32::try_from(number).ok())
}

/// Small letters, digits and `-`, and not the house's; or `cost:` and a carrier.
fn price_list_name(form: &Form<'_>, key: &str, name: &str) {
    if let Some(carrier) = name.strip_prefix(COST) {
        if let Err(why) = carrier.parse::<CarrierId>() {
            form.mistake(key, format_args!("{COST} and a carrier: {why}, found \"{carrier}\""));
        }
        return;
    }
    let sound = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(sound) {
        form.mistake(key, format_args!("expected small letters, digits and -, found \"{name}\""));
    } else if name == HOUSE {
        form.mistake(key, format_args!("\"{HOUSE}\" is the list of `rates`, which everybody has last"));
    }
}

fn exchange(form: &Form<'_>) -> Option<ExchangeEntry> {
    let (from, to) = (form.required::<Currency>("from"), form.required::<Currency>("to"));
    let rate = form.decimal("rate");
    if !form.has("rate") {
        form.mistake("rate", "missing");
    }
    let valid_from = form.text::<String>("valid_from").map_or(Some(Wall::from_seconds(0)), |text| {
        let moment = read_moment(&text);
        if moment.is_none() {
            form.mistake("valid_from", format_args!("expected 2026-01-01 or 2026-01-01T00:00:00Z, found \"{text}\""));
        }
        moment
    });
    if from.is_some() && from == to {
        form.mistake("to", "a currency is not exchanged for itself");
    }
    let exchange = Exchange::new(from?, rate?).map_err(|why| form.mistake("rate", why)).ok()?;
    Some(ExchangeEntry { exchange, to: to?, valid_from: valid_from? })
}

/// A deck beside the file, with its own mistakes (they stand in another file).
fn deck(
    form: &Form<'_>,
    list: String,
    beside: impl FnOnce(&str) -> Result<String, String>,
) -> (Option<DeckFile>, Vec<Mistake>) {
    let Some(name) = form.text::<String>("rates") else { return (None, Vec::new()) };
    let csv = match beside(&name) {
        Ok(csv) => csv,
        Err(why) => {
            form.mistake("rates", format_args!("{name} cannot be read: {why}"));
            return (None, Vec::new());
        }
    };
    match Deck::parse(&name, &csv) {
        Ok(deck) => (Some(DeckFile { list, name, csv, deck: Arc::new(deck) }), Vec::new()),
        Err(mistakes) => (None, mistakes),
    }
}

fn organisation(form: &Form<'_>) -> Option<Organisation> {
    let id = form.required("id");
    let country = form.required::<Country>("country");
    let limits = limits(&form.table("limits"));
    let alerts = form.has("alerts").then(|| wishes::alerts(&form.table("alerts"))).flatten();
    let recharge = form.has("recharge").then(|| wishes::recharge(&form.table("recharge"))).flatten();
    let on_empty = form.word("on_empty", OnEmpty::WORDS).unwrap_or_default();
    let overdraft = form.decimal("overdraft").and_then(|amount| money(form, "overdraft", amount));
    if overdraft.is_some_and(|amount| amount > Micros::ZERO) && on_empty != OnEmpty::Finish {
        form.mistake("overdraft", "only with on_empty = \"finish\"");
    }
    let time_zone = form.text::<String>("time_zone").unwrap_or_else(|| "UTC".to_owned());
    if jiff::tz::TimeZone::get(&time_zone).is_err() {
        form.mistake("time_zone", format_args!("expected an IANA time zone, like Europe/Rome, found \"{time_zone}\""));
    }
    let found = Organisation {
        name: form.text("name").or_else(|| form.text("id")).unwrap_or_default(),
        currency: form.text("currency").unwrap_or(Currency::USD),
        volume_licensing: form.flag("volume_licensing").unwrap_or(false),
        require_credits_licence: form.flag("require_credits_licence").unwrap_or(false),
        on_empty,
        overdraft: overdraft.unwrap_or_default(),
        time_zone,
        allow_prefixes: prefixes(form),
        price_lists: form.texts("price_lists").unwrap_or_default(),
        discount: form.text("discount").unwrap_or_default(),
        pool_split: form.text("pool_split").unwrap_or_default(),
        refund_days: form.number("refund_days", 0..=3_660).map_or(REFUND_DAYS, |days| u32::try_from(days).unwrap_or(0)),
        limits,
        held: Vec::new(),
        alerts,
        recharge,
        seats: Seats::read(&form.table("seats")),
        since: Wall::from_seconds(0),
        closed: false,
        locked: locked(form),
        id: id?,
        country: country?,
    };
    Some(found)
}

/// Why somebody is locked; an empty text opens. Whoever brings a file is the house.
fn locked(form: &Form<'_>) -> Option<Lock> {
    let why = form.text::<String>(LOCKED)?.trim().to_owned();
    if why.len() > LONGEST_LOCK {
        form.mistake(LOCKED, format_args!("expected at most {LONGEST_LOCK} bytes that say why"));
    }
    Some(why).filter(|why| !why.is_empty()).map(|why| Lock { why, by: Locker::House })
}

/// Bytes of the reason of a lock: a sentence.
pub const LONGEST_LOCK: usize = 300;

/// How long fundings are open again for refunds, where the file does not say.
const REFUND_DAYS: u32 = 30;

fn prefixes(form: &Form<'_>) -> Vec<String> {
    let prefixes = form.texts::<String>("allow_prefixes").unwrap_or_default();
    let digits = |text: &String| text.strip_prefix('+').unwrap_or(text).to_owned();
    let prefixes: Vec<String> = prefixes.iter().map(digits).collect();
    for prefix in &prefixes {
        let sound = (1..=15).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_digit());
        if !sound || prefix.starts_with('0') {
            form.mistake("allow_prefixes", format_args!("expected digits with the country code, found \"{prefix}\""));
        }
    }
    prefixes
}

fn limits(form: &Form<'_>) -> Limits {
    let amount = |key: &str| form.decimal(key).and_then(|amount| money(form, key, amount));
    let found = Limits {
        max_calls: limit(form, "max_calls"),
        max_calls_per_second: limit(form, "max_calls_per_second"),
        max_call_s: limit(form, "max_call_minutes").map(|minutes| minutes.saturating_mul(60)),
        max_spend_per_day: amount("max_spend_per_day"),
        max_spend_per_leg: amount("max_spend_per_leg"),
        caps: Caps {
            organiser_calls: limit(form, "organiser_calls"),
            organiser_calls_per_second: limit(form, "organiser_calls_per_second"),
            meeting_calls: limit(form, "meeting_calls"),
            meeting_calls_per_second: limit(form, "meeting_calls_per_second"),
            organiser_day_micros: amount("organiser_spend_per_day").map(|amount| amount.0),
            meeting_day_micros: amount("meeting_spend_per_day").map(|amount| amount.0),
            block_calls: limit(form, "block_calls"),
            rate_micros: amount("max_rate_per_minute").map(|amount| amount.0),
            first_day_micros: amount("max_spend_first_day").map(|amount| amount.0),
            quiet_percent: form.number("quiet_percent", 1..=100).and_then(|number| u32::try_from(number).ok()),
        },
    };
    form.finish();
    found
}

fn user(form: &Form<'_>, of: Option<&Organisation>) -> Option<UserEntry> {
    let id = form.required::<UserId>("id");
    let pin = form.text::<String>("pin");
    if pin.as_deref().is_some_and(|pin| !is_pin(pin)) {
        // The PIN itself is not repeated: mistakes are logged and shown.
        form.mistake("pin", "expected 4 to 12 digits");
    }
    let (mut licences, mut terms) = (Licences::default(), Terms::default());
    for word in form.texts::<String>("licences").unwrap_or_default() {
        give((&mut licences, &mut terms), &word).unwrap_or_else(|why| form.mistake("licences", why));
    }
    let name = form.text("name").or_else(|| form.text("id")).unwrap_or_default();
    let (dial_out, toll_free) = (form.text("dial_out").unwrap_or_default(), form.flag("toll_free").unwrap_or(true));
    let (country, locked, names_lock) = (form.text("country"), locked(form), form.has(LOCKED));
    form.finish();
    let organisation = of?.id.clone();
    let user = User { id: id?, organisation, name, licences, terms, dial_out, toll_free, country, locked, pin: None };
    Some(UserEntry { user, pin: pin.map(Pin), names_lock })
}

fn meeting(form: &Form<'_>, of: Option<&Organisation>) -> Option<Meeting> {
    let (id, organiser) = (form.required("id"), form.required("organiser"));
    let conference_id = form.required::<String>("conference_id");
    let sound = |id: &String| (7..=12).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_digit());
    if conference_id.as_ref().is_some_and(|id| !sound(id)) {
        form.mistake("conference_id", "expected 7 to 12 digits, in quotes");
    }
    let most = form.number("max_participants", 1..=MOST_PARTICIPANTS as u64);
    let lobby = form.flag("lobby").unwrap_or(false);
    let callers_may_start = form.flag("callers_may_start").unwrap_or(false);
    let tones = form.flag("tones").unwrap_or(true);
    let confirm_join = form.flag("confirm_join").unwrap_or(false);
    let language = form.text("language");
    form.finish();
    let settings = Settings {
        organisation: of?.id.clone(),
        id: id?,
        conference_id: conference_id?,
        organiser: organiser?,
        lobby,
        callers_may_start,
        max_participants: most.map_or(MOST_PARTICIPANTS, |most| most as usize),
        tones,
        confirm_join,
    };
    Some(Meeting { settings, language })
}

fn number(form: &Form<'_>) -> Option<Number> {
    let (e164, kind) = (form.required("e164"), form.required("kind"));
    let country = form.required("country");
    let found = Number {
        city: form.text("city"),
        languages: form.texts("languages").unwrap_or_default(),
        organisation: form.text("organisation"),
        meeting: form.text("meeting"),
        alias: form.text("alias"),
        e164: e164?,
        kind: kind?,
        country: country?,
    };
    Some(found)
}

fn carrier(form: &Form<'_>) -> Option<Carrier> {
    let id = form.required("id");
    let sources = form.texts("sources").unwrap_or_default();
    let route = form.text("route");
    let (digest, register, ping_s) = (known::digest(form), known::register(form), known::ping_s(form));
    if sources.is_empty() && !["route", "digest", "register", "tls_name"].iter().any(|key| form.has(key)) {
        form.mistake("sources", "a carrier has sources, a route, a digest, a tls_name, or some of them");
    }
    let tls_only = form.flag("tls_only");
    if tls_only == Some(false)
        && form.has("tls_name")
        && sources.is_empty()
        && !["digest", "register"].iter().any(|key| form.has(key))
    {
        form.mistake("tls_only", "by what but TLS is it to be known? It has no sources, digest or registration");
    }
    let out = form.text::<WrittenAs>("number_format");
    // A format that also says how to read holds for both ways; one that only says how to write, for calls out.
    let both = out.as_ref().and_then(|format| format.to_string().parse::<DialPlan>().ok());
    let plain = manner::of_form(form, Carrier::new("x".parse().ok()?));
    let found = Carrier {
        codecs: form.texts("codecs").unwrap_or_default(),
        max_calls: limit(form, "max_calls"),
        max_calls_per_second: limit(form, "max_calls_per_second"),
        max_spend_per_day: form.decimal("max_spend_per_day").and_then(|most| money(form, "max_spend_per_day", most)),
        number_format_in: form.text("number_format_in").or(both).unwrap_or_default(),
        number_format_out: form.text("number_format_out").or(out).unwrap_or_default(),
        called_from: form.texts("called_from").unwrap_or_else(|| plain.called_from.clone()),
        tls_name: form.text::<TlsName>("tls_name").map(|name| name.0),
        tls_only: tls_only.unwrap_or(true),
        advertise: form.text("advertise"),
        srtp: form.text("srtp").unwrap_or_default(),
        learn_source: form.flag("learn_source").unwrap_or(false),
        locked: locked(form).map(|lock| lock.why),
        on_lock: form.text("on_lock").unwrap_or(plain.on_lock),
        old_syntax: form.flag("old_syntax").unwrap_or(false),
        failure_map: failures(&form.table("failure_map")),
        digest,
        register,
        ping_s,
        sources,
        route,
        id: id?,
        ..plain
    };
    Some(found)
}

fn failures(form: &Form<'_>) -> BTreeMap<Cause, Failure> {
    let mut map = BTreeMap::new();
    for (key, value) in form.entries() {
        let cause = key.parse::<Cause>().map_err(|why| form.mistake(&key, why)).ok();
        let failure = value.parse::<Failure>().map_err(|why| form.mistake(&key, why)).ok();
        map.extend(cause.zip(failure));
    }
    map
}

/// Flags over the embedded table; those that the file does not name stay as they are there.
fn countries(form: &Form<'_>) -> Vec<Placed<(Country, CountryRecord)>> {
    let embedded = Countries::embedded();
    let one = |form: &Form<'_>| {
        let code = form.required::<Country>("code")?;
        let Some(record) = embedded.record(code) else {
            form.mistake("code", format_args!("country {code} is not in the table"));
            return None;
        };
        let flag = |key: &str, usual: bool| form.flag(key).unwrap_or(usual);
        let record = CountryRecord {
            service_sold: flag("service_sold", record.service_sold),
            automatic_numbers: flag("automatic_numbers", record.automatic_numbers),
            toll: flag("toll", record.toll),
            toll_free: flag("toll_free", record.toll_free),
            dial_out: flag("dial_out", record.dial_out),
            credits_sold: flag("credits_sold", record.credits_sold),
            zone_a: flag("zone_a", record.zone_a),
        };
        form.finish();
        placed(form, Some((code, record)))
    };
    form.tables("country").iter().filter_map(one).collect()
}
