//! More than there is room or time for: which new calls are turned away, before anything is done for them. Calls that there
//! are never notice: what comes within one passes always.

use super::endpoint::Endpoint;
use super::message::Request;
use super::session::Session;
use super::timer::LIFE;
use super::transaction::Key;
use crate::clock::Mono;
use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

/// New calls a second that are let in; a second's worth may come in one burst. `None`: off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Of everybody together.
    pub all: Option<u32>,
    /// From one address.
    pub source: Option<u32>,
}

/// Addresses whose pace is remembered: more than a bridge has carriers' proxies. Beyond it new ones are turned away for as
/// long as it takes one of these to fall silent, a second at most.
const MOST_SOURCES: usize = 4_096;

const SECOND: Duration = Duration::from_secs(1);

/// New calls that our owner has not answered yet, as it does as soon as it knows that they are paid. So many may always wait,
/// however slow it is.
const FEW_WAITING: u32 = 100;
/// More may where it answers more within this time (Little's law): whoever is let in does not wait for much longer, and who
/// is not hears so at once, not after they have waited in vain.
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// Why a new call is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip) enum Why {
    Draining,
    /// As many calls as there may be, or an owner who does not fetch what is told.
    Full,
    /// Our owner is behind with those that it has, or would be.
    Busy,
    /// More a second than are let in.
    Pace,
    /// It is a copy of one that was turned away.
    Again,
}

impl Why {
    /// For the log; of a copy nothing more is said.
    pub fn words(self) -> Option<&'static str> {
        let words = match self {
            Why::Draining => "Being shut down",
            Why::Full => "No room for more calls",
            Why::Busy => "Behind with the calls there are",
            Why::Pace => "More new calls a second than are let in",
            Why::Again => return None,
        };
        Some(words)
    }
}

/// When the next one is due at an even pace (the generic cell rate algorithm), of everybody and of each address.
#[derive(Debug, Default)]
pub(in crate::sip) struct Meter {
    all: Mono,
    sources: HashMap<IpAddr, Mono>,
}

/// INVITEs that were turned away without a transaction, of which copies may still come. At 4,000 a second that is all of the 32 s
/// for which a sender may repeat one; 7 MiB at the most.
const MOST_REFUSED: usize = 131_072;

/// What each of them is known by, the oldest first: a copy of one must not be let in where there is room by now, since whoever
/// sent it has heard that it is refused, and would never acknowledge an answer (RFC 3261 section 8.2.7).
#[derive(Debug)]
pub(in crate::sip) struct Refusals {
    known: HashSet<u64>,
    ages: VecDeque<(Mono, u64)>,
    most: usize,
}

impl Default for Refusals {
    fn default() -> Refusals {
        Refusals { known: HashSet::new(), ages: VecDeque::new(), most: MOST_REFUSED }
    }
}

impl Refusals {
    /// Forgets what is too old for a copy to come, and whether this one is remembered.
    fn holds(&mut self, now: Mono, name: u64) -> bool {
        while let Some((_, old)) = self.ages.pop_front_if(|(since, _)| now.since(*since) >= LIFE) {
            self.known.remove(&old);
        }
        self.known.contains(&name)
    }

    /// Whether an older one had to be forgotten before its time.
    fn keep(&mut self, now: Mono, name: u64) -> bool {
        if self.known.insert(name) {
            self.ages.push_back((now, name));
        }
        let oldest = self.ages.pop_front_if(|_| self.known.len() > self.most);
        oldest.is_some_and(|(_, oldest)| self.known.remove(&oldest))
    }
}

#[derive(Debug, Default)]
pub(in crate::sip) struct Shed {
    calls: Meter,
    refusals: Refusals,
    waiting: Waiting,
    /// Our owner is behind.
    pub busy: bool,
    /// Messages wait for us, more than is good.
    pub flooded: bool,
    /// Calls that were turned away since as many wait for their answer as are answered soon: the machine is full.
    pub pressed: u64,
}

/// How many wait for our owner's answer, and how many had it within this second and the one before.
#[derive(Debug, Default)]
struct Waiting {
    calls: u32,
    second: u64,
    answered: [u32; 2],
}

