//! Offers before a call is picked up: UPDATE (RFC 3311) upon an answer that came reliably (RFC 3262).

use super::*;

fn offer(text: &str) -> String {
    format!("Content-Type: application/sdp\nContent-Length: {}\n\n{text}", text.len())
}

/// The last response that went out: its status, its body, and whether it says when to try again.
fn said(bench: &Bench) -> (u16, String, bool) {
    let response = parse_response(&bench.sent.last().unwrap().1).unwrap();
    let body = String::from_utf8(response.body().to_vec()).unwrap();
    (response.status(), body, response.header("Retry-After").is_some())
}

/// A call that rings here with an early answer, its tag, and the PRACK that acknowledges that.
fn ringing(bench: &mut Bench) -> (Call, String, String) {
    let lines = "Supported: 100rel\nAllow: INVITE, ACK, BYE, UPDATE\n";
    bench.receive(&from_peer("INVITE", "i1", "", 1, &format!("{lines}{OFFER}")));
    let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.events) };
    let call = invitation.call;
    let tag = crate::sip::dialog::Entry::read(&invitation.journal).unwrap().dialog.local_tag;
    bench.command(Command::Ring { call, status: 183, answer: Some(Bytes::from_static(b"early")) });
    let rseq = parse_response(&bench.sent.last().unwrap().1).unwrap().header("RSeq").unwrap().to_owned();
    let prack = from_peer("PRACK", "p1", &tag, 3, &format!("RAck: {rseq} 1 INVITE\n{EMPTY}"));
    (call, tag, prack)
}

fn agree(bench: &mut Bench, call: Call, answer: &'static str) {
    bench.command(Command::Agree { call, answer: Bytes::from_static(answer.as_bytes()) });
}

#[test]
fn an_offer_may_follow_an_answer_that_was_acknowledged() {
    let mut bench = Bench::new();
    let (call, tag, prack) = ringing(&mut bench);
    let update = |cseq: u32| from_peer("UPDATE", &format!("u{cseq}"), &tag, cseq, &offer(&format!("offer {cseq}")));
    bench.receive(&update(2));
    assert_eq!(said(&bench), (500, String::new(), true), "they may not know our answer");
    bench.receive(&prack);
    bench.receive(&update(4));
    assert_eq!(bench.told(), ["Offered"]);
    bench.receive(&update(5));
    assert_eq!(said(&bench), (500, String::new(), true), "the one before is unanswered");
    agree(&mut bench, call, "answer 4");
    assert_eq!(said(&bench), (200, "answer 4".to_owned(), false));
    bench.receive(&update(6));
    bench.command(Command::Disagree { call, status: 488 });
    assert_eq!(said(&bench), (488, String::new(), false));
    bench.receive(&from_peer("UPDATE", "u7", &tag, 7, EMPTY));
    assert_eq!(said(&bench), (200, String::new(), false), "a sign of life");
    // What rings on, and what answers, says no more of the sound.
    bench.command(Command::Ring { call, status: 180, answer: Some(Bytes::from_static(b"early")) });
    assert_eq!(said(&bench), (180, String::new(), false));
    bench.command(Command::Accept { call, answer: Bytes::from_static(b"early") });
    assert_eq!(said(&bench), (200, String::new(), false));
    bench.receive(&from_peer("ACK", "a1", &tag, 1, EMPTY));
    assert_eq!(bench.told(), ["Offered", "Acknowledged"]);
    let session = &bench.endpoint.sessions[&call];
    assert_eq!((session.ours.as_ref(), session.theirs.as_ref()), (&b"answer 4"[..], &b"offer 4"[..]));
    bench.receive(&from_peer("BYE", "b1", &tag, 8, EMPTY));
    bench.assert_at_rest();
}

/// However the ringing ends, an offer that waits is answered; and it does not make the ringing shorter or longer.
#[test]
fn an_offer_that_waits_is_answered_whatever_becomes_of_the_call() {
    type Way<'a> = &'a dyn Fn(&mut Bench, Call, &str);
    let ends: [(Way<'_>, &[&str]); 5] = [
        (
            &|bench, _, _| bench.receive(&from_peer("CANCEL", "i1", "", 1, EMPTY)),
            &["200 CANCEL", "487 UPDATE", "487 INVITE"],
        ),
        (
            &|bench, _, tag| bench.receive(&from_peer("BYE", "b1", tag, 5, EMPTY)),
            &["200 BYE", "487 UPDATE", "487 INVITE"],
        ),
        (&|bench, call, _| bench.command(Command::HangUp { call, reason: None }), &["487 UPDATE", "480 INVITE"]),
        (&|bench, _, _| bench.pass(Duration::from_secs(20)), &["500 UPDATE"]),
        (
            &|bench, call, tag| {
                bench.command(Command::Accept { call, answer: Bytes::from_static(b"early") });
                bench.receive(&from_peer("ACK", "a1", tag, 1, EMPTY));
                bench.pass(Duration::from_secs(20));
            },
            &["200 INVITE", "500 UPDATE"],
        ),
    ];
    for (end, expected) in ends {
        let mut bench = Bench::new();
        let (call, tag, prack) = ringing(&mut bench);
        bench.receive(&prack);
        bench.receive(&from_peer("UPDATE", "u1", &tag, 4, &offer("offer")));
        bench.words();
        end(&mut bench, call, &tag);
        assert_eq!(bench.words(), expected);
        bench.command(Command::HangUp { call, reason: None });
        bench.assert_at_rest();
    }
    let mut bench = Bench::new();
    let (call, tag, prack) = ringing(&mut bench);
    bench.receive(&prack);
    bench.receive(&from_peer("UPDATE", "u1", &tag, 4, &offer("offer")));
    agree(&mut bench, call, "answer");
    bench.pass(Duration::from_secs(179));
    assert_eq!((bench.told(), bench.endpoint.calls()), (vec!["Offered".to_owned()], 1));
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.told(), ["Released"]);
    bench.assert_at_rest();
}

