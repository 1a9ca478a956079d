//! Reports, the monthly statement, and carriers' files compared: each question is a function of the store too, so that
//! the command line gives the same answer with and without a running bridge.

use super::extract::{Json as Said, Known, Named, Query, TwoNames};
use super::io::{Moment, aside};
use super::leg::parse;
use super::problem::Problem;
use crate::clock::Wall;
use crate::rating::ledger::{self, Entry};
use crate::rating::reconcile::{self, Column, Kind, Mapping, Ours, Outcome, Theirs, Tolerance};
use crate::rating::report::balance::{Days, Standing, standings};
use crate::rating::report::statement::{Draft, Heading, Pool};
use crate::rating::report::usage::Which;
use crate::rating::report::{BadPeriod, By, Cell, Excess, Masking, Period, Table, Tally};
use crate::store::{Facts, MonthRow, Organisation, Reconciled, Rehearsal, Store, UsageFilter};
use crate::types::{CarrierId, Country, Micros, OrganisationId};
use axum::Json;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::sync::Arc;

/// Months of a pool report at most.
const MOST_MONTHS: usize = 120;

impl From<Excess> for Problem {
    fn from(excess: Excess) -> Problem {
        Problem::bad(excess.to_string())
    }
}

impl From<BadPeriod> for Problem {
    fn from(bad: BadPeriod) -> Problem {
        Problem::bad(bad.to_string())
    }
}

/// Which report, of whom, of when.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportQuery {
    /// `day,organiser,country,number,capability,carrier,organisation`.
    pub by: Option<String>,
    /// A day, a month or a moment, in the organisation's zone.
    pub from: Option<String>,
    pub to: Option<String>,
    /// `json` (default) or `csv`.
    pub format: Option<String>,
}

/// The organisations that a report is of.
fn organisations(store: &Store, org: Option<&str>) -> Result<Vec<Organisation>, Problem> {
    let facts = store.facts();
    let Some(org) = org else { return Ok(facts.organisations.values().cloned().collect()) };
    let id: OrganisationId = parse("organisation", org)?;
    facts.organisations.get(&id).cloned().map(|own| vec![own]).ok_or_else(|| Problem::unknown("organisation"))
}

/// A report as a table. Without an organisation it is of all of them, each in its own zone.
pub async fn report_of(
    store: &Store,
    masking: &Masking,
    (name, org): (&str, Option<&str>),
    query: &ReportQuery,
    now: Wall,
) -> Result<Table, Problem> {
    let own = organisations(store, org)?;
    let by = By::list(query.by.as_deref().unwrap_or_default()).map_err(Problem::bad)?;
    let period = |own: &Organisation| Period::read(&own.time_zone, query.from.as_deref(), query.to.as_deref());
    match (name, by.as_slice()) {
        ("usage", by) => tally(store, masking, &own, by, Which::All, period).await,
        ("pool", []) => pools(store, &own, query, now).await,
        ("pool", by) => tally(store, masking, &own, by, Which::Pool, period).await,
        ("balance", []) => balances(store, &own, query, now).await,
        ("balance", [By::Day]) => days(store, &own, period).await,
        ("balance", _) => Err(Problem::bad("by: a balance is told by day, or not by anything")),
        _ => Err(Problem::unknown("report: there are usage, pool and balance")),
    }
}

async fn tally(
    store: &Store,
    masking: &Masking,
    all: &[Organisation],
    by: &[By],
    which: Which,
    period: impl Fn(&Organisation) -> Result<Period, BadPeriod>,
) -> Result<Table, Problem> {
    let mut tally = Tally::new(by, which, masking.clone());
    for own in all {
        let period = period(own)?;
        let filter = UsageFilter { organisation: Some(own.id.clone()), from: period.from, to: period.to, limit: None };
        store.each_record(&filter, |record| tally.add(&record, &period, Some(own.country))).await??;
    }
    Ok(tally.table())
}

async fn pools(store: &Store, all: &[Organisation], query: &ReportQuery, now: Wall) -> Result<Table, Problem> {
    let mut table = Table::new(&[
        "organisation",
        "month",
        "country",
        "description",
        "capability",
        "total_minutes",
        "used_minutes",
        "held_minutes",
        "available_minutes",
    ]);
    for own in all {
        let period = match (&query.from, &query.to) {
            (None, None) => Period::month_around(&own.time_zone, now)?,
            (from, to) => Period::read(&own.time_zone, from.as_deref(), to.as_deref())?,
        };
        if period.from.is_none() || period.to.is_none() {
            return Err(Problem::bad("from and to: a pool is told of months that have an end: say both, or neither"));
        }
        for month in period.months(MOST_MONTHS) {
            let pool = store.pool(&own.id, month).await?;
            let left = pool.granted_ms.saturating_sub(pool.used_ms + pool.held_ms);
            table.rows.push(vec![
                Cell::text(own.id.as_str()),
                Cell::text(period.month_of(month)),
                Cell::text(own.country.to_string()),
                Cell::text("Outbound calls to Zone A countries"),
                Cell::text("MCOMEETADD"),
                Cell::Count(pool.granted_ms / 60_000),
                Cell::Count(pool.used_ms.div_ceil(60_000)),
                Cell::Count(pool.held_ms.div_ceil(60_000)),
                Cell::Count(left / 60_000),
            ]);
        }
    }
    Ok(table)
}

