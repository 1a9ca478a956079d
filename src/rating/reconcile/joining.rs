//! A caller who was moved to another number has a leg for each, of one Call-ID. The carrier, whose call went on, has one call.

use super::Ours;
use crate::clock::Wall;
use crate::types::Micros;
use std::collections::HashMap;

/// The next leg's answer is the end of the one before, but for the moments between that are lost to rounding and recovery.
const APART_MS: u64 = 1_000;

/// Calls, from legs: those that went on in each other's place are one.
pub(super) fn joined(mut legs: Vec<Ours>) -> Vec<Ours> {
    legs.sort_by_key(|leg| leg.answered);
    let mut calls: Vec<Ours> = Vec::with_capacity(legs.len());
    // A careless bridge has several at once of one Call-ID.
    let mut unfinished: HashMap<String, Vec<usize>> = HashMap::new();
    for leg in legs {
        let before = unfinished.get_mut(&leg.call_id).and_then(|places| {
            // Whoever comes later begins later still: what is long over has nobody to go on.
            places.retain(|place| !is_long_over(&calls[*place], &leg));
            let own = places.iter().position(|place| goes_on(&calls[*place], &leg))?;
            Some(places.remove(own))
        });
        let place = before.unwrap_or(calls.len());
        if leg.gave_way && !leg.call_id.is_empty() {
            unfinished.entry(leg.call_id.clone()).or_default().push(place);
        }
        match before {
            Some(_) => go_on(&mut calls[place], leg),
            None => calls.push(leg),
        }
    }
    calls
}

fn goes_on(call: &Ours, leg: &Ours) -> bool {
    let apart = |answered: Wall| answered.micros().abs_diff(call.ended.micros());
    call.answered.is_some() && leg.answered.is_some_and(|answered| apart(answered) <= APART_MS * 1_000)
}

fn is_long_over(call: &Ours, leg: &Ours) -> bool {
    leg.answered.is_some_and(|answered| answered > call.ended.plus_millis(APART_MS))
}

