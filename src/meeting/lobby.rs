//! Before the room: what one caller hears and presses between the answer and the meeting (the IVR).
//!
//! The lobby knows no meeting: it asks its owner ([`Output::LookUp`], [`Output::CheckPin`]) and is told. An unknown
//! meeting and a wrong PIN sound the same, so that neither can be told from the other.

use super::prompt::Prompt;
use super::role::Role;
use crate::clock::Mono;
use crate::types::{Cause, E164, Language, MeetingId};
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Settings of the lobby.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// All conference IDs of a bridge have one length: the last digit ends the entry.
    pub conference_id_digits: usize,
    /// Wrong entries before the caller is let go.
    pub tries: u32,
    /// A PIN ends with `#`, or with this many digits, or with a pause.
    pub longest_pin: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config { conference_id_digits: 7, tries: 3, longest_pin: 12 }
    }
}

/// After a prompt, silence so long has it said again; after a digit, it ends the entry.
const SILENCE: Duration = Duration::from_secs(8);
const BETWEEN_DIGITS: Duration = Duration::from_secs(5);
/// "Are you the organiser?": so long after the question the caller is taken for somebody who waits.
const ORGANISER_PAUSE: Duration = Duration::from_secs(3);
/// A prompt whose end nobody tells (its stream died) is taken for heard after so long: nothing waits for ever, least
/// of all a caller who pays for it.
/// (The longest, a refusal with a number that is read twice, takes 25 s.)
const LONGEST_PROMPT: Duration = Duration::from_secs(40);
/// A called person is asked so often to press 1.
const CONFIRM_TIMES: u32 = 3;

/// How a caller comes here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// By a number of many meetings.
    Shared,
    /// By a number that leads to one meeting, already paid for.
    Direct(Known),
    /// Called by us, already paid for; `confirm`: "press 1 to join", so that no answering machine enters.
    Called { confirm: bool },
}

/// What the owner knows of the meeting that was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub meeting: MeetingId,
    /// It has not begun and callers may not begin it: whoever has the PIN may.
    pub ask_organiser: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    Digit(char),
    /// The prompt of this mark was heard to its end, or stopped.
    Played {
        mark: u64,
    },
    Found(Known),
    NotFound,
    /// The payer was asked, and pays.
    Funded,
    /// … or does not; or the caller may not try again.
    Refused {
        cause: Cause,
        /// A number that would take them, read to them.
        instead: Option<E164>,
    },
    PinRight,
    PinWrong,
    /// The meeting has begun, or the caller was let in: no question is open any more.
    Entered,
}

#[derive(Clone, PartialEq, Eq)]
pub enum Output {
    /// Say these, one after the other, and tell `Played` with the mark.
    Play {
        prompts: Vec<Prompt>,
        mark: u64,
    },
    /// Be silent.
    Stop,
    /// Prompts are in this language from now on.
    Speak(Language),
    LookUp {
        conference_id: String,
    },
    /// Ask the payer of this meeting.
    Fund {
        meeting: MeetingId,
    },
    CheckPin {
        meeting: MeetingId,
        pin: String,
    },
    /// Into the meeting. May come twice: first as somebody who waits, then as the organiser.
    Enter {
        meeting: MeetingId,
        role: Role,
    },
    /// The called person pressed 1, or needed not to.
    Confirmed,
    HangUp(Cause),
}

/// What a caller typed is in no log: PINs and digits show as their count alone.
impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Output::Play { prompts, mark } => write!(f, "Play {{ {prompts:?}, mark: {mark} }}"),
            Output::Stop => f.write_str("Stop"),
            Output::Speak(language) => write!(f, "Speak({language})"),
            Output::LookUp { conference_id } => write!(f, "LookUp({} digits)", conference_id.len()),
            Output::Fund { meeting } => write!(f, "Fund({meeting})"),
            Output::CheckPin { meeting, pin } => write!(f, "CheckPin({meeting}, {} digits)", pin.len()),
            Output::Enter { meeting, role } => write!(f, "Enter({meeting}, {role:?})"),
            Output::Confirmed => f.write_str("Confirmed"),
            Output::HangUp(cause) => write!(f, "HangUp({cause})"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    ConferenceId,
    LookingUp,
    Funding(Known),
    /// "If you are the organiser, press star."
    Question(Known),
    /// In the meeting's hands, waiting; star still leads to the PIN.
    Waiting(Known),
    Pin(Known),
    CheckingPin(Known),
    Confirm {
        left: u32,
    },
    /// Something is said, then the call ends.
    Parting(Cause),
    /// Inside, or gone: nothing more to do here.
    Done,
}

