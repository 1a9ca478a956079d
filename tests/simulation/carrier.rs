//! Carriers with the phones behind them: the real endpoint on the far side, driven as the script says.

use crate::script::{Act, CARRIERS, Caller, Dial, Manner, Script};
use bytes::Bytes;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tollbridge::clock::Mono;
use tollbridge::media::sdp::{self, Ours, Prefer};
use tollbridge::media::{Codec, Direction};
use tollbridge::sip::{self, Call, Command, Endpoint, Event, Flow, Identity, Refusal, Source, Transport};

/// A phone that nobody answers is given up after so long, where the caller has not given up before.
const RING_MS: u64 = 90_000;
/// First RTP port of the phones.
const FIRST_PORT: u16 = 20_000;

/// What a phone does at its time.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Ring,
    Answer(Bytes),
    Refuse(u16),
    GiveUp,
    Act(Act),
}

pub struct Phone {
    pub carrier: usize,
    pub call: Call,
    pub call_id: String,
    /// Where it hears, and sends from.
    pub rtp: SocketAddr,
    /// Where it sends sound to, once that is agreed.
    pub bridge: Option<SocketAddr>,
    pub is_up: bool,
    pub is_over: bool,
    /// Since when it sends no sound.
    pub quiet: Option<Mono>,
    acts: Vec<(u64, Act)>,
    /// Its dialog, once it is answered.
    journal: String,
    version: u64,
    /// Of RTP.
    pub sequence: u16,
    pub codec: Codec,
}

pub struct Carriers {
    script: Rc<Script>,
    pub endpoints: Vec<Endpoint>,
    pub phones: Vec<Phone>,
    by_call: BTreeMap<(usize, Call), usize>,
    rng: StdRng,
    bridge: SocketAddr,
}

pub fn endpoint(seed: u64, is_focus: bool) -> Endpoint {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = sip::Config {
        max_calls: 5_000,
        max_transactions: 50_000,
        product: "simulation".into(),
        retry_after_s: 5,
        session_s: 0,
        trying_s: 0,
        is_focus,
        pace: tollbridge::sip::Pace::default(),
    };
    Endpoint::new(config, bytes)
}

pub fn address(carrier: usize) -> SocketAddr {
    SocketAddr::new(CARRIERS[carrier].parse().unwrap(), 5060)
}

impl Carriers {
    pub fn new(script: Rc<Script>, bridge: SocketAddr) -> Carriers {
        let source = Source::at(bridge.ip());
        let one = |carrier: usize| {
            let mut endpoint = endpoint(script.seed * 16 + carrier as u64, false);
            endpoint.command(Mono::default(), Command::Sources(vec![source.clone()]));
            endpoint
        };
        let endpoints = (0..CARRIERS.len()).map(one).collect();
        let rng = StdRng::seed_from_u64(script.seed ^ 0xca11);
        Carriers { script, endpoints, phones: Vec::new(), by_call: BTreeMap::new(), rng, bridge }
    }

    /// Somebody calls. Gives the phone, and when it gives up.
    pub fn call(&mut self, now: Mono, caller: usize) -> (usize, Option<Duration>) {
        let script = self.script.clone();
        let Caller { carrier, called, from, gives_up_ms, acts, replaces, .. } = &script.callers[caller];
        let here = address(*carrier);
        let identity = Identity::draw(&mut self.rng);
        let call = Call::outbound(1_000 + caller as u64);
        let phone = self.add(*carrier, call, &identity.call_id, acts.clone());
        let from = match from {
            Some(number) => format!("<sip:{number}@{here}>"),
            None => "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned(),
        };
        let dial = sip::Dial {
            call,
            identity,
            flow: Flow { transport: Transport::Udp, local: here, peer: self.bridge },
            carrier: None,
            contact: here,
            request_uri: format!("sip:{called}@{}", self.bridge),
            from,
            to: format!("<sip:{called}@{}>", self.bridge),
            headers: replaces.and_then(|old| self.taking_the_place_of(old)).into_iter().collect(),
            offer: self.describe(phone, Direction::SendRecv),
            ring_ms: RING_MS,
            holds_ack: false,
            may_transfer: true,
            login: None,
        };
        self.endpoints[*carrier].command(now, Command::Dial(Box::new(dial)));
        (phone, gives_up_ms.map(Duration::from_millis))
    }

    /// The header that says so, where that caller is up.
    fn taking_the_place_of(&self, caller: usize) -> Option<(String, String)> {
        let old =
            self.phones.iter().find(|phone| phone.call == Call::outbound(1_000 + caller as u64) && phone.is_up)?;
        Some(("Replaces".to_owned(), sip::replaces_of(&old.journal)?))
    }

    fn add(&mut self, carrier: usize, call: Call, call_id: &str, acts: Vec<(u64, Act)>) -> usize {
        let phone = self.phones.len();
        let rtp = SocketAddr::new(address(carrier).ip(), FIRST_PORT + 2 * phone as u16);
        self.phones.push(Phone {
            carrier,
            call,
            call_id: call_id.to_owned(),
            rtp,
            bridge: None,
            is_up: false,
            is_over: false,
            quiet: None,
            acts,
            journal: String::new(),
            version: 0,
            sequence: 100,
            codec: Codec::Pcma,
        });
        self.by_call.insert((carrier, call), phone);
        phone
    }

