//! The auditor's own books of money: what came in, what each leg cost, what was given back, what a bank outside took and
//! gave. They are written from what people did and what legs talked, never from what the product has in its accounts, and
//! held against those at every step.

use crate::script::Script;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use tollbridge::clock::{Mono, Wall};
use tollbridge::notice::Payment;
use tollbridge::rating::grant::Unit;
use tollbridge::store::{Balance, Correction, CorrectionKind, LiveLeg};
use tollbridge::types::{LegId, Micros};

/// Money that came in at one time, and what is left of it. Used first in, first out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Funding {
    key: String,
    left: i64,
    expires: Wall,
}

/// What a settled leg cost, all told.
#[derive(Clone, Debug, Default)]
pub struct Bill {
    pub house: usize,
    pub charge: i64,
    /// What the last pricing made of it: refunds are not of it.
    pub price: i64,
    /// What the whole leg costs by each deck, what grants pay included; `None` where prices change nothing.
    pub by_deck: Option<[i64; 2]>,
    /// What money of grants paid, at the end and by the last pricing.
    pub granted: i64,
    pub pool_ms: i64,
    /// What each grant has paid and not had back.
    pub grants: BTreeMap<String, u64>,
    pub corrections: u32,
}

/// Refunds that were asked for, by their keys: of which leg, and how much.
type Asked = BTreeMap<String, (LegId, Option<i64>)>;

/// What the world outside knows of money that is fetched.
#[derive(Debug, Default)]
pub struct Bank {
    /// Whose, and how much, by the key: taken from a card, once a key.
    paid: BTreeMap<String, (usize, i64)>,
    declined: BTreeSet<String>,
    asked: BTreeMap<String, usize>,
    booked: BTreeSet<String>,
}

pub struct Ledger {
    script: Rc<Script>,
    posted: Vec<i64>,
    fundings: Vec<Vec<Funding>>,
    /// What came back went where the product says: believed once, and held against from then on.
    moved: Vec<bool>,
    /// When those fundings expire that were drawn from since: one that was over by then had lapsed first, and another paid.
    drawn: Vec<Vec<Wall>>,
    pub bills: BTreeMap<LegId, Bill>,
    pub pool_ms: Vec<i64>,
    /// What grants paid, by their names.
    pub given: BTreeMap<String, u64>,
    asked: Asked,
    /// The latest that the wall's clock ever showed.
    latest: Wall,
    deck: usize,
    pub bank: Bank,
    /// What was available last, and when it last grew: by a payment, or by what a leg gave back.
    available: Vec<i64>,
    eased: Vec<Vec<Mono>>,
}

impl Ledger {
    pub fn new(script: Rc<Script>) -> Ledger {
        let houses = script.houses.len();
        Ledger {
            posted: script.houses.iter().map(|house| house.credits).collect(),
            fundings: vec![Vec::new(); houses],
            moved: vec![true; houses],
            drawn: vec![Vec::new(); houses],
            bills: BTreeMap::new(),
            pool_ms: vec![0; houses],
            given: BTreeMap::new(),
            asked: Asked::new(),
            latest: Wall::from_micros(0),
            deck: 0,
            bank: Bank::default(),
            available: vec![0; houses],
            eased: vec![Vec::new(); houses],
            script,
        }
    }

    // ------------------------------------------------------------------------------------------------- what people do

    pub fn uses_deck(&mut self, deck: usize) {
        self.deck = deck;
    }

    /// Money came in under a key.
    pub fn paid_in(&mut self, house: usize, key: &str, amount: i64) {
        self.posted[house] += amount;
        // When it expires is seen when it is looked at.
        let expires = Wall::from_micros(i64::MAX);
        self.fundings[house].push(Funding { key: key.to_owned(), left: amount, expires });
    }

    /// A correction by hand took something away.
    pub fn taken(&mut self, house: usize, amount: i64) {
        self.posted[house] -= amount;
        self.take(house, amount);
    }

