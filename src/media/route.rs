//! Which mixer thread has which stream and which room. Pure: the threads are `io`'s.
//!
//! A room lives on one thread, so that mixing needs no lock; its members move there. All that the owner says passes
//! through here in one order, so that what is known here is what the threads will know when they get there.

use super::{Refusal, RoomId, StreamId, Target};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Where a stream goes on its way into a room; the same thread twice where it stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub from: usize,
    pub to: usize,
}

#[derive(Debug)]
struct Place {
    thread: usize,
    room: Option<RoomId>,
}

#[derive(Debug)]
struct Room {
    thread: usize,
    members: u32,
}

#[derive(Debug)]
pub struct Routes {
    /// Streams on each thread.
    loads: Vec<u32>,
    most_streams: u32,
    streams: HashMap<StreamId, Place>,
    rooms: HashMap<RoomId, Room>,
}

impl Routes {
    /// `threads` of which each takes `most_streams`. At least one thread.
    pub fn new(threads: usize, most_streams: u32) -> Routes {
        Routes { loads: vec![0; threads.max(1)], most_streams, streams: HashMap::new(), rooms: HashMap::new() }
    }

    /// Streams that are attached.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    pub fn rooms(&self) -> usize {
        self.rooms.len()
    }

    /// A new stream begins on the least loaded thread.
    pub fn attach(&mut self, stream: StreamId) -> Result<usize, Refusal> {
        let thread = self.least_loaded(0);
        let Entry::Vacant(place) = self.streams.entry(stream) else { return Err(Refusal::Known) };
        if self.loads[thread] >= self.most_streams {
            return Err(Refusal::Full);
        }

        place.insert(Place { thread, room: None });
        self.loads[thread] += 1;
        Ok(thread)
    }

    /// The end of a stream, on the thread told.
    pub fn detach(&mut self, stream: StreamId) -> Result<usize, Refusal> {
        let thread = self.leave(stream)?;
        self.streams.remove(&stream);
        self.loads[thread] -= 1;
        Ok(thread)
    }

    /// A room that does not exist begins on the least loaded thread. A thread that is full takes nobody.
    pub fn join(&mut self, stream: StreamId, room: RoomId) -> Result<Way, Refusal> {
        let from = self.thread_of(stream)?;
        let to = match self.rooms.get(&room) {
            Some(room) => room.thread,
            None => self.room_place(from),
        };
        if to != from && self.loads[to] >= self.most_streams {
            return Err(Refusal::Full);
        }

        self.leave(stream)?;
        self.rooms.entry(room).or_insert(Room { thread: to, members: 0 }).members += 1;
        self.streams.insert(stream, Place { thread: to, room: Some(room) });
        self.loads[from] -= 1;
        self.loads[to] += 1;
        Ok(Way { from, to })
    }

    /// Out of its room, on the thread told. A room ends with its last member.
    pub fn leave(&mut self, stream: StreamId) -> Result<usize, Refusal> {
        let place = self.streams.get_mut(&stream).ok_or(Refusal::Unknown)?;
        if let Some(left) = place.room.take()
            && let Entry::Occupied(mut room) = self.rooms.entry(left)
        {
            room.get_mut().members -= 1;
            if room.get().members == 0 {
                room.remove();
            }
        }
        Ok(place.thread)
    }

    pub fn thread_of(&self, stream: StreamId) -> Result<usize, Refusal> {
        self.streams.get(&stream).map(|place| place.thread).ok_or(Refusal::Unknown)
    }

    pub fn thread_for(&self, target: Target) -> Result<usize, Refusal> {
        match target {
            Target::Stream(stream) => self.thread_of(stream),
            Target::Room(room) => self.rooms.get(&room).map(|room| room.thread).ok_or(Refusal::Unknown),
        }
    }

    /// For a room whose first member is on `from`: there, unless another thread has less to do without that member.
    fn room_place(&self, from: usize) -> usize {
        let least = self.least_loaded(from);
        if self.loads[least] < self.loads[from].saturating_sub(1) { least } else { from }
    }

    /// Counted from `first` on, so that equals are taken in turn.
    fn least_loaded(&self, first: usize) -> usize {
        let count = self.loads.len();
        (0..count).map(|i| (first + i) % count).min_by_key(|thread| self.loads[*thread]).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: StreamId = StreamId(1);
    const B: StreamId = StreamId(2);
    const C: StreamId = StreamId(3);
    const ROOM: RoomId = RoomId(1);

    #[test]
    fn streams_spread_and_members_gather() {
        let mut routes = Routes::new(2, 10);
        assert_eq!([A, B, C].map(|s| routes.attach(s)), [Ok(0), Ok(1), Ok(0)]);
        assert_eq!(routes.attach(A), Err(Refusal::Known));
        assert_eq!(routes.join(B, ROOM), Ok(Way { from: 1, to: 1 }));
        assert_eq!(routes.join(A, ROOM), Ok(Way { from: 0, to: 1 }));
        assert_eq!(routes.thread_for(Target::Room(ROOM)), Ok(1));
        assert_eq!(routes.thread_for(Target::Stream(A)), Ok(1));
        assert_eq!(routes.detach(B), Ok(1));
        assert_eq!(routes.leave(A), Ok(1));
        assert_eq!(routes.thread_for(Target::Room(ROOM)), Err(Refusal::Unknown));
        assert_eq!(routes.detach(B), Err(Refusal::Unknown));
    }

    #[test]
    fn a_full_thread_takes_nobody() {
        let mut routes = Routes::new(2, 1);
        assert_eq!([A, B].map(|s| routes.attach(s)), [Ok(0), Ok(1)]);
        assert_eq!(routes.attach(C), Err(Refusal::Full));
        assert_eq!(routes.join(A, ROOM), Ok(Way { from: 0, to: 0 }));
        assert_eq!(routes.join(B, ROOM), Err(Refusal::Full));
        assert_eq!(routes.thread_of(B), Ok(1));
        assert_eq!(routes.detach(B), Ok(1));
        assert_eq!(routes.attach(C), Ok(1));
    }

    proptest! {
        /// The books balance: every stream is counted on its thread, every member is where its room is.
        #[test]
        fn members_are_where_their_room_is(steps in prop::collection::vec((0u8..4, 0u64..12, 0u64..4), 0..200)) {
            let mut routes = Routes::new(3, 5);
            for (kind, stream, room) in steps {
                let stream = StreamId(stream);
                let _ = match kind {
                    0 => routes.attach(stream),
                    1 => routes.join(stream, RoomId(room)).map(|way| way.to),
                    2 => routes.leave(stream),
                    _ => routes.detach(stream),
                };
                for (thread, load) in routes.loads.iter().enumerate() {
                    let here = routes.streams.values().filter(|place| place.thread == thread).count();
                    prop_assert_eq!(here, *load as usize);
                    prop_assert!(*load <= 5);
                }
                for (id, room) in &routes.rooms {
                    let members: Vec<_> = routes.streams.values().filter(|place| place.room == Some(*id)).collect();
                    prop_assert_eq!(members.len(), room.members as usize);
                    prop_assert!(room.members > 0 && members.iter().all(|place| place.thread == room.thread));
                }
                let placed = routes.streams.values().filter_map(|place| place.room);
                prop_assert!(placed.into_iter().all(|room| routes.rooms.contains_key(&room)));
            }
        }
    }
}
