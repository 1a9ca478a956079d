//! Foreign telephones, which know nothing of us, call the whole bridge and are called by it: sipp, baresip, Linphone,
//! rsipstack, sipsak, which does not talk, and ffmpeg, which does nothing else. Each call must be authorised, held, settled and
//! written down, once. `plan.md` says what carriers try, and which test shows it.
//!
//! sipp presses no keys as events (RFC 4733): it sends recorded packets through raw sockets, which only root may open.

mod baresip;
mod digest;
mod incoming;
mod interop;
mod linphone;
mod load;
mod outgoing;
mod plan;
mod relay;
mod rsipstack;
mod sipp;
mod sipsak;
mod transfers;
mod wave;
#[path = "../it/world.rs"]
#[allow(dead_code, unused_imports)] // the other suite needs more of it
mod world;

use sipp::Sipp;
use tokio::sync::RwLock;
use tollbridge::config::Settings;
use tollbridge::rating::UsageRecord;
use tollbridge::sip::Transport;
use tollbridge::types::Cause;
use world::{CARRIER, DIRECT, PEOPLE, World};

/// Tests that load the machine run alone; all others side by side.
static MACHINE: RwLock<()> = RwLock::const_new(());

const MICROS: i64 = 1_000_000;
/// What the payer has: enough for the holds of all calls at once.
const CREDITS: i64 = 100_000 * MICROS;

/// The bridge, with a payer who can afford a load.
async fn bridge() -> World {
    bridge_with(|_| {}).await
}

async fn bridge_with(change: impl FnOnce(&mut Settings)) -> World {
    let people = PEOPLE.replace("credits = \"10.00\"", "credits = \"100000.00\"");
    let quiet = |settings: &mut Settings| {
        // sipp has nothing to say for as long as it likes.
        settings.media.silence_s = 300;
        change(settings);
    };
    World::with(&people, quiet).await
}

/// sipp as the carrier that calls a number which leads straight to a meeting.
fn caller(world: &World, scenario: &'static str) -> Sipp {
    let calls_to = world.node.sip(Transport::Udp);
    Sipp { calls_to, number: DIRECT, ..Sipp::new(scenario, CARRIER) }
}

/// The books after `count` calls in: each written down once, each second of each paid, nothing else paid, nothing held.
async fn charged_once(world: &World, count: usize) -> Vec<UsageRecord> {
    let records = world.records().await;
    assert_eq!(records.len(), count);
    let mut calls: Vec<&str> = records.iter().map(|record| record.call_id.as_str()).collect();
    calls.sort_unstable();
    calls.dedup();
    assert_eq!(calls.len(), count, "each call has one record");
    for record in &records {
        // A cent for each second begun.
        assert_eq!(record.charge.0, record.duration_ms.div_ceil(1_000) as i64 * 10_000, "{record:?}");
        assert!(record.charge.0 > 0 && record.beyond.cause == Cause::HungUp, "{record:?}");
    }
    let balance = world.balance("acme").await;
    let charged: i64 = records.iter().map(|record| record.charge.0).sum();
    assert_eq!((balance.posted.0, balance.held.0), (CREDITS - charged, 0));
    world.audit().await;
    records
}
