//! Between the wire's octets and samples.
//!
//! A [`Decoder`] and an [`Encoder`] take all their memory when they are made, and none after. Both stand between one
//! codec and sound of one rate: what the codec's own rate is, nobody else needs to know.

pub mod comfort;
pub mod conceal;
pub mod g711;
pub mod g722;
pub mod l16;
pub mod opus;
pub mod resample;
pub mod tone;

use super::Codec;
use resample::Resampler;
use thiserror::Error;

/// The largest payload looked at: more does not fit the frame of an Ethernet.
pub const PAYLOAD_MOST: usize = 1_500;
/// The longest sound coded at once, and the longest an Opus packet may hold (RFC 6716 section 3.2.5, rule R5).
pub const LONGEST_MS: usize = 120;
/// That sound at the highest rate.
const LONGEST: usize = Rate::Full.samples(LONGEST_MS);
/// The most samples of one payload that is not Opus: G.722 has two in an octet.
const RAW: usize = 2 * PAYLOAD_MOST;

/// How many samples a second sound has, inside. The names are Opus's (RFC 6716 section 2, table 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Rate {
    #[default]
    Narrow,
    Wide,
    SuperWide,
    Full,
}

impl Rate {
    pub const ALL: [Rate; 4] = [Rate::Narrow, Rate::Wide, Rate::SuperWide, Rate::Full];

    pub const fn hz(self) -> u32 {
        [8_000, 16_000, 24_000, 48_000][self as usize]
    }

    pub const fn from_hz(hz: u32) -> Option<Rate> {
        match hz {
            8_000 => Some(Rate::Narrow),
            16_000 => Some(Rate::Wide),
            24_000 => Some(Rate::SuperWide),
            48_000 => Some(Rate::Full),
            _ => None,
        }
    }

    /// Samples of so many milliseconds.
    pub const fn samples(self, millis: usize) -> usize {
        self.hz() as usize / 1_000 * millis
    }
}

/// Why a payload cannot be heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Bad {
    #[error("an empty payload")]
    Empty,
    #[error("a payload longer than any packet of this codec")]
    TooLong,
    #[error("a sample is cut in two")]
    Odd,
    /// RFC 6716 section 3.4: the rule that is broken.
    #[error("an Opus packet that breaks rule {0}")]
    Framing(&'static str),
    #[error("the sound is longer than the place for it")]
    NoRoom,
    /// Well framed, and yet the decoder gave up.
    #[error("the decoder cannot make sense of it")]
    Senseless,
}

impl Codec {
    pub const ALL: [Codec; 8] = [
        Codec::Pcmu,
        Codec::Pcma,
        Codec::G722,
        Codec::Opus,
        Codec::L16(Rate::Narrow),
        Codec::L16(Rate::Wide),
        Codec::L16(Rate::SuperWide),
        Codec::L16(Rate::Full),
    ];
    /// How many codecs there are: for tables by [`Codec::index`].
    pub const COUNT: usize = Codec::ALL.len();

    pub const fn index(self) -> usize {
        match self {
            Codec::Pcmu => 0,
            Codec::Pcma => 1,
            Codec::G722 => 2,
            Codec::Opus => 3,
            Codec::L16(rate) => 4 + rate as usize,
        }
    }

