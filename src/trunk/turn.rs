//! When it is a carrier's turn: for which numbers and at which hours, before whom, and how much of it among equals.

use super::carrier::Carrier;
use crate::clock::Wall;
use crate::types::{E164, Stretch};
use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use rand::{Rng, RngExt};
use std::fmt;
use std::str::FromStr;

/// Ranks and weights that a file may name.
pub const MOST_PRIORITY: u16 = 1_000;
pub const MOST_WEIGHT: u16 = 1_000;
/// Prefixes and hours that a file may name of one carrier.
pub const MOST_REACH: usize = 1_000;
pub const MOST_HOURS: usize = 168;

const USUAL_PRIORITY: u16 = 100;

/// Numbers that a carrier takes, or with `!` does not, by their first digits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reach {
    prefix: String,
    takes: bool,
}

impl FromStr for Reach {
    type Err = &'static str;
    /// `39`, `+39`, `!3912`.
    fn from_str(text: &str) -> Result<Reach, &'static str> {
        let (takes, rest) = text.strip_prefix('!').map_or((true, text), |rest| (false, rest));
        let prefix = rest.strip_prefix('+').unwrap_or(rest);
        let sound = (1..=15).contains(&prefix.len()) && prefix.bytes().all(|b| b.is_ascii_digit());
        let hint =
            "expected the first digits of numbers that it takes, like \"39\", or with ! of those that it does not";
        if sound { Ok(Reach { prefix: prefix.to_owned(), takes }) } else { Err(hint) }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.takes { "" } else { "!" }, self.prefix)
    }
}

/// Hours as a file names them; what goes past midnight is two stretches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours(pub Vec<Stretch>);

impl FromStr for Hours {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Hours, &'static str> {
        let mut words = text.split_whitespace();
        let read = words.next().zip(words.next()).filter(|_| words.next().is_none());
        let read = read.and_then(|(days, hours)| Stretch::read(days, hours));
        read.map(Hours).ok_or("expected hours like \"mon-fri 08:00-19:00\"")
    }
}

/// The clock that hours go by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

impl FromStr for Zone {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Zone, &'static str> {
        let zone = TimeZone::get(text).map_err(|_| "expected an IANA time zone, like Europe/Rome")?;
        Ok(Zone { name: text.to_owned(), zone })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// A carrier's place among those that may carry a call out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The longest that fits a number decides; where only exceptions are named, all others are taken.
    pub reach: Vec<Reach>,
    /// At all hours, where none is named.
    pub hours: Vec<Stretch>,
    /// UTC, where none is named.
    pub zone: Option<Zone>,
    /// The lower ones are tried first, whatever they take.
    pub priority: u16,
    /// Its share of the calls among those of one priority and one cost. Those without one come after those with, in the
    /// order of the directory.
    pub weight: Option<u16>,
}

impl Default for Turn {
    fn default() -> Turn {
        Turn { reach: Vec::new(), hours: Vec::new(), zone: None, priority: USUAL_PRIORITY, weight: None }
    }
}

impl Turn {
    /// Whether calls to that number, at that moment, may go by this carrier.
    pub fn takes(&self, to: &E164, at: Wall) -> bool {
        self.reaches(to.digits()) && self.is_open(at)
    }

    fn reaches(&self, digits: &str) -> bool {
        let fits = self.reach.iter().filter(|reach| digits.starts_with(&reach.prefix));
        match fits.max_by_key(|reach| (reach.prefix.len(), !reach.takes)) {
            Some(closest) => closest.takes,
            None => self.reach.iter().all(|reach| !reach.takes),
        }
    }

    fn is_open(&self, at: Wall) -> bool {
        if self.hours.is_empty() {
            return true;
        }
        let Ok(at) = Timestamp::from_microsecond(at.micros()) else { return false };
        let shown = self.zone.as_ref().map_or(TimeZone::UTC, |zone| zone.zone.clone()).to_datetime(at);
        let day = shown.weekday().since(Weekday::Monday) as u8;
        let minute = u16::from(shown.hour().unsigned_abs()) * 60 + u16::from(shown.minute().unsigned_abs());
        self.hours.iter().any(|stretch| stretch.has(day, minute))
    }
}

/// Carriers in the order in which a call tries them: by priority, then by their rank (what they take), and those that are
/// equal in both drawn by their weights, so that each is the first as often as its weight says.
pub fn in_turn<'a, R: Ord>(carriers: Vec<(&'a Carrier, R)>, rng: &mut impl Rng) -> Vec<&'a Carrier> {
    let mut rest = carriers;
    // The sort is stable: among those without weights the directory's order stays.
    rest.sort_by(|(one, its), (two, others)| {
        (one.turn.priority, its, one.turn.weight.is_none()).cmp(&(two.turn.priority, others, two.turn.weight.is_none()))
    });
    let mut order = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let (first, rank) = &rest[0];
        let equal = |(other, its): &&(&Carrier, R)| other.turn.priority == first.turn.priority && its == rank;
        let weights: Vec<u32> =
            rest.iter().take_while(equal).map_while(|(carrier, _)| carrier.turn.weight.map(u32::from)).collect();
        let at = if weights.len() > 1 { drawn(&weights, rng) } else { 0 };
        order.push(rest.remove(at).0);
    }
    order
}

