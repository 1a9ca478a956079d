//! The rim of the sound: a socket a leg, a pinned thread a core, a beat of 20 ms.
//!
//! [`Media`] is the owner's handle: it lends ports, knows which thread has which stream (`route`) and passes commands on.
//! A mixer thread sleeps until its beat, takes what its sockets hold, ticks its engine and sends; it waits for nothing
//! else, locks nothing, and without streams it sleeps until a command comes.
//!
//! A socket a leg, swept once a tick by blocking-free `recv_from`: batching of system calls, io_uring and GSO were
//! measured to give at most 10 %, a task a socket costs twice as much.

use super::beat::{Beat, Due, TICK};
use super::counts::{Count, Counters, Counts};
use super::ports::{Exhausted, Ports};
use super::recorder::{Reel, Tap};
use super::route::Routes;
use super::rtp::monitor::REPORT_MOST;
use super::sdp::crypto::Secret;
use super::{Carried, Command, Engine, Event, Outcome, Plan, Refusal, RoomId, Slot, Stats, StreamId, Target};
use crate::clock::{self, Mono, Now};
use crate::priority::Priority;
use crate::types::Addresses;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc as tokio_mpsc;

/// Mixer threads at most: one core mixes some thousands of legs, a range of ports ends before 64 cores do.
const MOST_THREADS: usize = 64;
/// Ports that something else on this machine holds are passed over, so many in one loan.
const MOST_TRIES: usize = 8;
/// Packets of one socket in one tick. One is due; what a network held back comes in bursts of a few; a flood stays in
/// the kernel's buffer and costs no other leg its beat.
const MOST_A_SWEEP: usize = 8;
/// Orders carried out between two ticks, lest a storm of joins delays a beat.
const MOST_A_TICK: usize = 256;
/// Orders that may wait for one thread; more means that it is stuck.
const MOST_WAITING: usize = 8_192;
/// Events that may wait for the owner.
const MOST_EVENTS: usize = 16_384;
/// Receive buffers, in bytes as the kernel counts them (some 768 a packet of ours): RTP holds 1.5 s of a leg.
const RTP_BUFFER: usize = 64 * 1024;
const RTCP_BUFFER: usize = 8 * 1024;
/// No RTP packet of ours is longer than 500 bytes; a longer datagram is cut, and refused by the engine.
const LONGEST_DATAGRAM: usize = 1_500;
/// RTCP is looked at, and sent, once in so many ticks: a second more or less is within what RFC 3550 draws by lot.
const RTCP_TICKS: u64 = 50;

/// Settings of the rim.
#[derive(Clone, Debug)]
pub struct Config {
    /// Mixer threads; 0 is one a core.
    pub threads: usize,
    /// What the sockets are bound to, of each family of addresses that is spoken.
    pub bind: Addresses,
    /// RTP takes the even ports, RTCP the odd ones.
    pub ports: RangeInclusive<u16>,
    /// Differentiated services code point of RTP; 46 is Expedited Forwarding (RFC 3246).
    pub dscp: u8,
    /// Of each thread's engine.
    pub sound: super::Config,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            threads: 0,
            bind: Addresses::only(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            ports: 10_000..=19_999,
            dscp: 46,
            sound: super::Config::default(),
        }
    }
}

/// Why the sound does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the range of ports holds no pair of an even port and the next")]
    Ports,
    #[error("cannot open a socket on {0}: {1}")]
    Bind(IpAddr, io::Error),
    #[error("cannot start a mixer thread: {0}")]
    Thread(io::Error),
}

/// Why no port is lent.
#[derive(Debug, thiserror::Error)]
pub enum NoPort {
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    #[error("something else holds the RTP ports that were tried")]
    Taken,
    #[error("cannot open an RTP socket: {0}")]
    Socket(io::Error),
}

/// A number that was lent, with its sockets: of each family of addresses that there is, until a stream is attached and it is
/// known in which one its peer speaks; of that one alone from then on. Dropped, it closes them and the number rests (see
/// [`ports`](super::ports)).
///
/// The port is not kept open while it rests: what comes late is answered "port unreachable" by the kernel and lies in no
/// buffer where the next call could find it.
#[derive(Debug)]
pub struct Port {
    number: u16,
    bind: Addresses,
    dscp: u8,
    pair: Pair,
    other: Option<Pair>,
    back: Sender<(u16, Mono)>,
}

/// RTP, and RTCP at the next number.
#[derive(Debug)]
struct Pair {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    is_ipv4: bool,
}

impl Pair {
    fn open(ip: IpAddr, number: u16, dscp: u8) -> io::Result<Pair> {
        let rtp = open(SocketAddr::new(ip, number), dscp, RTP_BUFFER)?;
        let rtcp = open(SocketAddr::new(ip, number + 1), dscp, RTCP_BUFFER)?;
        Ok(Pair { rtp, rtcp, is_ipv4: ip.is_ipv4() })
    }
}

impl Port {
    fn open(number: u16, config: &Config, back: Sender<(u16, Mono)>) -> io::Result<Port> {
        let Config { bind, dscp, .. } = *config;
        let first = bind.first();
        let pair = Pair::open(first, number, dscp)?;
        let other = bind.iter().find(|ip| *ip != first).map(|ip| Pair::open(ip, number, dscp)).transpose()?;
        Ok(Port { number, bind, dscp, pair, other, back })
    }

