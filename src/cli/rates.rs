//! `tollbridge rates`: price lists brought in from other people's files, compared, and written out.

use super::apply::told;
use super::books::{Books, Working};
use super::table::{Side, Table, count};
use super::{Context, Done, Failure, say, say_json};
use crate::api::money::File;
use crate::clock;
use crate::rating::Deck;
use crate::rating::convert::Mapping;
use crate::rating::deck::{Column, LARGEST_DECK};
use crate::rating::export::{Change, Changed, difference};
use crate::store::HOUSE;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Changes shown to a person; programs are given all of them.
const SHOWN: usize = 20;

#[derive(clap::Subcommand)]
pub enum Rates {
    /// Price lists in use
    List,
    /// Write a price list as CSV to the standard output
    Export {
        /// Which; everybody's where not given
        #[arg(default_value = HOUSE)]
        list: String,
    },
    /// Bring a price list in: all of it or, with every mistake told, nothing
    Import(Import),
}

#[derive(clap::Args)]
pub struct Import {
    /// CSV, as this program writes it or as others do: comma, semicolon or tab; ranges and lists of prefixes
    file: PathBuf,
    /// The list that it becomes; everybody's where not given
    #[arg(long, default_value = HOUSE)]
    list: String,
    /// Our column is their column, like rate="Sell Price"; names that are usual in the trade are known
    #[arg(long, value_name = "COLUMN=HEADER")]
    map: Vec<Pair>,
    /// What stands in a column that is missing or empty, like call_type=dial-out
    #[arg(long, value_name = "COLUMN=VALUE")]
    fill: Vec<Pair>,
    /// 0,012 is twelve thousandths
    #[arg(long)]
    decimal_comma: bool,
    /// Tell what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Prices that become five times as dear, or more, are meant
    #[arg(long)]
    allow_jumps: bool,
}

/// `column=text`.
#[derive(Clone, Debug)]
struct Pair(Column, String);

impl FromStr for Pair {
    type Err = String;
    fn from_str(text: &str) -> Result<Pair, String> {
        let (column, text) = text.split_once('=').ok_or("expected COLUMN=TEXT")?;
        let column = column.parse::<Column>().map_err(|_| {
            let known: Vec<&str> = Column::ALL.iter().map(|column| column.slug()).collect();
            format!("there is no column {column}; there are {}", known.join(", "))
        })?;
        Ok(Pair(column, text.to_owned()))
    }
}

impl Rates {
    pub async fn run(self, context: &Context) -> Done {
        match self {
            Rates::List => list(context).await,
            Rates::Export { list } => say(&Books::find(context).await?.deck(&list).await?),
            Rates::Import(import) => import.run(context).await,
        }
    }
}

