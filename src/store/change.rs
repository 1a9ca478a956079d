//! One entry changed: shown in the keys of a file for `apply`, merged with what is asked, and from there on a file like any
//! other. What may be is decided by `document` and `check` alone, and written by `apply`.

use super::apply::{enter, opened};
use super::books::Books;
use super::check::check;
use super::cooling::{self, LimitsOf};
use super::document::{Document, Within};
use super::entry::{self, EntryId, EntryKind, Keys, LOCKED, TOLD_ALONE};
use super::facts::{Facts, Organisation};
use super::fault::StoreError;
use super::gift::Given;
use super::lock;
use super::trail::{self, Tried, Who};
use crate::clock::Wall;
use crate::notice::HookUrl;
use crate::types::OrganisationId;
use serde_json::{Value, json};

/// What is to become of an entry. The texts are JSON objects in the keys of a file for `apply`.
#[derive(Clone, PartialEq, Eq)]
pub enum ChangeStep {
    /// All of it is as the text says, and what that does not name is as usual; made where there was none. A PIN or a lock
    /// that is not named stays.
    Put(String),
    /// What the text names is as it says (RFC 7396).
    Patch(String),
    /// A user has this licence, as a file gives it (`audio-conferencing until 2026-12-31`), in place of one of its kind.
    Give(String),
    /// A user has this licence no more.
    Take(String),
}

impl ChangeStep {
    /// The keys that it names.
    fn keys(&self) -> Keys {
        match self {
            ChangeStep::Put(text) | ChangeStep::Patch(text) => serde_json::from_str(text).unwrap_or_default(),
            ChangeStep::Give(_) | ChangeStep::Take(_) => Keys::new(),
        }
    }
}

/// A PIN may be in it.
impl std::fmt::Debug for ChangeStep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ChangeStep::Put(_) => "Put",
            ChangeStep::Patch(_) => "Patch",
            ChangeStep::Give(_) => "Give",
            ChangeStep::Take(_) => "Take",
        })
    }
}

/// One change of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub entry: EntryId,
    /// Whose it is: needed for users and meetings, and nobody else's is found.
    pub of: Option<OrganisationId>,
    pub step: ChangeStep,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// There was none before.
    pub is_new: bool,
    /// The keys that are not as they were; empty where nothing changed, and nothing was written.
    pub keys: Vec<String>,
    /// The entry as it is now: a JSON object.
    pub entry: String,
}

impl Change {
    /// Hooks that the change names: for whoever looks where they lead before they are saved. One that is no address is told
    /// when the change is read.
    pub fn hooks(&self) -> Vec<HookUrl> {
        if self.entry.kind() != EntryKind::Organisation {
            return Vec::new();
        }
        let keys = Value::Object(self.step.keys());
        let named = [&keys["alerts"]["webhook"], &keys["recharge"]["hook"]];
        named.into_iter().filter_map(|url| url.as_str()?.parse().ok()).collect()
    }
}

/// Checks and writes a change. Mistakes are an answer: nothing is written then but a line of the trail.
pub(super) async fn change(
    books: &mut Books,
    (change, now, who): &(Change, Wall, Who),
) -> Result<Result<Changed, Vec<String>>, StoreError> {
    let what = change.entry.to_string();
    let tried = Tried { at: *now, who, verb: "set", what, organisation: change.of.as_ref() };
    let changed = checked(books, (change, *now, who)).await;
    // What was done, and which mistakes there were, is told where it is known in full.
    trail::told(books, tried, changed, |_, _| Vec::new()).await
}

