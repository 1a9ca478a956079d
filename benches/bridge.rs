//! Whole legs over real sockets on 127.0.0.1: the bridge beside a bare echo, in alternating rounds of one run.
//!
//! ```text
//! cargo bench --bench bridge            LEGS=400 ROUNDS=3 SECONDS=5 ROOM=10 TALKERS=400 CODEC=pcmu
//! LEGS=1000 ROOM=1000 TALKERS=3 cargo bench --bench bridge
//! LEGS=1500 ROOM=1500 TALKERS=3 CODEC=opus cargo bench --bench bridge
//! ```
//!
//! Each leg is a socket that sends a packet every 20 ms: in rooms of so many the first so many talk, the others send
//! silence. The first twenty stand apart in pairs (of G.711, whatever the others speak) and click now and then, which
//! tells the delay from mouth to ear. The server under test has core 0 for itself,
//! the telephones have the last core. The echo is the least that a server with a socket a leg can do: `epoll`, one
//! packet back for each that comes. Beside the bridge a bare sender beats on the same core: what it cannot do on this
//! machine, nobody can.
//!
//! It must reach, nothing lost: at most 1.15 times the echo's processor time a leg-second where all talk, 1.1 where few do;
//! 1,500 legs a core where few talk Opus. The telephones' core keeps up with about 1,000 legs: beyond that they are slower
//! than life, and packets come late in both rounds.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tollbridge::clock;
use tollbridge::media::codec::{Encoder, Settings};
use tollbridge::media::io::{Config, Media};
use tollbridge::media::{Codec, Command, Event, Plan, Rate, RoomId, StreamId};

const TICK_NANOS: u64 = 20_000_000;
/// The telephones' own beats are spread over the tick.
const PHASES: usize = 10;
const PROBES: usize = 20;
const PACKET: usize = 172;
const FIRST_PORT: u16 = 30_000;
const WARM: usize = 4;
/// Telephones that share a socket, so that their core keeps up with the server's: it has one a leg.
const SHARE: usize = 25;
/// Every so many packets a probe clicks.
const CLICK_EVERY: u16 = 25;

/// What is measured.
#[derive(Clone, Copy)]
struct Load {
    legs: usize,
    room: usize,
    talkers: usize,
    codec: Codec,
}

impl Load {
    fn codec(&self, leg: usize) -> Codec {
        if leg < PROBES { Codec::Pcmu } else { self.codec }
    }

    fn talks(&self, leg: usize) -> bool {
        (PROBES..PROBES + self.talkers).contains(&leg)
    }

    fn room(&self, leg: usize) -> usize {
        if leg < PROBES { leg / 2 } else { PROBES + (leg - PROBES) / self.room }
    }

    /// Whether so many times the echo's time, or so many legs a core, are what it must reach; and that in words.
    fn verdict(&self, ratio: f64, legs: f64) -> (bool, &'static str) {
        match (self.codec, self.talkers >= self.legs) {
            (Codec::Opus, _) => (legs >= 1_500.0, "1,500 legs a core"),
            (_, true) => (ratio <= 1.15, "a ratio of 1.15"),
            (_, false) => (ratio <= 1.1, "a ratio of 1.1"),
        }
    }
}

fn payload_type(codec: Codec) -> u8 {
    codec.static_type().unwrap_or(111)
}

fn main() {
    let setting = |name: &str, default: usize| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (legs, rounds) = (setting("LEGS", 400).max(PROBES), setting("ROUNDS", 3).max(1));
    let seconds = setting("SECONDS", 5).max(1);
    let (room, talkers) = (setting("ROOM", 10).max(1), setting("TALKERS", legs));
    let name = std::env::var("CODEC").unwrap_or_else(|_| "pcmu".into());
    let codec = Codec::ALL.into_iter().find(|codec| codec.name().eq_ignore_ascii_case(&name)).expect("a codec");
    let load = Load { legs, room, talkers, codec };
    os::pin(os::Core::Last);
    println!(
        "{legs} legs of {}, rooms of {room}, {talkers} talk, one server thread, {rounds} rounds of {seconds} s each\n",
        codec.name()
    );

    let (mut echo, mut bridge) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        echo.push(echo_round(load, seconds));
        bridge.push(bridge_round(load, seconds));
        let (e, b) = (echo[round].cost, bridge[round].cost);
        println!(
            "round {}: echo {:.1}, bridge {:.1} µs a leg-second: {:.2}",
            round + 1,
            e.micros,
            b.micros,
            b.micros / e.micros
        );
    }
    report(load, &echo, &bridge);
}

