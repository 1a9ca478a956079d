//! The world: one clock, one queue of what is to come, and the real machines of the bridge between them.
//!
//! No socket, no thread of ours, no sleep: the clock jumps to whatever is due next. The rim of the real bridge
//! (`switchboard/io.rs`, `node.rs`) is imitated here, since everything in it waits for the world.

use crate::auditor::Auditor;
use crate::carrier::{Carriers, Step, address, endpoint};
use crate::network::Network;
use crate::script::{Act, CARRIERS, Order, Script};
use crate::sound::{Later, Mixed, Sound, Told as Voices};
use crate::trace::Trace;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tollbridge::clock::{Mono, Now, Wall};
use tollbridge::leg;
use tollbridge::media::ports::Ports;
use tollbridge::media::{self, Codec, StreamId, TICK_MS};
use tollbridge::meeting::LobbyConfig;
use tollbridge::sip::{self, Command, Endpoint, Flow, Reason};
use tollbridge::store::{
    CreditsAdded, Document, Funds, FundsKind, OpenError, Opened, Options, Store, StoreError, UsageFilter,
};
use tollbridge::switchboard::ask::{Ask, Told};
use tollbridge::switchboard::sound::Sounds;
use tollbridge::switchboard::{Books, Config, Input, Output, Switchboard};
use tollbridge::trunk::GuardConfig;
use tollbridge::types::{Cause, LegId, MeetingId, Micros};

/// Noon, UTC, of a day in the middle of a month: no pool turns while a simulation runs.
const NOON: Wall = Wall::from_seconds(1_781_611_200);
/// What the books must hear is said again after so long, as in `switchboard/io.rs`.
const RETRY: Duration = Duration::from_secs(1);
const SECOND: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(TICK_MS);
/// In the mixer's mode a phone sends every fifth of its packets: enough to be alive, and cheap.
const TICKS_A_PACKET: u64 = 5;
/// The proof of life is written each second; where no crash is near, nobody would see most of them.
const PROOFS_APART: u64 = 16;
/// After the network is whole, everything must have come to rest within this time.
const REST: Duration = Duration::from_secs(400);

#[derive(Debug)]
enum Due {
    Packet {
        flow: Flow,
        bytes: Bytes,
    },
    Rtp {
        from: usize,
        bytes: Bytes,
    },
    Caller(usize),
    Phone(usize, Step),
    Key {
        phone: usize,
        key: char,
    },
    Quiet {
        life: u32,
        stream: StreamId,
        since: Mono,
    },
    Voice {
        life: u32,
        later: Later,
    },
    Dial(usize),
    Order(Order),
    /// A request reaches the books.
    Run {
        life: u32,
        leg: LegId,
        books: Box<Books>,
    },
    /// Their answer comes back.
    Answer {
        life: u32,
        leg: LegId,
        answer: Option<Result<Opened, StoreError>>,
    },
    Second,
    Tick,
    Crash {
        down: Duration,
    },
    Start,
    Jump(i64),
    Heal,
    Leave,
}

/// Why something was asked of the switchboard.
enum Why {
    Compare,
    Mute,
    Remove,
    Nothing,
}

/// One life of the bridge.
struct Bridge {
    endpoint: Endpoint,
    switchboard: Switchboard,
    sound: Sound,
    ports: Ports,
    lent: BTreeMap<StreamId, SocketAddr>,
    attached: BTreeMap<StreamId, SocketAddr>,
    /// Requests that wait behind another of their leg.
    clerk: BTreeMap<LegId, VecDeque<Books>>,
    why: BTreeMap<u64, Why>,
}

pub struct World {
    script: Rc<Script>,
    now: Mono,
    wall_step_s: i64,
    queue: BTreeMap<(Mono, u64), Due>,
    serial: u64,
    rng: StdRng,
    network: Network,
    carriers: Carriers,
    auditor: Auditor,
    pub trace: Trace,
    life: u32,
    bridge: Option<Bridge>,
    store: Option<Store>,
    runtime: Runtime,
    folder: TempDir,
    healed: bool,
    token: u64,
}

fn bridge_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5060))
}

/// In memory where there is such a place: the books sync each change to the disk.
fn folder() -> TempDir {
    let builder = || {
        let mut builder = tempfile::Builder::new();
        builder.prefix("tollbridge-simulation-");
        builder
    };
    builder().tempdir_in("/dev/shm").or_else(|_| builder().tempdir()).expect("a folder for the books")
}

