//! G.722 at 64 kbit/s (mode 1), bit-exact: the sound of 16 kHz is split in two bands of 8 kHz, of which the lower is sent
//! in 6 bits a sample and the upper in 2, each as the difference from what its predictor expects (ADPCM).
//!
//! Names in capitals beside the code are the blocks of the recommendation's section 6.2; all arithmetic is its 16 bits,
//! held in 32.

/// The halves of the quadrature mirror filter (table 11): its 24 taps are these, and these backwards.
const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3_876, -805, 362, -156, 53, -11];
/// Samples that the filter remembers beside the pair at hand.
const TAIL: usize = 22;
/// Pairs of samples filtered at once.
const BLOCK: usize = 80;

/// Where one step of the lower band ends and the next begins (table 14), as shares of the scale.
const LOW_LEVELS: [i32; 30] = [
    0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1_023, 1_121, 1_219,
    1_339, 1_458, 1_612, 1_765, 1_980, 2_195, 2_557, 2_919,
];
/// What a code of the lower band stands for, in its 6 bits and in their upper 4, by which the predictors learn.
const LOW_6: [i32; 64] = [
    -136, -136, -136, -136, -24_808, -21_904, -19_008, -16_704, -14_984, -13_512, -12_280, -11_192, -10_232, -9_360,
    -8_576, -7_856, -7_192, -6_576, -6_000, -5_456, -4_944, -4_464, -4_008, -3_576, -3_168, -2_776, -2_400, -2_032,
    -1_688, -1_360, -1_040, -728, 24_808, 21_904, 19_008, 16_704, 14_984, 13_512, 12_280, 11_192, 10_232, 9_360, 8_576,
    7_856, 7_192, 6_576, 6_000, 5_456, 4_944, 4_464, 4_008, 3_576, 3_168, 2_776, 2_400, 2_032, 1_688, 1_360, 1_040,
    728, 432, 136, -432, -136,
];
const LOW_4: [i32; 16] =
    [0, -20_456, -12_896, -8_968, -6_288, -4_240, -2_584, -1_200, 20_456, 12_896, 8_968, 6_288, 4_240, 2_584, 1_200, 0];
/// How a code of the lower band moves the scale (tables 18 and 19 in one: W_L of R_L).
const LOW_SCALE: [i32; 16] = [-60, 3_042, 1_198, 538, 334, 172, 58, -30, 3_042, 1_198, 538, 334, 172, 58, -30, -60];
/// The same of the upper band: where its two steps part, what its codes stand for, how they move the scale.
const HIGH_LEVEL: i32 = 564;
const HIGH_2: [i32; 4] = [-7_408, -1_616, 7_408, 1_616];
const HIGH_SCALE: [i32; 4] = [798, -214, 798, -214];
/// Powers of two in steps of a 32nd (table 21), times 2048.
const POWER: [i32; 32] = [
    2_048, 2_093, 2_139, 2_186, 2_233, 2_282, 2_332, 2_383, 2_435, 2_489, 2_543, 2_599, 2_656, 2_714, 2_774, 2_834,
    2_896, 2_960, 3_025, 3_091, 3_158, 3_228, 3_298, 3_371, 3_444, 3_520, 3_597, 3_676, 3_756, 3_838, 3_922, 4_008,
];
/// The scale's logarithm: how fast it forgets, and how high it goes (lower and upper band).
const LOW_MOST: i32 = 18_432;
const HIGH_MOST: i32 = 22_528;
/// The scales at reset. A coder that begins with 0 is not understood for its first frames.
const LOW_START: i32 = 32;
const HIGH_START: i32 = 8;

const fn sat(value: i32) -> i32 {
    if value > 32_767 {
        32_767
    } else if value < -32_768 {
        -32_768
    } else {
        value
    }
}

/// One band's predictor and scale: the same in coder and decoder, which is why they stay together.
#[derive(Clone, Debug)]
struct Band {
    /// The prediction: of the zeros, and of zeros and poles.
    zeros: i32,
    guess: i32,
    poles: [i32; 2],
    taps: [i32; 6],
    /// Last differences, last values of both, last values of the zeros alone.
    differences: [i32; 6],
    values: [i32; 2],
    partial: [i32; 2],
    /// Logarithm of the scale, and the scale.
    log: i32,
    scale: i32,
}

