//! Where SIP meets the world: UDP sockets, TCP and TLS connections, and the one task that owns the [`Endpoint`].
//!
//! The task never waits for anybody: what its owner does not fetch is kept and new calls are refused meanwhile, what a
//! connection does not take closes it.

use super::datagram::io::read_datagrams;
use super::datagram::is_new_call;
use super::dns::io::{Client, Servers};
use super::thread::Hurry;
use super::thread::io::start_thread;
use super::tls::{self, Tls};
use super::transport::{Fate, Frame, PONG, Pinged, StreamFramer, is_keep_alive};
use super::{Command, Config, Counters, Endpoint, Event, Flow, Malformed, Output, Said, Transport, dns};
use crate::clock::{Mono, Now, Wall};
use crate::telemetry::name;
use bytes::{Bytes, BytesMut};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Messages that wait for the endpoint. Beyond it datagrams are dropped (they come again) and connections wait.
const INBOX: usize = 4_096;
/// So many of them, and new calls are turned away: what is of calls that there are is not to be dropped for them.
const FLOODED: usize = INBOX / 2;
/// Commands that wait for the endpoint; whoever commands waits beyond it.
const COMMANDS: usize = 1_024;
/// Questions of people that wait for the endpoint, and how long one waits for its answer.
const QUESTIONS: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);
/// Events that wait for our owner; beyond it new calls are refused.
const EVENTS: usize = 1_024;
/// Messages taken in one go, of new calls and of others each, before timers, commands and readers have their turn.
const BATCH: usize = 16;
/// Buffers of a UDP socket: a second of 2,000 messages.
const SOCKET_BUFFER: usize = 4 * 1024 * 1024;
/// What one read of a connection may bring.
const READ: usize = 16 * 1024;
/// Connections of one address: a carrier's busiest proxy keeps a handful.
const MAX_CONNECTIONS_PER_SOURCE: usize = 100;
/// Connections in all.
const MAX_CONNECTIONS: usize = 2_000;
/// Of these, strangers may hold so many: the rest is for listed sources.
const MAX_STRANGERS: usize = 1_000;
/// Messages that a connection may leave unread.
const WRITE_QUEUE: usize = 256;
/// How long a listed source may be silent on a connection that carries no call, and how long a stranger: with [`SWEEP`] 32 s,
/// in which whoever asked has been answered (timer F).
const IDLE: Duration = Duration::from_secs(120);
const IDLE_STRANGER: Duration = Duration::from_secs(28);
/// How often idle connections are looked for.
const SWEEP: Duration = Duration::from_secs(4);
/// How long a message may take to come whole, and one of ours to be taken.
const STALL: Duration = Duration::from_secs(15);
/// How long a connection may take to be made: well within timer B.
const CONNECT: Duration = Duration::from_secs(8);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 1_024;

/// Why SIP could not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen for SIP on {transport:?} {address}: {source}")]
    Listen { transport: Transport, address: SocketAddr, source: io::Error },
    #[error("cannot start the thread of SIP: {0}")]
    Thread(io::Error),
}

/// The state of the room, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    pub calls: usize,
    pub transactions: usize,
    pub connections: usize,
    /// Registrations that are being taken back.
    pub leaving: usize,
    /// Who watches.
    pub subscriptions: usize,
    /// Bytes of messages that are kept for whoever looks for trouble.
    pub remembered: usize,
    /// REFERs that are under way.
    pub referrals: usize,
    /// Commands that were carried out.
    pub obeyed: u64,
    pub counters: Counters,
}

/// The running endpoint.
#[derive(Debug)]
pub struct Sip {
    commands: mpsc::Sender<Command>,
    locals: Vec<(Transport, SocketAddr)>,
    gauges: watch::Receiver<Gauges>,
    commanded: AtomicU64,
    memory: Memory,
    stop: oneshot::Sender<()>,
    /// The thread has ended.
    over: oneshot::Receiver<()>,
}

impl Sip {
    /// Opens all sockets and starts the endpoint, within a tokio runtime. It has a thread of its own, with its datagrams: 100
    /// and 503 go out at once, however much everybody else has to do. Connections, which may have to encrypt, and questions to
    /// DNS are the runtime's. `tls` is what each connection that begins is given; without it TLS is not listened for. `dscp`
    /// marks what we send (24 is CS3). `dns` are the servers that are asked for names; without any no name leads anywhere.
    /// `seed` must not be guessable. Events come with the moment of what caused them; the last `Sip` dropped ends the task.
    pub fn start(
        listen: Vec<(Transport, SocketAddr)>,
        tls: Option<watch::Receiver<Tls>>,
        dscp: u8,
        dns: Servers,
        config: Config,
        seed: [u8; 32],
    ) -> Result<(Sip, mpsc::Receiver<(Now, Event)>), Error> {
        let (commands, commanded) = mpsc::channel(COMMANDS);
        let (events, told) = mpsc::channel(EVENTS);
        let (gauge, gauges) = watch::channel(Gauges::default());
        let (inbox, arrivals) = mpsc::channel(INBOX);
        let (callers, newcomers) = mpsc::channel(INBOX);
        let (stop, stopped) = oneshot::channel();
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let (begin, over, own) = start_thread().map_err(Error::Thread)?;
        let rim = Rim::new(Endpoint::new(config, seed), inbox, events, own);
        let mut rim = Rim { callers, tls, dscp, dns: Arc::new(Client::new(dns)), ..rim };
        let mut locals = Vec::new();
        for (transport, address) in listen {
            let local = rim.listen(transport, address);
            locals.push((transport, local.map_err(|source| Error::Listen { transport, address, source })?));
        }
        rim.endpoint.listen(locals.clone());
        let inlets = Inlets { arrivals, newcomers, commands: commanded, asked, stopped };
        // It waits for this alone.
        let _ = begin.send(Box::pin(rim.run(inlets, gauge)));
        let memory = Memory { questions };
        Ok((Sip { commands, locals, gauges, commanded: AtomicU64::new(0), memory, stop, over }, told))
    }

    /// Waits for room where many commands are on their way. False once the endpoint has stopped.
    pub async fn command(&self, command: Command) -> bool {
        self.commanded.fetch_add(1, Ordering::Relaxed);
        self.commands.send(command).await.is_ok()
    }

    /// The first address that this transport listens on, its port resolved.
    pub fn local(&self, transport: Transport) -> Option<SocketAddr> {
        self.locals.iter().find(|(other, _)| *other == transport).map(|(_, local)| *local)
    }

