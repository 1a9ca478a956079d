//! Automatic gain: the far corner of a table and the head on the microphone are heard alike.
//!
//! It measures only while somebody talks, and of that only what is near the loudest of it: what lies between words neither
//! moves the gain nor is raised by it more than the words were.

/// The mean magnitude that speech is brought to: speech of -20 dBFS has about this.
const TARGET: f32 = 2_000.0;
/// No hall is emptier and no voice louder than this corrects, decibels.
const DOWN_MOST_DB: f32 = -12.0;
const UP_MOST_DB: f32 = 18.0;
/// A tick: 12.5 dB a second up, since a louder breath is worse than a quiet word; down before the second word.
const UP_DB: f32 = 0.25;
const DOWN_DB: f32 = 1.0;
/// Nobody hears a decibel; without a dead zone the gain would follow every sentence.
const ENOUGH_DB: f32 = 1.0;
/// Speech is what is within 15 dB of its loudest tick; that memory fades by 6 dB a second of talk, so that a softer
/// voice on the same line is measured within two or three.
const NEAR: f32 = 0.178;
const FADE: f32 = 0.9863;
/// Ticks of speech that are averaged: 320 ms, a word.
const WORD: u16 = 16;
const LOUDEST: f32 = i16::MAX as f32;

/// One stream's gain. It begins at unity, and at unity it changes no sample.
#[derive(Clone, Copy, Debug)]
pub struct AutoGain {
    /// Mean magnitudes: of the loudest tick lately, and of speech.
    loudest: f32,
    heard: f32,
    /// Ticks measured so far, as far as it matters.
    ticks: u16,
    gain_db: f32,
    /// The factor at the end of the last tick.
    factor: f32,
}

impl Default for AutoGain {
    fn default() -> AutoGain {
        AutoGain { loudest: 0.0, heard: 0.0, ticks: 0, gain_db: 0.0, factor: 1.0 }
    }
}

impl AutoGain {
    /// Once a tick: how loud the stream is before the gain (see [`level`](super::level::level)), and whether that is talk.
    pub fn tick(&mut self, level: u16, talks: bool) {
        let level = f32::from(level);
        if !talks || level == 0.0 {
            return;
        }
        self.loudest = level.max(self.loudest * FADE);
        if level < self.loudest * NEAR {
            return;
        }
        self.ticks = (self.ticks + 1).min(WORD);
        self.heard += (level - self.heard) / f32::from(self.ticks);
        let wanted = decibels(TARGET / self.heard).clamp(DOWN_MOST_DB, UP_MOST_DB);
        let step = wanted - self.gain_db;
        if step.abs() > ENOUGH_DB {
            self.gain_db += step.clamp(-DOWN_DB, UP_DB);
        }
    }

    /// Decibels that the next [`AutoGain::apply`] aims at.
    pub fn gain_db(&self) -> f32 {
        self.gain_db
    }

    /// The sound of one tick, louder or softer. The gain changes over all of it; only before a peak that would not fit it
    /// comes down as fast as it must, and begins again from there.
    pub fn apply(&mut self, sound: &mut [i16]) {
        let from = self.factor;
        let mut to = factor(self.gain_db);
        if from == 1.0 && to == 1.0 {
            return;
        }
        let peak = f32::from(sound.iter().fold(0, |most, sample| sample.unsigned_abs().max(most)));
        let most = LOUDEST / peak.max(1.0);
        let mut over = sound.len();
        if from.max(to) > most.max(1.0) {
            to = to.min(most);
            self.gain_db = self.gain_db.min(decibels(to));
            let first = sound.iter().position(|sample| f32::from(sample.unsigned_abs()) * from > LOUDEST);
            over = first.unwrap_or(over);
        }
        let (ramp, rest) = sound.split_at_mut(over);
        let slope = (to - from) / over.max(1) as f32;
        for (i, sample) in ramp.iter_mut().enumerate() {
            *sample = scaled(*sample, from + slope * (i + 1) as f32);
        }
        rest.iter_mut().for_each(|sample| *sample = scaled(*sample, to));
        self.factor = to;
    }
}

fn scaled(sample: i16, factor: f32) -> i16 {
    (f32::from(sample) * factor).round().clamp(-LOUDEST, LOUDEST) as i16
}

fn decibels(factor: f32) -> f32 {
    20.0 * factor.log10()
}

/// Exactly 1 for nothing.
fn factor(db: f32) -> f32 {
    10f32.powf(db / 20.0)
}

#[cfg(test)]
mod tests {
    use super::super::level::Talk;
    use super::*;
    use crate::media::TICK_MS;
    use crate::media::codec::Rate;
    use proptest::prelude::*;

    const TICK: usize = Rate::Narrow.samples(TICK_MS as usize);

    fn speech() -> Vec<i16> {
        let file = include_bytes!("../../../config/prompts/en/enter_conference_id.wav");
        hound::WavReader::new(&file[..]).unwrap().samples::<i16>().map(Result::unwrap).collect()
    }

