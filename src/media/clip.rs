//! Sound that is kept: prompts, tones, music.

use super::RATE_HZ;
use std::fmt;
use std::io::Cursor;

/// No clip lasts longer: half an hour of music is 29 MB, and a file on disk cannot fill the memory.
const LONGEST_SAMPLES: usize = 30 * 60 * RATE_HZ;
/// A tone begins and ends over so many samples (5 ms), so that it does not click.
const EDGE: usize = RATE_HZ / 200;

/// Mono samples at [`RATE_HZ`].
#[derive(PartialEq, Eq)]
pub struct Clip {
    samples: Box<[i16]>,
}

/// Why a file is no clip.
#[derive(Debug, thiserror::Error)]
pub enum BadClip {
    #[error("not a WAV file: {0}")]
    Wav(#[from] hound::Error),
    #[error("expected mono, 16 bit, {RATE_HZ} Hz; found {channels} channels, {bits} bit, {rate_hz} Hz")]
    Shape { channels: u16, bits: u16, rate_hz: u32 },
    #[error("longer than 30 minutes")]
    TooLong,
}

impl Clip {
    /// Samples at [`RATE_HZ`]; what is over 30 minutes is cut off.
    pub fn new(mut samples: Vec<i16>) -> Clip {
        samples.truncate(LONGEST_SAMPLES);
        Clip { samples: samples.into_boxed_slice() }
    }

    /// Reads a WAV file: mono, 16 bit, 8 kHz.
    pub fn from_wav(file: &[u8]) -> Result<Clip, BadClip> {
        let mut reader = hound::WavReader::new(Cursor::new(file))?;
        let spec = reader.spec();
        let fits = spec.channels == 1
            && spec.bits_per_sample == 16
            && spec.sample_rate as usize == RATE_HZ
            && spec.sample_format == hound::SampleFormat::Int;
        if !fits {
            let (channels, bits, rate_hz) = (spec.channels, spec.bits_per_sample, spec.sample_rate);
            return Err(BadClip::Shape { channels, bits, rate_hz });
        }
        if reader.len() as usize > LONGEST_SAMPLES {
            return Err(BadClip::TooLong);
        }
        let samples = reader.samples::<i16>().collect::<Result<Vec<i16>, _>>()?;
        Ok(Clip::new(samples))
    }

    /// A sine of `hz`, with `peak` of 32767, that begins and ends softly.
    pub fn tone(hz: f32, millis: u32, peak: i16) -> Clip {
        let length = (millis as usize * RATE_HZ / 1000).min(LONGEST_SAMPLES);
        let step = std::f32::consts::TAU * hz / RATE_HZ as f32;
        let edge = |i: usize| (i.min(length - 1 - i) as f32 / EDGE as f32).min(1.0);
        let sample = |i: usize| ((step * i as f32).sin() * f32::from(peak) * edge(i)) as i16;
        Clip::new((0..length).map(sample).collect())
    }

    pub fn silence(millis: u32) -> Clip {
        Clip::new(vec![0; (millis as usize * RATE_HZ / 1000).min(LONGEST_SAMPLES)])
    }

    pub fn samples(&self) -> &[i16] {
        &self.samples
    }

    pub fn millis(&self) -> u64 {
        self.samples.len() as u64 * 1000 / RATE_HZ as u64
    }
}

impl fmt::Debug for Clip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clip({} ms)", self.millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wav(channels: u16, rate_hz: u32, samples: &[i16]) -> Vec<u8> {
        let spec = hound::WavSpec {
            channels,
            sample_rate: rate_hz,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        let mut file = Cursor::new(Vec::new());
        let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
        samples.iter().for_each(|s| writer.write_sample(*s).unwrap());
        writer.finalize().unwrap();
        file.into_inner()
    }

    #[test]
    fn a_wav_file_is_read_back() {
        let clip = Clip::from_wav(&wav(1, RATE_HZ as u32, &[1, -2, i16::MAX])).unwrap();
        assert_eq!(clip.samples(), [1, -2, i16::MAX]);
    }

    #[test]
    fn what_is_no_clip_is_refused_in_words() {
        let stereo = Clip::from_wav(&wav(2, 44_100, &[1, 2])).unwrap_err();
        assert_eq!(stereo.to_string(), "expected mono, 16 bit, 8000 Hz; found 2 channels, 16 bit, 44100 Hz");
        let whole = wav(1, RATE_HZ as u32, &[7; 100]);
        for length in 0..whole.len() {
            assert!(Clip::from_wav(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_tone_has_its_length_and_peak() {
        let clip = Clip::tone(400.0, 500, 8_000);
        assert_eq!(clip.millis(), 500);
        let peak = clip.samples().iter().map(|s| s.unsigned_abs()).max().unwrap();
        assert!((7_900..=8_000).contains(&peak), "{peak}");
        assert_eq!((clip.samples()[0], *clip.samples().last().unwrap()), (0, 0));
        assert_eq!(Clip::tone(400.0, 0, 8_000).samples().len(), 0);
    }
}
