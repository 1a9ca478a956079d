//! Where carriers meet: what they write otherwise than we would, what they carry that is not for us, and what is none of theirs.

use super::digest::{PASSWORD, listed};
use super::*;
use std::sync::Arc;

const OFFERED: &str = "Content-Type: application/sdp\n\noffer";
const ISUP: &str =
    "Content-Type: application/ISUP;version=itu-t92+\nContent-Disposition: signal;handling=optional\n\nx";

fn last(bench: &Bench) -> Response {
    parse_response(&bench.sent.last().expect("an answer").1).unwrap()
}

fn with_body(headers: &str, body: &str) -> String {
    // As it stands on the wire, each line end is two bytes.
    format!("{headers}Content-Length: {}\n\n{body}", body.replace('\n', "\r\n").len())
}

/// As gateways between ISUP networks send it.
fn parts(pieces: &[&str]) -> String {
    let body: String = pieces.iter().map(|piece| format!("--b\n{piece}\n")).collect();
    with_body("MIME-Version: 1.0\nContent-Type: multipart/mixed;boundary=b\n", &format!("{body}--b--\n"))
}

fn other() -> SocketAddr {
    "192.0.2.9:5060".parse().unwrap()
}

fn owned(network: &str, owner: &str) -> Source {
    Source { owner: Some(owner.into()), ..Source::at(network.parse().unwrap()) }
}

#[test]
fn a_call_out_is_its_carriers_alone() {
    for (owner, answer) in [("them", "200 BYE"), ("others", "481 BYE")] {
        let mut bench = Bench::new();
        // Where they are called is none of the places that they send from.
        bench.command(Command::Sources(vec![owned("192.0.2.9", owner)]));
        let carrier = Some(Arc::from("them"));
        let dial = Dial { carrier, ..dial(&mut StdRng::seed_from_u64(4), 7, 30_000) };
        bench.command(Command::Dial(Box::new(dial)));
        let invite = bench.request("INVITE");
        bench.receive(&reply(&invite, 200, "t", "answer"));
        let (ours, call_id) = (invite.from().tag().unwrap().to_owned(), invite.call_id().to_owned());
        bench.words();
        let bye = from_peer("BYE", "b1", &ours, 1, EMPTY).replace("tag=them", "tag=t");
        bench.receive_from(other(), &bye.replace("Call-ID: c1", &format!("Call-ID: {call_id}")));
        assert_eq!(bench.words(), [answer], "{owner}");
        bench.command(Command::HangUp { call: Call::outbound(7), reason: None });
        bench.assert_at_rest();
    }
}

#[test]
fn a_call_is_of_whoever_has_proven_to_make_it() {
    // Two carriers call from one address, and each has another one besides.
    let mut bench = Bench::new();
    let shared = [owned("192.0.2.2", "acme"), owned("192.0.2.2", "umbrella")];
    let own = [owned("192.0.2.9", "acme"), owned("192.0.2.10", "umbrella")];
    bench.command(Command::Sources(shared.iter().chain(&own).cloned().collect()));
    bench.command(Command::Asked(vec![
        digest::asked(vec![shared[0].clone()]),
        Asked {
            login: Login { owner: "umbrella".into(), username: "bob".into(), password: None, realm: None },
            ..digest::asked(vec![shared[1].clone()])
        },
    ]));
    bench.receive(&from_peer("INVITE", "i0", "", 1, OFFER).replace("c1", "c0"));
    let said = digest::said_of(&last(&bench), 0, PASSWORD, 1, "INVITE", b"offer");
    bench.receive(&from_peer("INVITE", "i1", "", 1, &format!("{}{OFFER}", digest::header(&said))));
    let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.words()) };
    assert_eq!(invitation.login.as_deref(), Some("acme"));
    let tag = crate::sip::dialog::Entry::read(&invitation.journal).unwrap().dialog.local_tag;
    bench.words();
    for (peer, answer) in [("192.0.2.10:5060", "481 OPTIONS"), ("192.0.2.9:5060", "200 OPTIONS")] {
        bench.receive_from(peer.parse().unwrap(), &from_peer("OPTIONS", &peer[8..10], &tag, 2, EMPTY));
        assert_eq!(bench.words(), [answer], "{peer}");
    }
    bench.command(Command::HangUp { call: invitation.call, reason: None });
    bench.assert_at_rest();
}