/// One caller before the room.
#[derive(Clone)]
pub struct Lobby {
    config: Config,
    state: State,
    languages: Vec<Language>,
    language: usize,
    digits: String,
    tries: u32,
    mark: u64,
    playing: bool,
    deadline: Option<Mono>,
    now: Mono,
    outputs: VecDeque<Output>,
}

impl fmt::Debug for Lobby {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let typed = self.digits.len();
        f.debug_struct("Lobby").field("state", &self.state).field("typed", &typed).finish_non_exhaustive()
    }
}

impl Lobby {
    /// A caller who was just answered. `languages`: the number's, its first one spoken first.
    pub fn new(config: Config, entry: Entry, languages: Vec<Language>, now: Mono) -> Lobby {
        let mut lobby = Lobby {
            config,
            state: State::Done,
            languages,
            language: 0,
            digits: String::new(),
            tries: 0,
            mark: 0,
            playing: false,
            deadline: None,
            now,
            outputs: VecDeque::new(),
        };
        match entry {
            Entry::Shared => lobby.ask_conference_id(&[Prompt::Welcome]),
            Entry::Direct(known) => lobby.lead_to_meeting(known),
            Entry::Called { confirm: true } => lobby.ask_to_confirm(CONFIRM_TIMES),
            Entry::Called { confirm: false } => lobby.outputs.push_back(Output::Confirmed),
        }
        lobby
    }

    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub fn deadline(&self) -> Option<Mono> {
        self.deadline
    }

    /// Whether keys are still the lobby's.
    pub fn is_open(&self) -> bool {
        self.state != State::Done
    }

    pub fn handle(&mut self, now: Mono, input: Input) {
        self.now = now;
        match (self.state.clone(), input) {
            (State::Done, _) => {}
            (_, Input::Entered) => self.close(),
            (_, Input::Played { mark }) => self.played(now, mark),
            (_, Input::Digit(key)) => self.digit(now, key),
            (State::LookingUp, Input::Found(known)) => {
                self.outputs.push_back(Output::Fund { meeting: known.meeting.clone() });
                self.state = State::Funding(known);
            }
            (State::LookingUp, Input::NotFound) => self.wrong(None),
            (State::Funding(known), Input::Funded) => self.lead_to_meeting(known),
            (State::CheckingPin(known), Input::PinRight) => {
                self.outputs.push_back(Output::Enter { meeting: known.meeting, role: Role::Organiser });
                self.close();
            }
            (State::CheckingPin(known), Input::PinWrong) => self.wrong(Some(known)),
            (_, Input::Refused { cause, instead }) => self.part(cause, instead),
            // An answer to a question that is no longer open.
            (_, _) => {}
        }
    }

    /// The deadline came.
    pub fn wake(&mut self, now: Mono) {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        self.now = now;
        self.playing = false;
        self.deadline = None;
        match self.state.clone() {
            State::ConferenceId if self.digits.is_empty() => self.ask_conference_id(&[]),
            State::ConferenceId => self.wrong(None),
            State::Question(known) => self.wait(known),
            State::Pin(known) if self.digits.is_empty() => self.wait(known),
            State::Pin(known) => self.check_pin(known),
            State::Confirm { left: 1 } => self.finish(Cause::NotJoined),
            State::Confirm { left } => self.ask_to_confirm(left - 1),
            State::Parting(cause) => self.finish(cause),
            State::LookingUp | State::Funding(_) | State::Waiting(_) | State::CheckingPin(_) | State::Done => {}
        }
    }

    fn say(&mut self, prompts: Vec<Prompt>) {
        self.mark += 1;
        self.playing = true;
        self.deadline = Some(self.now + LONGEST_PROMPT);
        self.outputs.push_back(Output::Play { prompts, mark: self.mark });
    }

    fn hush(&mut self) {
        if std::mem::take(&mut self.playing) {
            self.outputs.push_back(Output::Stop);
        }
    }

    fn played(&mut self, now: Mono, mark: u64) {
        if mark != self.mark || !self.playing {
            return;
        }
        self.playing = false;
        match self.state {
            State::Parting(cause) => self.finish(cause),
            State::Question(_) => self.deadline = Some(now + ORGANISER_PAUSE),
            State::ConferenceId | State::Pin(_) | State::Confirm { .. } => self.deadline = Some(now + SILENCE),
            _ => {}
        }
    }

