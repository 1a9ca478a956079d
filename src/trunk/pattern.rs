//! Patterns that fraud is known by. What legs do goes in, alarms come out: they warn, and block nothing. A machine without
//! clock or wires: time comes with each event, memory is bounded, and what is forgotten for want of room is counted.

use crate::clock::{Mono, Now};
use crate::types::{CarrierId, Country, E164, MeetingId, OrganisationId};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

/// Subjects (callers, blocks of numbers, …) that one pattern remembers: some MB at the most, each with so many moments.
const MOST_SUBJECTS: usize = 4_096;
const MOST_MOMENTS: usize = 256;
/// A block of numbers that may be one thief's: so many first digits.
const BLOCK_DIGITS: usize = 6;
/// Lengths of calls are alike when they differ by no more than one part in so many, or by this.
const ALIKE_PART: u64 = 20;
const ALIKE_MS: u64 = 3_000;
/// A call that is shorter is a wrong number, or a fax: its length says nothing.
const SHORTEST_MS: u64 = 30_000;
/// A caller who sits before the door for so long does not look for the number of the meeting.
const LONG_LOBBY_MS: u64 = 20_000;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// From how much on something is a pattern. At night and on weekends half of each is enough for calls out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PatternConfig {
    /// Whether anything is looked at.
    pub on: bool,
    /// Calls out of an organisation within an hour to a country that it never called so before.
    pub new_country_calls: u32,
    /// … to one block of numbers.
    pub block_calls: u32,
    /// Calls to one block of numbers that are equally long.
    pub alike_calls: u32,
    /// Numbers called within an hour that follow one upon the other.
    pub sequence_numbers: u32,
    /// Calls out of an organisation within a minute.
    pub calls_a_minute: u32,
    /// Minutes to one block of numbers within an hour.
    pub block_minutes: u32,
    /// Calls of one caller to toll-free numbers within an hour that sit before the door and join no meeting; and of all
    /// callers of one carrier.
    pub pumping_calls: u32,
    pub pumping_calls_of_carrier: u32,
    /// Minutes that a meeting of phones has no organiser, at night or on a weekend.
    pub free_conference_minutes: u32,
    /// Wrong conference IDs and PINs within an hour by one carrier, whoever calls.
    pub sweep_tries: u32,
}

impl Default for PatternConfig {
    fn default() -> PatternConfig {
        PatternConfig {
            on: true,
            new_country_calls: 4,
            block_calls: 10,
            alike_calls: 6,
            sequence_numbers: 5,
            calls_a_minute: 30,
            block_minutes: 240,
            pumping_calls: 6,
            pumping_calls_of_carrier: 40,
            free_conference_minutes: 120,
            sweep_tries: 50,
        }
    }
}

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern {
    NewCountry,
    OneBlock,
    AlikeCalls,
    Sequence,
    CallsAMinute,
    BlockMinutes,
    Pumping,
    CarrierPumping,
    FreeConference,
    PinSweep,
    HotCaller,
}

impl Pattern {
    pub const fn slug(self) -> &'static str {
        match self {
            Pattern::NewCountry => "new-country",
            Pattern::OneBlock => "one-block",
            Pattern::AlikeCalls => "alike-calls",
            Pattern::Sequence => "sequence",
            Pattern::CallsAMinute => "calls-a-minute",
            Pattern::BlockMinutes => "block-minutes",
            Pattern::Pumping => "pumping",
            Pattern::CarrierPumping => "carrier-pumping",
            Pattern::FreeConference => "free-conference",
            Pattern::PinSweep => "pin-sweep",
            Pattern::HotCaller => "hot-caller",
        }
    }
}

impl Pattern {
    /// Money runs to numbers by which somebody earns: none is fetched for that. The others may be a busy day.
    pub const DRAINS: [Pattern; 4] = [Pattern::OneBlock, Pattern::AlikeCalls, Pattern::Sequence, Pattern::BlockMinutes];
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.slug())
    }
}

/// What legs did. `quiet`: at night or on a weekend of the organisation's.
#[derive(Clone, Debug)]
pub enum Sight {
    /// A call out is made. `abroad`: the country, where it is not the organisation's own.
    Dialled { organisation: OrganisationId, to: E164, abroad: Option<Country>, quiet: bool },
    /// It is over, after so long from its answer.
    DialledOver { organisation: OrganisationId, to: E164, elapsed_ms: u64, quiet: bool },
    /// A call in to a toll-free number is over that came to no meeting.
    NeverJoined { carrier: CarrierId, caller: Option<E164>, elapsed_ms: u64 },
    /// A wrong conference ID or PIN.
    WrongTry { carrier: CarrierId },
    /// A caller shows a number that is known from fraud. What a caller shows may be forged: the call is taken as any other.
    HotCaller { carrier: CarrierId, caller: E164 },
    /// A meeting of phones alone goes on.
    Meeting { meeting: MeetingId, organisation: OrganisationId, organiser: bool, quiet: bool },
    /// It is over.
    MeetingOver { meeting: MeetingId },
}

