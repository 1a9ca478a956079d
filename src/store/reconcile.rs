//! What the store knows of carriers' files: our legs of a carrier, and what came of files that were brought in before.

use super::books::{Books, millis};
use super::door::{Reconciled, UsageFilter};
use super::fault::StoreError;
use super::sql::{self, Connection};
use super::walk;
use crate::clock::Wall;
use crate::rating::UsageRecord;
use crate::rating::reconcile::Ours;
use crate::types::{CarrierId, Cause};
use serde_json::json;
use std::collections::HashSet;
use std::convert::Infallible;

/// Legs in one statement: a month's file is some tens of them, and calls wait for none of them long.
const PAGE: usize = 4_096;

/// Our legs by a carrier that ended between two moments, but for those of calls that go on elsewhere: the carrier writes its
/// record when they end. Those that another file than `hash` has charged are marked.
pub(super) async fn ours(
    conn: &mut Connection,
    carrier: &CarrierId,
    (from, to): (Wall, Wall),
    hash: &str,
) -> Result<Vec<Ours>, StoreError> {
    let rows = sql::query(
        "SELECT reconciled.leg AS leg FROM reconciled JOIN usage_record ON usage_record.leg = reconciled.leg \
         WHERE reconciled.hash <> $1 AND usage_record.at >= $2 AND usage_record.at < $3",
    );
    let rows = rows.bind(hash).bind(from.micros()).bind(to.micros()).fetch_all(conn).await?;
    let before: HashSet<String> = rows.iter().map(|row| row.try_get("leg")).collect::<Result<_, _>>()?;
    let rows = sql::query("SELECT call_id FROM leg WHERE state = 'open' AND carrier = $1 AND call_id <> ''");
    let rows = rows.bind(carrier.as_str()).fetch_all(conn).await?;
    let running: HashSet<String> = rows.iter().map(|row| row.try_get("call_id")).collect::<Result<_, _>>()?;
    let goes_on = |leg: &Ours| leg.gave_way && running.contains(&leg.call_id);
    let filter = UsageFilter { from: Some(from), to: Some(to), ..UsageFilter::default() };
    let mut legs = Vec::new();
    let walked = walk::records(conn, &filter, |record| {
        if record.beyond.carrier.as_ref() == Some(carrier) {
            legs.push(leg(&record, &before));
        }
        Ok::<(), Infallible>(())
    });
    let Ok(()) = walked.await?;
    legs.retain(|leg| !goes_on(leg));
    Ok(legs)
}

fn leg(record: &UsageRecord, before: &HashSet<String>) -> Ours {
    let digits = |number: crate::types::E164| {
        if number.is_forgotten() { String::new() } else { number.digits().to_owned() }
    };
    Ours {
        legs: vec![record.usage_id],
        call_id: record.call_id.clone(),
        caller: record.caller.map(digits).unwrap_or_default(),
        called: digits(record.destination),
        invited: record.beyond.stamps.invited,
        answered: record.beyond.stamps.answered,
        ended: record.beyond.stamps.ended,
        gave_way: record.beyond.cause == Cause::Transferred,
        duration_ms: record.duration_ms,
        expected: record.beyond.cost.as_ref().map(|cost| cost.amount),
        currency: record.beyond.cost.as_ref().map(|cost| cost.currency),
        charged_before: before.contains(&record.usage_id.to_string()),
    }
}

/// When a file was brought in first, if it was.
pub(super) async fn known(conn: &mut Connection, hash: &str) -> Result<Option<Wall>, StoreError> {
    let row = sql::query("SELECT at FROM reconciliation WHERE hash = $1").bind(hash).fetch_optional(conn).await?;
    row.map(|row| Ok(Wall::from_micros(row.try_get("at")?))).transpose()
}

/// Remembers a file and the legs that it charges, once: whether it was new.
pub(super) async fn remember(books: &mut Books, asked: &Reconciled) -> Result<bool, StoreError> {
    let made = sql::query(
        "INSERT INTO reconciliation (hash, carrier, file, at, theirs, matched, differences) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (hash) DO NOTHING",
    )
    .bind(asked.hash.as_str())
    .bind(asked.carrier.as_str())
    .bind(asked.file.as_str())
    .bind(asked.at.micros())
    .bind(millis(asked.theirs))
    .bind(millis(asked.matched))
    .bind(millis(asked.differences))
    .execute(&mut books.conn)
    .await?;
    for legs in asked.legs.chunks(PAGE) {
        let rows: Vec<_> = legs.iter().map(|leg| json!([leg.to_string()])).collect();
        sql::query(
            "INSERT INTO reconciled (leg, hash) SELECT value ->> 0, $2 FROM json_each($1) WHERE 1 = 1 \
             ON CONFLICT (leg) DO NOTHING",
        )
        .bind(serde_json::Value::Array(rows).to_string())
        .bind(asked.hash.as_str())
        .execute(&mut books.conn)
        .await?;
    }
    Ok(made == 1)
}
