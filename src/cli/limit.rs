//! `tollbridge limits`: limits that were raised and wait.

use super::books::Books;
use super::table::{Side, Table, count};
use super::{Context, Done, Failure, say, say_json};
use crate::api::limit::ConfirmOrder;
use crate::store::{CooledLimit, LimitsOf};
use crate::types::{CarrierId, OrganisationId};
use serde_json::Value;

/// Whose limits.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub struct Whose {
    #[arg(long, value_name = "ORGANISATION")]
    org: Option<OrganisationId>,
    #[arg(long)]
    carrier: Option<CarrierId>,
}

impl Whose {
    /// One of the two: the command line takes nothing else.
    fn of(self) -> Option<LimitsOf> {
        self.org.map(LimitsOf::Organisation).or(self.carrier.map(LimitsOf::Carrier))
    }
}

#[derive(clap::Subcommand)]
pub enum Limits {
    /// Raises that wait, and until when
    Show {
        #[command(flatten)]
        whose: Whose,
    },
    /// Let raises that wait hold at once
    Confirm {
        #[command(flatten)]
        whose: Whose,
        /// Like max_spend_per_day; all that wait where not given
        #[arg(long)]
        limit: Option<CooledLimit>,
        /// Stands in the trail
        #[arg(long)]
        reason: String,
    },
}

impl Limits {
    pub async fn run(self, context: &Context) -> Done {
        let books = Books::find(context).await?;
        let nobody = || Failure("expected --org ORGANISATION or --carrier CARRIER".to_owned());
        match self {
            Limits::Show { whose } => {
                let pending = books.pending_limits(&whose.of().ok_or_else(nobody)?).await?;
                if context.json { say_json(&pending) } else { say(&words(&pending)) }
            }
            Limits::Confirm { whose, limit, reason } => {
                let of = whose.of().ok_or_else(nobody)?;
                let order = ConfirmOrder { limit: limit.map(|limit| limit.key().to_owned()), reason };
                let confirmed = books.confirm_limits(&of, &order).await?;
                if context.json {
                    return say_json(&confirmed);
                }
                let name = match &of {
                    LimitsOf::Organisation(id) => id.as_str(),
                    LimitsOf::Carrier(id) => id.as_str(),
                };
                let raised = confirmed["confirmed"].as_array().map_or(0, Vec::len) as u64;
                say(&format!("{} of {name} raised at once\n", count(raised, "limit")))
            }
        }
    }
}

/// Raises that wait, one a row; nothing where there is none.
pub(super) fn words(pending: &Value) -> String {
    let rows = pending.as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new(&[
        ("raised limit", Side::Left),
        ("until then", Side::Right),
        ("from then on", Side::Right),
        ("then", Side::Left),
    ]);
    let text = |value: &Value| value.as_str().unwrap_or("off").to_owned();
    for row in rows {
        table.row([text(&row["limit"]), text(&row["now"]), text(&row["then"]), text(&row["at"])]);
    }
    table.to_string()
}
