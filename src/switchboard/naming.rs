//! Calls that name their meeting in what they call: `sip:conf=1234567@bridge` (RFC 4240 section 5.1), where the carrier's settings
//! allow that. Such a call is as if it had come to a number that leads to this meeting, of the kind and the price of the one that the
//! settings name: who pays is asked before it is answered. Whoever guesses is braked as where IDs are typed, and by carrier beyond
//! that.

use super::inbound::claims;
use super::{Output, Switchboard, Who};
use crate::clock::{Mono, Now};
use crate::sip::{self, Call, Invitation};
use crate::store::Facts;
use crate::trunk::{Caller, Carrier, Number};
use crate::types::{CarrierId, Cause, E164, LegId, MeetingId};
use std::time::Duration;

/// Calls that wait for an answer which guessers wait for, of all and of one carrier; one more is refused. Whoever's carrier has none
/// that waits is never in the way of others' guessers.
const MOST_WAITING: usize = 100;
const MOST_WAITING_OF_CARRIER: usize = 20;

/// A call in that is looked at later, since many guess.
pub(super) struct PutOff {
    at: Mono,
    carrier: CarrierId,
    /// Who calls, where it is no meeting that they name.
    wrong: Option<Caller>,
    invitation: Invitation,
}

/// The conference ID that is called; `None`: a number is.
pub(super) fn conference_asked(user: &str) -> Option<&str> {
    const MARK: &str = "conf=";
    let mark = user.get(..MARK.len())?;
    mark.eq_ignore_ascii_case(MARK).then(|| &user[MARK.len()..])
}

/// The number that such a call of this carrier comes to, one of many meetings; `None`: it has none.
pub(super) fn number_of_conferences<'a>(facts: &'a Facts, carrier: &Carrier) -> Option<&'a Number> {
    let own = carrier.conference_number.as_ref()?;
    facts.directory.find(own).filter(|number| number.meeting.is_none())
}

impl Switchboard {
    /// A call in. While a carrier's callers guess, one of theirs that names a meeting waits, right or wrong.
    pub(super) fn invited(&mut self, now: Now, invitation: Invitation) {
        let waits = self.naming_delay(now, &invitation).filter(|(.., delay)| !delay.is_zero());
        let Some((carrier, wrong, delay)) = waits else {
            return self.take_call(now, invitation);
        };
        let of_carrier = self.put_off.values().filter(|waits| waits.carrier == carrier).count();
        let is_full = self.put_off.len() >= MOST_WAITING && of_carrier > 0;
        if is_full || of_carrier >= MOST_WAITING_OF_CARRIER {
            return self.refuse_call(now, None, invitation.call, &invitation.call_id, Cause::Overloaded.into());
        }
        let (call, at) = (invitation.call, now.mono + delay);
        self.say(Output::Sip(sip::Command::PutOff { call }));
        self.timers.insert((at, Who::Call(call)));
        self.put_off.insert(call, PutOff { at, carrier, wrong, invitation });
    }

    /// How long such a call is to wait, and of which carrier it is. Who may not call so is told so at once, and is in nobody's way.
    /// And who calls, where what they name is no meeting.
    fn naming_delay(&mut self, now: Now, invitation: &Invitation) -> Option<(CarrierId, Option<Caller>, Duration)> {
        let digits = conference_asked(&invitation.request_user)?;
        let facts = self.facts.clone();
        let carrier = self.carrier_calling(&facts, invitation)?;
        let number = number_of_conferences(&facts, carrier)?;
        let caller = Caller::of(carrier.who_calls(&claims(invitation)).number, &carrier.id);
        let found = self.meeting_of_digits(&facts, number, digits);
        let delay = self.guard.naming_delay(now.mono, (&carrier.id, &caller), found);
        Some((carrier.id.clone(), found.is_none().then_some(caller), delay))
    }

    /// The meeting of a conference ID, where this number leads to it.
    fn meeting_of_digits<'a>(&self, facts: &'a Facts, number: &Number, digits: &str) -> Option<&'a MeetingId> {
        let length = facts.conference_id_len().unwrap_or(self.config.lobby.conference_id_digits);
        let is_one = digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_digit());
        let found = is_one.then(|| facts.meeting_named(digits)).flatten()?;
        let is_ours = number.organisation.as_ref().is_none_or(|house| *house == found.settings.organisation);
        is_ours.then_some(&found.settings.id)
    }

    /// It has waited for long enough.
    pub(super) fn take_up(&mut self, now: Now, call: Call) {
        if let Some(PutOff { invitation, .. }) = self.put_off.remove(&call) {
            self.take_call(now, invitation);
        }
    }

    /// It was given up meanwhile: a wrong one is a wrong try all the same, or whoever does not wait would guess for nothing.
    pub(super) fn let_go(&mut self, now: Now, call: Call) {
        let Some(PutOff { at, carrier, wrong, .. }) = self.put_off.remove(&call) else { return };
        self.timers.remove(&(at, Who::Call(call)));
        if let Some(caller) = wrong {
            let closing = self.guard.named_in_vain(now.mono, (&carrier, &caller));
            let leg = self.new_leg(now);
            self.tell_closing(now, leg, (&carrier, &caller), None, closing);
            self.see_wrong_try(now, carrier);
        }
    }

    /// Nothing waits any more.
    pub(super) fn take_up_all(&mut self, now: Now) {
        let mut calls: Vec<Call> = self.put_off.keys().copied().collect();
        calls.sort();
        for call in calls {
            if let Some(PutOff { at, .. }) = self.put_off.get(&call) {
                self.timers.remove(&(*at, Who::Call(call)));
            }
            self.take_up(now, call);
        }
    }

    /// The meeting that is called. A wrong one is a wrong try, as if it had been typed.
    pub(super) fn meeting_asked(
        &mut self,
        now: Now,
        leg: LegId,
        carrier: &Carrier,
        (number, caller): (&Number, Option<E164>),
        digits: &str,
    ) -> Result<MeetingId, Cause> {
        let (facts, caller) = (self.facts.clone(), Caller::of(caller, &carrier.id));
        let found = self.meeting_of_digits(&facts, number, digits);
        let who = (&carrier.id, &caller);
        if let Err(cause) = self.guard.may_name(now.mono, who, found) {
            if found.is_none() {
                self.guard.named_unheard(now.mono, &caller);
            }
            return Err(cause);
        }
        if let Some(meeting) = found {
            self.guard.named(&caller, meeting);
            return Ok(meeting.clone());
        }
        let closing = self.guard.named_in_vain(now.mono, who);
        self.see_wrong_try(now, carrier.id.clone());
        self.tell_closing(now, leg, who, None, closing);
        Err(Cause::UnknownMeeting)
    }
}
