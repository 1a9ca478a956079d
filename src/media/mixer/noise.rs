//! The hum of a fan, the hiss of a line, the road under a car: taken out, while the voice stays.
//!
//! Windows of 20 ms, one each 10 ms. In each band the floor is what the sound never falls below for a while (minima
//! controlled averaging, after Cohen and Berdugo 2002); each band is let through as far as it stands above its floor
//! (Wiener's rule, with the signal-to-noise ratio carried over from window to window after Ephraim and Malah 1984, so that
//! what is left of the noise does not twitter).

use super::fourier::{Fourier, Spectrum};
use crate::media::codec::Rate;
use std::f32::consts::PI;

/// What comes out is so much behind what went in.
pub const DELAY_MS: usize = HOP_MS;
const WINDOW_MS: usize = 20;
const HOP_MS: usize = 10;
/// Noise is lowered by 18 dB and not more: a hole in the sound is heard as a dead line.
const LEAST: f32 = 0.126;
/// How much of the power of the windows before stays in the average that the minimum is taken of.
const SMOOTH: f32 = 0.8;
/// The minimum is that of the last one or two spans of 0.8 s: no vowel lasts that long.
const SPAN_HOPS: u32 = 80;
/// Above its minimum by more than this factor, a band has a voice in it: the average of mere noise stays below.
const VOICED: f32 = 5.0;
/// The belief in a voice follows within two windows; the floor within 200 ms where there is none.
const BELIEF: f32 = 0.2;
const FLOOR: f32 = 0.95;
/// How much of the ratio comes from the window before: less is quicker, more is smoother.
const CARRY: f32 = 0.96;
/// Below a thousandth of a step of the sound there is nothing to measure.
const TINY: f32 = 1e-3;

/// One stream's. All memory is taken when it is made.
#[derive(Clone, Debug)]
pub struct Denoiser {
    hop: usize,
    fourier: Fourier,
    window: Box<[f32]>,
    /// The last window of sound, the transform's place, and the half of it that the next window is added to.
    heard: Box<[f32]>,
    place: Box<[f32]>,
    tail: Box<[f32]>,
    spectrum: Spectrum,
    bands: Bands,
}

/// What is known of each band. All of one length.
#[derive(Clone, Debug)]
struct Bands {
    power: Box<[f32]>,
    average: Box<[f32]>,
    least: Box<[f32]>,
    least_lately: Box<[f32]>,
    /// The belief that there is a voice, 0 to 1.
    voice: Box<[f32]>,
    floor: Box<[f32]>,
    /// What was let through of the window before, by its floor.
    clean: Box<[f32]>,
    gain: Box<[f32]>,
    /// Hops that had any sound.
    hops: u32,
}

impl Denoiser {
    pub fn new(rate: Rate) -> Denoiser {
        let (window, hop) = (rate.samples(WINDOW_MS), rate.samples(HOP_MS));
        let size = window.next_power_of_two();
        let fourier = Fourier::new(size);
        let sine = |i: usize| (PI * (i as f32 + 0.5) / window as f32).sin();
        Denoiser {
            hop,
            // Twice, before and behind: its squares of two windows add up to one.
            window: (0..window).map(sine).collect(),
            heard: zeros(window),
            place: zeros(size),
            tail: zeros(hop),
            spectrum: fourier.spectrum(),
            bands: Bands::new(size / 2 + 1),
            fourier,
        }
    }

    /// A tick in, a tick out, [`DELAY_MS`] later. What is not a multiple of 10 ms is left as it is at the end.
    pub fn run(&mut self, sound: &mut [i16]) {
        for piece in sound.chunks_exact_mut(self.hop) {
            self.hop(piece);
        }
    }

    fn hop(&mut self, piece: &mut [i16]) {
        self.heard.copy_within(self.hop.., 0);
        let fresh = self.heard.len() - self.hop;
        for (place, sample) in self.heard[fresh..].iter_mut().zip(piece.iter()) {
            *place = f32::from(*sample);
        }
        for ((place, sample), window) in self.place.iter_mut().zip(&self.heard).zip(&self.window) {
            *place = sample * window;
        }
        self.place[self.heard.len()..].fill(0.0);
        self.fourier.forward(&self.place, &mut self.spectrum);
        self.bands.weigh(&self.spectrum);
        let Spectrum { re, im } = &mut self.spectrum;
        for ((re, im), gain) in re.iter_mut().zip(im.iter_mut()).zip(&self.bands.gain) {
            (*re, *im) = (*re * gain, *im * gain);
        }
        self.fourier.inverse(&mut self.spectrum, &mut self.place);
        for (place, window) in self.place.iter_mut().zip(&self.window) {
            *place *= window;
        }
        for ((sample, first), tail) in piece.iter_mut().zip(&self.place).zip(&self.tail) {
            *sample = (first + tail).round() as i16;
        }
        self.tail.copy_from_slice(&self.place[self.hop..2 * self.hop]);
    }
}

