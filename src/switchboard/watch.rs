//! What legs do, shown to the watchman of patterns; what it tells goes into the books, and from there to people.

use super::line::Line;
use super::{Output, Switchboard};
use crate::clock::{Now, Wall};
use crate::notice::{Kind, alert};
use crate::store::Raise;
use crate::telemetry::name;
use crate::trunk::{Brake, Caller, Closing, KeptTries, NumberKind, Sight};
use crate::types::{CarrierId, E164, LegId, MeetingId, OrganisationId};
use std::net::SocketAddr;
use std::time::Duration;

impl Switchboard {
    fn see(&mut self, now: Now, sight: &Sight) {
        for alarm in self.patterns.look(now, sight) {
            tracing::warn!(pattern = alarm.pattern.slug(), detail = alarm.detail, "calls look like fraud");
            self.say(Output::Raise(Raise {
                key: alarm.key,
                kind: Kind::Fraud,
                organisation: alarm.organisation,
                at: now.wall,
                facts: alert::facts([("pattern", alarm.pattern.slug().to_owned()), ("detail", alarm.detail)]),
            }));
        }
    }

    /// What was seen before this process, each sight with its moment, the earliest first: the watch goes on where it was. What
    /// that makes was told then, and is not told again.
    pub fn recall(&mut self, now: Now, sights: &[(Wall, Sight)]) {
        for (at, sight) in sights {
            let ago = u64::try_from(now.wall.micros() - at.micros()).unwrap_or(0);
            let then = Now { mono: now.mono - Duration::from_micros(ago), wall: *at };
            self.see(then, sight);
        }
    }

    /// Whether it is night or weekend where an organisation's days turn.
    fn is_quiet_for(&self, organisation: &OrganisationId, now: Now) -> bool {
        self.facts.organisations.get(organisation).is_some_and(|known| known.is_quiet(now.wall))
    }

    /// A call out is made.
    pub(super) fn see_dialled(&mut self, now: Now, organisation: &OrganisationId, to: E164) {
        let home = self.facts.organisations.get(organisation).map(|known| known.country);
        let country = self.facts.countries.country_of(&to);
        let quiet = self.is_quiet_for(organisation, now);
        let abroad = country.filter(|country| Some(*country) != home);
        self.see(now, &Sight::Dialled { organisation: organisation.clone(), to, abroad, quiet });
    }

    /// A call came in: the number that it shows may be known from fraud.
    pub(super) fn see_caller(&mut self, now: Now, carrier: &CarrierId, caller: Option<E164>) {
        let Some(caller) = caller.filter(|caller| self.facts.hot(caller).is_some()) else { return };
        metrics::counter!(name::HOT_CALLS, "way" => "in").increment(1);
        self.see(now, &Sight::HotCaller { carrier: carrier.clone(), caller });
    }

    /// A leg is over: how long a call out was, or that a caller never came to a meeting.
    pub(super) fn see_over(&mut self, now: Now, id: LegId, elapsed_ms: u64) {
        let Some(line) = self.lines.get(&id) else { return };
        let sight = if line.is_inbound() {
            self.never_joined(line, elapsed_ms)
        } else {
            self.dialled_over(now, line, elapsed_ms)
        };
        if let Some(sight) = sight {
            self.see(now, &sight);
        }
    }

    fn never_joined(&self, line: &Line, elapsed_ms: u64) -> Option<Sight> {
        let is_toll_free = self.facts.directory.find(&line.number)?.kind == NumberKind::TollFree;
        (is_toll_free && line.joined.is_none()).then(|| Sight::NeverJoined {
            carrier: line.carrier.clone(),
            caller: line.caller,
            elapsed_ms,
        })
    }

    fn dialled_over(&self, now: Now, line: &Line, elapsed_ms: u64) -> Option<Sight> {
        let organisation = self.payer(line).filter(|_| line.leg.is_answered())?;
        let quiet = self.is_quiet_for(&organisation, now);
        Some(Sight::DialledOver { organisation, to: line.number, elapsed_ms, quiet })
    }

    /// Wrong tries of before this process.
    pub fn recall_tries(&mut self, now: Now, kept: Vec<KeptTries>) {
        self.guard.remember(now, kept);
    }

