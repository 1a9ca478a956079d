//! Two descriptions made one: RFC 3264.

use super::crypto::{self, Line, Secret};
use super::layout::{Layout, Meaning};
use super::parse::{Connection, Description, Map, Medium, parse};
use super::write::{Audio, session, write_audio, write_declined};
use super::{
    COMFORT_NOISE, COMFORT_NOISE_NAME, EVENT_NAME, NAMES, Ours, PTIME_MS, Prefer, Refusal, Secrecy, TELEPHONE_HZ,
};
use super::{direction, name_of, receives, sends};
use crate::media::rtp::srtp::Suite;
use crate::media::{Codec, Direction, Plan, above};
use crate::types::Addresses;
use bytes::Bytes;
use std::net::{IpAddr, SocketAddr};

/// Sound a packet, in milliseconds, that we are willing to send when asked: beyond 60 a lost packet is a lost word.
const PTIMES_MS: std::ops::RangeInclusive<u16> = 10..=60;

/// What an offer and its answer, whoever made it, have settled.
#[derive(Clone, Debug)]
pub struct Agreed {
    pub plan: Plan,
    /// The keys, where it is secret.
    pub secret: Option<Secret>,
    /// For the next description of this call.
    pub layout: Layout,
}

/// Answers their offer: our description, and what the engine needs. The first audio medium that we can take is taken,
/// every other one declined in its place.
pub fn answer(offer: &[u8], ours: &Ours<'_>) -> Result<(Bytes, Plan), Refusal> {
    answer_as(offer, ours, &mut plainly).map(|(text, agreed)| (text, agreed.plan))
}

/// The same where the peer may, or must, speak in secret: with the keys, if he does.
pub fn answer_with(
    offer: &[u8],
    ours: &Ours<'_>,
    secrecy: &Secrecy<'_>,
    random: &mut impl rand::CryptoRng,
) -> Result<(Bytes, Agreed), Refusal> {
    answer_as(offer, ours, &mut |medium| {
        let lines = medium.section.crypto.iter().map(|key| key.0);
        Ok(crypto::answer(secrecy.policy, &Suite::ALL, medium.profile, lines, secrecy.before, random)?)
    })
}

