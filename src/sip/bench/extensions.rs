//! Session timers (RFC 4028), reliable provisional responses (RFC 3262), and what is told of a telephone.

use super::*;

/// A call that came in with these lines, accepted and acknowledged; what the 200 said of the timer.
fn up_with(bench: &mut Bench, lines: &str) -> (Call, String, String) {
    bench.receive(&from_peer("INVITE", "i1", "", 1, &format!("{lines}{OFFER}")));
    let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.events) };
    let call = invitation.call;
    let tag = crate::sip::dialog::Entry::read(&invitation.journal).unwrap().dialog.local_tag;
    bench.command(Command::Accept { call, answer: Bytes::from_static(b"answer") });
    let accepted = bench.sent.iter().rev().find_map(|(_, bytes)| parse_response(bytes)).unwrap();
    let agreed = [accepted.header("Session-Expires"), accepted.header("Require")];
    let agreed = agreed.map(Option::unwrap_or_default).join(" ");
    bench.receive(&from_peer("ACK", "a1", &tag, 1, EMPTY));
    bench.words();
    bench.told();
    (call, tag, agreed)
}

#[test]
fn a_session_that_they_do_not_refresh_is_over() {
    let mut bench = Bench::new();
    let (_, tag, agreed) = up_with(&mut bench, "Supported: timer\nSession-Expires: 600\n");
    assert_eq!(agreed, "600;refresher=uac timer");
    bench.pass(Duration::from_secs(560));
    bench.receive(&from_peer("UPDATE", "u1", &tag, 2, &format!("Supported: timer\nx: 300;refresher=uac\n{EMPTY}")));
    let reply = parse_response(&bench.sent.last().unwrap().1).unwrap();
    assert_eq!(reply.header("Session-Expires"), Some("300;refresher=uac"));
    assert_eq!((bench.words(), bench.told()), (vec!["200 UPDATE".to_owned()], vec![]));
    bench.pass(Duration::from_millis(267_999));
    assert!(bench.words().is_empty());
    bench.pass(Duration::from_millis(1));
    assert_eq!((bench.words(), bench.told()), (vec!["BYE".to_owned()], vec!["Lapsed".to_owned()]));
    bench.pass(Duration::from_secs(32));
    assert_eq!(bench.told(), ["Released"]);
    assert_eq!(bench.endpoint.counters().lapsed, 1);
    bench.assert_at_rest();
}

#[test]
fn a_session_is_refreshed_by_update_where_they_take_it() {
    let mut bench = Bench::new();
    let (call, _, agreed) = up_with(&mut bench, "Allow: INVITE, ACK, BYE, UPDATE\n");
    assert_eq!(agreed, "1800;refresher=uas ", "of one who does not know the word nothing is required");
    for turn in 0..3 {
        bench.pass(Duration::from_secs(900));
        let update = bench.request("UPDATE");
        assert_eq!(update.header("Session-Expires"), Some("1800;refresher=uac"));
        assert!(update.body().is_empty());
        let mut response = Response::to(&update, 200, "");
        response.push("Session-Expires", "1800;refresher=uac");
        bench.receive(&String::from_utf8(response.to_bytes().to_vec()).unwrap().replace("\r\n", "\n"));
        assert_eq!((bench.words(), bench.told()), (vec!["UPDATE".to_owned()], vec![]), "{turn}");
    }
    assert_eq!(bench.endpoint.counters().refreshed, 3);
    // Theirs is gone without a word: a proxy says so, or nobody answers.
    bench.pass(Duration::from_secs(900));
    let update = bench.request("UPDATE");
    bench.receive(&reply(&update, 481, "", ""));
    assert_eq!((bench.words(), bench.told()), (vec!["UPDATE".to_owned(), "BYE".to_owned()], vec!["Lapsed".to_owned()]));
    bench.command(Command::HangUp { call, reason: None });
    bench.assert_at_rest();
}

