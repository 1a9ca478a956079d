//! Who a record was of: written apart from the record, put back where it is read, and forgotten where that is asked.
//!
//! The ledger names legs, never people, and a record's own line has neither: so nothing that the hash chain or the audit
//! stands on changes when a person is forgotten. Rows are emptied rather than given a pseudonym, which would be a person's
//! still as long as anybody had its key; only a user, whom other rows refer to, becomes a keyed name.

use super::books::Books;
use super::door::{Deleted, Forget, Forgotten, Keep, Whom};
use super::entry::EntryId;
use super::facts;
use super::fault::StoreError;
use super::guess;
use super::rows::Line;
use super::sql::{self, Connection};
use super::trail::{self, Told, Tried, Who};
use crate::clock::Wall;
use crate::rating::UsageRecord;
use crate::rating::record::{Person, utc};
use crate::types::{LegId, UserId};
use serde_json::{Value, json};
use std::sync::Arc;

/// Rows emptied or parted in one transaction: calls wait for none of them long.
const PAGE: i64 = 4_096;

/// Before FROM, wherever records are read: a record and its person.
const COLUMNS: [&str; 6] = ["number", "call_id", "conference_id", "organiser", "principal", "name"];

pub(super) async fn write(conn: &mut Connection, leg: LegId, person: &Person) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO person (leg, number, call_id, conference_id, organiser, principal, name) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(leg.to_string())
    .bind(person.number.map(|number| number.to_string()))
    .bind(person.call_id.as_str())
    .bind(person.conference_id.as_deref())
    .bind(person.user.as_ref().map(UserId::as_str))
    .bind(person.principal.as_str())
    .bind(person.name.as_str())
    .execute(conn)
    .await?;
    Ok(())
}

/// Of a record whose row is written with others: the row of its person.
pub(super) fn row(leg: LegId, person: &Person) -> Value {
    json!([
        leg.to_string(),
        person.number.map(|number| number.to_string()),
        person.call_id,
        person.conference_id,
        person.user.as_ref().map(UserId::as_str),
        person.principal,
        person.name,
    ])
}

/// A record from a row that has its `record` and the columns of its person.
pub(super) fn record(row: &sql::Row) -> Result<UsageRecord, StoreError> {
    let line = Line { row, table: "person" };
    let read = || -> Result<UsageRecord, String> {
        let mut record = UsageRecord::from_line(&line.text("record")?)?;
        let [number, call_id, conference_id, organiser, principal, name] = COLUMNS;
        record.give_person(Person {
            number: line.maybe(number)?,
            call_id: line.text(call_id)?,
            conference_id: line.maybe_text(conference_id)?,
            user: line.maybe(organiser)?,
            principal: line.text(principal)?,
            name: line.text(name)?,
        });
        Ok(record)
    };
    read().map_err(StoreError::Broken)
}

/// Parts the records of editions before this one, which had both in one line.
pub(super) async fn part(conn: &mut Connection) -> Result<(), String> {
    let told = |error: sql::Error| error.to_string();
    let mut after = String::new();
    loop {
        let rows = sql::query("SELECT leg, record FROM usage_record WHERE leg > $1 ORDER BY leg LIMIT $2");
        let rows = rows.bind(after.as_str()).bind(PAGE).fetch_all(conn).await.map_err(told)?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.try_get("leg").map_err(told)?;
        for row in &rows {
            let mut record = UsageRecord::from_line(&row.try_get::<String, _>("record").map_err(told)?)?;
            let person = record.take_person();
            write(conn, record.usage_id, &person).await.map_err(|fault| fault.to_string())?;
            let copied = sql::query(
                "INSERT INTO usage_record_apart (leg, organisation, at, elapsed_ms, credit_held, charge, pool_held_ms, \
                 pool_used_ms, record) SELECT leg, organisation, at, elapsed_ms, credit_held, charge, pool_held_ms, \
                 pool_used_ms, $2 FROM usage_record WHERE leg = $1",
            );
            let leg: String = row.try_get("leg").map_err(told)?;
            copied.bind(leg).bind(record.to_line()).execute(conn).await.map_err(told)?;
        }
    }
}