    /// Of RTP, in whichever family: for the session description.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// The kernel itself turns away what comes from elsewhere: strangers fill no buffer. (What lies in it already is for
    /// the engine to judge.) Where it cannot, the engine judges all.
    fn listen_to(&mut self, plan: &Plan) -> io::Result<()> {
        // A hold in the old way (0.0.0.0) is of no family.
        if !plan.remote.ip().is_unspecified() {
            self.turn_to(plan.remote.ip())?;
        }
        if !plan.learns {
            let _ = self.pair.rtp.connect(plan.remote);
            let _ = self.pair.rtcp.connect(plan.rtcp);
        }
        Ok(())
    }

    /// The sockets of the family of `remote` are opened, if they are not, and those of the other one closed. The number is
    /// this leg's in both: no other leg can have taken it.
    fn turn_to(&mut self, remote: IpAddr) -> io::Result<()> {
        let other = self.other.take();
        if self.pair.is_ipv4 != remote.is_ipv4() {
            let ip = self.bind.like(remote).ok_or(io::ErrorKind::AddrNotAvailable)?;
            self.pair = other.map_or_else(|| Pair::open(ip, self.number, self.dscp), Ok)?;
        }
        Ok(())
    }

    fn send(&self, plan: &Plan, report: &[u8]) -> io::Result<usize> {
        let socket = if plan.mux { &self.pair.rtp } else { &self.pair.rtcp };
        send(socket, report, plan.rtcp)
    }
}

/// A connected socket first tells of an ICMP answer to what was sent before: no reason to keep this back.
fn send(socket: &UdpSocket, packet: &[u8], to: SocketAddr) -> io::Result<usize> {
    match socket.send_to(packet, to) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => socket.send_to(packet, to),
        sent => sent,
    }
}

/// What lies in the socket, past any such answer; it ends no call.
fn receive(socket: &UdpSocket, datagram: &mut [u8]) -> Option<(usize, SocketAddr)> {
    match socket.recv_from(datagram) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => socket.recv_from(datagram).ok(),
        came => came.ok(),
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // Through a channel, since a mixer thread may drop it and must not wait for the pool's lock. Where nobody
        // receives, the pool is gone.
        let _ = self.back.send((self.number, clock::mono()));
    }
}

/// What a thread is told to do. For each carriage `Let` goes out before `Await`, and all under one lock: so the oldest
/// carriage can always go on, and threads that wait for each other's streams do not wait for ever.
enum Order {
    Attach {
        stream: StreamId,
        plan: Plan,
        secret: Option<Box<Secret>>,
        port: Box<Port>,
    },
    Do(Command),
    Record {
        room: RoomId,
        reel: Reel,
        tap: Tap,
    },
    Track {
        stream: StreamId,
        tap: Tap,
    },
    /// Let a stream go to another thread.
    Let {
        stream: StreamId,
        to: Sender<Parcel>,
    },
    /// Do nothing else before it has come: what follows may be meant for it.
    Await(Receiver<Parcel>),
    /// Does what no code of ours ever may: for tests of what then happens.
    #[cfg(test)]
    Break,
}

impl Order {
    /// The stream that is lost with it.
    fn stream(&self) -> Option<StreamId> {
        match self {
            Order::Attach { stream, .. } | Order::Let { stream, .. } => Some(*stream),
            // A recording whose track is lost is silent there, and no stream is.
            Order::Do(_) | Order::Await(_) | Order::Record { .. } | Order::Track { .. } => None,
            #[cfg(test)]
            Order::Break => None,
        }
    }
}

/// A stream on its way between threads, with its sockets.
struct Parcel {
    stream: Carried,
    port: Box<Port>,
}

struct Lane {
    orders: Sender<Order>,
    waiting: Arc<AtomicUsize>,
}

struct Pool {
    ports: Ports,
    back: Receiver<(u16, Mono)>,
}

struct Shared {
    config: Config,
    lanes: Vec<Lane>,
    routes: Mutex<Routes>,
    pool: Mutex<Pool>,
    back: Sender<(u16, Mono)>,
    counters: Arc<Counters>,
}

/// The owner's handle, cheap to clone. With the last one the threads end.
#[derive(Clone)]
pub struct Media(Arc<Shared>);