    /// A digit stops any prompt and counts.
    fn digit(&mut self, now: Mono, key: char) {
        match self.state.clone() {
            State::ConferenceId => self.conference_id_digit(now, key),
            State::Question(known) | State::Waiting(known) if key == '*' => self.ask_pin(known),
            State::Pin(known) => self.pin_digit(now, key, known),
            State::Confirm { .. } if key == '1' => {
                self.hush();
                self.outputs.push_back(Output::Confirmed);
                self.close();
            }
            // A `#` after the ID is swallowed, and whatever is pressed while the books are asked.
            _ => {}
        }
    }

    fn conference_id_digit(&mut self, now: Mono, key: char) {
        match key {
            '*' => self.next_language(),
            '0'..='9' => {
                self.hush();
                self.digits.push(key);
                self.deadline = Some(now + BETWEEN_DIGITS);
                if self.digits.len() == self.config.conference_id_digits {
                    self.deadline = None;
                    self.state = State::LookingUp;
                    let conference_id = std::mem::take(&mut self.digits);
                    self.outputs.push_back(Output::LookUp { conference_id });
                }
            }
            // Ended too early: as wrong as any other.
            '#' if !self.digits.is_empty() => self.wrong(None),
            _ => {}
        }
    }

    fn next_language(&mut self) {
        self.hush();
        if self.languages.len() < 2 {
            // No other language: star still takes back what was typed.
            return self.ask_conference_id(&[]);
        }
        self.language = (self.language + 1) % self.languages.len();
        self.outputs.push_back(Output::Speak(self.languages[self.language]));
        self.ask_conference_id(&[]);
    }

    fn pin_digit(&mut self, now: Mono, key: char, known: Known) {
        match key {
            '0'..='9' => {
                self.hush();
                self.digits.push(key);
                self.deadline = Some(now + BETWEEN_DIGITS);
                if self.digits.len() == self.config.longest_pin {
                    self.check_pin(known);
                }
            }
            '#' if !self.digits.is_empty() => self.check_pin(known),
            // Star again: from the beginning.
            '*' => self.ask_pin(known),
            _ => {}
        }
    }

    fn ask_conference_id(&mut self, before: &[Prompt]) {
        self.digits.clear();
        self.state = State::ConferenceId;
        let mut prompts = before.to_vec();
        prompts.push(Prompt::EnterConferenceId);
        self.say(prompts);
    }

    fn ask_pin(&mut self, known: Known) {
        self.hush();
        self.digits.clear();
        self.state = State::Pin(known);
        self.say(vec![Prompt::EnterPin]);
    }

    fn check_pin(&mut self, known: Known) {
        self.deadline = None;
        let pin = std::mem::take(&mut self.digits);
        self.outputs.push_back(Output::CheckPin { meeting: known.meeting.clone(), pin });
        self.state = State::CheckingPin(known);
    }

    fn ask_to_confirm(&mut self, left: u32) {
        self.state = State::Confirm { left };
        self.say(vec![Prompt::PressOneToJoin]);
    }

    /// An unknown meeting, or a wrong PIN (of `known`).
    fn wrong(&mut self, known: Option<Known>) {
        self.tries += 1;
        self.digits.clear();
        if self.tries >= self.config.tries {
            return self.part(Cause::TooManyTries, None);
        }
        match known {
            None => {
                self.state = State::ConferenceId;
                self.say(vec![Prompt::InvalidId, Prompt::EnterConferenceId]);
            }
            Some(known) => {
                self.state = State::Pin(known);
                self.say(vec![Prompt::InvalidId, Prompt::EnterPin]);
            }
        }
    }

    fn lead_to_meeting(&mut self, known: Known) {
        if known.ask_organiser {
            self.state = State::Question(known);
            self.say(vec![Prompt::OrganiserOrWait]);
        } else {
            self.outputs.push_back(Output::Enter { meeting: known.meeting, role: Role::Attendee });
            self.close();
        }
    }

    fn wait(&mut self, known: Known) {
        self.hush();
        self.deadline = None;
        self.outputs.push_back(Output::Enter { meeting: known.meeting.clone(), role: Role::Attendee });
        self.state = State::Waiting(known);
    }

    /// Says why, then ends the call.
    fn part(&mut self, cause: Cause, instead: Option<E164>) {
        self.hush();
        self.state = State::Parting(cause);
        let number = instead.as_ref().map(Prompt::dial_instead).unwrap_or_default();
        self.say([vec![Prompt::of_refusal(cause)], number, vec![Prompt::Goodbye]].concat());
    }

    fn finish(&mut self, cause: Cause) {
        self.outputs.push_back(Output::HangUp(cause));
        self.close();
    }

    fn close(&mut self) {
        self.deadline = None;
        self.playing = false;
        self.state = State::Done;
    }
}

#[cfg(test)]
#[path = "lobby_tests.rs"]
mod tests;
