//! Who watches a call's conference: what a watcher is told and when, who is refused how, and how each ends.

use super::*;
use crate::sip::dns::{Answer, Record};
use proptest::prelude::*;
use std::collections::BTreeMap;

mod cells;

/// A call that is up, with the Contact that it was answered with.
fn call(bench: &mut Bench, number: u32) -> (Call, String, NameAddr) {
    let own = |text: String| text.replace("Call-ID: c1", &format!("Call-ID: c{number}"));
    bench.receive(&own(from_peer("INVITE", &format!("i{number}"), "", 1, OFFER)));
    let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("no call") };
    bench.command(Command::Accept { call: invitation.call, answer: Bytes::from_static(b"answer") });
    let answer = parse_response(&bench.sent.last().unwrap().1).unwrap();
    let tag = answer.to().tag().unwrap().to_owned();
    bench.receive(&own(from_peer("ACK", &format!("a{number}"), &tag, 1, EMPTY)));
    bench.words();
    bench.told();
    (invitation.call, tag, answer.contact().unwrap().clone())
}

/// A SUBSCRIBE to what a Contact says, as one of many watchers sends it.
fn subscribe(contact: &NameAddr, watcher: u32, to_tag: &str, cseq: u32, more: &str) -> String {
    let event = if more.contains("Event:") { "" } else { "Event: conference\n" };
    from_peer("SUBSCRIBE", &format!("s{watcher}-{cseq}"), to_tag, cseq, &format!("{event}{more}{EMPTY}"))
        .replace("sip:room@192.0.2.1 SIP", &format!("{} SIP", contact.uri()))
        .replace("Call-ID: c1", &format!("Call-ID: w{watcher}"))
}

/// What our owner was asked.
fn asked(bench: &mut Bench) -> Subscription {
    match bench.events.drain(..).next() {
        Some(Event::Subscribed(subscriber)) => subscriber.subscription,
        other => panic!("{other:?}"),
    }
}

fn admit(bench: &mut Bench, shown: Option<Conference>) -> Subscription {
    let subscription = asked(bench);
    bench.command(Command::Admit { subscription, shown: shown.map(Arc::new), tcp: None });
    subscription
}

/// A watcher of a room: it has read the first NOTIFY, and our tag.
fn watching(bench: &mut Bench, contact: &NameAddr, shown: Option<Conference>) -> (Subscription, String) {
    bench.receive(&subscribe(contact, 1, "", 1, "Expires: 600\n"));
    let subscription = admit(bench, shown);
    let tag = parse_response(&bench.sent[0].1).unwrap().to().tag().unwrap().to_owned();
    answer(bench, 200);
    (subscription, tag)
}

/// The watcher answers the last NOTIFY.
fn answer(bench: &mut Bench, status: u16) -> Request {
    let notify = bench.request("NOTIFY");
    let flow = bench.sent.last().expect("a request").0;
    bench.sent.clear();
    bench.endpoint.receive(bench.now, flow, &Response::to(&notify, status, "").to_bytes());
    bench.drain();
    notify
}

fn show(bench: &mut Bench, subscription: Subscription, conference: &Conference) {
    let (subscriptions, conference) = (vec![subscription], Arc::new(conference.clone()));
    bench.command(Command::Show { subscriptions, conference });
}

fn room(people: u32) -> Conference {
    let person = Person {
        number: Some("+39061111****".to_owned()),
        role: "attendee",
        presence: Presence::Inside,
        speaks: true,
        hears: true,
        is_called: false,
        since: None,
    };
    let people: BTreeMap<u32, Person> = (1..=people).map(|seat| (seat, person.clone())).collect();
    Conference { most: 1_000, count: people.len(), active: true, locked: false, people }
}

fn body(notify: &Request) -> String {
    String::from_utf8(notify.body().to_vec()).unwrap()
}

/// State of the subscription, without the seconds that are left.
fn state(notify: &Request) -> &str {
    let state = notify.header("Subscription-State").unwrap();
    if state.starts_with("terminated") { state } else { state.split(';').next().unwrap() }
}

#[test]
fn each_contact_of_a_call_names_its_conference_and_no_other() {
    let mut bench = Bench::new();
    let (one, tag, contact) = call(&mut bench, 1);
    let (_, _, other) = call(&mut bench, 2);
    assert_eq!(contact.param("isfocus"), Some(""));
    let secret = contact.uri().user().unwrap();
    assert_eq!((secret.len(), contact.uri().host()), (32, "192.0.2.1"));
    assert_ne!(contact.uri(), other.uri());
    // It is the same for as long as the call is: in our own offers, in answers to theirs, and where they ask what we are.
    bench.command(Command::Offer { call: one, offer: Bytes::from_static(b"hold") });
    assert_eq!(bench.request("INVITE").contact(), Some(&contact));
    bench.receive(&from_peer("OPTIONS", "o1", &tag, 2, EMPTY));
    let options = parse_response(&bench.sent.last().unwrap().1).unwrap();
    assert_eq!((options.contact(), options.header("Allow-Events")), (Some(&contact), Some("conference")));
    assert!(options.lists("Allow", "SUBSCRIBE"));
    bench.receive(&from_peer("OPTIONS", "o2", "", 1, EMPTY));
    let options = parse_response(&bench.sent.last().unwrap().1).unwrap();
    assert_eq!(options.contact(), None, "outside of a call there is none");

    let mut rng = StdRng::seed_from_u64(1);
    bench.command(Command::Dial(Box::new(dial(&mut rng, 7, 60_000))));
    let out = bench.request("INVITE").contact().unwrap().clone();
    assert_eq!((out.param("isfocus"), out.uri().user().map(str::len)), (Some(""), Some(32)));
    assert_ne!(out.uri(), contact.uri());
}

