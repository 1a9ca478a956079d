//! What is left, and how long it lasts.

use super::{Cell, Excess, Period, Table};
use crate::clock::Wall;
use crate::rating::ledger::{Entry, Kind};
use crate::rating::{UsageRecord, words};
use crate::types::{Currency, Micros, OrganisationId};
use std::collections::BTreeMap;

/// An account as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub organisation: OrganisationId,
    pub currency: Currency,
    pub posted: Micros,
    pub held: Micros,
    pub available: Micros,
    /// What live legs use a minute, in billionths of the currency unit.
    pub burn_nanos: u64,
    /// Charged in the period, and how many days that was.
    pub spent: Micros,
    pub days: u64,
    /// What remains of the funding that expires first, and when.
    pub expiry: Option<(Micros, Wall)>,
}

impl Standing {
    /// Whole minutes that what is available lasts for the legs that talk now; `None` where none burns anything.
    pub fn minutes_left(&self) -> Option<u64> {
        let nanos = u128::try_from(self.available.0.max(0)).unwrap_or(0) * 1_000;
        let minutes = nanos.checked_div(u128::from(self.burn_nanos))?;
        Some(u64::try_from(minutes).unwrap_or(u64::MAX))
    }

    /// Whole days that it lasts if the days to come are like those of the period; `None` where nothing was spent.
    pub fn days_left(&self) -> Option<u64> {
        let (left, spent) = (i128::from(self.available.0.max(0)), i128::from(self.spent.0));
        if spent <= 0 {
            return None;
        }
        Some(u64::try_from(left * i128::from(self.days) / spent).unwrap_or(u64::MAX))
    }
}

/// Accounts, one a row.
pub fn standings(all: &[Standing]) -> Table {
    let mut table = Table::new(&[
        "organisation",
        "posted",
        "held",
        "available",
        "currency",
        "burn_per_minute",
        "minutes_left",
        "spent",
        "days",
        "days_left",
        "next_expiry",
        "expires",
    ]);
    let count = |count: Option<u64>| count.map_or(Cell::None, Cell::Count);
    for own in all {
        table.rows.push(vec![
            Cell::text(own.organisation.as_str()),
            Cell::Money(own.posted),
            Cell::Money(own.held),
            Cell::Money(own.available),
            Cell::text(own.currency.to_string()),
            // Brought up to a millionth: a burn is never shown as nothing.
            Cell::Money(Micros(i64::try_from(own.burn_nanos.div_ceil(1_000)).unwrap_or(i64::MAX))),
            count(own.minutes_left()),
            Cell::Money(own.spent),
            Cell::Count(own.days),
            count(own.days_left()),
            own.expiry.map_or(Cell::None, |(amount, _)| Cell::Money(amount)),
            own.expiry.map_or(Cell::None, |(_, at)| Cell::text(crate::rating::record::utc(at))),
        ]);
    }
    table
}

/// Why a balance moves. Holds do not move it: what is held is the organisation's until a leg has cost it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flow {
    Funding,
    Charge,
    /// A charge given back.
    Refund,
    Expiry,
    Adjustment,
}

words!(Flow: "expected a flow" {
    Funding "funding",
    Charge "charge",
    Refund "refund",
    Expiry "expiry",
    Adjustment "adjustment",
});

/// What an entry does to its organisation's balance; `None` where nothing.
pub fn flow(entry: &Entry) -> Option<(Flow, i128)> {
    let own = |kind: Kind| matches!(kind, Kind::Available | Kind::Held);
    let amount = i128::from(entry.amount.0);
    let (other, moved) = match (own(entry.debit.kind), own(entry.credit.kind)) {
        (false, true) => (entry.debit.kind, amount),
        (true, false) => (entry.credit.kind, -amount),
        (true, true) | (false, false) => return None,
    };
    let flow = match other {
        Kind::Earnings if moved > 0 => Flow::Refund,
        Kind::Earnings => Flow::Charge,
        Kind::Breakage => Flow::Expiry,
        Kind::Funding => Flow::Funding,
        Kind::Adjustment | Kind::Available | Kind::Held | Kind::Grant | Kind::Promo => Flow::Adjustment,
    };
    Some((flow, moved))
}

/// A sum as an amount, if it is one.
pub(super) fn amount(sum: i128) -> Result<Micros, Excess> {
    i64::try_from(sum).map(Micros).map_err(|_| Excess::Amount)
}

/// An account, day by day: what each began and ended with, and what came between.
#[derive(Debug, Default)]
pub struct Days {
    opening: i128,
    days: BTreeMap<String, BTreeMap<Flow, i128>>,
}

