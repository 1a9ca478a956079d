//! Names: where calls, peers and requests within a call go, and who sends.

use super::*;
use crate::sip::dns::{Answer, Failure, Kind, Local, Outcome, Place, Question, Record};
use crate::sip::peer::{Peer, Registration, Standing, Toward};
use crate::types::HostName;
use std::net::IpAddr;
use std::sync::Arc;

const CARRIER: &str = "carrier.example";

fn place(transport: Option<Transport>, port: Option<u16>) -> Arc<Place> {
    let local = |transport: Transport| Local { transport, bound: address(0), contact: address(0) };
    let locals = [Transport::Udp, Transport::Tcp, Transport::Tls].map(local).to_vec();
    Arc::new(Place { host: CARRIER.parse().unwrap(), port, transport, locals, tls_name: Arc::from(CARRIER) })
}

fn peer(last: u8, port: u16) -> SocketAddr {
    ([192, 0, 2, last], port).into()
}

fn said(ttl_s: u64, records: Vec<Record>) -> Outcome {
    Ok(Answer { records, ttl: Duration::from_secs(ttl_s) })
}

fn at(last: &[u8]) -> Vec<Record> {
    last.iter().map(|last| Record::Address(IpAddr::from([192, 0, 2, *last]))).collect()
}

impl Bench {
    /// DNS answers all that is asked: addresses of hosts as given, services of none, for a minute.
    fn dns(&mut self, hosts: &[(&str, &[u8])]) -> Vec<String> {
        let mut asked = Vec::new();
        while let Some(question) = self.asked.pop() {
            let known = hosts.iter().find(|(host, _)| question.kind == Kind::A && *host == question.name);
            let outcome = said(60, known.map(|(_, last)| at(last)).unwrap_or_default());
            asked.push(question.to_string());
            self.endpoint.looked_up(self.now, question, outcome);
            self.drain();
        }
        asked
    }

    /// DNS fails.
    fn no_dns(&mut self) {
        while let Some(question) = self.asked.pop() {
            self.endpoint.looked_up(self.now, question, Err(Failure::Silent));
            self.drain();
        }
    }

    fn located(&mut self) -> Vec<String> {
        let told = std::mem::take(&mut self.events).into_iter().map(|event| match event {
            Event::Located { ways, .. } => {
                let text = |way: &Way| format!("{}:{}", way.flow.transport.name(), way.flow.peer);
                ways.iter().map(text).collect::<Vec<_>>().join(" ")
            }
            other => panic!("{other:?}"),
        });
        told.collect()
    }

    /// Of 192.0.2.2 and 192.0.2.3, in whichever order they were drawn.
    fn located_two(&mut self) -> [u8; 2] {
        let of = |way: &str| match way {
            "udp:192.0.2.2:5070" => 2,
            "udp:192.0.2.3:5070" => 3,
            other => panic!("{other}"),
        };
        let [both] = &self.located()[..] else { panic!() };
        let both: Vec<u8> = both.split(' ').map(of).collect();
        both.try_into().unwrap()
    }

    fn last_flow(&self) -> Flow {
        self.sent.last().expect("something went out").0
    }
}

#[test]
fn a_call_can_go_where_the_name_leads_and_who_is_silent_comes_last() {
    let mut bench = Bench::new();
    let locate = || Command::Locate { call: Call::outbound(7), place: place(Some(Transport::Udp), Some(5070)) };
    bench.command(locate());
    assert!(bench.events.is_empty());
    assert_eq!(bench.dns(&[(CARRIER, &[2, 3])]), ["A carrier.example"]);
    let [first, second] = bench.located_two();
    assert_eq!(first + second, 5, "both");
    // The first does not answer.
    let mut call = dial(&mut StdRng::seed_from_u64(4), 7, 60_000);
    call.flow.peer = peer(first, 5070);
    bench.command(Command::Dial(Box::new(call)));
    bench.pass(Duration::from_secs(33));
    assert_eq!(bench.told(), ["Failed 408"]);
    bench.command(locate());
    assert_eq!(bench.located_two(), [second, first]);
    // The other has no room.
    let mut call = dial(&mut StdRng::seed_from_u64(5), 8, 60_000);
    call.flow.peer = peer(second, 5070);
    bench.command(Command::Dial(Box::new(call)));
    let invite = bench.request("INVITE");
    bench.receive_from(peer(second, 5070), &reply(&invite, 503, "t", ""));
    assert_eq!(bench.told(), ["Failed 503"]);
    // A minute after its silence the first is forgiven, a moment before the other is.
    bench.pass(Duration::from_millis(59_500));
    bench.command(locate());
    bench.dns(&[(CARRIER, &[2, 3])]);
    assert_eq!(bench.located_two(), [first, second]);
    bench.assert_at_rest();
}

