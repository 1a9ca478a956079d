//! Who watches a call's conference (RFC 4575, RFC 6665): each a machine of its own, from its SUBSCRIBE to its last NOTIFY.
//!
//! Where a conference is, is told by our Contact within the call (`isfocus`, RFC 4579): its user part is a secret of that call,
//! which leads to whatever room the call is in, and to none before. So the Contact of a call never changes, nobody is sent a
//! re-INVITE for it, and nobody learns from it what opens a room. Our owner says who may watch, and shows what there is to see;
//! what is told of it, and when, is decided here: one NOTIFY at a time, changes within a second put together.

use super::conference::{Conference, KIND, PACKAGE, Told, Turn};
use super::desk::Alarm;
use super::dialog::Dialog;
use super::endpoint::{ALLOW_EVENTS, Endpoint};
use super::gate::{Objection, objection};
use super::header::media_type;
use super::lexer::is_token;
use super::message::Request;
use super::method::Method;
use super::names::Errand;
use super::session::Stage;
use super::shed::Meter;
use super::transaction::{Id, Note, Owner};
use super::transport::LONGEST_DATAGRAM;
use super::{Call, Event, Flow, Pace, Subscriber, Subscription, Transport, Unwatchable, Way};
use crate::clock::Mono;
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// Subscriptions of a node; above it one more is answered 480.
pub const MOST_SUBSCRIPTIONS: usize = 1_000;
/// SUBSCRIBEs a second: of an address so many that a carrier's watchers may all begin anew within two seconds. One more is
/// answered 500, and told to come again in a moment.
const PACE: Pace = Pace { all: Some(500), source: Some(100) };
const PACE_RETRY_S: u32 = 1;
/// How long one holds: where nothing is asked for (RFC 4575 section 3.3), at least and at most.
const USUAL_S: u32 = 3_600;
const LEAST_S: u32 = 60;
const MOST_S: u32 = 3_600;
/// Between two NOTIFYs of one subscription, but for what is asked for or is the last.
const GAP: Duration = Duration::from_secs(1);
/// How long our owner may think about a subscription: less than the 32 s of timer F.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many times, a second apart, there was no room for a NOTIFY, and it is over: longer than the longest transaction.
const MOST_WAITS: u32 = 40;
/// So many NOTIFYs in a row that were refused, though not for good, and it is over.
const MOST_FAILURES: u32 = 3;
/// A document by connection: with its headers within the 64 KiB that a message has.
const LONGEST_DOCUMENT: usize = 48 * 1024;
/// One that would have less room beside the headers than this has this much all the same.
const LEAST_ROOM: usize = 200;
/// So many people that there is something to tell of are worth a connection, where they would come by datagram one by one.
const WORTH_TCP: usize = 5;
/// Longest `id` of an Event.
const LONGEST_ID: usize = 64;
/// Seconds for Retry-After where there are too many.
const RETRY_AFTER_S: u32 = 60;

/// What an alarm of a subscription is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::sip) enum Chime {
    /// What is new may be told.
    Speak,
    /// Its time is over.
    Expire,
    /// Our owner has thought for long enough.
    Patience,
}

const CHIMES: [Chime; 3] = [Chime::Speak, Chime::Expire, Chime::Patience];

/// Why one ends (RFC 6665 section 4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Timeout,
    NoResource,
    /// They may not, any more.
    Rejected,
    /// No more calls are taken: whoever goes on watching does so after these seconds.
    Probation(u32),
}

impl Over {
    /// As Subscription-State says it.
    fn state(self) -> String {
        match self {
            Over::Timeout => "terminated;reason=timeout".to_owned(),
            Over::NoResource => "terminated;reason=noresource".to_owned(),
            Over::Rejected => "terminated;reason=rejected".to_owned(),
            Over::Probation(seconds) => format!("terminated;reason=probation;retry-after={seconds}"),
        }
    }

    /// What a SUBSCRIBE is told that our owner has not answered.
    fn objection(self) -> Objection {
        match self {
            Over::Timeout | Over::NoResource | Over::Rejected => Objection::new(403),
            Over::Probation(seconds) => Objection::new(503).with("Retry-After", seconds.to_string()),
        }
    }
}