/// What is agreed on about secrecy for one medium.
type Judge<'a> = &'a mut dyn FnMut(&Medium<'_>) -> Result<Option<Secret>, Refusal>;

/// RTP/AVPF would promise feedback packets (RFC 4585 section 4), RTP/SAVP encryption: neither is ours to promise here.
fn plainly(medium: &Medium<'_>) -> Result<Option<Secret>, Refusal> {
    if medium.profile.eq_ignore_ascii_case("RTP/AVP") { Ok(None) } else { Err(Refusal::Profile) }
}

fn answer_as(offer: &[u8], ours: &Ours<'_>, judge: Judge<'_>) -> Result<(Bytes, Agreed), Refusal> {
    let theirs = parse(offer)?;
    let (chosen, plan, secret) = choose(&theirs, ours, judge)?;
    let keys: Vec<Line> = secret.iter().map(Secret::line).collect();

    let mut text = session(ours, ours.addresses.facing(plan.remote.ip()).first());
    for (index, medium) in theirs.media.iter().enumerate() {
        if index == chosen {
            let events = event(medium, plan.codec).filter(|_| ours.events);
            let audio = Audio {
                codecs: &[(plan.payload_type, plan.codec)],
                telephone_events: events.as_slice(),
                comfort_noise: plan.comfort_noise,
                direction: plan.direction,
                ptime_ms: plan.ptime_ms,
                mux: plan.mux,
                keys: &keys,
            };
            write_audio(&mut text, ours.port, medium.profile, &audio);
        } else {
            write_declined(&mut text, medium);
        }
    }
    let layout = Layout::answered(ours.before, &theirs.media, chosen, &plan);
    Ok((text.into(), Agreed { plan, secret, layout }))
}

/// Reads their answer to [`offer`](super::offer) made of the same `ours`.
pub fn accept(answer: &[u8], ours: &Ours<'_>) -> Result<Plan, Refusal> {
    accept_as(answer, ours, &mut plainly).map(|agreed| agreed.plan)
}

/// The same for [`offer_with`](super::offer_with), whose `lines` these are.
pub fn accept_with(answer: &[u8], ours: &Ours<'_>, secrecy: &Secrecy<'_>, lines: &[Line]) -> Result<Agreed, Refusal> {
    accept_as(answer, ours, &mut |medium| {
        let theirs = medium.section.crypto.iter().map(|key| key.0);
        Ok(crypto::accept(secrecy.policy, lines, medium.profile, theirs, secrecy.before)?)
    })
}

fn accept_as(answer: &[u8], ours: &Ours<'_>, judge: Judge<'_>) -> Result<Agreed, Refusal> {
    let theirs = parse(answer)?;
    let offered = Layout::offered(ours);
    // The answer to a medium stands in its place (RFC 3264 section 6). Some leave out what is dead: one alone can mean only ours.
    let place = if theirs.media.len() == 1 { 0 } else { offered.place() };
    let medium = theirs.media.get(place).filter(|medium| is_audio(medium)).ok_or(Refusal::NoAudio)?;
    // And it is of the family that was offered: where they send to has an address of that one alone.
    let family = Ours { addresses: ours.addresses.first().into(), prefer: Prefer::Theirs, ..*ours };
    let (plan, secret) = agree(&theirs, medium, &family, judge)?;
    // They answered with numbers that they want to receive; they send with those that we offered (RFC 3264 section 5.1).
    let events = event(medium, plan.codec).filter(|_| ours.events);
    let telephone_event = events.and_then(|(_, clock_hz)| offered.number(Meaning::Events(clock_hz)));
    let payload_in = offered.number(Meaning::Codec(plan.codec)).ok_or(Refusal::NoCodec)?;
    // What was not offered no answer can take (RFC 5761 section 5.1.1).
    let mux = plan.mux && offered.mux();
    let rtcp = rtcp_address(medium, plan.remote, mux);
    let plan = Plan { payload_in, telephone_event, rtcp, mux, ..plan };
    Ok(Agreed { plan, secret, layout: offered.accepted(medium, mux) })
}

fn is_audio(medium: &Medium<'_>) -> bool {
    medium.kind.eq_ignore_ascii_case("audio")
}

/// The first audio medium on which we agree; else why the first one will not do.
fn choose(
    theirs: &Description<'_>,
    ours: &Ours<'_>,
    judge: Judge<'_>,
) -> Result<(usize, Plan, Option<Secret>), Refusal> {
    let mut refusal = None;
    for (index, medium) in theirs.media.iter().enumerate().filter(|(_, medium)| is_audio(medium)) {
        match agree(theirs, medium, ours, judge) {
            Ok((plan, secret)) => return Ok((index, plan, secret)),
            Err(why) => refusal = refusal.or(Some(why)),
        }
    }
    Err(refusal.unwrap_or(Refusal::NoAudio))
}

fn agree(
    theirs: &Description<'_>,
    medium: &Medium<'_>,
    ours: &Ours<'_>,
    judge: Judge<'_>,
) -> Result<(Plan, Option<Secret>), Refusal> {
    if medium.port == 0 {
        return Err(Refusal::Declined);
    }
    let secret = judge(medium)?;
    let ip = remote_ip(theirs, medium, ours.addresses)?;
    let (payload_type, codec) = pick(medium, ours).ok_or(Refusal::NoCodec)?;

    let (remote, mux) = (SocketAddr::new(ip, medium.port), medium.section.mux);
    let plan = Plan {
        remote,
        rtcp: rtcp_address(medium, remote, mux),
        mux,
        learns: false,
        codec,
        payload_type,
        payload_in: payload_type,
        telephone_event: event(medium, codec).filter(|_| ours.events).map(|(number, _)| number),
        tones: true,
        comfort_noise: comfort_noise(medium, codec).filter(|_| ours.comfort_noise),
        direction: our_direction(theirs, medium, ip, ours.direction),
        ptime_ms: ptime(theirs, medium),
    };
    Ok((plan, secret))
}

/// Where they receive RTCP: at the same host, whatever `a=rtcp` says of an address.
fn rtcp_address(medium: &Medium<'_>, remote: SocketAddr, mux: bool) -> SocketAddr {
    match medium.section.rtcp_port {
        _ if mux => remote,
        Some(port) => SocketAddr::new(remote.ip(), port),
        None => above(remote),
    }
}

/// Where they receive. What is refused here would have us send sound to many, to nobody or to a stranger.
fn remote_ip(theirs: &Description<'_>, medium: &Medium<'_>, ours: Addresses) -> Result<IpAddr, Refusal> {
    let ip = match medium.section.connection.or(theirs.session.connection) {
        Some(Connection::Address(ip)) => ip,
        Some(Connection::Unusable) => return Err(Refusal::Address("not an IP address")),
        None => return Err(Refusal::Address("missing")),
    };
    if ip.is_multicast() || matches!(ip, IpAddr::V4(v4) if v4.is_broadcast()) {
        return Err(Refusal::Address("not of one host"));
    }
    if matches!(ip, IpAddr::V4(v4) if v4.octets()[0] == 0 && !v4.is_unspecified()) {
        return Err(Refusal::Address("of no network"));
    }
    if ours.like(ip).is_none() {
        return Err(Refusal::Address("of the other IP version"));
    }
    Ok(ip)
}

fn pick(medium: &Medium<'_>, ours: &Ours<'_>) -> Option<(u8, Codec)> {
    let known = || numbers(medium).filter_map(|number| Some((number, codec_of(medium, number)?)));
    match ours.prefer {
        Prefer::Theirs => known().find(|(_, codec)| ours.codecs.contains(codec)),
        Prefer::Ours => ours.codecs.iter().find_map(|want| known().find(|(_, codec)| codec == want)),
    }
}

/// What a payload type means: by its `rtpmap`, else by the static table (RFC 3551 section 6).
fn codec_of(medium: &Medium<'_>, number: u8) -> Option<Codec> {
    let row = match map_of(medium, number) {
        Some(map) => NAMES.iter().find(|row| is(map, row.name, row.clock_hz) && map.channels == row.channels),
        // 96 and above mean nothing without one (RFC 3551 section 3).
        None => NAMES.iter().find(|row| row.payload_type == number && number < 96),
    };
    row.map(|row| row.codec)
}

/// What the numbers of a medium stand for.
pub(super) fn meanings(medium: &Medium<'_>) -> impl Iterator<Item = (u8, Meaning)> {
    numbers(medium).map(|number| {
        let map = map_of(medium, number);
        let meaning = match (codec_of(medium, number), map) {
            (Some(codec), _) => Meaning::Codec(codec),
            (None, Some(map)) if map.name.eq_ignore_ascii_case(EVENT_NAME) => Meaning::Events(map.clock_hz),
            (None, Some(map)) if is(map, COMFORT_NOISE_NAME, TELEPHONE_HZ) => Meaning::Noise,
            (None, None) if number == COMFORT_NOISE => Meaning::Noise,
            (None, _) => Meaning::Foreign,
        };
        (number, meaning)
    })
}

fn map_of<'a>(medium: &'a Medium<'_>, payload_type: u8) -> Option<&'a Map<'a>> {
    medium.section.maps.iter().find(|map| map.payload_type == payload_type)
}

