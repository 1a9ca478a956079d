//! The RTP header, read and written (RFC 3550 section 5.1).

/// Octets of a header without CSRC or extension: all that we write.
pub const HEADER: usize = 12;
/// The most octets of sound that a packet carries here: 60 ms of G.711.
pub const PAYLOAD_MOST: usize = 480;

const VERSION: u8 = 2;

/// A packet as it was read; the payload still lies in the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    pub marker: bool,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads a datagram; `None` if it is not RTP, or its lengths contradict each other.
    pub fn parse(datagram: &'a [u8]) -> Option<Packet<'a>> {
        let (head, rest) = datagram.split_first_chunk::<HEADER>()?;
        if head[0] >> 6 != VERSION {
            return None;
        }
        let sources = 4 * usize::from(head[0] & 0x0f);
        let rest = rest.get(sources..)?;
        let rest = if head[0] & 0x10 != 0 { skip_extension(rest)? } else { rest };
        let payload = if head[0] & 0x20 != 0 { strip_padding(rest)? } else { rest };
        Some(Packet {
            marker: head[1] & 0x80 != 0,
            payload_type: head[1] & 0x7f,
            sequence: u16::from_be_bytes([head[2], head[3]]),
            timestamp: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            ssrc: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
            payload,
        })
    }

    /// The header of this packet, without the payload.
    pub fn header(&self) -> [u8; HEADER] {
        let mut head = [0; HEADER];
        head[0] = VERSION << 6;
        head[1] = (u8::from(self.marker) << 7) | (self.payload_type & 0x7f);
        head[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        head[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        head[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        head
    }
}

/// RFC 3550 section 5.3.1: 16 bits of profile, 16 bits of length in words of 32 bits, and the words.
fn skip_extension(rest: &[u8]) -> Option<&[u8]> {
    let (head, rest) = rest.split_first_chunk::<4>()?;
    rest.get(4 * usize::from(u16::from_be_bytes([head[2], head[3]]))..)
}

/// RFC 3550 section 5.1: the last octet counts the padding, itself included.
fn strip_padding(rest: &[u8]) -> Option<&[u8]> {
    let padding = usize::from(*rest.last()?);
    if padding == 0 { None } else { rest.get(..rest.len().checked_sub(padding)?) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_part_of_the_header_is_bounded() {
        let plain = [0x80, 0x85, 0, 7, 0, 0, 0, 9, 0, 0, 0, 3];
        let with = |first: u8, more: &[u8]| [&[first], &plain[1..], more].concat();
        let payload = |datagram: Vec<u8>| Packet::parse(&datagram).map(|p| p.payload.to_vec());
        let table: &[(Vec<u8>, Option<&[u8]>)] = &[
            (with(0x80, b""), Some(b"")),
            (with(0x80, b"ab"), Some(b"ab")),
            (with(0x40, b"ab"), None),
            (with(0x81, b"csrcab"), Some(b"ab")),
            (with(0x8f, b"csrcab"), None),
            (with(0x90, b"\0\0\0\x01wordab"), Some(b"ab")),
            (with(0x90, b"\0\0\xff\xffwordab"), None),
            (with(0x90, b"\0\0"), None),
            (with(0xa0, b"ab\0\x02"), Some(b"ab")),
            (with(0xa0, b"ab\x04"), None),
            (with(0xa0, b"ab\0"), None),
            (with(0xa0, b""), None),
            (plain[..11].to_vec(), None),
            (Vec::new(), None),
        ];
        for (datagram, expected) in table {
            assert_eq!(payload(datagram.clone()).as_deref(), *expected, "{datagram:02x?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            marker: bool, payload_type in 0u8..128, sequence: u16, timestamp: u32, ssrc: u32,
            payload in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let packet = Packet { marker, payload_type, sequence, timestamp, ssrc, payload: &payload };
            let datagram = [&packet.header()[..], &payload].concat();
            prop_assert_eq!(Packet::parse(&datagram), Some(packet));
        }

        #[test]
        fn noise_never_reaches_beyond_the_datagram(datagram in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(packet) = Packet::parse(&datagram) {
                prop_assert!(packet.payload.len() + HEADER <= datagram.len());
            }
        }
    }
}
