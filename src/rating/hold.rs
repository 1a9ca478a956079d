//! Hold before use: how long a leg may talk on what is set aside for it, and what it cost in the end.
//!
//! The store calls [`Tab::next`] inside the transaction that takes the hold, and [`Tab::settle`] inside the one that
//! closes the leg. Numbers in, numbers out; nothing here knows of either.
//!
//! A leg goes through its buckets once, and forward: time of the pool, time of grants, then money of grants and credits.
//! A bucket that it has left is not entered again, whatever others give back to it; so the parts that it holds, in their
//! order, say who paid which stretch of it.

use crate::clock::Wall;
use crate::rating::grant::{Bucket, Left, Means, Part};
use crate::rating::terms::Terms;
use crate::rating::{Capability, Funding, explain, grant};
use crate::types::{Cause, GrantId, Micros};

/// A slice: what is held ahead at a time, before it is brought up to an increment's edge.
pub const SLICE_MS: u64 = 60_000;

/// The running account of one leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tab {
    pub terms: Terms,
    /// Milliseconds after the answer up to which the leg may talk.
    pub held_until_ms: u64,
    /// All that is held for the leg so far, used or not, in the order in which it is used up. Its time is the first of
    /// the call, and does not grow any more once money has begun; its money is R(C(held_until_ms)).
    pub held: Vec<Part>,
    /// The number of the next hold, from 0: the step in its idempotency key.
    pub sequence: u32,
    /// The last hold was shorter than asked, or refused: warn, and end at `held_until_ms` unless more comes.
    pub is_final: bool,
}

/// What one more hold takes, over what is held already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub sequence: u32,
    pub credit: Micros,
    pub pool_ms: u64,
    /// All of it, credits and pool too.
    pub taken: Vec<Part>,
    /// Milliseconds after the answer up to which the leg may now talk.
    pub until_ms: u64,
    /// Money or time were short: this is the longest edge that they pay.
    pub is_final: bool,
}

/// What a leg held of a grant, and used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    pub bucket: Bucket,
    /// Milliseconds or micros, as the bucket has it; the rest goes back.
    pub held: u64,
    pub used: u64,
}

/// How a leg was settled. `charge + release_credit` is what was held of credits; the pool and grants likewise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The whole debit of credits, four places, fee included: what grants paid is not in it.
    pub charge: Micros,
    /// Its part that is the connect fee.
    pub connect_fee: Micros,
    pub release_credit: Micros,
    pub pool_used_ms: u64,
    pub pool_release_ms: u64,
    /// Each grant that was held, once, in the order of use.
    pub grants: Vec<Used>,
    /// Charged time: elapsed, but never beyond what was held.
    pub charged_ms: u64,
    /// Time of the pool and grants, and increments: what was paid for.
    pub billed_ms: u64,
    /// Its part that money paid, credits' or grants'.
    pub priced_ms: u64,
    pub capability: Capability,
    /// The price, explained line by line.
    pub lines: Vec<String>,
}

impl Hold {
    /// Money of grants among it.
    pub fn granted(&self) -> Micros {
        grant::granted_money(&self.taken)
    }

    /// The money in it, whoever gave it: what limits on spending count.
    pub fn spent(&self) -> Micros {
        Micros(self.credit.0.saturating_add(self.granted().0))
    }
}

impl Settlement {
    /// What money of grants paid.
    pub fn granted(&self) -> Micros {
        grant::granted_money(&self.grants_used())
    }

    /// What money paid, whoever gave it: what limits on spending count.
    pub fn spent(&self) -> Micros {
        Micros(self.charge.0.saturating_add(self.granted().0))
    }

    /// What grants paid, those that paid nothing left out.
    pub fn grants_used(&self) -> Vec<Part> {
        let used = self.grants.iter().filter(|used| used.used > 0);
        used.map(|used| Part { bucket: used.bucket.clone(), amount: used.used }).collect()
    }
}

/// An amount of money as buckets count it.
fn micros(amount: Micros) -> u64 {
    u64::try_from(amount.0).unwrap_or(0)
}

fn money(amount: u64) -> Micros {
    Micros(i64::try_from(amount).unwrap_or(i64::MAX))
}

/// Adds to `parts`, to the last of them where it is of the same bucket.
fn put(parts: &mut Vec<Part>, bucket: &Bucket, amount: u64) {
    match parts.last_mut() {
        _ if amount == 0 => {}
        Some(last) if last.bucket == *bucket => last.amount = last.amount.saturating_add(amount),
        _ => parts.push(Part { bucket: bucket.clone(), amount }),
    }
}

