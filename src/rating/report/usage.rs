//! What was used, added up record by record: by day, organiser, country, number, capability or carrier, in any order.

use super::{Cell, Excess, Masking, Period, Table};
use crate::rating::grant::granted_money;
use crate::rating::{UsageRecord, words};
use crate::types::{Country, Currency, Micros};
use std::collections::BTreeMap;

/// Rows of a report at most: what a spreadsheet still opens.
pub const MOST_ROWS: usize = 500_000;

/// What a report is grouped by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// Of the end: the day on which the leg was charged.
    Day,
    Organisation,
    Organiser,
    /// Where the number called is.
    Country,
    /// The number called.
    Number,
    Capability,
    Carrier,
}

words!(By: "expected day, organisation, organiser, country, number, capability or carrier" {
    Day "day",
    Organisation "organisation",
    Organiser "organiser",
    Country "country",
    Number "number",
    Capability "capability",
    Carrier "carrier",
});

impl By {
    /// `day,organiser`, each once.
    pub fn list(text: &str) -> Result<Vec<By>, String> {
        let mut list = Vec::new();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let by: By = word.parse().map_err(|expected| format!("by: {expected}, found \"{word}\""))?;
            if list.contains(&by) {
                return Err(format!("by: {by} stands there twice"));
            }
            list.push(by);
        }
        Ok(list)
    }
}

/// Which records count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    All,
    /// Those that took minutes from a pool.
    Pool,
}

/// Sums of one row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    pub legs: u64,
    pub answered: u64,
    /// As each record shows it, added up.
    pub seconds: u64,
    pub billed_ms: u64,
    pub pool_ms: u64,
    /// What grants paid, in time and in money: it is in no charge.
    pub grant_ms: u64,
    pub granted: Micros,
    pub fee: Micros,
    pub charge: Micros,
}

impl Sums {
    /// With one leg more; `charge` is what the ledger says that it cost.
    pub fn add(&mut self, record: &UsageRecord, charge: Micros) -> Result<(), Excess> {
        self.legs += 1;
        self.answered += u64::from(record.beyond.stamps.answered.is_some());
        self.seconds = self.seconds.saturating_add(record.duration_seconds());
        self.billed_ms = self.billed_ms.saturating_add(record.beyond.billed_ms);
        self.pool_ms = self.pool_ms.saturating_add(record.beyond.pool_used_ms);
        let timed = record.beyond.grants.iter().filter(|part| part.bucket.is_time());
        self.grant_ms = timed.fold(self.grant_ms, |sum, part| sum.saturating_add(part.amount));
        let granted = granted_money(&record.beyond.grants);
        self.granted = self.granted.checked_add(granted).ok_or(Excess::Amount)?;
        self.fee = self.fee.checked_add(record.connection_fee).ok_or(Excess::Amount)?;
        self.charge = self.charge.checked_add(charge).ok_or(Excess::Amount)?;
        Ok(())
    }
}

/// A report in the making.
#[derive(Debug)]
pub struct Tally {
    by: Vec<By>,
    which: Which,
    masking: Masking,
    rows: BTreeMap<(Vec<String>, Currency), Sums>,
    totals: BTreeMap<Currency, Sums>,
}

const SUMS: [&str; 10] = [
    "legs",
    "answered",
    "seconds",
    "billed_seconds",
    "pool_seconds",
    "grant_seconds",
    "granted",
    "connection_fee",
    "charge",
    "currency",
];

impl Tally {
    pub fn new(by: &[By], which: Which, masking: Masking) -> Tally {
        Tally { by: by.to_vec(), which, masking, rows: BTreeMap::new(), totals: BTreeMap::new() }
    }

    /// One leg more, of an organisation in `country`; its day is that of the period's zone.
    pub fn add(&mut self, record: &UsageRecord, period: &Period, country: Option<Country>) -> Result<(), Excess> {
        if self.which == Which::Pool && record.beyond.pool_used_ms == 0 {
            return Ok(());
        }
        let key = self.by.iter().map(|by| self.word(*by, record, period, country)).collect();
        if self.rows.len() >= MOST_ROWS && !self.rows.contains_key(&(Vec::clone(&key), record.currency)) {
            return Err(Excess::Rows);
        }
        self.rows.entry((key, record.currency)).or_default().add(record, record.charge)?;
        self.totals.entry(record.currency).or_default().add(record, record.charge)
    }

    fn word(&self, by: By, record: &UsageRecord, period: &Period, country: Option<Country>) -> String {
        fn or_nothing<T: ToString>(value: Option<T>) -> String {
            value.map(|value| value.to_string()).unwrap_or_default()
        }
        match by {
            By::Day => period.day_of(record.end),
            By::Organisation => or_nothing(record.beyond.organisation.as_ref()),
            By::Organiser => or_nothing(record.user.as_ref()),
            By::Country => or_nothing(record.destination_country),
            By::Number => self.masking.parties(record, country).1,
            By::Capability => or_nothing(record.capability),
            By::Carrier => or_nothing(record.beyond.carrier.as_ref()),
        }
    }

