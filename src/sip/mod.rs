//! Speaks SIP (RFC 3261); knows nothing of calls' purpose, sound or money.
//!
//! [`Endpoint`] is a machine: feed it with [`Endpoint::receive`], [`Endpoint::command`], [`Endpoint::lost`] or
//! [`Endpoint::wake`], then drain it with [`Endpoint::poll`] until `None`, then sleep until [`Endpoint::deadline`].
//! Session descriptions pass through as opaque bodies. [`Sip`] runs it on sockets.

mod auth;
mod desk;
mod dialog;
mod endpoint;
mod gate;
pub mod header;
mod inbound;
pub mod io;
mod lexer;
pub mod message;
pub mod method;
mod outbound;
mod peer;
mod provisional;
mod refresh;
mod session;
mod timer;
pub mod tls;
mod transaction;
pub mod transport;
pub mod uri;

pub use auth::{Asked, Login, Password, USUAL_REALM};
pub use desk::Counters;
pub use endpoint::{Endpoint, journal_of};
pub use header::{CSeq, NameAddr, Via};
pub use io::{Error, Gauges, Sip};
pub use message::{Framing, Malformed, Message, Refused, Request, Response};
pub use method::Method;
pub use peer::{Peer, Registration, Standing, Way};
pub use uri::{Scheme, Uri};

use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    Udp,
    Tcp,
    /// TLS over TCP, 1.2 or later (RFC 3261 section 26.2.1).
    Tls,
}

impl Transport {
    pub const ALL: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

    /// As settings, journals and URIs write it.
    pub const fn name(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        }
    }

    pub fn from_name(name: &str) -> Option<Transport> {
        Transport::ALL.into_iter().find(|transport| transport.name() == name)
    }

    /// A connection: what goes in comes out, in its order, and nothing is sent again.
    pub const fn is_stream(self) -> bool {
        !matches!(self, Transport::Udp)
    }

    /// The port where none is named (RFC 3261 section 19.1.2).
    pub const fn usual_port(self) -> u16 {
        match self {
            Transport::Udp | Transport::Tcp => 5060,
            Transport::Tls => 5061,
        }
    }
}

/// One way to a peer: for UDP our bound address and theirs, else a connection between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    pub transport: Transport,
    pub local: SocketAddr,
    pub peer: SocketAddr,
}

/// One call (an INVITE and the dialog that it makes), as the endpoint and its owner name it to each other.
/// The endpoint numbers calls that come in, its owner those that go out and those that it buries; none of them collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call(u64);

impl Call {
    const OUT: u64 = 1 << 63;
    const PAST: u64 = 1 << 62;

    /// A call that comes in: numbered by the endpoint.
    pub(in crate::sip) const fn inbound(number: u64) -> Call {
        Call(number & !(Call::OUT | Call::PAST))
    }

    /// A call that goes out: numbered by whoever dials, never twice.
    pub const fn outbound(number: u64) -> Call {
        Call(number | Call::OUT)
    }

    /// A call of an earlier life: numbered by whoever buries it, never twice.
    pub const fn past(number: u64) -> Call {
        Call(number & !Call::OUT | Call::PAST)
    }

    pub const fn is_outbound(self) -> bool {
        self.0 & Call::OUT != 0
    }
}

/// What leaves the machine.
#[derive(Clone, Debug)]
pub enum Output {
    /// One message to put on the wire, whole.
    Send {
        flow: Flow,
        bytes: Bytes,
    },
    /// A connection whose framing is lost or that must not be used again.
    Close {
        flow: Flow,
    },
    Event(Event),
}

