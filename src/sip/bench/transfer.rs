//! Transfers: REFER in and out, what is told of them, and Replaces.

use super::*;
use crate::sip::message::Head;

const TO: &str = "Refer-To: <sip:+390612345678@192.0.2.9>\n";

/// A REFER within the call, with these lines.
fn refer(bench: &mut Bench, tag: &str, cseq: u32, lines: &str) {
    bench.receive(&from_peer("REFER", &format!("r{cseq}"), tag, cseq, &format!("{lines}{EMPTY}")));
}

/// A call that is up, with its REFER, number 2, agreed to.
fn agreed() -> (Bench, Call, String) {
    let mut bench = Bench::new();
    let (call, tag) = up(&mut bench);
    refer(&mut bench, &tag, 2, TO);
    bench.command(Command::Consent { call, number: 2 });
    (bench, call, tag)
}

/// The answer to our last request of this method.
fn answer(bench: &mut Bench, method: &str, status: u16) -> Request {
    let request = bench.request(method);
    bench.receive(&reply(&request, status, "", ""));
    request
}

fn reply(request: &Request, status: u16, name: &str, value: &str) -> String {
    let mut response = Response::to(request, status, "");
    response.push("Contact", "<sip:+4930@192.0.2.2>");
    if !name.is_empty() {
        response.push(name, value);
    }
    String::from_utf8(response.to_bytes().to_vec()).unwrap().replace("\r\n", "\n")
}

/// What a NOTIFY tells: its state, and the first line of its fragment.
fn told(notify: &Request) -> (String, String) {
    let fragment = String::from_utf8(notify.body().to_vec()).unwrap();
    assert_eq!(notify.content_type(), Some("message/sipfrag;version=2.0"));
    (notify.header("Subscription-State").unwrap().to_owned(), fragment.trim_end().to_owned())
}

fn pair(state: &str, fragment: &str) -> (String, String) {
    (state.to_owned(), fragment.to_owned())
}

/// The same, and they were told the first word of it.
fn consented() -> (Bench, Call, String) {
    let (mut bench, call, tag) = agreed();
    answer(&mut bench, "NOTIFY", 200);
    bench.words();
    (bench, call, tag)
}

#[test]
fn whoever_refers_is_told_how_it_goes() {
    let mut bench = Bench::new();
    let (call, tag) = up(&mut bench);
    refer(&mut bench, &tag, 2, TO);
    let [Event::Referred(referral)] = bench.events.as_slice() else { panic!("{:?}", bench.events) };
    assert_eq!((referral.call, referral.number, referral.user.as_str()), (call, 2, "+390612345678"));
    let replaces = replaces_of(&referral.journal).unwrap();
    assert_eq!(replaces, format!("c1;to-tag=them;from-tag={tag}"), "it tells a next life of the call");
    assert!(bench.words().is_empty(), "our owner is asked first");
    // A repeat is absorbed, and tells our owner nothing.
    refer(&mut bench, &tag, 2, TO);
    bench.command(Command::Consent { call, number: 2 });
    assert_eq!((bench.told().len(), bench.endpoint.referrals()), (1, 1));
    let notify = answer(&mut bench, "NOTIFY", 200);
    assert_eq!(bench.words(), ["202 REFER", "NOTIFY"]);
    assert_eq!(told(&notify), pair("active;expires=300", "SIP/2.0 100 Trying"));
    assert_eq!((notify.header("Event"), notify.contact().is_some()), (Some("refer;id=2"), true));
    bench.command(Command::Report { call, number: 2, status: 180, is_last: false });
    // The next waits until this one is answered, and then is of how it stands by then.
    bench.command(Command::Report { call, number: 2, status: 183, is_last: false });
    bench.command(Command::Report { call, number: 2, status: 200, is_last: true });
    let ringing = answer(&mut bench, "NOTIFY", 200);
    assert_eq!((ringing.cseq(), told(&ringing).1), (notify.cseq() + 1, "SIP/2.0 180 Ringing".to_owned()));
    assert_eq!(bench.words(), ["NOTIFY", "NOTIFY"]);
    bench.command(Command::Report { call, number: 2, status: 500, is_last: true });
    assert!(bench.words().is_empty(), "nothing follows the last");
    bench.pass(Duration::from_millis(500));
    let last = answer(&mut bench, "NOTIFY", 200);
    assert_eq!(told(&last), pair("terminated;reason=noresource", "SIP/2.0 200 OK"));
    assert_eq!(bench.endpoint.referrals(), 0);
    bench.receive(&from_peer("BYE", "b1", &tag, 3, EMPTY));
    bench.assert_at_rest();
}

