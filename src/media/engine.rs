//! The machine of one mixer thread: packets and commands in, a tick every 20 ms, packets and events out.
//!
//! It opens no socket and reads no clock. The rim calls [`Engine::command`] and [`Engine::receive`] between ticks, then
//! [`Engine::tick`], sends [`Engine::outgoing`] and passes [`Engine::events`] on. Ticks and packets allocate nothing, lock
//! nothing and log nothing: what they need was taken by the command that made it necessary (`tests/hot_loop.rs`).

use super::mixer::room::Room;
use super::player::Play;
use super::rtp::sender::{Outbox, Sender};
use super::stream::{Stream, Told};
use super::{Command, Config, Event, Outcome, Outgoing, Plan, Refusal, RoomId, Slot, Stats, StreamId, Target};
use crate::clock::Mono;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A stream on its way from one engine to another: its numbers, its buffer, its prompts and its figures go with it.
pub struct Carried(Box<Stream>);

impl Carried {
    pub fn stream(&self) -> StreamId {
        self.0.id
    }
}

impl std::fmt::Debug for Carried {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Carried({:?})", self.0.id)
    }
}

/// All streams and rooms of one thread. A room and its members always live in the same engine.
pub struct Engine {
    config: Config,
    random: StdRng,
    streams: Vec<Option<Box<Stream>>>,
    rooms: Vec<Option<Room>>,
    /// Bit of each slot: is its voice in a sum of this tick?
    mixed: Vec<bool>,
    slots: BTreeMap<StreamId, Slot>,
    places: BTreeMap<RoomId, usize>,
    outbox: Outbox,
    told: Told,
}

impl Engine {
    /// `seed` gives the SSRCs and the first numbers of all streams: it should not be guessable.
    pub fn new(config: Config, seed: u64) -> Engine {
        let told = Told { most: config.most_events, events: Vec::with_capacity(config.most_events), ..Told::default() };
        Engine {
            config,
            random: StdRng::seed_from_u64(seed),
            streams: Vec::new(),
            rooms: Vec::new(),
            mixed: Vec::new(),
            slots: BTreeMap::new(),
            places: BTreeMap::new(),
            outbox: Outbox::default(),
            told,
        }
    }

    /// Carries out a command at once, between two ticks. A refused one changes nothing.
    pub fn command(&mut self, now: Mono, command: Command) -> Result<Outcome, Refusal> {
        self.told.spent.clear();
        match command {
            Command::Attach { stream, plan } => self.attach(now, stream, plan).map(Outcome::Opened),
            Command::Detach { stream } => self.detach(stream).map(Outcome::Closed),
            Command::Change { stream, plan } => self.with(stream, |s| s.change(now, plan)),
            Command::Join { stream, room } => self.join(stream, room),
            Command::Leave { stream } => self.slot_of(stream).map(|slot| self.leave(slot)),
            Command::Mute { stream, on } => self.with(stream, |s| s.muted = on),
            Command::Deafen { stream, on } => self.with(stream, |s| s.deaf = on),
            Command::Gag { stream, on } => self.with(stream, |s| s.gagged = on),
            Command::Play { target, clips, repeat, mark, barge } => {
                self.play(target, Play::new(clips, repeat, mark, barge))
            }
            Command::Stop { target } => self.stop(target),
        }
    }

    /// Where a stream lives, while it lives here.
    pub fn slot(&self, stream: StreamId) -> Option<Slot> {
        self.slots.get(&stream).copied()
    }

    /// The streams that live here.
    pub fn streams(&self) -> impl Iterator<Item = StreamId> {
        self.slots.keys().copied()
    }

    /// How many streams live here.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// A stream's figures so far.
    pub fn stats(&self, stream: StreamId) -> Option<Stats> {
        self.streams[self.slot(stream)?.index()].as_ref().map(|s| s.stats())
    }

    /// A datagram came to the socket of `slot`. Anything at all may be in it.
    pub fn receive(&mut self, now: Mono, slot: Slot, from: SocketAddr, datagram: &[u8]) {
        if let Some(Some(stream)) = self.streams.get_mut(slot.index()) {
            stream.receive(now, from, datagram, &mut self.told);
        }
    }

    /// A datagram came to the RTCP socket of `slot`: it can only tell that somebody is there.
    pub fn receive_rtcp(&mut self, now: Mono, slot: Slot, from: SocketAddr, datagram: &[u8]) {
        if let Some(Some(stream)) = self.streams.get_mut(slot.index()) {
            stream.receive_rtcp(now, from, datagram, &mut self.told);
        }
    }

    /// One beat of 20 ms: every stream's voice, every room's sum, every stream's packet.
    pub fn tick(&mut self, now: Mono) {
        self.outbox.clear();
        self.rooms.iter_mut().flatten().for_each(Room::begin);
        self.listen(now);
        self.finish_rooms();
        self.speak();
    }

