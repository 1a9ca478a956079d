//! An entry taken away. What something still needs is refused, and told what. Organisations, users and meetings are closed,
//! not deleted: legs and the ledger name them for ever, to look through all of those would hold calls up, and a name that
//! once paid is never given to somebody else. Numbers and carriers, which legs have by their text alone, are deleted.

use super::books::Books;
use super::cooling;
use super::entry::{self, EntryId, EntryKind, Keys};
use super::facts;
use super::fault::StoreError;
use super::lock;
use super::sql;
use super::trail::{self, Who};
use crate::clock::Wall;
use crate::types::{Micros, OrganisationId};
use serde_json::json;
use std::sync::Arc;

/// An entry to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removal {
    pub entry: EntryId,
    /// Whose it is: needed for users and meetings.
    pub of: Option<OrganisationId>,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    Deleted,
    /// The books keep its name; whoever makes it again opens it.
    Closed,
}

impl Removed {
    pub const fn slug(self) -> &'static str {
        match self {
            Removed::Deleted => "deleted",
            Removed::Closed => "closed",
        }
    }
}

/// Removes an entry, or tells what still needs it.
pub(super) async fn remove(
    books: &mut Books,
    (removal, now, who): &(Removal, Wall, Who),
) -> Result<Result<Removed, String>, StoreError> {
    let facts = books.facts.clone();
    let entry = &removal.entry;
    let owner = facts.owner_of(entry).cloned();
    let is_below = matches!(entry.kind(), EntryKind::User | EntryKind::Meeting);
    let before = facts.keys(entry).filter(|_| !is_below || owner == removal.of);
    let before = before.ok_or_else(|| StoreError::Unknown(entry.to_string()))?;
    let needed = match lock::barred(&facts, entry, who) {
        Some(barred) => Some(barred),
        None => needed(books, entry).await?,
    };
    let (outcome, detail) = match needed {
        Some(why) => {
            let detail = json!({ "outcome": "refused", "reasons": [why] });
            (Err(why), detail)
        }
        None => {
            let removed = take_away(books, entry, *now).await?;
            let (old, _) = entry::difference(entry.kind(), &before, &Keys::new());
            (Ok(removed), json!({ "outcome": removed.slug(), "before": old }))
        }
    };
    let step =
        trail::Step { at: *now, who, verb: "remove", what: entry.to_string(), organisation: owner.as_ref(), detail };
    trail::write(books, step).await?;
    Ok(outcome)
}

/// What still needs it, in words that say what to do.
async fn needed(books: &mut Books, entry: &EntryId) -> Result<Option<String>, StoreError> {
    let facts = books.facts.clone();
    let by_facts = match entry {
        EntryId::Organisation(id) => {
            let its =
                [EntryKind::User, EntryKind::Meeting].into_iter().flat_map(|kind| facts.entries(kind, Some(id), None));
            let number = facts.directory.numbers().iter().find(|number| number.organisation.as_ref() == Some(id));
            let numbers = number.map(|number| EntryId::Number(number.e164));
            its.chain(numbers).next().map(|its| format!("{its} is its: remove that first"))
        }
        EntryId::User(id) => {
            let mut meetings = facts.meetings.values().map(|meeting| &meeting.settings);
            let its = meetings.find(|meeting| meeting.organiser == *id);
            its.map(|its| format!("meeting {} is theirs: remove it, or give it another organiser, first", its.id))
        }
        EntryId::Meeting(id) => {
            let number = facts.directory.numbers().iter().find(|number| number.meeting.as_ref() == Some(id));
            number.map(|number| format!("number {} leads to it: lead that elsewhere first", number.e164))
        }
        EntryId::Number(e164) => {
            let mut carriers = facts.directory.carriers().iter();
            let its = carriers.find(|carrier| carrier.conference_number.as_ref() == Some(e164));
            its.map(|its| format!("carrier {} has it as its conference_number: name another first", its.id))
        }
        EntryId::Carrier(_) => None,
    };
    if by_facts.is_some() {
        return Ok(by_facts);
    }
    if let EntryId::Organisation(id) = entry
        && let Some(why) = money_left(books, id).await?
    {
        return Ok(Some(why));
    }
    let sql = match entry.kind() {
        EntryKind::Organisation => "SELECT id FROM leg WHERE state = 'open' AND organisation = $1 LIMIT 1",
        EntryKind::User => "SELECT id FROM leg WHERE state = 'open' AND organiser = $1 LIMIT 1",
        EntryKind::Meeting => "SELECT id FROM leg WHERE state = 'open' AND meeting = $1 LIMIT 1",
        EntryKind::Number => "SELECT id FROM leg WHERE state = 'open' AND number = $1 LIMIT 1",
        EntryKind::Carrier => "SELECT id FROM leg WHERE state = 'open' AND carrier = $1 LIMIT 1",
    };
    let leg = sql::query(sql).bind(entry.name()).fetch_optional(&mut books.conn).await?;
    let leg = leg.map(|row| row.try_get::<String, _>(0)).transpose()?;
    Ok(leg.map(|leg| format!("leg {leg} runs by it: end that first")))
}

