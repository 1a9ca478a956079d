//! A carrier's call records, read from whatever CSV it writes. A row that cannot be read is a mistake with its line, and
//! one mistake refuses the file: half of a bill compared is worse than none.

use super::Theirs;
use crate::clock::Wall;
use crate::form::{Mistake, Slate};
use crate::rating::words;
use crate::types::Micros;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::{Decimal, RoundingStrategy};

/// Rows of a file at most: a month of a busy carrier is some hundred thousand.
pub const MOST_ROWS: usize = 2_000_000;
/// Of a file; above it, bring it in by days.
pub const LARGEST_FILE: usize = 60 << 20;
/// Mistakes that are told one by one.
const MOST_MISTAKES: usize = 100;
/// A cell is an identity, a number, a moment: nothing longer is any of them.
const LONGEST_CELL: usize = 256;

/// What we want to know of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    CallId,
    Caller,
    Called,
    /// The beginning of the call, or its answer where the file has one column of time.
    Start,
    Answer,
    End,
    Duration,
    Amount,
    Currency,
}

words!(Column: "expected call_id, caller, called, start, answer, end, duration, amount or currency" {
    CallId "call_id",
    Caller "caller",
    Called "called",
    Start "start",
    Answer "answer",
    End "end",
    Duration "duration",
    Amount "amount",
    Currency "currency",
});

/// Names under which the trade knows them, small and without blanks, dots, dashes and underscores.
const ALIASES: &[(Column, &[&str])] = &[
    (
        Column::CallId,
        &["sipcallid", "callidentifier", "callreference", "uniqueid", "cdrid", "sessionid", "correlationid"],
    ),
    (
        Column::Caller,
        &["callerid", "cli", "ani", "from", "src", "source", "callingnumber", "anumber", "callingparty", "origination"],
    ),
    (
        Column::Called,
        &[
            "destinationnumber",
            "dnis",
            "to",
            "dst",
            "destination",
            "callednumber",
            "bnumber",
            "calledparty",
            "dialednumber",
            "termination",
        ],
    ),
    (
        Column::Start,
        &[
            "starttime",
            "calldate",
            "date",
            "datetime",
            "timestamp",
            "setuptime",
            "calltime",
            "begin",
            "invitetime",
            "startdatetime",
        ],
    ),
    (Column::Answer, &["answertime", "answered", "connecttime", "answeredat", "connectedat"]),
    (Column::End, &["endtime", "stoptime", "disconnecttime", "hanguptime", "enddatetime"]),
    (
        Column::Duration,
        &[
            "durationseconds",
            "seconds",
            "billsec",
            "billedseconds",
            "billeddur",
            "callduration",
            "minutes",
            "durationsec",
            "durations",
            "talktime",
            "billedduration",
            "chargeableduration",
        ],
    ),
    (Column::Amount, &["cost", "charge", "price", "total", "totalcost", "fee", "netamount"]),
    (Column::Currency, &["curr", "currencycode"]),
];

/// What a number of a duration counts. `1:02:03` is read under each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    #[default]
    Second,
    Millisecond,
    Minute,
}

words!(Unit: "expected second, millisecond or minute" {
    Second "second",
    Millisecond "millisecond",
    Minute "minute",
});

/// How a file is to be read.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Our column, their header.
    pub columns: Vec<(Column, String)>,
    /// Of moments that do not tell theirs.
    pub zone: TimeZone,
    pub unit: Unit,
    /// `0,012` is twelve thousandths.
    pub decimal_comma: bool,
    /// `3/4/2026` is the 3rd of April.
    pub day_first: bool,
}

impl Default for Mapping {
    fn default() -> Mapping {
        let (columns, unit) = (Vec::new(), Unit::Second);
        Mapping { columns, zone: TimeZone::UTC, unit, decimal_comma: false, day_first: false }
    }
}

impl Mapping {
    /// The calls of a file in its order, or every mistake.
    pub fn read(&self, file: &str, text: &str) -> Result<Vec<Theirs>, Vec<Mistake>> {
        let mut slate = Slate::new(file, MOST_MISTAKES);
        let calls = self.rows(text, &mut slate);
        slate.clean(calls)
    }

