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
        let what = if answer["booked"] == true { "given back" } else { "was given back before, and is not again" };
        say(&format!("{} {what} (key {})\n", parts(correction), order.key))
    }
}

/// All that goes back, and whose it is: credits, time of the pool, and what grants had paid, each where there is any.
fn parts(correction: &Value) -> String {
    let text = |of: &Value, name: &str| of[name].as_str().unwrap_or("-").trim_start_matches('-').to_owned();
    let credits = text(correction, "amount");
    let is_nothing = credits.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    let pool_ms = correction["pool_ms"].as_i64().unwrap_or(0);
    let grant =
        |part: &Value| format!("{} {} of grant {}", text(part, "used"), text(part, "unit"), text(part, "grant"));
    let mut parts: Vec<String> = Vec::new();
    parts.extend((pool_ms != 0).then(|| format!("{} s of the pool", -pool_ms / 1_000)));
    parts.extend(correction["grants"].as_array().into_iter().flatten().map(grant));
    if !is_nothing || parts.is_empty() {
        parts.insert(0, credits);
    }
    format!("{} to {}", parts.join(", and "), text(correction, "organisation"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_goes_back_is_told_and_nothing_else() {
        let spring = json!([{ "grant": "spring", "unit": "seconds", "used": "42" }]);
        let welcome = json!([{ "grant": "welcome", "unit": "money", "used": "0.0300" }]);
        for (amount, pool_ms, grants, told) in [
            ("-0.0160", 0, json!([]), "0.0160 to acme"),
            (
                "-0.0160",
                -90_000,
                spring.clone(),
                "0.0160, and 90 s of the pool, and 42 seconds of grant spring to acme",
            ),
            ("0.0000", 0, welcome, "0.0300 money of grant welcome to acme"),
            ("0.0000", -60_000, spring, "60 s of the pool, and 42 seconds of grant spring to acme"),
            ("0.0000", 0, json!([]), "0.0000 to acme"),
        ] {
            let correction = json!({ "amount": amount, "pool_ms": pool_ms, "grants": grants, "organisation": "acme" });
            assert_eq!(parts(&correction), told);
        }
    }
}
