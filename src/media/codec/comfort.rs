//! Comfort noise (RFC 3389): a background that is described, not sent.
//!
//! [`Noise`] makes it from a description, [`Study`] describes what it hears and says when there is nothing but it.

/// The payload type at 8 kHz (RFC 3551 section 6, table 4).
pub const STATIC_TYPE: u8 = 13;
/// The clock that goes with that type.
pub const CLOCK_HZ: u32 = 8_000;
pub const NAME: &str = "CN";

/// Reflection coefficients listened to. RFC 3389 section 3.1 lets a receiver take fewer than were sent; more than 12 add
/// nothing that is heard.
pub const ORDER: usize = 12;
/// Level, and a coefficient an octet.
pub const PAYLOAD_MOST: usize = 1 + ORDER;
/// The lowest level that is written: nothing.
const LEVEL_LEAST: u8 = 127;
/// RFC 3389 section 3.2: a coefficient is 258/32768 for each step away from 127.
const STEPS: f32 = 32_768.0 / 258.0;
const MIDDLE: f32 = 127.0;
/// Nearer to 1, and the filter rings like a bell.
const REFLECTION_MOST: f32 = 0.98;
/// A new description is reached in so many samples, that no step is heard: 20 ms at 8 kHz.
const GLIDE: f32 = 160.0;

/// A description of a background.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shape {
    /// Standard deviation of the noise, in samples' units.
    loud: f32,
    reflections: [f32; ORDER],
}

impl Shape {
    const SILENCE: Shape = Shape { loud: 0.0, reflections: [0.0; ORDER] };

    /// Anything is a description: RFC 3389 has no payload that could not be meant.
    fn read(payload: &[u8]) -> Shape {
        let Some((level, coefficients)) = payload.split_first() else { return Shape::SILENCE };
        let mut reflections = [0.0; ORDER];
        for (reflection, octet) in reflections.iter_mut().zip(coefficients) {
            *reflection = ((f32::from(*octet) - MIDDLE) / STEPS).clamp(-REFLECTION_MOST, REFLECTION_MOST);
        }
        // RFC 3389 section 3: the first bit is 0, and to be ignored; the rest is -dBov.
        Shape { loud: loudness(level & 0x7f), reflections }
    }
}

/// What a level in -dBov is as a standard deviation: 0 dBov is a square wave of full scale.
fn loudness(level: u8) -> f32 {
    if level >= LEVEL_LEAST { 0.0 } else { 32_767.0 * 10_f32.powf(f32::from(level) / -20.0) }
}

/// Makes noise as described.
#[derive(Clone, Debug)]
pub struct Noise {
    /// Where it is, and where it goes.
    now: Shape,
    goal: Shape,
    past: [f32; ORDER],
    seed: u32,
}

impl Noise {
    /// Silence, until something is described. Streams of one seed make the same noise.
    pub fn new(seed: u32) -> Noise {
        Noise { now: Shape::SILENCE, goal: Shape::SILENCE, past: [0.0; ORDER], seed: seed | 1 }
    }

    /// Takes a payload, of any length and content.
    pub fn describe(&mut self, payload: &[u8]) {
        self.goal = Shape::read(payload);
    }

    pub fn fill(&mut self, out: &mut [i16]) {
        let step = (out.len() as f32 / GLIDE).min(1.0);
        let old = self.now.loud;
        self.now.loud += (self.goal.loud - old) * step;
        for (now, goal) in self.now.reflections.iter_mut().zip(&self.goal.reflections) {
            *now += (goal - *now) * step;
        }
        // A filter makes its input louder: the noise before it is as much weaker.
        let gain = self.now.reflections.iter().map(|k| 1.0 - k * k).product::<f32>().sqrt();
        let (from, count) = (old * gain, out.len().max(1) as f32);
        let rise = (self.now.loud * gain - from) / count;
        for (i, sample) in out.iter_mut().enumerate() {
            let white = self.draw() * (from + rise * i as f32);
            // The conversion stops at both ends.
            *sample = self.shaped(white).round() as i16;
        }
    }

    /// Uniform noise of variance 1, by xorshift.
    fn draw(&mut self) -> f32 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 17;
        self.seed ^= self.seed << 5;
        (self.seed as i32) as f32 * (1.732_050_8 / 2_147_483_648.0)
    }

    /// The lattice of RFC 3389 section 3.2's coefficients: stable while each is below 1.
    fn shaped(&mut self, white: f32) -> f32 {
        let mut forward = white;
        for i in (0..ORDER).rev() {
            let k = self.now.reflections[i];
            forward -= k * self.past[i];
            if i + 1 < ORDER {
                self.past[i + 1] = self.past[i] + k * forward;
            }
        }
        self.past[0] = forward;
        forward
    }
}

/// What is to be sent instead of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The frame itself: there is a voice in it, or was a moment ago.
    Voice,
    /// A description of the background, so many octets of the buffer: its first, or it has changed, or it is time.
    Describe(usize),
    /// Nothing at all.
    Rest,
}