    /// The encoding name of `rtpmap` (RFC 3551 section 6, RFC 7587 section 7).
    pub const fn name(self) -> &'static str {
        match self {
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
            Codec::G722 => "G722",
            Codec::Opus => "opus",
            Codec::L16(_) => "L16",
        }
    }

    /// The clock of RTP timestamps.
    pub const fn clock_hz(self) -> u32 {
        match self {
            // RFC 3551 section 4.5.2: G.722 counts at 8000 Hz by an old mistake that is kept.
            Codec::Pcmu | Codec::Pcma | Codec::G722 => 8_000,
            // RFC 7587 section 4.1: whatever the rate of the sound.
            Codec::Opus => 48_000,
            Codec::L16(rate) => rate.hz(),
        }
    }

    /// The rate of the sound that the codec carries. Opus carries all four; this is its highest.
    pub const fn rate(self) -> Rate {
        match self {
            Codec::Pcmu | Codec::Pcma => Rate::Narrow,
            Codec::G722 => Rate::Wide,
            Codec::Opus => Rate::Full,
            Codec::L16(rate) => rate,
        }
    }

    pub const fn rate_hz(self) -> u32 {
        self.rate().hz()
    }

    /// How many channels `rtpmap` names, where it must name them: Opus always says two (RFC 7587 section 7).
    pub const fn channels(self) -> Option<u8> {
        match self {
            Codec::Opus => Some(2),
            _ => None,
        }
    }

    /// The payload type that needs no `rtpmap` (RFC 3551 section 6, table 4).
    pub const fn static_type(self) -> Option<u8> {
        match self {
            Codec::Pcmu => Some(0),
            Codec::Pcma => Some(8),
            Codec::G722 => Some(9),
            Codec::Opus | Codec::L16(_) => None,
        }
    }

    /// Whether a packet may hold so many milliseconds. Opus has frames of 2.5 to 60 ms, and 80, 100 and 120 of several;
    /// sound of 16-bit samples must fit a packet.
    pub const fn fits(self, ptime_ms: usize) -> bool {
        match self {
            Codec::Opus => matches!(ptime_ms, 5 | 10 | 20 | 40 | 60 | 80 | 100 | 120),
            Codec::L16(rate) => ptime_ms > 0 && 2 * rate.samples(ptime_ms) <= PAYLOAD_MOST - 60,
            _ => ptime_ms > 0 && ptime_ms <= LONGEST_MS,
        }
    }

    /// Whether a payload says, undecoded, that nobody talks in it. Of the codecs here only Opus's do.
    pub fn is_inactive(self, payload: &[u8]) -> bool {
        self == Codec::Opus && opus::is_inactive(payload)
    }

    /// How long the sound of a payload is, in units of [`Codec::clock_hz`]. Nothing is decoded.
    pub fn units(self, payload: &[u8]) -> Result<u32, Bad> {
        if payload.is_empty() {
            return Err(Bad::Empty);
        }
        if payload.len() > PAYLOAD_MOST {
            return Err(Bad::TooLong);
        }
        match self {
            Codec::Pcmu | Codec::Pcma | Codec::G722 => Ok(payload.len() as u32),
            Codec::L16(_) if !payload.len().is_multiple_of(2) => Err(Bad::Odd),
            Codec::L16(_) => Ok(payload.len() as u32 / 2),
            Codec::Opus => opus::units(payload),
        }
    }

    /// Codes as many samples as fit both slices; one octet a sample. The two laws alone have no memory: nothing else is
    /// coded here, but by an [`Encoder`].
    pub fn encode(self, sound: &[i16], line: &mut [u8]) {
        match self {
            Codec::Pcmu => g711::ulaw_encode(sound, line),
            Codec::Pcma => g711::alaw_encode(sound, line),
            _ => line.fill(0),
        }
    }

    /// Decodes as many octets as fit both slices; one sample an octet. The two laws alone; others take a [`Decoder`].
    pub fn decode(self, line: &[u8], sound: &mut [i16]) {
        match self {
            Codec::Pcmu => g711::ulaw_decode(line, sound),
            Codec::Pcma => g711::alaw_decode(line, sound),
            _ => sound.fill(0),
        }
    }

    /// The octet of silence in a law.
    pub const fn silence(self) -> u8 {
        match self {
            Codec::Pcmu => g711::ULAW_SILENCE,
            Codec::Pcma => g711::ALAW_SILENCE,
            _ => 0,
        }
    }
}

/// From payloads of one codec to sound of one rate.
pub struct Decoder {
    codec: Codec,
    rate: Rate,
    ear: Ear,
    /// Where the codec's rate is another.
    bridge: Option<Box<Bridge<RAW>>>,
}

enum Ear {
    Pcmu,
    Pcma,
    L16,
    G722(Box<g722::Decoder>),
    Opus(Box<opus::Decoder>),
}

/// Sound on its way between two rates.
struct Bridge<const N: usize> {
    resampler: Resampler,
    raw: [i16; N],
}

impl<const N: usize> Bridge<N> {
    fn between(from: Rate, to: Rate) -> Option<Box<Bridge<N>>> {
        (from != to).then(|| Box::new(Bridge { resampler: Resampler::new(from, to), raw: [0; N] }))
    }
}

