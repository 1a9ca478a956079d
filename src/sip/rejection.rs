//! Requests that were refused, for the log: a line each, and never more lines than somebody could read.

use super::Flow;
use crate::clock::Mono;
use crate::telemetry::{REFUSALS_PER_S, Ration};

/// Lines a minute of all strangers together.
const STRANGERS_PER_MINUTE: u32 = 10;

/// So many characters of a method, a Call-ID and a reason are told.
pub(in crate::sip) const LONGEST_TOLD: usize = 128;

/// A request that was refused before our owner heard of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub flow: Flow,
    pub method: String,
    pub call_id: String,
    pub status: u16,
    /// Beyond what the status says by itself.
    pub why: String,
    /// It came from nobody who is listed.
    pub is_stranger: bool,
    /// So many refusals since the last line of this kind have none.
    pub untold: u64,
}

impl Rejection {
    pub fn tell(&self) {
        let Rejection { flow, status, is_stranger, untold, .. } = self;
        let (peer, transport) = (flow.peer, flow.transport.name());
        // What came from the network is written with its odd characters escaped.
        let [method, call_id, why] = [&self.method, &self.call_id, &self.why].map(|text| text.escape_debug());
        tracing::info!(%peer, transport, %method, %call_id, status, %why, is_stranger, untold, "refused");
    }
}

/// How many lines there may still be: a flood of strangers leaves those of carriers.
#[derive(Debug)]
pub(in crate::sip) struct Rations {
    listed: Ration,
    strangers: Ration,
}

impl Default for Rations {
    fn default() -> Rations {
        Rations { listed: Ration::new(REFUSALS_PER_S, 1), strangers: Ration::new(STRANGERS_PER_MINUTE, 60) }
    }
}

impl Rations {
    /// Whether this refusal has a line, and how many before it had none.
    pub fn take(&mut self, now: Mono, is_stranger: bool) -> Option<u64> {
        if is_stranger { self.strangers.take(now) } else { self.listed.take(now) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_in_a_few_lines_and_counted_in_the_next() {
        let mut rations = Rations::default();
        let told = |rations: &mut Rations, ms, is_stranger| rations.take(Mono::from_millis(ms), is_stranger);
        let lines = |rations: &mut Rations, ms, is_stranger| {
            (0..1_000).filter(|_| told(rations, ms, is_stranger).is_some()).count()
        };
        assert_eq!(lines(&mut rations, 61_000, true), STRANGERS_PER_MINUTE as usize);
        assert_eq!(lines(&mut rations, 61_000, false), REFUSALS_PER_S as usize, "which a carrier does not pay for");
        assert_eq!((told(&mut rations, 119_999, true), told(&mut rations, 62_000, false)), (None, Some(980)));
        assert_eq!((told(&mut rations, 120_000, true), told(&mut rations, 120_000, true)), (Some(991), Some(0)));
    }
}
