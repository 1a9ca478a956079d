//! People in a room: who is here, who waits, who may do what, and when it is over.
//!
//! [`Lobby`] is one caller before the room, [`Meeting`] the room with all who are in it, [`Keypad`] one caller's keys.
//! All three are machines. Participants are named by their legs, never by their numbers: two callers may share one.

pub mod command;
mod lobby;
mod prompt;
mod role;
mod roster;

pub use command::{DEFAULT_KEYS, Keypad, Pressed, Verb};
pub use lobby::{Config as LobbyConfig, Entry, Input as LobbyInput, Known, Lobby, Output as LobbyOutput};
pub use prompt::Prompt;
pub use role::Role;
pub use roster::{Participant, Place, Roster};

use crate::clock::Mono;
use crate::types::{Cause, LegId, MeetingId, OrganisationId, UserId};
use std::collections::VecDeque;
use std::time::Duration;

/// A meeting as its organiser set it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub id: MeetingId,
    pub conference_id: String,
    pub organiser: UserId,
    pub organisation: OrganisationId,
    /// Callers wait to be admitted.
    pub lobby: bool,
    /// The first caller begins it; else the organiser, by PIN.
    pub callers_may_start: bool,
    /// Whom it rings presses 1 before they are let in.
    pub confirm_join: bool,
    /// Participants at most, those who wait counted.
    pub max_participants: usize,
    /// Tones when somebody comes or goes.
    pub tones: bool,
}

/// Participants where a meeting does not say (Microsoft's figure for phones).
pub const MOST_PARTICIPANTS: usize = 1_000;
/// No change of the roster for so long ends a meeting.
const STALE: Duration = Duration::from_secs(24 * 3_600);
/// Nobody ever used a PIN.
const UNVERIFIED: Duration = Duration::from_secs(4 * 3_600);
/// The last verified person left so long ago, where callers may not begin the meeting.
const ABANDONED: Duration = Duration::from_secs(90 * 60);
/// A muted person who talks is told so, and not again for a while.
const REMIND: Duration = Duration::from_secs(30);

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A participant, by key: the role decides.
    Leg(LegId),
    /// API or console, which know whom they let ask.
    Desk,
}

/// A verb with what it needs. `None` turns a switch over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// One that needs nothing more.
    Verb(Verb),
    Mute {
        leg: LegId,
        on: bool,
    },
    Remove {
        leg: LegId,
    },
    Lock {
        on: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Somebody comes: in by the lobby, out by confirming, or again with a higher role.
    Enter {
        leg: LegId,
        role: Role,
    },
    /// Somebody whom the meeting rang: in at once, since whoever had them rung let them in.
    Bring {
        leg: LegId,
    },
    /// The leg is over, or on its way to be.
    Left {
        leg: LegId,
    },
    Asked {
        by: By,
        command: Command,
    },
    /// Talks, whether heard or not.
    Talking {
        leg: LegId,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Hears and is heard from now on.
    Join {
        leg: LegId,
    },
    /// Waits, with music.
    Wait {
        leg: LegId,
        prompts: Vec<Prompt>,
    },
    Mute {
        leg: LegId,
        on: bool,
    },
    /// To one alone.
    Say {
        leg: LegId,
        prompts: Vec<Prompt>,
    },
    /// To all inside.
    SayAll {
        prompts: Vec<Prompt>,
    },
    /// Out of the meeting: hears why, then is hung up.
    Release {
        leg: LegId,
        cause: Cause,
        prompts: Vec<Prompt>,
    },
    /// Empty: nothing of it runs any more.
    Closed,
}

/// What an order came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Yes,
    NoSuchLeg,
}

/// A meeting with somebody in it, or waiting for it.
#[derive(Clone, Debug)]
pub struct Meeting {
    settings: Settings,
    roster: Roster,
    started: bool,
    /// All were told to go; whoever comes now comes too late.
    ended: bool,
    locked: bool,
    all_muted: bool,
    tones: bool,
    began: Mono,
    changed: Mono,
    /// A PIN was used.
    verified: bool,
    /// The last verified person left.
    alone_since: Option<Mono>,
    outputs: VecDeque<Output>,
}

