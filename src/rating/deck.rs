//! A rate deck: CSV in, longest prefix out. Read whole or not at all; every mistake is told with its line.

use crate::clock::Wall;
use crate::form::Mistake;
use crate::rating::CallType;
use crate::rating::rate::{Class, RateRow};
use crate::rating::reader::{MOST_MISTAKES, Reader};
use crate::types::{Currency, PrefixMap};
use std::collections::BTreeSet;

/// The largest deck read: a million rows of 100 bytes. A larger file is a mistake of a person, not a deck.
pub const LARGEST_DECK: usize = 100 << 20;

/// Changes of rate this far ahead are frozen into a leg. No call is let run so long.
pub(super) const LONGEST_CALL_MS: u64 = 7 * 24 * 3_600_000;

/// The answer to "what does this number cost?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    Found(&'a RateRow),
    /// No row, or none valid yet: the call has no price, and is not made.
    Absent,
    /// A row is there and cannot be used: our own fault.
    Broken(&'a BrokenRow),
}

/// A row whose price could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenRow {
    pub prefix: Box<str>,
    /// What it leads to; `Blocked` where that could not be read either, so that no premium range is free by a slip.
    pub class: Class,
    /// What is wrong with it, in words.
    pub why: String,
}

/// A row, or what is left of one that could not be read; from when it is valid, and the line that it stands on.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    pub from: Wall,
    pub line: u32,
    pub row: Result<RateRow, BrokenRow>,
}

/// Rows of one prefix, the latest first; a row that could not be read keeps its place.
pub(super) type Rows = Vec<Placed>;

/// A deck: immutable, made at once, in one currency.
#[derive(Clone, Debug)]
pub struct Deck {
    pub(super) version: String,
    pub(super) currency: Currency,
    pub(super) maps: [PrefixMap<Rows>; 3],
    pub(super) rows: usize,
}

impl Deck {
    /// No rows: every price is absent.
    pub fn empty(currency: Currency) -> Deck {
        Deck { version: "empty".to_owned(), currency, maps: Default::default(), rows: 0 }
    }

    /// Reads a deck, or tells every mistake in it.
    pub fn parse(file_name: &str, text: &str) -> Result<Deck, Vec<Mistake>> {
        let (deck, mistakes) = Deck::salvage(file_name, text);
        if mistakes.is_empty() { Ok(deck) } else { Err(mistakes) }
    }

    /// Reads what can be read of a deck that is in use already: a bridge must start with it. A row whose price cannot
    /// be read answers `Broken`, so that its calls are let in free and an alarm is raised.
    pub fn salvage(file_name: &str, text: &str) -> (Deck, Vec<Mistake>) {
        Deck::watched(file_name, text, &mut |_| {})
    }

    /// The same for whoever waits: `seen` is told from time to time how many lines have been read.
    pub fn watched(file_name: &str, text: &str, seen: &mut dyn FnMut(usize)) -> (Deck, Vec<Mistake>) {
        let mut reader = Reader::new(file_name, text, seen);
        reader.read(text);
        reader.mistakes.truncate(MOST_MISTAKES);
        (reader.deck, reader.mistakes)
    }