    /// Wrong tries that the next process is to know, and has not been told of: so many at most.
    pub fn tries_to_keep(&mut self, now: Now, most: usize) -> Vec<KeptTries> {
        self.guard.to_keep(now, most)
    }

    /// A wrong conference ID or PIN.
    pub(super) fn see_wrong_try(&mut self, now: Now, carrier: CarrierId) {
        self.see(now, &Sight::WrongTry { carrier });
    }

    /// A brake has closed: told once a source and window, to the house and, where a meeting is known, to whose it is.
    pub(super) fn tell_closing(
        &mut self,
        now: Now,
        id: LegId,
        (carrier, caller): (&CarrierId, &Caller),
        meeting: Option<&MeetingId>,
        closing: Option<Closing>,
    ) {
        let Some(Closing { brake, tries, window }) = closing else { return };
        let caller = match caller {
            Caller::Number(number) => number.masked(),
            Caller::Withheld(carrier) => format!("callers by {carrier} who withhold their number"),
        };
        let (source, who) = match (brake, meeting) {
            (Brake::Meeting, Some(meeting)) => {
                (format!("meeting:{meeting}"), format!("At meeting {meeting}, all callers"))
            }
            (Brake::Carrier, _) => {
                (format!("carrier:{carrier}"), format!("At no meeting that there is, calls of {carrier} that name one"))
            }
            (_, Some(meeting)) => (format!("caller:{caller}"), format!("At meeting {meeting}, {caller}")),
            (_, None) => (format!("caller:{caller}"), format!("At no meeting that there is, {caller}")),
        };
        let organisation = meeting.and_then(|meeting| self.facts.meeting(meeting));
        let organisation = organisation.map(|known| known.settings.organisation.clone());
        let minutes = (window.as_secs() / 60).to_string();
        tracing::warn!(source, tries, "a brake on guessing has closed");
        self.say(Output::Raise(Raise {
            // The guard tells each closing once; and two callers whose numbers are masked alike are two.
            key: format!("{}:{id}:{}", Kind::Guessing, now.wall.micros()),
            kind: Kind::Guessing,
            organisation,
            at: now.wall,
            facts: alert::facts([("who", who), ("tries", tries.to_string()), ("minutes", minutes)]),
        }));
    }

    /// Wrong passwords, one after the other, in the requests of a carrier or of somebody who would be one.
    pub(super) fn tell_guessed(&mut self, now: Now, peer: SocketAddr, listed: bool, tries: u32) {
        let carrier =
            self.facts.directory.at(peer, &self.hosts).filter(|_| listed).map(|carrier| carrier.id.to_string());
        tracing::warn!(%peer, carrier, tries, "wrong passwords, one after the other");
        let who = match &carrier {
            Some(carrier) => format!("carrier {carrier}, from {}", peer.ip()),
            None => format!("a stranger, from {}", peer.ip()),
        };
        let then = match &carrier {
            Some(_) => "Its calls are refused until both sides have one password; then they go on at once",
            None => "That address is not heard for a quarter of an hour",
        };
        let key = format!("{}:{}:{}", Kind::WrongPassword, peer.ip(), now.wall.micros());
        let facts = [("who", who), ("tries", tries.to_string()), ("then", then.to_owned())];
        let facts = alert::facts(facts);
        self.say(Output::Raise(Raise { key, kind: Kind::WrongPassword, organisation: None, at: now.wall, facts }));
    }

    /// A leg asks for its next slice: its meeting goes on.
    pub(super) fn see_meeting(&mut self, now: Now, id: LegId) {
        let Some(line) = self.lines.get(&id).filter(|line| line.present) else { return };
        let Some((meeting, organisation)) = line.meeting.clone().zip(self.payer(line)) else { return };
        let Some(room) = self.rooms.get(&meeting) else { return };
        let organiser = room.meeting.roster().iter().any(|(_, participant)| participant.role.is_verified());
        let quiet = self.is_quiet_for(&organisation, now);
        self.see(now, &Sight::Meeting { meeting, organisation, organiser, quiet });
    }

    pub(super) fn see_meeting_over(&mut self, now: Now, meeting: &MeetingId) {
        self.see(now, &Sight::MeetingOver { meeting: meeting.clone() });
    }
}
