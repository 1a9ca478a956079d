//! Peers that we keep in touch with: OPTIONS and REGISTER.

use super::*;
use crate::sip::peer::{Peer, Registration, Standing, Toward, Way};
use std::sync::Arc;

const EVERY: Duration = Duration::from_secs(10);
const ASKS: &str = "Digest realm=\"carrier\",nonce=\"n1\",algorithm=SHA-256,qop=\"auth\"";

fn way(transport: Transport) -> Way {
    Way { flow: Flow { transport, ..flow(0) }, contact: address(0) }
}

fn toward(transport: Transport) -> Toward {
    Toward::Way(way(transport))
}

fn login() -> Option<Arc<Login>> {
    let password = Some(Password::new(b"secret".to_vec()));
    Some(Arc::new(Login { owner: "acme".into(), username: "us".into(), password, realm: Some("carrier".into()) }))
}

fn pinged() -> Peer {
    Peer { owner: "acme".into(), login: None, ping: Some((toward(Transport::Udp), EVERY)), register: None }
}

fn registering(transport: Transport) -> Peer {
    let register = Registration {
        toward: toward(transport),
        user: "12345".into(),
        host: "carrier.example".into(),
        expires_s: 3_600,
    };
    Peer { owner: "acme".into(), login: login(), ping: None, register: Some(register) }
}

/// The peer's answer to the last request that went out.
fn answer(bench: &mut Bench, method: &str, status: u16, headers: &[(&str, &str)]) -> Request {
    let request = bench.request(method);
    let flow = bench.sent.last().expect("a request").0;
    let mut response = Response::to(&request, status, "");
    response.set_to_tag("theirs");
    for (name, value) in headers {
        assert!(response.push(name, value), "{name}");
    }
    bench.sent.clear();
    bench.endpoint.receive(bench.now, flow, &response.to_bytes());
    bench.drain();
    request
}

fn stands(bench: &mut Bench) -> Vec<Standing> {
    let told = std::mem::take(&mut bench.events).into_iter().map(|event| match event {
        Event::Stands { owner, standing } => {
            assert_eq!(owner, "acme");
            standing
        }
        other => panic!("{other:?}"),
    });
    told.collect()
}

#[test]
fn a_peer_is_down_after_three_misses_and_back_after_two_answers() {
    let mut bench = Bench::new();
    bench.command(Command::Peers(vec![pinged()]));
    let first = answer(&mut bench, "OPTIONS", 200, &[]);
    assert_eq!(first.uri().as_str(), "sip:192.0.2.2:5060");
    assert_eq!(stands(&mut bench), [Standing::Up]);
    // Refused, unknown, not found: whoever says so is there.
    for status in [403, 404, 405, 481, 500] {
        bench.pass(EVERY);
        answer(&mut bench, "OPTIONS", status, &[]);
    }
    assert_eq!(stands(&mut bench), []);
    // Two that are lost are no news.
    bench.pass(EVERY * 3);
    answer(&mut bench, "OPTIONS", 200, &[]);
    assert_eq!(stands(&mut bench), []);
    bench.pass(EVERY * 3 + Duration::from_millis(1));
    assert_eq!(stands(&mut bench), []);
    bench.pass(EVERY);
    assert_eq!(stands(&mut bench), [Standing::Down], "asked, and three times not answered");
    answer(&mut bench, "OPTIONS", 200, &[]);
    bench.pass(EVERY);
    answer(&mut bench, "OPTIONS", 503, &[]);
    bench.pass(EVERY);
    answer(&mut bench, "OPTIONS", 200, &[]);
    assert_eq!(stands(&mut bench), [], "one answer makes no carrier");
    bench.pass(EVERY);
    answer(&mut bench, "OPTIONS", 200, &[]);
    assert_eq!(stands(&mut bench), [Standing::Up]);
    // One that says that it takes no calls is as good as none.
    for _ in 0..3 {
        bench.pass(EVERY);
        answer(&mut bench, "OPTIONS", 503, &[]);
    }
    assert_eq!(stands(&mut bench), [Standing::Down]);
    bench.command(Command::Peers(Vec::new()));
    bench.assert_at_rest();
}

