//! How loud a voice is, whether that is talk, and whether it is worth mixing.

use crate::media::TICK_MS;

/// So many loud ticks in a row are talk; a single one is a click on the line.
const TALK_TICKS: u16 = 2;
/// A quiet voice stays in the mix for 200 ms, so that no breath is cut.
pub const GATE_TICKS: u16 = 200 / TICK_MS as u16;

/// Mean magnitude of a tick's sound, 0 to 32768.
pub fn level(voice: &[i16]) -> u16 {
    let sum: u32 = voice.iter().map(|sample| u32::from(sample.unsigned_abs())).sum();
    (sum / voice.len().max(1) as u32) as u16
}

/// Whether somebody talks: on after two loud ticks, off after a hang-over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Talk {
    on: bool,
    ticks: u16,
}

impl Talk {
    pub fn on(&self) -> bool {
        self.on
    }

    /// One tick of which it is known whether it was loud; true if talk begins or ends with it.
    /// The change stands only once [`Talk::turn`] is called, so that it can be told again if nobody could take it.
    pub fn tick(&mut self, loud: bool, hang_ms: u16) -> bool {
        if loud == self.on {
            self.ticks = 0;
            return false;
        }
        self.ticks = self.ticks.saturating_add(1);
        self.ticks >= if self.on { hang_ms / TICK_MS as u16 } else { TALK_TICKS }
    }

    pub fn turn(&mut self) {
        (self.on, self.ticks) = (!self.on, 0);
    }
}

/// Keeps near-silence out of the mix, so that all who only listen hear the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gate {
    ticks: u16,
}

impl Gate {
    /// One tick; true while the voice belongs in the mix.
    pub fn tick(&mut self, level: u16, gate_level: u16) -> bool {
        self.ticks = if level > gate_level { GATE_TICKS } else { self.ticks.saturating_sub(1) };
        self.ticks > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    const FRAME: usize = 160;

    #[test]
    fn the_level_is_the_mean_magnitude() {
        assert_eq!(level(&[0; FRAME]), 0);
        assert_eq!(level(&[-100; FRAME]), 100);
        assert_eq!(level(&[i16::MIN; FRAME]), 32_768);
    }

    #[test]
    fn talk_needs_two_ticks_and_hangs_over() {
        let mut talk = Talk::default();
        let mut changes = Vec::new();
        let line = [1, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0];
        for (i, loud) in line.iter().enumerate() {
            if talk.tick(*loud == 1, 60) {
                talk.turn();
                changes.push((i, talk.on()));
            }
        }
        assert_eq!(changes, [(4, true), (11, false)]);
    }

    #[test]
    fn the_gate_closes_late_and_opens_at_once() {
        let mut gate = Gate::default();
        assert!(!gate.tick(8, 8));
        assert!(gate.tick(9, 8));
        let open = (0..20).filter(|_| gate.tick(0, 8)).count();
        assert_eq!(open, usize::from(GATE_TICKS) - 1);
    }
}