    fn rows(&self, text: &str, slate: &mut Slate<'_>) -> Vec<Theirs> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.len() > LARGEST_FILE {
            slate.tell(1, format!("the file has more than {} MiB: bring it in by days", LARGEST_FILE >> 20));
            return Vec::new();
        }
        // An amount that was cut is an amount: only the line break after it says that it is whole.
        if !text.is_empty() && !text.ends_with('\n') {
            let line = text.lines().count();
            slate
                .tell(line, "the file ends in the middle of a line: it was cut. Is it whole, end it with a line break");
        }
        let first = text.lines().next().unwrap_or_default();
        let delimiter = [b';', b'\t', b'|'].into_iter().find(|d| first.as_bytes().contains(d)).unwrap_or(b',');
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .flexible(true)
            .has_headers(false)
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let mut rows = reader.records();
        let Some(Ok(header)) = rows.next() else {
            slate.tell(1, "no header");
            return Vec::new();
        };
        let header: Vec<String> = header.iter().map(str::to_owned).collect();
        let places = match self.places(&header) {
            Ok(places) => places,
            Err(wrong) => {
                wrong.into_iter().for_each(|text| slate.tell(1, text));
                return Vec::new();
            }
        };
        let mut calls = Vec::new();
        for row in rows {
            let row = match row {
                Ok(row) => row,
                Err(error) => {
                    let line = error.position().map_or(0, |at| at.line() as usize);
                    slate.tell(line, error.to_string());
                    continue;
                }
            };
            let line = row.position().map_or(0, |at| at.line() as usize);
            if calls.len() == MOST_ROWS {
                slate.tell(line, format!("more than {MOST_ROWS} calls: bring them in by days"));
                return calls;
            }
            if row.len() != header.len() {
                slate.tell(line, format!("expected {} cells, as in the header, found {}", header.len(), row.len()));
                continue;
            }
            match self.call(line, &places, &row) {
                Ok(call) => calls.push(call),
                Err(wrong) => wrong.into_iter().for_each(|text| slate.tell(line, text)),
            }
        }
        calls
    }

    /// Which of their columns is which of ours; theirs that are none of ours are left out.
    fn places(&self, header: &[String]) -> Result<Vec<(Column, usize)>, Vec<String>> {
        let (mut places, mut wrong): (Vec<(Column, usize)>, Vec<String>) = (Vec::new(), Vec::new());
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
                Some((_, other)) => wrong.push(format!(
                    "both \"{}\" and \"{name}\" may be {column}: say which (--map {column}=\"{name}\")",
                    header[*other]
                )),
                None => places.push((column, place)),
            }
        }
        let has = |column| places.iter().any(|(own, _)| *own == column);
        if !has(Column::Start) && !has(Column::Answer) {
            wrong.push("no column tells when a call began (--map start=HEADER or answer=HEADER)".to_owned());
        }
        if !has(Column::Duration) && !has(Column::End) {
            wrong.push("no column tells how long a call was (--map duration=HEADER or end=HEADER)".to_owned());
        }
        if !has(Column::CallId) && !has(Column::Called) {
            wrong.push("no column tells which call it was (--map call_id=HEADER or called=HEADER)".to_owned());
        }
        if wrong.is_empty() { Ok(places) } else { Err(wrong) }
    }

    fn call(&self, line: usize, places: &[(Column, usize)], row: &csv::StringRecord) -> Result<Theirs, Vec<String>> {
        let mut wrong = Vec::new();
        let cell = |column: Column| {
            let place = places.iter().find(|(own, _)| *own == column)?.1;
            row.get(place).filter(|cell| !cell.is_empty())
        };
        for column in Column::ALL {
            if cell(*column).is_some_and(|cell| cell.len() > LONGEST_CELL) {
                return Err(vec![format!("{column}: longer than {LONGEST_CELL} characters")]);
            }
        }
        let mut moment = |column: Column| {
            let text = cell(column)?;
            let at = self.moment(text);
            if at.is_none() {
                wrong.push(format!("{column}: expected a moment like 2026-11-23 10:00:00, found \"{text}\""));
            }
            at
        };
        let (start, answer, end) = (moment(Column::Start), moment(Column::Answer), moment(Column::End));
        if start.or(answer).is_none() && wrong.is_empty() {
            wrong.push("start: empty".to_owned());
        }
        let duration_ms = match (cell(Column::Duration), answer.or(start), end) {
            (Some(text), _, _) => self.duration(text).ok_or_else(|| {
                format!("duration: expected a number of {}s or a time like 0:01:30, found \"{text}\"", self.unit)
            }),
            (None, Some(from), Some(to)) if to >= from => Ok(((to.micros() - from.micros()) / 1_000) as u64),
            (None, Some(_), Some(_)) => Err("end: before the beginning".to_owned()),
            (None, _, _) => Err("duration: empty".to_owned()),
        };
        let amount = cell(Column::Amount).map(|text| {
            self.amount(text).ok_or_else(|| format!("amount: expected a decimal like 0.0125, found \"{text}\""))
        });
        let (duration_ms, amount) = (note(&mut wrong, duration_ms), amount.and_then(|amount| note(&mut wrong, amount)));
        let currency = cell(Column::Currency).map(|text| {
            text.to_ascii_uppercase().parse().map_err(|expected| format!("currency: {expected}, found \"{text}\""))
        });
        let currency = currency.and_then(|currency| note(&mut wrong, currency));
        match (answer.or(start), duration_ms) {
            (Some(at), Some(duration_ms)) if wrong.is_empty() => Ok(Theirs {
                line,
                call_id: cell(Column::CallId).unwrap_or_default().to_owned(),
                caller: digits(cell(Column::Caller).unwrap_or_default()),
                called: digits(cell(Column::Called).unwrap_or_default()),
                at,
                answer_known: answer.is_some(),
                duration_ms,
                amount,
                currency,
            }),
            _ => Err(wrong),
        }
    }

    /// Moments that carry their zone, that have none, in seconds or milliseconds since 1970, or as Americans and
    /// Europeans write a day.
    fn moment(&self, text: &str) -> Option<Wall> {
        if let Ok(stamp) = text.parse::<Timestamp>() {
            return Some(Wall::from_micros(stamp.as_microsecond()));
        }
        if text.len() >= 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            let seconds = Decimal::from_str_exact(text).ok()?;
            let micros = if seconds >= Decimal::from(100_000_000_000_i64) { 1_000 } else { 1_000_000 };
            let stamp =
                Timestamp::from_microsecond(i64::try_from(seconds.checked_mul(Decimal::from(micros))?.trunc()).ok()?);
            return stamp.ok().map(|stamp| Wall::from_micros(stamp.as_microsecond()));
        }
        let text = text.strip_suffix(" UTC").map_or(text.to_owned(), |bare| format!("{bare}+00:00"));
        // A blank between the time and its offset is usual, and not ISO 8601.
        let text = text.replacen(" +", "+", 1);
        if let Ok(stamp) = text.parse::<Timestamp>() {
            return Some(Wall::from_micros(stamp.as_microsecond()));
        }
        let civil: DateTime = text.parse().ok().or_else(|| self.day_and_time(&text))?;
        let zoned = civil.to_zoned_datetime(self.zone.clone()).ok()?;
        Some(Wall::from_micros(zoned.timestamp().as_microsecond()))
    }

    /// `23/11/2026 10:00:00`, `11/23/2026 10:00`, `23.11.2026 10:00:00`.
    fn day_and_time(&self, text: &str) -> Option<DateTime> {
        let (date, time) = text.split_once([' ', 'T'])?;
        let dots = date.contains('.');
        let parts: Vec<i16> = date.split(['/', '.']).map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let [a, b, year] = parts[..] else { return None };
        let (day, month) = if dots || self.day_first { (a, b) } else { (b, a) };
        let mut clock = time.split(':').map(|part| part.parse::<i8>().ok());
        let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next().unwrap_or(Some(0))?);
        let (month, day) = (i8::try_from(month).ok()?, i8::try_from(day).ok()?);
        if clock.next().is_some() || year < 1970 {
            return None;
        }
        DateTime::new(year, month, day, hour, minute, second, 0).ok()
    }

    fn number(&self, text: &str) -> Option<Decimal> {
        let text = if self.decimal_comma { text.replace('.', "").replace(',', ".") } else { text.to_owned() };
        Decimal::from_str_exact(&text).ok()
    }

    fn duration(&self, text: &str) -> Option<u64> {
        if text.contains(':') {
            let mut parts = text.split(':').rev();
            let seconds = Decimal::from_str_exact(parts.next()?).ok()?;
            let (minutes, hours) =
                (parts.next()?.parse::<u32>().ok()?, parts.next().unwrap_or("0").parse::<u32>().ok()?);
            if parts.next().is_some()
                || !(Decimal::ZERO..Decimal::from(60)).contains(&seconds)
                || (minutes >= 60 && hours > 0)
            {
                return None;
            }
            let whole = Decimal::from(hours) * Decimal::from(3_600) + Decimal::from(minutes) * Decimal::from(60);
            return millis(whole.checked_add(seconds)?, 1_000);
        }
        let factor = match self.unit {
            Unit::Millisecond => 1,
            Unit::Second => 1_000,
            Unit::Minute => 60_000,
        };
        millis(self.number(text)?, factor)
    }

    fn amount(&self, text: &str) -> Option<Micros> {
        // Carriers write more places than a millionth has: what is below one is no difference that anybody looks for.
        let value = self.number(text)?.round_dp_with_strategy(6, RoundingStrategy::MidpointAwayFromZero);
        Micros::from_decimal(value).ok()
    }
}

