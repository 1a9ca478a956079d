//! One leg's sound in the engine: what it said this tick, and what it hears.

use super::codec::comfort::Teller;
use super::codec::resample::Resampler;
use super::codec::{Encoder, Settings};
use super::keys::Keys;
use super::mixer::gain::AutoGain;
use super::mixer::level::{Gate, Talk, level};
use super::mixer::noise::Denoiser;
use super::mixer::room::Room;
use super::mixer::sum::{self, Limiter};
use super::player::{Play, Player};
use super::recorder::Tap;
use super::rtp::monitor::{Monitor, Past, REPORT_MOST};
use super::rtp::packet::Packet;
use super::rtp::press::Source;
use super::rtp::receiver::{Got, Receiver};
use super::rtp::sender::{LINE_MOST, Outbox, Sender};
use super::rtp::srtp::{Opener, Protector};
use super::rtp::{is_rtcp, quality::Quality};
use super::sdp::crypto::Secret;
use super::sdp::sends;
use super::{
    Codec, Config, Direction, Event, Frame, Missing, Mix, Plan, Rate, Slot, Stats, StreamId, TICK_MOST, TICK_MS, Target,
};
use crate::clock::{Mono, Now};
use std::net::SocketAddr;
use std::time::Duration;

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
    keys: Keys,
    sender: Sender,
    monitor: Box<Monitor>,
    secret: Option<Box<Secret>>,
    /// At what rate it speaks and hears: its room's, or its codec's own.
    rate: Rate,
    /// The rate of its codec's sound, and what brings that to `rate`.
    own_rate: Rate,
    inward: Option<Box<Resampler>>,
    /// Where the settings ask for them.
    denoiser: Option<Box<Denoiser>>,
    auto_gain: Option<AutoGain>,
    encoder: Encoder,
    /// Where they take silence described.
    teller: Option<Box<Teller>>,
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
    /// Its own track in the recording of its room.
    pub tap: Option<Tap>,
    gate: Gate,
    talk: Talk,
    limiter: Limiter,
    /// The last sample that it heard, and what that was made of: (room, prompt).
    last: i16,
    heard: (Option<usize>, bool),
    /// What it hears is made of something else than a tick ago.
    seam: bool,
    foreign: u64,
    /// What had been counted when it was handed over.
    past: Option<Box<(Stats, Past)>>,
    last_packet: Option<Mono>,
    /// Since when it has been silent, and whether the owner knows.
    silent_since: Mono,
    silent: bool,
    /// The addresses that were signalled, for RTP and RTCP, if another one was learnt in their place; until when one may be,
    /// and which may become it.
    signalled: (SocketAddr, SocketAddr),
    learns_until: Mono,
    candidate: Option<Candidate>,
    /// A packet came since its address was agreed on; nothing came, or nothing of ours arrives, and the owner knows.
    came: bool,
    told_one_way: (bool, bool),
}

/// The time in which a source is learnt, where the carrier asks for it, as long as the one that was signalled is silent: a
/// stranger would have to hit the port in just these seconds, with a stream that is theirs in every respect, and is heard no more
/// once the signalled one speaks.
const LEARNING: Duration = Duration::from_secs(5);
/// The packets of a stream, one behind the other, with which it has proven itself; the last of them is the first that is heard.
const PROVEN: u8 = 5;
/// A network loses no more than this between two packets of the same stream.
const STRIDE_MOST: u16 = 10;
/// Nobody else has a try before a candidate has been silent for so long.
const PATIENCE: Duration = Duration::from_millis(200);

/// A source that nobody signalled, and that sounds like theirs.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    from: SocketAddr,
    ssrc: u32,
    sequence: u16,
    packets: u8,
    last: Mono,
}

