//! Which RTP ports are free. Pure: numbers alone, the sockets are `io`'s.
//!
//! A port that was given back rests before it is lent again, so that the last packets of one call are never heard in
//! another. The longest unused is lent first, in an order that no stranger can guess from the ports he has seen.

use crate::clock::Mono;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::collections::{HashSet, VecDeque};
use std::ops::RangeInclusive;
use std::time::Duration;

/// How long a port rests: longer than a peer goes on repeating its BYE (64·T1 = 32 s, RFC 3261 section 17.1.2.2) and
/// so may still believe that the call is up.
pub const REST: Duration = Duration::from_secs(35);
/// Where none has rested so long, the one that rests longest is lent, once it has for this: what was on its way has come by
/// then, and whose BYE was lost sends to a call that takes sound from elsewhere. Better than to turn a caller away.
pub const LEAST: Duration = Duration::from_secs(4);

/// Every port is lent, or was until a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no RTP port is free")]
pub struct Exhausted;

/// How many pairs of ports are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    pub free: usize,
    pub lent: usize,
    pub resting: usize,
}

/// Pairs of a range: an even port for RTP, the odd one above it for RTCP (RFC 3550 section 11).
#[derive(Debug)]
pub struct Ports {
    free: VecDeque<u16>,
    lent: HashSet<u16>,
    /// In the order in which they were given back, with the moment from which they are free.
    resting: VecDeque<(Mono, u16)>,
}

impl Ports {
    /// All whole pairs within `range`.
    pub fn new(range: RangeInclusive<u16>, seed: u64) -> Ports {
        let last = *range.end();
        let mut free: Vec<u16> = range.filter(|port| port % 2 == 0 && *port != 0 && *port < last).collect();
        free.shuffle(&mut StdRng::seed_from_u64(seed));
        Ports { free: free.into(), lent: HashSet::new(), resting: VecDeque::new() }
    }

    /// The RTP port of a pair.
    pub fn lend(&mut self, now: Mono) -> Result<u16, Exhausted> {
        self.wake(now);
        let rested = |(until, _): &mut (Mono, u16)| *until <= now + (REST - LEAST);
        let least = || self.resting.pop_front_if(rested).map(|(_, port)| port);
        let port = self.free.pop_front().or_else(least).ok_or(Exhausted)?;
        self.lent.insert(port);
        Ok(port)
    }

    /// The pair rests from `now` on. A port that was not lent is none of ours: nothing happens.
    pub fn give_back(&mut self, port: u16, now: Mono) {
        if self.lent.remove(&port) {
            // A clock read on another thread may be a little behind; the order of resting must not be.
            let latest = self.resting.back().map_or(Mono::default(), |(until, _)| *until);
            self.resting.push_back(((now + REST).max(latest), port));
        }
    }

    /// How many could be lent now.
    pub fn ready(&self, now: Mono) -> usize {
        self.free.len() + self.resting.partition_point(|(until, _)| *until <= now + (REST - LEAST))
    }

    pub fn census(&mut self, now: Mono) -> Census {
        self.wake(now);
        Census { free: self.free.len(), lent: self.lent.len(), resting: self.resting.len() }
    }

    fn wake(&mut self, now: Mono) {
        while let Some((_, port)) = self.resting.pop_front_if(|(until, _)| *until <= now) {
            self.free.push_back(port);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lent(ports: &mut Ports, now: Mono) -> Vec<u16> {
        std::iter::from_fn(|| ports.lend(now).ok()).collect()
    }

    #[test]
    fn pairs_are_whole_and_in_the_range() {
        for (range, expected) in [
            (10_000..=10_003, vec![10_000, 10_002]),
            (10_001..=10_004, vec![10_002]),
            (10_000..=10_000, vec![]),
            (65_534..=65_535, vec![65_534]),
            (0..=3, vec![2]),
        ] {
            let mut found = lent(&mut Ports::new(range.clone(), 1), Mono::default());
            found.sort();
            assert_eq!(found, expected, "{range:?}");
        }
    }

    #[test]
    fn a_port_rests_before_it_is_lent_again() {
        let mut ports = Ports::new(10_000..=10_003, 1);
        let now = Mono::from_millis(1_000);
        let both = lent(&mut ports, now);
        assert_eq!(ports.lend(now), Err(Exhausted));
        ports.give_back(both[1], now);
        ports.give_back(both[1], now);
        ports.give_back(9_998, now);
        assert_eq!(ports.census(now), Census { free: 0, lent: 1, resting: 1 });
        assert_eq!((ports.lend(now + LEAST - Duration::from_millis(1)), ports.ready(now)), (Err(Exhausted), 0));
        assert_eq!(ports.ready(now + LEAST), 1);
        assert_eq!(ports.lend(now + LEAST), Ok(both[1]), "there is no other");
        ports.give_back(both[0], now + LEAST);
        ports.give_back(both[1], now + 2 * LEAST);
        assert_eq!(ports.ready(now + REST + LEAST), 2);
        assert_eq!(ports.lend(now + REST + LEAST), Ok(both[0]));
    }

    #[test]
    fn the_longest_unused_is_lent_first_and_the_order_is_the_seeds() {
        let mut ports = Ports::new(10_000..=10_199, 7);
        let first = lent(&mut ports, Mono::default());
        assert_eq!(first, lent(&mut Ports::new(10_000..=10_199, 7), Mono::default()));
        assert_ne!(first, lent(&mut Ports::new(10_000..=10_199, 8), Mono::default()));
        for (at, port) in first.iter().rev().enumerate() {
            ports.give_back(*port, Mono::from_millis(at as u64));
        }
        let again = lent(&mut ports, Mono::from_millis(100_000));
        assert!(again.iter().eq(first.iter().rev()));
    }

    proptest! {
        /// No port is ever lent twice at once, nor before it has rested, nor lost; and where one has rested well, none that has
        /// not.
        #[test]
        fn ports_are_conserved(steps in prop::collection::vec((any::<bool>(), 0u64..20_000, any::<prop::sample::Index>()), 0..200)) {
            const PAIRS: usize = 8;
            let mut ports = Ports::new(20_000..=20_015, 3);
            let mut now = Mono::default();
            let mut out: Vec<u16> = Vec::new();
            let mut back: std::collections::HashMap<u16, Mono> = Default::default();
            for (lend, wait_ms, which) in steps {
                now = now + Duration::from_millis(wait_ms);
                if lend {
                    let (free, ready) = (ports.census(now).free, ports.ready(now));
                    let lent = ports.lend(now);
                    prop_assert_eq!(lent.is_ok(), ready > 0);
                    if let Ok(port) = lent {
                        prop_assert_eq!(ports.ready(now), ready - 1);
                        prop_assert!(!out.contains(&port));
                        let rested = back.get(&port).map_or(REST, |at| now.since(*at));
                        let wanted = if free > 0 { REST } else { LEAST };
                        prop_assert!(rested >= wanted);
                        out.push(port);
                    }
                } else if !out.is_empty() {
                    let port = out.swap_remove(which.index(out.len()));
                    back.insert(port, now);
                    ports.give_back(port, now);
                }
                let census = ports.census(now);
                prop_assert_eq!(census.lent, out.len());
                prop_assert_eq!(census.free + census.lent + census.resting, PAIRS);
            }
        }
    }
}