fn report(load: Load, echo: &[Round], bridge: &[Round]) {
    let median = |rounds: &[Round], part: fn(&Cost) -> f64| middle(rounds.iter().map(|round| part(&round.cost)));
    println!("\n{:22}{:>10}{:>10}{:>10}", "µs a leg-second", "all", "user", "system");
    for (name, rounds) in [("echo", echo), ("bridge", bridge)] {
        let [all, user, system] =
            [median(rounds, |c| c.micros), median(rounds, |c| c.user), median(rounds, |c| c.system)];
        println!("{name:22}{all:>10.1}{user:>10.1}{system:>10.1}");
    }
    let ratio = middle(echo.iter().zip(bridge).map(|(e, b)| b.cost.micros / e.cost.micros));
    let legs = 1e6 / median(bridge, |c| c.micros);
    let (is_met, goal) = load.verdict(ratio, legs);
    println!("{:22}{ratio:>10.2}\n{:22}{legs:>10.0}", "ratio, median", "legs a core");
    println!("{goal}: {}", if is_met { "reached" } else { "MISSED" });

    let sum = |rounds: &[Round], part: fn(&Round) -> u64| rounds.iter().map(part).sum::<u64>();
    println!("\n{:22}{:>10}{:>10}{:>10}", "packets", "sent", "back", "lost");
    for (name, rounds) in [("echo", echo), ("bridge", bridge)] {
        let (sent, back, lost) = (sum(rounds, |r| r.sent), sum(rounds, |r| r.back), sum(rounds, |r| r.lost));
        println!("{name:22}{sent:>10}{back:>10}{lost:>10}");
    }
    println!("\n{:22}{:>10}{:>10}{:>10}{:>10}", "ms behind the beat", "p50", "p99", "p99.9", "worst");
    for (name, part) in [("bridge", (|r| &r.late) as fn(&Round) -> &Vec<f64>), ("bare sender", |r| &r.control)] {
        line(name, bridge.iter().flat_map(|round| part(round).iter().copied()).collect());
    }
    println!("\n{:22}{:>10}{:>10}{:>10}{:>10}", "ms mouth to ear, added", "p50", "p99", "p99.9", "worst");
    line("bridge", bridge.iter().flat_map(|round| round.delays.iter().copied()).collect());
    let (ticks, late) = (sum(bridge, |r| r.ticks), sum(bridge, |r| r.late_ticks));
    println!("\nticks {ticks}, of them more than 2 ms late {late}");
}

fn line(name: &str, mut values: Vec<f64>) {
    values.sort_by(f64::total_cmp);
    let at = |part: f64| values.get(((values.len() as f64 * part) as usize).min(values.len().saturating_sub(1)));
    let [p50, p99, p999, worst] = [0.5, 0.99, 0.999, 1.0].map(|part| at(part).copied().unwrap_or(f64::NAN));
    println!("{name:22}{p50:>10.3}{p99:>10.3}{p999:>10.3}{worst:>10.3}   of {}", values.len());
}

fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Processor time, microseconds a leg-second.
#[derive(Clone, Copy, Default)]
struct Cost {
    micros: f64,
    user: f64,
    system: f64,
}

#[derive(Default)]
struct Round {
    cost: Cost,
    sent: u64,
    back: u64,
    lost: u64,
    /// Milliseconds behind each leg's own beat.
    late: Vec<f64>,
    control: Vec<f64>,
    /// Milliseconds from a click's packet to its place in the packet that brings it.
    delays: Vec<f64>,
    ticks: u64,
    late_ticks: u64,
}

fn echo_round(load: Load, seconds: usize) -> Round {
    let legs = load.legs;
    let servers: Vec<UdpSocket> = (0..legs).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    let addresses: Vec<SocketAddr> = servers.iter().map(|socket| socket.local_addr().unwrap()).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let name = "echo".to_owned();
    let server = std::thread::Builder::new().name(name).spawn(move || echo(&servers, &stopped)).unwrap();
    let mut phones = Phones::new(load);
    phones.aim(&addresses);
    let mut round = phones.talk("echo", seconds);
    stop.store(true, Ordering::Relaxed);
    phones.beat(0);
    server.join().unwrap();
    // An echo's packets carry the telephones' own numbers: only what came back can be counted.
    round.lost = round.sent.saturating_sub(round.back);
    round
}

