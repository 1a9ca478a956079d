//! Other people's price lists, brought into the product's own form: their columns by our names, what they leave out
//! filled in, ranges and lists of prefixes written out.

use crate::form::Mistake;
use crate::rating::deck::LARGEST_DECK;
use crate::rating::reader::{Column, MOST_MISTAKES, SIGN_EVERY, digits_of, split};
use crate::rating::record::quoted;
use std::borrow::Cow;

/// Names under which the trade knows our columns, small and without spaces, dots and underscores.
const ALIASES: &[(Column, &[&str])] = &[
    (Column::CallType, &["type", "direction"]),
    (Column::Prefix, &["code", "dialcode", "areacode", "destinationcode", "dialprefix", "prefixes", "codes"]),
    (Column::Destination, &["name", "description", "destinationname", "codename"]),
    (Column::Rate, &["price", "permin", "perminute", "rateperminute", "perminutecost", "sellrate", "rate/min"]),
    (Column::ConnectFee, &["setupfee", "connectionfee", "connectcost", "setup", "connect"]),
    (Column::Initial, &["initial", "initialincrement", "initblock", "min", "minimumduration", "firstincrement"]),
    (Column::Next, &["interval", "increment", "billingblock", "subsequent", "nextincrement", "subincrement"]),
    (Column::ValidFrom, &["effective", "effectivedate", "effectivefrom", "startdate", "from", "validfrom"]),
    (Column::ValidTo, &["end", "enddate", "effectiveto", "stopdate", "until", "validto", "expires"]),
];

/// The longest range of prefixes that is written out: `44200-44299` is a hundred rows.
const LONGEST_RANGE: u64 = 10_000;

/// Columns with numbers in them that may have places.
const NUMBERS: [Column; 13] = [
    Column::Rate,
    Column::ConnectFee,
    Column::Initial,
    Column::Next,
    Column::Short,
    Column::Free,
    Column::Tiers,
    Column::MonthTiers,
    Column::Bands,
    Column::Mobile,
    Column::Payphone,
    Column::Minimum,
    Column::Maximum,
];

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
    fn add(&mut self, line: usize, cells: impl Iterator<Item = String>) {
        for (place, cell) in cells.enumerate() {
            self.csv.push(if place == 0 { '\n' } else { ',' });
            self.csv.push_str(&quoted(&cell));
        }
        self.lines.push(line);
    }

    /// The line of the file that a line of the converted text was made from.
    pub fn line_at_home(&self, line: usize) -> usize {
        line.checked_sub(1).and_then(|line| self.lines.get(line)).copied().unwrap_or(line)
    }

    /// Mistakes found in the converted text, at the lines of the file.
    pub fn at_home(&self, file: &str, mistakes: Vec<Mistake>) -> Vec<Mistake> {
        let home = |mistake: Mistake| Mistake {
            file: file.to_owned(),
            line: self.line_at_home(mistake.line),
            text: mistake.text,
        };
        mistakes.into_iter().map(home).collect()
    }
}