/// One subscription.
#[derive(Debug)]
struct Watch {
    /// Whose conference it is.
    call: Call,
    dialog: Dialog,
    /// The `id` of its Event.
    id: Option<String>,
    /// Whom its first SUBSCRIBE proved to be from: within the dialog nobody is asked again who comes from the same address.
    login: Option<String>,
    /// The SUBSCRIBE that our owner has not answered.
    asked: Option<Asked>,
    /// Our owner has agreed once.
    is_let: bool,
    until: Mono,
    /// What there is to see: nothing, while the call is in no room.
    shown: Option<Arc<Conference>>,
    told: Option<Told>,
    turn: Turn,
    version: u32,
    /// Something has changed, or was left over; something is to be said at once, whether it has or not.
    news: bool,
    due: bool,
    over: Option<Over>,
    /// The NOTIFY that is out; whether it is the last.
    out: Option<Id>,
    parting: bool,
    /// Nothing that can wait goes out before.
    next: Mono,
    failures: u32,
    waits: u32,
    /// The connection of `dialog.flow` is gone.
    lost: bool,
    /// How TCP may be tried for what is too long for a datagram; and how it went before, since it goes so.
    tcp: Option<Way>,
    by_datagram: Option<Way>,
    /// The conference's address in each document, by whatever way it goes: what the Contact of its call says.
    entity: String,
}

/// A SUBSCRIBE, and the seconds that it is for; 0: what there is to see is fetched once.
#[derive(Debug)]
struct Asked {
    id: Id,
    request: Box<Request>,
    expires_s: u32,
}

/// All of them.
#[derive(Debug, Default)]
pub(in crate::sip) struct Watches {
    live: BTreeMap<u64, Watch>,
    numbered: u64,
    /// By Call-ID and our tag.
    dialogs: HashMap<(String, String), u64>,
    by_call: BTreeSet<(Call, u64)>,
    /// Calls by the secret in their Contact.
    tokens: HashMap<String, Call>,
    meter: Meter,
}

/// A NOTIFY, by which way it goes, and what its reader knows after it and whether that is all.
struct Notice {
    flow: Flow,
    request: Request,
    told: Option<(Told, bool)>,
}

/// What a SUBSCRIBE wants.
struct Wish {
    id: Option<String>,
    expires_s: u32,
}

impl Watches {
    pub fn len(&self) -> usize {
        self.live.len()
    }

    pub fn flows(&self) -> impl Iterator<Item = Flow> {
        self.live.values().map(|watch| watch.dialog.flow)
    }

    /// A call that can be watched by this secret.
    pub fn open(&mut self, token: &str, call: Call) {
        if !token.is_empty() {
            self.tokens.insert(token.to_owned(), call);
        }
    }

    /// The subscription whose dialog a request belongs to.
    fn of(&self, request: &Request) -> Option<u64> {
        let name = (request.call_id().to_owned(), request.to().tag()?.to_owned());
        let number = *self.dialogs.get(&name)?;
        let watch = self.live.get(&number)?;
        (watch.dialog.remote_tag() == request.from().tag()).then_some(number)
    }

    fn of_call(&self, call: Call) -> Vec<u64> {
        self.by_call.range((call, 0)..=(call, u64::MAX)).map(|(_, number)| *number).collect()
    }
}

impl Endpoint {
    /// A secret that leads to a call's conference, where calls of ours have one.
    pub(in crate::sip) fn token(&mut self) -> String {
        if self.config.is_focus { format!("{:032x}", self.rng.random::<u128>()) } else { String::new() }
    }

    /// Whether a SUBSCRIBE comes from where its subscription came from: it goes on when its source is unlisted.
    pub(in crate::sip) fn is_watcher(&self, flow: Flow, request: &Request) -> bool {
        let watch = self.watches.of(request).and_then(|number| self.watches.live.get(&number));
        *request.method() == Method::Subscribe
            && watch.is_some_and(|watch| watch.dialog.flow.peer.ip() == flow.peer.ip())
    }

    /// A SUBSCRIBE that is no repeat (RFC 6665 section 4.2.1). One that is refused leaves nothing here.
    pub(in crate::sip) fn subscribe(
        &mut self,
        flow: Flow,
        request: Request,
        call: Option<Call>,
        login: Option<String>,
    ) {
        let peer = flow.peer.ip().to_canonical();
        if !self.watches.meter.in_pace(self.desk.now, peer, PACE) {
            self.desk.counters.subscriptions_paced += 1;
            let objection = Objection::new(500).with("Retry-After", PACE_RETRY_S.to_string());
            return self.object_stateless(flow, &request, &objection);
        }
        self.watches.meter.take(self.desk.now, peer, PACE);
        let verdict = match request.to().tag() {
            Some(_) => self.resubscribe(flow, &request, call, login),
            None => self.begin_watch(flow, &request, login),
        };
        if let Err(objection) = verdict {
            self.desk.counters.subscriptions_refused += 1;
            self.object_stateless(flow, &request, &objection);
        }
    }

