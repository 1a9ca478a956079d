//! What the writer has worked out and not written yet: rows by table. They come as one JSON text a table, so that a batch
//! is a statement a table, however many legs and organisations are in it, and always the same statement. Rows that others
//! may have changed meanwhile go through only where they are what they were taken for.

use super::books::{PoolCopy, hash_text, millis};
use super::draw::FundingCopy;
use super::leg::{LegRow, kept_parts};
use super::sheet::AccountCopy;
use super::spending::Counting;
use super::sql::{self, Connection, Error};
use crate::clock::Wall;
use crate::types::{LegId, OrganisationId};
use serde_json::{Value, json};

/// Rows of one table.
type Rows = Vec<Value>;

/// In the order in which they are written: a row stands before those that refer to it.
#[derive(Debug, Default)]
pub(super) struct Draft {
    /// Legs to insert, those whose payer and terms, and those whose tab, have changed; those that are over.
    pub born: Rows,
    pub told: Rows,
    pub tabs: Rows,
    pub over: Rows,
    /// Of those the ones whose far side is still to hear it.
    pub owed: Rows,
    pub pools: Rows,
    pub accounts: Rows,
    pub entries: Rows,
    pub holds: Rows,
    /// First steps whose words are not kept any longer.
    pub hidden: Rows,
    pub fundings: Rows,
    pub draws: Rows,
    pub days: Rows,
    /// Of whom spending is counted: those who may be new, and what is counted.
    pub names: Rows,
    pub counts: Rows,
    pub records: Rows,
    pub persons: Rows,
}

/// What became of a draft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    All,
    /// Rows of this table are not what they were taken for, or do not leave room for what is taken.
    Raced(&'static str),
}

impl Draft {
    /// Writes all of it, as far as it goes.
    pub async fn write(self, conn: &mut Connection) -> Result<Written, Error> {
        let steps = [
            ("leg", BORN, self.born),
            ("leg", TOLD, self.told),
            ("leg", TABS, self.tabs),
            ("dialog", OWED, self.owed),
            ("leg", OVER, self.over),
            ("pool", POOLS, self.pools),
            ("account", ACCOUNTS, self.accounts),
            ("ledger_entry", ENTRIES, self.entries),
            ("hold", HOLDS, self.holds),
            ("hold", HIDDEN, self.hidden),
            ("funding", FUNDINGS, self.fundings),
            ("draw", DRAWS, self.draws),
            ("spend", DAYS, self.days),
            (NAMES_TABLE, NAMES, self.names),
            ("spend_of", COUNTS, self.counts),
            ("usage_record", RECORDS, self.records),
            ("person", PERSONS, self.persons),
        ];
        for (table, sql, rows) in steps {
            if rows.is_empty() {
                continue;
            }
            let count = rows.len() as u64;
            let done = sql::query(sql).bind(Value::Array(rows).to_string()).execute(conn).await?;
            if done != count && table != NAMES_TABLE {
                return Ok(Written::Raced(table));
            }
        }
        Ok(Written::All)
    }
}

const BORN: &str = "INSERT INTO leg \
     (id, state, node, life, call_type, number, caller, carrier, call_id, journal, invited, origin) \
     SELECT value ->> 0, 'open', value ->> 1, CAST(value ->> 2 AS BIGINT), value ->> 3, value ->> 4, value ->> 5, value ->> 6, \
     value ->> 7, value ->> 8, CAST(value ->> 9 AS BIGINT), value ->> 10 FROM json_each($1)";

pub(super) fn born_row(row: &LegRow, node: &str, life: i64) -> Value {
    json!([
        row.id.to_string(),
        node,
        life,
        row.call_type.slug(),
        row.number.to_string(),
        row.caller.map(|caller| caller.to_string()),
        row.carrier.as_ref().map(|carrier| carrier.as_str()),
        row.call_id,
        row.journal,
        row.invited.micros(),
        row.origin.to_string(),
    ])
}

