//! What a row of a deck may ask for beyond a rate and its increments: how the length is read, what is free, tiers,
//! bands, surcharges, the least and the most a call costs, how its sum is rounded.

use crate::rating::bands::Bands;
use crate::rating::rate::{price_nanos, price_text};
use crate::rating::{terms::text, words};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How many tiers a row may have.
const MOST_TIERS: usize = 16;

/// How the measured milliseconds of a call are read before anything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Length {
    #[default]
    Exact,
    CeilSecond,
    FloorSecond,
    /// Half a second counts up.
    NearestSecond,
}

words!(Length: "expected exact, ceil-s, floor-s or nearest-s" {
    Exact "exact",
    CeilSecond "ceil-s",
    FloorSecond "floor-s",
    NearestSecond "nearest-s",
});

impl Length {
    pub const fn read(self, ms: u64) -> u64 {
        match self {
            Length::Exact => ms,
            Length::CeilSecond => ms.div_ceil(1_000) * 1_000,
            Length::FloorSecond => ms / 1_000 * 1_000,
            Length::NearestSecond => (ms + 500) / 1_000 * 1_000,
        }
    }

    /// The longest call that is read as `ms`, or as less: where a call may be let run to, at the price of `ms`.
    pub const fn longest(self, ms: u64) -> u64 {
        match self {
            Length::Exact => ms,
            Length::CeilSecond => ms / 1_000 * 1_000,
            Length::FloorSecond => ms / 1_000 * 1_000 + 999,
            Length::NearestSecond => ms / 1_000 * 1_000 + 499,
        }
    }
}

/// What an answered call of no length costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NoLength {
    #[default]
    Zero,
    /// The first increment, and all that goes with it.
    Minimum,
}

words!(NoLength: "expected zero or minimum" { Zero "zero", Minimum "minimum" });

/// Which rate is valid, where it changes in mid-call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnChange {
    /// An increment has the rate that is valid where it starts.
    #[default]
    IncrementStart,
    /// The whole call has the rate of its answer.
    Answer,
    /// The call is cut there, and the grid of increments starts anew.
    Split,
}

words!(OnChange: "expected increment-start, answer or split" {
    IncrementStart "increment-start",
    Answer "answer",
    Split "split",
});

/// What happens where a call has cost the most that it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtMaximum {
    /// It goes on, and costs nothing more.
    #[default]
    Free,
    /// It ends before it costs more.
    Disconnect,
}

words!(AtMaximum: "expected free or disconnect" { Free "free", Disconnect "disconnect" });

/// How the sum of a call is brought to its places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    #[default]
    HalfUp,
    HalfEven,
    Up,
    Down,
}

words!(Rounding: "expected half-up, half-even, up or down" {
    HalfUp "half-up",
    HalfEven "half-even",
    Up "up",
    Down "down",
});

impl Rounding {
    /// The mode, as a sentence says it.
    pub const fn words(self) -> &'static str {
        match self {
            Rounding::HalfUp => "half up",
            Rounding::HalfEven => "half even",
            Rounding::Up => "up",
            Rounding::Down => "down",
        }
    }
}

/// Another price from a point of the call (or of the month) on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// Paid time before it, in milliseconds.
    pub after_ms: u64,
    pub per_minute_nanos: i64,
}

/// Tiers in the order of their beginnings; none where there is one price. `600:0.02 1200:0.01`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tiers(Vec<Tier>);

impl Tiers {
    pub const NONE: Tiers = Tiers(Vec::new());

    /// `unit_ms` is what the numbers before the colons count.
    pub fn parse(text: &str, unit_ms: u64) -> Result<Tiers, String> {
        let mut tiers = Vec::new();
        for word in text.split_whitespace() {
            let bad = || format!("expected tiers like \"600:0.02\", found \"{word}\"");
            let (after, price) = word.split_once(':').ok_or_else(bad)?;
            let after = after.parse::<u64>().ok().and_then(|after| after.checked_mul(unit_ms)).ok_or_else(bad)?;
            let price = Decimal::from_str_exact(price).map_err(|_| bad())?;
            let per_minute_nanos = price_nanos(price).map_err(|why| why.to_string())?;
            if tiers.last().map_or(0, |tier: &Tier| tier.after_ms) >= after {
                return Err(format!("tiers begin one after another, found \"{word}\""));
            }
            tiers.push(Tier { after_ms: after, per_minute_nanos });
        }
        if tiers.len() > MOST_TIERS {
            return Err(format!("more than {MOST_TIERS} tiers"));
        }
        Ok(Tiers(tiers))
    }