fn sum_of(parts: &[Part], which: impl Fn(&Bucket) -> bool) -> u64 {
    parts.iter().filter(|part| which(&part.bucket)).fold(0, |sum, part| sum.saturating_add(part.amount))
}

impl Tab {
    /// Nothing held yet.
    pub fn new(terms: Terms) -> Tab {
        Tab { terms, held_until_ms: 0, held: Vec::new(), sequence: 0, is_final: false }
    }

    /// All credit held for the leg so far.
    pub fn credit_held(&self) -> Micros {
        money(sum_of(&self.held, |bucket| *bucket == Bucket::Credits))
    }

    /// All pool time held so far.
    pub fn pool_held_ms(&self) -> u64 {
        sum_of(&self.held, |bucket| *bucket == Bucket::Pool)
    }

    /// All time held that no money pays: the pool's and grants'.
    pub fn time_held_ms(&self) -> u64 {
        sum_of(&self.held, Bucket::is_time)
    }

    /// R(C(held_until_ms)): credits and money of grants.
    pub fn money_held(&self) -> Micros {
        money(sum_of(&self.held, |bucket| !bucket.is_time()))
    }

    /// What is held of a grant.
    pub fn grant_held(&self, id: &GrantId) -> u64 {
        sum_of(&self.held, |bucket| bucket.grant() == Some(id))
    }

    /// What pays it now.
    pub fn bucket(&self) -> Option<&Bucket> {
        self.held.last().map(|part| &part.bucket)
    }

    /// The pool pays it now.
    pub fn is_in_pool(&self) -> bool {
        self.bucket() == Some(&Bucket::Pool)
    }

    /// Money pays by now.
    pub fn is_in_money(&self) -> bool {
        self.sequence > 0 && self.terms.billable(self.held_until_ms) > self.time_held_ms()
    }

    /// Credits pay by now, or grants in their place.
    pub fn spends(&self) -> bool {
        match self.terms.funding {
            Funding::Credits => true,
            Funding::Pool { .. } => self.is_in_money() || self.held.iter().any(|part| part.bucket != Bucket::Pool),
            Funding::Included | Funding::Free => false,
        }
    }

    /// The money that it takes, over what is held, to go on until `until_ms`, no more of it paid in time.
    pub fn need(&self, until_ms: u64) -> Micros {
        if until_ms <= self.held_until_ms || self.terms.paid_tariff().is_none() {
            return Micros::ZERO;
        }
        let time = self.time_held_ms();
        let due = self.terms.amount(self.terms.edge(until_ms, time), time);
        Micros((due.0 - self.money_held().0).max(0))
    }

    /// One slice more. `means` is what others have not taken; what this leg holds is its own already. Refused with
    /// `NoCredit` where not one increment more can be paid (with `SpendLimit` where none more may be): the leg then runs
    /// to its `held_until_ms`, and may ask again after a top-up.
    pub fn next(&mut self, means: &Means, slice_ms: u64) -> Result<Hold, Cause> {
        self.cover(self.held_until_ms, means, slice_ms)
    }

    /// As [`Tab::next`], for a payer known late: the hold also pays what has elapsed, and reaches beyond it or is none.
    pub fn cover(&mut self, elapsed_ms: u64, means: &Means, slice_ms: u64) -> Result<Hold, Cause> {
        let past = elapsed_ms.max(self.held_until_ms);
        let target = past.saturating_add(slice_ms.max(1));
        let (mut taken, until) = self.reach(target, means);
        let time = self.time_held_ms() + sum_of(&taken, Bucket::is_time);
        self.is_final = until < target;
        if until <= past {
            let capped = !self.terms.is_within(past.saturating_add(1), time);
            return Err(if capped { Cause::SpendLimit } else { Cause::NoCredit });
        }
        let due = micros(self.terms.amount(until, time));
        self.pay(&mut taken, due, time, means);
        taken.iter().for_each(|part| put(&mut self.held, &part.bucket, part.amount));
        let hold = Hold {
            sequence: self.sequence,
            credit: money(sum_of(&taken, |bucket| *bucket == Bucket::Credits)),
            pool_ms: sum_of(&taken, |bucket| *bucket == Bucket::Pool),
            taken,
            until_ms: until,
            is_final: self.is_final,
        };
        self.held_until_ms = until;
        self.sequence += 1;
        Ok(hold)
    }

