//! A recording as plain samples: WAV, mono, 16 bit.
//!
//! After each flush the header says what is there, so that a crash leaves a file that plays to its last second.

use crate::media::codec::Rate;
use std::io::{self, Seek, SeekFrom, Write};

/// RIFF, format and the head of the data.
const HEADER: u64 = 44;
/// Lengths are of 32 bits, and the outer one counts the header too but for its first 8 octets.
pub(super) const DATA_MOST: u64 = u32::MAX as u64 - (HEADER - 8);
const OCTETS: u64 = 2;
/// Silence as long as this is not written but left out: a hole in the file, which takes no place on the disk.
const HOLE_MS: usize = 1_000;

/// One file. After an error it is only good for [`Wav::into_inner`].
pub(super) struct Wav<W> {
    out: W,
    rate: Rate,
    pending: Vec<u8>,
    /// Octets of sound that the header promises.
    data: u64,
    /// Octets of silence between them and `pending`.
    hole: u64,
}

impl<W: Write + Seek> Wav<W> {
    pub fn new(out: W, rate: Rate) -> io::Result<Wav<W>> {
        let mut wav = Wav { out, rate, pending: Vec::new(), data: 0, hole: 0 };
        wav.head()?;
        Ok(wav)
    }

    /// Samples so far, written or not.
    pub fn samples(&self) -> u64 {
        (self.data + self.hole + self.pending.len() as u64) / OCTETS
    }

    /// Samples and octets that are surely in the file.
    pub fn kept(&self) -> (u64, u64) {
        (self.data / OCTETS, HEADER + self.data)
    }

    pub fn sound(&mut self, samples: &[i16]) {
        self.pending.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    }

    pub fn silence(&mut self, samples: u64) -> io::Result<()> {
        if samples < self.rate.samples(HOLE_MS) as u64 {
            self.pending.resize(self.pending.len() + (samples * OCTETS) as usize, 0);
            return Ok(());
        }
        self.write_pending()?;
        self.hole += samples * OCTETS;
        Ok(())
    }

    /// All that is pending is written, and the header says so.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() && self.hole == 0 {
            return Ok(());
        }
        self.write_pending()?;
        if self.hole > 0 {
            // A file is as long as its last octet.
            self.out.seek(SeekFrom::Start(HEADER + self.data + self.hole - OCTETS))?;
            self.out.write_all(&[0; OCTETS as usize])?;
            self.data += self.hole;
            self.hole = 0;
        }
        self.head()
    }

    pub fn into_inner(self) -> W {
        self.out
    }

    fn write_pending(&mut self) -> io::Result<()> {
        if !self.pending.is_empty() {
            self.out.seek(SeekFrom::Start(HEADER + self.data + self.hole))?;
            self.out.write_all(&self.pending)?;
            self.data += self.hole + self.pending.len() as u64;
            self.hole = 0;
            self.pending.clear();
        }
        Ok(())
    }

    fn head(&mut self) -> io::Result<()> {
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header(self.rate, self.data))
    }
}

fn header(rate: Rate, data: u64) -> [u8; HEADER as usize] {
    let (data, hz) = (data as u32, rate.hz());
    let (pcm, channels, bits) = (1u16, 1u16, 16u16);
    let mut header = Vec::with_capacity(HEADER as usize);
    header.extend(b"RIFF");
    header.extend((data + (HEADER as u32 - 8)).to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend(16u32.to_le_bytes());
    header.extend(pcm.to_le_bytes());
    header.extend(channels.to_le_bytes());
    header.extend(hz.to_le_bytes());
    header.extend((hz * OCTETS as u32).to_le_bytes());
    header.extend((OCTETS as u16).to_le_bytes());
    header.extend(bits.to_le_bytes());
    header.extend(b"data");
    header.extend(data.to_le_bytes());
    header.try_into().expect("the parts of a header are of fixed sizes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn read(file: &[u8]) -> Vec<i16> {
        hound::WavReader::new(Cursor::new(file)).unwrap().samples::<i16>().map(Result::unwrap).collect()
    }

    #[test]
    fn every_rate_is_read_back_by_another_reader() {
        for rate in Rate::ALL {
            let mut wav = Wav::new(Cursor::new(Vec::new()), rate).unwrap();
            wav.sound(&[1, -2, i16::MIN]);
            wav.flush().unwrap();
            let file = wav.into_inner().into_inner();
            let spec = hound::WavReader::new(Cursor::new(&file)).unwrap().spec();
            assert_eq!((spec.sample_rate, spec.channels, spec.bits_per_sample), (rate.hz(), 1, 16));
            assert_eq!(read(&file), [1, -2, i16::MIN]);
        }
    }

    #[test]
    fn a_file_as_long_as_its_lengths_allow_has_a_true_header() {
        let header = header(Rate::Full, DATA_MOST);
        assert_eq!(header[4..8], u32::MAX.to_le_bytes());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Sound(Vec<i16>),
        Silence(u64),
        Flush,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            prop::collection::vec(any::<i16>(), 0..500).prop_map(Step::Sound),
            (0..20_000u64).prop_map(Step::Silence),
            Just(Step::Flush),
        ]
    }

    proptest! {
        /// Whatever comes in whatever order: after each flush the file holds exactly that.
        #[test]
        fn a_crash_leaves_what_was_flushed(steps in prop::collection::vec(step(), 0..30)) {
            let mut wav = Wav::new(Cursor::new(Vec::new()), Rate::Narrow).unwrap();
            let (mut said, mut flushed) = (Vec::new(), 0);
            for step in steps {
                match step {
                    Step::Sound(samples) => {
                        wav.sound(&samples);
                        said.extend(samples);
                    }
                    Step::Silence(samples) => {
                        wav.silence(samples).unwrap();
                        said.resize(said.len() + samples as usize, 0);
                    }
                    Step::Flush => {
                        wav.flush().unwrap();
                        flushed = said.len();
                    }
                }
                prop_assert_eq!(wav.samples(), said.len() as u64);
                let kept = read(wav.out.get_ref());
                prop_assert!(kept.len() >= flushed && kept.len() as u64 <= wav.samples());
                prop_assert_eq!(&kept[..], &said[..kept.len()]);
            }
            wav.flush().unwrap();
            prop_assert_eq!(wav.kept(), (said.len() as u64, wav.out.get_ref().len() as u64));
            prop_assert_eq!(read(wav.out.get_ref()), said);
        }
    }
}
