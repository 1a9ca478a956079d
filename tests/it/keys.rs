//! What keys bring about, heard and paid for.

use crate::world::{DIRECT, PEOPLE, TOLL, TOLL_FREE, World, hears, hears_said, keypad, led, listen, tone};
use std::time::Duration;
use tollbridge::cli::sound::Voice;
use tollbridge::meeting::Prompt;
use tollbridge::types::Cause;

const SOON: Duration = Duration::from_secs(10);
const CALLED: &str = "+390699999999";

/// Keys as tones, each 100 ms with 100 ms behind it, and then a long silence.
fn tones(keys: &str) -> Voice {
    let mut samples = keypad(keys, 100, 100);
    // Not from an array: a minute of it is too much for a stack.
    samples.resize(samples.len() + 8_000 * 60, 0);
    Voice::Recording(samples.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whose_keys_are_tones_alone_finds_the_meeting_and_nobody_hears_them() {
    let world = World::start().await;
    let anna = world.call("+390622222222", TOLL).await;
    anna.say(tones("1000002"));
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    anna.say(tones("*"));
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    anna.say(tones("4711#"));
    world.inside("led", 1).await;
    let legs = world.legs().await;
    assert_eq!(legs[0].role.as_deref(), Some("organiser"), "{legs:#?}");
    let guido = world.call("+390611111111", TOLL).await;
    guido.press("1000002").await;
    world.inside("led", 2).await;
    // Anna mutes herself by tones: what is left of them for Guido is no key any more.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mark = guido.sound.mark();
    anna.say(tones("*6"));
    world.until(|| async { world.legs().await.iter().any(|leg| leg.muted) }).await;
    let heard = guido.sound.heard_since(mark);
    assert!(heard.tone(941) < 100.0 && heard.tone(770) < 100.0, "{} {}", heard.tone(941), heard.tone(770));
    for phone in [&anna, &guido] {
        phone.hang_up();
    }
    world.end().await;
}

async fn keypad_calls() -> World {
    // Rich enough that no warning is spoken over what is listened for.
    let rich = PEOPLE.replace("credits = \"10.00\"", "credits = \"100.00\"");
    World::with(&rich, |settings| settings.meeting.keypad_calls = true).await
}

/// The ringing tone of the prompts.
const RINGING_HZ: u32 = 425;

#[tokio::test(flavor = "multi_thread")]
async fn the_organiser_rings_somebody_by_keys_hears_it_ring_and_the_called_one_is_paid_for() {
    let world = keypad_calls().await;
    let (anna, guido) = led(&world).await;
    let mark = anna.sound.mark();
    anna.press("*81").await;
    hears_said(&anna, mark, Prompt::EnterNumber, "it").await;
    guido.say(tone(1_000));
    anna.press("00390699999999#").await;
    let incoming = world.carrier.incoming(SOON).await.expect("it rings");
    assert_eq!((incoming.invitation.request_user.as_str(), incoming.invitation.from_user.as_str()), (CALLED, TOLL));
    let mut rang = false;
    for _ in 0..6 {
        rang |= listen(&anna).await.tone(RINGING_HZ) > 2_000.0;
    }
    assert!(rang, "she hears it ring");
    assert!(listen(&anna).await.tone(1_000) > 1_200.0, "the others are heard under it, at a quarter of their strength");
    let called = incoming.answer().await.unwrap();
    called.say(tone(1_500));
    world.inside("led", 3).await;
    assert_eq!(hears(&guido, &[1_000, 1_500]).await, [1_500]);
    assert_eq!(hears(&anna, &[RINGING_HZ]).await.len(), 0, "no more");
    for phone in [&called, &guido, &anna] {
        phone.hang_up();
    }
    let records = world.records().await;
    let out = records.iter().find(|record| record.destination.to_string() == CALLED).unwrap();
    assert!(out.charge.0 > out.connection_fee.0 && out.connection_fee.0 == 50_000, "by the deck, as every call out");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_by_keys_that_come_to_nothing_are_told_in_words_and_cost_nothing() {
    let world = keypad_calls().await;
    let (anna, guido) = led(&world).await;
    let dial = async |keys: &str, prompt| {
        let mark = anna.sound.mark();
        anna.press(keys).await;
        hears_said(&anna, mark, prompt, "it").await;
    };
    dial("*81008812345678#", Prompt::CallNotAllowed).await;
    // No number at all; then star takes it back.
    dial("*81123#", Prompt::InvalidId).await;
    dial("*", Prompt::CallCancelled).await;

    let mark = anna.sound.mark();
    anna.press("*8100390699999999#").await;
    world.carrier.incoming(SOON).await.expect("it rings").refuse(486);
    hears_said(&anna, mark, Prompt::CallBusy, "it").await;

    let mark = anna.sound.mark();
    anna.press("*8100390699999999#").await;
    let incoming = world.carrier.incoming(SOON).await.expect("it rings");
    anna.press("*80").await;
    assert!(incoming.cancelled(SOON).await);
    hears_said(&anna, mark, Prompt::CallCancelled, "it").await;

    // Guido is no organiser; and when Anna goes, nobody waits for what she had rung.
    let mark = guido.sound.mark();
    guido.press("*81").await;
    hears_said(&guido, mark, Prompt::NotAllowed, "it").await;
    anna.press("*8100390699999999#").await;
    let incoming = world.carrier.incoming(SOON).await.expect("it rings");
    anna.hang_up();
    assert!(incoming.cancelled(SOON).await);
    guido.hang_up();
    let records = world.records().await;
    let out: Vec<_> = records.iter().filter(|record| record.destination.to_string() == CALLED).collect();
    assert_eq!(out.len(), 3);
    assert!(out.iter().all(|record| record.charge.0 == 0), "{out:#?}");
    world.end().await;
}

/// What the far side plays before it picks up is heard by whoever had it rung, in place of our ringing tone, and by nobody else;
/// nothing that is said in the room goes there; and it costs nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_is_heard_by_whoever_had_it_rung_alone() {
    let world = keypad_calls().await;
    let (anna, guido) = led(&world).await;
    guido.say(tone(1_000));
    for picks_up in [false, true] {
        let mark = anna.sound.mark();
        anna.press("*8100390699999999#").await;
        let early = world.carrier.incoming(SOON).await.expect("it rings").announce().await.unwrap();
        early.phone.say(tone(1_500));
        world.until(|| async { hears(&anna, &[1_500, RINGING_HZ]).await == [1_500] }).await;
        assert_eq!(hears(&guido, &[1_500, RINGING_HZ]).await, [0; 0]);
        assert_eq!(early.phone.sound.packets().0, 0, "nobody talks to them before they are paid");
        if picks_up {
            let called = early.answer();
            world.inside("led", 3).await;
            assert_eq!(hears(&guido, &[1_500]).await, [1_500]);
            assert_eq!(hears(&called, &[1_000]).await, [1_000]);
            assert_eq!(hears(&anna, &[1_000, 1_500, RINGING_HZ]).await, [1_000, 1_500]);
            called.hang_up();
            world.inside("led", 2).await;
        } else {
            early.refuse(486);
            hears_said(&anna, mark, Prompt::CallBusy, "it").await;
            assert_eq!(hears(&anna, &[1_500, RINGING_HZ]).await, [0; 0]);
        }
    }
    anna.hang_up();
    guido.hang_up();
    let records = world.records().await;
    let charges = |answered| {
        let out = records.iter().filter(move |record| record.destination.to_string() == CALLED);
        out.filter(|record| (record.duration_ms > 0) == answered).map(|record| record.charge.0).collect::<Vec<_>>()
    };
    assert_eq!(charges(false), [0]);
    assert!(charges(true).len() == 1 && charges(true)[0] > 0);
    world.end().await;
}

/// Whoever ends the meeting hears that it has ended, and nothing of what was rung.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_rung_by_keys_ends_with_the_meeting() {
    let world = keypad_calls().await;
    let (mut anna, mut guido) = led(&world).await;
    anna.press("*8100390699999999#").await;
    let incoming = world.carrier.incoming(SOON).await.expect("it rings");
    let mark = anna.sound.mark();
    anna.press("##").await;
    hears_said(&anna, mark, Prompt::MeetingEnded, "it").await;
    assert!(incoming.cancelled(SOON).await);
    for phone in [&mut anna, &mut guido] {
        assert!(phone.ended(SOON).await.is_some());
    }
    let records = world.records().await;
    assert!(records.len() == 3 && records.iter().all(|record| record.beyond.cause == Cause::MeetingEnded));
    assert_eq!(records.iter().filter(|record| record.charge.0 == 0).count(), 1, "whoever did not pick up");
    world.end().await;
}

/// Whoever is heard before they pick up may go on elsewhere (UPDATE).
#[tokio::test(flavor = "multi_thread")]
async fn an_announcement_that_moves_is_heard_from_where_it_has_gone() {
    let world = keypad_calls().await;
    let (anna, guido) = led(&world).await;
    anna.press("*8100390699999999#").await;
    let mut early = world.carrier.incoming(SOON).await.expect("it rings").announce().await.unwrap();
    early.phone.say(tone(1_500));
    world.until(|| async { hears(&anna, &[700, 1_500, RINGING_HZ]).await == [1_500] }).await;
    early.phone.move_to([127, 0, 0, 1].into()).await.unwrap();
    early.phone.say(tone(700));
    world.until(|| async { hears(&anna, &[700, 1_500, RINGING_HZ]).await == [700] }).await;
    assert_eq!(early.phone.sound.packets().0, 0, "nobody talks to them before they are paid");
    early.refuse(486);
    for phone in [&anna, &guido] {
        phone.hang_up();
    }
    assert_eq!(world.records().await.len(), 3);
    world.end().await;
}

/// Several telephones may ring there, each with a sound of its own.
#[tokio::test(flavor = "multi_thread")]
async fn of_several_announcements_the_first_that_speaks_is_heard_and_then_whoever_picks_up() {
    let world = keypad_calls().await;
    let (anna, guido) = led(&world).await;
    anna.press("*8100390699999999#").await;
    let early = world.carrier.incoming(SOON).await.expect("it rings").announce().await.unwrap();
    let other = early.elsewhere().await.unwrap();
    other.say(tone(1_500));
    world.until(|| async { hears(&anna, &[1_500, RINGING_HZ]).await == [1_500] }).await;
    early.phone.say(tone(700));
    let third = early.elsewhere().await.unwrap();
    third.say(tone(2_100));
    assert_eq!(hears(&anna, &[700, 1_500, 2_100]).await, [1_500]);
    let called = early.answer();
    world.inside("led", 3).await;
    for phone in [&anna, &guido] {
        assert_eq!(hears(phone, &[700, 1_500, 2_100]).await, [700]);
    }
    for phone in [&called, &anna, &guido] {
        phone.hang_up();
    }
    assert_eq!(world.records().await.len(), 3);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_keys_ring_nobody_and_record_nothing() {
    let world = World::start().await;
    let (anna, guido) = led(&world).await;
    for (keys, prompt) in [
        ("*81", Prompt::KeypadCallsOff),
        ("*2", Prompt::NoRecording),
        ("*0", Prompt::NoOperator),
        ("*1", Prompt::KeysHelp),
        ("*3", Prompt::NumberEndingIn),
    ] {
        let mark = anna.sound.mark();
        anna.press(keys).await;
        hears_said(&anna, mark, prompt, "it").await;
    }
    anna.hang_up();
    guido.hang_up();
    assert_eq!(world.records().await.len(), 2);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_key_rings_the_operator_once() {
    let world = World::with(PEOPLE, |settings| settings.meeting.operator = Some(CALLED.parse().unwrap())).await;
    let a = world.call("+390611111111", DIRECT).await;
    world.inside("open", 1).await;
    let mark = a.sound.mark();
    a.press("*0").await;
    let incoming = world.carrier.incoming(SOON).await.expect("it rings");
    assert_eq!(incoming.invitation.request_user, CALLED);
    hears_said(&a, mark, Prompt::OperatorCalled, "en").await;
    a.press("*0").await;
    let operator = incoming.answer().await.unwrap();
    operator.say(tone(700));
    world.inside("open", 2).await;
    // Both words that the operator is called are over, and the room is as loud as ever.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(hears(&a, &[700]).await, [700]);
    assert!(world.carrier.incoming(Duration::from_millis(500)).await.is_none(), "not twice");
    operator.hang_up();
    a.hang_up();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_number_with_keys_of_its_own_and_comings_told_by_number() {
    let keys = "[[keys]]\nnumbers = [\"+390612345678\"]\ncodes = { \"0\" = \"mute-self\", \"#\" = \"end\" }\n\
                [meeting]\nannounce = \"number\"\n";
    let world = World::with(PEOPLE, |settings| assert_eq!(settings.overlay("keys.toml", keys), [])).await;
    let (mut anna, mut guido) = led(&world).await;
    let mark = guido.sound.mark();
    hears_said(&guido, mark.saturating_sub(24_000), Prompt::HasJoined, "it").await;
    guido.press("0").await;
    world.until(|| async { world.legs().await.iter().any(|leg| leg.muted) }).await;
    anna.press("#").await;
    for phone in [&mut anna, &mut guido] {
        let ended = phone.ended(SOON).await.expect("the meeting ends for all");
        assert_eq!(ended.reason.unwrap().text, Cause::MeetingEnded.words());
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_meeting_without_its_organiser_ends_after_a_while() {
    let world = World::with(PEOPLE, |settings| settings.meeting.organiser_gone_s = Some(6)).await;
    let (anna, mut guido) = led(&world).await;
    let mark = guido.sound.mark();
    anna.hang_up();
    hears_said(&guido, mark, Prompt::OrganiserLeft, "it").await;
    let ended = guido.ended(Duration::from_secs(15)).await.expect("the meeting ends");
    assert_eq!(ended.reason.unwrap().text, Cause::MeetingEnded.words());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_toll_free_number_refuses_is_read_a_toll_number_and_pays_nothing() {
    let people = PEOPLE.replacen("pin = \"4711\"", "pin = \"4711\"\ntoll_free = false", 1);
    let world = World::with(&people, |_| {}).await;
    let mut phone = world.call("+390611111111", TOLL_FREE).await;
    phone.press("1000001").await;
    let mark = phone.sound.mark();
    hears_said(&phone, mark, Prompt::RefusedTollFree, "en").await;
    hears_said(&phone, mark, Prompt::TollNumberInstead, "en").await;
    hears_said(&phone, mark, Prompt::Number(9), "en").await;
    let ended = phone.ended(Duration::from_secs(40)).await.expect("then hung up");
    assert_eq!(ended.reason.unwrap().text, Cause::TollFreeNotAllowed.words());
    assert_eq!(world.records().await[0].charge.0, 0);
    world.end().await;
}
