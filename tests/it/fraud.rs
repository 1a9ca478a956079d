//! Thieves at a whole node: what they get, and who is told.

use crate::world::{PEOPLE, TOLL, World};
use std::collections::BTreeSet;
use std::time::Duration;
use tollbridge::notice::Kind;
use tollbridge::switchboard::ask::{Ask, Told};
use tollbridge::types::{Cause, LegId, Micros};

const SOON: Duration = Duration::from_secs(10);

/// Patterns that were told, each with whose money it is about.
async fn told(world: &World) -> BTreeSet<(String, Option<String>)> {
    let shown = world.node.store().alerts(None, 100).await.unwrap();
    let fraud = shown.alerts.into_iter().map(|view| view.alert).filter(|alert| alert.kind == Kind::Fraud);
    fraud.map(|alert| (alert.facts["pattern"].clone(), alert.organisation.map(|id| id.to_string()))).collect()
}

/// A stolen account dials on and on: all that its legs hold stays within the meeting's day, the refusal names the limit,
/// other meetings go on, and the pattern is in the books, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_calls_out_meets_the_meetings_limit_and_is_told() {
    let limits = "credits = \"10.00\"\n[organisation.limits]\nmeeting_spend_per_day = \"6.00\"\n";
    let people = PEOPLE.replacen("credits = \"10.00\"\n", limits, 1);
    let world = World::with(&people, |settings| {
        settings.patterns.calls_a_minute = 3;
        settings.patterns.sequence_numbers = 3;
    })
    .await;
    let mut ringing: Vec<LegId> = Vec::new();
    let cause = loop {
        assert!(ringing.len() < 100, "a hundred calls out, and none was refused");
        match world.dial("open", &format!("+39069999{:04}", ringing.len())).await {
            Told::Dialling(leg) => ringing.push(leg),
            Told::Refused(cause) => break cause,
            other => panic!("{other:?}"),
        }
        assert!(world.balance("acme").await.held <= Micros(6_000_000));
    };
    assert_eq!(cause, Cause::MeetingSpendLimit);
    assert!(ringing.len() >= 3, "{}", ringing.len());
    // A meeting beside it has a day of its own.
    let Told::Dialling(leg) = world.dial("small", "+390611112222").await else { panic!("refused") };
    ringing.push(leg);
    let whose = Some("acme".to_owned());
    let expected = ["calls-a-minute", "sequence"].map(|pattern| (pattern.to_owned(), whose.clone()));
    let expected = BTreeSet::from(expected);
    world.until(|| async { expected.is_subset(&told(&world).await) }).await;
    for leg in ringing {
        world.ask(Ask::Remove { leg }).await;
    }
    let records = world.records().await;
    assert!(records.iter().all(|record| record.charge == Micros::ZERO), "nobody answered");
    world.end().await;
}

/// Three conference IDs that there are not; then the call is over.
async fn sweeps(world: &World, caller: &str) {
    let mut phone = world.call(caller, TOLL).await;
    for _ in 0..3 {
        phone.press("7777777").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let ended = phone.ended(SOON).await.expect("let go");
    assert_eq!(ended.reason.unwrap().text, Cause::TooManyTries.words());
}

/// Whoever tries conference IDs is let go after three a call, and the carrier by which it goes on is told of, also where each
/// number does what it may and no brake closes.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_from_several_numbers_is_told_to_the_house() {
    let world = World::with(PEOPLE, |settings| settings.patterns.sweep_tries = 6).await;
    for caller in ["+390611111111", "+390622222222"] {
        assert_eq!(told(&world).await, BTreeSet::new());
        sweeps(&world, caller).await;
    }
    let sweep = BTreeSet::from([("pin-sweep".to_owned(), None)]);
    world.until(|| async { told(&world).await == sweep }).await;
    world.end().await;
}

/// With the fifth try by callers who withhold their number none of them is listened to any more, and the books say so, once.
#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_of_conference_ids_is_told_to_the_house() {
    let world = World::with(PEOPLE, |settings| settings.patterns.sweep_tries = 5).await;
    let closed = async || {
        let shown = world.node.store().alerts(None, 100).await.unwrap();
        let closed = shown.alerts.into_iter().map(|view| view.alert).filter(|alert| alert.kind == Kind::Guessing);
        closed.map(|alert| (alert.organisation, alert.facts)).collect::<Vec<_>>()
    };
    for _ in 0..2 {
        assert_eq!((told(&world).await, closed().await), (BTreeSet::new(), Vec::new()));
        sweeps(&world, "anonymous").await;
    }
    let sweep = BTreeSet::from([("pin-sweep".to_owned(), None)]);
    world.until(|| async { told(&world).await == sweep && closed().await.len() == 1 }).await;
    let (organisation, facts) = closed().await.remove(0);
    let who = "At no meeting that there is, callers by line who withhold their number";
    assert_eq!((organisation, &*facts["who"], &*facts["tries"], &*facts["minutes"]), (None, who, "5", "60"));
    world.end().await;
}