/// Days that a balance's use is measured over, where no period is asked for.
const USUAL_DAYS: u64 = 30;
const DAY_MS: u64 = 86_400_000;

async fn balances(store: &Store, all: &[Organisation], query: &ReportQuery, now: Wall) -> Result<Table, Problem> {
    let mut found = Vec::with_capacity(all.len());
    for own in all {
        let asked = Period::read(&own.time_zone, query.from.as_deref(), query.to.as_deref())?;
        let usual = Wall::from_micros(now.micros() - (USUAL_DAYS * DAY_MS * 1_000) as i64);
        let (from, to) = (asked.from.unwrap_or(usual), asked.to.unwrap_or(now));
        let mut spent = 0_i128;
        let add = |entry: Entry| {
            let paid_it = entry.credit.kind == ledger::Kind::Earnings && entry.debit.kind != ledger::Kind::Grant;
            if from <= entry.at && entry.at < to && paid_it {
                spent += i128::from(entry.amount.0);
            }
            Ok::<(), Infallible>(())
        };
        let Ok(()) = store.each_entry(&own.id, add).await?;
        let balance = store.balance(&own.id).await?;
        let next = balance.fundings.iter().find(|funding| funding.remaining > Micros::ZERO);
        let micros = to.micros().saturating_sub(from.micros()).max(1);
        found.push(Standing {
            organisation: own.id.clone(),
            currency: balance.currency,
            posted: balance.posted,
            held: balance.held,
            available: balance.available,
            burn_nanos: balance.burn_nanos,
            spent: Micros(i64::try_from(spent).map_err(|_| Excess::Amount)?),
            days: u64::try_from(micros).unwrap_or(1).div_ceil(DAY_MS * 1_000),
            expiry: next.map(|funding| (funding.remaining, funding.expires)),
        });
    }
    Ok(standings(&found))
}

async fn days(
    store: &Store,
    all: &[Organisation],
    period: impl Fn(&Organisation) -> Result<Period, BadPeriod>,
) -> Result<Table, Problem> {
    let [own] = all else { return Err(Problem::bad("by: a balance is told by day of one organisation (--org)")) };
    let (period, mut days) = (period(own)?, Days::default());
    let add = |entry: Entry| {
        days.add(&entry, &period);
        Ok::<(), Infallible>(())
    };
    let Ok(()) = store.each_entry(&own.id, add).await?;
    Ok(days.table(own.currency)?)
}

/// A report in words.
pub async fn report_text(
    store: &Store,
    masking: &Masking,
    which: (&str, Option<&str>),
    query: &ReportQuery,
    now: Wall,
) -> Result<String, Problem> {
    let table = report_of(store, masking, which, query, now).await?;
    match query.format.as_deref() {
        Some("csv") => Ok(table.to_csv()),
        None | Some("json") => {
            let mut json = table.to_json();
            json["report"] = json!(which.0);
            json["columns"] = json!(table.columns);
            Ok(json.to_string())
        }
        Some(other) => Err(Problem::bad(format!("format: expected json or csv, found \"{other}\""))),
    }
}

