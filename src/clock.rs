//! The only file that reads the system's clocks. Everything else is *told* the time.
//!
//! Two clocks, never mixed: [`Mono`] measures (charges, timers, the beat of the mixer), [`Wall`] labels
//! (records, screens, validity of rates). A step of the wall clock therefore moves no charge and no timer.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment of the monotonic clock, in nanoseconds since an origin that means nothing outside this boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(u64);

impl Mono {
    /// A moment by its nanoseconds: for tests and simulations, which make their own time.
    pub const fn from_nanos(nanos: u64) -> Mono {
        Mono(nanos)
    }

    /// A moment by its milliseconds: for tests and simulations.
    pub const fn from_millis(millis: u64) -> Mono {
        Mono(millis * 1_000_000)
    }

    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// Time gone by since `earlier`; zero if `earlier` is later (threads may read the clock out of order).
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Whole milliseconds since `earlier`: the unit of charged time.
    pub fn millis_since(self, earlier: Mono) -> u64 {
        self.0.saturating_sub(earlier.0) / 1_000_000
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;
    fn add(self, wait: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Mono {
    type Output = Mono;
    fn sub(self, wait: Duration) -> Mono {
        Mono(self.0.saturating_sub(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A moment as people see it: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(i64);

impl Wall {
    pub const fn from_micros(micros: i64) -> Wall {
        Wall(micros)
    }

    pub const fn from_seconds(seconds: i64) -> Wall {
        Wall(seconds * 1_000_000)
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This moment and `millis` of measured time.
    pub const fn plus_millis(self, millis: u64) -> Wall {
        Wall(self.0.saturating_add_unsigned(millis.saturating_mul(1_000)))
    }
}

/// Both clocks, read once: at the rim, when something arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    pub mono: Mono,
    pub wall: Wall,
}

impl Now {
    /// Reads both clocks. Only `io.rs` files, `node.rs` and the command line call this.
    pub fn read() -> Now {
        Now { mono: mono(), wall: wall() }
    }
}

/// Reads the monotonic clock. Only `io.rs` files, `node.rs` and the command line call this.
pub fn mono() -> Mono {
    // CLOCK_BOOTTIME and not `Instant` (CLOCK_MONOTONIC): it goes on while a machine sleeps, and so does a call.
    let mut spec = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, which lives here; it cannot fail for a clock that Linux always has.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut spec) };
    Mono(spec.tv_sec as u64 * 1_000_000_000 + spec.tv_nsec as u64)
}

/// Reads the wall clock. Only `io.rs` files, `node.rs` and the command line call this.
pub fn wall() -> Wall {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Wall(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_does_not_run_backwards() {
        let first = mono();
        let second = mono();
        assert!(second >= first);
        assert_eq!(first.millis_since(second + Duration::from_secs(1)), 0);
    }

    #[test]
    fn the_wall_clock_only_labels() {
        let start = Wall::from_seconds(1_700_000_000);
        assert_eq!(start.plus_millis(1_500).micros(), 1_700_000_001_500_000);
    }
}
