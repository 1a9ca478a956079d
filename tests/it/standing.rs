//! Carriers that are there, or not; and our registrations with them.

use crate::world::{DIRECT, World, apply};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UdpSocket;
use tollbridge::cli::phone::Exchange;
use tollbridge::notice::Kind;
use tollbridge::sip::{Framing, Message, Response, Transport};
use tollbridge::switchboard::ask::{Ask, CarrierView, Told};
use tollbridge::types::Cause;

const CALLED: &str = "+390699999999";
const SOON: Duration = Duration::from_secs(10);

/// `None` until the switchboard has heard of it.
async fn known(world: &World, carrier: &str) -> Option<CarrierView> {
    let Told::Carriers(carriers) = world.ask(Ask::Carriers).await else { panic!("no carriers") };
    carriers.into_iter().find(|known| known.id == carrier)
}

async fn standing(world: &World, carrier: &str) -> CarrierView {
    known(world, carrier).await.unwrap()
}

async fn alerts(world: &World, kind: Kind) -> usize {
    let shown = world.node.store().alerts(None, 100).await.unwrap();
    shown.alerts.iter().filter(|view| view.alert.kind == kind).count()
}

async fn reaches(world: &World, carrier: &str, reach: &str) {
    let is_there = || async { known(world, carrier).await.is_some_and(|known| known.reach.as_deref() == Some(reach)) };
    world.until(is_there).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_does_not_answer_has_no_calls_until_it_does() {
    let world = World::start().await;
    assert_eq!(standing(&world, "line").await.reach, None, "nobody asks");
    let trunk = world.node.sip(Transport::Udp).unwrap();
    let first = Exchange::start(([127, 0, 0, 11], 0).into(), trunk, 9).await.unwrap();
    let route = first.local();
    // In the order of the directory it is asked before the other one.
    let text =
        format!("[[carrier]]\nid = \"a-first\"\nsources = [\"127.0.0.11\"]\nroute = \"udp:{route}\"\nping_s = 1\n");
    apply(world.node.store(), &text).await;
    reaches(&world, "a-first", "up").await;
    drop(first);
    reaches(&world, "a-first", "down").await;
    let Told::Dialling(leg) = world.dial("open", CALLED).await else { panic!("refused") };
    world.carrier.incoming(SOON).await.expect("it rings at once by the other one").refuse(486);
    world.until(|| async { world.leg(leg).await.state == "over" }).await;
    assert_eq!(world.leg(leg).await.cause.as_deref(), Some(Cause::Busy.slug()));
    let back = Exchange::start(route, trunk, 10).await.unwrap();
    reaches(&world, "a-first", "up").await;
    let Told::Dialling(leg) = world.dial("open", CALLED).await else { panic!("refused") };
    back.incoming(SOON).await.expect("it has calls again").refuse(486);
    world.until(|| async { world.leg(leg).await.state == "over" }).await;
    // Where there is no other one, the call is refused before it costs anything.
    drop(back);
    apply(world.node.store(), "[[carrier]]\nid = \"line\"\nsources = [\"127.0.0.10\"]\n").await;
    reaches(&world, "a-first", "down").await;
    let told = world.dial("open", CALLED).await;
    assert!(matches!(told, Told::Refused(Cause::Unreachable)), "{told:?}");
    // Changed while it is down it is asked anew, found as it was, and told of once.
    let since = standing(&world, "a-first").await.reach_since;
    apply(world.node.store(), &text.replace("ping_s = 1", "ping_s = 1\nmax_calls = 3")).await;
    let other = text.replace("a-first", "b-second").replace("127.0.0.11", "127.0.0.13");
    apply(world.node.store(), &other).await;
    reaches(&world, "b-second", "down").await;
    assert_eq!(standing(&world, "a-first").await.reach_since, since);
    // Twice of this one, which came back between, and once of the other.
    world.until(|| async { alerts(&world, Kind::CarrierDown).await >= 3 }).await;
    assert_eq!(alerts(&world, Kind::CarrierDown).await, 3);
    world.end().await;
}

/// A registrar that takes whatever comes, and what came: Expires, in their order.
pub async fn registrar() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let socket = UdpSocket::bind("127.0.0.12:0").await.unwrap();
    let (local, seen) = (socket.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let told = seen.clone();
    tokio::spawn(async move {
        let mut buffer = vec![0; 65_535];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let bytes = Bytes::copy_from_slice(&buffer[..length]);
            let Ok(Message::Request(request)) = Message::parse(&bytes, Framing::Datagram) else { continue };
            let expires = request.header("Expires").unwrap_or_default().to_owned();
            let mut response = Response::to(&request, 200, "");
            response.set_to_tag("registrar");
            response.push("Expires", &expires);
            told.lock().unwrap().push(expires);
            socket.send_to(&response.to_bytes(), peer).await.unwrap();
        }
    });
    (local, seen)
}

pub async fn registered(world: &World, carrier: &str) -> bool {
    known(world, carrier).await.is_some_and(|known| known.registration.as_deref() == Some("registered"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registrars_calls_come_to_our_name_and_the_registration_goes_with_us() {
    let world = World::start().await;
    let (registrar, seen) = registrar().await;
    let register = format!("register = {{ registrar = \"udp:{registrar}\", aor = \"sip:12345@home.example\" }}\n");
    let number = "[[number]]\ne164 = \"+390687654321\"\nkind = \"toll\"\ncountry = \"IT\"\nlanguages = [\"en\"]\n\
        organisation = \"acme\"\nmeeting = \"open\"\nalias = \"12345\"\n";
    apply(world.node.store(), &format!("{number}[[carrier]]\nid = \"home\"\n{register}")).await;
    world.until(|| async { registered(&world, "home").await }).await;
    assert_eq!(*seen.lock().unwrap(), ["3600"]);
    let trunk = world.node.sip(Transport::Udp).unwrap();
    let home = Exchange::start((registrar.ip(), 0).into(), trunk, 9).await.unwrap();
    // To our name, and to the number that was called: we have one registration there, and it is that one's call.
    for called in ["12345", DIRECT] {
        let phone = home.call("+390611111111", called).await.unwrap();
        world.inside("open", 1).await;
        assert_eq!(world.legs().await[0].carrier.as_deref(), Some("home"), "{called}");
        phone.hang_up();
        world.inside("open", 0).await;
    }
    let records = world.records().await;
    let by = records.iter().filter_map(|record| record.beyond.carrier.as_ref().map(|carrier| carrier.as_str()));
    assert_eq!(by.collect::<Vec<_>>(), ["home", "home"]);
    // With two, a call that names neither is nobody's.
    let second = register.replace("12345", "67890");
    apply(world.node.store(), &format!("[[carrier]]\nid = \"second\"\n{second}")).await;
    world
        .until(|| async { home.call("+390611111111", DIRECT).await.err().map(|ended| ended.status) == Some(404) })
        .await;
    world.until(|| async { registered(&world, "second").await }).await;
    world.end().await;
    assert_eq!(*seen.lock().unwrap(), ["3600", "3600", "0", "0"]);
}
