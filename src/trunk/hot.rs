//! Hot numbers: those that thieves are known to call. Test numbers of revenue-share fraud are rung once, hours before an
//! attack, to see whether an account is open; lists of them are sold, and whoever dials one has told what comes next.

mod hash;
mod range;
mod read;

pub use hash::{HotHash, MOST_SALTS};
pub use read::read;

use crate::types::E164;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// The fewest digits: a country's code has three at the most, and a whole country is a policy's to bar, not a list's.
pub const FEWEST_DIGITS: usize = 4;
const MOST_DIGITS: usize = 15;

/// Entries of all lists together: 8 bytes each in memory, 32 of a hash, and some seconds of a writer when a list is brought in.
pub const MOST_HOT: usize = 1_000_000;

/// The largest file that is read.
pub const LARGEST_HOT: usize = 48 << 20;

/// The longest note of an entry.
pub const LONGEST_NOTE: usize = 120;

/// A number, or the first digits of many. Kept as the number that the digits make behind a 1, so that how many they are
/// is part of it: `0x` and `x` differ, and shorter ones come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HotPrefix(u64);

/// Why a text is no such prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadHotPrefix;

impl fmt::Display for BadHotPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected an international number or its first digits, {FEWEST_DIGITS} to {MOST_DIGITS} of them, the first not 0"
        )
    }
}

impl std::error::Error for BadHotPrefix {}

impl HotPrefix {
    /// The first `digits` of a number; `None` where it has fewer.
    fn of(digits: &str, count: usize) -> Option<HotPrefix> {
        let digits = digits.as_bytes().get(..count)?;
        Some(HotPrefix(digits.iter().fold(1, |number, digit| number * 10 + u64::from(digit - b'0'))))
    }

    /// Without `+`.
    pub fn digits(self) -> String {
        self.0.to_string().split_off(1)
    }

    /// All numbers that begin alike, but for the last `fewer` digits.
    const fn shortened(self, fewer: u32) -> HotPrefix {
        HotPrefix(self.0 / 10_u64.pow(fewer))
    }

    const fn count(self) -> u32 {
        self.0.ilog10()
    }
}

impl fmt::Display for HotPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.digits())
    }
}

/// `+371 2345`, `003712345`, `371-2345`: what stands between digits for the eye is left out.
impl FromStr for HotPrefix {
    type Err = BadHotPrefix;
    fn from_str(text: &str) -> Result<HotPrefix, BadHotPrefix> {
        let text = text.trim();
        // Two numbers read as one would be a third, which nobody meant.
        if range::prefixes(text).is_some() {
            return Err(BadHotPrefix);
        }
        bare(text)
    }
}

/// A number alone.
fn bare(text: &str) -> Result<HotPrefix, BadHotPrefix> {
    let text = text.trim();
    let text = text.strip_prefix('+').or_else(|| text.strip_prefix("00")).unwrap_or(text);
    let mut digits = String::with_capacity(MOST_DIGITS);
    for c in text.chars().filter(|c| !" -./()".contains(*c)) {
        if !c.is_ascii_digit() || digits.len() == MOST_DIGITS {
            return Err(BadHotPrefix);
        }
        digits.push(c);
    }
    if digits.len() < FEWEST_DIGITS || digits.starts_with('0') {
        return Err(BadHotPrefix);
    }
    HotPrefix::of(&digits, digits.len()).ok_or(BadHotPrefix)
}

/// What stands in a list: a number or the first digits of many, or the hash of one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HotKey {
    Numbers(HotPrefix),
    Hash(Box<HotHash>),
}

impl HotKey {
    /// Of a hash that has one.
    pub fn salt(&self) -> Option<&str> {
        match self {
            HotKey::Numbers(_) => None,
            HotKey::Hash(hash) => Some(hash.salt()).filter(|salt| !salt.is_empty()),
        }
    }
}

impl From<HotPrefix> for HotKey {
    fn from(prefix: HotPrefix) -> HotKey {
        HotKey::Numbers(prefix)
    }
}

impl From<HotHash> for HotKey {
    fn from(hash: HotHash) -> HotKey {
        HotKey::Hash(Box::new(hash))
    }
}

impl fmt::Display for HotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HotKey::Numbers(prefix) => prefix.fmt(f),
            HotKey::Hash(hash) => hash.fmt(f),
        }
    }
}

/// Why a text is neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHotKey {
    Numbers(BadHotPrefix),
    Hash(hash::BadHotHash),
}

impl fmt::Display for BadHotKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadHotKey::Numbers(bad) => bad.fmt(f),
            BadHotKey::Hash(bad) => bad.fmt(f),
        }
    }
}

