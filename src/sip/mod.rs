//! Speaks SIP (RFC 3261); knows nothing of calls' purpose, sound or money.
//!
//! [`Endpoint`] is a machine: feed it with [`Endpoint::receive`], [`Endpoint::command`], [`Endpoint::lost`] or
//! [`Endpoint::wake`], then drain it with [`Endpoint::poll`] until `None`, then sleep until [`Endpoint::deadline`].
//! Session descriptions pass through as opaque bodies. [`Sip`] runs it on sockets.

mod auth;
mod conference;
mod datagram;
mod desk;
mod dialog;
pub mod dns;
mod early;
mod endpoint;
mod gate;
pub mod header;
mod inbound;
pub mod io;
mod lexer;
mod long;
pub mod message;
pub mod method;
mod names;
mod outbound;
mod peer;
mod provisional;
mod refresh;
mod rejection;
mod replaces;
mod session;
mod shed;
mod subscription;
mod thread;
mod timer;
pub mod tls;
mod trace;
mod transaction;
mod transfer;
pub mod transport;
pub mod uri;

pub use auth::{Asked, Login, Password, USUAL_REALM};
pub use conference::{Conference, Person, Presence};
pub use desk::Counters;
pub use dns::{Local, Place};
pub use endpoint::{Endpoint, journal_of};
pub use header::{CSeq, NameAddr, Via};
pub use io::{Error, Gauges, Sip};
pub use message::{Framing, Malformed, Message, Refused, Request, Response};
pub use method::Method;
pub use outbound::is_long;
pub use peer::{Peer, Registration, Standing, Toward, Way};
pub use rejection::Rejection;
pub use replaces::{Replacement, replaces_of};
pub use shed::Pace;
pub use subscription::MOST_SUBSCRIPTIONS;
pub use trace::{Said, masked};
pub use transfer::Referral;
pub use uri::{Scheme, Uri};

use crate::types::HostName;
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};
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

/// Somebody who watches the conference of a call, as the endpoint and its owner name it to each other: numbered by the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subscription(u64);

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
    /// To be asked of DNS; told by [`Endpoint::looked_up`].
    Ask(dns::Question),
    /// A name leads nowhere, for the log: told once, until it is found again.
    Unfound {
        host: HostName,
        why: &'static str,
    },
    /// A request was refused, for the log.
    Rejected(Box<Rejection>),
}

