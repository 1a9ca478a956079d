//! Sound from one rate to another: 8, 16, 24 and 48 kHz, every pair, by a polyphase filter.
//!
//! A rate goes up by `up` and down by `down`, both small: the filter is the low-pass of the common multiple, taken apart
//! into `up` rows, of which each output sample needs one. A row is a straight product of two slices.

use super::Rate;
use std::f64::consts::PI;

/// The filter reaches so far to both sides, in samples of the lower rate: its length over the two is its steepness. 15
/// are 1.9 ms at 8 kHz, and all of the delay.
const REACH: usize = 15;
/// The most taps of one row: 48 kHz down to 8.
const TAPS_MOST: usize = 2 * REACH * 6;
/// All rows together: 2 * REACH taps at the lower rate, each `up` and `down` times over.
const FILTER: usize = 2 * REACH * 6;
/// Samples taken in at once.
const BLOCK: usize = 480;
/// How the filter's window trades its edge for its depth (Kaiser): 66 dB.
const SHAPE: f64 = 6.0;
/// Where the filter is half open, in parts of the lower rate's half.
const EDGE: f64 = 0.935;

/// A stream's way from one rate to another. Nothing but its own past is in it; all memory is its own.
#[derive(Clone, Debug)]
pub struct Resampler {
    up: usize,
    down: usize,
    /// Taps of a row. Rows of the filter follow each other, each for sound with the oldest sample first.
    taps: usize,
    filter: [f32; FILTER],
    /// The past, then the block at hand.
    window: [f32; TAPS_MOST + BLOCK],
    /// Where the next output sample is, in steps of an `up`-th of an input sample after the window's first row.
    next: usize,
}

impl Resampler {
    pub fn new(from: Rate, to: Rate) -> Resampler {
        let (from, to) = (from.hz() as usize / 8_000, to.hz() as usize / 8_000);
        let common = if from.is_multiple_of(to) || to.is_multiple_of(from) { from.min(to) } else { 1 };
        let (up, down) = (to / common, from / common);
        // The lower rate decides the edge; the reach in input samples follows.
        let taps = 2 * REACH * down.max(up) / up;
        let mut resampler =
            Resampler { up, down, taps, filter: [0.0; FILTER], window: [0.0; TAPS_MOST + BLOCK], next: 0 };
        resampler.design();
        resampler
    }

    /// How many samples `count` more will make.
    pub fn yields(&self, count: usize) -> usize {
        (count * self.up).saturating_sub(self.next).div_ceil(self.down)
    }

    /// The filter's delay in samples of the input, times two.
    pub fn delay(&self) -> usize {
        self.taps
    }

    /// Takes in all of `sound`; what comes of it is written to `out`, whose length is [`Resampler::yields`] or more.
    /// Returns how many samples that were.
    pub fn run(&mut self, sound: &[i16], out: &mut [i16]) -> usize {
        let mut made = 0;
        for block in sound.chunks(BLOCK) {
            made += self.block(block, out.get_mut(made..).unwrap_or_default());
        }
        made.min(out.len())
    }

    /// As if the sound so far had been one sample, held: what follows it begins without a step.
    pub fn hold(&mut self, sample: i16) {
        self.window.fill(f32::from(sample));
    }

    pub fn forget(&mut self) {
        self.window = [0.0; TAPS_MOST + BLOCK];
        self.next = 0;
    }

    fn block(&mut self, sound: &[i16], out: &mut [i16]) -> usize {
        let (taps, up) = (self.taps, self.up);
        for (place, sample) in self.window[taps..].iter_mut().zip(sound) {
            *place = f32::from(*sample);
        }
        let count = self.yields(sound.len());
        for (i, sample) in out.iter_mut().take(count).enumerate() {
            let at = self.next + i * self.down;
            let (first, row) = (at / up + 1, at % up * taps);
            *sample = product(&self.window[first..first + taps], &self.filter[row..row + taps]) as i16;
        }
        self.next = self.next + count * self.down - sound.len() * up;
        self.window.copy_within(sound.len()..sound.len() + taps, 0);
        count
    }

    fn design(&mut self) {
        let (up, taps) = (self.up, self.taps);
        let length = up * taps;
        let edge = EDGE / up.max(self.down) as f64;
        for row in 0..up {
            let tap = |k: usize| {
                // The newest sample comes last: the filter runs backwards.
                let at = (row + (taps - 1 - k) * up) as f64 - (length - 1) as f64 / 2.0;
                let x = PI * edge * at;
                let ideal = if x == 0.0 { 1.0 } else { x.sin() / x };
                ideal * kaiser(2.0 * at / length as f64)
            };
            // Each row lets a constant pass as it is: no row is louder than another.
            let sum: f64 = (0..taps).map(tap).sum();
            for k in 0..taps {
                self.filter[row * taps + k] = (tap(k) / sum) as f32;
            }
        }
    }
}

/// The Kaiser window at -1 to 1.
fn kaiser(at: f64) -> f64 {
    bessel(SHAPE * (1.0 - at * at).max(0.0).sqrt()) / bessel(SHAPE)
}

/// The modified Bessel function of the first kind, order zero, by its series.
fn bessel(x: f64) -> f64 {
    let step = |(sum, term): (f64, f64), k: i32| {
        let term = term * (x / 2.0 / f64::from(k)).powi(2);
        (sum + term, term)
    };
    (1..30).fold((1.0, 1.0), step).0
}

