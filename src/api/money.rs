//! Money: files brought in, quotes, usage, balances, credits, the audit. Each question is a function of the store too,
//! so that the command line gives the same answer with and without a running bridge.

use super::extract::{Json as Said, Known, Named, Query};
use super::grant::{self, GrantsQuery};
use super::io::{Moment, aside};
use super::leg::parse;
use super::problem::Problem;
use crate::clock::Wall;
use crate::form::Mistake;
use crate::notice::address::Barred;
use crate::notice::{self, Gate, HookUrl, Kind, alert};
use crate::rating::costs::{COMPARED_MINUTES, Call};
use crate::rating::report::Masking;
use crate::rating::{CallType, Origin, UsageRecord, record};
use crate::store::{
    Applied, CreditsAdded, Difference, Document, Facts, FundingRow, Funds, FundsKind, Preview, Quote, QuoteRequest,
    Raise, Rehearsal, Store, StoreError, Turned, UsageFilter,
};
use crate::telemetry::name;
use crate::types::{CarrierId, Cause, Country, Micros, OrganisationId, UserId};
use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        match error {
            StoreError::Unknown(what) => stranger(&what),
            StoreError::Refused(cause) => Problem::refused(cause),
            StoreError::Conflict(why) => Problem::new(StatusCode::CONFLICT, "conflict", why),
            StoreError::Broken(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "broken", error.to_string()),
            StoreError::Down(_)
            | StoreError::Unasked
            | StoreError::Fenced(_)
            | StoreError::Full
            | StoreError::Raced(_) => Problem::down(error.to_string()),
        }
    }
}

fn stranger(what: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown", format!("there is no {what}"))
}

/// A file for `apply`, with the deck beside it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    pub name: String,
    pub text: String,
    /// What stands beside it: name and text.
    #[serde(default)]
    pub beside: Vec<(String, String)>,
}

fn read(file: &File) -> Result<Document, Vec<Mistake>> {
    let beside = |name: &str| {
        let found = file.beside.iter().find(|(known, _)| known == name);
        found.map(|(_, text)| text.clone()).ok_or_else(|| "it was not sent along".to_owned())
    };
    Document::parse(&file.name, &file.text, beside)
}

fn told(mistakes: Vec<Mistake>) -> Problem {
    Problem::mistakes(mistakes.iter().map(ToString::to_string).collect())
}

/// What a file would change, of which nothing is written.
pub async fn preview_of(store: &Store, gate: &Gate, file: File, now: Wall) -> Result<Value, Problem> {
    let document = barring(gate, file).await?;
    told_of(store.preview(document, now).await?)
}

/// The same of a trial.
pub async fn tried_of(trial: &mut Rehearsal, gate: &Gate, file: File, now: Wall) -> Result<Value, Problem> {
    let document = barring(gate, file).await?;
    told_of(trial.preview(document, now).await?)
}

/// The file, read, if its hooks may lead where they do.
async fn barring(gate: &Gate, file: File) -> Result<Document, Problem> {
    let document = aside(move || read(&file)).await?.map_err(told)?;
    let mistakes = barred(gate, &document).await;
    if mistakes.is_empty() { Ok(document) } else { Err(told(mistakes)) }
}

fn told_of(preview: Result<Preview, Vec<Mistake>>) -> Result<Value, Problem> {
    let Preview { applied, detail } = preview.map_err(told)?;
    let mut shown = shown(&applied);
    shown["would_change"] = serde_json::from_str(&detail).unwrap_or_default();
    Ok(shown)
}

fn shown(applied: &Applied) -> Value {
    json!({
        "organisations": applied.organisations, "users": applied.users, "meetings": applied.meetings,
        "numbers": applied.numbers, "carriers": applied.carriers, "countries": applied.countries,
        "rates": applied.rates, "funded": applied.funded, "granted": applied.granted, "over": applied.over,
        "pending_limits": applied.pending,
    })
}

