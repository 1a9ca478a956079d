//! Countries: which prefixes are theirs, and what each allows. Independent facts, read from a table.

use crate::form::Mistake;
use crate::rating::CountryRecord;
use crate::rating::rate::Class;
use crate::types::{Country, E164, PrefixMap};
use std::collections::{BTreeMap, HashSet};

/// The table inside the binary.
const EMBEDDED: &str = include_str!("../../config/countries.csv");

/// The prefix of the North American Numbering Plan, which some 25 countries share.
const NORTH_AMERICA: &str = "1";

/// All countries.
#[derive(Clone, Debug, Default)]
pub struct Countries {
    by_code: BTreeMap<Country, Entry>,
    by_prefix: PrefixMap<Country>,
    classes: PrefixMap<(Class, String)>,
    emergency: HashSet<String>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    record: CountryRecord,
    prefixes: Vec<String>,
}

/// Columns of the table, in their order.
const COLUMNS: [&str; 12] = [
    "code",
    "name",
    "prefixes",
    "service_sold",
    "automatic_numbers",
    "toll",
    "toll_free",
    "dial_out",
    "credits_sold",
    "zone_a",
    "emergency",
    "classes",
];

impl Countries {
    /// The table inside the binary.
    pub fn embedded() -> Countries {
        // A test reads the very text that is compiled in, so nothing can be wrong with it here.
        Countries::parse("countries.csv", EMBEDDED).unwrap_or_default()
    }

    /// Reads a table, or tells every mistake in it. Prefixes, emergency numbers and `class:prefix` pairs are lists with
    /// `|` between.
    pub fn parse(file_name: &str, text: &str) -> Result<Countries, Vec<Mistake>> {
        let (mut countries, mut mistakes) = (Countries::default(), Vec::new());
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let mut note = |number: usize, text: String| {
            mistakes.push(Mistake { file: file_name.to_owned(), line: number + 1, text });
        };
        let header = lines.next();
        if header.is_none_or(|(_, line)| line != COLUMNS.join(",")) {
            note(header.map_or(0, |(number, _)| number), format!("expected the header {}", COLUMNS.join(",")));
        }
        for (number, line) in lines {
            if let Err(text) = countries.add(line) {
                note(number, text);
            }
        }
        if mistakes.is_empty() { Ok(countries) } else { Err(mistakes) }
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let Ok(cells) = <[&str; COLUMNS.len()]>::try_from(cells) else {
            return Err(format!("expected {} columns", COLUMNS.len()));
        };
        let code: Country = cells[0].parse().map_err(str::to_owned)?;
        let prefixes: Vec<String> = list(cells[2]).map(str::to_owned).collect();
        for prefix in &prefixes {
            self.claim(code, prefix)?;
        }
        for pair in list(cells[11]) {
            self.classify(pair)?;
        }
        // Some dial 112 with the country's code before it; some without. Neither may leave by a carrier.
        let calling_code = calling_code(prefixes.first().map_or("", String::as_str));
        for number in list(cells[10]) {
            self.emergency.insert(number.to_owned());
            self.emergency.insert(format!("{calling_code}{number}"));
        }
        let entry = Entry { name: cells[1].to_owned(), record: record(&cells[3..10])?, prefixes };
        match self.by_code.insert(code, entry) {
            Some(_) => Err(format!("country {code} twice")),
            None => Ok(()),
        }
    }

    fn claim(&mut self, code: Country, prefix: &str) -> Result<(), String> {
        match self.by_prefix.insert(prefix, code) {
            Ok(None) => Ok(()),
            Ok(Some(other)) => Err(format!("prefix {prefix} is {other}'s already")),
            Err(_) => Err(format!("prefix: expected digits, found \"{prefix}\"")),
        }
    }

    fn classify(&mut self, pair: &str) -> Result<(), String> {
        let (class, prefix) = pair.split_once(':').ok_or("classes: expected class:prefix")?;
        let class: Class = class.parse()?;
        match self.classes.insert(prefix, (class, prefix.to_owned())) {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(format!("classes: prefix {prefix} twice")),
            Err(_) => Err(format!("classes: expected digits, found \"{prefix}\"")),
        }
    }

    /// Whose number it is, by the longest prefix.
    pub fn country_of(&self, number: &E164) -> Option<Country> {
        self.by_prefix.longest(number.digits()).map(|(_, country)| *country)
    }

    pub fn record(&self, country: Country) -> Option<CountryRecord> {
        self.by_code.get(&country).map(|entry| entry.record)
    }

    /// Puts another record in a country's place; whether there is such a country.
    pub fn set_record(&mut self, country: Country, record: CountryRecord) -> bool {
        self.by_code.get_mut(&country).map(|entry| entry.record = record).is_some()
    }

    /// The English name.
    pub fn name(&self, country: Country) -> Option<&str> {
        self.by_code.get(&country).map(|entry| entry.name.as_str())
    }

    /// Its prefixes, without `+`.
    pub fn prefixes(&self, country: Country) -> &[String] {
        self.by_code.get(&country).map_or(&[], |entry| &entry.prefixes)
    }

    pub fn all(&self) -> impl Iterator<Item = Country> {
        self.by_code.keys().copied()
    }

    pub fn len(&self) -> usize {
        self.by_code.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_code.is_empty()
    }

    /// A country of the North American Numbering Plan, where toll-free is priced by the caller.
    pub fn is_north_american(&self, country: Country) -> bool {
        self.prefixes(country).iter().any(|prefix| prefix.starts_with(NORTH_AMERICA))
    }

