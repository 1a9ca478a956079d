//! A list that is to take the place of another, looked at before it counts: what no list may say, and what somebody must
//! have meant. All of it at once, each with its line.

use crate::clock::Wall;
use crate::form::Mistake;
use crate::rating::deck::{Deck, Lookup};
use crate::rating::export::moment;
use crate::rating::rate::{RateRow, price_text};
use crate::rating::{CallType, Countries};

/// How many times as dear a price may become before it is asked whether that is meant.
pub const JUMP: i64 = 5;

/// What was said to be meant.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leave {
    /// Prices more than [`JUMP`] times as dear as those in force.
    pub jumps: bool,
    /// Rows that begin in the past.
    pub past: bool,
}

/// A price that jumps: before, after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jump {
    pub before: i64,
    pub after: i64,
}

/// Whether a row of another deck makes some price of its number more than [`JUMP`] times as dear as it is (or will be when
/// the row begins): a minute at its dearest, or the connect fee. A number is compared with what it costs now, be that by a
/// shorter prefix.
pub fn jump(before: &Deck, call_type: CallType, row: &RateRow, at: Wall) -> Option<Jump> {
    let Lookup::Found(old) = before.rate(call_type, &row.prefix, row.valid_from.max(at)) else { return None };
    let pairs = [(dearest(old), dearest(row)), (old.rate.connect_fee_nanos(), row.rate.connect_fee_nanos())];
    let jumps = |(old, new): &(i64, i64)| *old > 0 && *new > old.saturating_mul(JUMP);
    pairs.into_iter().find(jumps).map(|(before, after)| Jump { before, after })
}

/// The dearest minute of a row, whatever the hour and the length of the call.
fn dearest(row: &RateRow) -> i64 {
    let clauses = row.clauses();
    let bands = clauses.bands.iter().flat_map(|bands| bands.prices());
    let tiers = clauses.tiers.list().iter().chain(clauses.month_tiers.list()).map(|tier| tier.per_minute_nanos);
    bands.chain(tiers).fold(row.rate.per_minute_nanos(), i64::max)
}

/// Every mistake of `after`, which is to take the place of `before`, in the order of its lines; `line` says where a line
/// of the deck stands in the file that it was made from.
pub fn review(
    file: &str,
    before: &Deck,
    after: &Deck,
    at: Wall,
    leave: Leave,
    line: impl Fn(usize) -> usize,
) -> Vec<Mistake> {
    let countries = Countries::embedded();
    let today = midnight(at);
    let mut mistakes = Vec::new();
    let mut tell =
        |number: usize, text: String| mistakes.push(Mistake { file: file.to_owned(), line: line(number), text });
    if !after.currency().is_known() {
        tell(1, format!("currency: there is no {}", after.currency()));
    }
    let exchanged = before.currency() != after.currency() && !before.is_empty();
    if exchanged && !leave.jumps {
        let (old, new) = (before.currency(), after.currency());
        tell(
            1,
            format!("prices cannot be compared: they were in {old} and are in {new}. If that is meant: --allow-jumps"),
        );
    }
    for (call_type, row, number) in after.lines() {
        let name = || format!("{call_type} {}", row.prefix);
        if !countries.knows(&row.prefix) {
            tell(number, format!("{}: no country and no service has such numbers", name()));
        }
        if before.row(call_type, &row.prefix, row.valid_from) == Some(row) {
            continue;
        }
        if row.valid_from < today && !leave.past {
            let from = moment(row.valid_from);
            tell(number, format!("{} begins in the past, {from}. If that is meant: --allow-past", name()));
        }
        if let Some(Jump { before, after }) = jump(before, call_type, row, at).filter(|_| !(leave.jumps || exchanged)) {
            let (before, after) = (price_text(before), price_text(after));
            tell(
                number,
                format!(
                    "{} is more than {JUMP} times as dear, {after} after {before}. If that is meant: --allow-jumps",
                    name()
                ),
            );
        }
    }
    mistakes.sort();
    mistakes
}

