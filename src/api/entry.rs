//! Organisations, users, meetings, numbers and carriers, each in the keys of a file for `apply`: shown, made and changed.
//! Users and meetings stand below their organisation, so that its people see its own and no others.

use super::extract::{Json as Said, Known, Named, Query};
use super::io::Moment;
use super::leg::{named, parse};
use super::money::turn_away;
use super::problem::Problem;
use crate::clock::Wall;
use crate::notice::{self, Gate};
use crate::store::{Change, ChangeStep, EntryId, EntryKind, Facts, MOST_ENTRIES, Removal, SeatRow, Store, Turned};
use crate::trunk::DialPlan;
use crate::types::OrganisationId;
use axum::Json;
use axum::extract::{FromRequestParts, Path, RawPathParams};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::marker::PhantomData;

/// Which part of a list.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntriesQuery {
    /// The last name of the part before.
    pub after: Option<String>,
}

/// An entry, and where it is looked for.
#[derive(Clone, Debug)]
pub struct Spot {
    pub entry: EntryId,
    /// Users and meetings: of this organisation alone.
    pub of: Option<OrganisationId>,
}

/// Entries of a kind, and where they are looked for.
#[derive(Clone, Debug)]
pub struct Shelf {
    pub kind: EntryKind,
    pub of: Option<OrganisationId>,
}

impl Spot {
    pub fn new(kind: EntryKind, of: Option<OrganisationId>, name: &str) -> Result<Spot, Problem> {
        let entry = match kind {
            EntryKind::Organisation => EntryId::Organisation(parse("organisation", name)?),
            EntryKind::User => EntryId::User(parse("user", name)?),
            EntryKind::Meeting => EntryId::Meeting(parse("meeting", name)?),
            EntryKind::Carrier => EntryId::Carrier(parse("carrier", name)?),
            EntryKind::Number => {
                let read = DialPlan::default().read(name);
                EntryId::Number(read.map_err(|why| Problem::bad(format!("number: {why}, found \"{name}\"")))?)
            }
        };
        Ok(Spot { entry, of })
    }

    /// Below `/api/v1`.
    pub fn path(&self) -> String {
        format!("{}/{}", Shelf { kind: self.entry.kind(), of: self.of.clone() }.path(), self.entry.name())
    }

    /// Another's entry is none here.
    fn exists(&self, facts: &Facts) -> Result<(), Problem> {
        let owner = facts.owner_of(&self.entry);
        if self.of.as_ref().is_some_and(|of| owner != Some(of)) {
            return Err(Problem::unknown(self.entry.kind().slug()));
        }
        Ok(())
    }
}

impl Shelf {
    /// Below `/api/v1`.
    pub fn path(&self) -> String {
        let shelf = match self.kind {
            EntryKind::Organisation => "organisations",
            EntryKind::User => "users",
            EntryKind::Meeting => "meetings",
            EntryKind::Number => "numbers",
            EntryKind::Carrier => "carriers",
        };
        let of = self.of.as_ref().map(|of| format!("/organisations/{of}")).unwrap_or_default();
        format!("{of}/{shelf}")
    }
}

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}

/// A part of a list, in the order of names.
pub fn list_of(store: &Store, shelf: &Shelf, query: &EntriesQuery) -> Result<Value, Problem> {
    let facts = store.facts();
    if shelf.of.as_ref().is_some_and(|of| facts.open_organisation(of).is_none()) {
        return Err(Problem::unknown("organisation"));
    }
    let names = facts.entries(shelf.kind, shelf.of.as_ref(), query.after.as_deref());
    // Whoever reads on names the last of these.
    let next = names.last().filter(|_| names.len() == MOST_ENTRIES).map(EntryId::name);
    let entries: Vec<Value> = names.iter().filter_map(|entry| facts.entry(entry)).map(|text| value(&text)).collect();
    Ok(json!({ "entries": entries, "next": next }))
}

pub fn show_of(store: &Store, spot: &Spot) -> Result<Value, Problem> {
    let facts = store.facts();
    spot.exists(&facts)?;
    let entry = facts.entry(&spot.entry).ok_or_else(|| Problem::unknown(spot.entry.kind().slug()))?;
    Ok(value(&entry))
}

