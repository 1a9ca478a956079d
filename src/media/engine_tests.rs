//! What an engine does, packet by packet.

use super::super::recorder::tap as recorder;
use super::super::rtp::packet::Packet;
use super::*;
use crate::media::codec::{Decoder, Encoder, Settings};
use crate::media::{Clip, Codec, Direction, Rate, TICK_MS};
use std::sync::Arc;

const EVENT_TYPE: u8 = 101;
const FRAME: usize = Rate::Narrow.tick();

/// Callers with steady voices at one engine, and what each hears.
struct Bench {
    engine: Engine,
    beat: u64,
    callers: Vec<Caller>,
    events: Vec<Event>,
}

struct Caller {
    stream: StreamId,
    plan: Plan,
    voice: i16,
    sequence: u16,
    heard: Vec<i16>,
    packets: Vec<Vec<u8>>,
}

fn address(caller: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 10_000 + 2 * caller as u16))
}

fn plan(caller: usize) -> Plan {
    let (codec, payload_type) = if caller.is_multiple_of(2) { (Codec::Pcmu, 0) } else { (Codec::Pcma, 8) };
    Plan { telephone_event: Some(EVENT_TYPE), ..Plan::plain(address(caller), codec, payload_type) }
}

impl Bench {
    fn new(voices: &[i16]) -> Bench {
        Bench::with(Config::default(), voices)
    }

    fn with(config: Config, voices: &[i16]) -> Bench {
        let mut engine = Engine::new(config, 7);
        let mut callers = Vec::new();
        for (number, voice) in voices.iter().enumerate() {
            let (stream, plan) = (StreamId(100 + number as u64), plan(number));
            let slot = Slot(number as u32);
            assert_eq!(engine.command(Mono::default(), Command::Attach { stream, plan }), Ok(Outcome::Opened(slot)));
            engine.command(Mono::default(), Command::Join { stream, room: RoomId(1) }).unwrap();
            let (heard, packets) = (Vec::new(), Vec::new());
            callers.push(Caller { stream, plan, voice: *voice, sequence: 0, heard, packets });
        }
        Bench { engine, beat: 0, callers, events: Vec::new() }
    }

    fn now(&self) -> Mono {
        Mono::from_millis(self.beat * TICK_MS)
    }

    fn order(&mut self, command: Command) {
        self.engine.command(self.now(), command).unwrap();
    }

    fn id(&self, caller: usize) -> StreamId {
        self.callers[caller].stream
    }

    /// A packet of a caller's voice, from `from`.
    fn say(&mut self, caller: usize, from: SocketAddr, voice: i16) {
        self.say_sound(caller, from, &[voice; FRAME]);
    }

    fn say_sound(&mut self, caller: usize, from: SocketAddr, sound: &[i16; FRAME]) {
        let now = self.now();
        let caller = &mut self.callers[caller];
        let mut line = [0; FRAME];
        caller.plan.codec.encode(sound, &mut line);
        let timestamp = u32::from(caller.sequence) * FRAME as u32;
        let (payload_type, sequence) = (caller.plan.payload_type, caller.sequence);
        let packet = Packet { marker: false, payload_type, sequence, timestamp, ssrc: 9, payload: &line };
        let datagram = [&packet.header()[..], &line].concat();
        let slot = self.engine.slot(caller.stream).unwrap();
        self.engine.receive(now, slot, from, &datagram);
    }

    fn ticks(&mut self, count: u64) {
        for _ in 0..count {
            for caller in 0..self.callers.len() {
                if self.callers[caller].voice != 0 && self.engine.slot(self.id(caller)).is_some() {
                    self.say(caller, self.callers[caller].plan.remote, self.callers[caller].voice);
                }
                self.callers[caller].sequence += 1;
            }
            self.beat += 1;
            self.engine.tick(self.now());
            self.collect();
        }
    }

    fn collect(&mut self) {
        for caller in &mut self.callers {
            (caller.heard, caller.packets) = (Vec::new(), Vec::new());
        }
        for out in self.engine.outgoing() {
            let caller = self.callers.iter_mut().find(|caller| caller.stream == out.stream).unwrap();
            assert_eq!(out.to, caller.plan.remote);
            let payload = Packet::parse(out.packet).unwrap().payload;
            let mut sound = vec![0; payload.len()];
            caller.plan.codec.decode(payload, &mut sound);
            caller.heard.extend(sound);
            caller.packets.push(out.packet.to_vec());
        }
        self.events.extend(self.engine.events());
    }

    /// What a caller hears at the end of the last tick.
    fn hears(&self, caller: usize) -> i16 {
        *self.callers[caller].heard.last().expect("a packet")
    }
}