/// Of those that share an address only a port or a name tells one from the other; and a call goes on when its carrier is called
/// otherwise by now.
#[test]
fn where_a_call_is_from_it_is_heard_whatever_became_of_its_carrier() {
    let at_port = |port| Source { port: Some(port), ..owned("192.0.2.2", "other") };
    let named = Source { tls_name: Some("other.example".into()), tls_only: false, ..owned("192.0.2.2", "other") };
    let rows = [
        (owned("192.0.2.2", "renamed"), 5060, "200 BYE"),
        (owned("192.0.2.2", "renamed"), 5070, "200 BYE"),
        (at_port(5060), 5060, "200 BYE"),
        (at_port(5070), 5070, "481 BYE"),
        (named, 5070, "481 BYE"),
    ];
    for (source, port, answer) in rows {
        let mut bench = Bench::new();
        bench.command(Command::Sources(vec![owned("192.0.2.2", "them")]));
        let (call, tag) = up(&mut bench);
        bench.command(Command::Sources(vec![source.clone()]));
        bench.receive_from(SocketAddr::new(source.network, port), &from_peer("BYE", "b1", &tag, 2, EMPTY));
        assert_eq!(bench.words(), [answer], "{source:?} {port}");
        bench.command(Command::HangUp { call, reason: None });
        bench.assert_at_rest();
    }
}

/// RFC 3261 section 8.2.7: whoever has heard that a call is refused acknowledges no answer to its copy.
#[test]
fn a_copy_of_what_was_turned_away_is_turned_away() {
    let mut bench = Bench::new();
    bench.command(Command::Shed(true));
    let invite = from_peer("INVITE", "i1", "", 1, OFFER);
    bench.receive(&invite);
    let first = bench.sent.pop().unwrap().1;
    bench.command(Command::Shed(false));
    for _ in 0..3 {
        bench.pass(Duration::from_secs(10));
        bench.receive(&invite);
        assert_eq!(bench.sent.pop().unwrap().1, first, "the same, to the byte");
    }
    let counters = bench.endpoint.counters();
    assert_eq!((counters.refused_busy, counters.repeats, bench.told().len()), (1, 3, 0));
    // Asked anew it is another one; and so it is when no copy can come any more.
    bench.receive(&from_peer("INVITE", "i2", "", 2, OFFER));
    assert_eq!(bench.words(), ["100 INVITE"]);
    bench.receive(&from_peer("CANCEL", "i2", "", 2, EMPTY));
    bench.pass(Duration::from_secs(40));
    bench.words();
    bench.receive(&invite);
    assert_eq!(bench.words(), ["100 INVITE"]);
}

