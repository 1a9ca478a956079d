//! What the writer knows without asking, and what it has not written yet.
//!
//! Only the writer changes legs and accounts, so its copies are as good as the rows. Holds of a batch are worked out on
//! the copies; then all that changed is written at once, a statement a table, however many legs asked. The rows have the
//! last word: an account's UPDATE goes through only if the row is what the copy was taken for, and leaves what it must.
//! Whenever anything goes wrong, the copies are thrown away with the savepoint.

use super::books::{Sums, millis};
use super::door::PoolState;
use super::fault::StoreError;
use super::leg::LegRow;
use super::sql::{self, Connection};
use super::threshold::Levels;
use crate::clock::Wall;
use crate::rating::Grant;
use crate::types::{LegId, OrganisationId};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Copies of legs at most: several times what one node carries. Above it all copies are dropped, and read again.
const MOST_LEGS: usize = 65_536;

/// A leg as its row is, or will be once the sheet is written.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub row: LegRow,
    /// The highest number that the leg has asked a slice under.
    pub asked: u32,
    /// It has named a payer before.
    pub named: bool,
}

/// An account likewise.
#[derive(Clone, Debug)]
pub(super) struct AccountCopy {
    pub sums: Sums,
    pub entries: i64,
    /// The last link of its chain.
    pub head: [u8; 32],
    /// When the next of its fundings expires, UTC microseconds: never later than it does.
    pub expires: Option<i64>,
    /// The row as it was read or last written.
    pub written: (Sums, i64, [u8; 32]),
    /// The lowest that a reservation of this sheet may leave.
    pub floor: Option<i64>,
}

#[derive(Debug, Default)]
pub(super) struct Sheet {
    legs: HashMap<LegId, Kept>,
    pub accounts: BTreeMap<OrganisationId, AccountCopy>,
    /// Pools as their rows are, each by its month; dropped as soon as one is held or used.
    pub pools: HashMap<OrganisationId, PoolState>,
    /// Grants that are not used up, likewise, each list with the moment of the request for which it was read.
    pub grants: HashMap<OrganisationId, (Wall, Arc<Vec<Grant>>)>,
    /// Thresholds that were told, as their rows are: dropped with the rest where anything goes wrong.
    pub levels: HashMap<OrganisationId, Levels>,
    /// Steps of days' limits that were told, by the limits' keys.
    pub caps_told: HashMap<String, i64>,
    /// Legs to insert, and those whose payer and terms, or whose tab, have changed.
    born: Vec<Value>,
    told: BTreeSet<LegId>,
    tabs: BTreeSet<LegId>,
    entries: Vec<Value>,
    holds: Vec<Value>,
}

impl Sheet {
    pub fn leg(&self, leg: LegId) -> Option<&Kept> {
        self.legs.get(&leg)
    }

    /// A leg as it was read.
    pub fn keep(&mut self, kept: Kept) {
        self.legs.insert(kept.row.id, kept);
    }

    pub fn forget(&mut self, leg: LegId) {
        self.legs.remove(&leg);
    }

    /// A leg that is new.
    pub fn bear(&mut self, row: LegRow, node: &str, life: i64) {
        self.born.push(json!([
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
        ]));
        self.keep(Kept { row, asked: 0, named: false });
    }

    /// A leg has changed: its payer, its answer or its terms (`told`), or what it holds.
    pub fn change(&mut self, row: &LegRow, told: bool) {
        let Some(kept) = self.legs.get_mut(&row.id) else { return };
        // As it would be read from its row.
        kept.row = LegRow { elapsed_ms: row.proven_ms, ..row.clone() };
        if told {
            self.told.insert(row.id)
        } else {
            self.tabs.insert(row.id)
        };
    }

    /// A step has been answered. The row of `hold` without the leg, in the order of the table.
    pub fn answer(&mut self, leg: LegId, step: &str, hold: Value) {
        self.holds.push(hold);
        if let Some(kept) = self.legs.get_mut(&leg) {
            let number = step.strip_prefix(super::leg::EXTEND).and_then(|number| number.parse().ok());
            kept.asked = kept.asked.max(number.unwrap_or(0));
            kept.named |= step.starts_with(super::leg::PAYER);
        }
    }

    pub fn enter(&mut self, entry: Value) {
        self.entries.push(entry);
    }

