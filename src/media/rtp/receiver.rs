//! What comes in: from a datagram of the agreed source to the sound of a tick.

use super::dtmf::{Keypad, Part};
use super::jitter::{Arrival, Jitter, Pull, Settings};
use super::packet::Packet;
use super::quality::Bursts;
use super::report::Inbound;
use super::stretch::{self, Piece};
use super::{Order, Sequence, Unrest};
use crate::clock::Mono;
use crate::media::codec::comfort::{self, Noise};
use crate::media::codec::conceal::{Conceal, product};
use crate::media::codec::{self, Decoder};
use crate::media::{Codec, Config, Plan, Rate, TICK_MS};

/// Sound stays hushed for 60 ms after the last packet of a key.
const HUSH_TICKS: u8 = 3;
/// The longest packet taken: 60 ms, three frames; of Opus, which may bundle more, 120 ms.
const PACKET_FRAMES: usize = 3;
const OPUS_PACKET_FRAMES: usize = 6;
/// The largest Opus payload that is one frame of a telephone call or a browser; larger ones are music in high quality.
const OPUS_PAYLOAD: usize = 1_275;
/// Decoded sound at hand beside the packet that passes it: two frames, and a frame for what is stretched.
const FIFO_FRAMES: usize = 2 + 1;
/// Sound counts as quiet when it is weaker than the voice usually is by this factor (18 dB), or than this (-72 dBov).
const QUIET_PART: f32 = 8.0;
const QUIET_LEAST: f32 = 8.0;
/// The usual strength of the voice falls by a 256th a tick (to a half in 3.5 s), and rises at once.
const VOICE_FALL: f32 = 1.0 / 256.0;

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

/// What the receiver must know of a codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    /// Units of the timestamp a second.
    clock_hz: usize,
    /// Decoded samples a second.
    rate_hz: usize,
    /// The largest payload, in octets.
    payload: usize,
    /// The longest packet, in frames.
    packet_frames: usize,
}

impl Shape {
    fn of(codec: Codec, rate: Rate) -> Shape {
        let (clock_hz, rate_hz) = (codec.clock_hz() as usize, rate.hz() as usize);
        let narrow = PACKET_FRAMES * Rate::Narrow.tick();
        let (payload, packet_frames) = match codec {
            Codec::Pcmu | Codec::Pcma | Codec::G722 => (narrow, PACKET_FRAMES),
            Codec::L16(rate) => ((PACKET_FRAMES * 2 * rate.tick()).min(codec::PAYLOAD_MOST), PACKET_FRAMES),
            Codec::Opus => (OPUS_PAYLOAD, OPUS_PACKET_FRAMES),
        };
        Shape { clock_hz, rate_hz, payload, packet_frames }
    }

    fn settings(&self, config: &Config) -> Settings {
        let units = |millis: u64| (millis * self.clock_hz as u64 / 1_000) as u32;
        let frame = units(TICK_MS);
        Settings {
            frame,
            start: units(u64::from(config.start_ms)),
            bound: units(u64::from(config.bound_ms)),
            jump: self.clock_hz as u32,
            packet: self.packet_frames as u32 * frame,
            payload: self.payload,
        }
    }

    fn samples(&self, units: u32) -> usize {
        (u64::from(units) * self.rate_hz as u64 / self.clock_hz as u64) as usize
    }

    fn units(&self, samples: usize) -> u32 {
        (samples as u64 * self.clock_hz as u64 / self.rate_hz as u64) as u32
    }

    fn frame(&self) -> usize {
        self.rate_hz * TICK_MS as usize / 1_000
    }
}

/// Decoded sound that waits to be played.
struct Fifo {
    sound: Box<[i16]>,
    ready: usize,
    /// Mean square of the voice, as it usually is when somebody talks.
    voice: f32,
    /// Ticks since the delay was found too long, or too short.
    waited: u16,
}

impl Fifo {
    fn new(shape: &Shape) -> Fifo {
        Fifo {
            sound: vec![0; (FIFO_FRAMES + shape.packet_frames) * shape.frame()].into(),
            ready: 0,
            voice: 0.0,
            waited: 0,
        }
    }

    /// One frame goes out.
    fn give(&mut self, frame: &mut [i16]) {
        let count = frame.len();
        frame.copy_from_slice(&self.sound[..count]);
        self.sound.copy_within(count..self.ready, 0);
        self.ready -= count;
        let strength = strength(frame);
        self.voice = strength.max(self.voice - self.voice * VOICE_FALL);
    }

