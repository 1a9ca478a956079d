//! Requests to the books: one after the other for each leg, repeated where they must be done, as the real rim does.

use super::*;
use tollbridge::store::{Extend, NamePayer};

impl World {
    pub(super) fn store(&self) -> &Store {
        self.store.as_ref().expect("the books of a bridge that runs")
    }

    /// Asks the books for what they write; `None` where the node died over it.
    pub(super) fn try_books<T>(
        &mut self,
        ask: impl AsyncFnOnce(Store) -> Result<T, StoreError>,
    ) -> Option<Result<T, StoreError>> {
        let answer = self.runtime.block_on(ask(self.store().clone()));
        let dealt = self.trouble.dealt();
        if !dealt.is_empty() {
            self.trace.note(self.now, "blow", &dealt);
        }
        if self.trouble.is_dead() {
            let down = std::mem::take(&mut self.down);
            self.crash(down);
            return None;
        }
        if let Err(error) = &answer {
            assert!(!matches!(error, StoreError::Broken(_)), "{error}, after {dealt:?}");
            if error.is_passing() {
                self.find_out();
            }
        }
        Some(answer)
    }

    /// Brings the file in: whether the books took it.
    pub(super) fn apply(&mut self, bans: &Bans) -> bool {
        let deck = self.script.deck(self.deck);
        let document = Document::parse("simulation.toml", &self.script.document(bans), |_| Ok(deck.clone()));
        let document = document.unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let wall = self.clock().wall;
        let Some(applied) = self.try_books(async |store| store.apply(document, wall).await) else { return false };
        match applied {
            Ok(applied) => drop(applied.unwrap_or_else(|mistakes| panic!("{mistakes:?}"))),
            Err(error) => {
                assert!(error.is_passing(), "{error}");
                return false;
            }
        }
        let facts = self.store().facts();
        self.tell(Input::Facts(facts));
        true
    }

    /// Accounts, pools and grants, as they are and as they must be.
    pub(super) fn balances(&mut self) {
        let (script, wall) = (self.script.clone(), self.clock().wall);
        let mut balances = Vec::new();
        let live = self.runtime.block_on(self.store().live_legs()).expect("the books");
        let slice = self.slice.take();
        for (at, house) in script.houses.iter().enumerate() {
            let id = house.id.parse().unwrap();
            let balance = self.runtime.block_on(self.store().balance(&id)).expect("the books");
            self.auditor.ledger.compare(at, &balance, (self.now, wall));
            balances.push(balance);
            let legs = live.iter().filter(|live| live.organisation.as_ref() == Some(&id)).cloned().collect();
            let mut purse = Purse { legs, ..Purse::default() };
            if house.per_user {
                let pool = self.runtime.block_on(self.store().pool(&id, NOON)).expect("the books");
                assert_eq!(pool.used_ms, self.auditor.ledger.pool_used(at), "{}: its pool", house.id);
                assert!(pool.used_ms + pool.held_ms <= pool.granted_ms, "{pool:?}");
                purse.pool_held = pool.held_ms;
            }
            if script.gifts.iter().any(|gift| gift.house == at) {
                for row in self.runtime.block_on(self.store().grants(&id, true)).expect("the books") {
                    let used = self.auditor.ledger.grant_used(row.grant.id.as_str());
                    assert_eq!(row.used, used, "{row:?}");
                    assert!(row.used + row.held + row.lapsed <= row.grant.amount, "{row:?}");
                    let id = row.grant.id.to_string();
                    if let Some(from) = self.given.get(&id).filter(|_| row.lapsed == 0) {
                        purse.grants.insert(id, (row.held, *from));
                    }
                }
            }
            let asked = slice.filter(|asked| purse.legs.iter().any(|live| live.leg == asked.leg));
            self.auditor.purse(at, purse, asked, (wall, NOON));
        }
        self.auditor.ledger.compare_holds(&balances, &live);
    }

    /// What is forbidden from now on, or no longer; the file says it, as often as it must.
    pub(super) fn ban(&mut self, house: usize, ban: Ban, on: bool) {
        let mut bans = self.bans.clone();
        if on {
            self.auditor.may_ban(ban);
            bans.insert((house, ban));
        } else {
            bans.remove(&(house, ban));
        }
        if self.apply(&bans) {
            self.bans = bans;
            self.auditor.banned(self.now, &self.bans);
        } else {
            self.after(RETRY, Due::Order(Order::Ban { house, ban, on }));
        }
    }

    /// As the page does it: the switchboard says how its legs stand, the books close them, the switchboard ends them.
    pub(super) fn revoke(&mut self, (house, dial_out, lock): (usize, bool, bool), lost: bool) {
        let organisation: OrganisationId = self.script.houses[house].id.parse().unwrap();
        self.ask(Ask::Ends(organisation), Why::Revoke { house, dial_out, lock, lost });
    }