    fn ours<'a>(phone: &Phone, codecs: &'a [Codec], direction: Direction) -> Ours<'a> {
        let session = 77;
        let (prefer, comfort_noise) = (Prefer::Theirs, false);
        Ours {
            addresses: phone.rtp.ip().into(),
            port: phone.rtp.port(),
            origin: phone.rtp.ip(),
            session,
            version: phone.version,
            codecs,
            comfort_noise,
            events: true,
            direction,
            prefer,
            before: None,
        }
    }

    fn describe(&mut self, phone: usize, direction: Direction) -> Bytes {
        self.phones[phone].version += 1;
        sdp::offer(&Carriers::ours(&self.phones[phone], &[Codec::Pcma, Codec::Pcmu], direction))
    }

    /// What the endpoint of `carrier` tells; when its phone does what because of it.
    pub fn event(&mut self, now: Mono, carrier: usize, event: Event) -> Vec<(usize, Duration, Step)> {
        if let Event::Invited(invitation) = event {
            return self.invited(carrier, *invitation);
        }
        let (call, is_last) = match &event {
            Event::Acknowledged { call, .. } | Event::Answered { call, .. } | Event::Offered { call, .. } => {
                (*call, false)
            }
            Event::Cancelled { call }
            | Event::Failed { call, .. }
            | Event::HungUp { call, .. }
            | Event::Released { call } => (*call, true),
            _ => return Vec::new(),
        };
        let Some(phone) = self.by_call.get(&(carrier, call)).copied() else { return Vec::new() };
        match event {
            _ if is_last => self.over(now, phone),
            Event::Answered { answer, journal, .. } => {
                let line = &mut self.phones[phone];
                line.journal = journal;
                let agreed = answer.and_then(|answer| {
                    sdp::accept(&answer, &Carriers::ours(line, &[Codec::Pcma, Codec::Pcmu], Direction::SendRecv)).ok()
                });
                line.bridge = agreed.map(|plan| plan.remote);
                line.codec = agreed.map_or(line.codec, |plan| plan.codec);
                return self.up(phone);
            }
            Event::Acknowledged { .. } => return self.up(phone),
            _ => {}
        }
        Vec::new()
    }

    fn over(&mut self, now: Mono, phone: usize) {
        let phone = &mut self.phones[phone];
        (phone.is_over, phone.is_up) = (true, false);
        phone.quiet.get_or_insert(now);
    }

    fn up(&mut self, phone: usize) -> Vec<(usize, Duration, Step)> {
        if self.phones[phone].is_over || std::mem::replace(&mut self.phones[phone].is_up, true) {
            return Vec::new();
        }
        let acts = std::mem::take(&mut self.phones[phone].acts);
        acts.into_iter().map(|(at_ms, act)| (phone, Duration::from_millis(at_ms), Step::Act(act))).collect()
    }

    /// The bridge calls somebody.
    fn invited(&mut self, carrier: usize, invitation: sip::Invitation) -> Vec<(usize, Duration, Step)> {
        let script = self.script.clone();
        let mut dials = script.dials.iter().chain(&script.referred);
        let dial = dials.find(|dial| dial.to == invitation.request_user);
        let Dial { manner, acts, .. } = dial.expect("a number that nobody asked for was dialled");
        let phone = self.add(carrier, invitation.call, &invitation.call_id, acts.clone());
        let offer = invitation.offer.expect("an INVITE of the bridge without a description");
        let ours = Carriers::ours(&self.phones[phone], &[Codec::Pcmu], Direction::SendRecv);
        let (answer, plan) = sdp::answer(&offer, &ours).expect("an offer of the bridge that cannot be answered");
        (self.phones[phone].bridge, self.phones[phone].codec) = (Some(plan.remote), plan.codec);
        let wait = Duration::from_millis;
        let mut steps = vec![(phone, wait(100), Step::Ring)];
        match *manner {
            Manner::Answers { after_ms } => steps.push((phone, wait(after_ms), Step::Answer(answer))),
            Manner::Babbles { after_ms } => {
                steps.push((phone, wait(after_ms), Step::Answer(Bytes::from_static(b"v=0\r\n"))));
            }
            Manner::Refuses { after_ms, status } => steps.push((phone, wait(after_ms), Step::Refuse(status))),
            Manner::RingsOn => {}
        }
        steps
    }

    /// A phone does its part in signalling. Sound is the world's.
    pub fn step(&mut self, now: Mono, phone: usize, step: &Step) {
        let Phone { carrier, call, .. } = self.phones[phone];
        let command = match step {
            Step::Ring => Command::Ring { call, status: 180, answer: None },
            Step::Answer(answer) => Command::Accept { call, answer: answer.clone() },
            Step::Refuse(status) => Command::Refuse { call, refusal: Refusal::plain(*status) },
            Step::GiveUp if self.phones[phone].is_up => return,
            Step::GiveUp => Command::Cancel { call, reason: None },
            Step::Act(Act::HangUp) => Command::HangUp { call, reason: None },
            Step::Act(Act::Hold) => Command::Offer { call, offer: self.describe(phone, Direction::SendOnly) },
            Step::Act(Act::Resume) => Command::Offer { call, offer: self.describe(phone, Direction::SendRecv) },
            Step::Act(Act::Refer(to)) => Command::Refer { call, to: format!("<sip:{to}@{}>", self.bridge) },
            Step::Act(Act::Quiet | Act::Keys(_) | Act::Watch) => return,
        };
        if matches!(step, Step::Act(Act::HangUp) | Step::GiveUp) {
            self.over(now, phone);
        }
        self.endpoints[carrier].command(now, command);
    }

    pub fn phone_at(&self, rtp: SocketAddr) -> Option<usize> {
        self.phones.iter().position(|phone| phone.rtp == rtp)
    }
}
