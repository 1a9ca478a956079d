//! What was read when.

use crate::clock::Now;
use std::time::Duration;

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

    /// An answered call ended when its time was up, however late that was noticed; the wall clock, which may have been
    /// set meanwhile, is not asked again.
    pub(super) fn end(&mut self, now: Now, elapsed_ms: u64) {
        let elapsed = Duration::from_millis(elapsed_ms);
        let after = |start: Now| Now { mono: start.mono + elapsed, wall: start.wall.plus_millis(elapsed_ms) };
        self.ended = Some(self.answered.map_or(now, after));
    }
}