async fn list(context: &Context) -> Done {
    let lists = Books::find(context).await?.rates().await?;
    if context.json {
        return say_json(&lists);
    }
    let mut table = Table::new(&[
        ("list", Side::Left),
        ("rows", Side::Right),
        ("currency", Side::Left),
        ("version", Side::Left),
        ("organisations", Side::Left),
    ]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for list in lists.as_array().into_iter().flatten() {
        let users: Vec<String> = list["organisations"].as_array().into_iter().flatten().map(text).collect();
        let users = if list["list"] == HOUSE { "all".to_owned() } else { users.join(", ") };
        table.row([
            text(&list["list"]),
            list["rows"].to_string(),
            text(&list["currency"]),
            text(&list["version"]),
            users,
        ]);
    }
    say(&table.to_string())
}

impl Import {
    async fn run(self, context: &Context) -> Done {
        let name = self.file.display().to_string();
        let text = read(&self.file).map_err(|why| Failure(format!("{name}: {why}")))?;
        let (csv, deck) = self.converted(&name, &text)?;
        let sign = Working::on(format!("reading {}", count(deck.len() as u64, "rate")));
        let books = Books::find_or_make(context).await?;
        let (changes, same) = difference(&books.known_deck(&self.list, &deck).await?, &deck, clock::wall());
        let jumps = changes.iter().filter(|change| change.jump).count();
        let refused = jumps > 0 && !self.allow_jumps && !self.dry_run;
        if !self.dry_run && !refused {
            books.apply(self.file_for(csv)).await?;
        }
        drop(sign);
        if context.json {
            say_json(&json!({
                "list": self.list, "rows": deck.len(), "version": deck.version(), "unchanged": same,
                "applied": !self.dry_run && !refused, "changes": changes.iter().map(in_json).collect::<Vec<_>>(),
            }))?;
        } else {
            say(&self.words(&deck, &changes, same))?;
        }
        if refused {
            let what = count(jumps as u64, "price");
            let verb = if jumps == 1 { "becomes" } else { "become" };
            return Err(Failure(format!(
                "refused: {what} {verb} five times as dear or more; nothing was changed. If that is meant: --allow-jumps"
            )));
        }
        Ok(())
    }

    /// Their file in our form, read; mistakes at the lines of their file.
    fn converted(&self, name: &str, text: &str) -> Result<(String, Deck), Failure> {
        let pairs = |pairs: &[Pair]| pairs.iter().map(|Pair(column, text)| (*column, text.clone())).collect();
        let mapping = Mapping { columns: pairs(&self.map), fill: pairs(&self.fill), decimal_comma: self.decimal_comma };
        let converted = mapping.convert(name, text).map_err(|mistakes| told(&mistakes))?;
        match Deck::parse(name, &converted.csv) {
            Ok(deck) => Ok((converted.csv, deck)),
            Err(mistakes) => Err(told(&converted.at_home(name, mistakes))),
        }
    }

    /// What `apply` is given.
    fn file_for(&self, csv: String) -> File {
        let beside = format!("{}.csv", self.list);
        let rates = format!("rates = \"{beside}\"\n");
        let text = if self.list == HOUSE {
            rates
        } else {
            format!("[[price_list]]\nname = \"{}\"\n{rates}", self.list.escape_default())
        };
        File { name: self.file.display().to_string(), text, beside: vec![(beside, csv)] }
    }

    fn words(&self, deck: &Deck, changes: &[Changed], same: usize) -> String {
        let of = |change: Change| changes.iter().filter(|changed| changed.change == change).count();
        let counts: Vec<String> = Change::ALL
            .iter()
            .filter(|change| of(**change) > 0)
            .map(|change| format!("{} {change}", of(*change)))
            .collect();
        let done = if self.dry_run { "would be" } else { "is" };
        let mut words = format!(
            "price list {} {done} {} in {}, version {}: {}{same} unchanged\n",
            self.list,
            count(deck.len() as u64, "rate"),
            deck.currency(),
            deck.version(),
            counts.iter().map(|count| format!("{count}, ")).collect::<String>(),
        );
        if !changes.is_empty() {
            words.push_str(&table(changes));
        }
        words
    }
}

/// The changes that matter most to whoever pays: jumps, then what is dearer, cheaper, removed, new.
fn table(changes: &[Changed]) -> String {
    let mut sorted: Vec<&Changed> = changes.iter().collect();
    let weight = |change: &Changed| match change.change {
        _ if change.jump => 0,
        Change::Dearer => 1,
        Change::Cheaper => 2,
        Change::Removed => 3,
        Change::Other => 4,
        Change::New => 5,
    };
    sorted.sort_by_key(|change| weight(change));
    let mut table = Table::new(&[
        ("change", Side::Left),
        ("type", Side::Left),
        ("prefix", Side::Left),
        ("destination", Side::Left),
        ("before", Side::Right),
        ("after", Side::Right),
    ]);
    let price = |price: Option<rust_decimal::Decimal>| price.map(|price| price.to_string()).unwrap_or_default();
    for change in sorted.iter().take(SHOWN) {
        let mark = if change.jump { " (!)" } else { "" };
        table.row([
            format!("{}{mark}", change.change),
            change.call_type.to_string(),
            change.prefix.clone(),
            change.destination.clone(),
            price(change.before),
            price(change.after),
        ]);
    }
    let more = changes.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!("and {more} more: --json shows all\n") } else { String::new() };
    format!("{table}{rest}")
}

fn in_json(change: &Changed) -> Value {
    let price = |price: Option<rust_decimal::Decimal>| price.map(|price| price.to_string());
    json!({
        "change": change.change.slug(), "type": change.call_type.slug(), "prefix": change.prefix,
        "destination": change.destination, "before": price(change.before), "after": price(change.after),
        "jump": change.jump,
    })
}

fn read(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > LARGEST_DECK as u64 {
        return Err(format!("larger than {} MiB", LARGEST_DECK >> 20));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}