/// Past facts, for the owner. `Cancelled`, `Failed`, `HungUp` and `Released` are last words: each call has exactly one
/// of them, and its handle is gone with it.
#[derive(Clone, Debug)]
pub enum Event {
    /// A call comes in from a known source. `100 Trying` has been sent. Answer with `Ring`, `Accept`, `Refuse`.
    Invited(Box<Invitation>),
    /// The caller gave up before an answer; 487 has been sent.
    Cancelled { call: Call },
    /// The ACK of our 200 came: the call is up on both sides. `answer` is its body where our 200 carried an offer.
    Acknowledged { call: Call, answer: Option<Bytes> },
    /// No ACK came within 64·T1; BYE has been sent (RFC 3261 section 13.3.1.4). `Released` follows.
    Unacknowledged { call: Call },
    /// The two sides agree on a change: the 2xx to our `Offer`, or the ACK of an `Agree` that was our offer.
    /// `answer` is theirs.
    Agreed { call: Call, answer: Option<Bytes> },
    /// Our `Offer` was refused, the sound stays as it was. 491: both offered at once, try again in a random 2 to 4 s
    /// (RFC 3261 section 14.1). 408 or 481: the far side has lost the call, hang up.
    Disagreed { call: Call, status: u16 },
    /// A re-INVITE (or UPDATE) within the call. Answer with `Agree` or `Disagree`. `None`: they want our offer.
    Offered { call: Call, offer: Option<Bytes> },
    /// A provisional response above 100 to our INVITE.
    Ringing { call: Call, status: u16, answer: Option<Bytes> },
    /// Our INVITE was answered; ACK has been sent. A second forked answer is ended here and tells nobody.
    Answered { call: Call, journal: String, answer: Option<Bytes> },
    /// Our INVITE failed: a final response of 300 or more (a redirection is never followed), 408 for silence, 480 for
    /// ringing beyond `ring_ms`, 487 for our own `Cancel`, 503 for a dead transport or no room, 400 for a bad address.
    Failed { call: Call, status: u16, reason: Option<Reason>, retry_after_s: Option<u32> },
    /// INFO within the call, answered 200: its Content-Type and its body, which is of a key.
    Informed { call: Call, kind: String, body: Bytes },
    /// The far side did not refresh the call in time, or has lost it (RFC 4028): BYE has been sent. `Released` follows.
    Lapsed { call: Call },
    /// The far side ended the call (BYE, answered 200).
    HungUp { call: Call, reason: Option<Reason> },
    /// Our own BYE or refusal has run its course: it was answered, or was said until it is certain that nobody answers.
    Released { call: Call },
    /// Of no call: how we stand with a peer that we keep in touch with ([`Command::Peers`]), whenever that changes.
    Stands { owner: String, standing: Standing },
}

impl Event {
    /// Whether its call is over, and nothing more is told of it.
    pub fn is_last(&self) -> bool {
        matches!(self, Event::Cancelled { .. } | Event::Failed { .. } | Event::HungUp { .. } | Event::Released { .. })
    }

    /// The call that it is about, if it is about one.
    pub fn call(&self) -> Option<Call> {
        match self {
            Event::Stands { .. } => None,
            Event::Invited(invitation) => Some(invitation.call),
            Event::Cancelled { call }
            | Event::Acknowledged { call, .. }
            | Event::Unacknowledged { call }
            | Event::Agreed { call, .. }
            | Event::Disagreed { call, .. }
            | Event::Offered { call, .. }
            | Event::Ringing { call, .. }
            | Event::Answered { call, .. }
            | Event::Failed { call, .. }
            | Event::Informed { call, .. }
            | Event::Lapsed { call }
            | Event::HungUp { call, .. }
            | Event::Released { call } => Some(*call),
        }
    }
}

/// A call that comes in.
#[derive(Clone, Debug)]
pub struct Invitation {
    pub call: Call,
    pub flow: Flow,
    /// Who has proven to be calling, as [`Login::owner`] names it; `None`: its address is all that we know.
    pub login: Option<String>,
    /// What a next life of this process needs to end the call: opaque, one line. To be stored before `Accept`.
    pub journal: String,
    /// The caller's Call-ID, for the records of both sides.
    pub call_id: String,
    /// User part (or number of a `tel:`) of the Request-URI, unescaped once.
    pub request_user: String,
    pub to_user: String,
    /// First Diversion header's user (RFC 5806), and P-Called-Party-ID's (RFC 7315).
    pub diversion_user: Option<String>,
    pub called_party_user: Option<String>,
    /// P-Asserted-Identity's user where present (RFC 3325), and From's.
    pub asserted_user: Option<String>,
    pub from_user: String,
    pub from_display: String,
    /// Privacy: id, or From anonymous (RFC 3323).
    pub anonymous: bool,
    pub user_agent: String,
    /// Originating line information (`isup-oli` or `oli`, two digits) and calling party's category (`cpc`), as a parameter
    /// of P-Asserted-Identity, P-Charge-Info or From.
    pub line: Option<u8>,
    pub category: Option<String>,
    /// The offer; `None` where the INVITE has none and wants ours.
    pub offer: Option<Bytes>,
    /// Has neither branch nor From tag (RFC 2543): only for carriers that are marked so.
    pub old_syntax: bool,
}

/// Why, for a Reason header (RFC 3326): the Q.850 cause and a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub q850: Option<u8>,
    pub sip: Option<u16>,
    pub text: String,
}

