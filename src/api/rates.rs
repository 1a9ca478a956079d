//! Price lists in use: which there are, and each as a deck.

use super::extract::{Known, Named, Query};
use super::io::{Moment, aside};
use super::leg::parse;
use super::money::minutes;
use super::problem::Problem;
use crate::clock::Wall;
use crate::rating::costs::COST;
use crate::rating::margin::{Asked, Margin, margins};
use crate::store::{HOUSE, Store};
use crate::types::{CarrierId, Currency, Micros, OrganisationId};
use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Every list: the house's first, the others by their names, then what carriers take.
pub fn lists_of(store: &Store) -> Value {
    let facts = store.facts();
    let house = std::iter::once((HOUSE.to_owned(), &facts.deck));
    let others = facts.price_lists.iter().map(|(name, deck)| (name.clone(), deck));
    let costs = facts.costs.lists().map(|(carrier, deck)| (format!("{COST}{carrier}"), deck));
    let shown = house.chain(others).chain(costs).map(|(name, deck)| {
        let uses = |own: &&crate::store::Organisation| own.price_lists.contains(&name);
        let users: Vec<&str> = facts.organisations.values().filter(uses).map(|own| own.id.as_str()).collect();
        json!({
            "list": name, "version": deck.version(), "rows": deck.len(), "currency": deck.currency().as_str(),
            "organisations": users, "kind": if name.starts_with(COST) { "cost" } else { "price" },
        })
    });
    shown.collect()
}

/// A list as a deck, in the form in which it can be brought in again.
pub async fn deck_of(store: &Store, list: &str) -> Result<String, Problem> {
    let facts = store.facts();
    let Some(deck) = facts.deck_named(list).cloned() else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "unknown", format!("there is no price list {list}")));
    };
    aside(move || deck.to_csv()).await
}

/// Which margins.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarginQuery {
    /// By this price list alone; everybody's where neither it nor an organisation is named.
    pub list: Option<String>,
    /// By all that this organisation pays by, in its currency.
    pub organisation: Option<String>,
    /// The length of the calls that are compared.
    pub minutes: Option<u32>,
    /// Only what earns less than so many percent of its price.
    pub below: Option<String>,
}

/// Hundredths of a percent: two places, and below zero for losses alone.
pub fn percent(text: &str) -> Result<i64, &'static str> {
    const EXPECTED: &str = "expected a percentage like 5, 12.5 or -20";
    let value = Decimal::from_str_exact(text).map_err(|_| EXPECTED)?.checked_mul(Decimal::ONE_HUNDRED);
    let whole = value.filter(|value| value.fract().is_zero()).ok_or(EXPECTED)?;
    i64::try_from(whole.trunc()).map_err(|_| EXPECTED)
}

/// Price against cost of every destination, the worst first.
pub async fn margins_of(store: &Store, query: &MarginQuery, now: Wall) -> Result<Value, Problem> {
    let facts = store.facts();
    let stranger = |what: String| Problem::new(StatusCode::NOT_FOUND, "unknown", format!("there is no {what}"));
    let (prices, currency) = match (query.list.as_deref(), query.organisation.as_deref()) {
        (Some(_), Some(_)) => return Err(Problem::bad("list, organisation: one of them")),
        (None, Some(organisation)) => {
            let id: OrganisationId = parse("organisation", organisation)?;
            let known = facts.organisations.get(&id).ok_or_else(|| stranger(format!("organisation {id}")))?;
            (facts.prices(known).clone(), known.currency)
        }
        (list, None) => {
            let list = list.unwrap_or(HOUSE);
            let prices = facts.prices_of_list(list).ok_or_else(|| stranger(format!("price list {list}")))?;
            let currency = prices.lists.first().map_or(Currency::USD, |list| list.deck.currency());
            (prices, currency)
        }
    };
    let minutes = minutes(query.minutes)?;
    let below = query.below.as_deref().map(percent).transpose();
    let below = below.map_err(|why| Problem::bad(format!("below: {why}")))?;
    // Two lists of 200,000 rows take a second.
    let margins = aside(move || {
        let routed = facts.directory.carriers().iter().filter(|carrier| carrier.route.is_some());
        let routed: Vec<&CarrierId> = routed.map(|carrier| &carrier.id).collect();
        let ms = u64::from(minutes) * 60_000;
        let asked = Asked { prices: &prices, currency, costs: &facts.costs, routed: &routed, at: now, ms };
        margins(&asked).iter().filter(|m| below.is_none_or(|below| m.is_below(below))).map(shown).collect::<Vec<_>>()
    });
    Ok(json!({ "currency": currency.to_string(), "minutes": minutes, "destinations": margins.await? }))
}

fn shown(margin: &Margin) -> Value {
    let (carrier, cost) = margin.cost.as_ref().map(|(carrier, cost)| (carrier.as_str(), cost.to_text())).unzip();
    let percent = margin.hundredths().map(|hundredths| Decimal::new(hundredths, 2).to_string());
    json!({
        "type": margin.call_type.slug(), "destination": margin.destination, "prefix": margin.prefix,
        "prefixes": margin.prefixes, "price": margin.price.to_text(), "cost": cost, "carrier": carrier,
        "earned": margin.earned().map(Micros::to_text), "percent": percent,
    })
}

pub async fn margin(
    Known(reception): Known,
    Moment(now): Moment,
    Query(query): Query<MarginQuery>,
) -> Result<Json<Value>, Problem> {
    margins_of(&reception.store, &query, now).await.map(Json)
}

pub async fn lists(Known(reception): Known) -> Json<Value> {
    Json(lists_of(&reception.store))
}

pub async fn deck(Known(reception): Known, Named(list): Named) -> Result<Response, Problem> {
    let text = deck_of(&reception.store, &list).await?;
    Ok(([(header::CONTENT_TYPE, "text/csv")], text).into_response())
}