/// What stands in a REFER, and what it is answered with where our owner is not even asked.
#[test]
fn what_is_no_referral_is_refused_by_what_it_is() {
    let long = format!("Refer-To: <sip:+39{}@h>\n", "1".repeat(600));
    let rows: &[(&str, u16)] = &[
        ("", 400),
        ("Refer-To: \n", 400),
        ("Refer-To: nonsense\n", 400),
        ("Refer-To: <sip:+391@h>, <sip:+392@h>\n", 400),
        ("Refer-To: <sip:+391@h>\nRefer-To: <sip:+392@h>\n", 400),
        ("Refer-To: <sip:+391@h>\nr: <sip:+392@h>\n", 400),
        ("Refer-To: <sip:h>\n", 400),
        ("Refer-To: <sip:+391@h\n", 400),
        ("Refer-To: sip:+391@h?Replaces=a\n", 400),
        (&long, 400),
        ("Refer-To: <sips:+391@h>\n", 416),
        ("Refer-To: <http://h/>\n", 416),
        ("Refer-To: <mailto:a@h>\n", 416),
        ("Refer-To: <urn:service:sos>\n", 416),
        ("Refer-To: <sip:+391@h;method=BYE>\n", 501),
        ("Refer-To: <sip:+391@h;method=invite>\n", 501),
        ("Refer-To: <sip:+391@h;method=>\n", 400),
        ("Refer-To: sip:+391@h;method=SUBSCRIBE\n", 501),
        ("Refer-To: <sip:+391@h?Replaces=c%3Bto-tag%3D1%3Bfrom-tag%3D2>\n", 403),
        ("Refer-To: <sip:+391@h?Route=%3Csip:h%3E>\n", 403),
        ("Refer-To: <sip:+391@h?body=v%3D0>\n", 403),
        ("Refer-To: <sip:+391@h>\nReferred-By: nonsense\n", 400),
        ("Refer-To: <sip:+391@h>\nReferred-By: <sip:a@h>, <sip:b@h>\n", 400),
        ("Refer-To: <sip:+391@h>\nRefer-Sub: maybe\n", 400),
        ("Refer-To: <sip:+391@h>\nRequire: explicitsub\n", 420),
    ];
    for (lines, status) in rows {
        let mut bench = Bench::new();
        let (_, tag) = up(&mut bench);
        refer(&mut bench, &tag, 2, lines);
        assert_eq!((bench.words(), bench.told()), (vec![format!("{status} REFER")], vec![]), "{lines}");
        assert_eq!(bench.endpoint.referrals(), 0);
        bench.receive(&from_peer("BYE", "b1", &tag, 3, EMPTY));
        bench.assert_at_rest();
    }
    // And what is one: whom it names.
    for (lines, user) in [
        ("Refer-To: <sip:+391@h;method=INVITE>\n", "+391"),
        ("r: sip:+391@h;user=phone\n", "+391"),
        ("Refer-To: \"A, B\" <sip:+391@h>\nb: <sip:a@h>;cid=x\n", "+391"),
        ("Refer-To: <tel:+44-(0)20.1;ext=5>\n", "+44-(0)20.1;ext=5"),
        // Written out once, and never a line of its own.
        ("Refer-To: <sip:+391%0d%0aRoute%3A%20x@h>\n", "+391\r\nRoute: x"),
        ("Refer-To: <sip:+391%00@h>\n", "+391\0"),
    ] {
        let mut bench = Bench::new();
        let (_, tag) = up(&mut bench);
        refer(&mut bench, &tag, 2, lines);
        let Some(Event::Referred(referral)) = bench.events.last() else { panic!("{lines}: {:?}", bench.sent) };
        assert_eq!(referral.user, user, "{lines}");
    }
}

/// Whatever becomes of a NOTIFY: nobody is told more, and the call goes on.
#[test]
fn a_notify_that_is_not_taken_ends_its_subscription_alone() {
    for status in [481, 408, 404, 500, 603, 401, 0] {
        let (mut bench, call, tag) = agreed();
        match status {
            0 => bench.pass(Duration::from_secs(33)),
            status => drop(answer(&mut bench, "NOTIFY", status)),
        }
        bench.words();
        bench.command(Command::Report { call, number: 2, status: 200, is_last: true });
        assert!(bench.words().is_empty(), "{status}");
        let counters = bench.endpoint.counters();
        assert_eq!((counters.subscriptions_lost, bench.endpoint.referrals()), (1, 0), "{status}");
        assert_eq!(bench.told(), ["Referred"], "the call goes on: {status}");
        bench.receive(&from_peer("INFO", "n1", &tag, 3, EMPTY));
        assert_eq!(bench.words(), ["200 INFO"]);
        bench.receive(&from_peer("BYE", "b1", &tag, 4, EMPTY));
        bench.assert_at_rest();
    }
}

