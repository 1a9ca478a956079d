//! Legs: who is in a call now, dialling out, muting, removing.

use super::Reception;
use super::extract::{Json as Said, Known, Named};
use super::problem::Problem;
use crate::switchboard::ask::{Ask, LegView, Told};
use crate::trunk::DialPlan;
use crate::types::{E164, LegId, MeetingId};
use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

/// A phone to ring.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DialOrder {
    pub meeting: String,
    /// E.164, with `+`.
    pub to: String,
}

/// The leg that was born.
#[derive(Debug, Serialize, Deserialize)]
pub struct Dialling {
    pub leg: String,
}

/// On or off.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    pub on: bool,
}

/// Asks the switchboard, and turns what it cannot do into a problem.
pub(super) async fn ask(reception: &Reception, ask: Ask) -> Result<Told, Problem> {
    match reception.switchboard.ask(ask).await {
        None => Err(Problem::down("the bridge is stopping")),
        Some(Told::Unknown(what)) => Err(Problem::unknown(what)),
        Some(Told::Refused(cause)) => Err(Problem::refused(cause)),
        Some(Told::Not(why)) => Err(Problem::not_now(why)),
        Some(told) => Ok(told),
    }
}

pub(super) fn parse<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, Problem>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| Problem::bad(format!("{name}: {error}, found \"{text}\"")))
}

pub async fn list(Known(reception): Known) -> Result<Json<Vec<LegView>>, Problem> {
    match ask(&reception, Ask::Legs).await? {
        Told::Legs(legs) => Ok(Json(legs)),
        _ => Err(Problem::down("an answer to another question")),
    }
}

pub async fn show(Known(reception): Known, Named(leg): Named) -> Result<Json<LegView>, Problem> {
    match ask(&reception, Ask::Leg(parse("leg", &leg)?)).await? {
        Told::Leg(leg) => Ok(Json(*leg)),
        _ => Err(Problem::down("an answer to another question")),
    }
}

/// What a person wrote, brought to the one form that price, permission and route use.
pub(super) fn dialled(text: &str) -> Result<E164, Problem> {
    DialPlan::default().read(text).map_err(|error| Problem::bad(format!("to: {error}, found \"{text}\"")))
}

pub async fn dial(
    Known(reception): Known,
    Said(order): Said<DialOrder>,
) -> Result<(StatusCode, Json<Dialling>), Problem> {
    let (meeting, to): (MeetingId, E164) = (parse("meeting", &order.meeting)?, dialled(&order.to)?);
    match ask(&reception, Ask::Dial { meeting, to }).await? {
        Told::Dialling(leg) => Ok((StatusCode::ACCEPTED, Json(Dialling { leg: leg.to_string() }))),
        _ => Err(Problem::down("an answer to another question")),
    }
}

pub async fn mute(
    Known(reception): Known,
    Named(leg): Named,
    Said(switch): Said<Switch>,
) -> Result<StatusCode, Problem> {
    let leg: LegId = parse("leg", &leg)?;
    ask(&reception, Ask::Mute { leg, on: switch.on }).await.map(|_| StatusCode::NO_CONTENT)
}

pub async fn remove(Known(reception): Known, Named(leg): Named) -> Result<StatusCode, Problem> {
    ask(&reception, Ask::Remove { leg: parse("leg", &leg)? }).await.map(|_| StatusCode::NO_CONTENT)
}
