//! The world: one clock, one queue of what is to come, and the real machines of the bridge between them.
//!
//! No socket, no thread of ours, no sleep: the clock jumps to whatever is due next. The rim of the real bridge
//! (`switchboard/io.rs`, `node.rs`) is imitated here, since everything in it waits for the world.

mod books;
mod life;
mod money;
mod rest;
mod voice;
mod zombie;

use crate::auditor::Auditor;
use crate::carrier::{Carriers, Step, address, endpoint};
use crate::network::Network;
use crate::planted;
use crate::script::{Act, Ban, Bans, CARRIERS, Order, Pain, Relapse, Script, TRANSFERS};
use crate::shrink::Gone;
use crate::slice::{Asked, Purse};
use crate::sound::{Later, Mixed, Sound, Told as Voices};
use crate::trace::Trace;
use crate::trouble::{Blow, Trouble};
use crate::watcher::Watchers;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
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
use tollbridge::meeting::{self, KeyMap, LobbyConfig};
use tollbridge::notice::Report;
use tollbridge::rating::{Deck, UsageRecord};
use tollbridge::sip::{self, Call, Command, Endpoint, Flow, Reason};
use tollbridge::store::{
    CreditsAdded, Document, Funds, FundsKind, GrantAdded, MOST_REVIEWED, NewGrant, OpenError, Opened, Options, Orphan,
    Revoke, Settle, Store, StoreError, UsageFilter,
};
use tollbridge::switchboard::ask::{Ask, Told};
use tollbridge::switchboard::sound::Sounds;
use tollbridge::switchboard::{Books, Config, Input, Output, Switchboard};
use tollbridge::trunk::{GuardConfig, PatternConfig};
use tollbridge::types::{Cause, LegId, MeetingId, Micros, OrganisationId};

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
        answer: Done,
    },
    /// The books are asked which of these legs may go on.
    Review {
        life: u32,
        legs: Vec<LegId>,
    },
    /// What came together goes to the books.
    Bunch {
        life: u32,
    },
    Pain(Pain),
    /// The database can be had again.
    Back,
    /// A life that was taken for dead says something.
    Haunt {
        left: u32,
    },
    /// What is to be paid outside is looked for.
    Errands,
    /// What came of it is told.
    Report {
        life: u32,
        report: Report,
    },
    Second,
    Tick,
    Crash {
        down: Duration,
    },
    /// A next life dies soon.
    Relapse,
    Start,
    Jump(i64),
    Heal,
    Leave,
}

/// What the books did.
#[derive(Debug)]
enum Done {
    Opened(Result<Opened, StoreError>),
    Journaled,
    Noted,
    Rerouted(Result<(), StoreError>),
    Settled,
}

