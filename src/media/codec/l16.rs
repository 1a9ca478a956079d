//! L16: samples as they are, the high octet first (RFC 3551 section 4.5.11).

/// Codes as many samples as fit both slices; two octets a sample.
pub fn encode(sound: &[i16], line: &mut [u8]) {
    for (octets, sample) in line.chunks_exact_mut(2).zip(sound) {
        octets.copy_from_slice(&sample.to_be_bytes());
    }
}

/// Decodes as many samples as fit both slices.
pub fn decode(line: &[u8], sound: &mut [i16]) {
    for (sample, octets) in sound.iter_mut().zip(line.chunks_exact(2)) {
        *sample = i16::from_be_bytes([octets[0], octets[1]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_octet_goes_first() {
        let mut line = [0; 6];
        encode(&[1, -2, i16::MIN], &mut line);
        assert_eq!(line, [0, 1, 0xff, 0xfe, 0x80, 0]);
        let mut sound = [0; 3];
        decode(&line, &mut sound);
        assert_eq!(sound, [1, -2, i16::MIN]);
    }
}
