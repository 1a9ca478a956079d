//! RFC 4475 asked of the whole endpoint: what each message is answered with, from a listed source and from a stranger.

use super::transport::{Frame, StreamFramer};
use super::*;
use crate::clock::Mono;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fs;
use std::path::Path;

const NONE: u16 = 0;

/// File, final status to a listed source (0: no answer), a header that the answer must have.
/// Every call that comes in is refused 404 by its owner.
const ROWS: &[(&str, u16, &str)] = &[
    // Read without complaint; but its To has a tag, and an INVITE of a dialog that is gone must not become a new call.
    ("wsinv", 481, ""),
    ("intmeth", 501, "Allow"),
    ("esc01", 404, ""),
    ("escnull", 405, "Allow"),
    ("esc02", 501, "Allow"),
    ("lwsdisp", 200, "Allow"),
    ("longreq", 404, ""),
    ("dblreq", 405, "Allow"),
    ("semiuri", 200, "Accept"),
    ("transports", 200, "Supported"),
    ("mpart01", 405, "Allow"),
    ("unreason", NONE, ""),
    ("noreason", NONE, ""),
    ("badinv01", 400, ""),
    ("clerr", 400, ""),
    ("ncl", 400, ""),
    ("scalar02", 400, ""),
    ("scalarlg", NONE, ""),
    ("quotbal", 400, ""),
    ("ltgtruri", 400, ""),
    ("lwsruri", 400, ""),
    ("lwsstart", 400, ""),
    ("trws", 400, ""),
    ("escruri", 400, ""),
    ("baddate", 404, ""),
    ("regbadct", 400, ""),
    ("badaspec", 400, ""),
    ("baddn", 400, ""),
    ("badvers", 505, ""),
    ("mismatch01", 400, ""),
    ("mismatch02", 501, "Allow"),
    ("bigcode", NONE, ""),
    ("badbranch", 400, ""),
    ("insuf", 400, ""),
    ("unkscm", 416, ""),
    ("novelsc", 416, ""),
    ("unksm2", 405, "Allow"),
    ("bext01", 420, "Unsupported"),
    ("invut", 415, "Accept"),
    ("regaut01", 405, "Allow"),
    ("multi01", 400, ""),
    ("mcl01", 400, ""),
    ("bcast", NONE, ""),
    ("zeromf", 200, "Allow"),
    ("cparam01", 405, "Allow"),
    ("cparam02", 405, "Allow"),
    ("regescrt", 405, "Allow"),
    ("sdp01", 406, "Warning"),
    ("inv2543", 400, ""),
    // Beside the 49: no version and no Via; and one of them with the empty line that the archive's form lacks.
    ("extra/test", NONE, ""),
    ("extra/baddn-terminated", 400, ""),
];

/// What a connection brings is cut by Content-Length, and ends where that cannot be: file, final statuses, and whether it is closed.
const BY_STREAM: &[(&str, &[u16], bool)] = &[
    // Two requests, two answers, and bytes that begin nothing.
    ("dblreq", &[405, 404], true),
    // Nobody can tell the end of a body that is not there, or of what has no empty line.
    ("clerr", &[], false),
    ("baddn", &[], false),
    ("ncl", &[400], true),
    ("mcl01", &[400], true),
    // No Content-Length.
    ("inv2543", &[400], true),
    ("extra/test", &[], true),
];

fn file(name: &str) -> Bytes {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rfc4475");
    Bytes::from(fs::read(folder.join(format!("{name}.dat"))).unwrap())
}

fn flow(transport: Transport) -> Flow {
    Flow { transport, local: "192.0.2.1:5060".parse().unwrap(), peer: "192.0.2.99:40000".parse().unwrap() }
}

fn endpoint(listed: bool, old_syntax: bool) -> Endpoint {
    let config = Config {
        max_calls: 10,
        max_transactions: 100,
        product: "tollbridge".to_owned(),
        retry_after_s: 1,
        session_s: 1_800,
        trying_s: 0,
        is_focus: true,
        pace: Pace::default(),
    };
    let mut endpoint = Endpoint::new(config, [7; 32]);
    let (network, prefix_len) = ("192.0.2.0".parse().unwrap(), 24);
    let source = Source {
        network,
        prefix_len,
        port: None,
        owner: None,
        advertise: None,
        old_syntax,
        tls_name: None,
        tls_only: true,
    };
    endpoint.command(Mono::default(), Command::Sources(if listed { vec![source] } else { Vec::new() }));
    endpoint
}

