//! What the descriptions of a call have laid down, and every later one keeps to (RFC 3264 section 8): each medium has its
//! place, and each dynamic payload type its meaning, as long as the call lasts.

use super::negotiate::meanings;
use super::parse::Medium;
use super::write::write_declined;
use super::{COMFORT_NOISE, Ours, PTIME_MS, TELEPHONE_EVENT, TELEPHONE_EVENT_FULL, TELEPHONE_HZ, name_of};
use crate::media::{Codec, Plan};

/// Payload types that mean what an `rtpmap` says (RFC 3551 section 6).
const DYNAMIC: std::ops::RangeInclusive<u8> = 96..=127;

/// What a payload type stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Codec(Codec),
    /// Keys, on a timeline of so many hertz.
    Events(u32),
    Noise,
    /// Something that we do not speak.
    Foreign,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The media before and after our sound, as they are declined.
    above: Vec<String>,
    below: Vec<String>,
    /// What payload types mean: those of the last description first, then older ones that it does not name.
    numbers: Vec<(u8, Meaning)>,
    /// RTCP shares the port of RTP (RFC 5761).
    mux: bool,
    /// The sound a packet that an answer of ours has asked for: as they had, since many take the two for one.
    ptime_ms: Option<u16>,
}

impl Layout {
    /// After an answer of ours to these media, of which the one in this place is spoken.
    pub(super) fn answered(before: Option<&Layout>, media: &[Medium<'_>], place: usize, plan: &Plan) -> Layout {
        let (above, rest) = media.split_at(place);
        let (spoken, below) = rest.split_first().map_or((None, rest), |(spoken, below)| (Some(spoken), below));
        let mut layout = Layout {
            above: declined(above),
            below: declined(below),
            mux: plan.mux,
            numbers: Vec::new(),
            ptime_ms: Some(plan.ptime_ms),
        };
        layout.learn(spoken.into_iter().flat_map(meanings));
        layout.learn(before.into_iter().flat_map(|before| before.numbers.iter().copied()));
        layout
    }

    /// With an offer of ours: what has a number keeps it, the rest has its usual one, unless that is taken.
    pub(super) fn offered(ours: &Ours<'_>) -> Layout {
        let mut layout = ours.before.cloned().unwrap_or_default();
        for codec in ours.codecs {
            layout.assign(Meaning::Codec(*codec), name_of(*codec).payload_type);
        }
        for (clock_hz, usual) in event_clocks(ours).map(|clock_hz| (clock_hz, usual_event(clock_hz))) {
            layout.assign(Meaning::Events(clock_hz), usual);
        }
        if ours.comfort_noise {
            layout.assign(Meaning::Noise, COMFORT_NOISE);
        }
        layout
    }

    /// After their answer to that offer.
    pub(super) fn accepted(mut self, medium: &Medium<'_>, mux: bool) -> Layout {
        self.learn(meanings(medium));
        Layout { mux, ..self }
    }

    /// Where in a description our sound stands.
    pub(super) fn place(&self) -> usize {
        self.above.len()
    }

    pub(super) fn above(&self) -> &[String] {
        &self.above
    }

    pub(super) fn below(&self) -> &[String] {
        &self.below
    }

    pub(super) fn mux(&self) -> bool {
        self.mux
    }

    pub(super) fn ptime_ms(&self) -> u16 {
        self.ptime_ms.unwrap_or(PTIME_MS)
    }

    pub(super) fn number(&self, meaning: Meaning) -> Option<u8> {
        self.numbers.iter().find(|(_, other)| *other == meaning).map(|(number, _)| *number)
    }

    fn is_taken(&self, number: u8) -> bool {
        self.numbers.iter().any(|(other, _)| *other == number)
    }

    /// Where all numbers are taken it gets none, and is not offered.
    fn assign(&mut self, meaning: Meaning, usual: u8) {
        if self.number(meaning).is_none() {
            // From above, where no usual one is.
            let free = std::iter::once(usual).chain(DYNAMIC.rev()).find(|number| !self.is_taken(*number));
            self.numbers.extend(free.map(|number| (number, meaning)));
        }
    }

    fn learn(&mut self, numbers: impl Iterator<Item = (u8, Meaning)>) {
        for (number, meaning) in numbers {
            if !self.is_taken(number) {
                self.numbers.push((number, meaning));
            }
        }
    }
}

/// On which timelines keys are offered: on that of Opus beside it.
pub(super) fn event_clocks(ours: &Ours<'_>) -> impl Iterator<Item = u32> {
    let full = ours.codecs.contains(&Codec::Opus).then_some(name_of(Codec::Opus).clock_hz);
    full.into_iter().chain([TELEPHONE_HZ]).filter(|_| ours.events)
}

const fn usual_event(clock_hz: u32) -> u8 {
    if clock_hz == TELEPHONE_HZ { TELEPHONE_EVENT } else { TELEPHONE_EVENT_FULL }
}

fn declined(media: &[Medium<'_>]) -> Vec<String> {
    let line = |medium| {
        let mut text = String::new();
        write_declined(&mut text, medium);
        text
    };
    media.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::sdp::crypto::Policy;
    use crate::media::sdp::parse::parse;
    use crate::media::sdp::{Agreed, Prefer, Secrecy, accept_with, answer_with, offer_with};
    use crate::media::{Direction, Rate};
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use std::net::IpAddr;

    const HEAD: &str = "v=0\r\no=x 1 1 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n";
    const VIDEO: &str = "m=video 5000 RTP/AVP 31\r\n";
    const OPUS: &str = "m=audio 4000 RTP/AVP 111 110\r\na=rtpmap:111 opus/48000/2\r\n\
        a=rtpmap:110 telephone-event/48000\r\n";

    fn ours(before: Option<&Layout>) -> Ours<'_> {
        let ip: IpAddr = "192.0.2.9".parse().unwrap();
        Ours {
            addresses: ip.into(),
            port: 10_000,
            origin: ip,
            session: 77,
            version: 1,
            codecs: &[Codec::Opus, Codec::Pcma],
            comfort_noise: false,
            events: true,
            direction: Direction::SendRecv,
            prefer: Prefer::Theirs,
            before,
        }
    }

    /// What both have laid down once we have answered this.
    fn answered(before: Option<&Layout>, media: &str) -> Agreed {
        let mut rng = StdRng::seed_from_u64(1);
        answer_with(format!("{HEAD}{media}").as_bytes(), &ours(before), &Secrecy::default(), &mut rng).unwrap().1
    }

    fn accepted(before: &Layout, media: &str) -> Agreed {
        accept_with(format!("{HEAD}{media}").as_bytes(), &ours(Some(before)), &Secrecy::default(), &[]).unwrap()
    }

    /// The media lines of our next offer, and what it maps.
    fn offered(before: &Layout) -> String {
        let (text, _) = offer_with(&ours(Some(before)), &Secrecy::default(), &mut StdRng::seed_from_u64(1));
        let text = String::from_utf8(text.to_vec()).unwrap();
        let kept = |line: &&str| line.starts_with("m=") || line.starts_with("a=rtpmap:") || *line == "a=rtcp-mux";
        text.lines().filter(kept).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn a_later_offer_keeps_places_and_numbers() {
        let agreed = answered(None, &format!("{VIDEO}{OPUS}"));
        assert_eq!(
            offered(&agreed.layout),
            "m=video 0 RTP/AVP 31|m=audio 10000 RTP/AVP 111 8 110 101|a=rtpmap:111 opus/48000/2|a=rtpmap:8 PCMA/8000|\
             a=rtpmap:110 telephone-event/48000|a=rtpmap:101 telephone-event/8000"
        );
        // Their answer to it is read where our sound stands, and they send with our numbers.
        let again = accepted(&agreed.layout, &format!("m=video 0 RTP/AVP 31\r\n{OPUS}"));
        let plan = again.plan;
        assert_eq!((plan.codec, plan.payload_type, plan.payload_in), (Codec::Opus, 111, 111));
        assert_eq!((plan.telephone_event, plan.remote.port()), (Some(110), 4000));
        assert_eq!(offered(&again.layout), offered(&agreed.layout));
    }

    #[test]
    fn media_below_ours_stay_too() {
        let agreed = answered(None, &format!("{OPUS}m=image 7000 udptl t38\r\n"));
        assert!(offered(&agreed.layout).starts_with("m=audio 10000 RTP/AVP 111 8 110 101|"));
        assert!(offered(&agreed.layout).ends_with("|m=image 0 udptl t38"));
        // One more medium comes, and stays.
        let more = answered(Some(&agreed.layout), &format!("{OPUS}m=image 0 udptl t38\r\n{VIDEO}"));
        assert!(offered(&more.layout).ends_with("|m=image 0 udptl t38|m=video 0 RTP/AVP 31"));
    }

    /// What a number has meant once it does not cease to mean (RFC 3264 section 8.3.2).
    #[test]
    fn numbers_that_mean_something_else_are_not_used() {
        let taken = "m=audio 4000 RTP/AVP 8 96 101 100\r\na=rtpmap:96 AMR/8000\r\na=rtpmap:101 speex/8000\r\n\
            a=rtpmap:100 telephone-event/8000\r\n";
        let first = answered(None, taken).layout;
        assert_eq!(
            offered(&first),
            "m=audio 10000 RTP/AVP 127 8 126 100|a=rtpmap:127 opus/48000/2|a=rtpmap:8 PCMA/8000|\
             a=rtpmap:126 telephone-event/48000|a=rtpmap:100 telephone-event/8000"
        );
        // … not after a description that does not name it either.
        let later = answered(Some(&first), "m=audio 4000 RTP/AVP 8\r\n").layout;
        assert_eq!(offered(&later), offered(&first));
        // Our own offer is laid down as theirs are, whatever they call it.
        let own = accepted(&Layout::default(), "m=audio 4000 RTP/AVP 111\r\na=rtpmap:111 opus/48000/2\r\n");
        assert_eq!((own.plan.payload_type, own.plan.payload_in), (111, 96));
        assert!(offered(&own.layout).starts_with("m=audio 10000 RTP/AVP 96 8 100 101|"));
    }

    /// What they asked for we ask for too, as long as they do not ask anew.
    #[test]
    fn packets_stay_as_long_as_they_were() {
        let asked = |layout: &Layout| {
            let (text, _) = offer_with(&ours(Some(layout)), &Secrecy::default(), &mut StdRng::seed_from_u64(1));
            parse(&text).unwrap().media[0].section.ptime_ms
        };
        let long = answered(None, &format!("{OPUS}a=ptime:40\r\n")).layout;
        assert_eq!(asked(&long), Some(40));
        assert_eq!(asked(&accepted(&long, &format!("{OPUS}a=ptime:20\r\n")).layout), Some(40), "it is ours that stays");
        assert_eq!(asked(&answered(Some(&long), OPUS).layout), Some(20));
        assert_eq!(asked(&accepted(&Layout::default(), &format!("{OPUS}a=ptime:40\r\n")).layout), Some(20));
    }

    /// RFC 5761 section 5.1.1: offered where it is in use, and taken only where it was offered.
    #[test]
    fn one_port_for_both_stays_so() {
        let agreed = answered(None, &format!("{OPUS}a=rtcp-mux\r\n"));
        assert!(agreed.plan.mux && offered(&agreed.layout).ends_with("|a=rtcp-mux"));
        let plan = accepted(&agreed.layout, &format!("{OPUS}a=rtcp-mux\r\n")).plan;
        assert!(plan.mux && plan.rtcp == plan.remote);
        let plan = accepted(&agreed.layout, OPUS).plan;
        assert!(!plan.mux && plan.rtcp.port() == 4001);
        let plan = accepted(&Layout::default(), &format!("{OPUS}a=rtcp-mux\r\n")).plan;
        assert!(!plan.mux && plan.rtcp.port() == 4001, "it was not offered");
    }

    #[test]
    fn a_secret_call_keeps_them_too() {
        let mut rng = StdRng::seed_from_u64(1);
        let required = Secrecy { policy: Policy::Required, before: None };
        let (offer, _) = offer_with(&ours(None), &required, &mut rng);
        let theirs = String::from_utf8_lossy(&offer).replace("m=audio", &format!("{VIDEO}m=audio"));
        let (text, agreed) = answer_with(theirs.as_bytes(), &ours(None), &required, &mut rng).unwrap();
        assert!(String::from_utf8_lossy(&text).contains("m=video 0 RTP/AVP 31\r\nm=audio 10000 RTP/SAVP 96 "));
        let again = Secrecy { before: agreed.secret.as_ref(), ..required };
        let (text, _) = offer_with(&ours(Some(&agreed.layout)), &again, &mut rng);
        assert!(String::from_utf8_lossy(&text).contains("m=video 0 RTP/AVP 31\r\nm=audio 10000 RTP/SAVP 96 "));
    }

    proptest! {
        /// Whatever was offered, in whatever order: places and meanings stay, and no number means two things.
        #[test]
        fn nothing_moves(descriptions in prop::collection::vec(prop::collection::vec((96u8..=127, 0usize..5), 0..19), 1..6)) {
            const NAMES: [&str; 5] =
                ["opus/48000/2", "PCMA/8000", "telephone-event/8000", "CN/8000", "x/8000"];
            let mut known: std::collections::BTreeMap<u8, usize> = Default::default();
            let mut layout: Option<Layout> = None;
            for numbers in descriptions {
                let mut media = "m=audio 4000 RTP/AVP 8".to_owned();
                let mut maps = String::new();
                for (number, name) in numbers {
                    if *known.entry(number).or_insert(name) == name && !media.contains(&format!(" {number}")) {
                        media += &format!(" {number}");
                        maps += &format!("a=rtpmap:{number} {}\r\n", NAMES[name]);
                    }
                }
                layout = Some(answered(layout.as_ref(), &format!("{VIDEO}{media}\r\n{maps}")).layout);
            }
            let layout = layout.unwrap_or_default();
            let ours = Ours { codecs: &[Codec::Opus, Codec::Pcma, Codec::L16(Rate::Wide)], comfort_noise: true, ..ours(Some(&layout)) };
            let offered = Layout::offered(&ours);
            prop_assert_eq!(offered.place(), 1);
            let mut used = std::collections::BTreeSet::new();
            for (number, meaning) in &offered.numbers {
                prop_assert!(used.insert(*number), "{} twice", number);
                let before = known.get(number).map(|name| NAMES[*name]);
                let means = match meaning {
                    Meaning::Codec(codec) => name_of(*codec).name,
                    Meaning::Events(_) => "telephone-event",
                    Meaning::Noise => "CN",
                    Meaning::Foreign => "x",
                };
                prop_assert!(before.is_none_or(|before| before.split('/').next() == Some(means)), "{number} {before:?} {means}");
            }
        }
    }
}