#[test]
fn what_a_gateway_sends_beside_the_session_is_in_nobodys_way() {
    let must = ISUP.replace("optional", "required");
    let rows: [(String, u16, Option<&str>); 9] = [
        (parts(&[OFFERED, ISUP]), 100, Some("offer")),
        (parts(&[ISUP, OFFERED]), 100, Some("offer")),
        (parts(&[ISUP]), 100, None),
        (parts(&[OFFERED, &must]), 415, None),
        (parts(&[OFFERED, OFFERED]), 400, None),
        (with_body("Content-Type: multipart/mixed\n", "offer"), 400, None),
        (with_body("Content-Type: text/plain\nContent-Disposition: render;handling=optional\n", "hello"), 100, None),
        (with_body("Content-Type: text/plain\nContent-Disposition: render;handling=required\n", "hello"), 415, None),
        (with_body("Content-Type: text/plain\n", "hello"), 415, None),
    ];
    for (more, status, expected) in rows {
        let mut bench = Bench::new();
        bench.receive(&from_peer("INVITE", "i1", "", 1, &more));
        let response = last(&bench);
        assert_eq!(response.status(), status, "{more}");
        let accept = (status == 415).then_some("application/sdp, multipart/mixed");
        assert_eq!(response.header("Accept"), accept, "{more}");
        if let Some(Event::Invited(invitation)) = bench.events.pop() {
            assert_eq!(invitation.offer.as_deref(), expected.map(str::as_bytes), "{more}");
            bench.command(Command::HangUp { call: invitation.call, reason: None });
        }
        bench.assert_at_rest();
    }
    // Where nobody can be told, what can be read counts.
    let mut bench = Bench::new();
    bench.receive(&from_peer("INVITE", "i1", "", 1, EMPTY));
    let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!() };
    let tag = crate::sip::dialog::Entry::read(&invitation.journal).unwrap().dialog.local_tag;
    bench.command(Command::Accept { call: invitation.call, answer: Bytes::from_static(b"ours") });
    bench.receive(&from_peer("ACK", "a1", &tag, 1, &parts(&[ISUP, OFFERED])));
    let Some(Event::Acknowledged { answer, .. }) = bench.events.pop() else { panic!() };
    assert_eq!(answer.as_deref(), Some(&b"offer"[..]));
}

#[test]
fn an_answer_among_several_parts_is_found() {
    for (status, more, expected) in [
        (183, parts(&[ISUP, OFFERED]), Some("offer")),
        (200, parts(&[ISUP, OFFERED]), Some("offer")),
        (200, parts(&[OFFERED, &ISUP.replace("optional", "required")]), None),
        (200, with_body("Content-Type: text/html\n", "<b>"), None),
    ] {
        let mut bench = Bench::new();
        bench.command(Command::Dial(Box::new(dial(&mut StdRng::seed_from_u64(4), 7, 30_000))));
        let plain = reply(&bench.request("INVITE"), status, "t", "");
        let (head, _) = plain.split_once("Content-Length").unwrap();
        bench.receive(&format!("{head}{more}"));
        let answer = match bench.events.pop() {
            Some(Event::Ringing { answer, .. } | Event::Answered { answer, .. }) => answer,
            other => panic!("{other:?}"),
        };
        assert_eq!(answer.as_deref(), expected.map(str::as_bytes), "{status} {more}");
        bench.command(Command::HangUp { call: Call::outbound(7), reason: None });
        bench.assert_at_rest();
    }
}

/// S4: within a call by datagram, a request goes where the far side says; its answer to a challenge there may be cracked.
#[test]
fn within_a_call_no_other_carrier_learns_what_a_password_makes() {
    const ASKS: &str = "Digest realm=\"carrier\",nonce=\"n9\",algorithm=SHA-256,qop=\"auth\"";
    let password = Some(Password::new(PASSWORD.to_vec()));
    let login = Login { owner: "them".into(), username: "ali".into(), password, realm: Some("carrier".into()) };
    for (owner, proves) in [("them", true), ("others", false)] {
        for what in ["INVITE", "BYE"] {
            let mut bench = Bench::new();
            bench.command(Command::Sources(vec![owned("192.0.2.2", "them"), owned("192.0.2.9", owner)]));
            let (login, carrier) = (Some(Arc::new(login.clone())), Some("them".into()));
            let dial = Dial { login, carrier, ..dial(&mut StdRng::seed_from_u64(4), 7, 30_000) };
            bench.command(Command::Dial(Box::new(dial)));
            let answer = reply(&bench.request("INVITE"), 200, "t", "answer");
            let contact = answer.lines().find(|line| line.starts_with("Contact")).unwrap().to_owned();
            bench.receive(&answer.replace(&contact, "Contact: <sip:them@192.0.2.9>"));
            bench.words();
            let call = Call::outbound(7);
            bench.command(match what {
                "BYE" => Command::HangUp { call, reason: None },
                _ => Command::Offer { call, offer: Bytes::from_static(b"hold") },
            });
            assert_eq!(bench.sent.last().unwrap().0.peer, other());
            let mut asks = Response::to(&bench.request(what), 401, "");
            asks.push("WWW-Authenticate", ASKS);
            bench.sent.clear();
            bench.endpoint.receive(bench.now, Flow { peer: other(), ..flow(0) }, &asks.to_bytes());
            bench.drain();
            let said = bench.sent.iter().filter_map(|(_, bytes)| parse_request(bytes));
            assert_eq!(said.filter(|request| request.header("Authorization").is_some()).count(), usize::from(proves));
            assert_eq!(bench.endpoint.counters().proofs, u64::from(proves), "{what} {owner}");
            bench.command(Command::HangUp { call, reason: None });
            bench.assert_at_rest();
        }
    }
}

