//! A bridge, a carrier with two telephones, their owners, and the clock that they all go by.

use crate::book::{Book, Last, RESTART, Verdict, compare};
use crate::network::{BRIDGE, CARRIER, FORK, FORKED, Network, WATCHER, address, flow};
use crate::watcher::Watcher;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;
use tollbridge::clock::Mono;
use tollbridge::sip::{
    Call, Command, Conference, Config, Dial, Endpoint, Event, Identity, Output, Pace, Refusal, Source, Subscription,
    journal_of, replaces_of,
};

/// Calls begin within this time.
const SHIFT_MS: u64 = 600_000;
/// How long a call may ring there.
const RING_MS: u64 = 25_000;

/// What happened, over all seeds of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub talked: u64,
    /// Of these, those where it is certain what was agreed on last.
    pub compared: u64,
    pub crossed: u64,
    pub stranded: u64,
    pub forked: u64,
    pub glares: u64,
    pub replaced: u64,
    pub handed_over: u64,
    pub watched: u64,
    pub refreshed: u64,
    pub early: u64,
    pub changed: u64,
    hash: u64,
}

impl Seen {
    pub fn add(&mut self, other: &Seen) {
        self.talked += other.talked;
        self.compared += other.compared;
        self.crossed += other.crossed;
        self.stranded += other.stranded;
        self.forked += other.forked;
        self.glares += other.glares;
        self.replaced += other.replaced;
        self.handed_over += other.handed_over;
        self.watched += other.watched;
        self.refreshed += other.refreshed;
        self.early += other.early;
        self.changed += other.changed;
        self.hash ^= other.hash;
    }
}

/// What an owner has in mind for later. Of a call by its Call-ID: by then it may be gone.
#[derive(Clone, Debug)]
enum Deed {
    Dial {
        side: usize,
        replaces: Option<String>,
    },
    Ring {
        early: bool,
    },
    Accept,
    Refuse,
    Offer,
    Agree,
    Disagree,
    Acknowledge,
    Refer,
    Report {
        number: u32,
        status: u16,
        is_last: bool,
    },
    Replace,
    HangUp,
    Watch,
    Show {
        subscription: Subscription,
    },
    /// The bridge's process dies; and is there again, with its journal.
    Die,
    Rise,
}

pub struct World {
    seed: u64,
    now: Mono,
    random: StdRng,
    sides: [Endpoint; 3],
    network: Network,
    later: BTreeMap<(Mono, u64), (usize, String, Deed)>,
    count: u64,
    /// Of each call by its Call-ID, and where.
    books: BTreeMap<(String, usize), Book>,
    names: BTreeMap<(usize, Call), String>,
    watcher: Watcher,
    watching: BTreeSet<Subscription>,
    replaced: u64,
    /// The bridge is dead.
    is_dead: bool,
    /// Calls of an earlier life that are being ended.
    buried: BTreeMap<Call, String>,
}

fn endpoint(seed: u64, place: usize, session_s: u32) -> Endpoint {
    let mut bytes = [place as u8; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        max_calls: 5_000,
        max_transactions: 50_000,
        product: "tollbridge".to_owned(),
        retry_after_s: 5,
        session_s,
        trying_s: 0,
        is_focus: place == BRIDGE,
        pace: Pace::default(),
    };
    let mut endpoint = Endpoint::new(config, bytes);
    let source = |of: usize| Source::at(address(of).ip());
    let known = if place == BRIDGE { vec![CARRIER, FORK, WATCHER] } else { vec![BRIDGE] };
    endpoint.command(Mono::default(), Command::Sources(known.into_iter().map(source).collect()));
    endpoint
}

