//! Peers that we keep in touch with: asked with OPTIONS whether they are there (RFC 3261 section 11), and told with REGISTER
//! where we are (section 10).
//!
//! One question of each kind is out at a time. What is told is a change: there or not, with hysteresis; registered or not.

use super::auth::{Login, digest};
use super::desk::Alarm;
use super::endpoint::{ALLOW, Endpoint};
use super::header::{NameAddr, Via};
use super::message::{Request, Response};
use super::method::Method;
use super::transaction::{Id, Made, Owner};
use super::transport::{PING, PONG_LIMIT};
use super::uri::Uri;
use super::{Event, Flow, Output, Place, Transport, names};
use crate::clock::Mono;
use bytes::Bytes;
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// So many questions without an answer in a row, and it is not there; so many answers, and it is back.
const MISSES: u32 = 3;
const BACK: u32 = 2;
/// After a failed registration (RFC 5626 section 4.5): doubling from the first up to the last, and a random part of that.
const FIRST_WAIT_S: u64 = 30;
const LONGEST_WAIT_S: u64 = 1_800;
/// A registrar may ask us to wait so long (503, Retry-After), and to register for so long (423).
const LONGEST_RETRY_S: u64 = 3_600;
const LONGEST_EXPIRES_S: u32 = 86_400;
/// A registration shorter than this is held for as long: no registrar can have us ask all the time.
const SHORTEST_EXPIRES_S: u32 = 20;
/// Requests within one registration: a challenge, an old nonce, a 423.
const MOST_ASKED: u32 = 4;
/// A connection that we are registered by is kept alive by a ping at the latest after so long (RFC 5626 section 4.4.1).
const LONGEST_QUIET_S: u64 = 120;
/// One that was lost sooner than this was of no use: the next one is made the later (RFC 5626 section 4.5).
const STABLE: Duration = Duration::from_secs(LONGEST_QUIET_S);
/// Hops of a request.
const MAX_FORWARDS: u8 = 70;

/// One that we keep in touch with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// In our owner's words.
    pub owner: String,
    /// With which its challenges are answered.
    pub login: Option<Arc<Login>>,
    /// Where and how often it is asked whether it is there.
    pub ping: Option<(Toward, Duration)>,
    pub register: Option<Registration>,
}

/// Where requests to it go, and what we call ourselves there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    pub flow: Flow,
    pub contact: SocketAddr,
}

/// Where a peer is: at an address, or where its name leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Toward {
    Way(Way),
    Place(Arc<Place>),
}

impl Toward {
    /// As a URI names it.
    fn host(&self) -> String {
        match self {
            Toward::Way(way) => way.flow.peer.to_string(),
            Toward::Place(place) => match place.port {
                Some(port) => format!("{}:{port}", place.host),
                None => place.host.to_string(),
            },
        }
    }
}

/// A registration to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    pub toward: Toward,
    /// Of the address of record, and of our Contact.
    pub user: String,
    pub host: String,
    pub expires_s: u32,
}

/// How we stand with a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It answers.
    Up,
    /// It does not, or says that it takes no calls (503).
    Down,
    /// For so long, then it is renewed.
    Registered { expires_s: u32 },
    /// The last answer, 408 for none; tried again by itself.
    Unregistered { status: u16 },
}

/// What an alarm of a peer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::sip) enum Errand {
    Ping,
    Register,
    /// The connection that we are registered by is to be kept alive.
    KeepAlive,
    /// The answer to that has not come.
    Pong,
}

impl Errand {
    const ALL: [Errand; 4] = [Errand::Ping, Errand::Register, Errand::KeepAlive, Errand::Pong];
}

/// A connection that we are registered by: the registrar may send us calls by it, and by nothing else (RFC 5626 section 5.3).
#[derive(Clone, Copy, Debug)]
struct Held {
    flow: Flow,
    since: Mono,
    /// The far side answers pings; not everybody does.
    answers: bool,
}

