//! `tollbridge licence`: what an organisation has bought and given, given to a user, taken back.

use super::books::Books;
use super::table::{Side, Table};
use super::{Context, Done, Failure, say, say_json};
use crate::api::entry::{Shelf, Spot};
use crate::store::EntryKind;
use crate::types::OrganisationId;
use serde_json::{Value, json};

#[derive(clap::Subcommand)]
pub enum Licence {
    /// Each licence of an organisation: bought, given, held today
    List {
        /// Whose
        #[arg(long, value_name = "ORGANISATION")]
        org: OrganisationId,
    },
    /// Give one to a user, or change its days
    Set {
        #[command(flatten)]
        place: Place,
        /// Its first day, like 2026-01-01, where the organisation is
        #[arg(long, value_name = "DAY")]
        from: Option<String>,
        /// Its last day
        #[arg(long, value_name = "DAY")]
        until: Option<String>,
    },
    /// Take one back
    Remove {
        #[command(flatten)]
        place: Place,
    },
}

#[derive(clap::Args)]
pub struct Place {
    /// Whose the user is
    #[arg(long, value_name = "ORGANISATION")]
    org: OrganisationId,
    user: String,
    /// audio-conferencing, pay-per-minute, communications-credits or extended-dial-out
    licence: String,
}

impl Licence {
    pub async fn run(self, context: &Context) -> Done {
        match self {
            Licence::List { org } => list(context, &org).await,
            Licence::Set { place, from, until } => {
                let ends = [("from", from), ("until", until)];
                let ends = ends.into_iter().filter_map(|(name, day)| Some(format!(" {name} {}", day?)));
                let given = format!("{}{}", place.licence, ends.collect::<String>());
                put(context, place, Some(given)).await
            }
            Licence::Remove { place } => put(context, place, None).await,
        }
    }
}

async fn list(context: &Context, org: &OrganisationId) -> Done {
    let licences = Books::find(context).await?.licences(org).await?;
    if context.json {
        return say_json(&licences);
    }
    let titles =
        [("LICENCE", Side::Left), ("BOUGHT", Side::Right), ("GIVEN", Side::Right), ("HELD TODAY", Side::Right)];
    let mut table = Table::new(&titles);
    for row in licences.as_array().into_iter().flatten() {
        let number = |key: &str| row[key].as_u64().map_or_else(|| "-".to_owned(), |number| number.to_string());
        let licence = row["licence"].as_str().unwrap_or("-").to_owned();
        table.row([licence, number("bought"), number("given"), number("held")]);
    }
    say(&table.to_string())
}

/// The user's other licences stay.
async fn put(context: &Context, place: Place, given: Option<String>) -> Done {
    let told = |problem: crate::api::problem::Problem| Failure(problem.into_body().to_string());
    let shelf = Shelf { kind: EntryKind::User, of: Some(place.org) };
    let spot = || Spot::new(shelf.kind, shelf.of.clone(), &place.user).map_err(told);
    let books = Books::find(context).await?;
    let user = books.entry(&spot()?).await?;
    let is_it = |text: &str| text.split(' ').next() == Some(&*place.licence);
    let texts = user["licences"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let had = texts.clone().any(is_it);
    if given.is_none() && !had {
        return Err(Failure(format!("user {} has no licence {}", place.user, place.licence)));
    }
    let others = texts.filter(|text| !is_it(text)).map(str::to_owned);
    let licences: Vec<String> = others.chain(given.clone()).collect();
    let answer = books.set(context, spot()?, &json!({ "licences": licences })).await?;
    if context.json {
        return say_json(&answer);
    }
    match given {
        Some(given) => say(&format!("user {} has {given}\n", place.user)),
        None => say(&format!("user {} has {} no more\n", place.user, place.licence)),
    }
}
