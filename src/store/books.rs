//! The books of money and minutes, as the one writer sees them inside its transaction. What changes a balance is here,
//! and nowhere else, an entry beside it; it is written by one conditional UPDATE ([`sheet`](super::sheet)).

use super::door::PoolState;
use super::facts::{Facts, Organisation};
use super::fault::StoreError;
use super::sheet::{AccountCopy, Sheet};
use super::sql::Row;
use super::sql::{self, Connection};
use super::trail::Refused;
use crate::clock::Wall;
use crate::notice::Kind as Alarm;
use crate::rating::ledger::{self, Account, Entry, Kind};
use crate::rating::pool::{month_of, pool_minutes};
use crate::types::{Currency, Micros, OrganisationId};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;
use std::sync::Arc;

/// The writer's desk.
pub(super) struct Books {
    pub conn: Connection,
    pub facts: Arc<Facts>,
    pub node: String,
    /// Which life of the bridge this is: legs of earlier ones are orphans.
    pub life: i64,
    pub sheet: Sheet,
    /// After a failure: one request at a time, and nothing is taken for granted that a row can tell.
    pub careful: bool,
    /// What the request at hand tried and may not: told when it is taken back.
    pub refused: Option<Refused>,
    /// Grows whenever something to be told, or to be paid, is written.
    pub outbox: u64,
    /// Alerts of this batch that are not taken back: counted once they are durable.
    pub raised: Vec<Alarm>,
    /// How long a raised limit waits.
    pub cooling_ms: u64,
    /// As this life began it was noted that the books' PINs are of this node's key, or there were none.
    pub is_key_proven: bool,
}

/// The sums of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub posted: Micros,
    pub held: Micros,
    pub overdraft: Micros,
    pub burn_nanos: i64,
    /// Money of grants that running legs hold: what has room under a limit on spending goes by it too.
    pub granted_held: Micros,
    /// Anything was ever booked.
    pub has_entries: bool,
}

impl Sums {
    /// What was used of the overdraft.
    pub fn debt(&self) -> Micros {
        Micros(self.posted.0.saturating_neg().max(0))
    }

    /// What nothing has used or holds.
    pub const fn available(&self) -> Micros {
        Micros(self.posted.0.saturating_sub(self.held.0))
    }
}

/// A pool as its row is, or will be once the sheet is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolCopy {
    pub state: PoolState,
    /// What was used and held in the row, and by how many legs, as it was read or last written.
    pub written: (u64, u64, u64),
}

impl PoolCopy {
    pub const fn of(state: PoolState) -> PoolCopy {
        PoolCopy { state, written: (state.used_ms, state.held_ms, state.legs) }
    }
}

/// What one reservation takes, or a leg has taken all told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taking {
    pub credit: Micros,
    /// Money of grants, which the grants' own rows set aside.
    pub granted: Micros,
    pub burn_nanos: i64,
    /// Available may go down to this: zero, or minus the overdraft.
    pub floor: Micros,
}

