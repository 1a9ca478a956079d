//! What carriers try before they sign: sipp as the carrier, one scenario a line of their plans, both ways.

use crate::outgoing::{CALLED, called};
use crate::sipp::Sipp;
use crate::world::CARRIER;
use crate::{CREDITS, MACHINE, bridge, caller, charged_once};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};
use tokio::net::UdpSocket;
use tollbridge::switchboard::ask::Told;
use tollbridge::types::Cause;

/// Calls of each kind.
const CALLS: u32 = 3;

/// Calls that are up in the end, and paid.
#[tokio::test(flavor = "multi_thread")]
async fn calls_of_every_kind_are_taken_and_paid() {
    let _turn = MACHINE.read().await;
    let kinds = ["late_offer", "reliable", "refresh", "too_short", "fax", "anonymous", "numberless", "twice"];
    let world = bridge().await;
    let start = |kind| Sipp { calls: CALLS, pause_ms: 600, ..caller(&world, kind) }.start();
    for (kind, sipp) in kinds.map(|kind| (kind, start(kind))) {
        assert_eq!(sipp.all_well().await.succeeded, u64::from(CALLS), "{kind}");
    }
    let records = charged_once(&world, kinds.len() * CALLS as usize).await;
    let hidden = records.iter().filter(|record| record.caller.is_none()).count();
    assert_eq!(
        hidden,
        2 * CALLS as usize,
        "who does not want to be shown is not, and who has no number has none: {records:#?}"
    );
    world.end().await;
}

/// A call of this kind whose port for sound is ours: the packets that the bridge sends there, in order, each with its moment.
async fn packets_of(kind: &'static str) -> Vec<(Duration, Vec<u8>)> {
    let world = bridge().await;
    let socket = UdpSocket::bind((Ipv4Addr::from(CARRIER), 0)).await.unwrap();
    let port: &'static str = socket.local_addr().unwrap().port().to_string().leak();
    let sipp = Sipp { status: port, pause_ms: 1_000, ..caller(&world, kind) }.start();
    let (began, mut packets, mut buffer) = (Instant::now(), Vec::new(), [0; 2_048]);
    let over = sipp.all_well();
    tokio::pin!(over);
    loop {
        tokio::select! {
            outcome = &mut over => break assert_eq!(outcome.succeeded, 1, "{kind}"),
            length = socket.recv(&mut buffer) => packets.push((began.elapsed(), buffer[..length.unwrap()].to_vec())),
        }
    }
    charged_once(&world, 1).await;
    world.end().await;
    packets
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_is_asked_of_us_in_mid_call_keeps_to_what_was_agreed() {
    let _turn = MACHINE.read().await;
    let packets = packets_of("late_reoffer").await;
    assert!(packets.len() > 100, "{} packets in three seconds", packets.len());
    assert!(packets.iter().all(|(_, packet)| packet[1] & 0x7f == 111), "Opus, by their number");
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_are_as_long_as_a_carrier_asks() {
    let _turn = MACHINE.read().await;
    let packets = packets_of("slow_packets").await;
    assert!(packets.len() > 25, "{} packets of 30 ms in a second", packets.len());
    let stamp = |packet: &[u8]| u32::from_be_bytes(packet[4..8].try_into().unwrap());
    for pair in packets.windows(2) {
        let [(_, one), (_, next)] = pair else { unreachable!() };
        assert_eq!((one.len(), next.len()), (12 + 240, 12 + 240));
        assert_eq!(stamp(next).wrapping_sub(stamp(one)), 240);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_whoever_holds_by_an_address_of_zeros() {
    let _turn = MACHINE.read().await;
    let packets = packets_of("old_hold").await;
    let gaps = packets.windows(2).map(|pair| pair[1].0 - pair[0].0);
    let longest = gaps.max().unwrap_or_default();
    assert!(longest > Duration::from_millis(800), "{longest:?} without a packet in a second of hold");
    let after = packets.iter().filter(|(at, _)| *at > packets[0].0 + Duration::from_millis(2_200)).count();
    assert!(after > 10, "{after} packets after it");
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
