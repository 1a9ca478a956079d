//! Corrections of what legs were charged: refunds, and legs priced again. Each question is a function of the store too.

use super::entry::of_path;
use super::extract::{Json as Said, Known, Named, Query};
use super::io::Moment;
use super::leg::{is_there, named, parse};
use super::money::{UsageQuery, filter, moment, payer_country, within};
use super::problem::Problem;
use crate::clock::Wall;
use crate::rating::record;
use crate::rating::report::Masking;
use crate::store::{Corrected, Correction, Refund, Rehearsal, Rerating, Store, StoreError, Which};
use crate::types::{LegId, Micros, OrganisationId};
use axum::Json;
use axum::extract::RawPathParams;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Give a charge back.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefundOrder {
    /// A decimal, as text, of credits and money of grants, what was drawn last first; all that is left of the charge, with its
    /// pool time and its grants, where it is not given.
    #[serde(default)]
    pub amount: Option<String>,
    /// Chosen by whoever asks: a repeat books nothing.
    pub key: String,
    pub reason: String,
}

/// Price legs again, by the prices in use now.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RerateOrder {
    /// One leg, or …
    #[serde(default)]
    pub leg: Option<String>,
    /// … those of an organisation that ended in a period.
    #[serde(default)]
    pub org: Option<String>,
    /// RFC 3339, or a date.
    #[serde(default)]
    pub from: Option<String>,
    #[serde(default)]
    pub to: Option<String>,
    /// Chosen by whoever asks: a repeat books nothing.
    pub key: String,
    pub reason: String,
    /// Only tell what would be booked.
    #[serde(default)]
    pub dry_run: bool,
}

fn shown(correction: &Correction) -> Value {
    json!({
        "key": correction.key, "leg": correction.leg.to_string(), "number": correction.number,
        "organisation": correction.organisation.as_str(), "kind": correction.kind.slug(),
        "amount": correction.amount.to_text(), "pool_ms": correction.pool_ms, "month_ms": correction.month_ms,
        "grants": correction.grants.iter().map(record::granted).collect::<Vec<_>>(),
        "price": correction.price.map(Micros::to_text), "at": record::utc(correction.at), "reason": correction.reason,
    })
}

pub async fn refund_of(store: &Store, leg: &str, order: &RefundOrder, now: Wall) -> Result<Value, Problem> {
    let refund = Refund {
        leg: parse("leg", leg)?,
        amount: order.amount.as_deref().map(|amount| parse("amount", amount)).transpose()?,
        key: order.key.clone(),
        reason: order.reason.clone(),
        at: now,
    };
    match store.refund(refund).await? {
        Corrected::Booked(correction) => Ok(json!({ "booked": true, "correction": shown(&correction) })),
        Corrected::Repeated(correction) => Ok(json!({ "booked": false, "correction": shown(&correction) })),
        Corrected::TooMuch { left } => Err(Problem::new(
            StatusCode::CONFLICT,
            "too-much",
            format!("only {left} of what this leg was charged is left to give back"),
        )),
    }
}

pub async fn refund(
    Known(reception): Known,
    Moment(now): Moment,
    Named(leg): Named,
    Said(order): Said<RefundOrder>,
) -> Result<Json<Value>, Problem> {
    let booked = refund_of(&reception.store, &leg, &order, now).await?;
    reception.switchboard.paid_in();
    Ok(Json(booked))
}

fn which(order: &RerateOrder) -> Result<Which, Problem> {
    if order.key.is_empty() || order.reason.trim().is_empty() {
        return Err(Problem::bad("expected a key, so that a repeat books nothing, and a reason"));
    }
    match (&order.leg, &order.org, &order.from, &order.to) {
        (Some(leg), None, None, None) => Ok(Which::Leg(parse("leg", leg)?)),
        (None, Some(org), Some(from), Some(to)) => {
            let (from, to) = (moment("from", from)?, moment("to", to)?);
            Ok(Which::Period { organisation: parse("org", org)?, from, to })
        }
        _ => Err(Problem::bad("expected leg alone, or org with from and to")),
    }
}