    /// The time that the leg then takes, and how far it then reaches towards `target`.
    fn reach(&self, target: u64, means: &Means) -> (Vec<Part>, u64) {
        let mut taken = Vec::new();
        if matches!(self.terms.funding, Funding::Included | Funding::Free) {
            return (taken, target);
        }
        let wanted = self.terms.pool_edge(self.terms.billable(target));
        let mut time = self.time_held_ms();
        for left in self.open(means, true) {
            let share =
                if left.most < left.amount { self.terms.shared_edge(&left.bucket, time, left.most) } else { u64::MAX };
            let most = self.terms.pool_floor(time.saturating_add(left.amount)).min(share);
            let good = left.until.map_or(u64::MAX, |until| self.terms.pool_edge(self.billable_until(until)));
            let to = wanted.min(most).min(good).max(time);
            put(&mut taken, &left.bucket, to - time);
            time = to;
        }
        let until = if time >= wanted { target } else { self.afford(time, target, means) };
        (taken, until)
    }

    /// The buckets of time, or of money before credits, that the leg may take from: the one that it is in, then those that
    /// it never was in.
    pub(super) fn open<'a>(&self, means: &'a Means, is_time: bool) -> Vec<&'a Left> {
        if is_time && self.is_in_money() {
            return Vec::new();
        }
        let current = self.held.iter().rev().find(|part| part.bucket.is_time() == is_time).map(|part| &part.bucket);
        let is_current = |left: &Left| Some(&left.bucket) == current;
        let is_new = |left: &Left| self.held.iter().all(|part| part.bucket != left.bucket);
        let in_pool = matches!(self.terms.funding, Funding::Pool { .. });
        let may = |left: &&Left| left.bucket.is_time() == is_time && (in_pool || left.bucket != Bucket::Pool);
        let of_kind = means.before.iter().filter(may);
        let mut open: Vec<&Left> = of_kind.filter(|left| is_current(left) || is_new(left)).collect();
        open.sort_by_key(|left| !is_current(left));
        open
    }

    /// What a bucket that is good `until` then may pay of the call: what the call would be, had it ended there.
    fn until_ms(&self, until: Wall) -> u64 {
        u64::try_from((until.micros() - self.terms.from.micros()) / 1_000).unwrap_or(0)
    }

    fn billable_until(&self, until: Wall) -> u64 {
        match self.until_ms(until) {
            0 => 0,
            ms => self.terms.billable(ms),
        }
    }

    /// Takes money up to `due` for the whole call, of which `time` is paid in time: of grants, then of credits. How much
    /// is then held.
    fn pay(&self, taken: &mut Vec<Part>, due: u64, time: u64, means: &Means) -> u64 {
        let mut held = micros(self.money_held());
        let due = means.limit.map_or(due, |limit| due.min(held.saturating_add(micros(limit))));
        if due <= held {
            return held;
        }
        for left in self.open(means, false) {
            let good = left.until.map_or(u64::MAX, |until| micros(self.terms.amount(self.until_ms(until), time)));
            let to = due.min(held.saturating_add(left.most.min(left.amount))).min(good).max(held);
            put(taken, &left.bucket, to - held);
            held = to;
        }
        let to = due.min(held.saturating_add(micros(means.available)));
        put(taken, &Bucket::Credits, to - held);
        to
    }

    /// How far towards the edge at or after `target` that money pays, with `time` milliseconds paid in time. The price is
    /// the same all through an increment, so the furthest moment that is paid is an edge; and it never falls, so halving
    /// finds it.
    fn afford(&self, time: u64, target: u64, means: &Means) -> u64 {
        if self.terms.paid_tariff().is_none() {
            return self.held_until_ms.max(self.terms.pool_end(time));
        }
        let most = self.pay(&mut Vec::new(), u64::MAX, time, means);
        let pays = |until: u64| micros(self.terms.amount(until, time)) <= most && self.terms.is_within(until, time);
        let edge = self.terms.edge(target, time);
        if pays(edge) {
            return edge;
        }
        let (mut good, mut bad) = (self.held_until_ms, edge);
        if !pays(good) {
            // A dearer row came while it rang: what is held already pays less than it did.
            return good;
        }
        while good + 1 < bad {
            let middle = good + (bad - good) / 2;
            if pays(middle) { good = middle } else { bad = middle }
        }
        good
    }

    /// The end, `elapsed_ms` after the answer; `None` for a leg whose charged time never began. Time beyond what was
    /// held is nobody's debt: a late BYE or a crash cannot charge more than was set aside. Buckets are used up in the
    /// order in which they were held, so that what was held last goes back first.
    pub fn settle(&self, elapsed_ms: Option<u64>) -> Settlement {
        let charged_ms = elapsed_ms.unwrap_or(0).min(self.held_until_ms);
        let answered = elapsed_ms.is_some() && self.sequence > 0;
        let time_held = self.time_held_ms();
        let time_used = if answered { self.terms.pooled(charged_ms, time_held) } else { 0 };
        let tariff = self.terms.paid_tariff().filter(|_| answered);
        let sum = tariff.and_then(|_| self.terms.sum(charged_ms, time_held)).unwrap_or_default();
        let amount = |exact| tariff.map_or(Micros::ZERO, |tariff| tariff.amount(exact));
        let price = amount(sum.total).min(self.money_held());
        let used = self.used(time_used, micros(price));
        let of = |bucket: &Bucket| sum_of(&used, |own| own == bucket);
        let (charge, pool_used_ms) = (money(of(&Bucket::Credits)), of(&Bucket::Pool));
        let in_credits =
            matches!(self.terms.funding, Funding::Pool { .. }) && (sum.billed_ms > 0 || time_used > pool_used_ms);
        let unpriced_ms = if self.terms.paid_tariff().is_none() { charged_ms - time_used.min(charged_ms) } else { 0 };
        let mut grants: Vec<Used> = Vec::new();
        for (part, used) in self.held.iter().zip(&used).filter(|(part, _)| part.bucket.grant().is_some()) {
            match grants.iter_mut().find(|grant| grant.bucket == part.bucket) {
                Some(grant) => {
                    grant.held = grant.held.saturating_add(part.amount);
                    grant.used = grant.used.saturating_add(used.amount);
                }
                None => {
                    grants.push(Used { bucket: part.bucket.clone(), held: part.amount, used: used.amount });
                }
            }
        }
        Settlement {
            charge,
            connect_fee: amount(sum.fee).min(charge),
            release_credit: Micros(self.credit_held().0 - charge.0),
            pool_used_ms,
            pool_release_ms: self.pool_held_ms() - pool_used_ms,
            grants,
            charged_ms,
            billed_ms: time_used + sum.billed_ms + unpriced_ms,
            priced_ms: sum.billed_ms,
            capability: if in_credits { grant::in_credits(&self.terms) } else { self.terms.capability },
            lines: explain::lines(&self.terms, elapsed_ms, charged_ms, &used, &sum, charge),
        }
    }

    /// As [`Tab::settle`], by other terms, whatever credit was held. Money of grants pays no more than `paid`, which is what
    /// it has paid: what it gave back is others'.
    pub fn settle_again(&self, terms: &Terms, paid: &[Part], elapsed_ms: Option<u64>) -> Settlement {
        let mut held: Vec<Part> = self.held.iter().filter(|part| part.bucket.is_time()).cloned().collect();
        held.extend(paid.iter().filter(|part| matches!(part.bucket, Bucket::Money(_))).cloned());
        held.push(Part { bucket: Bucket::Credits, amount: u64::MAX / 2 });
        Tab { terms: terms.clone(), held, ..self.clone() }.settle(elapsed_ms)
    }

    /// The stretches of money that a leg used, in their order.
    pub fn money_used(&self, elapsed_ms: Option<u64>) -> Vec<Part> {
        let mut used = self.used(0, micros(self.settle(elapsed_ms).spent()));
        used.retain(|part| part.amount > 0 && !part.bucket.is_time());
        used
    }

    /// Of each part held, what `time_ms` and `price` use of it.
    fn used(&self, mut time_ms: u64, mut price: u64) -> Vec<Part> {
        let used = |part: &Part| {
            let rest = if part.bucket.is_time() { &mut time_ms } else { &mut price };
            let amount = part.amount.min(*rest);
            *rest -= amount;
            Part { bucket: part.bucket.clone(), amount }
        };
        self.held.iter().map(used).collect()
    }
}

