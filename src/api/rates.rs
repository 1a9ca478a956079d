//! Price lists in use: which there are, and each as a deck.

use super::Reception;
use super::extract::Named;
use super::io::aside;
use super::problem::Problem;
use crate::store::{HOUSE, Store};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Every list: the house's first, the others by their names.
pub fn lists_of(store: &Store) -> Value {
    let facts = store.facts();
    let house = std::iter::once((HOUSE, &facts.deck));
    let others = facts.price_lists.iter().map(|(name, deck)| (name.as_str(), deck));
    let shown = house.chain(others).map(|(name, deck)| {
        let uses = |own: &&crate::store::Organisation| own.price_lists.iter().any(|list| list == name);
        let users: Vec<&str> = facts.organisations.values().filter(uses).map(|own| own.id.as_str()).collect();
        json!({
            "list": name, "version": deck.version(), "rows": deck.len(), "currency": deck.currency().as_str(),
            "organisations": users,
        })
    });
    shown.collect()
}

/// A list as a deck, in the form in which it can be brought in again.
pub async fn deck_of(store: &Store, list: &str) -> Result<String, Problem> {
    let facts = store.facts();
    let deck = if list == HOUSE { Some(&facts.deck) } else { facts.price_lists.get(list) };
    let Some(deck) = deck.cloned() else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "unknown", format!("there is no price list {list}")));
    };
    aside(move || deck.to_csv()).await
}

pub async fn lists(State(reception): State<Reception>) -> Json<Value> {
    Json(lists_of(&reception.store))
}

pub async fn deck(State(reception): State<Reception>, Named(list): Named) -> Result<Response, Problem> {
    let text = deck_of(&reception.store, &list).await?;
    Ok(([(header::CONTENT_TYPE, "text/csv")], text).into_response())
}
