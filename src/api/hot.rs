//! Hot numbers: lists brought in, compared, looked into, changed one by one; and the destinations that a call to one has
//! closed to an organisation, which somebody may open again. Each question is a function of the store too.

use super::entry::of_path;
use super::extract::{Json as Said, Known, Named, Query, TwoNames, reason_of};
use super::io::Moment;
use super::leg::parse;
use super::problem::Problem;
use crate::clock::Wall;
use crate::rating::record::utc;
use crate::store::{
    DialBlock, HotFilter, HotListRow, HotOrder, HotReport, HotRow, HotStep, Lift, MOST_HOT_ROWS, Rehearsal, Store,
};
use crate::trunk::{HotChange, HotEntries, HotKey, LONGEST_NOTE, read_hot};
use crate::types::OrganisationId;
use axum::Json;
use axum::extract::RawPathParams;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Changes of one answer that are told one by one.
const MOST_TOLD: usize = 10_000;

/// A list as its seller writes it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HotFile {
    /// Of the file, for mistakes and the trail.
    pub name: String,
    /// CSV.
    pub text: String,
    /// Tell what would change, and change nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// The whole list anew, or every mistake of the file and nothing.
pub async fn import_to(store: &Store, list: &str, file: &HotFile, now: Wall) -> Result<Value, Problem> {
    let order = order_of(list, file)?;
    let list = order.list.to_string();
    let report = store.hot_order(order, file.dry_run, now).await?;
    Ok(report_in_json(&list, &report, !file.dry_run))
}

/// What it would change, on trial.
pub async fn tried_of(trial: &mut Rehearsal, list: &str, file: &HotFile) -> Result<Value, Problem> {
    let order = order_of(list, file)?;
    let report = trial.hot_differences(&order).await?;
    Ok(report_in_json(order.list.as_str(), &report, false))
}

fn order_of(list: &str, file: &HotFile) -> Result<HotOrder, Problem> {
    let list = parse("list", list)?;
    let told =
        |mistakes: Vec<crate::form::Mistake>| Problem::mistakes(mistakes.iter().map(ToString::to_string).collect());
    let entries = read_hot(&file.name, &file.text).map_err(told)?;
    Ok(HotOrder { list, step: HotStep::Replace { file: file.name.clone(), entries } })
}

fn report_in_json(list: &str, report: &HotReport, applied: bool) -> Value {
    let changes = report.changes.iter().take(MOST_TOLD);
    let changes: Vec<Value> = changes
        .map(|(change, key, note)| json!({ "change": change.slug(), "prefix": key.to_string(), "note": note }))
        .collect();
    json!({
        "list": list, "applied": applied, "entries": report.entries, "unchanged": report.same,
        "new": report.count(HotChange::New), "removed": report.count(HotChange::Removed),
        "noted": report.count(HotChange::Noted), "changes": changes,
        "more": report.changes.len().saturating_sub(MOST_TOLD),
    })
}

pub async fn import(
    Known(reception): Known,
    Moment(now): Moment,
    Named(list): Named,
    Said(file): Said<HotFile>,
) -> Result<Json<Value>, Problem> {
    import_to(&reception.store, &list, &file, now).await.map(Json)
}

/// What is known of a number.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HotNote {
    #[serde(default)]
    pub note: String,
}

pub async fn add_to(store: &Store, list: &str, prefix: &str, note: &HotNote, now: Wall) -> Result<Value, Problem> {
    if note.note.chars().count() > LONGEST_NOTE || note.note.contains(char::is_control) {
        return Err(Problem::bad(format!("note: expected {LONGEST_NOTE} characters at most, on one line")));
    }
    let key: HotKey = parse("prefix", prefix)?;
    let step = HotStep::Add(HotEntries::from([(key, note.note.clone())]));
    let report = store.hot_order(HotOrder { list: parse("list", list)?, step }, false, now).await?;
    Ok(report_in_json(list, &report, true))
}

pub async fn remove_from(store: &Store, list: &str, prefix: &str, now: Wall) -> Result<Value, Problem> {
    let step = HotStep::Remove(parse("prefix", prefix)?);
    let report = store.hot_order(HotOrder { list: parse("list", list)?, step }, false, now).await?;
    Ok(report_in_json(list, &report, true))
}

pub async fn add(
    Known(reception): Known,
    Moment(now): Moment,
    TwoNames(list, prefix): TwoNames,
    Said(note): Said<HotNote>,
) -> Result<Json<Value>, Problem> {
    add_to(&reception.store, &list, &prefix, &note, now).await.map(Json)
}