    fn begin_watch(&mut self, flow: Flow, request: &Request, login: Option<String>) -> Result<(), Objection> {
        if let Some(objection) = objection(flow.transport, request) {
            return Err(objection);
        }
        let login = match login {
            None => self.proven(flow, request)?,
            proven => proven,
        };
        let wish = Wish::of(request)?;
        if let Some(seconds) = self.no_room() {
            return Err(Objection::new(503).with("Retry-After", seconds.to_string()));
        }
        let token = request.uri().user().unwrap_or_default();
        let call = self.watches.tokens.get(token).copied().filter(|call| self.is_up(*call));
        // As anybody is told who is nobody here: whether there is such a room is nobody's business.
        let call = call.ok_or(Objection::new(403))?;
        let entity = self.sessions.get(&call).map(|session| session.dialog.focus()).unwrap_or_default();
        if request.contact().is_none() {
            return Err(Objection::new(400));
        }
        if self.watches.live.len() >= MOST_SUBSCRIPTIONS {
            return Err(too_many());
        }
        let Some(id) = self.open(flow, request, false) else { return Ok(()) };
        let (tag, contact) = (self.tag(), self.contact_for(flow));
        let mut dialog = Dialog::of_invite(request, flow, tag, contact);
        dialog.token = token.to_owned();
        self.watches.numbered += 1;
        let number = self.watches.numbered;
        self.watches.dialogs.insert((dialog.call_id.clone(), dialog.local_tag.clone()), number);
        self.watches.by_call.insert((call, number));
        let now = self.desk.now;
        let watch = Watch {
            call,
            dialog,
            id: wish.id,
            login: login.clone(),
            asked: Some(Asked { id, request: Box::new(request.clone()), expires_s: wish.expires_s }),
            is_let: false,
            until: now,
            shown: None,
            told: None,
            turn: Turn::default(),
            version: 0,
            news: false,
            due: true,
            over: None,
            out: None,
            parting: false,
            next: now,
            failures: 0,
            waits: 0,
            lost: false,
            tcp: None,
            by_datagram: None,
            entity,
        };
        self.watches.live.insert(number, watch);
        self.ask_owner(number, call, flow, login);
        Ok(())
    }

    /// Whether they may is our owner's word.
    fn ask_owner(&mut self, number: u64, call: Call, flow: Flow, login: Option<String>) {
        self.desk.set(Alarm::Watch(number, Chime::Patience), PATIENCE);
        let (subscription, shown) = (Subscription(number), self.shown_by(flow));
        self.desk.tell(Event::Subscribed(Box::new(Subscriber { subscription, call, flow, login, shown })));
    }

    fn is_up(&self, call: Call) -> bool {
        self.sessions.get(&call).is_some_and(|session| matches!(session.stage, Stage::Up { parting: None }))
    }

    /// One within a dialog: it goes on, if it still may, or ends (RFC 6665 sections 4.1.2.2 and 4.1.2.3).
    fn resubscribe(
        &mut self,
        flow: Flow,
        request: &Request,
        call: Option<Call>,
        login: Option<String>,
    ) -> Result<(), Objection> {
        if let Some(objection) = objection(flow.transport, request) {
            return Err(objection);
        }
        if call.is_some() {
            // RFC 6665 section 4.5.2: a call's dialog is no subscription's.
            return Err(Objection::new(403).because("Subscribe outside of the call"));
        }
        let number = self.watches.of(request).ok_or(Objection::new(481))?;
        let login = match login {
            None if self.is_watcher(flow, request) => {
                self.watches.live.get(&number).and_then(|watch| watch.login.clone())
            }
            None => self.proven(flow, request)?,
            proven => proven,
        };
        let wish = Wish::of(request)?;
        let Some(watch) = self.watches.live.get_mut(&number) else { return Err(Objection::new(481)) };
        if wish.id != watch.id || watch.over.is_some() {
            return Err(Objection::new(481));
        }
        let in_order = watch.dialog.remote_cseq.is_none_or(|latest| request.cseq() > latest);
        if !in_order || watch.asked.is_some() {
            return Err(Objection::new(500).with("Retry-After", "1"));
        }
        let call = watch.call;
        let Some(id) = self.open(flow, request, true) else { return Ok(()) };
        if let Some(watch) = self.watches.live.get_mut(&number) {
            watch.dialog.remote_cseq = Some(request.cseq());
        }
        let asked = Asked { id, request: Box::new(request.clone()), expires_s: wish.expires_s };
        if wish.expires_s == 0 {
            // An end needs nobody's leave.
            self.grant(number, asked);
        } else if let Some(watch) = self.watches.live.get_mut(&number) {
            watch.asked = Some(asked);
            self.ask_owner(number, call, flow, login);
        }
        Ok(())
    }

