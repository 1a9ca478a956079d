//! What may run at once, how fast calls may come, and how often one may guess. Time is an argument; every table has a
//! bound and forgets its oldest entry at it.

use super::guess::Guesses;
use crate::clock::{Mono, Now, Wall};
use crate::types::{CarrierId, Cause, E164, LegId, MeetingId, OrganisationId, UserId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

/// Callers, and meetings, whose wrong tries are remembered: at 10 and 20 moments each some MB, and more than an hour's
/// harvest at the delays that such a flood meets.
const MAX_REMEMBERED: usize = 16_384;

/// Whom a limit is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    Carrier(CarrierId),
    Organisation(OrganisationId),
    Organiser(UserId),
    Meeting(MeetingId),
    /// An organisation's calls out to one block of numbers: the first digits of all of them.
    Block(OrganisationId, String),
}

/// A block of numbers that may be one subscriber's, or one thief's: so many first digits.
const BLOCK_DIGITS: usize = 6;

impl Scope {
    pub fn block(organisation: OrganisationId, to: &E164) -> Scope {
        Scope::Block(organisation, to.digits().chars().take(BLOCK_DIGITS).collect())
    }

    /// What a refusal for the sake of this limit is called.
    const fn refusal(&self) -> Cause {
        match self {
            Scope::Carrier(_) | Scope::Organisation(_) => Cause::LimitReached,
            Scope::Organiser(_) => Cause::OrganiserLimit,
            Scope::Meeting(_) => Cause::MeetingLimit,
            Scope::Block(..) => Cause::PrefixLimit,
        }
    }
}

/// Who guesses, as far as the brakes tell people apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Caller {
    Number(E164),
    /// All who withhold their number and come by one carrier: half the tries of a number for all of them together, so that
    /// whoever guesses by one carrier holds nobody of another.
    Withheld(CarrierId),
}

impl Caller {
    pub fn of(number: Option<E164>, carrier: &CarrierId) -> Caller {
        number.map_or_else(|| Caller::Withheld(carrier.clone()), Caller::Number)
    }
}

/// Limits of one scope. `None`: off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Calls at once, both directions together.
    pub max_calls: Option<u32>,
    /// New calls a second; a second's worth may come in one burst.
    pub max_calls_per_second: Option<u32>,
}

/// The guessing brakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardConfig {
    /// Wrong tries within [`GuardConfig::window`] after which a caller's number is not listened to.
    pub tries_per_caller: u32,
    /// The same for one meeting's PIN.
    pub tries_per_meeting: u32,
    /// Wrong tries of everybody together after which answers are slowed.
    pub tries_overall: u32,
    /// Wrong ones of calls that name their meeting: of one carrier, after which its further ones are slowed, and after which they
    /// are not listened to.
    pub free_tries_per_carrier: u32,
    pub tries_per_carrier: u32,
    /// How much slower each further one makes them, up to `longest_delay`.
    pub delay_step: Duration,
    pub longest_delay: Duration,
    pub window: Duration,
}

impl Default for GuardConfig {
    fn default() -> GuardConfig {
        GuardConfig {
            tries_per_caller: 10,
            tries_per_meeting: 20,
            tries_overall: 100,
            free_tries_per_carrier: 100,
            // Of 10⁶ IDs at most one is of a meeting: a guesser who never rests finds one in six weeks.
            tries_per_carrier: 1_000,
            delay_step: Duration::from_millis(100),
            // A caller has 60 s to name a meeting: 10 s leave an honest one time for a try or two.
            longest_delay: Duration::from_secs(10),
            window: Duration::from_secs(3600),
        }
    }
}

impl GuardConfig {
    /// What so many wrong tries cost, of which some are free.
    pub(super) fn delay_beyond(&self, tries: usize, free: u32) -> Duration {
        let steps = u32::try_from(tries.saturating_sub(free as usize)).unwrap_or(u32::MAX);
        self.delay_step.saturating_mul(steps).min(self.longest_delay)
    }
}

/// Which brake a wrong try has closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brake {
    /// The caller is not listened to.
    Caller,
    /// No PIN of the meeting is listened to, whoever calls.
    Meeting,
    /// No call of the carrier that names its meeting is, but of who has named the same before.
    Carrier,
}

/// A brake that closes, after so many wrong tries within so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    pub brake: Brake,
    pub tries: usize,
    pub window: Duration,
}

/// Whose wrong tries, or what is known of whom.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tried {
    By(Caller),
    /// The PIN of a meeting, by whoever it was.
    At(MeetingId),
    /// By a number that is known at the meeting.
    Slipped(E164, MeetingId),
    /// By calls of a carrier that name their meeting.
    Of(CarrierId),
    /// By everybody together.
    Overall,
    /// The number is known at the meeting; the one moment is the last right PIN.
    Friend(E164, MeetingId),
    /// The number has named the meeting in what it called; the one moment is the last time.
    Named(E164, MeetingId),
}

/// What is to be known of somebody after a restart: the moments that count, the earliest first. None: no more than of a
/// stranger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptTries {
    pub tried: Tried,
    pub moments: Vec<Wall>,
    /// Counted by another node, which keeps it itself: it counts here, and is not kept here again.
    pub elsewhere: bool,
}

/// How long a number that was known at a meeting is known there after a restart: a brake that outlives it keeps no
/// organiser of today out.
pub const KNOWN_FOR: Duration = Duration::from_secs(86_400);

/// Brakes whose closing is told within a window: whoever makes numbers up closes as many as there are numbers.
const MOST_CLOSINGS: usize = 20;

