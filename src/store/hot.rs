//! Hot numbers, and what a call to one brings: it is refused before anything is held, and its organisation calls nowhere
//! in that country for a day, unless somebody lifts that. Lists and blocks are among the facts, so that a call is looked
//! up without asking the database; each change counts an edition up, by which nodes that share the books see that theirs
//! is old.

use super::books::Books;
use super::door::Raise;
use super::facts::{self, Facts, Organisation};
use super::fault::StoreError;
use super::leg::LegRow;
use super::outbox::raise;
use super::rows::Line;
use super::sql::{self, Connection};
use super::trail::{self, Who};
use crate::clock::Wall;
use crate::notice::{Kind, alert};
use crate::rating::CallType;
use crate::rating::record::utc;
use crate::telemetry::name;
use crate::trunk::{HotChange, HotEntries, HotKey, HotList, MOST_HOT, MOST_SALTS, hot_differences};
use crate::types::{Cause, Country, E164, HotListName, LegId, OrganisationId};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// How long a hit closes a destination: the attack comes half an hour to a day after its test call.
const BLOCKED_MS: u64 = 86_400_000;
/// A hit that comes sooner after the last moves nothing: who rings on and on is refused, and writes no row each time.
const AGAIN_MS: u64 = 60_000;
/// Destinations of an organisation that are closed at once; what comes beyond closes the whole country.
const MOST_BLOCKS: usize = 200;
/// A block of numbers at home: so many first digits.
const HOME_DIGITS: usize = 6;
/// Rows of one statement, and of one answer.
const PAGE: usize = 10_000;
pub const MOST_HOT_ROWS: u32 = 1_000;

/// What there is of it, in memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Hot {
    pub list: HotList,
    blocks: BTreeMap<OrganisationId, Vec<DialBlock>>,
    editions: Editions,
}

/// Which edition of lists and of blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Editions {
    list: i64,
    block: i64,
}

/// What a hit closes: the country of the number; at home, where everybody calls, the block of numbers alone, and so where
/// no country is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    Country(Country),
    /// First digits.
    Numbers(String),
}

impl Destination {
    fn of(facts: &Facts, organisation: &Organisation, to: &E164) -> Destination {
        let numbers = || Destination::Numbers(to.digits().chars().take(HOME_DIGITS).collect());
        let closed = facts.hot.blocks.get(&organisation.id).map_or(0, Vec::len);
        match facts.countries.country_of(to) {
            Some(country) if country != organisation.country || closed >= MOST_BLOCKS => Destination::Country(country),
            Some(_) | None => numbers(),
        }
    }

    fn covers(&self, facts: &Facts, to: &E164) -> bool {
        match self {
            Destination::Country(country) => facts.countries.country_of(to) == Some(*country),
            Destination::Numbers(first) => to.digits().starts_with(first.as_str()),
        }
    }
}

/// `LV`, or `+390655`.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Destination::Country(country) => f.write_str(country.as_str()),
            Destination::Numbers(first) => write!(f, "+{first}"),
        }
    }
}

impl FromStr for Destination {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Destination, &'static str> {
        let expected = "expected a country like LV, or first digits like +390655";
        match text.strip_prefix('+') {
            Some(first) if (1..=15).contains(&first.len()) && first.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(Destination::Numbers(first.to_owned()))
            }
            Some(_) => Err(expected),
            None => text.parse().map(Destination::Country).map_err(|_| expected),
        }
    }
}

/// Where an organisation calls no more for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DialBlock {
    pub organisation: OrganisationId,
    pub destination: Destination,
    pub since: Wall,
    pub until: Wall,
    /// The number whose call was the last hit, masked; and the leg.
    pub number: String,
    pub leg: LegId,
}

impl Hot {
    fn in_force(&self, organisation: &OrganisationId, at: Wall) -> impl Iterator<Item = &DialBlock> {
        self.blocks.get(organisation).into_iter().flatten().filter(move |block| at.micros() < block.until.micros())
    }
}

impl Facts {
    /// The entry of the hot lists that a number falls under.
    pub fn hot(&self, number: &E164) -> Option<HotKey> {
        self.hot.list.meets(number)
    }

