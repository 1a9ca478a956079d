//! Limits of organisations and carriers: those that hold now, and those that were raised and wait. Each question is a function of the
//! store too.

use super::extract::{Json as Said, Known, Named, reason_of};
use super::io::Moment;
use super::leg::parse;
use super::problem::Problem;
use crate::clock::Wall;
use crate::rating::record::utc;
use crate::store::{ConfirmLimits, LimitsOf, PendingLimit, Store};
use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

fn shown(raise: &PendingLimit) -> Value {
    json!({ "limit": raise.limit.key(), "now": raise.now, "then": raise.then, "at": utc(raise.at) })
}

/// Raises that wait.
pub fn pending_of(store: &Store, of: &LimitsOf, now: Wall) -> Result<Value, Problem> {
    let kind = match of {
        LimitsOf::Organisation(_) => "organisation",
        LimitsOf::Carrier(_) => "carrier",
    };
    let pending = store.facts().pending_limits(of, now).ok_or_else(|| Problem::unknown(kind))?;
    Ok(pending.iter().map(shown).collect())
}

fn organisation(named: &str) -> Result<LimitsOf, Problem> {
    parse("organisation", named).map(LimitsOf::Organisation)
}

fn carrier(named: &str) -> Result<LimitsOf, Problem> {
    parse("carrier", named).map(LimitsOf::Carrier)
}

pub async fn pending(
    Known(reception): Known,
    Moment(now): Moment,
    Named(named): Named,
) -> Result<Json<Value>, Problem> {
    pending_of(&reception.store, &organisation(&named)?, now).map(Json)
}

pub async fn pending_of_carrier(
    Known(reception): Known,
    Moment(now): Moment,
    Named(named): Named,
) -> Result<Json<Value>, Problem> {
    pending_of(&reception.store, &carrier(&named)?, now).map(Json)
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

pub async fn confirm_of(store: &Store, of: LimitsOf, order: &ConfirmOrder, now: Wall) -> Result<Value, Problem> {
    let confirm = ConfirmLimits {
        of,
        limit: order.limit.as_deref().map(|named| parse("limit", named)).transpose()?,
        reason: reason_of(&order.reason)?,
        at: now,
    };
    Ok(json!({ "confirmed": store.confirm_limits(confirm).await?.iter().map(shown).collect::<Vec<_>>() }))
}

pub async fn confirm(
    Known(reception): Known,
    Moment(now): Moment,
    Named(named): Named,
    Said(order): Said<ConfirmOrder>,
) -> Result<Json<Value>, Problem> {
    confirm_of(&reception.store, organisation(&named)?, &order, now).await.map(Json)
}

pub async fn confirm_of_carrier(
    Known(reception): Known,
    Moment(now): Moment,
    Named(named): Named,
    Said(order): Said<ConfirmOrder>,
) -> Result<Json<Value>, Problem> {
    confirm_of(&reception.store, carrier(&named)?, &order, now).await.map(Json)
}
