//! Calls that we make. Method × state × how the request is, and response × state: what goes out, what our owner is told, and
//! what is left. Each cell is a call of its own, from its INVITE to the end of the last timer.

use super::*;

/// How far a call of ours has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// INVITE is out, and nothing came.
    Calling,
    /// It rings there.
    Early,
    /// It rings there, and the ringing was acknowledged (RFC 3262).
    Reliable,
    /// Given up before anything came: no CANCEL may go (RFC 3261 section 9.1).
    Unheard,
    /// Given up while it rang: our CANCEL is out.
    Cancelling,
    /// Answered; our ACK waits for our owner.
    Held,
    Up,
    /// Our offer is out.
    Offering,
    /// Their offer waits for our owner.
    Changing,
    /// Our 200 to their offer waits for its ACK.
    Agreed,
    /// Our BYE is out.
    Parting,
    /// Our BYE was answered.
    Over,
}

const STATES: [State; 12] = [
    State::Calling,
    State::Early,
    State::Reliable,
    State::Unheard,
    State::Cancelling,
    State::Held,
    State::Up,
    State::Offering,
    State::Changing,
    State::Agreed,
    State::Parting,
    State::Over,
];

/// CSeq of the OPTIONS that they sent as soon as there was a dialog.
const LATEST: u32 = 5;

/// A call in one state.
struct Out {
    bench: Bench,
    call: Call,
    invite: Request,
    /// What a response answers: our INVITE, the offer that is out, or the BYE that is.
    subject: Request,
    lasts: usize,
}

impl Out {
    fn new(state: State) -> Out {
        let mut bench = Bench::new();
        let holds_ack = state == State::Held;
        let dial = Dial { holds_ack, ..dial(&mut StdRng::seed_from_u64(4), 7, 60_000) };
        let call = dial.call;
        bench.command(Command::Dial(Box::new(dial)));
        let invite = bench.request("INVITE");
        let mut out = Out { bench, call, subject: invite.clone(), invite, lasts: 0 };
        out.bring_to(state);
        out.bench.words();
        out.told();
        out
    }

    fn bring_to(&mut self, state: State) {
        let call = self.call;
        match state {
            State::Calling => return,
            State::Unheard => return self.bench.command(Command::Cancel { call, reason: None }),
            State::Reliable => {
                let ringing = reply(&self.invite, 183, "t", "early");
                self.bench.receive(&reliable(&ringing, 1));
                let prack = self.bench.request("PRACK");
                self.bench.receive(&reply(&prack, 200, "t", ""));
            }
            _ => self.bench.receive(&reply(&self.invite, 180, "t", "")),
        }
        let options = self.request("OPTIONS", "o1", LATEST, EMPTY);
        self.bench.receive(&options);
        match state {
            State::Early | State::Reliable => return,
            State::Cancelling => return self.bench.command(Command::Cancel { call, reason: None }),
            _ => self.bench.receive(&reply(&self.invite, 200, "t", "answer")),
        }
        let answer = || Bytes::from_static(b"answer");
        match state {
            State::Offering => {
                self.bench.command(Command::Offer { call, offer: answer() });
                self.subject = self.bench.request("INVITE");
            }
            State::Changing | State::Agreed => {
                let offer = self.request("INVITE", "i2", LATEST + 1, OFFER);
                self.bench.receive(&offer);
                if state == State::Agreed {
                    self.bench.command(Command::Agree { call, answer: answer() });
                }
            }
            State::Parting | State::Over => {
                self.bench.command(Command::HangUp { call, reason: None });
                let bye = self.bench.request("BYE");
                match state {
                    State::Over => self.bench.receive(&reply(&bye, 200, "t", "")),
                    _ => self.subject = bye,
                }
            }
            _ => {}
        }
    }

    /// A request of theirs within the dialog.
    fn request(&self, method: &str, branch: &str, cseq: u32, more: &str) -> String {
        let ours = self.invite.from().tag().unwrap();
        from_peer(method, branch, ours, cseq, more)
            .replace("tag=them", "tag=t")
            .replace("Call-ID: c1", &format!("Call-ID: {}", self.invite.call_id()))
    }

