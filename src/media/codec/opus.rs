//! Opus (RFC 6716, RFC 8251) by libopus 1.6.1.
//!
//! The library is called by its own door, not by a crate with owned states: a state is then a block of memory that one
//! encoder can take over from another ([`Encoder::follow`]), which is what lets a listener leave the common line unheard.
//!
//! No packet reaches the library before its framing is found right here. The library takes no memory after the states
//! are made: they are one block each, of the size it asks for, and its working space is the stack.

use super::{Bad, LONGEST_MS, Rate, Settings};
use opusic_sys as library;
use std::ffi::{c_int, c_void};

/// The clock of all Opus, whatever the rate of the sound (RFC 7587 section 4.1).
const CLOCK_HZ: u32 = Rate::Full.hz();
/// RFC 6716 section 3.2.1: no frame is longer (rule R2).
const FRAME_MOST: usize = 1_275;
/// Rule R5: no packet holds more.
const UNITS_MOST: u32 = CLOCK_HZ / 1_000 * LONGEST_MS as u32;
/// Sound comes in pieces of 2.5 ms: so many of them a second.
const PIECES: usize = 400;

/// How long the sound of a packet is, at 48 kHz, once it has kept all the rules of RFC 6716 section 3.4.
pub fn units(packet: &[u8]) -> Result<u32, Bad> {
    let (toc, rest) = packet.split_first().ok_or(Bad::Empty)?;
    let frame = frame_units(*toc);
    let frames = match toc & 3 {
        0 => one(rest)?,
        1 if !rest.len().is_multiple_of(2) => return Err(Bad::Framing("R3: two frames of one length")),
        1 => one(&rest[rest.len() / 2..])? * 2,
        2 => {
            let (first, rest) = length(rest).ok_or(Bad::Framing("R4: a first frame that is there"))?;
            let second = rest.get(first..).ok_or(Bad::Framing("R4: a first frame that is there"))?;
            one(second)? * 2
        }
        _ => many(rest, frame)?,
    };
    Ok(frame * frames)
}

/// Section 3.1, table 2: what the upper five bits of the first octet say of the length of a frame.
const fn frame_units(toc: u8) -> u32 {
    let (kind, step) = (toc >> 3, toc >> 3 & 3);
    let half_millis = match kind {
        // SILK; hybrid; CELT.
        0..12 => [20, 40, 80, 120][step as usize],
        12..16 => [20, 40][(step & 1) as usize],
        _ => [5, 10, 20, 40][step as usize],
    };
    CLOCK_HZ / 2_000 * half_millis
}

/// A frame to the packet's end.
fn one(frame: &[u8]) -> Result<u32, Bad> {
    if frame.len() > FRAME_MOST { Err(Bad::Framing("R2: frames of 1275 octets at most")) } else { Ok(1) }
}

/// Section 3.2.1: the length of a frame in one octet or two, and what follows.
fn length(octets: &[u8]) -> Option<(usize, &[u8])> {
    match octets {
        [first @ 0..252, rest @ ..] => Some((usize::from(*first), rest)),
        [first, second, rest @ ..] => Some((usize::from(*first) + 4 * usize::from(*second), rest)),
        _ => None,
    }
}

/// Section 3.2.5: any number of frames, of one length or each of its own, and padding.
fn many(octets: &[u8], frame: u32) -> Result<u32, Bad> {
    let (head, mut rest) = octets.split_first().ok_or(Bad::Framing("R6: a count of frames"))?;
    let frames = u32::from(head & 0x3f);
    if frames == 0 || frame * frames > UNITS_MOST {
        return Err(Bad::Framing("R5: 1 frame to 120 ms of them"));
    }
    if head & 0x40 != 0 {
        rest = unpadded(rest).ok_or(Bad::Framing("R6: padding that is there"))?;
    }
    if head & 0x80 == 0 {
        if !rest.len().is_multiple_of(frames as usize) {
            return Err(Bad::Framing("R6: frames of one length"));
        }
        return one(&rest[..rest.len() / frames as usize]).map(|_| frames);
    }
    let mut spoken_for = 0;
    for _ in 1..frames {
        let (size, after) = length(rest).ok_or(Bad::Framing("R7: a length of each frame but the last"))?;
        (spoken_for, rest) = (spoken_for + size, after);
    }
    let last = rest.get(spoken_for..).ok_or(Bad::Framing("R7: frames that are there"))?;
    one(last).map(|_| frames)
}

