//! Legs: who is in a call now, dialling out, muting, removing. Below an organisation its own alone are there: another's is
//! none.

use super::Reception;
use super::entry::of_path;
use super::extract::{Json as Said, Known};
use super::io::Moment;
use super::problem::Problem;
use crate::rating::CallType;
use crate::store::{EntryId, QuoteRequest};
use crate::switchboard::ask::{Ask, LegView, Told};
use crate::trunk::DialPlan;
use crate::types::{E164, LegId, MeetingId, OrganisationId};
use axum::Json;
use axum::extract::RawPathParams;
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

/// Where a leg is sent.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferOrder {
    /// E.164, with `+`.
    pub to: String,
}

/// On or off.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switch {
    pub on: bool,
}

impl Reception {
    /// A leg as whoever asks may see it.
    fn shown(&self, leg: LegView) -> LegView {
        let facts = self.store.facts();
        let payer = leg.organisation.as_deref().and_then(|id| id.parse::<OrganisationId>().ok());
        let country = payer.and_then(|id| facts.organisations.get(&id)).map(|own| own.country);
        let seen = |number: String| number.parse().map_or(number, |e164| self.masking.party(&e164, country));
        if leg.is_out() {
            LegView { number: seen(leg.number), ..leg }
        } else {
            LegView { caller: leg.caller.map(seen), ..leg }
        }
    }
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

/// The name in a path.
pub(super) fn named<'a>(path: &'a RawPathParams, name: &str) -> &'a str {
    path.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
}

/// Whether what is `whose` is there for who asks below `of`.
pub(super) fn is_there(of: Option<&OrganisationId>, whose: Option<&str>) -> bool {
    of.is_none_or(|of| whose == Some(of.as_str()))
}

/// Below an organisation a meeting is there if it is its own.
pub(super) fn own_meeting(reception: &Reception, path: &RawPathParams, name: &str) -> Result<MeetingId, Problem> {
    let meeting: MeetingId = parse("meeting", name)?;
    let (of, facts) = (of_path(path)?, reception.store.facts());
    let whose = facts.owner_of(&EntryId::Meeting(meeting.clone())).map(OrganisationId::as_str);
    if is_there(of.as_ref(), whose) { Ok(meeting) } else { Err(Problem::unknown("meeting")) }
}

async fn found(reception: &Reception, path: &RawPathParams) -> Result<LegView, Problem> {
    match ask(reception, Ask::Leg(parse("leg", named(path, "leg"))?)).await? {
        Told::Leg(leg) if is_there(of_path(path)?.as_ref(), leg.organisation.as_deref()) => Ok(*leg),
        Told::Leg(_) => Err(Problem::unknown("leg")),
        _ => Err(Problem::down("an answer to another question")),
    }
}

/// Below an organisation a leg is there if it is in one of its meetings, and stays so for as long as it lives.
async fn own_leg(reception: &Reception, path: &RawPathParams) -> Result<LegId, Problem> {
    let leg = parse("leg", named(path, "leg"))?;
    if of_path(path)?.is_some() {
        found(reception, path).await?;
    }
    Ok(leg)
}

pub async fn list(Known(reception): Known, path: RawPathParams) -> Result<Json<Vec<LegView>>, Problem> {
    let of = of_path(&path)?;
    match ask(&reception, Ask::Legs).await? {
        Told::Legs(mut legs) => {
            legs.retain(|leg| is_there(of.as_ref(), leg.organisation.as_deref()));
            Ok(Json(legs.into_iter().map(|leg| reception.shown(leg)).collect()))
        }
        _ => Err(Problem::down("an answer to another question")),
    }
}

pub async fn show(Known(reception): Known, path: RawPathParams) -> Result<Json<LegView>, Problem> {
    found(&reception, &path).await.map(|leg| Json(reception.shown(leg)))
}

/// What a person wrote, brought to the one form that price, permission and route use.
pub(super) fn dialled(text: &str) -> Result<E164, Problem> {
    DialPlan::default().read(text).map_err(|error| Problem::bad(format!("to: {error}, found \"{text}\"")))
}

pub async fn dial(
    Known(reception): Known,
    path: RawPathParams,
    Said(order): Said<DialOrder>,
) -> Result<(StatusCode, Json<Dialling>), Problem> {
    let (meeting, to) = (own_meeting(&reception, &path, &order.meeting)?, dialled(&order.to)?);
    match ask(&reception, Ask::Dial { meeting, to }).await? {
        Told::Dialling(leg) => Ok((StatusCode::ACCEPTED, Json(Dialling { leg: leg.to_string() }))),
        _ => Err(Problem::down("an answer to another question")),
    }
}

pub async fn mute(
    Known(reception): Known,
    path: RawPathParams,
    Said(switch): Said<Switch>,
) -> Result<StatusCode, Problem> {
    let leg = own_leg(&reception, &path).await?;
    ask(&reception, Ask::Mute { leg, on: switch.on }).await.map(|_| StatusCode::NO_CONTENT)
}

pub async fn remove(Known(reception): Known, path: RawPathParams) -> Result<StatusCode, Problem> {
    let leg = own_leg(&reception, &path).await?;
    ask(&reception, Ask::Remove { leg }).await.map(|_| StatusCode::NO_CONTENT)
}

/// Has the far side of a leg call another number in place of us; answered when it is known how that went. Nobody is sent to a
/// number that the meeting itself might not ring.
pub async fn transfer(
    Known(reception): Known,
    Moment(now): Moment,
    path: RawPathParams,
    Said(order): Said<TransferOrder>,
) -> Result<StatusCode, Problem> {
    let to = dialled(&order.to)?;
    let leg = found(&reception, &path).await?;
    let meeting = leg.meeting.as_deref().and_then(|meeting| meeting.parse::<MeetingId>().ok());
    let facts = reception.store.facts();
    let payer = meeting.and_then(|meeting| facts.payer_of(&meeting).map(|(user, _)| user.id.clone()));
    let organiser = payer.ok_or_else(|| Problem::not_now("the leg is in no meeting"))?;
    let asked = QuoteRequest { organiser, call_type: CallType::DialOut, number: to, caller: None, minutes: 1, now };
    reception.store.quote(&asked).await?.map_err(Problem::refused)?;
    let leg = parse("leg", &leg.id)?;
    ask(&reception, Ask::Transfer { leg, to }).await.map(|_| StatusCode::NO_CONTENT)
}