/// A level that both laws carry without change of sign, and what is left of it after a codec.
fn through(codec: Codec, sample: i16) -> i16 {
    let (mut line, mut sound) = ([0], [0]);
    codec.encode(&[sample], &mut line);
    codec.decode(&line, &mut sound);
    sound[0]
}

#[test]
fn each_hears_the_sum_of_the_others_and_not_himself() {
    let voices = [120, -340, 56, 1_000, 0, 0];
    let mut bench = Bench::new(&voices);
    bench.ticks(5);
    let said: Vec<i16> = (0..6).map(|i| if voices[i] == 0 { 0 } else { through(plan(i).codec, voices[i]) }).collect();
    for listener in 0..6 {
        let others: i16 = (0..6).filter(|i| *i != listener).map(|i| said[i]).sum();
        let expected = through(plan(listener).codec, others);
        assert!(bench.callers[listener].heard.iter().all(|s| *s == expected), "{listener}");
    }
}

#[test]
fn twenty_at_full_strength_are_loud_and_never_wrap() {
    let mut bench = Bench::new(&[i16::MAX; 20]);
    bench.ticks(30);
    assert!((0..20).all(|caller| bench.hears(caller) > 31_000));
}

#[test]
fn mute_deafen_and_gag_do_what_they_say() {
    // What caller 1 hears of 0, and 0 of 1, under each of 0's conditions.
    type Order = fn(StreamId, bool) -> Command;
    let table: &[(Order, bool, bool)] = &[
        (|stream, on| Command::Mute { stream, on }, false, true),
        (|stream, on| Command::Deafen { stream, on }, true, false),
        (|stream, on| Command::Gag { stream, on }, false, false),
    ];
    for (order, heard, hears) in table {
        let mut bench = Bench::new(&[1_000, 500]);
        bench.ticks(5);
        for (on, heard, hears) in [(true, *heard, *hears), (false, true, true)] {
            bench.order(order(bench.id(0), on));
            bench.ticks(20);
            assert_eq!((bench.hears(1) > 100, bench.hears(0) > 100), (heard, hears));
        }
    }
}

#[test]
fn a_change_is_ramped_and_never_clicks() {
    let mut bench = Bench::new(&[8_000, 0]);
    let stream = bench.id(0);
    let mut heard = Vec::new();
    let orders = [
        Command::Mute { stream, on: true },
        Command::Mute { stream, on: false },
        Command::Leave { stream },
        Command::Join { stream, room: RoomId(1) },
        Command::Deafen { stream: StreamId(101), on: true },
        Command::Deafen { stream: StreamId(101), on: false },
        Command::Detach { stream },
    ];
    for order in orders {
        bench.order(order);
        for _ in 0..10 {
            bench.ticks(1);
            heard.extend_from_slice(&bench.callers[1].heard);
        }
    }
    let click = heard.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap();
    assert!(click < 600, "{click}");
}

#[test]
fn hold_keeps_music_out_and_silence_untold() {
    for (direction, sends) in [(Direction::RecvOnly, false), (Direction::Inactive, false), (Direction::SendOnly, true)]
    {
        let mut bench = Bench::new(&[8_000, 0]);
        bench.ticks(5);
        let (stream, plan) = (bench.id(0), Plan { direction, ..bench.callers[0].plan });
        bench.order(Command::Change { stream, plan });
        bench.ticks(20);
        assert_eq!((bench.hears(1), bench.callers[0].packets.len()), (through(Codec::Pcma, 0), usize::from(sends)));
        bench.callers[0].voice = 0;
        bench.ticks(2_000);
        // Caller 1 sends nothing either, and should.
        let silent: Vec<&Event> = bench.events.iter().filter(|e| matches!(e, Event::Silent { .. })).collect();
        assert_eq!(silent, [&Event::Silent { stream: bench.id(1), since: Mono::default() }]);
        bench.order(Command::Change { stream, plan: Plan { direction: Direction::SendRecv, ..plan } });
        bench.callers[0].voice = 8_000;
        bench.ticks(20);
        assert!(bench.hears(1) > 7_000);
    }
}

#[test]
fn silence_is_told_once_and_so_is_the_return() {
    let mut bench = Bench::new(&[500]);
    bench.ticks(100);
    bench.callers[0].voice = 0;
    bench.ticks(1_498);
    assert!(!bench.events.iter().any(|event| matches!(event, Event::Silent { .. })));
    bench.ticks(2_000);
    bench.callers[0].voice = 500;
    bench.ticks(100);
    let stream = bench.id(0);
    bench.events.retain(|event| !matches!(event, Event::Talking { .. }));
    let since = Mono::from_millis(99 * TICK_MS);
    assert_eq!(bench.events, [Event::Silent { stream, since }, Event::Heard { stream }]);
}

