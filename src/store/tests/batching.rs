//! Requests of many organisations in one batch.

use super::*;
use crate::rating::grant::Unit;
use proptest::prelude::*;
use std::collections::BTreeMap;
use tokio::task::JoinSet;

const ORGANISATIONS: u64 = 8;

/// Organisations of every kind: with little money and plenty, limits of every sort, a pool, grants, wishes to be told.
fn file() -> String {
    let limits = [
        "",
        "max_spend_per_day = \"0.20\"",
        "organiser_spend_per_day = \"0.15\"",
        "meeting_spend_per_day = \"0.15\"\nmax_spend_per_leg = \"0.09\"",
        "max_spend_first_day = \"0.15\"",
        "",
        "",
        "",
    ];
    let mut text = "rates = \"rates.csv\"\n".to_owned();
    for (n, limits) in limits.iter().enumerate() {
        let credits = ["0.05", "0.50"][usize::from(n > 0)];
        let (country, licence) = match n {
            6 => ("US", "licences = [\"audio-conferencing\"]"),
            7 => ("US", "licences = [\"audio-conferencing\", \"communications-credits\"]"),
            _ => ("IT", "licences = [\"pay-per-minute\"]"),
        };
        text += &format!(
            "[[organisation]]\nid = \"o{n}\"\ncountry = \"{country}\"\nvolume_licensing = true\ncredits = \"{credits}\"\n"
        );
        if !limits.is_empty() {
            text += &format!("[organisation.limits]\n{limits}\n");
        }
        if n == 5 {
            text += "[organisation.alerts]\nemails = [\"anna@example.org\"]\nlow_balance = \"20%\"\n";
        }
        text += &format!(
            "[[organisation.user]]\nid = \"u{n}\"\n{licence}\n[[organisation.meeting]]\nid = \"m{n}\"\n\
             organiser = \"u{n}\"\nconference_id = \"100000{n}\"\n"
        );
    }
    text + "[[number]]\ne164 = \"+390612345678\"\nkind = \"toll\"\ncountry = \"IT\"\n\
        [[carrier]]\nid = \"local\"\nsources = [\"127.0.0.1\"]\nmax_spend_per_day = \"0.90\"\n\
        [[carrier]]\nid = \"other\"\nsources = [\"127.0.0.2\"]\n"
}

async fn books() -> Bench {
    let bench = Bench::empty().await;
    bench.apply(&file()).await.unwrap();
    for (organisation, unit, amount) in [("o0", Unit::Money, 60_000), ("o4", Unit::Seconds, 90_000)] {
        let given = super::granting::gift(&format!("of-{organisation}"), unit, amount);
        bench.store.add_grant(NewGrant { organisation: organisation.parse().unwrap(), ..given }).await.unwrap();
    }
    bench
}

#[derive(Clone, Copy, Debug)]
enum Ask {
    Open(u64, bool),
    Name(u64),
    Answer(u64),
    Lead(u64),
    Reroute(u64),
    Extend(u64, u32),
    Settle(u64, u64),
}

fn ask() -> impl Strategy<Value = Ask> {
    let leg = 1u64..25;
    prop_oneof![
        6 => (leg.clone(), prop::bool::weighted(0.9)).prop_map(|(leg, named)| Ask::Open(leg, named)),
        1 => leg.clone().prop_map(Ask::Name),
        3 => leg.clone().prop_map(Ask::Answer),
        1 => leg.clone().prop_map(Ask::Lead),
        1 => leg.clone().prop_map(Ask::Reroute),
        6 => (leg.clone(), 1u32..4).prop_map(|(leg, sequence)| Ask::Extend(leg, sequence)),
        3 => (leg, 0u64..150_000).prop_map(|(leg, ms)| Ask::Settle(leg, ms)),
    ]
}