/// A peer and how far things are with it.
#[derive(Debug)]
struct Kept {
    peer: Peer,
    pinging: Option<Id>,
    /// `None` until it has answered, or missed too often.
    up: Option<bool>,
    misses: u32,
    answers: u32,
    call_id: String,
    tag: String,
    cseq: u32,
    registering: Option<Id>,
    /// Where we registered last, and where else the registrar may be reached.
    way: Option<Way>,
    others: VecDeque<Way>,
    held: Option<Held>,
    /// How often in a row it was lost early.
    drops: u32,
    /// Requests within this registration, and those of them with a proof.
    asked: u32,
    proofs: u8,
    /// What a registrar has wanted instead of our own.
    expires_s: Option<u32>,
    failures: u32,
    /// What was told last.
    told: Option<Standing>,
    /// It is to be forgotten as soon as its registration is taken back.
    leaving: bool,
}

#[derive(Debug, Default)]
pub(in crate::sip) struct Peers {
    kept: BTreeMap<u32, Kept>,
    numbered: u32,
}

impl Peers {
    /// Registrations that are being taken back.
    pub fn leaving(&self) -> usize {
        self.kept.values().filter(|kept| kept.leaving).count()
    }

    /// The connections that we are registered by.
    pub fn flows(&self) -> impl Iterator<Item = Flow> {
        self.kept.values().filter_map(|kept| kept.held).map(|held| held.flow)
    }

    fn held_by(&self, flow: Flow) -> Vec<u32> {
        let is_it = |kept: &Kept| kept.held.is_some_and(|held| held.flow == flow);
        self.kept.iter().filter(|(_, kept)| is_it(kept)).map(|(number, _)| *number).collect()
    }
}

impl Endpoint {
    /// From now on these: those that are as they were go on, all others begin anew, and what is gone is told so.
    pub(in crate::sip) fn keep(&mut self, peers: Vec<Peer>) {
        let gone: Vec<u32> = self
            .peers
            .kept
            .iter()
            .filter(|(_, kept)| !kept.leaving && !peers.contains(&kept.peer))
            .map(|(number, _)| *number)
            .collect();
        for number in gone {
            // A registration that another takes over is not taken back: the two might arrive in any order.
            let of =
                |peer: &Peer| peer.register.as_ref().map(|it| (it.toward.clone(), it.user.clone(), it.host.clone()));
            let binding = self.peers.kept.get(&number).and_then(|kept| of(&kept.peer));
            self.leave(number, binding.is_some() && peers.iter().any(|peer| of(peer) == binding));
        }
        for peer in peers {
            if self.draining.is_none() && !self.peers.kept.values().any(|kept| !kept.leaving && kept.peer == peer) {
                self.begin_with(peer);
            }
        }
    }

    fn begin_with(&mut self, peer: Peer) {
        self.peers.numbered += 1;
        let number = self.peers.numbered;
        let (call_id, tag) = (format!("{:032x}", self.rng.random::<u128>()), self.tag());
        let (pings, registers) = (peer.ping.is_some(), peer.register.is_some());
        let kept = Kept {
            peer,
            pinging: None,
            up: None,
            misses: 0,
            answers: 0,
            call_id,
            tag,
            cseq: 0,
            registering: None,
            way: None,
            others: VecDeque::new(),
            held: None,
            drops: 0,
            asked: 0,
            proofs: 0,
            expires_s: None,
            failures: 0,
            told: None,
            leaving: false,
        };
        self.peers.kept.insert(number, kept);
        if pings {
            self.ping(number);
        }
        if registers {
            self.register(number);
        }
    }

    /// Takes back what is registered, and forgets it.
    fn leave(&mut self, number: u32, is_taken_over: bool) {
        for errand in Errand::ALL {
            self.desk.timers.stop(Alarm::Peer(number, errand));
        }
        let Some(kept) = self.peers.kept.get_mut(&number) else { return };
        let out = [kept.pinging.take(), kept.registering.take()];
        // Even one that is only on its way may arrive.
        let registered = kept.cseq > 0 && !is_taken_over;
        kept.leaving = true;
        for id in out.into_iter().flatten() {
            self.table.forget(&mut self.desk, id);
        }
        if registered { self.register(number) } else { drop(self.peers.kept.remove(&number)) }
    }

    /// No calls are taken any more: nobody is to send us any.
    pub(in crate::sip) fn leave_all(&mut self) {
        let all: Vec<u32> =
            self.peers.kept.iter().filter(|(_, kept)| !kept.leaving).map(|(number, _)| *number).collect();
        all.into_iter().for_each(|number| self.leave(number, false));
    }

