//! One row of a deck: what a minute costs, from when, in which steps.

use crate::clock::Wall;
use crate::rating::{Clauses, terms::text, words};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The dearest minute and the dearest connect fee that a deck may name: beyond it a row is a slip of the keyboard, and
/// below it no call of any length leaves the range of the exact integers in `price`.
pub const DEAREST: i64 = 1_000;

/// The longest increment: an hour. A longer one would hold more for a call than any tariff means.
pub const LONGEST_INCREMENT_MS: u64 = 3_600_000;

/// Billionths in a unit of currency: rates have up to nine places.
const NANOS: i64 = 1_000_000_000;

/// What kind of number a prefix leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    #[default]
    Standard,
    Mobile,
    SharedCost,
    Premium,
    Satellite,
    Emergency,
    Blocked,
}

words!(Class: "expected standard, mobile, shared-cost, premium, satellite, emergency or blocked" {
    Standard "standard",
    Mobile "mobile",
    SharedCost "shared-cost",
    Premium "premium",
    Satellite "satellite",
    Emergency "emergency",
    Blocked "blocked",
});

impl Class {
    /// Called without being allowed by name. What is not plainly ordinary is not.
    pub const fn is_ordinary(self) -> bool {
        matches!(self, Class::Standard | Class::Mobile)
    }
}

/// The price of a minute and its increments. It exists only if it can be charged: nothing negative, at most nine
/// decimal places, increments from 1 ms to an hour.
/// What else a row may ask for stands in its [`Clauses`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Rate {
    per_minute_nanos: i64,
    connect_fee_nanos: i64,
    initial_ms: u64,
    next_ms: u64,
}

/// Why numbers make no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRate {
    Negative,
    TooPrecise,
    TooDear,
    BadIncrement,
}

impl fmt::Display for BadRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadRate::Negative => "a price cannot be negative",
            BadRate::TooPrecise => "at most 9 decimal places",
            BadRate::TooDear => "more than 1000 a minute or a call",
            BadRate::BadIncrement => "increments last from 0.001 to 3600 seconds",
        })
    }
}

impl std::error::Error for BadRate {}

/// A price as whole billionths: nothing negative, nothing that cannot be a price.
pub(super) fn price_nanos(price: Decimal) -> Result<i64, BadRate> {
    if price.is_sign_negative() && !price.is_zero() {
        return Err(BadRate::Negative);
    }
    if price > Decimal::from(DEAREST) {
        return Err(BadRate::TooDear);
    }
    let scaled = price * Decimal::from(NANOS);
    if !scaled.fract().is_zero() {
        return Err(BadRate::TooPrecise);
    }
    i64::try_from(scaled.trunc()).map_err(|_| BadRate::TooDear)
}

/// Billionths as people read prices.
pub(super) fn price_text(nanos: i64) -> String {
    decimal(nanos).to_string()
}

fn decimal(nanos: i64) -> Decimal {
    let value = Decimal::new(nanos, 9).normalize();
    // Prices are read with four places, as published decks print them, and with more only where they have more.
    let mut shown = value;
    shown.rescale(value.scale().max(4));
    shown
}

impl Rate {
    /// A rate a minute, a fee a call, the first and each further increment.
    pub fn new(per_minute: Decimal, connect_fee: Decimal, initial_ms: u64, next_ms: u64) -> Result<Rate, BadRate> {
        let increments = 1..=LONGEST_INCREMENT_MS;
        if !increments.contains(&initial_ms) || !increments.contains(&next_ms) {
            return Err(BadRate::BadIncrement);
        }
        let (per_minute_nanos, connect_fee_nanos) = (price_nanos(per_minute)?, price_nanos(connect_fee)?);
        Ok(Rate { per_minute_nanos, connect_fee_nanos, initial_ms, next_ms })
    }

    pub fn per_minute(&self) -> Decimal {
        decimal(self.per_minute_nanos)
    }

    pub fn connect_fee(&self) -> Decimal {
        decimal(self.connect_fee_nanos)
    }

    /// Billionths of the currency unit a minute.
    pub const fn per_minute_nanos(&self) -> i64 {
        self.per_minute_nanos
    }

    /// Billionths of the currency unit a call.
    pub const fn connect_fee_nanos(&self) -> i64 {
        self.connect_fee_nanos
    }

    pub const fn initial_ms(&self) -> u64 {
        self.initial_ms
    }

    pub const fn next_ms(&self) -> u64 {
        self.next_ms
    }