/// Voice is this much above the background.
const VOICE_DB: f32 = 9.0;
/// Below this nothing is a voice, in dBov; above the other one everything is.
const FLOOR_DB: f32 = -65.0;
const CEILING_DB: f32 = -30.0;
/// Words end softly: so long after the last voice, frames are still sent.
const HANG_OVER_MS: u32 = 200;
/// The background is learnt upwards at 6 dB a second, downwards at once by half the way.
const RISE_DB_MS: f32 = 0.006;
/// A description is sent again when its level moves by so much, or after so long.
const CHANGE_DB: f32 = 3.0;
const AGAIN_MS: u32 = 1_000;

/// Listens to a stream that goes out, and knows its background.
#[derive(Clone, Debug)]
pub struct Study {
    floor_db: f32,
    /// Since the last voice, and since the last description.
    quiet_ms: u32,
    silent_ms: u32,
    told_db: Option<f32>,
    spectral: bool,
}

impl Study {
    /// `spectral`: descriptions have the colour of the noise too, not its level alone.
    pub fn new(spectral: bool) -> Study {
        Study { floor_db: FLOOR_DB, quiet_ms: HANG_OVER_MS, silent_ms: 0, told_db: None, spectral }
    }

    /// Judges a frame of `millis`. A description is written to `payload` ([`PAYLOAD_MOST`] octets are enough).
    pub fn hear(&mut self, frame: &[i16], millis: u32, payload: &mut [u8]) -> Verdict {
        let level = level_db(frame);
        let voiced = level > CEILING_DB || level > (self.floor_db + VOICE_DB).max(FLOOR_DB);
        self.learn(level, millis);
        self.quiet_ms = if voiced { 0 } else { self.quiet_ms.saturating_add(millis) };
        if self.quiet_ms < HANG_OVER_MS {
            self.told_db = None;
            return Verdict::Voice;
        }
        self.silent_ms = self.silent_ms.saturating_add(millis);
        if self.silent_ms < AGAIN_MS && self.told_db.is_some_and(|told| (told - level).abs() < CHANGE_DB) {
            return Verdict::Rest;
        }
        (self.told_db, self.silent_ms) = (Some(level), 0);
        Verdict::Describe(write(frame, level, self.spectral, payload))
    }

    fn learn(&mut self, level: f32, millis: u32) {
        let up = RISE_DB_MS * millis as f32;
        self.floor_db +=
            if level > self.floor_db { up.min(level - self.floor_db) } else { (level - self.floor_db) / 2.0 };
        self.floor_db = self.floor_db.clamp(-f32::from(LEVEL_LEAST), CEILING_DB - VOICE_DB);
    }
}

/// What is to be sent in place of a frame, to one who takes descriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    Frame,
    Describe(&'a [u8]),
    Nothing,
}

/// One sound's [`Study`], for all who are sent that sound.
#[derive(Clone, Debug)]
pub struct Teller {
    study: Study,
    verdict: Verdict,
    payload: [u8; PAYLOAD_MOST],
    octets: usize,
}

impl Teller {
    /// The colour of the noise is described where the sound has the rate that [`CLOCK_HZ`] says.
    pub fn new(rate_hz: u32) -> Teller {
        let study = Study::new(rate_hz == CLOCK_HZ);
        Teller { study, verdict: Verdict::Voice, payload: [0; PAYLOAD_MOST], octets: 0 }
    }

    /// Once for each frame.
    pub fn hear(&mut self, frame: &[i16], millis: u32) {
        let mut payload = [0; PAYLOAD_MOST];
        self.verdict = self.study.hear(frame, millis, &mut payload);
        if let Verdict::Describe(octets) = self.verdict {
            (self.payload, self.octets) = (payload, octets);
        }
    }

    /// `rests`: the listener knows already that nobody talks. Who comes later has to be told.
    pub fn tell(&self, rests: bool) -> Told<'_> {
        match self.verdict {
            Verdict::Voice => Told::Frame,
            Verdict::Rest if rests => Told::Nothing,
            _ => Told::Describe(&self.payload[..self.octets]),
        }
    }
}

/// Strength of a frame in dBov, -127 at least.
fn level_db(frame: &[i16]) -> f32 {
    let sum: i64 = frame.iter().map(|s| i64::from(*s) * i64::from(*s)).sum();
    let mean = sum as f32 / frame.len().max(1) as f32;
    let full = 32_767.0 * 32_767.0;
    (10.0 * (mean / full).max(1e-13).log10()).clamp(-f32::from(LEVEL_LEAST), 0.0)
}

fn write(frame: &[i16], level: f32, spectral: bool, payload: &mut [u8]) -> usize {
    let Some((first, rest)) = payload.split_first_mut() else { return 0 };
    *first = (-level).round() as u8;
    let coefficients = if spectral { rest.len().min(ORDER) } else { 0 };
    for (octet, k) in rest.iter_mut().zip(reflections(frame)).take(coefficients) {
        *octet = (k * STEPS + MIDDLE).round().clamp(0.0, 254.0) as u8;
    }
    1 + coefficients
}

