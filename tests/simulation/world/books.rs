//! Requests to the books: one after the other for each leg, repeated where they must be done, as the real rim does.

use super::*;
use tollbridge::rating::grant::Filter;

impl World {
    pub(super) fn store(&self) -> &Store {
        self.store.as_ref().expect("the books of a bridge that runs")
    }

    pub(super) fn apply(&mut self) {
        let deck = self.script.deck();
        let document = Document::parse("simulation.toml", &self.script.document(&self.bans), |_| Ok(deck.clone()));
        let document = document.unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let applied = self.runtime.block_on(self.store().apply(document, self.clock().wall));
        applied.expect("the books").unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let facts = self.store().facts();
        self.tell(Input::Facts(facts));
    }

    /// The grants of the script.
    pub(super) fn give(&mut self) {
        let (script, at) = (self.script.clone(), self.clock().wall);
        for gift in &script.gifts {
            let new = NewGrant {
                id: gift.id.parse().unwrap(),
                organisation: script.houses[gift.house].id.parse().unwrap(),
                unit: gift.unit,
                source: gift.source,
                amount: gift.amount,
                priority: gift.priority,
                from: None,
                until: gift.good_ms.map(|ms| at.plus_millis(ms)),
                filter: Filter::default(),
                memo: "simulation".into(),
                at,
            };
            let added = self.runtime.block_on(self.store().add_grant(new)).expect("the books");
            assert!(matches!(added, GrantAdded::Booked(_)), "{added:?}");
        }
    }

    pub(super) fn top_up(&mut self, house: usize, amount: i64) {
        self.serial += 1;
        let funds = Funds {
            organisation: self.script.houses[house].id.parse().unwrap(),
            key: format!("top-up-{}", self.serial),
            amount: Micros(amount),
            kind: FundsKind::Funding,
            memo: "simulation".into(),
            at: self.clock().wall,
        };
        let added = self.runtime.block_on(self.store().add_credits(funds)).expect("the books");
        assert_eq!(added, CreditsAdded::Booked);
        self.auditor.topped_up(house, amount);
        self.balances();
    }

    pub(super) fn balances(&mut self) {
        for (at, house) in self.script.houses.iter().enumerate() {
            let balance = self.runtime.block_on(self.store().balance(&house.id.parse().unwrap())).expect("the books");
            self.auditor.balance(at, &balance);
        }
    }

    /// What is forbidden from now on, or no longer; the file says it.
    pub(super) fn ban(&mut self, house: usize, ban: Ban, on: bool) {
        if on {
            self.bans.insert((house, ban));
        } else {
            self.bans.remove(&(house, ban));
        }
        self.auditor.banned(self.now, &self.bans);
        self.apply();
    }

    /// As the page does it: the switchboard says how its legs stand, the books close them, the switchboard ends them.
    pub(super) fn revoke(&mut self, house: usize, dial_out: bool, lock: bool) {
        let organisation: OrganisationId = self.script.houses[house].id.parse().unwrap();
        self.ask(Ask::Ends(organisation), Why::Revoke { house, dial_out, lock });
    }

    pub(super) fn close_accounts(&mut self, ends: Vec<Settle>, (house, dial_out, lock): (usize, bool, bool)) {
        let asked = Revoke {
            organisation: self.script.houses[house].id.parse().unwrap(),
            dial_out,
            user: None,
            meeting: None,
            leg: None,
            reason: "why".into(),
            lock,
            ends: Some(ends.into_iter().map(|settle| (settle.leg, settle.end)).collect()),
            at: self.clock().wall,
        };
        let revoked = self.runtime.block_on(self.store().revoke(asked)).expect("the books");
        self.trace.note(self.now, "revoked", &revoked);
        for leg in &revoked.legs {
            let record = self.runtime.block_on(self.store().record(*leg)).expect("the books");
            let unheard = self.bridge.as_ref().is_some_and(|bridge| bridge.unheard.contains(leg));
            self.auditor.revoked(self.now, *leg, unheard);
            self.auditor.record(&record);
        }
        self.balances();
        self.ask(Ask::Revoked(revoked.legs), Why::Nothing);
        if lock {
            self.bans.insert((house, Ban::House));
            self.auditor.banned(self.now, &self.bans);
            self.tell(Input::Facts(self.store().facts()));
        }
    }

    /// Which legs may go on, asked page by page, until the books answer.
    pub(super) fn review(&mut self, legs: Vec<LegId>) {
        if !self.healed && self.rng.random_range(0..1_000) < self.script.faults {
            return self.after(RETRY, Due::Review { life: self.life, legs });
        }
        for page in legs.chunks(MOST_REVIEWED) {
            let asked = self.store().withdrawn(page, self.clock().wall);
            let withdrawn = self.runtime.block_on(asked).expect("the books");
            self.trace.note(self.now, "withdrawn", &withdrawn);
            for (leg, cause) in withdrawn {
                self.auditor.removed(leg);
                self.tell(Input::Withdrawn { leg, cause });
            }
        }
    }

