//! One leg's sound in the engine: what it said this tick, and what it hears.

use super::mixer::level::{Gate, Talk, level};
use super::mixer::room::Room;
use super::mixer::sum::{self, Limiter};
use super::player::{Play, Player};
use super::rtp::receiver::{Got, Receiver};
use super::rtp::sender::{Outbox, Sender};
use super::{Codec, Config, Direction, Event, FRAME, Frame, Plan, Slot, Stats, StreamId, Target};
use crate::clock::Mono;
use std::net::SocketAddr;

/// Events on their way to the owner, and plays that ended: both in memory that was taken before.
#[derive(Debug, Default)]
pub struct Told {
    pub events: Vec<Event>,
    /// Dropped between ticks, so that no tick frees memory.
    pub spent: Vec<Play>,
    pub most: usize,
    pub lost: u64,
}

impl Told {
    /// False if there is no room: counted, and the teller may try again.
    pub fn tell(&mut self, event: Event) -> bool {
        let room = self.events.len() < self.most;
        if room {
            self.events.push(event);
        } else {
            self.lost += 1;
        }
        room
    }

    pub fn ended(&mut self, target: Target, play: Play, whole: bool) {
        self.tell(Event::Played { target, mark: play.mark, whole });
        self.spent.push(play);
    }
}

pub struct Stream {
    pub id: StreamId,
    pub plan: Plan,
    /// Index of its room in the engine.
    pub room: Option<usize>,
    pub muted: bool,
    pub deaf: bool,
    pub gagged: bool,
    pub player: Player,
    pub receiver: Receiver,
    sender: Sender,
    voice: Frame,
    /// Its voice is in the room's sum of this tick.
    speaks: bool,
    gate: Gate,
    talk: Talk,
    limiter: Limiter,
    /// The last sample that it heard, and what that was made of: (room, prompt).
    last: i16,
    heard: (Option<usize>, bool),
    foreign: u64,
    last_packet: Option<Mono>,
    /// Since when it has been silent, and whether the owner knows.
    silent_since: Mono,
    silent: bool,
}

impl Stream {
    pub fn new(id: StreamId, plan: Plan, sender: Sender, config: &Config, now: Mono) -> Stream {
        Stream {
            id,
            plan,
            room: None,
            muted: false,
            deaf: false,
            gagged: false,
            player: Player::default(),
            receiver: Receiver::new(config),
            sender,
            voice: [0; FRAME],
            speaks: false,
            gate: Gate::default(),
            talk: Talk::default(),
            limiter: Limiter::default(),
            last: 0,
            heard: (None, false),
            foreign: 0,
            last_packet: None,
            silent_since: now,
            silent: false,
        }
    }

    pub fn change(&mut self, now: Mono, plan: Plan) {
        let before = std::mem::replace(&mut self.plan, plan);
        let way = |plan: &Plan| (plan.remote, plan.codec, plan.payload_type);
        if way(&before) != way(&plan) {
            self.receiver.forget();
        }
        if (before.codec, before.ptime_ms) != (plan.codec, plan.ptime_ms) {
            self.sender.forget();
        }
        // Off hold they get the whole patience anew.
        if before.direction != plan.direction {
            self.silent_since = now;
        }
    }

    pub fn receive(&mut self, now: Mono, from: SocketAddr, datagram: &[u8], told: &mut Told) {
        // Address and port exactly as signalled: nobody else is ever heard or answered.
        if from.port() != self.plan.remote.port() || from.ip() != self.plan.remote.ip() {
            self.foreign += 1;
            return;
        }
        let got = self.receiver.take(now, &self.plan, datagram);
        if got == Got::Nothing {
            return;
        }
        self.live(now, told);
        if let Got::Key(key) = got {
            told.tell(Event::Digit { stream: self.id, key, at: now });
            let target = Target::Stream(self.id);
            self.player.barge(|play| told.ended(target, play, false));
        }
    }

    /// RTCP from the port above theirs (RFC 3550 section 11): a sign of life, whatever it reports.
    pub fn receive_rtcp(&mut self, now: Mono, from: SocketAddr, datagram: &[u8], told: &mut Told) {
        let agreed = from.ip() == self.plan.remote.ip() && Some(from.port()) == self.plan.remote.port().checked_add(1);
        // Version 2, a sender's or a receiver's report at the head (RFC 3550 section 6.1).
        let is_report = datagram.len() >= 8 && datagram[0] >> 6 == 2 && matches!(datagram[1], 200 | 201);
        if agreed && is_report {
            self.live(now, told);
        }
    }

    fn live(&mut self, now: Mono, told: &mut Told) {
        self.last_packet = Some(now);
        self.silent_since = now;
        if self.silent {
            self.silent = !told.tell(Event::Heard { stream: self.id });
        }
    }

