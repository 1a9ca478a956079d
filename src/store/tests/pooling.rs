//! Several legs and the last of the pool, against a small model of its own: it walks the calls second by second, asks for
//! each leg as a leg does, and counts for itself who is in the pool, what each has had of it, and what that costs.

use super::*;
use proptest::prelude::*;

/// 0.01, and 0.03 a minute by the second; and 0.02 a minute by the minute, of which the pool takes seconds too.
const LONDON: &str = "+442079460123";
const ROME: &str = "+390611111111";

/// A call as the model knows it.
struct Call {
    leg: LegId,
    to: &'static str,
    /// On the clock of the run, in seconds.
    begins: u64,
    hangs_up: u64,
    /// Milliseconds after the answer.
    until_ms: u64,
    asks_ms: u64,
    sequence: u32,
    /// What the pool has set aside for it.
    pooled_ms: u64,
    /// It has gone over to credits.
    is_beyond: bool,
}

/// The run: the books, and what the model says is in them.
struct Run {
    bench: Bench,
    pool_ms: u64,
    calls: Vec<Call>,
}

impl Run {
    async fn of(pool_s: u64, then_credits: bool) -> Run {
        let bench = Bench::empty().await;
        let licences = "licences = [\"audio-conferencing\", \"communications-credits\"]";
        let spending = FILE
            .replace("licences = [\"audio-conferencing\"]", licences)
            .replace("time_zone = \"America/New_York\"", "time_zone = \"America/New_York\"\ncredits = \"100.00\"");
        bench.apply(if then_credits { &spending } else { FILE }).await.unwrap();
        bench.pool_of(pool_s * 1_000).await;
        Run { bench, pool_ms: pool_s * 1_000, calls: Vec::new() }
    }

    async fn left_ms(&self) -> u64 {
        let pool = self.bench.store.pool(&"borealis".parse().unwrap(), NOON).await.unwrap();
        pool.granted_ms.checked_sub(pool.used_ms + pool.held_ms).expect("no more than there is")
    }

    /// What a leg is told at `now_ms`, where `left_ms` were left before: a fair share of them and no more, as long as nobody
    /// else wants it and as short as it must.
    async fn heard(&mut self, at: usize, now_ms: u64, left_ms: u64, opened: Opened) {
        let legs = self.calls.iter().filter(|call| !call.is_beyond).count() as u64;
        let call = &self.calls[at];
        let elapsed_ms = now_ms - call.begins * 1_000;
        let past_ms = elapsed_ms.max(call.until_ms);
        let taken_ms = left_ms - self.left_ms().await;
        // What all of them together can talk on, were it shared now.
        let funded_ms = left_ms / legs.max(1);
        let call = &mut self.calls[at];
        match opened {
            Opened::Granted(grant) => {
                assert!(grant.until_ms > past_ms);
                if !call.is_beyond && legs > 1 {
                    let most = if funded_ms < 20_000 { funded_ms.max(1_000) } else { (funded_ms / 5).clamp(20_000, 60_000) };
                    assert!(taken_ms <= most, "{taken_ms} ms of {left_ms} for one of {legs}: {most} at most");
                }
                assert!(!call.is_beyond || taken_ms == 0, "whoever has left the pool does not come back");
                call.pooled_ms += taken_ms;
                call.is_beyond |= grant.until_ms > call.pooled_ms;
                let slice_ms = grant.until_ms - past_ms;
                call.until_ms = grant.until_ms;
                call.asks_ms = call.begins * 1_000 + grant.until_ms - (slice_ms / 2).min(10_000);
            }
            Opened::Refused(cause) => {
                assert_eq!((cause, taken_ms), (Cause::NoCredit, 0));
                assert!(!call.is_beyond && left_ms == 0, "{left_ms} ms are left, and it has nothing of them");
                call.asks_ms = now_ms + 10_000;
            }
            Opened::NoPayerYet => panic!("it has a payer"),
        }
    }

