//! A node on IPv6, and on both families: signalling and sound.

use crate::world::{CARRIER, DIRECT, PEOPLE, World, apply, hears, tone};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tollbridge::cli::phone::{CODECS, Exchange, Incoming};
use tollbridge::config::{Listen, Settings};
use tollbridge::sip::Transport;
use tollbridge::switchboard::ask::Told;
use tollbridge::types::Addresses;

const CALLED: &str = "+390699999999";
const SOON: Duration = Duration::from_secs(10);
const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

fn listen_at(settings: &mut Settings, ips: &[IpAddr]) {
    let listen = |transport| ips.iter().map(move |ip| Listen { transport, address: (*ip, 0).into() });
    settings.sip.listen = [Transport::Udp, Transport::Tcp].into_iter().flat_map(listen).collect();
    settings.media.bind = Addresses::new(ips).unwrap();
}

async fn rings(exchange: &Exchange) -> Incoming {
    exchange.incoming(SOON).await.expect("it rings")
}

fn offer(incoming: &Incoming) -> String {
    String::from_utf8(incoming.invitation.offer.clone().unwrap().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_in_over_udp_and_tcp_and_a_call_out_hear_each_other() {
    let world = World::with(PEOPLE, |settings| listen_at(settings, &[V6])).await;
    let by_udp = world.call("+390611111111", DIRECT).await;
    by_udp.say(tone(500));
    let trunk = world.node.sip(Transport::Tcp).unwrap();
    assert!(trunk.is_ipv6());
    let other = Exchange::over(Transport::Tcp, (V6, 0).into(), trunk, CODECS, 8).await.unwrap();
    let by_tcp = other.call("+390622222222", DIRECT).await.unwrap();
    by_tcp.say(tone(700));
    let Told::Dialling(_) = world.dial("open", CALLED).await else { panic!("refused") };
    let incoming = rings(&world.carrier).await;
    let offer = offer(&incoming);
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

/// Each carrier's sound is in the family in which it is spoken to, until a caller goes over to the other one in mid-call.
#[tokio::test(flavor = "multi_thread")]
async fn both_families_are_in_one_meeting() {
    // So much that nobody is warned of its end.
    let people = PEOPLE.replacen("credits = \"10.00\"", "credits = \"1000.00\"", 1);
    let world = World::with(&people, |settings| listen_at(settings, &[V4, V6])).await;
    let trunk = world.node.sip_facing(Transport::Udp, V6).unwrap();
    let six = Exchange::start((V6, 0).into(), trunk, 8).await.unwrap();
    let route = six.local();
    let line = format!("[[carrier]]\nid = \"six\"\nsources = [\"::1\"]\nroute = \"udp:{route}\"\npriority = 10\n");
    apply(world.node.store(), &line).await;
    world.knows(&six).await;

    let by_four = world.call("+390611111111", DIRECT).await;
    by_four.say(tone(500));
    let mut by_six = six.call("+390622222222", DIRECT).await.unwrap();
    by_six.say(tone(700));
    let sound = [&by_four, &by_six].map(|phone| phone.far_sound().unwrap().ip());
    assert_eq!(sound, [V4, V6]);

    // The first carrier has no room for the second call: the next one is offered its own family, over the same port.
    let all = [500, 700, 900];
    for (exchange, ip) in [(&six, "IP6 ::1"), (&world.carrier, "IP4 127.0.0.1")] {
        let Told::Dialling(_) = world.dial("open", CALLED).await else { panic!("refused") };
        if ip.starts_with("IP4") {
            rings(&six).await.refuse(503);
        }
        let incoming = rings(exchange).await;
        let offer = offer(&incoming);
        assert!(offer.contains(&format!("c=IN {ip}\r\n")) && offer.lines().nth(1).unwrap().ends_with(ip), "{offer}");
        let called = incoming.answer().await.unwrap();
        called.say(tone(900));
        world.inside("open", 3).await;
        assert_eq!(hears(&by_four, &all).await, [700, 900], "{ip}");
        assert_eq!(hears(&by_six, &all).await, [500, 900], "{ip}");
        assert_eq!(hears(&called, &all).await, [500, 700], "{ip}");
        called.hang_up();
        world.inside("open", 2).await;
    }

    for ip in [V4, V6] {
        by_six.move_to(ip).await.unwrap();
        assert_eq!(by_six.far_sound().unwrap().ip(), ip);
        by_six.say(tone(700));
        assert_eq!(hears(&by_six, &all).await, [500], "{ip}");
        assert_eq!(hears(&by_four, &all).await, [700], "{ip}");
    }
    by_four.hang_up();
    by_six.hang_up();
    world.end().await;
}

/// RFC 3261 section 20.43: 301, incompatible network address formats.
#[tokio::test(flavor = "multi_thread")]
async fn a_family_that_there_is_no_address_of_is_refused_and_the_call_goes_on_as_it_was() {
    let world = World::start().await;
    let trunk = world.node.sip(Transport::Udp).unwrap();
    let socket = UdpSocket::bind((IpAddr::from(CARRIER), 0)).await.unwrap();
    let local = socket.local_addr().unwrap();
    let sdp = "v=0\r\no=- 1 1 IN IP6 ::1\r\ns=-\r\nc=IN IP6 ::1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n";
    let invite = format!(
        "INVITE sip:{DIRECT}@{trunk} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKsix\r\nMax-Forwards: 70\r\n\
        From: <sip:+390611111111@{local}>;tag=six\r\nTo: <sip:{DIRECT}@{trunk}>\r\nCall-ID: six\r\nCSeq: 1 INVITE\r\n\
        Contact: <sip:{local}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    );
    socket.send_to(invite.as_bytes(), trunk).await.unwrap();
    let mut bytes = [0; 2_000];
    let said = loop {
        let length = tokio::time::timeout(SOON, socket.recv(&mut bytes)).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&bytes[..length]);
        if !said.starts_with("SIP/2.0 1") {
            break said;
        }
    };
    assert!(said.starts_with("SIP/2.0 488 ") && said.contains("\r\nWarning: 301 "), "{said}");

    let mut moving = world.call("+390611111111", DIRECT).await;
    let other = world.call("+390622222222", DIRECT).await;
    moving.say(tone(500));
    other.say(tone(700));
    world.inside("open", 2).await;
    assert_eq!(moving.move_to(V6).await.unwrap_err().status, 488);
    assert_eq!(hears(&moving, &[500, 700]).await, [700]);
    assert_eq!(hears(&other, &[500, 700]).await, [500]);
    moving.hang_up();
    other.hang_up();
    world.end().await;
}