impl Media {
    /// Starts the threads. `seed` should not be guessable: SSRCs, first numbers and the order of ports come of it.
    /// Events come with the moment of their tick; those that the owner leaves lying beyond a limit are lost and counted.
    pub fn start(config: Config, seed: u64) -> Result<(Media, tokio_mpsc::Receiver<(Mono, Event)>), Error> {
        let mut ports = Ports::new(config.ports.clone(), seed);
        if ports.census(clock::mono()).free == 0 {
            return Err(Error::Ports);
        }
        for ip in config.bind.iter() {
            open(SocketAddr::new(ip, 0), config.dscp, RTP_BUFFER).map_err(|e| Error::Bind(ip, e))?;
        }

        let count = match config.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            count => count,
        };
        let count = count.min(MOST_THREADS);
        let (events, owner) = tokio_mpsc::channel(MOST_EVENTS);
        let counters = Arc::new(Counters::default());
        let lanes = (0..count).map(|nth| {
            let (lane, mixer) = Mixer::new(&config, seed, (nth, count), events.clone(), counters.clone());
            let named = std::thread::Builder::new().name(format!("mixer-{nth}"));
            named.spawn(move || mixer.run(nth)).map_err(Error::Thread).map(|_| lane)
        });
        let lanes = lanes.collect::<Result<_, _>>()?;
        let (back, given_back) = mpsc::channel();
        let routes = Mutex::new(Routes::new(count, config.sound.most_streams));
        let pool = Mutex::new(Pool { ports, back: given_back });
        Ok((Media(Arc::new(Shared { config, lanes, routes, pool, back, counters })), owner))
    }

    /// Lends a pair of ports, bound and ready: what comes before [`Media::attach`] waits in the socket.
    pub fn lend(&self, now: Mono) -> Result<Port, NoPort> {
        for _ in 0..MOST_TRIES {
            let number = self.pool().ports.lend(now)?;
            match Port::open(number, &self.0.config, self.0.back.clone()) {
                Ok(port) => return Ok(port),
                Err(error) => {
                    self.pool().ports.give_back(number, now);
                    if error.kind() != io::ErrorKind::AddrInUse {
                        return Err(NoPort::Socket(error));
                    }
                }
            }
        }
        Err(NoPort::Taken)
    }

    /// How many pairs could be lent now.
    pub fn ports(&self) -> usize {
        self.pool().ports.ready(clock::mono())
    }

    /// A new stream at a lent port, as [`Command::Attach`] describes it. Refused, the port goes back.
    pub fn attach(&self, stream: StreamId, port: Port, plan: Plan, secret: Option<Box<Secret>>) -> Result<(), Refusal> {
        let mut routes = self.routes()?;
        let thread = routes.attach(stream)?;
        self.order(thread, Order::Attach { stream, plan, secret, port: Box::new(port) })
    }

    /// Passes a command to the thread that it is for. It is carried out after the next tick; commands keep their order.
    /// [`Command::Attach`] has no port and is refused: see [`Media::attach`].
    pub fn command(&self, command: Command) -> Result<(), Refusal> {
        let mut routes = self.routes()?;
        let thread = match &command {
            Command::Attach { .. } => return Err(Refusal::Unknown),
            Command::Join { stream, room } => {
                let way = routes.join(*stream, *room)?;
                if way.from != way.to {
                    self.carry(*stream, way.from, way.to)?;
                }
                way.to
            }
            Command::PauseRecording { room, .. } | Command::StopRecording { room } => {
                routes.thread_for(Target::Room(*room))?
            }
            Command::Leave { stream } => routes.leave(*stream)?,
            Command::Detach { stream } => routes.detach(*stream)?,
            Command::Play { target, .. } | Command::Stop { target } => routes.thread_for(*target)?,
            Command::Change { stream, .. }
            | Command::Secure { stream, .. }
            | Command::Mute { stream, .. }
            | Command::Deafen { stream, .. }
            | Command::Gag { stream, .. }
            | Command::Confide { stream, .. }
            | Command::Gain { stream, .. }
            | Command::HandOver { stream }
            | Command::Press { stream, .. } => routes.thread_of(*stream)?,
        };
        self.order(thread, Order::Do(command))
    }

    /// Records a room from the next tick on, as [`Engine::record`] does.
    pub fn record(&self, room: RoomId, reel: Reel, tap: Tap) -> Result<(), Refusal> {
        let routes = self.routes()?;
        let thread = routes.thread_for(Target::Room(room))?;
        self.order(thread, Order::Record { room, reel, tap })
    }

    /// A track of one stream's own, as [`Engine::track`] does.
    pub fn track(&self, stream: StreamId, tap: Tap) -> Result<(), Refusal> {
        let routes = self.routes()?;
        let thread = routes.thread_of(stream)?;
        self.order(thread, Order::Track { stream, tap })
    }

    pub fn counts(&self) -> Counts {
        let (streams, rooms) = {
            let routes = self.0.routes.lock().unwrap_or_else(PoisonError::into_inner);
            (routes.streams(), routes.rooms())
        };
        let ports = self.pool().ports.census(clock::mono());
        Counts { streams, rooms, ports, ..self.0.counters.read() }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        let mut pool = self.0.pool.lock().unwrap_or_else(PoisonError::into_inner);
        while let Ok((number, at)) = pool.back.try_recv() {
            pool.ports.give_back(number, at);
        }
        pool
    }

    /// The routes, if every thread has room for what may follow from them.
    fn routes(&self) -> Result<MutexGuard<'_, Routes>, Refusal> {
        let routes = self.0.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let roomy = |lane: &Lane| lane.waiting.load(Ordering::Relaxed) < MOST_WAITING;
        if self.0.lanes.iter().all(roomy) { Ok(routes) } else { Err(Refusal::Full) }
    }

    fn carry(&self, stream: StreamId, from: usize, to: usize) -> Result<(), Refusal> {
        let (parcel, arrival) = mpsc::channel();
        self.order(from, Order::Let { stream, to: parcel })?;
        self.order(to, Order::Await(arrival))
    }

    fn order(&self, thread: usize, order: Order) -> Result<(), Refusal> {
        let lane = &self.0.lanes[thread];
        lane.waiting.fetch_add(1, Ordering::Relaxed);
        lane.orders.send(order).map_err(|_| Refusal::Unknown)
    }
}

/// A socket as RTP wants it: never blocking, marked for the network, with a buffer that a pause does not overflow.
fn open(at: SocketAddr, dscp: u8, buffer: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(at), Type::DGRAM.nonblocking(), Some(Protocol::UDP))?;
    // Bits 2 to 7 of the old TOS octet (RFC 2474 section 3).
    let tos = u32::from(dscp & 63) << 2;
    if at.is_ipv4() {
        socket.set_tos_v4(tos)?
    } else {
        // IPv4 has a socket of its own at the same number.
        socket.set_only_v6(true)?;
        socket.set_tclass_v6(tos)?
    }
    socket.set_recv_buffer_size(buffer)?;
    socket.bind(&at.into())?;
    Ok(socket.into())
}

