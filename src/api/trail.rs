//! The trail: who changed what, and when.

use super::extract::{Known, Named, Query};
use super::leg::parse;
use super::money::{moment, within};
use super::problem::Problem;
use crate::rating::record::utc;
use crate::store::{MOST_TRAIL_ROWS, Store, TrailFilter, TrailRow};
use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Which rows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrailQuery {
    pub org: Option<String>,
    /// `user anna`, or `user`.
    pub what: Option<String>,
    /// RFC 3339, or a date.
    pub from: Option<String>,
    pub to: Option<String>,
    pub limit: Option<u32>,
}

fn shown(row: &TrailRow) -> Value {
    let detail: Value = serde_json::from_str(&row.detail).unwrap_or(Value::Null);
    json!({
        "sequence": row.sequence, "at": utc(row.at), "who": row.who, "door": row.door, "role": row.role, "verb": row.verb,
        "what": row.what, "organisation": row.organisation, "detail": detail,
    })
}

pub async fn trail_of(store: &Store, query: &TrailQuery) -> Result<Value, Problem> {
    if query.limit.is_some_and(|limit| !(1..=MOST_TRAIL_ROWS).contains(&limit)) {
        return Err(Problem::bad(format!("limit: expected 1 to {MOST_TRAIL_ROWS}")));
    }
    let filter = TrailFilter {
        organisation: query.org.as_deref().map(|org| parse("org", org)).transpose()?,
        what: query.what.clone(),
        from: query.from.as_deref().map(|from| moment("from", from)).transpose()?,
        to: query.to.as_deref().map(|to| moment("to", to)).transpose()?,
        limit: query.limit,
    };
    Ok(store.trail(&filter).await?.iter().map(shown).collect())
}

pub async fn list(Known(reception): Known, Query(query): Query<TrailQuery>) -> Result<Json<Value>, Problem> {
    trail_of(&reception.store, &query).await.map(Json)
}

pub async fn list_of_one(
    known: Known,
    Named(organisation): Named,
    Query(mut query): Query<TrailQuery>,
) -> Result<Json<Value>, Problem> {
    within(&mut query.org, organisation)?;
    list(known, Query(query)).await
}