/// What an organisation has bought and given of each licence.
pub fn licences_of(store: &Store, organisation: &str, now: Wall) -> Result<Value, Problem> {
    let id: OrganisationId = parse("organisation", organisation)?;
    let facts = store.facts();
    let organisation = facts.open_organisation(&id).ok_or_else(|| Problem::unknown("organisation"))?;
    let row =
        |row: SeatRow| json!({ "licence": row.licence, "bought": row.bought, "given": row.given, "held": row.held });
    Ok(facts.seats(organisation, now).into_iter().map(row).collect())
}

pub async fn licences(
    Known(reception): Known,
    Moment(now): Moment,
    Named(organisation): Named,
) -> Result<Json<Value>, Problem> {
    licences_of(&reception.store, &organisation, now).map(Json)
}

/// The days on which a licence is held, the first and the last among them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TermOrder {
    #[serde(default)]
    pub from: Option<String>,
    #[serde(default)]
    pub until: Option<String>,
}

/// Gives a user a licence for some days (or for good), or takes it away (`None`); their others stay, whoever else changes
/// those at the same time.
pub async fn licence_of(
    store: &Store,
    spot: Spot,
    licence: &str,
    term: Option<&TermOrder>,
    now: Wall,
) -> Result<Value, Problem> {
    let is_word = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
    let step = match term {
        None => ChangeStep::Take(licence.to_owned()),
        Some(term) => {
            let ends = [("from", &term.from), ("until", &term.until)];
            if ends.iter().any(|(_, day)| day.as_deref().is_some_and(|day| !is_word(day))) {
                return Err(Problem::bad("from, until: expected a day like 2026-12-31"));
            }
            let ends = ends.into_iter().filter_map(|(name, day)| Some(format!(" {name} {}", day.as_ref()?)));
            ChangeStep::Give(format!("{licence}{}", ends.collect::<String>()))
        }
    };
    if !is_word(licence) {
        return Err(Problem::bad("licence: expected one word"));
    }
    let changed = store.change(Change { entry: spot.entry, of: spot.of, step }, now).await?;
    let changed = changed.map_err(Problem::mistakes)?;
    Ok(json!({ "is_new": changed.is_new, "changed": changed.keys, "entry": value(&changed.entry) }))
}

/// Changes an entry: what is new of it, and how it is now.
pub async fn change_of(
    store: &Store,
    gate: &Gate,
    spot: Spot,
    step: ChangeStep,
    now: Wall,
) -> Result<(StatusCode, Value), Problem> {
    let change = Change { entry: spot.entry, of: spot.of, step };
    let hooks = change.hooks();
    let barred = notice::io::check_all(gate, &hooks).await;
    let barred: Vec<String> =
        hooks.iter().zip(barred).filter_map(|(url, why)| Some(format!("{url:?}: {}", why?))).collect();
    if !barred.is_empty() {
        let (what, organisation) = (change.entry.to_string(), store.facts().owner_of(&change.entry).cloned());
        turn_away(store, Turned { verb: "set", what, organisation, reasons: barred.clone(), at: now }).await;
        return Err(Problem::mistakes(barred));
    }
    let changed = store.change(change, now).await?.map_err(Problem::mistakes)?;
    let status = if changed.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let answer = json!({ "is_new": changed.is_new, "changed": changed.keys, "entry": value(&changed.entry) });
    Ok((status, answer))
}

/// Removes an entry that nothing needs.
pub async fn remove_of(store: &Store, spot: Spot, now: Wall) -> Result<Value, Problem> {
    let removed = store.remove(Removal { entry: spot.entry, of: spot.of }, now).await?;
    let needed = |why: String| Problem::new(StatusCode::CONFLICT, "needed", why);
    removed.map(|removed| json!({ "removed": removed.slug() })).map_err(needed)
}

// ------------------------------------------------------------------------------------------------------------- pages

/// A kind, as pages are written for it.
pub trait Kind: Send + Sync + 'static {
    const KIND: EntryKind;
}

