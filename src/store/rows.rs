//! Rows of the tables of facts, read into the words of the rooms below. A value that no longer parses is told with its
//! table: the store starts with all of it or not at all.

use super::facts::{Closed, Limits, Meeting, OnEmpty, Organisation, User};
use super::fault::StoreError;
use super::known;
use super::licence;
use super::lock::Lock;
use super::manner;
use super::sql::Row;
use super::sql::{self, Connection};
use crate::clock::Wall;
use crate::meeting::Settings;
use crate::rating::{CountryRecord, Deck, Discount, Exchange, Exchanges, Licences};
use crate::trunk::{Carrier, Failure, Number};
use crate::types::{Cause, Country, Currency, MeetingId, Micros, OrganisationId, UserId};
use rust_decimal::Decimal;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

/// A list of texts as one text.
pub(super) fn list_text<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    serde_json::to_string(&items).unwrap_or_default()
}

/// One row and the table it is of.
pub(super) struct Line<'a> {
    pub row: &'a Row,
    pub table: &'static str,
}

impl Line<'_> {
    pub fn unreadable(&self, column: &str, why: impl Display) -> String {
        format!("{}.{column}: {why}", self.table)
    }

    pub fn text(&self, column: &str) -> Result<String, String> {
        self.row.try_get(column).map_err(|error| self.unreadable(column, error))
    }

    pub fn number(&self, column: &str) -> Result<i64, String> {
        self.row.try_get(column).map_err(|error| self.unreadable(column, error))
    }

    pub fn flag(&self, column: &str) -> Result<bool, String> {
        Ok(self.number(column)? != 0)
    }

    /// Milliseconds and counts: never below zero.
    pub fn count(&self, column: &str) -> Result<u64, String> {
        u64::try_from(self.number(column)?).map_err(|error| self.unreadable(column, error))
    }

    pub fn maybe_number(&self, column: &str) -> Result<Option<i64>, String> {
        self.row.try_get(column).map_err(|error| self.unreadable(column, error))
    }

    pub fn maybe_limit(&self, column: &str) -> Result<Option<u32>, String> {
        let number = self.maybe_number(column)?;
        number.map(|n| u32::try_from(n).map_err(|error| self.unreadable(column, error))).transpose()
    }

    pub fn maybe_text(&self, column: &str) -> Result<Option<String>, String> {
        self.row.try_get(column).map_err(|error| self.unreadable(column, error))
    }

    pub fn parse<T: FromStr<Err: Display>>(&self, column: &str) -> Result<T, String> {
        self.text(column)?.parse().map_err(|error| self.unreadable(column, error))
    }

    pub fn maybe<T: FromStr<Err: Display>>(&self, column: &str) -> Result<Option<T>, String> {
        let text = self.maybe_text(column)?;
        text.map(|text| text.parse().map_err(|error| self.unreadable(column, error))).transpose()
    }

    /// A text that is read in a way of its own.
    pub fn maybe_with<T>(&self, column: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
        let text = self.maybe_text(column)?;
        text.map(|text| read(&text).map_err(|error| self.unreadable(column, error))).transpose()
    }

    pub fn list<T: FromStr<Err: Display>>(&self, column: &str) -> Result<Vec<T>, String> {
        let items: Vec<String> =
            serde_json::from_str(&self.text(column)?).map_err(|error| self.unreadable(column, error))?;
        items.iter().map(|item| item.parse().map_err(|error| self.unreadable(column, error))).collect()
    }
}

