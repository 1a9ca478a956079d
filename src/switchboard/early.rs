//! What is heard before anybody picks up: whoever had a phone rung hears what the far side plays (a ringing tone of its own, an
//! announcement), and nobody else does. No sound goes there before the answer: what is not paid for is not talked over. Receiver
//! reports do, as of any stream that is listened to (RFC 3264 section 5.1).

use super::agree::plan_with;
use super::line::{Asker, Line, Wire};
use super::{Output, Switchboard};
use crate::clock::Now;
use crate::leg;
use crate::media::{self, Direction, Plan, sdp};
use crate::meeting::Prompt;
use crate::trunk::Progress;
use crate::types::LegId;
use bytes::Bytes;

/// How a call is heard that nobody has picked up yet.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// A phone rings (180): whoever waits is to hear that, from there or from us (RFC 3960 section 3.2).
    rings: bool,
    /// The telephone, and the description, whose sound is listened for: those of the latest, until one speaks.
    fork: String,
    described: Option<Bytes>,
    speaks: bool,
}

impl Heard {
    /// Whether sound is listened for where this telephone says.
    pub(super) fn follows(&self, fork: &str) -> bool {
        !self.speaks || self.fork == fork
    }

    /// A ringing tone of ours is to be heard.
    pub(super) fn needs_ringback(&self) -> bool {
        self.rings && !self.speaks
    }
}

impl Line {
    /// Whoever had it rung and is in a call with us.
    fn ear(&self) -> Option<LegId> {
        match self.asker? {
            Asker::Keys(by) | Asker::Refer { by, .. } => Some(by),
            Asker::Desk(_) | Asker::Gone => None,
        }
    }
}

/// The same, but that nothing is said there.
const fn listening(plan: Plan) -> Plan {
    let direction = match plan.direction {
        Direction::SendRecv | Direction::RecvOnly => Direction::RecvOnly,
        Direction::SendOnly | Direction::Inactive => Direction::Inactive,
    };
    Plan { direction, ..plan }
}

/// How far a call has come. A phone rings at 180, or where it is heard; anything else (181, 182, 199, 183 without sound) only says
/// that the call is not over.
const fn progress_of(status: u16, with_sound: bool) -> Progress {
    match (status, with_sound) {
        (_, true) => Progress::EarlySound,
        (180, false) => Progress::Ringing,
        _ => Progress::Alive,
    }
}

