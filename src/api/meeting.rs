//! Meetings: which run now, and the verbs for a whole meeting.

use super::extract::{Json as Said, Known, Named};
use super::leg::{Switch, ask, parse};
use super::problem::Problem;
use crate::switchboard::ask::{Ask, MeetingView, Told};
use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

/// What a recording is to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordOrder {
    /// `start`, `pause`, `resume` or `stop`.
    pub step: String,
}

pub async fn list(Known(reception): Known) -> Result<Json<Vec<MeetingView>>, Problem> {
    match ask(&reception, Ask::Meetings).await? {
        Told::Meetings(meetings) => Ok(Json(meetings)),
        _ => Err(Problem::down("an answer to another question")),
    }
}

pub async fn end(Known(reception): Known, Named(meeting): Named) -> Result<StatusCode, Problem> {
    ask(&reception, Ask::End { meeting: parse("meeting", &meeting)? }).await.map(|_| StatusCode::NO_CONTENT)
}

pub async fn lock(
    Known(reception): Known,
    Named(meeting): Named,
    Said(switch): Said<Switch>,
) -> Result<StatusCode, Problem> {
    let order = Ask::Lock { meeting: parse("meeting", &meeting)?, on: switch.on };
    ask(&reception, order).await.map(|_| StatusCode::NO_CONTENT)
}

pub async fn admit(Known(reception): Known, Named(meeting): Named) -> Result<StatusCode, Problem> {
    ask(&reception, Ask::Admit { meeting: parse("meeting", &meeting)? }).await.map(|_| StatusCode::NO_CONTENT)
}

pub async fn record(
    Known(reception): Known,
    Named(meeting): Named,
    Said(order): Said<RecordOrder>,
) -> Result<StatusCode, Problem> {
    let order = Ask::Record { meeting: parse("meeting", &meeting)?, step: parse("step", &order.step)? };
    ask(&reception, order).await.map(|_| StatusCode::NO_CONTENT)
}
