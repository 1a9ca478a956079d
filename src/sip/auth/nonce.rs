//! Nonces: the moment, something that nobody can guess, and a seal over both and the address that it is for. So none has to be
//! remembered until it is used; and of those that were, their counts, each good once (RFC 7616 section 3.3).

use crate::clock::Mono;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// How old a nonce may be: long enough for a trunk to use one for the calls of some minutes.
pub(super) const LIFE: Duration = Duration::from_secs(300);
/// Nonces whose counts are remembered. Only a right password brings one in, so no stranger can fill it.
pub(super) const MOST_USED: usize = 65_536;
/// Hexadecimal digits of the moment (milliseconds), of the random part, and of the seal: 128 bits.
const MOMENT: usize = 12;
const RANDOM: usize = 12;
/// Of the random part the last digits are no draw: whoever has the key sees by them that a nonce is ours, whomever it was
/// made for. One of somebody else's passes for ours once in 16 million.
const MARK: usize = 6;
const SEAL: usize = 32;

/// What makes one of our nonces: milliseconds, and what was drawn for it.
pub(super) type Stamp = (u64, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    Ours(Stamp),
    /// Grown old, made for another address, by another life, or by somebody else.
    Not,
}

pub(super) struct Nonces {
    key: [u8; 32],
    /// The last count of each that was used.
    used: BTreeMap<Stamp, u32>,
    /// What is not younger than this, and is not remembered, has been forgotten for want of room: it is good no more.
    forgotten: Option<Stamp>,
}

/// Shows no key.
impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").field("used", &self.used.len()).finish_non_exhaustive()
    }
}

impl Nonces {
    /// `key` must not be guessable, and be another one in each life of the process.
    pub fn new(key: [u8; 32]) -> Nonces {
        Nonces { key, used: BTreeMap::new(), forgotten: None }
    }

    pub fn issue(&self, now: Mono, random: u64, peer: IpAddr) -> String {
        let drawn = random & !(u64::MAX << (4 * (RANDOM - MARK)));
        let text = format!("{:0MOMENT$x}{drawn:0width$x}", now.millis_since(Mono::default()), width = RANDOM - MARK);
        let mark = self.mark(&text).unwrap_or_default();
        let text = text + &mark;
        let seal = self.mac(&text, peer).map(|mac| mac.finalize().into_bytes()).unwrap_or_default();
        seal.iter().take(SEAL / 2).fold(text, |text, byte| text + &format!("{byte:02x}"))
    }

