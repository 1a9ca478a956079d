//! The bridge calls it.

use super::*;
use crate::world::{DIRECT, hears, tone};
use crate::{CREDITS, MACHINE};
use rsipstack::sip::Header::{RSeq, Require};
use tollbridge::rating::UsageRecord;
use tollbridge::types::Cause;

/// Five cents for the connection, and three for each second begun; nothing for what was never up, or no time at all.
fn is_charged(record: &UsageRecord) {
    let fee = if record.duration_ms > 0 { 50_000 } else { 0 };
    assert_eq!(record.charge.0, fee + record.duration_ms.div_ceil(1_000) as i64 * 30_000, "{record:?}");
}

fn out(records: &[UsageRecord]) -> impl Iterator<Item = &UsageRecord> {
    records.iter().filter(|record| record.destination.to_string() == CALLED)
}

async fn is_in_state(world: &World, leg: LegId, state: &str) {
    world.until(|| async { world.leg(leg).await.state == state }).await;
}

/// Rings, is heard before it picks up, picks up, holds, resumes, and hangs up or is hung up on.
async fn picks_up(transport: Transport, ip: [u8; 4]) {
    let _turn = MACHINE.read().await;
    let (world, folder) = bridge_over(transport).await;
    let mut stack = Stack::start(&world, transport, ip, folder.path()).await;
    stack.known(&world, "").await;
    let other = world.call("+390611111111", DIRECT).await;
    other.say(tone(HEARS_HZ));
    world.inside("open", 1).await;
    for hangs_up in [true, false] {
        let leg = dialled(&world).await;
        let mut call = stack.rung().await;
        let id = call.id();
        let invite = call.dialog.initial_request();
        assert_eq!(invite.uri.user(), Some(CALLED), "{invite}");
        call.dialog.ringing(None, None).unwrap();
        is_in_state(&world, leg, "ringing").await;
        // A 183 with a description is what its `ringing` makes of one.
        call.dialog.ringing(Some(described()), Some(call.described())).unwrap();
        call.sound.say(tone(SAYS_HZ));
        call.accept().await;
        world.inside("open", 2).await;
        let ack = call.dialog.last_remote_ack().expect("acknowledged");
        assert_eq!(ack.cseq_header().unwrap().seq().unwrap(), invite.cseq_header().unwrap().seq().unwrap());
        assert_eq!(ack.to_header().unwrap().tag().unwrap().map(|tag| tag.to_string()), Some(id.local_tag.clone()));
        // It says 100 where its owner was not faster.
        let mut said = stack.words(Way::Sent, &id.call_id);
        said.retain(|word| !word.starts_with("100 "));
        assert_eq!(said, ["180 INVITE 1", "183 INVITE 1", "200 INVITE 1"], "each once");

        assert_eq!(hears(&other, &[SAYS_HZ, HEARS_HZ]).await, [SAYS_HZ]);
        let heard = call.sound.listen(Duration::from_millis(300)).await;
        assert!(heard.tone(HEARS_HZ) > 1_500.0 && heard.tone(SAYS_HZ) < 100.0, "{}", heard.tone(HEARS_HZ));
        if hangs_up {
            assert_eq!(call.change(Method::Invite, Direction::SendOnly).await, Direction::SendOnly);
            assert_eq!(call.change(Method::Update, Direction::SendRecv).await, Direction::SendRecv);
            soon(call.dialog.bye()).await.unwrap();
            assert_eq!(call.ended().await, "UasBye");
        } else {
            removed(&world, leg).await;
            assert_eq!(call.ended().await, "UacBye");
        }
        is_in_state(&world, leg, "over").await;
        stack.layer.remove_dialog(&id);
    }
    other.hang_up();
    stack.keeps_nothing().await;
    let records = world.records().await;
    let mut causes: Vec<Cause> = out(&records).map(|record| record.beyond.cause).collect();
    causes.sort_unstable();
    assert_eq!(causes, [Cause::HungUp, Cause::Removed]);
    out(&records).for_each(is_charged);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_rung_by_udp() {
    picks_up(Transport::Udp, [127, 0, 0, 61]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_rung_by_tcp() {
    picks_up(Transport::Tcp, [127, 0, 0, 62]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_rung_by_tls() {
    picks_up(Transport::Tls, [127, 0, 0, 63]).await;
}

/// It wants to know that each of its ringings was heard (its owner writes the numbers), and its 200 says nothing about sound any
/// more.
#[tokio::test(flavor = "multi_thread")]
async fn its_ringing_is_acknowledged() {
    let _turn = MACHINE.read().await;
    let (world, folder) = bridge_over(Transport::Udp).await;
    let mut stack = Stack::start(&world, Transport::Udp, [127, 0, 0, 64], folder.path()).await;
    stack.known(&world, "").await;
    dialled(&world).await;
    let mut call = stack.rung().await;
    let id = call.id();
    let promise = |rseq: u32| vec![Require("100rel".into()), RSeq(rseq.to_string().into())];
    call.dialog.ringing(Some(promise(7)), None).unwrap();
    let first = stack.heard(&id.call_id, "PRACK 2").await;
    call.dialog.ringing(Some([promise(8), described()].concat()), Some(call.described())).unwrap();
    let second = stack.heard(&id.call_id, "PRACK 3").await;
    assert_eq!([first, second].map(|prack| prack.rack_value()), [7, 8].map(|rseq| Some((rseq, 1, Method::Invite))));
    call.dialog.accept(None, None).unwrap();
    call.until(|state| state.is_confirmed().then_some(())).await;
    world.inside("open", 1).await;
    removed(&world, leg_of(&world, CALLED).await).await;
    assert_eq!(call.ended().await, "UacBye");
    assert!(stack.heard(&id.call_id, "BYE 4").await.is_request(), "numbered on");
    let records = world.records().await;
    assert_eq!(records.len(), 1);
    is_charged(&records[0]);
    world.end().await;
}

/// What it says by each answer, and whether the next carrier is asked then.
#[tokio::test(flavor = "multi_thread")]
async fn it_refuses_and_the_next_carrier_is_asked_where_that_may_help() {
    let _turn = MACHINE.read().await;
    let (world, folder) = bridge_over(Transport::Udp).await;
    let mut stack = Stack::start(&world, Transport::Udp, [127, 0, 0, 65], folder.path()).await;
    stack.known(&world, "").await;
    let rows: [(u16, Option<&str>, Cause, bool); 12] = [
        (302, None, Cause::CarrierRefused, false),
        (403, None, Cause::CarrierRefused, false),
        (404, None, Cause::UnknownNumber, false),
        (480, None, Cause::NoAnswer, false),
        (486, None, Cause::Busy, false),
        (488, None, Cause::NoCodec, false),
        (500, None, Cause::CarrierRefused, true),
        (502, None, Cause::Unreachable, true),
        (503, None, Cause::Unreachable, true),
        (503, Some("Q.850;cause=17;text=\"user busy\""), Cause::Busy, false),
        (603, None, Cause::Declined, false),
        (604, None, Cause::UnknownNumber, false),
    ];
    for (status, reason, cause, leads_on) in rows {
        let leg = dialled(&world).await;
        let mut call = stack.rung().await;
        let id = call.id();
        call.dialog.ringing(None, None).unwrap();
        call.dialog.reject(Some(status.into()), reason.map(str::to_owned)).unwrap();
        assert_eq!(call.ended().await, "UasDecline");
        if leads_on {
            world.carrier.incoming(PATIENCE).await.unwrap_or_else(|| panic!("{status} leads on")).refuse(486);
        }
        is_in_state(&world, leg, "over").await;
        let last = if leads_on { Cause::Busy } else { cause };
        assert_eq!(world.leg(leg).await.cause.as_deref(), Some(last.slug()), "{status}");
        let records = world.records().await;
        let record = records.iter().find(|record| record.usage_id == leg).unwrap();
        let tries: Vec<_> = record.beyond.tries.iter().map(|t| (t.carrier.as_str(), t.sip, t.cause)).collect();
        let expected = [("foreign", status, cause), ("line", 486, Cause::Busy)];
        assert_eq!(tries, expected[..1 + usize::from(leads_on)], "{status}");
        assert_eq!(record.charge.0, 0);
        stack.heard(&id.call_id, "ACK 1").await;
        stack.layer.remove_dialog(&id);
    }
    stack.keeps_nothing().await;
    let balance = world.balance("acme").await;
    assert_eq!((balance.posted.0, balance.held.0), (CREDITS, 0));
    world.end().await;
}

/// It picks up at the very moment when whoever had it rung has enough: CANCEL and 200 cross. Both ends think the same of it, and
/// what was never up for the bridge costs nothing.
#[tokio::test(flavor = "multi_thread")]
async fn it_picks_up_while_it_is_cancelled() {
    const CALLS: u64 = 40;
    let _turn = MACHINE.read().await;
    let (world, folder) = bridge_over(Transport::Udp).await;
    let mut stack = Stack::start(&world, Transport::Udp, [127, 0, 0, 66], folder.path()).await;
    stack.known(&world, "").await;
    let (mut refused, mut made) = (0_usize, 0_usize);
    for round in 0..ROUNDS {
        for number in 0..CALLS {
            let leg = dialled(&world).await;
            let mut call = stack.rung().await;
            let id = call.id();
            call.dialog.ringing(None, None).unwrap();
            is_in_state(&world, leg, "ringing").await;
            let answer = call.described();
            // Now the one is later by so much, and now the other.
            let (none, gap) = (Duration::ZERO, Duration::from_millis((number / 2) << round));
            let (before_up, before_removed) = if number % 2 == 0 { (gap, none) } else { (none, gap) };
            let picks_up = async {
                tokio::time::sleep(before_up).await;
                // Nobody is there to hear it, where the CANCEL was faster.
                let _ = call.dialog.accept(Some(described()), Some(answer));
            };
            let has_enough = async {
                tokio::time::sleep(before_removed).await;
                removed(&world, leg).await;
            };
            tokio::join!(picks_up, has_enough);
            let ended = call.ended().await;
            assert!(ended == "UacCancel" || ended == "UacBye", "{ended}");
            refused += usize::from(ended == "UacCancel");
            is_in_state(&world, leg, "over").await;
            stack.layer.remove_dialog(&id);
            made += 1;
        }
        if (1..made).contains(&refused) {
            break;
        }
    }
    assert!((1..made).contains(&refused), "{refused} of {made} were cancelled, the others answered and hung up on");
    let records = world.records().await;
    assert_eq!(records.len(), made);
    records.iter().for_each(is_charged);
    let charged: i64 = records.iter().map(|record| record.charge.0).sum();
    let balance = world.balance("acme").await;
    assert_eq!((balance.posted.0, balance.held.0), (CREDITS - charged, 0));
    // For the ACK of the 487 that it answers a CANCEL with it does not wait, and keeps its place for half a minute.
    assert_eq!(stack.kept().0, 0);
    world.end().await;
}

/// Both hang up at once: two BYEs cross. The call is over once, and paid once.
#[tokio::test(flavor = "multi_thread")]
async fn both_hang_up_at_once() {
    let _turn = MACHINE.read().await;
    let (world, folder) = bridge_over(Transport::Tcp).await;
    let mut stack = Stack::start(&world, Transport::Tcp, [127, 0, 0, 67], folder.path()).await;
    stack.known(&world, "").await;
    const CALLS: usize = 20;
    for _ in 0..CALLS {
        let leg = dialled(&world).await;
        let mut call = stack.rung().await;
        call.accept().await;
        world.inside("open", 1).await;
        let (said, told) = soon(async { tokio::join!(call.dialog.bye(), world.ask(Ask::Remove { leg })) }).await;
        said.unwrap();
        assert!(matches!(told, Told::Done | Told::Unknown(_)), "{told:?}");
        assert!(["UasBye", "UacBye"].contains(&call.ended().await.as_str()));
        is_in_state(&world, leg, "over").await;
        stack.layer.remove_dialog(&call.id());
    }
    let records = world.records().await;
    assert_eq!(records.len(), CALLS);
    records.iter().for_each(is_charged);
    let charged: i64 = records.iter().map(|record| record.charge.0).sum();
    let balance = world.balance("acme").await;
    assert_eq!((balance.posted.0, balance.held.0), (CREDITS - charged, 0));
    stack.keeps_nothing().await;
    world.end().await;
}
