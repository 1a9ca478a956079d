//! C(t): the exact charge if the leg ended at t. Exact integers all the way, one rounding at the end.
//!
//! The order of operations is fixed: the length is read in its unit; a short call is free; free seconds go off; then
//! the grid of increments; the pool's part; money for the rest by stretches of one price, less the discount; the
//! connect fee; surcharges; the minimum; the maximum; the exchange; the rounding.

use crate::clock::Wall;
use crate::rating::Bucket;
use crate::rating::clauses::{AtMaximum, OnChange, Places, Rounding, Surcharge};
use crate::rating::rate::Rate;
use crate::rating::terms::{Discount, Exchange, PoolSplit, Price, Tariff, Terms};
use crate::types::Micros;

/// Parts of an [`Exact`] in a billionth of the currency unit: a minute's milliseconds, and ten-thousandths of those for
/// the discount.
const PARTS: i128 = 60_000 * Discount::WHOLE as i128;

/// Billionths in a unit.
const NANOS: i128 = 1_000_000_000;

/// An exact amount: whole 600 000 000ths of a billionth of the currency unit, so that no rate of nine places a minute,
/// times any whole milliseconds, less any discount of hundredths of a percent, leaves a fraction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exact(i128);

impl Exact {
    pub const ZERO: Exact = Exact(0);

    /// `ms` at a rate of `nanos` billionths a minute. At most 10¹² × 6·10⁸ × 10⁴ = 6·10²⁴, far inside the range of i128.
    pub const fn of_time(nanos: i64, ms: u64) -> Exact {
        Exact((nanos as i128 * ms as i128).saturating_mul(Discount::WHOLE as i128))
    }

    /// `nanos` billionths, once.
    pub const fn of_fee(nanos: i64) -> Exact {
        Exact(nanos as i128 * PARTS)
    }

    pub const fn plus(self, other: Exact) -> Exact {
        Exact(self.0.saturating_add(other.0))
    }

    /// What is left of the price of minutes. No part is lost: prices of minutes are multiples of [`Discount::WHOLE`].
    pub const fn less(self, discount: Discount) -> Exact {
        Exact(self.0 / Discount::WHOLE as i128 * discount.rest() as i128)
    }

    /// The count of parts: 600 000 000 are a billionth of the unit.
    pub const fn parts(self) -> i128 {
        self.0
    }

    /// R in the usual way: half up at the fourth place.
    pub fn round(self) -> Micros {
        self.rounded(NANOS as i64, Rounding::HalfUp, Places::USUAL)
    }

    /// R: times a rate of exchange, then the only rounding that a leg ever meets.
    ///
    /// An amount of 10¹⁶ billionths at the dearest rate, 10¹⁴, is 10³⁰: the multiplication before the last division
    /// stays inside i128, and what that division leaves still tells which side of a half the amount is on.
    pub fn rounded(self, exchange_nanos: i64, rounding: Rounding, places: Places) -> Micros {
        let (rate, unit) = (i128::from(exchange_nanos), 10_i128.pow(18 - u32::from(places.count())));
        let rest = self.0.rem_euclid(PARTS) * rate;
        let amount = self.0.div_euclid(PARTS).saturating_mul(rate).saturating_add(rest / PARTS);
        let (whole, left) = (amount.div_euclid(unit), amount.rem_euclid(unit) * 2);
        let (beyond, half) = (rest % PARTS != 0, left.cmp(&unit));
        let up = match rounding {
            Rounding::Down => false,
            Rounding::Up => left > 0 || beyond,
            Rounding::HalfUp => half.is_ge(),
            Rounding::HalfEven => half.is_gt() || half.is_eq() && (beyond || whole % 2 == 1),
        };
        let micros = (whole + i128::from(up)) * 10_i128.pow(6 - u32::from(places.count()));
        Micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

/// A stretch of billed time at one price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    pub per_minute_nanos: i64,
    pub ms: u64,
    /// Why this price, where it is not the row's own.
    pub why: &'a str,
    /// The paid time after which a tier gives it.
    pub tier_ms: Option<u64>,
}

impl Part<'_> {
    pub const fn exact(&self) -> Exact {
        Exact::of_time(self.per_minute_nanos, self.ms)
    }
}

/// Where paid time lies in a leg.
#[derive(Clone, Copy, Debug)]
pub struct Paid {
    /// The answer, from which moments are counted.
    pub from: Wall,
    /// Free and pooled time before it.
    pub begin_ms: u64,
    /// Where it begins in the grid of increments: not at its start where the pool has taken whole increments.
    pub grid_ms: u64,
    /// Paid talk.
    pub ms: u64,
}