impl Decoder {
    pub fn new(codec: Codec, rate: Rate) -> Decoder {
        let (ear, own) = match codec {
            Codec::Pcmu => (Ear::Pcmu, codec.rate()),
            Codec::Pcma => (Ear::Pcma, codec.rate()),
            Codec::L16(own) => (Ear::L16, own),
            Codec::G722 => (Ear::G722(Box::default()), codec.rate()),
            Codec::Opus => (Ear::Opus(Box::new(opus::Decoder::new(rate))), rate),
        };
        Decoder { codec, rate, ear, bridge: Bridge::between(own, rate) }
    }

    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The rate of the sound that comes out.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Decodes one packet's payload. Returns how many samples of `out` it filled. A refused payload changes nothing but,
    /// where it was well framed ([`Bad::Senseless`]), the decoder's memory.
    pub fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, Bad> {
        let units = self.codec.units(payload)?;
        let own = u64::from(units) * u64::from(self.own_hz()) / u64::from(self.codec.clock_hz());
        let own = own as usize;
        match &mut self.bridge {
            None if own > out.len() => Err(Bad::NoRoom),
            None => self.ear.hear(payload, &mut out[..own]),
            Some(bridge) if bridge.resampler.yields(own) > out.len() => Err(Bad::NoRoom),
            Some(bridge) => {
                let heard = self.ear.hear(payload, &mut bridge.raw[..own])?;
                Ok(bridge.resampler.run(&bridge.raw[..heard], out))
            }
        }
    }

    /// Makes up what a lost packet held, where the codec knows how: all of `out` is filled (a multiple of 2.5 ms, at most
    /// 120 ms), and its length returned. 0: this codec does not, and others must.
    pub fn conceal(&mut self, out: &mut [i16]) -> usize {
        match &mut self.ear {
            Ear::Opus(opus) => opus.conceal(out),
            _ => 0,
        }
    }

    /// What a lost packet held, from the copy that the packet after it carries: `out` is as long as what was lost. 0:
    /// there is no copy; conceal.
    pub fn fec(&mut self, next_payload: &[u8], out: &mut [i16]) -> usize {
        match &mut self.ear {
            Ear::Opus(opus) => opus.fec(next_payload, out),
            _ => 0,
        }
    }

    /// Fills `out` with what was lost: from the copy in `next`, the packet after it, or else by guessing on. False: this
    /// codec knows neither, or not for so few samples, and others must.
    pub fn replace(&mut self, next: Option<&[u8]>, out: &mut [i16]) -> bool {
        let copied = next.map_or(0, |next| self.fec(next, out));
        !out.is_empty() && (copied == out.len() || self.conceal(out) == out.len())
    }

    /// A new voice begins: nothing of the old one shall be heard in it.
    pub fn forget(&mut self) {
        match &mut self.ear {
            Ear::Pcmu | Ear::Pcma | Ear::L16 => {}
            Ear::G722(g722) => **g722 = g722::Decoder::default(),
            Ear::Opus(opus) => opus.forget(),
        }
        if let Some(bridge) = &mut self.bridge {
            bridge.resampler.forget();
        }
    }

    fn own_hz(&self) -> u32 {
        if matches!(self.ear, Ear::Opus(_)) { self.rate.hz() } else { self.codec.rate_hz() }
    }
}

impl Ear {
    /// `out` is as long as the sound.
    fn hear(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, Bad> {
        match self {
            Ear::Pcmu => g711::ulaw_decode(payload, out),
            Ear::Pcma => g711::alaw_decode(payload, out),
            Ear::L16 => l16::decode(payload, out),
            Ear::G722(g722) => g722.decode(payload, out),
            Ear::Opus(opus) => return opus.decode(payload, out),
        }
        Ok(out.len())
    }
}

/// What an encoder may choose. Only Opus has a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bits a second, mean (RFC 7587 `maxaveragebitrate` is their limit on it); 6,000 to 510,000.
    pub bitrate: u32,
    /// Packets carry a copy of the one before them (RFC 7587 `useinbandfec`).
    pub fec: bool,
    /// How many of a hundred packets are expected to get lost: the copies are the better, the more.
    pub loss_percent: u8,
    /// Silence is not sent (RFC 7587 `usedtx`).
    pub dtx: bool,
    /// 0 to 10: time against quality.
    pub complexity: u8,
}

impl Default for Settings {
    /// Good speech of every rate, through some loss, at two thirds of what the highest complexity costs.
    fn default() -> Settings {
        Settings { bitrate: 24_000, fec: true, loss_percent: 10, dtx: false, complexity: 5 }
    }
}

/// From sound of one rate to payloads of one codec.
pub struct Encoder {
    codec: Codec,
    rate: Rate,
    mouth: Mouth,
    bridge: Option<Box<Bridge<LONGEST>>>,
}

enum Mouth {
    Pcmu,
    Pcma,
    L16,
    G722(Box<g722::Encoder>),
    Opus(Box<opus::Encoder>),
}

