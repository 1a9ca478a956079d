//! Locks of organisations and users: why, and who put them. The house lifts every lock, an organisation its own alone; its
//! tokens open it all the same, so that it locks nobody out for good.

use super::change::Change;
use super::document::Document;
use super::entry::EntryId;
use super::facts::Facts;
use super::rows::Line;
use super::trail::Who;

/// Who puts a lock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Locker {
    #[default]
    House,
    /// Somebody who is one organisation's.
    Organisation,
}

impl Locker {
    pub const fn slug(self) -> &'static str {
        match self {
            Locker::House => "house",
            Locker::Organisation => "organisation",
        }
    }

    pub(super) fn of(who: &Who) -> Locker {
        if who.organisation.is_some() { Locker::Organisation } else { Locker::House }
    }

    /// Whether `self` may lift or change what `other` put.
    const fn is_above(self, other: Locker) -> bool {
        matches!((self, other), (Locker::House, _) | (_, Locker::Organisation))
    }
}

/// Why somebody has no calls, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    pub why: String,
    pub by: Locker,
}

impl Lock {
    /// Of a row with `locked` and `locked_by`.
    pub(super) fn read(line: &Line<'_>) -> Result<Option<Lock>, String> {
        let by = match line.maybe_text("locked_by")?.as_deref() {
            Some("organisation") => Locker::Organisation,
            _ => Locker::House,
        };
        Ok(line.maybe_text("locked")?.map(|why| Lock { why, by }))
    }

    /// A lock that `by` puts where there may be one: the house's stays before an organisation's.
    pub(super) fn put(before: Option<&Lock>, why: &str, by: Locker) -> Lock {
        match before {
            Some(stands) if !by.is_above(stands.by) => stands.clone(),
            _ => Lock { why: why.to_owned(), by },
        }
    }
}

impl Facts {
    /// The lock of an organisation or a user.
    pub(super) fn lock_of(&self, entry: &EntryId) -> Option<&Lock> {
        match entry {
            EntryId::Organisation(id) => self.open_organisation(id)?.locked.as_ref(),
            EntryId::User(id) => self.users.get(id)?.locked.as_ref(),
            EntryId::Meeting(_) | EntryId::Number(_) | EntryId::Carrier(_) => None,
        }
    }
}

/// Why an entry is not `who`'s to open or to take away.
pub(super) fn barred(facts: &Facts, entry: &EntryId, who: &Who) -> Option<String> {
    let stands = facts.lock_of(entry)?;
    let is_barred = !Locker::of(who).is_above(stands.by);
    is_barred.then(|| format!("{entry} was locked by whoever runs the bridge, who alone opens it"))
}

/// What a change says of a lock, under whose name: `Err` where it touches one that is not theirs.
pub(super) fn sign(facts: &Facts, change: &Change, who: &Who, document: &mut Document) -> Result<(), String> {
    let asked = match &change.entry {
        EntryId::Organisation(_) => document.organisations.first_mut().map(|placed| &mut placed.value.locked),
        EntryId::User(_) => document.users.first_mut().map(|placed| &mut placed.value.user.locked),
        EntryId::Meeting(_) | EntryId::Number(_) | EntryId::Carrier(_) => None,
    };
    let (Some(asked), stands) = (asked, facts.lock_of(&change.entry)) else { return Ok(()) };
    let why = |lock: Option<&Lock>| lock.map(|lock| lock.why.clone());
    if why(asked.as_ref()) == why(stands) {
        *asked = stands.cloned();
        return Ok(());
    }
    if let Some(barred) = barred(facts, &change.entry, who) {
        return Err(barred);
    }
    if let Some(lock) = asked {
        lock.by = Locker::of(who);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_house_is_above_the_house() {
        let lock = |why: &str, by| Lock { why: why.to_owned(), by };
        let (house, own) = (Locker::House, Locker::Organisation);
        for (before, by, due) in [
            (None, house, lock("new", house)),
            (None, own, lock("new", own)),
            (Some(lock("old", house)), house, lock("new", house)),
            (Some(lock("old", house)), own, lock("old", house)),
            (Some(lock("old", own)), house, lock("new", house)),
            (Some(lock("old", own)), own, lock("new", own)),
        ] {
            assert_eq!(Lock::put(before.as_ref(), "new", by), due, "{before:?} {by:?}");
        }
    }
}
