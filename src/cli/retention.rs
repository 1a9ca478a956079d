//! `tollbridge retention`: what is older than it may be kept.

use super::books::{Books, Working};
use super::table::count;
use super::trial::{First, Trial};
use super::{Context, Done, say, say_json};
use crate::api::privacy::RetentionOrder;

#[derive(clap::Subcommand)]
pub enum Retention {
    /// Empty what is older than [retention] says, as a running bridge does each day
    Run {
        /// Count, and empty nothing
        #[arg(long)]
        dry_run: bool,
    },
}

impl Retention {
    pub async fn run(self, context: &Context) -> Done {
        let Retention::Run { dry_run } = self;
        let own = context.settings.retention();
        let (mut done, first) = {
            let _sign = Working::on("looking through the records");
            if dry_run {
                let mut trial = Trial::find_known(context).await?;
                (trial.retain(&own).await?, trial.first())
            } else {
                let books = Books::find(context).await?;
                (books.retain(RetentionOrder { dry_run }, &own).await?, First::nothing())
            }
        };
        if context.json {
            first.mark(&mut done);
            return say_json(&done);
        }
        let number = |name: &str| done[name].as_u64().unwrap_or(0);
        let verb = if dry_run { "would be emptied" } else { "emptied" };
        say(&first.words())?;
        say(&format!("{}, {} {verb}\n", count(number("records"), "record"), count(number("recordings"), "recording")))
    }
}
