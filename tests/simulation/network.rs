//! The network between carriers and the bridge: what is lost, what comes twice, what is overtaken, all from a seed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::time::Duration;
use tollbridge::clock::Mono;

/// Of every network one in so many is without a fault: what fails there fails by itself.
const FLAWLESS: u32 = 4;

pub struct Network {
    rng: StdRng,
    /// Of 1,000 packets.
    loss: u32,
    copies: u32,
    delay_ms: (u64, u64),
    /// Nothing arrives between the two.
    outage: Option<(Mono, Mono)>,
    /// Calls of which no ACK ever arrives.
    deaf: BTreeSet<String>,
}

impl Network {
    pub fn new(seed: u64, length_ms: u64) -> Network {
        let mut rng = StdRng::seed_from_u64(seed);
        let flawed = !rng.random_ratio(1, FLAWLESS);
        let quickest = rng.random_range(1..40);
        let spread = rng.random_range(1..=if flawed { 400 } else { 20 });
        let (loss, copies) = if flawed { (rng.random_range(0..=200), rng.random_range(0..=100)) } else { (0, 0) };
        let outage = (flawed && rng.random_ratio(1, 4)).then(|| {
            let begin = rng.random_range(0..length_ms);
            (Mono::from_millis(begin), Mono::from_millis(begin + rng.random_range(100..40_000)))
        });
        Network { rng, loss, copies, delay_ms: (quickest, quickest + spread), outage, deaf: BTreeSet::new() }
    }

    /// From now on every packet arrives, once and in its order.
    pub fn heal(&mut self) {
        (self.loss, self.copies, self.delay_ms, self.outage) = (0, 0, (20, 21), None);
        self.deaf.clear();
    }

    /// No ACK of this call arrives any more.
    pub fn lose_acks_of(&mut self, call_id: &str) {
        self.deaf.insert(call_id.to_owned());
    }

    /// When a packet that leaves `now` arrives, each of its copies; empty where it is lost.
    pub fn carry(&mut self, now: Mono, packet: &[u8]) -> Vec<Duration> {
        let copies = 1 + u32::from(self.draw(self.copies));
        let mut arrivals = Vec::new();
        for _ in 0..copies {
            let lost = self.draw(self.loss);
            let delay = self.delay();
            if !lost {
                arrivals.push(delay);
            }
        }
        let out = self.outage.is_some_and(|(from, to)| (from..to).contains(&now));
        if out || self.is_unheard_ack(packet) { Vec::new() } else { arrivals }
    }

    pub fn delay(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(self.delay_ms.0..self.delay_ms.1))
    }

    fn draw(&mut self, of_1000: u32) -> bool {
        self.rng.random_range(0..1000) < of_1000
    }

    fn is_unheard_ack(&self, packet: &[u8]) -> bool {
        packet.starts_with(b"ACK ") && {
            let text = String::from_utf8_lossy(packet);
            self.deaf.iter().any(|call_id| text.contains(call_id.as_str()))
        }
    }
}