/// A call of ours, and what the far side says in it.
struct Ours {
    bench: Bench,
    call: Call,
    invite: Request,
}

impl Ours {
    fn new() -> Ours {
        let mut bench = Bench::new();
        let (call, invite, _) = dialling(&mut bench);
        Ours { bench, call, invite }
    }

    fn says(&mut self, status: u16, tag: &str, body: &str) {
        self.bench.receive(&reply(&self.invite, status, tag, body));
    }

    fn rings(&mut self, tag: &str, rseq: u32, body: &str) {
        let lines = format!("Require: 100rel\nAllow: INVITE, UPDATE\nRSeq: {rseq}\nContent-Length");
        self.bench.receive(&reply(&self.invite, 183, tag, body).replace("Content-Length", &lines));
    }

    fn update(&mut self, tag: &str, cseq: u32, body: &str) {
        let ours = self.invite.from().tag().unwrap();
        let update = from_peer("UPDATE", &format!("{tag}{cseq}"), ours, cseq, &offer(body))
            .replace("tag=them", &format!("tag={tag}"))
            .replace("Call-ID: c1", &format!("Call-ID: {}", self.invite.call_id()));
        self.bench.receive(&update);
    }

    /// The answer that our owner was told of.
    fn answered(&mut self) -> String {
        let found = self.bench.events.iter().rev().find_map(|event| match event {
            Event::Answered { answer, .. } => answer.clone(),
            _ => None,
        });
        String::from_utf8(found.expect("an answer").to_vec()).unwrap()
    }

    fn end(mut self) {
        self.bench.command(Command::HangUp { call: self.call, reason: None });
        self.bench.assert_at_rest();
    }
}

#[test]
fn whoever_we_call_may_change_its_sound_before_it_picks_up() {
    let mut ours = Ours::new();
    ours.says(183, "t", "guess");
    ours.update("t", 1, "offer 1");
    assert_eq!(said(&ours.bench).0, 491, "our offer is unanswered, as far as that is certain");
    ours.rings("t", 1, "answer");
    ours.update("t", 2, "offer 2");
    ours.update("t", 3, "offer 3");
    assert_eq!(said(&ours.bench), (500, String::new(), true));
    ours.bench.told();
    agree(&mut ours.bench, ours.call, "ours 2");
    assert_eq!(said(&ours.bench), (200, "ours 2".to_owned(), false));
    // What it says of its first answer is history.
    ours.rings("t", 2, "answer");
    ours.says(200, "t", "answer");
    assert_eq!(ours.answered(), "offer 2");
    let session = &ours.bench.endpoint.sessions[&ours.call];
    assert_eq!((session.ours.as_ref(), session.theirs.as_ref()), (&b"ours 2"[..], &b"offer 2"[..]));
    ours.end();
}

#[test]
fn what_one_telephone_changes_is_not_of_the_one_that_is_picked_up() {
    for (picked_up, expected) in [("one", "offer"), ("two", "answer of two")] {
        let mut ours = Ours::new();
        ours.rings("one", 1, "answer of one");
        ours.rings("two", 1, "answer of two");
        ours.update("one", 1, "offer");
        agree(&mut ours.bench, ours.call, "ours");
        ours.says(200, picked_up, "");
        assert_eq!(ours.answered(), expected);
        ours.end();
    }
    // An offer that waits at that moment may be made again, or is of nothing: our owner has heard of an answer that holds.
    for (picked_up, expected) in [("one", "500 UPDATE"), ("two", "481 UPDATE")] {
        let mut ours = Ours::new();
        ours.rings("one", 1, "answer");
        ours.rings("two", 1, "answer");
        ours.update("one", 1, "offer");
        ours.bench.words();
        ours.says(200, picked_up, "");
        agree(&mut ours.bench, ours.call, "ours");
        assert_eq!(ours.bench.words(), ["ACK", expected]);
        ours.end();
    }
}