    /// 200, and what there is to see at once.
    fn grant(&mut self, number: u64, Asked { id, request, expires_s }: Asked) {
        let Some(watch) = self.watches.live.get_mut(&number) else { return };
        if let Some(contact) = request.contact() {
            watch.dialog.target = contact.uri().clone();
        }
        watch.until = self.desk.now + Duration::from_secs(u64::from(expires_s));
        // Whoever asks again may have lost what was told.
        watch.told = None;
        watch.due = true;
        if expires_s == 0 {
            watch.over = Some(Over::Timeout);
            self.desk.timers.stop(Alarm::Watch(number, Chime::Expire));
        } else {
            self.desk.set(Alarm::Watch(number, Chime::Expire), Duration::from_secs(u64::from(expires_s)));
        }
        let (tag, contact) = (watch.dialog.local_tag.clone(), watch.dialog.contact());
        let mut response = self.answer(&request, 200, Some(&tag));
        for hop in request.record_routes() {
            response.push("Record-Route", &hop.to_string());
        }
        response.push("Contact", &contact);
        response.push("Expires", &expires_s.to_string());
        response.push("Allow-Events", ALLOW_EVENTS);
        self.respond(id, &response);
        self.desk.counters.subscribed += 1;
        self.speak(number);
        self.scout_watch(number);
    }

    /// Looks up the next hop of its NOTIFYs where it is a name, as that of requests within a call.
    fn scout_watch(&mut self, number: u64) {
        let Some(watch) = self.watches.live.get(&number) else { return };
        let by_connection = watch.dialog.flow.transport.is_stream() && !watch.lost;
        if by_connection || watch.dialog.knows_hop() {
            return;
        }
        if let Some(place) = watch.dialog.place(&self.gate) {
            self.seek(Errand::Notify(number), place);
        }
    }

    pub(in crate::sip) fn watch_dialog(&mut self, number: u64) -> Option<&mut Dialog> {
        self.watches.live.get_mut(&number).map(|watch| &mut watch.dialog)
    }

    // ---------------------------------------------------------------------------------------------------- our owner's word

    /// They may watch.
    pub(in crate::sip) fn admit(
        &mut self,
        Subscription(number): Subscription,
        shown: Option<Arc<Conference>>,
        tcp: Option<Way>,
    ) {
        let Some(watch) = self.watches.live.get_mut(&number) else { return };
        let Some(asked) = watch.asked.take() else { return };
        watch.shown = shown;
        if !watch.is_let {
            // Where it came to nothing it is not tried again.
            watch.tcp = tcp;
        }
        watch.is_let = true;
        self.desk.timers.stop(Alarm::Watch(number, Chime::Patience));
        self.grant(number, asked);
    }

    /// They may not; where they could before, that is over.
    pub(in crate::sip) fn deny(&mut self, Subscription(number): Subscription, why: Unwatchable) {
        let (objection, over) = match why {
            Unwatchable::Stranger => (Objection::new(403), Over::Rejected),
            Unwatchable::TooMany => (too_many(), Over::Probation(RETRY_AFTER_S)),
        };
        self.refuse_watch(number, &objection);
        self.end_watch(number, over);
    }

    /// Refuses a SUBSCRIBE; one that was to begin a subscription leaves none.
    fn refuse_watch(&mut self, number: u64, objection: &Objection) {
        let Some(watch) = self.watches.live.get_mut(&number) else { return };
        let is_let = watch.is_let;
        let Some(Asked { id, request, .. }) = watch.asked.take() else { return };
        self.desk.timers.stop(Alarm::Watch(number, Chime::Patience));
        self.desk.counters.subscriptions_refused += 1;
        self.object(id, &request, objection);
        if !is_let {
            self.forget_watch(number);
        }
    }