/// Past facts, for the owner. `Cancelled`, `Failed` (but one that lingers), `HungUp` and `Released` are last words: each call has exactly one
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
    /// A re-INVITE (or UPDATE) within the call, which may not be picked up yet. Answer with `Agree` or `Disagree`. `None`: they
    /// want our offer. `fork`: their tag.
    Offered { call: Call, fork: String, offer: Option<Bytes> },
    /// A provisional response above 100 to our INVITE. `fork`: the tag of the telephone that says so, of which several may ring.
    Ringing { call: Call, status: u16, fork: String, answer: Option<Bytes> },
    /// Our INVITE was answered; ACK has been sent, or waits for [`Command::Acknowledge`] where the call was dialled so. A
    /// second forked answer is ended here and tells nobody. `answer`: what they said last of their sound; where an offer of
    /// theirs was agreed to before, that offer.
    Answered { call: Call, journal: String, answer: Option<Bytes> },
    /// Our INVITE failed: a final response of 300 or more (a redirection is never followed), 408 for silence, 480 for
    /// ringing beyond `ring_ms`, 487 for our own `Cancel`, 503 for a dead transport or no room, 400 for a bad address.
    /// `lingers`: it has failed as far as our owner is concerned, but the far side may yet answer, or has, and is being told
    /// that it is over; `Released` follows. `sounded`: sound came before, though `Ringing` may not have told of it.
    Failed { call: Call, status: u16, reason: Option<Reason>, retry_after_s: Option<u32>, lingers: bool, sounded: bool },
    /// INFO within the call, answered 200: its Content-Type and its body, which is of a key.
    Informed { call: Call, kind: String, body: Bytes },
    /// Whoever is in the call wants somebody called (REFER). Answer with `Consent` or `Decline`, soon, then with `Report`. Whoever
    /// hangs up meanwhile has been told that it is under way, and is told no more.
    Referred(Box<Referral>),
    /// How the transfer goes that we asked for by `Refer`: the status of the far side's call, or of its refusal. 202: it agreed, and
    /// then hung up; 405: it takes none; 408: it did not say in time. Once `is_last`; the call goes on until somebody ends it. Where
    /// they hang up before they have answered, it follows `HungUp`; where we do, it never comes.
    Transferring { call: Call, status: u16, is_last: bool },
    /// The far side did not refresh the call in time, or has lost it (RFC 4028): BYE has been sent. `Released` follows.
    Lapsed { call: Call },
    /// The far side ended the call (BYE, answered 200).
    HungUp { call: Call, reason: Option<Reason> },
    /// Our own BYE, CANCEL or refusal has run its course: it was answered, or was said until it is certain that nobody answers.
    Released { call: Call },
    /// Of no call: how we stand with a peer that we keep in touch with ([`Command::Peers`]), whenever that changes.
    Stands { owner: String, standing: Standing },
    /// Of no call: so many wrong passwords in a row came from there. A stranger is not heard for a while now; whoever is
    /// listed goes on, since a password may have been changed on one side alone. Told once a while.
    Guessed { peer: SocketAddr, listed: bool, tries: u32 },
    /// Where a call to a place can go ([`Command::Locate`]), what is to be tried first first; empty where it can go nowhere.
    Located { call: Call, ways: Vec<Way> },
    /// Of no call: somebody wants to watch the conference of one that is up, or to go on, under the number that they had: who may is
    /// asked anew each time. Answer with `Admit` or `Deny`.
    Subscribed(Box<Subscriber>),
    /// Of no call: it is watched no more. Told of each subscription once.
    Unsubscribed { subscription: Subscription },
    /// Of no call: the addresses that a host of [`Command::Watch`] has now, in order.
    Senders { host: HostName, addresses: Vec<IpAddr> },
}

impl Event {
    /// Whether its call is over, and nothing more is told of it.
    pub fn is_last(&self) -> bool {
        matches!(
            self,
            Event::Cancelled { .. }
                | Event::Failed { lingers: false, .. }
                | Event::HungUp { .. }
                | Event::Released { .. }
        )
    }