impl std::error::Error for BadHotKey {}

impl FromStr for HotKey {
    type Err = BadHotKey;
    fn from_str(text: &str) -> Result<HotKey, BadHotKey> {
        match HotHash::read(text) {
            Some(hash) => hash.map(HotKey::from).map_err(BadHotKey::Hash),
            None => text.parse().map(HotKey::Numbers).map_err(BadHotKey::Numbers),
        }
    }
}

/// All hot numbers, made to be asked on the path of each call: one search for each length that any of them has, among
/// sorted words, two for each salt, among sorted hashes, and nothing allocated where none is met.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HotList {
    sorted: Vec<HotPrefix>,
    /// A bit for each length.
    lengths: u16,
    /// Sorted hashes by their salts.
    hashes: BTreeMap<String, Vec<[u8; 32]>>,
}

impl HotList {
    /// What stands in it more than once counts once.
    pub fn new(keys: impl IntoIterator<Item = HotKey>) -> HotList {
        let mut list = HotList::default();
        for key in keys {
            match key {
                HotKey::Numbers(prefix) => list.sorted.push(prefix),
                HotKey::Hash(hash) => list.hashes.entry(hash.salt().to_owned()).or_default().push(hash.bytes()),
            }
        }
        list.sorted.sort_unstable();
        list.sorted.dedup();
        for hashes in list.hashes.values_mut() {
            hashes.sort_unstable();
            hashes.dedup();
        }
        list.lengths = list.sorted.iter().fold(0, |lengths, prefix| lengths | 1 << prefix.count());
        list
    }

    pub fn len(&self) -> usize {
        self.sorted.len() + self.hashes.values().map(Vec::len).sum::<usize>()
    }

    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty() && self.hashes.is_empty()
    }

    /// The longest entry that a number falls under, or else its hash.
    pub fn meets(&self, number: &E164) -> Option<HotKey> {
        let digits = number.digits();
        let lengths = (FEWEST_DIGITS..=digits.len()).rev().filter(|length| self.lengths & 1 << length != 0);
        let mut own = lengths.filter_map(|length| HotPrefix::of(digits, length));
        let prefix = own.find(|prefix| self.sorted.binary_search(prefix).is_ok());
        prefix.map(HotKey::Numbers).or_else(|| {
            self.hashes.iter().find_map(|(salt, hashes)| {
                let both = HotHash::both(salt, number);
                let own = both.into_iter().find(|hash| hashes.binary_search(hash).is_ok())?;
                Some(HotHash::new(salt, own).into())
            })
        })
    }

    /// All that a number may stand under in lists, of the salts that there are.
    pub fn keys(&self, number: &E164) -> Vec<HotKey> {
        let digits = number.digits();
        let prefixes = (FEWEST_DIGITS..=digits.len()).filter_map(|length| HotPrefix::of(digits, length));
        let hashes = self
            .hashes
            .keys()
            .flat_map(|salt| HotHash::both(salt, number).map(|hash| HotKey::from(HotHash::new(salt, hash))));
        prefixes.map(HotKey::Numbers).chain(hashes).collect()
    }
}

/// A list as it is brought in, or as it is kept: each entry and what is known of it.
pub type HotEntries = BTreeMap<HotKey, String>;

/// What becomes of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HotChange {
    New,
    Removed,
    /// Its note is another.
    Noted,
}

impl HotChange {
    pub const ALL: [HotChange; 3] = [HotChange::New, HotChange::Removed, HotChange::Noted];

    pub const fn slug(self) -> &'static str {
        match self {
            HotChange::New => "new",
            HotChange::Removed => "removed",
            HotChange::Noted => "noted",
        }
    }
}