/// Where there is no room for a NOTIFY it is told as soon as there is, as it stands then; and nobody waits for ever.
#[test]
fn how_it_goes_is_told_when_there_is_room() {
    for comes in [true, false] {
        let (mut bench, call, tag) = consented();
        let limit = std::mem::take(&mut bench.endpoint.table.limit);
        bench.command(Command::Report { call, number: 2, status: 180, is_last: false });
        bench.pass(Duration::from_secs(5));
        bench.command(Command::Report { call, number: 2, status: 200, is_last: true });
        bench.pass(Duration::from_secs(if comes { 20 } else { 400 }));
        assert_eq!((bench.words(), bench.endpoint.referrals()), (vec![], usize::from(comes)));
        bench.endpoint.table.limit = limit;
        bench.pass(Duration::from_secs(1));
        if comes {
            let last = answer(&mut bench, "NOTIFY", 200);
            assert_eq!(told(&last), pair("terminated;reason=noresource", "SIP/2.0 200 OK"));
        }
        assert_eq!((bench.endpoint.referrals(), bench.endpoint.counters().subscriptions_lost), (0, 0));
        bench.receive(&from_peer("BYE", "b1", &tag, 3, EMPTY));
        bench.assert_at_rest();
    }
}

#[test]
fn whoever_does_not_want_to_be_told_is_not() {
    for lines in
        ["Refer-Sub: false\nSupported: norefersub\n", "Require: norefersub\nRefer-Sub: False\n", "Require: nosub\n"]
    {
        let mut bench = Bench::new();
        let (call, tag) = up(&mut bench);
        refer(&mut bench, &tag, 2, &format!("{TO}{lines}"));
        bench.command(Command::Consent { call, number: 2 });
        let accepted = parse_response(&bench.sent.last().unwrap().1).unwrap();
        assert_eq!((accepted.status(), accepted.header("Refer-Sub")), (202, Some("false")), "{lines}");
        for (status, is_last) in [(180, false), (200, true)] {
            bench.command(Command::Report { call, number: 2, status, is_last });
        }
        assert_eq!((bench.words(), bench.endpoint.referrals()), (vec!["202 REFER".to_owned()], 0));
        bench.receive(&from_peer("BYE", "b1", &tag, 3, EMPTY));
        bench.assert_at_rest();
    }
}

#[test]
fn a_refusal_is_the_answer_or_comes_after_it() {
    let reason = Some(Reason { q850: Some(21), sip: None, text: "no".to_owned() });
    let refusal = || Refusal { reason: reason.clone(), ..Refusal::plain(403) };
    let mut bench = Bench::new();
    let (call, tag) = up(&mut bench);
    refer(&mut bench, &tag, 2, TO);
    bench.command(Command::Decline { call, number: 2, refusal: refusal() });
    let refused = parse_response(&bench.sent.last().unwrap().1).unwrap();
    assert_eq!((refused.status(), refused.header("Reason")), (403, Some("Q.850;cause=21;text=\"no\"")));
    assert_eq!((bench.words(), bench.endpoint.referrals()), (vec!["403 REFER".to_owned()], 0));
    // Our owner thinks for long: it is answered, and told so later.
    refer(&mut bench, &tag, 3, TO);
    bench.pass(Duration::from_millis(1_999));
    assert!(bench.words().is_empty());
    bench.pass(Duration::from_millis(1));
    let first = answer(&mut bench, "NOTIFY", 200);
    assert_eq!(told(&first).1, "SIP/2.0 100 Trying");
    assert_eq!(bench.words(), ["202 REFER", "NOTIFY"]);
    bench.command(Command::Decline { call, number: 3, refusal: refusal() });
    let last = answer(&mut bench, "NOTIFY", 200);
    assert_eq!(told(&last), pair("terminated;reason=noresource", "SIP/2.0 403 Forbidden"));
    bench.receive(&from_peer("BYE", "b1", &tag, 4, EMPTY));
    bench.assert_at_rest();
}

