//! SRTP and SRTCP (RFC 3711, RFC 7714): packets made secret and opened again where they lie, without memory of their own.
//!
//! One [`Keying`] for each direction, as SDES tells it (RFC 4568): what we send goes through a [`Protector`], what comes
//! through an [`Opener`]. A packet is believed once its tag is right, and only then does anything here change: whoever
//! has no key can neither end a stream nor move its window. There is no way to switch the window off.

mod cipher;
mod index;

use cipher::{Cipher, Purpose};
use index::{Extended, Window};
use std::fmt;
use zeroize::Zeroize;

/// Octets that a packet grows by at most: the tag of SRTCP under AES-GCM, and its index.
pub const GROWTH_MOST: usize = 16 + WORD;
/// Sources that one opener follows; one more, and the one that was silent longest is forgotten. A peer has one, and
/// takes another when music comes in or somebody behind it is transferred.
const SOURCES: usize = 8;
/// E flag and index at the end of an SRTCP packet (RFC 3711 section 3.4).
const WORD: usize = 4;
const ENCRYPTED: u32 = 1 << 31;
/// Octets of RTCP that stay readable: the first header and its SSRC (RFC 3711 section 3.4).
const RTCP_CLEAR: usize = 8;
/// RTP's header without CSRC and extension.
const RTP_HEADER: usize = 12;
/// Numbers below this are tried as if the wrap of 16 bits just lay before them, while nothing has come yet: the packets
/// before the wrap may have been lost.
const EARLY_NUMBER: u16 = 0x1000;

/// How packets are made secret. The names are those of RFC 4568 section 6.2 and RFC 7714 section 14.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suite {
    Aes128CmSha1Tag80,
    /// A short tag on RTP alone; RTCP has the long one (RFC 4568 section 6.2.2).
    Aes128CmSha1Tag32,
    Aes128Gcm,
}

struct Row {
    suite: Suite,
    name: &'static str,
    salt: usize,
    rtp_tag: usize,
    rtcp_tag: usize,
}

const ROWS: [Row; 3] = [
    Row { suite: Suite::Aes128CmSha1Tag80, name: "AES_CM_128_HMAC_SHA1_80", salt: 14, rtp_tag: 10, rtcp_tag: 10 },
    Row { suite: Suite::Aes128CmSha1Tag32, name: "AES_CM_128_HMAC_SHA1_32", salt: 14, rtp_tag: 4, rtcp_tag: 10 },
    Row { suite: Suite::Aes128Gcm, name: "AEAD_AES_128_GCM", salt: 12, rtp_tag: 16, rtcp_tag: 16 },
];

impl Suite {
    pub const ALL: [Suite; 3] = [Suite::Aes128CmSha1Tag80, Suite::Aes128CmSha1Tag32, Suite::Aes128Gcm];

    const fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    pub const fn name(self) -> &'static str {
        self.row().name
    }

    pub fn named(name: &str) -> Option<Suite> {
        ROWS.iter().find(|row| row.name.eq_ignore_ascii_case(name)).map(|row| row.suite)
    }

    /// Octets of master key and master salt together.
    pub const fn keying_octets(self) -> usize {
        MASTER_KEY + self.row().salt
    }
}

/// Octets of a master key in every suite here.
const MASTER_KEY: usize = 16;
const KEYING_MOST: usize = MASTER_KEY + 14;

/// A master key and its salt. Never printed; wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Keying {
    suite: Suite,
    octets: [u8; KEYING_MOST],
}

impl Keying {
    /// `None` unless there are just as many octets as the suite wants.
    pub fn new(suite: Suite, octets: &[u8]) -> Option<Keying> {
        (octets.len() == suite.keying_octets()).then(|| {
            let mut keying = Keying { suite, octets: [0; KEYING_MOST] };
            keying.octets[..octets.len()].copy_from_slice(octets);
            keying
        })
    }

    /// A new one. The generator must have been seeded with at least 128 bits that nobody can guess.
    pub fn draw(suite: Suite, random: &mut impl rand::CryptoRng) -> Keying {
        let mut keying = Keying { suite, octets: [0; KEYING_MOST] };
        random.fill_bytes(&mut keying.octets[..suite.keying_octets()]);
        keying
    }

    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// For the line of SDP that tells it to the peer, and nothing else.
    pub fn octets(&self) -> &[u8] {
        &self.octets[..self.suite.keying_octets()]
    }

    fn master_key(&self) -> &[u8; MASTER_KEY] {
        self.octets.first_chunk().expect("the array is longer")
    }