    /// All that a number may stand under in the hot lists.
    pub(super) fn hot_keys(&self, number: &E164) -> Vec<HotKey> {
        self.hot.list.keys(number)
    }

    /// Destinations that are closed to an organisation at a moment, or to any.
    pub fn dial_blocks(&self, of: Option<&OrganisationId>, at: Wall) -> Vec<DialBlock> {
        let its = self.hot.blocks.keys().filter(|id| of.is_none_or(|of| of == *id));
        its.flat_map(|id| self.hot.in_force(id, at)).cloned().collect()
    }

    /// Whether hits have closed anything to an organisation.
    pub(super) fn is_blocked(&self, organisation: &OrganisationId, at: Wall) -> bool {
        self.hot.in_force(organisation, at).next().is_some()
    }

    /// Why an organisation calls a number not at all, whatever else it may.
    pub(super) fn barred(&self, organisation: &OrganisationId, to: &E164, at: Wall) -> Option<Cause> {
        if self.hot(to).is_some() {
            return Some(Cause::HotNumber);
        }
        self.hot
            .in_force(organisation, at)
            .any(|block| block.destination.covers(self, to))
            .then_some(Cause::HotDestination)
    }
}

// ------------------------------------------------------------------------------------------------- on the path of a call

/// Whether a call out may be asked for further. A hit closes its destination, warns, and stands in the trail.
pub(super) async fn admits(
    books: &mut Books,
    leg: &LegRow,
    organisation: &Organisation,
    at: Wall,
) -> Result<Result<(), Cause>, StoreError> {
    let barred = Some(leg).filter(|leg| leg.call_type == CallType::DialOut);
    let Some(cause) = barred.and_then(|leg| books.facts.barred(&organisation.id, &leg.number, at)) else {
        return Ok(Ok(()));
    };
    if cause == Cause::HotNumber {
        metrics::counter!(name::HOT_CALLS, "way" => "out").increment(1);
        close(books, leg, organisation, at).await?;
    }
    Ok(Err(cause))
}

async fn close(books: &mut Books, leg: &LegRow, organisation: &Organisation, at: Wall) -> Result<(), StoreError> {
    let facts = books.facts.clone();
    let destination = Destination::of(&facts, organisation, &leg.number);
    let known = facts.hot.in_force(&organisation.id, at).find(|block| block.destination == destination);
    let until = at.plus_millis(BLOCKED_MS);
    if known.is_some_and(|known| known.until.plus_millis(AGAIN_MS).micros() > until.micros()) {
        return Ok(());
    }
    let block = DialBlock {
        organisation: organisation.id.clone(),
        destination,
        since: known.map_or(at, |known| known.since),
        until,
        number: leg.number.masked(),
        leg: leg.id,
    };
    let over = sql::query("DELETE FROM dial_block WHERE organisation = $1 AND until <= $2");
    over.bind(organisation.id.as_str()).bind(at.micros()).execute(&mut books.conn).await?;
    sql::query(
        "INSERT INTO dial_block (organisation, destination, since, until, number, leg) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (organisation, destination) DO UPDATE SET since = excluded.since, until = excluded.until, \
         number = excluded.number, leg = excluded.leg",
    )
    .bind(block.organisation.as_str())
    .bind(block.destination.to_string())
    .bind(block.since.micros())
    .bind(block.until.micros())
    .bind(&block.number)
    .bind(block.leg.to_string())
    .execute(&mut books.conn)
    .await?;
    if known.is_none() {
        tell(books, &block, leg, at).await?;
    }
    blocks_changed(books).await
}

/// Once a block: to people, and to the trail.
async fn tell(books: &mut Books, block: &DialBlock, leg: &LegRow, at: Wall) -> Result<(), StoreError> {
    let raised = Raise {
        key: format!("{}:{}:{}:{}", Kind::HotNumber, block.organisation, block.destination, block.since.micros()),
        kind: Kind::HotNumber,
        organisation: Some(block.organisation.clone()),
        at,
        facts: alert::facts([
            (alert::NUMBER, leg.number.to_string()),
            ("destination", block.destination.to_string()),
            ("until", utc(block.until)),
            ("leg", leg.id.to_string()),
        ]),
    };
    raise(books, &raised).await?;
    let detail = json!({
        "destination": block.destination.to_string(), "until": utc(block.until), "number": block.number,
        "leg": block.leg.to_string(),
    });
    let (who, what) = (Who::default(), format!("organisation {}", block.organisation));
    let step = trail::Step { at, who: &who, verb: "block", what, organisation: Some(&block.organisation), detail };
    trail::write(books, step).await
}