    /// How many increments `ms` of talk use. Increments are half-open: exactly two minutes are two, not three.
    pub const fn increments(&self, ms: u64) -> u64 {
        match ms.checked_sub(self.initial_ms) {
            _ if ms == 0 => 0,
            None => 1,
            Some(rest) => 1 + rest.div_ceil(self.next_ms),
        }
    }

    /// Where the `count`th increment ends.
    pub const fn edge_of(&self, count: u64) -> u64 {
        match count.checked_sub(1) {
            None => 0,
            Some(further) => self.initial_ms.saturating_add(further.saturating_mul(self.next_ms)),
        }
    }

    /// `ms` brought up to the edge of its increment: what is billed.
    pub const fn edge(&self, ms: u64) -> u64 {
        self.edge_of(self.increments(ms))
    }
}

/// A rate as it stands in frozen terms: decimals in text.
#[derive(Clone, Serialize, Deserialize)]
struct Written {
    per_minute: Decimal,
    connect_fee: Decimal,
    initial_ms: u64,
    next_ms: u64,
}

impl From<Rate> for Written {
    fn from(rate: Rate) -> Written {
        let (per_minute, connect_fee) = (rate.per_minute(), rate.connect_fee());
        Written { per_minute, connect_fee, initial_ms: rate.initial_ms, next_ms: rate.next_ms }
    }
}

impl TryFrom<Written> for Rate {
    type Error = BadRate;
    fn try_from(written: Written) -> Result<Rate, BadRate> {
        Rate::new(written.per_minute, written.connect_fee, written.initial_ms, written.next_ms)
    }
}

/// A row of the deck, as it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateRow {
    /// Digits, without `+`.
    pub prefix: Box<str>,
    /// The name of what the prefix leads to, for people.
    pub destination: Box<str>,
    #[serde(with = "text")]
    pub class: Class,
    pub rate: Rate,
    /// The first moment at which the row is valid; it is valid until a later row of its prefix is, or `valid_to`.
    #[serde(with = "crate::rating::terms::moment")]
    pub valid_from: Wall,
    #[serde(with = "crate::rating::terms::moment_or_none", default, skip_serializing_if = "Option::is_none")]
    pub valid_to: Option<Wall>,
    /// What is beyond a plain rate; most rows have nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clauses: Option<Box<Clauses>>,
}

impl RateRow {
    pub fn clauses(&self) -> &Clauses {
        static NONE: Clauses = Clauses::NONE;
        self.clauses.as_deref().unwrap_or(&NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_what_can_be_charged_is_a_rate() {
        let make = |rate: &str, fee: &str, initial, next| {
            Rate::new(rate.parse().unwrap(), fee.parse().unwrap(), initial, next)
        };
        assert!(make("0.000000001", "0", 1, 3_600_000).is_ok());
        for (rate, fee, initial, next, why) in [
            ("-0.01", "0", 1, 1, BadRate::Negative),
            ("0", "-1", 1, 1, BadRate::Negative),
            ("0.0000000001", "0", 1, 1, BadRate::TooPrecise),
            ("1000.000000001", "0", 1, 1, BadRate::TooDear),
            ("79228162514264337593543950335", "0", 1, 1, BadRate::TooDear),
            ("0", "0", 0, 1, BadRate::BadIncrement),
            ("0", "0", 1, 0, BadRate::BadIncrement),
            ("0", "0", 3_600_001, 1, BadRate::BadIncrement),
        ] {
            assert_eq!(make(rate, fee, initial, next), Err(why), "{rate} {fee} {initial} {next}");
        }
    }

    #[test]
    fn prices_show_four_places_or_all_they_have() {
        let rate = |text: &str| Rate::new(text.parse().unwrap(), Decimal::ZERO, 1, 1).unwrap().per_minute().to_string();
        assert_eq!(
            [rate("0.01"), rate("0.012340"), rate("7"), rate("0.123456789")],
            ["0.0100", "0.01234", "7.0000", "0.123456789"]
        );
    }

    proptest! {
        #[test]
        fn an_edge_is_the_first_of_the_grid_at_or_after(initial in 1_u64..100_000, next in 1_u64..100_000, ms in 0_u64..1_000_000) {
            let rate = Rate::new(Decimal::ZERO, Decimal::ZERO, initial, next).unwrap();
            let (count, edge) = (rate.increments(ms), rate.edge(ms));
            prop_assert!(edge >= ms && rate.edge_of(count) == edge && rate.edge(edge) == edge);
            prop_assert!(count == 0 || rate.edge_of(count - 1) < ms);
        }
    }
}
