//! What was said of a leg over SIP, shown to whoever runs the bridge, and to nobody else.

use crate::plain::{Teller, header, status};
use crate::roles::{Client, token};
use crate::world::{CARRIER, DIRECT, World};
use std::time::{Duration, Instant};
use tollbridge::api::trace::Trace;
use tollbridge::sip::Transport;
use tollbridge::store::Role;
use tollbridge::switchboard::ask::Told;

/// The first lines of what was said, each with its way.
fn words(trace: &Trace) -> Vec<String> {
    let word = |text: &str| {
        let mut words = text.split(' ');
        let first = words.next().unwrap_or_default();
        if first == "SIP/2.0" { words.next().unwrap_or_default().to_owned() } else { first.to_owned() }
    };
    trace.rungs.iter().map(|rung| format!("{} {}", if rung.out { "out" } else { "in" }, word(&rung.text))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leg_shows_what_was_said_of_it() {
    let world = World::start().await;
    let phone = world.call("+390611111111", DIRECT).await;
    world.inside("open", 1).await;
    let came_in = world.legs().await[0].id.clone();
    let Told::Dialling(leg) = world.dial("open", "+390699999999").await else { panic!("refused") };
    let called = world.carrier.incoming(Duration::from_secs(10)).await.expect("it rings").answer().await.unwrap();
    world.inside("open", 2).await;
    phone.hang_up();
    called.hang_up();
    world.records().await;
    let (operator, admin) = (
        token(&world, "operator", Role::Operator, None, None).await,
        token(&world, "admin", Role::Admin, None, None).await,
    );
    let client = Client::new(&world);
    let asked = tokio::task::spawn_blocking(move || {
        let show = |leg: &str, secret: &str| client.ask("get", &format!("/legs/{leg}/trace"), Some(secret), "");
        assert_eq!(show(&came_in, &admin).0, 403, "whole numbers and addresses are the operator's");
        assert_eq!(show("0197d2f8-0000-7000-8000-000000000000", &operator).0, 404);
        [came_in, leg.to_string()].map(|leg| {
            let (status, text) = show(&leg, &operator);
            assert_eq!(status, 200, "{text}");
            serde_json::from_str::<Trace>(&text).unwrap()
        })
    });
    let [came_in, went_out] = asked.await.unwrap();
    let expected = ["in INVITE", "out 100", "out 180", "out 200", "in ACK", "in BYE", "out 200"];
    assert_eq!(words(&came_in), expected);
    let expected = ["out INVITE", "in 100", "in 180", "in 200", "out ACK", "in BYE", "out 200"];
    assert_eq!(words(&went_out), expected);
    for trace in [&came_in, &went_out] {
        assert!(trace.rungs.iter().all(|rung| !rung.again && rung.transport == "udp"));
        assert!(trace.rungs.windows(2).all(|pair| pair[0].at_us <= pair[1].at_us));
        assert!(trace.rungs[0].text.contains("\r\nm=audio "), "whole messages");
    }
    world.end().await;
}

/// A call that was refused has no leg, and its carrier knows its Call-ID alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_was_refused_shows_what_was_said_of_it() {
    let world = World::start().await;
    let mut teller = Teller::udp(CARRIER, world.node.sip(Transport::Udp).unwrap());
    let client = Client::new(&world);
    let operator = token(&world, "operator", Role::Operator, None, None).await;
    let asked = tokio::task::spawn_blocking(move || {
        let refused = teller.ask("INVITE", "+390600000009", "");
        let call_id = header(&refused, "Call-ID").unwrap().to_owned();
        let show = |call_id: &str| client.ask("get", &format!("/trace?call_id={call_id}"), Some(&operator), "");
        assert_eq!(show("another").0, 404);
        assert_eq!(status(&refused), 404);
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let (code, text) = show(&call_id);
            assert_eq!(code, 200, "{text}");
            let trace = serde_json::from_str::<Trace>(&text).unwrap();
            // Its ACK may be on its way.
            if words(&trace).last().is_some_and(|word| word == "in ACK") {
                return (call_id, trace);
            }
            assert!(Instant::now() < until, "no ACK: {text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let (call_id, trace) = asked.await.unwrap();
    let said = words(&trace);
    assert_eq!((&trace.leg, &trace.call_id), (&None, &Some(call_id)));
    let [first, .., answer, last] = &said[..] else { panic!("{said:?}") };
    assert_eq!([first, answer, last], ["in INVITE", "out 404", "in ACK"]);
    world.end().await;
}