    pub fn text(&self, unit_ms: u64) -> String {
        let word = |tier: &Tier| format!("{}:{}", tier.after_ms / unit_ms, price_text(tier.per_minute_nanos));
        self.0.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn list(&self) -> &[Tier] {
        &self.0
    }

    /// As they are for a call that begins after `used_ms` of the month: the price at its start, if a tier has begun
    /// already, and the tiers that begin within it.
    pub fn after(&self, used_ms: u64) -> (Option<i64>, Tiers) {
        let begun = self.0.iter().take_while(|tier| tier.after_ms <= used_ms).last();
        let rest = self.0.iter().filter(|tier| tier.after_ms > used_ms);
        let rest = rest.map(|tier| Tier { after_ms: tier.after_ms - used_ms, ..*tier });
        (begun.map(|tier| tier.per_minute_nanos), Tiers(rest.collect()))
    }
}

/// Written in milliseconds, wherever they are frozen.
impl fmt::Display for Tiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(1))
    }
}

impl FromStr for Tiers {
    type Err = String;
    fn from_str(text: &str) -> Result<Tiers, String> {
        Tiers::parse(text, 1)
    }
}

/// Where a call to a toll-free number began, where that costs more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    #[default]
    Fixed,
    Mobile,
    Payphone,
}

words!(Origin: "expected fixed, mobile or payphone" { Fixed "fixed", Mobile "mobile", Payphone "payphone" });

/// What a call costs on top, by where it began. No discount touches it. `0.03/min 0.494/call`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surcharge {
    pub per_minute_nanos: i64,
    pub per_call_nanos: i64,
}

impl Surcharge {
    pub const NONE: Surcharge = Surcharge { per_minute_nanos: 0, per_call_nanos: 0 };

    pub const fn is_none(&self) -> bool {
        self.per_minute_nanos == 0 && self.per_call_nanos == 0
    }
}

impl fmt::Display for Surcharge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minute = format!("{}/min", price_text(self.per_minute_nanos));
        let call = format!("{}/call", price_text(self.per_call_nanos));
        match (self.per_minute_nanos, self.per_call_nanos) {
            (0, 0) => Ok(()),
            (_, 0) => f.write_str(&minute),
            (0, _) => f.write_str(&call),
            _ => write!(f, "{minute} {call}"),
        }
    }
}

impl FromStr for Surcharge {
    type Err = String;
    fn from_str(text: &str) -> Result<Surcharge, String> {
        let mut surcharge = Surcharge::NONE;
        for word in text.split_whitespace() {
            let bad = || format!("expected a surcharge like \"0.03/min\" or \"0.494/call\", found \"{word}\"");
            let (price, per) = word.split_once('/').ok_or_else(bad)?;
            let price =
                price_nanos(Decimal::from_str_exact(price).map_err(|_| bad())?).map_err(|why| why.to_string())?;
            let part = match per {
                "min" => &mut surcharge.per_minute_nanos,
                "call" => &mut surcharge.per_call_nanos,
                _ => return Err(bad()),
            };
            if std::mem::replace(part, price) != 0 {
                return Err(bad());
            }
        }
        Ok(surcharge)
    }
}

/// Everything that a plain row does not have. Each clause is off where nothing is said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Clauses {
    #[serde(with = "text", skip_serializing_if = "is_usual")]
    pub length: Length,
    #[serde(with = "text", skip_serializing_if = "is_usual")]
    pub no_length: NoLength,
    /// A shorter call costs nothing.
    #[serde(skip_serializing_if = "is_usual")]
    pub short_ms: u64,
    /// The first stretch of every call, which nobody pays; increments begin after it.
    #[serde(skip_serializing_if = "is_usual")]
    pub free_ms: u64,
    #[serde(with = "text", skip_serializing_if = "is_usual")]
    pub on_change: OnChange,
    /// Prices by how long the call has been paid.
    #[serde(with = "text", skip_serializing_if = "Tiers::is_empty")]
    pub tiers: Tiers,
    /// Prices by how long calls to the destination have been paid in the month.
    #[serde(with = "text", skip_serializing_if = "Tiers::is_empty")]
    pub month_tiers: Tiers,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bands: Option<Bands>,
    #[serde(with = "text", skip_serializing_if = "Surcharge::is_none")]
    pub mobile: Surcharge,
    #[serde(with = "text", skip_serializing_if = "Surcharge::is_none")]
    pub payphone: Surcharge,
    /// The least that a call costs which costs anything.
    #[serde(skip_serializing_if = "is_usual")]
    pub minimum_nanos: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maximum_nanos: Option<i64>,
    #[serde(with = "text", skip_serializing_if = "is_usual")]
    pub at_maximum: AtMaximum,
    #[serde(with = "text", skip_serializing_if = "is_usual")]
    pub rounding: Rounding,
    #[serde(skip_serializing_if = "Places::is_usual")]
    pub places: Places,
}

fn is_usual<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Decimal places of a charge: 4, unless a row says otherwise; never more than the ledger's 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Places(u8);

impl Places {
    pub const USUAL: Places = Places(4);

    pub const fn count(self) -> u8 {
        self.0
    }

    const fn is_usual(&self) -> bool {
        self.0 == Places::USUAL.0
    }
}

impl Default for Places {
    fn default() -> Places {
        Places::USUAL
    }
}

impl TryFrom<u8> for Places {
    type Error = &'static str;
    fn try_from(places: u8) -> Result<Places, &'static str> {
        if places <= 6 { Ok(Places(places)) } else { Err("expected 0 to 6 places") }
    }
}