impl World {
    pub fn new(seed: u64) -> World {
        let script = Rc::new(Script::draw(seed));
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let mut world = World {
            now: Mono::from_millis(1),
            wall_step_s: 0,
            queue: BTreeMap::new(),
            serial: 0,
            rng: StdRng::seed_from_u64(seed ^ 0x3071d),
            network: Network::new(seed, script.length_ms),
            carriers: Carriers::new(script.clone(), bridge_address()),
            auditor: Auditor::new(script.clone()),
            trace: Trace::default(),
            life: 0,
            bridge: None,
            store: None,
            runtime: runtime.enable_all().build().expect("a runtime"),
            folder: folder(),
            healed: false,
            token: 0,
            script,
        };
        world.start();
        world.apply();
        world.settle();
        world.plan();
        world
    }

    fn plan(&mut self) {
        let script = self.script.clone();
        let at = Duration::from_millis;
        for (number, caller) in script.callers.iter().enumerate() {
            self.after(at(caller.at_ms), Due::Caller(number));
        }
        for (number, dial) in script.dials.iter().enumerate() {
            self.after(at(dial.at_ms), Due::Dial(number));
        }
        for (at_ms, order) in &script.orders {
            self.after(at(*at_ms), Due::Order(order.clone()));
        }
        for (at_ms, down_ms) in &script.crashes {
            self.after(at(*at_ms), Due::Crash { down: at(*down_ms) });
        }
        for (at_ms, step_s) in &script.jumps {
            self.after(at(*at_ms), Due::Jump(*step_s));
        }
        self.after(SECOND, Due::Second);
        self.after(at(script.length_ms), Due::Heal);
        if script.mixed {
            self.after(TICK, Due::Tick);
        }
    }

    fn after(&mut self, wait: Duration, due: Due) {
        self.serial += 1;
        self.queue.insert((self.now + wait, self.serial), due);
    }

    fn clock(&self) -> Now {
        let since = NOON.plus_millis(self.now.nanos() / 1_000_000);
        Now { mono: self.now, wall: Wall::from_micros(since.micros() + self.wall_step_s * 1_000_000) }
    }

    // ---------------------------------------------------------------------------------------------------------- the loop

    /// Runs until all is at rest, and holds the end against what must be.
    pub fn run(&mut self) {
        while self.step() {}
        self.finish();
    }

