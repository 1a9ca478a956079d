//! RTCP packets, read and written (RFC 3550 section 6, RFC 3611). What they mean for a stream is `report`'s.
//!
//! A datagram is believed whole or not at all: every length is checked before the first word is used. Own code and not
//! rtc-rtcp: that one builds a `Vec` of boxed packets for each datagram, this one leaves everything where it lies.

/// Packet types (RFC 3550 section 12.1, RFC 3611 section 2).
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const EXTENDED_REPORT: u8 = 207;
/// Item of a description that names its owner for good (RFC 3550 section 6.5.1).
const CNAME: u8 = 1;
/// Blocks of an extended report (RFC 3611 section 4).
const REFERENCE_TIME: u8 = 4;
const DELAY_SINCE: u8 = 5;
const VOIP_METRICS: u8 = 7;

const HEADER: usize = 4;
const SSRC: usize = 4;
const SENDER: usize = 20;
const BLOCK: usize = 24;
const DELAY_BLOCK: usize = 12;
/// Words of a VoIP metrics block behind its header (RFC 3611 section 4.7).
const VOIP: usize = 32;
/// Sources that one packet can name: five bits.
const SOURCES_MOST: usize = 31;

/// Whether a datagram on a port shared with RTP is RTCP (RFC 5761 section 4): RTP's payload types 64 to 95 are not used.
pub fn is_rtcp(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER + SSRC && datagram[0] >> 6 == 2 && (192..=223).contains(&datagram[1])
}

/// What a sender says of itself (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Seconds since 1900 and their fractions, 32 bits each.
    pub ntp: u64,
    pub timestamp: u32,
    pub packets: u32,
    pub octets: u32,
}

/// What a receiver says of one source (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    pub ssrc: u32,
    /// Of 256, since the report before.
    pub fraction_lost: u8,
    /// Of 24 bits; negative where more came than was expected.
    pub lost: i32,
    pub highest: u32,
    /// In units of the timestamp.
    pub jitter: u32,
    /// Middle of the NTP time in the last sender report that came, and how long ago that was, in 1/65536 s.
    pub last_report: u32,
    pub delay_since: u32,
}

/// VoIP metrics (RFC 3611 section 4.7), as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Voip {
    pub ssrc: u32,
    /// Of 256: lost on the way; thrown away by the jitter buffer.
    pub loss: u8,
    pub discard: u8,
    /// Of 256: share missing within bursts, and between them.
    pub burst_density: u8,
    pub gap_density: u8,
    pub burst_ms: u16,
    pub gap_ms: u16,
    pub round_trip_ms: u16,
    /// Delay that this end adds.
    pub end_delay_ms: u16,
    /// 0 to 100; 127 is "not known", as for both MOS.
    pub r_factor: u8,
    /// Tenths.
    pub mos_lq: u8,
    pub mos_cq: u8,
    pub buffer_ms: u16,
    pub buffer_most_ms: u16,
}

/// Not measured, in an octet of VoIP metrics (RFC 3611 section 4.7.4).
pub const UNKNOWN: u8 = 127;

/// One thing that a compound packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    Sender {
        ssrc: u32,
        sent: Sent,
    },
    Receiver {
        ssrc: u32,
    },
    /// Follows the report that it stood in.
    Block(Block),
    /// The owner's name, not yet looked at: any octets.
    Name {
        ssrc: u32,
        cname: &'a [u8],
    },
    /// "I go." Of whom nobody knows whether it is he: never a command.
    Bye {
        ssrc: u32,
    },
    /// Somebody wants to know when we heard this (RFC 3611 section 4.4).
    ReferenceTime {
        ssrc: u32,
        ntp: u64,
    },
    /// The answer to that, where it concerns `ssrc` (RFC 3611 section 4.5).
    DelaySince {
        ssrc: u32,
        last: u32,
        delay: u32,
    },
    Voip(Voip),
}