#[test]
fn a_name_that_leads_nowhere_is_told_to_who_asks_and_once_to_the_log() {
    let mut bench = Bench::new();
    for turn in 0..3 {
        bench.command(Command::Locate { call: Call::outbound(turn), place: place(None, None) });
        bench.no_dns();
    }
    assert_eq!(bench.located(), ["", "", ""]);
    assert_eq!(bench.unfound, ["carrier.example: no DNS server answers"]);
    assert_eq!(bench.endpoint.counters().names_unfound, 3);
    bench.pass(Duration::from_secs(60));
    bench.command(Command::Locate { call: Call::outbound(4), place: place(None, None) });
    bench.dns(&[(CARRIER, &[2])]);
    assert_eq!(bench.located(), ["udp:192.0.2.2:5060"]);
    // Nobody answers at all, not even that it fails.
    bench.command(Command::Locate { call: Call::outbound(5), place: place(None, Some(9)) });
    bench.pass(Duration::from_secs(60));
    bench.events.clear();
    bench.command(Command::Locate { call: Call::outbound(6), place: place(Some(Transport::Tcp), None) });
    bench.asked.clear();
    bench.pass(Duration::from_secs(10));
    assert_eq!(bench.located(), [""]);
    assert_eq!(bench.unfound.len(), 2, "found in between");
    bench.assert_at_rest();
}

#[test]
fn by_tls_the_name_that_was_asked_for_last_is_shown_unless_another_was_told() {
    let mut bench = Bench::new();
    bench.command(Command::Locate { call: Call::outbound(7), place: place(Some(Transport::Tls), None) });
    let service = bench.asked.pop().unwrap();
    assert_eq!(service.to_string(), "SRV _sips._tcp.carrier.example");
    let target = Record::Srv { priority: 1, weight: 1, port: 5071, target: "host7.cloud.example".to_owned() };
    bench.endpoint.looked_up(bench.now, service, said(60, vec![target]));
    bench.drain();
    bench.dns(&[("host7.cloud.example", &[7])]);
    assert_eq!(bench.located(), ["tls:192.0.2.7:5071"]);
    assert_eq!(bench.endpoint.tls_name(peer(7, 5071)).as_deref(), Some(CARRIER), "RFC 5922 section 4");
    let (host, tls_name) = ("other.example".parse().unwrap(), Arc::from("other.example"));
    let other = Arc::new(Place { host, tls_name, port: Some(5071), ..(*place(Some(Transport::Tls), None)).clone() });
    bench.command(Command::Locate { call: Call::outbound(8), place: other.clone() });
    bench.dns(&[("other.example", &[7, 8])]);
    let [found] = &bench.located()[..] else { panic!() };
    assert!(found.contains("tls:192.0.2.7:5071") && found.contains("tls:192.0.2.8:5071"), "{found}");
    assert_eq!(bench.endpoint.tls_name(peer(7, 5071)).as_deref(), Some("other.example"), "it may have moved in");
    bench.command(Command::Names([7, 8].map(|last| (peer(last, 5071), Arc::from(CARRIER))).to_vec()));
    for call in [9, 10] {
        bench.command(Command::Locate { call: Call::outbound(call), place: other.clone() });
        bench.dns(&[]);
    }
    assert_eq!(bench.located(), ["", ""]);
    let told = ["other.example: its addresses are to show the name of another carrier by TLS (tls_name)"];
    assert_eq!(bench.unfound, told, "once");
}

