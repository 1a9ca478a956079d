//! `tollbridge admit`: lets all who wait in the lobby in.

use super::bridge::{Bridge, Pace};
use super::{Context, Done, say, say_json};
use crate::types::MeetingId;

#[derive(clap::Args)]
pub struct Admit {
    /// As `tollbridge meetings` shows it
    meeting: MeetingId,
}

impl Admit {
    pub fn run(self, context: &Context) -> Done {
        let meeting = self.meeting;
        Bridge::reach(context)?.order(&format!("/meetings/{meeting}/admit"), &(), Pace::Short)?;
        if context.json {
            return say_json(&serde_json::json!({ "meeting": meeting.as_str(), "admitted": true }));
        }
        say(&format!("{meeting}: all who waited are let in\n"))
    }
}