/// One thread: an engine, and the sockets of its streams at the same places.
struct Mixer {
    engine: Engine,
    /// For the engine that takes its place, should it panic.
    sound: super::Config,
    seed: u64,
    /// The stream that is being taken in or let go just now: in no engine, if that goes wrong.
    in_hand: Option<StreamId>,
    /// Streams that a panic ended, with their figures, until their owner detaches them.
    broken: HashMap<StreamId, Stats>,
    ports: Vec<Option<Box<Port>>>,
    orders: Receiver<Order>,
    waiting: Arc<AtomicUsize>,
    awaited: Option<Receiver<Parcel>>,
    events: tokio_mpsc::Sender<(Mono, Event)>,
    counters: Arc<Counters>,
    /// The engine's own count of lost events, as last told.
    lost_events: u64,
    phase: std::time::Duration,
    tick: u64,
    datagram: [u8; LONGEST_DATAGRAM],
}

/// No handle is left.
struct Orphaned;

impl Mixer {
    fn new(
        config: &Config,
        seed: u64,
        (nth, of): (usize, usize),
        events: tokio_mpsc::Sender<(Mono, Event)>,
        counters: Arc<Counters>,
    ) -> (Lane, Mixer) {
        let (sender, orders) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let seed = seed.wrapping_add(nth as u64);
        let mixer = Mixer {
            engine: Engine::new(config.sound.clone(), seed),
            sound: config.sound.clone(),
            seed,
            in_hand: None,
            broken: HashMap::new(),
            ports: Vec::new(),
            orders,
            waiting: waiting.clone(),
            awaited: None,
            events,
            counters,
            lost_events: 0,
            phase: TICK * nth as u32 / of as u32,
            tick: 0,
            datagram: [0; LONGEST_DATAGRAM],
        };
        (Lane { orders: sender, waiting }, mixer)
    }

