//! The trail: who changed what, when, and by which door. A row is written in the transaction of the change itself, so
//! that neither is ever there without the other; it is never changed, and hashes chain the rows.

use super::books::{Books, hash_text};
use super::fault::StoreError;
use super::rows::Line;
use super::sql::{self, Connection, Row};
use super::token::Role;
use crate::clock::Wall;
use crate::types::OrganisationId;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Rows of one answer at most.
pub const MOST_TRAIL_ROWS: u32 = 1_000;

/// By which way somebody came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailDoor {
    /// The program itself, and who has it in their own process.
    Bridge,
    Cli,
    Api,
}

impl TrailDoor {
    pub const fn slug(self) -> &'static str {
        match self {
            TrailDoor::Bridge => "bridge",
            TrailDoor::Cli => "cli",
            TrailDoor::Api => "api",
        }
    }
}

/// Who asks for a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    pub name: String,
    pub door: TrailDoor,
    /// In which they came, where they had one.
    pub role: Option<Role>,
    /// Whose they are; `None`: the house's.
    pub organisation: Option<OrganisationId>,
}

/// The bridge itself, and whoever has the token that it made at its first start.
pub const BRIDGE: &str = "bridge";
pub const OWNER: &str = "owner";

/// Names in the trail that nobody is given.
pub(super) fn is_own_name(name: &str) -> bool {
    [BRIDGE, OWNER].contains(&name)
}

impl Default for Who {
    fn default() -> Who {
        Who { name: BRIDGE.to_owned(), door: TrailDoor::Bridge, role: None, organisation: None }
    }
}

/// A change, before it has a place in the trail.
pub(super) struct Step<'a> {
    pub at: Wall,
    pub who: &'a Who,
    pub verb: &'static str,
    pub what: String,
    pub organisation: Option<&'a OrganisationId>,
    pub detail: Value,
}

/// A change as the trail has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrailRow {
    pub sequence: i64,
    pub at: Wall,
    pub who: String,
    pub door: String,
    pub role: Option<String>,
    pub verb: String,
    pub what: String,
    pub organisation: Option<String>,
    /// JSON, without secrets.
    pub detail: String,
    pub(super) hash: String,
}

impl TrailRow {
    /// What its hash has to be, behind a row with `before`. Each text comes with its length, so that none can pass for two.
    pub(super) fn due(&self, before: &str) -> String {
        let mut digest = Sha256::new();
        digest.update(self.sequence.to_be_bytes());
        digest.update(self.at.micros().to_be_bytes());
        let organisation = self.organisation.as_deref().map_or(String::new(), |id| format!("of {id}"));
        for text in [before, &self.who, &self.door, &self.verb, &self.what, &organisation, &self.detail] {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text.as_bytes());
        }
        // Rows of before there were roles have the hash that they had.
        if let Some(role) = &self.role {
            digest.update((role.len() as u64).to_be_bytes());
            digest.update(role.as_bytes());
        }
        hash_text(&digest.finalize().into())
    }
}

/// Writes a row behind the last.
pub(super) async fn write(books: &mut Books, step: Step<'_>) -> Result<(), StoreError> {
    let last = sql::query("SELECT sequence, hash FROM trail ORDER BY sequence DESC LIMIT 1");
    let last = last.fetch_optional(&mut books.conn).await?;
    let (sequence, before) = match &last {
        None => (0, String::new()),
        Some(row) => (row.try_get::<i64, _>(0)? + 1, row.try_get(1)?),
    };
    let mut row = TrailRow {
        sequence,
        at: step.at,
        who: step.who.name.clone(),
        door: step.who.door.slug().to_owned(),
        role: step.who.role.map(|role| role.slug().to_owned()),
        verb: step.verb.to_owned(),
        what: step.what,
        organisation: step.organisation.map(ToString::to_string),
        detail: step.detail.to_string(),
        hash: String::new(),
    };
    row.hash = row.due(&before);
    sql::query(
        "INSERT INTO trail (sequence, at, who, door, verb, what, organisation, detail, hash, role) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(row.sequence)
    .bind(row.at.micros())
    .bind(&row.who)
    .bind(&row.door)
    .bind(&row.verb)
    .bind(&row.what)
    .bind(&row.organisation)
    .bind(&row.detail)
    .bind(&row.hash)
    .bind(&row.role)
    .execute(&mut books.conn)
    .await?;
    Ok(())
}

/// What somebody tries.
pub(super) struct Tried<'a> {
    pub at: Wall,
    pub who: &'a Who,
    pub verb: &'static str,
    pub what: String,
    pub organisation: Option<&'a OrganisationId>,
}

/// What was done, as it is told: of what, whose it is, and the rest.
pub(super) struct Told {
    pub what: String,
    pub organisation: Option<OrganisationId>,
    pub detail: Value,
}

impl Tried<'_> {
    /// That it was done to what it was tried with.
    pub fn done(&self, detail: Value) -> Told {
        Told { what: self.what.clone(), organisation: self.organisation.cloned(), detail }
    }
}

/// What was refused, until all that it did is taken back.
pub(super) struct Refused {
    at: Wall,
    who: Who,
    verb: &'static str,
    what: String,
    organisation: Option<OrganisationId>,
    why: String,
}