impl Waiting {
    fn turn(&mut self, now: Mono) {
        let second = now.since(Mono::default()).as_secs();
        match second.saturating_sub(self.second) {
            0 => {}
            1 => self.answered = [0, self.answered[0]],
            _ => self.answered = [0; 2],
        }
        self.second = second;
    }

    fn is_full(&mut self, now: Mono) -> bool {
        self.turn(now);
        let a_second = u64::from(self.answered[0].max(self.answered[1]));
        let many = a_second * LONGEST_WAIT.as_millis() as u64 / 1_000;
        u64::from(self.calls) >= many.max(u64::from(FEW_WAITING))
    }

    fn answered(&mut self, now: Mono) {
        self.turn(now);
        self.answered[0] += 1;
    }
}

fn has_room(now: Mono, due: Mono, rate: Option<u32>) -> bool {
    rate.is_none_or(|rate| SECOND.checked_div(rate).is_some_and(|step| due <= now + (SECOND - step)))
}

fn next(now: Mono, due: Mono, rate: u32) -> Mono {
    due.max(now) + SECOND.checked_div(rate).unwrap_or(SECOND)
}

impl Meter {
    /// Whether one from there is within its pace; nothing is taken of it.
    pub fn in_pace(&mut self, now: Mono, peer: IpAddr, pace: Pace) -> bool {
        if pace.source.is_some() && self.sources.len() >= MOST_SOURCES && !self.sources.contains_key(&peer) {
            self.sources.retain(|_, due| *due > now);
            if self.sources.len() >= MOST_SOURCES {
                return false;
            }
        }
        let source = self.sources.get(&peer).copied().unwrap_or_default();
        has_room(now, self.all, pace.all) && has_room(now, source, pace.source)
    }

    /// One was let in.
    pub fn take(&mut self, now: Mono, peer: IpAddr, pace: Pace) {
        if let Some(rate) = pace.all {
            self.all = next(now, self.all, rate);
        }
        if let Some(rate) = pace.source {
            let due = self.sources.entry(peer).or_default();
            *due = next(now, *due, rate);
        }
    }
}

impl Shed {
    /// Our owner has answered a call, one way or the other, or will in its own time.
    pub fn answered(&mut self, now: Mono, session: &mut Session) {
        if session.waits_no_more() {
            self.waiting.calls = self.waiting.calls.saturating_sub(1);
            self.waiting.answered(now);
        }
    }

    /// A call is over, and may be one that has no answer: callers without patience are no sign of an owner that is fast.
    pub fn gave_up(&mut self, session: &mut Session) {
        self.waiting.calls -= u32::from(session.waits_no_more()).min(self.waiting.calls);
    }
}

impl Endpoint {
    /// Why there is no room for a further call, whoever makes it.
    fn no_room_why(&self) -> Option<Why> {
        match () {
            () if self.draining.is_some() => Some(Why::Draining),
            () if self.crowded || self.is_full() => Some(Why::Full),
            () if self.shed.busy || self.shed.flooded => Some(Why::Busy),
            () => None,
        }
    }

    /// Seconds for Retry-After while there is no room for a further call.
    pub(in crate::sip) fn no_room(&self) -> Option<u32> {
        self.no_room_why().map(|_| self.draining.unwrap_or(self.config.retry_after_s))
    }

    /// Why a new call is turned away, and the seconds for its Retry-After: counted. Its copies hear the same.
    pub(in crate::sip) fn turns_away(&mut self, peer: IpAddr, invite: &Request) -> Option<(Why, u32)> {
        let (now, pace) = (self.desk.now, self.config.pace);
        let name = self.gate.hash(&Key::server(invite, invite.method(), peer));
        let seconds = self.draining.unwrap_or(self.config.retry_after_s);
        if self.shed.refusals.holds(now, name) {
            self.desk.counters.repeats += 1;
            return Some((Why::Again, seconds));
        }
        let why = match self.no_room_why() {
            None if self.shed.waiting.is_full(now) => {
                self.shed.pressed += 1;
                Why::Busy
            }
            None if self.shed.calls.in_pace(now, peer.to_canonical(), pace) => return None,
            None => Why::Pace,
            Some(why) => why,
        };
        let counters = &mut self.desk.counters;
        match why {
            Why::Draining | Why::Full => counters.refused_full += 1,
            Why::Busy => counters.refused_busy += 1,
            Why::Pace => counters.refused_pace += 1,
            Why::Again => {}
        }
        counters.refusals_forgotten += u64::from(self.shed.refusals.keep(now, name));
        Some((why, seconds))
    }

