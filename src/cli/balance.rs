//! `tollbridge balance`: an organisation's account.

use super::books::Books;
use super::table::{Side, Table};
use super::{Context, Done, say, say_json};
use crate::types::OrganisationId;
use serde_json::Value;

#[derive(clap::Args)]
pub struct Balance {
    #[arg(long, value_name = "ORGANISATION")]
    org: OrganisationId,
}

impl Balance {
    pub async fn run(self, context: &Context) -> Done {
        let balance = Books::find(context).await?.balance(self.org.as_str()).await?;
        if context.json { say_json(&balance) } else { say(&words(&balance)) }
    }
}

fn words(balance: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let currency = text(&balance["currency"]);
    let mut sums = Table::new(&[("ACCOUNT", Side::Left), ("AMOUNT", Side::Right), ("", Side::Left)]);
    for name in ["posted", "held", "available"] {
        sums.row([name.to_owned(), text(&balance[name]), currency.clone()]);
    }
    let mut fundings = Table::new(&[
        ("FUNDING", Side::Left),
        ("AMOUNT", Side::Right),
        ("REMAINING", Side::Right),
        ("", Side::Left),
        ("BOOKED", Side::Left),
        ("EXPIRES", Side::Left),
    ]);
    let day = |value: &Value| text(value).chars().take(10).collect();
    for row in balance["fundings"].as_array().into_iter().flatten() {
        fundings.row([
            text(&row["key"]),
            text(&row["amount"]),
            text(&row["remaining"]),
            currency.clone(),
            day(&row["at"]),
            day(&row["expires"]),
        ]);
    }
    let pool = &balance["pool"];
    let minutes = |name: &str| pool[name].as_u64().unwrap_or(0) / 60;
    let (granted, used, held) = (minutes("granted_seconds"), minutes("used_seconds"), minutes("held_seconds"));
    format!("{sums}\npool of this month: {used} of {granted} minutes used, {held} held\n\n{fundings}")
}