#[test]
fn an_offer_that_waits_is_answered_whatever_becomes_of_a_call_of_ours() {
    type End = fn(&mut Ours);
    let ends: [(End, &[&str]); 3] = [
        (|ours| ours.says(486, "t", ""), &["ACK", "487 UPDATE"]),
        (|ours| ours.bench.command(Command::Cancel { call: ours.call, reason: None }), &["487 UPDATE", "CANCEL"]),
        (|ours| ours.bench.pass(Duration::from_secs(20)), &["500 UPDATE"]),
    ];
    for (end, expected) in ends {
        let mut ours = Ours::new();
        ours.rings("t", 1, "answer");
        let prack = ours.bench.request("PRACK");
        ours.bench.receive(&reply(&prack, 200, "t", ""));
        ours.update("t", 1, "offer");
        ours.bench.words();
        end(&mut ours);
        assert_eq!(ours.bench.words(), expected);
        ours.end();
    }
}

/// Our own, by UPDATE: in a call that rings here, and in one that rings there.
#[test]
fn we_may_change_our_sound_before_a_call_is_picked_up() {
    let mut bench = Bench::new();
    let (call, tag, prack) = ringing(&mut bench);
    let ours = |bench: &mut Bench| bench.command(Command::Offer { call, offer: Bytes::from_static(b"ours") });
    ours(&mut bench);
    assert_eq!(bench.told(), ["Disagreed 491"], "before the PRACK");
    bench.receive(&prack);
    ours(&mut bench);
    let update = bench.request("UPDATE");
    assert_eq!(update.body().as_ref(), b"ours");
    bench.receive(&from_peer("UPDATE", "u1", &tag, 4, &offer("offer")));
    assert_eq!(said(&bench).0, 491, "both at once");
    bench.receive(&reply(&update, 200, "them", "theirs"));
    assert_eq!(bench.told(), ["Agreed"]);
    bench.command(Command::Accept { call, answer: Bytes::from_static(b"early") });
    assert_eq!(said(&bench), (200, String::new(), false));
    bench.command(Command::HangUp { call, reason: None });
    bench.assert_at_rest();

    let mut ours = Ours::new();
    let change = |ours: &mut Ours| {
        ours.bench.command(Command::Offer { call: ours.call, offer: Bytes::from_static(b"changed") });
    };
    ours.says(180, "t", "");
    change(&mut ours);
    ours.rings("t", 1, "answer");
    let prack = ours.bench.request("PRACK");
    change(&mut ours);
    let update = ours.bench.request("UPDATE");
    assert_eq!((update.cseq(), update.to().tag()), (prack.cseq() + 1, Some("t")));
    ours.bench.receive(&reply(&update, 200, "t", "theirs"));
    assert_eq!(ours.bench.told(), ["Ringing 180", "Disagreed 491", "Ringing 183", "Agreed"]);
    ours.says(200, "t", "answer");
    assert_eq!(ours.answered(), "theirs");
    ours.bench.command(Command::HangUp { call: ours.call, reason: None });
    assert_eq!(ours.bench.request("BYE").cseq(), update.cseq() + 1);
    ours.end();

    // Too long for a datagram: by TCP, and as before where nobody listens there.
    let mut ours = Ours::new();
    ours.rings("t", 1, "answer");
    let prack = ours.bench.request("PRACK");
    ours.bench.receive(&reply(&prack, 200, "t", ""));
    let tcp = Flow { transport: Transport::Tcp, ..flow(0) };
    ours.bench.command(Command::MayConnect { call: ours.call, tcp: Way { flow: tcp, contact: address(0) } });
    ours.bench.command(Command::Offer { call: ours.call, offer: Bytes::from("o".repeat(1_300)) });
    let update = ours.bench.request("UPDATE");
    assert_eq!((update.via().transport(), ours.bench.sent.last().unwrap().0.transport), ("TCP", Transport::Tcp));
    ours.bench.told();
    ours.bench.endpoint.lost(ours.bench.now, tcp);
    ours.bench.drain();
    let again = ours.bench.request("UPDATE");
    assert_eq!((again.via().transport(), again.cseq(), again.body()), ("UDP", update.cseq() + 1, update.body()));
    ours.bench.receive(&reply(&again, 200, "t", "theirs"));
    assert_eq!(ours.bench.told(), ["Agreed"]);
    ours.end();

    // Refused, not answered at all, and by somebody else than picked up.
    for (status, tag, told) in [(488, "t", "Disagreed 488"), (200, "two", "Disagreed 491"), (0, "t", "Disagreed 408")] {
        let mut ours = Ours::new();
        ours.rings("t", 1, "answer");
        let prack = ours.bench.request("PRACK");
        ours.bench.receive(&reply(&prack, 200, "t", ""));
        change(&mut ours);
        let update = ours.bench.request("UPDATE");
        ours.says(200, tag, "answer");
        ours.bench.told();
        match status {
            0 => ours.bench.pass(Duration::from_secs(32)),
            status => ours.bench.receive(&reply(&update, status, "t", "theirs")),
        }
        assert_eq!(ours.bench.told(), [told]);
        ours.end();
    }
}
