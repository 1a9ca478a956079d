//! One endpoint under a script of bytes: what a far side sends, well or badly, what its owner says, what the network does.
//! Whatever the order, after each step it holds what is true of any: one final answer a call, one last word, no table beyond
//! its limit. And after silence nothing is left.
//!
//! A step is three bytes: which act of the target's alphabet, and two that say how.

use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tollbridge::clock::Mono;
use tollbridge::sip::{
    Call, Command, Conference, Config, Dial, Endpoint, Event, Flow, Framing, Identity, Login, MOST_SUBSCRIPTIONS,
    Message, Output, Pace, Password, Person, Presence, Refusal, Request, Response, Source, Subscription, Transport,
    Unwatchable,
};

/// No script is longer: three bytes a step.
const STEPS: usize = 48;
/// Small, so that a script can fill them.
const MOST_CALLS: usize = 6;
const MOST_TRANSACTIONS: usize = 40;
/// Beside those, for requests within calls that there are.
const STANDING: usize = MOST_TRANSACTIONS / 8;
/// Of what was said, so much is remembered to be answered, repeated and spoilt.
const MEMORY: usize = 24;
/// Alarms that one thing has at the most: nine bells of a call, three of a subscription, four letters of a transaction.
const ALARMS: usize = 9;
/// After this long without a word from anybody nothing is left: a call that was given up, its answer, and its BYE.
const SILENCE: Duration = Duration::from_secs(200);

const METHODS: [&str; 15] = [
    "INVITE",
    "ACK",
    "BYE",
    "CANCEL",
    "OPTIONS",
    "UPDATE",
    "PRACK",
    "INFO",
    "REFER",
    "SUBSCRIBE",
    "NOTIFY",
    "MESSAGE",
    "REGISTER",
    "PUBLISH",
    "NOPE",
];
const STATUSES: [u16; 24] = [
    100, 180, 183, 199, 200, 202, 204, 299, 302, 401, 403, 404, 407, 408, 422, 423, 481, 486, 487, 488, 491, 500, 503,
    603,
];
const WAITS_MS: [u64; 12] = [0, 1, 100, 500, 1_000, 2_000, 4_000, 8_000, 20_000, 32_000, 61_000, 900_000];
const BODIES: [&str; 3] = ["", "offer", "answer"];

/// A dialog as the far side sees it.
#[derive(Clone, Debug)]
struct Leg {
    call_id: String,
    theirs: String,
    ours: String,
    cseq: u32,
    /// Of the latest response that wants a PRACK.
    rseq: u32,
    /// The INVITE of ours that began it, for what has its branch.
    branch: String,
}

/// What a call was told.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    finals: u32,
    lasts: u32,
}

pub struct Script {
    now: Mono,
    endpoint: Endpoint,
    random: StdRng,
    count: u64,
    legs: Vec<Leg>,
    calls: Vec<Call>,
    told: BTreeMap<Call, Told>,
    referred: Vec<(Call, u32)>,
    /// REFERs of ours of which it was not told how they went.
    refers: BTreeMap<Call, u32>,
    watching: Vec<Subscription>,
    /// Subscriptions that were asked for, less those that ended.
    watched: HashSet<Subscription>,
    /// Requests that came out, and by which way; and what went in.
    asked: Vec<(Flow, Request)>,
    came: Vec<(Flow, Bytes)>,
    /// The secret of a conference that can be watched.
    token: String,
}

/// What a script can do: a table of acts a target.
pub type Act = fn(&mut Script, u8, u8);

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn flow(stream: bool) -> Flow {
    let transport = if stream { Transport::Tcp } else { Transport::Udp };
    Flow { transport, local: address("192.0.2.1:5060"), peer: address("192.0.2.2:5060") }
}

fn pick<T: Clone>(from: &[T], at: u8) -> Option<T> {
    from.get(usize::from(at) % from.len().max(1)).cloned()
}

fn keep<T>(list: &mut Vec<T>, one: T) {
    if list.len() >= MEMORY {
        list.remove(0);
    }
    list.push(one);
}

