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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Direction;
    use std::f32::consts::TAU;

    const EVENT_TYPE: u8 = 101;
    const HZ: f32 = 400.0;

    fn plan() -> Plan {
        let remote = "127.0.0.1:4000".parse().unwrap();
        let (codec, telephone_event, direction) = (Codec::Pcmu, Some(EVENT_TYPE), Direction::SendRecv);
        Plan { remote, codec, payload_type: 0, telephone_event, direction, ptime_ms: 20 }
    }

    fn packet(payload_type: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let packet = Packet { marker: false, payload_type, sequence, timestamp, ssrc: 7, payload };
        [&packet.header()[..], payload].concat()
    }

    fn tone(sequence: u16, timestamp: u32, size: usize) -> Vec<u8> {
        let sample = |i: usize| (8_000.0 * (TAU * HZ * (timestamp as usize + i) as f32 / 8_000.0).sin()) as i16;
        let sound: Vec<i16> = (0..size).map(sample).collect();
        let mut line = vec![0; size];
        Codec::Pcmu.encode(&sound, &mut line);
        packet(0, sequence, timestamp, &line)
    }

    fn event(sequence: u16, timestamp: u32, duration: u16, end: bool) -> Vec<u8> {
        let [high, low] = duration.to_be_bytes();
        packet(EVENT_TYPE, sequence, timestamp, &[5, if end { 0x8a } else { 0x0a }, high, low])
    }

    /// Feeds packets at their milliseconds, a tick every 20 ms; the sound of so many ticks, and the keys.
    fn run(receiver: &mut Receiver, mut packets: Vec<(u64, Vec<u8>)>, ticks: u64) -> (Vec<i16>, String) {
        packets.sort_by_key(|(at, _)| *at);
        let mut packets = packets.into_iter().peekable();
        let (mut sound, mut keys) = (Vec::new(), String::new());
        for beat in 1..=ticks {
            while let Some((at, datagram)) = packets.next_if(|(at, _)| *at < beat * TICK_MS) {
                if let Got::Key(key) = receiver.take(Mono::from_millis(at), &plan(), &datagram) {
                    keys.push(key);
                }
            }
            sound.extend(receiver.frame(Codec::Pcmu));
        }
        (sound, keys)
    }

    fn level(sound: &[i16]) -> i32 {
        sound.iter().map(|s| i32::from(s.unsigned_abs())).sum::<i32>() / sound.len() as i32
    }

    fn steepest(sound: &[i16]) -> i32 {
        sound.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap()
    }

    /// What a tone of that height does by itself from sample to sample, and the coarseness of µ-law.
    fn smooth() -> i32 {
        (8_000.0 * TAU * HZ / 8_000.0) as i32 + 300
    }

    #[test]
    fn a_tone_stays_a_tone_whatever_the_network_does() {
        let mut random = 1u64;
        let mut draw = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below
        };
        for size in [80, 160, 240, 320, 480] {
            let mut packets = Vec::new();
            for i in 0..(80_000 / size) as u64 {
                let at = (i + 1) * size as u64 / 8 + draw(40);
                let copies = u64::from(draw(100) >= 3) + u64::from(draw(100) < 5);
                let datagram = tone(i as u16, i as u32 * size as u32, size);
                packets.extend((0..copies).map(|copy| (at + copy * 3, datagram.clone())));
            }
            let mut receiver = Receiver::new(&Config::default());
            let (sound, _) = run(&mut receiver, packets, 480);
            let heard = &sound[1_600..];
            assert!(steepest(heard) <= smooth(), "{size}: {}", steepest(heard));
            assert!(heard.chunks(400).all(|chunk| level(chunk) > 1_500), "{size}");
            assert!(receiver.lost() > 0 && receiver.counts().duplicate > 0);
            assert!(receiver.jitter_us() > 2_000);
        }
    }

    #[test]
    fn surplus_goes_without_a_click() {
        // 200 ms come at once, then all is calm: the delay goes back, piece by piece.
        let at = |i: u64| if (100..110).contains(&i) { 110 * 20 } else { i * 20 };
        let packets = (0..1_500u64).map(|i| (at(i) + 10, tone(i as u16, i as u32 * 160, 160))).collect();
        let mut receiver = Receiver::new(&Config::default());
        let (sound, _) = run(&mut receiver, packets, 1_500);
        assert!(steepest(&sound[160..]) <= smooth(), "{}", steepest(&sound[160..]));
        assert!(receiver.jitter.depth() + (receiver.decoded as u32) < 160, "{}", receiver.jitter.depth());
    }

    #[test]
    fn a_key_is_reported_once_and_not_heard() {
        // The carrier leaves the tone in the sound, too: before the first packet of the event, beside it, and after it.
        let mut packets: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut sequence = 0;
        for i in 0..100u64 {
            packets.push((i * 20 + 10, tone(sequence, i as u32 * 160, 160)));
            sequence += 1;
            if (50..55).contains(&i) {
                packets.push((i * 20 + 11, event(sequence, 8_000, (i - 49) as u16 * 160, i == 54)));
                sequence += 1;
            }
        }
        let (sound, keys) = run(&mut Receiver::new(&Config::default()), packets, 100);
        assert_eq!(keys, "5");
        let frames: Vec<i32> = sound.chunks(FRAME).map(level).collect();
        assert!(frames[1..50].iter().all(|level| *level > 4_000), "{frames:?}");
        assert!(frames[50..56].iter().all(|level| *level == 0), "{frames:?}");
        assert!(frames[60..].iter().all(|level| *level > 4_000), "{frames:?}");
    }

    #[test]
    fn a_burst_of_events_makes_nobody_deaf_or_mute() {
        let mut packets: Vec<(u64, Vec<u8>)> = Vec::new();
        for i in 0..100u64 {
            let before = if i < 50 { 0 } else { 10_000 };
            packets.push((i * 20 + 10, tone((i + before) as u16, i as u32 * 160, 160)));
        }
        // Wild timestamps, and durations of eight seconds.
        for i in 0..10_000u32 {
            packets.push((1_000, event(50 + i as u16, i.wrapping_mul(777_777), 0xffff, false)));
        }
        packets.push((1_500, event(20_000, 4_000_000_000, 160, false)));
        let (sound, keys) = run(&mut Receiver::new(&Config::default()), packets, 100);
        assert!(keys.len() <= 18, "{}", keys.len());
        let back = sound.chunks(FRAME).skip(50).position(|frame| level(frame) > 4_000).unwrap();
        assert!(back <= 5, "sound is back after {back} ticks");
        assert!(level(&sound[95 * FRAME..]) > 4_000);
    }

    #[test]
    fn another_source_at_the_same_address_is_followed() {
        let mut receiver = Receiver::new(&Config::default());
        let (sound, _) =
            run(&mut receiver, (0..50).map(|i| (i * 20, tone(i as u16, i as u32 * 160, 160))).collect(), 50);
        assert!(level(&sound[49 * FRAME..]) > 4_000);
        let mut other: Vec<(u64, Vec<u8>)> = Vec::new();
        for i in 0..50u64 {
            let mut datagram = tone(40_000 + i as u16, 3_000_000_000 + i as u32 * 160, 160);
            datagram[11] = 8;
            other.push((i * 20, datagram));
        }
        let (sound, _) = run(&mut receiver, other, 50);
        assert!(level(&sound[FRAME..2 * FRAME]) > 4_000);
        assert_eq!(receiver.lost(), 0);
    }

    #[test]
    fn comfort_noise_and_strange_types_are_never_sound() {
        let mut receiver = Receiver::new(&Config::default());
        let mut packets = Vec::new();
        for i in 0..50u16 {
            let payload_type = [COMFORT_NOISE, 8, 96, 72, 127][usize::from(i) % 5];
            packets.push((u64::from(i) * 20, packet(payload_type, i, u32::from(i) * 160, &[0x55; 160])));
        }
        packets.push((10, vec![0x55; 1_400]));
        let (sound, _) = run(&mut receiver, packets, 50);
        assert!(sound.iter().all(|sample| *sample == 0));
        assert_eq!((receiver.counts().packets, receiver.counts().bad), (10, 41));
    }
}