    fn told(&mut self) -> Vec<String> {
        self.lasts += self.bench.events.iter().filter(|event| event.is_last()).count();
        self.bench.told()
    }

    /// What went out and what was told, in words.
    fn words(&mut self) -> String {
        let all = [self.bench.words(), self.told()].concat();
        // A call is there until its last word, and no longer.
        assert_eq!(self.bench.endpoint.sessions.contains_key(&self.call), self.lasts == 0, "{all:?}");
        if all.is_empty() { "-".to_owned() } else { all.join(" ") }
    }

    /// Its owner ends what there still is; after the last timer nothing is left, and its last word was one.
    fn end(mut self) {
        self.bench.command(Command::HangUp { call: self.call, reason: None });
        self.bench.assert_at_rest();
        self.told();
        assert_eq!(self.lasts, 1);
        assert_eq!(self.bench.endpoint.dialogs.len(), 0);
    }
}

/// A provisional response that wants its PRACK.
fn reliable(response: &str, rseq: u32) -> String {
    response.replace("Content-Length", &format!("Require: 100rel\nRSeq: {rseq}\nContent-Length"))
}

/// What becomes of one request.
fn cell(method: &str, state: State, kind: Kind) -> String {
    let mut out = Out::new(state);
    let changed = matches!(state, State::Changing | State::Agreed);
    let latest = LATEST + u32::from(changed);
    // An ACK and a CANCEL have the number of their INVITE, and a CANCEL its branch and no tag of ours.
    let cseq = match (method, kind) {
        (_, Kind::Old) => LATEST - 1,
        ("ACK" | "CANCEL", _) => latest,
        _ => latest + 1,
    };
    let (branch, body) = match method {
        "CANCEL" if kind == Kind::Astray => ("astray", EMPTY.to_owned()),
        "CANCEL" => ("i2", EMPTY.to_owned()),
        "INVITE" | "UPDATE" => ("cell", OFFER.to_owned()),
        "REFER" => ("cell", format!("Refer-To: <sip:+4930@192.0.2.2>\n{EMPTY}")),
        "SUBSCRIBE" | "NOTIFY" => ("cell", format!("Event: refer\n{EMPTY}")),
        "PRACK" => ("cell", format!("RAck: 1 1 INVITE\n{EMPTY}")),
        _ => ("cell", EMPTY.to_owned()),
    };
    let require = if kind == Kind::Invalid { "Require: nobody-knows\n" } else { "" };
    let mut text = out.request(method, branch, cseq, &format!("{require}{body}"));
    let ours = format!(";tag={}", out.invite.from().tag().unwrap());
    text = match (method, kind) {
        ("CANCEL", _) => text.replace(&ours, ""),
        (_, Kind::Astray) => text.replace(&ours, ";tag=astray"),
        _ => text,
    };
    out.bench.receive(&text);
    let words = out.words();
    out.end();
    // Of its own answer the status alone: the method is the row's.
    words.replace(&format!(" {method}"), "")
}