/// An account is closed empty, so that nothing is owed on either side.
async fn money_left(books: &mut Books, id: &OrganisationId) -> Result<Option<String>, StoreError> {
    let organisation = books.organisation(id)?;
    let sums = books.sums(id).await?;
    if sums.posted != Micros::ZERO || sums.held != Micros::ZERO {
        let way = format!("book what is left of it with `tollbridge credits adjust --org {id}`");
        return Ok(Some(format!("its account stands at {} {}: {way}", sums.posted, organisation.currency)));
    }
    let sql = "SELECT key FROM recharge WHERE organisation = $1 AND state IN ('wanted', 'asked') LIMIT 1";
    let running = sql::query(sql).bind(id.as_str()).fetch_optional(&mut books.conn).await?;
    Ok(running.map(|_| "a recharge is on its way: wait until it is paid or declined".to_owned()))
}

async fn take_away(books: &mut Books, entry: &EntryId, now: Wall) -> Result<Removed, StoreError> {
    let (steps, removed): (&[&'static str], Removed) = match entry.kind() {
        EntryKind::Organisation => (
            &[
                "DELETE FROM alert_setting WHERE organisation = $1",
                "DELETE FROM recharge_setting WHERE organisation = $1",
                "UPDATE organisation SET closed = 1 WHERE id = $1",
            ],
            Removed::Closed,
        ),
        // What tells a person goes at once.
        EntryKind::User => (
            &[
                "DELETE FROM licence WHERE organiser = $1",
                "UPDATE organiser SET closed = 1, name = '', pin = NULL WHERE id = $1",
            ],
            Removed::Closed,
        ),
        // Its conference ID may be another's from now on.
        EntryKind::Meeting => {
            (&["UPDATE meeting SET closed = 1, conference_id = 'closed ' || id WHERE id = $1"], Removed::Closed)
        }
        EntryKind::Number => (&["DELETE FROM number WHERE e164 = $1"], Removed::Deleted),
        EntryKind::Carrier => (&["DELETE FROM carrier WHERE id = $1"], Removed::Deleted),
    };
    for sql in steps {
        sql::query(sql).bind(entry.name()).execute(&mut books.conn).await?;
    }
    if let EntryId::Carrier(id) = entry {
        cooling::leave_of_carrier(books, id, now).await?;
    }
    if let EntryId::Organisation(id) = entry {
        let sql = "UPDATE token SET revoked = $2 WHERE organisation = $1 AND revoked IS NULL";
        sql::query(sql).bind(id.as_str()).bind(now.micros()).execute(&mut books.conn).await?;
    }
    let before = books.facts.clone();
    let loaded = facts::load(&mut books.conn, before.pins().clone(), before.version + 1, Some(&before)).await;
    books.facts = Arc::new(loaded?);
    Ok(removed)
}
