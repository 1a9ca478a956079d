//! One endpoint, and packets made by hand: what no well-behaved peer sends, and what a bad network makes of one.

use super::message::{Framing, Message, Request, Response};
use super::pair::{address, dial, endpoint, flow};
use super::transaction::Table;
use super::*;
use crate::clock::Mono;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::time::Duration;

mod cells;
mod crossing;
mod crowd;
mod digest;
mod early;
mod extensions;
mod inject;
mod name;
mod outgoing;
mod peer;
mod rejection;
mod route;
mod transfer;
mod trust;
mod watch;

struct Bench {
    now: Mono,
    endpoint: Endpoint,
    sent: Vec<(Flow, Bytes)>,
    events: Vec<Event>,
    asked: Vec<dns::Question>,
    unfound: Vec<String>,
    rejections: Vec<Rejection>,
    closed: Vec<Flow>,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            now: Mono::from_millis(1_000),
            endpoint: endpoint(9, address(1)),
            sent: Vec::new(),
            events: Vec::new(),
            asked: Vec::new(),
            unfound: Vec::new(),
            rejections: Vec::new(),
            closed: Vec::new(),
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll() {
            match output {
                Output::Send { flow, bytes } => self.sent.push((flow, bytes)),
                Output::Event(event) => self.events.push(event),
                Output::Close { flow } => self.closed.push(flow),
                Output::Ask(question) => self.asked.push(question),
                Output::Rejected(rejection) => self.rejections.push(*rejection),
                Output::Unfound { host, why } => self.unfound.push(format!("{host}: {why}")),
            }
        }
    }

    fn receive(&mut self, text: &str) {
        self.receive_from(address(1), text);
    }

    fn receive_from(&mut self, peer: SocketAddr, text: &str) {
        let text = text.trim_start().replace('\n', "\r\n");
        let arrives = Flow { peer, ..flow(0) };
        self.endpoint.receive(self.now, arrives, &Bytes::from(text));
        self.drain();
    }

    fn command(&mut self, command: Command) {
        self.endpoint.command(self.now, command);
        self.drain();
    }

    /// Lets time pass, alarm by alarm.
    fn pass(&mut self, wait: Duration) {
        let end = self.now + wait;
        while let Some(next) = self.endpoint.deadline().filter(|next| *next <= end) {
            self.now = next;
            self.endpoint.wake(next);
            self.drain();
        }
        self.now = end;
    }

    /// What went out since the last look: `200 INVITE` of responses, the method of requests.
    fn words(&mut self) -> Vec<String> {
        let sent = std::mem::take(&mut self.sent);
        sent.iter().map(|(_, bytes)| word(bytes)).collect()
    }

    /// The last request that went out with this method.
    fn request(&self, method: &str) -> Request {
        let found = self.sent.iter().rev().filter_map(|(_, bytes)| parse_request(bytes));
        found.into_iter().find(|request| request.method().as_str() == method).expect(method)
    }

    fn told(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events).iter().map(kind).collect()
    }

    fn assert_at_rest(&mut self) {
        self.pass(Duration::from_secs(300));
        let endpoint = &self.endpoint;
        assert_eq!((endpoint.calls(), endpoint.transactions(), endpoint.alarms()), (0, 0, 0));
    }
}

/// A cell of a table: what was sent for one request, then what was told; and of the call nothing is left, whatever it was.
fn what_became(mut bench: Bench, call: Option<Call>, method: &str) -> String {
    let (words, told) = (bench.words(), bench.told());
    if let Some(call) = call {
        bench.command(Command::HangUp { call, reason: None });
    }
    bench.assert_at_rest();
    // The status alone: the method is the cell's.
    let own = |word: &String| word.strip_suffix(&format!(" {method}")).map_or(word.clone(), str::to_owned);
    let all: Vec<String> = words.iter().map(own).chain(told).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(" ") }
}

fn parse_request(bytes: &Bytes) -> Option<Request> {
    match Message::parse(bytes, Framing::Datagram) {
        Ok(Message::Request(request)) => Some(request),
        _ => None,
    }
}

fn parse_response(bytes: &Bytes) -> Option<Response> {
    match Message::parse(bytes, Framing::Datagram) {
        Ok(Message::Response(response)) => Some(response),
        _ => None,
    }
}

fn word(bytes: &Bytes) -> String {
    match (parse_request(bytes), parse_response(bytes)) {
        (Some(request), _) => request.method().to_string(),
        (_, Some(response)) => format!("{} {}", response.status(), response.cseq().1),
        // With several Vias it is not for us, but we may well send it.
        _ => String::from_utf8_lossy(bytes).split(' ').nth(1).unwrap_or_default().to_owned(),
    }
}

