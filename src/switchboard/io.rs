//! The one task of the switchboard: what comes from SIP, sound, books and people goes in, what it says goes out.

use super::ask::{Ask, Told};
use super::load::{self, Load};
use super::recording::Record;
use super::{Books, Input, Output, Switchboard};
use crate::clock::{self, Mono, Now};
use crate::media::io::{Media, Port};
use crate::media::recorder::io::Recorder;
use crate::media::recorder::{self, RecordingId, Voice};
use crate::media::sdp::crypto::Secret;
use crate::media::{self, RoomId, StreamId};
use crate::notice;
use crate::sip;
use crate::sip::io::Sip;
use crate::store::{Facts, MOST_REVIEWED, Opened, Raise, Store, StoreError};
use crate::telemetry::name;
use crate::trunk::Trust;
use crate::types::{LegId, SecretRef};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

/// Questions that may wait; whoever asks more waits outside.
const QUESTIONS: usize = 1_024;
/// A person does not wait longer for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// But for a phone that rings elsewhere: that is known within a minute, or not at all.
const LONG_PATIENCE: Duration = Duration::from_secs(65);
/// Alarms that wait for the books.
const ALARMS: usize = 256;
/// What the books must hear is said again after so long, until they do.
const RETRY: Duration = Duration::from_secs(1);
/// Legs with a request that waits for the books, at most: accounts to be closed while those are away, above all. Above it no
/// new leg comes in. As many as one proof of life tells of.
const MOST_WAITING: usize = 65_536;
/// How often all live legs are proven to be alive. A crash costs a second at most, and the file has to be written within it,
/// on a machine that is busy, too.
const PROOF: Duration = Duration::from_millis(500);
/// How often the accounts in use are looked at.
const LOOK: Duration = Duration::from_secs(3);
/// How often carriers' passwords are read anew.
const REREAD: Duration = Duration::from_secs(60);
/// A disk that does not answer keeps nobody from calling by carriers that have no password there.
const READING: Duration = Duration::from_secs(2);
/// After the last call is hung up, so long for BYEs to be answered and accounts to be closed.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Wrong tries that are kept at once: a second's, in all but a flood. And how long the last of them may take at the end.
const TRIES_AT_ONCE: usize = 1_024;
const LAST_TRIES: Duration = Duration::from_secs(2);
/// Where nothing is to be kept, tries of yesterday are deleted as often.
const TIDY: Duration = Duration::from_secs(3_600);

/// The rooms that the switchboard connects, running.
pub struct Wires {
    pub sip: Sip,
    pub sip_events: mpsc::Receiver<(Now, sip::Event)>,
    pub media: Media,
    pub media_events: mpsc::Receiver<(Mono, media::Event)>,
    /// Where recordings are set up.
    pub recorder: Option<(Recorder, mpsc::Receiver<recorder::Event>)>,
    pub store: Store,
    /// By whose signatures callers are known from now on.
    pub trust: watch::Receiver<Arc<Trust>>,
}

/// How everybody else speaks to the running switchboard.
#[derive(Clone, Debug)]
pub struct Handle {
    questions: mpsc::Sender<(Ask, oneshot::Sender<Told>)>,
    paid: Arc<Notify>,
    orders: watch::Receiver<Order>,
    facts: watch::Receiver<Arc<Facts>>,
    passwords: watch::Receiver<Passwords>,
}

/// Carriers' passwords as they were read last.
#[derive(Clone, Debug, Default)]
struct Passwords {
    /// Of the facts whose carriers they are; zero: they were not read yet.
    version: u64,
    read: BTreeMap<SecretRef, sip::Password>,
}

impl Handle {
    /// Somebody has paid in: running legs hear of it now, not at the next look.
    pub fn paid_in(&self) {
        self.paid.notify_one();
    }

    /// No new calls are taken any more.
    pub fn is_draining(&self) -> bool {
        *self.orders.borrow() > Order::Run
    }

