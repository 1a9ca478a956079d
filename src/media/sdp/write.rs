//! Our own descriptions, as text.

use super::crypto::{self, Line};
use super::layout::{Layout, Meaning, event_clocks};
use super::parse::Medium;
use super::{COMFORT_NOISE_NAME, EVENT_NAME, Ours, Secrecy, TELEPHONE_HZ, name_of};
use crate::media::rtp::srtp::Suite;
use crate::media::{Codec, Direction};
use bytes::Bytes;
use std::fmt::Write;
use std::net::IpAddr;

/// One audio medium: what is spoken, under which numbers.
pub(super) struct Audio<'a> {
    pub codecs: &'a [(u8, Codec)],
    /// Payload type and clock.
    pub telephone_events: &'a [(u8, u32)],
    pub comfort_noise: Option<u8>,
    pub direction: Direction,
    /// The sound a packet that is to come.
    pub ptime_ms: u16,
    /// RTCP comes over the port of RTP.
    pub mux: bool,
    /// Keys of ours.
    pub keys: &'a [Line],
}

/// An offer of all that we speak: for a call that we make, and for the 200 of an INVITE without one.
pub fn offer(ours: &Ours<'_>) -> Bytes {
    write_offer(ours, "RTP/AVP", &[])
}

/// The same with keys, as `secrecy` wants it; the lines are to be kept for [`accept_with`](super::accept_with). Within a
/// call that is secret, its keys are offered again.
pub fn offer_with(ours: &Ours<'_>, secrecy: &Secrecy<'_>, random: &mut impl rand::CryptoRng) -> (Bytes, Vec<Line>) {
    let (profile, keys) = match secrecy.before {
        Some(before) => crypto::offer_again(before),
        None => crypto::offer(secrecy.policy, &Suite::ALL, random),
    };
    (write_offer(ours, profile, &keys), keys)
}

fn write_offer(ours: &Ours<'_>, profile: &str, keys: &[Line]) -> Bytes {
    let layout = Layout::offered(ours);
    let number = |meaning| layout.number(meaning);
    let codecs: Vec<(u8, Codec)> =
        ours.codecs.iter().filter_map(|codec| Some((number(Meaning::Codec(*codec))?, *codec))).collect();
    let telephone_events: Vec<(u8, u32)> =
        event_clocks(ours).filter_map(|clock_hz| Some((number(Meaning::Events(clock_hz))?, clock_hz))).collect();
    let audio = Audio {
        codecs: &codecs,
        telephone_events: &telephone_events,
        comfort_noise: number(Meaning::Noise).filter(|_| ours.comfort_noise),
        direction: ours.direction,
        ptime_ms: layout.ptime_ms(),
        mux: layout.mux(),
        keys,
    };
    let mut text = session(ours, ours.addresses.first());
    layout.above().iter().for_each(|line| text.push_str(line));
    write_audio(&mut text, ours.port, profile, &audio);
    layout.below().iter().for_each(|line| text.push_str(line));
    text.into()
}

/// The lines before the media (RFC 8866 section 5); sound comes to `ip`.
pub(super) fn session(ours: &Ours<'_>, ip: IpAddr) -> String {
    let Ours { session, version, origin, .. } = ours;
    let family = |ip: IpAddr| if ip.is_ipv4() { "IP4" } else { "IP6" };
    let (named, reached) = (family(*origin), family(ip));
    let mut text = String::with_capacity(320);
    push(&mut text, format_args!("v=0\r\no=- {session} {version} IN {named} {origin}\r\n"));
    push(&mut text, format_args!("s=-\r\nc=IN {reached} {ip}\r\nt=0 0\r\n"));
    text
}

