//! Where the rooms meet: looks up, translates, forwards; decides nothing.
//!
//! [`Switchboard`] is a machine as its neighbours are: [`Switchboard::handle`] what came from SIP, sound, the books or a
//! person; drain [`Switchboard::poll`]; sleep until [`Switchboard::deadline`]; [`Switchboard::wake`]. `io` gives it the
//! world, the simulation gives it another.

mod agree;
pub mod ask;
mod bid;
mod charge;
mod early;
mod floor;
mod focus;
mod inbound;
pub mod io;
mod known;
mod line;
mod load;
mod moving;
mod naming;
mod outbound;
pub mod recording;
pub mod sound;
mod transfer;
mod watch;
mod written;

pub use known::tls_names;

use crate::clock::{Mono, Now};
use crate::leg;
use crate::media::recorder::{self, RecordingId};
use crate::media::{self, Codec, StreamId};
use crate::meeting::{self, KeyMap, LobbyConfig, Meeting, Prompt};
use crate::rating::report::Masking;
use crate::sip::{self, Call, Subscription};
use crate::store::{self, Facts};
use crate::telemetry::{REFUSALS_PER_S, Ration};
use crate::trunk::{Guard, GuardConfig, Hosts, PatternConfig, Patterns, Spent, Trust};
use crate::types::{Addresses, CarrierId, Cause, E164, LegId, MeetingId, Micros, OrganisationId, SecretRef};
use ask::{Ask, LegView, Told};
use bid::Tallies;
use floor::NOBODY;
use focus::{Seats, Watcher};
use known::Known;
use line::Line;
use naming::PutOff;
use outbound::Refused;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sound::Sounds;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Settings, gathered from the rooms that this one introduces to each other.
#[derive(Clone, Debug)]
pub struct Config {
    pub leg: leg::Config,
    pub lobby: LobbyConfig,
    pub meeting: meeting::Config,
    /// What keys do, and where the callers of one number have keys of their own.
    pub keys: KeyMap,
    pub number_keys: BTreeMap<E164, KeyMap>,
    pub guard: GuardConfig,
    pub patterns: PatternConfig,
    pub codecs: Vec<Codec>,
    /// Silence is described to those who take it (RFC 3389).
    pub comfort_noise: bool,
    /// `None`: nothing is recorded.
    pub recording: Option<recording::Config>,
    /// How long a dialled phone may ring.
    pub ring_ms: u64,
    /// Our addresses for calls out, of each transport and family of addresses the first that is listened on, and what we call
    /// ourselves there; what a carrier is spoken to by where its name says nothing comes first.
    pub locals: Vec<sip::Local>,
    /// Where sound is received, as carriers see it: an offer of a family of addresses that is not among them cannot be
    /// answered.
    pub sound: Addresses,
    /// Seconds in Retry-After where a later try may go well.
    pub retry_after_s: u32,
    /// How numbers are shown to those who watch a meeting by SIP: [`Masking::for_outsiders`].
    pub masking: Masking,
}

/// What comes in.
#[derive(Clone, Debug)]
pub enum Input {
    Sip(sip::Event),
    Media(media::Event),
    Recorder(recorder::Event),
    /// A recording did not begin.
    Unrecorded {
        recording: RecordingId,
    },
    /// A port for a leg's sound, or none is free.
    Lent {
        leg: LegId,
        port: Option<u16>,
    },
    /// The books' answer to an [`Output::Books`] of kind open, name or extend.
    Opened {
        leg: LegId,
        answer: Result<store::Opened, store::StoreError>,
    },
    /// The books' answer to an [`Output::Books`] of kind reroute.
    Rerouted {
        leg: LegId,
        done: Result<(), store::StoreError>,
    },
    /// The books have done an [`Output::Books`] of kind answered: a next life could end the call.
    Journaled {
        leg: LegId,
    },
    /// A look at an organisation's account: what is available, and what all its legs burn a minute, in billionths.
    Money {
        organisation: OrganisationId,
        available: Micros,
        burn_nanos: u64,
    },
    /// The books have done an [`Output::Books`] of kind settle, or refused it for good.
    Settled {
        leg: LegId,
    },
    /// A leg that was let be may not go on: found by an [`Output::Review`].
    Withdrawn {
        leg: LegId,
        cause: Cause,
    },
    /// Somebody asks; the token comes back with the answer.
    Asked {
        token: u64,
        ask: Ask,
    },
    /// What there is has changed.
    Facts(Arc<Facts>),
    /// What stands where carriers' passwords are kept; those that could not be read are left out.
    Passwords(BTreeMap<SecretRef, sip::Password>),
    /// No new calls; those that run go on.
    Drain,
    /// Likewise, but those that run are told that they are about to end.
    Warn,
    /// All calls end now.
    Stop,
}

