//! Method × state of a call that came in × how the request is: what it is answered with, and what our owner is told. Each cell
//! is a call of its own, from its beginning to a state where nothing is left.

use super::*;

/// How far a call that came in has come.
#[derive(Clone, Copy, Debug)]
enum State {
    /// There is none.
    None,
    Rings,
    /// It rings reliably, with our answer: a PRACK is awaited (RFC 3262).
    Promised,
    /// Our 200 waits for its ACK.
    Accepted,
    Up,
    /// Their offer waits for our owner.
    Changing,
    /// Our offer is out.
    Offering,
    /// Our REFER was agreed to: they are to tell how it goes.
    Handing,
    /// Our BYE is out.
    Ending,
    /// They have hung up.
    Over,
}

const STATES: [State; 10] = [
    State::None,
    State::Rings,
    State::Promised,
    State::Accepted,
    State::Up,
    State::Changing,
    State::Offering,
    State::Handing,
    State::Ending,
    State::Over,
];

/// A call in this state.
struct In {
    bench: Bench,
    call: Option<Call>,
    /// Ours.
    tag: String,
    /// What a PRACK would name.
    rack: String,
    /// Where its conference is.
    token: String,
}

fn call_in(state: State) -> In {
    let mut bench = Bench::new();
    let answer = || Bytes::from_static(b"answer");
    let mut rack = "1 1 INVITE".to_owned();
    let mut token = "nobody".to_owned();
    let place = |bench: &Bench, call: Call| bench.endpoint.sessions[&call].dialog.token.clone();
    let (call, tag) = match state {
        State::None => (None, String::new()),
        State::Promised => {
            bench.receive(&from_peer("INVITE", "i1", "", 1, &format!("Require: 100rel\n{OFFER}")));
            let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.events) };
            bench.command(Command::Ring { call: invitation.call, status: 183, answer: Some(answer()) });
            let ringing = parse_response(&bench.sent.last().unwrap().1).unwrap();
            rack = format!("{} 1 INVITE", ringing.header("RSeq").unwrap());
            token = place(&bench, invitation.call);
            (Some(invitation.call), ringing.to().tag().unwrap().to_owned())
        }
        State::Rings | State::Accepted => {
            let (call, tag) = invited(&mut bench);
            token = place(&bench, call);
            if matches!(state, State::Accepted) {
                bench.command(Command::Accept { call, answer: answer() });
            }
            (Some(call), tag)
        }
        _ => {
            let (call, tag) = up(&mut bench);
            token = place(&bench, call);
            match state {
                State::Changing => bench.receive(&from_peer("INVITE", "i2", &tag, 2, OFFER)),
                State::Offering => bench.command(Command::Offer { call, offer: answer() }),
                State::Handing => {
                    bench.endpoint.sessions.get_mut(&call).unwrap().refers = true;
                    bench.command(Command::Refer { call, to: "<sip:+4931@192.0.2.2>".to_owned() });
                    let refer = bench.request("REFER");
                    bench.receive(&reply(&refer, 202, "", ""));
                }
                State::Ending => bench.command(Command::HangUp { call, reason: None }),
                State::Over => bench.receive(&from_peer("BYE", "b2", &tag, 2, EMPTY)),
                _ => {}
            }
            (Some(call), tag)
        }
    };
    bench.words();
    bench.told();
    In { bench, call, tag, rack, token }
}

/// What each method needs.
fn needed(method: &str, rack: &str) -> String {
    const PROGRESS: &str = "SIP/2.0 100 Trying";
    match method {
        "INVITE" | "UPDATE" => OFFER.to_owned(),
        "PRACK" => format!("RAck: {rack}\n{EMPTY}"),
        "REFER" => format!("Refer-To: <sip:+4930@192.0.2.2>\n{EMPTY}"),
        "SUBSCRIBE" => format!("Event: refer\n{EMPTY}"),
        "NOTIFY" => format!(
            "Event: refer\nSubscription-State: active\nContent-Type: message/sipfrag\nContent-Length: {}\n\n{PROGRESS}",
            PROGRESS.len()
        ),
        _ => EMPTY.to_owned(),
    }
}

