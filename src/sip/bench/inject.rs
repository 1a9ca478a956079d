//! Line ends and their like in every place of a request that goes into something of ours: no line of it is anybody else's.

use super::*;

const HEADER: &str = "X-Injected: 1";

/// What might begin a line, for somebody. What stands between marks is text that a careful writer has escaped.
const LINE_ENDS: [&str; 14] = [
    "\r\n",
    "\r",
    "\n",
    "\n\r",
    "\r\n ",
    "\r\n\t",
    "\0",
    "%0d%0a",
    "%0D%0A%20",
    "\\\r\n",
    "\u{85}",
    "\u{2028}",
    "\u{2029}",
    "\u{0b}",
];

/// Places, each in a request that is whole without it.
const PLACES: [(&str, &str, &str); 15] = [
    ("INVITE", "sip:room@192.0.2.1 ", "sip:room{}@192.0.2.1 "),
    ("INVITE", "From: <", "From: \"them{}\" <"),
    ("INVITE", "From: <sip:+4930@", "From: <sip:+4930{}@"),
    ("INVITE", "tag=them", "tag=them{}"),
    ("INVITE", "To: <", "To: \"us{}\" <"),
    ("INVITE", "Call-ID: c1", "Call-ID: c1{}"),
    ("INVITE", "branch=z9hG4bKi1", "branch=z9hG4bKi1{}"),
    ("INVITE", "Contact: <sip:+4930@", "Contact: <sip:+4930{}@"),
    ("INVITE", "Max-Forwards: 70", "Max-Forwards: 70\r\nRecord-Route: <sip:proxy{}@192.0.2.2;lr>"),
    ("INVITE", "Max-Forwards: 70", "Max-Forwards: 70\r\nRequire: nothing{}"),
    ("INVITE", "Max-Forwards: 70", "Max-Forwards: 70\r\nUser-Agent: them{}"),
    ("OPTIONS", "Max-Forwards: 70", "Max-Forwards: 70\r\nTimestamp: 1{}"),
    ("REFER", "Max-Forwards: 70", "Max-Forwards: 70\r\nRefer-To: <sip:+4931{}@192.0.2.2>"),
    ("SUBSCRIBE", "Max-Forwards: 70", "Max-Forwards: 70\r\nEvent: conference{}"),
    ("NOPE", "Max-Forwards: 70", "Max-Forwards: 70\r\nSubject: them{}"),
];

/// What a careless reader takes for lines of it.
fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).split(['\r', '\n']).map(|line| line.trim_start().to_owned()).collect()
}

#[test]
fn no_line_of_ours_is_anybody_elses() {
    let mut read = 0;
    for (method, place, with) in PLACES {
        for end in LINE_ENDS {
            let mut bench = Bench::new();
            let body = if method == "INVITE" { OFFER } else { EMPTY };
            let whole = from_peer(method, "i1", "", 1, body).replace('\n', "\r\n");
            assert!(whole.contains(place), "{place}");
            let text = whole.replacen(place, &with.replace("{}", &format!("{end}{HEADER}")), 1);
            bench.endpoint.receive(bench.now, flow(0), &Bytes::from(text.clone()));
            bench.drain();
            let call = match bench.events.pop() {
                Some(Event::Invited(invitation)) => Some(invitation.call),
                _ => None,
            };
            if let Some(call) = call {
                read += 1;
                bench.command(Command::Ring { call, status: 180, answer: None });
                bench.command(Command::Accept { call, answer: Bytes::from_static(b"answer") });
                bench.pass(Duration::from_secs(40));
            }
            for (_, bytes) in &bench.sent {
                let found: Vec<String> =
                    lines(bytes).into_iter().filter(|line| line.starts_with("X-Injected")).collect();
                assert!(found.is_empty(), "{method} {with:?} {end:?}: {}", String::from_utf8_lossy(bytes));
            }
            bench.assert_at_rest();
        }
    }
    assert!(read >= 20, "too many are refused as a whole for this to say much: {read}");
}