/// Something to warn of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alarm {
    pub pattern: Pattern,
    /// Whose money; `None`: the house's affair.
    pub organisation: Option<OrganisationId>,
    /// The same for the same pattern, whom it is about and the period (the day; a new country: for ever).
    pub key: String,
    /// In words.
    pub detail: String,
}

/// The watchman.
#[derive(Debug)]
pub struct Patterns {
    config: PatternConfig,
    seen: BTreeMap<Pattern, Seen>,
    /// Subjects forgotten for want of room.
    forgotten: u64,
}

impl Patterns {
    pub fn new(config: PatternConfig) -> Patterns {
        Patterns { config, seen: BTreeMap::new(), forgotten: 0 }
    }

    /// How many subjects were forgotten for want of room, all told.
    pub const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Looks at what happened, and tells what it makes together with what was seen before.
    pub fn look(&mut self, now: Now, sight: &Sight) -> Vec<Alarm> {
        if !self.config.on {
            return Vec::new();
        }
        match sight {
            Sight::Dialled { organisation, to, abroad, quiet } => self.dialled(now, organisation, to, *abroad, *quiet),
            Sight::DialledOver { organisation, to, elapsed_ms, quiet } => {
                self.dialled_over(now, organisation, to, *elapsed_ms, *quiet)
            }
            Sight::NeverJoined { carrier, caller, elapsed_ms } => {
                self.never_joined(now, carrier, caller.as_ref(), *elapsed_ms)
            }
            Sight::WrongTry { carrier } => {
                let most = self.config.sweep_tries;
                let alarm = self.count(now, Pattern::PinSweep, None, carrier.as_str(), HOUR, most);
                let detail =
                    |count| format!("{count} wrong conference IDs or PINs within an hour by carrier {carrier}.");
                alarm.map(|found| found.told(detail)).into_iter().collect()
            }
            Sight::HotCaller { carrier, caller } => self.hot_caller(now, carrier, caller).into_iter().collect(),
            Sight::Meeting { meeting, organisation, organiser, quiet } => {
                self.meeting(now, meeting, organisation, *organiser, *quiet).into_iter().collect()
            }
            Sight::MeetingOver { meeting } => {
                self.table(Pattern::FreeConference).remove(meeting.as_str());
                Vec::new()
            }
        }
    }

    fn dialled(
        &mut self,
        now: Now,
        organisation: &OrganisationId,
        to: &E164,
        abroad: Option<Country>,
        quiet: bool,
    ) -> Vec<Alarm> {
        let config = self.config;
        let (own, block) = (Some(organisation), block_of(to));
        let mut alarms = Vec::new();
        if let Some(country) = abroad {
            let most = less(config.new_country_calls, quiet);
            let found = self.count(now, Pattern::NewCountry, own, country.as_str(), HOUR, most);
            alarms.extend(found.map(|found| {
                let told =
                    |count| format!("{count} calls within an hour to {country}, where none like this went before.");
                Alarm { key: found.key_for_ever(), ..found.told(told) }
            }));
        }
        let found = self.count(now, Pattern::OneBlock, own, &block, HOUR, less(config.block_calls, quiet));
        alarms.extend(found.map(|f| f.told(|count| format!("{count} calls within an hour to numbers +{block}…"))));
        let found = self.count(now, Pattern::CallsAMinute, own, "", MINUTE, less(config.calls_a_minute, quiet));
        alarms.extend(found.map(|found| found.told(|count| format!("{count} calls out within a minute."))));
        let number = to.digits().parse().unwrap_or(0);
        let most = less(config.sequence_numbers, quiet);
        let moments = self.note(now, Pattern::Sequence, own, &block, HOUR, number);
        let run = longest_run(moments.iter().map(|(_, number)| *number));
        if run >= most as usize {
            let found = self.found(now, Pattern::Sequence, own, &block, run as u64);
            alarms.push(found.told(|run| format!("{run} numbers +{block}… were called one after the other.")));
        }
        alarms
    }

