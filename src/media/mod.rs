//! Sound: from the wire to the ear.
//!
//! `engine` is the machine of one mixer thread: packets and commands in, one tick every 20 ms, packets and events out.
//! `sdp` agrees on what is spoken; `io` holds the sockets, the pinned threads and the beat.

pub mod beat;
pub mod clip;
pub mod codec;
mod command;
pub mod counts;
pub mod engine;
pub mod io;
pub mod mixer;
mod player;
pub mod ports;
mod route;
pub mod rtp;
pub mod sdp;
mod stream;

pub use clip::{BadClip, Clip};
pub use command::{Command, Config, Event, Outcome, Outgoing, Refusal, Slot, Stats, Target};
pub use engine::{Carried, Engine};

use std::net::SocketAddr;

/// The beat of all mixers, milliseconds.
pub const TICK_MS: u64 = 20;
/// Samples a second of a room.
pub const RATE_HZ: usize = 8_000;
/// Samples of one tick.
pub const FRAME: usize = RATE_HZ * TICK_MS as usize / 1_000;
/// The sound of one tick.
pub type Frame = [i16; FRAME];
/// A sum of many sounds: 32 bits hold 65,536 of the loudest.
pub type Mix = [i32; FRAME];

/// One leg's sound, as the owner names it (never reused while the process lives).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// One mix, as the owner names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(pub u64);

/// What is spoken on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    Pcmu,
    Pcma,
}

/// Which way sound goes, seen from us (RFC 3264 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Direction {
    #[default]
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

/// What offer and answer agreed on: all that the engine needs to know of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where they want to receive RTP, and the only source that we take it from.
    pub remote: SocketAddr,
    pub codec: Codec,
    /// Payload type of the codec, as the offerer numbered it.
    pub payload_type: u8,
    /// Payload type of telephone-event at 8000 Hz (RFC 4733), where both have it.
    pub telephone_event: Option<u8>,
    pub direction: Direction,
    /// Milliseconds of sound a packet that we send.
    pub ptime_ms: u16,
}