pub async fn apply_to(store: &Store, gate: &Gate, file: File, now: Wall) -> Result<Value, Problem> {
    let name = file.name.clone();
    // A deck of 200,000 rows is read for a second.
    let read = aside(move || read(&file)).await?;
    let mistakes = match &read {
        Ok(document) => barred(gate, document).await,
        Err(mistakes) => mistakes.clone(),
    };
    let document = match read {
        Ok(document) if mistakes.is_empty() => document,
        _ => {
            let reasons = mistakes.iter().map(|mistake| mistake.text.clone()).collect();
            let what = format!("file {name}");
            turn_away(store, Turned { verb: "apply", what, organisation: None, reasons, at: now }).await;
            return Err(told(mistakes));
        }
    };
    Ok(shown(&store.apply(document, now).await?.map_err(told)?))
}

/// How a file is brought in.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyQuery {
    /// Only tell what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// The trail tells of it; whoever asked is told of their mistakes in any case.
pub(super) async fn turn_away(store: &Store, turned: Turned) {
    if let Err(fault) = store.turn_away(turned).await {
        tracing::error!(%fault, "a refusal is not in the trail");
    }
}

/// Hooks that lead where none may: told when they are saved, and looked at again each time something is sent.
async fn barred(gate: &Gate, document: &Document) -> Vec<Mistake> {
    let hooks = document.hooks();
    let urls: Vec<HookUrl> = hooks.iter().map(|(_, url)| url.clone()).collect();
    let found = notice::io::check_all(gate, &urls).await;
    let mistake = |((line, url), barred): ((usize, HookUrl), Option<Barred>)| {
        let text = format!("{url:?}: {}", barred?);
        Some(Mistake { file: document.file().to_owned(), line, text })
    };
    hooks.into_iter().zip(found).filter_map(mistake).collect()
}

pub async fn apply(
    Known(reception): Known,
    Moment(now): Moment,
    Query(query): Query<ApplyQuery>,
    Said(file): Said<File>,
) -> Result<Json<Value>, Problem> {
    if query.dry_run {
        return preview_of(&reception.store, &reception.gate, file, now).await.map(Json);
    }
    apply_to(&reception.store, &reception.gate, file, now).await.map(Json)
}

/// Which records, and how they are written.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    pub org: Option<String>,
    /// RFC 3339, or a date.
    pub from: Option<String>,
    pub to: Option<String>,
    /// `json` (default) or `csv`.
    pub format: Option<String>,
    /// JSON alone: also what the carrier takes.
    #[serde(default)]
    pub costs: Option<bool>,
}

/// Reads a moment as people write it.
pub fn moment(name: &str, text: &str) -> Result<Wall, Problem> {
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    let at: jiff::Timestamp = whole.parse().map_err(|_| {
        Problem::bad(format!("{name}: expected a date or moment like 2026-11-23 or 2026-11-23T10:00:00Z"))
    })?;
    Ok(Wall::from_micros(at.as_microsecond()))
}

pub(super) fn filter(store: &Store, query: &UsageQuery) -> Result<UsageFilter, Problem> {
    let organisation: Option<OrganisationId> = query.org.as_deref().map(|org| parse("org", org)).transpose()?;
    // Nothing was used by an organisation that nobody knows, but its name is more likely misspelt.
    if let Some(unknown) = organisation.as_ref().filter(|org| !store.facts().organisations.contains_key(*org)) {
        return Err(stranger(&format!("organisation {unknown}")));
    }
    Ok(UsageFilter {
        organisation,
        from: query.from.as_deref().map(|from| moment("from", from)).transpose()?,
        to: query.to.as_deref().map(|to| moment("to", to)).transpose()?,
        limit: None,
    })
}

/// Where whoever pays for a leg is at home.
pub(super) fn payer_country(facts: &Facts, record: &UsageRecord) -> Option<Country> {
    let organisation = record.beyond.organisation.as_ref()?;
    facts.organisations.get(organisation).map(|own| own.country)
}

/// Usage records as JSON text or CSV.
pub async fn usage_of(store: &Store, masking: &Masking, query: &UsageQuery) -> Result<String, Problem> {
    let records = store.usage(&filter(store, query)?).await?;
    let facts = store.facts();
    let shown = |record: &UsageRecord| masking.party_of(record, payer_country(&facts, record));
    Ok(match query.format.as_deref() {
        Some("csv") => {
            // Each line ends with CR LF, the last too (RFC 4180 section 2).
            let rows = records.iter().map(|record| record.csv_row(&shown(record)));
            std::iter::once(record::csv_header()).chain(rows).map(|row| row + "\r\n").collect()
        }
        None | Some("json") => {
            let costs = query.costs == Some(true);
            let row = if costs { UsageRecord::to_json_with_cost } else { UsageRecord::to_json };
            let rows: Vec<String> = records.iter().map(|record| row(record, &shown(record))).collect();
            format!("[{}]", rows.join(",\n"))
        }
        Some(other) => return Err(Problem::bad(format!("format: expected json or csv, found \"{other}\""))),
    })
}

