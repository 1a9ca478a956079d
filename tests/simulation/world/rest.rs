//! The end: everybody goes, and nothing may be left.

use super::*;

impl World {
    /// The network is whole from now on, and the books are open.
    pub(super) fn heal(&mut self) {
        self.trace.note(self.now, "heal", &());
        self.healed = true;
        self.network.heal();
        self.trouble.heal();
        // What waits for a moment of the wall's clock would wait as long as it was set back.
        self.wall_step_s = self.most_ahead_s;
        self.is_aimed_at = false;
        let wait = Duration::from_millis(self.rng.random_range(0..30_000));
        self.after(wait.max(Duration::from_secs(21)), Due::Leave);
    }

    /// All are to go: by themselves, or since the bridge stops.
    pub(super) fn leave(&mut self) {
        self.nobody_is_alone();
        if self.script.stops {
            self.tell(Input::Stop);
        }
        for phone in 0..self.carriers.phones.len() {
            let line = &self.carriers.phones[phone];
            // Where the bridge stops it hangs up; but a BYE may have been lost before, for good.
            let patience = if self.script.stops && line.is_up { 60_000 } else { 0 };
            if !line.is_over {
                let wait = Duration::from_millis(patience + self.rng.random_range(0..5_000));
                let step = if line.is_up { Step::Act(Act::HangUp) } else { Step::GiveUp };
                self.after(wait, Due::Phone(phone, step));
            }
        }
    }

    /// The network has been whole for a while: whoever is up at the far side is in a call here, or was told that it is over.
    fn nobody_is_alone(&self) {
        assert!(self.bridge.is_some(), "there is no bridge");
        for phone in self.carriers.phones.iter().filter(|phone| phone.is_up && !phone.is_over) {
            self.auditor.is_not_alone(self.now, &phone.call_id);
        }
    }

    pub(super) fn is_at_rest(&self) -> bool {
        let Some(bridge) = &self.bridge else { return false };
        let calls = |endpoint: &Endpoint| endpoint.calls() + endpoint.transactions() == 0;
        self.healed
            && bridge.switchboard.is_quiet()
            && bridge.clerk.is_empty()
            && self.auditor.ledger.on_its_way().is_empty()
            && calls(&bridge.endpoint)
            && self.carriers.endpoints.iter().all(calls)
            && self.queue.values().all(|due| self.is_idle(due))
    }

    /// What waits in the queue and will change nothing.
    pub(super) fn is_idle(&self, due: &Due) -> bool {
        match due {
            Due::Second | Due::Tick | Due::Voice { .. } | Due::Quiet { .. } | Due::Rtp { .. } => true,
            Due::Phone(phone, _) | Due::Key { phone, .. } => self.carriers.phones[*phone].is_over,
            Due::Run { life, .. } | Due::Answer { life, .. } | Due::Review { life, .. } | Due::Bunch { life } => {
                *life != self.life
            }
            Due::Report { life, .. } => *life != self.life,
            Due::Pain(_) | Due::Back | Due::Errands | Due::Haunt { .. } | Due::Relapse => true,
            _ => false,
        }
    }

    pub(super) fn unrest(&self) -> String {
        let far = self.carriers.endpoints.iter().map(|e| (e.calls(), e.transactions()));
        let here = self.bridge.as_ref().map(|b| {
            let legs = (b.switchboard.legs(), b.switchboard.meetings());
            (b.endpoint.calls(), b.endpoint.transactions(), legs, b.clerk.len())
        });
        let queue: Vec<&Due> = self.queue.values().filter(|due| !self.is_idle(due)).collect();
        format!("carriers {:?}, bridge {here:?}, queue {queue:?}", far.collect::<Vec<_>>())
    }

    pub(super) fn finish(&mut self) {
        let bridge = self.bridge.take().expect("a bridge that runs at the end");
        assert_eq!((bridge.switchboard.meetings(), bridge.switchboard.deadline()), (0, None), "left over");
        assert_eq!(bridge.endpoint.alarms(), 0, "left over");
        assert_eq!((bridge.lent.len(), bridge.attached.len()), (0, 0), "ports left over");
        assert_eq!(bridge.why.len(), 0, "questions without an answer");
        if let Sound::Mixed(mixed) = &bridge.sound {
            assert!(mixed.engine.is_empty(), "streams left over");
        }
        let alarms = self.carriers.endpoints.iter().map(Endpoint::alarms);
        assert_eq!(alarms.sum::<usize>(), 0, "alarms of carriers left over");
        let (store, wall) = (self.store(), self.clock().wall);
        let differences = self.runtime.block_on(store.audit()).expect("the books");
        assert!(differences.is_empty(), "{differences:?}");
        let live = self.runtime.block_on(store.live_legs()).expect("the books");
        assert!(live.is_empty(), "{live:?}");
        let records = self.runtime.block_on(store.usage(&UsageFilter::default())).expect("the books");
        let mut pools = Vec::new();
        for house in &self.script.houses {
            let id = house.id.parse().unwrap();
            let balance = self.runtime.block_on(store.balance(&id)).expect("the books");
            assert_eq!((balance.held, balance.burn_nanos), (Micros::ZERO, 0), "{balance:?}");
            let pool = self.runtime.block_on(store.pool(&id, wall)).expect("the books");
            assert_eq!(pool.held_ms, 0, "{pool:?}");
            pools.push(pool.used_ms);
        }
        let of = |house: &crate::script::House| {
            self.runtime.block_on(store.grants(&house.id.parse().unwrap(), true)).expect("the books")
        };
        let grants: Vec<_> = self.script.houses.iter().flat_map(of).collect();
        self.auditor.finish(&records, &pools, &grants);
        self.auditor.leaders_last();
        self.balances();
        self.trace.note(self.now, "end", &records);
    }
}
