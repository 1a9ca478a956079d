//! Questions about the books: read from a snapshot, beside the writer, and nothing is changed by them.

use super::audit;
use super::books::{pool_due_ms, pool_row, sums};
use super::correct::{self, MOST_AT_ONCE, with_grants};
use super::door::{
    AsOf, Balance, Correction, FundingRow, GrantRow, LiveLeg, PoolState, Quote, QuoteRequest, UsageFilter, Which,
};
use super::facts::{Facts, Organisation};
use super::fault::StoreError;
use super::grant;
use super::leg;
use super::person;
use super::rows::Line;
use super::sql::{self, Connection};
use crate::clock::Wall;
use crate::rating::decide::{Book, NumberFacts, decide};
use crate::rating::ledger::Entry;
use crate::rating::pool::month_of;
use crate::rating::{self, CallType, Origin, Request, UsageRecord};
use crate::trunk::NumberKind;
use crate::types::{Cause, LegId, Micros, OrganisationId};

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
    Ok(Balance {
        organisation: id.clone(),
        currency: organisation.currency,
        posted: sums.posted,
        held: sums.held,
        available: sums.available(),
        burn_nanos: u64::try_from(sums.burn_nanos).unwrap_or(0),
        fundings: rows.iter().map(funding_row).collect::<Result<_, StoreError>>()?,
    })
}

/// The account at a moment: what its entries up to then moved, and, for a moment to come, what expires before it.
pub(super) async fn as_of(
    conn: &mut Connection,
    facts: &Facts,
    id: &OrganisationId,
    at: Wall,
    now: Wall,
) -> Result<AsOf, StoreError> {
    let organisation = known(facts, id)?;
    let moved = sql::query(
        "SELECT COALESCE(CAST(SUM(CASE WHEN credit IN ('available', 'held') THEN amount ELSE 0 END \
         - CASE WHEN debit IN ('available', 'held') THEN amount ELSE 0 END) AS BIGINT), 0) \
         FROM ledger_entry WHERE organisation = $1 AND at <= $2",
    );
    let posted: i64 = moved.bind(id.as_str()).bind(at.micros()).fetch_one(conn).await?.try_get(0)?;
    // Draws from before there were entries for them are as old as their funding.
    let rows = sql::query(
        "SELECT key, amount, amount - COALESCE((SELECT CAST(SUM(draw.amount) AS BIGINT) FROM draw \
         LEFT JOIN ledger_entry ON ledger_entry.key = draw.key \
         WHERE draw.funding = funding.key AND COALESCE(ledger_entry.at, 0) <= $2), 0), at, expires \
         FROM funding WHERE organisation = $1 AND at <= $2 ORDER BY expires, key",
    )
    .bind(id.as_str())
    .bind(at.micros())
    .fetch_all(conn)
    .await?;
    let mut fundings = rows.iter().map(funding_row).collect::<Result<Vec<_>, StoreError>>()?;
    let mut expiring = Micros::ZERO;
    for funding in fundings.iter_mut().filter(|funding| at > now && funding.expires <= at) {
        expiring.0 += std::mem::take(&mut funding.remaining).0;
    }
    let posted = Micros(posted - expiring.0);
    Ok(AsOf { organisation: id.clone(), currency: organisation.currency, at, posted, expiring, fundings })
}

fn funding_row(row: &sql::Row) -> Result<FundingRow, StoreError> {
    Ok(FundingRow {
        key: row.try_get(0)?,
        amount: Micros(row.try_get(1)?),
        remaining: Micros(row.try_get(2)?),
        at: Wall::from_micros(row.try_get(3)?),
        expires: Wall::from_micros(row.try_get(4)?),
    })
}

/// Grants of an organisation in the order of their use.
pub(super) async fn grants(
    conn: &mut Connection,
    facts: &Facts,
    id: &OrganisationId,
    all: bool,
) -> Result<Vec<GrantRow>, StoreError> {
    known(facts, id)?;
    let mut rows = grant::rows(conn, id, all).await?;
    rows.sort_by(|a, b| a.grant.place().cmp(&b.grant.place()));
    Ok(rows)
}

/// Credits and money of grants that is good at `now`; and what running legs burn a minute together.
pub(super) async fn money_left(
    conn: &mut Connection,
    id: &OrganisationId,
    now: Wall,
) -> Result<(Micros, u64), StoreError> {
    let sums = sums(conn, id).await?;
    let grants: Vec<_> = grant::rows(conn, id, false).await?.into_iter().map(|row| row.grant).collect();
    Ok((sums.with(grant::granted(&grants, now)), u64::try_from(sums.burn_nanos).unwrap_or(0)))
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
    let mut pool = found.unwrap_or(PoolState { month, granted_ms: 0, used_ms: 0, held_ms: 0, legs: 0 });
    pool.granted_ms = pool_due_ms(facts, organisation, at).max(pool.used_ms + pool.held_ms);
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
        "SELECT * FROM usage_record JOIN person ON person.leg = usage_record.leg \
         WHERE (CAST($1 AS TEXT) IS NULL OR organisation = $1) AND at >= $2 AND at < $3 \
         ORDER BY at DESC, usage_record.leg DESC LIMIT $4",
    )
    .bind(filter.organisation.as_ref().map(OrganisationId::as_str))
    .bind(filter.from.map_or(i64::MIN, Wall::micros))
    .bind(filter.to.map_or(i64::MAX, Wall::micros))
    .bind(filter.limit.map_or(i64::MAX, i64::from))
    .fetch_all(conn)
    .await?;
    rows.iter().rev().map(person::record).collect()
}