impl Mapping {
    /// Their text in our form, or every reason why it cannot be brought into it. `seen` is told from time to time how
    /// many lines have been read.
    pub fn convert(&self, file: &str, text: &str, seen: &mut dyn FnMut(usize)) -> Result<Converted, Vec<Mistake>> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let mistake = |line: usize, text: String| Mistake { file: file.to_owned(), line, text };
        let Some((number, header)) = lines.next() else { return Err(vec![mistake(1, "no header".to_owned())]) };
        let delimiter = [';', '\t'].into_iter().find(|d| header.contains(*d)).unwrap_or(',');
        let header: Vec<String> = split(header, delimiter).iter().map(|cell| cell.trim().to_owned()).collect();
        let told = |texts: Vec<String>| texts.into_iter().map(|text| mistake(number + 1, text)).collect::<Vec<_>>();
        let places = self.places(&header).map_err(told)?;
        let columns: Vec<Column> = Column::ALL.iter().copied().filter(|column| self.has(*column, &places)).collect();
        let names: Vec<&str> = columns.iter().map(|column| column.slug()).collect();
        let mut converted = Converted { csv: names.join(","), lines: vec![number + 1] };
        let mut mistakes = Vec::new();
        for (number, line) in lines {
            if number % SIGN_EVERY == 0 {
                seen(number);
            }
            let cells = split(line, delimiter);
            let row: Vec<_> = columns.iter().map(|column| self.cell(*column, &places, &cells)).collect();
            let wrong = row.iter().filter_map(|cell| cell.as_ref().err());
            mistakes.extend(wrong.map(|why| mistake(number + 1, why.clone())));
            let row: Vec<String> = row.into_iter().map(Result::unwrap_or_default).collect();
            let prefix = columns.iter().position(|column| *column == Column::Prefix);
            for digits in prefixes(prefix.map_or("", |place| &row[place])) {
                let cell = |(place, cell): (usize, &'_ String)| {
                    if Some(place) == prefix { digits.clone() } else { cell.clone() }
                };
                converted.add(number + 1, row.iter().enumerate().map(cell));
                if converted.csv.len() > LARGEST_DECK {
                    let why = format!("prefixes written out, the list is larger than {} MiB", LARGEST_DECK >> 20);
                    mistakes.push(mistake(number + 1, why));
                    return Err(mistakes);
                }
            }
            if mistakes.len() >= MOST_MISTAKES {
                break;
            }
        }
        converted.csv.push('\n');
        if mistakes.is_empty() { Ok(converted) } else { Err(mistakes) }
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