    pub(super) fn close_accounts(&mut self, ends: Vec<Settle>, which: (usize, bool, bool), lost: bool) {
        let (house, dial_out, lock) = which;
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
        self.cut_off.extend(asked.ends.iter().flatten().map(|(leg, _)| *leg));
        self.auditor.may_ban(Ban::House);
        let lost = lost && !self.healed;
        if lost {
            self.trouble.aim_at_commit_of("INSERT INTO trail", Blow::Fails);
        }
        let mut revoked = self.try_books(async |store| store.revoke(asked.clone()).await);
        if revoked.as_ref().is_some_and(|told| told.as_ref().is_err_and(StoreError::is_passing)) {
            self.trace.note(self.now, "not answered", &revoked);
            self.ask(Ask::Review, Why::Nothing);
            // Now and then whoever asked has gone.
            if self.rng.random() {
                return self.after(RETRY, Due::Order(Order::Revoke { house, dial_out, lock, lost: false }));
            }
            revoked = self.try_books(async |store| store.revoke(asked).await);
        }
        self.trace.note(self.now, "revoked", &revoked);
        match revoked {
            Some(Ok(revoked)) => {
                for leg in &revoked.legs {
                    self.closed(*leg);
                }
                self.balances();
                self.ask(Ask::Revoked(revoked.legs), Why::Nothing);
                self.locked(house);
                self.tell(Input::Facts(self.store().facts()));
            }
            // Whoever asked is told so, and asks again; what was done meanwhile is seen from the records.
            Some(Err(error)) => {
                assert!(error.is_passing(), "{error}");
                self.after(RETRY, Due::Order(Order::Revoke { house, dial_out, lock, lost: false }));
            }
            None => {}
        }
    }

    /// The books closed a leg's account by themselves.
    fn closed(&mut self, leg: LegId) {
        let record = self.runtime.block_on(self.store().record(leg)).expect("the books");
        let unheard = self.bridge.as_ref().is_some_and(|bridge| bridge.unheard.contains(&leg));
        self.auditor.revoked(self.now, leg, unheard);
        self.auditor.record(&record);
    }

    /// A house may be locked now.
    pub(super) fn locked(&mut self, house: usize) {
        let id: OrganisationId = self.script.houses[house].id.parse().unwrap();
        if self.store().facts().organisations[&id].locked.is_some() && self.bans.insert((house, Ban::House)) {
            self.auditor.banned(self.now, &self.bans);
        }
    }

    /// Legs that were settled, and nobody was told.
    pub(super) fn look_for_records(&mut self) {
        let records = self.runtime.block_on(self.store().usage(&UsageFilter::default())).expect("the books");
        for record in records {
            if !self.auditor.knows(record.usage_id) {
                self.trace.note(self.now, "found", &record);
                if record.beyond.cause == Cause::Revoked && self.cut_off.contains(&record.usage_id) {
                    self.auditor.cut_off(self.now, record.usage_id);
                }
                self.auditor.record(&record);
            }
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
            self.auditor.opens(leg, &open.call_id, (open.call_type, open.number.to_string()));
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
            (Books::Answered(_) | Books::Lead(_) | Books::Settle(_) | Books::Buried(_), true) => {
                return self.after(RETRY, Due::Run { life: self.life, leg, books: Box::new(books) });
            }
            (Books::Reroute(_), true) => Done::Rerouted(Err(StoreError::Down("drawn".into()))),
            (_, true) => Done::Opened(Err(StoreError::Down("drawn".into()))),
            (_, false) => {
                if self.bunch.is_empty() {
                    self.after(Duration::from_millis(self.script.bunch_ms), Due::Bunch { life: self.life });
                }
                return self.bunch.push(books);
            }
        };
        self.send_answer(leg, answer);
    }

    fn send_answer(&mut self, leg: LegId, answer: Done) {
        self.trace.note(self.now, "books", &answer);
        let wait = self.books_delay();
        self.after(wait, Due::Answer { life: self.life, leg, answer });
    }

