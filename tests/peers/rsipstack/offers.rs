//! Offers that come late, and offers that cross.

use super::*;
use crate::MACHINE;
use crate::world::{DIRECT, hears, tone};
use rsipstack::dialog::dialog::TransactionHandle;
use tollbridge::cli::phone::Phone;
use tollbridge::types::Cause;

impl Stack {
    /// Calls without an offer: the bridge's is in its 200, and the answer to that in the ACK (RFC 3261 section 13.2.1).
    async fn call_late(&self, to: &str) -> Call {
        let sound = Sound::start(self.local.ip(), 1).await.unwrap();
        self.answers_next(&sound, Direction::SendRecv, 1);
        let invitation = InviteOption { offer: None, ..self.invitation(to, &sound, Vec::new()) };
        let call = self.invite(invitation, sound).await.unwrap();
        call.speaks_as_answered(&call.answer, Direction::SendRecv);
        call
    }

    /// What it will say to the next offer that it hears in a 200.
    fn answers_next(&self, sound: &Sound, direction: Direction, version: u64) {
        let local = sound.local();
        let answer = move |offer: &[u8]| sdp::answer(offer, &ours_at(local, direction, version)).unwrap().0.to_vec();
        *self.wire.answer.lock().unwrap() = Some(Box::new(answer));
    }
}

impl Call {
    /// Asks for the bridge's offer in mid-call (RFC 3261 section 14.1), and answers it this way in the ACK.
    async fn change_late(&mut self, stack: &Stack, direction: Direction) {
        self.version += 1;
        stack.answers_next(&self.sound, direction, self.version);
        let offered = soon(self.dialog.reinvite(None, None)).await.unwrap().expect("an answer");
        assert_eq!(offered.status_code, StatusCode::OK, "{offered}");
        self.speaks_as_answered(&offered, direction);
    }

    /// The next offer of the bridge's within the call, to be answered.
    async fn offered(&mut self, patience: Duration) -> (Request, TransactionHandle) {
        let offer = async {
            loop {
                if let Some(DialogState::Updated(_, request, handle)) = self.states.recv().await {
                    return (request, handle);
                }
            }
        };
        tokio::time::timeout(patience, offer).await.expect("an offer")
    }

    /// Speaks as it has answered this offer.
    fn speaks_as_answered(&self, offered: &Response, direction: Direction) {
        let (_, plan) = sdp::answer(&offered.body, &ours(&self.sound, direction, self.version)).unwrap();
        assert_eq!(plan.direction, direction, "all is offered: {offered}");
        self.sound.talk_to(plan);
    }

    /// It is heard by the other one, and hears it.
    async fn talks_with(&self, other: &Phone) {
        assert_eq!(hears(other, &[SAYS_HZ, HEARS_HZ]).await, [SAYS_HZ]);
        let heard = self.sound.listen(Duration::from_millis(300)).await;
        assert!(heard.tone(HEARS_HZ) > 1_500.0 && heard.tone(SAYS_HZ) < 100.0, "{}", heard.tone(HEARS_HZ));
    }

    /// Hangs up, as each of these calls ends.
    async fn hangs_up(mut self, stack: &Stack) {
        soon(self.dialog.bye()).await.unwrap();
        self.ended().await;
        stack.layer.remove_dialog(&self.id());
    }
}

/// Somebody of another carrier's who speaks, in the meeting.
async fn speaks(world: &World) -> Phone {
    let other = world.call("+390611111111", DIRECT).await;
    other.say(tone(HEARS_HZ));
    world.inside("open", 1).await;
    other
}

/// The end of such a test: each call was hung up on its side, and is paid.
async fn all_paid(world: World, stack: Stack, other: Phone, calls: usize) {
    other.hang_up();
    stack.keeps_nothing().await;
    let records = world.records().await;
    assert_eq!(records.len(), calls + 1);
    for record in &records {
        assert!(record.beyond.cause == Cause::HungUp && record.charge.0 > 0, "{record:?}");
    }
    world.end().await;
}