    /// What there is to see now.
    pub(in crate::sip) fn show(&mut self, subscriptions: &[Subscription], conference: &Arc<Conference>) {
        for Subscription(number) in subscriptions {
            let Some(watch) = self.watches.live.get_mut(number).filter(|watch| watch.over.is_none()) else { continue };
            // From pending to active is told at once (RFC 6665 section 4.1.3).
            watch.due |= watch.shown.is_none();
            watch.shown = Some(conference.clone());
            watch.news = true;
            self.speak(*number);
        }
    }

    /// There is nothing more to see.
    pub(in crate::sip) fn conclude(&mut self, subscriptions: &[Subscription]) {
        subscriptions.iter().for_each(|Subscription(number)| self.end_watch(*number, Over::NoResource));
    }

    /// They may not see it any more.
    pub(in crate::sip) fn reject(&mut self, subscriptions: &[Subscription]) {
        subscriptions.iter().for_each(|Subscription(number)| self.end_watch(*number, Over::Rejected));
    }

    /// The call is over, and so is what was seen by it.
    pub(in crate::sip) fn unwatch(&mut self, call: Call, token: &str) {
        if self.watches.tokens.get(token) == Some(&call) {
            self.watches.tokens.remove(token);
        }
        for number in self.watches.of_call(call) {
            self.end_watch(number, Over::NoResource);
        }
    }

    /// No calls are taken any more, and nobody new may watch: whoever does is to ask later, which is when calls may come again.
    pub(in crate::sip) fn unwatch_all(&mut self) {
        let seconds = self.draining.unwrap_or(self.config.retry_after_s);
        let all: Vec<u64> = self.watches.live.keys().copied().collect();
        all.into_iter().for_each(|number| self.end_watch(number, Over::Probation(seconds)));
    }

    fn end_watch(&mut self, number: u64, why: Over) {
        self.refuse_watch(number, &why.objection());
        let Some(watch) = self.watches.live.get_mut(&number) else { return };
        watch.over.get_or_insert(why);
        self.desk.timers.stop(Alarm::Watch(number, Chime::Expire));
        self.speak(number);
    }

    pub(in crate::sip) fn watch_alarm(&mut self, number: u64, chime: Chime) {
        match chime {
            Chime::Speak => self.speak(number),
            // Whoever asked in time whether they may go on is told that first.
            Chime::Expire if self.watches.live.get(&number).is_some_and(|watch| watch.asked.is_some()) => {
                self.desk.set(Alarm::Watch(number, Chime::Expire), PATIENCE);
            }
            Chime::Expire => self.end_watch(number, Over::Timeout),
            Chime::Patience => {
                self.refuse_watch(number, &Objection::new(500));
                // What they had goes on, for the time that they had.
                self.speak(number);
            }
        }
    }

    /// A connection is gone.
    pub(in crate::sip) fn lose_watches(&mut self, flow: Flow) {
        let mut hit = Vec::new();
        for (number, watch) in self.watches.live.iter_mut().filter(|(_, watch)| watch.dialog.flow == flow) {
            watch.lost = true;
            hit.push(*number);
        }
        hit.into_iter().for_each(|number| self.scout_watch(number));
    }

    // ---------------------------------------------------------------------------------------------------------- NOTIFY

    /// Says what is to be said, unless something is out that is not answered, or it can wait.
    fn speak(&mut self, number: u64) {
        let now = self.desk.now;
        let Some(watch) = self.watches.live.get(&number) else { return };
        let is_urgent = watch.due || watch.over.is_some();
        if watch.out.is_some() || watch.asked.is_some() || !(is_urgent || watch.news) {
            return;
        }
        if !is_urgent && now < watch.next {
            return self.desk.set(Alarm::Watch(number, Chime::Speak), watch.next.since(now));
        }
        if !self.table.has_room() {
            return self.wait_for_room(number);
        }

        let branch = self.branch();
        let Some(watch) = self.watches.live.get_mut(&number) else { return };
        (watch.next, watch.waits) = (now + GAP, 0);
        let gate = &self.gate;
        let flow = watch.dialog.hop(watch.lost, gate);
        let Some(Notice { flow, request, told }) = watch.notify(now, flow, &branch) else {
            // What changed has changed back.
            watch.news = false;
            return;
        };
        let is_last = watch.over.is_some();
        let out = self.table.send(&mut self.desk, request, flow, Owner::Notify(number));
        let Some(watch) = self.watches.live.get_mut(&number) else { return };
        watch.out = out;
        watch.parting = is_last;
        watch.due = false;
        if let Some((told, is_all)) = told {
            watch.told = Some(told);
            watch.news = !is_all;
        }
        self.desk.counters.notified += 1;
    }