/// Tells what became of a try, in the transaction of the try itself: a row for each thing that `rows` names of what was done.
/// What is refused is told too, by the writer, once the rest is taken back; what is not there was no change, and is not told.
pub(super) async fn told<A>(
    books: &mut Books,
    tried: Tried<'_>,
    done: Result<A, StoreError>,
    rows: impl FnOnce(&Tried<'_>, &A) -> Vec<Told>,
) -> Result<A, StoreError> {
    match &done {
        Ok(done) => {
            for Told { what, organisation, detail } in rows(&tried, done) {
                let organisation = organisation.as_ref();
                let Tried { at, who, verb, .. } = tried;
                write(books, Step { at, who, verb, what, organisation, detail }).await?;
            }
        }
        Err(StoreError::Conflict(why)) => {
            let Tried { at, who, verb, what, organisation } = tried;
            let (who, organisation, why) = (who.clone(), organisation.cloned(), why.clone());
            books.refused = Some(Refused { at, who, verb, what, organisation, why });
        }
        Err(_) => {}
    }
    done
}

/// Tells a refusal whose try is taken back by now, if there was one.
pub(super) async fn tell_refused(books: &mut Books) -> Result<(), StoreError> {
    let Some(refused) = books.refused.take() else { return Ok(()) };
    let Refused { at, who, verb, what, organisation, why } = refused;
    let detail = refusal(&[why]);
    write(books, Step { at, who: &who, verb, what, organisation: organisation.as_ref(), detail }).await
}

/// A file or a change that did not get as far as the books.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turned {
    /// `apply` or `set`.
    pub verb: &'static str,
    /// `file people.toml`, `user anna`.
    pub what: String,
    pub organisation: Option<OrganisationId>,
    pub reasons: Vec<String>,
    pub at: Wall,
}

pub(super) async fn turned_away(books: &mut Books, (turned, who): &(Turned, Who)) -> Result<(), StoreError> {
    let Turned { verb, what, organisation, reasons, at } = turned;
    let (what, detail) = (what.chars().take(LONGEST_REASON).collect(), refusal(reasons));
    write(books, Step { at: *at, who, verb, what, organisation: organisation.as_ref(), detail }).await
}

/// Reasons of a refusal that the trail keeps, and how much of each.
const MOST_REASONS: usize = 10;
const LONGEST_REASON: usize = 300;

/// Why something was refused. What somebody wrote is not repeated: it may be a secret in the wrong place.
pub(super) fn refusal(reasons: &[String]) -> Value {
    let bare = |reason: &String| -> String {
        let head = reason.split(", found \"").next().unwrap_or_default();
        head.chars().take(LONGEST_REASON).collect()
    };
    let kept: Vec<String> = reasons.iter().take(MOST_REASONS).map(bare).collect();
    json!({ "outcome": "refused", "reasons": kept })
}

/// Which rows.
#[derive(Clone, Debug, Default)]
pub struct TrailFilter {
    pub organisation: Option<OrganisationId>,
    /// What was changed, word by word, like `user anna`; or its kind alone.
    pub what: Option<String>,
    pub from: Option<Wall>,
    /// Before.
    pub to: Option<Wall>,
    /// The latest so many, and never more than [`MOST_TRAIL_ROWS`].
    pub limit: Option<u32>,
}

/// The rows asked for, the earliest first; of many the latest.
pub(super) async fn list(conn: &mut Connection, filter: &TrailFilter) -> Result<Vec<TrailRow>, StoreError> {
    let rows = sql::query(
        "SELECT * FROM trail WHERE (CAST($1 AS TEXT) IS NULL OR organisation = $1) AND at >= $2 AND at < $3 \
         AND (CAST($5 AS TEXT) IS NULL OR what = $5 OR SUBSTR(what, 1, LENGTH($5) + 1) = $5 || ' ') \
         ORDER BY sequence DESC LIMIT $4",
    )
    .bind(filter.organisation.as_ref().map(OrganisationId::as_str))
    .bind(filter.from.map_or(i64::MIN, Wall::micros))
    .bind(filter.to.map_or(i64::MAX, Wall::micros))
    .bind(filter.limit.unwrap_or(MOST_TRAIL_ROWS).min(MOST_TRAIL_ROWS))
    .bind(filter.what.as_deref())
    .fetch_all(conn)
    .await?;
    rows.iter().rev().map(read).collect()
}

/// The next rows from `sequence` on, in their order: for who walks the chain.
pub(super) async fn page(conn: &mut Connection, sequence: i64, most: i64) -> Result<Vec<TrailRow>, StoreError> {
    let rows = sql::query("SELECT * FROM trail WHERE sequence >= $1 ORDER BY sequence LIMIT $2");
    let rows = rows.bind(sequence).bind(most).fetch_all(conn).await?;
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<TrailRow, StoreError> {
    let line = Line { row, table: "trail" };
    let read = || {
        Ok(TrailRow {
            sequence: line.number("sequence")?,
            at: Wall::from_micros(line.number("at")?),
            who: line.text("who")?,
            door: line.text("door")?,
            role: line.maybe_text("role")?,
            verb: line.text("verb")?,
            what: line.text("what")?,
            organisation: line.maybe_text("organisation")?,
            detail: line.text("detail")?,
            hash: line.text("hash")?,
        })
    };
    read().map_err(StoreError::Broken)
}
