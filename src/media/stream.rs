//! One leg's sound in the engine: what it said this tick, and what it hears.

use super::codec::resample::Resampler;
use super::codec::{Encoder, Settings};
use super::mixer::level::{Gate, Talk, level};
use super::mixer::room::Room;
use super::mixer::sum::{self, Limiter};
use super::player::{Play, Player};
use super::rtp::receiver::{Got, Receiver};
use super::rtp::sender::{LINE_MOST, Outbox, Sender};
use super::{Codec, Config, Direction, Event, Frame, Mix, Plan, Rate, Slot, Stats, StreamId, TICK_MOST, Target};
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

/// After so many ticks of hearing what all hear, a stream is sent what all are sent: an encoder that remembers has come by
/// then to where the common one is, and nobody hears the change.
const ALIKE_TICKS: u16 = 10;

pub struct Stream {
    pub id: StreamId,
    pub plan: Plan,
    /// Index of its room in the engine.
    pub room: Option<usize>,
    pub muted: bool,
    pub deaf: bool,
    pub gagged: bool,
    /// How loud it is heard, and how loud it hears, of [`sum::UNITY`].
    pub gain: Gain,
    pub player: Player,
    pub receiver: Receiver,
    sender: Sender,
    /// At what rate it speaks and hears: its room's, or its codec's own.
    rate: Rate,
    /// The rate of its codec's sound, and what brings that to `rate`.
    own_rate: Rate,
    inward: Option<Box<Resampler>>,
    encoder: Encoder,
    /// Ticks since it last heard something of its own; while fewer than [`ALIKE_TICKS`], its own encoder works.
    alike: u16,
    voice: Frame,
    /// The last sample of its voice, to bridge a change of rate.
    last_voice: i16,
    retuned: bool,
    level: u16,
    loud: bool,
    /// Its voice is in the room's sum of this tick.
    speaks: bool,
    gate: Gate,
    talk: Talk,
    limiter: Limiter,
    /// The last sample that it heard, and what that was made of: (room, prompt).
    last: i16,
    heard: (Option<usize>, bool),
    /// What it hears is made of something else than a tick ago.
    seam: bool,
    foreign: u64,
    last_packet: Option<Mono>,
    /// Since when it has been silent, and whether the owner knows.
    silent_since: Mono,
    silent: bool,
}

/// Of [`sum::UNITY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gain {
    pub spoken: i32,
    pub heard: i32,
}

impl Default for Gain {
    fn default() -> Gain {
        Gain { spoken: sum::UNITY, heard: sum::UNITY }
    }
}

impl Stream {
    pub fn new(id: StreamId, plan: Plan, sender: Sender, config: &Config, now: Mono) -> Stream {
        let rate = config.rate_of(plan.codec);
        Stream {
            id,
            plan,
            room: None,
            muted: false,
            deaf: false,
            gagged: false,
            gain: Gain::default(),
            player: Player::new(rate),
            receiver: Receiver::new(config, plan.codec),
            sender,
            rate,
            own_rate: rate,
            inward: None,
            encoder: Encoder::new(plan.codec, rate, Settings::default()),
            alike: 0,
            voice: [0; TICK_MOST],
            last_voice: 0,
            retuned: false,
            level: 0,
            loud: false,
            speaks: false,
            gate: Gate::default(),
            talk: Talk::default(),
            limiter: Limiter::default(),
            last: 0,
            heard: (None, false),
            seam: false,
            foreign: 0,
            last_packet: None,
            silent_since: now,
            silent: false,
        }
    }

    /// What a re-INVITE agreed on. Its room is told of another codec by the engine.
    pub fn change(&mut self, now: Mono, plan: Plan, config: &Config) {
        let before = std::mem::replace(&mut self.plan, plan);
        let way = |plan: &Plan| (plan.remote, plan.codec, plan.payload_type);
        if way(&before) != way(&plan) {
            self.receiver.change(config, plan.codec);
        }
        self.sender.change(&plan);
        if before.codec != plan.codec {
            self.own_rate = config.rate_of(plan.codec);
            self.tune(if self.room.is_some() { self.rate } else { self.own_rate });
        }
        // Off hold they get the whole patience anew.
        if before.direction != plan.direction {
            self.silent_since = now;
        }
    }