fn kind(event: &Event) -> String {
    match event {
        Event::Failed { status, .. } => format!("Failed {status}"),
        Event::Ringing { status, .. } => format!("Ringing {status}"),
        Event::Disagreed { status, .. } => format!("Disagreed {status}"),
        other => {
            let text = format!("{other:?}");
            text.split([' ', '(']).next().unwrap_or_default().to_owned()
        }
    }
}

/// A request as the peer sends it. `to_tag` empty: outside a dialog.
fn from_peer(method: &str, branch: &str, to_tag: &str, cseq: u32, more: &str) -> String {
    let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    format!(
        "{method} sip:room@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK{branch}\nMax-Forwards: 70\n\
         From: <sip:+4930@192.0.2.2>;tag=them\nTo: <sip:room@192.0.2.1>{to_tag}\nCall-ID: c1\nCSeq: {cseq} {method}\n\
         Contact: <sip:+4930@192.0.2.2>\n{more}"
    )
}

/// How a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// As it should be: the next of its dialog, or without one the first.
    Valid,
    /// It requires what nobody has heard of.
    Invalid,
    /// Of a dialog that is not there: our tag is another.
    Astray,
    /// Its number was used up.
    Old,
}

const KINDS: [Kind; 4] = [Kind::Valid, Kind::Invalid, Kind::Astray, Kind::Old];

/// What there is, and one that nobody has heard of.
fn methods() -> impl Iterator<Item = &'static str> {
    Method::KNOWN.iter().map(Method::as_str).chain(["NOPE"])
}

const OFFER: &str = "Content-Type: application/sdp\nContent-Length: 5\n\noffer";
const EMPTY: &str = "Content-Length: 0\n\n";

/// The call that rings, as its owner names it, with our tag.
fn invited(bench: &mut Bench) -> (Call, String) {
    bench.receive(&from_peer("INVITE", "i1", "", 1, OFFER));
    let Some(Event::Invited(invitation)) = bench.events.last() else { panic!("{:?}", bench.events) };
    let call = invitation.call;
    let entry = super::dialog::Entry::read(&invitation.journal).unwrap();
    assert_eq!(bench.words(), ["100 INVITE"]);
    bench.events.clear();
    (call, entry.dialog.local_tag)
}

/// A call that is up: accepted and acknowledged.
fn up(bench: &mut Bench) -> (Call, String) {
    let (call, tag) = invited(bench);
    bench.command(Command::Accept { call, answer: Bytes::from_static(b"answer") });
    bench.receive(&from_peer("ACK", "a1", &tag, 1, EMPTY));
    assert_eq!(bench.words(), ["200 INVITE"]);
    assert_eq!(bench.told(), ["Acknowledged"]);
    (call, tag)
}

#[test]
fn an_answer_without_ack_is_repeated_then_ended() {
    let mut bench = Bench::new();
    let (call, _) = invited(&mut bench);
    bench.command(Command::Accept { call, answer: Bytes::from_static(b"answer") });
    bench.pass(Duration::from_millis(31_999));
    // 0, 0.5, 1.5, 3.5, 7.5, 11.5 … 31.5 s: T1 doubling up to T2.
    assert_eq!(bench.words(), vec!["200 INVITE"; 11]);
    assert!(bench.told().is_empty());
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.words(), ["BYE"]);
    assert_eq!(bench.told(), ["Unacknowledged"]);
    bench.pass(Duration::from_secs(32));
    assert_eq!(bench.told(), ["Released"]);
    bench.assert_at_rest();
}

#[test]
fn our_bye_waits_for_the_ack() {
    let mut bench = Bench::new();
    let (call, tag) = invited(&mut bench);
    bench.command(Command::Accept { call, answer: Bytes::from_static(b"answer") });
    bench.command(Command::HangUp { call, reason: Some(Reason { q850: Some(16), sip: None, text: String::new() }) });
    assert_eq!(bench.words(), ["200 INVITE"]);
    bench.receive(&from_peer("ACK", "a1", &tag, 1, EMPTY));
    let bye = bench.request("BYE");
    assert_eq!(bye.header("Reason"), Some("Q.850;cause=16"));
    assert_eq!(bye.uri().as_str(), "sip:+4930@192.0.2.2");
    bench.pass(Duration::from_secs(40));
    assert_eq!(bench.told(), ["Released"]);
    bench.assert_at_rest();
}

