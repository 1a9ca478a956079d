//! What both ends tell each other about one stream: a machine that hears RTCP, and says when our own is due.
//!
//! Feed it with [`Reporter::handle`]; when [`Reporter::deadline`] is reached, send what [`Reporter::write`] wrote. It
//! needs no memory but its own. A round trip is measured on our own clock, between a report of ours and the answer that
//! names it: no clock of theirs, no step of the wall clock and no invented answer gets in.

use super::rtcp::{Block, Part, Sent, Voip, Writer, read};
use crate::clock::{Mono, Now, Wall};
use std::time::Duration;

/// A compound packet of ours is never longer: report, block, name, three extended parts, goodbye.
pub const LENGTH_MOST: usize = 52 + (12 + NAME_MOST) + (8 + 36) + 20 + 24 + 8;
/// The longest name. RFC 7022's random names have 16 signs.
const NAME_MOST: usize = 64;
/// RFC 3550 section 6.2: the least interval. For two members and 64 kbit/s the share of 5 % asks for no longer one.
const INTERVAL_MS: u64 = 5_000;
/// Reports of ours whose answer may still come: 20 s and more.
const REMEMBERED: usize = 4;
/// A round trip beyond is a mistake in the answer: no call lives with it.
const ROUND_TRIP_MOST_MS: u64 = 30_000;
/// Seconds from 1900 (NTP) to 1970 (Unix).
const NTP_OFFSET_S: i64 = 2_208_988_800;

/// What we sent so far, over all of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outbound {
    pub packets: u64,
    pub octets: u64,
    /// The timestamp that a packet would have that is sent now.
    pub timestamp: u32,
}

/// What came so far, over all of the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inbound {
    /// Nobody, before the first packet.
    pub ssrc: Option<u32>,
    pub expected: u64,
    /// Without repeats.
    pub received: u64,
    /// The highest number, with the count of its wraps above (RFC 3550 appendix A.1).
    pub highest: u32,
    /// In units of the timestamp.
    pub jitter: u32,
}

/// How the far end hears us, as it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remote {
    /// Of 256, lately.
    pub fraction_lost: u8,
    pub lost: i32,
    /// In units of our timestamp.
    pub jitter: u32,
    /// Packets that they say they sent.
    pub sent: Option<u32>,
    pub voip: Option<Voip>,
    /// When the last report about us came.
    pub at: Option<Mono>,
}

/// What a datagram was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// No RTCP: counted, and otherwise as if it had not come.
    Bad,
    /// A report or something else whole: a sign of life.
    Report,
    /// They say they go. Not a command: the signalling ends calls.
    Bye,
}

/// A report that came, to be named in ours: the middle of its NTP time, and its moment.
#[derive(Clone, Copy, Debug)]
struct Came {
    middle: u32,
    at: Mono,
}

#[derive(Debug)]
pub struct Reporter {
    ssrc: u32,
    name: [u8; NAME_MOST],
    name_length: usize,
    /// Extended reports (RFC 3611) are sent too.
    extended: bool,
    seed: u64,
    due: Mono,
    ours: [Option<Came>; REMEMBERED],
    next: usize,
    theirs: Option<Came>,
    /// Who asked when we heard him (RFC 3611 section 4.4).
    asked: Option<(u32, Came)>,
    /// Packets sent by the report before the last, and by the last: who sent since then is a sender (RFC 3550 section 6.4).
    sent: [u64; 2],
    /// Expected and received at the last report.
    before: (u64, u64),
    remote: Remote,
    round_trip: Option<Duration>,
    bad: u64,
}