impl Meeting {
    pub fn new(settings: Settings, now: Mono) -> Meeting {
        Meeting {
            tones: settings.tones,
            roster: Roster::default(),
            started: false,
            locked: false,
            all_muted: false,
            began: now,
            changed: now,
            ended: false,
            verified: false,
            alone_since: None,
            settings,
            outputs: VecDeque::new(),
        }
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    pub fn is_started(&self) -> bool {
        self.started
    }

    pub fn is_locked(&self) -> bool {
        self.locked
    }

    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn deadline(&self) -> Option<Mono> {
        if self.ended {
            return None;
        }
        let unverified = (!self.verified).then_some(self.began + UNVERIFIED);
        let abandoned = self.alone_since.filter(|_| !self.settings.callers_may_start).map(|since| since + ABANDONED);
        [Some(self.changed + STALE), unverified, abandoned].into_iter().flatten().min()
    }

    /// One of the limits of a meeting came.
    pub fn wake(&mut self, now: Mono) {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            self.end();
        }
    }

    pub fn handle(&mut self, now: Mono, input: Input) -> Done {
        match input {
            Input::Enter { leg, role } => self.enter(now, leg, role),
            Input::Bring { leg } => self.bring(now, leg),
            Input::Left { leg } => self.left(now, leg),
            Input::Asked { by, command } => return self.asked(by, command),
            Input::Talking { leg } => self.talking(now, leg),
        }
        Done::Yes
    }

    fn enter(&mut self, now: Mono, leg: LegId, role: Role) {
        if self.roster.get(leg).is_some_and(|participant| participant.leaving) {
            return;
        }
        if let Some(cause) = self.refusal(leg, role) {
            return self.turn_away(leg, cause);
        }

        self.changed = now;
        self.roster.put(leg, role);
        if role.is_verified() {
            self.verified = true;
            self.alone_since = None;
        }
        if !self.started && (role.is_verified() || self.settings.callers_may_start) {
            self.start(leg);
        }
        self.place(leg);
    }

    fn bring(&mut self, now: Mono, leg: LegId) {
        let newcomer = self.roster.get(leg).is_none();
        let full = newcomer && self.roster.len() >= self.settings.max_participants;
        let refused = if self.ended { Some(Cause::MeetingEnded) } else { full.then_some(Cause::MeetingFull) };
        if let Some(cause) = refused {
            return self.turn_away(leg, cause);
        }

        self.changed = now;
        self.roster.put(leg, Role::Attendee);
        self.start(leg);
        self.join(leg);
    }

    /// In at once, or waiting for the beginning, or for being admitted. Whoever is inside stays.
    fn place(&mut self, leg: LegId) {
        let Some(Participant { role, place, leaving, .. }) = self.roster.get(leg).copied() else { return };
        if place == Place::Inside || leaving {
            return;
        }
        let waits = !self.started || (self.settings.lobby && !role.is_verified());
        if !waits {
            return self.join(leg);
        }
        let (place, prompt) = match self.started {
            false => (Place::AwaitsStart, Prompt::WaitingForOrganiser),
            true => (Place::AwaitsAdmission, Prompt::WaitingToBeAdmitted),
        };
        self.roster.set_place(leg, place);
        self.outputs.push_back(Output::Wait { leg, prompts: vec![prompt] });
    }

    /// The meeting begins: whoever waited for that goes in, or now waits to be admitted.
    fn start(&mut self, starter: LegId) {
        self.started = true;
        for leg in self.roster.at(Place::AwaitsStart) {
            if leg != starter {
                self.place(leg);
            }
        }
    }

