//! Holds a second that are on the disk when they are answered. What it must reach: 15,000 where some hundred legs ask at
//! once, as when a bridge starts again and all its legs ask within a second (10,000 live legs ask for a slice a minute
//! each, 167 a second). Each opened leg is two requests: its hold, and its answer. Measured beside it: the audit of what
//! was written.

use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;
use tollbridge::clock::Wall;
use tollbridge::rating::CallType;
use tollbridge::store::{Answered, Document, Extend, OpenLeg, Opened, Options, Store};
use tollbridge::types::LegId;

const RATES: &str = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from,class\n\
    dial-in-toll,39,Italy,0.0100,0,60,60,2020-01-01,standard\n";

const FILE: &str = r#"rates = "rates.csv"
[[organisation]]
id = "aurora"
country = "IT"
volume_licensing = true
credits = "1000000"
[[organisation.user]]
id = "anna"
licences = ["pay-per-minute"]
[[organisation.meeting]]
id = "studio"
organiser = "anna"
conference_id = "1000001"
[[number]]
e164 = "+390612345678"
kind = "toll"
country = "IT"
"#;

const NOON: Wall = Wall::from_seconds(1_781_611_200);
const LEGS: u64 = 2_000;
const SLICES: u32 = 5;

fn main() {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(measure());
}

async fn measure() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("store.db").display());
    let store = Arc::new(Store::open(&url, Options::default()).await.expect("a store"));
    let document = Document::parse("bench.toml", FILE, |_| Ok(RATES.to_owned())).expect("a sound file");
    store.apply(document, NOON).await.expect("a written file").expect("a sound file");
    for askers in [1, 8, 64, 512] {
        let base = askers * 1_000_000;
        let legs = LEGS.min(askers * 200);
        let started = Instant::now();
        each(askers, legs, move |store: Arc<Store>, n| open(store, base + n), &store).await;
        report("open", askers, legs, started);
        let started = Instant::now();
        for slice in 1..=SLICES {
            each(askers, legs, move |store: Arc<Store>, n| extend(store, base + n, slice), &store).await;
        }
        report("extend", askers, legs * u64::from(SLICES), started);
    }
    let started = Instant::now();
    let differences = store.audit().await.expect("an audit");
    println!("audit: {} differences, {:?}", differences.len(), started.elapsed());
}

/// `legs` requests, from so many askers who each wait for their answer before they ask again.
async fn each<F, R>(askers: u64, legs: u64, ask: F, store: &Arc<Store>)
where
    F: Fn(Arc<Store>, u64) -> R + Copy + Send + 'static,
    R: Future<Output = ()> + Send,
{
    let mut tasks = JoinSet::new();
    for asker in 0..askers {
        let store = store.clone();
        tasks.spawn(async move {
            for n in (asker..legs).step_by(askers as usize) {
                ask(store.clone(), n).await;
            }
        });
    }
    tasks.join_all().await;
}

fn leg(n: u64) -> LegId {
    LegId::new(n, u128::from(n))
}

async fn open(store: Arc<Store>, n: u64) {
    let asked = OpenLeg {
        leg: leg(n),
        call_type: CallType::DialInToll,
        number: "+390612345678".parse().expect("a number"),
        caller: None,
        carrier: None,
        meeting: Some("studio".parse().expect("a name")),
        call_id: n.to_string(),
        journal: String::new(),
        invited: NOON,
    };
    assert!(matches!(store.open_leg(asked).await, Ok(Opened::Granted(_))));
    store.answered(Answered { leg: leg(n), at: NOON, journal: None }).await.expect("an answer");
}

async fn extend(store: Arc<Store>, n: u64, sequence: u32) {
    let asked = Extend { leg: leg(n), sequence, elapsed_ms: u64::from(sequence) * 50_000, now: NOON };
    assert!(matches!(store.extend(asked).await, Ok(Opened::Granted(_))));
}

fn report(what: &str, askers: u64, count: u64, started: Instant) {
    let took = started.elapsed();
    let rate = u128::from(count) * 1_000_000_000 / took.as_nanos().max(1);
    println!("{what:>7}, {askers:>3} at once: {rate:>6} a second ({count} in {took:?})");
}
