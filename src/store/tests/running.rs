//! Many legs at once, and whatever order things come in.

use super::*;
use proptest::prelude::*;
use tokio::task::JoinSet;

/// Starts `count` calls at once, and gives what each was told.
async fn burst(bench: &Bench, count: usize) -> Vec<(LegId, Opened)> {
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let (store, leg) = (bench.store.clone(), bench.leg());
        tasks.spawn(async move { (leg, store.open_leg(toll(leg)).await.unwrap()) });
    }
    tasks.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credit_for_seven_lets_exactly_seven_of_fifty_in() {
    let bench = Bench::with_credits("0.07").await;
    for _ in 0..5 {
        let told = burst(&bench, 50).await;
        let granted = told.iter().filter(|(_, opened)| matches!(opened, Opened::Granted(_))).count();
        let refused = told.iter().filter(|(_, opened)| *opened == Opened::Refused(Cause::NoCredit)).count();
        assert_eq!((granted, refused), (7, 43));
        assert_eq!(bench.balance("aurora").await.available, Micros::ZERO);
        bench.audited().await;
        for (leg, _) in told {
            bench.store.settle(leg, over(0)).await.unwrap();
        }
        assert_eq!(bench.balance("aurora").await.available, micros("0.07"));
    }
    bench.audited().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_ends_at_one_instant_settle_once() {
    let bench = Bench::new().await;
    for _ in 0..20 {
        let leg = bench.leg();
        bench.store.open_leg(toll(leg)).await.unwrap();
        bench.store.answered(answer(leg)).await.unwrap();
        let mut tasks = JoinSet::new();
        for elapsed_ms in [10, 20_000, 59_000, 61_000, 0] {
            let store = bench.store.clone();
            tasks.spawn(async move { store.settle(leg, over(elapsed_ms)).await.unwrap() });
        }
        let records = tasks.join_all().await;
        assert!(records.windows(2).all(|pair| pair[0] == pair[1]));
    }
    let records = bench.store.usage(&UsageFilter::default()).await.unwrap();
    let charged: Micros = records.iter().map(|record| record.charge).sum();
    assert_eq!(records.len(), 20);
    assert_eq!(bench.balance("aurora").await.posted.0, 1_000_000 - charged.0);
    bench.audited().await;
}

#[derive(Clone, Debug)]
enum Act {
    Open(u8),
    Answer(usize),
    Name(usize),
    Extend(usize, u64),
    Settle(usize, u64),
    Fund(i64),
    Prove(u64),
    Repeat,
    Crash,
}

fn act() -> impl Strategy<Value = Act> {
    let leg = 0usize..6;
    prop_oneof![
        4 => (0u8..5).prop_map(Act::Open),
        3 => leg.clone().prop_map(Act::Answer),
        2 => leg.clone().prop_map(Act::Name),
        4 => (leg.clone(), 0u64..400_000).prop_map(|(leg, ms)| Act::Extend(leg, ms)),
        3 => (leg, 0u64..400_000).prop_map(|(leg, ms)| Act::Settle(leg, ms)),
        1 => (-40_000i64..40_000).prop_map(Act::Fund),
        1 => (0u64..300_000).prop_map(Act::Prove),
        1 => Just(Act::Repeat),
        1 => Just(Act::Crash),
    ]
}

/// What a run has seen: legs in the order in which they were opened.
struct Run {
    bench: Bench,
    legs: Vec<LegId>,
    settled: Vec<UsageRecord>,
    step: u32,
}

impl Run {
    fn leg(&self, back: usize) -> Option<LegId> {
        self.legs.iter().rev().nth(back).copied()
    }

    async fn act(mut self, act: Act) -> Run {
        self.step += 1;
        let store = self.bench.store.clone();
        match act {
            Act::Open(kind) => {
                let leg = self.bench.leg();
                self.legs.push(leg);
                let ask = match kind {
                    0 => toll(leg),
                    1 => asked(leg, CallType::DialInTollFree, "+39800123456", Some("studio")),
                    2 => dial(leg, "+447700900123", "studio"),
                    3 => dial(leg, "+447700900123", "watch"),
                    _ => asked(leg, CallType::DialInToll, "+390612345678", None),
                };
                store.open_leg(ask).await.unwrap();
            }
            Act::Answer(back) => {
                if let Some(leg) = self.leg(back) {
                    store.answered(answer(leg)).await.unwrap();
                }
            }
            // Whatever is out of order is a conflict, and changes nothing: the audit after it sees to that.
            Act::Name(back) => {
                if let Some(leg) = self.leg(back) {
                    let meeting = "studio".parse().unwrap();
                    let _ = store.name_payer(NamePayer { leg, meeting, elapsed_ms: 7_000, now: NOON }).await;
                }
            }
            Act::Extend(back, ms) => {
                if let Some(leg) = self.leg(back) {
                    let _ = store.extend(next(leg, self.step, ms)).await;
                }
            }
            Act::Settle(back, ms) => {
                if let Some(leg) = self.leg(back) {
                    self.settled.push(store.settle(leg, over(ms)).await.unwrap());
                }
            }
            Act::Fund(amount) if amount != 0 => {
                let kind = FundsKind::Adjustment;
                let funds = Funds { amount: Micros(amount), kind, ..funds(&format!("fund-{}", self.step), "1") };
                store.add_credits(funds).await.unwrap();
            }
            Act::Fund(_) => {}
            Act::Prove(ms) => {
                let live = self.legs.iter().map(|leg| (*leg, ms)).collect();
                store.prove_life(live).await.unwrap();
            }
            Act::Repeat => {
                for record in &self.settled {
                    assert_eq!(store.settle(record.usage_id, over(1)).await.unwrap(), *record);
                }
            }
            Act::Crash => {
                drop(store);
                self.bench = self.bench.reopened().await;
                self.bench.store.recover(NOON).await.unwrap();
                assert_eq!(self.bench.store.live_legs().await.unwrap(), []);
            }
        }
        self
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_happens_the_books_are_right(acts in proptest::collection::vec(act(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::with_credits("0.12").await;
            let mut run = Run { bench, legs: Vec::new(), settled: Vec::new(), step: 0 };
            for act in acts {
                run = run.act(act).await;
                assert_eq!(run.bench.store.audit().await.unwrap(), []);
                assert!(run.bench.balance("aurora").await.available >= Micros::ZERO);
            }
        });
    }
}
