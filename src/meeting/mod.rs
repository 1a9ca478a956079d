//! People in a room: who is here, who waits, who may do what, and when it is over.
//!
//! [`Lobby`] is one caller before the room, [`Meeting`] the room with all who are in it, [`Keypad`] one caller's keys.
//! All three are machines. Participants are named by their legs, never by their numbers: two callers may share one.

pub mod command;
mod lobby;
mod prompt;
pub mod recording;
mod role;
mod roster;

pub use command::{KeyMap, Keypad, Pressed, Verb};
pub use lobby::{Config as LobbyConfig, Entry, Input as LobbyInput, Known, Lobby, Output as LobbyOutput};
pub use prompt::Prompt;
pub use role::Role;
pub use roster::{Participant, Place, Roster};

use crate::clock::Mono;
use crate::types::{Cause, E164, LegId, MeetingId, OrganisationId, UserId};
use recording::{Recording, Step};
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
    /// It is told when somebody comes or goes, as the bridge does that ([`Announce`]).
    pub tones: bool,
}

/// How a bridge tells that somebody comes or goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Announce {
    /// By a short sound.
    #[default]
    Tone,
    /// By the last digits of their number.
    Number,
    /// Not at all, unless a key asks for the sound.
    Nothing,
}

impl std::str::FromStr for Announce {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Announce, &'static str> {
        match text {
            "tone" => Ok(Announce::Tone),
            "number" => Ok(Announce::Number),
            "nothing" => Ok(Announce::Nothing),
            _ => Err("expected tone, number or nothing"),
        }
    }
}

/// Settings of all meetings of a bridge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    pub announce: Announce,
    /// Organisers may have phones rung by keys.
    pub keypad_calls: bool,
    /// Whom the operator's key rings.
    pub operator: Option<E164>,
    /// A meeting ends so long after its last organiser left; `None`: 90 minutes after its last verified person did.
    pub organiser_gone: Option<Duration>,
    /// `None`: nothing can be recorded.
    pub recording: Option<recording::Config>,
}