#[test]
fn a_subscription_is_made_longer_or_ended_by_its_name_alone() {
    let mut bench = Bench::new();
    let (call, tag) = up(&mut bench);
    refer(&mut bench, &tag, 2, TO);
    let subscribe = |bench: &mut Bench, cseq: u32, lines: &str| {
        bench.receive(&from_peer("SUBSCRIBE", &format!("s{cseq}"), &tag, cseq, &format!("{lines}{EMPTY}")));
        bench.words()
    };
    assert_eq!(subscribe(&mut bench, 3, "Event: refer;id=2\n"), ["481 SUBSCRIBE"], "it is not answered yet");
    bench.command(Command::Consent { call, number: 2 });
    answer(&mut bench, "NOTIFY", 200);
    bench.words();
    for (cseq, lines, expected) in [
        (4, "", "489 SUBSCRIBE"),
        (5, "Event: conference\n", "403 SUBSCRIBE"),
        (6, "Event: refer;id=9\n", "481 SUBSCRIBE"),
        (7, "Event: refer;id=x\n", "481 SUBSCRIBE"),
        (8, "Event: refer;id=2\nExpires: soon\n", "400 SUBSCRIBE"),
    ] {
        assert_eq!(subscribe(&mut bench, cseq, lines), [expected], "{lines}");
    }
    assert_eq!(subscribe(&mut bench, 9, "Event: refer;id=2\nExpires: 60\n"), ["200 SUBSCRIBE", "NOTIFY"]);
    assert_eq!(subscribe(&mut bench, 10, "o: refer\nExpires: 99999\n"), ["200 SUBSCRIBE"], "the only one; it waits");
    bench.command(Command::Report { call, number: 2, status: 180, is_last: false });
    bench.pass(Duration::from_millis(500));
    let notify = answer(&mut bench, "NOTIFY", 200);
    assert_eq!(told(&notify), pair("active;expires=60", "SIP/2.0 100 Trying"));
    let notify = answer(&mut bench, "NOTIFY", 200);
    assert_eq!(told(&notify), pair("active;expires=299", "SIP/2.0 180 Ringing"));
    bench.words();
    assert_eq!(subscribe(&mut bench, 11, "Event: refer;id=2\nExpires: 0\n"), ["200 SUBSCRIBE", "NOTIFY"]);
    bench.pass(Duration::from_millis(500));
    let last = answer(&mut bench, "NOTIFY", 200);
    assert_eq!(told(&last), pair("terminated;reason=timeout", "SIP/2.0 180 Ringing"));
    bench.words();
    assert_eq!(subscribe(&mut bench, 12, "Event: refer;id=2\n"), ["481 SUBSCRIBE"], "over is over");
    // Nobody makes it longer: it ends, and says so.
    refer(&mut bench, &tag, 13, TO);
    bench.command(Command::Consent { call, number: 13 });
    answer(&mut bench, "NOTIFY", 200);
    bench.pass(Duration::from_secs(300));
    let last = answer(&mut bench, "NOTIFY", 200);
    assert_eq!(told(&last), pair("terminated;reason=timeout", "SIP/2.0 100 Trying"));
    bench.receive(&from_peer("BYE", "b1", &tag, 14, EMPTY));
    bench.assert_at_rest();
}

#[test]
fn no_more_are_under_way_than_there_may_be_nor_in_a_minute() {
    let mut bench = Bench::new();
    let (call, tag) = up(&mut bench);
    let mut cseq = 1;
    let mut next = |bench: &mut Bench| {
        cseq += 1;
        refer(bench, &tag, cseq, TO);
        (cseq, bench.words())
    };
    for _ in 0..4 {
        assert!(next(&mut bench).1.is_empty());
    }
    assert_eq!(next(&mut bench).1, ["500 REFER"], "four at once");
    for number in 2..6 {
        bench.command(Command::Decline { call, number, refusal: Refusal::plain(403) });
    }
    bench.words();
    for _ in 0..5 {
        let (number, words) = next(&mut bench);
        assert!(words.is_empty());
        bench.command(Command::Decline { call, number, refusal: Refusal::plain(403) });
        bench.words();
    }
    assert_eq!(next(&mut bench).1, ["500 REFER"], "ten in a minute");
    assert_eq!(bench.endpoint.counters().referrals_refused, 2);
    bench.pass(Duration::from_secs(60));
    assert!(next(&mut bench).1.is_empty());
    bench.command(Command::HangUp { call, reason: None });
    assert_eq!(bench.words(), ["481 REFER", "BYE"], "one that was not answered is not forgotten");
    bench.assert_at_rest();
}

#[test]
fn with_the_call_ends_what_is_told_of_it() {
    for ours in [true, false] {
        let (mut bench, call, tag) = consented();
        let expected = if ours {
            bench.command(Command::HangUp { call, reason: None });
            ["NOTIFY", "BYE"]
        } else {
            bench.receive(&from_peer("BYE", "b1", &tag, 3, EMPTY));
            ["200 BYE", "NOTIFY"]
        };
        let last = bench.request("NOTIFY");
        assert_eq!(told(&last), pair("terminated;reason=noresource", "SIP/2.0 100 Trying"));
        assert_eq!(bench.words(), expected);
        bench.command(Command::Report { call, number: 2, status: 200, is_last: true });
        assert!(bench.words().is_empty());
        bench.assert_at_rest();
    }
}

/// Many telephones refer and hang up at once. Our owner goes on with what was asked, so that it is no refusal.
#[test]
fn whoever_refers_and_hangs_up_at_once_is_told_that_it_is_under_way() {
    for lines in ["", "Refer-Sub: false\n"] {
        let mut bench = Bench::new();
        let (call, tag) = up(&mut bench);
        refer(&mut bench, &tag, 2, &format!("{TO}{lines}"));
        bench.receive(&from_peer("BYE", "b1", &tag, 3, EMPTY));
        assert_eq!(bench.told(), ["Referred", "HungUp"]);
        if lines.is_empty() {
            let last = answer(&mut bench, "NOTIFY", 200);
            assert_eq!(told(&last), pair("terminated;reason=noresource", "SIP/2.0 100 Trying"));
            assert_eq!(bench.words(), ["200 BYE", "202 REFER", "NOTIFY"]);
        } else {
            assert_eq!(bench.words(), ["200 BYE", "202 REFER"]);
        }
        // Nobody is there to be told more.
        bench.command(Command::Consent { call, number: 2 });
        bench.command(Command::Decline { call, number: 2, refusal: Refusal::plain(403) });
        bench.command(Command::Report { call, number: 2, status: 200, is_last: true });
        assert_eq!((bench.words(), bench.endpoint.referrals()), (vec![], 0));
        bench.assert_at_rest();
    }
}