#[test]
fn a_session_is_refreshed_by_an_invite_that_changes_nothing() {
    let mut bench = Bench::new();
    let (call, tag, _) = up_with(&mut bench, "Allow: INVITE, ACK, BYE\n");
    bench.pass(Duration::from_secs(900));
    let invite = bench.request("INVITE");
    assert_eq!(invite.body().as_ref(), b"answer", "as it was last described");
    // Theirs is on its way at the same time: they wait, and so do we.
    bench.receive(&reply(&invite, 491, "", ""));
    bench.receive(&from_peer("INVITE", "r1", &tag, 2, OFFER));
    bench.command(Command::Agree { call, answer: Bytes::from_static(b"other") });
    bench.receive(&from_peer("ACK", "a2", &tag, 2, EMPTY));
    bench.words();
    assert_eq!(bench.told(), ["Offered"]);
    bench.pass(Duration::from_secs(900));
    let invite = bench.request("INVITE");
    assert_eq!(invite.body().as_ref(), b"other");
    bench.receive(&reply(&invite, 200, "", "offer"));
    assert_eq!((bench.words(), bench.told()), (vec!["INVITE".to_owned(), "ACK".to_owned()], vec![]), "nothing is new");
    // The 2xx said nothing of a timer: nothing is agreed any more (RFC 4028 section 7.2).
    bench.pass(Duration::from_secs(7_200));
    assert!(bench.words().is_empty());
    bench.receive(&from_peer("BYE", "b1", &tag, 3, EMPTY));
    bench.assert_at_rest();
}

#[test]
fn a_refresh_that_is_refused_is_tried_another_way() {
    let mut bench = Bench::new();
    let (call, tag, _) = up_with(&mut bench, "Allow: UPDATE\n");
    bench.pass(Duration::from_secs(900));
    let update = bench.request("UPDATE");
    bench.receive(&reply(&update, 405, "", ""));
    bench.pass(Duration::from_millis(1));
    let invite = bench.request("INVITE");
    // Too short for somebody on the way: their least is taken.
    let short = reply(&invite, 422, "", "").replace("Content-Length", "Min-SE: 3600\nContent-Length");
    bench.receive(&short);
    bench.pass(Duration::from_millis(1));
    let again = bench.request("INVITE");
    assert_eq!(again.header("Session-Expires"), Some("3600;refresher=uac"));
    assert_eq!(bench.words(), ["UPDATE", "INVITE", "ACK", "INVITE"]);
    // Errors that may pass are asked again until the time is over.
    bench.receive(&reply(&again, 503, "", ""));
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.words(), ["ACK", "INVITE"]);
    assert!(bench.told().is_empty());
    bench.receive(&from_peer("BYE", "b1", &tag, 3, EMPTY));
    bench.command(Command::HangUp { call, reason: None });
    bench.assert_at_rest();
}

/// Our own offer within the call, too: with all that was ever asked for as the least (RFC 4028 section 7.4), and not for ever.
#[test]
fn an_offer_is_made_again_with_their_least_session() {
    let short = |request: &Request, least_s: u32| {
        reply(request, 422, "", "").replace("Content-Length", &format!("Min-SE: {least_s}\nContent-Length"))
    };
    let mut bench = Bench::new();
    let (call, _, _) = up_with(&mut bench, "Supported: timer\nSession-Expires: 600\n");
    let offer = |bench: &mut Bench| bench.command(Command::Offer { call, offer: Bytes::from_static(b"ours") });
    offer(&mut bench);
    let first = bench.request("INVITE");
    assert_eq!(first.header("Session-Expires"), Some("600;refresher=uas"));
    bench.receive(&short(&first, 2_400));
    let again = bench.request("INVITE");
    assert_eq!((again.header("Session-Expires"), again.header("Min-SE")), (Some("2400;refresher=uas"), Some("2400")));
    assert_eq!((again.cseq(), again.body()), (first.cseq() + 1, first.body()));
    assert_eq!(
        (bench.words(), bench.told()),
        (vec!["INVITE".to_owned(), "ACK".to_owned(), "INVITE".to_owned()], vec![])
    );
    let agreed = "Session-Expires: 2400;refresher=uac\nContent-Length";
    bench.receive(&reply(&again, 200, "", "theirs").replace("Content-Length", agreed));
    assert_eq!(bench.told(), ["Agreed"]);
    bench.pass(Duration::from_secs(1_200));
    let refresh = bench.request("INVITE");
    assert_eq!(
        (refresh.header("Session-Expires"), refresh.header("Min-SE")),
        (Some("2400;refresher=uac"), Some("2400"))
    );
    bench.command(Command::HangUp { call, reason: None });
    bench.assert_at_rest();

    // No longer than it was, or longer each time.
    for (rising, invites) in [(0, 1), (100, 3)] {
        let mut bench = Bench::new();
        let (call, _, _) = up_with(&mut bench, "Supported: timer\nSession-Expires: 600\n");
        bench.command(Command::Offer { call, offer: Bytes::from_static(b"ours") });
        let mut count = 0;
        while bench.events.is_empty() {
            let invite = bench.request("INVITE");
            count += 1;
            bench.receive(&short(&invite, 600 + rising * count));
        }
        assert_eq!((count, bench.told()), (invites, vec!["Disagreed 422".to_owned()]));
        bench.command(Command::HangUp { call, reason: None });
        bench.assert_at_rest();
    }
}