pub(super) fn millis(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

impl Books {
    pub fn new(conn: Connection, facts: Arc<Facts>, node: String, life: i64, cooling_ms: u64) -> Books {
        Books {
            conn,
            facts,
            node,
            life,
            sheet: Sheet::default(),
            careful: false,
            refused: None,
            outbox: 0,
            raised: Vec::new(),
            cooling_ms,
            is_key_proven: true,
        }
    }

    pub fn organisation(&self, id: &OrganisationId) -> Result<Organisation, StoreError> {
        let found = self.facts.organisations.get(id).cloned();
        found.ok_or_else(|| StoreError::Unknown(format!("organisation {id}")))
    }

    /// Writes what was worked out and not written yet.
    pub async fn write(&mut self) -> Result<(), StoreError> {
        self.sheet.write(&mut self.conn).await
    }

    /// What is known is what the rows say, from now on.
    pub fn forget(&mut self) {
        self.sheet = Sheet::default();
    }

    /// Before somebody is refused: on a server another node may have paid in or given back since the copies were read.
    /// Whether they are to be read anew; what was worked out on them is written.
    pub async fn look_again(&mut self, organisation: &OrganisationId) -> Result<bool, StoreError> {
        if self.conn.kind() == sql::Kind::Sqlite || !self.sheet.fresh.insert(organisation.clone()) {
            return Ok(false);
        }
        self.write().await?;
        self.sheet.drop_copies(organisation);
        Ok(true)
    }

    async fn account(&mut self, organisation: &OrganisationId) -> Result<&mut AccountCopy, StoreError> {
        if !self.sheet.accounts.contains_key(organisation) {
            let account = account(&mut self.conn, organisation).await?;
            self.sheet.accounts.insert(organisation.clone(), account);
            self.sheet.fresh.insert(organisation.clone());
        }
        let account = self.sheet.accounts.get_mut(organisation);
        account.ok_or_else(|| StoreError::broken("an account that was just read is gone"))
    }

    pub async fn sums(&mut self, organisation: &OrganisationId) -> Result<Sums, StoreError> {
        Ok(self.account(organisation).await?.sums)
    }

    /// Sets credit aside, if it is there: the sums after it, or `None`.
    pub async fn reserve(&mut self, organisation: &OrganisationId, taking: Taking) -> Result<Option<Sums>, StoreError> {
        let account = self.account(organisation).await?;
        let after = Sums {
            held: Micros(account.sums.held.0.saturating_add(taking.credit.0)),
            burn_nanos: account.sums.burn_nanos + taking.burn_nanos,
            granted_held: Micros(account.sums.granted_held.0.saturating_add(taking.granted.0)),
            ..account.sums
        };
        if taking.credit > Micros::ZERO {
            if after.available() < taking.floor {
                return Ok(None);
            }
            account.floor = Some(account.floor.map_or(taking.floor.0, |floor| floor.min(taking.floor.0)));
        }
        account.sums = after;
        Ok(Some(after))
    }

    /// What was `taken` is used in part, and the rest is free again.
    pub async fn release(
        &mut self,
        organisation: &OrganisationId,
        taken: Taking,
        charge: Micros,
    ) -> Result<(), StoreError> {
        let sums = &mut self.account(organisation).await?.sums;
        sums.held.0 -= taken.credit.0;
        sums.granted_held.0 -= taken.granted.0;
        sums.posted.0 -= charge.0;
        sums.burn_nanos -= taken.burn_nanos;
        Ok(())
    }

    /// Money in (or out, below zero) that no leg has to do with; `false` where it is more than available.
    pub async fn shift(&mut self, organisation: &OrganisationId, amount: Micros) -> Result<bool, StoreError> {
        let sums = &mut self.account(organisation).await?.sums;
        let is_there = amount > Micros::ZERO || sums.available().0.saturating_add(amount.0) >= 0;
        if is_there {
            sums.posted.0 += amount.0;
        }
        Ok(is_there)
    }

    /// Writes an entry behind the last of its organisation's.
    pub async fn post(&mut self, entry: &Entry) -> Result<(), StoreError> {
        entry.check().map_err(StoreError::broken)?;
        let organisation = &entry.debit.organisation;
        let account = self.account(organisation).await?;
        account.head = ledger::chain(&account.head, entry);
        let (sequence, hash) = (account.entries, hash_text(&account.head));
        account.entries += 1;
        account.sums.has_entries = true;
        self.sheet.draft.entries.push(json!([
            organisation.as_str(),
            sequence,
            entry.key,
            entry.debit.kind.slug(),
            entry.credit.kind.slug(),
            entry.amount.0,
            entry.currency.as_str(),
            entry.at.micros(),
            entry.memo,
            hash,
        ]));
        Ok(())
    }

    /// Writes an entry of `amount` between two accounts of `organisation`; of nothing, none.
    pub async fn book(
        &mut self,
        organisation: &Organisation,
        from_to: (Kind, Kind),
        amount: Micros,
        key: String,
        memo: &str,
        at: Wall,
    ) -> Result<(), StoreError> {
        if amount == Micros::ZERO {
            return Ok(());
        }
        let account = |kind| Account::new(&organisation.id, kind);
        let (debit, credit) = (account(from_to.0), account(from_to.1));
        let currency: Currency = organisation.currency;
        self.post(&Entry { key, debit, credit, amount, currency, at, memo: memo.to_owned() }).await
    }

    /// Whether a funding has expired that is not taken back yet.
    pub async fn has_expired(&mut self, organisation: &OrganisationId, now: Wall) -> Result<bool, StoreError> {
        Ok(self.account(organisation).await?.expires.is_some_and(|first| first <= now.micros()))
    }

    /// Notes when the next of its fundings expires.
    pub async fn expires_next(&mut self, organisation: &OrganisationId, at: Option<i64>) -> Result<(), StoreError> {
        self.account(organisation).await?.expires = at;
        Ok(())
    }

    /// The pool of the month around `at`, made or brought up to date where that is due.
    pub async fn pool(&mut self, organisation: &Organisation, at: Wall) -> Result<PoolState, StoreError> {
        let (month, _) = month_of(at, &organisation.time_zone).map_err(StoreError::broken)?;
        let due_ms = pool_due_ms(&self.facts, organisation, at);
        let key = (organisation.id.clone(), month.micros());
        if !self.sheet.pools.contains_key(&key)
            && let Some(pool) = pool_row(&mut self.conn, &organisation.id, month).await?
        {
            self.sheet.pools.insert(key.clone(), PoolCopy::of(pool));
        }
        let known = self.sheet.pools.get(&key).map(|pool| pool.state);
        if let Some(pool) = known.filter(|pool| pool.granted_ms == due_ms.max(pool.used_ms + pool.held_ms)) {
            return Ok(pool);
        }
        // What was taken of it in this batch stands in the row first.
        self.write().await?;
        // Never taken back below what is used or held.
        sql::query(
            "INSERT INTO pool (organisation, month, granted_ms) VALUES ($1, $2, $3) \
             ON CONFLICT (organisation, month) DO UPDATE SET granted_ms = \
             CASE WHEN excluded.granted_ms > pool.used_ms + pool.held_ms THEN excluded.granted_ms \
                  ELSE pool.used_ms + pool.held_ms END",
        )
        .bind(organisation.id.as_str())
        .bind(month.micros())
        .bind(millis(due_ms))
        .execute(&mut self.conn)
        .await?;
        let made = pool_row(&mut self.conn, &organisation.id, month).await?;
        let made = made.ok_or_else(|| StoreError::broken("a pool that was just made is gone"))?;
        self.sheet.pools.insert(key, PoolCopy::of(made));
        Ok(made)
    }

    async fn pool_copy(&mut self, organisation: &OrganisationId, month: Wall) -> Result<&mut PoolCopy, StoreError> {
        let key = (organisation.clone(), month.micros());
        if !self.sheet.pools.contains_key(&key)
            && let Some(pool) = pool_row(&mut self.conn, organisation, month).await?
        {
            self.sheet.pools.insert(key.clone(), PoolCopy::of(pool));
        }
        let pool = self.sheet.pools.get_mut(&key);
        pool.ok_or_else(|| StoreError::Broken(format!("no pool of {organisation}")))
    }

    /// Sets pool time aside, if it is there: whether it was. `joins` is 1 for a leg that the pool pays from now on, -1 for
    /// one that it does not pay any more.
    pub async fn reserve_pool(
        &mut self,
        organisation: &OrganisationId,
        month: Wall,
        (ms, joins): (u64, i64),
    ) -> Result<bool, StoreError> {
        let pool = &mut self.pool_copy(organisation, month).await?.state;
        let is_there = pool.used_ms.saturating_add(pool.held_ms).saturating_add(ms) <= pool.granted_ms;
        if is_there {
            pool.held_ms += ms;
            pool.legs = pool.legs.saturating_add_signed(joins);
        }
        Ok(is_there)
    }

    /// Held pool time is used in part, and the rest is free again; of a leg that it paid to the end (`leaves`) or not.
    pub async fn release_pool(
        &mut self,
        organisation: &OrganisationId,
        month: Wall,
        (held_ms, used_ms): (u64, u64),
        leaves: bool,
    ) -> Result<(), StoreError> {
        let pool = &mut self.pool_copy(organisation, month).await?.state;
        let rest = pool.held_ms.checked_sub(held_ms);
        pool.held_ms = rest.ok_or_else(|| StoreError::Broken(format!("the pool of {organisation} holds less")))?;
        pool.used_ms = pool.used_ms.saturating_add(used_ms);
        pool.legs = pool.legs.saturating_sub(u64::from(leaves));
        Ok(())
    }
}

/// What the licences assigned now make of a month's pool.
pub(super) fn pool_due_ms(facts: &Facts, organisation: &Organisation, at: Wall) -> u64 {
    let sold = facts.countries.record(organisation.country).is_none_or(|record| record.credits_sold);
    pool_minutes(facts.pool_licences(organisation, at), sold).saturating_mul(60_000)
}

/// The day of the organisation's calendar around `at`.
pub(super) fn day_of(at: Wall, zone: &str) -> Result<String, StoreError> {
    let zone = TimeZone::get(zone).map_err(StoreError::broken)?;
    let stamp = Timestamp::from_microsecond(at.micros()).map_err(StoreError::broken)?;
    Ok(stamp.to_zoned_datetime(zone).date().to_string())
}

const ACCOUNT: &str = "SELECT posted, held, overdraft, burn_nanos, entries, head, \
     (SELECT MIN(expires) FROM funding WHERE funding.organisation = account.organisation AND remaining > 0), \
     granted_held FROM account WHERE organisation = $1";

/// The same columns of many.
pub(super) const ACCOUNTS: &str = "SELECT posted, held, overdraft, burn_nanos, entries, head, \
     (SELECT MIN(expires) FROM funding WHERE funding.organisation = account.organisation AND remaining > 0), \
     granted_held, account.organisation FROM json_each($1) JOIN account ON account.organisation = value ->> 0";

async fn account(conn: &mut Connection, organisation: &OrganisationId) -> Result<AccountCopy, StoreError> {
    let row = sql::query(ACCOUNT).bind(organisation.as_str()).fetch_optional(conn).await?;
    account_copy(&row.ok_or_else(|| StoreError::Unknown(format!("account of {organisation}")))?)
}

/// An account as its row is.
pub(super) fn account_copy(row: &Row) -> Result<AccountCopy, StoreError> {
    let (sums, entries): (Sums, i64) = (read_sums(row)?, row.try_get(4)?);
    let head = unhash(&row.try_get::<String, _>(5)?).ok_or_else(|| StoreError::broken("the head of a hash chain"))?;
    Ok(AccountCopy { sums, entries, head, expires: row.try_get(6)?, written: (sums, entries, head), floor: None })
}

fn read_sums(row: &Row) -> Result<Sums, StoreError> {
    let money = |column: usize| row.try_get(column).map(Micros);
    let has_entries = row.try_get::<i64, _>(4)? > 0;
    Ok(Sums {
        posted: money(0)?,
        held: money(1)?,
        overdraft: money(2)?,
        burn_nanos: row.try_get(3)?,
        granted_held: money(7)?,
        has_entries,
    })
}

pub(super) async fn sums(conn: &mut Connection, organisation: &OrganisationId) -> Result<Sums, StoreError> {
    Ok(account(conn, organisation).await?.sums)
}

pub(super) async fn pool_row(
    conn: &mut Connection,
    organisation: &OrganisationId,
    month: Wall,
) -> Result<Option<PoolState>, StoreError> {
    let row = sql::query("SELECT granted_ms, used_ms, held_ms, legs FROM pool WHERE organisation = $1 AND month = $2")
        .bind(organisation.as_str())
        .bind(month.micros())
        .fetch_optional(conn)
        .await?;
    row.map(|row| state_of(&row, month)).transpose()
}

/// A pool from a row that begins with what was granted, used and held, and by how many legs.
pub(super) fn state_of(row: &Row, month: Wall) -> Result<PoolState, StoreError> {
    let ms = |column: usize| row.try_get::<i64, _>(column).map(|ms| u64::try_from(ms).unwrap_or(0));
    Ok(PoolState { month, granted_ms: ms(0)?, used_ms: ms(1)?, held_ms: ms(2)?, legs: ms(3)? })
}

/// A link of the chain as the store keeps it.
pub(super) fn hash_text(hash: &[u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn unhash(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).ok()?;
    }
    Some(hash)
}

/// Runs what no request ever may: for tests of what the audit then finds.
#[cfg(test)]
pub(super) async fn tamper(books: &mut Books, sql: &&'static str) -> Result<(), StoreError> {
    books.conn.run(sql).await?;
    Ok(())
}

/// What the audit tells of it; nothing of it stays.
#[cfg(test)]
pub(super) async fn plant(books: &mut Books, sql: &&'static str) -> Result<Vec<super::door::Difference>, StoreError> {
    books.conn.run("SAVEPOINT planted").await?;
    let planted = books.conn.run(sql).await;
    let told = if planted.is_ok() { super::audit::audit(&mut books.conn).await } else { Ok(Vec::new()) };
    books.conn.run("ROLLBACK TO planted; RELEASE planted").await?;
    planted?;
    told
}
