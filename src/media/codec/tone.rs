//! Keys heard in the sound itself (ITU-T Q.23, Q.24), for callers whose carrier sends them in no other way.
//!
//! Windows of 13 ms, one every 10 ms, are each held against the eight frequencies. A window is a hit if two of them, one
//! of each group, hold nearly all of its energy in the right proportion, without overtones; three hits in a row are a
//! press. In all the minutes of our prompts there is not one hit. A tick costs 60 ns in silence and 0.7 µs while somebody
//! talks, ten times its share of the mix: only for callers with whom no telephone-event was agreed on.

/// Rows and columns of a keypad (ITU-T Q.23), Hz.
const ROWS: [f32; 4] = [697.0, 770.0, 852.0, 941.0];
const COLUMNS: [f32; 4] = [1_209.0, 1_336.0, 1_477.0, 1_633.0];
const KEYS: [[char; 4]; 4] = [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];

/// Units of 8 kHz: 105 samples tell neighbouring rows (73 Hz apart) from each other, and bear 1.5 % of detuning.
const WINDOW: usize = 105;
const HOP: usize = 80;
/// 48 kHz.
const RATIO_MOST: usize = 6;
/// Windows in a row that make a press: 33 ms, so that 40 ms always do (Q.24).
const HITS: u8 = 3;
/// Windows in a row without it that end a press: a pause of 30 ms does (Q.24), a click of 10 ms does not.
const MISSES: u8 = 3;
/// Either tone is at least that loud: an amplitude of 160 is -46 dBov. Q.24 wants -25 dBm, far louder.
const AMPLITUDE_LEAST: f32 = 160.0;
/// Share of a window's energy in the two tones. A window that the tone fills to four fifths has it, and so has one with
/// noise 6 dB below.
const SHARE_LEAST: f32 = 0.72;
/// The columns' tone against the rows': 4 and 8 dB by Q.24, and what lines and codecs add.
const LOUDER_MOST: f32 = 4.0;
const SOFTER_MOST: f32 = 10.0;
/// Each tone against the next of its group: 7 dB.
const LEAD_LEAST: f32 = 5.0;
/// Voices have overtones, keys have none above -10 dB.
const OVERTONE_MOST: f32 = 0.1;
/// Twice a row lies beside a column (1394 and 1336 Hz), and takes up so much of its power.
const LEAK_MOST: f32 = 0.5;

/// What one window said.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    key: Option<char>,
    hits: u8,
}

/// Listens to one stream. Allocates nothing.
#[derive(Clone, Debug)]
pub struct Detector {
    /// Sample rate in units of 8 kHz.
    ratio: usize,
    /// Of rows, then of columns, and of twice those.
    turns: [f32; 8],
    overtones: [f32; 8],
    held: [i16; WINDOW * RATIO_MOST],
    length: usize,
    run: Run,
    /// The key that is down, and windows since it was last heard.
    down: Option<char>,
    misses: u8,
    /// The latest window was a hit.
    hit: bool,
}

impl Detector {
    /// For 8, 16, 24, 32 or 48 kHz; another rate is taken as the next lower of these.
    pub fn new(rate_hz: u32) -> Detector {
        let ratio = (rate_hz as usize / 8_000).clamp(1, RATIO_MOST);
        let turn = |place: usize, times: f32| {
            let hz = if place < 4 { ROWS[place] } else { COLUMNS[place - 4] };
            2.0 * (std::f32::consts::TAU * times * hz / (8_000 * ratio) as f32).cos()
        };
        Detector {
            ratio,
            turns: std::array::from_fn(|place| turn(place, 1.0)),
            overtones: std::array::from_fn(|place| turn(place, 2.0)),
            held: [0; WINDOW * RATIO_MOST],
            length: 0,
            run: Run::default(),
            down: None,
            misses: 0,
            hit: false,
        }
    }

