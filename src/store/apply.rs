//! Brings a file into the store: all of it, or nothing. Live legs keep their frozen terms, so nothing here touches them.

use super::books::{Books, hash_text};
use super::check::check;
use super::cooling::LimitsOf;
use super::credits;
use super::document::{Applied, DeckFile, Document, ExchangeEntry, Placed, Preview, UserEntry};
use super::door::{CreditsAdded, Funds, FundsKind};
use super::entry::{self, EntryId};
use super::facts::{self, Facts, HOUSE, Meeting, OnEmpty, Organisation};
use super::fault::StoreError;
use super::gift::Gifts;
use super::pin::Fit;
use super::rows::list_text;
use super::sql::{self, Connection};
use super::threshold::{self, Seen};
use super::trail::{self, Who};
use super::{cooling, gift, known, licence, manner, pin, wishes};
use crate::clock::Wall;
use crate::form::Mistake;
use crate::rating::{CountryRecord, ledger};
use crate::trunk::{Carrier, Number};
use crate::types::{Country, Micros, OrganisationId};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Checks and writes a file. Mistakes are an answer: nothing is written then.
pub(super) async fn apply(
    books: &mut Books,
    (document, now, who): &(Document, Wall, Who),
) -> Result<Result<Applied, Vec<Mistake>>, StoreError> {
    let (opened, given) = (opened(books, document).await?, gift::given(books, document).await?);
    let mistakes = check(document, &books.facts, (&opened, &given), *now);
    if !mistakes.is_empty() {
        let reasons: Vec<String> = mistakes.iter().map(|mistake| mistake.text.clone()).collect();
        let (what, detail) = (format!("file {}", document.file), trail::refusal(&reasons));
        let step = trail::Step { at: *now, who, verb: "apply", what, organisation: None, detail };
        trail::write(books, step).await?;
        return Ok(Err(mistakes));
    }

    let Entered { applied, whole, own } = entered(books, document, *now).await?;
    tell(books, document, (*now, who), whole).await?;
    for (organisation, part) in own {
        tell_own(books, (*now, who), &organisation, part).await?;
    }
    Ok(Ok(applied))
}

/// What a file would change. It is entered, and all of it is taken back: so it is told what came of it, and nothing else.
pub(super) async fn preview(
    books: &mut Books,
    (document, now): &(Document, Wall),
) -> Result<Result<Preview, Vec<Mistake>>, StoreError> {
    books.write().await?;
    let (facts, outbox, raised) = (books.facts.clone(), books.outbox, books.raised.len());
    let (opened, given) = (opened(books, document).await?, gift::given(books, document).await?);
    let mistakes = check(document, &facts, (&opened, &given), *now);
    if !mistakes.is_empty() {
        return Ok(Err(mistakes));
    }
    books.conn.run("SAVEPOINT preview").await?;
    let entered = entered(books, document, *now).await;
    books.forget();
    (books.facts, books.outbox) = (facts, outbox);
    books.raised.truncate(raised);
    books.conn.run("ROLLBACK TO preview; RELEASE preview").await?;
    let Entered { applied, whole, .. } = entered?;
    let mut detail = json!({});
    whole.put_into(&mut detail);
    Ok(Ok(Preview { applied, detail: detail.to_string() }))
}

/// A file that was entered, and what that changed.
struct Entered {
    applied: Applied,
    whole: Part,
    own: BTreeMap<OrganisationId, Part>,
}

async fn entered(books: &mut Books, document: &Document, now: Wall) -> Result<Entered, StoreError> {
    let lists = trail_of_lists(books, document);
    let before = books.facts.clone();
    let (rates, funded) = enter(books, document, now).await?;
    let Gifts { given, over } = gift::give(books, document, now).await?;
    let granted = given.len();
    let (mut whole, mut own) = changed(document, &before, &books.facts, now);
    for (organisation, grant) in given {
        own.entry(organisation).or_default().add(|| grant.clone());
        whole.add(|| grant);
    }
    whole.lists = lists;
    let applied = Applied {
        organisations: document.organisations.len(),
        users: document.users.len(),
        meetings: document.meetings.len(),
        numbers: document.numbers.len(),
        carriers: document.carriers.len(),
        countries: document.countries.len(),
        rates,
        funded,
        granted,
        over,
        pending: whole.pending.len(),
    };
    Ok(Entered { applied, whole, own })
}