/// Counts legs and wrong tries. Owned by the switchboard of one node.
#[derive(Debug)]
pub struct Guard {
    config: GuardConfig,
    places: HashMap<Scope, Place>,
    legs: HashMap<LegId, Vec<Scope>>,
    callers: Tries<Caller>,
    meetings: Tries<MeetingId>,
    /// Numbers from which the right PIN of a meeting came: others' guesses do not lock them out.
    friends: Friends,
    /// Wrong tries of those numbers at their meetings, which count apart.
    slips: Tries<(E164, MeetingId)>,
    overall: VecDeque<Mono>,
    guesses: Guesses,
    /// When brakes closed that were told of.
    closings: VecDeque<Mono>,
    /// Whose tries are not as they were when they were kept last; no more than are remembered.
    changed: BTreeSet<Tried>,
    elsewhere: Elsewhere,
}

/// What other nodes had counted when this one began: it counts here as if it had been tried here.
#[derive(Debug, Default)]
struct Elsewhere {
    learned: Mono,
    moments: BTreeMap<Tried, Vec<Mono>>,
}

impl Elsewhere {
    /// What is counted here, without what is counted there: else whoever adds all nodes up would count that twice.
    fn without(&self, tried: &Tried, mut moments: Vec<Mono>) -> Vec<Mono> {
        for at in self.moments.get(tried).into_iter().flatten() {
            if let Some(place) = moments.iter().position(|own| own == at) {
                moments.remove(place);
            }
        }
        moments
    }
}

/// What runs in one scope, and when its next call is due at an even pace (the generic cell rate algorithm: a token
/// bucket in one moment of time).
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    calls: u32,
    next_due: Mono,
}

const SECOND: Duration = Duration::from_secs(1);

impl Place {
    fn has_room(&self, now: Mono, limit: Limit) -> bool {
        let free = limit.max_calls.is_none_or(|most| self.calls < most);
        free && limit.max_calls_per_second.is_none_or(|rate| self.in_pace(now, rate))
    }

    fn in_pace(&self, now: Mono, rate: u32) -> bool {
        let Some(step) = SECOND.checked_div(rate) else { return false };
        self.next_due <= now + (SECOND - step)
    }

    fn take(&mut self, now: Mono, limit: Limit) {
        self.calls += 1;
        if let Some(step) = limit.max_calls_per_second.and_then(|rate| SECOND.checked_div(rate)) {
            self.next_due = self.next_due.max(now) + step;
        }
    }
}

impl Guard {
    pub fn new(config: GuardConfig) -> Guard {
        Guard {
            config,
            places: HashMap::new(),
            legs: HashMap::new(),
            callers: Tries::default(),
            meetings: Tries::default(),
            friends: Friends::default(),
            slips: Tries::default(),
            overall: VecDeque::new(),
            guesses: Guesses::default(),
            closings: VecDeque::new(),
            changed: BTreeSet::new(),
            elsewhere: Elsewhere::default(),
        }
    }

    /// Counts `leg` in all of `scopes`, or in none: the refusal names the first that has no room. May be called again when more of a leg is
    /// known (its payer, its meeting); a scope where it is counted already is not counted twice.
    pub fn enter(&mut self, now: Mono, leg: LegId, scopes: &[(Scope, Limit)]) -> Result<(), Cause> {
        let counted = self.legs.get(&leg).cloned().unwrap_or_default();
        let mut fresh: Vec<&(Scope, Limit)> = Vec::with_capacity(scopes.len());
        for wanted in scopes {
            if !counted.contains(&wanted.0) && !fresh.iter().any(|(scope, _)| *scope == wanted.0) {
                fresh.push(wanted);
            }
        }
        let place = |scope| self.places.get(scope).copied().unwrap_or_default();
        if let Some((full, _)) = fresh.iter().find(|(scope, limit)| !place(scope).has_room(now, *limit)) {
            return Err(full.refusal());
        }

        for (scope, limit) in fresh {
            self.places.entry(scope.clone()).or_default().take(now, *limit);
            self.legs.entry(leg).or_default().push(scope.clone());
        }
        Ok(())
    }

    /// The leg is in this scope no more: it goes by another carrier.
    pub fn step_out(&mut self, now: Mono, leg: LegId, scope: &Scope) {
        let Some(scopes) = self.legs.get_mut(&leg) else { return };
        let Some(at) = scopes.iter().position(|counted| counted == scope) else { return };
        let scope = scopes.swap_remove(at);
        self.vacate(now, &scope);
    }

    /// The leg is over. A leg that was never counted, or left before, changes nothing.
    pub fn leave(&mut self, now: Mono, leg: LegId) {
        for scope in self.legs.remove(&leg).unwrap_or_default() {
            self.vacate(now, &scope);
        }
    }

    fn vacate(&mut self, now: Mono, scope: &Scope) {
        let Some(place) = self.places.get_mut(scope) else { return };
        place.calls = place.calls.saturating_sub(1);
        if place.calls == 0 && place.next_due <= now {
            self.places.remove(scope);
        }
    }

    /// Legs counted in `scope` now.
    pub fn calls(&self, scope: &Scope) -> u32 {
        self.places.get(scope).map_or(0, |place| place.calls)
    }

    /// Whether this caller may try a conference ID, or a PIN of `meeting`. (The three tries of a call are counted by
    /// the lobby, which speaks with it.) Who has given the right PIN from this number before is held by their own slips
    /// at it alone: guesses of others, or under their number at other doors, do not keep an organiser out.
    pub fn may_try(&mut self, now: Mono, caller: &Caller, meeting: Option<&MeetingId>) -> Result<(), Cause> {
        let GuardConfig { tries_per_caller, tries_per_meeting, window, .. } = self.config;
        let held = if let Some(friend) = self.friend(caller, meeting) {
            self.slips.count(now, window, &friend) >= tries_per_caller as usize
        } else {
            let by_caller = self.callers.count(now, window, caller);
            let by_meeting = meeting.map_or(0, |meeting| self.meetings.count(now, window, meeting));
            by_caller >= self.tries_of(caller) || by_meeting >= tries_per_meeting as usize
        };
        if held { Err(Cause::TooManyTries) } else { Ok(()) }
    }