    /// The rate that it speaks and hears at from now on.
    pub fn tune(&mut self, rate: Rate) {
        self.rate = rate;
        self.inward = (self.own_rate != rate).then(|| Box::new(Resampler::new(self.own_rate, rate)));
        self.encoder = Encoder::new(self.plan.codec, rate, Settings::default());
        if let Some(resampler) = &mut self.inward {
            resampler.hold(self.last_voice);
        }
        self.encoder.hold(self.last);
        self.player.tune(rate);
        (self.retuned, self.alike) = (true, 0);
    }

    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// The rate of its codec's sound.
    pub fn own_rate(&self) -> Rate {
        self.own_rate
    }

    pub fn octets_a_tick(&self) -> usize {
        self.sender.octets_a_tick()
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

    /// First part of a tick: its voice. True if it wants to be in the room's sum.
    pub fn listen(&mut self, now: Mono, config: &Config, told: &mut Told) -> bool {
        let tick = self.rate.tick();
        match &mut self.inward {
            Some(resampler) => {
                let mut frame = [0; TICK_MOST];
                let frame = &mut frame[..self.own_rate.tick()];
                self.receiver.frame(frame);
                resampler.run(frame, &mut self.voice[..tick]);
            }
            None => self.receiver.frame(&mut self.voice[..tick]),
        }
        let voice = &mut self.voice[..tick];
        if std::mem::take(&mut self.retuned) {
            sum::seam(voice, self.last_voice);
        }
        self.last_voice = voice[tick - 1];
        if self.gain.spoken != sum::UNITY {
            sum::amplify(voice, self.gain.spoken);
        }
        self.level = level(voice);
        self.loud = self.gate.tick(self.level, config.gate_level);
        self.tell_talk(self.level, config, told);
        self.tell_silence(now, config, told);
        // Send-only legs (music from a caller's own switchboard) are not mixed.
        let open = self.room.is_some() && !self.muted && !self.gagged && self.plan.direction == Direction::SendRecv;
        open && self.loud
    }

    /// How loud it was in this tick.
    pub fn level(&self) -> u16 {
        self.level
    }

    /// Second part: whether it is heard. True if its voice belongs in the sum, were it only to fade out.
    pub fn enter(&mut self, heard: bool) -> bool {
        let before = std::mem::replace(&mut self.speaks, heard);
        let voice = &mut self.voice[..self.rate.tick()];
        match (before, heard) {
            (false, true) => sum::fade_in(voice),
            (true, false) => sum::fade_out(voice),
            _ => {}
        }
        before || heard
    }

    pub fn voice(&self) -> &[i16] {
        &self.voice[..self.rate.tick()]
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

    /// Third part, before the room is finished: whether it will hear what all hear. If not any more, its own encoder goes
    /// on from where the common one is now.
    pub fn compare(&mut self, mixed: bool, room: Option<&Room>) {
        let heard = (self.listens_to(), self.player.plays());
        self.seam = std::mem::replace(&mut self.heard, heard) != heard;
        let own = mixed || self.seam || heard != (self.room, false) || self.gain.heard != sum::UNITY;
        if own && let Some(room) = room {
            self.go_on_from(room);
        }
        self.alike = if own || room.is_none() { 0 } else { self.alike.saturating_add(1) };
    }

    /// Last part: what it hears goes to `outbox`. `mixed` says whether its own voice is in the sum.
    pub fn speak(&mut self, slot: Slot, rooms: &mut [Option<Room>], mixed: bool, outbox: &mut Outbox, told: &mut Told) {
        let room = self.listens_to().and_then(|room| rooms[room].as_mut());
        if self.is_alike()
            && let Some(room) = room
        {
            (self.last, self.limiter) = (room.last(), room.limiter());
            let line = room.line(self.plan.codec).unwrap_or_default();
            return self.sender.push(slot, self.id, &self.plan, line, outbox);
        }
        if let (None, (_, false), false, Some(line)) = (&room, self.heard, self.seam, self.silent_line()) {
            self.last = 0;
            return self.sender.push(slot, self.id, &self.plan, line, outbox);
        }
        let mut sound = [0; TICK_MOST];
        let sound = &mut sound[..self.rate.tick()];
        self.mix(room.as_deref(), mixed, told, sound);
        let mut line = [0; LINE_MOST];
        let length = self.encoder.encode(sound, &mut line);
        self.sender.push(slot, self.id, &self.plan, &line[..length], outbox);
    }

    /// The room that it hears.
    fn listens_to(&self) -> Option<usize> {
        self.room.filter(|_| !self.deaf && !self.gagged)
    }

    /// Whether it is sent what all are sent.
    fn is_alike(&self) -> bool {
        self.alike >= if self.encoder.remembers() { ALIKE_TICKS } else { 1 }
    }

    /// The line of a tick without a sound, where it is always the same.
    fn silent_line(&self) -> Option<&'static [u8]> {
        static PCMU: [u8; Rate::Narrow.tick()] = [Codec::Pcmu.silence(); Rate::Narrow.tick()];
        static PCMA: [u8; Rate::Narrow.tick()] = [Codec::Pcma.silence(); Rate::Narrow.tick()];
        match self.plan.codec {
            _ if self.encoder.remembers() => None,
            Codec::Pcmu => Some(&PCMU),
            Codec::Pcma => Some(&PCMA),
            _ => None,
        }
    }

    /// If it was sent what all are sent, its own encoder goes on where the common one is.
    pub fn go_on_from(&mut self, room: &Room) {
        if self.is_alike()
            && let Some(common) = room.encoder(self.plan.codec)
        {
            self.encoder.follow(common);
        }
    }

    /// A mix of its own: without its voice, under a prompt, over a seam, or at another strength.
    fn mix(&mut self, room: Option<&Room>, mixed: bool, told: &mut Told, sound: &mut [i16]) {
        let mut mix: Mix = [0; TICK_MOST];
        let mix = &mut mix[..sound.len()];
        match room {
            Some(room) if mixed => sum::less(room.sum(), self.voice(), mix),
            Some(room) => mix.copy_from_slice(room.sum()),
            None => {}
        }
        let (target, mut prompt) = (Target::Stream(self.id), [0; TICK_MOST]);
        if self.player.render(&mut prompt, |play| told.ended(target, play, true)) {
            sum::duck(mix);
            sum::add(mix, &prompt[..sound.len()]);
        }
        self.limiter.limit(mix, sound);
        if self.gain.heard != sum::UNITY {
            sum::amplify(sound, self.gain.heard);
        }
        if self.seam {
            sum::seam(sound, self.last);
        }
        self.last = sound[sound.len() - 1];
    }

    /// It goes out of its room. True if it was heard there: then `end` is the fading end of its voice.
    pub fn part(&mut self, end: &mut Frame) -> bool {
        self.room = None;
        let heard = std::mem::take(&mut self.speaks);
        if heard {
            let end = &mut end[..self.rate.tick()];
            self.farewell(end);
            sum::fade_out(end);
        }
        self.tune(self.own_rate);
        heard
    }

    /// How its voice would have gone on.
    fn farewell(&mut self, end: &mut [i16]) {
        match &mut self.inward {
            Some(resampler) => {
                let mut frame = [0; TICK_MOST];
                let frame = &mut frame[..self.own_rate.tick()];
                self.receiver.farewell(frame);
                resampler.run(frame, end);
            }
            None => self.receiver.farewell(end),
        }
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
