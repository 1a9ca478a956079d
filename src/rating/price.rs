//! C(t): the exact charge if the leg ended at t. Exact integers all the way, one rounding at the end.

use crate::clock::Wall;
use crate::rating::rate::{Rate, RateRow};
use crate::rating::terms::{Tariff, Terms};
use crate::types::Micros;

/// Milliseconds in a minute: the denominator of every price.
const MINUTE_MS: i128 = 60_000;

/// Parts of an [`Exact`] in a ten-thousandth of the currency unit: 10⁵ billionths, each of 60 000 parts.
const TEN_THOUSANDTH: i128 = 100_000 * MINUTE_MS;

/// An exact amount: whole 60 000ths of a billionth of the currency unit, so that no rate of nine places a minute, times
/// any whole milliseconds, leaves a fraction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exact(i128);

impl Exact {
    pub const ZERO: Exact = Exact(0);

    /// `ms` at a rate of `nanos` billionths a minute. At most 10¹² × 2⁶⁴ = 1.8·10³¹, far inside the range of i128.
    pub const fn of_time(nanos: i64, ms: u64) -> Exact {
        Exact(nanos as i128 * ms as i128)
    }

    /// `nanos` billionths, once.
    pub const fn of_fee(nanos: i64) -> Exact {
        Exact(nanos as i128 * MINUTE_MS)
    }

    pub const fn plus(self, other: Exact) -> Exact {
        Exact(self.0.saturating_add(other.0))
    }

    /// The count of 60 000ths of a billionth.
    pub const fn parts(self) -> i128 {
        self.0
    }

    /// R: half up at the fourth place. The only rounding that a leg ever meets.
    pub fn round(self) -> Micros {
        let ten_thousandths = self.0.saturating_add(TEN_THOUSANDTH / 2).div_euclid(TEN_THOUSANDTH);
        Micros(i64::try_from(ten_thousandths * 100).unwrap_or(i64::MAX))
    }
}

/// A stretch of billed time at one rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    pub row: &'a RateRow,
    pub ms: u64,
}

impl Part<'_> {
    pub const fn exact(&self) -> Exact {
        Exact::of_time(self.row.rate.per_minute_nanos(), self.ms)
    }
}

impl Tariff {
    pub const fn rate(&self) -> &Rate {
        &self.row.rate
    }

    /// The row whose rate is valid at a moment of the leg.
    pub fn row_at(&self, at: Wall) -> &RateRow {
        self.later.iter().take_while(|step| step.from <= at).last().map_or(&self.row, |step| &step.row)
    }

    /// `paid_ms` of talk after `pool_ms` in the pool, brought up to its increment's edge and cut where rates change. An
    /// increment has the rate that is valid where it starts; the first start at or after a change is an edge too.
    pub fn parts(&self, from: Wall, pool_ms: u64, paid_ms: u64) -> Vec<Part<'_>> {
        let end = self.rate().edge(paid_ms);
        let (mut parts, mut begin, mut row) = (Vec::with_capacity(1), 0, &self.row);
        for step in &self.later {
            let change = self.rate().edge(millis_between(from, step.from).saturating_sub(pool_ms)).min(end);
            parts.push(Part { row, ms: change - begin });
            (begin, row) = (change, &step.row);
        }
        parts.push(Part { row, ms: end - begin });
        parts.retain(|part| part.ms > 0);
        parts
    }

    /// The sum: minutes, and the connect fee with the first second that credits pay.
    fn charge(&self, from: Wall, pool_ms: u64, paid_ms: u64) -> Exact {
        if paid_ms == 0 {
            return Exact::ZERO;
        }
        let fee = Exact::of_fee(self.rate().connect_fee_nanos());
        self.parts(from, pool_ms, paid_ms).iter().fold(fee, |sum, part| sum.plus(part.exact()))
    }
}

impl Terms {
    /// C(t): what the leg costs if it ends `elapsed_ms` after its answer, its first `pool_ms` taken from the pool. The
    /// grid of increments starts anew after them. A leg of no length costs nothing, its fee neither.
    pub fn charge(&self, elapsed_ms: u64, pool_ms: u64) -> Exact {
        let paid_ms = elapsed_ms.saturating_sub(pool_ms);
        self.paid_tariff().map_or(Exact::ZERO, |tariff| tariff.charge(self.from, pool_ms, paid_ms))
    }