    /// Takes the sound of one tick (at most 30 ms); the key whose press became certain in it.
    pub fn tick(&mut self, mut sound: &[i16]) -> Option<char> {
        let (window, hop) = (WINDOW * self.ratio, HOP * self.ratio);
        let mut pressed = None;
        while !sound.is_empty() {
            let taken = sound.len().min(window - self.length);
            let (now, later) = sound.split_at(taken);
            self.held[self.length..self.length + taken].copy_from_slice(now);
            self.length += taken;
            sound = later;
            if self.length == window {
                let key = self.look();
                pressed = self.follow(key).or(pressed);
                self.held.copy_within(hop..window, 0);
                self.length = window - hop;
            }
        }
        pressed
    }

    /// Whether the room should not hear this: true from the first window that looks like a key (10 to 20 ms after its
    /// beginning), until the key is surely up.
    pub fn is_tone_now(&self) -> bool {
        self.hit || self.down.is_some()
    }

    /// Another source follows.
    pub fn forget(&mut self) {
        (self.length, self.run, self.down, self.misses, self.hit) = (0, Run::default(), None, 0, false);
    }

    /// One window more: a press begins with its third hit, and ends with three misses.
    fn follow(&mut self, key: Option<char>) -> Option<char> {
        self.hit = key.is_some();
        let hits = if key.is_some() && key == self.run.key { self.run.hits.saturating_add(1) } else { 1 };
        self.run = Run { key, hits };
        if key.is_some() && key == self.down {
            self.misses = 0;
            return None;
        }
        self.misses = self.misses.saturating_add(1);
        if self.misses >= MISSES {
            self.down = None;
        }
        if key.is_none() || hits < HITS {
            return None;
        }
        (self.down, self.misses) = (key, 0);
        key
    }

    /// The key in the window at hand.
    fn look(&self) -> Option<char> {
        let sound = &self.held[..WINDOW * self.ratio];
        let square = |sample: &i16| i64::from(i32::from(*sample) * i32::from(*sample));
        let energy = sound.iter().map(square).sum::<i64>() as f32;
        let length = sound.len() as f32;
        let least = AMPLITUDE_LEAST * AMPLITUDE_LEAST / 2.0 * length;
        // Most windows end here: nobody talks.
        if energy < 2.0 * least {
            return None;
        }
        let powers = powers(&self.turns, sound).map(|power| power * 2.0 / length);
        let (row, low) = leader(&powers[..4])?;
        let (column, high) = leader(&powers[4..])?;
        let balanced = high <= low * LOUDER_MOST && low <= high * SOFTER_MOST;
        if low.min(high) < least || !balanced || low + high < energy * SHARE_LEAST {
            return None;
        }
        let overtones = powers_of(&self.overtones, row, column, sound).map(|power| power * 2.0 / length);
        let clean = overtones[0] <= low * OVERTONE_MOST + high * LEAK_MOST && overtones[1] <= high * OVERTONE_MOST;
        clean.then(|| KEYS[row][column])
    }
}

/// The strongest of a group, if it leads clearly.
fn leader(powers: &[f32]) -> Option<(usize, f32)> {
    let (place, power) = powers.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
    let clear = powers.iter().enumerate().all(|(other, next)| other == place || next * LEAD_LEAST <= power);
    clear.then_some((place, power))
}

fn powers_of(turns: &[f32; 8], row: usize, column: usize, sound: &[i16]) -> [f32; 2] {
    powers(&[turns[row], turns[4 + column]], sound)
}

