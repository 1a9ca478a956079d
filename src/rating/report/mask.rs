//! Whose numbers are shown, and how much of them. The last digits of an outside party are hidden as the country of the
//! organisation asks (research/microsoft-audio-conferencing.md, 5.5); our own numbers are never.

use crate::rating::record::{UsageRecord, starred, starred_digits};
use crate::rating::{CallType, words};
use crate::types::{Country, E164};
use std::collections::BTreeMap;

/// When digits are hidden.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// Never.
    Off,
    /// As the organisation's country asks.
    #[default]
    Country,
    /// Always: four at least, more where a country asks for more.
    All,
}

words!(Rule: "expected off, country or all" { Off "off", Country "country", All "all" });

/// Hidden under [`Rule::All`] where no country asks for more.
const ALWAYS: usize = 4;

/// How numbers are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masking {
    pub rule: Rule,
    /// Over the table of countries.
    pub digits: BTreeMap<Country, u8>,
}

impl Masking {
    /// Everything is shown.
    pub fn off() -> Masking {
        Masking { rule: Rule::Off, digits: BTreeMap::new() }
    }

    /// How many last digits are hidden from an organisation of this country; of none where nobody pays, as under no
    /// country's rule.
    pub fn stars(&self, organisation: Option<Country>) -> usize {
        let asked = |country: Country| {
            self.digits.get(&country).map_or_else(|| starred_digits(country), |digits| usize::from(*digits))
        };
        let of_country = organisation.map_or(0, asked);
        match self.rule {
            Rule::Off => 0,
            Rule::Country => of_country,
            Rule::All => of_country.max(ALWAYS),
        }
    }

    /// An outside party's number as it is shown.
    pub fn outside(&self, number: &E164, organisation: Option<Country>) -> String {
        if number.is_forgotten() { String::new() } else { starred(number, self.stars(organisation)) }
    }

    /// The caller and the number called of a record, as they are shown; empty what is not known.
    pub fn parties(&self, record: &UsageRecord, organisation: Option<Country>) -> (String, String) {
        let outside = |number: Option<E164>| number.map(|n| self.outside(&n, organisation)).unwrap_or_default();
        let ours = |number: Option<E164>| number.map(|n| n.to_string()).unwrap_or_default();
        match record.call_type {
            CallType::DialOut => (ours(record.caller), outside(Some(record.destination))),
            CallType::DialInToll | CallType::DialInTollFree => (outside(record.caller), ours(Some(record.destination))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn country(code: &str) -> Option<Country> {
        code.parse().ok()
    }

    #[test]
    fn digits_are_hidden_by_rule_and_country() {
        let number: E164 = "+393331234567".parse().unwrap();
        let own = Masking { rule: Rule::Country, digits: BTreeMap::from([(country("US").unwrap(), 2)]) };
        let by_country = Masking::default();
        let all = Masking { rule: Rule::All, ..Masking::default() };
        for (masking, organisation, shown) in [
            (&Masking::off(), "IT", "+393331234567"),
            (&by_country, "IT", "+393331234***"),
            (&by_country, "CH", "+39333123****"),
            (&by_country, "US", "+393331234567"),
            (&own, "US", "+3933312345**"),
            (&own, "IT", "+393331234***"),
            (&all, "US", "+39333123****"),
            (&all, "CH", "+39333123****"),
        ] {
            assert_eq!(masking.outside(&number, country(organisation)), shown, "{masking:?} {organisation}");
        }
        assert_eq!(by_country.outside(&number, None), "+393331234567");
        assert_eq!(all.outside(&number, None), "+39333123****");
        assert_eq!(Masking::off().outside(&E164::FORGOTTEN, None), "");
    }
}
