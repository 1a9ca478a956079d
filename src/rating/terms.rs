//! The frozen plan of one leg: who pays, at which rates, changes already scheduled included. Made by `decide`, kept with
//! the leg as one line of text; a deck that is imported later never touches it.

use crate::clock::Wall;
use crate::rating::clauses::{Origin, Tiers};
use crate::rating::rate::RateRow;
use crate::rating::{CallType, Capability, Funding};
use crate::types::{Country, Currency};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What was decided for a leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    #[serde(with = "text")]
    pub call_type: CallType,
    #[serde(with = "text")]
    pub funding: Funding,
    /// The capability of a leg that never leaves its first funding; [`crate::rating::Settlement`] has the last word.
    #[serde(with = "text")]
    pub capability: Capability,
    /// The rates; `None` where no second can cost anything.
    pub tariff: Option<Tariff>,
    #[serde(with = "text")]
    pub currency: Currency,
    /// In: the country of our number. Out: the destination's.
    #[serde(with = "text")]
    pub country: Country,
    /// The country whose rate applies: the caller's for North American toll-free, else `country`.
    #[serde(with = "text")]
    pub priced_country: Country,
    pub zone_a: bool,
    /// `country` is the organiser's own. It matters to policy and reports, never to the price.
    pub domestic: bool,
    #[serde(with = "text", default, skip_serializing_if = "is_usual")]
    pub pool_split: PoolSplit,
    /// The first moment of the month whose minutes decide a price, where they do.
    #[serde(with = "moment_or_none", default, skip_serializing_if = "Option::is_none")]
    pub month: Option<Wall>,
    /// The month's minutes that stood before this leg, where they decide a price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub month_used_ms: Option<u64>,
    /// What a reader of the record must know, in sentences.
    pub notes: Vec<String>,
    /// The moment from which scheduled changes are counted: the decision, then the answer.
    #[serde(with = "moment")]
    pub from: Wall,
}

/// The rates of a leg: the row, and prices by the moment from which they are valid, as far as they were known at its
/// start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tariff {
    /// Which deck: the head of its hash.
    pub deck: String,
    /// Fee, increments and clauses of the whole leg, its bands and monthly tiers worked out into `price` and `later`.
    pub row: RateRow,
    /// The price at the start.
    pub price: Price,
    /// In the order of their moments. Fee, increments and all other clauses stay as begun.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub later: Vec<Step>,
    /// Where the call began, where the row has a surcharge for it.
    #[serde(with = "text", default, skip_serializing_if = "is_usual")]
    pub origin: Origin,
    /// Off the price of minutes, in hundredths of a percent.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub discount: Discount,
    /// From the deck's currency into the organisation's; `None` where they are one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<Exchange>,
}

/// What a minute costs from some moment on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    #[serde(with = "nanos_text")]
    pub per_minute_nanos: i64,
    #[serde(with = "text", default, skip_serializing_if = "Tiers::is_empty")]
    pub tiers: Tiers,
    /// The tiers count the month's minutes.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub monthly: bool,
    /// Why this price, in words: a band, a change of the deck. Empty where it is the row's own.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub why: Box<str>,
}

/// A change of price at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    #[serde(with = "moment")]
    pub from: Wall,
    pub price: Price,
}

/// Hundredths of a percent, at most all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Discount(u16);

impl Discount {
    pub const WHOLE: u16 = 10_000;

    /// What is left to pay, in ten-thousandths.
    pub const fn rest(self) -> u16 {
        Discount::WHOLE - self.0
    }

    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    pub const fn hundredths(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Discount {
    type Error = &'static str;
    fn try_from(hundredths: u16) -> Result<Discount, &'static str> {
        if hundredths <= Discount::WHOLE { Ok(Discount(hundredths)) } else { Err("expected a discount of 0 to 100 %") }
    }
}

impl From<Discount> for u16 {
    fn from(discount: Discount) -> u16 {
        discount.0
    }
}

/// `10%`, `12.5%`.
impl fmt::Display for Discount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", Decimal::new(i64::from(self.0), 2).normalize())
    }
}

impl FromStr for Discount {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Discount, &'static str> {
        const EXPECTED: &str = "expected a discount like 10% or 12.5%";
        let percent = text.strip_suffix('%').and_then(|number| Decimal::from_str_exact(number.trim()).ok());
        let hundredths = percent.and_then(|percent| percent.checked_mul(Decimal::ONE_HUNDRED)).ok_or(EXPECTED)?;
        let whole = Some(hundredths).filter(|hundredths| hundredths.fract().is_zero()).ok_or(EXPECTED)?;
        u16::try_from(whole).map_err(|_| EXPECTED)?.try_into()
    }
}