/// What an endpoint sends for one message, and how many calls it tells of. Each call is refused.
fn ask(endpoint: &mut Endpoint, flow: Flow, bytes: &Bytes) -> (Vec<(Flow, String)>, Vec<Invitation>) {
    let now = Mono::from_millis(1_000);
    endpoint.receive(now, flow, bytes);
    let (mut sent, mut calls) = (Vec::new(), Vec::new());
    while let Some(output) = endpoint.poll() {
        match output {
            Output::Send { flow, bytes } => sent.push((flow, String::from_utf8_lossy(&bytes).into_owned())),
            Output::Event(Event::Invited(invitation)) => {
                endpoint.command(now, Command::Refuse { call: invitation.call, refusal: Refusal::plain(404) });
                calls.push(*invitation);
            }
            _ => {}
        }
    }
    (sent, calls)
}

/// The same for what one source sends by either transport, as it is read from there; and whether the connection is closed.
fn tell(endpoint: &mut Endpoint, transport: Transport, bytes: &Bytes) -> (Vec<(Flow, String)>, Vec<Invitation>, bool) {
    if !transport.is_stream() {
        let (sent, calls) = ask(endpoint, flow(transport), bytes);
        return (sent, calls, false);
    }
    let (mut sent, mut calls) = (Vec::new(), Vec::new());
    let mut framer = StreamFramer::new();
    framer.push(bytes);
    loop {
        match framer.next() {
            Ok(Some(Frame::Message(message))) => {
                let (more, called) = ask(endpoint, flow(transport), &message);
                sent.extend(more);
                calls.extend(called);
            }
            Ok(Some(Frame::Ping)) => {}
            Ok(None) => return (sent, calls, false),
            Err(malformed) => {
                endpoint.unframed(Mono::from_millis(1_000), flow(transport), malformed, bytes.len());
                while let Some(output) = endpoint.poll() {
                    if let Output::Send { flow, bytes } = output {
                        sent.push((flow, String::from_utf8_lossy(&bytes).into_owned()));
                    }
                }
                return (sent, calls, true);
            }
        }
    }
}

/// A call as anybody makes it, which is refused as all are: whatever came before it has done no harm.
fn canary(endpoint: &mut Endpoint, transport: Transport, listed: bool, name: &str) {
    let text = "INVITE sip:canary@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.99:40000;branch=z9hG4bKcanary\nMax-Forwards: 70\n\
                From: <sip:+4930@192.0.2.99>;tag=canary\nTo: <sip:canary@192.0.2.1>\nCall-ID: canary\nCSeq: 1 INVITE\n\
                Contact: <sip:+4930@192.0.2.99>\nSubject: a stranger is answered by no more than it has sent, so this is long\n\
                Content-Length: 0\n\n";
    let (sent, calls, _) = tell(endpoint, transport, &Bytes::from(text.replace('\n', "\r\n")));
    assert_eq!((finals(&sent), calls.len()), (vec![if listed { 404 } else { 403 }], usize::from(listed)), "{name}");
}