#[test]
fn a_session_too_short_is_refused_before_there_is_a_call() {
    let mut bench = Bench::new();
    bench.receive(&from_peer("INVITE", "i1", "", 1, &format!("Supported: timer\nSession-Expires: 60\n{OFFER}")));
    let refusal = parse_response(&bench.sent.last().unwrap().1).unwrap();
    assert_eq!((refusal.status(), refusal.header("Min-SE")), (422, Some("90")));
    assert!(bench.told().is_empty());
    bench.assert_at_rest();
}

#[test]
fn a_call_is_made_again_with_their_least_session() {
    let mut bench = Bench::new();
    let (call, invite, _) = dialling(&mut bench);
    assert_eq!(invite.header("Session-Expires"), Some("1800"));
    let short = reply(&invite, 422, "x", "").replace("Content-Length", "Min-SE: 2400\nContent-Length");
    bench.receive(&short);
    bench.receive(&short);
    let again = bench.request("INVITE");
    assert_eq!((again.header("Session-Expires"), again.header("Min-SE")), (Some("2400"), Some("2400")));
    assert_eq!((again.cseq(), again.call_id(), again.body()), (2, invite.call_id(), invite.body()));
    assert_eq!(bench.words(), ["ACK", "INVITE", "ACK"]);
    bench.receive(&reply(&again, 200, "t", "answer"));
    assert_eq!(bench.told(), ["Answered"]);
    bench.words();
    bench.command(Command::HangUp { call, reason: None });
    assert_eq!(bench.request("BYE").cseq(), 3);
    bench.assert_at_rest();

    // Not for ever.
    let mut bench = Bench::new();
    let (_, mut invite, _) = dialling(&mut bench);
    for cseq in 2..=4 {
        bench.receive(&reply(&invite, 422, "x", "").replace("Content-Length", "Min-SE: 2400\nContent-Length"));
        if cseq < 4 {
            invite = bench.request("INVITE");
            assert_eq!(invite.cseq(), cseq);
        }
    }
    assert_eq!(bench.told(), ["Failed 422"]);
    bench.assert_at_rest();
}

/// Each reliable response is acknowledged once, in its order; repeats and what came too early mean nothing.
#[test]
fn reliable_ringing_is_acknowledged_in_order() {
    let mut bench = Bench::new();
    let (call, invite, _) = dialling(&mut bench);
    assert_eq!(invite.header("Supported"), Some("100rel, timer"));
    let ringing = |status, tag: &str, rseq: u32, body: &str| {
        let lines = format!("Require: 100rel\nRSeq: {rseq}\nContent-Length");
        reply(&invite, status, tag, body).replace("Content-Length", &lines)
    };
    bench.receive(&ringing(180, "t", 7, ""));
    let prack = bench.request("PRACK");
    assert_eq!((prack.header("RAck"), prack.cseq()), (Some("7 1 INVITE"), 2));
    assert_eq!((prack.to().tag(), prack.uri().as_str()), (Some("t"), "sip:+4930@192.0.2.2"));
    bench.receive(&reply(&prack, 200, "", ""));
    bench.receive(&ringing(180, "t", 7, ""));
    bench.receive(&ringing(183, "t", 9, "early"));
    assert_eq!((bench.words(), bench.told()), (vec!["PRACK".to_owned()], vec!["Ringing 180".to_owned()]));
    bench.receive(&ringing(183, "t", 8, "early"));
    bench.receive(&ringing(183, "fork", 1, ""));
    let rack = bench.request("PRACK");
    assert_eq!((rack.header("RAck"), rack.cseq(), rack.to().tag()), (Some("1 1 INVITE"), 2, Some("fork")));
    assert_eq!(bench.words(), ["PRACK", "PRACK"]);
    bench.receive(&reply(&invite, 200, "t", "answer"));
    assert_eq!(bench.request("ACK").cseq(), 1);
    bench.words();
    bench.command(Command::HangUp { call, reason: None });
    assert_eq!(bench.request("BYE").cseq(), 4, "after the PRACKs");
    bench.assert_at_rest();
}