#[test]
fn reports_from_the_port_above_are_a_sign_of_life() {
    const REPORT: [u8; 8] = [0x80, 201, 0, 1, 0, 0, 0, 9];
    let mut above = address(0);
    above.set_port(address(0).port() + 1);
    let bye = [0x81, 203, 0, 1, 0, 0, 0, 9];
    for (from, datagram, is_alive) in [
        (above, &REPORT[..], true),
        (address(0), &REPORT[..], false),
        (address(1), &REPORT[..], false),
        (above, &REPORT[..7], false),
        (above, &[0; 8][..], false),
        (above, &bye[..], false),
    ] {
        let mut bench = Bench::new(&[0]);
        for _ in 0..40 {
            bench.ticks(50);
            let slot = bench.engine.slot(bench.id(0)).unwrap();
            bench.engine.receive_rtcp(bench.now(), slot, from, datagram);
        }
        let is_silent = bench.events.iter().any(|event| matches!(event, Event::Silent { .. }));
        assert_eq!(is_silent, !is_alive, "{from} {datagram:?}");
    }
}

#[test]
fn strangers_are_counted_and_neither_heard_nor_answered() {
    let mut bench = Bench::new(&[0, 0]);
    let from = [address(1), "127.0.0.77:10000".parse().unwrap(), "[::1]:10000".parse().unwrap()];
    for _ in 0..100 {
        from.iter().for_each(|from| bench.say(0, *from, 20_000));
        bench.ticks(1);
        assert_eq!(bench.hears(1), through(Codec::Pcma, 0));
    }
    let stats = bench.engine.stats(bench.id(0)).unwrap();
    assert_eq!((stats.foreign, stats.packets_in, stats.last_packet), (300, 0, None));
}

#[test]
fn a_reinvite_moves_the_address_and_changes_the_codec() {
    let mut bench = Bench::new(&[1_000, 0]);
    bench.ticks(5);
    let stream = bench.id(0);
    let remote = "127.0.0.9:4444".parse().unwrap();
    let plan =
        Plan { remote, codec: Codec::Pcma, payload_type: 8, payload_in: 8, ptime_ms: 30, ..bench.callers[0].plan };
    bench.order(Command::Change { stream, plan });
    bench.say(0, address(0), 1_000);
    bench.callers[0].plan = plan;
    bench.ticks(6);
    assert_eq!(bench.hears(1), through(Codec::Pcma, through(Codec::Pcma, 1_000)));
    let stats = bench.engine.stats(stream).unwrap();
    assert_eq!((stats.foreign, stats.packets_in, stats.packets_out), (1, 11, 9));
}

#[test]
fn a_prompt_lies_over_a_lowered_room_and_reports_its_end() {
    let mut bench = Bench::new(&[4_000, 0]);
    bench.ticks(5);
    let (target, clips) =
        (Target::Stream(bench.id(1)), vec![Arc::new(Clip::new(Rate::Narrow, vec![2_000; 10 * FRAME]))]);
    bench.order(Command::Play { target, clips: clips.clone(), repeat: false, mark: 5, barge: false });
    bench.ticks(5);
    let voice = through(Codec::Pcmu, 4_000);
    assert_eq!(bench.hears(1), through(Codec::Pcma, voice / 4 + 2_000));
    bench.ticks(7);
    assert_eq!(bench.hears(1), through(Codec::Pcma, voice));
    let room = Target::Room(RoomId(1));
    bench.order(Command::Play { target: room, clips, repeat: true, mark: 6, barge: true });
    bench.ticks(15);
    assert_eq!(bench.hears(0), through(Codec::Pcmu, 2_000));
    assert_eq!(bench.hears(1), through(Codec::Pcma, voice + 2_000));
    bench.order(Command::Stop { target: room });
    bench.ticks(1);
    bench.events.retain(|event| matches!(event, Event::Played { .. }));
    let played = |target, mark, whole| Event::Played { target, mark, whole };
    assert_eq!(bench.events, [played(target, 5, true), played(room, 6, false)]);
}

#[test]
fn a_gagged_caller_hears_prompts_alone() {
    let mut bench = Bench::new(&[4_000, 0]);
    let stream = bench.id(1);
    bench.order(Command::Gag { stream, on: true });
    let clips = vec![Arc::new(Clip::new(Rate::Narrow, vec![2_000; 50 * FRAME]))];
    let target = Target::Stream(stream);
    bench.order(Command::Play { target, clips: clips.clone(), repeat: false, mark: 1, barge: false });
    let target = Target::Room(RoomId(1));
    bench.order(Command::Play { target, clips, repeat: false, mark: 2, barge: false });
    bench.ticks(10);
    assert_eq!(bench.hears(1), through(Codec::Pcma, 2_000));
}

