//! A day's worth of everything at once: 200 legs of every codec in 20 rooms, who come, go, hold, mute, change their codec
//! and their source, over a network that loses and delays. Each says a tone of its own; whenever a room has been at rest
//! for a while, each in it must hear exactly the tones of the others who talk.
//!
//! The seed is printed. The long form (`TOLLBRIDGE_TEST_LONG`) takes more of them, and longer.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::f64::consts::TAU;
use std::net::SocketAddr;
use tollbridge::clock::Mono;
use tollbridge::media::codec::{Decoder, Encoder, Settings};
use tollbridge::media::{
    Codec, Command, Config, Direction, Engine, Event, Plan, Rate, RoomId, Slot, StreamId, TICK_MS,
};

const LEGS: usize = 200;
const ROOMS: u64 = 20;
const FRAME: usize = Rate::Narrow.tick();
/// Loud enough to be measured; as many as talk in one room stay below full scale.
const PEAK: f64 = 1_400.0;
/// What is listened to: 200 ms, in which each tone has whole waves.
const WINDOW: usize = 1_600;
/// A room is at rest after so many ticks without a change.
const REST: u64 = 60;
/// A voice that is to be heard is there through loss and concealment; one that is not is at most what the seams of the
/// others' concealment leave at its height. Opus at a telephone's bit rate, made for one voice, is not as exact about ten
/// tones at once.
const AUDIBLE: f64 = PEAK / 4.0;
const SILENT: f64 = PEAK / 6.0;
const AUDIBLE_OPUS: f64 = PEAK / 20.0;
const SILENT_OPUS: f64 = PEAK / 4.0;

struct Leg {
    stream: StreamId,
    slot: Slot,
    plan: Plan,
    room: Option<u64>,
    muted: bool,
    hz: f64,
    said: usize,
    encoder: Encoder,
    decoder: Decoder,
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// On their way: the tick at which they arrive, and the packet.
    way: Vec<(u64, Vec<u8>)>,
    heard: Vec<f64>,
}

fn address(slot: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 10_000 + 2 * slot as u16))
}

fn codec(random: &mut StdRng) -> Codec {
    // Few of Opus: it takes the test's time, not the mixer's care.
    const OF_TEN: [Codec; 10] = [
        Codec::Pcma,
        Codec::Pcmu,
        Codec::Pcma,
        Codec::Pcmu,
        Codec::Pcma,
        Codec::G722,
        Codec::G722,
        Codec::L16(Rate::Wide),
        Codec::L16(Rate::Narrow),
        Codec::Opus,
    ];
    OF_TEN[random.random_range(0..OF_TEN.len())]
}

fn plan(slot: usize, codec: Codec, random: &mut StdRng) -> Plan {
    let payload_type = codec.static_type().unwrap_or(100 + codec.index() as u8);
    let ptime_ms = [20, 10, 30, 60][random.random_range(0..4)];
    Plan { ptime_ms, ..Plan::plain(address(slot), codec, payload_type) }
}

impl Leg {
    fn new(number: u64, slot: usize, random: &mut StdRng) -> Leg {
        let plan = plan(slot, codec(random), random);
        Leg {
            stream: StreamId(number),
            slot: Slot(slot as u32),
            plan,
            room: None,
            muted: false,
            // Apart by 50 Hz: as many tones as a room has members at the most.
            hz: 300.0 + 50.0 * (slot as u64 / ROOMS) as f64,
            said: 0,
            encoder: Encoder::new(plan.codec, Rate::Narrow, Settings::default()),
            decoder: Decoder::new(plan.codec, Rate::Narrow),
            ssrc: random.random(),
            sequence: random.random(),
            timestamp: random.random(),
            way: Vec::new(),
            heard: Vec::new(),
        }
    }

    fn talks(&self) -> bool {
        !self.muted && self.plan.direction == Direction::SendRecv
    }

    fn listens(&self) -> bool {
        matches!(self.plan.direction, Direction::SendRecv | Direction::SendOnly)
    }

