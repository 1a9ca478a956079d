//! `tollbridge statement`: a month of an organisation as one page.

use super::books::{Books, Working};
use super::{Context, Done, Failure, note, say};
use crate::types::OrganisationId;
use std::path::PathBuf;

#[derive(clap::Args)]
pub struct Statement {
    #[arg(long, value_name = "ORGANISATION")]
    org: OrganisationId,
    /// In the organisation's zone, like 2026-11
    #[arg(long)]
    month: String,
    /// The page's file; without it the page goes to the standard output
    #[arg(long, value_name = "FILE.html")]
    out: Option<PathBuf>,
}

impl Statement {
    pub async fn run(self, context: &Context) -> Done {
        let page = {
            let _sign = Working::on("adding up");
            Books::find(context).await?.statement(self.org.as_str(), &self.month).await?
        };
        let Some(file) = self.out else { return say(&page) };
        std::fs::write(&file, page).map_err(|error| Failure(format!("{}: {error}", file.display())))?;
        note(&format!("{}: print it, or open it in a browser", file.display()));
        Ok(())
    }
}
