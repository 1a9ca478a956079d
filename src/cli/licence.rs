//! `tollbridge licence`: what an organisation has bought and given, given to a user, taken back.

use super::books::Books;
use super::table::{Side, Table};
use super::{Context, Done, Failure, say, say_json};
use crate::api::entry::{Spot, TermOrder};
use crate::store::EntryKind;
use crate::types::OrganisationId;

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
            Licence::Set { place, from, until } => put(context, place, Some(TermOrder { from, until })).await,
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

/// The user's other licences stay. `None` takes it away.
async fn put(context: &Context, place: Place, term: Option<TermOrder>) -> Done {
    let spot = Spot::new(EntryKind::User, Some(place.org), &place.user);
    let spot = spot.map_err(|problem| Failure(problem.into_body().to_string()))?;
    let answer = Books::find(context).await?.licence(spot, &place.licence, term.as_ref()).await?;
    if context.json {
        return say_json(&answer);
    }
    let ends = term.as_ref().map(|term| [("from", &term.from), ("until", &term.until)]);
    let Some(ends) = ends else { return say(&format!("user {} has {} no more\n", place.user, place.licence)) };
    let ends: String = ends.into_iter().filter_map(|(name, day)| Some(format!(" {name} {}", day.as_ref()?))).collect();
    say(&format!("user {} has {}{ends}\n", place.user, place.licence))
}