impl Days {
    /// One entry more, in the order of the ledger.
    pub fn add(&mut self, entry: &Entry, period: &Period) {
        let Some((flow, moved)) = flow(entry) else { return };
        if period.from.is_some_and(|from| entry.at < from) {
            self.opening += moved;
        } else if period.holds(entry.at) {
            *self.days.entry(period.day_of(entry.at)).or_default().entry(flow).or_default() += moved;
        }
    }

    /// A row for each day on which something moved.
    pub fn table(&self, currency: Currency) -> Result<Table, Excess> {
        let flows = Flow::ALL.iter().map(|flow| flow.slug());
        let columns: Vec<&'static str> =
            ["day", "opening"].into_iter().chain(flows).chain(["closing", "currency"]).collect();
        let mut table = Table::new(&columns);
        let mut balance = self.opening;
        for (day, flows) in &self.days {
            let mut row = vec![Cell::text(day.clone()), Cell::Money(amount(balance)?)];
            for flow in Flow::ALL {
                row.push(Cell::Money(amount(flows.get(flow).copied().unwrap_or(0))?));
            }
            balance += flows.values().sum::<i128>();
            row.push(Cell::Money(amount(balance)?));
            row.push(Cell::text(currency.to_string()));
            table.rows.push(row);
        }
        Ok(table)
    }
}

/// What of a record was charged in a period, for [`Standing::spent`].
pub fn spent(records: &[UsageRecord]) -> Result<Micros, Excess> {
    amount(records.iter().map(|record| i128::from(record.charge.0)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rating::ledger::Account;

    fn entry(debit: Kind, credit: Kind, amount: i64, at: i64) -> Entry {
        let acme = "acme".parse().unwrap();
        Entry {
            key: "k".into(),
            debit: Account::new(&acme, debit),
            credit: Account::new(&acme, credit),
            amount: Micros(amount),
            currency: Currency::USD,
            at: Wall::from_seconds(at),
            memo: String::new(),
        }
    }

    fn standing(available: i64, burn_nanos: u64, spent: i64) -> Standing {
        Standing {
            organisation: "acme".parse().unwrap(),
            currency: Currency::USD,
            posted: Micros(available),
            held: Micros(0),
            available: Micros(available),
            burn_nanos,
            spent: Micros(spent),
            days: 30,
            expiry: None,
        }
    }

    #[test]
    fn what_is_left_lasts_so_long() {
        for (available, burn, spent, minutes, days) in [
            // 1.00 at 0.02 a minute; 3.00 spent in 30 days.
            (1_000_000, 20_000_000, 3_000_000, Some(50), Some(10)),
            (1_000_000, 30_000_000, 0, Some(33), None),
            (1_000_000, 0, 1, None, Some(30_000_000)),
            (0, 20_000_000, 1, Some(0), Some(0)),
            (-5, 20_000_000, 1, Some(0), Some(0)),
            (i64::MAX, 1, 1, Some(u64::MAX), Some(u64::MAX)),
        ] {
            let own = standing(available, burn, spent);
            assert_eq!((own.minutes_left(), own.days_left()), (minutes, days), "{available} {burn} {spent}");
        }
        let table = standings(&[standing(1_000_000, 1, 0)]);
        assert_eq!(table.rows[0][5], Cell::Money(Micros(1)));
        assert_eq!(table.rows[0].len(), table.columns.len());
    }

    #[test]
    fn days_begin_where_the_day_before_ended() {
        use Kind::{Adjustment, Available, Breakage, Earnings, Funding, Held};
        let day = 86_400;
        let period = Period::read("UTC", Some("1970-01-02"), Some("1970-01-05")).unwrap();
        let mut days = Days::default();
        for entry in [
            entry(Funding, Available, 100, 0),
            entry(Available, Held, 60, day),
            entry(Held, Earnings, 40, day),
            entry(Held, Available, 20, day),
            entry(Available, Breakage, 10, 3 * day),
            entry(Adjustment, Available, 7, 3 * day),
            entry(Earnings, Available, 3, 3 * day),
            entry(Funding, Available, 1, 4 * day),
        ] {
            days.add(&entry, &period);
        }
        let table = days.table(Currency::USD).unwrap();
        let shown: Vec<Vec<String>> = table.rows.iter().map(|row| row.iter().map(Cell::shown).collect()).collect();
        let money = |micros: i64| Micros(micros).to_text();
        let row = |day: &str, cells: [i64; 7]| {
            let mut row = vec![day.to_owned()];
            row.extend(cells.iter().map(|cell| money(*cell)));
            row.push("USD".to_owned());
            row
        };
        // day: opening, funding, charge, refund, expiry, adjustment, closing
        assert_eq!(
            shown,
            [row("1970-01-02", [100, 0, -40, 0, 0, 0, 60]), row("1970-01-04", [60, 0, 0, 3, -10, 7, 60])]
        );
        assert_eq!(table.columns.len(), 9);
    }
}