    fn listen(&mut self, now: Mono) {
        for (stream, mixed) in self.streams.iter_mut().zip(&mut self.mixed) {
            let Some(stream) = stream else { continue };
            *mixed = stream.listen(now, &self.config, &mut self.told);
            if *mixed && let Some(room) = stream.room.and_then(|room| self.rooms[room].as_mut()) {
                room.add(stream.voice());
            }
        }
    }

    fn finish_rooms(&mut self) {
        for room in self.rooms.iter_mut().flatten() {
            let (target, told) = (Target::Room(room.id), &mut self.told);
            if let Some(prompt) = room.player.render(|play| told.ended(target, play, true)) {
                room.add(&prompt);
            }
            room.finish();
        }
    }

    /// In the order of slots, so that each leg's packet leaves at the same moment of every tick.
    fn speak(&mut self) {
        for (index, stream) in self.streams.iter_mut().enumerate() {
            if let Some(stream) = stream {
                let slot = Slot(index as u32);
                stream.speak(slot, &mut self.rooms, self.mixed[index], &mut self.outbox, &mut self.told);
            }
        }
    }

    /// The packets of the last tick, in the order of slots.
    pub fn outgoing(&self) -> impl Iterator<Item = Outgoing<'_>> {
        self.outbox.entries().iter().filter_map(|entry| {
            let stream = self.streams[entry.slot.index()].as_ref().filter(|stream| stream.id == entry.stream)?;
            let packet = self.outbox.packet(entry);
            Some(Outgoing { slot: entry.slot, stream: entry.stream, to: stream.plan.remote, packet })
        })
    }

    /// What happened since it was last asked.
    pub fn events(&mut self) -> impl Iterator<Item = Event> {
        self.told.spent.clear();
        self.told.events.drain(..)
    }

    /// Events that nobody fetched in time.
    pub fn lost_events(&self) -> u64 {
        self.told.lost
    }

    /// Takes a stream out, to give it to another engine (its room moves there, or it joins one there). Its slot is free.
    pub fn take(&mut self, stream: StreamId) -> Result<(Slot, Carried), Refusal> {
        let slot = self.slot_of(stream)?;
        self.leave(slot);
        self.slots.remove(&stream);
        let stream = self.streams[slot.index()].take().ok_or(Refusal::Unknown)?;
        Ok((slot, Carried(stream)))
    }

    /// Puts in a stream that another engine let go. It is in no room. Refused, it is given back.
    pub fn give(&mut self, carried: Carried) -> Result<Slot, (Refusal, Carried)> {
        match self.vacant(carried.stream()) {
            Ok(slot) => {
                self.place(slot, carried.0);
                Ok(slot)
            }
            Err(refusal) => Err((refusal, carried)),
        }
    }

    fn slot_of(&self, stream: StreamId) -> Result<Slot, Refusal> {
        self.slot(stream).ok_or(Refusal::Unknown)
    }

    fn with(&mut self, stream: StreamId, change: impl FnOnce(&mut Stream)) -> Result<Outcome, Refusal> {
        let slot = self.slot_of(stream)?;
        self.streams[slot.index()].as_deref_mut().map(change).ok_or(Refusal::Unknown)?;
        Ok(Outcome::Done)
    }

    fn attach(&mut self, now: Mono, id: StreamId, plan: Plan) -> Result<Slot, Refusal> {
        let slot = self.vacant(id)?;
        let sender = Sender::new(self.random.random(), self.random.random(), self.random.random());
        self.place(slot, Box::new(Stream::new(id, plan, sender, &self.config, now)));
        Ok(slot)
    }

    /// The lowest free slot, for a stream that is not here yet.
    fn vacant(&self, stream: StreamId) -> Result<Slot, Refusal> {
        if self.slots.contains_key(&stream) {
            return Err(Refusal::Known);
        }
        let index = self.streams.iter().position(Option::is_none).unwrap_or(self.streams.len());
        if index < self.config.most_streams as usize { Ok(Slot(index as u32)) } else { Err(Refusal::Full) }
    }

    fn place(&mut self, slot: Slot, stream: Box<Stream>) {
        if slot.index() == self.streams.len() {
            self.streams.push(None);
            self.mixed.push(false);
        }
        self.slots.insert(stream.id, slot);
        self.streams[slot.index()] = Some(stream);
        self.outbox.reserve(self.streams.len());
        self.reserve_spent();
    }

    /// Room for every play there is to end before the next command.
    fn reserve_spent(&mut self) {
        let streams = self.streams.iter().flatten().map(|stream| stream.player.len());
        let rooms = self.rooms.iter().flatten().map(|room| room.player.len());
        self.told.spent.reserve(streams.chain(rooms).sum());
    }

    fn detach(&mut self, stream: StreamId) -> Result<Slot, Refusal> {
        let (slot, carried) = self.take(stream)?;
        // Never lost for want of room: a command may allocate, and there are as many of these as streams.
        self.told.events.push(Event::Detached { stream, stats: carried.0.stats() });
        Ok(slot)
    }

    fn join(&mut self, stream: StreamId, room: RoomId) -> Result<Outcome, Refusal> {
        let slot = self.slot_of(stream)?;
        let here = self.places.get(&room).copied();
        let now_in = self.streams[slot.index()].as_ref().and_then(|stream| stream.room);
        if here.is_some() && here == now_in {
            return Ok(Outcome::Done);
        }
        self.leave(slot);
        let place = self.open_room(room);
        self.with(stream, |s| s.room = Some(place))?;
        self.rooms[place].as_mut().ok_or(Refusal::Unknown)?.members += 1;
        Ok(Outcome::Done)
    }

    fn open_room(&mut self, id: RoomId) -> usize {
        if let Some(place) = self.places.get(&id) {
            return *place;
        }
        let place = self.rooms.iter().position(Option::is_none).unwrap_or(self.rooms.len());
        if place == self.rooms.len() {
            self.rooms.push(None);
        }
        self.rooms[place] = Some(Room::new(id));
        self.places.insert(id, place);
        place
    }

    /// Out of its room, if it is in one; the room ends with its last member.
    fn leave(&mut self, slot: Slot) -> Outcome {
        let Some(stream) = self.streams[slot.index()].as_mut() else { return Outcome::Done };
        let Some(place) = stream.room else { return Outcome::Done };
        let end = stream.part();
        let Some(room) = self.rooms[place].as_mut() else { return Outcome::Done };
        room.members -= 1;
        if let Some(end) = end {
            room.part(&end);
        }
        if room.members == 0 {
            let (id, told) = (room.id, &mut self.told);
            room.player.stop(|play| told.ended(Target::Room(id), play, false));
            self.places.remove(&id);
            self.rooms[place] = None;
        }
        Outcome::Done
    }

    fn play(&mut self, target: Target, play: Play) -> Result<Outcome, Refusal> {
        let (player, told) = self.player(target)?;
        if player.is_full() {
            return Err(Refusal::Full);
        }
        if let Some(music) = player.add(play) {
            told.ended(target, music, false);
        }
        self.reserve_spent();
        Ok(Outcome::Done)
    }

    fn stop(&mut self, target: Target) -> Result<Outcome, Refusal> {
        let (player, told) = self.player(target)?;
        player.stop(|play| told.ended(target, play, false));
        Ok(Outcome::Done)
    }

    fn player(&mut self, target: Target) -> Result<(&mut super::player::Player, &mut Told), Refusal> {
        let player = match target {
            Target::Stream(stream) => {
                let slot = self.slot_of(stream)?;
                self.streams[slot.index()].as_mut().map(|stream| &mut stream.player)
            }
            Target::Room(room) => {
                let place = *self.places.get(&room).ok_or(Refusal::Unknown)?;
                self.rooms[place].as_mut().map(|room| &mut room.player)
            }
        };
        Ok((player.ok_or(Refusal::Unknown)?, &mut self.told))
    }
}