fn unpadded(mut rest: &[u8]) -> Option<&[u8]> {
    let mut padding = 0;
    loop {
        let (octet, after) = rest.split_first()?;
        rest = after;
        // 255: 254 octets, and another octet of length.
        padding += usize::from(*octet).min(254);
        if *octet < 255 {
            return rest.get(..rest.len().checked_sub(padding)?);
        }
    }
}

/// Memory for a state of the library: as large as it asks for, as aligned as its widest member. It holds no pointer into
/// itself, and may move.
struct State(Box<[u64]>);

impl State {
    fn new(octets: c_int) -> State {
        State(vec![0; (octets.max(0) as usize).div_ceil(8)].into())
    }

    fn at(&mut self) -> *mut c_void {
        self.0.as_mut_ptr().cast()
    }
}

/// From packets to sound of one rate, one channel.
pub struct Decoder {
    state: State,
    rate: Rate,
}

impl Decoder {
    pub fn new(rate: Rate) -> Decoder {
        // SAFETY: a question about a number.
        let mut state = State::new(unsafe { library::opus_decoder_get_size(1) });
        // SAFETY: the state is as large as the library has just said.
        let made = unsafe { library::opus_decoder_init(state.at().cast(), rate.hz() as i32, 1) };
        assert_eq!(made, library::OPUS_OK, "libopus knows the rate {}", rate.hz());
        Decoder { state, rate }
    }

    /// Returns how many samples of `out` it filled.
    pub fn decode(&mut self, packet: &[u8], out: &mut [i16]) -> Result<usize, Bad> {
        let units = units(packet)?;
        if units as usize * self.rate.hz() as usize / CLOCK_HZ as usize > out.len() {
            return Err(Bad::NoRoom);
        }
        usize::try_from(self.run(packet, out, false)).map_err(|_| Bad::Senseless)
    }

    /// Makes up all of `out`: a multiple of 2.5 ms, at most 120 ms. Returns its length, or 0 where it is neither.
    pub fn conceal(&mut self, out: &mut [i16]) -> usize {
        if !self.is_whole(out.len()) {
            return 0;
        }
        usize::try_from(self.run(&[], out, false)).unwrap_or(0)
    }

    /// Fills `out` from the copy that the packet after the lost one carries. 0: there is none.
    pub fn fec(&mut self, next: &[u8], out: &mut [i16]) -> usize {
        if !self.is_whole(out.len()) || !has_copy(next) {
            return 0;
        }
        usize::try_from(self.run(next, out, true)).unwrap_or(0)
    }

    pub fn forget(&mut self) {
        // SAFETY: a state made by `new`, and a request without argument.
        unsafe { library::opus_decoder_ctl(self.state.at().cast(), library::OPUS_RESET_STATE) };
    }

    fn is_whole(&self, samples: usize) -> bool {
        let piece = self.rate.hz() as usize / PIECES;
        samples > 0 && samples.is_multiple_of(piece) && samples <= self.rate.samples(LONGEST_MS)
    }

    fn run(&mut self, packet: &[u8], out: &mut [i16], fec: bool) -> c_int {
        let (octets, samples) = (packet.len() as i32, out.len().min(self.rate.samples(LONGEST_MS)) as c_int);
        let octets_at = if packet.is_empty() { std::ptr::null() } else { packet.as_ptr() };
        // SAFETY: a state made by `new`; the packet is read for its length, and `out` written for its own at most.
        unsafe {
            library::opus_decode(self.state.at().cast(), octets_at, octets, out.as_mut_ptr(), samples, fec.into())
        }
    }
}

/// Whether a packet carries a copy of the sound before it (RFC 6716 section 4.2.4: LBRR frames).
pub fn has_copy(packet: &[u8]) -> bool {
    // SAFETY: the packet is well framed, and read for its length.
    units(packet).is_ok() && unsafe { library::opus_packet_has_lbrr(packet.as_ptr(), packet.len() as i32) } == 1
}

/// Whether a packet says by itself, undecoded, that nobody talks in it: it is one of DTX, or its encoder heard no voice
/// (RFC 6716 section 4.2.3: the first bits of a frame with a SILK layer tell of each 20 ms). Frames of CELT alone do not
/// tell, nor is it asked of bundles and of two channels.
pub fn is_inactive(packet: &[u8]) -> bool {
    match packet {
        [toc, first, _, ..] if toc >> 3 < 16 && toc & 7 == 0 => {
            let spans = (frame_units(*toc) / (CLOCK_HZ / 50)).clamp(1, 3);
            first >> (8 - spans) == 0
        }
        _ => packet.len() <= 2,
    }
}

/// From sound of one rate, one channel, to packets.
pub struct Encoder {
    state: State,
    rate: Rate,
    dtx: bool,
}

