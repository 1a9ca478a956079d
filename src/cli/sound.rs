//! A telephone's mouth and ear: one RTP socket, a frame every 20 ms, and what was heard kept for questions.

use crate::media::codec::{Decoder, Encoder, LONGEST_MS, Settings};
use crate::media::rtp::packet::{HEADER, Packet};
use crate::media::rtp::sender::LINE_MOST;
use crate::media::{Plan, Rate};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Samples a second on a telephone line.
pub const RATE_HZ: usize = 8_000;
/// Samples of one frame of 20 ms.
pub const FRAME: usize = 160;
const TICKS_A_SECOND: u32 = 50;
/// What an ear keeps at most: ten minutes.
const KEPT: usize = 600 * RATE_HZ;
/// A key is held for 5 packets (100 ms), its end said three times (RFC 4733 section 2.5.1.4), then 60 ms of rest.
const KEY_PACKETS: u16 = 5;
const KEY_ENDS: u16 = 3;
const KEY_REST: u16 = 3;

/// What a telephone's owner says.
#[derive(Clone, Debug)]
pub enum Voice {
    Silence,
    /// A sine: frequency and peak (of 32767). Frequencies that are multiples of 50 Hz repeat within a frame.
    Tone {
        hz: u32,
        peak: i16,
    },
    /// Samples at 8 kHz, again and again.
    Recording(Arc<[i16]>),
}

struct Mouth {
    voice: Voice,
    at: usize,
    keys: VecDeque<char>,
    key: Option<Key>,
    /// `None`: no packet is sent at all (a line that went dead).
    open: bool,
    plan: Option<Plan>,
    encoder: Option<Encoder>,
}

#[derive(Clone, Copy, Debug)]
struct Key {
    code: u8,
    step: u16,
    timestamp: u32,
}

#[derive(Default)]
struct Ear {
    samples: VecDeque<i16>,
    /// Samples that came since the beginning, kept or not.
    total: u64,
    packets: u64,
    lost: u64,
    last_sequence: Option<u16>,
    decoder: Option<Decoder>,
}

/// One telephone's sound, running until dropped.
pub struct Sound {
    local: SocketAddr,
    mouth: Arc<Mutex<Mouth>>,
    ear: Arc<Mutex<Ear>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Sound {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sound {
    /// Binds a port of `address`; nothing is sent before [`Sound::talk_to`].
    pub async fn start(address: IpAddr, seed: u32) -> std::io::Result<Sound> {
        let socket = UdpSocket::bind((address, 0)).await?;
        let local = socket.local_addr()?;
        let (voice, keys) = (Voice::Silence, VecDeque::new());
        let mouth = Mouth { voice, at: 0, keys, key: None, open: true, plan: None, encoder: None };
        let mouth = Arc::new(Mutex::new(mouth));
        let ear = Arc::<Mutex<Ear>>::default();
        let task = tokio::spawn(run(socket, mouth.clone(), ear.clone(), seed));
        Ok(Sound { local, mouth, ear, task })
    }

    pub fn local(&self) -> SocketAddr {
        self.local
    }

    pub fn talk_to(&self, plan: Plan) {
        lock(&self.mouth).plan = Some(plan);
    }

    pub fn say(&self, voice: Voice) {
        let mut mouth = lock(&self.mouth);
        mouth.voice = voice;
        mouth.at = 0;
    }

    /// Presses keys one after the other; they are sent as telephone-events while the voice is silent.
    pub fn press(&self, keys: &str) {
        lock(&self.mouth).keys.extend(keys.chars());
    }

    pub fn is_pressing(&self) -> bool {
        let mouth = lock(&self.mouth);
        !mouth.keys.is_empty() || mouth.key.is_some()
    }

    /// Stops or resumes sending altogether, as a dead line does.
    pub fn set_open(&self, open: bool) {
        lock(&self.mouth).open = open;
    }

    /// Hears for `wait`, and gives what came in that time.
    pub async fn listen(&self, wait: Duration) -> Heard {
        let mark = self.mark();
        tokio::time::sleep(wait).await;
        self.heard_since(mark)
    }

    /// This moment, for [`Sound::heard_since`]: samples that have come.
    pub fn mark(&self) -> u64 {
        lock(&self.ear).total
    }

    /// What came after a [`Sound::mark`], as far as it is kept.
    pub fn heard_since(&self, mark: u64) -> Heard {
        let ear = lock(&self.ear);
        let fresh = usize::try_from(ear.total.saturating_sub(mark)).unwrap_or(usize::MAX).min(ear.samples.len());
        Heard { samples: ear.samples.iter().skip(ear.samples.len() - fresh).copied().collect() }
    }

    /// All that is kept of what was heard.
    pub fn heard(&self) -> Heard {
        Heard { samples: lock(&self.ear).samples.iter().copied().collect() }
    }

    /// Packets that came, and packets that were missing among them.
    pub fn packets(&self) -> (u64, u64) {
        let ear = lock(&self.ear);
        (ear.packets, ear.lost)
    }
}

/// A stretch of sound.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub samples: Vec<i16>,
}

impl Heard {
    /// Peak of the sine of `hz` in it, of 32767 (Goertzel's filter over whole blocks of 20 ms; median of the blocks).
    pub fn tone(&self, hz: u32) -> f64 {
        let mut peaks: Vec<f64> = self.samples.chunks_exact(FRAME).map(|block| goertzel(block, hz)).collect();
        peaks.sort_by(f64::total_cmp);
        peaks.get(peaks.len() / 2).copied().unwrap_or(0.0)
    }

