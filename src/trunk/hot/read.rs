//! A list of hot numbers as its seller writes it: CSV with a header, one number or prefix a row. Every bad row is named.

use super::range;
use super::{BadHotKey, HotEntries, HotHash, HotKey, HotPrefix, LARGEST_HOT, LONGEST_NOTE, MOST_HOT, MOST_SALTS};
use crate::form::{Mistake, Slate};
use crate::types::E164;
use std::collections::BTreeSet;
use std::collections::btree_map::Entry;

/// Mistakes that are told one by one.
const MOST_MISTAKES: usize = 10_000;

/// Titles of the column with the number, and of one with a note, in the files that are about. Compared without case,
/// spaces and underscores.
const NUMBER: &[&str] =
    &["prefix", "number", "msisdn", "e164", "testnumber", "telephone", "phone", "phonenumber", "range", "bnumber"];
/// Of a column with hashes, where they do not stand among the numbers, and of one with the salts of those that have one.
const HASH: &[&str] =
    &["hash", "sha256", "numberhash", "hashednumber", "msisdnhash", "hashedmsisdn", "msisdnsha256", "sha256hash"];
const SALT: &[&str] = &["salt"];
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
    let columns: Vec<usize> = [NUMBER, HASH].into_iter().filter_map(place).collect();
    if columns.is_empty() {
        let found: Vec<&str> = header.iter().collect();
        slate.tell(1, format!("no column \"prefix\", \"number\" or \"hash\" among {}", found.join(", ")));
        return entries;
    }
    let (salt, note) = (place(SALT), place(NOTE));
    let mut salts = BTreeSet::new();
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
        // Who tells the number tells more than its hash says.
        let mut cells = columns.iter().filter_map(|place| row.get(*place)).filter(|cell| !cell.is_empty());
        let (cell, hash) = (cells.next().unwrap_or_default(), cells.next());
        let salt = salt.and_then(|place| row.get(place)).unwrap_or_default();
        let keys = match keys(cell, salt).and_then(|keys| agreed(keys, hash, salt)) {
            Ok(keys) => keys,
            Err(bad) => {
                let beside = hash.map(|hash| format!(" and \"{}\"", shortened(hash))).unwrap_or_default();
                slate.tell(line, format!("{bad}, found \"{}\"{beside}", shortened(cell)));
                continue;
            }
        };
        let note = note.and_then(|place| row.get(place)).map(shortened).unwrap_or_default();
        salts.extend(keys.iter().filter_map(HotKey::salt).map(str::to_owned));
        if salts.len() > MOST_SALTS {
            slate.tell(line, format!("more than {MOST_SALTS} salts: those who share hashes agree on one"));
            return entries;
        }
        for key in keys {
            if entries.len() == MOST_HOT {
                slate.tell(line, format!("more than {MOST_HOT} numbers: choose the newest, or bring prefixes in"));
                return entries;
            }
            match entries.entry(key) {
                Entry::Occupied(known) => slate.tell(line, format!("{} twice: leave one of them out", known.key())),
                Entry::Vacant(place) => drop(place.insert(note.clone())),
            }
        }
    }
    entries
}

/// What a cell says: a number, its first digits, a range, or a hash, with the salt that stands beside it.
fn keys(cell: &str, salt: &str) -> Result<Vec<HotKey>, String> {
    if let Some(hash) = HotHash::read(cell) {
        let hash = hash.and_then(|hash| if salt.is_empty() { Ok(hash) } else { hash.salted(salt) });
        return hash.map(|hash| vec![hash.into()]).map_err(|bad| bad.to_string());
    }
    match range::prefixes(cell) {
        Some(range) => {
            range.map(|prefixes| prefixes.into_iter().map(HotKey::Numbers).collect()).map_err(|bad| bad.to_string())
        }
        None => cell.parse().map(|key| vec![key]).map_err(|bad: BadHotKey| bad.to_string()),
    }
}