/// Where `amount` goes back to, of money that was `used` in these stretches: to what was used last first. `left` is what of
/// each bucket has not gone back yet; what of it lies beyond the stretches was used after them all, what is missing went
/// back from their end. Each bucket is told once; less than `amount` where no more is left.
pub fn back(used: &[Part], left: &[Part], amount: u64) -> Vec<Part> {
    let of = |parts: &[Part], bucket: &Bucket| sum_of(parts, |own| own == bucket);
    let beyond = |part: &&Part| part.amount > of(used, &part.bucket);
    let later = left.iter().filter(beyond).map(|part| {
        let amount = part.amount - of(used, &part.bucket);
        Part { bucket: part.bucket.clone(), amount }
    });
    let mut gone: Vec<Part> = Vec::new();
    for part in used {
        if gone.iter().all(|known| known.bucket != part.bucket) {
            let amount = of(used, &part.bucket).saturating_sub(of(left, &part.bucket));
            gone.push(Part { bucket: part.bucket.clone(), amount });
        }
    }
    let mut rest = amount;
    let mut back: Vec<Part> = Vec::new();
    for part in later.chain(used.iter().rev().cloned()) {
        let missing = gone.iter_mut().find(|gone| gone.bucket == part.bucket);
        let missing = missing.map_or(0, |gone| {
            let missing = gone.amount.min(part.amount);
            gone.amount -= missing;
            missing
        });
        let amount = (part.amount - missing).min(rest);
        rest -= amount;
        match back.iter_mut().find(|known| known.bucket == part.bucket) {
            Some(known) => known.amount += amount,
            None if amount > 0 => back.push(Part { bucket: part.bucket, amount }),
            None => {}
        }
    }
    back
}