pub fn config() -> Config {
    Config {
        max_calls: MOST_CALLS,
        max_transactions: MOST_TRANSACTIONS,
        product: "tollbridge".to_owned(),
        retry_after_s: 5,
        session_s: 1_800,
        trying_s: 5,
        is_focus: true,
        pace: Pace::default(),
    }
}

impl Script {
    pub fn new() -> Script {
        let mut endpoint = Endpoint::new(config(), [7; 32]);
        let known = Source::at(address("192.0.2.2:5060").ip());
        endpoint.command(Mono::default(), Command::Sources(vec![known]));
        Script {
            now: Mono::from_millis(1_000),
            endpoint,
            random: StdRng::seed_from_u64(1),
            count: 0,
            legs: Vec::new(),
            calls: Vec::new(),
            told: BTreeMap::new(),
            referred: Vec::new(),
            refers: BTreeMap::new(),
            watching: Vec::new(),
            watched: HashSet::new(),
            asked: Vec::new(),
            came: Vec::new(),
            token: String::new(),
        }
    }

    /// Plays a script, then lets everybody go.
    pub fn play(mut self, alphabet: &[Act], input: &[u8]) {
        for step in input.chunks_exact(3).take(STEPS) {
            alphabet[usize::from(step[0]) % alphabet.len()](&mut self, step[1], step[2]);
            self.check();
        }
        self.end();
    }

    /// True after each step, whatever came.
    fn check(&mut self) {
        let endpoint = &self.endpoint;
        let (calls, transactions) = (endpoint.calls(), endpoint.transactions());
        assert!(transactions <= MOST_TRANSACTIONS + STANDING, "{transactions} transactions");
        // What is only being ended takes nobody's room, and has a transaction each.
        assert!(calls <= MOST_CALLS + MOST_TRANSACTIONS + STANDING, "{calls} calls");
        let (watched, referrals) = (endpoint.subscriptions(), endpoint.referrals());
        assert!(watched <= MOST_SUBSCRIPTIONS && watched == self.watched.len(), "{watched} of {}", self.watched.len());
        assert!(referrals <= 4 * calls, "{referrals} REFERs in {calls} calls");
        assert!(
            endpoint.alarms() <= ALARMS * (calls + transactions + watched + referrals),
            "{} alarms",
            endpoint.alarms()
        );
    }

    fn end(mut self) {
        for call in self.told.keys().copied().collect::<Vec<_>>() {
            self.command(Command::HangUp { call, reason: None });
        }
        let subscriptions = std::mem::take(&mut self.watching);
        self.command(Command::Conclude { subscriptions });
        self.pass(SILENCE);
        self.check();
        let endpoint = &self.endpoint;
        let left = [endpoint.calls(), endpoint.transactions(), endpoint.subscriptions(), endpoint.referrals()];
        assert_eq!((left, endpoint.alarms()), ([0; 4], 0), "calls, transactions, subscriptions, REFERs; alarms");
        for (call, told) in &self.told {
            assert_eq!(told.lasts, 1, "last words of {call:?}");
        }
    }

    fn pass(&mut self, wait: Duration) {
        let end = self.now + wait;
        // An alarm that sets itself anew at once would ring for ever.
        for _ in 0..10_000 {
            let Some(next) = self.endpoint.deadline().filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            self.endpoint.wake(self.now);
            self.drain();
        }
        panic!("an alarm that never ends");
    }

    fn command(&mut self, command: Command) {
        if let Command::Refer { call, .. } = &command {
            *self.refers.entry(*call).or_default() += 1;
        }
        self.endpoint.command(self.now, command);
        self.drain();
    }

    fn receive(&mut self, flow: Flow, bytes: Bytes) {
        keep(&mut self.came, (flow, bytes.clone()));
        self.endpoint.receive(self.now, flow, &bytes);
        self.drain();
    }

    fn text(&mut self, stream: bool, text: &str) {
        self.receive(flow(stream), Bytes::from(text.replace('\n', "\r\n")));
    }