/// An INVITE over `flow` with this Contact, accepted and acknowledged; its call and our tag.
fn up_over(bench: &mut Bench, flow: Flow, contact: &str) -> (Call, String) {
    let with_contact = |text: String| {
        Bytes::from(
            text.replace("Contact: <sip:+4930@192.0.2.2>", &format!("Contact: <{contact}>")).replace('\n', "\r\n"),
        )
    };
    bench.endpoint.receive(bench.now, flow, &with_contact(from_peer("INVITE", "i1", "", 1, OFFER)));
    bench.drain();
    let Some(Event::Invited(invitation)) = bench.events.last() else { panic!("{:?}", bench.events) };
    let call = invitation.call;
    let tag = super::super::dialog::Entry::read(&invitation.journal).unwrap().dialog.local_tag;
    bench.command(Command::Accept { call, answer: Bytes::from_static(b"answer") });
    bench.endpoint.receive(bench.now, flow, &with_contact(from_peer("ACK", "a1", &tag, 1, EMPTY)));
    bench.drain();
    bench.words();
    bench.events.clear();
    (call, tag)
}

#[test]
fn nobody_is_looked_for_until_the_call_is_accepted() {
    let mut bench = Bench::new();
    let contact = "Contact: <sip:+4930@sbc.carrier.example>";
    bench.receive(&from_peer("INVITE", "i1", "", 1, OFFER).replace("Contact: <sip:+4930@192.0.2.2>", contact));
    let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.events) };
    assert_eq!(bench.asked.len(), 0);
    bench.command(Command::Accept { call: invitation.call, answer: Bytes::from_static(b"answer") });
    assert_eq!(bench.asked.len(), 1);
}

#[test]
fn requests_within_a_call_go_where_the_name_of_its_contact_leads() {
    let udp = Flow { peer: peer(2, 40_000), ..flow(0) };
    // Where the name leads, and where the BYE goes: never to a stranger, and not waiting for anybody.
    let rows: [(Option<&[u8]>, SocketAddr); 4] = [
        (Some(&[2]), peer(2, 5060)),
        (Some(&[99, 2]), peer(2, 5060)),
        (Some(&[99]), peer(2, 40_000)),
        (None, peer(2, 40_000)),
    ];
    for (leads, goes) in rows {
        let mut bench = Bench::new();
        let (call, _) = up_over(&mut bench, udp, "sip:+4930@sbc.carrier.example");
        assert_eq!(bench.asked.last().map(ToString::to_string).as_deref(), Some("SRV _sip._udp.sbc.carrier.example"));
        if let Some(last) = leads {
            bench.dns(&[("sbc.carrier.example", last)]);
        }
        bench.command(Command::HangUp { call, reason: None });
        assert_eq!(bench.request("BYE").uri().as_str(), "sip:+4930@sbc.carrier.example");
        assert_eq!(bench.last_flow(), Flow { peer: goes, ..udp }, "{leads:?}");
        bench.assert_at_rest();
    }
}

#[test]
fn the_bye_of_a_call_whose_connection_is_gone_goes_where_the_name_of_its_contact_leads() {
    let tls = Flow { transport: Transport::Tls, peer: peer(2, 40_000), ..flow(0) };
    let contact = "sip:+4930@sbc.carrier.example;transport=tls";
    // By the connection, while it lives: nobody is asked.
    let mut bench = Bench::new();
    let (call, _) = up_over(&mut bench, tls, contact);
    bench.command(Command::HangUp { call, reason: None });
    assert_eq!((bench.last_flow(), bench.asked.len()), (tls, 0));
    // Gone, and looked up at once: the BYE finds the answer.
    let mut bench = Bench::new();
    let (call, _) = up_over(&mut bench, tls, contact);
    bench.endpoint.lost(bench.now, tls);
    bench.drain();
    bench.dns(&[("sbc.carrier.example", &[2])]);
    bench.command(Command::HangUp { call, reason: None });
    assert_eq!(bench.last_flow(), Flow { peer: peer(2, 5061), ..tls });
    assert_eq!(bench.endpoint.tls_name(peer(2, 5061)).as_deref(), Some("sbc.carrier.example"));
    // Gone, and hung up before there is an answer: the BYE waits for it.
    for answers in [true, false] {
        let mut bench = Bench::new();
        let (call, _) = up_over(&mut bench, tls, contact);
        bench.endpoint.lost(bench.now, tls);
        let reason = Reason { q850: Some(16), sip: None, text: String::new() };
        bench.command(Command::HangUp { call, reason: Some(reason) });
        assert!(bench.words().is_empty());
        if answers {
            bench.dns(&[("sbc.carrier.example", &[2])]);
        }
        bench.pass(Duration::from_secs(10));
        assert_eq!(bench.request("BYE").header("Reason"), Some("Q.850;cause=16"));
        let goes = if answers { peer(2, 5061) } else { tls.peer };
        assert_eq!(bench.last_flow(), Flow { peer: goes, ..tls }, "and not for ever");
        bench.pass(Duration::from_secs(33));
        assert_eq!(bench.told(), ["Released"]);
        bench.assert_at_rest();
    }
}