/// What a leg of `elapsed_ms` would cost, if nothing else ran: one hold for all of it, settled. It is cut where `means`
/// end, as the leg would be.
pub fn quote(terms: &Terms, elapsed_ms: u64, means: &Means) -> Settlement {
    let mut tab = Tab::new(terms.clone());
    // Refused is an answer too: nothing is held, so nothing is charged, and the lines say so.
    let _ = tab.next(means, elapsed_ms);
    tab.settle(Some(elapsed_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tab(funding: &str, rate: &str, fee: &str, initial_ms: u64, next_ms: u64) -> Tab {
        Tab::new(Terms::sample(funding.parse().unwrap(), rate, fee, initial_ms, next_ms))
    }

    /// An account beside the tab, as the store keeps it.
    struct Purse {
        available: i64,
        pool_ms: u64,
    }

    impl Purse {
        fn hold(&mut self, tab: &mut Tab) -> Result<(u64, bool), Cause> {
            let hold = tab.next(&Means::plain(Micros(self.available), self.pool_ms), SLICE_MS)?;
            self.take(&hold);
            Ok((hold.until_ms, hold.is_final))
        }

        fn take(&mut self, hold: &Hold) {
            self.available -= hold.credit.0;
            self.pool_ms -= hold.pool_ms;
        }

        fn settle(&mut self, tab: &Tab, elapsed_ms: u64) -> Settlement {
            let settled = tab.settle(Some(elapsed_ms));
            self.available += settled.release_credit.0;
            self.pool_ms += settled.pool_release_ms;
            settled
        }
    }

    fn purse(text: &str) -> Purse {
        Purse { available: text.parse::<Micros>().unwrap().0, pool_ms: 0 }
    }

    #[test]
    fn case_22_credit_runs_out_in_mid_call() {
        let (mut money, mut minutes) = (purse("0.2500"), tab("credits", "0.10", "0", 60_000, 60_000));
        assert_eq!(money.hold(&mut minutes), Ok((60_000, false)));
        assert_eq!(money.hold(&mut minutes), Ok((120_000, false)));
        assert_eq!(money.hold(&mut minutes), Err(Cause::NoCredit));
        assert!(minutes.is_final);
        let settled = money.settle(&minutes, 120_000);
        assert_eq!((settled.charge.to_text().as_str(), money.available), ("0.2000", 50_000));

        let (mut money, mut seconds) = (purse("0.2500"), tab("credits", "0.10", "0", 1_000, 1_000));
        assert_eq!(money.hold(&mut seconds), Ok((60_000, false)));
        assert_eq!(money.hold(&mut seconds), Ok((120_000, false)));
        assert_eq!(money.hold(&mut seconds), Ok((150_000, true)));
        assert_eq!(money.hold(&mut seconds), Err(Cause::NoCredit));
        let settled = money.settle(&seconds, 150_000);
        assert_eq!((settled.charge.to_text().as_str(), money.available), ("0.2500", 0));
    }

    #[test]
    fn a_top_up_lifts_the_end() {
        let (mut money, mut leg) = (purse("0.1000"), tab("credits", "0.10", "0", 60_000, 60_000));
        money.hold(&mut leg).unwrap();
        assert_eq!(money.hold(&mut leg), Err(Cause::NoCredit));
        money.available += 500_000;
        assert_eq!(money.hold(&mut leg), Ok((120_000, false)));
        assert!(!leg.is_final);
    }

    #[test]
    fn case_23_two_legs_and_one_balance() {
        let mut money = purse("0.2500");
        let (mut one, mut two) =
            (tab("credits", "0.10", "0", 60_000, 60_000), tab("credits", "0.10", "0", 60_000, 60_000));
        assert_eq!(money.hold(&mut one), Ok((60_000, false)));
        assert_eq!(money.hold(&mut two), Ok((60_000, false)));
        assert_eq!(money.hold(&mut one), Err(Cause::NoCredit));
        assert_eq!(money.hold(&mut two), Err(Cause::NoCredit));
        let charges = [&one, &two].map(|leg| money.settle(leg, 60_000).charge.to_text());
        assert_eq!((charges, money.available), (["0.1000".to_owned(), "0.1000".to_owned()], 50_000));
    }

    #[test]
    fn case_24_a_crash_is_settled_at_the_last_proof_of_life() {
        for (step, charge, release) in [(60_000, "0.2000", "0.0000"), (1_000, "0.1333", "0.0667")] {
            let (mut money, mut leg) = (purse("1"), tab("credits", "0.10", "0", step, step));
            money.hold(&mut leg).unwrap();
            money.hold(&mut leg).unwrap();
            let settled = leg.settle(Some(80_000));
            assert_eq!((settled.charge.to_text(), settled.release_credit.to_text()), (charge.into(), release.into()));
            assert_eq!(leg.settle(Some(300_000)).charge.to_text(), "0.2000", "never more than was held");
        }
    }

    #[test]
    fn case_20_the_pool_runs_out_in_mid_call() {
        let (mut money, mut leg) = (purse("1"), tab("pool-then-credits", "0.04", "0", 60_000, 60_000));
        money.pool_ms = 150_000;
        assert_eq!(money.hold(&mut leg), Ok((60_000, false)));
        assert_eq!(money.hold(&mut leg), Ok((120_000, false)));
        assert_eq!(leg.credit_held(), Micros::ZERO);
        // 30 s of pool, then the grid anew: 150 + 60 s.
        assert_eq!(money.hold(&mut leg), Ok((210_000, false)));
        assert_eq!((leg.pool_held_ms(), leg.credit_held().to_text()), (150_000, "0.0400".to_owned()));
        money.pool_ms = 999_000;
        assert_eq!(money.hold(&mut leg), Ok((270_000, false)), "pool time given back by others is not for this leg");
        assert_eq!(money.hold(&mut leg), Ok((330_000, false)));
        let settled = money.settle(&leg, 310_000);
        assert_eq!(
            (settled.charge.to_text(), settled.pool_used_ms, settled.billed_ms),
            ("0.1200".into(), 150_000, 330_000)
        );
        assert_eq!(settled.capability, Capability::Credits);
    }

    #[test]
    fn a_pool_without_credits_ends_the_leg_with_it() {
        for funding in ["pool", "pool-then-credits"] {
            let (mut money, mut leg) = (purse("0"), tab(funding, "0.04", "0", 60_000, 60_000));
            money.pool_ms = 90_000;
            assert_eq!(money.hold(&mut leg), Ok((60_000, false)));
            assert_eq!(money.hold(&mut leg), Ok((90_000, true)), "{funding}");
            assert_eq!(money.hold(&mut leg), Err(Cause::NoCredit));
            let settled = money.settle(&leg, 75_500);
            assert_eq!((settled.charge, settled.pool_used_ms, money.pool_ms), (Micros::ZERO, 75_500, 14_500));
            assert_eq!(settled.capability, Capability::AudioConferencing);
        }
    }

    #[test]
    fn what_is_included_or_free_goes_on_in_slices_whatever_the_balance() {
        for funding in ["included", "free"] {
            let (mut money, mut leg) = (purse("0"), tab(funding, "0.04", "0", 60_000, 60_000));
            for slice in 1..100 {
                assert_eq!(money.hold(&mut leg), Ok((slice * 60_000, false)));
            }
            let settled = leg.settle(Some(61_500));
            assert_eq!((settled.charge, settled.charged_ms, settled.billed_ms), (Micros::ZERO, 61_500, 61_500));
        }
    }

    #[test]
    fn the_first_hold_has_the_fee_and_never_less_than_one_increment() {
        let mut leg = tab("credits", "0.0300", "0.0500", 60_000, 60_000);
        assert_eq!(leg.next(&Means::plain(Micros(79_999), 0), SLICE_MS), Err(Cause::NoCredit));
        assert_eq!((leg.held_until_ms, leg.credit_held(), leg.sequence), (0, Micros::ZERO, 0));
        let hold = leg.next(&Means::plain(Micros(80_000), 0), SLICE_MS).unwrap();
        assert_eq!((hold.credit.to_text(), hold.until_ms, hold.is_final), ("0.0800".into(), 60_000, false));
        // 30/18: a slice of 60 s is brought up to 66.
        let hold =
            tab("credits", "0.06", "0", 30_000, 18_000).next(&Means::plain(Micros(1_000_000), 0), SLICE_MS).unwrap();
        assert_eq!((hold.until_ms, hold.credit.to_text()), (66_000, "0.0660".into()));
        let settled = leg.settle(Some(1));
        assert_eq!((settled.charge.to_text(), settled.connect_fee.to_text()), ("0.0800".into(), "0.0500".into()));
    }

    #[test]
    fn an_unanswered_leg_gives_everything_back() {
        let mut leg = tab("credits", "0.0300", "0.0500", 60_000, 60_000);
        leg.next(&Means::plain(Micros(1_000_000), 0), SLICE_MS).unwrap();
        let settled = leg.settle(Some(0));
        assert_eq!(
            (settled.charge, settled.connect_fee, settled.release_credit),
            (Micros(0), Micros(0), Micros(80_000))
        );
    }

    #[test]
    fn a_payer_known_late_pays_what_has_elapsed_too() {
        let mut leg = tab("credits", "0.10", "0", 60_000, 60_000);
        let hold = leg.cover(45_000, &Means::plain(Micros(1_000_000), 0), SLICE_MS).unwrap();
        assert_eq!((hold.until_ms, hold.credit.to_text()), (120_000, "0.2000".into()));
        // What does not reach beyond the elapsed time is no hold.
        let mut poor = tab("credits", "0.10", "0", 60_000, 60_000);
        assert_eq!(poor.cover(60_000, &Means::plain(Micros(150_000), 0), SLICE_MS), Err(Cause::NoCredit));
        assert_eq!(poor.credit_held(), Micros::ZERO);
        assert_eq!(poor.cover(59_999, &Means::plain(Micros(150_000), 0), SLICE_MS).map(|hold| hold.is_final), Ok(true));
        let mut pooled = tab("pool", "0.10", "0", 60_000, 60_000);
        assert_eq!(
            pooled.cover(45_000, &Means::plain(Micros(0), 300_000), SLICE_MS).map(|hold| hold.pool_ms),
            Ok(105_000)
        );
    }

    #[test]
    fn a_dearer_row_that_came_while_it_rang_takes_no_more_than_there_is() {
        let mut leg = tab("credits", "0.06", "0", 1_000, 1_000);
        let dearer = tab("credits", "0.60", "0", 90_000, 90_000).terms.tariff.unwrap().price;
        let from = leg.terms.from.plus_millis(5_000);
        leg.terms.tariff.as_mut().unwrap().later.push(crate::rating::Step { from, price: dearer });
        leg.next(&Means::plain(Micros(60_000), 0), SLICE_MS).unwrap();
        leg.terms.answered(from);
        assert_eq!(leg.settle(Some(50_000)).charge, leg.credit_held(), "no more than was held");
        let held = leg.clone();
        assert_eq!(leg.next(&Means::plain(Micros(44_999), 0), SLICE_MS), Err(Cause::NoCredit));
        assert_eq!(leg, Tab { is_final: true, ..held });
        let hold = leg.next(&Means::plain(Micros(845_000), 0), 30_000).unwrap();
        assert_eq!((hold.credit, hold.until_ms), (Micros(345_000), 40_000));
    }

    #[test]
    fn a_settlement_explains_itself() {
        let mut leg = tab("pool-then-credits", "0.04", "0.05", 60_000, 60_000);
        let mut money = purse("1");
        money.pool_ms = 150_000;
        while leg.held_until_ms < 310_000 {
            money.hold(&mut leg).unwrap();
        }
        let told = leg.settle(Some(310_000)).lines;
        assert_eq!(
            told,
            [
                "310 s from answer to end",
                "pool: the first 150 s",
                "credits: rate dial-out +39 Italy (standard), deck 0a1b2c",
                "increments 60 s then 60 s: 160 s brought up to 180 s (3 increments)",
                "180 s × 0.0400 USD a minute / 60 s = 0.1200",
                "connect fee 0.0500 USD",
                "sum 0.1700, rounded half up to 4 places: 0.1700",
                "charge 0.1700 USD",
            ]
        );
    }

    #[test]
    fn a_quote_is_what_the_leg_would_be_settled_at() {
        let terms = Terms::sample(Funding::Pool { then_credits: true }, "0.04", "0", 60_000, 60_000);
        let of = |available: &str, pool_ms| {
            let quoted = quote(&terms, 310_000, &Means::plain(available.parse().unwrap(), pool_ms));
            (quoted.charge.to_text(), quoted.charged_ms)
        };
        assert_eq!(of("1", 150_000), ("0.1200".into(), 310_000));
        assert_eq!(of("0.0800", 150_000), ("0.0800".into(), 270_000));
        assert_eq!(of("0", 150_000), ("0.0000".into(), 150_000));
        assert_eq!(of("0", 0), ("0.0000".into(), 0));
    }

    #[test]
    fn an_endless_fraction_is_marked() {
        let mut leg = tab("credits", "0.10", "0", 1_000, 1_000);
        leg.next(&Means::plain(Micros(1_000_000), 0), SLICE_MS).unwrap();
        let told = leg.settle(Some(42_400)).lines;
        assert!(told.contains(&"43 s × 0.1000 USD a minute / 60 s = 0.071666666666…".to_owned()), "{told:?}");
        assert!(told.contains(&"sum 0.071666666666…, rounded half up to 4 places: 0.0717".to_owned()), "{told:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_more_is_held_than_there_is_nor_charged_than_was_held(
            nanos in 0_i64..2_000_000_000, fee in 0_i64..200_000_000,
            initial in 1_u64..90_000, next in 1_u64..90_000,
            funding in prop_oneof![Just("credits"), Just("pool"), Just("pool-then-credits")],
            available in 0_i64..3_000_000, pool_ms in 0_u64..200_000,
            slices in proptest::collection::vec(1_u64..150_000, 1..12), elapsed in 0_u64..900_000,
        ) {
            let price = |nanos: i64| rust_decimal::Decimal::new(nanos, 9).to_string();
            let mut leg = tab(funding, &price(nanos), &price(fee), initial, next);
            let mut money = Purse { available, pool_ms };
            for slice in slices {
                let before = leg.clone();
                match leg.next(&Means::plain(Micros(money.available), money.pool_ms), slice) {
                    Ok(hold) => {
                        money.take(&hold);
                        prop_assert!(money.available >= 0 && hold.credit.0 >= 0);
                        prop_assert!(hold.until_ms > before.held_until_ms && hold.until_ms == leg.held_until_ms);
                        prop_assert_eq!(hold.sequence, before.sequence);
                        prop_assert_eq!(leg.terms.amount(leg.held_until_ms, leg.pool_held_ms()), leg.credit_held());
                    }
                    Err(cause) => {
                        prop_assert_eq!(cause, Cause::NoCredit);
                        prop_assert_eq!(Tab { is_final: true, ..before }, leg.clone());
                    }
                }
            }
            prop_assert_eq!(money.available + leg.credit_held().0, available);
            prop_assert_eq!(money.pool_ms + leg.pool_held_ms(), pool_ms);
            let settled = money.settle(&leg, elapsed);
            prop_assert_eq!(money.available, available - settled.charge.0);
            prop_assert_eq!(money.pool_ms, pool_ms - settled.pool_used_ms);
            prop_assert!(settled.connect_fee <= settled.charge && settled.charge <= leg.credit_held());
            prop_assert_eq!(settled.charge, leg.terms.amount(settled.charged_ms, leg.pool_held_ms()));
        }

        /// The partial hold is the longest that money pays: one increment more costs more than there is.
        #[test]
        fn a_short_hold_is_the_longest_that_is_paid(nanos in 1_000_000_i64..2_000_000_000, step in 1_u64..20_000, available in 0_i64..500_000) {
            let price = rust_decimal::Decimal::new(nanos, 9).to_string();
            let mut leg = tab("credits", &price, "0", step, step);
            let held = leg.next(&Means::plain(Micros(available), 0), SLICE_MS);
            if leg.is_final {
                let one_more = leg.terms.amount(leg.held_until_ms + 1, 0);
                prop_assert!(one_more.0 > available);
            } else {
                prop_assert!(held.unwrap().until_ms >= SLICE_MS);
            }
        }
    }
}
