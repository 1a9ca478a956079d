//! What a bridge takes of a machine: the built program on a folder of its own, with rooms to call.
//!
//! ```text
//! cargo bench --bench footprint            LEGS=400 SECONDS=10
//! ```
//!
//! It must reach: ready within a second of its start, 20 MiB when idle, 40 KiB for each leg that talks.

#[allow(dead_code)] // the other bench needs more of it
mod process;

use process::{Bridge, fill, number};
use std::time::Duration;
use tollbridge::cli::phone::{Exchange, Phone};
use tollbridge::cli::sound::Voice;

const READY_MS: f64 = 1_000.0;
const IDLE_KIB: f64 = 20.0 * 1_024.0;
const LEG_KIB: f64 = 40.0;
const STARTS: usize = 5;
const ROOM: usize = 10;
const CARRIER: [u8; 4] = [127, 0, 0, 30];
/// Calls begun a second.
const PACE: u32 = 50;

fn main() {
    let setting = |name: &str, default: usize| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (legs, seconds) = (setting("LEGS", 400), setting("SECONDS", 10));
    tokio::runtime::Runtime::new().expect("a runtime").block_on(measure(legs, seconds as u64));
}

async fn measure(legs: usize, seconds: u64) {
    let demo = tempfile::tempdir().expect("a folder");
    let first = Bridge::start(demo.path());
    println!("{:36}{:>9.0} ms, the demo brought into its store", "first start to ready", first.ready_ms);
    drop(first);
    let folder = tempfile::tempdir().expect("a folder");
    fill(folder.path(), legs.div_ceil(ROOM), &[CARRIER]).await;

    let mut ready: Vec<f64> = (0..STARTS).map(|_| Bridge::start(folder.path()).ready_ms).collect();
    ready.sort_by(f64::total_cmp);
    told("start to ready, median", ready[STARTS / 2], "ms", READY_MS);

    let bridge = Bridge::start(folder.path());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let idle = bridge.memory();
    told("resident, idle", idle.resident, "KiB", IDLE_KIB);
    println!("{:36}{:>9.0} KiB its own, {:.0} KiB of files", "", idle.own, idle.files);

    // The first calls bring what is there once for all; the rest shows what each costs.
    let exchange = Exchange::start((CARRIER, 0).into(), bridge.sip, 1).await.expect("a carrier");
    let mut phones = call(&exchange, legs / 10, 0).await;
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let few = bridge.memory();
    let more = call(&exchange, legs - phones.len(), phones.len()).await;
    phones.extend(more);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let many = bridge.memory();
    println!("{:36}{:>9.0} KiB", format!("resident, {} legs", legs / 10), few.resident);
    println!("{:36}{:>9.0} KiB", format!("resident, {legs} legs"), many.resident);
    told("a leg, against idle", (many.resident - idle.resident) / legs as f64, "KiB", LEG_KIB);
    told("a leg, against a tenth of them", (many.resident - few.resident) / (legs - legs / 10) as f64, "KiB", LEG_KIB);
    phones.iter().for_each(Phone::hang_up);
    tokio::time::sleep(Duration::from_secs(2)).await;
    println!("{:36}{:>9.0} KiB", "resident, all gone", bridge.memory().resident);
}

fn told(name: &str, found: f64, unit: &str, limit: f64) {
    let verdict = if found <= limit { "reached" } else { "MISSED" };
    println!("{name:36}{found:>9.1} {unit}   at most {limit:.0}: {verdict}");
}

async fn call(exchange: &Exchange, count: usize, first: usize) -> Vec<Phone> {
    let mut beat = tokio::time::interval(Duration::from_secs(1) / PACE);
    let mut calls = Vec::new();
    for leg in first..first + count {
        beat.tick().await;
        let exchange = exchange.clone();
        calls.push(tokio::spawn(async move {
            let phone = exchange.call("+390600000000", &number(leg / ROOM)).await.expect("it is answered");
            phone.say(Voice::Tone { hz: 300 + leg as u32, peak: 6_000 });
            phone
        }));
    }
    let mut phones = Vec::new();
    for call in calls {
        phones.push(call.await.expect("a call"));
    }
    phones
}