impl Encoder {
    pub fn new(codec: Codec, rate: Rate, settings: Settings) -> Encoder {
        let (mouth, own) = match codec {
            Codec::Pcmu => (Mouth::Pcmu, codec.rate()),
            Codec::Pcma => (Mouth::Pcma, codec.rate()),
            Codec::L16(own) => (Mouth::L16, own),
            Codec::G722 => (Mouth::G722(Box::default()), codec.rate()),
            Codec::Opus => (Mouth::Opus(Box::new(opus::Encoder::new(rate, settings))), rate),
        };
        Encoder { codec, rate, mouth, bridge: Bridge::between(rate, own) }
    }

    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The rate of the sound that goes in.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Codes one packet's sound: 120 ms at most, and for Opus a length that [`Codec::fits`]. Returns how many octets of
    /// `line` it filled. 0: nothing is to be sent, since the sound is silence (DTX), or has no such packet, or `line`
    /// has no place for it.
    pub fn encode(&mut self, sound: &[i16], line: &mut [u8]) -> usize {
        if sound.len() > self.rate.samples(LONGEST_MS) {
            return 0;
        }
        match &mut self.bridge {
            None => self.mouth.say(sound, line),
            Some(bridge) => {
                let count = bridge.resampler.run(sound, &mut bridge.raw);
                self.mouth.say(&bridge.raw[..count], line)
            }
        }
    }

    /// Whether what it makes of a sound hangs on the sound before.
    pub fn remembers(&self) -> bool {
        self.bridge.is_some() || matches!(self.mouth, Mouth::G722(_) | Mouth::Opus(_))
    }

    /// As if the sound so far had been one sample, held: a change of rate makes no step.
    pub fn hold(&mut self, sample: i16) {
        if let Some(bridge) = &mut self.bridge {
            bridge.resampler.hold(sample);
        }
    }

    /// Goes on from where another of the same codec and rate is; one of another kind changes nothing.
    pub fn follow(&mut self, other: &Encoder) {
        match (&mut self.mouth, &other.mouth) {
            (Mouth::G722(own), Mouth::G722(other)) => own.clone_from(other),
            (Mouth::Opus(own), Mouth::Opus(other)) => own.follow(other),
            _ => {}
        }
        if let (Some(own), Some(other)) = (&mut self.bridge, &other.bridge) {
            own.resampler.clone_from(&other.resampler);
        }
    }

    /// What is said next has nothing to do with what was said.
    pub fn forget(&mut self) {
        match &mut self.mouth {
            Mouth::Pcmu | Mouth::Pcma | Mouth::L16 => {}
            Mouth::G722(g722) => **g722 = g722::Encoder::default(),
            Mouth::Opus(opus) => opus.forget(),
        }
        if let Some(bridge) = &mut self.bridge {
            bridge.resampler.forget();
        }
    }
}

