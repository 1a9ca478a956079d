//! "Your credit ends in …": each warning once, until the money lasts longer again.

use crate::clock::Mono;
use std::time::Duration;

/// How much funded time is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    FiveMinutes,
    OneMinute,
    TenSeconds,
}

/// Longest first.
const TABLE: [(Warning, Duration); 3] = [
    (Warning::FiveMinutes, Duration::from_secs(300)),
    (Warning::OneMinute, Duration::from_secs(60)),
    (Warning::TenSeconds, Duration::from_secs(10)),
];

/// A warning is armed again only when half as much again is left as it says: the burn is reckoned anew whenever a leg
/// of the organisation comes, goes or is refreshed, and what hovers about a threshold must not be told each time.
const REARM: (u32, u32) = (3, 2);

/// Which warnings are still to come. Ready-made for one leg; time is told.
#[derive(Clone, Debug, Default)]
pub struct Warnings {
    /// When the money ends as it burns now.
    end: Option<Mono>,
    /// How many of [`TABLE`] were told.
    told: usize,
}

impl Warnings {
    /// The money lasts `funded_ms` from now. Lasts it well longer than a warning says, that warning is armed again.
    pub fn set(&mut self, now: Mono, funded_ms: u64) {
        self.end = Some(now + Duration::from_millis(funded_ms));
        let left = Duration::from_millis(funded_ms);
        let armed = TABLE.iter().take_while(|(_, at)| left <= *at * REARM.0 / REARM.1).count();
        self.told = self.told.min(armed);
    }

    /// The next moment at which something may be due.
    pub fn deadline(&self) -> Option<Mono> {
        let (_, at) = TABLE.get(self.told)?;
        Some(self.end? - *at)
    }

    /// The warning due now: of several that came at once the last, since the others are no longer true.
    pub fn due(&mut self, now: Mono) -> Option<Warning> {
        let left = self.end?.since(now);
        let due = TABLE.iter().take_while(|(_, at)| left <= *at).count();
        if due <= self.told {
            return None;
        }
        self.told = due;
        Some(TABLE[due - 1].0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Mono {
        Mono::from_millis(1_000_000 + seconds * 1_000)
    }

    #[test]
    fn each_is_told_once_and_again_after_a_top_up() {
        let mut warnings = Warnings::default();
        assert_eq!(warnings.due(at(0)), None);
        warnings.set(at(0), 400_000);
        assert_eq!(warnings.deadline(), Some(at(100)));
        assert_eq!(warnings.due(at(99)), None);
        assert_eq!(warnings.due(at(100)), Some(Warning::FiveMinutes));
        assert_eq!(warnings.due(at(101)), None);
        assert_eq!(warnings.due(at(340)), Some(Warning::OneMinute));
        warnings.set(at(341), 1_000_000);
        assert_eq!(warnings.due(at(342)), None);
        warnings.set(at(350), 9_000);
        assert_eq!(warnings.due(at(350)), Some(Warning::TenSeconds), "the tightest alone");
        assert_eq!(warnings.deadline(), None);
        assert_eq!(warnings.due(at(359)), None);
    }

    #[test]
    fn hovering_about_a_threshold_is_told_once() {
        let mut warnings = Warnings::default();
        let mut told = Vec::new();
        for (second, left) in [(0, 61), (2, 59), (4, 62), (6, 58), (8, 85), (10, 60), (12, 91), (14, 60)] {
            warnings.set(at(second), left * 1_000);
            told.extend(warnings.due(at(second)).map(|warning| (second, warning)));
        }
        let expected = [(0, Warning::FiveMinutes), (2, Warning::OneMinute), (14, Warning::OneMinute)];
        assert_eq!(told, expected);
    }

    #[test]
    fn looking_again_at_the_same_money_does_not_repeat() {
        let mut warnings = Warnings::default();
        warnings.set(at(0), 200_000);
        assert_eq!(warnings.due(at(0)), Some(Warning::FiveMinutes));
        warnings.set(at(10), 190_000);
        assert_eq!(warnings.due(at(10)), None);
    }
}