    /// The tariff, where credits may come to pay by it.
    pub fn paid_tariff(&self) -> Option<&Tariff> {
        use crate::rating::Funding::{Credits, Free, Included, Pool};
        match self.funding {
            Credits | Pool { then_credits: true } => self.tariff.as_ref(),
            Included | Free | Pool { then_credits: false } => None,
        }
    }
}

/// Whole milliseconds from one moment to a later one, the last begun one counted.
fn millis_between(from: Wall, to: Wall) -> u64 {
    let micros = to.micros().saturating_sub(from.micros());
    u64::try_from(micros).unwrap_or(0).div_ceil(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rating::{Funding, Step};
    use proptest::prelude::*;

    fn credits(rate: &str, fee: &str, initial_ms: u64, next_ms: u64) -> Terms {
        Terms::sample(Funding::Credits, rate, fee, initial_ms, next_ms)
    }

    /// research/rating.md section 3.5: case, rate, fee, increments, elapsed, charge. All in milliseconds.
    const WORKED: &[(&str, &str, &str, u64, u64, u64, &str)] = &[
        ("1", "0.0120", "0", 60_000, 60_000, 61_000, "0.0240"),
        ("2a", "0.0120", "0", 60_000, 1_000, 42_400, "0.0120"),
        ("2b", "0.0120", "0", 1_000, 1_000, 42_400, "0.0086"),
        ("2c", "0.0120", "0", 60_000, 1_000, 61_001, "0.0124"),
        ("3", "0.0120", "0", 6_000, 6_000, 6_100, "0.0024"),
        ("4 a", "0.0060", "0", 30_000, 6_000, 32_000, "0.0036"),
        ("4 b", "0.0060", "0", 30_000, 6_000, 57_000, "0.0060"),
        ("4 c", "0.0060", "0", 30_000, 6_000, 75_000, "0.0078"),
        ("5 at the edge", "0.0120", "0", 60_000, 60_000, 120_000, "0.0240"),
        ("5 past it", "0.0120", "0", 60_000, 60_000, 120_001, "0.0360"),
        ("6", "0.0600", "0", 30_000, 18_000, 40_000, "0.0480"),
        ("7", "0.0300", "0.05", 60_000, 60_000, 0, "0.0000"),
        ("7, and a millisecond", "0.0300", "0.05", 60_000, 60_000, 1, "0.0800"),
        ("10 half up", "0.0249", "0", 30_000, 30_000, 30_000, "0.0125"),
        ("10 down", "0.02482", "0", 30_000, 30_000, 30_000, "0.0124"),
        ("11", "0.05", "0", 1_000, 1_000, 60_000, "0.0500"),
        ("15 an hour is an hour when clocks fall back", "0.01", "0", 60_000, 60_000, 3_600_000, "0.6000"),
        ("20 without its pool", "0.04", "0", 60_000, 60_000, 310_000, "0.2400"),
        ("25", "0.12", "0", 60_000, 1_000, 95_000, "0.1900"),
        ("the dearest week", "1000", "1000", 60_000, 60_000, 604_800_000, "10081000.0000"),
    ];

    #[test]
    fn the_worked_cases() {
        for (case, rate, fee, initial, next, elapsed, charge) in WORKED {
            let terms = credits(rate, fee, *initial, *next);
            assert_eq!(terms.charge(*elapsed, 0).round().to_text(), *charge, "case {case}");
        }
    }

    #[test]
    fn case_14_a_scheduled_change_counts_from_the_next_increment() {
        let mut terms = credits("0.0200", "0", 60_000, 60_000);
        let dearer = credits("0.0240", "0", 1_000, 1_000).tariff.unwrap().row;
        let step = Step { from: terms.from.plus_millis(120_000), row: dearer };
        terms.tariff.as_mut().unwrap().later.push(step);
        assert_eq!(terms.charge(300_000, 0).round().to_text(), "0.1120");
        // Within an increment the change waits for the next: here two start before it, as above.
        terms.tariff.as_mut().unwrap().later[0].from = terms.from.plus_millis(60_001);
        assert_eq!(terms.charge(300_000, 0).round().to_text(), "0.1120");
        // Before the answer it holds from the start; after the end never.
        terms.tariff.as_mut().unwrap().later[0].from = terms.from;
        assert_eq!(terms.charge(300_000, 0).round().to_text(), "0.1200");
        terms.tariff.as_mut().unwrap().later[0].from = terms.from.plus_millis(300_000);
        assert_eq!(terms.charge(300_000, 0).round().to_text(), "0.1000");
    }

    #[test]
    fn case_20_the_grid_starts_anew_after_the_pool() {
        let pooled = Terms::sample(Funding::Pool { then_credits: true }, "0.04", "0", 60_000, 60_000);
        assert_eq!(pooled.charge(310_000, 150_000).round().to_text(), "0.1200");
        let fine = Terms::sample(Funding::Pool { then_credits: true }, "0.04", "0", 1_000, 1_000);
        assert_eq!(fine.charge(310_000, 150_000).round().to_text(), "0.1067");
        assert_eq!(fine.charge(150_000, 150_000), Exact::ZERO);
    }

    #[test]
    fn a_scheduled_change_comes_when_it_comes_pool_or_not() {
        let mut terms = Terms::sample(Funding::Pool { then_credits: true }, "0.02", "0", 60_000, 60_000);
        let row = credits("0.05", "0", 60_000, 60_000).tariff.unwrap().row;
        let from = terms.from.plus_millis(270_000);
        terms.tariff.as_mut().unwrap().later.push(Step { from, row });
        // Pool to 150 s; increments start at 150, 210, 270 s: the third is dearer.
        assert_eq!(terms.charge(330_000, 150_000).round().to_text(), "0.0900");
        // A change while the pool pays: dearer from the first increment on.
        terms.tariff.as_mut().unwrap().later[0].from = terms.from.plus_millis(100_000);
        assert_eq!(terms.charge(330_000, 150_000).round().to_text(), "0.1500");
    }

    #[test]
    fn only_credits_cost() {
        for funding in ["included", "free", "pool"] {
            let terms = Terms::sample(funding.parse().unwrap(), "1", "1", 1_000, 1_000);
            assert_eq!(terms.charge(u64::MAX, 0), Exact::ZERO, "{funding}");
        }
    }

    #[test]
    fn nothing_overflows_at_the_ends_of_the_ranges() {
        let terms = credits("1000", "1000", 1, 3_600_000);
        assert_eq!(terms.charge(u64::MAX, 0).round(), Micros(i64::MAX));
        assert_eq!(Exact::of_fee(i64::MAX).plus(Exact::of_time(i64::MAX, u64::MAX)).round(), Micros(i64::MAX));
    }

    /// The same law by another road: increments walked one by one, each at the rate of its start, as a fraction
    /// reduced at every step.
    fn plain(rates: &[(u64, i64)], fee: i64, grid: (u64, u64), paid_ms: u64) -> i64 {
        let (mut sum, mut start, mut length) = ((i128::from(fee), 1_i128), 0, grid.0);
        while start < paid_ms {
            let (_, nanos) = rates.iter().rev().find(|(from, _)| *from <= start).unwrap();
            let (n, d) = (i128::from(*nanos) * i128::from(length), 60_000);
            sum = (sum.0 * d + n * sum.1, sum.1 * d);
            let divisor = gcd(sum.0, sum.1);
            sum = (sum.0 / divisor, sum.1 / divisor);
            (start, length) = (start + length, grid.1);
        }
        if paid_ms == 0 {
            return 0;
        }
        // Half up at 10⁻⁴: twice the remainder against the divisor.
        let (whole, rest) = (sum.0 / (sum.1 * 100_000), sum.0 % (sum.1 * 100_000));
        ((whole + i128::from(rest * 2 >= sum.1 * 100_000)) * 100) as i64
    }

    fn gcd(a: i128, b: i128) -> i128 {
        if b == 0 { a.max(1) } else { gcd(b, a % b) }
    }

    /// A plan: rates by the moment they begin, a fee, increments.
    fn plan() -> impl Strategy<Value = (Vec<(u64, i64)>, i64, (u64, u64))> {
        let nanos = prop_oneof![0_i64..2_000_000_000, Just(12_000_000), Just(0)];
        let steps = proptest::collection::vec((1_u64..400_000, nanos.clone()), 0..3);
        let span = || prop_oneof![Just(60_000_u64), Just(1_000), Just(6_000), 500_u64..90_000];
        (nanos, steps, 0_i64..300_000_000, span(), span()).prop_map(|(first, mut steps, fee, initial, next)| {
            steps.sort_unstable();
            steps.dedup_by_key(|step| step.0);
            steps.insert(0, (0, first));
            (steps, fee, (initial, next))
        })
    }

    fn built(rates: &[(u64, i64)], fee: i64, grid: (u64, u64)) -> Terms {
        let price = |nanos: i64| rust_decimal::Decimal::new(nanos, 9).to_string();
        let mut terms = credits(&price(rates[0].1), &price(fee), grid.0, grid.1);
        let later = rates[1..].iter().map(|(from, nanos)| Step {
            from: terms.from.plus_millis(*from),
            row: credits(&price(*nanos), "0", 7, 7).tariff.unwrap().row,
        });
        let later: Vec<Step> = later.collect();
        terms.tariff.as_mut().unwrap().later = later;
        terms
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn it_agrees_with_increments_walked_one_by_one((rates, fee, grid) in plan(), elapsed in 0_u64..700_000) {
            let terms = built(&rates, fee, grid);
            prop_assert_eq!(terms.charge(elapsed, 0).round().0, plain(&rates, fee, grid, elapsed));
        }

        #[test]
        fn it_never_falls_as_time_goes_by((rates, fee, grid) in plan(), a in 0_u64..900_000, b in 0_u64..900_000) {
            let terms = built(&rates, fee, grid);
            prop_assert!(terms.charge(a.min(b), 0) <= terms.charge(a.max(b), 0));
        }

        #[test]
        fn slices_add_up_to_the_whole((rates, fee, grid) in plan(), mut cuts in proptest::collection::vec(0_u64..700_000, 1..12)) {
            let terms = built(&rates, fee, grid);
            cuts.sort_unstable();
            let at = |ms: u64| terms.charge(ms, 0).round().0;
            let whole = at(*cuts.last().unwrap());
            let slices: i64 = std::iter::once(0).chain(cuts.iter().copied()).zip(&cuts).map(|(a, b)| at(*b) - at(a)).sum();
            prop_assert_eq!(slices, whole);
        }

        #[test]
        fn twice_the_rates_is_twice_the_price((rates, fee, grid) in plan(), elapsed in 0_u64..700_000) {
            let double: Vec<(u64, i64)> = rates.iter().map(|(from, nanos)| (*from, nanos * 2)).collect();
            let (once, twice) = (built(&rates, fee, grid), built(&double, fee * 2, grid));
            prop_assert_eq!(once.charge(elapsed, 0).parts() * 2, twice.charge(elapsed, 0).parts());
        }

        #[test]
        fn cutting_a_call_at_an_edge_changes_the_fee_alone(nanos in 0_i64..1_000_000_000, step in 1_u64..90_000, count in 1_u64..9, more in 1_u64..300_000) {
            let terms = built(&[(0, nanos)], 5_000_000, (step, step));
            let (first, whole) = (step * count, step * count + more);
            let fee = Exact::of_fee(5_000_000);
            let (a, b) = (terms.charge(first, 0), terms.charge(more, 0));
            prop_assert_eq!(a.plus(b), terms.charge(whole, 0).plus(fee));
        }

        #[test]
        fn pool_time_moves_the_price_later_and_changes_nothing_else((rates, fee, grid) in plan(), pool in 0_u64..200_000, paid in 0_u64..400_000) {
            let single = [rates[0]];
            let terms = built(&single, fee, grid);
            prop_assert_eq!(terms.charge(pool + paid, pool), terms.charge(paid, 0));
        }
    }
}
