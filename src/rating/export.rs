//! A deck written as text again: what is read from it is the same deck.

use crate::clock::Wall;
use crate::rating::clauses::{Clauses, Surcharge};
use crate::rating::deck::{CLAUSES, Column, Deck};
use crate::rating::rate::{RateRow, price_text};
use crate::rating::record::quoted;
use crate::rating::{CallType, words};
use crate::types::Currency;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

/// Every deck has these; the others only where a row has something to say in them.
const ALWAYS: [Column; 10] = [
    Column::CallType,
    Column::Prefix,
    Column::Destination,
    Column::Rate,
    Column::ConnectFee,
    Column::Initial,
    Column::Next,
    Column::ValidFrom,
    Column::Class,
    Column::Currency,
];

impl Deck {
    /// The rows in the order of call type, prefix and moment, under a header. Rows that could not be read are not in it.
    pub fn to_csv(&self) -> String {
        let mut rows: Vec<(CallType, &RateRow)> = self.rows().collect();
        rows.sort_by(|(a, one), (b, two)| (a, &one.prefix, one.valid_from).cmp(&(b, &two.prefix, two.valid_from)));
        let said = |column: &Column| rows.iter().any(|(of, row)| !cell(*column, *of, row, self.currency()).is_empty());
        let mut columns = ALWAYS.to_vec();
        columns.extend([Column::ValidTo].iter().chain(&CLAUSES).filter(|column| said(column)));
        let header: Vec<&str> = columns.iter().map(|column| column.slug()).collect();
        let mut text = header.join(",");
        for (call_type, row) in rows {
            for (place, column) in columns.iter().enumerate() {
                text.push(if place == 0 { '\n' } else { ',' });
                text.push_str(&quoted(&cell(*column, call_type, row, self.currency())));
            }
        }
        text.push('\n');
        text
    }
}

fn seconds(ms: u64) -> String {
    Decimal::from_i128_with_scale(i128::from(ms), 3).normalize().to_string()
}

/// A date where it is a midnight, else the moment.
pub fn moment(at: Wall) -> String {
    let stamp = Timestamp::from_microsecond(at.micros()).unwrap_or(Timestamp::UNIX_EPOCH);
    let utc = TimeZone::UTC.to_datetime(stamp);
    if utc.time() == jiff::civil::Time::midnight() { utc.date().to_string() } else { stamp.to_string() }
}

fn cell(column: Column, call_type: CallType, row: &RateRow, currency: Currency) -> String {
    let (rate, clauses) = (&row.rate, row.clauses());
    match column {
        Column::CallType => call_type.to_string(),
        Column::Prefix => row.prefix.to_string(),
        Column::Destination => row.destination.to_string(),
        Column::Rate => rate.per_minute().to_string(),
        Column::ConnectFee => rate.connect_fee().to_string(),
        Column::Initial => seconds(rate.initial_ms()),
        Column::Next => seconds(rate.next_ms()),
        Column::ValidFrom => moment(row.valid_from),
        Column::ValidTo => row.valid_to.map(moment).unwrap_or_default(),
        Column::Class => row.class.to_string(),
        Column::Currency => currency.to_string(),
        _ => clause(column, clauses),
    }
}

/// A clause; empty where it says what every row says that is silent.
fn clause(column: Column, clauses: &Clauses) -> String {
    fn word<T: Default + PartialEq + ToString>(value: T) -> String {
        if value == T::default() { String::new() } else { value.to_string() }
    }
    let ms = |ms: u64| if ms == 0 { String::new() } else { seconds(ms) };
    let bands = |of: fn(&crate::rating::bands::Bands) -> String| clauses.bands.as_ref().map(of).unwrap_or_default();
    let surcharge = |surcharge: Surcharge| surcharge.to_string();
    match column {
        Column::Length => word(clauses.length),
        Column::ZeroLength => word(clauses.no_length),
        Column::Short => ms(clauses.short_ms),
        Column::Free => ms(clauses.free_ms),
        Column::OnChange => word(clauses.on_change),
        Column::Tiers => clauses.tiers.text(1_000),
        Column::MonthTiers => clauses.month_tiers.text(60_000),
        Column::Bands => bands(|bands| bands.text()),
        Column::Zone => bands(|bands| bands.zone_name().to_owned()),
        Column::Holidays => bands(|bands| bands.holidays_text()),
        Column::Mobile => surcharge(clauses.mobile),
        Column::Payphone => surcharge(clauses.payphone),
        Column::Minimum if clauses.minimum_nanos > 0 => price_text(clauses.minimum_nanos),
        Column::Maximum => clauses.maximum_nanos.map(price_text).unwrap_or_default(),
        Column::AtMaximum => word(clauses.at_maximum),
        Column::Rounding => word(clauses.rounding),
        Column::Places if clauses.places != Default::default() => clauses.places.count().to_string(),
        _ => String::new(),
    }
}

/// What becomes of a row's price by another deck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    New,
    Removed,
    Dearer,
    Cheaper,
    /// The same minute price; fee, increments, class, clauses, name or dates are others.
    Other,
}

words!(Change: "expected new, removed, dearer, cheaper or other" {
    New "new",
    Removed "removed",
    Dearer "dearer",
    Cheaper "cheaper",
    Other "other",
});

/// One prefix whose price is another, as of the moment asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    pub change: Change,
    pub call_type: CallType,
    pub prefix: String,
    pub destination: String,
    pub before: Option<Decimal>,
    pub after: Option<Decimal>,
    /// Five times as dear, or more: most likely a slip.
    pub jump: bool,
}

/// How many times as dear a price may become before it is asked whether that is meant.
const JUMP: i64 = 5;

