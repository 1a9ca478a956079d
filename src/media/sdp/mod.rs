//! Agreeing on what is spoken: session descriptions (RFC 8866) in offer and answer (RFC 3264).
//!
//! Bytes in, bytes and a [`Plan`](super::Plan) out; nothing here waits, draws or asks a name server. What a peer writes
//! beside the rules is read as far as it can mean only one thing; what would make us send sound to a wrong place is not.

mod negotiate;
mod parse;
mod write;

pub use negotiate::{accept, answer};
pub use write::offer;

use super::{Codec, Direction};
use std::net::SocketAddr;

/// Largest description that is read: carriers send 300 to 2 000 bytes, browsers with many candidates about 8 KiB.
pub const LARGEST_BYTES: usize = 16 * 1024;
/// Most media in one description; every one has to be answered, so the count bounds the answer too.
pub const MOST_MEDIA: usize = 16;
/// Most lines of one medium (and of the part before the first).
pub const MOST_LINES: usize = 64;
/// Most payload types of one medium.
pub const MOST_FORMATS: usize = 20;

/// Sound a packet, in milliseconds, that we ask for, and that we send where the peer asks for nothing else.
pub const PTIME_MS: u16 = 20;
/// Payload type that we offer for telephone-event: dynamic, and the one that carriers expect.
pub const TELEPHONE_EVENT: u8 = 101;

/// What we bring to the table.
#[derive(Clone, Copy, Debug)]
pub struct Ours<'a> {
    /// Where RTP shall come to, as the peer sees it.
    pub address: SocketAddr,
    /// Number of the session, the same in all descriptions of one call (RFC 8866 section 5.2). At most 2^63 - 1: some
    /// peers read it signed.
    pub session: u64,
    /// To be raised by one whenever a description differs from the last one sent (RFC 3264 section 8).
    pub version: u64,
    /// What we speak, the best first.
    pub codecs: &'a [Codec],
    /// Which way we want sound to go; the answer is what both want.
    pub direction: Direction,
    pub prefer: Prefer,
}

/// Whose order of codecs decides an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Prefer {
    /// Theirs: what RFC 3264 section 6.1 recommends, and what spares the peer a transcoder.
    #[default]
    Theirs,
    Ours,
}

/// Why no sound can be agreed on, in words for a Warning header. SIP's answer is 488 (RFC 3261 section 13.3.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the session description has too {0}")]
    TooLarge(&'static str),
    #[error("the session description cannot be read: {0}")]
    Malformed(&'static str),
    #[error("no audio is offered")]
    NoAudio,
    #[error("the audio is declined (port 0)")]
    Declined,
    #[error("only RTP/AVP is spoken")]
    Profile,
    #[error("no codec in common")]
    NoCodec,
    #[error("the media address cannot be used: {0}")]
    Address(&'static str),
}

/// A codec's static payload type (RFC 3551 section 6, table 4) and its name in `rtpmap`.
const CODECS: [(Codec, u8, &str); 2] = [(Codec::Pcmu, 0, "PCMU"), (Codec::Pcma, 8, "PCMA")];
/// Clock of all that we speak, in Hz.
const CLOCK_HZ: u32 = 8000;
const EVENT_NAME: &str = "telephone-event";

fn static_type(codec: Codec) -> (u8, &'static str) {
    let row = CODECS.iter().find(|(known, ..)| *known == codec).unwrap_or(&CODECS[0]);
    (row.1, row.2)
}

const fn sends(direction: Direction) -> bool {
    matches!(direction, Direction::SendRecv | Direction::SendOnly)
}

const fn receives(direction: Direction) -> bool {
    matches!(direction, Direction::SendRecv | Direction::RecvOnly)
}

const fn direction(sends: bool, receives: bool) -> Direction {
    match (sends, receives) {
        (true, true) => Direction::SendRecv,
        (true, false) => Direction::SendOnly,
        (false, true) => Direction::RecvOnly,
        (false, false) => Direction::Inactive,
    }
}
