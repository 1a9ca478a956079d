//! Grants that a file names: read, held against what was given before, and given once. A file gives; it changes nothing of
//! what it gave, as it does not with opening fundings: what is to be another grant has another id.

use super::books::Books;
use super::document::{Document, Placed};
use super::door::{GrantAdded, GrantRow, NewGrant};
use super::facts::Organisation;
use super::fault::StoreError;
use super::grant::{self, MOST};
use crate::clock::Wall;
use crate::form::Form;
use crate::rating::grant::{Filter, Source, Unit};
use crate::rating::reader::read_moment;
use crate::rating::record::utc;
use crate::types::{GrantId, Micros, OrganisationId};
use serde_json::{Value, json};
use std::collections::HashMap;

/// Where it is not said. There is room before it and behind it.
pub const USUAL_PRIORITY: u16 = 100;

/// The most seconds that a file can write: a thousand years.
const MOST_SECONDS: u64 = grant::LARGEST / 1_000;

/// What of a file's grants there is already.
#[derive(Debug, Default)]
pub(super) struct Given {
    rows: HashMap<GrantId, GrantRow>,
    /// Grants of each organisation that are not used up.
    live: HashMap<OrganisationId, usize>,
}

/// What became of a file's grants.
#[derive(Debug, Default)]
pub(super) struct Gifts {
    /// Those that were given now: the fields of each, for the trail.
    pub given: Vec<(OrganisationId, Value)>,
    /// How many were over before they were ever given, and are not: a file outlives its grants, and new books are made of old
    /// files.
    pub over: usize,
}

// ----------------------------------------------------------------------------------------------------------------- read

/// A `[[organisation.grant]]`. It is given when the file is entered.
pub(super) fn read(form: &Form<'_>, of: Option<&Organisation>) -> Option<NewGrant> {
    let id = form.required::<GrantId>("id");
    let seconds = form.number("seconds", 1..=MOST_SECONDS).map(|seconds| (Unit::Seconds, seconds * 1_000));
    let money = form.decimal("money").and_then(|amount| {
        let micros = Micros::from_decimal(amount).map_err(|error| form.mistake("money", error)).ok()?;
        let amount = u64::try_from(micros.0).ok().filter(|amount| (1..=grant::LARGEST).contains(amount));
        if amount.is_none() {
            form.mistake("money", "expected more than zero, and no more than 31 million");
        }
        amount.map(|amount| (Unit::Money, amount))
    });
    if form.has("seconds") == form.has("money") {
        form.mistake("seconds", "a grant is of seconds, or of money");
    }
    let prefixes: Vec<String> = form.texts("prefixes").unwrap_or_default();
    let filter = Filter {
        call_types: form.texts("call_types").unwrap_or_default(),
        prefixes: prefixes.iter().map(|text| text.trim_start_matches('+').to_owned()).collect(),
        countries: form.texts("countries").unwrap_or_default(),
        zone_a: form.flag("zone_a").unwrap_or(false),
        capabilities: form.texts("capabilities").unwrap_or_default(),
    };
    if let Err(why) = filter.check() {
        form.mistake("prefixes", why);
    }
    let priority = form.number("priority", 0..=u64::from(u16::MAX)).and_then(|number| u16::try_from(number).ok());
    let (from, until) = (moment(form, "from"), moment(form, "until"));
    let source = if form.flag("paid").unwrap_or(false) { Source::Paid } else { Source::Promo };
    let memo: String = form.text("memo").unwrap_or_default();
    form.finish();
    let (unit, amount) = seconds.or(money)?;
    Some(NewGrant {
        id: id?,
        organisation: of?.id.clone(),
        unit,
        source,
        amount,
        priority: priority.unwrap_or(USUAL_PRIORITY),
        from,
        until,
        filter,
        memo,
        at: Wall::default(),
    })
}

fn moment(form: &Form<'_>, key: &str) -> Option<Wall> {
    let text = form.text::<String>(key)?;
    let moment = read_moment(&text);
    if moment.is_none() {
        form.mistake(key, format_args!("expected 2026-01-01 or 2026-01-01T00:00:00Z, found \"{text}\""));
    }
    moment
}

// ---------------------------------------------------------------------------------------------------------------- check

