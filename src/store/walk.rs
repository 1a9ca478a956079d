//! Rows of years, visited a page at a time: no question about the past has to hold all of it in memory.

use super::audit;
use super::door::UsageFilter;
use super::fault::StoreError;
use super::person;
use super::rows::Line;
use super::sql::{self, Connection};
use crate::clock::Wall;
use crate::rating::UsageRecord;
use crate::rating::ledger::Entry;
use crate::types::OrganisationId;

/// Rows read at a time.
const PAGE: i64 = 4_096;

/// A visitor's own refusal ends the walk.
pub(super) type Walked<E> = Result<Result<(), E>, StoreError>;

/// Usage records by their ends, the earliest first.
pub(super) async fn records<E>(
    conn: &mut Connection,
    filter: &UsageFilter,
    mut visit: impl FnMut(UsageRecord) -> Result<(), E>,
) -> Walked<E> {
    let (mut at, mut leg) = (filter.from.map_or(i64::MIN, Wall::micros), String::new());
    loop {
        let rows = sql::query(
            "SELECT * FROM usage_record JOIN person ON person.leg = usage_record.leg \
             WHERE (CAST($1 AS TEXT) IS NULL OR organisation = $1) AND at >= $2 \
             AND (at > $2 OR usage_record.leg > $3) AND at < $4 ORDER BY at, usage_record.leg LIMIT $5",
        )
        .bind(filter.organisation.as_ref().map(OrganisationId::as_str))
        .bind(at)
        .bind(leg.as_str())
        .bind(filter.to.map_or(i64::MAX, Wall::micros))
        .bind(PAGE)
        .fetch_all(conn)
        .await?;
        let Some(last) = rows.last() else { return Ok(Ok(())) };
        (at, leg) = (last.try_get("at")?, last.try_get("leg")?);
        for row in &rows {
            if let Err(refusal) = visit(person::record(row)?) {
                return Ok(Err(refusal));
            }
        }
    }
}

/// An organisation's ledger, in its order.
pub(super) async fn entries<E>(
    conn: &mut Connection,
    organisation: &OrganisationId,
    mut visit: impl FnMut(Entry) -> Result<(), E>,
) -> Walked<E> {
    let mut sequence = -1_i64;
    loop {
        let rows = sql::query(
            "SELECT * FROM ledger_entry WHERE organisation = $1 AND sequence > $2 ORDER BY sequence LIMIT $3",
        )
        .bind(organisation.as_str())
        .bind(sequence)
        .bind(PAGE)
        .fetch_all(conn)
        .await?;
        let Some(last) = rows.last() else { return Ok(Ok(())) };
        sequence = last.try_get("sequence")?;
        for row in &rows {
            let link = audit::entry(&Line { row, table: "ledger_entry" }).map_err(StoreError::Broken)?;
            if let Err(refusal) = visit(link.entry) {
                return Ok(Err(refusal));
            }
        }
    }
}

/// The records of the legs that the ledger charged between two moments, whenever they ended: the two clocks differ where
/// a leg was cut back to its last packet, or settled by a later life.
pub(super) async fn charged<E>(
    conn: &mut Connection,
    organisation: &OrganisationId,
    (from, to): (Wall, Wall),
    mut visit: impl FnMut(UsageRecord) -> Result<(), E>,
) -> Walked<E> {
    let mut sequence = -1_i64;
    loop {
        // A key is `leg:` and 36 characters and `:charge`.
        let rows = sql::query(
            "SELECT person.*, entry.sequence AS sequence, usage_record.record AS record FROM ledger_entry AS entry \
             JOIN usage_record ON usage_record.leg = substr(entry.key, 5, 36) \
             JOIN person ON person.leg = usage_record.leg \
             WHERE entry.organisation = $1 AND entry.sequence > $2 AND entry.at >= $3 AND entry.at < $4 \
             AND entry.key LIKE 'leg:%:charge' ORDER BY entry.sequence LIMIT $5",
        )
        .bind(organisation.as_str())
        .bind(sequence)
        .bind(from.micros())
        .bind(to.micros())
        .bind(PAGE)
        .fetch_all(conn)
        .await?;
        let Some(last) = rows.last() else { return Ok(Ok(())) };
        sequence = last.try_get("sequence")?;
        for row in &rows {
            if let Err(refusal) = visit(person::record(row)?) {
                return Ok(Err(refusal));
            }
        }
    }
}
