//! Which of their calls is which of ours. Every step looks at a bounded number of candidates, so that a month's file
//! takes seconds whatever is in it.

use super::{Ours, Theirs, Tolerance};
use crate::clock::Wall;
use std::collections::HashMap;

/// Candidates that one call is compared with at most, the nearest in time. A second of a very busy number has fewer.
const MOST_CANDIDATES: usize = 64;

/// Digits that two ways of writing one number have in common at its end: with and without the country's code.
const COMMON_DIGITS: usize = 7;

/// What became of a call of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is this leg of ours.
    Leg(usize),
    /// It is this leg too, which another line of theirs has already.
    Again(usize),
    Unknown,
}

/// Ours that are alike, by their moments, those that are taken passed over in next to no time.
struct Drawer {
    /// Moment and place, in order.
    legs: Vec<(i64, usize)>,
    /// The next place at or after this one, and the next at or before it, that is not known to be taken. Places count
    /// from 1 here, so that both have an end.
    up: Vec<usize>,
    down: Vec<usize>,
}

/// The end of a chain of places, each of which is led to it on the way.
fn follow(chain: &mut [usize], place: usize) -> usize {
    let mut end = place;
    while chain[end] != end {
        end = chain[end];
    }
    let mut at = place;
    while chain[at] != end {
        at = std::mem::replace(&mut chain[at], end);
    }
    end
}

impl Drawer {
    fn new(mut legs: Vec<(i64, usize)>) -> Drawer {
        legs.sort_unstable();
        let all: Vec<usize> = (0..legs.len() + 2).collect();
        Drawer { legs, up: all.clone(), down: all }
    }

    fn pass_over(&mut self, place: usize) {
        (self.up[place], self.down[place]) = (place + 1, place - 1);
    }

    /// The free leg within the window that fits best: outwards from their moment in both directions, until what comes is
    /// farther than what is found.
    fn best(&mut self, own: &Theirs, window: i64, taken: &[bool], fit: impl Fn(usize) -> Option<Fit>) -> Option<usize> {
        let first = self.legs.partition_point(|(at, _)| *at < own.at.micros()) + 1;
        let mut best: Option<(Fit, usize, usize)> = None;
        for upwards in [true, false] {
            let (mut place, mut seen) = (if upwards { first } else { first - 1 }, 0);
            while seen < MOST_CANDIDATES {
                place = follow(if upwards { &mut self.up } else { &mut self.down }, place);
                let leg = place.checked_sub(1).and_then(|index| self.legs.get(index)).copied();
                let Some((at, leg)) = leg else { break };
                let distance = at.abs_diff(own.at.micros());
                let is_beaten = |(known, ..): &(Fit, usize, usize)| !known.0 && distance > known.1;
                if distance > window.unsigned_abs() || best.as_ref().is_some_and(is_beaten) {
                    break;
                }
                if taken[leg] {
                    self.pass_over(place);
                    continue;
                }
                seen += 1;
                if let Some(fit) = fit(leg)
                    && best.as_ref().is_none_or(|(known, ..)| fit < *known)
                {
                    best = Some((fit, place, leg));
                }
                place = if upwards { place + 1 } else { place - 1 };
            }
        }
        let (_, place, leg) = best?;
        self.pass_over(place);
        Some(leg)
    }
}

/// How well two fit, the less the better: whether the callers are different, then how far their beginnings, then their
/// lengths, are apart.
type Fit = (bool, u64, u64);

fn moment(ours: &Ours, theirs: &Theirs) -> Wall {
    match ours.answered {
        Some(answered) if theirs.answer_known => answered,
        // One column of time: some write the first ring, some the answer.
        Some(answered) => nearest(theirs.at, answered, ours.invited),
        None => ours.invited,
    }
}

fn nearest(at: Wall, one: Wall, other: Wall) -> Wall {
    if apart(at, one) <= apart(at, other) { one } else { other }
}

fn apart(one: Wall, other: Wall) -> u64 {
    one.micros().abs_diff(other.micros())
}

fn fit(own: &Theirs, ours: &Ours) -> Fit {
    (
        !same_number(&own.caller, &ours.caller),
        apart(own.at, moment(ours, own)),
        own.duration_ms.abs_diff(ours.duration_ms),
    )
}

/// Whether two ways of writing may mean one number; what is not known may be any.
fn same_number(one: &str, other: &str) -> bool {
    let (one, other) = (one.trim_start_matches('0'), other.trim_start_matches('0'));
    let common = one.len().min(other.len());
    one == other || (common >= COMMON_DIGITS && (one.ends_with(other) || other.ends_with(one)))
}

