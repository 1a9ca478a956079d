//! What was said of a leg over SIP, for whoever looks for trouble: while it lives, and for a while after.

use super::extract::Known;
use super::leg::{ask, named, parse};
use super::problem::Problem;
use crate::sip::masked;
use crate::switchboard::ask::{Ask, Told};
use axum::Json;
use axum::extract::RawPathParams;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// All messages of a leg that are kept, the earliest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    pub leg: String,
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

pub async fn show(Known(reception): Known, path: RawPathParams) -> Result<Json<Trace>, Problem> {
    let leg = parse("leg", named(&path, "leg"))?;
    let Told::Calls(calls) = ask(&reception, Ask::Calls(leg)).await? else {
        return Err(Problem::down("an answer to another question"));
    };
    let mut trace = Trace { leg: leg.to_string(), rungs: Vec::new(), left_out: 0 };
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
        return Err(Problem::unknown(
            "trace of this leg: what was said is kept a quarter of an hour, or less if much is said",
        ));
    }
    Ok(Json(trace))
}
