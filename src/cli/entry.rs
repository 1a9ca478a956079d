//! `tollbridge organisation`, `user`, `meeting`, `number`, `carrier`: what there is, shown and changed, in the keys of a file
//! for `apply`.

use super::books::Books;
use super::table::{Side, Table, harmless};
use super::{Context, Done, Failure, limit, say, say_json};
use crate::api::entry::{Shelf, Spot};
use crate::store::{EntryId, EntryKind, LimitsOf};
use crate::types::OrganisationId;
use serde_json::{Map, Value};
use std::io::Read;

/// Of the house.
#[derive(clap::Subcommand)]
pub enum OfHouse {
    /// All of them
    List,
    /// One of them, key by key
    Show { name: String },
    /// Change one, or make it
    Set(Order),
    /// Remove one that nothing needs any more
    Remove { name: String },
}

/// Of an organisation.
#[derive(clap::Subcommand)]
pub enum OfOrganisation {
    /// All of them
    List(Org),
    /// One of them, key by key
    Show {
        #[command(flatten)]
        org: Org,
        name: String,
    },
    /// Change one, or make it
    Set {
        #[command(flatten)]
        org: Org,
        #[command(flatten)]
        set: Order,
    },
    /// Remove one that nothing needs any more; the books keep its name
    Remove {
        #[command(flatten)]
        org: Org,
        name: String,
    },
}

#[derive(clap::Args)]
pub struct Org {
    /// Whose
    #[arg(long, value_name = "ORGANISATION")]
    org: OrganisationId,
}

#[derive(clap::Args)]
pub struct Order {
    name: String,
    /// As in a file for `apply`: name="Anna Ferri", licences=audio-conferencing,communications-credits, toll_free=false,
    /// limits.max_calls=50. KEY= takes away, KEY=@FILE reads a text from a file, and KEY=@- from standard input (a PIN, so
    /// that it stands in no list of processes). What is not named stays
    #[arg(value_name = "KEY=VALUE", value_parser = key_and_value)]
    keys: Vec<(String, String)>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

impl OfHouse {
    pub async fn run(self, kind: EntryKind, context: &Context) -> Done {
        match self {
            OfHouse::List => list(context, Shelf { kind, of: None }).await,
            OfHouse::Show { name } => show(context, spot(kind, None, &name)?).await,
            OfHouse::Remove { name } => remove(context, spot(kind, None, &name)?).await,
            OfHouse::Set(order) => set(context, spot(kind, None, &order.name)?, order.keys).await,
        }
    }
}

impl OfOrganisation {
    pub async fn run(self, kind: EntryKind, context: &Context) -> Done {
        match self {
            OfOrganisation::List(Org { org }) => list(context, Shelf { kind, of: Some(org) }).await,
            OfOrganisation::Show { org, name } => show(context, spot(kind, Some(org.org), &name)?).await,
            OfOrganisation::Remove { org, name } => remove(context, spot(kind, Some(org.org), &name)?).await,
            OfOrganisation::Set { org, set: order } => {
                set(context, spot(kind, Some(org.org), &order.name)?, order.keys).await
            }
        }
    }
}

fn spot(kind: EntryKind, org: Option<OrganisationId>, name: &str) -> Result<Spot, Failure> {
    Spot::new(kind, org, name).map_err(|problem| Failure(problem.into_body().to_string()))
}

/// What a list shows of each kind: titles, and the keys below them.
const fn columns(kind: EntryKind) -> &'static [(&'static str, &'static str)] {
    match kind {
        EntryKind::Organisation => &[
            ("ID", "id"),
            ("NAME", "name"),
            ("COUNTRY", "country"),
            ("CURRENCY", "currency"),
            ("TIME ZONE", "time_zone"),
        ],
        EntryKind::User => &[
            ("ID", "id"),
            ("NAME", "name"),
            ("LICENCES", "licences"),
            ("DIAL-OUT", "dial_out"),
            ("TOLL-FREE", "toll_free"),
            ("PIN", "has_pin"),
        ],
        EntryKind::Meeting => &[
            ("ID", "id"),
            ("ORGANISER", "organiser"),
            ("CONFERENCE ID", "conference_id"),
            ("LOBBY", "lobby"),
            ("CALLERS START", "callers_may_start"),
        ],
        EntryKind::Number => &[
            ("NUMBER", "e164"),
            ("KIND", "kind"),
            ("COUNTRY", "country"),
            ("ORGANISATION", "organisation"),
            ("MEETING", "meeting"),
            ("ALIAS", "alias"),
        ],
        EntryKind::Carrier => &[("ID", "id"), ("SOURCES", "sources"), ("ROUTE", "route"), ("CODECS", "codecs")],
    }
}

async fn list(context: &Context, shelf: Shelf) -> Done {
    let entries = Books::find(context).await?.entries(&shelf).await?;
    if context.json {
        return say_json(&Value::Array(entries));
    }
    let columns = columns(shelf.kind);
    let titles: Vec<(&str, Side)> = columns.iter().map(|(title, _)| (*title, Side::Left)).collect();
    let mut table = Table::new(&titles);
    for entry in &entries {
        table.row(columns.iter().map(|(_, key)| word(&entry[*key])));
    }
    say(&table.or(&format!("there is no {}", shelf.kind.slug())))
}