fn millis(value: Decimal, factor: i64) -> Option<u64> {
    let ms = value.checked_mul(Decimal::from(factor))?.round();
    let ms = u64::try_from(ms).ok()?;
    // A call of a year is a column that was mistaken.
    let longest = SignedDuration::from_hours(24 * 366).as_millis();
    (i128::from(ms) <= longest).then_some(ms)
}

fn note<T>(wrong: &mut Vec<String>, value: Result<T, String>) -> Option<T> {
    value.map_err(|why| wrong.push(why)).ok()
}

/// Our column of a name, if it is one of the trade's.
fn ours(name: &str) -> Option<Column> {
    let bare: String =
        name.to_ascii_lowercase().chars().filter(|c| !matches!(c, ' ' | '.' | '_' | '-' | '(' | ')')).collect();
    let own = Column::ALL.iter().copied().find(|column| column.slug().replace('_', "") == bare);
    own.or_else(|| ALIASES.iter().find(|(_, names)| names.contains(&bare.as_str())).map(|(column, _)| *column))
}

/// The digits of a number, however it is written: `sip:+39…@host`, `0039…`, `39-06…`. What is none is empty.
pub(super) fn digits(text: &str) -> String {
    let text = text
        .strip_prefix("sips:")
        .or_else(|| text.strip_prefix("sip:"))
        .or_else(|| text.strip_prefix("tel:"))
        .unwrap_or(text);
    let text = text.split(['@', ';']).next().unwrap_or_default();
    let (international, rest) = text.strip_prefix('+').map_or((false, text), |rest| (true, rest));
    if rest.chars().any(|c| !c.is_ascii_digit() && !matches!(c, ' ' | '-' | '.' | '(' | ')' | '/')) {
        return String::new();
    }
    let digits: String = rest.chars().filter(char::is_ascii_digit).collect();
    if international { digits } else { digits.strip_prefix("00").map_or(digits.clone(), str::to_owned) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Vec<Theirs>, Vec<String>> {
        read_by(&Mapping::default(), text)
    }

    fn read_by(mapping: &Mapping, text: &str) -> Result<Vec<Theirs>, Vec<String>> {
        mapping.read("cdr.csv", text).map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
    }

    fn at(text: &str) -> Wall {
        Wall::from_micros(text.parse::<Timestamp>().unwrap().as_microsecond())
    }

    #[test]
    fn files_of_the_trade_are_understood() {
        let rome = Mapping {
            zone: TimeZone::get("Europe/Rome").unwrap(),
            decimal_comma: true,
            day_first: true,
            ..Mapping::default()
        };
        let plain = read(
            "call-id,cli,dnis,start_time,billsec,cost\na@b,+393331234567,00390612345678,2026-11-23T10:00:00Z,61,0.0125\n",
        );
        let call = &plain.unwrap()[0];
        assert_eq!(
            (call.call_id.as_str(), call.caller.as_str(), call.called.as_str()),
            ("a@b", "393331234567", "390612345678")
        );
        assert_eq!(
            (call.at, call.duration_ms, call.amount),
            (at("2026-11-23T10:00:00Z"), 61_000, Some(Micros(12_500)))
        );
        let theirs =
            "A-Number;B-Number;Date;Duration;Price\n0393331234567;390612345678;23/11/2026 11:00:00;0:01:01;0,0125\n";
        let call = &read_by(&rome, theirs).unwrap()[0];
        assert_eq!(
            (call.at, call.duration_ms, call.amount),
            (at("2026-11-23T10:00:00Z"), 61_000, Some(Micros(12_500)))
        );
        let ends = "dst\tanswer time\tend time\n39061234\t1700000000\t1700000061.5\n";
        let call = &read(ends).unwrap()[0];
        assert!(call.answer_known);
        assert_eq!((call.at, call.duration_ms), (Wall::from_seconds(1_700_000_000), 61_500));
    }

    #[test]
    fn moments_lengths_and_amounts_in_every_form() {
        let mapping = Mapping::default();
        for (text, due) in [
            ("2026-11-23T10:00:00+01:00", "2026-11-23T09:00:00Z"),
            ("2026-11-23 10:00:00 +0100", "2026-11-23T09:00:00Z"),
            ("2026-11-23 10:00:00 UTC", "2026-11-23T10:00:00Z"),
            ("2026-11-23 10:00:00.5", "2026-11-23T10:00:00.5Z"),
            ("1795428000", "2026-11-23T10:00:00Z"),
            ("1795428000500", "2026-11-23T10:00:00.5Z"),
            ("11/23/2026 10:00", "2026-11-23T10:00:00Z"),
            ("23.11.2026 10:00:00", "2026-11-23T10:00:00Z"),
        ] {
            assert_eq!(mapping.moment(text), Some(at(due)), "{text}");
        }
        for bad in ["", "10:00", "2026-11-31 10:00:00", "23/11/2026 10:00", "99999999999999999999", "11/23/26 10:00"] {
            assert_eq!(mapping.moment(bad), None, "{bad}");
        }
        let units = [Unit::Second, Unit::Millisecond, Unit::Minute].map(|unit| Mapping { unit, ..Mapping::default() });
        for (text, due) in [
            ("90", [90_000, 90, 5_400_000]),
            ("1.5", [1_500, 2, 90_000]),
            ("1:30", [90_000; 3]),
            ("1:00:00.25", [3_600_250; 3]),
        ] {
            assert_eq!(units.each_ref().map(|own| own.duration(text)), due.map(Some), "{text}");
        }
        for bad in ["-1", "x", "1:60", "1:2:3:4", "99999999999", "1:-2"] {
            assert_eq!(mapping.duration(bad), None, "{bad}");
        }
        assert_eq!(mapping.amount("0.01234567"), Some(Micros(12_346)));
        assert_eq!(mapping.amount("1e3"), None);
    }

    #[test]
    fn a_bad_file_is_refused_whole_with_its_lines() {
        let text = "call_id,start,duration\na,2026-11-23T10:00:00Z,1\nb,yesterday,1\nc,2026-11-23T10:00:00Z\nd,2026-11-23T10:00:00Z,long\n";
        let told = read(text).unwrap_err();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].starts_with("cdr.csv:3: start: expected a moment"), "{told:?}");
        assert!(told[1].starts_with("cdr.csv:4: expected 3 cells"), "{told:?}");
        assert!(told[2].starts_with("cdr.csv:5: duration: expected a number of seconds"), "{told:?}");
        let cut = read("call_id,start,duration\na,2026-11-23T10:00:00Z,12").unwrap_err();
        assert!(cut[0].starts_with("cdr.csv:2: the file ends in the middle of a line"), "{cut:?}");
        let quote =
            read("call_id,start,duration\n\"a,2026-11-23T10:00:00Z,12\nb,2026-11-23T10:00:00Z,1\n").unwrap_err();
        assert!(quote[0].starts_with("cdr.csv:2: expected 3 cells"), "{quote:?}");
        let told = read("a,b\n1,2\n").unwrap_err();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(read("").is_err());
        let both = read("start,duration,seconds,to\n").unwrap_err();
        assert!(both[0].contains("both \"duration\" and \"seconds\" may be duration"), "{both:?}");
        let named = Mapping { columns: vec![(Column::Duration, "Seconds".into())], ..Mapping::default() };
        assert_eq!(read_by(&named, "start,duration,seconds,to\n").unwrap(), []);
        let many = format!("call_id,start,duration\n{}", "a,b,c\n".repeat(200));
        assert!(read(&many).unwrap_err().last().unwrap().contains("more mistakes"));
    }

    #[test]
    fn numbers_are_their_digits() {
        for (text, due) in [
            ("+39 06 1234", "39061234"),
            ("0039061234", "39061234"),
            ("sip:+39061234@carrier.example;user=phone", "39061234"),
            ("tel:+39-06-1234", "39061234"),
            ("anonymous", ""),
            ("", ""),
        ] {
            assert_eq!(digits(text), due, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(text in "(call_id|start|duration|called|amount|[,;\n\"|]|\\PC){0,80}\n?") {
            let _ = read(&text);
        }
        #[test]
        fn no_cell_makes_it_panic(a in "\\PC{0,30}", b in "[0-9:./ +-]{0,30}", c in "[0-9:.,e-]{0,20}") {
            let _ = read(&format!("call_id,start,duration,amount,currency\n{a},{b},{c},{c},{a}\n"));
        }
    }
}
