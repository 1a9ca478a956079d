//! Between the wire's octets and samples.

pub mod conceal;
pub mod g711;

use super::Codec;

impl Codec {
    /// How many codecs there are: for tables by [`Codec::index`].
    pub const COUNT: usize = 2;

    pub const fn index(self) -> usize {
        self as usize
    }

    /// Codes as many samples as fit both slices; one octet a sample.
    pub fn encode(self, sound: &[i16], line: &mut [u8]) {
        match self {
            Codec::Pcmu => g711::ulaw_encode(sound, line),
            Codec::Pcma => g711::alaw_encode(sound, line),
        }
    }

    /// Decodes as many octets as fit both slices; one sample an octet.
    pub fn decode(self, line: &[u8], sound: &mut [i16]) {
        match self {
            Codec::Pcmu => g711::ulaw_decode(line, sound),
            Codec::Pcma => g711::alaw_decode(line, sound),
        }
    }

    /// The octet of silence.
    pub const fn silence(self) -> u8 {
        match self {
            Codec::Pcmu => g711::ULAW_SILENCE,
            Codec::Pcma => g711::ALAW_SILENCE,
        }
    }
}
