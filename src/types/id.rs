//! Identities: a name that a person gave (`acme`, `anna`) or a number that we drew (a leg).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Why a text is no identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadId;

impl fmt::Display for BadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected 1 to 64 of a-z, 0-9, '.', '_', '-', '@', beginning with a letter or a digit")
    }
}

impl std::error::Error for BadId {}

fn parse_name(text: &str) -> Result<Arc<str>, BadId> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-@".contains(&b);
    let begins_well = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if begins_well && text.len() <= 64 && text.bytes().all(allowed) { Ok(text.into()) } else { Err(BadId) }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                parse_name(text).map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

name!(
    /// The paying customer.
    OrganisationId
);
name!(
    /// A user of an organisation; unique over the whole bridge.
    UserId
);
name!(
    /// A meeting; unique over the whole bridge. Not its conference ID, which callers type.
    MeetingId
);
name!(
    /// A carrier that sends us calls or takes ours.
    CarrierId
);
name!(
    /// Seconds or money given to an organisation beside its pool; unique over the whole bridge.
    GrantId
);

name!(
    /// A token of the API, and with it whoever has it.
    TokenName
);

name!(
    /// A list of numbers that thieves are known to call.
    HotListName
);

/// One leg: one phone call in or out. A UUID of version 7, so that later legs sort later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(u128);

impl LegId {
    /// `wall_millis` since 1970 and randomness, as RFC 9562 section 5.7 lays them out.
    pub fn new(wall_millis: u64, random: u128) -> LegId {
        const VERSION: u128 = 0x7 << 76;
        const VARIANT: u128 = 0b10 << 62;
        let time = u128::from(wall_millis & 0xffff_ffff_ffff) << 80;
        let rand_a = (random >> 64 & 0xfff) << 64;
        let rand_b = random & 0x3fff_ffff_ffff_ffff;
        LegId(time | VERSION | rand_a | VARIANT | rand_b)
    }

    pub const fn from_u128(value: u128) -> LegId {
        LegId(value)
    }

    pub const fn as_u128(self) -> u128 {
        self.0
    }
}

impl fmt::Display for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            v >> 96,
            v >> 80 & 0xffff,
            v >> 64 & 0xffff,
            v >> 48 & 0xffff,
            v & 0xffff_ffff_ffff
        )
    }
}

impl fmt::Debug for LegId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LegId({self})")
    }
}

impl FromStr for LegId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<LegId, BadId> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        let well_formed = text.len() == 36 && digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        if !well_formed {
            return Err(BadId);
        }
        u128::from_str_radix(&digits, 16).map(LegId).map_err(|_| BadId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_parsed_or_refused() {
        for good in ["acme", "a", "anna.rossi@example", "0-room_1"] {
            assert_eq!(good.parse::<UserId>().unwrap().as_str(), good);
        }
        for bad in ["", "Anna", "-x", "a b", "a/b", &"x".repeat(65)] {
            assert_eq!(bad.parse::<UserId>(), Err(BadId), "{bad}");
        }
    }

    #[test]
    fn a_leg_reads_back_and_is_a_uuid_of_version_7() {
        let leg = LegId::new(1_700_000_000_000, u128::MAX);
        let text = leg.to_string();
        assert_eq!(text.as_bytes()[14], b'7');
        assert!(b"89ab".contains(&text.as_bytes()[19]));
        assert_eq!(text.parse::<LegId>().unwrap(), leg);
        assert!(LegId::new(1_700_000_000_001, 0) > leg);
        assert!("not-a-leg".parse::<LegId>().is_err());
    }
}