// ------------------------------------------------------------------------------------------------------- what is changed

/// A change of one list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotOrder {
    pub list: HotListName,
    pub step: HotStep,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HotStep {
    /// The list is these entries, and no others; from a file.
    Replace {
        file: String,
        entries: HotEntries,
    },
    /// These are in it, with these notes.
    Add(HotEntries),
    Remove(HotKey),
}

/// What a change makes other than it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotReport {
    /// Of the list after it.
    pub entries: usize,
    /// Each with its note: the new one, or of what is removed the last.
    pub changes: Vec<(HotChange, HotKey, String)>,
    pub same: usize,
}

impl HotReport {
    pub fn count(&self, change: HotChange) -> usize {
        self.changes.iter().filter(|(made, _, _)| *made == change).count()
    }
}

/// What an order would change; nothing is written.
pub(super) async fn differences(conn: &mut Connection, order: &HotOrder) -> Result<HotReport, StoreError> {
    let list = order.list.as_str();
    let named = match &order.step {
        HotStep::Replace { .. } => None,
        HotStep::Add(entries) => Some(entries.keys().cloned().collect()),
        HotStep::Remove(key) => Some(vec![key.clone()]),
    };
    let before = known(conn, list, named).await?;
    let nothing = HotEntries::new();
    let after = match &order.step {
        HotStep::Replace { entries, .. } | HotStep::Add(entries) => entries,
        HotStep::Remove(key) if before.is_empty() => {
            return Err(StoreError::Unknown(format!("{key} in hot list {list}")));
        }
        HotStep::Remove(_) => &nothing,
    };
    let (changes, same) = hot_differences(&before, after);
    let note = |change, key: &HotKey| match change {
        HotChange::Removed => before.get(key),
        HotChange::New | HotChange::Noted => after.get(key),
    };
    let noted = |(change, key): (HotChange, HotKey)| {
        let note = note(change, &key).cloned().unwrap_or_default();
        (change, key, note)
    };
    let changes: Vec<_> = changes.into_iter().map(noted).collect();
    let mut report = HotReport { entries: 0, changes, same };
    let (of_list, of_all) = counts(conn, list).await?;
    let (new, gone) = (report.count(HotChange::New), report.count(HotChange::Removed));
    report.entries = (of_list + new).saturating_sub(gone);
    if new > 0 && (of_all + new).saturating_sub(gone) > MOST_HOT {
        return Err(StoreError::Conflict(format!("the hot lists have {of_all} numbers, and {MOST_HOT} is the most")));
    }
    let mut salts: BTreeSet<String> = after.keys().filter_map(HotKey::salt).map(str::to_owned).collect();
    if new > 0 && !salts.is_empty() {
        // What a file takes the place of is gone with its salts.
        let replaced = if matches!(order.step, HotStep::Replace { .. }) { list } else { "" };
        salts.extend(salts_beside(conn, replaced).await?);
    }
    if salts.len() > MOST_SALTS {
        let many = format!("the hot lists would have {} salts, and {MOST_SALTS} is the most", salts.len());
        return Err(StoreError::Conflict(many));
    }
    Ok(report)
}

