//! `tollbridge usage`: the usage records, one a leg.

use super::books::{Books, Working};
use super::table::{Side, Table, clock, count};
use super::{Context, Done, Failure, say, say_json};
use crate::api::correct::CorrectionsQuery;
use crate::api::money::{UsageQuery, moment};
use crate::types::{LegId, Micros, OrganisationId};
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
    /// One leg alone, with its price explained and all that was put right since
    #[arg(long, conflicts_with_all = ["org", "from", "to", "corrections"])]
    leg: Option<LegId>,
    /// Not the records: what was put right of them (refunds, legs priced again) in the period
    #[arg(long)]
    corrections: bool,
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

pub(super) fn a_moment(text: &str) -> Result<String, String> {
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
        if let Some(leg) = self.leg {
            let usage = Books::find(context).await?.usage_of_leg(&leg.to_string()).await?;
            return if format == Format::Json { say_json(&usage) } else { say(&one(&usage)) };
        }
        if self.corrections {
            let query = CorrectionsQuery { org: query.org, from: query.from, to: query.to };
            let corrections = Books::find(context).await?.corrections(&query).await?;
            return match format {
                Format::Json => say_json(&corrections),
                Format::Table => {
                    let corrections = corrections.as_array().map_or(&[][..], Vec::as_slice);
                    say(&corrected(corrections).or("nothing was put right"))
                }
                Format::Csv => Err(Failure("corrections are written as table or json".into())),
            };
        }
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

/// A leg, its price explained line by line, and what was put right since.
fn one(usage: &Value) -> String {
    let record = &usage["record"];
    let text = |name: &str| record[name].as_str().unwrap_or("-");
    let lines = record["explanation"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let explained: String = lines.map(|line| format!("  {line}\n")).collect();
    let head = format!(
        "{} {} from {} to {}, {}\n{explained}",
        text("start_time"),
        text("rate_type"),
        text("caller_id"),
        text("destination_number"),
        text("cause_words"),
    );
    let corrections = usage["corrections"].as_array().map_or(&[][..], Vec::as_slice);
    if corrections.is_empty() {
        return head;
    }
    let net = usage["net_charge"].as_str().unwrap_or("-");
    format!("{head}\n{}all told {net} {}\n", corrected(corrections), text("currency"))
}

fn corrected(corrections: &[Value]) -> Table {
    let mut table = Table::new(&[
        ("AT (UTC)", Side::Left),
        ("LEG", Side::Left),
        ("KIND", Side::Left),
        ("AMOUNT", Side::Right),
        ("POOL", Side::Right),
        ("REASON", Side::Left),
    ]);
    for row in corrections {
        let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        let pool = format!("{} s", row["pool_ms"].as_i64().unwrap_or(0) / 1_000);
        let at = text("at").chars().take(19).collect::<String>().replace('T', " ");
        table.row([at, text("leg"), text("kind"), text("amount"), pool, text("reason")]);
    }
    table
}

/// What grants paid, each with its name: `60 s welcome, 0.0200 spring`.
fn granted(grants: &Value) -> String {
    let part = |part: &Value| {
        let text = |name: &str| part[name].as_str().unwrap_or("-").to_owned();
        let unit = if part["unit"] == "seconds" { " s" } else { "" };
        format!("{}{unit} {}", text("used"), text("grant"))
    };
    let parts: Vec<String> = grants.as_array().into_iter().flatten().map(part).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
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
    ("GRANTS", Side::Left),
    ("ENDED", Side::Left),
];

fn table(records: &[Value]) -> Result<String, Failure> {
    if records.is_empty() {
        return Ok("there is no record\n".to_owned());
    }
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
            granted(&record["grants"]),
            cell("cause_words").to_owned(),
        ]);
    }
    let sums: Vec<String> = sums.iter().map(|(currency, sum)| format!(", {sum} {currency}")).collect();
    Ok(format!("{table}{}{}\n", count(records.len() as u64, "record"), sums.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_grants_paid_is_seen_in_a_row() {
        let paid = json!([
            { "grant": "welcome", "unit": "seconds", "used": "60" },
            { "grant": "spring", "unit": "money", "used": "0.0200" },
        ]);
        assert_eq!(granted(&paid), "60 s welcome, 0.0200 spring");
        assert_eq!((granted(&json!([])), granted(&Value::Null)), ("-".to_owned(), "-".to_owned()));
        assert!(table(&[]).is_ok_and(|table| table == "there is no record\n"));
    }
}
