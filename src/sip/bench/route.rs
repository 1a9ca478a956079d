//! The way that requests within a call take (RFC 3261 section 12.2.1.1): Contact, Record-Route, and what we call ourselves.

use super::*;
use crate::sip::transport::Fate;

fn uris(values: &[NameAddr]) -> Vec<String> {
    values.iter().map(|value| format!("<{}>", value.uri().as_str())).collect()
}

fn udp(local: &str, peer: &str) -> Flow {
    Flow { transport: Transport::Udp, local: local.parse().unwrap(), peer: peer.parse().unwrap() }
}

/// A carrier of both families, whom we meet by IPv4.
fn of_both_families() -> Bench {
    let mut bench = Bench::new();
    let both = ["192.0.2.2", "2001:db8::2"].map(|ip| Source::at(ip.parse().unwrap()));
    bench.command(Command::Sources(both.to_vec()));
    bench
}

/// An INVITE from the peer with this in place of its Contact, accepted and acknowledged; its call and our tag.
fn up_with(bench: &mut Bench, instead: &str) -> (Call, String) {
    let with = |text: String| text.replace("Contact: <sip:+4930@192.0.2.2>", instead);
    bench.receive(&with(from_peer("INVITE", "i1", "", 1, OFFER)));
    let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.events) };
    let tag = super::super::dialog::Entry::read(&invitation.journal).unwrap().dialog.local_tag;
    let call = invitation.call;
    bench.command(Command::Accept { call, answer: Bytes::from_static(b"answer") });
    bench.receive(&with(from_peer("ACK", "a1", &tag, 1, EMPTY)));
    (call, tag)
}

/// The same of a response to a request of ours.
fn reply_with(request: &Request, status: u16, body: &str, instead: &str) -> String {
    reply(request, status, "t", body).replace("Contact: <sip:+4930@192.0.2.2>", instead)
}

#[test]
fn a_contact_of_a_family_that_we_do_not_listen_on_is_not_sent_to() {
    let mut bench = of_both_families();
    let (call, _) = up_with(&mut bench, "Contact: <sip:x@[2001:db8::2]>");
    bench.command(Command::HangUp { call, reason: None });
    let (by, bye) = bench.sent.last().unwrap();
    assert_eq!((word(bye).as_str(), *by), ("BYE", flow(0)), "where the call came from");

    let mut bench = of_both_families();
    let (call, invite, _) = dialling(&mut bench);
    bench.receive(&reply_with(&invite, 200, "answer", "Contact: <sip:x@[2001:db8::2]>"));
    let (by, ack) = bench.sent.last().unwrap();
    assert_eq!((word(ack).as_str(), *by), ("ACK", flow(0)));
    bench.command(Command::HangUp { call, reason: None });
    assert_eq!(bench.sent.last().unwrap().0, flow(0));
}

const ROUTES: &str = "Record-Route: <sip:192.0.2.2:5070;lr>\nRecord-Route: <sip:p2.example;lr>, <sip:p3.example;lr>\n\
                      Contact: <sip:x@192.0.2.9>";

/// RFC 3261 sections 12.1.1 and 16.12.1.1: the nearest proxy is the first, and the target is the Request-URI.
#[test]
fn as_who_was_called_the_route_is_in_the_order_that_it_came() {
    let mut bench = Bench::new();
    let in_order = ["<sip:192.0.2.2:5070;lr>", "<sip:p2.example;lr>", "<sip:p3.example;lr>"];
    bench.receive(&from_peer("INVITE", "i1", "", 1, OFFER).replace("Contact: <sip:+4930@192.0.2.2>", ROUTES));
    let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.events) };
    let call = invitation.call;
    bench.command(Command::Ring { call, status: 180, answer: None });
    bench.command(Command::Accept { call, answer: Bytes::from_static(b"answer") });
    let responses: Vec<Response> = bench.sent.iter().filter_map(|(_, bytes)| parse_response(bytes)).collect();
    for status in [180, 200] {
        let response = responses.iter().find(|response| response.status() == status).unwrap();
        assert_eq!(uris(&response.record_routes()), in_order, "{status}: RFC 3261 section 12.1.1");
    }
    let tag = super::super::dialog::Entry::read(&invitation.journal).unwrap().dialog.local_tag;
    bench.receive(&from_peer("ACK", "a1", &tag, 1, EMPTY));
    bench.command(Command::Offer { call, offer: Bytes::from_static(b"ours") });
    let again = bench.request("INVITE");
    bench.receive(&reply(&again, 200, "them", "theirs"));
    bench.command(Command::HangUp { call, reason: None });
    for method in ["INVITE", "ACK", "BYE"] {
        let request = bench.request(method);
        assert_eq!(uris(&request.routes()), in_order, "{method}");
        let (by, _) = bench.sent.iter().rev().find(|(_, bytes)| word(bytes) == method).unwrap();
        assert_eq!(by.peer.to_string(), "192.0.2.2:5070", "{method}");
    }
    // Their answer to our re-INVITE has named another target.
    assert_eq!(bench.request("INVITE").uri().as_str(), "sip:x@192.0.2.9");
    assert_eq!(bench.request("BYE").uri().as_str(), "sip:+4930@192.0.2.2");
}

