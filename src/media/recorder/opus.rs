//! A recording as Opus: ticks into packets of 20 ms, packets into Ogg.

use super::ogg::{GRANULES_A_MS, Ogg, PRE_SKIP};
use super::tap::TICK_MOST;
use crate::media::codec::{Encoder, Rate, Settings};
use crate::media::{Codec, TICK_MS};
use std::io::{self, Write};

const GRANULES_A_TICK: u64 = GRANULES_A_MS * TICK_MS;
/// RFC 7845 section 4: a page should not hold more than a second, or there is none to jump to.
const PAGE_TICKS: u64 = 50;
/// After so much silence in a row the encoder has nothing of the sound before it left, and all packets are alike: the
/// last one is repeated. An hour of silence before a late comer costs some milliseconds then, not minutes.
const SETTLED_TICKS: u32 = 25;
/// RFC 6716 section 3.2.5: no packet of one frame is longer.
const PACKET_MOST: usize = 1_276;
/// Section 3.1: 20 ms of full-band CELT, and no frame: a decoder goes on as if it were lost. For an encoder that failed.
const NOTHING: u8 = 31 << 3;
/// 24 kbit/s are good speech of every rate; above 16 kHz some more for the music that is played.
const fn settings(rate: Rate) -> Settings {
    let bitrate = match rate {
        Rate::Narrow => 16_000,
        Rate::Wide => 24_000,
        Rate::SuperWide | Rate::Full => 32_000,
    };
    Settings { bitrate, fec: false, loss_percent: 0, dtx: false, complexity: 5 }
}

/// One file. After an error it is only good for [`Opus::into_inner`].
pub(super) struct Opus<W> {
    ogg: Ogg<W>,
    encoder: Encoder,
    rate: Rate,
    /// Packets made, and those of whole pages.
    ticks: u64,
    paged: u64,
    quiet: u32,
    packet: [u8; PACKET_MOST],
    length: usize,
}

impl<W: Write> Opus<W> {
    pub fn new(out: W, rate: Rate, serial: u32) -> io::Result<Opus<W>> {
        let ogg = Ogg::new(out, serial, rate)?;
        let encoder = Encoder::new(Codec::Opus, rate, settings(rate));
        Ok(Opus { ogg, encoder, rate, ticks: 0, paged: 0, quiet: 0, packet: [NOTHING; PACKET_MOST], length: 1 })
    }

    /// Ticks so far, written or not.
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Milliseconds and octets that are surely in the file, if it ends here.
    pub fn kept(&self) -> (u64, u64) {
        let granules = (self.paged * GRANULES_A_TICK).saturating_sub(PRE_SKIP.into());
        (granules / GRANULES_A_MS, self.ogg.octets())
    }

    /// A whole tick.
    pub fn sound(&mut self, samples: &[i16]) -> io::Result<()> {
        self.quiet = 0;
        self.code(samples);
        self.keep()
    }

    pub fn silence(&mut self, ticks: u64) -> io::Result<()> {
        let silence = [0; TICK_MOST];
        for _ in 0..ticks {
            if self.quiet < SETTLED_TICKS {
                self.quiet += 1;
                self.code(&silence[..self.rate.samples(TICK_MS as usize)]);
            }
            self.keep()?;
        }
        Ok(())
    }

    pub fn flush(&mut self) -> io::Result<()> {
        if self.paged < self.ticks {
            self.ogg.page(false)?;
            self.paged = self.ticks;
        }
        Ok(())
    }

    /// The end. What the encoder still holds back comes in one packet more, of which only that is heard.
    pub fn finish(&mut self) -> io::Result<()> {
        let ticks = self.ticks;
        self.silence(1)?;
        self.ticks = ticks;
        self.ogg.trim(u64::from(PRE_SKIP) + ticks * GRANULES_A_TICK);
        self.ogg.page(true)
    }

    pub fn into_inner(self) -> W {
        self.ogg.into_inner()
    }

