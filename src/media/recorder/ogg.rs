//! Opus in Ogg (RFC 3533, RFC 7845): packets into pages.
//!
//! A page is written in one piece, and a second of sound is a page: a crash leaves a file that plays to its last second.

use crate::media::codec::Rate;
use std::io::{self, Write};

/// The clock of granule positions, whatever the rate of the sound (RFC 7845 section 4).
pub(super) const GRANULES_A_MS: u64 = 48;
/// RFC 7845 section 4.2: what the decoder throws away at the start. The encoder looks ahead 6.5 ms (2.5 of the transform,
/// 4 to bring its two coders in step).
pub(super) const PRE_SKIP: u16 = 312;
/// RFC 3533 section 6: a page has so many pieces of a packet.
const SEGMENTS_MOST: usize = 255;
const SEGMENT: usize = 255;
/// Section 6, octet 6: the flags of a page.
const FIRST_PAGE: u8 = 2;
const LAST_PAGE: u8 = 4;

/// One logical stream, and no other.
pub(super) struct Ogg<W> {
    out: W,
    serial: u32,
    pages: u32,
    lacing: Vec<u8>,
    body: Vec<u8>,
    /// Samples at 48 kHz to the end of the last packet of this page.
    granule: u64,
    octets: u64,
}

impl<W: Write> Ogg<W> {
    /// Writes the two pages that come before all sound (RFC 7845 section 3).
    pub fn new(out: W, serial: u32, rate: Rate) -> io::Result<Ogg<W>> {
        let (lacing, body) = (Vec::new(), Vec::new());
        let mut ogg = Ogg { out, serial, pages: 0, lacing, body, granule: 0, octets: 0 };
        for packet in [head(rate), tags()] {
            ogg.add(&packet);
            ogg.page(false)?;
        }
        Ok(ogg)
    }

    /// Whether a packet of this length fits the page.
    pub fn fits(&self, octets: usize) -> bool {
        self.lacing.len() + octets / SEGMENT < SEGMENTS_MOST
    }

    /// A packet into the page, where it [`fits`](Ogg::fits). `granule`: samples at 48 kHz to its end.
    pub fn packet(&mut self, packet: &[u8], granule: u64) {
        self.add(packet);
        self.granule = granule;
    }

    /// Writes the page. The last one of the stream says so, and may say that some of its end is not to be heard
    /// (RFC 7845 section 4.4: `granule` less than its packets hold).
    pub fn page(&mut self, is_last: bool) -> io::Result<()> {
        let first = if self.pages == 0 { FIRST_PAGE } else { 0 };
        let flags = first | if is_last { LAST_PAGE } else { 0 };
        let mut page = Vec::with_capacity(27 + self.lacing.len() + self.body.len());
        page.extend(b"OggS\0");
        page.push(flags);
        page.extend(self.granule.to_le_bytes());
        page.extend(self.serial.to_le_bytes());
        page.extend(self.pages.to_le_bytes());
        page.extend([0; 4]);
        page.push(self.lacing.len() as u8);
        page.append(&mut self.lacing);
        page.append(&mut self.body);
        let crc = crc(&page);
        page[22..26].copy_from_slice(&crc.to_le_bytes());
        self.out.write_all(&page)?;
        self.pages += 1;
        self.octets += page.len() as u64;
        Ok(())
    }

    /// The last packet so far lasts only to here.
    pub fn trim(&mut self, granule: u64) {
        self.granule = granule;
    }

    /// Octets of whole pages in the file.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    pub fn into_inner(self) -> W {
        self.out
    }

    /// A piece shorter than 255 octets ends a packet, be it empty.
    fn add(&mut self, packet: &[u8]) {
        self.lacing.resize(self.lacing.len() + packet.len() / SEGMENT, SEGMENT as u8);
        self.lacing.push((packet.len() % SEGMENT) as u8);
        self.body.extend(packet);
    }
}

/// RFC 7845 section 5.1.
fn head(rate: Rate) -> Vec<u8> {
    let (version, channels, gain, mapping) = (1, 1, 0i16, 0);
    let mut head = b"OpusHead".to_vec();
    head.extend([version, channels]);
    head.extend(PRE_SKIP.to_le_bytes());
    head.extend(rate.hz().to_le_bytes());
    head.extend(gain.to_le_bytes());
    head.push(mapping);
    head
}

