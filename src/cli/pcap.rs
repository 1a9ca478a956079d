//! A file of packets as sngrep, Wireshark and tcpdump read it (the old format, version 2.4; link type 101, raw IP). Small
//! enough to be written by hand: a header, then each packet with IP and UDP headers before it.

use crate::clock::Wall;
use std::net::{IpAddr, SocketAddr};

const MAGIC: u32 = 0xa1b2_c3d4;
const RAW_IP: u32 = 101;
const UDP: u8 = 17;
/// A datagram's payload is cut here: what UDP over IPv4 carries at most (RFC 768, RFC 791).
const LONGEST: usize = 65_507;

/// One message, as if it had come in one datagram.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    pub at: Wall,
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub payload: &'a [u8],
}

/// The file's bytes. Packets between an address of IPv4 and one of IPv6 are left out: there are none on a wire.
pub fn write<'a>(packets: impl Iterator<Item = Packet<'a>>) -> Vec<u8> {
    let mut file = Vec::new();
    file.extend(MAGIC.to_le_bytes());
    file.extend(2_u16.to_le_bytes());
    file.extend(4_u16.to_le_bytes());
    // Times are UTC; nothing is cut shorter than a packet can be.
    for word in [0, 0, u32::MAX >> 14, RAW_IP] {
        file.extend(word.to_le_bytes());
    }
    for packet in packets {
        let Some(bytes) = datagram(&packet) else { continue };
        let micros = u64::try_from(packet.at.micros()).unwrap_or(0);
        let length = bytes.len() as u32;
        for word in [(micros / 1_000_000) as u32, (micros % 1_000_000) as u32, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(bytes);
    }
    file
}

fn datagram(packet: &Packet<'_>) -> Option<Vec<u8>> {
    let payload = packet.payload.get(..LONGEST.min(packet.payload.len()))?;
    let length = (8 + payload.len()) as u16;
    let mut udp = Vec::with_capacity(8 + payload.len());
    for word in [packet.from.port(), packet.to.port(), length, 0] {
        udp.extend(word.to_be_bytes());
    }
    udp.extend(payload);
    match (packet.from.ip().to_canonical(), packet.to.ip().to_canonical()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let total = (20 + udp.len()) as u16;
            let mut ip = vec![0x45, 0];
            ip.extend(total.to_be_bytes());
            ip.extend([0, 0, 0, 0, 64, UDP, 0, 0]);
            ip.extend(from.octets());
            ip.extend(to.octets());
            let sum = checksum(&[&ip]).to_be_bytes();
            ip[10..12].copy_from_slice(&sum);
            // Over IPv4 a datagram may have no sum of its own.
            ip.extend(udp);
            Some(ip)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let pseudo = [u32::from(length).to_be_bytes(), [0, 0, 0, UDP]].concat();
            let sum = checksum(&[&from.octets(), &to.octets(), &pseudo, &udp]);
            // A sum of nought says that there is none, which IPv6 does not allow (RFC 8200 section 8.1).
            udp[6..8].copy_from_slice(&if sum == 0 { u16::MAX } else { sum }.to_be_bytes());
            let mut ip = vec![0x60, 0, 0, 0];
            ip.extend(length.to_be_bytes());
            ip.extend([UDP, 64]);
            ip.extend(from.octets());
            ip.extend(to.octets());
            ip.extend(udp);
            Some(ip)
        }
        _ => None,
    }
}

/// RFC 1071. Only the last part may have an odd length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u32 = words.map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet<'a>(from: &str, to: &str, payload: &'a [u8]) -> Packet<'a> {
        Packet { at: Wall::from_micros(1_500_000), from: from.parse().unwrap(), to: to.parse().unwrap(), payload }
    }

    #[test]
    fn each_byte_is_where_the_format_has_it() {
        let file = write([packet("192.0.2.1:5060", "192.0.2.2:5062", b"SIP")].into_iter());
        #[rustfmt::skip]
        let expected = [
            0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 3, 0, 101, 0, 0, 0,
            1, 0, 0, 0, 0x20, 0xa1, 7, 0, 31, 0, 0, 0, 31, 0, 0, 0,
            0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0xf6, 0xca, 192, 0, 2, 1, 192, 0, 2, 2,
            0x13, 0xc4, 0x13, 0xc6, 0, 11, 0, 0, b'S', b'I', b'P',
        ];
        assert_eq!(file, expected);
    }

    /// Whoever reads it sums up a header, its sum among it, and finds nought.
    #[test]
    fn sums_are_right() {
        let v4 = datagram(&packet("203.0.113.9:1", "198.51.100.255:65535", b"x")).unwrap();
        assert_eq!(checksum(&[&v4[..20]]), 0);
        for payload in [&b"odd"[..], b"even", b"", &[0xff; 3_001]] {
            let v6 = datagram(&packet("[2001:db8::1]:5060", "[2001:db8::2]:5060", payload)).unwrap();
            let udp = &v6[40..];
            let length = (udp.len() as u32).to_be_bytes();
            assert_eq!(checksum(&[&v6[8..40], &length, &[0, 0, 0, UDP], udp]), 0);
        }
    }

    #[test]
    fn what_fits_nowhere_is_cut_or_left_out() {
        let long = vec![b'x'; 70_000];
        assert_eq!(datagram(&packet("192.0.2.1:1", "192.0.2.2:2", &long)).unwrap().len(), 65_535);
        assert_eq!(write([packet("192.0.2.1:1", "[2001:db8::2]:2", b"x")].into_iter()).len(), 24);
    }
}
