//! Alerts: what was told to whom, and what became of it; recharges beside them; and one to try whether they arrive.

use super::extract::{Known, Named, Query};
use super::io::Moment;
use super::leg::parse;
use super::money::within;
use super::problem::Problem;
use crate::clock::Wall;
use crate::notice::{Kind, alert};
use crate::rating::record::utc;
use crate::rating::report::Masking;
use crate::store::{AlertView, Facts, LetterView, Raise, RechargeView, Store, SwitchedOff};
use crate::types::OrganisationId;
use axum::Json;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The latest so many are shown.
const SHOWN: u32 = 200;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertsQuery {
    pub org: Option<String>,
}

pub async fn alerts_of(store: &Store, masking: &Masking, query: &AlertsQuery) -> Result<Value, Problem> {
    let organisation: Option<OrganisationId> = query.org.as_deref().map(|org| parse("org", org)).transpose()?;
    let shown = store.alerts(organisation.as_ref(), SHOWN).await?;
    Ok(json!({
        "alerts": shown.alerts.iter().map(|view| alert(view, masking, &store.facts())).collect::<Vec<_>>(),
        "switched_off": shown.switched_off.iter().map(switched_off).collect::<Vec<_>>(),
        "recharges": shown.recharges.iter().map(recharge).collect::<Vec<_>>(),
    }))
}

/// A number in it is shown as far as whoever asks may see it; one that was masked when it was told stays so.
fn seen(alert: &alert::Alert, masking: &Masking, facts: &Facts) -> alert::Alert {
    let country = alert.organisation.as_ref().and_then(|id| facts.organisations.get(id)).map(|own| own.country);
    let mut alert = alert.clone();
    if let Some(number) = alert.facts.get_mut(alert::NUMBER)
        && let Ok(whole) = number.parse()
    {
        *number = masking.party(&whole, country);
    }
    alert
}

fn alert(view: &AlertView, masking: &Masking, facts: &Facts) -> Value {
    let alert = seen(&view.alert, masking, facts);
    json!({
        "id": alert.id, "kind": alert.kind.slug(), "at": utc(alert.at),
        "organisation": alert.organisation.as_ref().map(|id| id.as_str()),
        "subject": alert.subject(), "text": alert.text(), "posted": view.posted,
        "letters": view.letters.iter().map(letter).collect::<Vec<_>>(),
    })
}

fn letter(view: &LetterView) -> Value {
    let waits = view.state == "wanted";
    json!({
        "owner": owner(&view.owner), "way": view.way, "to": view.address, "state": view.state, "tries": view.tries,
        "next": waits.then(|| utc(view.next)), "error": view.error,
    })
}

fn switched_off(view: &SwitchedOff) -> Value {
    json!({ "owner": owner(&view.owner), "webhook": view.webhook, "failures": view.failures })
}

/// Nothing, where it is the house's.
fn owner(owner: &str) -> Option<&str> {
    Some(owner).filter(|owner| !owner.is_empty())
}

fn recharge(view: &RechargeView) -> Value {
    json!({
        "key": view.key, "organisation": view.organisation, "amount": view.amount.to_text(), "currency": view.currency,
        "state": view.state, "at": utc(view.at), "tries": view.tries, "error": view.error,
    })
}

pub async fn list(Known(reception): Known, Query(query): Query<AlertsQuery>) -> Result<Json<Value>, Problem> {
    alerts_of(&reception.store, &reception.masking, &query).await.map(Json)
}

/// Sends one that means nothing to all of an organisation's targets.
pub async fn test_of(store: &Store, organisation: &str, now: Wall) -> Result<Value, Problem> {
    let organisation: OrganisationId = parse("organisation", organisation)?;
    let facts = store.facts();
    let Some(known) = facts.organisations.get(&organisation) else {
        return Err(Problem::unknown("organisation"));
    };
    let Some(targets) = &known.alerts else {
        let why = format!("{organisation} wants nobody told: there is no [organisation.alerts] in its settings");
        return Err(Problem::new(StatusCode::CONFLICT, "no-targets", why));
    };
    let targets = targets.mails.len() + usize::from(targets.hook.is_some());
    let key = format!("{}:{organisation}:{}", Kind::Test, now.micros());
    let facts = alert::Facts::new();
    store.raise(Raise { key, kind: Kind::Test, organisation: Some(organisation), at: now, facts }).await?;
    Ok(json!({ "targets": targets }))
}

pub async fn list_of_one(
    known: Known,
    Named(organisation): Named,
    Query(mut query): Query<AlertsQuery>,
) -> Result<Json<Value>, Problem> {
    within(&mut query.org, organisation)?;
    list(known, Query(query)).await
}

pub async fn test(
    Known(reception): Known,
    Moment(now): Moment,
    Named(organisation): Named,
) -> Result<Json<Value>, Problem> {
    test_of(&reception.store, &organisation, now).await.map(Json)
}