/// Writes what was checked, and makes it the facts from now on: how many rates and opening fundings are new.
pub(super) async fn enter(
    books: &mut Books,
    document: &Document,
    now: Wall,
) -> Result<(Option<usize>, usize), StoreError> {
    let rates = write(books, document, now).await?;
    let before = books.facts.clone();
    // A deck of 200,000 rows is read for half a second, and calls' holds wait meanwhile: only where one is new.
    let decks = rates.is_none().then_some(&*before);
    let loaded = facts::load(&mut books.conn, before.pins().clone(), before.version + 1, decks).await;
    books.facts = Arc::new(loaded?);
    let funded = open_accounts(books, document, now).await?;
    for placed in &document.organisations {
        // As the facts have it: with the raises that wait.
        let organisation = books.organisation(&placed.value.id)?;
        threshold::money(books, &organisation, Seen::default(), now).await?;
    }
    Ok((rates, funded))
}

/// The price lists that the file brings, each with the version that it takes the place of.
fn trail_of_lists(books: &Books, document: &Document) -> Vec<Value> {
    let before = |list: &str| match list {
        HOUSE => Some(&books.facts.deck),
        _ => books.facts.price_lists.get(list),
    };
    let lists = document.decks.iter().map(|deck| &deck.value);
    let shown = lists.map(|file| {
        let before = before(&file.list).map(|deck| deck.version().to_string());
        json!({ "list": file.list, "before": before, "after": file.deck.version().to_string() })
    });
    shown.collect()
}

/// Entries of a file that its row tells field by field; of more it is told how many.
const MOST_TOLD: usize = 100;

/// What a file names, entry by entry.
fn entries(document: &Document) -> impl Iterator<Item = EntryId> {
    fn of<T>(all: &[Placed<T>], entry: impl Fn(&T) -> EntryId) -> impl Iterator<Item = EntryId> {
        all.iter().map(move |placed| entry(&placed.value))
    }
    of(&document.organisations, |own| EntryId::Organisation(own.id.clone()))
        .chain(of(&document.users, |entry| EntryId::User(entry.user.id.clone())))
        .chain(of(&document.meetings, |meeting| EntryId::Meeting(meeting.settings.id.clone())))
        .chain(of(&document.numbers, |number| EntryId::Number(number.e164)))
        .chain(of(&document.carriers, |carrier| EntryId::Carrier(carrier.id.clone())))
}

/// What a file changed: all of it, or what is one organisation's.
#[derive(Default)]
struct Part {
    /// Entries with their fields before and after.
    changed: Vec<Value>,
    /// Those that are not among them.
    more: usize,
    /// Raised limits that wait.
    pending: Vec<Value>,
    /// Price lists; of all of it.
    lists: Vec<Value>,
}

impl Part {
    fn add(&mut self, told: impl FnOnce() -> Value) {
        if self.changed.len() == MOST_TOLD {
            self.more += 1;
        } else {
            self.changed.push(told());
        }
    }

    fn put_into(self, detail: &mut Value) {
        for (name, part) in [("lists", self.lists), ("changed", self.changed), ("pending", self.pending)] {
            if !part.is_empty() {
                detail[name] = part.into();
            }
        }
        if self.more > 0 {
            detail["more_changed"] = self.more.into();
        }
    }
}