    /// All that came together is asked together.
    pub(super) fn ask_together(&mut self) {
        let bunch = std::mem::take(&mut self.bunch);
        let asked = bunch.clone();
        let replies = self.try_books(async |store| {
            let mut replies = Vec::new();
            for books in asked {
                let store = store.clone();
                replies.push(tokio::spawn(async move { perform(&store, books).await }));
            }
            let mut all = Vec::new();
            for reply in replies {
                all.push(reply.await.expect("no request panics"));
            }
            Ok(all)
        });
        let Some(Ok(replies)) = replies else { return };
        if replies.iter().any(|reply| reply.fault().is_some_and(StoreError::is_passing)) {
            for books in &bunch {
                self.vague.insert(books.leg());
            }
            self.find_out();
        }
        let deck = self.deck_in_use();
        for (books, reply) in bunch.iter().zip(&replies) {
            if matches!(books, Books::Open(_) | Books::Name(_)) {
                let is_sure =
                    matches!(reply, Reply::Opened(Ok(Opened::Granted(_)))) && !self.vague.contains(&books.leg());
                self.auditor.priced(books.leg(), deck, is_sure);
            }
        }
        let alone = bunch.len() == 1;
        for (books, reply) in bunch.iter().zip(&replies) {
            let Reply::Opened(answer) = reply else { continue };
            let leg = books.leg();
            let asked = match books {
                Books::Open(open) => Asked { leg, at: open.invited, elapsed_ms: 0, is_first: true, is_late: false },
                // Its first slice begins with the answer, and is paid by what was good then.
                Books::Name(NamePayer { elapsed_ms, now, .. }) => {
                    let at = Wall::from_micros(now.micros() - *elapsed_ms as i64 * 1_000);
                    Asked { leg, at, elapsed_ms: *elapsed_ms, is_first: true, is_late: true }
                }
                Books::Extend(Extend { elapsed_ms, now, .. }) => {
                    Asked { leg, at: *now, elapsed_ms: *elapsed_ms, is_first: false, is_late: false }
                }
                _ => continue,
            };
            // By when it is told of such a slice, and has asked for the next, that is over.
            if let Ok(Opened::Granted(grant)) = answer
                && asked.is_late
                && grant.until_ms.saturating_sub(asked.elapsed_ms) < 2 * self.script.wait_ms()
            {
                self.auditor.briefly(leg);
            }
            let is_clear = alone && answer.is_ok() && !self.vague.contains(&leg);
            if !is_clear {
                self.auditor.slices.lose_sight(leg);
            } else if matches!(answer, Ok(Opened::Granted(_))) {
                self.slice = Some(asked);
            }
        }
        for (books, reply) in bunch.into_iter().zip(replies) {
            let leg = books.leg();
            if let Some(answer) = self.heard(leg, books, reply) {
                self.send_answer(leg, answer);
            }
        }
        self.balances();
    }

    /// What a reply comes to; `None` where it is asked again.
    fn heard(&mut self, leg: LegId, books: Books, reply: Reply) -> Option<Done> {
        if let Some(error) = reply.fault() {
            let known = error.is_passing() || self.vague.contains(&leg);
            let unheard_of = self.script.faults > 0 && matches!(error, StoreError::Unknown(_));
            assert!(known || unheard_of, "{:?}: {leg}: the books object: {error}", self.now);
            let insists = matches!(books, Books::Answered(_) | Books::Lead(_) | Books::Settle(_) | Books::Buried(_));
            if error.is_passing() && insists {
                self.after(RETRY, Due::Run { life: self.life, leg, books: Box::new(books) });
                return None;
            }
        }
        Some(match reply {
            Reply::Opened(answer) => {
                if !self.bans.is_empty() && matches!(answer, Ok(Opened::Granted(_))) {
                    let meeting = self.meeting_of(leg).expect("a hold that nobody pays");
                    self.auditor.may_be_granted(self.now, leg, meeting.as_str());
                }
                Done::Opened(answer)
            }
            Reply::Rerouted(answer) => Done::Rerouted(answer),
            Reply::Noted(_) => {
                if let (Some(bridge), Books::Answered(_)) = (&mut self.bridge, &books) {
                    bridge.unheard.remove(&leg);
                }
                if let Books::Lead(_) = &books {
                    self.auditor.leads(self.now, leg);
                }
                match books {
                    Books::Answered(_) => Done::Journaled,
                    _ => Done::Noted,
                }
            }
            Reply::Settled(record) => {
                if let Ok(record) = *record {
                    self.trace.note(self.now, "record", &record);
                    self.auditor.record(&record);
                }
                Done::Settled
            }
        })
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
            Done::Journaled => self.tell(Input::Journaled { leg }),
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

/// What the books said.
#[derive(Debug)]
enum Reply {
    Opened(Result<Opened, StoreError>),
    Rerouted(Result<(), StoreError>),
    Noted(Result<(), StoreError>),
    Settled(Box<Result<UsageRecord, StoreError>>),
}

impl Reply {
    fn fault(&self) -> Option<&StoreError> {
        match self {
            Reply::Opened(answer) => answer.as_ref().err(),
            Reply::Rerouted(answer) | Reply::Noted(answer) => answer.as_ref().err(),
            Reply::Settled(answer) => answer.as_ref().as_ref().err(),
        }
    }
}

async fn perform(store: &Store, books: Books) -> Reply {
    match books {
        Books::Open(open) => Reply::Opened(store.open_leg(open).await),
        Books::Name(name) => Reply::Opened(store.name_payer(name).await),
        Books::Extend(extend) => Reply::Opened(store.extend(extend).await),
        Books::Reroute(rerouted) => Reply::Rerouted(store.rerouted(rerouted).await),
        Books::Answered(answered) => Reply::Noted(store.answered(answered).await),
        Books::Lead(leg) => Reply::Noted(store.lead(leg).await),
        Books::Buried(leg) => Reply::Noted(store.buried(vec![leg]).await),
        Books::Settle(settle) => Reply::Settled(Box::new(store.settle(settle.leg, settle.end).await)),
    }
}
