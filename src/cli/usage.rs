//! `tollbridge usage`: the usage records, one a leg.

use super::books::{Books, Working};
use super::table::{Side, Table, clock, count};
use super::{Context, Done, Failure, say};
use crate::api::money::{UsageQuery, moment};
use crate::types::{Micros, OrganisationId};
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(clap::Args)]
pub struct Usage {
    /// Only of this organisation
    #[arg(long, value_name = "ORGANISATION")]
    org: Option<OrganisationId>,
    /// Only calls that ended at or after this moment, like 2026-11-23 (UTC) or 2026-11-23T10:00:00+01:00
    #[arg(long, value_name = "MOMENT", value_parser = a_moment)]
    from: Option<String>,
    /// Only calls that ended before this moment
    #[arg(long, value_name = "MOMENT", value_parser = a_moment)]
    to: Option<String>,
    /// table, or json where --json is given
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// JSON alone: also what the carrier takes for each leg, and what is left of its charge
    #[arg(long)]
    costs: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

fn a_moment(text: &str) -> Result<String, String> {
    moment("a moment", text).map(|_| text.to_owned()).map_err(|problem| problem.into_body().message)
}

impl Usage {
    pub async fn run(self, context: &Context) -> Done {
        let format = self.format.unwrap_or(if context.json { Format::Json } else { Format::Table });
        let query = UsageQuery {
            org: self.org.as_ref().map(ToString::to_string),
            from: self.from,
            to: self.to,
            costs: self.costs.then_some(true),
            format: Some(if format == Format::Csv { "csv" } else { "json" }.to_owned()),
        };
        let text = {
            let _sign = Working::on("reading the records");
            Books::find(context).await?.usage(&query).await?
        };
        match format {
            Format::Csv => say(&text),
            Format::Json => say(&format!("{text}\n")),
            Format::Table => say(&table(&serde_json::from_str::<Vec<Value>>(&text)?)?),
        }
    }
}

const COLUMNS: &[(&str, Side)] = &[
    ("START (UTC)", Side::Left),
    ("TYPE", Side::Left),
    ("CALLER", Side::Left),
    ("NUMBER", Side::Left),
    ("ORGANISATION", Side::Left),
    ("MEETING", Side::Left),
    ("LENGTH", Side::Right),
    ("CHARGE", Side::Right),
    ("", Side::Left),
    ("ENDED", Side::Left),
];

fn table(records: &[Value]) -> Result<String, Failure> {
    let mut table = Table::new(COLUMNS);
    let mut sums: BTreeMap<&str, Micros> = BTreeMap::new();
    for record in records {
        let cell = |name: &str| record[name].as_str().unwrap_or("-");
        let sum = sums.entry(cell("currency")).or_default();
        let more = sum.checked_add(cell("charge").parse()?);
        *sum = more.ok_or_else(|| Failure("the charges add up to more than an account can hold".into()))?;
        table.row([
            cell("start_time").chars().take(19).collect::<String>().replace('T', " "),
            cell("rate_type").to_owned(),
            cell("caller_id").to_owned(),
            cell("destination_number").to_owned(),
            cell("organisation").to_owned(),
            cell("meeting").to_owned(),
            clock(record["duration_seconds"].as_u64().unwrap_or(0)),
            cell("charge").to_owned(),
            cell("currency").to_owned(),
            cell("cause_words").to_owned(),
        ]);
    }
    let sums: Vec<String> = sums.iter().map(|(currency, sum)| format!(", {sum} {currency}")).collect();
    Ok(format!("{table}{}{}\n", count(records.len() as u64, "record"), sums.concat()))
}
