//! Many calls, and calls over a bad line. `TOLLBRIDGE_TEST_LONG=1` makes the load last a minute.

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
    let seconds = if std::env::var_os("TOLLBRIDGE_TEST_LONG").is_some() { 60 } else { 10 };
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

#[tokio::test(flavor = "multi_thread")]
async fn a_twentieth_of_all_datagrams_lost_loses_no_call() {
    const CALLS: u32 = 1_000;
    let _turn = MACHINE.write().await;
    let world = bridge().await;
    let relay = Relay::start(CARRIER, world.node.sip(Transport::Udp).unwrap(), 0.05, 2_026).await;
    let sipp = Sipp { calls_to: Some(relay.near), ..caller(&world, "lossy") };
    // Long enough for an ACK to be lost three times over; short enough for a gate.
    let sipp = Sipp { calls: CALLS, calls_per_second: 60, pause_ms: 8_000, patience_s: 90, ..sipp };
    let outcome = sipp.start().all_well().await;
    assert_eq!(outcome.succeeded, u64::from(CALLS));
    println!("there: {}; back: {}; sipp sent {} again", relay.there, relay.back, outcome.retransmissions);
    for way in [&relay.there, &relay.back] {
        let (passed, lost) = (way.passed.load(Ordering::Relaxed), way.lost.load(Ordering::Relaxed));
        assert!(lost * 100 > (lost + passed) * 4, "{way}");
    }
    charged_once(&world, CALLS as usize).await;
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
