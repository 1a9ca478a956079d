//! Numbers that whoever shares a list does not tell: it has their SHA-256. What is hashed is the number with its country's
//! code, with `+` before it or without, as both are about, and before that a salt, where those who share have agreed on one.

use crate::types::E164;
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// What a hash begins with where it is written: `sha256:HASH`, or with its salt `sha256:SALT:HASH`.
const NAME: &str = "sha256:";
const HEX_DIGITS: usize = 64;
/// A hash of any usual kind, MD5 and longer: what is so long and nothing but hexadecimal digits is meant to be one.
const FEWEST_HEX: usize = 32;
const LONGEST_SALT: usize = 64;

/// Salts of all lists together: each costs two hashes, less than a millionth of a second, for every call out and for the
/// caller of every call in.
pub const MOST_SALTS: usize = 16;

/// The hash of one number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HotHash {
    /// Empty where there is none.
    salt: String,
    hash: [u8; 32],
}

/// Why a text is no hash of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHotHash {
    Hash,
    Salt,
    /// The one in it is not the one beside it.
    OtherSalt,
}

impl fmt::Display for BadHotHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadHotHash::Hash => write!(f, "expected a SHA-256 hash of {HEX_DIGITS} hexadecimal digits"),
            BadHotHash::Salt => {
                write!(f, "expected a salt of 1 to {LONGEST_SALT} characters, letters, digits or any of -._~+/=")
            }
            BadHotHash::OtherSalt => write!(f, "expected one salt, and the one beside the hash is not the one in it"),
        }
    }
}

impl HotHash {
    /// The two forms that a number is hashed in.
    pub(super) fn both(salt: &str, number: &E164) -> [[u8; 32]; 2] {
        ["+", ""].map(|sign| {
            let hash = Sha256::new().chain_update(salt).chain_update(sign).chain_update(number.digits());
            hash.finalize().into()
        })
    }

    pub(super) fn new(salt: &str, hash: [u8; 32]) -> HotHash {
        HotHash { salt: salt.to_owned(), hash }
    }

    pub fn salt(&self) -> &str {
        &self.salt
    }

    pub(super) const fn bytes(&self) -> [u8; 32] {
        self.hash
    }

    /// The same, of a list whose salt stands beside it.
    pub(super) fn salted(self, salt: &str) -> Result<HotHash, BadHotHash> {
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._~+/=".contains(c);
        if salt.is_empty() || salt.len() > LONGEST_SALT || !salt.chars().all(fits) {
            return Err(BadHotHash::Salt);
        }
        if !self.salt.is_empty() && self.salt != salt {
            return Err(BadHotHash::OtherSalt);
        }
        Ok(HotHash::new(salt, self.hash))
    }

    /// A text that is meant to be a hash, read; `None` where it is not meant to be one.
    pub(super) fn read(text: &str) -> Option<Result<HotHash, BadHotHash>> {
        let text = text.trim();
        let named = text.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME));
        if named {
            return text.get(NAME.len()..).map(str::parse);
        }
        let is_bare = text.len() >= FEWEST_HEX && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_bare.then(|| text.parse())
    }
}

impl fmt::Display for HotHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)?;
        if !self.salt.is_empty() {
            write!(f, "{}:", self.salt)?;
        }
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// `HASH`, `SALT:HASH`. A salt that was left out before its colon may have been forgotten: it is no hash without one.
impl FromStr for HotHash {
    type Err = BadHotHash;
    fn from_str(text: &str) -> Result<HotHash, BadHotHash> {
        let (salt, hex) = text.rsplit_once(':').map_or((None, text), |(salt, hex)| (Some(salt), hex));
        if hex.len() != HEX_DIGITS || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(BadHotHash::Hash);
        }
        let mut hash = [0; 32];
        for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| BadHotHash::Hash)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| BadHotHash::Hash)?;
        }
        let bare = HotHash::new("", hash);
        match salt {
            Some(salt) => bare.salted(salt),
            None => Ok(bare),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `printf %s +37123456789 | sha256sum`, and the same without the sign, and behind a salt.
    const WITH_SIGN: &str = "01c5e4546a6e28e3134c09e294115bc9db685dd51ef446872c627867d15586f6";
    const DIGITS: &str = "9fd811783e1fbda8ac5a6852c4513c9ee0848f32ca6d95318dd0d32eb9886f5d";
    const SALTED: &str = "2d95abc89038dc7bd4ba09ac4a118efef6bf3823f04ed149eb6f4d56e2cec121";

    #[test]
    fn a_hash_is_of_the_number_as_others_hash_it() {
        let number = "+37123456789".parse().unwrap();
        let hex = |salt: &str| HotHash::both(salt, &number).map(|hash| HotHash::new("", hash).to_string());
        assert_eq!(hex(""), [WITH_SIGN, DIGITS].map(|hex| format!("sha256:{hex}")));
        assert_eq!(hex("pepper/1=")[1], format!("sha256:{SALTED}"));
    }

    #[test]
    fn a_hash_reads_back_and_what_is_nearly_one_is_told() {
        let (plain, salted) = (format!("sha256:{DIGITS}"), format!("sha256:pepper/1=:{SALTED}"));
        for (text, form) in [
            (plain.clone(), &plain),
            (DIGITS.to_owned(), &plain),
            (format!(" SHA256:{} ", DIGITS.to_uppercase()), &plain),
            (salted.clone(), &salted),
        ] {
            assert_eq!(HotHash::read(&text).unwrap().unwrap().to_string(), *form, "{text}");
        }
        for number in ["+37123456789", "", "371", "sha1", "0123456789abcdef"] {
            assert_eq!(HotHash::read(number), None, "{number}");
        }
        for (text, why) in [
            (DIGITS[..63].to_owned(), BadHotHash::Hash),
            (DIGITS[..32].to_owned(), BadHotHash::Hash),
            (format!("sha256:{}x", &DIGITS[..63]), BadHotHash::Hash),
            ("sha256:".to_owned(), BadHotHash::Hash),
            (format!("sha256:a b:{DIGITS}"), BadHotHash::Salt),
            (format!("sha256::{DIGITS}"), BadHotHash::Salt),
            (format!("sha256:{}:{DIGITS}", "x".repeat(65)), BadHotHash::Salt),
        ] {
            assert_eq!(HotHash::read(&text), Some(Err(why)), "{text}");
        }
        let own = HotHash::read(&salted).unwrap().unwrap();
        assert_eq!(own.clone().salted("pepper/1="), Ok(own.clone()), "told twice");
        assert_eq!(own.salted("salt"), Err(BadHotHash::OtherSalt));
    }
}
