//! Meetings as carriers may watch them (RFC 4575): who may, and what there is to see.
//!
//! By the address in the Contact of a leg the carrier of that leg alone may watch the meeting that the leg is in, for as long
//! as it is; while it waits outside it sees nothing. Numbers are shown as to whoever reads along, names not at all: neither is
//! the carrier's, nor of the others.

use super::{Output, Room, Switchboard, Who};
use crate::clock::{Mono, Now};
use crate::meeting::{Participant, Place};
use crate::sip::{self, Conference, Person, Presence, Subscriber, Subscription, Unwatchable, Way};
use crate::trunk::Carrier;
use crate::types::{CarrierId, Country, LegId, MeetingId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Who may watch at once: by one carrier, and in one meeting.
const MOST_OF_CARRIER: usize = 200;
const MOST_OF_MEETING: usize = 50;
/// A meeting is looked at no more often, so that a rush of comings costs no more than one.
const GLANCE: Duration = Duration::from_millis(500);

/// Somebody who watches, by a leg of theirs.
pub(super) struct Watcher {
    leg: LegId,
    carrier: CarrierId,
}

/// What is remembered of a meeting for those who watch it.
#[derive(Default)]
pub(super) struct Seats {
    /// By which each is known there, as long as they are: a leg's own name is for those who run the bridge.
    of: BTreeMap<LegId, u32>,
    last: u32,
    /// When it was looked at last, and whether it will be.
    glanced: Option<Mono>,
    armed: Option<Mono>,
}

impl Seats {
    fn take(&mut self, here: &BTreeSet<LegId>) {
        self.of.retain(|leg, _| here.contains(leg));
        for leg in here {
            self.of.entry(*leg).or_insert_with(|| {
                self.last += 1;
                self.last
            });
        }
    }
}

impl Switchboard {
    pub(super) fn subscribed(&mut self, now: Now, subscriber: &Subscriber) {
        let subscription = subscriber.subscription;
        match self.may_watch(subscriber) {
            Err(why) => {
                let carrier = self.carrier_at(subscriber).map(|carrier| carrier.id.to_string());
                tracing::info!(?why, peer = %subscriber.flow.peer, carrier, "nobody watches");
                self.say(Output::Sip(sip::Command::Deny { subscription, why }));
            }
            Ok((leg, carrier, tcp)) => {
                self.watchers.insert(subscription, Watcher { leg, carrier });
                let meeting = self.seen_by(leg).cloned();
                let shown = meeting.and_then(|meeting| self.conference(now, &meeting)).map(Arc::new);
                self.say(Output::Sip(sip::Command::Admit { subscription, shown, tcp }));
            }
        }
    }

    /// What there is has changed: whoever watches by a carrier that is locked, or gone, sees nothing more, whether its calls go
    /// on or not.
    pub(super) fn reject_watchers(&mut self) {
        let may = |id: &CarrierId| self.facts.directory.carrier(id).is_some_and(|carrier| carrier.locked.is_none());
        let rejected = self.watchers.iter().filter(|(_, watcher)| !may(&watcher.carrier));
        let subscriptions: Vec<Subscription> = rejected.map(|(subscription, _)| *subscription).collect();
        if !subscriptions.is_empty() {
            self.say(Output::Sip(sip::Command::Reject { subscriptions }));
        }
    }

    pub(super) fn unsubscribed(&mut self, subscription: Subscription) {
        self.watchers.remove(&subscription);
    }

    /// The carrier that a subscriber is, by the way it came.
    fn carrier_at(&self, subscriber: &Subscriber) -> Option<&Carrier> {
        let Subscriber { flow, login, shown, call, .. } = subscriber;
        let watched = self.by_call.get(call).and_then(|leg| self.lines.get(leg))?;
        // Of two that we are registered with at one place, it is the one whose leg it knows.
        let register = self.facts.directory.carrier(&watched.carrier).and_then(|own| own.register.as_ref());
        let user = register.map_or("", |register| register.aor.user());
        self.facts.directory.caller(flow.peer, shown.as_deref(), login.as_deref(), user, &self.hosts)
    }

    /// Whose leg it is, by which carrier, and how TCP may be tried.
    fn may_watch(&self, subscriber: &Subscriber) -> Result<(LegId, CarrierId, Option<Way>), Unwatchable> {
        let line = self.by_call.get(&subscriber.call).and_then(|leg| self.lines.get(leg));
        let line = line.filter(|line| line.end.is_none() && line.parting.is_none()).ok_or(Unwatchable::Stranger)?;
        let carrier = self.carrier_at(subscriber).ok_or(Unwatchable::Stranger)?;
        if carrier.id != line.carrier || carrier.locked.is_some() {
            return Err(Unwatchable::Stranger);
        }
        let others = || {
            let own = subscriber.subscription;
            self.watchers.iter().filter(move |(subscription, _)| **subscription != own).map(|(_, watcher)| watcher)
        };
        let of_carrier = others().filter(|watcher| watcher.carrier == carrier.id).count();
        let of_meeting = line
            .meeting
            .as_ref()
            .map_or(0, |meeting| others().filter(|watcher| self.meeting_of(watcher.leg) == Some(meeting)).count());
        if of_carrier >= MOST_OF_CARRIER || of_meeting >= MOST_OF_MEETING {
            return Err(Unwatchable::TooMany);
        }
        let way = Way { flow: subscriber.flow, contact: subscriber.flow.local };
        Ok((line.id, carrier.id.clone(), self.tcp_instead(carrier, way)))
    }

    /// The meeting that a leg is in, or waits for.
    fn meeting_of(&self, leg: LegId) -> Option<&MeetingId> {
        self.lines.get(&leg).filter(|line| line.present).and_then(|line| line.meeting.as_ref())
    }

    /// The meeting that is shown to whoever watches by a leg: who waits outside may yet be turned away, and learns nothing of it.
    fn seen_by(&self, leg: LegId) -> Option<&MeetingId> {
        let meeting = self.meeting_of(leg)?;
        let here = self.rooms.get(meeting)?.meeting.roster().get(leg)?;
        (here.place == Place::Inside).then_some(meeting)
    }

    fn watching(&self, meeting: &MeetingId) -> Vec<Subscription> {
        let here = |watcher: &Watcher| self.seen_by(watcher.leg) == Some(meeting);
        self.watchers.iter().filter(|(_, watcher)| here(watcher)).map(|(subscription, _)| *subscription).collect()
    }

    /// Something has happened in a meeting: whoever watches sees it, now or in a moment.
    pub(super) fn glance(&mut self, now: Now, meeting: &MeetingId) {
        if self.watchers.is_empty() {
            return;
        }
        let Some(room) = self.rooms.get_mut(meeting).filter(|room| room.seats.armed.is_none()) else { return };
        let due = room.seats.glanced.map(|at| at + GLANCE).filter(|at| *at > now.mono);
        match due {
            None => self.look_into(now, meeting),
            Some(at) => {
                room.seats.armed = Some(at);
                self.timers.insert((at, Who::Watched(meeting.clone())));
            }
        }
    }

    /// Shows a meeting as it is now.
    pub(super) fn look_into(&mut self, now: Now, meeting: &MeetingId) {
        let subscriptions = self.watching(meeting);
        if let Some(room) = self.rooms.get_mut(meeting) {
            (room.seats.armed, room.seats.glanced) = (None, Some(now.mono));
        }
        if subscriptions.is_empty() {
            return;
        }
        if let Some(conference) = self.conference(now, meeting).map(Arc::new) {
            self.say(Output::Sip(sip::Command::Show { subscriptions, conference }));
        }
    }

    /// A meeting is over: nobody sees it any more, though their calls may last a moment longer.
    pub(super) fn unseen(&mut self, meeting: &MeetingId, room: &Room) {
        if let Some(at) = room.seats.armed {
            self.timers.remove(&(at, Who::Watched(meeting.clone())));
        }
        let was_there =
            |watcher: &Watcher| self.lines.get(&watcher.leg).is_some_and(|line| line.meeting.as_ref() == Some(meeting));
        let gone = self.watchers.iter().filter(|(_, watcher)| was_there(watcher));
        let subscriptions: Vec<Subscription> = gone.map(|(subscription, _)| *subscription).collect();
        if !subscriptions.is_empty() {
            self.say(Output::Sip(sip::Command::Conclude { subscriptions }));
        }
    }

    /// A leg has left, though its call may last a moment longer.
    pub(super) fn sees_no_more(&mut self, leg: LegId) {
        let own = self.watchers.iter().filter(|(_, watcher)| watcher.leg == leg);
        let subscriptions: Vec<Subscription> = own.map(|(subscription, _)| *subscription).collect();
        if !subscriptions.is_empty() {
            self.say(Output::Sip(sip::Command::Conclude { subscriptions }));
        }
    }

    /// What there is to see of a meeting.
    fn conference(&mut self, now: Now, meeting: &MeetingId) -> Option<Conference> {
        let country = self.facts.payer_of(meeting).map(|(_, organisation)| organisation.country);
        let room = self.rooms.get_mut(meeting)?;
        let here: BTreeSet<LegId> = room.meeting.roster().all().into_iter().collect();
        room.seats.take(&here);
        room.seats.glanced = Some(now.mono);
        let room = self.rooms.get(meeting)?;
        let seat =
            |(leg, here): (LegId, &Participant)| Some((*room.seats.of.get(&leg)?, self.person(leg, here, country)));
        Some(Conference {
            most: room.meeting.settings().max_participants,
            count: room.meeting.roster().inside(),
            active: room.meeting.is_started(),
            locked: room.meeting.is_locked(),
            people: room.meeting.roster().iter().filter_map(seat).collect(),
        })
    }

    fn person(&self, leg: LegId, here: &Participant, country: Option<Country>) -> Person {
        let line = self.lines.get(&leg);
        let presence = match here.place {
            _ if here.leaving => Presence::Leaving,
            Place::AwaitsStart | Place::AwaitsAdmission => Presence::Waiting,
            Place::Inside if here.held => Presence::Held,
            Place::Inside => Presence::Inside,
        };
        Person {
            number: here
                .number
                .map(|number| self.config.masking.outside(&number, country))
                .filter(|number| !number.is_empty()),
            role: here.role.word(),
            presence,
            speaks: !here.muted,
            hears: !here.deaf,
            is_called: line.is_some_and(|line| !line.is_inbound()),
            since: line.and_then(|line| line.joined),
        }
    }
}