    pub(in crate::sip) fn peer_alarm(&mut self, number: u32, errand: Errand) {
        match errand {
            Errand::Ping => self.ping(number),
            Errand::Register => self.register(number),
            Errand::KeepAlive => self.keep_alive(number),
            Errand::Pong => {
                let held = self.peers.kept.get(&number).and_then(|kept| kept.held);
                self.desk.out.extend(held.map(|held| Output::Close { flow: held.flow }));
            }
        }
    }

    fn tell_standing(&mut self, number: u32, standing: Standing) {
        let Some(kept) = self.peers.kept.get(&number).filter(|kept| !kept.leaving) else { return };
        self.desk.tell(Event::Stands { owner: kept.peer.owner.clone(), standing });
    }

    // ------------------------------------------------------------------------------------------------------------- OPTIONS

    /// Asks whether it is there. What was asked before and is not answered yet counts as missed.
    fn ping(&mut self, number: u32) {
        let Some(kept) = self.peers.kept.get_mut(&number) else { return };
        let Some((toward, every)) = kept.peer.ping.clone() else { return };
        if let Some(before) = kept.pinging.take() {
            self.table.forget(&mut self.desk, before);
            self.desk.counters.pings_missed += 1;
            self.missed(number);
        }
        self.desk.set(Alarm::Peer(number, Errand::Ping), every);
        match toward {
            Toward::Way(way) => self.ping_by(number, Some(way)),
            Toward::Place(place) => self.seek(names::Errand::Ping(number), place),
        }
    }

    /// Where it is found. `None`: nowhere, which is as good as no answer.
    pub(in crate::sip) fn ping_by(&mut self, number: u32, way: Option<Way>) {
        let Some(kept) = self.peers.kept.get(&number).filter(|kept| kept.pinging.is_none() && !kept.leaving) else {
            return;
        };
        let Some((toward, _)) = &kept.peer.ping else { return };
        let (host, Some(way)) = (toward.host(), way) else { return self.pinged(number, 408) };
        let (tag, call_id) = (self.tag(), format!("{:032x}", self.rng.random::<u128>()));
        let Some(request) = self.options_to(&host, way, &tag, &call_id) else { return };
        let id = self.table.send(&mut self.desk, request, way.flow, Owner::Ping(number));
        // Without room for it nothing is said of the peer.
        if let Some(kept) = self.peers.kept.get_mut(&number) {
            kept.pinging = id;
        }
    }

    fn options_to(&mut self, host: &str, way: Way, tag: &str, call_id: &str) -> Option<Request> {
        let branch = self.branch();
        let via = Via::new(way.flow.transport, way.contact, &branch);
        let to = Uri::parse(&format!("sip:{host}")).ok()?;
        let from = NameAddr::parse(&format!("<sip:{}>;tag={tag}", way.contact)).ok()?;
        let mut request =
            Request::new(Method::Options, to.clone(), &via, &from, &NameAddr::new(to), call_id, 1, MAX_FORWARDS);
        request.push("Contact", &contact(way, ""));
        request.push("Accept", super::endpoint::SDP);
        request.push("User-Agent", &self.config.product);
        Some(request)
    }

    /// A final answer, whatever it is, is a sign of life; but 503 says that no calls are taken, and 408 that a proxy had none.
    pub(in crate::sip) fn pinged(&mut self, number: u32, status: u16) {
        let Some(kept) = self.peers.kept.get_mut(&number) else { return };
        kept.pinging = None;
        if matches!(status, 408 | 503) {
            self.desk.counters.pings_missed += 1;
            return self.missed(number);
        }
        self.desk.counters.pings_answered += 1;
        kept.misses = 0;
        kept.answers = kept.answers.saturating_add(1);
        if kept.up.is_none() || (kept.up == Some(false) && kept.answers >= BACK) {
            kept.up = Some(true);
            self.tell_standing(number, Standing::Up);
        }
    }

    fn missed(&mut self, number: u32) {
        let Some(kept) = self.peers.kept.get_mut(&number) else { return };
        kept.answers = 0;
        kept.misses = kept.misses.saturating_add(1);
        if kept.up != Some(false) && kept.misses >= MISSES {
            kept.up = Some(false);
            self.tell_standing(number, Standing::Down);
        }
    }