#[test]
fn a_digit_is_told_and_stops_what_it_may() {
    for barge in [true, false] {
        let mut bench = Bench::new(&[0]);
        let (stream, target) = (bench.id(0), Target::Stream(bench.id(0)));
        let clips = vec![Arc::new(Clip::new(Rate::Narrow, vec![2_000; 500 * FRAME]))];
        bench.order(Command::Play { target, clips, repeat: false, mark: 1, barge });
        bench.ticks(2);
        for number in 0..3 {
            let payload = [11, 0x0a, 0, 160];
            let packet = Packet {
                marker: false,
                payload_type: EVENT_TYPE,
                sequence: number,
                timestamp: 3,
                ssrc: 9,
                payload: &payload,
            };
            let datagram = [&packet.header()[..], &payload].concat();
            bench.engine.receive(bench.now(), Slot(0), address(0), &datagram);
        }
        bench.ticks(2);
        let mut expected = vec![Event::Digit { stream, key: '#', at: Mono::from_millis(40) }];
        if barge {
            expected.push(Event::Played { target, mark: 1, whole: false });
        }
        assert_eq!((bench.events.clone(), bench.hears(0) > 1_000), (expected, !barge));
    }
}

#[test]
fn talk_is_told_even_of_the_muted() {
    let mut bench = Bench::new(&[2_000, 100]);
    bench.order(Command::Mute { stream: bench.id(0), on: true });
    bench.ticks(20);
    bench.callers[0].voice = 100;
    bench.ticks(40);
    let stream = bench.id(0);
    assert_eq!(bench.events, [Event::Talking { stream, on: true }, Event::Talking { stream, on: false }]);
}

#[test]
fn a_stream_moves_with_all_its_numbers() {
    let mut bench = Bench::new(&[2_000]);
    bench.ticks(10);
    let stream = bench.id(0);
    let before = Packet::parse(&bench.callers[0].packets[0]).map(|p| (p.ssrc, p.sequence, p.timestamp)).unwrap();
    let (slot, carried) = bench.engine.take(stream).unwrap();
    assert_eq!((slot, bench.engine.len(), bench.engine.slot(stream)), (Slot(0), 0, None));
    bench.engine = Engine::new(Config::default(), 8);
    assert_eq!(bench.engine.give(carried).unwrap(), Slot(0));
    bench.ticks(1);
    let after = Packet::parse(&bench.callers[0].packets[0]).map(|p| (p.ssrc, p.sequence, p.timestamp)).unwrap();
    let next = (before.0, before.1.wrapping_add(1), before.2.wrapping_add(FRAME as u32));
    assert_eq!(after, next);
    assert_eq!(bench.engine.stats(stream).unwrap().packets_in, 11);
}

#[test]
fn slots_are_used_again_and_what_is_unknown_is_refused() {
    let mut engine = Engine::new(Config { most_streams: 2, ..Config::default() }, 1);
    let now = Mono::default();
    let attach = |number: u64| Command::Attach { stream: StreamId(number), plan: plan(0) };
    let detach = |number: u64| Command::Detach { stream: StreamId(number) };
    let play = |target| Command::Play { target, clips: Vec::new(), repeat: true, mark: 0, barge: false };
    let table = [
        (attach(1), Ok(Outcome::Opened(Slot(0)))),
        (attach(2), Ok(Outcome::Opened(Slot(1)))),
        (attach(2), Err(Refusal::Known)),
        (attach(3), Err(Refusal::Full)),
        (Command::Join { stream: StreamId(1), room: RoomId(4) }, Ok(Outcome::Done)),
        (play(Target::Room(RoomId(4))), Ok(Outcome::Done)),
        (play(Target::Room(RoomId(5))), Err(Refusal::Unknown)),
        (detach(1), Ok(Outcome::Closed(Slot(0)))),
        (detach(1), Err(Refusal::Unknown)),
        (Command::Leave { stream: StreamId(1) }, Err(Refusal::Unknown)),
        (play(Target::Room(RoomId(4))), Err(Refusal::Unknown)),
        (attach(3), Ok(Outcome::Opened(Slot(0)))),
    ];
    for (command, expected) in table {
        assert_eq!(engine.command(now, command.clone()), expected, "{command:?}");
    }
    let told: Vec<Event> = engine.events().collect();
    assert!(matches!(told[..], [Event::Played { whole: false, .. }, Event::Detached { stream: StreamId(1), .. }]));
}