/// What goes out.
#[derive(Clone, Debug)]
pub enum Output {
    Sip(sip::Command),
    Media(media::Command),
    /// Lend a port; answered by [`Input::Lent`].
    Lend {
        leg: LegId,
        stream: StreamId,
    },
    /// Sound begins, over the port that was lent.
    Attach {
        stream: StreamId,
        plan: media::Plan,
        secret: Option<Box<media::sdp::crypto::Secret>>,
    },
    /// The port of a stream that was never attached is not needed.
    GiveBack {
        stream: StreamId,
    },
    Record(recording::Record),
    Books(Books),
    /// Something to be told to people, once a key.
    Raise(store::Raise),
    /// Whether these legs may go on, now that something has changed. Told [`Input::Withdrawn`] for those that may not.
    Review(Vec<LegId>),
    Told {
        token: u64,
        told: Told,
    },
}

/// What is asked of the books. Requests of one leg are to be done in their order.
#[derive(Clone, Debug)]
pub enum Books {
    Open(store::OpenLeg),
    Name(store::NamePayer),
    Extend(store::Extend),
    /// Told [`Input::Rerouted`]; dialled only then.
    Reroute(store::Rerouted),
    /// Told nothing; to be repeated until it is done.
    Answered(store::Answered),
    /// Likewise: an organiser's PIN was right.
    Lead(LegId),
    /// Told [`Input::Settled`]; to be repeated until it is done.
    Settle(store::Settle),
    /// The BYE of a leg whose account is closed has run its course. Told nothing; to be repeated until it is done.
    Buried(LegId),
}

impl Books {
    pub fn leg(&self) -> LegId {
        match self {
            Books::Open(open) => open.leg,
            Books::Name(name) => name.leg,
            Books::Extend(extend) => extend.leg,
            Books::Reroute(rerouted) => rerouted.leg,
            Books::Answered(answered) => answered.leg,
            Books::Lead(leg) | Books::Buried(leg) => *leg,
            Books::Settle(settle) => settle.leg,
        }
    }
}

/// Legs that are over are shown to whoever asks for them by name for a while: the last so many.
const REMEMBERED: usize = 1_000;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Leg(LegId),
    Meeting(MeetingId),
    /// A meeting, for those who watch it.
    Watched(MeetingId),
    /// A call in that waits.
    Call(Call),
}

/// One meeting that runs, with its mix.
struct Room {
    meeting: Meeting,
    id: media::RoomId,
    recording: Option<RecordingId>,
    armed: Option<Mono>,
    seats: Seats,
}