    // ------------------------------------------------------------------------------------------------------------ REGISTER

    /// Registers, renews, or takes back.
    fn register(&mut self, number: u32) {
        let Some(kept) = self.peers.kept.get_mut(&number).filter(|kept| kept.registering.is_none()) else { return };
        (kept.asked, kept.proofs) = (0, 0);
        let Some(toward) = kept.peer.register.as_ref().map(|registration| registration.toward.clone()) else { return };
        match toward {
            Toward::Way(way) => self.register_by(number, vec![way]),
            // It is taken back where it is known.
            Toward::Place(_) if kept.leaving && kept.way.is_some() => self.send_first_registration(number),
            Toward::Place(place) => self.seek(names::Errand::Register(number), place),
        }
    }

    /// Where the registrar is found, the first to be tried first.
    pub(in crate::sip) fn register_by(&mut self, number: u32, ways: Vec<Way>) {
        let kept = self.peers.kept.get_mut(&number);
        let Some(kept) = kept.filter(|kept| kept.registering.is_none()) else { return };
        kept.others = ways.into();
        // The connection that there is, as long as the name leads there (RFC 5626 section 4.2).
        if let Some(held) = kept.held
            && let Some(at) = kept.others.iter().position(|way| way.flow == held.flow)
        {
            let held = kept.others.remove(at);
            held.into_iter().for_each(|way| kept.others.push_front(way));
        }
        match kept.others.pop_front() {
            Some(way) => {
                kept.way = Some(way);
                self.send_first_registration(number);
            }
            None => self.unregistered(number, 503, None),
        }
    }

    fn send_first_registration(&mut self, number: u32) {
        let Some(request) = self.registration(number) else { return };
        self.send_registration(number, request);
    }

    /// The request, under the next CSeq of its own Call-ID (RFC 3261 section 10.2).
    fn registration(&mut self, number: u32) -> Option<Request> {
        let branch = self.branch();
        let kept = self.peers.kept.get_mut(&number)?;
        let registration = kept.peer.register.as_ref()?;
        kept.cseq = kept.cseq.saturating_add(1);
        let (Registration { user, host, .. }, way) = (registration, kept.way?);
        let expires_s = if kept.leaving { 0 } else { kept.expires_s.unwrap_or(registration.expires_s) };
        let via = Via::new(way.flow.transport, way.contact, &branch);
        let to = NameAddr::parse(&format!("<sip:{user}@{host}>")).ok()?;
        let from = to.clone().with_tag(&kept.tag);
        let registrar = Uri::parse(&format!("sip:{host}")).ok()?;
        let mut request =
            Request::new(Method::Register, registrar, &via, &from, &to, &kept.call_id, kept.cseq, MAX_FORWARDS);
        request.push("Contact", &contact(way, user));
        request.push("Expires", &expires_s.to_string());
        request.push("Allow", ALLOW);
        request.push("User-Agent", &self.config.product);
        Some(request)
    }

    fn send_registration(&mut self, number: u32, request: Request) {
        let Some(kept) = self.peers.kept.get_mut(&number) else { return };
        let Some(way) = kept.way else { return };
        kept.asked += 1;
        let id = self.table.send(&mut self.desk, request, way.flow, Owner::Register(number));
        kept.registering = id;
        if id.is_none() {
            self.unregistered(number, 503, None);
        }
    }

    /// The answer to a REGISTER.
    pub(in crate::sip) fn registered(&mut self, number: u32, made: Option<&Made>, response: &Response) {
        let Some(kept) = self.peers.kept.get_mut(&number) else { return };
        kept.registering = None;
        match response.status() {
            200..=299 => self.holds(number, response),
            401 | 407 if self.register_again(number, made, response) => {}
            423 if self.register_longer(number, response) => {}
            status => self.unregistered(number, status, retry_after_s(response)),
        }
    }

