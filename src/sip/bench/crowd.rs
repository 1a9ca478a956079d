//! Very many at once, and none of them well behaved: nothing is left of them, and those that are pay no price for it.

use super::*;
use crate::sip::endpoint::SDP;
use rand::RngExt;

/// A call of its own: Call-ID, branch and tag of the caller are its number's.
fn of(number: u32, text: String) -> String {
    text.replace("Call-ID: c1", &format!("Call-ID: c{number}")).replace("tag=them", &format!("tag=them{number}"))
}

fn ring(bench: &mut Bench, number: u32) -> (Call, String) {
    bench.receive(&of(number, from_peer("INVITE", &format!("i{number}"), "", 1, OFFER)));
    let Some(Event::Invited(invitation)) = bench.events.pop() else { panic!("{number}: {:?}", bench.events) };
    let tag = super::super::dialog::Entry::read(&invitation.journal).unwrap().dialog.local_tag;
    (invitation.call, tag)
}

/// The transaction of an INVITE lives for 32 s after its 2xx, and sends nothing in that time: at some hundred calls a second
/// what it would send is most of the memory that there is.
#[test]
fn an_invite_that_is_answered_keeps_no_message() {
    let mut bench = Bench::new();
    let (call, tag) = invited(&mut bench);
    assert!(bench.endpoint.table.kept() > 0, "a repeat has its 100");
    bench.command(Command::Accept { call, answer: Bytes::from_static(b"answer") });
    assert_eq!((bench.endpoint.table.kept(), bench.endpoint.transactions()), (0, 1));
    bench.pass(Duration::from_millis(500));
    assert_eq!(bench.words(), vec!["200 INVITE"; 2]);
    bench.receive(&from_peer("ACK", "a1", &tag, 1, EMPTY));
    bench.command(Command::HangUp { call, reason: None });
    let bye = bench.request("BYE");
    bench.receive(&reply(&bye, 200, "them", ""));
    bench.assert_at_rest();

    let mut bench = Bench::new();
    let (_, invite, _) = dialling(&mut bench);
    assert!(bench.endpoint.table.kept() > 0);
    bench.receive(&reply(&invite, 200, "t", "answer"));
    assert_eq!((bench.endpoint.table.kept(), bench.endpoint.transactions()), (0, 1));
    bench.receive(&reply(&invite, 200, "t", "answer"));
    assert_eq!(bench.words(), ["ACK", "ACK"]);
}

/// Each is answered, and no ACK ever comes: half a minute later each has had its BYE, and after as long again nothing is left.
#[test]
fn five_thousand_answers_that_nobody_acknowledges_leave_nothing() {
    const CALLS: u32 = 5_000;
    let mut bench = Bench::new();
    for number in 0..CALLS {
        let (call, _) = ring(&mut bench, number);
        bench.command(Command::Accept { call, answer: Bytes::from_static(b"answer") });
        bench.now = bench.now + Duration::from_micros(700);
    }
    assert_eq!(bench.endpoint.calls(), CALLS as usize);
    bench.sent.clear();
    bench.pass(Duration::from_secs(33));
    let byes = bench.sent.drain(..).filter(|(_, bytes)| bytes.starts_with(b"BYE ")).count();
    assert!(byes >= CALLS as usize, "{byes}");
    bench.assert_at_rest();
    let told = bench.told();
    let count = |what: &str| told.iter().filter(|told| *told == what).count();
    assert_eq!((count("Unacknowledged"), count("Released")), (CALLS as usize, CALLS as usize));
    assert_eq!(bench.endpoint.dialogs.len(), 0);
}

/// Each is cancelled at the very moment at which it is answered, or just before, or just after; some are hung up besides.
#[test]
fn five_thousand_that_are_cancelled_in_a_race_leave_nothing() {
    const CALLS: u32 = 5_000;
    let mut bench = Bench::new();
    let mut rng = StdRng::seed_from_u64(2_026);
    let mut lasts = 0;
    for number in 0..CALLS {
        let (call, tag) = ring(&mut bench, number);
        let cancel = of(number, from_peer("CANCEL", &format!("i{number}"), "", 1, EMPTY));
        let is_first = rng.random_range(0..3);
        if is_first == 0 {
            bench.receive(&cancel);
        }
        bench.command(Command::Accept { call, answer: Bytes::from_static(b"answer") });
        if is_first == 1 {
            bench.receive(&cancel);
        }
        if rng.random_bool(0.5) {
            bench.receive(&of(number, from_peer("ACK", &format!("a{number}"), &tag, 1, EMPTY)));
            if rng.random_bool(0.5) {
                bench.receive(&of(number, from_peer("BYE", &format!("b{number}"), &tag, 2, EMPTY)));
            }
        }
        if is_first == 2 {
            bench.receive(&cancel);
        }
        if rng.random_bool(0.5) {
            bench.command(Command::HangUp { call, reason: None });
        }
        lasts += bench.events.iter().filter(|event| event.is_last()).count();
        bench.events.clear();
        bench.sent.clear();
        bench.now = bench.now + Duration::from_micros(300);
    }
    // Those that nobody has ended are, by their owner.
    let left: Vec<Call> = bench.endpoint.sessions.keys().copied().collect();
    left.into_iter().for_each(|call| bench.command(Command::HangUp { call, reason: None }));
    bench.assert_at_rest();
    lasts += bench.events.iter().filter(|event| event.is_last()).count();
    assert_eq!(lasts, CALLS as usize, "each has one last word");
    assert_eq!(bench.endpoint.dialogs.len(), 0);
}