/// An exchange rate, as it was at the start of the leg: one unit of `from` is `nanos` billionths of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    #[serde(with = "text")]
    pub from: Currency,
    #[serde(with = "exchange_text")]
    pub nanos: i64,
}

impl Exchange {
    /// The dearest unit: beyond it a rate is a slip of the keyboard, and below it no charge leaves the exact range.
    pub const MOST: i64 = 100_000;

    /// More than zero, at most [`Exchange::MOST`], nine places.
    pub fn new(from: Currency, rate: Decimal) -> Result<Exchange, &'static str> {
        const EXPECTED: &str = "expected a rate of exchange above 0, up to 100000, of at most 9 places";
        let scaled = Some(rate).filter(|rate| *rate > Decimal::ZERO && *rate <= Decimal::from(Exchange::MOST));
        let scaled = scaled.map(|rate| rate * Decimal::from(1_000_000_000)).filter(|nanos| nanos.fract().is_zero());
        let nanos = scaled.and_then(|nanos| i64::try_from(nanos.trunc()).ok()).filter(|nanos| *nanos > 0);
        Ok(Exchange { from, nanos: nanos.ok_or(EXPECTED)? })
    }

    pub fn rate(&self) -> Decimal {
        Decimal::new(self.nanos, 9).normalize()
    }
}

/// What the pool takes of a leg that it pays in part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoolSplit {
    /// Seconds; the grid of increments starts anew on the rest.
    #[default]
    Second,
    /// Whole increments; the grid goes on.
    Increment,
}

crate::rating::words!(PoolSplit: "expected second or increment" { Second "second", Increment "increment" });

fn is_usual<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Terms {
    /// The leg was answered at `at`: rates count from here. A change that came while it rang is the price of its start.
    pub fn answered(&mut self, at: Wall) {
        self.from = at;
        let Some(tariff) = &mut self.tariff else { return };
        let passed = tariff.later.iter().take_while(|step| step.from <= at).count();
        if let Some(step) = tariff.later.drain(..passed).next_back() {
            tariff.price = step.price;
        }
    }

    /// The destination whose minutes of the month decide a price of this leg; `None` where none does.
    pub fn month_destination(&self) -> Option<&str> {
        let tariff = self.paid_tariff()?;
        let monthly = tariff.price.monthly || tariff.later.iter().any(|step| step.price.monthly);
        monthly.then_some(&*tariff.row.destination)
    }

    /// The leg counts into the month that begins at `month`, of whose minutes `used_ms` are used or held already.
    pub fn month_used(&mut self, month: Wall, used_ms: u64) {
        (self.month, self.month_used_ms) = (Some(month), Some(used_ms));
        let Some(tariff) = &mut self.tariff else { return };
        let prices = std::iter::once(&mut tariff.price).chain(tariff.later.iter_mut().map(|step| &mut step.price));
        for price in prices.filter(|price| price.monthly) {
            let (now, rest) = price.tiers.after(used_ms);
            price.per_minute_nanos = now.unwrap_or(price.per_minute_nanos);
            price.tiers = rest;
        }
    }

    /// One line of JSON, as the store keeps it.
    pub fn to_line(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads [`Terms::to_line`] back.
    pub fn from_line(line: &str) -> Result<Terms, String> {
        serde_json::from_str(line).map_err(|error| error.to_string())
    }

    /// "domestic" or "international", as usage records say it.
    pub const fn reach(&self) -> &'static str {
        if self.domestic { "domestic" } else { "international" }
    }
}

/// Values that are written by their text form.
pub(crate) mod text {
    use serde::{Deserialize, Deserializer, Serializer, de};
    use std::fmt::Display;
    use std::str::FromStr;

    pub fn serialize<T: Display, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(from: D) -> Result<T, D::Error>
    where
        T::Err: Display,
    {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// Moments, written as microseconds since 1970.
pub(crate) mod moment {
    use crate::clock::Wall;
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(at: &Wall, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(at.micros())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Wall, D::Error> {
        i64::deserialize(from).map(Wall::from_micros)
    }
}

/// Prices, written as people read them.
mod nanos_text {
    use crate::rating::rate::{price_nanos, price_text};
    use rust_decimal::Decimal;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(nanos: &i64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&price_text(*nanos))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
        let price = String::deserialize(from)?.parse::<Decimal>().map_err(de::Error::custom)?;
        price_nanos(price).map_err(de::Error::custom)
    }
}

/// Rates of exchange, likewise.
mod exchange_text {
    use crate::rating::terms::Exchange;
    use crate::types::Currency;
    use rust_decimal::Decimal;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub fn serialize<S: Serializer>(nanos: &i64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&Decimal::new(*nanos, 9).normalize())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
        let rate = String::deserialize(from)?.parse::<Decimal>().map_err(de::Error::custom)?;
        Exchange::new(Currency::USD, rate).map(|exchange| exchange.nanos).map_err(de::Error::custom)
    }
}

/// As [`text`], for what may be absent.
pub(crate) mod text_or_none {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
    use std::fmt::Display;
    use std::str::FromStr;

