//! Grants: seconds and money beside the pool. Each question is a function of the store too.

use super::extract::{Json as Said, Known, Named, Query, TwoNames};
use super::io::Moment;
use super::leg::parse;
use super::money::moment;
use super::problem::Problem;
use crate::clock::Wall;
use crate::rating::grant::{Filter, Unit};
use crate::rating::record;
use crate::store::{EndGrant, GrantAdded, GrantRow, NewGrant, Store, USUAL_PRIORITY};
use crate::types::{GrantId, Micros, OrganisationId};
use axum::Json;
use axum::http::StatusCode;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt::Display;
use std::str::FromStr;

/// Give seconds or money.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantOrder {
    /// Chosen by whoever asks, unique over the whole bridge: a repeat gives nothing more.
    pub id: String,
    /// `seconds` or `money`.
    pub unit: String,
    /// `promo` or `paid`.
    pub source: String,
    /// A decimal, as text: seconds, or money of the organisation's currency.
    pub amount: String,
    /// The lower is used first; 100 where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u16>,
    /// RFC 3339, or a date; now where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The first moment at which it is not good any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Which calls it pays: each list narrows it, an empty one does not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub call_types: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub countries: Vec<String>,
    #[serde(default)]
    pub zone_a: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    #[serde(default)]
    pub memo: String,
}

fn list<T: FromStr<Err: Display>>(name: &str, texts: &[String]) -> Result<Vec<T>, Problem> {
    texts.iter().map(|text| parse(name, text)).collect()
}

/// Milliseconds or micros.
fn amount(unit: Unit, text: &str) -> Result<u64, Problem> {
    let bad = |expected: &str| Problem::bad(format!("amount: expected {expected}, found \"{text}\""));
    let amount = match unit {
        Unit::Seconds => {
            let seconds =
                Decimal::from_str_exact(text).ok().and_then(|seconds| seconds.checked_mul(Decimal::ONE_THOUSAND));
            let whole = seconds.filter(|ms| ms.fract().is_zero()).and_then(|ms| u64::try_from(ms.trunc()).ok());
            whole.ok_or_else(|| bad("seconds, like 600"))?
        }
        Unit::Money => u64::try_from(parse::<Micros>("amount", text)?.0).map_err(|_| bad("more than zero"))?,
    };
    if amount == 0 { Err(bad("more than zero")) } else { Ok(amount) }
}

pub async fn add_to(store: &Store, organisation: &str, order: &GrantOrder, now: Wall) -> Result<Value, Problem> {
    let unit = parse("unit", &order.unit)?;
    let filter = Filter {
        call_types: list("call_types", &order.call_types)?,
        prefixes: order.prefixes.iter().map(|text| text.trim_start_matches('+').to_owned()).collect(),
        countries: list("countries", &order.countries)?,
        zone_a: order.zone_a,
        capabilities: list("capabilities", &order.capabilities)?,
    };
    filter.check().map_err(Problem::bad)?;
    let new = NewGrant {
        id: parse("id", &order.id)?,
        organisation: parse("organisation", organisation)?,
        unit,
        source: parse("source", &order.source)?,
        amount: amount(unit, &order.amount)?,
        priority: order.priority.unwrap_or(USUAL_PRIORITY),
        from: order.from.as_deref().map(|from| moment("from", from)).transpose()?,
        until: order.until.as_deref().map(|until| moment("until", until)).transpose()?,
        filter,
        memo: order.memo.clone(),
        at: now,
    };
    match store.add_grant(new).await? {
        GrantAdded::Booked(row) => Ok(json!({ "booked": true, "grant": shown(&row, now) })),
        GrantAdded::Repeated(row) => Ok(json!({ "booked": false, "grant": shown(&row, now) })),
        GrantAdded::TooMany { most } => Err(Problem::new(
            StatusCode::CONFLICT,
            "too-many",
            format!("an organisation has at most {most} grants that are not used up: end some first"),
        )),
    }
}

/// Amounts as people read them: seconds, or money.
fn shown(row: &GrantRow, now: Wall) -> Value {
    let grant = &row.grant;
    let text = |amount: u64| match grant.unit {
        Unit::Seconds => Decimal::from_i128_with_scale(i128::from(amount), 3).normalize().to_string(),
        Unit::Money => Micros(i64::try_from(amount).unwrap_or(i64::MAX)).to_text(),
    };
    let filter = &grant.filter;
    let texts = |items: Vec<String>| Value::from(items);
    json!({
        "id": grant.id.as_str(), "organisation": row.organisation.as_str(), "unit": grant.unit.slug(),
        "source": grant.source.slug(), "state": row.state(now), "amount": text(grant.amount), "used": text(row.used),
        "held": text(row.held), "lapsed": text(row.lapsed), "left": text(grant.left), "priority": grant.priority,
        "from": record::utc(grant.from), "until": grant.until.map(record::utc),
        "call_types": texts(filter.call_types.iter().map(ToString::to_string).collect()),
        "prefixes": filter.prefixes, "zone_a": filter.zone_a,
        "countries": texts(filter.countries.iter().map(ToString::to_string).collect()),
        "capabilities": texts(filter.capabilities.iter().map(ToString::to_string).collect()),
        "created": record::utc(grant.created), "memo": row.memo,
    })
}

pub async fn add(
    Known(reception): Known,
    Moment(now): Moment,
    Named(organisation): Named,
    Said(order): Said<GrantOrder>,
) -> Result<Json<Value>, Problem> {
    let booked = add_to(&reception.store, &organisation, &order, now).await?;
    reception.switchboard.paid_in();
    Ok(Json(booked))
}

/// Which grants.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantsQuery {
    /// Those that are used up or over, too.
    #[serde(default)]
    pub all: bool,
}

/// In the order in which they are used.
pub async fn grants_of(store: &Store, organisation: &str, query: &GrantsQuery, now: Wall) -> Result<Value, Problem> {
    let organisation: OrganisationId = parse("organisation", organisation)?;
    let rows = store.grants(&organisation, query.all).await?;
    Ok(rows.iter().map(|row| shown(row, now)).collect())
}

pub async fn of_organisation(
    Known(reception): Known,
    Moment(now): Moment,
    Named(organisation): Named,
    Query(query): Query<GrantsQuery>,
) -> Result<Json<Value>, Problem> {
    grants_of(&reception.store, &organisation, &query, now).await.map(Json)
}

pub async fn end_of(store: &Store, organisation: &str, grant: &str, now: Wall) -> Result<Value, Problem> {
    let (id, organisation): (GrantId, _) = (parse("grant", grant)?, parse("organisation", organisation)?);
    let row = store.end_grant(EndGrant { id, organisation, at: now }).await?;
    Ok(shown(&row, now))
}

pub async fn end(
    Known(reception): Known,
    Moment(now): Moment,
    TwoNames(organisation, grant): TwoNames,
) -> Result<Json<Value>, Problem> {
    let ended = end_of(&reception.store, &organisation, &grant, now).await?;
    reception.switchboard.paid_in();
    Ok(Json(ended))
}