macro_rules! kinds {
    ($($name:ident)*) => {$(
        #[derive(Debug)]
        pub struct $name;

        impl Kind for $name {
            const KIND: EntryKind = EntryKind::$name;
        }
    )*};
}

kinds! { Organisation User Meeting Number Carrier }

/// The spot, or the shelf, that a path leads to: its names by the kinds that they are of.
#[derive(Debug)]
pub struct Found<T, K>(T, PhantomData<K>);

async fn names<S: Send + Sync>(parts: &mut Parts, state: &S) -> Result<HashMap<String, String>, Problem> {
    let read = Path::<HashMap<String, String>>::from_request_parts(parts, state).await;
    read.map(|Path(names)| names).map_err(|refusal| Problem::bad(refusal.body_text()))
}

fn organisation(names: &HashMap<String, String>) -> Result<Option<OrganisationId>, Problem> {
    names.get(EntryKind::Organisation.slug()).map(|name| parse("organisation", name)).transpose()
}

/// The organisation that a path names, if it names one.
pub(super) fn of_path(path: &RawPathParams) -> Result<Option<OrganisationId>, Problem> {
    let named = path.iter().find(|(name, _)| *name == EntryKind::Organisation.slug());
    named.map(|(_, value)| parse("organisation", value)).transpose()
}

impl<K: Kind, S: Send + Sync> FromRequestParts<S> for Found<Shelf, K> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let of = organisation(&names(parts, state).await?)?;
        Ok(Found(Shelf { kind: K::KIND, of }, PhantomData))
    }
}

impl<K: Kind, S: Send + Sync> FromRequestParts<S> for Found<Spot, K> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let names = names(parts, state).await?;
        let name = names.get(K::KIND.slug()).map_or("", String::as_str);
        // An organisation stands below nobody.
        let of = if K::KIND == EntryKind::Organisation { None } else { organisation(&names)? };
        Ok(Found(Spot::new(K::KIND, of, name)?, PhantomData))
    }
}

pub async fn list<K: Kind>(
    Known(reception): Known,
    Found(shelf, _): Found<Shelf, K>,
    Query(query): Query<EntriesQuery>,
) -> Result<Json<Value>, Problem> {
    list_of(&reception.store, &shelf, &query).map(Json)
}

pub async fn show<K: Kind>(Known(reception): Known, Found(spot, _): Found<Spot, K>) -> Result<Json<Value>, Problem> {
    show_of(&reception.store, &spot).map(Json)
}

pub async fn put<K: Kind>(
    Known(reception): Known,
    Moment(now): Moment,
    Found(spot, _): Found<Spot, K>,
    Said(keys): Said<Value>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let step = ChangeStep::Put(keys.to_string());
    let (status, answer) = change_of(&reception.store, &reception.gate, spot, step, now).await?;
    Ok((status, Json(answer)))
}

pub async fn patch<K: Kind>(
    Known(reception): Known,
    Moment(now): Moment,
    Found(spot, _): Found<Spot, K>,
    Said(keys): Said<Value>,
) -> Result<Json<Value>, Problem> {
    let step = ChangeStep::Patch(keys.to_string());
    change_of(&reception.store, &reception.gate, spot, step, now).await.map(|(_, answer)| Json(answer))
}

pub async fn remove<K: Kind>(
    Known(reception): Known,
    Moment(now): Moment,
    Found(spot, _): Found<Spot, K>,
) -> Result<Json<Value>, Problem> {
    remove_of(&reception.store, spot, now).await.map(Json)
}

pub async fn give(
    Known(reception): Known,
    Moment(now): Moment,
    path: RawPathParams,
    Found(spot, _): Found<Spot, User>,
    Said(term): Said<TermOrder>,
) -> Result<Json<Value>, Problem> {
    licence_of(&reception.store, spot, named(&path, "licence"), Some(&term), now).await.map(Json)
}

pub async fn take(
    Known(reception): Known,
    Moment(now): Moment,
    path: RawPathParams,
    Found(spot, _): Found<Spot, User>,
) -> Result<Json<Value>, Problem> {
    licence_of(&reception.store, spot, named(&path, "licence"), None, now).await.map(Json)
}
