//! What comes in: from a datagram of the agreed source to the sound of a tick.

use super::dtmf::{Keypad, Part};
use super::jitter::{Jitter, Pull, Put, Settings};
use super::packet::{PAYLOAD_MOST, Packet};
use super::{Order, Sequence, Unrest};
use crate::clock::Mono;
use crate::media::codec::conceal::{Conceal, shorten};
use crate::media::{Codec, Config, FRAME, Frame, Plan, RATE_HZ, TICK_MS};

/// Comfort noise (RFC 3389): it says "nobody talks", and is never decoded as sound.
const COMFORT_NOISE: u8 = 13;
/// Sound stays hushed for 60 ms after the last packet of a key.
const HUSH_TICKS: u8 = 3;
/// Nanoseconds a unit of the timestamp.
const UNIT_NANOS: i64 = 1_000_000_000 / RATE_HZ as i64;
/// Decoded sound at hand: two frames, of which one may be let go, and the packet that passes them.
const FIFO: usize = 2 * FRAME + PAYLOAD_MOST;

/// What an accepted packet was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Got {
    /// Not RTP, or of no agreed payload type: as if it had not come.
    Nothing,
    /// Sound, comfort noise, a repeat.
    Sign,
    Key(char),
}

/// Counters of one way in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub packets: u64,
    pub octets: u64,
    pub late: u64,
    pub duplicate: u64,
    pub bad: u64,
    pub concealed: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    Sound,
    NotYet,
    Never,
}

/// One stream's way in.
pub struct Receiver {
    ssrc: Option<u32>,
    sequence: Sequence,
    unrest: Unrest,
    jitter: Jitter,
    keypad: Keypad,
    conceal: Conceal,
    hush: Hush,
    fifo: [i16; FIFO],
    decoded: usize,
    shed: bool,
    counts: Counts,
}

/// Keys pressed are not heard by the room: neither what lies around them in the jitter buffer, nor what comes with them.
#[derive(Clone, Copy, Debug, Default)]
struct Hush {
    ticks: u8,
    /// Sound before this timestamp belongs to the key.
    until: Option<u32>,
}

impl Hush {
    /// A key's packet came. Whatever it claims, it hushes nothing beyond 60 ms after the newest sound: a wrong duration
    /// makes nobody mute.
    fn press(&mut self, stamp: u32, duration: u16, newest: u32) {
        let frame = FRAME as u32;
        let claimed = stamp.wrapping_add(u32::from(duration));
        let most = newest.wrapping_add(2 * frame);
        let end = if (claimed.wrapping_sub(most) as i32) > 0 { most } else { claimed };
        (self.ticks, self.until) = (HUSH_TICKS, Some(end.wrapping_add(frame)));
    }

    fn covers(&mut self, next: Option<u32>) -> bool {
        let (Some(until), Some(next)) = (self.until, next) else { return self.ticks > 0 };
        let belongs = (until.wrapping_sub(next) as i32) > 0;
        if !belongs {
            self.until = None;
        }
        belongs || self.ticks > 0
    }
}

impl Receiver {
    pub fn new(config: &Config) -> Receiver {
        let units = |millis: u16| u32::from(millis) * RATE_HZ as u32 / 1_000;
        let settings = Settings {
            frame: FRAME as u32,
            start: units(config.start_ms),
            bound: units(config.bound_ms),
            jump: RATE_HZ as u32,
        };
        Receiver {
            ssrc: None,
            sequence: Sequence::default(),
            unrest: Unrest::default(),
            jitter: Jitter::new(settings),
            keypad: Keypad::default(),
            conceal: Conceal::default(),
            hush: Hush::default(),
            fifo: [0; FIFO],
            decoded: 0,
            shed: false,
            counts: Counts::default(),
        }
    }

    pub fn counts(&self) -> Counts {
        self.counts
    }

    pub fn lost(&self) -> u64 {
        self.sequence.lost()
    }

    pub fn jitter_us(&self) -> u32 {
        self.unrest.micros()
    }

    /// Another source, another address or another codec follows.
    pub fn forget(&mut self) {
        self.ssrc = None;
        self.sequence.forget();
        self.unrest.forget();
        self.jitter.forget();
        self.keypad.forget();
        self.hush = Hush::default();
    }

