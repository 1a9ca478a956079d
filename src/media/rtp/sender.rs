//! What goes out: lines of sound cut into packets of the agreed length.

use super::packet::{HEADER, Packet};
use super::report::Outbound;
use super::srtp::{GROWTH_MOST, Protector};
use crate::media::codec::comfort::{Teller, Told};
use crate::media::{Codec, Direction, Plan, Rate, Slot, StreamId, TICK_MS};

/// Octets of a tick's sound at the most: plain samples at the highest rate.
pub const LINE_MOST: usize = 2 * Rate::Full.tick();
/// Octets that a packet carries at the most: what passes every network in one piece, with room for its headers.
const PAYLOAD_MOST: usize = 1_440;
/// Octets that one stream may need in one tick: what was held back, and a line, in packets of 10 ms.
pub const OCTETS_A_TICK: usize = PAYLOAD_MOST + LINE_MOST + PACKETS_A_TICK * (HEADER + GROWTH_MOST);
/// Packets that one stream may need in one tick.
pub const PACKETS_A_TICK: usize = 2;

/// The packets of one tick, one behind the other, in memory that was taken before.
#[derive(Debug, Default)]
pub struct Outbox {
    octets: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub slot: Slot,
    pub stream: StreamId,
    start: u32,
    length: u16,
}

impl Outbox {
    /// Takes memory for so many streams and octets.
    pub fn reserve(&mut self, streams: usize, octets: usize) {
        self.octets.reserve(octets.saturating_sub(self.octets.len()));
        self.entries.reserve((streams * PACKETS_A_TICK).saturating_sub(self.entries.len()));
    }

    pub fn clear(&mut self) {
        self.octets.clear();
        self.entries.clear();
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn packet(&self, entry: &Entry) -> &[u8] {
        &self.octets[entry.start as usize..][..usize::from(entry.length)]
    }

    /// False if it could not be made secret: then nothing goes.
    fn push(&mut self, slot: Slot, stream: StreamId, packet: &Packet<'_>, secret: Option<&mut Protector>) -> bool {
        let start = self.octets.len();
        self.octets.extend_from_slice(&packet.header());
        self.octets.extend_from_slice(packet.payload);
        let mut length = HEADER + packet.payload.len();
        if let Some(protector) = secret {
            self.octets.resize(start + length + GROWTH_MOST, 0);
            let Ok(grown) = protector.protect(&mut self.octets[start..], length) else {
                self.octets.truncate(start);
                return false;
            };
            length = grown;
            self.octets.truncate(start + length);
        }
        self.entries.push(Entry { slot, stream, start: start as u32, length: length as u16 });
        true
    }
}

/// One stream's way out.
#[derive(Debug)]
pub struct Sender {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// The next packet is the first after a pause (RFC 3551 section 4.1).
    marker: bool,
    /// The far end was told that nobody talks.
    rests: bool,
    codec: Codec,
    /// Octets a packet; none where the encoder makes packets.
    size: Option<usize>,
    held: Vec<u8>,
    secret: Option<Box<Protector>>,
    sent: u64,
    octets: u64,
    /// Packets that could not be made secret.
    unsent: u64,
}

/// Numbers begin in the lower half: before the first packet is heard, nobody takes a wrap for another index (RFC 3711
/// section 3.3.1).
const FIRST_MOST: u16 = 0x7fff;

impl Sender {
    /// The three beginnings are random (RFC 3550 section 5.1).
    pub fn new(plan: &Plan, ssrc: u32, sequence: u16, timestamp: u32) -> Sender {
        let size = packet_size(plan);
        let held = Vec::with_capacity(held_most(plan, size));
        Sender {
            ssrc,
            sequence: sequence & FIRST_MOST,
            timestamp,
            marker: true,
            rests: false,
            codec: plan.codec,
            size,
            held,
            secret: None,
            sent: 0,
            octets: 0,
            unsent: 0,
        }
    }

    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// From now on all goes out in secret, or in the open.
    pub fn secure(&mut self, secret: Option<Box<Protector>>) {
        self.secret = secret;
    }

    pub fn secret(&mut self) -> Option<&mut Protector> {
        self.secret.as_deref_mut()
    }

    /// What went out so far, for reports about it.
    pub fn outbound(&self) -> Outbound {
        Outbound { packets: self.sent, octets: self.octets, timestamp: self.timestamp }
    }

    /// Packets that could not be made secret, and were kept back.
    pub fn unsent(&self) -> u64 {
        self.unsent
    }

    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Octets that it may need in one tick.
    pub fn octets_a_tick(&self) -> usize {
        PACKETS_A_TICK * (HEADER + GROWTH_MOST)
            + self.size.map_or(LINE_MOST, |size| size + tick_octets(self.codec).unwrap_or(LINE_MOST))
    }