#[test]
fn a_watcher_sees_nothing_before_the_room_all_of_it_then_and_each_change_put_together() {
    let mut bench = Bench::new();
    let (_, _, contact) = call(&mut bench, 1);
    bench.receive(&subscribe(&contact, 1, "", 1, ""));
    assert_eq!(bench.words(), Vec::<String>::new(), "our owner has the word");
    let subscription = admit(&mut bench, None);
    let taken = parse_response(&bench.sent[0].1).unwrap();
    assert_eq!((taken.status(), taken.header("Expires"), taken.contact()), (200, Some("3600"), Some(&contact)));
    let pending = answer(&mut bench, 200);
    assert_eq!(
        (state(&pending), body(&pending).as_str(), pending.header("Event")),
        ("pending", "", Some("conference"))
    );
    assert_eq!(pending.header("Subscription-State"), Some("pending;expires=3600"));
    assert_eq!((pending.uri().as_str(), pending.to().tag()), ("sip:+4930@192.0.2.2", Some("them")));

    show(&mut bench, subscription, &room(1));
    let whole = answer(&mut bench, 200);
    assert_eq!((state(&whole), whole.content_type()), ("active", Some("application/conference-info+xml")));
    assert!(
        body(&whole).contains("state=\"full\" version=\"1\"") && body(&whole).contains("seat1@"),
        "{}",
        body(&whole)
    );
    assert!(body(&whole).contains(&format!("entity=\"{}\"", contact.uri())));

    // A rush within a second is one message, and what changes back is none.
    for people in [2, 4, 5, 4, 2] {
        show(&mut bench, subscription, &room(people));
        bench.pass(Duration::from_millis(100));
    }
    assert_eq!(bench.words(), Vec::<String>::new());
    bench.pass(Duration::from_millis(500));
    let change = answer(&mut bench, 200);
    assert!(body(&change).contains("state=\"partial\" version=\"2\""), "{}", body(&change));
    assert!(body(&change).contains("seat2@") && !body(&change).contains("seat1@"), "{}", body(&change));
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.words(), Vec::<String>::new());
    // While one is not answered, none follows.
    show(&mut bench, subscription, &room(3));
    let first = bench.request("NOTIFY");
    bench.sent.clear();
    show(&mut bench, subscription, &room(4));
    bench.pass(Duration::from_millis(1_900));
    assert!(bench.sent.iter().all(|(_, bytes)| parse_request(bytes).unwrap() == first), "repeats alone");
    answer(&mut bench, 200);
    assert!(body(&bench.request("NOTIFY")).contains("version=\"4\""));
}

#[test]
fn whoever_asks_again_is_told_all_and_whoever_asks_for_no_more_is_told_so() {
    let mut bench = Bench::new();
    let (_, _, contact) = call(&mut bench, 1);
    let (subscription, tag) = watching(&mut bench, &contact, Some(room(1)));
    bench.receive(&subscribe(&contact, 1, &tag, 2, "Expires: 600\n"));
    assert_eq!(admit(&mut bench, Some(room(1))), subscription, "who may is asked anew, under the same number");
    let taken = parse_response(&bench.sent[0].1).unwrap();
    assert_eq!((taken.status(), taken.header("Expires")), (200, Some("600")));
    let whole = answer(&mut bench, 200);
    assert_eq!(whole.header("Subscription-State"), Some("active;expires=600"));
    assert!(body(&whole).contains("state=\"full\" version=\"2\""));
    // Old, of another Event, of another dialog, and too brief.
    let rows = [
        (subscribe(&contact, 1, &tag, 2, "").replace("s1-2", "old"), "500 SUBSCRIBE"),
        (subscribe(&contact, 1, &tag, 3, "Event: conference;id=7\n"), "481 SUBSCRIBE"),
        (subscribe(&contact, 1, "wrong", 4, ""), "481 SUBSCRIBE"),
        (subscribe(&contact, 1, &tag, 5, "Expires: 59\n"), "423 SUBSCRIBE"),
        (subscribe(&contact, 1, &tag, 6, "Event: presence\n"), "489 SUBSCRIBE"),
    ];
    for (text, expected) in rows {
        bench.receive(&text);
        assert_eq!(bench.words(), [expected], "{text}");
    }
    bench.receive(&subscribe(&contact, 1, &tag, 9, "Expires: 0\n"));
    assert!(bench.events.is_empty(), "an end needs nobody's leave");
    assert_eq!(parse_response(&bench.sent[0].1).unwrap().header("Expires"), Some("0"));
    let last = answer(&mut bench, 200);
    assert_eq!(state(&last), "terminated;reason=timeout");
    assert!(body(&last).contains("state=\"full\""));
    assert!(matches!(bench.events[..], [Event::Unsubscribed { subscription: gone }] if gone == subscription));
    bench.receive(&subscribe(&contact, 1, &tag, 10, ""));
    assert_eq!(bench.words(), ["481 SUBSCRIBE"]);
    assert_eq!(bench.endpoint.subscriptions(), 0);
}

