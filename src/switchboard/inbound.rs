//! A call rings in: whose number is it, who may call, what is spoken.

use super::line::{Born, Line, Wire};
use super::naming::{conference_asked, number_of_conferences};
use super::{Books, Output, Switchboard};
use crate::clock::{Now, Wall};
use crate::leg::{self, Direction, Leg};
use crate::media::{self, Codec};
use crate::meeting::{Entry, KeyMap, Keypad};
use crate::rating::record::CallerIdentity;
use crate::rating::{CallType, Origin};
use crate::sip::{self, Call, Invitation, Reason, Refusal, Way};
use crate::store::{self, Facts};
use crate::telemetry::name;
use crate::trunk::{
    Called, Carrier, Claims, CodecName, Flaw, Limit, Number, NumberKind, Party, Scope, Signed, StirPolicy, Telephone,
    is_emergency,
};
use crate::types::{Cause, E164, LegId, MeetingId};
use bytes::Bytes;
use rand::RngExt;
use std::sync::Arc;

/// Why a call gets no leg and, where it is for the sound, what is wrong with that.
pub(super) struct TurnedAway {
    cause: Cause,
    why: Option<media::sdp::Refusal>,
    /// What is wrong with whoever signs for the caller's number.
    flaw: Option<Flaw>,
    /// An extension that it insists on, and that its carrier may not use.
    unsupported: Option<&'static str>,
}

impl TurnedAway {
    /// The final response, and its words where they are not the usual ones: the carrier's own for the cause, or that which names the
    /// flaw.
    fn response(&self, usual: u16) -> (u16, &'static str) {
        match (self.flaw, self.unsupported) {
            (Some(flaw), _) => flaw.response(),
            (None, Some(_)) => (420, ""),
            (None, None) => (usual, ""),
        }
    }
}

/// A call that may have a leg.
struct Admitted<'a> {
    leg: LegId,
    number: &'a Number,
    /// The meeting that pays, where that is known; and the leg whose place it takes.
    meeting: Option<MeetingId>,
    replaces: Option<LegId>,
    party: Party,
    signed: Option<Result<Signed, Flaw>>,
}

/// A call in that is to be a leg.
pub(super) struct Arrival<'a> {
    pub leg: LegId,
    pub call: Call,
    pub call_id: String,
    pub journal: String,
    pub number: &'a Number,
    pub caller: Option<E164>,
    pub origin: Origin,
    pub identity: Option<CallerIdentity>,
    /// The meeting that pays, where that is known.
    pub meeting: Option<MeetingId>,
}

impl From<Cause> for TurnedAway {
    fn from(cause: Cause) -> TurnedAway {
        TurnedAway { cause, why: None, flaw: None, unsupported: None }
    }
}

impl Switchboard {
    pub(super) fn take_call(&mut self, now: Now, invitation: Invitation) {
        let facts = self.facts.clone();
        let Some(carrier) = self.carrier_calling(&facts, &invitation) else {
            return self.refuse_call(now, None, invitation.call, &invitation.call_id, Cause::UnknownNumber.into());
        };
        match self.admit_call(now, &facts, carrier, &invitation) {
            Ok(admitted) => self.open_in(now, carrier, admitted, invitation),
            Err(turned) => {
                let (status, _) = turned.response(carrier.refusal_for(turned.cause).0);
                self.turned_away(&carrier.id, status, turned.cause);
                self.refuse_call(now, Some(carrier), invitation.call, &invitation.call_id, turned);
            }
        }
    }

