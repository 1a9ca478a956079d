//! Legs that go from grant to pool and from pool to grant, begun, carried on and ended in any order: after each step the
//! audit counts pools, grants and credits anew and finds what the books have, and no counter can be moved unseen.

use super::granting::gift;
use super::*;
use crate::rating::grant::Unit;
use proptest::prelude::*;

const LONDON: &str = "+442079460123";
const ROME: &str = "+390611111111";

/// Counters of pools and grants, each moved by a little; the second is what the books must have for it to be of any effect.
const MOVED: &[(&str, &str)] = &[
    ("UPDATE pool SET legs = legs + 1", "pool"),
    ("UPDATE pool SET legs = legs - 1 WHERE legs > 0", "in the pool"),
    ("UPDATE pool SET legs = 0 WHERE legs > 0", "in the pool"),
    ("UPDATE pool SET held_ms = held_ms + 1, granted_ms = granted_ms + 1", "pool"),
    ("UPDATE pool SET held_ms = held_ms - 1 WHERE held_ms > 0", "pool held"),
    ("UPDATE pool SET used_ms = used_ms + 1, granted_ms = granted_ms + 1", "pool"),
    ("UPDATE pool SET used_ms = used_ms - 1 WHERE used_ms > 0", "pool"),
    ("UPDATE pool SET used_ms = used_ms - 1, held_ms = held_ms + 1 WHERE used_ms > 0", "pool"),
    ("UPDATE grants SET used = used + 1, amount = amount + 1 WHERE unit = 'seconds'", "time"),
    ("UPDATE grants SET used = used - 1 WHERE used > 0", "used"),
    ("UPDATE grants SET held = held + 1, amount = amount + 1 WHERE unit = 'seconds'", "time"),
    ("UPDATE grants SET held = held - 1 WHERE held > 0", "held"),
    ("UPDATE grants SET burn_nanos = burn_nanos + 1", "grant"),
    ("UPDATE grants SET burn_nanos = 0 WHERE burn_nanos > 0", "burnt"),
];

/// An organisation with so much of a pool left, and credits behind it.
async fn pooled(pool_ms: u64) -> Bench {
    let licences = "licences = [\"audio-conferencing\", \"communications-credits\"]";
    let file = FILE
        .replace("licences = [\"audio-conferencing\"]", licences)
        .replace("time_zone = \"America/New_York\"", "time_zone = \"America/New_York\"\ncredits = \"100.00\"");
    let bench = Bench::empty().await;
    bench.apply(&file).await.unwrap();
    bench.pool_of(pool_ms).await;
    bench
}

async fn given(bench: &Bench, id: &str, unit: Unit, amount: u64, at: Wall) {
    let given = NewGrant { organisation: "borealis".parse().unwrap(), at, ..gift(id, unit, amount) };
    assert!(matches!(bench.store.add_grant(given).await.unwrap(), GrantAdded::Booked(_)));
}

async fn pool(bench: &Bench) -> PoolState {
    bench.store.pool(&"borealis".parse().unwrap(), NOON).await.unwrap()
}

async fn rows(bench: &Bench) -> Vec<GrantRow> {
    bench.store.grants(&"borealis".parse().unwrap(), true).await.unwrap()
}

/// Moves each counter that there is, and looks whether the audit finds it: how many there are.
async fn moved(bench: &Bench) -> usize {
    let (pool, grants) = (pool(bench).await, rows(bench).await);
    let any = |wanted: fn(&GrantRow) -> bool| grants.iter().any(wanted);
    let mut tried = 0;
    for (sql, needs) in MOVED {
        let is_there = match *needs {
            "in the pool" => pool.legs > 0,
            "pool held" => pool.held_ms > 0,
            "time" => any(|row| row.grant.unit == Unit::Seconds),
            "used" => any(|row| row.used > 0),
            "held" => any(|row| row.held > 0),
            "burnt" => any(|row| row.grant.burn_nanos > 0),
            "grant" => !grants.is_empty(),
            _ => true,
        };
        if is_there {
            let found = bench.planted(sql).await.unwrap();
            assert!(!found.is_empty(), "{sql} is not found");
            tried += 1;
        }
    }
    bench.audited().await;
    tried
}