#[test]
fn outside_a_call_nobody_refers_or_is_told() {
    for (method, lines, expected) in [
        ("REFER", TO, "403 REFER"),
        ("SUBSCRIBE", "Event: refer\n", "489 SUBSCRIBE"),
        ("NOTIFY", "Event: refer\n", "481 NOTIFY"),
    ] {
        let mut bench = Bench::new();
        let text = from_peer(method, "x1", "", 1, &format!("{lines}{EMPTY}"));
        bench.receive(&text);
        assert_eq!((bench.words(), bench.told()), (vec![expected.to_owned()], vec![]));
        // A stranger gets no more bytes than it sent.
        bench.receive_from("203.0.113.9:5060".parse().unwrap(), &text);
        assert!(
            bench
                .sent
                .iter()
                .all(|(_, bytes)| bytes.len() <= text.replace('\n', "\r\n").len() && word(bytes).starts_with("403"))
        );
        bench.assert_at_rest();
    }
}

// ------------------------------------------------------------------------------------------------------------------- ours

/// A call of whoever takes REFER.
fn referable(bench: &mut Bench) -> (Call, String) {
    bench.receive(&from_peer("INVITE", "i1", "", 1, &format!("Allow: INVITE, BYE, REFER\n{OFFER}")));
    let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.events) };
    let call = invitation.call;
    let tag = crate::sip::dialog::Entry::read(&invitation.journal).unwrap().dialog.local_tag;
    bench.command(Command::Accept { call, answer: Bytes::from_static(b"answer") });
    bench.receive(&from_peer("ACK", "a1", &tag, 1, EMPTY));
    bench.words();
    bench.told();
    (call, tag)
}

fn notice(tag: &str, cseq: u32, lines: &str, fragment: &str) -> String {
    let body = format!("Content-Type: message/sipfrag\nContent-Length: {}\n\n{fragment}", fragment.len());
    from_peer("NOTIFY", &format!("n{cseq}"), tag, cseq, &format!("{lines}{body}"))
}

fn transferring(bench: &mut Bench) -> Vec<(u16, bool)> {
    let told = std::mem::take(&mut bench.events).into_iter().map(|event| match event {
        Event::Transferring { status, is_last, .. } => (status, is_last),
        other => panic!("{other:?}"),
    });
    told.collect()
}

const ACTIVE: &str = "Subscription-State: active;expires=60\n";
const OVER: &str = "Subscription-State: terminated;reason=noresource\n";

#[test]
fn a_transfer_that_we_ask_for_is_followed_to_its_end() {
    let mut bench = Bench::new();
    let (call, tag) = referable(&mut bench);
    bench.command(Command::Refer { call, to: "<sip:+390699@192.0.2.2>\r\nRoute: <sip:x>".to_owned() });
    let refer = bench.request("REFER");
    assert_eq!(refer.header("Route"), None, "one line, whatever stands in it");
    bench.receive(&reply(&refer, 400, "", ""));
    assert_eq!(transferring(&mut bench), [(400, true)]);
    bench.command(Command::Refer { call, to: "<sip:+390699@192.0.2.2>".to_owned() });
    let refer = bench.request("REFER");
    assert_eq!(refer.header("Refer-To"), Some("<sip:+390699@192.0.2.2>"));
    assert_eq!(refer.header("Referred-By"), Some("<sip:room@192.0.2.1>"));
    bench.command(Command::Refer { call, to: "<sip:+390698@192.0.2.2>".to_owned() });
    assert_eq!(transferring(&mut bench), [(491, true)], "one at a time");
    bench.words();
    let id = format!("Event: refer;id={}\n", refer.cseq());
    // The first NOTIFY may be here before the answer (RFC 3515 section 2.4.4).
    bench.receive(&notice(&tag, 2, &format!("{id}{ACTIVE}"), "SIP/2.0 100 Trying\n"));
    bench.receive(&reply(&refer, 202, "", ""));
    bench.receive(&notice(&tag, 3, &format!("Event: refer\n{ACTIVE}"), "SIP/2.0 180 Ringing\n"));
    assert_eq!(bench.words(), ["200 NOTIFY", "200 NOTIFY"]);
    for (cseq, lines, fragment, expected) in [
        (4, format!("Event: refer;id=99\n{ACTIVE}"), "SIP/2.0 200 OK\n", "481 NOTIFY"),
        (5, format!("Event: conference\n{ACTIVE}"), "SIP/2.0 200 OK\n", "489 NOTIFY"),
        (6, id.clone(), "SIP/2.0 200 OK\n", "400 NOTIFY"),
        (7, format!("{id}{ACTIVE}"), "SIP/2.0 999 OK\n", "400 NOTIFY"),
        (8, format!("{id}{ACTIVE}"), "HTTP/1.1 200 OK\n", "400 NOTIFY"),
        (9, format!("{id}{ACTIVE}"), "SIP/2.0 2", "400 NOTIFY"),
    ] {
        bench.receive(&notice(&tag, cseq, &lines, fragment));
        assert_eq!(bench.words(), [expected], "{lines}{fragment}");
    }
    assert_eq!(transferring(&mut bench), [(100, false), (180, false)]);
    bench.receive(&notice(&tag, 10, &format!("{id}{ACTIVE}"), "SIP/2.0 200 OK\n"));
    bench.receive(&notice(&tag, 11, &format!("{id}{OVER}"), "SIP/2.0 200 OK\n"));
    bench.receive(&notice(&tag, 12, &format!("{id}{OVER}"), "SIP/2.0 200 OK\n"));
    assert_eq!(bench.words(), ["200 NOTIFY", "200 NOTIFY", "481 NOTIFY"]);
    assert_eq!(transferring(&mut bench), [(200, true)], "told once");
    bench.receive(&from_peer("BYE", "b1", &tag, 13, EMPTY));
    bench.assert_at_rest();
}