/// The answer, as text.
async fn put(store: Store, ask: Ask) -> String {
    let id = |number| LegId::new(1_781_611_200_000 + number, u128::from(number));
    let meeting = |leg: u64| format!("m{}", leg % ORGANISATIONS);
    match ask {
        Ask::Open(leg, named) => {
            let (call, to) = match leg % 3 {
                0 => (CallType::DialInToll, "+390612345678"),
                1 => (CallType::DialOut, "+447700900123"),
                _ => (CallType::DialOut, "+390655501234"),
            };
            let of = meeting(leg);
            format!("{:?}", store.open_leg(asked(id(leg), call, to, named.then_some(of.as_str()))).await)
        }
        Ask::Name(leg) => {
            let meeting = meeting(leg).parse().unwrap();
            format!("{:?}", store.name_payer(NamePayer { leg: id(leg), meeting, elapsed_ms: 7_000, now: NOON }).await)
        }
        Ask::Answer(leg) => format!("{:?}", store.answered(answer(id(leg))).await),
        Ask::Lead(leg) => format!("{:?}", store.lead(id(leg)).await),
        Ask::Reroute(leg) => {
            let (call_id, journal) = (format!("again-{leg}"), String::new());
            let rerouted = Rerouted { leg: id(leg), carrier: "other".parse().unwrap(), call_id, journal };
            format!("{:?}", store.rerouted(rerouted).await)
        }
        Ask::Extend(leg, sequence) => {
            format!("{:?}", store.extend(next(id(leg), sequence, u64::from(sequence) * 50_000)).await)
        }
        Ask::Settle(leg, ms) => format!("{:?}", store.settle(id(leg), over(ms)).await),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Each is told what it would be told alone, and every row of every table is the same.
    #[test]
    fn a_batch_of_many_organisations_is_worth_its_requests_one_by_one(
        asks in proptest::collection::vec(ask(), 20..200),
        batch in 2usize..80,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (alone, crowd) = (books().await, books().await);
            let mut one_by_one = Vec::new();
            for ask in &asks {
                one_by_one.push(put(alone.store.clone(), *ask).await);
            }
            let mut together = BTreeMap::new();
            for (number, some) in asks.chunks(batch).enumerate() {
                let mut tasks = JoinSet::new();
                for (place, ask) in some.iter().enumerate() {
                    let (store, ask) = (crowd.store.clone(), *ask);
                    tasks.spawn(async move { ((number, place), put(store, ask).await) });
                }
                together.extend(tasks.join_all().await);
            }
            assert_eq!(one_by_one, together.into_values().collect::<Vec<_>>());
            alone.audited().await;
            crowd.audited().await;
            let (left, right) = (copying::lines_of(&alone.url).await, copying::lines_of(&crowd.url).await);
            for (left, right) in left.iter().zip(&right) {
                assert_eq!(left, right);
            }
            assert_eq!(left.len(), right.len());
        });
    }
}

/// One request of a batch that cannot be done takes nothing from the others.
#[tokio::test]
async fn what_fails_in_a_batch_fails_alone() {
    let bench = books().await;
    let legs: Vec<LegId> = (0..40).map(|_| bench.leg()).collect();
    let mut tasks = JoinSet::new();
    for (n, leg) in legs.iter().enumerate() {
        let (store, leg) = (bench.store.clone(), *leg);
        tasks.spawn(async move {
            // Two of them settle what nobody has opened.
            match n {
                7 | 30 => store.settle(leg, over(0)).await.map(|_| ()),
                _ => store.open_leg(dial(leg, "+447700900123", "m5")).await.map(|opened| assert_ne!(opened, Opened::NoPayerYet)),
            }
        });
    }
    let failed: Vec<StoreError> = tasks.join_all().await.into_iter().filter_map(Result::err).collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed.iter().all(|fault| matches!(fault, StoreError::Unknown(_))), "{failed:?}");
    assert_eq!(bench.store.live_legs().await.unwrap().len(), 38);
    bench.audited().await;
}

/// Refreshes wait for one another a moment, and for nobody when a call waits for its first hold.
#[tokio::test]
async fn refreshes_share_a_transaction_and_hold_nobody_up() {
    let bench = books().await;
    let Bench { folder, url, store, .. } = bench;
    drop(store);
    let linger = Duration::from_secs(30);
    let store = loop {
        match Store::open(&url, Options { linger, ..options(&folder) }).await {
            Err(OpenError::Held { .. }) => tokio::task::yield_now().await,
            other => break other.unwrap(),
        }
    };
    let leg = |n: u64| LegId::new(1_781_611_200_000 + n, u128::from(n));
    for n in 1..=3 {
        grant(store.open_leg(dial(leg(n), "+447700900123", "m5")).await.unwrap());
        store.answered(answer(leg(n))).await.unwrap();
    }
    let began = wire::moment();
    let mut slices = tokio::task::JoinSet::new();
    for n in [1, 2] {
        let store = store.clone();
        slices.spawn(async move { store.extend(next(leg(n), 1, 40_000)).await });
    }
    tokio::task::yield_now().await;
    assert!(slices.try_join_next().is_none());
    // A first hold takes them along.
    grant(store.open_leg(dial(leg(9), "+447700900123", "m5")).await.unwrap());
    while let Some(slice) = slices.join_next().await {
        grant(slice.unwrap().unwrap());
    }
    // What a leg holds is about to end: it does not wait.
    grant(store.extend(next(leg(3), 1, 59_000)).await.unwrap());
    // Nor does an end.
    store.settle(leg(1), over(45_000)).await.unwrap();
    assert!(began.elapsed() < linger, "somebody has waited: {:?}", began.elapsed());
    assert_eq!(store.audit().await.unwrap(), []);
}
