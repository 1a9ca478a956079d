//! What carriers take: lists of their own beside the price lists, in the same form, and never a price of anybody. By them
//! calls out go to the cheapest carrier first, and a record knows what its leg has cost us.

use crate::clock::Wall;
use crate::rating::clauses::{Origin, Places, Rounding};
use crate::rating::deck::Lookup;
use crate::rating::price::Exact;
use crate::rating::prices::{Exchanges, PriceList, Quoted};
use crate::rating::rate::{Class, RateRow};
use crate::rating::terms::{text, text_or_none};
use crate::rating::{CallType, Deck, Discount};
use crate::types::{CarrierId, Currency, Micros};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the name of a carrier's list begins with, before the carrier's own: `cost:line-1`. No price list is called so.
pub const COST: &str = "cost:";

/// Carriers are compared by a call of so many minutes: with connect fees and first increments in it, as meetings go.
pub const COMPARED_MINUTES: u32 = 10;

/// The carriers' lists, and rates of exchange to compare them by.
#[derive(Clone, Debug, Default)]
pub struct Costs {
    lists: BTreeMap<CarrierId, PriceList>,
    exchanges: Arc<Exchanges>,
}

/// A call whose cost is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    pub call_type: CallType,
    /// The number called: our own of a call in, the destination of a call out.
    pub digits: &'a str,
    pub origin: Origin,
    /// Its answer.
    pub at: Wall,
    pub ms: u64,
    /// In which costs are compared.
    pub currency: Currency,
}

/// What one carrier takes for a call.
#[derive(Clone, Copy, Debug)]
pub struct Cost<'a> {
    pub carrier: &'a CarrierId,
    pub deck: &'a Deck,
    pub row: &'a RateRow,
    /// As its invoice has it: rounded as its row says, in its own currency.
    pub amount: Micros,
    /// In the currency asked for, to six places; `None` where there is no rate of exchange.
    pub compared: Option<Micros>,
}

/// What a leg has cost us, as its record keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegCost {
    /// The version of the carrier's list.
    pub deck: String,
    /// Of its row, without `+`.
    pub prefix: String,
    #[serde(with = "text")]
    pub amount: Micros,
    #[serde(with = "text")]
    pub currency: Currency,
    /// The same in the currency of the record; `None` where there was no rate of exchange.
    #[serde(with = "text_or_none", default, skip_serializing_if = "Option::is_none")]
    pub compared: Option<Micros>,
}

impl Costs {
    pub fn new(decks: impl IntoIterator<Item = (CarrierId, Arc<Deck>)>, exchanges: Arc<Exchanges>) -> Costs {
        let list = |deck| PriceList { deck, discount: Discount::default() };
        Costs { lists: decks.into_iter().map(|(carrier, deck)| (carrier, list(deck))).collect(), exchanges }
    }

    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// Every list, with its carrier.
    pub fn lists(&self) -> impl Iterator<Item = (&CarrierId, &Arc<Deck>)> {
        self.lists.iter().map(|(carrier, list)| (carrier, &list.deck))
    }

    pub fn deck(&self, carrier: &CarrierId) -> Option<&Arc<Deck>> {
        self.lists.get(carrier).map(|list| &list.deck)
    }

    /// What a carrier takes for a call; `None` where its list does not say, or says that it does not take it.
    pub fn of(&self, carrier: &CarrierId, call: &Call<'_>) -> Option<Cost<'_>> {
        let (carrier, list) = self.lists.get_key_value(carrier)?;
        let Lookup::Found(row) = list.deck.rate(call.call_type, call.digits, call.at) else { return None };
        if row.class == Class::Blocked {
            return None;
        }
        let tariff = Quoted { list, row, exchange: None }.tariff(call.call_type, call.digits, call.at, call.origin);
        let total = tariff.total(call.at, call.ms);
        let compared = self.compared(list.deck.currency(), call, total);
        Some(Cost { carrier, deck: &list.deck, row, amount: tariff.amount(total), compared })
    }

    fn compared(&self, own: Currency, call: &Call<'_>, total: Exact) -> Option<Micros> {
        let nanos = match own == call.currency {
            true => 1_000_000_000,
            false => self.exchanges.at(own, call.currency, call.at)?.nanos,
        };
        Some(total.rounded(nanos, Rounding::HalfUp, Places::FINEST))
    }

    /// Where a carrier stands among others for a call: those whose cost is known first, the cheapest of them before all.
    pub fn rank(&self, carrier: &CarrierId, call: &Call<'_>) -> (bool, Micros) {
        let compared = self.of(carrier, call).and_then(|cost| cost.compared);
        (compared.is_none(), compared.unwrap_or_default())
    }

    /// What these carriers take for a call, the cheapest first; those whose cost is not known, or cannot be compared, are
    /// not in it.
    pub fn cheapest_first<'a>(
        &'a self,
        carriers: impl IntoIterator<Item = &'a CarrierId>,
        call: &Call<'_>,
    ) -> Vec<Cost<'a>> {
        let known = |cost: &Cost<'_>| cost.compared.is_some();
        let mut costs: Vec<Cost<'_>> =
            carriers.into_iter().filter_map(|carrier| self.of(carrier, call)).filter(known).collect();
        costs.sort_by_key(|cost| cost.compared);
        costs
    }
}

