//! What is common to one mix: the sum, its prompts, and the sound that all listeners share, coded once a codec.

use super::loudest::Loudest;
use super::sum::{self, Limiter};
use crate::media::codec::comfort::Teller;
use crate::media::codec::{Encoder, Settings};
use crate::media::player::Player;
use crate::media::recorder::{Reel, Tap};
use crate::media::rtp::sender::LINE_MOST;
use crate::media::{Codec, Frame, Mix, Plan, Rate, RoomId, TICK_MOST, TICK_MS};

/// One mix. It lives as long as it has members.
pub struct Room {
    pub id: RoomId,
    pub members: u32,
    pub player: Player,
    pub loudest: Loudest,
    rate: Rate,
    /// All voices and prompts of this tick.
    sum: Mix,
    /// The last bit of voices that left since the last tick.
    tail: Mix,
    common: Frame,
    limiter: Limiter,
    lines: Vec<Line>,
    /// What the common sound is to those who take silence described, and how many they are.
    teller: Teller,
    takers: u32,
    /// The clock of its recording, and the track of the mix.
    recording: Option<(Reel, Tap)>,
}

/// What all listeners of one codec are sent.
struct Line {
    codec: Codec,
    listeners: u32,
    encoder: Encoder,
    octets: [u8; LINE_MOST],
    length: usize,
    is_made: bool,
}

impl Line {
    fn new(codec: Codec, rate: Rate) -> Line {
        let encoder = Encoder::new(codec, rate, Settings::default());
        Line { codec, listeners: 0, encoder, octets: [0; LINE_MOST], length: 0, is_made: false }
    }

    fn make(&mut self, common: &[i16]) {
        self.length = self.encoder.encode(common, &mut self.octets);
        self.is_made = true;
    }
}

impl Room {
    pub fn new(id: RoomId, rate: Rate) -> Room {
        Room {
            id,
            members: 0,
            player: Player::new(rate),
            loudest: Loudest::default(),
            rate,
            sum: [0; TICK_MOST],
            tail: [0; TICK_MOST],
            common: [0; TICK_MOST],
            limiter: Limiter::default(),
            lines: Vec::new(),
            teller: Teller::new(rate.hz()),
            takers: 0,
            recording: None,
        }
    }

    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Another rate from the next tick on. The members are tuned by their owner.
    pub fn tune(&mut self, rate: Rate) {
        let last = self.last();
        (self.rate, self.tail) = (rate, [0; TICK_MOST]);
        self.player.tune(rate);
        self.teller = Teller::new(rate.hz());
        for line in &mut self.lines {
            line.encoder = Encoder::new(line.codec, rate, Settings::default());
            line.encoder.hold(last);
        }
    }

    /// A member came who is sent what `plan` says.
    pub fn enlist(&mut self, plan: &Plan) {
        let codec = plan.codec;
        let place = self.lines.iter().position(|line| line.codec == codec).unwrap_or_else(|| {
            self.lines.push(Line::new(codec, self.rate));
            self.lines.len() - 1
        });
        self.lines[place].listeners += 1;
        self.takers += u32::from(plan.comfort_noise.is_some());
    }

    /// A member went who was sent what `plan` says.
    pub fn dismiss(&mut self, plan: &Plan) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.codec == plan.codec) {
            line.listeners -= 1;
        }
        self.takers -= u32::from(plan.comfort_noise.is_some());
        self.lines.retain(|line| line.listeners > 0);
    }

    /// Begins a tick with what is left of those who went.
    pub fn begin(&mut self) {
        let tick = self.rate.tick();
        self.sum[..tick].copy_from_slice(&self.tail[..tick]);
        self.tail[..tick].fill(0);
        self.loudest.begin();
    }

    pub fn add(&mut self, voice: &[i16]) {
        sum::add(&mut self.sum[..self.rate.tick()], voice);
    }

    /// A voice goes: its fading end is heard in the next tick.
    pub fn part(&mut self, end: &[i16]) {
        sum::add(&mut self.tail[..self.rate.tick()], end);
    }

    /// All voices are in: makes what is heard by those who say nothing.
    pub fn finish(&mut self) {
        let tick = self.rate.tick();
        self.limiter.limit(&self.sum[..tick], &mut self.common[..tick]);
        if self.takers > 0 {
            self.teller.hear(&self.common[..tick], TICK_MS as u32);
        }
        if let Some((reel, tap)) = &mut self.recording {
            reel.tick();
            tap.push(reel, self.rate, &self.common[..tick]);
        }
        for line in &mut self.lines {
            line.is_made = false;
            // What hangs on the ticks before is made in every tick, asked for or not.
            if line.encoder.remembers() {
                line.make(&self.common[..tick]);
            }
        }
    }

    pub fn sum(&self) -> &[i32] {
        &self.sum[..self.rate.tick()]
    }

    pub fn limiter(&self) -> Limiter {
        self.limiter
    }

    /// The last sample of the common sound.
    pub fn last(&self) -> i16 {
        self.common[self.rate.tick() - 1]
    }

    /// The common sound on the line, coded when the first asks for it.
    pub fn line(&mut self, codec: Codec) -> Option<&[u8]> {
        let line = self.lines.iter_mut().find(|line| line.codec == codec)?;
        if !line.is_made {
            line.make(&self.common[..self.rate.tick()]);
        }
        Some(&line.octets[..line.length])
    }

    /// From the next tick on it is recorded, in place of an earlier recording.
    pub fn record(&mut self, recording: Option<(Reel, Tap)>) {
        self.recording = recording;
    }

    pub fn pause_recording(&mut self, on: bool) {
        if let Some((reel, _)) = &mut self.recording {
            reel.pause(on);
        }
    }

    /// The clock of its recording, if there is one.
    pub fn reel(&self) -> Option<&Reel> {
        self.recording.as_ref().map(|(reel, _)| reel)
    }

    pub fn teller(&self) -> &Teller {
        &self.teller
    }

    /// What makes the common line of a codec: whoever leaves it goes on from there.
    pub fn encoder(&self, codec: Codec) -> Option<&Encoder> {
        self.lines.iter().find(|line| line.codec == codec).map(|line| &line.encoder)
    }
}
