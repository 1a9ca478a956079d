//! How a carrier and we come to know each other beyond an address: a password, a registration, a look whether it is there.

use super::carrier::{Route, words};
use crate::types::{HostName, SecretRef};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

words! {
    /// Which of a carrier's requests must prove that they are its.
    Challenge {
        /// None: the password is for what we ask of it.
        Off "off",
        Calls "calls",
        /// Calls, and OPTIONS too.
        All "all",
    }
}

words! {
    /// Which sums a carrier is asked for, and which are taken.
    Algorithm {
        /// SHA-256, and MD5 for those who know nothing else.
        Both "both",
        Sha256 "sha-256",
        /// For those who give up when they are asked for anything else first.
        Md5 "md5",
    }
}

/// A name and a password that both know (digest, RFC 7616).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    pub username: String,
    pub password: SecretRef,
    /// What we call ourselves when we ask, and the only realm that is answered; the usual one and any, where nothing is said.
    pub realm: Option<String>,
    pub challenge: Challenge,
    /// How the sum is made where we ask.
    pub algorithm: Algorithm,
}

/// Our registration with a carrier (RFC 3261 section 10): it then sends our calls to where we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Register {
    pub registrar: Route,
    pub aor: Aor,
    /// How long it is to hold; they may say less.
    pub expires_s: u32,
}

/// An address of record: `sip:12345@carrier.example`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Aor {
    user: String,
    host: String,
}

impl Aor {
    pub fn user(&self) -> &str {
        &self.user
    }

    pub fn host(&self) -> &str {
        &self.host
    }
}

/// Bytes of the user of an address of record.
const LONGEST_USER: usize = 128;

/// A name or an address, of IPv6 in brackets, and a port or none: what a request can be addressed to.
fn is_host_port(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_port =
        |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<HostName>().is_ok() || host.parse::<Ipv4Addr>().is_ok(),
    };
    is_host && port.is_none_or(is_port)
}

impl FromStr for Aor {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Aor, &'static str> {
        const EXPECTED: &str = "expected an address like sip:12345@carrier.example";
        let (user, host) = text.strip_prefix("sip:").and_then(|rest| rest.split_once('@')).ok_or(EXPECTED)?;
        let is_user = |b: u8| b.is_ascii_alphanumeric() || b"-_.!~*'()+&$".contains(&b);
        let fits = (1..=LONGEST_USER).contains(&user.len()) && user.bytes().all(is_user);
        if !fits || !is_host_port(host) {
            return Err(EXPECTED);
        }
        Ok(Aor { user: user.to_owned(), host: host.to_owned() })
    }
}

impl fmt::Display for Aor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sip:{}@{}", self.user, self.host)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_record_has_a_user_and_a_host() {
        for good in ["sip:12345@carrier.example", "sip:+4930@192.0.2.1:5060", "sip:a.b_c@[2001:db8::1]"] {
            assert_eq!(good.parse::<Aor>().unwrap().to_string(), good);
        }
        for bad in ["", "sip:", "sip:a", "sip:@b", "sip:a@", "tel:+1", "a@b", "sip:a b@c", "sip:a@b;c=d", "sip:a@b>"] {
            assert!(bad.parse::<Aor>().is_err(), "{bad}");
        }
        // What no request could be addressed to.
        for host in [
            "[::1",
            "::1",
            "[]",
            "[192.0.2.1]",
            "b:",
            "b:0",
            "b:65536",
            "b:+1",
            "b:1:2",
            "a..b",
            "[::1]:x",
            "192.0.2",
            ":5060",
        ] {
            assert!(format!("sip:a@{host}").parse::<Aor>().is_err(), "{host}");
        }
        assert!("sip:a@[::1]:5060".parse::<Aor>().is_ok());
    }
}