/// Section 5.2: who made it, and no comment.
fn tags() -> Vec<u8> {
    let vendor = concat!("tollbridge ", env!("CARGO_PKG_VERSION"));
    let mut tags = b"OpusTags".to_vec();
    tags.extend((vendor.len() as u32).to_le_bytes());
    tags.extend(vendor.as_bytes());
    tags.extend(0u32.to_le_bytes());
    tags
}

/// RFC 3533 section 6, octets 22 to 25: the polynomial 0x04c11db7 from the highest bit down, from 0, nothing turned over.
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let mut rest = (octet as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            rest = rest << 1 ^ if rest >> 31 == 1 { 0x04c1_1db7 } else { 0 };
            bit += 1;
        }
        table[octet] = rest;
        octet += 1;
    }
    table
};

fn crc(octets: &[u8]) -> u32 {
    octets.iter().fold(0, |rest, octet| rest << 8 ^ TABLE[((rest >> 24) as u8 ^ octet) as usize])
}

/// A reader of its own, for tests of what is written.
#[cfg(test)]
pub(super) mod reader {
    use super::*;

    /// All whole packets behind the two heads, and the granule positions of their pages.
    pub struct Read {
        pub head: Vec<u8>,
        pub packets: Vec<Vec<u8>>,
        pub granules: Vec<u64>,
        pub is_ended: bool,
    }

    pub fn read(mut file: &[u8]) -> Read {
        let (mut packets, mut granules, mut is_ended) = (Vec::new(), Vec::new(), false);
        let mut packet = Vec::new();
        let number = |octets: &[u8]| octets.iter().rev().fold(0u64, |sum, octet| sum << 8 | u64::from(*octet));
        while file.len() >= 27 {
            assert_eq!(file[..5], *b"OggS\0");
            assert!(!is_ended);
            is_ended = file[5] & LAST_PAGE != 0;
            assert_eq!(file[5] & FIRST_PAGE != 0, granules.is_empty());
            assert_eq!(number(&file[18..22]), granules.len() as u64, "no page is missing");
            let lacing = &file[27..27 + usize::from(file[26])];
            let body = 27 + lacing.len();
            let end = body + lacing.iter().map(|size| usize::from(*size)).sum::<usize>();
            let mut page = file[..end].to_vec();
            page[22..26].fill(0);
            assert_eq!(u64::from(crc(&page)), number(&file[22..26]));
            granules.push(number(&file[6..14]));
            let mut at = body;
            for size in lacing {
                packet.extend(&file[at..at + usize::from(*size)]);
                at += usize::from(*size);
                if *size < 255 {
                    packets.push(std::mem::take(&mut packet));
                }
            }
            file = &file[end..];
        }
        let head = packets.remove(0);
        assert!(packets.remove(0).starts_with(b"OpusTags"));
        Read { head, packets, granules: granules.split_off(2), is_ended }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_of_ogg() {
        // Of the catalogue of such sums: this polynomial, from 0, unreflected, gives this for the usual nine digits.
        assert_eq!(crc(b"123456789"), 0x89a1_897f);
    }

    #[test]
    fn packets_of_all_lengths_are_read_back() {
        let mut ogg = Ogg::new(Vec::new(), 7, Rate::Wide).unwrap();
        let lengths = [0, 1, 254, 255, 256, 509, 510, 511, 1_275];
        let packets: Vec<Vec<u8>> = lengths.iter().cycle().take(900).map(|length| vec![3; *length]).collect();
        for (i, packet) in packets.iter().enumerate() {
            if !ogg.fits(packet.len()) {
                ogg.page(false).unwrap();
            }
            ogg.packet(packet, (i as u64 + 1) * 960);
        }
        ogg.trim(900 * 960 - 100);
        ogg.page(true).unwrap();
        assert_eq!(ogg.octets(), ogg.out.len() as u64);
        let read = reader::read(&ogg.into_inner());
        assert_eq!(read.packets, packets);
        assert_eq!((read.granules.last(), read.is_ended), (Some(&(900 * 960 - 100)), true));
        assert!(read.granules.is_sorted());
        assert_eq!((&read.head[..8], &read.head[10..16]), (&b"OpusHead"[..], &[56, 1, 0x80, 0x3e, 0, 0][..]));
    }
}