    /// Says its tone for a tick, over a network that loses 3 of 1,000 and delays by up to two ticks.
    fn speak(&mut self, beat: u64, random: &mut StdRng) {
        let step = TAU * self.hz / 8_000.0;
        let tone = |i: usize| (PEAK * (step * (self.said + i) as f64).sin()) as i16;
        let sound: Vec<i16> = (0..FRAME).map(tone).collect();
        self.said += FRAME;
        let mut packet = [0; 12 + 1_500];
        packet[0] = 0x80;
        packet[1] = self.plan.payload_type;
        packet[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        packet[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        packet[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        let octets = self.encoder.encode(&sound, &mut packet[12..]);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(self.plan.codec.clock_hz() / 50);
        if !random.random_bool(0.003) {
            self.way.push((beat + [0, 0, 0, 1, 1, 2][random.random_range(0..6)], packet[..12 + octets].to_vec()));
        }
    }

    fn hear(&mut self, payload: &[u8]) {
        let mut sound = [0; 6 * FRAME];
        let count = self.decoder.decode(payload, &mut sound).expect("a packet of ours is sound");
        self.heard.extend(sound[..count].iter().map(|sample| f64::from(*sample)));
        let surplus = self.heard.len().saturating_sub(WINDOW);
        self.heard.drain(..surplus);
    }

    /// How strong a tone is in what it heard last.
    fn strength(&self, hz: f64) -> f64 {
        let step = TAU * hz / 8_000.0;
        let (sine, cosine) = self.heard.iter().enumerate().fold((0.0, 0.0), |(sine, cosine), (n, sample)| {
            let (s, c) = (step * n as f64).sin_cos();
            // A window of Hann: a neighbour's tone does not leak into this one.
            let sample = sample * (1.0 - (TAU * n as f64 / self.heard.len() as f64).cos());
            (sine + sample * s, cosine + sample * c)
        });
        2.0 * f64::hypot(sine, cosine) / self.heard.len() as f64
    }
}

struct World {
    engine: Engine,
    random: StdRng,
    legs: Vec<Leg>,
    /// When something last changed in each room.
    changed: Vec<u64>,
    beat: u64,
    numbers: u64,
    checked: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let engine = Engine::new(Config::default(), seed);
        let random = StdRng::seed_from_u64(seed);
        let mut world = World {
            engine,
            random,
            legs: Vec::new(),
            changed: vec![0; ROOMS as usize],
            beat: 0,
            numbers: 0,
            checked: 0,
        };
        for slot in 0..LEGS {
            world.numbers += 1;
            let mut leg = Leg::new(world.numbers, slot, &mut world.random);
            let (stream, plan) = (leg.stream, leg.plan);
            world.order(Command::Attach { stream, plan });
            let room = slot as u64 % ROOMS;
            leg.room = Some(room);
            world.order(Command::Join { stream, room: RoomId(room) });
            world.legs.push(leg);
        }
        world
    }

    fn order(&mut self, command: Command) {
        let told = format!("{command:?}");
        self.engine
            .command(Mono::from_millis(self.beat * TICK_MS), command)
            .unwrap_or_else(|why| panic!("{told}: {why}"));
    }

    /// Something happens to somebody.
    fn happen(&mut self) {
        let index = self.random.random_range(0..LEGS);
        let (stream, room) = (self.legs[index].stream, self.legs[index].room);
        let dice = self.random.random_range(0..6);
        match dice {
            0 => {
                if room.is_some() {
                    self.order(Command::Leave { stream });
                    self.legs[index].room = None;
                } else {
                    let room = index as u64 % ROOMS;
                    self.order(Command::Join { stream, room: RoomId(room) });
                    self.legs[index].room = Some(room);
                }
            }
            1 => {
                let on = !self.legs[index].muted;
                self.order(Command::Mute { stream, on });
                self.legs[index].muted = on;
            }
            2 => {
                let leg = &mut self.legs[index];
                let free = leg.plan.direction == Direction::SendRecv;
                leg.plan.direction = if free { Direction::RecvOnly } else { Direction::SendRecv };
                let plan = leg.plan;
                self.order(Command::Change { stream, plan });
            }
            3 => self.change_codec(index),
            // Another source behind the same address: a transfer in their network.
            4 => {
                self.legs[index].ssrc = self.random.random();
                self.legs[index].timestamp = self.random.random();
            }
            _ => self.replace(index),
        }
        self.changed[index % ROOMS as usize] = self.beat;
    }

    fn change_codec(&mut self, index: usize) {
        let codec = codec(&mut self.random);
        let direction = self.legs[index].plan.direction;
        let plan = Plan { direction, ..plan(index, codec, &mut self.random) };
        let leg = &mut self.legs[index];
        leg.encoder = Encoder::new(codec, Rate::Narrow, Settings::default());
        leg.decoder = Decoder::new(codec, Rate::Narrow);
        leg.plan = plan;
        leg.way.clear();
        let stream = leg.stream;
        self.order(Command::Change { stream, plan });
    }

    /// Hangs up; somebody else calls.
    fn replace(&mut self, index: usize) {
        let stream = self.legs[index].stream;
        self.order(Command::Detach { stream });
        self.numbers += 1;
        let mut leg = Leg::new(self.numbers, index, &mut self.random);
        let (stream, plan, room) = (leg.stream, leg.plan, index as u64 % ROOMS);
        self.order(Command::Attach { stream, plan });
        self.order(Command::Join { stream, room: RoomId(room) });
        leg.room = Some(room);
        self.legs[index] = leg;
    }

    fn tick(&mut self) {
        let now = Mono::from_millis(self.beat * TICK_MS);
        for leg in &mut self.legs {
            leg.speak(self.beat, &mut self.random);
            let beat = self.beat;
            let (due, later): (Vec<_>, Vec<_>) = leg.way.drain(..).partition(|(at, _)| *at <= beat);
            leg.way = later;
            due.iter().for_each(|(_, packet)| self.engine.receive(now, leg.slot, leg.plan.remote, packet));
        }
        self.engine.tick(now);
        for out in self.engine.outgoing() {
            let leg = &mut self.legs[out.slot.index()];
            assert_eq!((out.stream, out.to), (leg.stream, leg.plan.remote));
            leg.hear(&out.packet[12..]);
        }
        assert_eq!(self.engine.lost_events(), 0);
        for event in self.engine.events() {
            let is_fault = matches!(event, Event::Broken { .. } | Event::Silent { .. } | Event::Digit { .. });
            assert!(!is_fault, "{event:?}");
        }
        self.beat += 1;
    }

    /// In every room at rest, each hears the others who talk, and nothing else.
    fn check(&mut self) {
        for room in 0..ROOMS {
            if self.beat < self.changed[room as usize] + REST {
                continue;
            }
            let all: Vec<&Leg> = self.legs.iter().skip(room as usize).step_by(ROOMS as usize).collect();
            for listener in all.iter().filter(|leg| leg.room.is_some() && leg.listens()) {
                for talker in &all {
                    let expected = talker.stream != listener.stream && talker.room.is_some() && talker.talks();
                    let strength = listener.strength(talker.hz);
                    let (from, to) = (talker.plan.codec, listener.plan.codec);
                    let is_opus = from == Codec::Opus || to == Codec::Opus;
                    let (audible, silent) = if is_opus { (AUDIBLE_OPUS, SILENT_OPUS) } else { (AUDIBLE, SILENT) };
                    let fits = if expected { strength > audible } else { strength < silent };
                    assert!(
                        fits,
                        "tick {}, room {room}: {from:?} of {} Hz at {to:?} of {} Hz: {strength:.0}, expected: {expected}",
                        self.beat, talker.hz, listener.hz
                    );
                    self.checked += 1;
                }
            }
        }
    }
}

fn soak(seed: u64, ticks: u64) {
    println!("seed {seed}");
    let mut world = World::new(seed);
    for tick in 0..ticks {
        if world.random.random_bool(0.25) {
            world.happen();
        }
        world.tick();
        if tick % 10 == 9 {
            world.check();
        }
    }
    assert!(world.checked > ticks * 10, "rooms were hardly ever at rest: {}", world.checked);
}

#[test]
fn each_hears_the_others_and_nobody_else_whatever_happens() {
    let (seeds, ticks) = if std::env::var_os("TOLLBRIDGE_TEST_LONG").is_some() { (10, 6_000) } else { (2, 1_500) };
    (1..=seeds).for_each(|seed| soak(seed, ticks));
}
