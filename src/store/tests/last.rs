//! The last of the pool, or of a grant, is shared out among the legs that it pays.

use super::granting::gift;
use super::*;
use crate::rating::grant::Unit;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// 0.01, and 0.03 a minute by the second; and 0.02 a minute by the minute.
const BRITAIN: &str = "+447700900123";
const ITALY: &str = "+390298765432";

/// What a run is paid from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Pool,
    Time,
    Money,
}

/// It, as the test knows it: what is left, and what each leg that it pays holds of it.
struct Last {
    bench: Bench,
    source: Source,
    legs: BTreeMap<LegId, Caller>,
}

struct Caller {
    to: &'static str,
    elapsed_ms: u64,
    until_ms: u64,
    sequence: u32,
}

impl Last {
    async fn of(source: Source, amount: u64) -> Last {
        let bench = Bench::with_credits("0.0001").await;
        match source {
            Source::Pool => bench.pool_of(amount).await,
            Source::Time => drop(bench.store.add_grant(gift("spring", Unit::Seconds, amount)).await.unwrap()),
            Source::Money => drop(bench.store.add_grant(gift("spring", Unit::Money, amount)).await.unwrap()),
        }
        Last { bench, source, legs: BTreeMap::new() }
    }

    async fn left(&self) -> u64 {
        if self.source == Source::Pool {
            let pool = self.bench.store.pool(&"borealis".parse().unwrap(), NOON).await.unwrap();
            assert_eq!(pool.legs, self.legs.values().filter(|caller| caller.until_ms > 0).count() as u64);
            return pool.granted_ms.checked_sub(pool.used_ms + pool.held_ms).expect("no more than there is");
        }
        let rows = self.bench.store.grants(&"aurora".parse().unwrap(), true).await.unwrap();
        assert!(rows[0].used + rows[0].held + rows[0].lapsed <= rows[0].grant.amount);
        rows[0].grant.left
    }

    /// One increment, of time or of money; the fee is of the first.
    fn increment(&self, to: &str, is_first: bool) -> u64 {
        match (self.source, to) {
            (Source::Pool, _) | (Source::Time, BRITAIN) => 1_000,
            (Source::Time, _) => 60_000,
            (Source::Money, BRITAIN) => 600 + if is_first { 10_000 } else { 0 },
            (Source::Money, _) => 20_000,
        }
    }

    /// What one minute burns of it.
    fn burn(&self, to: &str) -> u64 {
        match (self.source, to) {
            (Source::Pool | Source::Time, _) => 60_000,
            (Source::Money, BRITAIN) => 30_000,
            (Source::Money, _) => 20_000,
        }
    }

    /// What a leg is told, against what is a fair share of what was left before it asked.
    async fn asked(&mut self, leg: LegId, left: u64, opened: Opened) {
        let caller = &self.legs[&leg];
        let (to, is_first) = (caller.to, caller.until_ms == 0);
        let past_ms = caller.elapsed_ms.max(caller.until_ms);
        let burns: u64 = self.legs.values().map(|caller| self.burn(caller.to)).sum();
        let share = left * self.burn(to) / burns;
        let one = self.increment(to, is_first);
        match opened {
            Opened::Granted(grant) => {
                self.legs.get_mut(&leg).unwrap().until_ms = grant.until_ms;
                let taken = left - self.left().await;
                assert!(taken <= share + one, "{taken} of {left}, and {share} is a fair share among {}", self.legs.len());
                // Of a pool for less than five minutes nobody takes a whole slice ahead.
                let funded_ms = left * 60_000 / burns;
                if self.source == Source::Pool && self.legs.len() > 1 && funded_ms >= 20_000 {
                    let (ahead, most) = (grant.until_ms - past_ms, (funded_ms / 5).clamp(20_000, 60_000));
                    assert!(ahead <= most, "{ahead} ms ahead, and all last {funded_ms} ms");
                }
            }
            Opened::Refused(cause) => {
                // Behind an empty pool, not even credits.
                let due = if self.source == Source::Pool && is_first { Cause::CreditsLicenceMissing } else { Cause::NoCredit };
                assert_eq!(cause, due);
                assert!(left < one.max(1), "{left} is left, and {to} has nothing of it");
                if is_first {
                    self.legs.remove(&leg);
                }
            }
            Opened::NoPayerYet => unreachable!("it has a payer"),
        }
    }

    async fn comes(&mut self, to: &'static str) {
        let leg = self.bench.leg();
        let left = self.left().await;
        self.legs.insert(leg, Caller { to, elapsed_ms: 0, until_ms: 0, sequence: 0 });
        let meeting = if self.source == Source::Pool { "watch" } else { "studio" };
        let opened = self.bench.store.open_leg(dial(leg, to, meeting)).await.unwrap();
        self.bench.store.answered(answer(leg)).await.unwrap();
        self.asked(leg, left, opened).await;
    }

    async fn goes_on(&mut self, nth: usize) {
        let Some(leg) = self.legs.keys().copied().nth(nth % self.legs.len().max(1)) else { return };
        let left = self.left().await;
        let caller = self.legs.get_mut(&leg).unwrap();
        caller.sequence += 1;
        caller.elapsed_ms = caller.elapsed_ms.max(caller.until_ms.saturating_sub(5_000));
        let opened = self.bench.store.extend(next(leg, caller.sequence, caller.elapsed_ms)).await.unwrap();
        self.asked(leg, left, opened).await;
    }

