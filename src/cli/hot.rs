//! `tollbridge hot-list`: numbers known from fraud, and the destinations that a call to one has closed.

use super::books::{Books, Working};
use super::table::{Side, Table, count};
use super::trial::Trial;
use super::{Context, Done, Failure, say, say_json};
use crate::api::hot::{HotFile, HotNote, HotQuery, LiftOrder};
use crate::trunk::{HotKey, LARGEST_HOT};
use crate::types::{E164, HotListName, OrganisationId};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Changes shown to a person; programs are given more.
const SHOWN: usize = 20;
/// The list of a file, and the one of entries made by hand, where none is named: a file takes the place of its whole list.
const IMPORTED: &str = "imported";
const OWN: &str = "own";

#[derive(clap::Subcommand)]
pub enum HotLists {
    /// Bring a file in: it is the whole list from then on; or, with every bad row named, nothing
    Import {
        /// CSV with a column "prefix", "number" or "hash", and perhaps "salt" and "note"; comma, semicolon, tab or bar between. A
        /// cell is a number, its first digits, a range like +37123450-+37123469, or the SHA-256 hash, in hexadecimal, of a
        /// number with its country's code, with or without +, and its salt before it
        file: PathBuf,
        #[arg(long, default_value = IMPORTED)]
        list: HotListName,
        /// Tell what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Lists, and what they have closed now; with --list or --number, entries
    Show {
        /// Entries of this list
        #[arg(long)]
        list: Option<HotListName>,
        /// Entries that this number falls under
        #[arg(long)]
        number: Option<E164>,
    },
    /// Put one number in, the first digits of many, or the hash of one: sha256:HASH or sha256:SALT:HASH
    Add {
        #[arg(value_name = "PREFIX")]
        key: HotKey,
        #[arg(long, default_value = OWN)]
        list: HotListName,
        /// What is known of it
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Take one out
    Remove {
        #[arg(value_name = "PREFIX")]
        key: HotKey,
        #[arg(long, default_value = OWN)]
        list: HotListName,
    },
    /// Open what a call to a hot number has closed to an organisation, before its day is over
    Lift {
        #[arg(long, value_name = "ORGANISATION")]
        org: OrganisationId,
        /// A country like LV, or first digits like +390655; all of them where not given
        #[arg(long)]
        destination: Option<String>,
        /// Stands in the trail
        #[arg(long)]
        reason: String,
    },
}

impl HotLists {
    pub async fn run(self, context: &Context) -> Done {
        match self {
            HotLists::Import { file, list, dry_run } => import(context, &file, &list, dry_run).await,
            HotLists::Show { list: None, number: None } => overview(context).await,
            HotLists::Show { list, number } => entries(context, list, number).await,
            HotLists::Add { key, list, note } => {
                let report = Books::find(context).await?.add_hot(list.as_str(), &key, &HotNote { note }).await?;
                told(context, &report, "")
            }
            HotLists::Remove { key, list } => {
                let report = Books::find(context).await?.remove_hot(list.as_str(), &key).await?;
                told(context, &report, "")
            }
            HotLists::Lift { org, destination, reason } => {
                let lifted = Books::find(context).await?.lift(org.as_str(), &LiftOrder { destination, reason }).await?;
                if context.json {
                    return say_json(&lifted);
                }
                let lifted = lifted["lifted"].as_array().map_or(&[][..], Vec::as_slice);
                let opened = count(lifted.len() as u64, "destination");
                say(&format!("{}{opened} open again for {org}\n", blocks(lifted)))
            }
        }
    }
}

async fn import(context: &Context, path: &Path, list: &HotListName, dry_run: bool) -> Done {
    let name = path.display().to_string();
    let text = read(path).map_err(|why| Failure(format!("{name}: {why}")))?;
    let sign = Working::on(format!("comparing {}", count(text.lines().count() as u64, "line")));
    let file = HotFile { name, text, dry_run };
    if !dry_run {
        let report = Books::find_or_make(context).await?.import_hot(list.as_str(), &file).await?;
        drop(sign);
        return told(context, &report, "");
    }
    let mut trial = Trial::find(context).await?;
    let (mut report, first) = (trial.import_hot(list.as_str(), &file).await?, trial.first());
    // Whoever reads on a screen keeps the books from nobody.
    drop(trial);
    drop(sign);
    first.mark(&mut report);
    if !context.json {
        say(&first.words())?;
    }
    told(context, &report, "; nothing was changed")
}

fn read(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > LARGEST_HOT as u64 {
        return Err(format!("larger than {} MiB: bring it in as several lists", LARGEST_HOT >> 20));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("-").to_owned()
}

fn told(context: &Context, report: &Value, end: &str) -> Done {
    if context.json {
        return say_json(report);
    }
    let changes = report["changes"].as_array().map_or(&[][..], Vec::as_slice);
    let mut table = Table::new(&[("change", Side::Left), ("prefix", Side::Left), ("note", Side::Left)]);
    for change in changes.iter().take(SHOWN) {
        table.row([text(&change["change"]), text(&change["prefix"]), text(&change["note"])]);
    }
    let all = changes.len() as u64 + report["more"].as_u64().unwrap_or(0);
    let rest = match all.saturating_sub(SHOWN as u64) {
        0 => String::new(),
        more => format!("and {more} more: --json shows them\n"),
    };
    let table = if changes.is_empty() { String::new() } else { table.to_string() };
    let done = if report["applied"] == true { "has" } else { "would have" };
    say(&format!(
        "hot list {} {done} {}: {} new, {} removed, {} noted otherwise, {} unchanged{end}\n{table}{rest}",
        text(&report["list"]),
        count(report["entries"].as_u64().unwrap_or(0), "number"),
        report["new"],
        report["removed"],
        report["noted"],
        report["unchanged"],
    ))
}

async fn overview(context: &Context) -> Done {
    let books = Books::find(context).await?;
    let (lists, closed) = (books.hot_lists().await?, books.blocks().await?);
    if context.json {
        return say_json(&json!({ "lists": lists, "blocks": closed }));
    }
    let mut table = Table::new(&[("list", Side::Left), ("numbers", Side::Right), ("newest", Side::Left)]);
    for list in lists.as_array().into_iter().flatten() {
        table.row([text(&list["list"]), list["entries"].to_string(), text(&list["newest"])]);
    }
    say(&format!("{table}{}", blocks(closed.as_array().map_or(&[][..], Vec::as_slice))))
}

fn blocks(rows: &[Value]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let titles = ["organisation", "closed", "until", "number", "leg"].map(|title| (title, Side::Left));
    let mut table = Table::new(&titles);
    for row in rows {
        table.row(["organisation", "destination", "until", "number", "leg"].map(|key| text(&row[key])));
    }
    table.to_string()
}

async fn entries(context: &Context, list: Option<HotListName>, number: Option<E164>) -> Done {
    let books = Books::find(context).await?;
    let mut query = HotQuery {
        list: list.map(|list| list.to_string()),
        number: number.map(|number| number.to_string()),
        after: None,
    };
    let mut all: Vec<Value> = Vec::new();
    loop {
        let part = books.hot_entries(&query).await?;
        all.extend(part["entries"].as_array().into_iter().flatten().cloned());
        query.after = part["next"].as_str().map(str::to_owned);
        if query.after.is_none() {
            break;
        }
    }
    if context.json {
        return say_json(&Value::Array(all));
    }
    let titles = ["prefix", "list", "since", "note"].map(|title| (title, Side::Left));
    let mut table = Table::new(&titles);
    for row in &all {
        table.row(["prefix", "list", "since", "note"].map(|key| text(&row[key])));
    }
    say(&format!("{table}{}\n", count(all.len() as u64, "number")))
}