/// Whoever has agreed to call somebody, and then hangs up, has gone there; whoever had not, or had said that it came to nothing, has
/// only hung up.
#[test]
fn whoever_hangs_up_after_they_agreed_has_gone_elsewhere() {
    /// What they say to the REFER, what NOTIFYs then tell, and what our owner hears besides the end of the call.
    type Case = (Option<u16>, &'static [&'static str], &'static [(u16, bool)]);
    let rows: [Case; 6] = [
        (Some(202), &[], &[(202, true)]),
        (Some(202), &["180 Ringing", "over 180 Ringing"], &[(180, false), (202, true)]),
        (Some(200), &[], &[(202, true)]),
        (Some(202), &["100 Trying", "180 Ringing"], &[(100, false), (180, false), (202, true)]),
        (Some(202), &["486 Busy Here"], &[(486, true)]),
        (Some(603), &[], &[(603, true)]),
    ];
    for (answer, notices, expected) in rows {
        let mut bench = Bench::new();
        let (call, tag) = referable(&mut bench);
        bench.command(Command::Refer { call, to: "<tel:+390699>".to_owned() });
        let refer = bench.request("REFER");
        if let Some(status) = answer {
            bench.receive(&reply(&refer, status, "", ""));
        }
        for (cseq, fragment) in (2..).zip(notices) {
            // Some end what they tell with the call.
            let (state, status) = fragment.strip_prefix("over ").map_or((ACTIVE, *fragment), |status| (OVER, status));
            bench.receive(&notice(&tag, cseq, &format!("Event: refer\n{state}"), &format!("SIP/2.0 {status}\n")));
        }
        bench.receive(&from_peer("BYE", "b1", &tag, 9, EMPTY));
        let Some(Event::HungUp { .. }) = bench.events.pop() else { panic!("{:?}", bench.events) };
        assert_eq!(transferring(&mut bench), expected, "{answer:?} {notices:?}");
        bench.assert_at_rest();
    }
}