/// What a leg costs, line by line, in the currency of its deck.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum<'a> {
    pub parts: Vec<Part<'a>>,
    /// Milliseconds of all parts.
    pub billed_ms: u64,
    /// All parts, before the discount and after it.
    pub minutes: Exact,
    pub discounted: Exact,
    pub fee: Exact,
    pub surcharge: Exact,
    /// Everything, before minimum and maximum.
    pub sum: Exact,
    /// Everything.
    pub total: Exact,
}

impl Tariff {
    pub const fn rate(&self) -> &Rate {
        &self.row.rate
    }

    pub fn surcharge(&self) -> Surcharge {
        self.row.clauses().surcharge(self.origin)
    }

    /// The price that is valid at a moment of the leg.
    pub fn price_at(&self, at: Wall) -> &Price {
        self.later.iter().take_while(|step| step.from <= at).last().map_or(&self.price, |step| &step.price)
    }

    /// What a call of `elapsed_ms` costs from its answer at `at` on, where nothing else pays a part of it.
    pub fn total(&self, at: Wall, elapsed_ms: u64) -> Exact {
        let clauses = self.row.clauses();
        self.sum(&Paid { from: at, begin_ms: clauses.free_ms, grid_ms: 0, ms: clauses.billable(elapsed_ms) }).total
    }

    /// R of this tariff.
    pub fn amount(&self, exact: Exact) -> Micros {
        let clauses = self.row.clauses();
        let rate = self.exchange.map_or(NANOS as i64, |exchange: Exchange| exchange.nanos);
        exact.rounded(rate, clauses.rounding, clauses.places)
    }

    /// Paid time brought up to its increment's edge.
    pub fn billed(&self, paid: &Paid) -> u64 {
        if self.later.is_empty() || self.row.clauses().on_change != OnChange::Split {
            return self.rate().edge(paid.grid_ms + paid.ms) - paid.grid_ms;
        }
        self.parts(paid).iter().map(|part| part.ms).sum()
    }

    /// Paid time brought up to its increment's edge, and cut where prices change. An increment has the price that is
    /// valid where it starts, so that the first start at or after a change is an edge too.
    pub fn parts(&self, paid: &Paid) -> Vec<Part<'_>> {
        let mut parts = Vec::with_capacity(2);
        match self.row.clauses().on_change {
            OnChange::IncrementStart => self.run(&mut parts, paid, &self.price, true, 0, paid.ms, paid.grid_ms),
            OnChange::Answer => self.run(&mut parts, paid, &self.price, false, 0, paid.ms, paid.grid_ms),
            OnChange::Split => self.split(&mut parts, paid),
        }
        parts
    }

    /// Every stretch between two changes is a grid of its own.
    fn split<'a>(&'a self, parts: &mut Vec<Part<'a>>, paid: &Paid) {
        let (mut begin, mut grid, mut price) = (0, paid.grid_ms, &self.price);
        for step in &self.later {
            let change = position(paid, step.from).min(paid.ms);
            if change > begin {
                self.run(parts, paid, price, false, begin, change - begin, grid);
                (begin, grid) = (change, 0);
            }
            price = &step.price;
        }
        self.run(parts, paid, price, false, begin, paid.ms - begin, grid);
    }

    /// One grid: `ms` of talk from `begin` of the paid time on, which is `grid` into it.
    #[expect(clippy::too_many_arguments, reason = "one step of `parts`, in plain values")]
    fn run<'a>(
        &'a self,
        parts: &mut Vec<Part<'a>>,
        paid: &Paid,
        first: &'a Price,
        changes: bool,
        begin: u64,
        ms: u64,
        grid: u64,
    ) {
        let edge = |at: u64| self.rate().edge(grid + at) - grid;
        let end = edge(ms);
        let mut later = self.later.iter().filter(|_| changes).peekable();
        let (mut at, mut price) = (0, first);
        while at < end {
            while let Some(step) = later.next_if(|step| position(paid, step.from) <= begin + at) {
                price = &step.price;
            }
            let tiers = price.tiers.list();
            let begun = tiers.partition_point(|tier| tier.after_ms <= begin + at);
            let tier = begun.checked_sub(1).map(|last| &tiers[last]);
            let next_tier = tiers.get(begun).map(|tier| edge(tier.after_ms - begin));
            let next_step = later.peek().map(|step| edge(position(paid, step.from) - begin));
            let next = [next_tier, next_step].into_iter().flatten().fold(end, u64::min);
            parts.push(Part {
                per_minute_nanos: tier.map_or(price.per_minute_nanos, |tier| tier.per_minute_nanos),
                ms: next - at,
                why: &price.why,
                tier_ms: tier.map(|tier| tier.after_ms),
            });
            at = next;
        }
    }

    /// The whole sum; nothing where nothing is paid, no fee and no minimum either.
    pub fn sum(&self, paid: &Paid) -> Sum<'_> {
        if paid.ms == 0 {
            return Sum::default();
        }
        let (clauses, surcharge) = (self.row.clauses(), self.surcharge());
        let parts = self.parts(paid);
        let billed_ms = parts.iter().map(|part| part.ms).sum();
        let minutes = parts.iter().fold(Exact::ZERO, |sum, part| sum.plus(part.exact()));
        let discounted = minutes.less(self.discount);
        let fee = Exact::of_fee(self.rate().connect_fee_nanos());
        let surcharge =
            Exact::of_time(surcharge.per_minute_nanos, billed_ms).plus(Exact::of_fee(surcharge.per_call_nanos));
        let sum = discounted.plus(fee).plus(surcharge);
        let least = sum.max(Exact::of_fee(clauses.minimum_nanos));
        let total = clauses.maximum_nanos.map_or(least, |most| least.min(Exact::of_fee(most)));
        Sum { parts, billed_ms, minutes, discounted, fee, surcharge, sum, total }
    }
}