#[test]
fn the_bye_of_an_earlier_life_goes_where_the_name_leads() {
    let tls = Flow { transport: Transport::Tls, peer: peer(2, 40_000), ..flow(0) };
    let mut bench = Bench::new();
    let (_, _) = up_over(&mut bench, tls, "sip:+4930@sbc.carrier.example;transport=tls");
    let session = bench.endpoint.sessions.values().next().unwrap();
    let journal = super::super::dialog::Entry { dialog: session.dialog.clone(), branch: None }.write();
    for answers in [true, false] {
        let mut bench = Bench::new();
        let call = Call::past(3);
        bench.command(Command::Bury { call, journal: journal.clone(), reason: None, login: None, tls_name: None });
        assert!(bench.words().is_empty() && bench.told().is_empty());
        if answers {
            bench.dns(&[("sbc.carrier.example", &[2])]);
        }
        bench.pass(Duration::from_secs(10));
        let goes = if answers { peer(2, 5061) } else { tls.peer };
        assert_eq!(bench.last_flow(), Flow { peer: goes, ..tls });
        let bye = bench.request("BYE");
        let mut response = Response::to(&bye, 200, "");
        response.set_to_tag("them");
        bench.endpoint.receive(bench.now, bench.last_flow(), &response.to_bytes());
        bench.drain();
        assert_eq!(bench.told(), ["Released"]);
        bench.assert_at_rest();
    }
}

#[test]
fn whoever_was_called_by_tls_in_an_earlier_life_shows_its_carriers_name() {
    let rows = [
        (true, None, vec![], Some(CARRIER)),
        (true, Some("sbc.example"), vec![], Some("sbc.example")),
        (true, Some("sbc.example"), vec![(peer(2, 5061), Arc::from("told.example"))], Some("told.example")),
        (false, None, vec![], None),
    ];
    for (is_ours, tls_name, names, expected) in rows {
        let mut bench = Bench::new();
        let mut dial = dial(&mut StdRng::seed_from_u64(4), 7, 60_000);
        dial.flow = Flow { transport: Transport::Tls, peer: peer(2, 5061), ..dial.flow };
        dial.to = format!("<sip:+39061234567@{CARRIER}>");
        let mut entry = super::super::dialog::Entry::read(&journal_of(&dial)).unwrap();
        entry.dialog.remote_cseq = Some(1).filter(|_| !is_ours);
        bench.command(Command::Names(names));
        let (call, tls_name) = (Call::past(3), tls_name.map(Arc::from));
        bench.command(Command::Bury { call, journal: entry.write(), reason: None, login: None, tls_name });
        assert_eq!(bench.endpoint.tls_name(peer(2, 5061)).as_deref(), expected);
    }
}

fn registering() -> Peer {
    let toward = Toward::Place(place(Some(Transport::Udp), Some(5060)));
    let register = Registration { toward, user: "12345".into(), host: CARRIER.into(), expires_s: 3_600 };
    Peer { owner: "acme".into(), login: None, ping: None, register: Some(register) }
}

fn stands(bench: &mut Bench) -> Vec<Standing> {
    let told = std::mem::take(&mut bench.events).into_iter().filter_map(|event| match event {
        Event::Stands { standing, .. } => Some(standing),
        _ => None,
    });
    told.collect()
}

