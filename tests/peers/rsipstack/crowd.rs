//! Many dialogs at once.

use super::*;
use crate::world::DIRECT;
use crate::{CREDITS, MACHINE};
use std::collections::BTreeMap;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tollbridge::rating::record::EndedBy;
use tollbridge::types::Cause;

const CALLS: usize = 200;
/// Calls that are made, or hung up, at a time.
const AT_ONCE: usize = 40;

/// Half of them hang up by themselves, on the others the meeting is ended. Each is over at both ends as it says, and paid once.
#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_calls_are_up_at_once_and_nothing_is_left_of_them() {
    let _turn = MACHINE.write().await;
    let (world, folder) = bridge_over(Transport::Udp).await;
    let stack = Stack::start(&world, Transport::Udp, [127, 0, 0, 81], folder.path()).await;
    stack.known(&world, "").await;
    // They say nothing: it is their dialogs that are looked at.
    let sound = Sound::start(stack.local.ip(), 1).await.unwrap();
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let (layer, turns, invitation) =
            (stack.layer.clone(), turns.clone(), stack.invitation(DIRECT, &sound, Vec::new()));
        calls.spawn(async move {
            let _turn = turns.acquire().await.unwrap();
            let (tell, states) = layer.new_dialog_state_channel();
            let (dialog, answer) = soon(layer.do_invite(invitation, tell)).await.unwrap();
            assert_eq!(answer.map(|answer| answer.status_code), Some(StatusCode::OK));
            (dialog, states)
        });
    }
    let up = calls.join_all().await;
    world.inside("open", CALLS).await;
    assert_eq!(stack.kept().0, CALLS);
    let mut seen = BTreeMap::new();
    let mut left = Vec::new();
    let mut calls = JoinSet::new();
    for (number, (dialog, states)) in up.into_iter().enumerate() {
        if number % 2 == 0 {
            let turns = turns.clone();
            seen.insert(dialog.id().call_id, (Cause::HungUp, EndedBy::FarSide));
            calls.spawn(async move {
                let _turn = turns.acquire().await.unwrap();
                soon(dialog.bye()).await.unwrap();
                (dialog, states)
            });
        } else {
            seen.insert(dialog.id().call_id, (Cause::MeetingEnded, EndedBy::Bridge));
            left.push((dialog, states));
        }
    }
    let over = calls.join_all().await;
    world.inside("open", CALLS / 2).await;
    let told = world.ask(Ask::End { meeting: "open".parse().unwrap() }).await;
    assert!(matches!(told, Told::Done), "{told:?}");
    for (dialog, mut states) in over.into_iter().chain(left) {
        soon(async { while !states.recv().await.expect("the dialog is there").is_terminated() {} }).await;
        stack.layer.remove_dialog(&dialog.id());
    }
    stack.keeps_nothing().await;
    let records = world.records().await;
    assert_eq!((records.len(), seen.len()), (CALLS, CALLS));
    for record in &records {
        let ended = seen.remove(&record.call_id).expect("a call of its, and one record of each");
        assert_eq!((record.beyond.cause, record.beyond.ended_by), ended, "{record:?}");
        assert_eq!(record.charge.0, record.duration_ms.div_ceil(1_000) as i64 * 10_000, "{record:?}");
        assert!(record.charge.0 > 0, "{record:?}");
    }
    let charged: i64 = records.iter().map(|record| record.charge.0).sum();
    let balance = world.balance("acme").await;
    assert_eq!((balance.posted.0, balance.held.0), (CREDITS - charged, 0));
    world.end().await;
}
