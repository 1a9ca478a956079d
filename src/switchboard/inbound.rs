//! A call rings in: whose number is it, who may call, what is spoken.

use super::agree::Secrets;
use super::line::{Line, Wire};
use super::{Books, Output, Switchboard};
use crate::clock::{Now, Wall};
use crate::leg::{self, Direction, Leg};
use crate::media::{self, Codec};
use crate::meeting::{Entry, KeyMap, Keypad};
use crate::rating::{CallType, Origin};
use crate::sip::{self, Call, Invitation, Reason, Refusal};
use crate::store::{self, Facts};
use crate::telemetry::name;
use crate::trunk::{Called, Carrier, CodecName, Limit, Number, NumberKind, Progress, Scope, Telephone};
use crate::types::{Cause, E164, LegId, MeetingId};
use bytes::Bytes;
use rand::RngExt;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Why a call gets no leg and, where it is for the sound, what is wrong with that.
pub(super) struct TurnedAway {
    cause: Cause,
    why: Option<media::sdp::Refusal>,
}

impl From<Cause> for TurnedAway {
    fn from(cause: Cause) -> TurnedAway {
        TurnedAway { cause, why: None }
    }
}

impl Switchboard {
    pub(super) fn invited(&mut self, now: Now, invitation: Invitation) {
        let facts = self.facts.clone();
        let (peer, login) = (invitation.flow.peer, invitation.login.as_deref());
        let Some(carrier) = facts.directory.caller(peer, login, &invitation.request_user) else {
            return self.refuse_call(None, invitation.call, Cause::UnknownNumber.into());
        };
        match self.admit_call(now, &facts, carrier, &invitation) {
            Ok((leg, number)) => self.open_in(now, leg, carrier, number, invitation),
            Err(turned) => self.refuse_call(Some(carrier), invitation.call, turned),
        }
    }

