//! Where a node is: on IPv4, on IPv6, or on both.

use std::fmt;
use std::net::IpAddr;

/// One address, or one of each family; the more usual one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    first: IpAddr,
    /// Of the family that the first is not of.
    other: Option<IpAddr>,
}

impl Addresses {
    pub const fn only(first: IpAddr) -> Addresses {
        Addresses { first, other: None }
    }

    pub fn new(list: &[IpAddr]) -> Result<Addresses, &'static str> {
        match *list {
            [first] => Ok(Addresses::only(first)),
            [first, other] if first.is_ipv4() != other.is_ipv4() => Ok(Addresses { first, other: Some(other) }),
            _ => Err("expected one address, or one of IPv4 and one of IPv6"),
        }
    }

    pub fn first(&self) -> IpAddr {
        self.first
    }

    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<> {
        std::iter::once(self.first).chain(self.other)
    }

    /// The one of the family of `ip`.
    pub fn like(&self, ip: IpAddr) -> Option<IpAddr> {
        self.iter().find(|own| own.is_ipv4() == ip.is_ipv4())
    }

    /// The same, with the one of the family of `ip` first, if there is one.
    pub fn facing(self, ip: IpAddr) -> Addresses {
        match self.other {
            Some(other) if self.first.is_ipv4() != ip.is_ipv4() => Addresses { first: other, other: Some(self.first) },
            _ => self,
        }
    }

    /// How they look from outside, where others stand for those of their families (1:1 NAT).
    pub fn shown_as(self, others: Option<Addresses>) -> Addresses {
        let shown = |ip| others.and_then(|others| others.like(ip)).unwrap_or(ip);
        Addresses { first: shown(self.first), other: self.other.map(shown) }
    }
}

impl From<IpAddr> for Addresses {
    fn from(first: IpAddr) -> Addresses {
        Addresses::only(first)
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.other.map_or(Ok(()), |other| write!(f, ", {other}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    fn addresses(list: &[&str]) -> Addresses {
        Addresses::new(&ips(list)).unwrap()
    }

    #[test]
    fn there_is_one_of_a_family() {
        for wrong in [&[][..], &["192.0.2.1", "192.0.2.2"], &["::1", "::2"], &["192.0.2.1", "::1", "::2"]] {
            assert!(Addresses::new(&ips(wrong)).is_err(), "{wrong:?}");
        }
        assert_eq!(addresses(&["192.0.2.1", "::1"]).to_string(), "192.0.2.1, ::1");
    }

    #[test]
    fn who_asks_gets_the_one_of_their_family() {
        let (both, four) = (addresses(&["192.0.2.1", "::1"]), addresses(&["192.0.2.1"]));
        let [v4, v6] = ["198.51.100.7", "2001:db8::7"].map(|ip| ip.parse().unwrap());
        assert_eq!(
            [both.like(v4), both.like(v6), four.like(v6)].map(|ip| ip.map(|ip| ip.is_ipv4())),
            [Some(true), Some(false), None]
        );
        assert_eq!((both.facing(v6), both.facing(v4)), (addresses(&["::1", "192.0.2.1"]), both));
        assert_eq!(four.facing(v6), four);
    }

    #[test]
    fn what_is_shown_takes_the_place_of_its_family() {
        let bound = addresses(&["0.0.0.0", "::"]);
        assert_eq!(bound.shown_as(Some(addresses(&["2001:db8::7"]))), addresses(&["0.0.0.0", "2001:db8::7"]));
        let all = addresses(&["2001:db8::7", "192.0.2.7"]);
        assert_eq!(bound.shown_as(Some(all)), addresses(&["192.0.2.7", "2001:db8::7"]));
        assert_eq!(bound.shown_as(None), bound);
    }
}