fn ending(number: &str) -> &str {
    number.get(number.len().saturating_sub(COMMON_DIGITS)..).unwrap_or_default()
}

/// A fate for each of theirs, in their order.
pub(super) fn fates(theirs: &[Theirs], ours: &[Ours], tolerance: Tolerance) -> Vec<Fate> {
    let mut fates = vec![Fate::Unknown; theirs.len()];
    let mut taken = vec![false; ours.len()];
    let mut order: Vec<usize> = (0..theirs.len()).collect();
    order.sort_by_key(|own| (theirs[*own].at, *own));
    by_call_id(theirs, ours, &order, &mut taken, &mut fates);
    by_number(theirs, ours, &order, tolerance, &mut taken, &mut fates);
    again(theirs, ours, tolerance, &mut fates);
    fates
}

/// A Call-ID is one call's, but a forked call out has several legs of it, and a careless bridge repeats them.
fn by_call_id(theirs: &[Theirs], ours: &[Ours], order: &[usize], taken: &mut [bool], fates: &mut [Fate]) {
    let mut known: HashMap<&str, Vec<(i64, usize)>> = HashMap::new();
    for (place, own) in ours.iter().enumerate().filter(|(_, own)| !own.call_id.is_empty()) {
        let at = own.answered.unwrap_or(own.invited).micros();
        known.entry(&own.call_id).or_default().push((at, place));
    }
    let mut drawers: HashMap<&str, Drawer> =
        known.into_iter().map(|(call_id, legs)| (call_id, Drawer::new(legs))).collect();
    for place in order {
        let own = &theirs[*place];
        let Some(drawer) = drawers.get_mut(own.call_id.as_str()) else { continue };
        if let Some(leg) = drawer.best(own, i64::MAX, taken, |leg| Some(fit(own, &ours[leg]))) {
            (taken[leg], fates[*place]) = (true, Fate::Leg(leg));
        }
    }
}

fn by_number(
    theirs: &[Theirs],
    ours: &[Ours],
    order: &[usize],
    tolerance: Tolerance,
    taken: &mut [bool],
    fates: &mut [Fate],
) {
    let window = i64::try_from(tolerance.window_ms.saturating_mul(1_000)).unwrap_or(i64::MAX);
    // First the two numbers together, then the called one alone: the caller may be withheld, or written otherwise.
    for with_caller in [true, false] {
        let key = |caller: &str, called: &str| -> (String, String) {
            (ending(called).to_owned(), if with_caller { ending(caller).to_owned() } else { String::new() })
        };
        let mut known: HashMap<(String, String), Vec<(i64, usize)>> = HashMap::new();
        for (place, own) in ours.iter().enumerate().filter(|(place, own)| !taken[*place] && !own.called.is_empty()) {
            // Both moments of a leg, since theirs may be either.
            let legs = known.entry(key(&own.caller, &own.called)).or_default();
            legs.push((own.invited.micros(), place));
            legs.extend(own.answered.map(|answered| (answered.micros(), place)));
        }
        let mut drawers: HashMap<_, Drawer> = known.into_iter().map(|(key, legs)| (key, Drawer::new(legs))).collect();
        for place in order.iter().filter(|place| !theirs[**place].called.is_empty()) {
            let own = &theirs[*place];
            // Whoever tells a Call-ID that is another's tells another call.
            let fits = |leg: usize| {
                let other = &ours[leg];
                let near = apart(own.at, moment(other, own)) <= window.unsigned_abs();
                let both_told = !own.call_id.is_empty() && !other.call_id.is_empty();
                let known = both_told && are_others(&own.call_id, &other.call_id);
                (near && !known && same_number(&own.called, &other.called)).then(|| fit(own, other))
            };
            if fates[*place] != Fate::Unknown {
                continue;
            }
            let Some(drawer) = drawers.get_mut(&key(&own.caller, &own.called)) else { continue };
            if let Some(leg) = drawer.best(own, window, taken, fits) {
                (taken[leg], fates[*place]) = (true, Fate::Leg(leg));
            }
        }
    }
}

/// Carriers number calls in their own way: an identity of theirs without a host is no SIP Call-ID, and says nothing.
fn are_others(theirs: &str, ours: &str) -> bool {
    theirs.contains('@') && ours.contains('@') && theirs != ours
}