    /// Takes a datagram from the agreed source.
    pub fn take(&mut self, now: Mono, plan: &Plan, datagram: &[u8]) -> Got {
        let agreed = |packet: &Packet| {
            let kind = packet.payload_type;
            kind == plan.payload_type || Some(kind) == plan.telephone_event || kind == COMFORT_NOISE
        };
        let Some(packet) = Packet::parse(datagram).filter(agreed) else {
            self.counts.bad += 1;
            return Got::Nothing;
        };
        self.counts.packets += 1;
        self.counts.octets += packet.payload.len() as u64;
        // RFC 3550 section 8.2: another SSRC is another source, with numbers and a clock of its own.
        if self.ssrc.is_some_and(|ssrc| ssrc != packet.ssrc) {
            self.forget();
        }
        self.ssrc = Some(packet.ssrc);
        match self.sequence.take(packet.sequence) {
            Order::Duplicate => {
                self.counts.duplicate += 1;
                Got::Sign
            }
            // A key is known by its timestamp, not by its number: none is missed while numbers are in doubt.
            Order::Doubtful if Some(packet.payload_type) != plan.telephone_event => Got::Sign,
            _ => self.sort(now, plan, &packet),
        }
    }

    fn sort(&mut self, now: Mono, plan: &Plan, packet: &Packet) -> Got {
        if Some(packet.payload_type) == plan.telephone_event {
            return self.key(packet);
        }
        if packet.payload_type == plan.payload_type {
            self.sound(now, packet);
        }
        Got::Sign
    }

    fn key(&mut self, packet: &Packet) -> Got {
        let Some(part) = Part::parse(packet.payload) else {
            self.counts.bad += 1;
            return Got::Sign;
        };
        self.hush.press(packet.timestamp, part.duration, self.jitter.newest());
        self.keypad.take(packet.timestamp, part).map_or(Got::Sign, Got::Key)
    }

    fn sound(&mut self, now: Mono, packet: &Packet) {
        let stamp_nanos = i64::from(packet.timestamp) * UNIT_NANOS;
        self.unrest.take(now.nanos(), stamp_nanos, (1 << 32) * UNIT_NANOS);
        match self.jitter.put(packet.timestamp, packet.payload) {
            Put::Kept | Put::Restarted => {}
            Put::Late => self.counts.late += 1,
            Put::Useless => self.counts.bad += 1,
        }
    }

    /// The sound of one tick.
    pub fn frame(&mut self, codec: Codec) -> Frame {
        self.keypad.tick();
        self.gather(codec, FRAME);
        if self.shed {
            self.let_go(codec);
        }
        let mut frame = [0; FRAME];
        frame.copy_from_slice(&self.fifo[..FRAME]);
        self.fifo.copy_within(FRAME..self.decoded, 0);
        self.decoded -= FRAME;
        self.hush.ticks = self.hush.ticks.saturating_sub(1);
        self.shed |= self.jitter.surplus(self.decoded as u32);
        frame
    }

    /// A frame too much lies here: where two lie side by side, a piece of them goes.
    fn let_go(&mut self, codec: Codec) {
        self.shed = false;
        if self.decoded + self.jitter.depth() as usize >= 2 * FRAME {
            self.gather(codec, 2 * FRAME);
            self.decoded -= shorten(&mut self.fifo[..self.decoded]);
        }
    }

    fn gather(&mut self, codec: Codec, want: usize) {
        while self.decoded < want {
            let hushed = self.hush.covers(self.jitter.next());
            let rest = &mut self.fifo[self.decoded..];
            let (count, came) = match self.jitter.pull((want - self.decoded) as u32) {
                Pull::Sound(octets) => {
                    let count = octets.len().min(rest.len());
                    codec.decode(&octets[..count], &mut rest[..count]);
                    (count, Came::Sound)
                }
                Pull::Lost(units) => (units as usize, Came::Never),
                Pull::Wait(units) => (units as usize, Came::NotYet),
            };
            let sound = &mut rest[..count];
            if hushed {
                sound.fill(0);
                self.conceal.forget();
            } else if came == Came::Sound {
                self.conceal.hear(sound);
            } else {
                // A pause of the sender ends in silence: only what was really made up for it counts.
                let audible = self.conceal.fill(sound);
                self.counts.concealed += if came == Came::Never { count } else { audible } as u64;
            }
            self.decoded += count;
        }
    }

    /// The voice is taken out of a mix: how it would have gone on.
    pub fn farewell(&self) -> Frame {
        let mut frame = [0; FRAME];
        self.conceal.clone().fill(&mut frame);
        frame
    }

    /// Sound made up so far, in milliseconds.
    pub fn concealed_ms(&self) -> u64 {
        self.counts.concealed * TICK_MS / FRAME as u64
    }
}
