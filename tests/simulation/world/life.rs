//! How the bridge starts, dies, and starts again.

use super::*;

/// Longer than a test may take.
const FOR_EVER: Duration = Duration::from_secs(3_600);

impl World {
    pub(super) fn second(&mut self) {
        self.after(SECOND, Due::Second);
        let now = self.now;
        let near = self.script.crashes.iter().any(|(at, _)| Mono::from_millis(*at).since(now) <= 3 * SECOND);
        let near = near || self.is_aimed_at || self.relapses_at.is_some_and(|at| at >= now);
        if near || (now.nanos() / SECOND.as_nanos() as u64).is_multiple_of(PROOFS_APART) {
            self.prove_life();
        }
    }

    pub(super) fn prove_life(&mut self) {
        let Some(bridge) = &self.bridge else { return };
        let mut lives = bridge.switchboard.lives(self.now);
        lives.sort();
        self.trace.note(self.now, "lives", &lives);
        self.runtime.block_on(self.store().prove_life(lives)).expect("the proof of life");
    }

    /// Something befalls the books' database, now or soon.
    pub(super) fn suffer(&mut self, pain: Pain) {
        if self.healed {
            return;
        }
        self.trace.note(self.now, "pain", &pain);
        match pain {
            Pain::Lost { after } => self.trouble.aim(after, Blow::Fails),
            Pain::Death { after, done, down_ms } => {
                self.prove_life();
                self.is_aimed_at = true;
                self.down = Duration::from_millis(down_ms);
                self.trouble.aim(after, if done { Blow::DiesAfter } else { Blow::DiesBefore });
            }
            Pain::Out { for_ms } => {
                self.trouble.go_out();
                self.after(Duration::from_millis(for_ms), Due::Back);
            }
        }
    }

    pub(super) fn crash(&mut self, down: Duration) {
        let Some(bridge) = self.bridge.take() else { return };
        self.auditor.crashed(self.now, &bridge.unheard);
        self.trace.note(self.now, "crash", &bridge.unheard);
        self.life += 1;
        self.is_aimed_at = false;
        self.bunch.clear();
        // Who was struck in the middle of a transaction is dead for good: else it would hold the database for ever.
        if self.script.haunted && self.zombie.is_none() && !self.trouble.is_dead() {
            self.goes_on();
            return self.after(down, Due::Start);
        }
        self.store = None;
        if self.trouble.is_dead() {
            // It may have been the old life that was struck, in a transaction of its own.
            self.zombie = None;
        }
        // What the dead process had begun ends with its last connection.
        let lock = std::fs::File::open(self.folder.path().join("store.db.lock")).expect("the lock of the books");
        self.runtime.block_on(async {
            while lock.try_lock().is_err() {
                tokio::task::yield_now().await;
            }
        });
        self.after(down, Due::Start);
    }

    /// What becomes of the life that begins.
    fn relapse(&mut self) -> Relapse {
        if self.life == 0 || self.healed {
            return Relapse::Never;
        }
        let relapse = self.script.relapses.get(self.relapsed).copied().unwrap_or(Relapse::Never);
        self.relapsed += 1;
        self.trace.note(self.now, "relapse", &relapse);
        relapse
    }

    pub(super) fn open(&mut self) -> Option<Store> {
        self.trouble.begin();
        let url = format!("sqlite:{}", self.folder.path().join("store.db").display());
        // Nothing here goes by the machine's own clock, which a busy machine turns faster than the world's.
        let options = Options {
            readers: 1,
            linger: Duration::ZERO,
            patience: FOR_EVER,
            silent_after: FOR_EVER,
            ..Options::default()
        };
        let opened = self.runtime.block_on(async {
            loop {
                match Store::open(&url, options.clone()).await {
                    Err(OpenError::Held { .. }) => tokio::task::yield_now().await,
                    other => return other,
                }
            }
        });
        let dealt = self.trouble.dealt();
        self.trace.note(self.now, "opens", &dealt);
        match opened {
            Ok(store) if !self.trouble.is_dead() => Some(store),
            Ok(_) => None,
            Err(error) => {
                assert!(!matches!(error, OpenError::Unreadable(_)), "{error}");
                assert!(self.script.is_troubled() || self.relapsed > 0, "{error}");
                None
            }
        }
    }