fn echo(sockets: &[UdpSocket], stop: &AtomicBool) {
    os::pin(os::Core::First);
    os::hasten();
    let poll = os::Poll::new(sockets);
    let mut packet = [0; 1500];
    while !stop.load(Ordering::Relaxed) {
        for index in poll.wait() {
            if let Ok((length, from)) = sockets[index].recv_from(&mut packet) {
                let _ = sockets[index].send_to(&packet[..length], from);
            }
        }
    }
}

fn bridge_round(load: Load, seconds: usize) -> Round {
    let legs = load.legs;
    let ports = FIRST_PORT..=FIRST_PORT.saturating_add(2 * legs as u16 + 200);
    let (media, mut events) = Media::start(Config { threads: 1, ports, ..Config::default() }, 1).unwrap();
    let mut phones = Phones::new(load);
    let addresses: Vec<SocketAddr> = (0..legs).map(|leg| attach(&media, load, leg, phones.address(leg))).collect();
    phones.aim(&addresses);
    let control = Control::start();
    let before = media.counts();
    let mut round = phones.talk("mixer-0", seconds);
    let after = media.counts();
    round.control = control.stop();
    (round.ticks, round.late_ticks) = (after.ticks - before.ticks, after.late - before.late);
    for leg in 0..legs {
        media.command(Command::Detach { stream: StreamId(leg as u64) }).unwrap();
    }
    let mut left = legs;
    while left > 0 {
        if let Some((_, Event::Detached { stats, .. })) = events.blocking_recv() {
            round.lost += stats.lost;
            left -= 1;
        }
    }
    round
}

fn attach(media: &Media, load: Load, leg: usize, phone: SocketAddr) -> SocketAddr {
    let port = media.lend(clock::mono()).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
    let codec = load.codec(leg);
    let plan = Plan::plain(phone, codec, payload_type(codec));
    let stream = StreamId(leg as u64);
    media.attach(stream, port, plan, None).unwrap();
    media.command(Command::Join { stream, room: RoomId(load.room(leg) as u64) }).unwrap();
    address
}

/// One telephone.
struct Phone {
    line: usize,
    server: SocketAddr,
    sequence: u16,
    /// Packets that came: (number, moment of the kernel).
    came: Vec<(u16, u64)>,
    /// When it clicked, and when a click came: nanoseconds.
    clicked: Vec<u64>,
    clicks: Vec<u64>,
}

/// Legs that share a socket: the probes have one each.
struct Line {
    socket: UdpSocket,
    legs: std::ops::Range<usize>,
}

/// All telephones: one thread, ten beats a tick.
struct Phones {
    legs: Vec<Phone>,
    lines: Vec<Line>,
    /// Which leg a port of the server is.
    by_port: Vec<usize>,
    load: Load,
    /// Payloads: a loud voice and silence in the codec of all, a soft voice and a click in that of the probes.
    voices: Vec<Vec<u8>>,
    silence: Vec<u8>,
    quiet: Vec<u8>,
    click: Vec<u8>,
    next: u64,
    beats: usize,
    sent: u64,
}