/// Tells `each` all that a compound packet says. False if it is no RTCP or a length in it is wrong; then nothing is told.
/// Packets that we do not know are passed over (RFC 3550 section 6.1), and so is the order that it wants: nothing that
/// stands here is obeyed, so a lone report does no harm (RFC 5506).
pub fn read<'a>(datagram: &'a [u8], mut each: impl FnMut(Part<'a>)) -> bool {
    let mut nothing = |_| {};
    let whole = !datagram.is_empty() && packets(datagram, |packet| packet.read(&mut nothing).is_some());
    whole && packets(datagram, |packet| packet.read(&mut each).is_some())
}

struct Packet<'a> {
    count: usize,
    kind: u8,
    body: &'a [u8],
}

/// RFC 3550 appendix A.2: version 2 throughout, lengths that end where the datagram ends, padding in the last alone.
fn packets<'a>(mut rest: &'a [u8], mut each: impl FnMut(Packet<'a>) -> bool) -> bool {
    while let Some((head, behind)) = rest.split_first_chunk::<HEADER>() {
        let length = 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
        let Some((body, next)) = behind.split_at_checked(length) else { return false };
        let body = match (head[0] & 0x20 != 0, next.is_empty()) {
            (false, _) => Some(body),
            (true, true) => without_padding(body),
            (true, false) => None,
        };
        let Some(body) = body.filter(|_| head[0] >> 6 == 2) else { return false };
        if !each(Packet { count: usize::from(head[0] & 0x1f), kind: head[1], body }) {
            return false;
        }
        rest = next;
    }
    rest.is_empty()
}

fn without_padding(body: &[u8]) -> Option<&[u8]> {
    let padding = usize::from(*body.last()?);
    let fits = padding > 0 && padding.is_multiple_of(4);
    body.get(..body.len().checked_sub(padding)?).filter(|_| fits)
}

impl<'a> Packet<'a> {
    fn read(&self, each: &mut impl FnMut(Part<'a>)) -> Option<()> {
        match self.kind {
            SENDER_REPORT => {
                let (ssrc, rest) = word(self.body)?;
                let (sent, rest) = rest.split_first_chunk::<SENDER>()?;
                each(Part::Sender { ssrc, sent: Sent::read(sent) });
                blocks(rest, self.count, each)
            }
            RECEIVER_REPORT => {
                let (ssrc, rest) = word(self.body)?;
                each(Part::Receiver { ssrc });
                blocks(rest, self.count, each)
            }
            DESCRIPTION => names(self.body, self.count, each),
            BYE => {
                let sources = self.body.get(..SSRC * self.count)?;
                sources.as_chunks().0.iter().for_each(|ssrc| each(Part::Bye { ssrc: u32::from_be_bytes(*ssrc) }));
                Some(())
            }
            EXTENDED_REPORT => {
                let (ssrc, rest) = word(self.body)?;
                extended(ssrc, rest, each)
            }
            _ => Some(()),
        }
    }
}

fn word(octets: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = octets.split_first_chunk()?;
    Some((u32::from_be_bytes(*word), rest))
}

/// The word at a place that is there.
fn at(octets: &[u8], place: usize) -> u32 {
    octets[4 * place..].first_chunk().map_or(0, |word| u32::from_be_bytes(*word))
}

fn blocks<'a>(rest: &[u8], count: usize, each: &mut impl FnMut(Part<'a>)) -> Option<()> {
    let blocks = rest.get(..BLOCK * count)?;
    blocks.as_chunks::<BLOCK>().0.iter().for_each(|block| each(Part::Block(Block::read(block))));
    Some(())
}

/// Chunks of a source and its items; each chunk ends with a zero and goes on at a whole word (RFC 3550 section 6.5).
fn names<'a>(mut rest: &'a [u8], count: usize, each: &mut impl FnMut(Part<'a>)) -> Option<()> {
    for _ in 0..count {
        let (ssrc, items) = word(rest)?;
        let mut used = 0;
        loop {
            match *items.get(used)? {
                0 => break,
                kind => {
                    let length = usize::from(*items.get(used + 1)?);
                    let text = items.get(used + 2..used + 2 + length)?;
                    if kind == CNAME {
                        each(Part::Name { ssrc, cname: text });
                    }
                    used += 2 + length;
                }
            }
        }
        rest = items.get((used + 1).next_multiple_of(4)..)?;
    }
    Some(())
}