    /// What an earlier life left open, settled; `None` where the start failed.
    fn recover(&mut self) -> Option<(Store, Vec<Orphan>)> {
        let store = self.open()?;
        let wall = self.clock().wall;
        let orphans = self.runtime.block_on(store.recover(wall));
        self.trouble.dealt();
        match orphans {
            Ok(orphans) if !self.trouble.is_dead() => Some((store, orphans)),
            Ok(_) => None,
            Err(error) => {
                assert!(error.is_passing() || self.trouble.is_dead(), "{error}");
                None
            }
        }
    }

    /// As a node starts: the books of the last life first, then BYE to its dialogs, then calls.
    pub(super) fn start(&mut self) {
        let relapse = self.relapse();
        if let Relapse::Starting { after, done } = relapse {
            self.trouble.aim(after, if done { Blow::DiesAfter } else { Blow::DiesBefore });
        }
        let recovered = self.recover();
        if matches!(relapse, Relapse::Starting { .. }) {
            self.trouble.miss();
        }
        let Some((store, orphans)) = recovered.filter(|_| relapse != Relapse::Silent) else {
            return self.after(SECOND, Due::Start);
        };
        let now = self.clock();
        let seed = self.script.seed * 64 + u64::from(self.life);
        let mut endpoint = endpoint(seed ^ 0xb41d_6e00_0000, true);
        self.trace.note(self.now, "orphans", &orphans);
        let burials: Vec<(Call, LegId)> = (0..).map(Call::past).zip(orphans.iter().map(|orphan| orphan.leg)).collect();
        for ((call, _), orphan) in burials.iter().zip(&orphans) {
            let record = self.runtime.block_on(store.record(orphan.leg)).expect("the books");
            // Given again where it was not written that they are buried.
            if self.mourned.insert(orphan.leg) {
                self.auditor.record(&record);
            }
            let reason =
                Some(Reason { q850: Some(Cause::NodeDied.q850()), sip: None, text: Cause::NodeDied.words().into() });
            endpoint.command(
                now.mono,
                Command::Bury { call: *call, journal: orphan.journal.clone(), reason, login: None, tls_name: None },
            );
        }
        let mut bytes = [3; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let mut config = config();
        if let Some(Fault::Set(wrongly)) = self.fault {
            wrongly(&mut config);
        }
        let mut switchboard = Switchboard::new(config, store.facts(), Arc::new(Sounds::silent()), bytes);
        switchboard.owes(burials);
        let sound = match self.script.mixed {
            true => Sound::Mixed(Box::new(Mixed::new(seed))),
            false => Sound::Told(Voices::new(seed)),
        };
        self.store = Some(store);
        self.bridge = Some(Bridge {
            endpoint,
            switchboard,
            sound,
            ports: Ports::new(10_000..=10_199, seed),
            lent: BTreeMap::new(),
            attached: BTreeMap::new(),
            clerk: BTreeMap::new(),
            unheard: BTreeSet::new(),
            why: BTreeMap::new(),
        });
        if self.life > 0 {
            self.find_out();
            (0..self.script.houses.len()).for_each(|house| self.locked(house));
        }
        if let Relapse::Soon { after_ms } = relapse {
            let after = Duration::from_millis(after_ms);
            self.relapses_at = Some(self.now + after);
            self.after(after, Due::Relapse);
        }
    }
}

/// As a node sets it.
fn config() -> Config {
    let here = (bridge_address(), bridge_address());
    Config {
        leg: leg::Config::default(),
        lobby: LobbyConfig::default(),
        meeting: meeting::Config { keypad_calls: true, ..meeting::Config::default() },
        keys: KeyMap::default(),
        number_keys: BTreeMap::new(),
        guard: GuardConfig::default(),
        patterns: PatternConfig::default(),
        codecs: vec![Codec::Pcma, Codec::Pcmu],
        comfort_noise: true,
        recording: None,
        ring_ms: 60_000,
        sound: here.0.ip().into(),
        locals: vec![sip::Local { transport: sip::Transport::Udp, bound: here.0, contact: here.1 }],
        retry_after_s: 5,
        masking: tollbridge::rating::report::Masking::default(),
    }
}