impl Phones {
    fn new(load: Load) -> Phones {
        let probes = (0..PROBES).map(|leg| leg..leg + 1);
        let shared = (PROBES..load.legs).step_by(SHARE).map(|leg| leg..(leg + SHARE).min(load.legs));
        let line = |legs| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            os::prepare(&socket);
            Line { socket, legs }
        };
        let lines: Vec<Line> = probes.chain(shared).map(line).collect();
        let phone = |(line, address): (usize, SocketAddr)| Phone {
            line,
            server: address,
            sequence: 0,
            came: Vec::new(),
            clicked: Vec::new(),
            clicks: Vec::new(),
        };
        let of_lines = lines.iter().enumerate().flat_map(|(number, line)| {
            let address = line.socket.local_addr().unwrap();
            line.legs.clone().map(move |_| (number, address))
        });
        let legs = of_lines.map(phone).collect();
        let mut state = 1u32;
        let mut noise = |rate: Rate, peak: i32| -> Vec<i16> {
            let sample = |_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                ((state >> 16) as i16 as i32 * peak / 32_768) as i16
            };
            (0..rate.tick()).map(sample).collect()
        };
        let line = |encoder: &mut Encoder, sound: Vec<i16>| {
            let mut line = [0; 1_500];
            let octets = encoder.encode(&sound, &mut line);
            line[..octets].to_vec()
        };
        let encoder = |codec: Codec| Encoder::new(codec, codec.rate(), Settings::default());
        let (mut common, mut probes) = (encoder(load.codec), encoder(Codec::Pcmu));
        let (rate, narrow) = (load.codec.rate(), Rate::Narrow);
        Phones {
            legs,
            lines,
            by_port: vec![usize::MAX; 1 << 16],
            load,
            voices: (0..50).map(|_| line(&mut common, noise(rate, 3_000))).collect(),
            silence: (0..10).map(|_| line(&mut common, vec![0; rate.tick()])).last().unwrap_or_default(),
            quiet: line(&mut probes, noise(narrow, 300)),
            click: line(&mut probes, vec![28_000; narrow.tick()]),
            next: os::realtime(),
            beats: 0,
            sent: 0,
        }
    }

    fn aim(&mut self, servers: &[SocketAddr]) {
        for (index, (leg, server)) in self.legs.iter_mut().zip(servers).enumerate() {
            leg.server = *server;
            self.by_port[usize::from(server.port())] = index;
        }
    }

    fn address(&self, leg: usize) -> SocketAddr {
        self.lines[self.legs[leg].line].socket.local_addr().unwrap()
    }

    /// Seconds to get going, in which a meeting of Opus does in one moment what it has minutes for in life; then the
    /// measured ones.
    fn talk(&mut self, thread: &str, seconds: usize) -> Round {
        let beats = |seconds: usize| seconds * 50 * PHASES;
        self.next = os::realtime();
        self.beat(beats(WARM));
        let at_start = |leg: &Phone| leg.came.len();
        let starts: Vec<usize> = self.legs.iter().map(at_start).collect();
        let (sent, before) = (self.sent, os::Times::of(thread));
        self.beat(beats(seconds));
        let (sent, used) = (self.sent - sent, os::Times::of(thread).since(&before));
        let leg_seconds = (self.legs.len() * seconds) as f64;
        let cost =
            Cost { micros: used.all / leg_seconds, user: used.user / leg_seconds, system: used.system / leg_seconds };
        let back = self.legs.iter().zip(&starts).map(|(leg, start)| (leg.came.len() - start) as u64).sum();
        let (mut lost, mut late) = (0, Vec::new());
        for (leg, start) in self.legs.iter().zip(&starts) {
            lost += lateness(&leg.came[*start..], &mut late);
        }
        let delays = (0..PROBES.min(self.legs.len()))
            .flat_map(|leg| delays(&self.legs[leg ^ 1].clicked, &self.legs[leg].clicks));
        Round { cost, sent, back, lost, late, delays: delays.collect(), ..Round::default() }
    }

    fn beat(&mut self, count: usize) {
        let mut post = os::Post::default();
        for _ in 0..count {
            let phase = self.beats % PHASES;
            os::sleep_until(self.next);
            for line in (phase..self.lines.len()).step_by(PHASES) {
                let Line { socket, legs } = &self.lines[line];
                post.clear();
                for index in legs.clone() {
                    let leg = &mut self.legs[index];
                    let is_probe = index < PROBES;
                    // The two of a pair never click at once: each hears only the other.
                    let clicks = is_probe && (leg.sequence + index as u16 % 2 * 12) % CLICK_EVERY == CLICK_EVERY - 1;
                    let sound = match (is_probe, clicks) {
                        (_, true) => &self.click,
                        (true, false) => &self.quiet,
                        (false, _) if !self.load.talks(index) => &self.silence,
                        (false, _) => &self.voices[(index * 7 + usize::from(leg.sequence)) % self.voices.len()],
                    };
                    leg.say(self.load.codec(index), sound, clicks, &mut post);
                }
                self.sent += legs.len() as u64;
                post.send(socket);
                let (legs, by_port) = (&mut self.legs, &self.by_port);
                post.receive(socket, |port, packet, at| {
                    let index = by_port[usize::from(port)];
                    if let Some(leg) = legs.get_mut(index) {
                        leg.hear(packet, at, index < PROBES);
                    }
                });
            }
            self.next += TICK_NANOS / PHASES as u64;
            self.beats += 1;
        }
    }
}