const TOLD: &str = "UPDATE leg SET organisation = value ->> 1, organiser = value ->> 2, meeting = value ->> 3, \
     payer_known = CAST(value ->> 4 AS BIGINT), answered = CAST(value ->> 5 AS BIGINT), journal = value ->> 6, terms = value ->> 7, \
     carrier = value ->> 8, call_id = value ->> 9, leads = CAST(value ->> 10 AS BIGINT) FROM json_each($1) WHERE leg.id = value ->> 0";

pub(super) fn told_row(leg: &LegRow) -> Value {
    json!([
        leg.id.to_string(),
        leg.organisation.as_ref().map(|id| id.as_str()),
        leg.organiser.as_ref().map(|id| id.as_str()),
        leg.meeting.as_ref().map(|id| id.as_str()),
        leg.payer_known.map(Wall::micros),
        leg.answered.map(Wall::micros),
        leg.journal,
        leg.tab.as_ref().map(|tab| tab.terms.to_line()),
        leg.carrier.as_ref().map(|carrier| carrier.as_str()),
        leg.call_id,
        i64::from(leg.leads),
    ])
}

const TABS: &str = "UPDATE leg SET pool_month = CAST(value ->> 1 AS BIGINT), held_until_ms = CAST(value ->> 2 AS BIGINT), \
     credit_held = CAST(value ->> 3 AS BIGINT), pool_held_ms = CAST(value ->> 4 AS BIGINT), burn_nanos = CAST(value ->> 5 AS BIGINT), sequence = CAST(value ->> 6 AS BIGINT), \
     is_final = CAST(value ->> 7 AS BIGINT), elapsed_ms = CAST(value ->> 8 AS BIGINT), parts = value ->> 9 FROM json_each($1) WHERE leg.id = value ->> 0";

pub(super) fn tab_row(leg: &LegRow) -> Value {
    let tab = leg.tab.as_ref();
    json!([
        leg.id.to_string(),
        leg.pool_month.map(Wall::micros),
        tab.map_or(0, |tab| millis(tab.held_until_ms)),
        tab.map_or(0, |tab| tab.credit_held().0),
        tab.map_or(0, |tab| millis(tab.pool_held_ms())),
        leg.burn_nanos,
        tab.map_or(0, |tab| tab.sequence),
        i64::from(tab.is_some_and(|tab| tab.is_final)),
        millis(leg.proven_ms),
        tab.and_then(|tab| kept_parts(&tab.held)),
    ])
}

/// Before the leg is over, which empties its journal.
const OWED: &str = "INSERT INTO dialog (leg, node, call_type, is_paid, journal, at) \
     SELECT leg.id, leg.node, leg.call_type, CASE WHEN leg.credit_held > 0 THEN 1 ELSE 0 END, leg.journal, \
     CAST(value ->> 1 AS BIGINT) FROM json_each($1) JOIN leg ON leg.id = value ->> 0 WHERE true \
     ON CONFLICT (leg) DO NOTHING";

pub(super) fn owed_row(leg: LegId, at: Wall) -> Value {
    json!([leg.to_string(), at.micros()])
}

/// The state is asked of the one leg that was found, and leads to none: to the planner it must not look like a key.
const OVER: &str = "UPDATE leg SET state = 'settled', elapsed_ms = CAST(value ->> 1 AS BIGINT), caller = NULL, call_id = '', \
     journal = '', number = CASE WHEN call_type = 'dial-out' THEN '+999' ELSE number END \
     FROM json_each($1) WHERE leg.id = value ->> 0 AND leg.state || '' = 'open'";

pub(super) fn over_row(leg: LegId, elapsed_ms: u64) -> Value {
    json!([leg.to_string(), millis(elapsed_ms)])
}

