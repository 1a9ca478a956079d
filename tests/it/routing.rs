//! By which carrier a call goes out, in what words, and what becomes of it where one does not take it.

use crate::world::{DIRECT, PEOPLE, TOLL, World, apply};
use std::time::Duration;
use tollbridge::cli::phone::{Exchange, Incoming};
use tollbridge::media::Codec;
use tollbridge::sip::{Refusal, Transport};
use tollbridge::switchboard::ask::{Ask, CarrierView, Told};
use tollbridge::types::{Cause, LegId};

const SOON: Duration = Duration::from_secs(10);
const AT_ONCE: Duration = Duration::from_millis(300);
const CALLED: &str = "+390699999999";

/// A second carrier with these settings, beside the world's own (`line`).
async fn other(world: &World, settings: &str) -> Exchange {
    let trunk = world.node.sip(Transport::Udp).unwrap();
    let other = Exchange::start(([127, 0, 0, 12], 0).into(), trunk, 9).await.unwrap();
    set(world, &other, settings).await;
    let known = || async { other.call(TOLL, "+390600000009").await.err().map(|e| e.status) == Some(404) };
    world.until(known).await;
    other
}

async fn set(world: &World, other: &Exchange, settings: &str) {
    let route = other.local();
    let text = format!("[[carrier]]\nid = \"other\"\nsources = [\"127.0.0.12\"]\nroute = \"udp:{route}\"\n{settings}");
    apply(world.node.store(), &text).await;
}

async fn dialled(world: &World) -> LegId {
    let Told::Dialling(leg) = world.dial("open", CALLED).await else { panic!("refused") };
    leg
}

async fn rings(exchange: &Exchange) -> Incoming {
    exchange.incoming(SOON).await.expect("it rings")
}

async fn over(world: &World, leg: LegId) -> String {
    world.until(|| async { world.leg(leg).await.state == "over" }).await;
    world.leg(leg).await.cause.unwrap()
}

async fn carrier(world: &World, id: &str) -> CarrierView {
    let Told::Carriers(carriers) = world.ask(Ask::Carriers).await else { panic!("another answer") };
    carriers.into_iter().find(|view| view.id == id).unwrap()
}