/// Goertzel's filter for several frequencies side by side (SIMD's lanes); `turns` are twice the cosines of their steps.
fn powers<const N: usize>(turns: &[f32; N], sound: &[i16]) -> [f32; N] {
    let (mut last, mut before) = ([0.0f32; N], [0.0f32; N]);
    for sample in sound {
        let sample = f32::from(*sample);
        for lane in 0..N {
            // In this order: what comes two steps later waits for one product and one sum alone.
            let next = (sample - before[lane]) + turns[lane] * last[lane];
            (before[lane], last[lane]) = (last[lane], next);
        }
    }
    std::array::from_fn(|lane| {
        last[lane] * last[lane] + before[lane] * before[lane] - turns[lane] * last[lane] * before[lane]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Clip;
    use crate::media::codec::g711;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::path::Path;

    const ALL: &str = "123A456B789C*0#D";

    struct Phone {
        rate_hz: u32,
        sound: Vec<i16>,
    }

    impl Phone {
        fn new(rate_hz: u32) -> Phone {
            Phone { rate_hz, sound: Vec::new() }
        }

        fn pause(&mut self, millis: u32) {
            self.sound.extend(vec![0; (millis * self.rate_hz / 1_000) as usize]);
        }

        /// Amplitudes of row and column; `tune` is 1.0 for exact frequencies.
        fn key(&mut self, key: char, millis: u32, (low, high): (f32, f32), tune: f32) {
            let place = ALL.find(key).unwrap();
            let (row, column) = (ROWS[place / 4] * tune, COLUMNS[place % 4] * tune);
            let turn = std::f32::consts::TAU / self.rate_hz as f32;
            self.sound.extend((0..millis * self.rate_hz / 1_000).map(|i| {
                let i = i as f32;
                (low * (turn * row * i).sin() + high * (turn * column * i).sin()) as i16
            }));
        }

        fn noise(&mut self, amplitude: i16) {
            let mut random = StdRng::seed_from_u64(5);
            self.sound
                .iter_mut()
                .for_each(|sample| *sample = sample.saturating_add(random.random_range(-amplitude..=amplitude)));
        }

        /// What is heard in ticks of 20 ms, and how many of them were muted.
        fn heard(&self) -> (String, usize) {
            let mut detector = Detector::new(self.rate_hz);
            let (mut keys, mut muted) = (String::new(), 0);
            for tick in self.sound.chunks(self.rate_hz as usize / 50) {
                keys.extend(detector.tick(tick));
                muted += usize::from(detector.is_tone_now());
            }
            (keys, muted)
        }
    }

    /// The bounds of Q.24, each key at each edge, at every offset against the tick.
    #[test]
    fn keys_within_the_bounds_are_heard_once() {
        let loud = (6_000.0, 6_000.0);
        let table = [
            ("plain", 100, 100, loud, 1.0, 0),
            ("shortest", 40, 30, loud, 1.0, 0),
            ("long", 3_000, 30, loud, 1.0, 0),
            ("loudest", 50, 50, (16_000.0, 16_000.0), 1.0, 0),
            ("softest", 50, 50, (400.0, 400.0), 1.0, 0),
            ("column 4 dB up", 50, 50, (4_000.0, 6_340.0), 1.0, 0),
            ("row 8 dB up", 50, 50, (6_000.0, 2_390.0), 1.0, 0),
            ("1.5 % high", 50, 50, loud, 1.015, 0),
            ("1.5 % low", 50, 50, loud, 0.985, 0),
            // Even noise of that peak has 15 dB less power than both tones.
            ("noise 15 dB down", 60, 50, loud, 1.0, 1_800),
        ];
        for (rate_hz, offsets) in [(8_000, &[0, 3, 7, 11, 16][..]), (16_000, &[0, 8]), (48_000, &[5])] {
            for (name, millis, pause, level, tune, noise) in table {
                for offset in offsets.iter().copied() {
                    let mut phone = Phone::new(rate_hz);
                    phone.pause(40 + offset);
                    for key in ALL.chars().flat_map(|key| [key, key]) {
                        phone.key(key, millis, level, tune);
                        phone.pause(pause);
                    }
                    phone.noise(noise);
                    let expected: String = ALL.chars().flat_map(|key| [key, key]).collect();
                    assert_eq!(phone.heard().0, expected, "{name}, {rate_hz} Hz, {offset} ms");
                }
            }
        }
    }

    #[test]
    fn what_is_no_key_is_not_heard() {
        let loud = (6_000.0, 6_000.0);
        let table = [
            ("too short", 20, loud, 1.0),
            ("too soft", 100, (80.0, 80.0), 1.0),
            ("one tone alone", 100, (6_000.0, 0.0), 1.0),
            ("far too much column", 100, (1_000.0, 6_000.0), 1.0),
            ("far too much row", 100, (6_000.0, 1_000.0), 1.0),
            ("tuned between rows", 100, loud, 1.05),
        ];
        for (name, millis, level, tune) in table {
            let mut phone = Phone::new(8_000);
            for key in ALL.chars() {
                phone.pause(50);
                phone.key(key, millis, level, tune);
            }
            phone.pause(50);
            assert_eq!(phone.heard().0, "", "{name}");
        }
    }

    #[test]
    fn a_click_within_a_press_is_no_second_press() {
        let mut phone = Phone::new(8_000);
        phone.key('7', 100, (6_000.0, 6_000.0), 1.0);
        phone.pause(8);
        phone.key('7', 100, (6_000.0, 6_000.0), 1.0);
        phone.pause(100);
        assert_eq!(phone.heard().0, "7");
    }

    /// The room hears at most 20 ms of a key, and misses nothing after it.
    #[test]
    fn a_key_is_muted_from_its_beginning() {
        for offset in 0..20 {
            let mut phone = Phone::new(8_000);
            phone.pause(100 + offset);
            phone.key('5', 200, (6_000.0, 6_000.0), 1.0);
            phone.pause(200);
            let mut detector = Detector::new(8_000);
            let mut muted = phone.sound.chunks(160).map(|tick| {
                detector.tick(tick);
                detector.is_tone_now()
            });
            let first = muted.position(|muted| muted).unwrap() * 20;
            assert!(first <= 100 + offset as usize + 20 && first + 20 > 100 + offset as usize, "{offset}: {first}");
            assert!(muted.filter(|muted| *muted).count() <= 12, "{offset}");
        }
    }

    #[test]
    fn keys_survive_both_laws() {
        let mut phone = Phone::new(8_000);
        for key in ALL.chars() {
            phone.key(key, 50, (3_000.0, 3_500.0), 1.0);
            phone.pause(50);
        }
        type Law = (fn(&[i16], &mut [u8]), fn(&[u8], &mut [i16]));
        let laws: [Law; 2] = [(g711::ulaw_encode, g711::ulaw_decode), (g711::alaw_encode, g711::alaw_decode)];
        for (encode, decode) in laws {
            let mut line = vec![0; phone.sound.len()];
            encode(&phone.sound, &mut line);
            decode(&line, &mut phone.sound);
            assert_eq!(phone.heard().0, ALL);
        }
    }

    /// Every prompt, at three levels, and the music and the tones too: no key, and hardly a tick muted.
    #[test]
    fn speech_and_music_are_no_keys() {
        let (mut ticks, mut muted) = (0, 0);
        for folder in ["en", "it", "common"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/prompts").join(folder);
            for entry in std::fs::read_dir(path).unwrap() {
                let path = entry.unwrap().path();
                if path.extension().is_none_or(|ending| ending != "wav") {
                    continue;
                }
                let clip = Clip::from_wav(&std::fs::read(&path).unwrap()).unwrap();
                for (times, over) in [(1, 1), (3, 1), (1, 4)] {
                    let louder = |sample: &i16| (i32::from(*sample) * times / over).clamp(-32_768, 32_767) as i16;
                    let phone = Phone { rate_hz: 8_000, sound: clip.samples().iter().map(louder).collect() };
                    let (keys, mute) = phone.heard();
                    assert_eq!(keys, "", "{} at {times}/{over}", path.display());
                    (ticks, muted) = (ticks + phone.sound.len() / 160, muted + mute);
                }
            }
        }
        assert!(ticks > 3 * 50 * 120 && muted * 10_000 <= ticks, "{muted} of {ticks} ticks muted");
    }

    #[test]
    fn noise_is_no_key() {
        let mut phone = Phone::new(8_000);
        phone.pause(120_000);
        phone.noise(8_000);
        let (keys, muted) = phone.heard();
        assert_eq!((keys.as_str(), muted <= 3), ("", true), "{muted}");
    }
}