#[test]
fn broken_packets_hurt_neither_us_nor_the_neighbours() {
    let mut bench = Bench::new(&[1_000, 500, 0]);
    bench.ticks(5);
    bench.order(Command::Mute { stream: bench.id(0), on: true });
    bench.ticks(20);
    let expected = through(Codec::Pcmu, through(Codec::Pcma, 500));
    let mut random = 3u64;
    let mut draw = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize
    };
    let mut template = [
        &Packet { marker: false, payload_type: 0, sequence: 1, timestamp: 9, ssrc: 9, payload: &[] }.header()[..],
        &[0x80; FRAME],
    ]
    .concat();
    for round in 0..1_000 {
        for _ in 0..100 {
            let mut datagram = template.clone();
            for _ in 0..1 + draw() % 6 {
                let at = if draw().is_multiple_of(2) { draw() % 16 } else { draw() % datagram.len() };
                datagram[at] = draw() as u8;
            }
            datagram.truncate(draw() % (datagram.len() + 40));
            bench.engine.receive(bench.now(), Slot(0), address(0), &datagram);
        }
        template[1] = if round % 3 == 0 { EVENT_TYPE } else { 0 };
        bench.ticks(1);
        assert!(bench.callers[2].heard.iter().all(|s| *s == expected));
    }
    // The stream itself hears and speaks again as soon as that ends.
    bench.order(Command::Mute { stream: bench.id(0), on: false });
    bench.ticks(50);
    assert!(bench.hears(2) > 1_300, "{}", bench.hears(2));
    assert_eq!(bench.engine.lost_events(), 0);
}

/// Callers of any codec: a tone from each, and what each hears, at 8 kHz.
struct Wide {
    engine: Engine,
    beat: u64,
    callers: Vec<Mouth>,
}

struct Mouth {
    stream: StreamId,
    plan: Plan,
    hz: f32,
    encoder: Encoder,
    decoder: Decoder,
    timestamp: u32,
    heard: Vec<i16>,
}

impl Wide {
    fn new(config: Config) -> Wide {
        Wide { engine: Engine::new(config, 7), beat: 0, callers: Vec::new() }
    }

    fn call(&mut self, codec: Codec, hz: f32) -> usize {
        let number = self.callers.len();
        let (stream, plan) = (StreamId(number as u64), Plan::plain(address(number), codec, 96));
        self.order(Command::Attach { stream, plan });
        self.order(Command::Join { stream, room: RoomId(1) });
        let encoder = Encoder::new(codec, Rate::Full, Settings::default());
        let decoder = Decoder::new(codec, Rate::Full);
        self.callers.push(Mouth { stream, plan, hz, encoder, decoder, timestamp: 0, heard: Vec::new() });
        number
    }

    fn order(&mut self, command: Command) {
        self.engine.command(Mono::from_millis(self.beat * TICK_MS), command).unwrap();
    }

    fn ticks(&mut self, count: u64) {
        for _ in 0..count {
            self.beat += 1;
            let now = Mono::from_millis(self.beat * TICK_MS);
            for caller in &mut self.callers {
                let Some(slot) = self.engine.slot(caller.stream) else { continue };
                let at = |i: usize| (self.beat as usize * Rate::Full.tick() + i) as f32 / Rate::Full.hz() as f32;
                let tone = |i: usize| ((std::f32::consts::TAU * caller.hz * at(i)).sin() * 6_000.0) as i16;
                let sound: Vec<i16> = (0..Rate::Full.tick()).map(tone).collect();
                let mut line = [0; 1_920];
                let length = caller.encoder.encode(&sound, &mut line);
                let (payload, sequence, timestamp) = (&line[..length], self.beat as u16, caller.timestamp);
                let packet = Packet { marker: false, payload_type: 96, sequence, timestamp, ssrc: 9, payload };
                caller.timestamp += caller.plan.codec.clock_hz() / 50;
                if caller.hz > 0.0 && length < 1_500 {
                    self.engine.receive(now, slot, caller.plan.remote, &[&packet.header()[..], payload].concat());
                }
            }
            self.engine.tick(now);
            for out in self.engine.outgoing() {
                let caller = self.callers.iter_mut().find(|caller| caller.stream == out.stream).unwrap();
                let mut sound = [0; 6_000];
                let payload = Packet::parse(out.packet).unwrap().payload;
                let count = caller.decoder.decode(payload, &mut sound).unwrap();
                caller.heard.extend_from_slice(&sound[..count]);
            }
            self.engine.events().for_each(drop);
        }
    }

    /// How strong a tone is in the last so many milliseconds that a caller heard: 6,000 is as it was said.
    fn strength(&self, caller: usize, hz: f32, millis: usize) -> f32 {
        let heard = &self.callers[caller].heard;
        let sound = &heard[heard.len() - Rate::Full.samples(millis)..];
        let angle = |i: usize| std::f32::consts::TAU * hz * i as f32 / Rate::Full.hz() as f32;
        let part = |wave: fn(f32) -> f32| -> f32 {
            sound.iter().enumerate().map(|(i, s)| f32::from(*s) * wave(angle(i))).sum::<f32>() / sound.len() as f32
        };
        2.0 * part(f32::sin).hypot(part(f32::cos))
    }
}

