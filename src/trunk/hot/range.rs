//! Ranges of numbers, as sellers of lists write them: from the first to the last, both in it. A range is as many prefixes as
//! it takes, none of which says more than the range does.

use super::{BadHotPrefix, FEWEST_DIGITS, HotPrefix, MOST_DIGITS, bare};
use std::fmt;

/// Prefixes of one range. A whole block of numbers is some dozen; a range that needs more is most likely a slip.
const MOST_PREFIXES: usize = 1_000;
/// A longer cell is no range: two numbers, and what stands between their digits for the eye.
const LONGEST_RANGE: usize = 80;
/// Digits from which on two numbers without a `+` are a range, and not one number with a dash in it.
const PLAIN_DIGITS: u32 = 7;

/// Why a range is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadRange {
    Number(BadHotPrefix),
    Length,
    Order,
    Wide,
}

impl From<BadHotPrefix> for BadRange {
    fn from(bad: BadHotPrefix) -> BadRange {
        BadRange::Number(bad)
    }
}

impl fmt::Display for BadRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadRange::Number(bad) => bad.fmt(f),
            BadRange::Length => f.write_str("expected a range of two numbers of as many digits each"),
            BadRange::Order => f.write_str("expected a range from the lower number to the higher"),
            BadRange::Wide => {
                write!(f, "expected a range of {MOST_PREFIXES} prefixes at most: write it as first digits")
            }
        }
    }
}

/// `+37123450 - +37123469`, `37123450-37123469`; `None` where the text is no range. A dash between digits makes one where
/// a `+` stands behind it, or `00` before both numbers, or two long numbers of one length stand around it, too long for one number or alike in their first digits.
pub(super) fn prefixes(text: &str) -> Option<Result<Vec<HotPrefix>, BadRange>> {
    if text.len() > LONGEST_RANGE {
        return None;
    }
    let dashes = text.char_indices().filter(|(_, c)| matches!(c, '-' | '–'));
    dashes.map(|(at, dash)| (&text[..at], text[at + dash.len_utf8()..].trim_start())).find_map(|(first, last)| {
        let is_said = last.starts_with('+') || last.starts_with("00") && first.trim_start().starts_with("00");
        match (bare(first), bare(last)) {
            (Ok(first), Ok(last)) if is_said || is_plain(first, last) => Some(between(first, last)),
            (Err(bad), _) | (_, Err(bad)) if last.starts_with('+') => Some(Err(bad.into())),
            _ => None,
        }
    })
}

fn is_plain(first: HotPrefix, last: HotPrefix) -> bool {
    let count = first.count();
    let alike = |prefix: HotPrefix| prefix.shortened(count - FEWEST_DIGITS as u32);
    let is_no_number = 2 * count as usize > MOST_DIGITS;
    count >= PLAIN_DIGITS && count == last.count() && (is_no_number || alike(first) == alike(last))
}

/// The fewest prefixes that are all of the numbers from `first` to `last`, and no other.
fn between(first: HotPrefix, last: HotPrefix) -> Result<Vec<HotPrefix>, BadRange> {
    if first.count() != last.count() {
        return Err(BadRange::Length);
    }
    if first > last {
        return Err(BadRange::Order);
    }
    let most = first.count() - FEWEST_DIGITS as u32;
    let (mut prefixes, mut from) = (Vec::new(), first.0);
    while from <= last.0 {
        let fits = |fewer: &u32| from % 10_u64.pow(*fewer) == 0 && from + 10_u64.pow(*fewer) - 1 <= last.0;
        let fewer = (0..=most).rev().find(fits).unwrap_or(0);
        if prefixes.len() == MOST_PREFIXES {
            return Err(BadRange::Wide);
        }
        prefixes.push(HotPrefix(from).shortened(fewer));
        from += 10_u64.pow(fewer);
    }
    Ok(prefixes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_dash_within_a_number_makes_no_range() {
        for number in ["371-2345", "+371-23-45", "3712-3456", "371-2345-371", "", "-", "1-2"] {
            assert_eq!(prefixes(number), None, "{number}");
        }
        for (range, count) in [
            ("+3712345-+3712345", 1),
            ("003712340 – 003712349", 1),
            ("371 23 40-371 23 59", 2),
            ("+371-2340-+371-2359", 2),
            ("371-2340-371-2359", 2),
        ] {
            assert_eq!(prefixes(range).unwrap().unwrap().len(), count, "{range}");
        }
        assert_eq!(prefixes("+100000000000000-+199999999999999").unwrap().unwrap().len(), 1_000);
    }

    proptest! {
        /// Every number of the range, whatever its length, and no other.
        #[test]
        fn a_range_is_its_numbers_and_no_other(a in 10_000_u64..99_999, b in 10_000_u64..99_999, asked in 10_000_u64..99_999) {
            let (low, high) = (a.min(b), a.max(b));
            match prefixes(&format!("+{low}-+{high}")).unwrap() {
                Ok(prefixes) => {
                    let has = prefixes.iter().filter(|prefix| asked.to_string().starts_with(&prefix.digits())).count();
                    prop_assert_eq!(has, usize::from((low..=high).contains(&asked)));
                }
                Err(bad) => prop_assert!(bad == BadRange::Wide && high - low > 9_000),
            }
        }
    }
}