    pub fn serialize<T: Display, S: Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(T::to_string).serialize(to)
    }

    pub fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error>
    where
        T::Err: Display,
    {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse().map_err(de::Error::custom)).transpose()
    }
}

/// As [`moment`], for what may not have happened.
pub(crate) mod moment_or_none {
    use crate::clock::Wall;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(at: &Option<Wall>, to: S) -> Result<S::Ok, S::Error> {
        at.map(Wall::micros).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Wall>, D::Error> {
        Ok(Option::<i64>::deserialize(from)?.map(Wall::from_micros))
    }
}

impl Tariff {
    /// The price of `row` and nothing else: no band, no change to come.
    pub fn plain(deck: &str, row: RateRow) -> Tariff {
        let tiers = row.clauses().tiers.clone();
        let price = Price { per_minute_nanos: row.rate.per_minute_nanos(), tiers, monthly: false, why: "".into() };
        Tariff {
            deck: deck.to_owned(),
            row,
            price,
            later: Vec::new(),
            origin: Origin::Fixed,
            discount: Discount::default(),
            exchange: None,
        }
    }
}

#[cfg(test)]
impl Terms {
    /// Terms for tests: a call out to Italy, USD, at a rate a minute with a fee and increments in milliseconds.
    pub(crate) fn sample(funding: Funding, rate: &str, fee: &str, initial_ms: u64, next_ms: u64) -> Terms {
        let row = RateRow {
            prefix: "39".into(),
            destination: "Italy".into(),
            class: crate::rating::Class::Standard,
            rate: crate::rating::Rate::new(rate.parse().unwrap(), fee.parse().unwrap(), initial_ms, next_ms).unwrap(),
            valid_from: Wall::from_seconds(0),
            valid_to: None,
            clauses: None,
        };
        Terms {
            call_type: CallType::DialOut,
            funding,
            capability: Capability::AudioConferencing,
            tariff: Some(Tariff::plain("0a1b2c", row)),
            currency: Currency::USD,
            country: "IT".parse().unwrap(),
            priced_country: "IT".parse().unwrap(),
            zone_a: true,
            domestic: true,
            pool_split: PoolSplit::Second,
            month: None,
            month_used_ms: None,
            notes: Vec::new(),
            from: Wall::from_seconds(1_700_000_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_terms_are_one_line_and_read_back_the_same() {
        for funding in ["included", "pool", "pool-then-credits", "credits", "free"] {
            let mut terms = Terms::sample(funding.parse().unwrap(), "0.012345678", "0.05", 60_000, 1);
            terms.notes.push("a \"note\"\nof two lines".to_owned());
            let line = terms.to_line();
            assert!(!line.contains('\n'));
            assert_eq!(Terms::from_line(&line), Ok(terms));
        }
    }

    #[test]
    fn what_could_not_be_charged_is_not_read_back() {
        let line = Terms::sample(Funding::Credits, "0.01", "0", 60_000, 60_000).to_line();
        for (good, bad) in [("\"next_ms\":60000", "\"next_ms\":0"), ("\"0.0100\"", "\"-1\""), ("credits", "someone")] {
            assert!(line.contains(good));
            assert!(Terms::from_line(&line.replace(good, bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_change_while_it_rang_is_the_row_of_its_start() {
        let mut terms = Terms::sample(Funding::Credits, "0.01", "0", 60_000, 60_000);
        let dearer = Terms::sample(Funding::Credits, "0.02", "0", 60_000, 60_000).tariff.unwrap().price;
        let change = terms.from.plus_millis(10_000);
        terms.tariff.as_mut().unwrap().later.push(Step { from: change, price: dearer.clone() });
        let mut early = terms.clone();
        early.answered(terms.from.plus_millis(9_999));
        assert_eq!(early.tariff.unwrap().later.len(), 1);
        terms.answered(change);
        assert_eq!(terms.tariff.as_ref().map(|t| (&t.price, t.later.len())), Some((&dearer, 0)));
    }
}