    /// The call that it is about, if it is about one.
    pub fn call(&self) -> Option<Call> {
        match self {
            Event::Stands { .. }
            | Event::Guessed { .. }
            | Event::Subscribed(_)
            | Event::Unsubscribed { .. }
            | Event::Senders { .. } => None,
            Event::Invited(invitation) => Some(invitation.call),
            Event::Referred(referral) => Some(referral.call),
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
            | Event::Transferring { call, .. }
            | Event::Lapsed { call }
            | Event::HungUp { call, .. }
            | Event::Located { call, .. }
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
    /// Over TLS: of the names in [`Source`]s those that the caller's certificate carries; `None` over anything else.
    pub shown: Option<Vec<Arc<str>>>,
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
    /// P-Asserted-Identity's user where present (RFC 3325), Remote-Party-ID's, P-Preferred-Identity's, and From's.
    pub asserted_user: Option<String>,
    pub remote_party_user: Option<String>,
    pub preferred_user: Option<String>,
    pub from_user: String,
    pub from_display: String,
    /// Privacy: id, user or header, a Remote-Party-ID that asks for it, or From anonymous (RFC 3323).
    pub anonymous: bool,
    /// Diversion headers, or retargetings that History-Info tells of (RFC 7044): whichever are more.
    pub diversions: usize,
    pub user_agent: String,
    /// Originating line information (`isup-oli` or `oli`, two digits) and calling party's category (`cpc`), as a parameter
    /// of P-Asserted-Identity, P-Charge-Info or From.
    pub line: Option<u8>,
    pub category: Option<String>,
    /// What is signed of caller and called (RFC 8224), as it stands there.
    pub identities: Vec<String>,
    /// The call that it wants to take the place of (RFC 3891).
    pub replaces: Option<Replacement>,
    /// Without that extension it wants no answer.
    pub requires_replaces: bool,
    /// The offer; `None` where the INVITE has none and wants ours.
    pub offer: Option<Bytes>,
    /// Has neither branch nor From tag (RFC 2543): only for carriers that are marked so.
    pub old_syntax: bool,
}

/// Who wants to watch.
#[derive(Clone, Debug)]
pub struct Subscriber {
    pub subscription: Subscription,
    /// Whose conference: the call by whose Contact it was found.
    pub call: Call,
    pub flow: Flow,
    /// As of an [`Invitation`].
    pub login: Option<String>,
    pub shown: Option<Vec<Arc<str>>>,
}

/// Why nobody may watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwatchable {
    /// It is none of their business: told as if there were nothing.
    Stranger,
    /// As many watch as may.
    TooMany,
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
    /// An extension that was asked for, and is not spoken with whoever asks (RFC 3261 section 8.2.2.3).
    pub unsupported: Option<&'static str>,
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
    /// Who is called, as [`Source::owner`] names them: all their addresses are heard within the call.
    pub carrier: Option<Arc<str>>,
    /// What we call ourselves in Via and Contact: `advertise` of the carrier or of the node.
    pub contact: SocketAddr,
    pub request_uri: String,
    pub from: String,
    pub to: String,
    /// Further headers, name and value, each one line (P-Asserted-Identity, Diversion …).
    pub headers: Vec<(String, String)>,
    pub offer: Bytes,
    /// How long it may take to be answered before CANCEL; told as `Failed { status: 480 }`, or 408 where
    /// there was no sign of life at all (for that see also [`Config::trying_s`]).
    pub ring_ms: u64,
    /// With which challenges to our requests of this call are answered; `None`: they are failures.
    pub login: Option<Arc<Login>>,
    /// The ACK waits for [`Command::Acknowledge`], for 8 s at the most: until then the far side repeats its answer and
    /// gives the call up by itself, so that no death of this process leaves it in a call that nobody knows of.
    pub holds_ack: bool,
    /// As [`Command::MayTransfer`] says of calls that come in.
    pub may_transfer: bool,
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
    /// A call in was looked at, and its answer waits for a time of its own: it is not in the way of others.
    PutOff {
        call: Call,
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
    /// Our own change of the sound within a call: by re-INVITE; before it is picked up by UPDATE, where the far side takes that and
    /// the first offer was answered reliably. Told as `Agreed` or `Disagreed`.
    Offer {
        call: Call,
        offer: Bytes,
    },
    Dial(Box<Dial>),
    /// Asks DNS where a call to this place can go. Told as [`Event::Located`], whatever comes of it.
    Locate {
        call: Call,
        place: Arc<Place>,
    },
    /// What a next life needs to end the call is written down: the ACK that waited for it may go.
    Acknowledge {
        call: Call,
    },
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
    /// The far side of this call may have somebody called, and the call replaced: it is told that we know how.
    MayTransfer {
        call: Call,
    },
    /// The far side of this call takes TCP, by this way of ours: what is too long for a datagram goes so.
    MayConnect {
        call: Call,
        tcp: Way,
    },
    /// Answer to `Event::Referred`: it will be done, or is under way.
    Consent {
        call: Call,
        number: u32,
    },
    /// Answer to `Event::Referred`: it will not be done.
    Decline {
        call: Call,
        number: u32,
        refusal: Refusal,
    },
    /// How what was consented to stands; nothing more follows what `is_last`.
    Report {
        call: Call,
        number: u32,
        status: u16,
        is_last: bool,
    },
    /// Asks the far side to call somebody in place of us: `to` is a Refer-To. Told as `Transferring`.
    Refer {
        call: Call,
        to: String,
    },
    /// Ends a dialog of an earlier life of this process, by its journal line. `Released` tells that this has run its course,
    /// or that the line is of no dialog; where there was no room or no way, nothing is told, and it is still to be done.
    Bury {
        call: Call,
        journal: String,
        reason: Option<Reason>,
        /// As of a [`Dial`], or of a [`Command::Prove`], whichever kind of call it was.
        login: Option<Arc<Login>>,
        /// The name in its carrier's certificate, where that is not the host that it is reached at.
        tls_name: Option<Arc<str>>,
    },
    /// With which challenges to our requests in a call that came in are answered; only those of a realm that it names.
    Prove {
        call: Call,
        login: Arc<Login>,
    },
    /// Who may speak to us, with what we call ourselves towards each.
    Sources(Vec<Source>),
    /// Hosts whose addresses are to be known, and kept fresh: told as [`Event::Senders`].
    Watch(Vec<HostName>),
    /// The names in the certificates of those whom we call by TLS.
    Names(Vec<(SocketAddr, Arc<str>)>),
    /// Who of them must prove to be who they are, and who may call from anywhere if they do.
    Asked(Vec<Asked>),
    /// With whom we keep in touch; those that are as they were go on. Told as [`Event::Stands`].
    Peers(Vec<Peer>),
    /// Answer to `Event::Subscribed`: what there is to see, if the call is in a room, and by which way of TCP what is too
    /// long for a datagram may be tried.
    Admit {
        subscription: Subscription,
        shown: Option<Arc<Conference>>,
        tcp: Option<Way>,
    },
    Deny {
        subscription: Subscription,
        why: Unwatchable,
    },
    /// What these see has changed.
    Show {
        subscriptions: Vec<Subscription>,
        conference: Arc<Conference>,
    },
    /// What these saw is over.
    Conclude {
        subscriptions: Vec<Subscription>,
    },
    /// These may not watch any more.
    Reject {
        subscriptions: Vec<Subscription>,
    },
    /// While `true`, new calls and OPTIONS are answered 503: our owner is behind with the calls that it has.
    Shed(bool),
    /// From now on new calls and OPTIONS are answered 503, registrations are taken back, and nobody watches any more.
    Drain {
        retry_after_s: u32,
    },
}

/// A known peer: an address or network, with its port where that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub network: IpAddr,
    pub prefix_len: u8,
    pub port: Option<u16>,
    /// Whose it is, in our owner's words: only who has begun a call is heard within it. `None`: of all that have no owner, which
    /// are taken for one.
    pub owner: Option<Arc<str>>,
    /// Address put into Contact for calls from here; the listen address where `None`, which must then not be a wildcard.
    pub advertise: Option<SocketAddr>,
    /// RFC 2543 syntax accepted.
    pub old_syntax: bool,
    /// The name in the certificate of whoever speaks from here by TLS; a network of no bits and a name is one who may be
    /// anywhere, known by that name alone.
    pub tls_name: Option<Arc<str>>,
    /// With a name: what does not come by TLS is not from it.
    pub tls_only: bool,
}

impl Source {
    /// One address, by whatever way and port, of which nothing else is said.
    pub const fn at(address: IpAddr) -> Source {
        let prefix_len = if address.is_ipv4() { 32 } else { 128 };
        Source {
            network: address,
            prefix_len,
            port: None,
            owner: None,
            advertise: None,
            old_syntax: false,
            tls_name: None,
            tls_only: true,
        }
    }
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
    /// Seconds within which a call of ours is to have any answer, 100 Trying or better, or has failed with 408; 0: 32 (timer B).
    pub trying_s: u32,
    /// New calls a second; above it an INVITE is answered 503.
    pub pace: Pace,
    /// All calls are with conferences, and our Contact says so (RFC 4579): they can be watched.
    pub is_focus: bool,
}

#[cfg(test)]
mod answers;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod pair;