impl Band {
    const fn new(scale: i32) -> Band {
        Band {
            zeros: 0,
            guess: 0,
            poles: [0; 2],
            taps: [0; 6],
            differences: [0; 6],
            values: [0; 2],
            partial: [0; 2],
            log: 0,
            scale,
        }
    }

    /// LOGSCL, SCALEL and their twins: `bits` is the place of the highest power.
    fn rescale(&mut self, by: i32, most: i32, bits: i32) {
        self.log = (((self.log * 127) >> 7) + by).clamp(0, most);
        let power = POWER[((self.log >> 6) & 31) as usize];
        let shift = bits - (self.log >> 11);
        self.scale = if shift < 0 { power << -shift } else { power >> shift } << 2;
    }

    /// Block 4: the predictor learns from the difference, and guesses the next value.
    fn learn(&mut self, difference: i32) {
        // RECONS, PARREC
        let value = sat(self.guess + difference);
        let partial = sat(self.zeros + difference);
        let [first, second] = self.partial.map(|old| (old < 0) == (partial < 0));
        // UPPOL2, UPPOL1
        let lean = sat(self.poles[0] << 2);
        let lean = if first { (-lean).min(32_767) } else { lean };
        let second = (lean >> 7) + if second { 128 } else { -128 } + ((self.poles[1] * 32_512) >> 15);
        let second = second.clamp(-12_288, 12_288);
        let limit = 15_360 - second;
        let first = if first { 192 } else { -192 } + ((self.poles[0] * 32_640) >> 15);
        self.poles = [first.clamp(-limit, limit), second];
        // UPZERO
        let step = if difference == 0 { 0 } else { 128 };
        for (tap, old) in self.taps.iter_mut().zip(&self.differences) {
            let towards = if (old ^ difference) >= 0 { step } else { -step };
            *tap = ((*tap * 32_640) >> 15) + towards;
        }
        // DELAYA, DELAYL
        let [d0, d1, d2, d3, d4, _] = self.differences;
        self.differences = [difference, d0, d1, d2, d3, d4];
        self.values = [value, self.values[0]];
        self.partial = [partial, self.partial[0]];
        // FILTEZ, FILTEP, PREDIC
        let zeros = self.taps.iter().zip(&self.differences).map(|(tap, d)| (tap * sat(d << 1)) >> 15).sum::<i32>();
        self.zeros = sat(zeros);
        let poles =
            self.poles.iter().zip(&self.values).map(|(pole, value)| (pole * sat(value << 1)) >> 15).sum::<i32>();
        self.guess = sat(sat(poles) + self.zeros);
    }

    /// What follows from a code of the lower band, in coder and decoder alike.
    fn follow_low(&mut self, code: usize) {
        let difference = (self.scale * LOW_4[code >> 2]) >> 15;
        self.rescale(LOW_SCALE[code >> 2], LOW_MOST, 8);
        self.learn(difference);
    }

    fn follow_high(&mut self, code: usize, difference: i32) {
        self.rescale(HIGH_SCALE[code], HIGH_MOST, 10);
        self.learn(difference);
    }

    /// QUANTL: the code of what the guess missed. Codes of negative differences go down from 63 and 31, of others from 61.
    fn low_code(&self, value: i32) -> usize {
        let miss = sat(value - self.guess);
        let size = if miss < 0 { !miss } else { miss };
        // Halves of 32 levels: the last two are out of reach.
        let mut step = 0;
        for half in [16, 8, 4, 2, 1] {
            let next = step + half;
            if next < LOW_LEVELS.len() && size >= (LOW_LEVELS[next] * self.scale) >> 12 {
                step = next;
            }
        }
        match (miss < 0, step) {
            (false, step) => 61 - step,
            (true, step @ 0..2) => 63 - step,
            (true, step) => 33 - step,
        }
    }