    fn dialled_over(
        &mut self,
        now: Now,
        organisation: &OrganisationId,
        to: &E164,
        elapsed_ms: u64,
        quiet: bool,
    ) -> Vec<Alarm> {
        let (own, block) = (Some(organisation), block_of(to));
        let (alike, minutes) = (less(self.config.alike_calls, quiet), less(self.config.block_minutes, quiet));
        let mut alarms = Vec::new();
        if elapsed_ms >= SHORTEST_MS {
            let moments = self.note(now, Pattern::AlikeCalls, own, &block, HOUR, elapsed_ms);
            let count = moments.iter().filter(|(_, other)| is_alike(*other, elapsed_ms)).count();
            if count >= alike as usize {
                let found = self.found(now, Pattern::AlikeCalls, own, &block, count as u64);
                let seconds = elapsed_ms / 1_000;
                let told = |count| format!("{count} calls to numbers +{block}… lasted about {seconds} s each.");
                alarms.push(found.told(told));
            }
        }
        let moments = self.note(now, Pattern::BlockMinutes, own, &block, HOUR, elapsed_ms);
        let sum = moments.iter().map(|(_, ms)| *ms).fold(0, u64::saturating_add) / 60_000;
        if sum >= u64::from(minutes) {
            let found = self.found(now, Pattern::BlockMinutes, own, &block, sum);
            alarms.push(found.told(|sum| format!("{sum} minutes within an hour to numbers +{block}…")));
        }
        alarms
    }

    fn never_joined(&mut self, now: Now, carrier: &CarrierId, caller: Option<&E164>, elapsed_ms: u64) -> Vec<Alarm> {
        if elapsed_ms < LONG_LOBBY_MS {
            return Vec::new();
        }
        let config = self.config;
        let mut alarms = Vec::new();
        if let Some(caller) = caller {
            // As a text, for the table alone: what is told has its last digits hidden.
            let found = self.count(now, Pattern::Pumping, None, caller.digits(), HOUR, config.pumping_calls);
            let masked = caller.masked();
            let told = |count| format!("{count} toll-free calls of {masked} within an hour joined no meeting.");
            alarms.extend(found.map(|found| Found { subject: masked.clone(), ..found }.told(told)));
        }
        let most = config.pumping_calls_of_carrier;
        let found = self.count(now, Pattern::CarrierPumping, None, carrier.as_str(), HOUR, most);
        let told = |count| format!("{count} toll-free calls by carrier {carrier} within an hour joined no meeting.");
        alarms.extend(found.map(|found| found.told(told)));
        alarms
    }

    fn hot_caller(&mut self, now: Now, carrier: &CarrierId, caller: &E164) -> Option<Alarm> {
        // As a text, for the table alone, as with pumping.
        let found = self.count(now, Pattern::HotCaller, None, caller.digits(), HOUR, 1)?;
        let masked = caller.masked();
        let told = |_| format!("A call came by carrier {carrier} from {masked}, a number known from fraud.");
        Some(Found { subject: masked.clone(), ..found }.told(told))
    }

    /// A meeting is remembered by the moment since which it has no organiser.
    fn meeting(
        &mut self,
        now: Now,
        meeting: &MeetingId,
        organisation: &OrganisationId,
        organiser: bool,
        quiet: bool,
    ) -> Option<Alarm> {
        let most = Duration::from_secs(u64::from(self.config.free_conference_minutes) * 60);
        let table = self.table(Pattern::FreeConference);
        if organiser {
            table.remove(meeting.as_str());
            return None;
        }
        let since = match table.first(meeting.as_str()) {
            Some(since) => since,
            None => {
                self.note(now, Pattern::FreeConference, None, meeting.as_str(), Duration::MAX, 0);
                now.mono
            }
        };
        let minutes = now.mono.since(since).as_secs() / 60;
        (quiet && now.mono.since(since) >= most).then(|| {
            self.table(Pattern::FreeConference).remove(meeting.as_str());
            let found = self.found(now, Pattern::FreeConference, Some(organisation), meeting.as_str(), minutes);
            found.told(|minutes| {
                format!("Meeting {meeting} goes on for {minutes} minutes by phone without its organiser.")
            })
        })
    }

    // ------------------------------------------------------------------------------------------------------- its memory

    fn table(&mut self, pattern: Pattern) -> &mut Seen {
        self.seen.entry(pattern).or_default()
    }

    /// Notes a moment of a subject; gives those within the window.
    fn note(
        &mut self,
        now: Now,
        pattern: Pattern,
        organisation: Option<&OrganisationId>,
        subject: &str,
        window: Duration,
        value: u64,
    ) -> &VecDeque<(Mono, u64)> {
        let table = self.seen.entry(pattern).or_default();
        let (moments, forgotten) = table.note(now.mono, name_of(organisation, subject), window, value);
        self.forgotten += u64::from(forgotten);
        moments
    }