    /// Root mean square.
    pub fn level(&self) -> f64 {
        let power: f64 = self.samples.iter().map(|s| f64::from(*s).powi(2)).sum();
        (power / self.samples.len().max(1) as f64).sqrt()
    }
}

fn goertzel(block: &[i16], hz: u32) -> f64 {
    let omega = std::f64::consts::TAU * f64::from(hz) / RATE_HZ as f64;
    let coefficient = 2.0 * omega.cos();
    let (mut last, mut before) = (0.0, 0.0);
    for sample in block {
        let next = f64::from(*sample) + coefficient * last - before;
        before = last;
        last = next;
    }
    let power = last * last + before * before - coefficient * last * before;
    2.0 * power.max(0.0).sqrt() / block.len() as f64
}

struct Stream {
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
}

async fn run(socket: UdpSocket, mouth: Arc<Mutex<Mouth>>, ear: Arc<Mutex<Ear>>, seed: u32) {
    let mut beat = interval(Duration::from_millis(20));
    beat.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut stream = Stream { sequence: seed as u16, timestamp: seed.rotate_left(7), ssrc: seed ^ 0x746f_6c6c };
    let mut datagram = [0; 2048];
    let _began = Instant::now();
    loop {
        tokio::select! {
            _ = beat.tick() => {
                let packet = lock(&mouth).next(&mut stream);
                if let Some((to, bytes)) = packet {
                    // A telephone that cannot send is a silent one: the far side's media timeout is what is tested then.
                    let _ = socket.send_to(&bytes, to).await;
                }
            }
            received = socket.recv_from(&mut datagram) => {
                let plan = lock(&mouth).plan;
                if let (Ok((length, _)), Some(plan)) = (received, plan) {
                    lock(&ear).hear(&datagram[..length], &plan);
                }
            }
        }
    }
}

impl Mouth {
    /// The next packet, with its address.
    fn next(&mut self, stream: &mut Stream) -> Option<(SocketAddr, Vec<u8>)> {
        let plan = self.plan?;
        let units = plan.codec.clock_hz() / TICKS_A_SECOND;
        stream.timestamp = stream.timestamp.wrapping_add(units);
        let spoken = self.frame();
        if !self.open {
            return None;
        }
        if self.key.is_none() && plan.telephone_event.is_some() {
            let code = self.keys.pop_front().and_then(key_code);
            self.key = code.map(|code| Key { code, step: 0, timestamp: stream.timestamp });
        }
        let packet = match (self.key, plan.telephone_event) {
            (Some(key), Some(payload_type)) => self.key_packet(stream, key, payload_type)?,
            _ => {
                let fresh = || Encoder::new(plan.codec, Rate::Narrow, Settings::default());
                let encoder = self.encoder.take().filter(|encoder| encoder.codec() == plan.codec);
                let encoder = self.encoder.insert(encoder.unwrap_or_else(fresh));
                let mut line = [0; LINE_MOST];
                let length = encoder.encode(&spoken, &mut line);
                write(stream, stream.timestamp, plan.payload_type, false, &line[..length])
            }
        };
        Some((plan.remote, packet))
    }