/// Answers the last request from where it went.
fn answer(bench: &mut Bench, method: &str, status: u16) -> Request {
    let (request, flow) = (bench.request(method), bench.last_flow());
    let mut response = Response::to(&request, status, "");
    response.set_to_tag("theirs");
    bench.sent.clear();
    bench.endpoint.receive(bench.now, flow, &response.to_bytes());
    bench.drain();
    request
}

#[test]
fn a_registration_goes_to_the_next_address_where_one_is_not_there() {
    let mut bench = Bench::new();
    bench.command(Command::Sources(vec![]));
    bench.command(Command::Peers(vec![registering()]));
    assert!(bench.words().is_empty());
    bench.dns(&[(CARRIER, &[2, 3])]);
    let first = bench.last_flow().peer;
    let other = if first == peer(2, 5060) { peer(3, 5060) } else { peer(2, 5060) };
    answer(&mut bench, "REGISTER", 503);
    assert_eq!(bench.last_flow().peer, other, "at once");
    let second = answer(&mut bench, "REGISTER", 200);
    assert_eq!(second.uri().as_str(), "sip:carrier.example");
    assert_eq!(stands(&mut bench), [Standing::Registered { expires_s: 3_600 }]);
    bench.command(Command::Peers(vec![]));
    assert_eq!(bench.last_flow().peer, other, "taken back where it is known");
    assert_eq!(answer(&mut bench, "REGISTER", 200).header("Expires"), Some("0"));
    bench.assert_at_rest();

    // Neither is there, then the name is not.
    let mut bench = Bench::new();
    bench.command(Command::Peers(vec![registering()]));
    bench.dns(&[(CARRIER, &[2, 3])]);
    for _ in 0..2 {
        answer(&mut bench, "REGISTER", 503);
    }
    assert_eq!((stands(&mut bench), bench.words().len()), (vec![Standing::Unregistered { status: 503 }], 0));
    bench.pass(Duration::from_secs(90));
    bench.no_dns();
    assert!(bench.words().iter().all(|word| word == "REGISTER"));
    bench.command(Command::Peers(vec![]));
    bench.assert_at_rest();
}

#[test]
fn a_peer_by_name_is_asked_at_the_address_that_answers() {
    let mut bench = Bench::new();
    let ping = (Toward::Place(place(Some(Transport::Udp), Some(5060))), Duration::from_secs(10));
    bench.command(Command::Peers(vec![Peer { owner: "acme".into(), login: None, ping: Some(ping), register: None }]));
    bench.dns(&[(CARRIER, &[2, 3])]);
    let first = bench.last_flow().peer;
    answer(&mut bench, "OPTIONS", 503);
    bench.pass(Duration::from_secs(10));
    assert_ne!(bench.last_flow().peer, first);
    let options = answer(&mut bench, "OPTIONS", 200);
    assert_eq!(options.uri().as_str(), "sip:carrier.example:5060");
    assert_eq!(stands(&mut bench), [Standing::Up]);
    // Without any address it is as good as gone.
    bench.pass(Duration::from_secs(100));
    bench.sent.clear();
    bench.events.clear();
    bench.command(Command::Peers(vec![]));
    bench.dns(&[]);
    bench.assert_at_rest();
}

/// A name of many addresses: the connection that there is is used, whichever is drawn first today (RFC 5626 section 4.2).
#[test]
fn a_registration_stays_with_its_connection() {
    let mut bench = Bench::new();
    let toward = Toward::Place(place(Some(Transport::Tcp), Some(5060)));
    let register = Registration { toward, user: "12345".into(), host: CARRIER.into(), expires_s: 600 };
    let peer = Peer { owner: "acme".into(), login: None, ping: None, register: Some(register) };
    bench.command(Command::Peers(vec![peer]));
    let hosts: &[(&str, &[u8])] = &[(CARRIER, &[2, 3, 4, 5])];
    bench.dns(hosts);
    let held = bench.last_flow();
    answer(&mut bench, "REGISTER", 200);
    for _ in 0..8 {
        while bench.asked.is_empty() {
            bench.pass(Duration::from_secs(1));
        }
        bench.dns(hosts);
        assert_eq!(bench.last_flow(), held);
        answer(&mut bench, "REGISTER", 200);
    }
}