/// Changes a list; the trail tells how.
pub(super) async fn order(
    books: &mut Books,
    (order, now, who): &(HotOrder, Wall, Who),
) -> Result<HotReport, StoreError> {
    let report = differences(&mut books.conn, order).await?;
    if report.changes.is_empty() {
        return Ok(report);
    }
    let list = order.list.as_str();
    for page in report.changes.chunks(PAGE) {
        let (gone, kept): (Vec<_>, Vec<_>) = page.iter().partition(|(change, _, _)| *change == HotChange::Removed);
        let gone: Vec<[String; 1]> = gone.iter().map(|(_, key, _)| [key.to_string()]).collect();
        let kept: Vec<[String; 2]> = kept.iter().map(|(_, key, note)| [key.to_string(), note.clone()]).collect();
        let sql = "DELETE FROM hot_number WHERE list = $1 AND prefix IN (SELECT value ->> 0 FROM json_each($2))";
        sql::query(sql).bind(list).bind(json!(gone).to_string()).execute(&mut books.conn).await?;
        sql::query(
            "INSERT INTO hot_number (list, prefix, note, since) SELECT CAST($1 AS TEXT), value ->> 0, value ->> 1, CAST($2 AS BIGINT) FROM json_each($3) \
             WHERE true ON CONFLICT (list, prefix) DO UPDATE SET note = excluded.note",
        )
        .bind(list)
        .bind(now.micros())
        .bind(json!(kept).to_string())
        .execute(&mut books.conn)
        .await?;
    }
    let (verb, mut detail) = match &order.step {
        HotStep::Replace { file, .. } => ("import", json!({ "file": file })),
        HotStep::Add(entries) => {
            let first: Vec<String> = entries.keys().take(PAGE).map(HotKey::to_string).collect();
            ("add", json!({ "prefixes": first }))
        }
        HotStep::Remove(key) => ("remove", json!({ "prefixes": [key.to_string()] })),
    };
    for change in HotChange::ALL {
        detail[change.slug()] = report.count(change).into();
    }
    let what = format!("hot-list {list}");
    trail::write(books, trail::Step { at: *now, who, verb, what, organisation: None, detail }).await?;
    count_up(&mut books.conn, "list").await?;
    refresh(books).await?;
    Ok(report)
}

/// Open a destination again before its day is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lift {
    pub organisation: OrganisationId,
    /// Which; all of them where none is named.
    pub destination: Option<Destination>,
    pub reason: String,
    pub at: Wall,
}

/// Lifts blocks: those that there were.
pub(super) async fn lift(books: &mut Books, (asked, who): &(Lift, Who)) -> Result<Vec<DialBlock>, StoreError> {
    let facts = books.facts.clone();
    if facts.open_organisation(&asked.organisation).is_none() {
        return Err(StoreError::Unknown(format!("organisation {}", asked.organisation)));
    }
    let mut lifted = facts.dial_blocks(Some(&asked.organisation), asked.at);
    lifted.retain(|block| asked.destination.as_ref().is_none_or(|named| *named == block.destination));
    if let (Some(named), true) = (&asked.destination, lifted.is_empty()) {
        return Err(StoreError::Unknown(format!("block of {named} for organisation {}", asked.organisation)));
    }
    for block in &lifted {
        sql::query("DELETE FROM dial_block WHERE organisation = $1 AND destination = $2")
            .bind(block.organisation.as_str())
            .bind(block.destination.to_string())
            .execute(&mut books.conn)
            .await?;
    }
    let named: Vec<String> = lifted.iter().map(|block| block.destination.to_string()).collect();
    let detail = json!({ "destinations": named, "reason": asked.reason });
    let (what, organisation) = (format!("organisation {}", asked.organisation), Some(&asked.organisation));
    trail::write(books, trail::Step { at: asked.at, who, verb: "lift", what, organisation, detail }).await?;
    blocks_changed(books).await?;
    Ok(lifted)
}

async fn blocks_changed(books: &mut Books) -> Result<(), StoreError> {
    count_up(&mut books.conn, "block").await?;
    refresh(books).await
}

async fn count_up(conn: &mut Connection, what: &str) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO hot_edition (what, edition) VALUES ($1, 1) \
         ON CONFLICT (what) DO UPDATE SET edition = hot_edition.edition + 1",
    )
    .bind(what)
    .execute(conn)
    .await?;
    Ok(())
}

// -------------------------------------------------------------------------------------------------------------- what is

/// The life of a node, and both editions as one number: whoever opens a transaction asks for both at once. Held: as long as
/// the transaction lasts nobody takes the name.
pub(super) const WITH_LIFE: &str =
    "SELECT life, (SELECT CAST(COALESCE(SUM(edition), 0) AS BIGINT) FROM hot_edition) FROM node WHERE name = $1";