    fn join(&mut self, leg: LegId) {
        if self.roster.get(leg).is_none_or(|participant| participant.place == Place::Inside || participant.leaving) {
            return;
        }
        self.roster.set_place(leg, Place::Inside);
        self.outputs.push_back(Output::Join { leg });
        let role = self.roster.get(leg).map_or(Role::Attendee, |participant| participant.role);
        if self.all_muted && !role.may(Verb::MuteAll) {
            self.set_muted(leg, true);
        }
        if self.tones {
            self.outputs.push_back(Output::SayAll { prompts: vec![Prompt::EntryTone] });
        }
    }

    fn left(&mut self, now: Mono, leg: LegId) {
        let Some(gone) = self.roster.remove(leg) else { return };
        self.changed = now;
        if gone.role.is_verified() && !self.roster.has_verified() {
            self.alone_since = Some(now);
        }
        if self.tones && gone.place == Place::Inside && self.roster.inside() > 0 {
            self.outputs.push_back(Output::SayAll { prompts: vec![Prompt::ExitTone] });
        }
        self.close_if_empty();
    }

    fn close_if_empty(&mut self) {
        if self.roster.is_empty() {
            self.outputs.push_back(Output::Closed);
        }
    }

    /// Why a newcomer may not come in; the organiser always may, while there is a meeting.
    fn refusal(&self, leg: LegId, role: Role) -> Option<Cause> {
        if self.roster.get(leg).is_some() {
            return None;
        }
        let full = self.roster.len() >= self.settings.max_participants;
        match role.is_verified() {
            _ if self.ended => Some(Cause::MeetingEnded),
            true => None,
            false if self.locked => Some(Cause::MeetingLocked),
            false => full.then_some(Cause::MeetingFull),
        }
    }

    fn talking(&mut self, now: Mono, leg: LegId) {
        let Some(participant) = self.roster.get_mut(leg).filter(|participant| participant.muted) else { return };
        let due = participant.reminded.is_none_or(|at| now.since(at) >= REMIND);
        if due && participant.place == Place::Inside {
            participant.reminded = Some(now);
            self.outputs.push_back(Output::Say { leg, prompts: vec![Prompt::MutedReminder] });
        }
    }

    fn asked(&mut self, by: By, command: Command) -> Done {
        let verb = match command {
            Command::Verb(verb) => verb,
            Command::Mute { .. } => Verb::Mute,
            Command::Remove { .. } => Verb::Remove,
            Command::Lock { .. } => Verb::Lock,
        };
        if let By::Leg(leg) = by {
            let here = self.roster.get(leg).filter(|participant| !participant.leaving);
            let Some(Participant { role, place, .. }) = here else { return Done::NoSuchLeg };
            // Who waits has no say yet, least of all in who is let in.
            if *place != Place::Inside || !role.may(verb) {
                self.outputs.push_back(Output::Say { leg, prompts: vec![Prompt::NotAllowed] });
                return Done::Yes;
            }
        }
        match command {
            Command::Verb(verb) => self.verb(by, verb),
            Command::Lock { on } => self.lock(on),
            Command::Mute { leg, .. } | Command::Remove { leg } if self.roster.get(leg).is_none() => {
                return Done::NoSuchLeg;
            }
            Command::Mute { leg, on } => self.mute(leg, on),
            Command::Remove { leg } => self.release(leg, Cause::Removed, vec![Prompt::Removed]),
        }
        Done::Yes
    }

    fn verb(&mut self, by: By, verb: Verb) {
        match verb {
            Verb::Lock => self.lock(!self.locked),
            Verb::Admit => self.admit(),
            Verb::MuteAll => self.mute_all(by, !self.all_muted),
            Verb::Announcements => self.announce(!self.tones),
            Verb::EndAll => self.end(),
            Verb::Help | Verb::RollCall | Verb::MuteSelf | Verb::RaiseHand => {
                if let By::Leg(leg) = by {
                    self.of_ones_own(leg, verb);
                }
            }
            // Nobody answers these yet: the caller hears that the key leads nowhere.
            Verb::Record | Verb::Operator | Verb::DialOut | Verb::Mute | Verb::Remove => {
                if let By::Leg(leg) = by {
                    self.outputs.push_back(Output::Say { leg, prompts: vec![Prompt::NoSuchKey] });
                }
            }
        }
    }