    /// QUANTH.
    fn high_code(&self, value: i32) -> usize {
        let miss = sat(value - self.guess);
        let size = if miss < 0 { !miss } else { miss };
        let far = size >= (HIGH_LEVEL * self.scale) >> 12;
        usize::from(miss >= 0) << 1 | usize::from(!far)
    }
}

/// From sound of 16 kHz to octets, two samples each.
#[derive(Clone, Debug)]
pub struct Encoder {
    low: Band,
    high: Band,
    past: [i16; TAIL],
}

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder { low: Band::new(LOW_START), high: Band::new(HIGH_START), past: [0; TAIL] }
    }
}

impl Encoder {
    /// Codes as many pairs of samples as fit both slices.
    pub fn encode(&mut self, sound: &[i16], line: &mut [u8]) {
        for (pairs, octets) in sound.chunks(2 * BLOCK).zip(line.chunks_mut(BLOCK)) {
            self.block(&pairs[..pairs.len() & !1], octets);
        }
    }

    fn block(&mut self, pairs: &[i16], octets: &mut [u8]) {
        let mut window = [0; TAIL + 2 * BLOCK];
        window[..TAIL].copy_from_slice(&self.past);
        window[TAIL..][..pairs.len()].copy_from_slice(pairs);
        for (octet, at) in octets.iter_mut().zip((0..pairs.len()).step_by(2)) {
            let (low, high) = split(&window[at..at + TAIL + 2]);
            let low_code = self.low.low_code(low);
            let high_code = self.high.high_code(high);
            self.low.follow_low(low_code);
            self.high.follow_high(high_code, (self.high.scale * HIGH_2[high_code]) >> 15);
            *octet = (high_code << 6 | low_code) as u8;
        }
        self.past.copy_from_slice(&window[pairs.len()..][..TAIL]);
    }
}

/// TRANSMIT QMF: the two bands of 24 samples.
fn split(window: &[i16]) -> (i32, i32) {
    let (mut even, mut odd) = (0, 0);
    for (tap, pair) in window.chunks_exact(2).enumerate() {
        even += i32::from(pair[0]) * QMF[tap];
        odd += i32::from(pair[1]) * QMF[11 - tap];
    }
    ((even + odd) >> 14, (odd - even) >> 14)
}

/// From octets to sound of 16 kHz, two samples each.
#[derive(Clone, Debug)]
pub struct Decoder {
    low: Band,
    high: Band,
    past: [i16; TAIL],
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder { low: Band::new(LOW_START), high: Band::new(HIGH_START), past: [0; TAIL] }
    }
}

impl Decoder {
    /// Decodes as many octets as fit both slices.
    pub fn decode(&mut self, line: &[u8], sound: &mut [i16]) {
        for (octets, pairs) in line.chunks(BLOCK).zip(sound.chunks_mut(2 * BLOCK)) {
            self.block(octets, pairs);
        }
    }

    fn block(&mut self, octets: &[u8], pairs: &mut [i16]) {
        let mut window = [0; TAIL + 2 * BLOCK];
        window[..TAIL].copy_from_slice(&self.past);
        for (octet, pair) in octets.iter().zip(window[TAIL..].chunks_exact_mut(2)) {
            let (low, high) = self.bands(usize::from(*octet));
            pair.copy_from_slice(&[(low + high) as i16, (low - high) as i16]);
        }
        for (at, pair) in pairs.chunks_exact_mut(2).enumerate() {
            pair.copy_from_slice(&join(&window[2 * at..2 * at + TAIL + 2]));
        }
        self.past.copy_from_slice(&window[2 * octets.len()..][..TAIL]);
    }

    /// INVQBL, LIMIT and INVQAH: what the two bands of an octet are.
    fn bands(&mut self, octet: usize) -> (i32, i32) {
        let (low_code, high_code) = (octet & 0x3f, octet >> 6);
        let low = (self.low.guess + ((self.low.scale * LOW_6[low_code]) >> 15)).clamp(-16_384, 16_383);
        let difference = (self.high.scale * HIGH_2[high_code]) >> 15;
        let high = (self.high.guess + difference).clamp(-16_384, 16_383);
        self.low.follow_low(low_code);
        self.high.follow_high(high_code, difference);
        (low, high)
    }
}

