//! Who pays each slice, and how much of the last money one leg may hold: worked out from the script's prices and grants and
//! from what is seen before and after, never from how the product comes to it.
//!
//! One request at a time is looked at: where more come together, nobody outside can say which came first.

use crate::auditor::Auditor;
use crate::ledger::Ledger;
use crate::script::{Ban, Gift, Order, Rate, Script};
use std::collections::{BTreeMap, BTreeSet};
use tollbridge::clock::Wall;
use tollbridge::rating::grant::{Source, Unit};
use tollbridge::store::LiveLeg;
use tollbridge::types::LegId;

/// With money for less than this, all legs together, nobody holds more than a share of it, or one increment.
const LAST_MS: i64 = 20_000;
/// An owner's licence is worth sixty minutes a month.
const POOL_MS: u64 = 3_600_000;
/// A grant that is over so soon may pay less than there is of it.
const SOON_MS: u64 = 300_000;

/// What a house and its legs have, at a step.
#[derive(Clone, Debug, Default)]
pub struct Purse {
    pub pool_held: u64,
    /// What is held of grants, by their names, of those that are there and have not lapsed; and since when they are good.
    pub grants: BTreeMap<String, (u64, Wall)>,
    pub legs: Vec<LiveLeg>,
}

impl Purse {
    fn held_of(&self, grant: &str) -> u64 {
        self.grants.get(grant).map_or(0, |(held, _)| *held)
    }

    fn credit_of(&self, leg: LegId) -> i64 {
        self.legs.iter().find(|live| live.leg == leg).map_or(0, |live| live.credit_held.0)
    }
}

/// What pays, in the order in which it is used up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Payer {
    Pool,
    /// Its unit, priority, end and source; when it was given, and its name.
    Grant {
        money: bool,
        priority: u16,
        until: u64,
        paid: bool,
        given: u64,
        id: String,
    },
    Credits,
}

impl Payer {
    fn of(gift: &Gift) -> Payer {
        Payer::Grant {
            money: gift.unit == Unit::Money,
            priority: gift.priority,
            until: gift.good_ms.map_or(u64::MAX, |good| good + gift.at_ms.unwrap_or(0)),
            paid: gift.source == Source::Paid,
            given: gift.at_ms.unwrap_or(0),
            id: gift.id.clone(),
        }
    }

    fn is_time(&self) -> bool {
        matches!(self, Payer::Pool | Payer::Grant { money: false, .. })
    }
}

/// How a leg has been paid since its first slice.
#[derive(Clone, Debug, Default)]
struct Path {
    been_in: Vec<Payer>,
}

/// All that is known of slices.
#[derive(Debug, Default)]
pub struct Slices {
    last: BTreeMap<usize, Purse>,
    paths: BTreeMap<LegId, Path>,
    /// Slices that were held against an order of use with more than one payer in it, and against a share.
    pub ordered: u64,
    pub shared: u64,
}

/// A request that went well, alone.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub leg: LegId,
    /// The moment that it is asked for: what is given later, and before it is answered, does not pay it.
    pub at: Wall,
    /// Of a leg that runs.
    pub elapsed_ms: u64,
    /// It may be the leg's first; of a payer who was named late it is not known how much had been talked.
    pub is_first: bool,
    pub is_late: bool,
}

impl Slices {
    /// What there is now; if `asked` alone came between it and what was before, that is judged.
    pub fn seen(&mut self, house: usize, purse: Purse, asked: Option<(Asked, &Judge<'_>)>) {
        let before = self.last.insert(house, purse.clone()).unwrap_or_default();
        let Some((asked, judge)) = asked else { return };
        for live in purse.legs.iter().filter(|live| live.leg != asked.leg) {
            let grown = live.credit_held.0 - before.credit_of(live.leg);
            assert!(grown == 0, "{} holds {grown} more, and did not ask", live.leg);
        }
        self.shared += u64::from(judge.is_fair(house, asked, &before, &purse));
        self.in_order(house, asked, judge, (&before, &purse));
    }

    /// A leg of whose slices one was not seen alone is not judged any more.
    pub fn lose_sight(&mut self, leg: LegId) {
        self.paths.remove(&leg);
    }

    fn in_order(&mut self, house: usize, asked: Asked, judge: &Judge<'_>, (before, after): (&Purse, &Purse)) {
        let alone = after.legs.iter().all(|live| live.leg == asked.leg || live.held_until_ms == 0);
        if asked.is_first && alone {
            self.paths.insert(asked.leg, Path::default());
        }
        let (Some(path), true) = (self.paths.get(&asked.leg).cloned(), alone) else {
            return self.lose_sight(asked.leg);
        };
        let Some(means) = judge.means(house, asked, before) else { return self.lose_sight(asked.leg) };
        let took = |payer: &Payer| -> i64 {
            match payer {
                Payer::Pool => after.pool_held as i64 - before.pool_held as i64,
                Payer::Credits => after.credit_of(asked.leg) - before.credit_of(asked.leg),
                Payer::Grant { id, .. } => after.held_of(id) as i64 - before.held_of(id) as i64,
            }
        };
        let in_money = path.been_in.iter().any(|payer| !payer.is_time());
        let current = |is_time: bool| path.been_in.iter().rev().find(|payer| payer.is_time() == is_time);
        for later in means.iter().filter(|payer| took(payer) > 0 && current(payer.is_time()) != Some(payer)) {
            for earlier in means.iter().take_while(|payer| *payer != later) {
                let is_left = path.been_in.contains(earlier) && current(earlier.is_time()) != Some(earlier);
                if is_left || earlier.is_time() && in_money {
                    continue;
                }
                let rest = judge.rest(house, earlier, after);
                let least = if earlier.is_time() { judge.increment_ms(asked.leg) } else { 1 };
                self.ordered += 1;
                assert!(rest < least, "{} is paid by {later:?}, and {earlier:?} has {rest} left", asked.leg);
            }
        }
        let path = self.paths.entry(asked.leg).or_default();
        let taken: Vec<Payer> = means.iter().filter(|payer| took(payer) > 0).cloned().collect();
        for payer in taken {
            path.been_in.retain(|known| *known != payer);
            path.been_in.push(payer);
        }
    }
}

/// What the auditor knows by itself.
pub struct Judge<'a> {
    pub script: &'a Script,
    pub ledger: &'a Ledger,
    /// What each leg costs, where that is certain, and whether the pool may pay it, and money.
    pub rates: BTreeMap<LegId, (&'a Rate, bool, bool)>,
    pub leaders: BTreeSet<LegId>,
    pub ever: &'a BTreeSet<Ban>,
    pub wall: Wall,
    pub began: Wall,
}

impl Judge<'_> {
    fn increment_ms(&self, leg: LegId) -> u64 {
        self.rates.get(&leg).map_or(u64::MAX, |(rate, ..)| rate.first_s.max(rate.next_s) as u64 * 1_000)
    }