impl World {
    pub fn new(seed: u64) -> World {
        let loss = [0, 50, 150][(seed % 3) as usize];
        // Either side may want shorter sessions, or none.
        let wish = |place: u64| [1_800, 300, 0][((seed / 3 + place) % 3) as usize];
        World {
            seed,
            now: Mono::from_millis(1),
            random: StdRng::seed_from_u64(seed),
            sides: [BRIDGE, CARRIER, FORK].map(|place| endpoint(seed, place, wish(place as u64 / 2))),
            network: Network::new(seed, loss),
            later: BTreeMap::new(),
            count: 0,
            books: BTreeMap::new(),
            names: BTreeMap::new(),
            watcher: Watcher::default(),
            watching: BTreeSet::new(),
            replaced: 0,
            is_dead: false,
            buried: BTreeMap::new(),
        }
    }

    pub fn run(mut self, calls: u64) -> Seen {
        for _ in 0..calls {
            let side = if self.chance(50) { BRIDGE } else { CARRIER };
            let wait_ms = self.random.random_range(0..SHIFT_MS);
            self.after(wait_ms, side, "", Deed::Dial { side, replaces: None });
        }
        if self.seed % 2 == 1 {
            self.within(SHIFT_MS / 4..SHIFT_MS, BRIDGE, "", Deed::Die);
        }
        while self.step() {}
        self.close()
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn body(&mut self, what: &str) -> String {
        format!("{what} {}", self.number())
    }

    fn after(&mut self, wait_ms: u64, side: usize, call_id: &str, deed: Deed) {
        let at = (self.now + Duration::from_millis(wait_ms), self.number());
        self.later.insert(at, (side, call_id.to_owned(), deed));
    }

    /// Within so many milliseconds.
    fn within(&mut self, wait_ms: std::ops::Range<u64>, side: usize, call_id: &str, deed: Deed) {
        let wait_ms = self.random.random_range(wait_ms);
        self.after(wait_ms, side, call_id, deed);
    }

    /// To the next moment at which anything happens; false when nothing will any more.
    fn step(&mut self) -> bool {
        let alarms = self.sides.iter().filter_map(Endpoint::deadline).min();
        let moments = [self.network.next(), self.later.keys().next().map(|key| key.0), alarms];
        let Some(next) = moments.into_iter().flatten().min() else { return false };
        self.now = self.now.max(next);
        while let Some((place, flow, bytes)) = self.network.arrived(self.now) {
            if place == BRIDGE && self.is_dead {
                continue;
            }
            match self.sides.get_mut(place) {
                Some(side) => side.receive(self.now, flow, &bytes),
                None => {
                    if let Some(thanks) = self.watcher.hear(&bytes) {
                        self.network.carry(self.now, flow, thanks);
                    }
                }
            }
        }
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (side, call_id, deed) = entry.remove();
            self.act(side, &call_id, deed);
        }
        let now = self.now;
        self.sides.iter_mut().for_each(|side| side.wake(now));
        self.drain();
        true
    }

    fn drain(&mut self) {
        for side in [BRIDGE, CARRIER, FORK] {
            while let Some(output) = self.sides[side].poll() {
                match output {
                    Output::Send { flow, bytes } => {
                        if flow.peer == address(WATCHER) {
                            self.watcher.note_sent(&bytes);
                        }
                        self.network.carry(self.now, flow, bytes);
                    }
                    Output::Event(event) => self.hear(side, event),
                    Output::Rejected(_) => {}
                    Output::Close { .. } | Output::Ask(_) | Output::Unfound { .. } => panic!("nothing of the kind"),
                }
            }
        }
    }

    // -------------------------------------------------------------------------------------------------------- the owners

    fn order(&mut self, side: usize, command: Command) {
        self.sides[side].command(self.now, command);
    }

