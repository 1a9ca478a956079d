//! `tollbridge forget`: a person's words are taken out of every record; what was paid stays.

use super::books::{Books, Working};
use super::table::count;
use super::trial::{First, Trial};
use super::{Context, Done, say, say_json};
use crate::api::privacy::ForgetOrder;
use crate::types::{E164, UserId};

#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("whom").required(true)))]
pub struct Forget {
    /// A caller, or somebody who was called
    #[arg(long, group = "whom")]
    number: Option<E164>,
    /// A user: also their name, PIN and licences; take them out of your file too, else `apply` brings them back
    #[arg(long, group = "whom")]
    user: Option<UserId>,
    /// Do it: without this it is only told what there is
    #[arg(long)]
    yes: bool,
}

impl Forget {
    pub async fn run(self, context: &Context) -> Done {
        let order = ForgetOrder {
            number: self.number.map(|number| number.to_string()),
            user: self.user.map(|user| user.to_string()),
            dry_run: !self.yes,
        };
        let (mut done, first) = {
            let _sign = Working::on("forgetting");
            if order.dry_run {
                let mut trial = Trial::find_known(context).await?;
                (trial.forget(&order).await?, trial.first())
            } else {
                (Books::find(context).await?.forget(&order).await?, First::nothing())
            }
        };
        if context.json {
            first.mark(&mut done);
            return say_json(&done);
        }
        let number = |name: &str| done[name].as_u64().unwrap_or(0);
        let found = format!("{}, {}", count(number("records"), "record"), count(number("meetings"), "meeting"));
        match (self.yes, done["name"].as_str()) {
            (false, _) => say(&format!("{}{found}; nothing was forgotten yet: add --yes\n", first.words())),
            (true, Some(name)) => say(&format!("{found}: forgotten; called {name} from now on\n")),
            (true, None) => say(&format!("{found}: forgotten\n")),
        }
    }
}