    fn run(mut self, nth: usize) {
        thread::pin(nth);
        Priority::Beat.take();
        // What a panic leaves is looked at no more, but for names and figures: a new engine takes the place.
        while catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
            self.recover(clock::mono());
        }
    }

    /// Returns when the last handle is gone. Plays first: a panic may have interrupted it while a stream was on its way.
    fn work(&mut self) {
        while self.play().is_ok() {
            let Ok(order) = self.orders.recv() else { return };
            self.carry_out(clock::mono(), order);
        }
    }

    /// A panic is a bug of ours, and what it leaves cannot be trusted: all streams of this thread are ended and told, so
    /// that their calls are hung up and charged for what was heard. The thread, and all others, go on for new calls.
    fn recover(&mut self, now: Mono) {
        self.counters.add(Count::Panics, 1);
        let figures = |mixer: &Mixer| {
            let streams = mixer.engine.streams().chain(mixer.in_hand);
            streams.map(|stream| (stream, mixer.engine.stats(stream))).collect::<Vec<_>>()
        };
        let lost = catch_unwind(AssertUnwindSafe(|| figures(self)));
        // Names alone come of a map that no code of ours can leave half changed.
        let lost = lost.unwrap_or_else(|_| self.engine.streams().map(|stream| (stream, None)).collect());
        tracing::error!(
            streams = lost.len(),
            "a mixer thread panicked: its streams are ended, a new engine takes over"
        );

        self.seed = self.seed.wrapping_add(MOST_THREADS as u64);
        self.engine = Engine::new(self.sound.clone(), self.seed);
        (self.lost_events, self.in_hand) = (0, None);
        self.ports.clear();
        for (stream, stats) in lost {
            self.broken.extend(stats.map(|stats| (stream, stats)));
            self.say(now, Event::Broken { stream });
        }
    }

    /// The beat, for as long as there is a stream.
    fn play(&mut self) -> Result<(), Orphaned> {
        let mut beat = Beat::start(clock::mono(), self.phase);
        self.obey(clock::mono())?;
        while !self.engine.is_empty() || self.awaited.is_some() {
            thread::sleep_until(beat.deadline());
            let due = beat.wake(clock::mono());
            for _ in 0..due.ticks {
                self.tick();
            }
            self.count(due);
            self.obey(clock::mono())?;
        }
        Ok(())
    }

    /// One tick. Orders come after it: whoever joins waits, not who talks.
    fn tick(&mut self) {
        let now = clock::mono();
        self.sweep(now);
        self.engine.tick(now);
        self.send();
        self.sweep_rtcp(now);
        self.tick += 1;
    }

    fn sweep(&mut self, now: Mono) {
        let (mut packets, mut overflows) = (0, 0);
        for (index, port) in self.ports.iter().enumerate() {
            let Some(port) = port else { continue };
            let slot = Slot(index as u32);
            let mut share = MOST_A_SWEEP;
            while share > 0
                && let Some((length, from)) = receive(&port.pair.rtp, &mut self.datagram)
            {
                self.engine.receive(now, slot, from, &self.datagram[..length]);
                share -= 1;
            }
            packets += (MOST_A_SWEEP - share) as u64;
            overflows += u64::from(share == 0);
        }
        self.counters.add(Count::PacketsIn, packets);
        self.counters.add(Count::Overflows, overflows);
    }

    fn send(&self) {
        let (mut sent, mut unsent) = (0, 0);
        for out in self.engine.outgoing() {
            let Some(Some(port)) = self.ports.get(out.slot.index()) else { continue };
            match send(&port.pair.rtp, out.packet, out.to) {
                Ok(_) => sent += 1,
                Err(_) => unsent += 1,
            }
        }
        self.counters.add(Count::PacketsOut, sent);
        self.counters.add(Count::Unsent, unsent);
    }

    /// Each tick a fiftieth of the sockets: what came, and what is due.
    fn sweep_rtcp(&mut self, now: Mono) {
        let (mut packets, mut sent) = (0, 0);
        let stamp = Now { mono: now, wall: clock::wall() };
        let turn = (self.tick % RTCP_TICKS) as usize;
        for (index, port) in self.ports.iter().enumerate().skip(turn).step_by(RTCP_TICKS as usize) {
            let Some(port) = port else { continue };
            let mut share = MOST_A_SWEEP;
            while share > 0
                && let Some((length, from)) = receive(&port.pair.rtcp, &mut self.datagram)
            {
                self.engine.receive_rtcp(now, Slot(index as u32), from, &self.datagram[..length]);
                share -= 1;
            }
            packets += (MOST_A_SWEEP - share) as u64;
            if let Some((report, plan)) = self.engine.report(stamp, Slot(index as u32), false, &mut [0; REPORT_MOST]) {
                sent += u64::from(port.send(plan, report).is_ok());
            }
        }
        self.counters.add(Count::RtcpIn, packets);
        self.counters.add(Count::RtcpOut, sent);
    }

    fn count(&self, due: Due) {
        self.counters.add(Count::Ticks, due.ticks);
        self.counters.add(Count::Late, due.late);
        self.counters.add(Count::Skipped, due.skipped);
    }

    /// Carries out what waits, and tells what came of it.
    fn obey(&mut self, now: Mono) -> Result<(), Orphaned> {
        for _ in 0..MOST_A_TICK {
            if !self.has_arrived() {
                break;
            }
            match self.orders.try_recv() {
                Ok(order) => self.carry_out(now, order),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(Orphaned),
            }
        }
        self.tell(now);
        Ok(())
    }

    /// False as long as a stream is on its way here.
    fn has_arrived(&mut self) -> bool {
        let Some(awaited) = &self.awaited else { return true };
        match awaited.try_recv() {
            Ok(parcel) => self.unpack(parcel),
            Err(TryRecvError::Empty) => return false,
            // The other thread did not have it.
            Err(TryRecvError::Disconnected) => self.counters.add(Count::Refused, 1),
        }
        self.awaited = None;
        true
    }

    fn carry_out(&mut self, now: Mono, order: Order) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.in_hand = order.stream();
        self.obey_one(now, order);
        self.in_hand = None;
    }

    fn obey_one(&mut self, now: Mono, order: Order) {
        match order {
            Order::Attach { stream, plan, secret, port } => {
                if let Ok(Outcome::Opened(slot)) = self.command(now, Command::Attach { stream, plan }) {
                    self.house(slot, port);
                    self.listen(slot, &plan);
                    let _ = self.command(now, Command::Secure { stream, secret });
                }
            }
            Order::Do(Command::Change { stream, plan }) => {
                if self.command(now, Command::Change { stream, plan }).is_ok()
                    && let Some(slot) = self.engine.slot(stream)
                {
                    self.listen(slot, &plan);
                }
            }
            Order::Do(Command::Detach { stream }) if self.broken.contains_key(&stream) => {
                if let Some(stats) = self.broken.remove(&stream) {
                    self.say(now, Event::Detached { stream, stats });
                }
            }
            Order::Do(command) => {
                if let Command::Detach { stream } = command {
                    self.say_goodbye(now, stream);
                }
                if let Ok(Outcome::Closed(slot)) = self.command(now, command) {
                    self.ports[slot.index()] = None;
                }
            }
            Order::Record { room, reel, tap } => {
                let done = self.engine.record(room, reel, tap);
                self.counters.add(Count::Refused, u64::from(done.is_err()));
            }
            Order::Track { stream, tap } => {
                let done = self.engine.track(stream, tap);
                self.counters.add(Count::Refused, u64::from(done.is_err()));
            }
            Order::Let { stream, to } => self.pack(stream, &to),
            Order::Await(parcel) => self.awaited = Some(parcel),
            #[cfg(test)]
            Order::Break => panic!("planted by a test"),
        }
    }

    /// The last report (RFC 3550 section 6.3.7).
    fn say_goodbye(&mut self, now: Mono, stream: StreamId) {
        let Some(slot) = self.engine.slot(stream) else { return };
        let Some(Some(port)) = self.ports.get(slot.index()) else { return };
        let stamp = Now { mono: now, wall: clock::wall() };
        if let Some((report, plan)) = self.engine.report(stamp, slot, true, &mut [0; REPORT_MOST]) {
            self.counters.add(Count::RtcpOut, u64::from(port.send(plan, report).is_ok()));
        }
    }

    fn command(&mut self, now: Mono, command: Command) -> Result<Outcome, Refusal> {
        let mark = match &command {
            Command::Play { target, mark, .. } => Some((*target, *mark)),
            _ => None,
        };
        let outcome = self.engine.command(now, command);
        if outcome.is_err() {
            self.counters.add(Count::Refused, 1);
            // Whoever waits for the end of a prompt is not left waiting.
            if let Some((target, mark)) = mark {
                self.say(now, Event::Played { target, mark, whole: false });
            }
        }
        outcome
    }

    fn house(&mut self, slot: Slot, port: Box<Port>) {
        if self.ports.len() <= slot.index() {
            self.ports.resize_with(slot.index() + 1, || None);
        }
        self.ports[slot.index()] = Some(port);
    }

    /// Where the sockets that this takes cannot be opened the leg is silent, which its deadlines end.
    fn listen(&mut self, slot: Slot, plan: &Plan) {
        let listens = self.ports[slot.index()].as_mut().is_none_or(|port| port.listen_to(plan).is_ok());
        self.counters.add(Count::Refused, u64::from(!listens));
    }

    fn pack(&mut self, stream: StreamId, to: &Sender<Parcel>) {
        // Refused, `to` is dropped: the other side learns that nothing comes.
        let Ok((slot, stream)) = self.engine.take(stream) else { return };
        if let Some(port) = self.ports[slot.index()].take() {
            // Where nobody receives, all handles are gone, and so is the call.
            let _ = to.send(Parcel { stream, port });
        }
    }

    fn unpack(&mut self, parcel: Parcel) {
        self.in_hand = Some(parcel.stream.stream());
        match self.engine.give(parcel.stream) {
            Ok(slot) => self.house(slot, parcel.port),
            Err(_) => self.counters.add(Count::Refused, 1),
        }
        self.in_hand = None;
    }

    fn tell(&mut self, now: Mono) {
        let mut lost = 0;
        for event in self.engine.events() {
            lost += u64::from(self.events.try_send((now, event)).is_err());
        }
        lost += self.engine.lost_events() - self.lost_events;
        self.lost_events = self.engine.lost_events();
        self.counters.add(Count::LostEvents, lost);
    }

    fn say(&self, now: Mono, event: Event) {
        let lost = self.events.try_send((now, event)).is_err();
        self.counters.add(Count::LostEvents, u64::from(lost));
    }
}