    /// Where credits alone pay and the last of them is shared: whether this leg's slice could be judged.
    fn is_fair(&self, house: usize, asked: Asked, before: &Purse, after: &Purse) -> bool {
        let it = &self.script.houses[house];
        let has_grants = self.script.gifts.iter().any(|gift| gift.house == house);
        if it.per_user || has_grants || asked.is_late || self.leaders.contains(&asked.leg) {
            return false;
        }
        let Some((rate, ..)) = self.rates.get(&asked.leg) else { return false };
        let others = before.legs.iter().filter(|live| live.leg != asked.leg && live.held_until_ms > 0);
        let Some(others) = others.map(|live| Some(self.rates.get(&live.leg)?.0.minute)).collect::<Option<Vec<i64>>>()
        else {
            return false;
        };
        let all = rate.minute + others.iter().sum::<i64>();
        let held: i64 = before.legs.iter().map(|live| live.credit_held.0).sum();
        let available = self.ledger.posted(house) - held;
        // Prices are in ten-thousandths.
        if others.is_empty() || available * 60_000 / (all * 100) >= LAST_MS {
            return false;
        }
        let share = available * rate.minute / all;
        let held = before.legs.iter().find(|live| live.leg == asked.leg);
        let past = held.map_or(0, |live| live.held_until_ms).max(asked.elapsed_ms);
        let one = crate::auditor::price(rate, past + 1) - before.credit_of(asked.leg);
        let took = after.credit_of(asked.leg) - before.credit_of(asked.leg);
        assert!(took <= share.max(one), "{} takes {took} of the last {available}: its share is {share}", asked.leg);
        true
    }

    /// What may pay a leg, in order; `None` where that is not certain.
    fn means(&self, house: usize, asked: Asked, purse: &Purse) -> Option<Vec<Payer>> {
        let (_, in_pool, spends) = *self.rates.get(&asked.leg)?;
        let is_good = |gift: &&Gift| purse.grants.get(&gift.id).is_some_and(|(_, from)| *from <= asked.at);
        let gifts: Vec<&Gift> = self.script.gifts.iter().filter(|gift| gift.house == house).filter(is_good).collect();
        // A clock that is set back goes to before a grant is good, or one that is over is good again.
        if !self.script.jumps.is_empty() || !gifts.iter().all(|gift| self.is_sure(gift)) {
            return None;
        }
        let mut means: Vec<Payer> = gifts.into_iter().map(Payer::of).filter(|_| spends).collect();
        means.extend(Some(Payer::Pool).filter(|_| in_pool && !self.ever.contains(&Ban::Licence)));
        means.extend(Some(Payer::Credits).filter(|_| spends));
        means.sort();
        Some(means)
    }

    /// Nobody ends it, and it is not over soon.
    fn is_sure(&self, gift: &Gift) -> bool {
        let is_ended = |(_, order): &(u64, Order)| matches!(order, Order::EndGift { gift: it } if self.script.gifts[*it].id == gift.id);
        let lasts = gift.good_ms.is_none_or(|good| {
            let over = self.began.plus_millis(good + gift.at_ms.unwrap_or(0));
            over > self.wall.plus_millis(SOON_MS)
        });
        lasts && !self.script.orders.iter().any(is_ended)
    }

    /// What nobody has used or holds of it.
    fn rest(&self, house: usize, payer: &Payer, purse: &Purse) -> u64 {
        match payer {
            Payer::Pool => POOL_MS.saturating_sub(self.ledger.pool_used(house) + purse.pool_held),
            Payer::Grant { id, .. } => {
                let amount = self.script.gifts.iter().find(|gift| gift.id == *id).map_or(0, |gift| gift.amount);
                amount.saturating_sub(self.ledger.grant_used(id) + purse.held_of(id))
            }
            Payer::Credits => 0,
        }
    }
}

impl Auditor {
    /// What a house has now, and, where one request alone came between, whether it was paid as it should be.
    pub fn purse(&mut self, house: usize, purse: Purse, asked: Option<Asked>, (wall, began): (Wall, Wall)) {
        let mut slices = std::mem::take(&mut self.slices);
        let judge = asked.map(|asked| (asked, self.judge(&purse, (wall, began))));
        slices.seen(house, purse, judge.as_ref().map(|(asked, judge)| (*asked, judge)));
        self.slices = slices;
    }
}
