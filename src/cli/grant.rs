//! `tollbridge grant`: seconds and money beside the pool.

use super::books::Books;
use super::table::{Side, Table};
use super::usage::a_moment;
use super::{Context, Done, say, say_json};
use crate::api::grant::{GrantOrder, GrantsQuery};
use crate::types::{GrantId, OrganisationId};
use serde_json::Value;

#[derive(clap::Subcommand)]
pub enum Grants {
    /// Give seconds or money; the same id gives once
    Add(Box<Order>),
    /// Grants in the order in which they are used
    List {
        #[arg(long, value_name = "ORGANISATION")]
        org: OrganisationId,
        /// Those that are used up or over, too
        #[arg(long)]
        all: bool,
    },
    /// End a grant now: what running calls hold of it stays theirs, the rest lapses
    End {
        id: GrantId,
        #[arg(long, value_name = "ORGANISATION")]
        org: OrganisationId,
    },
}

#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
pub struct Order {
    /// Its name, unique over the whole bridge
    id: GrantId,
    #[arg(long, value_name = "ORGANISATION")]
    org: OrganisationId,
    /// So many seconds of calls …
    #[arg(long, group = "what")]
    seconds: Option<String>,
    /// … or money, in the organisation's currency, like 25.00
    #[arg(long, group = "what")]
    money: Option<String>,
    /// It was paid for: what lapses of it is breakage. Otherwise it is a gift of the house
    #[arg(long)]
    paid: bool,
    /// The lower is used first; 100 where not given
    #[arg(long)]
    priority: Option<u16>,
    /// Good from this moment on, like 2026-11-23 (UTC); now where not given
    #[arg(long, value_parser = a_moment)]
    from: Option<String>,
    /// Good before this moment
    #[arg(long, value_parser = a_moment)]
    until: Option<String>,
    /// For calls of this kind alone: dial-in-toll, dial-in-toll-free, dial-out
    #[arg(long = "call-type")]
    call_types: Vec<String>,
    /// For numbers called that begin like this alone, like +39
    #[arg(long = "prefix")]
    prefixes: Vec<String>,
    /// For calls to (in: on numbers of) this country alone, like IT
    #[arg(long = "country")]
    countries: Vec<String>,
    /// For Zone A alone
    #[arg(long)]
    zone_a: bool,
    /// For this capability alone, like MCOPSTNPP
    #[arg(long = "capability")]
    capabilities: Vec<String>,
    /// What it is for; stands in the ledger
    #[arg(long, default_value = "")]
    memo: String,
}

impl Grants {
    pub async fn run(self, context: &Context) -> Done {
        let books = Books::find(context).await?;
        match self {
            Grants::Add(order) => add(*order, &books, context).await,
            Grants::List { org, all } => {
                let rows = books.grants(org.as_str(), &GrantsQuery { all }).await?;
                if context.json { say_json(&rows) } else { say(&table(&rows).or("there is no grant")) }
            }
            Grants::End { id, org } => {
                let row = books.end_grant(org.as_str(), id.as_str()).await?;
                if context.json {
                    return say_json(&row);
                }
                let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
                let (amount, used, lapsed, held) = (text("amount"), text("used"), text("lapsed"), text("held"));
                say(&format!("{id} is over: of {amount} {used} used, {lapsed} lapsed, {held} held by running calls\n"))
            }
        }
    }
}

async fn add(order: Order, books: &Books, context: &Context) -> Done {
    let (unit, amount) = match (&order.seconds, &order.money) {
        (Some(seconds), _) => ("seconds", seconds.clone()),
        (None, money) => ("money", money.clone().unwrap_or_default()),
    };
    let asked = GrantOrder {
        id: order.id.to_string(),
        unit: unit.to_owned(),
        source: if order.paid { "paid" } else { "promo" }.to_owned(),
        amount,
        priority: order.priority,
        from: order.from,
        until: order.until,
        call_types: order.call_types,
        prefixes: order.prefixes,
        countries: order.countries,
        zone_a: order.zone_a,
        capabilities: order.capabilities,
        memo: order.memo,
    };
    let answer = books.add_grant(order.org.as_str(), &asked).await?;
    if context.json {
        return say_json(&answer);
    }
    let what = if answer["booked"] == true { "given" } else { "was given before, and is not given again" };
    let (amount, unit) = (answer["grant"]["amount"].as_str().unwrap_or("-"), asked.unit);
    say(&format!("{amount} {unit} for {}: {what} (grant {})\n", order.org, order.id))
}

/// Grants, one a row.
pub(super) fn table(rows: &Value) -> Table {
    let mut table = Table::new(&[
        ("GRANT", Side::Left),
        ("UNIT", Side::Left),
        ("SOURCE", Side::Left),
        ("AMOUNT", Side::Right),
        ("USED", Side::Right),
        ("HELD", Side::Right),
        ("LAPSED", Side::Right),
        ("LEFT", Side::Right),
        ("PRIORITY", Side::Right),
        ("UNTIL", Side::Left),
        ("STATE", Side::Left),
        ("FOR", Side::Left),
    ]);
    for row in rows.as_array().into_iter().flatten() {
        let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        let amounts = ["amount", "used", "held", "lapsed", "left"].map(text);
        let mut cells = vec![text("id"), text("unit"), text("source")];
        cells.extend(amounts);
        cells.push(row["priority"].to_string());
        cells.extend([text("until").chars().take(10).collect(), text("state"), filter(row)]);
        table.row(cells);
    }
    table
}

/// Which calls, in a few words.
fn filter(row: &Value) -> String {
    let mut words: Vec<&str> = ["call_types", "countries", "prefixes", "capabilities"]
        .iter()
        .flat_map(|name| row[*name].as_array().into_iter().flatten())
        .filter_map(Value::as_str)
        .collect();
    if row["zone_a"] == true {
        words.push("zone-a");
    }
    if words.is_empty() { "any".to_owned() } else { words.join(" ") }
}
