//! Two endpoints and the network between them, on a clock of their own: losses, copies and overtaking, all from a seed.

use super::message::{Framing, Message};
use super::*;
use crate::clock::Mono;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

const HERE: [&str; 2] = ["192.0.2.1:5060", "192.0.2.2:5060"];

struct Pair {
    now: Mono,
    sides: [Endpoint; 2],
    wire: BTreeMap<(Mono, u64), (usize, Flow, Bytes)>,
    later: BTreeMap<(Mono, u64), (usize, Command)>,
    count: u64,
    rng: StdRng,
    /// Of 1,000 packets, so many are lost; half as many come twice.
    loss: u32,
}

pub(in crate::sip) fn address(side: usize) -> SocketAddr {
    HERE[side].parse().unwrap()
}

pub(in crate::sip) fn flow(side: usize) -> Flow {
    Flow { transport: Transport::Udp, local: address(side), peer: address(1 - side) }
}

fn config() -> Config {
    Config {
        max_calls: 5_000,
        max_transactions: 50_000,
        product: "tollbridge".to_owned(),
        retry_after_s: 5,
        session_s: 1_800,
        trying_s: 0,
        is_focus: true,
        pace: Pace::default(),
    }
}

fn source(address: SocketAddr) -> Source {
    Source::at(address.ip())
}

pub(in crate::sip) fn endpoint(seed: u64, peer: SocketAddr) -> Endpoint {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut endpoint = Endpoint::new(config(), bytes);
    endpoint.command(Mono::default(), Command::Sources(vec![source(peer)]));
    endpoint
}

pub(in crate::sip) fn dial(rng: &mut StdRng, number: u64, ring_ms: u64) -> Dial {
    Dial {
        call: Call::outbound(number),
        identity: Identity::draw(rng),
        flow: flow(0),
        carrier: None,
        contact: address(0),
        request_uri: format!("sip:+4930{number}@192.0.2.2"),
        from: "<sip:+4989100@192.0.2.1>".to_owned(),
        to: format!("<sip:+4930{number}@192.0.2.2>"),
        headers: vec![("P-Asserted-Identity".to_owned(), "<sip:+4989100@192.0.2.1>".to_owned())],
        offer: Bytes::from_static(b"offer"),
        ring_ms,
        login: None,
        holds_ack: false,
        may_transfer: false,
    }
}

impl Pair {
    fn new(seed: u64, loss: u32) -> Pair {
        Pair {
            now: Mono::from_millis(1),
            sides: [endpoint(seed, address(1)), endpoint(seed + 1, address(0))],
            wire: BTreeMap::new(),
            later: BTreeMap::new(),
            count: 0,
            rng: StdRng::seed_from_u64(seed),
            loss,
        }
    }

    fn dial(&mut self, wait_ms: u64, number: u64, ring_ms: u64) {
        let dial = dial(&mut self.rng, number, ring_ms);
        self.after(wait_ms, 0, Command::Dial(Box::new(dial)));
    }

    fn after(&mut self, wait_ms: u64, side: usize, command: Command) {
        self.count += 1;
        self.later.insert((self.now + Duration::from_millis(wait_ms), self.count), (side, command));
    }

    /// Moves to the next moment at which anything happens, up to `limit`; `None` when nothing more will.
    fn step(&mut self) -> Option<Vec<(usize, Event)>> {
        let moments = [
            self.wire.keys().next().map(|key| key.0),
            self.later.keys().next().map(|key| key.0),
            self.sides[0].deadline(),
            self.sides[1].deadline(),
        ];
        self.now = self.now.max(moments.into_iter().flatten().min()?);
        let now = self.now;
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= now) {
            let (side, flow, bytes) = entry.remove();
            self.sides[side].receive(now, flow, &bytes);
        }
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= now) {
            let (side, command) = entry.remove();
            self.sides[side].command(now, command);
        }
        self.sides.iter_mut().for_each(|side| side.wake(now));
        Some(self.drain())
    }

    fn drain(&mut self) -> Vec<(usize, Event)> {
        let mut events = Vec::new();
        for side in 0..2 {
            while let Some(output) = self.sides[side].poll() {
                match output {
                    Output::Event(event) => events.push((side, event)),
                    Output::Send { flow, bytes } => self.carry(side, flow, bytes),
                    Output::Close { .. } | Output::Ask(_) | Output::Unfound { .. } | Output::Rejected(_) => {}
                }
            }
        }
        events
    }

    fn carry(&mut self, side: usize, flow: Flow, bytes: Bytes) {
        assert_eq!(flow.peer, address(1 - side), "nothing goes anywhere else");
        assert!(Message::parse(&bytes, Framing::Stream).is_ok(), "{}", String::from_utf8_lossy(&bytes));
        let copies = 1 + u32::from(self.rng.random_range(0..1000) < self.loss / 2);
        for _ in 0..copies {
            if self.rng.random_range(0..1000) >= self.loss {
                self.count += 1;
                let delay = Duration::from_millis(self.rng.random_range(5..80));
                let arrives = Flow { local: flow.peer, peer: flow.local, ..flow };
                self.wire.insert((self.now + delay, self.count), (1 - side, arrives, bytes.clone()));
            }
        }
    }

    fn is_at_rest(&self) -> bool {
        self.sides.iter().all(|side| side.calls() + side.transactions() + side.alarms() == 0)
    }
}