pub struct Switchboard {
    config: Config,
    facts: Arc<Facts>,
    passwords: BTreeMap<SecretRef, sip::Password>,
    /// How we stand with carriers that we keep in touch with.
    standings: BTreeMap<CarrierId, Known>,
    /// What became of their calls; and until when one wants none.
    tallies: BTreeMap<CarrierId, Tallies>,
    resting: BTreeMap<CarrierId, Mono>,
    /// By whose signatures callers are known.
    trust: Arc<Trust>,
    /// Which of these were used.
    spent: Spent,
    /// Where the names of carriers' sources lead now.
    hosts: Hosts,
    sounds: Arc<Sounds>,
    guard: Guard,
    patterns: Patterns,
    rng: StdRng,
    lines: HashMap<LegId, Line>,
    /// Ports that could be lent when it was told last; and who is to have one when the books have agreed.
    ports: usize,
    unlent: HashSet<LegId>,
    by_call: HashMap<Call, LegId>,
    /// Calls that a BYE or CANCEL of ours is on its way to.
    parting: HashMap<Call, LegId>,
    /// Calls that were hung up on us before they answered our REFER, and who is told what becomes of that.
    leaving: HashMap<Call, u64>,
    /// Calls in that are looked at later, since many guess.
    put_off: HashMap<Call, PutOff>,
    by_stream: HashMap<StreamId, LegId>,
    rooms: HashMap<MeetingId, Room>,
    /// Who watches meetings by SIP.
    watchers: BTreeMap<Subscription, Watcher>,
    /// Numbers streams, calls out and rooms.
    last_number: u64,
    /// What legs that are over are charged for, until the books have it.
    unsettled: HashMap<LegId, u64>,
    timers: BTreeSet<(Mono, Who)>,
    /// Legs whose machines may have something to say.
    touched: VecDeque<LegId>,
    touched_rooms: VecDeque<MeetingId>,
    /// Each with its Call-IDs.
    over: VecDeque<(LegView, Vec<String>)>,
    draining: bool,
    /// Lines in the log for calls that were refused: of carriers, and of the house (calls out, and whose meeting is known), so that
    /// whoever floods us hides nothing but their own.
    ration_of_carriers: Ration,
    ration_of_house: Ration,
    outputs: VecDeque<Output>,
}

impl Switchboard {
    pub fn new(config: Config, facts: Arc<Facts>, sounds: Arc<Sounds>, seed: [u8; 32]) -> Switchboard {
        let (guard, patterns) = (Guard::new(config.guard), Patterns::new(config.patterns));
        let mut switchboard = Switchboard {
            config,
            facts,
            passwords: BTreeMap::new(),
            standings: BTreeMap::new(),
            tallies: BTreeMap::new(),
            resting: BTreeMap::new(),
            trust: Arc::default(),
            spent: Spent::default(),
            hosts: Hosts::new(),
            sounds,
            guard,
            patterns,
            rng: StdRng::from_seed(seed),
            lines: HashMap::new(),
            ports: usize::MAX,
            unlent: HashSet::new(),
            by_call: HashMap::new(),
            parting: HashMap::new(),
            leaving: HashMap::new(),
            put_off: HashMap::new(),
            by_stream: HashMap::new(),
            rooms: HashMap::new(),
            watchers: BTreeMap::new(),
            last_number: 0,
            unsettled: HashMap::new(),
            timers: BTreeSet::new(),
            touched: VecDeque::new(),
            touched_rooms: VecDeque::new(),
            over: VecDeque::new(),
            draining: false,
            ration_of_carriers: Ration::new(REFUSALS_PER_S, 1),
            ration_of_house: Ration::new(REFUSALS_PER_S, 1),
            outputs: VecDeque::new(),
        };
        switchboard.tell_sources();
        switchboard
    }

    /// By whose signatures callers are known from now on; by nobody's, before.
    pub fn believe(&mut self, trust: Arc<Trust>) {
        self.trust = trust;
    }

    /// So many ports could be lent now: beyond these no call is taken in, and none waits for the books in vain.
    pub fn has_ports(&mut self, ports: usize) {
        self.ports = ports;
    }

