//! What is earned a destination: the price against what carriers take, losses first.

use crate::clock::Wall;
use crate::rating::clauses::Origin;
use crate::rating::costs::{Call, Costs};
use crate::rating::prices::{Answer, Prices};
use crate::rating::rate::Class;
use crate::rating::{CallType, RateRow};
use crate::types::{CarrierId, Currency, Micros};
use std::collections::{BTreeMap, BTreeSet};

/// The worst of a destination's prefixes: what a call costs its caller, and what it costs us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Margin {
    pub call_type: CallType,
    pub destination: String,
    pub prefix: String,
    pub price: Micros,
    /// The carrier by which it would go, and what that takes; `None` where no carrier's list says.
    pub cost: Option<(CarrierId, Micros)>,
    /// How many prefixes the destination has, in price lists and carriers' lists together.
    pub prefixes: usize,
}

impl Margin {
    /// Price less cost.
    pub fn earned(&self) -> Option<Micros> {
        self.price.checked_sub(self.cost.as_ref()?.1)
    }

    /// The same in hundredths of a percent of the price, rounded down: a loss of any size is below zero. Where the price
    /// is nothing, so is every percentage of it.
    pub fn hundredths(&self) -> Option<i64> {
        let earned = i128::from(self.earned()?.0);
        let price = Some(i128::from(self.price.0)).filter(|price| *price > 0)?;
        i64::try_from((earned * 10_000).div_euclid(price)).ok()
    }

    /// Whether the margin is known to be below so many hundredths of a percent. What costs something and earns nothing is
    /// below any.
    pub fn is_below(&self, hundredths: i64) -> bool {
        match (self.hundredths(), self.earned()) {
            (Some(own), _) => own < hundredths,
            (None, Some(earned)) => earned < Micros::ZERO,
            (None, None) => false,
        }
    }

    /// What sorts the worst first: losses without any price, then by percentage, and what is not known last.
    fn place(&self) -> (bool, i64, Micros) {
        let earned = self.earned();
        let place =
            self.hundredths().unwrap_or(if earned.is_some_and(|e| e < Micros::ZERO) { i64::MIN } else { i64::MAX });
        (earned.is_none(), place, earned.unwrap_or_default())
    }
}

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// By which lists callers pay, and in which currency.
    pub prices: &'a Prices,
    pub currency: Currency,
    pub costs: &'a Costs,
    /// Carriers that take calls out.
    pub routed: &'a [&'a CarrierId],
    pub at: Wall,
    pub ms: u64,
}