#[test]
fn those_that_are_as_they_were_are_not_asked_anew() {
    let mut bench = Bench::new();
    bench.command(Command::Peers(vec![pinged()]));
    answer(&mut bench, "OPTIONS", 200, &[]);
    bench.command(Command::Peers(vec![pinged()]));
    assert!(bench.words().is_empty());
    assert_eq!(stands(&mut bench), [Standing::Up]);
    let other = Peer { ping: Some((toward(Transport::Udp), EVERY * 2)), ..pinged() };
    bench.command(Command::Peers(vec![other]));
    assert_eq!(bench.words(), ["OPTIONS"]);
    bench.command(Command::Peers(Vec::new()));
    bench.assert_at_rest();
}

#[test]
fn a_registration_is_proven_renewed_before_its_end_and_taken_back() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut bench = Bench::new();
        bench.command(Command::Peers(vec![registering(transport)]));
        let first = answer(&mut bench, "REGISTER", 401, &[("WWW-Authenticate", ASKS)]);
        assert_eq!(first.uri().as_str(), "sip:carrier.example");
        assert_eq!(first.to().uri().as_str(), "sip:12345@carrier.example");
        assert_eq!(first.header("Expires"), Some("3600"));
        assert_eq!(first.contact().unwrap().uri().user_unescaped().as_deref(), Some("12345"));
        let ours = format!("{};expires=600", first.header("Contact").unwrap());
        let proven =
            answer(&mut bench, "REGISTER", 200, &[("Contact", "<sip:other@192.0.2.7>;expires=9"), ("Contact", &ours)]);
        assert!(proven.header("Authorization").is_some());
        assert_eq!((proven.call_id(), proven.cseq()), (first.call_id(), first.cseq() + 1), "RFC 3261 section 10.2");
        assert_eq!(stands(&mut bench), [Standing::Registered { expires_s: 600 }]);
        bench.pass(Duration::from_millis(449_999));
        let is_register = |(_, bytes): &(Flow, Bytes)| word(bytes) == "REGISTER";
        assert!(!bench.sent.iter().any(is_register));
        let before = bench.now;
        while !bench.sent.iter().any(is_register) {
            bench.pass(Duration::from_millis(100));
        }
        assert!(bench.now.since(before) <= Duration::from_secs(91));
        bench.sent.retain(is_register);
        let again = answer(&mut bench, "REGISTER", 200, &[("Expires", "600")]);
        assert_eq!((again.call_id(), again.cseq()), (first.call_id(), proven.cseq() + 1));
        assert_eq!(stands(&mut bench), [], "no news");
        // Drained, nobody is to send us calls; and that is proven, too.
        bench.command(Command::Drain { retry_after_s: 5 });
        let last = answer(&mut bench, "REGISTER", 401, &[("WWW-Authenticate", ASKS)]);
        assert_eq!(last.header("Expires"), Some("0"));
        assert_eq!(bench.endpoint.leaving(), 1);
        let last = answer(&mut bench, "REGISTER", 200, &[]);
        assert!(last.header("Expires") == Some("0") && last.header("Authorization").is_some());
        assert_eq!((bench.endpoint.leaving(), stands(&mut bench)), (0, vec![]));
        bench.assert_at_rest();
    }
}

#[test]
fn too_brief_a_registration_is_made_as_long_as_they_want_within_reason() {
    let mut bench = Bench::new();
    bench.command(Command::Peers(vec![registering(Transport::Udp)]));
    answer(&mut bench, "REGISTER", 423, &[("Min-Expires", "7200")]);
    let longer = answer(&mut bench, "REGISTER", 200, &[]);
    assert_eq!(longer.header("Expires"), Some("7200"));
    assert_eq!(stands(&mut bench), [Standing::Registered { expires_s: 7_200 }]);
    for least in ["60", "4000000000", "x"] {
        let mut bench = Bench::new();
        bench.command(Command::Peers(vec![registering(Transport::Udp)]));
        answer(&mut bench, "REGISTER", 423, &[("Min-Expires", least)]);
        assert!(bench.words().is_empty(), "{least}");
        assert_eq!(stands(&mut bench), [Standing::Unregistered { status: 423 }]);
    }
    // However brief they make it, we do not ask all the time.
    let mut bench = Bench::new();
    bench.command(Command::Peers(vec![registering(Transport::Udp)]));
    answer(&mut bench, "REGISTER", 200, &[("Expires", "1")]);
    bench.pass(Duration::from_secs(14));
    assert!(bench.words().is_empty());
}