fn extended<'a>(ssrc: u32, mut rest: &[u8], each: &mut impl FnMut(Part<'a>)) -> Option<()> {
    while !rest.is_empty() {
        let (head, behind) = rest.split_first_chunk::<HEADER>()?;
        let length = 4 * usize::from(u16::from_be_bytes([head[2], head[3]]));
        let (body, next) = behind.split_at_checked(length)?;
        match head[0] {
            REFERENCE_TIME if length == 8 => {
                each(Part::ReferenceTime { ssrc, ntp: u64::from(at(body, 0)) << 32 | u64::from(at(body, 1)) });
            }
            DELAY_SINCE => body.as_chunks::<DELAY_BLOCK>().0.iter().for_each(|block| {
                each(Part::DelaySince { ssrc: at(block, 0), last: at(block, 1), delay: at(block, 2) });
            }),
            VOIP_METRICS if length == VOIP => each(Part::Voip(Voip::read(body))),
            _ => {}
        }
        rest = next;
    }
    Some(())
}

impl Sent {
    fn read(octets: &[u8; SENDER]) -> Sent {
        Sent {
            ntp: u64::from(at(octets, 0)) << 32 | u64::from(at(octets, 1)),
            timestamp: at(octets, 2),
            packets: at(octets, 3),
            octets: at(octets, 4),
        }
    }

    fn write(&self, to: &mut Writer<'_>) {
        to.words(&[(self.ntp >> 32) as u32, self.ntp as u32, self.timestamp, self.packets, self.octets]);
    }
}

impl Block {
    /// What 24 bits hold.
    const LOST: std::ops::RangeInclusive<i32> = -0x80_0000..=0x7f_ffff;

    fn read(octets: &[u8; BLOCK]) -> Block {
        let loss = at(octets, 1);
        Block {
            ssrc: at(octets, 0),
            fraction_lost: (loss >> 24) as u8,
            lost: ((loss << 8) as i32) >> 8,
            highest: at(octets, 2),
            jitter: at(octets, 3),
            last_report: at(octets, 4),
            delay_since: at(octets, 5),
        }
    }

    fn write(&self, to: &mut Writer<'_>) {
        let lost = self.lost.clamp(*Block::LOST.start(), *Block::LOST.end()) as u32 & 0xff_ffff;
        let loss = u32::from(self.fraction_lost) << 24 | lost;
        to.words(&[self.ssrc, loss, self.highest, self.jitter, self.last_report, self.delay_since]);
    }
}

impl Voip {
    /// Packets in a row that end a burst (RFC 3611 section 4.7.2), 16 as it recommends.
    pub const GAP_LEAST: u8 = 16;
    /// Concealment "standard", jitter buffer "adaptive", its rate of change not told (RFC 3611 section 4.7.6).
    const SETTINGS: u8 = 0b1111_0000;

    fn read(octets: &[u8]) -> Voip {
        let short = |place: usize| u16::from_be_bytes([octets[place], octets[place + 1]]);
        Voip {
            ssrc: at(octets, 0),
            loss: octets[4],
            discard: octets[5],
            burst_density: octets[6],
            gap_density: octets[7],
            burst_ms: short(8),
            gap_ms: short(10),
            round_trip_ms: short(12),
            end_delay_ms: short(14),
            r_factor: octets[20],
            mos_lq: octets[22],
            mos_cq: octets[23],
            buffer_ms: short(26),
            buffer_most_ms: short(28),
        }
    }

