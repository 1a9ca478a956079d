//! The frozen plan of one leg: who pays, at which rates, changes already scheduled included. Made by `decide`, kept with
//! the leg as one line of text; a deck that is imported later never touches it.

use crate::clock::Wall;
use crate::rating::rate::RateRow;
use crate::rating::{CallType, Capability, Funding};
use crate::types::{Country, Currency};
use serde::{Deserialize, Serialize};

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
    /// What a reader of the record must know, in sentences.
    pub notes: Vec<String>,
    /// The moment from which scheduled changes are counted: the decision, then the answer.
    #[serde(with = "moment")]
    pub from: Wall,
}

/// The rates of a leg: the row at its start, and changes that were already scheduled then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tariff {
    /// Which deck: the head of its hash.
    pub deck: String,
    pub row: RateRow,
    /// In the order of their moments. Of a later row only the rate a minute counts: fee and increments stay as begun.
    pub later: Vec<Step>,
}

/// A change of rate at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    #[serde(with = "moment")]
    pub from: Wall,
    pub row: RateRow,
}

impl Terms {
    /// The leg was answered at `at`: rates count from here. A change that came while it rang is the row of its start.
    pub fn answered(&mut self, at: Wall) {
        self.from = at;
        let Some(tariff) = &mut self.tariff else { return };
        let passed = tariff.later.iter().take_while(|step| step.from <= at).count();
        if let Some(step) = tariff.later.drain(..passed).next_back() {
            tariff.row = step.row;
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
        };
        Terms {
            call_type: CallType::DialOut,
            funding,
            capability: Capability::AudioConferencing,
            tariff: Some(Tariff { deck: "0a1b2c".to_owned(), row, later: Vec::new() }),
            currency: Currency::USD,
            country: "IT".parse().unwrap(),
            priced_country: "IT".parse().unwrap(),
            zone_a: true,
            domestic: true,
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
        let dearer = Terms::sample(Funding::Credits, "0.02", "0", 60_000, 60_000).tariff.unwrap().row;
        let change = terms.from.plus_millis(10_000);
        terms.tariff.as_mut().unwrap().later.push(Step { from: change, row: dearer.clone() });
        let mut early = terms.clone();
        early.answered(terms.from.plus_millis(9_999));
        assert_eq!(early.tariff.unwrap().later.len(), 1);
        terms.answered(change);
        assert_eq!(terms.tariff.as_ref().map(|t| (&t.row, t.later.len())), Some((&dearer, 0)));
    }
}
