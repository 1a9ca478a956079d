//! Recomputes presence and money from the wire and the script alone, and compares.
//!
//! The switchboard is believed in nothing but names: which leg is which call. When a call was answered, acknowledged and
//! ended is read off the messages; what it costs is worked out here, in whole ten-thousandths, from the rows that the
//! script wrote.

use crate::ledger::{Bill, Ledger};
use crate::script::{Ban, Bans, Meeting, Order, PIN, Rate, Script, country};
use crate::slice::{Judge, Purse, Slices};
use crate::watcher::CALL_ID;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tollbridge::clock::{Mono, Wall};
use tollbridge::media::{self, Plan, RoomId, StreamId};
use tollbridge::rating::grant::{Part, Unit};
use tollbridge::rating::{CallType, Capability, UsageRecord};
use tollbridge::store::{GrantRow, LiveLeg};
use tollbridge::switchboard::ask::{LegView, MeetingView};
use tollbridge::types::{Cause, LegId};

/// A call by the life of the bridge that saw it, its Call-ID, and its turn: whoever is moved to another number goes on in the next
/// one, which is another leg's.
type Key = (u32, String, usize);

/// A REFER that names a number of ours.
#[derive(Debug)]
struct Move {
    to: String,
    is_taken: bool,
    is_done: bool,
}

/// A crash costs no leg more than the time between two proofs of life.
const PROOF_MS: u64 = 1_000;
/// How long the ACK of an answer waits for the books.
const ACK_WAITS: Duration = Duration::from_secs(8);
/// No leg holds money for longer than this ahead, and so much later than the organiser's it may end.
const LONGEST_AHEAD: Duration = Duration::from_secs(150);
const SLACK_MS: u64 = 3_000;
/// And has asked for the last time so long before it ends, at the most.
const LAST_ASKED_MS: u64 = 30_000;
/// A leg that is short of money asks for more no longer than this before it must end.
const SLOW_MS: u64 = 2_000;
/// A BYE that nobody answers is said so often, in 32 s; its repeats are no further apart (RFC 3261 section 17.1.2).
const TIMES_OF_BYE: usize = 10;
const STILL_SAID: Duration = Duration::from_secs(4);

/// One call as the wire shows it.
#[derive(Debug, Default)]
struct Wire {
    inbound: bool,
    /// The CSeq of the INVITE of a call that came in.
    number: String,
    ok: Option<Mono>,
    acknowledged: Option<Mono>,
    /// A call out: when the bridge said ACK.
    told_up: Option<Mono>,
    over: Option<Mono>,
    /// The first BYE was ours.
    by_us: bool,
    cancelled: bool,
    /// Ended by us, since no sound came.
    media_lost: bool,
    /// Was put on hold or taken off it: then what counts as the last sign is not the last packet alone.
    held: bool,
    last_sound: Option<Mono>,
    /// The bridge died under it.
    cut: Option<Mono>,
    /// Who pays, once the books agreed.
    meeting: Option<usize>,
    /// The bridge died before the books had heard of the answer.
    unheard: bool,
    joined: bool,
    /// The decks by one of which it is priced.
    decks: BTreeSet<usize>,
    /// Taken out of its meeting by an order, or not let in.
    released: bool,
    /// The books closed its account then, and it is hung up for that.
    revoked: Option<Mono>,
    /// They did, and nobody was told: it goes when they are asked who may go on.
    cut_off: Option<Mono>,
    /// By Call-ID: whose place it wants.
    replaces: Option<String>,
    /// Of a phone that was rung by REFER: the call whose meeting is to pay.
    asked_by: Option<Key>,
    /// The CSeq of the REFER by which a caller went on in this turn; and that they went on in the next one.
    moved_by: Option<u32>,
    moved_on: bool,
}

impl Wire {
    fn is_up(&self) -> bool {
        self.ok.is_some() && self.over.is_none() && self.cut.is_none()
    }

    /// The end of charged time is the BYE, whoever sent it; without an ACK before it there is none.
    fn charged_ms(&self) -> u64 {
        let (Some(ok), Some(_), Some(over)) = (self.ok, self.acknowledged, self.over) else { return 0 };
        if self.was_given_up() { 0 } else { self.end(over).millis_since(ok) }
    }

    /// Hung up by us before the ACK: the BYE waits for it.
    fn was_given_up(&self) -> bool {
        self.inbound
            && self.by_us
            && self.acknowledged.zip(self.over).is_some_and(|(acknowledged, over)| acknowledged >= over)
    }

    fn end(&self, over: Mono) -> Mono {
        let last_sound = self.last_sound.filter(|_| self.media_lost);
        last_sound.map_or(over, |last| last.min(over))
    }

    /// The least and the most that may be charged.
    fn span_ms(&self, died: bool, wait_ms: u64) -> (u64, u64) {
        // Who waits in the lobby for the books to say who pays has held nothing since it asked, when it goes or its node dies.
        let waited_ms = if self.joined { 0 } else { wait_ms };
        if !died {
            let due = self.charged_ms();
            let most = if self.held && self.media_lost { due.max(self.most_ms(self.over)) } else { due };
            return (due.saturating_sub(waited_ms), most);
        }
        let cut = self.cut.expect("a leg of a life that did not end");
        let most = self.most_ms(Some(self.over.map_or(cut, |over| self.end(over).min(cut))));
        let proven = self.acknowledged.is_some_and(|at| cut.millis_since(at) >= PROOF_MS);
        if self.acknowledged.is_none() || self.was_given_up() {
            return (0, 0);
        }
        (if proven { most.saturating_sub(PROOF_MS + waited_ms) } else { 0 }, most)
    }

    fn most_ms(&self, end: Option<Mono>) -> u64 {
        self.ok.zip(end).map_or(0, |(ok, end)| end.millis_since(ok))
    }
}

/// A leg that credits paid for.
struct Paid {
    house: usize,
    cause: Cause,
    /// So long the pool and grants of time paid before; `None` where money of grants paid too, and for how long is not known.
    timed_ms: Option<u64>,
    /// So long it talked, as it was charged.
    ms: u64,
}

/// A message, as far as it matters here.
struct Seen<'a> {
    status: Option<u16>,
    method: &'a str,
    number: &'a str,
    call_id: &'a str,
    is_cause_102: bool,
}

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let head = text.split("\r\n\r\n").next()?;
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn tag<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    Some(header(text, name)?.split_once(";tag=")?.1.split(';').next().unwrap_or_default())
}

fn look(packet: &[u8]) -> (Option<u16>, String) {
    let text = String::from_utf8_lossy(packet);
    let status = text.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse().ok());
    (status, text.into_owned())
}

fn read<'a>(status: Option<u16>, text: &'a str) -> Seen<'a> {
    let cseq = header(text, "CSeq").expect("a message without CSeq");
    Seen {
        status,
        method: cseq.rsplit(' ').next().unwrap_or_default(),
        number: cseq.split(' ').next().unwrap_or_default(),
        call_id: header(text, "Call-ID").expect("a message without Call-ID"),
        is_cause_102: header(text, "Reason").is_some_and(|reason| reason.contains("cause=102")),
    }
}

#[derive(Debug)]
struct Place {
    call: Key,
    room: Option<RoomId>,
    gagged: bool,
}

