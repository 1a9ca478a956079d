//! The sound of the bridge: the real mixer, packet by packet; or, for long calls, what it would tell and when.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use tollbridge::clock::Mono;
use tollbridge::media::{
    Codec, Command, Config, Direction, Engine, Event, Outcome, Plan, RoomId, Slot, Stats, StreamId, Target,
};

// One of them in a simulation: a box would save nothing.
#[allow(clippy::large_enum_variant)]
pub enum Sound {
    Mixed(Box<Mixed>),
    Told(Told),
}

/// The real engine, and which of its slots a port belongs to.
pub struct Mixed {
    pub engine: Engine,
    by_port: BTreeMap<SocketAddr, (StreamId, Slot)>,
}

impl Mixed {
    pub fn new(seed: u64) -> Mixed {
        Mixed { engine: Engine::new(Config::default(), seed), by_port: BTreeMap::new() }
    }

    pub fn command(&mut self, now: Mono, command: Command, port: Option<SocketAddr>) {
        let stream = match &command {
            Command::Attach { stream, .. } => Some(*stream),
            _ => None,
        };
        match self.engine.command(now, command) {
            Ok(Outcome::Opened(slot)) => {
                let port = port.expect("a stream without a port");
                self.by_port.insert(port, (stream.unwrap(), slot));
            }
            Ok(Outcome::Closed(slot)) => self.by_port.retain(|_, (_, other)| *other != slot),
            Ok(Outcome::Done) => {}
            Err(refusal) => panic!("the mixer refused: {refusal}"),
        }
    }

    pub fn receive(&mut self, now: Mono, port: SocketAddr, from: SocketAddr, packet: &[u8]) -> bool {
        let Some((_, slot)) = self.by_port.get(&port) else { return false };
        self.engine.receive(now, *slot, from, packet);
        true
    }
}

/// What is said to one caller or room, one after the other.
#[derive(Debug)]
struct Said {
    serial: u64,
    mark: u64,
    repeat: bool,
    length: Duration,
}

#[derive(Debug)]
struct Stream {
    plan: Plan,
    room: Option<RoomId>,
    /// From when on sound is missed.
    since: Mono,
    silent: bool,
}

/// Streams without samples: prompts take their time, keys come as events.
pub struct Told {
    rng: StdRng,
    streams: BTreeMap<StreamId, Stream>,
    said: BTreeMap<Target, VecDeque<Said>>,
    serial: u64,
    /// What is to be told, and after how long.
    pub out: Vec<(Duration, Later)>,
}

/// What happens to sound later.
#[derive(Clone, Debug)]
pub enum Later {
    Tell(Event),
    Ends { target: Target, serial: u64 },
}

impl Told {
    pub fn new(seed: u64) -> Told {
        let rng = StdRng::seed_from_u64(seed ^ 0x50d);
        Told { rng, streams: BTreeMap::new(), said: BTreeMap::new(), serial: 0, out: Vec::new() }
    }

    fn tell(&mut self, event: Event) {
        let tick = Duration::from_millis(self.rng.random_range(0..=20));
        self.out.push((tick, Later::Tell(event)));
    }

    pub fn command(&mut self, now: Mono, command: Command) {
        match command {
            Command::Attach { stream, plan } => {
                let fresh = Stream { plan, room: None, since: now, silent: false };
                assert!(self.streams.insert(stream, fresh).is_none(), "{stream:?} is attached twice");
            }
            Command::Change { stream, plan } => {
                let line = self.stream(stream);
                if std::mem::replace(&mut line.plan, plan).direction != plan.direction {
                    line.since = now;
                }
            }
            Command::Join { stream, room } => self.stream(stream).room = Some(room),
            Command::Leave { stream } => self.stream(stream).room = None,
            Command::Detach { stream } => self.detach(stream),
            Command::HandOver { stream } => {
                let codec = self.stream(stream).plan.codec;
                self.tell(Event::HandedOver { stream, stats: stats(codec) });
            }
            Command::Play { target, repeat, mark, .. } => self.play(target, mark, repeat),
            Command::Stop { target } => self.stop(target),
            Command::PauseRecording { .. } | Command::StopRecording { .. } => {}
            Command::Press { stream, key } => {
                self.stream(stream);
                self.tell(Event::Digit { stream, key, at: now });
            }
            Command::Mute { stream, .. }
            | Command::Deafen { stream, .. }
            | Command::Secure { stream, .. }
            | Command::Gag { stream, .. }
            | Command::Confide { stream, .. }
            | Command::Gain { stream, .. } => {
                self.stream(stream);
            }
        }
    }

