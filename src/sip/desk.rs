//! What every part of the endpoint writes on: the moment, the alarms, what is to leave, and what was counted.

use super::peer::Errand;
use super::timer::Timers;
use super::transaction::Id;
use super::{Call, Event, Flow, Output};
use crate::clock::Mono;
use crate::sip::timer::Letter;
use bytes::Bytes;
use std::collections::VecDeque;
use std::time::Duration;

/// What an alarm is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::sip) enum Alarm {
    Transaction(Id, Letter),
    Call(Call, Bell),
    Peer(u32, Errand),
}

/// Alarms of a call; those of its transactions have letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::sip) enum Bell {
    /// Our 2xx is repeated (RFC 3261 section 13.3.1.4).
    Repeat,
    /// Our 2xx was never acknowledged.
    Silent,
    /// A call that rings here is kept alive by a further provisional response (RFC 3261 section 13.3.1.1).
    Remind,
    /// Ringing, or our owner's answer to an offer, has taken too long.
    Patience,
    /// A cancelled INVITE never got its final response (RFC 3261 section 9.1).
    Abandon,
    /// A reliable provisional response is repeated (RFC 3262 section 3).
    Promise,
    /// The session is ours to refresh (RFC 4028 section 10).
    Refresh,
    /// The session was not refreshed in time.
    Lapse,
}

/// What happened, each a count since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub messages_in: u64,
    pub messages_out: u64,
    /// Not SIP, or SIP that RFC 3261 tells us to refuse.
    pub malformed: u64,
    /// Messages from sources that are not listed.
    pub strangers: u64,
    /// Of these, those that got a stateless answer.
    pub strangers_answered: u64,
    /// Responses and ACKs that belong to nothing.
    pub strays: u64,
    /// Repeated requests and responses, answered from memory or ignored.
    pub repeats: u64,
    /// Messages that we sent again.
    pub retransmissions: u64,
    /// Requests that met the same request by another way (482).
    pub merged: u64,
    /// INVITEs answered 503: too many calls, draining, or an owner who does not keep up.
    pub refused_full: u64,
    /// Requests not answered and commands not obeyed because there were too many transactions.
    pub dropped_full: u64,
    /// Client transactions that nobody answered.
    pub silences: u64,
    /// Client transactions whose transport died.
    pub broken: u64,
    /// Second answers to one INVITE, acknowledged and ended.
    pub forks_ended: u64,
    /// Second answers beyond what one INVITE may have.
    pub forks_dropped: u64,
    /// Answers to calls that had been given up, acknowledged and ended.
    pub late_answers: u64,
    pub calls_in: u64,
    pub calls_out: u64,
    /// 2xx that was never acknowledged.
    pub unacknowledged: u64,
    /// Dialogs of an earlier life that were ended.
    pub buried: u64,
    /// Sessions that we refreshed, and those that ended because nobody did (RFC 4028).
    pub refreshed: u64,
    pub lapsed: u64,
    /// Calls refused since a reliable provisional response got no PRACK (RFC 3262).
    pub unpracked: u64,
    /// Requests that were asked for a password; that had the right one; that had a wrong one, or an unknown name; that came
    /// over a nonce which is not good (any more), or said again what was said; and those of addresses that had tried too often.
    pub logins_asked: u64,
    pub logins_right: u64,
    pub logins_wrong: u64,
    pub logins_stale: u64,
    pub logins_replayed: u64,
    pub logins_barred: u64,
    /// Requests of ours that were made again with a password.
    pub proofs: u64,
    /// Questions whether a peer is there, answered and not; registrations that were made or renewed, and that failed.
    pub pings_answered: u64,
    pub pings_missed: u64,
    pub registered: u64,
    pub unregistered: u64,
}

impl Bell {
    pub const ALL: [Bell; 8] = [
        Bell::Repeat,
        Bell::Silent,
        Bell::Remind,
        Bell::Patience,
        Bell::Abandon,
        Bell::Promise,
        Bell::Refresh,
        Bell::Lapse,
    ];
}

#[derive(Debug)]
pub(in crate::sip) struct Desk {
    pub now: Mono,
    pub timers: Timers<Alarm>,
    pub out: VecDeque<Output>,
    pub counters: Counters,
}

impl Desk {
    pub fn new() -> Desk {
        Desk { now: Mono::default(), timers: Timers::new(), out: VecDeque::new(), counters: Counters::default() }
    }

    pub fn send(&mut self, flow: Flow, bytes: Bytes) {
        self.counters.messages_out += 1;
        self.out.push_back(Output::Send { flow, bytes });
    }

    pub fn tell(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    pub fn set(&mut self, alarm: Alarm, wait: Duration) {
        self.timers.set(alarm, self.now + wait);
    }
}