/// What another deck would change, in the order of call type and prefix, and how many prefixes stay as they are. A
/// prefix has the row that is valid at `at`, or the first that is to be.
pub fn difference(before: &Deck, after: &Deck, at: Wall) -> (Vec<Changed>, usize) {
    let (old, new) = (by_prefix(before, at), by_prefix(after, at));
    let mut changes = Vec::new();
    let mut same = 0;
    let keys: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).copied().collect();
    for key in keys {
        let (old, new) = (old.get(&key), new.get(&key));
        let price = |row: Option<&&RateRow>| row.map(|row| row.rate.per_minute());
        let change = match (old, new) {
            (Some(old), Some(new)) if old == new && before.currency() == after.currency() => {
                same += 1;
                continue;
            }
            (None, _) => Change::New,
            (_, None) => Change::Removed,
            (Some(old), Some(new)) => match new.rate.per_minute_nanos().cmp(&old.rate.per_minute_nanos()) {
                std::cmp::Ordering::Greater => Change::Dearer,
                std::cmp::Ordering::Less => Change::Cheaper,
                std::cmp::Ordering::Equal => Change::Other,
            },
        };
        let jump = old.zip(new).is_some_and(|(old, new)| {
            old.rate.per_minute_nanos() > 0
                && new.rate.per_minute_nanos() >= old.rate.per_minute_nanos().saturating_mul(JUMP)
        });
        changes.push(Changed {
            change,
            call_type: key.0,
            prefix: key.1.to_owned(),
            destination: new.or(old).map(|row| row.destination.to_string()).unwrap_or_default(),
            before: price(old),
            after: price(new),
            jump,
        });
    }
    (changes, same)
}

type ByPrefix<'a> = std::collections::BTreeMap<(CallType, &'a str), &'a RateRow>;

fn by_prefix(deck: &Deck, at: Wall) -> ByPrefix<'_> {
    let mut rows: Vec<(CallType, &RateRow)> = deck.rows().collect();
    rows.sort_by_key(|(_, row)| row.valid_from);
    let mut chosen = ByPrefix::new();
    for (call_type, row) in rows.into_iter().filter(|(_, row)| row.valid_to.is_none_or(|valid_to| at < valid_to)) {
        let key = (call_type, &*row.prefix);
        // The latest that is valid already, else the first to come.
        if row.valid_from <= at || !chosen.contains_key(&key) {
            chosen.insert(key, row);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Deck {
        Deck::parse("deck.csv", text).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
    }

    const HEAD: &str = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from";

    #[test]
    fn what_is_written_reads_back_the_same_and_is_written_the_same() {
        let full = format!(
            "{HEAD},valid_to,class,currency,length,zero_length,short_s,free_s,on_change,bands,zone,holidays,mobile_surcharge,payphone_surcharge,minimum,maximum,at_maximum,rounding,places,tiers,month_tiers\n\
             dial-out,39,\"Italy, \"\"all\"\"\",0.012345678,0.05,6.001,0.5,2026-01-01T10:00:00.5Z,2027-01-01,mobile,EUR,ceil-s,minimum,5,30,split,mon-fri 08:00-19:00 0.03 | sun 10:00-12:00 1,Europe/Rome,2026-12-25,0.03/min,0.494/call,0.01,2,disconnect,half-even,6,,\n\
             dial-out,44,UK,0.01,0,60,60,2020-01-01,,,EUR,,,,,,,,,,,,,,,,600:0.02,\n\
             dial-in-toll,44,UK,0.01,0,60,60,2020-01-01,,,EUR,,,,,,,,,,,,,,,,,1000:0.015\n"
        );
        for text in [full.as_str(), include_str!("../../config/rates.csv")] {
            let deck = read(text);
            let written = deck.to_csv();
            let again = read(&written);
            assert_eq!((again.len(), again.currency()), (deck.len(), deck.currency()));
            assert_eq!(again.to_csv(), written);
            let (changes, same) = difference(&deck, &again, Wall::from_seconds(1_770_000_000));
            assert!(changes.is_empty() && same > 2, "{changes:?}");
        }
        assert!(read(include_str!("../../config/rates.csv")).to_csv().lines().next().unwrap().ends_with("currency"));
    }

    #[test]
    fn a_difference_names_what_changes() {
        let rows = |rows: &[&str]| read(&format!("{HEAD}\n{}\n", rows.join("\n")));
        let before = rows(&[
            "dial-out,39,Italy,0.01,0,60,60,2020-01-01",
            "dial-out,44,UK,0.02,0,60,60,2020-01-01",
            "dial-out,33,France,0.03,0,60,60,2020-01-01",
            "dial-out,34,Spain,0.03,0,60,60,2020-01-01",
            "dial-out,49,Germany,0.03,0,60,60,2020-01-01",
        ]);
        let after = rows(&[
            "dial-out,39,Italy,0.05,0,60,60,2020-01-01",
            "dial-out,44,UK,0.01,0,60,60,2026-06-01",
            "dial-out,44,UK,0.90,0,60,60,2099-06-01",
            "dial-out,33,France,0.03,0,60,1,2020-01-01",
            "dial-out,34,Spain,0.03,0,60,60,2020-01-01",
            "dial-out,41,Switzerland,0.03,0,60,60,2099-01-01",
        ]);
        let (changes, same) = difference(&before, &after, Wall::from_seconds(1_800_000_000));
        let told: Vec<_> =
            changes.iter().map(|c| format!("{} {}{}", c.prefix, c.change, if c.jump { "!" } else { "" })).collect();
        assert_eq!((told.join(", ").as_str(), same), ("33 other, 39 dearer!, 41 new, 44 cheaper, 49 removed", 1));
    }
}