/// What there is already of what the file names.
pub(super) async fn given(books: &mut Books, document: &Document) -> Result<Given, StoreError> {
    let mut given = Given::default();
    for new in document.grants.iter().map(|placed| &placed.value) {
        if let Some(row) = grant::find(&mut books.conn, &new.id).await? {
            given.rows.insert(new.id.clone(), row);
        }
        if !given.live.contains_key(&new.organisation) {
            let live = grant::rows(&mut books.conn, &new.organisation, false).await?.len();
            given.live.insert(new.organisation.clone(), live);
        }
    }
    Ok(given)
}

/// All mistakes of the file's grants, each with its line.
pub(super) fn mistakes(document: &Document, given: &Given, now: Wall) -> Vec<(usize, String)> {
    let mut told = Vec::new();
    let mut live = given.live.clone();
    for Placed { line, value: new } in &document.grants {
        let mut tell = |why: String| told.push((*line, format!("grant {}: {why}", new.id)));
        let Some(before) = given.rows.get(&new.id) else {
            let is_over = is_over(new.until, now);
            // One that is over is held against its own beginning.
            let at = if is_over { Wall::default() } else { now };
            if let Err(why) = grant::check(&NewGrant { at, ..new.clone() }) {
                tell(why);
            }
            if is_over {
                continue;
            }
            let live = live.entry(new.organisation.clone()).or_default();
            *live += 1;
            if *live == MOST + 1 {
                tell(format!("{} has at most {MOST} grants that are not used up", new.organisation));
            }
            continue;
        };
        for (field, was, is) in differences(new, before, now) {
            let as_before = format!("{field} was given as {was}, and is not changed to {is} by a file");
            tell(format!("{as_before}; end it with `tollbridge grant end` and give another"));
        }
    }
    told
}

fn amount(unit: Unit, amount: u64) -> String {
    match unit {
        Unit::Seconds => format!("{} seconds", amount / 1_000),
        Unit::Money => Micros(i64::try_from(amount).unwrap_or(i64::MAX)).to_text(),
    }
}

fn is_over(until: Option<Wall>, now: Wall) -> bool {
    until.is_some_and(|until| until <= now)
}

/// Fields of a grant that the file has otherwise than it was given. Its end may have come since, by hand, or been moved by
/// a refund: that is not the file's affair.
fn differences(new: &NewGrant, row: &GrantRow, now: Wall) -> Vec<(&'static str, String, String)> {
    let before = &row.grant;
    let end = |until: Option<Wall>| until.map_or_else(|| "never".to_owned(), utc);
    let has_moved = is_over(before.until, now) || is_over(new.until, now);
    let from = new.from.unwrap_or(before.from);
    let fields = [
        ("organisation", row.organisation.to_string(), new.organisation.to_string()),
        ("amount", amount(before.unit, before.amount), amount(new.unit, new.amount)),
        ("source", before.source.slug().to_owned(), new.source.slug().to_owned()),
        ("priority", before.priority.to_string(), new.priority.to_string()),
        ("from", utc(before.from), utc(from)),
        ("until", end(before.until), if has_moved { end(before.until) } else { end(new.until) }),
        ("filter", before.filter.to_line(), new.filter.to_line()),
        ("memo", row.memo.clone(), new.memo.clone()),
    ];
    fields.into_iter().filter(|(_, was, is)| was != is).collect()
}

// ----------------------------------------------------------------------------------------------------------------- give

/// Gives what was not given before.
pub(super) async fn give(books: &mut Books, document: &Document, now: Wall) -> Result<Gifts, StoreError> {
    let mut gifts = Gifts::default();
    for new in document.grants.iter().map(|placed| &placed.value) {
        let asked = NewGrant { at: now, ..new.clone() };
        if grant::find(&mut books.conn, &asked.id).await?.is_some() {
            continue;
        }
        if is_over(asked.until, now) {
            gifts.over += 1;
            continue;
        }
        match grant::add(books, &asked).await? {
            GrantAdded::Booked(row) => {
                let after = grant::fields(&asked, &row);
                let grant = json!({ "what": format!("grant {}", asked.id), "before": null, "after": after });
                gifts.given.push((asked.organisation, grant));
            }
            GrantAdded::Repeated(_) => {}
            // Another node gave some since the file was checked.
            GrantAdded::TooMany { most } => {
                let why = format!("{} has {most} grants that are not used up: end some first", asked.organisation);
                return Err(StoreError::Conflict(why));
            }
        }
    }
    Ok(gifts)
}
