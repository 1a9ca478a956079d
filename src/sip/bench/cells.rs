//! Method × state of a call that came in × how the request is: what it is answered with, and what our owner is told. Each cell
//! is a call of its own, from its beginning to a state where nothing is left.

use super::*;

/// How far a call that came in has come.
#[derive(Clone, Copy, Debug)]
enum State {
    /// There is none.
    None,
    Rings,
    /// Our 200 waits for its ACK.
    Accepted,
    Up,
    /// Their offer waits for our owner.
    Changing,
    /// Our offer is out.
    Offering,
    /// Our BYE is out.
    Ending,
    /// They have hung up.
    Over,
}

const STATES: [State; 8] = [
    State::None,
    State::Rings,
    State::Accepted,
    State::Up,
    State::Changing,
    State::Offering,
    State::Ending,
    State::Over,
];

/// A call in this state, its handle, and our tag of it.
fn call_in(state: State) -> (Bench, Option<Call>, String) {
    let mut bench = Bench::new();
    let answer = || Bytes::from_static(b"answer");
    let (call, tag) = match state {
        State::None => (None, String::new()),
        State::Rings | State::Accepted => {
            let (call, tag) = invited(&mut bench);
            if matches!(state, State::Accepted) {
                bench.command(Command::Accept { call, answer: answer() });
            }
            (Some(call), tag)
        }
        _ => {
            let (call, tag) = up(&mut bench);
            match state {
                State::Changing => bench.receive(&from_peer("INVITE", "i2", &tag, 2, OFFER)),
                State::Offering => bench.command(Command::Offer { call, offer: answer() }),
                State::Ending => bench.command(Command::HangUp { call, reason: None }),
                State::Over => bench.receive(&from_peer("BYE", "b2", &tag, 2, EMPTY)),
                _ => {}
            }
            (Some(call), tag)
        }
    };
    bench.words();
    bench.told();
    (bench, call, tag)
}

