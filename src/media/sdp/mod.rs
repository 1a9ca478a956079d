//! Agreeing on what is spoken: session descriptions (RFC 8866) in offer and answer (RFC 3264).
//!
//! Bytes in, bytes and a [`Plan`](super::Plan) out; nothing here waits, draws or asks a name server. What a peer writes
//! beside the rules is read as far as it can mean only one thing; what would make us send sound to a wrong place is not.

pub mod crypto;
mod layout;
mod negotiate;
mod parse;
mod write;

pub use layout::Layout;
pub use negotiate::{Agreed, accept, accept_with, answer, answer_with};
pub use write::{offer, offer_with};

use super::{Codec, Direction, Rate};
use crate::types::Addresses;
use std::net::IpAddr;

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
/// Payload type that we offer for telephone-event at 8000 Hz: dynamic, and the one that carriers expect.
pub const TELEPHONE_EVENT: u8 = 101;
/// The same at 48000 Hz, beside Opus: keys are on the timeline of the sound (RFC 4733 section 2.1).
const TELEPHONE_EVENT_FULL: u8 = 100;

/// What we bring to the table.
#[derive(Clone, Copy, Debug)]
pub struct Ours<'a> {
    /// Where RTP shall come to, as the peer sees it: the first is offered, and an offer is answered with the one of its family.
    pub addresses: Addresses,
    pub port: u16,
    /// Names the machine in all descriptions of one call, wherever its sound goes meanwhile (RFC 3264 section 8).
    pub origin: IpAddr,
    /// Number of the session, the same in all descriptions of one call (RFC 8866 section 5.2). At most 2^63 - 1: some
    /// peers read it signed.
    pub session: u64,
    /// To be raised by one whenever a description differs from the last one sent (RFC 3264 section 8).
    pub version: u64,
    /// What we speak, the best first.
    pub codecs: &'a [Codec],
    /// Whether we take comfort noise in place of silence, and send it (RFC 3389).
    pub comfort_noise: bool,
    /// Whether we take keys as events (RFC 4733).
    pub events: bool,
    /// Which way we want sound to go; the answer is what both want.
    pub direction: Direction,
    pub prefer: Prefer,
    /// What earlier descriptions of this call have laid down; `None` for the first one.
    pub before: Option<&'a Layout>,
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
    #[error(transparent)]
    Secrecy(#[from] crypto::Unfit),
}

impl Refusal {
    /// The code of a Warning (RFC 3261 section 20.43).
    pub const fn warning(&self) -> u16 {
        match self {
            Refusal::Address(_) => 301,
            Refusal::Profile => 302,
            Refusal::NoAudio | Refusal::Declined => 304,
            Refusal::NoCodec => 305,
            Refusal::TooLarge(_) | Refusal::Malformed(_) | Refusal::Secrecy(_) => 399,
        }
    }
}

/// Who may listen: what a carrier's settings want, and what was agreed last in this call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Secrecy<'a> {
    pub policy: crypto::Policy,
    pub before: Option<&'a crypto::Secret>,
}

/// How a codec is written in a description.
struct Name {
    codec: Codec,
    /// The static payload type (RFC 3551 section 6, table 4), or the dynamic one that we offer.
    payload_type: u8,
    /// In `rtpmap`.
    name: &'static str,
    clock_hz: u32,
    /// In `rtpmap`: Opus says two, whatever it carries (RFC 7587 section 7).
    channels: u32,
    fmtp: Option<&'static str>,
}

impl Name {
    const fn new(codec: Codec, payload_type: u8, name: &'static str, clock_hz: u32) -> Name {
        Name { codec, payload_type, name, clock_hz, channels: 1, fmtp: None }
    }
}

const NAMES: [Name; 8] = [
    Name::new(Codec::Pcmu, 0, "PCMU", 8_000),
    Name::new(Codec::Pcma, 8, "PCMA", 8_000),
    // 8000 is an old mistake that must stay (RFC 3551 section 4.5.2).
    Name::new(Codec::G722, 9, "G722", 8_000),
    Name { channels: 2, fmtp: Some("useinbandfec=1"), ..Name::new(Codec::Opus, 96, "opus", 48_000) },
    Name::new(Codec::L16(Rate::Narrow), 102, "L16", 8_000),
    Name::new(Codec::L16(Rate::Wide), 103, "L16", 16_000),
    Name::new(Codec::L16(Rate::SuperWide), 104, "L16", 24_000),
    Name::new(Codec::L16(Rate::Full), 105, "L16", 48_000),
];

const EVENT_NAME: &str = "telephone-event";
const COMFORT_NOISE_NAME: &str = "CN";
/// The static payload type of comfort noise (RFC 3389 section 4).
const COMFORT_NOISE: u8 = 13;
/// The clock of keys and comfort noise, where the codec's own is not to be had.
const TELEPHONE_HZ: u32 = 8_000;

fn name_of(codec: Codec) -> &'static Name {
    NAMES.iter().find(|row| row.codec == codec).unwrap_or(&NAMES[0])
}

pub(in crate::media) const fn sends(direction: Direction) -> bool {
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