/// As long as its legs together, which adjoin: walls may be set between them, and are labels. Amounts of two currencies have
/// no sum, and a call of which a part has no price has none.
fn go_on(call: &mut Ours, leg: Ours) {
    call.duration_ms = call.duration_ms.saturating_add(leg.duration_ms);
    let amounts = call.expected.zip(leg.expected).filter(|_| call.currency == leg.currency);
    call.expected = amounts.and_then(|(before, then)| before.0.checked_add(then.0)).map(Micros);
    call.legs.extend(leg.legs);
    call.charged_before |= leg.charged_before;
    (call.ended, call.gave_way) = (leg.ended, leg.gave_way);
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Outcome, Theirs, Tolerance, reconcile};
    use super::*;
    use crate::types::{Currency, LegId};

    /// A leg that talks from one second to another, at a cent a minute.
    fn leg(n: u128, (from, to): (i64, i64), gave_way: bool) -> Ours {
        Ours {
            legs: vec![LegId::from_u128(n)],
            call_id: "moved@x".into(),
            caller: "393331234567".into(),
            called: format!("39061234567{n}"),
            invited: Wall::from_seconds(from - 2),
            answered: Some(Wall::from_seconds(from)),
            ended: Wall::from_seconds(to),
            gave_way,
            duration_ms: (to - from) as u64 * 1_000,
            expected: Some(Micros((to - from) * 10_000 / 60)),
            currency: Some(Currency::USD),
            charged_before: false,
        }
    }

    fn call(call_id: &str, at: i64, seconds: u64, amount: i64) -> Theirs {
        Theirs {
            line: 2,
            call_id: call_id.into(),
            caller: "393331234567".into(),
            called: "390612345671".into(),
            at: Wall::from_seconds(at),
            answer_known: true,
            duration_ms: seconds * 1_000,
            amount: Some(Micros(amount)),
            currency: None,
        }
    }

    fn run(theirs: &[Theirs], ours: &[Ours], from: i64) -> Outcome {
        let exactly = Tolerance { amount: Micros(0), ..Tolerance::default() };
        reconcile(theirs, ours.to_vec(), Some((Wall::from_seconds(from), Wall::from_seconds(10_000))), exactly)
    }

    fn ids(legs: &[u128]) -> Vec<LegId> {
        legs.iter().map(|leg| LegId::from_u128(*leg)).collect()
    }

    fn moved_twice() -> [Ours; 3] {
        // In no order, and the wall was set forward a little before the last.
        let (answered, ended) = (Wall::from_micros(220_900_000), Wall::from_micros(400_900_000));
        let last = Ours { answered: Some(answered), ended, ..leg(3, (220, 400), false) };
        [last, leg(1, (100, 160), true), leg(2, (160, 220), true)]
    }

    #[test]
    fn a_call_that_was_moved_is_one_as_the_carrier_has_it() {
        for call_id in ["moved@x", ""] {
            let outcome = run(&[call(call_id, 100, 300, 50_000)], &moved_twice(), 0);
            assert_eq!(outcome.differences, [], "{call_id}");
            assert_eq!((outcome.ours, outcome.matched, outcome.ours_ms), (1, 1, 300_000));
            assert_eq!(outcome.legs, ids(&[1, 2, 3]), "each leg counts as charged");
        }
    }

    #[test]
    fn its_difference_is_told_once_with_all_its_legs() {
        let told = |theirs: &[Theirs]| {
            let outcome = run(theirs, &moved_twice(), 0);
            let short = outcome.differences.iter().map(|own| (own.kind, own.legs.clone(), own.ours_ms, own.expected));
            (short.collect::<Vec<_>>(), outcome)
        };
        let both = |kind| (kind, ids(&[1, 2, 3]), Some(300_000), Some(Micros(50_000)));
        assert_eq!(told(&[call("moved@x", 100, 302, 50_000)]).0, [both(Kind::Duration)]);
        assert_eq!(told(&[call("moved@x", 100, 300, 50_001)]).0, [both(Kind::Amount)]);
        let twice = [call("moved@x", 100, 300, 50_000), call("moved@x", 220, 180, 30_000)];
        assert_eq!(told(&twice).0, [both(Kind::Doubled)]);
        let (missed, outcome) = told(&[]);
        assert_eq!(missed, [both(Kind::OnlyOurs)]);
        let row = &outcome.table(str::to_owned).to_json()["rows"][0];
        let named = ids(&[1, 2, 3]).iter().map(LegId::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!((&row["leg"], &row["our_seconds"]), (&named.as_str().into(), &"300".into()));
    }

    /// Its beginning is another month's; so is the carrier's record.
    #[test]
    fn a_call_that_was_moved_after_the_period_began_is_of_the_period_before() {
        assert_eq!(run(&[], &moved_twice(), 150).differences, []);
    }

    #[test]
    fn legs_that_did_not_go_on_in_each_others_place_are_calls_of_their_own() {
        let first = leg(1, (100, 160), true);
        let others = [
            ("another call's", Ours { call_id: "other@x".into(), ..leg(2, (160, 220), false) }),
            ("begun while it lasted", leg(2, (158, 220), false)),
            ("begun later", leg(2, (162, 220), false)),
        ];
        for (why, other) in others {
            assert_eq!(joined(vec![first.clone(), other]).len(), 2, "{why}");
        }
        let hung_up = Ours { gave_way: false, ..first.clone() };
        assert_eq!(joined(vec![hung_up, leg(2, (160, 220), false)]).len(), 2, "a Call-ID used again");
        let nameless = |leg: Ours| Ours { call_id: String::new(), ..leg };
        assert_eq!(joined(vec![nameless(first), nameless(leg(2, (160, 220), false))]).len(), 2, "no Call-ID");
    }

    /// Of one Call-ID, by a careless bridge.
    #[test]
    fn a_call_goes_on_whatever_another_of_its_call_id_does_meanwhile() {
        let legs_of = |calls: Vec<Ours>| calls.into_iter().map(|call| call.legs).collect::<Vec<_>>();
        let (first, last) = (leg(1, (100, 160), true), leg(3, (160, 220), false));
        let foreign = leg(2, (130, 150), false);
        assert_eq!(legs_of(joined(vec![first.clone(), foreign, last.clone()])), [ids(&[1, 3]), ids(&[2])]);
        let both = vec![first, leg(2, (130, 140), true), last, leg(4, (140, 150), false)];
        assert_eq!(legs_of(joined(both)), [ids(&[1, 3]), ids(&[2, 4])], "both are moved");
    }

    #[test]
    fn a_sum_of_two_currencies_or_of_half_a_call_is_none() {
        let first = leg(1, (100, 160), true);
        let then = leg(2, (160, 220), false);
        for then in [
            Ours { currency: "EUR".parse().ok(), ..then.clone() },
            Ours { expected: None, currency: None, ..then.clone() },
        ] {
            let [call] = <[Ours; 1]>::try_from(joined(vec![first.clone(), then])).unwrap();
            assert_eq!((call.expected, call.duration_ms), (None, 120_000));
        }
    }
}