#[test]
fn a_hundred_repeats_change_nothing() {
    let mut bench = Bench::new();
    let (call, tag) = invited(&mut bench);
    for _ in 0..100 {
        bench.receive(&from_peer("INVITE", "i1", "", 1, OFFER));
    }
    assert_eq!(bench.words(), vec!["100 INVITE"; 100]);
    bench.command(Command::Accept { call, answer: Bytes::from_static(b"answer") });
    bench.words();
    for _ in 0..100 {
        bench.receive(&from_peer("INVITE", "i1", "", 1, OFFER));
        bench.receive(&from_peer("ACK", "a1", &tag, 1, EMPTY));
    }
    assert_eq!(bench.words(), Vec::<String>::new());
    assert_eq!(bench.told(), ["Acknowledged"]);
    for _ in 0..100 {
        bench.receive(&from_peer("BYE", "b1", &tag, 2, "Reason: Q.850;cause=31\nContent-Length: 0\n\n"));
    }
    assert_eq!(bench.words(), vec!["200 BYE"; 100]);
    let [Event::HungUp { reason: Some(reason), .. }] = bench.events.as_slice() else { panic!("{:?}", bench.events) };
    assert_eq!(reason.q850, Some(31));
    bench.assert_at_rest();
}

#[test]
fn the_same_invite_by_another_way_is_a_loop() {
    let mut bench = Bench::new();
    invited(&mut bench);
    bench.receive(&from_peer("INVITE", "other", "", 1, OFFER));
    assert_eq!(bench.words(), ["482 INVITE"]);
    assert!(bench.told().is_empty());
}

#[test]
fn cancel_finds_its_invite_or_nothing() {
    let mut bench = Bench::new();
    bench.receive(&from_peer("CANCEL", "none", "", 1, EMPTY));
    assert_eq!(bench.words(), ["481 CANCEL"]);
    invited(&mut bench);
    bench.receive(&from_peer("CANCEL", "i1", "", 1, EMPTY));
    assert_eq!(bench.words(), ["200 CANCEL", "487 INVITE"]);
    assert_eq!(bench.told(), ["Cancelled"]);
    bench.receive(&from_peer("ACK", "i1", "x", 1, EMPTY));
    bench.assert_at_rest();

    let mut late = Bench::new();
    let (_, tag) = up(&mut late);
    late.receive(&from_peer("CANCEL", "i1", "", 1, EMPTY));
    assert_eq!(late.words(), ["200 CANCEL"]);
    assert!(late.told().is_empty());
    late.receive(&from_peer("BYE", "b1", &tag, 2, EMPTY));
    assert_eq!(late.told(), ["HungUp"]);
    late.assert_at_rest();
}

#[test]
fn bye_ends_a_call_that_rings() {
    let mut bench = Bench::new();
    let (_, tag) = invited(&mut bench);
    bench.receive(&from_peer("BYE", "b1", &tag, 2, EMPTY));
    assert_eq!(bench.words(), ["200 BYE", "487 INVITE"]);
    assert_eq!(bench.told(), ["Cancelled"]);
    bench.assert_at_rest();
}

/// S17: right Call-ID, but a wrong tag, source or number.
#[test]
fn forged_requests_end_and_move_nothing() {
    let mut bench = Bench::new();
    let (call, tag) = up(&mut bench);
    let rows = [
        (from_peer("BYE", "f1", "wrong", 2, EMPTY), "481 BYE"),
        (from_peer("BYE", "f2", &tag, 2, EMPTY).replace("tag=them", "tag=they"), "481 BYE"),
        (from_peer("BYE", "f3", "", 2, EMPTY), "481 BYE"),
        (from_peer("BYE", "f4", &tag, 0, EMPTY), "500 BYE"),
        (from_peer("INVITE", "f5", "wrong", 2, OFFER), "481 INVITE"),
        (from_peer("INVITE", "f6", &tag, 0, OFFER), "500 INVITE"),
        (from_peer("UPDATE", "f7", "wrong", 2, OFFER), "481 UPDATE"),
        (from_peer("UPDATE", "f8", "", 2, OFFER), "481 UPDATE"),
        (from_peer("CANCEL", "f9", &tag, 1, EMPTY), "481 CANCEL"),
        (from_peer("INFO", "f10", "wrong", 2, EMPTY), "481 INFO"),
    ];
    for (text, answer) in rows {
        bench.receive(&text);
        assert_eq!(bench.words(), [answer], "{text}");
    }
    let elsewhere = "198.51.100.7:5060".parse().unwrap();
    for method in ["BYE", "INVITE", "UPDATE", "CANCEL", "ACK"] {
        bench.receive_from(elsewhere, &from_peer(method, "f11", &tag, 9, EMPTY));
    }
    assert_eq!(bench.words(), ["403 BYE", "403 INVITE", "403 UPDATE", "403 CANCEL"]);
    assert!(bench.told().is_empty());
    assert_eq!(bench.endpoint.calls(), 1);
    bench.command(Command::HangUp { call, reason: None });
    bench.assert_at_rest();
}