/// RFC 3261 section 12.1.2: who called has the nearest proxy last.
#[test]
fn as_who_calls_the_route_is_reversed() {
    let routes = "Record-Route: <sip:p3.example;lr>, <sip:p2.example;lr>\nRecord-Route: <sip:192.0.2.2:5070;lr>\n\
                  Contact: <sip:x@192.0.2.9>";
    let reversed = ["<sip:192.0.2.2:5070;lr>", "<sip:p2.example;lr>", "<sip:p3.example;lr>"];
    let mut bench = Bench::new();
    let (call, invite, _) = dialling(&mut bench);
    let reliably = format!("Require: 100rel\nRSeq: 1\n{routes}");
    bench.receive(&reply_with(&invite, 183, "answer", &reliably));
    bench.receive(&reply_with(&invite, 200, "answer", routes));
    bench.command(Command::Offer { call, offer: Bytes::from_static(b"ours") });
    let again = bench.request("INVITE");
    // What a proxy records of a request within the dialog moves nothing (RFC 3261 section 12.2).
    let moved = "Record-Route: <sip:p9.example;lr>\nContact: <sip:y@192.0.2.9>";
    bench.receive(&reply_with(&again, 200, "theirs", moved));
    let second_ack = bench.request("ACK");
    bench.command(Command::HangUp { call, reason: None });
    for (method, target) in [("PRACK", "sip:x@192.0.2.9"), ("INVITE", "sip:x@192.0.2.9"), ("BYE", "sip:y@192.0.2.9")] {
        let request = bench.request(method);
        assert_eq!((uris(&request.routes()), request.uri().as_str()), (reversed.map(str::to_owned).to_vec(), target));
    }
    assert_eq!(uris(&second_ack.routes()), reversed);
    let first_ack = bench.sent.iter().filter_map(|(_, bytes)| parse_request(bytes)).find(|it| word_of(it) == "ACK");
    assert_eq!(uris(&first_ack.unwrap().routes()), reversed);
    let in_call = |bytes: &Bytes| parse_request(bytes).is_some_and(|request| request.to().tag().is_some());
    let mut goes = bench.sent.iter().filter(|(_, bytes)| in_call(bytes)).map(|(by, _)| by.peer.to_string());
    assert!(goes.all(|peer| peer == "192.0.2.2:5070"));
    assert_eq!(uris(&invite.routes()), [""; 0]);
}

fn word_of(request: &Request) -> String {
    request.method().to_string()
}

/// RFC 3261 sections 12.2.1.1 and 16.12.1.2: one without `lr` wants to be addressed itself, and the target last.
#[test]
fn a_strict_router_is_what_our_requests_are_addressed_to() {
    let strict = "Record-Route: <sip:192.0.2.2:5070>, <sip:p2.example;lr>\nContact: <sip:x@192.0.2.9>";
    let mut bench = Bench::new();
    let (call, _) = up_with(&mut bench, strict);
    bench.command(Command::HangUp { call, reason: None });
    let bye = bench.request("BYE");
    assert_eq!(bye.uri().as_str(), "sip:192.0.2.2:5070");
    assert_eq!(uris(&bye.routes()), ["<sip:p2.example;lr>", "<sip:x@192.0.2.9>"]);
    assert_eq!(bench.sent.last().unwrap().0.peer.to_string(), "192.0.2.2:5070");
}

