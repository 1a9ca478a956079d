//! `tollbridge token`: who may ask the API.

use super::books::Books;
use super::table::{Side, Table};
use super::{Context, Done, note, say, say_json};
use crate::api::token::TokenOrder;
use crate::store::Role;
use crate::types::{OrganisationId, TokenName};

#[derive(clap::Subcommand)]
pub enum Token {
    /// Those in force, and those that have expired
    List {
        /// Of this organisation alone
        #[arg(long, value_name = "ORGANISATION")]
        org: Option<OrganisationId>,
    },
    /// Make one; it is shown this once
    Add {
        /// Whose it is: stands in the trail
        name: TokenName,
        /// operator, admin, billing or reader
        #[arg(long)]
        role: Role,
        /// Opens this organisation alone; without it, all of them and the house
        #[arg(long, value_name = "ORGANISATION")]
        org: Option<OrganisationId>,
        /// Opens nothing from then on: 2026-12-31 or 2026-12-31T10:00:00Z
        #[arg(long)]
        expires: Option<String>,
    },
    /// Take one back, and those made with it; whoever has one of them is refused at once
    Revoke {
        name: TokenName,
        /// Of this organisation
        #[arg(long, value_name = "ORGANISATION")]
        org: Option<OrganisationId>,
    },
}

impl Token {
    pub async fn run(self, context: &Context) -> Done {
        let books = Books::find(context).await?;
        match self {
            Token::List { org } => {
                let tokens = books.tokens(org.as_ref()).await?;
                if context.json {
                    return say_json(&tokens);
                }
                let titles = ["NAME", "ROLE", "ORGANISATION", "MADE", "EXPIRES"].map(|title| (title, Side::Left));
                let mut table = Table::new(&titles);
                for token in tokens.as_array().into_iter().flatten() {
                    let text = |key: &str| token[key].as_str().unwrap_or("-").to_owned();
                    table.row([text("name"), text("role"), text("organisation"), text("created"), text("expires")]);
                }
                say(&table.or("there is no token but that of the first start"))
            }
            Token::Add { name, role, org, expires } => {
                let order = TokenOrder { name: name.to_string(), role: role.to_string(), expires };
                let made = books.make_token(org, &order).await?;
                if context.json {
                    return say_json(&made);
                }
                note("this is the only time that it is shown; whoever has it is let in:");
                say(&format!("{}\n", made["token"].as_str().unwrap_or_default()))
            }
            Token::Revoke { name, org } => {
                let revoked = books.revoke_token(org, name.as_str()).await?;
                if context.json {
                    return say_json(&revoked);
                }
                let ended = revoked["revoked"].as_array().into_iter().flatten().filter_map(|name| name.as_str());
                let with: Vec<&str> = ended.filter(|ended| *ended != name.as_str()).collect();
                match with.is_empty() {
                    true => say(&format!("token {name} revoked\n")),
                    false => say(&format!("token {name} revoked, and what it made: {}\n", with.join(", "))),
                }
            }
        }
    }
}