pub(super) fn write_audio(text: &mut String, port: u16, profile: &str, audio: &Audio<'_>) {
    push(text, format_args!("m=audio {port} {profile}"));
    let events = audio.telephone_events.iter().map(|(t, _)| *t);
    for payload_type in audio.codecs.iter().map(|(t, _)| *t).chain(audio.comfort_noise).chain(events) {
        push(text, format_args!(" {payload_type}"));
    }
    text.push_str("\r\n");
    for (payload_type, codec) in audio.codecs {
        let row = name_of(*codec);
        push(text, format_args!("a=rtpmap:{payload_type} {}/{}", row.name, row.clock_hz));
        if row.channels > 1 {
            push(text, format_args!("/{}", row.channels));
        }
        text.push_str("\r\n");
        if let Some(fmtp) = row.fmtp {
            push(text, format_args!("a=fmtp:{payload_type} {fmtp}\r\n"));
        }
    }
    if let Some(noise) = audio.comfort_noise {
        push(text, format_args!("a=rtpmap:{noise} {COMFORT_NOISE_NAME}/{TELEPHONE_HZ}\r\n"));
    }
    for (event, clock_hz) in audio.telephone_events {
        // 0-15 are the keys (RFC 4733 section 3.2), all that we listen for.
        push(text, format_args!("a=rtpmap:{event} {EVENT_NAME}/{clock_hz}\r\na=fmtp:{event} 0-15\r\n"));
    }
    push(text, format_args!("a=ptime:{}\r\na={}\r\n", audio.ptime_ms, word(audio.direction)));
    if audio.mux {
        text.push_str("a=rtcp-mux\r\n");
    }
    audio.keys.iter().for_each(|line| crypto::write(text, line));
}

/// A medium that we do not take: port 0 in its place, with one of its formats (RFC 3264 section 6).
pub(super) fn write_declined(text: &mut String, medium: &Medium<'_>) {
    let format = medium.formats.first().unwrap_or(&"0");
    push(text, format_args!("m={} 0 {} {format}\r\n", medium.kind, medium.profile));
}

const fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::SendRecv => "sendrecv",
        Direction::SendOnly => "sendonly",
        Direction::RecvOnly => "recvonly",
        Direction::Inactive => "inactive",
    }
}

fn push(text: &mut String, part: std::fmt::Arguments<'_>) {
    // A String takes what it is given: writing to it has no way to fail.
    let _ = text.write_fmt(part);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Rate;
    use crate::media::sdp::Prefer;

    fn ours(address: &str) -> Ours<'static> {
        let address: std::net::SocketAddr = address.parse().unwrap();
        Ours {
            addresses: address.ip().into(),
            port: address.port(),
            origin: address.ip(),
            session: 77,
            version: 3,
            codecs: &[Codec::Pcma, Codec::Pcmu],
            comfort_noise: false,
            events: true,
            direction: Direction::SendRecv,
            prefer: Prefer::Theirs,
            before: None,
        }
    }

    #[test]
    fn an_offer_reads_as_the_rfc_wants() {
        let lines = "v=0|o=- 77 3 IN IP4 192.0.2.9|s=-|c=IN IP4 192.0.2.9|t=0 0|m=audio 10000 RTP/AVP 8 0 101|\
            a=rtpmap:8 PCMA/8000|a=rtpmap:0 PCMU/8000|a=rtpmap:101 telephone-event/8000|a=fmtp:101 0-15|a=ptime:20|\
            a=sendrecv|";
        assert_eq!(offer(&ours("192.0.2.9:10000")), lines.replace('|', "\r\n"));
    }

    #[test]
    fn an_offer_of_all_gives_each_its_clock() {
        let codecs = &[Codec::Opus, Codec::G722, Codec::L16(Rate::Wide), Codec::Pcmu];
        let text = offer(&Ours { codecs, comfort_noise: true, ..ours("192.0.2.9:10000") });
        let text = String::from_utf8(text.to_vec()).unwrap().replace("\r\n", "|");
        let media = "m=audio 10000 RTP/AVP 96 9 103 0 13 100 101|a=rtpmap:96 opus/48000/2|a=fmtp:96 useinbandfec=1|\
            a=rtpmap:9 G722/8000|a=rtpmap:103 L16/16000|a=rtpmap:0 PCMU/8000|a=rtpmap:13 CN/8000|\
            a=rtpmap:100 telephone-event/48000|a=fmtp:100 0-15|a=rtpmap:101 telephone-event/8000|a=fmtp:101 0-15|\
            a=ptime:20|a=sendrecv|";
        assert_eq!(&text[text.find("m=").unwrap()..], media);
    }

    #[test]
    fn an_offer_over_ipv6_says_so() {
        let text = String::from_utf8(offer(&ours("[2001:db8::9]:10000")).to_vec()).unwrap();
        assert!(text.contains("o=- 77 3 IN IP6 2001:db8::9\r\n"));
        assert!(text.contains("c=IN IP6 2001:db8::9\r\n"));
    }
}