    fn drain(&mut self) {
        while let Some(output) = self.endpoint.poll() {
            match output {
                Output::Send { flow, bytes } => self.heard(flow, &bytes),
                Output::Event(event) => self.news(&event),
                Output::Close { .. } | Output::Ask(_) | Output::Unfound { .. } | Output::Rejected(_) => {}
            }
        }
    }

    /// What it says can be read.
    fn heard(&mut self, flow: Flow, bytes: &Bytes) {
        match Message::parse(bytes, Framing::Stream) {
            Ok(Message::Request(request)) => {
                self.learn(request.contact().and_then(|contact| contact.uri().user()));
                keep(&mut self.asked, (flow, request));
            }
            Ok(Message::Response(response)) => {
                self.learn(response.contact().and_then(|contact| contact.uri().user()));
                let leg = self.legs.iter_mut().find(|leg| leg.call_id == response.call_id());
                let Some(leg) = leg.filter(|_| response.cseq().1.as_str() == "INVITE") else { return };
                if leg.ours.is_empty() {
                    leg.ours = response.to().tag().unwrap_or_default().to_owned();
                }
                leg.rseq = response.header("RSeq").and_then(|rseq| rseq.parse().ok()).unwrap_or(leg.rseq);
            }
            // Several Vias make a response that is not for us; but we may well send it.
            Err(_) => assert!(bytes.starts_with(b"SIP/2.0 "), "{}", String::from_utf8_lossy(bytes)),
        }
    }

    fn learn(&mut self, token: Option<&str>) {
        if let Some(token) = token.filter(|token| token.len() == 32) {
            self.token = token.to_owned();
        }
    }

    /// What its owner is told: of each call one answer at the most, one last word, and nothing after it.
    fn news(&mut self, event: &Event) {
        match event {
            Event::Subscribed(subscriber) => {
                // Whoever goes on is asked for anew, under the same name.
                let is_new = self.watched.insert(subscriber.subscription);
                self.watching.extend(is_new.then_some(subscriber.subscription));
            }
            Event::Unsubscribed { subscription, .. } => {
                assert!(self.watched.remove(subscription), "one that was told of");
            }
            Event::Referred(referral) => keep(&mut self.referred, (referral.call, referral.number)),
            Event::Invited(invitation) => self.calls.push(invitation.call),
            _ => {}
        }
        let Some(call) = event.call().filter(|_| !matches!(event, Event::Subscribed(_))) else { return };
        // Of a REFER of ours it is told once how it went, if need be after the call's last word.
        if let Event::Transferring { is_last: true, .. } = event {
            let left = self.refers.get_mut(&call).filter(|left| **left > 0);
            return *left.expect("a REFER that was not told of") -= 1;
        }
        let told = self.told.entry(call).or_default();
        assert_eq!(told.lasts, 0, "after its last word {event:?}");
        told.finals += u32::from(matches!(event, Event::Answered { .. } | Event::Failed { .. }));
        assert!(told.finals <= 1, "a second final answer: {event:?}");
        told.lasts += u32::from(event.is_last());
    }

    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    // ------------------------------------------------------------------------------------------------------ the far side

    /// A call, or a question, that begins something.
    pub fn begin(&mut self, how: u8, which: u8) {
        let number = self.number();
        let method = if how & 1 == 0 { "INVITE" } else { METHODS[usize::from(which) % METHODS.len()] };
        let body = BODIES[usize::from(how >> 1) % 2];
        let more = ["", "Supported: 100rel, timer\n", "Require: 100rel\n", "Session-Expires: 90\nSupported: timer\n"]
            [usize::from(how >> 2) % 4];
        let (call_id, theirs, branch) = (format!("c{number}"), format!("them{number}"), format!("z9hG4bKi{number}"));
        let text = request(method, &call_id, &theirs, "", 1, &branch, body, more);
        if method == "INVITE" && self.legs.len() < MEMORY {
            self.legs.push(Leg { call_id, theirs, ours: String::new(), cseq: 1, rseq: 1, branch });
        }
        self.text(how & 128 != 0, &text);
    }

