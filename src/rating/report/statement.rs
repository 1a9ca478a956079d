//! A month of an organisation in one document: what the balance was, what moved it and what it is. Every sum is the
//! ledger's own; records only say what the charges were for.

use super::balance::{Flow, amount, flow};
use super::usage::Sums;
use super::{Excess, Period};
use crate::clock::Wall;
use crate::rating::grant::granted_money;
use crate::rating::ledger::{Entry, Kind};
use crate::rating::{Capability, UsageRecord};
use crate::types::{Country, Currency, LegId, Micros, OrganisationId};
use rust_decimal::Decimal;
use std::collections::{BTreeMap, HashMap};

/// Movements that are told one by one; those beyond are told by their sum alone, so that a document stays one.
pub const MOST_LINES: usize = 2_000;

/// Whose statement, of which month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heading {
    pub organisation: OrganisationId,
    pub name: String,
    pub country: Country,
    pub currency: Currency,
    /// The month in the organisation's zone.
    pub period: Period,
    /// `2026-11`.
    pub month: String,
    /// When the statement was made: before the end of the month it is a preview.
    pub made: Wall,
}

impl Heading {
    pub fn is_preview(&self) -> bool {
        self.period.to.is_none_or(|to| self.made < to)
    }
}

/// A movement that is no call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub at: Wall,
    pub flow: Flow,
    pub key: String,
    pub memo: String,
    pub amount: Micros,
}

/// What moved the balance, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Movement {
    pub entries: u64,
    pub amount: Micros,
}

/// What was used, under one word.
pub type Group = (String, Sums);

/// The pool of the month.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    pub granted_ms: u64,
    pub used_ms: u64,
    pub held_ms: u64,
}

/// What rounding has done: each charge is rounded once, and nothing is rounded again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rounding {
    /// Charges whose exact amount their record tells.
    pub legs: u64,
    /// Exact amounts, added up; to 12 places each.
    pub exact: Decimal,
    /// The same as they were charged.
    pub charged: Micros,
}

impl Rounding {
    /// What rounding added (above zero) or took.
    pub fn effect(&self) -> Decimal {
        self.charged.to_decimal() - self.exact
    }
}

/// The document's contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    pub heading: Heading,
    pub opening: Micros,
    pub closing: Micros,
    /// Of the closing balance, what is held for legs that talked at that moment.
    pub held: Micros,
    pub movements: BTreeMap<Flow, Movement>,
    /// Fundings, expiries, adjustments, refunds; the earliest [`MOST_LINES`].
    pub lines: Vec<Line>,
    pub lines_left_out: u64,
    pub total: Sums,
    pub by_capability: Vec<Group>,
    pub by_country: Vec<Group>,
    pub by_organiser: Vec<Group>,
    /// Every day of the month, also those of nothing.
    pub by_day: Vec<Group>,
    pub pool: Pool,
    pub rounding: Rounding,
    /// Charges in the ledger that no record stands behind: none, in books that are right.
    pub unexplained: Micros,
}

impl Statement {
    /// What came in, and what went out, both above zero: opening + in − out = closing.
    pub fn sums(&self) -> Result<(Micros, Micros), Excess> {
        let sum = |keep: fn(&Micros) -> bool| {
            amount(self.movements.values().map(|m| m.amount).filter(keep).map(|m| i128::from(m.0).abs()).sum())
        };
        Ok((sum(|amount| amount.0 > 0)?, sum(|amount| amount.0 < 0)?))
    }

    /// What a flow came to.
    pub fn movement(&self, flow: Flow) -> Movement {
        self.movements.get(&flow).copied().unwrap_or_default()
    }
}

/// A statement in the making: first the ledger's entries up to the month's end, in their order, then the records of the
/// legs that were charged in the month or ended in it.
#[derive(Debug)]
pub struct Draft {
    heading: Heading,
    opening: i128,
    closing: i128,
    held: i128,
    movements: BTreeMap<Flow, (u64, i128)>,
    lines: Vec<Line>,
    lines_left_out: u64,
    /// What was charged in the month and when, by the leg's key in the ledger; taken out by its record.
    charged: HashMap<String, (Micros, Wall)>,
    total: Sums,
    groups: [BTreeMap<String, Sums>; 4],
    rounding: Rounding,
}

