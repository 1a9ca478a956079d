//! Slices held a second that are on the disk when they are answered, on SQLite and, under `tests/postgres --durable`, on
//! PostgreSQL. What it must reach: 15,000 a second on SQLite; on PostgreSQL 12,000 of a thousand organisations, 10,000 of
//! one; 1,500 whole legs a second (hold, answer, five slices, end); 10,000 legs of one organisation, a slice a minute
//! each, at most 5 % of a core in this process; and under that load a call that waits for its first hold at most 10 ms, 99
//! times of 100. Each asker waits for its answer before it asks again, as a leg does. Each opened leg is two requests: its
//! hold, and its answer. Slices linger for one another in the steady load alone, as they do in life: those who ask as fast
//! as they can have nobody to wait for.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tollbridge::clock::Wall;
use tollbridge::rating::record::EndedBy;
use tollbridge::rating::{CallType, Origin};
use tollbridge::store::{Answered, Document, End, Extend, OpenError, OpenLeg, Opened, Options, Store};
use tollbridge::types::{Cause, LegId};

const RATES: &str = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from,class\n\
    dial-in-toll,39,Italy,0.0100,0,60,60,2020-01-01,standard\n";

const NUMBER: &str = "[[number]]\ne164 = \"+390612345678\"\nkind = \"toll\"\ncountry = \"IT\"\n";

const NOON: Wall = Wall::from_seconds(1_781_611_200);
/// Legs of a burst, and slices that each of them asks for.
const LEGS: u64 = 2_000;
const SLICES: u32 = 5;
/// Legs of a burst from the first hold to the end.
const WHOLE: u64 = 4_000;
/// Live legs of the steady load, one slice a minute each, and for how long it is watched.
const LIVE: u64 = 10_000;
const WATCHED: Duration = Duration::from_secs(20);
/// Calls that come in a second beside them.
const CALLS: u64 = 20;
/// A server in which schemas may be made: see tests/postgres.
const SERVER: &str = "TOLLBRIDGE_TEST_POSTGRES";

fn file(organisations: u64) -> String {
    let mut text = format!("rates = \"rates.csv\"\n{NUMBER}");
    for n in 0..organisations {
        write!(
            text,
            "[[organisation]]\nid = \"o{n}\"\ncountry = \"IT\"\nvolume_licensing = true\ncredits = \"1000000\"\n\
             [[organisation.user]]\nid = \"u{n}\"\nlicences = [\"pay-per-minute\"]\n\
             [[organisation.meeting]]\nid = \"m{n}\"\norganiser = \"u{n}\"\nconference_id = \"{}\"\n",
            100_000_000 + n
        )
        .expect("a text grows");
    }
    text
}

fn main() {
    tokio::runtime::Runtime::new().expect("a runtime").block_on(measure());
}

async fn measure() {
    let folder = tempfile::tempdir().expect("a folder");
    for organisations in [1, 1_000] {
        println!("SQLite, organisations: {organisations}");
        let url = format!("sqlite:{}", folder.path().join(format!("of-{organisations}.db")).display());
        of(&url, &folder.path().join("sqlite"), organisations).await;
    }
    let Ok(server) = std::env::var(SERVER) else {
        println!("PostgreSQL is not measured: run `tests/postgres --durable cargo bench --bench store`");
        return;
    };
    for organisations in [1, 1_000] {
        println!("PostgreSQL, organisations: {organisations}");
        let schema = format!("bench_{organisations}");
        let made = std::process::Command::new("psql")
            .args(["-q", &server, "-c", &format!("CREATE SCHEMA {schema}")])
            .status()
            .expect("psql, which tests/run installs with PostgreSQL");
        assert!(made.success(), "no schema {schema}");
        let url = format!("{server}?options=-csearch_path%3D{schema}");
        of(&url, &folder.path().join(schema), organisations).await;
    }
}

async fn of(url: &str, folder: &std::path::Path, organisations: u64) {
    let options = |linger| Options { folder: folder.to_owned(), linger, ..Options::default() };
    let bench = Bench { store: open(url, options(Duration::ZERO)).await, organisations };
    let document = Document::parse("bench.toml", &file(organisations), |_| Ok(RATES.to_owned())).expect("a sound file");
    bench.store.apply(document, NOON).await.expect("a written file").expect("a sound file");
    let bench = Arc::new(bench);
    for askers in [1, 8, 64, 512] {
        let base = askers * 1_000_000;
        let legs = LEGS.min(askers * 200);
        let started = Instant::now();
        each(askers, legs, move |bench: Arc<Bench>, n| async move { bench.open(base + n).await }, &bench).await;
        report("open", askers, legs, started);
        let started = Instant::now();
        for slice in 1..=SLICES {
            let extend = move |bench: Arc<Bench>, n| async move { bench.extend(base + n, slice).await };
            each(askers, legs, extend, &bench).await;
        }
        report("extend", askers, legs * u64::from(SLICES), started);
    }
    let base = 1_000_000_000_000;
    let started = Instant::now();
    each(512, WHOLE, move |bench: Arc<Bench>, n| async move { bench.whole(base + n).await }, &bench).await;
    report("whole", 512, WHOLE, started);
    let store = if organisations == 1 {
        drop(bench);
        let bench = Arc::new(Bench { store: open(url, options(Options::default().linger)).await, organisations });
        steady(&bench).await;
        bench.store.clone()
    } else {
        bench.store.clone()
    };
    let started = Instant::now();
    let differences = store.audit().await.expect("an audit");
    println!("  audit: {} differences, {:?}", differences.len(), started.elapsed());
}