    fn step(&mut self) -> bool {
        let machines = self.bridge.iter().flat_map(|b| [b.endpoint.deadline(), b.switchboard.deadline()]).flatten();
        let far = self.carriers.endpoints.iter().filter_map(Endpoint::deadline);
        let next = machines.chain(far).chain(self.queue.keys().next().map(|(at, _)| *at)).min();
        self.now = self.now.max(next.expect("the second never ends"));
        while let Some(entry) = self.queue.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let due = entry.remove();
            self.happens(due);
            self.settle();
        }
        self.wake();
        self.settle();
        self.auditor.instant(self.now);
        let limit = Mono::from_millis(self.script.length_ms) + REST;
        assert!(self.now < limit, "no rest: {}", self.unrest());
        !self.is_at_rest()
    }

    fn wake(&mut self) {
        let now = self.clock();
        self.carriers.endpoints.iter_mut().for_each(|endpoint| endpoint.wake(now.mono));
        if let Some(bridge) = &mut self.bridge {
            bridge.endpoint.wake(now.mono);
            bridge.switchboard.wake(now);
        }
    }

    fn happens(&mut self, due: Due) {
        match due {
            Due::Packet { flow, bytes } => self.arrive(flow, &bytes),
            Due::Rtp { from, bytes } => self.hear(from, &bytes),
            Due::Caller(number) => self.call(number),
            Due::Phone(phone, step) => self.phone(phone, &step),
            Due::Key { phone, key } => self.press(phone, key),
            Due::Quiet { life, stream, since } if life == self.life => self.listen(stream, since),
            Due::Voice { life, later } if life == self.life => self.voice(later),
            Due::Dial(number) => {
                let dial = &self.script.dials[number];
                let meeting = self.meeting(dial.meeting);
                let to = dial.to.parse().unwrap();
                self.ask(Ask::Dial { meeting, to }, Why::Nothing);
            }
            Due::Order(order) => self.order(order),
            Due::Run { life, leg, books } if life == self.life => self.ask_books(leg, *books),
            Due::Answer { life, leg, answer } if life == self.life => self.books_answer(leg, answer),
            Due::Second => self.second(),
            Due::Tick => self.tick(),
            Due::Crash { down } => self.crash(down),
            Due::Start => self.start(),
            Due::Jump(seconds) => self.wall_step_s += seconds,
            Due::Heal => self.heal(),
            Due::Leave => self.leave(),
            Due::Quiet { .. } | Due::Voice { .. } | Due::Run { .. } | Due::Answer { .. } => {}
        }
    }

    /// Lets everybody say what they have to say, until all are silent.
    fn settle(&mut self) {
        loop {
            let carrier = (0..CARRIERS.len()).find_map(|at| Some((at, self.carriers.endpoints[at].poll()?)));
            if let Some((carrier, output)) = carrier {
                self.carrier_says(carrier, output);
                continue;
            }
            let Some(bridge) = &mut self.bridge else { return };
            if let Some(output) = bridge.endpoint.poll() {
                self.endpoint_says(output);
            } else if let Some(output) = bridge.switchboard.poll() {
                self.switchboard_says(output);
            } else {
                return;
            }
        }
    }

    fn tell(&mut self, input: Input) {
        let now = self.clock();
        if let Some(bridge) = &mut self.bridge {
            bridge.switchboard.handle(now, input);
        }
    }

    // ------------------------------------------------------------------------------------------------------- signalling

    fn carrier_says(&mut self, carrier: usize, output: sip::Output) {
        match output {
            sip::Output::Send { flow, bytes } => self.carry(flow, bytes),
            sip::Output::Event(event) => {
                let known = self.carriers.phones.len();
                let steps = self.carriers.event(self.now, carrier, event);
                self.introduce(known);
                for (phone, wait, step) in steps {
                    self.after(wait, Due::Phone(phone, step));
                }
            }
            sip::Output::Close { .. } => panic!("there is no connection"),
        }
    }

    /// New phones are made known to the auditor.
    fn introduce(&mut self, known: usize) {
        for phone in &self.carriers.phones[known..] {
            self.auditor.phone(phone.rtp, &phone.call_id);
        }
    }

    fn endpoint_says(&mut self, output: sip::Output) {
        match output {
            sip::Output::Send { flow, bytes } => {
                self.auditor.sent(self.now, &bytes);
                self.carry(flow, bytes);
            }
            sip::Output::Event(event) => {
                self.trace.note(self.now, "event", &event);
                self.tell(Input::Sip(event));
            }
            sip::Output::Close { .. } => panic!("there is no connection"),
        }
    }

    fn carry(&mut self, flow: Flow, bytes: Bytes) {
        self.trace.packet(self.now, flow, &bytes);
        let arrives = Flow { local: flow.peer, peer: flow.local, ..flow };
        for delay in self.network.carry(self.now, &bytes) {
            self.after(delay, Due::Packet { flow: arrives, bytes: bytes.clone() });
        }
    }

    fn arrive(&mut self, flow: Flow, bytes: &Bytes) {
        if let Some(carrier) = (0..CARRIERS.len()).find(|at| address(*at) == flow.local) {
            return self.carriers.endpoints[carrier].receive(self.now, flow, bytes);
        }
        assert_eq!(flow.local, bridge_address(), "nothing goes anywhere else");
        if let Some(bridge) = &mut self.bridge {
            self.auditor.arrived(self.now, bytes);
            bridge.endpoint.receive(self.now, flow, bytes);
        }
    }

    fn call(&mut self, number: usize) {
        let known = self.carriers.phones.len();
        let (phone, gives_up) = self.carriers.call(self.now, number);
        self.introduce(known);
        if self.script.callers[number].deaf && !self.healed {
            let call_id = self.carriers.phones[phone].call_id.clone();
            self.network.lose_acks_of(&call_id);
        }
        if let Some(wait) = gives_up {
            self.after(wait, Due::Phone(phone, Step::GiveUp));
        }
    }

    fn phone(&mut self, phone: usize, step: &Step) {
        if self.carriers.phones[phone].is_over {
            return;
        }
        self.carriers.step(self.now, phone, step);
        match step {
            Step::Act(Act::Keys(keys)) => self.dial_keys(phone, keys),
            Step::Act(Act::Quiet) => {
                let now = self.now;
                self.carriers.phones[phone].quiet.get_or_insert(now);
            }
            _ => {}
        }
        self.hush(phone);
    }

    // ------------------------------------------------------------------------------------------------------------ sound

    /// A phone that has just become silent will be missed.
    fn hush(&mut self, phone: usize) {
        let Some(quiet) = self.carriers.phones[phone].quiet else { return };
        let line = &self.carriers.phones[phone];
        let Some(Bridge { sound: Sound::Told(voices), .. }) = &self.bridge else { return };
        if let Some(stream) = voices.of(line.rtp) {
            self.auditor.heard(quiet, &line.call_id);
            self.after(Duration::ZERO, Due::Quiet { life: self.life, stream, since: quiet });
        }
    }

    fn listen(&mut self, stream: StreamId, since: Mono) {
        let now = self.now;
        let Some(Bridge { sound: Sound::Told(voices), .. }) = &mut self.bridge else { return };
        let again = voices.listen(now, stream, since);
        self.voices();
        if let Some(at) = again {
            self.after(at.since(now), Due::Quiet { life: self.life, stream, since });
        }
    }

    fn voice(&mut self, later: Later) {
        match later {
            Later::Tell(event) => self.sounds(event),
            Later::Ends { target, serial } => {
                if let Some(Bridge { sound: Sound::Told(voices), .. }) = &mut self.bridge {
                    voices.ends(target, serial);
                }
                self.voices();
            }
        }
    }

    fn sounds(&mut self, event: media::Event) {
        if let media::Event::Digit { stream, key, .. } = event {
            self.auditor.key(stream, key);
        }
        self.trace.note(self.now, "sound", &event);
        self.tell(Input::Media(event));
    }

    /// What the told sound will tell.
    fn voices(&mut self) {
        let Some(Bridge { sound: Sound::Told(voices), .. }) = &mut self.bridge else { return };
        for (wait, later) in std::mem::take(&mut voices.out) {
            self.after(wait, Due::Voice { life: self.life, later });
        }
    }

    /// Fingers are slow, and not even.
    fn dial_keys(&mut self, phone: usize, keys: &str) {
        let mut wait = Duration::ZERO;
        for key in keys.chars() {
            self.after(wait, Due::Key { phone, key });
            wait += Duration::from_millis(self.rng.random_range(120..600));
        }
    }

    fn press(&mut self, phone: usize, key: char) {
        let line = &self.carriers.phones[phone];
        if line.is_over || line.quiet.is_some() {
            return;
        }
        let rtp = line.rtp;
        match &self.bridge {
            Some(Bridge { sound: Sound::Told(voices), .. }) => {
                if let Some(stream) = voices.of(rtp) {
                    let delay = self.network.delay();
                    let digit = media::Event::Digit { stream, key, at: self.now };
                    self.after(delay, Due::Voice { life: self.life, later: Later::Tell(digit) });
                }
            }
            _ => self.send_key(phone, key),
        }
    }

    /// A press as RFC 4733 has it: three packets while the key is down, three of its end.
    fn send_key(&mut self, phone: usize, key: char) {
        const KEYS: &str = "0123456789*#";
        let code = KEYS.find(key).expect("a key of a phone") as u8;
        let stamp = self.stamp();
        for (number, wait_ms) in [0, 20, 40, 80, 81, 82].into_iter().enumerate() {
            let end = if number >= 3 { 0x80 } else { 0 };
            let duration = (wait_ms as u16 + 20) * 8;
            let payload = [code, end | 10, (duration >> 8) as u8, duration as u8];
            let packet = self.rtp(phone, 101, stamp, &payload);
            self.send_rtp(phone, Duration::from_millis(wait_ms), packet);
        }
    }

    fn stamp(&self) -> u32 {
        (self.now.nanos() / 125_000) as u32
    }

    fn rtp(&mut self, phone: usize, payload_type: u8, stamp: u32, payload: &[u8]) -> Bytes {
        let line = &mut self.carriers.phones[phone];
        line.sequence = line.sequence.wrapping_add(1);
        let mut packet = vec![0x80, payload_type];
        packet.extend(line.sequence.to_be_bytes());
        packet.extend(stamp.to_be_bytes());
        packet.extend((phone as u32 + 1).to_be_bytes());
        packet.extend(payload);
        packet.into()
    }

    fn send_rtp(&mut self, phone: usize, wait: Duration, packet: Bytes) {
        for delay in self.network.carry(self.now, &packet) {
            self.after(wait + delay, Due::Rtp { from: phone, bytes: packet.clone() });
        }
    }

    fn hear(&mut self, from: usize, packet: &Bytes) {
        let line = &self.carriers.phones[from];
        let Some(Bridge { sound: Sound::Mixed(mixed), .. }) = &mut self.bridge else { return };
        if let Some(port) = line.bridge
            && mixed.receive(self.now, port, line.rtp, packet)
        {
            self.auditor.heard(self.now, &line.call_id);
        }
    }

    /// One beat of the mixer.
    fn tick(&mut self) {
        if self.is_at_rest() {
            return;
        }
        self.after(TICK, Due::Tick);
        if self.now.nanos() / TICK.as_nanos() as u64 % TICKS_A_PACKET == 0 {
            self.talk();
        }
        let now = self.now;
        let Some(Bridge { sound: Sound::Mixed(mixed), .. }) = &mut self.bridge else { return };
        mixed.engine.tick(now);
        for packet in mixed.engine.outgoing() {
            let phone = self.carriers.phone_at(packet.to).expect("sound for nobody");
            self.trace.sound(now, phone, packet.packet);
        }
        let events: Vec<media::Event> = mixed.engine.events().collect();
        for event in events {
            self.sounds(event);
            self.settle();
        }
    }

    fn talk(&mut self) {
        let stamp = self.stamp();
        for phone in 0..self.carriers.phones.len() {
            let line = &self.carriers.phones[phone];
            if line.bridge.is_some() && !line.is_over && line.quiet.is_none() {
                let (payload_type, silence) = match line.codec {
                    Codec::Pcma => (8, 0xd5),
                    Codec::Pcmu => (0, 0xff),
                };
                let packet = self.rtp(phone, payload_type, stamp, &[silence; 160]);
                self.send_rtp(phone, Duration::ZERO, packet);
            }
        }
    }

    // -------------------------------------------------------------------------------------------------- the switchboard

    fn switchboard_says(&mut self, output: Output) {
        self.trace.note(self.now, "says", &output);
        let now = self.now;
        match output {
            Output::Sip(command) => {
                if let Some(bridge) = &mut self.bridge {
                    bridge.endpoint.command(now, command);
                }
            }
            Output::Media(command) => self.to_media(command),
            Output::Lend { leg, stream } => self.lend(leg, stream),
            Output::Attach { stream, plan } => self.attach(stream, plan),
            Output::GiveBack { stream } => self.give_back(stream),
            Output::Books(books) => self.to_books(books),
            Output::Told { token, told } => self.told(token, told),
        }
    }

    fn to_media(&mut self, command: media::Command) {
        let now = self.now;
        self.auditor.media(&command);
        let Some(bridge) = &mut self.bridge else { return };
        if let media::Command::Detach { stream } = &command
            && let Some(port) = bridge.attached.remove(stream)
        {
            bridge.ports.give_back(port.port(), now);
        }
        match &mut bridge.sound {
            Sound::Mixed(mixed) => mixed.command(now, command, None),
            Sound::Told(voices) => voices.command(now, command),
        }
        self.voices();
    }

    fn lend(&mut self, leg: LegId, stream: StreamId) {
        let now = self.now;
        let Some(bridge) = &mut self.bridge else { return };
        let port = bridge.ports.lend(now).ok().map(|port| SocketAddr::new(bridge_address().ip(), port));
        bridge.lent.extend(port.map(|port| (stream, port)));
        self.tell(Input::Lent { leg, port });
    }

    fn attach(&mut self, stream: StreamId, plan: media::Plan) {
        let now = self.now;
        self.auditor.attached(stream, &plan);
        let Some(bridge) = &mut self.bridge else { return };
        let port = bridge.lent.remove(&stream).expect("attached over a port that was not lent");
        bridge.attached.insert(stream, port);
        let command = media::Command::Attach { stream, plan };
        match &mut bridge.sound {
            Sound::Mixed(mixed) => mixed.command(now, command, Some(port)),
            Sound::Told(voices) => voices.command(now, command),
        }
        // It may have fallen silent before.
        if let Some(phone) = self.carriers.phone_at(plan.remote) {
            self.hush(phone);
        }
    }

    fn give_back(&mut self, stream: StreamId) {
        let now = self.now;
        if let Some(bridge) = &mut self.bridge
            && let Some(port) = bridge.lent.remove(&stream)
        {
            bridge.ports.give_back(port.port(), now);
        }
    }

    fn ask(&mut self, ask: Ask, why: Why) {
        self.token += 1;
        let token = self.token;
        if let Some(bridge) = &mut self.bridge {
            bridge.why.insert(token, why);
            self.tell(Input::Asked { token, ask });
            self.settle();
        }
    }

    fn told(&mut self, token: u64, told: Told) {
        let why = self.bridge.as_mut().and_then(|bridge| bridge.why.remove(&token));
        match (why.expect("an answer to no question"), told) {
            (Why::Compare, Told::Meetings(views)) => self.auditor.compare_meetings(self.now, &views),
            (Why::Compare, Told::Legs(views)) => self.auditor.compare_legs(self.now, &views),
            (Why::Mute, Told::Legs(views)) if !views.is_empty() => {
                let leg = views[self.rng.random_range(0..views.len())].id.parse().unwrap();
                let on = self.rng.random();
                self.ask(Ask::Mute { leg, on }, Why::Nothing);
            }
            (Why::Remove, Told::Legs(views)) if !views.is_empty() => {
                let leg = views[self.rng.random_range(0..views.len())].id.parse().unwrap();
                self.auditor.removed(leg);
                self.ask(Ask::Remove { leg }, Why::Nothing);
            }
            _ => {}
        }
    }

    fn meeting(&self, at: usize) -> MeetingId {
        self.script.meetings[at].id.parse().unwrap()
    }

    fn order(&mut self, order: Order) {
        if self.bridge.is_none() {
            return;
        }
        self.auditor.ordered(&order);
        match order {
            Order::TopUp { house, amount } => self.top_up(house, amount),
            Order::Mute => self.ask(Ask::Legs, Why::Mute),
            Order::Remove => self.ask(Ask::Legs, Why::Remove),
            Order::End { meeting } => self.ask(Ask::End { meeting: self.meeting(meeting) }, Why::Nothing),
            Order::Lock { meeting, on } => self.ask(Ask::Lock { meeting: self.meeting(meeting), on }, Why::Nothing),
            Order::Admit { meeting } => self.ask(Ask::Admit { meeting: self.meeting(meeting) }, Why::Nothing),
            Order::Apply => self.apply(),
            Order::Compare => {
                self.ask(Ask::Meetings, Why::Compare);
                self.ask(Ask::Legs, Why::Compare);
            }
        }
    }

    // -------------------------------------------------------------------------------------------------------- the books

    fn store(&self) -> &Store {
        self.store.as_ref().expect("the books of a bridge that runs")
    }

    fn apply(&mut self) {
        let deck = self.script.deck();
        let document = Document::parse("simulation.toml", &self.script.document(), |_| Ok(deck));
        let document = document.unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let applied = self.runtime.block_on(self.store().apply(document, self.clock().wall));
        applied.expect("the books").unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let facts = self.store().facts();
        self.tell(Input::Facts(facts));
    }

    fn top_up(&mut self, house: usize, amount: i64) {
        self.serial += 1;
        let funds = Funds {
            organisation: self.script.houses[house].id.parse().unwrap(),
            key: format!("top-up-{}", self.serial),
            amount: Micros(amount),
            kind: FundsKind::Funding,
            memo: "simulation".into(),
            at: self.clock().wall,
        };
        let added = self.runtime.block_on(self.store().add_credits(funds)).expect("the books");
        assert_eq!(added, CreditsAdded::Booked);
        self.auditor.topped_up(house, amount);
        self.balances();
    }

    fn balances(&mut self) {
        for (at, house) in self.script.houses.iter().enumerate() {
            let balance = self.runtime.block_on(self.store().balance(&house.id.parse().unwrap())).expect("the books");
            self.auditor.balance(at, &balance);
        }
    }

    /// Requests of one leg go one after the other.
    fn to_books(&mut self, books: Books) {
        let leg = books.leg();
        if let Books::Open(open) = &books {
            self.auditor.opens(leg, &open.call_id);
        }
        let Some(bridge) = &mut self.bridge else { return };
        match bridge.clerk.get_mut(&leg) {
            Some(queue) => queue.push_back(books),
            None => {
                bridge.clerk.insert(leg, VecDeque::new());
                self.send_books(leg, books);
            }
        }
    }

    fn send_books(&mut self, leg: LegId, books: Books) {
        let wait = self.books_delay();
        self.after(wait, Due::Run { life: self.life, leg, books: Box::new(books) });
    }

    fn books_delay(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(0..=self.script.books_ms))
    }

    fn ask_books(&mut self, leg: LegId, books: Books) {
        let down = !self.healed && self.rng.random_range(0..1_000) < self.script.faults;
        let answer = match (&books, down) {
            (Books::Answered(_) | Books::Settle(_), true) => {
                return self.after(RETRY, Due::Run { life: self.life, leg, books: Box::new(books) });
            }
            (_, true) => Some(Err(StoreError::Down("drawn".into()))),
            (_, false) => self.run_books(books),
        };
        self.trace.note(self.now, "books", &answer);
        self.balances();
        let wait = self.books_delay();
        self.after(wait, Due::Answer { life: self.life, leg, answer });
    }

    fn run_books(&mut self, books: Books) -> Option<Result<Opened, StoreError>> {
        let store = self.store.as_ref().expect("the books of a bridge that runs");
        let sound = |answer: Result<Opened, StoreError>| Some(Ok(answer.expect("the books object")));
        match books {
            Books::Open(open) => sound(self.runtime.block_on(store.open_leg(open))),
            Books::Name(name) => sound(self.runtime.block_on(store.name_payer(name))),
            Books::Extend(extend) => sound(self.runtime.block_on(store.extend(extend))),
            Books::Answered(answered) => {
                self.runtime.block_on(store.answered(answered)).expect("the books object");
                None
            }
            Books::Settle(settle) => {
                match self.runtime.block_on(store.settle(settle.leg, settle.end)) {
                    Ok(record) => {
                        self.trace.note(self.now, "record", &record);
                        self.auditor.record(&record);
                    }
                    // Its first request met closed books: they never heard of it.
                    Err(StoreError::Unknown(_)) if self.script.faults > 0 => {}
                    Err(error) => panic!("the books object: {error}"),
                }
                None
            }
        }
    }

    fn books_answer(&mut self, leg: LegId, answer: Option<Result<Opened, StoreError>>) {
        let Some(bridge) = &mut self.bridge else { return };
        match bridge.clerk.get_mut(&leg).and_then(VecDeque::pop_front) {
            Some(next) => self.send_books(leg, next),
            None => drop(bridge.clerk.remove(&leg)),
        }
        if let Some(answer) = answer {
            if let Ok(Opened::Granted(_)) = answer {
                self.granted(leg);
            }
            self.tell(Input::Opened { leg, answer });
        }
    }

    /// Who pays is what the journal says; whether it may say so is the auditor's to judge.
    fn granted(&mut self, leg: LegId) {
        let live = self.runtime.block_on(self.store().live_legs()).expect("the books");
        if let Some(meeting) = live.iter().find(|live| live.leg == leg).and_then(|live| live.meeting.clone()) {
            self.auditor.granted(leg, meeting.as_str());
        }
    }

    // ---------------------------------------------------------------------------------------------------- life and death

    fn second(&mut self) {
        self.after(SECOND, Due::Second);
        let now = self.now;
        let Some(bridge) = &self.bridge else { return };
        let near = self.script.crashes.iter().any(|(at, _)| Mono::from_millis(*at).since(now) <= 3 * SECOND);
        if near || now.nanos() / SECOND.as_nanos() as u64 % PROOFS_APART == 0 {
            let mut lives = bridge.switchboard.lives(now);
            lives.sort();
            self.trace.note(now, "lives", &lives);
            self.runtime.block_on(self.store().prove_life(lives)).expect("the proof of life");
        }
    }

    fn crash(&mut self, down: Duration) {
        let Some(bridge) = self.bridge.take() else { return };
        let asking: Vec<LegId> = bridge.clerk.keys().copied().collect();
        self.auditor.crashed(self.now, &asking);
        self.trace.note(self.now, "crash", &asking);
        self.life += 1;
        self.store = None;
        self.after(down, Due::Start);
    }

    fn open(&self) -> Store {
        let url = format!("sqlite:{}", self.folder.path().join("store.db").display());
        self.runtime.block_on(async {
            loop {
                match Store::open(&url, Options { readers: 1, ..Options::default() }).await {
                    Err(OpenError::Held { .. }) => tokio::task::yield_now().await,
                    other => return other.expect("the books"),
                }
            }
        })
    }

    /// As a node starts: the books of the last life first, then BYE to its dialogs, then calls.
    fn start(&mut self) {
        let store = self.open();
        let now = self.clock();
        let seed = self.script.seed * 64 + u64::from(self.life);
        let mut endpoint = endpoint(seed ^ 0xb41d_6e00_0000);
        let orphans = self.runtime.block_on(store.recover(now.wall)).expect("the books");
        self.trace.note(self.now, "orphans", &orphans);
        for orphan in &orphans {
            let record = self.runtime.block_on(store.record(orphan.leg)).expect("the books");
            self.auditor.record(&record);
            let reason =
                Some(Reason { q850: Some(Cause::NodeDied.q850()), sip: None, text: Cause::NodeDied.words().into() });
            endpoint.command(now.mono, Command::Bury { journal: orphan.journal.clone(), reason });
        }
        let mut bytes = [3; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let switchboard = Switchboard::new(config(), store.facts(), Arc::new(Sounds::silent()), bytes);
        let sound = match self.script.mixed {
            true => Sound::Mixed(Box::new(Mixed::new(seed))),
            false => Sound::Told(Voices::new(seed)),
        };
        self.store = Some(store);
        self.bridge = Some(Bridge {
            endpoint,
            switchboard,
            sound,
            ports: Ports::new(10_000..=10_199, seed),
            lent: BTreeMap::new(),
            attached: BTreeMap::new(),
            clerk: BTreeMap::new(),
            why: BTreeMap::new(),
        });
        if self.life > 0 {
            self.balances();
        }
    }

    // ---------------------------------------------------------------------------------------------------------- the end

    /// The network is whole from now on, and the books are open.
    fn heal(&mut self) {
        self.trace.note(self.now, "heal", &());
        self.healed = true;
        self.network.heal();
        let wait = Duration::from_millis(self.rng.random_range(0..30_000));
        self.after(wait.max(Duration::from_secs(21)), Due::Leave);
    }

    /// All are to go: by themselves, or since the bridge stops.
    fn leave(&mut self) {
        if self.script.stops {
            self.tell(Input::Stop);
        }
        for phone in 0..self.carriers.phones.len() {
            let line = &self.carriers.phones[phone];
            let stays = self.script.stops && line.is_up;
            if !line.is_over && !stays {
                let wait = Duration::from_millis(self.rng.random_range(0..5_000));
                let step = if line.is_up { Step::Act(Act::HangUp) } else { Step::GiveUp };
                self.after(wait, Due::Phone(phone, step));
            }
        }
    }

    fn is_at_rest(&self) -> bool {
        let Some(bridge) = &self.bridge else { return false };
        let calls = |endpoint: &Endpoint| endpoint.calls() + endpoint.transactions() == 0;
        self.healed
            && bridge.switchboard.is_quiet()
            && bridge.clerk.is_empty()
            && calls(&bridge.endpoint)
            && self.carriers.endpoints.iter().all(calls)
            && self.queue.values().all(|due| self.is_idle(due))
    }

    /// What waits in the queue and will change nothing.
    fn is_idle(&self, due: &Due) -> bool {
        match due {
            Due::Second | Due::Tick | Due::Voice { .. } | Due::Quiet { .. } | Due::Rtp { .. } => true,
            Due::Phone(phone, _) | Due::Key { phone, .. } => self.carriers.phones[*phone].is_over,
            Due::Run { life, .. } | Due::Answer { life, .. } => *life != self.life,
            _ => false,
        }
    }

    fn unrest(&self) -> String {
        let far = self.carriers.endpoints.iter().map(|e| (e.calls(), e.transactions()));
        let here = self.bridge.as_ref().map(|b| {
            let legs = (b.switchboard.legs(), b.switchboard.meetings());
            (b.endpoint.calls(), b.endpoint.transactions(), legs, b.clerk.len())
        });
        let queue: Vec<&Due> = self.queue.values().filter(|due| !self.is_idle(due)).collect();
        format!("carriers {:?}, bridge {here:?}, queue {queue:?}", far.collect::<Vec<_>>())
    }

    fn finish(&mut self) {
        let bridge = self.bridge.take().expect("a bridge that runs at the end");
        assert_eq!((bridge.switchboard.meetings(), bridge.switchboard.deadline()), (0, None), "left over");
        assert_eq!(bridge.endpoint.alarms(), 0, "left over");
        assert_eq!((bridge.lent.len(), bridge.attached.len()), (0, 0), "ports left over");
        assert_eq!(bridge.why.len(), 0, "questions without an answer");
        if let Sound::Mixed(mixed) = &bridge.sound {
            assert!(mixed.engine.is_empty(), "streams left over");
        }
        let alarms = self.carriers.endpoints.iter().map(Endpoint::alarms);
        assert_eq!(alarms.sum::<usize>(), 0, "alarms of carriers left over");
        let (store, wall) = (self.store(), self.clock().wall);
        let differences = self.runtime.block_on(store.audit()).expect("the books");
        assert!(differences.is_empty(), "{differences:?}");
        let live = self.runtime.block_on(store.live_legs()).expect("the books");
        assert!(live.is_empty(), "{live:?}");
        let records = self.runtime.block_on(store.usage(&UsageFilter::default())).expect("the books");
        let mut pools = Vec::new();
        for house in &self.script.houses {
            let id = house.id.parse().unwrap();
            let balance = self.runtime.block_on(store.balance(&id)).expect("the books");
            assert_eq!((balance.held, balance.burn_nanos), (Micros::ZERO, 0), "{balance:?}");
            let pool = self.runtime.block_on(store.pool(&id, wall)).expect("the books");
            assert_eq!(pool.held_ms, 0, "{pool:?}");
            pools.push(pool.used_ms);
        }
        self.auditor.finish(&records, &pools);
        self.balances();
        self.trace.note(self.now, "end", &records);
    }
}

/// As a node sets it.
fn config() -> Config {
    let here = (bridge_address(), bridge_address());
    Config {
        leg: leg::Config::default(),
        lobby: LobbyConfig::default(),
        guard: GuardConfig::default(),
        codecs: vec![Codec::Pcma, Codec::Pcmu],
        ring_ms: 60_000,
        udp: Some(here),
        tcp: None,
        retry_after_s: 5,
    }
}