#[test]
fn keys_in_info_are_told_and_other_info_is_not() {
    let mut bench = Bench::new();
    let (_, tag) = up(&mut bench);
    let body = |kind: &str| format!("Content-Type: {kind}\nContent-Length: 8\n\nSignal=5");
    let rows = [
        (body("application/dtmf-relay"), "200 INFO", 1),
        (body("Application/DTMF;x=1"), "200 INFO", 1),
        (body("application/hook-flash"), "415 INFO", 0),
        ("Content-Length: 8\n\nSignal=5".to_owned(), "415 INFO", 0),
        (EMPTY.to_owned(), "200 INFO", 0),
    ];
    for (cseq, (more, answer, told)) in (2..).zip(rows) {
        bench.receive(&from_peer("INFO", &format!("k{cseq}"), &tag, cseq, &more));
        // Its repeat is answered again, and is no second press.
        bench.receive(&from_peer("INFO", &format!("k{cseq}"), &tag, cseq, &more));
        assert_eq!((bench.words(), bench.told()), (vec![answer.to_owned(); 2], vec!["Informed".to_owned(); told]));
    }
}

#[test]
fn offers_within_a_call_take_turns() {
    let mut bench = Bench::new();
    let (call, tag) = up(&mut bench);
    bench.receive(&from_peer("INVITE", "r1", &tag, 2, OFFER));
    assert_eq!((bench.words(), bench.told()), (vec!["100 INVITE".to_owned()], vec!["Offered".to_owned()]));
    // A second one, by INVITE and by UPDATE, while ours is the turn to answer.
    bench.receive(&from_peer("INVITE", "r2", &tag, 3, OFFER));
    bench.receive(&from_peer("UPDATE", "u1", &tag, 4, OFFER));
    let waits =
        bench.sent.iter().filter_map(|(_, bytes)| parse_response(bytes)?.header("Retry-After").map(str::to_owned));
    assert_eq!(waits.count(), 2);
    assert_eq!(bench.words(), ["500 INVITE", "500 UPDATE"]);
    bench.command(Command::Agree { call, answer: Bytes::from_static(b"answer") });
    assert_eq!(bench.words(), ["200 INVITE"]);
    bench.receive(&from_peer("INVITE", "r3", &tag, 5, OFFER));
    assert_eq!(bench.words(), ["500 INVITE"], "the answer before is not acknowledged");
    bench.receive(&from_peer("ACK", "a2", &tag, 2, EMPTY));
    assert!(bench.told().is_empty(), "only the first ACK is news");
    // Ours crosses theirs.
    bench.command(Command::Offer { call, offer: Bytes::from_static(b"ours") });
    bench.receive(&from_peer("INVITE", "r4", &tag, 6, OFFER));
    assert_eq!(bench.words(), ["INVITE", "491 INVITE"]);
    bench.pass(Duration::from_secs(32));
    assert_eq!(bench.told(), ["Disagreed 408"]);
    bench.words();
    // An UPDATE with an offer, one without, and an offer that nobody answers.
    bench.receive(&from_peer("UPDATE", "u2", &tag, 7, OFFER));
    bench.command(Command::Disagree { call, status: 488 });
    bench.receive(&from_peer("UPDATE", "u3", &tag, 8, EMPTY));
    assert_eq!(bench.words(), ["488 UPDATE", "200 UPDATE"]);
    bench.receive(&from_peer("INVITE", "r5", &tag, 9, EMPTY));
    assert_eq!(bench.told(), ["Offered", "Offered"]);
    bench.pass(Duration::from_secs(21));
    assert_eq!(bench.words()[..2], ["100 INVITE", "500 INVITE"]);
    bench.receive(&from_peer("BYE", "b1", &tag, 10, EMPTY));
    assert_eq!(bench.told(), ["HungUp"]);
    bench.assert_at_rest();
}

#[test]
fn a_late_offer_is_answered_in_the_ack() {
    let mut bench = Bench::new();
    bench.receive(&from_peer("INVITE", "i1", "", 1, EMPTY));
    let [Event::Invited(invitation)] = bench.events.as_slice() else { panic!("{:?}", bench.events) };
    assert_eq!(invitation.offer, None);
    let (call, journal) = (invitation.call, invitation.journal.clone());
    let tag = super::dialog::Entry::read(&journal).unwrap().dialog.local_tag;
    bench.events.clear();
    bench.command(Command::Accept { call, answer: Bytes::from_static(b"our offer") });
    bench.receive(&from_peer("ACK", "a1", &tag, 1, OFFER));
    let [Event::Acknowledged { answer: Some(answer), .. }] = bench.events.as_slice() else { panic!() };
    assert_eq!(answer.as_ref(), b"offer");
    bench.command(Command::HangUp { call, reason: None });
    bench.assert_at_rest();
}

