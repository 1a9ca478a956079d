//! The hot loop takes no memory and gives none back: 200 legs in 20 rooms, packets lost, repeated, broken and foreign,
//! keys pressed, prompts and music played. 10,000 ticks (200 seconds of sound) when optimised, 1,500 when not.

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tollbridge::clock::Mono;
use tollbridge::media::{
    Clip, Codec, Command, Config, Direction, Engine, Event, FRAME, Outcome, Plan, RoomId, Slot, StreamId, TICK_MS,
    Target,
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
const TICKS: u64 = if cfg!(debug_assertions) { 1_500 } else { 10_000 };
const EVENT_TYPE: u8 = 101;
const PTIMES: [u16; 4] = [20, 10, 30, 60];

fn address(leg: u64) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 10_000 + leg as u16))
}

fn plan(leg: u64) -> Plan {
    let (codec, payload_type) = if leg.is_multiple_of(3) { (Codec::Pcma, 8) } else { (Codec::Pcmu, 0) };
    let (telephone_event, direction) = (Some(EVENT_TYPE), Direction::SendRecv);
    Plan { remote: address(leg), codec, payload_type, telephone_event, direction, ptime_ms: PTIMES[leg as usize % 4] }
}

fn order(engine: &mut Engine, command: Command) -> Outcome {
    engine.command(Mono::default(), command).expect("a command that fits")
}

fn play(engine: &mut Engine, target: Target, millis: u32, repeat: bool) {
    let clips = vec![Arc::new(Clip::tone(440.0, millis, 3_000)), Arc::new(Clip::silence(30))];
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
    engine
}

fn header(packet: &mut [u8], kind: u8, sequence: u16, timestamp: u32) {
    packet[0] = 0x80;
    packet[1] = kind;
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&timestamp.to_be_bytes());
}

/// One tick's packets of a leg: mostly a frame; at times none, or two of the same, a key, or something from a stranger.
fn speak(engine: &mut Engine, now: Mono, leg: u64, beat: u64) {
    let (slot, kind) = (Slot(leg as u32), plan(leg).payload_type);
    let dice = (beat * 31 + leg * 17) % 101;
    let (sequence, timestamp) = ((2 * beat) as u16, (beat as u32).wrapping_mul(FRAME as u32));
    let mut packet = [0x9a; 12 + FRAME];
    packet[12..].iter_mut().enumerate().for_each(|(i, octet)| *octet = (i as u8).wrapping_mul(37) | 0x80);
    packet[8..12].fill(leg as u8);
    header(&mut packet, kind, sequence, timestamp);
    if dice != 3 {
        engine.receive(now, slot, address(leg), &packet);
    }
    match dice {
        10..13 => engine.receive(now, slot, address(leg), &packet),
        20 => engine.receive(now, slot, address(leg + 1), &packet),
        30 => engine.receive(now, slot, address(leg), &packet[..dice as usize % 13]),
        40 => {
            header(&mut packet, EVENT_TYPE, sequence + 1, timestamp);
            packet[12..16].copy_from_slice(&[5, 0x8a, 0, 160]);
            engine.receive(now, slot, address(leg), &packet[..16]);
        }
        _ => {}
    }
}

#[test]
fn two_hundred_legs_take_no_memory() {
    let mut engine = meeting();
    let (mut packets, mut digits, mut played, mut given) = (0, 0, 0, 0);
    let before = TAKEN.load(Ordering::Relaxed);
    for beat in 1..=TICKS {
        let now = Mono::from_millis(beat * TICK_MS);
        let given_before = GIVEN.load(Ordering::Relaxed);
        // Every tenth leg falls silent for a while: gaps, and the end of gaps, are in the loop, too.
        (0..LEGS).filter(|leg| leg % 10 != beat * 10 / TICKS).for_each(|leg| speak(&mut engine, now, leg, beat));
        engine.tick(now);
        packets += engine.outgoing().filter(|out| out.packet.len() > 90).count() as u64;
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
