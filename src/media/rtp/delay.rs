//! How much delay a stream needs: learnt from when its packets came.
//!
//! Each packet has a lateness: the beat at which it could first be played, less its timestamp, both in units of the
//! timestamp. Counted in beats and not in milliseconds, it says exactly what matters: a packet is in time if and only if
//! its lateness is at most the delay of the playout. Of the latest packets the latenesses are counted in bins, and the
//! delay is chosen where a millisecond more costs as much as the packets that it would save.

use std::cmp::Ordering;

/// Packets remembered: 10 s of 20 ms. What was needed once is kept so long.
const WINDOW: usize = 512;
/// Bins, an eighth of a frame wide each: 160 ms, more than any bound.
const BINS: usize = 64;
const BINS_A_FRAME: u32 = 8;
/// One late packet among this many is worth one frame of delay. Measured with P.862: 1 % of late packets costs 0.2 MOS,
/// ten frames of delay (by the E-model, G.107) less than that.
const PACKETS_A_FRAME: u64 = 768;
/// The delay goes down only where that holds even if late packets counted twice: else it would go up and down for ever.
const CAUTION: u64 = 2;

/// The delay should lie between these, in units; both wrap like timestamps and are compared by difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Goal {
    pub least: u32,
    pub most: u32,
}

/// The latest latenesses of one stream.
pub struct Delay {
    frame: u32,
    bound: u32,
    /// Lateness of the first packet: all else counts from there.
    origin: u32,
    /// The lowest bin in use, counted from the origin; bin `b` is kept at `b` modulo [`BINS`].
    lowest: i32,
    counts: [u16; BINS],
    /// The highest lateness within each bin.
    tops: [u16; BINS],
    /// Bins of the latest packets.
    latest: [u8; WINDOW],
    place: usize,
    total: u16,
}

impl Delay {
    /// `frame`: units of a tick; `bound`: the most delay beyond the earliest packets, in units.
    pub fn new(frame: u32, bound: u32) -> Delay {
        let frame = frame.max(BINS_A_FRAME);
        let (counts, tops, latest) = ([0; BINS], [0; BINS], [0; WINDOW]);
        Delay { frame, bound, origin: 0, lowest: 0, counts, tops, latest, place: 0, total: 0 }
    }

    /// Another clock follows.
    pub fn forget(&mut self) {
        (self.counts, self.place, self.total) = ([0; BINS], 0, 0);
    }

    fn width(&self) -> i32 {
        (self.frame / BINS_A_FRAME) as i32
    }

    /// A packet came.
    pub fn take(&mut self, lateness: u32) {
        if self.total == 0 {
            self.begin(lateness);
        }
        let beyond = lateness.wrapping_sub(self.origin) as i32;
        let mut bin = beyond.div_euclid(self.width());
        let mut top = beyond.rem_euclid(self.width());
        let highest = self.lowest + BINS as i32 - 1;
        match bin.cmp(&self.lowest) {
            // So much earlier than all others that they do not fit beside it: the way has changed.
            Ordering::Less if self.top_bin() - bin >= BINS as i32 => {
                self.forget();
                self.begin(lateness);
                (bin, top) = (0, 0);
            }
            Ordering::Less => self.lowest = bin,
            _ if bin > highest => (bin, top) = (highest, self.width() - 1),
            _ => {}
        }
        self.count(bin, top);
    }

    fn begin(&mut self, lateness: u32) {
        (self.origin, self.lowest) = (lateness, 0);
    }

    fn at(bin: i32) -> usize {
        bin.rem_euclid(BINS as i32) as usize
    }

    /// The highest bin in use.
    fn top_bin(&self) -> i32 {
        (self.lowest..self.lowest + BINS as i32)
            .rev()
            .find(|bin| self.counts[Delay::at(*bin)] > 0)
            .unwrap_or(self.lowest)
    }

