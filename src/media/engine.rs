//! The machine of one mixer thread: packets and commands in, a tick every 20 ms, packets and events out.
//!
//! It opens no socket and reads no clock. The rim calls [`Engine::command`] and [`Engine::receive`] between ticks, then
//! [`Engine::tick`], sends [`Engine::outgoing`] and passes [`Engine::events`] on. Ticks and packets allocate nothing, lock
//! nothing and log nothing: what they need was taken by the command that made it necessary (`tests/hot_loop.rs`).

use super::mixer::room::Room;
use super::mixer::sum;
use super::player::Play;
use super::recorder::{Reel, Tap};
use super::rtp::monitor::REPORT_MOST;
use super::rtp::press::Source;
use super::rtp::sender::{Outbox, Sender};
use super::stream::{Gain, Stream, Told};
use super::{
    Command, Config, Event, Frame, Outcome, Outgoing, Plan, Refusal, RoomId, Slot, Stats, StreamId, TICK_MOST, Target,
};
use crate::clock::{Mono, Now};
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
    /// Who is heard by whom alone.
    confided: Vec<(StreamId, StreamId)>,
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
            confided: Vec::new(),
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
            Command::HandOver { stream } => self.hand_over(stream),
            Command::Change { stream, plan } => self.change(now, stream, plan),
            Command::Secure { stream, secret } => self.with(stream, |s| s.secure(secret)),
            Command::Join { stream, room } => self.join(stream, room),
            Command::Leave { stream } => self.slot_of(stream).map(|slot| self.leave(slot)),
            Command::Mute { stream, on } => self.with(stream, |s| s.muted = on),
            Command::Deafen { stream, on } => self.with(stream, |s| s.deaf = on),
            Command::Gag { stream, on } => self.with(stream, |s| s.gagged = on),
            Command::Confide { stream, to } => self.confide(stream, to),
            Command::Gain { stream, spoken_db, heard_db } => {
                self.with(stream, |s| s.gain = Gain { spoken: sum::gain(spoken_db), heard: sum::gain(heard_db) })
            }
            Command::Play { target, clips, repeat, mark, barge } => {
                self.play(target, Play::new(clips, repeat, mark, barge))
            }
            Command::Press { stream, key } => self.press(now, stream, key),
            Command::Stop { target } => self.stop(target),
            Command::PauseRecording { room, on } => {
                self.room(room)?.pause_recording(on);
                Ok(Outcome::Done)
            }
            Command::StopRecording { room } => self.stop_recording(room),
        }
    }

    /// Records a room from the next tick on: `reel` turns and `tap` is given the mix, until [`Command::StopRecording`] or
    /// the end of the room.
    pub fn record(&mut self, room: RoomId, reel: Reel, tap: Tap) -> Result<(), Refusal> {
        self.room(room)?.record(Some((reel, tap)));
        Ok(())
    }

    /// A track of one stream's own, as long as it stays in its room.
    pub fn track(&mut self, stream: StreamId, tap: Tap) -> Result<(), Refusal> {
        self.with(stream, |s| s.tap = Some(tap)).map(drop)
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
        self.streams[self.slot(stream)?.index()].as_ref().map(|s| s.stats(&self.config))
    }

    /// A datagram came to the socket of `slot`. Anything at all may be in it.
    pub fn receive(&mut self, now: Mono, slot: Slot, from: SocketAddr, datagram: &[u8]) {
        if let Some(Some(stream)) = self.streams.get_mut(slot.index()) {
            stream.receive(now, from, datagram, &mut self.told);
        }
    }

    /// A datagram came to the RTCP socket of `slot`.
    pub fn receive_rtcp(&mut self, now: Mono, slot: Slot, from: SocketAddr, datagram: &[u8]) {
        if let Some(Some(stream)) = self.streams.get_mut(slot.index()) {
            stream.receive_rtcp(now, from, datagram, &mut self.told);
        }
    }

    /// The report that a stream owes the far end, if it is due, or its goodbye with `bye`; and where that goes.
    pub fn report<'a>(
        &mut self,
        now: Now,
        slot: Slot,
        bye: bool,
        buffer: &'a mut [u8; REPORT_MOST],
    ) -> Option<(&'a [u8], &Plan)> {
        let stream = self.streams.get_mut(slot.index())?.as_mut()?;
        let length = stream.write_report(now, bye, self.config.bound_ms, buffer)?;
        Some((&buffer[..length], &stream.plan))
    }

    /// One beat of 20 ms: every stream's voice, every room's sum, every stream's packet.
    pub fn tick(&mut self, now: Mono) {
        self.outbox.clear();
        self.rooms.iter_mut().flatten().for_each(Room::begin);
        self.listen(now);
        self.pass_on();
        self.finish_rooms();
        self.speak();
    }

    fn listen(&mut self, now: Mono) {
        let all_are_heard = self.config.loudest == 0;
        for (index, stream) in self.streams.iter_mut().enumerate() {
            let Some(stream) = stream else { continue };
            let wants = stream.listen(now, &self.config, &mut self.told);
            let room = stream.room.and_then(|room| self.rooms[room].as_mut());
            if all_are_heard {
                self.mixed[index] = enter(stream, room, wants);
            } else if let Some(room) = room.filter(|_| wants) {
                room.loudest.offer(index, stream.level(), usize::from(self.config.loudest));
            }
        }
        if !all_are_heard {
            self.admit_loudest();
        }
    }

    fn admit_loudest(&mut self) {
        for (index, stream) in self.streams.iter_mut().enumerate() {
            let Some(stream) = stream else { continue };
            let room = stream.room.and_then(|room| self.rooms[room].as_mut());
            let heard = room.as_ref().is_some_and(|room| room.loudest.hears(index));
            self.mixed[index] = enter(stream, room, heard);
        }
    }

    /// What is said to one alone, where both are in one room: there they have one rate.
    fn pass_on(&mut self) {
        for (from, to) in &self.confided {
            let (Some(from), Some(to)) = (self.slots.get(from), self.slots.get(to)) else { continue };
            let pair = self.streams.get_disjoint_mut([from.index(), to.index()]);
            if let Ok([Some(from), Some(to)]) = pair
                && from.room.is_some()
                && from.room == to.room
            {
                to.player.hear(from.voice());
            }
        }
    }

    fn finish_rooms(&mut self) {
        for room in self.rooms.iter_mut().flatten() {
            let (target, told) = (Target::Room(room.id), &mut self.told);
            let mut prompt = [0; TICK_MOST];
            if room.player.render(&mut prompt, |play| told.ended(target, play, true)) {
                let tick = room.rate().tick();
                room.add(&prompt[..tick]);
            }
            room.finish();
        }
    }

    /// In the order of slots, so that each leg's packet leaves at the same moment of every tick.
    fn speak(&mut self) {
        for (index, stream) in self.streams.iter_mut().enumerate() {
            if let Some(stream) = stream {
                if let Some(room) = stream.room.and_then(|room| self.rooms[room].as_ref()) {
                    stream.record(room, self.mixed[index]);
                }
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
        self.confides_no_more(|from, to| from == stream || to == stream);
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

    fn confide(&mut self, stream: StreamId, to: Option<StreamId>) -> Result<Outcome, Refusal> {
        self.slot_of(stream)?;
        to.map(|to| self.slot_of(to)).transpose()?;
        self.confides_no_more(|from, _| from == stream);
        if let Some(to) = to {
            self.confided.push((stream, to));
            self.with(to, |ear| ear.player.lend_ear(true))?;
        }
        Ok(Outcome::Done)
    }

    fn confides_no_more(&mut self, is_over: impl Fn(StreamId, StreamId) -> bool) {
        let over: Vec<StreamId> =
            self.confided.extract_if(.., |(from, to)| is_over(*from, *to)).map(|(_, to)| to).collect();
        for to in over {
            let listens = self.confided.iter().any(|(_, other)| *other == to);
            // Whoever is not here any more listens to nobody.
            let _ = self.with(to, |ear| ear.player.lend_ear(listens));
        }
    }

    fn room(&mut self, room: RoomId) -> Result<&mut Room, Refusal> {
        let place = *self.places.get(&room).ok_or(Refusal::Unknown)?;
        self.rooms[place].as_mut().ok_or(Refusal::Unknown)
    }

    fn stop_recording(&mut self, room: RoomId) -> Result<Outcome, Refusal> {
        self.room(room)?.record(None);
        let place = self.places.get(&room).copied();
        let members = self.streams.iter_mut().flatten().filter(|stream| stream.room == place);
        members.for_each(|stream| stream.tap = None);
        Ok(Outcome::Done)
    }

    fn press(&mut self, now: Mono, id: StreamId, key: char) -> Result<Outcome, Refusal> {
        let slot = self.slot_of(id)?;
        let stream = self.streams[slot.index()].as_deref_mut().ok_or(Refusal::Unknown)?;
        stream.press(now, Source::Info, key, &mut self.told);
        Ok(Outcome::Done)
    }

    fn attach(&mut self, now: Mono, id: StreamId, plan: Plan) -> Result<Slot, Refusal> {
        let slot = self.vacant(id)?;
        let sender = Sender::new(&plan, self.random.random(), self.random.random(), self.random.random());
        let seed = self.random.random();
        self.place(slot, Box::new(Stream::new(id, plan, sender, &self.config, now, seed)));
        Ok(slot)
    }

    fn change(&mut self, now: Mono, stream: StreamId, plan: Plan) -> Result<Outcome, Refusal> {
        let slot = self.slot_of(stream)?;
        let Some(stream) = self.streams[slot.index()].as_deref_mut() else { return Err(Refusal::Unknown) };
        let before = stream.plan;
        stream.change(now, plan, &self.config);
        let place = stream.room;
        if let Some(place) = place
            && let Some(room) = self.rooms[place].as_mut()
        {
            // In this order: the line of a codec that stays goes on.
            room.enlist(&plan);
            room.dismiss(&before);
            if before.codec != plan.codec {
                self.tune(place);
            }
        }
        self.reserve();
        Ok(Outcome::Done)
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
        self.reserve();
    }

    /// Room for every packet of a tick, and for every play there is to end before the next command.
    fn reserve(&mut self) {
        let octets = self.streams.iter().flatten().map(|stream| stream.octets_a_tick()).sum();
        self.outbox.reserve(self.streams.len(), octets);
        let streams = self.streams.iter().flatten().map(|stream| stream.player.len());
        let rooms = self.rooms.iter().flatten().map(|room| room.player.len());
        self.told.spent.reserve(streams.chain(rooms).sum());
    }

    fn detach(&mut self, stream: StreamId) -> Result<Slot, Refusal> {
        let (slot, carried) = self.take(stream)?;
        // Never lost for want of room: a command may allocate, and there are as many of these as streams.
        self.told.events.push(Event::Detached { stream, stats: carried.0.stats(&self.config) });
        Ok(slot)
    }

    fn hand_over(&mut self, stream: StreamId) -> Result<Outcome, Refusal> {
        let slot = self.slot_of(stream)?;
        let Some(own) = &mut self.streams[slot.index()] else { return Err(Refusal::Unknown) };
        let stats = own.hand_over(&self.config);
        self.told.events.push(Event::HandedOver { stream, stats });
        Ok(Outcome::Done)
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
        let (Some(stream), Some(room)) = (self.streams[slot.index()].as_deref_mut(), self.rooms[place].as_mut()) else {
            return Err(Refusal::Unknown);
        };
        stream.room = Some(place);
        if stream.rate() != room.rate() {
            stream.tune(room.rate());
        }
        room.enlist(&stream.plan);
        room.members += 1;
        self.tune(place);
        Ok(Outcome::Done)
    }

    /// A room has the rate of its best member, as far as the settings go: raised for a wideband leg, lowered after it.
    fn tune(&mut self, place: usize) {
        let members = self.streams.iter_mut().flatten().filter(|stream| stream.room == Some(place));
        let best = members.map(|stream| stream.own_rate()).max().unwrap_or_default();
        let rate = best.clamp(self.config.least_rate.min(self.config.most_rate), self.config.most_rate);
        let Some(room) = self.rooms[place].as_mut().filter(|room| room.rate() != rate) else { return };
        room.tune(rate);
        let members = self.streams.iter_mut().flatten().filter(|stream| stream.room == Some(place));
        members.for_each(|stream| stream.tune(rate));
    }

    fn open_room(&mut self, id: RoomId) -> usize {
        if let Some(place) = self.places.get(&id) {
            return *place;
        }
        let place = self.rooms.iter().position(Option::is_none).unwrap_or(self.rooms.len());
        if place == self.rooms.len() {
            self.rooms.push(None);
        }
        self.rooms[place] = Some(Room::new(id, self.config.least_rate));
        self.places.insert(id, place);
        place
    }

    /// Out of its room, if it is in one; the room ends with its last member.
    fn leave(&mut self, slot: Slot) -> Outcome {
        let Some(stream) = self.streams[slot.index()].as_mut() else { return Outcome::Done };
        let Some(place) = stream.room else { return Outcome::Done };
        let Some(room) = self.rooms[place].as_mut() else { return Outcome::Done };
        let mut end: Frame = [0; TICK_MOST];
        stream.go_on_from(room);
        let was_heard = stream.part(&mut end);
        room.members -= 1;
        room.dismiss(&stream.plan);
        if was_heard {
            room.part(&end[..room.rate().tick()]);
        }
        if room.members == 0 {
            let (id, told) = (room.id, &mut self.told);
            room.player.stop(|play| told.ended(Target::Room(id), play, false));
            self.places.remove(&id);
            self.rooms[place] = None;
        } else if !was_heard {
            // The end of a voice is at the old rate: who comes or goes next lowers it.
            self.tune(place);
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
        self.reserve();
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

/// Lets a voice into the sum of its room, or out of it; whether it is in there in this tick.
fn enter(stream: &mut Stream, room: Option<&mut Room>, heard: bool) -> bool {
    let mixed = stream.enter(heard);
    stream.compare(mixed, room.as_deref());
    if mixed && let Some(room) = room {
        room.add(stream.voice());
    }
    mixed
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
