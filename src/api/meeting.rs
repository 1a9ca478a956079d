//! Meetings: which run now, and the verbs for a whole meeting. Below an organisation its own alone are there.

use super::Reception;
use super::entry::of_path;
use super::extract::{Json as Said, Known};
use super::leg::{Switch, ask, is_there, named, own_meeting, parse};
use super::problem::Problem;
use crate::switchboard::ask::{Ask, MeetingView, Told};
use crate::types::MeetingId;
use axum::Json;
use axum::extract::RawPathParams;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

/// What a recording is to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordOrder {
    /// `start`, `pause`, `resume` or `stop`.
    pub step: String,
}

pub async fn list(Known(reception): Known, path: RawPathParams) -> Result<Json<Vec<MeetingView>>, Problem> {
    let of = of_path(&path)?;
    match ask(&reception, Ask::Meetings).await? {
        Told::Meetings(mut meetings) => {
            meetings.retain(|meeting| is_there(of.as_ref(), Some(&meeting.organisation)));
            Ok(Json(meetings))
        }
        _ => Err(Problem::down("an answer to another question")),
    }
}

/// Asks for something of the meeting that the path names.
async fn order(
    reception: &Reception,
    path: &RawPathParams,
    order: impl FnOnce(MeetingId) -> Ask,
) -> Result<StatusCode, Problem> {
    let meeting = own_meeting(reception, path, named(path, "meeting"))?;
    ask(reception, order(meeting)).await.map(|_| StatusCode::NO_CONTENT)
}

pub async fn end(Known(reception): Known, path: RawPathParams) -> Result<StatusCode, Problem> {
    order(&reception, &path, |meeting| Ask::End { meeting }).await
}

pub async fn lock(
    Known(reception): Known,
    path: RawPathParams,
    Said(switch): Said<Switch>,
) -> Result<StatusCode, Problem> {
    order(&reception, &path, |meeting| Ask::Lock { meeting, on: switch.on }).await
}

pub async fn admit(Known(reception): Known, path: RawPathParams) -> Result<StatusCode, Problem> {
    order(&reception, &path, |meeting| Ask::Admit { meeting }).await
}

pub async fn record(
    Known(reception): Known,
    path: RawPathParams,
    Said(wanted): Said<RecordOrder>,
) -> Result<StatusCode, Problem> {
    let step = parse("step", &wanted.step)?;
    order(&reception, &path, |meeting| Ask::Record { meeting, step }).await
}
