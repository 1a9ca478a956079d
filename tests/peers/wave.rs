//! What a foreign telephone says and hears, as files.

use std::f64::consts::TAU;
use std::path::Path;

/// A minute of a tone (peak 6,000).
pub fn write(path: &Path, hz: u32, rate_hz: u32) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate_hz,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut file = hound::WavWriter::create(path, spec).unwrap();
    for n in 0..60 * rate_hz {
        let wave = (TAU * f64::from(hz) * f64::from(n) / f64::from(rate_hz)).sin();
        file.write_sample((6_000.0 * wave) as i16).unwrap();
    }
    file.finalize().unwrap();
}

/// Samples a second, and those of the first channel. (Files of Linphone say that they are longer, by their header.)
pub fn read(path: &Path) -> (u32, Vec<i16>) {
    let mut reader = hound::WavReader::open(path).unwrap();
    let spec = reader.spec();
    let samples: Vec<i16> = reader.samples::<i16>().map_while(Result::ok).collect();
    (spec.sample_rate, samples.into_iter().step_by(usize::from(spec.channels)).collect())
}

/// The strength of a tone in the last second but one.
pub fn strength(samples: &[i16], rate_hz: u32, hz: u32) -> f64 {
    let second = rate_hz as usize;
    let end = samples.len().saturating_sub(second);
    let window = &samples[end.saturating_sub(second)..end];
    let turn = TAU * f64::from(hz) / f64::from(rate_hz);
    let (mut re, mut im) = (0.0, 0.0);
    for (n, sample) in window.iter().enumerate() {
        re += f64::from(*sample) * (turn * n as f64).cos();
        im += f64::from(*sample) * (turn * n as f64).sin();
    }
    2.0 * f64::hypot(re, im) / window.len().max(1) as f64
}