    /// There is no room for a further transaction: what is to be said stays so, and is said as soon as there is.
    fn wait_for_room(&mut self, number: u64) {
        let Some(watch) = self.watches.live.get_mut(&number) else { return };
        watch.waits += 1;
        let is_given_up = watch.waits >= MOST_WAITS;
        self.desk.counters.dropped_full += 1;
        match is_given_up {
            true => self.forget_watch(number),
            false => self.desk.set(Alarm::Watch(number, Chime::Speak), GAP),
        }
    }

    /// The final answer to a NOTIFY, 408 for none.
    pub(in crate::sip) fn notified(&mut self, number: u64, status: u16) {
        let Some(watch) = self.watches.live.get_mut(&number) else { return };
        watch.out = None;
        if (200..300).contains(&status) {
            watch.failures = 0;
            return if watch.parting { self.forget_watch(number) } else { self.speak(number) };
        }
        self.desk.counters.notifies_failed += 1;
        watch.failures += 1;
        if watch.parting || ends(status) || watch.failures >= MOST_FAILURES {
            return self.forget_watch(number);
        }
        // They may not have read it: all of it is told again.
        watch.told = None;
        watch.news = true;
        self.speak(number);
    }

    /// A NOTIFY was not answered, or did not get away.
    pub(in crate::sip) fn unnotified(&mut self, number: u64, note: Note) {
        let Some(watch) = self.watches.live.get_mut(&number) else { return };
        match (note, watch.by_datagram) {
            (Note::Broken, Some(way)) => {
                // Nobody listens by TCP: by datagram, in as many pieces as it takes.
                (watch.dialog.flow, watch.dialog.contact) = (way.flow, way.contact);
                (watch.lost, watch.tcp, watch.by_datagram) = (false, None, None);
                (watch.out, watch.told) = (None, None);
                (watch.news, watch.due) = (true, true);
                self.speak(number);
            }
            (Note::Pass, _) => {}
            // Whoever cannot be reached now is no less there than one that says so (RFC 3261 section 8.1.3.1).
            (Note::Broken, None) => self.notified(number, 503),
            (Note::TimedOut, _) => self.notified(number, 408),
        }
    }

    fn forget_watch(&mut self, number: u64) {
        let Some(watch) = self.watches.live.remove(&number) else { return };
        for chime in CHIMES {
            self.desk.timers.stop(Alarm::Watch(number, chime));
        }
        if let Some(out) = watch.out {
            self.table.forget(&mut self.desk, out);
        }
        self.watches.dialogs.remove(&(watch.dialog.call_id, watch.dialog.local_tag));
        self.watches.by_call.remove(&(watch.call, number));
        self.desk.tell(Event::Unsubscribed { subscription: Subscription(number) });
    }
}

