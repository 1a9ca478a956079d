//! `tollbridge quote`: may this call be, who pays, how much? No money moves.

use super::books::Books;
use super::table::clock;
use super::{Context, Done, Failure, say, say_json};
use crate::api::money::{MOST_MINUTES, QuoteQuery};
use crate::rating::CallType;
use crate::types::{E164, Micros, UserId};
use serde_json::Value;
use std::fmt::Write;

#[derive(clap::Args)]
pub struct Quote {
    /// Organiser of the meeting: licence, policies and payer are read from there
    #[arg(long, value_name = "USER")]
    organiser: UserId,
    /// dial-in-toll, dial-in-toll-free or dial-out
    #[arg(long = "type", value_name = "TYPE")]
    call_type: CallType,
    /// Destination of a call out, or our number that is called, like +390612345678
    #[arg(long, value_name = "NUMBER")]
    to: E164,
    /// Who calls, where that decides the price (toll-free in North America)
    #[arg(long, value_name = "NUMBER")]
    caller: Option<E164>,
    /// Length of the call
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_MINUTES)))]
    minutes: u32,
}

impl Quote {
    pub async fn run(self, context: &Context) -> Done {
        let query = QuoteQuery {
            organiser: self.organiser.to_string(),
            call_type: self.call_type.to_string(),
            to: self.to.to_string(),
            caller: self.caller.map(|caller| caller.to_string()),
            minutes: Some(self.minutes),
        };
        let quote = Books::find(context).await?.quote(&query).await?;
        let allowed = quote["allowed"].as_bool().unwrap_or(false);
        if context.json {
            say_json(&quote)?;
        } else if allowed {
            say(&self.words(&quote))?;
        }
        if allowed { Ok(()) } else { Err(Failure(format!("refused: {}", text(&quote["message"])))) }
    }

    fn words(&self, quote: &Value) -> String {
        let currency = text(&quote["currency"]);
        let lasts = quote["until_seconds"].as_u64().unwrap_or(0);
        let asked = u64::from(self.minutes) * 60;
        let mut words = format!("allowed: {} {}, organiser {}\n", self.call_type, self.to, self.organiser);
        let fee: Micros = text(&quote["connect_fee"]).parse().unwrap_or_default();
        let pool = quote["pool_seconds"].as_u64().unwrap_or(0);
        let rows = [
            ("paid by", text(&quote["funding"]).to_owned()),
            ("charge", format!("{} {currency}", text(&quote["charge"]))),
            ("of it, to connect", if fee == Micros::ZERO { String::new() } else { format!("{fee} {currency}") }),
            ("from the pool", if pool == 0 { String::new() } else { clock(pool) }),
            ("lasts", if lasts < asked { format!("{} only", clock(lasts)) } else { clock(lasts) }),
        ];
        for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
            // Writing to a string does not fail.
            let _ = writeln!(words, "  {name:18} {value}");
        }
        for line in quote["lines"].as_array().into_iter().flatten() {
            let _ = writeln!(words, "  - {}", text(line));
        }
        words
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
