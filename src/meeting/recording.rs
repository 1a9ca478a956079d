//! Whether what is said in a meeting is kept, and that all who are in it know.

use super::prompt::Prompt;
use crate::clock::Mono;
use std::str::FromStr;
use std::time::Duration;

/// Settings of all recordings of a bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// So often all hear a tone while they are recorded; `None`: never.
    pub tone: Option<Duration>,
}

/// Where a recording is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Off,
    On,
    Paused,
}

impl State {
    pub const fn word(self) -> &'static str {
        match self {
            State::Off => "off",
            State::On => "on",
            State::Paused => "paused",
        }
    }
}

/// What is asked of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Start,
    Pause,
    Resume,
    Stop,
}

impl Step {
    pub const ALL: [Step; 4] = [Step::Start, Step::Pause, Step::Resume, Step::Stop];

    pub const fn word(self) -> &'static str {
        match self {
            Step::Start => "start",
            Step::Pause => "pause",
            Step::Resume => "resume",
            Step::Stop => "stop",
        }
    }
}

impl FromStr for Step {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Step, &'static str> {
        Step::ALL.into_iter().find(|step| step.word() == text).ok_or("expected start, pause, resume or stop")
    }
}

/// The recording of one meeting.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recording {
    state: State,
    /// When the tone is due.
    tone_at: Option<Mono>,
}

impl Recording {
    pub fn state(&self) -> State {
        self.state
    }

    /// What one key comes to: on, if it is not, else off.
    pub fn turn(&self) -> Step {
        match self.state {
            State::Off => Step::Start,
            State::Paused => Step::Resume,
            State::On => Step::Stop,
        }
    }

    /// What all are to be told of a step, where it changes anything. What is not recorded can be neither paused nor resumed.
    pub fn step(&mut self, now: Mono, config: Config, step: Step) -> Result<Option<Prompt>, &'static str> {
        let (state, prompt) = match (step, self.state) {
            (Step::Pause | Step::Resume, State::Off) => return Err("the meeting is not being recorded"),
            (Step::Start | Step::Resume, State::On) | (Step::Pause, State::Paused) | (Step::Stop, State::Off) => {
                return Ok(None);
            }
            (Step::Start | Step::Resume, _) => (State::On, Prompt::RecordingOn),
            (Step::Pause, _) => (State::Paused, Prompt::RecordingPaused),
            (Step::Stop, _) => (State::Off, Prompt::RecordingOff),
        };
        let is_on = state == State::On;
        (self.state, self.tone_at) = (state, config.tone.filter(|_| is_on).map(|tone| now + tone));
        Ok(Some(prompt))
    }

    pub fn deadline(&self) -> Option<Mono> {
        self.tone_at
    }

    /// True if the tone is due.
    pub fn wake(&mut self, now: Mono, config: Config) -> bool {
        let is_due = self.tone_at.is_some_and(|at| now >= at);
        if is_due {
            self.tone_at = config.tone.map(|tone| now + tone);
        }
        is_due
    }
}