    fn key_packet(&mut self, stream: &mut Stream, mut key: Key, payload_type: u8) -> Option<Vec<u8>> {
        let step = key.step;
        key.step += 1;
        self.key = (key.step < KEY_PACKETS + KEY_ENDS + KEY_REST).then_some(key);
        if step >= KEY_PACKETS + KEY_ENDS {
            return None;
        }
        let end = step >= KEY_PACKETS;
        let held = (step + 1).min(KEY_PACKETS) * FRAME as u16;
        let payload = [key.code, if end { 0x80 | 10 } else { 10 }, (held >> 8) as u8, held as u8];
        Some(write(stream, key.timestamp, payload_type, step == 0, &payload))
    }

    fn frame(&mut self) -> [i16; FRAME] {
        let mut frame = [0; FRAME];
        match &self.voice {
            Voice::Silence => {}
            Voice::Tone { hz, peak } => {
                let step = std::f64::consts::TAU * f64::from(*hz) / RATE_HZ as f64;
                for (i, sample) in frame.iter_mut().enumerate() {
                    *sample = ((step * (self.at + i) as f64).sin() * f64::from(*peak)) as i16;
                }
            }
            Voice::Recording(samples) if !samples.is_empty() => {
                for (i, sample) in frame.iter_mut().enumerate() {
                    *sample = samples[(self.at + i) % samples.len()];
                }
            }
            Voice::Recording(_) => {}
        }
        // Wraps where every tone of whole hertz is at its beginning again.
        self.at = match &self.voice {
            Voice::Tone { .. } => (self.at + FRAME) % RATE_HZ,
            _ => self.at + FRAME,
        };
        frame
    }
}

fn key_code(key: char) -> Option<u8> {
    "0123456789*#ABCD".find(key).map(|at| at as u8)
}

fn write(stream: &mut Stream, timestamp: u32, payload_type: u8, marker: bool, payload: &[u8]) -> Vec<u8> {
    stream.sequence = stream.sequence.wrapping_add(1);
    let (sequence, ssrc) = (stream.sequence, stream.ssrc);
    let packet = Packet { marker, payload_type, sequence, timestamp, ssrc, payload };
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.extend_from_slice(&packet.header());
    bytes.extend_from_slice(payload);
    bytes
}

impl Ear {
    fn hear(&mut self, datagram: &[u8], plan: &Plan) {
        let agreed = |packet: &Packet| packet.payload_type == plan.payload_in;
        let Some(packet) = Packet::parse(datagram).filter(agreed) else { return };
        self.packets += 1;
        if let Some(last) = self.last_sequence {
            self.lost += u64::from(packet.sequence.wrapping_sub(last).wrapping_sub(1) & 0x7fff);
        }
        self.last_sequence = Some(packet.sequence);
        let decoder = self.decoder.take().filter(|decoder| decoder.codec() == plan.codec);
        let decoder = self.decoder.insert(decoder.unwrap_or_else(|| Decoder::new(plan.codec, Rate::Narrow)));
        let mut samples = vec![0; Rate::Narrow.samples(LONGEST_MS)];
        let count = decoder.decode(packet.payload, &mut samples).unwrap_or(0);
        samples.truncate(count);
        self.total += samples.len() as u64;
        self.samples.extend(samples);
        while self.samples.len() > KEPT {
            self.samples.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(hz: u32, peak: i16) -> Vec<i16> {
        let mut mouth = Mouth {
            voice: Voice::Tone { hz, peak },
            at: 0,
            keys: VecDeque::new(),
            key: None,
            open: true,
            plan: None,
            encoder: None,
        };
        (0..10).flat_map(|_| mouth.frame()).collect()
    }

    #[test]
    fn an_ear_tells_tones_apart() {
        let mixed: Vec<i16> = tone(500, 8_000).iter().zip(tone(1_100, 4_000)).map(|(a, b)| a + b).collect();
        let heard = Heard { samples: mixed };
        assert!((heard.tone(500) - 8_000.0).abs() < 100.0, "{}", heard.tone(500));
        assert!((heard.tone(1_100) - 4_000.0).abs() < 100.0, "{}", heard.tone(1_100));
        assert!(heard.tone(800) < 100.0, "{}", heard.tone(800));
    }
}
