//! Who is here.

use super::role::Role;
use crate::clock::Mono;
use crate::types::{E164, LegId};
use std::collections::BTreeMap;

/// Where in the meeting somebody is: in one place at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nobody has begun it.
    AwaitsStart,
    /// It runs, and somebody must let them in.
    AwaitsAdmission,
    Inside,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Participant {
    pub role: Role,
    pub place: Place,
    /// Who calls, or is called; `None` where the number is withheld.
    pub number: Option<E164>,
    pub muted: bool,
    /// Does not hear the room.
    pub deaf: bool,
    /// Out of the room for a while, with music.
    pub held: bool,
    pub hand: bool,
    /// Told to go: hears why, then is hung up.
    pub leaving: bool,
    pub(super) reminded: Option<Mono>,
}

/// All of them, in the order of their legs' birth.
#[derive(Clone, Debug, Default)]
pub struct Roster(BTreeMap<LegId, Participant>);

impl Roster {
    pub fn get(&self, leg: LegId) -> Option<&Participant> {
        self.0.get(&leg)
    }

    pub(super) fn get_mut(&mut self, leg: LegId) -> Option<&mut Participant> {
        self.0.get_mut(&leg)
    }

    /// A newcomer, or somebody here with a higher role.
    pub(super) fn put(&mut self, leg: LegId, role: Role, number: Option<E164>) {
        let fresh = Participant {
            role,
            place: Place::AwaitsStart,
            number,
            muted: false,
            deaf: false,
            held: false,
            hand: false,
            leaving: false,
            reminded: None,
        };
        let participant = self.0.entry(leg).or_insert(fresh);
        participant.role = participant.role.max(role);
    }

    pub(super) fn set_place(&mut self, leg: LegId, place: Place) {
        if let Some(participant) = self.0.get_mut(&leg) {
            participant.place = place;
        }
    }

    /// One leg's place is another's from now on; what is known of a number stays where the new one shows none.
    pub(super) fn replace(&mut self, old: LegId, new: LegId, number: Option<E164>) -> Option<Participant> {
        if self.0.contains_key(&new) || self.0.get(&old).is_none_or(|here| here.leaving) {
            return None;
        }
        let here = self.0.remove(&old)?;
        let here = Participant { number: number.or(here.number), ..here };
        self.0.insert(new, here);
        Some(here)
    }

    pub(super) fn remove(&mut self, leg: LegId) -> Option<Participant> {
        self.0.remove(&leg)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (LegId, &Participant)> {
        self.0.iter().map(|(leg, participant)| (*leg, participant))
    }

    pub fn all(&self) -> Vec<LegId> {
        self.0.keys().copied().collect()
    }

    pub fn at(&self, place: Place) -> Vec<LegId> {
        self.iter().filter(|(_, participant)| participant.place == place).map(|(leg, _)| leg).collect()
    }

    pub fn waiting(&self) -> Vec<LegId> {
        let waits = |participant: &Participant| participant.place != Place::Inside && !participant.leaving;
        self.iter().filter(|(_, participant)| waits(participant)).map(|(leg, _)| leg).collect()
    }

    /// How many hear each other.
    pub fn inside(&self) -> usize {
        self.0.values().filter(|participant| participant.place == Place::Inside).count()
    }

    pub(super) fn has_verified(&self) -> bool {
        self.0.values().any(|participant| participant.role.is_verified())
    }
}