pub(super) const WITH_LIFE_HELD: &str = "SELECT life, (SELECT CAST(COALESCE(SUM(edition), 0) AS BIGINT) FROM hot_edition) \
     FROM node WHERE name = $1 FOR SHARE OF node";

impl Facts {
    /// The same of what is in memory.
    pub(super) fn hot_edition(&self) -> i64 {
        self.hot.editions.list + self.hot.editions.block
    }
}

/// Brings what is in memory to the newest edition: what this transaction has changed, or another node.
pub(super) async fn refresh(books: &mut Books) -> Result<(), StoreError> {
    let editions = editions(&mut books.conn).await?;
    let known = books.facts.clone();
    if editions == known.hot.editions {
        return Ok(());
    }
    let mut hot = Hot::clone(&known.hot);
    if editions.list != hot.editions.list {
        hot.list = list(&mut books.conn).await?;
    }
    if editions.block != hot.editions.block {
        hot.blocks = blocks(&mut books.conn).await?;
    }
    hot.editions = editions;
    books.facts = Arc::new(facts::with_hot(&known, hot));
    Ok(())
}

pub(super) async fn load(conn: &mut Connection) -> Result<Hot, StoreError> {
    let editions = editions(conn).await?;
    Ok(Hot { list: list(conn).await?, blocks: blocks(conn).await?, editions })
}

async fn editions(conn: &mut Connection) -> Result<Editions, StoreError> {
    let mut editions = Editions::default();
    for row in sql::query("SELECT what, edition FROM hot_edition").fetch_all(conn).await? {
        match row.try_get::<String, _>(0)?.as_str() {
            "list" => editions.list = row.try_get(1)?,
            _ => editions.block = row.try_get(1)?,
        }
    }
    Ok(editions)
}

async fn list(conn: &mut Connection) -> Result<HotList, StoreError> {
    let rows = sql::query("SELECT prefix FROM hot_number").fetch_all(conn).await?;
    let key = |row: &sql::Row| row.try_get::<String, _>(0)?.parse::<HotKey>().map_err(StoreError::broken);
    Ok(HotList::new(rows.iter().map(key).collect::<Result<Vec<_>, StoreError>>()?))
}

async fn blocks(conn: &mut Connection) -> Result<BTreeMap<OrganisationId, Vec<DialBlock>>, StoreError> {
    let rows = sql::query("SELECT * FROM dial_block ORDER BY organisation, destination").fetch_all(conn).await?;
    let mut blocks: BTreeMap<OrganisationId, Vec<DialBlock>> = BTreeMap::new();
    for row in &rows {
        let block = block(&Line { row, table: "dial_block" }).map_err(StoreError::Broken)?;
        blocks.entry(block.organisation.clone()).or_default().push(block);
    }
    Ok(blocks)
}

fn block(line: &Line<'_>) -> Result<DialBlock, String> {
    Ok(DialBlock {
        organisation: line.parse("organisation")?,
        destination: line.parse("destination")?,
        since: Wall::from_micros(line.number("since")?),
        until: Wall::from_micros(line.number("until")?),
        number: line.text("number")?,
        leg: line.parse("leg")?,
    })
}

/// Entries of a list: all, or those that are named.
async fn known(conn: &mut Connection, list: &str, named: Option<Vec<HotKey>>) -> Result<HotEntries, StoreError> {
    let rows = match named {
        None => sql::query("SELECT prefix, note FROM hot_number WHERE list = $1").bind(list).fetch_all(conn).await?,
        Some(named) => {
            let named: Vec<[String; 1]> = named.iter().map(|key| [key.to_string()]).collect();
            let sql = "SELECT prefix, note FROM hot_number \
                 WHERE list = $1 AND prefix IN (SELECT value ->> 0 FROM json_each($2))";
            sql::query(sql).bind(list).bind(json!(named).to_string()).fetch_all(conn).await?
        }
    };
    let entry = |row: &sql::Row| {
        let prefix = row.try_get::<String, _>(0)?.parse().map_err(StoreError::broken)?;
        Ok((prefix, row.try_get(1)?))
    };
    rows.iter().map(entry).collect()
}

