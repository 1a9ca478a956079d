//! How fast the money goes, and so how long it lasts.

use crate::clock::Wall;
use crate::rating::{Bucket, Means, SLICE_MS, Tab, Tariff, Terms};
use crate::types::Micros;
use std::collections::BTreeMap;

/// What a running leg burns a minute, `elapsed_ms` after its answer, in billionths of the currency unit; nothing while
/// credits do not pay it.
pub fn burn_nanos(tab: &Tab, elapsed_ms: u64) -> i128 {
    let tariff = tab.terms.paid_tariff().filter(|_| tab.is_in_money());
    tariff.map_or(0, |tariff| tariff.burn_nanos(tab.terms.from.plus_millis(elapsed_ms)))
}

impl Tariff {
    /// The price of a minute at a moment, discount, surcharge and exchange with it; tiers still to come are not.
    fn burn_nanos(&self, at: Wall) -> i128 {
        let minute = i128::from(self.price_at(at).per_minute_nanos) * i128::from(self.discount.rest()) / 10_000;
        let all = minute + i128::from(self.surcharge().per_minute_nanos);
        self.exchange.map_or(all, |exchange| all * i128::from(exchange.nanos) / 1_000_000_000)
    }
}

/// What a leg burns a minute while credits pay it, at a moment of it; before its first hold, too.
pub fn paid_nanos(terms: &Terms, elapsed_ms: u64) -> i128 {
    terms.paid_tariff().map_or(0, |tariff| tariff.burn_nanos(terms.from.plus_millis(elapsed_ms)))
}

/// The shortest slice of several legs that share what is left: refreshed at its middle, every ten seconds.
const SHORTEST_SLICE_MS: u64 = 20_000;

/// A slice is at most so much of the time for which all legs together are funded: what one leg holds and another could
/// use stays small as the money runs out.
const PART_OF_FUNDED: u64 = 5;

/// What a leg asks the books for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    pub slice_ms: u64,
    /// Of what is available, the most that may be this leg's. One increment may always be.
    pub most: Micros,
}

/// How long a slice a leg asks for that burns `own_nanos` of the `all_nanos` that its organisation's legs burn, itself
/// among them. Alone, or where money is plenty, the usual; as it runs out shorter; and at the last not more than the
/// leg's share of it, so that all of them end together.
pub fn ask(available: Micros, own_nanos: i128, all_nanos: i128) -> Ask {
    let usual = Ask { slice_ms: SLICE_MS, most: available };
    if own_nanos <= 0 || all_nanos <= own_nanos {
        return usual;
    }
    let funded_ms = funded_ms(0, available, all_nanos);
    if funded_ms >= SHORTEST_SLICE_MS {
        return Ask { slice_ms: (funded_ms / PART_OF_FUNDED).clamp(SHORTEST_SLICE_MS, SLICE_MS), most: available };
    }
    let share = i128::from(available.0.max(0)) * own_nanos / all_nanos;
    Ask { most: Micros(i64::try_from(share).unwrap_or(i64::MAX)), ..usual }
}

/// What a leg burns a minute of time that it is given: as money is counted, in thousandths of its milliseconds.
pub const TIME_NANOS: i64 = 60_000_000;

/// With money, or time of pool or grant, for less than this, organisers' legs come first: longer than any leg holds ahead,
/// so that nobody has more already by then than an organiser can still have.
pub const LEADERS_FIRST_MS: u64 = 300_000;

/// What a leg burns of the bucket that pays it now, where `nanos` is what it burns of money.
pub const fn of_bucket(bucket: &Bucket, nanos: i64) -> i64 {
    if bucket.is_time() { TIME_NANOS } else { nanos }
}

/// Who burns how much money a minute.
#[derive(Clone, Copy, Debug)]
pub struct Burning {
    /// The leg that asks, as the books have it, and from here on.
    pub before: i64,
    pub own: i128,
    /// All that credits pay, this leg among them.
    pub credits: i128,
}

/// What comes of sharing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    pub slice_ms: u64,
    /// So little is left that organisers' legs come first.
    pub is_short: bool,
}

