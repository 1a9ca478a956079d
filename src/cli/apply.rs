//! `tollbridge apply`: brings a file into the store, also into that of a running bridge.

use super::books::{Books, Working};
use super::entry::word;
use super::table::{Side, Table, count};
use super::trial::Trial;
use super::{Context, Done, Failure, say, say_json};
use crate::api::money::File;
use crate::form::Mistake;
use crate::store::{Document, LARGEST_FILE};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Apply {
    /// A file like config/demo.toml; what it names beside itself (`rates`) is brought in with it
    file: PathBuf,
    /// Only tell what would change
    #[arg(long)]
    dry_run: bool,
}

impl Apply {
    pub async fn run(self, context: &Context) -> Done {
        let file = gather(&self.file)?;
        if self.dry_run {
            let mut trial = Trial::find(context).await?;
            let (mut preview, first) = (trial.preview(context, file).await?, trial.first());
            // Whoever reads on a screen keeps the books from nobody.
            drop(trial);
            first.mark(&mut preview);
            return if context.json { say_json(&preview) } else { say(&(first.words() + &would(&preview))) };
        }
        let applied = {
            let _sign = Working::on(format!("applying {}", file.name));
            Books::find_or_make(context).await?.apply(context, file).await?
        };
        if context.json { say_json(&applied) } else { say(&format!("applied: {}\n", words(&applied))) }
    }
}

/// The file and what it names beside itself. Mistakes that can be seen without the store are told here.
fn gather(path: &Path) -> Result<File, Failure> {
    let name = path.display().to_string();
    let text = read(path).map_err(|why| Failure(format!("{name}: {why}")))?;
    let mut beside = Vec::new();
    let take = |named: &str| {
        let found = read(&path.parent().unwrap_or(Path::new("")).join(named))?;
        beside.push((named.to_owned(), found.clone()));
        Ok(found)
    };
    Document::parse(&name, &text, take).map_err(|mistakes| told(&mistakes))?;
    Ok(File { name, text, beside })
}

fn read(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > LARGEST_FILE as u64 {
        return Err(format!("larger than {} MiB", LARGEST_FILE >> 20));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

pub(super) fn told(mistakes: &[Mistake]) -> Failure {
    let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
    Failure(crate::api::problem::Problem::mistakes(lines).into_body().to_string())
}

/// What the file had, in its own order.
fn words(applied: &Value) -> String {
    let named = [
        ("organisations", "organisation"),
        ("users", "user"),
        ("meetings", "meeting"),
        ("numbers", "number"),
        ("carriers", "carrier"),
        ("countries", "country record"),
    ];
    let mut parts: Vec<String> = named
        .iter()
        .filter_map(|(key, word)| applied[*key].as_u64().filter(|n| *n > 0).map(|n| count(n, word)))
        .collect();
    match applied["rates"].as_u64() {
        Some(rows) => parts.push(count(rows, "rate")),
        None => parts.push("rates as they were".to_owned()),
    }
    let funded = applied["funded"].as_u64().unwrap_or(0);
    if funded > 0 {
        parts.push(format!("{} booked", count(funded, "opening funding")));
    }
    let granted = applied["granted"].as_u64().unwrap_or(0);
    if granted > 0 {
        parts.push(format!("{} given", count(granted, "grant")));
    }
    let over = applied["over"].as_u64().unwrap_or(0);
    if over > 0 {
        let are = if over == 1 { "is over and was" } else { "are over and were" };
        parts.push(format!("{} {are} not given", count(over, "grant")));
    }
    let pending = applied["pending_limits"].as_u64().unwrap_or(0);
    if pending > 0 {
        let wait = if pending == 1 { "waits" } else { "wait" };
        parts.push(format!("{} {wait} (tollbridge limits show)", count(pending, "raised limit")));
    }
    parts.join(", ")
}

/// What a file would change: an entry and its fields, one a row; then what it would come to.
fn would(preview: &Value) -> String {
    let change = &preview["would_change"];
    let rows = |name: &str| change[name].as_array().map_or(&[][..], Vec::as_slice);
    let mut table =
        Table::new(&[("WHAT", Side::Left), ("KEY", Side::Left), ("BEFORE", Side::Left), ("AFTER", Side::Left)]);
    for row in rows("lists").iter().filter(|row| row["before"] != row["after"]) {
        table.row([
            format!("price list {}", word(&row["list"])),
            "version".to_owned(),
            word(&row["before"]),
            word(&row["after"]),
        ]);
    }
    for row in rows("changed") {
        let what = word(&row["what"]);
        let (mut before, mut after) = (Map::new(), Map::new());
        flat(&mut before, "", &row["before"]);
        flat(&mut after, "", &row["after"]);
        let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        if row["before"].is_null() {
            table.row([what.clone(), String::new(), "-".to_owned(), "new".to_owned()]);
        }
        for key in keys {
            let of = |keys: &Map<String, Value>| keys.get(key).map_or_else(|| "-".to_owned(), word);
            table.row([what.clone(), key.clone(), of(&before), of(&after)]);
        }
    }
    let more =
        change["more_changed"].as_u64().map_or_else(String::new, |more| format!("and {}\n", count(more, "more entry")));
    let pending = pending_words(rows("pending"));
    let table = table.or("nothing would change");
    format!("{table}{more}{pending}would be applied: {}; nothing was\n", words(preview))
}

/// Raised limits that would wait.
fn pending_words(pending: &[Value]) -> String {
    let line = |raise: &Value| {
        let whose = raise["organisation"].as_str().or(raise["carrier"].as_str()).unwrap_or("-");
        let (limit, now, then) = (word(&raise["limit"]), word(&raise["now"]), word(&raise["then"]));
        format!("{limit} of {whose} would stay {now} until {}, then {then}\n", word(&raise["at"]))
    };
    pending.iter().map(line).collect()
}

/// Keys of keys behind their names and a dot.
fn flat(keys: &mut Map<String, Value>, path: &str, entry: &Value) {
    for (key, value) in entry.as_object().into_iter().flatten() {
        match value {
            Value::Object(_) => flat(keys, &format!("{path}{key}."), value),
            other => drop(keys.insert(format!("{path}{key}"), other.clone())),
        }
    }
}