/// What becomes of one request, in words: what is sent, then what is told.
fn cell(method: &str, state: State, kind: Kind) -> String {
    let (mut bench, call, tag) = call_in(state);
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
    let body = if matches!(method, "INVITE" | "UPDATE") { OFFER } else { EMPTY };
    let body = match method {
        "REFER" => &format!("Refer-To: <sip:+4930@192.0.2.2>\n{body}"),
        "SUBSCRIBE" | "NOTIFY" => &format!("Event: refer\n{body}"),
        _ => body,
    };
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
const CELLS: &[(&str, Kind, [&str; 8])] = &[
    ("INVITE", Kind::Valid, ["100 Invited", "500", "500", "100 Offered", "500", "491", "481", "481"]),
    ("INVITE", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420"]),
    ("INVITE", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481"]),
    ("INVITE", Kind::Old, ["100 Invited", "500", "500", "500", "500", "500", "500", "481"]),
    ("ACK", Kind::Valid, ["-", "-", "Acknowledged", "-", "-", "-", "-", "-"]),
    ("ACK", Kind::Invalid, ["-", "-", "Acknowledged", "-", "-", "-", "-", "-"]),
    ("ACK", Kind::Astray, ["-", "-", "-", "-", "-", "-", "-", "-"]),
    ("ACK", Kind::Old, ["-", "-", "-", "-", "-", "-", "-", "-"]),
    ("CANCEL", Kind::Valid, ["481", "200 487 INVITE Cancelled", "200", "200", "200 487 INVITE", "200", "200", "200"]),
    ("CANCEL", Kind::Invalid, ["481", "200 487 INVITE Cancelled", "200", "200", "200 487 INVITE", "200", "200", "200"]),
    ("CANCEL", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481"]),
    ("CANCEL", Kind::Old, ["481", "200 487 INVITE Cancelled", "200", "200", "200 487 INVITE", "200", "200", "200"]),
    ("BYE", Kind::Valid, ["481", "200 487 INVITE Cancelled", "200 HungUp", "200 HungUp", "200 487 INVITE HungUp", "200 HungUp", "200", "481"]),
    ("BYE", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420"]),
    ("BYE", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481"]),
    ("BYE", Kind::Old, ["481", "500", "500", "500", "500", "500", "500", "481"]),
    ("OPTIONS", Kind::Valid, ["200", "200", "200", "200", "200", "200", "200", "481"]),
    ("OPTIONS", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420"]),
    ("OPTIONS", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481"]),
    ("OPTIONS", Kind::Old, ["200", "500", "500", "500", "500", "500", "500", "481"]),
    ("UPDATE", Kind::Valid, ["481", "500", "Offered", "Offered", "500", "491", "481", "481"]),
    ("UPDATE", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420"]),
    ("UPDATE", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481"]),
    ("UPDATE", Kind::Old, ["481", "500", "500", "500", "500", "500", "500", "481"]),
    ("INFO", Kind::Valid, ["481", "200", "200", "200", "200", "200", "200", "481"]),
    ("INFO", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420"]),
    ("INFO", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481"]),
    ("INFO", Kind::Old, ["481", "500", "500", "500", "500", "500", "500", "481"]),
    ("PRACK", Kind::Valid, ["481", "400", "400", "400", "400", "400", "400", "481"]),
    ("PRACK", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420"]),
    ("PRACK", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481"]),
    ("PRACK", Kind::Old, ["481", "500", "500", "500", "500", "500", "500", "481"]),
    ("REGISTER", Kind::Valid, ["405", "405", "405", "405", "405", "405", "405", "405"]),
    ("REGISTER", Kind::Invalid, ["405", "405", "405", "405", "405", "405", "405", "405"]),
    ("REGISTER", Kind::Astray, ["405", "405", "405", "405", "405", "405", "405", "405"]),
    ("REGISTER", Kind::Old, ["405", "405", "405", "405", "405", "405", "405", "405"]),
    ("REFER", Kind::Valid, ["403", "491", "Referred", "Referred", "Referred", "Referred", "481", "481"]),
    ("REFER", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420"]),
    ("REFER", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481"]),
    ("REFER", Kind::Old, ["403", "500", "500", "500", "500", "500", "500", "481"]),
    ("SUBSCRIBE", Kind::Valid, ["489", "481", "481", "481", "481", "481", "481", "481"]),
    ("SUBSCRIBE", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420"]),
    ("SUBSCRIBE", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481"]),
    ("SUBSCRIBE", Kind::Old, ["489", "500", "500", "500", "500", "500", "500", "481"]),
    ("NOTIFY", Kind::Valid, ["481", "481", "481", "481", "481", "481", "481", "481"]),
    ("NOTIFY", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420"]),
    ("NOTIFY", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481"]),
    ("NOTIFY", Kind::Old, ["481", "500", "500", "500", "500", "500", "500", "481"]),
    ("MESSAGE", Kind::Valid, ["405", "405", "405", "405", "405", "405", "405", "405"]),
    ("MESSAGE", Kind::Invalid, ["405", "405", "405", "405", "405", "405", "405", "405"]),
    ("MESSAGE", Kind::Astray, ["405", "405", "405", "405", "405", "405", "405", "405"]),
    ("MESSAGE", Kind::Old, ["405", "405", "405", "405", "405", "405", "405", "405"]),
    ("PUBLISH", Kind::Valid, ["405", "405", "405", "405", "405", "405", "405", "405"]),
    ("PUBLISH", Kind::Invalid, ["405", "405", "405", "405", "405", "405", "405", "405"]),
    ("PUBLISH", Kind::Astray, ["405", "405", "405", "405", "405", "405", "405", "405"]),
    ("PUBLISH", Kind::Old, ["405", "405", "405", "405", "405", "405", "405", "405"]),
    ("NOPE", Kind::Valid, ["501", "501", "501", "501", "501", "501", "501", "501"]),
    ("NOPE", Kind::Invalid, ["501", "501", "501", "501", "501", "501", "501", "501"]),
    ("NOPE", Kind::Astray, ["501", "501", "501", "501", "501", "501", "501", "501"]),
    ("NOPE", Kind::Old, ["501", "501", "501", "501", "501", "501", "501", "501"]),
];

#[test]
fn each_method_in_each_state_does_what_the_table_says() {
    let mut wrong = Vec::new();
    for method in METHODS {
        for kind in KINDS {
            let expected = CELLS.iter().find(|(name, of, _)| *name == method && *of == kind).map(|(.., row)| row);
            let found = STATES.map(|state| cell(method, state, kind));
            if expected.is_none_or(|expected| *expected != found) {
                wrong.push(format!("    (\"{method}\", Kind::{kind:?}, {found:?}),"));
            }
        }
    }
    assert!(wrong.is_empty(), "rows that are otherwise:\n{}", wrong.join("\n"));
    assert_eq!(CELLS.len(), METHODS.len() * KINDS.len());
}
