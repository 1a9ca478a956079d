//! `tollbridge backup FILE` and `tollbridge restore FILE`: the books as one text, whichever database keeps them.

use super::table::count;
use super::{Context, Done, Failure, say, say_json};
use crate::store::{self, Pins, file_of, key_file_of, shown};
use indicatif::ProgressBar;
use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Arguments {
    /// The copy. It has callers' numbers and money in it: it is made for its owner alone.
    file: PathBuf,
}

#[derive(clap::Args)]
pub struct Reading {
    /// The copy
    file: PathBuf,
    /// Leave PINs out, where the key that they were hashed with is lost: everybody gets a new one
    #[arg(long)]
    without_pins: bool,
}

fn bar() -> ProgressBar {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    bar.set_message("rows");
    bar
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> Failure + '_ {
    move |error| Failure(format!("{}: {error}", path.display()))
}

/// Written beside its place and put there whole: what is there under its name is a whole copy.
pub async fn backup(context: &Context, arguments: &Arguments) -> Done {
    let url = &context.settings.store_url;
    if let Some(file) = file_of(url).filter(|file| !file.exists()) {
        return Err(Failure(format!("there is no store {}", file.display())));
    }
    let path = &arguments.file;
    let mut part = path.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part).map_err(failed(&part))?;
    let bar = bar();
    let copied = store::backup(url, BufWriter::new(&file), |rows| bar.set_position(rows)).await;
    bar.finish_and_clear();
    let copied = match copied {
        Ok(copied) => copied,
        Err(error) => {
            // Half a copy is none.
            let _ = fs::remove_file(&part);
            return Err(Failure(error.to_string()));
        }
    };
    file.sync_all().and_then(|()| fs::rename(&part, path)).map_err(failed(path))?;
    let store::Copied { sealed, pin_key, has_pins } = copied;
    let key_file = key_file_of(url, &context.settings.store_folder);
    if context.json {
        let key = has_pins.then(|| json!({ "file": key_file.display().to_string(), "fingerprint": pin_key }));
        return say_json(&json!({ "rows": sealed.rows, "sha256": sealed.sha256, "pin_key": key }));
    }
    let kept = match pin_key {
        Some(key) => format!(
            "its PINs are good only with the key {} (fingerprint {key}), which is not in it: keep that file too, elsewhere",
            key_file.display()
        ),
        None if has_pins => format!(
            "its PINs are good only with the key by which they were set, which is not in it: {}, unless that was replaced; \
             keep that file too, elsewhere",
            key_file.display()
        ),
        None => "there is no PIN in it: no key has to be kept".to_owned(),
    };
    let (rows, sha256) = (sealed.rows, sealed.sha256);
    say(&format!("{rows} rows of {} in {}\n  SHA-256 {sha256}\n  {kept}\n", shown(url), path.display()))
}

pub async fn restore(context: &Context, arguments: &Reading) -> Done {
    let settings = &context.settings;
    let path = &arguments.file;
    let from = BufReader::new(File::open(path).map_err(failed(path))?);
    let bar = bar();
    let pins = if arguments.without_pins { Pins::Dropped } else { Pins::Kept };
    let (url, options) = (&settings.store_url, settings.store_options());
    let read = store::restore(url, options, pins, from, |rows| bar.set_position(rows)).await;
    bar.finish_and_clear();
    let store::Restored { sealed, without_pin } = read.map_err(|error| Failure(error.to_string()))?;
    if context.json {
        return say_json(&json!({ "rows": sealed.rows, "sha256": sealed.sha256, "without_pin": without_pin }));
    }
    let place = shown(url);
    let pins = match without_pin {
        0 => String::new(),
        _ => format!("  {} without a PIN now: `tollbridge user set` gives new ones\n", count(without_pin, "user")),
    };
    say(&format!("{} rows are in {place}, and the audit found 0 differences\n{pins}", sealed.rows))
}
