//! `tollbridge rerate`: legs priced again, by the prices in use now as they were at each leg's start.

use super::books::{Books, Working};
use super::credits::draw;
use super::table::{Side, Table, count};
use super::trial::{First, Trial};
use super::usage::a_moment;
use super::{Context, Done, Failure, say, say_json};
use crate::api::correct::RerateOrder;
use crate::types::{LegId, OrganisationId};

#[derive(clap::Args)]
pub struct Rerate {
    /// One leg
    #[arg(long, conflicts_with_all = ["org", "from", "to"], required_unless_present = "org")]
    leg: Option<LegId>,
    /// All legs of an organisation that ended in a period
    #[arg(long, value_name = "ORGANISATION", requires_all = ["from", "to"])]
    org: Option<OrganisationId>,
    /// The period's first moment, like 2026-11-01 (UTC)
    #[arg(long, value_name = "MOMENT", value_parser = a_moment)]
    from: Option<String>,
    /// Its end: the first moment that is not in it
    #[arg(long, value_name = "MOMENT", value_parser = a_moment)]
    to: Option<String>,
    /// Why; stands in the ledger and beside the records
    #[arg(long)]
    reason: String,
    /// Only tell what would be booked
    #[arg(long)]
    dry_run: bool,
    /// Books once a key: repeat an order whose answer was lost with the key of the first. Drawn where not given
    #[arg(long)]
    key: Option<String>,
}

impl Rerate {
    pub async fn run(self, context: &Context) -> Done {
        let order = RerateOrder {
            leg: self.leg.map(|leg| leg.to_string()),
            org: self.org.map(|org| org.to_string()),
            from: self.from,
            to: self.to,
            key: self.key.unwrap_or_else(|| format!("cli:{}", draw())),
            reason: self.reason,
            dry_run: self.dry_run,
        };
        let (mut answer, first) = {
            let _sign = Working::on("pricing again");
            if order.dry_run {
                let mut trial = Trial::find_known(context).await?;
                (trial.rerate(&order).await?, trial.first())
            } else {
                (Books::find(context).await?.rerate(&order).await?, First::nothing())
            }
        };
        if context.json {
            first.mark(&mut answer);
            return say_json(&answer);
        }
        let mut table = Table::new(&[
            ("LEG", Side::Left),
            ("BEFORE", Side::Right),
            ("PRICE", Side::Right),
            ("DIFFERENCE", Side::Right),
            ("", Side::Left),
        ]);
        let list = answer["list"].as_array().ok_or_else(|| Failure("the answer is not understood".into()))?;
        for one in list {
            let text = |name: &str| one[name].as_str().unwrap_or("").to_owned();
            table.row([text("leg"), text("before"), text("price"), text("amount"), text("why_not")]);
        }
        let number = |name: &str| answer[name].as_u64().unwrap_or(0);
        let booked = if order.dry_run { "would be booked".to_owned() } else { format!("booked (key {})", order.key) };
        say(&format!(
            "{}{table}{} looked at, {} with another price, {} left as they were for want of a price or of credit; {} {booked}\n",
            first.words(),
            count(number("legs"), "leg"),
            number("changed"),
            number("failed"),
            answer["amount"].as_str().unwrap_or("-"),
        ))
    }
}