/// Behind NAT: what we are reached at is in all that says where we are.
#[test]
fn what_is_advertised_is_in_contact_and_via() {
    let shown: SocketAddr = "203.0.113.7:5060".parse().unwrap();
    let mut bench = Bench::new();
    let peer = Source { advertise: Some(shown), ..Source::at(address(1).ip()) };
    bench.command(Command::Sources(vec![peer]));
    let (call, _) = up_with(&mut bench, "Contact: <sip:+4930@192.0.2.2>");
    bench.command(Command::HangUp { call, reason: None });
    let ok = bench.sent.iter().filter_map(|(_, bytes)| parse_response(bytes)).find(|it| it.status() == 200).unwrap();
    let contact = ok.contact().unwrap().uri().clone();
    assert_eq!((contact.address(), contact.port()), (Some(shown.ip()), Some(5060)));
    let bye = bench.request("BYE");
    assert_eq!((bye.via().host(), bye.via().port()), ("203.0.113.7", Some(5060)));
    assert!(!String::from_utf8_lossy(&bye.to_bytes()).contains("192.0.2.1:"), "nothing of the inside");

    let mut bench = Bench::new();
    let dial = Dial { contact: shown, ..dial(&mut StdRng::seed_from_u64(4), 7, 30_000) };
    bench.command(Command::Dial(Box::new(dial)));
    let invite = bench.request("INVITE");
    bench.receive(&reply(&invite, 200, "t", "answer"));
    for request in [invite, bench.request("ACK")] {
        assert_eq!((request.via().host(), request.via().port()), ("203.0.113.7", Some(5060)));
    }
    let contact = bench.request("INVITE").contact().unwrap().uri().clone();
    assert_eq!((contact.address(), contact.port()), (Some(shown.ip()), Some(5060)));

    // By TLS the port is that of our own end: what is advertised is that of plain SIP.
    let mut bench = Bench::new();
    let peer = Source { advertise: Some(shown), ..Source::at(address(1).ip()) };
    bench.command(Command::Sources(vec![peer]));
    let by_tls = Flow { transport: Transport::Tls, ..udp("192.0.2.1:5061", "192.0.2.2:40000") };
    let invite = from_peer("INVITE", "i1", "", 1, OFFER).replace("UDP", "TLS").replace('\n', "\r\n");
    bench.endpoint.receive(bench.now, by_tls, &Bytes::from(invite));
    bench.drain();
    let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.events) };
    bench.command(Command::Accept { call: invitation.call, answer: Bytes::from_static(b"answer") });
    let ok = parse_response(&bench.sent.last().unwrap().1).unwrap();
    let contact = ok.contact().unwrap().uri().clone();
    assert_eq!(
        (contact.address(), contact.port(), contact.param("transport")),
        (Some(shown.ip()), Some(5061), Some("tls"))
    );
}

fn by(transport: Transport, local: &str, peer: &str) -> Flow {
    Flow { transport, ..udp(local, peer) }
}

/// The last request that went out, its way and what its Via says.
fn last(bench: &Bench) -> (String, Flow, String) {
    let (flow, bytes) = bench.sent.last().unwrap();
    let request = parse_request(bytes).unwrap();
    let via = request.via();
    (word(bytes), *flow, format!("{} {}:{}", via.transport(), via.host(), via.port().unwrap()))
}

/// RFC 3261 section 19.1.1, RFC 3263 section 4.1: by what it asks for, from where we listen so.
#[test]
fn a_contact_of_another_transport_or_family_is_sent_to_where_we_listen_so() {
    let tls = by(Transport::Tls, "192.0.2.1:5061", "192.0.2.2:5061");
    let v6 = udp("[2001:db8::1]:5060", "[2001:db8::2]:5070");
    let rows = [
        ("sip:x@192.0.2.2;transport=tls", tls, "TLS 192.0.2.1:5061"),
        ("sip:x@[2001:db8::2]:5070", v6, "UDP [2001:db8::1]:5060"),
        ("sip:x@198.51.100.9;maddr=192.0.2.2", flow(0), "UDP 192.0.2.1:5060"),
    ];
    for (contact, goes, via) in rows {
        let listening = || {
            let mut bench = of_both_families();
            bench.endpoint.listen([flow(0), tls, v6].map(|flow| (flow.transport, flow.local)).to_vec());
            bench
        };
        let mut bench = listening();
        let (call, _) = up_with(&mut bench, &format!("Contact: <{contact}>"));
        bench.command(Command::HangUp { call, reason: None });
        assert_eq!(last(&bench), ("BYE".to_owned(), goes, via.to_owned()), "{contact}");
        let bye = bench.request("BYE");
        bench.endpoint.receive(bench.now, goes, &Bytes::from(reply(&bye, 200, "them", "").replace('\n', "\r\n")));
        bench.drain();
        assert_eq!(bench.told().last().unwrap(), "Released");
        bench.assert_at_rest();

        let mut bench = listening();
        let (_, invite, _) = dialling(&mut bench);
        bench.receive(&reply_with(&invite, 200, "answer", &format!("Contact: <{contact}>")));
        assert_eq!(last(&bench), ("ACK".to_owned(), goes, via.to_owned()), "{contact}");
    }
}