    fn level(sound: &[i16]) -> u16 {
        (sound.iter().map(|s| u32::from(s.unsigned_abs())).sum::<u32>() / sound.len() as u32) as u16
    }

    /// Two seconds of a voice that is `db` louder than usual, then the same again: the level of the second time.
    fn heard(db: f32) -> f32 {
        let (mut gain, mut talk) = (AutoGain::default(), Talk::default());
        let said: Vec<i16> = speech().iter().map(|s| scaled(*s, factor(db))).collect();
        let mut ticks = 0;
        let (mut sum, mut count) = (0.0, 0.0);
        for tick in said.chunks_exact(TICK).cycle() {
            let mut sound = tick.to_vec();
            let loud = level(tick) > 20;
            if talk.tick(loud, 200) {
                talk.turn();
            }
            gain.tick(level(tick), talk.on());
            gain.apply(&mut sound);
            ticks += usize::from(talk.on());
            if ticks > 100 && loud {
                sum += f32::from(level(&sound));
                count += 1.0;
            }
            if ticks > 300 {
                break;
            }
        }
        decibels(sum / count)
    }

    #[test]
    fn quiet_and_loud_are_heard_alike_after_two_seconds() {
        let usual = heard(0.0);
        for db in [-16.0, -10.0, -5.0, 5.0, 9.0] {
            assert!((heard(db) - usual).abs() < 3.0, "{db}: {} and {usual}", heard(db));
        }
        assert!(heard(-40.0) < usual - 15.0, "there is an end to it");
    }

    #[test]
    fn what_is_no_talk_is_not_raised() {
        let mut gain = AutoGain::default();
        (0..500).for_each(|_| gain.tick(30, false));
        assert_eq!(gain.gain_db(), 0.0);
        (0..50).for_each(|_| gain.tick(1_000, true));
        let before = gain.gain_db();
        // The breath behind the words, while the talk hangs over.
        (0..50).for_each(|_| gain.tick(60, true));
        (0..500).for_each(|_| gain.tick(60, false));
        assert_eq!(gain.gain_db(), before);
    }

    #[test]
    fn unity_changes_no_sample() {
        let mut gain = AutoGain::default();
        let sound: Vec<i16> = (0..TICK).map(|i| (i * 409) as i16).chain([i16::MIN]).collect();
        let mut same = sound.clone();
        (0..100).for_each(|_| {
            gain.tick(2_100, true);
            gain.apply(&mut same);
        });
        assert_eq!(same, sound);
    }

    #[test]
    fn it_comes_down_quicker_than_up() {
        let mut gain = AutoGain::default();
        let ticks_to = |gain: &mut AutoGain, level: u16| {
            (0..1_000)
                .take_while(|_| {
                    let before = gain.gain_db();
                    gain.tick(level, true);
                    gain.gain_db() != before
                })
                .count()
        };
        let up = ticks_to(&mut gain, 250);
        let down = ticks_to(&mut gain, 8_000);
        assert!(up > 2 * down, "{up} {down}");
    }

    proptest! {
        /// From any gain, a tone of any strength and pitch: no sample reaches the end of the scale that did not before,
        /// and no two samples are further apart than the loudest tone of that pitch has them.
        #[test]
        fn a_tone_is_never_clipped(quiet in 20..2_000u16, peak in 100.0..32_767f32, hz in 50.0..3_400f32, phase in 0.0..6.2f32) {
            let mut gain = AutoGain::default();
            (0..200).for_each(|_| gain.tick(quiet, true));
            gain.apply(&mut [0; TICK]);
            for tick in 0..20 {
                let sine = |i: usize| ((phase + (tick * TICK + i) as f32 * hz * std::f32::consts::TAU / 8_000.0).sin() * peak) as i16;
                let tone: Vec<i16> = (0..TICK).map(sine).collect();
                let mut sound = tone.clone();
                gain.tick(level(&tone), true);
                gain.apply(&mut sound);
                // Clipped, several samples in a row would lie at the end, while the tone's own move on.
                for (pair, own) in sound.windows(2).zip(tone.windows(2)) {
                    let at_end = pair.iter().all(|s| s.unsigned_abs() >= 32_766);
                    prop_assert!(!at_end || own[0].abs_diff(own[1]) <= 2, "{:?} {:?}", pair, own);
                    prop_assert!(pair[0] == 0 || own[0] == 0 || (pair[0] < 0) == (own[0] < 0));
                }
            }
        }

        /// Within a steady sound the gain never jumps.
        #[test]
        fn no_step_is_heard(levels in prop::collection::vec(50..6_000u16, 1..200)) {
            let mut gain = AutoGain::default();
            let mut last = 1_000i16;
            for level in levels {
                let mut sound = [1_000; TICK];
                gain.tick(level, true);
                gain.apply(&mut sound);
                for sample in sound {
                    prop_assert!(sample.abs_diff(last) <= 8, "{} {}", sample, last);
                    last = sample;
                }
            }
        }
    }
}
