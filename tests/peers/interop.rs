//! What carriers try before they sign: sipp as the carrier, one scenario a line of their plans, both ways.

use crate::outgoing::{CALLED, called};
use crate::sipp::Sipp;
use crate::world::CARRIER;
use crate::{CREDITS, MACHINE, bridge, caller, charged_once};
use std::time::Duration;
use tollbridge::switchboard::ask::Told;
use tollbridge::types::Cause;

/// Calls of each kind.
const CALLS: u32 = 3;

/// Calls that are up in the end, and paid.
#[tokio::test(flavor = "multi_thread")]
async fn calls_of_every_kind_are_taken_and_paid() {
    let _turn = MACHINE.read().await;
    let kinds = ["late_offer", "reliable", "refresh", "too_short", "fax", "slow_packets", "anonymous", "twice"];
    let world = bridge().await;
    let start = |kind| Sipp { calls: CALLS, pause_ms: 600, ..caller(&world, kind) }.start();
    for (kind, sipp) in kinds.map(|kind| (kind, start(kind))) {
        assert_eq!(sipp.all_well().await.succeeded, u64::from(CALLS), "{kind}");
    }
    let records = charged_once(&world, kinds.len() * CALLS as usize).await;
    let hidden = records.iter().filter(|record| record.caller.is_none()).count();
    assert_eq!(hidden, CALLS as usize, "who does not want to be shown is not: {records:#?}");
    world.end().await;
}

/// Calls that get no leg, and cost nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_none_of_ours_is_refused_and_costs_nothing() {
    let _turn = MACHINE.read().await;
    let world = bridge().await;
    let sipp = Sipp { calls: 3, ..caller(&world, "unspeakable") }.start();
    assert_eq!(sipp.all_well().await.succeeded, 3);
    let numbers = [
        ("404", "+390655555555"), // ours might be, and is not
        ("404", "+15550100"),
        ("404", "alice"),
        ("404", "0"),
        ("403", "112"), // nobody who needs help may end here
        ("403", "911"),
        ("403", "999"),
    ];
    for (status, number) in numbers {
        let sipp = Sipp { number, status, ..caller(&world, "not_ours") }.start();
        assert_eq!(sipp.all_well().await.succeeded, 1, "{number}");
    }
    assert!(world.records().await.iter().all(|record| record.charge.0 == 0));
    let balance = world.balance("acme").await;
    assert_eq!((balance.posted.0, balance.held.0), (CREDITS, 0));
    world.end().await;
}

/// Phones that are heard before they pick up, and that want to know that they were.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_heard_before_the_answer_is_free() {
    let _turn = MACHINE.read().await;
    for kind in ["early", "reliable_answer"] {
        let world = bridge().await;
        let sipp = called(&world, Sipp { pause_ms: 1_500, calls: 1, ..Sipp::new(kind, CARRIER) }).await;
        let started = std::time::Instant::now();
        let told = world.dial("open", CALLED).await;
        assert!(matches!(told, Told::Dialling(_)), "{told:?}");
        assert_eq!(sipp.all_well().await.succeeded, 1, "{kind}");
        let whole = started.elapsed();
        let records = world.records().await;
        assert_eq!(records.len(), 1, "{kind}");
        let record = &records[0];
        assert_eq!(record.beyond.cause, Cause::HungUp, "{kind}");
        let talked = Duration::from_millis(record.duration_ms);
        assert!(kind != "early" || talked + Duration::from_millis(1_400) < whole, "{talked:?} of {whole:?}");
        assert_eq!(record.charge.0, 50_000 + record.duration_ms.div_ceil(1_000) as i64 * 30_000, "{kind}: {record:?}");
        world.end().await;
    }
}
