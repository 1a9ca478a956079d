//! What the writer knows without asking, and what it has not written yet.
//!
//! Only the writer changes legs and accounts, so its copies are as good as the rows. Requests of a batch are worked out on
//! the copies; then all that changed is written at once, a statement a table ([`draft`](super::draft)), however many legs
//! asked. The rows have the last word: where another process has changed one, or there is less than the copy says, nothing
//! of the batch goes through. Whenever anything goes wrong, the copies are thrown away with the savepoint.

use super::books::{PoolCopy, Sums};
use super::draft::{self, Draft, Written};
use super::draw::FundingCopy;
use super::fault::StoreError;
use super::leg::LegRow;
use super::spending::{Counted, Counting, Name};
use super::sql::{Connection, Kind};
use super::threshold::Levels;
use crate::clock::Wall;
use crate::rating::Grant;
use crate::types::{LegId, OrganisationId};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
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

/// A step that a leg has asked.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub step: String,
    /// In which words; of the first alone.
    pub request: String,
    pub credit: i64,
    pub until_ms: i64,
}

#[derive(Debug, Default)]
pub(super) struct Sheet {
    legs: BTreeMap<LegId, Kept>,
    pub accounts: BTreeMap<OrganisationId, AccountCopy>,
    /// Pools of months, by their first moments.
    pub pools: BTreeMap<(OrganisationId, i64), PoolCopy>,
    /// Grants that are not used up, as their rows are, each list with the moment of the request for which it was read.
    pub grants: BTreeMap<OrganisationId, (Wall, Arc<Vec<Grant>>)>,
    /// Thresholds that were told, as their rows are: dropped with the rest where anything goes wrong.
    pub levels: BTreeMap<OrganisationId, Levels>,
    /// Steps of days' limits that were told, by the limits' keys.
    pub caps_told: BTreeMap<String, i64>,
    /// Fundings that are not used up, in the order of their use. Read after the account, whose row tells when another has
    /// used of them since.
    pub fundings: BTreeMap<OrganisationId, Vec<FundingCopy>>,
    /// What was charged on days, and in all, where a limit asks for it.
    pub days: BTreeMap<(OrganisationId, String), i64>,
    pub charged: BTreeMap<OrganisationId, i64>,
    /// What usual days before one have cost, the latest first.
    pub usual: BTreeMap<OrganisationId, (String, Arc<Vec<i64>>)>,
    /// What counts towards limits of others than organisations, where one asks for it.
    pub counted: BTreeMap<Name, Counted>,
    /// Of whom a row is there.
    pub named: BTreeSet<Name>,
    /// Steps of legs that may end in this batch: all of them.
    pub steps: BTreeMap<LegId, Vec<Asked>>,
    /// Legs whose payer and terms, or whose tab, have changed, and those that are over.
    told: BTreeSet<LegId>,
    tabs: BTreeSet<LegId>,
    over: BTreeSet<LegId>,
    /// What is counted and not written.
    spent: BTreeMap<(OrganisationId, String), i64>,
    pub counting: BTreeMap<Name, Counting>,
    pub draft: Draft,
    /// Those whose copies were read for this very run.
    pub fresh: BTreeSet<OrganisationId>,
}

impl Sheet {
    pub fn leg(&self, leg: LegId) -> Option<&Kept> {
        self.legs.get(&leg)
    }

    /// A leg as it was read.
    pub fn keep(&mut self, kept: Kept) {
        self.legs.insert(kept.row.id, kept);
    }

    /// Whether a leg was closed, and its row does not say so yet.
    pub fn is_over(&self, leg: LegId) -> bool {
        self.over.contains(&leg)
    }