/// What a file changed of what there was, as a change by itself is told; and beside it each organisation's part.
fn changed(document: &Document, before: &Facts, after: &Facts, now: Wall) -> (Part, BTreeMap<OrganisationId, Part>) {
    let (mut whole, mut own) = (Part::default(), BTreeMap::<OrganisationId, Part>::new());
    for organisation in &document.organisations {
        let pending = cooling::told(after, &LimitsOf::Organisation(organisation.value.id.clone()), now);
        if !pending.is_empty() {
            whole.pending.extend(pending.iter().cloned());
            own.entry(organisation.value.id.clone()).or_default().pending = pending;
        }
    }
    for carrier in &document.carriers {
        whole.pending.extend(cooling::told(after, &LimitsOf::Carrier(carrier.value.id.clone()), now));
    }
    for entry in entries(document) {
        let was = before.keys(&entry);
        let (mut old, mut new) =
            entry::difference(entry.kind(), &was.clone().unwrap_or_default(), &after.keys(&entry).unwrap_or_default());
        if let EntryId::User(id) = &entry {
            let pin = |facts: &Facts| facts.users.get(id).and_then(|user| user.pin.clone());
            match (pin(before), pin(after)) {
                (was, is) if was == is => {}
                (was, is) => {
                    was.iter().for_each(|_| drop(old.insert("pin".to_owned(), "set".into())));
                    let word = if was.is_some() { "changed" } else { "set" };
                    is.iter().for_each(|_| drop(new.insert("pin".to_owned(), word.into())));
                }
            }
        }
        if old.is_empty() && new.is_empty() && was.is_some() {
            continue;
        }
        let told = || json!({ "what": entry.to_string(), "before": was.as_ref().map(|_| &old), "after": new });
        whole.add(told);
        let (from, to) = (before.owner_of(&entry), after.owner_of(&entry));
        if from == to {
            from.into_iter().for_each(|owner| own.entry(owner.clone()).or_default().add(told));
            continue;
        }
        // A number that changes hands: each is told of its own time with it, and not with whom it is now or was.
        let (lost, got) = (
            json!({ "what": entry.to_string(), "before": old, "after": null }),
            json!({ "what": entry.to_string(), "before": null, "after": new }),
        );
        from.into_iter().for_each(|owner| own.entry(owner.clone()).or_default().add(|| lost.clone()));
        to.into_iter().for_each(|owner| own.entry(owner.clone()).or_default().add(|| got.clone()));
    }
    (whole, own)
}

/// An organisation's own row: what a file of the house changed of its own, and of nobody else's.
async fn tell_own(
    books: &mut Books,
    (at, who): (Wall, &Who),
    organisation: &OrganisationId,
    part: Part,
) -> Result<(), StoreError> {
    // Where the house keeps its file is the house's.
    let (what, mut detail) = ("file".to_owned(), json!({}));
    part.put_into(&mut detail);
    trail::write(books, trail::Step { at, who, verb: "apply", what, organisation: Some(organisation), detail }).await
}

/// One row for the file: what it named, and what that changed.
async fn tell(books: &mut Books, document: &Document, by: (Wall, &Who), part: Part) -> Result<(), StoreError> {
    fn names<T>(all: &[Placed<T>], name: impl Fn(&T) -> String) -> Vec<String> {
        all.iter().map(|placed| name(&placed.value)).collect()
    }
    let mut detail = json!({
        "organisations": names(&document.organisations, |own| own.id.to_string()),
        "users": names(&document.users, |entry| entry.user.id.to_string()),
        "meetings": names(&document.meetings, |meeting| meeting.settings.id.to_string()),
        "grants": names(&document.grants, |grant| grant.id.to_string()),
        "numbers": names(&document.numbers, |number| number.e164.to_string()),
        "carriers": names(&document.carriers, |carrier| carrier.id.to_string()),
        "countries": names(&document.countries, |(code, _)| code.as_str().to_owned()),
    });
    part.put_into(&mut detail);
    let what = format!("file {}", document.file);
    trail::write(books, trail::Step { at: by.0, who: by.1, verb: "apply", what, organisation: None, detail }).await
}

/// The key of an organisation's opening funding.
fn opening_key(organisation: &OrganisationId) -> String {
    format!("opening:{organisation}")
}

pub(super) async fn opened(
    books: &mut Books,
    document: &Document,
) -> Result<HashMap<OrganisationId, Micros>, StoreError> {
    let mut opened = HashMap::new();
    for organisation in &document.organisations {
        let id = &organisation.value.id;
        if let Some((_, amount)) = credits::booked(books, &opening_key(id)).await? {
            opened.insert(id.clone(), Micros(amount));
        }
    }
    Ok(opened)
}

