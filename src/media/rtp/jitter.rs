//! The jitter buffer: packets in as they come, sound out as the tick needs it.
//!
//! It counts in the sender's clock (units of the RTP timestamp), so any packet length, change of length and pause is
//! the same to it. It holds no fixed delay. It plays what is there; when nothing is there it waits, and remembers how long
//! (`Jitter::owed`): if the next packet shows that its predecessor was lost, the wait was the loss; if the predecessor
//! itself comes late, it is still played, and the delay has grown by just what the network needed. When more than a
//! tick's worth lay unused for seconds, the owner is asked to let one go ([`Jitter::surplus`]).

use super::packet::PAYLOAD_MOST;

/// Packets held: 150 ms of the shortest packets (10 ms), and one.
const HELD_MOST: usize = 16;
/// Ticks over which the surplus must persist before it is let go: 2 s at rest...
const PATIENCE_LEAST: u16 = 100;
/// ...and doubled up to 32 s each time it turns out to have been needed.
const PATIENCE_MOST: u16 = 1_600;
/// Spare frames are let go one by one, 200 ms apart.
const SHED_TICKS: u16 = 10;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Kept,
    /// Its moment is over.
    Late,
    /// The timestamp jumped: what lay here is gone, and the sound begins anew with this packet.
    Restarted,
    /// Sound of that moment lies here already, or it is empty or longer than a packet may be.
    Useless,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Pull<'a> {
    /// Sound, to be played whole.
    Sound(&'a [u8]),
    /// So many units are missing and will not come.
    Lost(u32),
    /// So many units are to be made up while we wait.
    Wait(u32),
}

/// The buffer of one stream, for codecs with one octet a unit.
pub struct Jitter {
    stamps: [u32; HELD_MOST],
    lengths: [u16; HELD_MOST],
    held: u16,
    octets: [[u8; PAYLOAD_MOST]; HELD_MOST],
    /// Timestamp of the next unit to be played.
    next: Option<u32>,
    /// End of the newest sound that came.
    newest: u32,
    /// Units made up while nothing was there, that may turn out to have been a loss.
    owed: u32,
    /// Units still to be made up on purpose, so that the delay grows.
    stretch: u32,
    settings: Settings,
    trend: Trend,
}

/// All in units of the timestamp.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// What one tick takes.
    pub frame: u32,
    /// Sound gathered before the first is played.
    pub start: u32,
    /// No more is ever held.
    pub bound: u32,
    /// A jump of the timestamp by so much is a new start.
    pub jump: u32,
}

/// The least that lay unused after each tick, over a window.
#[derive(Clone, Copy, Debug)]
struct Trend {
    least: u32,
    ticks: u16,
    patience: u16,
    grown: bool,
    /// Frames that may go, found at the end of the last window.
    spare: u32,
}

impl Trend {
    const NEW: Trend = Trend { least: u32::MAX, ticks: 0, patience: PATIENCE_LEAST, grown: false, spare: 0 };

    fn restart(&mut self) {
        (self.least, self.ticks, self.grown) = (u32::MAX, 0, false);
    }

    /// One tick more; at the end of a window, what lay unused all the time is spare.
    fn tick(&mut self, unused: u32, frame: u32) {
        self.ticks += 1;
        self.least = self.least.min(unused);
        if self.ticks < self.patience {
            return;
        }
        self.spare = self.least / frame;
        if !self.grown {
            self.patience = (self.patience / 2).max(PATIENCE_LEAST);
        }
        self.restart();
    }

    fn grew(&mut self) {
        if !self.grown {
            self.patience = (self.patience * 2).min(PATIENCE_MOST);
        }
        (self.least, self.ticks, self.grown, self.spare) = (u32::MAX, 0, true, 0);
    }
}

impl Jitter {
    pub fn new(settings: Settings) -> Jitter {
        Jitter {
            stamps: [0; HELD_MOST],
            lengths: [0; HELD_MOST],
            held: 0,
            octets: [[0; PAYLOAD_MOST]; HELD_MOST],
            next: None,
            newest: 0,
            owed: 0,
            stretch: 0,
            settings,
            trend: Trend::NEW,
        }
    }