#[test]
fn every_codec_hears_every_other_and_not_itself() {
    let mut wide = Wide::new(Config::default());
    let callers: Vec<(usize, f32)> = Codec::ALL
        .iter()
        .filter(|codec| **codec != Codec::L16(Rate::Full))
        .enumerate()
        .map(|(i, codec)| (wide.call(*codec, 400.0 + 300.0 * i as f32), 400.0 + 300.0 * i as f32))
        .collect();
    wide.ticks(100);
    for (listener, own) in &callers {
        for (talker, hz) in &callers {
            let strength = wide.strength(*listener, *hz, 1_000);
            let codec = wide.callers[*listener].plan.codec;
            let other = wide.callers[*talker].plan.codec;
            // Opus at 24 kbit/s spills some of six tones into the place of the seventh.
            let spilt = if codec == Codec::Opus { 300.0 } else { 120.0 };
            let least = if codec == Codec::Opus { 3_600.0 } else { 4_200.0 };
            let expected = if own == hz { 0.0..spilt } else { least..6_600.0 };
            assert!(expected.contains(&strength), "{codec:?} hears {other:?}: {strength}");
        }
    }
}

#[test]
fn nobody_hears_himself_in_any_codec() {
    for codec in Codec::ALL.into_iter().filter(|codec| *codec != Codec::L16(Rate::Full)) {
        let mut wide = Wide::new(Config::default());
        let (talker, listener) = (wide.call(codec, 700.0), wide.call(Codec::Pcmu, 0.0));
        wide.ticks(100);
        assert!(wide.strength(listener, 700.0, 1_000) > 4_200.0, "{codec:?}");
        // -40 dB of what was said.
        assert!(wide.strength(talker, 700.0, 1_000) < 60.0, "{codec:?} {}", wide.strength(talker, 700.0, 1_000));
    }
}

/// A room of telephones is raised for whoever brings more, and what lies above a telephone's sound is heard by those who
/// can; when he goes it is lowered again. Nobody hears a click.
#[test]
fn a_room_is_raised_without_a_click() {
    let mut wide = Wide::new(Config::default());
    let low = [wide.call(Codec::Pcmu, 500.0), wide.call(Codec::Pcma, 0.0)];
    wide.ticks(50);
    let before = wide.callers[low[1]].heard.len();
    let high = [wide.call(Codec::G722, 5_000.0), wide.call(Codec::L16(Rate::SuperWide), 0.0)];
    wide.ticks(100);
    assert!(wide.strength(high[1], 5_000.0, 1_000) > 4_000.0);
    assert!(wide.strength(high[1], 500.0, 1_000) > 4_000.0);
    assert!(wide.strength(low[1], 500.0, 1_000) > 4_000.0 && wide.strength(low[1], 3_000.0, 1_000) < 100.0);
    for caller in high {
        wide.order(Command::Detach { stream: StreamId(caller as u64) });
    }
    wide.ticks(50);
    let heard = &wide.callers[low[1]].heard[before - Rate::Full.samples(200)..];
    let click = heard.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap();
    // A sine of 500 Hz at 48 kHz moves by 393 a sample; A-law adds its own coarseness.
    assert!(click < 900, "{click}");
}

/// One who only listens is sent what all listeners are sent; when he talks and is silent again, an encoder that remembers
/// is left and met without a break in the sound.
#[test]
fn listeners_share_a_line_and_leave_it_unheard() {
    for codec in [Codec::G722, Codec::Opus, Codec::Pcmu] {
        let mut wide = Wide::new(Config::default());
        wide.call(codec, 440.0);
        let listeners = [wide.call(codec, 0.0), wide.call(codec, 0.0)];
        wide.ticks(60);
        let [one, other] = listeners.map(|caller| wide.callers[caller].heard.clone());
        assert_eq!(one[one.len() - 9_600..], other[other.len() - 9_600..], "{codec:?}");
        let steady = wide.strength(listeners[0], 440.0, 200);
        let stream = StreamId(listeners[0] as u64);
        let clips = vec![Arc::new(Clip::new(Rate::Narrow, vec![0; 50 * FRAME]))];
        wide.order(Command::Play { target: Target::Stream(stream), clips, repeat: false, mark: 1, barge: false });
        wide.ticks(20);
        assert!(wide.strength(listeners[0], 440.0, 100) < steady / 3.0, "under a prompt");
        wide.ticks(100);
        assert!((wide.strength(listeners[0], 440.0, 200) - steady).abs() < steady / 10.0, "{codec:?}");
        let heard = &wide.callers[listeners[0]].heard;
        let click = heard.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap();
        assert!(click < 900, "{codec:?}: {click}");
    }
}

