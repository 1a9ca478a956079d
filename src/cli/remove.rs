//! `tollbridge remove`: ends a leg, whether it rings or talks.

use super::bridge::Whose;
use super::{Context, Done, say, say_json};
use crate::types::LegId;

#[derive(clap::Args)]
pub struct Remove {
    /// As `tollbridge legs` shows it
    leg: LegId,
    #[command(flatten)]
    whose: Whose,
}

impl Remove {
    pub fn run(self, context: &Context) -> Done {
        let leg = self.leg;
        let (bridge, below) = self.whose.reach(context)?;
        bridge.delete(&format!("{below}/legs/{leg}"))?;
        if context.json {
            return say_json(&serde_json::json!({ "leg": leg.to_string(), "removed": true }));
        }
        say(&format!("{leg} is removed\n"))
    }
}
