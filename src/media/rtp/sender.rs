//! What goes out: lines of sound cut into packets of the agreed length.

use super::packet::{HEADER, PAYLOAD_MOST, Packet};
use crate::media::{Codec, Direction, FRAME, Plan, Slot, StreamId, TICK_MS};

/// Octets that one stream may need in one tick: what was held back, and a frame, in packets of 10 ms.
pub const OCTETS_A_TICK: usize = PAYLOAD_MOST + FRAME + PACKETS_A_TICK * HEADER;
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
    /// Takes memory for so many streams.
    pub fn reserve(&mut self, streams: usize) {
        self.octets.reserve((streams * OCTETS_A_TICK).saturating_sub(self.octets.len()));
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

    fn push(&mut self, slot: Slot, stream: StreamId, packet: &Packet<'_>) {
        let start = self.octets.len() as u32;
        self.octets.extend_from_slice(&packet.header());
        self.octets.extend_from_slice(packet.payload);
        let length = (HEADER + packet.payload.len()) as u16;
        self.entries.push(Entry { slot, stream, start, length });
    }
}

/// One stream's way out.
#[derive(Clone, Debug)]
pub struct Sender {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    /// The next packet is the first after a pause (RFC 3551 section 4.1).
    marker: bool,
    held: [u8; PAYLOAD_MOST + FRAME],
    length: usize,
    sent: u64,
}

impl Sender {
    /// The three beginnings are random (RFC 3550 section 5.1).
    pub fn new(ssrc: u32, sequence: u16, timestamp: u32) -> Sender {
        Sender { ssrc, sequence, timestamp, marker: true, held: [0; PAYLOAD_MOST + FRAME], length: 0, sent: 0 }
    }

    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The packet length or the codec changed: what was held back is dropped.
    pub fn forget(&mut self) {
        self.skip(self.length);
    }

    /// Takes the line of one tick; whole packets go to `outbox`. On hold nothing goes, but the clock runs on.
    pub fn push(&mut self, slot: Slot, stream: StreamId, plan: &Plan, line: &[u8; FRAME], outbox: &mut Outbox) {
        if !matches!(plan.direction, Direction::SendRecv | Direction::SendOnly) {
            self.skip(self.length + FRAME);
            self.marker = true;
            return;
        }
        let size = packet_size(plan);
        if self.length == 0 && size == FRAME {
            return self.send(slot, stream, plan, line, outbox);
        }
        let mut held = self.held;
        held[self.length..self.length + FRAME].copy_from_slice(line);
        let total = self.length + FRAME;
        let mut gone = 0;
        while total - gone >= size {
            self.send(slot, stream, plan, &held[gone..gone + size], outbox);
            gone += size;
        }
        self.length = total - gone;
        self.held[..self.length].copy_from_slice(&held[gone..total]);
    }

    fn send(&mut self, slot: Slot, stream: StreamId, plan: &Plan, payload: &[u8], outbox: &mut Outbox) {
        let packet = Packet {
            marker: std::mem::take(&mut self.marker),
            payload_type: plan.payload_type,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
            payload,
        };
        outbox.push(slot, stream, &packet);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(payload.len() as u32);
        self.sent += 1;
    }

    fn skip(&mut self, units: usize) {
        self.timestamp = self.timestamp.wrapping_add(units as u32);
        self.length = 0;
    }
}

/// Octets a packet: whole tens of milliseconds, 10 to 60, whatever was agreed.
fn packet_size(plan: &Plan) -> usize {
    let tens = usize::from(plan.ptime_ms / 10).clamp(1, 6);
    tens * 10 * FRAME / TICK_MS as usize
}

impl Codec {
    /// A line of silence.
    pub const fn silent_line(self) -> [u8; FRAME] {
        [self.silence(); FRAME]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(ptime_ms: u16, direction: Direction) -> Plan {
        let remote = "127.0.0.1:4000".parse().unwrap();
        Plan { remote, codec: Codec::Pcmu, payload_type: 0, telephone_event: None, direction, ptime_ms }
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
            let mut sender = Sender::new(9, u16::MAX - 1, u32::MAX - 100);
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
        let mut sender = Sender::new(9, 5, 1_000);
        for direction in [Direction::RecvOnly, Direction::Inactive] {
            assert!(run(&mut sender, &plan(20, direction), 5).is_empty());
        }
        let mut outbox = Outbox::default();
        sender.push(Slot(0), StreamId(1), &plan(20, Direction::SendOnly), &[0; FRAME], &mut outbox);
        let packet = Packet::parse(outbox.packet(&outbox.entries()[0])).unwrap();
        assert_eq!((packet.sequence, packet.timestamp, packet.marker), (5, 1_000 + 10 * FRAME as u32, true));
    }
}
