//! The switch that ends an organisation's calls: their accounts are closed in one transaction, whatever the calls do
//! until they hear of it, and whoever made them is locked out, where that is asked.

use super::books::Books;
use super::door::End;
use super::entry::EntryId;
use super::facts;
use super::fault::StoreError;
use super::leg::{self, LegRow};
use super::lock::{Lock, Locker};
use super::rows::Line;
use super::settle;
use super::sql;
use super::trail::{self, Who};
use crate::clock::Wall;
use crate::rating::record::EndedBy;
use crate::rating::{CallType, Tab, UsageRecord};
use crate::types::{Cause, LegId, MeetingId, Micros, OrganisationId, UserId};
use serde_json::json;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// End an organisation's legs.
#[derive(Clone, Debug)]
pub struct Revoke {
    pub organisation: OrganisationId,
    /// All calls out, whoever pays them; else the legs that spend, or would, and no others.
    pub dial_out: bool,
    /// Of them those of one user's meetings, of one meeting, or one leg alone (whatever it is).
    pub user: Option<UserId>,
    pub meeting: Option<MeetingId>,
    pub leg: Option<LegId>,
    pub reason: String,
    /// Lock the user, or where none is named the organisation, for `reason`.
    pub lock: bool,
    /// All legs of this node, each as if it ended now, or as it did end; of one that is not among them the end is on its way
    /// to the books. `None`: whoever has the calls could not say, and theirs end at their last proofs of life, as those of
    /// other nodes do.
    pub ends: Option<HashMap<LegId, End>>,
    pub at: Wall,
}

/// What it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    pub legs: Vec<LegId>,
    /// What they cost in all, and what of their holds went back.
    pub charge: Micros,
    pub released: Micros,
}

impl Revoked {
    fn count(&mut self, leg: &LegRow, record: &UsageRecord) {
        let held = leg.tab.as_ref().map_or(Micros::ZERO, |tab| tab.credit_held());
        self.charge.0 += record.charge.0;
        self.released.0 += held.0 - record.charge.0;
        self.legs.push(leg.id);
    }
}

impl Revoke {
    fn is_meant(&self, leg: &LegRow) -> bool {
        let spends = |leg: &LegRow| leg.tab.as_ref().is_some_and(Tab::spends);
        let is_its = self.user.as_ref().is_none_or(|user| leg.organiser.as_ref() == Some(user))
            && self.meeting.as_ref().is_none_or(|meeting| leg.meeting.as_ref() == Some(meeting));
        let of_kind = if self.dial_out { leg.call_type == CallType::DialOut } else { spends(leg) };
        is_its && self.leg.map_or(of_kind, |named| named == leg.id)
    }
}

/// Closes the accounts of all legs that are meant, locks, and says so in the trail.
pub(super) async fn revoke(books: &mut Books, (asked, who): &(Revoke, Who)) -> Result<Revoked, StoreError> {
    known(books, asked)?;
    let rows = sql::query(
        "SELECT * FROM leg WHERE state = 'open' AND organisation = $1 AND (node <> $2 OR life = $3) ORDER BY id",
    )
    // What an earlier life of this node left open is buried by its next start, which sends BYE too.
    .bind(asked.organisation.as_str())
    .bind(&books.node)
    .bind(books.life)
    .fetch_all(&mut books.conn)
    .await?;
    let mut revoked = Revoked::default();
    for row in &rows {
        let line = Line { row, table: "leg" };
        let (leg, node) =
            (leg::read(&line).map_err(StoreError::Broken)?, line.text("node").map_err(StoreError::Broken)?);
        let is_here = node == books.node;
        if !asked.is_meant(&leg) {
            continue;
        }
        // Whoever has the call is told next, and may be dead by then; its node, if it is another's, may be already. Then the
        // next life ends it.
        let unseen = || End { owes_bye: true, ..End::new(Cause::Revoked, EndedBy::Bridge, leg.proven_ms, asked.at) };
        let end = match (&asked.ends, is_here) {
            (Some(ends), true) => ends.get(&leg.id).cloned(),
            _ => Some(unseen()),
        };
        let Some(end) = end else { continue };
        let record = settle::close(books, &leg, end).await?;
        revoked.count(&leg, &record);
    }
    let seen = rows.iter().map(|row| Line { row, table: "leg" }.parse("id")).collect::<Result<HashSet<LegId>, _>>();
    let seen = seen.map_err(StoreError::Broken)?;
    let others: BTreeSet<LegId> = asked.ends.iter().flat_map(HashMap::keys).copied().collect();
    for leg in others.into_iter().filter(|leg| !seen.contains(leg)) {
        told_again(books, asked, leg, &mut revoked).await?;
    }
    if asked.lock {
        lock(books, asked, who).await?;
    }
    tell(books, asked, who, &revoked).await?;
    Ok(revoked)
}

