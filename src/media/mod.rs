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
mod keys;
pub mod mixer;
mod player;
pub mod ports;
pub mod recorder;
mod route;
pub mod rtp;
pub mod sdp;
mod stream;

pub use clip::{BadClip, Clip};
pub use codec::Rate;
pub use command::{Command, Config, Event, Missing, Outcome, Outgoing, Refusal, Slot, Stats, Target};
pub use engine::{Carried, Engine};

use std::net::SocketAddr;

/// The beat of all mixers, milliseconds.
pub const TICK_MS: u64 = 20;
/// Samples of one tick at the highest rate.
pub const TICK_MOST: usize = Rate::Full.tick();
/// Room for the sound of one tick at any rate; which part of it is sound, the rate tells.
pub type Frame = [i16; TICK_MOST];
/// A sum of many sounds: 32 bits hold 65,536 of the loudest.
pub type Mix = [i32; TICK_MOST];

impl Rate {
    /// Samples a tick.
    pub const fn tick(self) -> usize {
        self.samples(TICK_MS as usize)
    }
}

/// One leg's sound, as the owner names it (never reused while the process lives).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// One mix, as the owner names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(pub u64);

/// What is spoken on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// 64 kbit/s.
    G722,
    Opus,
    /// Plain samples, mono.
    L16(Rate),
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
    /// The same for RTCP: the port above, the one that `a=rtcp` names (RFC 3605), or, with `mux`, that of RTP.
    pub rtcp: SocketAddr,
    /// RTCP goes over the port of RTP, both ways (RFC 5761).
    pub mux: bool,
    /// Their sound may come from another address than they said: for a short while after the stream began, one that has proven to
    /// send theirs is taken for it, as long as the one that they said is silent.
    pub learns: bool,
    pub codec: Codec,
    /// Payload type of the codec in what we send.
    pub payload_type: u8,
    /// Payload type of the codec in what they send: the same, unless an answer renumbers (RFC 3264 section 5.1).
    pub payload_in: u8,
    /// Payload type of telephone-event in what they send (RFC 4733), where both have it.
    pub telephone_event: Option<u8>,
    /// Keys are listened for in the sound, too.
    pub tones: bool,
    /// Payload type of comfort noise (RFC 3389), where both have it.
    pub comfort_noise: Option<u8>,
    pub direction: Direction,
    /// Milliseconds of sound a packet that we send.
    pub ptime_ms: u16,
}

impl Plan {
    /// Sound both ways in packets of 20 ms, and nothing else.
    pub const fn plain(remote: SocketAddr, codec: Codec, payload_type: u8) -> Plan {
        let (telephone_event, comfort_noise, direction) = (None, None, Direction::SendRecv);
        let ptime_ms = TICK_MS as u16;
        let payload_in = payload_type;
        let (rtcp, mux, learns) = (above(remote), false, false);
        Plan {
            remote,
            rtcp,
            mux,
            learns,
            codec,
            payload_type,
            payload_in,
            telephone_event,
            tones: true,
            comfort_noise,
            direction,
            ptime_ms,
        }
    }
}

/// Where RTCP is, if nobody says otherwise (RFC 3550 section 11): above the highest port there is none.
const fn above(mut rtp: SocketAddr) -> SocketAddr {
    rtp.set_port(rtp.port().saturating_add(1));
    rtp
}