/// How a leg is to be funded.
enum Due<'a> {
    Never,
    Free,
    Credits(&'a Rate),
    Pool(Option<&'a Rate>),
}

#[derive(Debug, Default)]
struct Hall {
    locked: bool,
    /// Somebody had the right to open the door: by PIN, by a call out, from the desk.
    opened: bool,
}

pub struct Auditor {
    script: Rc<Script>,
    epoch: u32,
    calls: BTreeMap<Key, Wire>,
    legs: BTreeMap<LegId, Key>,
    phones: BTreeMap<SocketAddr, String>,
    streams: BTreeMap<StreamId, Place>,
    /// Of calls whose callers were moved: in which turn they are now. And who asked for that, by Call-ID and CSeq.
    turns: BTreeMap<String, usize>,
    moves: BTreeMap<(String, u32), Move>,
    halls: BTreeMap<usize, Hall>,
    /// Who was ever together in one room.
    together: BTreeMap<(u32, RoomId), BTreeSet<Key>>,
    /// When each life said BYE to a call, by Call-ID; and calls whose far side has heard it.
    byes: BTreeMap<(String, u32), Vec<Mono>>,
    told_over: BTreeSet<(String, String)>,
    /// By which tag the bridge answered each call that came in.
    tags: BTreeMap<String, String>,
    keyed: BTreeMap<Key, String>,
    pub ledger: Ledger,
    charged: BTreeMap<LegId, i64>,
    /// What is forbidden to a house, since when; and what ever was to any.
    bans: BTreeMap<(usize, Ban), Mono>,
    ever: BTreeSet<Ban>,
    /// Organisers' own legs, and since when the books know.
    leaders: BTreeMap<LegId, Mono>,
    /// Legs that credits alone paid, each with its house and why it ended.
    paid: BTreeMap<LegId, Paid>,
    /// Organisers' legs that ended for want of money, and were held against others.
    pub firsts: u64,
    /// Why legs that talked had to go.
    pub withdrawn: BTreeSet<Cause>,
    /// Calls that asked by REFER, by the number that was to be rung.
    referrals: BTreeMap<String, BTreeSet<(Key, String)>>,
    /// Phones that were rung for that, and talked at their meeting's expense; calls that took another's place.
    pub referred: u64,
    pub replaced: u64,
    /// Of those who were rung, those who came when whoever asked had hung up; and turns of callers who were moved, and paid.
    pub outlived: u64,
    pub moved: u64,
    /// What each leg calls, or is called at.
    called: BTreeMap<LegId, (CallType, String)>,
    pub slices: Slices,
    /// Legs whose first slice was as good as over when it was held.
    brief: BTreeSet<LegId>,
    out_ms: Vec<u64>,
}

impl Auditor {
    pub fn new(script: Rc<Script>) -> Auditor {
        let houses = script.houses.len();
        Auditor {
            ledger: Ledger::new(script.clone()),
            script,
            epoch: 0,
            calls: BTreeMap::new(),
            legs: BTreeMap::new(),
            phones: BTreeMap::new(),
            streams: BTreeMap::new(),
            turns: BTreeMap::new(),
            moves: BTreeMap::new(),
            halls: BTreeMap::new(),
            together: BTreeMap::new(),
            byes: BTreeMap::new(),
            told_over: BTreeSet::new(),
            tags: BTreeMap::new(),
            keyed: BTreeMap::new(),
            charged: BTreeMap::new(),
            bans: BTreeMap::new(),
            ever: BTreeSet::new(),
            withdrawn: BTreeSet::new(),
            leaders: BTreeMap::new(),
            paid: BTreeMap::new(),
            firsts: 0,
            referrals: BTreeMap::new(),
            referred: 0,
            replaced: 0,
            outlived: 0,
            moved: 0,
            called: BTreeMap::new(),
            slices: Slices::default(),
            brief: BTreeSet::new(),
            out_ms: vec![0; houses],
        }
    }

    // ------------------------------------------------------------------------------------------------------ what is seen

    /// A call as it is now.
    fn current(&self, call_id: &str) -> Key {
        (self.epoch, call_id.to_owned(), self.turns.get(call_id).copied().unwrap_or(0))
    }

    pub fn phone(&mut self, rtp: SocketAddr, call_id: &str) {
        self.phones.insert(rtp, call_id.to_owned());
    }

    /// The bridge put a message on the wire.
    pub fn sent(&mut self, now: Mono, packet: &[u8]) {
        let (status, text) = look(packet);
        let seen = read(status, &text);
        let key = self.current(seen.call_id);
        if (seen.status, seen.method) == (None, "BYE") {
            self.byes.entry((key.1.clone(), key.0)).or_default().push(now);
        }
        // Nobody is told that a caller goes on elsewhere who does not.
        let named = |event: &str| Some((key.1.clone(), event.strip_prefix("refer;id=")?.parse().ok()?));
        let of = header(&text, "Event").filter(|_| (seen.status, seen.method) == (None, "NOTIFY")).and_then(named);
        let is_not_done = of.and_then(|of| self.moves.get(&of)).is_some_and(|asked| !asked.is_done);
        assert!(!(is_not_done && text.contains("SIP/2.0 200 OK")), "{key:?} is told that it was moved, and was not");
        let Some(wire) = self.calls.get_mut(&key) else { return };
        match (seen.status, seen.method) {
            (Some(200), "INVITE") if wire.inbound => {
                self.tags.insert(key.1.clone(), tag(&text, "To").unwrap_or_default().to_owned());
                assert!(!wire.cancelled, "answered after the CANCEL: {key:?}");
                wire.ok.get_or_insert(now);
            }
            (None, "CANCEL") => wire.cancelled = true,
            (None, "ACK") if !wire.inbound => drop(wire.told_up.get_or_insert(now)),
            (None, "BYE") if wire.over.is_none() => {
                wire.by_us = true;
                (wire.over, wire.media_lost) = (Some(now), seen.is_cause_102 && wire.acknowledged.is_some());
            }
            _ => {}
        }
    }

    /// A message arrived at the bridge.
    pub fn arrived(&mut self, now: Mono, packet: &[u8]) {
        let (status, text) = look(packet);
        let seen = read(status, &text);
        let key = self.current(seen.call_id);
        let is_first = header(&text, "To").is_some_and(|to| !to.contains(";tag="));
        if (seen.status, seen.method) == (None, "INVITE") && is_first {
            let number = seen.number.to_owned();
            let replaces = header(&text, "Replaces").and_then(|of| of.split(';').next()).map(str::to_owned);
            self.calls.entry(key.clone()).or_insert_with(|| Wire {
                inbound: true,
                number,
                replaces,
                ..Wire::default()
            });
        }
        if (seen.status, seen.method) == (None, "REFER") {
            let to = header(&text, "Refer-To").and_then(|to| to.split_once("sip:")?.1.split('@').next());
            let (to, number) = (to.expect("a REFER to somewhere").to_owned(), seen.number.to_owned());
            if self.script.numbers.iter().any(|ours| ours.e164 == to) {
                let asked = Move { to, is_taken: false, is_done: false };
                let number = number.parse().expect("a CSeq");
                self.moves.entry((key.1.clone(), number)).or_insert(asked);
            } else {
                self.referrals.entry(to).or_default().insert((key.clone(), number));
            }
        }
        let Some(wire) = self.calls.get_mut(&key) else { return };
        match (seen.status, seen.method) {
            // And not that of a refusal within the call.
            (None, "ACK") if wire.number == seen.number && wire.ok.is_some() && wire.over.is_none() => {
                wire.acknowledged.get_or_insert(now);
            }
            (None, "INVITE") if wire.ok.is_some() && !is_first => wire.held = true,
            (None, "CANCEL") if wire.ok.is_none() => wire.cancelled = true,
            (None, "BYE") if wire.ok.is_some() => {
                wire.over.get_or_insert(now);
            }
            (Some(200..=299), "INVITE") if !wire.inbound && !wire.cancelled && wire.ok.is_none() => {
                (wire.ok, wire.acknowledged) = (Some(now), Some(now));
            }
            _ => {}
        }
    }

    /// A message of the bridge arrived at a carrier.
    pub fn reached(&mut self, packet: &[u8]) {
        if packet.starts_with(b"BYE ") {
            let (status, text) = look(packet);
            let tag = tag(&text, "From").unwrap_or_default().to_owned();
            self.told_over.insert((read(status, &text).call_id.to_owned(), tag));
        }
    }

    /// Whoever is up at the far side: its call lives here, or some life has said BYE until it was certain that nobody hears, or
    /// has just said it.
    pub fn is_not_alone(&self, now: Mono, call_id: &str) {
        let lives = self.calls.get(&self.current(call_id)).is_some_and(Wire::is_up);
        let byes = self.byes.range((call_id.to_owned(), 0)..=(call_id.to_owned(), u32::MAX));
        let is_told =
            |said: &[Mono]| said.len() >= TIMES_OF_BYE || said.last().is_some_and(|at| now <= *at + STILL_SAID);
        let told = byes.map(|(_, said)| said).any(|said| is_told(said));
        // A life before may have ended what rang, and this one answered it when it was asked again: under another tag.
        let ours = self.tags.get(call_id);
        let mut heard = self.told_over.range((call_id.to_owned(), String::new())..).take_while(|(of, _)| of == call_id);
        let is_over = heard.any(|(_, tag)| ours.is_none_or(|ours| ours == tag));
        assert!(!is_over, "{call_id} has heard that it is over, and goes on");
        // Books that are away for longer than an ACK waits do not know what a node that dies meanwhile leaves up.
        let is_unknown = |wire: &Wire| {
            let waited = wire.ok.zip(wire.told_up).map(|(ok, told)| told.since(ok));
            wire.unheard && waited.is_some_and(|waited| waited >= ACK_WAITS)
        };
        let told = told || self.calls.iter().any(|((_, of, _), wire)| of == call_id && is_unknown(wire));
        assert!(lives || told, "{now:?}: {call_id} is up, and nobody ends it");
    }

    pub fn heard(&mut self, at: Mono, call_id: &str) {
        let key = self.current(call_id);
        if let Some(wire) = self.calls.get_mut(&key) {
            wire.last_sound = Some(at);
        }
    }

    pub fn opens(&mut self, leg: LegId, call_id: &str, called: (CallType, String)) {
        assert!(!call_id.starts_with(CALL_ID), "who watches is no leg, and costs nobody anything");
        let asked_by = self.who_asked(&called);
        let turn = self.legs.values().filter(|key| (key.0, key.1.as_str()) == (self.epoch, call_id)).count();
        let key = (self.epoch, call_id.to_owned(), turn);
        let moved_by = (turn > 0).then(|| self.who_moves(call_id, &called));
        self.called.insert(leg, called);
        // A call out is opened before it is on the wire, if it ever is.
        let wire = self.calls.entry(key.clone()).or_default();
        wire.asked_by = asked_by;
        wire.inbound |= moved_by.is_some();
        wire.moved_by = moved_by;
        self.legs.insert(leg, key);
    }

    /// A second leg of one call: its caller is to be moved to that number, one of the same kind and country, as a REFER of theirs
    /// asked once. Its CSeq.
    fn who_moves(&mut self, call_id: &str, called: &(CallType, String)) -> u32 {
        let before = self.current(call_id);
        let wire = &self.calls[&before];
        assert!(wire.is_up() && wire.meeting.is_some(), "{before:?} is moved, and is in no meeting: {wire:?}");
        let leg = self.legs.iter().find(|(_, key)| **key == before).map(|(leg, _)| leg).expect("its leg");
        let (call_type, number) = &self.called[leg];
        let is_alike = (call_type, country(number)) == (&called.0, country(&called.1)) && *number != called.1;
        assert!(is_alike, "{before:?} is moved from {number} to {called:?}");
        let of_call = self.moves.iter_mut().filter(|((of, _), _)| of == call_id);
        // The last of them: what was refused before is not taken up again.
        let asked = of_call.filter(|(_, asked)| asked.to == called.1).last().filter(|(_, asked)| !asked.is_taken);
        let ((_, cseq), asked) = asked.unwrap_or_else(|| panic!("{before:?} is moved, and nobody asked"));
        asked.is_taken = true;
        *cseq
    }

    /// The sound of a call is another leg's from now on: so is its time.
    fn hand_over(&mut self, now: Mono, stream: StreamId) {
        let place = self.streams.get(&stream).expect("what is handed over is attached");
        let (old, room) = (place.call.clone(), place.room);
        assert_eq!(room, None, "{old:?} is handed over, and is still in a room");
        let call_id = old.1.clone();
        let of_call = self.calls.range((old.0, call_id.clone(), 0)..=(old.0, call_id.clone(), usize::MAX));
        let new = of_call.map(|(key, _)| key.clone()).next_back().filter(|new| *new != old);
        let new = new.unwrap_or_else(|| panic!("{old:?} is handed over to nobody"));
        let before = self.calls.get_mut(&old).expect("a stream without a call");
        assert!(before.is_up() || before.over == Some(now), "{old:?} is moved, and is over: {before:?}");
        (before.over, before.moved_on) = (Some(now), true);
        let wire = self.calls.get_mut(&new).expect("it is of the calls");
        assert!(wire.ok.is_none(), "{new:?} is moved into twice");
        (wire.ok, wire.acknowledged) = (Some(now), Some(now));
        wire.released |= wire.meeting.is_some_and(|meeting| self.halls.entry(meeting).or_default().locked);
        let cseq = wire.moved_by.expect("a turn that nobody asked for");
        self.moves.get_mut(&(call_id.clone(), cseq)).expect("its REFER").is_done = true;
        self.turns.insert(call_id, new.2);
        self.place(stream).call = new;
    }

    /// Of a number that nobody rings but for a REFER: the one call that asked for it. It is up, and its meeting's organiser's: by
    /// PIN, or since it took the place of such a one.
    fn who_asked(&mut self, (call_type, number): &(CallType, String)) -> Option<Key> {
        if *call_type != CallType::DialOut || !self.script.referred.iter().any(|dial| dial.to == *number) {
            return None;
        }
        let (key, _) = self.referrals.get_mut(number).and_then(BTreeSet::pop_first).expect("rung, and nobody asked");
        let wire = &self.calls[&key];
        assert!(key.0 == self.epoch && wire.is_up(), "{number} is rung for {key:?}, which is not up: {wire:?}");
        let leads = |call_id: &str| self.keyed.get(&self.current(call_id)).is_some_and(|keyed| keyed.contains(PIN));
        let before = wire.replaces.as_deref().filter(|_| wire.acknowledged.is_some());
        assert!(
            leads(&key.1) || before.is_some_and(leads),
            "{number} is rung for {key:?}, who is no organiser: {wire:?}"
        );
        Some(key)
    }

    /// A key was handed to the switchboard.
    pub fn key(&mut self, stream: StreamId, key: char) {
        if let Some(place) = self.streams.get(&stream) {
            self.keyed.entry(place.call.clone()).or_default().push(key);
        }
    }

    /// The books agreed that `meeting` pays, and the switchboard was told.
    pub fn granted(&mut self, leg: LegId, meeting: &str) {
        let meeting = self.script.meeting_named(meeting).expect("a meeting that is not in the script");
        let locked = self.halls.entry(meeting).or_default().locked;
        let key = self.legs[&leg].clone();
        let named = self.may_name(leg, &key, meeting);
        let asker = self.calls[&key].asked_by.as_ref().map(|asker| self.calls[asker].meeting);
        assert!(
            asker.is_none_or(|of| of == Some(meeting)),
            "{key:?} is paid by {meeting}, and was asked for in {asker:?}"
        );
        let wire = self.calls.get_mut(&key).expect("a leg without a call");
        assert!(!wire.inbound || named, "{key:?} keyed {:?}, not the ID of meeting {meeting}", self.keyed.get(&key));
        if wire.meeting.replace(meeting).is_none() && wire.inbound && wire.ok.is_some() {
            wire.released |= locked;
        }
    }

    /// The books have just been asked who pays, with this deck in use; the answer may be lost.
    pub fn priced(&mut self, leg: LegId, deck: usize, is_sure: bool) {
        if let Some(wire) = self.legs.get(&leg).and_then(|key| self.calls.get_mut(key)) {
            if is_sure && wire.meeting.is_none() {
                wire.decks.clear();
            }
            if wire.meeting.is_none() {
                wire.decks.insert(deck);
            }
        }
    }

    /// Its payer was named so late that little is left of the first slice.
    pub fn briefly(&mut self, leg: LegId) {
        self.brief.insert(leg);
    }

    /// Whether the caller keyed this meeting's ID, or called a number that leads there.
    fn may_name(&self, leg: LegId, key: &Key, meeting: usize) -> bool {
        // The numbers speak one language: a star amid the digits changes nothing.
        let keyed = self.keyed.get(key).map(|keyed| keyed.replace('*', ""));
        keyed.is_some_and(|keyed| keyed.contains(&self.script.meetings[meeting].conference_id))
            || self.script.numbers.iter().any(|of| of.meeting == Some(meeting) && of.e164 == self.called[&leg].1)
    }

    // ---------------------------------------------------------------------------------------------------------- presence

    pub fn attached(&mut self, stream: StreamId, plan: &Plan) {
        let call_id = self.phones.get(&plan.remote).expect("sound for an address that no phone has");
        let call = self.current(call_id);
        let meeting = self.calls.get(&call).and_then(|wire| wire.meeting);
        let locked = meeting.is_some_and(|meeting| self.halls.entry(meeting).or_default().locked);
        if let Some(wire) = self.calls.get_mut(&call).filter(|wire| wire.inbound) {
            wire.released |= locked;
        }
        let fresh = Place { call, room: None, gagged: false };
        assert!(self.streams.insert(stream, fresh).is_none(), "{stream:?} is attached twice");
    }

    pub fn media(&mut self, now: Mono, command: &media::Command) {
        use media::Command::*;
        match command {
            Join { stream, room } => self.join(*stream, *room),
            Leave { stream } => self.place(*stream).room = None,
            Gag { stream, on } => self.place(*stream).gagged = *on,
            HandOver { stream } => self.hand_over(now, *stream),
            Detach { stream } => {
                assert!(self.streams.remove(stream).is_some(), "{stream:?} is detached, but was not attached");
            }
            _ => {}
        }
    }

    fn place(&mut self, stream: StreamId) -> &mut Place {
        self.streams.get_mut(&stream).unwrap_or_else(|| panic!("a command for {stream:?}, which is not attached"))
    }

    fn join(&mut self, stream: StreamId, room: RoomId) {
        let place = self.place(stream);
        place.room = Some(room);
        let call = place.call.clone();
        let wire = self.calls.get_mut(&call).expect("a stream without a call");
        assert!(wire.meeting.is_some(), "{call:?} joins, and nobody pays");
        wire.joined = true;
        self.together.entry((self.epoch, room)).or_default().insert(call);
    }

    pub fn ordered(&mut self, order: &Order) {
        match order {
            Order::Lock { meeting, on } if self.inside(*meeting) > 0 => {
                self.halls.entry(*meeting).or_default().locked = *on;
            }
            Order::Admit { meeting } => self.halls.entry(*meeting).or_default().opened = true,
            Order::End { meeting } => {
                let calls: Vec<Key> = self.joined().filter(|(_, of)| *of == Some(*meeting)).map(|(k, _)| k).collect();
                calls.into_iter().for_each(|key| self.release(&key));
            }
            _ => {}
        }
    }

    pub fn removed(&mut self, leg: LegId) {
        if let Some(key) = self.legs.get(&leg).cloned() {
            self.release(&key);
        }
    }

    fn release(&mut self, key: &Key) {
        if let Some(wire) = self.calls.get_mut(key) {
            wire.released = true;
        }
    }

    /// Calls that are in a room, each with its meeting.
    fn joined(&self) -> impl Iterator<Item = (Key, Option<usize>)> {
        let inside = self.streams.values().filter(|place| place.room.is_some());
        inside.map(|place| (place.call.clone(), self.calls[&place.call].meeting))
    }

    fn inside(&self, meeting: usize) -> usize {
        self.joined().filter(|(_, of)| *of == Some(meeting)).count()
    }

    /// Everything of one moment has happened: is everybody where they should be?
    pub fn instant(&mut self, now: Mono) {
        let mut attached: BTreeMap<&Key, usize> = BTreeMap::new();
        for (stream, place) in &self.streams {
            let wire = &self.calls[&place.call];
            // A BYE that the endpoint says by itself is heard of a step later.
            let is_up = wire.is_up() || wire.over == Some(now);
            assert!(is_up, "{now:?}: {stream:?} of {:?} has sound, and is not up: {wire:?}", place.call);
            let unheard = wire.inbound && wire.acknowledged.is_none();
            assert!(!unheard || place.gagged, "{now:?}: {:?} is heard before its ACK", place.call);
            *attached.entry(&place.call).or_default() += 1;
        }
        for (key, wire) in self.calls.iter().filter(|(key, wire)| key.0 == self.epoch && wire.is_up()) {
            let count = attached.get(key).copied().unwrap_or(0);
            let settled = wire.acknowledged.is_some();
            assert!(count <= 1 && (count == 1 || !settled), "{now:?}: {key:?} is up with {count} streams: {wire:?}");
        }
        self.doors(now);
        self.gone(now);
    }

    /// Who is inside may be there; where callers walk in, whoever is up and paid for is inside.
    fn doors(&mut self, now: Mono) {
        self.open_halls();
        let inside: BTreeSet<Key> = self.joined().map(|(key, _)| key).collect();
        for (key, wire) in self.calls.iter().filter(|(key, wire)| key.0 == self.epoch && wire.is_up()) {
            let Some(at) = wire.meeting else { continue };
            let meeting = &self.script.meetings[at];
            let has_sound = self.streams.values().any(|place| place.call == *key);
            let walks_in = if wire.inbound { meeting.is_open() } else { !meeting.confirm && meeting.most.is_none() };
            // Whoever comes for another is in when both sides know that they are up.
            let comes_for = wire.replaces.is_some() && wire.acknowledged.is_none();
            let due = walks_in && has_sound && !comes_for && !wire.released && !self.may_have_been_ended(at);
            assert!(!due || inside.contains(key), "{now:?}: {key:?} should be inside meeting {at}: {wire:?}");
            let out = wire.released && meeting.is_open();
            assert!(!out || !inside.contains(key), "{now:?}: {key:?} should be out of meeting {at}: {wire:?}");
            let asks = meeting.lobby || !meeting.callers_may_start;
            let unasked = asks && !self.halls.get(&at).is_some_and(|hall| hall.opened) && inside.contains(key);
            assert!(!unasked, "{now:?}: {key:?} is inside meeting {at}, which nobody opened");
        }
        let empty: Vec<usize> = self.halls.keys().copied().filter(|at| self.inside(*at) == 0).collect();
        for at in empty {
            self.halls.entry(at).or_default().locked = false;
        }
        for (at, meeting) in self.script.meetings.iter().enumerate() {
            self.size(now, at, meeting);
        }
    }

    /// An organiser may end the meeting for all by keys.
    fn may_have_been_ended(&self, meeting: usize) -> bool {
        let calls = self.calls.iter().filter(|(key, wire)| key.0 == self.epoch && wire.meeting == Some(meeting));
        calls.filter_map(|(key, _)| self.keyed.get(key)).any(|keyed| keyed.contains(PIN) && keyed.contains("##"))
    }

    /// By PIN, or by answering a call of the meeting.
    fn open_halls(&mut self) {
        for (key, wire) in self.calls.iter().filter(|(key, wire)| key.0 == self.epoch && wire.is_up()) {
            let by_pin = self.keyed.get(key).is_some_and(|keyed| keyed.contains(PIN));
            if let Some(at) = wire.meeting.filter(|_| by_pin || !wire.inbound) {
                self.halls.entry(at).or_default().opened = true;
            }
        }
    }

    fn size(&self, now: Mono, at: usize, meeting: &Meeting) {
        let opened = self.halls.get(&at).is_some_and(|hall| hall.opened);
        let most = meeting.most.filter(|_| !opened).map_or(usize::MAX, |most| most as usize);
        assert!(self.inside(at) <= most, "{now:?}: more than {most} are in meeting {at}");
    }

    /// What the bridge shows of its meetings, against what was told to the mixer.
    pub fn compare_meetings(&self, now: Mono, views: &[MeetingView]) {
        for (at, meeting) in self.script.meetings.iter().enumerate() {
            let shown = views.iter().find(|view| view.id == meeting.id).map_or(0, |view| view.inside);
            assert_eq!(shown, self.inside(at), "{now:?}: inside meeting {at}, shown and heard");
        }
    }

    pub fn compare_legs(&self, now: Mono, views: &[LegView]) {
        let talking = views.iter().filter(|view| ["lobby", "waiting", "meeting"].contains(&view.state.as_str()));
        let up = self.calls.iter().filter(|(key, wire)| key.0 == self.epoch && wire.is_up());
        let (shown, up) = (talking.count(), up.count());
        // One that was hung up before its ACK is over for us, and its BYE still waits.
        assert!(shown <= up && shown == self.streams.len(), "{now:?}: {shown} legs are shown, {up} are up");
    }

    // ------------------------------------------------------------------------------------------------------------- money

    /// The bridge dies; the books have not heard yet that these legs were answered.
    pub fn crashed(&mut self, now: Mono, unheard: &BTreeSet<LegId>) {
        for (_, wire) in self.calls.iter_mut().filter(|(key, wire)| key.0 == self.epoch && wire.cut.is_none()) {
            wire.cut = Some(now);
        }
        for leg in unheard {
            if let Some(wire) = self.legs.get(leg).and_then(|key| self.calls.get_mut(key)) {
                wire.unheard = true;
            }
        }
        self.epoch += 1;
        self.streams.clear();
        self.turns.clear();
        self.moves.clear();
        self.halls.clear();
    }

    /// Whether a leg's record was seen.
    pub fn knows(&self, leg: LegId) -> bool {
        self.charged.contains_key(&leg)
    }

    /// A switch closed this leg's account, at the last moment, and whoever threw it was not told.
    pub fn cut_off(&mut self, now: Mono, leg: LegId) {
        if let Some(wire) = self.legs.get(&leg).and_then(|key| self.calls.get_mut(key)) {
            wire.cut_off = Some(wire.cut.unwrap_or(now).min(now));
            wire.unheard = true;
            wire.released = true;
        }
    }

    /// A leg's account was closed: is this what it costs?
    pub fn record(&mut self, record: &UsageRecord) {
        let leg = record.usage_id;
        let key = self.legs.get(&leg).unwrap_or_else(|| panic!("a record of a leg that nobody opened: {leg}")).clone();
        let wire = self.calls.get(&key).unwrap_or_else(|| panic!("a record of no call: {key:?}"));
        assert_eq!(record.call_id, key.1);
        if let Some(before) = self.charged.get(&leg) {
            assert_eq!(*before, record.charge.0, "the charge of {leg} was changed");
            return;
        }
        let cause = record.beyond.cause;
        let (mut least, most) = wire.span_ms(cause == Cause::NodeDied, self.script.wait_ms());
        // Whom we had hung up on when the node died may be one of them, where money is short: what for is lost with it.
        let is_short = |at: usize| !self.script.houses[self.script.meetings[at].house].plenty;
        let was_ended =
            cause == Cause::NodeDied && wire.by_us && wire.over.is_some() && wire.meeting.is_some_and(is_short);
        if matches!(cause, Cause::CreditGone | Cause::StoreDown) || was_ended {
            // The books may answer a late payer after the end of what they hold: the rest is nobody's debt.
            least = least.saturating_sub(self.script.wait_ms());
        }
        // Who was still waiting for slow books when the call was ended for it pays nothing.
        let given_up = cause == Cause::StoreDown && record.beyond.stamps.joined.is_none();
        let least = if wire.unheard || given_up { 0 } else { least };
        let (least, most) = match wire.revoked.or(wire.cut_off).filter(|_| cause == Cause::Revoked) {
            Some(at) if wire.acknowledged.is_some() => {
                let talked_ms = wire.ok.map_or(0, |ok| at.millis_since(ok));
                (if wire.unheard { 0 } else { talked_ms }, talked_ms)
            }
            Some(_) => (0, 0),
            None => (least, most),
        };
        let context = format!("{key:?} {cause}, {least} to {most} ms: {wire:?} {:?}", record.beyond.explanation);
        self.price(record, wire, (least, most), &context);
        self.cause(record, &context);
        if cause.is_withdrawal() && record.beyond.stamps.joined.is_some() {
            self.withdrawn.insert(cause);
        }
        let charge = record.charge.0;
        let house = record.beyond.meeting.as_ref().and_then(|meeting| self.script.meeting_named(meeting.as_str()));
        match house.map(|meeting| self.script.meetings[meeting].house) {
            Some(house) => {
                let bill = self.bill(record, house, &context);
                if bill.grants.is_empty() && record.capability == Some(Capability::Credits) || bill.charge > 0 {
                    let grants = &record.beyond.grants;
                    let seconds = |part: &Part| if part.bucket.is_time() { part.amount } else { 0 };
                    let timed_ms = record.beyond.pool_used_ms + grants.iter().map(seconds).sum::<u64>();
                    let mixed = grants.iter().any(|part| !part.bucket.is_time());
                    let timed_ms = (!mixed).then_some(timed_ms);
                    self.paid.insert(leg, Paid { house, cause, timed_ms, ms: record.duration_ms });
                }
                self.ledger.billed(leg, bill);
                self.out_ms[house] += if record.call_type == CallType::DialOut { most } else { 0 };
            }
            None => assert_eq!(charge, 0, "charged to nobody: {context}"),
        }
        self.charged.insert(leg, charge);
    }

    /// What it is to cost by either deck, and what grants paid: each of the payer's own.
    fn bill(&self, record: &UsageRecord, house: usize, context: &str) -> Bill {
        let mut bill = Bill {
            house,
            charge: record.charge.0,
            pool_ms: i64::try_from(record.beyond.pool_used_ms).unwrap(),
            ..Bill::default()
        };
        let mut timed = record.beyond.pool_used_ms;
        for part in &record.beyond.grants {
            let id = part.bucket.grant().expect("a grant's part").as_str();
            let gift = self.script.gifts.iter().find(|gift| gift.id == id).expect("a grant of the script");
            assert_eq!((gift.house, gift.unit == Unit::Seconds), (house, part.bucket.is_time()), "{id}: {context}");
            *bill.grants.entry(id.to_owned()).or_default() += part.amount;
            match part.bucket.is_time() {
                true => timed += part.amount,
                false => bill.granted += i64::try_from(part.amount).unwrap(),
            }
        }
        let meeting = record.beyond.meeting.as_ref().and_then(|meeting| self.script.meeting_named(meeting.as_str()));
        if let Some(meeting) = meeting.filter(|_| record.capability.is_some()) {
            let by = |deck| match self.due(meeting, record, deck) {
                Due::Credits(rate) | Due::Pool(Some(rate)) => {
                    Some(price(rate, record.duration_ms.saturating_sub(timed)))
                }
                Due::Never | Due::Free | Due::Pool(None) => None,
            };
            bill.by_deck = by(0).zip(by(1)).map(|(first, second)| [first, second]);
        }
        bill
    }

    fn price(&self, record: &UsageRecord, wire: &Wire, (least, most): (u64, u64), context: &str) {
        let charge = record.charge.0;
        let granted = record.capability.is_some();
        let direct =
            self.script.numbers.iter().any(|n| n.meeting.is_some() && n.e164 == record.destination.to_string());
        let must_pay = wire.joined || direct || !wire.inbound;
        assert!(granted || charge == 0, "charged without a hold: {context}");
        assert!(granted || !must_pay || most == 0, "talked without a hold: {context}");
        if !granted {
            return;
        }
        let meeting = record.beyond.meeting.as_ref().and_then(|meeting| self.script.meeting_named(meeting.as_str()));
        let meeting = meeting.expect("a hold without a meeting");
        let pool = record.beyond.pool_used_ms;
        let parts = |is_time| record.beyond.grants.iter().filter(move |part| part.bucket.is_time() == is_time);
        let timed = pool + parts(true).map(|part| part.amount).sum::<u64>();
        let price_of = charge + parts(false).map(|part| part.amount as i64).sum::<i64>();
        assert!(timed <= most, "more pool and grants than talk: {context}");
        // Where an answer was lost it may have been priced before another deck came.
        let fits = |deck: &usize| match self.due(meeting, record, *deck) {
            Due::Credits(rate) | Due::Pool(Some(rate)) => {
                price_of == price(rate, record.duration_ms.saturating_sub(timed))
            }
            Due::Never | Due::Free | Due::Pool(None) => true,
        };
        let first = wire.decks.first().copied().unwrap_or(0);
        let deck = wire.decks.iter().copied().find(|deck| fits(deck)).unwrap_or(first);
        let (due, pooled) = match self.due(meeting, record, deck) {
            Due::Never => panic!("must never be granted: {context}"),
            Due::Free => ((0, 0), false),
            Due::Credits(rate) => {
                ((price(rate, least.saturating_sub(timed)), price(rate, most.saturating_sub(timed))), false)
            }
            Due::Pool(None) => ((0, 0), true),
            Due::Pool(Some(rate)) => {
                ((price(rate, least.saturating_sub(timed)), price(rate, most.saturating_sub(timed))), true)
            }
        };
        assert!(pooled || pool == 0, "took from the pool: {context}");
        if let (Due::Credits(rate), true) = (self.due(meeting, record, deck), least < most) {
            assert_eq!(price_of, price(rate, record.duration_ms.saturating_sub(timed)), "{context}");
        }
        if matches!(self.due(meeting, record, deck), Due::Free | Due::Pool(None)) {
            assert!(record.beyond.grants.is_empty(), "a grant paid what credits may not: {context}");
        }
        assert!((due.0..=due.1).contains(&price_of), "{price_of} is paid, and due is {due:?}: {context}");
        assert!((least..=most).contains(&record.duration_ms), "{} ms are charged: {context}", record.duration_ms);
    }

    fn cause(&self, record: &UsageRecord, context: &str) {
        let cause = record.beyond.cause;
        assert!(cause != Cause::Fault, "{context}");
        // Whoever was moved has ended nothing. The books may have closed its account before, or its node may have died since.
        let has_moved_on = self.calls[&self.legs[&record.usage_id]].moved_on;
        let fits = if has_moved_on {
            matches!(cause, Cause::Transferred | Cause::NodeDied | Cause::Revoked)
        } else {
            cause != Cause::Transferred
        };
        assert!(fits, "moved on: {has_moved_on}: {context}");
        let bans: &[Ban] = match cause {
            Cause::OrganisationLocked => &[Ban::House],
            Cause::OrganiserLocked => &[Ban::Owner],
            Cause::LicenceGone => &[Ban::Licence],
            Cause::DestinationNotAllowed => &[Ban::DialOut],
            _ => &[],
        };
        assert!(bans.iter().all(|ban| self.ever.contains(ban)), "nobody forbade it: {context}");
        assert!(cause != Cause::NoPayer || record.capability.is_none(), "nobody pays, and yet it is held: {context}");
        // A caller waits five seconds for the books, and no longer: slow ones are down to whoever is not let in yet.
        let waited = record.beyond.stamps.joined.is_none();
        let meeting = record.beyond.meeting.as_ref().and_then(|meeting| self.script.meeting_named(meeting.as_str()));
        let is_plenty = |meeting: usize| self.script.houses[self.script.meetings[meeting].house].plenty;
        // The last of the money is held increment by increment: that is too short for slow ones as well.
        let slow = self.script.wait_ms() > SLOW_MS && !meeting.is_some_and(is_plenty);
        // What is left of a slice that begins with the answer, where the payer was named near its end, is shorter still.
        let brief = self.brief.contains(&record.usage_id);
        let down = self.script.is_troubled() || waited || slow || brief;
        assert!(down || cause != Cause::StoreDown, "the books were never down: {context}");
        let Some(meeting) = meeting else { return };
        let plenty = is_plenty(meeting);
        let by_credits = matches!(self.due(meeting, record, 0), Due::Credits(_));
        let short = matches!(cause, Cause::NoCredit | Cause::CreditGone | Cause::SpendLimit);
        assert!(!(plenty && by_credits && short), "there was credit: {context}");
    }

    // ------------------------------------------------------------------------------------------------------- what is forbidden

    /// It may be forbidden from some moment on.
    pub fn may_ban(&mut self, ban: Ban) {
        self.ever.insert(ban);
    }

    /// What is forbidden has changed.
    pub fn banned(&mut self, now: Mono, bans: &Bans) {
        self.bans.retain(|ban, _| bans.contains(ban));
        for ban in bans {
            self.bans.entry(*ban).or_insert(now);
            self.ever.insert(ban.1);
        }
    }

    /// Since when a leg of this meeting may not be, by now.
    fn forbidden(&self, meeting: usize, inbound: bool) -> Option<Mono> {
        let meeting = &self.script.meetings[meeting];
        let is_about_it = |ban: Ban| match ban {
            Ban::House => true,
            Ban::Owner | Ban::Licence => meeting.licensed,
            Ban::DialOut => meeting.licensed && !inbound,
        };
        let about_it = self.bans.iter().filter(|((house, ban), _)| *house == meeting.house && is_about_it(*ban));
        about_it.map(|(_, since)| *since).min()
    }

    /// The books have just agreed to hold something for a leg.
    pub fn may_be_granted(&self, now: Mono, leg: LegId, meeting: &str) {
        let meeting = self.script.meeting_named(meeting).expect("a meeting that is not in the script");
        let inbound = self.calls[&self.legs[&leg]].inbound;
        assert!(self.forbidden(meeting, inbound).is_none(), "{now:?}: {leg} is granted what is forbidden");
    }

    /// The books refuse a leg what it was granted before: it is to go.
    pub fn refused(&mut self, leg: LegId) {
        if self.legs.get(&leg).is_some_and(|key| self.calls[key].meeting.is_some()) {
            self.removed(leg);
        }
    }

    /// The books have closed the account of a leg, as it stands.
    pub fn revoked(&mut self, now: Mono, leg: LegId, unheard: bool) {
        self.removed(leg);
        if let Some(wire) = self.legs.get(&leg).and_then(|key| self.calls.get_mut(key)) {
            wire.revoked = Some(now);
            wire.unheard |= unheard;
        }
    }

    /// What must go is gone within so long.
    fn patience(&self) -> Duration {
        let books_ms = self.script.wait_ms() + if self.script.is_troubled() { 15_000 } else { 0 };
        Duration::from_millis(2_000 + books_ms)
    }

    /// Whoever may not be in a call any more is out of it within two seconds, as soon as the books say so.
    fn gone(&self, now: Mono) {
        let patience = self.patience();
        for (key, wire) in self.calls.iter().filter(|(key, wire)| key.0 == self.epoch && wire.is_up()) {
            // Hung up before its ACK, a call is so only when that comes.
            let Some(acknowledged) = wire.acknowledged else { continue };
            let since = wire
                .meeting
                .and_then(|meeting| self.forbidden(meeting, wire.inbound))
                .or(wire.revoked)
                .or(wire.cut_off);
            let since = since.map(|since| since.max(acknowledged));
            assert!(
                since.is_none_or(|since| now <= since + patience),
                "{now:?}: {key:?} goes on since {since:?}: {wire:?}"
            );
        }
    }

    /// The table of spec/charging.md, for the customers that the script draws.
    fn due(&self, meeting: usize, record: &UsageRecord, deck: usize) -> Due<'_> {
        self.due_of(meeting, (record.call_type, &record.destination.to_string()), deck)
    }

    fn due_of(&self, meeting: usize, (call_type, number): (CallType, &str), deck: usize) -> Due<'_> {
        let meeting = &self.script.meetings[meeting];
        let house = &self.script.houses[meeting.house];
        let rate = self.rate(call_type, number, deck);
        let zone_a = !number.starts_with("+263");
        match (call_type, house.per_user) {
            _ if !meeting.licensed => Due::Never,
            (CallType::DialInToll, true) => Due::Free,
            (CallType::DialOut, true) if zone_a => Due::Pool(Some(rate).filter(|_| house.spends)),
            (CallType::DialOut, true) if !house.spends => Due::Never,
            _ => Due::Credits(rate),
        }
    }

    /// What the auditor knows of those who are paid from a purse.
    pub fn judge(&self, purse: &Purse, (wall, began): (Wall, Wall)) -> Judge<'_> {
        let known = |live: &LiveLeg| {
            let meeting = self.script.meeting_named(live.meeting.as_ref()?.as_str())?;
            let decks = &self.calls.get(self.legs.get(&live.leg)?)?.decks;
            let (call_type, number) = self.called.get(&live.leg)?;
            let deck = *decks.first().filter(|_| decks.len() == 1)?;
            match self.due_of(meeting, (*call_type, number), deck) {
                Due::Credits(rate) => Some((live.leg, (rate, false, true))),
                Due::Pool(Some(rate)) => Some((live.leg, (rate, true, true))),
                Due::Never | Due::Free | Due::Pool(None) => None,
            }
        };
        Judge {
            script: &self.script,
            ledger: &self.ledger,
            rates: purse.legs.iter().filter_map(known).collect(),
            leaders: self.leaders.keys().copied().collect(),
            ever: &self.ever,
            wall,
            began,
        }
    }

    fn rate(&self, call_type: CallType, number: &str, deck: usize) -> &Rate {
        let kind = match call_type {
            CallType::DialInToll => "dial-in-toll",
            CallType::DialInTollFree => "dial-in-toll-free",
            CallType::DialOut => "dial-out",
        };
        let fits = |rate: &&Rate| rate.call_type == kind && number[1..].starts_with(rate.prefix);
        self.script.decks[deck]
            .iter()
            .filter(fits)
            .max_by_key(|rate| rate.prefix.len())
            .expect("a rate for each number")
    }

    /// The books know that it is the organiser's own.
    pub fn leads(&mut self, now: Mono, leg: LegId) {
        self.leaders.entry(leg).or_insert(now);
    }

    /// Where money is short the organiser's own leg is paid first: it outlasts the others, unless money came free for them.
    pub fn leaders_last(&mut self) {
        let span = |leg: &LegId| {
            let wire = &self.calls[&self.legs[leg]];
            wire.ok.zip(wire.over.or(wire.cut))
        };
        for (leader, Paid { house, timed_ms, .. }) in self.paid.iter().filter(|(_, one)| one.cause == Cause::CreditGone)
        {
            let (Some(since), Some((ok, over))) = (self.leaders.get(leader), span(leader)) else { continue };
            let Some(timed_ms) = timed_ms else { continue };
            // What others held before it led, and needed credits, is theirs.
            if (*since).max(ok + Duration::from_millis(*timed_ms)) + LONGEST_AHEAD > over {
                continue;
            }
            let late = over + Duration::from_millis(SLACK_MS + 2 * self.script.wait_ms());
            let (mut spent, mut outlasts) = (0, None);
            for (other, paid) in self.paid.iter().filter(|(_, one)| one.house == *house) {
                let Some((begun, end)) = span(other) else { continue };
                if self.leaders.contains_key(other) || begun > over {
                    continue;
                }
                // What came free while the organiser's leg still asked was its own first.
                let deaf = Mono::from_millis((over.nanos() / 1_000_000).saturating_sub(LAST_ASKED_MS));
                if self.ledger.was_eased(*house, (deaf, end)) {
                    continue;
                }
                self.firsts += 1;
                if end > late {
                    let until = |ms| self.money_of(other, paid, ms);
                    let after = until(paid.ms).zip(until(over.millis_since(begun))).map(|(all, before)| all - before);
                    spent += after.unwrap_or(i64::MAX / 1_000);
                    outlasts = Some((other, paid.cause, end));
                }
            }
            // What is too little for the organiser's next increment is of use to others alone.
            let Some((other, cause, end)) = outlasts else { continue };
            let paid = &self.paid[leader];
            let next = |ms| self.money_of(leader, paid, ms).unwrap_or(0);
            let increment = next(paid.ms + 1) - next(paid.ms);
            assert!(
                spent < increment,
                "{other} ({cause}) outlasts the organiser's {leader}: {end:?}, {over:?}, {spent} of {increment}"
            );
        }
    }

    /// What credits pay for the first `ms` of a leg, by the deck that it began with.
    fn money_of(&self, leg: &LegId, paid: &Paid, ms: u64) -> Option<i64> {
        let wire = &self.calls[&self.legs[leg]];
        let (call_type, number) = self.called.get(leg)?;
        let deck = wire.decks.first().copied().unwrap_or(0);
        match self.due_of(wire.meeting?, (*call_type, number), deck) {
            Due::Credits(rate) | Due::Pool(Some(rate)) => Some(price(rate, ms.saturating_sub(paid.timed_ms?))),
            Due::Never | Due::Free | Due::Pool(None) => None,
        }
    }

    /// Everything is over.
    pub fn finish(&mut self, records: &[UsageRecord], pool_used_ms: &[u64], grants: &[GrantRow]) {
        let mut charged: BTreeMap<(&str, usize), usize> = BTreeMap::new();
        let mut recorded = BTreeSet::new();
        for record in records {
            assert_eq!(self.charged.get(&record.usage_id), Some(&record.charge.0), "a record that was never seen");
            assert!(recorded.insert(record.usage_id), "two records of {}", record.usage_id);
            let turn = self.legs[&record.usage_id].2;
            *charged.entry((&record.call_id, turn)).or_default() += usize::from(record.charge.0 > 0);
        }
        assert!(charged.values().all(|times| *times <= 1), "charged twice: {charged:?}");
        let with_record: BTreeSet<&Key> = recorded.iter().map(|leg| &self.legs[leg]).collect();
        for (key, _) in self.calls.iter().filter(|(_, wire)| wire.ok.is_some()) {
            assert!(with_record.contains(key), "{key:?} was answered, and has no record");
        }
        for members in self.together.values() {
            let meetings: BTreeSet<_> = members.iter().map(|key| self.calls[key].meeting).collect();
            assert_eq!(meetings.len(), 1, "two meetings in one room: {members:?}");
        }
        self.sent_on(records);
        self.moved_on(records);
        let pools: Vec<u64> = (0..self.script.houses.len()).map(|house| self.ledger.pool_used(house)).collect();
        assert_eq!(pool_used_ms, pools, "pools");
        assert_eq!(self.ledger.on_its_way(), [], "charged to a card, and not booked");
        for row in grants {
            let used = self.ledger.grant_used(row.grant.id.as_str());
            assert_eq!((row.used, row.held), (used, 0), "{row:?}");
            assert!(row.used + row.lapsed <= row.grant.amount, "{row:?}");
        }
    }
}