    pub(super) fn carrier_calling<'a>(&self, facts: &'a Facts, invitation: &Invitation) -> Option<&'a Carrier> {
        let Invitation { flow, login, shown, request_user, .. } = invitation;
        facts.directory.caller(flow.peer, shown.as_deref(), login.as_deref(), request_user, &self.hosts)
    }

    /// All that can refuse a call before a leg is born: then it costs nobody anything.
    fn admit_call<'a>(
        &mut self,
        now: Now,
        facts: &'a Facts,
        carrier: &Carrier,
        invitation: &Invitation,
    ) -> Result<Admitted<'a>, TurnedAway> {
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
        if [called.request_user, called.to_user].into_iter().any(is_emergency) {
            // Told apart from a number that we do not know: somebody's routes are wrong, and somebody may need help.
            tracing::error!(carrier = carrier.id.as_str(), "a call for help came here: the carrier's routes are wrong");
            return Err(Cause::NumberBlocked.into());
        }
        if invitation.requires_replaces && !carrier.transfers {
            return Err(TurnedAway { unsupported: Some("replaces"), ..Cause::TransferRefused.into() });
        }
        let replaces = self.whom_to_replace(carrier, invitation)?;
        let old = replaces.and_then(|leg| self.lines.get(&leg));
        let is_new = old.is_none() && carrier.conference_number.is_some();
        let digits = conference_asked(&invitation.request_user).filter(|_| is_new);
        let named = match digits {
            Some(_) => number_of_conferences(facts, carrier),
            None => facts.directory.number(carrier, &called),
        };
        let number = match old {
            None => named.ok_or(Cause::UnknownNumber)?,
            // What it calls is us, and not a number; where it names one, it is to be the same: that decides the price.
            Some(old) if named.is_some_and(|named| Some(named.e164) != old.own_number()) => {
                return Err(Cause::TransferRefused.into());
            }
            Some(old) => {
                let own = old.own_number().and_then(|own| facts.directory.find(&own));
                own.ok_or(Cause::UnknownNumber)?
            }
        };
        let led = old.map_or_else(|| number.meeting.clone(), |old| old.meeting.clone());
        if let Some(offer) = &invitation.offer {
            // Looked at before a port is lent.
            self.can_answer(carrier, offer).map_err(|why| TurnedAway { why: Some(why), ..Cause::NoCodec.into() })?;
        }
        let party = carrier.who_calls(&claims(invitation));
        let signed = self.signed(now, carrier, &party, invitation, number)?;
        if self.unlent.len() >= self.ports {
            return Err(Cause::Overloaded.into());
        }
        let leg = self.new_leg(now);
        let mut scopes = vec![(Scope::Carrier(carrier.id.clone()), carrier_limit(carrier))];
        let meeting = match digits {
            None => led,
            Some(digits) => {
                // Whoever guesses has called: the carrier's limits are of these too.
                self.guard.enter(now.mono, leg, &scopes)?;
                let asked = self.meeting_asked(now, leg, carrier, (number, party.number), digits);
                Some(asked.inspect_err(|_| self.guard.leave(now.mono, leg))?)
            }
        };
        scopes.extend(meeting.iter().flat_map(|meeting| payer_scopes(facts, meeting, now.wall, None)));
        self.guard.enter(now.mono, leg, &scopes).inspect_err(|_| self.guard.leave(now.mono, leg))?;
        Ok(Admitted { leg, number, meeting, replaces, party, signed })
    }

    /// Whether somebody signs for the caller's number; `None` where no authority is named. What a carrier's policy refuses is
    /// refused here, before a leg.
    fn signed(
        &mut self,
        now: Now,
        carrier: &Carrier,
        party: &Party,
        invitation: &Invitation,
        number: &Number,
    ) -> Result<Option<Result<Signed, Flaw>>, TurnedAway> {
        if self.trust.is_empty() && carrier.stir == StirPolicy::Record {
            return Ok(None);
        }
        let read = |user: &str| carrier.number_format_in.read(user).ok();
        // To is whatever the caller writes: a signature of a call to somebody else must not do for one to us.
        let to = read(&invitation.to_user).filter(|to| self.facts.directory.find(to).is_some());
        let called: Vec<E164> = [to, read(&invitation.request_user), Some(number.e164)].into_iter().flatten().collect();
        let identities = invitation.identities.iter().map(String::as_str);
        let found = self.trust.verify(identities, party.hidden_number, &called, now.wall);
        let found =
            found.and_then(|found| if self.spent.is_spent(&found.mark) { Err(Flaw::Replayed) } else { Ok(found) });
        metrics::counter!(name::ATTESTATIONS, "found" => said(&found)).increment(1);
        match found {
            Err(flaw) if carrier.stir.refuses(flaw) => {
                Err(TurnedAway { flaw: Some(flaw), ..Cause::IdentityRefused.into() })
            }
            found => Ok(Some(found)),
        }
    }

    fn open_in(&mut self, now: Now, carrier: &Carrier, admitted: Admitted<'_>, invitation: Invitation) {
        let Admitted { leg: id, number, meeting, replaces, party, signed } = admitted;
        let caller = party.number;
        let origin = match party.telephone {
            Telephone::Ordinary => Origin::Fixed,
            Telephone::Mobile => Origin::Mobile,
            Telephone::Payphone => Origin::Payphone,
        };
        let identity = Some(CallerIdentity {
            withheld: party.withheld,
            whence: party.whence.to_string(),
            diversions: party.diversions,
            attestation: signed.as_ref().map(|signed| said(signed).to_owned()),
            provider: signed.as_ref().and_then(|signed| signed.as_ref().ok()?.provider.clone()),
        });
        let Invitation { call, call_id, journal, offer, flow, .. } = invitation;
        let arrival = Arrival { leg: id, call, call_id, journal, number, caller, origin, identity, meeting };
        let mark = signed.and_then(Result::ok).map(|signed| signed.mark);
        let line = Line { offer, replaces, mark, peer: Some(flow.peer.ip()), ..self.bear(now, carrier, arrival) };
        self.by_call.insert(call, id);
        self.by_stream.insert(line.stream, id);
        if let Some(login) = self.login_of(carrier) {
            self.say(Output::Sip(sip::Command::Prove { call, login: Arc::new(login) }));
        }
        if carrier.transfers {
            self.say(Output::Sip(sip::Command::MayTransfer { call }));
        }
        self.say(Output::Sip(sip::Command::Ring { call, status: 180, answer: None }));
        self.lines.insert(id, line);
        self.unlent.insert(id);
        self.tell_of_tcp(id, call, Way { flow, contact: flow.local });
        self.bid(now, id);
        self.see_caller(now, &carrier.id, caller);
        self.touch(id);
    }

    /// A leg is born: the books are asked.
    pub(super) fn bear(&mut self, now: Now, carrier: &Carrier, arrival: Arrival<'_>) -> Line {
        let Arrival { leg: id, call, call_id, journal, number, caller, origin, identity, meeting } = arrival;
        let call_type = match number.kind {
            NumberKind::Toll => CallType::DialInToll,
            NumberKind::TollFree => CallType::DialInTollFree,
        };
        let stream = media::StreamId(self.number());
        let seed = self.rng.random();
        self.say(Output::Books(Books::Open(store::OpenLeg {
            leg: id,
            call_type,
            number: number.e164,
            caller,
            origin,
            carrier: Some(carrier.id.clone()),
            meeting: meeting.clone(),
            call_id: call_id.clone(),
            journal,
            invited: now.wall,
        })));
        let born = Born {
            id,
            leg: Leg::new(Direction::In, self.leg_config(meeting.as_ref()), now, seed),
            call,
            stream,
            number: number.e164,
            caller,
            carrier: carrier.id.clone(),
            languages: number.languages.clone(),
            language: number.language(),
            keypad: Keypad::new(self.keys_of(&number.e164)),
        };
        let (call_ids, house) = (vec![call_id], number.organisation.clone());
        Line { call_ids, origin, identity, house, meeting, opened: true, ..Line::new(born) }
    }

    /// The leg wants to be answered and has a port now.
    pub(super) fn answer_in(&mut self, now: Now, id: LegId, port: u16) {
        let Some(carrier) = self.carrier_of(id) else { return };
        let old = self.lines.get(&id).and_then(|line| line.replaces);
        if old.is_some_and(|old| self.lines.get(&old).is_none_or(|line| line.end.is_some() || line.parting.is_some())) {
            // It ended meanwhile (RFC 3891 section 3).
            return self.tell_leg(now, id, leg::Input::Stop(Cause::Declined));
        }
        let Some(line) = self.lines.get_mut(&id) else { return };
        let call = line.call;
        let Some(theirs) = line.offer.take() else {
            // They want our offer: what is spoken comes with the ACK.
            let Some(answer) = self.write_offer(id, &carrier, port) else { return };
            self.say(Output::Sip(sip::Command::Accept { call, answer }));
            return self.is_answered(now, id);
        };
        match self.answer_offer(id, &carrier, port, &theirs) {
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
        self.bid_rings(now, id);
        self.tell_leg(now, id, leg::Input::Answered);
        self.say(Output::Books(Books::Answered(store::Answered { leg: id, at: now.wall, journal: None })));
        let is_ready = |line: &Line| matches!(line.wire, Wire::Attached(_)) && line.replaces.is_none();
        if self.lines.get(&id).is_some_and(is_ready) {
            self.greet(now, id);
        }
    }

    pub(super) fn greet(&mut self, now: Now, id: LegId) {
        let direct = self.lines.get(&id).and_then(|line| line.meeting.clone());
        let entry = match direct {
            Some(meeting) => Entry::Direct(self.known(&meeting)),
            None => Entry::Shared,
        };
        self.open_lobby(now, id, entry);
    }

    /// The ACK: from now on the caller is heard, and hears.
    pub(super) fn acknowledged(&mut self, now: Now, id: LegId, answer: Option<Bytes>) {
        self.bid_answered(now, id);
        self.tell_leg(now, id, leg::Input::Acknowledged);
        let Some(line) = self.lines.get_mut(&id) else { return };
        line.acknowledged.get_or_insert(now.wall);
        let (stream, wire, replaces) = (line.stream, line.wire, line.replaces.is_some());
        let used = line.mark.take().map(|mark| self.spent.spend(now.mono, mark));
        if used.is_some_and(|used| used.forgot) {
            metrics::counter!(name::SIGNATURES_FORGOTTEN).increment(1);
        }
        // Of several calls that came at once with one signature the first that is taken up has it.
        if used.is_some_and(|used| used.is_replay)
            && self.carrier_of(id).is_some_and(|carrier| carrier.stir.refuses(Flaw::Replayed))
        {
            return self.tell_leg(now, id, leg::Input::Stop(Cause::IdentityRefused));
        }
        if let Wire::Lent(_) = wire {
            // Late offer: the ACK carries their answer, or there is nothing to talk over.
            match self.late_plan(id, answer) {
                Some(plan) => {
                    self.attach(id, plan);
                    if !replaces {
                        self.greet(now, id);
                    }
                }
                None => return self.tell_leg(now, id, leg::Input::Stop(Cause::NoCodec)),
            }
        }
        if replaces && !self.take_over(now, id) {
            self.greet(now, id);
        }
        self.say(Output::Media(media::Command::Gag { stream, on: false }));
    }

    /// What their answer to our offer agreed on, while nothing is attached yet.
    pub(super) fn late_plan(&mut self, id: LegId, answer: Option<Bytes>) -> Option<media::Plan> {
        let (Wire::Lent(port) | Wire::Early(port)) = self.lines.get(&id)?.wire else { return None };
        let carrier = self.carrier_of(id)?;
        self.accept_answer(id, &carrier, port, &answer?)
    }

    /// Sound begins; gagged until the ACK where the call came in.
    pub(super) fn attach(&mut self, id: LegId, plan: media::Plan) {
        let Some(line) = self.lines.get_mut(&id) else { return };
        let (Wire::Lent(port) | Wire::Early(port) | Wire::Attached(port)) = line.wire else { return };
        let before = std::mem::replace(&mut line.wire, Wire::Attached(port));
        line.plan = Some(plan);
        if matches!(before, Wire::Early(_)) {
            return self.end_early(id, plan);
        }
        let (stream, gagged) = (line.stream, line.is_inbound());
        let secret = line.accord.secret.clone();
        self.say(Output::Attach { stream, plan, secret });
        if gagged {
            self.say(Output::Media(media::Command::Gag { stream, on: true }));
        }
    }

    /// `call_id` is for the log, where it finds what the carrier complains of.
    pub(super) fn refuse_call(
        &mut self,
        now: Now,
        carrier: Option<&Carrier>,
        call: Call,
        call_id: &str,
        turned: TurnedAway,
    ) {
        let cause = turned.cause;
        let (usual, q850) = carrier.map_or((cause.sip(), cause.q850()), |carrier| carrier.refusal_for(cause));
        let (status, phrase) = turned.response(usual);
        metrics::counter!(name::CALLS_REFUSED, "cause" => cause.slug()).increment(1);
        if let Some(untold) = self.ration_of_carriers.take(now.mono) {
            let carrier = carrier.map(|carrier| carrier.id.as_str());
            let (call_id, flaw) = (call_id.escape_debug(), turned.flaw.map(Flaw::word));
            let sound = turned.why.as_ref().map(tracing::field::display);
            tracing::info!(cause = cause.slug(), status, carrier, %call_id, flaw, sound, untold, "call refused");
        }
        let refusal = Refusal {
            status,
            phrase: phrase.to_owned(),
            reason: Some(reason(cause, Some(q850))),
            retry_after_s: (status == 503).then_some(self.config.retry_after_s),
            warning: turned.why.map(|why| (why.warning(), why.to_string())),
            unsupported: turned.unsupported,
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

/// The word of records: how sure the signer is, or what is wrong.
fn said(signed: &Result<Signed, Flaw>) -> &'static str {
    signed.as_ref().map_or_else(|flaw| flaw.word(), |signed| signed.attestation.letter())
}

/// What an INVITE says of its caller.
pub(super) fn claims(invitation: &Invitation) -> Claims<'_> {
    Claims {
        from: &invitation.from_user,
        asserted: invitation.asserted_user.as_deref(),
        remote_party: invitation.remote_party_user.as_deref(),
        preferred: invitation.preferred_user.as_deref(),
        hidden: invitation.anonymous,
        line: invitation.line,
        category: invitation.category.as_deref(),
        diversions: invitation.diversions,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Mono;
    use crate::meeting::{self, LobbyConfig};
    use crate::store::{Options, Store};
    use crate::switchboard::Config;
    use crate::switchboard::sound::Sounds;
    use crate::trunk::{GuardConfig, PatternConfig};
    use std::collections::BTreeMap;
    use std::net::{IpAddr, Ipv4Addr};

    fn config() -> Config {
        Config {
            leg: leg::Config::default(),
            lobby: LobbyConfig::default(),
            meeting: meeting::Config::default(),
            keys: KeyMap::default(),
            number_keys: BTreeMap::new(),
            guard: GuardConfig::default(),
            patterns: PatternConfig::default(),
            codecs: vec![Codec::Pcma],
            comfort_noise: false,
            recording: None,
            ring_ms: 60_000,
            sound: IpAddr::V4(Ipv4Addr::LOCALHOST).into(),
            locals: Vec::new(),
            retry_after_s: 5,
            masking: crate::rating::report::Masking::default(),
        }
    }

    /// Each call has its answer, whether it has a line or not.
    #[tokio::test]
    async fn a_flood_of_calls_is_refused_in_a_few_lines() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("books.db").display());
        let store = Store::open(&url, Options::default()).await.unwrap();
        let mut switchboard = Switchboard::new(config(), store.facts(), Arc::new(Sounds::silent()), [1; 32]);
        let log = folder.path().join("log");
        let writer = Arc::new(std::fs::File::create(&log).unwrap());
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
        tracing::subscriber::with_default(subscriber, || {
            for (second, calls) in [(60, 1_000), (61, 1)] {
                let now = Now { mono: Mono::from_millis(second * 1_000), wall: Wall::from_seconds(0) };
                for _ in 0..calls {
                    switchboard.refuse_call(now, None, Call::past(1), "c1", Cause::Overloaded.into());
                }
            }
        });
        let refusals = std::iter::from_fn(|| switchboard.poll());
        let refusals = refusals.filter(|output| matches!(output, Output::Sip(sip::Command::Refuse { .. })));
        let log = std::fs::read_to_string(&log).unwrap();
        let (last, lines) = (log.lines().last().unwrap(), log.lines().count());
        assert_eq!((refusals.count(), lines), (1_001, 21), "{log}");
        assert!(last.contains("call refused") && last.contains("untold=980"), "{last}");
    }
}
