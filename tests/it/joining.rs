//! Dialling in, meeting, leaving.

use crate::world::{DIRECT, DIRECT_UNLICENSED, TOLL, TOLL_FREE, World, hears, listen, tone};
use std::time::Duration;
use tollbridge::switchboard::ask::Ask;
use tollbridge::types::Cause;

const SOON: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread")]
async fn toll_and_toll_free_callers_meet_and_hear_each_other_but_not_themselves() {
    let world = World::start().await;
    let mut a = world.call_in("+390611111111", TOLL, "1000001", 500).await;
    let mut b = world.call_in("+390622222222", TOLL_FREE, "1000001#", 700).await;
    let mut c = world.call("+390633333333", DIRECT).await;
    c.say(tone(1_100));
    world.inside("open", 3).await;
    let all = [500, 700, 1_100];
    assert_eq!(hears(&a, &all).await, [700, 1_100]);
    assert_eq!(hears(&b, &all).await, [500, 1_100]);
    assert_eq!(hears(&c, &all).await, [500, 700]);
    for phone in [&mut a, &mut b, &mut c] {
        phone.hang_up();
        assert!(phone.released(SOON).await);
    }
    let records = world.records().await;
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record.beyond.cause == Cause::HungUp && record.charge.0 > 0));
    let charged: i64 = records.iter().map(|record| record.charge.0).sum();
    assert_eq!(world.balance("acme").await.posted.0, 10_000_000 - charged);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_organiser_begins_by_pin_and_ends_it_for_all() {
    let world = World::start().await;
    let mut guest = world.call_in("+390611111111", TOLL, "1000002", 500).await;
    // The guest does not press star: after the question comes music.
    let anna = world.call("+390622222222", TOLL).await;
    anna.press("1000002").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    anna.press("*").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    anna.press("9999#").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    anna.press("4711#").await;
    anna.say(tone(700));
    world.inside("led", 2).await;
    assert_eq!(hears(&guest, &[500, 700]).await, [700]);
    assert_eq!(hears(&anna, &[500, 700]).await, [500]);

    guest.press("##").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.inside("led", 2).await;
    anna.press("##").await;
    let ended = guest.ended(SOON).await.expect("the meeting ends for all");
    assert_eq!(ended.reason.unwrap().text, Cause::MeetingEnded.words());
    let records = world.records().await;
    assert!(records.iter().all(|record| record.beyond.cause == Cause::MeetingEnded), "{records:#?}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_wrong_ids_end_a_call_that_nobody_pays() {
    let world = World::start().await;
    let mut phone = world.call("+390611111111", TOLL).await;
    for _ in 0..3 {
        phone.press("7777777").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let ended = phone.ended(SOON).await.expect("let go");
    assert_eq!(ended.reason.unwrap().text, Cause::TooManyTries.words());
    let records = world.records().await;
    assert_eq!((records[0].charge.0, records[0].beyond.organisation.clone()), (0, None));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_licence_is_refused_before_the_answer_or_told_why_after_it() {
    let world = World::start().await;
    let refused = world.refused("+390611111111", DIRECT_UNLICENSED).await;
    assert_eq!(refused.status, 403);
    assert_eq!(refused.reason.unwrap().text, Cause::NotLicensed.words());
    let mut phone = world.call_in("+390611111111", TOLL, "1000004", 500).await;
    let ended = phone.ended(SOON).await.expect("told, then hung up");
    assert_eq!(ended.reason.unwrap().text, Cause::NotLicensed.words());
    let records = world.records().await;
    assert!(records.iter().all(|record| record.charge.0 == 0));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lobby_holds_callers_until_they_are_admitted() {
    let world = World::start().await;
    let guest = world.call_in("+390611111111", TOLL, "1000003", 500).await;
    let anna = world.call("+390622222222", TOLL).await;
    anna.press("1000003").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    anna.press("*").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    anna.press("4711#").await;
    anna.say(tone(700));
    world.inside("guarded", 1).await;
    world.until(|| async { world.meetings().await[0].waiting == 1 }).await;
    let music = listen(&guest).await;
    assert!(music.level() > 100.0 && music.tone(700) < 800.0, "music, and not the meeting");
    anna.press("*8").await;
    world.inside("guarded", 2).await;
    // First he is told that he may come in.
    world.until(|| async { hears(&guest, &[500, 700]).await == [700] }).await;
    guest.hang_up();
    anna.hang_up();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn muted_locked_full_and_removed() {
    let world = World::start().await;
    let a = world.call_in("+390611111111", TOLL, "1000005", 500).await;
    let mut b = world.call_in("+390622222222", TOLL, "1000005", 700).await;
    world.inside("small", 2).await;
    let mut third = world.call_in("+390633333333", TOLL, "1000005", 900).await;
    let full = third.ended(SOON).await.expect("full");
    assert_eq!(full.reason.unwrap().text, Cause::MeetingFull.words());

    a.press("*6").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(hears(&b, &[500]).await, [0u32; 0]);
    a.press("*6").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(hears(&b, &[500]).await, [500]);

    let meeting = "small".parse().unwrap();
    world.ask(Ask::Lock { meeting, on: true }).await;
    let views = world.legs().await;
    let of_b = views.iter().find(|view| view.caller.as_deref() == Some("+390622222222")).unwrap();
    world.ask(Ask::Remove { leg: of_b.id.parse().unwrap() }).await;
    let removed = b.ended(SOON).await.expect("removed");
    assert_eq!(removed.reason.unwrap().text, Cause::Removed.words());
    let mut late = world.call_in("+390644444444", TOLL, "1000005", 900).await;
    let locked = late.ended(SOON).await.expect("locked");
    assert_eq!(locked.reason.unwrap().text, Cause::MeetingLocked.words());
    a.hang_up();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hold_takes_the_sound_and_resume_brings_it_back() {
    let world = World::start().await;
    let mut a = world.call("+390611111111", DIRECT).await;
    let b = world.call("+390622222222", DIRECT).await;
    a.say(tone(500));
    b.say(tone(700));
    world.inside("open", 2).await;
    assert_eq!(hears(&b, &[500]).await, [500]);
    a.hold(true).await.unwrap();
    assert_eq!(hears(&b, &[500]).await, [0u32; 0], "music on hold does not flood the room");
    a.hold(false).await.unwrap();
    assert_eq!(hears(&b, &[500]).await, [500]);
    assert_eq!(hears(&a, &[700]).await, [700]);
    a.hang_up();
    b.hang_up();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_goes_dead_is_ended_and_charged_to_its_last_packet() {
    let world = World::with(crate::world::PEOPLE, |settings| settings.media.silence_s = 3).await;
    let mut phone = world.call("+390611111111", DIRECT).await;
    phone.say(tone(500));
    tokio::time::sleep(Duration::from_secs(2)).await;
    phone.sound.set_open(false);
    let ended = phone.ended(SOON).await.expect("ended");
    assert_eq!(ended.reason.unwrap().text, Cause::MediaLost.words());
    let records = world.records().await;
    assert_eq!(records[0].beyond.cause, Cause::MediaLost);
    let talked = records[0].duration_ms;
    assert!((1_500..3_200).contains(&talked), "{talked} ms: to the last packet, not to the end of patience");
    world.end().await;
}
