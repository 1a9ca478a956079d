//! What people, a bank and the clock do with money while calls run. Whoever is not answered asks again, with the same key.

use super::*;
use tollbridge::notice::{Errand, Payment, Report};
use tollbridge::store::{AlertSettings, Claim, Corrected, Correction, EndGrant, Refund, Which};

/// How often what waits outside is looked for.
const LOOK: Duration = Duration::from_secs(2);
const DAY_MS: u64 = 86_400_000;
/// A year ago a year had as many days.
const YEAR_DAYS: u64 = 365;

impl World {
    /// Does it, or, where the books did not say that they have it, later again.
    pub(super) fn deed(&mut self, order: Order) {
        let done = match order.clone() {
            Order::Pay { house, amount, key, twice, good_ms } => self.pay(house, amount, &key, twice, good_ms),
            Order::Take { house, amount, key } => self.expire() && self.take(house, amount, &key),
            Order::Refund { nth, share, key } => match self.auditor.ledger.draw_refund(&key, nth, share) {
                None => true,
                Some((leg, amount)) => return self.deed(Order::RefundOf { leg, amount, key }),
            },
            Order::RefundOf { leg, amount, key } => self.expire() && self.refund(leg, amount, &key),
            Order::Rerate { house, key } => self.expire() && self.rerate(house, &key),
            Order::Deck { deck } => self.change_deck(deck),
            Order::Give { gift } => self.give(gift),
            Order::EndGift { gift } => self.end_gift(gift),
            Order::Expire => self.expire(),
            _ => true,
        };
        if !done {
            self.after(RETRY, Due::Order(order));
        }
    }

    fn organisation(&self, house: usize) -> OrganisationId {
        self.script.houses[house].id.parse().unwrap()
    }

    fn passing(error: &StoreError) -> bool {
        assert!(error.is_passing(), "the books object: {error}");
        false
    }

    /// Money came in or went, as the books say now, or as they are found to have said.
    fn moved(&mut self, key: &str) {
        if let Some((house, amount)) = self.unclear.remove(key) {
            if amount > 0 {
                self.auditor.ledger.paid_in(house, key, amount);
            } else {
                self.auditor.ledger.taken(house, -amount);
            }
        }
    }

    fn pay(&mut self, house: usize, amount: i64, key: &str, twice: bool, good_ms: Option<u64>) -> bool {
        // A transfer whose year is over in a moment. (Dated so, a payment would have money fetched on that day a year ago.)
        let good_ms = good_ms.filter(|_| self.script.houses[house].fetching.is_none());
        let year_ago = |ms: u64| Wall::from_micros(NOON.micros() - (YEAR_DAYS * DAY_MS) as i64 * 1_000).plus_millis(ms);
        let at = good_ms.map_or(self.clock().wall, year_ago);
        self.book(house, amount, key, at, FundsKind::Funding)
            && (!twice || self.book(house, amount, key, at, FundsKind::Funding))
    }

    fn take(&mut self, house: usize, amount: i64, key: &str) -> bool {
        self.book(house, -amount, key, self.clock().wall, FundsKind::Adjustment)
    }

    fn book(&mut self, house: usize, amount: i64, key: &str, at: Wall, kind: FundsKind) -> bool {
        let funds = Funds {
            organisation: self.organisation(house),
            key: key.to_owned(),
            amount: Micros(amount),
            kind,
            memo: "simulation".into(),
            at,
        };
        let is_known = self.booked.contains(key);
        if !is_known {
            self.unclear.insert(key.to_owned(), (house, amount));
        }
        match self.try_books(async |store| store.add_credits(funds).await) {
            Some(Ok(CreditsAdded::Booked)) => {
                assert!(!is_known, "{key} is booked twice");
                self.moved(key);
            }
            Some(Ok(CreditsAdded::Repeated)) => {
                assert!(is_known || self.booked.contains(key), "{key} is a repeat of nothing");
            }
            Some(Ok(CreditsAdded::NotAvailable { available })) => {
                assert!(amount < 0 && available.0 < -amount, "{key}: {available:?} is not enough for {amount}");
                self.unclear.remove(key);
                return true;
            }
            Some(Err(error)) => return World::passing(&error),
            None => return false,
        }
        self.booked.insert(key.to_owned());
        self.balances();
        true
    }

