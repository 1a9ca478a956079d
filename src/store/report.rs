//! Questions about the books: read from a snapshot, beside the writer, and nothing is changed by them.

use super::audit;
use super::books::{pool_due_ms, pool_row, sums};
use super::door::{Balance, FundingRow, LiveLeg, PoolState, Quote, QuoteRequest, UsageFilter};
use super::facts::{Facts, Organisation};
use super::fault::StoreError;
use super::leg;
use super::rows::Line;
use super::sql::{self, Connection};
use crate::clock::Wall;
use crate::rating::decide::{Book, NumberFacts, decide};
use crate::rating::ledger::Entry;
use crate::rating::pool::month_of;
use crate::rating::{self, Origin, Request, UsageRecord};
use crate::trunk::NumberKind;
use crate::types::{Cause, Micros, OrganisationId};

fn known<'a>(facts: &'a Facts, id: &OrganisationId) -> Result<&'a Organisation, StoreError> {
    facts.organisations.get(id).ok_or_else(|| StoreError::Unknown(format!("organisation {id}")))
}

/// The account, with its fundings in the order in which they are used.
pub(super) async fn balance(conn: &mut Connection, facts: &Facts, id: &OrganisationId) -> Result<Balance, StoreError> {
    let organisation = known(facts, id)?;
    let sums = sums(conn, id).await?;
    let rows = sql::query(
        "SELECT key, amount, remaining, at, expires FROM funding WHERE organisation = $1 ORDER BY expires, key",
    )
    .bind(id.as_str())
    .fetch_all(conn)
    .await?;
    let funding = |row: &sql::Row| {
        Ok(FundingRow {
            key: row.try_get(0)?,
            amount: Micros(row.try_get(1)?),
            remaining: Micros(row.try_get(2)?),
            at: Wall::from_micros(row.try_get(3)?),
            expires: Wall::from_micros(row.try_get(4)?),
        })
    };
    Ok(Balance {
        organisation: id.clone(),
        currency: organisation.currency,
        posted: sums.posted,
        held: sums.held,
        available: sums.available(),
        burn_nanos: u64::try_from(sums.burn_nanos).unwrap_or(0),
        fundings: rows.iter().map(funding).collect::<Result<_, StoreError>>()?,
    })
}

/// The pool of the month around `at`, as the licences assigned now make it.
pub(super) async fn pool(
    conn: &mut Connection,
    facts: &Facts,
    id: &OrganisationId,
    at: Wall,
) -> Result<PoolState, StoreError> {
    let organisation = known(facts, id)?;
    let (month, _) = month_of(at, &organisation.time_zone).map_err(StoreError::broken)?;
    let found = pool_row(conn, id, month).await?;
    let mut pool = found.unwrap_or(PoolState { month, granted_ms: 0, used_ms: 0, held_ms: 0 });
    pool.granted_ms = pool_due_ms(facts, organisation).max(pool.used_ms + pool.held_ms);
    Ok(pool)
}

/// Entries of the ledger in their order; of many the latest.
pub(super) async fn ledger(
    conn: &mut Connection,
    facts: &Facts,
    id: &OrganisationId,
    limit: u32,
) -> Result<Vec<Entry>, StoreError> {
    known(facts, id)?;
    let rows = sql::query("SELECT * FROM ledger_entry WHERE organisation = $1 ORDER BY sequence DESC LIMIT $2")
        .bind(id.as_str())
        .bind(limit)
        .fetch_all(conn)
        .await?;
    let entry = |row| Ok(audit::entry(&Line { row, table: "ledger_entry" }).map_err(StoreError::Broken)?.entry);
    rows.iter().rev().map(entry).collect()
}

/// Usage records, the earliest end first; with a limit, the latest of them.
pub(super) async fn usage(conn: &mut Connection, filter: &UsageFilter) -> Result<Vec<UsageRecord>, StoreError> {
    let rows = sql::query(
        "SELECT record FROM usage_record \
         WHERE (CAST($1 AS TEXT) IS NULL OR organisation = $1) AND at >= $2 AND at < $3 \
         ORDER BY at DESC, leg DESC LIMIT $4",
    )
    .bind(filter.organisation.as_ref().map(OrganisationId::as_str))
    .bind(filter.from.map_or(i64::MIN, Wall::micros))
    .bind(filter.to.map_or(i64::MAX, Wall::micros))
    .bind(filter.limit.map_or(i64::MAX, i64::from))
    .fetch_all(conn)
    .await?;
    let record = |row: &sql::Row| UsageRecord::from_line(&row.try_get::<String, _>(0)?).map_err(StoreError::Broken);
    rows.iter().rev().map(record).collect()
}

/// The decision and the price, as they would be now.
pub(super) async fn quote(
    conn: &mut Connection,
    facts: &Facts,
    asked: &QuoteRequest,
) -> Result<Result<Quote, Cause>, StoreError> {
    let unknown = || StoreError::Unknown(format!("user {}", asked.organiser));
    let user = facts.users.get(&asked.organiser).ok_or_else(unknown)?;
    let organisation = known(facts, &user.organisation)?;
    let sums = sums(conn, &organisation.id).await?;
    let pool = pool(conn, facts, &organisation.id, asked.now).await?;
    let pool_left_ms = pool.granted_ms.saturating_sub(pool.used_ms + pool.held_ms);
    let ours = facts.directory.find(&asked.number);
    let usable = ours.filter(|number| number.organisation.as_ref().is_none_or(|owner| *owner == organisation.id));
    let book = Book {
        payer: &organisation.payer(sums.has_entries),
        organiser: &user.organiser(organisation),
        countries: &facts.countries,
        prices: facts.prices(organisation),
        number: usable.map(|n| NumberFacts { country: n.country, toll_free: n.kind == NumberKind::TollFree }),
        pool_left_ms,
        available: sums.available(),
    };
    let request = Request {
        call_type: asked.call_type,
        number: asked.number,
        caller: asked.caller,
        origin: Origin::Fixed,
        at: asked.now,
    };
    let asked_ms = u64::from(asked.minutes.max(1)).saturating_mul(60_000);
    let mut terms = match decide(&book, &request) {
        Ok(terms) => terms,
        Err(cause) => return Ok(Err(cause)),
    };
    leg::count_from(conn, organisation, &mut terms, asked.now).await?;
    let settlement = rating::quote(&terms, asked_ms, sums.available(), pool_left_ms);
    if settlement.charged_ms == 0 {
        return Ok(Err(Cause::NoCredit));
    }
    Ok(Ok(Quote {
        funding: terms.funding,
        currency: terms.currency,
        charge: settlement.charge,
        connect_fee: settlement.connect_fee,
        until_ms: settlement.charged_ms,
        pool_used_ms: settlement.pool_used_ms,
        lines: settlement.lines,
    }))
}

/// Legs that are open in the journal.
pub(super) async fn live(conn: &mut Connection) -> Result<Vec<LiveLeg>, StoreError> {
    let rows = sql::query("SELECT * FROM leg WHERE state = 'open' ORDER BY id").fetch_all(conn).await?;
    let live = |row| {
        let leg = leg::read(&Line { row, table: "leg" }).map_err(StoreError::Broken)?;
        let tab = leg.tab.as_ref();
        Ok(LiveLeg {
            leg: leg.id,
            call_type: leg.call_type,
            organisation: leg.organisation,
            meeting: leg.meeting,
            held_until_ms: tab.map_or(0, |tab| tab.held_until_ms),
            credit_held: tab.map_or(Micros::ZERO, |tab| tab.credit_held),
        })
    };
    rows.iter().map(live).collect()
}