/// A Contact that asks for a transport which leads nowhere ends no call here alone.
#[test]
fn a_next_hop_that_cannot_be_reached_leaves_the_way_that_the_call_came() {
    let tls = by(Transport::Tls, "192.0.2.1:5061", "192.0.2.2:5061");
    let v6 = udp("[2001:db8::1]:5060", "[2001:db8::2]:5060");
    for (contact, other) in [("sip:x@192.0.2.2;transport=tls", tls), ("sip:x@[2001:db8::2]", v6)] {
        let fail = |bench: &mut Bench| {
            let (_, bytes) = bench.sent.last().unwrap().clone();
            match other.transport {
                Transport::Udp => bench.endpoint.unsent(bench.now, other, &bytes, Fate::NoWay),
                _ => bench.endpoint.lost(bench.now, other),
            }
            bench.drain();
        };
        let mut bench = of_both_families();
        bench.endpoint.listen([flow(0), tls, v6].map(|flow| (flow.transport, flow.local)).to_vec());
        let (call, _) = up_with(&mut bench, &format!("Contact: <{contact}>"));
        let reason = Reason { q850: Some(16), sip: None, text: String::new() };
        bench.command(Command::HangUp { call, reason: Some(reason) });
        assert_eq!(last(&bench).1, other);
        fail(&mut bench);
        assert_eq!(last(&bench), ("BYE".to_owned(), flow(0), "UDP 192.0.2.1:5060".to_owned()));
        let bye = bench.request("BYE");
        assert_eq!(bye.header("Reason"), Some("Q.850;cause=16"));
        bench.receive(&reply(&bye, 200, "them", ""));
        assert_eq!(bench.told().last().unwrap(), "Released");
        bench.assert_at_rest();

        // The ACK of an answer: its repeat is answered by the other way.
        let mut bench = of_both_families();
        bench.endpoint.listen([flow(0), tls, v6].map(|flow| (flow.transport, flow.local)).to_vec());
        let (_, invite, _) = dialling(&mut bench);
        let ok = reply_with(&invite, 200, "answer", &format!("Contact: <{contact}>"));
        bench.receive(&ok);
        assert_eq!(last(&bench).1, other);
        fail(&mut bench);
        bench.receive(&ok);
        assert_eq!(last(&bench), ("ACK".to_owned(), flow(0), "UDP 192.0.2.1:5060".to_owned()));
    }
}

/// A way that swallows everything is none, and the call has its own.
#[test]
fn a_next_hop_that_is_silent_keeps_no_call_up_at_the_far_side() {
    let tls = by(Transport::Tls, "192.0.2.1:5061", "192.0.2.2:5061");
    let mut bench = of_both_families();
    bench.endpoint.listen([flow(0), tls].map(|flow| (flow.transport, flow.local)).to_vec());
    let (call, _) = up_with(&mut bench, "Contact: <sip:x@192.0.2.2;transport=tls>");
    bench.command(Command::HangUp { call, reason: None });
    assert_eq!(last(&bench).1, tls);
    bench.pass(Duration::from_secs(33));
    assert_eq!((last(&bench).0.as_str(), last(&bench).1), ("BYE", flow(0)));
    bench.receive(&reply(&bench.request("BYE"), 200, "them", ""));
    assert_eq!(bench.told().last().unwrap(), "Released");
    bench.assert_at_rest();
}

/// What was said in secret goes on in secret, whatever a Contact asks for.
#[test]
fn a_call_by_tls_stays_there() {
    let tls = by(Transport::Tls, "192.0.2.1:5061", "192.0.2.2:5061");
    let mut bench = of_both_families();
    bench.endpoint.listen([flow(0), tls].map(|flow| (flow.transport, flow.local)).to_vec());
    let invite = from_peer("INVITE", "i1", "", 1, &format!("Contact: <sip:x@192.0.2.2;transport=udp>\n{OFFER}"));
    let invite = invite.replace("SIP/2.0/UDP", "SIP/2.0/TLS").replacen("Contact: <sip:+4930@192.0.2.2>\n", "", 1);
    bench.endpoint.receive(bench.now, tls, &Bytes::from(invite.replace('\n', "\r\n")));
    bench.drain();
    let Some(Event::Invited(invitation)) = bench.events.last() else { panic!("{:?}", bench.events) };
    let call = invitation.call;
    bench.command(Command::Accept { call, answer: Bytes::from_static(b"answer") });
    bench.endpoint.lost(bench.now, tls);
    bench.drain();
    bench.command(Command::HangUp { call, reason: None });
    bench.pass(Duration::from_secs(40));
    let in_the_open =
        bench.sent.iter().filter(|(flow, bytes)| flow.transport != Transport::Tls && parse_request(bytes).is_some());
    assert_eq!(in_the_open.count(), 0);
}