impl Encoder {
    pub fn new(rate: Rate, settings: Settings) -> Encoder {
        // SAFETY: a question about a number.
        let mut state = State::new(unsafe { library::opus_encoder_get_size(1) });
        let (hz, voip) = (rate.hz() as i32, library::OPUS_APPLICATION_VOIP);
        // SAFETY: the state is as large as the library has just said.
        let made = unsafe { library::opus_encoder_init(state.at().cast(), hz, 1, voip) };
        assert_eq!(made, library::OPUS_OK, "libopus knows the rate {}", rate.hz());
        let mut encoder = Encoder { state, rate, dtx: false };
        encoder.set(library::OPUS_SET_SIGNAL_REQUEST, library::OPUS_SIGNAL_VOICE);
        encoder.adapt(settings);
        encoder
    }

    /// Takes other settings, from the next packet on. What is out of bounds is brought to the bound.
    pub fn adapt(&mut self, settings: Settings) {
        self.dtx = settings.dtx;
        for (request, value) in [
            (library::OPUS_SET_BITRATE_REQUEST, settings.bitrate.clamp(6_000, 510_000) as c_int),
            (library::OPUS_SET_COMPLEXITY_REQUEST, settings.complexity.min(10).into()),
            (library::OPUS_SET_INBAND_FEC_REQUEST, settings.fec.into()),
            (library::OPUS_SET_PACKET_LOSS_PERC_REQUEST, settings.loss_percent.min(100).into()),
            (library::OPUS_SET_DTX_REQUEST, settings.dtx.into()),
        ] {
            self.set(request, value);
        }
    }

    /// Returns how many octets of `packet` it filled; 0 where nothing is to be sent.
    pub fn encode(&mut self, sound: &[i16], packet: &mut [u8]) -> usize {
        if sound.len() > self.rate.samples(LONGEST_MS) {
            return 0;
        }
        let (samples, octets) = (sound.len() as c_int, packet.len().min(FRAME_MOST) as i32);
        // SAFETY: a state made by `new`; the sound is read for its length, and `packet` written for its own at most.
        let written = unsafe {
            library::opus_encode(self.state.at().cast(), sound.as_ptr(), samples, packet.as_mut_ptr(), octets)
        };
        match usize::try_from(written) {
            // A packet of a first octet alone says nothing, and need not be sent.
            Ok(0..=2) if self.dtx => 0,
            Ok(octets) => octets,
            Err(_) => 0,
        }
    }

    /// Goes on from where `other`, of the same rate, is.
    pub fn follow(&mut self, other: &Encoder) {
        if self.rate == other.rate {
            self.state.0.copy_from_slice(&other.state.0);
            self.dtx = other.dtx;
        }
    }

    pub fn forget(&mut self) {
        // SAFETY: a state made by `new`, and a request without argument.
        unsafe { library::opus_encoder_ctl(self.state.at().cast(), library::OPUS_RESET_STATE) };
    }

