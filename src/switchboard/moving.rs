//! A caller goes on at another number of ours: its carrier asks for that by REFER, where its settings allow that. It is as if
//! the caller had hung up and called that number, but for the call itself, which stays as it is: a leg of its own, checked,
//! priced and held for as any call in to that number, takes it over at the moment when the books agree; each of the two is charged
//! for its own time, and has the figures of its sound in it. Where they do not, the caller stays where it is.

use super::inbound::{Arrival, carrier_limit, payer_scopes};
use super::line::{Asker, Line, Wire};
use super::transfer::count;
use super::{Books, Output, Switchboard};
use crate::clock::Now;
use crate::leg;
use crate::media;
use crate::sip::{Call, Referral};
use crate::store;
use crate::trunk::Scope;
use crate::types::{Cause, E164, LegId};

/// Whether it is a caller in a call that both sides are in, that somebody pays for, and that nobody ends.
fn may_move(line: &Line) -> bool {
    line.is_inbound()
        && line.meeting.is_some()
        && matches!(line.wire, Wire::Attached(_))
        && line.leg.is_answered()
        && line.leg.is_acknowledged()
        && line.parting.is_none()
        && line.end.is_none()
        && line.sent_away.is_none()
}

impl Switchboard {
    pub(super) fn move_caller(&mut self, now: Now, old: LegId, referral: &Referral, to: &E164) {
        if let Err(cause) = self.begin_move(now, old, referral, to) {
            tracing::info!(leg = %old, cause = cause.slug(), "a caller is not moved");
            count("move", cause.slug());
            self.refuse_referral(old, referral.number, cause);
        }
    }

    fn begin_move(&mut self, now: Now, old: LegId, referral: &Referral, to: &E164) -> Result<(), Cause> {
        if self.draining {
            return Err(Cause::Draining);
        }
        let facts = self.facts.clone();
        let carrier = self.carrier_of(old).ok_or(Cause::NoSuchCall)?;
        let number = facts.directory.find(to).ok_or(Cause::UnknownNumber)?;
        if self.lines.values().any(|line| line.moves.is_some_and(|(other, _)| other == old)) {
            return Err(Cause::Busy);
        }
        let before = self.lines.get(&old).filter(|line| may_move(line)).ok_or(Cause::TransferRefused)?;
        // What the carrier's call is decides what it costs: who has called a number that is free for them is not moved to one that
        // costs the house nothing, nor the other way round.
        let called = before.own_number().and_then(|own| facts.directory.find(&own)).ok_or(Cause::TransferRefused)?;
        let is_alike = (called.kind, &called.country) == (number.kind, &number.country);
        if !is_alike || called.e164 == number.e164 {
            return Err(Cause::TransferRefused);
        }
        let left_ms = before.leg.left_ms(now.mono);
        let (caller, origin, identity) = (before.caller, before.origin, before.identity.clone());
        let call_id = before.call_ids.last().cloned().unwrap_or_default();
        let id = self.new_leg(now);
        let meeting = number.meeting.clone();
        let mut scopes = vec![(Scope::Carrier(carrier.id.clone()), carrier_limit(&carrier))];
        scopes.extend(meeting.iter().flat_map(|meeting| payer_scopes(&facts, meeting, now.wall, None)));
        self.guard.enter(now.mono, id, &scopes)?;

        // Until it takes the call over it has none: this one is never made.
        let call = Call::outbound(self.number());
        let journal = referral.journal.clone();
        let arrival = Arrival { leg: id, call, call_id, journal, number, caller, origin, identity, meeting };
        let mut line = Line { moves: Some((old, referral.number)), ..self.bear(now, &carrier, arrival) };
        line.leg.limit(left_ms);
        self.lines.insert(id, line);
        self.see_caller(now, &carrier.id, caller);
        self.touch(id);
        Ok(())
    }

    /// The books do not agree, or it is too late.
    pub(super) fn moves_not(&mut self, id: LegId, cause: Cause) {
        if let Some((old, number)) = self.lines.get(&id).and_then(|line| line.moves) {
            count("move", cause.slug());
            self.refuse_referral(old, number, cause);
        }
    }

    /// The books agree: the call is the new leg's from now on.
    pub(super) fn move_over(&mut self, now: Now, id: LegId) {
        let Some((old, number)) = self.lines.get(&id).and_then(|line| line.moves) else { return };
        if !self.lines.get(&old).is_some_and(may_move) {
            // It hung up, or was hung up on, meanwhile.
            return self.tell_leg(now, id, leg::Input::Stop(Cause::Cancelled));
        }

        self.hush_early(old);
        // What it had rung, for where it was, it waits for no more; whoever is told of that is told by the same call.
        for line in self.lines.values_mut().filter(|line| line.is_rung_by(old)) {
            line.asker = line.asker.map(|asker| match asker {
                Asker::Refer { number, agreed, .. } => Asker::Refer { by: id, number, agreed },
                Asker::Keys(_) | Asker::Desk(_) | Asker::Gone => Asker::Keys(id),
            });
        }
        let meeting = self.lines.get(&old).and_then(|line| line.meeting.clone());
        self.leave_meeting(now, old);
        // Whoever was alone there ends that meeting, also where the next one has its name.
        meeting.into_iter().for_each(|meeting| self.drain_room(now, &meeting));
        self.stop_playing(old);
        let Some(mut from) = self.lines.remove(&old) else { return };
        for command in [
            media::Command::Leave { stream: from.stream },
            media::Command::HandOver { stream: from.stream },
            // Nobody where it goes has muted it.
            media::Command::Mute { stream: from.stream, on: false },
            media::Command::Deafen { stream: from.stream, on: false },
        ] {
            self.say(Output::Media(command));
        }
        if let Some(line) = self.lines.get_mut(&id) {
            std::mem::swap(&mut line.call, &mut from.call);
            std::mem::swap(&mut line.stream, &mut from.stream);
            std::mem::swap(&mut line.accord, &mut from.accord);
            line.wire = std::mem::replace(&mut from.wire, Wire::HandedOver);
            line.before = std::mem::take(&mut from.before);
            line.before.push_back(old);
            (line.peer, line.plan) = (from.peer, from.plan);
            (line.moves, line.acknowledged) = (None, Some(now.wall));
            (from.gave_way, from.lobby, from.delayed) = (true, None, None);
            self.by_call.insert(line.call, id);
            self.by_stream.insert(line.stream, id);
        }
        self.lines.insert(old, from);
        count("move", "done");
        tracing::info!(leg = %id, old = %old, "a caller goes on at another number");
        self.tell_leg(now, id, leg::Input::Answered);
        self.tell_leg(now, id, leg::Input::Acknowledged);
        self.say(Output::Books(Books::Answered(store::Answered { leg: id, at: now.wall, journal: None })));
        self.tell_leg(now, old, leg::Input::Stop(Cause::Transferred));
        self.cancel_calls(now, id);
        self.report(id, number, 200, true);
        self.greet(now, id);
    }
}