fn senders(bench: &mut Bench) -> Vec<Vec<String>> {
    let told = std::mem::take(&mut bench.events).into_iter().map(|event| match event {
        Event::Senders { host, addresses } => {
            assert_eq!(host.as_str(), CARRIER);
            addresses.iter().map(ToString::to_string).collect()
        }
        other => panic!("{other:?}"),
    });
    told.collect()
}

#[test]
fn who_sends_is_kept_fresh_and_stands_while_dns_is_away() {
    let host: HostName = CARRIER.parse().unwrap();
    let mut bench = Bench::new();
    bench.command(Command::Watch(vec![host.clone(), host.clone()]));
    assert_eq!(bench.asked.len(), 6, "both families, three services, and which services there are");
    bench.dns(&[(CARRIER, &[3, 2])]);
    assert_eq!(senders(&mut bench), [["192.0.2.2", "192.0.2.3"]]);
    bench.command(Command::Watch(vec![host.clone()]));
    bench.pass(Duration::from_secs(59));
    assert_eq!((bench.asked.len(), bench.events.len()), (0, 0), "as long as it is good");
    bench.pass(Duration::from_secs(2));
    bench.dns(&[(CARRIER, &[2, 3])]);
    assert_eq!(senders(&mut bench), Vec::<Vec<String>>::new(), "no news");
    // DNS is away: what was known stands, and it is asked again and again.
    for _ in 0..20 {
        bench.pass(Duration::from_secs(61));
        assert!(!bench.asked.is_empty());
        bench.no_dns();
    }
    assert!(bench.events.is_empty());
    // It is back, and says something else; then that there is no such name.
    bench.pass(Duration::from_secs(61));
    bench.dns(&[(CARRIER, &[9])]);
    assert_eq!(senders(&mut bench), [["192.0.2.9"]]);
    bench.pass(Duration::from_secs(61));
    bench.dns(&[]);
    assert_eq!(senders(&mut bench), [Vec::<String>::new()]);
    bench.command(Command::Watch(vec![]));
    bench.asked.clear();
    bench.assert_at_rest();
}

#[test]
fn what_nobody_asked_is_not_believed() {
    let mut bench = Bench::new();
    let question = Question { kind: Kind::A, name: CARRIER.to_owned() };
    bench.endpoint.looked_up(bench.now, question, said(60, at(&[66])));
    bench.command(Command::Locate { call: Call::outbound(7), place: place(Some(Transport::Udp), Some(5070)) });
    assert_eq!(bench.dns(&[(CARRIER, &[2])]), ["A carrier.example"]);
    assert_eq!(bench.located(), ["udp:192.0.2.2:5070"]);
}

#[test]
fn half_of_who_sends_is_better_than_nobody_and_not_than_all() {
    let half = |bench: &mut Bench, last: u8| {
        while let Some(question) = bench.asked.pop() {
            let outcome = match question.kind {
                Kind::A => said(60, at(&[last])),
                Kind::Aaaa => Err(Failure::Refused(2)),
                _ => said(60, vec![]),
            };
            bench.endpoint.looked_up(bench.now, question, outcome);
            bench.drain();
        }
    };
    let mut bench = Bench::new();
    bench.command(Command::Watch(vec![CARRIER.parse().unwrap()]));
    half(&mut bench, 2);
    assert_eq!(senders(&mut bench), [["192.0.2.2"]]);
    bench.pass(Duration::from_secs(300));
    half(&mut bench, 3);
    assert_eq!(senders(&mut bench), Vec::<Vec<String>>::new(), "what was known stands");
    // Asked again within seconds, and answered whole.
    for _ in 0..30 {
        bench.pass(Duration::from_secs(1));
        bench.dns(&[(CARRIER, &[9])]);
    }
    assert_eq!(senders(&mut bench), [["192.0.2.9"]]);
    bench.command(Command::Watch(vec![]));
    bench.asked.clear();
    bench.assert_at_rest();
}
