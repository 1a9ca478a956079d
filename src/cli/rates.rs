//! `tollbridge rates`: price lists brought in from other people's files, compared, and written out.

use super::apply::told;
use super::books::{Books, Progress, Working};
use super::table::{Side, Table, count};
use super::trial::{First, Trial};
use super::{Context, Done, Failure, say, say_json};
use crate::api::money::{File, MOST_MINUTES};
use crate::api::rates::{MarginQuery, percent};
use crate::clock;
use crate::rating::Deck;
use crate::rating::convert::{Converted, Mapping};
use crate::rating::costs::COMPARED_MINUTES;
use crate::rating::deck::LARGEST_DECK;
use crate::rating::export::{Change, Changed, difference};
use crate::rating::reader::Column;
use crate::rating::review::{Leave, review};
use crate::store::HOUSE;
use crate::types::OrganisationId;
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
    /// Price against what carriers take, destination by destination, losses first
    Margin(Margin),
}

#[derive(clap::Args)]
pub struct Margin {
    /// By this price list alone; everybody's where neither it nor an organisation is named
    #[arg(long, value_name = "LIST", conflicts_with = "organisation")]
    list: Option<String>,
    /// By all that this organisation pays by, its discount taken off, in its currency
    #[arg(long, value_name = "ORGANISATION")]
    organisation: Option<OrganisationId>,
    /// Only what earns less than so many percent of its price, like 10; 0 for losses alone
    #[arg(long, value_name = "PERCENT", allow_hyphen_values = true, value_parser = a_percentage)]
    below: Option<String>,
    /// The length of the calls that are compared
    #[arg(long, default_value_t = COMPARED_MINUTES, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_MINUTES)))]
    minutes: u32,
}

fn a_percentage(text: &str) -> Result<String, &'static str> {
    percent(text).map(|_| text.to_owned())
}

impl Margin {
    async fn run(self, context: &Context) -> Done {
        let query = MarginQuery {
            list: self.list,
            organisation: self.organisation.map(|id| id.to_string()),
            minutes: Some(self.minutes),
            below: self.below,
        };
        let margins = {
            let _sign = Working::on("comparing prices and costs");
            Books::find(context).await?.margins(&query).await?
        };
        if context.json { say_json(&margins) } else { say(&margin_words(&margins, self.minutes)) }
    }
}

fn margin_words(margins: &Value, minutes: u32) -> String {
    let mut table = Table::new(&[
        ("type", Side::Left),
        ("destination", Side::Left),
        ("worst prefix", Side::Left),
        ("of", Side::Right),
        ("price", Side::Right),
        ("cost", Side::Right),
        ("carrier", Side::Left),
        ("earned", Side::Right),
        ("%", Side::Right),
    ]);
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let all = margins["destinations"].as_array().map_or(&[][..], Vec::as_slice);
    for row in all {
        table.row([
            text(&row["type"]),
            text(&row["destination"]),
            format!("+{}", text(&row["prefix"])),
            row["prefixes"].to_string(),
            text(&row["price"]),
            text(&row["cost"]),
            text(&row["carrier"]),
            text(&row["earned"]),
            text(&row["percent"]),
        ]);
    }
    let losses = all.iter().filter(|row| row["earned"].as_str().is_some_and(|earned| earned.starts_with('-'))).count();
    let unknown = all.iter().filter(|row| row["cost"].is_null()).count();
    format!(
        "{table}{}, a call of {} each, in {}: {losses} at a loss, {unknown} of unknown cost\n",
        count(all.len() as u64, "destination"),
        count(u64::from(minutes), "minute"),
        text(&margins["currency"]),
    )
}

#[derive(clap::Args)]
pub struct Import {
    /// CSV, as this program writes it or as others do: comma, semicolon or tab; ranges and lists of prefixes
    file: PathBuf,
    /// The list that it becomes: everybody's where not given; `cost:CARRIER` is what a carrier takes
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
    /// Prices that become more than five times as dear are meant, and so is another currency
    #[arg(long)]
    allow_jumps: bool,
    /// Rows that begin in the past are meant
    #[arg(long)]
    allow_past: bool,
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
            Rates::Margin(margin) => margin.run(context).await,
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
        let users = match () {
            () if list["list"] == HOUSE => "all".to_owned(),
            () if list["kind"] == "cost" => "nobody: what the carrier takes".to_owned(),
            () => users.join(", "),
        };
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
        let (converted, deck) = self.converted(&name, &text)?;
        let sign = Working::on(format!("comparing {}", count(deck.len() as u64, "rate")));
        let (books, first, known) = if self.dry_run {
            let trial = Trial::find(context).await?;
            let first = trial.first();
            (None, first, trial.known_deck(&self.list, &deck).await?)
        } else {
            let books = Books::find_or_make(context).await?;
            let known = books.known_deck(&self.list, &deck).await?;
            (Some(books), First::nothing(), known)
        };
        let now = clock::wall();
        let (changes, same) = difference(&known, &deck, now);
        let leave = Leave { jumps: self.allow_jumps, past: self.allow_past };
        let mistakes = review(&name, &known, &deck, now, leave, |line| converted.line_at_home(line));
        let books = books.filter(|_| mistakes.is_empty());
        let applied = books.is_some();
        drop(sign);
        if let Some(books) = books {
            let _sign = Working::on("bringing it in");
            books.apply(context, self.file_for(converted.csv)).await?;
        }
        if context.json {
            let mut told = json!({
                "list": self.list, "rows": deck.len(), "version": deck.version(), "unchanged": same,
                "applied": applied, "changes": changes.iter().map(in_json).collect::<Vec<_>>(),
                "mistakes": mistakes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            });
            first.mark(&mut told);
            say_json(&told)?;
        } else {
            say(&first.words())?;
            say(&self.words(&deck, &changes, same, applied))?;
        }
        if mistakes.is_empty() { Ok(()) } else { Err(told(&mistakes)) }
    }

    /// Their file in our form, read; mistakes at the lines of their file.
    fn converted(&self, name: &str, text: &str) -> Result<(Converted, Deck), Failure> {
        let pairs = |pairs: &[Pair]| pairs.iter().map(|Pair(column, text)| (*column, text.clone())).collect();
        let mapping = Mapping { columns: pairs(&self.map), fill: pairs(&self.fill), decimal_comma: self.decimal_comma };
        let lines = text.lines().count();
        // Each line is read twice: as theirs, then as ours. A range may be many lines of ours.
        let progress = Progress::over(format!("reading {}", count(lines as u64, "line")), lines * 2);
        let converted =
            mapping.convert(name, text, &mut |line| progress.at(line)).map_err(|mistakes| told(&mistakes))?;
        let own = converted.csv.lines().count().max(1);
        let (deck, mistakes) = Deck::watched(name, &converted.csv, &mut |line| progress.at(lines + line * lines / own));
        drop(progress);
        if mistakes.is_empty() { Ok((converted, deck)) } else { Err(told(&converted.at_home(name, mistakes))) }
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

    fn words(&self, deck: &Deck, changes: &[Changed], same: usize, applied: bool) -> String {
        let of = |change: Change| changes.iter().filter(|changed| changed.change == change).count();
        let counts: Vec<String> = Change::ALL
            .iter()
            .filter(|change| of(**change) > 0)
            .map(|change| format!("{} {change}", of(*change)))
            .collect();
        let done = if applied { "is" } else { "would be" };
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
