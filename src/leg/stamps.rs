//! What was read when.

use crate::clock::Now;

/// The moments of one leg, each read once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamps {
    pub invited: Now,
    pub ringing: Option<Now>,
    pub answered: Option<Now>,
    pub ended: Option<Now>,
}

impl Stamps {
    pub(super) fn new(invited: Now) -> Stamps {
        Stamps { invited, ringing: None, answered: None, ended: None }
    }

    /// The first ring counts; carriers repeat it.
    pub(super) fn ring(&mut self, now: Now) {
        self.ringing.get_or_insert(now);
    }

    pub(super) fn answer(&mut self, now: Now) {
        self.answered = Some(now);
    }

    pub(super) fn end(&mut self, now: Now) {
        self.ended = Some(now);
    }
}