    /// What shows that the moment and the draw before it are ours.
    fn mark(&self, text: &str) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(text.as_bytes());
        let bytes = mac.finalize().into_bytes();
        Some(bytes.iter().take(MARK / 2).map(|byte| format!("{byte:02x}")).collect())
    }

    /// Whether this life has made a nonce, for whichever address and however long ago.
    pub fn is_ours(&self, nonce: &str) -> bool {
        let known = nonce.get(..MOMENT + RANDOM - MARK).zip(nonce.get(MOMENT + RANDOM - MARK..MOMENT + RANDOM));
        nonce.len() == MOMENT + RANDOM + SEAL
            && known.is_some_and(|(text, mark)| self.mark(text).as_deref() == Some(mark))
    }

    /// `None` never: HMAC takes keys of any length (RFC 2104 section 2).
    fn mac(&self, text: &str, peer: IpAddr) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(text.as_bytes());
        mac.update(peer.to_canonical().to_string().as_bytes());
        Some(mac)
    }

    /// Whether a nonce is one of ours, made for this address, and still young.
    pub fn trust(&self, now: Mono, peer: IpAddr, nonce: &str) -> Trust {
        self.read(now, peer, nonce).map_or(Trust::Not, Trust::Ours)
    }

    fn read(&self, now: Mono, peer: IpAddr, nonce: &str) -> Option<Stamp> {
        let is_hex = nonce.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if nonce.len() != MOMENT + RANDOM + SEAL || !is_hex {
            return None;
        }
        let (text, seal) = nonce.split_at(MOMENT + RANDOM);
        let pairs = (0..SEAL / 2).map(|at| u8::from_str_radix(seal.get(2 * at..2 * at + 2)?, 16).ok());
        let seal: Vec<u8> = pairs.collect::<Option<_>>()?;
        self.mac(text, peer)?.verify_truncated_left(&seal).ok()?;
        let (moment, random) = text.split_at(MOMENT);
        let stamp = (u64::from_str_radix(moment, 16).ok()?, u64::from_str_radix(random, 16).ok()?);
        (now.since(Mono::from_millis(stamp.0)) <= LIFE).then_some(stamp)
    }

    /// Uses a nonce of ours up to this count. False: it was used so far already, so somebody says again what was said.
    pub fn take(&mut self, now: Mono, stamp: Stamp, count: u32) -> bool {
        while let Some(oldest) = self.used.first_entry()
            && now.since(Mono::from_millis(oldest.key().0)) > LIFE
        {
            oldest.remove();
        }
        let last = self.used.get(&stamp).copied();
        let is_new = match last {
            Some(last) => count > last,
            None => self.forgotten.is_none_or(|forgotten| stamp > forgotten),
        };
        if is_new {
            self.used.insert(stamp, count);
        }
        if self.used.len() > MOST_USED {
            self.forgotten = self.used.pop_first().map(|(stamp, _)| stamp).max(self.forgotten);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Mono {
        Mono::from_millis(ms)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_nonce_is_for_one_address_and_a_while() {
        let nonces = Nonces::new([7; 32]);
        let nonce = nonces.issue(at(10_000), u64::MAX, ip("192.0.2.1"));
        let trusted = |nonces: &Nonces, ms, peer: &str, nonce: &str| {
            matches!(nonces.trust(at(ms), ip(peer), nonce), Trust::Ours(_))
        };
        assert!(trusted(&nonces, 10_000, "192.0.2.1", &nonce));
        assert!(trusted(&nonces, 310_000, "192.0.2.1", &nonce));
        assert!(trusted(&nonces, 10_000, "::ffff:192.0.2.1", &nonce), "the same address, written otherwise");
        assert!(!trusted(&nonces, 310_001, "192.0.2.1", &nonce));
        assert!(!trusted(&nonces, 10_000, "192.0.2.2", &nonce));
        assert!(!trusted(&Nonces::new([8; 32]), 10_000, "192.0.2.1", &nonce), "another life");
        assert!(nonces.is_ours(&nonce) && !Nonces::new([8; 32]).is_ours(&nonce), "ours for whomever it was made");
        for strange in ["", &"0".repeat(nonce.len()), &nonce[1..], &"é".repeat(28)] {
            assert!(!nonces.is_ours(strange), "{strange}");
        }
        for place in 0..nonce.len() {
            let mut forged = nonce.clone().into_bytes();
            forged[place] = if forged[place] == b'0' { b'1' } else { b'0' };
            assert!(!trusted(&nonces, 10_000, "192.0.2.1", std::str::from_utf8(&forged).unwrap()), "{place}");
        }
        let upper = nonce.to_ascii_uppercase();
        for bad in ["", &nonce[1..], &format!("{nonce}0"), &upper, &"é".repeat(28)] {
            assert!(!trusted(&nonces, 10_000, "192.0.2.1", bad), "{bad}");
        }
    }

    #[test]
    fn each_count_is_good_once() {
        let mut nonces = Nonces::new([7; 32]);
        let stamp = (1_000, 5);
        let taken = [1, 1, 2, 9, 3, 9, 10].map(|count| nonces.take(at(2_000), stamp, count));
        assert_eq!(taken, [true, false, true, true, false, false, true]);
        assert!(nonces.take(at(2_000), (1_000, 6), 1));
    }

    #[test]
    fn what_is_forgotten_for_want_of_room_is_good_no_more() {
        let mut nonces = Nonces::new([7; 32]);
        assert!(nonces.take(at(2_000), (1_000, 0), 1));
        for number in 1..=MOST_USED as u64 {
            assert!(nonces.take(at(2_000), (1_000, number), 1));
        }
        assert_eq!(nonces.used.len(), MOST_USED);
        assert!(!nonces.take(at(2_000), (1_000, 0), 2));
        assert!(nonces.take(at(2_000), (1_000, MOST_USED as u64), 2));
        // Those that are too old make room by themselves.
        assert!(nonces.take(at(400_000), (399_000, 1), 1));
        assert_eq!(nonces.used.len(), 1);
    }
}