    /// `None` once it has stopped, or does not answer.
    pub async fn ask(&self, ask: Ask) -> Option<Told> {
        if matches!(ask, Ask::Dial { .. }) {
            // Whoever was told that a carrier has a password, and calls by it then, calls with it.
            let version = self.facts.borrow().version;
            let mut passwords = self.passwords.clone();
            let _ = timeout(READING, passwords.wait_for(|passwords| passwords.version >= version)).await;
        }
        let (reply, answer) = oneshot::channel();
        let patience = if matches!(ask, Ask::Transfer { .. }) { LONG_PATIENCE } else { PATIENCE };
        self.questions.send((ask, reply)).await.ok()?;
        timeout(patience, answer).await.ok()?.ok()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Order {
    Run,
    Drain,
    Warn,
    Stop,
}

/// The running task.
#[derive(Debug)]
pub struct Desk {
    orders: watch::Sender<Order>,
    /// Legs that are not over, or whose account is not closed yet.
    legs: watch::Receiver<usize>,
    task: JoinHandle<()>,
}

impl Desk {
    pub fn start(switchboard: Switchboard, wires: Wires) -> (Desk, Handle) {
        let (orders, ordered) = watch::channel(Order::Run);
        let (count, legs) = watch::channel(0);
        let (questions, asked) = mpsc::channel(QUESTIONS);
        let (answered, answers) = mpsc::unbounded_channel();
        let facts = wires.store.changes();
        let paid = Arc::new(Notify::new());
        let Wires { sip, sip_events, media, media_events, recorder, store, trust } = wires;
        let (recorder, recorder_events) = recorder.unzip();
        let (alarms, raised) = mpsc::channel(ALARMS);
        tokio::spawn(write_alarms(store.clone(), raised));
        let clerk = Clerk::new(store.clone(), answered);
        let rim = Rim {
            switchboard,
            sip,
            media,
            recorder,
            store,
            clerk,
            ports: HashMap::new(),
            replies: HashMap::new(),
            token: 0,
            alarms,
            review: watch::Sender::default(),
            legs: count,
            load: Load::default(),
            tidied: None,
        };
        let (read, passwords) = watch::channel(Passwords::default());
        // Its end is the switchboard's, or the store's.
        tokio::spawn(read_passwords(facts.clone(), read));
        let handle = Handle {
            questions,
            paid: paid.clone(),
            orders: orders.subscribe(),
            facts: facts.clone(),
            passwords: passwords.clone(),
        };
        let inlets = Inlets {
            sip_events,
            media_events,
            recorder_events,
            answers,
            asked,
            facts,
            passwords,
            trust,
            ordered,
            paid,
        };
        (Desk { orders, legs, task: tokio::spawn(rim.run(inlets)) }, handle)
    }

    /// Returns when the task has ended by itself, which it never should.
    pub async fn failed(&mut self) {
        // Why it ended was told by the panic hook.
        let _ = (&mut self.task).await;
    }

    /// No new calls; returns at once.
    pub fn drain(&self) {
        self.order(Order::Drain);
    }

    /// Whoever still talks is told that the call is about to end; returns at once.
    pub fn warn(&self) {
        self.order(Order::Warn);
    }

    /// Never less than what was ordered before.
    fn order(&self, order: Order) {
        self.orders.send_if_modified(|before| std::mem::replace(before, order.max(*before)) < order);
    }

    pub fn legs(&self) -> usize {
        *self.legs.borrow()
    }

    /// Ready when no leg is left.
    pub fn idle(&self) -> impl Future<Output = ()> + use<> {
        let mut legs = self.legs.clone();
        async move {
            // An error: the task has ended, and so has every leg.
            let _ = legs.wait_for(|legs| *legs == 0).await;
        }
    }

    /// Ends all calls, waits until every account is closed (or `LAST_WORDS` have passed), and returns.
    pub async fn stop(self) {
        self.orders.send_replace(Order::Stop);
        // A panic in the task was told by the runtime; there is nothing left to wait for then.
        let _ = self.task.await;
    }
}

type Answer = (LegId, Done);

/// What the books did.
enum Done {
    Opened(Result<Opened, StoreError>),
    /// A payer's name, or more for a leg that there is.
    More(Result<Opened, StoreError>),
    Journaled,
    Noted,
    Rerouted(Result<(), StoreError>),
    Settled,
}

struct Inlets {
    sip_events: mpsc::Receiver<(Now, sip::Event)>,
    media_events: mpsc::Receiver<(Mono, media::Event)>,
    recorder_events: Option<mpsc::Receiver<recorder::Event>>,
    answers: mpsc::UnboundedReceiver<Answer>,
    asked: mpsc::Receiver<(Ask, oneshot::Sender<Told>)>,
    facts: watch::Receiver<Arc<Facts>>,
    passwords: watch::Receiver<Passwords>,
    trust: watch::Receiver<Arc<Trust>>,
    ordered: watch::Receiver<Order>,
    paid: Arc<Notify>,
}

struct Rim {
    switchboard: Switchboard,
    sip: Sip,
    media: Media,
    recorder: Option<Recorder>,
    store: Store,
    clerk: Clerk,
    ports: HashMap<StreamId, Port>,
    replies: HashMap<u64, oneshot::Sender<Told>>,
    token: u64,
    alarms: mpsc::Sender<Raise>,
    /// Legs of the newest question whether they may go on.
    review: watch::Sender<Vec<LegId>>,
    legs: watch::Sender<usize>,
    load: Load,
    /// When tries were kept last, and those of yesterday deleted with that.
    tidied: Option<Mono>,
}

impl Rim {
    async fn run(mut self, mut inlets: Inlets) {
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks_at_load = interval(load::LOOK);
        looks_at_load.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut proofs = interval(PROOF);
        proofs.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut proof: Option<JoinHandle<()>> = None;
        let mut tries: Option<JoinHandle<()>> = None;
        let mut accounts = interval(LOOK);
        accounts.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look: Option<JoinHandle<()>> = None;
        let (looks, mut seen) = mpsc::channel(1);
        let mut last_moment: Option<Instant> = None;
        // It ends with this task's end of `review`.
        tokio::spawn(review(self.store.clone(), self.review.subscribe(), looks.clone()));
        self.flush().await;
        loop {
            if last_moment.is_some_and(|moment| Instant::now() >= moment) || self.is_done(last_moment) {
                break;
            }
            let deadline = self.next_deadline();
            tokio::select! {
                event = inlets.sip_events.recv() => {
                    let Some((now, event)) = event else {
                        // What ended it was told by the panic hook. Without it there is nothing to do here.
                        tracing::error!("SIP has ended");
                        break;
                    };
                    self.load.waited(clock::mono().since(now.mono));
                    if matches!(event, sip::Event::Invited(_)) {
                        self.switchboard.has_ports(self.media.ports());
                    }
                    self.switchboard.handle(now, Input::Sip(event));
                }
                Some((mono, event)) = inlets.media_events.recv() => {
                    // It is charged back to where it fell silent: the last proof of life says more, and is replaced now.
                    if matches!(event, media::Event::Silent { .. }) {
                        second.reset_immediately();
                    }
                    self.switchboard.handle(Now { mono, wall: clock::wall() }, Input::Media(event));
                }
                Some(event) = next(&mut inlets.recorder_events) => {
                    self.switchboard.handle(Now::read(), Input::Recorder(event));
                }
                Some(answer) = inlets.answers.recv() => self.answered(answer),
                Some((ask, reply)) = inlets.asked.recv() => {
                    // Whoever was told that a change is made, and asks then, is answered by what has changed.
                    if inlets.facts.has_changed().unwrap_or(false) {
                        self.learn(&mut inlets.facts);
                    }
                    if inlets.passwords.has_changed().unwrap_or(false) {
                        self.learn_passwords(&mut inlets.passwords);
                    }
                    self.asked(ask, reply);
                }
                Ok(()) = inlets.facts.changed() => self.learn(&mut inlets.facts),
                Ok(()) = inlets.passwords.changed() => self.learn_passwords(&mut inlets.passwords),
                Ok(()) = inlets.trust.changed() => self.switchboard.believe(inlets.trust.borrow_and_update().clone()),
                Ok(()) = inlets.ordered.changed() => {
                    let order = *inlets.ordered.borrow_and_update();
                    match order {
                        Order::Run => {}
                        Order::Drain => self.switchboard.handle(Now::read(), Input::Drain),
                        Order::Warn => self.switchboard.handle(Now::read(), Input::Warn),
                        Order::Stop => {
                            self.switchboard.handle(Now::read(), Input::Stop);
                            last_moment = Some(Instant::now() + LAST_WORDS);
                        }
                    }
                }
                Some(found) = seen.recv() => self.switchboard.handle(Now::read(), found),
                () = inlets.paid.notified() => accounts.reset_immediately(),
                _ = accounts.tick() => {
                    if look.as_ref().is_none_or(JoinHandle::is_finished) {
                        look = Some(self.look_at_accounts(&looks));
                    }
                }
                () = sleep_until(deadline) => {
                    // A call that was put off may come in now.
                    self.switchboard.has_ports(self.media.ports());
                    self.switchboard.wake(Now::read());
                }
                _ = second.tick() => {
                    self.measure();
                    if tries.as_ref().is_none_or(JoinHandle::is_finished) {
                        tries = self.keep_tries();
                    }
                }
                _ = looks_at_load.tick() => self.look_at_load().await,
                _ = proofs.tick() => {
                    if proof.as_ref().is_none_or(JoinHandle::is_finished) {
                        proof = Some(self.prove_life());
                    }
                }
            }
            self.flush().await;
            let legs = self.switchboard.unfinished();
            self.legs.send_if_modified(|before| std::mem::replace(before, legs) != legs);
        }
        // What was tried last is kept too, where the books take it.
        let _ = timeout(LAST_TRIES, async {
            let mut last = tries.or_else(|| self.keep_tries());
            while let Some(kept) = last {
                let _ = kept.await;
                last = self.keep_tries();
            }
        })
        .await;
        self.hang_up_the_rest(last_moment).await;
    }

    /// Wrong tries of the last second, beside the way of the calls: in a flood the rest a second later.
    fn keep_tries(&mut self) -> Option<JoinHandle<()>> {
        let now = Now::read();
        let kept = self.switchboard.tries_to_keep(now, TRIES_AT_ONCE);
        let store = self.store.clone();
        let is_late = self.tidied.is_none_or(|at| now.mono.since(at) >= TIDY);
        if kept.is_empty() && !is_late {
            return None;
        }
        self.tidied = Some(now.mono);
        Some(tokio::spawn(async move { insist(|| store.keep_tries(kept.clone(), now.wall)).await }))
    }

    fn next_deadline(&self) -> Instant {
        // An hour where nothing waits: select needs a moment, and an early one does no harm.
        let idle = Duration::from_secs(3_600);
        let wait = self.switchboard.deadline().map_or(idle, |at| at.since(clock::mono()));
        Instant::now() + wait
    }

    fn is_done(&self, last_moment: Option<Instant>) -> bool {
        last_moment.is_some() && self.switchboard.is_quiet() && self.clerk.queues.is_empty()
    }

    fn learn(&mut self, facts: &mut watch::Receiver<Arc<Facts>>) {
        let facts = facts.borrow_and_update().clone();
        self.switchboard.handle(Now::read(), Input::Facts(facts));
    }

    fn learn_passwords(&mut self, passwords: &mut watch::Receiver<Passwords>) {
        let read = passwords.borrow_and_update().read.clone();
        self.switchboard.handle(Now::read(), Input::Passwords(read));
    }

    fn asked(&mut self, ask: Ask, reply: oneshot::Sender<Told>) {
        self.token += 1;
        self.replies.insert(self.token, reply);
        self.switchboard.handle(Now::read(), Input::Asked { token: self.token, ask });
    }

    fn answered(&mut self, (leg, answer): Answer) {
        self.clerk.finished(leg, &answer);
        match answer {
            Done::Opened(answer) | Done::More(answer) => {
                self.switchboard.handle(Now::read(), Input::Opened { leg, answer })
            }
            Done::Settled => self.switchboard.handle(Now::read(), Input::Settled { leg }),
            Done::Rerouted(done) => self.switchboard.handle(Now::read(), Input::Rerouted { leg, done }),
            Done::Journaled => self.switchboard.handle(Now::read(), Input::Journaled { leg }),
            Done::Noted => {}
        }
    }

    /// Carries out all that the switchboard says.
    async fn flush(&mut self) {
        while let Some(output) = self.switchboard.poll() {
            match output {
                // False: the endpoint has stopped, and so have all calls.
                Output::Sip(command) => drop(self.sip.command(command).await),
                Output::Media(command) => self.tell_media(command),
                Output::Lend { leg, stream } => self.lend(leg, stream),
                Output::Attach { stream, plan, secret } => self.attach(stream, plan, secret),
                Output::GiveBack { stream } => drop(self.ports.remove(&stream)),
                Output::Record(record) => self.record(record),
                Output::Books(books) => self.clerk.take(books),
                Output::Raise(raised) => self.raise(raised),
                Output::Review(legs) => drop(self.review.send_replace(legs)),
                Output::Told { token, told } => {
                    if let Some(reply) = self.replies.remove(&token) {
                        // Whoever asked may have gone.
                        let _ = reply.send(told);
                    }
                }
            }
        }
    }

    /// Beside the way of the calls. Where the books are behind by too many, it is dropped, and counted.
    fn raise(&self, raised: Raise) {
        if self.alarms.try_send(raised).is_err() {
            metrics::counter!(name::ALERTS_DROPPED).increment(1);
        }
    }

    fn tell_media(&self, command: media::Command) {
        self.told_media(self.media.command(command));
    }

    fn told_media(&self, told: Result<(), media::Refusal>) {
        if let Err(refusal) = told {
            // The stream ended a moment ago, or its thread is stuck: the leg's own deadlines look after both.
            tracing::debug!(%refusal, "the mixer did not take a command");
        }
    }

    fn lend(&mut self, leg: LegId, stream: StreamId) {
        let port = self.media.lend(clock::mono());
        if let Err(error) = &port {
            tracing::warn!(%leg, %error, "no port for a leg");
        }
        let port = port.ok();
        let number = port.as_ref().map(Port::number);
        self.ports.extend(port.map(|port| (stream, port)));
        self.switchboard.handle(Now::read(), Input::Lent { leg, port: number });
    }

    fn attach(&mut self, stream: StreamId, plan: media::Plan, secret: Option<Box<Secret>>) {
        let Some(port) = self.ports.remove(&stream) else { return };
        if let Err(refusal) = self.media.attach(stream, port, plan, secret) {
            tracing::warn!(%refusal, "the mixer did not take a stream");
        }
    }

    fn record(&mut self, record: Record) {
        let Some(recorder) = &self.recorder else { return };
        match record {
            Record::Begin { recording, room, plan } => {
                if let Err(why) = self.begin_recording(recorder, recording, room, plan) {
                    tracing::error!(recording = recording.0, %why, "nothing is recorded");
                    self.switchboard.handle(Now::read(), Input::Unrecorded { recording });
                }
            }
            Record::Track { recording, stream, label, rate } => {
                // Where a track is wanting, the mix still has all.
                match recorder.track(recording, Voice::One(label), rate) {
                    Ok(tap) => self.told_media(self.media.track(stream, tap)),
                    Err(why) => tracing::warn!(recording = recording.0, %why, "a track is not recorded"),
                }
            }
            Record::End { recording } => {
                if let Err(why) = recorder.stop(recording) {
                    // It ends with its reel all the same.
                    tracing::debug!(recording = recording.0, %why, "the recorder did not take a command");
                }
            }
        }
    }

    fn begin_recording(
        &self,
        recorder: &Recorder,
        recording: RecordingId,
        room: RoomId,
        plan: recorder::Plan,
    ) -> Result<(), recorder::io::Refusal> {
        let rate = plan.rate;
        let reel = recorder.begin(recording, plan)?;
        let tap = recorder.track(recording, Voice::Mixed, rate)?;
        // Refused, the reel is gone, and the recorder says so.
        self.told_media(self.media.record(room, reel, tap));
        Ok(())
    }

    /// All live legs go into one synced file, beside the way of the calls.
    fn prove_life(&self) -> JoinHandle<()> {
        let (store, lives) = (self.store.clone(), self.switchboard.lives(clock::mono()));
        tokio::spawn(async move {
            if let Err(error) = store.prove_life(lives).await {
                tracing::error!(%error, "the proof of life was not written");
            }
        })
    }

    /// Now and then the accounts that are being used are looked at: a top-up, a leg more or one less changes how long the
    /// money lasts. Readers of their own: the way of the calls does not wait for them.
    fn look_at_accounts(&self, looks: &mpsc::Sender<Input>) -> JoinHandle<()> {
        let (store, looks) = (self.store.clone(), looks.clone());
        let spenders = self.switchboard.spenders(clock::mono());
        tokio::spawn(async move {
            for organisation in spenders {
                // An account that cannot be read now is looked at again in a few seconds.
                let Ok((available, burn_nanos)) = store.money_left(&organisation, clock::wall()).await else {
                    continue;
                };
                if looks.send(Input::Money { organisation, available, burn_nanos }).await.is_err() {
                    return;
                }
            }
        })
    }

    /// Where the bridge does not keep up, no new calls come in until it does.
    async fn look_at_load(&mut self) {
        let Some(over) = self.load.look(clock::mono(), self.clerk.oldest()) else { return };
        metrics::gauge!(name::SHEDDING).set(u32::from(over));
        match over {
            true => tracing::warn!("more calls than the bridge keeps up with: new ones are refused"),
            false => tracing::info!("the bridge keeps up again: new calls are taken"),
        }
        // False: the endpoint has stopped.
        self.sip.command(sip::Command::Shed(over)).await;
    }

    fn measure(&self) {
        metrics::gauge!(name::LEGS).set(self.switchboard.legs() as u32);
        metrics::gauge!(name::BOOKS_WAITING).set(self.clerk.queues.len() as u32);
        metrics::gauge!(name::MEETINGS).set(self.switchboard.meetings() as u32);
        let gauges = self.sip.gauges();
        metrics::gauge!(name::SIP_REMEMBERED).set(gauges.remembered as u32);
        metrics::gauge!(name::SIP_CALLS).set(gauges.calls as u32);
        metrics::gauge!(name::SIP_TRANSACTIONS).set(gauges.transactions as u32);
        let sip = gauges.counters;
        for (way, count) in [("in", sip.messages_in), ("out", sip.messages_out)] {
            metrics::counter!(name::SIP_MESSAGES, "way" => way).absolute(count);
        }
        let dropped = [
            ("malformed", sip.malformed),
            ("stranger", sip.strangers),
            ("stray", sip.strays),
            ("foreign", sip.foreign),
            ("full", sip.refused_full + sip.dropped_full),
            ("busy", sip.refused_busy),
            ("pace", sip.refused_pace),
        ];
        for (why, count) in dropped {
            metrics::counter!(name::SIP_DROPPED, "why" => why).absolute(count);
        }
        let logins = [
            ("asked", sip.logins_asked),
            ("right", sip.logins_right),
            ("wrong", sip.logins_wrong),
            ("stale", sip.logins_stale),
            ("replayed", sip.logins_replayed),
            ("barred", sip.logins_barred),
        ];
        for (outcome, count) in logins {
            metrics::counter!(name::SIP_LOGINS, "outcome" => outcome).absolute(count);
        }
        metrics::counter!(name::SIP_PROOFS).absolute(sip.proofs);
        metrics::gauge!(name::SIP_SUBSCRIPTIONS).set(gauges.subscriptions as u32);
        for (outcome, count) in
            [("taken", sip.subscribed), ("refused", sip.subscriptions_refused), ("paced", sip.subscriptions_paced)]
        {
            metrics::counter!(name::SIP_SUBSCRIBED, "outcome" => outcome).absolute(count);
        }
        for (outcome, count) in [("sent", sip.notified), ("failed", sip.notifies_failed)] {
            metrics::counter!(name::SIP_NOTIFIED, "outcome" => outcome).absolute(count);
        }
        metrics::gauge!(name::SIP_REFERRALS).set(gauges.referrals as u32);
        let transfers = [
            ("asked", sip.referrals),
            ("refused", sip.referrals_refused),
            ("untold", sip.subscriptions_lost),
            ("sent", sip.handovers),
        ];
        for (outcome, count) in transfers {
            metrics::counter!(name::SIP_REFERS, "outcome" => outcome).absolute(count);
        }
        metrics::counter!(name::SIP_NAMES_ASKED).absolute(sip.names_asked);
        metrics::counter!(name::SIP_NAMES_UNFOUND).absolute(sip.names_unfound);
        let sound = self.media.counts();
        for (way, count) in [("in", sound.packets_in), ("out", sound.packets_out)] {
            metrics::counter!(name::RTP_PACKETS, "way" => way).absolute(count);
        }
        for (way, count) in [("in", sound.rtcp_in), ("out", sound.rtcp_out)] {
            metrics::counter!(name::RTCP_PACKETS, "way" => way).absolute(count);
        }
        let ports = sound.ports;
        for (state, count) in [("free", ports.free), ("lent", ports.lent), ("resting", ports.resting)] {
            metrics::gauge!(name::RTP_PORTS, "state" => state).set(count as u32);
        }
        metrics::counter!(name::RTP_DROPPED).absolute(sound.overflows + sound.unsent);
        metrics::counter!(name::PATTERNS_FORGOTTEN).absolute(self.switchboard.patterns_forgotten());
        metrics::counter!(name::TICK_LATE).absolute(sound.late);
        metrics::counter!(name::MIXER_PANICS).absolute(sound.panics);
    }

    /// BYEs are on their way: they are given time to arrive, as long as all last words may take.
    async fn hang_up_the_rest(self, last_moment: Option<Instant>) {
        let Rim { sip, clerk, recorder, .. } = self;
        let open: usize = clerk.queues.values().map(|queue| 1 + queue.len()).sum();
        if open > 0 {
            tracing::error!(open, "the books did not take everything: the next start settles the rest");
        }
        let until = last_moment.unwrap_or_else(Instant::now);
        while !sip.is_quiet() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        sip.stop().await;
        // It waits for the disk. A panic in there was told by the hook.
        let _ = tokio::task::spawn_blocking(move || drop(recorder)).await;
    }
}

/// Asks the books whether legs may go on, beside the way of the calls. A newer question takes the place of one that is not
/// asked to its end: it names all legs that there are.
async fn review(store: Store, mut asked: watch::Receiver<Vec<LegId>>, found: mpsc::Sender<Input>) {
    while asked.changed().await.is_ok() {
        let mut legs = VecDeque::from(asked.borrow_and_update().clone());
        while !legs.is_empty() && !asked.has_changed().unwrap_or(true) {
            let page: Vec<LegId> = legs.iter().take(MOST_REVIEWED).copied().collect();
            match store.withdrawn(&page, clock::wall()).await {
                Ok(withdrawn) => {
                    legs.drain(..page.len());
                    for (leg, cause) in withdrawn {
                        if found.send(Input::Withdrawn { leg, cause }).await.is_err() {
                            return;
                        }
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the books do not say which legs may go on");
                    if !error.is_passing() {
                        // The others are asked for; these end with what they hold, when they ask for more.
                        legs.drain(..page.len());
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}

/// Reads carriers' passwords where they are kept: whenever what there is changes, and now and then, so that a new one needs
/// no restart.
async fn read_passwords(mut facts: watch::Receiver<Arc<Facts>>, told: watch::Sender<Passwords>) {
    let mut before = BTreeMap::new();
    loop {
        let carriers = facts.borrow_and_update().clone();
        let named = carriers.directory.carriers().iter().filter_map(|carrier| carrier.digest.as_ref());
        let named: BTreeSet<SecretRef> = named.map(|digest| digest.password.clone()).collect();
        let mut read = BTreeMap::new();
        for place in named {
            let password = timeout(READING, notice::io::read_secret_of(place.clone(), 1)).await;
            match password.unwrap_or_else(|_| Err(format!("the secret {place} is not read in time"))) {
                Ok(password) => drop(read.insert(place, sip::Password::new(password.to_vec()))),
                // For a moment, maybe: what was known goes on.
                Err(why) => match before.remove(&place) {
                    Some(known) => {
                        tracing::error!(%why, "a carrier's password: the one that was there before holds");
                        read.insert(place, known);
                    }
                    None => tracing::error!(%why, "a carrier's password: nobody gets in by it"),
                },
            }
        }
        before.clone_from(&read);
        told.send_replace(Passwords { version: carriers.version, read });
        // The store's end is the end of this task, and so is the switchboard's.
        tokio::select! {
            changed = timeout(REREAD, facts.changed()) => if matches!(changed, Ok(Err(_))) { return },
            () = told.closed() => return,
        }
    }
}

/// What the recorder tells next; never, where there is none.
async fn next(events: &mut Option<mpsc::Receiver<recorder::Event>>) -> Option<recorder::Event> {
    match events {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}

/// Brings requests to the books: those of one leg one after the other, those of all side by side.
struct Clerk {
    store: Store,
    /// Legs with a request on its way, and what waits behind it. Each leg asks a handful of things at the most.
    queues: HashMap<LegId, VecDeque<Books>>,
    /// The books were not asked whether these may be, so they have no account to close.
    unheard: HashSet<LegId>,
    /// New legs whose first question waits for its answer, the oldest first; some that have it are among them yet.
    opening: VecDeque<(LegId, Mono)>,
    answered: mpsc::UnboundedSender<Answer>,
}

impl Clerk {
    fn new(store: Store, answered: mpsc::UnboundedSender<Answer>) -> Clerk {
        let (queues, unheard, opening) = (HashMap::new(), HashSet::new(), VecDeque::new());
        Clerk { store, queues, unheard, opening, answered }
    }

    /// Since when the oldest new leg waits.
    fn oldest(&mut self) -> Option<Mono> {
        self.opening.front().map(|(_, since)| *since)
    }

    fn take(&mut self, books: Books) {
        let leg = books.leg();
        if let Some(queue) = self.queues.get_mut(&leg) {
            return queue.push_back(books);
        }
        let at_once = match books {
            Books::Open(_) if self.queues.len() >= MOST_WAITING => Some(Done::Opened(Err(StoreError::Unasked))),
            Books::Settle(_) if self.unheard.remove(&leg) => Some(Done::Settled),
            _ => None,
        };
        if matches!(books, Books::Open(_)) {
            self.opening.push_back((leg, clock::mono()));
        }
        self.queues.insert(leg, VecDeque::new());
        match at_once {
            // Nobody listens any more where the switchboard has stopped.
            Some(done) => drop(self.answered.send((leg, done))),
            None => self.send(books),
        }
    }

    fn finished(&mut self, leg: LegId, done: &Done) {
        if matches!(done, Done::Opened(Err(StoreError::Unasked))) {
            self.unheard.insert(leg);
        }
        // They come back in another order than they were asked in, but not by much.
        if matches!(done, Done::Opened(_))
            && let Some(at) = self.opening.iter().position(|(other, _)| *other == leg)
        {
            self.opening.remove(at);
        }
        let mut rest = self.queues.remove(&leg).unwrap_or_default();
        let Some(next) = rest.pop_front() else { return };
        self.take(next);
        self.queues.entry(leg).or_default().extend(rest);
    }

    fn send(&self, books: Books) {
        let (store, answered) = (self.store.clone(), self.answered.clone());
        tokio::spawn(async move {
            let leg = books.leg();
            let answer = ask(&store, books).await;
            // Nobody listens any more where the switchboard has stopped.
            let _ = answered.send((leg, answer));
        });
    }
}

/// One alarm after the other into the books, until the switchboard is gone.
async fn write_alarms(store: Store, mut raised: mpsc::Receiver<Raise>) {
    while let Some(raised) = raised.recv().await {
        insist(|| store.raise(raised.clone())).await;
    }
}

async fn ask(store: &Store, books: Books) -> Done {
    match books {
        Books::Open(open) => Done::Opened(store.open_leg(open).await),
        Books::Name(name) => Done::More(store.name_payer(name).await),
        Books::Extend(extend) => Done::More(store.extend(extend).await),
        Books::Reroute(rerouted) => Done::Rerouted(store.rerouted(rerouted).await),
        Books::Answered(answered) => {
            insist(|| store.answered(answered.clone())).await;
            Done::Journaled
        }
        Books::Lead(leg) => {
            insist(|| store.lead(leg)).await;
            Done::Noted
        }
        Books::Buried(leg) => {
            insist(|| store.buried(vec![leg])).await;
            Done::Noted
        }
        Books::Settle(settle) => {
            insist(|| store.settle(settle.leg, settle.end.clone())).await;
            Done::Settled
        }
    }
}

/// Says it again until the books have it. What they refuse for good is told, and left to the audit.
async fn insist<T, F: Future<Output = Result<T, StoreError>>>(mut attempt: impl FnMut() -> F) {
    while let Err(error) = attempt().await {
        tracing::error!(%error, "the books did not take it");
        if !error.is_passing() {
            return;
        }
        tokio::time::sleep(RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use crate::rating::record::EndedBy;
    use crate::rating::{CallType, Origin};
    use crate::store::{End, OpenLeg, Options, Settle};
    use crate::types::Cause;

    fn leg(n: usize) -> LegId {
        LegId::new(1, n as u128)
    }

    fn open(n: usize) -> Books {
        Books::Open(OpenLeg {
            leg: leg(n),
            call_type: CallType::DialInToll,
            number: "+390612345678".parse().unwrap(),
            caller: None,
            origin: Origin::Fixed,
            carrier: None,
            call_id: format!("call-{n}"),
            journal: String::new(),
            invited: Wall::default(),
            meeting: None,
        })
    }

    fn settle(n: usize) -> Books {
        let end = End::new(Cause::HungUp, EndedBy::FarSide, 0, Wall::default());
        Books::Settle(Settle { leg: leg(n), end })
    }

    /// So many wait that no new leg is let in: it is refused at once, the books never hear of it, and its end waits for nobody.
    /// Whoever waits already is heard, and with one less there is room for one more.
    #[tokio::test]
    async fn with_as_many_as_may_wait_nobody_new_comes_in_and_everybody_else_is_served() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("books.db").display());
        let store = Store::open(&url, Options::default()).await.unwrap();
        let (answered, mut answers) = mpsc::unbounded_channel();
        let queues = (0..MOST_WAITING).map(|n| (leg(n), VecDeque::new())).collect();
        let mut clerk = Clerk { queues, ..Clerk::new(store.clone(), answered) };
        let new = MOST_WAITING;
        clerk.take(open(new));
        let (refused, done) = answers.recv().await.unwrap();
        assert!(refused == leg(new) && matches!(done, Done::Opened(Err(StoreError::Unasked))));
        clerk.finished(refused, &done);
        clerk.take(settle(new));
        let (closed, done) = answers.recv().await.unwrap();
        assert!(closed == leg(new) && matches!(done, Done::Settled), "there is no account to close");
        clerk.finished(closed, &done);
        assert_eq!((clerk.queues.len(), clerk.unheard.len()), (MOST_WAITING, 0));
        // The one before has been answered; what it asks next is not a new leg's.
        clerk.finished(leg(0), &Done::Noted);
        clerk.take(open(new));
        let (taken, done) = answers.recv().await.unwrap();
        assert!(taken == leg(new) && matches!(done, Done::Opened(Ok(Opened::NoPayerYet))));
        assert_eq!(store.live_legs().await.unwrap().len(), 1, "the books have the one that they were asked about");
        clerk.take(settle(new));
        assert_eq!(clerk.queues[&leg(new)].len(), 1, "it waits behind the answer that its leg has not taken");
        clerk.finished(taken, &done);
        let (closed, done) = answers.recv().await.unwrap();
        assert!(closed == leg(new) && matches!(done, Done::Settled));
        assert_eq!(store.live_legs().await.unwrap(), []);
    }
}
