//! Many legs at once, and whatever order things come in.

use super::*;
use crate::rating::grant::Unit;
use proptest::prelude::*;
use std::collections::BTreeMap;
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

/// `TOLLBRIDGE_TEST_LONG=1` takes ten times as many rounds.
fn rounds(few: usize) -> usize {
    if std::env::var_os("TOLLBRIDGE_TEST_LONG").is_some() { few * 10 } else { few }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credit_for_seven_lets_exactly_seven_of_two_hundred_in() {
    let bench = Bench::with_credits("0.07").await;
    for _ in 0..rounds(10) {
        let told = burst(&bench, 200).await;
        let granted = told.iter().filter(|(_, opened)| matches!(opened, Opened::Granted(_))).count();
        let refused = told.iter().filter(|(_, opened)| *opened == Opened::Refused(Cause::NoCredit)).count();
        assert_eq!((granted, refused), (7, 193));
        assert_eq!(bench.balance("aurora").await.available, Micros::ZERO);
        let mut ends = JoinSet::new();
        for (leg, _) in told {
            let store = bench.store.clone();
            ends.spawn(async move { store.settle(leg, over(0)).await.unwrap() });
        }
        ends.join_all().await;
        assert_eq!(bench.balance("aurora").await.available, micros("0.07"));
    }
    bench.audited().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_ends_at_one_instant_settle_once() {
    let bench = Bench::with_credits("100").await;
    for _ in 0..rounds(50) {
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
    assert_eq!(records.len(), rounds(50));
    assert_eq!(bench.balance("aurora").await.posted.0, 100_000_000 - charged.0);
    bench.audited().await;
}

/// What legs of one account hold is never more than there is, however many talk at once and whatever the increment; each is
/// over when what it has paid for is, and what was not used comes back.
#[tokio::test]
async fn legs_that_use_an_account_up_together_never_take_it_below_zero() {
    for (count, increment) in [(1, 1), (10, 1), (100, 1), (10, 6), (100, 6), (1, 60), (10, 60), (100, 60)] {
        let rates = format!(
            "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from\n\
             dial-in-toll,39,Italy,0.0600,0,{increment},{increment},2020-01-01\n"
        );
        let bench = Bench::empty().await;
        // Two minutes of all of them, and a bit that no increment fits.
        let file = FILE.replace("\"1.00\"", &format!("\"{}\"", Micros(count * 120_000 + 900).to_text()));
        let document = Document::parse("demo.toml", &file, |_| Ok(rates.clone())).unwrap();
        bench.store.apply(document, NOON).await.unwrap().unwrap();
        let mut live = BTreeMap::new();
        for _ in 0..count {
            let leg = bench.leg();
            let until_ms = grant(bench.store.open_leg(toll(leg)).await.unwrap()).until_ms;
            bench.store.answered(answer(leg)).await.unwrap();
            live.insert(leg, (until_ms, 1));
        }
        let mut second = 0;
        while !live.is_empty() {
            second += 1;
            assert!(second < 3_600, "they talk on for ever");
            let (mut asks, mut ends) = (JoinSet::new(), JoinSet::new());
            for (leg, (until_ms, sequence)) in &mut live {
                let (store, leg, until_ms, now_ms) = (bench.store.clone(), *leg, *until_ms, second * 1_000);
                if now_ms >= until_ms {
                    ends.spawn(async move { (leg, store.settle(leg, over(until_ms)).await.unwrap()) });
                } else if now_ms + 5_000 >= until_ms {
                    let ask = next(leg, *sequence, now_ms);
                    *sequence += 1;
                    asks.spawn(async move { (leg, store.extend(ask).await.unwrap()) });
                }
            }
            let is_news = !asks.is_empty() || !ends.is_empty();
            for (leg, opened) in asks.join_all().await {
                if let (Opened::Granted(grant), Some(known)) = (opened, live.get_mut(&leg)) {
                    known.0 = grant.until_ms;
                }
            }
            for (leg, _) in ends.join_all().await {
                live.remove(&leg);
            }
            if is_news {
                let balance = bench.balance("aurora").await;
                assert!(balance.available >= Micros::ZERO, "{count} legs by {increment} s, after {second} s: {balance:?}");
            }
        }
        let balance = bench.balance("aurora").await;
        assert_eq!(balance.held, Micros::ZERO);
        // Less than an increment of each is left.
        assert!(balance.available.0 < 1_000 * increment * count, "{count} legs by {increment} s: {balance:?}");
        bench.audited().await;
    }
}

/// A wall clock that is set by an hour in mid-call, either way, moves no charge and no hold: elapsed time is told, and the
/// month and day of it are those of the answer.
#[tokio::test]
async fn a_step_of_the_wall_clock_moves_no_charge() {
    let hour_us = 3_600_000_000;
    let mut seen = Vec::new();
    // Ten seconds before the month ends where the pool is, too: an hour on is another month.
    let late = Wall::from_seconds(1_782_878_390);
    for (start, step_us) in [(NOON, 0), (NOON, hour_us), (NOON, -hour_us), (late, 0), (late, hour_us), (late, -hour_us)] {
        let bench = Bench::new().await;
        let (paid, pooled) = (bench.leg(), bench.leg());
        let stepped = |ms: u64| Wall::from_micros(start.plus_millis(ms).micros() + step_us);
        let mut grants = Vec::new();
        for open in [dial(paid, "+447700900123", "studio"), dial(pooled, "+447700900123", "watch")] {
            let leg = open.leg;
            grants.push(grant(bench.store.open_leg(OpenLeg { invited: start, ..open }).await.unwrap()).until_ms);
            bench.store.answered(Answered { at: start, ..answer(leg) }).await.unwrap();
            let ask = Extend { now: stepped(50_000), ..next(leg, 1, 50_000) };
            grants.push(grant(bench.store.extend(ask).await.unwrap()).until_ms);
        }
        let mut told = Vec::new();
        for leg in [paid, pooled] {
            let end = End::new(Cause::HungUp, EndedBy::FarSide, 90_500, stepped(90_500));
            let record = bench.store.settle(leg, end).await.unwrap();
            told.push((record.charge, record.duration_ms));
        }
        let pool = bench.store.pool(&"borealis".parse().unwrap(), start).await.unwrap();
        assert_eq!((pool.used_ms, pool.held_ms), (90_500, 0), "of the month of the answer: {start:?} {step_us}");
        bench.audited().await;
        seen.push((grants, told));
    }
    assert!(seen.iter().all(|one| *one == seen[0]), "{seen:#?}");
}

#[derive(Clone, Debug)]
enum Act {
    Open(u8),
    Answer(usize),
    Name(usize),
    Extend(usize, u64),
    Settle(usize, u64),
    Fund(i64),
    Give(bool, u64, Option<u64>),
    Take,
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
        2 => (any::<bool>(), 1u64..150_000, proptest::option::of(1u64..400_000))
            .prop_map(|(timed, amount, good_ms)| Act::Give(timed, amount, good_ms)),
        1 => Just(Act::Take),
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
            Act::Give(timed, amount, good_ms) => {
                let unit = if timed { Unit::Seconds } else { Unit::Money };
                let until = good_ms.map(|ms| NOON.plus_millis(ms));
                let given = super::granting::gift(&format!("gift-{}", self.step), unit, amount);
                store.add_grant(NewGrant { until, ..given }).await.unwrap();
            }
            Act::Take => {
                for row in store.grants(&"aurora".parse().unwrap(), false).await.unwrap().into_iter().take(1) {
                    let (id, organisation) = (row.grant.id, row.organisation);
                    store.end_grant(EndGrant { id, organisation, at: NOON.plus_millis(100_000) }).await.unwrap();
                }
            }
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

/// One request of a crowd.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Open(u64, u8),
    Answer(u64),
    Name(u64, bool),
    Extend(u64, u32),
    Settle(u64),
    Fund(u64),
}

/// Few legs and few numbers: steps are repeated, come out of order, and meet others of the same leg in one batch.
fn ask() -> impl Strategy<Value = Ask> {
    let leg = 1u64..8;
    prop_oneof![
        4 => (leg.clone(), 0u8..4).prop_map(|(leg, kind)| Ask::Open(leg, kind)),
        2 => leg.clone().prop_map(Ask::Answer),
        2 => (leg.clone(), any::<bool>()).prop_map(|(leg, known)| Ask::Name(leg, known)),
        6 => (leg.clone(), 1u32..5).prop_map(|(leg, sequence)| Ask::Extend(leg, sequence)),
        1 => leg.clone().prop_map(Ask::Settle),
        1 => leg.prop_map(Ask::Fund),
    ]
}

/// The answer, as text.
async fn put(store: Store, ask: Ask) -> String {
    let id = |number| LegId::new(1_781_611_200_000, u128::from(number));
    match ask {
        Ask::Open(leg, kind) => {
            let meeting = [Some("studio"), None, Some("unlicensed"), Some("watch")][usize::from(kind)];
            format!("{:?}", store.open_leg(asked(id(leg), CallType::DialInToll, "+390612345678", meeting)).await)
        }
        Ask::Answer(leg) => format!("{:?}", store.answered(answer(id(leg))).await),
        Ask::Name(leg, known) => {
            let meeting = if known { "studio" } else { "nowhere" }.parse().unwrap();
            format!("{:?}", store.name_payer(NamePayer { leg: id(leg), meeting, elapsed_ms: 7_000, now: NOON }).await)
        }
        Ask::Extend(leg, sequence) => {
            format!("{:?}", store.extend(next(id(leg), sequence, u64::from(sequence) * 50_000)).await)
        }
        Ask::Settle(leg) => format!("{:?}", store.settle(id(leg), over(200_000)).await),
        Ask::Fund(key) => format!("{:?}", store.add_credits(funds(&format!("fund-{key}"), "0.01")).await),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// A crowd that shares batches is told what each would be told alone, and leaves the same books behind.
    #[test]
    fn a_batch_is_worth_its_requests_one_by_one(asks in proptest::collection::vec(ask(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (alone, crowd) = (Bench::with_credits("0.12").await, Bench::with_credits("0.12").await);
            let mut one_by_one = Vec::new();
            for ask in &asks {
                one_by_one.push(put(alone.store.clone(), *ask).await);
            }
            let mut tasks = JoinSet::new();
            for (place, ask) in asks.into_iter().enumerate() {
                let store = crowd.store.clone();
                tasks.spawn(async move { (place, put(store, ask).await) });
            }
            let together: BTreeMap<usize, String> = tasks.join_all().await.into_iter().collect();
            let together: Vec<String> = together.into_values().collect();
            assert_eq!(one_by_one, together);
            let mut books = Vec::new();
            for bench in [&alone, &crowd] {
                bench.audited().await;
                let aurora = "aurora".parse().unwrap();
                let entries = bench.store.ledger(&aurora, 10_000).await.unwrap();
                let usage = bench.store.usage(&UsageFilter::default()).await.unwrap();
                books.push((entries, usage, bench.store.live_legs().await.unwrap(), bench.balance("aurora").await));
            }
            assert_eq!(books[0], books[1]);
        });
    }
}

/// Five calls at a price by the second, and money for two and a half minutes of all of them: each asks ahead of its end,
/// as a leg does.
#[tokio::test]
async fn as_money_runs_out_all_legs_end_together_and_little_of_it_is_left() {
    let bench = Bench::with_credits("0.4250").await;
    let legs: Vec<LegId> = (0..5).map(|_| bench.leg()).collect();
    let mut until = Vec::new();
    for leg in &legs {
        until.push(grant(bench.store.open_leg(dial(*leg, "+447700900123", "studio")).await.unwrap()).until_ms);
        bench.store.answered(answer(*leg)).await.unwrap();
    }
    let (mut sequence, mut is_over) = (vec![1; 5], vec![false; 5]);
    for second in 1..600_u64 {
        let now_ms = second * 1_000;
        for n in 0..5 {
            // Staggered, as jitter has it.
            let ahead_ms = 10_000 + n as u64 * 600;
            if is_over[n] || now_ms + ahead_ms < until[n] {
                continue;
            }
            match bench.store.extend(next(legs[n], sequence[n], now_ms.min(until[n]))).await.unwrap() {
                Opened::Granted(grant) => until[n] = grant.until_ms,
                _ => is_over[n] = now_ms >= until[n],
            }
            sequence[n] += 1;
        }
    }
    assert!(is_over.iter().all(|over| *over));
    let (first, last) = (until.iter().min().unwrap(), until.iter().max().unwrap());
    assert!(last - first <= 10_000, "{until:?}");
    for (leg, until) in legs.iter().zip(&until) {
        bench.store.settle(*leg, over(*until)).await.unwrap();
    }
    let left = bench.balance("aurora").await.available;
    assert!(left < micros("0.005"), "{left}");
    bench.audited().await;
}
