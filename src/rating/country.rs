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