    /// All that is listened on, ports resolved.
    pub fn locals(&self) -> &[(Transport, SocketAddr)] {
        &self.locals
    }

    pub fn gauges(&self) -> Gauges {
        *self.gauges.borrow()
    }

    /// What was said of calls, for whoever asks.
    pub fn memory(&self) -> Memory {
        self.memory.clone()
    }

    /// All that was commanded is carried out, no call is left, and no registration waits to be taken back.
    pub fn is_quiet(&self) -> bool {
        let gauges = self.gauges();
        gauges.obeyed >= self.commanded.load(Ordering::Relaxed) && gauges.calls + gauges.leaving == 0
    }

    /// Stops at once: calls that are up stay up at the far side, so hang up first.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        // It ends by itself; a panic in it has been told by the runtime.
        let _ = self.over.await;
    }
}

/// What was said of a call, each message with its moment, and how many are left out.
pub type Remembered = (Vec<(Wall, Said)>, u32);

/// The messages that the endpoint keeps.
#[derive(Clone, Debug)]
pub struct Memory {
    questions: mpsc::Sender<(String, oneshot::Sender<Option<Remembered>>)>,
}

impl Memory {
    /// Of the call with this Call-ID; `None` where it is not remembered, or the endpoint has stopped.
    pub async fn of(&self, call_id: String) -> Option<Remembered> {
        let (reply, answer) = oneshot::channel();
        self.questions.send((call_id, reply)).await.ok()?;
        timeout(PATIENCE, answer).await.ok()?.ok()?
    }
}

/// What the task waits for.
struct Inlets {
    arrivals: mpsc::Receiver<Arrival>,
    /// Calls that look new, which have every second turn: where there is no room for them they hear so at once, however much
    /// waits of the calls that there are.
    newcomers: mpsc::Receiver<Arrival>,
    commands: mpsc::Receiver<Command>,
    asked: mpsc::Receiver<(String, oneshot::Sender<Option<Remembered>>)>,
    stopped: oneshot::Receiver<()>,
}

/// What the readers bring.
enum Arrival {
    Message {
        flow: Flow,
        bytes: Bytes,
    },
    /// A stream that cannot be read on.
    Unframed {
        flow: Flow,
        malformed: Malformed,
        length: usize,
    },
    /// Somebody connected.
    Connected {
        transport: Transport,
        stream: TcpStream,
        peer: SocketAddr,
    },
    /// Both ends of a connection speak TLS, and whoever is at the other one has shown this.
    Shown {
        flow: Flow,
        opened: u64,
        own: Option<CertificateDer<'static>>,
    },
    /// What DNS says, or that it says nothing.
    LookedUp {
        question: dns::Question,
        outcome: dns::Outcome,
    },
    /// A connection has brought nothing but line ends; `answers`: those that answer our ping.
    Alive {
        flow: Flow,
        answers: bool,
    },
    /// A connection ended by itself.
    Closed {
        flow: Flow,
        opened: u64,
    },
}

struct Connection {
    writer: mpsc::Sender<Bytes>,
    task: AbortHandle,
    /// Which one it is: a later one may have the same flow.
    opened: u64,
    heard: Mono,
    listed: bool,
    /// By TLS, once both ends speak it: what the far side has shown, if anything.
    own: Option<Option<CertificateDer<'static>>>,
    /// Who came by TLS before we knew that they have a name: whatever they showed was let pass.
    unasked: bool,
}

impl Connection {
    /// Ends it once what is queued is written.
    fn end(&self) {
        // An empty message is the sign; where the queue is full there is no use in being polite.
        if self.writer.try_send(Bytes::new()).is_err() {
            self.task.abort();
        }
    }
}

struct Rim {
    endpoint: Endpoint,
    inbox: mpsc::Sender<Arrival>,
    callers: mpsc::Sender<Arrival>,
    sockets: Vec<(SocketAddr, Arc<UdpSocket>)>,
    connections: HashMap<Flow, Connection>,
    opened: u64,
    tls: Option<watch::Receiver<Tls>>,
    dscp: u8,
    dns: Arc<Client>,
    events: mpsc::Sender<(Now, Event)>,
    /// What our owner has not fetched: bounded by the calls there are, since meanwhile no new one is taken.
    untold: VecDeque<(Now, Event)>,
    obeyed: u64,
    hurry: Hurry,
    /// Ended when the rim goes.
    readers: JoinSet<()>,
    /// The runtime of everybody, and that of our thread.
    all: Handle,
    own: Handle,
}

impl Rim {
    /// It listens to nobody and asks nobody yet. `own`: the runtime of its thread; what it is made within is everybody's.
    fn new(endpoint: Endpoint, inbox: mpsc::Sender<Arrival>, events: mpsc::Sender<(Now, Event)>, own: Handle) -> Rim {
        Rim {
            endpoint,
            callers: inbox.clone(),
            inbox,
            sockets: Vec::new(),
            connections: HashMap::new(),
            opened: 0,
            tls: None,
            dscp: 0,
            dns: Arc::new(Client::new(Servers::These(Vec::new()))),
            events,
            untold: VecDeque::new(),
            obeyed: 0,
            hurry: Hurry::default(),
            readers: JoinSet::new(),
            all: Handle::current(),
            own,
        }
    }