    fn take(&mut self, house: usize, amount: i64) {
        let mut rest = amount;
        for funding in &mut self.fundings[house] {
            let used = funding.left.min(rest);
            (funding.left, rest) = (funding.left - used, rest - used);
            if used > 0 {
                self.drawn[house].push(funding.expires);
            }
        }
        assert!(rest == 0 || self.moved[house], "{amount} are taken out of fundings that have {rest} less");
    }

    /// A leg is over: what it costs was found right.
    pub fn billed(&mut self, leg: LegId, bill: Bill) {
        self.posted[bill.house] -= bill.charge;
        self.take(bill.house, bill.charge);
        self.pool_ms[bill.house] += bill.pool_ms;
        for (grant, amount) in &bill.grants {
            *self.given.entry(grant.clone()).or_default() += amount;
        }
        self.bills.insert(leg, Bill { price: bill.charge, ..bill });
    }

    // ------------------------------------------------------------------------------------------------------- corrections

    /// The leg that a refund is drawn for, and how much of it.
    pub fn draw_refund(&mut self, key: &str, nth: usize, share: Option<i64>) -> Option<(LegId, Option<i64>)> {
        // Now and then one that has cost nothing.
        let counts =
            |bill: &Bill| nth.is_multiple_of(4) || bill.charge > 0 || bill.pool_ms > 0 || !bill.grants.is_empty();
        let legs: Vec<LegId> = self.bills.iter().filter(|(_, bill)| counts(bill)).map(|(leg, _)| *leg).collect();
        let leg = *legs.get(nth % legs.len().max(1))?;
        let bill = &self.bills[&leg];
        let amount = share.map(|share| ((bill.charge + self.money_of_grants(bill)) * share / 1_000).max(1));
        self.asked.insert(key.to_owned(), (leg, amount));
        Some((leg, amount))
    }

    /// Nothing was given back, for there is no more.
    pub fn too_much(&self, key: &str, left: Micros) {
        let (leg, amount) = self.asked[key];
        let bill = &self.bills[&leg];
        let money = bill.charge + self.money_of_grants(bill);
        assert_eq!(left.0, if amount.is_some() { money } else { 0 }, "{leg}: what is left of it");
        let nothing = bill.pool_ms == 0 && bill.grants.values().all(|amount| *amount == 0);
        assert!(amount.map_or(bill.charge == 0 && nothing, |amount| amount > money), "{leg}: {key} is refused");
    }

    /// What grants have paid in money and not had back.
    fn money_of_grants(&self, bill: &Bill) -> i64 {
        let is_money = |id: &String| self.script.gifts.iter().any(|gift| gift.id == *id && gift.unit == Unit::Money);
        let of_money = bill.grants.iter().filter(|(id, _)| is_money(id)).map(|(_, amount)| *amount);
        i64::try_from(of_money.sum::<u64>()).expect("a sum of money")
    }

    pub fn knows(&self, correction: &Correction) -> bool {
        self.bills.get(&correction.leg).is_some_and(|bill| bill.corrections >= correction.number)
    }