    /// A request within a dialog; its number may be old, and its tag another.
    pub fn request(&mut self, how: u8, which: u8) {
        let method = METHODS[usize::from(which & 15) % METHODS.len()];
        let number = self.number();
        let at = usize::from(which >> 4) % self.legs.len().max(1);
        let Some(leg) = self.legs.get_mut(at) else { return };
        let is_of_invite = matches!(method, "ACK" | "CANCEL");
        match how & 3 {
            _ if is_of_invite => {}
            0 => leg.cseq = leg.cseq.saturating_sub(1),
            3 => leg.cseq = leg.cseq.saturating_add(1 << 20),
            _ => leg.cseq += 1,
        }
        let branch = match method {
            "CANCEL" => leg.branch.clone(),
            _ => format!("z9hG4bKr{number}"),
        };
        let leg = Leg { branch: branch.clone(), ..leg.clone() };
        if method == "INVITE" {
            self.legs[at].branch = branch;
        }
        let rack = format!("RAck: {} 1 INVITE\n", leg.rseq);
        let ours = if method == "CANCEL" {
            ""
        } else if how & 12 == 12 {
            "astray"
        } else {
            &leg.ours
        };
        let more = match (method, how >> 4 & 3) {
            ("REFER", 0) => "Refer-To: <tel:+4930>\nRefer-Sub: false\n",
            ("REFER", _) => "Refer-To: <sip:+4930@192.0.2.2>\n",
            ("SUBSCRIBE", 0) => "Event: refer\nExpires: 0\n",
            ("SUBSCRIBE" | "NOTIFY", _) => "Event: refer\nSubscription-State: active\n",
            ("PRACK", _) => &rack,
            (_, 1) => "Require: nobody-knows\n",
            (_, 2) => "Session-Expires: 90\nSupported: timer\n",
            _ => "",
        };
        let body = BODIES[usize::from(how >> 6) % 3];
        let text = request(method, &leg.call_id, &leg.theirs, ours, leg.cseq, &leg.branch, body, more);
        self.text(false, &text);
    }

    /// An answer to something that came out. The highest bit: from a second fork.
    pub fn answer(&mut self, which: u8, how: u8) {
        let Some((asked, request)) = pick(&self.asked, which & 127) else { return };
        let status = STATUSES[usize::from(how & 31) % STATUSES.len()];
        let tag = if which & 128 == 0 { "t1" } else { "t2" };
        let mut response = Response::to(&request, status, "");
        response.set_to_tag(tag);
        response.push("Contact", "<sip:+4930@192.0.2.2>");
        match how >> 5 & 3 {
            1 => {
                let number = self.number().to_string();
                response.push("Require", "100rel");
                response.push("RSeq", &number);
            }
            2 => drop(response.push("Min-SE", "2400")),
            3 => drop(response.push("WWW-Authenticate", "Digest realm=\"r\", nonce=\"n\", algorithm=MD5")),
            _ => {}
        }
        if how & 128 != 0 {
            response.set_body("application/sdp", Bytes::from_static(b"answer"));
        }
        if request.method().as_str() == "INVITE" && self.legs.len() < MEMORY {
            let (call_id, ours) = (request.call_id().to_owned(), request.from().tag().unwrap_or_default().to_owned());
            if !self.legs.iter().any(|leg| leg.call_id == call_id && leg.theirs == tag) {
                let (theirs, branch) = (tag.to_owned(), "z9hG4bKnone".to_owned());
                self.legs.push(Leg { call_id, theirs, ours, cseq: 0, rseq: 1, branch });
            }
        }
        self.receive(Flow { local: asked.local, ..asked }, response.to_bytes());
    }

    /// What came before comes again.
    pub fn repeat(&mut self, which: u8, times: u8) {
        let Some((flow, bytes)) = pick(&self.came, which) else { return };
        for _ in 0..=times % 4 {
            self.receive(flow, bytes.clone());
        }
    }

