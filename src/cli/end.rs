//! `tollbridge end`: ends a meeting for all.

use super::bridge::Bridge;
use super::{Context, Done, say, say_json};
use crate::types::MeetingId;

#[derive(clap::Args)]
pub struct End {
    /// As `tollbridge meetings` shows it
    meeting: MeetingId,
}

impl End {
    pub fn run(self, context: &Context) -> Done {
        let meeting = self.meeting;
        Bridge::reach(context)?.delete(&format!("/meetings/{meeting}"))?;
        if context.json {
            return say_json(&serde_json::json!({ "meeting": meeting.as_str(), "ended": true }));
        }
        say(&format!("{meeting} is ended for all\n"))
    }
}