    fn holds(&mut self, number: u32, response: &Response) {
        let Some(kept) = self.peers.kept.get_mut(&number) else { return };
        if kept.leaving {
            self.peers.kept.remove(&number);
            return;
        }
        let (Some(registration), Some(way)) = (&kept.peer.register, kept.way) else { return };
        let wished_s = kept.expires_s.unwrap_or(registration.expires_s);
        let expires_s = granted_s(response, way, &registration.user).unwrap_or(wished_s);
        let expires_s = expires_s.clamp(SHORTEST_EXPIRES_S, LONGEST_EXPIRES_S);
        kept.failures = 0;
        let standing = Standing::Registered { expires_s };
        let is_news = kept.told != Some(standing);
        kept.told = Some(standing);
        // Well before its end, and not all at the same moment.
        let part = self.rng.random_range(75..90);
        self.desk.set(Alarm::Peer(number, Errand::Register), Duration::from_millis(u64::from(expires_s) * 10 * part));
        self.desk.counters.registered += 1;
        if is_news {
            self.tell_standing(number, standing);
        }
        self.hold(number, way.flow);
    }

    /// We are registered by this flow: where it is a connection it is kept.
    fn hold(&mut self, number: u32, flow: Flow) {
        let Some(kept) = self.peers.kept.get_mut(&number) else { return };
        if kept.held.is_some_and(|held| held.flow == flow) {
            return;
        }
        self.desk.timers.stop(Alarm::Peer(number, Errand::Pong));
        kept.held = flow.transport.is_stream().then_some(Held { flow, since: self.desk.now, answers: false });
        match kept.held {
            Some(_) => self.set_keep_alive(number),
            None => self.desk.timers.stop(Alarm::Peer(number, Errand::KeepAlive)),
        }
    }

    fn set_keep_alive(&mut self, number: u32) {
        let wait_ms = self.rng.random_range(LONGEST_QUIET_S * 800..=LONGEST_QUIET_S * 1_000);
        self.desk.set(Alarm::Peer(number, Errand::KeepAlive), Duration::from_millis(wait_ms));
    }

    fn keep_alive(&mut self, number: u32) {
        let Some(held) = self.peers.kept.get(&number).and_then(|kept| kept.held) else { return };
        self.desk.out.push_back(Output::Send { flow: held.flow, bytes: Bytes::from_static(PING) });
        if held.answers {
            self.desk.set(Alarm::Peer(number, Errand::Pong), PONG_LIMIT);
        }
        self.set_keep_alive(number);
    }

    /// Something came by a flow; `answers`: what answers a ping.
    pub(in crate::sip) fn flow_lives(&mut self, flow: Flow, answers: bool) {
        for number in self.peers.held_by(flow) {
            self.desk.timers.stop(Alarm::Peer(number, Errand::Pong));
            if let Some(held) = self.peers.kept.get_mut(&number).and_then(|kept| kept.held.as_mut()) {
                held.answers |= answers;
            }
        }
    }

    /// A connection that we are registered by is gone: another one is made, the later the less this one has lasted.
    pub(in crate::sip) fn lose_registrations(&mut self, flow: Flow) {
        for number in self.peers.held_by(flow) {
            for errand in [Errand::KeepAlive, Errand::Pong] {
                self.desk.timers.stop(Alarm::Peer(number, errand));
            }
            let Some(kept) = self.peers.kept.get_mut(&number) else { continue };
            let Some(held) = kept.held.take() else { continue };
            // What is out has its own end.
            if kept.leaving || kept.registering.is_some() {
                continue;
            }
            kept.drops = if self.desk.now.since(held.since) < STABLE { kept.drops.saturating_add(1) } else { 0 };
            let wait = back_off(&mut self.rng, kept.drops);
            let alarm = Alarm::Peer(number, Errand::Register);
            let renewed = self.desk.timers.at(alarm).map_or(wait, |at| at.since(self.desk.now));
            self.desk.set(alarm, wait.min(renewed));
        }
    }

    /// Asked who we are: again, with the proof.
    fn register_again(&mut self, number: u32, made: Option<&Made>, response: &Response) -> bool {
        let (Some(made), cnonce) = (made, format!("{:016x}", self.rng.random::<u64>())) else { return false };
        let Some(kept) = self.peers.kept.get_mut(&number) else { return false };
        let Some(login) = kept.peer.login.clone().filter(|_| kept.proofs < super::auth::MOST_PROOFS) else {
            return false;
        };
        let auth = &self.auth;
        let proof = digest::answer(&login, &made.request, response, &cnonce, |asked| auth.is_theirs(&login, asked));
        let Some((name, value)) = proof else { return false };
        if kept.asked >= MOST_ASKED {
            return false;
        }
        kept.proofs += 1;
        self.desk.counters.proofs += 1;
        let Some(mut request) = self.registration(number) else { return false };
        request.push(name, &value);
        self.send_registration(number, request);
        true
    }

