//! What was said of a leg over SIP, for whoever looks for trouble: while it lives, and for a while after. Also of a call that
//! never became a leg, by its Call-ID: what a carrier complains of was refused.

use super::Reception;
use super::extract::{Known, Query};
use super::leg::{ask, named, parse};
use super::problem::Problem;
use crate::sip::masked;
use crate::switchboard::ask::{Ask, Told};
use axum::Json;
use axum::extract::RawPathParams;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// All messages of a leg, or of a call, that are kept, the earliest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leg: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    pub rungs: Vec<Rung>,
    /// So many more there were, after the first ones.
    pub left_out: u32,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rung {
    /// Microseconds since 1970, UTC.
    pub at_us: i64,
    /// Ours; else theirs.
    pub out: bool,
    /// The same was said that way before.
    pub again: bool,
    pub transport: String,
    pub here: String,
    pub there: String,
    /// Without proofs of passwords, keys of sound, and keys that were pressed.
    pub text: String,
}

/// Which call.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceQuery {
    /// As its carrier names it.
    pub call_id: String,
}

pub async fn show(Known(reception): Known, path: RawPathParams) -> Result<Json<Trace>, Problem> {
    let leg = parse("leg", named(&path, "leg"))?;
    let Told::Calls(calls) = ask(&reception, Ask::Calls(leg)).await? else {
        return Err(Problem::down("an answer to another question"));
    };
    remembered(&reception, calls, Trace { leg: Some(leg.to_string()), ..Trace::default() }).await
}

pub async fn show_call(
    Known(reception): Known,
    Query(TraceQuery { call_id }): Query<TraceQuery>,
) -> Result<Json<Trace>, Problem> {
    let calls = vec![call_id.clone()];
    remembered(&reception, calls, Trace { call_id: Some(call_id), ..Trace::default() }).await
}

async fn remembered(reception: &Reception, calls: Vec<String>, mut trace: Trace) -> Result<Json<Trace>, Problem> {
    let mut heard = HashSet::new();
    for call in calls {
        let Some((said, left_out)) = reception.memory.of(call).await else { continue };
        trace.left_out = trace.left_out.saturating_add(left_out);
        for (at, said) in said {
            trace.rungs.push(Rung {
                at_us: at.micros(),
                out: said.out,
                again: !heard.insert((said.out, said.bytes.clone())),
                transport: said.flow.transport.name().to_owned(),
                here: said.flow.local.to_string(),
                there: said.flow.peer.to_string(),
                text: masked(&said.bytes),
            });
        }
    }
    if trace.rungs.is_empty() {
        let of = if trace.leg.is_some() { "leg" } else { "Call-ID" };
        let what = format!("trace of this {of}: what was said is kept a quarter of an hour, or less if much is said");
        return Err(Problem::unknown(&what));
    }
    Ok(Json(trace))
}
