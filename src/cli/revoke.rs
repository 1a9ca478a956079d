//! `tollbridge revoke`: ends an organisation's calls at once, and locks it where that is asked.

use super::bridge::{Bridge, Pace};
use super::table::count;
use super::{Context, Done, say, say_json};
use crate::api::revoke::RevokeOrder;
use crate::types::{LegId, MeetingId, OrganisationId, UserId};
use serde_json::Value;

#[derive(clap::Args)]
pub struct Revoke {
    /// Whose calls end: those that spend credits, unless more is said
    #[arg(long, value_name = "ORGANISATION", visible_alias = "org")]
    organisation: OrganisationId,
    /// All calls out, whoever pays them
    #[arg(long)]
    dial_out: bool,
    /// Of them those of this user's meetings
    #[arg(long)]
    user: Option<UserId>,
    /// Of them those of this meeting
    #[arg(long)]
    meeting: Option<MeetingId>,
    /// This leg alone, whatever pays it
    #[arg(long)]
    leg: Option<LegId>,
    /// Lock the user, or where none is named the organisation: every call of theirs ends, and new ones are refused
    #[arg(long, conflicts_with_all = ["meeting", "leg"])]
    lock: bool,
    /// Why; stands in the trail, and where it is locked
    #[arg(long)]
    reason: String,
}

impl Revoke {
    pub fn run(self, context: &Context) -> Done {
        let order = RevokeOrder {
            dial_out: self.dial_out,
            user: self.user.map(|user| user.to_string()),
            meeting: self.meeting.map(|meeting| meeting.to_string()),
            leg: self.leg.map(|leg| leg.to_string()),
            lock: self.lock,
            reason: self.reason,
        };
        let path = format!("/organisations/{}/revoke", self.organisation);
        let answer: Value = Bridge::reach(context)?.post(&path, &order, Pace::Long)?;
        if context.json {
            return say_json(&answer);
        }
        let text = |name: &str| answer[name].as_str().unwrap_or("-").to_owned();
        let legs = count(answer["legs"].as_array().map_or(0, Vec::len) as u64, "leg");
        let locked = match (self.lock, &order.user) {
            (false, _) => String::new(),
            (true, Some(user)) => format!("; user {user} is locked"),
            (true, None) => format!("; organisation {} is locked", self.organisation),
        };
        say(&format!("{legs} ended: {} charged, {} given back{locked}\n", text("charge"), text("released")))
    }
}
