//! The loops of the mix: free functions over slices, without a branch on data, so that the compiler makes vectors of them.
//! A slice is the sound of one tick, at whatever rate.

/// Ramps and seams last 5 ms: a quarter of a tick.
const RAMPS_A_TICK: usize = 4;
/// The limiter needs half a millisecond to come down before a peak; what is louder before that is clipped.
const STEEPEST_A_TICK: usize = 40;
/// A room under a prompt is lowered by 12 dB: two bits.
const DUCK_BITS: u32 = 2;
/// After a peak the limiter gives back so much a tick: full strength again within 640 ms.
const RELEASE: f32 = 1.0 / 32.0;
const LOUDEST: i32 = i16::MAX as i32;

pub fn add(mix: &mut [i32], voice: &[i16]) {
    for (sum, sample) in mix.iter_mut().zip(voice) {
        *sum += i32::from(*sample);
    }
}

/// What remains for one who must not hear himself.
pub fn less(mix: &[i32], own: &[i16], rest: &mut [i32]) {
    for ((rest, sum), sample) in rest.iter_mut().zip(mix).zip(own) {
        *rest = *sum - i32::from(*sample);
    }
}

/// Lowers the room while a prompt is played over it.
pub fn duck(mix: &mut [i32]) {
    mix.iter_mut().for_each(|sum| *sum >>= DUCK_BITS);
}

/// Samples of a ramp in a tick of so many.
pub const fn ramp(tick: usize) -> usize {
    tick / RAMPS_A_TICK
}

/// From silence to full strength over the first samples.
pub fn fade_in(voice: &mut [i16]) {
    let ramp = ramp(voice.len());
    for (i, sample) in voice.iter_mut().take(ramp).enumerate() {
        *sample = (i32::from(*sample) * (i as i32 + 1) / (ramp as i32 + 1)) as i16;
    }
}

/// From full strength to silence over the first samples; the rest is silent.
pub fn fade_out(voice: &mut [i16]) {
    let ramp = ramp(voice.len());
    let (edge, rest) = voice.split_at_mut(ramp);
    for (i, sample) in edge.iter_mut().enumerate() {
        *sample = (i32::from(*sample) * (ramp - i) as i32 / (ramp as i32 + 1)) as i16;
    }
    rest.fill(0);
}

/// What is heard changes from one sound to another: the step between them is spread over the first samples.
pub fn seam(sound: &mut [i16], last: i16) {
    let Some(first) = sound.first() else { return };
    let (ramp, step) = (ramp(sound.len()), i32::from(last) - i32::from(*first));
    for (i, sample) in sound.iter_mut().take(ramp).enumerate() {
        let bridged = i32::from(*sample) + step * (ramp - i) as i32 / (ramp as i32 + 1);
        *sample = bridged.clamp(-LOUDEST, LOUDEST) as i16;
    }
}

/// Louder or softer by `gain` of [`UNITY`], clipped to 16 bits.
pub fn amplify(sound: &mut [i16], gain: i32) {
    for sample in sound {
        *sample = ((i32::from(*sample) * gain) >> UNITY_BITS).clamp(-LOUDEST, LOUDEST) as i16;
    }
}

/// A gain of one: 12 bits below the point leave 15 dB above it within 32 bits.
pub const UNITY: i32 = 1 << UNITY_BITS;
const UNITY_BITS: u32 = 12;
/// No louder than this, in dB: a gain never overflows 32 bits, and nobody's ears.
const GAIN_MOST_DB: i8 = 15;
const GAIN_LEAST_DB: i8 = -60;

/// Decibels to a gain, within what is sane.
pub fn gain(db: i8) -> i32 {
    let factor = 10f32.powf(f32::from(db.clamp(GAIN_LEAST_DB, GAIN_MOST_DB)) / 20.0);
    (factor * UNITY as f32).round() as i32
}

/// Brings sums back to 16 bits: untouched while they fit, softly lowered while they do not, and never wrapped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limiter {
    strength: f32,
}

impl Default for Limiter {
    fn default() -> Limiter {
        Limiter { strength: 1.0 }
    }
}

impl Limiter {
    /// It looks ahead as far as the tick goes: down before the first peak, up again over the whole tick.
    pub fn limit(&mut self, mix: &[i32], sound: &mut [i16]) {
        let loudest = mix.iter().fold(0, |most, sum| most.max(sum.abs()));
        if loudest <= LOUDEST && self.strength >= 1.0 {
            return sound.iter_mut().zip(mix).for_each(|(sample, sum)| *sample = *sum as i16);
        }
        let allowed = LOUDEST as f32 / loudest.max(LOUDEST) as f32;
        let from = self.strength;
        let to = allowed.min(from + RELEASE);
        self.strength = to;
        let over = if to < from { before_peak(mix, from) } else { mix.len() };
        scale(&mix[..over], &mut sound[..over], from, (to - from) / over as f32);
        scale(&mix[over..], &mut sound[over..], to, 0.0);
    }
}

/// Samples until the first that is too loud at `strength`, within what is neither a click nor slower than a ramp.
fn before_peak(mix: &[i32], strength: f32) -> usize {
    let most = (LOUDEST as f32 / strength) as i32;
    let peak = mix.iter().position(|sum| sum.abs() > most).unwrap_or(mix.len());
    peak.clamp((mix.len() / STEEPEST_A_TICK).max(1), ramp(mix.len()).max(1))
}

