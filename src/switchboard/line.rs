//! A leg with its wires: the call in SIP, the stream of sound, the lobby or the meeting it is in.

use super::agree::{Accord, Early};
use super::bid::Bid;
use super::early::Heard;
use crate::clock::{Mono, Wall};
use crate::leg::{Direction, End, Leg};
use crate::media::{Plan, Stats, StreamId};
use crate::meeting::{Keypad, Lobby, LobbyInput};
use crate::rating::Origin;
use crate::rating::record::{CallerIdentity, Try};
use crate::sip::{Call, Dial, Way};
use crate::trunk::{Caller, Mark, Progress};
use crate::types::{CarrierId, Cause, E164, Language, LegId, MeetingId, OrganisationId};
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

/// How far the sound of a leg has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// No port yet.
    None,
    /// With its number, which is that of RTP in each family of addresses.
    Lent(u16),
    /// Out: attached before anybody picked up, to listen.
    Early(u16),
    Attached(u16),
    /// It is another leg's from now on, and the figures until now are to come.
    HandedOver,
    Gone,
}

pub(super) struct Line {
    pub id: LegId,
    pub leg: Leg,
    pub call: Call,
    /// The Call-IDs that it had: one, or one for each carrier that was asked.
    pub call_ids: Vec<String>,
    pub stream: StreamId,
    /// In: our number. Out: the destination.
    pub number: E164,
    pub caller: Option<E164>,
    /// In: from what kind of telephone.
    pub origin: Origin,
    /// In: how far the caller is known.
    pub identity: Option<CallerIdentity>,
    pub carrier: CarrierId,
    /// Numbers of one organisation take its meetings alone.
    pub house: Option<OrganisationId>,
    pub languages: Vec<Language>,
    pub language: Language,
    /// What the INVITE brought.
    pub offer: Option<Bytes>,
    pub wire: Wire,
    /// Where its signalling comes from, or goes: out, not known before it is dialled.
    pub peer: Option<IpAddr>,
    pub plan: Option<Plan>,
    pub accord: Accord,
    /// Out: what was agreed upon offers of theirs before anybody picked up.
    pub early: Vec<Early>,
    pub heard: Heard,
    pub lobby: Option<Lobby>,
    /// The lobby's answer that comes later, since many guess.
    pub delayed: Option<(Mono, LobbyInput)>,
    pub keypad: Keypad,
    /// The meeting that pays, once it is known.
    pub meeting: Option<MeetingId>,
    /// Counted in that meeting's roster.
    pub present: bool,
    /// Out: to be dialled when the books agree; and who asked for it.
    pub dial: Option<Box<Dial>>,
    pub asker: Option<Asker>,
    /// In: whose place it takes, once it is up on both sides.
    pub replaces: Option<LegId>,
    /// In: the leg whose call it goes on with, once the books agree, and the REFER that asked for that; and the other way round:
    /// its call is another leg's now.
    pub moves: Option<(LegId, u32)>,
    pub gave_way: bool,
    /// Legs whose sound it was, and whose figures are to come, the first one first.
    pub before: VecDeque<LegId>,
    /// The books have been told that it is an organiser's own.
    pub leads: bool,
    /// It is being sent to another number, and who is told how that goes.
    pub sent_away: Option<u64>,
    /// Out: how far the call has come, and who else may carry it, the next one first.
    pub progress: Progress,
    pub others: VecDeque<CarrierId>,
    /// Out: who was asked before, and what they said.
    pub tries: Vec<Try>,
    /// The INVITE whose end is to be counted.
    pub bid: Option<Bid>,
    /// Out: where else the carrier can be reached, the next one first; and whether the books know of the call.
    pub ways: VecDeque<Way>,
    pub opened: bool,
    /// Out: where TCP was tried for an INVITE that is too long for a datagram: there it goes by UDP all the same.
    pub tried_tcp: Option<SocketAddr>,
    /// Something is being said, then the call ends.
    pub parting: Option<(Mono, Cause)>,
    pub end: Option<Ended>,
    pub joined: Option<Wall>,
    pub acknowledged: Option<Wall>,
    /// In: of the signature for its caller's number, until it is taken up.
    pub mark: Option<Mark>,
    pub armed: Option<Mono>,
}