/// A response of the peer to our request.
fn reply(request: &Request, status: u16, tag: &str, body: &str) -> String {
    let mut response = Response::to(request, status, "");
    response.set_to_tag(tag);
    response.push("Contact", "<sip:+4930@192.0.2.2>");
    if !body.is_empty() {
        response.set_body("application/sdp", Bytes::from(body.to_owned()));
    }
    String::from_utf8(response.to_bytes().to_vec()).unwrap().replace("\r\n", "\n")
}

fn dialling(bench: &mut Bench) -> (Call, Request, String) {
    let dial = dial(&mut StdRng::seed_from_u64(4), 7, 30_000);
    let journal = journal_of(&dial);
    let call = dial.call;
    bench.command(Command::Dial(Box::new(dial)));
    let invite = bench.request("INVITE");
    assert_eq!(bench.words(), ["INVITE"]);
    (call, invite, journal)
}

#[test]
fn a_second_fork_gets_ack_and_bye_and_tells_nobody() {
    let mut bench = Bench::new();
    let (call, invite, _) = dialling(&mut bench);
    bench.receive(&reply(&invite, 183, "one", "early"));
    bench.receive(&reply(&invite, 180, "two", ""));
    bench.receive(&reply(&invite, 200, "one", "answer"));
    bench.receive(&reply(&invite, 200, "two", "answer"));
    assert_eq!(bench.words(), ["ACK", "ACK", "BYE"]);
    assert_eq!(bench.told(), ["Ringing 183", "Ringing 180", "Answered"]);
    for tag in ["one", "two"] {
        bench.receive(&reply(&invite, 200, tag, "answer"));
        assert_eq!(bench.request("ACK").to().tag(), Some(tag));
        assert_eq!(bench.words(), ["ACK"]);
    }
    for fork in 0..40 {
        bench.receive(&reply(&invite, 200, &format!("f{fork}"), "answer"));
    }
    assert_eq!(bench.endpoint.counters().forks_ended, 15);
    assert_eq!(bench.endpoint.counters().forks_dropped, 26);
    assert!(bench.told().is_empty());
    bench.words();
    bench.command(Command::HangUp { call, reason: None });
    let bye = bench.request("BYE");
    assert_eq!(bye.to().tag(), Some("one"));
    bench.receive(&reply(&bye, 200, "one", ""));
    assert_eq!(bench.told(), ["Released"]);
    bench.assert_at_rest();
}

#[test]
fn an_answer_after_cancel_is_ended() {
    let mut bench = Bench::new();
    let (call, invite, _) = dialling(&mut bench);
    bench.command(Command::Cancel { call, reason: None });
    assert_eq!(bench.words(), Vec::<String>::new(), "not before a provisional response");
    assert_eq!(bench.told(), ["Failed 487"], "but nobody has to wait for it");
    bench.receive(&reply(&invite, 100, "", ""));
    assert_eq!(bench.request("CANCEL").via().branch(), invite.via().branch());
    assert_eq!(bench.words(), ["CANCEL"]);
    bench.receive(&reply(&invite, 200, "late", "answer"));
    assert_eq!(bench.words(), ["ACK", "BYE"]);
    assert!(bench.told().is_empty());
    bench.assert_at_rest();

    let mut bench = Bench::new();
    let (call, invite, _) = dialling(&mut bench);
    bench.receive(&reply(&invite, 180, "late", ""));
    bench.command(Command::Cancel { call, reason: None });
    bench.receive(&reply(&invite, 200, "late", "answer"));
    assert_eq!(bench.words(), ["CANCEL", "ACK", "BYE"]);
    assert_eq!(bench.told(), ["Ringing 180", "Failed 487"]);
    bench.assert_at_rest();
}

/// Each way to give a call up, and the answer that comes after it: its dialog is ended, and its repeats are acknowledged
/// for as long as the far side repeats them; our owner hears of it no more.
#[test]
fn an_answer_to_a_call_that_was_given_up_is_ended() {
    let silent: &dyn Fn(&mut Bench, &Request, Call) = &|bench, _, _| bench.pass(Duration::from_secs(33));
    let cancelled: &dyn Fn(&mut Bench, &Request, Call) = &|bench, invite, call| {
        bench.receive(&reply(invite, 180, "t", ""));
        bench.command(Command::Cancel { call, reason: None });
        bench.pass(Duration::from_secs(33));
    };
    let broken: &dyn Fn(&mut Bench, &Request, Call) = &|bench, invite, _| {
        bench.receive(&reply(invite, 180, "t", ""));
        bench.endpoint.lost(bench.now, flow(0));
        bench.drain();
    };
    for (give_up, status) in [(silent, "Failed 408"), (cancelled, "Failed 487"), (broken, "Failed 503")] {
        let mut bench = Bench::new();
        let (call, invite, _) = dialling(&mut bench);
        give_up(&mut bench, &invite, call);
        let told = bench.told();
        assert_eq!(told.iter().filter(|told| told.starts_with("Failed")).collect::<Vec<_>>(), [status]);
        assert_eq!(bench.endpoint.calls(), 0);
        bench.words();
        bench.pass(Duration::from_secs(25));
        bench.words();
        bench.receive(&reply(&invite, 200, "late", "answer"));
        assert_eq!(bench.words(), ["ACK", "BYE"], "{status}");
        bench.receive(&reply(&invite, 200, "late", "answer"));
        assert_eq!(bench.words(), ["ACK"], "{status}");
        assert_eq!(bench.endpoint.counters().late_answers, 1);
        assert!(bench.told().is_empty());
        bench.assert_at_rest();
        // Long after it nothing is known of it.
        bench.words();
        bench.receive(&reply(&invite, 200, "late", "answer"));
        assert!(bench.words().is_empty());
    }
}