impl Auditor {
    /// Whoever was rung by REFER was paid by the meeting of whoever asked. A call that took another's place is charged from its
    /// own answer on, as any; and the other one ended then.
    fn sent_on(&mut self, records: &[UsageRecord]) {
        for record in records.iter().filter(|record| record.duration_ms > 0) {
            let Some(asker) = &self.calls[&self.legs[&record.usage_id]].asked_by else { continue };
            let meeting =
                record.beyond.meeting.as_ref().and_then(|meeting| self.script.meeting_named(meeting.as_str()));
            assert_eq!(meeting, self.calls[asker].meeting, "{record:?} was asked for by {asker:?}");
            self.referred += 1;
            let (asker, wire) = (&self.calls[asker], &self.calls[&self.legs[&record.usage_id]]);
            self.outlived += u64::from(asker.over.zip(wire.ok).is_some_and(|(over, ok)| over < ok));
        }
        let patience = self.patience();
        for (key, wire) in &self.calls {
            let old = wire.replaces.as_ref().and_then(|of| self.calls.get(&(key.0, of.clone(), 0)));
            let (Some(old), Some(since)) = (old, wire.acknowledged.filter(|_| wire.joined)) else { continue };
            let end = old.over.or(old.cut).expect("everything is over");
            assert!(end <= since + patience, "{key:?} came for another at {since:?}, which went on: {old:?}");
            self.replaced += u64::from(old.by_us && end >= since);
        }
    }
}

