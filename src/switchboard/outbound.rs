//! A call that we make: by which carrier, under which name, and what its answer means.

use super::ask::Told;
use super::floor::{LAST_WORD, NOBODY};
use super::inbound::{carrier_limit, payer_scopes};
use super::line::{Asker, Born, Line, Wire};
use super::written::Written;
use super::{Books, Output, Switchboard};
use crate::clock::Now;
use crate::leg::{self, Direction, Leg};
use crate::media;
use crate::meeting::{self, By, Entry, Keypad, Prompt};
use crate::rating::record::Try;
use crate::rating::{CallType, Origin, costs};
use crate::sip::{self, Call, Dial, Identity, Toward, Way};
use crate::store::{self, StoreError};
use crate::telemetry::name;
use crate::trunk::{Carrier, DialPlan, Limit, Progress, Scope, Verdict, in_turn, is_emergency};
use crate::types::{CarrierId, Cause, E164, Language, LegId, MeetingId};
use bytes::Bytes;
use rand::RngExt;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

/// A call out is tried by so many carriers at the most, and so often by each: a try may take half a minute to be known as
/// dead, and whoever waits has given up by then. One carrier's dead addresses do not keep the next one from being asked.
const MOST_CARRIERS: usize = 4;
const MOST_OF_CARRIER: usize = 2;
/// Carriers that a call keeps in mind for that: some may be down, full or locked by the time that they are asked.
const MOST_LISTED: usize = 16;

/// What a carrier said to a call of ours that it does not take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    pub status: u16,
    pub q850: Option<u8>,
    pub retry_after_s: Option<u32>,
    /// Sound came before, told or not.
    pub sounded: bool,
}

/// Another one is asked instead.
fn passed_over(carrier: &Carrier, why: &'static str) {
    metrics::counter!(name::CARRIERS_PASSED_OVER, "why" => why).increment(1);
    tracing::info!(carrier = carrier.id.as_str(), why, "a carrier is passed over");
}

/// After these tries, the last of them by `carrier`: whether it may be tried once more, and whether another one may.
fn may_try(tries: &[Try], carrier: &CarrierId) -> (bool, bool) {
    let of_it = tries.iter().filter(|one| one.carrier == *carrier).count();
    let carriers: BTreeSet<&CarrierId> = tries.iter().map(|one| &one.carrier).collect();
    (of_it < MOST_OF_CARRIER, carriers.len() < MOST_CARRIERS)
}

impl Switchboard {
    /// Somebody wants the meeting to ring a phone. The answer comes when the books have agreed, or not.
    pub(super) fn dial(&mut self, now: Now, asker: Asker, meeting: MeetingId, to: E164) {
        if let Err(cause) = self.prepare(now, asker, meeting, to) {
            metrics::counter!(name::CALLS_REFUSED, "cause" => cause.slug()).increment(1);
            if let Some(untold) = self.ration_of_house.take(now.mono) {
                tracing::info!(cause = cause.slug(), to = to.masked(), untold, "call out refused");
            }
            match asker {
                Asker::Desk(token) => self.say(Output::Told { token, told: Told::Refused(cause) }),
                Asker::Keys(by) => self.play(by, &[Prompt::of_call(cause)], NOBODY),
                Asker::Refer { by, number, .. } => self.decline(by, number, cause),
                Asker::Gone => {}
            }
        }
    }

