//! Many calls, and calls over a bad line. `TOLLBRIDGE_TEST_LONG=1` makes the load last a minute.

use crate::relay::Relay;
use crate::sipp::Sipp;
use crate::world::CARRIER;
use crate::{MACHINE, bridge, caller, charged_once};
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