    fn listen(&mut self, transport: Transport, address: SocketAddr) -> io::Result<SocketAddr> {
        match transport {
            Transport::Udp => {
                let socket = open(address, Type::DGRAM, Protocol::UDP, self.dscp)?;
                // The system may grant less; that is no reason not to start.
                let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
                let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
                socket.bind(&SockAddr::from(address))?;
                let ours = self.own.enter();
                let socket = Arc::new(UdpSocket::from_std(socket.into())?);
                drop(ours);
                let local = socket.local_addr()?;
                self.readers.spawn_on(read_datagrams(socket.clone(), local, self.takes_datagrams()), &self.own);
                self.sockets.push((local, socket));
                Ok(local)
            }
            Transport::Tls if self.tls.is_none() => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "there is no certificate to show"))
            }
            Transport::Tcp | Transport::Tls => {
                let socket = open(address, Type::STREAM, Protocol::TCP, self.dscp)?;
                // Connections of an earlier life that still linger shall not keep us from starting.
                socket.set_reuse_address(true)?;
                socket.bind(&SockAddr::from(address))?;
                socket.listen(BACKLOG)?;
                let listener = TcpListener::from_std(socket.into())?;
                let local = listener.local_addr()?;
                self.readers.spawn(accept(listener, transport, self.inbox.clone()));
                Ok(local)
            }
        }
    }

    /// Puts each datagram where it has its turn. False when there is no more use in it.
    fn takes_datagrams(&self) -> impl FnMut(Flow, Bytes) -> bool + use<> {
        let (inbox, callers) = (self.inbox.clone(), self.callers.clone());
        move |flow, bytes| {
            let inbox = if is_new_call(&bytes) { &callers } else { &inbox };
            // A full inbox drops it: it comes again, when there is more time.
            let sent = inbox.try_send(Arrival::Message { flow, bytes });
            !matches!(sent, Err(mpsc::error::TrySendError::Closed(_)))
        }
    }

    async fn run(mut self, inlets: Inlets, gauge: watch::Sender<Gauges>) {
        let Inlets { mut arrivals, mut newcomers, mut commands, mut asked, mut stopped } = inlets;
        let mut sweep = tokio::time::interval(SWEEP);
        let events = self.events.clone();
        // A socket that is new is thought to be full until it was looked at once.
        for (_, socket) in &self.sockets {
            let _ = socket.writable().await;
        }
        loop {
            let wait = self.endpoint.deadline().map(|deadline| deadline.since(Now::read().mono));
            tokio::select! {
                Some(arrival) = newcomers.recv() => self.take_in(arrival, &mut newcomers, &mut arrivals),
                Some(arrival) = arrivals.recv() => self.take_in(arrival, &mut newcomers, &mut arrivals),
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => break,
                },
                () = tokio::time::sleep(wait.unwrap_or(SWEEP)), if wait.is_some() => {}
                Ok(room) = events.reserve(), if !self.untold.is_empty() => {
                    if let Some(event) = self.untold.pop_front() {
                        room.send(event);
                    }
                    self.endpoint.crowd(!self.untold.is_empty());
                }
                Some((call_id, reply)) = asked.recv() => {
                    // Whoever asked may have gone.
                    let _ = reply.send(self.recall(&call_id));
                }
                _ = sweep.tick() => {
                    self.hurry.calm_down(self.endpoint.pressed());
                    self.sweep();
                }
                _ = &mut stopped => break,
            }
            let now = Now::read();
            self.endpoint.wake(now.mono);
            self.drain(now);
            gauge.send_replace(self.gauges());
            self.hurry.look(self.endpoint.pressed());
            // Readers are of this thread too, and see what waits in the system's buffers.
            tokio::task::yield_now().await;
        }
        for connection in self.connections.values() {
            connection.end();
        }
        // The next life may listen at once.
        self.readers.shutdown().await;
    }

    /// What has come, this first, in turns, and no more of it than a timer may wait for.
    fn take_in(
        &mut self,
        first: Arrival,
        newcomers: &mut mpsc::Receiver<Arrival>,
        others: &mut mpsc::Receiver<Arrival>,
    ) {
        self.arrive(first);
        for _ in 0..BATCH {
            let two = [newcomers.try_recv(), others.try_recv()];
            if two.iter().all(Result::is_err) {
                break;
            }
            two.into_iter().flatten().for_each(|arrival| self.arrive(arrival));
        }
        self.endpoint.flood(newcomers.len().max(others.len()) > FLOODED);
    }

    fn recall(&self, call_id: &str) -> Option<Remembered> {
        let (said, left_out) = self.endpoint.said(call_id)?;
        let now = Now::read();
        let moment = |at: Mono| {
            let ago = i64::try_from(now.mono.since(at).as_micros()).unwrap_or(i64::MAX);
            Wall::from_micros(now.wall.micros().saturating_sub(ago))
        };
        Some((said.into_iter().map(|said| (moment(said.at), said)).collect(), left_out))
    }

    fn gauges(&self) -> Gauges {
        Gauges {
            calls: self.endpoint.calls(),
            transactions: self.endpoint.transactions(),
            connections: self.connections.len(),
            leaving: self.endpoint.leaving(),
            subscriptions: self.endpoint.subscriptions(),
            remembered: self.endpoint.remembered(),
            referrals: self.endpoint.referrals(),
            obeyed: self.obeyed,
            counters: self.endpoint.counters(),
        }
    }

    fn obey(&mut self, command: Command) {
        let now = Now::read();
        self.obeyed += 1;
        let is_news = matches!(command, Command::Sources(_) | Command::Names(_));
        self.endpoint.command(now.mono, command);
        if is_news {
            let all: Vec<Flow> = self.connections.keys().copied().collect();
            all.into_iter().for_each(|flow| self.look_at_certificate(flow));
            self.close_unasked(now.mono);
        }
        self.drain(now);
    }

    fn arrive(&mut self, arrival: Arrival) {
        let now = Now::read();
        match arrival {
            Arrival::Message { flow, bytes } => {
                if let Some(connection) = self.connections.get_mut(&flow) {
                    connection.heard = now.mono;
                }
                self.endpoint.receive(now.mono, flow, &bytes);
            }
            Arrival::Unframed { flow, malformed, length } => {
                self.endpoint.unframed(now.mono, flow, malformed, length);
                self.drain(now);
                self.close(now.mono, flow);
            }
            Arrival::LookedUp { question, outcome } => self.endpoint.looked_up(now.mono, question, outcome),
            Arrival::Connected { transport, stream, peer } => self.connected(now.mono, transport, stream, peer),
            Arrival::Shown { flow, opened, own } => {
                if let Some(connection) = self.connections.get_mut(&flow).filter(|known| known.opened == opened) {
                    connection.own = Some(own);
                    self.look_at_certificate(flow);
                    self.close_unasked(now.mono);
                }
            }
            Arrival::Alive { flow, answers } => {
                // A stranger is to say something.
                if let Some(connection) = self.connections.get_mut(&flow).filter(|connection| connection.listed) {
                    connection.heard = now.mono;
                }
                self.endpoint.alive(now.mono, flow, answers);
            }
            Arrival::Closed { flow, opened } => {
                if self.connections.get(&flow).is_some_and(|connection| connection.opened == opened) {
                    self.close(now.mono, flow);
                }
            }
        }
        self.drain(now);
    }

    /// Whose certificate it is, of those whom we know now. Whoever is known by it is no stranger.
    fn look_at_certificate(&mut self, flow: Flow) {
        let Some(connection) = self.connections.get_mut(&flow) else { return };
        let Some(Some(own)) = &connection.own else { return };
        let mut names = self.endpoint.tls_names(flow.peer);
        names.retain(|name| tls::carries(Some(std::slice::from_ref(own)), name).is_ok());
        connection.listed |= !names.is_empty();
        connection.unasked &= names.is_empty();
        self.endpoint.shown(flow, names);
    }

    /// Whoever came before we knew the name that they must show, and did not show it, is not hung up on as others are: a carrier
    /// that comes back the moment we have started, above all. They come again.
    fn close_unasked(&mut self, now: Mono) {
        let is_named = |flow: &Flow| self.endpoint.tls_name(flow.peer).is_some();
        // Who is about to show something is let do so.
        let has_shown = |connection: &Connection| connection.own.is_some();
        let unasked = self
            .connections
            .iter()
            .filter(|(flow, connection)| connection.unasked && has_shown(connection) && is_named(flow));
        let mut unasked: HashSet<Flow> = unasked.map(|(flow, _)| *flow).collect();
        if !unasked.is_empty() {
            for used in self.endpoint.flows() {
                unasked.remove(&used);
            }
        }
        unasked.into_iter().for_each(|flow| self.close(now, flow));
    }

    /// Puts on the wire, and tells, all that the endpoint wants. A flow that fails is told to it, which may say more.
    fn drain(&mut self, now: Now) {
        while let Some(output) = self.endpoint.poll() {
            match output {
                Output::Send { flow, bytes } => self.send(now.mono, flow, bytes),
                Output::Close { flow } => self.close(now.mono, flow),
                Output::Event(event) => self.tell(now, event),
                Output::Ask(question) => self.ask(question),
                Output::Unfound { host, why } => tracing::warn!(%host, why, "a name leads nowhere"),
                Output::Rejected(rejection) => rejection.tell(),
            }
        }
    }

    /// Asks DNS, beside everything else: the endpoint bounds how much is asked at once, and for how long it waits.
    fn ask(&self, question: dns::Question) {
        let (client, inbox) = (self.dns.clone(), self.inbox.clone());
        self.all.spawn(async move {
            let outcome = client.ask(&question).await;
            drop(inbox.send(Arrival::LookedUp { question, outcome }).await);
        });
    }

    fn tell(&mut self, now: Now, event: Event) {
        let kept = match self.untold.is_empty() {
            true => self.events.try_send((now, event)).err().map(mpsc::error::TrySendError::into_inner),
            false => Some((now, event)),
        };
        self.untold.extend(kept);
        self.endpoint.crowd(!self.untold.is_empty());
    }

    fn send(&mut self, now: Mono, flow: Flow, bytes: Bytes) {
        if flow.transport == Transport::Udp {
            return self.send_datagram(now, flow, &bytes);
        }
        let is_open = self.connections.contains_key(&flow) || self.connect(now, flow);
        // A full queue: the peer does not read.
        let takes = |connection: &Connection| connection.writer.try_send(bytes).is_ok();
        if !(is_open && self.connections.get(&flow).is_some_and(takes)) {
            self.close(now, flow);
        }
    }

    fn send_datagram(&mut self, now: Mono, flow: Flow, bytes: &Bytes) {
        let sent = match self.sockets.iter().find(|(local, _)| *local == flow.local) {
            Some((_, socket)) => socket.try_send_to(bytes, flow.peer).map_err(|error| Fate::of(&error)),
            // Of an earlier life, which listened elsewhere.
            None => Err(Fate::Hopeless),
        };
        if let Err(fate) = sent {
            self.endpoint.unsent(now, flow, bytes, fate);
        }
    }

    fn connected(&mut self, now: Mono, transport: Transport, stream: TcpStream, peer: SocketAddr) {
        let Ok(local) = stream.local_addr() else { return };
        let flow = Flow { transport, local, peer };
        let listed = self.endpoint.is_listed(peer);
        if !self.has_room(peer.ip(), listed) {
            return; // dropped: closed
        }
        let (writer, queue) = mpsc::channel(WRITE_QUEUE);
        self.opened += 1;
        let opened = self.opened;
        let (own, inbox) = (writer.clone(), self.inbox.clone());
        let names = self.endpoint.tls_name(peer).map(|_| self.endpoint.tls_names(peer));
        let unasked = transport == Transport::Tls && names.is_none();
        let tls = self.tls_now(transport);
        let task = self.all.spawn(async move {
            let Some(tls) = tls else { return carry(stream, flow, opened, queue, own, inbox).await };
            match shake_hands(timeout(STALL, meet(stream, &tls, names.as_deref())).await, flow, listed) {
                Some(stream) => {
                    show(stream.get_ref().1.peer_certificates(), flow, opened, &inbox).await;
                    carry(stream, flow, opened, queue, own, inbox).await;
                }
                None => drop(inbox.send(Arrival::Closed { flow, opened }).await),
            }
        });
        self.add(now, flow, (writer, task.abort_handle()), listed, unasked);
    }

    /// What a connection of this transport that begins now is given.
    fn tls_now(&self, transport: Transport) -> Option<Tls> {
        (transport == Transport::Tls).then(|| self.tls.as_ref().map(|tls| tls.borrow().clone())).flatten()
    }

    fn has_room(&self, peer: IpAddr, listed: bool) -> bool {
        let of_source = self.connections.keys().filter(|flow| flow.peer.ip() == peer).count();
        let strangers = self.connections.values().filter(|connection| !connection.listed).count();
        self.connections.len() < MAX_CONNECTIONS
            && of_source < MAX_CONNECTIONS_PER_SOURCE
            && (listed || strangers < MAX_STRANGERS)
    }

    fn connect(&mut self, now: Mono, flow: Flow) -> bool {
        if !self.has_room(flow.peer.ip(), true) {
            return false;
        }
        let (writer, queue) = mpsc::channel(WRITE_QUEUE);
        self.opened += 1;
        let (opened, dscp, inbox, own) = (self.opened, self.dscp, self.inbox.clone(), writer.clone());
        let (tls, name) = (self.tls_now(flow.transport), self.endpoint.tls_name(flow.peer));
        if flow.transport == Transport::Tls && tls.is_none() {
            return false;
        }
        let task = self.all.spawn(async move {
            let until = Instant::now() + CONNECT;
            let Ok(Ok(stream)) = timeout_at(until, dial(flow, dscp)).await else {
                return drop(inbox.send(Arrival::Closed { flow, opened }).await);
            };
            let Some(tls) = tls else { return carry(stream, flow, opened, queue, own, inbox).await };
            match shake_hands(timeout_at(until, greet(stream, &tls, name.as_deref(), flow)).await, flow, true) {
                Some(stream) => {
                    show(stream.get_ref().1.peer_certificates(), flow, opened, &inbox).await;
                    carry(stream, flow, opened, queue, own, inbox).await;
                }
                None => drop(inbox.send(Arrival::Closed { flow, opened }).await),
            }
        });
        self.add(now, flow, (writer, task.abort_handle()), true, false);
        true
    }

    fn add(&mut self, heard: Mono, flow: Flow, end: (mpsc::Sender<Bytes>, AbortHandle), listed: bool, unasked: bool) {
        let (writer, task) = end;
        let connection = Connection { writer, task, opened: self.opened, heard, listed, own: None, unasked };
        self.connections.insert(flow, connection);
    }

    /// Ends a connection once what was queued is written, and tells the endpoint that the flow is dead.
    fn close(&mut self, now: Mono, flow: Flow) {
        if let Some(connection) = self.connections.remove(&flow) {
            connection.end();
        }
        self.endpoint.lost(now, flow);
    }

    /// Closes connections that are idle and carry no call.
    fn sweep(&mut self) {
        let now = Now::read().mono;
        let used: HashSet<Flow> = self.endpoint.flows().collect();
        let patience = |connection: &Connection| if connection.listed { IDLE } else { IDLE_STRANGER };
        let is_idle = |connection: &Connection| now.since(connection.heard) > patience(connection);
        let idle = self.connections.iter().filter(|(flow, connection)| is_idle(connection) && !used.contains(flow));
        for flow in idle.map(|(flow, _)| *flow).collect::<Vec<_>>() {
            self.close(now, flow);
        }
        self.close_unasked(now);
    }
}