    /// What is not ordinary about a number, and the range that makes it so: emergency numbers whole, others by prefix.
    pub fn class_of<'a>(&'a self, number: &'a E164) -> Option<(Class, &'a str)> {
        if self.emergency.contains(number.digits()) {
            return Some((Class::Emergency, number.digits()));
        }
        self.classes.longest(number.digits()).map(|(_, (class, prefix))| (*class, prefix.as_str()))
    }
}

fn list(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('|').map(str::trim).filter(|item| !item.is_empty())
}

/// The country code of a prefix: of 1 and 7 the first digit alone (ITU-T E.164.1 lists no longer ones there).
fn calling_code(prefix: &str) -> &str {
    if prefix.starts_with(['1', '7']) { &prefix[..1] } else { prefix }
}

fn record(cells: &[&str]) -> Result<CountryRecord, String> {
    let flag = |place: usize| match cells[place] {
        "yes" => Ok(true),
        "no" => Ok(false),
        other => Err(format!("{}: expected yes or no, found \"{other}\"", COLUMNS[place + 3])),
    };
    Ok(CountryRecord {
        service_sold: flag(0)?,
        automatic_numbers: flag(1)?,
        toll: flag(2)?,
        toll_free: flag(3)?,
        dial_out: flag(4)?,
        credits_sold: flag(5)?,
        zone_a: flag(6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn country(digits: &str) -> String {
        let number = E164::from_digits(digits).unwrap();
        Countries::embedded().country_of(&number).map(|country| country.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_embedded_table_is_whole() {
        let countries = Countries::parse("config/countries.csv", EMBEDDED).unwrap();
        assert!(countries.len() >= 245, "{}", countries.len());
        let zone_a = countries.all().filter(|code| countries.record(*code).unwrap().zone_a).count();
        assert_eq!(zone_a, 44);
        for code in ["RU", "KR", "TW"] {
            assert!(!countries.record(code.parse().unwrap()).unwrap().credits_sold, "{code}");
        }
        let italy = countries.record("IT".parse().unwrap()).unwrap();
        assert!(italy.service_sold && italy.toll && italy.toll_free && italy.dial_out && italy.credits_sold);
        assert_eq!(countries.name("IT".parse().unwrap()), Some("Italy"));
    }

    #[test]
    fn a_number_is_in_the_country_of_its_longest_prefix() {
        for (digits, code) in [
            ("390612345678", "IT"),
            ("390669812345", "VA"),
            ("12125550100", "US"),
            ("14165550100", "CA"),
            ("12425550100", "BS"),
            ("18765550100", "JM"),
            ("17875550100", "PR"),
            ("74955550100", "RU"),
            ("77275550100", "KZ"),
            ("447700900123", "GB"),
            ("447700300123", "JE"),
            ("442079460123", "GB"),
            ("870773123456", "XS"),
            ("999123456", ""),
            ("210123456", ""),
        ] {
            assert_eq!(country(digits), code, "{digits}");
        }
    }

    #[test]
    fn what_is_not_ordinary_is_known() {
        let countries = Countries::embedded();
        let class = |digits: &str| {
            let number = E164::from_digits(digits).unwrap();
            countries.class_of(&number).map(|(class, range)| (class, range.to_owned()))
        };
        assert_eq!(class("448712345678"), Some((Class::Premium, "4487".to_owned())));
        assert_eq!(class("19005550100"), Some((Class::Premium, "1900".to_owned())));
        assert_eq!(class("881612345678"), Some((Class::Satellite, "881".to_owned())));
        for emergency in ["112", "911", "39112", "1911", "44999"] {
            assert_eq!(class(emergency).map(|(class, _)| class), Some(Class::Emergency), "{emergency}");
        }
        for ordinary in ["390612345678", "39112345678", "442079460123", "12125550100"] {
            assert_eq!(class(ordinary), None, "{ordinary}");
        }
    }

    #[test]
    fn a_record_can_be_replaced() {
        let mut countries = Countries::embedded();
        let italy = "IT".parse().unwrap();
        let record = CountryRecord { toll_free: false, ..countries.record(italy).unwrap() };
        assert!(countries.set_record(italy, record));
        assert_eq!(countries.record(italy), Some(record));
        assert!(!countries.set_record("ZZ".parse().unwrap(), record));
    }

    #[test]
    fn all_mistakes_are_told_with_their_lines() {
        let header = COLUMNS.join(",");
        let text = format!(
            "# x\n{header}\nIT,Italy,39,yes,yes,yes,yes,yes,yes,yes,112,\nit,Italy,38,yes,yes,yes,yes,yes,yes,yes,,\nFR,France,39,yes,yes,yes,yes,yes,yes,yes,,\nDE,Germany\nES,Spain,34,yes,maybe,yes,yes,yes,yes,yes,,\nGB,United Kingdom,44,yes,yes,yes,yes,yes,yes,yes,,dear:449\n"
        );
        let told: Vec<String> = Countries::parse("c.csv", &text).unwrap_err().iter().map(Mistake::to_string).collect();
        assert_eq!(
            told,
            [
                "c.csv:4: expected an ISO 3166 code of two capitals, like IT",
                "c.csv:5: prefix 39 is IT's already",
                "c.csv:6: expected 12 columns",
                "c.csv:7: automatic_numbers: expected yes or no, found \"maybe\"",
                "c.csv:8: expected standard, mobile, shared-cost, premium, satellite, emergency or blocked",
            ]
        );
        assert_eq!(Countries::parse("c.csv", "").unwrap_err()[0].line, 1);
    }
}
