//! A rate deck: CSV in, longest prefix out. Read whole or not at all; every mistake is told with its line.

use crate::clock::Wall;
use crate::form::Mistake;
use crate::rating::CallType;
use crate::rating::bands::Bands;
use crate::rating::clauses::{AtMaximum, Clauses, Places, Tiers};
use crate::rating::rate::{Class, LONGEST_INCREMENT_MS, Rate, RateRow, price_nanos};
use crate::types::{Currency, PrefixMap};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::str::FromStr;

/// The largest deck read: a million rows of 100 bytes. A larger file is a mistake of a person, not a deck.
pub const LARGEST_DECK: usize = 100 << 20;

/// No more mistakes than this are told: whoever has a thousand has one, made a thousand times.
const MOST_MISTAKES: usize = 1_000;

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

/// Rows of one prefix, the latest first; a row that could not be read keeps its place.
type Rows = Vec<(Wall, Result<RateRow, BrokenRow>)>;

/// A deck: immutable, made at once, in one currency.
#[derive(Clone, Debug)]
pub struct Deck {
    version: String,
    currency: Currency,
    maps: [PrefixMap<Rows>; 3],
    rows: usize,
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
        let mut reader = Reader::new(file_name, text);
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
            match rows.iter().find(|(from, _)| *from <= at) {
                Some((_, Ok(row))) if row.valid_to.is_none_or(|valid_to| at < valid_to) => return Lookup::Found(row),
                Some((_, Err(broken))) => return Lookup::Broken(broken),
                Some((_, Ok(_))) | None => rest = &digits[..length - 1],
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
            let ends = rows.iter().filter_map(|(_, row)| row.as_ref().ok()?.valid_to);
            let turns = rows.iter().map(|(from, _)| *from).chain(ends);
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
        let of = |call_type: CallType| {
            let rows = self.maps[call_type as usize].values().flatten();
            rows.filter_map(move |(_, row)| row.as_ref().ok().map(|row| (call_type, row)))
        };
        CallType::ALL.iter().copied().flat_map(of)
    }
}

/// The columns, in the order of the product's own decks; a file may have them in any, and leave out all but the first
/// [`REQUIRED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    CallType,
    Prefix,
    Destination,
    Rate,
    ConnectFee,
    Initial,
    Next,
    ValidFrom,
    ValidTo,
    Class,
    Currency,
    Length,
    ZeroLength,
    Short,
    Free,
    OnChange,
    Tiers,
    MonthTiers,
    Bands,
    Zone,
    Holidays,
    Mobile,
    Payphone,
    Minimum,
    Maximum,
    AtMaximum,
    Rounding,
    Places,
}

const REQUIRED: usize = 8;

crate::rating::words!(Column: "a column" {
    CallType "call_type",
    Prefix "prefix",
    Destination "destination",
    Rate "rate",
    ConnectFee "connect_fee",
    Initial "initial_s",
    Next "next_s",
    ValidFrom "valid_from",
    ValidTo "valid_to",
    Class "class",
    Currency "currency",
    Length "length",
    ZeroLength "zero_length",
    Short "short_s",
    Free "free_s",
    OnChange "on_change",
    Tiers "tiers",
    MonthTiers "month_tiers",
    Bands "bands",
    Zone "zone",
    Holidays "holidays",
    Mobile "mobile_surcharge",
    Payphone "payphone_surcharge",
    Minimum "minimum",
    Maximum "maximum",
    AtMaximum "at_maximum",
    Rounding "rounding",
    Places "places",
});

/// Columns whose cells make a row's [`Clauses`].
pub(super) const CLAUSES: [Column; 17] = [
    Column::Length,
    Column::ZeroLength,
    Column::Short,
    Column::Free,
    Column::OnChange,
    Column::Tiers,
    Column::MonthTiers,
    Column::Bands,
    Column::Zone,
    Column::Holidays,
    Column::Mobile,
    Column::Payphone,
    Column::Minimum,
    Column::Maximum,
    Column::AtMaximum,
    Column::Rounding,
    Column::Places,
];