    fn is_quiet(&self, count: usize) -> bool {
        let strength = strength(&self.sound[..count]);
        strength <= (self.voice / (QUIET_PART * QUIET_PART)).max(QUIET_LEAST * QUIET_LEAST)
    }
}

/// Mean square.
fn strength(sound: &[i16]) -> f32 {
    product(sound, sound) / sound.len().max(1) as f32
}

/// A leg that sends silence all the time is hardly ever decoded: most legs of a large meeting are of that kind. Once it
/// was silent for a while, packets that say of themselves that nobody talks in them are taken at their word, but for one
/// now and then, lest a background that rises goes unheard.
#[derive(Clone, Copy, Debug)]
struct Idle {
    /// Mean magnitude up to which sound is left out of the mix anyway.
    gate: u32,
    /// Packets that were silent, one after the other; and those that were not looked at since the last that was.
    packets: u8,
    spared: u8,
}

/// Half a second of usual packets before, and as much between two looks.
const IDLE_PACKETS: u8 = 25;

impl Idle {
    fn new(config: &Config) -> Idle {
        Idle { gate: config.gate_level.into(), packets: 0, spared: 0 }
    }

    fn spares(&mut self) -> bool {
        let spares = self.packets >= IDLE_PACKETS && self.spared < IDLE_PACKETS;
        self.spared = if spares { self.spared + 1 } else { 0 };
        spares
    }

    fn heard(&mut self, sound: &[i16]) {
        let sum: u32 = sound.iter().map(|sample| u32::from(sample.unsigned_abs())).sum();
        let is_silent = sum <= self.gate * sound.len() as u32;
        self.packets = if is_silent { self.packets.saturating_add(1) } else { 0 };
    }
}

/// What became of a piece of sound that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Heard,
    /// It never came, and its codec knew a replacement.
    Replaced,
    /// It never came.
    Lost,
    /// It may yet come.
    Awaited,
}