impl Draft {
    pub fn new(heading: Heading) -> Draft {
        let mut days = BTreeMap::new();
        days.extend(heading.period.days().into_iter().map(|day| (day, Sums::default())));
        Draft {
            heading,
            opening: 0,
            closing: 0,
            held: 0,
            movements: BTreeMap::new(),
            lines: Vec::new(),
            lines_left_out: 0,
            charged: HashMap::new(),
            total: Sums::default(),
            groups: [BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), days],
            rounding: Rounding::default(),
        }
    }

    /// The month ends with the first entry after it: whatever comes later is of another statement.
    pub fn entry(&mut self, entry: &Entry) -> Result<(), Excess> {
        let period = &self.heading.period;
        if period.to.is_some_and(|to| entry.at >= to) {
            return Ok(());
        }
        let amount_held = i128::from(entry.amount.0);
        match (entry.debit.kind, entry.credit.kind) {
            (_, Kind::Held) => self.held += amount_held,
            (Kind::Held, _) => self.held -= amount_held,
            _ => {}
        }
        let Some((flow, moved)) = flow(entry) else { return Ok(()) };
        self.closing += moved;
        if period.from.is_some_and(|from| entry.at < from) {
            self.opening += moved;
            return Ok(());
        }
        let movement = self.movements.entry(flow).or_default();
        *movement = (movement.0 + 1, movement.1 + moved);
        if flow == Flow::Charge {
            self.charged.insert(entry.key.clone(), (entry.amount, entry.at));
        } else if self.lines.len() < MOST_LINES {
            let (key, memo) = (entry.key.clone(), entry.memo.clone());
            self.lines.push(Line { at: entry.at, flow, key, memo, amount: amount(moved)? });
        } else {
            self.lines_left_out += 1;
        }
        Ok(())
    }

    /// A leg that was charged in the month, or ended in it and cost nothing. Others change nothing.
    pub fn record(&mut self, record: &UsageRecord) -> Result<(), Excess> {
        let found = self.charged.remove(&charge_key(record.usage_id));
        let (charge, at) = match found {
            Some(charged) => charged,
            // Charged in another month, by the ledger's clock.
            None if record.charge > Micros::ZERO || !self.heading.period.holds(record.end) => return Ok(()),
            None => (Micros::ZERO, record.end),
        };
        self.total.add(record, charge)?;
        let words = [
            record.capability.map(Capability::slug).unwrap_or_default().to_owned(),
            record.destination_country.map(|country| country.to_string()).unwrap_or_default(),
            record.user.as_ref().map(|user| user.to_string()).unwrap_or_default(),
            self.heading.period.day_of(at),
        ];
        for (group, word) in self.groups.iter_mut().zip(words) {
            group.entry(word).or_default().add(record, charge)?;
        }
        if let Some(exact) = exact(&record.beyond.explanation) {
            self.rounding.legs += 1;
            self.rounding.exact += exact;
            // What is rounded is the whole price: what grants paid of it too.
            let price = charge.checked_add(granted_money(&record.beyond.grants)).ok_or(Excess::Amount)?;
            self.rounding.charged = self.rounding.charged.checked_add(price).ok_or(Excess::Amount)?;
        }
        Ok(())
    }

    pub fn finish(self, pool: Pool) -> Result<Statement, Excess> {
        let [by_capability, by_country, by_organiser, by_day] = self.groups;
        let ranked = |group: BTreeMap<String, Sums>| {
            let mut all: Vec<Group> = group.into_iter().collect();
            all.sort_by_key(|(_, sums)| std::cmp::Reverse((sums.charge, sums.legs)));
            all
        };
        let movement = |(flow, (entries, moved)): (Flow, (u64, i128))| {
            Ok::<_, Excess>((flow, Movement { entries, amount: amount(moved)? }))
        };
        Ok(Statement {
            heading: self.heading,
            opening: amount(self.opening)?,
            closing: amount(self.closing)?,
            held: amount(self.held)?,
            movements: self.movements.into_iter().map(movement).collect::<Result<_, _>>()?,
            lines: self.lines,
            lines_left_out: self.lines_left_out,
            total: self.total,
            by_capability: ranked(by_capability),
            by_country: ranked(by_country),
            by_organiser: ranked(by_organiser),
            by_day: by_day.into_iter().collect(),
            pool,
            rounding: self.rounding,
            unexplained: amount(self.charged.values().map(|(charge, _)| i128::from(charge.0)).sum())?,
        })
    }
}

/// Under which key the ledger has a leg's charge.
pub fn charge_key(leg: LegId) -> String {
    format!("leg:{leg}:charge")
}