    fn act(&mut self, side: usize, call_id: &str, deed: Deed) {
        match deed {
            Deed::Dial { side, replaces } => return self.dial(side, replaces),
            Deed::Watch => return self.watch(call_id),
            Deed::Show { subscription } => return self.show(subscription),
            Deed::Die => return self.die(),
            Deed::Rise => return self.rise(),
            _ => {}
        }
        let (now, body) = (self.now, self.body("said"));
        let bytes = Bytes::from(body.clone());
        let Some(book) = self.books.get_mut(&(call_id.to_owned(), side)).filter(|book| book.last.is_none()) else {
            return;
        };
        let call = book.call;
        let command = match deed {
            Deed::Ring { early } => {
                book.early |= early;
                let answer = early.then_some(bytes);
                let status = if early { 183 } else { 180 };
                Command::Ring { call, status, answer }
            }
            Deed::Accept => {
                (book.accepted, book.up) = (true, Some(now));
                // After an offer that followed it has nothing to add.
                if book.changed.is_empty() {
                    book.ours = body;
                }
                Command::Accept { call, answer: bytes }
            }
            Deed::Refuse => Command::Refuse { call, refusal: Refusal::plain(486) },
            Deed::Offer => {
                if !book.may_change() || book.offering.is_some() {
                    return;
                }
                book.offering = Some(body);
                Command::Offer { call, offer: bytes }
            }
            Deed::Agree => {
                let Some(theirs) = book.offered.take().filter(|_| book.may_change()) else { return };
                (book.ours, book.theirs) = (body, theirs);
                book.note_change();
                Command::Agree { call, answer: bytes }
            }
            Deed::Disagree => {
                book.offered = None;
                Command::Disagree { call, status: 488 }
            }
            Deed::Acknowledge => Command::Acknowledge { call },
            Deed::Refer => {
                if !book.is_up() {
                    return;
                }
                book.referred.push(now);
                Command::Refer { call, to: "<sip:+4940@192.0.2.9>".to_owned() }
            }
            Deed::Report { number, status, is_last } => {
                book.reported.push(status);
                Command::Report { call, number, status, is_last }
            }
            Deed::Replace => {
                let replaces = replaces_of(&book.journal).filter(|_| book.is_up());
                return self.dial(side, replaces);
            }
            Deed::HangUp => {
                book.hung_up = true;
                book.end(now);
                Command::HangUp { call, reason: None }
            }
            Deed::Dial { .. } | Deed::Watch | Deed::Show { .. } | Deed::Die | Deed::Rise => return,
        };
        self.order(side, command);
    }

    /// All that it knew is gone, but for its journal.
    fn die(&mut self) {
        self.is_dead = true;
        self.sides[BRIDGE] = endpoint(self.seed + 1_000_000, BRIDGE, 1_800);
        self.names.retain(|(side, _), _| *side != BRIDGE);
        self.watching.clear();
        self.watcher.part();
        self.network.died(BRIDGE);
        for ((call_id, _), book) in
            self.books.iter_mut().filter(|((_, side), book)| *side == BRIDGE && book.last.is_none())
        {
            book.end(self.now);
            book.last = Some(Last::Died(self.now));
            self.buried.insert(Call::past(self.buried.len() as u64), call_id.clone());
        }
        self.after(RESTART.as_millis() as u64, BRIDGE, "", Deed::Rise);
    }

    fn rise(&mut self) {
        self.is_dead = false;
        for (call, call_id) in self.buried.clone() {
            let journal = self.books[&(call_id, BRIDGE)].journal.clone();
            self.order(BRIDGE, Command::Bury { call, journal, reason: None, login: None, tls_name: None });
        }
    }

