//! `tollbridge end`: ends a meeting for all.

use super::bridge::{Pace, Whose};
use super::{Context, Done, say, say_json};
use crate::types::MeetingId;

#[derive(clap::Args)]
pub struct End {
    /// As `tollbridge meetings` shows it
    meeting: MeetingId,
    #[command(flatten)]
    whose: Whose,
}

impl End {
    pub fn run(self, context: &Context) -> Done {
        let meeting = self.meeting;
        let (bridge, below) = self.whose.reach(context)?;
        match below.is_empty() {
            true => bridge.delete(&format!("/meetings/{meeting}"))?,
            // Below an organisation that would take the meeting away, not only its call.
            false => drop(bridge.order(&format!("{below}/meetings/{meeting}/end"), &(), Pace::Short)?),
        }
        if context.json {
            return say_json(&serde_json::json!({ "meeting": meeting.as_str(), "ended": true }));
        }
        say(&format!("{meeting} is ended for all\n"))
    }
}
