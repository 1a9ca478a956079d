//! `tollbridge transfer`: a leg's carrier is asked to call another number in place of the bridge (REFER).

use super::bridge::{Pace, Whose};
use super::{Context, Done, note, say, say_json};
use crate::api::leg::TransferOrder;
use crate::types::{E164, LegId};

#[derive(clap::Args)]
pub struct Transfer {
    /// As `tollbridge legs` shows it
    leg: LegId,
    /// Number to send it to, like +390612345678; one that its meeting might not ring is refused
    number: E164,
    #[command(flatten)]
    whose: Whose,
}

impl Transfer {
    pub fn run(self, context: &Context) -> Done {
        let (leg, to) = (self.leg, self.number);
        let (bridge, below) = self.whose.reach(context)?;
        if !context.json {
            note(&format!("asking the carrier of {leg} to call {to}; it may take a minute to be answered"));
        }
        let order = TransferOrder { to: to.to_string() };
        bridge.order(&format!("{below}/legs/{leg}/transfer"), &order, Pace::Long)?;
        if context.json {
            return say_json(&serde_json::json!({ "leg": leg.to_string(), "to": to.to_string(), "transferred": true }));
        }
        say(&format!("{leg} is sent to {to}\n"))
    }
}