/// RFC 3261 section 18.4: what the system does not take is of one request.
#[test]
fn a_datagram_that_is_not_taken_fails_what_it_carries_and_nothing_else() {
    let second = |seed| dial(&mut StdRng::seed_from_u64(seed), 8, 60_000);
    let mut bench = Bench::new();
    let (ringing, invite, _) = dialling(&mut bench);
    bench.receive(&reply(&invite, 180, "t", ""));
    bench.told();
    bench.command(Command::Dial(Box::new(second(5))));
    let (by, bytes) = bench.sent.last().unwrap().clone();
    bench.endpoint.unsent(bench.now, by, &bytes, Fate::NoWay);
    bench.drain();
    assert_eq!(bench.told(), ["Failed 503"], "tried elsewhere, at once");
    bench.receive(&reply(&invite, 200, "t", "answer"));
    assert_eq!(bench.told(), ["Answered"], "the one that rings goes on");
    // A BYE that finds no way is said again: the carrier would keep the call.
    bench.words();
    bench.command(Command::HangUp { call: ringing, reason: None });
    let (by, bytes) = bench.sent.last().unwrap().clone();
    bench.endpoint.unsent(bench.now, by, &bytes, Fate::NoWay);
    bench.drain();
    assert!(bench.told().is_empty());
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.words(), ["BYE", "BYE"]);
    bench.endpoint.unsent(bench.now, by, &bytes, Fate::Hopeless);
    bench.drain();
    assert_eq!(bench.told(), ["Released"], "it can never be sent");
    bench.assert_at_rest();
    // What nobody waits for changes nothing: an ACK, a response.
    let mut bench = Bench::new();
    let (_, tag) = up(&mut bench);
    bench.receive(&from_peer("OPTIONS", "o1", &tag, 2, EMPTY));
    let (by, bytes) = bench.sent.last().unwrap().clone();
    bench.endpoint.unsent(bench.now, by, &bytes, Fate::Hopeless);
    bench.drain();
    assert!(bench.told().is_empty() && bench.endpoint.calls() == 1);
    // What is as good as lost on the way is sent again, whatever it is.
    let mut bench = Bench::new();
    dialling(&mut bench);
    bench.command(Command::Dial(Box::new(second(5))));
    let (by, bytes) = bench.sent.last().unwrap().clone();
    bench.words();
    bench.endpoint.unsent(bench.now, by, &bytes, Fate::Lost);
    bench.pass(Duration::from_millis(600));
    assert_eq!((bench.words(), bench.told()), (vec!["INVITE".to_owned(); 2], Vec::new()));
}

/// RFC 3261 section 18.2.2: the answer to a request whose connection is gone goes to the port of its Via, and so do its repeats.
#[test]
fn an_answer_whose_connection_is_gone_goes_to_where_the_caller_listens() {
    for (via, port) in [("192.0.2.2:5070", 5070), ("192.0.2.2", 5060)] {
        let mut bench = Bench::new();
        let tcp = by(Transport::Tcp, "192.0.2.1:5060", "192.0.2.2:40000");
        let two = format!("SIP/2.0/TCP {via};branch=z9hG4bKi1\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKother");
        let invite = from_peer("INVITE", "i1", "", 1, OFFER).replace("SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKi1", &two);
        bench.endpoint.receive(bench.now, tcp, &Bytes::from(invite.replace('\n', "\r\n")));
        bench.drain();
        let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.events) };
        let back = Flow { peer: ([192, 0, 2, 2], port).into(), ..tcp };
        bench.endpoint.lost(bench.now, tcp);
        bench.words();
        bench.command(Command::Accept { call: invitation.call, answer: Bytes::from_static(b"answer") });
        assert_eq!(bench.sent.pop().unwrap().0, back);
        bench.pass(Duration::from_secs(1));
        let goes: Vec<Flow> = bench.sent.iter().map(|(flow, _)| *flow).collect();
        assert_eq!(goes, [back], "repeated");
    }
}