/// What one call has been told, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Told {
    ups: u32,
    changes: u32,
    lasts: u32,
}

fn note(told: &mut HashMap<(usize, Call), Told>, side: usize, event: &Event) {
    let Some(call) = event.call() else { return };
    let told = told.entry((side, call)).or_default();
    assert_eq!(told.lasts, 0, "after its last word a call is told {event:?}");
    match event {
        Event::Answered { .. } | Event::Acknowledged { .. } => told.ups += 1,
        Event::Agreed { .. } | Event::Offered { .. } => told.changes += 1,
        last if last.is_last() => told.lasts += 1,
        _ => {}
    }
}

/// Set up, hold, ended by either side.
fn whole_calls(calls: u64, loss: u32) {
    let mut pair = Pair::new(u64::from(loss), loss);
    for number in 0..calls {
        pair.dial(number * 20, number, 60_000);
    }
    let mut told = HashMap::new();
    let body = || Bytes::from_static(b"answer");
    while let Some(events) = pair.step() {
        for (side, event) in events {
            note(&mut told, side, &event);
            let Some(call) = event.call() else { continue };
            match event {
                Event::Invited(_) => {
                    pair.after(0, side, Command::Ring { call, status: 180, answer: None });
                    pair.after(300, side, Command::Accept { call, answer: body() });
                }
                Event::Answered { answer, .. } => {
                    assert_eq!(answer, Some(body()));
                    pair.after(1_000, side, Command::Offer { call, offer: Bytes::from_static(b"hold") });
                }
                Event::Acknowledged { answer, .. } => {
                    assert_eq!(answer, None);
                    pair.after(60_000, side, Command::HangUp { call, reason: None });
                }
                Event::Offered { offer, .. } => {
                    assert_eq!(offer.as_deref(), Some(b"hold".as_slice()));
                    pair.after(10, side, Command::Agree { call, answer: body() });
                }
                // Refused where the ACK of the first 200 was lost: after a while it is taken.
                Event::Disagreed { .. } => {
                    pair.after(1_500, side, Command::Offer { call, offer: Bytes::from_static(b"hold") });
                }
                Event::Agreed { .. } => {
                    let wait = pair.rng.random_range(1_000..100_000);
                    pair.after(wait, side, Command::HangUp { call, reason: None });
                }
                Event::Failed { status, .. } => panic!("{call:?} failed with {status}"),
                _ => {}
            }
        }
    }
    assert!(pair.is_at_rest());
    assert_eq!(told.len() as u64, 2 * calls);
    for (key, told) in &told {
        assert_eq!((told.ups, told.lasts), (1, 1), "{key:?} {told:?}");
        assert!(told.changes <= 1 + u32::from(loss > 0) * 3, "{key:?} {told:?}");
    }
    assert_eq!(pair.sides[1].counters().calls_in, calls);
    assert_eq!(pair.sides[1].counters().unacknowledged, 0);
}

#[test]
fn calls_are_whole_on_a_good_network() {
    whole_calls(200, 0);
}

#[test]
fn calls_are_whole_at_five_percent_loss() {
    whole_calls(1_000, 50);
}

#[test]
fn calls_are_whole_at_twenty_percent_loss() {
    whole_calls(1_000, 200);
}