/// The last of the pool is the organiser's to come, so that a grant pays whoever else begins; then the organiser hangs up
/// early, and what comes back pays the other on.
#[tokio::test]
async fn a_leg_that_goes_from_a_grant_into_the_pool_is_counted_there() {
    let bench = pooled(80_000).await;
    let (first, second) = (bench.leg(), bench.leg());
    grant(bench.store.open_leg(dial(first, LONDON, "watch")).await.unwrap());
    bench.store.answered(answer(first)).await.unwrap();
    bench.store.lead(first).await.unwrap();
    given(&bench, "spring", Unit::Seconds, 90_000, NOON).await;
    assert_eq!((pool(&bench).await.held_ms, pool(&bench).await.legs), (60_000, 1));

    let at = NOON.plus_millis(30_000);
    let opened = bench.store.open_leg(OpenLeg { invited: at, ..dial(second, LONDON, "watch") }).await.unwrap();
    assert_eq!(grant(opened).until_ms, 60_000);
    bench.store.answered(Answered { at, ..answer(second) }).await.unwrap();
    assert_eq!((rows(&bench).await[0].held, pool(&bench).await.legs), (60_000, 1), "the grant pays the second");
    moved(&bench).await;

    bench.store.settle(first, over(35_000)).await.unwrap();
    assert_eq!((pool(&bench).await.held_ms, pool(&bench).await.legs), (0, 0));
    let more = Extend { now: at.plus_millis(50_000), ..next(second, 1, 50_000) };
    assert_eq!(grant(bench.store.extend(more).await.unwrap()).until_ms, 120_000);
    let (now, spring) = (pool(&bench).await, rows(&bench).await.remove(0));
    assert_eq!((spring.held, now.held_ms, now.legs), (90_000, 30_000, 1), "90 s of the grant, then the pool");
    assert_eq!(spring.grant.burn_nanos, 0, "it pays no more");
    assert_eq!(moved(&bench).await, 12);

    let end = End { at: at.plus_millis(100_000), ..over(100_000) };
    let record = bench.store.settle(second, end).await.unwrap();
    assert_eq!((record.beyond.pool_used_ms, record.charge), (10_000, Micros::ZERO));
    let (now, spring) = (pool(&bench).await, rows(&bench).await.remove(0));
    assert_eq!((spring.used, spring.held, now.held_ms, now.legs), (90_000, 0, 0, 0));
    assert_eq!(now.granted_ms - now.used_ms, 80_000 - 35_000 - 10_000);
    moved(&bench).await;
}

/// One thing that happens, after so many seconds.
#[derive(Clone, Debug)]
enum Act {
    Begin { to_london: bool },
    /// Which of the legs: it asks for more, if it is time or not.
    CarryOn(usize),
    HangUp(usize),
    /// It is the organiser's.
    Lead(usize),
    Give { seconds: bool, amount: u64 },
}

fn acts() -> impl Strategy<Value = Vec<(u64, Act)>> {
    let act = prop_oneof![
        3 => any::<bool>().prop_map(|to_london| Act::Begin { to_london }),
        5 => (0_usize..4).prop_map(Act::CarryOn),
        2 => (0_usize..4).prop_map(Act::HangUp),
        1 => (0_usize..4).prop_map(Act::Lead),
        2 => (any::<bool>(), 1_u64..90).prop_map(|(seconds, amount)| Act::Give { seconds, amount }),
    ];
    proptest::collection::vec((0_u64..25, act), 1..24)
}

struct Live {
    leg: LegId,
    begins: u64,
    until_ms: u64,
    sequence: u32,
}

/// What records say that each paid.
#[derive(Default)]
struct Paid {
    pool_ms: u64,
    credits: i64,
    grants: std::collections::BTreeMap<String, u64>,
}