    /// What came before comes again with one byte of it changed.
    pub fn spoil(&mut self, which: u8, how: u8) {
        let Some((flow, bytes)) = pick(&self.came, which) else { return };
        let mut bytes = bytes.to_vec();
        let place = usize::from(how) * bytes.len() / 256;
        bytes[place] = which.wrapping_mul(31).wrapping_add(how);
        self.receive(flow, bytes.into());
    }

    /// Somebody wants to watch, or goes on watching, or does not any more.
    pub fn subscribe(&mut self, how: u8, which: u8) {
        let number = self.number();
        let expires = [0, 60, 600, 3_600][usize::from(how) % 4];
        let more = format!("Event: conference\nExpires: {expires}\n");
        let (call_id, theirs) = (format!("w{}", which & 7), format!("watcher{}", which & 7));
        let told = self
            .asked
            .iter()
            .rev()
            .find(|(_, request)| request.method().as_str() == "NOTIFY" && request.call_id() == call_id);
        let ours = told.and_then(|(_, notify)| notify.from().tag()).unwrap_or_default().to_owned();
        let cseq = number as u32;
        let text = request("SUBSCRIBE", &call_id, &theirs, &ours, cseq, &format!("z9hG4bKs{number}"), "", &more)
            .replace("sip:room@", &format!("sip:{}@", self.token));
        self.text(false, &text);
    }

    // --------------------------------------------------------------------------------------------------------- the owner

    /// Our owner wants something of a call.
    pub fn order(&mut self, which: u8, what: u8) {
        let body = || Bytes::from_static(b"ours");
        let Some(call) = pick(&self.calls, which) else { return };
        let answer = (what & 128 != 0).then(body);
        let reason = None;
        self.command(match what & 15 {
            0 => Command::Ring { call, status: 180, answer },
            1 => Command::Ring { call, status: 183, answer: Some(body()) },
            2 | 3 => Command::Accept { call, answer: body() },
            4 => Command::Refuse { call, refusal: Refusal::plain(STATUSES[usize::from(which) % STATUSES.len()]) },
            5 => Command::Agree { call, answer: body() },
            6 => Command::Disagree { call, status: 488 },
            7 | 8 => Command::Offer { call, offer: body() },
            9 => Command::Acknowledge { call },
            10 => Command::MayTransfer { call },
            11 => Command::Refer { call, to: "<sip:+4930@192.0.2.2>".to_owned() },
            12 => Command::Prove { call, login: login() },
            13 => Command::Cancel { call, reason },
            _ => Command::HangUp { call, reason },
        });
    }

    pub fn dial(&mut self, how: u8, _: u8) {
        let number = self.number();
        let call = Call::outbound(number);
        self.calls.push(call);
        let (over, identity) = (flow(how & 1 != 0), Identity::draw(&mut self.random));
        self.command(Command::Dial(Box::new(Dial {
            call,
            identity,
            flow: over,
            carrier: None,
            contact: over.local,
            request_uri: "sip:+4930@192.0.2.2".to_owned(),
            from: "<sip:+4989@192.0.2.1>".to_owned(),
            to: "<sip:+4930@192.0.2.2>".to_owned(),
            headers: Vec::new(),
            offer: Bytes::from_static(b"offer"),
            ring_ms: [1, 500, 30_000, 60_000][usize::from(how >> 1) % 4],
            login: (how & 8 != 0).then(login),
            holds_ack: how & 16 != 0,
            may_transfer: how & 32 != 0,
        })));
    }

    /// What becomes of a REFER.
    pub fn refer(&mut self, which: u8, what: u8) {
        let Some((call, number)) = pick(&self.referred, which) else { return };
        self.command(match what & 3 {
            0 => Command::Consent { call, number },
            1 => Command::Decline { call, number, refusal: Refusal::plain(603) },
            _ => Command::Report { call, number, status: 180 + u16::from(what >> 2), is_last: what & 1 != 0 },
        });
    }

