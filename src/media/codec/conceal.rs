//! Sound made up where some is missing: the last voice goes on in its own pitch, as its strength was falling, and fades
//! away within 60 ms; real sound is faded in over it when it returns. No delay is added; neither seam clicks.
//!
//! Tried with P.862 and found no better: slower fades, longer seams, gains that may rise, prediction of high order (128)
//! in place of repetition, a return shifted to the phase of the made-up voice (much worse: it moves all that follows).

/// Rates are multiples of this.
pub const BASE_HZ: usize = 8_000;
/// The highest multiple: 48 kHz.
const STEP_MOST: usize = 6;
/// The lowest and highest pitch looked for: 66 Hz and 400 Hz, as periods in samples of the base rate.
const PERIOD_MOST: usize = BASE_HZ / 66;
const PERIOD_LEAST: usize = BASE_HZ / 400;
/// Sound compared to find the pitch: 15 ms.
const WINDOW: usize = BASE_HZ * 15 / 1_000;
/// Sound remembered.
const PAST: usize = PERIOD_MOST + 2 * WINDOW;
/// The made-up sound fades to nothing at 60 ms.
const FADE_END: usize = BASE_HZ * 60 / 1_000;
/// The seam at the beginning is 5 ms long, that at the end 2.5 ms.
const SEAM: usize = BASE_HZ / 200;
const RETURN: usize = BASE_HZ / 400;
/// An idle line of A-law swings so far.
const IDLE: u16 = 8;
/// The last 10 ms are compared with those before: a voice that was falling goes on falling, at most by half in 10 ms.
const TREND: usize = BASE_HZ / 100;
const TREND_LEAST: f32 = 0.5;

/// What one stream needs to bridge a gap. All lengths above are times `step` samples.
#[derive(Clone, Debug)]
pub struct Conceal {
    /// Samples for one of the base rate.
    step: usize,
    past: Box<[i16]>,
    cycle: Box<[i16]>,
    /// Length of the cycle in use.
    period: usize,
    /// Samples made up since the last real one.
    made: usize,
    /// The jump between the last real sample and the cycle, which fades over the first seam.
    jump: f32,
    /// Strength of the made-up sound by its trend alone, and what a sample takes of it.
    strength: f32,
    trend: f32,
}

impl Conceal {
    /// Memory for sound of `rate_hz`, a multiple of 8,000 up to 48,000.
    pub fn new(rate_hz: usize) -> Conceal {
        let step = (rate_hz / BASE_HZ).clamp(1, STEP_MOST);
        Conceal {
            step,
            past: vec![0; PAST * step].into(),
            cycle: vec![0; PERIOD_MOST * step].into(),
            period: 1,
            made: FADE_END * step,
            jump: 0.0,
            strength: 1.0,
            trend: 1.0,
        }
    }

    /// Real sound passes through: it is remembered, and faded in if it follows made-up sound.
    pub fn hear(&mut self, sound: &mut [i16]) {
        if self.made > 0 && !sound.is_empty() {
            self.fade_in(sound);
            self.made = 0;
        }
        self.remember(sound);
    }

    /// Makes up `sound`. Returns how many samples of it are not silence by age.
    pub fn fill(&mut self, sound: &mut [i16]) -> usize {
        if self.made == 0 {
            self.study();
        }
        let audible = (FADE_END * self.step).saturating_sub(self.made).min(sound.len());
        sound[audible..].fill(0);
        for sample in &mut sound[..audible] {
            *sample = round(self.make());
        }
        self.remember(sound);
        audible
    }

    /// Nothing that was heard until now shall be repeated.
    pub fn forget(&mut self) {
        self.past.fill(0);
        self.cycle.fill(0);
        (self.made, self.jump) = (FADE_END * self.step, 0.0);
    }

    /// The next made-up sample.
    fn make(&mut self) -> f32 {
        let (seam, end) = (SEAM * self.step, FADE_END * self.step);
        if self.made >= end {
            return 0.0;
        }
        let jump = self.jump * seam.saturating_sub(self.made) as f32 / seam as f32;
        let sample = f32::from(self.cycle[self.made % self.period]) + jump;
        let fade = (end - self.made) as f32 / end as f32;
        self.made += 1;
        self.strength *= self.trend;
        sample * self.strength * fade
    }