/// Reflection coefficients of a frame (Levinson and Durbin), in the sign of [`Noise`].
fn reflections(frame: &[i16]) -> [f32; ORDER] {
    let mut likeness = [0.0_f32; ORDER + 1];
    for (lag, sum) in likeness.iter_mut().enumerate() {
        let pairs = frame.iter().zip(frame.get(lag..).unwrap_or_default());
        *sum = pairs.map(|(a, b)| f32::from(*a) * f32::from(*b)).sum();
    }
    let mut ks = [0.0; ORDER];
    let mut taps = [0.0; ORDER];
    // A little white noise keeps the sums apart where the frame is a pure tone, or nothing.
    let mut error = likeness[0] * 1.001 + 1.0;
    for i in 0..ORDER {
        let guess: f32 = (0..i).map(|j| taps[j] * likeness[i - j]).sum();
        let k = (-(likeness[i + 1] + guess) / error).clamp(-REFLECTION_MOST, REFLECTION_MOST);
        let old = taps;
        for j in 0..i {
            taps[j] = old[j] + k * old[i - 1 - j];
        }
        (taps[i], ks[i]) = (k, k);
        error *= 1.0 - k * k;
    }
    ks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn made(payload: &[u8]) -> Vec<i16> {
        let mut noise = Noise::new(7);
        noise.describe(payload);
        let mut out = vec![0; 160 * 40];
        out.chunks_mut(160).for_each(|frame| noise.fill(frame));
        out.split_off(320)
    }

    #[test]
    fn the_noise_is_as_loud_as_described() {
        for level in [20, 40, 60, 80] {
            for shape in [&[][..], &[200], &[40, 180], &[60, 150, 110, 140, 127, 127, 127, 127, 127, 127, 127, 127, 0]]
            {
                let heard = level_db(&made(&[&[level], shape].concat()));
                assert!((heard + f32::from(level)).abs() < 1.5, "{level} {shape:?}: {heard}");
            }
        }
        assert!(made(&[127]).iter().chain(&made(&[])).all(|s| *s == 0));
        assert_eq!(made(&[40 | 0x80]), made(&[40]), "the first bit says nothing");
    }

    /// What is described and made again is described the same.
    #[test]
    fn a_description_survives_the_trip() {
        let sent = [40, 30, 160, 100, 140, 127, 120];
        let mut told = [0; PAYLOAD_MOST];
        let sound = made(&sent);
        assert_eq!(write(&sound, level_db(&sound), true, &mut told), PAYLOAD_MOST);
        for (i, (a, b)) in told.iter().zip(sent.iter().chain(&[127; 6])).enumerate() {
            assert!(a.abs_diff(*b) <= 6, "octet {i}: {a} for {b}");
        }
    }

    #[test]
    fn silence_is_told_once_after_the_hang_over() {
        let mut study = Study::new(false);
        let mut payload = [0; PAYLOAD_MOST];
        let voice: Vec<i16> = (0..160).map(|i| if i % 20 < 10 { 6_000 } else { -6_000 }).collect();
        let hush = made(&[60]);
        let mut said = Vec::new();
        for beat in 0..200 {
            let frame = if beat < 20 { &voice } else { &hush[160 * (beat % 30)..][..160] };
            said.push(study.hear(frame, 20, &mut payload));
        }
        // Ten frames of hang-over follow the voice, less the one in which 200 ms are full.
        assert!(said[..29].iter().all(|v| *v == Verdict::Voice), "{said:?}");
        assert_eq!((said[29], payload[0].abs_diff(60) <= 2), (Verdict::Describe(1), true));
        let told = said[30..].iter().filter(|v| matches!(v, Verdict::Describe(1))).count();
        assert!((3..=5).contains(&told) && !said[30..].contains(&Verdict::Voice), "{told} {said:?}");
        assert_eq!(study.hear(&voice, 20, &mut payload), Verdict::Voice);
    }

    #[test]
    fn a_steady_hum_is_learnt() {
        let mut study = Study::new(true);
        let hum = made(&[45]);
        let verdicts: Vec<_> = (0..400).map(|_| study.hear(&hum[..160], 20, &mut [0; PAYLOAD_MOST])).collect();
        assert_eq!(verdicts[0], Verdict::Voice);
        // Learnt: a description a second, and nothing else.
        let told = verdicts[300..].iter().filter(|v| **v == Verdict::Describe(PAYLOAD_MOST)).count();
        assert_eq!((told, verdicts[300..].contains(&Verdict::Voice)), (2, false));
    }

    proptest! {
        #[test]
        fn anything_is_a_description(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..1_500), 1..6),
            length in 0usize..2_000,
        ) {
            let mut noise = Noise::new(1);
            for payload in payloads {
                noise.describe(&payload);
                noise.fill(&mut vec![0; length]);
                prop_assert!(noise.past.iter().all(|p| p.is_finite()));
            }
        }

        #[test]
        fn any_frame_is_judged(frame in proptest::collection::vec(any::<i16>(), 0..1_000), place in 0usize..20) {
            let mut study = Study::new(true);
            for _ in 0..15 {
                if let Verdict::Describe(octets) = study.hear(&frame, 20, &mut vec![0; place]) {
                    prop_assert!(octets <= place);
                }
            }
        }
    }
}