    /// In 112 bits; a salt of 96 has zeros behind it (RFC 7714 section 11). Those are there: octets not used are zero.
    fn master_salt(&self) -> &[u8; 14] {
        self.octets.last_chunk().expect("the array is longer")
    }
}

impl Drop for Keying {
    fn drop(&mut self) {
        self.octets.zeroize();
    }
}

impl fmt::Debug for Keying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keying({})", self.suite.name())
    }
}

/// Why a packet is dropped. Nothing has changed but, for [`Bad::Forged`], that its octets may not be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Bad {
    #[error("too short, or not RTP or RTCP")]
    Malformed,
    #[error("its number came before, or is too old to tell")]
    Repeated,
    #[error("the tag is wrong")]
    Forged,
    #[error("the key has been used as often as it may be")]
    Spent,
    #[error("no room for the tag")]
    NoRoom,
    #[error("a key protects one source only")]
    OtherSource,
}

/// What goes out. Each number of each kind of packet is used once (RFC 3711 section 9.1: twice would tell both).
pub struct Protector {
    suite: Suite,
    rtp: Cipher,
    rtcp: Cipher,
    ssrc: Option<u32>,
    sent: Extended,
    /// The next index of SRTCP.
    report: u32,
}

impl Protector {
    pub fn new(keying: &Keying) -> Protector {
        Protector {
            suite: keying.suite,
            rtp: Cipher::new(keying, Purpose::Rtp),
            rtcp: Cipher::new(keying, Purpose::Rtcp),
            ssrc: None,
            sent: Extended::default(),
            report: 0,
        }
    }

    /// Protects the RTP packet in the first `length` octets; gives its new length, at most [`GROWTH_MOST`] more. Numbers
    /// may be left out, but do not go back.
    pub fn protect(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, Bad> {
        let head = Head::of(buffer.get(..length).ok_or(Bad::NoRoom)?).ok_or(Bad::Malformed)?;
        let tag = self.suite.row().rtp_tag;
        let packet = buffer.get_mut(..length + tag).ok_or(Bad::NoRoom)?;
        self.own(head.ssrc)?;
        let index = self.sent.guess(head.sequence).ok_or(Bad::Repeated)?;
        if self.sent.highest().is_some_and(|highest| index <= highest) {
            return Err(Bad::Repeated);
        }
        if index >= Extended::MOST {
            return Err(Bad::Spent);
        }

        self.sent.reach(index);
        self.rtp.seal(packet, head.length, tag, head.ssrc, index);
        Ok(length + tag)
    }

    /// Protects the compound RTCP packet in the first `length` octets; gives its new length.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, Bad> {
        let ssrc = rtcp_ssrc(buffer.get(..length).ok_or(Bad::NoRoom)?).ok_or(Bad::Malformed)?;
        let tag = self.suite.row().rtcp_tag;
        let packet = buffer.get_mut(..length + tag + WORD).ok_or(Bad::NoRoom)?;
        self.own(ssrc)?;
        if self.report >= ENCRYPTED {
            return Err(Bad::Spent);
        }

        self.rtcp.seal_rtcp(packet, length, tag, ssrc, self.report | ENCRYPTED);
        self.report += 1;
        Ok(length + tag + WORD)
    }

    fn own(&mut self, ssrc: u32) -> Result<(), Bad> {
        if *self.ssrc.get_or_insert(ssrc) == ssrc { Ok(()) } else { Err(Bad::OtherSource) }
    }
}

/// What came of one source so far.
#[derive(Clone, Copy, Default)]
struct Source {
    ssrc: u32,
    /// Moment of the last packet that was believed, counted in packets; zero if the place is free.
    used: u64,
    numbers: Extended,
    rtp: Window,
    rtcp: Window,
}

/// What comes in.
pub struct Opener {
    suite: Suite,
    rtp: Cipher,
    rtcp: Cipher,
    sources: [Source; SOURCES],
    believed: u64,
}

impl Opener {
    pub fn new(keying: &Keying) -> Opener {
        Opener {
            suite: keying.suite,
            rtp: Cipher::new(keying, Purpose::Rtp),
            rtcp: Cipher::new(keying, Purpose::Rtcp),
            sources: [Source::default(); SOURCES],
            believed: 0,
        }
    }

