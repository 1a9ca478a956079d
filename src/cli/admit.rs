//! `tollbridge admit`: lets all who wait in the lobby in.

use super::bridge::{Pace, Whose};
use super::{Context, Done, say, say_json};
use crate::types::MeetingId;

#[derive(clap::Args)]
pub struct Admit {
    /// As `tollbridge meetings` shows it
    meeting: MeetingId,
    #[command(flatten)]
    whose: Whose,
}

impl Admit {
    pub fn run(self, context: &Context) -> Done {
        let meeting = self.meeting;
        let (bridge, below) = self.whose.reach(context)?;
        bridge.order(&format!("{below}/meetings/{meeting}/admit"), &(), Pace::Short)?;
        if context.json {
            return say_json(&serde_json::json!({ "meeting": meeting.as_str(), "admitted": true }));
        }
        say(&format!("{meeting}: all who waited are let in\n"))
    }
}
