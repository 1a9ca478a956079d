//! `tollbridge trail`: who changed what, and when.

use super::books::Books;
use super::table::{Side, Table};
use super::{Context, Done, say, say_json};
use crate::api::trail::TrailQuery;

#[derive(clap::Args)]
pub struct Trail {
    /// Changes of this organisation alone
    #[arg(long, value_name = "ORGANISATION")]
    org: Option<String>,
    /// Changes of one thing, like "user anna", or of a kind, like "user"
    #[arg(long)]
    what: Option<String>,
    /// At or after: 2026-11-23 or 2026-11-23T10:00:00Z
    #[arg(long)]
    from: Option<String>,
    /// Before
    #[arg(long)]
    to: Option<String>,
    /// The latest so many; 1000 at most, which is also what is shown without it
    #[arg(long)]
    limit: Option<u32>,
}

impl Trail {
    pub async fn run(self, context: &Context) -> Done {
        let query = TrailQuery { org: self.org, what: self.what, from: self.from, to: self.to, limit: self.limit };
        let rows = Books::find(context).await?.trail(&query).await?;
        if context.json {
            return say_json(&rows);
        }
        let columns = ["AT", "WHO", "ROLE", "DOOR", "VERB", "WHAT", "DETAIL"].map(|title| (title, Side::Left));
        let mut table = Table::new(&columns);
        for row in rows.as_array().into_iter().flatten() {
            let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
            let detail = row["detail"].to_string();
            table.row([text("at"), text("who"), text("role"), text("door"), text("verb"), text("what"), detail]);
        }
        say(&table.or("nothing was changed"))
    }
}