pub async fn remove(
    Known(reception): Known,
    Moment(now): Moment,
    TwoNames(list, prefix): TwoNames,
) -> Result<Json<Value>, Problem> {
    remove_from(&reception.store, &list, &prefix, now).await.map(Json)
}

// ------------------------------------------------------------------------------------------------------------- looked at

pub async fn lists_of(store: &Store) -> Result<Value, Problem> {
    let shown = |row: &HotListRow| json!({ "list": row.list, "entries": row.entries, "newest": utc(row.newest) });
    Ok(store.hot_lists().await?.iter().map(shown).collect())
}

pub async fn lists(Known(reception): Known) -> Result<Json<Value>, Problem> {
    lists_of(&reception.store).await.map(Json)
}

/// Which entries.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HotQuery {
    /// Of this list alone.
    #[serde(default)]
    pub list: Option<String>,
    /// Those that this number falls under.
    #[serde(default)]
    pub number: Option<String>,
    /// Behind these digits and their list: the `next` of the part before.
    #[serde(default)]
    pub after: Option<String>,
}

/// `3712345/own`
fn place(after: &str) -> Result<(String, String), Problem> {
    let (prefix, list) = after.rsplit_once('/').ok_or_else(|| Problem::bad("after: expected the `next` of a part"))?;
    Ok((prefix.to_owned(), list.to_owned()))
}

pub async fn entries_of(store: &Store, query: &HotQuery) -> Result<Value, Problem> {
    let filter = HotFilter {
        list: query.list.as_deref().map(|list| parse("list", list)).transpose()?,
        number: query.number.as_deref().map(|number| parse("number", number)).transpose()?,
        after: query.after.as_deref().map(place).transpose()?,
    };
    let rows = store.hot_rows(&filter).await?;
    let next =
        rows.last().filter(|_| rows.len() == MOST_HOT_ROWS as usize).map(|row| format!("{}/{}", row.prefix, row.list));
    let shown =
        |row: &HotRow| json!({ "list": row.list, "prefix": row.prefix, "note": row.note, "since": utc(row.since) });
    Ok(json!({ "entries": rows.iter().map(shown).collect::<Vec<_>>(), "next": next }))
}

pub async fn entries(Known(reception): Known, Query(query): Query<HotQuery>) -> Result<Json<Value>, Problem> {
    entries_of(&reception.store, &query).await.map(Json)
}

// ---------------------------------------------------------------------------------------------------------------- blocks

fn block(block: &DialBlock) -> Value {
    json!({
        "organisation": block.organisation.as_str(), "destination": block.destination.to_string(),
        "since": utc(block.since), "until": utc(block.until), "number": block.number, "leg": block.leg.to_string(),
    })
}

/// Destinations that are closed now, to one organisation or to any.
pub fn blocks_of(store: &Store, of: Option<&OrganisationId>, now: Wall) -> Result<Value, Problem> {
    let facts = store.facts();
    if of.is_some_and(|of| facts.open_organisation(of).is_none()) {
        return Err(Problem::unknown("organisation"));
    }
    Ok(facts.dial_blocks(of, now).iter().map(block).collect())
}

pub async fn blocks(Known(reception): Known, Moment(now): Moment, path: RawPathParams) -> Result<Json<Value>, Problem> {
    blocks_of(&reception.store, of_path(&path)?.as_ref(), now).map(Json)
}

/// Open destinations again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LiftOrder {
    /// A country like LV, or first digits like +390655; all where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// For the trail.
    pub reason: String,
}

pub async fn lift_of(store: &Store, organisation: &str, order: &LiftOrder, now: Wall) -> Result<Value, Problem> {
    let lift = Lift {
        organisation: parse("organisation", organisation)?,
        destination: order.destination.as_deref().map(|named| parse("destination", named)).transpose()?,
        reason: reason_of(&order.reason)?,
        at: now,
    };
    Ok(json!({ "lifted": store.lift(lift).await?.iter().map(block).collect::<Vec<_>>() }))
}

pub async fn lift(
    Known(reception): Known,
    Moment(now): Moment,
    Named(organisation): Named,
    Said(order): Said<LiftOrder>,
) -> Result<Json<Value>, Problem> {
    lift_of(&reception.store, &organisation, &order, now).await.map(Json)
}