/// The switch was thrown before, and whoever threw it was not answered: what it ended then is told now.
async fn told_again(books: &mut Books, asked: &Revoke, leg: LegId, revoked: &mut Revoked) -> Result<(), StoreError> {
    let leg = match books.leg(leg).await {
        // The books never had it.
        Err(StoreError::Unknown(_)) => return Ok(()),
        known => known?,
    };
    let is_its = leg.organisation.as_ref() == Some(&asked.organisation);
    if leg.is_open || !is_its || !asked.is_meant(&leg) {
        return Ok(());
    }
    // It may be of this very batch.
    books.write().await?;
    let record = settle::record(&mut books.conn, leg.id).await?;
    if record.beyond.cause == Cause::Revoked {
        revoked.count(&leg, &record);
    }
    Ok(())
}

fn known(books: &Books, asked: &Revoke) -> Result<(), StoreError> {
    let facts = &books.facts;
    if facts.open_organisation(&asked.organisation).is_none() {
        return Err(StoreError::Unknown(format!("organisation {}", asked.organisation)));
    }
    let is_its = |owner: Option<&OrganisationId>| owner == Some(&asked.organisation);
    if let Some(user) = asked.user.as_ref()
        && !is_its(facts.users.get(user).map(|user| &user.organisation))
    {
        return Err(StoreError::Unknown(format!("user {user} of organisation {}", asked.organisation)));
    }
    if let Some(meeting) = asked.meeting.as_ref()
        && !is_its(facts.meetings.get(meeting).map(|meeting| &meeting.settings.organisation))
    {
        return Err(StoreError::Unknown(format!("meeting {meeting} of organisation {}", asked.organisation)));
    }
    Ok(())
}

async fn lock(books: &mut Books, asked: &Revoke, who: &Who) -> Result<(), StoreError> {
    let (sql, entry) = match &asked.user {
        Some(user) => ("UPDATE organiser SET locked = $1, locked_by = $3 WHERE id = $2", EntryId::User(user.clone())),
        None => (
            "UPDATE organisation SET locked = $1, locked_by = $3 WHERE id = $2",
            EntryId::Organisation(asked.organisation.clone()),
        ),
    };
    let lock = Lock::put(books.facts.lock_of(&entry), &asked.reason, Locker::of(who));
    let sql = sql::query(sql).bind(&lock.why).bind(entry.name()).bind(lock.by.slug());
    sql.execute(&mut books.conn).await?;
    let before = books.facts.clone();
    let loaded = facts::load(&mut books.conn, before.pins().clone(), before.version + 1, Some(&before)).await;
    books.facts = Arc::new(loaded?);
    Ok(())
}

async fn tell(books: &mut Books, asked: &Revoke, who: &Who, revoked: &Revoked) -> Result<(), StoreError> {
    let detail = json!({
        "reason": asked.reason, "dial_out": asked.dial_out, "locked": asked.lock,
        "user": asked.user.as_ref().map(UserId::as_str), "meeting": asked.meeting.as_ref().map(MeetingId::as_str),
        "leg": asked.leg.map(|leg| leg.to_string()), "legs": revoked.legs.len(),
        "charge": revoked.charge.to_text(), "released": revoked.released.to_text(),
    });
    let what = format!("organisation {}", asked.organisation);
    let organisation = Some(&asked.organisation);
    trail::write(books, trail::Step { at: asked.at, who, verb: "revoke", what, organisation, detail }).await
}