    /// A cell in our form. Where the decimal comma was declared a point is no decimal point, and hardly ever parts
    /// thousands in a price: a file that has both is asked about, for 0.012 must not become twelve.
    fn cell(&self, column: Column, places: &[(Column, usize)], cells: &[Cow<'_, str>]) -> Result<String, String> {
        let theirs = places.iter().find(|(own, _)| *own == column).and_then(|(_, place)| cells.get(*place));
        let theirs = theirs.map_or("", |cell| cell.trim());
        if theirs.is_empty() {
            return Ok(self
                .fill
                .iter()
                .find(|(own, _)| *own == column)
                .map(|(_, cell)| cell.clone())
                .unwrap_or_default());
        }
        if !(self.decimal_comma && NUMBERS.contains(&column)) {
            return Ok(theirs.to_owned());
        }
        if theirs.contains('.') {
            return Err(format!("{column}: a point where the decimal comma was declared, found \"{theirs}\""));
        }
        Ok(with_points(theirs))
    }
}

/// Commas between digits as points: those of `sat,sun` stay.
fn with_points(text: &str) -> String {
    let bytes = text.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let point = |(at, c): (usize, char)| {
        let between = c == ',' && digit(at.checked_sub(1)) && digit(at.checked_add(1));
        if between { '.' } else { c }
    };
    text.char_indices().map(point).collect()
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
fn prefixes(cell: &str) -> impl Iterator<Item = String> {
    let parts = cell.split([',', ';', ' ', '|']).map(str::trim).filter(|part| !part.is_empty());
    let written = parts.flat_map(|part| {
        let range = part.split_once('-').and_then(|(first, last)| range(first, last));
        let alone = range.is_none().then(|| part.to_owned());
        alone.into_iter().chain(range.into_iter().flatten())
    });
    let nothing = cell.trim().is_empty().then(String::new);
    written.chain(nothing)
}

fn range(first: &str, last: &str) -> Option<impl Iterator<Item = String> + use<>> {
    let bare = |text: &str| digits_of(text.trim()).to_owned();
    let (first, last) = (bare(first), bare(last));
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
        let converted = mapping.convert("theirs.csv", theirs, &mut |_| {}).unwrap();
        let deck = Deck::parse("theirs.csv", &converted.csv).unwrap();
        assert_eq!(deck.len(), 5, "{}", converted.csv);
        assert!(converted.csv.contains("dial-out,20,UK,0.0120,0.05,30,6,2026-02-01"), "{}", converted.csv);
    }

    #[test]
    fn columns_may_be_named_and_what_is_ambiguous_is_asked() {
        let theirs = "prefix,buy rate,price,rate per minute,destination\n39,0.01,0.02,0.03,Italy\n";
        let told = fill(USUAL).convert("t.csv", theirs, &mut |_| {}).unwrap_err();
        assert!(told[0].text.contains("both \"price\" and \"rate per minute\" may be rate"), "{told:?}");
        let named = Mapping { columns: vec![(Column::Rate, "Buy Rate".to_owned())], ..fill(USUAL) };
        assert!(named.convert("t.csv", theirs, &mut |_| {}).unwrap().csv.contains("39,Italy,0.01,"));
        let wrong = Mapping { columns: vec![(Column::Rate, "cost".to_owned())], ..fill(USUAL) };
        assert!(wrong.convert("t.csv", theirs, &mut |_| {}).unwrap_err()[0].text.contains("no column \"cost\""));
    }

    #[test]
    fn plus_and_zeros_are_taken_off_ranges_too() {
        let written = |cell: &str| prefixes(cell).collect::<Vec<_>>().join(" ");
        for (cell, prefixes) in [
            ("4420-4423, 447", "4420 4421 4422 4423 447"),
            ("+4420-+4421", "4420 4421"),
            ("004420-004421;0039", "4420 4421 0039"),
            ("4425-4420", "4425-4420"),
            ("44-4420", "44-4420"),
            ("1-99999", "1-99999"),
            ("", ""),
        ] {
            assert_eq!(written(cell), prefixes, "{cell}");
        }
        let deck = Deck::parse(
            "t.csv",
            &fill(USUAL).convert("t.csv", "code,rate,name\n0039,1,Italy\n+44,1,UK\n", &mut |_| {}).unwrap().csv,
        );
        assert_eq!(deck.unwrap().len(), 2);
    }

    #[test]
    fn the_decimal_comma_is_everywhere_or_nowhere() {
        let comma = Mapping { decimal_comma: true, ..fill(USUAL) };
        let theirs = "code;name;rate;tiers;bands;mobile_surcharge\n\
                      39;Italy;0,01;600:0,02 700:0,015;;0,03/min\n44;UK;1;;sat,sun 08:00-19:00 0,5;\n";
        let csv = comma.convert("t.csv", theirs, &mut |_| {}).unwrap().csv;
        for text in ["0.01,", "600:0.02 700:0.015", "0.03/min", "\"sat,sun 08:00-19:00 0.5\""] {
            assert!(csv.contains(text), "{text} in {csv}");
        }
        let told =
            comma.convert("t.csv", "code;name;rate\n39;Italy;0.012\n44;UK;0,1\n33;France;1.000,5\n", &mut |_| {});
        let told: Vec<String> = told.unwrap_err().iter().map(Mistake::to_string).collect();
        assert_eq!(told.len(), 2);
        assert!(told[0].starts_with("t.csv:2: rate: a point where the decimal comma was declared"), "{told:?}");
    }

    #[test]
    fn ranges_do_not_grow_without_bound() {
        let theirs = format!("code,name,rate\n40000-49999,{},1\n", "x".repeat(11_000));
        let told = fill(USUAL).convert("t.csv", &theirs, &mut |_| {}).unwrap_err();
        assert!(told[0].text.contains("larger than 100 MiB"), "{told:?}");
    }

    #[test]
    fn mistakes_are_told_at_the_lines_of_their_file() {
        let theirs = "# theirs\n\ncode,name,rate\n4420-4423,London,0.01\n4.42E+11,Leeds,0.01\n39,Italy,-1\n";
        let converted = fill(USUAL).convert("t.csv", theirs, &mut |_| {}).unwrap();
        let mistakes = Deck::parse("converted", &converted.csv).unwrap_err();
        let told: Vec<String> = converted.at_home("t.csv", mistakes).iter().map(Mistake::to_string).collect();
        assert!(told[0].starts_with("t.csv:5: prefix:") && told[1].starts_with("t.csv:6: rate"), "{told:?}");
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(text in "\\PC{0,40}(\n[0-9,;. -]{0,40}){0,4}") {
            if let Ok(converted) = fill(USUAL).convert("t.csv", &text, &mut |_| {}) {
                let _ = Deck::parse("t.csv", &converted.csv);
            }
        }
    }
}
