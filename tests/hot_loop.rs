//! The hot loop takes no memory and gives none back: 200 legs in 20 rooms, half of them of G.711 alone and half of every
//! codec, packets lost, repeated, broken and foreign, keys pressed, prompts and music played.

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tollbridge::clock::Mono;
use tollbridge::media::codec::{Encoder, Settings};
use tollbridge::media::{
    Clip, Codec, Command, Config, Engine, Event, Outcome, Plan, Rate, RoomId, Slot, StreamId, TICK_MS, Target,
};

struct Counting;

static TAKEN: AtomicU64 = AtomicU64::new(0);
static GIVEN: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call goes to the system's allocator as it came; only a counter is added.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        TAKEN.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        GIVEN.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        TAKEN.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const LEGS: u64 = 200;
const ROOMS: u64 = 20;
const TICKS: u64 = if cfg!(debug_assertions) { 300 } else { 3_000 };
const EVENT_TYPE: u8 = 101;
const PTIMES: [u16; 4] = [20, 10, 30, 60];

fn address(leg: u64) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 10_000 + leg as u16))
}

fn codec(leg: u64) -> Codec {
    let every = [Codec::Pcma, Codec::Pcmu, Codec::G722, Codec::Opus, Codec::L16(Rate::Wide)];
    let choice = if leg % ROOMS < ROOMS / 2 { &every[..2] } else { &every };
    choice[(leg / ROOMS) as usize % choice.len()]
}

fn plan(leg: u64) -> Plan {
    let payload_type = 96 + (leg / ROOMS) as u8 % 4;
    let ptime_ms = PTIMES[leg as usize % 4];
    Plan { telephone_event: Some(EVENT_TYPE), ptime_ms, ..Plan::plain(address(leg), codec(leg), payload_type) }
}

/// What a leg says: packets of 20 ms, over and over.
struct Voice {
    payloads: Vec<Vec<u8>>,
    /// Units of the timestamp a packet.
    step: u32,
}

fn voice(codec: Codec) -> Voice {
    let mut encoder = Encoder::new(codec, Rate::Wide, Settings::default());
    let mut line = [0; 1_500];
    let payloads = (0..25).map(|beat| {
        let sound: Vec<i16> =
            (0..Rate::Wide.tick()).map(|i| ((beat * 320 + i) * 1_237 % 16_000) as i16 - 8_000).collect();
        let octets = encoder.encode(&sound, &mut line);
        line[..octets].to_vec()
    });
    Voice { payloads: payloads.collect(), step: codec.clock_hz() / 50 }
}

fn order(engine: &mut Engine, command: Command) -> Outcome {
    engine.command(Mono::default(), command).expect("a command that fits")
}

fn play(engine: &mut Engine, target: Target, millis: u32, repeat: bool) {
    let clips =
        vec![Arc::new(Clip::tone(Rate::Narrow, 440.0, millis, 3_000)), Arc::new(Clip::silence(Rate::Narrow, 30))];
    order(engine, Command::Play { target, clips, repeat, mark: 1, barge: true });
}

fn meeting() -> Engine {
    let mut engine = Engine::new(Config::default(), 7);
    for leg in 0..LEGS {
        let stream = StreamId(leg);
        assert_eq!(order(&mut engine, Command::Attach { stream, plan: plan(leg) }), Outcome::Opened(Slot(leg as u32)));
        order(&mut engine, Command::Join { stream, room: RoomId(leg % ROOMS) });
        order(&mut engine, Command::Mute { stream, on: leg.is_multiple_of(7) });
        play(&mut engine, Target::Stream(stream), 700, leg.is_multiple_of(50));
    }
    (0..ROOMS).for_each(|room| play(&mut engine, Target::Room(RoomId(room)), 900, room == 0));
    for leg in 0..ROOMS {
        order(&mut engine, Command::Confide { stream: StreamId(leg), to: Some(StreamId(leg + ROOMS)) });
    }
    engine
}

fn header(packet: &mut [u8], kind: u8, sequence: u16, timestamp: u32) {
    packet[0] = 0x80;
    packet[1] = kind;
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
}

/// One tick's packets of a leg: mostly a frame; at times none, or two of the same, a key, or something from a stranger.
fn speak(engine: &mut Engine, now: Mono, leg: u64, voice: &Voice, beat: u64) {
    let (slot, kind) = (Slot(leg as u32), plan(leg).payload_type);
    let dice = (beat * 31 + leg * 17) % 101;
    let (sequence, timestamp) = ((2 * beat) as u16, (beat as u32).wrapping_mul(voice.step));
    let payload = &voice.payloads[beat as usize % voice.payloads.len()];
    let mut packet = [0; 12 + 1_500];
    let packet = &mut packet[..12 + payload.len()];
    packet[8..12].fill(leg as u8);
    packet[12..].copy_from_slice(payload);
    header(packet, kind, sequence, timestamp);
    if dice != 3 {
        engine.receive(now, slot, address(leg), packet);
    }
    match dice {
        10..13 => engine.receive(now, slot, address(leg), packet),
        20 => engine.receive(now, slot, address(leg + 1), packet),
        30 => engine.receive(now, slot, address(leg), &packet[..dice as usize % 13]),
        40 => {
            header(packet, EVENT_TYPE, sequence + 1, timestamp);
            packet[12..16].copy_from_slice(&[5, 0x8a, 0, 160]);
            engine.receive(now, slot, address(leg), &packet[..16]);
        }
        _ => {}
    }
}

#[test]
fn two_hundred_legs_take_no_memory() {
    let mut engine = meeting();
    let voices: Vec<Voice> = (0..LEGS).map(|leg| voice(codec(leg))).collect();
    let (mut packets, mut digits, mut played, mut given) = (0, 0, 0, 0);
    let before = TAKEN.load(Ordering::Relaxed);
    for beat in 1..=TICKS {
        let now = Mono::from_millis(beat * TICK_MS);
        let given_before = GIVEN.load(Ordering::Relaxed);
        // Every tenth leg falls silent for a while: gaps, and the end of gaps, are in the loop, too.
        let talkers = voices.iter().zip(0..).filter(|(_, leg)| leg % 10 != beat * 10 / TICKS);
        talkers.for_each(|(voice, leg)| speak(&mut engine, now, leg, voice, beat));
        engine.tick(now);
        packets += engine.outgoing().filter(|out| out.packet.len() > 12).count() as u64;
        given += GIVEN.load(Ordering::Relaxed) - given_before;
        // Spent prompts are dropped here, between two ticks.
        for event in engine.events() {
            digits += u64::from(matches!(event, Event::Digit { .. }));
            played += u64::from(matches!(event, Event::Played { .. }));
        }
    }
    let taken = TAKEN.load(Ordering::Relaxed) - before;
    assert!(packets > LEGS * TICKS / 2 && digits > TICKS && played >= LEGS, "{packets} {digits} {played}");
    assert_eq!((taken, given, engine.lost_events()), (0, 0, 0), "allocations, frees, events lost");
}
