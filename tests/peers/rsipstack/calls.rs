//! It calls in.

use super::asks::carrier;
use super::*;
use crate::digest::digest;
use crate::world::{DIRECT, TOLL, hears, tone};
use crate::{CREDITS, MACHINE};
use rsipstack::sip::Header::{Require, Supported};
use tollbridge::rating::UsageRecord;
use tollbridge::rating::record::EndedBy;
use tollbridge::types::Cause;

/// A cent for each second begun.
fn is_charged(record: &UsageRecord) {
    assert_eq!(record.charge.0, record.duration_ms.div_ceil(1_000) as i64 * 10_000, "{record:?}");
}

/// Proves who it is, is heard and hears, holds by INVITE and by UPDATE, mutes itself by keys, asks and says what it may and what it
/// may not, and hangs up; then the bridge hangs up on it.
async fn talks(transport: Transport, ip: [u8; 4]) {
    let _turn = MACHINE.read().await;
    let (world, folder) = bridge_over(transport).await;
    let stack = Stack::start(&world, transport, ip, folder.path()).await;
    // It reads no challenge for SHA-256: it wants that written SHA256, which RFC 8760 does not.
    stack.known(&world, &digest(&world, "calls")).await;
    let other = world.call("+390611111111", DIRECT).await;
    other.say(tone(HEARS_HZ));
    world.inside("open", 1).await;
    let mut names = Vec::new();
    for hangs_up in [EndedBy::FarSide, EndedBy::Bridge] {
        let mut call = stack.call(DIRECT, Vec::new()).await.unwrap();
        call.sound.say(tone(SAYS_HZ));
        world.inside("open", 2).await;
        let id = call.id();
        let seq = call.dialog.snapshot().local_cseq;
        let invites = [seq - 1, seq];
        let asked: Vec<String> =
            invites.iter().flat_map(|seq| [format!("INVITE {seq}"), format!("ACK {seq}")]).collect();
        assert_eq!(stack.words(Way::Sent, &id.call_id), asked, "asked for a password once");
        let heard: Vec<String> =
            stack.words(Way::Heard, &id.call_id).into_iter().filter(|word| !word.starts_with('1')).collect();
        assert_eq!(heard, [format!("401 INVITE {}", invites[0]), format!("200 INVITE {}", invites[1])]);
        let answer = &call.answer;
        assert_eq!(answer.to_header().unwrap().tag().unwrap().map(|tag| tag.to_string()), Some(id.remote_tag.clone()));
        let contact = answer.contact_header().unwrap().value().to_owned();
        // Whoever is called as `sips:` is so in what follows (RFC 3261 section 12.1.1).
        let by_it = match transport {
            Transport::Udp => contact.starts_with("<sip:"),
            Transport::Tcp => contact.contains(";transport=tcp"),
            Transport::Tls => contact.starts_with("<sips:"),
        };
        assert!(contact.ends_with(";isfocus") && by_it, "{contact}");

        assert_eq!(hears(&other, &[SAYS_HZ, HEARS_HZ]).await, [SAYS_HZ]);
        let heard = call.sound.listen(Duration::from_millis(300)).await;
        assert!(heard.tone(HEARS_HZ) > 1_500.0 && heard.tone(SAYS_HZ) < 100.0, "{}", heard.tone(HEARS_HZ));
        if hangs_up == EndedBy::FarSide {
            for method in [Method::Invite, Method::Update] {
                assert_eq!(call.change(method, Direction::SendOnly).await, Direction::SendOnly);
                assert_eq!(call.change(method, Direction::Inactive).await, Direction::Inactive);
                assert_eq!(hears(&other, &[SAYS_HZ]).await, [0; 0], "on hold it is heard by nobody");
                assert_eq!(call.change(method, Direction::SendRecv).await, Direction::SendRecv);
            }
            for is_muted in [true, false] {
                call.press("*6").await;
                world.until(|| async { world.legs().await.iter().any(|leg| leg.muted) == is_muted }).await;
            }
            for (method, status) in [
                (Method::Options, 200),
                (Method::Message, 405),
                (Method::Publish, 405),
                (Method::Refer, 400),
                (Method::Subscribe, 489),
            ] {
                let answer = soon(call.dialog.request(method, None, None)).await.unwrap().expect("an answer");
                assert_eq!(answer.status_code.code(), status, "{method}: {answer}");
            }
            assert_eq!(hears(&other, &[SAYS_HZ, HEARS_HZ]).await, [SAYS_HZ], "and it is still there");
            soon(call.dialog.bye()).await.unwrap();
            assert_eq!(call.ended().await, "UacBye");
        } else {
            removed(&world, leg_of(&world, NUMBER).await).await;
            assert_eq!(call.ended().await, "UasBye");
            let SipMessage::Request(bye) = stack.heard(&id.call_id, "BYE 1").await else { panic!("a request") };
            assert_eq!(
                bye.from_header().unwrap().tag().unwrap().map(|tag| tag.to_string()),
                Some(id.remote_tag.clone())
            );
            let reason = bye.reason_header().expect("it says why").value();
            assert!(reason.contains("Q.850") && reason.contains("cause=16"), "{reason}");
        }
        world.inside("open", 1).await;
        stack.layer.remove_dialog(&id);
        names.push(id.call_id);
    }
    other.hang_up();
    stack.keeps_nothing().await;
    let records = world.records().await;
    assert_eq!(records.len(), 3);
    for (name, cause, ended_by) in
        [(&names[0], Cause::HungUp, EndedBy::FarSide), (&names[1], Cause::Removed, EndedBy::Bridge)]
    {
        let record = records.iter().find(|record| record.call_id == *name).expect("by the Call-ID that it chose");
        assert_eq!((record.beyond.cause, record.beyond.ended_by), (cause, ended_by), "{record:?}");
        assert_eq!(record.caller.map(|caller| caller.to_string()).as_deref(), Some(NUMBER));
        assert!(record.charge.0 > 0);
        is_charged(record);
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_calls_in_by_udp() {
    talks(Transport::Udp, [127, 0, 0, 51]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_calls_in_by_tcp() {
    talks(Transport::Tcp, [127, 0, 0, 52]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_calls_in_by_tls() {
    talks(Transport::Tls, [127, 0, 0, 53]).await;
}

/// Each ringing that must not get lost is acknowledged by it, and then by the answer; who asks for nothing of that is rung as ever.
#[tokio::test(flavor = "multi_thread")]
async fn it_wants_ringing_to_be_reliable() {
    let _turn = MACHINE.read().await;
    let (world, folder) = bridge_over(Transport::Udp).await;
    let stack = Stack::start(&world, Transport::Udp, [127, 0, 0, 54], folder.path()).await;
    stack.known(&world, "").await;
    for (headers, is_reliable) in
        [(vec![Require("100rel".into())], true), (vec![Supported("100rel".into())], false), (Vec::new(), false)]
    {
        let mut call = stack.call(DIRECT, headers).await.unwrap();
        let id = call.id();
        let pracks =
            stack.messages(Way::Sent, &id.call_id).into_iter().filter(|message| word(message).starts_with("PRACK"));
        let named: Vec<u32> = pracks.filter_map(|message| message.rack_value().map(|(rseq, ..)| rseq)).collect();
        let rings = stack.messages(Way::Heard, &id.call_id);
        let promised: Vec<u32> = rings.iter().filter_map(|message| message.rseq_value()).collect();
        assert_eq!((named.as_slice(), named.is_empty()), (promised.as_slice(), !is_reliable), "{}", stack.story());
        soon(call.dialog.bye()).await.unwrap();
        assert_eq!(call.ended().await, "UacBye");
    }
    world.records().await.iter().for_each(is_charged);
    world.end().await;
}

/// Numbers and passwords that are none: what it is told, and that nothing is kept or paid.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_turned_away() {
    let _turn = MACHINE.read().await;
    let (world, folder) = bridge_over(Transport::Udp).await;
    let stack = Stack::start(&world, Transport::Udp, [127, 0, 0, 55], folder.path()).await;
    stack.known(&world, "").await;
    let stranger = Stack::start(&world, Transport::Udp, [127, 0, 0, 56], folder.path()).await;
    for (from, to, headers, status) in [
        (&stack, "+390655555555", Vec::new(), 404),
        (&stack, "112", Vec::new(), 403),
        (&stack, DIRECT, vec![Require("nothing-known".into())], 420),
        (&stranger, DIRECT, Vec::new(), 403),
    ] {
        let refused = from.call(to, headers).await.err().unwrap_or_else(|| panic!("{to} was answered"));
        assert_eq!(refused.status_code.code(), status, "{to}: {refused}");
        let id = DialogId::try_from((&refused, TransactionRole::Client)).unwrap();
        assert_eq!(from.words(Way::Sent, &id.call_id).last().map(|word| word.starts_with("ACK ")), Some(true));
    }
    stack.keeps_nothing().await;
    stranger.keeps_nothing().await;
    assert!(world.records().await.iter().all(|record| record.charge.0 == 0));
    let balance = world.balance("acme").await;
    assert_eq!((balance.posted.0, balance.held.0), (CREDITS, 0));
    world.end().await;
}

/// Callers who give up as soon as it rings: some are too late, and hear a 200 that they end with a BYE. Whatever it is, the record
/// says what they saw.
#[tokio::test(flavor = "multi_thread")]
async fn who_gives_up_while_it_is_answered_is_over_at_both_ends() {
    const CALLS: u64 = 40;
    let _turn = MACHINE.read().await;
    let (world, folder) = bridge_over(Transport::Udp).await;
    let stack = Stack::start(&world, Transport::Udp, [127, 0, 0, 57], folder.path()).await;
    stack.known(&world, "").await;
    let sound = Sound::start(stack.local.ip(), 1).await.unwrap();
    let (mut late, mut made) = (0_usize, 0_usize);
    for round in 0..ROUNDS {
        for number in 0..CALLS {
            let (tell, states) = stack.layer.new_dialog_state_channel();
            let invitation = stack.invitation(TOLL, &sound, Vec::new());
            let (dialog, answered) = stack.layer.do_invite_async(invitation, tell).unwrap();
            // Before it has heard anything (its CANCEL then waits for a 1xx), and later and later. Where none is too late, every
            // other one waits for longer in the next round; where all are, the others for less.
            let wait = if number % 2 == 0 { (number / 4) >> round } else { (number / 4) << round };
            tokio::time::sleep(Duration::from_millis(wait)).await;
            soon(dialog.hangup()).await.unwrap();
            let (id, answer) = soon(answered).await.unwrap().unwrap();
            let answer = answer.expect("a final answer");
            let mut states = states;
            soon(async { while !states.recv().await.expect("the dialog is there").is_terminated() {} }).await;
            match answer.status_code.code() {
                487 => {}
                200 => late += 1,
                other => panic!("{other}: {answer}"),
            }
            let acked = |word: &String| word.starts_with("ACK ");
            assert!(stack.words(Way::Sent, &id.call_id).iter().any(acked), "{}", stack.story());
            stack.layer.remove_dialog(&id);
            made += 1;
        }
        if (1..made).contains(&late) {
            break;
        }
    }
    assert!((1..made).contains(&late), "{late} of {made} were too late");
    let records = world.records().await;
    let answered = records.iter().filter(|record| record.beyond.stamps.answered.is_some()).count();
    assert_eq!(answered, late, "{records:#?}");
    assert_eq!(carrier(&world, "foreign").await.inbound.answers, late as u64, "a 200 counts that went out");
    assert!(records.iter().all(|record| record.charge.0 == 0), "nobody named a meeting: {records:#?}");
    let balance = world.balance("acme").await;
    assert_eq!((balance.posted.0, balance.held.0), (CREDITS, 0));
    stack.keeps_nothing().await;
    world.end().await;
}