impl Phone {
    fn say(&mut self, codec: Codec, payload: &[u8], clicks: bool, post: &mut os::Post) {
        let mut header = [0; 12];
        (header[0], header[1]) = (0x80, payload_type(codec));
        header[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        header[4..8].copy_from_slice(&(u32::from(self.sequence) * codec.clock_hz() / 50).to_be_bytes());
        header[8..12].copy_from_slice(&7u32.to_be_bytes());
        if clicks {
            self.clicked.push(os::realtime());
        }
        post.add(self.server, &header, payload);
        self.sequence += 1;
    }

    fn hear(&mut self, packet: &[u8], at: u64, is_probe: bool) {
        // Reports come to ports that are others' (RFC 5761 section 4: payload types 64 to 95).
        if packet.len() < 12 || (64..96).contains(&(packet[1] & 0x7f)) {
            return;
        }
        self.came.push((u16::from_be_bytes([packet[2], packet[3]]), at));
        if is_probe && packet.len() == PACKET {
            let mut sound = [0; 160];
            Codec::Pcmu.decode(&packet[12..], &mut sound);
            if let Some(place) = sound.iter().position(|sample| *sample > 14_000) {
                self.clicks.push(at + place as u64 * 125_000);
            }
        }
    }
}

/// Packets missing between the first and the last; milliseconds behind the earliest that the leg's beat ever was.
fn lateness(came: &[(u16, u64)], late: &mut Vec<f64>) -> u64 {
    let Some(&(first, _)) = came.first() else { return 0 };
    let number = |sequence: u16| u64::from(sequence.wrapping_sub(first));
    let offsets: Vec<i64> = came.iter().map(|(n, at)| *at as i64 - (number(*n) * TICK_NANOS) as i64).collect();
    let earliest = offsets.iter().copied().min().unwrap_or_default();
    late.extend(offsets.iter().map(|offset| (offset - earliest) as f64 / 1e6));
    came.last().map_or(0, |(last, _)| number(*last) + 1).saturating_sub(came.len() as u64)
}

/// For each click sent, the first one heard after it, within a fifth of a second.
fn delays(clicked: &[u64], heard: &[u64]) -> Vec<f64> {
    let first_after = |sent: &u64| heard.iter().find(|at| *at >= sent).map(|at| (at - sent) as f64 / 1e6);
    clicked.iter().filter_map(first_after).filter(|ms| *ms < 200.0).collect()
}

/// A bare sender that beats on the server's core, half a tick away from it.
struct Control {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Vec<f64>>,
}

impl Control {
    fn start() -> Control {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            os::pin(os::Core::First);
            os::hasten();
            let [from, to] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
            to.set_nonblocking(true).unwrap();
            os::stamp(&to);
            let (mut came, mut sequence, mut packet) = (Vec::new(), 0u16, [0; PACKET]);
            let mono = clock::mono().nanos();
            let mut next = os::realtime() + TICK_NANOS - mono % TICK_NANOS + TICK_NANOS / 2;
            while !stopped.load(Ordering::Relaxed) {
                os::sleep_until(next);
                from.send_to(&packet, to.local_addr().unwrap()).unwrap();
                if let Some((_, at)) = os::receive(&to, &mut packet) {
                    came.push((sequence, at));
                }
                sequence += 1;
                next += TICK_NANOS;
            }
            // The first seconds are the legs' own: they are just being attached.
            let mut late = Vec::new();
            lateness(&came[came.len().min(50 * WARM)..], &mut late);
            late
        });
        Control { stop, thread }
    }

    fn stop(self) -> Vec<f64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// What std has no word for.
mod os {
    use super::*;

    pub enum Core {
        First,
        Last,
    }

