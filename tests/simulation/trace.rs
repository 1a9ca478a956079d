//! Everything that happened, as one number: the same seed gives the same, byte for byte.

use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::fmt::Debug;
use tollbridge::clock::Mono;
use tollbridge::sip::Flow;

/// With this variable set, every line is also printed.
const SHOWN: &str = "TOLLBRIDGE_TRACE";

/// So many of the last lines are kept, so much of each.
const KEPT: usize = 40;
const LONGEST: usize = 300;

pub struct Trace {
    hash: Sha256,
    shown: bool,
    pub lines: u64,
    last: VecDeque<String>,
}

impl Default for Trace {
    fn default() -> Trace {
        Trace { hash: Sha256::new(), shown: std::env::var_os(SHOWN).is_some(), lines: 0, last: VecDeque::new() }
    }
}

impl Trace {
    pub fn note(&mut self, now: Mono, what: &str, detail: &impl Debug) {
        self.line(now, what, &format!("{detail:?}"));
    }

    pub fn packet(&mut self, now: Mono, flow: Flow, bytes: &[u8]) {
        let way = format!("{} > {}", flow.local.ip(), flow.peer.ip());
        self.line(now, &way, &String::from_utf8_lossy(bytes));
    }

    /// Sound is too much to be shown.
    pub fn sound(&mut self, now: Mono, phone: usize, packet: &[u8]) {
        self.hash.update(now.nanos().to_be_bytes());
        self.hash.update(phone.to_be_bytes());
        self.hash.update(packet);
    }

    fn line(&mut self, now: Mono, what: &str, text: &str) {
        self.lines += 1;
        let line = format!("{:.3} {what} {text}\n", now.nanos() as f64 / 1e9);
        if self.shown {
            eprint!("{line}");
        }
        self.hash.update(line.as_bytes());
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        // Of a packet its first line.
        self.last.push_back(line.lines().next().unwrap_or_default().chars().take(LONGEST).collect());
    }

    /// What happened last.
    pub fn last(&self) -> impl Iterator<Item = &str> {
        self.last.iter().map(String::as_str)
    }

    pub fn hash(&self) -> String {
        self.hash.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
