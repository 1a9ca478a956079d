//! Longest match over digits: which row of a deck, which country, which route a number falls under.

/// A map from digit prefixes to values, answered by the longest prefix that fits.
///
/// A trie in one arena: a node is ten child indices and a value index, so that a look-up touches one node a digit
/// and nothing is allocated by it. Built once, then only read.
#[derive(Clone, Debug)]
pub struct PrefixMap<T> {
    nodes: Vec<Node>,
    values: Vec<T>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    children: [u32; 10],
    value: u32,
}

const NONE: u32 = u32::MAX;
const LEAF: Node = Node { children: [NONE; 10], value: NONE };

/// A prefix that is not made of 1 to 15 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPrefix;

impl<T> Default for PrefixMap<T> {
    fn default() -> Self {
        PrefixMap { nodes: vec![LEAF], values: Vec::new() }
    }
}

impl<T> PrefixMap<T> {
    /// Puts `value` under `prefix` (digits alone); gives back what stood there.
    pub fn insert(&mut self, prefix: &str, value: T) -> Result<Option<T>, BadPrefix> {
        if prefix.is_empty() || prefix.len() > 15 || !prefix.bytes().all(|b| b.is_ascii_digit()) {
            return Err(BadPrefix);
        }
        let mut at = 0;
        for digit in prefix.bytes().map(|b| usize::from(b - b'0')) {
            if self.nodes[at].children[digit] == NONE {
                self.nodes[at].children[digit] = self.nodes.len() as u32;
                self.nodes.push(LEAF);
            }
            at = self.nodes[at].children[digit] as usize;
        }
        if self.nodes[at].value != NONE {
            let old = std::mem::replace(&mut self.values[self.nodes[at].value as usize], value);
            return Ok(Some(old));
        }
        self.nodes[at].value = self.values.len() as u32;
        self.values.push(value);
        Ok(None)
    }

    /// The value of the longest prefix of `digits`, with that prefix's length.
    pub fn longest(&self, digits: &str) -> Option<(usize, &T)> {
        let mut at = 0;
        let mut found = None;
        for (depth, byte) in digits.bytes().enumerate() {
            let Some(digit) = byte.checked_sub(b'0').filter(|d| *d < 10) else { break };
            let child = self.nodes[at].children[usize::from(digit)];
            if child == NONE {
                break;
            }
            at = child as usize;
            if self.nodes[at].value != NONE {
                found = Some((depth + 1, &self.values[self.nodes[at].value as usize]));
            }
        }
        found
    }

    /// The value that stands exactly under `prefix`.
    pub fn exact_mut(&mut self, prefix: &str) -> Option<&mut T> {
        let mut at = 0;
        for byte in prefix.bytes() {
            let digit = byte.checked_sub(b'0').filter(|d| *d < 10)?;
            let child = self.nodes[at].children[usize::from(digit)];
            if child == NONE {
                return None;
            }
            at = child as usize;
        }
        let value = self.nodes[at].value;
        if value == NONE { None } else { Some(&mut self.values[value as usize]) }
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.values.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn the_longest_prefix_answers() {
        let mut map = PrefixMap::default();
        map.insert("1", "north america").unwrap();
        map.insert("1242", "bahamas").unwrap();
        assert_eq!(map.longest("12425551234"), Some((4, &"bahamas")));
        assert_eq!(map.longest("12125551234"), Some((1, &"north america")));
        assert_eq!(map.longest("39"), None);
        assert_eq!(map.insert("1", "again").unwrap(), Some("north america"));
        assert_eq!(map.insert("", "x"), Err(BadPrefix));
        assert_eq!(map.insert("+1", "x"), Err(BadPrefix));
    }

    proptest! {
        #[test]
        fn it_agrees_with_brute_force(rows in proptest::collection::hash_map("[0-9]{1,6}", any::<u16>(), 0..60),
                                      numbers in proptest::collection::vec("[0-9]{1,9}", 1..40)) {
            let rows: HashMap<String, u16> = rows;
            let mut map = PrefixMap::default();
            for (prefix, value) in &rows {
                map.insert(prefix, *value).unwrap();
            }
            for number in numbers {
                let brute = (1..=number.len()).rev().find_map(|n| rows.get(&number[..n]).map(|v| (n, v)));
                prop_assert_eq!(map.longest(&number), brute);
            }
        }
    }
}
