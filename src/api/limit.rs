//! Limits of an organisation: those that hold now, and those that were raised and wait. Each question is a function of the
//! store too.

use super::extract::{Json as Said, Known, Named, reason_of};
use super::io::Moment;
use super::leg::parse;
use super::problem::Problem;
use crate::clock::Wall;
use crate::rating::record::utc;
use crate::store::{ConfirmLimits, PendingLimit, Store};
use crate::types::OrganisationId;
use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

fn shown(raise: &PendingLimit) -> Value {
    json!({ "limit": raise.limit.key(), "now": raise.now, "then": raise.then, "at": utc(raise.at) })
}

/// Raises that wait.
pub fn pending_of(store: &Store, organisation: &str, now: Wall) -> Result<Value, Problem> {
    let id: OrganisationId = parse("organisation", organisation)?;
    let facts = store.facts();
    let organisation = facts.open_organisation(&id).ok_or_else(|| Problem::unknown("organisation"))?;
    Ok(organisation.pending_limits(now).iter().map(shown).collect())
}

pub async fn pending(
    Known(reception): Known,
    Moment(now): Moment,
    Named(organisation): Named,
) -> Result<Json<Value>, Problem> {
    pending_of(&reception.store, &organisation, now).map(Json)
}

/// Let raises hold at once.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfirmOrder {
    /// As a file for `apply` names it, like `max_spend_per_day`; all that wait where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// For the trail.
    pub reason: String,
}

pub async fn confirm_of(store: &Store, organisation: &str, order: &ConfirmOrder, now: Wall) -> Result<Value, Problem> {
    let confirm = ConfirmLimits {
        organisation: parse("organisation", organisation)?,
        limit: order.limit.as_deref().map(|named| parse("limit", named)).transpose()?,
        reason: reason_of(&order.reason)?,
        at: now,
    };
    Ok(json!({ "confirmed": store.confirm_limits(confirm).await?.iter().map(shown).collect::<Vec<_>>() }))
}

pub async fn confirm(
    Known(reception): Known,
    Moment(now): Moment,
    Named(organisation): Named,
    Said(order): Said<ConfirmOrder>,
) -> Result<Json<Value>, Problem> {
    confirm_of(&reception.store, &organisation, &order, now).await.map(Json)
}