impl Candidate {
    /// With one packet more: it goes on, begins anew, or stands in the way of another.
    fn heard(self, next: Candidate) -> Candidate {
        let stride = next.sequence.wrapping_sub(self.sequence);
        match (self.from == next.from, next.ssrc == self.ssrc && (1..=STRIDE_MOST).contains(&stride)) {
            (true, true) => Candidate { packets: self.packets.saturating_add(1), ..next },
            (false, _) if next.last.since(self.last) < PATIENCE => self,
            // It begins anew, and stands in nobody's way for that.
            (true, false) => Candidate { last: self.last, ..next },
            (false, _) => next,
        }
    }
}

/// The longest packet that is opened: what is longer is no sound.
const PACKET_MOST: usize = 1_500;

/// The sound of a tick without its keys and, where that is wanted, without its noise; the key that was pressed.
fn hear(
    receiver: &mut Receiver,
    keys: &mut Keys,
    denoiser: Option<&mut Denoiser>,
    (now, tones): (Mono, bool),
    frame: &mut [i16],
) -> Option<char> {
    receiver.frame(frame);
    let key = keys.listen(now, frame, tones);
    if let Some(denoiser) = denoiser {
        denoiser.run(frame);
    }
    key
}

fn denoiser(config: &Config, rate: Rate) -> Option<Box<Denoiser>> {
    config.noise_suppression.then(|| Box::new(Denoiser::new(rate)))
}

