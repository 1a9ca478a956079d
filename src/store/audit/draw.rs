//! The path of the money: what remains of each funding, and what each entry drew out of which.

use super::{Audit, SUMS};
use crate::clock::Wall;
use crate::store::draw::good_until;
use crate::store::fault::StoreError;
use crate::store::sql;

impl Audit<'_> {
    /// Fundings: of the ledger's own amount and moment; what remains is what was not drawn; together they are the balance.
    pub(super) async fn fundings(&mut self) -> Result<(), StoreError> {
        let rows = sql::query(
            "SELECT account.organisation, account.posted, \
             (SELECT COALESCE(CAST(SUM(remaining) AS BIGINT), 0) FROM funding \
              WHERE funding.organisation = account.organisation) AS remaining FROM account",
        )
        .fetch_all(&mut *self.conn)
        .await?;
        for row in rows {
            let place = format!("account {}", row.try_get::<String, _>(0)?);
            let (posted, remaining): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
            self.equal(SUMS, place, "the rest of its fundings", remaining, posted.max(0));
        }
        let rows = sql::query(
            "SELECT funding.key, funding.amount, funding.remaining, funding.at, funding.expires, \
             COALESCE((SELECT CAST(SUM(amount) AS BIGINT) FROM draw WHERE draw.funding = funding.key), 0), \
             (SELECT MAX(expires) FROM draw WHERE draw.funding = funding.key), \
             (SELECT COUNT(*) FROM ledger_entry WHERE ledger_entry.key = funding.key AND ledger_entry.at = funding.at \
              AND ledger_entry.organisation = funding.organisation AND ledger_entry.amount >= funding.amount) \
             FROM funding",
        )
        .fetch_all(&mut *self.conn)
        .await?;
        for row in rows {
            let place = format!("funding {}", row.try_get::<String, _>(0)?);
            let number = |column: usize| row.try_get::<i64, _>(column);
            let (amount, drawn) = (number(1)?, number(5)?);
            self.equal(SUMS, &place, "what remains", number(2)?, amount - drawn);
            let reopened: Option<i64> = row.try_get(6)?;
            let due = reopened.or_else(|| good_until(Wall::from_micros(row.try_get(3).ok()?)).map(Wall::micros));
            self.equal(SUMS, &place, "the moment that it expires", number(4)?, due.unwrap_or(0));
            if number(7)? != 1 {
                self.tell(SUMS, place, "is not in the ledger");
            }
        }
        Ok(())
    }

    /// Draws: each belongs to an entry of the ledger and adds up to what that moved; the overdraft's are what is owed.
    pub(super) async fn draws(&mut self) -> Result<(), StoreError> {
        let strangers = sql::query(
            "SELECT draw.key, draw.funding FROM draw LEFT JOIN ledger_entry ON ledger_entry.key = draw.key \
             LEFT JOIN funding ON funding.key = draw.funding \
             WHERE draw.key NOT LIKE 'before:%' AND (ledger_entry.key IS NULL \
             OR draw.funding <> '' AND (funding.key IS NULL OR funding.organisation <> ledger_entry.organisation) \
             OR draw.leg IS NULL AND draw.key LIKE 'leg:%' OR draw.key NOT LIKE 'leg:' || draw.leg || ':%')",
        )
        .fetch_all(&mut *self.conn)
        .await?;
        for row in strangers {
            let place = format!("draw {}/{}", row.try_get::<String, _>(0)?, row.try_get::<String, _>(1)?);
            self.tell(SUMS, place, "fits no entry of the ledger, no funding or no leg");
        }
        // What left the two accounts of the customer's money was drawn; what came was given back, or is a funding.
        let wrong = sql::query(
            "SELECT entry.key FROM ledger_entry AS entry JOIN account ON account.organisation = entry.organisation \
             WHERE entry.sequence >= account.undrawn \
             AND (entry.debit IN ('available', 'held')) <> (entry.credit IN ('available', 'held')) \
             AND COALESCE((SELECT SUM(draw.amount) FROM draw WHERE draw.key = entry.key), 0) \
               - COALESCE((SELECT funding.amount FROM funding WHERE funding.key = entry.key), 0) \
               <> CASE WHEN entry.debit IN ('available', 'held') THEN entry.amount ELSE 0 - entry.amount END",
        )
        .fetch_all(&mut *self.conn)
        .await?;
        for row in wrong {
            self.tell(SUMS, format_args!("entry {}", row.try_get::<String, _>(0)?), "was not drawn from its fundings");
        }
        let owed = sql::query(
            "SELECT account.organisation, account.posted, COALESCE(owed.amount, 0) FROM account LEFT JOIN \
             (SELECT COALESCE(entry.organisation, SUBSTR(draw.key, 9)) AS organisation, \
              CAST(SUM(draw.amount) AS BIGINT) AS amount FROM draw \
              LEFT JOIN ledger_entry AS entry ON entry.key = draw.key WHERE draw.funding = '' GROUP BY 1) AS owed \
             ON owed.organisation = account.organisation",
        )
        .fetch_all(&mut *self.conn)
        .await?;
        for row in owed {
            let place = format!("account {}", row.try_get::<String, _>(0)?);
            let (posted, owed): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
            self.equal(SUMS, place, "what was drawn from its overdraft", owed, posted.saturating_neg().max(0));
        }
        Ok(())
    }
}