#[test]
fn our_ringing_is_repeated_until_its_prack() {
    let mut bench = Bench::new();
    bench.receive(&from_peer("INVITE", "i1", "", 1, &format!("Require: 100rel\n{OFFER}")));
    let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.events) };
    let call = invitation.call;
    let tag = crate::sip::dialog::Entry::read(&invitation.journal).unwrap().dialog.local_tag;
    bench.command(Command::Ring { call, status: 180, answer: None });
    let rseq = parse_response(&bench.sent.last().unwrap().1).unwrap().header("RSeq").unwrap().to_owned();
    bench.pass(Duration::from_millis(3_600));
    // 0, 0.5, 1.5, 3.5 s.
    assert_eq!(bench.words(), ["100 INVITE", "180 INVITE", "180 INVITE", "180 INVITE", "180 INVITE"]);
    // A second one waits its turn.
    bench.command(Command::Ring { call, status: 183, answer: Some(Bytes::from_static(b"early")) });
    let prack = |branch, cseq, rack: &str| from_peer("PRACK", branch, &tag, cseq, &format!("RAck: {rack}\n{EMPTY}"));
    bench.receive(&prack("p0", 2, "1 1 INVITE"));
    bench.receive(&prack("p1", 3, &format!("{rseq} 1 BYE")));
    bench.receive(&prack("p2", 4, &format!("{rseq} 1 INVITE")));
    assert_eq!(bench.words(), ["481 PRACK", "400 PRACK", "200 PRACK", "183 INVITE"]);
    bench.receive(&prack("p3", 5, &format!("{rseq} 1 INVITE")));
    assert_eq!(bench.words(), ["481 PRACK"], "it is acknowledged already");
    // Its session description must have arrived before the 200 (RFC 3262 section 3).
    bench.command(Command::Accept { call, answer: Bytes::from_static(b"early") });
    assert!(bench.words().is_empty());
    let second = rseq.parse::<u32>().unwrap() + 1;
    bench.receive(&prack("p4", 6, &format!("{second} 1 INVITE")));
    assert_eq!(bench.words(), ["200 PRACK", "200 INVITE"]);
    bench.receive(&from_peer("ACK", "a1", &tag, 1, EMPTY));
    assert_eq!(bench.told(), ["Acknowledged"]);
    bench.receive(&from_peer("BYE", "b1", &tag, 7, EMPTY));
    bench.assert_at_rest();
}

/// Whoever has accepted does not ring any more: what waits for the PRACK is the answer, whatever is ordered after it.
#[test]
fn a_ring_that_comes_too_late_takes_no_answer_back() {
    let mut bench = Bench::new();
    bench.receive(&from_peer("INVITE", "i1", "", 1, &format!("Supported: 100rel\n{OFFER}")));
    let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.events) };
    let call = invitation.call;
    let tag = crate::sip::dialog::Entry::read(&invitation.journal).unwrap().dialog.local_tag;
    let early = || Some(Bytes::from_static(b"early"));
    bench.command(Command::Ring { call, status: 183, answer: early() });
    let rseq = parse_response(&bench.sent.last().unwrap().1).unwrap().header("RSeq").unwrap().to_owned();
    bench.command(Command::Accept { call, answer: Bytes::from_static(b"early") });
    bench.command(Command::Ring { call, status: 183, answer: early() });
    bench.words();
    bench.receive(&from_peer("PRACK", "p1", &tag, 2, &format!("RAck: {rseq} 1 INVITE\n{EMPTY}")));
    assert_eq!(bench.words(), ["200 PRACK", "200 INVITE"]);
    bench.receive(&from_peer("ACK", "a1", &tag, 1, EMPTY));
    assert_eq!(bench.told(), ["Acknowledged"]);
    bench.receive(&from_peer("BYE", "b1", &tag, 3, EMPTY));
    bench.assert_at_rest();
}