    /// Notes one more; found where that makes `most` within the window.
    fn count(
        &mut self,
        now: Now,
        pattern: Pattern,
        organisation: Option<&OrganisationId>,
        subject: &str,
        window: Duration,
        most: u32,
    ) -> Option<Found> {
        let count = self.note(now, pattern, organisation, subject, window, 0).len();
        (count >= (most as usize).min(MOST_MOMENTS))
            .then(|| self.found(now, pattern, organisation, subject, count as u64))
    }

    /// It is a pattern: the subject begins anew, so that each further leg is not a further alarm.
    fn found(
        &mut self,
        now: Now,
        pattern: Pattern,
        organisation: Option<&OrganisationId>,
        subject: &str,
        count: u64,
    ) -> Found {
        self.table(pattern).remove(&name_of(organisation, subject));
        let day = now.wall.seconds().div_euclid(86_400);
        Found { pattern, organisation: organisation.cloned(), subject: subject.to_owned(), day, count }
    }
}

/// A pattern, before it has words.
#[derive(Clone, Debug)]
struct Found {
    pattern: Pattern,
    organisation: Option<OrganisationId>,
    subject: String,
    day: i64,
    count: u64,
}

impl Found {
    fn told(self, words: impl FnOnce(u64) -> String) -> Alarm {
        let key = format!("{}:{}", self.key_for_ever(), self.day);
        Alarm { pattern: self.pattern, organisation: self.organisation, key, detail: words(self.count) }
    }

    fn key_for_ever(&self) -> String {
        let whose = self.organisation.as_ref().map_or("", |organisation| organisation.as_str());
        format!("fraud:{}:{whose}:{}", self.pattern, self.subject)
    }
}

/// A subject's name in the table: an organisation's own, or the house's.
fn name_of(organisation: Option<&OrganisationId>, subject: &str) -> String {
    match organisation {
        Some(organisation) => format!("{organisation} {subject}"),
        None => subject.to_owned(),
    }
}

fn block_of(to: &E164) -> String {
    to.digits().chars().take(BLOCK_DIGITS).collect()
}

/// At night, half is enough; never less than one.
fn less(most: u32, quiet: bool) -> u32 {
    if quiet { most.div_ceil(2) } else { most }.max(1)
}

fn is_alike(a: u64, b: u64) -> bool {
    a.abs_diff(b) <= ALIKE_MS.max(a.max(b) / ALIKE_PART)
}

/// How many of these follow one upon the other.
fn longest_run(numbers: impl Iterator<Item = u64>) -> usize {
    let all: BTreeSet<u64> = numbers.collect();
    let (mut longest, mut run, mut last) = (0, 0, None);
    for number in all {
        run = if last == Some(number.wrapping_sub(1)) { run + 1 } else { 1 };
        longest = longest.max(run);
        last = Some(number);
    }
    longest
}

/// Moments of many subjects; the one that was not heard of for longest is forgotten first.
#[derive(Debug, Default)]
struct Seen {
    moments: HashMap<String, VecDeque<(Mono, u64)>>,
    by_age: BTreeSet<(Mono, String)>,
}

impl Seen {
    fn first(&self, subject: &str) -> Option<Mono> {
        self.moments.get(subject)?.front().map(|(at, _)| *at)
    }

    fn remove(&mut self, subject: &str) {
        if let Some((last, _)) = self.moments.remove(subject).and_then(|moments| moments.back().copied()) {
            self.by_age.remove(&(last, subject.to_owned()));
        }
    }

    /// The subject's moments with this one, and whether another subject had to be forgotten.
    fn note(&mut self, now: Mono, subject: String, window: Duration, value: u64) -> (&VecDeque<(Mono, u64)>, bool) {
        let full = self.moments.len() >= MOST_SUBJECTS && !self.moments.contains_key(&subject);
        if full && let Some((_, oldest)) = self.by_age.pop_first() {
            self.moments.remove(&oldest);
        }
        let moments = self.moments.entry(subject.clone()).or_default();
        if let Some((last, _)) = moments.back() {
            self.by_age.remove(&(*last, subject.clone()));
        }
        while moments.front().is_some_and(|(at, _)| now.since(*at) >= window) || moments.len() >= MOST_MOMENTS {
            moments.pop_front();
        }
        moments.push_back((now, value));
        self.by_age.insert((now, subject));
        (moments, full)
    }
}

#[cfg(test)]
mod tests;