    /// A wrong conference ID, or a wrong PIN of `meeting`. Gives the brake that this one has closed.
    pub fn tried_in_vain(&mut self, now: Mono, caller: &Caller, meeting: Option<&MeetingId>) -> Option<Closing> {
        let was_open = self.may_try(now, caller, meeting).is_ok();
        self.count_try(now, caller, meeting);
        let most = self.most_overall();
        keep_last(&mut self.overall, now, most);
        self.has_changed(Tried::Overall);
        self.closing(now, caller, meeting, was_open)
    }

    /// The brake that the last wrong try has closed, if it is to be told.
    fn closing(&mut self, now: Mono, caller: &Caller, meeting: Option<&MeetingId>, was_open: bool) -> Option<Closing> {
        if !was_open || self.may_try(now, caller, meeting).is_ok() {
            return None;
        }
        let window = self.config.window;
        let most = self.config.tries_per_meeting as usize;
        let is_friend = self.friend(caller, meeting).is_some();
        let by_all = meeting.filter(|_| !is_friend).map_or(0, |meeting| self.meetings.count(now, window, meeting));
        let (brake, tries) = match by_all >= most && meeting.is_some() && !is_friend {
            true => (Brake::Meeting, most),
            false if is_friend => (Brake::Caller, self.config.tries_per_caller as usize),
            false => (Brake::Caller, self.tries_of(caller)),
        };
        // Meetings are as many as there are; numbers to call from can be made up, and hush no meeting's brake.
        if brake == Brake::Caller {
            forget_before(&mut self.closings, now, window);
            if self.closings.len() >= MOST_CLOSINGS {
                return None;
            }
            self.closings.push_back(now);
        }
        Some(Closing { brake, tries, window })
    }

    fn count_try(&mut self, now: Mono, caller: &Caller, meeting: Option<&MeetingId>) {
        let most = self.tries_of(caller);
        let mut noted = Vec::new();
        if let Some(friend) = self.friend(caller, meeting) {
            noted.push(Tried::Slipped(friend.0, friend.1.clone()));
            self.slips.note(now, friend, most);
        } else {
            noted.push(Tried::By(caller.clone()));
            self.callers.note(now, caller.clone(), most);
            if let Some(meeting) = meeting {
                noted.push(Tried::At(meeting.clone()));
                self.meetings.note(now, meeting.clone(), self.config.tries_per_meeting as usize);
            }
        }
        noted.into_iter().for_each(|tried| self.has_changed(tried));
    }

    /// Where too many have changed since the last were kept, the others are kept when they change again.
    fn has_changed(&mut self, tried: Tried) {
        if self.changed.len() < MAX_REMEMBERED {
            self.changed.insert(tried);
        }
    }

    /// What has changed since it was asked last, as it is to be kept: at most `most` of it, the rest the next time.
    pub fn to_keep(&mut self, now: Now, most: usize) -> Vec<KeptTries> {
        if now.mono.since(self.elsewhere.learned) >= self.config.window {
            // None of it counts any more.
            self.elsewhere.moments.clear();
        }
        let mut kept = Vec::new();
        while kept.len() < most
            && let Some(tried) = self.changed.pop_first()
        {
            let moments = match &tried {
                Tried::By(caller) => self.callers.moments(caller),
                Tried::At(meeting) => self.meetings.moments(meeting),
                Tried::Of(carrier) => self.guesses.of(carrier),
                Tried::Slipped(number, meeting) => self.slips.moments(&(*number, meeting.clone())),
                Tried::Overall => Some(&self.overall),
                Tried::Friend(..) | Tried::Named(..) => None,
            };
            let moments = match &tried {
                Tried::Friend(..) | Tried::Named(..) => vec![now.wall],
                _ => {
                    let all = moments.into_iter().flatten().copied().collect();
                    self.elsewhere.without(&tried, all).into_iter().map(|at| wall_of(now, at)).collect()
                }
            };
            kept.push(KeptTries { tried, moments, elsewhere: false });
        }
        kept
    }

    /// What an earlier life has kept, and other nodes, before the first try of this one. Moments of the future, by a clock that was put back,
    /// are now.
    pub fn remember(&mut self, now: Now, kept: Vec<KeptTries>) {
        let most = self.config.tries_per_caller as usize;
        let (by_meeting, overall) = (self.config.tries_per_meeting as usize, self.most_overall());
        let mut all: Vec<(Mono, Tried)> = Vec::new();
        self.elsewhere.learned = now.mono;
        for KeptTries { tried, moments, elsewhere } in kept {
            let window = match tried {
                Tried::Friend(..) | Tried::Named(..) => KNOWN_FOR,
                _ => self.config.window,
            };
            // By the wall: the machine may have started since, and its clock with it.
            let is_fresh = |at: &Wall| now.wall.micros().saturating_sub(at.micros()) < window.as_micros() as i64;
            let moments: Vec<Mono> = moments.into_iter().filter(is_fresh).map(|at| mono_of(now, at)).collect();
            all.extend(moments.iter().map(|at| (*at, tried.clone())));
            if elsewhere {
                self.elsewhere.moments.entry(tried).or_default().extend(moments);
            }
        }
        all.sort();
        for (at, tried) in all {
            match tried {
                Tried::Friend(number, meeting) => self.friends.know((number, meeting)),
                Tried::Named(number, meeting) => self.guesses.right(&Caller::Number(number), &meeting),
                Tried::By(caller) => {
                    let most = self.tries_of(&caller);
                    self.callers.note(at, caller, most);
                }
                Tried::At(meeting) => self.meetings.note(at, meeting, by_meeting),
                Tried::Of(carrier) => self.guesses.wrong(at, &self.config, &carrier),
                Tried::Slipped(number, meeting) => self.slips.note(at, (number, meeting), most),
                Tried::Overall => keep_last(&mut self.overall, at, overall),
            }
        }
    }

