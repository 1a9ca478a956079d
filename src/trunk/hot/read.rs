//! A list of hot numbers as its seller writes it: CSV with a header, one number or prefix a row. Every bad row is named.

use super::range;
use super::{HotEntries, HotPrefix, LARGEST_HOT, LONGEST_NOTE, MOST_HOT};
use crate::form::{Mistake, Slate};

/// Mistakes that are told one by one.
const MOST_MISTAKES: usize = 10_000;

/// Titles of the column with the number, and of one with a note, in the files that are about. Compared without case,
/// spaces and underscores.
const NUMBER: &[&str] =
    &["prefix", "number", "msisdn", "e164", "testnumber", "telephone", "phone", "phonenumber", "range", "bnumber"];
const NOTE: &[&str] =
    &["note", "notes", "description", "comment", "remark", "reason", "source", "provider", "destination"];

/// Reads a file, or tells every mistake in it with its line.
pub fn read(file: &str, text: &str) -> Result<HotEntries, Vec<Mistake>> {
    let mut slate = Slate::new(file, MOST_MISTAKES);
    let entries = entries(text.strip_prefix('\u{feff}').unwrap_or(text), &mut slate);
    slate.clean(entries)
}

fn entries(text: &str, slate: &mut Slate<'_>) -> HotEntries {
    let mut entries = HotEntries::new();
    if text.len() > LARGEST_HOT {
        slate.tell(0, format!("larger than {} MiB: bring it in as several lists", LARGEST_HOT >> 20));
        return entries;
    }
    if !text.is_empty() && !text.ends_with('\n') {
        let cut = "the file ends in the middle of a line: it was cut. Is it whole, end it with a line break";
        slate.tell(text.lines().count(), cut.to_owned());
    }
    let first = text.lines().next().unwrap_or_default();
    let delimiter = [b';', b'\t', b'|'].into_iter().find(|d| first.as_bytes().contains(d)).unwrap_or(b',');
    let mut reader = csv::ReaderBuilder::new();
    let reader = reader.delimiter(delimiter).flexible(true).has_headers(false).trim(csv::Trim::All);
    let mut reader = reader.from_reader(text.as_bytes());
    let mut rows = reader.records();
    let Some(Ok(header)) = rows.next() else {
        slate.tell(1, "no header: the first line names the columns, like prefix,note".to_owned());
        return entries;
    };
    let place = |titles: &[&str]| header.iter().position(|title| titles.contains(&plain(title).as_str()));
    let Some(number) = place(NUMBER) else {
        let found: Vec<&str> = header.iter().collect();
        slate.tell(1, format!("no column \"prefix\" or \"number\" among {}", found.join(", ")));
        return entries;
    };
    let note = place(NOTE);
    for row in rows {
        let row = match row {
            Ok(row) => row,
            Err(error) => {
                slate.tell(error.position().map_or(0, |at| at.line() as usize), error.to_string());
                continue;
            }
        };
        let line = row.position().map_or(0, |at| at.line() as usize);
        if row.len() != header.len() {
            slate.tell(line, format!("expected {} cells, as in the header, found {}", header.len(), row.len()));
            continue;
        }
        let cell = row.get(number).unwrap_or_default();
        let prefixes = match range::prefixes(cell).unwrap_or_else(|| Ok(vec![cell.parse::<HotPrefix>()?])) {
            Ok(prefixes) => prefixes,
            Err(bad) => {
                slate.tell(line, format!("{bad}, found \"{}\"", shortened(cell)));
                continue;
            }
        };
        let note = note.and_then(|place| row.get(place)).map(shortened).unwrap_or_default();
        for prefix in prefixes {
            if entries.len() == MOST_HOT {
                slate.tell(line, format!("more than {MOST_HOT} numbers: choose the newest, or bring prefixes in"));
                return entries;
            }
            if entries.insert(prefix, note.clone()).is_some() {
                slate.tell(line, format!("{prefix} twice: leave one of them out"));
            }
        }
    }
    entries
}