    /// The packet length or the codec may have changed: then what was held back is dropped.
    pub fn change(&mut self, plan: &Plan) {
        let size = packet_size(plan);
        if (self.codec, self.size) != (plan.codec, size) {
            self.skip(self.units(self.held.len()));
            (self.codec, self.size, self.held) = (plan.codec, size, Vec::with_capacity(held_most(plan, size)));
        }
    }

    /// Takes the line of one tick; whole packets go to `outbox`. On hold nothing goes, but the clock runs on; so it does
    /// where the line is empty, because the encoder has nothing to say.
    pub fn push(&mut self, slot: Slot, stream: StreamId, plan: &Plan, line: &[u8], outbox: &mut Outbox) {
        let is_sent = matches!(plan.direction, Direction::SendRecv | Direction::SendOnly);
        let Some(size) = self.size.filter(|_| is_sent) else {
            if is_sent && !line.is_empty() {
                return self.send(slot, stream, plan, line, tick_units(self.codec), outbox);
            }
            self.skip(self.units(self.held.len()) + tick_units(self.codec));
            self.marker = true;
            return;
        };
        if self.held.is_empty() && size == line.len() {
            return self.send(slot, stream, plan, line, tick_units(self.codec), outbox);
        }
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(line);
        let whole = held.len() - held.len() % size;
        for payload in held[..whole].chunks_exact(size) {
            self.send(slot, stream, plan, payload, self.units(size), outbox);
        }
        held.drain(..whole);
        self.held = held;
    }

    /// In place of a tick's line, where `teller` found nothing but a background: its description when there is something
    /// to tell, else nothing, while the clock runs on (RFC 3389 section 4). False: there is a voice, or they do not take
    /// descriptions; the line is to be sent.
    pub fn rest(&mut self, slot: Slot, stream: StreamId, plan: &Plan, teller: &Teller, outbox: &mut Outbox) -> bool {
        let is_sent = matches!(plan.direction, Direction::SendRecv | Direction::SendOnly);
        let told = teller.tell(self.rests);
        let Some(kind) = plan.comfort_noise.filter(|_| is_sent && told != Told::Frame) else {
            self.rests = false;
            return false;
        };
        // What was held back is the end of the background.
        self.skip(self.units(self.held.len()));
        if let Told::Describe(payload) = told {
            self.emit(slot, stream, (kind, false), payload, outbox);
        }
        self.skip(tick_units(self.codec));
        (self.rests, self.marker) = (true, true);
        true
    }

    fn send(&mut self, slot: Slot, stream: StreamId, plan: &Plan, payload: &[u8], units: u32, outbox: &mut Outbox) {
        let marker = std::mem::take(&mut self.marker);
        self.emit(slot, stream, (plan.payload_type, marker), payload, outbox);
        self.timestamp = self.timestamp.wrapping_add(units);
    }

    fn emit(&mut self, slot: Slot, stream: StreamId, head: (u8, bool), payload: &[u8], outbox: &mut Outbox) {
        let (payload_type, marker) = head;
        let packet = Packet {
            marker,
            payload_type,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
            payload,
        };
        let went = outbox.push(slot, stream, &packet, self.secret.as_deref_mut());
        self.sequence = self.sequence.wrapping_add(1);
        if went {
            self.sent += 1;
            self.octets += payload.len() as u64;
        } else {
            self.unsent += 1;
        }
    }

    /// Units of the timestamp that so many octets of a line last.
    fn units(&self, octets: usize) -> u32 {
        let whole = tick_octets(self.codec).unwrap_or(1);
        (octets * tick_units(self.codec) as usize / whole) as u32
    }