async fn checked(
    books: &mut Books,
    (change, now, who): (&Change, Wall, &Who),
) -> Result<Result<Changed, Vec<String>>, StoreError> {
    let facts = books.facts.clone();
    let within = owner(&facts, change)?;
    let before = facts.keys(&change.entry);
    let wanted = match wanted(change, before.as_ref())? {
        Ok(wanted) => wanted,
        Err(mistakes) => return refuse(books, change, (now, who), mistakes).await,
    };
    let mut document = match read(change, within, &facts, &wanted) {
        Ok(document) => document,
        Err(mistakes) => return refuse(books, change, (now, who), mistakes).await,
    };
    if let Err(barred) = lock::sign(&facts, change, who, &mut document) {
        return refuse(books, change, (now, who), vec![format!("{LOCKED}: {barred}")]).await;
    }
    let opened = opened(books, &document).await?;
    let mistakes: Vec<String> =
        check(&document, &facts, (&opened, &Given::default()), now).into_iter().map(|mistake| mistake.text).collect();
    if !mistakes.is_empty() {
        return refuse(books, change, (now, who), mistakes).await;
    }

    let next = entry::of_document(&document);
    let (mut old, mut new) = entry::difference(change.entry.kind(), &before.clone().unwrap_or_default(), &next);
    tell_pin(&facts, change, &document, (&mut old, &mut new));
    if let Some(Some(credits)) = document.credits.first().filter(|_| opened.is_empty()) {
        new.insert("credits".to_owned(), credits.value.to_text().into());
    }
    let keys: Vec<String> = old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))).cloned().collect();
    if before.is_none() || !keys.is_empty() {
        enter(books, &document, now).await?;
        let mut detail = json!({ "outcome": "done", "before": before.as_ref().map(|_| old), "after": new });
        let limits = match &change.entry {
            EntryId::Organisation(id) => Some(LimitsOf::Organisation(id.clone())),
            EntryId::Carrier(id) => Some(LimitsOf::Carrier(id.clone())),
            EntryId::User(_) | EntryId::Meeting(_) | EntryId::Number(_) => None,
        };
        let pending = limits.map(|of| cooling::told(&books.facts, &of, now)).unwrap_or_default();
        if !pending.is_empty() {
            detail["pending"] = pending.into();
        }
        tell(books, change, (now, who), detail).await?;
    }
    let entry = books.facts.entry(&change.entry);
    let entry = entry.ok_or_else(|| StoreError::broken("an entry that was just written is gone"))?;
    Ok(Ok(Changed { is_new: before.is_none(), keys, entry }))
}

/// The organisation that the entry is in, where it is in one. Another's entry is none that is known here.
fn owner<'a>(facts: &'a Facts, change: &Change) -> Result<Option<&'a Organisation>, StoreError> {
    let known = |id: &OrganisationId| {
        facts.open_organisation(id).ok_or_else(|| StoreError::Unknown(format!("organisation {id}")))
    };
    match change.entry.kind() {
        EntryKind::Organisation | EntryKind::Number | EntryKind::Carrier => Ok(None),
        EntryKind::User | EntryKind::Meeting => {
            let of = change.of.as_ref().ok_or_else(|| StoreError::broken("a change of nobody's entry"))?;
            let organisation = known(of)?;
            match (facts.name_of(&change.entry), &change.step) {
                (Some(owner), ChangeStep::Put(_)) if owner != of => {
                    Err(StoreError::Conflict(format!("the name of {} is taken: choose another", change.entry)))
                }
                (_, ChangeStep::Patch(_) | ChangeStep::Give(_) | ChangeStep::Take(_))
                    if facts.owner_of(&change.entry) != Some(of) =>
                {
                    Err(StoreError::Unknown(change.entry.to_string()))
                }
                _ => Ok(Some(organisation)),
            }
        }
    }
}

/// What the entry is to be, or why that cannot even be told.
fn wanted(change: &Change, before: Option<&Keys>) -> Result<Result<Keys, Vec<String>>, StoreError> {
    let text = match &change.step {
        ChangeStep::Put(text) | ChangeStep::Patch(text) => text,
        ChangeStep::Give(licence) | ChangeStep::Take(licence) => {
            let mut wanted = before.cloned().ok_or_else(|| StoreError::Unknown(change.entry.to_string()))?;
            let is_given = matches!(change.step, ChangeStep::Give(_));
            return relicensed(change, &mut wanted, licence, is_given).map(|()| Ok(wanted));
        }
    };
    let mut asked: Keys = match serde_json::from_str(text) {
        Ok(Value::Object(asked)) => asked,
        _ => return Ok(Err(vec!["expected an object of keys and values".to_owned()])),
    };
    TOLD_ALONE.iter().for_each(|key| drop(asked.remove(*key)));
    let (key, name) = (change.entry.kind().name_key(), Value::String(change.entry.name()));
    if asked.get(key).is_some_and(|other| *other != name) {
        return Ok(Err(vec![format!("{key}: it stays {name}: make another and remove this one")]));
    }
    let mut wanted = match (&change.step, before) {
        (ChangeStep::Put(_), _) => Keys::new(),
        (_, Some(before)) => before.clone(),
        (_, None) => return Err(StoreError::Unknown(change.entry.to_string())),
    };
    if let (ChangeStep::Put(_), Some(locked)) = (&change.step, before.and_then(|before| before.get(LOCKED))) {
        wanted.insert(LOCKED.to_owned(), locked.clone());
    }
    entry::merge(&mut wanted, asked);
    wanted.insert(key.to_owned(), name);
    Ok(Ok(wanted))
}