    fn refund(&mut self, leg: LegId, amount: Option<i64>, key: &str) -> bool {
        let asked = Refund {
            leg,
            amount: amount.map(Micros),
            key: key.to_owned(),
            reason: "a bad line".into(),
            at: self.clock().wall,
        };
        match self.try_books(async |store| store.refund(asked).await) {
            Some(Ok(Corrected::Booked(correction) | Corrected::Repeated(correction))) => {
                self.trace.note(self.now, "refund", &correction);
                self.auditor.ledger.corrected(&correction);
            }
            Some(Ok(Corrected::TooMuch { left })) => self.auditor.ledger.too_much(key, left),
            Some(Err(error)) => return World::passing(&error),
            None => return false,
        }
        self.balances();
        true
    }

    fn rerate(&mut self, house: usize, key: &str) -> bool {
        let period = (NOON.micros() - 86_400_000_000, NOON.micros() + 864_000_000_000);
        let which = Which::Period {
            organisation: self.organisation(house),
            from: Wall::from_micros(period.0),
            to: Wall::from_micros(period.1),
        };
        let at = self.clock().wall;
        let asked = self.try_books(async |store| store.rerate(&which, Some((key, "other prices")), at).await);
        match asked {
            Some(Ok(told)) => self.trace.note(self.now, "rerate", &told),
            Some(Err(error)) => return World::passing(&error),
            None => return false,
        }
        self.deck_in_use();
        self.look_for_corrections();
        self.balances();
        true
    }

    fn change_deck(&mut self, deck: usize) -> bool {
        let before = std::mem::replace(&mut self.deck, deck);
        let done = self.apply(&self.bans.clone());
        if !done {
            self.deck = before;
        }
        done
    }

    /// The deck by which the books price now.
    pub(super) fn deck_in_use(&mut self) -> usize {
        let facts = self.store().facts();
        let deck = usize::from(facts.deck.version() == self.versions[1]);
        self.auditor.ledger.uses_deck(deck);
        deck
    }

    pub(super) fn give(&mut self, number: usize) -> bool {
        let (gift, at) = (&self.script.gifts[number], self.clock().wall);
        let new = NewGrant {
            id: gift.id.parse().unwrap(),
            organisation: self.organisation(gift.house),
            unit: gift.unit,
            source: gift.source,
            amount: gift.amount,
            priority: gift.priority,
            from: None,
            until: gift.good_ms.map(|ms| at.plus_millis(ms)),
            filter: tollbridge::rating::grant::Filter::default(),
            memo: "simulation".into(),
            at,
        };
        match self.try_books(async |store| store.add_grant(new).await) {
            Some(Ok(GrantAdded::Booked(_) | GrantAdded::Repeated(_))) => {
                self.given.insert(self.script.gifts[number].id.clone(), at);
                true
            }
            Some(Ok(other)) => panic!("{other:?}"),
            Some(Err(error)) => World::passing(&error),
            None => false,
        }
    }

    fn end_gift(&mut self, gift: usize) -> bool {
        let gift = &self.script.gifts[gift];
        let id: tollbridge::types::GrantId = gift.id.parse().unwrap();
        let end = EndGrant { id, organisation: self.organisation(gift.house), at: self.clock().wall };
        match self.try_books(async |store| store.end_grant(end).await) {
            Some(Ok(row)) => {
                assert_eq!(row.used + row.held + row.lapsed, row.grant.amount, "{row:?}");
                true
            }
            // It comes later than it is ended, or never.
            Some(Err(StoreError::Unknown(_))) => true,
            Some(Err(error)) => World::passing(&error),
            None => false,
        }
    }

    fn expire(&mut self) -> bool {
        let wall = self.clock().wall;
        match self.try_books(async |store| store.expire(wall).await) {
            Some(Ok(_)) => {}
            Some(Err(error)) => return World::passing(&error),
            None => return false,
        }
        self.balances();
        for house in 0..self.script.houses.len() {
            let balance = self.runtime.block_on(self.store().balance(&self.organisation(house))).expect("the books");
            self.auditor.ledger.expired(&balance, wall);
        }
        true
    }

    // ------------------------------------------------------------------------------------------------------- the payment hook

    /// As the node's notices do it: what waits is taken, and carried to the bank.
    pub(super) fn errands(&mut self) {
        self.after(LOOK, Due::Errands);
        if self.bridge.is_none() || self.script.houses.iter().all(|house| house.fetching.is_none()) {
            return;
        }
        let claim = Claim { now: self.clock().wall, letters: 0, payments: 4, house: AlertSettings::default() };
        let Some(Ok(claimed)) = self.try_books(async |store| store.claim(claim).await) else { return };
        for errand in claimed.errands {
            if let Errand::Payment(payment) = errand {
                self.carry_to_bank(&payment);
            }
        }
    }