impl Watch {
    /// What is to be said; `None` where there is nothing.
    fn notify(&mut self, now: Mono, flow: Flow, branch: &str) -> Option<Notice> {
        let left_s = self.until.since(now).as_secs().max(1);
        let state = match (self.over, &self.shown) {
            (Some(over), _) => over.state(),
            (None, Some(_)) => format!("active;expires={left_s}"),
            (None, None) => format!("pending;expires={left_s}"),
        };
        let event = match &self.id {
            Some(id) => format!("{PACKAGE};id={id}"),
            None => PACKAGE.to_owned(),
        };
        let write = |dialog: &mut Dialog| {
            let mut notify = dialog.request(Method::Notify, branch);
            for (name, value) in
                [("Contact", dialog.contact().as_str()), ("Event", &event), ("Subscription-State", &state)]
            {
                notify.push(name, value);
            }
            notify
        };
        // The last word of a room that is gone says no more; what is fetched, or was asked for to the end, is told.
        let conference = self.shown.clone().filter(|_| matches!(self.over, None | Some(Over::Timeout)));
        let Some(conference) = conference else {
            return Some(Notice { flow, request: write(&mut self.dialog), told: None });
        };
        let told = self.told.as_ref().filter(|_| self.over.is_none());
        let (mut dialog, mut flow) = (self.dialog.clone(), flow);
        // The first, which is to come at once, never waits for a connection.
        let is_worth = told.is_some_and(|told| conference.untold(told) >= WORTH_TCP);
        if let Some(way) = self.tcp.filter(|_| flow.transport == Transport::Udp && is_worth) {
            self.by_datagram = Some(Way { flow: self.dialog.flow, contact: self.dialog.contact });
            flow = Flow { peer: flow.peer, ..way.flow };
            dialog = Dialog { flow, contact: way.contact, ..dialog };
        }
        let mut notify = write(&mut dialog);
        let room = match flow.transport {
            Transport::Udp => room_beside(&notify),
            Transport::Tcp | Transport::Tls => LONGEST_DOCUMENT,
        };
        let Some(found) = conference.document(told, self.turn, (&self.entity, self.version + 1), room) else {
            // Asked for, and nothing new: an empty one says how things stand.
            let is_due = self.due || self.over.is_some();
            return is_due.then(|| Notice { flow, request: write(&mut self.dialog), told: None });
        };
        notify.set_body(KIND, found.text.into_bytes().into());
        self.version += 1;
        (self.dialog, self.turn) = (dialog, found.turn);
        Some(Notice { flow, request: notify, told: Some((found.told, found.is_all)) })
    }
}

/// A SUBSCRIBE, but for those within a call to what a REFER of it is told by.
pub(in crate::sip) fn is_to_watch(request: &Request, call: Option<Call>) -> bool {
    *request.method() == Method::Subscribe && (call.is_none() || package(request) == PACKAGE)
}

fn package(request: &Request) -> &str {
    request.header("Event").unwrap_or_default().split(';').next().unwrap_or_default().trim()
}

impl Wish {
    /// What speaks against it, whoever asks: no such package, a body that they cannot read, too brief a time.
    fn of(request: &Request) -> Result<Wish, Objection> {
        let event = request.header("Event").unwrap_or_default();
        let (_, params) = event.split_once(';').unwrap_or((event, ""));
        if package(request) != PACKAGE {
            return Err(Objection::new(489).with("Allow-Events", ALLOW_EVENTS));
        }
        let mut params = params.split(';').filter_map(|param| param.split_once('='));
        let id = params.find(|(name, _)| name.trim().eq_ignore_ascii_case("id")).map(|(_, id)| id.trim().to_owned());
        if id.as_ref().is_some_and(|id| !is_token(id) || id.len() > LONGEST_ID) {
            return Err(Objection::new(400));
        }
        let mut ranges = request.header_all("Accept").flat_map(|value| value.split(',')).peekable();
        let reads = |range: &str| {
            [KIND, "application/*", "*/*"].iter().any(|kind| media_type(range.trim()).eq_ignore_ascii_case(kind))
        };
        if ranges.peek().is_some() && !ranges.any(reads) {
            return Err(Objection::new(406).with("Accept", KIND));
        }
        let expires_s = match request.header("Expires").map(|value| value.trim().parse::<u32>()) {
            None => USUAL_S,
            Some(Ok(seconds)) => seconds.min(MOST_S),
            Some(Err(_)) => return Err(Objection::new(400)),
        };
        if (1..LEAST_S).contains(&expires_s) {
            return Err(Objection::new(423).with("Min-Expires", LEAST_S.to_string()));
        }
        Ok(Wish { id, expires_s })
    }
}

/// Bytes that a datagram has for a body beside these headers, and those that tell of it.
fn room_beside(notify: &Request) -> usize {
    const OF_BODY: usize = "Content-Type: application/conference-info+xml\r\n".len() + 4;
    LONGEST_DATAGRAM.saturating_sub(notify.to_bytes().len() + OF_BODY).max(LEAST_ROOM)
}

/// Whether an answer to a NOTIFY ends its subscription (RFC 5057 section 5.1): who asks for a password is nobody we watch for,
/// and silence is an end.
const fn ends(status: u16) -> bool {
    matches!(status, 401 | 403..=408 | 410 | 416 | 480..=485 | 489 | 501 | 604)
}

fn too_many() -> Objection {
    Objection::new(480).with("Retry-After", RETRY_AFTER_S.to_string())
}