fn later(status: u16, seconds: u32) -> Refusal {
    Refusal { retry_after_s: Some(seconds), ..Refusal::plain(status) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_says_later_is_left_alone_until_then_and_each_try_is_recorded() {
    let world = World::start().await;
    let other = other(&world, "priority = 200").await;
    let leg = dialled(&world).await;
    rings(&world.carrier).await.refuse_as(later(503, 120));
    rings(&other).await.refuse(486);
    assert_eq!(over(&world, leg).await, Cause::Busy.slug());
    let records = world.records().await;
    let tries: Vec<(&str, u16, Cause)> =
        records[0].beyond.tries.iter().map(|t| (t.carrier.as_str(), t.sip, t.cause)).collect();
    assert_eq!(tries, [("line", 503, Cause::Unreachable), ("other", 486, Cause::Busy)]);
    assert!(carrier(&world, "line").await.rests_until.is_some());
    // It is not asked again, though it would come first.
    let leg = dialled(&world).await;
    let called = rings(&other).await.answer().await.unwrap();
    world.inside("open", 1).await;
    assert!(world.carrier.incoming(AT_ONCE).await.is_none());
    assert_eq!(carrier(&world, "other").await.outbound.calls, 1);
    called.hang_up();
    assert_eq!(over(&world, leg).await, Cause::HungUp.slug());
    let counted = carrier(&world, "other").await.outbound;
    assert_eq!((counted.bids, counted.answers, counted.effective, counted.over, counted.calls), (2, 1, 2, 1, 0));
    assert_eq!(counted.codes, [("200".to_owned(), 1), ("486".to_owned(), 1)].into());
    assert_eq!((counted.asr_per_mille, counted.ner_per_mille), (Some(500), Some(1_000)));
    let line = carrier(&world, "line").await.outbound;
    assert_eq!((line.bids, line.answers, line.effective, line.codes["503"]), (1, 0, 0, 1));
    // Both are resting: there is nobody to ask, and nothing was charged for any of it.
    let leg = dialled(&world).await;
    rings(&other).await.refuse_as(later(503, 120));
    assert_eq!(over(&world, leg).await, Cause::Unreachable.slug());
    let told = world.dial("open", CALLED).await;
    assert!(matches!(told, Told::Refused(Cause::Overloaded)), "{told:?}");
    assert_eq!(world.records().await.iter().filter(|record| record.charge.0 > 0).count(), 1);
    world.end().await;
}

/// It does not say that it takes nothing: it says nothing at all, and timer B would be 32 seconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_is_not_there_is_soon_passed_over() {
    let world = World::with(PEOPLE, |settings| settings.sip.trying_s = 1).await;
    let silent = std::net::UdpSocket::bind("127.0.0.13:0").unwrap();
    let route = silent.local_addr().unwrap();
    let text =
        format!("[[carrier]]\nid = \"silent\"\nsources = [\"127.0.0.13\"]\nroute = \"udp:{route}\"\npriority = 1\n");
    apply(world.node.store(), &text).await;
    let known = || async {
        let Told::Carriers(carriers) = world.ask(Ask::Carriers).await else { panic!("another answer") };
        carriers.iter().any(|view| view.id == "silent")
    };
    world.until(known).await;
    let leg = dialled(&world).await;
    rings(&world.carrier).await.refuse(486);
    assert_eq!(over(&world, leg).await, Cause::Busy.slug());
    let records = world.records().await;
    let tries: Vec<_> = records[0].beyond.tries.iter().map(|t| (t.carrier.as_str(), t.sip)).collect();
    assert_eq!(tries, [("silent", 408), ("line", 486)]);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_is_asked_in_its_turn_and_in_its_own_words() {
    let world = World::start().await;
    let settings = "priority = 1\nnumber_format = \"prefix:9981#\"\ndomain = \"trunk.example\"\n\
                    answer_map = { 403 = \"limit-reached/next\", 488 = \"no-answer/end\" }\n";
    let other = other(&world, settings).await;
    let leg = dialled(&world).await;
    let incoming = rings(&other).await;
    assert_eq!(incoming.invitation.request_user, "9981#390699999999");
    assert_eq!(incoming.invitation.from_user, TOLL.trim_start_matches('+'), "a tech prefix is not of the caller");
    // By its own map 403 is a limit of its, and 488 the end.
    incoming.refuse(403);
    let incoming = rings(&world.carrier).await;
    assert_eq!(incoming.invitation.request_user, CALLED);
    incoming.refuse(486);
    assert_eq!(over(&world, leg).await, Cause::Busy.slug());
    let leg = dialled(&world).await;
    rings(&other).await.refuse(488);
    assert_eq!(over(&world, leg).await, Cause::NoAnswer.slug());
    assert!(world.carrier.incoming(AT_ONCE).await.is_none());
    // What it does not take it is not asked for.
    set(&world, &other, "priority = 1\nprefixes = [\"39\", \"!3906\"]\n").await;
    world.until(|| async { carrier_takes_nothing(&world, &other).await }).await;
    world.end().await;
}

/// Whether the call goes straight to the world's own carrier: the switchboard hears of new settings a moment after.
async fn carrier_takes_nothing(world: &World, other: &Exchange) -> bool {
    let leg = dialled(world).await;
    let by_line = tokio::select! {
        incoming = world.carrier.incoming(SOON) => { incoming.expect("it rings").refuse(486); true }
        incoming = other.incoming(SOON) => { incoming.expect("it rings").refuse(486); false }
    };
    over(world, leg).await;
    by_line
}

/// The caller offers µ-law first, the carrier's settings name A-law first: RFC 3264 lets the offer decide, and a quirk us.
#[tokio::test(flavor = "multi_thread")]
async fn whose_order_of_codecs_decides_is_a_carriers_setting() {
    let world = World::start().await;
    let trunk = world.node.sip(Transport::Udp).unwrap();
    let spoken = [Codec::Pcmu, Codec::Pcma];
    let other = Exchange::over(Transport::Udp, ([127, 0, 0, 12], 0).into(), trunk, &spoken, 9).await.unwrap();
    for (quirks, codec) in [("", "PCMU"), ("\"our-order\"", "PCMA")] {
        set(&world, &other, &format!("codecs = [\"PCMA\", \"PCMU\"]\nquirks = [{quirks}]\n")).await;
        let mut heard = None;
        for _ in 0..10 {
            // The switchboard hears of new settings a moment after.
            if let Ok(phone) = other.call(TOLL, DIRECT).await {
                world.inside("open", 1).await;
                phone.hang_up();
                heard = world.records().await.pop().unwrap().beyond.codec;
            }
            if heard.as_deref() == Some(codec) {
                break;
            }
            tokio::time::sleep(AT_ONCE).await;
        }
        assert_eq!(heard.as_deref(), Some(codec), "{quirks}");
    }
    world.end().await;
}
