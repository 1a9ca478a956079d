//! `tollbridge alerts`: what was told to whom, and what became of it.

use super::books::Books;
use super::table::{Side, Table, count};
use super::{Context, Done, say, say_json};
use crate::api::alert::AlertsQuery;
use crate::types::OrganisationId;
use serde_json::Value;

#[derive(clap::Args)]
pub struct Alerts {
    /// Of one organisation alone
    #[arg(long, value_name = "ORGANISATION")]
    org: Option<OrganisationId>,
    /// Send the organisation's targets a test
    #[arg(long, requires = "org")]
    test: bool,
}

impl Alerts {
    pub async fn run(self, context: &Context) -> Done {
        let books = Books::find(context).await?;
        if let Some(org) = self.org.as_ref().filter(|_| self.test) {
            let sent = books.test_alert(org.as_str()).await?;
            let targets = count(sent["targets"].as_u64().unwrap_or(0), "target");
            return if context.json { say_json(&sent) } else { say(&format!("a test is on its way to {targets}\n")) };
        }
        let shown = books.alerts(&AlertsQuery { org: self.org.map(|org| org.to_string()) }).await?;
        if context.json { say_json(&shown) } else { say(&words(&shown)) }
    }
}

const LETTERS: &[(&str, Side)] = &[
    ("AT", Side::Left),
    ("ORGANISATION", Side::Left),
    ("ALERT", Side::Left),
    ("TO", Side::Left),
    ("STATE", Side::Left),
    ("TRIES", Side::Right),
    ("LAST ERROR", Side::Left),
];

const RECHARGES: &[(&str, Side)] = &[
    ("AT", Side::Left),
    ("ORGANISATION", Side::Left),
    ("AMOUNT", Side::Right),
    ("", Side::Left),
    ("STATE", Side::Left),
    ("TRIES", Side::Right),
    ("LAST ERROR", Side::Left),
];

fn words(shown: &Value) -> String {
    let rows = |name: &str| shown[name].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let number = |value: &Value| value.as_u64().unwrap_or(0).to_string();
    let mut letters = Table::new(LETTERS);
    for alert in rows("alerts") {
        let head = [text(&alert["at"]), text(&alert["organisation"]), text(&alert["kind"])];
        let sent = alert["letters"].as_array().cloned().unwrap_or_default();
        if sent.is_empty() {
            let state = if alert["posted"] == true { "nobody to tell" } else { "wanted" };
            letters.row(head.iter().cloned().chain(["-", state, "0", "-"].map(str::to_owned)));
        }
        for letter in sent {
            let tail = [text(&letter["to"]), text(&letter["state"]), number(&letter["tries"]), text(&letter["error"])];
            letters.row(head.iter().cloned().chain(tail));
        }
    }
    let mut recharges = Table::new(RECHARGES);
    for row in rows("recharges") {
        recharges.row([
            text(&row["at"]),
            text(&row["organisation"]),
            text(&row["amount"]),
            text(&row["currency"]),
            text(&row["state"]),
            number(&row["tries"]),
            text(&row["error"]),
        ]);
    }
    let off = rows("switched_off")
        .into_iter()
        .map(|row| format!("switched off after {} failures: {}\n", number(&row["failures"]), text(&row["webhook"])));
    let off: String = off.collect();
    let counted = |what: &str, rows: Vec<Value>, table: &Table| match rows.len() {
        0 => format!("there is no {what}\n"),
        n => format!("{table}{}\n", count(n as u64, what)),
    };
    let (letters, recharges) =
        (counted("alert", rows("alerts"), &letters), counted("recharge", rows("recharges"), &recharges));
    format!("{letters}{off}\n{recharges}")
}