/// The place of one of them, each as likely as its weight.
fn drawn(weights: &[u32], rng: &mut impl Rng) -> usize {
    let whole: u32 = weights.iter().sum();
    let mut left = rng.random_range(0..whole.max(1));
    for (place, weight) in weights.iter().enumerate() {
        if left < *weight {
            return place;
        }
        left -= weight;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn turn(reach: &[&str]) -> Turn {
        Turn { reach: reach.iter().map(|text| text.parse().unwrap()).collect(), ..Turn::default() }
    }

    fn carrier(id: &str, priority: u16, weight: Option<u16>) -> Carrier {
        let turn = Turn { priority, weight, ..Turn::default() };
        Carrier { turn, ..Carrier::new(id.parse().unwrap()) }
    }

    #[test]
    fn the_longest_prefix_says_whether_a_number_is_taken() {
        let rows: [(&[&str], &str, bool); 8] = [
            (&[], "+390612345678", true),
            (&["39"], "+390612345678", true),
            (&["+39"], "+442079460000", false),
            (&["39", "!3906"], "+390612345678", false),
            (&["39", "!3906", "390612"], "+390612345678", true),
            (&["!3906"], "+442079460000", true),
            (&["!3906"], "+390612345678", false),
            (&["!44", "39"], "+12125550123", false),
        ];
        for (reach, to, taken) in rows {
            assert_eq!(turn(reach).takes(&to.parse().unwrap(), Wall::default()), taken, "{reach:?} {to}");
        }
        for bad in ["", "!", "+", "39a", "1234567890123456", "!!39"] {
            assert!(bad.parse::<Reach>().is_err(), "{bad}");
        }
    }

    #[test]
    fn hours_go_by_the_carriers_own_clock() {
        let hours = |text: &str| text.parse::<Hours>().unwrap().0;
        let rome = Turn {
            hours: [hours("mon-fri 08:00-19:00"), hours("sat 22:00-06:00")].concat(),
            zone: Some("Europe/Rome".parse().unwrap()),
            ..Turn::default()
        };
        let utc = Turn { zone: None, ..rome.clone() };
        let to: E164 = "+390612345678".parse().unwrap();
        let rows = [
            // A Monday in January: Rome is an hour ahead; in July, two.
            ("2026-01-05T07:00:00Z", true, false),
            ("2026-01-05T06:59:59Z", false, false),
            ("2026-07-06T06:00:00Z", true, false),
            ("2026-01-05T17:59:59Z", true, true),
            ("2026-01-05T18:00:00Z", false, true),
            // Saturday's night is Sunday's morning.
            ("2026-01-11T04:59:59Z", true, true),
            ("2026-01-11T05:00:00Z", false, true),
            ("2026-01-11T12:00:00Z", false, false),
        ];
        for (at, in_rome, in_utc) in rows {
            let wall = Wall::from_micros(at.parse::<Timestamp>().unwrap().as_microsecond());
            assert_eq!((rome.takes(&to, wall), utc.takes(&to, wall)), (in_rome, in_utc), "{at}");
        }
        assert!("mon-fri".parse::<Hours>().is_err() && "mon 08:00-19:00 0.03".parse::<Hours>().is_err());
        assert!("Rome".parse::<Zone>().is_err());
    }

    #[test]
    fn priority_comes_before_cost_and_cost_before_weight() {
        let all = [
            carrier("dear", 100, Some(900)),
            carrier("plain", 100, None),
            carrier("cheap", 100, None),
            carrier("last", 200, Some(1)),
            carrier("first", 1, None),
            carrier("second-plain", 100, None),
        ];
        let ranks = [9, 5, 1, 0, 99, 5];
        for seed in 0..50 {
            let ranked = all.iter().zip(ranks).collect();
            let order: Vec<&str> =
                in_turn(ranked, &mut StdRng::seed_from_u64(seed)).iter().map(|carrier| carrier.id.as_str()).collect();
            assert_eq!(order, ["first", "cheap", "plain", "second-plain", "dear", "last"]);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Each is first as often as its weight says, within five deviations of a fair draw, and nobody is lost.
        #[test]
        fn equals_share_by_their_weights(weights in prop::collection::vec(1_u16..=50, 2..6), seed: u64) {
            const DRAWS: u32 = 4_000;
            let carriers: Vec<Carrier> =
                weights.iter().enumerate().map(|(n, weight)| carrier(&format!("c{n}"), 100, Some(*weight))).collect();
            let mut rng = StdRng::seed_from_u64(seed);
            let mut firsts = vec![0_u32; weights.len()];
            for _ in 0..DRAWS {
                let order = in_turn(carriers.iter().map(|carrier| (carrier, 0)).collect(), &mut rng);
                prop_assert_eq!(order.len(), carriers.len());
                firsts[carriers.iter().position(|carrier| carrier.id == order[0].id).unwrap()] += 1;
            }
            let whole: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            for (weight, first) in weights.iter().zip(firsts) {
                let share = f64::from(*weight) / whole;
                let (mean, deviation) = (share * f64::from(DRAWS), (f64::from(DRAWS) * share * (1.0 - share)).sqrt());
                prop_assert!((f64::from(first) - mean).abs() <= 5.0 * deviation, "{:?}: {} of {}", weights, first, mean);
            }
        }

        #[test]
        fn who_has_no_weight_comes_after_those_who_have(seed: u64) {
            let all = [carrier("a", 100, None), carrier("b", 100, Some(1)), carrier("c", 100, Some(0)), carrier("d", 100, None)];
            let order = in_turn(all.iter().map(|carrier| (carrier, 0)).collect(), &mut StdRng::seed_from_u64(seed));
            let order: Vec<&str> = order.iter().map(|carrier| carrier.id.as_str()).collect();
            prop_assert_eq!(order, ["b", "c", "a", "d"], "a weight of 0 is what is left");
        }
    }
}