/// RFC 3261 section 22.4: a border controller may write another host, and parameters, but not another callee.
#[test]
fn a_proof_is_of_whom_is_called_however_the_address_is_written() {
    for (uri, status) in [
        ("sip:room@192.0.2.1", 100),
        ("sip:room@192.0.2.1;user=phone", 100),
        ("sip:room@bridge.example:5061;transport=tcp", 100),
        ("sips:r%6fom@192.0.2.1", 100),
        ("sip:other@192.0.2.1", 400),
        ("sip:192.0.2.1", 400),
        ("room", 400),
        ("", 400),
    ] {
        let mut bench = Bench::new();
        bench.command(Command::Asked(vec![digest::asked(vec![listed()])]));
        bench.receive(&from_peer("INVITE", "i0", "", 1, OFFER).replace("c1", "c0"));
        let mut said = digest::said_of(&last(&bench), 0, PASSWORD, 1, "INVITE", b"offer");
        said.uri = uri.to_owned();
        said.response = said.sum(PASSWORD, "INVITE", b"offer");
        let proof = digest::header(&said);
        bench.receive(&from_peer("INVITE", "i1", "", 1, &format!("{proof}{OFFER}")));
        assert_eq!(last(&bench).status(), status, "{uri}");
        // And it is good once, whatever was written.
        bench.receive(&from_peer("INVITE", "i2", "", 2, &format!("{proof}{OFFER}")).replace("c1", "c2"));
        assert_eq!(last(&bench).status(), if status == 100 { 401 } else { 400 }, "{uri}");
    }
}

/// S4: what was said once is worth nothing to who says it again, after a restart or of something else.
#[test]
fn a_proof_is_of_one_life_and_one_method() {
    let mut first = Bench::new();
    first.command(Command::Asked(vec![digest::asked(vec![listed()])]));
    first.receive(&from_peer("INVITE", "i0", "", 1, OFFER).replace("c1", "c0"));
    let challenge = last(&first);
    let proof = digest::header(&digest::said_of(&challenge, 0, PASSWORD, 1, "INVITE", b"offer"));
    let mut second = Bench::new();
    second.endpoint = endpoint(10, address(1));
    second.command(Command::Asked(vec![digest::asked(vec![listed()])]));
    second.receive(&from_peer("INVITE", "i1", "", 1, &format!("{proof}{OFFER}")));
    assert_eq!((last(&second).status(), second.endpoint.counters().logins_stale), (401, 1));
    assert!(last(&second).header("WWW-Authenticate").unwrap().ends_with(",stale=true"));
    let of_options = digest::header(&digest::said_of(&challenge, 0, PASSWORD, 1, "OPTIONS", b""));
    first.receive(&from_peer("INVITE", "i1", "", 1, &format!("{of_options}{OFFER}")));
    assert_eq!((last(&first).status(), first.endpoint.counters().logins_wrong), (401, 1));
    assert!(first.told().is_empty() && second.told().is_empty());
}

