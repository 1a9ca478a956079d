//! Who tries passwords: after some wrong ones an address is not heard for a while, right or wrong.
//!
//! Only tries with a nonce that we gave that very address count, so nobody can have another one barred by writing a false
//! sender on a datagram.

use crate::clock::Mono;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Wrong tries of one address within [`WITHIN`].
pub(super) const MOST_WRONG: u32 = 10;
const WITHIN: Duration = Duration::from_secs(60);
/// So long it is not heard then.
const BARRED: Duration = Duration::from_secs(15 * 60);
/// Addresses that are remembered.
pub(super) const MOST_ADDRESSES: usize = 4_096;

#[derive(Clone, Copy, Debug)]
struct Tries {
    since: Mono,
    wrong: u32,
    until: Option<Mono>,
}

impl Tries {
    fn is_over(&self, now: Mono) -> bool {
        match self.until {
            Some(until) => now >= until,
            None => now.since(self.since) > WITHIN,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Brake {
    tries: HashMap<IpAddr, Tries>,
}

impl Brake {
    pub fn holds(&self, now: Mono, peer: IpAddr) -> bool {
        let tries = self.tries.get(&whole(peer));
        tries.and_then(|tries| tries.until).is_some_and(|until| now < until)
    }

    /// One more wrong try. Whether the address is barred now.
    pub fn wrong(&mut self, now: Mono, peer: IpAddr) -> bool {
        let peer = whole(peer);
        if self.tries.len() >= MOST_ADDRESSES && !self.tries.contains_key(&peer) {
            self.make_room(now);
        }
        let fresh = Tries { since: now, wrong: 0, until: None };
        let tries = self.tries.entry(peer).or_insert(fresh);
        if tries.is_over(now) {
            *tries = fresh;
        }
        tries.wrong += 1;
        if tries.wrong >= MOST_WRONG {
            tries.until = Some(now + BARRED);
        }
        tries.until.is_some()
    }

    /// What is over goes; where nothing is, whoever began first.
    fn make_room(&mut self, now: Mono) {
        self.tries.retain(|_, tries| !tries.is_over(now));
        if self.tries.len() >= MOST_ADDRESSES {
            let first = self.tries.iter().min_by_key(|(peer, tries)| (tries.until.is_some(), tries.since, **peer));
            if let Some(first) = first.map(|(peer, _)| *peer) {
                self.tries.remove(&first);
            }
        }
    }
}

/// Whoever has one address of IPv6 has its network of 64 bits.
fn whole(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Mono {
        Mono::from_millis(s * 1_000)
    }

    #[test]
    fn too_many_wrong_tries_bar_an_address_for_a_while() {
        let mut brake = Brake::default();
        let (one, other) = ("2001:db8::1".parse().unwrap(), "2001:db8:0:1::1".parse().unwrap());
        let neighbour = "2001:db8::2".parse().unwrap();
        let barred: Vec<bool> = (0..MOST_WRONG).map(|_| brake.wrong(at(1), one)).collect();
        assert_eq!(barred.iter().filter(|barred| **barred).count(), 1);
        assert!(brake.holds(at(1), one) && brake.holds(at(900), neighbour) && !brake.holds(at(1), other));
        assert!(!brake.holds(at(901), one));
        assert!(!brake.wrong(at(901), one), "it begins anew");
    }

    #[test]
    fn tries_that_are_far_apart_bar_nobody() {
        let mut brake = Brake::default();
        let peer = "192.0.2.1".parse().unwrap();
        assert!((0..100).all(|turn| !brake.wrong(at(turn * 61), peer)));
    }

    #[test]
    fn ten_thousand_addresses_take_no_more_room_than_is_there() {
        let mut brake = Brake::default();
        let first = IpAddr::from([10, 0, 0, 0]);
        assert!((0..MOST_WRONG).any(|_| brake.wrong(at(0), first)));
        for number in 1..10_000_u32 {
            brake.wrong(at(1), IpAddr::V4((0x0a00_0000 + number).into()));
        }
        assert_eq!(brake.tries.len(), MOST_ADDRESSES);
        assert!(brake.holds(at(1), first), "who is barred stays so");
    }
}