/// The exact amount before rounding, as the explanation tells it: `sum X, rounded …` or `sum X EUR × R USD a EUR,
/// rounded …`. `None` where the charge was not worked out from a rate.
fn exact(explanation: &[String]) -> Option<Decimal> {
    let line =
        explanation.iter().find_map(|line| line.strip_prefix("sum ").filter(|rest| rest.contains(", rounded ")))?;
    let (sum, _) = line.split_once(", rounded ")?;
    let number = |text: &str| Decimal::from_str_exact(text.split(' ').next()?.trim_end_matches('…')).ok();
    let mut factors = sum.split(" × ").map(number);
    factors.try_fold(Decimal::ONE, |product, factor| product.checked_mul(factor?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rating::grant::parts_of_line;
    use crate::rating::ledger::Account;
    use crate::rating::record::sample;
    use crate::rating::{Funding, Terms, quote};
    use proptest::prelude::*;

    pub fn heading(month: &str) -> Heading {
        let period = Period::month("Europe/Rome", month).unwrap();
        Heading {
            organisation: "acme".parse().unwrap(),
            name: "Acme <S.p.A.>".into(),
            country: "IT".parse().unwrap(),
            currency: Currency::USD,
            made: period.to.unwrap(),
            period,
            month: month.into(),
        }
    }

    fn entry(key: &str, (debit, credit): (Kind, Kind), amount: i64, at: &str) -> Entry {
        let acme = "acme".parse().unwrap();
        let at: jiff::Timestamp = at.parse().unwrap();
        Entry {
            key: key.into(),
            debit: Account::new(&acme, debit),
            credit: Account::new(&acme, credit),
            amount: Micros(amount),
            currency: Currency::USD,
            at: Wall::from_micros(at.as_microsecond()),
            memo: "m".into(),
        }
    }

    const FUND: (Kind, Kind) = (Kind::Funding, Kind::Available);
    const HOLD: (Kind, Kind) = (Kind::Available, Kind::Held);
    const CHARGE: (Kind, Kind) = (Kind::Held, Kind::Earnings);

    #[test]
    fn a_month_begins_and_ends_in_the_zone_and_adds_up() {
        let mut draft = Draft::new(heading("2026-11"));
        let charged = charge_key(sample().usage_id);
        for entry in [
            entry("opening", FUND, 10_000_000, "2026-10-31T22:59:59Z"),
            entry("second", FUND, 5_000_000, "2026-10-31T23:00:00Z"),
            entry("hold", HOLD, 30_000, "2026-11-14T22:00:00Z"),
            entry(&charged, CHARGE, 20_000, "2026-11-14T23:30:00Z"),
            entry("expire", (Kind::Available, Kind::Breakage), 1_000, "2026-11-20T00:00:00Z"),
            entry("fix", (Kind::Adjustment, Kind::Available), 7, "2026-11-20T00:00:00Z"),
            entry("back", (Kind::Earnings, Kind::Available), 5, "2026-11-20T00:00:00Z"),
            entry("later", FUND, 1, "2026-11-30T23:00:00Z"),
        ] {
            draft.entry(&entry).unwrap();
        }
        // Its end, by its own clock, is in another month: the ledger's moment counts.
        draft.record(&sample()).unwrap();
        let elsewhere = UsageRecord { usage_id: LegId::from_u128(1), ..sample() };
        draft.record(&elsewhere).unwrap();
        let statement = draft.finish(Pool::default()).unwrap();
        assert_eq!((statement.opening, statement.closing), (Micros(10_000_000), Micros(14_979_012)));
        assert_eq!(statement.held, Micros(10_000));
        assert_eq!(statement.sums(), Ok((Micros(5_000_012), Micros(21_000))));
        assert_eq!(statement.movement(Flow::Charge), Movement { entries: 1, amount: Micros(-20_000) });
        assert_eq!(statement.unexplained, Micros::ZERO);
        assert_eq!(statement.lines.len(), 4);
        assert_eq!((statement.total.legs, statement.total.charge), (1, Micros(20_000)));
        let day = statement.by_day.iter().find(|(day, _)| day == "2026-11-15").unwrap();
        assert_eq!((day.1.charge, statement.by_day.len()), (Micros(20_000), 30));
        assert_eq!(statement.by_organiser[0].0, "anna");
        assert!(!statement.heading.is_preview());
    }

    #[test]
    fn a_charge_that_no_record_explains_is_told() {
        let mut draft = Draft::new(heading("2026-11"));
        draft.entry(&entry("leg:x:charge", CHARGE, 20_000, "2026-11-14T22:00:00Z")).unwrap();
        assert_eq!(draft.finish(Pool::default()).unwrap().unexplained, Micros(20_000));
    }

    #[test]
    fn the_exact_amount_is_read_from_the_explanation() {
        let of = |line: &str| exact(&["60 s from answer to end".into(), line.into()]);
        let decimal = |text: &str| Some(Decimal::from_str_exact(text).unwrap());
        assert_eq!(of("sum 0.0125, rounded half up to 4 places: 0.0125"), decimal("0.0125"));
        assert_eq!(of("sum 0.010333333333…, rounded half up to 4 places: 0.0103"), decimal("0.010333333333"));
        assert_eq!(of("sum 0.0100 × 1.10 USD a EUR, rounded up to 2 places: 0.02"), decimal("0.011"));
        assert_eq!(of("sum 0.0125: the minimum is 0.05 USD"), None);
        assert_eq!(of("charge 0.0200 USD"), None);
    }

    #[test]
    fn what_a_grant_paid_is_no_rounding() {
        let mut draft = Draft::new(heading("2023-11"));
        let mut record = UsageRecord { charge: Micros(20_000), ..sample() };
        record.beyond.explanation = vec!["sum 0.027041, rounded half up to 4 places: 0.0270".into()];
        record.beyond.grants = parts_of_line("[[\"money:welcome\",7000]]").unwrap();
        draft.entry(&entry(&charge_key(record.usage_id), CHARGE, 20_000, "2023-11-14T22:14:00Z")).unwrap();
        draft.record(&record).unwrap();
        let statement = draft.finish(Pool::default()).unwrap();
        assert_eq!(statement.rounding.effect(), Decimal::from_str_exact("-0.000041").unwrap());
        assert_eq!((statement.total.granted, statement.total.charge), (Micros(7_000), Micros(20_000)));
        assert!(statement.to_html().contains(" of calls, and 0.0070 USD of the price"), "{}", statement.to_html());
    }

    /// What a real leg is told is what is read.
    #[test]
    fn the_explanation_of_a_real_price_is_understood() {
        let terms = Terms::sample(Funding::Credits, "0.0310", "0.0100", 1_000, 1_000);
        let line = quote(&terms, 61_000, &crate::rating::Means::plain(Micros(1_000_000), 0)).lines;
        assert_eq!(exact(&line), Some(Decimal::from_str_exact("0.041516666666").unwrap()), "{line:?}");
    }

    proptest! {
        /// Whatever moves, and whenever: opening + in − out = closing, in every month, and each month begins with what the
        /// one before ended with.
        #[test]
        fn opening_and_movements_are_closing(moves in proptest::collection::vec(
            (0_usize..9, 1_i64..1_000_000_000, 0_i64..7_776_000), 0..60)) {
            let kinds = [FUND, HOLD, CHARGE, (Kind::Held, Kind::Available), (Kind::Available, Kind::Breakage),
                         (Kind::Adjustment, Kind::Available), (Kind::Available, Kind::Adjustment),
                         (Kind::Promo, Kind::Grant), (Kind::Grant, Kind::Earnings)];
            let start: jiff::Timestamp = "2026-10-01T00:00:00Z".parse().unwrap();
            let entries: Vec<Entry> = moves.iter().map(|(kind, amount, at)| {
                let mut entry = entry("k", kinds[*kind], *amount, "2026-10-01T00:00:00Z");
                entry.at = Wall::from_seconds(start.as_second() + at);
                entry
            }).collect();
            let mut before = Micros::ZERO;
            for month in ["2026-09", "2026-10", "2026-11", "2026-12"] {
                let mut draft = Draft::new(heading(month));
                for entry in &entries {
                    draft.entry(entry).unwrap();
                }
                let statement = draft.finish(Pool::default()).unwrap();
                let (into, out) = statement.sums().unwrap();
                prop_assert_eq!(statement.opening.0 + into.0 - out.0, statement.closing.0);
                prop_assert_eq!(statement.opening, before);
                before = statement.closing;
            }
            let balances = crate::rating::ledger::balances(&entries).unwrap();
            let of = |kind| balances.get(&Account::new(&"acme".parse().unwrap(), kind)).map_or(0, |m| m.0);
            prop_assert_eq!(before.0, of(Kind::Available) + of(Kind::Held));
        }
    }
}
