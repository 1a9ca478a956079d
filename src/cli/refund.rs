//! `tollbridge refund`: give a leg's charge back.

use super::books::Books;
use super::credits::draw;
use super::{Context, Done, say, say_json};
use crate::api::correct::RefundOrder;
use crate::types::{LegId, Micros};
use serde_json::Value;

#[derive(clap::Args)]
pub struct Refund {
    /// The leg, as `tollbridge usage` names it in JSON and CSV
    leg: LegId,
    /// So much of its charge, like 0.05, of credits and money of grants, what was drawn last first; all that is left of it, with
    /// pool time, grants and minutes of the month, where not given
    #[arg(long)]
    amount: Option<Micros>,
    /// Why; stands in the ledger and beside the record
    #[arg(long)]
    reason: String,
    /// Books once a key: repeat an order whose answer was lost with the key of the first. Drawn where not given
    #[arg(long)]
    key: Option<String>,
}

impl Refund {
    pub async fn run(self, context: &Context) -> Done {
        let order = RefundOrder {
            amount: self.amount.map(|amount| amount.to_string()),
            key: self.key.unwrap_or_else(|| format!("cli:{}", draw())),
            reason: self.reason,
        };
        let answer = Books::find(context).await?.refund(&self.leg.to_string(), &order).await?;
        if context.json {
            return say_json(&answer);
        }
        let correction = &answer["correction"];
        let text = |name: &str| correction[name].as_str().unwrap_or("-").trim_start_matches('-').to_owned();
        let what = if answer["booked"] == true { "given back" } else { "was given back before, and is not again" };
        let pool = match correction["pool_ms"].as_i64().unwrap_or(0) {
            0 => String::new(),
            ms => format!(", and {} s of the pool", -ms / 1_000),
        };
        let back = |part: &Value| {
            let text = |name: &str| part[name].as_str().unwrap_or("-").to_owned();
            format!(", and {} {} of grant {}", text("used"), text("unit"), text("grant"))
        };
        let grants: String = correction["grants"].as_array().into_iter().flatten().map(back).collect();
        say(&format!("{} to {} {what}{pool}{grants} (key {})\n", text("amount"), text("organisation"), order.key))
    }
}