async fn write(books: &mut Books, document: &Document, now: Wall) -> Result<Option<usize>, StoreError> {
    let facts = books.facts.clone();
    let conn = &mut books.conn;
    for country in &document.countries {
        write_country(conn, country.value.0, country.value.1).await?;
    }
    for (organisation, names_lock) in document.organisations.iter().zip(&document.names_lock) {
        write_organisation(conn, &organisation.value, *names_lock, now).await?;
        let before = facts.organisations.get(&organisation.value.id);
        cooling::write(conn, before, &organisation.value, now, books.cooling_ms).await?;
        wishes::write(conn, &organisation.value).await?;
        licence::write_seats(conn, &organisation.value).await?;
    }
    let sets_pins = document.users.iter().any(|user| user.value.pin.is_some());
    if sets_pins {
        let why = match pin::claim(conn, facts.pins(), names_pin_in_use(document, &facts)).await? {
            Fit::Own => None,
            Fit::Another => {
                Some("another node has set PINs with its own key: give all nodes one pin-key file, then set PINs")
            }
            Fit::Unproven => Some(
                "it is not known whether the PINs that there are were set with this node's pin-key file: let an organiser \
                 enter theirs in a call, or name one as it is beside those that you set, or take all of them away first",
            ),
        };
        if let Some(why) = why {
            return Err(StoreError::Conflict(why.to_owned()));
        }
    }
    for user in &document.users {
        let entry = &user.value;
        let pin = entry.pin.as_ref().map(|pin| facts.pins().hash(&entry.user.id, &pin.0));
        // A change of something else leaves the one that there is.
        let pin = pin.or_else(|| entry.user.pin.clone());
        write_user(conn, entry, pin).await?;
    }
    clear_conference_ids(conn, document).await?;
    for meeting in &document.meetings {
        write_meeting(conn, &meeting.value).await?;
    }
    clear_aliases(conn, document).await?;
    for number in &document.numbers {
        write_number(conn, &number.value).await?;
    }
    for (carrier, names_lock) in document.carriers.iter().zip(&document.names_carrier_lock) {
        write_carrier(conn, &carrier.value, *names_lock).await?;
        cooling::write_of_carrier(conn, &facts, &carrier.value, now, books.cooling_ms).await?;
    }
    for exchange in &document.exchanges {
        write_exchange(conn, &exchange.value).await?;
    }
    let mut rows = None;
    for file in document.decks.iter().map(|deck| &deck.value) {
        let in_use = facts.deck_named(&file.list);
        if in_use.is_none_or(|deck| deck.version() != file.deck.version()) {
            write_deck(conn, file, now).await?;
            *rows.get_or_insert(0) += file.deck.len();
        }
    }
    Ok(rows)
}

/// Whether a PIN of the file is one that there is, by this node's key.
fn names_pin_in_use(document: &Document, facts: &Facts) -> bool {
    let is_in_use = |entry: &UserEntry| {
        let known = facts.users.get(&entry.user.id).and_then(|user| user.pin.as_deref());
        known.zip(entry.pin.as_ref()).is_some_and(|(hash, pin)| facts.pins().fits(&entry.user.id, &pin.0, hash))
    };
    document.users.iter().any(|user| is_in_use(&user.value))
}

async fn open_accounts(books: &mut Books, document: &Document, now: Wall) -> Result<usize, StoreError> {
    let mut funded = 0;
    for (organisation, credits) in document.organisations.iter().zip(&document.credits) {
        let Some(credits) = credits.as_ref().filter(|credits| credits.value > Micros::ZERO) else { continue };
        let id = organisation.value.id.clone();
        let funds = Funds {
            key: opening_key(&id),
            organisation: id,
            amount: credits.value,
            kind: FundsKind::Funding,
            memo: "opening funding".to_owned(),
            at: now,
        };
        funded += usize::from(credits::add(books, &funds).await? == CreditsAdded::Booked);
    }
    Ok(funded)
}

