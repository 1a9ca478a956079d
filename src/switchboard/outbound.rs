//! A call that we make: by which carrier, under which name, and what its answer means.

use super::ask::Told;
use super::inbound::{carrier_limit, ours, payer_scopes};
use super::line::{Line, Wire};
use super::{Books, Output, Switchboard};
use crate::clock::Now;
use crate::leg::{self, Direction, Leg};
use crate::media::{self, sdp};
use crate::meeting::{DEFAULT_KEYS, Entry, Keypad};
use crate::rating::CallType;
use crate::sip::{self, Call, Dial, Flow, Identity};
use crate::store;
use crate::trunk::{Carrier, Scope, Transport};
use crate::types::{Cause, E164, Language, LegId, MeetingId};
use bytes::Bytes;
use rand::RngExt;
use std::net::SocketAddr;

impl Switchboard {
    /// Somebody wants the meeting to ring a phone. The answer comes when the books have agreed, or not.
    pub(super) fn dial(&mut self, now: Now, token: u64, meeting: MeetingId, to: E164) {
        let prepared = self.prepare(now, token, meeting, to);
        if let Err(cause) = prepared {
            self.say(Output::Told { token, told: Told::Refused(cause) });
        }
    }

    fn prepare(&mut self, now: Now, token: u64, meeting: MeetingId, to: E164) -> Result<(), Cause> {
        if self.draining {
            return Err(Cause::Draining);
        }
        let facts = self.facts.clone();
        let (_, organisation) = facts.payer_of(&meeting).ok_or(Cause::UnknownMeeting)?;
        let carrier = facts.directory.routes(&to).first().copied().ok_or(Cause::NoRoute)?;
        let caller_id = facts.directory.caller_id(&organisation.id, organisation.country);
        let id = self.new_leg(now);
        let mut scopes = vec![(Scope::Carrier(carrier.id.clone()), carrier_limit(carrier))];
        scopes.extend(payer_scopes(&facts, &meeting));
        self.guard.enter(now.mono, id, &scopes)?;

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
            version: 1,
            lobby: None,
            delayed: None,
            keypad: Keypad::new(DEFAULT_KEYS),
            meeting: Some(meeting),
            present: false,
            dial: None,
            asker: Some(token),
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
        Ok(())
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
            carrier: Some(line.carrier.clone()),
            meeting: line.meeting.clone(),
            call_id: dial.identity.call_id.clone(),
            journal: sip::journal_of(&dial),
            invited: now.wall,
        };
        line.dial = Some(Box::new(dial));
        self.say(Output::Books(Books::Open(open)));
    }

    fn write_dial(&self, id: LegId, carrier: &Carrier, identity: Identity, local: SocketAddr) -> Option<Dial> {
        let line = self.lines.get(&id)?;
        let route = carrier.route?;
        let (transport, addresses) = match route.transport {
            Transport::Udp => (sip::Transport::Udp, self.config.udp),
            Transport::Tcp => (sip::Transport::Tcp, self.config.tcp),
        };
        let (bound, advertised) = addresses?;
        let contact = carrier.advertise.unwrap_or(advertised);
        let codecs = self.codecs_of(carrier);
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
            flow: Flow { transport, local: bound, peer: route.address },
            contact,
            request_uri: format!("sip:{called}@{}", route.address),
            from,
            to: format!("<sip:{called}@{}>", route.address),
            headers: asserted.into_iter().collect(),
            offer: sdp::offer(&ours(local, line.stream.0, line.version, &codecs)),
            ring_ms: self.config.ring_ms,
        })
    }

    /// The phone was picked up.
    pub(super) fn answered_out(&mut self, now: Now, id: LegId, journal: String, answer: Option<Bytes>) {
        let plan = self.plan_of(id, answer);
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

    fn plan_of(&self, id: LegId, answer: Option<Bytes>) -> Option<media::Plan> {
        let line = self.lines.get(&id)?;
        let Wire::Lent(local) = line.wire else { return None };
        let codecs = self.codecs_of(&self.carrier_of(id)?);
        sdp::accept(&answer?, &ours(local, line.stream.0, line.version, &codecs)).ok()
    }

    pub(super) fn failed_out(&mut self, now: Now, id: LegId, status: u16) {
        self.tell_leg(now, id, leg::Input::Failed(cause_of(status)));
    }
}

/// What a carrier's refusal means to people (RFC 3398 section 8.2.6.1, read the other way).
pub(super) fn cause_of(status: u16) -> Cause {
    match status {
        404 | 410 | 604 => Cause::UnknownNumber,
        408 | 480 => Cause::NoAnswer,
        484 => Cause::BadNumber,
        486 | 600 => Cause::Busy,
        487 => Cause::Cancelled,
        488 | 606 => Cause::NoCodec,
        603 => Cause::Declined,
        502..=504 => Cause::Unreachable,
        _ => Cause::CarrierRefused,
    }
}