    fn write(&self, to: &mut Writer<'_>) {
        let pair = |high: u16, low: u16| u32::from(high) << 16 | u32::from(low);
        to.words(&[
            self.ssrc,
            u32::from_be_bytes([self.loss, self.discard, self.burst_density, self.gap_density]),
            pair(self.burst_ms, self.gap_ms),
            pair(self.round_trip_ms, self.end_delay_ms),
            // Signal and noise levels, echo loss: not measured.
            u32::from_be_bytes([UNKNOWN, UNKNOWN, UNKNOWN, Voip::GAP_LEAST]),
            u32::from_be_bytes([self.r_factor, UNKNOWN, self.mos_lq, self.mos_cq]),
            u32::from_be_bytes([Voip::SETTINGS, 0, 0, 0]) | u32::from(self.buffer_ms),
            pair(self.buffer_most_ms, self.buffer_most_ms),
        ]);
    }
}

/// A compound packet on its way, in memory that is there already.
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    length: usize,
    /// Something did not fit.
    short: bool,
}

impl<'a> Writer<'a> {
    pub fn new(buffer: &'a mut [u8]) -> Writer<'a> {
        Writer { buffer, length: 0, short: false }
    }

    /// Octets of the whole; `None` if they did not fit.
    pub fn finish(self) -> Option<usize> {
        (!self.short).then_some(self.length)
    }

    /// The report that a compound packet begins with: of a sender, if there is something `sent` (RFC 3550 section 6.4).
    pub fn report(&mut self, ssrc: u32, sent: Option<&Sent>, block: Option<&Block>) {
        let kind = if sent.is_some() { SENDER_REPORT } else { RECEIVER_REPORT };
        self.packet(kind, usize::from(block.is_some()), |to| {
            to.words(&[ssrc]);
            sent.into_iter().for_each(|sent| sent.write(to));
            block.into_iter().for_each(|block| block.write(to));
        });
    }

    /// The one item that every compound packet must have. A name longer than 255 octets is cut.
    pub fn name(&mut self, ssrc: u32, cname: &[u8]) {
        let cname = &cname[..cname.len().min(255)];
        self.packet(DESCRIPTION, 1, |to| {
            to.words(&[ssrc]);
            to.octets(&[CNAME, cname.len() as u8]);
            to.octets(cname);
            let used = 2 + cname.len();
            to.octets(&[0; 4][..(used + 1).next_multiple_of(4) - used]);
        });
    }

    pub fn bye(&mut self, ssrc: u32) {
        self.packet(BYE, 1, |to| to.words(&[ssrc]));
    }

    pub fn reference_time(&mut self, ssrc: u32, ntp: u64) {
        self.extended(ssrc, REFERENCE_TIME, |to| to.words(&[(ntp >> 32) as u32, ntp as u32]));
    }

    pub fn delay_since(&mut self, ssrc: u32, of: u32, last: u32, delay: u32) {
        self.extended(ssrc, DELAY_SINCE, |to| to.words(&[of, last, delay]));
    }

    pub fn voip(&mut self, ssrc: u32, voip: &Voip) {
        self.extended(ssrc, VOIP_METRICS, |to| voip.write(to));
    }

    fn extended(&mut self, ssrc: u32, kind: u8, body: impl FnOnce(&mut Writer<'a>)) {
        self.packet(EXTENDED_REPORT, 0, |to| {
            to.words(&[ssrc]);
            to.lengthened([kind, 0], body);
        });
    }

    fn packet(&mut self, kind: u8, count: usize, body: impl FnOnce(&mut Writer<'a>)) {
        self.lengthened([2 << 6 | count.min(SOURCES_MOST) as u8, kind], body);
    }

    /// A header of two octets, the words behind it counted in two more, and those words.
    fn lengthened(&mut self, head: [u8; 2], body: impl FnOnce(&mut Writer<'a>)) {
        let start = self.length;
        self.octets(&[head[0], head[1], 0, 0]);
        body(self);
        if !self.short {
            let words = (self.length - start) / 4 - 1;
            self.buffer[start + 2..start + 4].copy_from_slice(&(words as u16).to_be_bytes());
        }
    }

    fn words(&mut self, words: &[u32]) {
        words.iter().for_each(|word| self.octets(&word.to_be_bytes()));
    }

    fn octets(&mut self, octets: &[u8]) {
        match self.buffer.get_mut(self.length..self.length + octets.len()) {
            Some(room) => {
                room.copy_from_slice(octets);
                self.length += octets.len();
            }
            None => self.short = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told(datagram: &[u8]) -> Option<Vec<Part<'_>>> {
        let mut parts = Vec::new();
        read(datagram, |part| parts.push(part)).then_some(parts)
    }

    const BLOCK_OF_ONE: Block = Block {
        ssrc: 7,
        fraction_lost: 64,
        lost: -3,
        highest: 0x1_0005,
        jitter: 40,
        last_report: 0xaabb_ccdd,
        delay_since: 65_536,
    };

    const METRICS: Voip = Voip {
        ssrc: 7,
        loss: 1,
        discard: 2,
        burst_density: 3,
        gap_density: 4,
        burst_ms: 500,
        gap_ms: 60_000,
        round_trip_ms: 80,
        end_delay_ms: 60,
        r_factor: 88,
        mos_lq: 42,
        mos_cq: 41,
        buffer_ms: 40,
        buffer_most_ms: 150,
    };

    fn whole(buffer: &mut [u8; 512]) -> usize {
        let mut to = Writer::new(buffer);
        let sent = Sent { ntp: 0x1122_3344_5566_7788, timestamp: 9, packets: 10, octets: 1_600 };
        to.report(5, Some(&sent), Some(&BLOCK_OF_ONE));
        to.name(5, b"abc@example");
        to.voip(5, &METRICS);
        to.reference_time(5, 0x99);
        to.delay_since(5, 7, 1, 2);
        to.bye(5);
        to.finish().unwrap()
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut buffer = [0; 512];
        let length = whole(&mut buffer);
        let sent = Sent { ntp: 0x1122_3344_5566_7788, timestamp: 9, packets: 10, octets: 1_600 };
        assert_eq!(
            told(&buffer[..length]).unwrap(),
            [
                Part::Sender { ssrc: 5, sent },
                Part::Block(BLOCK_OF_ONE),
                Part::Name { ssrc: 5, cname: b"abc@example" },
                Part::Voip(METRICS),
                Part::ReferenceTime { ssrc: 5, ntp: 0x99 },
                Part::DelaySince { ssrc: 7, last: 1, delay: 2 },
                Part::Bye { ssrc: 5 },
            ]
        );
        assert!(is_rtcp(&buffer[..length]));
        for room in 0..length {
            let mut small = vec![0; room];
            let mut to = Writer::new(&mut small);
            to.name(5, &[b'x'; 300]);
            to.report(5, Some(&sent), Some(&BLOCK_OF_ONE));
            assert_eq!(to.finish(), None, "{room}");
        }
    }

    /// Octets put together by hand after the figures of RFC 3550 section 6 and RFC 3611 section 4.
    #[test]
    fn shapes_and_bounds() {
        let table: &[(&str, &[u8], Option<usize>)] = &[
            ("nothing", &[], None),
            ("a receiver report without blocks", &[0x80, 201, 0, 1, 0, 0, 0, 5], Some(1)),
            ("version 1", &[0x40, 201, 0, 1, 0, 0, 0, 5], None),
            ("one word more than there is", &[0x80, 201, 0, 2, 0, 0, 0, 5], None),
            ("an octet over", &[0x80, 201, 0, 1, 0, 0, 0, 5, 0], None),
            ("a count without its blocks", &[0x81, 201, 0, 1, 0, 0, 0, 5], None),
            ("no room for an SSRC", &[0x80, 201, 0, 0], None),
            ("a lone goodbye", &[0x81, 203, 0, 1, 0, 0, 0, 5], Some(1)),
            ("a goodbye of nobody", &[0x80, 203, 0, 0], Some(0)),
            ("a goodbye of two, of whom one is there", &[0x82, 203, 0, 1, 0, 0, 0, 5], None),
            ("a goodbye with a reason", &[0x81, 203, 0, 2, 0, 0, 0, 5, 3, b'b', b'y', b'e'], Some(1)),
            ("an unknown packet", &[0x80, 210, 0, 1, 1, 2, 3, 4], Some(0)),
            ("padding", &[0xa0, 201, 0, 2, 0, 0, 0, 5, 0, 0, 0, 4], Some(1)),
            ("padding of everything", &[0xa0, 201, 0, 2, 0, 0, 0, 5, 0, 0, 0, 8], None),
            ("padding beyond", &[0xa0, 201, 0, 2, 0, 0, 0, 5, 0, 0, 0, 12], None),
            ("padding of no whole word", &[0xa0, 201, 0, 2, 0, 0, 0, 5, 0, 0, 0, 3], None),
            ("padding in the middle", &[0xa0, 210, 0, 1, 0, 0, 0, 4, 0x80, 201, 0, 1, 0, 0, 0, 5], None),
            ("a name", &[0x81, 202, 0, 3, 0, 0, 0, 5, 1, 2, b'a', b'b', 0, 0, 0, 0], Some(1)),
            ("a name without end", &[0x81, 202, 0, 2, 0, 0, 0, 5, 1, 2, b'a', b'b'], None),
            ("a name beyond", &[0x81, 202, 0, 2, 0, 0, 0, 5, 1, 3, b'a', b'b'], None),
            ("an item that is no name", &[0x81, 202, 0, 2, 0, 0, 0, 5, 8, 1, b'a', 0], Some(0)),
            ("an extended report", &[0x80, 207, 0, 4, 0, 0, 0, 5, 4, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2], Some(1)),
            ("an unknown block", &[0x80, 207, 0, 2, 0, 0, 0, 5, 99, 0, 0, 0], Some(0)),
            ("a block beyond", &[0x80, 207, 0, 2, 0, 0, 0, 5, 4, 0, 0, 2], None),
            ("metrics too short", &[0x80, 207, 0, 2, 0, 0, 0, 5, 7, 0, 0, 0], Some(0)),
        ];
        for (name, datagram, expected) in table {
            assert_eq!(told(datagram).map(|parts| parts.len()), *expected, "{name}");
        }
    }

    #[test]
    fn on_a_shared_port_each_is_known() {
        let mut datagram = [0x80, 0, 0, 1, 0, 0, 0, 5];
        for (second, expected) in [(0, false), (8, false), (101, false), (0x80 | 101, false), (0x80 | 8, false)]
            .into_iter()
            .chain((192..=223).map(|kind| (kind, true)))
        {
            datagram[1] = second;
            assert_eq!(is_rtcp(&datagram), expected, "{second}");
        }
        assert!(!is_rtcp(&datagram[..7]));
    }

    proptest! {
        #[test]
        fn noise_is_read_within_its_bounds(noise in prop::collection::vec(any::<u8>(), 0..200)) {
            read(&noise, |_| {});
        }

        /// Whole packets with one octet changed: read or not, nothing worse.
        #[test]
        fn one_wrong_octet_does_no_harm(place in 0usize..200, octet: u8, cut in 0usize..200) {
            let mut buffer = [0; 512];
            let length = whole(&mut buffer);
            buffer[place % length] = octet;
            read(&buffer[..length], |_| {});
            read(&buffer[..cut.min(length)], |_| {});
        }

        #[test]
        fn blocks_keep_their_24_bits(lost: i32, fraction_lost: u8, highest: u32) {
            let block = Block { lost, fraction_lost, highest, ..BLOCK_OF_ONE };
            let mut buffer = [0; 64];
            let mut to = Writer::new(&mut buffer);
            to.report(1, None, Some(&block));
            let length = to.finish().unwrap();
            let expected = Block { lost: lost.clamp(-0x80_0000, 0x7f_ffff), ..block };
            prop_assert_eq!(told(&buffer[..length]).unwrap()[1], Part::Block(expected));
        }
    }
}
