//! The durations of RFC 3261 section 17, and alarms as data: one ordered set, so that the next deadline is one look.

use crate::clock::Mono;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Duration;

/// Round trip that everything is built from (RFC 3261 section 17.1.1.1).
pub const T1: Duration = Duration::from_millis(500);
/// Longest wait between two retransmissions of anything but an INVITE request.
pub const T2: Duration = Duration::from_secs(4);
/// Longest life of a message in the network.
pub const T4: Duration = Duration::from_secs(5);
/// How long a side is tried before it is silent: timers B, F, H, J, L and M.
pub const LIFE: Duration = Duration::from_secs(32);
/// Timer D over UDP: "at least 32 seconds" (RFC 3261 section 17.1.1.2).
pub const ABSORB: Duration = Duration::from_secs(32);

/// The timers of RFC 3261 table 4 and of RFC 6026 (L, M). C is a proxy's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Letter {
    A,
    B,
    D,
    E,
    F,
    G,
    H,
    I,
    J,
    K,
    L,
    M,
}

/// Alarms, at most one a key: setting a key again moves it.
#[derive(Debug)]
pub struct Timers<K> {
    order: BTreeSet<(Mono, K)>,
    by_key: HashMap<K, Mono>,
}

impl<K: Copy + Ord + Hash> Timers<K> {
    pub fn new() -> Timers<K> {
        Timers { order: BTreeSet::new(), by_key: HashMap::new() }
    }

    pub fn set(&mut self, key: K, at: Mono) {
        self.stop(key);
        self.by_key.insert(key, at);
        self.order.insert((at, key));
    }

    pub fn stop(&mut self, key: K) {
        if let Some(at) = self.by_key.remove(&key) {
            self.order.remove(&(at, key));
        }
    }

    /// When this alarm is due, if it is set.
    pub fn at(&self, key: K) -> Option<Mono> {
        self.by_key.get(&key).copied()
    }

    pub fn deadline(&self) -> Option<Mono> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes the earliest alarm that is due at `now`.
    pub fn due(&mut self, now: Mono) -> Option<K> {
        let (at, key) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.stop(key);
        Some(key)
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_table_of_the_rfc() {
        assert_eq!(LIFE, T1 * 64);
        assert!(ABSORB >= Duration::from_secs(32));
        assert!(T4 > T2 && T2 > T1);
    }

    proptest! {
        /// Against a plain map: alarms come in the order of their time, moved ones once, stopped ones never.
        #[test]
        fn alarms_come_once_and_in_order(steps in prop::collection::vec((0u8..20, 0u64..1000, any::<bool>()), 0..200)) {
            let mut timers = Timers::new();
            let mut plain = std::collections::BTreeMap::new();
            for (key, at, set) in steps {
                if set {
                    timers.set(key, Mono::from_millis(at));
                    plain.insert(key, at);
                } else {
                    timers.stop(key);
                    plain.remove(&key);
                }
                prop_assert_eq!(timers.len(), plain.len());
                prop_assert_eq!(timers.deadline(), plain.values().min().map(|at| Mono::from_millis(*at)));
            }
            let mut expected: Vec<(u64, u8)> = plain.iter().map(|(key, at)| (*at, *key)).filter(|(at, _)| *at <= 500).collect();
            expected.sort();
            let mut seen = Vec::new();
            while let Some(key) = timers.due(Mono::from_millis(500)) {
                seen.push((plain[&key], key));
            }
            prop_assert_eq!(seen, expected);
        }
    }
}
