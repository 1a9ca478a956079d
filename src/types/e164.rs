//! A telephone number in the one form that price, permission and routing all use (ITU-T E.164).

use std::fmt;
use std::str::FromStr;

/// Digits of an international number, without the `+`. It exists only if well formed: 3 to 15 digits, the first not 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct E164 {
    digits: [u8; 15],
    len: u8,
}

/// Why a text is no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadNumber;

impl fmt::Display for BadNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a number in international form: '+', then 3 to 15 digits, the first not 0")
    }
}

impl std::error::Error for BadNumber {}

impl E164 {
    /// The digits alone, `390612345`.
    pub fn digits(&self) -> &str {
        std::str::from_utf8(&self.digits[..usize::from(self.len)]).unwrap_or_default()
    }

    /// From digits without `+`.
    pub fn from_digits(text: &str) -> Result<E164, BadNumber> {
        let bytes = text.as_bytes();
        let good = (3..=15).contains(&bytes.len()) && bytes[0] != b'0' && bytes.iter().all(u8::is_ascii_digit);
        if !good {
            return Err(BadNumber);
        }
        let mut digits = [0; 15];
        digits[..bytes.len()].copy_from_slice(bytes);
        Ok(E164 { digits, len: bytes.len() as u8 })
    }

    /// For logs and screens of strangers: the country part stays, the last digits do not.
    pub fn masked(&self) -> String {
        let digits = self.digits();
        let shown = digits.len().saturating_sub(4).clamp(2, 6);
        format!("+{}{}", &digits[..shown], "*".repeat(digits.len() - shown))
    }
}

impl FromStr for E164 {
    type Err = BadNumber;
    /// Strict: `+` and digits, nothing else. What people and carriers write is brought to this form by `trunk`.
    fn from_str(text: &str) -> Result<E164, BadNumber> {
        E164::from_digits(text.strip_prefix('+').ok_or(BadNumber)?)
    }
}

impl fmt::Display for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{}", self.digits())
    }
}

/// Masked: a debug line must not carry a person's number.
impl fmt::Debug for E164 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "E164({})", self.masked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_numbers_exist() {
        for good in ["+390612345678", "+1212", "+123456789012345"] {
            assert_eq!(good.parse::<E164>().unwrap().to_string(), good);
        }
        for bad in ["", "+", "390612345678", "+0612345678", "+39 06", "+1234567890123456", "+39o6", "+12"] {
            assert!(bad.parse::<E164>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_debug_line_hides_the_end() {
        let number: E164 = "+390612345678".parse().unwrap();
        assert_eq!(format!("{number:?}"), "E164(+390612******)");
    }
}