    /// Writes all that has changed.
    pub async fn write(&mut self, conn: &mut Connection) -> Result<(), StoreError> {
        let (told, tabs) = (std::mem::take(&mut self.told), std::mem::take(&mut self.tabs));
        let rows = |legs: BTreeSet<LegId>, row: fn(&LegRow) -> Value| -> Vec<Value> {
            legs.iter().filter_map(|leg| self.legs.get(leg)).map(|kept| row(&kept.row)).collect()
        };
        let (told, tabs) = (rows(told, told_row), rows(tabs, tab_row));
        all(conn, BORN, std::mem::take(&mut self.born)).await?;
        all(conn, TOLD, told).await?;
        all(conn, TABS, tabs).await?;
        for (organisation, account) in &mut self.accounts {
            write_account(conn, organisation, account).await?;
        }
        all(conn, ENTRIES, std::mem::take(&mut self.entries)).await?;
        all(conn, HOLDS, std::mem::take(&mut self.holds)).await?;
        if self.legs.len() > MOST_LEGS {
            self.legs.clear();
        }
        Ok(())
    }
}

/// Rows come as one JSON text: a statement a table, not a row, and always the same statement.
async fn all(conn: &mut Connection, sql: &'static str, rows: Vec<Value>) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let count = rows.len() as u64;
    let done = sql::query(sql).bind(Value::Array(rows).to_string()).execute(conn).await?;
    if done == count { Ok(()) } else { Err(StoreError::broken("a row that the writer knows is gone")) }
}

const BORN: &str = "INSERT INTO leg \
     (id, state, node, life, call_type, number, caller, carrier, call_id, journal, invited) \
     SELECT value ->> 0, 'open', value ->> 1, CAST(value ->> 2 AS BIGINT), value ->> 3, value ->> 4, value ->> 5, value ->> 6, \
     value ->> 7, value ->> 8, CAST(value ->> 9 AS BIGINT) FROM json_each($1)";

const TOLD: &str = "UPDATE leg SET organisation = value ->> 1, organiser = value ->> 2, meeting = value ->> 3, \
     payer_known = CAST(value ->> 4 AS BIGINT), answered = CAST(value ->> 5 AS BIGINT), journal = value ->> 6, terms = value ->> 7, \
     carrier = value ->> 8, call_id = value ->> 9, leads = CAST(value ->> 10 AS BIGINT) FROM json_each($1) WHERE leg.id = value ->> 0";

fn told_row(leg: &LegRow) -> Value {
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

fn tab_row(leg: &LegRow) -> Value {
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
        tab.and_then(|tab| super::leg::kept_parts(&tab.held)),
    ])
}

const ENTRIES: &str = "INSERT INTO ledger_entry \
     (organisation, sequence, key, debit, credit, amount, currency, at, memo, hash) \
     SELECT value ->> 0, CAST(value ->> 1 AS BIGINT), value ->> 2, value ->> 3, value ->> 4, CAST(value ->> 5 AS BIGINT), value ->> 6, CAST(value ->> 7 AS BIGINT), \
     value ->> 8, value ->> 9 FROM json_each($1)";

const HOLDS: &str = "INSERT INTO hold \
     (leg, step, request, outcome, cause, funding, credit, pool_ms, until_ms, is_final, funded_ms, parts) \
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, CAST(value ->> 6 AS BIGINT), CAST(value ->> 7 AS BIGINT), \
     CAST(value ->> 8 AS BIGINT), CAST(value ->> 9 AS BIGINT), CAST(value ->> 10 AS BIGINT), value ->> 11 FROM json_each($1)";

/// **One statement** an account: it goes through only if nothing was changed behind the writer's back, and only if what
/// is taken is there. The CHECK of the table stands behind it.
async fn write_account(
    conn: &mut Connection,
    organisation: &OrganisationId,
    account: &mut AccountCopy,
) -> Result<(), StoreError> {
    let now = (account.sums, account.entries, account.head);
    if now == account.written {
        return Ok(());
    }
    let (before, entries, head) = account.written;
    let changed = sql::query(
        "UPDATE account SET posted = posted + $1, held = held + $2, burn_nanos = burn_nanos + $3, \
         entries = entries + $4, head = $5 \
         WHERE organisation = $6 AND posted = $7 AND held = $8 AND entries = $9 AND head = $10 \
         AND posted + $1 - held - $2 >= $11",
    )
    .bind(account.sums.posted.0 - before.posted.0)
    .bind(account.sums.held.0 - before.held.0)
    .bind(account.sums.burn_nanos - before.burn_nanos)
    .bind(account.entries - entries)
    .bind(super::books::hash_text(&account.head))
    .bind(organisation.as_str())
    .bind(before.posted.0)
    .bind(before.held.0)
    .bind(entries)
    .bind(super::books::hash_text(&head))
    .bind(account.floor.take().unwrap_or(-account.sums.overdraft.0))
    .execute(conn)
    .await?;
    account.written = now;
    match changed {
        1 => Ok(()),
        _ => Err(StoreError::broken(format!("the account of {organisation} is not what its writer left"))),
    }
}
