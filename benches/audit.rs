//! How long the audit takes over a million entries of the ledger, and how much memory. What it must reach: 20 seconds
//! (M0 allows 60), and no more memory for a million entries than for a hundred thousand. Each
//! leg is four holds, a charge and a release: six entries, in four organisations. `ENTRIES=100000` makes a smaller one.

use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;
use tollbridge::clock::Wall;
use tollbridge::rating::record::EndedBy;
use tollbridge::rating::{CallType, Origin};
use tollbridge::store::{Answered, Document, End, Extend, OpenLeg, Opened, Options, Store};
use tollbridge::types::{Cause, LegId};

const RATES: &str = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from,class\n\
    dial-in-toll,39,Italy,0.0100,0,1,1,2020-01-01,standard\n";

const NOON: Wall = Wall::from_seconds(1_781_611_200);
const ORGANISATIONS: u64 = 4;
const ENTRIES_A_LEG: u64 = 6;
const SLICES: u32 = 4;
const ASKERS: u64 = 256;

fn file() -> String {
    let organisation = |n: u64| {
        format!(
            "[[organisation]]\nid = \"o{n}\"\ncountry = \"IT\"\nvolume_licensing = true\ncredits = \"1000000\"\n\
             [[organisation.user]]\nid = \"u{n}\"\nlicences = [\"pay-per-minute\"]\n\
             [[organisation.meeting]]\nid = \"m{n}\"\norganiser = \"u{n}\"\nconference_id = \"100000{n}\"\n"
        )
    };
    let number = "[[number]]\ne164 = \"+390612345678\"\nkind = \"toll\"\ncountry = \"IT\"\n";
    let all: String = (0..ORGANISATIONS).map(organisation).collect();
    format!("rates = \"rates.csv\"\n{all}{number}")
}

fn main() {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(measure());
}

async fn measure() {
    let entries: u64 = std::env::var("ENTRIES").map_or(1_000_000, |text| text.parse().expect("a number of entries"));
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite:{}", folder.path().join("store.db").display());
    let store = Arc::new(Store::open(&url, Options::default()).await.expect("a store"));
    let document = Document::parse("bench.toml", &file(), |_| Ok(RATES.to_owned())).expect("a sound file");
    store.apply(document, NOON).await.expect("a written file").expect("a sound file");
    let legs = entries.div_ceil(ENTRIES_A_LEG);
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for asker in 0..ASKERS {
        let store = store.clone();
        tasks.spawn(async move {
            for n in (asker..legs).step_by(ASKERS as usize) {
                live(&store, n).await;
            }
        });
    }
    tasks.join_all().await;
    println!("{legs} legs of {} entries written in {:?}", legs * ENTRIES_A_LEG, started.elapsed());
    for round in 0..3 {
        let before = resident_kib("VmRSS");
        let started = Instant::now();
        let differences = store.audit().await.expect("an audit");
        let took = started.elapsed();
        assert_eq!(differences, []);
        println!(
            "audit {round}: {took:?}, {:.2} µs an entry; resident {before} KiB before, at most {} KiB ever",
            took.as_secs_f64() * 1e6 / (legs * ENTRIES_A_LEG) as f64,
            resident_kib("VmHWM")
        );
    }
}

/// A line of the kernel's account of this process, in KiB.
fn resident_kib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// One leg from beginning to end.
async fn live(store: &Store, n: u64) {
    let leg = LegId::new(n, u128::from(n));
    let asked = OpenLeg {
        leg,
        call_type: CallType::DialInToll,
        number: "+390612345678".parse().expect("a number"),
        caller: None,
        origin: Origin::Fixed,
        carrier: None,
        meeting: Some(format!("m{}", n % ORGANISATIONS).parse().expect("a name")),
        call_id: n.to_string(),
        journal: String::new(),
        invited: NOON,
    };
    assert!(matches!(store.open_leg(asked).await, Ok(Opened::Granted(_))));
    store.answered(Answered { leg, at: NOON, journal: None }).await.expect("an answer");
    for sequence in 1..SLICES {
        let elapsed_ms = u64::from(sequence) * 50_000;
        let asked = Extend { leg, sequence, elapsed_ms, proven_ms: elapsed_ms, now: NOON };
        assert!(matches!(store.extend(asked).await, Ok(Opened::Granted(_))));
    }
    let end = End::new(Cause::HungUp, EndedBy::FarSide, 200_000, NOON);
    store.settle(leg, end).await.expect("a settlement");
}
