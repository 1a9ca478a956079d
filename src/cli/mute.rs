//! `tollbridge mute`: a leg is no longer heard, or is heard again.

use super::bridge::{Pace, Whose};
use super::{Context, Done, say, say_json};
use crate::api::leg::Switch;
use crate::types::LegId;

#[derive(clap::Args)]
pub struct Mute {
    /// As `tollbridge legs` shows it
    leg: LegId,
    /// Let it be heard again
    #[arg(long)]
    off: bool,
    #[command(flatten)]
    whose: Whose,
}

impl Mute {
    pub fn run(self, context: &Context) -> Done {
        let (leg, on) = (self.leg, !self.off);
        let (bridge, below) = self.whose.reach(context)?;
        bridge.order(&format!("{below}/legs/{leg}/mute"), &Switch { on }, Pace::Short)?;
        if context.json {
            return say_json(&serde_json::json!({ "leg": leg.to_string(), "muted": on }));
        }
        say(&format!("{leg} {}\n", if on { "is muted" } else { "is heard again" }))
    }
}
