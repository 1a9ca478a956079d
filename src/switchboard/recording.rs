//! Recordings: what a meeting wants, in the words of the recorder and the mixer.

use super::{Output, Switchboard};
use crate::clock::Now;
use crate::media::recorder::{Event, Format, Label, Plan, RecordingId, Voice};
use crate::media::{self, Rate, RoomId, StreamId};
use crate::meeting::recording::Step;
use crate::meeting::{Input, Place};
use crate::telemetry::name;
use crate::types::{LegId, MeetingId};

/// What recordings are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub format: Format,
    pub rate: Rate,
    /// A track of each participant beside the mix.
    pub tracks: bool,
}

/// What is asked of the recorder and, with what it gives, of the mixer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Told [`Input::Recorder`](super::Input::Recorder) when it is over; [`Input::Unrecorded`](super::Input::Unrecorded)
    /// where it does not begin.
    Begin {
        recording: RecordingId,
        room: RoomId,
        plan: Plan,
    },
    Track {
        recording: RecordingId,
        stream: StreamId,
        label: Label,
        rate: Rate,
    },
    End {
        recording: RecordingId,
    },
}

impl Switchboard {
    pub(super) fn record(&mut self, meeting: &MeetingId, step: Step) {
        let Some(room) = self.rooms.get(meeting).map(|room| room.id) else { return };
        match step {
            Step::Start => self.begin_recording(meeting, room),
            Step::Pause | Step::Resume => {
                self.say(Output::Media(media::Command::PauseRecording { room, on: step == Step::Pause }));
            }
            Step::Stop => {
                if let Some(recording) = self.rooms.get_mut(meeting).and_then(|room| room.recording.take()) {
                    self.say(Output::Record(Record::End { recording }));
                    self.say(Output::Media(media::Command::StopRecording { room }));
                }
            }
        }
    }

    fn begin_recording(&mut self, meeting: &MeetingId, id: RoomId) {
        let Some(config) = self.config.recording else { return };
        let recording = RecordingId(self.number());
        let Some(room) = self.rooms.get_mut(meeting) else { return };
        room.recording = Some(recording);
        // A conference ID is all digits.
        let Ok(label) = Label::parse(&room.meeting.settings().conference_id) else { return };
        let legs = room.meeting.roster().at(Place::Inside);
        let plan = Plan { meeting: label, rate: config.rate, format: config.format };
        self.say(Output::Record(Record::Begin { recording, room: id, plan }));
        for leg in legs {
            self.track(leg, meeting);
        }
    }

    /// A leg that is in a recorded room has a track of its own there, where the settings say so.
    pub(super) fn track(&mut self, leg: LegId, meeting: &MeetingId) {
        let Some(Config { rate, .. }) = self.config.recording.filter(|config| config.tracks) else { return };
        let Some(room) = self.rooms.get(meeting) else { return };
        let is_held = room.meeting.roster().get(leg).is_none_or(|participant| participant.held);
        let stream = self.lines.get(&leg).map(|line| line.stream).filter(|_| !is_held);
        if let (Some(recording), Some(stream), Ok(label)) = (room.recording, stream, Label::parse(&leg.to_string())) {
            self.say(Output::Record(Record::Track { recording, stream, label, rate }));
        }
    }

    pub(super) fn recorder(&mut self, now: Now, event: Event) {
        match event {
            Event::Started { .. } => {}
            Event::Untracked { recording, voice } => {
                let track = match &voice {
                    Voice::Mixed => "mixed".to_owned(),
                    Voice::One(label) => label.to_string(),
                };
                tracing::warn!(recording = recording.0, track, "a track is not recorded: there are too many");
            }
            Event::Stopped { recording, report } => {
                let how = if report.why.is_alarm() { "broken" } else { "whole" };
                metrics::counter!(name::RECORDINGS, "how" => how).increment(1);
                self.recording_over(now, recording);
            }
        }
    }

    /// Where its meeting does not know yet, it is told: nobody shall think that they are recorded, or that they were.
    pub(super) fn recording_over(&mut self, now: Now, recording: RecordingId) {
        let is_its = |room: &super::Room| room.recording == Some(recording);
        let meeting = self.rooms.iter().find(|(_, room)| is_its(room)).map(|(meeting, _)| meeting.clone());
        if let Some(meeting) = meeting {
            self.tell_room(now, &meeting, Input::RecordingEnded);
        }
    }
}
