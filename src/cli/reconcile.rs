//! `tollbridge reconcile`: a carrier's call records against ours.

use super::books::{Books, Working};
use super::report::table;
use super::table::{clock, count};
use super::trial::{First, Trial};
use super::{Context, Done, Failure, note, say, say_json};
use crate::api::report::CarrierFile;
use crate::types::CarrierId;
use serde_json::Value;
use std::path::PathBuf;
use std::str::FromStr;

/// `column=header`.
#[derive(Clone, Debug)]
struct Pair(String, String);

impl FromStr for Pair {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Pair, &'static str> {
        let (column, header) = text.split_once('=').ok_or("expected COLUMN=HEADER, like duration=\"Billed Sec\"")?;
        Ok(Pair(column.to_owned(), header.to_owned()))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

#[derive(clap::Args)]
pub struct Reconcile {
    /// Their file: CSV with comma, semicolon, tab or bar
    file: PathBuf,
    #[arg(long, value_name = "CARRIER")]
    carrier: CarrierId,
    /// Our column is their column: call_id, caller, called, start, answer, end, duration, amount, currency. Names that are
    /// usual in the trade are known
    #[arg(long, value_name = "COLUMN=HEADER")]
    map: Vec<Pair>,
    /// The zone of moments that do not tell theirs, like Europe/Rome; UTC where not given
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
    /// What a number of their durations counts: second, millisecond or minute
    #[arg(long)]
    unit: Option<String>,
    /// 0,012 is twelve thousandths
    #[arg(long)]
    decimal_comma: bool,
    /// 3/4/2026 is the 3rd of April
    #[arg(long)]
    day_first: bool,
    /// The time that the file covers; from its first call to its last where not given
    #[arg(long, value_name = "MOMENT")]
    from: Option<String>,
    #[arg(long, value_name = "MOMENT")]
    to: Option<String>,
    /// Lengths may differ by so many milliseconds (1000)
    #[arg(long, value_name = "MS")]
    tolerance_ms: Option<u64>,
    /// Amounts may differ by so much (0.01)
    #[arg(long, value_name = "AMOUNT")]
    tolerance_amount: Option<String>,
    /// Calls without a Call-ID may begin so many milliseconds apart (5000)
    #[arg(long, value_name = "MS")]
    window_ms: Option<u64>,
    /// Compare, and remember nothing
    #[arg(long)]
    dry_run: bool,
    /// table, or json where --json is given
    #[arg(long, value_enum)]
    format: Option<Format>,
}

impl Reconcile {
    pub async fn run(self, context: &Context) -> Done {
        let format = self.format.unwrap_or(if context.json { Format::Json } else { Format::Table });
        let name = self.file.display().to_string();
        let text = std::fs::read_to_string(&self.file).map_err(|error| Failure(format!("{name}: {error}")))?;
        let file = CarrierFile {
            name,
            text,
            map: self.map.into_iter().map(|Pair(column, header)| (column, header)).collect(),
            time_zone: self.zone,
            unit: self.unit,
            decimal_comma: self.decimal_comma,
            day_first: self.day_first,
            from: self.from,
            to: self.to,
            tolerance_ms: self.tolerance_ms,
            tolerance_amount: self.tolerance_amount,
            window_ms: self.window_ms,
            dry_run: self.dry_run,
        };
        let (carrier, masking) = (self.carrier.as_str(), &context.settings.masking);
        let (mut told, first) = {
            let _sign = Working::on("comparing");
            if file.dry_run {
                let mut trial = Trial::find_known(context).await?;
                (trial.reconcile(carrier, file, masking).await?, trial.first())
            } else {
                (Books::find(context).await?.reconcile(carrier, file, masking).await?, First::nothing())
            }
        };
        let differences = told["differences"].as_array().map_or(0, Vec::len) as u64;
        match format {
            Format::Csv => {
                // Beside the rows, which are for programs.
                first.words().lines().for_each(note);
                say(told["csv"].as_str().unwrap_or_default())?;
            }
            Format::Json => {
                if let Value::Object(fields) = &mut told {
                    fields.remove("csv");
                }
                first.mark(&mut told);
                say_json(&told)?;
            }
            Format::Table => say(&(first.words() + &words(&told)))?,
        }
        match differences {
            0 => Ok(()),
            some => Err(Failure(format!("the carrier's records are not ours: {}", count(some, "difference")))),
        }
    }
}

fn words(told: &Value) -> String {
    let number = |name: &str| told[name].as_u64().unwrap_or(0);
    let mut words = String::new();
    if let Some(before) = told["brought_in_before"].as_str() {
        words.push_str(&format!("this file was brought in before, at {before}; it counts once\n"));
    }
    words.push_str(&format!(
        "{} of {} calls of theirs matched, {} ours in that time, {} without length\n\
         talked: {} by their count, {} by ours\n",
        number("matched"),
        number("theirs"),
        number("ours"),
        number("attempts"),
        clock(number("their_seconds")),
        clock(number("our_seconds")),
    ));
    if let Some(amount) = told["amount"].as_str() {
        words.push_str(&format!("they ask for {amount} {}\n", told["currency"].as_str().unwrap_or_default()));
    }
    let differences = told["differences"].as_array().map_or(0, Vec::len) as u64;
    if differences > 0 {
        words.push_str(&format!("\n{}", table(told, &["differences"])));
    }
    words + &format!("{}\n", count(differences, "difference"))
}