impl Bands {
    fn new(count: usize) -> Bands {
        Bands {
            power: zeros(count),
            average: zeros(count),
            least: zeros(count),
            least_lately: zeros(count),
            voice: zeros(count),
            floor: zeros(count),
            clean: zeros(count),
            gain: vec![1.0; count].into(),
            hops: 0,
        }
    }

    /// How much of each band is let through.
    fn weigh(&mut self, spectrum: &Spectrum) {
        for ((power, re), im) in self.power.iter_mut().zip(&spectrum.re).zip(&spectrum.im) {
            *power = re * re + im * im;
        }
        // Silence that a network or a mute button makes says nothing of the room.
        if self.power.iter().all(|power| *power < TINY) {
            return;
        }
        self.average();
        self.find_floor();
        self.decide();
        self.hops = self.hops.wrapping_add(1);
    }

    /// Over time, and over a band and its neighbours.
    fn average(&mut self) {
        let last = self.power.len() - 1;
        let keep = if self.hops == 0 { 0.0 } else { SMOOTH };
        for (average, around) in self.average[1..last].iter_mut().zip(self.power.windows(3)) {
            *average = keep * *average + (1.0 - keep) * (around[0] / 4.0 + around[1] / 2.0 + around[2] / 4.0);
        }
        for edge in [0, last] {
            self.average[edge] = keep * self.average[edge] + (1.0 - keep) * self.power[edge];
        }
        if self.hops == 0 {
            self.least.copy_from_slice(&self.average);
            self.least_lately.copy_from_slice(&self.average);
        } else if self.hops.is_multiple_of(SPAN_HOPS) {
            for ((least, lately), average) in self.least.iter_mut().zip(&mut self.least_lately).zip(&self.average) {
                (*least, *lately) = (lately.min(*average), *average);
            }
        } else {
            for ((least, lately), average) in self.least.iter_mut().zip(&mut self.least_lately).zip(&self.average) {
                (*least, *lately) = (least.min(*average), lately.min(*average));
            }
        }
    }

    fn find_floor(&mut self) {
        let known = self.average.iter().zip(&self.least).zip(&self.power);
        for ((voice, floor), ((average, least), power)) in self.voice.iter_mut().zip(&mut self.floor).zip(known) {
            let is_voiced = if *average > VOICED * least { 1.0 } else { 0.0 };
            *voice = BELIEF * *voice + (1.0 - BELIEF) * is_voiced;
            let keep = FLOOR + (1.0 - FLOOR) * *voice;
            *floor = keep * *floor + (1.0 - keep) * power;
        }
    }

    fn decide(&mut self) {
        let known = self.power.iter().zip(&self.floor);
        for ((gain, clean), (power, floor)) in self.gain.iter_mut().zip(&mut self.clean).zip(known) {
            let ratio = power / floor.max(TINY);
            let ahead = CARRY * *clean + (1.0 - CARRY) * (ratio - 1.0).max(0.0);
            let through = ahead / (1.0 + ahead);
            *clean = through * through * ratio;
            *gain = through.max(LEAST);
        }
    }
}