    fn prepare(&mut self, now: Now, asker: Asker, meeting: MeetingId, to: E164) -> Result<(), Cause> {
        if self.draining {
            return Err(Cause::Draining);
        }
        if is_emergency(to.digits()) {
            return Err(Cause::NumberBlocked);
        }
        if self.rooms.get(&meeting).is_some_and(|room| room.meeting.is_ended()) {
            return Err(Cause::MeetingEnded);
        }
        let facts = self.facts.clone();
        let (_, organisation) = facts.payer_of(&meeting).ok_or(Cause::UnknownMeeting)?;
        let caller_id = facts.directory.caller_id(&organisation.id, organisation.country);
        let id = self.new_leg(now);
        // Of one priority the cheapest first, as far as carriers have said what they take; the others after them.
        let call = costs::Call {
            call_type: CallType::DialOut,
            digits: to.digits(),
            origin: Origin::Fixed,
            at: now.wall,
            ms: u64::from(costs::COMPARED_MINUTES) * 60_000,
            currency: organisation.currency,
        };
        let routes = facts.directory.routes(&to, now.wall).into_iter();
        let ranked = routes.map(|carrier| (carrier, facts.costs.rank(&carrier.id, &call))).collect();
        let mut others: VecDeque<&Carrier> = in_turn(ranked, &mut self.rng).into_iter().take(MOST_LISTED).collect();
        let payer = payer_scopes(&facts, &meeting, now.wall, Some(&to));
        let carrier = self.carrier_with_room(now, id, &mut others, &payer)?;

        let number = self.number();
        let language = facts.meeting(&meeting).and_then(|known| known.language);
        let language = language.or(caller_id.map(|number| number.language())).unwrap_or(Language::ENGLISH);
        let seed = self.rng.random();
        let born = Born {
            id,
            leg: Leg::new(Direction::Out, self.leg_config(Some(&meeting)), now, seed),
            call: Call::outbound(number),
            stream: media::StreamId(number),
            number: to,
            caller: caller_id.map(|number| number.e164),
            carrier: carrier.id.clone(),
            languages: vec![language],
            language,
            keypad: Keypad::new(self.keys_of(&to)),
        };
        let others = others.into_iter().map(|carrier| carrier.id.clone()).collect();
        let line = Line { meeting: Some(meeting), asker: Some(asker), others, ..Line::new(born) };
        self.by_call.insert(line.call, id);
        self.by_stream.insert(line.stream, id);
        self.say(Output::Lend { leg: id, stream: line.stream });
        self.lines.insert(id, line);
        self.see_dialled(now, &organisation.id, to);
        Ok(())
    }