    /// A leg that is new.
    pub fn bear(&mut self, row: LegRow, node: &str, life: i64) {
        self.draft.born.push(draft::born_row(&row, node, life));
        self.steps.insert(row.id, Vec::new());
        self.keep(Kept::new(row));
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

    /// A leg is over: what is known of it is written as it stands, and forgotten.
    pub fn close(&mut self, leg: LegId, elapsed_ms: u64) {
        let kept = self.legs.remove(&leg);
        let (told, tabs) = (self.told.remove(&leg), self.tabs.remove(&leg));
        if let Some(kept) = kept {
            self.draft.told.extend(told.then(|| draft::told_row(&kept.row)));
            self.draft.tabs.extend(tabs.then(|| draft::tab_row(&kept.row)));
        }
        self.over.insert(leg);
        self.draft.over.push(draft::over_row(leg, elapsed_ms));
    }

    /// A step has been answered. The row of `hold` as the table has it.
    pub fn answer(&mut self, leg: LegId, asked: Asked, hold: Value) {
        self.draft.holds.push(hold);
        if let Some(kept) = self.legs.get_mut(&leg) {
            kept.note(&asked.step);
        }
        if let Some(steps) = self.steps.get_mut(&leg) {
            steps.push(asked);
        }
    }

    /// A charge counts to a day of an organisation's.
    pub fn spend(&mut self, organisation: &OrganisationId, day: &str, charge: i64) {
        let key = (organisation.clone(), day.to_owned());
        if let Some(known) = self.days.get_mut(&key) {
            *known += charge;
        }
        if let Some(known) = self.charged.get_mut(organisation) {
            *known += charge;
        }
        if self.usual.get(organisation).is_some_and(|(today, _)| today != day) {
            self.usual.remove(organisation);
        }
        *self.spent.entry(key).or_default() += charge;
    }

    /// What of a day, or of all days, is not in its row yet.
    pub fn unwritten(&self, organisation: &OrganisationId, day: Option<&str>) -> i64 {
        let its =
            |(key, _): &(&(OrganisationId, String), &i64)| key.0 == *organisation && day.is_none_or(|day| key.1 == day);
        self.spent.iter().filter(its).map(|(_, charge)| charge).sum()
    }

    /// Drops all that was read of an organisation's money, and of limits; nothing of it may wait to be written.
    pub fn drop_copies(&mut self, organisation: &OrganisationId) {
        self.accounts.remove(organisation);
        self.pools.retain(|(of, _), _| of != organisation);
        self.fundings.remove(organisation);
        self.grants.remove(organisation);
        self.days.retain(|(of, _), _| of != organisation);
        self.charged.remove(organisation);
        self.usual.remove(organisation);
        self.counted.clear();
    }

    /// Writes all that has changed.
    pub async fn write(&mut self, conn: &mut Connection) -> Result<(), StoreError> {
        let mut draft = std::mem::take(&mut self.draft);
        let legs = &self.legs;
        let row_of = |leg: &LegId| legs.get(leg).map(|kept| &kept.row);
        draft.told.extend(std::mem::take(&mut self.told).iter().filter_map(row_of).map(draft::told_row));
        draft.tabs.extend(std::mem::take(&mut self.tabs).iter().filter_map(row_of).map(draft::tab_row));
        self.over.clear();
        draft.pools.extend(self.pools.iter_mut().filter_map(|(key, pool)| draft::pool_row(key, pool)));
        draft.accounts.extend(self.accounts.iter_mut().filter_map(|(id, account)| draft::account_row(id, account)));
        draft.fundings.extend(self.fundings.values_mut().flatten().filter_map(draft::funding_row));
        for ((organisation, day), charge) in std::mem::take(&mut self.spent) {
            draft.days.push(json!([organisation.as_str(), day, charge]));
        }
        for (name, counting) in std::mem::take(&mut self.counting) {
            let words = [name.0.slug(), name.1.as_str(), name.2.as_str()];
            if !self.named.contains(&name) {
                draft.names.push(json!(words));
            }
            if !counting.is_nothing() {
                draft.counts.push(draft::count_row(&counting, words));
            }
            self.named.insert(name);
        }
        let written = draft.write(conn).await?;
        if self.legs.len() > MOST_LEGS {
            self.legs.clear();
        }
        match written {
            Written::All => Ok(()),
            // Nobody else writes there.
            Written::Raced(table) if conn.kind() == Kind::Sqlite => {
                Err(StoreError::Broken(format!("a row of {table} is not what its writer left")))
            }
            Written::Raced(table) => Err(StoreError::Raced(table)),
        }
    }
}