    /// The head of the hash of the file's text.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub const fn currency(&self) -> Currency {
        self.currency
    }

    /// How many rows.
    pub const fn len(&self) -> usize {
        self.rows
    }

    pub const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The row of the longest prefix of `digits` that has one valid at `at`; of these the latest.
    pub fn rate(&self, call_type: CallType, digits: &str, at: Wall) -> Lookup<'_> {
        let mut rest = digits;
        while let Some((length, rows)) = self.maps[call_type as usize].longest(rest) {
            match rows.iter().find(|placed| placed.from <= at).map(|placed| &placed.row) {
                Some(Ok(row)) if row.valid_to.is_none_or(|valid_to| at < valid_to) => return Lookup::Found(row),
                Some(Err(broken)) => return Lookup::Broken(broken),
                Some(Ok(_)) | None => rest = &digits[..length - 1],
            }
        }
        Lookup::Absent
    }

    /// Changes of the answer of [`Deck::rate`] that are already scheduled after `at`, in order.
    pub fn later(&self, call_type: CallType, digits: &str, at: Wall) -> Vec<(Wall, &RateRow)> {
        let horizon = at.plus_millis(LONGEST_CALL_MS);
        let mut moments = BTreeSet::new();
        let mut rest = digits;
        while let Some((length, rows)) = self.maps[call_type as usize].longest(rest) {
            let ends = rows.iter().filter_map(|placed| placed.row.as_ref().ok()?.valid_to);
            let turns = rows.iter().map(|placed| placed.from).chain(ends);
            moments.extend(turns.filter(|turn| at < *turn && *turn <= horizon));
            rest = &digits[..length - 1];
        }
        let mut last = self.rate(call_type, digits, at);
        let mut changes = Vec::new();
        for moment in moments {
            let now = self.rate(call_type, digits, moment);
            if let (true, Lookup::Found(row)) = (now != last, now) {
                changes.push((moment, row));
                last = now;
            }
        }
        changes
    }

    /// Every row that could be read, in no order.
    pub fn rows(&self) -> impl Iterator<Item = (CallType, &RateRow)> {
        self.lines().map(|(call_type, row, _)| (call_type, row))
    }

    /// The same, each with the line of the text that it was read from.
    pub fn lines(&self) -> impl Iterator<Item = (CallType, &RateRow, usize)> {
        let of = |call_type: CallType| {
            let rows = self.maps[call_type as usize].values().flatten();
            rows.filter_map(move |placed| Some((call_type, placed.row.as_ref().ok()?, placed.line as usize)))
        };
        CallType::ALL.iter().copied().flat_map(of)
    }

    /// The row that stands exactly under `prefix`, valid from exactly that moment.
    pub fn row(&self, call_type: CallType, prefix: &str, valid_from: Wall) -> Option<&RateRow> {
        let rows = self.maps[call_type as usize].exact(prefix)?;
        rows.iter().find(|placed| placed.from == valid_from)?.row.as_ref().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rating::reader::{REQUIRED, read_moment};
    use proptest::prelude::*;

    const HEADER: &str = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from";

    fn deck(rows: &str) -> Deck {
        Deck::parse("rates.csv", &format!("{HEADER}\n{rows}")).unwrap()
    }

    fn wall(text: &str) -> Wall {
        read_moment(text).unwrap()
    }

    fn price(deck: &Deck, digits: &str, at: &str) -> String {
        match deck.rate(CallType::DialOut, digits, wall(at)) {
            Lookup::Found(row) => format!("{} {}", row.prefix, row.rate.per_minute()),
            Lookup::Absent => "absent".to_owned(),
            Lookup::Broken(row) => format!("broken: {}", row.why),
        }
    }

    #[test]
    fn the_sample_deck_is_read_and_says_what_it_must() {
        let text = include_str!("../../config/rates.csv");
        let deck = Deck::parse("config/rates.csv", text).unwrap();
        assert!(deck.len() > 1_000);
        let at = wall("2026-01-01");
        for (call_type, rate) in [(CallType::DialInToll, "0.0100"), (CallType::DialInTollFree, "0.0500")] {
            let Lookup::Found(row) = deck.rate(call_type, "390612345678", at) else { panic!("{call_type}") };
            assert_eq!((row.rate.per_minute().to_string().as_str(), row.rate.initial_ms()), (rate, 60_000));
        }
        // Every country that can be called has a price; every number that can be had, too.
        let countries = crate::rating::Countries::embedded();
        for code in countries.all() {
            let record = countries.record(code).unwrap();
            for prefix in countries.prefixes(code) {
                let has = |call_type| matches!(deck.rate(call_type, prefix, at), Lookup::Found(_));
                assert_eq!(has(CallType::DialOut), record.dial_out, "{code} {prefix} out");
                assert!(!record.toll || has(CallType::DialInToll), "{code} {prefix} toll");
                assert!(!record.toll_free || has(CallType::DialInTollFree), "{code} {prefix} toll-free");
            }
        }
    }

    #[test]
    fn the_longest_prefix_with_a_row_valid_then_answers() {
        let deck = deck(
            "dial-out,1,US,0.01,0,60,60,2020-01-01\n\
             dial-out,12,US again,0.02,0,60,60,2026-03-01T01:00:00Z\n\
             dial-out,1242,Bahamas,0.23,0,60,60,2025-01-01\n\
             dial-out,1242,Bahamas,0.30,0,60,60,2026-03-01T00:00:00Z\n\
             dial-in-toll,1,US,0.02,0,60,60,2020-01-01\n",
        );
        assert_eq!(price(&deck, "12425550100", "2025-06-01"), "1242 0.2300");
        assert_eq!(price(&deck, "12425550100", "2026-03-01"), "1242 0.3000");
        assert_eq!(price(&deck, "12425550100", "2024-12-31"), "1 0.0100");
        assert_eq!(price(&deck, "12425550100", "2019-12-31"), "absent");
        assert_eq!(price(&deck, "390612345", "2026-01-01"), "absent");
        let later = deck.later(CallType::DialOut, "12425550100", wall("2026-02-28T23:00:00Z"));
        assert_eq!(
            later.iter().map(|(from, row)| (*from, row.rate.per_minute().to_string())).collect::<Vec<_>>(),
            [(wall("2026-03-01"), "0.3000".to_owned())]
        );
        assert!(deck.later(CallType::DialOut, "12425550100", wall("2026-03-01")).is_empty());
        assert!(deck.later(CallType::DialOut, "12425550100", wall("2019-12-31")).len() == 1, "from absent to the US");
        assert!(deck.later(CallType::DialOut, "12425550100", wall("2025-06-01")).is_empty(), "beyond the longest call");
    }

    #[test]
    fn a_person_may_write_it_in_more_than_one_way() {
        let text = "\u{feff}# prices\n\nvalid_from;class;next_s;initial_s;connect_fee;rate;destination;prefix;call_type;currency\n\
                    2020-01-01;mobile;0.5; 6.001 ;0.05;0.012345678;\"Italy; \"\"mobile\"\"\";+393;dial-out;EUR\n";
        let deck = Deck::parse("rates.csv", text).unwrap();
        assert_eq!(deck.currency().as_str(), "EUR");
        let Lookup::Found(row) = deck.rate(CallType::DialOut, "393331234567", wall("2026-01-01")) else { panic!() };
        assert_eq!((&*row.prefix, &*row.destination, row.class), ("393", "Italy; \"mobile\"", Class::Mobile));
        assert_eq!((row.rate.initial_ms(), row.rate.next_ms()), (6_001, 500));
    }

    #[test]
    fn all_mistakes_are_told_with_their_lines() {
        let rows = [
            "dial-out,39,Italy,0.01,0,60,60,2020-01-01",
            "# a comment, and an empty line",
            "",
            "dial-out,+39,Italy,0.02,0,60,60,2020-01-01",
            "dial-out,4.42E+11,London,0.02,0,60,60,2020-01-01",
            "dial-out,33,France,-0.02,0,60,60,2020-01-01",
            "dial-in,34,Spain,\"0,02\",0,60,60,2020-01-01",
            "dial-out,35a,Portugal,0.0000000001,0,60,0,2020-13-01",
            "dial-out,36,Hungary,1001,0,60,0.0001,2020-01-01",
            "dial-out,37,East",
        ];
        let text = format!("{HEADER}\n{}\n", rows.join("\n"));
        let told: Vec<String> = Deck::parse("r.csv", &text).unwrap_err().iter().map(Mistake::to_string).collect();
        assert_eq!(
            told,
            [
                "r.csv:5: dial-out 39 has another row that is valid from the same moment, in line 2",
                "r.csv:6: prefix: expected 1 to 15 digits, the first not 0, found \"4.42E+11\" (a spreadsheet has turned it into a number: make the column text)",
                "r.csv:7: rate, connect_fee or increments: a price cannot be negative",
                "r.csv:8: call_type: expected dial-in-toll, dial-in-toll-free or dial-out, found \"dial-in\"",
                "r.csv:8: rate: expected a decimal like 0.0120, found \"0,02\" (is it a decimal comma? That must be said)",
                "r.csv:9: prefix: expected 1 to 15 digits, the first not 0, found \"35a\"",
                "r.csv:9: valid_from: expected 2026-01-01 or 2026-01-01T00:00:00Z, found \"2020-13-01\"",
                "r.csv:9: rate, connect_fee or increments: increments last from 0.001 to 3600 seconds",
                "r.csv:10: next_s: expected seconds to the millisecond",
                "r.csv:11: valid_from: expected 2026-01-01 or 2026-01-01T00:00:00Z, found \"\"",
                "r.csv:11: rate: expected a decimal like 0.0120, found \"\"",
                "r.csv:11: connect_fee: expected a decimal like 0.0120, found \"\"",
                "r.csv:11: initial_s: expected a decimal like 0.0120, found \"\"",
                "r.csv:11: next_s: expected a decimal like 0.0120, found \"\"",
            ]
        );
    }

    #[test]
    fn a_wrong_header_is_told_before_any_row() {
        let told = |text: &str| -> Vec<String> {
            Deck::parse("r.csv", text).unwrap_err().into_iter().map(|mistake| mistake.text).collect()
        };
        assert!(told("")[0].starts_with("no header"));
        let wrong = told("call_type,prefix,prefix,rat,connect_fee,initial_s,next_s,valid_from\nx,y\n");
        assert_eq!(wrong[0], "column \"prefix\" twice");
        assert!(wrong[1].starts_with("unknown column \"rat\""), "{wrong:?}");
        assert_eq!(wrong[2..], ["no column \"destination\"", "no column \"rate\""]);
        assert_eq!(told("a,b\nc\n").len(), 2 + REQUIRED);
    }

    #[test]
    fn a_row_that_cannot_be_read_is_broken_and_not_absent() {
        let text = format!(
            "{HEADER}\ndial-out,39,Italy,0.01,0,60,60,2020-01-01\ndial-out,3906,Rome,free,0,60,60,2020-01-01\ndial-out,393,Mobile,0.02,0,60,60,soon\n"
        );
        let (deck, mistakes) = Deck::salvage("r.csv", &text);
        assert_eq!(mistakes.len(), 2);
        assert_eq!(price(&deck, "390212345", "2026-01-01"), "39 0.0100");
        assert_eq!(
            price(&deck, "390612345", "2026-01-01"),
            "broken: rate: expected a decimal like 0.0120, found \"free\""
        );
        assert_eq!(price(&deck, "393331234", "2026-01-01"), "broken: valid_from of line 4");
        let (deck, _) =
            Deck::salvage("r.csv", &format!("{HEADER},class\ndial-out,39,Italy,free,0,60,60,2020-01-01,dear\n"));
        let Lookup::Broken(row) = deck.rate(CallType::DialOut, "390212345", wall("2026-01-01")) else { panic!() };
        assert_eq!((&*row.prefix, row.class), ("39", Class::Blocked));
    }

    #[test]
    fn a_deck_has_one_currency_and_a_version_of_its_own() {
        let text = format!(
            "{HEADER},currency\ndial-out,39,Italy,0.01,0,60,60,2020-01-01,EUR\ndial-out,33,France,0.01,0,60,60,2020-01-01,USD\n"
        );
        assert_eq!(Deck::parse("r.csv", &text).unwrap_err()[0].text, "currency: a deck has one currency");
        let (one, two) =
            (deck("dial-out,39,Italy,0.01,0,60,60,2020-01-01\n"), deck("dial-out,39,Italy,0.02,0,60,60,2020-01-01\n"));
        assert_ne!(one.version(), two.version());
        assert_eq!(one.version().len(), 12);
    }

    proptest! {
        #[test]
        fn it_agrees_with_brute_force(
            rows in proptest::collection::hash_map(("[1-3]{1,4}", 0_i64..4), 0_u32..1_000, 0..40),
            numbers in proptest::collection::vec(("[1-3]{1,6}", -1_i64..5), 1..30),
        ) {
            let line = |((prefix, day), mills): (&(String, i64), &u32)| format!("dial-out,{prefix},x,0.{mills:03},0,60,60,2020-01-0{}\n", day + 1);
            let deck = deck(&rows.iter().map(line).collect::<String>());
            for (digits, day) in numbers {
                let at = Wall::from_seconds(wall("2020-01-01").seconds() + day * 86_400 + 3_600);
                let valid = |length: usize| (0..=day).rev().find_map(|d| rows.get(&(digits[..length].to_owned(), d)).map(|mills| (length, *mills)));
                let brute = (1..=digits.len()).rev().find_map(valid);
                let found = match deck.rate(CallType::DialOut, &digits, at) {
                    Lookup::Found(row) => Some((row.prefix.len(), (row.rate.per_minute_nanos() / 1_000_000) as u32)),
                    Lookup::Absent | Lookup::Broken(_) => None,
                };
                prop_assert_eq!(found, brute);
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*", rows in "(dial-out|x|),[0-9+E.]{0,20},[^,]{0,4},[0-9.-]{0,40},[0-9.]{0,4},[0-9.]{0,30},[0-9]{0,3},[0-9TZ:-]{0,24}(\n|,|\")") {
            let _ = Deck::parse("r.csv", &text);
            let _ = Deck::salvage("r.csv", &format!("{HEADER}\n{rows}{text}"));
        }
    }
}