    fn dial(&mut self, side: usize, replaces: Option<String>) {
        if side == BRIDGE && self.is_dead {
            return;
        }
        let (number, call) = (self.number(), Call::outbound(self.count));
        let far = if side == BRIDGE { CARRIER } else { BRIDGE };
        let identity = Identity::draw(&mut self.random);
        let call_id = identity.call_id.clone();
        let prefix = if side == BRIDGE && self.chance(15) { FORKED } else { "+4930" };
        let (offer, holds_ack) = (self.body("offer"), self.chance(20));
        let host = address(far).ip();
        let dial = Dial {
            call,
            identity,
            flow: flow(side, far),
            carrier: None,
            contact: address(side),
            request_uri: format!("sip:{prefix}{number}@{host}"),
            from: format!("<sip:+4989@{}>", address(side).ip()),
            to: format!("<sip:{prefix}{number}@{host}>"),
            headers: replaces.into_iter().map(|value| ("Replaces".to_owned(), value)).collect(),
            offer: Bytes::from(offer.clone()),
            ring_ms: RING_MS,
            login: None,
            holds_ack,
            may_transfer: true,
        };
        let mut book = Book::new(call, true, &journal_of(&dial));
        book.ours = offer.clone();
        book.offer = offer;
        self.books.insert((call_id.clone(), side), book);
        self.names.insert((side, call), call_id.clone());
        self.order(side, Command::Dial(Box::new(dial)));
        if self.chance(15) {
            self.within(0..9_000, side, &call_id, Deed::HangUp);
        }
    }

    fn hear(&mut self, side: usize, event: Event) {
        if let Event::Subscribed(subscriber) = &event {
            return self.let_watch(subscriber.subscription);
        }
        if let Event::Unsubscribed { subscription } = &event {
            assert!(self.watching.remove(subscription), "nobody watched");
            return;
        }
        let call = event.call().expect("all else is of a call");
        if side == BRIDGE && self.buried.remove(&call).is_some() {
            return assert!(matches!(event, Event::Released { .. }), "of an earlier life's call {event:?}");
        }
        if let Event::Invited(invitation) = &event {
            let call_id = invitation.call_id.clone();
            self.names.insert((side, call), call_id.clone());
            let mut book = Book::new(call, false, &invitation.journal);
            book.answer = tags(&invitation.journal).1;
            book.theirs = String::from_utf8_lossy(invitation.offer.as_deref().unwrap_or_default()).into_owned();
            let before = self.books.insert((call_id.clone(), side), book);
            // A next life may hear its INVITE anew, where none of the first one's words arrived.
            assert!(before.is_none_or(|before| before.died().is_some()), "it was told of once");
            self.order(side, Command::MayTransfer { call });
            return self.ring(side, &call_id, invitation);
        }
        let call_id = self.names.get(&(side, call)).unwrap_or_else(|| panic!("{side}: {event:?} of no call")).clone();
        let (now, seed) = (self.now, self.seed);
        let book = self.books.get_mut(&(call_id.clone(), side)).expect("a named call has its book");
        catch_unwind(AssertUnwindSafe(|| book.note(now, &event)))
            .unwrap_or_else(|_| panic!("seed {seed}, call {call_id} at {side}: {event:?}\n{book:?}"));
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        match event {
            Event::Ringing { answer, .. } => {
                book.early |= answer.is_some();
                if answer.is_some() && self.chance(20) {
                    self.within(0..3_000, side, &call_id, Deed::Offer);
                }
            }
            Event::Answered { journal, answer, .. } => {
                // An offer that waits is refused: this answer is what holds.
                book.offered = None;
                book.take_up(answer.as_ref().map(text).unwrap_or_default());
                (book.answer, book.journal) = (tags(&journal).0, journal);
                self.within(0..4_000, side, &call_id, Deed::Acknowledge);
                self.talk(side, &call_id);
            }
            Event::Acknowledged { .. } => self.talk(side, &call_id),
            Event::Offered { offer, .. } => {
                book.offered = offer.as_ref().map(text);
                match self.random.random_range(0..100) {
                    0..85 => self.within(0..800, side, &call_id, Deed::Agree),
                    85..95 => self.within(0..800, side, &call_id, Deed::Disagree),
                    // Forgotten: after 20 s it is refused for us.
                    _ => self.after(20_500, side, &call_id, Deed::Disagree),
                }
            }
            Event::Agreed { answer, .. } => {
                if let Some(offer) = book.offering.take() {
                    book.ours = offer;
                }
                if let Some(answer) = answer.as_ref().map(text) {
                    book.theirs = answer;
                }
                book.note_change();
            }
            Event::Disagreed { status, .. } => {
                book.offering = None;
                book.doubtful |= status == 408;
                book.glares += u32::from(status == 491);
                match status {
                    491 => self.within(2_000..4_000, side, &call_id, Deed::Offer),
                    408 | 481 => self.after(0, side, &call_id, Deed::HangUp),
                    _ => {}
                }
            }
            Event::Referred(referral) => {
                let number = referral.number;
                self.within(0..3_000, side, &call_id, Deed::Report { number, status: 180, is_last: false });
                self.within(3_000..9_000, side, &call_id, Deed::Report { number, status: 200, is_last: true });
            }
            Event::Transferring { status, is_last: true, .. } => book.handed_over.push(status),
            _ => {}
        }
    }