    /// The right PIN of `meeting`: this number is known there from now on.
    pub fn let_in(&mut self, caller: &Caller, meeting: &MeetingId) {
        if let Caller::Number(number) = caller {
            self.friends.know((*number, meeting.clone()));
            self.has_changed(Tried::Friend(*number, meeting.clone()));
        }
    }

    /// Whether a call of a carrier may name its meeting: `meeting`, if there is one that it names.
    pub fn may_name(
        &mut self,
        now: Mono,
        (carrier, caller): (&CarrierId, &Caller),
        meeting: Option<&MeetingId>,
    ) -> Result<(), Cause> {
        self.may_try(now, caller, None)?;
        self.guesses.may(now, &self.config, (carrier, caller), meeting)
    }

    /// Such a call has named none. It counts for its caller as if it had been typed; beyond that, for its carrier alone.
    pub fn named_in_vain(&mut self, now: Mono, (carrier, caller): (&CarrierId, &Caller)) -> Option<Closing> {
        let GuardConfig { window, tries_per_carrier, .. } = self.config;
        let was_open = self.may_try(now, caller, None).is_ok();
        let was_barred = self.guesses.is_barred(now, &self.config, carrier);
        self.count_try(now, caller, None);
        self.guesses.wrong(now, &self.config, carrier);
        self.has_changed(Tried::Of(carrier.clone()));
        if !was_barred && self.guesses.is_barred(now, &self.config, carrier) {
            return Some(Closing { brake: Brake::Carrier, tries: tries_per_carrier as usize, window });
        }
        self.closing(now, caller, None, was_open)
    }

    /// Such a call has named none, and was not listened to. It counts for its caller, by which those who have named a meeting
    /// before, or say so, guess no more than others; not for the carrier, whose callers would wait for as long as one goes on.
    pub fn named_unheard(&mut self, now: Mono, caller: &Caller) {
        self.count_try(now, caller, None);
    }

    /// Such a call has named a meeting that there is.
    pub fn named(&mut self, caller: &Caller, meeting: &MeetingId) {
        self.guesses.right(caller, meeting);
        if let Caller::Number(number) = caller {
            self.has_changed(Tried::Named(*number, meeting.clone()));
        }
    }

    /// How much later than usual such a call is looked at, right or wrong: it grows with the wrong ones of its carrier.
    pub fn naming_delay(
        &mut self,
        now: Mono,
        (carrier, caller): (&CarrierId, &Caller),
        meeting: Option<&MeetingId>,
    ) -> Duration {
        self.guesses.delay(now, &self.config, (carrier, caller), meeting)
    }

    fn friend(&self, caller: &Caller, meeting: Option<&MeetingId>) -> Option<(E164, MeetingId)> {
        let Caller::Number(number) = caller else { return None };
        let both = (*number, meeting?.clone());
        self.friends.knows(&both).then_some(both)
    }

    fn tries_of(&self, caller: &Caller) -> usize {
        let most = self.config.tries_per_caller as usize;
        match caller {
            Caller::Number(_) => most,
            Caller::Withheld(_) => most.div_ceil(2),
        }
    }

    /// How much later than usual a try that is typed is answered, right or wrong: it grows with the wrong ones of everybody.
    pub fn delay(&mut self, now: Mono) -> Duration {
        forget_before(&mut self.overall, now, self.config.window);
        self.config.delay_beyond(self.overall.len(), self.config.tries_overall)
    }

    /// More than this many moments make no answer slower.
    fn most_overall(&self) -> usize {
        let steps = self.config.longest_delay.as_millis().div_ceil(self.config.delay_step.as_millis().max(1));
        self.config.tries_overall as usize + usize::try_from(steps).unwrap_or(MAX_REMEMBERED).min(MAX_REMEMBERED)
    }
}

/// Numbers known at meetings; the one known longest is forgotten first.
#[derive(Debug, Default)]
pub(super) struct Friends {
    known: HashSet<(E164, MeetingId)>,
    in_order: VecDeque<(E164, MeetingId)>,
}

impl Friends {
    pub fn knows(&self, friend: &(E164, MeetingId)) -> bool {
        self.known.contains(friend)
    }