/// What becomes of one request, in words: what is sent, then what is told. `bad`: what stands in the place of what it needs.
fn cell(method: &str, state: State, kind: Kind, bad: Option<&str>) -> String {
    let In { mut bench, call, tag, rack, .. } = call_in(state);
    let tag = if kind == Kind::Astray { "astray".to_owned() } else { tag };
    let latest = if matches!(state, State::Changing | State::Over) { 2 } else { 1 };
    // An ACK and a CANCEL have the number of their INVITE, and a CANCEL its branch.
    let cseq = match (method, kind) {
        (_, Kind::Old) => 0,
        ("ACK" | "CANCEL", _) => latest,
        _ => latest + 1,
    };
    let branch = match (method, state) {
        ("CANCEL", State::Changing) => "i2",
        ("CANCEL", _) => "i1",
        _ => "cell",
    };
    let to_tag = if method == "CANCEL" && kind != Kind::Astray { "" } else { &tag };
    let body = bad.map_or_else(|| needed(method, &rack), |bad| bad.replace("{rack}", &rack));
    let require = if kind == Kind::Invalid { "Require: nobody-knows\n" } else { "" };
    let mut text = from_peer(method, branch, to_tag, cseq, &format!("{require}{body}"));
    if kind == Kind::Astray && method == "CANCEL" {
        text = text.replace("z9hG4bKi", "z9hG4bKastray");
    }
    bench.receive(&text);
    what_became(bench, call, method)
}

