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