    /// The first of these carriers that has room for a call, by its limits and the payer's; those before it are done with.
    fn carrier_with_room<'a>(
        &mut self,
        now: Now,
        id: LegId,
        others: &mut VecDeque<&'a Carrier>,
        payer: &[(Scope, Limit)],
    ) -> Result<&'a Carrier, Cause> {
        let mut refused = Cause::NoRoute;
        while let Some(carrier) = others.pop_front() {
            let in_the_way = match () {
                () if carrier.locked.is_some() => Some(("locked", Cause::CarrierLocked)),
                () if self.is_down(&carrier.id) => Some(("down", Cause::Unreachable)),
                () if self.is_resting(now, &carrier.id) => Some(("resting", Cause::Overloaded)),
                () => None,
            };
            if let Some((why, cause)) = in_the_way {
                passed_over(carrier, why);
                refused = cause;
                continue;
            }
            let mut scopes = vec![(Scope::Carrier(carrier.id.clone()), carrier_limit(carrier))];
            scopes.extend_from_slice(payer);
            match self.guard.enter(now.mono, id, &scopes) {
                Ok(()) => return Ok(carrier),
                Err(cause) => {
                    passed_over(carrier, cause.slug());
                    refused = cause;
                }
            }
        }
        Err(refused)
    }

    /// There is a port: the call can be made, as soon as it is known where to.
    pub(super) fn open_out(&mut self, now: Now, id: LegId) {
        let Some(carrier) = self.carrier_of(id) else { return };
        match carrier.route.as_ref().and_then(|route| self.toward(&carrier, route)) {
            Some(Toward::Way(way)) => self.located(now, id, vec![way]),
            Some(Toward::Place(place)) => {
                let Some(call) = self.lines.get(&id).map(|line| line.call) else { return };
                self.say(Output::Sip(sip::Command::Locate { call, place }));
            }
            // We do not speak as it wants to be spoken to.
            None if self.reroute(now, id) => {}
            None => self.tell_leg(now, id, leg::Input::Failed(Cause::NoRoute)),
        }
    }

    /// Where the carrier can be reached. Nowhere: the next one is asked.
    pub(super) fn located(&mut self, now: Now, id: LegId, ways: Vec<Way>) {
        let Some(line) = self.lines.get_mut(&id).filter(|line| !line.leg.is_over()) else { return };
        line.ways = ways.into();
        if !self.set_out(now, id) && !self.reroute(now, id) {
            self.tell_leg(now, id, leg::Input::Failed(Cause::Unreachable));
        }
    }

    /// By the next of these ways the call is written down, journaled, and the books are asked, or told. Whether there is one.
    fn set_out(&mut self, now: Now, id: LegId) -> bool {
        let Some(carrier) = self.carrier_of(id) else { return false };
        let Some(line) = self.lines.get_mut(&id) else { return false };
        let (Wire::Lent(port), Some(way)) = (line.wire, line.ways.pop_front()) else { return false };
        let identity = Identity::draw(&mut self.rng);
        let Some(mut dial) = self.write_dial(id, &carrier, identity.clone(), port, way) else { return false };
        if sip::is_long(&dial)
            && let Some(tcp) = self.tcp_instead(&carrier, way).filter(|tcp| self.has_not_tried(id, *tcp))
            && let Some(by_tcp) = self.write_dial(id, &carrier, identity, port, tcp)
        {
            tracing::info!(leg = %id, carrier = carrier.id.as_str(), "too long for a datagram: by TCP");
            if let Some(line) = self.lines.get_mut(&id) {
                line.tried_tcp = Some(tcp.flow.peer);
                line.ways.push_front(way);
            }
            dial = by_tcp;
        }
        let Some(line) = self.lines.get_mut(&id) else { return false };
        let (call_id, journal) = (dial.identity.call_id.clone(), sip::journal_of(&dial));
        let books = match std::mem::replace(&mut line.opened, true) {
            true => Books::Reroute(store::Rerouted { leg: id, carrier: carrier.id, call_id, journal }),
            false => Books::Open(store::OpenLeg {
                leg: id,
                call_type: CallType::DialOut,
                number: line.number,
                caller: line.caller,
                origin: Origin::Fixed,
                carrier: Some(line.carrier.clone()),
                meeting: line.meeting.clone(),
                call_id,
                journal,
                invited: now.wall,
            }),
        };
        line.call_ids.push(dial.identity.call_id.clone());
        line.dial = Some(Box::new(dial));
        self.say(Output::Books(books));
        true
    }

    /// The books agree.
    pub(super) fn ring_there(&mut self, now: Now, id: LegId, dial: Box<Dial>) {
        let (call, way) = (dial.call, Way { flow: dial.flow, contact: dial.contact });
        self.bid(now, id);
        self.say(Output::Sip(sip::Command::Dial(dial)));
        self.tell_of_tcp(id, call, way);
    }

    /// What is too long for a datagram may go by TCP in this call, unless that was tried in vain.
    pub(super) fn tell_of_tcp(&mut self, id: LegId, call: Call, way: Way) {
        let tcp = self.carrier_of(id).and_then(|carrier| self.tcp_instead(&carrier, way));
        if let Some(tcp) = tcp.filter(|tcp| self.has_not_tried(id, *tcp)) {
            self.say(Output::Sip(sip::Command::MayConnect { call, tcp }));
        }
    }

    fn has_not_tried(&self, id: LegId, tcp: Way) -> bool {
        self.lines.get(&id).is_some_and(|line| line.tried_tcp != Some(tcp.flow.peer))
    }

    fn write_dial(&mut self, id: LegId, carrier: &Carrier, identity: Identity, port: u16, way: Way) -> Option<Dial> {
        let Way { flow, contact } = way;
        let host = carrier.route.as_ref()?.host();
        self.lines.get_mut(&id)?.peer = Some(flow.peer.ip());
        let offer = self.write_offer(id, carrier, port)?;
        let line = self.lines.get(&id)?;
        let written = Written::new(carrier, (contact, &host), &line.number, line.caller);
        Some(Dial {
            call: line.call,
            identity,
            flow,
            carrier: Some(Arc::from(carrier.id.as_str())),
            contact,
            request_uri: written.request_uri,
            from: written.from,
            to: written.to,
            headers: written.headers,
            offer,
            ring_ms: self.config.ring_ms,
            holds_ack: true,
            may_transfer: carrier.transfers,
            login: self.login_of(carrier).map(Arc::new),
        })
    }

    /// The phone was picked up.
    pub(super) fn answered_out(&mut self, now: Now, id: LegId, journal: String, answer: Option<Bytes>) {
        self.rings_no_more(id);
        self.tell_referrer_of_end(id, None);
        self.bid_answered(now, id);
        let carrier = self.carrier_of(id);
        let early = answer.as_ref().zip(carrier).and_then(|(answer, carrier)| self.agreed_early(id, &carrier, answer));
        let plan = early.or_else(|| self.late_plan(id, answer));
        self.tell_leg(now, id, leg::Input::Answered);
        let journal = Some(journal);
        self.say(Output::Books(Books::Answered(store::Answered { leg: id, at: now.wall, journal })));
        let Some(plan) = plan else {
            return self.tell_leg(now, id, leg::Input::Stop(Cause::NoCodec));
        };
        if let Some(line) = self.lines.get_mut(&id) {
            line.acknowledged = Some(now.wall);
        }
        self.attach(id, plan);
        let meeting = self.lines.get(&id).and_then(|line| line.meeting.clone());
        let confirm = meeting.and_then(|meeting| Some(self.facts.meeting(&meeting)?.settings.confirm_join));
        self.open_lobby(now, id, Entry::Called { confirm: confirm.unwrap_or(false) });
    }

    /// The books know how to end the call, so whoever picked it up may hear that we are there.
    pub(super) fn journaled(&mut self, id: LegId) {
        if let Some(call) = self.lines.get(&id).map(|line| line.call).filter(|call| call.is_outbound()) {
            self.say(Output::Sip(sip::Command::Acknowledge { call }));
        }
    }

    /// A carrier did not take the call: another of its addresses is tried where this one did not answer or takes nothing
    /// (RFC 3263 section 4.3), then the next carrier where that helps, else it is over.
    pub(super) fn failed_out(&mut self, now: Now, id: LegId, refused: Refused) {
        let Some(carrier) = self.carrier_of(id) else { return };
        let Some(line) = self.lines.get_mut(&id).filter(|line| !line.leg.is_over()) else { return };
        let Refused { status, q850, retry_after_s, sounded } = refused;
        if sounded {
            line.progress = Progress::EarlySound;
        }
        let Verdict { cause, next } = carrier.verdict(status, q850, line.progress);
        let unreached = match status {
            408 => line.progress == Progress::Silent,
            503 => line.progress < Progress::EarlySound,
            _ => false,
        };
        let elsewhere = unreached && !line.ways.is_empty() && !self.draining;
        line.tries.push(Try { carrier: carrier.id.clone(), sip: status, q850, cause });
        let (again, further) = may_try(&line.tries, &carrier.id);
        tracing::info!(leg = %id, carrier = carrier.id.as_str(), status, q850, cause = cause.slug(), next, "the carrier did not take the call");
        self.bid_failed(id, status, cause);
        if again && elsewhere {
            self.renew_call(id);
            tracing::info!(leg = %id, carrier = carrier.id.as_str(), "the carrier's next address is tried");
            if self.set_out(now, id) {
                return;
            }
        }
        if let (503, Some(seconds)) = (status, retry_after_s) {
            // RFC 3261 section 21.5.4: others may be asked meanwhile, and it may not.
            self.rests(now, &carrier.id, seconds);
        }
        if !(next && further && self.reroute(now, id)) {
            self.tell_leg(now, id, leg::Input::Failed(cause));
        }
    }

    /// The same leg, another call.
    fn renew_call(&mut self, id: LegId) {
        let call = Call::outbound(self.number());
        let Some(line) = self.lines.get_mut(&id) else { return };
        self.by_call.remove(&line.call);
        // What is owed to the carrier before is not what this leg owes in the end.
        self.parting.remove(&line.call);
        self.by_call.insert(call, id);
        line.call = call;
        line.progress = Progress::Silent;
        let rang = std::mem::take(&mut line.heard).needs_ringback();
        line.early.clear();
        // The next one has a tone of its own, or sounds.
        if let (Some(Asker::Keys(by)), true) = (line.asker, rang)
            && !self.hears_ringing(by)
        {
            self.stop_playing(by);
        }
    }

    /// By the next carrier: the same leg, the same money, another call. It is written down before it is made, so that
    /// a next life ends the call that there is.
    fn reroute(&mut self, now: Now, id: LegId) -> bool {
        let facts = self.facts.clone();
        let Some(line) = self.lines.get(&id).filter(|_| !self.draining) else { return false };
        let before = line.carrier.clone();
        if !matches!(line.wire, Wire::Lent(_)) {
            return false;
        }
        let mut others = line.others.iter().filter_map(|carrier| facts.directory.carrier(carrier)).collect();
        let Ok(carrier) = self.carrier_with_room(now, id, &mut others, &[]) else { return false };
        self.guard.step_out(now.mono, id, &Scope::Carrier(before));
        self.renew_call(id);
        let Some(line) = self.lines.get_mut(&id) else { return false };
        line.carrier = carrier.id.clone();
        line.others = others.into_iter().map(|carrier| carrier.id.clone()).collect();
        line.ways.clear();
        tracing::info!(leg = %id, carrier = carrier.id.as_str(), "the next carrier is tried");
        self.open_out(now, id);
        true
    }

    pub(super) fn rerouted(&mut self, now: Now, id: LegId, done: Result<(), StoreError>) {
        let Some(line) = self.lines.get_mut(&id).filter(|line| !line.leg.is_over()) else { return };
        match (done, line.dial.take()) {
            (Ok(()), Some(dial)) => {
                self.ring_there(now, id, dial);
            }
            (Ok(()), None) => {}
            // It has no room for what is held: it was not asked, and the one after it may have some.
            (Err(StoreError::Refused(cause)), _) => {
                if let Some(carrier) = self.carrier_of(id) {
                    passed_over(&carrier, cause.slug());
                }
                if !self.reroute(now, id) {
                    self.tell_leg(now, id, leg::Input::Failed(cause));
                }
            }
            (Err(error), _) => {
                tracing::error!(leg = %id, %error, "the next carrier could not be written down");
                self.tell_leg(now, id, leg::Input::Failed(Cause::StoreDown));
            }
        }
    }

    // ------------------------------------------------------------------------------------------------------------ by keys

    /// What was typed, brought to the one form that price, permission and route use.
    pub(super) fn number_typed(&mut self, now: Now, id: LegId, digits: &str) {
        match DialPlan::default().read(digits) {
            Ok(to) => {
                let command = meeting::Command::DialOut { to };
                self.tell_meeting(now, id, meeting::Input::Asked { by: By::Leg(id), command });
            }
            Err(_) => {
                self.play(id, &[Prompt::InvalidId], NOBODY);
                if let Some(line) = self.lines.get_mut(&id) {
                    line.keypad.ask_number(now.mono);
                }
            }
        }
    }

    /// Whoever is called already, or here, is not called twice.
    pub(super) fn dial_by_keys(&mut self, now: Now, by: LegId, meeting: MeetingId, to: E164) {
        let called = |line: &Line| !line.is_inbound() && line.number == to && line.end.is_none();
        if !self.lines.values().any(|line| called(line) && line.meeting.as_ref() == Some(&meeting)) {
            self.dial(now, Asker::Keys(by), meeting, to);
        }
    }

    /// Gives up what `by` had rung and nobody has answered. Whether there was any.
    pub(super) fn cancel_calls(&mut self, now: Now, by: LegId) -> bool {
        let mut ringing: Vec<LegId> =
            self.lines.values().filter(|line| line.is_rung_by(by)).map(|line| line.id).collect();
        ringing.sort();
        for leg in &ringing {
            self.tell_leg(now, *leg, leg::Input::Stop(Cause::Cancelled));
        }
        !ringing.is_empty()
    }

    /// The meeting was ended for all: for whoever would come into it, too. Whether there was anybody.
    pub(super) fn cancel_called(&mut self, now: Now, meeting: &MeetingId) -> bool {
        let is_on_the_way = |line: &&mut Line| {
            let is_out = !line.is_inbound() && line.meeting.as_ref() == Some(meeting);
            is_out && !line.present && line.parting.is_none() && line.end.is_none()
        };
        let mut called = Vec::new();
        for line in self.lines.values_mut().filter(is_on_the_way) {
            // Whoever dialled by keys is told that the meeting has ended, and nothing beside that.
            line.asker.take_if(|asker| matches!(asker, Asker::Keys(_)));
            called.push(line.id);
        }
        called.sort();
        for leg in &called {
            // Whoever has picked up, and is asked to press 1, is told.
            match self.lines.get(leg).is_some_and(|line| matches!(line.wire, Wire::Attached(_))) {
                true => {
                    self.release(now, *leg, Cause::MeetingEnded, &[Prompt::MeetingEnded, Prompt::Goodbye], LAST_WORD)
                }
                false => self.tell_leg(now, *leg, leg::Input::Stop(Cause::MeetingEnded)),
            }
        }
        !called.is_empty()
    }

    /// Whoever had it made by keys is told why it came to nothing.
    pub(super) fn call_is_over(&mut self, id: LegId, cause: Cause) {
        self.tell_referrer_of_end(id, Some(cause));
        self.sent_away_in_vain(id, cause);
        if let Some(by) = self.rings_no_more(id) {
            self.play(by, &[Prompt::of_call(cause)], NOBODY);
        }
    }

    /// The ringing tone ends for whoever heard it, unless another call of theirs rings.
    fn rings_no_more(&mut self, id: LegId) -> Option<LegId> {
        let line = self.lines.get_mut(&id)?;
        let Some(Asker::Keys(by)) = line.asker else { return None };
        line.asker = None;
        if !self.hears_ringing(by) {
            self.stop_playing(by);
        }
        Some(by)
    }

    /// Whether a phone rings that keys of `by` had rung, and that is not heard itself.
    pub(super) fn hears_ringing(&self, by: LegId) -> bool {
        self.lines.values().any(|line| line.rings_for(by) && line.heard.needs_ringback())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_addresses_of_one_carrier_do_not_use_up_the_tries_of_the_others() {
        let rows: [(&[&str], (bool, bool)); 6] = [
            (&["a"], (true, true)),
            (&["a", "a"], (false, true)),
            (&["a", "a", "b"], (true, true)),
            (&["a", "a", "b", "b", "c", "c"], (false, true)),
            (&["a", "b", "c", "d"], (true, false)),
            (&["a", "a", "b", "b", "c", "c", "d", "d"], (false, false)),
        ];
        for (carriers, expected) in rows {
            let tries: Vec<Try> = carriers
                .iter()
                .map(|name| Try { carrier: name.parse().unwrap(), sip: 408, q850: None, cause: Cause::Unreachable })
                .collect();
            assert_eq!(may_try(&tries, &tries.last().unwrap().carrier), expected, "{carriers:?}");
        }
    }
}