    fn skip(&mut self, units: u32) {
        self.timestamp = self.timestamp.wrapping_add(units);
        self.held.clear();
    }
}

/// Octets a packet: whole tens of milliseconds, 10 to 60, whatever was agreed, as far as they go into one packet.
fn packet_size(plan: &Plan) -> Option<usize> {
    let ten = tick_octets(plan.codec)? * 10 / TICK_MS as usize;
    let tens = usize::from(plan.ptime_ms / 10).clamp(1, 6).min(PAYLOAD_MOST / ten);
    Some(tens * ten)
}

/// Octets of a tick's line; none where the encoder decides.
const fn tick_octets(codec: Codec) -> Option<usize> {
    match codec {
        Codec::Pcmu | Codec::Pcma | Codec::G722 => Some(Rate::Narrow.tick()),
        Codec::L16(rate) => Some(2 * rate.tick()),
        Codec::Opus => None,
    }
}

const fn tick_units(codec: Codec) -> u32 {
    codec.clock_hz() / 1_000 * TICK_MS as u32
}

fn held_most(plan: &Plan, size: Option<usize>) -> usize {
    size.map_or(0, |size| size + tick_octets(plan.codec).unwrap_or(LINE_MOST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Rate;

    const FRAME: usize = 160;

    fn plan(ptime_ms: u16, direction: Direction) -> Plan {
        let remote = "127.0.0.1:4000".parse().unwrap();
        Plan { direction, ptime_ms, ..Plan::plain(remote, Codec::Pcmu, 0) }
    }

    /// Payload of all packets of so many ticks, and timestamps checked on the way.
    fn run(sender: &mut Sender, plan: &Plan, ticks: u8) -> Vec<Vec<u8>> {
        let mut outbox = Outbox::default();
        let mut packets = Vec::new();
        for tick in 0..ticks {
            outbox.clear();
            sender.push(Slot(0), StreamId(1), plan, &[tick; FRAME], &mut outbox);
            assert!(outbox.entries().len() <= PACKETS_A_TICK);
            packets.extend(outbox.entries().iter().map(|entry| outbox.packet(entry).to_vec()));
        }
        let parsed: Vec<Packet> = packets.iter().map(|p| Packet::parse(p).unwrap()).collect();
        for pair in parsed.windows(2) {
            assert_eq!(pair[1].timestamp.wrapping_sub(pair[0].timestamp) as usize, pair[0].payload.len());
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
            assert!(!pair[1].marker);
        }
        parsed.iter().map(|p| p.payload.to_vec()).collect()
    }

    #[test]
    fn every_packet_length_carries_the_whole_sound() {
        for (ptime_ms, size) in [(0, 80), (10, 80), (20, 160), (30, 240), (40, 320), (50, 400), (60, 480), (900, 480)] {
            let mut sender = Sender::new(&plan(ptime_ms, Direction::SendRecv), 9, u16::MAX - 1, u32::MAX - 100);
            let packets = run(&mut sender, &plan(ptime_ms, Direction::SendRecv), 30);
            assert!(packets.iter().all(|payload| payload.len() == size), "{ptime_ms}");
            let sound: Vec<u8> = packets.concat();
            let expected: Vec<u8> = (0..30).flat_map(|tick| [tick; FRAME]).take(sound.len()).collect();
            assert_eq!(sound, expected, "{ptime_ms}");
            assert_eq!(sound.len(), 30 * FRAME / size * size);
        }
    }

    #[test]
    fn on_hold_nothing_goes_but_the_clock() {
        let mut sender = Sender::new(&plan(20, Direction::SendRecv), 9, 5, 1_000);
        for direction in [Direction::RecvOnly, Direction::Inactive] {
            assert!(run(&mut sender, &plan(20, direction), 5).is_empty());
        }
        let mut outbox = Outbox::default();
        sender.push(Slot(0), StreamId(1), &plan(20, Direction::SendOnly), &[0; FRAME], &mut outbox);
        let packet = Packet::parse(outbox.packet(&outbox.entries()[0])).unwrap();
        assert_eq!((packet.sequence, packet.timestamp, packet.marker), (5, 1_000 + 10 * FRAME as u32, true));
    }

    #[test]
    fn each_codec_counts_in_its_own_clock() {
        // Octets of a tick's line and the packet they go in at 20 and at 60 ms; units a tick.
        for (codec, line, at_20, at_60, units) in [
            (Codec::G722, 160, 160, 480, 160),
            (Codec::L16(Rate::Wide), 640, 640, 1_280, 320),
            (Codec::L16(Rate::Full), 1_920, 960, 960, 960),
            (Codec::Opus, 93, 93, 93, 960),
        ] {
            for (ptime_ms, size) in [(20, at_20), (60, at_60)] {
                let plan = Plan { codec, ..plan(ptime_ms, Direction::SendRecv) };
                let mut sender = Sender::new(&plan, 1, 2, 3);
                let mut outbox = Outbox::default();
                for _ in 0..12 {
                    sender.push(Slot(0), StreamId(1), &plan, &vec![7; line], &mut outbox);
                }
                let packets: Vec<Packet> =
                    outbox.entries().iter().map(|entry| Packet::parse(outbox.packet(entry)).unwrap()).collect();
                assert!(packets.iter().all(|packet| packet.payload.len() == size), "{codec:?} {ptime_ms}");
                assert_eq!(packets[1].timestamp - packets[0].timestamp, units * size as u32 / line as u32, "{codec:?}");
            }
        }
    }

    #[test]
    fn an_encoder_with_nothing_to_say_sends_nothing_and_the_next_packet_is_marked() {
        let plan = Plan { codec: Codec::Opus, ..plan(20, Direction::SendRecv) };
        let (mut sender, mut outbox) = (Sender::new(&plan, 1, 2, 0), Outbox::default());
        for line in [&[1u8, 2][..], &[], &[], &[3]] {
            sender.push(Slot(0), StreamId(1), &plan, line, &mut outbox);
        }
        let told = |entry: &Entry| Packet::parse(outbox.packet(entry)).map(|p| (p.sequence, p.timestamp, p.marker));
        let packets: Vec<_> = outbox.entries().iter().filter_map(told).collect();
        assert_eq!(packets, [(2, 0, true), (3, 2_880, true)]);
    }
}
