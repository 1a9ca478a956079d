//! The loops of the mix: free functions over frames, without a branch on data, so that the compiler makes vectors of them.

use crate::media::{FRAME, Frame, Mix, RATE_HZ};

/// Ramps and seams last 5 ms.
pub const RAMP: usize = RATE_HZ / 200;
/// A room under a prompt is lowered by 12 dB: two bits.
const DUCK_BITS: u32 = 2;
/// After a peak the limiter gives back so much a tick: full strength again within 640 ms.
const RELEASE: f32 = 1.0 / 32.0;
const LOUDEST: i32 = i16::MAX as i32;

pub fn add(mix: &mut Mix, voice: &Frame) {
    for (sum, sample) in mix.iter_mut().zip(voice) {
        *sum += i32::from(*sample);
    }
}

/// What remains for one who must not hear himself.
pub fn less(mix: &Mix, own: &Frame) -> Mix {
    let mut rest = *mix;
    for (sum, sample) in rest.iter_mut().zip(own) {
        *sum -= i32::from(*sample);
    }
    rest
}

/// Lowers the room while a prompt is played over it.
pub fn duck(mix: &mut Mix) {
    mix.iter_mut().for_each(|sum| *sum >>= DUCK_BITS);
}

/// From silence to full strength over the first samples.
pub fn fade_in(voice: &mut Frame) {
    for (i, sample) in voice.iter_mut().take(RAMP).enumerate() {
        *sample = (i32::from(*sample) * (i as i32 + 1) / (RAMP as i32 + 1)) as i16;
    }
}

/// From full strength to silence over the first samples; the rest is silent.
pub fn fade_out(voice: &mut Frame) {
    let (edge, rest) = voice.split_at_mut(RAMP);
    for (i, sample) in edge.iter_mut().enumerate() {
        *sample = (i32::from(*sample) * (RAMP - i) as i32 / (RAMP as i32 + 1)) as i16;
    }
    rest.fill(0);
}

/// What is heard changes from one sound to another: the step between them is spread over the first samples.
pub fn seam(sound: &mut [i16], last: i16) {
    let Some(first) = sound.first() else { return };
    let step = i32::from(last) - i32::from(*first);
    for (i, sample) in sound.iter_mut().take(RAMP).enumerate() {
        let bridged = i32::from(*sample) + step * (RAMP - i) as i32 / (RAMP as i32 + 1);
        *sample = bridged.clamp(-LOUDEST, LOUDEST) as i16;
    }
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
    pub fn limit(&mut self, mix: &Mix) -> Frame {
        let loudest = mix.iter().fold(0, |most, sum| most.max(sum.abs()));
        if loudest <= LOUDEST && self.strength >= 1.0 {
            return mix.map(|sum| sum as i16);
        }
        let allowed = LOUDEST as f32 / loudest.max(LOUDEST) as f32;
        let from = self.strength;
        let to = allowed.min(from + RELEASE);
        self.strength = to;
        // Down at once over a ramp, up over the whole frame. What the ramp lets through is clipped.
        let over = if to < from { RAMP } else { FRAME };
        let mut frame = [0; FRAME];
        scale(&mix[..over], &mut frame[..over], from, (to - from) / over as f32);
        scale(&mix[over..], &mut frame[over..], to, 0.0);
        frame
    }
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
    use proptest::prelude::*;

    #[test]
    fn what_fits_is_not_touched() {
        let mut mix = [0; FRAME];
        add(&mut mix, &[12_345; FRAME]);
        add(&mut mix, &[-345; FRAME]);
        assert_eq!(Limiter::default().limit(&mix), [12_000; FRAME]);
        assert_eq!(less(&mix, &[12_345; FRAME]), [-345; FRAME]);
    }

    #[test]
    fn twenty_at_full_strength_do_not_wrap_and_calm_returns() {
        let mut limiter = Limiter::default();
        let mut mix = [0; FRAME];
        (0..20).for_each(|_| add(&mut mix, &[i16::MAX; FRAME]));
        for _ in 0..10 {
            assert!(limiter.limit(&mix).iter().all(|s| *s > 32_000));
        }
        let first = limiter.limit(&[1_000; FRAME]);
        assert!(first.iter().all(|s| (40..200).contains(s)), "{first:?}");
        for _ in 0..40 {
            limiter.limit(&[1_000; FRAME]);
        }
        assert_eq!(limiter.limit(&[1_000; FRAME]), [1_000; FRAME]);
    }

    #[test]
    fn ramps_and_seams_begin_where_the_sound_was() {
        let mut frame = [10_000; FRAME];
        fade_in(&mut frame);
        assert!(frame[0] < 300 && frame[RAMP] == 10_000);
        let mut frame = [10_000; FRAME];
        fade_out(&mut frame);
        assert!(frame[0] > 9_700 && frame[RAMP - 1] < 300 && frame[RAMP..].iter().all(|s| *s == 0));
        let mut frame = [-20_000; FRAME];
        seam(&mut frame, 20_000);
        assert!(frame[0] > 19_000 && frame[RAMP] == -20_000);
        assert!(frame.windows(2).all(|w| (i32::from(w[1]) - i32::from(w[0])).abs() < 1_100));
    }

    proptest! {
        #[test]
        fn the_limiter_never_turns_a_sign(sums in proptest::collection::vec(-40_000_000i32..40_000_000, FRAME), before: i16) {
            let mut limiter = Limiter::default();
            limiter.limit(&[i32::from(before) * 9; FRAME]);
            let mix: Mix = sums.try_into().unwrap();
            for (sample, sum) in limiter.limit(&mix).iter().zip(&mix) {
                prop_assert!(i32::from(*sample).signum() * sum.signum() >= 0);
                prop_assert!(i32::from(*sample).abs() <= sum.abs());
            }
        }
    }
}