#[test]
fn only_the_loudest_are_heard_where_that_is_set() {
    let mut bench = Bench::with(Config { loudest: 2, ..Config::default() }, &[4_000, 2_000, 500, 0]);
    bench.ticks(50);
    let expected = 4_000 + 2_000;
    let heard = i32::from(bench.hears(3));
    assert!((heard - expected).abs() < expected / 16, "{heard}");
    bench.callers[2].voice = 9_000;
    bench.ticks(50);
    let heard = i32::from(bench.hears(3));
    assert!((heard - 13_000).abs() < 13_000 / 16, "{heard}");
}

#[test]
fn a_gain_is_for_one_alone() {
    let mut bench = Bench::new(&[1_000, 0, 0]);
    let stream = bench.id(1);
    bench.order(Command::Gain { stream, spoken_db: 0, heard_db: 6 });
    bench.ticks(10);
    assert!((1_900..2_100).contains(&bench.hears(1)) && (900..1_100).contains(&bench.hears(2)), "{}", bench.hears(1));
    let stream = bench.id(0);
    bench.order(Command::Gain { stream, spoken_db: -12, heard_db: 0 });
    bench.ticks(10);
    assert!((230..270).contains(&bench.hears(2)), "{}", bench.hears(2));
}

#[path = "engine_wire_tests.rs"]
mod wire;

/// Whoever takes comfort noise is sent a description in place of a background, and the voice whole; the others are sent
/// every frame.
#[test]
fn silence_is_described_to_those_who_take_it() {
    const NOISE_TYPE: u8 = 13;
    let mut bench = Bench::new(&[0, 0, 0]);
    let described = Plan { comfort_noise: Some(NOISE_TYPE), ..bench.callers[2].plan };
    bench.order(Command::Change { stream: StreamId(102), plan: described });
    // Of each tick: how many packets the plain listener was sent, and kind, marker and timestamp of the other's.
    let mut sent = Vec::new();
    for beat in 0..250 {
        bench.callers[1].voice = if (100..150).contains(&beat) { [3_000, -2_000][beat % 2] } else { 0 };
        bench.ticks(1);
        let told =
            |packet: &Vec<u8>| Packet::parse(packet).map(|p| (p.payload_type, p.marker, p.timestamp, p.sequence));
        assert_eq!(bench.callers[0].packets.len(), 1, "{beat}");
        assert!(bench.callers[2].packets.len() <= 1);
        sent.push(bench.callers[2].packets.first().and_then(told));
    }
    let kinds =
        |range: std::ops::Range<usize>| -> Vec<u8> { sent[range].iter().flatten().map(|told| told.0).collect() };
    assert_eq!(kinds(0..98), [NOISE_TYPE; 2], "at once, and each second after: {sent:?}");
    assert_eq!(kinds(102..150), [0; 48], "{sent:?}");
    assert_eq!(kinds(162..250), [NOISE_TYPE; 2], "{sent:?}");
    // One clock and one row of numbers over all of it; the first of a voice is marked.
    let all: Vec<(usize, (u8, bool, u32, u16))> =
        sent.iter().enumerate().filter_map(|(beat, told)| told.map(|told| (beat, told))).collect();
    for pair in all.windows(2) {
        let ((before, (kind_before, _, stamp_before, number_before)), (beat, (kind, marker, stamp, number))) =
            (pair[0], pair[1]);
        assert_eq!(stamp.wrapping_sub(stamp_before), ((beat - before) * FRAME) as u32);
        assert_eq!(number, number_before.wrapping_add(1));
        assert_eq!(marker, (kind_before, kind) == (NOISE_TYPE, 0), "{beat}");
    }
}

/// Eight seconds of a caller who says what `sound` makes of each sample's number; mean magnitude of the last second that
/// the other hears.
fn heard_of(config: Config, mut sound: impl FnMut(usize) -> i16) -> i32 {
    let mut bench = Bench::with(config, &[0, 0]);
    let mut sum = 0;
    for beat in 0..400 {
        let piece = std::array::from_fn(|i| sound(beat * FRAME + i));
        bench.say_sound(0, address(0), &piece);
        bench.ticks(1);
        if beat >= 350 {
            sum += bench.callers[1].heard.iter().map(|s| i32::from(s.unsigned_abs())).sum::<i32>() / FRAME as i32;
        }
    }
    sum / 50
}

