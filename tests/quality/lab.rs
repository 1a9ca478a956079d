//! A caller's speech on its way through a bad network into an engine, and what the other caller is sent: as sound, as
//! delay, as figures. Time is virtual and chance is seeded, so the same seed gives the same samples.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use tollbridge::clock::Mono;
use tollbridge::media::{
    Codec, Command, Config, Direction, Engine, Plan, Rate, RoomId, Slot, Stats, StreamId, TICK_MS, codec,
};

const FRAME: usize = Rate::Narrow.tick();

/// Microseconds of a tick and of a sample.
const TICK_US: u64 = TICK_MS * 1_000;
const SAMPLE_US: u64 = 125;
/// Prompts put one behind the other: more than 32 s. English alone: that voice is smooth as speech is, and P.862 takes the
/// seams of the Italian one, which is joined from pieces, for damage.
const SPOKEN: &[&str] = &[
    "welcome",
    "enter_conference_id",
    "too_many_tries",
    "organiser_or_wait",
    "meeting_locked",
    "enter_number",
    "refused_toll_free",
    "service_unavailable",
    "waiting_for_organiser",
    "organiser_left",
];
/// Silence between them: 400 ms.
const PAUSE: usize = 3_200;

/// What the network does, and what must come out of it.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub name: &'static str,
    pub network: Network,
    /// How far below the ceiling the median of all seeds may lie, MOS-LQO.
    pub below: f64,
    /// Mouth to ear added, median and 99th percentile over all seeds, milliseconds.
    pub median_ms: f64,
    pub high_ms: f64,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Network {
    /// Packets lost, per cent.
    pub loss: f64,
    /// A loss takes so many packets in a row, on average.
    pub run: f64,
    /// Each packet is late by any time up to this.
    pub jitter_ms: f64,
    /// Once in so many packets all stand still for `stall_ms`, then come at once.
    pub stall_every: u32,
    pub stall_ms: f64,
    /// The sender's clock is so much too fast, millionths.
    pub ppm: f64,
    /// Length of a packet; zero stands for 20.
    pub ptime_ms: u64,
    /// The sender leaves out packets that are all silence.
    pub pauses: bool,
    /// The caller speaks Opus, with a copy of each packet in the next; else G.711.
    pub opus: bool,
}

impl Network {
    pub fn codec(&self) -> Codec {
        if self.opus { Codec::Opus } else { Codec::Pcmu }
    }
}

pub const CASES: &[Case] = &[
    Case { name: "clean", network: NONE, below: 0.02, median_ms: 12.0, high_ms: 22.0 },
    Case { name: "1 % loss", network: Network { loss: 1.0, ..NONE }, below: 0.2, median_ms: 12.0, high_ms: 22.0 },
    Case { name: "5 % loss", network: Network { loss: 5.0, ..NONE }, below: 0.9, median_ms: 12.0, high_ms: 30.0 },
    Case { name: "0-30 ms", network: Network { jitter_ms: 30.0, ..NONE }, below: 0.05, median_ms: 50.0, high_ms: 60.0 },
    Case {
        name: "0-60 ms, 2 %",
        network: Network { jitter_ms: 60.0, loss: 2.0, ..NONE },
        below: 0.5,
        median_ms: 85.0,
        high_ms: 95.0,
    },
    Case {
        name: "runs, 3 %",
        network: Network { loss: 3.0, run: 2.0, ..NONE },
        below: 0.9,
        median_ms: 12.0,
        high_ms: 30.0,
    },
    Case {
        name: "100 ms stalls",
        network: Network { stall_every: 250, stall_ms: 100.0, ..NONE },
        below: 0.9,
        median_ms: 120.0,
        high_ms: 150.0,
    },
    Case { name: "+500 ppm", network: Network { ppm: 500.0, ..NONE }, below: 0.15, median_ms: 25.0, high_ms: 45.0 },
    Case { name: "-500 ppm", network: Network { ppm: -500.0, ..NONE }, below: 0.15, median_ms: 25.0, high_ms: 45.0 },
    Case { name: "pauses", network: Network { pauses: true, ..NONE }, below: 0.05, median_ms: 12.0, high_ms: 30.0 },
    Case {
        name: "30 ms, 0-20 ms",
        network: Network { ptime_ms: 30, jitter_ms: 20.0, ..NONE },
        below: 0.1,
        median_ms: 50.0,
        high_ms: 60.0,
    },
    Case { name: "Opus", network: OPUS, below: 0.05, median_ms: 25.0, high_ms: 40.0 },
    Case { name: "Opus, 5 %", network: Network { loss: 5.0, ..OPUS }, below: 0.8, median_ms: 25.0, high_ms: 40.0 },
    Case {
        name: "Opus, 0-60 ms, 5 %",
        network: Network { loss: 5.0, jitter_ms: 60.0, ..OPUS },
        below: 0.5,
        median_ms: 95.0,
        high_ms: 105.0,
    },
];

