//! The demo's prices, and each charge worked out a second time, by hand: apart from the bridge's own arithmetic.

use crate::rating::{CallType, Capability, UsageRecord};
use crate::types::Micros;

/// One row of the deck. All prices are invented.
struct Row {
    call_type: CallType,
    prefix: &'static str,
    destination: &'static str,
    /// Millionths of a dollar: a minute, and once a call.
    per_minute: i64,
    fee: i64,
    first_s: u64,
    next_s: u64,
}

const fn row(
    (call_type, prefix, destination): (CallType, &'static str, &'static str),
    (per_minute, fee): (i64, i64),
    (first_s, next_s): (u64, u64),
) -> Row {
    Row { call_type, prefix, destination, per_minute, fee, first_s, next_s }
}

/// Of two prefixes that fit, the longer comes first.
const ROWS: &[Row] = &[
    row((CallType::DialInToll, "390687", "Rome by the second"), (60_000, 0), (1, 1)),
    row((CallType::DialInToll, "39", "Italy"), (10_000, 0), (60, 60)),
    row((CallType::DialInTollFree, "39", "Italy"), (50_000, 0), (60, 60)),
    row((CallType::DialOut, "393", "Italy mobile"), (30_000, 10_000), (30, 6)),
    row((CallType::DialOut, "39", "Italy"), (16_000, 0), (60, 60)),
    row((CallType::DialInToll, "1", "United States"), (8_500, 0), (60, 60)),
    row((CallType::DialOut, "44", "United Kingdom"), (12_000, 0), (60, 60)),
];

/// The deck, as a file for `apply` has it.
pub(super) fn deck() -> String {
    let mut csv = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from\n".to_owned();
    for row in ROWS {
        let Row { call_type, prefix, destination, first_s, next_s, .. } = row;
        let (rate, fee) = (Micros(row.per_minute), Micros(row.fee));
        csv += &format!("{call_type},{prefix},{destination},{rate},{fee},{first_s},{next_s},2020-01-01\n");
    }
    csv
}

/// What a leg should have cost. `None` where the deck has no row for it.
pub(super) fn by_hand(record: &UsageRecord) -> Option<Micros> {
    if record.capability != Some(Capability::PayPerMinute) || record.duration_ms == 0 {
        return Some(Micros::ZERO);
    }
    let digits = record.destination.digits();
    let row = ROWS.iter().find(|row| row.call_type == record.call_type && digits.starts_with(row.prefix))?;
    let beyond_ms = record.duration_ms.saturating_sub(row.first_s * 1_000);
    let billed_s = row.first_s + beyond_ms.div_ceil(row.next_s * 1_000) * row.next_s;
    // Millionths of a dollar, times 60: brought to the nearest hundred millionths, half up.
    let sixtieths = row.fee * 60 + row.per_minute * billed_s as i64;
    Some(Micros((sixtieths + 3_000) / 6_000 * 100))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rating::Deck;

    #[test]
    fn the_deck_is_one() {
        let csv = deck();
        let deck = Deck::parse("rates.csv", &csv).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        assert_eq!(csv.lines().count(), ROWS.len() + 1);
        assert!(!deck.version().is_empty());
    }
}
