//! A carrier's records against ours: whether it knows the calls that we know, saw them as long as we did, and asks for
//! what was agreed. Nothing is changed by it, neither in the books nor in a record.
//!
//! Calls are matched by their SIP Call-ID where the carrier tells it, else by their numbers and the nearest beginning
//! within a window. Each of ours is matched once; what is left over on either side is a difference. A caller who was moved
//! to another number has a leg for each, and the carrier one call: they are compared as one.

mod joining;
mod matching;
pub mod read;

use matching::Fate;

pub use read::{Column, Mapping, Unit};

use crate::clock::Wall;
use crate::rating::record::utc;
use crate::rating::report::{Cell, Table};
use crate::rating::words;
use crate::types::{Currency, LegId, Micros};

/// A call as the carrier has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Theirs {
    /// Where it stands in their file.
    pub line: usize,
    /// Empty where they do not tell it.
    pub call_id: String,
    /// Digits alone; empty where they are not told.
    pub caller: String,
    pub called: String,
    /// Their answer, or their beginning where they tell no answer.
    pub at: Wall,
    pub answer_known: bool,
    pub duration_ms: u64,
    pub amount: Option<Micros>,
    pub currency: Option<Currency>,
}

impl Theirs {
    /// Nobody talked, and nothing is asked for.
    fn is_attempt(&self) -> bool {
        self.duration_ms == 0 && self.amount.is_none_or(|amount| amount == Micros::ZERO)
    }
}

/// A call of ours by that carrier: a leg, or the legs that went on in each other's place, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ours {
    pub legs: Vec<LegId>,
    pub call_id: String,
    /// Digits; empty where not known, or not known any more.
    pub caller: String,
    pub called: String,
    pub invited: Wall,
    /// A leg that was not answered is known to few carriers, and costs nothing.
    pub answered: Option<Wall>,
    pub ended: Wall,
    /// Its end was no end of the call, which another leg took over.
    pub gave_way: bool,
    pub duration_ms: u64,
    /// What it should cost by the carrier's list, where there is one; of several legs the sum.
    pub expected: Option<Micros>,
    /// Of that list.
    pub currency: Option<Currency>,
    /// A file that was brought in before has charged it already.
    pub charged_before: bool,
}

/// What counts as a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// Lengths may differ by so much.
    pub duration_ms: u64,
    /// Amounts likewise.
    pub amount: Micros,
    /// Two beginnings so far apart may be of one call.
    pub window_ms: u64,
}

impl Default for Tolerance {
    /// A second and a cent; clocks of two houses that are kept by NTP, and a ringing that one of them counts.
    fn default() -> Tolerance {
        Tolerance { duration_ms: 1_000, amount: Micros(10_000), window_ms: 5_000 }
    }
}

/// In what two records differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// They ask for a call that we do not know.
    OnlyTheirs,
    /// They ask twice for one call.
    Doubled,
    Duration,
    Amount,
    /// They ask in another currency than that of their list: the amounts cannot be compared.
    Currency,
    /// A call of ours that they do not know.
    OnlyOurs,
}

words!(Kind: "expected only-theirs, doubled, duration, amount, currency or only-ours" {
    OnlyTheirs "only-theirs",
    Doubled "doubled",
    Duration "duration",
    Amount "amount",
    Currency "currency",
    OnlyOurs "only-ours",
});

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub kind: Kind,
    pub line: Option<usize>,
    /// All legs of the call of ours; empty where there is none.
    pub legs: Vec<LegId>,
    pub at: Wall,
    pub caller: String,
    pub called: String,
    pub ours_ms: Option<u64>,
    pub theirs_ms: Option<u64>,
    pub expected: Option<Micros>,
    pub amount: Option<Micros>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub theirs: u64,
    /// Calls of ours in the time of the file that were answered.
    pub ours: u64,
    pub matched: u64,
    /// Theirs without length and amount that we do not know either: attempts.
    pub attempts: u64,
    pub ours_ms: u64,
    pub theirs_ms: u64,
    /// What they ask for, all together, in the currency that they tell; `None` where they tell no amounts, or several
    /// currencies.
    pub amount: Option<Micros>,
    pub currency: Option<Currency>,
    /// Ordered by kind, then by moment.
    pub differences: Vec<Difference>,
    /// Which of ours were found in the file.
    pub legs: Vec<LegId>,
}

impl Outcome {
    pub fn count(&self, kind: Kind) -> u64 {
        self.differences.iter().filter(|difference| difference.kind == kind).count() as u64
    }

    /// The differences, numbers as `shown` has them.
    pub fn table(&self, shown: impl Fn(&str) -> String) -> Table {
        let mut table = Table::new(&[
            "difference",
            "line",
            "leg",
            "start",
            "caller",
            "called",
            "our_seconds",
            "their_seconds",
            "expected",
            "amount",
        ]);
        let seconds = |ms: Option<u64>| ms.map_or(Cell::None, |ms| Cell::text(seconds(ms)));
        let money = |amount: Option<Micros>| amount.map_or(Cell::None, Cell::Money);
        for own in &self.differences {
            table.rows.push(vec![
                Cell::text(own.kind.slug()),
                own.line.map_or(Cell::None, |line| Cell::Count(line as u64)),
                legs(&own.legs),
                Cell::text(utc(own.at)),
                Cell::text(shown(&own.caller)),
                Cell::text(shown(&own.called)),
                seconds(own.ours_ms),
                seconds(own.theirs_ms),
                money(own.expected),
                money(own.amount),
            ]);
        }
        table
    }
}

