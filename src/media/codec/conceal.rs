//! Sound made up where some is missing: the last voice goes on in its own pitch and fades away within 60 ms, and real
//! sound is faded in over it when it returns. No delay is added; neither seam clicks.

use crate::media::{FRAME, RATE_HZ};

/// The lowest and highest pitch looked for: 66 Hz and 400 Hz, as periods in samples.
const PERIOD_MOST: usize = RATE_HZ / 66;
const PERIOD_LEAST: usize = RATE_HZ / 400;
/// Sound compared to find the pitch: 15 ms.
const WINDOW: usize = RATE_HZ * 15 / 1000;
/// Sound remembered.
const PAST: usize = PERIOD_MOST + 2 * WINDOW;
/// Whole periods are repeated, about so much at once: one short period over and over would buzz.
const CYCLE_MOST: usize = RATE_HZ / 50;
/// The made-up sound keeps its strength for 10 ms, then fades to nothing at 60 ms.
const FADE_FROM: usize = RATE_HZ / 100;
const FADE_END: usize = RATE_HZ * 60 / 1000;
/// Seams are 5 ms long.
const SEAM: usize = RATE_HZ / 200;

/// Where sound is shortened, its ends are blended over 10 ms.
const OVERLAP: usize = RATE_HZ / 100;

/// What one stream needs to bridge a gap.
#[derive(Clone, Debug)]
pub struct Conceal {
    past: [i16; PAST],
    cycle: [i16; CYCLE_MOST],
    period: usize,
    /// Samples made up since the last real one.
    made: usize,
    /// The step between the last real sample and the cycle, which fades over the first seam.
    step: i32,
}

impl Default for Conceal {
    fn default() -> Conceal {
        Conceal { past: [0; PAST], cycle: [0; CYCLE_MOST], period: 1, made: FADE_END, step: 0 }
    }
}

impl Conceal {
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
        let audible = FADE_END.saturating_sub(self.made).min(sound.len());
        for (i, sample) in sound.iter_mut().enumerate() {
            *sample = self.made_up(self.made + i);
        }
        self.made = (self.made + sound.len()).min(FADE_END);
        self.remember(sound);
        audible
    }

    /// Nothing that was heard until now shall be repeated.
    pub fn forget(&mut self) {
        self.past = [0; PAST];
        self.cycle = [0; CYCLE_MOST];
        (self.made, self.step) = (FADE_END, 0);
    }

    fn made_up(&self, age: usize) -> i16 {
        if age >= FADE_END {
            return 0;
        }
        let step = if age < SEAM { self.step * (SEAM - age) as i32 / SEAM as i32 } else { 0 };
        let strength = (FADE_END - age.max(FADE_FROM)) as i32;
        let sample = (i32::from(self.cycle[age % self.period]) + step) * strength / (FADE_END - FADE_FROM) as i32;
        sample.clamp(-32_768, 32_767) as i16
    }

    fn fade_in(&self, sound: &mut [i16]) {
        for (i, sample) in sound.iter_mut().take(SEAM).enumerate() {
            let old = i32::from(self.made_up(self.made + i));
            let new = i32::from(*sample);
            *sample = (old + (new - old) * (i as i32 + 1) / (SEAM as i32 + 1)) as i16;
        }
    }

    fn remember(&mut self, sound: &[i16]) {
        if sound.len() >= PAST {
            self.past.copy_from_slice(&sound[sound.len() - PAST..]);
        } else {
            self.past.copy_within(sound.len().., 0);
            self.past[PAST - sound.len()..].copy_from_slice(sound);
        }
    }

    /// Cuts the cycle out of the past: as many whole periods as fit, made so that its end leads into its beginning.
    fn study(&mut self) {
        let period = pitch(&self.past);
        let length = period * (CYCLE_MOST / period).max(1);
        let start = PAST - length;
        self.cycle[..length].copy_from_slice(&self.past[start..]);
        let seam = SEAM.min(period / 2).min(start);
        for i in 0..seam {
            let (old, new) = (i32::from(self.past[PAST - seam + i]), i32::from(self.past[start - seam + i]));
            let blend = old + (new - old) * (i as i32 + 1) / (seam as i32 + 1);
            self.cycle[length - seam + i] = blend as i16;
        }
        self.step = i32::from(self.past[PAST - 1]) - i32::from(self.past[start - 1]);
        self.period = length;
    }
}

/// Takes up to a frame out of `sound` (two frames or more) where it is least heard: a piece as long as the sound repeats
/// itself after, with its ends blended. Returns how many samples went; the rest has moved to the front.
pub fn shorten(sound: &mut [i16]) -> usize {
    if sound.len() < 2 * FRAME {
        return 0;
    }
    let quiet = |sample: &i16| *sample >> 4;
    let mut head = [0; OVERLAP];
    let mut body = [0; 2 * FRAME];
    head.iter_mut().zip(&*sound).for_each(|(to, from)| *to = quiet(from));
    body.iter_mut().zip(&*sound).for_each(|(to, from)| *to = quiet(from));
    let mut best = (-1.0, FRAME);
    for piece in (FRAME / 4..=FRAME).rev() {
        let after = &body[piece..piece + OVERLAP];
        let likeness = product(&head, after) as f32;
        let score = likeness * likeness.max(0.0) / (product(after, after) as f32 + 1.0);
        if score > best.0 * 1.001 {
            best = (score, piece);
        }
    }
    let piece = best.1;
    for i in 0..OVERLAP {
        let (old, new) = (i32::from(sound[i]), i32::from(sound[i + piece]));
        sound[i + piece] = (old + (new - old) * i as i32 / OVERLAP as i32) as i16;
    }
    sound.copy_within(piece.., 0);
    piece
}