/// A fault that is planted.
#[derive(Clone, Copy, Debug)]
pub struct Plant {
    pub name: &'static str,
    pub fault: Fault,
    /// What it must be found by: part of why.
    pub found_by: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// In the books, by a trigger.
    Books(&'static str),
    /// The bridge overlooks this header of requests.
    Overlooks(&'static str),
    /// Its settings are otherwise.
    Set(fn(&mut Config)),
}

/// What a world has seen, so that it is known that there was such a thing.
#[derive(Debug, Default)]
pub struct Seen {
    /// Why legs that talked had to go.
    pub withdrawn: BTreeSet<Cause>,
    /// Legs that were held against an organiser's that had no money left.
    pub firsts: u64,
    /// Slices that were held against the order of payers, and against a share of the last money.
    pub ordered: u64,
    pub shared: u64,
    /// Phones that were rung by REFER and paid by whose meeting it was, and calls that took the place of others.
    pub referred: u64,
    pub replaced: u64,
    /// Those of them who came when whoever had asked was gone; and how often callers were moved, and paid where they went on.
    pub outlived: u64,
    pub moved: u64,
    /// Times that somebody was told who is in a meeting.
    pub watched: u64,
}

/// Why something was asked of the switchboard.
enum Why {
    Compare,
    Mute,
    Remove,
    Revoke { house: usize, dial_out: bool, lock: bool, lost: bool },
    Nothing,
}

/// One life of the bridge.
struct Bridge {
    endpoint: Endpoint,
    switchboard: Switchboard,
    sound: Sound,
    ports: Ports,
    lent: BTreeMap<StreamId, u16>,
    attached: BTreeMap<StreamId, u16>,
    /// Requests that wait behind another of their leg.
    clerk: BTreeMap<LegId, VecDeque<Books>>,
    /// Legs of whose answer the books have not heard yet.
    unheard: BTreeSet<LegId>,
    why: BTreeMap<u64, Why>,
}

pub struct World {
    script: Rc<Script>,
    now: Mono,
    wall_step_s: i64,
    /// The furthest that the wall's clock ever was ahead.
    most_ahead_s: i64,
    queue: BTreeMap<(Mono, u64), Due>,
    serial: u64,
    rng: StdRng,
    network: Network,
    carriers: Carriers,
    watchers: Watchers,
    auditor: Auditor,
    /// Legs of dead lives whose record the auditor has seen.
    mourned: BTreeSet<LegId>,
    /// Of the script's relapses so many have been.
    relapsed: usize,
    /// What is forbidden now.
    bans: Bans,
    /// When each grant was given, by its name.
    given: BTreeMap<String, Wall>,
    pub trace: Trace,
    life: u32,
    bridge: Option<Bridge>,
    store: Option<Store>,
    /// Of an old life that does not know that it is one.
    zombie: Option<Store>,
    runtime: Runtime,
    folder: TempDir,
    fault: Option<Fault>,
    healed: bool,
    token: u64,
    trouble: &'static Trouble,
    /// A death is due at some statement; the node is gone for so long then.
    is_aimed_at: bool,
    /// A life that has begun dies then.
    relapses_at: Option<Mono>,
    down: Duration,
    /// Requests that go to the books together.
    bunch: Vec<Books>,
    /// What was asked, and may have been written, and was not answered: by its key.
    unclear: BTreeMap<String, (usize, i64)>,
    /// Payments and corrections by hand of which the books say that they have them.
    booked: BTreeSet<String>,
    /// The deck of the file that was brought in last, and what the books call each.
    deck: usize,
    versions: [String; 2],
    /// Acts of the script, all told.
    pub acts: usize,
    pub steps: u64,
    /// Legs of which an answer was lost.
    vague: BTreeSet<LegId>,
    /// The one request that has just gone well.
    slice: Option<Asked>,
    /// Legs that a switch may have ended, without an answer.
    cut_off: BTreeSet<LegId>,
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

impl Drop for World {
    fn drop(&mut self) {
        Trouble::gone(&self.folder.path().join("store.db"));
    }
}

impl World {
    /// Without some of the script's acts; with a fault that was planted.
    pub fn new(seed: u64, gone: &Gone, plant: Option<Plant>) -> World {
        let script = Rc::new(Script::draw(seed));
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let folder = folder();
        let mut world = World {
            trouble: Trouble::at(&folder.path().join("store.db")),
            is_aimed_at: false,
            relapses_at: None,
            down: Duration::ZERO,
            bunch: Vec::new(),
            unclear: BTreeMap::new(),
            booked: BTreeSet::new(),
            deck: 0,
            versions: [0, 1].map(|deck| Deck::salvage("rates.csv", &script.deck(deck)).0.version().to_owned()),
            acts: 0,
            steps: 0,
            vague: BTreeSet::new(),
            slice: None,
            cut_off: BTreeSet::new(),
            now: Mono::from_millis(1),
            wall_step_s: 0,
            most_ahead_s: 0,
            queue: BTreeMap::new(),
            serial: 0,
            rng: StdRng::seed_from_u64(seed ^ 0x3071d),
            network: Network::new(seed, script.length_ms),
            carriers: Carriers::new(script.clone(), bridge_address()),
            watchers: Watchers::new(script.clone()),
            auditor: Auditor::new(script.clone()),
            mourned: BTreeSet::new(),
            relapsed: 0,
            bans: Bans::new(),
            given: BTreeMap::new(),
            trace: Trace::default(),
            life: 0,
            bridge: None,
            store: None,
            zombie: None,
            runtime: runtime.enable_all().build().expect("a runtime"),
            folder,
            fault: plant.map(|plant| plant.fault),
            healed: false,
            token: 0,
            script,
        };
        world.start();
        assert!(world.apply(&Bans::new()), "the first file");
        for gift in
            (0..world.script.gifts.len()).filter(|gift| world.script.gifts[*gift].at_ms.is_none()).collect::<Vec<_>>()
        {
            assert!(world.give(gift), "the first grants");
        }
        world.settle();
        if let Some(Fault::Books(sql)) = world.fault {
            world.runtime.block_on(planted::plant(&world.folder.path().join("store.db"), sql));
        }
        world.plan(gone);
        world
    }

    pub fn now_ms(&self) -> u64 {
        self.now.nanos() / 1_000_000
    }

    fn plan(&mut self, gone: &Gone) {
        let script = self.script.clone();
        let at = Duration::from_millis;
        let mut planned = Vec::new();
        for (number, caller) in script.callers.iter().enumerate() {
            planned.push((at(caller.at_ms), Due::Caller(number)));
        }
        for (number, dial) in script.dials.iter().enumerate() {
            planned.push((at(dial.at_ms), Due::Dial(number)));
        }
        for (at_ms, order) in &script.orders {
            planned.push((at(*at_ms), Due::Order(order.clone())));
        }
        for (at_ms, down_ms) in &script.crashes {
            planned.push((at(*at_ms), Due::Crash { down: at(*down_ms) }));
        }
        for (at_ms, pain) in &script.pains {
            planned.push((at(*at_ms), Due::Pain(*pain)));
        }
        for (at_ms, step_s) in &script.jumps {
            planned.push((at(*at_ms), Due::Jump(*step_s)));
        }
        self.acts = planned.len();
        for (number, (wait, due)) in planned.into_iter().enumerate() {
            if !gone.contains(&number) {
                self.after(wait, due);
            }
        }
        self.after(SECOND, Due::Errands);
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

    // ------------------------------------------------------------------------------------------------------------ the loop

    /// Runs until all is at rest, and holds the end against what must be.
    pub fn run(&mut self) -> Seen {
        while self.step() {}
        self.finish();
        let (ordered, shared) = (self.auditor.slices.ordered, self.auditor.slices.shared);
        let Auditor { firsts, referred, replaced, outlived, moved, .. } = self.auditor;
        let (withdrawn, watched) = (std::mem::take(&mut self.auditor.withdrawn), self.watchers.told);
        Seen { withdrawn, firsts, ordered, shared, referred, replaced, outlived, moved, watched }
    }

    fn step(&mut self) -> bool {
        let machines = self.bridge.iter().flat_map(|b| [b.endpoint.deadline(), b.switchboard.deadline()]).flatten();
        let far = self.carriers.endpoints.iter().filter_map(Endpoint::deadline);
        let next = machines.chain(far).chain(self.queue.keys().next().map(|(at, _)| *at)).min();
        self.now = self.now.max(next.expect("the second never ends"));
        self.steps += 1;
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
            Due::Review { life, legs } if life == self.life => self.review(legs),
            Due::Bunch { life } if life == self.life => self.ask_together(),
            Due::Pain(pain) => self.suffer(pain),
            Due::Back => self.trouble.back(),
            Due::Haunt { left } => self.haunt(left),
            Due::Errands => self.errands(),
            Due::Report { life, report } if life == self.life => self.report(report),
            Due::Second => self.second(),
            Due::Tick => self.tick(),
            Due::Crash { down } => self.crash(down),
            Due::Relapse if !self.healed => self.crash(SECOND),
            Due::Relapse => {}
            Due::Start => self.start(),
            Due::Jump(seconds) => {
                self.wall_step_s += seconds;
                self.most_ahead_s = self.most_ahead_s.max(self.wall_step_s);
            }
            Due::Heal => self.heal(),
            Due::Leave => self.leave(),
            Due::Quiet { .. }
            | Due::Voice { .. }
            | Due::Run { .. }
            | Due::Answer { .. }
            | Due::Review { .. }
            | Due::Bunch { .. }
            | Due::Report { .. } => {}
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

    // ---------------------------------------------------------------------------------------------------------- signalling

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
            sip::Output::Rejected(_) => {}
            sip::Output::Close { .. } => panic!("there is no connection"),
            sip::Output::Ask(question) => panic!("there are no names: {question}"),
            sip::Output::Unfound { host, .. } => panic!("there are no names: {host}"),
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
            sip::Output::Rejected(_) => {}
            sip::Output::Close { .. } => panic!("there is no connection"),
            sip::Output::Ask(question) => panic!("there are no names: {question}"),
            sip::Output::Unfound { host, .. } => panic!("there are no names: {host}"),
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
            let (is_watchers, answer) = self.watchers.receive(bytes);
            if let Some(answer) = answer {
                self.carry(flow, answer.into());
            }
            if is_watchers {
                return;
            }
            self.auditor.reached(bytes);
            return self.carriers.endpoints[carrier].receive(self.now, flow, bytes);
        }
        assert_eq!(flow.local, bridge_address(), "nothing goes anywhere else");
        if let Some(bridge) = &mut self.bridge {
            self.auditor.arrived(self.now, bytes);
            let bytes = match self.fault {
                Some(Fault::Overlooks(header)) => &planted::without(bytes, header),
                _ => bytes,
            };
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
            Step::Act(Act::Watch) => {
                if let Some(ask) = self.watchers.ask(&self.carriers.phones[phone].call_id) {
                    let (local, peer) = (address(TRANSFERS), bridge_address());
                    self.carry(Flow { transport: sip::Transport::Udp, local, peer }, ask.into());
                }
            }
            Step::Act(Act::Quiet) => {
                let now = self.now;
                self.carriers.phones[phone].quiet.get_or_insert(now);
            }
            _ => {}
        }
        self.hush(phone);
    }

    // ----------------------------------------------------------------------------------------------------- the switchboard

    fn switchboard_says(&mut self, output: Output) {
        self.trace.note(self.now, "says", &output);
        let now = self.now;
        match output {
            Output::Sip(command) => {
                if let Some(bridge) = &mut self.bridge {
                    bridge.endpoint.command(now, command);
                }
            }
            Output::Media(command) => self.tell_media(command),
            Output::Lend { leg, stream } => self.lend(leg, stream),
            Output::Attach { stream, plan, .. } => self.attach(stream, plan),
            // Worlds in simulation record nothing.
            Output::Record(_) => {}
            Output::GiveBack { stream } => self.give_back(stream),
            Output::Books(books) => self.tell_books(books),
            // Letters are another machine's, and the outbox has tests of its own.
            Output::Raise(_) => {}
            Output::Review(legs) => {
                let wait = self.books_delay();
                self.after(wait, Due::Review { life: self.life, legs });
            }
            Output::Told { token, told } => self.told(token, told),
        }
    }

    fn tell_media(&mut self, command: media::Command) {
        let now = self.now;
        self.auditor.media(now, &command);
        let Some(bridge) = &mut self.bridge else { return };
        if let media::Command::Detach { stream } = &command
            && let Some(port) = bridge.attached.remove(stream)
        {
            bridge.ports.give_back(port, now);
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
        let port = bridge.ports.lend(now).ok();
        bridge.lent.extend(port.map(|port| (stream, port)));
        self.tell(Input::Lent { leg, port });
    }

    fn attach(&mut self, stream: StreamId, plan: media::Plan) {
        let now = self.now;
        self.auditor.attached(stream, &plan);
        let Some(bridge) = &mut self.bridge else { return };
        let port = bridge.lent.remove(&stream).expect("attached over a port that was not lent");
        bridge.attached.insert(stream, port);
        let rtp = SocketAddr::new(bridge_address().ip(), port);
        let command = media::Command::Attach { stream, plan };
        match &mut bridge.sound {
            Sound::Mixed(mixed) => mixed.command(now, command, Some(rtp)),
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
            bridge.ports.give_back(port, now);
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
            (Why::Revoke { house, dial_out, lock, lost }, Told::Ends(ends)) => {
                self.close_accounts(ends, (house, dial_out, lock), lost);
            }
            _ => {}
        }
    }

    fn meeting(&self, at: usize) -> MeetingId {
        self.script.meetings[at].id.parse().unwrap()
    }

    fn order(&mut self, order: Order) {
        if self.bridge.is_none() {
            let is_of_calls = matches!(order, Order::Mute | Order::Remove | Order::End { .. } | Order::Lock { .. })
                || matches!(order, Order::Admit { .. } | Order::Revoke { .. } | Order::Compare | Order::Apply);
            // Who pays, or forbids, comes again.
            if !is_of_calls {
                self.after(RETRY, Due::Order(order));
            }
            return;
        }
        self.auditor.ordered(&order);
        match order {
            Order::Mute => self.ask(Ask::Legs, Why::Mute),
            Order::Remove => self.ask(Ask::Legs, Why::Remove),
            Order::End { meeting } => self.ask(Ask::End { meeting: self.meeting(meeting) }, Why::Nothing),
            Order::Lock { meeting, on } => self.ask(Ask::Lock { meeting: self.meeting(meeting), on }, Why::Nothing),
            Order::Admit { meeting } => self.ask(Ask::Admit { meeting: self.meeting(meeting) }, Why::Nothing),
            Order::Apply => drop(self.apply(&self.bans.clone())),
            Order::Ban { house, ban, on } => self.ban(house, ban, on),
            Order::Revoke { house, dial_out, lock, lost } => self.revoke((house, dial_out, lock), lost),
            Order::Compare => {
                self.ask(Ask::Meetings, Why::Compare);
                self.ask(Ask::Legs, Why::Compare);
            }
            deed => self.deed(deed),
        }
    }
}
