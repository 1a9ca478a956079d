//! The beat of a mixer thread: which ticks are due, told by the clock that is given. Deadlines are absolute, so that the
//! sound does not drift by the time that the work takes.

use super::TICK_MS;
use crate::clock::Mono;
use std::time::Duration;

/// Sound of one tick.
pub const TICK: Duration = Duration::from_millis(TICK_MS);
/// So many missed ticks are made up for after a pause: the peers' jitter buffers swallow 100 ms. What is beyond is left
/// out, lest a thread that was kept away floods its peers.
const MOST_MADE_UP: u64 = 5;
/// A tick that begins so late counts as late: a tenth of it, well within what a peer's jitter buffer absorbs.
const LATE: Duration = Duration::from_millis(2);

/// What is to be done on waking.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Ticks to run now, one after the other.
    pub ticks: u64,
    /// Ticks that are left out.
    pub skipped: u64,
    /// Ticks run or left out that began later than they may.
    pub late: u64,
}

#[derive(Clone, Copy, Debug)]
pub struct Beat {
    next: Mono,
}

impl Beat {
    /// The first tick is due at the first moment from `now` on that is a whole tick plus `phase`: threads with
    /// different phases do not send at the same moment, and one thread keeps its phase over its pauses.
    pub fn start(now: Mono, phase: Duration) -> Beat {
        let (tick, phase) = (TICK.as_nanos() as u64, phase.as_nanos() as u64 % TICK.as_nanos() as u64);
        let wait = (phase + tick - now.nanos() % tick) % tick;
        Beat { next: now + Duration::from_nanos(wait) }
    }

    /// When to wake.
    pub fn deadline(&self) -> Mono {
        self.next
    }

    /// What is due at `now`. Woken too early, nothing is.
    pub fn wake(&mut self, now: Mono) -> Due {
        if now < self.next {
            return Due::default();
        }
        let behind = now.since(self.next);
        let missed = (behind.as_nanos() / TICK.as_nanos()) as u64;
        let made_up = missed.min(MOST_MADE_UP);
        self.next = self.next + Duration::from_nanos((missed + 1).saturating_mul(TICK.as_nanos() as u64));
        let last_is_late = behind.as_nanos() % TICK.as_nanos() > LATE.as_nanos();
        Due { ticks: made_up + 1, skipped: missed - made_up, late: missed + u64::from(last_is_late) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn on_waking() {
        let start = Mono::from_millis(1_000);
        for (after_ms, ticks, skipped, late) in [
            (0, 1, 0, 0),
            (2, 1, 0, 0),
            (3, 1, 0, 1),
            (19, 1, 0, 1),
            (20, 2, 0, 1),
            (23, 2, 0, 2),
            (100, 6, 0, 5),
            (120, 6, 1, 6),
            (10_000, 6, 495, 500),
        ] {
            let mut beat = Beat::start(start, Duration::ZERO);
            let now = start + Duration::from_millis(after_ms);
            assert_eq!(beat.wake(now), Due { ticks, skipped, late }, "after {after_ms} ms");
            assert!(beat.deadline() > now && beat.deadline().since(now) <= TICK);
        }
    }

    #[test]
    fn a_beat_keeps_its_phase() {
        let phase = Duration::from_millis(5);
        for (now, first) in [(1_000, 1_005), (1_005, 1_005), (1_006, 1_025), (1_019, 1_025)] {
            assert_eq!(Beat::start(Mono::from_millis(now), phase).deadline(), Mono::from_millis(first));
        }
    }

    proptest! {
        /// However late it is woken, every tick of the time gone by is run or counted as skipped.
        #[test]
        fn no_tick_is_forgotten(waits in prop::collection::vec(0u64..500_000_000, 1..100)) {
            let start = Mono::from_nanos(20_000_000);
            let mut beat = Beat::start(start, Duration::ZERO);
            let mut now = start;
            let mut told = 0;
            for wait in waits {
                now = now + Duration::from_nanos(wait);
                let due = beat.wake(now);
                prop_assert!(due.ticks <= MOST_MADE_UP + 1 && due.late <= due.ticks + due.skipped);
                told += due.ticks + due.skipped;
                prop_assert_eq!(told, (now.since(start).as_nanos() / TICK.as_nanos()) as u64 + 1);
            }
        }
    }
}