const NONE: Network = Network {
    loss: 0.0,
    run: 1.0,
    jitter_ms: 0.0,
    stall_every: 0,
    stall_ms: 0.0,
    ppm: 0.0,
    ptime_ms: 20,
    pauses: false,
    opus: false,
};
const OPUS: Network = Network { opus: true, ..NONE };

/// What came out of one run.
pub struct Heard {
    pub sound: Vec<i16>,
    /// Mouth to ear added, a figure every 40 ms of speech, milliseconds.
    pub delays_ms: Vec<f64>,
    pub stats: Stats,
}

pub fn speech() -> Vec<i16> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/prompts/en");
    let mut speech = vec![0; PAUSE];
    for name in SPOKEN {
        let mut wav = hound::WavReader::open(folder.join(format!("{name}.wav"))).expect("a prompt of this repository");
        speech.extend(wav.samples::<i16>().map(|sample| sample.expect("16 bits")));
        speech.extend([0; PAUSE]);
    }
    assert!(speech.len() >= 32 * 8_000, "{} s of speech", speech.len() / 8_000);
    speech
}

/// What a caller speaks with.
fn encoder(codec: Codec) -> codec::Encoder {
    codec::Encoder::new(codec, Rate::Narrow, codec::Settings::default())
}

/// The same speech through the codecs alone, there and back: nothing can come closer.
pub fn ceiling(speech: &[i16], codec: Codec) -> Vec<i16> {
    let (mut encoder, mut decoder) = (encoder(codec), codec::Decoder::new(codec, Rate::Narrow));
    let (mut line, mut heard) = ([0; codec::PAYLOAD_MOST], [0; FRAME]);
    let mut speech = speech.to_vec();
    for piece in speech.chunks_exact_mut(FRAME) {
        let octets = encoder.encode(piece, &mut line);
        let count = decoder.decode(&line[..octets], &mut heard).expect("a packet just made");
        piece.copy_from_slice(&heard[..count]);
    }
    let (mut line, mut sound) = (vec![0; speech.len()], vec![0; speech.len()]);
    Codec::Pcmu.encode(&speech, &mut line);
    Codec::Pcmu.decode(&line, &mut sound);
    sound
}

struct Datagram {
    at_us: u64,
    octets: Vec<u8>,
}