fn check<const COLUMNS: usize>(
    rows: impl Iterator<Item = (String, [String; COLUMNS], Option<[&'static str; COLUMNS]>)>,
) {
    let is_wrong = |(_, found, expected): &(String, [String; COLUMNS], Option<[&'static str; COLUMNS]>)| {
        expected.is_none_or(|expected| *found != expected)
    };
    let wrong: Vec<String> =
        rows.filter(is_wrong).map(|(name, found, _)| format!("    ({name}, {found:?}),")).collect();
    assert!(wrong.is_empty(), "rows that are otherwise:\n{}", wrong.join("\n"));
}

/// Method, how the request is, and a cell for each of [`STATES`].
#[rustfmt::skip]
const REQUESTS: &[(&str, Kind, [&str; 12])] = &[
    ("INVITE", Kind::Valid, ["481", "491", "491", "481", "491", "100 Offered", "100 Offered", "491", "500", "500", "481", "481"]),
    ("INVITE", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420", "420", "420", "420", "420"]),
    ("INVITE", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("INVITE", Kind::Old, ["481", "500", "500", "481", "500", "500", "500", "500", "500", "500", "500", "481"]),
    ("ACK", Kind::Valid, ["-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    ("ACK", Kind::Invalid, ["-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    ("ACK", Kind::Astray, ["-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    ("ACK", Kind::Old, ["-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    ("BYE", Kind::Valid, ["481", "200 CANCEL", "200 CANCEL", "481", "200", "200 HungUp", "200 HungUp", "200 HungUp", "200 487 INVITE HungUp", "200 HungUp", "200", "481"]),
    ("BYE", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420", "420", "420", "420", "420"]),
    ("BYE", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("BYE", Kind::Old, ["481", "500", "500", "481", "500", "500", "500", "500", "500", "500", "500", "481"]),
    ("CANCEL", Kind::Valid, ["481", "481", "481", "481", "481", "481", "481", "481", "200 487 INVITE", "200", "481", "481"]),
    ("CANCEL", Kind::Invalid, ["481", "481", "481", "481", "481", "481", "481", "481", "200 487 INVITE", "200", "481", "481"]),
    ("CANCEL", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("CANCEL", Kind::Old, ["481", "481", "481", "481", "481", "481", "481", "481", "200 487 INVITE", "200", "481", "481"]),
    ("PRACK", Kind::Valid, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("PRACK", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420", "420", "420", "420", "420"]),
    ("PRACK", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("PRACK", Kind::Old, ["481", "500", "500", "481", "500", "500", "500", "500", "500", "500", "500", "481"]),
    ("UPDATE", Kind::Valid, ["481", "491", "Offered", "481", "491", "Offered", "Offered", "491", "500", "Offered", "481", "481"]),
    ("UPDATE", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420", "420", "420", "420", "420"]),
    ("UPDATE", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("UPDATE", Kind::Old, ["481", "500", "500", "481", "500", "500", "500", "500", "500", "500", "500", "481"]),
    ("INFO", Kind::Valid, ["481", "200", "200", "481", "200", "200", "200", "200", "200", "200", "200", "481"]),
    ("INFO", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420", "420", "420", "420", "420"]),
    ("INFO", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("INFO", Kind::Old, ["481", "500", "500", "481", "500", "500", "500", "500", "500", "500", "500", "481"]),
    ("OPTIONS", Kind::Valid, ["481", "200", "200", "481", "200", "200", "200", "200", "200", "200", "200", "481"]),
    ("OPTIONS", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420", "420", "420", "420", "420"]),
    ("OPTIONS", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("OPTIONS", Kind::Old, ["481", "500", "500", "481", "500", "500", "500", "500", "500", "500", "500", "481"]),
    ("REFER", Kind::Valid, ["481", "491", "491", "481", "491", "Referred", "Referred", "Referred", "Referred", "Referred", "481", "481"]),
    ("REFER", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420", "420", "420", "420", "420"]),
    ("REFER", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("REFER", Kind::Old, ["481", "500", "500", "481", "500", "500", "500", "500", "500", "500", "500", "481"]),
    ("SUBSCRIBE", Kind::Valid, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("SUBSCRIBE", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420", "420", "420", "420", "420"]),
    ("SUBSCRIBE", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("SUBSCRIBE", Kind::Old, ["481", "500", "500", "481", "500", "500", "500", "500", "500", "500", "500", "481"]),
    ("NOTIFY", Kind::Valid, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("NOTIFY", Kind::Invalid, ["420", "420", "420", "420", "420", "420", "420", "420", "420", "420", "420", "420"]),
    ("NOTIFY", Kind::Astray, ["481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481", "481"]),
    ("NOTIFY", Kind::Old, ["481", "500", "500", "481", "500", "500", "500", "500", "500", "500", "500", "481"]),
    ("MESSAGE", Kind::Valid, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("MESSAGE", Kind::Invalid, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("MESSAGE", Kind::Astray, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("MESSAGE", Kind::Old, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("REGISTER", Kind::Valid, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("REGISTER", Kind::Invalid, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("REGISTER", Kind::Astray, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("REGISTER", Kind::Old, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("PUBLISH", Kind::Valid, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("PUBLISH", Kind::Invalid, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("PUBLISH", Kind::Astray, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("PUBLISH", Kind::Old, ["405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405", "405"]),
    ("NOPE", Kind::Valid, ["501", "501", "501", "501", "501", "501", "501", "501", "501", "501", "501", "501"]),
    ("NOPE", Kind::Invalid, ["501", "501", "501", "501", "501", "501", "501", "501", "501", "501", "501", "501"]),
    ("NOPE", Kind::Astray, ["501", "501", "501", "501", "501", "501", "501", "501", "501", "501", "501", "501"]),
    ("NOPE", Kind::Old, ["501", "501", "501", "501", "501", "501", "501", "501", "501", "501", "501", "501"]),
];

#[test]
fn each_method_in_each_state_does_what_the_table_says() {
    let all = methods().flat_map(|method| KINDS.map(|kind| (method, kind)));
    check(all.map(|(method, kind)| {
        let expected = REQUESTS.iter().find(|(name, of, _)| *name == method && *of == kind).map(|(.., row)| *row);
        (format!("\"{method}\", Kind::{kind:?}"), STATES.map(|state| cell(method, state, kind)), expected)
    }));
    assert_eq!(REQUESTS.len(), methods().count() * KINDS.len());
}

/// What becomes of one response to what is out, or was last.
fn answer(what: &str, state: State) -> String {
    let mut out = Out::new(state);
    let subject = out.subject.clone();
    let (status, how) = what.split_once(' ').unwrap_or((what, ""));
    let status = status.parse().unwrap();
    let body = if matches!(status, 183 | 200..=299) && *subject.method() == Method::Invite { "answer" } else { "" };
    let plain = reply(&subject, status, if how == "fork" { "fork" } else { "t" }, body);
    let text = match how {
        "reliable" => reliable(&plain, 2),
        "least" => plain.replace("Content-Length", "Min-SE: 2400\nContent-Length"),
        "unheard of" => plain.replace("branch=z9hG4bK", "branch=z9hG4bKx"),
        "of another" => plain.replace(&format!(" {}\n", subject.method()), " OPTIONS\n"),
        _ => plain,
    };
    let from = if how == "stranger" { "198.51.100.7:5060".parse().unwrap() } else { address(1) };
    let receive = |bench: &mut Bench| bench.receive_from(from, &text);
    receive(&mut out.bench);
    let words = out.words();
    // Its repeat tells nobody anything.
    let lasts = out.lasts;
    if status >= 200 {
        receive(&mut out.bench);
        out.bench.words();
        assert_eq!(out.told(), Vec::<String>::new(), "the repeat of {what} in {state:?}");
    }
    assert_eq!(out.lasts, lasts);
    out.end();
    words
}

/// What comes, and a cell for each of [`STATES`].
#[rustfmt::skip]
const RESPONSES: &[(&str, [&str; 12])] = &[
    ("100", ["-", "-", "-", "CANCEL", "-", "-", "-", "-", "-", "-", "-", "-"]),
    ("180", ["Ringing 180", "Ringing 180", "Ringing 180", "CANCEL", "-", "-", "-", "-", "-", "-", "-", "-"]),
    ("183 fork", ["Ringing 183", "Ringing 183", "Ringing 183", "CANCEL", "-", "-", "-", "-", "-", "-", "-", "-"]),
    ("180 reliable", ["PRACK Ringing 180", "PRACK Ringing 180", "PRACK Ringing 180", "PRACK CANCEL", "PRACK", "-", "-", "-", "-", "-", "-", "-"]),
    ("200", ["ACK Answered", "ACK Answered", "ACK Answered", "ACK BYE", "ACK BYE Failed 487", "-", "ACK", "ACK Agreed", "ACK", "ACK", "Released", "ACK"]),
    ("200 fork", ["ACK Answered", "ACK Answered", "ACK Answered", "ACK BYE", "ACK BYE Failed 487", "ACK BYE", "ACK BYE", "ACK Agreed", "ACK BYE", "ACK BYE", "Released", "ACK BYE"]),
    ("202", ["ACK Answered", "ACK Answered", "ACK Answered", "ACK BYE", "ACK BYE Failed 487", "-", "ACK", "ACK Agreed", "ACK", "ACK", "Released", "ACK"]),
    ("302", ["ACK Failed 302", "ACK Failed 302", "ACK Failed 302", "ACK Released", "ACK Failed 302", "-", "-", "ACK Disagreed 302", "-", "-", "Released", "-"]),
    ("401", ["ACK Failed 401", "ACK Failed 401", "ACK Failed 401", "ACK Released", "ACK Failed 401", "-", "-", "ACK Disagreed 401", "-", "-", "Released", "-"]),
    ("404", ["ACK Failed 404", "ACK Failed 404", "ACK Failed 404", "ACK Released", "ACK Failed 404", "-", "-", "ACK Disagreed 404", "-", "-", "Released", "-"]),
    ("407", ["ACK Failed 407", "ACK Failed 407", "ACK Failed 407", "ACK Released", "ACK Failed 407", "-", "-", "ACK Disagreed 407", "-", "-", "Released", "-"]),
    ("408", ["ACK Failed 408", "ACK Failed 408", "ACK Failed 408", "ACK Released", "ACK Failed 487", "-", "-", "ACK Disagreed 408", "-", "-", "Released", "-"]),
    ("422", ["ACK Failed 422", "ACK Failed 422", "ACK Failed 422", "ACK Released", "ACK Failed 422", "-", "-", "ACK Disagreed 422", "-", "-", "Released", "-"]),
    ("422 least", ["ACK INVITE", "ACK INVITE", "ACK INVITE", "ACK Released", "ACK Failed 422", "-", "-", "ACK Disagreed 422", "-", "-", "Released", "-"]),
    ("481", ["ACK Failed 481", "ACK Failed 481", "ACK Failed 481", "ACK Released", "ACK Failed 481", "-", "-", "ACK Disagreed 481", "-", "-", "Released", "-"]),
    ("486", ["ACK Failed 486", "ACK Failed 486", "ACK Failed 486", "ACK Released", "ACK Failed 486", "-", "-", "ACK Disagreed 486", "-", "-", "Released", "-"]),
    ("487", ["ACK Failed 487", "ACK Failed 487", "ACK Failed 487", "ACK Released", "ACK Failed 487", "-", "-", "ACK Disagreed 487", "-", "-", "Released", "-"]),
    ("491", ["ACK Failed 491", "ACK Failed 491", "ACK Failed 491", "ACK Released", "ACK Failed 491", "-", "-", "ACK Disagreed 491", "-", "-", "Released", "-"]),
    ("500", ["ACK Failed 500", "ACK Failed 500", "ACK Failed 500", "ACK Released", "ACK Failed 500", "-", "-", "ACK Disagreed 500", "-", "-", "Released", "-"]),
    ("503", ["ACK Failed 503", "ACK Failed 503", "ACK Failed 503", "ACK Released", "ACK Failed 503", "-", "-", "ACK Disagreed 503", "-", "-", "Released", "-"]),
    ("603", ["ACK Failed 603", "ACK Failed 603", "ACK Failed 603", "ACK Released", "ACK Failed 603", "-", "-", "ACK Disagreed 603", "-", "-", "Released", "-"]),
    ("699", ["ACK Failed 699", "ACK Failed 699", "ACK Failed 699", "ACK Released", "ACK Failed 699", "-", "-", "ACK Disagreed 699", "-", "-", "Released", "-"]),
    ("200 stranger", ["-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    ("200 unheard of", ["-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
    ("200 of another", ["-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-", "-"]),
];

#[test]
fn each_response_in_each_state_does_what_the_table_says() {
    check(
        RESPONSES
            .iter()
            .map(|(what, row)| (format!("\"{what}\""), STATES.map(|state| answer(what, state)), Some(*row))),
    );
}

/// Each early dialog has numbers of its own (RFC 3261 section 12.2.2), and takes them along when it is answered.
#[test]
fn each_fork_counts_for_itself() {
    let mut out = Out::new(State::Early);
    out.bench.receive(&reply(&out.invite, 180, "fork", ""));
    let of_fork = |out: &Out, branch: &str, cseq| {
        out.request("OPTIONS", branch, cseq, EMPTY)
            .replace("From: <sip:+4930@192.0.2.2>;tag=t\n", "From: <sip:+4930@192.0.2.2>;tag=fork\n")
    };
    let rows = [("f1", 3, "200 OPTIONS"), ("f2", 2, "500 OPTIONS"), ("f3", 4, "200 OPTIONS")];
    for (branch, cseq, expected) in rows {
        let options = of_fork(&out, branch, cseq);
        out.bench.receive(&options);
        assert_eq!(out.bench.words(), [expected], "{cseq}");
    }
    out.bench.receive(&reply(&out.invite, 200, "fork", "answer"));
    out.bench.words();
    for (branch, cseq, expected) in [("f4", 3, "500 OPTIONS"), ("f5", 5, "200 OPTIONS")] {
        let options = of_fork(&out, branch, cseq);
        out.bench.receive(&options);
        assert_eq!(out.bench.words(), [expected], "{cseq}");
    }
    out.told();
    out.end();
}

/// A BYE with the number of a PRACK before it is old to the far side, which would stay in its call (RFC 3261 section 12.2.1.1):
/// wherever an answer is ended that nobody wants, its dialog's PRACKs are counted.
#[test]
fn a_number_is_used_once_however_the_call_ends() {
    let ringing = |bench: &mut Bench, invite: &Request, tag: &str| {
        for rseq in 1..=3 {
            bench.receive(&reliable(&reply(invite, 180, tag, ""), rseq));
        }
        assert_eq!(bench.request("PRACK").cseq(), 4);
    };
    // Crossed by our CANCEL.
    let mut out = Out::new(State::Early);
    ringing(&mut out.bench, &out.invite, "t");
    out.bench.command(Command::Cancel { call: out.call, reason: None });
    out.bench.receive(&reply(&out.invite, 200, "t", "answer"));
    assert_eq!((out.bench.request("ACK").cseq(), out.bench.request("BYE").cseq()), (1, 5));
    out.told();
    out.end();
    // Of a second fork.
    let mut out = Out::new(State::Early);
    ringing(&mut out.bench, &out.invite, "fork");
    out.bench.receive(&reply(&out.invite, 200, "t", "answer"));
    out.bench.receive(&reply(&out.invite, 200, "fork", "answer"));
    let bye = out.bench.request("BYE");
    assert_eq!((bye.to().tag(), bye.cseq()), (Some("fork"), 5));
    out.told();
    out.end();
    // After the call was given up and is gone.
    let mut out = Out::new(State::Early);
    ringing(&mut out.bench, &out.invite, "t");
    out.bench.command(Command::Cancel { call: out.call, reason: None });
    out.bench.pass(Duration::from_secs(40));
    out.told();
    out.bench.receive(&reply(&out.invite, 200, "t", "answer"));
    assert_eq!(out.bench.request("BYE").cseq(), 5);
    out.end();
    // In the next life, which does not know how many there were.
    let mut bench = Bench::new();
    let (_, invite, journal) = dialling(&mut bench);
    let mut next = Bench::new();
    let (call, reason, login, tls_name) = (Call::past(1), None, None, None);
    next.command(Command::Bury { call, journal, reason, login, tls_name });
    next.receive(&reply(&invite, 200, "t", "answer"));
    assert!(next.request("BYE").cseq() > 500);
    assert_eq!(next.request("ACK").cseq(), 1);
    next.assert_at_rest();
}

/// RFC 3261 section 18.1.1; the call itself stays where it is.
#[test]
fn an_offer_too_long_for_a_datagram_goes_by_tcp_where_somebody_listens() {
    let tcp = Flow { transport: Transport::Tcp, ..flow(0) };
    let long = || Bytes::from("o".repeat(1_300));
    let out_with = |offer: Bytes, is_told: bool| {
        let mut out = Out::new(State::Up);
        let call = out.call;
        if is_told {
            out.bench.command(Command::MayConnect { call, tcp: Way { flow: tcp, contact: address(0) } });
        }
        out.bench.command(Command::Offer { call, offer });
        out
    };
    for (offer, is_told, expected) in [
        (long(), true, Transport::Tcp),
        (long(), false, Transport::Udp),
        (Bytes::from_static(b"short"), true, Transport::Udp),
    ] {
        let out = out_with(offer, is_told);
        let (by, bytes) = out.bench.sent.last().unwrap();
        let invite = parse_request(bytes).unwrap();
        assert_eq!((by.transport, invite.via().transport()), (expected, expected.name().to_uppercase().as_str()));
        out.end();
    }
    // Answered there: the ACK is short.
    let mut out = out_with(long(), true);
    let invite = out.bench.request("INVITE");
    out.bench.endpoint.receive(
        out.bench.now,
        tcp,
        &Bytes::from(reply(&invite, 200, "t", "answer").replace('\n', "\r\n")),
    );
    out.bench.drain();
    assert_eq!(out.words(), "INVITE ACK Agreed");
    out.end();
    // Nobody listens: the same by datagram, and so from now on.
    let mut out = out_with(long(), true);
    let first = out.bench.request("INVITE");
    out.bench.endpoint.lost(out.bench.now, tcp);
    out.bench.drain();
    let again = out.bench.request("INVITE");
    assert_eq!((again.via().transport(), again.cseq(), again.body()), ("UDP", first.cseq() + 1, first.body()));
    out.bench.receive(&reply(&again, 200, "t", "answer"));
    let call = out.call;
    out.bench.command(Command::Offer { call, offer: long() });
    assert_eq!(
        (out.bench.request("INVITE").via().transport(), out.words()),
        ("UDP", "INVITE INVITE ACK INVITE Agreed".to_owned())
    );
    out.end();
}

/// The same of a BYE, also where it is to be proven; by datagram it goes in the end, since a far side that does not hear of it
/// stays in the call.
#[test]
fn a_bye_too_long_for_a_datagram_goes_by_tcp_where_somebody_listens() {
    let tcp = Flow { transport: Transport::Tcp, ..flow(0) };
    let parting = |length: usize, is_told: bool| {
        let mut out = Out::new(State::Up);
        let call = out.call;
        let password = Some(Password::new(b"secret".to_vec()));
        let login = Login { owner: "c".into(), username: "us".into(), password, realm: Some("carrier".into()) };
        out.bench.command(Command::Prove { call, login: Arc::new(login) });
        if is_told {
            out.bench.command(Command::MayConnect { call, tcp: Way { flow: tcp, contact: address(0) } });
        }
        let reason = Some(Reason { q850: Some(16), sip: None, text: "o".repeat(length) });
        out.bench.command(Command::HangUp { call, reason });
        out
    };
    let by = |out: &Out| {
        let (by, bytes) = out.bench.sent.last().unwrap();
        assert_eq!(parse_request(bytes).unwrap().via().transport(), by.transport.name().to_uppercase());
        by.transport
    };
    for (length, is_told, expected) in
        [(1_300, true, Transport::Tcp), (1_300, false, Transport::Udp), (9, true, Transport::Udp)]
    {
        let mut out = parting(length, is_told);
        assert_eq!(by(&out), expected);
        let bye = out.bench.request("BYE");
        let asks = "WWW-Authenticate: Digest realm=\"carrier\",nonce=\"n1\",qop=\"auth\"\nContent-Length";
        let answer = |bye: &Request, status, more: &str| {
            Bytes::from(reply(bye, status, "t", "").replace("Content-Length", more).replace('\n', "\r\n"))
        };
        let way = Flow { transport: expected, ..flow(0) };
        out.bench.endpoint.receive(out.bench.now, way, &answer(&bye, 401, asks));
        out.bench.drain();
        let again = out.bench.request("BYE");
        assert_eq!((by(&out), again.cseq()), (expected, bye.cseq() + 1));
        out.bench.endpoint.receive(out.bench.now, way, &answer(&again, 200, "Content-Length"));
        out.bench.drain();
        assert_eq!(out.words(), "BYE BYE Released");
        out.end();
    }
    let refused: fn(&mut Out, Flow) = |out, tcp| {
        out.bench.endpoint.lost(out.bench.now, tcp);
        out.bench.drain();
    };
    let silent: fn(&mut Out, Flow) = |out, _| out.bench.pass(Duration::from_secs(33));
    for not_heard in [refused, silent] {
        let mut out = parting(1_300, true);
        let first = out.bench.request("BYE");
        not_heard(&mut out, tcp);
        let again = out.bench.request("BYE");
        assert_eq!((by(&out), again.cseq()), (Transport::Udp, first.cseq() + 1));
        assert_eq!(again.header("Reason"), first.header("Reason"));
        out.bench.receive(&reply(&again, 200, "t", ""));
        assert_eq!(out.told(), ["Released"]);
        out.end();
    }
}

/// An offer that is out when its call ends, or that waited for too long, is answered all the same: with 487 by whoever had the
/// BYE (RFC 3261 section 15.1.2), or with a 2xx that crossed it. Either is repeated until it is acknowledged.
#[test]
fn the_answer_to_an_offer_is_acknowledged_though_the_call_is_over() {
    let ours: fn(&mut Out) = |out| out.bench.command(Command::HangUp { call: out.call, reason: None });
    let theirs: fn(&mut Out) = |out| {
        let bye = out.request("BYE", "b1", 9, EMPTY);
        out.bench.receive(&bye);
    };
    let silence: fn(&mut Out) = |out| out.bench.pass(Duration::from_secs(33));
    let trying: fn(&mut Out) = |out| {
        out.bench.receive(&reply(&out.subject, 100, "", ""));
        out.bench.pass(Duration::from_secs(33));
    };
    for end in [ours, theirs, silence, trying] {
        for status in [487, 200] {
            let mut out = Out::new(State::Offering);
            end(&mut out);
            out.bench.words();
            for _ in 0..3 {
                out.bench.receive(&reply(&out.subject, status, "t", "answer"));
                assert_eq!(out.bench.words(), ["ACK"], "{status}");
            }
            out.told();
            out.end();
        }
    }
}

/// A carrier that is not there costs whoever waits five seconds and not thirty-two.
#[test]
fn a_call_that_nobody_answers_at_all_is_given_up_soon() {
    let begin = || {
        let mut bench = Bench::new();
        bench.endpoint.config.trying_s = 5;
        let (call, invite, _) = dialling(&mut bench);
        (bench, call, invite)
    };
    let (mut bench, _, _) = begin();
    bench.pass(Duration::from_millis(4_999));
    assert!(bench.told().is_empty());
    bench.pass(Duration::from_millis(1));
    let [Event::Failed { status: 408, lingers: true, .. }] = bench.events[..] else { panic!("{:?}", bench.events) };
    bench.events.clear();
    assert!(!bench.words().contains(&"CANCEL".to_owned()), "RFC 3261 section 9.1: it may not know of the call yet");
    bench.assert_at_rest();
    assert_eq!(bench.told(), ["Released"]);
    // It rings after all; it is answered after all.
    let (mut bench, _, invite) = begin();
    bench.pass(Duration::from_secs(6));
    bench.words();
    bench.receive(&reply(&invite, 180, "t", ""));
    assert_eq!(bench.words(), ["CANCEL"]);
    bench.receive(&reply(&invite, 200, "t", "answer"));
    assert_eq!(bench.words(), ["ACK", "BYE"]);
    assert_eq!(bench.told(), ["Failed 408"]);
    bench.assert_at_rest();
    // Any answer is a sign of life.
    for status in [100, 180] {
        let (mut bench, _, invite) = begin();
        bench.pass(Duration::from_secs(4));
        bench.receive(&reply(&invite, status, "t", ""));
        bench.told();
        bench.pass(Duration::from_secs(20));
        assert!(bench.told().is_empty(), "{status}");
    }
}