/// Method, how the request is, and a cell for each of [`STATES`].
#[rustfmt::skip]
const CELLS: &[(&str, Kind, [&str; 10])] = &[
    ("INVITE", Kind::Valid, ["100 Invited", "500", "500", "500", "100 Offered", "500", "491", "100 Offered", "481", "481"]),
    ("INVITE", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420", "420", "420"]),
    ("INVITE", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("INVITE", Kind::Old, ["100 Invited", "500", "500", "500", "500", "500", "500", "500", "500", "481"]),
    ("ACK", Kind::Valid, ["-", "-", "-", "Acknowledged", "-", "-", "-", "-", "-", "-"]),
    ("ACK", Kind::Invalid, ["-", "-", "-", "Acknowledged", "-", "-", "-", "-", "-", "-"]),
    ("ACK", Kind::Astray, ["-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    ("ACK", Kind::Old, ["-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    ("CANCEL", Kind::Valid, ["481", "200 487 INVITE Cancelled", "200 487 INVITE Cancelled", "200", "200", "200 487 INVITE", "200", "200", "200", "200"]),
    ("CANCEL", Kind::Invalid, ["481", "200 487 INVITE Cancelled", "200 487 INVITE Cancelled", "200", "200", "200 487 INVITE", "200", "200", "200", "200"]),
    ("CANCEL", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("CANCEL", Kind::Old, ["481", "200 487 INVITE Cancelled", "200 487 INVITE Cancelled", "200", "200", "200 487 INVITE", "200", "200", "200", "200"]),
    ("BYE", Kind::Valid, ["481", "200 487 INVITE Cancelled", "200 487 INVITE Cancelled", "200 HungUp", "200 HungUp", "200 487 INVITE HungUp", "200 HungUp", "200 Transferring HungUp", "200", "481"]),
    ("BYE", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420", "420", "420"]),
    ("BYE", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("BYE", Kind::Old, ["481", "500", "500", "500", "500", "500", "500", "500", "500", "481"]),
    ("OPTIONS", Kind::Valid, ["200", "200", "200", "200", "200", "200", "200", "200", "200", "481"]),
    ("OPTIONS", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420", "420", "420"]),
    ("OPTIONS", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("OPTIONS", Kind::Old, ["200", "500", "500", "500", "500", "500", "500", "500", "500", "481"]),
    ("UPDATE", Kind::Valid, ["481", "500", "500", "Offered", "Offered", "500", "491", "Offered", "481", "481"]),
    ("UPDATE", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420", "420", "420"]),
    ("UPDATE", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("UPDATE", Kind::Old, ["481", "500", "500", "500", "500", "500", "500", "500", "500", "481"]),
    ("INFO", Kind::Valid, ["481", "200", "200", "200", "200", "200", "200", "200", "200", "481"]),
    ("INFO", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420", "420", "420"]),
    ("INFO", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("INFO", Kind::Old, ["481", "500", "500", "500", "500", "500", "500", "500", "500", "481"]),
    ("PRACK", Kind::Valid, ["481", "481", "200", "481", "481", "481", "481", "481", "481", "481"]),
    ("PRACK", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420", "420", "420"]),
    ("PRACK", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("PRACK", Kind::Old, ["481", "500", "500", "500", "500", "500", "500", "500", "500", "481"]),
    ("REGISTER", Kind::Valid, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("REGISTER", Kind::Invalid, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("REGISTER", Kind::Astray, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("REGISTER", Kind::Old, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("REFER", Kind::Valid, ["403", "491", "491", "Referred", "Referred", "Referred", "Referred", "Referred", "481", "481"]),
    ("REFER", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420", "420", "420"]),
    ("REFER", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("REFER", Kind::Old, ["403", "500", "500", "500", "500", "500", "500", "500", "500", "481"]),
    ("SUBSCRIBE", Kind::Valid, ["489", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("SUBSCRIBE", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420", "420", "420"]),
    ("SUBSCRIBE", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("SUBSCRIBE", Kind::Old, ["489", "500", "500", "500", "500", "500", "500", "500", "500", "481"]),
    ("NOTIFY", Kind::Valid, ["481", "481", "481", "481", "481", "481", "481", "200 Transferring", "481", "481"]),
    ("NOTIFY", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420", "420", "420"]),
    ("NOTIFY", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("NOTIFY", Kind::Old, ["481", "500", "500", "500", "500", "500", "500", "500", "500", "481"]),
    ("MESSAGE", Kind::Valid, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("MESSAGE", Kind::Invalid, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("MESSAGE", Kind::Astray, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("MESSAGE", Kind::Old, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("PUBLISH", Kind::Valid, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("PUBLISH", Kind::Invalid, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("PUBLISH", Kind::Astray, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("PUBLISH", Kind::Old, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("NOPE", Kind::Valid, ["501", "501", "501", "501", "501", "501", "501", "501", "501", "501"]),
    ("NOPE", Kind::Invalid, ["501", "501", "501", "501", "501", "501", "501", "501", "501", "501"]),
    ("NOPE", Kind::Astray, ["501", "501", "501", "501", "501", "501", "501", "501", "501", "501"]),
    ("NOPE", Kind::Old, ["501", "501", "501", "501", "501", "501", "501", "501", "501", "501"]),
];

#[test]
fn each_method_in_each_state_does_what_the_table_says() {
    let mut wrong = Vec::new();
    for method in methods() {
        for kind in KINDS {
            let expected = CELLS.iter().find(|(name, of, _)| *name == method && *of == kind).map(|(.., row)| row);
            let found = STATES.map(|state| cell(method, state, kind, None));
            if expected.is_none_or(|expected| *expected != found) {
                wrong.push(format!("    (\"{method}\", Kind::{kind:?}, {found:?}),"));
            }
        }
    }
    assert!(wrong.is_empty(), "rows that are otherwise:\n{}", wrong.join("\n"));
    assert_eq!(CELLS.len(), methods().count() * KINDS.len());
}

/// As it should be, but for what it says: a method, what is wrong, the text, and a cell for each of [`STATES`].
#[rustfmt::skip]
const BAD: &[(&str, &str, &str, [&str; 10])] = &[
    ("INVITE", "a body that we do not read", "Content-Type: text/plain\nContent-Length: 5\n\nhello", ["415", "415", "415", "415", "415", "415", "415", "415", "415", "481"]),
    ("INVITE", "parts without a boundary", "Content-Type: multipart/mixed\nContent-Length: 5\n\nhello", ["400", "400", "400", "400", "400", "400", "400", "400", "400", "481"]),
    ("INVITE", "a session interval that is none", "Session-Expires: soon\nContent-Length: 0\n\n", ["400", "400", "400", "400", "400", "400", "400", "400", "400", "481"]),
    ("UPDATE", "a body that we do not read", "Content-Type: text/plain\nContent-Length: 5\n\nhello", ["481", "415", "415", "415", "415", "415", "415", "415", "415", "481"]),
    ("INFO", "a body that we do not read", "Content-Type: text/plain\nContent-Length: 5\n\nhello", ["481", "415", "415", "415", "415", "415", "415", "415", "415", "481"]),
    ("INFO", "a package", "Info-Package: nothing\nContent-Length: 0\n\n", ["481", "469", "469", "469", "469", "469", "469", "469", "469", "481"]),
    ("PRACK", "no RAck", EMPTY, ["481", "400", "400", "400", "400", "400", "400", "400", "400", "481"]),
    ("PRACK", "the RAck of another method", "RAck: 1 1 BYE\nContent-Length: 0\n\n", ["481", "400", "400", "400", "400", "400", "400", "400", "400", "481"]),
    ("PRACK", "a body that we do not read", "RAck: {rack}\nContent-Type: text/plain\nContent-Length: 5\n\nhello", ["481", "481", "415", "481", "481", "481", "481", "481", "481", "481"]),
    ("REFER", "nobody to refer to", EMPTY, ["403", "491", "491", "400", "400", "400", "400", "400", "481", "481"]),
    ("SUBSCRIBE", "an unknown package", "Event: nothing\nContent-Length: 0\n\n", ["489", "489", "489", "489", "489", "489", "489", "489", "489", "481"]),
    ("SUBSCRIBE", "to its conference, within the call", "Event: conference\nContent-Length: 0\n\n", ["403", "403", "403", "403", "403", "403", "403", "403", "403", "481"]),
    ("NOTIFY", "of a conference, where we watch none", "Event: conference\nSubscription-State: active\nContent-Length: 0\n\n", ["481", "489", "489", "489", "489", "489", "489", "489", "489", "481"]),
    ("NOTIFY", "an unknown package", "Event: nothing\nSubscription-State: active\nContent-Length: 0\n\n", ["481", "489", "489", "489", "489", "489", "489", "489", "489", "481"]),
    ("NOTIFY", "no state", "Event: refer\nContent-Length: 0\n\n", ["481", "481", "481", "481", "481", "481", "481", "400", "481", "481"]),
    ("NOTIFY", "no status", "Event: refer\nSubscription-State: active\nContent-Type: message/sipfrag\nContent-Length: 5\n\nhello", ["481", "481", "481", "481", "481", "481", "481", "400", "481", "481"]),
];

#[test]
fn what_a_request_says_wrong_is_told_as_the_table_says() {
    let mut wrong = Vec::new();
    for (method, what, text, expected) in BAD {
        let found = STATES.map(|state| cell(method, state, Kind::Valid, Some(text)));
        if *expected != found {
            wrong.push(format!("{method}, {what}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "rows that are otherwise:\n{}", wrong.join("\n"));
}

/// SUBSCRIBE to a call's conference, outside of the call as RFC 4575 has it: what it says, and a cell for each of [`STATES`].
#[rustfmt::skip]
const WATCHING: &[(&str, &str, [&str; 10])] = &[
    ("as it should be", "Event: conference\n", ["403", "403", "403", "Subscribed", "Subscribed", "Subscribed", "Subscribed", "Subscribed", "403", "403"]),
    ("a look at it", "Event: conference\nExpires: 0\n", ["403", "403", "403", "Subscribed", "Subscribed", "Subscribed", "Subscribed", "Subscribed", "403", "403"]),
    ("requires what nobody knows", "Require: nobody-knows\nEvent: conference\n", ["420", "420", "420", "420", "420", "420", "420", "420", "420", "420"]),
    ("too brief", "Event: conference\nExpires: 59\n", ["423", "423", "423", "423", "423", "423", "423", "423", "423", "423"]),
    ("of another package", "Event: presence\n", ["489", "489", "489", "489", "489", "489", "489", "489", "489", "489"]),
];

#[test]
fn whoever_would_watch_a_call_is_answered_as_the_table_says() {
    let mut wrong = Vec::new();
    for (what, text, expected) in WATCHING {
        let found = STATES.map(|state| {
            let In { mut bench, call, token, .. } = call_in(state);
            let subscribe =
                from_peer("SUBSCRIBE", "w1", "", 1, &format!("{text}{EMPTY}")).replace("Call-ID: c1", "Call-ID: w1");
            bench.receive(&subscribe.replace("sip:room@192.0.2.1 SIP", &format!("sip:{token}@192.0.2.1 SIP")));
            what_became(bench, call, "SUBSCRIBE")
        });
        if *expected != found {
            wrong.push(format!("{what}: {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "rows that are otherwise:\n{}", wrong.join("\n"));
}