impl Reporter {
    /// `ssrc` and `name` (CNAME, at most 64 octets: RFC 7022 wants 96 random bits as text) are ours. The first report is
    /// due after half an interval (RFC 3550 section 6.2).
    pub fn new(now: Mono, ssrc: u32, name: &str, extended: bool, seed: u64) -> Reporter {
        let name_length = name.len().min(NAME_MOST);
        let mut reporter = Reporter {
            ssrc,
            name: [0; NAME_MOST],
            name_length,
            extended,
            seed,
            due: now,
            ours: [None; REMEMBERED],
            next: 0,
            theirs: None,
            asked: None,
            sent: [0; 2],
            before: (0, 0),
            remote: Remote::default(),
            round_trip: None,
            bad: 0,
        };
        reporter.name[..name_length].copy_from_slice(&name.as_bytes()[..name_length]);
        reporter.due = now + reporter.interval(INTERVAL_MS / 2);
        reporter
    }

    pub fn remote(&self) -> &Remote {
        &self.remote
    }

    /// The last that was measured.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Datagrams that were no RTCP.
    pub fn bad(&self) -> u64 {
        self.bad
    }

    /// When the next report of ours is due.
    pub fn deadline(&self) -> Mono {
        self.due
    }

    pub fn is_due(&self, now: Mono) -> bool {
        now >= self.due
    }

    /// Another address or another source sends from now on: what was measured is not its own.
    pub fn forget(&mut self) {
        (self.theirs, self.asked, self.round_trip) = (None, None, None);
        self.remote = Remote::default();
    }

    /// Half to one and a half of the interval, so that reports of many legs do not fall together (RFC 3550 section 6.2).
    fn interval(&mut self, millis: u64) -> Duration {
        // SplitMix64: even enough for this, and each seed another row.
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.seed ^ self.seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Duration::from_millis(millis / 2 + (mixed ^ mixed >> 31) % (millis + 1))
    }

    /// Takes a datagram of RTCP from the agreed source (opened, if it came in secret).
    pub fn handle(&mut self, now: Mono, datagram: &[u8]) -> Heard {
        let mut heard = Heard::Report;
        if !read(datagram, |part| heard = self.take(now, part).unwrap_or(heard)) {
            self.bad += 1;
            return Heard::Bad;
        }
        heard
    }

    fn take(&mut self, now: Mono, part: Part<'_>) -> Option<Heard> {
        match part {
            Part::Sender { sent, .. } => {
                self.theirs = Some(Came { middle: middle(sent.ntp), at: now });
                self.remote.sent = Some(sent.packets);
            }
            Part::Block(block) if block.ssrc == self.ssrc => self.take_block(now, &block),
            Part::ReferenceTime { ssrc, ntp } => self.asked = Some((ssrc, Came { middle: middle(ntp), at: now })),
            Part::DelaySince { ssrc, last, delay } if ssrc == self.ssrc => self.measure(now, last, delay),
            Part::Voip(voip) if voip.ssrc == self.ssrc => self.remote.voip = Some(voip),
            Part::Bye { .. } => return Some(Heard::Bye),
            _ => {}
        }
        None
    }

    fn take_block(&mut self, now: Mono, block: &Block) {
        let Block { fraction_lost, lost, jitter, .. } = *block;
        self.remote = Remote { fraction_lost, lost, jitter, at: Some(now), ..self.remote };
        self.measure(now, block.last_report, block.delay_since);
    }

    /// The round trip (RFC 3550 section 6.4.1), if we did send what they name.
    fn measure(&mut self, now: Mono, last: u32, delay: u32) {
        let Some(ours) = self.ours.iter().flatten().find(|ours| ours.middle == last) else { return };
        let held = Duration::from_nanos((u64::from(delay) * 1_000_000_000) >> 16);
        // Their clock may run a little slow: then the way took no time.
        let round_trip = now.since(ours.at).saturating_sub(held);
        if round_trip <= Duration::from_millis(ROUND_TRIP_MOST_MS) {
            self.round_trip = Some(round_trip);
        }
    }