async fn write_country(conn: &mut Connection, code: Country, record: CountryRecord) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO country \
         (code, service_sold, automatic_numbers, toll, toll_free, dial_out, credits_sold, zone_a) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (code) DO UPDATE SET \
         service_sold = excluded.service_sold, automatic_numbers = excluded.automatic_numbers, \
         toll = excluded.toll, toll_free = excluded.toll_free, dial_out = excluded.dial_out, \
         credits_sold = excluded.credits_sold, zone_a = excluded.zone_a",
    )
    .bind(code.as_str())
    .bind(record.service_sold)
    .bind(record.automatic_numbers)
    .bind(record.toll)
    .bind(record.toll_free)
    .bind(record.dial_out)
    .bind(record.credits_sold)
    .bind(record.zone_a)
    .execute(conn)
    .await?;
    Ok(())
}

async fn write_organisation(
    conn: &mut Connection,
    organisation: &Organisation,
    names_lock: bool,
    now: Wall,
) -> Result<(), StoreError> {
    let limits = &organisation.limits;
    sql::query(
        "INSERT INTO organisation (id, name, country, currency, volume_licensing, require_credits_licence, on_empty, \
         overdraft, time_zone, allow_prefixes, max_calls, max_calls_per_second, max_call_s, max_spend_per_day, \
         max_spend_per_leg, price_lists, discount, pool_split, refund_days, caps, since, locked, locked_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, \
         $24) \
         ON CONFLICT (id) DO UPDATE SET closed = 0, caps = excluded.caps, \
         name = excluded.name, country = excluded.country, volume_licensing = excluded.volume_licensing, \
         require_credits_licence = excluded.require_credits_licence, on_empty = excluded.on_empty, \
         overdraft = excluded.overdraft, time_zone = excluded.time_zone, allow_prefixes = excluded.allow_prefixes, \
         max_calls = excluded.max_calls, max_calls_per_second = excluded.max_calls_per_second, \
         max_call_s = excluded.max_call_s, max_spend_per_day = excluded.max_spend_per_day, \
         max_spend_per_leg = excluded.max_spend_per_leg, price_lists = excluded.price_lists, \
         discount = excluded.discount, pool_split = excluded.pool_split, \
         refund_days = excluded.refund_days, \
         locked = CASE WHEN $23 = 1 THEN excluded.locked ELSE organisation.locked END, \
         locked_by = CASE WHEN $23 = 1 THEN excluded.locked_by ELSE organisation.locked_by END",
    )
    .bind(organisation.id.as_str())
    .bind(&organisation.name)
    .bind(organisation.country.as_str())
    .bind(organisation.currency.as_str())
    .bind(organisation.volume_licensing)
    .bind(organisation.require_credits_licence)
    .bind(organisation.on_empty.slug())
    .bind(organisation.overdraft.0)
    .bind(&organisation.time_zone)
    .bind(list_text(&organisation.allow_prefixes))
    .bind(limits.max_calls)
    .bind(limits.max_calls_per_second)
    .bind(limits.max_call_s)
    .bind(limits.max_spend_per_day.map(|amount| amount.0))
    .bind(limits.max_spend_per_leg.map(|amount| amount.0))
    .bind(list_text(&organisation.price_lists))
    .bind(i64::from(organisation.discount.hundredths()))
    .bind(organisation.pool_split.slug())
    .bind(organisation.refund_days)
    .bind(serde_json::to_string(&limits.caps).map_err(StoreError::broken)?)
    .bind(now.micros())
    .bind(organisation.locked.as_ref().map(|lock| &*lock.why))
    .bind(i64::from(names_lock))
    .bind(organisation.locked.as_ref().map(|lock| lock.by.slug()))
    .execute(&mut *conn)
    .await?;
    write_account(conn, organisation).await
}