    /// Opens an SRTP packet where it lies; gives the length of the RTP packet.
    pub fn open(&mut self, packet: &mut [u8]) -> Result<usize, Bad> {
        let tag = self.suite.row().rtp_tag;
        let head = packet.len().checked_sub(tag).and_then(|end| Head::of(&packet[..end])).ok_or(Bad::Malformed)?;
        let known = self.find(head.ssrc);
        let index = match known {
            Some(place) => self.open_known(place, packet, &head, tag)?,
            None => self.open_first(packet, &head, tag)?,
        };

        let source = self.believe(known, head.ssrc);
        source.numbers.reach(index);
        source.rtp.take(index);
        Ok(packet.len() - tag)
    }

    fn open_known(&self, place: usize, packet: &mut [u8], head: &Head, tag: usize) -> Result<u64, Bad> {
        let source = &self.sources[place];
        // A source of which only reports came has no number yet.
        if source.numbers.highest().is_none() {
            return self.open_first(packet, head, tag);
        }
        let index = source.numbers.guess(head.sequence).ok_or(Bad::Repeated)?;
        // RFC 3711 section 3.3: before the tag, since it costs less.
        if !source.rtp.is_new(index) {
            return Err(Bad::Repeated);
        }
        self.rtp.open(packet, head.length, tag, head.ssrc, index).then_some(index).ok_or(Bad::Forged)
    }

    fn open_first(&self, packet: &mut [u8], head: &Head, tag: usize) -> Result<u64, Bad> {
        let index = u64::from(head.sequence);
        if self.rtp.open(packet, head.length, tag, head.ssrc, index) {
            return Ok(index);
        }
        let wrapped = index + (1 << 16);
        let may_be = head.sequence < EARLY_NUMBER && self.rtp.open(packet, head.length, tag, head.ssrc, wrapped);
        may_be.then_some(wrapped).ok_or(Bad::Forged)
    }

    /// Opens an SRTCP packet where it lies; gives the length of the compound RTCP packet.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Bad> {
        let tag = self.suite.row().rtcp_tag;
        let length = packet.len().checked_sub(tag + WORD).ok_or(Bad::Malformed)?;
        let ssrc = rtcp_ssrc(&packet[..length]).ok_or(Bad::Malformed)?;
        let known = self.find(ssrc);
        let word = self.rtcp.rtcp_word(packet, tag);
        let index = u64::from(word & !ENCRYPTED);
        if known.is_some_and(|place| !self.sources[place].rtcp.is_new(index)) {
            return Err(Bad::Repeated);
        }
        if !self.rtcp.open_rtcp(packet, length, tag, ssrc, word) {
            return Err(Bad::Forged);
        }

        self.believe(known, ssrc).rtcp.take(index);
        Ok(length)
    }

    fn find(&self, ssrc: u32) -> Option<usize> {
        self.sources.iter().position(|source| source.used > 0 && source.ssrc == ssrc)
    }

    /// The tag was right: a new source gets the place that was used the longest time ago.
    fn believe(&mut self, known: Option<usize>, ssrc: u32) -> &mut Source {
        let oldest = || (0..SOURCES).min_by_key(|place| self.sources[*place].used).unwrap_or(0);
        let place = known.unwrap_or_else(oldest);
        if known.is_none() {
            self.sources[place] = Source { ssrc, ..Source::default() };
        }
        self.believed += 1;
        self.sources[place].used = self.believed;
        &mut self.sources[place]
    }
}

macro_rules! hides_keys {
    ($name:ident) => {
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.suite.name())
            }
        }
    };
}
hides_keys!(Protector);
hides_keys!(Opener);

/// What is read of an RTP packet before its tag was checked.
#[derive(Clone, Copy)]
struct Head {
    sequence: u16,
    ssrc: u32,
    /// All that stays readable: header, CSRC, extension (RFC 3711 section 3.1).
    length: usize,
}

impl Head {
    fn of(packet: &[u8]) -> Option<Head> {
        let head = packet.first_chunk::<RTP_HEADER>().filter(|head| head[0] >> 6 == 2)?;
        let mut length = RTP_HEADER + 4 * usize::from(head[0] & 0x0f);
        if head[0] & 0x10 != 0 {
            let words = packet.get(length + 2..length + 4)?;
            length += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
        }
        let sequence = u16::from_be_bytes([head[2], head[3]]);
        let ssrc = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        (length <= packet.len()).then_some(Head { sequence, ssrc, length })
    }
}

fn rtcp_ssrc(packet: &[u8]) -> Option<u32> {
    let head = packet.first_chunk::<RTCP_CLEAR>().filter(|head| head[0] >> 6 == 2)?;
    Some(u32::from_be_bytes([head[4], head[5], head[6], head[7]]))
}

#[cfg(test)]
mod tests;
