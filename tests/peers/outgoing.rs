//! sipp is the carrier that the bridge calls out by.

use crate::sipp::{Running, Sipp};
use crate::world::{CARRIER, World, apply};
use crate::{MACHINE, bridge, bridge_with};
use std::net::IpAddr;
use tollbridge::cli::phone::Exchange;
use tollbridge::sip::Transport;
use tollbridge::switchboard::ask::Told;
use tollbridge::types::Cause;

/// A source that becomes known at the moment when the route does.
const WITNESS: [u8; 4] = [127, 0, 0, 11];
pub const CALLED: &str = "+390699999999";
const CALLS: u32 = 10;

/// sipp, listening, and the carrier's route leads to it.
pub async fn called(world: &World, sipp: Sipp) -> Running {
    called_with(world, sipp, "").await
}

/// The same, and more that is known of the carrier.
async fn called_with(world: &World, sipp: Sipp, more: &str) -> Running {
    let sipp = sipp.start().listening().await;
    let (source, route) = (IpAddr::from(CARRIER), sipp.local);
    let witness = Exchange::start((WITNESS, 0).into(), world.node.sip(Transport::Udp).unwrap(), 9).await.unwrap();
    let sources = format!("sources = [\"{source}\", \"{}\"]", witness.local().ip());
    apply(world.node.store(), &format!("[[carrier]]\nid = \"line\"\n{sources}\nroute = \"udp:{route}\"\n{more}")).await;
    world.until(|| async { witness.call(CALLED, CALLED).await.err().map(|ended| ended.status) == Some(404) }).await;
    sipp
}

/// Has the bridge call, and gives what came of each call.
async fn dial(world: &World, sipp: Running) -> Vec<Cause> {
    for _ in 0..CALLS {
        let told = world.dial("open", CALLED).await;
        assert!(matches!(told, Told::Dialling(_)), "{told:?}");
    }
    assert_eq!(sipp.all_well().await.succeeded, u64::from(CALLS));
    let records = world.records().await;
    assert!(records.iter().all(|record| record.destination.to_string() == CALLED));
    records.iter().map(|record| record.beyond.cause).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_picks_up_and_hangs_up() {
    let _turn = MACHINE.read().await;
    let world = bridge().await;
    let sipp = called(&world, Sipp { calls: CALLS, pause_ms: 1_500, ..Sipp::new("answer", CARRIER) }).await;
    assert_eq!(dial(&world, sipp).await, [Cause::HungUp; CALLS as usize]);
    for record in world.records().await {
        // Three cents for each second begun, and five for the connection.
        assert_eq!(record.charge.0, 50_000 + record.duration_ms.div_ceil(1_000) as i64 * 30_000, "{record:?}");
        assert_eq!(record.beyond.codec.as_deref(), Some("PCMU"), "it chose the second of our codecs");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_asks_for_a_password_and_picks_up() {
    let _turn = MACHINE.read().await;
    let world = bridge().await;
    let proof = crate::digest::digest(&world, "off");
    let sipp =
        called_with(&world, Sipp { calls: CALLS, pause_ms: 1_500, ..Sipp::new("challenge", CARRIER) }, &proof).await;
    assert_eq!(dial(&world, sipp).await, [Cause::HungUp; CALLS as usize]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_refuses() {
    let _turn = MACHINE.read().await;
    let refusals = [("486 Busy Here", Cause::Busy), ("603 Decline", Cause::Declined)];
    for (status, cause) in refusals {
        let world = bridge().await;
        let sipp = Sipp { calls: CALLS, status, ..Sipp::new("refuse", CARRIER) };
        let sipp = called(&world, sipp).await;
        assert_eq!(dial(&world, sipp).await, [cause; CALLS as usize]);
        assert!(world.records().await.iter().all(|record| record.charge.0 == 0));
        world.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_picks_up() {
    let _turn = MACHINE.read().await;
    let world = bridge_with(|settings| settings.meeting.ring_s = 2).await;
    let sipp = called(&world, Sipp { calls: CALLS, ..Sipp::new("ring_out", CARRIER) }).await;
    assert_eq!(dial(&world, sipp).await, [Cause::NoAnswer; CALLS as usize]);
    assert!(world.records().await.iter().all(|record| record.charge.0 == 0));
    world.end().await;
}