fn status(text: &str) -> u16 {
    text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

fn finals(sent: &[(Flow, String)]) -> Vec<u16> {
    sent.iter().map(|(_, text)| status(text)).filter(|status| *status >= 200).collect()
}

/// Lets all timers run out.
fn rest(endpoint: &mut Endpoint) {
    while let Some(next) = endpoint.deadline() {
        endpoint.wake(next);
        while endpoint.poll().is_some() {}
    }
    assert_eq!((endpoint.calls(), endpoint.transactions(), endpoint.alarms()), (0, 0, 0));
}

#[test]
fn a_listed_source_gets_the_answer_of_the_table() {
    assert_eq!(ROWS.len(), 49 + 2);
    let mut wrong = Vec::new();
    for ((name, expected, header), transport) in
        ROWS.iter().flat_map(|row| [(row, Transport::Udp), (row, Transport::Tcp)])
    {
        let mut endpoint = endpoint(true, false);
        let (sent, calls, is_closed) = tell(&mut endpoint, transport, &file(name));
        let plain: Vec<u16> = Some(*expected).filter(|status| *status != NONE).into_iter().collect();
        let otherwise = BY_STREAM.iter().find(|(other, ..)| other == name && transport.is_stream());
        let (expected, closes) =
            otherwise.map_or((plain.as_slice(), false), |(_, statuses, closes)| (*statuses, *closes));
        let called = expected.iter().filter(|status| **status == 404).count();
        if finals(&sent) != expected || calls.len() != called || is_closed != closes {
            wrong.push((name, transport, finals(&sent), is_closed, expected.to_vec(), sent.first().cloned()));
            continue;
        }
        let all: String = sent.iter().map(|(_, text)| text.as_str()).collect();
        assert!(expected.is_empty() || all.contains(&format!("\r\n{header}")), "{name}: {all}");
        assert!(sent.iter().all(|(to, _)| to.peer.ip() == flow(transport).peer.ip()), "{name}: to its source alone");
        canary(&mut endpoint, transport, true, name);
        rest(&mut endpoint);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_stranger_gets_403_or_a_refusal_and_by_datagram_never_more_than_it_sent() {
    for ((name, listed, _), transport) in ROWS.iter().flat_map(|row| [(row, Transport::Udp), (row, Transport::Tcp)]) {
        let mut endpoint = endpoint(false, false);
        let bytes = file(name);
        let (sent, calls, _) = tell(&mut endpoint, transport, &bytes);
        assert!(calls.is_empty() && endpoint.transactions() == 0 && endpoint.alarms() == 0, "{name}");
        let most = if *name == "dblreq" && transport.is_stream() { 2 } else { usize::from(*listed != NONE) };
        assert!(sent.len() <= most, "{name}: {sent:?}");
        for (_, text) in sent {
            assert!(transport.is_stream() || text.len() <= bytes.len(), "{name}");
            assert!(status(&text) == 403 || status(&text) == *listed, "{name}: {text}");
        }
        canary(&mut endpoint, transport, false, name);
    }
}

#[test]
fn an_old_caller_is_taken_where_it_may_be() {
    let mut endpoint = endpoint(true, true);
    let (sent, calls) = ask(&mut endpoint, flow(Transport::Udp), &file("inv2543"));
    assert_eq!(finals(&sent), [404]);
    assert!(calls[0].old_syntax);
    // Its repeat is answered from memory; the same from another address is another call.
    let (sent, calls) = ask(&mut endpoint, flow(Transport::Udp), &file("inv2543"));
    assert_eq!((finals(&sent), calls.len()), (vec![404], 0));
    rest(&mut endpoint);
}

#[test]
fn users_are_unescaped_once() {
    let (_, calls) = ask(&mut endpoint(true, false), flow(Transport::Udp), &file("esc01"));
    assert_eq!(calls[0].request_user, "sips:user@example.com");
    assert_eq!(calls[0].from_user, "I have spaces");
    assert_eq!(calls[0].to_user, "user");
}

#[test]
fn a_refusal_names_what_was_required_of_us_and_not_of_a_proxy() {
    let (sent, _) = ask(&mut endpoint(true, false), flow(Transport::Udp), &file("bext01"));
    let unsupported = sent[0].1.lines().find(|line| line.starts_with("Unsupported: ")).unwrap();
    assert_eq!(unsupported, "Unsupported: nothingSupportsThis, nothingSupportsThisEither");
}

/// Each file with bytes changed, cut and doubled: no panic, no call that stays, nothing sent elsewhere.
#[test]
fn a_damaged_message_does_no_harm() {
    let mut rng = StdRng::seed_from_u64(4475);
    for (name, ..) in ROWS {
        let mut endpoint = endpoint(true, true);
        for turn in 0..200 {
            let transport = [Transport::Udp, Transport::Tcp][turn % 2];
            let mut bytes = file(name).to_vec();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bytes.len());
                match rng.random_range(0..3) {
                    0 => bytes[at] = rng.random(),
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, b"\r\n ;,\"<>@:=%\0"[at % 13]),
                }
            }
            let (sent, _) = ask(&mut endpoint, flow(transport), &Bytes::from(bytes));
            assert!(sent.iter().all(|(to, _)| to.peer.ip() == flow(transport).peer.ip()), "{name}");
        }
        rest(&mut endpoint);
    }
}

