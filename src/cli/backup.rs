//! `tollbridge backup FILE` and `tollbridge restore FILE`: the books as one text, whichever database keeps them.

use super::{Context, Done, Failure, say};
use crate::store::{self, file_of, shown};
use indicatif::ProgressBar;
use std::fs::{self, File, OpenOptions};
use std::io::{BufReader, BufWriter, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub struct Arguments {
    /// The copy. It has callers' numbers and money in it: it is made for its owner alone.
    file: PathBuf,
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
    let sealed = match copied {
        Ok(sealed) => sealed,
        Err(error) => {
            // Half a copy is none.
            let _ = fs::remove_file(&part);
            return Err(Failure(error.to_string()));
        }
    };
    file.sync_all().and_then(|()| fs::rename(&part, path)).map_err(failed(path))?;
    if context.json {
        return say(&format!("{{\"rows\":{},\"sha256\":\"{}\"}}\n", sealed.rows, sealed.sha256));
    }
    say(&format!(
        "{} rows of {} in {}\n  SHA-256 {}\n  PINs are good only with the key beside the store (pin-key): keep a copy of that \
         file elsewhere\n",
        sealed.rows,
        shown(url),
        path.display(),
        sealed.sha256
    ))
}

pub async fn restore(context: &Context, arguments: &Arguments) -> Done {
    let settings = &context.settings;
    let path = &arguments.file;
    let from = BufReader::new(File::open(path).map_err(failed(path))?);
    let bar = bar();
    let read = store::restore(&settings.store_url, settings.store_options(), from, |rows| bar.set_position(rows)).await;
    bar.finish_and_clear();
    let sealed = read.map_err(|error| Failure(error.to_string()))?;
    if context.json {
        return say(&format!("{{\"rows\":{},\"sha256\":\"{}\"}}\n", sealed.rows, sealed.sha256));
    }
    let place = shown(&settings.store_url);
    say(&format!("{} rows are in {place}, and the audit found 0 differences\n", sealed.rows))
}