/// The change as a file of one entry. The PIN is the one there was, unless one is named or taken away.
fn read(change: &Change, within: Option<&Organisation>, facts: &Facts, wanted: &Keys) -> Result<Document, Vec<String>> {
    let within = match (change.entry.kind(), within) {
        (EntryKind::User, Some(organisation)) => Within::User(organisation),
        (EntryKind::Meeting, Some(organisation)) => Within::Meeting(organisation),
        (EntryKind::Number, _) => Within::Number,
        (EntryKind::Carrier, _) => Within::Carrier,
        _ => Within::Organisation,
    };
    let name = change.entry.to_string();
    let document = Document::of_one(&name, &entry::toml(wanted), within);
    let mut document =
        document.map_err(|mistakes| mistakes.into_iter().map(|mistake| mistake.text).collect::<Vec<_>>())?;
    if let (EntryId::User(id), Some(user)) = (&change.entry, document.users.first_mut())
        && !names_pin(change)
    {
        user.value.user.pin = facts.users.get(id).and_then(|known| known.pin.clone());
    }
    Ok(document)
}

fn names_pin(change: &Change) -> bool {
    change.step.keys().contains_key("pin")
}

/// The licences of a user with one given or taken away: the others stay as they are at this moment.
fn relicensed(change: &Change, keys: &mut Keys, licence: &str, is_given: bool) -> Result<(), StoreError> {
    let kind = |text: &str| text.split(' ').next().map(str::to_owned);
    let word = kind(licence);
    let mut licences = keys.remove("licences").and_then(|all| all.as_array().cloned()).unwrap_or_default();
    let before = licences.len();
    licences.retain(|text| text.as_str().and_then(kind) != word);
    match is_given {
        true => licences.push(licence.into()),
        false if licences.len() == before => {
            return Err(StoreError::Unknown(format!("licence {licence} of {}", change.entry)));
        }
        false => {}
    }
    keys.insert("licences".to_owned(), licences.into());
    Ok(())
}

/// A PIN is never in the keys of what there is: that it changed is told, and no more.
fn tell_pin(facts: &Facts, change: &Change, document: &Document, (old, new): (&mut Keys, &mut Keys)) {
    let EntryId::User(id) = &change.entry else { return };
    let had = facts.users.get(id).is_some_and(super::facts::User::has_pin);
    let Some(entry) = document.users.first().filter(|_| names_pin(change)).map(|placed| &placed.value) else { return };
    let has = entry.pin.is_some();
    if had {
        old.insert("pin".to_owned(), "set".into());
    }
    if has {
        new.insert("pin".to_owned(), if had { "changed" } else { "set" }.into());
    }
}

async fn refuse(
    books: &mut Books,
    change: &Change,
    by: (Wall, &Who),
    mistakes: Vec<String>,
) -> Result<Result<Changed, Vec<String>>, StoreError> {
    tell(books, change, by, trail::refusal(&mistakes)).await?;
    Ok(Err(mistakes))
}

/// One row for the change.
async fn tell(books: &mut Books, change: &Change, by: (Wall, &Who), detail: Value) -> Result<(), StoreError> {
    let owner = books.facts.owner_of(&change.entry).cloned().or_else(|| change.of.clone());
    let what = change.entry.to_string();
    let step = trail::Step { at: by.0, who: by.1, verb: "set", what, organisation: owner.as_ref(), detail };
    trail::write(books, step).await
}