fn is(map: &Map<'_>, name: &str, clock_hz: u32) -> bool {
    map.name.eq_ignore_ascii_case(name) && map.clock_hz == clock_hz
}

/// Their number for telephone-event and its clock: that of the codec, whose timeline the keys are on (RFC 4733 section
/// 2.1), or the 8000 Hz that many send beside every codec.
fn event(medium: &Medium<'_>, codec: Codec) -> Option<(u8, u32)> {
    let at = |clock_hz: u32| Some((number_of(medium, EVENT_NAME, clock_hz)?, clock_hz));
    at(name_of(codec).clock_hz).or_else(|| at(TELEPHONE_HZ))
}

/// Comfort noise goes with codecs of its clock; Opus has its own (RFC 7587 section 3.1.3).
fn comfort_noise(medium: &Medium<'_>, codec: Codec) -> Option<u8> {
    let is_static = |number: &u8| *number == COMFORT_NOISE && map_of(medium, *number).is_none();
    let plain = || numbers(medium).find(is_static);
    let telephone = name_of(codec).clock_hz == TELEPHONE_HZ;
    telephone.then(|| number_of(medium, COMFORT_NOISE_NAME, TELEPHONE_HZ).or_else(plain)).flatten()
}

fn number_of(medium: &Medium<'_>, name: &str, clock_hz: u32) -> Option<u8> {
    let is_named = |map: &Map<'_>| is(map, name, clock_hz) && map.channels == 1;
    numbers(medium).find(|number| map_of(medium, *number).is_some_and(is_named))
}

/// Seven bits wide (RFC 3550 section 5.1).
fn numbers(medium: &Medium<'_>) -> impl Iterator<Item = u8> {
    medium.formats.iter().filter_map(|format| format.parse().ok().filter(|number| *number < 128))
}

/// What both want, seen from us (RFC 3264 section 6.1).
fn our_direction(theirs: &Description<'_>, medium: &Medium<'_>, ip: IpAddr, wanted: Direction) -> Direction {
    let said = medium.section.direction.or(theirs.session.direction).unwrap_or_default();
    // The unspecified address is the old way to say hold: they hear nothing (RFC 3264 section 8.4).
    let they_hear = receives(said) && !ip.is_unspecified();
    direction(sends(wanted) && they_hear, receives(wanted) && sends(said))
}

