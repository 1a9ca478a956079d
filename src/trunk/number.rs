//! A telephone number that the bridge answers.

use crate::types::{Country, E164, Language, MeetingId, OrganisationId};
use std::fmt;
use std::str::FromStr;

/// Who pays the carrier for the call in: the caller (toll) or we (toll-free).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NumberKind {
    Toll,
    TollFree,
}

impl NumberKind {
    /// The words of `apply` files and of the API.
    pub const WORDS: &'static [(&'static str, NumberKind)] =
        &[("toll", NumberKind::Toll), ("toll-free", NumberKind::TollFree)];
}

impl fmt::Display for NumberKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NumberKind::Toll => "toll",
            NumberKind::TollFree => "toll-free",
        })
    }
}

impl FromStr for NumberKind {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<NumberKind, &'static str> {
        let found = NumberKind::WORDS.iter().find(|(word, _)| *word == text);
        found.map(|(_, kind)| *kind).ok_or("expected toll or toll-free")
    }
}

/// One number of the bridge, as the organisation that owns it (or all, where it is shared) sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Number {
    pub e164: E164,
    pub kind: NumberKind,
    pub country: Country,
    pub city: Option<String>,
    /// The first greets; `*` steps through the others. English where the list is empty.
    pub languages: Vec<Language>,
    /// Its only user; `None`: shared by all.
    pub organisation: Option<OrganisationId>,
    /// The meeting that it leads straight to.
    pub meeting: Option<MeetingId>,
    /// A user name that a carrier may send instead of the number.
    pub alias: Option<String>,
}

/// What people dial for help, the world over, as dialled: a bridge helps nobody, and must not seem to.
const EMERGENCY: [&str; 17] = [
    "000", "066", "100", "101", "102", "108", "110", "111", "112", "113", "115", "118", "119", "911", "933", "995",
    "999",
];

/// Whether a user part calls for help: neither taken nor made, whatever a directory says.
pub fn is_emergency(user: &str) -> bool {
    let digits = user.strip_prefix("tel:").unwrap_or(user);
    EMERGENCY.contains(&digits.strip_prefix('+').unwrap_or(digits)) || is_help_urn(user)
}

/// `urn:service:sos` and its like (RFC 5031).
fn is_help_urn(user: &str) -> bool {
    let service = user.get(..11).is_some_and(|head| head.eq_ignore_ascii_case("service:sos"));
    service || user.eq_ignore_ascii_case("sos")
}

impl Number {
    /// The language of the greeting.
    pub fn language(&self) -> Language {
        self.languages.first().copied().unwrap_or(Language::ENGLISH)
    }

    pub fn is_shared(&self) -> bool {
        self.organisation.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_for_help_are_known() {
        for help in ["112", "911", "+112", "tel:999", "sos", "service:sos", "service:sos.fire"] {
            assert!(is_emergency(help), "{help}");
        }
        for other in ["", "1120", "11", "+390612345678", "0112", "studio", "service:conference"] {
            assert!(!is_emergency(other), "{other}");
        }
    }

    #[test]
    fn kinds_read_back() {
        for (word, kind) in NumberKind::WORDS {
            assert_eq!(word.parse(), Ok(*kind));
            assert_eq!(kind.to_string(), *word);
        }
        assert!("free".parse::<NumberKind>().is_err());
    }
}
