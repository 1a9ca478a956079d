//! What is no message, and the answer that can still be given.

use super::headers::{Headers, Known, Name};
use super::{Framing, Status, VIAS_MAX, write};
use crate::sip::header::{NameAddr, Via};
use crate::sip::lexer::{self, Fault, Head as Lines, MESSAGE_MAX, Why, is_token, split_commas};
use bytes::Bytes;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;

/// Bytes that are no message, and what to do about them.
#[derive(Clone, Debug, PartialEq)]
pub struct Malformed {
    /// What a request is answered with: 400, 414, 505, 513.
    pub status: u16,
    pub why: Why,
    /// The answer, ready but for [`Refused::stamp`]; `None` where nothing may be sent: to responses, to ACK, and where
    /// no Via says what is answered.
    pub reply: Option<Box<Refused>>,
    /// The stream cannot be read on.
    pub close: bool,
}

/// The answer to a request that could not be read whole: what could be read of its Via, From, To, Call-ID and CSeq.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    status: Status,
    via: Via,
    headers: Headers,
}

impl Malformed {
    /// Of bytes whose framing failed before they were read.
    pub(in crate::sip) fn of(bytes: &[u8], fault: Fault, framing: Framing) -> Malformed {
        let window = &bytes[..bytes.len().min(MESSAGE_MAX)];
        let end = lexer::find_head_end(window, 0).unwrap_or(window.len());
        let text = String::from_utf8_lossy(&window[..end]);
        Malformed::of_lines(&Lines::lex(&text), fault, framing)
    }

    pub(super) fn of_lines(lines: &Lines, fault: Fault, framing: Framing) -> Malformed {
        let close = fault.unframed && framing == Framing::Stream;
        Malformed { status: fault.status, why: fault.why, reply: Refused::read(lines, fault).map(Box::new), close }
    }
}

impl Refused {
    fn read(lines: &Lines, fault: Fault) -> Option<Refused> {
        // A response begins with SIP/2.0, which is no token.
        let method = lines.start.split(' ').next().filter(|method| is_token(method) && *method != "ACK")?;
        let mut vias = lines.values("Via", "v").flat_map(split_commas);
        let via = Via::salvage(vias.next()?)?;
        let mut headers = Headers::default();
        headers.push(Name::Known(Known::Via), &via.text());
        for other in vias.filter_map(|value| Via::parse(value).ok()).take(VIAS_MAX) {
            headers.push(Name::Known(Known::Via), &other.text());
        }
        for (name, compact) in [("From", "f"), ("To", "t"), ("Call-ID", "i"), ("CSeq", "CSeq")] {
            if let Some(value) = lines.values(name, compact).next() {
                let value = if name == "To" { tagged(value, lines, method) } else { value.to_owned() };
                headers.push(Name::of(name), &value);
            }
        }
        Some(Refused { status: Status::new(fault.status, fault.why), via, headers })
    }

    pub fn status(&self) -> u16 {
        self.status.0.code()
    }

    pub fn phrase(&self) -> &str {
        self.status.phrase()
    }

    /// Where the response goes: see [`crate::sip::transport::response_target`].
    pub fn via(&self) -> &Via {
        &self.via
    }

    /// As [`super::Request::stamp`].
    pub fn stamp(&mut self, source: SocketAddr) {
        self.via.stamp(source);
        self.headers.replace(Known::Via, &self.via.text());
    }

    /// The bytes for the wire.
    pub fn to_bytes(&self) -> Bytes {
        write(&self.status.to_string(), &self.headers, &Bytes::new())
    }
}

/// To with a tag, as every final response has one: the same for the same request, for nothing is remembered
/// (RFC 3261 section 8.2.7). A To that cannot be read is given back as it came.
fn tagged(to: &str, lines: &Lines, method: &str) -> String {
    if !NameAddr::parse(to).is_ok_and(|address| address.tag().is_none()) {
        return to.to_owned();
    }
    let mut hasher = DefaultHasher::new();
    method.hash(&mut hasher);
    lines.values("Call-ID", "i").for_each(|value| value.hash(&mut hasher));
    lines.values("CSeq", "CSeq").for_each(|value| value.hash(&mut hasher));
    format!("{to};tag={:016x}", hasher.finish())
}
