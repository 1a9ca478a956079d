//! `tollbridge apply`: brings a file into the store, also into that of a running bridge.

use super::books::{Books, Working};
use super::table::count;
use super::{Context, Done, Failure, say, say_json};
use crate::api::money::File;
use crate::form::Mistake;
use crate::store::{Document, LARGEST_FILE};
use serde_json::Value;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Apply {
    /// A file like config/demo.toml; what it names beside itself (`rates`) is brought in with it
    file: PathBuf,
}

impl Apply {
    pub async fn run(self, context: &Context) -> Done {
        let file = gather(&self.file)?;
        let applied = {
            let _sign = Working::on(format!("applying {}", file.name));
            Books::find_or_make(context).await?.apply(context, file).await?
        };
        if context.json { say_json(&applied) } else { say(&format!("{}\n", words(&applied))) }
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
    let pending = applied["pending_limits"].as_u64().unwrap_or(0);
    if pending > 0 {
        let wait = if pending == 1 { "waits" } else { "wait" };
        parts.push(format!("{} {wait} (tollbridge limits show)", count(pending, "raised limit")));
    }
    format!("applied: {}", parts.join(", "))
}
