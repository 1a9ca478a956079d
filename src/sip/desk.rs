//! What every part of the endpoint writes on: the moment, the alarms, what is to leave, and what was counted.

use super::gate::Objection;
use super::message::Request;
use super::peer::Errand;
use super::rejection::{LONGEST_TOLD, Rations, Rejection};
use super::subscription::Chime;
use super::timer::Timers;
use super::trace::{Ladders, call_id_of};
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
    /// Of a subscription.
    Watch(u64, Chime),
    /// A REFER that came in, by its CSeq, has waited or lasted for long enough.
    Referral(Call, u32),
    /// Nobody has told how a transfer has gone.
    Handover(Call),
    /// A name has taken too long.
    Search(u64),
    /// The addresses of a host that sends, by its number, are to be looked up anew.
    Senders(u64),
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
    /// Nothing at all was heard of our INVITE.
    Trying,
    /// It has rung for long enough, here or there.
    Patience,
    /// The answer to an offer of ours has taken too long.
    Answer,
    /// Our owner's answer to an offer has.
    Thought,
    /// A cancelled INVITE never got its final response (RFC 3261 section 9.1).
    Abandon,
    /// A reliable provisional response is repeated (RFC 3262 section 3).
    Promise,
    /// The session is ours to refresh (RFC 4028 section 10).
    Refresh,
    /// The session was not refreshed in time.
    Lapse,
    /// The ACK of an answer to our call has waited for long enough.
    Acknowledge,
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
    /// Requests within a call from another carrier than the call's: taken as of no call.
    pub foreign: u64,
    /// Repeated requests and responses, answered from memory or ignored.
    pub repeats: u64,
    /// Messages that we sent again.
    pub retransmissions: u64,
    /// Requests that met the same request by another way (482).
    pub merged: u64,
    /// INVITEs answered 503: too many calls, draining, or an owner who does not fetch what is told; an owner, or ourselves,
    /// behind with what there is; more a second than are let in.
    pub refused_full: u64,
    pub refused_busy: u64,
    pub refused_pace: u64,
    /// Of these, those whose copies would be let in, since there was no room to remember them for 32 s.
    pub refusals_forgotten: u64,
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
    /// Subscriptions that were let be, or went on; SUBSCRIBEs that were refused; NOTIFYs, and those that were refused or not
    /// answered.
    pub subscribed: u64,
    pub subscriptions_refused: u64,
    /// SUBSCRIBEs to conferences beyond their pace.
    pub subscriptions_paced: u64,
    pub notified: u64,
    pub notifies_failed: u64,
    /// REFERs that our owner was asked about, and those refused since there were too many; NOTIFYs of ours that were not taken,
    /// so that their subscription ended; and REFERs of ours.
    pub referrals: u64,
    pub referrals_refused: u64,
    pub subscriptions_lost: u64,
    pub handovers: u64,
    /// Questions that DNS was asked, and names that led nowhere.
    pub names_asked: u64,
    pub names_unfound: u64,
}

impl Bell {
    pub const ALL: [Bell; 12] = [
        Bell::Repeat,
        Bell::Silent,
        Bell::Remind,
        Bell::Trying,
        Bell::Patience,
        Bell::Answer,
        Bell::Thought,
        Bell::Abandon,
        Bell::Promise,
        Bell::Refresh,
        Bell::Lapse,
        Bell::Acknowledge,
    ];
}

#[derive(Debug)]
pub(in crate::sip) struct Desk {
    pub now: Mono,
    pub timers: Timers<Alarm>,
    pub out: VecDeque<Output>,
    pub counters: Counters,
    /// What was said of calls.
    pub ladders: Ladders,
    rations: Rations,
}

impl Desk {
    pub fn new() -> Desk {
        let (timers, out, counters) = (Timers::new(), VecDeque::new(), Counters::default());
        Desk { now: Mono::default(), timers, out, counters, ladders: Ladders::default(), rations: Rations::default() }
    }

    pub fn send(&mut self, flow: Flow, bytes: Bytes) {
        self.counters.messages_out += 1;
        if let Some(call_id) = call_id_of(&bytes) {
            self.ladders.note(self.now, call_id, true, flow, &bytes);
        }
        self.out.push_back(Output::Send { flow, bytes });
    }

    pub fn tell(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    /// A request was refused, for the log. Who is asked for a password is not refused yet.
    pub fn rejected(&mut self, flow: Flow, request: &Request, objection: &Objection, is_stranger: bool) {
        if matches!(objection.status, 200 | 401 | 407) {
            return;
        }
        let told = |text: &str| text.chars().take(LONGEST_TOLD).collect();
        let Some(untold) = self.rations.take(self.now, is_stranger) else { return };
        self.out.push_back(Output::Rejected(Box::new(Rejection {
            flow,
            method: told(request.method().as_str()),
            call_id: told(request.call_id()),
            status: objection.status,
            why: told(&objection.words()),
            is_stranger,
            untold,
        })));
    }

    pub fn set(&mut self, alarm: Alarm, wait: Duration) {
        self.timers.set(alarm, self.now + wait);
    }
}
