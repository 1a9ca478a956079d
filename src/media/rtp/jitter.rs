//! The jitter buffer: packets in as they come, sound out as the tick needs it.
//!
//! It counts in the sender's clock (units of the RTP timestamp), so any packet length, change of length and pause is
//! the same to it. It holds no fixed delay. It plays what is there; when nothing is there it waits, and remembers how long
//! ([`Jitter::owed`]): if the next packet shows that its predecessor was lost, the wait was the loss; if the predecessor
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