    /// A correction was booked: is it what was asked for, and no more than that? Each is seen once.
    pub fn corrected(&mut self, correction: &Correction) {
        if self.knows(correction) {
            return;
        }
        let deck = self.deck;
        let asked = self.asked.get(&correction.key).copied();
        let bill = self.bills.get_mut(&correction.leg).expect("a correction of a leg without a bill");
        bill.corrections += 1;
        assert_eq!(correction.number, bill.corrections, "{correction:?}");
        assert_eq!(self.script.houses[bill.house].id, correction.organisation.as_str(), "{correction:?}");
        let back: u64 = correction.grants.iter().map(|part| part.amount).sum();
        match correction.kind {
            CorrectionKind::Refund => {
                let (leg, amount) = asked.expect("a refund that nobody asked for");
                assert_eq!(leg, correction.leg, "{bill:?}");
                let whole = amount.is_none();
                assert_eq!(correction.pool_ms, if whole { -bill.pool_ms } else { 0 }, "{correction:?} {bill:?}");
                // A part is of money, and all of it comes back: to credits, or to grants that paid before them or later.
                let due = amount.map_or(bill.grants.values().sum(), |amount| {
                    u64::try_from(amount + correction.amount.0).expect("no more than was asked for")
                });
                assert_eq!(back, due, "{correction:?} {bill:?}");
                let is_money = correction.grants.iter().all(|part| !part.bucket.is_time());
                assert!(whole && correction.amount.0 == -bill.charge || !whole && is_money, "{correction:?} {bill:?}");
            }
            CorrectionKind::Rerate => {
                let whole = bill.by_deck.expect("priced again, and no price is of it")[deck];
                let granted = bill.granted.min(whole);
                let price = whole - granted;
                assert_eq!(correction.price, Some(Micros(price)), "{correction:?} {bill:?}");
                assert_eq!(correction.amount.0, (price - bill.price).max(-bill.charge), "{correction:?} {bill:?}");
                assert_eq!(correction.pool_ms, 0, "{correction:?}");
                (bill.price, bill.granted) = (price, granted);
            }
        }
        bill.charge += correction.amount.0;
        bill.pool_ms += correction.pool_ms;
        assert!(bill.charge >= 0 && bill.pool_ms >= 0, "{correction:?} {bill:?}");
        for part in &correction.grants {
            let id = part.bucket.grant().expect("a grant's part").as_str();
            let used = bill.grants.get_mut(id).expect("a grant that has paid");
            *used = used.checked_sub(part.amount).expect("no more than it has paid");
            *self.given.get_mut(id).expect("a grant that has paid") -= part.amount;
        }
        let house = bill.house;
        self.pool_ms[house] += correction.pool_ms;
        self.posted[house] -= correction.amount.0;
        if correction.amount.0 > 0 {
            self.take(house, correction.amount.0);
        } else {
            self.moved[house] |= correction.amount.0 < 0;
        }
    }

    // ---------------------------------------------------------------------------------------------------------- the bank

    /// The product asks for money: may it, and is it what was agreed?
    pub fn fetches(&mut self, payment: &Payment) -> usize {
        let is_its = |house: &crate::script::House| house.id == payment.organisation.as_str();
        let house = self.script.houses.iter().position(is_its).expect("a house of the script");
        let agreed = self.script.houses[house].fetching.expect("nobody agreed to that");
        assert_eq!(payment.amount.0, agreed.amount, "{payment:?}");
        if !self.bank.asked.contains_key(&payment.key) {
            let open = |(key, of): (&String, &usize)| {
                *of == house && !self.bank.booked.contains(key) && !self.bank.declined.contains(key)
            };
            assert!(!self.bank.asked.iter().any(open), "two attempts at once: {payment:?}");
            self.bank.asked.insert(payment.key.clone(), house);
            let tried = self.bank.asked.iter().filter(|(key, of)| **of == house && !self.bank.declined.contains(*key));
            let sum = tried.count() as i64 * agreed.amount;
            assert!(sum <= agreed.a_day, "{sum} are fetched, {} a day are agreed", agreed.a_day);
        }
        assert!(!self.bank.booked.contains(&payment.key), "asked for again, and booked: {payment:?}");
        house
    }

    /// The card is charged, once a key.
    pub fn charges_card(&mut self, key: &str, house: usize, amount: i64) {
        self.bank.paid.insert(key.to_owned(), (house, amount));
    }

    pub fn has_charged(&self, key: &str) -> bool {
        self.bank.paid.contains_key(key)
    }

    pub fn has_declined(&self, key: &str) -> bool {
        self.bank.declined.contains(key)
    }

    pub fn declines(&mut self, key: &str) {
        assert!(!self.has_charged(key));
        self.bank.declined.insert(key.to_owned());
    }

    /// Money that was fetched is in the product's books.
    pub fn fetched(&mut self, key: &str) {
        let (house, amount) = *self.bank.paid.get(key).expect("money that nobody paid");
        if self.bank.booked.insert(key.to_owned()) {
            self.paid_in(house, key, amount);
        }
    }

    /// What was charged to cards and is not in the books yet.
    pub fn on_its_way(&self) -> Vec<(String, usize)> {
        let open = self.bank.paid.iter().filter(|(key, _)| !self.bank.booked.contains(*key));
        open.map(|(key, (house, _))| (key.clone(), *house)).collect()
    }