pub async fn usage(Known(reception): Known, Query(query): Query<UsageQuery>) -> Result<Response, Problem> {
    let text = usage_of(&reception.store, &reception.masking, &query).await?;
    let kind = if query.format.as_deref() == Some("csv") { "text/csv" } else { "application/json" };
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// A query of an organisation's own page: the path says whose it is.
pub(super) fn within(org: &mut Option<String>, organisation: String) -> Result<(), Problem> {
    match org.replace(organisation.clone()) {
        Some(other) if other != organisation => Err(Problem::bad("org: the path has another organisation")),
        _ => Ok(()),
    }
}

/// What carriers take is known to the house alone.
fn no_costs(costs: Option<bool>) -> Result<(), Problem> {
    let why = "what carriers take is known to the house alone: leave costs out";
    if costs == Some(true) { Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", why)) } else { Ok(()) }
}

pub async fn usage_of_one(
    known: Known,
    Named(organisation): Named,
    Query(mut query): Query<UsageQuery>,
) -> Result<Response, Problem> {
    no_costs(query.costs)?;
    within(&mut query.org, organisation)?;
    usage(known, Query(query)).await
}

/// A quote for no longer than a week, the longest call that settings allow.
pub const MOST_MINUTES: u32 = 7 * 24 * 60;

/// What would it cost?
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuoteQuery {
    pub organiser: String,
    #[serde(rename = "type")]
    pub call_type: String,
    pub to: String,
    #[serde(default)]
    pub caller: Option<String>,
    #[serde(default)]
    pub minutes: Option<u32>,
    /// Also what carriers take, and what is left of the charge.
    #[serde(default)]
    pub costs: Option<bool>,
}

pub fn minutes(asked: Option<u32>) -> Result<u32, Problem> {
    let minutes = asked.unwrap_or(10);
    let wrong = || Problem::bad(format!("minutes: expected 1 to {MOST_MINUTES}, found {minutes}"));
    (1..=MOST_MINUTES).contains(&minutes).then_some(minutes).ok_or_else(wrong)
}

pub async fn quote_of(store: &Store, query: &QuoteQuery, now: Wall) -> Result<Value, Problem> {
    let call_type: CallType = parse("type", &query.call_type)?;
    let request = QuoteRequest {
        organiser: parse("organiser", &query.organiser)?,
        call_type,
        number: super::leg::dialled(&query.to)?,
        caller: query.caller.as_deref().map(|caller| parse("caller", caller)).transpose()?,
        minutes: minutes(query.minutes)?,
        now,
    };
    Ok(match store.quote(&request).await? {
        Ok(quote) => {
            let mut answer = json!({
                "allowed": true, "funding": quote.funding.slug(), "currency": quote.currency.to_string(),
                "charge": quote.charge.to_text(), "connect_fee": quote.connect_fee.to_text(),
                "until_seconds": quote.until_ms / 1_000, "pool_seconds": quote.pool_used_ms / 1_000,
                "lines": quote.lines,
            });
            if query.costs == Some(true) {
                answer["costs"] = costs(&store.facts(), &request, &quote);
            }
            answer
        }
        Err(cause) => refused(cause),
    })
}

/// What carriers take for a quoted call: out, all that would be tried, in their order; in, whoever says what it takes.
fn costs(facts: &Facts, request: &QuoteRequest, quote: &Quote) -> Value {
    let (digits, at) = (request.number.digits(), request.now);
    let compared = u64::from(COMPARED_MINUTES) * 60_000;
    let call = Call {
        call_type: request.call_type,
        digits,
        origin: Origin::Fixed,
        at,
        ms: quote.until_ms,
        currency: quote.currency,
    };
    let mut carriers: Vec<&CarrierId> = match request.call_type {
        CallType::DialOut => facts.directory.routes(&request.number, at).iter().map(|carrier| &carrier.id).collect(),
        CallType::DialInToll | CallType::DialInTollFree => facts.costs.lists().map(|(carrier, _)| carrier).collect(),
    };
    let priority = |id: &CarrierId| facts.directory.carrier(id).map_or(0, |carrier| carrier.turn.priority);
    let is_out = request.call_type == CallType::DialOut;
    carriers.sort_by_cached_key(|carrier| {
        let rank = facts.costs.rank(carrier, &Call { ms: compared, ..call });
        (if is_out { priority(carrier) } else { 0 }, rank)
    });
    let shown = carriers.into_iter().map(|carrier| {
        let cost = facts.costs.of(carrier, &call);
        let earned = cost.and_then(|cost| quote.charge.checked_sub(cost.compared?));
        json!({
            "carrier": carrier.as_str(), "prefix": cost.map(|cost| cost.row.prefix.to_string()),
            "amount": cost.map(|cost| cost.amount.to_text()),
            "currency": cost.map(|cost| cost.deck.currency().to_string()), "earned": earned.map(Micros::to_text),
        })
    });
    shown.collect()
}

fn refused(cause: Cause) -> Value {
    json!({ "allowed": false, "cause": cause.slug(), "message": cause.words() })
}

pub async fn quote(
    Known(reception): Known,
    Moment(now): Moment,
    Query(query): Query<QuoteQuery>,
) -> Result<Json<Value>, Problem> {
    quote_of(&reception.store, &query, now).await.map(Json)
}

/// Of an organisation's own organisers: another's is none.
pub async fn quote_of_one(
    Known(reception): Known,
    Moment(now): Moment,
    Named(organisation): Named,
    Query(query): Query<QuoteQuery>,
) -> Result<Json<Value>, Problem> {
    no_costs(query.costs)?;
    let organiser: UserId = parse("organiser", &query.organiser)?;
    let facts = reception.store.facts();
    if facts.users.get(&organiser).is_none_or(|user| user.organisation.as_str() != organisation) {
        return Err(stranger(&format!("user {organiser}")));
    }
    quote_of(&reception.store, &query, now).await.map(Json)
}

pub async fn balance_of(store: &Store, organisation: &str, now: Wall) -> Result<Value, Problem> {
    let organisation: OrganisationId = parse("organisation", organisation)?;
    let balance = store.balance(&organisation).await?;
    let fundings = fundings(&balance.fundings);
    let pool = store.pool(&organisation, now).await?;
    let grants = grant::grants_of(store, organisation.as_str(), &GrantsQuery::default(), now).await?;
    Ok(json!({
        "organisation": organisation.as_str(), "currency": balance.currency.to_string(),
        "posted": balance.posted.to_text(), "held": balance.held.to_text(), "available": balance.available.to_text(),
        "fundings": fundings, "grants": grants,
        "pool": {
            "granted_seconds": pool.granted_ms / 1_000, "used_seconds": pool.used_ms / 1_000,
            "held_seconds": pool.held_ms / 1_000,
        },
    }))
}

fn fundings(rows: &[FundingRow]) -> Vec<Value> {
    let shown = |row: &FundingRow| {
        json!({
            "key": row.key, "amount": row.amount.to_text(), "remaining": row.remaining.to_text(),
            "at": record::utc(row.at), "expires": record::utc(row.expires),
        })
    };
    rows.iter().map(shown).collect()
}

/// At which moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AsOfQuery {
    /// RFC 3339, or a date.
    pub at: String,
}

pub async fn as_of(store: &Store, organisation: &str, query: &AsOfQuery, now: Wall) -> Result<Value, Problem> {
    let organisation: OrganisationId = parse("organisation", organisation)?;
    let told = store.as_of(&organisation, moment("at", &query.at)?, now).await?;
    Ok(json!({
        "organisation": organisation.as_str(), "currency": told.currency.to_string(), "at": record::utc(told.at),
        "posted": told.posted.to_text(), "expiring": told.expiring.to_text(), "fundings": fundings(&told.fundings),
    }))
}

pub async fn balance_as_of(
    Known(reception): Known,
    Moment(now): Moment,
    Named(organisation): Named,
    Query(query): Query<AsOfQuery>,
) -> Result<Json<Value>, Problem> {
    as_of(&reception.store, &organisation, &query, now).await.map(Json)
}

pub async fn balance(
    Known(reception): Known,
    Moment(now): Moment,
    Named(organisation): Named,
) -> Result<Json<Value>, Problem> {
    balance_of(&reception.store, &organisation, now).await.map(Json)
}

/// Money in, or a correction.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditsOrder {
    /// `add` or `adjust`.
    pub kind: String,
    /// A decimal, as text.
    pub amount: String,
    /// Chosen by whoever asks: a repeat books nothing.
    pub key: String,
    #[serde(default)]
    pub memo: String,
}

