//! Who tries passwords: after some wrong ones an address is not heard for a while, right or wrong.
//!
//! Those that are listed as a carrier's are spared: a password that was changed on one side alone looks just like this, and
//! the trunk's calls are to go on the moment that both have it. Of them, too, it is told, once.
//!
//! Only tries with a nonce that we gave that very address count, so nobody can have another one barred by writing a false
//! sender on a datagram.

use crate::clock::Mono;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

/// Wrong tries of one address within [`WITHIN`].
pub(super) const MOST_WRONG: u32 = 10;
const WITHIN: Duration = Duration::from_secs(60);
/// So long it is not heard then.
const BARRED: Duration = Duration::from_secs(15 * 60);
/// Addresses that are told of within so long.
const MOST_TOLD: usize = 20;
/// Addresses that are remembered.
pub(super) const MOST_ADDRESSES: usize = 4_096;

#[derive(Clone, Copy, Debug)]
struct Tries {
    since: Mono,
    wrong: u32,
    /// It has tried too often: until then it is not heard or, spared, not told of again.
    until: Option<Mono>,
    spared: bool,
}

/// What a wrong try means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// The address is not heard any more.
    pub barred: bool,
    /// This one was the one too many, and somebody should know.
    pub news: bool,
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
    /// When it was told of the last ones.
    told: VecDeque<Mono>,
}

impl Brake {
    pub fn holds(&self, now: Mono, peer: IpAddr) -> bool {
        let tries = self.tries.get(&whole(peer)).filter(|tries| !tries.spared);
        tries.and_then(|tries| tries.until).is_some_and(|until| now < until)
    }

    /// Passwords have changed: what was tried before says nothing any more.
    pub fn forget(&mut self) {
        self.tries.clear();
    }

    /// One more wrong try; `listed`: of an address that is a carrier's.
    pub fn wrong(&mut self, now: Mono, peer: IpAddr, listed: bool) -> Wrong {
        let peer = whole(peer);
        if self.tries.len() >= MOST_ADDRESSES && !self.tries.contains_key(&peer) {
            self.make_room(now);
        }
        let fresh = Tries { since: now, wrong: 0, until: None, spared: listed };
        let tries = self.tries.entry(peer).or_insert(fresh);
        if tries.is_over(now) {
            *tries = fresh;
        }
        tries.wrong = tries.wrong.saturating_add(1);
        tries.spared = listed;
        let closes = tries.wrong >= MOST_WRONG && tries.until.is_none();
        if closes {
            tries.until = Some(now + BARRED);
        }
        let barred = tries.until.is_some() && !listed;
        Wrong { barred, news: closes && self.may_tell(now) }
    }

    /// Whoever has many addresses closes many brakes: whoever reads of them has read enough after some.
    fn may_tell(&mut self, now: Mono) -> bool {
        while self.told.front().is_some_and(|first| now.since(*first) > BARRED) {
            self.told.pop_front();
        }
        let may = self.told.len() < MOST_TOLD;
        if may {
            self.told.push_back(now);
        }
        may
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
        let tried: Vec<Wrong> = (0..=MOST_WRONG).map(|_| brake.wrong(at(1), one, false)).collect();
        assert_eq!(tried.iter().filter(|tried| tried.barred).count(), 2);
        assert_eq!(tried.iter().position(|tried| tried.news), Some(MOST_WRONG as usize - 1));
        assert_eq!(tried.iter().filter(|tried| tried.news).count(), 1);
        assert!(brake.holds(at(1), one) && brake.holds(at(900), neighbour) && !brake.holds(at(1), other));
        assert!(!brake.holds(at(901), one));
        assert!(!brake.wrong(at(901), one, false).barred, "it begins anew");
    }

    #[test]
    fn a_carriers_address_is_told_of_once_and_heard_all_the_same() {
        let mut brake = Brake::default();
        let peer = "192.0.2.1".parse().unwrap();
        let tried: Vec<Wrong> = (0..100).map(|_| brake.wrong(at(1), peer, true)).collect();
        assert!(tried.iter().all(|tried| !tried.barred) && !brake.holds(at(1), peer));
        assert_eq!(tried.iter().filter(|tried| tried.news).count(), 1);
        assert!(
            (0..MOST_WRONG).any(|_| brake.wrong(at(902), peer, true).news),
            "and again, a quarter of an hour later"
        );
        // Once it is nobody's any more, it is held like everybody.
        assert!(brake.wrong(at(903), peer, false).barred && brake.holds(at(903), peer));
        brake.forget();
        assert!(!brake.holds(at(903), peer), "with other passwords it begins anew");
    }

    #[test]
    fn of_a_thousand_addresses_that_guess_some_are_told_of() {
        let mut brake = Brake::default();
        let news = (0..1_000_u32).filter(|number| {
            let peer = IpAddr::V4((0x0a00_0000 + number).into());
            (0..MOST_WRONG).any(|_| brake.wrong(at(1), peer, false).news)
        });
        assert_eq!(news.count(), MOST_TOLD);
    }

    #[test]
    fn tries_that_are_far_apart_bar_nobody() {
        let mut brake = Brake::default();
        let peer = "192.0.2.1".parse().unwrap();
        assert!((0..100).all(|turn| !brake.wrong(at(turn * 61), peer, false).barred));
    }

    #[test]
    fn ten_thousand_addresses_take_no_more_room_than_is_there() {
        let mut brake = Brake::default();
        let first = IpAddr::from([10, 0, 0, 0]);
        assert!((0..MOST_WRONG).any(|_| brake.wrong(at(0), first, false).barred));
        for number in 1..10_000_u32 {
            brake.wrong(at(1), IpAddr::V4((0x0a00_0000 + number).into()), false);
        }
        assert_eq!(brake.tries.len(), MOST_ADDRESSES);
        assert!(brake.holds(at(1), first), "who is barred stays so");
    }
}