/// The margin of each destination of the lists, the worst first. Every prefix is looked at that a price list or a
/// carrier's has: a carrier that tells London from its country may cost more there than the country's price.
pub fn margins(asked: &Asked<'_>) -> Vec<Margin> {
    let own = asked.prices.lists.iter().flat_map(|list| list.deck.rows());
    let theirs = asked.costs.lists().flat_map(|(_, deck)| deck.rows());
    let key = |(call_type, row): (CallType, &'_ RateRow)| (call_type, row.prefix.to_string());
    let prefixes: BTreeSet<(CallType, String)> = own.chain(theirs).map(key).collect();
    let mut found: BTreeMap<(CallType, String), Margin> = BTreeMap::new();
    for margin in prefixes.into_iter().filter_map(|(call_type, prefix)| of_prefix(asked, call_type, prefix)) {
        let key = (margin.call_type, margin.destination.clone());
        match found.get_mut(&key) {
            None => drop(found.insert(key, margin)),
            Some(worst) => {
                let prefixes = worst.prefixes + 1;
                if margin.place() < worst.place() {
                    *worst = margin;
                }
                worst.prefixes = prefixes;
            }
        }
    }
    let mut all: Vec<Margin> = found.into_values().collect();
    all.sort_by_key(Margin::place);
    all
}

/// `None` where nobody can be charged for it: no price, or no call.
fn of_prefix(asked: &Asked<'_>, call_type: CallType, prefix: String) -> Option<Margin> {
    let Answer::Found(quoted) = asked.prices.rate(call_type, &prefix, asked.at, asked.currency) else { return None };
    if matches!(quoted.row.class, Class::Blocked | Class::Emergency) {
        return None;
    }
    let tariff = quoted.tariff(call_type, &prefix, asked.at, Origin::Fixed);
    let price = tariff.amount(tariff.total(asked.at, asked.ms));
    let destination = quoted.row.destination.to_string();
    let (at, ms, currency) = (asked.at, asked.ms, asked.currency);
    let call = Call { call_type, digits: &prefix, origin: Origin::Fixed, at, ms, currency };
    let known = if call_type == CallType::DialOut {
        asked.costs.cheapest_first(asked.routed.iter().copied(), &call).into_iter().next()
    } else {
        // Callers choose the number, and with it the carrier: the dearest is what must be reckoned with.
        asked.costs.cheapest_first(asked.costs.lists().map(|(carrier, _)| carrier), &call).pop()
    };
    let cost = known.and_then(|cost| Some((cost.carrier.clone(), cost.compared?)));
    Some(Margin { call_type, destination, prefix, price, cost, prefixes: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rating::Deck;
    use crate::rating::reader::read_moment;

    const HEAD: &str = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from,class\n";

    fn deck(rows: &[&str]) -> Deck {
        let rows: String = rows.iter().map(|row| format!("{row},0,60,60,2020-01-01,\n")).collect();
        Deck::parse("d.csv", &format!("{HEAD}{rows}")).unwrap()
    }

    #[test]
    fn losses_come_first_and_what_is_not_known_last() {
        let prices = Prices::of(
            deck(&[
                "dial-out,39,Italy,0.0200",
                "dial-out,44,United Kingdom,0.0200",
                "dial-out,33,France,0.0200",
                "dial-out,49,Germany,0",
                "dial-out,34,Spain,0.0200",
                "dial-in-toll-free,39,Italy,0.0500",
                "dial-in-toll,39,Italy,0",
            ])
            .into(),
        );
        let ids: Vec<CarrierId> = ["cheap", "dear", "closed"].iter().map(|id| id.parse().unwrap()).collect();
        let lists = [
            deck(&[
                "dial-out,39,x,0.0100",
                "dial-out,44,x,0.0150",
                "dial-out,4420,London,0.0300",
                "dial-in-toll-free,39,x,0.0100",
            ]),
            deck(&[
                "dial-out,39,x,0.0120",
                "dial-out,33,x,0.0199",
                "dial-out,49,x,0.0001",
                "dial-in-toll-free,39,x,0.0400",
            ]),
            deck(&["dial-out,39,x,0.0001"]),
        ];
        let costs = Costs::new(ids.iter().cloned().zip(lists.map(Into::into)), std::sync::Arc::default());
        let asked = Asked {
            prices: &prices,
            currency: Currency::USD,
            costs: &costs,
            routed: &[&ids[0], &ids[1]],
            at: read_moment("2026-03-03").unwrap(),
            ms: 600_000,
        };
        let all = margins(&asked);
        let told: Vec<String> = all
            .iter()
            .map(|m| {
                let cost = m.cost.as_ref().map_or("-".to_owned(), |(id, cost)| format!("{id} {cost}"));
                let percent = m.hundredths().map_or("-".to_owned(), |percent| percent.to_string());
                format!("{} +{} of {}: {} {cost} {percent}", m.call_type, m.prefix, m.prefixes, m.price)
            })
            .collect();
        assert_eq!(
            told,
            [
                "dial-out +49 of 1: 0.0000 dear 0.0010 -",
                "dial-out +4420 of 2: 0.2000 cheap 0.3000 -5000",
                "dial-out +33 of 1: 0.2000 dear 0.1990 50",
                "dial-in-toll-free +39 of 1: 0.5000 dear 0.4000 2000",
                "dial-out +39 of 1: 0.2000 cheap 0.1000 5000",
                "dial-in-toll +39 of 1: 0.0000 - -",
                "dial-out +34 of 1: 0.2000 - -",
            ]
        );
        let below = |hundredths| all.iter().filter(|margin| margin.is_below(hundredths)).count();
        assert_eq!([below(-5_000), below(0), below(51), below(100_000)], [1, 2, 3, 5]);
    }
}
