//! Other people's price lists, brought into the product's own form: their columns by our names, what they leave out
//! filled in, ranges and lists of prefixes written out.

use crate::form::Mistake;
use crate::rating::deck::{Column, split};
use crate::rating::record::quoted;
use std::borrow::Cow;

/// Names under which the trade knows our columns, small and without spaces, dots and underscores.
const ALIASES: &[(Column, &[&str])] = &[
    (Column::CallType, &["type", "direction"]),
    (Column::Prefix, &["code", "dialcode", "areacode", "destinationcode", "dialprefix", "prefixes", "codes"]),
    (Column::Destination, &["name", "description", "destinationname", "codename", "zone"]),
    (Column::Rate, &["price", "permin", "perminute", "rateperminute", "perminutecost", "sellrate", "rate/min"]),
    (Column::ConnectFee, &["setupfee", "connectionfee", "connectcost", "setup", "connect"]),
    (Column::Initial, &["initial", "initialincrement", "initblock", "min", "minimumduration", "firstincrement"]),
    (Column::Next, &["interval", "increment", "billingblock", "subsequent", "nextincrement", "subincrement"]),
    (Column::ValidFrom, &["effective", "effectivedate", "startdate", "from", "validfrom"]),
    (Column::ValidTo, &["end", "enddate", "stopdate", "until", "validto", "expires"]),
];

/// The longest range of prefixes that is written out: `44200-44299` is a hundred rows.
const LONGEST_RANGE: u64 = 10_000;

/// What is to be made of a file.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    /// Our column, their header.
    pub columns: Vec<(Column, String)>,
    /// Our column, the cell of every row that has none.
    pub fill: Vec<(Column, String)>,
    /// `0,012` is twelve thousandths.
    pub decimal_comma: bool,
}

/// A file in our form, and for each of its lines the line of the file that it was made from.
#[derive(Clone, Debug)]
pub struct Converted {
    pub csv: String,
    lines: Vec<usize>,
}

impl Converted {
    /// Mistakes found in the converted text, at the lines of the file.
    pub fn at_home(&self, file: &str, mistakes: Vec<Mistake>) -> Vec<Mistake> {
        let home = |mistake: Mistake| Mistake {
            file: file.to_owned(),
            line: mistake.line.checked_sub(1).and_then(|line| self.lines.get(line)).copied().unwrap_or(mistake.line),
            text: mistake.text,
        };
        mistakes.into_iter().map(home).collect()
    }
}

impl Mapping {
    /// Their text in our form, or why its header cannot be understood.
    pub fn convert(&self, file: &str, text: &str) -> Result<Converted, Vec<Mistake>> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let mistake = |line: usize, text: String| vec![Mistake { file: file.to_owned(), line, text }];
        let Some((number, header)) = lines.next() else { return Err(mistake(1, "no header".to_owned())) };
        let delimiter = [';', '\t'].into_iter().find(|d| header.contains(*d)).unwrap_or(',');
        let header: Vec<String> = split(header, delimiter).iter().map(|cell| cell.trim().to_owned()).collect();
        let places = self
            .places(&header)
            .map_err(|texts| texts.into_iter().flat_map(|text| mistake(number + 1, text)).collect::<Vec<_>>())?;
        let columns: Vec<Column> = Column::ALL.iter().copied().filter(|column| self.has(*column, &places)).collect();
        let names: Vec<&str> = columns.iter().map(|column| column.slug()).collect();
        let mut converted = Converted { csv: names.join(","), lines: vec![number + 1] };
        for (number, line) in lines {
            let cells = split(line, delimiter);
            let row: Vec<String> = columns.iter().map(|column| self.cell(*column, &places, &cells)).collect();
            let prefix = columns.iter().position(|column| *column == Column::Prefix);
            for digits in prefix.map_or(vec![String::new()], |place| prefixes(&row[place])) {
                converted.csv.push('\n');
                for (place, cell) in row.iter().enumerate() {
                    let cell = if Some(place) == prefix { &digits } else { cell };
                    let comma = if place == 0 { "" } else { "," };
                    converted.csv.push_str(comma);
                    converted.csv.push_str(&quoted(cell));
                }
                converted.lines.push(number + 1);
            }
        }
        converted.csv.push('\n');
        Ok(converted)
    }

    fn has(&self, column: Column, places: &[(Column, usize)]) -> bool {
        places.iter().any(|(own, _)| *own == column) || self.fill.iter().any(|(own, _)| *own == column)
    }

    /// Which of their columns is which of ours; of theirs, those that are none of ours are left out.
    fn places(&self, header: &[String]) -> Result<Vec<(Column, usize)>, Vec<String>> {
        let (mut places, mut wrong) = (Vec::new(), Vec::new());
        for (column, name) in &self.columns {
            match header.iter().position(|own| own.eq_ignore_ascii_case(name)) {
                Some(place) => places.push((*column, place)),
                None => wrong
                    .push(format!("no column \"{name}\", which was to be {column}; there are {}", header.join(", "))),
            }
        }
        for (place, name) in header.iter().enumerate() {
            let Some(column) = ours(name) else { continue };
            let mapped = self.columns.iter().any(|(own, _)| *own == column) || places.iter().any(|(_, p)| *p == place);
            match places.iter().find(|(own, _)| *own == column) {
                _ if mapped => {}
                Some((_, other)) => {
                    wrong.push(format!("both \"{}\" and \"{name}\" may be {column}: say which", header[*other]))
                }
                None => places.push((column, place)),
            }
        }
        if wrong.is_empty() { Ok(places) } else { Err(wrong) }
    }

    fn cell(&self, column: Column, places: &[(Column, usize)], cells: &[Cow<'_, str>]) -> String {
        let theirs = places.iter().find(|(own, _)| *own == column).and_then(|(_, place)| cells.get(*place));
        let theirs = theirs.map_or("", |cell| cell.trim());
        if theirs.is_empty() {
            return self.fill.iter().find(|(own, _)| *own == column).map(|(_, cell)| cell.clone()).unwrap_or_default();
        }
        let number = matches!(
            column,
            Column::Rate | Column::ConnectFee | Column::Initial | Column::Next | Column::Minimum | Column::Maximum
        );
        if self.decimal_comma && number { theirs.replace('.', "").replace(',', ".") } else { theirs.to_owned() }
    }
}