/// Whoever made the call: an offer that is asked of the bridge is answered in the ACK, and that answer counts.
#[tokio::test(flavor = "multi_thread")]
async fn it_asks_for_offers_and_answers_them_in_its_ack() {
    let _turn = MACHINE.read().await;
    let (world, folder) = bridge_over(Transport::Udp).await;
    let mut stack = Stack::start(&world, Transport::Udp, [127, 0, 0, 91], folder.path()).await;
    stack.known(&world, "").await;
    let other = speaks(&world).await;
    for calls_in in [true, false] {
        let mut call = if calls_in {
            stack.call_late(DIRECT).await
        } else {
            dialled(&world).await;
            let mut call = stack.rung().await;
            call.accept().await;
            call
        };
        world.inside("open", 2).await;
        call.sound.say(tone(SAYS_HZ));
        call.talks_with(&other).await;
        call.change_late(&stack, Direction::SendOnly).await;
        assert_eq!(hears(&other, &[SAYS_HZ]).await, [0; 0], "on hold it is heard by nobody");
        call.change_late(&stack, Direction::SendRecv).await;
        call.talks_with(&other).await;
        call.hangs_up(&stack).await;
        world.inside("open", 1).await;
    }
    all_paid(world, stack, other, 2).await;
}

/// The bridge refreshes a call after half of the shortest session that there is (RFC 4028 section 4).
const REFRESHED: Duration = Duration::from_secs(60);

/// Both offer at once, the bridge to refresh the session and the other side to end its hold: each is told 491, and whoever did not
/// make the call offers again first (RFC 3261 section 14.1). While it waits for that, others have the machine.
#[tokio::test(flavor = "multi_thread")]
async fn both_offer_at_once() {
    let turn = MACHINE.read().await;
    let world = bridge_with(|settings| settings.sip.session_s = 90).await;
    let mut stack = Stack::start(&world, Transport::Udp, [127, 0, 0, 92], world.folder.path()).await;
    stack.known(&world, "").await;
    let other = speaks(&world).await;
    let mut made = stack.call(DIRECT, Vec::new()).await.unwrap();
    dialled(&world).await;
    let mut rung = stack.rung().await;
    rung.accept().await;
    world.inside("open", 3).await;
    for call in [&mut made, &mut rung] {
        assert_eq!(call.change(Method::Invite, Direction::SendOnly).await, Direction::SendOnly);
    }

    drop(turn);

    // Each answers after it has offered itself.
    for (call, ack) in [(&mut made, "ACK 1"), (&mut rung, "ACK 2")] {
        let (_, refresh) = call.offered(REFRESHED).await;
        let answer = call.offer(Method::Invite, Direction::SendRecv).await;
        assert_eq!(answer.status_code, StatusCode::RequestPending, "{answer}");
        refresh.reply(StatusCode::RequestPending).await.unwrap();
        stack.heard(&call.id().call_id, ack).await;
    }

    assert_eq!(rung.change(Method::Invite, Direction::SendRecv).await, Direction::SendRecv);
    let (request, refresh) = made.offered(PATIENCE).await;
    made.version += 1;
    let (answer, _) = sdp::answer(&request.body, &ours(&made.sound, Direction::SendOnly, made.version)).unwrap();
    refresh.respond(StatusCode::OK, Some(described()), Some(answer.to_vec())).await.unwrap();
    stack.heard(&made.id().call_id, "ACK 2").await;
    assert_eq!(made.change(Method::Invite, Direction::SendRecv).await, Direction::SendRecv);
    let _turn = MACHINE.read().await;
    for call in [made, rung] {
        call.sound.say(tone(SAYS_HZ));
        call.talks_with(&other).await;
        call.hangs_up(&stack).await;
    }
    all_paid(world, stack, other, 2).await;
}