/// Whoever may not go on is told so, sees nothing more, and is gone; an owner who does not say leaves things as they were.
#[test]
fn whoever_asks_again_may_be_turned_away() {
    for (why, status, reason) in [
        (Some(Unwatchable::Stranger), "403 SUBSCRIBE", "rejected"),
        (Some(Unwatchable::TooMany), "480 SUBSCRIBE", "probation;retry-after=60"),
        (None, "500 SUBSCRIBE", ""),
    ] {
        let mut bench = Bench::new();
        let (call, _, contact) = call(&mut bench, 1);
        let (subscription, tag) = watching(&mut bench, &contact, Some(room(1)));
        bench.pass(Duration::from_secs(2));
        bench.receive(&subscribe(&contact, 1, &tag, 2, "Expires: 600\n"));
        assert_eq!((asked(&mut bench), bench.words()), (subscription, vec![]), "nothing before our owner has said so");
        // What changes meanwhile waits for that, too.
        show(&mut bench, subscription, &room(2));
        assert_eq!(bench.words(), Vec::<String>::new());
        match why {
            Some(why) => bench.command(Command::Deny { subscription, why }),
            None => bench.pass(Duration::from_secs(5)),
        }
        let words: Vec<String> = bench.sent.iter().map(|(_, bytes)| word(bytes)).collect();
        assert_eq!(words, [status, "NOTIFY"]);
        let notify = answer(&mut bench, 200);
        if why.is_some() {
            assert_eq!((state(&notify), body(&notify).as_str()), (format!("terminated;reason={reason}").as_str(), ""));
            assert_eq!((bench.endpoint.subscriptions(), bench.told()), (0, vec!["Unsubscribed".to_owned()]));
        } else {
            assert!(state(&notify) == "active" && body(&notify).contains("seat2@"));
            bench.receive(&subscribe(&contact, 1, &tag, 3, "Expires: 600\n"));
            assert_eq!(admit(&mut bench, None), subscription);
            assert_eq!(state(&answer(&mut bench, 200)), "pending", "as it stands now");
        }
        bench.command(Command::HangUp { call, reason: None });
        bench.pass(Duration::from_secs(40));
        bench.words();
        bench.events.clear();
        bench.assert_at_rest();
    }
}

/// Each address has its pace, which the first ones and those within a subscription share; calls never notice.
#[test]
fn whoever_asks_too_fast_is_told_to_come_again_in_a_moment() {
    let mut bench = Bench::new();
    let (call, tag, contact) = call(&mut bench, 1);
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for watcher in 0..1_000 {
        bench.receive(&subscribe(&contact, watcher, "", 1, ""));
        if let Some(Event::Subscribed(subscriber)) = bench.events.pop() {
            let (subscription, why) = (subscriber.subscription, Unwatchable::Stranger);
            bench.command(Command::Deny { subscription, why });
        }
        let last = parse_response(&bench.sent.last().unwrap().1).unwrap();
        assert_eq!(last.header("Retry-After"), (last.status() == 500).then_some("1"));
        bench.words().into_iter().for_each(|word| *answers.entry(word).or_default() += 1);
        bench.told();
    }
    assert_eq!((answers["403 SUBSCRIBE"], answers["500 SUBSCRIBE"]), (100, 900));
    let counters = bench.endpoint.counters();
    assert_eq!((counters.subscriptions_paced, counters.subscriptions_refused), (900, 100));
    assert_eq!(bench.endpoint.transactions(), 101, "nothing is kept of them");
    bench.receive(&from_peer("OPTIONS", "o1", &tag, 2, EMPTY));
    assert_eq!(bench.words(), ["200 OPTIONS"]);
    bench.pass(Duration::from_secs(1));
    bench.receive(&subscribe(&contact, 5_000, "", 1, ""));
    admit(&mut bench, None);
    assert_eq!(bench.words(), ["200 SUBSCRIBE", "NOTIFY"]);
    bench.command(Command::HangUp { call, reason: None });
}

#[test]
fn a_look_at_it_is_one_notify() {
    for (shown, has_body) in [(Some(room(1)), true), (None, false)] {
        let mut bench = Bench::new();
        let (call, _, contact) = call(&mut bench, 1);
        bench.receive(&subscribe(&contact, 1, "", 1, "Event: conference;id=ab\nExpires: 0\n"));
        admit(&mut bench, shown);
        let only = answer(&mut bench, 200);
        assert_eq!((state(&only), only.header("Event")), ("terminated;reason=timeout", Some("conference;id=ab")));
        assert_eq!(!only.body().is_empty(), has_body);
        assert_eq!(bench.told(), ["Unsubscribed"]);
        bench.command(Command::HangUp { call, reason: None });
        bench.assert_at_rest();
    }
}