#[test]
fn a_caller_who_never_acknowledges_the_ringing_is_refused() {
    let mut bench = Bench::new();
    bench.receive(&from_peer("INVITE", "i1", "", 1, &format!("Require: 100rel\n{OFFER}")));
    let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.events) };
    bench.command(Command::Ring { call: invitation.call, status: 180, answer: None });
    bench.pass(Duration::from_secs(32));
    assert_eq!(bench.told(), ["Cancelled"]);
    assert!(bench.words().contains(&"504 INVITE".to_owned()));
    assert_eq!(bench.endpoint.counters().unpracked, 1);
    bench.assert_at_rest();
}

#[test]
fn what_need_not_be_reliable_is_not_and_what_cannot_be_is_not_said() {
    for (lines, body, answer, expected) in [
        ("Supported: 100rel\n", OFFER, false, "180 INVITE"),
        ("Supported: 100rel\n", OFFER, true, "180 INVITE RSeq"),
        ("", OFFER, true, "180 INVITE"),
        ("Require: 100rel\n", OFFER, false, "180 INVITE RSeq"),
        // The first reliable response would have to bring our offer (RFC 3262 section 5): it rings in silence.
        ("Require: 100rel\n", EMPTY, false, ""),
    ] {
        let mut bench = Bench::new();
        bench.receive(&from_peer("INVITE", "i1", "", 1, &format!("{lines}{body}")));
        let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.events) };
        let answer = answer.then(|| Bytes::from_static(b"early"));
        bench.command(Command::Ring { call: invitation.call, status: 180, answer });
        let said = bench.sent[1..].iter().map(|(_, bytes)| {
            let reliable = parse_response(bytes).unwrap().header("RSeq").is_some();
            word(bytes) + if reliable { " RSeq" } else { "" }
        });
        assert_eq!(said.collect::<Vec<_>>().join(" "), expected, "{lines}");
    }
}

/// Who calls, in every header that says so, and whether they want to be named.
#[test]
fn the_caller_is_told_in_all_the_words_that_there_are() {
    let rows: [(&str, [Option<&str>; 3], bool, usize); 16] = [
        ("", [None; 3], false, 0),
        ("P-Asserted-Identity: \"A\" <sip:+1@h>, <tel:+2>\n", [Some("+1"), None, None], false, 0),
        // A name and a number, in whichever order, or in two headers (RFC 3325 section 9.1).
        ("P-Asserted-Identity: <sip:alice@h>, <tel:+39-06(1)>\n", [Some("+39061"), None, None], false, 0),
        (
            "P-Asserted-Identity: <sip:alice@h>\nP-Asserted-Identity: <sip:39061;phone@h>, <sip:39061@h>\n",
            [Some("39061"), None, None],
            false,
            0,
        ),
        ("P-Asserted-Identity: <sip:alice@h>\n", [Some("alice"), None, None], false, 0),
        ("P-Preferred-Identity: <sip:+3@h>\n", [None, None, Some("+3")], false, 0),
        ("Remote-Party-ID: \"B\" <sip:+4@h>;party=calling;privacy=off\n", [None, Some("+4"), None], false, 0),
        ("Remote-Party-ID: <sip:+4@h>;privacy=full\n", [None, Some("+4"), None], true, 0),
        ("Privacy: ID; critical\n", [None; 3], true, 0),
        ("Privacy: header\n", [None; 3], true, 0),
        ("Privacy: none\nP-Asserted-Identity: <tel:+5>\n", [Some("+5"), None, None], false, 0),
        ("Diversion: <sip:+6@h>;reason=no-answer, <sip:+7@h>\nDiversion: <tel:+8>\n", [None; 3], false, 3),
        // Hops that every call takes are none.
        ("History-Info: <sip:+6@h>;index=1, <sip:+6@i>;index=1.1;np=1\n", [None; 3], false, 0),
        (
            "History-Info: <sip:+6@h>;index=1, <sip:+7@h;cause=302>;index=1.1, <sip:+8@h>;index=1.2;mp=1.1\n",
            [None; 3],
            false,
            2,
        ),
        ("History-Info: <sip:+6@h?Reason=SIP%3BCause%3D486>;index=1, <sip:+7@h>;index=1.1;rc=1\n", [None; 3], false, 2),
        (
            "Diversion: <tel:+8>\nHistory-Info: <sip:+6@h>;index=1, <sip:+7@h;cause=302>;index=1.1\n",
            [None; 3],
            false,
            1,
        ),
    ];
    for (lines, [asserted, remote, preferred], anonymous, diversions) in rows {
        let mut bench = Bench::new();
        bench.receive(&from_peer("INVITE", "i1", "", 1, &format!("{lines}{OFFER}")));
        let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.events) };
        let users = [&invitation.asserted_user, &invitation.remote_party_user, &invitation.preferred_user];
        assert_eq!(users.map(|user| user.as_deref()), [asserted, remote, preferred], "{lines}");
        assert_eq!((invitation.anonymous, invitation.diversions), (anonymous, diversions), "{lines}");
    }
}

