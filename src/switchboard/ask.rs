//! What people ask of the running bridge, by API, command line or console, and what they are told.

use crate::clock::Wall;
use crate::meeting::{Role, recording::Step};
use crate::store::Settle;
use crate::trunk::Tally;
use crate::types::{Cause, E164, LegId, MeetingId, OrganisationId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A question or an order.
#[derive(Clone, Debug)]
pub enum Ask {
    Legs,
    Leg(LegId),
    /// The Call-IDs that a leg has, or had.
    Calls(LegId),
    Meetings,
    /// How we stand with carriers.
    Carriers,
    /// Has the meeting ring a phone. Told as [`Told::Dialling`]; how it goes on is seen in the leg.
    Dial {
        meeting: MeetingId,
        to: E164,
    },
    Mute {
        leg: LegId,
        on: bool,
    },
    /// Whether a leg hears its room.
    Deafen {
        leg: LegId,
        on: bool,
    },
    /// Out of the room with music, or back.
    Hold {
        leg: LegId,
        on: bool,
    },
    /// Another standing in its meeting.
    Promote {
        leg: LegId,
        role: Role,
    },
    /// Ends a leg, whether it rings or talks.
    Remove {
        leg: LegId,
    },
    /// Has the far side of a leg call another number in place of us. Told when it is known how that went.
    Transfer {
        leg: LegId,
        to: E164,
    },
    /// An organisation's legs, each as if it was revoked now, or as it has ended.
    Ends(OrganisationId),
    /// The books have closed the accounts of these: they end at once.
    Revoked(Vec<LegId>),
    /// Something may have changed in the books, and nobody knows: they are asked who may go on, until they say.
    Review,
    /// Ends a meeting for all.
    End {
        meeting: MeetingId,
    },
    Lock {
        meeting: MeetingId,
        on: bool,
    },
    Record {
        meeting: MeetingId,
        step: Step,
    },
    /// Lets all who wait in the lobby in.
    Admit {
        meeting: MeetingId,
    },
}

/// The answer.
#[derive(Clone, Debug)]
pub enum Told {
    Legs(Vec<LegView>),
    Leg(Box<LegView>),
    Calls(Vec<String>),
    Meetings(Vec<MeetingView>),
    Carriers(Vec<CarrierView>),
    Dialling(LegId),
    Ends(Vec<Settle>),
    Done,
    /// No such leg, or no such meeting.
    Unknown(&'static str),
    Refused(Cause),
    /// Not as things are, for this reason.
    Not(&'static str),
}

/// A carrier as people see it: whether it is there, and whether we are registered with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarrierView {
    pub id: String,
    /// `up`, `down`, or `unknown` while it has not answered yet; `None`: it is not asked.
    pub reach: Option<String>,
    /// Since when, as UTC seconds since 1970.
    pub reach_since: Option<i64>,
    /// `registered`, `failed`, or `unknown` while there is no answer yet; `None`: we do not register with it.
    pub registration: Option<String>,
    pub registration_since: Option<i64>,
    /// What the registrar said last where it failed; 408 where it said nothing.
    pub registration_status: Option<u16>,
    /// Why it has no calls, either way.
    pub locked: Option<String>,
    /// It said "later" (503 with Retry-After): no calls out until then, as UTC seconds since 1970.
    pub rests_until: Option<i64>,
    pub inbound: TallyView,
    pub outbound: TallyView,
}

/// What became of a carrier's calls one way, since this process began; see [`Tally`] for what the figures mean.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TallyView {
    /// Calls that run now, ringing ones too.
    pub calls: u64,
    pub bids: u64,
    pub answers: u64,
    pub effective: u64,
    /// Answered calls that are over, and their charged time.
    pub over: u64,
    pub talked_ms: u64,
    /// Bids that had a ring or an answer, and how long that took.
    pub rang: u64,
    pub rang_ms: u64,
    /// Thousandths.
    pub asr_per_mille: Option<u64>,
    pub ner_per_mille: Option<u64>,
    pub acd_ms: Option<u64>,
    pub pdd_ms: Option<u64>,
    /// How many bids ended with each final response.
    pub codes: BTreeMap<String, u64>,
}

impl TallyView {
    pub(super) fn of(tally: &Tally, calls: u64) -> TallyView {
        TallyView {
            calls,
            bids: tally.bids,
            answers: tally.answers,
            effective: tally.effective,
            over: tally.over,
            talked_ms: tally.talked_ms,
            rang: tally.rang,
            rang_ms: tally.rang_ms,
            asr_per_mille: tally.asr(),
            ner_per_mille: tally.ner(),
            acd_ms: tally.acd_ms(),
            pdd_ms: tally.pdd_ms(),
            codes: tally.codes.iter().map(|(code, count)| (code.to_string(), *count)).collect(),
        }
    }
}

/// A leg as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegView {
    pub id: String,
    /// `in` or `out`.
    pub direction: String,
    /// `invited`, `ringing`, `lobby`, `waiting`, `meeting` or `over`.
    pub state: String,
    /// Our number (in) or the destination (out).
    pub number: String,
    pub caller: Option<String>,
    /// The caller does not want to be named.
    pub withheld: bool,
    pub carrier: Option<String>,
    pub organisation: Option<String>,
    pub meeting: Option<String>,
    pub role: Option<String>,
    pub muted: bool,
    /// Began, as UTC seconds since 1970.
    pub began: i64,
    /// Milliseconds since the answer.
    pub elapsed_ms: u64,
    /// Why it ended, where it has.
    pub cause: Option<String>,
    /// The same in words.
    pub words: Option<String>,
}

impl LegView {
    /// Its number is an outside party's; else its caller is.
    pub fn is_out(&self) -> bool {
        self.direction == "out"
    }
}

/// A running meeting as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeetingView {
    pub id: String,
    pub conference_id: String,
    pub organiser: String,
    pub organisation: String,
    pub locked: bool,
    /// `off`, `on` or `paused`.
    pub recording: String,
    pub started: bool,
    /// Legs that hear each other.
    pub inside: usize,
    /// Legs that wait to be let in.
    pub waiting: usize,
    pub legs: Vec<String>,
}

/// Seconds since 1970, for views.
pub(in crate::switchboard) fn seconds(at: Wall) -> i64 {
    at.seconds()
}