async fn end(bench: &Bench, live: Live, now: u64, paid: &mut Paid) {
    let talked_ms = ((now - live.begins) * 1_000).min(live.until_ms);
    let end = End { at: NOON.plus_millis(now * 1_000), ..over(talked_ms) };
    let record = bench.store.settle(live.leg, end).await.unwrap();
    paid.pool_ms += record.beyond.pool_used_ms;
    paid.credits += record.charge.0;
    for part in &record.beyond.grants {
        *paid.grants.entry(part.bucket.grant().unwrap().to_string()).or_default() += part.amount;
    }
}

async fn act(bench: &Bench, act: &Act, now: u64, legs: &mut Vec<Live>, paid: &mut Paid) {
    let at = NOON.plus_millis(now * 1_000);
    match act {
        Act::Begin { .. } if legs.len() == 4 => {}
        Act::Begin { to_london } => {
            let leg = bench.leg();
            let to = if *to_london { LONDON } else { ROME };
            let opened = bench.store.open_leg(OpenLeg { invited: at, ..dial(leg, to, "watch") }).await.unwrap();
            let until_ms = grant(opened).until_ms;
            bench.store.answered(Answered { at, ..answer(leg) }).await.unwrap();
            legs.push(Live { leg, begins: now, until_ms, sequence: 0 });
        }
        Act::CarryOn(which) => {
            let Some(live) = legs.get_mut(*which) else { return };
            live.sequence += 1;
            let elapsed_ms = (now - live.begins) * 1_000;
            let extend = Extend { now: at, ..next(live.leg, live.sequence, elapsed_ms) };
            if let Opened::Granted(grant) = bench.store.extend(extend).await.unwrap() {
                live.until_ms = grant.until_ms;
            }
        }
        Act::HangUp(which) if *which < legs.len() => end(bench, legs.remove(*which), now, paid).await,
        Act::Lead(which) if *which < legs.len() => bench.store.lead(legs[*which].leg).await.unwrap(),
        Act::HangUp(_) | Act::Lead(_) => {}
        Act::Give { seconds: true, amount } => {
            given(bench, &format!("time-{now}-{}", paid.grants.len()), Unit::Seconds, amount * 1_000, at).await;
        }
        Act::Give { seconds: false, amount } => {
            given(bench, &format!("money-{now}-{}", paid.grants.len()), Unit::Money, amount * 1_000, at).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn whatever_order_they_are_burnt_in_the_audit_counts_the_same(
        pool_ms in prop_oneof![0_u64..5, 60_000_u64..60_005, 0_u64..240_000], acts in acts(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = pooled(pool_ms).await;
            let (mut legs, mut paid, mut now) = (Vec::<Live>::new(), Paid::default(), 0);
            let begun = pool(&bench).await.used_ms;
            for (step, (wait, done)) in acts.iter().enumerate() {
                // Each at its own moment, by which its grants are called.
                now += wait + 1;
                while let Some(cut) = legs.iter().position(|live| live.begins * 1_000 + live.until_ms <= now * 1_000) {
                    end(&bench, legs.remove(cut), now, &mut paid).await;
                }
                act(&bench, done, now, &mut legs, &mut paid).await;
                bench.audited().await;
                if step % 8 == 7 {
                    moved(&bench).await;
                }
            }
            while let Some(live) = legs.pop() {
                end(&bench, live, now, &mut paid).await;
            }
            let after = pool(&bench).await;
            assert_eq!((after.used_ms - begun, after.held_ms, after.legs), (paid.pool_ms, 0, 0));
            for row in rows(&bench).await {
                let due = paid.grants.get(row.grant.id.as_str()).copied().unwrap_or(0);
                assert_eq!((row.used, row.held, row.grant.burn_nanos), (due, 0, 0), "{row:?}");
            }
            assert_eq!(bench.balance("borealis").await.posted.0, 100_000_000 - paid.credits);
            moved(&bench).await;
        });
    }
}