/// Each sum times a strength that changes by `slope` a sample, clipped to 16 bits.
fn scale(mix: &[i32], sound: &mut [i16], from: f32, slope: f32) {
    // Added to a float of less than 22 bits, this leaves the rounded integer in its lowest bits. A cast would check for
    // what cannot be here, sample by sample: it made a tick of a loud meeting half as long again.
    const SHIFT: f32 = 12_582_912.0;
    for (i, (sample, sum)) in sound.iter_mut().zip(mix).enumerate() {
        let scaled = *sum as f32 * (from + slope * i as f32);
        let clipped = scaled.max(-LOUDEST as f32).min(LOUDEST as f32);
        *sample = (clipped + SHIFT).to_bits().wrapping_sub(SHIFT.to_bits()) as i16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Rate;
    use proptest::prelude::*;

    const TICK: usize = Rate::Narrow.tick();
    const RAMP: usize = ramp(TICK);

    fn limited(limiter: &mut Limiter, mix: &[i32]) -> Vec<i16> {
        let mut sound = vec![0; mix.len()];
        limiter.limit(mix, &mut sound);
        sound
    }

    #[test]
    fn what_fits_is_not_touched() {
        let (mut mix, mut rest) = ([0; TICK], [0; TICK]);
        add(&mut mix, &[12_345; TICK]);
        add(&mut mix, &[-345; TICK]);
        assert_eq!(limited(&mut Limiter::default(), &mix), [12_000; TICK]);
        less(&mix, &[12_345; TICK], &mut rest);
        assert_eq!(rest, [-345; TICK]);
    }

    #[test]
    fn twenty_at_full_strength_do_not_wrap_and_calm_returns() {
        for rate in Rate::ALL {
            let mut limiter = Limiter::default();
            let mut mix = vec![0; rate.tick()];
            (0..20).for_each(|_| add(&mut mix, &vec![i16::MAX; rate.tick()]));
            for _ in 0..10 {
                assert!(limited(&mut limiter, &mix).iter().all(|s| *s > 32_000));
            }
            let calm = vec![1_000; rate.tick()];
            let first = limited(&mut limiter, &calm);
            assert!(first.iter().all(|s| (40..200).contains(s)), "{first:?}");
            for _ in 0..40 {
                limited(&mut limiter, &calm);
            }
            assert!(limited(&mut limiter, &calm).iter().all(|s| *s == 1_000));
        }
    }

    /// Twenty talkers at full strength set in after a quiet one: past half a millisecond nothing is cut flat.
    #[test]
    fn a_peak_is_met_before_it_comes() {
        let wave = |i: usize| (std::f32::consts::TAU * i as f32 / 40.0).sin() * 32_000.0;
        for onset in [0, 1, 5, 30, 100] {
            let mix: Vec<i32> = (0..TICK).map(|i| (wave(i) * if i < onset { 1.0 } else { 20.0 }) as i32).collect();
            let sound = limited(&mut Limiter::default(), &mix);
            let cut = sound.windows(2).filter(|pair| pair[0] == pair[1] && pair[0].unsigned_abs() == 32_767).count();
            assert!(cut <= TICK / STEEPEST_A_TICK, "{onset}: {cut}");
        }
    }

    #[test]
    fn ramps_and_seams_begin_where_the_sound_was() {
        let mut frame = [10_000; TICK];
        fade_in(&mut frame);
        assert!(frame[0] < 300 && frame[RAMP] == 10_000);
        let mut frame = [10_000; TICK];
        fade_out(&mut frame);
        assert!(frame[0] > 9_700 && frame[RAMP - 1] < 300 && frame[RAMP..].iter().all(|s| *s == 0));
        let mut frame = [-20_000; TICK];
        seam(&mut frame, 20_000);
        assert!(frame[0] > 19_000 && frame[RAMP] == -20_000);
        assert!(frame.windows(2).all(|w| (i32::from(w[1]) - i32::from(w[0])).abs() < 1_100));
    }

    #[test]
    fn a_gain_is_exact_at_one_and_never_wraps() {
        let mut sound = [i16::MIN + 1, -5, 0, 7, i16::MAX];
        amplify(&mut sound, UNITY);
        assert_eq!(sound, [i16::MIN + 1, -5, 0, 7, i16::MAX]);
        amplify(&mut sound, 4 * UNITY);
        assert_eq!(sound, [-i16::MAX, -20, 0, 28, i16::MAX]);
    }

    proptest! {
        #[test]
        fn the_limiter_never_turns_a_sign(sums in proptest::collection::vec(-40_000_000i32..40_000_000, TICK), before: i16) {
            let mut limiter = Limiter::default();
            limited(&mut limiter, &[i32::from(before) * 9; TICK]);
            for (sample, sum) in limited(&mut limiter, &sums).iter().zip(&sums) {
                prop_assert!(i32::from(*sample).signum() * sum.signum() >= 0);
                prop_assert!(i32::from(*sample).abs() <= sum.abs());
            }
        }
    }
}
