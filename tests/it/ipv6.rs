//! A node on IPv6: signalling and sound.

use crate::world::{DIRECT, PEOPLE, World, hears, tone};
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;
use tollbridge::cli::phone::Exchange;
use tollbridge::config::Listen;
use tollbridge::sip::Transport;
use tollbridge::switchboard::ask::Told;

const CALLED: &str = "+390699999999";
const SOON: Duration = Duration::from_secs(10);

/// A node that listens on `[::1]` alone.
async fn world() -> World {
    World::with(PEOPLE, |settings| {
        let address = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
        settings.sip.listen = [Transport::Udp, Transport::Tcp].map(|transport| Listen { transport, address }).to_vec();
        settings.media.bind = address.ip();
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_in_over_udp_and_tcp_and_a_call_out_hear_each_other() {
    let world = world().await;
    let by_udp = world.call("+390611111111", DIRECT).await;
    by_udp.say(tone(500));
    let trunk = world.node.sip(Transport::Tcp).unwrap();
    assert!(trunk.is_ipv6());
    let codecs = &[tollbridge::media::Codec::Pcma];
    let other = Exchange::over(Transport::Tcp, (Ipv6Addr::LOCALHOST, 0).into(), trunk, codecs, 8).await.unwrap();
    let by_tcp = other.call("+390622222222", DIRECT).await.unwrap();
    by_tcp.say(tone(700));
    let Told::Dialling(_) = world.dial("open", CALLED).await else { panic!("refused") };
    let incoming = world.carrier.incoming(SOON).await.expect("it rings");
    let offer = String::from_utf8(incoming.invitation.offer.clone().unwrap().to_vec()).unwrap();
    assert!(offer.contains("c=IN IP6 ::1\r\n"), "{offer}");
    let called = incoming.answer().await.unwrap();
    called.say(tone(900));
    world.inside("open", 3).await;
    let all = [500, 700, 900];
    assert_eq!(hears(&by_udp, &all).await, [700, 900]);
    assert_eq!(hears(&by_tcp, &all).await, [500, 900]);
    assert_eq!(hears(&called, &all).await, [500, 700]);
    for phone in [by_udp, by_tcp, called] {
        phone.hang_up();
    }
    world.end().await;
}
