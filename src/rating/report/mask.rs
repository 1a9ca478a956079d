//! Whose numbers are shown, and how much of them. In reports the last digits of an outside party are hidden as the country
//! of the organisation asks (research/microsoft-audio-conferencing.md, 5.5). Everywhere else it depends on who asks: whoever
//! runs calls sees whom they are with, whoever reads along does not. Our own numbers are never hidden.

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

/// Hidden under [`Rule::All`], and from whoever reads along, where no country asks for more.
const ALWAYS: usize = 4;

/// What whoever asks may see of outside parties' numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View {
    /// Whole numbers, but in reports.
    #[default]
    Whole,
    /// Nowhere the last digits: four at least, more where a country asks for more. Only [`Rule::Off`] shows them.
    Masked,
}

/// How numbers are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Masking {
    pub rule: Rule,
    /// Over the table of countries.
    pub digits: BTreeMap<Country, u8>,
    /// Of whoever asks.
    pub view: View,
}

impl Masking {
    /// Everything is shown.
    pub fn off() -> Masking {
        Masking { rule: Rule::Off, ..Masking::default() }
    }

    /// The same for somebody else's eyes.
    pub fn seen(&self, view: View) -> Masking {
        Masking { view, ..self.clone() }
    }

    /// As whoever is no part of the house sees numbers: hidden, also where the house hides none from its own.
    pub fn for_outsiders(&self) -> Masking {
        let rule = if self.rule == Rule::Off { Rule::Country } else { self.rule };
        Masking { rule, view: View::Masked, ..self.clone() }
    }

    /// How many last digits are hidden from an organisation of this country; of none where nobody pays, as under no
    /// country's rule.
    pub fn stars(&self, organisation: Option<Country>) -> usize {
        let asked = |country: Country| {
            self.digits.get(&country).map_or_else(|| starred_digits(country), |digits| usize::from(*digits))
        };
        let of_country = organisation.map_or(0, asked);
        match (self.rule, self.view) {
            (Rule::Off, _) => 0,
            (Rule::Country, View::Whole) => of_country,
            (Rule::All, _) | (Rule::Country, View::Masked) => of_country.max(ALWAYS),
        }
    }

    /// An outside party's number beyond reports: in records, running calls, alerts.
    pub fn party(&self, number: &E164, organisation: Option<Country>) -> String {
        match self.view {
            View::Whole if number.is_forgotten() => String::new(),
            View::Whole => number.to_string(),
            View::Masked => self.outside(number, organisation),
        }
    }

    /// The outside party of a record beyond reports; empty where it is not known.
    pub fn party_of(&self, record: &UsageRecord, organisation: Option<Country>) -> String {
        record.outside().map(|number| self.party(&number, organisation)).unwrap_or_default()
    }

    /// An outside party's number as reports show it.
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
        let own = Masking { digits: BTreeMap::from([(country("US").unwrap(), 2)]), ..Masking::default() };
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

    /// Each rule and each view: in a report, and beyond it.
    #[test]
    fn whoever_reads_along_sees_the_end_of_no_number() {
        let number: E164 = "+393331234567".parse().unwrap();
        let (whole, three, four) = ("+393331234567", "+393331234***", "+39333123****");
        for (rule, view, organisation, report, beyond) in [
            (Rule::Off, View::Whole, "IT", whole, whole),
            (Rule::Off, View::Masked, "IT", whole, whole),
            (Rule::Country, View::Whole, "IT", three, whole),
            (Rule::Country, View::Whole, "US", whole, whole),
            (Rule::Country, View::Masked, "IT", four, four),
            (Rule::Country, View::Masked, "US", four, four),
            (Rule::All, View::Whole, "US", four, whole),
            (Rule::All, View::Masked, "CH", four, four),
        ] {
            let masking = Masking { rule, ..Masking::default() }.seen(view);
            let shown =
                (masking.outside(&number, country(organisation)), masking.party(&number, country(organisation)));
            assert_eq!((&*shown.0, &*shown.1), (report, beyond), "{rule} {view:?} {organisation}");
            assert_eq!(masking.party(&E164::FORGOTTEN, country(organisation)), "");
        }
        let long = Masking { digits: BTreeMap::from([(country("IT").unwrap(), 6)]), ..Masking::default() };
        assert_eq!(long.seen(View::Masked).party(&number, country("IT")), "+393331******");
        assert_eq!(long.seen(View::Masked).party(&number, None), four);
    }
}