    fn carry_to_bank(&mut self, payment: &Payment) {
        self.trace.note(self.now, "bank", payment);
        let house = self.auditor.ledger.fetches(payment);
        let key = payment.key.clone();
        let mood = if self.healed { 0 } else { self.rng.random_range(0..20) };
        let has_charged = self.auditor.ledger.has_charged(&key);
        let wait = Duration::from_millis(self.rng.random_range(0..5_000));
        let open = |world: &World| Report::Open {
            key: key.clone(),
            why: "no answer".into(),
            again: world.clock().wall.plus_millis(10_000),
        };
        // A key has one answer: who asks again (a clock that was set makes two ask at once) is given the first.
        let has_declined = self.auditor.ledger.has_declined(&key);
        let (charges, report) = match mood {
            _ if has_declined => (false, Some(Report::Declined { key: key.clone(), why: "the card".into() })),
            0..9 => (true, Some(Report::Paid { key: key.clone() })),
            // It was paid, and the answer is lost.
            9..13 => (true, Some(open(self))),
            // Nobody heard of it.
            13..16 => (false, Some(open(self))),
            // Whoever was to tell hangs.
            16..18 => (self.rng.random(), None),
            _ if has_charged => (false, Some(Report::Paid { key: key.clone() })),
            _ => (false, Some(Report::Declined { key: key.clone(), why: "the card".into() })),
        };
        if charges {
            self.auditor.ledger.charges_card(&key, house, payment.amount.0);
        }
        if let Some(Report::Declined { .. }) = report {
            self.auditor.ledger.declines(&key);
        }
        if let Some(report) = report {
            let life = self.life;
            // An answer may come twice.
            if self.rng.random_ratio(1, 5) {
                self.after(wait, Due::Report { life, report: report.clone() });
            }
            self.after(wait, Due::Report { life, report });
        }
    }

    pub(super) fn report(&mut self, report: Report) {
        let (said, wall) = (report.clone(), self.clock().wall);
        match self.try_books(async |store| store.report(said, wall).await) {
            Some(Ok(whose)) => {
                if let Report::Paid { key } = &report {
                    self.trace.note(self.now, "fetched", &(key, &whose));
                    self.auditor.ledger.fetched(key);
                    self.balances();
                }
            }
            Some(Err(error)) => {
                World::passing(&error);
                self.after(RETRY, Due::Report { life: self.life, report });
            }
            None => {}
        }
    }

    // ------------------------------------------------------------------------------------------------------------- finding out

    /// What was written and not answered is seen from what is written.
    pub(super) fn find_out(&mut self) {
        self.deck_in_use();
        self.look_for_records();
        self.look_for_corrections();
        let keys: Vec<(String, usize)> = self.unclear.iter().map(|(key, (house, _))| (key.clone(), *house)).collect();
        for (key, house) in keys {
            if self.is_booked(house, &key) {
                self.moved(&key);
                self.booked.insert(key);
            }
        }
        for (key, house) in self.auditor.ledger.on_its_way() {
            if self.is_booked(house, &key) {
                self.auditor.ledger.fetched(&key);
            }
        }
        self.balances();
    }

    fn is_booked(&self, house: usize, key: &str) -> bool {
        let entries = self.runtime.block_on(self.store().ledger(&self.organisation(house), 10_000)).expect("the books");
        entries.iter().any(|entry| entry.key == key)
    }

    fn look_for_corrections(&mut self) {
        let corrections = self.runtime.block_on(self.store().corrections(&UsageFilter::default())).expect("the books");
        let mut fresh: Vec<_> = corrections.into_iter().filter(|one| !self.auditor.ledger.knows(one)).collect();
        // As they were booked: legs priced again in the order of their ends.
        let ended = |one: &Correction| {
            self.runtime.block_on(self.store().record(one.leg)).expect("the books").beyond.stamps.ended
        };
        fresh.sort_by_cached_key(|one| (one.at, ended(one), one.leg, one.number));
        for correction in fresh {
            self.trace.note(self.now, "found", &correction);
            self.auditor.ledger.corrected(&correction);
        }
    }
}
