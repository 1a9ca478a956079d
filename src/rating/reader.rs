//! A deck's text, read: columns by their names, rows line by line, every mistake with its line.

use super::deck::{BrokenRow, Deck, LARGEST_DECK, Placed, Rows};
use crate::clock::Wall;
use crate::form::Mistake;
use crate::rating::CallType;
use crate::rating::bands::Bands;
use crate::rating::clauses::{AtMaximum, Clauses, Places, Tiers};
use crate::rating::rate::{Class, LONGEST_INCREMENT_MS, Rate, RateRow, price_nanos};
use crate::types::Currency;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::str::FromStr;

/// No more mistakes than this are told: whoever has a thousand has one, made a thousand times.
pub(super) const MOST_MISTAKES: usize = 1_000;

/// Lines between two signs of progress.
pub(super) const SIGN_EVERY: usize = 1_024;

/// The columns, in the order of the product's own decks; a file may have them in any, and leave out all but the first
/// `REQUIRED`.
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

pub(super) const REQUIRED: usize = 8;

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

pub(super) struct Reader<'a> {
    file: &'a str,
    pub deck: Deck,
    currency: Option<Currency>,
    /// The last date read: most rows of a deck have the same.
    date: (String, Option<Wall>),
    pub mistakes: Vec<Mistake>,
    line: usize,
    seen: &'a mut dyn FnMut(usize),
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
    pub fn new(file: &'a str, text: &str, seen: &'a mut dyn FnMut(usize)) -> Reader<'a> {
        let mut deck = Deck::empty(Currency::USD);
        let hash = Sha256::digest(text.as_bytes());
        deck.version = hash[..6].iter().map(|byte| format!("{byte:02x}")).collect();
        let date = (String::new(), None);
        Reader { file, deck, currency: None, date, mistakes: Vec::new(), line: 1, seen }
    }

    fn mistake(&mut self, text: impl Into<String>) {
        self.mistakes.push(Mistake { file: self.file.to_owned(), line: self.line, text: text.into() });
    }

    /// Line by line: a quoted line break has no place in a deck, and so a line's number is always the file's.
    pub fn read(&mut self, text: &str) {
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
            if number % SIGN_EVERY == 0 {
                (self.seen)(number);
            }
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
        let place = rows.partition_point(|other| other.from > from);
        let ends_after = |row: &Result<RateRow, BrokenRow>, moment: Wall| {
            row.as_ref().is_ok_and(|row| row.valid_to.is_some_and(|valid_to| valid_to > moment))
        };
        // A row without an end is valid until the next; one with an end must have ended by then.
        let (why, other) = match (rows.get(place), place.checked_sub(1).and_then(|later| rows.get(later))) {
            (Some(other), _) if other.from == from => ("another row that is valid from the same moment", other.line),
            (Some(earlier), _) if ends_after(&earlier.row, from) => {
                ("an earlier row that is still valid then", earlier.line)
            }
            (_, Some(later)) if ends_after(&row, later.from) => {
                ("a later row that is valid before its end", later.line)
            }
            _ => {
                rows.insert(place, Placed { from, line: u32::try_from(self.line).unwrap_or(u32::MAX), row });
                self.deck.rows += 1;
                return;
            }
        };
        self.mistake(format!("{call_type} {prefix} has {why}, in line {other}"));
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
        let digits = digits_of(text);
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
            let comma = text.contains(',') && text.bytes().all(|b| b.is_ascii_digit() || b == b',');
            let hint = if comma { " (is it a decimal comma? That must be said)" } else { "" };
            self.mistake(format!("{column}: expected a decimal like 0.0120, found \"{text}\"{hint}"));
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

/// A prefix without the `+` or `00` that people write before it.
pub(super) fn digits_of(text: &str) -> &str {
    text.strip_prefix('+').or_else(|| text.strip_prefix("00")).unwrap_or(text)
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