    /// All that can refuse a call before a leg is born: then it costs nobody anything.
    fn admit_call<'a>(
        &mut self,
        now: Now,
        facts: &'a Facts,
        carrier: &Carrier,
        invitation: &Invitation,
    ) -> Result<(LegId, &'a Number), TurnedAway> {
        if self.draining {
            return Err(Cause::Draining.into());
        }
        if carrier.locked.is_some() {
            return Err(Cause::CarrierLocked.into());
        }
        let called = Called {
            request_user: &invitation.request_user,
            to_user: &invitation.to_user,
            diversion_user: invitation.diversion_user.as_deref(),
            called_party_user: invitation.called_party_user.as_deref(),
        };
        let number = facts.directory.number(carrier, &called).ok_or(Cause::UnknownNumber)?;
        if let Some(offer) = &invitation.offer {
            // Looked at before a port is lent.
            self.can_answer(carrier, offer).map_err(|why| TurnedAway { cause: Cause::NoCodec, why: Some(why) })?;
        }
        let leg = self.new_leg(now);
        let mut scopes = vec![(Scope::Carrier(carrier.id.clone()), carrier_limit(carrier))];
        scopes.extend(number.meeting.iter().flat_map(|meeting| payer_scopes(facts, meeting, now.wall, None)));
        self.guard.enter(now.mono, leg, &scopes)?;
        Ok((leg, number))
    }

    fn open_in(&mut self, now: Now, id: LegId, carrier: &Carrier, number: &Number, invitation: Invitation) {
        let asserted = invitation.asserted_user.as_deref().unwrap_or(&invitation.from_user);
        let caller = carrier.caller(asserted).filter(|_| !invitation.anonymous);
        let call_type = match number.kind {
            NumberKind::Toll => CallType::DialInToll,
            NumberKind::TollFree => CallType::DialInTollFree,
        };
        let origin = match Telephone::of(invitation.line, invitation.category.as_deref()) {
            Telephone::Ordinary => Origin::Fixed,
            Telephone::Mobile => Origin::Mobile,
            Telephone::Payphone => Origin::Payphone,
        };
        let stream = media::StreamId(self.number());
        let seed = self.rng.random();
        let line = Line {
            id,
            leg: Leg::new(Direction::In, self.leg_config(number.meeting.as_ref()), now, seed),
            call: invitation.call,
            stream,
            number: number.e164,
            caller,
            carrier: carrier.id.clone(),
            house: number.organisation.clone(),
            languages: number.languages.clone(),
            language: number.language(),
            offer: invitation.offer,
            wire: Wire::None,
            plan: None,
            secrets: Secrets::default(),
            version: 1,
            lobby: None,
            delayed: None,
            keypad: Keypad::new(self.keys_of(&number.e164)),
            meeting: number.meeting.clone(),
            present: false,
            dial: None,
            asker: None,
            progress: Progress::Silent,
            others: VecDeque::new(),
            parting: None,
            end: None,
            joined: None,
            acknowledged: None,
            armed: None,
        };
        self.by_call.insert(line.call, id);
        self.by_stream.insert(stream, id);
        self.say(Output::Books(Books::Open(store::OpenLeg {
            leg: id,
            call_type,
            number: number.e164,
            caller,
            origin,
            carrier: Some(carrier.id.clone()),
            meeting: number.meeting.clone(),
            call_id: invitation.call_id,
            journal: invitation.journal,
            invited: now.wall,
        })));
        self.say(Output::Sip(sip::Command::Ring { call: line.call, status: 180, answer: None }));
        self.lines.insert(id, line);
        self.see_caller(now, &carrier.id, caller);
        self.touch(id);
    }

    /// The leg wants to be answered and has a port now.
    pub(super) fn answer_in(&mut self, now: Now, id: LegId, local: SocketAddr) {
        let Some(carrier) = self.carrier_of(id) else { return };
        let Some(line) = self.lines.get_mut(&id) else { return };
        let call = line.call;
        let Some(theirs) = line.offer.take() else {
            // They want our offer: what is spoken comes with the ACK.
            let Some(answer) = self.write_offer(id, &carrier, local) else { return };
            self.say(Output::Sip(sip::Command::Accept { call, answer }));
            return self.is_answered(now, id);
        };
        match self.answer_offer(id, &carrier, local, &theirs) {
            Some((answer, plan)) => {
                self.attach(id, plan);
                self.say(Output::Sip(sip::Command::Accept { call, answer }));
                self.is_answered(now, id);
            }
            None => self.tell_leg(now, id, leg::Input::Stop(Cause::NoCodec)),
        }
    }

    /// 200 is out: charged time begins, and so does the greeting.
    fn is_answered(&mut self, now: Now, id: LegId) {
        self.tell_leg(now, id, leg::Input::Answered);
        self.say(Output::Books(Books::Answered(store::Answered { leg: id, at: now.wall, journal: None })));
        if self.lines.get(&id).is_some_and(|line| matches!(line.wire, Wire::Attached(_))) {
            self.greet(now, id);
        }
    }

    fn greet(&mut self, now: Now, id: LegId) {
        let direct = self.lines.get(&id).and_then(|line| line.meeting.clone());
        let entry = match direct {
            Some(meeting) => Entry::Direct(self.known(&meeting)),
            None => Entry::Shared,
        };
        self.open_lobby(now, id, entry);
    }

    /// The ACK: from now on the caller is heard, and hears.
    pub(super) fn acknowledged(&mut self, now: Now, id: LegId, answer: Option<Bytes>) {
        self.tell_leg(now, id, leg::Input::Acknowledged);
        let Some(line) = self.lines.get_mut(&id) else { return };
        line.acknowledged.get_or_insert(now.wall);
        let stream = line.stream;
        if let Wire::Lent(_) = line.wire {
            // Late offer: the ACK carries their answer, or there is nothing to talk over.
            match self.late_plan(id, answer) {
                Some(plan) => {
                    self.attach(id, plan);
                    self.greet(now, id);
                }
                None => return self.tell_leg(now, id, leg::Input::Stop(Cause::NoCodec)),
            }
        }
        self.say(Output::Media(media::Command::Gag { stream, on: false }));
    }

    /// What their answer to our offer agreed on, while nothing is attached yet.
    pub(super) fn late_plan(&mut self, id: LegId, answer: Option<Bytes>) -> Option<media::Plan> {
        let Wire::Lent(local) = self.lines.get(&id)?.wire else { return None };
        let carrier = self.carrier_of(id)?;
        self.accept_answer(id, &carrier, local, &answer?)
    }

    /// Sound begins; gagged until the ACK where the call came in.
    pub(super) fn attach(&mut self, id: LegId, plan: media::Plan) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let (Wire::Lent(local) | Wire::Attached(local)) = line.wire else { return };
        line.wire = Wire::Attached(local);
        line.plan = Some(plan);
        let (stream, gagged) = (line.stream, line.is_inbound());
        let secret = line.secrets.agreed.clone();
        self.say(Output::Attach { stream, plan, secret });
        if gagged {
            self.say(Output::Media(media::Command::Gag { stream, on: true }));
        }
    }

    /// A change within the call: hold, resume, another address, another codec.
    pub(super) fn offered(&mut self, id: LegId, offer: Option<Bytes>) {
        let Some(carrier) = self.carrier_of(id) else { return };
        let Some(line) = self.lines.get_mut(&id) else { return };
        let call = line.call;
        let Wire::Attached(local) = line.wire else {
            return self.say(Output::Sip(sip::Command::Disagree { call, status: 491 }));
        };
        line.version += 1;
        let Some(offer) = offer else {
            let Some(answer) = self.write_offer(id, &carrier, local) else { return };
            return self.say(Output::Sip(sip::Command::Agree { call, answer }));
        };
        match self.answer_offer(id, &carrier, local, &offer) {
            Some((answer, plan)) => {
                self.change(id, plan);
                self.say(Output::Sip(sip::Command::Agree { call, answer }));
            }
            None => self.say(Output::Sip(sip::Command::Disagree { call, status: 488 })),
        }
    }

    /// The ACK of a change that we offered.
    pub(super) fn agreed(&mut self, id: LegId, answer: Option<Bytes>) {
        let Some(carrier) = self.carrier_of(id) else { return };
        let Some(Wire::Attached(local)) = self.lines.get(&id).map(|line| line.wire) else { return };
        if let Some(plan) = answer.and_then(|answer| self.accept_answer(id, &carrier, local, &answer)) {
            self.change(id, plan);
        }
    }

    fn change(&mut self, id: LegId, plan: media::Plan) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        line.plan = Some(plan);
        let (stream, secret) = (line.stream, line.secrets.agreed.clone());
        // Keys first: nothing of the new way goes out under the old ones.
        self.say(Output::Media(media::Command::Secure { stream, secret }));
        self.say(Output::Media(media::Command::Change { stream, plan }));
    }

    pub(super) fn refuse_call(&mut self, carrier: Option<&Carrier>, call: Call, turned: TurnedAway) {
        let TurnedAway { cause, why } = turned;
        let (status, q850) = carrier.map_or((cause.sip(), cause.q850()), |carrier| carrier.refusal_for(cause));
        metrics::counter!(name::CALLS_REFUSED, "cause" => cause.slug()).increment(1);
        tracing::info!(cause = cause.slug(), status, carrier = carrier.map(|c| c.id.as_str()), "call refused");
        let refusal = Refusal {
            status,
            phrase: String::new(),
            reason: Some(reason(cause, Some(q850))),
            retry_after_s: (status == 503).then_some(self.config.retry_after_s),
            warning: why.map(|why| (why.warning(), why.to_string())),
        };
        self.say(Output::Sip(sip::Command::Refuse { call, refusal }));
    }

    pub(super) fn carrier_of(&self, id: LegId) -> Option<Carrier> {
        let line = self.lines.get(&id)?;
        // A carrier that was taken from the directory in mid-call goes on as a plain one.
        let known = self.facts.directory.carrier(&line.carrier).cloned();
        Some(known.unwrap_or_else(|| Carrier::new(line.carrier.clone())))
    }

    /// What keys do for callers of this number, and for those whom the bridge calls.
    pub(super) fn keys_of(&self, number: &E164) -> KeyMap {
        self.config.number_keys.get(number).unwrap_or(&self.config.keys).clone()
    }

    /// What is spoken with a carrier: its order, or ours.
    pub(super) fn codecs_of(&self, carrier: &Carrier) -> Vec<Codec> {
        let named: Vec<Codec> = carrier.codecs.iter().flat_map(|name| codecs(*name)).collect();
        let usable: Vec<Codec> = named.into_iter().filter(|codec| self.config.codecs.contains(codec)).collect();
        if usable.is_empty() { self.config.codecs.clone() } else { usable }
    }

    pub(super) fn leg_config(&self, meeting: Option<&MeetingId>) -> leg::Config {
        let limit = meeting.and_then(|meeting| self.facts.payer_of(meeting)).and_then(|(_, o)| o.limits.max_call_s);
        let longest_ms = limit.map_or(u64::MAX, |seconds| u64::from(seconds) * 1_000);
        leg::Config { longest_ms: self.config.leg.longest_ms.min(longest_ms), ..self.config.leg }
    }
}