/// What a number's cell says, where the hash beside it, if any, is that number's own. Any other is of somebody else, or the
/// number is cut short and would close all that begin alike.
fn agreed(keys: Vec<HotKey>, hash: Option<&str>, salt: &str) -> Result<Vec<HotKey>, String> {
    let Some(hash) = hash else { return Ok(keys) };
    let others = self::keys(hash, salt)?;
    let is_own = |number: &HotPrefix, hash: &HotHash| {
        let number = E164::from_digits(&number.digits());
        number.is_ok_and(|number| HotHash::both(hash.salt(), &number).contains(&hash.bytes()))
    };
    let agree = match (keys.as_slice(), others.as_slice()) {
        ([HotKey::Numbers(number)], [HotKey::Hash(hash)]) => is_own(number, hash),
        _ => keys == others,
    };
    if agree { Ok(keys) } else { Err("expected a number or a hash, or a whole number with its own hash".to_owned()) }
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
            let rows: Vec<(String, &str)> = entries.iter().map(|(p, note)| (p.to_string(), note.as_str())).collect();
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
        let rows: Vec<(String, &str)> = entries.iter().map(|(p, note)| (p.to_string(), note.as_str())).collect();
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
    fn hashes_stand_beside_numbers_in_their_column_or_in_one_of_their_own() {
        let [one, two] = ["a", "B"].map(|digit| digit.repeat(64));
        for text in [
            format!("number,salt,note\n{one},,x\n{two},pepper,y\n+37123450-+37123451,pepper,z\n"),
            format!("Hashed MSISDN;Salt;MSISDN;Note\n{one};;;x\n;;sha256:pepper:{two};y\n;;+37123450-+37123451;z\n"),
        ] {
            let entries = read("hot.csv", &text).unwrap();
            let rows: Vec<(String, &str)> =
                entries.iter().map(|(key, note)| (key.to_string(), note.as_str())).collect();
            let pepper = format!("sha256:pepper:{}", two.to_lowercase());
            let expected =
                [("37123450".into(), "z"), ("37123451".into(), "z"), (format!("sha256:{one}"), "x"), (pepper, "y")];
            assert_eq!(rows, expected, "{text}");
        }
        let rows: String = (0..=MOST_SALTS).map(|n| format!("{one},salt{n}\n")).collect();
        let bad = format!("hash,salt\n{one},a b\n{},\n{one},\n{},\n{rows}", &one[..40], one.to_uppercase());
        let salt = "expected a salt of 1 to 64 characters, letters, digits or any of -._~+/=";
        assert_eq!(
            told(&bad),
            [
                format!("hot.csv:2: {salt}, found \"{one}\""),
                format!("hot.csv:3: expected a SHA-256 hash of 64 hexadecimal digits, found \"{}\"", &one[..40]),
                format!("hot.csv:5: sha256:{one} twice: leave one of them out"),
                "hot.csv:22: more than 16 salts: those who share hashes agree on one".to_owned(),
            ]
        );
    }

    #[test]
    fn a_hash_beside_a_number_is_that_numbers_own_or_the_row_is_a_mistake() {
        use sha2::{Digest, Sha256};
        let hash = |text: &str| -> String { Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect() };
        let (signed, bare, salted) = (hash("+37123456789"), hash("37123456789"), hash("pepper37123456789"));
        for (hash, salt) in [(&signed, ""), (&bare, ""), (&salted, "pepper")] {
            let text = format!("number,hash,salt\n+37123456789,{hash},{salt}\n");
            let keys: Vec<String> = read("hot.csv", &text).unwrap().keys().map(ToString::to_string).collect();
            assert_eq!(keys, ["37123456789"], "{text}");
        }
        let why = "expected a number or a hash, or a whole number with its own hash";
        let other = "expected one salt, and the one beside the hash is not the one in it";
        let named = format!("sha256:pepper:{salted}");
        for (number, hash, salt, why) in [
            ("371234", signed.as_str(), "", why),
            ("+37123456780", signed.as_str(), "", why),
            ("+37123456780-+37123456789", signed.as_str(), "", why),
            ("+37123456789", salted.as_str(), "", why),
            ("+37123456789", signed.as_str(), "pepper", why),
            (bare.as_str(), signed.as_str(), "", why),
            ("+37123456789", named.as_str(), "salt", other),
        ] {
            let text = format!("number,hash,salt\n{number},{hash},{salt}\n");
            assert_eq!(told(&text), [format!("hot.csv:2: {why}, found \"{number}\" and \"{hash}\"")]);
        }
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
