//! The cost of a tick. One tick of 20 ms must leave most of its time to the sockets: they cost about 2 µs a leg, twenty
//! times the sound. Goals on one core of 2.6 GHz: 400 legs that all talk, packets included, within
//! 400 µs (not reached while tones are listened for: see the README's figures); 1,000 legs of which 3 talk within 500 µs; coding or decoding a frame within 150 ns.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::net::SocketAddr;
use tollbridge::clock::Mono;
use tollbridge::media::{Codec, Command, Config, Engine, Plan, Rate, RoomId, Slot, StreamId, TICK_MS};

const FRAME: usize = Rate::Narrow.tick();

fn address(leg: u32) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 10_000 + leg as u16))
}

/// Legs in rooms of `room_of`, of which those in `talkers` talk and the others send silence.
struct Meeting {
    engine: Engine,
    legs: u32,
    talkers: u32,
    /// A µ-law code; the lower, the louder.
    voice: u8,
    beat: u64,
}

impl Meeting {
    fn new(legs: u32, room_of: u32, talkers: u32) -> Meeting {
        let mut engine = Engine::new(Config::default(), 7);
        for leg in 0..legs {
            let stream = StreamId(u64::from(leg));
            let plan = Plan { telephone_event: Some(101), ..Plan::plain(address(leg), Codec::Pcmu, 0) };
            engine.command(Mono::default(), Command::Attach { stream, plan }).expect("a free slot");
            let room = RoomId(u64::from(leg / room_of));
            engine.command(Mono::default(), Command::Join { stream, room }).expect("a stream that is there");
        }
        Meeting { engine, legs, talkers, voice: 0xbc, beat: 0 }
    }

    /// A packet from every leg, the tick, and a look at every packet that goes out.
    fn tick(&mut self) -> usize {
        self.beat += 1;
        let now = Mono::from_millis(self.beat * TICK_MS);
        for leg in 0..self.legs {
            let mut packet = [0xff; 12 + FRAME];
            packet[..2].copy_from_slice(&[0x80, 0]);
            packet[2..4].copy_from_slice(&(self.beat as u16).to_be_bytes());
            packet[4..8].copy_from_slice(&((self.beat as u32).wrapping_mul(FRAME as u32)).to_be_bytes());
            if leg < self.talkers {
                packet[12..]
                    .iter_mut()
                    .enumerate()
                    .for_each(|(i, code)| *code = self.voice ^ ((i as u8 + leg as u8) & 0x8f));
            }
            self.engine.receive(now, Slot(leg), address(leg), &packet);
        }
        self.engine.tick(now);
        self.engine.events().for_each(drop);
        self.engine.outgoing().map(|out| out.packet.len()).sum()
    }
}

fn ticks(c: &mut Criterion) {
    let mut all = Meeting::new(400, 10, 400);
    c.bench_function("tick: 400 legs in rooms of 10, all talk", |b| b.iter(|| black_box(all.tick())));
    let mut loud = Meeting { voice: 0x8c, ..Meeting::new(400, 10, 400) };
    c.bench_function("tick: 400 legs in rooms of 10, all shout", |b| b.iter(|| black_box(loud.tick())));
    let mut few = Meeting::new(1_000, 1_000, 3);
    c.bench_function("tick: 1,000 legs in one room, 3 talk", |b| b.iter(|| black_box(few.tick())));
}

fn frames(c: &mut Criterion) {
    let sound: [i16; FRAME] = std::array::from_fn(|i| (i as i16).wrapping_mul(397));
    let mut line = [0; FRAME];
    let mut back = [0; FRAME];
    for codec in [Codec::Pcmu, Codec::Pcma] {
        c.bench_function(&format!("{codec:?}: encode a frame"), |b| {
            b.iter(|| codec.encode(black_box(&sound), black_box(&mut line)));
        });
        c.bench_function(&format!("{codec:?}: decode a frame"), |b| {
            b.iter(|| codec.decode(black_box(&line), black_box(&mut back)));
        });
    }
}

criterion_group!(benches, ticks, frames);
criterion_main!(benches);