    /// The made-up sound goes on under the real one, which rises over it.
    fn fade_in(&mut self, sound: &mut [i16]) {
        let seam = RETURN * self.step;
        for (i, sample) in sound.iter_mut().take(seam).enumerate() {
            let old = self.make();
            let rise = (i + 1) as f32 / (seam + 1) as f32;
            *sample = round(old + (f32::from(*sample) - old) * rise);
        }
    }

    fn remember(&mut self, sound: &[i16]) {
        let most = self.past.len();
        if sound.len() >= most {
            self.past.copy_from_slice(&sound[sound.len() - most..]);
        } else {
            self.past.copy_within(sound.len().., 0);
            self.past[most - sound.len()..].copy_from_slice(sound);
        }
    }

    /// Cuts the cycle out of the past: as many whole periods as fit, made so that its end leads into its beginning.
    fn study(&mut self) {
        let (past, end) = (&self.past, self.past.len());
        // Of silence there is nothing to make up, and most legs are silent.
        if past[end - WINDOW * self.step..].iter().all(|sample| sample.unsigned_abs() <= IDLE) {
            (self.made, self.jump) = (FADE_END * self.step, 0.0);
            return;
        }
        let period = pitch(past, self.step);
        let length = period * (self.cycle.len() / period).max(1);
        let start = end - length;
        self.cycle[..length].copy_from_slice(&past[start..]);
        let seam = (SEAM * self.step).min(period / 2);
        for i in 0..seam {
            let (old, new) = (f32::from(past[end - seam + i]), f32::from(past[start - seam + i]));
            self.cycle[length - seam + i] = round(old + (new - old) * (i + 1) as f32 / (seam + 1) as f32);
        }
        self.jump = f32::from(past[end - 1]) - f32::from(past[start - 1]);
        self.period = length;
        self.strength = 1.0;
        self.trend = trend(past, TREND * self.step);
    }
}

fn round(sample: f32) -> i16 {
    // The cast saturates.
    sample.round() as i16
}

/// By what a sample is weaker than the one before it, at the end of `past`; never stronger.
fn trend(past: &[i16], span: usize) -> f32 {
    let (before, last) = past[past.len() - 2 * span..].split_at(span);
    // As much as the coarseness of G.711 at its finest: silence has no trend.
    let noise = 4.0 * span as f32;
    let ratio = ((product(last, last) + noise) / (product(before, before) + noise)).sqrt();
    ratio.clamp(TREND_LEAST, 1.0).powf(1.0 / span as f32)
}

/// The period at which the end of `past` resembles what came before it most: looked for in the base rate, then found to
/// the sample.
fn pitch(past: &[i16], step: usize) -> usize {
    if step == 1 {
        return period(past, WINDOW, PERIOD_LEAST..=PERIOD_MOST);
    }
    let mut slow = [0; PAST];
    for (to, from) in slow.iter_mut().zip(past.chunks_exact(step)) {
        *to = (from.iter().map(|sample| i32::from(*sample)).sum::<i32>() / step as i32) as i16;
    }
    let coarse = period(&slow, WINDOW, PERIOD_LEAST..=PERIOD_MOST) * step;
    let most = (coarse + step).min(PERIOD_MOST * step);
    period(past, WINDOW * step, coarse - step..=most)
}

/// The shortest of `periods` wins, where others are not better; where nothing is alike, the longest.
fn period(past: &[i16], window: usize, periods: std::ops::RangeInclusive<usize>) -> usize {
    let end = &past[past.len() - window..];
    let mut best = (0.0, *periods.end());
    for period in periods {
        let before = &past[past.len() - window - period..past.len() - period];
        let likeness = product(end, before);
        let score = likeness * likeness.max(0.0) / (product(before, before) + 1.0);
        if score > best.0 * 1.001 {
            best = (score, period);
        }
    }
    best.1
}

