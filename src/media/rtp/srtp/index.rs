//! Numbers of 16 bits made whole, and the window in which each counts once.

/// A sequence number of 16 bits with the rollover counter before it (RFC 3711 section 3.3.1): 48 bits.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extended {
    highest: Option<u64>,
}

impl Extended {
    /// RFC 3711 section 9.2: after so many packets the key is worn out.
    pub const MOST: u64 = 1 << 48;
    const HALF: i64 = 1 << 15;

    pub fn highest(&self) -> Option<u64> {
        self.highest
    }

    /// The whole number that lies nearest to what came so far (RFC 3711 appendix A). `None` if that were before the first.
    pub fn guess(&self, sequence: u16) -> Option<u64> {
        let Some(highest) = self.highest else { return Some(u64::from(sequence)) };
        let step = i64::from(sequence) - (highest & 0xffff) as i64;
        let wrap = match step {
            step if step > Extended::HALF => -(1 << 16),
            step if step < -Extended::HALF => 1 << 16,
            _ => 0,
        };
        highest.checked_add_signed(step + wrap)
    }

    pub fn reach(&mut self, index: u64) {
        self.highest = self.highest.max(Some(index));
    }
}

/// Which of the last 128 numbers have come. RFC 3711 section 3.3.2 asks for 64 at least; 128 packets are 2.5 s.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    /// One more than the highest number; zero before the first.
    end: u64,
    /// Bit n: the number `end - 1 - n` has come.
    seen: u128,
}

impl Window {
    pub fn is_new(&self, index: u64) -> bool {
        match self.end.checked_sub(1).and_then(|highest| highest.checked_sub(index)) {
            Some(behind) if behind >= 128 => false,
            Some(behind) => self.seen & 1 << behind == 0,
            None => true,
        }
    }

    /// Only for a number that is new.
    pub fn take(&mut self, index: u64) {
        if index >= self.end {
            let ahead = index + 1 - self.end;
            self.seen = if ahead < 128 { self.seen << ahead | 1 } else { 1 };
            self.end = index + 1;
        } else if self.end - 1 - index < 128 {
            self.seen |= 1 << (self.end - 1 - index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_nearest_number_is_meant() {
        let at = |highest: u64| Extended { highest: Some(highest) };
        let table = [
            (at(0x0_0005), 0x0006, Some(0x0_0006)),
            (at(0x0_fffe), 0x0001, Some(0x1_0001)),
            (at(0x1_0001), 0xffff, Some(0x0_ffff)),
            (at(0x1_8000), 0x0000, Some(0x1_0000)),
            (at(0x1_8001), 0x0000, Some(0x2_0000)),
            (at(0x1_7fff), 0xffff, Some(0x1_ffff)),
            (at(0x1_7ffe), 0xffff, Some(0x0_ffff)),
            (at(0x0_0001), 0xffff, None),
            (Extended::default(), 0xffff, Some(0xffff)),
        ];
        for (numbers, sequence, expected) in table {
            assert_eq!(numbers.guess(sequence), expected, "{numbers:?} {sequence:#x}");
        }
    }

    proptest! {
        /// Against a set of all numbers that came.
        #[test]
        fn a_window_lets_each_number_in_once(numbers in prop::collection::vec(0u64..600, 0..300)) {
            let (mut window, mut came) = (Window::default(), BTreeSet::new());
            for number in numbers {
                let too_old = came.last().is_some_and(|highest: &u64| highest.saturating_sub(number) >= 128);
                let new = !too_old && !came.contains(&number);
                prop_assert_eq!(window.is_new(number), new, "{}", number);
                if new {
                    window.take(number);
                    came.insert(number);
                }
            }
        }

        /// Numbers cut to 16 bits come back whole, in any order that stays within half a turn.
        #[test]
        fn what_is_cut_becomes_whole(start in 0u64..1 << 20, steps in prop::collection::vec(-100i64..20_000, 1..200)) {
            let mut numbers = Extended::default();
            let mut index = start & 0xffff;
            numbers.reach(index);
            for step in steps {
                index = index.saturating_add_signed(step);
                prop_assert_eq!(numbers.guess(index as u16), Some(index));
                numbers.reach(index);
                index = numbers.highest().unwrap();
            }
        }
    }
}