    fn stream(&mut self, stream: StreamId) -> &mut Stream {
        self.streams.get_mut(&stream).unwrap_or_else(|| panic!("a command for {stream:?}, which is not attached"))
    }

    fn detach(&mut self, stream: StreamId) {
        let codec = self.stream(stream).plan.codec;
        self.streams.remove(&stream);
        self.said.remove(&Target::Stream(stream));
        // Figures that never come must hold nothing up.
        if !self.rng.random_ratio(1, 50) {
            self.tell(Event::Detached { stream, stats: stats(codec) });
        }
    }

    fn play(&mut self, target: Target, mark: u64, repeat: bool) {
        self.serial += 1;
        let length = Duration::from_millis(self.rng.random_range(0..4_000));
        let queue = self.said.entry(target).or_default();
        let music = queue.pop_back_if(|last| last.repeat);
        queue.push_back(Said { serial: self.serial, mark, repeat, length });
        let is_first = queue.len() == 1;
        if let Some(music) = music {
            self.tell(Event::Played { target, mark: music.mark, whole: false });
        }
        if is_first {
            self.begin(target);
        }
    }

    fn begin(&mut self, target: Target) {
        if let Some(first) = self.said.get(&target).and_then(VecDeque::front).filter(|said| !said.repeat) {
            self.out.push((first.length, Later::Ends { target, serial: first.serial }));
        }
    }

    fn stop(&mut self, target: Target) {
        for said in self.said.remove(&target).unwrap_or_default() {
            self.tell(Event::Played { target, mark: said.mark, whole: false });
        }
    }

    /// A prompt came to its end, if it was not stopped before.
    pub fn ends(&mut self, target: Target, serial: u64) {
        let Some(queue) = self.said.get_mut(&target) else { return };
        if let Some(said) = queue.pop_front_if(|said| said.serial == serial) {
            self.tell(Event::Played { target, mark: said.mark, whole: true });
            self.begin(target);
        }
    }

    /// The stream of a phone, found by where it sends from.
    pub fn of(&self, rtp: SocketAddr) -> Option<StreamId> {
        self.streams.iter().find(|(_, stream)| stream.plan.remote == rtp).map(|(id, _)| *id)
    }

    /// Looks for a stream that sends nothing since `quiet`: tells it, or says when to look again.
    pub fn listen(&mut self, now: Mono, stream: StreamId, quiet: Mono) -> Option<Mono> {
        let limit = Duration::from_millis(u64::from(Config::default().silence_ms));
        let line = self.streams.get_mut(&stream)?;
        if line.silent {
            return None;
        }
        let since = line.since.max(quiet);
        if line.plan.direction != Direction::SendRecv || now < since + limit {
            return Some((since + limit).max(now + Duration::from_secs(1)));
        }
        line.silent = true;
        self.tell(Event::Silent { stream, since });
        None
    }
}

fn stats(codec: Codec) -> Stats {
    Stats {
        packets_in: 0,
        packets_out: 0,
        octets: 0,
        lost: 0,
        late: 0,
        duplicate: 0,
        foreign: 0,
        bad: 0,
        forged: 0,
        jitter_us: 0,
        concealed_ms: 0,
        last_packet: None,
        codec,
        quality: None,
    }
}