/// Sound a packet that we send: what they ask for where it is sane, in whole 10 ms, within what they can take.
fn ptime(theirs: &Description<'_>, medium: &Medium<'_>) -> u16 {
    let asked = medium.section.ptime_ms.or(theirs.session.ptime_ms).filter(|ms| PTIMES_MS.contains(ms));
    let most = medium.section.max_ptime_ms.or(theirs.session.max_ptime_ms).filter(|ms| *ms >= *PTIMES_MS.start());
    let within = asked.unwrap_or(PTIME_MS).min(most.unwrap_or(u16::MAX));
    within - within % 10
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::sdp::offer;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 9));
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9));

    const OURS: Ours<'static> = Ours {
        addresses: Addresses::only(V4),
        port: 10_000,
        origin: V4,
        session: 77,
        version: 1,
        codecs: &[Codec::Pcmu, Codec::Pcma],
        comfort_noise: false,
        events: true,
        direction: Direction::SendRecv,
        prefer: Prefer::Theirs,
        before: None,
    };

    const HEAD: &str = "v=0\r\no=x 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n";
    const AUDIO: &str = "m=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n";

    fn agreed() -> Plan {
        let remote = "198.51.100.7:4000".parse().unwrap();
        Plan { telephone_event: Some(101), ..Plan::plain(remote, Codec::Pcma, 8) }
    }

    fn plan_of(text: &str) -> Result<Plan, Refusal> {
        answer(text.as_bytes(), &OURS).map(|(_, plan)| plan)
    }

    /// The answer's text after its session part.
    fn media_of(text: &str) -> String {
        let (bytes, _) = answer(text.as_bytes(), &OURS).unwrap();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        text[text.find("m=").unwrap()..].replace("\r\n", "|")
    }

    /// A carrier that sends keys otherwise is not told that we take them as events, whoever offers.
    #[test]
    fn events_are_agreed_on_where_they_are_wanted_alone() {
        let offered = format!("{HEAD}{AUDIO}");
        for (events, agreed) in [(true, Some(101)), (false, None)] {
            let ours = Ours { events, ..OURS };
            let (answered, plan) = answer(offered.as_bytes(), &ours).unwrap();
            let of_theirs = accept(offered.as_bytes(), &ours).unwrap();
            assert_eq!((plan.telephone_event, of_theirs.telephone_event), (agreed, agreed));
            for text in [answered, offer(&ours)] {
                let text = String::from_utf8(text.to_vec()).unwrap();
                assert_eq!(text.contains("telephone-event"), events, "{text}");
            }
        }
    }

    #[test]
    fn an_answer_repeats_their_numbers() {
        assert_eq!(
            media_of(&format!(
                "{HEAD}m=audio 4000 RTP/AVP 18 97 0 99\r\na=rtpmap:97 pcma/8000\r\na=rtpmap:99 Telephone-Event/8000\r\n"
            )),
            "m=audio 10000 RTP/AVP 97 99|a=rtpmap:97 PCMA/8000|a=rtpmap:99 telephone-event/8000|a=fmtp:99 0-15|a=ptime:20|a=sendrecv|"
        );
    }

    /// Shapes that peers send. All mean the same and are read so, but for what the second column makes of the plan.
    #[test]
    fn shapes_that_are_taken() {
        let same = |plan: Plan| plan;
        type Change = fn(Plan) -> Plan;
        let table: [(&str, String, Change); 29] = [
            ("plain", format!("{HEAD}{AUDIO}"), same),
            ("LF only", format!("{HEAD}{AUDIO}").replace('\r', ""), same),
            ("no final line end", format!("{HEAD}{AUDIO}").trim_end().to_owned(), same),
            ("no s=", format!("{HEAD}{AUDIO}").replace("s=-\r\n", ""), same),
            ("empty s=", format!("{HEAD}{AUDIO}").replace("s=-", "s="), same),
            ("no t=", format!("{HEAD}{AUDIO}").replace("t=0 0\r\n", ""), same),
            ("no o=", format!("{HEAD}{AUDIO}").replace("o=x 1 1 IN IP4 198.51.100.7\r\n", ""), same),
            ("c= before s=", format!("v=0\r\nc=IN IP4 198.51.100.7\r\ns=-\r\n{AUDIO}"), same),
            ("a= before t=", format!("v=0\r\na=tool:x\r\nt=0 0\r\nc=IN IP4 198.51.100.7\r\n{AUDIO}"), same),
            ("huge o= id", format!("{HEAD}{AUDIO}").replace("x 1 1", "x 99999999999999999999999999 1"), same),
            ("negative o= version", format!("{HEAD}{AUDIO}").replace("x 1 1", "x 1 -1"), same),
            ("empty o= user", format!("{HEAD}{AUDIO}").replace("o=x", "o="), same),
            ("o= user with a blank", format!("{HEAD}{AUDIO}").replace("o=x", "o=Some SBC"), same),
            ("unknown line", format!("{HEAD}x=whatever\r\nnonsense\r\n\r\n=\r\n{AUDIO}"), same),
            ("two session c=", format!("{HEAD}c=IN IP4 203.0.113.1\r\n{AUDIO}"), same),
            ("c= in the medium", format!("v=0\r\n{AUDIO}c=IN IP4 198.51.100.7\r\n"), same),
            ("trailing blanks", format!("{HEAD}{AUDIO}").replace("\r\n", " \t\r\n"), same),
            ("double blanks", format!("{HEAD}{AUDIO}").replace(' ', "  "), same),
            ("capital letters of lines", format!("{HEAD}{AUDIO}").replace("c=", "C="), same),
            ("b= lines", format!("{HEAD}b=AS:64\r\n{AUDIO}b=TIAS:64000\r\n"), same),
            ("rtpmap of a static type", format!("{HEAD}{AUDIO}a=rtpmap:8 PCMA/8000/1\r\n"), same),
            ("fmtp and rtcp", format!("{HEAD}{AUDIO}a=fmtp:101 0-16\r\na=rtcp:4001 IN IP4 198.51.100.7\r\n"), same),
            ("port with a count", format!("{HEAD}{AUDIO}").replace("4000", "4000/1"), same),
            ("profile in small letters", format!("{HEAD}{AUDIO}").replace("RTP/AVP", "rtp/avp"), same),
            ("payload type above 127", format!("{HEAD}{AUDIO}").replace(" 8 0", " 136 8 0"), same),
            ("no codec of ours first", format!("{HEAD}{AUDIO}").replace(" 8 0", " 18 9 8 0"), same),
            ("SAVP first, then AVP", format!("{HEAD}m=audio 5000 RTP/SAVP 0\r\n{AUDIO}"), same),
            ("no telephone-event", format!("{HEAD}m=audio 4000 RTP/AVP 8\r\n"), |plan| Plan {
                telephone_event: None,
                ..plan
            }),
            (
                "telephone-event of another clock first",
                format!("{HEAD}{AUDIO}a=rtpmap:100 telephone-event/16000\r\n").replace("8 0 101", "8 0 100 101"),
                same,
            ),
        ];
        for (name, text, change) in table {
            assert_eq!(plan_of(&text), Ok(change(agreed())), "{name}");
        }
        let mut latin = format!("{HEAD}{AUDIO}").replace("s=-", "s=?").into_bytes();
        *latin.iter_mut().find(|b| **b == b'?').unwrap() = 0xe9;
        assert_eq!(answer(&latin, &OURS).unwrap().1, agreed(), "a name in Latin-1");
    }

    #[test]
    fn shapes_that_are_refused() {
        let with = |from: &str, to: &str| format!("{HEAD}{AUDIO}").replace(from, to);
        let c = |address: &str| with("c=IN IP4 198.51.100.7", &format!("c=IN {address}"));
        for (name, text, why) in [
            ("nothing", String::new(), Refusal::Malformed("no version line")),
            ("version 1", with("v=0", "v=1"), Refusal::Malformed("not version 0")),
            ("no medium", HEAD.to_owned(), Refusal::NoAudio),
            ("video alone", format!("{HEAD}m=video 4000 RTP/AVP 31\r\n"), Refusal::NoAudio),
            ("fax alone", format!("{HEAD}m=image 4000 udptl t38\r\n"), Refusal::NoAudio),
            ("port 0", with("4000", "0"), Refusal::Declined),
            ("SRTP", with("RTP/AVP", "RTP/SAVP"), Refusal::Profile),
            ("feedback", with("RTP/AVP", "RTP/AVPF"), Refusal::Profile),
            ("no codec of ours", with("8 0 101", "18 9 101"), Refusal::NoCodec),
            ("no format", with(" 8 0 101", ""), Refusal::NoCodec),
            ("another clock", with("8 0 101", "96") + "a=rtpmap:96 PCMU/16000\r\n", Refusal::NoCodec),
            ("stereo", with("8 0 101", "96") + "a=rtpmap:96 PCMU/8000/2\r\n", Refusal::NoCodec),
            ("a static number renamed", with("8 0 101", "0") + "a=rtpmap:0 G729/8000\r\n", Refusal::NoCodec),
            ("no c=", with("c=IN IP4 198.51.100.7\r\n", ""), Refusal::Address("missing")),
            ("a host name", c("IP4 sbc.example.net"), Refusal::Address("not an IP address")),
            ("multicast", c("IP4 224.2.1.1/127"), Refusal::Address("not of one host")),
            ("multicast of IPv6", c("IP6 ff02::1"), Refusal::Address("not of one host")),
            ("broadcast", c("IP4 255.255.255.255"), Refusal::Address("not of one host")),
            ("this network", c("IP4 0.1.2.3"), Refusal::Address("of no network")),
            ("the other IP version", c("IP6 2001:db8::1"), Refusal::Address("of the other IP version")),
        ] {
            assert_eq!(plan_of(&text), Err(why), "{name}");
        }
    }

    /// Who has an address of each family offers the first, and is answered in that; and answers in whichever is offered.
    #[test]
    fn either_family_is_answered_in_its_own() {
        let six = HEAD.replace("c=IN IP4 198.51.100.7", "c=IN IP6 2001:db8::7");
        for (first, other) in [(V4, V6), (V6, V4)] {
            let ours = Ours { addresses: Addresses::new(&[first, other]).unwrap(), ..OURS };
            let said = |text: Bytes| String::from_utf8(text.to_vec()).unwrap();
            for (head, ours_is) in [(HEAD, "c=IN IP4 192.0.2.9\r\n"), (&six, "c=IN IP6 2001:db8::9\r\n")] {
                let theirs = format!("{head}{AUDIO}");
                let (text, plan) = answer(theirs.as_bytes(), &ours).unwrap();
                let text = said(text);
                assert!(text.contains(ours_is) && text.contains("o=- 77 1 IN IP4 192.0.2.9\r\n"), "{text}");
                assert!(text.contains("m=audio 10000 "), "{text}");
                assert_eq!(plan.remote.is_ipv4(), head == HEAD);

                let is_offered = said(offer(&ours)).contains(ours_is);
                assert_eq!(is_offered, plan.remote.is_ipv4() == first.is_ipv4());
                let accepted = accept(theirs.as_bytes(), &ours).map(|plan| plan.remote);
                let refused = Refusal::Address("of the other IP version");
                assert_eq!(accepted, if is_offered { Ok(plan.remote) } else { Err(refused) });
            }
        }
    }

    /// RFC 3264 section 6.1, and 8.4 for the old hold: what they say, what we want, what we do.
    #[test]
    fn directions() {
        use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
        let rows = [
            ("a=sendrecv", false, [SendRecv, SendOnly, RecvOnly, Inactive]),
            ("", false, [SendRecv, SendOnly, RecvOnly, Inactive]),
            ("a=sendonly", false, [RecvOnly, Inactive, RecvOnly, Inactive]),
            ("a=recvonly", false, [SendOnly, SendOnly, Inactive, Inactive]),
            ("a=inactive", false, [Inactive; 4]),
            ("a=sendrecv", true, [RecvOnly, Inactive, RecvOnly, Inactive]),
            ("", true, [RecvOnly, Inactive, RecvOnly, Inactive]),
            ("a=recvonly", true, [Inactive; 4]),
            ("a=inactive", true, [Inactive; 4]),
        ];
        for (line, old_hold, expected) in rows {
            for (wanted, expected) in [SendRecv, SendOnly, RecvOnly, Inactive].into_iter().zip(expected) {
                let head =
                    if old_hold { HEAD.replace("c=IN IP4 198.51.100.7", "c=IN IP4 0.0.0.0") } else { HEAD.into() };
                let in_medium = format!("{head}{AUDIO}{line}\r\n");
                let in_session = format!("{head}{line}\r\n{AUDIO}");
                for text in [in_medium, in_session] {
                    let (bytes, plan) = answer(text.as_bytes(), &Ours { direction: wanted, ..OURS }).unwrap();
                    assert_eq!(plan.direction, expected, "{line} hold={old_hold} wanted={wanted:?}");
                    let said = parse(&bytes).unwrap().media[0].section.direction;
                    assert_eq!(said, Some(expected), "the answer says what we do");
                }
            }
        }
    }

    #[test]
    fn packets_are_as_long_as_they_ask() {
        for (lines, expected) in [
            ("", 20),
            ("a=ptime:10", 10),
            ("a=ptime:20", 20),
            ("a=ptime:30", 30),
            ("a=ptime:60", 60),
            ("a=ptime:20.0", 20),
            ("a=ptime:25", 20),
            ("a=ptime:5", 20),
            ("a=ptime:61", 20),
            ("a=ptime:240", 20),
            ("a=ptime:0", 20),
            ("a=ptime:-20", 20),
            ("a=ptime:99999999", 20),
            ("a=ptime:x", 20),
            ("a=ptime:60\r\na=maxptime:40", 40),
            ("a=maxptime:150", 20),
            ("a=maxptime:10", 10),
            ("a=maxptime:1", 20),
        ] {
            let (bytes, plan) = answer(format!("{HEAD}{AUDIO}{lines}\r\n").as_bytes(), &OURS).unwrap();
            let said = parse(&bytes).unwrap().media[0].section.ptime_ms;
            assert_eq!((plan.ptime_ms, said), (expected, Some(expected)), "{lines}");
            let in_session = plan_of(&format!("{HEAD}{lines}\r\n{AUDIO}")).unwrap();
            assert_eq!(in_session.ptime_ms, expected, "{lines} in the session");
        }
    }

    /// RFC 3605 and RFC 5761: at the port that they name, on the same host; or over that of the sound, and then we say so too.
    #[test]
    fn reports_go_where_they_are_wanted() {
        for (lines, port, mux) in [
            ("", 4001, false),
            ("a=rtcp:4711\r\n", 4711, false),
            ("a=rtcp:4711 IN IP4 203.0.113.9\r\n", 4711, false),
            ("a=rtcp:0\r\n", 4001, false),
            ("a=rtcp:x\r\n", 4001, false),
            ("a=rtcp-mux\r\n", 4000, true),
            ("a=rtcp:4711\r\na=rtcp-mux\r\n", 4000, true),
        ] {
            let text = format!("{HEAD}{AUDIO}{lines}");
            let rtcp = SocketAddr::new(agreed().remote.ip(), port);
            assert_eq!(plan_of(&text), Ok(Plan { rtcp, mux, ..agreed() }), "{lines}");
            assert_eq!(media_of(&text).contains("|a=rtcp-mux|"), mux, "{lines}");
        }
    }

    #[test]
    fn other_media_keep_their_places() {
        let text = format!(
            "{HEAD}m=video 5000 RTP/AVP 31 34\r\n{AUDIO}m=audio 6000 RTP/AVP 0\r\nm=image 7000 udptl t38\r\n\
             m=application 0 UDP/BFCP *\r\nm=x 1 y\r\n"
        );
        let media = media_of(&text);
        let lines: Vec<&str> = media.split('|').filter(|line| line.starts_with("m=")).collect();
        assert_eq!(
            lines,
            [
                "m=video 0 RTP/AVP 31",
                "m=audio 10000 RTP/AVP 8 101",
                "m=audio 0 RTP/AVP 0",
                "m=image 0 udptl t38",
                "m=application 0 UDP/BFCP *",
                "m=x 0 y 0",
            ]
        );
    }

    #[test]
    fn our_order_of_codecs_may_decide() {
        let text = format!("{HEAD}{AUDIO}");
        let prefer_ours = Ours { prefer: Prefer::Ours, ..OURS };
        assert_eq!(answer(text.as_bytes(), &prefer_ours).unwrap().1.codec, Codec::Pcmu);
        assert_eq!(answer(text.as_bytes(), &OURS).unwrap().1.codec, Codec::Pcma);
        let pcmu_alone = Ours { codecs: &[Codec::Pcmu], ..OURS };
        assert_eq!(answer(text.as_bytes(), &pcmu_alone).unwrap().1.codec, Codec::Pcmu);
    }

    /// What is offered, and what we take of it: codec, its number, that of keys, that of comfort noise.
    #[test]
    fn wider_sound_is_taken_with_its_clock() {
        const WIDE: Codec = Codec::L16(crate::media::Rate::Wide);
        let all = &[Codec::Opus, WIDE, Codec::G722, Codec::Pcmu];
        let ours = Ours { codecs: all, comfort_noise: true, prefer: Prefer::Ours, ..OURS };
        let (opus, keys) = ("a=rtpmap:111 opus/48000/2\r\n", "a=rtpmap:101 telephone-event/8000\r\n");
        let full = "a=rtpmap:102 telephone-event/48000\r\n";
        for (formats, lines, expected) in [
            ("111 0 101 102", format!("{opus}{keys}{full}"), (Codec::Opus, 111, Some(102), None)),
            ("111 0 101 13", format!("{opus}{keys}"), (Codec::Opus, 111, Some(101), None)),
            ("111 0", "a=rtpmap:111 opus/48000\r\n".to_owned(), (Codec::Pcmu, 0, None, None)),
            ("9 0 101 13", keys.to_owned(), (Codec::G722, 9, Some(101), Some(13))),
            ("0 98", "a=rtpmap:98 CN/8000\r\n".to_owned(), (Codec::Pcmu, 0, None, Some(98))),
            ("0 13", "a=rtpmap:13 CN/16000\r\n".to_owned(), (Codec::Pcmu, 0, None, None)),
            ("97 0", "a=rtpmap:97 L16/16000/1\r\n".to_owned(), (WIDE, 97, None, None)),
            ("97 0", "a=rtpmap:97 L16/16000/2\r\n".to_owned(), (Codec::Pcmu, 0, None, None)),
            ("96 0", String::new(), (Codec::Pcmu, 0, None, None)),
        ] {
            let text = format!("{HEAD}m=audio 4000 RTP/AVP {formats}\r\n{lines}");
            let (_, plan) = answer(text.as_bytes(), &ours).unwrap();
            let agreed = (plan.codec, plan.payload_type, plan.telephone_event, plan.comfort_noise);
            assert_eq!(agreed, expected, "{formats} {lines}");
        }
        // An answer that renumbers Opus: we send theirs and hear ours.
        let text = format!("{HEAD}m=audio 4000 RTP/AVP 111\r\n{opus}");
        let plan = accept(text.as_bytes(), &ours).unwrap();
        assert_eq!((plan.payload_type, plan.payload_in), (111, 96));
    }

    #[test]
    fn answers_to_our_offer() {
        let ours = Ours { codecs: &[Codec::Pcma], ..OURS };
        let accepted = |media: &str| accept(format!("{HEAD}{media}").as_bytes(), &ours);
        assert_eq!(accepted(AUDIO), Ok(agreed()));
        assert_eq!(accepted("m=audio 4000 RTP/AVP 0 8\r\n"), Ok(Plan { telephone_event: None, ..agreed() }));
        // They want 97; they send what we offered.
        let renumbered = "m=audio 4000 RTP/AVP 8 97\r\na=rtpmap:97 telephone-event/8000\r\n";
        assert_eq!(accepted(renumbered), Ok(agreed()));
        let held = Plan { direction: Direction::RecvOnly, ..agreed() };
        assert_eq!(accepted(&format!("{AUDIO}a=sendonly\r\n")), Ok(held));
        for (media, why) in [
            ("m=audio 0 RTP/AVP 8\r\n", Refusal::Declined),
            ("m=audio 4000 RTP/AVP 0\r\n", Refusal::NoCodec),
            ("m=video 4000 RTP/AVP 31\r\nm=audio 4000 RTP/AVP 8\r\n", Refusal::NoAudio),
            ("", Refusal::NoAudio),
        ] {
            assert_eq!(accepted(media), Err(why), "{media}");
        }
    }

    fn any_ours() -> impl Strategy<Value = (SocketAddr, &'static [Codec], Direction, Prefer)> {
        use Direction::{Inactive, RecvOnly, SendOnly, SendRecv};
        const WIDE: Codec = Codec::L16(crate::media::Rate::Wide);
        let codecs: [&'static [Codec]; 6] = [
            &[Codec::Pcmu],
            &[Codec::Pcma],
            &[Codec::Pcmu, Codec::Pcma],
            &[Codec::Pcma, Codec::Pcmu],
            &[Codec::Opus, WIDE, Codec::G722, Codec::Pcma],
            &[Codec::G722, Codec::Opus],
        ];
        (
            (1u8..=223, any::<[u8; 3]>(), 1u16..),
            prop::sample::select(codecs.to_vec()),
            prop::sample::select(&[SendRecv, SendOnly, RecvOnly, Inactive]),
            prop::sample::select(&[Prefer::Theirs, Prefer::Ours]),
        )
            .prop_map(|((a, [b, c, d], port), codecs, direction, prefer)| {
                (SocketAddr::from(([a, b, c, d], port)), codecs, direction, prefer)
            })
    }

    fn side((address, codecs, direction, prefer): (SocketAddr, &'static [Codec], Direction, Prefer)) -> Ours<'static> {
        let (addresses, port, origin) = (address.ip().into(), address.port(), address.ip());
        Ours { addresses, port, origin, codecs, direction, prefer, comfort_noise: true, ..OURS }
    }

    fn at(side: &Ours<'_>) -> SocketAddr {
        SocketAddr::new(side.addresses.first(), side.port)
    }

    proptest! {
        /// Two of us always end with the same idea of the call, or with no codec in common.
        #[test]
        fn both_sides_agree(one in any_ours(), other in any_ours()) {
            let (one, other) = (side(one), side(other));
            match answer(&offer(&one), &other) {
                Ok((bytes, theirs)) => {
                    let mine = accept(&bytes, &one).unwrap();
                    prop_assert_eq!(mine.codec, theirs.codec);
                    prop_assert_eq!(mine.payload_type, theirs.payload_type);
                    prop_assert_eq!(mine.telephone_event, theirs.telephone_event);
                    prop_assert_eq!(mine.comfort_noise, theirs.comfort_noise);
                    prop_assert_eq!((mine.remote, theirs.remote), (at(&other), at(&one)));
                    prop_assert_eq!(sends(mine.direction), receives(theirs.direction));
                    prop_assert_eq!(receives(mine.direction), sends(theirs.direction));
                }
                Err(why) => {
                    prop_assert_eq!(why, Refusal::NoCodec);
                    prop_assert!(one.codecs.iter().all(|codec| !other.codecs.contains(codec)));
                }
            }
        }

        /// Whatever is changed in a description, it is answered in full or refused; and never sent to many.
        #[test]
        fn no_mutation_breaks_us(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0u8..4), 1..40)) {
            let text = format!(
                "{HEAD}a=sendonly\r\na=ptime:20\r\nm=video 5000 RTP/AVP 31\r\n{AUDIO}c=IN IP6 2001:db8::1\r\na=maxptime:40\r\n"
            );
            let mut bytes = text.into_bytes();
            for (place, value, kind) in changes {
                let at = place.index(bytes.len().max(1));
                match kind {
                    _ if bytes.is_empty() => bytes.push(value),
                    0 => bytes[at] = value,
                    1 => bytes.insert(at, value),
                    2 => drop(bytes.remove(at)),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            for addresses in [&[V4][..], &[V6], &[V4, V6]] {
                let ours = Ours { addresses: Addresses::new(addresses).unwrap(), ..OURS };
                if let Ok((text, plan)) = answer(&bytes, &ours) {
                    prop_assert!(!plan.remote.ip().is_multicast() && plan.remote.port() != 0);
                    prop_assert!(plan.payload_type < 128 && plan.ptime_ms >= 10 && plan.ptime_ms <= 60);
                    let reread = parse(&text).unwrap();
                    prop_assert_eq!(reread.media.len(), parse(&bytes).unwrap().media.len());
                }
                let _ = accept(&bytes, &ours);
            }
        }

        #[test]
        fn no_bytes_break_us(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let _ = answer(&bytes, &OURS);
        }
    }
}