    /// What becomes of those who watch.
    pub fn watch(&mut self, which: u8, what: u8) {
        let Some(subscription) = pick(&self.watching, which) else { return };
        let conference = Arc::new(conference(what));
        let subscriptions = vec![subscription];
        self.command(match what & 3 {
            0 => Command::Admit { subscription, shown: (what & 4 == 0).then_some(conference), tcp: None },
            1 if what & 12 == 0 => Command::Deny { subscription, why: Unwatchable::Stranger },
            2 if what & 12 == 0 => Command::Conclude { subscriptions },
            _ => Command::Show { subscriptions, conference },
        });
    }

    /// All at once: our owner is behind, or hears no more; who is known changes; the end of a shift.
    pub fn rule(&mut self, what: u8, how: u8) {
        match what & 7 {
            0..=2 => self.command(Command::Shed(how & 1 != 0)),
            3 | 4 => self.endpoint.crowd(how & 1 != 0),
            5 => self.command(Command::Sources(Vec::new())),
            6 if how & 3 == 0 => self.command(Command::Drain { retry_after_s: 9 }),
            _ => self.command(Command::Shed(false)),
        }
    }

    // ------------------------------------------------------------------------------------------------------- the network

    pub fn wait(&mut self, how: u8, times: u8) {
        let wait_ms = WAITS_MS[usize::from(how) % WAITS_MS.len()] * u64::from(1 + times % 2);
        self.pass(Duration::from_millis(wait_ms));
    }

    /// A connection breaks, or a datagram could not go.
    pub fn lose(&mut self, how: u8, _: u8) {
        self.endpoint.lost(self.now, flow(how & 1 != 0));
        self.drain();
    }
}

/// A request as a far side writes it. `ours` empty: outside a dialog.
#[allow(clippy::too_many_arguments)] // each is a place in the text
fn request(
    method: &str,
    call_id: &str,
    theirs: &str,
    ours: &str,
    cseq: u32,
    branch: &str,
    body: &str,
    more: &str,
) -> String {
    let ours = if ours.is_empty() { String::new() } else { format!(";tag={ours}") };
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\n" };
    format!(
        "{method} sip:room@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.2;branch={branch}\nMax-Forwards: 70\n\
         From: <sip:+4930@192.0.2.2>;tag={theirs}\nTo: <sip:room@192.0.2.1>{ours}\nCall-ID: {call_id}\n\
         CSeq: {cseq} {method}\nContact: <sip:+4930@192.0.2.2>\n{more}{kind}Content-Length: {}\n\n{body}",
        body.len()
    )
}

fn login() -> Arc<Login> {
    Arc::new(Login {
        owner: "carrier".to_owned(),
        username: "u".to_owned(),
        password: Some(Password::new(b"p".to_vec())),
        realm: Some("r".to_owned()),
    })
}

fn conference(seed: u8) -> Conference {
    let person = |seat: u8| Person {
        number: Some(format!("+4930{seat}")),
        role: "participant",
        presence: if seat & seed == 0 { Presence::Inside } else { Presence::Waiting },
        speaks: seed & 1 == 0,
        hears: true,
        is_called: false,
        since: None,
    };
    let people = (0..seed % 24).map(|seat| (u32::from(seat), person(seat))).collect();
    Conference { most: 50, count: usize::from(seed % 24), active: true, locked: seed & 8 != 0, people }
}

/// Whatever begins, is repeated, lost or late: the four transactions, by datagram and by connection, and their table when it
/// is full.
pub const TRANSACTION: &[Act] = &[
    Script::begin,
    Script::repeat,
    Script::spoil,
    Script::answer,
    Script::dial,
    Script::order,
    Script::request,
    Script::wait,
    Script::lose,
];

/// Calls in and out from their first word to their last.
pub const DIALOG: &[Act] = &[
    Script::begin,
    Script::request,
    Script::answer,
    Script::order,
    Script::dial,
    Script::refer,
    Script::repeat,
    Script::wait,
    Script::lose,
    Script::rule,
];