/// Who would wait in vain hears so at once, by how many our owner answers; what it puts off is in nobody's way, what rings is.
#[test]
fn no_more_wait_for_our_owner_than_it_takes_in_soon() {
    let mut bench = Bench::new();
    let offer = |bench: &mut Bench, from: u32, calls: u32| {
        let mut waiting = Vec::new();
        for number in from..from + calls {
            bench.receive(&of(number, from_peer("INVITE", &format!("i{number}"), "", 1, OFFER)));
            if let Some(Event::Invited(invitation)) = bench.events.pop() {
                waiting.push(invitation.call);
            }
        }
        waiting
    };
    let refuse = |bench: &mut Bench, call| {
        bench.command(Command::Refuse { call, refusal: Refusal::plain(486) });
        bench.events.clear();
    };
    // An owner that says nothing, however long: so many wait, and one more is told 503 and forgotten.
    let mut waiting = offer(&mut bench, 0, 150);
    assert_eq!((waiting.len(), bench.endpoint.counters().refused_busy), (100, 50));
    bench.pass(Duration::from_secs(20));
    assert_eq!(offer(&mut bench, 150, 1).len(), 0);
    // One is given up, one rings, one is put off: there is room for two.
    bench.receive(&of(0, from_peer("CANCEL", "i0", "", 1, EMPTY)));
    bench.command(Command::Ring { call: waiting[1], status: 180, answer: None });
    bench.command(Command::PutOff { call: waiting[2] });
    bench.command(Command::PutOff { call: waiting[2] });
    bench.events.clear();
    waiting.extend(offer(&mut bench, 200, 9));
    assert_eq!(waiting.len(), 102);
    // It answers a thousand a second: half of that may wait, then and for a second after.
    bench.now = Mono::from_millis(60_000);
    waiting.into_iter().for_each(|call| refuse(&mut bench, call));
    for number in 1_000..2_000 {
        let call = offer(&mut bench, number, 1)[0];
        refuse(&mut bench, call);
    }
    bench.now = Mono::from_millis(61_500);
    let waiting = offer(&mut bench, 2_000, 700);
    assert_eq!(waiting.len(), 1_100 / 2);
    bench.now = Mono::from_millis(63_000);
    assert_eq!(offer(&mut bench, 3_000, 1).len(), 0, "and no longer");
    waiting.into_iter().for_each(|call| refuse(&mut bench, call));
    bench.assert_at_rest();
}

/// Twenty thousand requests a second from addresses that are made up, while a call stands and others begin and end.
#[test]
fn a_flood_of_strangers_takes_nothing_from_anybody() {
    let mut bench = Bench::new();
    let (call, tag) = up(&mut bench);
    let methods = ["INVITE", "REGISTER", "OPTIONS", "BYE", "ACK"];
    let (mut came, mut went) = (0, 0);
    for number in 0..20_000_u32 {
        let stranger = SocketAddr::new(std::net::IpAddr::V4((0x0b00_0000 + number * 65_537).into()), 5060);
        let text = from_peer(methods[number as usize % methods.len()], &format!("s{number}"), "", 1, EMPTY);
        came += text.len();
        bench.receive_from(stranger, &text);
        went += bench.sent.drain(..).map(|(_, bytes)| bytes.len()).sum::<usize>();
        bench.now = bench.now + Duration::from_micros(50);
        if number % 1_000 == 999 {
            assert_eq!((bench.endpoint.calls(), bench.told()), (1, Vec::new()), "{number}");
            let (other, _) = ring(&mut bench, number);
            bench.command(Command::Refuse { call: other, refusal: Refusal::plain(486) });
            assert_eq!(bench.words(), ["100 INVITE", "486 INVITE"]);
            bench.receive(&of(number, from_peer("ACK", &format!("i{number}"), "x", 1, EMPTY)));
            bench.events.clear();
            bench.receive(&from_peer("OPTIONS", &format!("o{number}"), &tag, number, EMPTY));
            assert_eq!(bench.words(), ["200 OPTIONS"]);
        }
    }
    assert!(went < came, "{went} bytes for {came}");
    bench.command(Command::HangUp { call, reason: None });
    bench.assert_at_rest();
}

#[test]
fn sound_before_an_answer_is_told_with_the_failure_though_nobody_listened() {
    let mixed = "multipart/mixed;boundary=x";
    let rows = [
        (false, SDP, "v=0", true),
        (true, SDP, "v=0", true),
        (true, mixed, "--x", true),
        (false, mixed, "--x", true),
        (false, SDP, "", false),
        (false, "text/plain", "wait", false),
    ];
    for (crowded, kind, body, expected) in rows {
        let mut bench = Bench::new();
        let (_, invite, _) = dialling(&mut bench);
        bench.endpoint.crowd(crowded);
        let progress = reply(&invite, 183, "t", body).replace(SDP, kind);
        bench.receive(&progress);
        bench.receive(&reply(&invite, 503, "t", ""));
        let Some(Event::Failed { sounded, .. }) = bench.events.pop() else { panic!("{:?}", bench.events) };
        assert_eq!(sounded, expected, "{crowded} {kind} {body}");
    }
}
