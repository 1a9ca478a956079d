//! `tollbridge unlock`: an organisation, or one of its users, may have calls again.

use super::books::Books;
use super::{Context, Done, say, say_json};
use crate::api::revoke::LockQuery;
use crate::types::{OrganisationId, UserId};

#[derive(clap::Args)]
pub struct Unlock {
    /// Whose lock is lifted
    #[arg(long, value_name = "ORGANISATION", visible_alias = "org")]
    organisation: OrganisationId,
    /// Not the organisation's own: this user's
    #[arg(long)]
    user: Option<UserId>,
}

impl Unlock {
    pub async fn run(self, context: &Context) -> Done {
        let query = LockQuery { user: self.user.as_ref().map(ToString::to_string) };
        let answer = Books::find(context).await?.unlock(&self.organisation, &query).await?;
        if context.json {
            return say_json(&answer);
        }
        let whom = self.user.map_or_else(|| self.organisation.to_string(), |user| user.to_string());
        say(&format!("{whom} {}\n", if answer["was_locked"] == true { "is open again" } else { "was not locked" }))
    }
}