    /// A call was let in: it counts to the pace, and waits for our owner.
    pub(in crate::sip) fn lets_in(&mut self, peer: IpAddr) {
        self.shed.waiting.calls += 1;
        self.shed.calls.take(self.desk.now, peer.to_canonical(), self.config.pace);
    }

    /// Calls that were turned away because the machine is full.
    pub fn pressed(&self) -> u64 {
        self.shed.pressed
    }

    /// While `true`, new calls are answered 503: more messages wait for this endpoint than it can soon look at.
    pub fn flood(&mut self, flooded: bool) {
        self.shed.flooded = flooded;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono::from_millis(ms)
    }

    fn ip(number: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + number).into())
    }

    fn let_in(meter: &mut Meter, ms: u64, peer: IpAddr, pace: Pace, tries: usize) -> usize {
        let mut count = 0;
        for _ in 0..tries {
            if meter.in_pace(at(ms), peer, pace) {
                meter.take(at(ms), peer, pace);
                count += 1;
            }
        }
        count
    }

    #[test]
    fn a_pace_is_a_seconds_worth_at_once_and_then_one_after_the_other() {
        let pace = Pace { all: None, source: Some(10) };
        let mut meter = Meter::default();
        assert_eq!(let_in(&mut meter, 5_000, ip(1), pace, 100), 10);
        assert_eq!(let_in(&mut meter, 5_050, ip(1), pace, 100), 0);
        assert_eq!(let_in(&mut meter, 5_100, ip(1), pace, 100), 1);
        assert_eq!(let_in(&mut meter, 5_100, ip(2), pace, 100), 10, "another one's is another");
        assert_eq!(let_in(&mut meter, 60_000, ip(1), pace, 100), 10);
        let all = Pace { all: Some(15), source: Some(10) };
        let mut meter = Meter::default();
        assert_eq!((1..=3).map(|peer| let_in(&mut meter, 1_000, ip(peer), all, 100)).collect::<Vec<_>>(), [10, 5, 0]);
        assert_eq!(let_in(&mut Meter::default(), 1, ip(1), Pace::default(), 1_000), 1_000, "off");
    }

    #[test]
    fn what_was_refused_is_remembered_for_as_long_as_a_copy_may_come_and_no_more_than_there_is_room_for() {
        let mut refusals = Refusals { most: 3, ..Refusals::default() };
        for name in 1..=3 {
            assert!(!refusals.keep(at(1_000 * name), name), "there is room");
        }
        assert!(!refusals.keep(at(4_000), 3), "it is there already");
        assert!(refusals.keep(at(4_000), 4), "the oldest is forgotten");
        assert_eq!([1, 2, 3, 4].map(|name| refusals.holds(at(33_999), name)), [false, true, true, true]);
        assert_eq!([2, 3, 4].map(|name| refusals.holds(at(34_000), name)), [false, true, true]);
        assert_eq!([3, 4].map(|name| refusals.holds(at(36_000), name)), [false, false]);
        assert!(refusals.known.is_empty() && refusals.ages.is_empty());
    }

    #[test]
    fn so_many_addresses_are_remembered_and_no_more() {
        let pace = Pace { all: None, source: Some(10) };
        let mut meter = Meter::default();
        let count: usize = (0..10_000).map(|peer| let_in(&mut meter, 5_000, ip(peer), pace, 1)).sum();
        assert_eq!((count, meter.sources.len()), (MOST_SOURCES, MOST_SOURCES));
        assert_eq!(let_in(&mut meter, 5_000, ip(0), pace, 1), 1, "who is known goes on");
        assert_eq!(let_in(&mut meter, 6_100, ip(9_999), pace, 1), 1, "and a moment later there is room");
    }
}
