//! `tollbridge balance`: an organisation's account.

use super::books::Books;
use super::table::{Side, Table};
use super::usage::a_moment;
use super::{Context, Done, say, say_json};
use crate::api::money::AsOfQuery;
use crate::types::OrganisationId;
use serde_json::Value;

#[derive(clap::Args)]
pub struct Balance {
    #[arg(long, value_name = "ORGANISATION")]
    org: OrganisationId,
    /// As it stood at this moment, like 2026-11-23 (UTC), or, of one to come, as it will if nothing more is used
    #[arg(long, value_name = "MOMENT", value_parser = a_moment)]
    at: Option<String>,
}

impl Balance {
    pub async fn run(self, context: &Context) -> Done {
        let books = Books::find(context).await?;
        if let Some(at) = self.at {
            let told = books.as_of(self.org.as_str(), &AsOfQuery { at }).await?;
            return if context.json { say_json(&told) } else { say(&words_then(&told)) };
        }
        let balance = books.balance(self.org.as_str()).await?;
        if context.json { say_json(&balance) } else { say(&words(&balance)) }
    }
}

fn words_then(told: &Value) -> String {
    let text = |name: &str| told[name].as_str().unwrap_or("-");
    let (at, posted, expiring, currency) = (text("at"), text("posted"), text("expiring"), text("currency"));
    let fundings = fundings(told, currency);
    format!("at {at}: {posted} {currency}; {expiring} {currency} of what is there now will have expired\n\n{fundings}")
}

fn words(balance: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let currency = text(&balance["currency"]);
    let mut sums = Table::new(&[("ACCOUNT", Side::Left), ("AMOUNT", Side::Right), ("", Side::Left)]);
    for name in ["posted", "held", "available"] {
        sums.row([name.to_owned(), text(&balance[name]), currency.clone()]);
    }
    let fundings = fundings(balance, &currency);
    let pool = &balance["pool"];
    let minutes = |name: &str| pool[name].as_u64().unwrap_or(0) / 60;
    let (granted, used, held) = (minutes("granted_seconds"), minutes("used_seconds"), minutes("held_seconds"));
    let grants = match balance["grants"].as_array() {
        Some(rows) if !rows.is_empty() => format!("\n{}", super::grant::table(&balance["grants"])),
        _ => String::new(),
    };
    format!("{sums}\npool of this month: {used} of {granted} minutes used, {held} held\n\n{fundings}{grants}")
}

fn fundings(balance: &Value, currency: &str) -> Table {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
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
            currency.to_owned(),
            day(&row["at"]),
            day(&row["expires"]),
        ]);
    }
    fundings
}
