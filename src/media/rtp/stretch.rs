//! Sound made shorter or longer where it is least heard: a piece as long as the sound repeats itself after is taken out,
//! or played twice, and the ends are blended. Its pitch stays what it was.

use crate::media::codec::conceal::{BASE_HZ, product};

/// Shortest and longest piece, and the blend, by the rate: 2.5 ms, 15 ms, 5 ms.
pub const fn piece_least(rate_hz: usize) -> usize {
    rate_hz / 400
}

pub const fn piece_most(rate_hz: usize) -> usize {
    rate_hz * 15 / 1_000
}

pub const fn blend(rate_hz: usize) -> usize {
    rate_hz / 200
}

/// A piece at the beginning of some sound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    pub length: usize,
    /// How much what follows the piece resembles its beginning: 1 is the same, 0 nothing in common.
    pub likeness: f32,
}

/// The best piece of at most `most` samples for [`shorten`] or [`lengthen`]; `None` if the sound is too short.
pub fn find(sound: &[i16], rate_hz: usize, most: usize) -> Option<Piece> {
    let blend = blend(rate_hz);
    let most = most.min(piece_most(rate_hz)).min(sound.len().checked_sub(blend)?);
    let least = piece_least(rate_hz);
    if most < least {
        return None;
    }
    let step = (rate_hz / BASE_HZ).max(1);
    let coarse = best(sound, blend, (least..=most).rev().step_by(step))?;
    if step == 1 {
        return Some(coarse);
    }
    let (from, to) = ((coarse.length - step).max(least), (coarse.length + step).min(most));
    best(sound, blend, (from..=to).rev())
}

/// Longer pieces are preferred, as fewer are then needed.
fn best(sound: &[i16], blend: usize, lengths: impl Iterator<Item = usize>) -> Option<Piece> {
    let head = &sound[..blend];
    let power = product(head, head);
    let mut best: Option<Piece> = None;
    for length in lengths {
        let after = &sound[length..length + blend];
        let likeness = (product(head, after) + 1.0) / (power * product(after, after)).sqrt().max(1.0);
        if best.is_none_or(|best| likeness > best.likeness + 0.001) {
            best = Some(Piece { length, likeness: likeness.min(1.0) });
        }
    }
    best
}

/// Takes the first `length` samples out of `sound`; what is left has moved to the front, and its length is told.
pub fn shorten(sound: &mut [i16], rate_hz: usize, length: usize) -> usize {
    let blend = blend(rate_hz).min(sound.len().saturating_sub(length));
    // From behind: a piece shorter than the blend is read where it was not yet written.
    for i in (0..blend).rev() {
        sound[length + i] = mix(sound[i], sound[length + i], i, blend);
    }
    sound.copy_within(length.min(sound.len()).., 0);
    sound.len().saturating_sub(length)
}

/// Plays the first `length` of the `used` samples twice; the room for them must lie behind. The new number is told.
pub fn lengthen(sound: &mut [i16], used: usize, rate_hz: usize, length: usize) -> usize {
    let blend = blend(rate_hz);
    if length + blend > used || used + length > sound.len() {
        return used;
    }
    sound.copy_within(..used, length);
    for i in 0..blend {
        let (old, new) = (sound[2 * length + i], sound[length + i]);
        sound[length + i] = mix(old, new, i, blend);
    }
    used + length
}

fn mix(old: i16, new: i16, i: usize, blend: usize) -> i16 {
    let (old, new) = (i32::from(old), i32::from(new));
    (old + (new - old) * (i as i32 + 1) / (blend as i32 + 1)) as i16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::f32::consts::TAU;

    fn tone(hz: f32, rate_hz: usize, length: usize) -> Vec<i16> {
        (0..length).map(|i| (8_000.0 * (TAU * hz * i as f32 / rate_hz as f32).sin()) as i16).collect()
    }

    fn steepest(sound: &[i16]) -> i32 {
        sound.windows(2).map(|w| (i32::from(w[1]) - i32::from(w[0])).abs()).max().unwrap()
    }

    #[test]
    fn a_tone_is_changed_in_length_and_nothing_else() {
        for rate_hz in [8_000, 16_000, 24_000, 32_000, 48_000] {
            for hz in [100.0, 210.0, 400.0, 443.0, 1_000.0, 1_937.0] {
                let frames = rate_hz / 25;
                let sound = tone(hz, rate_hz, frames);
                let may = (8_000.0 * TAU * hz / rate_hz as f32) as i32 * 11 / 10 + 60;
                let piece = find(&sound, rate_hz, frames).unwrap();
                assert!(piece.likeness > 0.95, "{rate_hz} {hz}: {piece:?}");
                let mut short = sound.clone();
                let left = shorten(&mut short, rate_hz, piece.length);
                assert_eq!(left, frames - piece.length);
                assert!(steepest(&short[..left]) <= may, "{rate_hz} {hz}: {}", steepest(&short[..left]));
                assert_eq!(short[left - 1], sound[frames - 1]);
                let mut long = sound.clone();
                long.resize(2 * frames, 0);
                let used = lengthen(&mut long, frames, rate_hz, piece.length);
                assert_eq!(used, frames + piece.length);
                assert!(steepest(&long[..used]) <= may, "{rate_hz} {hz}: {}", steepest(&long[..used]));
                assert_eq!((long[0], long[used - 1]), (sound[0], sound[frames - 1]));
            }
        }
    }

    #[test]
    fn too_little_sound_has_no_piece() {
        assert_eq!(find(&[1; 59], 8_000, 100), None);
        assert_eq!(find(&[1; 160], 8_000, 19), None);
        assert_eq!(find(&[0; 160], 8_000, 33).map(|piece| piece.length), Some(33));
    }

    proptest! {
        #[test]
        fn any_sound_and_length_will_do(sound in proptest::collection::vec(any::<i16>(), 0..700), most in 0usize..800, wide: bool) {
            let rate_hz = if wide { 16_000 } else { 8_000 };
            let mut room = sound.clone();
            room.resize(sound.len() + 900, 0);
            prop_assert!(shorten(&mut sound.clone(), rate_hz, most) <= sound.len());
            prop_assert!(lengthen(&mut room, sound.len(), rate_hz, most) <= room.len());
            if let Some(piece) = find(&sound, rate_hz, most) {
                prop_assert!(piece.length <= most && piece.length + blend(rate_hz) <= sound.len());
            }
        }
    }
}