impl Cost<'_> {
    /// As the record of the leg keeps it.
    pub fn kept(&self) -> LegCost {
        LegCost {
            deck: self.deck.version().to_owned(),
            prefix: self.row.prefix.to_string(),
            amount: self.amount,
            currency: self.deck.currency(),
            compared: self.compared,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rating::Exchange;
    use crate::rating::reader::read_moment;

    const HEAD: &str =
        "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from,class,currency,bands,zone\n";

    fn id(text: &str) -> CarrierId {
        text.parse().unwrap()
    }

    fn deck(rows: &str) -> Arc<Deck> {
        Deck::parse("cost.csv", &format!("{HEAD}{rows}")).unwrap().into()
    }

    fn costs() -> Costs {
        let mut exchanges = Exchanges::default();
        let exchange = Exchange::new("EUR".parse().unwrap(), "1.25".parse().unwrap()).unwrap();
        exchanges.put(Currency::USD, Wall::from_seconds(0), exchange);
        let decks = [
            ("plain", "dial-out,39,Italy,0.0100,0,1,1,2020-01-01,,,,\ndial-out,44,UK,0.0100,0,1,1,2020-01-01,,,,\n"),
            ("fee", "dial-out,39,Italy,0.0060,0.0500,1,1,2020-01-01,,,,\n"),
            (
                "euro",
                "dial-out,39,Italy,0.0070,0,60,60,2020-01-01,,EUR,daily 08:00-20:00 0.0090,Europe/Rome\ndial-out,44,UK,0.001,0,60,60,2020-01-01,blocked,EUR,,\n",
            ),
            ("pound", "dial-out,39,Italy,0.0001,0,60,60,2020-01-01,,GBP,,\n"),
        ];
        Costs::new(decks.map(|(carrier, rows)| (id(carrier), deck(rows))), exchanges.into())
    }

    fn order(call: &Call<'_>) -> String {
        let costs = costs();
        let mut carriers = ["pound", "none", "plain", "fee", "euro"].map(id).to_vec();
        carriers.sort_by_cached_key(|carrier| costs.rank(carrier, call));
        carriers.iter().map(CarrierId::as_str).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_cheapest_of_the_number_and_the_moment_is_first_and_the_unknown_last_as_they_stood() {
        let (noon, night) = ("2026-03-03T12:00:00Z", "2026-03-03T23:00:00Z");
        let call = |digits, at: &str, ms| Call {
            call_type: CallType::DialOut,
            digits,
            origin: Origin::Fixed,
            at: read_moment(at).unwrap(),
            ms,
            currency: Currency::USD,
        };
        // Ten minutes: 0.1000, 0.1100, 0.0875 at night and 0.1125 by day, and a currency that nobody exchanges.
        assert_eq!(order(&call("390612345678", night, 600_000)), "euro plain fee pound none");
        assert_eq!(order(&call("390612345678", noon, 600_000)), "plain fee euro pound none");
        // An hour: the fee matters less.
        assert_eq!(order(&call("390612345678", noon, 3_600_000)), "fee plain euro pound none");
        // Who does not take the number is as one who says nothing.
        assert_eq!(order(&call("442079460123", noon, 600_000)), "plain pound none fee euro");
        assert_eq!(order(&call("33123456789", noon, 600_000)), "pound none plain fee euro");
        let costs = costs();
        let euro = costs.of(&id("euro"), &call("390612345678", noon, 90_000)).unwrap();
        assert_eq!((euro.amount.to_text(), euro.compared.unwrap().to_text()), ("0.0180".into(), "0.0225".into()));
        let pound = costs.of(&id("pound"), &call("390612345678", noon, 60_000)).unwrap();
        assert_eq!((pound.amount.to_text(), pound.compared), ("0.0001".into(), None));
        let all = [id("euro"), id("plain"), id("pound"), id("none")];
        let found = costs.cheapest_first(&all, &call("390612345678", noon, 600_000));
        assert_eq!(found.iter().map(|cost| cost.carrier.as_str()).collect::<Vec<_>>(), ["plain", "euro"]);
        let kept = found[1].kept();
        assert_eq!(serde_json::from_str::<LegCost>(&serde_json::to_string(&kept).unwrap()).unwrap(), kept);
    }
}