    fn code(&mut self, samples: &[i16]) {
        self.length = self.encoder.encode(samples, &mut self.packet);
        if self.length == 0 {
            (self.packet[0], self.length) = (NOTHING, 1);
        }
    }

    fn keep(&mut self) -> io::Result<()> {
        if self.ticks - self.paged >= PAGE_TICKS || !self.ogg.fits(self.length) {
            self.flush()?;
        }
        self.ticks += 1;
        self.ogg.packet(&self.packet[..self.length], self.ticks * GRANULES_A_TICK);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ogg::reader;
    use super::*;
    use crate::media::codec::Decoder;

    /// What a player hears: all packets decoded, the start skipped, the end cut where the last page says.
    fn play(file: &[u8]) -> Vec<i16> {
        let read = reader::read(file);
        let mut decoder = Decoder::new(Codec::Opus, Rate::Full);
        let mut heard = Vec::new();
        for packet in &read.packets {
            let mut sound = [0; TICK_MOST];
            let count = decoder.decode(packet, &mut sound).unwrap();
            heard.extend(&sound[..count]);
        }
        heard.truncate(*read.granules.last().unwrap() as usize);
        heard.split_off(PRE_SKIP.into())
    }

    fn tone(rate: Rate, tick: usize) -> Vec<i16> {
        let step = std::f32::consts::TAU * 440.0 / rate.hz() as f32;
        let size = rate.samples(20);
        (tick * size..(tick + 1) * size).map(|i| ((i as f32 * step).sin() * 8_000.0) as i16).collect()
    }

    #[test]
    fn a_file_is_as_long_as_its_ticks_and_in_step_with_them() {
        for rate in Rate::ALL {
            let mut opus = Opus::new(Vec::new(), rate, 1).unwrap();
            opus.silence(40).unwrap();
            (0..20).for_each(|tick| opus.sound(&tone(rate, tick)).unwrap());
            opus.silence(61).unwrap();
            opus.finish().unwrap();
            let file = opus.into_inner();
            assert!(reader::read(&file).is_ended);
            let heard = play(&file);
            assert_eq!(heard.len(), 121 * 960);
            let loud = |range: std::ops::Range<usize>| {
                let part = &heard[range.start * 48..range.end * 48];
                part.iter().map(|sample| i64::from(*sample).pow(2)).sum::<i64>() / part.len() as i64
            };
            let full = 8_000i64.pow(2) / 2;
            assert!(loud(0..790) < full / 1_000, "{rate:?}: silence before it");
            assert!(loud(805..1_195) > full / 2, "{rate:?}: the tone");
            assert!(loud(1_210..2_420) < full / 300, "{rate:?}: silence behind it");
        }
    }

    #[test]
    fn a_crash_leaves_whole_seconds() {
        let mut opus = Opus::new(Vec::new(), Rate::Wide, 1).unwrap();
        (0..149).for_each(|tick| opus.sound(&tone(Rate::Wide, tick)).unwrap());
        assert_eq!(opus.kept().0, 2_000 - 7);
        let file = opus.into_inner();
        assert!(!reader::read(&file).is_ended);
        assert_eq!(play(&file).len(), 2_000 * 48 - usize::from(PRE_SKIP));
    }

    #[test]
    fn a_long_silence_is_cheap_and_exact() {
        let mut opus = Opus::new(Vec::new(), Rate::Full, 1).unwrap();
        opus.silence(50 * 3_600).unwrap();
        opus.finish().unwrap();
        let read = reader::read(&opus.into_inner());
        assert_eq!(read.granules.last(), Some(&(3_600 * 48_000 + u64::from(PRE_SKIP))));
    }

    #[test]
    fn nothing_at_all_is_a_file_too() {
        let mut opus = Opus::new(Vec::new(), Rate::Narrow, 1).unwrap();
        opus.finish().unwrap();
        assert_eq!(play(&opus.into_inner()).len(), 0);
    }
}
