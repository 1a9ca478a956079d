//! `tollbridge record`: what is said in a meeting is kept, or no more.

use super::bridge::{Pace, Whose};
use super::{Context, Done, say, say_json};
use crate::api::meeting::RecordOrder;
use crate::meeting::recording::Step;
use crate::types::MeetingId;

#[derive(clap::Args)]
pub struct Record {
    /// As `tollbridge meetings` shows it
    meeting: MeetingId,
    /// start, pause, resume or stop
    #[arg(default_value = "start")]
    step: Step,
    #[command(flatten)]
    whose: Whose,
}

impl Record {
    pub fn run(self, context: &Context) -> Done {
        let (meeting, step) = (self.meeting, self.step);
        let order = RecordOrder { step: step.word().to_owned() };
        let (bridge, below) = self.whose.reach(context)?;
        bridge.order(&format!("{below}/meetings/{meeting}/record"), &order, Pace::Short)?;
        let (state, words) = match step {
            Step::Start | Step::Resume => ("on", "is being recorded"),
            Step::Pause => ("paused", "is not recorded for now"),
            Step::Stop => ("off", "is recorded no more"),
        };
        if context.json {
            return say_json(&serde_json::json!({ "meeting": meeting.as_str(), "recording": state }));
        }
        say(&format!("{meeting} {words}\n"))
    }
}
