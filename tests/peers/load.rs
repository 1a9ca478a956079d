//! Many calls, and calls over a bad line. `TOLLBRIDGE_TEST_LONG=1` makes the load last a minute, and
//! loses datagrams of a thousand calls rather than of a hundred.

use crate::relay::Relay;
use crate::sipp::Sipp;
use crate::world::{CARRIER, DIRECT};
use crate::{MACHINE, bridge, bridge_with, caller, charged_once};
use std::sync::atomic::Ordering;
use tollbridge::sip::Transport;

const CALLS_PER_SECOND: u32 = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_calls_a_second_and_none_fails() {
    let _turn = MACHINE.write().await;
    let seconds = if is_long() { 60 } else { 10 };
    let world = bridge().await;
    let calls = seconds * CALLS_PER_SECOND;
    let patience_s = u64::from(seconds) + 30;
    let sipp = caller(&world, "call");
    let sipp = Sipp { calls, calls_per_second: CALLS_PER_SECOND, pause_ms: 1_000, patience_s, ..sipp };
    let outcome = sipp.start().all_well().await;
    assert_eq!(outcome.succeeded, u64::from(calls));
    println!(
        "{calls} calls, {CALLS_PER_SECOND} a second: INVITE to 200 p50 {:.1} ms, p99 {:.1} ms, worst {:.1} ms; \
         {} INVITEs and {} other requests came again",
        outcome.setup(0.5),
        outcome.setup(0.99),
        outcome.setup(1.0),
        outcome.repeats("INVITE"),
        outcome.retransmissions - outcome.repeats("INVITE"),
    );
    charged_once(&world, calls as usize).await;
    world.end().await;
}

fn is_long() -> bool {
    std::env::var_os("TOLLBRIDGE_TEST_LONG").is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twentieth_of_all_datagrams_lost_loses_no_call() {
    let _turn = MACHINE.write().await;
    // Long enough for an ACK to be lost three times over; short enough for a gate.
    survive(5, 1_000, 8_000).await;
}

/// So long that an ACK may be lost eight times over. It waits, mostly: a few run beside everything else, a thousand alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenth_of_all_datagrams_lost_loses_no_call() {
    if is_long() {
        let _turn = MACHINE.write().await;
        survive(10, 1_000, 28_000).await;
    } else {
        let _turn = MACHINE.read().await;
        survive(10, 100, 28_000).await;
    }
}

/// So many calls of this length, of whose datagrams so many in a hundred are lost each way: all are set up, ended, and charged
/// once.
async fn survive(percent: u64, calls: u32, pause_ms: u64) {
    let world = bridge().await;
    let bridge = world.node.sip(Transport::Udp).unwrap();
    let relay = Relay::start(CARRIER, bridge, percent as f64 / 100.0, 2_026).await;
    let sipp = Sipp { calls_to: Some(relay.near), ..caller(&world, "lossy") };
    let patience_s = 90 + pause_ms / 1_000;
    let outcome = Sipp { calls, calls_per_second: 60, pause_ms, patience_s, ..sipp }.start().all_well().await;
    assert_eq!(outcome.succeeded, u64::from(calls));
    println!("there: {}; back: {}; sipp sent {} again", relay.there, relay.back, outcome.retransmissions);
    for way in [&relay.there, &relay.back] {
        let (passed, lost) = (way.passed.load(Ordering::Relaxed), way.lost.load(Ordering::Relaxed));
        assert!(lost * 500 > (lost + passed) * percent * 4, "{way}");
    }
    charged_once(&world, calls as usize).await;
    world.end().await;
}

/// Twice what a setting lets in: the rest is told so, and costs nobody anything.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_above_the_pace_is_turned_away_and_the_rest_is_served() {
    const CALLS: u32 = 400;
    const PACE: u32 = 40;
    let _turn = MACHINE.write().await;
    let world = bridge_with(|settings| settings.sip.pace.all = Some(PACE)).await;
    let file = Some(("numbers.csv", format!("SEQUENTIAL\n{DIRECT}\n").into_bytes()));
    let sipp = Sipp { calls: CALLS, calls_per_second: 2 * PACE, file, ..caller(&world, "offered") };
    let outcome = sipp.start().outcome_of_all().await;
    let (taken, refused) = (outcome.setup_ms.len(), outcome.refused_ms.len());
    assert_eq!((outcome.failed, taken + refused), (0, CALLS as usize), "{outcome:?}");
    // Of five seconds, and a second's worth that may come in one burst.
    let most = (PACE * (CALLS / (2 * PACE) + 1)) as usize;
    assert!(taken <= most && taken >= most / 2, "{taken} of {most}");
    charged_once(&world, taken).await;
    world.end().await;
}
