//! Grants: their counters are what legs used, hold and gave back; of money, the ledger has all of it, and what is left of
//! all of an organisation's is the balance of their account.

use super::{Audit, Chain, FLOOR, HOLDS, SUMS};
use crate::rating::grant::Unit;
use crate::rating::ledger::Kind;
use crate::store::fault::StoreError;
use crate::store::grant;
use crate::store::rows::Line;
use crate::store::sql;
use crate::types::OrganisationId;
use std::collections::BTreeMap;

const GRANTS: &str = "SELECT grants.*, \
     COALESCE((SELECT CAST(SUM(amount) AS BIGINT) FROM grant_use WHERE grant_id = grants.id AND kind <> 'lapse'), 0) AS uses, \
     COALESCE((SELECT CAST(SUM(amount) AS BIGINT) FROM grant_use WHERE grant_id = grants.id AND kind = 'lapse'), 0) AS lapses, \
     (SELECT COUNT(*) FROM ledger_entry AS entry WHERE entry.key = 'grant:' || grants.id AND entry.credit = 'grant' \
      AND entry.organisation = grants.organisation AND entry.amount = grants.amount AND entry.at = grants.created \
      AND entry.debit = CASE WHEN grants.source = 'paid' THEN 'funding' ELSE 'promo' END) AS given \
     FROM grants ORDER BY id";

/// Lapses that the ledger does not have as they are, and entries of lapses that no row stands behind.
const LAPSES: &str = "SELECT grant_use.key FROM grant_use JOIN grants ON grants.id = grant_use.grant_id \
     LEFT JOIN ledger_entry AS entry ON entry.key = grant_use.key WHERE grant_use.kind = 'lapse' AND grants.unit = 'money' \
     AND (entry.key IS NULL OR entry.amount <> grant_use.amount OR entry.debit <> 'grant' \
      OR entry.credit <> CASE WHEN grants.source = 'paid' THEN 'breakage' ELSE 'promo' END) \
     UNION ALL SELECT entry.key FROM ledger_entry AS entry LEFT JOIN grant_use ON grant_use.key = entry.key \
     WHERE entry.debit = 'grant' AND entry.credit <> 'earnings' AND grant_use.key IS NULL";

impl Audit<'_> {
    pub(super) async fn grants(&mut self, chains: &BTreeMap<OrganisationId, Chain>) -> Result<(), StoreError> {
        let mut left: BTreeMap<OrganisationId, i128> = chains.keys().map(|id| (id.clone(), 0)).collect();
        let mut held: BTreeMap<String, i128> = BTreeMap::new();
        for row in sql::query(GRANTS).fetch_all(&mut *self.conn).await? {
            let place = format!("grant {}", row.try_get::<String, _>("id")?);
            let found = match grant::read(&Line { row: &row, table: "grants" }) {
                Ok(found) => found,
                Err(why) => {
                    self.tell(SUMS, place, why);
                    continue;
                }
            };
            let number = |column: &str| row.try_get::<i64, _>(column).map(i128::from);
            self.equal(SUMS, &place, "used", i128::from(found.used), number("uses")?);
            self.equal(SUMS, &place, "lapsed", i128::from(found.lapsed), number("lapses")?);
            self.equal(HOLDS, &place, "held", found.held, self.held.get(&found.grant.id).copied().unwrap_or(0));
            let is_money = found.grant.unit == Unit::Money;
            if number("given")? != i128::from(is_money) {
                self.tell(SUMS, &place, "is not in the ledger as it is here");
            }
            if is_money {
                *held.entry(found.organisation.to_string()).or_default() += i128::from(found.held);
                let gone = i128::from(found.used) + i128::from(found.lapsed);
                *left.entry(found.organisation).or_default() += i128::from(found.grant.amount) - gone;
            }
            if found.used + found.held + found.lapsed > found.grant.amount {
                self.tell(FLOOR, place, "more is used, held and lapsed than was given");
            }
        }
        for (organisation, left) in left {
            let chain = chains.get(&organisation);
            let balance = chain.and_then(|chain| chain.balances.get(&Kind::Grant)).copied().unwrap_or(0);
            self.equal(SUMS, format_args!("account {organisation}"), "what its grants have left", balance, left);
        }
        for row in sql::query("SELECT organisation, granted_held FROM account").fetch_all(&mut *self.conn).await? {
            let organisation: String = row.try_get(0)?;
            let due = held.remove(&organisation).unwrap_or(0);
            let place = format!("account {organisation}");
            self.equal(HOLDS, place, "money of grants held", i128::from(row.try_get::<i64, _>(1)?), due);
        }
        for row in sql::query(LAPSES).fetch_all(&mut *self.conn).await? {
            self.tell(SUMS, format_args!("entry {}", row.try_get::<String, _>(0)?), "is no lapse of a grant");
        }
        Ok(())
    }
}
