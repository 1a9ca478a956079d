//! Names of hosts, in one form: lower case, no point at the end.

use std::fmt;
use std::str::FromStr;

/// A name that can be looked up, like `sip.carrier.example` (RFC 1123 section 2.1). Never an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

/// Bytes of a name, and of what stands between two points (RFC 1035 section 2.3.4).
const LONGEST: usize = 253;
const LONGEST_LABEL: usize = 63;

impl HostName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<HostName, &'static str> {
        const EXPECTED: &str = "expected the name of a host, like sip.carrier.example";
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            let edges = !label.starts_with('-') && !label.ends_with('-');
            // Some carriers' names have an underscore, though they should not.
            let bytes = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
            edges && bytes && (1..=LONGEST_LABEL).contains(&label.len())
        };
        let is_number = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        let sound = name.len() <= LONGEST && !is_number && name.split('.').all(is_label);
        if sound { Ok(HostName(name.to_ascii_lowercase())) } else { Err(EXPECTED) }
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_form() {
        for (text, name) in [
            ("SIP.Carrier.Example", "sip.carrier.example"),
            ("sip.carrier.example.", "sip.carrier.example"),
            ("proxy", "proxy"),
            ("3com.example", "3com.example"),
            ("a_b.example", "a_b.example"),
        ] {
            assert_eq!(text.parse::<HostName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let (label, long) = ("a".repeat(64), ["a".repeat(60).as_str(); 5].join("."));
        for text in
            ["", ".", "a..b", "a.", "192.0.2.1", "192.0.2", "::1", "-a.b", "a-.b", "a b", "a/b", "é.b", &label, &long]
        {
            assert_eq!(text.parse::<HostName>().is_ok(), text == "a.", "{text}");
        }
    }
}