async fn show(context: &Context, spot: Spot) -> Done {
    let books = Books::find(context).await?;
    let mut entry = books.entry(&spot).await?;
    let pending = pending(&books, &spot).await?;
    if context.json {
        if let (Some(keys), Some(pending)) = (entry.as_object_mut(), pending) {
            keys.insert("pending_limits".to_owned(), pending);
        }
        return say_json(&entry);
    }
    let mut table = Table::new(&[("KEY", Side::Left), ("VALUE", Side::Left)]);
    rows(&mut table, "", &entry);
    say(&format!("{table}{}", pending.as_ref().map(limit::words).unwrap_or_default()))
}

/// Of an organisation or a carrier, raised limits that wait.
async fn pending(books: &Books, spot: &Spot) -> Result<Option<Value>, Failure> {
    let of = match &spot.entry {
        EntryId::Organisation(id) => LimitsOf::Organisation(id.clone()),
        EntryId::Carrier(id) => LimitsOf::Carrier(id.clone()),
        EntryId::User(_) | EntryId::Meeting(_) | EntryId::Number(_) => return Ok(None),
    };
    books.pending_limits(&of).await.map(Some)
}

/// A row a key; what stands in a table, behind its name and a dot.
fn rows(table: &mut Table, path: &str, entry: &Value) {
    for (key, value) in entry.as_object().into_iter().flatten() {
        match value {
            Value::Object(inner) if !inner.is_empty() => rows(table, &format!("{path}{key}."), value),
            other => table.row([format!("{path}{key}"), word(other)]),
        }
    }
}

/// A value for people.
pub(super) fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(word).collect::<Vec<_>>().join(","),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

async fn set(context: &Context, spot: Spot, named: Vec<(String, String)>) -> Done {
    let mut keys = Map::new();
    for (key, value) in named {
        put(&mut keys, &key, meant(&key, value)?);
    }
    let name = spot.entry.to_string();
    let books = Books::find(context).await?;
    let same = spot.clone();
    let answer = books.set(context, spot, &Value::Object(keys)).await?;
    if context.json {
        return say_json(&answer);
    }
    let changed = answer["changed"].as_array().into_iter().flatten().map(word).collect::<Vec<_>>().join(", ");
    let what = match (answer["is_new"] == true, changed.is_empty()) {
        (true, _) => "made".to_owned(),
        (false, true) => "is as it was".to_owned(),
        (false, false) => format!("changed: {changed}"),
    };
    let pending = pending(&books, &same).await?;
    say(&format!("{} {what}\n{}", harmless(&name), pending.as_ref().map(limit::words).unwrap_or_default()))
}

async fn remove(context: &Context, spot: Spot) -> Done {
    let name = spot.entry.to_string();
    let answer = Books::find(context).await?.remove(spot).await?;
    if context.json {
        return say_json(&answer);
    }
    say(&format!("{} {}\n", harmless(&name), word(&answer["removed"])))
}

/// Keys whose value is a list, and those whose value is a number; all else is a text, `true` or `false`. What none of them
/// may be the bridge refuses by its name.
const LISTS: &[&str] =
    &["allow_prefixes", "called_from", "codecs", "emails", "languages", "licences", "price_lists", "sources"];
const NUMBERS: &[&str] = &[
    "audio-conferencing",
    "block_calls",
    "communications-credits",
    "extended-dial-out",
    "low_days",
    "max_call_minutes",
    "max_calls",
    "max_calls_per_second",
    "max_participants",
    "meeting_calls",
    "meeting_calls_per_second",
    "organiser_calls",
    "organiser_calls_per_second",
    "pay-per-minute",
    "quiet_percent",
    "refund_days",
    "unusual_spend",
];

fn meant(key: &str, value: String) -> Result<Value, Failure> {
    let last = key.rsplit('.').next().unwrap_or(key);
    let value = match value.strip_prefix('@') {
        Some("-") => {
            let mut text = String::new();
            std::io::stdin().take(LONGEST_TEXT).read_to_string(&mut text)?;
            text.trim().to_owned()
        }
        Some(file) => {
            let text = std::fs::read_to_string(file).map_err(|error| Failure(format!("{key}: {file}: {error}")))?;
            text.trim().to_owned()
        }
        None => value,
    };
    Ok(match value.as_str() {
        "" => Value::Null,
        list if LISTS.contains(&last) => list.split(',').map(|item| Value::from(item.trim())).collect(),
        "true" => true.into(),
        "false" => false.into(),
        number if NUMBERS.contains(&last) => number.parse::<u64>().map_or_else(|_| number.into(), Value::from),
        text => text.into(),
    })
}

/// Of what is read from standard input.
const LONGEST_TEXT: u64 = 64 << 10;

/// `a.b` is the key `b` in the table `a`.
fn put(keys: &mut Map<String, Value>, key: &str, value: Value) {
    match key.split_once('.') {
        None => drop(keys.insert(key.to_owned(), value)),
        Some((table, rest)) => {
            let inner = keys.entry(table).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn words_of_the_command_line_are_what_the_key_wants() {
        let mut keys = Map::new();
        for text in [
            "name=Anna Ferri",
            "licences=a, b",
            "toll_free=false",
            "country=",
            "limits.max_calls=50",
            "limits.max_spend_per_day=5.00",
            "conference_id=1000001",
            "limits.block_calls=many",
        ] {
            let (key, value) = key_and_value(text).unwrap();
            put(&mut keys, &key, meant(&key, value).unwrap());
        }
        let due = json!({
            "name": "Anna Ferri", "licences": ["a", "b"], "toll_free": false, "country": null,
            "conference_id": "1000001",
            "limits": { "max_calls": 50, "max_spend_per_day": "5.00", "block_calls": "many" },
        });
        assert_eq!(Value::Object(keys), due);
        assert!(key_and_value("name").is_err());
    }
}