/// Salts of hashes, but for those of one list. A hash without a salt is `sha256:` and 64 digits, one with `sha256:SALT:` and 64.
async fn salts_beside(conn: &mut Connection, list: &str) -> Result<Vec<String>, StoreError> {
    let sql = "SELECT DISTINCT substr(prefix, 8, CAST(length(prefix) - 72 AS INTEGER)) FROM hot_number \
         WHERE list <> $1 AND length(prefix) > 72";
    let rows = sql::query(sql).bind(list).fetch_all(conn).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// How many entries a list has, and all of them.
async fn counts(conn: &mut Connection, list: &str) -> Result<(usize, usize), StoreError> {
    let of_list = sql::query("SELECT COUNT(*) FROM hot_number WHERE list = $1").bind(list).fetch_one(conn).await?;
    let of_all = sql::query("SELECT COUNT(*) FROM hot_number").fetch_one(conn).await?;
    let count = |row: sql::Row| row.try_get::<i64, _>(0).map(|count| usize::try_from(count).unwrap_or(0));
    Ok((count(of_list)?, count(of_all)?))
}

/// A list by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotListRow {
    pub list: String,
    pub entries: i64,
    /// When its newest entry came.
    pub newest: Wall,
}

pub(super) async fn lists(conn: &mut Connection) -> Result<Vec<HotListRow>, StoreError> {
    let sql = "SELECT list, COUNT(*), MAX(since) FROM hot_number GROUP BY list ORDER BY list";
    let read = |row: &sql::Row| {
        let newest = Wall::from_micros(row.try_get(2)?);
        Ok(HotListRow { list: row.try_get(0)?, entries: row.try_get(1)?, newest })
    };
    sql::query(sql).fetch_all(conn).await?.iter().map(read).collect()
}

/// Which entries.
#[derive(Clone, Debug, Default)]
pub struct HotFilter {
    /// Of this list alone.
    pub list: Option<HotListName>,
    /// Those that this number falls under.
    pub number: Option<E164>,
    /// Behind this one and its list, in the order of their digits.
    pub after: Option<(String, String)>,
}

/// One entry of one list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HotRow {
    pub list: String,
    pub prefix: String,
    pub note: String,
    pub since: Wall,
}

/// Entries in the order of their digits, [`MOST_HOT_ROWS`] at most.
pub(super) async fn rows(conn: &mut Connection, facts: &Facts, filter: &HotFilter) -> Result<Vec<HotRow>, StoreError> {
    let keys = filter.number.map(|number| {
        let keys: Vec<[String; 1]> = facts.hot_keys(&number).iter().map(|key| [key.to_string()]).collect();
        json!(keys).to_string()
    });
    let rows = sql::query(
        "SELECT list, prefix, note, since FROM hot_number WHERE (CAST($1 AS TEXT) IS NULL OR list = $1) \
         AND (CAST($2 AS TEXT) IS NULL OR prefix IN (SELECT value ->> 0 FROM json_each($3))) AND (prefix > $4 OR (prefix = $4 AND list > $5)) \
         ORDER BY prefix, list LIMIT $6",
    )
    .bind(filter.list.as_ref().map(HotListName::as_str))
    .bind(keys.as_deref())
    .bind(keys.as_deref().unwrap_or("[]"))
    .bind(filter.after.as_ref().map_or("", |(prefix, _)| prefix.as_str()))
    .bind(filter.after.as_ref().map_or("", |(_, list)| list.as_str()))
    .bind(MOST_HOT_ROWS)
    .fetch_all(conn)
    .await?;
    let read = |row: &sql::Row| {
        let since = Wall::from_micros(row.try_get(3)?);
        Ok(HotRow { list: row.try_get(0)?, prefix: row.try_get(1)?, note: row.try_get(2)?, since })
    };
    rows.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_reads_back() {
        for text in ["LV", "+390655", "+8"] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
        for text in ["", "+", "lv", "+39x", "390655", "+1234567890123456"] {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }
}