    async fn ends(&mut self, nth: usize) {
        let Some(leg) = self.legs.keys().copied().nth(nth % self.legs.len().max(1)) else { return };
        let caller = self.legs.remove(&leg).unwrap();
        self.bench.store.settle(leg, over(caller.elapsed_ms)).await.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(18))]

    /// Nobody holds more than a fair share and an increment, nobody has nothing while there is any, and all together never
    /// hold more than there is.
    #[test]
    fn nobody_takes_more_than_a_fair_share_of_the_last(
        source in prop_oneof![Just(Source::Pool), Just(Source::Time), Just(Source::Money)], minutes in 1_u64..12, acts in proptest::collection::vec((0_u8..8, 0_usize..8), 5..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Last::of(source, minutes * if source == Source::Money { 31_000 } else { 60_000 }).await;
            for (act, nth) in acts {
                match act {
                    0 => run.comes(BRITAIN).await,
                    1 => run.comes(ITALY).await,
                    2 => run.ends(nth).await,
                    _ => run.goes_on(nth).await,
                }
            }
            run.bench.audited().await;
            while !run.legs.is_empty() {
                run.ends(0).await;
            }
            run.left().await;
            for row in run.bench.store.grants(&"aurora".parse().unwrap(), true).await.unwrap() {
                assert_eq!((row.held, row.grant.burn_nanos), (0, 0));
            }
            run.bench.audited().await;
        });
    }
}

/// Three legs and half a minute: each has some of it, and then credits go on.
#[tokio::test]
async fn after_a_share_of_the_last_the_next_source_goes_on() {
    let bench = Bench::with_credits("100.00").await;
    bench.store.add_grant(gift("spring", Unit::Seconds, 150_000)).await.unwrap();
    let legs = [bench.leg(), bench.leg(), bench.leg()];
    for leg in legs {
        grant(bench.store.open_leg(dial(leg, BRITAIN, "studio")).await.unwrap());
        bench.store.answered(answer(leg)).await.unwrap();
    }
    // 60 s for the first, alone; 20 s of 90 for each of the others: 50 s are left.
    for (at, leg) in legs.into_iter().enumerate() {
        let until = grant(bench.store.extend(next(leg, 1, 15_000)).await.unwrap()).until_ms;
        assert!(until >= 60_000, "{at}: {until}");
    }
    let mut parts = Vec::new();
    for leg in legs {
        let record = bench.store.settle(leg, over(78_000)).await.unwrap();
        parts.push((record.beyond.grants.iter().map(|part| part.amount).sum::<u64>(), record.charge > Micros::ZERO));
    }
    assert!(parts.iter().all(|(time, by_credits)| *time >= 26_000 && *by_credits), "{parts:?}");
    bench.audited().await;
}

/// Books of legs that a grant pays, given to another life: it shares out as the one before did.
#[tokio::test]
async fn who_burns_a_grant_is_in_the_books() {
    let bench = Bench::with_credits("0.0001").await;
    bench.store.add_grant(gift("spring", Unit::Seconds, 200_000)).await.unwrap();
    let burn = async |bench: &Bench| {
        bench.audited().await;
        bench.store.grants(&"aurora".parse().unwrap(), true).await.unwrap()[0].grant.burn_nanos
    };
    let legs = [bench.leg(), bench.leg()];
    for leg in legs {
        grant(bench.store.open_leg(dial(leg, BRITAIN, "studio")).await.unwrap());
        bench.store.answered(answer(leg)).await.unwrap();
    }
    assert_eq!(burn(&bench).await, 120_000_000);
    let bench = bench.reopened().await;
    assert_eq!(burn(&bench).await, 120_000_000);
    bench.store.settle(legs[0], over(10_000)).await.unwrap();
    assert_eq!(burn(&bench).await, 60_000_000);
    bench.store.recover(NOON).await.unwrap();
    assert_eq!(burn(&bench).await, 0);
}

/// The same of the pool, whose legs are counted where a leg goes over to credits, too.
#[tokio::test]
async fn who_is_in_the_pool_is_in_the_books() {
    let spending = FILE
        .replace("licences = [\"audio-conferencing\"]", "licences = [\"audio-conferencing\", \"communications-credits\"]")
        .replace("time_zone = \"America/New_York\"", "time_zone = \"America/New_York\"\ncredits = \"1.00\"");
    let bench = Bench::empty().await;
    bench.apply(&spending).await.unwrap();
    bench.pool_of(100_000).await;
    let legs = async |bench: &Bench| {
        bench.audited().await;
        bench.store.pool(&"borealis".parse().unwrap(), NOON).await.unwrap().legs
    };
    let own = [bench.leg(), bench.leg()];
    for (at, leg) in own.into_iter().enumerate() {
        grant(bench.store.open_leg(dial(leg, BRITAIN, "watch")).await.unwrap());
        bench.store.answered(answer(leg)).await.unwrap();
        assert_eq!(legs(&bench).await, at as u64 + 1);
    }
    // 60 s, then a slice of 20; half of the rest is the last that the first has, and credits carry it on.
    grant(bench.store.extend(next(own[0], 1, 55_000)).await.unwrap());
    assert_eq!(legs(&bench).await, 1);
    let bench = bench.reopened().await;
    assert_eq!(legs(&bench).await, 1);
    let record = bench.store.settle(own[0], over(75_000)).await.unwrap();
    assert!(record.charge > Micros::ZERO && record.beyond.pool_used_ms == 70_000, "{record:?}");
    assert_eq!(legs(&bench).await, 1);
    bench.store.recover(NOON).await.unwrap();
    assert_eq!(legs(&bench).await, 0);
}
