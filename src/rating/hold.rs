//! Hold before use: how long a leg may talk on what is set aside for it, and what it cost in the end.
//!
//! The store calls [`Tab::next`] inside the transaction that takes the hold, and [`Tab::settle`] inside the one that
//! closes the leg. Numbers in, numbers out; nothing here knows of either.

use crate::rating::terms::Terms;
use crate::rating::{Capability, Funding, explain};
use crate::types::{Cause, Micros};

/// A slice: what is held ahead at a time, before it is brought up to an increment's edge.
pub const SLICE_MS: u64 = 60_000;

/// The running account of one leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tab {
    pub terms: Terms,
    /// Milliseconds after the answer up to which the leg may talk.
    pub held_until_ms: u64,
    /// R(C(held_until_ms)): all credit held for the leg so far, used or not.
    pub credit_held: Micros,
    /// All pool time held for the leg so far. It comes first; once credits have begun it does not grow any more.
    pub pool_held_ms: u64,
    /// The number of the next hold, from 0: the step in its idempotency key.
    pub sequence: u32,
    /// The last hold was shorter than asked, or refused: warn, and end at `held_until_ms` unless more comes.
    pub is_final: bool,
}

/// What one more hold takes, over what is held already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    pub sequence: u32,
    pub credit: Micros,
    pub pool_ms: u64,
    /// Milliseconds after the answer up to which the leg may now talk.
    pub until_ms: u64,
    /// Money or pool were short: this is the longest edge that they pay.
    pub is_final: bool,
}

/// How a leg was settled. `charge + release_credit` is what was held; the pool likewise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The whole debit, four places, fee included.
    pub charge: Micros,
    /// Its part that is the connect fee.
    pub connect_fee: Micros,
    pub release_credit: Micros,
    pub pool_used_ms: u64,
    pub pool_release_ms: u64,
    /// Charged time: elapsed, but never beyond what was held.
    pub charged_ms: u64,
    /// Pool time and increments: what the charge is for.
    pub billed_ms: u64,
    pub capability: Capability,
    /// The price, explained line by line.
    pub lines: Vec<String>,
}

impl Tab {
    /// Nothing held yet.
    pub fn new(terms: Terms) -> Tab {
        Tab { terms, held_until_ms: 0, credit_held: Micros::ZERO, pool_held_ms: 0, sequence: 0, is_final: false }
    }

    /// One slice more. `available` and `pool_left_ms` are what others have not taken; what this leg holds is its own
    /// already. Refused with `NoCredit` where not one increment more can be paid: the leg then runs to its
    /// `held_until_ms`, and may ask again after a top-up.
    pub fn next(&mut self, available: Micros, pool_left_ms: u64, slice_ms: u64) -> Result<Hold, Cause> {
        self.cover(self.held_until_ms, available, pool_left_ms, slice_ms)
    }

    /// As [`Tab::next`], for a payer known late: the hold also pays what has elapsed, and reaches beyond it or is none.
    pub fn cover(
        &mut self,
        elapsed_ms: u64,
        available: Micros,
        pool_left_ms: u64,
        slice_ms: u64,
    ) -> Result<Hold, Cause> {
        let past = elapsed_ms.max(self.held_until_ms);
        let target = past.saturating_add(slice_ms.max(1));
        let (pool, until) = self.reach(target, available, pool_left_ms);
        self.is_final = until < target;
        if until <= past {
            return Err(Cause::NoCredit);
        }
        let total = self.terms.charge(until, pool).round().max(self.credit_held);
        let hold = Hold {
            sequence: self.sequence,
            credit: Micros(total.0 - self.credit_held.0),
            pool_ms: pool - self.pool_held_ms,
            until_ms: until,
            is_final: self.is_final,
        };
        (self.held_until_ms, self.pool_held_ms, self.credit_held) = (until, pool, total);
        self.sequence += 1;
        Ok(hold)
    }

    /// How much pool the leg then holds, and how far it then reaches towards `target`.
    fn reach(&self, target: u64, available: Micros, pool_left_ms: u64) -> (u64, u64) {
        match self.terms.funding {
            Funding::Included | Funding::Free => (0, target),
            Funding::Credits => (0, self.afford(0, target, available)),
            Funding::Pool { .. } => {
                let credits_begun = self.held_until_ms > self.pool_held_ms;
                let more = if credits_begun { 0 } else { pool_left_ms.min(target - self.held_until_ms) };
                let pool = self.pool_held_ms + more;
                (pool, if pool == target { target } else { self.afford(pool, target, available) })
            }
        }
    }

    /// The furthest edge up to the one at or after `target` that `available` pays, with `pool` milliseconds before the
    /// grid begins; where it pays none, what is covered already. R(C) never falls, so halving finds it.
    fn afford(&self, pool: u64, target: u64, available: Micros) -> u64 {
        let covered = self.held_until_ms.max(pool);
        let Some(tariff) = self.terms.paid_tariff() else { return covered };
        let rate = tariff.rate();
        let edge = |count: u64| pool.saturating_add(rate.edge_of(count));
        let pays = |count: u64| {
            let more = self.terms.charge(edge(count), pool).round().0.saturating_sub(self.credit_held.0);
            more <= available.0.max(0)
        };
        let (mut good, mut bad) = (rate.increments(covered - pool), rate.increments(target - pool) + 1);
        while good + 1 < bad {
            let middle = good + (bad - good) / 2;
            if pays(middle) { good = middle } else { bad = middle }
        }
        covered.max(edge(good))
    }

    /// The end, `elapsed_ms` after the answer (0: never answered). Time beyond what was held is nobody's debt: a late
    /// BYE or a crash cannot charge more than was set aside.
    pub fn settle(&self, elapsed_ms: u64) -> Settlement {
        let charged_ms = elapsed_ms.min(self.held_until_ms);
        let pool_used_ms = charged_ms.min(self.pool_held_ms);
        let paid_ms = charged_ms - pool_used_ms;
        let charge = self.terms.charge(charged_ms, self.pool_held_ms).round().min(self.credit_held);
        let tariff = self.terms.paid_tariff().filter(|_| paid_ms > 0);
        let connect_fee = tariff.map_or(Micros::ZERO, |t| explain::fee(t).round().min(charge));
        let in_credits = matches!(self.terms.funding, Funding::Pool { .. }) && paid_ms > 0;
        Settlement {
            charge,
            connect_fee,
            release_credit: Micros(self.credit_held.0 - charge.0),
            pool_used_ms,
            pool_release_ms: self.pool_held_ms - pool_used_ms,
            charged_ms,
            billed_ms: pool_used_ms + tariff.map_or(paid_ms, |t| t.rate().edge(paid_ms)),
            capability: if in_credits { Capability::Credits } else { self.terms.capability },
            lines: explain::lines(&self.terms, elapsed_ms, charged_ms, pool_used_ms, charge),
        }
    }
}
