//! Sound that is kept: prompts, tones, music.

use super::Rate;
use std::fmt;
use std::io::Cursor;

/// No clip lasts longer: half an hour of music at 8 kHz is 29 MB, and a file on disk cannot fill the memory.
const LONGEST_SECONDS: usize = 30 * 60;
/// A tone begins and ends over 5 ms, so that it does not click.
const EDGES_A_SECOND: usize = 200;

/// Mono samples.
#[derive(PartialEq, Eq)]
pub struct Clip {
    rate: Rate,
    samples: Box<[i16]>,
}

/// Why a file is no clip.
#[derive(Debug, thiserror::Error)]
pub enum BadClip {
    #[error("not a WAV file: {0}")]
    Wav(#[from] hound::Error),
    #[error(
        "expected mono, 16 bit, 8000, 16000, 24000 or 48000 Hz; found {channels} channels, {bits} bit, {rate_hz} Hz"
    )]
    Shape { channels: u16, bits: u16, rate_hz: u32 },
    #[error("longer than 30 minutes")]
    TooLong,
}

impl Clip {
    /// What is over 30 minutes is cut off.
    pub fn new(rate: Rate, mut samples: Vec<i16>) -> Clip {
        samples.truncate(longest(rate));
        Clip { rate, samples: samples.into_boxed_slice() }
    }

    /// Reads a WAV file: mono, 16 bit, at one of our rates.
    pub fn from_wav(file: &[u8]) -> Result<Clip, BadClip> {
        let mut reader = hound::WavReader::new(Cursor::new(file))?;
        let spec = reader.spec();
        let is_plain =
            spec.channels == 1 && spec.bits_per_sample == 16 && spec.sample_format == hound::SampleFormat::Int;
        let Some(rate) = Rate::from_hz(spec.sample_rate).filter(|_| is_plain) else {
            let (channels, bits, rate_hz) = (spec.channels, spec.bits_per_sample, spec.sample_rate);
            return Err(BadClip::Shape { channels, bits, rate_hz });
        };
        if reader.len() as usize > longest(rate) {
            return Err(BadClip::TooLong);
        }
        let samples = reader.samples::<i16>().collect::<Result<Vec<i16>, _>>()?;
        Ok(Clip::new(rate, samples))
    }

    /// A sine of `hz`, with `peak` of 32767, that begins and ends softly.
    pub fn tone(rate: Rate, hz: f32, millis: u32, peak: i16) -> Clip {
        let length = samples_of(rate, millis);
        let step = std::f32::consts::TAU * hz / rate.hz() as f32;
        let edge_samples = (rate.hz() as usize / EDGES_A_SECOND) as f32;
        let edge = |i: usize| (i.min(length - 1 - i) as f32 / edge_samples).min(1.0);
        let sample = |i: usize| ((step * i as f32).sin() * f32::from(peak) * edge(i)) as i16;
        Clip::new(rate, (0..length).map(sample).collect())
    }

    pub fn silence(rate: Rate, millis: u32) -> Clip {
        Clip::new(rate, vec![0; samples_of(rate, millis)])
    }

    pub fn rate(&self) -> Rate {
        self.rate
    }

    pub fn samples(&self) -> &[i16] {
        &self.samples
    }

    pub fn millis(&self) -> u64 {
        self.samples.len() as u64 * 1000 / u64::from(self.rate.hz())
    }
}

const fn longest(rate: Rate) -> usize {
    LONGEST_SECONDS * rate.hz() as usize
}

fn samples_of(rate: Rate, millis: u32) -> usize {
    (millis as usize * rate.hz() as usize / 1000).min(longest(rate))
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
        for rate in Rate::ALL {
            let clip = Clip::from_wav(&wav(1, rate.hz(), &[1, -2, i16::MAX])).unwrap();
            assert_eq!((clip.rate(), clip.samples()), (rate, &[1, -2, i16::MAX][..]));
        }
    }

    #[test]
    fn what_is_no_clip_is_refused_in_words() {
        let stereo = Clip::from_wav(&wav(2, 44_100, &[1, 2])).unwrap_err();
        assert_eq!(
            stereo.to_string(),
            "expected mono, 16 bit, 8000, 16000, 24000 or 48000 Hz; found 2 channels, 16 bit, 44100 Hz"
        );
        let whole = wav(1, 8_000, &[7; 100]);
        for length in 0..whole.len() {
            assert!(Clip::from_wav(&whole[..length]).is_err(), "{length}");
        }
    }

    #[test]
    fn a_tone_has_its_length_and_peak() {
        let clip = Clip::tone(Rate::Narrow, 400.0, 500, 8_000);
        assert_eq!(clip.millis(), 500);
        let peak = clip.samples().iter().map(|s| s.unsigned_abs()).max().unwrap();
        assert!((7_900..=8_000).contains(&peak), "{peak}");
        assert_eq!((clip.samples()[0], *clip.samples().last().unwrap()), (0, 0));
        assert_eq!(Clip::tone(Rate::Wide, 400.0, 0, 8_000).samples().len(), 0);
    }
}