impl Auditor {
    /// Each moment of a call whose caller was moved is one leg's, and none is nobody's.
    fn moved_on(&mut self, records: &[UsageRecord]) {
        let by_key: BTreeMap<&Key, &UsageRecord> =
            records.iter().map(|record| (&self.legs[&record.usage_id], record)).collect();
        for (key, record) in by_key.iter().filter(|(key, record)| key.2 > 0 && record.duration_ms > 0) {
            let mut turns = self.calls.range((key.0, key.1.clone(), 0)..(**key).clone());
            let (before, _) = turns.rfind(|(_, wire)| wire.moved_on).expect("it was somewhere before");
            let before = by_key[before];
            // A record begins as long before its end as the leg has lasted: where the clock was set meanwhile that is another moment.
            if before.beyond.cause == Cause::Transferred && self.script.jumps.is_empty() {
                assert_eq!(before.beyond.stamps.ended, record.start, "between {before:?} and {record:?}");
            }
            self.moved += 1;
        }
    }
}

/// What `ms` cost, in millionths: whole increments, one rounding, half up at the fourth place.
pub fn price(rate: &Rate, ms: u64) -> i64 {
    if ms == 0 {
        return 0;
    }
    let beyond_ms = (ms as i64 - rate.first_s * 1_000).max(0);
    let increments = (beyond_ms + rate.next_s * 1_000 - 1) / (rate.next_s * 1_000);
    let billed_s = rate.first_s + increments * rate.next_s;
    let halves = (rate.minute * billed_s * 2 + 60) / 120;
    (halves + rate.fee) * 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_by_hand() {
        let rate = |minute, fee, first_s, next_s| Rate { call_type: "", prefix: "", minute, fee, first_s, next_s };
        let table = [
            (rate(100, 0, 60, 60), 0, 0),
            (rate(100, 0, 60, 60), 1, 10_000),
            (rate(100, 0, 60, 60), 60_000, 10_000),
            (rate(100, 0, 60, 60), 60_001, 20_000),
            (rate(10, 5, 30, 6), 30_001, 1_100),
            (rate(1, 0, 1, 1), 29_000, 0),
            (rate(1, 0, 1, 1), 30_000, 100),
        ];
        for (rate, ms, due) in table {
            assert_eq!(price(&rate, ms), due, "{rate:?} {ms}");
        }
    }
}