    /// Somebody is called here.
    fn ring(&mut self, side: usize, call_id: &str, invitation: &tollbridge::sip::Invitation) {
        if let Some(replacement) = invitation.replaces {
            let named = replacement.call.filter(|_| replacement.refusal.is_none());
            let Some(old) = named.and_then(|call| self.names.get(&(side, call)).cloned()) else {
                return self.after(0, side, call_id, Deed::Refuse);
            };
            self.replaced += 1;
            self.after(0, side, call_id, Deed::Accept);
            return self.after(0, side, &old, Deed::HangUp);
        }
        let early = self.chance(30);
        if self.chance(80) {
            self.within(0..500, side, call_id, Deed::Ring { early });
            // Whoever plays something first may have a mind to change it.
            if early && self.chance(30) {
                self.within(100..5_000, side, call_id, Deed::Offer);
            }
        }
        let is_forked = invitation.request_user.starts_with(FORKED);
        match self.random.random_range(0..100) {
            0..70 => self.within(0..8_000, side, call_id, Deed::Accept),
            _ if is_forked => self.within(0..20_000, side, call_id, Deed::Accept),
            70..80 => self.within(0..8_000, side, call_id, Deed::Refuse),
            // At the very moment at which the caller loses patience.
            80..90 => self.within(RING_MS - 300..RING_MS + 300, side, call_id, Deed::Accept),
            _ => {}
        }
    }

    /// What becomes of a call that is up: each side has plans of its own, but for how long it is.
    fn talk(&mut self, side: usize, call_id: &str) {
        let talk_ms = match u8::from_str_radix(&call_id[..2], 16) {
            Ok(0..10) => 7_200_000,
            Ok(10..40) => 90_000,
            Ok(40..70) => 1_500,
            _ => 20_000,
        };
        // Both want something at one and the same time after the answer.
        if self.chance(25) {
            self.after(1_000, side, call_id, Deed::Offer);
        }
        for _ in 0..self.random.random_range(0..3) {
            self.within(0..talk_ms, side, call_id, Deed::Offer);
        }
        // From another address than the call is with a REFER is refused: it spends money.
        if side != FORK && self.chance(6) {
            self.within(0..talk_ms, side, call_id, Deed::Refer);
        }
        if side == CARRIER && self.chance(5) {
            self.within(0..talk_ms, side, call_id, Deed::Replace);
        }
        if side == BRIDGE && self.chance(8) {
            self.within(0..talk_ms, side, call_id, Deed::Watch);
        }
        // Often both hang up, and some at once.
        let spread = if self.chance(20) { 0..60 } else { 0..10_000 };
        let late_ms = self.random.random_range(spread);
        self.after(talk_ms + late_ms, side, call_id, Deed::HangUp);
    }

    // ------------------------------------------------------------------------------------------------------ who watches

    fn watch(&mut self, call_id: &str) {
        let key = (call_id.to_owned(), BRIDGE);
        if self.books.get(&key).is_none_or(|book| !book.is_up()) {
            return;
        }
        // Of calls long ago it is not remembered what was said.
        let Some(token) = self.sides[BRIDGE].said(call_id).and_then(|(said, _)| token_of(&said)) else { return };
        let ask = self.watcher.ask(&token);
        self.network.carry(self.now, flow(WATCHER, BRIDGE), ask);
    }