pub async fn credits_of(store: &Store, organisation: &str, order: &CreditsOrder, now: Wall) -> Result<Value, Problem> {
    let kind = match order.kind.as_str() {
        "add" => FundsKind::Funding,
        "adjust" => FundsKind::Adjustment,
        other => return Err(Problem::bad(format!("kind: expected add or adjust, found \"{other}\""))),
    };
    let amount: Micros = parse("amount", &order.amount)?;
    match kind {
        _ if order.key.is_empty() => return Err(Problem::bad("key: expected one, so that a repeat books nothing")),
        FundsKind::Funding if amount <= Micros::ZERO => {
            return Err(Problem::bad(format!("amount: a funding is more than zero, found {amount}")));
        }
        FundsKind::Adjustment if amount == Micros::ZERO => {
            return Err(Problem::bad("amount: an adjustment is not zero"));
        }
        FundsKind::Funding | FundsKind::Adjustment => {}
    }
    let organisation: OrganisationId = parse("organisation", organisation)?;
    let currency = store.facts().organisations.get(&organisation).map(|known| known.currency.to_string());
    let funds = Funds { organisation, key: order.key.clone(), amount, kind, memo: order.memo.clone(), at: now };
    match store.add_credits(funds).await? {
        CreditsAdded::Booked => Ok(json!({ "booked": true, "amount": amount.to_text(), "key": order.key })),
        CreditsAdded::Repeated => Ok(json!({ "booked": false, "amount": amount.to_text(), "key": order.key })),
        CreditsAdded::NotAvailable { available } => Err(Problem::new(
            StatusCode::CONFLICT,
            "not-available",
            format!(
                "only {available} {} is available; what is held for running calls cannot be taken",
                currency.unwrap_or_default()
            ),
        )),
    }
}