    fn set(&mut self, request: c_int, value: c_int) {
        // SAFETY: a state made by `new`, and requests whose one argument is an integer.
        let done = unsafe { library::opus_encoder_ctl(self.state.at().cast(), request, value) };
        assert_eq!(done, library::OPUS_OK, "libopus takes {value} for {request}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A hummed voice: 120 Hz and what is above it, swelling and falling.
    fn voice(rate: Rate, samples: usize) -> Vec<i16> {
        let time = |i: usize| std::f64::consts::TAU * i as f64 / f64::from(rate.hz());
        let hum = |t: f64| (1..16).map(|n| (120.0 * t * f64::from(n)).sin() / f64::from(n)).sum::<f64>();
        (0..samples).map(|i| (6_000.0 * hum(time(i)) * (1.2 + (4.0 * time(i)).sin())) as i16).collect()
    }

    fn packets(rate: Rate, millis: usize, settings: Settings) -> Vec<Vec<u8>> {
        let mut encoder = Encoder::new(rate, settings);
        let mut line = [0; 1_500];
        let sound = voice(rate, rate.samples(1_200));
        let mut packet = |frame: &[i16]| {
            let octets = encoder.encode(frame, &mut line);
            line[..octets].to_vec()
        };
        sound.chunks(rate.samples(millis)).map(&mut packet).collect()
    }

    fn strength(sound: &[i16]) -> f64 {
        (sound.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / sound.len() as f64).sqrt()
    }

    #[test]
    fn the_length_is_in_the_first_octets() {
        let long = vec![0; 1_276];
        let with = |head: &[u8], rest: &[u8]| [head, rest].concat();
        for (packet, units_of) in [
            (vec![0 << 3], Some(480)),
            (vec![3 << 3], Some(2_880)),
            (vec![12 << 3], Some(480)),
            (vec![15 << 3], Some(960)),
            (vec![16 << 3], Some(120)),
            (vec![31 << 3], Some(960)),
            (with(&[31 << 3], &long[1..]), Some(960)),
            (with(&[31 << 3], &long), None),
            (vec![1 << 3 | 1, 7, 7], Some(1_920)),
            (vec![1 << 3 | 1, 7], None),
            (vec![3 << 3 | 1, 7, 7], Some(5_760)),
            (vec![1 << 3 | 2, 1, 7], Some(1_920)),
            (vec![1 << 3 | 2, 2, 7], None),
            (vec![1 << 3 | 2], None),
            (vec![1 << 3 | 2, 252], None),
            (with(&[1 << 3 | 2, 252, 1], &long[..256]), Some(1_920)),
            (with(&[1 << 3 | 2, 252, 1], &long[..255]), None),
            (vec![1 << 3 | 3], None),
            (vec![1 << 3 | 3, 0], None),
            (vec![1 << 3 | 3, 6], Some(5_760)),
            (vec![1 << 3 | 3, 7], None),
            (vec![16 << 3 | 3, 48], Some(5_760)),
            (vec![16 << 3 | 3, 49], None),
            (vec![1 << 3 | 3, 2, 7, 7, 7], None),
            (vec![1 << 3 | 3, 2, 7, 7], Some(1_920)),
            (vec![1 << 3 | 3, 0x42, 1, 7, 7, 0], Some(1_920)),
            (vec![1 << 3 | 3, 0x42, 3, 7, 0], None),
            (vec![1 << 3 | 3, 0x41, 255], None),
            (vec![1 << 3 | 3, 0x41], None),
            (vec![1 << 3 | 3, 0x82, 1, 7], Some(1_920)),
            (vec![1 << 3 | 3, 0x82, 2, 7], None),
            (vec![1 << 3 | 3, 0x83, 1, 7], None),
            (vec![], None),
        ] {
            let shown = &packet[..packet.len().min(6)];
            assert_eq!(units(&packet).ok(), units_of, "{shown:x?} of {}: {:?}", packet.len(), units(&packet));
        }
    }

    #[test]
    fn a_voice_comes_back_at_every_rate() {
        for from in Rate::ALL {
            for (to, millis) in Rate::ALL.into_iter().zip([10, 20, 40, 60]) {
                let sent = packets(from, millis, Settings::default());
                let (mut decoder, mut out) = (Decoder::new(to), vec![0; to.samples(millis)]);
                for packet in &sent {
                    assert_eq!(units(packet), Ok(48 * millis as u32));
                    assert_eq!(decoder.decode(packet, &mut out), Ok(to.samples(millis)));
                }
                let (sent, heard) = (strength(&voice(from, from.samples(1_200))), strength(&out));
                assert!(heard > 0.15 * sent && heard < 3.0 * sent, "{from:?} to {to:?}: {heard} of {sent}");
            }
        }
    }

    #[test]
    fn a_lost_packet_is_in_the_next() {
        let sent = packets(Rate::Wide, 20, Settings { bitrate: 32_000, loss_percent: 20, ..Settings::default() });
        let decoded = |lost: Option<usize>, copy: bool| {
            let mut decoder = Decoder::new(Rate::Wide);
            let mut all = Vec::new();
            for (i, packet) in sent.iter().enumerate() {
                let mut out = [0; 320];
                match lost == Some(i) {
                    true if copy => assert_eq!(decoder.fec(&sent[i + 1], &mut out), 320),
                    true => assert_eq!(decoder.conceal(&mut out), 320),
                    false => assert_eq!(decoder.decode(packet, &mut out), Ok(320)),
                }
                all.extend(out);
            }
            all
        };
        let whole = decoded(None, false);
        let copies: Vec<usize> = (10..58).filter(|lost| has_copy(&sent[lost + 1])).collect();
        assert!(copies.len() > 10, "copies of {copies:?}");
        for lost in copies {
            let miss = |sound: Vec<i16>| {
                let frame = 320 * lost..320 * lost + 320;
                let pairs = sound[frame.clone()].iter().zip(&whole[frame]);
                strength(&pairs.map(|(a, b)| a.wrapping_sub(*b)).collect::<Vec<_>>())
            };
            let (copied, made_up) = (miss(decoded(Some(lost), true)), miss(decoded(Some(lost), false)));
            let loud = strength(&whole[320 * lost..][..320]);
            assert!(copied < 0.5 * loud && copied < made_up, "{lost}: {copied}, {made_up} of {loud}");
        }
        let none = packets(Rate::Wide, 20, Settings { fec: false, ..Settings::default() });
        assert_eq!(Decoder::new(Rate::Wide).fec(&none[30], &mut [0; 320]), 0);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let sent = packets(Rate::Narrow, 20, Settings::default());
        let mut decoder = Decoder::new(Rate::Narrow);
        assert_eq!(decoder.decode(&sent[0], &mut [0; 159]), Err(Bad::NoRoom));
        assert_eq!(decoder.decode(&[], &mut [0; 160]), Err(Bad::Empty));
        for odd in [0, 1, 159, 161, 980] {
            assert_eq!((decoder.conceal(&mut vec![0; odd]), decoder.fec(&sent[1], &mut vec![0; odd])), (0, 0));
        }
        let mut encoder = Encoder::new(Rate::Narrow, Settings::default());
        for (samples, octets) in [(0, 100), (159, 100), (240, 100), (961, 100), (160, 0)] {
            assert_eq!(encoder.encode(&vec![0; samples], &mut vec![0; octets]), 0, "{samples} {octets}");
        }
    }

    #[test]
    fn silence_is_not_sent_where_that_is_wished() {
        let mut encoder = Encoder::new(Rate::Wide, Settings { dtx: true, ..Settings::default() });
        let sent: Vec<usize> = (0..100).map(|_| encoder.encode(&[0; 320], &mut [0; 1_275])).collect();
        assert!(sent[0] > 0 && sent.iter().filter(|octets| **octets == 0).count() > 70, "{sent:?}");
    }

    #[test]
    fn what_was_forgotten_is_not_heard() {
        let sent = packets(Rate::Wide, 20, Settings::default());
        let (mut used, mut out, mut first) = (Decoder::new(Rate::Wide), [0; 320], [0; 320]);
        sent[20..40].iter().for_each(|packet| assert_eq!(used.decode(packet, &mut out), Ok(320)));
        used.forget();
        used.decode(&sent[0], &mut out).unwrap();
        Decoder::new(Rate::Wide).decode(&sent[0], &mut first).unwrap();
        assert_eq!(out, first);
    }

    /// Packets with a few bits wrong, cut, or made up: each is refused or makes as much sound as it said.
    fn batter(rounds: u32) {
        let mut seed = 0x2545_f491_4f6c_dd1d_u64;
        let mut dice = move |sides: usize| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            (seed >> 11) as usize % sides
        };
        let streams = Rate::ALL.map(|rate| packets(rate, 20, Settings { bitrate: 32_000, ..Settings::default() }));
        let mut decoders = Rate::ALL.map(Decoder::new);
        let mut out = [0; 5_760];
        for _ in 0..rounds {
            let stream = &streams[dice(4)];
            let mut packet = stream[dice(stream.len())].clone();
            match dice(5) {
                0 => packet.truncate(dice(packet.len())),
                1 => packet[0] = dice(256) as u8,
                2 => packet = (0..dice(400)).map(|_| dice(256) as u8).collect(),
                3 => packet.extend((0..dice(60)).map(|_| dice(256) as u8)),
                _ => (0..1 + dice(4)).for_each(|_| {
                    let at = dice(packet.len());
                    packet[at] ^= 1 << dice(8);
                }),
            }
            let decoder = &mut decoders[dice(4)];
            let piece = decoder.rate.hz() as usize / PIECES * [1, 4, 8, 24, 48][dice(5)];
            match dice(8) {
                0 => assert!([0, piece].contains(&decoder.fec(&packet, &mut out[..piece]))),
                1 => assert_eq!(decoder.conceal(&mut out[..piece]), piece),
                _ => match (units(&packet), decoder.decode(&packet, &mut out)) {
                    (Ok(units), Ok(samples)) => {
                        assert_eq!(samples, units as usize * decoder.rate.hz() as usize / CLOCK_HZ as usize);
                    }
                    (Ok(_), heard) => assert_eq!(heard, Err(Bad::Senseless)),
                    (Err(why), heard) => assert_eq!(heard, Err(why)),
                },
            }
        }
    }

    #[test]
    fn mutated_packets_do_no_harm() {
        let long = std::env::var_os("TOLLBRIDGE_TEST_LONG").is_some();
        batter(if long { 1_000_000 } else { 20_000 });
    }

    proptest! {
        #[test]
        fn any_octets_are_measured(packet in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(units) = units(&packet) {
                prop_assert!((120..=UNITS_MOST).contains(&units));
            }
        }
    }
}
