//! The organiser's own leg is paid first where money is short.

use super::granting::gift;
use super::*;
use crate::rating::grant::Unit;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A leg of a run: when it was answered, how far it holds, and when it asks again.
struct Runner {
    leg: LegId,
    answered_ms: u64,
    until_ms: u64,
    asks_ms: u64,
    sequence: u32,
}

impl Runner {
    fn end_ms(&self) -> u64 {
        self.answered_ms + self.until_ms
    }

    /// As a leg does: some seconds ahead; refused, every ten seconds, and shortly before its end.
    fn heard(&mut self, now_ms: u64, answer: Opened, ahead_ms: u64) {
        match answer {
            Opened::Granted(grant) => {
                self.until_ms = grant.until_ms;
                self.asks_ms = self.end_ms().saturating_sub(ahead_ms).max(now_ms + 1);
            }
            Opened::Refused(_) => self.asks_ms = now_ms + 10_000,
            Opened::NoPayerYet => panic!("nobody pays"),
        }
    }
}

/// What the legs of a run are paid from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Credits,
    Grant(Unit),
    Pool,
    /// The leader of the pool, and of credits behind it, all others of credits alone.
    Beside,
}

/// Credits, the last of the pool, or a grant, with a little of credits behind it or nothing.
async fn paid_from(source: Source, cents: u64) -> Bench {
    let unit = match source {
        Source::Credits => return Bench::with_credits(&format!("0.{cents:02}")).await,
        Source::Grant(unit) => unit,
        Source::Pool => {
            let bench = Bench::new().await;
            bench.pool_of(cents * 25_000).await;
            return bench;
        }
        Source::Beside => {
            let zone = "time_zone = \"America/New_York\"";
            let file = FILE
                .replace("[\"audio-conferencing\"]", "[\"audio-conferencing\", \"communications-credits\"]")
                .replace(zone, &format!("{zone}\ncredits = \"0.{cents:02}\""));
            let bench = Bench::empty().await;
            bench.apply(&file).await.unwrap();
            bench.pool_of(80_000).await;
            return bench;
        }
    };
    let behind = if cents.is_multiple_of(2) { "0.0001" } else { "0.05" };
    let bench = Bench::with_credits(behind).await;
    let amount = if unit == Unit::Seconds { cents * 25_000 } else { cents * 10_000 };
    bench.store.add_grant(gift("spring", unit, amount)).await.unwrap();
    bench
}

/// Runs legs until the money is gone: whether the first of them lasted longest.
async fn lasts_longest(seed: u64, leads: bool, source: Source) -> bool {
    let is_pooled = matches!(source, Source::Pool | Source::Beside);
    let (organisation, meeting) = if is_pooled { ("borealis", "watch") } else { ("aurora", "studio") };
    let mut rng = StdRng::seed_from_u64(seed);
    let cents = rng.random_range(8..60);
    let bench = paid_from(source, cents).await;
    let mut runners: Vec<Runner> = Vec::new();
    let mut comes: Vec<u64> = (0..rng.random_range(1..5)).map(|_| rng.random_range(1..90_000)).collect();
    comes.push(0);
    comes.sort_unstable();
    comes.reverse();
    loop {
        let next = runners.iter().enumerate().filter(|(_, runner)| runner.asks_ms < runner.end_ms());
        let next = next.min_by_key(|(at, runner)| (runner.asks_ms, *at)).map(|(at, runner)| (runner.asks_ms, at));
        let ahead_ms = rng.random_range(10_000..13_000);
        match (comes.last().copied(), next) {
            (Some(now_ms), next) if next.is_none_or(|(asks_ms, _)| now_ms <= asks_ms) => {
                comes.pop();
                let at = NOON.plus_millis(now_ms);
                let to = if rng.random_ratio(1, 2) { "+447700900123" } else { "+390611111111" };
                let asked = match source {
                    Source::Beside if !runners.is_empty() => {
                        asked(bench.leg(), CallType::DialInTollFree, "+39800123456", Some(meeting))
                    }
                    _ => dial(bench.leg(), to, meeting),
                };
                let open = OpenLeg { invited: at, ..asked };
                let leg = open.leg;
                let answer = bench.store.open_leg(open).await.unwrap();
                if matches!(answer, Opened::Refused(_)) {
                    assert!(!runners.is_empty(), "not even one leg");
                    bench.store.settle(leg, over(0)).await.unwrap();
                    continue;
                }
                bench.store.answered(Answered { at, ..super::answer(leg) }).await.unwrap();
                let mut runner = Runner { leg, answered_ms: now_ms, until_ms: 0, asks_ms: 0, sequence: 0 };
                runner.heard(now_ms, answer, ahead_ms);
                if runners.is_empty() && leads {
                    bench.store.lead(leg).await.unwrap();
                    bench.store.lead(leg).await.unwrap();
                }
                runners.push(runner);
            }
            (_, Some((now_ms, at))) => {
                let runner = &mut runners[at];
                runner.sequence += 1;
                let elapsed_ms = now_ms - runner.answered_ms;
                let (leg, sequence, now) = (runner.leg, runner.sequence, NOON.plus_millis(now_ms));
                let extend = Extend { leg, sequence, elapsed_ms, proven_ms: elapsed_ms, now };
                let answer = bench.store.extend(extend).await.unwrap();
                runner.heard(now_ms, answer, ahead_ms);
            }
            (None | Some(_), None) => break,
        }
        let balance = bench.balance(organisation).await;
        assert!(balance.available >= Micros::ZERO, "seed {seed}: {balance:?}");
    }
    bench.audited().await;
    for runner in &runners {
        bench.store.settle(runner.leg, over(runner.until_ms)).await.unwrap();
    }
    assert_eq!(bench.balance(organisation).await.held, Micros::ZERO);
    bench.audited().await;
    runners.iter().all(|runner| runner.end_ms() <= runners[0].end_ms())
}

#[tokio::test]
async fn the_organisers_leg_outlasts_all_others_and_would_not_otherwise() {
    let grants = [Source::Grant(Unit::Seconds), Source::Grant(Unit::Money)];
    for source in [Source::Credits, grants[0], grants[1], Source::Pool, Source::Beside] {
        let mut others = 0;
        for seed in 0..if source == Source::Credits { 20 } else { 10 } {
            assert!(lasts_longest(seed, true, source).await, "seed {seed}, {source:?}");
            others += u32::from(!lasts_longest(seed, false, source).await);
        }
        assert!(others > 0, "they would not have outlasted it anyhow: {source:?}");
    }
}
