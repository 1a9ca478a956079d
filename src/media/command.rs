//! What the owner tells an [`Engine`](super::Engine) and what he hears from it.

use super::clip::Clip;
use super::rtp::quality::Quality;
use super::sdp::crypto::Secret;
use super::{Codec, Plan, Rate, RoomId, StreamId};
use crate::clock::Mono;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// The place of a stream in one engine: an index, so that the hot loop looks nothing up. The rim keeps its sockets in a
/// `Vec` by it. Free again as soon as [`Outcome::Closed`] names it, and then used for another stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u32);

impl Slot {
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Who hears a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// One caller, over a lowered room.
    Stream(StreamId),
    /// All who hear the room.
    Room(RoomId),
}

/// Past the rim's queue, applied between two ticks. Commands may allocate; ticks never do.
#[derive(Clone, Debug)]
pub enum Command {
    /// A new stream, in no room, open in both directions. It sends silence until told otherwise.
    Attach {
        stream: StreamId,
        plan: Plan,
    },
    /// What a re-INVITE agreed on: address, codec, direction. Sequence numbers and rooms stay.
    Change {
        stream: StreamId,
        plan: Plan,
    },
    /// From the next packet on both directions are secret with these keys, or in the open. Where nothing changed, nothing
    /// begins anew.
    Secure {
        stream: StreamId,
        secret: Option<Box<Secret>>,
    },
    /// Into a room, out of the one it was in. A room begins with its first member.
    Join {
        stream: StreamId,
        room: RoomId,
    },
    Leave {
        stream: StreamId,
    },
    /// Not heard by the room. `Talking` is still told, so that the owner can say "you are muted".
    Mute {
        stream: StreamId,
        on: bool,
    },
    /// Does not hear the room; hears prompts played to it.
    Deafen {
        stream: StreamId,
        on: bool,
    },
    /// Until its ACK a caller hears prompts, but neither hears the room nor is heard there.
    Gag {
        stream: StreamId,
        on: bool,
    },
    /// Beside what its room hears of it, or does not, its voice is heard by one other in there, over the lowered room and whatever
    /// is played to that one; `None`: no more.
    Confide {
        stream: StreamId,
        to: Option<StreamId>,
    },
    /// How much louder than it came a voice is heard, and how much louder than it is the room is heard: -60 to 15 dB.
    Gain {
        stream: StreamId,
        spoken_db: i8,
        heard_db: i8,
    },
    /// Plays clips one after the other, behind what is already playing there; music (`repeat`) ends when something
    /// follows it. `mark` comes back in exactly one [`Event::Played`], unless the stream is detached first.
    /// With `barge`, a digit of the stream stops this and what follows it (a room's prompts ignore digits).
    Play {
        target: Target,
        clips: Vec<Arc<Clip>>,
        repeat: bool,
        mark: u64,
        barge: bool,
    },
    /// A key that came beside the sound (SIP INFO). Told as [`Event::Digit`], unless it is a press that was told already.
    Press {
        stream: StreamId,
        key: char,
    },
    /// Stops all that plays there.
    Stop {
        target: Target,
    },
    /// The recording of a room stands still, or goes on.
    PauseRecording {
        room: RoomId,
        on: bool,
    },
    /// A room is recorded no more.
    StopRecording {
        room: RoomId,
    },
    /// The stream goes on for another leg: [`Event::HandedOver`] brings the figures until now, and those that come later are
    /// of the time after it.
    HandOver {
        stream: StreamId,
    },
    /// The end of a stream: [`Event::Detached`] brings its figures.
    Detach {
        stream: StreamId,
    },
}

/// What a command did to the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The stream lives at this slot from now on.
    Opened(Slot),
    /// The slot is free: close or keep its socket now, the next `Attach` may reuse the number.
    Closed(Slot),
    Done,
}

/// Why a command did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such stream or room (it may just have ended).
    Unknown,
    /// A stream of that name is here already.
    Known,
    /// `Config::most_streams` are here, or too many prompts wait.
    Full,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Unknown => "no such stream or room",
            Refusal::Known => "a stream of that name is here already",
            Refusal::Full => "the mixer is full",
        })
    }
}

impl std::error::Error for Refusal {}

/// What happened. Told between ticks by [`Engine::events`](super::Engine::events).
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A key was pressed: `0`-`9`, `*`, `#`, `A`-`D`. Once a press, however often its packets came. Never logged.
    Digit {
        stream: StreamId,
        key: char,
        at: Mono,
    },
    /// A `Play` came to its end; `whole` if it was heard to the last sample.
    Played {
        target: Target,
        mark: u64,
        whole: bool,
    },
    /// Neither RTP nor RTCP came from the stream for `Config::silence_ms`, though it should send. Told once.
    Silent {
        stream: StreamId,
        since: Mono,
    },
    /// After `Silent`: it is back.
    Heard {
        stream: StreamId,
    },
    /// Sound goes one way only: nothing ever came from the stream for `Config::one_way_ms` though it should send, or it
    /// reports that next to nothing of ours arrives. Told once for each way.
    OneWay {
        stream: StreamId,
        missing: Missing,
    },
    /// Began or ceased to talk, muted or not.
    Talking {
        stream: StreamId,
        on: bool,
    },
    HandedOver {
        stream: StreamId,
        stats: Stats,
    },
    Detached {
        stream: StreamId,
        stats: Stats,
    },
    /// A fault of ours ended the sound of the stream: its call has to be ended too. `Detach` is awaited as ever.
    Broken {
        stream: StreamId,
    },
}

