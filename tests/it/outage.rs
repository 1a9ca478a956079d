//! The database is gone for a while under many live calls: who has paid talks on, who has not is not let in, and when it is
//! back every leg is charged once.

use crate::bridge::schema;
use crate::wire::Wire;
use crate::world::{DIRECT, PEOPLE, World, apply};
use std::time::{Duration, Instant};
use tollbridge::cli::phone::Phone;
use tollbridge::types::{Cause, Micros};

/// Live calls; they say nothing (this is about the books), which their own limit of 30 s of silence allows.
const CALLS: usize = 200;

/// Five cents each at a cent a second: so long do these talk, whatever the books do.
const BRIEF: &str = "+390687654323";

/// How long the server is away. `TOLLBRIDGE_TEST_LONG=1`: half a minute.
fn away() -> Duration {
    Duration::from_secs(if std::env::var_os("TOLLBRIDGE_TEST_LONG").is_some() { 30 } else { 7 })
}

/// Two hundred telephones are enough for one machine.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn outage(silent: bool) {
    let _turn = TURN.lock().await;
    let url = schema().await;
    let wire = Wire::to(&url).await;
    let people = PEOPLE.replace("credits = \"10.00\"", "credits = \"1000.00\"");
    let world = World::with(&people.replace("credits = \"0.07\"", "credits = \"0.05\""), |settings| {
        settings.store_url = wire.url(&url);
        settings.media.silence_s = 120;
    })
    .await;
    let mut live: Vec<Phone> = Vec::new();
    while live.len() < CALLS {
        let few = live.len()..live.len() + 20;
        let calls = few.map(|n| {
            let carrier = world.carrier.clone();
            tokio::spawn(async move { carrier.call(&format!("+3906{n:08}"), DIRECT).await })
        });
        for call in calls.collect::<Vec<_>>() {
            live.push(call.await.unwrap().unwrap_or_else(|ended| panic!("{ended}")));
        }
    }
    let mut brief = world.call("+390700000000", BRIEF).await;
    let began = Instant::now();
    if silent {
        wire.fall_silent();
    } else {
        wire.pull_out();
    }
    // Nobody is let in, and everybody is told so before long.
    let mut refused = 0;
    while began.elapsed() < away() {
        let asked = Instant::now();
        let ended = world.refused(&format!("+3908{refused:08}"), DIRECT).await;
        assert_eq!(ended.status, Cause::StoreDown.sip(), "{ended}");
        assert!(asked.elapsed() <= Duration::from_secs(1), "{:?}", asked.elapsed());
        // Some hang up meanwhile: their accounts are closed when the books are back.
        if let Some(phone) = live.pop() {
            phone.hang_up();
        }
        refused += 1;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let ended = brief.ended(Duration::from_secs(5)).await.expect("whose money is used up has ended");
    assert_eq!(ended.reason.unwrap().text, Cause::CreditGone.words());
    // All others talk on.
    for phone in &mut live {
        assert!(phone.ended(Duration::from_millis(1)).await.is_none(), "a call was dropped that had paid");
    }
    wire.mend();
    let back = Instant::now();
    world
        .until(|| async {
            let late = world.carrier.call("+390900000000", DIRECT).await;
            late.map(|phone| phone.hang_up()).is_ok()
        })
        .await;
    assert!(back.elapsed() < Duration::from_secs(10), "{:?}", back.elapsed());
    for phone in &live {
        phone.hang_up();
    }
    let records = world.records().await;
    let charged = |cause: Cause| records.iter().filter(move |r| r.beyond.cause == cause && r.charge > Micros::ZERO);
    assert!(charged(Cause::HungUp).count() >= CALLS, "each leg is charged, once: {}", records.len());
    assert_eq!(charged(Cause::CreditGone).map(|r| r.charge.0).collect::<Vec<_>>(), [50_000]);
    for record in &records {
        assert_eq!(record.charge.0, record.duration_ms.div_ceil(1_000) as i64 * 10_000, "{record:?}");
    }
    // People can be applied again, too.
    apply(world.node.store(), "[[organisation]]\nid = \"late\"\ncountry = \"IT\"\n").await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_ends_no_call_that_has_paid_and_lets_none_in() {
    outage(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_swallows_everything_ends_no_call_that_has_paid_and_lets_none_in() {
    outage(true).await;
}
