//! `tollbridge credits`: money into an account, and corrections by hand.

use super::books::Books;
use super::{Context, Done, say, say_json};
use crate::api::money::CreditsOrder;
use crate::clock;
use crate::types::{LegId, Micros, OrganisationId};

#[derive(clap::Subcommand)]
pub enum Credits {
    /// Pay in: a funding, which expires after 12 months
    Add(Order),
    /// Correct by hand, up or down; what running calls hold is never taken
    Adjust(Order),
}

#[derive(clap::Args)]
pub struct Order {
    #[arg(long, value_name = "ORGANISATION")]
    org: OrganisationId,
    /// In the currency of the organisation, like 25.00; of a correction also below zero
    #[arg(long, allow_hyphen_values = true)]
    amount: Micros,
    /// Books once a key: repeat an order whose answer was lost with the key of the first. Drawn where not given
    #[arg(long)]
    key: Option<String>,
    /// What it is for; stands in the ledger
    #[arg(long, default_value = "")]
    memo: String,
}

impl Credits {
    pub async fn run(self, context: &Context) -> Done {
        let (kind, order) = match self {
            Credits::Add(order) => ("add", order),
            Credits::Adjust(order) => ("adjust", order),
        };
        let key = order.key.unwrap_or_else(|| format!("cli:{}", draw()));
        let (organisation, amount) = (order.org.as_str(), order.amount.to_string());
        let booking =
            CreditsOrder { kind: kind.to_owned(), amount: amount.clone(), key: key.clone(), memo: order.memo };
        let books = Books::find(context).await?;
        let answer = books.credits(organisation, &booking).await?;
        if context.json {
            return say_json(&answer);
        }
        let balance = books.balance(organisation).await?;
        let text = |name: &str| balance[name].as_str().unwrap_or("-").to_owned();
        let (currency, available) = (text("currency"), text("available"));
        let what = if answer["booked"] == true { "booked" } else { "was booked before, and is not booked again" };
        say(&format!("{amount} {currency} for {organisation} {what} (key {key}); available: {available} {currency}\n"))
    }
}

/// A name that nobody else draws.
pub(super) fn draw() -> LegId {
    let now_ms = u64::try_from(clock::wall().micros() / 1_000).unwrap_or(0);
    LegId::new(now_ms, rand::random())
}