    /// Forgets the sound and the sender's clock: another source, another codec.
    pub fn forget(&mut self) {
        (self.held, self.next, self.owed, self.stretch) = (0, None, 0, 0);
        self.trend = Trend::NEW;
    }

    /// Timestamp of the next unit to be played.
    pub fn next(&self) -> Option<u32> {
        self.next
    }

    /// End of the newest sound that came.
    pub fn newest(&self) -> u32 {
        self.newest
    }

    /// Units between what is played next and the end of the newest.
    pub fn depth(&self) -> u32 {
        match self.next {
            Some(next) if self.held != 0 => self.newest.wrapping_sub(next),
            _ => 0,
        }
    }

    pub fn put(&mut self, stamp: u32, payload: &[u8]) -> Put {
        let length = payload.len() as u32;
        if payload.is_empty() || payload.len() > PAYLOAD_MOST {
            return Put::Useless;
        }
        let Some(next) = self.next else {
            self.begin(stamp);
            self.keep(stamp, payload);
            return Put::Kept;
        };
        let ahead = i64::from(stamp.wrapping_sub(next) as i32);
        if ahead > i64::from(self.settings.jump) + i64::from(self.owed) || ahead < -i64::from(self.settings.jump) {
            self.forget();
            self.begin(stamp);
            self.keep(stamp, payload);
            return Put::Restarted;
        }
        if ahead < 0 {
            return self.too_late(-ahead as u32, stamp, length);
        }
        if self.holds(stamp) {
            return Put::Useless;
        }
        self.keep(stamp, payload);
        Put::Kept
    }

    fn begin(&mut self, stamp: u32) {
        self.next = Some(stamp);
        self.newest = stamp;
        self.owed = 0;
        self.stretch = self.settings.start.saturating_sub(self.settings.frame);
    }

    /// The delay grows by what this packet would have needed, within the bound, so that its like will be in time.
    fn too_late(&mut self, behind: u32, stamp: u32, length: u32) -> Put {
        let need = behind.next_multiple_of(self.settings.frame);
        let room = self.settings.bound.saturating_sub(self.depth() + length);
        if need <= room {
            self.stretch = self.stretch.max(need);
            self.trend.grew();
        }
        self.reach(stamp.wrapping_add(length));
        Put::Late
    }

    fn reach(&mut self, end: u32) {
        if (end.wrapping_sub(self.newest) as i32) > 0 {
            self.newest = end;
        }
    }

    fn holds(&self, stamp: u32) -> bool {
        (0..HELD_MOST).any(|i| self.held & 1 << i != 0 && self.stamps[i] == stamp)
    }

    /// Places a packet; when all places are taken, the oldest sound gives way.
    fn keep(&mut self, stamp: u32, payload: &[u8]) {
        if self.held == u16::MAX
            && let Some(oldest) = self.oldest()
        {
            self.held &= !(1 << oldest);
        }
        let place = self.held.trailing_ones() as usize;
        self.held |= 1 << place;
        self.stamps[place] = stamp;
        self.lengths[place] = payload.len() as u16;
        self.octets[place][..payload.len()].copy_from_slice(payload);
        self.reach(stamp.wrapping_add(payload.len() as u32));
    }

    fn oldest(&self) -> Option<usize> {
        let next = self.next?;
        let ahead = |i: &usize| self.stamps[*i].wrapping_sub(next) as i32;
        (0..HELD_MOST).filter(|i| self.held & 1 << i != 0).min_by_key(ahead)
    }