/// What std has no word for: cores, absolute deadlines.
mod thread {
    use crate::clock::{self, Mono};

    /// To the nth core that this process may use. Where it may not, the thread goes where the kernel puts it.
    pub fn pin(nth: usize) {
        // SAFETY: a set of bits that the calls fill and read within its size; 0 is the calling thread.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            let size = size_of::<libc::cpu_set_t>();
            if libc::sched_getaffinity(0, size, &mut set) != 0 {
                return;
            }
            let cores = (0..libc::CPU_SETSIZE as usize).filter(|core| libc::CPU_ISSET(*core, &set));
            let cores: Vec<usize> = cores.collect();
            let Some(core) = cores.get(nth % cores.len().max(1)) else { return };
            libc::CPU_ZERO(&mut set);
            libc::CPU_SET(*core, &mut set);
            libc::sched_setaffinity(0, size, &set);
        }
    }

    /// Sleeps until a moment of the clock that [`clock::mono`] reads; a signal may wake it early.
    pub fn sleep_until(moment: Mono) {
        let nanos = moment.nanos();
        let until = libc::timespec {
            tv_sec: (nanos / 1_000_000_000) as libc::time_t,
            tv_nsec: (nanos % 1_000_000_000) as libc::c_long,
        };
        // SAFETY: one timespec that lives here; nothing is written back for an absolute deadline.
        let failed =
            unsafe { libc::clock_nanosleep(libc::CLOCK_BOOTTIME, libc::TIMER_ABSTIME, &until, std::ptr::null_mut()) };
        // A kernel without this clock for sleeping must not make a loop of it.
        if failed != 0 && failed != libc::EINTR {
            std::thread::sleep(moment.since(clock::mono()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::ports::{LEAST, REST};
    use crate::media::{Codec, RoomId, Target};
    use std::time::Duration;

    /// Packets after which what should be heard must have been, and what should not be heard would have been.
    const PATIENCE: usize = 60;

    /// An address of 127/8 for one test of this process alone: tests of other checkouts may run beside it.
    fn address(test: u8) -> IpAddr {
        let [.., high, low] = std::process::id().to_be_bytes();
        IpAddr::from([127, high.max(1), low, test])
    }

    fn start(test: u8, threads: usize, pairs: u16) -> (Media, tokio_mpsc::Receiver<(Mono, Event)>) {
        let sound = super::super::Config { most_streams: 8, ..Default::default() };
        let ports = 20_000..=20_000 + pairs * 2 - 1;
        let bind = address(test).into();
        Media::start(Config { threads, bind, ports, sound, ..Config::default() }, 7).unwrap()
    }

    /// A telephone: it speaks whenever it hears, so that the bridge's beat is its clock.
    struct Phone {
        socket: UdpSocket,
        bridge: SocketAddr,
        sequence: u16,
    }

    impl Phone {
        fn call(media: &Media, test: u8, stream: u64) -> Phone {
            Phone::call_from(media, address(test), stream)
        }

        /// To the bridge's own address, which is the phone's too.
        fn call_from(media: &Media, ip: IpAddr, stream: u64) -> Phone {
            let port = media.lend(clock::mono()).unwrap();
            let phone = Phone::aimed(ip, port.number());
            let plan = Plan::plain(phone.socket.local_addr().unwrap(), Codec::Pcmu, 0);
            media.attach(StreamId(stream), port, plan, None).unwrap();
            phone
        }

        fn aimed(ip: IpAddr, number: u16) -> Phone {
            let socket = UdpSocket::bind((ip, 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            Phone { socket, bridge: SocketAddr::new(ip, number), sequence: 0 }
        }

        /// A square wave of 400 Hz.
        fn say(&mut self, peak: i16) {
            self.sequence += 1;
            let stamp = u32::from(self.sequence) * 160;
            let mut packet = vec![0x80, 0];
            packet.extend(self.sequence.to_be_bytes());
            packet.extend(stamp.to_be_bytes());
            packet.extend(7u32.to_be_bytes());
            let sound: Vec<i16> = (0..160).map(|i| if i / 10 % 2 == 0 { peak } else { -peak }).collect();
            packet.resize(172, 0);
            Codec::Pcmu.encode(&sound, &mut packet[12..]);
            self.socket.send_to(&packet, self.bridge).unwrap();
        }

        /// What lies in the socket from before is not the bridge's beat.
        fn forget(&self) {
            self.socket.set_nonblocking(true).unwrap();
            while self.socket.recv_from(&mut [0; 500]).is_ok() {}
            self.socket.set_nonblocking(false).unwrap();
        }

        /// The loudest sample of the next packet.
        fn hear(&self) -> i16 {
            let mut packet = [0; 500];
            let (length, from) = self.socket.recv_from(&mut packet).unwrap();
            assert_eq!((length, from), (172, self.bridge));
            let mut sound = [0; 160];
            Codec::Pcmu.decode(&packet[12..length], &mut sound);
            sound.iter().map(|sample| sample.saturating_abs()).max().unwrap()
        }
    }

    fn is_heard(speaker: &mut Phone, listener: &Phone) -> bool {
        listener.forget();
        (0..PATIENCE).any(|_| {
            speaker.say(8_000);
            listener.hear() > 6_000
        })
    }

    fn join(media: &Media, streams: &[u64], room: u64) {
        for stream in streams {
            media.command(Command::Join { stream: StreamId(*stream), room: RoomId(room) }).unwrap();
        }
    }

    fn end(media: &Media, events: &mut tokio_mpsc::Receiver<(Mono, Event)>, stream: u64) -> Stats {
        media.command(Command::Detach { stream: StreamId(stream) }).unwrap();
        loop {
            if let (_, Event::Detached { stream: ended, stats }) = events.blocking_recv().unwrap()
                && ended == StreamId(stream)
            {
                return stats;
            }
        }
    }

    #[test]
    fn two_in_a_room_hear_each_other() {
        let (media, mut events) = start(1, 1, 4);
        let (mut one, mut other) = (Phone::call(&media, 1, 1), Phone::call(&media, 1, 2));
        join(&media, &[1, 2], 1);
        assert!(is_heard(&mut one, &other));
        assert!(is_heard(&mut other, &one));
        let stats = end(&media, &mut events, 1);
        assert!(stats.packets_in > 0 && stats.packets_out > 0);
        assert_eq!((stats.foreign, stats.bad), (0, 0));
        let counts = media.counts();
        assert!(counts.packets_in >= stats.packets_in && counts.packets_out >= stats.packets_out);
        assert_eq!((counts.streams, counts.rooms, counts.refused), (1, 1, 0));
    }

    #[test]
    fn a_stream_moves_to_the_thread_of_its_room_and_keeps_its_line() {
        let (media, mut events) = start(2, 2, 4);
        let (mut one, mut other) = (Phone::call(&media, 2, 1), Phone::call(&media, 2, 2));
        let thread_of = |stream| media.routes().unwrap().thread_of(StreamId(stream)).unwrap();
        assert_ne!(thread_of(1), thread_of(2));
        join(&media, &[1, 2], 1);
        assert_eq!(thread_of(1), thread_of(2));
        assert!(is_heard(&mut one, &other));
        assert!(is_heard(&mut other, &one));
        // There and back: the other goes alone into a new room on the idle thread, then back.
        for room in 2..20 {
            join(&media, &[2], room);
            join(&media, &[2], 1);
        }
        assert!(is_heard(&mut other, &one));
        assert_eq!(end(&media, &mut events, 2).bad, 0);
        assert_eq!(media.counts().refused, 0);
    }

    #[test]
    fn a_panic_ends_the_streams_of_its_thread_and_no_others() {
        let (media, mut events) = start(8, 2, 6);
        let (mut one, other) = (Phone::call(&media, 8, 1), Phone::call(&media, 8, 2));
        let (mut far, further) = (Phone::call(&media, 8, 3), Phone::call(&media, 8, 4));
        join(&media, &[1, 2], 1);
        join(&media, &[3, 4], 2);
        let thread_of = |stream| media.routes().unwrap().thread_of(StreamId(stream)).unwrap();
        assert_ne!(thread_of(1), thread_of(3));
        assert!(is_heard(&mut one, &other) && is_heard(&mut far, &further));
        media.order(thread_of(1), Order::Break).unwrap();
        let mut broken = Vec::new();
        while broken.len() < 2 {
            if let (_, Event::Broken { stream }) = events.blocking_recv().unwrap() {
                broken.push(stream.0);
            }
        }
        assert_eq!(broken, [1, 2]);
        assert_eq!(media.counts().panics, 1);
        // Their figures are not lost, their ports rest, and their places are free.
        assert!(end(&media, &mut events, 1).packets_in > 0 && end(&media, &mut events, 2).packets_out > 0);
        assert_eq!(media.counts().streams, 2);
        assert!(is_heard(&mut far, &further), "the other thread never stopped");
        let (mut next, last) = (Phone::call(&media, 8, 5), Phone::call(&media, 8, 6));
        join(&media, &[5, 6], 3);
        assert_eq!(thread_of(5), 0);
        assert!(is_heard(&mut next, &last), "nor is the thread lost");
    }

    #[test]
    fn a_stranger_is_neither_heard_nor_answered() {
        let (media, mut events) = start(3, 1, 4);
        let (victim, mut friend) = (Phone::call(&media, 3, 1), Phone::call(&media, 3, 2));
        join(&media, &[1, 2], 1);
        let mut stranger = Phone::aimed(address(3), victim.bridge.port());
        for _ in 0..PATIENCE {
            stranger.say(8_000);
            assert!(friend.hear() < 100);
        }
        assert!(is_heard(&mut friend, &victim));
        let stats = end(&media, &mut events, 1);
        // Whether the kernel turned all of them away, or some came before it knew, is a matter of moments.
        assert_eq!(stats.packets_in, 0);
        stranger.socket.set_nonblocking(true).unwrap();
        assert!(stranger.socket.recv_from(&mut [0; 500]).is_err());
    }

    #[test]
    fn both_families_meet_and_a_call_goes_over_from_one_to_the_other() {
        let (v4, v6) = (address(9), IpAddr::from(std::net::Ipv6Addr::LOCALHOST));
        let bind = Addresses::new(&[v4, v6]).unwrap();
        // Others may hold some of these at the one loopback address of IPv6.
        let config = Config { threads: 1, bind, ports: 20_000..=29_999, ..Config::default() };
        let (media, mut events) = Media::start(config, u64::from(std::process::id())).unwrap();
        let (mut one, mut other) = (Phone::call_from(&media, v4, 1), Phone::call_from(&media, v6, 2));
        join(&media, &[1, 2], 1);
        assert!(is_heard(&mut one, &other) && is_heard(&mut other, &one));
        let number = other.bridge.port();
        for ip in [v4, v6] {
            other = Phone { sequence: other.sequence, ..Phone::aimed(ip, number) };
            let plan = Plan::plain(other.socket.local_addr().unwrap(), Codec::Pcmu, 0);
            media.command(Command::Change { stream: StreamId(2), plan }).unwrap();
            assert!(is_heard(&mut one, &other) && is_heard(&mut other, &one), "{ip}");
            for (of, is_open) in [(v4, ip == v4), (v6, ip == v6)] {
                assert_eq!(UdpSocket::bind((of, number)).is_err(), is_open, "a leg has the sockets that it uses: {of}");
            }
        }
        assert_eq!((end(&media, &mut events, 2).foreign, media.counts().refused), (0, 0));
    }

    #[test]
    fn ports_run_out_rest_and_come_back() {
        let (media, _events) = start(4, 1, 2);
        let now = clock::mono();
        let [one, _other] = [media.lend(now).unwrap(), media.lend(now).unwrap()];
        assert!(matches!(media.lend(now), Err(NoPort::Exhausted(_))));
        let number = one.number();
        drop(one);
        assert!(matches!(media.lend(now), Err(NoPort::Exhausted(_))), "it rests");
        assert_eq!(media.counts().ports, crate::media::ports::Census { free: 0, lent: 1, resting: 1 });
        assert_eq!(media.lend(clock::mono() + LEAST).unwrap().number(), number, "there is no other");
    }

    #[test]
    fn a_port_that_somebody_holds_is_passed_over() {
        let held = UdpSocket::bind((address(5), 20_001)).unwrap();
        let (media, _events) = start(5, 1, 2);
        assert_eq!(media.lend(clock::mono()).unwrap().number(), 20_002);
        drop(held);
        let held = UdpSocket::bind((address(5), 20_003)).unwrap();
        assert!(matches!(media.lend(clock::mono() + 2 * REST), Ok(port) if port.number() == 20_000));
        drop(held);
    }

    #[test]
    fn packets_are_marked_for_the_network() {
        let (media, _events) = start(6, 1, 1);
        let port = media.lend(clock::mono()).unwrap();
        for socket in [&port.pair.rtp, &port.pair.rtcp] {
            assert_eq!(socket2::SockRef::from(socket).tos_v4().unwrap(), 46 << 2);
        }
        let socket = open((std::net::Ipv6Addr::LOCALHOST, 0).into(), 46, RTP_BUFFER).unwrap();
        assert_eq!(socket2::SockRef::from(&socket).tclass_v6().unwrap(), 46 << 2);
    }

    #[test]
    fn what_cannot_start_says_why() {
        let refused = |config: Config| Media::start(config, 1).err().unwrap().to_string();
        assert!(refused(Config { ports: 10_001..=10_002, ..Config::default() }).starts_with("the range of ports"));
        let bind = IpAddr::from([192, 0, 2, 1]).into();
        assert!(refused(Config { bind, ..Config::default() }).starts_with("cannot open a socket on 192.0.2.1"));
    }

    #[test]
    fn commands_for_nobody_are_refused_at_once() {
        let (media, _events) = start(7, 2, 1);
        let stream = StreamId(9);
        for command in [
            Command::Join { stream, room: RoomId(1) },
            Command::Leave { stream },
            Command::Mute { stream, on: true },
            Command::Detach { stream },
            Command::Stop { target: Target::Room(RoomId(1)) },
        ] {
            assert_eq!(media.command(command), Err(Refusal::Unknown));
        }
    }
}
