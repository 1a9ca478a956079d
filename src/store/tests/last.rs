//! The last of a grant is shared out among the legs that it pays.

use super::granting::gift;
use super::*;
use crate::rating::grant::Unit;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// 0.01, and 0.03 a minute by the second; and 0.02 a minute by the minute.
const BRITAIN: &str = "+447700900123";
const ITALY: &str = "+390298765432";

/// A grant that a run is paid from, as the test knows it: what is left, and what each leg that it pays holds of it.
struct Last {
    bench: Bench,
    unit: Unit,
    legs: BTreeMap<LegId, Caller>,
}

struct Caller {
    to: &'static str,
    elapsed_ms: u64,
    until_ms: u64,
    sequence: u32,
}

impl Last {
    async fn of(unit: Unit, amount: u64) -> Last {
        let bench = Bench::with_credits("0.0001").await;
        bench.store.add_grant(gift("spring", unit, amount)).await.unwrap();
        Last { bench, unit, legs: BTreeMap::new() }
    }

    async fn left(&self) -> u64 {
        let rows = self.bench.store.grants(&"aurora".parse().unwrap(), true).await.unwrap();
        assert!(rows[0].used + rows[0].held + rows[0].lapsed <= rows[0].grant.amount);
        rows[0].grant.left
    }

    /// One increment, of time or of money; the fee is of the first.
    fn increment(&self, to: &str, is_first: bool) -> u64 {
        match (self.unit, to) {
            (Unit::Seconds, BRITAIN) => 1_000,
            (Unit::Seconds, _) => 60_000,
            (Unit::Money, BRITAIN) => 600 + if is_first { 10_000 } else { 0 },
            (Unit::Money, _) => 20_000,
        }
    }

    /// What one minute burns of it.
    fn burn(&self, to: &str) -> u64 {
        match (self.unit, to) {
            (Unit::Seconds, _) => 60_000,
            (Unit::Money, BRITAIN) => 30_000,
            (Unit::Money, _) => 20_000,
        }
    }

    /// What a leg is told, against what is a fair share of what was left before it asked.
    async fn asked(&mut self, leg: LegId, left: u64, opened: Opened) {
        let caller = &self.legs[&leg];
        let (to, is_first) = (caller.to, caller.until_ms == 0);
        let burns: u64 = self.legs.values().map(|caller| self.burn(caller.to)).sum();
        let share = left * self.burn(to) / burns;
        let one = self.increment(to, is_first);
        match opened {
            Opened::Granted(grant) => {
                let taken = left - self.left().await;
                assert!(taken <= share + one, "{taken} of {left}, and {share} is a fair share among {}", self.legs.len());
                self.legs.get_mut(&leg).unwrap().until_ms = grant.until_ms;
            }
            Opened::Refused(cause) => {
                assert_eq!(cause, Cause::NoCredit);
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
        let opened = self.bench.store.open_leg(dial(leg, to, "studio")).await.unwrap();
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
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Nobody holds more than a fair share and an increment, nobody has nothing while there is any, and all together never
    /// hold more than there is.
    #[test]
    fn nobody_takes_more_than_a_fair_share_of_the_last(
        is_time in any::<bool>(), minutes in 1_u64..12, acts in proptest::collection::vec((0_u8..8, 0_usize..8), 5..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (unit, amount) = if is_time { (Unit::Seconds, minutes * 60_000) } else { (Unit::Money, minutes * 31_000) };
            let mut run = Last::of(unit, amount).await;
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
            let rows = run.bench.store.grants(&"aurora".parse().unwrap(), true).await.unwrap();
            assert_eq!((rows[0].held, rows[0].grant.burn_nanos), (0, 0));
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