#[test]
fn automatic_gain_makes_soft_voices_louder_where_it_is_on() {
    // Syllables: a tone of 300 Hz that swells four times a second.
    let soft = |i: usize| {
        let at = i as f32 / 8_000.0;
        (900.0 * (at * 300.0 * std::f32::consts::TAU).sin() * (at * 4.0 * std::f32::consts::PI).sin().abs()) as i16
    };
    let off = heard_of(Config::default(), soft);
    let on = heard_of(Config { automatic_gain: true, ..Config::default() }, soft);
    assert!((300..450).contains(&off), "{off}");
    assert!(on > 3 * off, "{on} {off}");
}

#[test]
fn noise_suppression_lowers_a_steady_hiss_where_it_is_on() {
    let hiss = || {
        let mut seed = 1u32;
        move |_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((seed >> 16) as i16) / 40
        }
    };
    let off = heard_of(Config::default(), hiss());
    let on = heard_of(Config { noise_suppression: true, ..Config::default() }, hiss());
    assert!((300..500).contains(&off), "{off}");
    assert!(on * 4 < off, "{on} {off}");
}

#[test]
fn a_room_is_recorded_as_all_hear_it_and_each_as_they_are_heard() {
    let mut bench = Bench::new(&[1_000, 500, 0]);
    bench.ticks(5);
    let (reel, counter) = recorder::reel();
    let (mixed, mut all) = recorder::ring(Rate::Narrow);
    bench.engine.record(RoomId(1), reel, mixed).unwrap();
    let (own, mut first) = recorder::ring(Rate::Narrow);
    bench.engine.track(bench.id(0), own).unwrap();
    bench.ticks(10);
    bench.order(Command::PauseRecording { room: RoomId(1), on: true });
    bench.ticks(10);
    bench.order(Command::PauseRecording { room: RoomId(1), on: false });
    bench.order(Command::Mute { stream: StreamId(100), on: true });
    bench.ticks(10);
    assert_eq!(counter.ticks(), 20);
    // What was last recorded of each, at each tick: the sum, and the voice or nothing.
    let last = |spout: &mut recorder::Spout| -> Vec<(u64, Option<i16>)> {
        let mut sound = [0; TICK_MOST];
        std::iter::from_fn(|| spout.pop(&mut sound).map(|block| (block.at, sound[..block.samples].last().copied())))
            .collect()
    };
    let (one, two) = (through(plan(0).codec, 1_000), through(plan(1).codec, 500));
    let sums = last(&mut all);
    let voices = last(&mut first);
    assert_eq!(sums.iter().map(|(at, _)| *at).collect::<Vec<_>>(), (0..20).collect::<Vec<_>>());
    assert!(sums[..10].iter().all(|(_, sample)| *sample == Some(one + two)), "{sums:?}");
    assert!(sums[11..].iter().all(|(_, sample)| *sample == Some(two)), "{sums:?}");
    assert!(voices[..10].iter().all(|(_, sample)| *sample == Some(one)), "{voices:?}");
    assert!(voices[11..].iter().all(|(_, sample)| sample.is_none()), "{voices:?}");
    bench.order(Command::StopRecording { room: RoomId(1) });
    assert!(counter.is_over());
    bench.ticks(2);
    assert_eq!(last(&mut first), []);
    assert_eq!(bench.engine.command(bench.now(), Command::StopRecording { room: RoomId(9) }), Err(Refusal::Unknown));
}

/// Who goes on for another leg begins anew: each leg has the figures of its own time.
#[test]
fn figures_are_of_the_time_since_the_stream_was_handed_over() {
    let mut bench = Bench::new(&[5_000, 5_000]);
    let stream = bench.id(0);
    bench.ticks(100);
    bench.order(Command::HandOver { stream });
    // From then on every fourth packet is lost.
    for n in 0..200 {
        bench.callers[0].voice = if n % 4 == 1 { 0 } else { 5_000 };
        bench.ticks(1);
    }
    bench.callers[0].voice = 5_000;
    bench.order(Command::HandOver { stream });
    bench.ticks(100);
    bench.order(Command::Detach { stream });
    bench.collect();
    let told = bench.events.iter().filter_map(|event| match event {
        Event::HandedOver { stats, .. } | Event::Detached { stats, .. } => Some(*stats),
        _ => None,
    });
    let told: Vec<Stats> = told.collect();
    let [before, lossy, after] = told[..] else { panic!("{told:?}") };
    assert_eq!([before, lossy, after].map(|stats| stats.packets_in), [100, 150, 100]);
    assert_eq!([before, lossy, after].map(|stats| stats.lost), [0, 50, 0]);
    assert_eq!([before, lossy, after].map(|stats| stats.quality.unwrap().lost_ppm), [0, 250_000, 0]);
    assert!(told.iter().all(|stats| stats.packets_out.abs_diff(stats.packets_in + stats.lost) <= 1), "{told:?}");
}