    pub fn table(&self) -> Table {
        let by = self.by.iter().map(|by| by.slug());
        let columns: Vec<&'static str> = by.chain(SUMS).collect();
        let mut table = Table::new(&columns);
        let row = |key: &[String], currency: &Currency, sums: &Sums| -> Vec<Cell> {
            key.iter().map(Cell::text).chain(cells(sums, *currency)).collect()
        };
        table.rows = self.rows.iter().map(|((key, currency), sums)| row(key, currency, sums)).collect();
        let none = vec![String::new(); self.by.len()];
        table.totals = self.totals.iter().map(|(currency, sums)| row(&none, currency, sums)).collect();
        table
    }
}

fn cells(sums: &Sums, currency: Currency) -> [Cell; 10] {
    [
        Cell::Count(sums.legs),
        Cell::Count(sums.answered),
        Cell::Count(sums.seconds),
        Cell::Count(sums.billed_ms.div_ceil(1_000)),
        Cell::Count(sums.pool_ms.div_ceil(1_000)),
        Cell::Count(sums.grant_ms.div_ceil(1_000)),
        Cell::Money(sums.granted),
        Cell::Money(sums.fee),
        Cell::Money(sums.charge),
        Cell::text(currency.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use crate::rating::grant::Part;
    use crate::rating::record::sample;
    use proptest::prelude::*;

    fn period() -> Period {
        Period::all("Europe/Rome").unwrap()
    }

    fn tally(by: &str, records: &[UsageRecord]) -> Table {
        let mut tally = Tally::new(&By::list(by).unwrap(), Which::All, Masking::default());
        for record in records {
            tally.add(record, &period(), "IT".parse().ok()).unwrap();
        }
        tally.table()
    }

    #[test]
    fn what_a_report_is_grouped_by_is_a_list_of_known_words() {
        assert_eq!(By::list("day, organiser").unwrap(), [By::Day, By::Organiser]);
        assert_eq!(By::list("").unwrap(), []);
        assert!(By::list("day,day").unwrap_err().contains("twice"));
        assert!(By::list("week").unwrap_err().contains("expected day, "));
    }

    #[test]
    fn rows_are_grouped_and_numbers_masked() {
        let day = |seconds: i64| UsageRecord { end: Wall::from_seconds(1_700_000_000 + seconds), ..sample() };
        // 23:13 in Rome, and an hour later.
        let mut out = UsageRecord { call_type: crate::rating::CallType::DialOut, ..day(3_600) };
        out.destination = "+447700900123".parse().unwrap();
        let table = tally("day,number", &[day(0), day(0), out]);
        assert_eq!(table.columns[..3], ["day", "number", "legs"]);
        let shown: Vec<Vec<String>> =
            table.rows.iter().map(|row| row.iter().take(3).map(Cell::shown).collect()).collect();
        assert_eq!(shown, [["2023-11-14", "+390612345678", "2"], ["2023-11-15", "+447700900***", "1"]]);
        assert_eq!(table.totals.len(), 1);
        assert_eq!(tally("", &[]).rows, Vec::<Vec<Cell>>::new());
        let pools = {
            let mut pools = Tally::new(&[], Which::Pool, Masking::default());
            let mut pooled = sample();
            pooled.beyond.pool_used_ms = 1_500;
            for record in [&sample(), &pooled] {
                pools.add(record, &period(), None).unwrap();
            }
            pools.table()
        };
        assert_eq!((&pools.rows[0][0], &pools.rows[0][4]), (&Cell::Count(1), &Cell::Count(2)));
    }

    #[test]
    fn what_grants_paid_is_told_beside_the_charge() {
        let part = |bucket: &str, amount| Part { bucket: bucket.parse().unwrap(), amount };
        let mut record = sample();
        record.beyond.grants = vec![part("seconds:spring", 61_500), part("money:a", 20_000), part("money:b", 5_000)];
        let table = tally("", &[record.clone(), record]);
        assert_eq!(table.columns[5..7], ["grant_seconds", "granted"]);
        assert_eq!(table.rows[0][5..7], [Cell::Count(123), Cell::Money(Micros(50_000))]);
        assert_eq!(table.rows[0][8], Cell::Money(Micros(40_000)));
    }

    #[test]
    fn more_than_an_account_can_hold_is_told() {
        let rich = UsageRecord { charge: Micros(i64::MAX), ..sample() };
        let mut tally = Tally::new(&[], Which::All, Masking::default());
        tally.add(&rich, &period(), None).unwrap();
        assert_eq!(tally.add(&rich, &period(), None), Err(Excess::Amount));
    }

    proptest! {
        /// However records are grouped, the rows add up to the totals, and the totals to the records.
        #[test]
        fn rows_add_up_to_totals(charges in proptest::collection::vec((0_i64..10_000_000_000, 0_u8..4, 0_u8..3), 0..60)) {
            let records: Vec<UsageRecord> = charges.iter().map(|(charge, user, currency)| UsageRecord {
                charge: Micros(*charge),
                user: format!("user{user}").parse().ok(),
                currency: ["USD", "EUR", "CHF"][usize::from(*currency)].parse().unwrap(),
                ..sample()
            }).collect();
            let all: i64 = records.iter().map(|record| record.charge.0).sum();
            for by in ["", "organiser", "day,organiser,country,number,capability,carrier,organisation"] {
                let table = tally(by, &records);
                let sum = |rows: &[Vec<Cell>]| -> i64 {
                    rows.iter().flatten().filter_map(|cell| if let Cell::Money(m) = cell { Some(m.0) } else { None }).sum()
                };
                prop_assert_eq!(sum(&table.rows), all);
                prop_assert_eq!(sum(&table.totals), all);
            }
        }
    }
}