    pub fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::Sip(event) => self.sip(now, event),
            Input::Media(event) => self.sound(now, event),
            Input::Recorder(event) => self.recorder(now, event),
            Input::Unrecorded { recording } => self.recording_over(now, recording),
            Input::Lent { leg, port } => self.lent(now, leg, port),
            Input::Opened { leg, answer } => self.opened(now, leg, answer),
            Input::Rerouted { leg, done } => self.rerouted(now, leg, done),
            Input::Money { organisation, available, burn_nanos } => {
                self.money(now, &organisation, available, burn_nanos);
            }
            Input::Journaled { leg } => self.journaled(leg),
            Input::Settled { leg } => drop(self.unsettled.remove(&leg)),
            Input::Asked { token, ask } => self.asked(now, token, ask),
            Input::Facts(facts) => {
                self.facts = facts;
                self.forget_carriers();
                self.tell_sources();
                self.reject_watchers();
                self.cut_locked(now);
                self.review();
            }
            Input::Passwords(passwords) if passwords == self.passwords => {}
            Input::Passwords(passwords) => {
                self.passwords = passwords;
                self.tell_sources();
            }
            Input::Withdrawn { leg, cause } => self.withdrawn(now, leg, cause),
            Input::Drain => self.drain(),
            Input::Warn => self.warn_all(),
            Input::Stop => self.stop(now),
        }
        self.settle_down(now);
    }

    /// Time has come to what [`Switchboard::deadline`] said, or gone by.
    pub fn wake(&mut self, now: Now) {
        while let Some((at, _)) = self.timers.first()
            && *at <= now.mono
            && let Some((_, who)) = self.timers.pop_first()
        {
            match who {
                Who::Leg(leg) => self.wake_line(now, leg),
                Who::Meeting(id) => {
                    if let Some(room) = self.rooms.get_mut(&id) {
                        room.armed = None;
                        room.meeting.wake(now.mono);
                        self.touched_rooms.push_back(id);
                    }
                }
                Who::Watched(id) => self.look_into(now, &id),
                Who::Call(call) => self.take_up(now, call),
            }
        }
        self.settle_down(now);
    }

    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn deadline(&self) -> Option<Mono> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Legs that are charged now, with their milliseconds, and those that are over as long as the books have not closed
    /// their accounts: the proof of life.
    pub fn lives(&self, now: Mono) -> Vec<(LegId, u64)> {
        let live = self.lines.values().filter_map(|line| Some((line.id, line.charged_ms(now)?)));
        live.chain(self.unsettled.iter().map(|(leg, charged_ms)| (*leg, *charged_ms))).collect()
    }

    /// Organisations with legs that money pays for now: whose accounts are worth a look.
    pub fn spenders(&self, now: Mono) -> BTreeSet<OrganisationId> {
        let paying = |line: &&Line| line.leg.rest_ms(now).is_some();
        self.lines.values().filter(paying).filter_map(|line| self.payer(line)).collect()
    }

    /// Legs that are not over, or whose account is not closed yet.
    pub fn legs(&self) -> usize {
        self.lines.len()
    }

    pub fn meetings(&self) -> usize {
        self.rooms.len()
    }

    /// Subjects of patterns forgotten for want of room.
    pub fn patterns_forgotten(&self) -> u64 {
        self.patterns.forgotten()
    }

    /// Legs that are not over, and legs whose account is not closed yet.
    pub fn unfinished(&self) -> usize {
        self.lines.len() + self.unsettled.len()
    }

    /// Nothing is left that the books must be told before the process may end.
    pub fn is_quiet(&self) -> bool {
        self.unfinished() + self.parting.len() == 0
    }

    /// Calls of earlier lives that are being ended: the books hear when that is done.
    pub fn owes(&mut self, burials: impl IntoIterator<Item = (Call, LegId)>) {
        self.parting.extend(burials);
    }

    fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn new_leg(&mut self, now: Now) -> LegId {
        LegId::new((now.wall.micros() / 1_000).max(0) as u64, self.rng.random())
    }

    fn say(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    fn touch(&mut self, leg: LegId) {
        self.touched.push_back(leg);
    }

    /// Lets every machine that was touched say what it has to say, until all are silent.
    fn settle_down(&mut self, now: Now) {
        loop {
            if let Some(leg) = self.touched.pop_front() {
                self.drain_line(now, leg);
            } else if let Some(meeting) = self.touched_rooms.pop_front() {
                self.drain_room(now, &meeting);
            } else {
                return;
            }
        }
    }

    fn sip(&mut self, now: Now, event: sip::Event) {
        use sip::Event::*;
        let call = event.call();
        let event = match event {
            Invited(invitation) => return self.invited(now, *invitation),
            Stands { owner, standing } => return self.stands(now, &owner, standing),
            Guessed { peer, listed, tries } => return self.tell_guessed(now, peer, listed, tries),
            Senders { host, addresses } => return self.senders(host, addresses),
            Subscribed(subscriber) => return self.subscribed(now, &subscriber),
            Unsubscribed { subscription } => return self.unsubscribed(subscription),
            Transferring { call, status, is_last: true } if self.leaving.contains_key(&call) => {
                return self.leaving.remove(&call).into_iter().for_each(|token| self.answered_late(token, status));
            }
            of_a_call => of_a_call,
        };
        if let Some(call) = call.filter(|_| event.is_last()) {
            self.parted(call);
            self.let_go(now, call);
        }
        let Some(leg) = call.and_then(|call| self.by_call.get(&call)).copied() else { return };
        match event {
            Invited(_) | Stands { .. } | Guessed { .. } | Senders { .. } | Disagreed { .. } => {}
            Subscribed(_) | Unsubscribed { .. } => {}
            Referred(referral) => self.referred(now, leg, &referral),
            Transferring { status, is_last, .. } => self.transferring(now, leg, status, is_last),
            Located { ways, .. } => self.located(now, leg, ways),
            Cancelled { .. } => self.tell_leg(now, leg, leg::Input::Cancelled),
            HungUp { .. } => self.tell_leg(now, leg, leg::Input::HungUp),
            Acknowledged { answer, .. } => self.acknowledged(now, leg, answer),
            Unacknowledged { .. } => self.tell_leg(now, leg, leg::Input::Unacknowledged),
            Agreed { answer, .. } => self.agreed(leg, answer),
            Offered { fork, offer, .. } => self.offered(leg, fork, offer),
            Informed { kind, body, .. } => self.informed(leg, &kind, &body),
            Ringing { status, fork, answer, .. } => self.rings(now, leg, status, fork, answer),
            Answered { journal, answer, .. } => self.answered_out(now, leg, journal, answer),
            Failed { status, reason, retry_after_s, lingers, sounded, .. } => {
                if lingers {
                    // A next life would have to end what may yet be answered.
                    self.parting.extend(call.map(|call| (call, leg)));
                }
                let q850 = reason.and_then(|reason| reason.q850);
                self.failed_out(now, leg, Refused { status, q850, retry_after_s, sounded });
            }
            Lapsed { .. } => self.tell_leg(now, leg, leg::Input::Stop(Cause::SessionLapsed)),
            Released { .. } => {}
        }
    }

    /// The far side has heard that it is over. Where the account was closed before, the books wait for that.
    fn parted(&mut self, call: Call) {
        if let Some(leg) = self.parting.remove(&call).filter(|leg| !self.lines.contains_key(leg)) {
            self.say(Output::Books(Books::Buried(leg)));
        }
    }

    fn tell_leg(&mut self, now: Now, leg: LegId, input: leg::Input) {
        if let Some(line) = self.lines.get_mut(&leg) {
            line.leg.handle(now, input);
            self.touch(leg);
        }
    }

    fn drain(&mut self) {
        self.draining = true;
        self.say(Output::Sip(sip::Command::Drain { retry_after_s: self.config.retry_after_s }));
    }

    fn warn_all(&mut self) {
        self.drain();
        for leg in self.all_legs() {
            if self.lines.get(&leg).is_some_and(|line| line.leg.is_answered()) {
                self.play(leg, &[Prompt::WarningTone, Prompt::BridgeStopping], NOBODY);
            }
        }
    }

    fn stop(&mut self, now: Now) {
        self.drain();
        self.take_up_all(now);
        for leg in self.all_legs() {
            self.tell_leg(now, leg, leg::Input::Stop(Cause::Drained));
        }
    }

    /// In an order that is the same in each run.
    fn all_legs(&self) -> Vec<LegId> {
        let mut legs: Vec<LegId> = self.lines.keys().copied().collect();
        legs.sort();
        legs
    }
}