    /// What to play now, of which `want` units are needed at once.
    pub fn pull(&mut self, want: u32) -> Pull<'_> {
        if self.stretch > 0 {
            let units = want.min(self.stretch);
            self.stretch -= units;
            return Pull::Wait(units);
        }
        let (Some(place), Some(next)) = (self.oldest(), self.next) else {
            self.owed = self.owed.saturating_add(want);
            return Pull::Wait(want);
        };
        let stamp = self.stamps[place];
        let gap = stamp.wrapping_sub(next) as i32;
        if gap > 0 {
            // Part of the gap was waited out already.
            let missing = (gap as u32).saturating_sub(self.owed);
            self.owed = 0;
            let lost = missing.min(want);
            self.next = Some(stamp.wrapping_sub(missing - lost));
            if lost > 0 {
                return Pull::Lost(lost);
            }
        }
        self.play(place)
    }

    fn play(&mut self, place: usize) -> Pull<'_> {
        if self.owed > 0 {
            self.trend.grew();
        }
        self.owed = 0;
        self.held &= !(1 << place);
        let length = usize::from(self.lengths[place]);
        let overlap = self.next.map_or(0, |next| next.wrapping_sub(self.stamps[place])) as usize;
        self.next = Some(self.stamps[place].wrapping_add(length as u32));
        Pull::Sound(&self.octets[place][overlap.min(length)..length])
    }

    /// Called after each tick with what the owner has decoded and not yet played: true if a frame can be let go.
    pub fn surplus(&mut self, decoded: u32) -> bool {
        if self.depth() > self.settings.bound {
            self.cut();
            return false;
        }
        let unused = self.depth() + decoded;
        self.trend.tick(unused, self.settings.frame);
        let due = self.trend.spare > 0 && self.trend.ticks.is_multiple_of(SHED_TICKS);
        if due {
            self.trend.spare -= 1;
            self.trend.least = u32::MAX;
        }
        due && unused >= self.settings.frame
    }

    /// Over the bound: skips to where a frame less than the bound is left. A quarter of a frame is made up, so that the
    /// sound is faded over the skip.
    fn cut(&mut self) {
        let left = self.settings.bound.saturating_sub(self.settings.frame);
        let next = self.newest.wrapping_sub(left);
        self.stretch = self.settings.frame / 4;
        for place in 0..HELD_MOST {
            if (self.stamps[place].wrapping_add(u32::from(self.lengths[place])).wrapping_sub(next) as i32) <= 0 {
                self.held &= !(1 << place);
            }
        }
        self.next = Some(next);
        self.trend.grew();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FRAME: u32 = 160;
    const SETTINGS: Settings = Settings { frame: FRAME, start: FRAME, bound: 1_200, jump: 8_000 };

    /// The number written into a packet's payload.
    fn payload(number: u16, octets: usize) -> Vec<u8> {
        number.to_be_bytes().iter().copied().cycle().take(octets).collect()
    }

    /// A tick's worth; the numbers of the packets it was made of, and the units that were made up.
    fn tick(jitter: &mut Jitter, decoded: &mut u32) -> (Vec<u16>, u32) {
        let (mut numbers, mut made_up) = (Vec::new(), 0);
        while *decoded < FRAME {
            match jitter.pull(FRAME - *decoded) {
                Pull::Sound(octets) => {
                    numbers.extend(octets.first_chunk().map(|head| u16::from_be_bytes(*head)));
                    *decoded += octets.len() as u32;
                }
                Pull::Lost(units) | Pull::Wait(units) => {
                    made_up += units;
                    *decoded += units;
                }
            }
        }
        *decoded -= FRAME;
        if jitter.surplus(*decoded) && *decoded + jitter.depth() >= FRAME {
            // The owner lets one frame go.
            if let Pull::Sound(octets) = jitter.pull(FRAME) {
                numbers.extend(octets.first_chunk().map(|head| u16::from_be_bytes(*head)));
            }
        }
        (numbers, made_up)
    }

    /// Packets of 20 ms, each with the delay of the network in milliseconds (`None`: lost), a tick every 20 ms.
    struct Run {
        played: Vec<u16>,
        made_up: u32,
        deepest: u32,
        /// Depth after the last tick.
        left: u32,
    }

    fn run(delays: &[Option<u32>], phase_ms: u32) -> Run {
        let mut jitter = Jitter::new(SETTINGS);
        let mut arrivals: Vec<(u32, u16)> = (0u16..)
            .zip(delays)
            .filter_map(|(number, delay)| delay.map(|delay| (u32::from(number) * 20 + delay + phase_ms, number)))
            .collect();
        arrivals.sort_unstable();
        let mut arrivals = arrivals.into_iter().peekable();
        let mut run = Run { played: Vec::new(), made_up: 0, deepest: 0, left: 0 };
        let mut decoded = 0;
        for beat in 1..=delays.len() as u32 + 20 {
            while let Some((_, number)) = arrivals.next_if(|(at, _)| *at < beat * 20) {
                let stamp = (u32::MAX - 5_000).wrapping_add(u32::from(number) * FRAME);
                jitter.put(stamp, &payload(number, FRAME as usize));
            }
            let (numbers, made_up) = tick(&mut jitter, &mut decoded);
            run.played.extend(numbers);
            run.made_up += if beat <= delays.len() as u32 { made_up } else { 0 };
            run.deepest = run.deepest.max(jitter.depth());
            run.left = if beat <= delays.len() as u32 { jitter.depth() } else { run.left };
        }
        run
    }

    #[test]
    fn a_quiet_network_adds_no_more_than_the_wait_for_the_tick() {
        for phase_ms in 0..20 {
            let run = run(&[Some(0); 200], phase_ms);
            assert_eq!(run.played, (0..200).collect::<Vec<u16>>());
            assert_eq!((run.deepest, run.made_up), (0, 0), "phase {phase_ms}");
        }
    }

    #[test]
    fn a_loss_costs_its_own_length_and_no_delay() {
        let mut delays = [Some(0); 200];
        for lost in [50, 90, 91, 92, 150] {
            delays[lost] = None;
        }
        let run = run(&delays, 10);
        assert_eq!(run.made_up, 5 * FRAME);
        assert_eq!((run.played.len(), run.left), (195, 0));
    }

    #[test]
    fn the_delay_grows_to_the_jitter_and_shrinks_again() {
        // Every fourth packet 45 ms late for ten seconds, then calm.
        let late = (0..500).map(|i| Some(if i % 4 == 0 { 45 } else { 0 }));
        let delays: Vec<_> = late.chain(std::iter::repeat_n(Some(0), 1_500)).collect();
        let run = run(&delays, 10);
        assert!(run.made_up <= 6 * FRAME, "{}", run.made_up);
        assert!((2 * FRAME..=4 * FRAME).contains(&run.deepest), "{}", run.deepest);
        assert_eq!(run.left, 0);
    }

    #[test]
    fn a_standstill_is_made_good_and_never_passes_the_bound() {
        // 400 ms of packets come at once, then all is calm.
        let delays: Vec<_> =
            (0..1_500u32).map(|i| Some(if (100..120).contains(&i) { (120 - i) * 20 } else { 0 })).collect();
        let run = run(&delays, 10);
        assert!(run.deepest <= SETTINGS.bound, "{}", run.deepest);
        assert_eq!(run.left, 0);
    }

    #[test]
    fn a_drifting_clock_does_not_grow_the_delay() {
        for ppm in [-200i64, 200] {
            let mut jitter = Jitter::new(SETTINGS);
            let (mut decoded, mut number, mut made_up, mut deepest) = (0, 0i64, 0, 0);
            // Twenty minutes.
            for beat in 1..=60_000i64 {
                while number * (20_000_000 + 20 * ppm) < beat * 20_000_000 - 7_000_000 {
                    jitter.put((number as u32).wrapping_mul(FRAME), &payload(1, FRAME as usize));
                    number += 1;
                }
                made_up += tick(&mut jitter, &mut decoded).1;
                deepest = deepest.max(jitter.depth() + decoded);
            }
            assert!(deepest <= 2 * FRAME, "{ppm} ppm: {deepest}");
            // 0.24 s of drift, in frames of 20 ms.
            assert!(made_up <= 14 * FRAME, "{ppm} ppm: {made_up}");
        }
    }

    #[test]
    fn a_pause_of_the_sender_leaves_no_delay() {
        let mut jitter = Jitter::new(SETTINGS);
        let mut decoded = 0;
        jitter.put(0, &payload(0, 160));
        tick(&mut jitter, &mut decoded);
        // Ten seconds of nothing; the clock ran on, not quite as ours did.
        (0..500).for_each(|_| drop(tick(&mut jitter, &mut decoded)));
        jitter.put(160 + 500 * 160 + 50, &payload(1, 160));
        let (numbers, _) = tick(&mut jitter, &mut decoded);
        assert_eq!((numbers, jitter.depth()), (vec![1], 0));
    }

    #[test]
    fn a_jump_of_the_clock_begins_anew() {
        let mut jitter = Jitter::new(SETTINGS);
        assert_eq!(jitter.put(1_000, &payload(0, 160)), Put::Kept);
        for stamp in [2_000_000_000, 500, 4_000_000_000] {
            assert_eq!(jitter.put(stamp, &payload(1, 160)), Put::Restarted);
            assert_eq!((jitter.next(), jitter.depth()), (Some(stamp), 160));
        }
        assert_eq!(jitter.put(4_000_000_000, &payload(1, 160)), Put::Useless);
        assert_eq!(jitter.put(4_000_000_160, &[]), Put::Useless);
        assert_eq!(jitter.put(4_000_000_160, &[0; PAYLOAD_MOST + 1]), Put::Useless);
    }

    #[test]
    fn packets_of_any_length_are_cut_into_ticks() {
        for size in [80u32, 160, 240, 320, 400, 480] {
            let mut jitter = Jitter::new(SETTINGS);
            let (mut decoded, mut stamp, mut made_up) = (0, 0, 0);
            for beat in 1..=600 {
                while stamp + size <= beat * FRAME {
                    jitter.put(stamp, &payload(0, size as usize));
                    stamp += size;
                }
                let made = tick(&mut jitter, &mut decoded).1;
                made_up += if beat > 6 { made } else { 0 };
            }
            assert!(made_up <= size, "{size}: {made_up}");
            assert!(jitter.depth() + decoded <= size, "{size}: {}", jitter.depth() + decoded);
        }
    }

    proptest! {
        /// Loss, reordering, jitter to 60 ms, standstills: order is kept, nothing is played twice, the bound holds.
        #[test]
        fn whatever_the_network_does(
            delays in proptest::collection::vec(prop_oneof![
                1 => Just(None), 8 => (0u32..60).prop_map(Some), 8 => Just(Some(0)), 1 => (100u32..400).prop_map(Some),
            ], 50..400),
            phase_ms in 0u32..20,
        ) {
            let run = run(&delays, phase_ms);
            prop_assert!(run.played.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", run.played);
            prop_assert!(run.deepest <= SETTINGS.bound + 3 * FRAME, "{}", run.deepest);
        }

        #[test]
        fn random_stamps_and_lengths_do_no_harm(
            steps in proptest::collection::vec((any::<u32>(), 0usize..600, any::<bool>()), 1..200),
        ) {
            let mut jitter = Jitter::new(SETTINGS);
            let mut decoded = 0;
            for (stamp, length, near) in steps {
                let stamp = if near { jitter.next().unwrap_or(0).wrapping_add(stamp % 2_000).wrapping_sub(500) } else { stamp };
                jitter.put(stamp, &vec![0; length]);
                tick(&mut jitter, &mut decoded);
                prop_assert!(decoded <= PAYLOAD_MOST as u32);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// ± 30 ms of jitter cost at most 1 % of made-up sound once the buffer has learnt it.
        #[test]
        fn even_jitter_is_learnt(seed: u64) {
            let mut random = seed | 1;
            let mut draw = || {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 33) as u32 % 61
            };
            let delays: Vec<_> = (0..3_000).map(|_| Some(draw())).collect();
            let run = run(&delays, 0);
            prop_assert!(run.made_up <= 30 * FRAME + 4 * FRAME, "{}", run.made_up);
        }
    }
}