/// A final refusal.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: u16,
    pub phrase: String,
    pub reason: Option<Reason>,
    pub retry_after_s: Option<u32>,
    /// A code and a text without quotes, for whoever looks into their trace (RFC 3261 section 20.43).
    pub warning: Option<(u16, String)>,
}

/// What names a call that we make, drawn before it is dialled so that it can be stored first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub call_id: String,
    pub tag: String,
    pub branch: String,
}

/// A call to make.
#[derive(Clone, Debug)]
pub struct Dial {
    pub call: Call,
    pub identity: Identity,
    pub flow: Flow,
    /// What we call ourselves in Via and Contact: `advertise` of the carrier or of the node.
    pub contact: SocketAddr,
    pub request_uri: String,
    pub from: String,
    pub to: String,
    /// Further headers, name and value, each one line (P-Asserted-Identity, Diversion …).
    pub headers: Vec<(String, String)>,
    pub offer: Bytes,
    /// How long it may take to be answered before CANCEL; told as `Failed { status: 480 }`, or 408 where
    /// there was no sign of life at all.
    pub ring_ms: u64,
    /// With which challenges to our requests of this call are answered; `None`: they are failures.
    pub login: Option<Arc<Login>>,
}

/// Imperatives, from the owner. One that comes too late (the call is gone) is ignored.
#[derive(Clone, Debug)]
pub enum Command {
    /// 180 or 183, with a body where there is early sound.
    Ring {
        call: Call,
        status: u16,
        answer: Option<Bytes>,
    },
    /// 200 with our answer (or our offer, where the INVITE had none).
    Accept {
        call: Call,
        answer: Bytes,
    },
    Refuse {
        call: Call,
        refusal: Refusal,
    },
    /// Answer to `Event::Offered`.
    Agree {
        call: Call,
        answer: Bytes,
    },
    Disagree {
        call: Call,
        status: u16,
    },
    /// Our own change of the sound within an answered call, by re-INVITE. Told as `Agreed` or `Disagreed`.
    Offer {
        call: Call,
        offer: Bytes,
    },
    Dial(Box<Dial>),
    /// CANCEL of a call that rings (or BYE, if it was answered meanwhile). The same as `HangUp`.
    Cancel {
        call: Call,
        reason: Option<Reason>,
    },
    /// BYE; before an answer CANCEL, or 480 to a call that comes in.
    HangUp {
        call: Call,
        reason: Option<Reason>,
    },
    /// Ends a dialog of an earlier life of this process, by its journal line. `Released` tells that this has run its course,
    /// or that the line is of no dialog; where there was no room or no way, nothing is told, and it is still to be done.
    Bury {
        call: Call,
        journal: String,
        reason: Option<Reason>,
    },
    /// Who may speak to us, with what we call ourselves towards each.
    Sources(Vec<Source>),
    /// The names in the certificates of those whom we call by TLS.
    Names(Vec<(SocketAddr, Arc<str>)>),
    /// Who of them must prove to be who they are, and who may call from anywhere if they do.
    Asked(Vec<Asked>),
    /// With whom we keep in touch; those that are as they were go on. Told as [`Event::Stands`].
    Peers(Vec<Peer>),
    /// From now on new calls and OPTIONS are answered 503, and registrations are taken back.
    Drain {
        retry_after_s: u32,
    },
}

/// A known peer: an address or network, with its port where that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub network: std::net::IpAddr,
    pub prefix_len: u8,
    pub port: Option<u16>,
    /// Address put into Contact for calls from here; the listen address where `None`, which must then not be a wildcard.
    pub advertise: Option<SocketAddr>,
    /// RFC 2543 syntax accepted.
    pub old_syntax: bool,
    /// The name in the certificate of whoever connects from here by TLS.
    pub tls_name: Option<Arc<str>>,
}

/// Settings of the room.
#[derive(Clone, Debug)]
pub struct Config {
    /// Calls in all states at once; above it an INVITE is answered 503.
    pub max_calls: usize,
    /// Transactions of all kinds at once; above it a request is dropped.
    pub max_transactions: usize,
    /// Name in Server and User-Agent.
    pub product: String,
    /// Seconds in Retry-After of a 503 that says "full".
    pub retry_after_s: u32,
    /// Seconds within which a call is to be refreshed (RFC 4028), at least 90; 0: only where the far side asks for it.
    pub session_s: u32,
}

#[cfg(test)]
mod answers;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod pair;