    fn count(&mut self, bin: i32, top: i32) {
        let at = Delay::at(bin);
        if self.total as usize == WINDOW {
            let oldest = usize::from(self.latest[self.place]);
            self.counts[oldest] -= 1;
        } else {
            self.total += 1;
        }
        let before = if self.counts[at] == 0 { 0 } else { self.tops[at] };
        self.tops[at] = before.max(top as u16);
        self.counts[at] += 1;
        self.latest[self.place] = at as u8;
        self.place = (self.place + 1) % WINDOW;
        while self.counts[Delay::at(self.lowest)] == 0 {
            self.lowest += 1;
        }
    }

    /// Where the delay should lie; `None` before the first packet.
    pub fn goal(&self) -> Option<Goal> {
        if self.total == 0 {
            return None;
        }
        let (mut least, mut most) = ((u64::MAX, 0), (u64::MAX, 0));
        let mut later = u64::from(self.total);
        for bin in self.lowest..self.lowest + BINS as i32 {
            let at = Delay::at(bin);
            later -= u64::from(self.counts[at]);
            let above = (bin - self.lowest) * self.width() + i32::from(self.tops[at]);
            if self.counts[at] == 0 || (above as u32 > self.bound && least.0 != u64::MAX) {
                continue;
            }
            let delay = above as u64 * u64::from(self.total);
            let loss = later * PACKETS_A_FRAME * u64::from(self.frame);
            let lateness = bin * self.width() + i32::from(self.tops[at]);
            least = least.min((delay + loss, lateness));
            most = most.min((delay + CAUTION * loss, lateness));
        }
        let whole = |beyond: i32| self.origin.wrapping_add(beyond as u32);
        Some(Goal { least: whole(least.1), most: whole(most.1.max(least.1)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRAME: u32 = 160;

    fn goal(origin: u32, latenesses: impl IntoIterator<Item = u32>) -> (u32, u32) {
        let mut delay = Delay::new(FRAME, 1_200);
        latenesses.into_iter().for_each(|lateness| delay.take(origin.wrapping_add(lateness)));
        let goal = delay.goal().unwrap();
        (goal.least.wrapping_sub(origin), goal.most.wrapping_sub(origin))
    }

    #[test]
    fn the_delay_is_what_the_packets_need() {
        let every = |n: u32, late: u32| (1..=512u32).map(move |i| if i.is_multiple_of(n) { late } else { 7 });
        for origin in [0, u32::MAX - 100, 1 << 31] {
            // All alike: exactly theirs, to the unit.
            assert_eq!(goal(origin, [7; 600]), (7, 7));
            // One in four is a frame late: they are waited for.
            assert_eq!(goal(origin, every(4, 167)), (167, 167));
            // Once in the whole window, by much: not worth it...
            assert_eq!(goal(origin, every(512, 807)), (7, 7));
            // ...by a frame: worth it.
            assert_eq!(goal(origin, every(512, 167)), (167, 167));
            // Beyond the bound nothing is waited for.
            assert_eq!(goal(origin, every(4, 4_000)), (7, 7));
            // Ten seconds later all is forgotten.
            assert_eq!(goal(origin, every(2, 647).chain([7; 512])), (7, 7));
            // The way became 100 ms, then a second, shorter.
            assert_eq!(goal(origin.wrapping_add(9_000), [800; 512].into_iter().chain([0; 512])), (0, 0));
            assert_eq!(goal(origin.wrapping_add(9_000), [8_000; 512].into_iter().chain([0; 2])), (0, 0));
        }
    }

    proptest! {
        #[test]
        fn the_goal_lies_among_the_packets_within_the_bound(
            origin: u32, latenesses in proptest::collection::vec(0u32..6_000, 1..1_200),
        ) {
            let (least, most) = goal(origin, latenesses.iter().copied());
            let lowest = *latenesses.iter().min().unwrap();
            prop_assert!(lowest <= least && least <= most);
        }

        #[test]
        fn nothing_upsets_it(latenesses in proptest::collection::vec(any::<u32>(), 1..200)) {
            let mut delay = Delay::new(FRAME, 1_200);
            for lateness in latenesses {
                delay.take(lateness);
                let goal = delay.goal().unwrap();
                prop_assert!(goal.most.wrapping_sub(goal.least) <= 1_300);
            }
        }
    }
}
