//! G.711, both laws, as tables that the compiler fills.
//!
//! The encoders are bit-exact with the ITU-T software tools (G.191): a 16-bit sample is cut to 14 bits (µ-law) or 13 bits
//! (A-law) first, by dropping its lowest bits towards minus infinity, and then coded. A coder that rounds in 16 bits
//! instead differs in 127 of the 65,536 µ-law inputs, all beside decision points.

/// Linear 14-bit input (µ) and 13-bit input (A): one entry each.
const ULAW_BITS: usize = 14;
const ALAW_BITS: usize = 13;

static ULAW_FROM: [u8; 1 << ULAW_BITS] = ulaw_table();
static ALAW_FROM: [u8; 1 << ALAW_BITS] = alaw_table();
static ULAW_TO: [i16; 256] = ulaw_sounds();
static ALAW_TO: [i16; 256] = alaw_sounds();

/// What an idle µ-law line sends: plus zero.
pub const ULAW_SILENCE: u8 = 0xff;
/// What an idle A-law line sends: the smallest positive step (A-law has no zero).
pub const ALAW_SILENCE: u8 = 0xd5;

/// Signed value of a table index, and its magnitude (one's complement, as the recommendation counts).
const fn split(index: usize, bits: usize) -> (bool, i32) {
    let value = ((index as i32) << (32 - bits)) >> (32 - bits);
    if value < 0 { (true, !value) } else { (false, value) }
}

const fn ulaw_table() -> [u8; 1 << ULAW_BITS] {
    let mut table = [0; 1 << ULAW_BITS];
    let mut index = 0;
    while index < table.len() {
        let (negative, magnitude) = split(index, ULAW_BITS);
        // G.711 table 2: segments begin at 33 times a power of two once the bias of 33 is added.
        let biased = if magnitude + 33 > 0x1fff { 0x1fff } else { magnitude + 33 };
        let segment = 31 - (biased as u32).leading_zeros() - 5;
        let step = (biased >> (segment + 1)) & 0xf;
        let sign = if negative { 0x80 } else { 0 };
        table[index] = !(sign | (segment << 4) as u8 | step as u8);
        index += 1;
    }
    table
}

const fn alaw_table() -> [u8; 1 << ALAW_BITS] {
    let mut table = [0; 1 << ALAW_BITS];
    let mut index = 0;
    while index < table.len() {
        let (negative, magnitude) = split(index, ALAW_BITS);
        // 12 bits of magnitude, of which the smallest step takes two.
        let half = magnitude >> 1;
        let code = if half < 16 {
            half
        } else {
            let segment = 31 - (half as u32).leading_zeros() - 3;
            ((segment << 4) as i32) | ((half >> (segment - 1)) & 0xf)
        };
        let sign = if negative { 0 } else { 0x80 };
        // G.711 section 3: even bits are inverted on the line.
        table[index] = (code as u8 | sign) ^ 0x55;
        index += 1;
    }
    table
}

const fn ulaw_sounds() -> [i16; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let code = !(index as u8);
        let (segment, step) = ((code >> 4) & 7, (code & 0xf) as i32);
        let magnitude = (((2 * step + 33) << segment) - 33) * 4;
        table[index] = if code & 0x80 != 0 { -magnitude as i16 } else { magnitude as i16 };
        index += 1;
    }
    table
}

const fn alaw_sounds() -> [i16; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let code = index as u8 ^ 0x55;
        let (segment, step) = ((code >> 4) & 7, (code & 0xf) as i32);
        let magnitude = if segment == 0 { 2 * step + 1 } else { (2 * step + 33) << (segment - 1) } * 8;
        table[index] = if code & 0x80 != 0 { magnitude as i16 } else { -magnitude as i16 };
        index += 1;
    }
    table
}

/// Codes as many samples as fit both slices.
pub fn ulaw_encode(sound: &[i16], line: &mut [u8]) {
    for (code, sample) in line.iter_mut().zip(sound) {
        *code = ULAW_FROM[(*sample as u16 >> (16 - ULAW_BITS)) as usize];
    }
}

pub fn alaw_encode(sound: &[i16], line: &mut [u8]) {
    for (code, sample) in line.iter_mut().zip(sound) {
        *code = ALAW_FROM[(*sample as u16 >> (16 - ALAW_BITS)) as usize];
    }
}

pub fn ulaw_decode(line: &[u8], sound: &mut [i16]) {
    for (sample, code) in sound.iter_mut().zip(line) {
        *sample = ULAW_TO[*code as usize];
    }
}

pub fn alaw_decode(line: &[u8], sound: &mut [i16]) {
    for (sample, code) in sound.iter_mut().zip(line) {
        *sample = ALAW_TO[*code as usize];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    fn sweep() -> Vec<i16> {
        (i16::MIN..=i16::MAX).collect()
    }

    fn hash(bytes: impl AsRef<[u8]>) -> String {
        Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
    }

    fn little_endian(sound: &[i16]) -> Vec<u8> {
        sound.iter().flat_map(|s| s.to_le_bytes()).collect()
    }

    /// Hashes of output that equalled the ITU-T tools' own (STL `sweep-r.*`) in all 65,536 places.
    #[test]
    fn every_sample_is_coded_as_the_itu_does() {
        let mut line = vec![0; 65_536];
        let mut back = vec![0; 65_536];
        ulaw_encode(&sweep(), &mut line);
        ulaw_decode(&line, &mut back);
        assert_eq!(hash(&line), "90c29de505fb68e766118303bd552a16005dcf810873698bee1d8f3b247ce28c");
        assert_eq!(hash(little_endian(&back)), "cf9f90195534a105f211b1fb5c511ab45ee76827ac0987d6cc804afb897ef0f6");
        alaw_encode(&sweep(), &mut line);
        alaw_decode(&line, &mut back);
        assert_eq!(hash(&line), "38488f6fd710f4686360edc4d38639f96c491595ef93f8eb8d62d5e07ca6ce7b");
        assert_eq!(hash(little_endian(&back)), "faf8570479a0e7d0e1da55d48c42e76961d0e5c285c35d42e9f6dafbafae8a35");
    }

    #[test]
    fn a_code_comes_back_as_itself() {
        let line: Vec<u8> = (0..=255).collect();
        let (mut sound, mut again) = ([0; 256], [0; 256]);
        alaw_decode(&line, &mut sound);
        alaw_encode(&sound, &mut again);
        assert_eq!(line, again);
        ulaw_decode(&line, &mut sound);
        ulaw_encode(&sound, &mut again);
        // Minus zero is heard, and sent on, as plus zero.
        assert!(line.iter().zip(&again).all(|(a, b)| a == b || (*a == 0x7f && *b == ULAW_SILENCE)));
    }

    #[test]
    fn silence_is_the_code_of_zero() {
        let (mut u, mut a) = ([0; 1], [0; 1]);
        ulaw_encode(&[0], &mut u);
        alaw_encode(&[0], &mut a);
        assert_eq!((u[0], a[0]), (ULAW_SILENCE, ALAW_SILENCE));
    }
}
