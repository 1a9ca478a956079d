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
        Exact(self.0 + other.0)
    }

    /// The count of 60 000ths of a billionth.
    pub const fn parts(self) -> i128 {
        self.0
    }

    /// R: half up at the fourth place. The only rounding that a leg ever meets.
    pub fn round(self) -> Micros {
        let ten_thousandths = (self.0 + TEN_THOUSANDTH / 2).div_euclid(TEN_THOUSANDTH);
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