#[test]
fn each_failure_has_its_status() {
    let rows: [(&[u16], u64, &str); 6] = [
        (&[486], 0, "Failed 486"),
        (&[302], 0, "Failed 302"),
        (&[180, 603], 0, "Failed 603"),
        (&[], 33, "Failed 408"),
        (&[180], 31, ""),
        (&[180], 63, "Failed 480"),
    ];
    for (statuses, wait_s, expected) in rows {
        let mut bench = Bench::new();
        let (_, invite, _) = dialling(&mut bench);
        for status in statuses {
            bench.receive(&reply(&invite, *status, "t", ""));
        }
        bench.pass(Duration::from_secs(wait_s));
        let told = bench.told().into_iter().filter(|told| told.starts_with("Failed")).collect::<Vec<_>>();
        let expected: Vec<&str> = Some(expected).filter(|text| !text.is_empty()).into_iter().collect();
        assert_eq!(told, expected, "{statuses:?}");
        bench.assert_at_rest();
    }
    let mut bench = Bench::new();
    dialling(&mut bench);
    bench.endpoint.lost(bench.now, flow(0));
    bench.drain();
    assert_eq!(bench.told(), ["Failed 503"]);
    bench.assert_at_rest();
}

#[test]
fn the_next_life_ends_what_the_last_one_left() {
    let mut first = Bench::new();
    let (_, tag) = up(&mut first);
    first.receive(&from_peer("INVITE", "i9", "", 1, OFFER).replace("c1", "c2"));
    let Some(Event::Invited(invitation)) = first.events.pop() else { panic!() };
    let mut second = Bench::new();
    second.command(Command::Bury {
        call: Call::past(1),
        journal: invitation.journal.clone(),
        reason: None,
        login: None,
        tls_name: None,
    });
    let bye = second.request("BYE");
    assert_eq!((bye.call_id(), bye.to().tag()), ("c2", Some("them")));
    assert!(bye.cseq() >= 1);
    second.receive(&from_peer("BYE", "b1", &tag, 2, EMPTY));
    assert_eq!(second.words(), ["BYE", "481 BYE"]);
    assert!(second.told().is_empty(), "nobody has answered yet");
    second.assert_at_rest();
    assert_eq!(second.told(), ["Released"], "nobody ever will");
    let mut answered = Bench::new();
    answered.command(Command::Bury {
        call: Call::past(2),
        journal: invitation.journal.clone(),
        reason: None,
        login: None,
        tls_name: None,
    });
    let bye = answered.request("BYE");
    answered.receive(&reply(&bye, 481, "them", ""));
    assert!(
        matches!(answered.events[..], [Event::Released { call }] if call == Call::past(2)),
        "{:?}",
        answered.events
    );
    answered.events.clear();
    answered.command(Command::Bury {
        call: Call::past(3),
        journal: "of no dialog".to_owned(),
        reason: None,
        login: None,
        tls_name: None,
    });
    assert_eq!(answered.told(), ["Released"], "there is nobody to tell");
    answered.assert_at_rest();
    // Where there is no room, or no way, it is said all the same, and nobody knows what came of it.
    let mut full = Bench::new();
    full.endpoint.table = Table::new(0);
    full.command(Command::Bury {
        call: Call::past(4),
        journal: invitation.journal.clone(),
        reason: None,
        login: None,
        tls_name: None,
    });
    assert_eq!(full.words(), ["BYE"]);
    let mut lost = Bench::new();
    lost.command(Command::Bury {
        call: Call::past(5),
        journal: invitation.journal,
        reason: None,
        login: None,
        tls_name: None,
    });
    lost.endpoint.lost(lost.now, flow(0));
    lost.drain();
    for bench in [&mut full, &mut lost] {
        bench.assert_at_rest();
        assert!(bench.told().is_empty());
    }
}