/// The identities, a space between them.
fn legs(legs: &[LegId]) -> Cell {
    let all: Vec<String> = legs.iter().map(LegId::to_string).collect();
    if all.is_empty() { Cell::None } else { Cell::text(all.join(" ")) }
}

/// `61.25`: milliseconds as seconds.
fn seconds(ms: u64) -> String {
    rust_decimal::Decimal::from_i128_with_scale(i128::from(ms), 3).normalize().to_string()
}

/// Compares a carrier's calls with our legs of it. `period` is the time that the file is said to cover: what we have in
/// it and they do not is told; where it is not said, it is from their first call to their last.
pub fn reconcile(theirs: &[Theirs], ours: Vec<Ours>, period: Option<(Wall, Wall)>, tolerance: Tolerance) -> Outcome {
    let ours = &joining::joined(ours);
    let fates = matching::fates(theirs, ours, tolerance);
    let mut outcome = Outcome { theirs: theirs.len() as u64, ..Outcome::default() };
    let mut found = vec![false; ours.len()];
    for (own, fate) in theirs.iter().zip(fates) {
        outcome.theirs_ms = outcome.theirs_ms.saturating_add(own.duration_ms);
        match fate {
            Fate::Leg(place) => {
                found[place] = true;
                outcome.matched += 1;
                outcome.legs.extend(&ours[place].legs);
                compare(&mut outcome, own, &ours[place], tolerance);
            }
            Fate::Again(place) => outcome.differences.push(of_both(Kind::Doubled, own, &ours[place])),
            Fate::Unknown if own.is_attempt() => outcome.attempts += 1,
            Fate::Unknown => outcome.differences.push(unknown(own)),
        }
    }
    let spread = theirs.iter().map(|own| own.at).min().zip(theirs.iter().map(|own| own.at).max());
    let told = period.or(spread.map(|(first, last)| (first, last.plus_millis(1))));
    for (own, found) in ours.iter().zip(found) {
        let Some(answered) = own.answered else { continue };
        let in_time = told.is_some_and(|(from, to)| from <= answered && answered < to);
        if in_time || found {
            outcome.ours += 1;
            outcome.ours_ms = outcome.ours_ms.saturating_add(own.duration_ms);
        }
        if in_time && !found && !own.charged_before {
            outcome.differences.push(missing(own, answered));
        }
    }
    total(&mut outcome, theirs);
    outcome.differences.sort_by_key(|own| (own.kind, own.at, own.line));
    outcome
}

fn of_both(kind: Kind, theirs: &Theirs, ours: &Ours) -> Difference {
    Difference {
        legs: ours.legs.clone(),
        ours_ms: Some(ours.duration_ms),
        expected: ours.expected,
        kind,
        ..unknown(theirs)
    }
}

fn compare(outcome: &mut Outcome, theirs: &Theirs, ours: &Ours, tolerance: Tolerance) {
    let mut tell = |kind| outcome.differences.push(of_both(kind, theirs, ours));
    if ours.charged_before {
        tell(Kind::Doubled);
    }
    if ours.duration_ms.abs_diff(theirs.duration_ms) > tolerance.duration_ms {
        tell(Kind::Duration);
    }
    let (Some(expected), Some(amount)) = (ours.expected, theirs.amount) else { return };
    if ours.currency.zip(theirs.currency).is_some_and(|(ours, theirs)| ours != theirs) {
        tell(Kind::Currency);
    } else if expected.0.abs_diff(amount.0) > tolerance.amount.0.unsigned_abs() {
        tell(Kind::Amount);
    }
}

fn unknown(own: &Theirs) -> Difference {
    Difference {
        kind: Kind::OnlyTheirs,
        line: Some(own.line),
        legs: Vec::new(),
        at: own.at,
        caller: own.caller.clone(),
        called: own.called.clone(),
        ours_ms: None,
        theirs_ms: Some(own.duration_ms),
        expected: None,
        amount: own.amount,
    }
}

fn missing(own: &Ours, answered: Wall) -> Difference {
    Difference {
        kind: Kind::OnlyOurs,
        line: None,
        legs: own.legs.clone(),
        at: answered,
        caller: own.caller.clone(),
        called: own.called.clone(),
        ours_ms: Some(own.duration_ms),
        theirs_ms: None,
        expected: own.expected,
        amount: None,
    }
}

fn total(outcome: &mut Outcome, theirs: &[Theirs]) {
    let mut currencies: Vec<Currency> = theirs.iter().filter_map(|own| own.currency).collect();
    currencies.sort_unstable();
    currencies.dedup();
    let amounts = theirs.iter().filter_map(|own| own.amount);
    if theirs.iter().any(|own| own.amount.is_some()) && currencies.len() <= 1 {
        outcome.amount = amounts.map(|amount| amount.0).try_fold(0_i64, i64::checked_add).map(Micros);
        outcome.currency = currencies.first().copied();
    }
}