#[test]
fn a_registration_that_fails_is_tried_later_and_later() {
    let mut bench = Bench::new();
    bench.command(Command::Peers(vec![registering(Transport::Udp)]));
    let mut waits = Vec::new();
    for turn in 0..9 {
        answer(&mut bench, "REGISTER", 500, &[]);
        let failed = bench.now;
        while bench.sent.is_empty() {
            let next = bench.endpoint.deadline().expect("it is tried again");
            bench.pass(next.since(bench.now));
        }
        waits.push(bench.now.since(failed));
        assert_eq!(stands(&mut bench), if turn == 0 { vec![Standing::Unregistered { status: 500 }] } else { vec![] });
    }
    for (wait, longest) in waits.iter().zip([30, 60, 120, 240, 480, 960, 1_800, 1_800, 1_800]) {
        let longest = Duration::from_secs(longest);
        assert!(*wait >= longest / 2 && *wait <= longest, "{waits:?}");
    }
    // They say when; but a day is not believed.
    for (said, least_s, most_s) in [("1900", 1_900, 1_901), ("90000", 3_600, 3_601)] {
        answer(&mut bench, "REGISTER", 503, &[("Retry-After", said)]);
        let before = bench.now;
        while bench.sent.is_empty() {
            let next = bench.endpoint.deadline().expect("it is tried again");
            bench.pass(next.since(bench.now));
        }
        let wait = bench.now.since(before).as_secs();
        assert!((least_s..most_s).contains(&wait), "{said}: {wait}");
        bench.events.clear();
    }
    // Silence is a failure as well.
    bench.pass(Duration::from_secs(32));
    assert_eq!(stands(&mut bench), [Standing::Unregistered { status: 408 }]);
    answer_any(&mut bench);
}

/// From then on all is well.
fn answer_any(bench: &mut Bench) {
    bench.sent.clear();
    while bench.sent.is_empty() {
        let next = bench.endpoint.deadline().expect("it is tried again");
        bench.pass(next.since(bench.now));
    }
    answer(bench, "REGISTER", 200, &[]);
    assert_eq!(stands(bench), [Standing::Registered { expires_s: 3_600 }]);
}

#[test]
fn no_registrar_makes_us_ask_without_end() {
    let mut bench = Bench::new();
    bench.command(Command::Peers(vec![registering(Transport::Udp)]));
    for turn in 0..100 {
        let ask = format!("Digest realm=\"carrier\",nonce=\"n{turn}\",qop=\"auth\",stale=true");
        if bench.sent.is_empty() {
            assert_eq!(turn, 3, "one, and two with a proof");
            break;
        }
        answer(&mut bench, "REGISTER", 401, &[("WWW-Authenticate", &ask)]);
    }
    assert_eq!(stands(&mut bench), [Standing::Unregistered { status: 401 }]);
    assert_eq!(bench.endpoint.counters().proofs, 2);
    // Nor is a password told to a realm that is not theirs.
    let mut bench = Bench::new();
    bench.command(Command::Peers(vec![registering(Transport::Udp)]));
    answer(&mut bench, "REGISTER", 401, &[("WWW-Authenticate", "Digest realm=\"elsewhere\",nonce=\"n\",qop=\"auth\"")]);
    assert!(bench.words().is_empty());
    assert_eq!(stands(&mut bench), [Standing::Unregistered { status: 401 }]);
}

#[test]
fn who_is_no_peer_any_more_is_told_so_once_however_that_goes() {
    let mut bench = Bench::new();
    bench.command(Command::Peers(vec![registering(Transport::Udp)]));
    answer(&mut bench, "REGISTER", 200, &[]);
    stands(&mut bench);
    bench.command(Command::Peers(Vec::new()));
    assert_eq!(bench.request("REGISTER").header("Expires"), Some("0"));
    bench.words();
    // Nobody answers: after the transaction's life it is forgotten.
    bench.pass(Duration::from_secs(33));
    assert_eq!((bench.endpoint.leaving(), stands(&mut bench)), (0, vec![]));
    bench.assert_at_rest();
    bench.words();
    // While draining nobody is begun with.
    bench.command(Command::Drain { retry_after_s: 5 });
    bench.command(Command::Peers(vec![registering(Transport::Udp)]));
    assert!(bench.words().is_empty());
    bench.assert_at_rest();
}