impl From<Places> for u8 {
    fn from(places: Places) -> u8 {
        places.0
    }
}

impl Clauses {
    /// A plain row's.
    pub const NONE: Clauses = Clauses {
        length: Length::Exact,
        no_length: NoLength::Zero,
        short_ms: 0,
        free_ms: 0,
        on_change: OnChange::IncrementStart,
        tiers: Tiers::NONE,
        month_tiers: Tiers::NONE,
        bands: None,
        mobile: Surcharge::NONE,
        payphone: Surcharge::NONE,
        minimum_nanos: 0,
        maximum_nanos: None,
        at_maximum: AtMaximum::Free,
        rounding: Rounding::HalfUp,
        places: Places::USUAL,
    };

    pub fn is_none(&self) -> bool {
        *self == Clauses::NONE
    }

    pub const fn surcharge(&self, origin: Origin) -> Surcharge {
        match origin {
            Origin::Fixed => Surcharge::NONE,
            Origin::Mobile => self.mobile,
            Origin::Payphone => self.payphone,
        }
    }

    /// Clauses that say two things at once.
    pub fn check(&self) -> Result<(), &'static str> {
        let shapes = [!self.tiers.is_empty(), !self.month_tiers.is_empty(), self.bands.is_some()];
        match () {
            () if shapes.iter().filter(|shape| **shape).count() > 1 => {
                Err("a row has tiers, month_tiers or bands: one of them")
            }
            () if self.maximum_nanos.is_some_and(|maximum| maximum < self.minimum_nanos) => {
                Err("the maximum is less than the minimum")
            }
            () if self.maximum_nanos.is_none() && self.at_maximum != AtMaximum::Free => {
                Err("at_maximum without a maximum")
            }
            () => Ok(()),
        }
    }

    /// The measured length as it counts: read in its unit, free if short, less what is free of every call.
    pub fn billable(&self, elapsed_ms: u64) -> u64 {
        let read = match (self.length.read(elapsed_ms), self.no_length) {
            (0, NoLength::Minimum) => 1,
            (read, _) => read,
        };
        if read < self.short_ms { 0 } else { read.saturating_sub(self.free_ms) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_read_in_its_unit_and_runs_as_far_as_it_is_read_so() {
        for (unit, at_6_100, at_6_500) in
            [("exact", 6_100, 6_500), ("ceil-s", 7_000, 7_000), ("floor-s", 6_000, 6_000), ("nearest-s", 6_000, 7_000)]
        {
            let length: Length = unit.parse().unwrap();
            assert_eq!((length.read(6_100), length.read(6_500)), (at_6_100, at_6_500), "{unit}");
            for ms in [1_000, 59_999, 60_000, 60_001] {
                let longest = length.longest(ms);
                assert!(length.read(longest) <= ms && length.read(longest + 1) > ms, "{unit} {ms}");
            }
        }
    }

    #[test]
    fn tiers_and_surcharges_read_back_and_refuse_what_they_cannot_mean() {
        let tiers = Tiers::parse("600:0.02 1200:0.015", 1_000).unwrap();
        assert_eq!(
            (tiers.text(1_000).as_str(), tiers.to_string().as_str()),
            ("600:0.0200 1200:0.0150", "600000:0.0200 1200000:0.0150")
        );
        assert_eq!(tiers.after(700_000), (Some(20_000_000), Tiers::parse("500:0.015", 1_000).unwrap()));
        for bad in ["600", "600:x", "600:-1", "600:0.02 600:0.01", "0:0.02", "99999999999999999999:1"] {
            assert!(Tiers::parse(bad, 1_000).is_err(), "{bad}");
        }
        for good in ["", "0.0300/min", "0.4940/call", "0.0100/min 0.4940/call"] {
            assert_eq!(good.parse::<Surcharge>().unwrap().to_string(), good);
        }
        for bad in ["0.03", "0.03/h", "-1/min", "1/min 2/min"] {
            assert!(bad.parse::<Surcharge>().is_err(), "{bad}");
        }
    }

    #[test]
    fn clauses_are_frozen_with_what_is_unusual_alone() {
        assert_eq!(serde_json::to_string(&Clauses::NONE).unwrap(), "{}");
        assert_eq!(Clauses::default(), Clauses::NONE);
        let clauses = Clauses {
            length: Length::CeilSecond,
            free_ms: 30_000,
            bands: Bands::parse("daily 08:00-19:00 0.03", "Europe/Rome", "2026-12-25").ok(),
            mobile: "0.03/min".parse().unwrap(),
            maximum_nanos: Some(2_000_000_000),
            at_maximum: AtMaximum::Disconnect,
            places: Places(2),
            ..Clauses::NONE
        };
        let line = serde_json::to_string(&clauses).unwrap();
        assert_eq!(serde_json::from_str::<Clauses>(&line).unwrap(), clauses);
        assert!(!line.contains("tiers") && !line.contains("minimum"), "{line}");
        assert!(serde_json::from_str::<Clauses>("{\"places\":7}").is_err());
    }
}