    /// Too brief for them (RFC 3261 section 10.2.8): as long as they want.
    fn register_longer(&mut self, number: u32, response: &Response) -> bool {
        let least_s = response.header("Min-Expires").and_then(|value| value.trim().parse::<u32>().ok());
        let Some(kept) = self.peers.kept.get_mut(&number).filter(|kept| !kept.leaving) else { return false };
        let asked_s = kept.expires_s.or(kept.peer.register.as_ref().map(|own| own.expires_s)).unwrap_or_default();
        let longer = least_s.filter(|least_s| (asked_s + 1..=LONGEST_EXPIRES_S).contains(least_s));
        if longer.is_none() || kept.asked >= MOST_ASKED {
            return false;
        }
        kept.expires_s = longer;
        let Some(request) = self.registration(number) else { return false };
        self.send_registration(number, request);
        true
    }

    /// It did not come to be: tried again, the later the more often it failed. 408: nobody answered; 503: no way.
    pub(in crate::sip) fn unregistered(&mut self, number: u32, status: u16, retry_after_s: Option<u64>) {
        let Some(kept) = self.peers.kept.get_mut(&number) else { return };
        kept.registering = None;
        if kept.leaving {
            self.peers.kept.remove(&number);
            return;
        }
        // RFC 3263 section 4.3: at the next of its addresses, at once.
        if matches!(status, 408 | 503)
            && let Some(next) = kept.others.pop_front()
        {
            kept.way = Some(next);
            (kept.asked, kept.proofs) = (0, 0);
            return self.send_first_registration(number);
        }
        let wait = back_off(&mut self.rng, kept.failures);
        kept.failures = kept.failures.saturating_add(1);
        let wait = wait.max(Duration::from_secs(retry_after_s.unwrap_or(0).min(LONGEST_RETRY_S)));
        self.desk.set(Alarm::Peer(number, Errand::Register), wait);
        self.desk.counters.unregistered += 1;
        let standing = Standing::Unregistered { status };
        if kept.told != Some(standing) {
            kept.told = Some(standing);
            self.tell_standing(number, standing);
        }
    }
}

/// How long to wait after so many failures before (RFC 5626 section 4.5).
fn back_off(rng: &mut StdRng, failures: u32) -> Duration {
    let longest_s = (FIRST_WAIT_S << failures.min(16)).min(LONGEST_WAIT_S);
    Duration::from_millis(rng.random_range(longest_s * 500..=longest_s * 1_000))
}

/// Our Contact, by which a registrar's calls reach us.
fn contact(way: Way, user: &str) -> String {
    let user = if user.is_empty() { String::new() } else { format!("{user}@") };
    match way.flow.transport {
        Transport::Udp => format!("<sip:{user}{}>", way.contact),
        stream => format!("<sip:{user}{};transport={}>", way.contact, stream.name()),
    }
}

/// For how long: as the Contact that is ours says, else as the message does (RFC 3261 section 10.2.4). Others of our name may
/// stand beside it, of another node or of an address that we had.
fn granted_s(response: &Response, way: Way, user: &str) -> Option<u32> {
    let contacts = response.addresses("Contact");
    let ours = contacts.iter().filter(|contact| contact.uri().user_unescaped().as_deref() == Some(user));
    let is_here = |uri: &Uri| {
        let port = uri.port().unwrap_or(way.flow.transport.usual_port());
        uri.address().map(|ip| SocketAddr::new(ip, port)) == Some(way.contact)
    };
    let here = ours.clone().find(|contact| is_here(contact.uri()));
    let own = here.or_else(|| ours.min_by_key(|contact| contact.param("expires")?.trim().parse::<u32>().ok()));
    let said = own.and_then(|contact| contact.param("expires")).or_else(|| response.header("Expires"));
    said?.trim().parse().ok()
}

fn retry_after_s(response: &Response) -> Option<u64> {
    let value = response.header("Retry-After")?;
    value.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