    // ----------------------------------------------------------------------------------------------------- the comparison

    /// An account, at any step: never below zero, what was paid in less what was charged, each funding used in its turn,
    /// and nothing gone but what is over.
    pub fn compare(&mut self, house: usize, balance: &Balance, (now, wall): (Mono, Wall)) {
        let before = std::mem::replace(&mut self.available[house], balance.available.0);
        if balance.available.0 > before {
            self.eased[house].push(now);
        }
        self.latest = self.latest.max(wall);
        let name = self.script.houses[house].id.clone();
        assert!(balance.available.0 >= 0 && balance.held.0 >= 0, "{name}: {balance:?}");
        assert_eq!(balance.posted.0, balance.held.0 + balance.available.0, "{name}");
        let shown = balance.fundings.iter().filter(|row| row.remaining.0 > 0);
        let shown: Vec<Funding> =
            shown.map(|row| Funding { key: row.key.clone(), left: row.remaining.0, expires: row.expires }).collect();
        let sum: i64 = shown.iter().map(|funding| funding.left).sum();
        assert_eq!(sum, balance.posted.0, "{name}: what is left of fundings, and the account: {balance:?}");
        let drawn = std::mem::take(&mut self.drawn[house]);
        let late = drawn.iter().any(|expires| *expires <= self.latest);
        if std::mem::take(&mut self.moved[house]) || late {
            // What is over may have gone at the same step.
            let gone = self.posted[house] - sum;
            let over = gone == 0 || self.fundings[house].iter().any(|funding| funding.expires <= self.latest);
            assert!(gone >= 0 && over, "{name}: {gone} too little: {balance:?}");
            (self.posted[house], self.fundings[house]) = (sum, shown);
            return;
        }
        let mut lapsed = 0;
        for funding in &self.fundings[house] {
            let now = shown.iter().find(|row| row.key == funding.key);
            let left = now.map_or(0, |row| row.left);
            let expires = now.map_or(funding.expires, |row| row.expires);
            let gone = funding.left - left;
            let over = gone > 0 && expires <= self.latest || gone == 0;
            assert!(over, "{name}: {gone} of {} are gone, which has {}: {balance:?}", funding.key, funding.left);
            lapsed += gone;
        }
        let known = |row: &&Funding| self.fundings[house].iter().any(|funding| funding.key == row.key);
        assert!(shown.iter().all(|row| known(&row)), "{name}: money from nowhere: {balance:?}");
        self.posted[house] -= lapsed;
        assert_eq!(balance.posted.0, self.posted[house], "{name}: paid in less charged");
        self.fundings[house] = shown;
    }

    /// Whether money came free between two moments.
    pub fn was_eased(&self, house: usize, (from, to): (Mono, Mono)) -> bool {
        self.eased[house].iter().any(|at| (from..=to).contains(at))
    }

    /// What legs hold is what the account says is held.
    pub fn compare_holds(&self, balances: &[Balance], live: &[LiveLeg]) {
        for balance in balances {
            let own = live.iter().filter(|leg| leg.organisation.as_ref() == Some(&balance.organisation));
            let sum: i64 = own.map(|leg| leg.credit_held.0).sum();
            assert_eq!(sum, balance.held.0, "{}: held by {live:?}", balance.organisation);
        }
    }

    /// All that is over was to be taken back, as far as no leg holds it.
    pub fn expired(&self, balance: &Balance, wall: Wall) {
        let over = balance.fundings.iter().filter(|row| row.remaining.0 > 0 && row.expires <= wall);
        assert!(balance.available.0 == 0 || over.count() == 0, "what is over is still there: {balance:?}");
    }

    /// What was paid in, less what was charged.
    pub fn posted(&self, house: usize) -> i64 {
        self.posted[house]
    }

    pub fn pool_used(&self, house: usize) -> u64 {
        u64::try_from(self.pool_ms[house]).expect("a pool is never used less than nothing")
    }

    pub fn grant_used(&self, id: &str) -> u64 {
        self.given.get(id).copied().unwrap_or(0)
    }
}
