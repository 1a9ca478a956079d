//! A call that we make: by which carrier, under which name, and what its answer means.

use super::agree::Secrets;
use super::ask::Told;
use super::floor::NOBODY;
use super::inbound::{carrier_limit, payer_scopes};
use super::line::{Asker, Line, Wire};
use super::{Books, Output, Switchboard};
use crate::clock::Now;
use crate::leg::{self, Direction, Leg};
use crate::media;
use crate::meeting::{self, By, Entry, Keypad, Prompt};
use crate::rating::{CallType, Origin, costs};
use crate::sip::{self, Call, Dial, Identity, Way};
use crate::store::{self, StoreError};
use crate::telemetry::name;
use crate::trunk::{Carrier, DialPlan, Limit, Progress, Scope, Verdict};
use crate::types::{Cause, E164, Language, LegId, MeetingId};
use bytes::Bytes;
use rand::RngExt;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

/// A call out is tried by so many carriers at the most: each may take half a minute to be known as dead, and whoever waits
/// has given up by then.
const MOST_CARRIERS: usize = 4;

impl Switchboard {
    /// Somebody wants the meeting to ring a phone. The answer comes when the books have agreed, or not.
    pub(super) fn dial(&mut self, now: Now, asker: Asker, meeting: MeetingId, to: E164) {
        if let Err(cause) = self.prepare(now, asker, meeting, to) {
            metrics::counter!(name::CALLS_REFUSED, "cause" => cause.slug()).increment(1);
            tracing::info!(cause = cause.slug(), to = to.masked(), "call out refused");
            match asker {
                Asker::Desk(token) => self.say(Output::Told { token, told: Told::Refused(cause) }),
                Asker::Keys(by) => self.play(by, &[Prompt::of_call(cause)], NOBODY),
            }
        }
    }

