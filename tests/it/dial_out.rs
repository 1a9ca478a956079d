//! Dialling out.

use crate::world::{DIRECT, World, hears, tone};
use std::time::Duration;
use tollbridge::switchboard::ask::{Ask, Told};
use tollbridge::types::{Cause, LegId};

const SOON: Duration = Duration::from_secs(10);
const CALLED: &str = "+390699999999";

async fn ringing(world: &World) -> (LegId, tollbridge::cli::phone::Incoming) {
    let Told::Dialling(leg) = world.dial("open", CALLED).await else { panic!("refused") };
    let incoming = world.carrier.incoming(SOON).await.expect("it rings");
    (leg, incoming)
}

async fn over(world: &World, leg: LegId) -> String {
    world.until(|| async { world.leg(leg).await.state == "over" }).await;
    world.leg(leg).await.cause.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_person_is_dialled_in_and_heard() {
    let world = World::start().await;
    let a = world.call("+390611111111", DIRECT).await;
    a.say(tone(500));
    world.inside("open", 1).await;
    let (leg, incoming) = ringing(&world).await;
    assert_eq!(incoming.invitation.request_user, CALLED);
    assert_eq!(incoming.invitation.from_user, crate::world::TOLL, "the caller ID is a toll number");
    world.until(|| async { world.leg(leg).await.state == "ringing" }).await;
    let called = incoming.answer().await.unwrap();
    called.say(tone(700));
    world.inside("open", 2).await;
    assert_eq!(hears(&a, &[500, 700]).await, [700]);
    assert_eq!(hears(&called, &[500, 700]).await, [500]);
    called.hang_up();
    assert_eq!(over(&world, leg).await, Cause::HungUp.slug());
    a.hang_up();
    let records = world.records().await;
    let out = records.iter().find(|record| record.destination.to_string() == CALLED).unwrap();
    assert_eq!(out.connection_fee.0, 50_000);
    assert!(out.charge.0 > out.connection_fee.0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_declined_and_cancelled_cost_nothing_and_are_told_in_words() {
    let world = World::start().await;
    for (status, cause) in [(486, Cause::Busy), (603, Cause::Declined), (404, Cause::UnknownNumber)] {
        let (leg, incoming) = ringing(&world).await;
        incoming.refuse(status);
        assert_eq!(over(&world, leg).await, cause.slug());
        assert_eq!(world.leg(leg).await.words.as_deref(), Some(cause.words()));
    }
    let (leg, incoming) = ringing(&world).await;
    world.until(|| async { world.leg(leg).await.state == "ringing" }).await;
    world.ask(Ask::Remove { leg }).await;
    assert_eq!(over(&world, leg).await, Cause::Cancelled.slug());
    assert!(incoming.cancelled(SOON).await);
    let records = world.records().await;
    assert_eq!(records.len(), 4);
    assert!(records.iter().all(|record| record.charge.0 == 0));
    assert_eq!(world.balance("acme").await.posted.0, 10_000_000);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_picks_up() {
    let world = World::with(crate::world::PEOPLE, |settings| settings.meeting.ring_s = 2).await;
    let (leg, incoming) = ringing(&world).await;
    assert!(incoming.cancelled(SOON).await);
    assert_eq!(over(&world, leg).await, Cause::NoAnswer.slug());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_dialled_is_refused_before_it_rings() {
    let world = World::start().await;
    for (meeting, to, cause) in [
        ("unlicensed", CALLED, Cause::NotLicensed),
        ("open", "+8812345678", Cause::NumberBlocked),
        ("nowhere", CALLED, Cause::UnknownMeeting),
    ] {
        let told = world.dial(meeting, to).await;
        assert!(matches!(told, Told::Refused(found) if found == cause), "{meeting} {to}: {told:?}");
    }
    world.end().await;
}