/// A socket that marks its packets.
fn open(address: SocketAddr, kind: Type, protocol: Protocol, dscp: u8) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    mark(&socket, address, dscp)?;
    if address.is_ipv6() {
        // Each family has its own listener: nobody comes under two addresses.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The DSCP is the upper six bits of the byte (RFC 2474 section 3).
fn mark(socket: &Socket, address: SocketAddr, dscp: u8) -> io::Result<()> {
    let byte = u32::from(dscp & 0x3f) << 2;
    match address {
        SocketAddr::V4(_) => socket.set_tos_v4(byte),
        SocketAddr::V6(_) => socket.set_tclass_v6(byte),
    }
}

async fn accept(listener: TcpListener, transport: Transport, inbox: mpsc::Sender<Arrival>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Signalling is small and waits for its answer.
                let _ = stream.set_nodelay(true);
                if inbox.send(Arrival::Connected { transport, stream, peer }).await.is_err() {
                    return;
                }
            }
            // Out of file descriptors, most likely: others must close first.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// A connection, plain or not.
trait Connected: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connected for S {}

async fn dial(flow: Flow, dscp: u8) -> io::Result<TcpStream> {
    let socket = open(flow.peer, Type::STREAM, Protocol::TCP, dscp)?;
    // From our address, but from any port: the one we listen on is not free for it.
    socket.bind(&SockAddr::from(SocketAddr::new(flow.local.ip(), 0)))?;
    let stream = TcpSocket::from_std_stream(socket.into()).connect(flow.peer).await?;
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// Somebody connected: TLS from the first byte. Where their address says that they have a name, they show a certificate that
/// carries one of those which they may have.
async fn meet(
    stream: TcpStream,
    tls: &Tls,
    names: Option<&[Arc<str>]>,
) -> Result<tokio_rustls::server::TlsStream<TcpStream>, String> {
    let stream = TlsAcceptor::from(tls.server.clone()).accept(stream).await.map_err(|error| error.to_string())?;
    let shown = stream.get_ref().1.peer_certificates();
    let mut wrong = None;
    for name in names.unwrap_or_default() {
        match tls::carries(shown, name) {
            Ok(()) => return Ok(stream),
            Err(why) => wrong = Some(why),
        }
    }
    wrong.map_or(Ok(stream), Err)
}

/// Before the first message of a connection: who is at its other end, as far as they say.
async fn show(shown: Option<&[CertificateDer<'static>]>, flow: Flow, opened: u64, inbox: &mpsc::Sender<Arrival>) {
    let own = shown.and_then(<[_]>::first).cloned();
    // An error: the endpoint has stopped.
    let _ = inbox.send(Arrival::Shown { flow, opened, own }).await;
}

/// We have connected.
async fn greet(
    stream: TcpStream,
    tls: &Tls,
    name: Option<&str>,
    flow: Flow,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, String> {
    let name = tls::expected(name, flow.peer.ip())?;
    TlsConnector::from(tls.client.clone()).connect(name, stream).await.map_err(|error| error.to_string())
}

/// What came of it. Of strangers, who knock at every port, only the count is kept.
fn shake_hands<S>(done: Result<Result<S, String>, Elapsed>, flow: Flow, listed: bool) -> Option<S> {
    let reason = match done {
        Ok(Ok(stream)) => return Some(stream),
        Ok(Err(reason)) => reason,
        Err(_) => "not in time".to_owned(),
    };
    metrics::counter!(name::SIP_TLS_FAILED).increment(1);
    if listed {
        tracing::warn!(peer = %flow.peer, reason, "no TLS with a carrier");
    }
    None
}

/// One connection for as long as it lives: reads into the inbox, writes what is queued.
async fn carry(
    stream: impl Connected,
    flow: Flow,
    opened: u64,
    mut queue: mpsc::Receiver<Bytes>,
    pong: mpsc::Sender<Bytes>,
    inbox: mpsc::Sender<Arrival>,
) {
    let (reader, mut writer) = tokio::io::split(stream);
    // It ends with us, also where we are ended: else whoever never reads would be listened to for ever.
    let (mut reading, pinged) = (JoinSet::new(), Arc::new(Pinged::default()));
    reading.spawn(read_stream(reader, flow, opened, (pong, pinged.clone()), inbox.clone(), STALL));
    while let Some(bytes) = queue.recv().await {
        pinged.sends(Now::read().mono, &bytes);
        // What is encrypted may lie in a buffer of our own until it is flushed.
        let written = async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        };
        if bytes.is_empty() || !matches!(timeout(STALL, written).await, Ok(Ok(()))) {
            break;
        }
    }
    let _ = timeout(STALL, writer.shutdown()).await;
    drop(reading);
    drop(inbox.send(Arrival::Closed { flow, opened }).await);
}

async fn read_stream(
    mut reader: impl AsyncRead + Unpin,
    flow: Flow,
    opened: u64,
    (pong, pinged): (mpsc::Sender<Bytes>, Arc<Pinged>),
    inbox: mpsc::Sender<Arrival>,
    stall: Duration,
) {
    let mut framer = StreamFramer::new();
    let mut buffer = BytesMut::with_capacity(READ);
    let mut begun = None;
    loop {
        let reading = reader.read_buf(&mut buffer);
        let read = match begun {
            Some(begun) => timeout_at(begun + stall, reading).await,
            None => Ok(reading.await),
        };
        if !matches!(read, Ok(Ok(1..))) {
            break; // closed by the peer, broken, or half a message for too long
        }
        let length = buffer.len();
        let answers = !framer.is_midway() && buffer == PONG && pinged.is_answered(Now::read().mono);
        if is_keep_alive(&buffer) && inbox.send(Arrival::Alive { flow, answers }).await.is_err() {
            return;
        }
        framer.push(if answers { &[] } else { &buffer });
        buffer.clear();
        let Some(frames) = pass_on(&mut framer, flow, length, &pong, &inbox).await else { return };
        begun = match begun {
            Some(begun) if framer.is_midway() && frames == 0 => Some(begun),
            _ => framer.is_midway().then(Instant::now),
        };
    }
    drop(inbox.send(Arrival::Closed { flow, opened }).await);
}

/// Passes on all frames that are whole: how many; `None` where the stream cannot be read on, or nobody listens.
async fn pass_on(
    framer: &mut StreamFramer,
    flow: Flow,
    length: usize,
    pong: &mpsc::Sender<Bytes>,
    inbox: &mpsc::Sender<Arrival>,
) -> Option<usize> {
    let mut frames = 0;
    loop {
        match framer.next() {
            Ok(None) => return Some(frames),
            // A peer that pings without reading finds its queue full and gets none.
            Ok(Some(Frame::Ping)) => drop(pong.try_send(Bytes::from_static(PONG))),
            Ok(Some(Frame::Message(bytes))) => inbox.send(Arrival::Message { flow, bytes }).await.ok()?,
            Err(malformed) => {
                inbox.send(Arrival::Unframed { flow, malformed, length }).await.ok()?;
                return None;
            }
        }
        frames += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::transport::PING;
    use crate::sip::{Call, Dial, Identity, Refusal, Source};
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    const CS3: u8 = 24;

    fn config() -> Config {
        Config {
            max_calls: 100,
            max_transactions: 1_000,
            product: "tollbridge".to_owned(),
            retry_after_s: 1,
            session_s: 1_800,
            trying_s: 0,
            is_focus: true,
            pace: crate::sip::Pace::default(),
        }
    }

    fn nobody() -> Servers {
        Servers::These(Vec::new())
    }

    fn loopback() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    async fn start(seed: u8, listed: bool) -> (Sip, mpsc::Receiver<(Now, Event)>) {
        let listen = vec![(Transport::Udp, loopback()), (Transport::Tcp, loopback())];
        let (sip, events) = Sip::start(listen, None, CS3, nobody(), config(), [seed; 32]).unwrap();
        let source = Source::at(loopback().ip());
        assert!(sip.command(Command::Sources(if listed { vec![source] } else { Vec::new() })).await);
        (sip, events)
    }

    fn dial(from: &Sip, to: SocketAddr, transport: Transport) -> Dial {
        let local = from.local(transport).unwrap();
        Dial {
            call: Call::outbound(1),
            identity: Identity::draw(&mut StdRng::seed_from_u64(1)),
            flow: Flow { transport, local, peer: to },
            carrier: None,
            contact: local,
            request_uri: format!("sip:room@{to}"),
            from: "<sip:caller@127.0.0.1>".to_owned(),
            to: "<sip:room@127.0.0.1>".to_owned(),
            headers: Vec::new(),
            offer: Bytes::from_static(b"offer"),
            ring_ms: 30_000,
            holds_ack: false,
            may_transfer: false,
            login: None,
        }
    }

    async fn next(events: &mut mpsc::Receiver<(Now, Event)>) -> Event {
        timeout(Duration::from_secs(20), events.recv()).await.expect("in time").expect("running").1
    }

    /// A whole call over the wire.
    async fn call(transport: Transport) {
        let (caller, mut at_caller) = start(1, true).await;
        let (bridge, mut at_bridge) = start(2, true).await;
        let to = bridge.local(transport).unwrap();
        caller.command(Command::Dial(Box::new(dial(&caller, to, transport)))).await;
        let Event::Invited(invitation) = next(&mut at_bridge).await else { panic!() };
        assert_eq!(
            (invitation.request_user.as_str(), invitation.offer.as_deref()),
            ("room", Some(b"offer".as_slice()))
        );
        let inbound = invitation.call;
        bridge.command(Command::Ring { call: inbound, status: 180, answer: None }).await;
        assert!(matches!(next(&mut at_caller).await, Event::Ringing { status: 180, .. }));
        bridge.command(Command::Accept { call: inbound, answer: Bytes::from_static(b"answer") }).await;
        let Event::Answered { call, answer, .. } = next(&mut at_caller).await else { panic!() };
        assert_eq!(answer.as_deref(), Some(b"answer".as_slice()));
        assert!(matches!(next(&mut at_bridge).await, Event::Acknowledged { .. }));
        caller.command(Command::HangUp { call, reason: None }).await;
        assert!(matches!(next(&mut at_bridge).await, Event::HungUp { .. }));
        assert!(matches!(next(&mut at_caller).await, Event::Released { .. }));
        assert_eq!(bridge.gauges().counters.calls_in, 1);
        caller.stop().await;
        bridge.stop().await;
    }

    #[tokio::test]
    async fn a_call_over_udp() {
        call(Transport::Udp).await;
    }

    #[tokio::test]
    async fn a_call_over_tcp() {
        call(Transport::Tcp).await;
    }

    #[tokio::test]
    async fn both_sides_speak_by_the_one_connection_that_one_of_them_made() {
        let (caller, mut at_caller) = start(1, true).await;
        let (bridge, mut at_bridge) = start(2, true).await;
        let to = bridge.local(Transport::Tcp).unwrap();
        for number in 1..=3 {
            let identity = Identity::draw(&mut StdRng::seed_from_u64(number));
            let dial = Dial { call: Call::outbound(number), identity, ..dial(&caller, to, Transport::Tcp) };
            caller.command(Command::Dial(Box::new(dial))).await;
            let Event::Invited(invitation) = next(&mut at_bridge).await else { panic!() };
            let call = invitation.call;
            bridge.command(Command::Accept { call, answer: Bytes::from_static(b"answer") }).await;
            let Event::Answered { call: answered, .. } = next(&mut at_caller).await else { panic!() };
            caller.command(Command::Acknowledge { call: answered }).await;
            assert!(matches!(next(&mut at_bridge).await, Event::Acknowledged { .. }));
            bridge.command(Command::HangUp { call, reason: None }).await;
            assert!(matches!(next(&mut at_caller).await, Event::HungUp { .. }));
            assert!(matches!(next(&mut at_bridge).await, Event::Released { .. }));
            assert_eq!((caller.gauges().connections, bridge.gauges().connections), (1, 1), "call {number}");
        }
    }

    #[tokio::test]
    async fn a_ping_has_its_pong_and_a_lone_line_end_has_none() {
        let (sip, _events) = start(1, true).await;
        let mut stream = TcpStream::connect(sip.local(Transport::Tcp).unwrap()).await.unwrap();
        // In pieces, and two in a row (RFC 5626 section 4.4.1).
        for piece in ["\r\n", "\r", "\n", "\r\n\r\n"] {
            stream.write_all(piece.as_bytes()).await.unwrap();
            tokio::task::yield_now().await;
        }
        let mut pongs = [0; 4];
        timeout(Duration::from_secs(20), stream.read_exact(&mut pongs)).await.unwrap().unwrap();
        assert_eq!(&pongs, b"\r\n\r\n");
        stream.write_all(b"\r\n").await.unwrap();
        assert!(timeout(Duration::from_millis(100), stream.read_exact(&mut pongs)).await.is_err(), "half a ping");
        // By datagram they are nothing at all, and say nothing of what follows.
        let socket = UdpSocket::bind(loopback()).await.unwrap();
        socket.connect(sip.local(Transport::Udp).unwrap()).await.unwrap();
        for keep_alive in ["\r\n", "\r\n\r\n", "\0\0\0\0"] {
            socket.send(keep_alive.as_bytes()).await.unwrap();
        }
        let options = "OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;rport;branch=z9hG4bKx\r\n\
            From: <sip:b@127.0.0.1>;tag=1\r\nTo: <sip:a@127.0.0.1>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\
            Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n";
        socket.send(options.as_bytes()).await.unwrap();
        let mut answer = [0; 1_500];
        let length = timeout(Duration::from_secs(20), socket.recv(&mut answer)).await.unwrap().unwrap();
        assert!(answer[..length].starts_with(b"SIP/2.0 200 OK\r\n"));
        // It is counted a moment after it is answered.
        let mut gauges = sip.gauges.clone();
        let heard = gauges.wait_for(|gauges| gauges.counters.messages_in > 0);
        let counters = timeout(Duration::from_secs(20), heard).await.unwrap().unwrap().counters;
        assert_eq!((counters.messages_in, counters.malformed), (1, 0));
    }

    const INVITE: &str = "INVITE sip:room@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP SENT-BY;branch=z9hG4bK1\r\n\
        From: <sip:a@127.0.0.1>;tag=1\r\nTo: <sip:room@127.0.0.1>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\
        Contact: <sip:a@127.0.0.1>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\noffer";

    /// RFC 3261 section 18.2.2.
    #[tokio::test]
    async fn an_answer_whose_connection_is_gone_comes_by_a_new_one() {
        let (sip, mut events) = start(1, true).await;
        let until = async |what: fn(&Gauges) -> bool| {
            let mut gauges = sip.gauges.clone();
            timeout(Duration::from_secs(20), gauges.wait_for(what)).await.expect("in time").map(drop).unwrap();
        };
        until(|gauges| gauges.obeyed > 0).await;
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let mut stream = TcpStream::connect(sip.local(Transport::Tcp).unwrap()).await.unwrap();
        let invite = INVITE.replace("SENT-BY", &listener.local_addr().unwrap().to_string());
        stream.write_all(invite.as_bytes()).await.unwrap();
        let Event::Invited(invitation) = next(&mut events).await else { panic!() };
        drop(stream);
        until(|gauges| gauges.connections == 0).await;
        sip.command(Command::Accept { call: invitation.call, answer: Bytes::from_static(b"answer") }).await;
        let (mut back, _) = timeout(Duration::from_secs(20), listener.accept()).await.unwrap().unwrap();
        let mut line = [0; 14];
        timeout(Duration::from_secs(20), back.read_exact(&mut line)).await.unwrap().unwrap();
        assert_eq!(&line, b"SIP/2.0 200 OK");
    }

    /// A registrar, and what it says to our pings.
    #[tokio::test]
    async fn a_pong_is_told_from_half_a_ping() {
        let (inbox, mut arrivals) = mpsc::channel(8);
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (near, peer) = listener.accept().await.unwrap();
        let flow = Flow { transport: Transport::Tcp, local: near.local_addr().unwrap(), peer };
        let (own, queue) = mpsc::channel(8);
        let carried = tokio::spawn(carry(near, flow, 7, queue, own.clone(), inbox));
        let mut told = async |bytes: &[u8]| {
            far.write_all(bytes).await.unwrap();
            match timeout(Duration::from_secs(20), arrivals.recv()).await.unwrap() {
                Some(Arrival::Alive { answers, .. }) => answers,
                _ => panic!("something else"),
            }
        };
        assert!(!told(PONG).await, "nobody has asked: half a ping");
        assert!(!told(PONG).await, "the other half");
        own.send(Bytes::from_static(PING)).await.unwrap();
        // Ours is on the wire once the far side has read both.
        let mut heard = [0; 6];
        timeout(Duration::from_secs(20), far.read_exact(&mut heard)).await.unwrap().unwrap();
        assert_eq!(&heard, b"\r\n\r\n\r\n", "its pong, and our ping");
        let mut told = async |bytes: &[u8]| {
            far.write_all(bytes).await.unwrap();
            match timeout(Duration::from_secs(20), arrivals.recv()).await.unwrap() {
                Some(Arrival::Alive { answers, .. }) => answers,
                _ => panic!("something else"),
            }
        };
        assert!(told(PONG).await);
        assert!(!told(PONG).await, "half a ping again");
        carried.abort();
    }

    #[tokio::test]
    async fn a_refusal_and_a_closed_port_fail_the_call() {
        let (caller, mut at_caller) = start(1, true).await;
        let (bridge, mut at_bridge) = start(2, true).await;
        let to = bridge.local(Transport::Tcp).unwrap();
        caller.command(Command::Dial(Box::new(dial(&caller, to, Transport::Tcp)))).await;
        let Event::Invited(invitation) = next(&mut at_bridge).await else { panic!() };
        bridge.command(Command::Refuse { call: invitation.call, refusal: Refusal::plain(486) }).await;
        assert!(matches!(next(&mut at_caller).await, Event::Failed { status: 486, .. }));
        bridge.stop().await;
        caller.command(Command::Dial(Box::new(dial(&caller, to, Transport::Tcp)))).await;
        assert!(matches!(next(&mut at_caller).await, Event::Failed { status: 503, .. }));
    }

    #[tokio::test]
    async fn packets_are_marked() {
        let (inbox, _arrivals) = mpsc::channel(1);
        let (events, _told) = mpsc::channel(1);
        let mut rim = Rim { dscp: CS3, ..Rim::new(Endpoint::new(config(), [3; 32]), inbox, events, Handle::current()) };
        rim.listen(Transport::Udp, loopback()).unwrap();
        let socket = socket2::SockRef::from(rim.sockets[0].1.as_ref());
        assert_eq!(socket.tos_v4().unwrap(), 24 << 2);
        let to = rim.listen(Transport::Tcp, loopback()).unwrap();
        let stream = super::dial(Flow { transport: Transport::Tcp, local: loopback(), peer: to }, CS3).await.unwrap();
        assert_eq!(socket2::SockRef::from(&stream).tos_v4().unwrap(), 24 << 2);
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let (first, _events) = start(1, true).await;
        let taken = first.local(Transport::Udp).unwrap();
        let error = Sip::start(vec![(Transport::Udp, taken)], None, CS3, nobody(), config(), [2; 32]).unwrap_err();
        assert!(error.to_string().contains(&taken.to_string()), "{error}");
        let Error::Listen { source, .. } = error else { panic!("{error}") };
        assert_eq!(source.kind(), io::ErrorKind::AddrInUse);
    }

    async fn read_all(stream: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        let _ = timeout(Duration::from_secs(20), stream.read_to_end(&mut bytes)).await.expect("closed");
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn a_stream_that_cannot_be_read_on_is_answered_and_closed() {
        let (sip, _events) = start(1, true).await;
        let mut stream = TcpStream::connect(sip.local(Transport::Tcp).unwrap()).await.unwrap();
        let head = "OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKx\r\n\
                    From: <sip:b@127.0.0.1>;tag=1\r\nTo: <sip:a@127.0.0.1>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\
                    Max-Forwards: 70\r\n";
        let good = format!("\r\n\r\n{head}Content-Length: 0\r\n\r\n");
        let bad = format!("{head}Content-Length: -1\r\n\r\n").replace("CSeq: 1", "CSeq: 2");
        stream.write_all(format!("{good}{bad}").as_bytes()).await.unwrap();
        let answers = read_all(&mut stream).await;
        assert!(answers.starts_with("\r\nSIP/2.0 200 OK\r\n"), "{answers}");
        assert!(answers.contains("SIP/2.0 400 "), "{answers}");
    }

    #[tokio::test]
    async fn one_source_has_so_many_connections_and_no_more() {
        let (sip, _events) = start(1, true).await;
        let to = sip.local(Transport::Tcp).unwrap();
        let mut streams = Vec::new();
        for _ in 0..=MAX_CONNECTIONS_PER_SOURCE {
            streams.push(TcpStream::connect(to).await.unwrap());
        }
        assert_eq!(read_all(streams.last_mut().unwrap()).await, "");
        assert_eq!(sip.gauges().connections, MAX_CONNECTIONS_PER_SOURCE);
    }

    #[tokio::test]
    async fn half_a_message_is_not_waited_for() {
        let (inbox, mut arrivals) = mpsc::channel(8);
        let listener = TcpListener::bind(loopback()).await.unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (near, peer) = listener.accept().await.unwrap();
        let flow = Flow { transport: Transport::Tcp, local: near.local_addr().unwrap(), peer };
        far.write_all(b"OPTIONS sip:a").await.unwrap();
        let (pong, _queue) = mpsc::channel(1);
        let (reader, _writer) = near.into_split();
        read_stream(reader, flow, 7, (pong, Arc::default()), inbox, Duration::from_millis(10)).await;
        assert!(matches!(arrivals.recv().await, Some(Arrival::Closed { opened: 7, .. })));
    }

    #[tokio::test]
    async fn who_asks_and_never_reads_an_answer_is_hung_up_on() {
        let (sip, _events) = start(1, true).await;
        let mut stream = TcpStream::connect(sip.local(Transport::Tcp).unwrap()).await.unwrap();
        let asks = async {
            for cseq in 1.. {
                let ask = format!(
                    "OPTIONS sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1;branch=z9hG4bK{cseq}\r\n\
                     From: <sip:b@127.0.0.1>;tag=1\r\nTo: <sip:a@127.0.0.1>\r\nCall-ID: 1\r\nCSeq: {cseq} OPTIONS\r\n\
                     Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
                );
                if stream.write_all(ask.as_bytes()).await.is_err() {
                    break;
                }
            }
        };
        let over = async {
            asks.await;
            while sip.gauges().connections > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(2 * STALL, over).await.expect("it is listened to for ever");
    }

    #[tokio::test]
    async fn an_owner_who_does_not_listen_gets_no_new_calls() {
        let (inbox, _arrivals) = mpsc::channel(1);
        let (events, mut told) = mpsc::channel(1);
        let mut rim = Rim::new(Endpoint::new(config(), [3; 32]), inbox, events, Handle::current());
        let released = |number| Event::Released { call: Call::outbound(number) };
        for number in 0..3 {
            rim.tell(Now::default(), released(number));
        }
        assert_eq!(rim.untold.len(), 2);
        assert_eq!(rim.endpoint.no_room(), Some(1));
        assert!(matches!(told.recv().await, Some((_, Event::Released { .. }))));
    }
}