/// Sums in eight lanes, which the compiler can keep side by side.
fn product(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; 8];
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane += a * b;
        }
    }
    let sum = lanes.iter().sum::<f32>() + rest;
    // To the nearest; the conversion to 16 bits stops at both ends.
    sum + 0.5_f32.copysign(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f64::consts::TAU;

    fn pairs() -> impl Iterator<Item = (Rate, Rate)> {
        Rate::ALL.into_iter().flat_map(|from| Rate::ALL.map(|to| (from, to))).filter(|(from, to)| from != to)
    }

    fn tone(rate: Rate, hz: f64, samples: usize) -> Vec<i16> {
        (0..samples).map(|i| (10_000.0 * (TAU * hz * i as f64 / f64::from(rate.hz())).sin()).round() as i16).collect()
    }

    fn through(from: Rate, to: Rate, sound: &[i16]) -> Vec<i16> {
        let mut resampler = Resampler::new(from, to);
        let mut out = vec![0; resampler.yields(sound.len())];
        assert_eq!(resampler.run(sound, &mut out), out.len());
        out
    }

    /// Strength of what is left once the tone itself is taken out, and of the tone, in dB to the tone sent.
    fn heard(sound: &[i16], rate: Rate, hz: f64) -> (f64, f64) {
        let sound = &sound[sound.len() / 4..];
        // A whole number of the tone's waves, for it to be told from all else.
        let sound = &sound[..sound.len() - sound.len() % (rate.hz() as usize / 100)];
        let angle = |i: usize| TAU * hz * i as f64 / f64::from(rate.hz());
        let share = |wave: &dyn Fn(f64) -> f64| -> f64 {
            sound.iter().enumerate().map(|(i, s)| f64::from(*s) * wave(angle(i))).sum::<f64>() * 2.0
                / sound.len() as f64
        };
        let (sine, cosine) = (share(&f64::sin), share(&f64::cos));
        let strength = (sine * sine + cosine * cosine) / 1e8;
        let power = sound.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() * 2.0 / sound.len() as f64 / 1e8;
        (10.0 * strength.max(1e-12).log10(), 10.0 * (power - strength).max(1e-12).log10())
    }

    #[test]
    fn tones_pass_as_they_are_and_nothing_else_appears() {
        for (from, to) in pairs() {
            let narrow = f64::from(from.hz().min(to.hz()));
            for hz in [100.0, 300.0, 1_000.0, 0.25 * narrow, 0.35 * narrow, 0.425 * narrow] {
                let out = through(from, to, &tone(from, hz, from.samples(400)));
                let (gain, rest) = heard(&out, to, hz);
                assert!(gain.abs() < 0.5, "{from:?} to {to:?}, {hz} Hz: {gain} dB");
                assert!(rest < -60.0, "{from:?} to {to:?}, {hz} Hz: {rest} dB beside it");
            }
        }
    }

    #[test]
    fn what_the_lower_rate_cannot_hold_is_gone() {
        for (from, to) in pairs().filter(|(from, to)| from > to) {
            let (high, low) = (f64::from(from.hz()), f64::from(to.hz()));
            for hz in [0.58 * low, 0.65 * low, 0.8 * low, 0.95 * low, 0.48 * high] {
                if hz < high / 2.0 {
                    let out = through(from, to, &tone(from, hz, from.samples(400)));
                    let (_, rest) = heard(&out, to, 10.0);
                    assert!(rest < -60.0, "{from:?} to {to:?}, {hz} Hz: {rest} dB");
                }
            }
        }
    }

    #[test]
    fn the_delay_is_below_two_milliseconds() {
        for (from, to) in pairs() {
            let delay_us = Resampler::new(from, to).delay() * 500_000 / from.hz() as usize;
            assert!(delay_us <= 2_000, "{from:?} to {to:?}: {delay_us} us");
            let mut click = vec![0; from.samples(20)];
            click[0] = 30_000;
            let out = through(from, to, &click);
            let peak = (0..out.len()).max_by_key(|i| out[*i].unsigned_abs()).unwrap();
            assert!(peak * 1_000_000 / to.hz() as usize <= 2_000, "{from:?} to {to:?}: sample {peak}");
        }
    }

    #[test]
    fn a_frame_makes_a_frame() {
        for (from, to) in pairs() {
            let mut resampler = Resampler::new(from, to);
            for _ in 0..10 {
                assert_eq!(resampler.yields(from.samples(20)), to.samples(20));
                assert_eq!(resampler.run(&vec![7; from.samples(20)], &mut vec![0; to.samples(20)]), to.samples(20));
            }
        }
    }

    #[test]
    fn the_loudest_does_not_wrap() {
        for (from, to) in pairs() {
            let square: Vec<i16> = (0..960).map(|i| if i / 37 % 2 == 0 { i16::MAX } else { i16::MIN }).collect();
            let out = through(from, to, &square);
            let jump = out.windows(2).filter(|w| i32::from(w[0]) > 30_000 && i32::from(w[1]) < -30_000).count();
            assert!(to > Rate::Narrow || jump <= 30, "{from:?} to {to:?}: {jump}");
            assert!(through(from, to, &[i16::MAX; 960])[600.min(to.samples(15))..].iter().all(|s| *s > 32_000));
        }
    }

    proptest! {
        /// However the stream is cut, it comes out the same.
        #[test]
        fn cuts_are_not_heard(cuts in proptest::collection::vec(0usize..1_000, 1..12), pair in 0usize..12) {
            let (from, to) = pairs().nth(pair).unwrap();
            let sound: Vec<i16> = (0..cuts.iter().sum::<usize>()).map(|i| (i * i * 7) as i16).collect();
            let whole = through(from, to, &sound);
            let (mut resampler, mut parts, mut at) = (Resampler::new(from, to), Vec::new(), 0);
            for cut in cuts {
                let mut out = vec![0; resampler.yields(cut)];
                prop_assert_eq!(resampler.run(&sound[at..at + cut], &mut out), out.len());
                parts.extend(out);
                at += cut;
            }
            prop_assert_eq!(parts, whole);
        }
    }
}