pub async fn rerate_of(store: &Store, order: &RerateOrder, now: Wall) -> Result<Value, Problem> {
    let which = which(order)?;
    let told = store.rerate(&which, (!order.dry_run).then_some((&order.key, &order.reason)), now).await?;
    Ok(rerated(&told, !order.dry_run))
}

/// What an order would book.
pub async fn rerate_tried(trial: &mut Rehearsal, order: &RerateOrder) -> Result<Value, Problem> {
    Ok(rerated(&trial.rerate(&which(order)?).await?, false))
}

fn rerated(told: &Rerating, booked: bool) -> Value {
    let list: Vec<Value> = told
        .list
        .iter()
        .map(|one| {
            json!({
                "leg": one.leg.to_string(), "before": one.before.to_text(), "price": one.price.to_text(),
                "amount": one.amount.to_text(), "why_not": one.why_not,
            })
        })
        .collect();
    json!({
        "booked": booked, "legs": told.legs, "changed": told.changed, "failed": told.failed,
        "amount": told.amount.to_text(), "list": list,
    })
}

pub async fn rerate(
    Known(reception): Known,
    Moment(now): Moment,
    Said(order): Said<RerateOrder>,
) -> Result<Json<Value>, Problem> {
    let booked = rerate_of(&reception.store, &order, now).await?;
    reception.switchboard.paid_in();
    Ok(Json(booked))
}

/// Which corrections.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorrectionsQuery {
    pub org: Option<String>,
    /// Booked at or after: RFC 3339, or a date.
    pub from: Option<String>,
    /// Booked before.
    pub to: Option<String>,
}

pub async fn corrections_of(store: &Store, query: &CorrectionsQuery) -> Result<Value, Problem> {
    let CorrectionsQuery { org, from, to } = query.clone();
    let query = UsageQuery { org, from, to, ..UsageQuery::default() };
    let corrections = store.corrections(&filter(store, &query)?).await?;
    Ok(corrections.iter().map(shown).collect())
}

pub async fn corrections(
    Known(reception): Known,
    Query(query): Query<CorrectionsQuery>,
) -> Result<Json<Value>, Problem> {
    corrections_of(&reception.store, &query).await.map(Json)
}

pub async fn corrections_of_one(
    known: Known,
    Named(organisation): Named,
    Query(mut query): Query<CorrectionsQuery>,
) -> Result<Json<Value>, Problem> {
    within(&mut query.org, organisation)?;
    corrections(known, Query(query)).await
}

/// A settled leg: its record, and what was put right since. Of an organisation: another's is none.
pub async fn usage_of_leg(
    store: &Store,
    masking: &Masking,
    of: Option<&OrganisationId>,
    leg: &str,
) -> Result<Value, Problem> {
    let leg: LegId = parse("leg", leg)?;
    let record = store.record(leg).await?;
    if !is_there(of, record.beyond.organisation.as_ref().map(OrganisationId::as_str)) {
        return Err(StoreError::Unknown(format!("leg {leg}")).into());
    }
    let corrections = store.corrections_of(leg).await?;
    let net = record.charge.0 + corrections.iter().map(|correction| correction.amount.0).sum::<i64>();
    let broken =
        |error: serde_json::Error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "broken", error.to_string());
    let outside = masking.party_of(&record, payer_country(&store.facts(), &record));
    let record: Value = serde_json::from_str(&record.to_json(&outside)).map_err(broken)?;
    let corrections: Vec<Value> = corrections.iter().map(shown).collect();
    Ok(json!({ "record": record, "corrections": corrections, "net_charge": Micros(net).to_text() }))
}

pub async fn usage(Known(reception): Known, path: RawPathParams) -> Result<Json<Value>, Problem> {
    let of = of_path(&path)?;
    usage_of_leg(&reception.store, &reception.masking, of.as_ref(), named(&path, "leg")).await.map(Json)
}