impl Mouth {
    fn say(&mut self, sound: &[i16], line: &mut [u8]) -> usize {
        let octets = match self {
            Mouth::Pcmu | Mouth::Pcma => sound.len(),
            Mouth::L16 => 2 * sound.len(),
            Mouth::G722(_) => sound.len() / 2,
            Mouth::Opus(opus) => return opus.encode(sound, line),
        };
        let Some(line) = line.get_mut(..octets) else { return 0 };
        match self {
            Mouth::Pcmu => g711::ulaw_encode(sound, line),
            Mouth::Pcma => g711::alaw_encode(sound, line),
            Mouth::L16 => l16::encode(sound, line),
            Mouth::G722(g722) => g722.encode(sound, line),
            Mouth::Opus(_) => {}
        }
        octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tone(rate: Rate, from: usize, samples: usize) -> Vec<i16> {
        let angle = |i: usize| std::f64::consts::TAU * 700.0 * i as f64 / f64::from(rate.hz());
        (from..from + samples).map(|i| (9_000.0 * angle(i).sin()) as i16).collect()
    }

    /// How far `heard` is from any 700 Hz tone, in dB below it.
    fn purity(heard: &[i16], rate: Rate) -> f64 {
        let angle = |i: usize| std::f64::consts::TAU * 700.0 * i as f64 / f64::from(rate.hz());
        let sum = |wave: &dyn Fn(f64) -> f64| -> f64 {
            heard.iter().enumerate().map(|(i, s)| f64::from(*s) * wave(angle(i))).sum::<f64>() * 2.0
                / heard.len() as f64
        };
        let power = heard.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() * 2.0 / heard.len() as f64;
        let tone = sum(&f64::sin).powi(2) + sum(&f64::cos).powi(2);
        assert!((20.0 * (tone.sqrt() / 9_000.0).log10()).abs() < 1.0, "as loud as it was: {}", tone.sqrt());
        10.0 * (tone / (power - tone).max(1e-6)).log10()
    }

    #[test]
    fn every_codec_speaks_to_every_rate() {
        for codec in Codec::ALL {
            for from in Rate::ALL {
                for to in Rate::ALL {
                    let mut encoder = Encoder::new(codec, from, Settings { bitrate: 48_000, ..Settings::default() });
                    let mut decoder = Decoder::new(codec, to);
                    let (mut line, mut heard) = ([0; 2_000], Vec::new());
                    for beat in 0..30 {
                        let octets = encoder.encode(&tone(from, beat * from.samples(20), from.samples(20)), &mut line);
                        // Sound at 48 kHz fills more than a packet of 20 ms.
                        let parts = if codec == Codec::L16(Rate::Full) { 2 } else { 1 };
                        for payload in line[..octets].chunks(octets / parts) {
                            let units = codec.units(payload).unwrap();
                            assert_eq!(units * 50, codec.clock_hz() / parts as u32);
                            let mut out = vec![0; to.samples(20) / parts];
                            assert_eq!(decoder.decode(payload, &mut out), Ok(out.len()), "{codec:?} {from:?} {to:?}");
                            heard.extend(out);
                        }
                    }
                    let pure = purity(&heard[to.samples(200)..], to);
                    let least = if codec == Codec::Opus { 10.0 } else { 25.0 };
                    assert!(pure > least, "{codec:?} {from:?} {to:?}: {pure} dB");
                }
            }
        }
    }

    #[test]
    fn bad_payloads_are_refused() {
        let long = [0; PAYLOAD_MOST + 1];
        let (wide, narrow) = (Codec::L16(Rate::Wide), Codec::Pcmu);
        for (codec, payload, room, why) in [
            (narrow, &[][..], 960, Bad::Empty),
            (narrow, &long, 5_760, Bad::TooLong),
            (narrow, &long[..161], 160, Bad::NoRoom),
            (Codec::G722, &long[..161], 160, Bad::NoRoom),
            (wide, &[1], 160, Bad::Odd),
            (wide, &long[..321], 960, Bad::Odd),
            (Codec::Opus, &[], 960, Bad::Empty),
            (Codec::Opus, &[3], 960, Bad::Framing("R6: a count of frames")),
            (Codec::Opus, &[1, 0], 960, Bad::Framing("R3: two frames of one length")),
        ] {
            let mut decoder = Decoder::new(codec, Rate::Narrow);
            assert_eq!(decoder.decode(payload, &mut vec![0; room]), Err(why), "{codec:?}, {} octets", payload.len());
        }
    }

    #[test]
    fn names_and_numbers() {
        for (i, codec) in Codec::ALL.into_iter().enumerate() {
            assert_eq!(codec.index(), i);
            assert!(codec.fits(10) && !codec.fits(0) && !codec.fits(121));
        }
        assert!(!Codec::Opus.fits(30) && Codec::G722.fits(30) && !Codec::L16(Rate::Full).fits(20));
        let row = |codec: Codec| (codec.name(), codec.clock_hz(), codec.rate_hz(), codec.static_type());
        assert_eq!(row(Codec::G722), ("G722", 8_000, 16_000, Some(9)));
        assert_eq!(row(Codec::Opus), ("opus", 48_000, 48_000, None));
        assert_eq!(row(Codec::L16(Rate::Wide)), ("L16", 16_000, 16_000, None));
        assert!(
            Rate::ALL.iter().all(|rate| Rate::from_hz(rate.hz()) == Some(*rate)) && Rate::from_hz(44_100).is_none()
        );
    }

    proptest! {
        #[test]
        fn no_payload_upsets_any_decoder(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..1_600), 1..8),
            codec in 0usize..Codec::COUNT,
            rate in 0usize..4,
            room in 0usize..6_000,
        ) {
            let mut decoder = Decoder::new(Codec::ALL[codec], Rate::ALL[rate]);
            let mut out = vec![0; room];
            for payload in payloads {
                if let Ok(samples) = decoder.decode(&payload, &mut out) {
                    prop_assert!(samples <= room);
                }
                decoder.fec(&payload, &mut out[..room.min(960)]);
                decoder.conceal(&mut out[..room.min(160)]);
            }
        }

        #[test]
        fn no_sound_upsets_any_encoder(
            lengths in proptest::collection::vec(0usize..6_500, 1..5),
            codec in 0usize..Codec::COUNT,
            rate in 0usize..4,
            room in 0usize..1_600,
        ) {
            let mut encoder = Encoder::new(Codec::ALL[codec], Rate::ALL[rate], Settings::default());
            for length in lengths {
                let sound: Vec<i16> = (0..length).map(|i| (i * i * 31) as i16).collect();
                prop_assert!(encoder.encode(&sound, &mut vec![0; room]) <= room);
            }
        }
    }
}