/// RFC 5118 section 4 in words of our own: what is odd of each, and what it is answered with. Its sessions are of IPv6, which is
/// whoever's that reads them.
const SIXES: &[(&str, &str, u16)] = &[
    (
        "4.1: references in their brackets",
        "REGISTER sip:[2001:db8::10]\nVia: [2001:db8::9:1]\nContact: [2001:db8::1]",
        405,
    ),
    ("4.2: an address without them", "REGISTER sip:2001:db8::10\nVia: [2001:db8::9:1]\nContact: [2001:db8::1]", 400),
    (
        "4.3: what may be a port is none",
        "REGISTER sip:[2001:db8::10:5070]\nVia: [2001:db8::9:1]\nContact: [2001:db8::1]",
        405,
    ),
    ("4.4: a port", "REGISTER sip:[2001:db8::10]:5070\nVia: [2001:db8::9:1]\nContact: [2001:db8::1]", 405),
    (
        "4.5: where it was received, in brackets",
        "BYE sip:[2001:db8::10]\nVia: [2001:db8::9:1];received=[2001:db8::9:255]\nContact: [2001:db8::1]",
        481,
    ),
    (
        "4.5: and without",
        "BYE sip:[2001:db8::10]\nVia: [2001:db8::9:1];received=2001:db8::9:255\nContact: [2001:db8::1]",
        481,
    ),
    (
        "4.6: a session of IPv6",
        "INVITE sip:user@[2001:db8::10]\nVia: [2001:db8::20]\nContact: user@[2001:db8::20]",
        404,
    ),
    (
        "4.7: hops of both families",
        "BYE sip:user@host.example.net\nVia: [2001:db8::9:1]:6050\nVia: 192.0.2.1\nVia: [2001:db8::9:255]\nContact: [2001:db8::1]",
        481,
    ),
    (
        "4.9: IPv4 within IPv6",
        "INVITE sip:user@[::ffff:192.0.2.10]\nVia: [::ffff:192.0.2.2]:19823\nContact: user@[::ffff:192.0.2.2]",
        404,
    ),
    // What the grammar of RFC 3261 allowed by mistake is no address: refused, since two readers could each see another one.
    (
        "4.10: three colons",
        "OPTIONS sip:user@[2001:db8:::192.0.2.1]\nVia: [2001:db8::9:1]\nContact: [2001:db8::1]",
        400,
    ),
];

#[test]
fn addresses_of_ipv6_are_read_as_the_rfc_has_it() {
    const OFFER: &str = "v=0\r\no=user 971731711378798081 0 IN IP6 2001:db8::20\r\ns=-\r\nc=IN IP6 2001:db8::20\r\nt=0 0\r\n\
                         m=audio 6000 RTP/AVP 0\r\nm=video 6024 RTP/AVP 107\r\nc=IN IP4 192.0.2.1\r\n";
    let peer = "[2001:db8::9:1]:5060".parse::<SocketAddr>().unwrap();
    for (what, short, expected) in SIXES {
        let mut endpoint = endpoint(false, false);
        let everybody = Source { prefix_len: 32, ..Source::at(peer.ip()) };
        endpoint.command(Mono::default(), Command::Sources(vec![everybody]));
        let (start, lines) = short.split_once('\n').unwrap();
        let method = start.split(' ').next().unwrap();
        let mut text = format!("{start} SIP/2.0\r\n");
        for (number, line) in lines.lines().enumerate() {
            match line.split_once(": ").unwrap() {
                ("Via", hop) => text += &format!("Via: SIP/2.0/UDP {hop};branch=z9hG4bKhop{number}\r\n"),
                (name, address) => text += &format!("{name}: <sip:{address}>\r\n"),
            }
        }
        let (tag, body) = if method == "BYE" { (";tag=gone", "") } else { ("", OFFER) };
        let body = if method == "INVITE" { body } else { "" };
        text += &format!(
            "From: <sip:user@example.com>;tag=81x2\r\nTo: <sip:user@example.com>{tag}\r\nCall-ID: c@[2001:db8::1]\r\n\
             CSeq: 98176 {method}\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let over = Flow { peer, local: "[2001:db8::10]:5060".parse().unwrap(), ..flow(Transport::Udp) };
        let (sent, calls) = ask(&mut endpoint, over, &Bytes::from(text));
        assert_eq!(finals(&sent), [*expected], "{what}: {sent:?}");
        assert!(sent.iter().all(|(to, _)| to.peer.ip() == peer.ip()), "{what}");
        for call in calls {
            assert_eq!(call.offer.as_deref(), Some(OFFER.as_bytes()), "{what}");
        }
        rest(&mut endpoint);
    }
}