impl Switchboard {
    /// A provisional response.
    pub(super) fn rings(&mut self, now: Now, id: LegId, status: u16, fork: String, answer: Option<Bytes>) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let (before, progress) = (line.progress, progress_of(status, answer.is_some()));
        line.progress = before.max(progress);
        if progress < Progress::Ringing {
            return;
        }
        let rang = line.heard.rings;
        line.heard.rings |= status == 180;
        let needs_ringback = !rang && line.heard.needs_ringback();
        self.bid_rings(now, id);
        let asker = self.lines.get(&id).and_then(|line| line.asker);
        if let (Some(Asker::Keys(by)), true) = (asker, needs_ringback) {
            self.play_on_and_on(by, Prompt::Ringback);
        }
        if before < Progress::Ringing {
            self.tell_referrer_of_ringing(id);
        }
        if let Some(answer) = answer {
            self.described_early(id, fork, answer);
        }
        self.tell_leg(now, id, leg::Input::Ringing);
    }

    /// What one of the telephones says of its sound. The first that speaks is heard until one is picked up.
    fn described_early(&mut self, id: LegId, fork: String, answer: Bytes) {
        let Some(line) = self.lines.get(&id) else { return };
        if line.heard.speaks || line.heard.described.as_ref() == Some(&answer) {
            return;
        }
        let (Wire::Lent(local) | Wire::Early(local)) = line.wire else { return };
        let Some(carrier) = self.carrier_of(id) else { return };
        if let Some(agreed) = self.read_answer(id, &carrier, local, &answer) {
            self.listen_early(id, fork, answer, plan_with(&carrier, agreed.plan), agreed.secret);
        }
    }

    /// Sound from there, to whoever had it rung alone.
    pub(super) fn listen_early(
        &mut self,
        id: LegId,
        fork: String,
        described: Bytes,
        plan: Plan,
        secret: Option<sdp::crypto::Secret>,
    ) {
        let ear = self.lines.get(&id).and_then(Line::ear).and_then(|by| self.place_of(by));
        let Some((to, room)) = ear else { return };
        let Some(line) = self.lines.get_mut(&id) else { return };
        (line.heard.fork, line.heard.described) = (fork, Some(described));
        let (stream, plan, secret) = (line.stream, listening(plan), secret.map(Box::new));
        match line.wire {
            Wire::Lent(local) => {
                line.wire = Wire::Early(local);
                self.say(Output::Attach { stream, plan, secret });
                for command in [
                    media::Command::Gag { stream, on: true },
                    media::Command::Join { stream, room },
                    media::Command::Confide { stream, to: Some(to) },
                ] {
                    self.say(Output::Media(command));
                }
            }
            Wire::Early(_) => {
                self.say(Output::Media(media::Command::Secure { stream, secret }));
                self.say(Output::Media(media::Command::Change { stream, plan }));
            }
            _ => {}
        }
    }

    /// Where somebody is who is in a meeting.
    fn place_of(&self, id: LegId) -> Option<(media::StreamId, media::RoomId)> {
        let line = self.lines.get(&id).filter(|line| line.present)?;
        Some((line.stream, self.rooms.get(line.meeting.as_ref()?)?.id))
    }

    /// What is heard before its answer, of those whom somebody had rung.
    fn early_of(&self, by: LegId) -> Vec<media::StreamId> {
        let is_heard = |line: &&Line| line.is_rung_by(by) && matches!(line.wire, Wire::Early(_));
        let mut streams: Vec<_> = self.lines.values().filter(is_heard).map(|line| line.stream).collect();
        streams.sort(); // the same order in every run of a seed
        streams
    }

    /// Whoever had them rung is elsewhere, or gone: nobody hears what comes from there.
    pub(super) fn hush_early(&mut self, by: LegId) {
        for stream in self.early_of(by) {
            self.say(Output::Media(media::Command::Confide { stream, to: None }));
            self.say(Output::Media(media::Command::Leave { stream }));
        }
    }

    /// Somebody has taken the place of whoever had them rung, and hears them from now on.
    pub(super) fn hear_early(&mut self, by: LegId) {
        let Some((to, room)) = self.place_of(by) else { return };
        for stream in self.early_of(by) {
            self.say(Output::Media(media::Command::Join { stream, room }));
            self.say(Output::Media(media::Command::Confide { stream, to: Some(to) }));
        }
        if self.hears_ringing(by) {
            self.play_on_and_on(by, Prompt::Ringback);
        }
    }

    /// Something is heard of it: our own ringing tone ends.
    pub(super) fn speaks_early(&mut self, id: LegId) {
        let Some(line) = self.lines.get_mut(&id).filter(|line| matches!(line.wire, Wire::Early(_))) else { return };
        let rang = line.heard.needs_ringback();
        line.heard.speaks = true;
        if let (Some(Asker::Keys(by)), true) = (line.asker, rang)
            && !self.hears_ringing(by)
        {
            self.stop_playing(by);
        }
    }

    /// Picked up: out of the room, until it is let in there as everybody is; and sound goes both ways.
    pub(super) fn end_early(&mut self, id: LegId, plan: Plan) {
        let Some(line) = self.lines.get(&id) else { return };
        let (stream, secret) = (line.stream, line.accord.secret.clone());
        for command in [
            media::Command::Confide { stream, to: None },
            media::Command::Leave { stream },
            media::Command::Secure { stream, secret },
            media::Command::Change { stream, plan },
            media::Command::Gag { stream, on: false },
        ] {
            self.say(Output::Media(command));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Codec;

    #[test]
    fn a_phone_rings_at_180_or_where_it_is_heard() {
        for status in [181, 182, 183, 199] {
            assert_eq!(progress_of(status, false), Progress::Alive, "{status}");
        }
        assert_eq!(progress_of(180, false), Progress::Ringing);
        assert_eq!([180, 183].map(|status| progress_of(status, true)), [Progress::EarlySound; 2]);
    }

    #[test]
    fn before_the_answer_nothing_is_sent() {
        use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
        let plain = Plan::plain("192.0.2.9:4000".parse().unwrap(), Codec::Pcma, 8);
        let early = |direction| listening(Plan { direction, ..plain }).direction;
        assert_eq!([SendRecv, RecvOnly, SendOnly, Inactive].map(early), [RecvOnly, RecvOnly, Inactive, Inactive]);
    }

    #[test]
    fn who_is_heard_may_go_on_elsewhere_and_nobody_else_is_followed() {
        let follows = |speaks, fork: &str| Heard { speaks, fork: "a".into(), ..Heard::default() }.follows(fork);
        assert_eq!([follows(false, "b"), follows(true, "b"), follows(true, "a")], [true, false, true]);
    }

    #[test]
    fn our_ringing_tone_is_for_who_hears_nothing_of_theirs() {
        let needs = |rings, speaks| Heard { rings, speaks, ..Heard::default() }.needs_ringback();
        assert_eq!([needs(false, false), needs(true, false), needs(true, true)], [false, true, false]);
    }
}