fn teller(plan: &Plan, rate: Rate) -> Option<Box<Teller>> {
    plan.comfort_noise.map(|_| Box::new(Teller::new(rate.hz())))
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
    pub fn new(id: StreamId, plan: Plan, sender: Sender, config: &Config, now: Mono, seed: u128) -> Stream {
        let rate = config.rate_of(plan.codec);
        let monitor = Box::new(Monitor::new(now, sender.ssrc(), seed));
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
            keys: Keys::new(rate),
            sender,
            monitor,
            secret: None,
            rate,
            own_rate: rate,
            inward: None,
            denoiser: denoiser(config, rate),
            auto_gain: config.automatic_gain.then(AutoGain::default),
            encoder: Encoder::new(plan.codec, rate, Settings::default()),
            teller: teller(&plan, rate),
            alike: 0,
            voice: [0; TICK_MOST],
            last_voice: 0,
            retuned: false,
            level: 0,
            loud: false,
            speaks: false,
            tap: None,
            gate: Gate::default(),
            talk: Talk::default(),
            limiter: Limiter::default(),
            last: 0,
            heard: (None, false),
            seam: false,
            foreign: 0,
            past: None,
            last_packet: None,
            silent_since: now,
            silent: false,
            signalled: (plan.remote, plan.rtcp),
            learns_until: now + LEARNING,
            candidate: None,
            came: false,
            told_one_way: (false, false),
        }
    }

    /// Keys that are known already go on where they are: beginning anew would use numbers twice.
    pub fn secure(&mut self, secret: Option<Box<Secret>>) {
        let before = std::mem::replace(&mut self.secret, secret);
        let (before, secret) = (before.as_deref(), self.secret.as_deref());
        if before.map(|secret| &secret.ours) != secret.map(|secret| &secret.ours) {
            self.sender.secure(secret.map(|secret| Box::new(Protector::new(&secret.ours))));
        }
        if before.map(|secret| &secret.theirs) != secret.map(|secret| &secret.theirs) {
            self.monitor.secure(secret.map(|secret| Box::new(Opener::new(&secret.theirs))));
        }
    }

    /// What a re-INVITE agreed on. Its room is told of another codec by the engine.
    pub fn change(&mut self, now: Mono, mut plan: Plan, config: &Config) {
        if plan.remote == self.signalled.0 && plan.learns {
            // Nothing new was said of the address: what was learnt holds.
            (plan.remote, plan.rtcp) = (self.plan.remote, self.plan.rtcp);
            // Who begins to be spoken to, as whoever was only listened to before they picked up, may be behind another address,
            // which answers no sooner than now.
            if !sends(self.plan.direction) && sends(plan.direction) {
                (self.learns_until, self.candidate, self.came) = (now + LEARNING, None, false);
            }
        } else {
            (self.signalled, self.learns_until) = ((plan.remote, plan.rtcp), now + LEARNING);
            self.candidate = None;
        }
        let before = std::mem::replace(&mut self.plan, plan);
        let way = |plan: &Plan| (plan.remote, plan.codec, plan.payload_type);
        if way(&before) != way(&plan) {
            self.receiver.change(config, plan.codec);
            self.keys.change(config.rate_of(plan.codec));
        }
        self.sender.change(&plan);
        if before.comfort_noise != plan.comfort_noise {
            self.teller = teller(&plan, self.rate);
        }
        if before.codec != plan.codec {
            self.own_rate = config.rate_of(plan.codec);
            self.denoiser = denoiser(config, self.own_rate);
            self.tune(if self.room.is_some() { self.rate } else { self.own_rate });
        }
        // Off hold they get the whole patience anew.
        if before.direction != plan.direction {
            self.silent_since = now;
        }
        if before.remote != plan.remote {
            self.monitor.forget();
            (self.came, self.told_one_way) = (false, (false, false));
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
        self.teller = teller(&self.plan, rate);
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
        let is_known = from.port() == self.plan.remote.port() && from.ip() == self.plan.remote.ip();
        if !is_known && !self.may_be_theirs(now, from) {
            self.foreign += 1;
            return;
        }
        if self.plan.mux && is_rtcp(datagram) {
            // No source is learnt from reports.
            return if is_known {
                self.report(now, datagram, told)
            };
        }
        let mut room = [0; PACKET_MOST];
        let Some(packet) = self.opened(datagram, &mut room) else { return };
        if !is_known && !self.is_proven(now, from, packet) {
            self.foreign += 1;
            return;
        }
        let got = self.receiver.take(now, &self.plan, packet);
        if got == Got::Nothing {
            return;
        }
        if !is_known {
            self.learn(from);
        }
        self.came = true;
        self.live(now, told);
        if let Got::Key(key) = got {
            self.press(now, Source::Event, key, told);
        }
    }

    /// A key was told in one of its ways.
    pub fn press(&mut self, now: Mono, source: Source, key: char, told: &mut Told) {
        if let Some(key) = self.keys.told(now, source, key) {
            self.pressed(now, key, told);
        }
    }

    fn pressed(&mut self, now: Mono, key: char, told: &mut Told) {
        told.tell(Event::Digit { stream: self.id, key, at: now });
        let target = Target::Stream(self.id);
        self.player.barge(|play| told.ended(target, play, false));
    }

    /// Where another source may be learnt: the signalled one, which is silent until now, can still be it.
    fn may_be_theirs(&self, now: Mono, from: SocketAddr) -> bool {
        self.plan.learns && (from == self.signalled.0 || !self.came && now < self.learns_until)
    }

    /// What was signalled needs no proof.
    fn is_proven(&mut self, now: Mono, from: SocketAddr, packet: &[u8]) -> bool {
        if from == self.signalled.0 {
            return true;
        }
        let Some(packet) = Packet::parse(packet).filter(|packet| packet.payload_type == self.plan.payload_in) else {
            return false;
        };
        let next = Candidate { from, ssrc: packet.ssrc, sequence: packet.sequence, packets: 1, last: now };
        let candidate = self.candidate.map_or(next, |before| before.heard(next));
        self.candidate = Some(candidate);
        candidate.from == from && candidate.packets >= PROVEN
    }

    /// They are somewhere else than they said, behind a translator of addresses: RTCP is beside, as far as is known. Or they speak
    /// from where they said after all.
    fn learn(&mut self, from: SocketAddr) {
        let rtcp = if self.plan.mux { from } else { super::above(from) };
        let learnt = if from == self.signalled.0 { self.signalled } else { (from, rtcp) };
        (self.plan.remote, self.plan.rtcp) = learnt;
    }

    /// What came in the open is taken as it lies; secrets are opened in `room`.
    fn opened<'a>(&mut self, datagram: &'a [u8], room: &'a mut [u8; PACKET_MOST]) -> Option<&'a [u8]> {
        if !self.monitor.is_secret() {
            return Some(datagram);
        }
        let packet = room.get_mut(..datagram.len())?;
        packet.copy_from_slice(datagram);
        self.monitor.open(packet)
    }

    /// RTCP, from where they said that it comes from.
    pub fn receive_rtcp(&mut self, now: Mono, from: SocketAddr, datagram: &[u8], told: &mut Told) {
        if from.port() == self.plan.rtcp.port() && from.ip() == self.plan.rtcp.ip() {
            self.report(now, datagram, told);
        }
    }

    /// A report is a sign of life, whatever it says.
    fn report(&mut self, now: Mono, datagram: &[u8], told: &mut Told) {
        let mut room = [0; PACKET_MOST];
        let Some(packet) = room.get_mut(..datagram.len()) else { return };
        packet.copy_from_slice(datagram);
        if self.monitor.handle(now, packet) {
            self.live(now, told);
            self.tell_unheard(told);
        }
    }

    /// Our report, if it is due, ready to be sent to [`Plan::rtcp`]; its length.
    pub fn write_report(&mut self, now: Now, bye: bool, most_ms: u16, buffer: &mut [u8; REPORT_MOST]) -> Option<usize> {
        if !bye && !self.monitor.is_due(now.mono) {
            return None;
        }
        let quality = self.quality(most_ms, &Past::default()).unwrap_or_default();
        self.monitor.write(now, bye, &mut self.sender, &self.receiver, &quality, buffer)
    }

    fn quality(&self, most_ms: u16, past: &Past) -> Option<Quality> {
        self.monitor.quality(self.plan.codec, &self.receiver, most_ms, past)
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
        let key = match &mut self.inward {
            Some(resampler) => {
                let mut frame = [0; TICK_MOST];
                let frame = &mut frame[..self.own_rate.tick()];
                let key = hear(
                    &mut self.receiver,
                    &mut self.keys,
                    self.denoiser.as_deref_mut(),
                    (now, self.plan.tones),
                    frame,
                );
                resampler.run(frame, &mut self.voice[..tick]);
                key
            }
            None => {
                let voice = &mut self.voice[..tick];
                hear(&mut self.receiver, &mut self.keys, self.denoiser.as_deref_mut(), (now, self.plan.tones), voice)
            }
        };
        if let Some(key) = key {
            self.pressed(now, key, told);
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
        if let Some(auto) = &mut self.auto_gain {
            let voice = &mut self.voice[..tick];
            auto.tick(self.level, self.talk.on());
            auto.apply(voice);
            self.level = level(voice);
        }
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
        let missed = expected && !self.came && !self.told_one_way.0;
        if missed && now.millis_since(self.silent_since) >= u64::from(config.one_way_ms) {
            self.told_one_way.0 = told.tell(Event::OneWay { stream: self.id, missing: Missing::In });
        }
        if expected && now.millis_since(self.silent_since) >= u64::from(config.silence_ms) {
            self.silent = told.tell(Event::Silent { stream: self.id, since: self.silent_since });
        }
    }

    fn tell_unheard(&mut self, told: &mut Told) {
        let sends = matches!(self.plan.direction, Direction::SendRecv | Direction::SendOnly);
        if sends && !self.told_one_way.1 && self.monitor.is_unheard() {
            self.told_one_way.1 = told.tell(Event::OneWay { stream: self.id, missing: Missing::Out });
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

    /// What of it is in the room's sum of this tick goes to its own track as well.
    pub fn record(&mut self, room: &Room, mixed: bool) {
        if let (Some(tap), Some(reel)) = (&mut self.tap, room.reel()) {
            let voice = &self.voice[..self.rate.tick()];
            tap.push(reel, self.rate, if mixed { voice } else { &[] });
        }
    }

    /// Last part: what it hears goes to `outbox`. `mixed` says whether its own voice is in the sum.
    pub fn speak(&mut self, slot: Slot, rooms: &mut [Option<Room>], mixed: bool, outbox: &mut Outbox, told: &mut Told) {
        let room = self.listens_to().and_then(|room| rooms[room].as_mut());
        if self.is_alike()
            && let Some(room) = room
        {
            (self.last, self.limiter) = (room.last(), room.limiter());
            if self.teller.is_some() && self.sender.rest(slot, self.id, &self.plan, room.teller(), outbox) {
                return;
            }
            let line = room.line(self.plan.codec).unwrap_or_default();
            return self.sender.push(slot, self.id, &self.plan, line, outbox);
        }
        if let (None, (_, false), false, Some(line)) = (&room, self.heard, self.seam, self.silent_line()) {
            self.last = 0;
            if self.rests(slot, &[0; TICK_MOST][..self.rate.tick()], outbox) {
                return;
            }
            return self.sender.push(slot, self.id, &self.plan, line, outbox);
        }
        let mut sound = [0; TICK_MOST];
        let sound = &mut sound[..self.rate.tick()];
        self.mix(room.as_deref(), mixed, told, sound);
        if self.rests(slot, sound, outbox) {
            return;
        }
        let mut line = [0; LINE_MOST];
        let length = self.encoder.encode(sound, &mut line);
        self.sender.push(slot, self.id, &self.plan, &line[..length], outbox);
    }

    /// There is nothing but a background in what it hears of its own, and they are told so in place of it.
    fn rests(&mut self, slot: Slot, sound: &[i16], outbox: &mut Outbox) -> bool {
        let Some(teller) = &mut self.teller else { return false };
        teller.hear(sound, TICK_MS as u32);
        self.sender.rest(slot, self.id, &self.plan, teller, outbox)
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
            if let Some(teller) = &mut self.teller {
                teller.as_mut().clone_from(room.teller());
            }
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
        (self.room, self.tap) = (None, None);
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
        let mut frame = [0; TICK_MOST];
        let frame = &mut frame[..self.own_rate.tick()];
        self.receiver.farewell(frame);
        if let Some(denoiser) = &mut self.denoiser {
            denoiser.run(frame);
        }
        match &mut self.inward {
            Some(resampler) => {
                resampler.run(frame, end);
            }
            None => end.copy_from_slice(frame),
        }
        if self.gain.spoken != sum::UNITY {
            sum::amplify(end, self.gain.spoken);
        }
        if let Some(auto) = &mut self.auto_gain {
            auto.apply(end);
        }
    }

    /// The figures until now; those that come later are of the time after it.
    pub fn hand_over(&mut self, config: &Config) -> Stats {
        let stats = self.stats(config);
        self.past = Some(Box::new((self.counted(), Past::of(&self.receiver))));
        stats
    }

    pub fn stats(&self, config: &Config) -> Stats {
        match self.past.as_deref() {
            None => Stats { quality: self.quality(config.bound_ms, &Past::default()), ..self.counted() },
            Some((before, past)) => {
                Stats { quality: self.quality(config.bound_ms, past), ..self.counted().after(before) }
            }
        }
    }

    fn counted(&self) -> Stats {
        let counts = self.receiver.counts();
        Stats {
            packets_in: counts.packets,
            packets_out: self.sender.sent(),
            octets: counts.octets,
            lost: self.receiver.lost(),
            late: counts.late,
            duplicate: counts.duplicate,
            foreign: self.foreign,
            bad: counts.bad + self.monitor.bad(),
            forged: self.monitor.forged(),
            jitter_us: self.receiver.jitter_us(),
            concealed_ms: self.receiver.concealed_ms(),
            last_packet: self.last_packet,
            codec: self.plan.codec,
            quality: None,
        }
    }
}