/// The first moment of the UTC day: a list that begins today is not of the past.
fn midnight(at: Wall) -> Wall {
    const DAY_MICROS: i64 = 86_400_000_000;
    Wall::from_micros(at.micros().div_euclid(DAY_MICROS) * DAY_MICROS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rating::reader::read_moment;

    const HEAD: &str =
        "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from,currency,tiers,bands,zone\n";

    fn read(rows: &str) -> Deck {
        Deck::parse("d.csv", &format!("{HEAD}{rows}")).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
    }

    const BEFORE: &str = "dial-out,39,Italy,0.0100,0.01,60,60,2020-01-01,,,,\ndial-out,44,UK,0.0100,0,60,60,2020-01-01,,,,\n\
                          dial-out,44,UK,0.1000,0,60,60,2026-09-01,,,,\ndial-out,1,US,0,0,60,60,2020-01-01,,,,\n";

    fn told(after: &str, leave: Leave) -> Vec<String> {
        let at = read_moment("2026-06-16T12:00:00Z").unwrap();
        let mistakes = review("d.csv", &read(BEFORE), &read(after), at, leave, |line| line + 100);
        mistakes.iter().map(|m| format!("{} {}", m.line, m.text.split(['.', ',']).next().unwrap_or(""))).collect()
    }

    #[test]
    fn what_stands_already_and_what_begins_today_is_taken_as_it_is() {
        assert_eq!(told(BEFORE, Leave::default()), [""; 0]);
        let sound = "dial-out,39,Italy,0.0500,0.05,60,60,2026-06-16,,,,\ndial-out,1,US,1,0,60,60,2026-06-17,,,,\n\
                     dial-out,44,UK,0.50,0,60,60,2026-09-01,,,,\ndial-out,33,France,900,0,60,60,2026-06-17,,,,\n";
        assert_eq!(told(sound, Leave::default()), [""; 0], "five times is not more than five times");
    }

    #[test]
    fn all_that_must_be_meant_is_told_at_once_with_its_line() {
        let after = "dial-out,39,Italy,0.0501,0,60,60,2026-06-16,,,,\ndial-out,3906,Rome,0.0600,0,60,60,2026-06-15,,,,\n\
                     dial-out,44,UK,0.0100,0,60,60,2026-06-17,,600:0.09,,\ndial-out,447,UK,0.45,0,60,60,2026-09-01,,,,\n\
                     dial-out,999,Nowhere,1,0,60,60,2026-09-01,,,,\ndial-out,39,Italy,0.0100,0.06,60,60,2026-07-01,,,,\n\
                     dial-out,441,UK,0.01,0,60,60,2026-06-17,,,sun 08:00-09:00 0.06,\n";
        assert_eq!(
            told(after, Leave::default()),
            [
                "102 dial-out 39 is more than 5 times as dear",
                "103 dial-out 3906 begins in the past",
                "103 dial-out 3906 is more than 5 times as dear",
                "104 dial-out 44 is more than 5 times as dear",
                "106 dial-out 999: no country and no service has such numbers",
                "107 dial-out 39 is more than 5 times as dear",
                "108 dial-out 441 is more than 5 times as dear",
            ]
        );
        assert_eq!(
            told(after, Leave { jumps: true, past: true }),
            ["106 dial-out 999: no country and no service has such numbers"]
        );
        assert_eq!(told(after, Leave { jumps: true, past: false }).len(), 2);
    }

    #[test]
    fn another_currency_is_asked_about_and_one_that_nobody_has_is_refused() {
        let euro = "dial-out,39,Italy,900,0,60,60,2026-06-17,EUR,,,\n";
        assert_eq!(told(euro, Leave::default()), ["101 prices cannot be compared: they were in USD and are in EUR"]);
        assert_eq!(told(euro, Leave { jumps: true, past: false }), [""; 0]);
        let nobody = "dial-out,39,Italy,1,0,60,60,2026-06-17,EUX,,,\n";
        assert_eq!(told(nobody, Leave { jumps: true, past: true }), ["101 currency: there is no EUX"]);
    }
}