    pub fn pin(core: Core) {
        // SAFETY: a set of bits that the calls fill and read within its size.
        unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            libc::sched_getaffinity(0, size_of_val(&set), &mut set);
            let mut cores = (0..libc::CPU_SETSIZE as usize).filter(|core| libc::CPU_ISSET(*core, &set));
            let core = match core {
                Core::First => cores.next(),
                Core::Last => cores.next_back(),
            };
            libc::CPU_ZERO(&mut set);
            libc::CPU_SET(core.unwrap(), &mut set);
            libc::sched_setaffinity(0, size_of_val(&set), &set);
        }
    }

    /// As the bridge's own threads do it.
    pub fn hasten() {
        let lowest = libc::sched_param { sched_priority: 1 };
        // SAFETY: one struct that lives here.
        unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &lowest) };
    }

    /// The clock that the kernel stamps packets with.
    pub fn realtime() -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        since.as_nanos() as u64
    }

    pub fn sleep_until(moment: u64) {
        let until =
            libc::timespec { tv_sec: (moment / 1_000_000_000) as i64, tv_nsec: (moment % 1_000_000_000) as i64 };
        // SAFETY: one timespec that lives here.
        unsafe { libc::clock_nanosleep(libc::CLOCK_REALTIME, libc::TIMER_ABSTIME, &until, std::ptr::null_mut()) };
    }

    /// Packets carry the moment at which the kernel had them: how often this process looks does not matter.
    pub fn stamp(socket: &UdpSocket) {
        let on: libc::c_int = 1;
        let size = size_of_val(&on) as libc::socklen_t;
        // SAFETY: one int, read within its size.
        let done = unsafe {
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, (&raw const on).cast(), size)
        };
        assert_eq!(done, 0, "no timestamps of packets");
    }

    /// One datagram and its moment, if there is one.
    pub fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> Option<(usize, u64)> {
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let mut control = [0u64; 8];
        // SAFETY: all that the call writes to lives here, with the sizes told; the header is read by the macros made for it.
        unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = &mut part;
            message.msg_iovlen = 1;
            message.msg_control = control.as_mut_ptr().cast();
            message.msg_controllen = size_of_val(&control);
            let length = libc::recvmsg(socket.as_raw_fd(), &mut message, 0);
            let header = libc::CMSG_FIRSTHDR(&message);
            if length < 0 || header.is_null() {
                return None;
            }
            let at: libc::timespec = std::ptr::read_unaligned(libc::CMSG_DATA(header).cast());
            Some((length as usize, at.tv_sec as u64 * 1_000_000_000 + at.tv_nsec as u64))
        }
    }

    /// Stamped, and with room for what a line's legs are sent while this process does something else.
    pub fn prepare(socket: &UdpSocket) {
        stamp(socket);
        socket2::SockRef::from(socket).set_recv_buffer_size(1 << 20).unwrap();
    }

    /// Datagrams of many legs through one socket in one call.
    #[derive(Default)]
    pub struct Post {
        packets: Vec<(libc::sockaddr_in, Vec<u8>)>,
        spare: Vec<Vec<u8>>,
    }

    /// So many datagrams are received by one call, each at most so long.
    const BATCH: usize = 64;
    const LONGEST: usize = 512;

    impl Post {
        pub fn clear(&mut self) {
            self.spare.extend(self.packets.drain(..).map(|(_, packet)| packet));
        }

        pub fn add(&mut self, to: SocketAddr, header: &[u8], payload: &[u8]) {
            let SocketAddr::V4(to) = to else { panic!("an address of IPv4") };
            let mut packet = self.spare.pop().unwrap_or_default();
            packet.clear();
            packet.extend_from_slice(header);
            packet.extend_from_slice(payload);
            // SAFETY: plain numbers, for which zeros are values.
            let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
            address.sin_family = libc::AF_INET as libc::sa_family_t;
            address.sin_port = to.port().to_be();
            address.sin_addr.s_addr = u32::from_ne_bytes(to.ip().octets());
            self.packets.push((address, packet));
        }

        pub fn send(&mut self, socket: &UdpSocket) {
            let mut parts: Vec<libc::iovec> = self
                .packets
                .iter_mut()
                .map(|(_, packet)| libc::iovec { iov_base: packet.as_mut_ptr().cast(), iov_len: packet.len() })
                .collect();
            let addresses = self.packets.iter_mut().map(|(address, _)| address);
            let mut messages: Vec<libc::mmsghdr> = addresses
                .zip(&mut parts)
                .map(|(address, part)| {
                    // SAFETY: as above.
                    let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
                    message.msg_hdr.msg_name = (&raw mut *address).cast();
                    message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
                    (message.msg_hdr.msg_iov, message.msg_hdr.msg_iovlen) = (part, 1);
                    message
                })
                .collect();
            // SAFETY: all that the messages point to lives here.
            let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), messages.len() as u32, 0) };
            assert_eq!(sent, messages.len() as i32);
        }

        /// Each datagram that lies there: the port it came from, what it is, and the moment the kernel had it.
        pub fn receive(&mut self, socket: &UdpSocket, mut take: impl FnMut(u16, &[u8], u64)) {
            let mut octets = [[0u8; LONGEST]; BATCH];
            let mut controls = [[0u64; 8]; BATCH];
            // SAFETY: plain numbers and pointers, for which zeros are values; all that the calls write to lives here, with
            // the sizes told; headers are read by the macros made for them.
            unsafe {
                let mut addresses: [libc::sockaddr_in; BATCH] = std::mem::zeroed();
                let mut parts: [libc::iovec; BATCH] = std::mem::zeroed();
                let mut messages: [libc::mmsghdr; BATCH] = std::mem::zeroed();
                loop {
                    for i in 0..BATCH {
                        parts[i] = libc::iovec { iov_base: octets[i].as_mut_ptr().cast(), iov_len: LONGEST };
                        let header = &mut messages[i].msg_hdr;
                        header.msg_name = (&raw mut addresses[i]).cast();
                        header.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
                        (header.msg_iov, header.msg_iovlen) = (&mut parts[i], 1);
                        (header.msg_control, header.msg_controllen) = (controls[i].as_mut_ptr().cast(), 64);
                    }
                    let none = std::ptr::null_mut();
                    let came = libc::recvmmsg(
                        socket.as_raw_fd(),
                        messages.as_mut_ptr(),
                        BATCH as u32,
                        libc::MSG_DONTWAIT,
                        none,
                    );
                    for i in 0..came.max(0) as usize {
                        let control = libc::CMSG_FIRSTHDR(&messages[i].msg_hdr);
                        if control.is_null() {
                            continue;
                        }
                        let at: libc::timespec = std::ptr::read_unaligned(libc::CMSG_DATA(control).cast());
                        let at = at.tv_sec as u64 * 1_000_000_000 + at.tv_nsec as u64;
                        let length = messages[i].msg_len as usize;
                        take(u16::from_be(addresses[i].sin_port), &octets[i][..length], at);
                    }
                    if came < BATCH as i32 {
                        return;
                    }
                }
            }
        }
    }

    pub struct Poll(libc::c_int);

    impl Poll {
        pub fn new(sockets: &[UdpSocket]) -> Poll {
            // SAFETY: file descriptors that live as long as the sockets.
            let poll = unsafe { libc::epoll_create1(0) };
            for (index, socket) in sockets.iter().enumerate() {
                socket.set_nonblocking(true).unwrap();
                let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: index as u64 };
                // SAFETY: as above; the event is copied.
                unsafe { libc::epoll_ctl(poll, libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &mut event) };
            }
            Poll(poll)
        }

        pub fn wait(&self) -> impl Iterator<Item = usize> {
            const MOST: usize = 256;
            let mut events = [libc::epoll_event { events: 0, u64: 0 }; MOST];
            // SAFETY: an array of as many events as told.
            let count = unsafe { libc::epoll_wait(self.0, events.as_mut_ptr(), MOST as i32, 100) };
            events.into_iter().take(count.max(0) as usize).map(|event| event.u64 as usize)
        }
    }

    impl Drop for Poll {
        fn drop(&mut self) {
            // SAFETY: opened by `new`, closed once.
            unsafe { libc::close(self.0) };
        }
    }

    /// Processor time of one thread, microseconds. The sum is exact; its two kinds are sampled by the kernel's own tick,
    /// which a thread that wakes in step with it may never meet in user mode.
    pub struct Times {
        pub all: f64,
        pub user: f64,
        pub system: f64,
    }

    impl Times {
        /// By the thread's name; `schedstat` counts nanoseconds, `stat` the two kinds in hundredths of a second.
        pub fn of(name: &str) -> Times {
            let folders = std::fs::read_dir("/proc/self/task").unwrap().flatten();
            let read =
                |path: &std::path::Path, file: &str| std::fs::read_to_string(path.join(file)).unwrap_or_default();
            let found: HashMap<String, std::path::PathBuf> =
                folders.map(|folder| (read(&folder.path(), "comm").trim().to_owned(), folder.path())).collect();
            let folder = &found[name];
            let number = |text: Option<&str>| text.and_then(|text| text.parse::<f64>().ok()).unwrap();
            let nanos = number(read(folder, "schedstat").split(' ').next());
            let stat = read(folder, "stat");
            let after_name: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
            let ticks = |place: usize| number(after_name.get(place).copied()) * 10_000.0;
            Times { all: nanos / 1_000.0, user: ticks(11), system: ticks(12) }
        }

        pub fn since(&self, before: &Times) -> Times {
            let (all, user, system) = (self.all - before.all, self.user - before.user, self.system - before.system);
            Times { all, user, system }
        }
    }
}