async fn lines<T>(
    conn: &mut Connection,
    table: &'static str,
    sql: &'static str,
    read: fn(&Line<'_>) -> Result<T, String>,
) -> Result<Vec<T>, StoreError> {
    let rows = sql::query(sql).fetch_all(conn).await?;
    rows.iter().map(|row| Ok(read(&Line { row, table })?)).collect()
}

pub(super) async fn organisations(conn: &mut Connection) -> Result<BTreeMap<OrganisationId, Organisation>, StoreError> {
    let rows = lines(conn, "organisation", "SELECT * FROM organisation", organisation).await?;
    Ok(rows.into_iter().map(|row| (row.id.clone(), row)).collect())
}

fn organisation(line: &Line<'_>) -> Result<Organisation, String> {
    let on_empty = line.text("on_empty")?;
    let on_empty = OnEmpty::WORDS.iter().find(|(word, _)| *word == on_empty).map(|(_, value)| *value);
    Ok(Organisation {
        id: line.parse("id")?,
        name: line.text("name")?,
        country: line.parse("country")?,
        currency: line.parse("currency")?,
        volume_licensing: line.flag("volume_licensing")?,
        require_credits_licence: line.flag("require_credits_licence")?,
        on_empty: on_empty.unwrap_or_default(),
        overdraft: Micros(line.number("overdraft")?),
        time_zone: line.text("time_zone")?,
        allow_prefixes: line.list("allow_prefixes")?,
        price_lists: line.list("price_lists")?,
        discount: u16::try_from(line.number("discount")?)
            .ok()
            .and_then(|hundredths| Discount::try_from(hundredths).ok())
            .ok_or_else(|| line.unreadable("discount", "more than all"))?,
        pool_split: line.parse("pool_split")?,
        refund_days: u32::try_from(line.count("refund_days")?).unwrap_or(u32::MAX),
        limits: Limits {
            max_calls: line.maybe_limit("max_calls")?,
            max_calls_per_second: line.maybe_limit("max_calls_per_second")?,
            max_call_s: line.maybe_limit("max_call_s")?,
            max_spend_per_day: line.maybe_number("max_spend_per_day")?.map(Micros),
            max_spend_per_leg: line.maybe_number("max_spend_per_leg")?.map(Micros),
            caps: serde_json::from_str(&line.text("caps")?).map_err(|error| line.unreadable("caps", error))?,
        },
        held: Vec::new(),
        alerts: None,
        recharge: None,
        seats: Default::default(),
        since: Wall::from_micros(line.number("since")?),
        closed: line.flag("closed")?,
        locked: Lock::read(line)?,
    })
}

pub(super) async fn users(conn: &mut Connection) -> Result<BTreeMap<UserId, User>, StoreError> {
    let rows = lines(conn, "organiser", "SELECT * FROM organiser WHERE closed = 0", user).await?;
    let mut users: BTreeMap<UserId, User> = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
    licence::load(conn, &mut users).await?;
    Ok(users)
}

fn user(line: &Line<'_>) -> Result<User, String> {
    Ok(User {
        id: line.parse("id")?,
        organisation: line.parse("organisation")?,
        name: line.text("name")?,
        licences: Licences::default(),
        terms: Default::default(),
        dial_out: line.parse("dial_out")?,
        toll_free: line.flag("toll_free")?,
        country: line.maybe("country")?,
        locked: Lock::read(line)?,
        pin: line.maybe_text("pin")?,
    })
}

const MEETINGS: &str = "SELECT meeting.*, organiser.organisation FROM meeting JOIN organiser ON organiser.id = meeting.organiser \
     WHERE meeting.closed = 0";

/// Names of users and of meetings that were removed, and whose they are.
pub(super) async fn closed(conn: &mut Connection) -> Result<Closed, StoreError> {
    let users = "SELECT id, organisation FROM organiser WHERE closed = 1";
    let meetings = "SELECT meeting.id, organiser.organisation FROM meeting \
         JOIN organiser ON organiser.id = meeting.organiser WHERE meeting.closed = 1";
    let users = lines(conn, "organiser", users, |line| Ok((line.parse("id")?, line.parse("organisation")?))).await?;
    let meetings =
        lines(conn, "meeting", meetings, |line| Ok((line.parse("id")?, line.parse("organisation")?))).await?;
    Ok(Closed { users: users.into_iter().collect(), meetings: meetings.into_iter().collect() })
}

pub(super) async fn meetings(conn: &mut Connection) -> Result<BTreeMap<MeetingId, Meeting>, StoreError> {
    let rows = lines(conn, "meeting", MEETINGS, meeting).await?;
    Ok(rows.into_iter().map(|row| (row.settings.id.clone(), row)).collect())
}

fn meeting(line: &Line<'_>) -> Result<Meeting, String> {
    let settings = Settings {
        id: line.parse("id")?,
        organiser: line.parse("organiser")?,
        organisation: line.parse("organisation")?,
        conference_id: line.text("conference_id")?,
        lobby: line.flag("lobby")?,
        callers_may_start: line.flag("callers_may_start")?,
        max_participants: usize::try_from(line.count("max_participants")?).unwrap_or(usize::MAX),
        tones: line.flag("tones")?,
        confirm_join: line.flag("confirm_join")?,
    };
    Ok(Meeting { settings, language: line.maybe("language")? })
}

pub(super) async fn numbers(conn: &mut Connection) -> Result<Vec<Number>, StoreError> {
    lines(conn, "number", "SELECT * FROM number ORDER BY e164", number).await
}

fn number(line: &Line<'_>) -> Result<Number, String> {
    Ok(Number {
        e164: line.parse("e164")?,
        kind: line.parse("kind")?,
        country: line.parse("country")?,
        city: line.maybe_text("city")?,
        languages: line.list("languages")?,
        organisation: line.maybe("organisation")?,
        meeting: line.maybe("meeting")?,
        alias: line.maybe_text("alias")?,
    })
}

pub(super) async fn carriers(conn: &mut Connection) -> Result<Vec<Carrier>, StoreError> {
    lines(conn, "carrier", "SELECT * FROM carrier ORDER BY id", carrier).await
}

fn carrier(line: &Line<'_>) -> Result<Carrier, String> {
    let failures: BTreeMap<String, String> =
        serde_json::from_str(&line.text("failure_map")?).map_err(|error| line.unreadable("failure_map", error))?;
    let failure = |(cause, failure): (String, String)| -> Result<(Cause, Failure), String> {
        let unreadable = |error: &'static str| line.unreadable("failure_map", error);
        Ok((cause.parse().map_err(unreadable)?, failure.parse().map_err(unreadable)?))
    };
    let plain = Carrier::new(line.parse("id")?);
    let manner = manner::read(&line.text("manner")?, plain).map_err(|error| line.unreadable("manner", error))?;
    Ok(Carrier {
        sources: line.list("sources")?,
        route: line.maybe("route")?,
        codecs: line.list("codecs")?,
        max_calls: line.maybe_limit("max_calls")?,
        max_calls_per_second: line.maybe_limit("max_calls_per_second")?,
        max_spend_per_day: line.maybe_number("max_spend_per_day")?.map(Micros),
        number_format_in: line.parse("number_format_in")?,
        number_format_out: line.parse("number_format_out")?,
        called_from: line.list("called_from")?,
        tls_name: line.maybe_text("tls_name")?,
        tls_only: line.flag("tls_only")?,
        advertise: line.maybe("advertise")?,
        srtp: line.parse("srtp")?,
        learn_source: line.flag("learn_source")?,
        old_syntax: line.flag("old_syntax")?,
        locked: line.maybe_text("locked")?,
        on_lock: line.parse("on_lock")?,
        digest: line.maybe_with("digest", known::read_digest)?,
        register: line.maybe_with("register", known::read_register)?,
        ping_s: line.maybe_limit("ping_s")?,
        failure_map: failures.into_iter().map(failure).collect::<Result<_, _>>()?,
        ..manner
    })
}

pub(super) async fn countries(conn: &mut Connection) -> Result<Vec<(Country, CountryRecord)>, StoreError> {
    lines(conn, "country", "SELECT * FROM country", country).await
}

fn country(line: &Line<'_>) -> Result<(Country, CountryRecord), String> {
    let record = CountryRecord {
        service_sold: line.flag("service_sold")?,
        automatic_numbers: line.flag("automatic_numbers")?,
        toll: line.flag("toll")?,
        toll_free: line.flag("toll_free")?,
        dial_out: line.flag("dial_out")?,
        credits_sold: line.flag("credits_sold")?,
        zone_a: line.flag("zone_a")?,
    };
    Ok((line.parse("code")?, record))
}

/// The decks in use, by their lists: the last imported of each. What cannot be read of one answers "broken", and the
/// bridge starts all the same.
pub(super) async fn decks(conn: &mut Connection) -> Result<BTreeMap<String, Arc<Deck>>, StoreError> {
    let sql = "SELECT * FROM deck WHERE edition IN (SELECT MAX(edition) FROM deck GROUP BY list)";
    let read = |line: &Line<'_>| Ok((line.text("list")?, line.text("name")?, line.text("csv")?));
    let mut decks = BTreeMap::new();
    for (list, name, csv) in lines(conn, "deck", sql, read).await? {
        let (deck, mistakes) = Deck::salvage(&name, &csv);
        for mistake in mistakes {
            tracing::error!(%mistake, "a row of a deck in use cannot be read: its calls are free");
        }
        decks.insert(list, Arc::new(deck));
    }
    Ok(decks)
}

pub(super) async fn exchanges(conn: &mut Connection) -> Result<Exchanges, StoreError> {
    let read = |line: &Line<'_>| {
        let rate = Decimal::new(line.number("nanos")?, 9);
        let exchange = Exchange::new(line.parse("base")?, rate).map_err(|why| line.unreadable("nanos", why))?;
        Ok((line.parse::<Currency>("quote")?, Wall::from_micros(line.number("valid_from")?), exchange))
    };
    let mut exchanges = Exchanges::default();
    for (to, valid_from, exchange) in lines(conn, "exchange_rate", "SELECT * FROM exchange_rate", read).await? {
        exchanges.put(to, valid_from, exchange);
    }
    Ok(exchanges)
}