/// The account, and its overdraft: never less than legs have already used of it.
async fn write_account(conn: &mut Connection, organisation: &Organisation) -> Result<(), StoreError> {
    let overdraft = if organisation.on_empty == OnEmpty::Finish { organisation.overdraft.0 } else { 0 };
    sql::query(
        "INSERT INTO account (organisation, overdraft, head) VALUES ($1, $2, $3) \
         ON CONFLICT (organisation) DO UPDATE SET overdraft = CASE \
         WHEN excluded.overdraft > account.held - account.posted THEN excluded.overdraft \
         ELSE account.held - account.posted END",
    )
    .bind(organisation.id.as_str())
    .bind(overdraft)
    .bind(hash_text(&ledger::GENESIS))
    .execute(conn)
    .await?;
    Ok(())
}

async fn write_user(conn: &mut Connection, entry: &UserEntry, pin: Option<String>) -> Result<(), StoreError> {
    let user = &entry.user;
    sql::query(
        "INSERT INTO organiser (id, organisation, name, country, dial_out, toll_free, pin, locked, locked_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $10) ON CONFLICT (id) DO UPDATE SET closed = 0, name = excluded.name, \
         country = excluded.country, dial_out = excluded.dial_out, toll_free = excluded.toll_free, pin = excluded.pin, \
         locked = CASE WHEN $9 = 1 THEN excluded.locked ELSE organiser.locked END, \
         locked_by = CASE WHEN $9 = 1 THEN excluded.locked_by ELSE organiser.locked_by END",
    )
    .bind(user.id.as_str())
    .bind(user.organisation.as_str())
    .bind(&user.name)
    .bind(user.country.as_ref().map(Country::as_str))
    .bind(user.dial_out.slug())
    .bind(user.toll_free)
    .bind(pin)
    .bind(user.locked.as_ref().map(|lock| &*lock.why))
    .bind(i64::from(entry.names_lock))
    .bind(user.locked.as_ref().map(|lock| lock.by.slug()))
    .execute(&mut *conn)
    .await?;
    licence::write(conn, user).await
}