#[cfg(test)]
mod tests {
    use super::super::rtp::packet::Packet;
    use super::*;
    use crate::media::{Clip, Codec, Direction, FRAME, TICK_MS};
    use std::sync::Arc;

    const EVENT_TYPE: u8 = 101;

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
        let direction = Direction::SendRecv;
        Plan {
            remote: address(caller),
            codec,
            payload_type,
            telephone_event: Some(EVENT_TYPE),
            direction,
            ptime_ms: 20,
        }
    }

    impl Bench {
        fn new(voices: &[i16]) -> Bench {
            let mut engine = Engine::new(Config::default(), 7);
            let mut callers = Vec::new();
            for (number, voice) in voices.iter().enumerate() {
                let (stream, plan) = (StreamId(100 + number as u64), plan(number));
                let slot = Slot(number as u32);
                assert_eq!(
                    engine.command(Mono::default(), Command::Attach { stream, plan }),
                    Ok(Outcome::Opened(slot))
                );
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
            let now = self.now();
            let caller = &mut self.callers[caller];
            let mut line = [0; FRAME];
            caller.plan.codec.encode(&[voice; FRAME], &mut line);
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
        let said: Vec<i16> =
            (0..6).map(|i| if voices[i] == 0 { 0 } else { through(plan(i).codec, voices[i]) }).collect();
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
        for (direction, sends) in
            [(Direction::RecvOnly, false), (Direction::Inactive, false), (Direction::SendOnly, true)]
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
        let bye = [0x80, 203, 0, 1, 0, 0, 0, 9];
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
        let plan = Plan { remote, codec: Codec::Pcma, payload_type: 8, ptime_ms: 30, ..bench.callers[0].plan };
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
        let (target, clips) = (Target::Stream(bench.id(1)), vec![Arc::new(Clip::new(vec![2_000; 10 * FRAME]))]);
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
        let clips = vec![Arc::new(Clip::new(vec![2_000; 50 * FRAME]))];
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
            let clips = vec![Arc::new(Clip::new(vec![2_000; 500 * FRAME]))];
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
}
