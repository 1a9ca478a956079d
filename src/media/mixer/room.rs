//! What is common to one mix: the sum, its prompts, and the frame that all listeners share, coded once a codec.

use super::sum::{self, Limiter};
use crate::media::player::Player;
use crate::media::{Codec, FRAME, Frame, Mix, RoomId};

/// One mix. It lives as long as it has members.
pub struct Room {
    pub id: RoomId,
    pub members: u32,
    pub player: Player,
    /// All voices and prompts of this tick.
    sum: Mix,
    /// The last bit of voices that left since the last tick.
    tail: Mix,
    common: Frame,
    limiter: Limiter,
    lines: [Option<[u8; FRAME]>; Codec::COUNT],
}

impl Room {
    pub fn new(id: RoomId) -> Room {
        Room {
            id,
            members: 0,
            player: Player::default(),
            sum: [0; FRAME],
            tail: [0; FRAME],
            common: [0; FRAME],
            limiter: Limiter::default(),
            lines: [None; Codec::COUNT],
        }
    }

    /// Begins a tick with what is left of those who went.
    pub fn begin(&mut self) {
        self.sum = self.tail;
        self.tail = [0; FRAME];
    }

    pub fn add(&mut self, voice: &Frame) {
        sum::add(&mut self.sum, voice);
    }

    /// A voice goes: its fading end is heard in the next tick.
    pub fn part(&mut self, end: &Frame) {
        sum::add(&mut self.tail, end);
    }

    /// All voices are in: makes what is heard by those who say nothing.
    pub fn finish(&mut self) {
        self.common = self.limiter.limit(&self.sum);
        self.lines = [None; Codec::COUNT];
    }

    pub fn sum(&self) -> &Mix {
        &self.sum
    }

    pub fn limiter(&self) -> Limiter {
        self.limiter
    }

    /// The last sample of the common frame.
    pub fn last(&self) -> i16 {
        self.common[FRAME - 1]
    }

    /// The common frame on the line, coded when the first asks for it.
    pub fn line(&mut self, codec: Codec) -> &[u8; FRAME] {
        self.lines[codec.index()].get_or_insert_with(|| {
            let mut line = [0; FRAME];
            codec.encode(&self.common, &mut line);
            line
        })
    }
}
