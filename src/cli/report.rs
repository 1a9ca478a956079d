//! `tollbridge report`: usage, pools and balances, added up.

use super::books::{Books, Working};
use super::table::{Side, Table, count};
use super::{Context, Done, say};
use crate::api::report::ReportQuery;
use crate::types::OrganisationId;
use serde_json::Value;

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// Legs, time and charges
    Usage,
    /// Minutes included: a row a month, or what they were used for
    Pool,
    /// What is left and how long it lasts, or what each day brought (--by day)
    Balance,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

#[derive(clap::Args)]
pub struct Report {
    which: Which,
    /// Only of this organisation
    #[arg(long, value_name = "ORGANISATION")]
    org: Option<OrganisationId>,
    /// day, organisation, organiser, country, number, capability, carrier: one or several, with commas
    #[arg(long, value_name = "LIST")]
    by: Option<String>,
    /// From this day, month or moment, in the organisation's zone
    #[arg(long, value_name = "MOMENT")]
    from: Option<String>,
    /// Until before this one
    #[arg(long, value_name = "MOMENT")]
    to: Option<String>,
    /// table, or json where --json is given
    #[arg(long, value_enum)]
    format: Option<Format>,
}

impl Report {
    pub async fn run(self, context: &Context) -> Done {
        let format = self.format.unwrap_or(if context.json { Format::Json } else { Format::Table });
        let query = ReportQuery {
            by: self.by,
            from: self.from,
            to: self.to,
            format: (format == Format::Csv).then(|| "csv".to_owned()),
        };
        let name = match self.which {
            Which::Usage => "usage",
            Which::Pool => "pool",
            Which::Balance => "balance",
        };
        let text = {
            let _sign = Working::on("adding up");
            let org = self.org.as_ref().map(OrganisationId::as_str);
            Books::find(context).await?.report((name, org), &query, &context.settings.masking).await?
        };
        match format {
            Format::Csv => say(&text),
            Format::Json => say(&format!("{text}\n")),
            Format::Table => {
                let report: Value = serde_json::from_str(&text)?;
                let rows = report["rows"].as_array().map_or(0, Vec::len) as u64;
                if rows == 0 {
                    return say("there is nothing to report\n");
                }
                say(&format!("{}{}\n", table(&report, &["rows", "totals"]), count(rows, "row")))
            }
        }
    }
}

/// Rows of objects, under the columns that are told beside them.
pub(super) fn table(report: &Value, parts: &[&str]) -> Table {
    let all = || report["columns"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let rows = || parts.iter().flat_map(|part| report[*part].as_array().into_iter().flatten());
    let cell = |row: &Value, column: &str| match &row[column] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b"-.".contains(&b));
    let side = |column: &str| if rows().all(|row| is_number(&cell(row, column))) { Side::Right } else { Side::Left };
    let columns: Vec<(String, Side)> = all().map(|name| (name.replace('_', " ").to_uppercase(), side(name))).collect();
    let mut table = Table::new(&[]);
    table.title(columns);
    for row in rows() {
        table.row(all().map(|column| cell(row, column)));
    }
    table
}
