//! One press of a key that is told in more than one way counts once.
//!
//! Carriers send a key as events (RFC 4733), leave its tone in the sound, and may send an INFO as well. Each way tells each
//! press once and in order; so a key from a way that has not yet told a recent press of it is that press again, and a key
//! from a way that has told them all is a new one.

use crate::clock::Mono;

/// A way that tells a press later than that tells another one: an INFO comes when the key is up, with half a second more
/// if its first packet was lost.
const WINDOW_MS: u64 = 2_000;
/// Presses in two seconds at 8 a second: faster than any finger, and any machine that a carrier lets through.
const KEPT: usize = 16;

/// The way in which a key came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// RFC 4733.
    Event,
    /// SIP INFO.
    Info,
    /// The tone in the sound.
    Tone,
}

#[derive(Clone, Copy, Debug)]
struct Press {
    key: char,
    at: Mono,
    /// Bit of each source that has told it.
    told: u8,
}

/// The presses of one caller.
#[derive(Clone, Debug, Default)]
pub struct Presses {
    latest: [Option<Press>; KEPT],
    next: usize,
}

impl Presses {
    /// Takes a key; gives it back if it is a press that was not counted before.
    pub fn handle(&mut self, now: Mono, source: Source, key: char) -> Option<char> {
        let bit = 1 << source as u8;
        // The oldest first.
        for step in 0..KEPT {
            let Some(press) = &mut self.latest[(self.next + step) % KEPT] else { continue };
            let recent = now.millis_since(press.at) < WINDOW_MS;
            if recent && press.key == key && press.told & bit == 0 {
                press.told |= bit;
                return None;
            }
        }
        self.latest[self.next] = Some(Press { key, at: now, told: bit });
        self.next = (self.next + 1) % KEPT;
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Source::{Event, Info, Tone};
    use proptest::prelude::*;

    fn counted(told: &[(u64, Source, char)]) -> String {
        let mut presses = Presses::default();
        told.iter().filter_map(|(at, source, key)| presses.handle(Mono::from_millis(*at), *source, *key)).collect()
    }

    #[test]
    fn what_is_one_press_and_what_is_two() {
        type Row<'a> = (&'a str, &'a [(u64, Source, char)], &'a str);
        let table: &[Row] = &[
            ("one way", &[(0, Event, '5'), (100, Event, '5'), (200, Event, '5')], "555"),
            ("three ways", &[(0, Event, '5'), (60, Tone, '5'), (400, Info, '5')], "5"),
            ("the tone first", &[(0, Tone, '5'), (60, Event, '5')], "5"),
            ("twice, in two ways", &[(0, Event, '5'), (60, Tone, '5'), (200, Event, '5'), (260, Tone, '5')], "55"),
            (
                "twice, one way far behind",
                &[(0, Event, '5'), (200, Event, '5'), (500, Info, '5'), (700, Info, '5')],
                "55",
            ),
            ("other keys between", &[(0, Event, '1'), (90, Event, '2'), (100, Tone, '1'), (190, Tone, '2')], "12"),
            ("another key", &[(0, Event, '1'), (60, Tone, '2')], "12"),
            ("long after", &[(0, Event, '1'), (2_000, Tone, '1')], "11"),
            (
                "one way missed the second",
                &[(0, Event, '1'), (50, Tone, '1'), (300, Tone, '1'), (900, Event, '1')],
                "11",
            ),
            ("one way goes silent", &[(0, Event, '1'), (50, Tone, '1'), (300, Tone, '1'), (600, Tone, '1')], "111"),
        ];
        for (name, told, expected) in table {
            assert_eq!(counted(told), *expected, "{name}");
        }
    }

    proptest! {
        /// Whole numbers dialled, each way with its own delay and all of them in order: each press counts once.
        #[test]
        fn each_press_counts_once(
            keys in "[0-9*#]{1,40}", gap in 120u64..700, delays in (0u64..400, 0u64..1_000, 0u64..300), ways in 1u8..8,
        ) {
            let mut told = Vec::new();
            for (place, key) in keys.chars().enumerate() {
                let at = place as u64 * gap;
                let all = [(Event, delays.0), (Info, delays.1), (Tone, delays.2)];
                told.extend(all.into_iter().filter(|(way, _)| ways & 1 << *way as u8 != 0).map(|(way, delay)| (at + delay, way, key)));
            }
            told.sort_by_key(|(at, ..)| *at);
            let mut heard: Vec<char> = counted(&told).chars().collect();
            let mut expected: Vec<char> = keys.chars().collect();
            // Ways that overtake each other may tell two different keys in either order; none is doubled or lost.
            heard.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(heard, expected);
        }
    }
}