fn written(text: String, format: Option<&str>) -> Response {
    let kind = if format == Some("csv") { "text/csv" } else { "application/json" };
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

pub async fn of_all(
    Known(reception): Known,
    Moment(now): Moment,
    Named(name): Named,
    Query(query): Query<ReportQuery>,
) -> Result<Response, Problem> {
    let text = report_text(&reception.store, &reception.masking, (&name, None), &query, now).await?;
    Ok(written(text, query.format.as_deref()))
}

pub async fn of_one(
    Known(reception): Known,
    Moment(now): Moment,
    TwoNames(org, name): TwoNames,
    Query(query): Query<ReportQuery>,
) -> Result<Response, Problem> {
    let text = report_text(&reception.store, &reception.masking, (&name, Some(&org)), &query, now).await?;
    Ok(written(text, query.format.as_deref()))
}

// ----------------------------------------------------------------------------------------------------------- statement

/// The statement of a month (`2026-11`) as one page of HTML.
pub async fn statement_of(store: &Store, org: &str, month: &str, now: Wall) -> Result<String, Problem> {
    let own = organisations(store, Some(org))?.remove(0);
    let period = Period::month(&own.time_zone, month)?;
    let (Some(from), Some(to)) = (period.from, period.to) else { return Err(Problem::bad("month: has no end")) };
    let mut draft = Draft::new(Heading {
        organisation: own.id.clone(),
        name: own.name.clone(),
        country: own.country,
        currency: own.currency,
        period,
        month: month.to_owned(),
        made: now,
    });
    let visit = |row: MonthRow| match row {
        MonthRow::Entry(entry) => draft.entry(&entry),
        MonthRow::Record(record) => draft.record(&record),
    };
    store.each_of_month(&own.id, (from, to), visit).await??;
    let pool = store.pool(&own.id, from).await?;
    let pool = Pool { granted_ms: pool.granted_ms, used_ms: pool.used_ms, held_ms: pool.held_ms };
    Ok(draft.finish(pool)?.to_html())
}

pub async fn statement(
    Known(reception): Known,
    Moment(now): Moment,
    TwoNames(org, month): TwoNames,
) -> Result<Response, Problem> {
    let page = statement_of(&reception.store, &org, &month, now).await?;
    Ok(([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response())
}

// -------------------------------------------------------------------------------------------------------- reconciliation

/// A carrier's file, and how it is to be read and compared.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CarrierFile {
    pub name: String,
    pub text: String,
    /// Our column and their header.
    #[serde(default)]
    pub map: Vec<(String, String)>,
    /// Of moments that do not tell theirs; UTC where not said.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// `second` (default), `millisecond` or `minute`.
    #[serde(default)]
    pub unit: Option<String>,
    #[serde(default)]
    pub decimal_comma: bool,
    #[serde(default)]
    pub day_first: bool,
    /// The time that the file covers, by the same zone; from its first call to its last where not said.
    #[serde(default)]
    pub from: Option<String>,
    #[serde(default)]
    pub to: Option<String>,
    /// Differences up to these are none.
    #[serde(default)]
    pub tolerance_ms: Option<u64>,
    #[serde(default)]
    pub tolerance_amount: Option<String>,
    #[serde(default)]
    pub window_ms: Option<u64>,
    /// Compared, and not remembered.
    #[serde(default)]
    pub dry_run: bool,
}

impl CarrierFile {
    fn zone(&self) -> &str {
        self.time_zone.as_deref().unwrap_or("UTC")
    }

    fn mapping(&self) -> Result<Mapping, Problem> {
        let column = |(column, header): &(String, String)| Ok((parse::<Column>("map", column)?, header.clone()));
        let zone = TimeZone::get(self.zone()).map_err(|_| {
            Problem::bad(format!("time_zone: expected one like Europe/Rome, found \"{}\"", self.zone()))
        })?;
        Ok(Mapping {
            columns: self.map.iter().map(column).collect::<Result<_, Problem>>()?,
            zone,
            unit: self.unit.as_deref().map(|unit| parse("unit", unit)).transpose()?.unwrap_or_default(),
            decimal_comma: self.decimal_comma,
            day_first: self.day_first,
        })
    }

    fn tolerance(&self) -> Result<Tolerance, Problem> {
        let usual = Tolerance::default();
        let amount: Option<Micros> =
            self.tolerance_amount.as_deref().map(|amount| parse("tolerance_amount", amount)).transpose()?;
        Ok(Tolerance {
            duration_ms: self.tolerance_ms.unwrap_or(usual.duration_ms),
            amount: amount.unwrap_or(usual.amount),
            window_ms: self.window_ms.unwrap_or(usual.window_ms),
        })
    }
}

/// Ours that ended so long after their beginning are still looked for, and legs so long before that were the beginning of one:
/// the longest call.
const LONGEST_CALL_MS: u64 = 7 * DAY_MS;

/// Compares a carrier's file with our legs, and remembers it, once.
pub async fn reconcile_of(
    store: &Store,
    masking: &Masking,
    carrier: &str,
    file: CarrierFile,
    now: Wall,
) -> Result<Value, Problem> {
    let bill = Bill::read(&store.facts(), carrier, file).await?;
    let ours = store.legs_by(&bill.carrier, bill.asked(), &bill.hash).await?;
    let outcome = bill.compare(ours).await?;
    let before = store.reconciled_at(&bill.hash).await?;
    if before.is_none() && !bill.dry_run {
        let remembered = Reconciled {
            hash: bill.hash.clone(),
            carrier: bill.carrier.clone(),
            file: bill.name.clone(),
            at: now,
            theirs: outcome.theirs,
            matched: outcome.matched,
            differences: outcome.differences.len() as u64,
            legs: outcome.legs.clone(),
        };
        store.remember(remembered).await?;
    }
    Ok(told_of(&outcome, masking, &bill, before))
}

/// Compares it, and remembers nothing.
pub async fn reconcile_tried(
    trial: &mut Rehearsal,
    masking: &Masking,
    carrier: &str,
    file: CarrierFile,
) -> Result<Value, Problem> {
    let bill = Bill { dry_run: true, ..Bill::read(trial.facts(), carrier, file).await? };
    let (ours, before) = trial.legs_by(&bill.carrier, bill.asked(), &bill.hash).await?;
    Ok(told_of(&bill.compare(ours).await?, masking, &bill, before))
}

/// A carrier's file, read.
struct Bill {
    carrier: CarrierId,
    name: String,
    hash: String,
    theirs: Arc<[Theirs]>,
    /// The time that it covers.
    period: (Wall, Wall),
    tolerance: Tolerance,
    dry_run: bool,
}

impl Bill {
    async fn read(facts: &Facts, carrier: &str, file: CarrierFile) -> Result<Bill, Problem> {
        let carrier: CarrierId = parse("carrier", carrier)?;
        if !facts.directory.carriers().iter().any(|known| known.id == carrier) {
            return Err(Problem::unknown("carrier"));
        }
        let (mapping, tolerance) = (file.mapping()?, file.tolerance()?);
        let period = Period::read(file.zone(), file.from.as_deref(), file.to.as_deref())?;
        let hash = hash(&carrier, &file.text);
        let CarrierFile { name, text, dry_run, .. } = file;
        let own_name = name.clone();
        let theirs = aside(move || mapping.read(&own_name, &text)).await?;
        let theirs = theirs.map_err(|all| Problem::mistakes(all.iter().map(ToString::to_string).collect()))?;
        let (first, last) = (theirs.iter().map(|own| own.at).min(), theirs.iter().map(|own| own.at).max());
        let told = period.from.or(first).zip(period.to.or(last.map(|last| last.plus_millis(1))));
        let Some(period) = told else {
            return Err(Problem::bad("there is no call in the file, and no time that it covers"));
        };
        Ok(Bill { carrier, name, hash, theirs: theirs.into(), period, tolerance, dry_run })
    }

    /// Within which ours are looked for.
    fn asked(&self) -> (Wall, Wall) {
        let margin_ms = LONGEST_CALL_MS.saturating_add(self.tolerance.window_ms);
        let (from, to) = self.period;
        let from = Wall::from_micros(from.micros().saturating_sub_unsigned(margin_ms.saturating_mul(1_000)));
        (from, to.plus_millis(margin_ms))
    }

    async fn compare(&self, ours: Vec<Ours>) -> Result<Outcome, Problem> {
        let (theirs, period, tolerance) = (self.theirs.clone(), self.period, self.tolerance);
        aside(move || reconcile::reconcile(&theirs, ours, Some(period), tolerance)).await
    }
}

fn told_of(outcome: &Outcome, masking: &Masking, bill: &Bill, before: Option<Wall>) -> Value {
    // A carrier's numbers are of no organisation: they are hidden where all are.
    let none: Option<Country> = None;
    let shown = |digits: &str| {
        let number = crate::types::E164::from_digits(digits);
        number.map_or_else(|_| digits.to_owned(), |number| masking.outside(&number, none))
    };
    let table = outcome.table(shown);
    let counts: serde_json::Map<String, Value> =
        Kind::ALL.iter().map(|kind| (kind.slug().replace('-', "_"), json!(outcome.count(*kind)))).collect();
    json!({
        "carrier": bill.carrier.as_str(), "remembered": before.is_some() || !bill.dry_run,
        "brought_in_before": before.map(crate::rating::record::utc),
        "theirs": outcome.theirs, "ours": outcome.ours, "matched": outcome.matched, "attempts": outcome.attempts,
        "our_seconds": outcome.ours_ms / 1_000, "their_seconds": outcome.theirs_ms / 1_000,
        "amount": outcome.amount.map(Micros::to_text), "currency": outcome.currency.map(|c| c.to_string()),
        "counts": counts, "columns": table.columns.clone(), "differences": table.to_json()["rows"],
        "csv": table.to_csv(),
    })
}

fn hash(carrier: &CarrierId, text: &str) -> String {
    let mut hash = Sha256::new();
    hash.update(carrier.as_str());
    hash.update([0]);
    hash.update(text);
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub async fn reconcile(
    Known(reception): Known,
    Moment(now): Moment,
    Named(carrier): Named,
    Said(file): Said<CarrierFile>,
) -> Result<Json<Value>, Problem> {
    reconcile_of(&reception.store, &reception.masking, &carrier, file, now).await.map(Json)
}