/// Participants where a meeting does not say (Microsoft's figure for phones).
pub const MOST_PARTICIPANTS: usize = 1_000;
/// No change of the roster for so long ends a meeting.
const STALE: Duration = Duration::from_secs(24 * 3_600);
/// Nobody ever used a PIN.
const UNVERIFIED: Duration = Duration::from_secs(4 * 3_600);
/// The last verified person left so long ago.
const ABANDONED: Duration = Duration::from_secs(90 * 60);
/// A muted person who talks is told so, and not again for a while.
const REMIND: Duration = Duration::from_secs(30);
/// A roll call names so many; of a larger meeting the count is what helps.
const LONGEST_ROLL: usize = 10;

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
    /// Whether they hear the room.
    Deafen {
        leg: LegId,
        on: bool,
    },
    /// Out of the room with music, or back.
    Hold {
        leg: LegId,
        on: bool,
    },
    /// Another standing, higher or lower.
    Promote {
        leg: LegId,
        role: Role,
    },
    Lock {
        on: bool,
    },
    Record {
        step: Step,
    },
    /// A number that was typed after [`Output::AskNumber`].
    DialOut {
        to: E164,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Somebody comes: in by the lobby, out by confirming, or again with a higher role.
    Enter {
        leg: LegId,
        role: Role,
        number: Option<E164>,
    },
    /// Somebody whom the meeting rang: in at once, since whoever had them rung let them in. `for_gone`: an organiser did, and left
    /// before they came, so that the end of the meeting is as near as if they had been here by then.
    Bring {
        leg: LegId,
        number: Option<E164>,
        for_gone: bool,
    },
    /// A leg takes the place of another, with all that it had; nobody is told that anybody came or went.
    Replaced {
        old: LegId,
        new: LegId,
        number: Option<E164>,
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
    /// The recording came to an end of its own: the disk is full.
    RecordingEnded,
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
    Deafen {
        leg: LegId,
        on: bool,
    },
    /// Out of the room with music, or back in.
    Hold {
        leg: LegId,
        on: bool,
    },
    /// What they press next is a number to call.
    AskNumber {
        leg: LegId,
    },
    /// Ring this phone, on behalf of `by`, who hears how it goes.
    Dial {
        by: LegId,
        to: E164,
    },
    /// Give up what was dialled on behalf of `by` and still rings.
    CancelCalls {
        by: LegId,
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
    Record {
        step: Step,
    },
    /// Out of the meeting: hears why, then is hung up.
    Release {
        leg: LegId,
        cause: Cause,
        prompts: Vec<Prompt>,
    },
    /// For all: nobody who is on the way is to come any more.
    Ended,
    /// Empty: nothing of it runs any more.
    Closed,
}

/// What an order came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    Yes,
    NoSuchLeg,
    /// Not as things are, for this reason.
    Not(&'static str),
}

/// A meeting with somebody in it, or waiting for it.
#[derive(Clone, Debug)]
pub struct Meeting {
    settings: Settings,
    config: Config,
    roster: Roster,
    started: bool,
    /// All were told to go; whoever comes now comes too late.
    ended: bool,
    locked: bool,
    all_muted: bool,
    tones: bool,
    recording: Recording,
    began: Mono,
    changed: Mono,
    /// A PIN was used.
    verified: bool,
    /// The last verified person left.
    alone_since: Option<Mono>,
    /// By everybody; it was not told yet.
    was_left: bool,
    outputs: VecDeque<Output>,
}

impl Meeting {
    pub fn new(settings: Settings, config: Config, now: Mono) -> Meeting {
        Meeting {
            tones: settings.tones && config.announce != Announce::Nothing,
            config,
            roster: Roster::default(),
            started: false,
            locked: false,
            all_muted: false,
            recording: Recording::default(),
            began: now,
            changed: now,
            ended: false,
            verified: false,
            alone_since: None,
            was_left: false,
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

    /// All were told to go.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    pub fn is_locked(&self) -> bool {
        self.locked
    }

    pub fn recording(&self) -> recording::State {
        self.recording.state()
    }

    pub fn poll(&mut self) -> Option<Output> {
        // Somebody may have come, or have been turned away, in the moment in which the last one left: that is said first.
        let closes = |meeting: &mut Meeting| std::mem::take(&mut meeting.was_left) && meeting.roster.is_empty();
        self.outputs.pop_front().or_else(|| closes(self).then_some(Output::Closed))
    }

    pub fn deadline(&self) -> Option<Mono> {
        if self.ended {
            return None;
        }
        [self.recording.deadline(), Some(self.limit())].into_iter().flatten().min()
    }

    /// When it has lasted long enough.
    fn limit(&self) -> Mono {
        let unverified = (!self.verified).then_some(self.began + UNVERIFIED);
        let grace = self.config.organiser_gone.unwrap_or(ABANDONED).min(ABANDONED);
        let abandoned = self.alone_since.map(|since| since + grace);
        [unverified, abandoned].into_iter().flatten().fold(self.changed + STALE, Mono::min)
    }

    /// One of the limits of a meeting came, or the tone of its recording is due.
    pub fn wake(&mut self, now: Mono) {
        if self.ended {
            return;
        }
        if now >= self.limit() {
            return self.end();
        }
        if let Some(config) = self.config.recording
            && self.recording.wake(now, config)
        {
            self.outputs.push_back(Output::SayAll { prompts: vec![Prompt::RecordingTone] });
        }
    }

    pub fn handle(&mut self, now: Mono, input: Input) -> Done {
        match input {
            Input::Enter { leg, role, number } => self.enter(now, leg, role, number),
            Input::Bring { leg, number, for_gone } => self.bring(now, leg, number, for_gone),
            Input::Replaced { old, new, number } => return self.replaced(now, old, new, number),
            Input::Left { leg } => self.left(now, leg),
            Input::Asked { by, command } => return self.asked(now, by, command),
            Input::Talking { leg } => self.talking(now, leg),
            Input::RecordingEnded => return self.record(now, Step::Stop),
        }
        Done::Yes
    }

    fn enter(&mut self, now: Mono, leg: LegId, role: Role, number: Option<E164>) {
        if self.roster.get(leg).is_some_and(|participant| participant.leaving) {
            return;
        }
        if let Some(cause) = self.refusal(leg, role) {
            return self.turn_away(leg, cause);
        }

        self.changed = now;
        self.roster.put(leg, role, number);
        let is_back = role.is_verified() && self.is_led_again();
        if !self.started && (role.is_verified() || self.settings.callers_may_start) {
            self.start(leg);
        }
        self.place(leg);
        if is_back && self.config.organiser_gone.is_some() {
            self.outputs.push_back(Output::SayAll { prompts: vec![Prompt::OrganiserBack] });
        }
    }

    /// Somebody verified is here. Whether the meeting had been without.
    fn is_led_again(&mut self) -> bool {
        self.verified = true;
        self.alone_since.take().is_some()
    }

    fn bring(&mut self, now: Mono, leg: LegId, number: Option<E164>, for_gone: bool) {
        let newcomer = self.roster.get(leg).is_none();
        let full = newcomer && self.roster.len() >= self.settings.max_participants;
        let refused = if self.ended { Some(Cause::MeetingEnded) } else { full.then_some(Cause::MeetingFull) };
        if let Some(cause) = refused {
            return self.turn_away(leg, cause);
        }

        self.changed = now;
        if for_gone && !self.verified {
            (self.verified, self.alone_since) = (true, Some(now));
        }
        self.roster.put(leg, Role::Attendee, number);
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
        self.tell_recorded(leg);
        self.announce_one(leg, Prompt::EntryTone, Prompt::HasJoined);
    }

    /// Whoever comes into a room that is recorded, be it back from hold, is told so.
    fn tell_recorded(&mut self, leg: LegId) {
        if self.recording.state() == recording::State::On {
            self.outputs.push_back(Output::Say { leg, prompts: vec![Prompt::RecordingOn] });
        }
    }

    /// Somebody came or went, and all inside are told so, where they want to know.
    fn announce_one(&mut self, leg: LegId, tone: Prompt, words: Prompt) {
        let number = self.roster.get(leg).and_then(|participant| participant.number);
        if self.tones {
            let prompts = match self.config.announce {
                // Where nothing is usual, a key has asked for it.
                Announce::Tone | Announce::Nothing => vec![tone],
                Announce::Number => [Prompt::person(number.as_ref()), vec![words]].concat(),
            };
            self.outputs.push_back(Output::SayAll { prompts });
        }
    }

    fn replaced(&mut self, now: Mono, old: LegId, new: LegId, number: Option<E164>) -> Done {
        let Some(here) = self.roster.replace(old, new, number) else { return Done::NoSuchLeg };
        self.changed = now;
        let leg = new;
        match here.place {
            Place::Inside => self.outputs.push_back(Output::Join { leg }),
            Place::AwaitsStart => {
                self.outputs.push_back(Output::Wait { leg, prompts: vec![Prompt::WaitingForOrganiser] });
            }
            Place::AwaitsAdmission => {
                self.outputs.push_back(Output::Wait { leg, prompts: vec![Prompt::WaitingToBeAdmitted] });
            }
        }
        let had = [
            here.muted.then_some(Output::Mute { leg, on: true }),
            here.deaf.then_some(Output::Deafen { leg, on: true }),
            here.held.then_some(Output::Hold { leg, on: true }),
        ];
        self.outputs.extend(had.into_iter().flatten());
        if here.place == Place::Inside && !here.held {
            self.tell_recorded(leg);
        }
        Done::Yes
    }

    fn left(&mut self, now: Mono, leg: LegId) {
        let Some(gone) = self.roster.get(leg).copied() else { return };
        self.changed = now;
        let others = self.roster.inside() - usize::from(gone.place == Place::Inside);
        if gone.place == Place::Inside && others > 0 {
            self.announce_one(leg, Prompt::ExitTone, Prompt::HasLeft);
        }
        self.roster.remove(leg);
        if gone.role.is_verified() {
            self.look_for_a_leader(now);
        }
        self.close_if_empty();
    }

    /// The last verified person may be gone: from now on the end is near.
    fn look_for_a_leader(&mut self, now: Mono) {
        if self.roster.has_verified() || self.alone_since.is_some() {
            return;
        }
        self.alone_since = Some(now);
        if self.config.organiser_gone.is_some() && !self.ended && self.roster.inside() > 0 {
            self.outputs.push_back(Output::SayAll { prompts: vec![Prompt::OrganiserLeft] });
        }
    }

    fn close_if_empty(&mut self) {
        if self.roster.is_empty() {
            self.was_left = true;
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
            self.outputs
                .push_back(Output::Say { leg, prompts: vec![Prompt::MutedReminder, Prompt::Code(Verb::MuteSelf)] });
        }
    }

    fn asked(&mut self, now: Mono, by: By, command: Command) -> Done {
        let verb = command.verb();
        if let By::Leg(leg) = by {
            let here = self.roster.get(leg).filter(|participant| !participant.leaving);
            let Some(Participant { role, place, .. }) = here else { return Done::NoSuchLeg };
            // Who waits has no say yet, least of all in who is let in.
            if *place != Place::Inside || !role.may(verb) {
                self.outputs.push_back(Output::Say { leg, prompts: vec![Prompt::NotAllowed] });
                return Done::Yes;
            }
        }
        if command.leg().is_some_and(|leg| self.roster.get(leg).is_none()) {
            return Done::NoSuchLeg;
        }
        match command {
            Command::Verb(Verb::Record) => return self.record_by(now, by, self.recording.turn()),
            Command::Record { step } => return self.record_by(now, by, step),
            Command::Verb(verb) => self.verb(by, verb),
            Command::Lock { on } => self.lock(on),
            Command::Mute { leg, on } => self.mute(leg, on),
            Command::Deafen { leg, on } => self.deafen(leg, on),
            Command::Hold { leg, on } => self.hold(leg, on),
            Command::Promote { leg, role } => self.promote(now, leg, role),
            Command::Remove { leg } => self.release(leg, Cause::Removed, vec![Prompt::Removed]),
            Command::DialOut { to } => self.dial_out(by, to),
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
            _ => {
                if let By::Leg(leg) = by {
                    self.of_ones_own(leg, verb);
                }
            }
        }
    }

    /// What concerns the asker alone.
    fn of_ones_own(&mut self, leg: LegId, verb: Verb) {
        let Some(participant) = self.roster.get_mut(leg) else { return };
        let role = participant.role;
        let prompts = match verb {
            Verb::Help => help(role),
            Verb::RollCall => self.roll(),
            Verb::RaiseHand => {
                participant.hand = !participant.hand;
                vec![if participant.hand { Prompt::HandRaised } else { Prompt::HandLowered }]
            }
            Verb::MuteSelf => {
                let on = !participant.muted;
                return self.mute(leg, on);
            }
            Verb::Operator => self.call_operator(leg),
            Verb::DialOut if self.config.keypad_calls => {
                self.outputs.push_back(Output::AskNumber { leg });
                vec![Prompt::EnterNumber]
            }
            Verb::CancelCall if self.config.keypad_calls => {
                return self.outputs.push_back(Output::CancelCalls { by: leg });
            }
            Verb::DialOut | Verb::CancelCall => vec![Prompt::KeypadCallsOff],
            // No key says these.
            _ => return,
        };
        self.outputs.push_back(Output::Say { leg, prompts });
    }

    fn record_by(&mut self, now: Mono, by: By, step: Step) -> Done {
        let done = self.record(now, step);
        if let (By::Leg(leg), Done::Not(_)) = (by, done) {
            self.outputs.push_back(Output::Say { leg, prompts: vec![Prompt::NoRecording] });
        }
        done
    }

    /// All who are recorded know it: whoever is here by a word, whoever comes by the same, and everybody by a tone.
    fn record(&mut self, now: Mono, step: Step) -> Done {
        let Some(config) = self.config.recording else { return Done::Not("this bridge records nothing") };
        if step == Step::Start && self.roster.inside() == 0 {
            return Done::Not("nobody is in the meeting");
        }
        match self.recording.step(now, config, step) {
            Err(why) => return Done::Not(why),
            Ok(None) => {}
            Ok(Some(prompt)) => {
                self.outputs.push_back(Output::Record { step });
                self.outputs.push_back(Output::SayAll { prompts: vec![prompt] });
            }
        }
        Done::Yes
    }

    /// Who is here: how many, and who they are as far as numbers tell.
    fn roll(&self) -> Vec<Prompt> {
        let inside = self.roster.iter().filter(|(_, participant)| participant.place == Place::Inside);
        let people = inside.take(LONGEST_ROLL).flat_map(|(_, participant)| Prompt::person(participant.number.as_ref()));
        let mut prompts = Prompt::people(self.roster.inside());
        if self.roster.inside() > 1 {
            prompts.extend(people);
        }
        prompts
    }

    fn call_operator(&mut self, by: LegId) -> Vec<Prompt> {
        let Some(to) = self.config.operator else { return vec![Prompt::NoOperator] };
        self.outputs.push_back(Output::Dial { by, to });
        vec![Prompt::OperatorCalled]
    }

    /// Whether whoever leads may have people rung from a telephone.
    pub fn lets_telephones_dial(&self) -> bool {
        self.config.keypad_calls
    }

    /// A number came by keys. Others are not asked whether they may: they are no leg.
    fn dial_out(&mut self, by: By, to: E164) {
        match by {
            By::Leg(by) if self.config.keypad_calls => self.outputs.push_back(Output::Dial { by, to }),
            _ => {}
        }
    }

    fn deafen(&mut self, leg: LegId, on: bool) {
        if let Some(participant) = self.roster.get_mut(leg) {
            participant.deaf = on;
            self.outputs.push_back(Output::Deafen { leg, on });
        }
    }

    /// Whoever waits, or goes, is in no room that they could be taken from.
    fn hold(&mut self, leg: LegId, on: bool) {
        let here = self.roster.get_mut(leg).filter(|participant| participant.place == Place::Inside);
        if let Some(participant) = here.filter(|participant| !participant.leaving && participant.held != on) {
            participant.held = on;
            self.outputs.push_back(Output::Hold { leg, on });
            if !on {
                self.tell_recorded(leg);
            }
        }
    }

    /// Who becomes an organiser need not wait; where the last of them becomes less, the end is near.
    fn promote(&mut self, now: Mono, leg: LegId, role: Role) {
        let Some(participant) = self.roster.get_mut(leg).filter(|participant| !participant.leaving) else { return };
        participant.role = role;
        if role.is_verified() {
            self.is_led_again();
            self.start(leg);
            self.join(leg);
        } else if self.verified {
            self.look_for_a_leader(now);
        }
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

    /// For all: whoever is on the way out already is not told again.
    fn end(&mut self) {
        self.ended = true;
        self.outputs.push_back(Output::Ended);
        for leg in self.roster.all() {
            self.release(leg, Cause::MeetingEnded, vec![Prompt::MeetingEnded, Prompt::Goodbye]);
        }
    }
}

impl Command {
    /// What it is, for the table of roles.
    fn verb(self) -> Verb {
        match self {
            Command::Verb(verb) => verb,
            Command::Mute { .. } => Verb::Mute,
            Command::Deafen { .. } => Verb::Deafen,
            Command::Hold { .. } => Verb::Hold,
            Command::Promote { .. } => Verb::Promote,
            Command::Remove { .. } => Verb::Remove,
            Command::Lock { .. } => Verb::Lock,
            Command::Record { .. } => Verb::Record,
            Command::DialOut { .. } => Verb::DialOut,
        }
    }

    /// Whom it is done to.
    fn leg(self) -> Option<LegId> {
        match self {
            Command::Mute { leg, .. }
            | Command::Deafen { leg, .. }
            | Command::Hold { leg, .. }
            | Command::Promote { leg, .. }
            | Command::Remove { leg } => Some(leg),
            Command::Verb(_) | Command::Lock { .. } | Command::Record { .. } | Command::DialOut { .. } => None,
        }
    }
}

/// The keys that this role may use.
fn help(role: Role) -> Vec<Prompt> {
    Verb::ALL.iter().filter(|verb| verb.has_keys() && role.may(**verb)).map(|verb| Prompt::Keys(*verb)).collect()
}

#[cfg(test)]
mod tests;