/// What is refused leaves nothing, and is told in the fewest words.
#[test]
fn each_wish_that_cannot_be_met_is_refused_by_its_name() {
    let mut bench = Bench::new();
    let (_, call_tag, contact) = call(&mut bench, 1);
    let transactions = bench.endpoint.transactions();
    let plain = |more: &str| subscribe(&contact, 1, "", 1, more);
    let unknown: NameAddr = "<sip:00000000000000000000000000000000@192.0.2.1>".parse().unwrap();
    let rows = [
        (plain("").replace("Event: conference\n", ""), 489, "Allow-Events", "conference"),
        (plain("Event: presence\n"), 489, "Allow-Events", "conference"),
        (plain("Event: Conference\n"), 489, "Allow-Events", "conference"),
        (plain("Event: conference;id=a b\n"), 400, "", ""),
        (plain("Accept: application/pidf+xml, text/plain\n"), 406, "Accept", "application/conference-info+xml"),
        (plain("Expires: 59\n"), 423, "Min-Expires", "60"),
        (plain("Expires: soon\n"), 400, "", ""),
        (plain("Require: nobody-knows\n"), 420, "Unsupported", "nobody-knows"),
        (plain("").replace("Contact: <sip:+4930@192.0.2.2>\n", ""), 400, "", ""),
        (subscribe(&unknown, 1, "", 1, ""), 403, "", ""),
        (plain("").replace(contact.uri().user().unwrap(), "room"), 403, "", ""),
        // Within the call itself (RFC 6665 section 4.5.2).
        (subscribe(&contact, 1, &call_tag, 2, "").replace("Call-ID: w1", "Call-ID: c1"), 403, "", ""),
    ];
    for (text, status, header, value) in rows {
        bench.receive(&text);
        let refused = parse_response(&bench.sent.pop().expect(&text).1).unwrap();
        assert_eq!(refused.status(), status, "{text}");
        if !header.is_empty() {
            assert_eq!(refused.header(header), Some(value), "{text}");
        }
    }
    assert!(bench.told().is_empty());
    assert_eq!((bench.endpoint.subscriptions(), bench.endpoint.transactions()), (0, transactions));
    for more in ["", "Accept: */*\n", "Accept: text/plain, application/conference-info+xml;q=0.1\n", "Expires: 60\n"] {
        bench.receive(&subscribe(&contact, 9, "", 1, more));
        let subscription = asked(&mut bench);
        bench.command(Command::Deny { subscription, why: Unwatchable::Stranger });
        assert_eq!(bench.words(), ["403 SUBSCRIBE"], "{more}");
        bench.pass(Duration::from_secs(40));
        bench.told();
    }
}