/// What the network says of the caller's telephone, wherever it is written; what is none is nothing.
#[test]
fn the_callers_telephone_is_told() {
    let rows = [
        ("", None, None),
        ("P-Asserted-Identity: <sip:+12125550100@192.0.2.2;isup-oli=27>\n", Some(27), None),
        ("P-Charge-Info: <sip:2125550100@192.0.2.2>;oli=70\n", Some(70), None),
        ("P-Asserted-Identity: <tel:+12125550100;cpc=payphone>\n", None, Some("payphone")),
        ("P-Asserted-Identity: <sip:+12125550100@192.0.2.2;isup-oli=coin>\n", None, None),
        ("P-Asserted-Identity: <sip:+12125550100@192.0.2.2;isup-oli=999>\n", None, None),
    ];
    for (lines, line, category) in rows {
        let mut bench = Bench::new();
        bench.receive(&from_peer("INVITE", "i1", "", 1, &format!("{lines}{OFFER}")));
        let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.events) };
        assert_eq!((invitation.line, invitation.category.as_deref()), (line, category), "{lines}");
    }
}

/// A 2xx without a body: what was answered before, by whoever picked up, holds (RFC 3262 section 5).
#[test]
fn what_was_answered_early_need_not_be_said_again() {
    type Row = (&'static [(&'static str, &'static str)], &'static str, Option<&'static str>);
    let rows: [Row; 5] = [
        (&[("t", "early")], "", Some("early")),
        (&[("t", "early"), ("t", "later")], "", Some("later")),
        (&[("t", "early")], "at last", Some("at last")),
        (&[("another", "early")], "", None),
        (&[("t", "")], "", None),
    ];
    for (early, body, expected) in rows {
        let mut bench = Bench::new();
        let (call, invite, _) = dialling(&mut bench);
        for (tag, body) in early {
            bench.receive(&reply(&invite, 183, tag, body));
        }
        bench.receive(&reply(&invite, 200, "t", body));
        let Some(Event::Answered { answer, .. }) = bench.events.pop() else { panic!("{:?}", bench.events) };
        assert_eq!(answer.as_deref(), expected.map(str::as_bytes), "{early:?} {body:?}");
        bench.command(Command::HangUp { call, reason: None });
        bench.assert_at_rest();
    }
    // What is said reliably is the answer, and what a server plays afterwards is none.
    let mut bench = Bench::new();
    let (call, invite, _) = dialling(&mut bench);
    let reliably = |body| reply(&invite, 183, "t", body).replacen("\nCSeq", "\nRequire: 100rel\nRSeq: 5\nCSeq", 1);
    bench.receive(&reliably("the answer"));
    bench.receive(&reply(&invite, 183, "t", "music"));
    bench.receive(&reply(&invite, 200, "t", ""));
    let Some(Event::Answered { answer, .. }) = bench.events.pop() else { panic!("{:?}", bench.events) };
    assert_eq!(answer.as_deref(), Some(&b"the answer"[..]));
    bench.command(Command::HangUp { call, reason: None });
    bench.assert_at_rest();
}
