//! What was said of a leg over SIP, shown to whoever runs the bridge, and to nobody else.

use crate::roles::{Client, token};
use crate::world::{DIRECT, World};
use std::time::Duration;
use tollbridge::api::trace::Trace;
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