    /// Writes our report into `buffer` of at least [`LENGTH_MOST`] octets and gives its length; `None` if that is too
    /// short. The next one is due an interval later.
    pub fn write(
        &mut self,
        now: Now,
        outbound: &Outbound,
        inbound: &Inbound,
        voip: Option<&Voip>,
        buffer: &mut [u8],
    ) -> Option<usize> {
        self.due = now.mono + self.interval(INTERVAL_MS);
        self.compose(now, outbound, inbound, voip, false, buffer)
    }

    /// The last report: with a goodbye (RFC 3550 section 6.3.7). Sent at once: two members make no flood.
    pub fn goodbye(
        &mut self,
        now: Now,
        outbound: &Outbound,
        inbound: &Inbound,
        voip: Option<&Voip>,
        buffer: &mut [u8],
    ) -> Option<usize> {
        self.compose(now, outbound, inbound, voip, true, buffer)
    }

    fn compose(
        &mut self,
        now: Now,
        outbound: &Outbound,
        inbound: &Inbound,
        voip: Option<&Voip>,
        bye: bool,
        buffer: &mut [u8],
    ) -> Option<usize> {
        let ntp = ntp(now.wall);
        let sends = outbound.packets > self.sent[0];
        let block = inbound.ssrc.map(|ssrc| self.block(now.mono, ssrc, inbound));
        let sent = Sent {
            ntp,
            timestamp: outbound.timestamp,
            packets: outbound.packets as u32,
            octets: outbound.octets as u32,
        };

        let mut to = Writer::new(buffer);
        to.report(self.ssrc, sends.then_some(&sent), block.as_ref());
        to.name(self.ssrc, &self.name[..self.name_length]);
        if self.extended {
            voip.into_iter().for_each(|voip| to.voip(self.ssrc, voip));
            // Who does not send asks so for the round trip (RFC 3611 section 4.4).
            if !sends {
                to.reference_time(self.ssrc, ntp);
            }
        }
        // Whoever asks is answered, agreed on or not.
        if let Some((who, came)) = self.asked {
            to.delay_since(self.ssrc, who, came.middle, since(now.mono, came.at));
        }
        if bye {
            to.bye(self.ssrc);
        }
        let length = to.finish()?;

        self.ours[self.next] = Some(Came { middle: middle(ntp), at: now.mono });
        self.next = (self.next + 1) % REMEMBERED;
        self.sent = [self.sent[1], outbound.packets];
        self.before = (inbound.expected, inbound.received);
        Some(length)
    }

    /// RFC 3550 section 6.4.1 and appendix A.3.
    fn block(&self, now: Mono, ssrc: u32, inbound: &Inbound) -> Block {
        let expected = inbound.expected.saturating_sub(self.before.0);
        let received = inbound.received.saturating_sub(self.before.1);
        let missing = expected.saturating_sub(received);
        let fraction = (missing * 256).checked_div(expected).unwrap_or(0);
        let lost = inbound.expected as i64 - inbound.received as i64;
        Block {
            ssrc,
            fraction_lost: fraction.min(255) as u8,
            lost: lost.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32,
            highest: inbound.highest,
            jitter: inbound.jitter,
            last_report: self.theirs.map_or(0, |came| came.middle),
            delay_since: self.theirs.map_or(0, |came| since(now, came.at)),
        }
    }
}

/// In 1/65536 s, at most what 32 bits hold (18 hours).
fn since(now: Mono, then: Mono) -> u32 {
    let nanos = u64::try_from(now.since(then).as_nanos()).unwrap_or(u64::MAX);
    u32::try_from(u128::from(nanos) * 65_536 / 1_000_000_000).unwrap_or(u32::MAX)
}

/// Seconds since 1900 modulo 2^32 (the era turns in 2036, and nobody here minds), and fractions.
fn ntp(wall: Wall) -> u64 {
    let micros = wall.micros().rem_euclid(1_000_000) as u64;
    let seconds = (wall.seconds() + NTP_OFFSET_S) as u32;
    (u64::from(seconds) << 32) | ((micros << 32) / 1_000_000)
}

const fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::rtp::rtcp::UNKNOWN;

    fn at(millis: u64) -> Now {
        Now {
            mono: Mono::from_millis(1_000_000 + millis),
            wall: Wall::from_micros(1_800_000_000_250_000 + millis as i64 * 1_000),
        }
    }

    fn reporter(ssrc: u32, now: Now) -> Reporter {
        Reporter::new(now.mono, ssrc, "c0ffee@house", true, u64::from(ssrc))
    }

    fn sent(packets: u64) -> Outbound {
        Outbound { packets, octets: packets * 160, timestamp: packets as u32 * 160 }
    }

    fn came(ssrc: u32, expected: u64, received: u64) -> Inbound {
        Inbound { ssrc: Some(ssrc), expected, received, highest: expected as u32, jitter: 16 }
    }

    const METRICS: Voip = Voip {
        ssrc: 1,
        loss: 0,
        discard: 0,
        burst_density: 0,
        gap_density: 0,
        burst_ms: 0,
        gap_ms: 0,
        round_trip_ms: 0,
        end_delay_ms: 0,
        r_factor: 93,
        mos_lq: 44,
        mos_cq: UNKNOWN,
        buffer_ms: 0,
        buffer_most_ms: 0,
    };

    #[test]
    fn two_ends_learn_of_each_other() {
        let (mut near, mut far) = (reporter(1, at(0)), reporter(2, at(0)));
        let mut buffer = [0; LENGTH_MOST];
        // 40 ms there, 35 ms back; the far end answers after 700 ms.
        let length = near.write(at(2_000), &sent(100), &came(2, 100, 98), None, &mut buffer).unwrap();
        assert_eq!(far.handle(at(2_040).mono, &buffer[..length]), Heard::Report);
        assert_eq!(far.remote().fraction_lost, 5);
        assert_eq!((far.remote().lost, far.remote().jitter, far.remote().sent), (2, 16, Some(100)));
        let length = far.write(at(2_740), &sent(100), &came(1, 120, 120), Some(&METRICS), &mut buffer).unwrap();
        assert_eq!(near.handle(at(2_775).mono, &buffer[..length]), Heard::Report);
        let millis = near.round_trip().unwrap().as_millis();
        assert!((74..=75).contains(&millis), "{millis}");
        assert_eq!(near.remote().voip, Some(METRICS));
        assert_eq!(far.round_trip(), None);

        // Since then nothing was lost.
        let length = near.write(at(7_000), &sent(350), &came(2, 350, 348), None, &mut buffer).unwrap();
        far.handle(at(7_040).mono, &buffer[..length]);
        assert_eq!((far.remote().fraction_lost, far.remote().lost), (0, 2));
    }

    #[test]
    fn who_only_listens_measures_too() {
        let (mut near, mut far) = (reporter(1, at(0)), reporter(2, at(0)));
        let mut buffer = [0; LENGTH_MOST];
        let length = near.write(at(2_000), &sent(0), &came(2, 100, 100), None, &mut buffer).unwrap();
        assert_eq!(buffer[1], 201);
        far.handle(at(2_050).mono, &buffer[..length]);
        let length = far.write(at(3_000), &sent(150), &came(1, 0, 0), None, &mut buffer).unwrap();
        near.handle(at(3_030).mono, &buffer[..length]);
        let millis = near.round_trip().unwrap().as_millis();
        assert!((79..=80).contains(&millis), "{millis}");
    }

    #[test]
    fn on_hold_a_sender_becomes_a_listener() {
        let mut near = reporter(1, at(0));
        let mut buffer = [0; LENGTH_MOST];
        let kinds: Vec<u8> = [0, 10, 10, 10, 11]
            .into_iter()
            .map(|packets| {
                near.write(at(0), &sent(packets), &Inbound::default(), None, &mut buffer).unwrap();
                buffer[1]
            })
            .collect();
        // One report more than it sent (RFC 3550 section 6.4: until the second interval without a packet).
        assert_eq!(kinds, [201, 200, 200, 201, 200]);
    }

    #[test]
    fn reports_come_at_their_times() {
        for seed in 0..50 {
            let mut near = Reporter::new(at(0).mono, 1, "x", false, seed);
            let first = near.deadline().millis_since(at(0).mono);
            assert!((1_250..=3_750).contains(&first), "{first}");
            let mut buffer = [0; LENGTH_MOST];
            let (mut now, mut sum) = (0, 0);
            for _ in 0..100 {
                near.write(at(now), &sent(1), &Inbound::default(), None, &mut buffer).unwrap();
                assert!(!near.is_due(at(now).mono));
                let wait = near.deadline().millis_since(at(now).mono);
                assert!((2_500..=7_500).contains(&wait), "{wait}");
                (now, sum) = (now + wait, sum + wait);
                assert!(near.is_due(at(now).mono));
            }
            assert!((4_500..5_500).contains(&(sum / 100)), "{}", sum / 100);
        }
    }

    #[test]
    fn the_largest_report_fits_and_a_short_buffer_is_refused() {
        let mut near = Reporter::new(at(0).mono, 1, &"n".repeat(100), true, 3);
        near.asked = Some((9, Came { middle: 1, at: at(0).mono }));
        let mut buffer = [0; LENGTH_MOST];
        for packets in [0, 5] {
            let length = near.goodbye(at(0), &sent(packets), &came(2, 1, 1), Some(&METRICS), &mut buffer).unwrap();
            assert!(length <= LENGTH_MOST);
            let mut far = reporter(2, at(0));
            assert_eq!(far.handle(at(1).mono, &buffer[..length]), Heard::Bye);
        }
        assert_eq!(near.write(at(0), &sent(0), &came(2, 1, 1), None, &mut buffer[..40]), None);
    }

    #[test]
    fn lies_and_noise_measure_nothing() {
        let mut near = reporter(1, at(0));
        let mut buffer = [0; LENGTH_MOST];
        near.write(at(0), &sent(5), &came(2, 1, 1), None, &mut buffer).unwrap();
        let ours = near.ours[0].unwrap().middle;
        let table = [
            // About another source; about a report that we never sent; held longer than it is gone.
            (Block { ssrc: 9, last_report: ours, ..Block::default() }, None),
            (Block { ssrc: 1, last_report: 77, ..Block::default() }, None),
            (Block { ssrc: 1, last_report: ours, delay_since: u32::MAX, ..Block::default() }, Some(0)),
            (Block { ssrc: 1, last_report: ours, delay_since: 65_536, ..Block::default() }, Some(1_000)),
        ];
        for (block, expected) in table {
            near.round_trip = None;
            let mut to = Writer::new(&mut buffer);
            to.report(2, None, Some(&block));
            let length = to.finish().unwrap();
            assert_eq!(near.handle(at(2_000).mono, &buffer[..length]), Heard::Report);
            assert_eq!(near.round_trip().map(|trip| trip.as_millis()), expected, "{block:?}");
        }
        assert_eq!(near.handle(at(0).mono, &[0x80, 200]), Heard::Bad);
        assert_eq!((near.bad(), near.handle(at(0).mono, &[])), (1, Heard::Bad));
    }

    #[test]
    fn the_era_of_ntp_turns() {
        // 2036-02-07T06:28:16Z.
        assert_eq!(ntp(Wall::from_micros(2_085_978_496_500_000)), 0x8000_0000);
        assert_eq!(ntp(Wall::from_seconds(0)) >> 32, 2_208_988_800);
        let mut near = reporter(1, at(0));
        let mut buffer = [0; LENGTH_MOST];
        let before = Inbound { ssrc: Some(2), expected: 10, received: 12, highest: 0, jitter: 0 };
        near.write(Now { mono: at(0).mono, wall: Wall::from_micros(-5) }, &sent(1), &before, None, &mut buffer)
            .unwrap();
    }
}