/// The packets of `speech` in the order in which they come. Time counts from the first sample spoken; `phase_us` is the
/// way to the engine, which is not counted as added.
fn packets(speech: &[i16], network: &Network, phase_us: u64, random: &mut StdRng) -> Vec<Datagram> {
    let size = network.ptime_ms as usize * 8;
    let sample_us = SAMPLE_US as f64 / (1.0 + network.ppm / 1e6);
    let codec = network.codec();
    let (mut encoder, mut line) = (encoder(codec), [0; codec::PAYLOAD_MOST]);
    let units = network.ptime_ms as u32 * codec.clock_hz() / 1_000;
    let (mut came, mut losing, mut free_us, mut sequence) = (Vec::new(), false, 0.0f64, 65_000u16);
    for (number, sound) in speech.chunks_exact(size).enumerate() {
        let silent = network.pauses && sound.iter().all(|sample| sample.abs() < 20);
        let enter = network.loss / 100.0 / network.run / (1.0 - network.loss / 100.0);
        losing = random.random_bool(if losing { 1.0 - 1.0 / network.run } else { enter });
        let jitter_us = random.random::<f64>() * network.jitter_ms * 1_000.0;
        let sent_us = ((number + 1) * size) as f64 * sample_us;
        if network.stall_every > 0 && random.random_range(0..network.stall_every) == 0 {
            free_us = sent_us + network.stall_ms * 1_000.0;
        }
        if silent {
            continue;
        }
        sequence = sequence.wrapping_add(1);
        let length = encoder.encode(sound, &mut line);
        if losing {
            continue;
        }
        let mut octets = vec![0x80, payload_type(codec), 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
        octets[2..4].copy_from_slice(&sequence.to_be_bytes());
        octets[4..8].copy_from_slice(&(number as u32 * units).wrapping_sub(40_000).to_be_bytes());
        octets.extend(&line[..length]);
        came.push(Datagram { at_us: phase_us + (sent_us.max(free_us) + jitter_us) as u64, octets });
    }
    came.sort_by_key(|datagram| datagram.at_us);
    came
}

fn payload_type(codec: Codec) -> u8 {
    codec.static_type().unwrap_or(111)
}

fn attach(engine: &mut Engine, number: u16, codec: Codec) {
    let (stream, direction) = (StreamId(u64::from(number)), Direction::SendRecv);
    let remote = SocketAddr::from(([127, 0, 0, 1], 4_000 + number));
    let plan = Plan { direction, ..Plan::plain(remote, codec, payload_type(codec)) };
    engine.command(Mono::default(), Command::Attach { stream, plan }).expect("a free slot");
    engine.command(Mono::default(), Command::Join { stream, room: RoomId(1) }).expect("a stream that is there");
}

pub fn run(speech: &[i16], network: &Network, seed: u64) -> Heard {
    let mut random = StdRng::seed_from_u64(seed);
    // Spread over the tick by the golden section, so that a few seeds stand for all.
    let phase_us = 100 + seed * 7_639 % (TICK_US - 200);
    let mut packets = packets(speech, network, phase_us, &mut random).into_iter().peekable();
    let mut engine = Engine::new(Config::default(), seed);
    attach(&mut engine, 0, network.codec());
    attach(&mut engine, 1, Codec::Pcmu);
    let mut sound = Vec::with_capacity(speech.len() + 8_000);
    let mut beat = 0;
    while sound.len() < speech.len() + 4_000 {
        let now = Mono::from_nanos(beat * TICK_US * 1_000);
        while let Some(datagram) = packets.next_if(|datagram| datagram.at_us <= beat * TICK_US) {
            engine.receive(now, Slot(0), SocketAddr::from(([127, 0, 0, 1], 4_000)), &datagram.octets);
        }
        engine.tick(now);
        let mut frame = [0; FRAME];
        if let Some(out) = engine.outgoing().find(|out| out.slot == Slot(1)) {
            Codec::Pcmu.decode(&out.packet[12..], &mut frame);
        }
        sound.extend(frame);
        engine.events().for_each(drop);
        beat += 1;
    }
    let stats = engine.stats(StreamId(0)).expect("a stream that is there");
    // A packet leaves when its last sample is spoken; from then on, and from the end of its way, time is added.
    let base = (network.ptime_ms * 1_000 + phase_us) as f64 / SAMPLE_US as f64;
    // A clock that is too fast has spoken a sample earlier than its number says.
    let fast = network.ppm / 1e6 / (1.0 + network.ppm / 1e6);
    let added = |(start, lag): &(usize, usize)| (*lag as f64 + *start as f64 * fast - base) / 8.0;
    let delays_ms = lags(speech, &sound).iter().map(added).collect();
    Heard { sound, delays_ms, stats }
}

/// Samples spoken together, of which a delay is taken, and how far apart the takes are.
const WINDOW: usize = 480;
const HOP: usize = 320;
/// The longest delay looked for: 250 ms.
const LAG_MOST: usize = 2_000;

/// Where stretches of `speech` begin, and by how many samples each comes later in `sound`, where both are loud and alike.
fn lags(speech: &[i16], sound: &[i16]) -> Vec<(usize, usize)> {
    let float = |sound: &[i16]| sound.iter().map(|sample| f32::from(*sample)).collect::<Vec<f32>>();
    let (speech, sound) = (float(speech), float(sound));
    let mut lags = Vec::new();
    for start in (0..speech.len().saturating_sub(WINDOW)).step_by(HOP) {
        let spoken = &speech[start..start + WINDOW];
        let power = dot(spoken, spoken);
        if power < WINDOW as f32 * 300.0 * 300.0 {
            continue;
        }
        let mut best = (0.0, 0);
        for lag in 0..LAG_MOST.min(sound.len() - WINDOW - start) {
            let heard = &sound[start + lag..start + lag + WINDOW];
            let likeness = dot(spoken, heard) / (power * dot(heard, heard) + 1.0).sqrt();
            if likeness > best.0 {
                best = (likeness, lag);
            }
        }
        if best.0 > 0.95 {
            lags.push((start, best.1));
        }
    }
    lags
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let lanes = a.chunks_exact(16).zip(b.chunks_exact(16)).fold([0.0f32; 16], |mut sums, (a, b)| {
        (0..16).for_each(|i| sums[i] += a[i] * b[i]);
        sums
    });
    lanes.iter().sum()
}

/// The share of `delays` (0 to 1) that lies below the result.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(((values.len().max(1) - 1) as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
}

pub fn write(path: &Path, sound: &[i16]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut wav = hound::WavWriter::create(path, spec).expect("a file in the folder of the test");
    sound.iter().for_each(|sample| wav.write_sample(*sample).expect("a disk with room"));
    wav.finalize().expect("a disk with room");
}

/// MOS-LQO (P.862.1) of each file against `speech.wav` in the same folder.
pub fn judge(folder: &Path, names: &[String]) -> Result<Vec<f64>, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("TOLLBRIDGE_PESQ_PYTHON").map_or(root.join("target/pesq/bin/python"), PathBuf::from);
    let done = Process::new(&python)
        .arg(root.join("tests/quality/mos.py"))
        .arg(folder)
        .args(names)
        .output()
        .map_err(|error| format!("{}: {error}; `tests/run` makes it", python.display()))?;
    if !done.status.success() {
        return Err(format!("{}: {}", python.display(), String::from_utf8_lossy(&done.stderr)));
    }
    let text = String::from_utf8_lossy(&done.stdout);
    text.lines().map(|line| line.trim().parse().map_err(|_| format!("mos.py said {line:?}"))).collect()
}