    pub fn know(&mut self, friend: (E164, MeetingId)) {
        if !self.known.insert(friend.clone()) {
            return;
        }
        self.in_order.push_back(friend);
        if self.in_order.len() > MAX_REMEMBERED
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

/// The last wrong tries of each of many; the one whose last try is the oldest is forgotten first.
#[derive(Debug)]
pub(super) struct Tries<K> {
    at: HashMap<K, VecDeque<Mono>>,
    by_age: BTreeSet<(Mono, K)>,
}

impl<K> Default for Tries<K> {
    fn default() -> Tries<K> {
        Tries { at: HashMap::new(), by_age: BTreeSet::new() }
    }
}

impl<K: Clone + Eq + Ord + Hash> Tries<K> {
    /// Those that count, and maybe some that do no more; the earliest first.
    pub fn moments(&self, key: &K) -> Option<&VecDeque<Mono>> {
        self.at.get(key)
    }

    pub fn count(&mut self, now: Mono, window: Duration, key: &K) -> usize {
        let Some(moments) = self.at.get_mut(key) else { return 0 };
        let last = moments.back().copied();
        forget_before(moments, now, window);
        let count = moments.len();
        if count == 0 {
            self.at.remove(key);
            self.by_age.remove(&(last.unwrap_or_default(), key.clone()));
        }
        count
    }

    pub fn note(&mut self, now: Mono, key: K, most: usize) {
        let moments = self.at.entry(key.clone()).or_default();
        if let Some(last) = moments.back() {
            self.by_age.remove(&(*last, key.clone()));
        }
        keep_last(moments, now, most.max(1));
        self.by_age.insert((now, key));
        if self.at.len() > MAX_REMEMBERED
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.at.remove(&oldest);
        }
    }
}

/// A moment of before, as people see it.
fn wall_of(now: Now, at: Mono) -> Wall {
    let ago = i64::try_from(now.mono.since(at).as_micros()).unwrap_or(i64::MAX);
    Wall::from_micros(now.wall.micros().saturating_sub(ago))
}

/// A moment of before as this process measures it; before the machine was started, its start.
fn mono_of(now: Now, at: Wall) -> Mono {
    let ago = u64::try_from(now.wall.micros().saturating_sub(at.micros())).unwrap_or(0);
    now.mono - Duration::from_micros(ago)
}

fn keep_last(moments: &mut VecDeque<Mono>, now: Mono, most: usize) {
    moments.push_back(now);
    while moments.len() > most {
        moments.pop_front();
    }
}

fn forget_before(moments: &mut VecDeque<Mono>, now: Mono, window: Duration) {
    while moments.front().is_some_and(|at| now.since(*at) >= window) {
        moments.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leg(id: u128) -> LegId {
        LegId::from_u128(id)
    }

    fn at(millis: u64) -> Mono {
        Mono::from_millis(millis)
    }

    fn number(e164: &E164) -> Caller {
        Caller::Number(*e164)
    }

    fn withheld(carrier: &str) -> Caller {
        Caller::Withheld(carrier.parse().unwrap())
    }

    fn acme() -> Scope {
        Scope::Organisation("acme".parse().unwrap())
    }

    fn carrier() -> Scope {
        Scope::Carrier("carrier".parse().unwrap())
    }

    fn calls(most: u32) -> Limit {
        Limit { max_calls: Some(most), max_calls_per_second: None }
    }

    fn pace(rate: u32) -> Limit {
        Limit { max_calls: None, max_calls_per_second: Some(rate) }
    }

    fn now(seconds: u64) -> Now {
        Now { mono: at(seconds * 1_000), wall: Wall::from_seconds(1_700_000_000 + seconds as i64) }
    }

    /// What another process knows that was told all that this one kept. (Its machine was started a day before this one's.)
    fn reborn(guard: &mut Guard, at: Now) -> (Guard, impl Fn(u64) -> Mono + use<>) {
        let day = Duration::from_secs(86_400);
        let mut kept = Vec::new();
        while let Some(one) = guard.to_keep(at, 1).pop() {
            kept.retain(|known: &KeptTries| known.tried != one.tried);
            kept.push(one);
        }
        let mut other = Guard::new(GuardConfig::default());
        other.remember(Now { mono: at.mono + day, wall: at.wall }, kept);
        (other, move |seconds| now(seconds).mono + day)
    }

    #[test]
    fn a_restart_is_no_amnesty_and_no_longer_than_the_brake() {
        let mut guard = Guard::new(GuardConfig::default());
        let (thief, hidden) = (number(&"+393331234567".parse().unwrap()), withheld("acme"));
        let studio: MeetingId = "studio".parse().unwrap();
        for second in 0..10 {
            guard.tried_in_vain(now(second).mono, &thief, None);
        }
        for second in 0..4 {
            guard.tried_in_vain(now(second).mono, &hidden, Some(&studio));
        }
        let (mut other, at) = reborn(&mut guard, now(100));
        assert_eq!(other.may_try(at(100), &thief, None), Err(Cause::TooManyTries));
        assert_eq!(other.may_try(at(3_599), &thief, None), Err(Cause::TooManyTries));
        assert_eq!(other.may_try(at(3_600), &thief, None), Ok(()), "the first of ten is an hour ago");
        // What was begun is gone on with.
        let (mut other, at) = reborn(&mut guard, now(100));
        assert!(other.may_try(at(100), &hidden, Some(&studio)).is_ok(), "nothing has changed since: nothing was kept");
        guard.tried_in_vain(now(101).mono, &hidden, Some(&studio));
        let (mut other, at) = reborn(&mut guard, now(102));
        assert_eq!(other.may_try(at(102), &hidden, Some(&studio)), Err(Cause::TooManyTries));
    }

    /// Two nodes beside each other: what each begins with counts all tries once, however often both begin anew and keep.
    #[test]
    fn what_another_node_counts_is_counted_once() {
        let thief = number(&"+393331234567".parse().unwrap());
        let mut store: [Vec<KeptTries>; 2] = Default::default();
        let mut second = 0;
        let mut live = |node: usize, tries: u64, store: &mut [Vec<KeptTries>; 2]| {
            let known = (0..2).flat_map(|of| store[of].iter().cloned().map(move |kept| (of, kept)));
            let known = known.map(|(of, kept)| KeptTries { elsewhere: of != node, ..kept }).collect();
            let mut guard = Guard::new(GuardConfig::default());
            guard.remember(now(second), known);
            for _ in 0..tries {
                assert_eq!(guard.may_try(now(second).mono, &thief, None), Ok(()), "after {second}");
                guard.tried_in_vain(now(second).mono, &thief, None);
                second += 1;
            }
            for kept in guard.to_keep(now(second), 100) {
                store[node].retain(|known| known.tried != kept.tried);
                store[node].push(kept);
            }
            guard.may_try(now(second).mono, &thief, None).is_ok()
        };
        for (node, tries) in [(0, 2), (1, 2), (0, 1), (1, 1), (0, 2), (1, 1)] {
            assert!(live(node, tries, &mut store), "nine in all are one too few");
        }
        assert!(!live(0, 1, &mut store), "ten");
        assert!(!live(1, 0, &mut store), "for the other too");
        let by = |kept: &Vec<KeptTries>| {
            kept.iter().find(|kept| kept.tried == Tried::By(thief.clone())).unwrap().moments.len()
        };
        assert_eq!(store.each_ref().map(by), [6, 4], "each keeps its own");
    }

    /// A machine that has just started has a clock that began with it: what is of yesterday is not of today by that.
    #[test]
    fn a_machine_that_starts_anew_closes_no_brake_of_yesterday() {
        let mut guard = Guard::new(GuardConfig::default());
        let thief = number(&"+393331234567".parse().unwrap());
        for second in 0..10 {
            guard.tried_in_vain(now(second).mono, &thief, None);
        }
        let kept = guard.to_keep(now(20), 100);
        for (later, held) in [(3_000, true), (7_200, false), (80_000, false)] {
            let mut other = Guard::new(GuardConfig::default());
            let booted = Now { mono: at(40_000), wall: now(later).wall };
            other.remember(booted, kept.clone());
            assert_eq!(other.may_try(booted.mono, &thief, None).is_err(), held, "{later} s later");
        }
    }

    /// All that is counted is as it was: by caller, by meeting, of everybody; and an organiser whom no brake held is not held.
    #[test]
    fn what_is_counted_is_the_same_after_a_restart() {
        let mut guard = Guard::new(GuardConfig::default());
        let studio: MeetingId = "studio".parse().unwrap();
        let organiser = number(&"+393331234567".parse().unwrap());
        guard.let_in(&organiser, &studio);
        for n in 0..130_u64 {
            let caller = number(&format!("+39061{n:06}").parse().unwrap());
            guard.tried_in_vain(now(n).mono, &caller, Some(&studio));
        }
        for second in 130..139 {
            guard.tried_in_vain(now(second).mono, &organiser, Some(&studio));
        }
        let delay = guard.delay(now(200).mono);
        assert!(delay > Duration::ZERO);
        guard.named(&organiser, &studio);
        let evil: CarrierId = "evil".parse().unwrap();
        for n in 0..130_u64 {
            let caller = number(&format!("+39062{n:06}").parse().unwrap());
            guard.named_in_vain(now(150).mono, (&evil, &caller));
        }
        let by_name = guard.naming_delay(now(200).mono, (&evil, &organiser), None);
        assert!(by_name > Duration::ZERO);
        let (mut other, at) = reborn(&mut guard, now(200));
        assert_eq!(other.delay(at(200)), delay);
        assert_eq!(other.naming_delay(at(200), (&evil, &organiser), None), by_name);
        assert_eq!(other.naming_delay(at(200), (&evil, &organiser), Some(&studio)), Duration::ZERO, "named before");
        let stranger = number(&"+390620000000".parse().unwrap());
        assert_eq!(other.may_try(at(200), &stranger, Some(&studio)), Err(Cause::TooManyTries));
        assert_eq!(other.may_try(at(200), &organiser, Some(&studio)), Ok(()), "known there");
        other.tried_in_vain(at(201), &organiser, Some(&studio));
        assert_eq!(other.may_try(at(201), &organiser, Some(&studio)), Err(Cause::TooManyTries), "with ten slips");
        assert_eq!(other.may_try(at(3_900), &stranger, Some(&studio)), Ok(()));
    }

    #[test]
    fn no_more_is_kept_at_once_than_is_asked_for_or_remembered() {
        let mut guard = Guard::new(GuardConfig::default());
        for n in 0..2 * MAX_REMEMBERED as u64 {
            guard.tried_in_vain(now(1).mono, &number(&format!("+39{n:09}").parse().unwrap()), None);
        }
        assert!(guard.changed.len() <= MAX_REMEMBERED);
        assert_eq!(guard.to_keep(now(2), 100).len(), 100);
        // A clock that was put back lengthens no brake beyond its window from now on.
        let later = KeptTries {
            tried: Tried::By(number(&"+393331234567".parse().unwrap())),
            moments: vec![now(90_000).wall; 10],
            elsewhere: false,
        };
        let mut other = Guard::new(GuardConfig::default());
        other.remember(now(0), vec![later]);
        assert!(other.may_try(now(3_599).mono, &number(&"+393331234567".parse().unwrap()), None).is_err());
        assert!(other.may_try(now(3_600).mono, &number(&"+393331234567".parse().unwrap()), None).is_ok());
    }

    #[test]
    fn a_leg_is_counted_everywhere_or_nowhere() {
        let mut guard = Guard::new(GuardConfig::default());
        let both = [(carrier(), calls(5)), (acme(), calls(1))];
        assert_eq!(guard.enter(at(0), leg(1), &both), Ok(()));
        assert_eq!(guard.enter(at(0), leg(2), &both), Err(Cause::LimitReached));
        assert_eq!((guard.calls(&carrier()), guard.calls(&acme())), (1, 1));
        guard.leave(at(1), leg(1));
        guard.leave(at(1), leg(1));
        guard.leave(at(1), leg(9));
        assert_eq!((guard.calls(&carrier()), guard.calls(&acme())), (0, 0));
        assert_eq!(guard.enter(at(2), leg(2), &both), Ok(()));
    }

    #[test]
    fn a_leg_whose_payer_becomes_known_is_counted_once_a_scope() {
        let mut guard = Guard::new(GuardConfig::default());
        guard.enter(at(0), leg(1), &[(carrier(), calls(1))]).unwrap();
        guard.enter(at(9), leg(1), &[(carrier(), calls(1)), (acme(), calls(1)), (acme(), calls(1))]).unwrap();
        assert_eq!((guard.calls(&carrier()), guard.calls(&acme())), (1, 1));
    }

    #[test]
    fn new_calls_come_at_a_pace_with_one_burst() {
        let mut guard = Guard::new(GuardConfig::default());
        let mut let_in = |millis: u64, id: u128| guard.enter(at(millis), leg(id), &[(carrier(), pace(4))]).is_ok();
        assert_eq!((0..6).map(|id| let_in(10_000, id)).collect::<Vec<_>>(), [true, true, true, true, false, false]);
        assert!(!let_in(10_249, 10));
        assert!(let_in(10_250, 11));
        assert!(!let_in(10_250, 12));
        assert_eq!((20..26).filter(|id| let_in(20_000, *id)).count(), 4);
    }

    #[test]
    fn zero_lets_nobody_in() {
        let mut guard = Guard::new(GuardConfig::default());
        assert!(guard.enter(at(0), leg(1), &[(carrier(), calls(0))]).is_err());
        assert!(guard.enter(at(0), leg(1), &[(carrier(), pace(0))]).is_err());
    }

    #[test]
    fn a_caller_guesses_ten_times_an_hour() {
        let mut guard = Guard::new(GuardConfig::default());
        let caller: E164 = "+393331234567".parse().unwrap();
        for minute in 0..10 {
            assert_eq!(guard.may_try(at(minute * 60_000), &number(&caller), None), Ok(()));
            guard.tried_in_vain(at(minute * 60_000), &number(&caller), None);
        }
        assert_eq!(guard.may_try(at(3_599_999), &number(&caller), None), Err(Cause::TooManyTries));
        assert_eq!(guard.may_try(at(3_599_999), &withheld("carrier"), None), Ok(()));
        assert_eq!(guard.may_try(at(3_600_000), &number(&caller), None), Ok(()));
        guard.tried_in_vain(at(3_600_000), &number(&caller), None);
        assert_eq!(guard.may_try(at(3_600_001), &number(&caller), None), Err(Cause::TooManyTries));
    }

    #[test]
    fn a_meeting_is_guessed_at_twenty_times_an_hour_by_all_together() {
        let mut guard = Guard::new(GuardConfig::default());
        let meeting: MeetingId = "standup".parse().unwrap();
        for i in 0..20 {
            let caller = E164::from_digits(&format!("39333000{i:04}")).unwrap();
            assert_eq!(guard.may_try(at(i), &number(&caller), Some(&meeting)), Ok(()));
            guard.tried_in_vain(at(i), &number(&caller), Some(&meeting));
        }
        let fresh = "+390612345678".parse().unwrap();
        assert_eq!(guard.may_try(at(99), &number(&fresh), Some(&meeting)), Err(Cause::TooManyTries));
        assert_eq!(guard.may_try(at(99), &number(&fresh), Some(&"other".parse().unwrap())), Ok(()));
    }

    #[test]
    fn who_withholds_the_number_has_half_the_tries_for_all_of_them_by_one_carrier() {
        let mut guard = Guard::new(GuardConfig::default());
        for _ in 0..5 {
            assert_eq!(guard.may_try(at(0), &withheld("carrier"), None), Ok(()));
            guard.tried_in_vain(at(0), &withheld("carrier"), None);
        }
        assert_eq!(guard.may_try(at(3_599_999), &withheld("carrier"), None), Err(Cause::TooManyTries));
        assert_eq!(guard.may_try(at(3_599_999), &withheld("other"), None), Ok(()));
        assert_eq!(guard.may_try(at(3_600_000), &withheld("carrier"), None), Ok(()));
    }

    /// The try that closes a brake says so, once while it stays closed, and says which; and there is an end to what is told.
    #[test]
    fn a_brake_that_closes_is_told_once() {
        let mut guard = Guard::new(GuardConfig::default());
        let window = Duration::from_secs(3_600);
        let (board, caller): (MeetingId, E164) = ("board".parse().unwrap(), "+390612345678".parse().unwrap());
        let tries = |guard: &mut Guard, from: u64, caller: &Caller, meeting: Option<&MeetingId>, count: u64| {
            (0..count).map(|n| guard.tried_in_vain(at(from + n), caller, meeting)).collect::<Vec<_>>()
        };
        let by_caller = |tries| Some(Closing { brake: Brake::Caller, tries, window });
        let told = tries(&mut guard, 0, &number(&caller), None, 30);
        assert_eq!((told.iter().flatten().count(), told[9]), (1, by_caller(10)));
        let told = tries(&mut guard, 0, &withheld("carrier"), None, 30);
        assert_eq!((told.iter().flatten().count(), told[4]), (1, by_caller(5)));
        let mut told = Vec::new();
        for n in 0..30_u64 {
            let other = E164::from_digits(&format!("39333000{n:04}")).unwrap();
            told.push(guard.tried_in_vain(at(100 + n), &number(&other), Some(&board)));
        }
        let of_meeting = Closing { brake: Brake::Meeting, tries: 20, window };
        assert_eq!((told.iter().flatten().count(), told[19]), (1, Some(of_meeting)));
        // Later, when it is open again.
        let told = tries(&mut guard, 4_000_000, &number(&caller), None, 10);
        assert_eq!(told[9], by_caller(10));

        let mut told = 0;
        for n in 0..200_u64 {
            let other = E164::from_digits(&format!("39444000{n:04}")).unwrap();
            told += tries(&mut guard, 9_000_000, &number(&other), None, 10).iter().flatten().count();
        }
        assert_eq!(told, MOST_CLOSINGS);
    }

    /// Ten thousand guesses by a hundred numbers in an hour, all at one meeting, some under the organiser's own number:
    /// twenty are listened to, ten more under that number, and the organiser still comes in.
    #[test]
    fn a_crowd_that_guesses_gets_twenty_tries_and_does_not_keep_the_organiser_out() {
        let mut guard = Guard::new(GuardConfig::default());
        let meeting: MeetingId = "board".parse().unwrap();
        let anna: E164 = "+390699999999".parse().unwrap();
        guard.let_in(&number(&anna), &meeting);
        let mut heard = 0;
        for guess in 0..10_000_u64 {
            let caller = E164::from_digits(&format!("39333000{:04}", guess % 100)).unwrap();
            if guard.may_try(at(guess * 300), &number(&caller), Some(&meeting)).is_ok() {
                heard += 1;
                guard.tried_in_vain(at(guess * 300), &number(&caller), Some(&meeting));
            }
        }
        assert_eq!(heard, 20);
        let now = 3_000_000;
        assert_eq!(guard.may_try(at(now), &number(&anna), Some(&meeting)), Ok(()));
        let stranger = "+390611111111".parse().unwrap();
        assert_eq!(guard.may_try(at(now), &number(&stranger), Some(&meeting)), Err(Cause::TooManyTries));
        // Her number, shown by somebody else: ten guesses an hour, and the lock lifts by itself.
        let borrowed = (0..1_000).filter(|_| {
            let heard = guard.may_try(at(now), &number(&anna), Some(&meeting)).is_ok();
            if heard {
                guard.tried_in_vain(at(now), &number(&anna), Some(&meeting));
            }
            heard
        });
        assert_eq!(borrowed.count(), 10);
        assert_eq!(guard.may_try(at(now + 3_600_000), &number(&anna), Some(&meeting)), Ok(()));
        assert_eq!(guard.may_try(at(now + 3_600_000), &number(&stranger), Some(&meeting)), Ok(()));
    }

    #[test]
    fn friends_are_bounded() {
        let mut guard = Guard::new(GuardConfig::default());
        let meeting: MeetingId = "board".parse().unwrap();
        for n in 0..MAX_REMEMBERED + 10 {
            guard.let_in(&number(&E164::from_digits(&format!("39333{n:07}")).unwrap()), &meeting);
        }
        assert_eq!((guard.friends.known.len(), guard.friends.in_order.len()), (MAX_REMEMBERED, MAX_REMEMBERED));
    }

    #[test]
    fn each_limit_names_itself_and_a_block_is_one_for_all_its_numbers() {
        let mut guard = Guard::new(GuardConfig::default());
        let organisation: OrganisationId = "acme".parse().unwrap();
        let to = |digits: &str| Scope::block(organisation.clone(), &E164::from_digits(digits).unwrap());
        for n in 0..3 {
            let block = [(to(&format!("88161234567{n}")), calls(3))];
            assert_eq!(guard.enter(at(0), leg(n), &block), Ok(()));
        }
        assert_eq!(guard.enter(at(0), leg(9), &[(to("881612000000"), calls(3))]), Err(Cause::PrefixLimit));
        assert_eq!(guard.enter(at(0), leg(9), &[(to("881613000000"), calls(3))]), Ok(()));
        let organiser = Scope::Organiser("anna".parse().unwrap());
        let meeting = Scope::Meeting("board".parse().unwrap());
        for (scope, cause) in [
            (acme(), Cause::LimitReached),
            (carrier(), Cause::LimitReached),
            (organiser, Cause::OrganiserLimit),
            (meeting, Cause::MeetingLimit),
        ] {
            assert_eq!(guard.enter(at(0), leg(10), &[(scope.clone(), calls(0))]), Err(cause));
            assert_eq!(guard.enter(at(0), leg(10), &[(scope, pace(0))]), Err(cause));
        }
    }

    #[test]
    fn answers_slow_down_when_everybody_guesses() {
        let mut guard = Guard::new(GuardConfig::default());
        for _ in 0..100 {
            guard.tried_in_vain(at(0), &withheld("carrier"), None);
        }
        assert_eq!(guard.delay(at(0)), Duration::ZERO);
        guard.tried_in_vain(at(0), &withheld("carrier"), None);
        assert_eq!(guard.delay(at(0)), Duration::from_millis(100));
        for _ in 0..10_000 {
            guard.tried_in_vain(at(1), &withheld("carrier"), None);
        }
        assert_eq!(guard.delay(at(1)), Duration::from_secs(10));
        assert!(guard.overall.len() <= 200);
        assert_eq!(guard.delay(at(3_600_001)), Duration::ZERO);
    }

    #[test]
    fn the_tables_are_bounded_and_the_oldest_is_forgotten() {
        let mut guard = Guard::new(GuardConfig { tries_per_caller: 1, ..GuardConfig::default() });
        let caller = |i: usize| E164::from_digits(&format!("39333{i:07}")).unwrap();
        for i in 0..MAX_REMEMBERED + 10 {
            guard.tried_in_vain(at(i as u64), &number(&caller(i)), None);
        }
        assert_eq!(guard.callers.at.len(), MAX_REMEMBERED);
        assert_eq!(guard.callers.by_age.len(), MAX_REMEMBERED);
        assert!(guard.may_try(at(20_000), &number(&caller(0)), None).is_ok());
        assert!(guard.may_try(at(20_000), &number(&caller(10)), None).is_err());
    }

    proptest! {
        #[test]
        fn counts_equal_what_entered_less_what_left(steps in proptest::collection::vec((0u128..12, any::<bool>(), any::<bool>()), 0..200)) {
            let mut guard = Guard::new(GuardConfig::default());
            let mut model: HashMap<u128, BTreeSet<Scope>> = HashMap::new();
            for (i, (id, coming, paid)) in steps.into_iter().enumerate() {
                let now = at(i as u64 * 100);
                if coming {
                    let mut scopes = vec![(carrier(), calls(6))];
                    scopes.extend(paid.then(|| (acme(), calls(3))));
                    if guard.enter(now, leg(id), &scopes).is_ok() {
                        model.entry(id).or_default().extend(scopes.into_iter().map(|(scope, _)| scope));
                    }
                } else {
                    guard.leave(now, leg(id));
                    model.remove(&id);
                }
                for (scope, most) in [(carrier(), 6), (acme(), 3)] {
                    let counted = model.values().filter(|scopes| scopes.contains(&scope)).count() as u32;
                    prop_assert_eq!(guard.calls(&scope), counted);
                    prop_assert!(counted <= most);
                }
            }
        }
    }
}