const POOLS: &str = "UPDATE pool SET used_ms = CAST(value ->> 2 AS BIGINT), held_ms = CAST(value ->> 3 AS BIGINT), \
     legs = legs + CAST(value ->> 6 AS BIGINT) \
     FROM json_each($1) WHERE pool.organisation = value ->> 0 AND pool.month = CAST(value ->> 1 AS BIGINT) \
     AND pool.used_ms = CAST(value ->> 4 AS BIGINT) AND pool.held_ms = CAST(value ->> 5 AS BIGINT)";

/// A pool that has changed; from now on it is as good as written.
pub(super) fn pool_row((organisation, month): &(OrganisationId, i64), pool: &mut PoolCopy) -> Option<Value> {
    let now = (pool.state.used_ms, pool.state.held_ms, pool.state.legs);
    if now == pool.written {
        return None;
    }
    let before = std::mem::replace(&mut pool.written, now);
    let [used, held, used_before, held_before] = [now.0, now.1, before.0, before.1].map(millis);
    let joined = millis(now.2) - millis(before.2);
    Some(json!([organisation.as_str(), month, used, held, used_before, held_before, joined]))
}

/// A row goes through only if nothing was changed behind the writer's back, and only if what is taken is there. The CHECK
/// of the table stands behind it.
const ACCOUNTS: &str = "UPDATE account SET posted = CAST(value ->> 1 AS BIGINT), held = CAST(value ->> 2 AS BIGINT), \
     burn_nanos = burn_nanos + CAST(value ->> 3 AS BIGINT), entries = CAST(value ->> 4 AS BIGINT), head = value ->> 5, \
     granted_held = CAST(value ->> 11 AS BIGINT) \
     FROM json_each($1) WHERE account.organisation = value ->> 0 AND posted = CAST(value ->> 6 AS BIGINT) \
     AND held = CAST(value ->> 7 AS BIGINT) AND entries = CAST(value ->> 8 AS BIGINT) AND head = value ->> 9 \
     AND granted_held = CAST(value ->> 12 AS BIGINT) \
     AND CAST(value ->> 1 AS BIGINT) - CAST(value ->> 2 AS BIGINT) >= CAST(value ->> 10 AS BIGINT)";

/// An account likewise.
pub(super) fn account_row(organisation: &OrganisationId, account: &mut AccountCopy) -> Option<Value> {
    let now = (account.sums, account.entries, account.head);
    if now == account.written {
        return None;
    }
    let (before, entries, head) = std::mem::replace(&mut account.written, now);
    Some(json!([
        organisation.as_str(),
        account.sums.posted.0,
        account.sums.held.0,
        account.sums.burn_nanos - before.burn_nanos,
        account.entries,
        hash_text(&account.head),
        before.posted.0,
        before.held.0,
        entries,
        hash_text(&head),
        account.floor.take().unwrap_or(-account.sums.overdraft.0),
        account.sums.granted_held.0,
        before.granted_held.0,
    ]))
}

const ENTRIES: &str = "INSERT INTO ledger_entry \
     (organisation, sequence, key, debit, credit, amount, currency, at, memo, hash) \
     SELECT value ->> 0, CAST(value ->> 1 AS BIGINT), value ->> 2, value ->> 3, value ->> 4, CAST(value ->> 5 AS BIGINT), value ->> 6, CAST(value ->> 7 AS BIGINT), \
     value ->> 8, value ->> 9 FROM json_each($1)";

const HOLDS: &str = "INSERT INTO hold \
     (leg, step, request, outcome, cause, funding, credit, pool_ms, until_ms, is_final, funded_ms, parts) \
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, CAST(value ->> 6 AS BIGINT), CAST(value ->> 7 AS BIGINT), \
     CAST(value ->> 8 AS BIGINT), CAST(value ->> 9 AS BIGINT), CAST(value ->> 10 AS BIGINT), value ->> 11 FROM json_each($1)";

const HIDDEN: &str =
    "UPDATE hold SET request = value ->> 1 FROM json_each($1) WHERE hold.leg = value ->> 0 AND hold.step = 'open'";

