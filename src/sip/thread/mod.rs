//! How soon the endpoint's thread has its turn; `io` starts it.

pub(in crate::sip) mod io;

use super::Counters;
use crate::priority::Priority;

/// While calls are turned away for want of room the machine is full, and yet they are to hear so at once.
#[derive(Default)]
pub(in crate::sip) struct Hurry {
    is_on: bool,
    /// Calls that had been turned away when the last sweep came.
    refused: u64,
}

impl Hurry {
    pub(in crate::sip) fn look(&mut self, counters: Counters) {
        if !self.is_on && self.refused != refused(&counters) {
            Priority::Refusing.take();
            self.is_on = true;
        }
    }

    /// As ever, where none was turned away since the last sweep.
    pub(in crate::sip) fn calm_down(&mut self, counters: Counters) {
        let refused = refused(&counters);
        if self.is_on && self.refused == refused {
            Priority::Signalling.take();
            self.is_on = false;
        }
        self.refused = refused;
    }
}

fn refused(counters: &Counters) -> u64 {
    counters.refused_full + counters.refused_busy
}
