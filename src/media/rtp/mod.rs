//! RTP (RFC 3550): headers, the order of packets, the jitter buffer, its delay and the stretching of sound to it, keys
//! (RFC 4733); secret (RFC 3711), and reported on.

pub mod delay;
pub mod dtmf;
pub mod info;
pub mod jitter;
pub mod monitor;
pub mod packet;
pub mod press;
pub mod quality;
pub mod receiver;
pub mod report;
pub mod rtcp;
pub mod sender;
pub mod srtp;
pub mod stretch;

/// A jump forward of so many packets is a restart, not a loss (RFC 3550 appendix A.1, MAX_DROPOUT).
const DROPOUT_MOST: u16 = 3_000;
/// A packet so far behind is late, further behind is a restart (RFC 3550 appendix A.1, MAX_MISORDER).
const MISORDER_MOST: u16 = 100;
/// How many of the latest packets are remembered, to know a repeat: bits of `seen`.
const MEMORY: u16 = 128;

/// On a shared port: no payload type of ours lies where RTCP's lie (RFC 5761 section 4).
pub fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.get(1).is_some_and(|kind| (192..=223).contains(kind))
}

/// What a packet's number says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Fresh,
    Duplicate,
    /// Numbers began anew: what was expected until now counts no more.
    Restarted,
    /// An odd number; dropped unless the next packet follows it.
    Doubtful,
}

/// Follows the sequence numbers of one source, over wraps, losses, repeats and restarts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sequence {
    highest: Option<u16>,
    /// Bit n: the packet n before the highest has come.
    seen: u128,
    /// What would confirm a restart.
    doubt: Option<u16>,
    /// Wraps of the number, since the source began.
    wraps: u16,
    expected: u64,
    received: u64,
    /// The same when the source began.
    before: (u64, u64),
}

impl Sequence {
    /// Another source follows, or another address: its first packet is taken as it comes.
    pub fn forget(&mut self) {
        self.highest = None;
        self.doubt = None;
        self.wraps = 0;
        self.before = (self.expected, self.received);
    }

    /// Packets expected and received, over all sources.
    pub fn totals(&self) -> (u64, u64) {
        (self.expected, self.received)
    }

    /// Packets expected and received of this source.
    pub fn of_source(&self) -> (u64, u64) {
        (self.expected - self.before.0, self.received - self.before.1)
    }

    /// The highest number, with the count of its wraps above (RFC 3550 section 6.4.1).
    pub fn extended(&self) -> u32 {
        u32::from(self.wraps) << 16 | u32::from(self.highest.unwrap_or(0))
    }

    /// Packets that never came (RFC 3550 appendix A.3), over all restarts.
    pub fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.received)
    }

    pub fn take(&mut self, number: u16) -> Order {
        let Some(highest) = self.highest else {
            self.begin(number);
            return Order::Fresh;
        };
        let ahead = number.wrapping_sub(highest);
        let behind = highest.wrapping_sub(number);
        if ahead > 0 && ahead < DROPOUT_MOST {
            self.advance(number, ahead)
        } else if behind <= MISORDER_MOST {
            self.look_back(behind)
        } else if self.doubt == Some(number) {
            self.begin(number);
            Order::Restarted
        } else {
            self.doubt = Some(number.wrapping_add(1));
            Order::Doubtful
        }
    }

    fn begin(&mut self, number: u16) {
        self.highest = Some(number);
        self.seen = 1;
        self.doubt = None;
        self.expected += 1;
        self.received += 1;
    }

    fn advance(&mut self, number: u16, ahead: u16) -> Order {
        if self.highest.is_some_and(|highest| number < highest) {
            self.wraps = self.wraps.wrapping_add(1);
        }
        self.highest = Some(number);
        self.seen = if ahead < MEMORY { self.seen << ahead | 1 } else { 1 };
        self.doubt = None;
        self.expected += u64::from(ahead);
        self.received += 1;
        Order::Fresh
    }

    fn look_back(&mut self, behind: u16) -> Order {
        let bit = 1u128 << behind;
        if self.seen & bit != 0 {
            return Order::Duplicate;
        }
        self.seen |= bit;
        self.received += 1;
        Order::Fresh
    }
}

/// Interarrival jitter as RFC 3550 section 6.4.1 estimates it, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unrest {
    transit: Option<i64>,
    nanos: u64,
}

impl Unrest {
    /// A packet of sound: when it came, and its timestamp brought to nanoseconds (it may wrap).
    pub fn take(&mut self, came_nanos: u64, stamp_nanos: i64, wrap_nanos: i64) {
        let transit = (came_nanos as i64).wrapping_sub(stamp_nanos).rem_euclid(wrap_nanos);
        if let Some(before) = self.transit {
            let step = (transit - before).rem_euclid(wrap_nanos);
            let step = step.min(wrap_nanos - step) as u64;
            // A step of a second is a new start of the sender's clock, not jitter.
            if step < 1_000_000_000 {
                self.nanos = self.nanos + step / 16 - self.nanos / 16;
            }
        }
        self.transit = Some(transit);
    }

    pub fn forget(&mut self) {
        self.transit = None;
    }

    pub fn micros(&self) -> u32 {
        (self.nanos / 1_000) as u32
    }

    /// In units of a timestamp of that clock.
    pub fn units(&self, clock_hz: u32) -> u32 {
        (self.nanos * u64::from(clock_hz) / 1_000_000_000) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn orders(numbers: &[u16]) -> (Vec<Order>, u64) {
        let mut sequence = Sequence::default();
        (numbers.iter().map(|n| sequence.take(*n)).collect(), sequence.lost())
    }

    #[test]
    fn order_is_kept_over_wraps_repeats_and_restarts() {
        use Order::*;
        let table: &[(&[u16], &[Order], u64)] = &[
            (&[65_534, 65_535, 0, 1], &[Fresh, Fresh, Fresh, Fresh], 0),
            (&[5, 7, 6, 6, 7], &[Fresh, Fresh, Fresh, Duplicate, Duplicate], 0),
            (&[5, 9], &[Fresh, Fresh], 3),
            (&[65_535, 2, 0], &[Fresh, Fresh, Fresh], 1),
            (&[5, 30_000, 6], &[Fresh, Doubtful, Fresh], 0),
            (&[5, 30_000, 30_001, 30_002], &[Fresh, Doubtful, Restarted, Fresh], 0),
            (&[30_000, 29_901, 29_899], &[Fresh, Fresh, Doubtful], 0),
        ];
        for (numbers, expected, lost) in table {
            assert_eq!(orders(numbers), (expected.to_vec(), *lost), "{numbers:?}");
        }
    }

    #[test]
    fn unrest_is_zero_on_a_steady_line_and_follows_a_shaky_one() {
        const WRAP: i64 = (1 << 32) * 125_000;
        let mut steady = Unrest::default();
        let mut shaky = Unrest::default();
        for i in 0..1_000u64 {
            // The stamp wraps on the way.
            let stamp = ((u64::from(u32::MAX) - 80_000 + i * 160) % (1 << 32) * 125_000) as i64;
            steady.take(i * 20_000_000, stamp, WRAP);
            shaky.take(i * 20_000_000 + (i % 2) * 8_000_000, stamp, WRAP);
        }
        assert_eq!(steady.micros(), 0);
        assert!((7_000..=8_000).contains(&shaky.micros()), "{}", shaky.micros());
    }
}