/// A stranger gets what strangers get, shorter than what they sent; whoever knows no secret, and whom our owner does not want,
/// get the same: nobody learns whether there is a room.
#[test]
fn a_stranger_learns_nothing() {
    let mut bench = Bench::new();
    let (_, _, contact) = call(&mut bench, 1);
    let unknown: NameAddr = "<sip:ffffffffffffffffffffffffffffffff@192.0.2.1>".parse().unwrap();
    let elsewhere = "198.51.100.7:5060".parse().unwrap();
    for (number, contact) in [&contact, &unknown].into_iter().enumerate() {
        let text = subscribe(contact, 7, "", 1, "").replace("s7-1", &format!("x{number}"));
        bench.receive_from(elsewhere, &text);
        let (_, bytes) = bench.sent.pop().unwrap();
        assert_eq!(word(&bytes), "403 SUBSCRIBE");
        assert!(bytes.len() <= text.replace('\n', "\r\n").len());
        assert!(bench.sent.is_empty() && bench.told().is_empty());
    }
    let mut answers = Vec::new();
    for contact in [&contact, &unknown] {
        bench.receive(&subscribe(contact, 8, "", 1, ""));
        if let Some(Event::Subscribed(subscriber)) = bench.events.pop() {
            let (subscription, why) = (subscriber.subscription, Unwatchable::Stranger);
            bench.command(Command::Deny { subscription, why });
        }
        let answer = parse_response(&bench.sent.pop().unwrap().1).unwrap();
        answers
            .push(answer.headers().filter(|(name, _)| *name != "To").map(|it| format!("{it:?}")).collect::<Vec<_>>());
        bench.pass(Duration::from_secs(40));
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn each_end_has_its_reason() {
    enum End {
        Call,
        Concluded,
        Rejected,
        Drained,
        Time,
    }
    for (end, reason) in [
        (End::Call, "noresource"),
        (End::Concluded, "noresource"),
        (End::Rejected, "rejected"),
        (End::Drained, "probation;retry-after=5"),
        (End::Time, "timeout"),
    ] {
        let mut bench = Bench::new();
        let (call, tag, contact) = call(&mut bench, 1);
        let (subscription, _) = watching(&mut bench, &contact, Some(room(1)));
        match end {
            End::Call => bench.receive(&from_peer("BYE", "b1", &tag, 2, EMPTY)),
            End::Concluded => bench.command(Command::Conclude { subscriptions: vec![subscription] }),
            End::Rejected => bench.command(Command::Reject { subscriptions: vec![subscription] }),
            End::Drained => bench.command(Command::Drain { retry_after_s: 5 }),
            End::Time => bench.pass(Duration::from_secs(600)),
        }
        let last = answer(&mut bench, 200);
        assert_eq!(state(&last), format!("terminated;reason={reason}"));
        assert!(bench.events.iter().any(|event| matches!(event, Event::Unsubscribed { .. })));
        assert_eq!(bench.endpoint.subscriptions(), 0);
        bench.receive(&subscribe(&contact, 2, "", 1, ""));
        let expected = match end {
            End::Call => "403 SUBSCRIBE",
            End::Drained => "503 SUBSCRIBE",
            End::Concluded | End::Rejected | End::Time => "",
        };
        assert_eq!(bench.words().first().map_or("", String::as_str), expected);
        bench.command(Command::HangUp { call, reason: None });
        bench.assert_at_rest();
    }
}

/// What a watcher says to NOTIFYs, how many follow within 40 s, and whether it is a watcher after that.
#[test]
fn a_watcher_that_does_not_want_to_know_is_let_go() {
    for (status, said, stays) in
        [(481, 1, false), (404, 1, false), (489, 1, false), (401, 1, false), (500, 3, false), (503, 3, false)]
    {
        let mut bench = Bench::new();
        let (_, _, contact) = call(&mut bench, 1);
        let (subscription, _) = watching(&mut bench, &contact, Some(room(1)));
        bench.pass(Duration::from_secs(2));
        show(&mut bench, subscription, &room(2));
        let mut notifies = 0;
        while bench.sent.iter().any(|(_, bytes)| word(bytes) == "NOTIFY") {
            answer(&mut bench, status);
            notifies += 1;
            bench.pass(Duration::from_secs(1));
        }
        assert_eq!((notifies, bench.endpoint.subscriptions() == 1), (said, stays), "{status}");
    }
    // One that was refused for now is told all of it the next time.
    let mut bench = Bench::new();
    let (_, _, contact) = call(&mut bench, 1);
    let (subscription, _) = watching(&mut bench, &contact, Some(room(1)));
    bench.pass(Duration::from_secs(2));
    show(&mut bench, subscription, &room(2));
    answer(&mut bench, 500);
    bench.pass(Duration::from_secs(1));
    assert!(body(&answer(&mut bench, 200)).contains("state=\"full\" version=\"3\""));
}

#[test]
fn whoever_asks_while_calls_are_turned_away_is_told_when_to_ask_again() {
    let mut bench = Bench::new();
    let (call, _, contact) = call(&mut bench, 1);
    bench.receive(&subscribe(&contact, 1, "", 1, ""));
    asked(&mut bench);
    bench.command(Command::Drain { retry_after_s: 9 });
    let refused = parse_response(&bench.sent.last().unwrap().1).unwrap();
    assert_eq!((refused.status(), refused.header("Retry-After")), (503, Some("9")));
    assert_eq!(bench.endpoint.subscriptions(), 0);
    bench.words();
    bench.events.clear();
    bench.command(Command::HangUp { call, reason: None });
    bench.assert_at_rest();
}

#[test]
fn a_notify_that_did_not_get_away_is_told_again_and_not_for_ever() {
    let mut bench = Bench::new();
    let (_, _, contact) = call(&mut bench, 1);
    let (subscription, _) = watching(&mut bench, &contact, Some(room(1)));
    bench.pass(Duration::from_secs(2));
    show(&mut bench, subscription, &room(2));
    for broken in 1..=3 {
        let flow = bench.sent.last().expect("a NOTIFY").0;
        let told = bench.request("NOTIFY");
        if broken > 1 {
            assert!(body(&told).contains("state=\"full\""), "{}", body(&told));
        }
        bench.sent.clear();
        bench.endpoint.lost(bench.now, flow);
        bench.drain();
        let left = usize::from(broken < 3);
        assert_eq!(bench.endpoint.subscriptions(), left, "after {broken} that were broken");
        bench.pass(Duration::from_secs(2));
    }
}

#[test]
fn a_watcher_that_is_silent_is_gone_within_64_t1() {
    let mut bench = Bench::new();
    let (call, _, contact) = call(&mut bench, 1);
    bench.receive(&subscribe(&contact, 1, "", 1, ""));
    admit(&mut bench, Some(room(1)));
    bench.pass(Duration::from_millis(31_999));
    assert_eq!((bench.endpoint.subscriptions(), bench.told().len()), (1, 0));
    bench.pass(Duration::from_millis(1));
    assert_eq!((bench.endpoint.subscriptions(), bench.told()), (0, vec!["Unsubscribed".to_owned()]));
    bench.command(Command::HangUp { call, reason: None });
    bench.assert_at_rest();
}

#[test]
fn an_owner_that_does_not_answer_holds_nobody() {
    let mut bench = Bench::new();
    let (_, _, contact) = call(&mut bench, 1);
    bench.receive(&subscribe(&contact, 1, "", 1, ""));
    let subscription = asked(&mut bench);
    bench.pass(Duration::from_secs(5));
    assert_eq!((bench.words(), bench.told()), (vec!["500 SUBSCRIBE".to_owned()], vec!["Unsubscribed".to_owned()]));
    bench.command(Command::Admit { subscription, shown: None, tcp: None });
    assert_eq!(bench.words(), Vec::<String>::new());
}

#[test]
fn ten_thousand_watchers_are_as_many_as_may_be() {
    let mut bench = Bench::new();
    let (call, _, contact) = call(&mut bench, 1);
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for watcher in 0..10_000 {
        // As fast as they may ask, while there is room.
        bench.pass(Duration::from_millis(if watcher < 1_000 { 10 } else { 1 }));
        bench.words(); // repeats of NOTIFYs that nobody answers
        bench.receive(&subscribe(&contact, watcher, "", 1, "Expires: 60\n"));
        for event in std::mem::take(&mut bench.events) {
            if let Event::Subscribed(subscriber) = event {
                bench.command(Command::Admit { subscription: subscriber.subscription, shown: None, tcp: None });
            }
        }
        for word in bench.words() {
            *answers.entry(word).or_default() += 1;
        }
    }
    let refused = ["480 SUBSCRIBE", "500 SUBSCRIBE"].map(|word| answers[word]);
    assert_eq!((answers["200 SUBSCRIBE"], refused), (1_000, [999, 8_001]), "a few are heard, and there is no room");
    assert_eq!((bench.endpoint.subscriptions(), answers["NOTIFY"]), (MOST_SUBSCRIPTIONS, 1_000));
    assert!(bench.endpoint.transactions() <= 2_001, "{}", bench.endpoint.transactions());
    let counters = bench.endpoint.counters();
    assert_eq!([counters.subscriptions_refused, counters.subscriptions_paced], [999, 8_001]);
    bench.pass(Duration::from_secs(33));
    assert_eq!(bench.endpoint.subscriptions(), 0, "nobody has answered");
    bench.command(Command::HangUp { call, reason: None });
    bench.assert_at_rest();
}

/// Where there is no room for a NOTIFY nothing of it is lost: neither a change, nor the last word.
#[test]
fn what_there_is_no_room_for_is_told_when_there_is() {
    for is_over in [false, true] {
        let mut bench = Bench::new();
        let (call, _, contact) = call(&mut bench, 1);
        let (subscription, _) = watching(&mut bench, &contact, Some(room(1)));
        bench.pass(Duration::from_secs(2));
        let limit = std::mem::take(&mut bench.endpoint.table.limit);
        show(&mut bench, subscription, &room(2));
        if is_over {
            bench.command(Command::Conclude { subscriptions: vec![subscription] });
        }
        bench.pass(Duration::from_secs(30));
        assert_eq!((bench.words(), bench.endpoint.subscriptions()), (vec![], 1));
        bench.endpoint.table.limit = limit;
        bench.pass(Duration::from_secs(1));
        let notify = answer(&mut bench, 200);
        if is_over {
            assert_eq!(state(&notify), "terminated;reason=noresource");
        } else {
            let text = body(&notify);
            assert!(text.contains("state=\"partial\" version=\"2\"") && text.contains("seat2@"), "{text}");
        }
        assert_eq!(notify.cseq(), 2);
        assert_eq!(bench.endpoint.counters().notifies_failed, 0);
        bench.command(Command::HangUp { call, reason: None });
        bench.pass(Duration::from_secs(100));
        bench.assert_at_rest();
    }
    // Nobody waits for ever.
    let mut bench = Bench::new();
    let (_, _, contact) = call(&mut bench, 1);
    let (subscription, _) = watching(&mut bench, &contact, Some(room(1)));
    bench.endpoint.table.limit = 0;
    bench.command(Command::Conclude { subscriptions: vec![subscription] });
    bench.pass(Duration::from_secs(41));
    assert_eq!((bench.endpoint.subscriptions(), bench.told()), (0, vec!["Unsubscribed".to_owned()]));
}

/// The conference has one address, that which the Contact of its call says, by whatever way somebody watches.
#[test]
fn the_conference_has_the_address_of_its_call_by_whatever_way_it_is_watched() {
    let tcp = Flow { transport: Transport::Tcp, ..flow(0) };
    let by = |transport: Transport, text: String| {
        let via = format!("SIP/2.0/{}", transport.name().to_uppercase());
        Bytes::from(text.replace("SIP/2.0/UDP", &via).trim_start().replace('\n', "\r\n"))
    };
    for (of_call, of_watch) in [(flow(0), tcp), (tcp, flow(0)), (tcp, tcp)] {
        let mut bench = Bench::new();
        let receive = |bench: &mut Bench, flow: Flow, text: String| {
            let arrives = Flow { peer: address(1), ..flow };
            bench.endpoint.receive(bench.now, arrives, &by(flow.transport, text));
            bench.drain();
        };
        receive(&mut bench, of_call, from_peer("INVITE", "i1", "", 1, OFFER));
        let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("no call") };
        bench.command(Command::Accept { call: invitation.call, answer: Bytes::from_static(b"answer") });
        let taken = parse_response(&bench.sent.last().unwrap().1).unwrap();
        let contact = taken.contact().unwrap().clone();
        receive(&mut bench, of_call, from_peer("ACK", "a1", taken.to().tag().unwrap(), 1, EMPTY));
        bench.words();
        bench.told();
        receive(&mut bench, of_watch, subscribe(&contact, 1, "", 1, ""));
        admit(&mut bench, Some(room(1)));
        let notify = bench.request("NOTIFY");
        assert!(body(&notify).contains(&format!("entity=\"{}\"", contact.uri())), "{}", body(&notify));
        let shown = notify.contact().unwrap().uri().as_str().ends_with(";transport=tcp");
        assert_eq!(shown, of_watch.transport == Transport::Tcp, "where the watch itself goes on");
    }
}

/// The next hop of a NOTIFY may be a name, which is looked up as that of a call's requests is: until it is known, and where it leads
/// to nobody whom we know, what is told goes where the SUBSCRIBE came from.
#[test]
fn a_watcher_may_say_by_name_where_it_is_told() {
    let elsewhere: SocketAddr = "192.0.2.77:5070".parse().unwrap();
    for (is_known, leads_to) in [(true, elsewhere), (false, address(1))] {
        let mut bench = Bench::new();
        let (_, _, contact) = call(&mut bench, 1);
        let source = |address: SocketAddr| Source::at(address.ip());
        let known = [Some(address(1)), is_known.then_some(elsewhere)];
        bench.command(Command::Sources(known.into_iter().flatten().map(source).collect()));
        let text = subscribe(&contact, 1, "", 1, "").replace("<sip:+4930@192.0.2.2>", "<sip:w@watch.example:5070>");
        bench.receive(&text);
        let subscription = admit(&mut bench, Some(room(1)));
        assert_eq!(bench.sent.last().unwrap().0.peer, address(1), "the first waits for nothing");
        let asked: Vec<String> = bench.asked.iter().map(ToString::to_string).collect();
        assert_eq!(asked, ["A watch.example"]);
        answer(&mut bench, 200);
        let question = bench.asked.pop().unwrap();
        let records = vec![Record::Address(elsewhere.ip())];
        bench.endpoint.looked_up(bench.now, question, Ok(Answer { records, ttl: Duration::from_secs(60) }));
        bench.pass(Duration::from_secs(2));
        show(&mut bench, subscription, &room(2));
        assert_eq!(bench.sent.last().unwrap().0.peer, leads_to);
    }
}

/// By datagram no NOTIFY is longer than 1,300 bytes: a crowd comes in pieces, a second apart.
#[test]
fn a_crowd_comes_by_datagram_in_pieces() {
    let mut bench = Bench::new();
    let (_, _, contact) = call(&mut bench, 1);
    bench.receive(&subscribe(&contact, 1, "", 1, ""));
    admit(&mut bench, Some(room(20)));
    let (mut seats, mut notifies) = (0, 0);
    while bench.sent.iter().any(|(_, bytes)| word(bytes) == "NOTIFY") {
        let (flow, bytes) = bench.sent.last().unwrap().clone();
        assert!(flow.transport == Transport::Udp && bytes.len() <= 1_300, "{}", bytes.len());
        let notify = answer(&mut bench, 200);
        seats += body(&notify).matches("<user ").count();
        notifies += 1;
        assert!(body(&notify).contains(&format!("version=\"{notifies}\"")));
        assert!(bench.sent.is_empty(), "not before a second has passed");
        bench.pass(Duration::from_secs(1));
    }
    assert_eq!(seats, 20);
    assert!(notifies <= 21, "{notifies}");
}

/// Where TCP may be tried it is, and where nobody listens there it is by datagram after all.
#[test]
fn a_crowd_comes_by_connection_where_there_is_one() {
    for is_there in [true, false] {
        let mut bench = Bench::new();
        let (_, _, contact) = call(&mut bench, 1);
        bench.receive(&subscribe(&contact, 1, "", 1, ""));
        let subscription = asked(&mut bench);
        let flow = Flow { transport: Transport::Tcp, local: "192.0.2.1:5062".parse().unwrap(), peer: address(1) };
        let tcp = Some(Way { flow, contact: flow.local });
        bench.command(Command::Admit { subscription, shown: Some(Arc::new(room(100))), tcp });
        let first = answer(&mut bench, 200);
        assert!(body(&first).contains("<user-count>100</user-count>") && !body(&first).contains("<user "));
        bench.pass(Duration::from_secs(1));
        let (sent, bytes) = bench.sent.last().unwrap().clone();
        let notify = parse_request(&bytes).unwrap();
        assert_eq!((sent, notify.via().to_string().contains("SIP/2.0/TCP")), (flow, true));
        assert_eq!(body(&notify).matches("<user ").count(), 100);
        let told = notify.contact().unwrap().uri().as_str().to_owned();
        assert!(told.ends_with("@192.0.2.1:5062;transport=tcp"), "{told}");
        assert!(body(&notify).contains(&format!("entity=\"{}\"", contact.uri())), "the conference is the same");
        if is_there {
            answer(&mut bench, 200);
            bench.pass(Duration::from_secs(2));
            show(&mut bench, subscription, &room(101));
            assert_eq!(bench.sent.last().unwrap().0, flow, "and so is what follows");
            continue;
        }
        bench.sent.clear();
        bench.endpoint.lost(bench.now, flow);
        bench.drain();
        let (sent, bytes) = bench.sent.last().unwrap().clone();
        assert!(sent.transport == Transport::Udp && bytes.len() <= 1_300);
        assert!(body(&answer(&mut bench, 200)).contains("<user-count>100</user-count>"));
    }
}

/// What happens to watchers, in any order.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A new one, for so many seconds; our owner lets it, or not.
    Subscribe {
        expires_s: u32,
        is_let: bool,
    },
    /// The n-th asks again, or for no more; our owner lets it, or not any more.
    Again {
        nth: usize,
        expires_s: u32,
        is_let: bool,
    },
    /// The n-th answers what it was sent last.
    Answer {
        nth: usize,
        status: u16,
    },
    Show {
        people: u32,
    },
    Pass {
        ms: u64,
    },
    Conclude,
}

