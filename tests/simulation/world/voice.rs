//! What is heard and keyed: phones on one side, the mixer or what stands for it on the other.

use super::*;

impl World {
    /// A phone that has just become silent will be missed.
    pub(super) fn hush(&mut self, phone: usize) {
        let Some(quiet) = self.carriers.phones[phone].quiet else { return };
        let line = &self.carriers.phones[phone];
        let Some(Bridge { sound: Sound::Told(voices), .. }) = &self.bridge else { return };
        if let Some(stream) = voices.of(line.rtp) {
            self.auditor.heard(quiet, &line.call_id);
            self.after(Duration::ZERO, Due::Quiet { life: self.life, stream, since: quiet });
        }
    }

    pub(super) fn listen(&mut self, stream: StreamId, since: Mono) {
        let now = self.now;
        let Some(Bridge { sound: Sound::Told(voices), .. }) = &mut self.bridge else { return };
        let again = voices.listen(now, stream, since);
        self.voices();
        if let Some(at) = again {
            self.after(at.since(now), Due::Quiet { life: self.life, stream, since });
        }
    }

    pub(super) fn voice(&mut self, later: Later) {
        match later {
            Later::Tell(event) => self.sounds(event),
            Later::Ends { target, serial } => {
                if let Some(Bridge { sound: Sound::Told(voices), .. }) = &mut self.bridge {
                    voices.ends(target, serial);
                }
                self.voices();
            }
        }
    }

    pub(super) fn sounds(&mut self, event: media::Event) {
        if let media::Event::Digit { stream, key, .. } = event {
            self.auditor.key(stream, key);
        }
        self.trace.note(self.now, "sound", &event);
        let is_silence = matches!(event, media::Event::Silent { .. });
        self.tell(Input::Media(event));
        // As the real rim does.
        if is_silence {
            self.prove_life();
        }
    }

    /// What the told sound will tell.
    pub(super) fn voices(&mut self) {
        let Some(Bridge { sound: Sound::Told(voices), .. }) = &mut self.bridge else { return };
        for (wait, later) in std::mem::take(&mut voices.out) {
            self.after(wait, Due::Voice { life: self.life, later });
        }
    }

    /// Fingers are slow, and not even.
    pub(super) fn dial_keys(&mut self, phone: usize, keys: &str) {
        let mut wait = Duration::ZERO;
        for key in keys.chars() {
            self.after(wait, Due::Key { phone, key });
            wait += Duration::from_millis(self.rng.random_range(120..600));
        }
    }

    pub(super) fn press(&mut self, phone: usize, key: char) {
        let line = &self.carriers.phones[phone];
        if line.is_over || line.quiet.is_some() {
            return;
        }
        let rtp = line.rtp;
        match &self.bridge {
            Some(Bridge { sound: Sound::Told(voices), .. }) => {
                if let Some(stream) = voices.of(rtp) {
                    let delay = self.network.delay();
                    let digit = media::Event::Digit { stream, key, at: self.now };
                    self.after(delay, Due::Voice { life: self.life, later: Later::Tell(digit) });
                }
            }
            _ => self.send_key(phone, key),
        }
    }

    /// A press as RFC 4733 has it: three packets while the key is down, three of its end.
    pub(super) fn send_key(&mut self, phone: usize, key: char) {
        const KEYS: &str = "0123456789*#";
        let code = KEYS.find(key).expect("a key of a phone") as u8;
        let stamp = self.stamp();
        for (number, wait_ms) in [0, 20, 40, 80, 81, 82].into_iter().enumerate() {
            let end = if number >= 3 { 0x80 } else { 0 };
            let duration = (wait_ms as u16 + 20) * 8;
            let payload = [code, end | 10, (duration >> 8) as u8, duration as u8];
            let packet = self.rtp(phone, 101, stamp, &payload);
            self.send_rtp(phone, Duration::from_millis(wait_ms), packet);
        }
    }

    pub(super) fn stamp(&self) -> u32 {
        (self.now.nanos() / 125_000) as u32
    }

    pub(super) fn rtp(&mut self, phone: usize, payload_type: u8, stamp: u32, payload: &[u8]) -> Bytes {
        let line = &mut self.carriers.phones[phone];
        line.sequence = line.sequence.wrapping_add(1);
        let mut packet = vec![0x80, payload_type];
        packet.extend(line.sequence.to_be_bytes());
        packet.extend(stamp.to_be_bytes());
        packet.extend((phone as u32 + 1).to_be_bytes());
        packet.extend(payload);
        packet.into()
    }

    pub(super) fn send_rtp(&mut self, phone: usize, wait: Duration, packet: Bytes) {
        for delay in self.network.carry(self.now, &packet) {
            self.after(wait + delay, Due::Rtp { from: phone, bytes: packet.clone() });
        }
    }

    pub(super) fn hear(&mut self, from: usize, packet: &Bytes) {
        let line = &self.carriers.phones[from];
        let Some(Bridge { sound: Sound::Mixed(mixed), .. }) = &mut self.bridge else { return };
        if let Some(port) = line.bridge
            && mixed.receive(self.now, port, line.rtp, packet)
        {
            self.auditor.heard(self.now, &line.call_id);
        }
    }

    /// One beat of the mixer.
    pub(super) fn tick(&mut self) {
        if self.is_at_rest() {
            return;
        }
        self.after(TICK, Due::Tick);
        if (self.now.nanos() / TICK.as_nanos() as u64).is_multiple_of(TICKS_A_PACKET) {
            self.talk();
        }
        let now = self.now;
        let Some(Bridge { sound: Sound::Mixed(mixed), .. }) = &mut self.bridge else { return };
        mixed.engine.tick(now);
        for packet in mixed.engine.outgoing() {
            let phone = self.carriers.phone_at(packet.to).expect("sound for nobody");
            self.trace.sound(now, phone, packet.packet);
        }
        let events: Vec<media::Event> = mixed.engine.events().collect();
        for event in events {
            self.sounds(event);
            self.settle();
        }
    }

    pub(super) fn talk(&mut self) {
        let stamp = self.stamp();
        for phone in 0..self.carriers.phones.len() {
            let line = &self.carriers.phones[phone];
            if line.bridge.is_some() && !line.is_over && line.quiet.is_none() {
                let (payload_type, silence) = match line.codec {
                    Codec::Pcma => (8, 0xd5),
                    Codec::Pcmu => (0, 0xff),
                    other => unreachable!("no telephone of ours speaks {other:?}"),
                };
                let packet = self.rtp(phone, payload_type, stamp, &[silence; 160]);
                self.send_rtp(phone, Duration::ZERO, packet);
            }
        }
    }
}