/// One stream's way in.
pub struct Receiver {
    ssrc: Option<u32>,
    sequence: Sequence,
    unrest: Unrest,
    codec: Codec,
    shape: Shape,
    decoder: Decoder,
    jitter: Jitter,
    keypad: Keypad,
    conceal: Conceal,
    /// What a silence of theirs sounds like; and whether there is one now.
    noise: Noise,
    rests: bool,
    /// Sound was made up that the decoder knows nothing of.
    is_behind: bool,
    hush: Hush,
    fifo: Fifo,
    bursts: Bursts,
    idle: Idle,
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
    fn press(&mut self, stamp: u32, duration: u16, newest: u32, frame: u32) {
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
    /// Takes all the memory that it will ever use.
    pub fn new(config: &Config, codec: Codec) -> Receiver {
        let rate = config.rate_of(codec);
        let shape = Shape::of(codec, rate);
        Receiver {
            ssrc: None,
            sequence: Sequence::default(),
            unrest: Unrest::default(),
            codec,
            shape,
            decoder: Decoder::new(codec, rate),
            jitter: Jitter::new(shape.settings(config)),
            keypad: Keypad::default(),
            conceal: Conceal::new(shape.rate_hz),
            noise: Noise::new(0),
            rests: false,
            is_behind: false,
            hush: Hush::default(),
            fifo: Fifo::new(&shape),
            bursts: Bursts::default(),
            idle: Idle::new(config),
            counts: Counts::default(),
        }
    }

    /// What came of the source that is followed now, for reports about it.
    pub fn inbound(&self) -> Inbound {
        let (expected, received) = self.sequence.of_source();
        let jitter = self.unrest.units(self.codec.clock_hz());
        Inbound { ssrc: self.ssrc, expected, received, highest: self.sequence.extended(), jitter }
    }

    /// Packets expected and received of all sources.
    pub fn totals(&self) -> (u64, u64) {
        self.sequence.totals()
    }

    /// How what is missing clusters, a packet a step.
    pub fn bursts(&self) -> &Bursts {
        &self.bursts
    }

    /// Sound that lies here now, in milliseconds.
    pub fn buffer_ms(&self) -> u16 {
        let units = self.jitter.depth() + self.shape.units(self.fifo.ready);
        (u64::from(units) * 1_000 / self.shape.clock_hz as u64) as u16
    }

    pub fn counts(&self) -> Counts {
        let fates = self.jitter.fates();
        Counts { late: fates.late + fates.cut, bad: self.counts.bad + fates.useless, ..self.counts }
    }

    pub fn lost(&self) -> u64 {
        self.sequence.lost()
    }

    pub fn jitter_us(&self) -> u32 {
        self.unrest.micros()
    }

    /// Another address or another codec follows; the figures stay.
    pub fn change(&mut self, config: &Config, codec: Codec) {
        if codec == self.codec {
            return self.forget();
        }
        let before = self.counts();
        let concealed = self.concealed_ms() * u64::from(config.rate_of(codec).hz()) / 1_000;
        let (sequence, bursts) = (std::mem::take(&mut self.sequence), self.bursts);
        *self = Receiver { sequence, bursts, ..Receiver::new(config, codec) };
        self.sequence.forget();
        self.counts = Counts { concealed, ..before };
    }

    /// Another source follows.
    pub fn forget(&mut self) {
        self.ssrc = None;
        self.sequence.forget();
        self.unrest.forget();
        self.jitter.forget();
        self.decoder.forget();
        self.keypad.forget();
        self.rests = false;
        self.idle.packets = 0;
        self.hush = Hush::default();
    }

    /// Takes a datagram from the agreed source.
    pub fn take(&mut self, now: Mono, plan: &Plan, datagram: &[u8]) -> Got {
        // Comfort noise has its number whether agreed on or not.
        let agreed = |packet: &Packet| {
            let kind = packet.payload_type;
            kind == plan.payload_in
                || Some(kind) == plan.telephone_event
                || Some(kind) == plan.comfort_noise
                || kind == comfort::STATIC_TYPE
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
        if self.ssrc.replace(packet.ssrc).is_none() {
            // Each makes its own noise: the same from all would add up as a voice does.
            self.noise = Noise::new(packet.ssrc);
        }
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
        if packet.payload_type == plan.payload_in {
            self.sound(now, packet);
        } else if self.codec.clock_hz() == comfort::CLOCK_HZ {
            self.silence(packet);
        }
        Got::Sign
    }

    /// In its place among the sound. More than the noise maker knows is not kept.
    fn silence(&mut self, packet: &Packet) {
        let Packet { timestamp: stamp, sequence, payload, .. } = *packet;
        let payload = &payload[..payload.len().min(comfort::PAYLOAD_MOST)];
        self.jitter.put(Arrival { stamp, sequence, units: 0, payload });
    }

    fn key(&mut self, packet: &Packet) -> Got {
        let Some(part) = Part::parse(packet.payload) else {
            self.counts.bad += 1;
            return Got::Sign;
        };
        let frame = self.shape.units(self.shape.frame());
        self.hush.press(packet.timestamp, part.duration, self.jitter.newest(), frame);
        self.keypad.take(packet.timestamp, part).map_or(Got::Sign, Got::Key)
    }

    fn sound(&mut self, now: Mono, packet: &Packet) {
        let nanos = |units: u64| (units * 1_000_000_000 / self.shape.clock_hz as u64) as i64;
        self.unrest.take(now.nanos(), nanos(u64::from(packet.timestamp)), nanos(1 << 32));
        let Ok(units) = self.codec.units(packet.payload) else {
            self.counts.bad += 1;
            return;
        };
        let Packet { timestamp: stamp, sequence, payload, .. } = *packet;
        self.jitter.put(Arrival { stamp, sequence, units, payload });
    }

    /// The sound of one tick: `frame` is as long as a tick of the codec's rate.
    pub fn frame(&mut self, frame: &mut [i16]) {
        self.keypad.tick();
        self.gather(frame.len(), false);
        self.correct(frame.len());
        self.fifo.give(frame);
        self.hush.ticks = self.hush.ticks.saturating_sub(1);
        self.jitter.tick(self.shape.units(self.fifo.ready));
    }

    /// Brings the delay nearer to its goal, where that is not heard.
    fn correct(&mut self, frame: usize) {
        let error = self.jitter.error(self.shape.units(self.fifo.ready));
        let (excess, lack) = (self.shape.samples(error.excess), self.shape.samples(error.lack));
        if excess.max(lack) < stretch::piece_least(self.shape.rate_hz) {
            self.fifo.waited = 0;
            return;
        }
        self.fifo.waited = self.fifo.waited.saturating_add(1);
        if excess > 0 { self.shrink(frame, excess) } else { self.grow(frame, lack) }
    }

    /// How alike a piece must be to what follows it: strict at first, and less so the more is wrong, and the longer.
    fn bar(&self, wrong: usize) -> f32 {
        let frames = wrong as f32 / self.shape.frame() as f32;
        (0.98 - 0.04 * frames - f32::from(self.fifo.waited) * 0.001).max(0.5)
    }

    fn piece(&self, used: usize, wrong: usize, most: usize) -> Option<usize> {
        let rate_hz = self.shape.rate_hz;
        if self.fifo.is_quiet(used) {
            let length = most.min(stretch::piece_most(rate_hz)).min(used.saturating_sub(stretch::blend(rate_hz)));
            return (length >= stretch::piece_least(rate_hz)).then_some(length);
        }
        let Piece { length, likeness } = stretch::find(&self.fifo.sound[..used], rate_hz, most)?;
        (likeness >= self.bar(wrong)).then_some(length)
    }

    /// A piece goes, if enough sound lies here to do without it.
    fn shrink(&mut self, frame: usize, excess: usize) {
        self.gather(2 * frame, true);
        let spare = self.fifo.ready.saturating_sub(frame);
        if let Some(length) = self.piece(self.fifo.ready, excess, excess.min(spare)) {
            let used = self.fifo.ready;
            self.fifo.ready = stretch::shorten(&mut self.fifo.sound[..used], self.shape.rate_hz, length);
        }
    }

    fn grow(&mut self, frame: usize, lack: usize) {
        let used = self.fifo.ready;
        if used + frame <= self.fifo.sound.len()
            && let Some(length) = self.piece(used, lack, lack)
        {
            self.fifo.ready = stretch::lengthen(&mut self.fifo.sound, used, self.shape.rate_hz, length);
        }
    }

    /// Decodes, or makes up, until `want` samples are ready; with `only_sound` nothing is made up.
    fn gather(&mut self, want: usize, only_sound: bool) {
        while self.fifo.ready < want && (!only_sound || self.jitter.is_ready()) {
            let hushed = self.hush.covers(self.jitter.next());
            let ready = self.fifo.ready;
            let rest = &mut self.fifo.sound[ready..];
            let room = rest.len();
            let pull = self.jitter.pull(self.shape.units(want - ready).max(1), self.shape.units(ready));
            let (count, fate) = match pull {
                Pull::Sound { payload, units, skip, missed } => {
                    self.rests = false;
                    self.bursts.played();
                    if std::mem::take(&mut self.is_behind) {
                        // Too late to be heard; but a decoder that remembers goes on from there.
                        self.decoder.replace(Some(payload), &mut rest[..self.shape.samples(missed).min(room)]);
                    }
                    let (count, skip) = (self.shape.samples(units).min(room), self.shape.samples(skip));
                    let sound = &mut rest[..count];
                    let is_known = self.codec.is_inactive(payload) && self.idle.spares();
                    // What was framed well and yet makes no sense is as long as it said, and silent.
                    if is_known || self.decoder.decode(payload, sound).is_err() {
                        sound.fill(0);
                    } else {
                        self.idle.heard(sound);
                    }
                    rest.copy_within(skip.min(count)..count, 0);
                    (count.saturating_sub(skip), Fate::Heard)
                }
                Pull::Silence { payload } => {
                    self.rests = true;
                    self.noise.describe(payload);
                    continue;
                }
                Pull::Lost { units, .. } | Pull::Wait(units) if self.rests => {
                    let count = self.shape.samples(units).clamp(1, room);
                    self.noise.fill(&mut rest[..count]);
                    (count, Fate::Heard)
                }
                Pull::Lost { units, next } => {
                    self.bursts.missing();
                    let count = self.shape.samples(units).clamp(1, room);
                    let is_made = self.decoder.replace(next, &mut rest[..count]);
                    (count, if is_made { Fate::Replaced } else { Fate::Lost })
                }
                Pull::Wait(units) => (self.shape.samples(units).clamp(1, room), Fate::Awaited),
            };
            self.finish(count, fate, hushed);
        }
    }

    /// The last samples at hand, as they are to be heard.
    fn finish(&mut self, count: usize, fate: Fate, hushed: bool) {
        let sound = &mut self.fifo.sound[self.fifo.ready..][..count];
        self.fifo.ready += count;
        self.is_behind = matches!(fate, Fate::Lost | Fate::Awaited);
        let made = match fate {
            _ if hushed => {
                sound.fill(0);
                self.conceal.forget();
                0
            }
            Fate::Heard => {
                self.conceal.hear(sound);
                0
            }
            Fate::Replaced => {
                self.conceal.hear(sound);
                count
            }
            Fate::Lost => {
                self.conceal.fill(sound);
                count
            }
            // A pause of the sender ends in silence: only what was really made up for it counts.
            Fate::Awaited => self.conceal.fill(sound),
        };
        self.counts.concealed += made as u64;
    }

    /// The voice is taken out of a mix: how it would have gone on.
    pub fn farewell(&self, frame: &mut [i16]) {
        self.conceal.clone().fill(frame);
    }

    /// Sound made up so far, in milliseconds.
    pub fn concealed_ms(&self) -> u64 {
        self.counts.concealed * 1_000 / self.shape.rate_hz as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f32::consts::TAU;

    const EVENT_TYPE: u8 = 101;
    const FRAME: usize = Rate::Narrow.tick();
    const HZ: f32 = 400.0;

    fn plan() -> Plan {
        let remote = "127.0.0.1:4000".parse().unwrap();
        Plan { telephone_event: Some(EVENT_TYPE), ..Plan::plain(remote, Codec::Pcmu, 0) }
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
            let mut frame = [0; FRAME];
            receiver.frame(&mut frame);
            sound.extend(frame);
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
            let mut receiver = Receiver::new(&Config::default(), Codec::Pcmu);
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
        let mut receiver = Receiver::new(&Config::default(), Codec::Pcmu);
        let (sound, _) = run(&mut receiver, packets, 1_500);
        assert!(steepest(&sound[160..]) <= smooth(), "{}", steepest(&sound[160..]));
        assert!(receiver.jitter.depth() + (receiver.fifo.ready as u32) < 160, "{}", receiver.jitter.depth());
    }

    /// Minutes of sound in a test of drift: hours where the code is optimised.
    const LONG_MINUTES: u64 = if cfg!(debug_assertions) { 4 } else { 120 };

    /// So many minutes of a tone, by a clock that is too fast by `ppm`; the receiver, and the steepest step after half a
    /// second. `check` is given each packet's sound as it should come out, and what came out.
    fn steady(ppm: i64, mut check: impl FnMut(&[i16], &[i16])) -> (Receiver, i32) {
        let mut receiver = Receiver::new(&Config::default(), Codec::Pcmu);
        let (mut number, mut steep, mut before) = (0i64, 0, 0);
        // Twenty waves fill a second of packets exactly.
        let packets: Vec<Vec<u8>> = (0..50).map(|i| tone(0, i * 160, 160)).collect();
        for beat in 1..=(LONG_MINUTES * 3_000) as i64 {
            let mut said = [0; FRAME];
            while number * (20_000_000 - 20 * ppm) < beat * 20_000_000 - 7_000_000 {
                let mut datagram = packets[number as usize % 50].clone();
                datagram[2..4].copy_from_slice(&(number as u16).to_be_bytes());
                datagram[4..8].copy_from_slice(&(number as u32).wrapping_mul(160).to_be_bytes());
                receiver.take(Mono::from_millis(beat as u64 * 20), &plan(), &datagram);
                Codec::Pcmu.decode(&datagram[12..], &mut said);
                number += 1;
            }
            let mut frame = [0; FRAME];
            receiver.frame(&mut frame);
            if beat > 25 {
                steep = steep.max(steepest(&frame)).max((i32::from(frame[0]) - before).abs());
                check(&said, &frame);
            }
            before = i32::from(frame[FRAME - 1]);
        }
        (receiver, steep)
    }

    #[test]
    fn on_a_steady_line_every_sample_comes_out_as_it_came() {
        let (receiver, _) = steady(0, |said, heard| assert_eq!(said, heard));
        assert_eq!(receiver.concealed_ms(), 0);
    }

    #[test]
    fn a_drifting_clock_neither_clicks_nor_grows_the_delay() {
        for ppm in [-500i64, -50, 50, 500] {
            let (receiver, steep) = steady(ppm, |_, heard| assert!(level(heard) > 3_500, "{ppm}: {}", level(heard)));
            assert!(steep <= smooth(), "{ppm}: {steep}");
            assert!(receiver.jitter.depth() + (receiver.fifo.ready as u32) <= 160, "{ppm}");
            // What a slow clock never sends is made up: half a millisecond a second at most.
            let most_ms = if ppm < 0 { LONG_MINUTES * 60 * ppm.unsigned_abs() / 1_000 + 20 } else { 0 };
            assert!(receiver.concealed_ms() <= most_ms, "{ppm}: {}", receiver.concealed_ms());
        }
    }

    #[test]
    fn packets_may_change_their_length_in_mid_call() {
        let (mut packets, mut stamp, mut sequence) = (Vec::new(), 0, 0);
        for round in 0..30 {
            let size = [160, 80, 240, 320, 480][round % 5];
            for _ in 0..4_800 / size {
                packets.push((((stamp + size) / 8) as u64 + 3, tone(sequence, stamp as u32, size)));
                (stamp, sequence) = (stamp + size, sequence + 1);
            }
        }
        let mut receiver = Receiver::new(&Config::default(), Codec::Pcmu);
        let (sound, _) = run(&mut receiver, packets, 895);
        assert!(steepest(&sound[1_600..]) <= smooth(), "{}", steepest(&sound[1_600..]));
        assert!(sound[1_600..].chunks(400).all(|chunk| level(chunk) > 3_000));
        assert_eq!((receiver.lost(), receiver.counts().late), (0, 0));
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
        let (sound, keys) = run(&mut Receiver::new(&Config::default(), Codec::Pcmu), packets, 100);
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
        let (sound, keys) = run(&mut Receiver::new(&Config::default(), Codec::Pcmu), packets, 100);
        assert!(keys.len() <= 18, "{}", keys.len());
        let back = sound.chunks(FRAME).skip(50).position(|frame| level(frame) > 4_000).unwrap();
        assert!(back <= 5, "sound is back after {back} ticks");
        assert!(level(&sound[95 * FRAME..]) > 4_000);
    }

    #[test]
    fn another_source_at_the_same_address_is_followed() {
        let mut receiver = Receiver::new(&Config::default(), Codec::Pcmu);
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
    fn strange_types_are_never_sound() {
        let mut receiver = Receiver::new(&Config::default(), Codec::Pcmu);
        let mut packets = Vec::new();
        for i in 0..50u16 {
            let payload_type = [comfort::STATIC_TYPE, 8, 96, 72, 127][usize::from(i) % 5];
            packets.push((u64::from(i) * 20, packet(payload_type, i, u32::from(i) * 160, &[127; 160])));
        }
        packets.push((10, vec![0x55; 1_400]));
        let (sound, _) = run(&mut receiver, packets, 50);
        assert!(sound.iter().all(|sample| *sample == 0));
        assert_eq!((receiver.counts().packets, receiver.counts().bad), (10, 41));
    }

    #[test]
    fn a_described_silence_is_heard_as_its_noise_and_is_no_loss() {
        let mut receiver = Receiver::new(&Config::default(), Codec::Pcmu);
        // A second of a voice, two of silence described each half second (-40 dBov: about 284), a second of a voice.
        let mut packets = Vec::new();
        let mut sequence = 0;
        for i in 0..200u64 {
            let (at, stamp) = (i * 20 + 10, i as u32 * 160);
            match i {
                50..150 if i % 25 == 0 => packets.push((at, packet(comfort::STATIC_TYPE, sequence, stamp, &[40, 127]))),
                50..150 => continue,
                _ => packets.push((at, tone(sequence, stamp, 160))),
            }
            sequence += 1;
        }
        let (sound, _) = run(&mut receiver, packets, 200);
        let frames: Vec<i32> = sound.chunks(FRAME).map(level).collect();
        assert!(frames[2..50].iter().all(|level| *level > 4_000), "{frames:?}");
        assert!(frames[53..150].iter().all(|level| (150..450).contains(level)), "{frames:?}");
        assert!(frames[153..].iter().all(|level| *level > 4_000), "{frames:?}");
        assert_eq!((receiver.concealed_ms(), receiver.lost()), (0, 0));
    }

    /// Opus brings back what was lost from the copy in the next packet, where that is there in time.
    #[test]
    fn a_lost_opus_packet_is_replaced_by_its_copy() {
        let wave = |i: usize| (8_000.0 * (TAU * 300.0 * i as f32 / 8_000.0).sin() * (i as f32 / 900.0).sin()) as i16;
        let said: Vec<i16> = (0..FRAME * 100).map(wave).collect();
        let heard = |fec: bool| {
            let settings = codec::Settings { fec, loss_percent: 20, ..codec::Settings::default() };
            let mut encoder = codec::Encoder::new(Codec::Opus, Rate::Narrow, settings);
            let config = Config { start_ms: 60, most_rate: Rate::Narrow, ..Config::default() };
            let mut receiver = Receiver::new(&config, Codec::Opus);
            let plan = Plan::plain("127.0.0.1:4000".parse().unwrap(), Codec::Opus, 111);
            let mut sound = Vec::new();
            for (i, piece) in said.chunks(FRAME).enumerate() {
                let mut line = [0; 1_500];
                let octets = encoder.encode(piece, &mut line);
                if i % 10 != 5 {
                    let datagram = packet(111, i as u16, i as u32 * 960, &line[..octets]);
                    receiver.take(Mono::from_millis(i as u64 * 20), &plan, &datagram);
                }
                let mut frame = [0; FRAME];
                receiver.frame(&mut frame);
                sound.extend(frame);
            }
            assert_eq!((receiver.lost(), receiver.concealed_ms()), (10, 200));
            sound
        };
        // How far the frames that were lost are from what was said, by the shift at which the rest is nearest.
        let far = |sound: &[i16]| {
            let apart = |shift: usize| -> f64 {
                let lost = (1..9).map(|i| (i * 10 + 5) * FRAME);
                let gaps =
                    lost.flat_map(|at| (at..at + FRAME).map(|i| f64::from(sound[i + shift]) - f64::from(said[i])));
                gaps.map(|gap| gap * gap).sum()
            };
            (0..FRAME * 5).map(apart).fold(f64::MAX, f64::min)
        };
        let (with, without) = (far(&heard(true)), far(&heard(false)));
        assert!(with < without / 2.0, "{with:e} {without:e}");
    }

    /// Who says nothing for long is not decoded for long; the first word is heard as if they had been.
    #[test]
    fn after_a_silence_that_was_not_decoded_the_first_word_is_whole() {
        let rate = Rate::Wide;
        let wave = |i: usize| {
            let at = i as f32 / rate.hz() as f32;
            let voice = (1..12).map(|n| (TAU * 140.0 * at * n as f32).sin() / n as f32).sum::<f32>();
            (4_000.0 * voice * (1.3 + (TAU * 4.0 * at).sin())) as i16
        };
        let config = Config { most_rate: rate, ..Config::default() };
        let mut encoder = codec::Encoder::new(Codec::Opus, rate, codec::Settings::default());
        let plan = Plan::plain("127.0.0.1:4000".parse().unwrap(), Codec::Opus, 111);
        // The same packets to two: the first takes none of them at its word.
        let mut receivers = [(); 2].map(|()| Receiver::new(&config, Codec::Opus));
        let (mut heard, mut inactive) = ([Vec::new(), Vec::new()], 0);
        for beat in 0..150usize {
            let talks = (30..60).contains(&beat) || beat >= 120;
            let sound: Vec<i16> =
                (0..rate.tick()).map(|i| if talks { wave(beat * rate.tick() + i) } else { 0 }).collect();
            let mut line = [0; 1_500];
            let octets = encoder.encode(&sound, &mut line);
            inactive += usize::from(Codec::Opus.is_inactive(&line[..octets]));
            let datagram = packet(111, beat as u16, beat as u32 * 960, &line[..octets]);
            for (receiver, heard) in receivers.iter_mut().zip(&mut heard) {
                receiver.take(Mono::from_millis(beat as u64 * 20), &plan, &datagram);
                let mut frame = [0; Rate::Wide.tick()];
                receiver.frame(&mut frame);
                heard.push(level(&frame));
            }
            receivers[0].idle.packets = 0;
        }
        assert!((50..115).contains(&inactive), "{inactive}");
        let [whole, spared] = &heard;
        assert!(spared[95..118].iter().all(|level| *level == 0), "{spared:?}");
        for (beat, (whole, spared)) in whole.iter().zip(spared).enumerate() {
            assert!((whole - spared).abs() <= 40 + whole / 5, "{beat}: {whole} {spared}");
        }
        assert!(spared[121..].iter().all(|level| *level > 700), "{spared:?}");
    }
}