/// RECEIVE QMF: two samples of 12 sums and 12 differences.
fn join(window: &[i16]) -> [i16; 2] {
    let (mut first, mut second) = (0, 0);
    for (tap, pair) in window.chunks_exact(2).enumerate() {
        first += i32::from(pair[1]) * QMF[11 - tap];
        second += i32::from(pair[0]) * QMF[tap];
    }
    [sat(first >> 11) as i16, sat(second >> 11) as i16]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use sha2::{Digest, Sha256};

    fn hash(bytes: impl AsRef<[u8]>) -> String {
        Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Two seconds: noise that grows to full scale, a square wave, silence.
    fn signal() -> Vec<i16> {
        let mut seed = 1_u32;
        let mut noise = |i: i32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((seed >> 16) as i16 as i32 * i / 16_000) as i16
        };
        let square = |i: i32| if i / 23 % 2 == 0 { 32_767 } else { -32_768 };
        (0..32_000)
            .map(|i| {
                if i < 16_000 {
                    noise(i)
                } else if i < 24_000 {
                    square(i)
                } else {
                    0
                }
            })
            .collect()
    }

    /// Hashes of what this coder made when it made, of the ITU's speech (STL `inpsp.bin`), all 48,768 codewords of
    /// `codspw.cod`, and of these all 97,536 samples of `outsp1.bin`.
    #[test]
    fn it_codes_as_the_itu_does() {
        let mut line = vec![0; 16_000];
        Encoder::default().encode(&signal(), &mut line);
        assert_eq!(hash(&line), "558d96bd9b5a8477151aa67d2caedee90c907e1b28556df18bbf898b81ff9cb0");
        let mut sound = vec![0; 32_000];
        Decoder::default().decode(&line, &mut sound);
        let octets: Vec<u8> = sound.iter().flat_map(|s| s.to_le_bytes()).collect();
        assert_eq!(hash(octets), "425c8d56dacaae08afd40e5ac096d19842a1cf2f8f18bf86c7952d5bb25d7ab7");
    }

    #[test]
    fn tones_of_both_bands_come_back() {
        for (hz, least_db) in [(300.0, 25.0), (1_000.0, 25.0), (3_000.0, 20.0), (5_000.0, 12.0), (6_500.0, 12.0)] {
            let tone = |i: usize| 8_000.0 * (std::f64::consts::TAU * hz * i as f64 / 16_000.0).sin();
            let sound: Vec<i16> = (0..8_000).map(|i| tone(i) as i16).collect();
            let (mut line, mut back) = (vec![0; 4_000], vec![0; 8_000]);
            Encoder::default().encode(&sound, &mut line);
            Decoder::default().decode(&line, &mut back);
            // Both filters together delay by 22 samples.
            let error: f64 = (800..7_000).map(|i| (f64::from(back[i + 22]) - tone(i)).powi(2)).sum::<f64>() / 6_200.0;
            let snr = 10.0 * (8_000.0 * 8_000.0 / 2.0 / error).log10();
            assert!(snr > least_db, "{hz} Hz: {snr} dB");
        }
    }

    proptest! {
        #[test]
        fn nothing_on_the_line_upsets_it(line in proptest::collection::vec(any::<u8>(), 0..2_000)) {
            let mut sound = vec![0; 2 * line.len()];
            let mut whole = Decoder::default();
            whole.decode(&line, &mut sound);
            // The line cut anywhere is the same line.
            let (mut parts, mut decoder) = (vec![0; 2 * line.len()], Decoder::default());
            for (octets, out) in line.chunks(37).zip(parts.chunks_mut(74)) {
                decoder.decode(octets, out);
            }
            prop_assert_eq!(parts, sound);
        }

        #[test]
        fn no_sound_upsets_it(sound in proptest::collection::vec(any::<i16>(), 0..2_000)) {
            let mut line = vec![0; sound.len() / 2];
            Encoder::default().encode(&sound, &mut line);
        }
    }
}
