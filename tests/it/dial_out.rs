//! Dialling out.

use crate::world::{DIRECT, World, apply, hears, hears_said, tone};
use std::time::Duration;
use tollbridge::cli::phone::Exchange;
use tollbridge::clock;
use tollbridge::media::Direction;
use tollbridge::meeting::Prompt;
use tollbridge::rating::UsageRecord;
use tollbridge::sip::Transport;
use tollbridge::store::Document;
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

/// What whoever is called says of its sound by UPDATE, before it picks up, is what counts: here that it only listens.
#[tokio::test(flavor = "multi_thread")]
async fn a_telephone_may_change_its_sound_while_it_rings() {
    let world = World::start().await;
    let a = world.call("+390611111111", DIRECT).await;
    a.say(tone(500));
    world.inside("open", 1).await;
    for (direction, heard) in [(Direction::RecvOnly, &[500u32][..]), (Direction::SendOnly, &[])] {
        let (leg, incoming) = ringing(&world).await;
        let called = incoming.answer_changed(direction).await.unwrap();
        called.say(tone(700));
        world.inside("open", 2).await;
        assert_eq!(hears(&called, &[500, 700]).await, heard, "{direction:?}");
        called.hang_up();
        assert_eq!(over(&world, leg).await, Cause::HungUp.slug());
    }
    a.hang_up();
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

/// Whether anybody is there or not.
#[tokio::test(flavor = "multi_thread")]
async fn what_rings_ends_with_its_meeting() {
    let world = World::start().await;
    let end = async || world.ask(Ask::End { meeting: "open".parse().unwrap() }).await;
    for people in [0, 1] {
        let (leg, incoming) = ringing(&world).await;
        if people == 1 {
            world.call("+390611111111", DIRECT).await;
        }
        world.inside("open", people).await;
        assert!(matches!(end().await, Told::Done));
        assert!(incoming.cancelled(SOON).await);
        assert_eq!(over(&world, leg).await, Cause::MeetingEnded.slug());
        world.until(|| async { matches!(end().await, Told::Unknown(_)) }).await;
    }
    let charges: Vec<i64> = world.records().await.iter().map(|record| record.charge.0).collect();
    assert_eq!((charges.len(), charges.iter().filter(|charge| **charge == 0).count()), (3, 2), "{charges:?}");
    assert_eq!(world.balance("acme").await.held.0, 0);
    world.end().await;
}

/// Whoever has picked up, and is asked to press 1, hears that there is nothing to join any more.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_picked_up_is_told_that_the_meeting_has_ended() {
    let people = crate::world::PEOPLE.replace("lobby = false", "lobby = false\nconfirm_join = true");
    let world = World::with(&people, |_| {}).await;
    let (leg, incoming) = ringing(&world).await;
    let mut called = incoming.answer().await.unwrap();
    hears_said(&called, 0, Prompt::PressOneToJoin, "it").await;
    let mark = called.sound.mark();
    assert!(matches!(world.ask(Ask::End { meeting: "open".parse().unwrap() }).await, Told::Done));
    hears_said(&called, mark, Prompt::MeetingEnded, "it").await;
    assert!(called.ended(SOON).await.is_some());
    assert_eq!(over(&world, leg).await, Cause::MeetingEnded.slug());
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

/// A second carrier, asked where the first one, by name, does not take the call.
async fn spare(world: &World, more: &str) -> Exchange {
    let trunk = world.node.sip(Transport::Udp).unwrap();
    let spare = Exchange::start(([127, 0, 0, 11], 0).into(), trunk, 9).await.unwrap();
    let route = spare.local();
    let text = format!("[[carrier]]\nid = \"spare\"\nsources = [\"127.0.0.11\"]\nroute = \"udp:{route}\"\n{more}");
    apply(world.node.store(), &text).await;
    world
        .until(|| async { spare.call("+390600000000", "+390600000000").await.err().map(|e| e.status) == Some(404) })
        .await;
    spare
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_in_trouble_leads_to_the_next_and_the_call_is_charged_once() {
    let world = World::start().await;
    let spare = spare(&world, "").await;
    let (leg, incoming) = ringing(&world).await;
    incoming.refuse(503);
    let called = spare.incoming(SOON).await.expect("it rings by the other one").answer().await.unwrap();
    world.inside("open", 1).await;
    let view = world.leg(leg).await;
    assert_eq!((view.carrier.as_deref(), view.state.as_str()), (Some("spare"), "meeting"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    called.hang_up();
    assert_eq!(over(&world, leg).await, Cause::HungUp.slug());
    let records = world.records().await;
    assert_eq!(records.len(), 1);
    assert!(records[0].charge.0 > 50_000);
    assert_eq!(records[0].beyond.carrier.as_ref().map(|carrier| carrier.as_str()), Some("spare"));
    assert_eq!(world.balance("acme").await.posted.0, 10_000_000 - records[0].charge.0);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_rung_twice_and_what_all_carriers_refuse_costs_nothing() {
    let world = World::start().await;
    let spare = spare(&world, "").await;
    // Busy is busy by any carrier, and so is who does not want to speak.
    for (status, cause) in [(486, Cause::Busy), (603, Cause::Declined), (404, Cause::UnknownNumber)] {
        let (leg, incoming) = ringing(&world).await;
        incoming.refuse(status);
        assert_eq!(over(&world, leg).await, cause.slug());
    }
    assert!(spare.incoming(Duration::from_millis(300)).await.is_none());
    // Both are in trouble.
    let (leg, incoming) = ringing(&world).await;
    incoming.refuse(500);
    spare.incoming(SOON).await.expect("the other one is asked").refuse(503);
    assert_eq!(over(&world, leg).await, Cause::Unreachable.slug());
    // Cancelled while it rings by the second.
    let (leg, incoming) = ringing(&world).await;
    incoming.refuse(500);
    let second = spare.incoming(SOON).await.expect("the other one is asked");
    world.ask(Ask::Remove { leg }).await;
    assert!(second.cancelled(SOON).await);
    assert_eq!(over(&world, leg).await, Cause::Cancelled.slug());
    let records = world.records().await;
    assert!(records.iter().all(|record| record.charge.0 == 0), "{records:#?}");
    assert_eq!(world.balance("acme").await.posted.0, 10_000_000);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_carrier_is_passed_over_and_several_are_rung_at_once() {
    let world = World::start().await;
    let route = world.carrier.local();
    let line =
        format!("[[carrier]]\nid = \"line\"\nsources = [\"127.0.0.10\"]\nroute = \"udp:{route}\"\nmax_calls = 1\n");
    let spare = spare(&world, &line).await;
    let (_, first) = ringing(&world).await;
    let Told::Dialling(_) = world.dial("open", "+390688888888").await else { panic!("refused") };
    let second = spare.incoming(SOON).await.expect("the other one has room");
    let (first, second) = (first.answer().await.unwrap(), second.answer().await.unwrap());
    world.inside("open", 2).await;
    first.hang_up();
    second.hang_up();
    assert_eq!(world.records().await.len(), 2);
    world.end().await;
}

/// What a carrier takes for Italy, a minute.
async fn takes(world: &World, carrier: &str, rate: &str) {
    let csv = format!(
        "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from\n\
         dial-out,39,Italy,{rate},0,60,60,2020-01-01\n"
    );
    let text = format!("[[price_list]]\nname = \"cost:{carrier}\"\nrates = \"cost.csv\"\n");
    let document = Document::parse("costs.toml", &text, |_| Ok(csv.clone())).unwrap();
    world.node.store().apply(document, clock::wall()).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cheapest_carrier_is_tried_first_and_the_record_knows_what_it_takes() {
    let world = World::start().await;
    let spare = spare(&world, "").await;
    // By name the other one would be first; but this one has said what it takes.
    takes(&world, "spare", "0.0200").await;
    rings_first(&world, &spare, &world.carrier).await.1.refuse(486);
    takes(&world, "line", "0.0300").await;
    let (leg, incoming) = rings_first(&world, &spare, &world.carrier).await;
    incoming.refuse(503);
    let called = world.carrier.incoming(SOON).await.expect("then the dearer one").answer().await.unwrap();
    // A second begun: nothing is owed for nothing.
    world.until(|| async { world.leg(leg).await.elapsed_ms > 0 }).await;
    called.hang_up();
    assert_eq!(over(&world, leg).await, Cause::HungUp.slug());
    let records = world.records().await;
    let cost = |record: &UsageRecord| record.beyond.cost.as_ref().map(|cost| cost.amount.to_text());
    assert_eq!(cost(records.last().unwrap()).as_deref(), Some("0.0300"));
    assert!(records[..records.len() - 1].iter().all(|record| cost(record).is_none()), "what is refused costs nothing");
    takes(&world, "line", "0.0100").await;
    rings_first(&world, &world.carrier, &spare).await.1.refuse(486);
    world.end().await;
}

/// A call that `first` is asked to make: the switchboard may hear of a new list a moment after it counts, and then the
/// call goes to `other` once more.
async fn rings_first(world: &World, first: &Exchange, other: &Exchange) -> (LegId, tollbridge::cli::phone::Incoming) {
    for _ in 0..10 {
        let Told::Dialling(leg) = world.dial("open", CALLED).await else { panic!("refused") };
        tokio::select! {
            incoming = first.incoming(SOON) => return (leg, incoming.expect("it rings")),
            incoming = other.incoming(SOON) => incoming.expect("it rings").refuse(486),
        }
        over(world, leg).await;
    }
    panic!("never asked first")
}
