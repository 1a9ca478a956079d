//! How the bridge starts, dies, and starts again.

use super::*;

impl World {
    pub(super) fn second(&mut self) {
        self.after(SECOND, Due::Second);
        let now = self.now;
        let Some(bridge) = &self.bridge else { return };
        let near = self.script.crashes.iter().any(|(at, _)| Mono::from_millis(*at).since(now) <= 3 * SECOND);
        if near || (now.nanos() / SECOND.as_nanos() as u64).is_multiple_of(PROOFS_APART) {
            let mut lives = bridge.switchboard.lives(now);
            lives.sort();
            self.trace.note(now, "lives", &lives);
            self.runtime.block_on(self.store().prove_life(lives)).expect("the proof of life");
        }
    }

    pub(super) fn crash(&mut self, down: Duration) {
        let Some(bridge) = self.bridge.take() else { return };
        self.auditor.crashed(self.now, &bridge.unheard);
        self.trace.note(self.now, "crash", &bridge.unheard);
        self.life += 1;
        self.store = None;
        self.after(down, Due::Start);
    }

    pub(super) fn open(&self) -> Store {
        let url = format!("sqlite:{}", self.folder.path().join("store.db").display());
        self.runtime.block_on(async {
            loop {
                match Store::open(&url, Options { readers: 1, linger: Duration::ZERO, ..Options::default() }).await {
                    Err(OpenError::Held { .. }) => tokio::task::yield_now().await,
                    other => return other.expect("the books"),
                }
            }
        })
    }

    /// As a node starts: the books of the last life first, then BYE to its dialogs, then calls.
    pub(super) fn start(&mut self) {
        let store = self.open();
        let now = self.clock();
        let seed = self.script.seed * 64 + u64::from(self.life);
        let mut endpoint = endpoint(seed ^ 0xb41d_6e00_0000);
        let orphans = self.runtime.block_on(store.recover(now.wall)).expect("the books");
        self.trace.note(self.now, "orphans", &orphans);
        for orphan in &orphans {
            let record = self.runtime.block_on(store.record(orphan.leg)).expect("the books");
            self.auditor.record(&record);
            let reason =
                Some(Reason { q850: Some(Cause::NodeDied.q850()), sip: None, text: Cause::NodeDied.words().into() });
            endpoint.command(now.mono, Command::Bury { journal: orphan.journal.clone(), reason });
        }
        let mut bytes = [3; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let switchboard = Switchboard::new(config(), store.facts(), Arc::new(Sounds::silent()), bytes);
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
            self.balances();
        }
    }
}

/// As a node sets it.
fn config() -> Config {
    let here = (bridge_address(), bridge_address());
    Config {
        leg: leg::Config::default(),
        lobby: LobbyConfig::default(),
        meeting: meeting::Config::default(),
        keys: KeyMap::default(),
        number_keys: BTreeMap::new(),
        guard: GuardConfig::default(),
        patterns: PatternConfig::default(),
        codecs: vec![Codec::Pcma, Codec::Pcmu],
        comfort_noise: true,
        recording: None,
        ring_ms: 60_000,
        udp: Some(here),
        tcp: None,
        retry_after_s: 5,
    }
}