const FUNDINGS: &str = "UPDATE funding SET remaining = CAST(value ->> 1 AS BIGINT) FROM json_each($1) \
     WHERE funding.key = value ->> 0 AND funding.remaining = CAST(value ->> 2 AS BIGINT)";

/// A funding that has changed; from now on it is as good as written.
pub(super) fn funding_row(funding: &mut FundingCopy) -> Option<Value> {
    if funding.remaining == funding.written {
        return None;
    }
    let before = std::mem::replace(&mut funding.written, funding.remaining);
    Some(json!([funding.key, funding.remaining, before]))
}

const DRAWS: &str = "INSERT INTO draw (key, funding, amount, leg, expires) SELECT value ->> 0, value ->> 1, \
     CAST(value ->> 2 AS BIGINT), value ->> 3, CAST(value ->> 4 AS BIGINT) FROM json_each($1)";

const DAYS: &str = "INSERT INTO spend (organisation, day, charged) \
     SELECT value ->> 0, value ->> 1, CAST(value ->> 2 AS BIGINT) FROM json_each($1) WHERE true \
     ON CONFLICT (organisation, day) DO UPDATE SET charged = spend.charged + excluded.charged";

/// Of these some are there already.
const NAMES_TABLE: &str = "spend_of, new rows";
const NAMES: &str = "INSERT INTO spend_of (whose, name, currency, day, charged) \
     SELECT value ->> 0, value ->> 1, value ->> 2, '', 0 FROM json_each($1) WHERE true \
     ON CONFLICT (whose, name, currency) DO NOTHING";

/// What legs hold moves the sum of what is held; a charge counts to its day, unless a later one has begun. Where a limit
/// was asked, the row leaves room for what was taken under it, whoever else takes of it at the same time.
const COUNTS: &str = "UPDATE spend_of SET \
     charged = CASE WHEN day < value ->> 3 THEN 0 ELSE charged END \
     + CASE WHEN day > value ->> 3 THEN 0 ELSE CAST(value ->> 4 AS BIGINT) END, \
     day = CASE WHEN day < value ->> 3 THEN value ->> 3 ELSE day END, held = held + CAST(value ->> 5 AS BIGINT) \
     FROM json_each($1) WHERE spend_of.whose = value ->> 0 AND spend_of.name = value ->> 1 \
     AND spend_of.currency = value ->> 2 AND (value ->> 6 IS NULL OR CAST(value ->> 6 AS BIGINT) >= held \
     + CAST(value ->> 5 AS BIGINT) + CASE WHEN day < value ->> 7 AND value ->> 3 < value ->> 7 THEN 0 ELSE \
     CASE WHEN day < value ->> 3 THEN 0 ELSE charged END \
     + CASE WHEN day > value ->> 3 THEN 0 ELSE CAST(value ->> 4 AS BIGINT) END END)";

pub(super) fn count_row(counting: &Counting, name: [&str; 3]) -> Value {
    let [whose, name, currency] = name;
    json!([
        whose,
        name,
        currency,
        counting.day,
        counting.charge,
        counting.held,
        counting.limit.as_ref().map(|limit| limit.0),
        counting.limit.as_ref().map(|limit| &limit.1),
    ])
}

const RECORDS: &str = "INSERT INTO usage_record (leg, organisation, at, elapsed_ms, credit_held, charge, pool_held_ms, \
     pool_used_ms, record, day, utc_day, granted) SELECT value ->> 0, value ->> 1, CAST(value ->> 2 AS BIGINT), CAST(value ->> 3 AS BIGINT), \
     CAST(value ->> 4 AS BIGINT), CAST(value ->> 5 AS BIGINT), CAST(value ->> 6 AS BIGINT), CAST(value ->> 7 AS BIGINT), \
     value ->> 8, value ->> 9, value ->> 10, CAST(value ->> 11 AS BIGINT) FROM json_each($1)";

const PERSONS: &str = "INSERT INTO person (leg, number, call_id, conference_id, organiser, principal, name) \
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6 FROM json_each($1)";
