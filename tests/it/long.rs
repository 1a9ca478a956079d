//! INVITEs that are too long for a datagram.

use crate::names::Dns;
use crate::world::{World, apply};
use std::net::SocketAddr;
use std::time::Duration;
use tollbridge::cli::phone::{CODECS, Exchange, Incoming};
use tollbridge::sip::Transport;
use tollbridge::switchboard::ask::Told;
use tollbridge::types::{Cause, LegId};

const CALLED: &str = "+390699999999";
const SOON: Duration = Duration::from_secs(10);

const NAME: &str = "a-session-border-controller-with-a-long-name.carrier.example";

/// A carrier before all others whose INVITEs are long: a name stands in them twice, and keys of three ciphers.
async fn route(world: &World, route: &str) {
    let text =
        format!("[[carrier]]\nid = \"a-long\"\nsources = [\"127.0.0.31\"]\nroute = \"{route}\"\nsrtp = \"offered\"\n");
    apply(world.node.store(), &text).await;
}

async fn rings(world: &World, exchange: &Exchange) -> (LegId, Incoming) {
    let Told::Dialling(leg) = world.dial("open", CALLED).await else { panic!("refused") };
    (leg, exchange.incoming(SOON).await.expect("it rings"))
}

async fn is_over(world: &World, leg: LegId) {
    world.until(|| async { world.leg(leg).await.state == "over" }).await;
    let over = world.leg(leg).await;
    assert_eq!((over.cause.as_deref(), over.carrier.as_deref()), (Some(Cause::Busy.slug()), Some("a-long")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_long_goes_by_tcp_and_by_udp_where_that_is_not_taken() {
    let dns = Dns::start().await;
    dns.host(NAME, [127, 0, 0, 31]);
    let world = dns.world().await;
    let trunk = world.node.sip(Transport::Udp).unwrap();
    let at: SocketAddr = ([127, 0, 0, 31], 0).into();
    let by_udp = Exchange::start(at, trunk, 9).await.unwrap();
    let peer = by_udp.local();
    route(&world, &format!("udp:{NAME}:{}", peer.port())).await;
    let (leg, incoming) = rings(&world, &by_udp).await;
    assert_eq!(incoming.invitation.flow.transport, Transport::Udp, "nobody takes TCP there");
    incoming.refuse(486);
    is_over(&world, leg).await;

    let by_tcp =
        Exchange::over(Transport::Tcp, peer, world.node.sip(Transport::Tcp).unwrap(), CODECS, 10).await.unwrap();
    let (leg, incoming) = rings(&world, &by_tcp).await;
    assert_eq!(incoming.invitation.flow.transport, Transport::Tcp);
    incoming.refuse(486);
    is_over(&world, leg).await;

    route(&world, &format!("udp-only:{NAME}:{}", peer.port())).await;
    let (leg, incoming) = rings(&world, &by_udp).await;
    incoming.refuse(486);
    is_over(&world, leg).await;
    world.end().await;
}