impl Terms {
    /// C(t): what the leg costs if it ends `elapsed_ms` after its answer, `pool_ms` of it taken from the pool, in the
    /// currency of its deck.
    pub fn charge(&self, elapsed_ms: u64, pool_ms: u64) -> Exact {
        self.sum(elapsed_ms, pool_ms).map_or(Exact::ZERO, |sum| sum.total)
    }

    /// R(C(t)): the same as the organisation is charged it.
    pub fn amount(&self, elapsed_ms: u64, pool_ms: u64) -> Micros {
        self.paid_tariff().map_or(Micros::ZERO, |tariff| tariff.amount(self.charge(elapsed_ms, pool_ms)))
    }

    /// C(t) line by line; `None` where credits never pay.
    pub fn sum(&self, elapsed_ms: u64, pool_ms: u64) -> Option<Sum<'_>> {
        self.paid_tariff().map(|tariff| tariff.sum(&self.paid(elapsed_ms, pool_ms)))
    }

    /// Whether C(t) is within the most that a call may cost before it is ended.
    pub fn is_within(&self, elapsed_ms: u64, pool_ms: u64) -> bool {
        let ends = |tariff: &&Tariff| tariff.row.clauses().at_maximum == AtMaximum::Disconnect;
        let Some(tariff) = self.paid_tariff().filter(ends) else { return true };
        let sum = tariff.sum(&self.paid(elapsed_ms, pool_ms)).sum;
        tariff.row.clauses().maximum_nanos.is_none_or(|most| sum <= Exact::of_fee(most))
    }

    /// The free seconds before pool and credits.
    pub fn free_ms(&self) -> u64 {
        self.tariff.as_ref().map_or(0, |tariff| tariff.row.clauses().free_ms)
    }

    /// Talk that is somebody's to pay, in the pool or beyond it.
    pub fn billable(&self, elapsed_ms: u64) -> u64 {
        self.tariff.as_ref().map_or(elapsed_ms, |tariff| tariff.row.clauses().billable(elapsed_ms))
    }

    /// The pool's part of a leg that ends at `elapsed_ms` and holds `pool_ms`.
    pub fn pooled(&self, elapsed_ms: u64, pool_ms: u64) -> u64 {
        self.pool_edge(self.billable(elapsed_ms)).min(pool_ms)
    }

    /// `ms` of the pool as it takes them: seconds, or whole increments.
    pub fn pool_edge(&self, ms: u64) -> u64 {
        match (self.pool_split, &self.tariff) {
            (PoolSplit::Increment, Some(tariff)) => tariff.rate().edge(ms),
            _ => ms,
        }
    }

    /// The most of `left_ms` of pool that it can take.
    pub fn pool_floor(&self, left_ms: u64) -> u64 {
        let edge = self.pool_edge(left_ms);
        match (self.pool_split, &self.tariff) {
            (PoolSplit::Increment, Some(tariff)) if edge > left_ms => {
                tariff.rate().edge_of(tariff.rate().increments(left_ms) - 1)
            }
            _ => edge.min(left_ms),
        }
    }

    /// `ms` of a bucket of time as it is shared: of a grant in whole increments, which is what it is given for; of the pool
    /// as it takes them.
    pub fn slice_edge(&self, bucket: &Bucket, ms: u64) -> u64 {
        match (bucket, &self.tariff) {
            (Bucket::Pool, _) => self.pool_edge(ms),
            (_, Some(tariff)) => tariff.rate().edge(ms),
            (_, None) => ms,
        }
    }

    /// How far a share of time goes that begins at `from_ms` of it: whole increments, or seconds where the pool takes
    /// those; one at least.
    pub fn shared_edge(&self, bucket: &Bucket, from_ms: u64, share_ms: u64) -> u64 {
        let to = from_ms.saturating_add(share_ms);
        let by_seconds = *bucket == Bucket::Pool && self.pool_split == PoolSplit::Second;
        let Some(tariff) = self.tariff.as_ref().filter(|_| !by_seconds) else {
            return from_ms.saturating_add(share_ms.max(1_000) / 1_000 * 1_000);
        };
        let rate = tariff.rate();
        let whole = if rate.edge(to) == to { to } else { rate.edge_of(rate.increments(to) - 1) };
        if whole > from_ms { whole } else { rate.edge(from_ms.saturating_add(1)) }
    }

    fn paid(&self, elapsed_ms: u64, pool_ms: u64) -> Paid {
        let grid_ms = if self.pool_split == PoolSplit::Increment { pool_ms } else { 0 };
        let ms = self.billable(elapsed_ms).saturating_sub(pool_ms);
        Paid { from: self.from, begin_ms: self.free_ms() + pool_ms, grid_ms, ms }
    }

    /// How long a leg of `elapsed_ms` may be let run for the same price: to the edge of its increment.
    pub fn edge(&self, elapsed_ms: u64, pool_ms: u64) -> u64 {
        let Some(tariff) = self.paid_tariff() else { return elapsed_ms };
        let paid = self.paid(elapsed_ms, pool_ms);
        if paid.ms == 0 {
            return elapsed_ms;
        }
        tariff.row.clauses().length.longest(paid.begin_ms + tariff.reach(&paid)).max(elapsed_ms)
    }

    /// How long a leg may run that nobody pays more for than `pool_ms` of pool.
    pub fn pool_end(&self, pool_ms: u64) -> u64 {
        let length = self.tariff.as_ref().map(|tariff| tariff.row.clauses().length).unwrap_or_default();
        length.longest(self.free_ms() + pool_ms)
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

impl Tariff {
    /// Where in the paid time the increment ends that its last millisecond is in.
    fn reach(&self, paid: &Paid) -> u64 {
        let grid = |begin: u64, at: u64| begin + self.rate().edge(at + paid.ms - begin) - at;
        if self.row.clauses().on_change != OnChange::Split {
            return grid(0, paid.grid_ms);
        }
        let changes = || self.later.iter().map(|step| position(paid, step.from));
        let edge = match changes().rfind(|change| (1..paid.ms).contains(change)) {
            Some(last) => grid(last, 0),
            None => grid(0, paid.grid_ms),
        };
        changes().filter(|change| *change >= paid.ms).fold(edge, u64::min)
    }
}

/// Where a moment lies in the paid time: whole milliseconds, the last begun one counted; 0 before it.
fn position(paid: &Paid, at: Wall) -> u64 {
    let micros = at.micros().saturating_sub(paid.from.micros());
    u64::try_from(micros).unwrap_or(0).div_ceil(1_000).saturating_sub(paid.begin_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rating::{Funding, Step};
    use proptest::prelude::*;

    fn credits(rate: &str, fee: &str, initial_ms: u64, next_ms: u64) -> Terms {
        Terms::sample(Funding::Credits, rate, fee, initial_ms, next_ms)
    }

    #[test]
    fn case_14_a_scheduled_change_counts_from_the_next_increment() {
        let mut terms = credits("0.0200", "0", 60_000, 60_000);
        let dearer = credits("0.0240", "0", 1_000, 1_000).tariff.unwrap().price;
        let step = Step { from: terms.from.plus_millis(120_000), price: dearer };
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
        let price = credits("0.05", "0", 60_000, 60_000).tariff.unwrap().price;
        let from = terms.from.plus_millis(270_000);
        terms.tariff.as_mut().unwrap().later.push(Step { from, price });
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
            price: credits(&price(*nanos), "0", 7, 7).tariff.unwrap().price,
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