/// Leaves in `means` no more of each bucket than this leg's share of it, where it is short, and says how long a slice it
/// asks for: as [`ask`] does for each that the slice reaches. Time of a grant is shared in whole increments, that of
/// the pool as the pool takes it.
pub fn share(means: &mut Means, tab: &Tab, elapsed_ms: u64, burning: Burning) -> Shared {
    let open: Vec<Bucket> =
        [true, false].iter().flat_map(|is_time| tab.open(means, *is_time)).map(|left| left.bucket.clone()).collect();
    let mut slice_ms = SLICE_MS;
    // What the buckets before pay of it.
    let mut paid_ms = 0_u64;
    let mut is_short = false;
    for bucket in &open {
        let Some(left) = means.before.iter_mut().find(|left| left.bucket == *bucket) else { continue };
        let own = if bucket.is_time() { i128::from(TIME_NANOS) } else { burning.own };
        let of_this = if tab.bucket() == Some(bucket) { of_bucket(bucket, burning.before) } else { 0 };
        let all = i128::from(left.burn_nanos.saturating_sub(of_this).max(0)) + own;
        let amount = Micros(i64::try_from(left.amount).unwrap_or(i64::MAX));
        let asked = ask(amount, own, all);
        left.most = left.most.min(u64::try_from(asked.most.0).unwrap_or(0));
        is_short |= all > own && funded_ms(0, amount, all) < LEADERS_FIRST_MS;
        if paid_ms < slice_ms {
            slice_ms = slice_ms.min(asked.slice_ms);
            paid_ms = paid_ms.saturating_add(funded_ms(0, amount, own));
        }
    }
    let asked = ask(means.available, burning.own, burning.credits);
    if paid_ms < slice_ms {
        slice_ms = slice_ms.min(asked.slice_ms);
    }
    is_short |= burning.own > 0 && funded_ms(0, means.available, burning.credits) < LEADERS_FIRST_MS;
    means.available = asked.most;
    if let Some(bucket) = open.first().filter(|bucket| slice_ms < SLICE_MS && bucket.is_time()) {
        let past = elapsed_ms.max(tab.held_until_ms);
        slice_ms = tab.terms.slice_edge(bucket, past.saturating_add(slice_ms)).saturating_sub(past);
    }
    Shared { slice_ms, is_short }
}

/// A leg's share of the first of pool and grants of which it has but a share, and what comes before it: for a leg that what
/// lies behind it would not carry on. A bucket that is left is not entered again, and there may be more of it.
pub fn staying(means: &Means, tab: &Tab) -> Option<Means> {
    let open: Vec<_> = [true, false].iter().flat_map(|is_time| tab.open(means, *is_time)).collect();
    let shared = open.iter().position(|left| left.most < left.amount)?;
    let behind: BTreeMap<Bucket, u64> =
        open.iter().skip(shared + 1).map(|left| (left.bucket.clone(), left.amount)).collect();
    Some(Means { available: Micros::ZERO, ..means.clone().without(&behind) })
}

/// How long the pool lasts a leg in it: the rest of its own hold, and `pool_left_ms` shared by all `legs` in the pool.
pub fn pooled_ms(rest_of_hold_ms: u64, pool_left_ms: u64, legs: u64) -> u64 {
    rest_of_hold_ms.saturating_add(pool_left_ms / legs.max(1))
}

/// Funded time: the rest of the leg's own hold, and `available` shared by all credit-funded legs of the organisation,
/// which burn `burn_nanos` billionths a minute together. Without end where nothing burns.
pub fn funded_ms(rest_of_hold_ms: u64, available: Micros, burn_nanos: i128) -> u64 {
    if burn_nanos <= 0 {
        return u64::MAX;
    }
    let available_nanos = i128::from(available.0.max(0)) * 1_000;
    let shared_ms = available_nanos * 60_000 / burn_nanos;
    rest_of_hold_ms.saturating_add(u64::try_from(shared_ms).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rating::{Means, Terms};

    #[test]
    fn a_slice_is_the_usual_then_shorter_then_a_share() {
        let minute = 100_000_000; // 0.10 a minute
        let of = |available: i64, legs: i128| {
            let Ask { slice_ms, most } = ask(Micros(available), minute, minute * legs);
            (slice_ms, most.0)
        };
        assert_eq!(of(10_000_000, 3), (60_000, 10_000_000), "33 minutes for three");
        assert_eq!(of(1_500_000, 3), (60_000, 1_500_000), "five minutes");
        assert_eq!(of(900_000, 3), (36_000, 900_000), "three minutes");
        assert_eq!(of(300_000, 3), (20_000, 300_000), "one minute");
        assert_eq!(of(90_000, 3), (60_000, 30_000), "18 seconds: a third of it, and that is the last");
        assert_eq!(of(90_000, 1), (60_000, 90_000), "alone");
        assert_eq!(ask(Micros(5), 0, 100), Ask { slice_ms: 60_000, most: Micros(5) });
        assert_eq!(ask(Micros(-5), 1, 100).most, Micros(0));
    }

    #[test]
    fn funded_time_is_the_hold_and_a_share_of_what_is_available() {
        let running = |funding: &str| {
            let mut tab = Tab::new(Terms::sample(funding.parse().unwrap(), "0.10", "0", 60_000, 60_000));
            tab.next(&Means::plain(Micros(1_000_000), 60_000), 60_000).unwrap();
            tab
        };
        let one = burn_nanos(&running("credits"), 0);
        assert_eq!(funded_ms(20_000, Micros(250_000), one), 170_000);
        assert_eq!(funded_ms(20_000, Micros(250_000), one * 3), 70_000);
        assert_eq!(funded_ms(20_000, Micros(-1), one), 20_000);
        assert_eq!(funded_ms(20_000, Micros(0), burn_nanos(&running("included"), 0)), u64::MAX);
        assert_eq!(funded_ms(u64::MAX, Micros(i64::MAX), 1), u64::MAX);
        let mut pooled = running("pool-then-credits");
        assert_eq!(burn_nanos(&pooled, 0), 0, "the pool burns no credit");
        pooled.next(&Means::plain(Micros(1_000_000), 0), 60_000).unwrap();
        assert_eq!(burn_nanos(&pooled, 60_000), one);
        assert_eq!(pooled_ms(20_000, 90_000, 3), 50_000);
    }
}
