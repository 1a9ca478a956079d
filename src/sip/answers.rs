//! RFC 4475 asked of the whole endpoint: what each message is answered with, from a listed source and from a stranger.

use super::*;
use crate::clock::Mono;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::fs;
use std::path::Path;

const NONE: u16 = 0;

/// File, transport, final status to a listed source (0: no answer), a header that the answer must have.
/// Every call that comes in is refused 404 by its owner.
const ROWS: &[(&str, Transport, u16, &str)] = {
    use Transport::{Tcp, Udp};
    &[
        // Read without complaint; but its To has a tag, and an INVITE of a dialog that is gone must not become a new call.
        ("wsinv", Udp, 481, ""),
        ("intmeth", Tcp, 501, "Allow"),
        ("esc01", Udp, 404, ""),
        ("escnull", Udp, 405, "Allow"),
        ("esc02", Tcp, 501, "Allow"),
        ("lwsdisp", Udp, 200, "Allow"),
        ("longreq", Udp, 404, ""),
        ("dblreq", Udp, 405, "Allow"),
        ("semiuri", Udp, 200, "Accept"),
        ("transports", Udp, 200, "Supported"),
        ("mpart01", Udp, 405, "Allow"),
        ("unreason", Udp, NONE, ""),
        ("noreason", Udp, NONE, ""),
        ("badinv01", Udp, 400, ""),
        ("clerr", Udp, 400, ""),
        ("ncl", Udp, 400, ""),
        ("scalar02", Udp, 400, ""),
        ("scalarlg", Udp, NONE, ""),
        ("quotbal", Udp, 400, ""),
        ("ltgtruri", Udp, 400, ""),
        ("lwsruri", Udp, 400, ""),
        ("lwsstart", Udp, 400, ""),
        ("trws", Udp, 400, ""),
        ("escruri", Udp, 400, ""),
        ("baddate", Udp, 404, ""),
        ("regbadct", Udp, 400, ""),
        ("badaspec", Udp, 400, ""),
        ("baddn", Udp, 400, ""),
        ("badvers", Udp, 505, ""),
        ("mismatch01", Udp, 400, ""),
        ("mismatch02", Udp, 501, "Allow"),
        ("bigcode", Udp, NONE, ""),
        ("badbranch", Udp, 400, ""),
        ("insuf", Udp, 400, ""),
        ("unkscm", Udp, 416, ""),
        ("novelsc", Udp, 416, ""),
        ("unksm2", Udp, 405, "Allow"),
        ("bext01", Udp, 420, "Unsupported"),
        ("invut", Udp, 415, "Accept"),
        ("regaut01", Udp, 405, "Allow"),
        ("multi01", Udp, 400, ""),
        ("mcl01", Udp, 400, ""),
        ("bcast", Udp, NONE, ""),
        ("zeromf", Udp, 200, "Allow"),
        ("cparam01", Udp, 405, "Allow"),
        ("cparam02", Udp, 405, "Allow"),
        ("regescrt", Udp, 405, "Allow"),
        ("sdp01", Udp, 406, "Warning"),
        ("inv2543", Udp, 400, ""),
    ]
};

fn file(name: &str) -> Bytes {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/rfc4475");
    Bytes::from(fs::read(folder.join(name).with_extension("dat")).unwrap())
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
        is_focus: true,
        pace: Pace::default(),
    };
    let mut endpoint = Endpoint::new(config, [7; 32]);
    let (network, prefix_len) = ("192.0.2.0".parse().unwrap(), 24);
    let source =
        Source { old_syntax, prefix_len, ..Source::at(network) };
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
    assert_eq!(ROWS.len(), 49);
    let mut wrong = Vec::new();
    for (name, transport, expected, header) in ROWS {
        let mut endpoint = endpoint(true, false);
        let (sent, calls) = ask(&mut endpoint, flow(*transport), &file(name));
        let expected: Vec<u16> = Some(*expected).filter(|status| *status != NONE).into_iter().collect();
        if finals(&sent) != expected || calls.len() != usize::from(expected == [404]) {
            wrong.push((name, finals(&sent), expected, sent.first().cloned()));
            continue;
        }
        let all: String = sent.iter().map(|(_, text)| text.as_str()).collect();
        assert!(header.is_empty() || all.contains(&format!("\r\n{header}: ")), "{name}: {all}");
        assert!(sent.iter().all(|(to, _)| to.peer.ip() == flow(*transport).peer.ip()), "{name}: to its source alone");
        rest(&mut endpoint);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_stranger_gets_403_or_a_refusal_and_never_more_than_it_sent() {
    for (name, transport, listed, _) in ROWS {
        let mut endpoint = endpoint(false, false);
        let bytes = file(name);
        let (sent, calls) = ask(&mut endpoint, flow(*transport), &bytes);
        assert!(calls.is_empty() && endpoint.transactions() == 0 && endpoint.alarms() == 0, "{name}");
        assert!(sent.len() <= usize::from(*listed != NONE), "{name}: {sent:?}");
        for (_, text) in sent {
            assert!(text.len() <= bytes.len(), "{name}");
            assert!(status(&text) == 403 || status(&text) == *listed, "{name}: {text}");
        }
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
    for (name, transport, ..) in ROWS {
        let mut endpoint = endpoint(true, true);
        for _ in 0..200 {
            let mut bytes = file(name).to_vec();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bytes.len());
                match rng.random_range(0..3) {
                    0 => bytes[at] = rng.random(),
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, b"\r\n ;,\"<>@:=%\0"[at % 13]),
                }
            }
            let (sent, _) = ask(&mut endpoint, flow(*transport), &Bytes::from(bytes));
            assert!(sent.iter().all(|(to, _)| to.peer.ip() == flow(*transport).peer.ip()), "{name}");
        }
        rest(&mut endpoint);
    }
}
