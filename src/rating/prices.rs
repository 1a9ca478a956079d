//! What an organisation pays by: its own decks, then the house's, each with its discount, and rates of exchange.

use crate::clock::Wall;
use crate::rating::deck::{LONGEST_CALL_MS, Lookup};
use crate::rating::rate::{Class, RateRow};
use crate::rating::terms::{Discount, Exchange, Price, Step};
use crate::rating::{CallType, Deck};
use crate::types::Currency;
use std::collections::HashMap;
use std::sync::Arc;

/// A deck as one organisation pays by it.
#[derive(Clone, Debug)]
pub struct PriceList {
    pub deck: Arc<Deck>,
    pub discount: Discount,
}

/// Rates of exchange by the pair, the latest first.
#[derive(Clone, Debug, Default)]
pub struct Exchanges(HashMap<(Currency, Currency), Vec<(Wall, Exchange)>>);

impl Exchanges {
    /// One unit of the exchange's currency in `to`, from `valid_from` until a later rate of the pair.
    pub fn put(&mut self, to: Currency, valid_from: Wall, exchange: Exchange) {
        let rates = self.0.entry((exchange.from, to)).or_default();
        let place = rates.partition_point(|(from, _)| *from > valid_from);
        rates.retain(|(from, _)| *from != valid_from);
        rates.insert(place.min(rates.len()), (valid_from, exchange));
    }

    /// The rate at a moment; `None` where nobody set one.
    pub fn at(&self, from: Currency, to: Currency, at: Wall) -> Option<Exchange> {
        let rates = self.0.get(&(from, to))?;
        rates.iter().find(|(valid_from, _)| *valid_from <= at).map(|(_, exchange)| *exchange)
    }
}

/// Price lists in the order in which they are asked: the first that has an answer for a number gives it, however short
/// its prefix.
#[derive(Clone, Debug, Default)]
pub struct Prices {
    pub lists: Vec<PriceList>,
    pub exchanges: Arc<Exchanges>,
}

/// A row, and by which list.
#[derive(Clone, Copy, Debug)]
pub struct Quoted<'a> {
    pub list: &'a PriceList,
    pub row: &'a RateRow,
    pub exchange: Option<Exchange>,
}

/// The answer of all lists together.
#[derive(Clone, Copy, Debug)]
pub enum Answer<'a> {
    Found(Quoted<'a>),
    Absent,
    Broken(&'a crate::rating::deck::BrokenRow),
}

impl Prices {
    /// One deck, its currency the payer's, no discount.
    pub fn of(deck: Arc<Deck>) -> Prices {
        Prices { lists: vec![PriceList { deck, discount: Discount::default() }], exchanges: Arc::default() }
    }

    /// What a number costs at a moment, to a payer of `currency`. A deck of another currency answers only where there is
    /// a rate of exchange.
    pub fn rate(&self, call_type: CallType, digits: &str, at: Wall, currency: Currency) -> Answer<'_> {
        for list in &self.lists {
            let exchange = self.exchanges.at(list.deck.currency(), currency, at);
            if list.deck.currency() != currency && exchange.is_none() {
                continue;
            }
            match list.deck.rate(call_type, digits, at) {
                Lookup::Found(row) => return Answer::Found(Quoted { list, row, exchange }),
                Lookup::Broken(row) => return Answer::Broken(row),
                Lookup::Absent => {}
            }
        }
        Answer::Absent
    }

    /// The classes that any list gives a number, each with its range: a list of few prefixes hides no barred range of
    /// another.
    pub fn classes<'a>(
        &'a self,
        call_type: CallType,
        digits: &'a str,
        at: Wall,
    ) -> impl Iterator<Item = (Class, &'a str)> {
        self.lists.iter().filter_map(move |list| match list.deck.rate(call_type, digits, at) {
            Lookup::Found(row) => Some((row.class, &*row.prefix)),
            Lookup::Broken(row) => Some((row.class, &*row.prefix)),
            Lookup::Absent => None,
        })
    }
}

impl Quoted<'_> {
    /// The price now, and every change of it that is scheduled, as far ahead as a call may run: changes of rows, and of
    /// bands within them.
    pub fn schedule(&self, call_type: CallType, digits: &str, at: Wall) -> (Price, Vec<Step>) {
        let end = at.plus_millis(LONGEST_CALL_MS);
        let rows = self.list.deck.later(call_type, digits, at);
        let begin = std::iter::once((at, self.row)).chain(rows.iter().copied());
        let ends = rows.iter().map(|(from, _)| *from).chain([end]);
        let mut steps = Vec::new();
        for ((from, row), until) in begin.zip(ends) {
            steps.push(Step { from, price: price(row, from, from > at) });
            for (change, _) in row.clauses().bands.iter().flat_map(|bands| bands.changes(from, until)) {
                if change < until {
                    steps.push(Step { from: change, price: price(row, change, from > at) });
                }
            }
        }
        // A change to the same price is none.
        steps.dedup_by(|next, last| {
            (next.price.per_minute_nanos, &next.price.tiers) == (last.price.per_minute_nanos, &last.price.tiers)
        });
        let first = steps.remove(0);
        (first.price, steps)
    }
}

/// The price of a row at a moment, and why it is that.
fn price(row: &RateRow, at: Wall, changed: bool) -> Price {
    let clauses = row.clauses();
    let band = clauses.bands.as_ref().and_then(|bands| bands.at(at));
    let of_row = changed.then(|| format!("+{} as of {}", row.prefix, crate::rating::record::utc(row.valid_from)));
    let of_band = clauses.bands.as_ref().map(|bands| match band {
        Some(band) => format!("{} {}", band.when(), bands.zone_name()),
        None => format!("outside bands, {}", bands.zone_name()),
    });
    let why = of_row.into_iter().chain(of_band).collect::<Vec<_>>().join(", ");
    let monthly = !clauses.month_tiers.is_empty();
    Price {
        per_minute_nanos: band.map_or(row.rate.per_minute_nanos(), |band| band.per_minute_nanos()),
        tiers: if monthly { clauses.month_tiers.clone() } else { clauses.tiers.clone() },
        monthly,
        why: why.into(),
    }
}