/// Those who watch, beside the calls that are watched.
pub const WATCH: &[Act] = &[
    Script::begin,
    Script::order,
    Script::subscribe,
    Script::watch,
    Script::answer,
    Script::request,
    Script::repeat,
    Script::wait,
    Script::lose,
    Script::rule,
];

/// Scripts of an alphabet drawn by seed: nothing that anybody had in mind.
fn drawn(count: u64) -> impl Iterator<Item = Vec<u8>> {
    (0..count).map(|seed| {
        let mut random = StdRng::seed_from_u64(seed);
        (0..3 * STEPS).map(|_| rand::RngExt::random(&mut random)).collect()
    })
}

pub fn transaction_seeds() -> Vec<Vec<u8>> {
    // An INVITE, its repeats, an answer and silence; a question by connection; a call out that nobody hears.
    let served = [[0, 2, 0], [1, 0, 3], [5, 0, 4], [1, 0, 3], [7, 3, 0], [6, 1, 1], [7, 9, 0]].concat();
    let asked = [[0, 129, 4], [1, 0, 1], [0, 1, 4], [1, 1, 3], [7, 9, 0]].concat();
    let called = [[4, 6, 0], [7, 3, 0], [3, 0, 1], [7, 9, 1], [8, 0, 0], [3, 0, 4], [7, 9, 0]].concat();
    [served, asked, called].into_iter().chain(drawn(4)).collect()
}

pub fn dialog_seeds() -> Vec<Vec<u8>> {
    let [accept, agree, offer, hang_up] = [[3, 0, 2], [3, 0, 5], [3, 0, 7], [3, 0, 15]];
    let [ack, bye, invite, cancel, prack, refer] = [[1, 1, 1], [1, 1, 2], [1, 65, 0], [1, 1, 3], [1, 1, 6], [1, 17, 8]];
    // In: a call with a change on each side; early sound that is acknowledged; a CANCEL; a REFER.
    let changed = [[0, 2, 0], accept, ack, invite, agree, ack, offer, [2, 0, 132], bye].concat();
    let early = [[0, 6, 0], [3, 0, 1], prack, accept, ack, [7, 11, 1], hang_up, [2, 1, 4]].concat();
    let cancelled = [[0, 2, 0], cancel, ack, [7, 9, 0]].concat();
    let referred = [[0, 2, 0], accept, ack, refer, [5, 0, 0], [2, 0, 4], [5, 0, 3], [2, 1, 4], bye].concat();
    // Out: answered by two, asked again, held, given up.
    let forked = [[4, 4, 0], [2, 0, 33], [2, 0, 132], [2, 128, 132], offer, [2, 3, 20], hang_up, [2, 4, 4]].concat();
    let asked = [[4, 12, 0], [2, 0, 105], [2, 1, 105], [2, 2, 132], bye].concat();
    let held = [[4, 20, 0], [2, 0, 132], [2, 0, 132], [3, 0, 9], hang_up].concat();
    let given_up = [[4, 4, 0], [3, 0, 13], [2, 0, 1], [2, 0, 132], [2, 0, 19]].concat();
    [changed, early, cancelled, referred, forked, asked, held, given_up].into_iter().chain(drawn(4)).collect()
}

pub fn watch_seeds() -> Vec<Vec<u8>> {
    let up = [[0, 2, 0], [1, 0, 2], [5, 1, 1]].concat();
    let (begin, admit, show, taken, refused) = ([2, 2, 0], [3, 0, 40], [3, 0, 83], [4, 0, 4], [4, 0, 16]);
    let seen = [up.clone(), [begin, admit, taken, show, [7, 4, 0], [4, 1, 4], [2, 0, 0], [4, 2, 4]].concat()].concat();
    let ended = [up.clone(), [begin, admit, taken, [5, 1, 2], [4, 1, 4]].concat()].concat();
    let lost = [up, [begin, admit, refused, [8, 0, 0], show, [7, 9, 1], [9, 6, 0], [7, 11, 0]].concat()].concat();
    [seen, ended, lost].into_iter().chain(drawn(4)).collect()
}
