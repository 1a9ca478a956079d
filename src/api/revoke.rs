//! The switch that ends an organisation's calls: first the books close their accounts, then the calls hear of it.

use super::extract::{Json as Said, Known, Named, Query};
use super::io::Moment;
use super::leg::parse;
use super::problem::Problem;
use crate::clock::Wall;
use crate::store::{Change, ChangeStep, EntryId, LONGEST_LOCK, Revoke, Revoked, Store, StoreError};
use crate::switchboard::ask::{Ask, Told};
use crate::types::LegId;
use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Which of an organisation's calls end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeOrder {
    /// All calls out, whoever pays them; else the legs that spend credits.
    #[serde(default)]
    pub dial_out: bool,
    /// Of them those of one user's meetings, …
    #[serde(default)]
    pub user: Option<String>,
    /// … those of one meeting, or …
    #[serde(default)]
    pub meeting: Option<String>,
    /// … this leg alone, whatever pays it.
    #[serde(default)]
    pub leg: Option<String>,
    /// Lock the user, or where none is named the organisation: all their other calls end too, and new ones are refused.
    #[serde(default)]
    pub lock: bool,
    pub reason: String,
}

fn read(organisation: &str, order: &RevokeOrder, now: Wall) -> Result<Revoke, Problem> {
    let reason = order.reason.trim().to_owned();
    if reason.is_empty() || reason.len() > LONGEST_LOCK {
        return Err(Problem::bad(format!("reason: expected 1 to {LONGEST_LOCK} bytes that say why")));
    }
    if order.lock && (order.meeting.is_some() || order.leg.is_some()) {
        return Err(Problem::bad("lock: an organisation or a user is locked, not a meeting or a leg"));
    }
    Ok(Revoke {
        organisation: parse("organisation", organisation)?,
        dial_out: order.dial_out,
        user: order.user.as_deref().map(|user| parse("user", user)).transpose()?,
        meeting: order.meeting.as_deref().map(|meeting| parse("meeting", meeting)).transpose()?,
        leg: order.leg.as_deref().map(|leg| parse("leg", leg)).transpose()?,
        reason,
        lock: order.lock,
        ends: None,
        at: now,
    })
}

fn shown(revoked: &Revoked, is_locked: bool) -> Value {
    json!({
        "legs": revoked.legs.iter().map(LegId::to_string).collect::<Vec<_>>(), "charge": revoked.charge.to_text(),
        "released": revoked.released.to_text(), "locked": is_locked,
    })
}

/// In the books alone, for whoever has no calls to end.
pub async fn revoke_of(store: &Store, organisation: &str, order: &RevokeOrder, now: Wall) -> Result<Value, Problem> {
    let revoked = store.revoke(read(organisation, order, now)?).await?;
    Ok(shown(&revoked, order.lock))
}

pub async fn revoke(
    Known(reception): Known,
    Moment(now): Moment,
    Named(organisation): Named,
    Said(order): Said<RevokeOrder>,
) -> Result<Json<Value>, Problem> {
    let mut asked = read(&organisation, &order, now)?;
    // Where the switchboard does not answer the books close the accounts all the same, at the last proofs of life.
    if let Some(Told::Ends(ends)) = reception.switchboard.ask(Ask::Ends(asked.organisation.clone())).await {
        asked.ends = Some(ends.into_iter().map(|settle| (settle.leg, settle.end)).collect());
    }
    let mut revoked = reception.store.revoke(asked.clone()).await;
    if revoked.as_ref().is_err_and(StoreError::is_passing) {
        // It may have been done all the same. Whose account is closed ends, as soon as the books say so; and by now they may be
        // on their feet again.
        let _ = reception.switchboard.ask(Ask::Review).await;
        revoked = reception.store.revoke(asked).await;
    }
    let revoked = revoked?;
    if reception.switchboard.ask(Ask::Revoked(revoked.legs.clone())).await.is_none() {
        return Err(Problem::down("the accounts are closed, but the switchboard does not end the calls"));
    }
    reception.switchboard.paid_in();
    Ok(Json(shown(&revoked, order.lock)))
}

/// Whose lock.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockQuery {
    /// A user; the organisation itself where none is named.
    pub user: Option<String>,
}

/// Lifts a lock: whoever runs the bridge any, an organisation's administrator those that the organisation put.
pub async fn unlock_of(store: &Store, organisation: &str, query: &LockQuery, now: Wall) -> Result<Value, Problem> {
    let organisation = parse("organisation", organisation)?;
    let (entry, of) = match &query.user {
        Some(user) => (EntryId::User(parse("user", user)?), Some(organisation)),
        None => (EntryId::Organisation(organisation), None),
    };
    let step = ChangeStep::Patch(json!({ "locked": "" }).to_string());
    let lifted = store.change(Change { entry, of, step }, now).await?;
    let refused = |why: Vec<String>| Problem::new(StatusCode::CONFLICT, "locked", why.join("; "));
    let lifted = lifted.map_err(refused)?;
    Ok(json!({ "was_locked": !lifted.keys.is_empty() }))
}

pub async fn unlock(
    Known(reception): Known,
    Moment(now): Moment,
    Named(organisation): Named,
    Query(query): Query<LockQuery>,
) -> Result<Json<Value>, Problem> {
    unlock_of(&reception.store, &organisation, &query, now).await.map(Json)
}