    fn prepare(&mut self, now: Now, asker: Asker, meeting: MeetingId, to: E164) -> Result<(), Cause> {
        if self.draining {
            return Err(Cause::Draining);
        }
        let facts = self.facts.clone();
        let (_, organisation) = facts.payer_of(&meeting).ok_or(Cause::UnknownMeeting)?;
        let caller_id = facts.directory.caller_id(&organisation.id, organisation.country);
        let id = self.new_leg(now);
        let mut others = facts.directory.routes(&to);
        // The cheapest first, as far as carriers have said what they take; the others after them, in their order.
        let call = costs::Call {
            call_type: CallType::DialOut,
            digits: to.digits(),
            origin: Origin::Fixed,
            at: now.wall,
            ms: u64::from(costs::COMPARED_MINUTES) * 60_000,
            currency: organisation.currency,
        };
        others.sort_by_cached_key(|carrier| facts.costs.rank(&carrier.id, &call));
        let mut others: VecDeque<&Carrier> = others.into_iter().take(MOST_CARRIERS).collect();
        let payer = payer_scopes(&facts, &meeting, now.wall, Some(&to));
        let carrier = self.carrier_with_room(now, id, &mut others, &payer)?;

        let number = self.number();
        let language = facts.meeting(&meeting).and_then(|known| known.language);
        let language = language.or(caller_id.map(|number| number.language())).unwrap_or(Language::ENGLISH);
        let seed = self.rng.random();
        let line = Line {
            id,
            leg: Leg::new(Direction::Out, self.leg_config(Some(&meeting)), now, seed),
            call: Call::outbound(number),
            stream: media::StreamId(number),
            number: to,
            caller: caller_id.map(|number| number.e164),
            carrier: carrier.id.clone(),
            house: None,
            languages: vec![language],
            language,
            offer: None,
            wire: Wire::None,
            plan: None,
            secrets: Secrets::default(),
            version: 1,
            lobby: None,
            delayed: None,
            keypad: Keypad::new(self.keys_of(&to)),
            meeting: Some(meeting),
            present: false,
            dial: None,
            asker: Some(asker),
            progress: Progress::Silent,
            others: others.into_iter().map(|carrier| carrier.id.clone()).collect(),
            parting: None,
            end: None,
            joined: None,
            acknowledged: None,
            armed: None,
        };
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
            if carrier.locked.is_some() {
                refused = Cause::CarrierLocked;
                continue;
            }
            if self.is_down(&carrier.id) {
                refused = Cause::Unreachable;
                continue;
            }
            let mut scopes = vec![(Scope::Carrier(carrier.id.clone()), carrier_limit(carrier))];
            scopes.extend_from_slice(payer);
            match self.guard.enter(now.mono, id, &scopes) {
                Ok(()) => return Ok(carrier),
                Err(cause) => refused = cause,
            }
        }
        Err(refused)
    }

    /// There is a port: the call can be written down, journaled, and the books asked.
    pub(super) fn open_out(&mut self, now: Now, id: LegId, local: SocketAddr) {
        let Some(carrier) = self.carrier_of(id) else { return };
        let identity = Identity::draw(&mut self.rng);
        let Some(dial) = self.write_dial(id, &carrier, identity, local) else {
            return self.tell_leg(now, id, leg::Input::Failed(Cause::NoRoute));
        };
        let Some(line) = self.lines.get_mut(&id) else { return };
        let open = store::OpenLeg {
            leg: id,
            call_type: CallType::DialOut,
            number: line.number,
            caller: line.caller,
            origin: Origin::Fixed,
            carrier: Some(line.carrier.clone()),
            meeting: line.meeting.clone(),
            call_id: dial.identity.call_id.clone(),
            journal: sip::journal_of(&dial),
            invited: now.wall,
        };
        line.dial = Some(Box::new(dial));
        self.say(Output::Books(Books::Open(open)));
    }

    fn write_dial(&mut self, id: LegId, carrier: &Carrier, identity: Identity, local: SocketAddr) -> Option<Dial> {
        let route = carrier.route?;
        let Way { flow, contact } = self.way(carrier, route)?;
        let offer = self.write_offer(id, carrier, local)?;
        let line = self.lines.get(&id)?;
        let called = carrier.number_format_out.write(&line.number);
        let shown = line.caller.map(|caller| carrier.number_format_out.write(&caller));
        let from = match &shown {
            Some(shown) => format!("<sip:{shown}@{contact}>"),
            None => format!("\"Anonymous\" <sip:anonymous@{contact}>"),
        };
        let asserted = shown.map(|shown| ("P-Asserted-Identity".to_owned(), format!("<sip:{shown}@{contact}>")));
        Some(Dial {
            call: line.call,
            identity,
            flow,
            contact,
            request_uri: format!("sip:{called}@{}", route.address),
            from,
            to: format!("<sip:{called}@{}>", route.address),
            headers: asserted.into_iter().collect(),
            offer,
            ring_ms: self.config.ring_ms,
            login: self.login_of(carrier).map(Arc::new),
        })
    }

    /// 180, 183 and their like.
    pub(super) fn rings(&mut self, now: Now, id: LegId, with_sound: bool) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let progress = if with_sound { Progress::EarlySound } else { Progress::Ringing };
        let before = line.progress;
        line.progress = before.max(progress);
        if let (Some(Asker::Keys(by)), Progress::Silent) = (line.asker, before) {
            self.play_on_and_on(by, Prompt::Ringback);
        }
        self.tell_leg(now, id, leg::Input::Ringing);
    }

    /// The phone was picked up.
    pub(super) fn answered_out(&mut self, now: Now, id: LegId, journal: String, answer: Option<Bytes>) {
        self.rings_no_more(id);
        let plan = self.late_plan(id, answer);
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

    /// A carrier did not take the call: the next one is asked where that helps, else it is over.
    pub(super) fn failed_out(&mut self, now: Now, id: LegId, status: u16) {
        let Some(carrier) = self.carrier_of(id) else { return };
        let Some(line) = self.lines.get(&id).filter(|line| !line.leg.is_over()) else { return };
        let Verdict { cause, next } = carrier.verdict(status, line.progress);
        if !(next && self.reroute(now, id)) {
            self.tell_leg(now, id, leg::Input::Failed(cause));
        }
    }

    /// By the next carrier: the same leg, the same money, another call. It is written down before it is made, so that
    /// a next life ends the call that there is.
    fn reroute(&mut self, now: Now, id: LegId) -> bool {
        let facts = self.facts.clone();
        let Some(line) = self.lines.get(&id).filter(|_| !self.draining) else { return false };
        let (Wire::Lent(local), before) = (line.wire, line.carrier.clone()) else { return false };
        let mut others = line.others.iter().filter_map(|carrier| facts.directory.carrier(carrier)).collect();
        let Ok(carrier) = self.carrier_with_room(now, id, &mut others, &[]) else { return false };
        self.guard.step_out(now.mono, id, &Scope::Carrier(before));
        let call = Call::outbound(self.number());
        let Some(line) = self.lines.get_mut(&id) else { return false };
        self.by_call.remove(&line.call);
        self.by_call.insert(call, id);
        line.call = call;
        line.carrier = carrier.id.clone();
        line.progress = Progress::Silent;
        line.others = others.into_iter().map(|carrier| carrier.id.clone()).collect();
        let identity = Identity::draw(&mut self.rng);
        let Some(dial) = self.write_dial(id, carrier, identity, local) else { return false };
        tracing::info!(leg = %id, carrier = carrier.id.as_str(), "the next carrier is tried");
        self.say(Output::Books(Books::Reroute(store::Rerouted {
            leg: id,
            carrier: carrier.id.clone(),
            call_id: dial.identity.call_id.clone(),
            journal: sip::journal_of(&dial),
        })));
        if let Some(line) = self.lines.get_mut(&id) {
            line.dial = Some(Box::new(dial));
        }
        true
    }

    pub(super) fn rerouted(&mut self, now: Now, id: LegId, done: Result<(), StoreError>) {
        let Some(line) = self.lines.get_mut(&id).filter(|line| !line.leg.is_over()) else { return };
        match (done, line.dial.take()) {
            (Ok(()), Some(dial)) => self.say(Output::Sip(sip::Command::Dial(dial))),
            (Ok(()), None) => {}
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

    /// Gives up what keys of `by` had rung and nobody has answered. Whether there was any.
    pub(super) fn cancel_calls(&mut self, now: Now, by: LegId) -> bool {
        let mut ringing: Vec<LegId> =
            self.lines.values().filter(|line| line.rings_for(by)).map(|line| line.id).collect();
        ringing.sort();
        for leg in &ringing {
            self.tell_leg(now, *leg, leg::Input::Stop(Cause::Cancelled));
        }
        !ringing.is_empty()
    }

    /// Whoever had it made by keys is told why it came to nothing.
    pub(super) fn call_is_over(&mut self, id: LegId, cause: Cause) {
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

    /// Whether a phone rings that keys of `by` had rung.
    pub(super) fn hears_ringing(&self, by: LegId) -> bool {
        self.lines.values().any(|line| line.rings_for(by) && line.progress > Progress::Silent)
    }
}
