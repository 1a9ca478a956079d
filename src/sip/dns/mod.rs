//! Where a name leads (RFC 3263): to which addresses, by which transports, in which order.
//!
//! `locate` knows the rules and nothing else: it is given what is known and says what is still to be asked, or the answer.
//! `Resolver` is a machine around it: many searches at once, what was asked is remembered for as long as it may be, and
//! who did not answer is asked last for a while. `wire` reads and writes DNS, `io` asks servers.

mod cache;
pub mod io;
mod locate;
mod resolver;
mod wire;

pub use locate::{Local, Place};
pub(in crate::sip) use locate::{Target, UNSURE, Why};
pub(in crate::sip) use resolver::{Found, Goal, PATIENCE, Resolver, SHUNNED, Said};

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Records of one answer that are kept; of more the first by priority.
pub(in crate::sip) const MOST_RECORDS: usize = 64;

/// What DNS is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Naptr,
    Srv,
    A,
    Aaaa,
}

/// One question: a kind of records of a name, which is lower case and has no point at its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question {
    pub kind: Kind,
    pub name: String,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Naptr => "NAPTR",
            Kind::Srv => "SRV",
            Kind::A => "A",
            Kind::Aaaa => "AAAA",
        };
        write!(f, "{kind} {}", self.name)
    }
}

/// One record, as far as it says something to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// RFC 3403 section 4.1. `replacement` is empty for the root, and where there is a regular expression, which SIP does not
    /// use.
    Naptr {
        order: u16,
        preference: u16,
        flags: String,
        service: String,
        replacement: String,
    },
    /// RFC 2782. `target` is empty for the root: the service is not to be had.
    Srv {
        priority: u16,
        weight: u16,
        port: u16,
        target: String,
    },
    Address(IpAddr),
}

/// What DNS says to a question. No records: the name or its records do not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub records: Vec<Record>,
    /// How long it may be believed.
    pub ttl: Duration,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No server said anything in time.
    Silent,
    /// A server said that it cannot, or will not, answer: its response code (RFC 1035 section 4.1.1).
    Refused(u16),
    /// It cannot be read, or leads from name to name without an end.
    Senseless,
    /// No server is known.
    NoServer,
    /// Too many questions are out.
    Busy,
}

impl Failure {
    pub const fn words(self) -> &'static str {
        match self {
            Failure::Silent => "no DNS server answers",
            Failure::Refused(2) => "the DNS server has failed (SERVFAIL)",
            Failure::Refused(5) => "the DNS server refuses to answer (REFUSED)",
            Failure::Refused(_) => "the DNS server does not answer such a question",
            Failure::Senseless => "what DNS answers makes no sense",
            Failure::NoServer => "no DNS server is known: sip.dns, or /etc/resolv.conf",
            Failure::Busy => "too many names are being looked up",
        }
    }
}

/// What came of a question.
pub type Outcome = Result<Answer, Failure>;