/// How far a walk over usage records has come.
#[derive(Debug, Default)]
pub(super) struct Place {
    at: i64,
    leg: String,
    is_begun: bool,
}

/// The next legs to price again, in the order of their ends; none where all have been given.
pub(super) async fn legs_to_rerate(
    conn: &mut Connection,
    facts: &Facts,
    which: &Which,
    after: &mut Place,
) -> Result<Vec<LegId>, StoreError> {
    let (organisation, from, to) = match which {
        Which::Leg(leg) => {
            let first = !std::mem::replace(&mut after.is_begun, true);
            return Ok(first.then_some(*leg).into_iter().collect());
        }
        Which::Period { organisation, from, to } => (organisation, from.micros(), to.micros()),
    };
    known(facts, organisation)?;
    let begun = std::mem::replace(&mut after.is_begun, true);
    let rows = sql::query(
        "SELECT leg, at FROM usage_record WHERE organisation = $1 AND at < $2 AND (at, leg) > ($3, $4) \
         ORDER BY at, leg LIMIT $5",
    )
    .bind(organisation.as_str())
    .bind(to)
    .bind(if begun { after.at } else { from })
    .bind(&after.leg)
    .bind(i64::try_from(MOST_AT_ONCE).unwrap_or(i64::MAX))
    .fetch_all(conn)
    .await?;
    let mut legs = Vec::with_capacity(rows.len());
    for row in &rows {
        (after.leg, after.at) = (row.try_get(0)?, row.try_get(1)?);
        legs.push(Line { row, table: "usage_record" }.parse("leg").map_err(StoreError::Broken)?);
    }
    Ok(legs)
}

/// Corrections, the earliest first; with a limit, the latest of them.
pub(super) async fn corrections(conn: &mut Connection, filter: &UsageFilter) -> Result<Vec<Correction>, StoreError> {
    let rows = sql::query(with_grants!(
        "WHERE (CAST($1 AS TEXT) IS NULL OR organisation = $1) AND at >= $2 AND at < $3 \
         ORDER BY at DESC, leg DESC, number DESC LIMIT $4"
    ))
    .bind(filter.organisation.as_ref().map(OrganisationId::as_str))
    .bind(filter.from.map_or(i64::MIN, Wall::micros))
    .bind(filter.to.map_or(i64::MAX, Wall::micros))
    .bind(filter.limit.map_or(i64::MAX, i64::from))
    .fetch_all(conn)
    .await?;
    let read = |row| correct::read(&Line { row, table: "correction" }).map_err(StoreError::Broken);
    rows.iter().rev().map(read).collect()
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
    let out = (asked.call_type == CallType::DialOut).then_some(&asked.number);
    if let Some(cause) = out.and_then(|to| facts.barred(&organisation.id, to, asked.now)) {
        return Ok(Err(cause));
    }
    let sums = sums(conn, &organisation.id).await?;
    let pool = pool(conn, facts, &organisation.id, asked.now).await?;
    let pool_left_ms = pool.granted_ms.saturating_sub(pool.used_ms + pool.held_ms);
    let grants = grant::rows(conn, &organisation.id, false).await?;
    let grants: Vec<_> = grants.into_iter().map(|row| row.grant).collect();
    let ours = facts.directory.find(&asked.number);
    let usable = ours.filter(|number| number.organisation.as_ref().is_none_or(|owner| *owner == organisation.id));
    let book = Book {
        payer: &organisation.payer(sums.has_entries),
        organiser: &user.organiser(organisation, asked.now),
        countries: &facts.countries,
        prices: facts.prices(organisation),
        number: usable.map(|n| NumberFacts { country: n.country, toll_free: n.kind == NumberKind::TollFree }),
        pool_left_ms,
        available: sums.available(),
        grants: &grants,
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
    let settlement = {
        let means = rating::Means::plain(sums.available(), pool_left_ms);
        rating::quote(&terms, asked_ms, &means.with_grants(&grants, &terms, &asked.number, asked.now))
    };
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
            credit_held: tab.map_or(Micros::ZERO, |tab| tab.credit_held()),
        })
    };
    rows.iter().map(live).collect()
}
