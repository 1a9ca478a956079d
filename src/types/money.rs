//! Money: exact, in millionths of the currency's unit, as both databases store it.

use rust_decimal::Decimal;
use std::fmt;
use std::str::FromStr;

/// An amount in millionths of a currency unit. Sums are checked: an overflow is an error, never a wrong balance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

/// Why a decimal is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAmount;

impl fmt::Display for BadAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected an amount with at most 6 decimal places, like 25.00")
    }
}

impl std::error::Error for BadAmount {}

impl Micros {
    pub const ZERO: Micros = Micros(0);

    pub fn checked_add(self, other: Micros) -> Option<Micros> {
        self.0.checked_add(other.0).map(Micros)
    }

    pub fn checked_sub(self, other: Micros) -> Option<Micros> {
        self.0.checked_sub(other.0).map(Micros)
    }

    /// Exact or refused: a seventh decimal place is not rounded away in silence.
    pub fn from_decimal(value: Decimal) -> Result<Micros, BadAmount> {
        let scaled = value.checked_mul(Decimal::from(1_000_000)).ok_or(BadAmount)?;
        if !scaled.fract().is_zero() {
            return Err(BadAmount);
        }
        i64::try_from(scaled.trunc()).map(Micros).map_err(|_| BadAmount)
    }

    pub fn to_decimal(self) -> Decimal {
        Decimal::new(self.0, 6)
    }

    /// With four places, as usage records print charges (six where the fourth is not the last).
    pub fn to_text(self) -> String {
        let scale = if self.0 % 100 == 0 { 4 } else { 6 };
        let mut value = self.to_decimal();
        value.rescale(scale);
        value.to_string()
    }
}

impl FromStr for Micros {
    type Err = BadAmount;
    fn from_str(text: &str) -> Result<Micros, BadAmount> {
        Micros::from_decimal(Decimal::from_str_exact(text).map_err(|_| BadAmount)?)
    }
}

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl std::iter::Sum for Micros {
    /// Sums of already posted entries, each far inside the range; a wrap would need 9 trillion units.
    fn sum<I: Iterator<Item = Micros>>(iter: I) -> Micros {
        Micros(iter.map(|m| m.0).sum())
    }
}

/// An ISO 4217 code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    pub const USD: Currency = Currency(*b"USD");

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl FromStr for Currency {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Currency, &'static str> {
        match text.as_bytes() {
            [a, b, c] if text.bytes().all(|x| x.is_ascii_uppercase()) => Ok(Currency([*a, *b, *c])),
            _ => Err("expected an ISO 4217 code, like USD"),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_or_refused() {
        assert_eq!("25".parse::<Micros>().unwrap(), Micros(25_000_000));
        assert_eq!("-0.000001".parse::<Micros>().unwrap(), Micros(-1));
        assert_eq!("0.0000001".parse::<Micros>(), Err(BadAmount));
        assert_eq!("10000000000000".parse::<Micros>(), Err(BadAmount));
        assert_eq!(Micros(i64::MAX).checked_add(Micros(1)), None);
    }

    #[test]
    fn charges_print_four_places() {
        assert_eq!(Micros(24_000).to_string(), "0.0240");
        assert_eq!(Micros(651_360).to_string(), "0.651360");
        assert_eq!(Micros(-50_000_000).to_string(), "-50.0000");
    }
}