/// Datagrams overtake each other: whoever hangs up before we hear that they agreed has gone elsewhere all the same, if we hear it yet.
#[test]
fn an_agreement_that_its_bye_has_overtaken_counts() {
    /// What comes after the BYE, and what our owner hears of it.
    type Case = (fn(&mut Bench, &Request, &str), u16);
    fn late(bench: &mut Bench, tag: &str, cseq: u32, fragment: &str) -> Vec<String> {
        bench.receive(&notice(tag, cseq, &format!("Event: refer\n{ACTIVE}"), fragment));
        bench.words()
    }
    let rows: [Case; 8] = [
        (|bench, refer, _| bench.receive(&reply(refer, 202, "", "")), 202),
        (|bench, refer, _| bench.receive(&reply(refer, 202, "Refer-Sub", "false")), 202),
        (|bench, refer, _| bench.receive(&reply(refer, 603, "", "")), 603),
        (|bench, refer, _| bench.receive(&reply(refer, 401, "", "")), 401),
        (|bench, _, _| bench.pass(Duration::from_secs(32)), 408),
        (|bench, _, tag| drop(late(bench, tag, 10, "SIP/2.0 200 OK\n")), 202),
        (|bench, _, tag| drop(late(bench, tag, 10, "SIP/2.0 100 Trying\n")), 202),
        (|bench, _, tag| drop(late(bench, tag, 10, "SIP/2.0 486 Busy Here\n")), 486),
    ];
    for (act, expected) in rows {
        let mut bench = Bench::new();
        let (call, tag) = referable(&mut bench);
        bench.command(Command::Refer { call, to: "<tel:+390699>".to_owned() });
        let refer = bench.request("REFER");
        bench.receive(&from_peer("BYE", "b1", &tag, 8, EMPTY));
        bench.words();
        assert_eq!(bench.told(), ["HungUp"], "the call is over at once");
        assert_eq!(late(&mut bench, "astray", 9, "SIP/2.0 200 OK\n"), ["481 NOTIFY"], "of another call");
        act(&mut bench, &refer, &tag);
        assert_eq!(transferring(&mut bench), [(expected, true)]);
        bench.receive(&reply(&refer, 202, "", ""));
        bench.words();
        assert_eq!(late(&mut bench, &tag, 11, "SIP/2.0 200 OK\n"), ["481 NOTIFY"], "{expected}");
        assert!(bench.told().is_empty(), "told once: {expected}");
        bench.assert_at_rest();
    }
    // Where it is we who hang up nobody waits for what they say.
    let mut bench = Bench::new();
    let (call, _) = referable(&mut bench);
    bench.command(Command::Refer { call, to: "<tel:+390699>".to_owned() });
    let refer = bench.request("REFER");
    bench.command(Command::HangUp { call, reason: None });
    bench.receive(&reply(&refer, 202, "", ""));
    bench.assert_at_rest();
    bench.words();
    assert_eq!(bench.told(), ["Released"]);
    // They have hung up before our owner knew.
    bench.command(Command::Refer { call, to: "<tel:+390699>".to_owned() });
    assert_eq!((bench.words(), transferring(&mut bench)), (vec![], vec![(481, true)]));
}

#[test]
fn a_transfer_that_comes_to_nothing_leaves_the_call_as_it_is() {
    /// What they do, and what our owner is told.
    type Case = (fn(&mut Bench, &Request, &str), u16);
    let rows: [Case; 7] = [
        (|bench, refer, _| bench.receive(&reply(refer, 603, "", "")), 603),
        (|bench, refer, _| bench.receive(&reply(refer, 481, "", "")), 481),
        (|bench, refer, _| bench.receive(&reply(refer, 401, "", "")), 401),
        (|bench, _, _| bench.pass(Duration::from_secs(32)), 408),
        (
            |bench, refer, tag| {
                bench.receive(&reply(refer, 202, "", ""));
                bench.receive(&notice(tag, 2, &format!("Event: refer\n{OVER}"), "SIP/2.0 486 Busy Here\n"));
            },
            486,
        ),
        (
            |bench, refer, tag| {
                bench.receive(&reply(refer, 202, "", ""));
                bench.receive(&notice(tag, 2, &format!("Event: refer\n{OVER}"), "SIP/2.0 100 Trying\n"));
                assert!(bench.events.is_empty(), "they may be about to go there");
                bench.receive(&notice(tag, 3, &format!("Event: refer\n{OVER}"), "SIP/2.0 200 OK\n"));
                bench.pass(Duration::from_secs(2));
            },
            480,
        ),
        (
            |bench, refer, _| {
                bench.receive(&reply(refer, 202, "", ""));
                bench.pass(Duration::from_secs(60));
            },
            408,
        ),
    ];
    for (act, expected) in rows {
        let mut bench = Bench::new();
        let (call, tag) = referable(&mut bench);
        bench.command(Command::Refer { call, to: "<tel:+390699>".to_owned() });
        let refer = bench.request("REFER");
        act(&mut bench, &refer, &tag);
        assert_eq!(transferring(&mut bench), [(expected, true)]);
        bench.words();
        bench.receive(&from_peer("INFO", "n9", &tag, 9, EMPTY));
        assert_eq!(bench.words(), ["200 INFO"]);
        bench.receive(&from_peer("BYE", "b1", &tag, 10, EMPTY));
        bench.assert_at_rest();
    }
    // Whoever does not say that they take it is not asked.
    let mut bench = Bench::new();
    let (call, tag) = up(&mut bench);
    bench.command(Command::Refer { call, to: "<tel:+390699>".to_owned() });
    assert_eq!((bench.words(), transferring(&mut bench)), (vec![], vec![(405, true)]));
    bench.receive(&from_peer("BYE", "b1", &tag, 3, EMPTY));
    bench.assert_at_rest();
}

// -------------------------------------------------------------------------------------------------------------- Replaces