/// The period at which the end of `past` resembles what came before it most.
fn pitch(past: &[i16; PAST]) -> usize {
    // 12 bits are enough to compare, and keep the sums within 32 bits.
    let quiet = past.map(|sample| sample >> 4);
    let end = &quiet[PAST - WINDOW..];
    let mut best = (0.0, CYCLE_MOST);
    for period in PERIOD_LEAST..=PERIOD_MOST {
        let before = &quiet[PAST - WINDOW - period..PAST - period];
        let likeness = product(end, before) as f32;
        let strength = product(before, before) as f32;
        let score = likeness * likeness.max(0.0) / (strength + 1.0);
        if score > best.0 * 1.001 {
            best = (score, period);
        }
    }
    best.1
}

fn product(a: &[i16], b: &[i16]) -> i32 {
    a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f32::consts::TAU;

    fn tone(hz: f32, from: usize, length: usize) -> Vec<i16> {
        (from..from + length).map(|i| (8_000.0 * (TAU * hz * i as f32 / RATE_HZ as f32).sin()) as i16).collect()
    }

    /// The largest step from sample to sample, over what the tone itself needs.
    fn click(sound: &[i16], hz: f32) -> i32 {
        let steepest = (8_000.0 * TAU * hz / RATE_HZ as f32) as i32;
        sound.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap() - steepest
    }

    #[test]
    fn a_tone_goes_on_through_a_lost_frame() {
        for hz in [100.0, 200.0, 333.0, 440.0, 1_000.0, 1_900.0] {
            let mut conceal = Conceal::default();
            let mut sound = tone(hz, 0, 640);
            sound[320..480].fill(0);
            let (before, rest) = sound.split_at_mut(320);
            let (gap, after) = rest.split_at_mut(160);
            conceal.hear(before);
            conceal.fill(gap);
            conceal.hear(after);
            let loud: i64 = gap.iter().map(|s| i64::from(s.unsigned_abs())).sum::<i64>() / 160;
            assert!(loud > 3_500, "{hz} Hz: {loud}");
            // The first edge is the tone's own beginning; past it nothing may jump.
            assert!(click(&sound[50..], hz) < 900, "{hz} Hz: {}", click(&sound[50..], hz));
        }
    }

    #[test]
    fn a_long_gap_fades_to_silence_within_60_ms() {
        let mut conceal = Conceal::default();
        conceal.hear(&mut tone(440.0, 0, 480));
        let mut gap = [0; 800];
        let audible: usize = gap.chunks_mut(160).map(|frame| conceal.fill(frame)).sum();
        assert_eq!(audible, FADE_END);
        assert!(gap[..400].iter().any(|s| *s > 1_000));
        assert!(gap[FADE_END..].iter().all(|s| *s == 0));
        assert!(click(&gap, 440.0) < 200);
        // The voice returns at the height of a wave.
        let mut back = tone(440.0, 4, 160);
        conceal.hear(&mut back);
        assert!(back[0] < 400 && click(&back, 440.0) < 400, "{back:?}");
    }

    #[test]
    fn a_tone_is_shortened_without_a_click() {
        for hz in [100.0, 440.0, 1_000.0] {
            let mut sound = tone(hz, 0, 400);
            let gone = shorten(&mut sound);
            assert!((FRAME / 4..=FRAME).contains(&gone));
            let left = &sound[..400 - gone];
            assert!(click(left, hz) < 300, "{hz} Hz: {}", click(left, hz));
            assert_eq!(left[left.len() - 1], tone(hz, 399, 1)[0]);
        }
        let mut silence = [0; 2 * FRAME];
        assert_eq!(shorten(&mut silence), FRAME);
        assert_eq!(shorten(&mut [1; FRAME]), 0);
    }

    #[test]
    fn what_is_forgotten_is_not_repeated() {
        let mut conceal = Conceal::default();
        conceal.hear(&mut tone(440.0, 0, 480));
        conceal.forget();
        let mut gap = [1; 160];
        conceal.fill(&mut gap);
        assert_eq!(gap, [0; 160]);
    }

    proptest! {
        #[test]
        fn nothing_it_is_fed_upsets_it(
            steps in proptest::collection::vec((any::<bool>(), 0usize..500, any::<i16>(), any::<i16>()), 1..30),
        ) {
            let mut conceal = Conceal::default();
            for (real, length, a, b) in steps {
                let mut sound: Vec<i16> = (0..length).map(|i| if i % 7 < 3 { a } else { b }).collect();
                if real { conceal.hear(&mut sound) } else { prop_assert!(conceal.fill(&mut sound) <= length) }
            }
        }
    }
}