/// RFC 3261 section 12.1.1, RFC 5630.
#[test]
fn who_calls_by_sips_gets_a_sips_contact_or_no_call() {
    let rows = [
        (Transport::Tls, "sip:room@192.0.2.1", "", "sip:"),
        (Transport::Tls, "sips:room@192.0.2.1", "", "sips:"),
        (Transport::Tls, "sip:room@192.0.2.1", "Record-Route: <sips:proxy@192.0.2.2;lr>\n", "sips:"),
        (Transport::Tls, "sip:room@192.0.2.1", "Record-Route: <sip:proxy@192.0.2.2;lr>\n", "sip:"),
        (Transport::Tcp, "sips:room@192.0.2.1", "", ""),
        (Transport::Udp, "sips:room@192.0.2.1", "", ""),
    ];
    for (transport, uri, more, scheme) in rows {
        let mut bench = Bench::new();
        let text = from_peer("INVITE", "i1", "", 1, &format!("{more}{OFFER}")).replacen("sip:room@192.0.2.1", uri, 1);
        let over = Flow { transport, ..flow(0) };
        bench.endpoint.receive(bench.now, over, &Bytes::from(text.replace('\n', "\r\n")));
        bench.drain();
        let Some(Event::Invited(invitation)) = bench.events.pop() else {
            let response = last(&bench);
            let warning = response.header("Warning").unwrap_or_default().to_owned();
            assert!(
                response.status() == 480 && warning.starts_with("380 ") && scheme.is_empty(),
                "{transport:?} {uri}"
            );
            continue;
        };
        bench.command(Command::Accept { call: invitation.call, answer: Bytes::from_static(b"answer") });
        let contact = last(&bench).contact().unwrap().uri().to_string();
        assert!(!scheme.is_empty() && contact.starts_with(scheme), "{transport:?} {uri}: {contact}");
        assert_eq!(contact.ends_with(";transport=tls"), scheme == "sip:", "{contact}");
    }
}

/// A call that rings reliably here, its tag, and the PRACK of it with this body.
fn ringing(offer: &str, answer: &'static [u8], body: &str) -> (Bench, Call, String) {
    let mut bench = Bench::new();
    bench.receive(&from_peer("INVITE", "i1", "", 1, &format!("Require: 100rel\n{offer}")));
    let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.events) };
    let call = invitation.call;
    let tag = crate::sip::dialog::Entry::read(&invitation.journal).unwrap().dialog.local_tag;
    let answer = Some(Bytes::from_static(answer)).filter(|answer| !answer.is_empty());
    bench.command(Command::Ring { call, status: 183, answer });
    let rseq = last(&bench).header("RSeq").unwrap().to_owned();
    bench.words();
    bench.receive(&from_peer("PRACK", "p1", &tag, 2, &format!("RAck: {rseq} 1 INVITE\n{body}")));
    (bench, call, tag)
}

/// RFC 3262 sections 3 and 5: the ringing is acknowledged whatever becomes of the body.
#[test]
fn a_prack_may_bring_an_offer_or_an_answer() {
    let further = with_body("Content-Type: application/sdp\n", "further");
    let accept = |bench: &mut Bench, call, tag: &str, body: &[u8]| {
        bench.command(Command::Accept { call, answer: Bytes::from_static(b"late") });
        assert_eq!((last(bench).status(), last(bench).body().as_ref()), (200, body));
        bench.receive(&from_peer("ACK", "a1", tag, 1, EMPTY));
        bench.words();
        bench.told();
        bench.pass(Duration::from_secs(1));
        assert!(bench.words().is_empty(), "neither the 200 nor the ringing goes on");
        bench.receive(&from_peer("BYE", "b1", tag, 9, EMPTY));
        bench.assert_at_rest();
    };
    // A further offer, which our owner takes.
    let (mut bench, call, tag) = ringing(OFFER, b"early", &further);
    assert_eq!((bench.words().len(), bench.told()), (0, vec!["Offered".to_owned()]));
    bench.command(Command::Agree { call, answer: Bytes::from_static(b"agreed") });
    let response = last(&bench);
    assert_eq!(
        (response.status(), response.cseq().1, response.body().as_ref()),
        (200, &method::Method::Prack, &b"agreed"[..])
    );
    assert_eq!(response.header("Session-Expires"), None);
    let session = &bench.endpoint.sessions[&call];
    assert_eq!((session.ours.as_ref(), session.theirs.as_ref()), (&b"agreed"[..], &b"further"[..]));
    accept(&mut bench, call, &tag, b"");
    // One that it does not take, one before our answer, and one that nobody can read: the offer alone is refused.
    let unread = with_body("Content-Type: text/plain\n", "hello");
    for (early, body, answer) in
        [(&b"early"[..], &further, "488 PRACK"), (b"", &further, "500 PRACK"), (b"early", &unread, "415 PRACK")]
    {
        let (mut bench, call, tag) = ringing(OFFER, early, body);
        bench.command(Command::Disagree { call, status: 488 });
        assert_eq!(bench.words(), [answer]);
        bench.pass(Duration::from_secs(3));
        assert!(bench.words().is_empty(), "the ringing is acknowledged");
        accept(&mut bench, call, &tag, b"late");
    }
    // After our offer it is the answer.
    let (mut bench, call, tag) = ringing(EMPTY, b"our offer", &further);
    assert_eq!(bench.words(), ["200 PRACK"]);
    let Some(Event::Agreed { answer: Some(answer), .. }) = bench.events.pop() else { panic!("{:?}", bench.events) };
    assert_eq!(answer, "further");
    let session = &bench.endpoint.sessions[&call];
    assert_eq!((session.ours.as_ref(), session.theirs.as_ref()), (&b"our offer"[..], &b"further"[..]));
    accept(&mut bench, call, &tag, b"");
}