/// What a list differs in from one that takes its place, in the order of the digits' count and value, hashes behind them; and
/// how many entries are the same.
pub fn differences(before: &HotEntries, after: &HotEntries) -> (Vec<(HotChange, HotKey)>, usize) {
    let mut changes: Vec<(HotChange, HotKey)> = Vec::new();
    let mut same = 0;
    for (key, note) in after {
        match before.get(key) {
            None => changes.push((HotChange::New, key.clone())),
            Some(known) if known != note => changes.push((HotChange::Noted, key.clone())),
            Some(_) => same += 1,
        }
    }
    let gone = before.keys().filter(|key| !after.contains_key(key));
    changes.extend(gone.map(|key| (HotChange::Removed, key.clone())));
    changes.sort_unstable_by(|(_, a), (_, b)| a.cmp(b));
    (changes, same)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix(text: &str) -> HotPrefix {
        text.parse().unwrap()
    }

    fn key(text: &str) -> HotKey {
        text.parse().unwrap()
    }

    /// A hash of what is written, with a salt before it, if any.
    fn hash(salt: &str, text: &str) -> HotKey {
        use sha2::{Digest, Sha256};
        HotHash::new(salt, Sha256::digest(format!("{salt}{text}")).into()).into()
    }

    #[test]
    fn a_number_is_met_by_its_hash_with_and_without_sign_and_salt() {
        let hashes = [("", "+37123456789"), ("", "37123456780"), ("pepper", "37123456781"), ("salt", "+37123456782")];
        let list = HotList::new(hashes.map(|(salt, text)| hash(salt, text)).into_iter().chain([key("8829")]));
        assert_eq!((list.len(), list.is_empty()), (5, false));
        for (salt, text) in hashes {
            let number = text.trim_start_matches('+').parse::<u64>().unwrap();
            let number: E164 = format!("+{number}").parse().unwrap();
            assert_eq!(list.meets(&number), Some(hash(salt, text)));
            assert!(list.keys(&number).contains(&hash(salt, text)), "{number}");
        }
        assert_eq!(list.meets(&"+37123456783".parse().unwrap()), None);
        assert_eq!(
            list.meets(&"+3712345678".parse().unwrap()),
            None,
            "a hash is of one number, not of its first digits"
        );
        assert!(list.keys(&"+88291234".parse().unwrap()).contains(&key("8829")));
        assert!(!HotList::new([hash("", "37123456789")]).is_empty());
    }

    #[test]
    fn a_prefix_is_read_however_it_is_written_and_nothing_else_is() {
        let forms = ["3712345", "+3712345", "003712345", "+371 23-45", " (371) 23.45 ", "371/2345"];
        for form in forms {
            assert_eq!(prefix(form).to_string(), "3712345", "{form}");
        }
        let bad = [
            "",
            "+",
            "371",
            "0371234",
            "+0371234",
            "37123x",
            "3712345678901234",
            "٣٧١٢٣٤٥",
            "sha256:00",
            "-1-2",
            "+3712345-+3712349",
            "3712345-3712349",
        ];
        for form in bad {
            assert_eq!(form.parse::<HotPrefix>(), Err(BadHotPrefix), "{form}");
        }
        assert_eq!(prefix("123456789012345").digits(), "123456789012345");
    }

    #[test]
    fn the_longest_entry_is_met() {
        let list = HotList::new(["3712345", "37123456", "+88299", "88299"].map(key));
        assert_eq!(list.len(), 3);
        let met = |number: &str| list.meets(&number.parse().unwrap()).map(|key| key.to_string());
        assert_eq!(met("+37123456789").as_deref(), Some("37123456"));
        assert_eq!(met("+37123457789").as_deref(), Some("3712345"));
        assert_eq!(met("+3712345").as_deref(), Some("3712345"));
        assert_eq!(met("+371234"), None, "shorter than the entry");
        assert_eq!(met("+8829912").as_deref(), Some("88299"));
        assert_eq!(met("+390612345678"), None);
        assert_eq!(HotList::default().meets(&"+39061".parse().unwrap()), None);
    }

    #[test]
    fn differences_name_what_is_new_gone_and_noted_otherwise() {
        let list = |rows: &[(&str, &str)]| -> HotEntries {
            rows.iter().map(|(digits, note)| (key(digits), (*note).to_owned())).collect()
        };
        let before = list(&[("3711", "a"), ("3712", "b"), ("3713", "c")]);
        let after = list(&[("3712", "b"), ("3713", "d"), ("37140", "e")]);
        let (changes, same) = differences(&before, &after);
        let told: Vec<(&str, String)> = changes.iter().map(|(change, key)| (change.slug(), key.to_string())).collect();
        let expected = [("removed", "3711"), ("noted", "3713"), ("new", "37140")];
        assert_eq!(told, expected.map(|(change, digits)| (change, digits.to_owned())));
        assert_eq!(same, 1);
        assert_eq!(differences(&after, &after), (Vec::new(), 3));
    }

    proptest! {
        /// As a look at each entry would find it.
        #[test]
        fn meeting_is_beginning_with(
            entries in prop::collection::vec("[1-3][0-3]{3,7}", 0..40),
            numbers in prop::collection::vec("[1-3][0-3]{2,9}", 1..40),
        ) {
            let list = HotList::new(entries.iter().map(|entry| key(entry)));
            for number in numbers {
                let longest = entries.iter().filter(|entry| number.starts_with(*entry)).max_by_key(|entry| entry.len());
                let met = list.meets(&E164::from_digits(&number).unwrap()).map(|key| key.to_string());
                prop_assert_eq!(met.as_ref(), longest);
            }
        }
    }
}
