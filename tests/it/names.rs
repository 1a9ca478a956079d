//! Carriers by name: a DNS server of our own says where they are.

use crate::standing::{registered, registrar};
use crate::world::{DIRECT, PEOPLE, World, apply};
use hickory_proto::op::{Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, SRV};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UdpSocket;
use tollbridge::cli::phone::Exchange;
use tollbridge::sip::Transport;
use tollbridge::switchboard::ask::Told;
use tollbridge::types::Cause;

const CALLED: &str = "+390699999999";
const SOON: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Zone {
    addresses: BTreeMap<String, Ipv4Addr>,
    /// Priority, port and target, by service.
    services: BTreeMap<String, Vec<(u16, u16, String)>>,
}

/// A DNS server of one zone, all of it good for a second.
pub struct Dns {
    at: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

impl Dns {
    pub async fn start() -> Dns {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let dns = Dns { at: socket.local_addr().unwrap(), zone: Arc::default() };
        let zone = dns.zone.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 4_096];
            while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
                let question = Message::from_vec(&buffer[..length]).unwrap();
                let answer = zone.lock().unwrap().answer(&question);
                socket.send_to(&answer.to_vec().unwrap(), peer).await.unwrap();
            }
        });
        dns
    }

    pub fn host(&self, name: &str, ip: [u8; 4]) {
        self.zone.lock().unwrap().addresses.insert(name.to_owned(), ip.into());
    }

    fn service(&self, name: &str, priority: u16, port: u16, target: &str) {
        let mut zone = self.zone.lock().unwrap();
        zone.services.entry(name.to_owned()).or_default().push((priority, port, target.to_owned()));
    }

    pub async fn world(&self) -> World {
        World::with(PEOPLE, |settings| settings.sip.dns = Some(vec![self.at])).await
    }
}

impl Zone {
    fn answer(&self, question: &Message) -> Message {
        let mut message = Message::new(question.metadata.id, MessageType::Response, OpCode::Query);
        let asked = question.queries[0].clone();
        let name = asked.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
        let record = |data| Record::from_rdata(asked.name().clone(), 1, data);
        match asked.query_type() {
            RecordType::A => {
                message.add_answers(self.addresses.get(&name).map(|ip| record(RData::A(A(*ip)))));
            }
            RecordType::SRV => {
                let services = self.services.get(&name).into_iter().flatten();
                message.add_answers(services.map(|(priority, port, target)| {
                    record(RData::SRV(SRV::new(*priority, 1, *port, Name::from_str(&format!("{target}.")).unwrap())))
                }));
            }
            _ => {}
        }
        if message.answers.is_empty() && !self.addresses.contains_key(&name) {
            message.metadata.response_code = ResponseCode::NXDomain;
        }
        message.add_query(asked);
        message
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_goes_where_the_name_leads_and_on_to_the_next_where_that_is_not_to_be_had() {
    let dns = Dns::start().await;
    let world = dns.world().await;
    let trunk = world.node.sip(Transport::Udp).unwrap();
    let first = Exchange::start(([127, 0, 0, 21], 0).into(), trunk, 9).await.unwrap();
    let second = Exchange::start(([127, 0, 0, 22], 0).into(), trunk, 10).await.unwrap();
    for (priority, host, exchange) in [(20, "b.carrier.example", &second), (10, "a.carrier.example", &first)] {
        let SocketAddr::V4(at) = exchange.local() else { panic!() };
        dns.host(host, at.ip().octets());
        dns.service("_sip._udp.carrier.example", priority, at.port(), host);
    }
    apply(world.node.store(), "[[carrier]]\nid = \"a-named\"\nroute = \"carrier.example\"\n").await;
    let Told::Dialling(leg) = world.dial("open", CALLED).await else { panic!("refused") };
    let ringing = first.incoming(SOON).await.expect("the first by priority");
    ringing.refuse(503);
    let ringing = second.incoming(SOON).await.expect("then the other one");
    ringing.refuse(486);
    world.until(|| async { world.leg(leg).await.state == "over" }).await;
    let over = world.leg(leg).await;
    assert_eq!((over.cause.as_deref(), over.carrier.as_deref()), (Some(Cause::Busy.slug()), Some("a-named")));
    // Whoever had no room is asked last for a while.
    let Told::Dialling(leg) = world.dial("open", CALLED).await else { panic!("refused") };
    second.incoming(SOON).await.expect("the other one first").refuse(486);
    world.until(|| async { world.leg(leg).await.state == "over" }).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_nowhere_costs_nothing_and_the_next_carrier_is_asked() {
    let dns = Dns::start().await;
    let world = dns.world().await;
    apply(world.node.store(), "[[carrier]]\nid = \"a-named\"\nroute = \"tls:nowhere.example\"\n").await;
    apply(world.node.store(), "[[carrier]]\nid = \"b-named\"\nroute = \"udp:nowhere.example\"\n").await;
    let Told::Dialling(leg) = world.dial("open", CALLED).await else { panic!("refused") };
    world.carrier.incoming(SOON).await.expect("by the one that is somewhere").refuse(486);
    world.until(|| async { world.leg(leg).await.state == "over" }).await;
    apply(world.node.store(), "[[carrier]]\nid = \"line\"\nsources = [\"127.0.0.10\"]\n").await;
    let told = world.dial("open", CALLED).await;
    // By the first there is no way, and the second is nowhere: the last that was asked is told.
    assert!(matches!(told, Told::Refused(Cause::Unreachable)), "{told:?}");
    world.end().await;
}

/// What a call to no number of ours is answered: 404 to a carrier, 403 to a stranger.
async fn status(exchange: &Exchange) -> Option<u16> {
    exchange.call("+390611111111", "+390600000000").await.err().map(|ended| ended.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_calls_is_known_by_where_the_name_of_its_source_leads() {
    let dns = Dns::start().await;
    let world = dns.world().await;
    let trunk = world.node.sip(Transport::Udp).unwrap();
    let before = Exchange::start(([127, 0, 0, 23], 0).into(), trunk, 9).await.unwrap();
    let after = Exchange::start(([127, 0, 0, 24], 0).into(), trunk, 10).await.unwrap();
    dns.host("in.carrier.example", [127, 0, 0, 23]);
    apply(world.node.store(), "[[carrier]]\nid = \"named\"\nsources = [\"in.carrier.example\"]\n").await;
    world.until(|| async { status(&before).await == Some(404) }).await;
    let phone = before.call("+390611111111", DIRECT).await.unwrap();
    world.inside("open", 1).await;
    assert_eq!(world.legs().await[0].carrier.as_deref(), Some("named"));
    phone.hang_up();
    assert_eq!(status(&after).await, Some(403), "a stranger");
    dns.host("in.carrier.example", [127, 0, 0, 24]);
    world.until(|| async { status(&after).await == Some(404) }).await;
    assert_eq!(status(&before).await, Some(403), "a stranger by now");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registrar_is_found_by_its_name() {
    let dns = Dns::start().await;
    let world = dns.world().await;
    let (registrar, seen) = registrar().await;
    let SocketAddr::V4(at) = registrar else { panic!() };
    dns.host("registrar.example", at.ip().octets());
    dns.service("_sip._udp.home.example", 1, at.port(), "registrar.example");
    let register = "register = { registrar = \"home.example\", aor = \"sip:12345@home.example\" }\n";
    apply(world.node.store(), &format!("[[carrier]]\nid = \"home\"\n{register}")).await;
    world.until(|| async { registered(&world, "home").await }).await;
    world.end().await;
    assert_eq!(*seen.lock().unwrap(), ["3600", "0"]);
}