/// Two meetings may exchange their conference IDs: each gives its own up first.
async fn clear_conference_ids(conn: &mut Connection, document: &Document) -> Result<(), StoreError> {
    for meeting in &document.meetings {
        sql::query("UPDATE meeting SET conference_id = 'of ' || id WHERE id = $1")
            .bind(meeting.value.settings.id.as_str())
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

async fn write_meeting(conn: &mut Connection, meeting: &Meeting) -> Result<(), StoreError> {
    let settings = &meeting.settings;
    sql::query(
        "INSERT INTO meeting (id, organiser, conference_id, lobby, callers_may_start, max_participants, tones, \
         confirm_join, language) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO UPDATE SET closed = 0, \
         organiser = excluded.organiser, conference_id = excluded.conference_id, lobby = excluded.lobby, \
         callers_may_start = excluded.callers_may_start, max_participants = excluded.max_participants, \
         tones = excluded.tones, confirm_join = excluded.confirm_join, language = excluded.language",
    )
    .bind(settings.id.as_str())
    .bind(settings.organiser.as_str())
    .bind(&settings.conference_id)
    .bind(settings.lobby)
    .bind(settings.callers_may_start)
    .bind(i64::try_from(settings.max_participants).unwrap_or(i64::MAX))
    .bind(settings.tones)
    .bind(settings.confirm_join)
    .bind(meeting.language.map(|language| language.to_string()))
    .execute(conn)
    .await?;
    Ok(())
}

/// Two numbers may exchange their aliases.
async fn clear_aliases(conn: &mut Connection, document: &Document) -> Result<(), StoreError> {
    for number in &document.numbers {
        sql::query("UPDATE number SET alias = NULL WHERE e164 = $1")
            .bind(number.value.e164.to_string())
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

async fn write_number(conn: &mut Connection, number: &Number) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO number (e164, kind, country, city, languages, organisation, meeting, alias) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (e164) DO UPDATE SET kind = excluded.kind, \
         country = excluded.country, city = excluded.city, languages = excluded.languages, \
         organisation = excluded.organisation, meeting = excluded.meeting, alias = excluded.alias",
    )
    .bind(number.e164.to_string())
    .bind(number.kind.to_string())
    .bind(number.country.as_str())
    .bind(&number.city)
    .bind(list_text(&number.languages))
    .bind(number.organisation.as_ref().map(|id| id.as_str()))
    .bind(number.meeting.as_ref().map(|id| id.as_str()))
    .bind(&number.alias)
    .execute(conn)
    .await?;
    Ok(())
}

async fn write_carrier(conn: &mut Connection, carrier: &Carrier, names_lock: bool) -> Result<(), StoreError> {
    let failures: BTreeMap<String, String> =
        carrier.failure_map.iter().map(|(cause, failure)| (cause.to_string(), failure.to_string())).collect();
    sql::query(
        "INSERT INTO carrier (id, sources, route, codecs, max_calls, max_calls_per_second, number_format_in, \
         number_format_out, called_from, advertise, old_syntax, failure_map, srtp, learn_source, max_spend_per_day, \
         on_lock, locked, digest, register, ping_s, tls_name, tls_only, manner) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $22, $23, $24) ON CONFLICT (id) DO UPDATE SET \
         sources = excluded.sources, route = excluded.route, codecs = excluded.codecs, \
         max_calls = excluded.max_calls, max_calls_per_second = excluded.max_calls_per_second, \
         number_format_in = excluded.number_format_in, number_format_out = excluded.number_format_out, \
         called_from = excluded.called_from, advertise = excluded.advertise, old_syntax = excluded.old_syntax, \
         failure_map = excluded.failure_map, srtp = excluded.srtp, learn_source = excluded.learn_source, \
         max_spend_per_day = excluded.max_spend_per_day, on_lock = excluded.on_lock, \
         digest = excluded.digest, register = excluded.register, ping_s = excluded.ping_s, tls_name = excluded.tls_name, \
         tls_only = excluded.tls_only, \
         manner = excluded.manner, \
         locked = CASE WHEN $21 = 1 THEN excluded.locked ELSE carrier.locked END",
    )
    .bind(carrier.id.as_str())
    .bind(list_text(&carrier.sources))
    .bind(carrier.route.as_ref().map(ToString::to_string))
    .bind(list_text(&carrier.codecs))
    .bind(carrier.max_calls)
    .bind(carrier.max_calls_per_second)
    .bind(carrier.number_format_in.to_string())
    .bind(carrier.number_format_out.to_string())
    .bind(list_text(&carrier.called_from))
    .bind(carrier.advertise.map(|address| address.to_string()))
    .bind(carrier.old_syntax)
    .bind(serde_json::to_string(&failures).map_err(StoreError::broken)?)
    .bind(carrier.srtp.to_string())
    .bind(carrier.learn_source)
    .bind(carrier.max_spend_per_day.map(|amount| amount.0))
    .bind(carrier.on_lock.to_string())
    .bind(carrier.locked.as_deref())
    .bind(carrier.digest.as_ref().map(|digest| known::digest_value(digest).to_string()))
    .bind(carrier.register.as_ref().map(|register| known::register_value(register).to_string()))
    .bind(carrier.ping_s)
    .bind(i64::from(names_lock))
    .bind(carrier.tls_name.as_deref())
    .bind(carrier.tls_only)
    .bind(serde_json::to_string(&manner::keys(carrier)).map_err(StoreError::broken)?)
    .execute(conn)
    .await?;
    Ok(())
}

async fn write_exchange(conn: &mut Connection, entry: &ExchangeEntry) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO exchange_rate (base, quote, valid_from, nanos) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (base, quote, valid_from) DO UPDATE SET nanos = excluded.nanos",
    )
    .bind(entry.exchange.from.as_str())
    .bind(entry.to.as_str())
    .bind(entry.valid_from.micros())
    .bind(entry.exchange.nanos)
    .execute(conn)
    .await?;
    Ok(())
}

async fn write_deck(conn: &mut Connection, file: &DeckFile, now: Wall) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO deck (edition, version, name, csv, imported, list) \
         SELECT COALESCE(MAX(edition), 0) + 1, $1, $2, $3, $4, $5 FROM deck",
    )
    .bind(file.deck.version())
    .bind(&file.name)
    .bind(&file.csv)
    .bind(now.micros())
    .bind(&file.list)
    .execute(conn)
    .await?;
    Ok(())
}