/// CANCEL against ringing, answer, refusal, BYE, at every distance: both sides end, and nobody is up alone.
#[test]
fn a_cancel_may_cross_anything() {
    let mut outcomes = HashMap::new();
    for seed in 0..2_000 {
        let mut pair = Pair::new(seed, if seed % 3 == 0 { 150 } else { 0 });
        let ring_ms = if seed % 7 == 0 { 250 } else { 60_000 };
        pair.dial(0, 1, ring_ms);
        let cancel_ms = pair.rng.random_range(0..400);
        pair.after(cancel_ms, 0, Command::Cancel { call: Call::outbound(1), reason: None });
        let mut told = HashMap::new();
        let mut last = None;
        while let Some(events) = pair.step() {
            for (side, event) in events {
                note(&mut told, side, &event);
                if let Event::Invited(invitation) = &event {
                    let call = invitation.call;
                    let wait = pair.rng.random_range(0..300);
                    pair.after(wait / 3, 1, Command::Ring { call, status: 180, answer: None });
                    let refusal = Refusal::plain(486);
                    let accept = Command::Accept { call, answer: Bytes::from_static(b"answer") };
                    pair.after(wait, 1, if seed % 5 == 0 { Command::Refuse { call, refusal } } else { accept });
                }
                if side == 0 && !matches!(event, Event::Ringing { .. } | Event::Answered { .. }) {
                    last = Some(match event {
                        Event::Failed { status, .. } => status,
                        Event::Released { .. } | Event::HungUp { .. } => last.unwrap_or(200),
                        other => panic!("seed {seed}: {other:?}"),
                    });
                }
            }
        }
        assert!(pair.is_at_rest(), "seed {seed}");
        for (key, told) in &told {
            assert_eq!(told.lasts, 1, "seed {seed}: {key:?} {told:?}");
        }
        *outcomes.entry(last.unwrap()).or_insert(0) += 1;
    }
    for status in [200, 480, 486, 487] {
        assert!(outcomes.get(&status).is_some_and(|count| *count > 20), "{outcomes:?}");
    }
    assert!(outcomes.keys().all(|status| [200, 408, 480, 486, 487].contains(status)), "{outcomes:?}");
}

/// The far side is up once it has the ACK, and that waits for our owner's word, for so long: it goes then, when the call is to
/// end, or after eight seconds at the latest. Repeats of the answer call forth none before.
#[test]
fn an_ack_may_wait_until_the_answer_is_written_down() {
    enum Word {
        Acknowledge(u64),
        HangUp(u64),
        Nothing,
    }
    let table = [
        (Word::Acknowledge(0), 0..200),
        (Word::Acknowledge(3_000), 3_000..3_200),
        (Word::HangUp(1_000), 1_000..1_200),
        (Word::Nothing, 8_000..8_200),
    ];
    for (seed, (word, due_ms)) in table.into_iter().enumerate() {
        let mut pair = Pair::new(seed as u64, 0);
        let dial = Dial { holds_ack: true, ..dial(&mut pair.rng, 1, 60_000) };
        pair.after(0, 0, Command::Dial(Box::new(dial)));
        let (mut answered, mut acknowledged) = (None, None);
        while let Some(events) = pair.step() {
            for (side, event) in events {
                let now = pair.now;
                match event {
                    Event::Invited(invitation) => {
                        let answer = Bytes::from_static(b"answer");
                        pair.after(0, side, Command::Accept { call: invitation.call, answer });
                    }
                    Event::Answered { call, .. } => {
                        assert!(answered.replace(now).is_none());
                        match word {
                            Word::Acknowledge(wait_ms) => pair.after(wait_ms, side, Command::Acknowledge { call }),
                            Word::HangUp(wait_ms) => pair.after(wait_ms, side, Command::HangUp { call, reason: None }),
                            Word::Nothing => {}
                        }
                    }
                    Event::Acknowledged { call, .. } => {
                        assert!(acknowledged.replace(now).is_none());
                        pair.after(5_000, side, Command::HangUp { call, reason: None });
                    }
                    Event::Unacknowledged { .. } => panic!("the far side gave up"),
                    _ => {}
                }
            }
        }
        let waited_ms = acknowledged.unwrap().millis_since(answered.unwrap());
        assert!(due_ms.contains(&waited_ms), "{waited_ms} of {due_ms:?}");
        assert!(pair.is_at_rest());
    }
}

/// Whoever dies with an ACK in hand leaves nobody in a call: the far side gives its answer up.
#[test]
fn an_answer_that_is_never_acknowledged_ends_by_itself() {
    let mut pair = Pair::new(7, 0);
    let dial = Dial { holds_ack: true, ..dial(&mut pair.rng, 1, 60_000) };
    pair.after(0, 0, Command::Dial(Box::new(dial)));
    let mut unacknowledged = 0;
    while let Some(events) = pair.step() {
        for (side, event) in events {
            match event {
                Event::Invited(invitation) => {
                    let answer = Bytes::from_static(b"answer");
                    pair.after(0, side, Command::Accept { call: invitation.call, answer });
                }
                // A life that ends: another one knows nothing of the call.
                Event::Answered { .. } => pair.sides[0] = endpoint(9, address(1)),
                Event::Unacknowledged { .. } => unacknowledged += 1,
                _ => {}
            }
        }
    }
    assert_eq!(unacknowledged, 1);
    assert!(pair.is_at_rest());
}