/// Where the header put each column.
type Header = [Option<usize>; Column::ALL.len()];

struct Reader<'a> {
    file: &'a str,
    deck: Deck,
    currency: Option<Currency>,
    /// The last date read: most rows of a deck have the same.
    date: (String, Option<Wall>),
    mistakes: Vec<Mistake>,
    line: usize,
}

/// One line, with its header.
struct Record<'a> {
    header: &'a Header,
    cells: Vec<Cow<'a, str>>,
}

impl Record<'_> {
    fn cell(&self, column: Column) -> &str {
        self.header[column as usize].and_then(|place| self.cells.get(place)).map_or("", |cell| cell.trim())
    }
}

impl<'a> Reader<'a> {
    fn new(file: &'a str, text: &str) -> Reader<'a> {
        let mut deck = Deck::empty(Currency::USD);
        let hash = Sha256::digest(text.as_bytes());
        deck.version = hash[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let date = (String::new(), None);
        Reader { file, deck, currency: None, date, mistakes: Vec::new(), line: 1 }
    }

    fn mistake(&mut self, text: impl Into<String>) {
        self.mistakes.push(Mistake { file: self.file.to_owned(), line: self.line, text: text.into() });
    }

    /// Line by line: a quoted line break has no place in a deck, and so a line's number is always the file's.
    fn read(&mut self, text: &str) {
        if text.len() > LARGEST_DECK {
            return self.mistake(format!("a deck of more than {} MB", LARGEST_DECK >> 20));
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
        let Some((number, header)) = lines.next() else {
            return self.mistake(format!("no header: expected {}", slugs(&Column::ALL[..REQUIRED], ",")));
        };
        self.line = number + 1;
        let delimiter = [';', '\t'].into_iter().find(|d| header.contains(*d)).unwrap_or(',');
        let Some(header) = self.header(&split(header, delimiter)) else { return };
        for (number, line) in lines {
            if self.mistakes.len() >= MOST_MISTAKES {
                break;
            }
            self.line = number + 1;
            self.row(&Record { header: &header, cells: split(line, delimiter) });
        }
        self.deck.currency = self.currency.unwrap_or(Currency::USD);
    }

    /// Where each column stands; columns that nobody knows are a mistake, for they may be a misspelt one.
    fn header(&mut self, cells: &[Cow<'_, str>]) -> Option<Header> {
        let before = self.mistakes.len();
        let mut header: Header = [None; Column::ALL.len()];
        for (place, cell) in cells.iter().enumerate() {
            let name = cell.trim().to_ascii_lowercase();
            match name.parse::<Column>() {
                Ok(column) if header[column as usize].is_none() => header[column as usize] = Some(place),
                Ok(_) => self.mistake(format!("column \"{name}\" twice")),
                Err(_) => self.mistake(format!("unknown column \"{name}\"; known are {}", slugs(Column::ALL, ", "))),
            }
        }
        for column in Column::ALL[..REQUIRED].iter().filter(|column| header[**column as usize].is_none()) {
            self.mistake(format!("no column \"{column}\""));
        }
        (self.mistakes.len() == before).then_some(header)
    }

    fn row(&mut self, record: &Record<'_>) {
        let call_type = self.parsed::<CallType>(record, Column::CallType);
        let prefix = self.prefix(record.cell(Column::Prefix));
        let valid_from = self.moment(record, Column::ValidFrom);
        let class = self.class(record);
        let before = self.mistakes.len();
        let rate = self.rate(record);
        let valid_to = self.valid_to(record, valid_from);
        let clauses = self.clauses(record);
        if let (Some(rate), Ok(Some(clauses))) = (&rate, &clauses) {
            self.can_be_charged(rate, clauses);
        }
        let why = self.mistakes.get(before).map(|mistake| mistake.text.clone());
        let (Some(call_type), Some(prefix)) = (call_type, prefix) else { return };
        let broken =
            |why| Err(BrokenRow { prefix: prefix.as_str().into(), class: class.unwrap_or(Class::Blocked), why });
        // A row without a readable date is valid always: it then answers `Broken`, and no older one in its place.
        let Some(valid_from) = valid_from else {
            let why = format!("valid_from of line {}", self.line);
            return self.put(call_type, &prefix, Wall::from_micros(i64::MIN), broken(why));
        };
        let row = match (why, rate, class, clauses) {
            (None, Some(rate), Some(class), Ok(clauses)) => {
                let destination = record.cell(Column::Destination).into();
                Ok(RateRow { prefix: prefix.as_str().into(), destination, class, rate, valid_from, valid_to, clauses })
            }
            (Some(why), ..) => broken(why),
            (None, ..) => broken(format!("class of line {}", self.line)),
        };
        self.put(call_type, &prefix, valid_from, row);
    }

    /// The first moment at which the row is valid no more.
    fn valid_to(&mut self, record: &Record<'_>, valid_from: Option<Wall>) -> Option<Wall> {
        if record.cell(Column::ValidTo).is_empty() {
            return None;
        }
        let valid_to = self.moment(record, Column::ValidTo)?;
        if valid_from.is_some_and(|from| from >= valid_to) {
            self.mistake("valid_to: not after valid_from");
        }
        Some(valid_to)
    }

    /// What is beyond a plain rate. Rows of a deck mostly have the same, so the last ones read are kept.
    fn clauses(&mut self, record: &Record<'_>) -> Result<Option<Box<Clauses>>, ()> {
        if CLAUSES.iter().all(|column| record.cell(*column).is_empty()) {
            return Ok(None);
        }
        let before = self.mistakes.len();
        let clauses = Clauses {
            length: self.or_default(record, Column::Length),
            no_length: self.or_default(record, Column::ZeroLength),
            short_ms: self.millis_or_none(record, Column::Short),
            free_ms: self.millis_or_none(record, Column::Free),
            on_change: self.or_default(record, Column::OnChange),
            tiers: self.tiers(record, Column::Tiers, 1_000),
            month_tiers: self.tiers(record, Column::MonthTiers, 60_000),
            bands: self.bands(record),
            mobile: self.or_default(record, Column::Mobile),
            payphone: self.or_default(record, Column::Payphone),
            minimum_nanos: self.price_or_none(record, Column::Minimum).unwrap_or(0),
            maximum_nanos: self.price_or_none(record, Column::Maximum),
            at_maximum: self.or_default(record, Column::AtMaximum),
            rounding: self.or_default(record, Column::Rounding),
            places: self.places(record),
        };
        if let Err(why) = clauses.check() {
            self.mistake(why);
        }
        if self.mistakes.len() > before { Err(()) } else { Ok(Some(Box::new(clauses)).filter(|it| !it.is_none())) }
    }

    /// A call that is ended at its maximum must be able to begin.
    fn can_be_charged(&mut self, rate: &Rate, clauses: &Clauses) {
        let first = i128::from(rate.per_minute_nanos()) * i128::from(rate.initial_ms()) / 60_000;
        let first = first + i128::from(rate.connect_fee_nanos());
        let most = clauses.maximum_nanos.filter(|_| clauses.at_maximum == AtMaximum::Disconnect);
        if most.is_some_and(|most| first > i128::from(most)) {
            self.mistake("maximum: less than the first increment, where a call is disconnected");
        }
    }

    fn or_default<T: FromStr + Default>(&mut self, record: &Record<'_>, column: Column) -> T
    where
        T::Err: std::fmt::Display,
    {
        match record.cell(column) {
            "" => T::default(),
            _ => self.parsed(record, column).unwrap_or_default(),
        }
    }

    fn millis_or_none(&mut self, record: &Record<'_>, column: Column) -> u64 {
        if record.cell(column).is_empty() {
            return 0;
        }
        let ms = self.millis(record, column).unwrap_or(0);
        if ms > LONGEST_INCREMENT_MS {
            self.mistake(format!("{column}: at most an hour"));
        }
        ms
    }

    fn price_or_none(&mut self, record: &Record<'_>, column: Column) -> Option<i64> {
        if record.cell(column).is_empty() {
            return None;
        }
        let price = price_nanos(self.decimal(record, column)?);
        price.map_err(|why| self.mistake(format!("{column}: {why}"))).ok()
    }

    fn tiers(&mut self, record: &Record<'_>, column: Column, unit_ms: u64) -> Tiers {
        let tiers = Tiers::parse(record.cell(column), unit_ms);
        tiers.map_err(|why| self.mistake(format!("{column}: {why}"))).unwrap_or_default()
    }

    fn bands(&mut self, record: &Record<'_>) -> Option<Bands> {
        let (bands, zone, holidays) =
            (record.cell(Column::Bands), record.cell(Column::Zone), record.cell(Column::Holidays));
        if bands.is_empty() {
            if !(zone.is_empty() && holidays.is_empty()) {
                self.mistake("zone or holidays without bands");
            }
            return None;
        }
        Bands::parse(bands, zone, holidays).map_err(|why| self.mistake(format!("bands: {why}"))).ok()
    }

    fn places(&mut self, record: &Record<'_>) -> Places {
        let text = record.cell(Column::Places);
        if text.is_empty() {
            return Places::USUAL;
        }
        let places = text.parse::<u8>().ok().and_then(|places| Places::try_from(places).ok());
        if places.is_none() {
            self.mistake(format!("places: expected 0 to 6, found \"{text}\""));
        }
        places.unwrap_or_default()
    }

    fn class(&mut self, record: &Record<'_>) -> Option<Class> {
        match record.cell(Column::Class) {
            "" => Some(Class::Standard),
            _ => self.parsed(record, Column::Class),
        }
    }

    /// What it costs.
    fn rate(&mut self, record: &Record<'_>) -> Option<Rate> {
        self.one_currency(record);
        let per_minute = self.decimal(record, Column::Rate);
        let connect_fee = self.decimal(record, Column::ConnectFee);
        let initial_ms = self.millis(record, Column::Initial);
        let next_ms = self.millis(record, Column::Next);
        let rate = Rate::new(per_minute?, connect_fee?, initial_ms?, next_ms?);
        rate.map_err(|why| self.mistake(format!("rate, connect_fee or increments: {why}"))).ok()
    }

    fn put(&mut self, call_type: CallType, prefix: &str, from: Wall, row: Result<RateRow, BrokenRow>) {
        let map = &mut self.deck.maps[call_type as usize];
        if map.exact_mut(prefix).is_none() && map.insert(prefix, Rows::new()).is_err() {
            return;
        }
        let Some(rows) = map.exact_mut(prefix) else { return };
        let place = rows.partition_point(|(other, _)| *other > from);
        let ends_after = |row: &Result<RateRow, BrokenRow>, moment: Wall| {
            row.as_ref().is_ok_and(|row| row.valid_to.is_some_and(|valid_to| valid_to > moment))
        };
        // A row without an end is valid until the next; one with an end must have ended by then.
        let why = match (rows.get(place), place.checked_sub(1).and_then(|later| rows.get(later))) {
            (Some((other, _)), _) if *other == from => "another row that is valid from the same moment",
            (Some((_, earlier)), _) if ends_after(earlier, from) => "an earlier row that is still valid then",
            (_, Some((later, _))) if ends_after(&row, *later) => "a later row that is valid before its end",
            _ => {
                rows.insert(place, (from, row));
                self.deck.rows += 1;
                return;
            }
        };
        self.mistake(format!("{call_type} {prefix} has {why}"));
    }

    fn parsed<T: FromStr>(&mut self, record: &Record<'_>, column: Column) -> Option<T>
    where
        T::Err: std::fmt::Display,
    {
        let text = record.cell(column);
        text.parse().map_err(|why| self.mistake(format!("{}: {why}, found \"{text}\"", column))).ok()
    }

    /// Digits, 1 to 15; a leading `+` or `00` is what people write and means nothing more.
    fn prefix(&mut self, text: &str) -> Option<String> {
        let digits = text.strip_prefix('+').or_else(|| text.strip_prefix("00")).unwrap_or(text);
        let well_formed = (1..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        if well_formed && !digits.starts_with('0') {
            return Some(digits.to_owned());
        }
        let mangled = text.contains(['E', 'e', '.']) && text.starts_with(|c: char| c.is_ascii_digit());
        let hint = if mangled { " (a spreadsheet has turned it into a number: make the column text)" } else { "" };
        self.mistake(format!("prefix: expected 1 to 15 digits, the first not 0, found \"{text}\"{hint}"));
        None
    }

    fn decimal(&mut self, record: &Record<'_>, column: Column) -> Option<Decimal> {
        let text = record.cell(column);
        let plain = text.bytes().all(|b| b.is_ascii_digit() || b == b'.' || b == b'-');
        let value = Decimal::from_str_exact(text).ok().filter(|_| plain);
        if value.is_none() {
            self.mistake(format!("{}: expected a decimal like 0.0120, found \"{text}\"", column));
        }
        value
    }

    /// Seconds, to the millisecond.
    fn millis(&mut self, record: &Record<'_>, column: Column) -> Option<u64> {
        let scaled = self.decimal(record, column)?.checked_mul(Decimal::ONE_THOUSAND);
        let whole = scaled.filter(|ms| ms.fract().is_zero()).and_then(|ms| u64::try_from(ms).ok());
        if whole.is_none() {
            self.mistake(format!("{}: expected seconds to the millisecond", column));
        }
        whole
    }

    /// A date (midnight UTC) or a moment with its offset.
    fn moment(&mut self, record: &Record<'_>, column: Column) -> Option<Wall> {
        let text = record.cell(column);
        if self.date.0 == text && self.date.1.is_some() {
            return self.date.1;
        }
        let moment = read_moment(text);
        if moment.is_none() {
            self.mistake(format!("{column}: expected 2026-01-01 or 2026-01-01T00:00:00Z, found \"{text}\""));
        }
        self.date = (text.to_owned(), moment);
        moment
    }

    fn one_currency(&mut self, record: &Record<'_>) {
        let text = record.cell(Column::Currency);
        if text.is_empty() {
            return;
        }
        match text.parse::<Currency>() {
            Ok(currency) if self.currency.is_none_or(|first| first == currency) => self.currency = Some(currency),
            Ok(_) => self.mistake("currency: a deck has one currency"),
            Err(why) => self.mistake(format!("currency: {why}, found \"{text}\"")),
        }
    }
}

fn slugs(columns: &[Column], between: &str) -> String {
    columns.iter().map(|column| column.slug()).collect::<Vec<_>>().join(between)
}

/// A date (midnight UTC) or a moment with its offset.
pub fn read_moment(text: &str) -> Option<Wall> {
    let midnight = |date: Date| date.to_zoned_datetime(TimeZone::UTC).ok().map(|zoned| zoned.timestamp());
    let stamp = if text.len() == 10 { text.parse().ok().and_then(midnight) } else { text.parse().ok() };
    stamp.map(|stamp: Timestamp| Wall::from_micros(stamp.as_microsecond()))
}

/// The cells of a line; a quoted cell may hold the delimiter, and `""` for a quote (RFC 4180 section 2).
pub(super) fn split(line: &str, delimiter: char) -> Vec<Cow<'_, str>> {
    if !line.contains('"') {
        return line.split(delimiter).map(Cow::Borrowed).collect();
    }
    let (mut cells, mut cell, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
            '"' => quoted = !quoted,
            c if c == delimiter && !quoted => cells.push(Cow::Owned(std::mem::take(&mut cell))),
            c => cell.push(c),
        }
    }
    cells.push(Cow::Owned(cell));
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
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
                "r.csv:5: dial-out 39 has another row that is valid from the same moment",
                "r.csv:6: prefix: expected 1 to 15 digits, the first not 0, found \"4.42E+11\" (a spreadsheet has turned it into a number: make the column text)",
                "r.csv:7: rate, connect_fee or increments: a price cannot be negative",
                "r.csv:8: call_type: expected dial-in-toll, dial-in-toll-free or dial-out, found \"dial-in\"",
                "r.csv:8: rate: expected a decimal like 0.0120, found \"0,02\"",
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