/// Which way sound does not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// From them to us.
    In,
    /// From us to them.
    Out,
}

impl Missing {
    pub const fn name(self) -> &'static str {
        match self {
            Missing::In => "in",
            Missing::Out => "out",
        }
    }
}

/// One stream's figures since it was attached or handed over, over all its rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Packets from the agreed address that were RTP of ours.
    pub packets_in: u64,
    pub packets_out: u64,
    /// Payload octets of `packets_in`.
    pub octets: u64,
    /// Packets that never came (RFC 3550 appendix A.3).
    pub lost: u64,
    /// Sound that came after its moment.
    pub late: u64,
    pub duplicate: u64,
    /// Packets from another address or port than agreed.
    pub foreign: u64,
    /// Not RTP, or a payload type that nobody agreed on.
    pub bad: u64,
    /// Secret packets whose tag was wrong.
    pub forged: u64,
    /// Interarrival jitter (RFC 3550 section 6.4.1), microseconds.
    pub jitter_us: u32,
    /// Sound made up in place of what was missing, milliseconds.
    pub concealed_ms: u64,
    /// When the last of `packets_in`, or of RTCP, came.
    pub last_packet: Option<Mono>,
    pub codec: Codec,
    /// `None` where too little came to tell.
    pub quality: Option<Quality>,
}

impl Stats {
    /// What was counted after `past`, when all of that was counted already.
    pub(super) fn after(self, past: &Stats) -> Stats {
        let less = |of: fn(&Stats) -> u64| of(&self).saturating_sub(of(past));
        Stats {
            packets_in: less(|own| own.packets_in),
            packets_out: less(|own| own.packets_out),
            octets: less(|own| own.octets),
            lost: less(|own| own.lost),
            late: less(|own| own.late),
            duplicate: less(|own| own.duplicate),
            foreign: less(|own| own.foreign),
            bad: less(|own| own.bad),
            forged: less(|own| own.forged),
            concealed_ms: less(|own| own.concealed_ms),
            ..self
        }
    }
}

/// A packet that is ready to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    pub slot: Slot,
    pub stream: StreamId,
    pub to: SocketAddr,
    pub packet: &'a [u8],
}

/// Settings of the sound. All times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Streams that one engine takes.
    pub most_streams: u32,
    /// Sound that a jitter buffer gathers before it begins: 20 adds no more than the wait for the tick.
    pub start_ms: u16,
    /// The hard bound of a jitter buffer.
    pub bound_ms: u16,
    /// Without an accepted packet for so long, a stream that should send is `Silent`.
    pub silence_ms: u32,
    /// Without a first packet for so long, a stream that should send is `OneWay`.
    pub one_way_ms: u32,
    /// Mean magnitude (of 32768) from which a voice counts as talking: 260 is about -42 dBov.
    pub talk_level: u16,
    /// How long a voice counts as talking after it fell below.
    pub talk_hang_ms: u16,
    /// Mean magnitude up to which a voice is left out of the mix: 8 is an idle A-law line. 0 leaves out pure silence alone.
    pub gate_level: u16,
    /// A room has at least this rate, and none above `most_rate`: what a leg brings beyond it is not heard.
    pub least_rate: Rate,
    pub most_rate: Rate,
    /// Only so many of the loudest are mixed, where more talk at once; 0 mixes all.
    pub loudest: u8,
    /// Voices are brought to one loudness.
    pub automatic_gain: bool,
    /// The steady noise behind a voice is lowered; what is said comes 10 ms later.
    pub noise_suppression: bool,
    /// Events kept until they are fetched; what comes on top is lost and counted.
    pub most_events: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            most_streams: 2_000,
            start_ms: 20,
            bound_ms: 150,
            silence_ms: 30_000,
            one_way_ms: 4_000,
            talk_level: 260,
            talk_hang_ms: 400,
            gate_level: 8,
            least_rate: Rate::Narrow,
            most_rate: Rate::Full,
            loudest: 0,
            automatic_gain: false,
            noise_suppression: false,
            most_events: 8_192,
        }
    }
}

impl Config {
    /// The rate of a codec's sound in here: Opus comes at any, so no higher than is used.
    pub fn rate_of(&self, codec: Codec) -> Rate {
        if codec == Codec::Opus { codec.rate().min(self.most_rate) } else { codec.rate() }
    }
}
