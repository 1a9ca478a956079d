//! What is old is emptied, and people are forgotten.

use super::extract::{Json as Said, Known};
use super::io::{Moment, old_files};
use super::leg::parse;
use super::problem::Problem;
use crate::clock::Wall;
use crate::store::{Forget, Keep, Store, Whom};
use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;

const DAY_MICROS: i64 = 86_400_000_000;

/// How long what tells of people is kept, in days; 0 is for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    pub records: u64,
    pub recordings: u64,
    pub traces: u64,
    /// Where recordings are.
    pub folder: Option<PathBuf>,
}

impl Default for Retention {
    fn default() -> Retention {
        Retention { records: 180, recordings: 90, traces: 90, folder: None }
    }
}

impl Retention {
    fn until(days: u64, now: Wall) -> Option<Wall> {
        let days = i64::try_from(days).ok().filter(|days| *days > 0)?;
        Some(Wall::from_micros(now.micros().saturating_sub(days.saturating_mul(DAY_MICROS))))
    }
}

/// Whether it is only asked what would be done.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionOrder {
    pub dry_run: bool,
}

/// Empties what is older than the settings say.
pub async fn retain_of(store: &Store, own: &Retention, order: RetentionOrder, now: Wall) -> Result<Value, Problem> {
    let (records, traces) = (Retention::until(own.records, now), Retention::until(own.traces, now));
    let emptied = store.keep(Keep { records, traces, dry_run: order.dry_run }, now).await?;
    let recordings = match (&own.folder, Retention::until(own.recordings, now)) {
        (Some(folder), Some(until)) => old_files(folder.clone(), until, order.dry_run).await?,
        _ => 0,
    };
    Ok(json!({ "dry_run": order.dry_run, "records": emptied, "recordings": recordings }))
}

pub async fn retain(
    Known(reception): Known,
    Moment(now): Moment,
    Said(order): Said<RetentionOrder>,
) -> Result<Json<Value>, Problem> {
    retain_of(&reception.store, &reception.retention, order, now).await.map(Json)
}

/// Whom to forget: one of the two.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetOrder {
    #[serde(default)]
    pub number: Option<String>,
    #[serde(default)]
    pub user: Option<String>,
    pub dry_run: bool,
}

pub async fn forget_of(store: &Store, order: &ForgetOrder, now: Wall) -> Result<Value, Problem> {
    let whom = match (&order.number, &order.user) {
        (Some(number), None) => Whom::Number(parse("number", number)?),
        (None, Some(user)) => Whom::User(parse("user", user)?),
        _ => return Err(Problem::bad("expected a number or a user, and not both")),
    };
    let forgotten = store.forget(Forget { whom, dry_run: order.dry_run }, now).await?;
    Ok(json!({
        "dry_run": order.dry_run, "records": forgotten.records, "meetings": forgotten.meetings, "name": forgotten.name,
    }))
}

pub async fn forget(
    Known(reception): Known,
    Moment(now): Moment,
    Said(order): Said<ForgetOrder>,
) -> Result<Json<Value>, Problem> {
    forget_of(&reception.store, &order, now).await.map(Json)
}
