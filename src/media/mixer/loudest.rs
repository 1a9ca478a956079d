//! Who is heard where only the loudest few are: for rooms so large that the sum of all breaths is a noise.

use super::level::GATE_TICKS;

/// More than so many at once nobody tells apart.
pub const LOUDEST_MOST: usize = 16;
/// Whoever is heard gives way only to one who is twice as loud (6 dB).
const HYSTERESIS: u32 = 2;

/// One who wants to be heard in this tick.
#[derive(Clone, Copy, Debug, Default)]
struct Talker {
    index: u32,
    level: u32,
    /// Ticks for which nobody may take this place.
    held: u16,
}

/// The places at the table, and who sits there. While no more talk than there are places, all are heard.
#[derive(Clone, Debug, Default)]
pub struct Loudest {
    heard: [Talker; LOUDEST_MOST],
    count: usize,
    /// The places as they were a tick ago.
    before: [Talker; LOUDEST_MOST],
    count_before: usize,
}

impl Loudest {
    /// A new tick: all places are free, but it is known who sat there.
    pub fn begin(&mut self) {
        (self.before, self.count_before) = (self.heard, self.count);
        self.count = 0;
    }

    /// Somebody wants to be heard, among `most` at the most.
    pub fn offer(&mut self, index: usize, level: u16, most: usize) {
        let most = most.min(LOUDEST_MOST);
        let index = index as u32;
        let seated = self.before[..self.count_before].iter().find(|talker| talker.index == index);
        let held = seated.map_or(GATE_TICKS, |talker| talker.held.saturating_sub(1));
        let level = u32::from(level) * if seated.is_some() { HYSTERESIS } else { 1 };
        let talker = Talker { index, level, held };
        if self.count < most {
            self.heard[self.count] = talker;
            self.count += 1;
            return;
        }
        // Who has just begun is not cut off in his first word, unless by one who had begun before.
        let rank = |talker: &Talker| (self.is_held(talker), talker.level);
        let softest = (0..self.count).min_by_key(|place| rank(&self.heard[*place]));
        if let Some(place) = softest
            && rank(&talker) > rank(&self.heard[place])
        {
            self.heard[place] = talker;
        }
    }

    fn is_held(&self, talker: &Talker) -> bool {
        talker.held > 0 && self.before[..self.count_before].iter().any(|seated| seated.index == talker.index)
    }

    /// After all have offered themselves.
    pub fn hears(&self, index: usize) -> bool {
        self.heard[..self.count].iter().any(|talker| talker.index as usize == index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tick(loudest: &mut Loudest, levels: &[u16], most: usize) -> Vec<usize> {
        loudest.begin();
        for (index, level) in levels.iter().enumerate().filter(|(_, level)| **level > 0) {
            loudest.offer(index, *level, most);
        }
        (0..levels.len()).filter(|index| loudest.hears(*index)).collect()
    }

    #[test]
    fn all_are_heard_while_there_are_places() {
        let mut loudest = Loudest::default();
        assert_eq!(tick(&mut loudest, &[5, 0, 9, 1], 3), [0, 2, 3]);
        assert_eq!(tick(&mut loudest, &[5, 0, 9, 1], 2), [0, 2]);
        assert_eq!(tick(&mut loudest, &[0; 4], 2), [0; 0]);
    }

    #[test]
    fn a_place_is_lost_to_the_clearly_louder_and_not_in_the_first_word() {
        let mut loudest = Loudest::default();
        assert_eq!(tick(&mut loudest, &[100, 100, 0], 2), [0, 1]);
        for _ in 1..GATE_TICKS {
            assert_eq!(tick(&mut loudest, &[100, 100, 900], 2), [0, 1]);
        }
        assert_eq!(tick(&mut loudest, &[100, 101, 900], 2), [1, 2]);
        for _ in 0..3 * GATE_TICKS {
            assert_eq!(tick(&mut loudest, &[190, 101, 900], 2), [1, 2], "not twice as loud");
        }
        assert_eq!(tick(&mut loudest, &[210, 101, 900], 2), [0, 2]);
    }
}