#[test]
fn the_next_life_cancels_what_was_never_answered() {
    let (_, invite, journal) = dialling(&mut Bench::new());
    let mut refused = Bench::new();
    refused.command(Command::Bury {
        call: Call::past(1),
        journal: journal.clone(),
        reason: None,
        login: None,
        tls_name: None,
    });
    // Under each name that it may have had: it may have been asked again, as after a 422.
    let names = refused.sent.iter().filter_map(|(_, bytes)| Some(parse_request(bytes)?.via().branch()?.to_owned()));
    let first = invite.via().branch().unwrap();
    assert_eq!(names.collect::<Vec<_>>(), [first.to_owned(), format!("{first}-2"), format!("{first}-3")]);
    refused.receive(&reply(&invite, 487, "t", ""));
    assert_eq!(refused.words(), ["CANCEL", "CANCEL", "CANCEL", "ACK"]);
    refused.assert_at_rest();

    let mut answered = Bench::new();
    answered.command(Command::Bury {
        call: Call::past(1),
        journal: journal.clone(),
        reason: None,
        login: None,
        tls_name: None,
    });
    answered.receive(&reply(&invite, 200, "t", "answer"));
    answered.receive(&reply(&invite, 200, "t", "answer"));
    assert_eq!(answered.words(), ["CANCEL", "CANCEL", "CANCEL", "ACK", "BYE", "ACK"]);
    answered.assert_at_rest();

    let mut silent = Bench::new();
    silent.command(Command::Bury { call: Call::past(1), journal, reason: None, login: None, tls_name: None });
    silent.assert_at_rest();
    // Of the three names that it may have had nobody is told, but once of the call.
    for bench in [&mut refused, &mut answered, &mut silent] {
        assert_eq!(bench.told(), ["Released"]);
    }
}

#[test]
fn limits_are_refused_clearly() {
    let mut bench = Bench::new();
    bench.endpoint.config.max_calls = 2;
    for number in 0..3 {
        bench.receive(&from_peer("INVITE", &format!("i{number}"), "", 1, OFFER).replace("c1", &format!("n{number}")));
    }
    assert_eq!(bench.words(), ["100 INVITE", "100 INVITE", "503 INVITE"]);
    assert_eq!(bench.told(), ["Invited", "Invited"]);
    bench.receive(&from_peer("OPTIONS", "o1", "", 1, EMPTY));
    assert_eq!(bench.words(), ["503 OPTIONS"]);
    bench.command(Command::Dial(Box::new(dial(&mut StdRng::seed_from_u64(1), 1, 1_000))));
    assert_eq!(bench.told(), ["Failed 503"]);
    // Nobody answers: 480 after the longest ringing.
    bench.pass(Duration::from_secs(181));
    assert_eq!(bench.told(), ["Released", "Released"]);
    bench.assert_at_rest();
    bench.words();
    bench.receive(&from_peer("OPTIONS", "o2", "", 2, EMPTY));
    let response = parse_response(&bench.sent[0].1).unwrap();
    assert_eq!((response.status(), response.header("Allow")), (200, Some(super::endpoint::ALLOW)));
    bench.words();
    // Our owner is behind: new calls are turned away, and nothing is kept of them.
    bench.command(Command::Shed(true));
    bench.receive(&from_peer("INVITE", "i8", "", 1, OFFER).replace("c1", "n8"));
    bench.receive(&from_peer("OPTIONS", "o4", "", 4, EMPTY));
    let refused = parse_response(&bench.sent[0].1).unwrap();
    assert_eq!((refused.status(), refused.header("Retry-After")), (503, Some("5")));
    assert_eq!(bench.words(), ["503 INVITE", "503 OPTIONS"]);
    assert_eq!(
        (bench.endpoint.calls(), bench.endpoint.transactions(), bench.endpoint.counters().refused_busy),
        (0, 2, 1)
    );
    bench.command(Command::Shed(false));
    bench.command(Command::Drain { retry_after_s: 9 });
    bench.receive(&from_peer("OPTIONS", "o3", "", 3, EMPTY));
    let response = parse_response(&bench.sent[0].1).unwrap();
    assert_eq!((response.status(), response.header("Retry-After")), (503, Some("9")));
    bench.assert_at_rest();
}

