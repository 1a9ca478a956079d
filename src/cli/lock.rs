//! `tollbridge lock`: nobody else gets into a meeting, or everybody may again.

use super::bridge::{Pace, Whose};
use super::{Context, Done, say, say_json};
use crate::api::leg::Switch;
use crate::types::MeetingId;

#[derive(clap::Args)]
pub struct Lock {
    /// As `tollbridge meetings` shows it
    meeting: MeetingId,
    /// Open it again
    #[arg(long)]
    off: bool,
    #[command(flatten)]
    whose: Whose,
}

impl Lock {
    pub fn run(self, context: &Context) -> Done {
        let (meeting, on) = (self.meeting, !self.off);
        let (bridge, below) = self.whose.reach(context)?;
        bridge.order(&format!("{below}/meetings/{meeting}/lock"), &Switch { on }, Pace::Short)?;
        if context.json {
            return say_json(&serde_json::json!({ "meeting": meeting.as_str(), "locked": on }));
        }
        say(&format!("{meeting} is {}\n", if on { "locked" } else { "open" }))
    }
}