/// Small things that a far side may rely on: what is sent, and a header that the answer must have or must not.
#[test]
fn what_else_is_answered() {
    let rows: [(&str, &str, u16, &str, Option<&str>); 7] = [
        // RFC 3261 section 8.2.6.1.
        ("INVITE", "Timestamp: 54.7\n", 100, "Timestamp", Some("54.7")),
        ("INVITE", "", 100, "Timestamp", None),
        ("OPTIONS", "Timestamp: 54.7\n", 200, "Timestamp", None),
        // RFC 6086 section 4.2.2.
        ("INFO", "Info-Package: conference\n", 469, "Recv-Info", Some("nil")),
        ("INFO", "", 200, "Recv-Info", None),
        ("INVITE", "Supported: timer\nSession-Expires: 600;Refresher=uas\n", 100, "Require", None),
        ("UPDATE", "Require: timer\nSession-Expires: 600\n", 200, "Require", Some("timer")),
    ];
    for (method, more, status, name, expected) in rows {
        let mut bench = Bench::new();
        let is_within = matches!(method, "INFO" | "UPDATE");
        let tag = if is_within { up(&mut bench).1 } else { String::new() };
        bench.receive(&from_peer(method, "x1", &tag, 2, &format!("{more}{EMPTY}")));
        assert_eq!((last(&bench).status(), last(&bench).header(name)), (status, expected), "{method} {more}");
    }
    // One tag in both answers, though its call is gone (RFC 3261 section 9.2), and however many hops it came by.
    for via in ["", "Via: SIP/2.0/UDP far.example;branch=z9hG4bKfar\n"] {
        let mut bench = Bench::new();
        let (call, _) = invited_by(&mut bench, via);
        bench.command(Command::Refuse { call, refusal: Refusal::plain(486) });
        bench.receive(&from_peer("CANCEL", "i1", "", 1, EMPTY));
        let tags: Vec<String> = bench.sent.iter().rev().take(2).map(|(_, bytes)| to_tag(bytes)).collect();
        assert_eq!(tags[0], tags[1], "{via}");
        assert!(!tags[0].is_empty());
    }
    // So too where it was answered, and has ended since.
    let mut bench = Bench::new();
    let (_, tag) = up(&mut bench);
    bench.receive(&from_peer("BYE", "b1", &tag, 2, EMPTY));
    bench.receive(&from_peer("CANCEL", "i1", "", 1, EMPTY));
    assert_eq!((last(&bench).status(), last(&bench).to().tag()), (200, Some(tag.as_str())));
    // A header parameter twice is none, of To as of all (two parsers could each believe another one).
    let mut bench = Bench::new();
    let (_, tag) = up(&mut bench);
    for tags in [format!("{tag};tag={tag}"), format!("{tag};tag=other"), format!("other;tag={tag}")] {
        bench.receive(&from_peer("BYE", "b1", &tags, 2, EMPTY));
        assert_eq!((bench.words(), bench.told()), (vec!["400".to_owned()], Vec::new()), "{tags}");
    }
}