/// Who had a phone rung.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asker {
    /// API or command line, told once by this token.
    Desk(u64),
    /// A participant, by keys: hears how it goes, until somebody answers or nobody does.
    Keys(LegId),
    /// A participant, by REFER, which this numbers: told by NOTIFY, once the REFER itself is answered.
    Refer { by: LegId, number: u32, agreed: bool },
    /// Likewise, and they have hung up since: nobody is told, and it comes into a meeting that they led.
    Gone,
}

/// A leg that is over and waits for the figures of its sound, though not for long: money comes first.
pub(super) struct Ended {
    pub end: End,
    pub at: Wall,
    pub stats: Option<Stats>,
    pub by: Mono,
}

/// What every leg has from the first.
pub(super) struct Born {
    pub id: LegId,
    pub leg: Leg,
    pub call: Call,
    pub stream: StreamId,
    pub number: E164,
    pub caller: Option<E164>,
    pub carrier: CarrierId,
    pub languages: Vec<Language>,
    pub language: Language,
    pub keypad: Keypad,
}

impl Line {
    /// One to which nothing has happened yet.
    pub fn new(born: Born) -> Line {
        let Born { id, leg, call, stream, number, caller, carrier, languages, language, keypad } = born;
        Line {
            id,
            leg,
            call,
            call_ids: Vec::new(),
            stream,
            number,
            caller,
            origin: Origin::Fixed,
            identity: None,
            carrier,
            house: None,
            languages,
            language,
            offer: None,
            wire: Wire::None,
            peer: None,
            plan: None,
            accord: Accord::default(),
            early: Vec::new(),
            heard: Heard::default(),
            lobby: None,
            delayed: None,
            keypad,
            meeting: None,
            present: false,
            dial: None,
            asker: None,
            replaces: None,
            moves: None,
            gave_way: false,
            before: VecDeque::new(),
            leads: false,
            sent_away: None,
            progress: Progress::Silent,
            others: VecDeque::new(),
            tries: Vec::new(),
            bid: None,
            ways: VecDeque::new(),
            opened: false,
            tried_tcp: None,
            parting: None,
            end: None,
            joined: None,
            acknowledged: None,
            mark: None,
            armed: None,
        }
    }

    pub fn is_inbound(&self) -> bool {
        self.leg.direction() == Direction::In
    }

    /// Keys are the lobby's, before the meeting and while waiting for it.
    pub fn in_lobby(&self) -> bool {
        self.lobby.as_ref().is_some_and(Lobby::is_open)
    }

    /// The number of ours by which it is here: that was called, or that was shown to whom we called.
    pub fn own_number(&self) -> Option<E164> {
        if self.is_inbound() { Some(self.number) } else { self.caller }
    }

    /// How a meeting tells people apart: who calls, or is called.
    pub fn person(&self) -> Option<E164> {
        if self.is_inbound() { self.caller } else { Some(self.number) }
    }

    /// Who it is for the guessing brakes.
    pub fn guesser(&self) -> Caller {
        Caller::of(self.caller, &self.carrier)
    }

    /// Rings, or is about to, on behalf of keys that `by` pressed.
    pub fn rings_for(&self, by: LegId) -> bool {
        self.asker == Some(Asker::Keys(by)) && self.end.is_none()
    }

    /// The same, or on behalf of a REFER of theirs.
    pub fn is_rung_by(&self, by: LegId) -> bool {
        let is_referred = matches!(self.asker, Some(Asker::Refer { by: other, .. }) if other == by);
        self.rings_for(by) || is_referred && self.end.is_none()
    }

    /// What the call would be charged for if it ended now, or is charged for since it ended.
    pub fn charged_ms(&self, now: Mono) -> Option<u64> {
        match &self.end {
            Some(ended) => Some(ended.end.elapsed_ms),
            None => (self.leg.is_answered() && self.leg.is_acknowledged()).then(|| self.leg.elapsed_ms(now)),
        }
    }

    pub fn deadline(&self) -> Option<Mono> {
        let all = [
            self.leg.deadline(),
            self.lobby.as_ref().and_then(Lobby::deadline),
            self.delayed.as_ref().map(|(at, _)| *at),
            self.keypad.deadline(),
            self.parting.map(|(at, _)| at),
            self.end.as_ref().map(|ended| ended.by),
        ];
        all.into_iter().flatten().min()
    }
}