    /// What concerns the asker alone.
    fn of_ones_own(&mut self, leg: LegId, verb: Verb) {
        let others = self.roster.inside().saturating_sub(1);
        let Some(participant) = self.roster.get_mut(leg) else { return };
        let prompts = match verb {
            Verb::RollCall => Prompt::others(others),
            Verb::RaiseHand => {
                participant.hand = !participant.hand;
                vec![if participant.hand { Prompt::HandRaised } else { Prompt::HandLowered }]
            }
            Verb::MuteSelf => {
                let on = !participant.muted;
                return self.mute(leg, on);
            }
            _ if participant.role.may(Verb::EndAll) => vec![Prompt::Help, Prompt::HelpOrganiser],
            _ => vec![Prompt::Help],
        };
        self.outputs.push_back(Output::Say { leg, prompts });
    }

    fn set_muted(&mut self, leg: LegId, on: bool) {
        if let Some(participant) = self.roster.get_mut(leg) {
            participant.muted = on;
            participant.reminded = None;
            self.outputs.push_back(Output::Mute { leg, on });
        }
    }

    fn mute(&mut self, leg: LegId, on: bool) {
        self.set_muted(leg, on);
        let prompts = vec![if on { Prompt::Muted } else { Prompt::Unmuted }];
        self.outputs.push_back(Output::Say { leg, prompts });
    }

    /// Everybody but those who may unmute all: newcomers too, as long as it is on.
    fn mute_all(&mut self, by: By, on: bool) {
        self.all_muted = on;
        for leg in self.roster.at(Place::Inside) {
            let asker = by == By::Leg(leg);
            let exempt = self.roster.get(leg).is_some_and(|participant| participant.role.may(Verb::MuteAll));
            if !asker && !exempt {
                self.set_muted(leg, on);
            }
        }
        self.outputs
            .push_back(Output::SayAll { prompts: vec![if on { Prompt::AllMuted } else { Prompt::AllUnmuted }] });
    }

    fn lock(&mut self, on: bool) {
        if self.locked != on {
            self.locked = on;
            let prompt = if on { Prompt::Locked } else { Prompt::Unlocked };
            self.outputs.push_back(Output::SayAll { prompts: vec![prompt] });
        }
    }

    fn announce(&mut self, on: bool) {
        self.tones = on;
        let prompt = if on { Prompt::AnnouncementsOn } else { Prompt::AnnouncementsOff };
        self.outputs.push_back(Output::SayAll { prompts: vec![prompt] });
    }

    /// Whoever waits goes in; where nobody has begun the meeting yet, this begins it.
    fn admit(&mut self) {
        if self.ended {
            return;
        }
        self.started = true;
        for leg in self.roster.waiting() {
            self.join(leg);
            self.outputs.push_back(Output::Say { leg, prompts: vec![Prompt::LobbyAdmitted] });
        }
    }

    /// Tells a newcomer why they may not come in. Whoever is here already stays, or is on the way out.
    fn turn_away(&mut self, leg: LegId, cause: Cause) {
        if self.roster.get(leg).is_none() {
            let prompts = vec![Prompt::of_refusal(cause), Prompt::Goodbye];
            self.outputs.push_back(Output::Release { leg, cause, prompts });
            self.close_if_empty();
        }
    }

    /// Tells a leg to go, once.
    fn release(&mut self, leg: LegId, cause: Cause, prompts: Vec<Prompt>) {
        let Some(participant) = self.roster.get_mut(leg).filter(|participant| !participant.leaving) else { return };
        participant.leaving = true;
        self.outputs.push_back(Output::Release { leg, cause, prompts });
    }

    /// For all, once: whoever is on the way out already is not told again.
    fn end(&mut self) {
        self.ended = true;
        for leg in self.roster.all() {
            self.release(leg, Cause::MeetingEnded, vec![Prompt::MeetingEnded, Prompt::Goodbye]);
        }
    }
}

#[cfg(test)]
mod tests;