fn to_tag(bytes: &Bytes) -> String {
    let text = String::from_utf8_lossy(bytes);
    let to = text.lines().find(|line| line.starts_with("To: ")).unwrap();
    to.split_once(";tag=").map(|(_, tag)| tag.to_owned()).unwrap_or_default()
}

fn invited_by(bench: &mut Bench, more: &str) -> (Call, Bytes) {
    bench.receive(&from_peer("INVITE", "i1", "", 1, &format!("{more}{OFFER}")));
    let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.events) };
    (invitation.call, bench.sent.last().unwrap().1.clone())
}

/// RFC 3261 section 13.3.1.
#[test]
fn an_invitation_lasts_as_long_as_it_says() {
    for (expires, seconds, status) in [
        ("", 180, 480),
        ("Expires: 20\n", 20, 487),
        ("Expires: 3600\n", 180, 480),
        ("Expires: x\n", 180, 480),
        ("Expires: 0\n", 0, 487),
    ] {
        let mut bench = Bench::new();
        let (call, _) = invited_by(&mut bench, expires);
        bench.command(Command::Ring { call, status: 180, answer: None });
        bench.words();
        if seconds > 0 {
            bench.pass(Duration::from_millis(seconds * 1_000 - 1));
            assert!(!bench.words().contains(&format!("{status} INVITE")), "{expires}");
        }
        bench.pass(Duration::from_millis(1));
        assert_eq!((last(&bench).status(), bench.told()), (status, vec!["Released".to_owned()]), "{expires}");
        bench.assert_at_rest();
    }
    // Answered in time, it goes on.
    let mut bench = Bench::new();
    let (call, trying) = invited_by(&mut bench, "Expires: 20\n");
    bench.command(Command::Accept { call, answer: Bytes::from_static(b"answer") });
    let tag = to_tag(&bench.sent.last().unwrap().1);
    assert!(trying.starts_with(b"SIP/2.0 100"));
    bench.receive(&from_peer("ACK", "a1", &tag, 1, EMPTY));
    bench.pass(Duration::from_secs(60));
    assert_eq!(bench.endpoint.calls(), 1);
}

/// Whoever wants a longer session each time is asked again and again, but not for ever at once, and the call ends by its terms.
#[test]
fn a_far_side_that_always_wants_more_is_not_asked_without_end() {
    let mut bench = Bench::new();
    let more = "Supported: timer\nAllow: UPDATE\nSession-Expires: 90;refresher=uas\n";
    let (call, _) = invited_by(&mut bench, more);
    bench.command(Command::Accept { call, answer: Bytes::from_static(b"answer") });
    let tag = to_tag(&bench.sent.last().unwrap().1);
    bench.receive(&from_peer("ACK", "a1", &tag, 1, EMPTY));
    bench.words();
    let (mut asked, mut least_s, began) = (0, 90, bench.now);
    while bench.endpoint.calls() > 0 && asked < 1_000 {
        let next = bench.endpoint.deadline().unwrap();
        bench.pass(next.since(bench.now));
        let updates: Vec<Request> = bench.sent.drain(..).filter_map(|(_, bytes)| parse_request(&bytes)).collect();
        for request in updates {
            let mut response = Response::to(&request, if request.method().as_str() == "BYE" { 200 } else { 422 }, "");
            if response.status() == 422 {
                (asked, least_s) = (asked + 1, least_s + 10);
                response.push("Min-SE", &least_s.to_string());
            }
            bench.endpoint.receive(bench.now, flow(0), &response.to_bytes());
            bench.drain();
        }
    }
    assert!((3..100).contains(&asked), "{asked}");
    assert!(bench.now.since(began) < Duration::from_secs(200));
    assert_eq!(bench.told(), ["Acknowledged", "Lapsed", "Released"]);
}