/// What is left over and has the Call-ID, or the numbers and the moment, of a call that is matched: asked for twice.
fn again(theirs: &[Theirs], ours: &[Ours], tolerance: Tolerance, fates: &mut [Fate]) {
    let mut ids: HashMap<&str, usize> = HashMap::new();
    let mut moments: HashMap<(&str, &str, i64), usize> = HashMap::new();
    for (own, fate) in theirs.iter().zip(fates.iter()) {
        let Fate::Leg(leg) = fate else { continue };
        if !own.call_id.is_empty() {
            ids.insert(&own.call_id, *leg);
        }
        moments.insert((&own.caller, &own.called, own.at.seconds()), *leg);
    }
    for (own, fate) in theirs.iter().zip(fates.iter_mut()).filter(|(_, fate)| **fate == Fate::Unknown) {
        let by_id = ids.get(own.call_id.as_str()).copied();
        let by_moment = || {
            let near = [0, -1, 1].into_iter().find_map(|step| {
                moments.get(&(own.caller.as_str(), own.called.as_str(), own.at.seconds() + step)).copied()
            })?;
            let alike = ours[near].duration_ms.abs_diff(own.duration_ms) <= tolerance.duration_ms;
            (alike && !own.called.is_empty()).then_some(near)
        };
        if let Some(leg) = by_id.or_else(by_moment) {
            *fate = Fate::Again(leg);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Difference, Kind, Outcome, reconcile};
    use super::*;
    use crate::types::{Currency, LegId, Micros};
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    fn theirs(line: usize, call_id: &str, caller: &str, at_ms: i64, duration_ms: u64) -> Theirs {
        Theirs {
            line,
            call_id: call_id.into(),
            caller: caller.into(),
            called: "390612345678".into(),
            at: Wall::from_micros(at_ms * 1_000),
            answer_known: false,
            duration_ms,
            amount: Some(Micros(10_000)),
            currency: None,
        }
    }

    fn ours(n: u128, call_id: &str, caller: &str, at_ms: i64, duration_ms: u64) -> Ours {
        let at = Wall::from_micros(at_ms * 1_000);
        Ours {
            legs: vec![LegId::from_u128(n)],
            call_id: call_id.into(),
            caller: caller.into(),
            called: "390612345678".into(),
            invited: Wall::from_micros(at_ms * 1_000 - 2_000_000),
            answered: Some(at),
            ended: at.plus_millis(duration_ms),
            gave_way: false,
            duration_ms,
            expected: Some(Micros(10_000)),
            currency: Some(Currency::USD),
            charged_before: false,
        }
    }

    fn told(outcome: &Outcome) -> Vec<(Kind, Option<usize>, Option<u128>)> {
        let short = |d: &Difference| (d.kind, d.line, d.legs.first().map(|leg| leg.as_u128()));
        outcome.differences.iter().map(short).collect()
    }

    fn run(theirs: &[Theirs], ours: &[Ours]) -> Outcome {
        reconcile(
            theirs,
            ours.to_vec(),
            Some((Wall::from_seconds(0), Wall::from_seconds(100_000))),
            Tolerance::default(),
        )
    }

    #[test]
    fn every_kind_of_difference_is_told_once() {
        let own = [
            ours(1, "a@x", "393331234567", 10_000, 60_000),
            ours(2, "b@x", "393331234568", 20_000, 60_000),
            ours(3, "c@x", "393331234569", 30_000, 60_000),
            ours(4, "d@x", "", 40_000, 60_000),
            ours(5, "e@x", "393331234570", 50_000, 60_000),
            ours(6, "f@x", "393331234571", 60_000, 60_000),
        ];
        let dear = Theirs { amount: Some(Micros(20_001)), ..theirs(6, "f@x", "393331234571", 60_000, 60_000) };
        let cent = Theirs { amount: Some(Micros(20_000)), ..theirs(2, "", "003331234567", 10_400, 61_000) };
        let list = [
            cent,
            theirs(3, "b@x", "", 20_000, 61_001),
            theirs(4, "", "393331234569", 28_000, 60_000),
            theirs(5, "", "anybody", 41_000, 60_000),
            dear,
            theirs(7, "b@x", "", 20_000, 61_001),
            theirs(8, "", "393331234569", 28_900, 60_000),
            theirs(9, "zz@y", "3999999999", 70_000, 60_000),
            Theirs { amount: None, ..theirs(10, "", "3999999998", 71_000, 0) },
        ];
        let outcome = run(&list, &own);
        assert_eq!(
            told(&outcome),
            [
                (Kind::OnlyTheirs, Some(9), None),
                (Kind::Doubled, Some(7), Some(2)),
                (Kind::Doubled, Some(8), Some(3)),
                (Kind::Duration, Some(3), Some(2)),
                (Kind::Amount, Some(6), Some(6)),
                (Kind::OnlyOurs, None, Some(5)),
            ]
        );
        assert_eq!((outcome.matched, outcome.attempts, outcome.ours), (5, 1, 6));
        assert_eq!(outcome.amount, Some(Micros(100_001)));
    }

    #[test]
    fn amounts_of_two_currencies_are_not_compared_but_told() {
        let own = [ours(1, "a@x", "", 10_000, 60_000), ours(2, "b@x", "", 20_000, 60_000)];
        let in_euros =
            |line, call_id, at| Theirs { currency: "EUR".parse().ok(), ..theirs(line, call_id, "", at, 60_000) };
        let list = [in_euros(2, "a@x", 10_000), Theirs { currency: Some(Currency::USD), ..in_euros(3, "b@x", 20_000) }];
        assert_eq!(told(&run(&list, &own)), [(Kind::Currency, Some(2), Some(1))]);
        let unpriced = own.map(|leg| Ours { expected: None, currency: None, ..leg });
        assert_eq!(told(&run(&list, &unpriced)), [], "nothing is known to compare with");
    }

    #[test]
    fn a_leg_that_another_file_has_charged_is_doubled() {
        let own = [Ours { charged_before: true, ..ours(1, "a@x", "", 10_000, 60_000) }];
        assert_eq!(told(&run(&[theirs(2, "a@x", "", 10_000, 60_000)], &own)), [(Kind::Doubled, Some(2), Some(1))]);
        assert_eq!(told(&run(&[], &own)), []);
    }

    #[test]
    fn calls_at_once_are_told_apart_by_their_lengths_and_unanswered_ones_are_not_missed() {
        let own = [ours(1, "", "", 10_000, 60_000), ours(2, "", "", 10_000, 90_000)];
        let list = [theirs(2, "", "", 10_000, 90_000), theirs(3, "", "", 10_000, 60_000)];
        assert_eq!(told(&run(&list, &own)), []);
        let unanswered = Ours { answered: None, duration_ms: 0, ..ours(1, "", "", 10_000, 0) };
        assert_eq!(told(&run(&[], &[unanswered])), []);
        assert_eq!(told(&run(&[theirs(2, "", "", 20_000, 60_000)], &own)).len(), 3, "ten seconds are another call");
    }

    proptest! {
        /// However a carrier's file is shuffled and whatever it leaves out, what is told is what was done to it.
        #[test]
        fn what_was_taken_out_and_put_in_is_what_is_told(
            calls in proptest::collection::vec((0_i64..80_000, 1_u64..600, any::<bool>(), 0_u8..8), 1..60)) {
            let mut own = Vec::new();
            let mut list = Vec::new();
            let (mut missing, mut longer) = (0, 0);
            for (n, (second, length, has_id, what)) in calls.iter().enumerate() {
                let (call_id, caller) = (format!("{n}@x"), format!("39333{n:07}"));
                let leg = ours(n as u128, &call_id, &caller, second * 1_000, length * 1_000);
                let id = if *has_id { call_id.as_str() } else { "" };
                match what {
                    0 => missing += 1,
                    1 => {
                        longer += 1;
                        list.push(theirs(n + 2, id, &caller, second * 1_000 + 300, length * 1_000 + 1_001));
                    }
                    _ => list.push(theirs(n + 2, id, &caller, second * 1_000 - 300, length * 1_000 + 400)),
                }
                own.push(leg);
            }
            list.reverse();
            let outcome = run(&list, &own);
            prop_assert_eq!(outcome.count(Kind::OnlyOurs), missing);
            prop_assert_eq!(outcome.count(Kind::Duration), longer);
            prop_assert_eq!(outcome.differences.len() as u64, missing + longer);
        }
    }

    /// The acceptance of 60,000 calls has ten seconds of an optimised build; this is the same, unoptimised, in the two
    /// ways that are dear: no Call-ID, one number for all, and all callers withheld.
    #[test]
    fn sixty_thousand_calls_are_matched_in_seconds() {
        let own: Vec<Ours> =
            (0..60_000).map(|n| ours(n, "", "", n as i64 * 10, 60_000 + (n as u64 % 50) * 1_000)).collect();
        let list: Vec<Theirs> =
            (0..60_000).map(|n| theirs(n, "", "", n as i64 * 10, 60_000 + (n as u64 % 50) * 1_000)).collect();
        let (period, tolerance) = ((Wall::from_seconds(0), Wall::from_seconds(100_000)), Tolerance::default());
        let began = Instant::now();
        let outcome = reconcile(&list, own, Some(period), tolerance);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert_eq!((outcome.matched, outcome.differences.len()), (60_000, 0));
    }
}