    /// One second of all calls.
    async fn second(&mut self, now: u64) {
        let now_ms = now * 1_000;
        let mut at = 0;
        while at < self.calls.len() {
            let call = &self.calls[at];
            let cut_ms = call.begins * 1_000 + call.until_ms;
            if now >= call.hangs_up || cut_ms <= now_ms {
                self.over(at, now_ms).await;
                continue;
            }
            if call.asks_ms <= now_ms {
                let (leg, sequence, elapsed_ms) = (call.leg, call.sequence + 1, now_ms - call.begins * 1_000);
                self.calls[at].sequence = sequence;
                let left_ms = self.left_ms().await;
                let extend = Extend { leg, sequence, elapsed_ms, proven_ms: elapsed_ms, now: NOON.plus_millis(now_ms) };
                let opened = self.bench.store.extend(extend).await.unwrap();
                self.heard(at, now_ms, left_ms, opened).await;
            }
            at += 1;
        }
    }

    async fn begins(&mut self, to: &'static str, now: u64, length: u64) {
        let left_ms = self.left_ms().await;
        let at = NOON.plus_millis(now * 1_000);
        let leg = self.bench.leg();
        let opened = self.bench.store.open_leg(OpenLeg { invited: at, ..dial(leg, to, "watch") }).await.unwrap();
        if matches!(opened, Opened::Refused(_)) {
            assert_eq!(left_ms, 0, "{left_ms} ms are left, and a new leg has nothing of them");
            self.bench.store.settle(leg, over(0)).await.unwrap();
            return;
        }
        self.bench.store.answered(Answered { at, ..answer(leg) }).await.unwrap();
        let call = Call {
            leg,
            to,
            begins: now,
            hangs_up: now + length,
            until_ms: 0,
            asks_ms: 0,
            sequence: 0,
            pooled_ms: 0,
            // Of an empty pool it never is in it.
            is_beyond: left_ms == 0,
        };
        self.calls.push(call);
        self.heard(self.calls.len() - 1, now * 1_000, left_ms, opened).await;
    }

    /// A call is over, by itself or cut at the end of what is paid: each second of it was the pool's or credits'.
    async fn over(&mut self, at: usize, now_ms: u64) {
        let call = self.calls.swap_remove(at);
        let talked_ms = (now_ms - call.begins * 1_000).min(call.until_ms);
        let end = End { at: NOON.plus_millis(now_ms), ..over(talked_ms) };
        let record = self.bench.store.settle(call.leg, end).await.unwrap();
        let pooled_ms = talked_ms.min(call.pooled_ms);
        assert_eq!(record.beyond.pool_used_ms, pooled_ms);
        self.pool_ms = self.pool_ms.checked_sub(pooled_ms).expect("no more than there was");
        let beyond_s = (talked_ms - pooled_ms).div_ceil(1_000);
        let price = match (call.to, beyond_s) {
            (_, 0) => 0,
            (LONDON, seconds) => 10_000 + seconds * 500,
            (_, seconds) => seconds.div_ceil(60) * 20_000,
        };
        assert_eq!(record.charge.0, i64::try_from(price).unwrap(), "{record:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn each_second_is_paid_once_and_shared_as_a_small_model_says(
        pool_s in 1_u64..500, then_credits in any::<bool>(),
        calls in proptest::collection::vec((any::<bool>(), 0_u64..120, 1_u64..300), 2..7),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::of(pool_s, then_credits).await;
            let mut now = 0;
            while now <= 120 || !run.calls.is_empty() {
                run.second(now).await;
                for (is_london, _, length) in calls.iter().filter(|(_, begins, _)| *begins == now) {
                    run.begins(if *is_london { LONDON } else { ROME }, now, *length).await;
                }
                now += 1;
            }
            let pool = run.bench.store.pool(&"borealis".parse().unwrap(), NOON).await.unwrap();
            assert_eq!((pool.granted_ms - pool.used_ms, pool.held_ms, pool.legs), (run.pool_ms, 0, 0));
            run.bench.audited().await;
        });
    }
}