/// Our column of a name, if it is one of the trade's.
fn ours(name: &str) -> Option<Column> {
    let name = name.to_ascii_lowercase();
    if let Ok(column) = name.parse::<Column>() {
        return Some(column);
    }
    let bare: String = name.chars().filter(|c| !matches!(c, ' ' | '.' | '_' | '-' | '(' | ')')).collect();
    ALIASES.iter().find(|(_, names)| names.contains(&bare.as_str())).map(|(column, _)| *column)
}

/// `4420-4423, 447` is five prefixes. What is none is left as it is, to be told by the deck.
fn prefixes(cell: &str) -> Vec<String> {
    let mut all = Vec::new();
    for part in cell.split([',', ';', ' ', '|']).map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('-').and_then(|(first, last)| range(first, last)) {
            Some(range) => all.extend(range),
            None => all.push(part.to_owned()),
        }
    }
    if all.is_empty() { vec![String::new()] } else { all }
}

fn range(first: &str, last: &str) -> Option<impl Iterator<Item = String> + use<>> {
    let (first, last) = (first.trim().trim_start_matches('+'), last.trim().trim_start_matches('+'));
    let (from, to) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
    let sound = first.len() == last.len() && from <= to && to - from < LONGEST_RANGE && !first.starts_with('0');
    sound.then(|| (from..=to).map(|digits| digits.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rating::Deck;
    use proptest::prelude::*;

    fn fill(cells: &[(&str, &str)]) -> Mapping {
        let fill = cells.iter().map(|(column, cell)| (column.parse().unwrap(), (*cell).to_owned())).collect();
        Mapping { fill, ..Mapping::default() }
    }

    const USUAL: &[(&str, &str)] = &[
        ("call_type", "dial-out"),
        ("connect_fee", "0"),
        ("initial_s", "60"),
        ("next_s", "60"),
        ("valid_from", "2026-01-01"),
    ];

    #[test]
    fn a_list_of_the_trade_is_understood() {
        let theirs = "Code;Code Name;Rate;Effective;End;Setup Fee;Min;Interval;Policy\n\
                      44 20-22, 447;UK;0,0120;2026-02-01;;0,05;30;6;x\n";
        let mapping = Mapping { decimal_comma: true, ..fill(USUAL) };
        let converted = mapping.convert("theirs.csv", theirs).unwrap();
        let deck = Deck::parse("theirs.csv", &converted.csv).unwrap();
        assert_eq!(deck.len(), 5, "{}", converted.csv);
        assert!(converted.csv.contains("dial-out,20,UK,0.0120,0.05,30,6,2026-02-01"), "{}", converted.csv);
    }

    #[test]
    fn columns_may_be_named_and_what_is_ambiguous_is_asked() {
        let theirs = "prefix,buy rate,price,rate per minute,destination\n39,0.01,0.02,0.03,Italy\n";
        let told = fill(USUAL).convert("t.csv", theirs).unwrap_err();
        assert!(told[0].text.contains("both \"price\" and \"rate per minute\" may be rate"), "{told:?}");
        let named = Mapping { columns: vec![(Column::Rate, "Buy Rate".to_owned())], ..fill(USUAL) };
        assert!(named.convert("t.csv", theirs).unwrap().csv.contains("39,Italy,0.01,"));
        let wrong = Mapping { columns: vec![(Column::Rate, "cost".to_owned())], ..fill(USUAL) };
        assert!(wrong.convert("t.csv", theirs).unwrap_err()[0].text.contains("no column \"cost\""));
    }

    #[test]
    fn mistakes_are_told_at_the_lines_of_their_file() {
        let theirs = "# theirs\n\ncode,name,rate\n4420-4423,London,0.01\n4.42E+11,Leeds,0.01\n39,Italy,-1\n";
        let converted = fill(USUAL).convert("t.csv", theirs).unwrap();
        let mistakes = Deck::parse("converted", &converted.csv).unwrap_err();
        let told: Vec<String> = converted.at_home("t.csv", mistakes).iter().map(Mistake::to_string).collect();
        assert!(told[0].starts_with("t.csv:5: prefix:") && told[1].starts_with("t.csv:6: rate"), "{told:?}");
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(text in "\\PC{0,40}(\n[0-9,;. -]{0,40}){0,4}") {
            if let Ok(converted) = fill(USUAL).convert("t.csv", &text) {
                let _ = Deck::parse("t.csv", &converted.csv);
            }
        }
    }
}
