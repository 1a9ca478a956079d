//! The timeline: what happened when, and whether it was as it should be.

use crate::cli::say;
use crate::clock::{self, Mono};
use serde_json::{Value, json};
use std::cell::RefCell;

/// One line of it.
struct Step {
    at_ms: u64,
    who: &'static str,
    what: String,
    /// `None`: only told, nothing was checked.
    as_it_should: Option<bool>,
}

/// Everything so far; each line is printed as it happens, or kept for JSON.
pub(super) struct Story {
    began: Mono,
    quiet: bool,
    steps: RefCell<Vec<Step>>,
}

impl Story {
    pub fn new(quiet: bool) -> Story {
        Story { began: clock::mono(), quiet, steps: RefCell::default() }
    }

    pub fn elapsed_ms(&self) -> u64 {
        clock::mono().millis_since(self.began)
    }

    /// A heading, or a line of a report.
    pub fn print(&self, line: impl AsRef<str>) {
        if !self.quiet {
            // A demo whose reader has gone is still checked to its end.
            let _ = say(&format!("{}\n", line.as_ref()));
        }
    }

    /// Something happened.
    pub fn tell(&self, who: &'static str, what: impl Into<String>) {
        self.add(who, what.into(), None);
    }

    /// Something was looked at, and is as it should be or not.
    pub fn check(&self, who: &'static str, what: impl Into<String>, as_it_should: bool) {
        self.add(who, what.into(), Some(as_it_should));
    }

    fn add(&self, who: &'static str, what: String, as_it_should: Option<bool>) {
        let step = Step { at_ms: self.elapsed_ms(), who, what, as_it_should };
        let mark = match step.as_it_should {
            None => "  ",
            Some(true) => "ok",
            Some(false) => "NOT AS IT SHOULD BE:",
        };
        self.print(format!("{:5}.{} s  {mark} {who:7} {}", step.at_ms / 1_000, step.at_ms % 1_000 / 100, step.what));
        self.steps.borrow_mut().push(step);
    }

    pub fn checked(&self) -> usize {
        self.steps.borrow().iter().filter(|step| step.as_it_should.is_some()).count()
    }

    pub fn failed(&self) -> usize {
        self.steps.borrow().iter().filter(|step| step.as_it_should == Some(false)).count()
    }

    pub fn to_json(&self) -> Value {
        let step =
            |step: &Step| json!({"at_ms": step.at_ms, "who": step.who, "what": step.what, "ok": step.as_it_should});
        self.steps.borrow().iter().map(step).collect()
    }
}