/// As [`forget`], and that it was done stands in the trail; of whom is what nobody is to know any more.
pub(super) async fn forget_told(
    books: &mut Books,
    (asked, now, who): &(Forget, Wall, Who),
) -> Result<Forgotten, StoreError> {
    let what = if matches!(asked.whom, Whom::Number(_)) { "number" } else { "user" };
    let tried = Tried { at: *now, who, verb: "forget", what: what.to_owned(), organisation: None };
    let forgotten = forget(books, asked).await;
    trail::told(books, tried, forgotten, |tried, forgotten| {
        let Forgotten { records, meetings, name } = forgotten;
        let what = name.as_ref().map_or_else(|| what.to_owned(), |name| format!("user {name}"));
        let told = Told { what, ..tried.done(json!({ "records": records, "meetings": meetings })) };
        if asked.dry_run { Vec::new() } else { vec![told] }
    })
    .await
}

/// Forgets a person, or counts what there is of them.
pub(super) async fn forget(books: &mut Books, asked: &Forget) -> Result<Forgotten, StoreError> {
    let name = match &asked.whom {
        Whom::Number(number) => number.to_string(),
        Whom::User(user) if books.facts.name_of(&EntryId::User(user.clone())).is_none() => {
            return Err(StoreError::Unknown(format!("user {user}")));
        }
        Whom::User(user) => user.to_string(),
    };
    let sql = match &asked.whom {
        Whom::Number(_) => "SELECT COUNT(*) FROM leg WHERE state = 'open' AND (number = $1 OR caller = $1)",
        Whom::User(_) => "SELECT COUNT(*) FROM leg WHERE state = 'open' AND organiser = $1",
    };
    let open: i64 = sql::query(sql).bind(name.as_str()).fetch_one(&mut books.conn).await?.try_get(0)?;
    if open > 0 && !asked.dry_run {
        return Err(StoreError::Conflict("a call of theirs is running: forget them when it is over".to_owned()));
    }
    let sql = match &asked.whom {
        Whom::Number(_) => "SELECT COUNT(*) FROM person WHERE number = $1",
        Whom::User(_) => "SELECT COUNT(*) FROM person WHERE organiser = $1",
    };
    let records: i64 = sql::query(sql).bind(name.as_str()).fetch_one(&mut books.conn).await?.try_get(0)?;
    let mut forgotten = Forgotten { records: records as u64, meetings: 0, name: None };
    match &asked.whom {
        Whom::Number(_) if asked.dry_run => return Ok(forgotten),
        Whom::Number(_) => {
            guess::forget(&mut books.conn, &name).await?;
            let sql = "DELETE FROM dialog WHERE leg IN (SELECT leg FROM person WHERE number = $1)";
            sql::query(sql).bind(name.as_str()).execute(&mut books.conn).await?;
            let sql = "UPDATE hold SET request = '' WHERE step = 'open' AND leg IN \
                 (SELECT leg FROM person WHERE number = $1)";
            sql::query(sql).bind(name.as_str()).execute(&mut books.conn).await?;
            let sql = "UPDATE person SET number = NULL, call_id = '' WHERE number = $1";
            sql::query(sql).bind(name.as_str()).execute(&mut books.conn).await?;
        }
        Whom::User(user) => {
            let meetings = books.facts.meetings.values().filter(|meeting| meeting.settings.organiser == *user).count();
            forgotten.meetings = meetings as u64;
            if asked.dry_run {
                return Ok(forgotten);
            }
            forgotten.name = Some(rename(books, user).await?);
        }
    }
    Ok(forgotten)
}