/// Whatever keeps new calls out, those that there are go on: hold, keys, a sign of life, the end.
#[test]
fn standing_calls_never_notice_that_new_ones_are_turned_away() {
    let closings: [&dyn Fn(&mut Bench); 5] = [
        &|bench| bench.command(Command::Shed(true)),
        &|bench| bench.command(Command::Drain { retry_after_s: 9 }),
        &|bench| bench.endpoint.config.max_calls = 1,
        &|bench| bench.endpoint.config.pace = Pace { all: Some(1), source: Some(1) },
        &|bench| {
            // Not one transaction more for anybody else.
            let taken = bench.endpoint.transactions();
            bench.endpoint.table.limit = taken.max(64);
            for number in taken..64 {
                bench.receive(
                    &from_peer("OPTIONS", &format!("o{number}"), "", 1, EMPTY).replace("c1", &format!("o{number}")),
                );
            }
        },
    ];
    for (case, close) in closings.into_iter().enumerate() {
        let mut bench = Bench::new();
        let (call, tag) = up(&mut bench);
        close(&mut bench);
        bench.receive(&from_peer("INVITE", "i7", "", 1, OFFER).replace("c1", "n7"));
        if case == 3 {
            // At this pace one is let in.
            let Some(Event::Invited(other)) = bench.events.pop() else { panic!() };
            bench.receive(&from_peer("INVITE", "i8", "", 1, OFFER).replace("c1", "n8"));
            bench.command(Command::HangUp { call: other.call, reason: None });
            bench.events.clear();
        }
        assert!(bench.words().iter().all(|word| word != "180 INVITE") && bench.told().is_empty(), "{case}");
        bench.receive(&from_peer("INVITE", "r1", &tag, 2, OFFER));
        bench.command(Command::Agree { call, answer: Bytes::from_static(b"answer") });
        bench.receive(&from_peer("ACK", "a2", &tag, 2, EMPTY));
        bench.receive(&from_peer("OPTIONS", "p1", &tag, 3, EMPTY));
        bench.receive(&from_peer("BYE", "b1", &tag, 4, EMPTY));
        assert_eq!(bench.words(), ["100 INVITE", "200 INVITE", "200 OPTIONS", "200 BYE"], "{case}");
        assert_eq!(bench.told(), ["Offered", "HungUp"], "{case}");
        bench.assert_at_rest();
    }
}

#[test]
fn strangers_leave_nothing_behind_and_get_no_more_than_they_sent() {
    let mut bench = Bench::new();
    let stranger: SocketAddr = "198.51.100.7:5060".parse().unwrap();
    let methods = ["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "MESSAGE", "NOPE"];
    let mut largest = 0;
    for number in 0..1_000 {
        let method = methods[number % methods.len()];
        let text = from_peer(method, &format!("s{number}"), "", 1, EMPTY);
        largest = largest.max(text.len());
        bench.receive_from(stranger, &text);
    }
    bench.receive_from(stranger, "garbage\n\n");
    assert!(bench.sent.iter().all(|(to, bytes)| to.peer.ip() == stranger.ip() && bytes.len() <= largest));
    assert_eq!(bench.sent.len(), 5, "of one network, in one second");
    assert!(bench.words().iter().all(|word| word.starts_with("403")));
    assert_eq!((bench.endpoint.calls(), bench.endpoint.transactions(), bench.endpoint.alarms()), (0, 0, 0));
    assert!(bench.told().is_empty());
}

#[test]
fn what_is_not_called_long_fits_into_a_datagram() {
    let password = Some(Password::new(b"secret".to_vec()));
    let login = Login { owner: "c".into(), username: "us".into(), password, realm: Some("carrier".into()) };
    for (login, among) in [(None, 50..150), (Some(Arc::new(login)), 100..190)] {
        let mut long = 0;
        for length in (0..1_400).step_by(7) {
            let (offer, login) = (Bytes::from("o".repeat(length)), login.clone());
            let dial = Dial { offer, login, ..dial(&mut StdRng::seed_from_u64(4), 7, 30_000) };
            let mut bench = Bench::new();
            bench.command(Command::Dial(Box::new(dial.clone())));
            let invite = bench.request("INVITE");
            // The proof that is asked for is in it too.
            let (nonce, opaque) = ("n".repeat(64), "o".repeat(32));
            let asks = format!(
                "Proxy-Authenticate: Digest realm=\"carrier\",nonce=\"{nonce}\",opaque=\"{opaque}\",qop=\"auth\",\
                 algorithm=SHA-256\nContent-Length"
            );
            bench.receive(&reply(&invite, 407, "t", "").replace("Content-Length", &asks));
            let sent = bench.request("INVITE");
            assert_eq!(sent.header("Proxy-Authorization").is_some(), dial.login.is_some());
            let [first, sent] = [invite, sent].map(|invite| invite.to_bytes().len());
            let beyond = |by: usize| first > transport::LONGEST_DATAGRAM - by || sent > transport::WHOLE_DATAGRAM - by;
            long += usize::from(is_long(&dial));
            assert!(is_long(&dial) || !beyond(0), "{first} {sent}");
            assert!(!is_long(&dial) || beyond(50), "{first} {sent}: RFC 3261 section 18.1.1");
        }
        assert!(among.contains(&long), "{long}");
    }
}