/// The sum of the products of two sounds of one length.
pub fn product(a: &[i16], b: &[i16]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0f32; LANES];
    let (mut left, mut right) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in left.by_ref().zip(right.by_ref()) {
        for i in 0..LANES {
            sums[i] += f32::from(a[i]) * f32::from(b[i]);
        }
    }
    let rest = left.remainder().iter().zip(right.remainder()).map(|(a, b)| f32::from(*a) * f32::from(*b));
    rest.sum::<f32>() + sums.iter().sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f32::consts::TAU;

    const RATES_HZ: [usize; 5] = [8_000, 16_000, 24_000, 32_000, 48_000];

    fn tone(rate_hz: usize, hz: f32, from: usize, length: usize) -> Vec<i16> {
        (from..from + length).map(|i| (8_000.0 * (TAU * hz * i as f32 / rate_hz as f32).sin()) as i16).collect()
    }

    /// The largest step from sample to sample, over what the tone itself needs.
    fn click(sound: &[i16], rate_hz: usize, hz: f32) -> i32 {
        let steepest = (8_000.0 * TAU * hz / rate_hz as f32) as i32;
        sound.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap() - steepest
    }

    #[test]
    fn a_tone_goes_on_through_a_lost_frame() {
        for rate_hz in RATES_HZ {
            for hz in [100.0, 200.0, 333.0, 440.0, 1_000.0, 1_900.0] {
                let frame = rate_hz / 50;
                let mut conceal = Conceal::new(rate_hz);
                let mut sound = tone(rate_hz, hz, 0, 4 * frame);
                sound[2 * frame..3 * frame].fill(0);
                let (before, rest) = sound.split_at_mut(2 * frame);
                let (gap, after) = rest.split_at_mut(frame);
                conceal.hear(before);
                conceal.fill(gap);
                conceal.hear(after);
                let loud = gap.iter().map(|s| i64::from(s.unsigned_abs())).sum::<i64>() / frame as i64;
                assert!(loud > 3_000, "{rate_hz} {hz} Hz: {loud}");
                // The first edge is the tone's own beginning; past it nothing may jump.
                let click = click(&sound[frame / 3..], rate_hz, hz);
                assert!(click < 900, "{rate_hz} {hz} Hz: {click}");
            }
        }
    }

    #[test]
    fn a_long_gap_fades_to_silence_within_60_ms() {
        for rate_hz in RATES_HZ {
            let (frame, end) = (rate_hz / 50, rate_hz * 60 / 1_000);
            let mut conceal = Conceal::new(rate_hz);
            conceal.hear(&mut tone(rate_hz, 440.0, 0, 3 * frame));
            let mut gap = vec![0; 5 * frame];
            let audible: usize = gap.chunks_mut(frame).map(|frame| conceal.fill(frame)).sum();
            assert_eq!(audible, end);
            assert!(gap[..2 * frame].iter().any(|s| *s > 1_000));
            assert!(gap[end..].iter().all(|s| *s == 0));
            assert!(click(&gap, rate_hz, 440.0) < 200);
            // The voice returns at the height of a wave.
            let mut back = tone(rate_hz, 440.0, rate_hz / 2_000, frame);
            conceal.hear(&mut back);
            assert!(back[0] < 600 && click(&back, rate_hz, 440.0) < 600, "{back:?}");
        }
    }

    #[test]
    fn a_voice_that_was_falling_goes_on_falling() {
        let mut conceal = Conceal::new(8_000);
        let mut sound = tone(8_000, 200.0, 0, 480);
        sound.iter_mut().enumerate().for_each(|(i, s)| *s = (f32::from(*s) * 0.99f32.powi(i as i32)) as i16);
        conceal.hear(&mut sound);
        let mut gap = [0; 160];
        conceal.fill(&mut gap);
        let power = |sound: &[i16]| product(sound, sound);
        assert!(power(&gap[80..]) < power(&gap[..80]) / 3.0);
        assert!(power(&gap[..80]) < power(&sound[320..400]));
    }

    #[test]
    fn what_is_forgotten_is_not_repeated() {
        let mut conceal = Conceal::new(8_000);
        conceal.hear(&mut tone(8_000, 440.0, 0, 480));
        conceal.forget();
        let mut gap = [1; 160];
        conceal.fill(&mut gap);
        assert_eq!(gap, [0; 160]);
    }

    proptest! {
        #[test]
        fn nothing_it_is_fed_upsets_it(
            rate in 0usize..RATES_HZ.len(),
            steps in proptest::collection::vec((any::<bool>(), 0usize..2_500, any::<i16>(), any::<i16>()), 1..30),
        ) {
            let mut conceal = Conceal::new(RATES_HZ[rate]);
            for (real, length, a, b) in steps {
                let mut sound: Vec<i16> = (0..length).map(|i| if i % 7 < 3 { a } else { b }).collect();
                if real { conceal.hear(&mut sound) } else { prop_assert!(conceal.fill(&mut sound) <= length) }
            }
        }
    }
}
