//! Tells people about their money, by e-mail and webhook, and asks a payment hook for more of it.
//!
//! What is to be told stands in the books, written in the transaction that caused it. [`Post`] fetches a little of it at
//! a time, sends it, and reports what came of it; the books remember how often it was tried and when it is tried next.
//! So a crash loses nothing, a repeat carries the same id, and nothing that hangs out there holds up a call.

pub mod address;
pub mod alert;
mod answer;
pub mod io;
pub mod mail;
pub mod post;
pub mod sign;

pub use crate::types::SecretRef;
pub use address::{Gate, HookUrl};
pub use alert::{Alert, Kind, Whom};
pub use mail::Mailbox;
pub use post::{Errand, Input, Letter, Output, Payment, Post, Report, Said, Target};

use std::time::Duration;

/// How mail leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smtp {
    pub host: String,
    pub port: u16,
    pub tls: Tls,
    pub from: Mailbox,
    /// User, and where the password is.
    pub login: Option<(String, SecretRef)>,
}

/// Whether mail is secret on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// The plain connection is raised before anything is said (RFC 3207); where it cannot be, no mail is sent.
    #[default]
    StartTls,
    /// From the first byte (RFC 8314).
    Wrapped,
    /// Not at all: for a mail server on the same machine.
    Off,
}

impl Tls {
    pub const WORDS: &'static [(&'static str, Tls)] =
        &[("starttls", Tls::StartTls), ("tls", Tls::Wrapped), ("off", Tls::Off)];
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `None`: no mail is sent, and what was to be sent by it says so.
    pub smtp: Option<Smtp>,
    pub gate: Gate,
    /// Whom TLS believes beside the authorities of the open Internet, as DER: a house's own.
    pub authorities: Vec<Vec<u8>>,
    /// A letter is tried so often at most.
    pub tries: u32,
    /// A webhook that failed so often in a row is switched off.
    pub disable_after: u32,
    /// From the first packet to the last byte of the answer.
    pub patience: Duration,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            smtp: None,
            gate: Gate::default(),
            authorities: Vec::new(),
            tries: 5,
            disable_after: 20,
            patience: Duration::from_secs(5),
        }
    }
}