/// A store, as soon as whoever had it has let it go.
async fn open(url: &str, options: Options) -> Store {
    loop {
        match Store::open(url, options.clone()).await {
            Err(OpenError::Held { .. }) => tokio::time::sleep(Duration::from_millis(10)).await,
            other => return other.expect("a store"),
        }
    }
}

/// `legs` requests, from so many askers who each wait for their answer before they ask again.
async fn each<F, R>(askers: u64, legs: u64, ask: F, bench: &Arc<Bench>)
where
    F: Fn(Arc<Bench>, u64) -> R + Copy + Send + 'static,
    R: Future<Output = ()> + Send,
{
    let mut tasks = JoinSet::new();
    for asker in 0..askers {
        let bench = bench.clone();
        tasks.spawn(async move {
            for n in (asker..legs).step_by(askers as usize) {
                ask(bench.clone(), n).await;
            }
        });
    }
    tasks.join_all().await;
}

/// All legs of a busy bridge that has run for a while: each asks for its next slice in its own moment of a minute, and
/// calls come in beside them.
async fn steady(bench: &Arc<Bench>) {
    let base = 1_000_000_000;
    each(512, LIVE, move |bench: Arc<Bench>, n| async move { bench.open(base + n).await }, bench).await;
    let (used, started) = (processor_ms(), Instant::now());
    let (mut slices, mut waits) = (JoinSet::new(), JoinSet::new());
    let mut slice = tokio::time::interval(Duration::from_secs(60) / LIVE as u32);
    let mut call = tokio::time::interval(Duration::from_secs(1) / CALLS as u32);
    for every in [&mut slice, &mut call] {
        every.set_missed_tick_behavior(MissedTickBehavior::Burst);
    }
    let (mut asked, mut called) = (0, 0);
    while started.elapsed() < WATCHED {
        tokio::select! {
            _ = slice.tick() => {
                let (bench, n) = (bench.clone(), base + asked);
                slices.spawn(async move { bench.extend(n, 1).await });
                asked += 1;
            }
            _ = call.tick() => {
                let (bench, n) = (bench.clone(), 2 * base + called);
                waits.spawn(async move {
                    let began = Instant::now();
                    bench.hold(n).await;
                    began.elapsed()
                });
                called += 1;
            }
        }
    }
    slices.join_all().await;
    let mut waits = waits.join_all().await;
    let share = (processor_ms() - used) as f64 / 10.0 / started.elapsed().as_secs_f64();
    waits.sort();
    let at = |percent: usize| waits[(waits.len() - 1) * percent / 100];
    println!(
        "  {LIVE} live legs ({asked} slices, {called} calls): {share:.1} % of a core; a first hold after {:?}, 99 %: {:?}",
        at(50),
        at(99)
    );
}

/// What this process has used of its processors.
fn processor_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("the kernel's account of this process");
    let behind = stat.rsplit(')').next().unwrap_or_default();
    // User and system time, in hundredths of a second: the 14th and 15th of its words.
    behind.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
}

struct Bench {
    store: Store,
    organisations: u64,
}

fn leg(n: u64) -> LegId {
    LegId::new(n, u128::from(n))
}

impl Bench {
    async fn hold(&self, n: u64) {
        let asked = OpenLeg {
            leg: leg(n),
            call_type: CallType::DialInToll,
            number: "+390612345678".parse().expect("a number"),
            caller: None,
            origin: Origin::Fixed,
            carrier: None,
            meeting: Some(format!("m{}", n % self.organisations).parse().expect("a name")),
            call_id: n.to_string(),
            journal: String::new(),
            invited: NOON,
        };
        let opened = self.store.open_leg(asked).await;
        assert!(matches!(opened, Ok(Opened::Granted(_))), "{opened:?}");
    }

    async fn open(&self, n: u64) {
        self.hold(n).await;
        self.store.answered(Answered { leg: leg(n), at: NOON, journal: None }).await.expect("an answer");
    }

    async fn whole(&self, n: u64) {
        self.open(n).await;
        for sequence in 1..=SLICES {
            self.extend(n, sequence).await;
        }
        let end = End::new(Cause::HungUp, EndedBy::FarSide, 300_000, NOON.plus_millis(300_000));
        self.store.settle(leg(n), end).await.expect("a record");
    }

    async fn extend(&self, n: u64, sequence: u32) {
        let elapsed_ms = u64::from(sequence) * 50_000;
        let asked = Extend { leg: leg(n), sequence, elapsed_ms, proven_ms: elapsed_ms, now: NOON };
        let extended = self.store.extend(asked).await;
        assert!(matches!(extended, Ok(Opened::Granted(_))), "{extended:?}");
    }
}

fn report(what: &str, askers: u64, count: u64, started: Instant) {
    let took = started.elapsed();
    let rate = u128::from(count) * 1_000_000_000 / took.as_nanos().max(1);
    println!("  {what:>6}, {askers:>3} at once: {rate:>6} a second ({count} in {took:?})");
}