/// The address of our sound as this carrier sees it: its own, for a bridge behind 1:1 NAT.
pub(super) fn shown_to(carrier: &Carrier, local: SocketAddr) -> SocketAddr {
    carrier.advertise.map_or(local, |shown| SocketAddr::new(shown.ip(), local.port()))
}

pub(super) fn reason(cause: Cause, q850: Option<u8>) -> Reason {
    Reason { q850: q850.or(Some(cause.q850())), sip: None, text: cause.words().to_owned() }
}

/// The limits that come with a payer, at a moment of its calendar; calls out (`to`) have one more.
pub(super) fn payer_scopes(facts: &Facts, meeting: &MeetingId, at: Wall, to: Option<&E164>) -> Vec<(Scope, Limit)> {
    let Some((user, organisation)) = facts.payer_of(meeting) else { return Vec::new() };
    let caps = organisation.limits.caps;
    let block =
        |to| (Scope::block(organisation.id.clone(), to), Limit { max_calls: caps.block_calls, ..Limit::default() });
    let mut scopes = vec![
        (Scope::Organisation(organisation.id.clone()), organisation.calls(at)),
        (Scope::Organiser(user.id.clone()), caps.organiser()),
        (Scope::Meeting(meeting.clone()), caps.meeting()),
    ];
    scopes.extend(to.map(block));
    scopes
}

pub(super) fn carrier_limit(carrier: &Carrier) -> Limit {
    Limit { max_calls: carrier.max_calls, max_calls_per_second: carrier.max_calls_per_second }
}

/// The codecs of a name: plain samples come at several rates, the widest first.
fn codecs(name: CodecName) -> impl Iterator<Item = Codec> {
    let name = name.to_string();
    let is_named = move |codec: &Codec| codec.name() == name;
    Codec::ALL.into_iter().rev().filter(is_named)
}