fn any_step() -> impl Strategy<Value = Step> {
    let expires_s = prop_oneof![Just(0u32), Just(60), Just(600)];
    let status = prop_oneof![4 => Just(200u16), 1 => Just(500), 1 => Just(481), 1 => Just(401)];
    prop_oneof![
        3 => (expires_s.clone(), prop::bool::weighted(0.8)).prop_map(|(expires_s, is_let)| Step::Subscribe { expires_s, is_let }),
        2 => (0..8usize, expires_s, prop::bool::weighted(0.8)).prop_map(|(nth, expires_s, is_let)| Step::Again { nth, expires_s, is_let }),
        6 => (0..8usize, status).prop_map(|(nth, status)| Step::Answer { nth, status }),
        3 => (0..6u32).prop_map(|people| Step::Show { people }),
        3 => (0..40_000u64).prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::Conclude),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever comes in whatever order: each watcher has one end and is told of once, versions never go back, no second passes
    /// with two changes, and nothing is left when the call is over.
    #[test]
    fn no_order_of_things_leaves_anything(steps in prop::collection::vec(any_step(), 0..50)) {
        let mut bench = Bench::new();
        let (call, _, contact) = call(&mut bench, 1);
        let mut live: Vec<Subscription> = Vec::new();
        let (mut begun, mut ended, mut denied) = (0, 0, 0);
        let mut tags: Vec<(u32, String)> = Vec::new();
        let mut versions: BTreeMap<String, u32> = BTreeMap::new();
        let mut wire: Vec<(Flow, Bytes)> = Vec::new();
        let mut shown = room(1);
        for (number, step) in (1u32..).zip(steps) {
            match step {
                Step::Subscribe { expires_s, is_let } => {
                    bench.receive(&subscribe(&contact, number, "", 1, &format!("Expires: {expires_s}\n")));
                    let Some(Event::Subscribed(subscriber)) = bench.events.pop() else { panic!("a room for few is full") };
                    begun += 1;
                    let subscription = subscriber.subscription;
                    if is_let {
                        live.push(subscription);
                        let shown = Some(Arc::new(shown.clone()));
                        bench.command(Command::Admit { subscription, shown, tcp: None });
                        let mut answers = bench.sent.iter().filter_map(|(_, bytes)| parse_response(bytes));
                        tags.push((number, answers.next().unwrap().to().tag().unwrap().to_owned()));
                    } else {
                        denied += 1;
                        bench.command(Command::Deny { subscription, why: Unwatchable::Stranger });
                    }
                }
                Step::Again { nth, expires_s, is_let } => {
                    if let Some((watcher, tag)) = tags.get(nth) {
                        bench.receive(&subscribe(&contact, *watcher, tag, number + 1, &format!("Expires: {expires_s}\n")));
                    }
                    if let Some(Event::Subscribed(subscriber)) = bench.events.pop_if(|event| matches!(event, Event::Subscribed(_))) {
                        let subscription = subscriber.subscription;
                        let shown = Some(Arc::new(shown.clone()));
                        bench.command(match is_let {
                            true => Command::Admit { subscription, shown, tcp: None },
                            false => Command::Deny { subscription, why: Unwatchable::Stranger },
                        });
                    }
                }
                Step::Answer { nth, status } => {
                    if let Some((flow, bytes)) = wire.get(nth).cloned() {
                        let response = Response::to(&parse_request(&bytes).unwrap(), status, "");
                        bench.endpoint.receive(bench.now, flow, &response.to_bytes());
                        bench.drain();
                    }
                }
                Step::Show { people } => {
                    shown = room(people);
                    bench.command(Command::Show { subscriptions: live.clone(), conference: Arc::new(shown.clone()) });
                }
                Step::Pass { ms } => bench.pass(Duration::from_millis(ms)),
                Step::Conclude => bench.command(Command::Conclude { subscriptions: live.clone() }),
            }
            for (flow, bytes) in std::mem::take(&mut bench.sent) {
                let Some(notify) = parse_request(&bytes).filter(|request| *request.method() == Method::Notify) else { continue };
                let text = body(&notify);
                if let Some(version) = text.split(" version=\"").nth(2).and_then(|rest| rest.split('"').next()) {
                    let version: u32 = version.parse().unwrap();
                    let before = versions.insert(notify.call_id().to_owned(), version);
                    prop_assert!(before.is_none_or(|before| before <= version), "{before:?} then {version}");
                }
                wire.retain(|(_, before)| parse_request(before).unwrap().call_id() != notify.call_id());
                wire.push((flow, bytes));
            }
            ended += bench.events.iter().filter(|event| matches!(event, Event::Unsubscribed { .. })).count();
            bench.events.clear();
        }
        bench.command(Command::HangUp { call, reason: None });
        bench.pass(Duration::from_secs(300));
        ended += bench.events.iter().filter(|event| matches!(event, Event::Unsubscribed { .. })).count();
        prop_assert_eq!((ended, bench.endpoint.subscriptions()), (begun, 0), "of these {} were denied", denied);
        bench.assert_at_rest();
    }
}