    fn let_watch(&mut self, subscription: Subscription) {
        assert!(self.watching.insert(subscription), "it is told of once");
        let shown = Some(Arc::new(Conference { most: 50, active: true, ..Conference::default() }));
        self.order(BRIDGE, Command::Admit { subscription, shown, tcp: None });
        for _ in 0..4 {
            self.within(0..30_000, BRIDGE, "", Deed::Show { subscription });
        }
    }

    fn show(&mut self, subscription: Subscription) {
        if self.watching.contains(&subscription) {
            let count = self.random.random_range(0..50);
            let conference = Arc::new(Conference { most: 50, count, active: true, ..Conference::default() });
            self.order(BRIDGE, Command::Show { subscriptions: vec![subscription], conference });
        }
    }

    // --------------------------------------------------------------------------------------------------------- the audit

    /// All is still: both books of each call, side by side.
    fn close(self) -> Seen {
        let seed = self.seed;
        for (place, side) in self.sides.iter().enumerate() {
            let left = [side.calls(), side.transactions(), side.alarms(), side.subscriptions(), side.referrals()];
            assert_eq!(left, [0; 5], "seed {seed}: left at {place}");
        }
        assert!(self.buried.is_empty(), "seed {seed}: not at rest: {:?}", self.buried);
        assert!(self.watching.is_empty(), "seed {seed}: somebody watches a call that is over");
        let refreshed = self.sides.iter().map(|side| side.counters().refreshed).sum();
        let forked = self.sides[BRIDGE].counters().forks_ended;
        let (watched, rulings) = (self.watcher.close(), self.network.close());
        assert!(rulings > 0, "seed {seed}: nobody was seen");
        let mut seen =
            Seen { refreshed, forked, watched, replaced: self.replaced, hash: self.network.hash, ..Seen::default() };
        let call_ids: BTreeSet<&String> = self.books.keys().map(|(call_id, _)| call_id).collect();
        for call_id in call_ids {
            let of = |side| self.books.get(&(call_id.clone(), side));
            let all: Vec<&Book> = [BRIDGE, CARRIER, FORK].into_iter().filter_map(of).collect();
            let (callers, callees): (Vec<&Book>, Vec<&Book>) = all.iter().partition(|book| book.dialled);
            let verdict = catch_unwind(AssertUnwindSafe(|| compare(callers[0], &callees)));
            let verdict = verdict.unwrap_or_else(|_| panic!("seed {seed}, call {call_id}:\n{all:#?}"));
            seen.crossed += u64::from(verdict == Verdict::Crossed);
            seen.stranded += u64::from(verdict == Verdict::Stranded);
            if let Verdict::Talked { compared } = verdict {
                seen.talked += 1;
                seen.compared += u64::from(compared);
            }
            for book in all {
                seen.glares += u64::from(book.glares);
                seen.handed_over += book.handed_over.len() as u64;
                seen.early += u64::from(book.early);
                seen.changed += book.changed.len() as u64;
            }
        }
        seen
    }
}

/// Of a dialog by its journal line: their tag and ours.
fn tags(journal: &str) -> (String, String) {
    let named = replaces_of(journal).expect("a dialog of two tags");
    let (_, tags) = named.split_once(";to-tag=").expect("a tag");
    let (theirs, ours) = tags.split_once(";from-tag=").expect("two");
    (theirs.to_owned(), ours.to_owned())
}

/// The user part of our Contact, in what was said of a call.
fn token_of(said: &[tollbridge::sip::Said]) -> Option<String> {
    said.iter().filter(|said| said.out).find_map(|said| {
        let text = String::from_utf8_lossy(&said.bytes);
        let (_, rest) = text.split_once("\r\nContact: <sip:")?;
        let (token, _) = rest.split_once('@')?;
        (token.len() == 32).then(|| token.to_owned())
    })
}
