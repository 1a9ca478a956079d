//! Calls that name their meeting in what they call (RFC 4240): as if it had been typed, where the carrier's settings allow it.

use crate::world::{CARRIER, TOLL, TOLL_FREE, World, apply, settings};
use std::net::IpAddr;
use std::time::Duration;
use tollbridge::cli::phone::{Exchange, Phone};
use tollbridge::node::{Node, StartError};
use tollbridge::rating::CallType;
use tollbridge::sip::Transport;
use tollbridge::store::OpenError;
use tollbridge::types::Cause;

const SOON: Duration = Duration::from_secs(15);

/// The carrier's calls by conference ID are calls to this number from now on.
async fn by_uri(world: &World, number: &str) {
    let source = IpAddr::from(CARRIER);
    let route = world.carrier.local();
    let line = format!(
        "[[carrier]]\nid = \"line\"\nsources = [\"{source}\"]\nroute = \"udp:{route}\"\nconference_number = \"{number}\"\n"
    );
    apply(world.node.store(), &line).await;
}

/// A call once the settings hold.
async fn call(world: &World, from: &str, to: &str) -> Phone {
    for _ in 0..100 {
        match world.carrier.call(from, to).await {
            Ok(phone) => return phone,
            Err(ended) => assert_eq!(ended.status, 404, "{ended}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{to} is not taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn such_a_call_goes_straight_into_the_meeting_and_costs_what_its_number_costs() {
    let world = World::start().await;
    assert_eq!(world.refused("+390611111111", "conf=1000001").await.status, 404, "nobody has allowed it");
    for (number, call_type, cent_a_second) in
        [(TOLL, CallType::DialInToll, 1), (TOLL_FREE, CallType::DialInTollFree, 2)]
    {
        by_uri(&world, number).await;
        // A call of the setting before may yet be taken: it is told by what it cost.
        world
            .until(|| async {
                let facts = world.node.store().facts();
                let known = facts.directory.carrier(&"line".parse().unwrap()).unwrap().conference_number;
                known.map(|known| known.to_string()).as_deref() == Some(number)
            })
            .await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut phone = call(&world, "+390611111111", "conf=1000001").await;
        world.inside("open", 1).await;
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        phone.hang_up();
        assert!(phone.released(SOON).await);
        let records = world.records().await;
        let record = records.iter().find(|record| record.call_type == call_type).unwrap();
        assert_eq!((record.destination.to_string().as_str(), record.beyond.cause), (number, Cause::HungUp));
        let seconds = record.duration_ms.div_ceil(1_000) as i64;
        assert_eq!(record.charge.0, seconds * 10_000 * cent_a_second, "{record:?}");
    }
    world.end().await;
}

/// The organiser is asked as ever; whom nobody pays for is refused before anybody has answered.
#[tokio::test(flavor = "multi_thread")]
async fn the_organiser_is_asked_and_who_may_not_is_refused_unanswered() {
    let world = World::start().await;
    by_uri(&world, TOLL).await;
    let anna = call(&world, "+390622222222", "conf=1000002").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    anna.press("*").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    anna.press("4711#").await;
    world.inside("led", 1).await;
    anna.hang_up();
    let refused = world.refused("+390611111111", "conf=1000004").await;
    assert_eq!(refused.status, Cause::NotLicensed.sip());
    let records = world.records().await;
    let refused = records.iter().find(|record| record.beyond.cause != Cause::HungUp).unwrap();
    assert_eq!((refused.beyond.cause, refused.charge.0, refused.duration_ms), (Cause::NotLicensed, 0, 0));
    world.end().await;
}

/// Ten guesses from one number, and it is not heard any more, wherever it guesses: the right one is refused, too. Others are.
#[tokio::test(flavor = "multi_thread")]
async fn guesses_are_counted_as_if_they_had_been_typed() {
    let world = World::start().await;
    by_uri(&world, TOLL).await;
    call(&world, "+390622222222", "conf=1000001").await.hang_up();
    let wrong =
        ["9999999", "1", "", "10000011", "1000001x", "+39061234567", "0000000", "1234567", "7654321", "1000009"];
    for digits in wrong {
        let refused = world.refused("+390611111111", &format!("conf={digits}")).await;
        assert_eq!(refused.status, 404, "{digits}");
    }
    assert_eq!(world.refused("+390611111111", "conf=1000001").await.status, Cause::TooManyTries.sip());
    // By keys it is the same brake.
    let mut typed = world.call("+390611111111", TOLL).await;
    typed.press("1000001").await;
    assert!(typed.ended(Duration::from_secs(30)).await.is_some());
    call(&world, "+390622222222", "conf=1000001").await.hang_up();
    let records = world.records().await;
    assert_eq!(records.len(), 3, "a refused call has no leg: {records:#?}");
    assert!(records.iter().any(|record| record.beyond.cause == Cause::TooManyTries));
    world.end().await;
}

/// What has closed stays closed, as long as it would have, whoever ends the process; and who guessed nothing is let in.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_no_amnesty_for_who_guesses() {
    let world = World::start().await;
    by_uri(&world, TOLL).await;
    call(&world, "+390622222222", "conf=1000001").await.hang_up();
    for digit in 0..10 {
        assert_eq!(world.refused("+390611111111", &format!("conf=999999{digit}")).await.status, 404);
    }
    let folder = world.end().await;
    let settings = settings(&folder);
    let node = loop {
        match Node::start(&settings, None).await {
            // The last life lets go of it in a moment.
            Err(StartError::Store(OpenError::Held { .. })) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            node => break node.unwrap(),
        }
    };
    let trunk = node.sip(Transport::Udp).unwrap();
    let carrier = Exchange::start((CARRIER, 0).into(), trunk, 8).await.unwrap();
    let world = World { node, carrier, folder };
    assert_eq!(world.refused("+390611111111", "conf=1000001").await.status, Cause::TooManyTries.sip());
    call(&world, "+390622222222", "conf=1000001").await.hang_up();
    world.end().await;
}

/// Where a carrier's callers guess, its answers are later, the right one too; but for who has named that meeting before, and for
/// other carriers' callers. Whoever gives up meanwhile has no leg.
#[tokio::test(flavor = "multi_thread")]
async fn where_many_guess_each_answer_of_their_carrier_is_later() {
    let world = World::start().await;
    by_uri(&world, TOLL).await;
    let trunk = world.node.sip(Transport::Udp).unwrap();
    let other = Exchange::start(([127, 0, 0, 12], 0).into(), trunk, 9).await.unwrap();
    let text = "[[carrier]]\nid = \"other\"\nsources = [\"127.0.0.12\"]\nconference_number = ";
    apply(world.node.store(), &format!("{text}\"{TOLL}\"\n")).await;
    call(&world, "+390622222222", "conf=1000001").await.hang_up();
    for guess in 0..106 {
        let from = format!("+39061111{:04}", guess / 9);
        assert_eq!(world.refused(&from, "conf=9999999").await.status, 404);
    }
    let late = Duration::from_millis(550);
    let took = async |exchange: &Exchange, from: &str| {
        let began = tokio::time::Instant::now();
        exchange.call(from, "conf=1000001").await.unwrap().hang_up();
        began.elapsed()
    };
    let waited = took(&world.carrier, "+390644444444").await;
    assert!(waited >= late, "{waited:?}");
    for (exchange, from) in [(&world.carrier, "+390622222222"), (&other, "+390644444444"), (&other, "+390655555555")] {
        let waited = took(exchange, from).await;
        assert!(waited < late, "{from}: {waited:?}");
    }
    let given_up = world.carrier.place("+390633333333", "conf=1000001").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    given_up.hang_up();
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert_eq!(world.records().await.len(), 5);
    // A wrong one that is given up before it is looked at is a wrong one.
    for _ in 0..10 {
        let given_up = world.carrier.place("+390677777777", "conf=9999999").await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        given_up.hang_up();
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.refused("+390677777777", "conf=1000001").await.status, Cause::TooManyTries.sip());
    world.end().await;
}
