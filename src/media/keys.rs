//! The keys of one caller, however they come: as events (RFC 4733), in SIP INFO, as tones in the sound.

use super::Rate;
use super::codec::tone::Detector;
use super::mixer::sum;
use super::rtp::press::{Presses, Source};
use crate::clock::Mono;

/// Some gateways agree on events and leave the tones in the sound all the same, so tones are listened for until a first
/// event has come. From then on events alone count: they hush their own sound, and no voice is ever taken for a key.
pub struct Keys {
    presses: Presses,
    tones: Detector,
    by_event: bool,
    hushed: bool,
}

impl Keys {
    pub fn new(rate: Rate) -> Keys {
        Keys { presses: Presses::default(), tones: Detector::new(rate.hz()), by_event: false, hushed: false }
    }

    /// Another codec, or another telephone, follows. What was pressed stays pressed.
    pub fn change(&mut self, rate: Rate) {
        (self.tones, self.by_event) = (Detector::new(rate.hz()), false);
    }

    /// A key was told; it comes back if it is a press of its own.
    pub fn told(&mut self, now: Mono, source: Source, key: char) -> Option<char> {
        self.by_event |= source == Source::Event;
        self.presses.handle(now, source, key)
    }

    /// The sound of one tick: tones are taken out of it, and the press that became certain comes back. Not `tones`: nobody
    /// sends keys so, and what sounds like one is a voice.
    pub fn listen(&mut self, now: Mono, sound: &mut [i16], tones: bool) -> Option<char> {
        let listens = tones && !self.by_event;
        let key = if listens { self.tones.tick(sound) } else { None };
        let hush = listens && self.tones.is_tone_now();
        match (std::mem::replace(&mut self.hushed, hush), hush) {
            (false, true) => sum::fade_out(sound),
            (true, true) => sound.fill(0),
            (true, false) => sum::fade_in(sound),
            (false, false) => {}
        }
        key.and_then(|key| self.told(now, Source::Tone, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::TAU;

    /// 100 ms of the tone of 5, 100 ms of a voice at 500 Hz, again and again.
    fn line(ticks: usize) -> Vec<i16> {
        let wave = |hz: f64, n: usize| (TAU * hz * n as f64 / 8_000.0).sin();
        let sample = |n: usize| match n / 800 % 2 {
            0 => 8_000.0 * (wave(770.0, n) + wave(1_336.0, n)),
            _ => 8_000.0 * wave(500.0, n),
        };
        (0..ticks * 160).map(|n| sample(n) as i16).collect()
    }

    fn heard(keys: &mut Keys, sound: &mut [i16], events_at: &[usize]) -> String {
        let mut pressed = String::new();
        for (tick, frame) in sound.chunks_mut(160).enumerate() {
            let now = Mono::from_millis(20 * tick as u64);
            if events_at.contains(&tick) {
                pressed.extend(keys.told(now, Source::Event, '5'));
            }
            pressed.extend(keys.listen(now, frame, true));
        }
        pressed
    }

    #[test]
    fn tones_are_keys_and_nobody_hears_them() {
        let mut sound = line(40);
        assert_eq!(heard(&mut Keys::new(Rate::Narrow), &mut sound, &[]), "5555");
        for press in 0..4 {
            let at = press * 1_600;
            assert!(sound[at + 320..at + 800].iter().all(|sample| *sample == 0), "all but its first moment");
            let voice = sound[at + 1_280..at + 1_600].iter().map(|sample| sample.unsigned_abs()).max().unwrap();
            assert!(voice > 7_900, "the voice is back: {voice}");
        }
    }

    #[test]
    fn each_press_counts_once_and_who_sends_events_is_not_listened_to() {
        let mut sound = line(40);
        // The first press comes in both ways; the others come as tones of somebody who sends events: his voice, then.
        assert_eq!(heard(&mut Keys::new(Rate::Narrow), &mut sound, &[3]), "5");
        assert_eq!(sound[1_700..], line(40)[1_700..], "untouched");
    }

    #[test]
    fn where_nobody_sends_keys_as_tones_none_is_heard_and_the_sound_is_left_alone() {
        let sound = line(40);
        let mut kept = sound.clone();
        let mut keys = Keys::new(Rate::Narrow);
        for (n, tick) in kept.chunks_mut(160).enumerate() {
            assert_eq!(keys.listen(Mono::from_millis(20 * n as u64), tick, false), None);
        }
        assert_eq!(kept, sound);
        assert!(!heard(&mut Keys::new(Rate::Narrow), &mut kept, &[]).is_empty(), "it is one to whoever listens");
    }
}