pub async fn credits(
    Known(reception): Known,
    Moment(now): Moment,
    Named(organisation): Named,
    Said(order): Said<CreditsOrder>,
) -> Result<Json<Value>, Problem> {
    let booked = credits_of(&reception.store, &organisation, &order, now).await?;
    reception.switchboard.paid_in();
    Ok(Json(booked))
}

/// Looks whether the books are right. What is not is told to the house too.
pub async fn audit_of(store: &Store, now: Wall) -> Result<Value, Problem> {
    let differences = store.audit().await?;
    metrics::gauge!(name::AUDIT_DIFFERENCES).set(differences.len() as f64);
    if let Some(first) = differences.first() {
        tell_house(store, differences.len(), first, now).await?;
    }
    let rows: Vec<Value> = differences
        .iter()
        .map(|row| json!({ "invariant": row.invariant, "place": row.place, "text": row.text }))
        .collect();
    Ok(json!({ "differences": rows }))
}

/// Told once a day and number: an audit that is run every minute must not tell it every minute.
async fn tell_house(store: &Store, count: usize, first: &Difference, now: Wall) -> Result<(), Problem> {
    let day: String = record::utc(now).chars().take(10).collect();
    let first = format!("{}: {}", first.place, first.text);
    let raised = Raise {
        key: format!("{}:{day}:{count}", Kind::AuditDifference),
        kind: Kind::AuditDifference,
        organisation: None,
        at: now,
        facts: alert::facts([("count", count.to_string()), ("first", first)]),
    };
    store.raise(raised).await?;
    Ok(())
}

pub async fn audit(Known(reception): Known, Moment(now): Moment) -> Result<Json<Value>, Problem> {
    audit_of(&reception.store, now).await.map(Json)
}