    /// Requests of one leg go one after the other.
    pub(super) fn tell_books(&mut self, books: Books) {
        let leg = books.leg();
        if let Books::Open(open) = &books {
            self.auditor.opens(leg, &open.call_id);
        }
        let Some(bridge) = &mut self.bridge else { return };
        if let Books::Answered(_) = &books {
            bridge.unheard.insert(leg);
        }
        match bridge.clerk.get_mut(&leg) {
            Some(queue) => queue.push_back(books),
            None => {
                bridge.clerk.insert(leg, VecDeque::new());
                self.send_books(leg, books);
            }
        }
    }

    pub(super) fn send_books(&mut self, leg: LegId, books: Books) {
        let wait = self.books_delay();
        self.after(wait, Due::Run { life: self.life, leg, books: Box::new(books) });
    }

    pub(super) fn books_delay(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(0..=self.script.books_ms))
    }

    pub(super) fn ask_books(&mut self, leg: LegId, books: Books) {
        let down = !self.healed && self.rng.random_range(0..1_000) < self.script.faults;
        let answer = match (&books, down) {
            (Books::Answered(_) | Books::Lead(_) | Books::Settle(_), true) => {
                return self.after(RETRY, Due::Run { life: self.life, leg, books: Box::new(books) });
            }
            (Books::Reroute(_), true) => Done::Rerouted(Err(StoreError::Down("drawn".into()))),
            (_, true) => Done::Opened(Err(StoreError::Down("drawn".into()))),
            (_, false) => self.run_books(books),
        };
        if !self.bans.is_empty() && matches!(answer, Done::Opened(Ok(Opened::Granted(_)))) {
            let meeting = self.meeting_of(leg).expect("a hold that nobody pays");
            self.auditor.may_be_granted(self.now, leg, meeting.as_str());
        }
        self.trace.note(self.now, "books", &answer);
        self.balances();
        let wait = self.books_delay();
        self.after(wait, Due::Answer { life: self.life, leg, answer });
    }

    pub(super) fn run_books(&mut self, books: Books) -> Done {
        let store = self.store.as_ref().expect("the books of a bridge that runs");
        let leg = books.leg();
        let sound = |answer: Result<Opened, StoreError>| Done::Opened(Ok(answer.expect("the books object")));
        match books {
            Books::Open(open) => sound(self.runtime.block_on(store.open_leg(open))),
            Books::Name(name) => sound(self.runtime.block_on(store.name_payer(name))),
            Books::Extend(extend) => sound(self.runtime.block_on(store.extend(extend))),
            Books::Reroute(rerouted) => {
                self.runtime.block_on(store.rerouted(rerouted)).expect("the books object");
                Done::Rerouted(Ok(()))
            }
            Books::Answered(answered) => {
                self.runtime.block_on(store.answered(answered)).expect("the books object");
                if let Some(bridge) = &mut self.bridge {
                    bridge.unheard.remove(&leg);
                }
                Done::Noted
            }
            Books::Lead(leg) => {
                self.runtime.block_on(store.lead(leg)).expect("the books object");
                Done::Noted
            }
            Books::Settle(settle) => {
                match self.runtime.block_on(store.settle(settle.leg, settle.end)) {
                    Ok(record) => {
                        self.trace.note(self.now, "record", &record);
                        self.auditor.record(&record);
                    }
                    // Its first request met closed books: they never heard of it.
                    Err(StoreError::Unknown(_)) if self.script.faults > 0 => {}
                    Err(error) => panic!("the books object: {error}"),
                }
                Done::Settled
            }
        }
    }

    pub(super) fn books_answer(&mut self, leg: LegId, answer: Done) {
        let Some(bridge) = &mut self.bridge else { return };
        match bridge.clerk.get_mut(&leg).and_then(VecDeque::pop_front) {
            Some(next) => self.send_books(leg, next),
            None => drop(bridge.clerk.remove(&leg)),
        }
        match answer {
            Done::Opened(answer) => {
                match answer {
                    Ok(Opened::Granted(_)) => self.granted(leg),
                    Ok(Opened::Refused(cause)) if cause.is_withdrawal() => self.auditor.refused(leg),
                    _ => {}
                }
                self.tell(Input::Opened { leg, answer });
            }
            Done::Settled => self.tell(Input::Settled { leg }),
            Done::Rerouted(done) => self.tell(Input::Rerouted { leg, done }),
            Done::Noted => {}
        }
    }

    /// Who pays is what the journal says; whether it may say so is the auditor's to judge.
    pub(super) fn granted(&mut self, leg: LegId) {
        if let Some(meeting) = self.meeting_of(leg) {
            self.auditor.granted(leg, meeting.as_str());
        }
    }

    fn meeting_of(&self, leg: LegId) -> Option<MeetingId> {
        let live = self.runtime.block_on(self.store().live_legs()).expect("the books");
        live.into_iter().find(|live| live.leg == leg)?.meeting
    }
}