fn zeros(count: usize) -> Box<[f32]> {
    vec![0.0; count].into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::codec::resample::Resampler;

    fn speech(rate: Rate) -> Vec<i16> {
        let file = include_bytes!("../../../config/prompts/en/refused_toll_free.wav");
        let said: Vec<i16> = hound::WavReader::new(&file[..]).unwrap().samples::<i16>().map(Result::unwrap).collect();
        let mut resampler = Resampler::new(Rate::Narrow, rate);
        let mut out = vec![0; resampler.yields(said.len())];
        resampler.run(&said, &mut out);
        out
    }

    /// Noise of a spread of about `strength`.
    fn noise(count: usize, strength: f32) -> Vec<i16> {
        let mut state = 12_345u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        (0..count).map(|_| ((0..4).map(|_| next()).sum::<f32>() * strength * 1.73) as i16).collect()
    }

    fn run(rate: Rate, sound: &[i16]) -> Vec<i16> {
        let mut denoiser = Denoiser::new(rate);
        let mut out = sound.to_vec();
        out.chunks_mut(rate.samples(20)).for_each(|tick| denoiser.run(tick));
        out.drain(..rate.samples(DELAY_MS));
        out
    }

    fn power(sound: &[i16]) -> f64 {
        sound.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / sound.len().max(1) as f64
    }

    fn db(ratio: f64) -> f64 {
        10.0 * ratio.log10()
    }

    /// Mean over the ticks of speech of how far the difference lies below it, each within 0 to 35 dB.
    fn segmental_snr(rate: Rate, said: &[i16], heard: &[i16]) -> f64 {
        let pairs = said.chunks_exact(rate.samples(20)).zip(heard.chunks_exact(rate.samples(20)));
        let ratio = |said: &[i16], heard: &[i16]| {
            let error: Vec<i16> = said.iter().zip(heard).map(|(one, other)| one.saturating_sub(*other)).collect();
            db(power(said) / power(&error).max(1.0)).clamp(0.0, 35.0)
        };
        let ratios: Vec<f64> = pairs.filter(|(said, _)| is_speech(said)).map(|(s, h)| ratio(s, h)).collect();
        ratios.iter().sum::<f64>() / ratios.len() as f64
    }

    fn is_speech(tick: &[i16]) -> bool {
        power(tick) > 600.0 * 600.0
    }

    /// The power of the ticks in which there is speech.
    fn speech_power(rate: Rate, said: &[i16], sound: &[i16]) -> f64 {
        let pairs = said.chunks_exact(rate.samples(20)).zip(sound.chunks_exact(rate.samples(20)));
        let powers: Vec<f64> = pairs.filter(|(said, _)| is_speech(said)).map(|(_, sound)| power(sound)).collect();
        powers.iter().sum::<f64>() / powers.len() as f64
    }

    #[test]
    fn steady_noise_is_lowered_by_ten_decibels_and_more() {
        for rate in Rate::ALL {
            let sound = noise(rate.samples(5_000), 300.0);
            let out = run(rate, &sound);
            let late = rate.samples(2_000);
            let less = db(power(&sound[late..]) / power(&out[late..]));
            assert!(less > 10.0, "{rate:?}: {less}");
        }
    }

    #[test]
    fn clean_speech_passes() {
        for rate in Rate::ALL {
            let said = speech(rate);
            let heard = run(rate, &said);
            let change = db(speech_power(rate, &said, &heard) / speech_power(rate, &said, &said));
            assert!(change.abs() < 1.0, "{rate:?}: {change}");
            let ratio = segmental_snr(rate, &said, &heard);
            assert!(ratio > 15.0, "{rate:?}: {ratio}");
        }
    }

    #[test]
    fn speech_in_noise_keeps_its_level_and_gets_clearer() {
        for rate in Rate::ALL {
            let mut said = vec![0; rate.samples(1_000)];
            said.extend(speech(rate));
            let hiss = noise(said.len(), 300.0);
            let mixed: Vec<i16> = said.iter().zip(&hiss).map(|(one, other)| one.saturating_add(*other)).collect();
            let heard = run(rate, &mixed);
            let change = db(speech_power(rate, &said, &heard) / speech_power(rate, &said, &said));
            assert!(change.abs() < 1.0, "{rate:?}: {change}");
            let (before, after) = (segmental_snr(rate, &said, &mixed), segmental_snr(rate, &said, &heard));
            assert!(after > before, "{rate:?}: {before} to {after}");
        }
    }

    #[test]
    fn silence_stays_silence() {
        for rate in Rate::ALL {
            assert!(run(rate, &vec![0; rate.samples(1_000)]).iter().all(|s| *s == 0));
            let mut sound = noise(rate.samples(2_000), 300.0);
            sound.resize(rate.samples(3_000), 0);
            let out = run(rate, &sound);
            assert!(out[rate.samples(2_020)..].iter().all(|s| *s == 0), "{rate:?}");
        }
    }

    #[test]
    fn full_scale_does_not_wrap() {
        let square: Vec<i16> = (0..16_000).map(|i| if i / 40 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
        let out = run(Rate::Wide, &square);
        for (one, other) in square.iter().zip(&out).skip(400).take(2_000) {
            assert!((*one < 0) == (*other < 0) || other.unsigned_abs() < 16_000, "{one} {other}");
        }
    }
}