    /// First half of a tick: its voice. True if it belongs in the room's sum.
    pub fn listen(&mut self, now: Mono, config: &Config, told: &mut Told) -> bool {
        self.voice = self.receiver.frame(self.plan.codec);
        let level = level(&self.voice);
        let loud = self.gate.tick(level, config.gate_level);
        self.tell_talk(level, config, told);
        self.tell_silence(now, config, told);
        // Send-only legs (music from a caller's own switchboard) are not mixed.
        let open = self.room.is_some() && !self.muted && !self.gagged && self.plan.direction == Direction::SendRecv;
        let before = self.speaks;
        self.speaks = open && loud;
        match (before, self.speaks) {
            (false, true) => sum::fade_in(&mut self.voice),
            (true, false) => sum::fade_out(&mut self.voice),
            _ => {}
        }
        // A voice that fades out is in the sum for the last time.
        before || self.speaks
    }

    pub fn voice(&self) -> &Frame {
        &self.voice
    }

    fn tell_talk(&mut self, level: u16, config: &Config, told: &mut Told) {
        if self.talk.tick(level >= config.talk_level, config.talk_hang_ms)
            && told.tell(Event::Talking { stream: self.id, on: !self.talk.on() })
        {
            self.talk.turn();
        }
    }

    /// Only who should send can be missed: never while on hold.
    fn tell_silence(&mut self, now: Mono, config: &Config, told: &mut Told) {
        let expected = self.plan.direction == Direction::SendRecv && !self.silent;
        if expected && now.millis_since(self.silent_since) >= u64::from(config.silence_ms) {
            self.silent = told.tell(Event::Silent { stream: self.id, since: self.silent_since });
        }
    }

    /// Second half of a tick: what it hears goes to `outbox`. `mixed` says whether its own voice is in the sum.
    pub fn speak(&mut self, slot: Slot, rooms: &mut [Option<Room>], mixed: bool, outbox: &mut Outbox, told: &mut Told) {
        let target = Target::Stream(self.id);
        let prompt = self.player.render(|play| told.ended(target, play, true));
        let room = self.room.filter(|_| !self.deaf && !self.gagged);
        let heard = (room, prompt.is_some());
        let seam = std::mem::replace(&mut self.heard, heard) != heard;
        let room = room.and_then(|room| rooms[room].as_mut());
        match room {
            Some(room) if !mixed && !seam && prompt.is_none() => {
                (self.last, self.limiter) = (room.last(), room.limiter());
                self.sender.push(slot, self.id, &self.plan, room.line(self.plan.codec), outbox);
            }
            None if !seam && prompt.is_none() => {
                self.last = 0;
                self.sender.push(slot, self.id, &self.plan, silent_line(self.plan.codec), outbox);
            }
            room => {
                let frame = self.mix(room.as_deref(), mixed, prompt.as_ref(), seam);
                let mut line = [0; FRAME];
                self.plan.codec.encode(&frame, &mut line);
                self.sender.push(slot, self.id, &self.plan, &line, outbox);
            }
        }
    }

    /// A mix of its own: without its voice, under a prompt, or over a seam.
    fn mix(&mut self, room: Option<&Room>, mixed: bool, prompt: Option<&Frame>, seam: bool) -> Frame {
        let mut mix = match room {
            Some(room) if mixed => sum::less(room.sum(), &self.voice),
            Some(room) => *room.sum(),
            None => [0; FRAME],
        };
        if let Some(prompt) = prompt {
            sum::duck(&mut mix);
            sum::add(&mut mix, prompt);
        }
        let mut frame = self.limiter.limit(&mix);
        if seam {
            sum::seam(&mut frame, self.last);
        }
        self.last = frame[FRAME - 1];
        frame
    }

    /// It goes out of its room: the fading end of its voice, if it was heard there.
    pub fn part(&mut self) -> Option<Frame> {
        self.room = None;
        let heard = std::mem::take(&mut self.speaks);
        heard.then(|| {
            let mut end = self.receiver.farewell();
            sum::fade_out(&mut end);
            end
        })
    }

    pub fn stats(&self) -> Stats {
        let counts = self.receiver.counts();
        Stats {
            packets_in: counts.packets,
            packets_out: self.sender.sent(),
            octets: counts.octets,
            lost: self.receiver.lost(),
            late: counts.late,
            duplicate: counts.duplicate,
            foreign: self.foreign,
            bad: counts.bad,
            jitter_us: self.receiver.jitter_us(),
            concealed_ms: self.receiver.concealed_ms(),
            last_packet: self.last_packet,
            codec: self.plan.codec,
        }
    }
}

fn silent_line(codec: Codec) -> &'static [u8; FRAME] {
    static LINES: [[u8; FRAME]; Codec::COUNT] = [Codec::Pcmu.silent_line(), Codec::Pcma.silent_line()];
    &LINES[codec.index()]
}
