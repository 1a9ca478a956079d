//! Whether the bridge keeps up with the calls that it takes: read a few times a second, with hysteresis. Where it does not, SIP
//! turns new ones away at once; those that there are have the machine to themselves until it is calm again.

use crate::clock::Mono;
use std::time::Duration;

/// How often it is looked at.
pub(super) const LOOK: Duration = Duration::from_millis(250);
/// What comes from SIP, or a new call's first question to the books, has waited so long: too much is going on. A caller hears
/// nothing meanwhile, and before long sends again what waits here already.
const HIGH: Duration = Duration::from_millis(500);
/// So many looks in a row: one alone is a slow commit, or a machine that was busy with something else.
const HIGH_LOOKS: u32 = 4;
/// It is calm below this, for so many looks.
const LOW: Duration = Duration::from_millis(100);
const LOW_LOOKS: u32 = 4;

#[derive(Debug, Default)]
pub(super) struct Load {
    over: bool,
    /// Looks in a row that speak for the other state.
    looks: u32,
    /// The longest wait since the last look.
    waited: Duration,
}

impl Load {
    /// Something has waited so long before it was seen to.
    pub fn waited(&mut self, wait: Duration) {
        self.waited = self.waited.max(wait);
    }

    /// `oldest`: since when the oldest question waits that has no answer yet. Whether new calls are turned away from now on,
    /// where that changes.
    pub fn look(&mut self, now: Mono, oldest: Option<Mono>) -> Option<bool> {
        let waiting = oldest.map_or(Duration::ZERO, |since| now.since(since));
        let wait = std::mem::take(&mut self.waited).max(waiting);
        let (speaks, enough) = match self.over {
            false => (wait >= HIGH, HIGH_LOOKS),
            true => (wait < LOW, LOW_LOOKS),
        };
        self.looks = if speaks { self.looks + 1 } else { 0 };
        if self.looks < enough {
            return None;
        }
        (self.over, self.looks) = (!self.over, 0);
        Some(self.over)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_too_much_when_it_stays_so_and_calm_when_that_stays() {
        // How long things wait, look by look, and whether new calls are turned away then.
        let rows: [(&[u64], bool); 9] = [
            (&[0, 1, 5], false),
            (&[499, 499, 499, 499, 499], false),
            (&[2_000, 0, 2_000, 2_000, 0], false),
            (&[500, 500, 500, 500], true),
            (&[100, 100, 100, 100, 100], true),
            (&[0, 0, 0, 500], true),
            (&[0, 0, 0], true),
            (&[99], false),
            (&[5_000, 5_000], false),
        ];
        let (mut load, mut now, mut over) = (Load::default(), Mono::from_millis(10_000), false);
        for (at, (waits, expected)) in rows.into_iter().enumerate() {
            for wait in waits {
                now = now + LOOK;
                load.waited(Duration::from_millis(*wait));
                load.waited(Duration::from_millis(wait / 2));
                over = load.look(now, None).unwrap_or(over);
            }
            assert_eq!(over, expected, "row {at}");
        }
    }

    #[test]
    fn a_question_without_an_answer_counts_as_long_as_it_waits() {
        let mut load = Load::default();
        let since = Mono::from_millis(1_000);
        let told: Vec<Option<bool>> =
            (1..=8).map(|turn| load.look(Mono::from_millis(1_000 + 250 * turn), Some(since))).collect();
        assert_eq!(told, [None, None, None, None, Some(true), None, None, None]);
        let calm: Vec<Option<bool>> = (0..4).map(|_| load.look(Mono::from_millis(9_000), None)).collect();
        assert_eq!(calm, [None, None, None, Some(false)]);
    }
}