#[test]
fn an_invite_names_the_call_whose_place_it_wants() {
    let invite = |replaces: &str| {
        from_peer("INVITE", "z1", "", 1, &format!("Replaces: {replaces}\n{OFFER}"))
            .replace("Call-ID: c1", "Call-ID: c2")
            .replace(";tag=them", ";tag=z")
    };
    let wanted = |bench: &mut Bench, replaces: &str| {
        bench.receive(&invite(replaces));
        let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.sent) };
        invitation.replaces.unwrap()
    };
    // Up: it can; but not by who wants it only while it rings, nor under other names.
    for (tags, refusal) in
        [("from-tag=them", None), ("from-tag=them;early-only", Some(486)), ("from-tag=other", Some(481))]
    {
        let mut bench = Bench::new();
        let (call, tag) = up(&mut bench);
        let found = wanted(&mut bench, &format!("c1;to-tag={tag};{tags}"));
        let expected = if refusal == Some(481) { None } else { Some(call) };
        assert_eq!(found, Replacement { call: expected, refusal }, "{tags}");
    }
    let mut bench = Bench::new();
    up(&mut bench);
    assert_eq!(wanted(&mut bench, "c1;to-tag=astray;from-tag=them"), Replacement { call: None, refusal: Some(481) });
    // It rings here; it is about to end.
    let mut bench = Bench::new();
    let (call, tag) = invited(&mut bench);
    let name = format!("c1;to-tag={tag};from-tag=them");
    assert_eq!(wanted(&mut bench, &name), Replacement { call: Some(call), refusal: Some(481) });
    let mut bench = Bench::new();
    let (call, tag) = up(&mut bench);
    bench.command(Command::HangUp { call, reason: None });
    let name = format!("c1;to-tag={tag};from-tag=them");
    assert_eq!(wanted(&mut bench, &name), Replacement { call: Some(call), refusal: Some(603) });
    // Twice, or with Join: no call at all.
    let mut bench = Bench::new();
    bench.receive(&invite("a;to-tag=1;from-tag=2, b;to-tag=1;from-tag=2"));
    assert_eq!((bench.words(), bench.told()), (vec!["400 INVITE".to_owned()], vec![]));
}

#[test]
fn only_whoever_may_is_told_that_we_know_how_to_transfer() {
    let says = |head: &Head, may: bool| {
        assert_eq!(head.lists("Allow", "REFER"), may);
        assert_eq!(head.header("Allow-Events"), Some(if may { "conference, refer" } else { "conference" }));
        for extension in ["replaces", "norefersub", "nosub"] {
            assert_eq!(head.lists("Supported", extension), may, "{extension}");
        }
        assert!(head.lists("Allow", "SUBSCRIBE") && head.lists("Supported", "timer"));
    };
    for may in [true, false] {
        let mut bench = Bench::new();
        let (call, tag) = invited(&mut bench);
        if may {
            bench.command(Command::MayTransfer { call });
        }
        bench.command(Command::Ring { call, status: 180, answer: None });
        says(&parse_response(&bench.sent.last().unwrap().1).unwrap(), may);
        bench.command(Command::Accept { call, answer: Bytes::from_static(b"answer") });
        says(&parse_response(&bench.sent.last().unwrap().1).unwrap(), may);
        bench.receive(&from_peer("ACK", "a1", &tag, 1, EMPTY));
        bench.command(Command::Offer { call, offer: Bytes::from_static(b"hold") });
        says(&bench.request("INVITE"), may);
        bench.receive(&from_peer("OPTIONS", "o1", &tag, 2, EMPTY));
        says(&parse_response(&bench.sent.last().unwrap().1).unwrap(), may);
        // Outside of a call nobody transfers anything.
        bench.receive(&from_peer("OPTIONS", "o2", "", 1, EMPTY));
        says(&parse_response(&bench.sent.last().unwrap().1).unwrap(), false);
        // Where we call: from the first.
        let mut bench = Bench::new();
        let dial = Dial { may_transfer: may, ..dial(&mut StdRng::seed_from_u64(4), 7, 30_000) };
        let call = dial.call;
        bench.command(Command::Dial(Box::new(dial)));
        let invite = bench.request("INVITE");
        says(&invite, may);
        // And as long as it lives.
        bench.receive(&reply(&invite, 200, "t", "answer"));
        bench.sent.clear();
        bench.command(Command::Offer { call, offer: Bytes::from_static(b"hold") });
        says(&bench.request("INVITE"), may);
    }
}

/// Whoever insists on an extension that they may not use is told which one it is (RFC 3261 section 8.2.2.3).
#[test]
fn an_extension_that_is_not_for_them_is_named() {
    let mut bench = Bench::new();
    bench.receive(&from_peer("INVITE", "i1", "", 1, &format!("Require: replaces\n{OFFER}")));
    let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{:?}", bench.sent) };
    assert!(invitation.requires_replaces && invitation.replaces.is_none());
    let refusal = Refusal { unsupported: Some("replaces"), ..Refusal::plain(420) };
    bench.command(Command::Refuse { call: invitation.call, refusal });
    let refused = parse_response(&bench.sent.last().unwrap().1).unwrap();
    assert_eq!((refused.status(), refused.header("Unsupported")), (420, Some("replaces")));
}