/// A registration over TCP that holds.
fn registered_by_tcp() -> (Bench, Flow) {
    let mut bench = Bench::new();
    bench.command(Command::Peers(vec![registering(Transport::Tcp)]));
    answer(&mut bench, "REGISTER", 200, &[("Expires", "3600")]);
    assert_eq!(stands(&mut bench), [Standing::Registered { expires_s: 3_600 }]);
    (bench, way(Transport::Tcp).flow)
}

fn is_ping(sent: &(Flow, Bytes)) -> bool {
    sent.1 == crate::sip::transport::PING
}

/// RFC 5626 section 4.4.1.
#[test]
fn the_connection_of_a_registration_is_kept_and_kept_alive() {
    let (mut bench, tcp) = registered_by_tcp();
    assert_eq!(bench.endpoint.flows().collect::<Vec<_>>(), [tcp], "nobody closes it as idle");
    let begun = bench.now;
    for _ in 0..5 {
        bench.sent.clear();
        let before = bench.now;
        while bench.sent.is_empty() {
            bench.pass(Duration::from_secs(1));
        }
        assert_eq!((bench.sent.len(), bench.sent[0].0, is_ping(&bench.sent[0])), (1, tcp, true));
        assert!((96..=121).contains(&bench.now.since(before).as_secs()), "80 to 100 % of two minutes");
    }
    assert!(bench.now.since(begun) > Duration::from_secs(480), "whoever answers no ping is not thought to be gone");
    // Once one was answered, each is to be.
    bench.endpoint.alive(bench.now, tcp, true);
    bench.drain();
    bench.sent.clear();
    while bench.sent.is_empty() {
        bench.pass(Duration::from_secs(1));
    }
    bench.pass(Duration::from_secs(7));
    bench.endpoint.alive(bench.now, tcp, true);
    bench.pass(Duration::from_secs(20));
    assert!(bench.closed.is_empty());
    bench.pass(Duration::from_secs(140));
    assert_eq!(bench.closed, [tcp]);
    bench.command(Command::Peers(Vec::new()));
    answer(&mut bench, "REGISTER", 200, &[]);
    bench.assert_at_rest();
    assert_eq!(bench.endpoint.flows().count(), 0);
}

/// RFC 5626 section 4.5: at once would be all peers of a registrar that has begun anew at once.
#[test]
fn a_registration_whose_connection_is_lost_is_made_anew() {
    let (mut bench, tcp) = registered_by_tcp();
    bench.pass(Duration::from_secs(200));
    let mut waits = Vec::new();
    for _ in 0..4 {
        bench.sent.clear();
        bench.endpoint.lost(bench.now, tcp);
        let lost = bench.now;
        while !bench.sent.iter().any(|(_, bytes)| word(bytes) == "REGISTER") {
            bench.pass(Duration::from_millis(100));
        }
        waits.push(bench.now.since(lost).as_secs());
        answer(&mut bench, "REGISTER", 200, &[("Expires", "3600")]);
        bench.pass(Duration::from_secs(10));
    }
    let within = |wait: u64, longest: u64| (longest / 2..=longest).contains(&wait);
    assert!(within(waits[0], 30), "{waits:?}: it had lasted");
    assert!(
        within(waits[1], 60) && within(waits[2], 120) && within(waits[3], 240),
        "{waits:?}: the later, the sooner lost"
    );
    assert_eq!(stands(&mut bench), [], "nobody is told of what mends itself");
    // Never later than it was to be renewed.
    let mut short = Bench::new();
    short.command(Command::Peers(vec![registering(Transport::Tcp)]));
    answer(&mut short, "REGISTER", 200, &[("Expires", "20")]);
    for _ in 0..6 {
        short.sent.clear();
        short.endpoint.lost(short.now, tcp);
        short.pass(Duration::from_secs(19));
        answer(&mut short, "REGISTER", 200, &[("Expires", "20")]);
    }
}