/// Rows refer to a user: another, of a keyed name and with nothing of theirs, takes their place.
async fn rename(books: &mut Books, user: &UserId) -> Result<String, StoreError> {
    let hash = books.facts.pins().hash(user, "forgotten");
    let name = format!("forgotten-{}", hash.get(..16).unwrap_or_default());
    let steps = [
        "INSERT INTO organiser (id, organisation, name, country, dial_out, toll_free, pin, closed, locked, locked_by) \
         SELECT $2, organisation, '', country, dial_out, toll_free, NULL, closed, locked, locked_by FROM organiser WHERE id = $1",
        "UPDATE leg SET organiser = $2 WHERE organiser = $1",
        "UPDATE meeting SET organiser = $2 WHERE organiser = $1",
        "UPDATE person SET organiser = $2, principal = $2, name = '' WHERE organiser = $1",
        "UPDATE spend_of SET name = $2 WHERE whose = 'organiser' AND name = $1",
    ];
    for sql in steps {
        sql::query(sql).bind(user.as_str()).bind(name.as_str()).execute(&mut books.conn).await?;
    }
    for sql in ["DELETE FROM licence WHERE organiser = $1", "DELETE FROM organiser WHERE id = $1"] {
        sql::query(sql).bind(user.as_str()).execute(&mut books.conn).await?;
    }
    let version = books.facts.version + 1;
    let loaded = facts::load(&mut books.conn, books.facts.pins().clone(), version, Some(&books.facts)).await;
    books.facts = Arc::new(loaded?);
    Ok(name)
}

/// As [`keep`], and what was emptied stands in the trail: a row a page, as each is a transaction.
pub(super) async fn keep_told(books: &mut Books, (asked, now, who): &(Keep, Wall, Who)) -> Result<u64, StoreError> {
    let tried = Tried { at: *now, who, verb: "retention", what: "records".to_owned(), organisation: None };
    let emptied = keep(books, asked).await;
    trail::told(books, tried, emptied, |tried, emptied| {
        let is_change = !asked.dry_run && *emptied > 0;
        let before = |at: Option<Wall>| at.map(utc);
        let detail = json!({ "emptied": emptied, "records_before": before(asked.records), "traces_before": before(asked.traces) });
        if is_change { vec![tried.done(detail)] } else { Vec::new() }
    })
    .await
}

/// Recordings are deleted: how many stands in the trail, before the first of them goes.
pub(super) async fn deleted(books: &mut Books, (asked, now, who): &(Deleted, Wall, Who)) -> Result<(), StoreError> {
    let detail = json!({ "deleted": asked.recordings, "written_before": utc(asked.before) });
    let (at, what) = (*now, "recordings".to_owned());
    trail::write(books, trail::Step { at, who, verb: "retention", what, organisation: None, detail }).await
}

/// Old rows that still tell somebody: how many, or so many of them emptied.
pub(super) async fn keep(books: &mut Books, asked: &Keep) -> Result<u64, StoreError> {
    let until = |at: Option<Wall>| at.map_or(i64::MIN, Wall::micros);
    let (records, traces) = (until(asked.records), until(asked.traces));
    let old = "SELECT person.leg AS leg FROM person JOIN usage_record ON usage_record.leg = person.leg \
         WHERE (usage_record.at < $1 AND (person.number IS NOT NULL OR person.conference_id IS NOT NULL)) \
         OR (usage_record.at < $2 AND person.call_id <> '') ORDER BY person.leg LIMIT $3";
    let most = if asked.dry_run { i64::MAX } else { PAGE };
    let rows = sql::query(old).bind(records).bind(records.max(traces)).bind(most);
    let rows = rows.fetch_all(&mut books.conn).await?;
    if asked.dry_run {
        return Ok(rows.len() as u64);
    }
    // Of nodes that never came back.
    let left = sql::query("DELETE FROM dialog WHERE at < $1");
    left.bind(records.max(traces)).execute(&mut books.conn).await?;
    for row in &rows {
        let leg: String = row.try_get("leg")?;
        let asked = sql::query("UPDATE hold SET request = '' WHERE leg = $1 AND step = 'open'");
        asked.bind(leg.as_str()).execute(&mut books.conn).await?;
        sql::query(
            "UPDATE person SET call_id = '', \
             number = CASE WHEN (SELECT at FROM usage_record WHERE leg = $1) < $2 THEN NULL ELSE number END, \
             conference_id = CASE WHEN (SELECT at FROM usage_record WHERE leg = $1) < $2 THEN NULL \
             ELSE conference_id END WHERE leg = $1",
        )
        .bind(leg)
        .bind(records)
        .execute(&mut books.conn)
        .await?;
    }
    Ok(rows.len() as u64)
}