fn plain(title: &str) -> String {
    title.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A text of theirs, on one line and no longer than a note may be.
pub(super) fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_NOTE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<String> {
        read("hot.csv", text).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn columns_are_known_by_their_usual_titles_whatever_stands_between_them() {
        for text in [
            "prefix,note\n3712345,Latvia\n88299,\n",
            "Test Number;Country;Comment\r\n+371 2345;LV;Latvia\r\n0088299;XN;\r\n",
            "\u{feff}MSISDN\tProvider\n\"3712345\"\tLatvia\n88299\t\n",
            "note|e164\nLatvia|+3712345\n|+88299\n",
        ] {
            let entries = read("hot.csv", text).unwrap();
            let rows: Vec<(String, &str)> = entries.iter().map(|(p, note)| (p.digits(), note.as_str())).collect();
            assert_eq!(rows, [("88299".to_owned(), ""), ("3712345".to_owned(), "Latvia")], "{text}");
        }
    }

    #[test]
    fn every_bad_row_is_named_with_its_line() {
        let text = "prefix,note\n371,too short\n3712345,good\nabc,\n3712345,again\n3712346\n";
        assert_eq!(
            told(text),
            [
                "hot.csv:2: expected an international number or its first digits, 4 to 15 of them, the first not 0, found \
                 \"371\"",
                "hot.csv:4: expected an international number or its first digits, 4 to 15 of them, the first not 0, found \
                 \"abc\"",
                "hot.csv:5: 3712345 twice: leave one of them out",
                "hot.csv:6: expected 2 cells, as in the header, found 1",
            ]
        );
        assert!(told("")[0].contains("no header"));
        assert!(told("country,note\nLV,x\n")[0].contains("no column \"prefix\""));
        assert!(told("prefix\n3712345")[0].contains("ends in the middle of a line"));
    }

    #[test]
    fn a_range_is_the_prefixes_that_it_is_made_of() {
        let text = "range,note\n+37123450 - +37123461,Latvia\n37129998-37130001,over the edge\n371-2399,one number\n";
        let entries = read("hot.csv", text).unwrap();
        let rows: Vec<(String, &str)> = entries.iter().map(|(p, note)| (p.digits(), note.as_str())).collect();
        let own = |digits: &str, note: &'static str| (digits.to_owned(), note);
        assert_eq!(
            rows,
            [
                own("3712345", "Latvia"),
                own("3712399", "one number"),
                own("37123460", "Latvia"),
                own("37123461", "Latvia"),
                own("37129998", "over the edge"),
                own("37129999", "over the edge"),
                own("37130000", "over the edge"),
                own("37130001", "over the edge"),
            ]
        );
        assert_eq!(
            told("range\n+37123450-+37123440\n+37123450-+3712346\n+1000000000-+9999999999\n+37123450-x\n"),
            [
                "hot.csv:2: expected a range from the lower number to the higher, found \"+37123450-+37123440\"",
                "hot.csv:3: expected a range of two numbers of as many digits each, found \"+37123450-+3712346\"",
                "hot.csv:4: expected a range of 1000 prefixes at most: write it as first digits, found \
                 \"+1000000000-+9999999999\"",
                "hot.csv:5: expected an international number or its first digits, 4 to 15 of them, the first not 0, found \
                 \"+37123450-x\"",
            ]
        );
    }

    #[test]
    fn what_is_endless_has_an_end() {
        let text = format!("prefix\n{}", "x\n".repeat(MOST_MISTAKES + 5));
        let told = told(&text);
        assert_eq!(told.len(), MOST_MISTAKES + 1);
        assert!(told[MOST_MISTAKES].contains("and 5 more mistakes"));
        let long = format!("prefix,note\n3712345,\"{}\n\u{1b}[2J\"\n", "é".repeat(500));
        let note = &read("hot.csv", &long).unwrap()[&"3712345".parse().unwrap()];
        assert_eq!(note.chars().count(), LONGEST_NOTE);
    }
}
