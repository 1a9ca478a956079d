//! A trial of what would come of a file: the books are tried as they would be then, and not a byte of them changes. Books
//! of an older edition are brought to the newest for the trial alone, and where there are none it is held on empty ones.

use super::apply;
use super::books::Books;
use super::correct;
use super::document::{Document, Preview};
use super::door::{Forget, Forgotten, Keep, Options, Rerating, Which, Whom};
use super::facts::{self, Facts};
use super::fault::{OpenError, StoreError};
use super::hot::{self, HotOrder, HotReport};
use super::io;
use super::person;
use super::pin::{self, Fit, KEY_LEN, PinKey};
use super::reconcile;
use super::schema;
use super::sql::{self, Connection};
use crate::clock::Wall;
use crate::form::Mistake;
use crate::rating::reconcile::Ours;
use crate::types::CarrierId;
use std::fs::File;

/// Of which edition books are, and to which this program would bring them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Editions {
    /// 0: there are no books.
    pub found: i64,
    pub newest: i64,
}

/// Books in which everything is tried, and of which nothing stays: whatever is asked of it is taken back with it.
pub struct Rehearsal {
    books: Books,
    editions: Editions,
    place: String,
    /// Nobody opens the store meanwhile.
    _lock: Option<File>,
}

impl Rehearsal {
    /// The books that `url` names, which nobody holds. A file is copied for it, into the system's folder for temporary files,
    /// and the copy is gone as soon as it is open. On a server no other node may run on books of an older edition.
    pub async fn open(url: &str, options: &Options) -> Result<Rehearsal, OpenError> {
        let place = io::name_of(url)?;
        let (mut conn, kept, lock) = io::try_out(url, options).await?;
        let failed = |error: sql::Error| OpenError::Database { store: place.clone(), reason: error.to_string() };
        let found = schema::found(&mut conn, &place).await?;
        if (1..schema::NEWEST).contains(&found)
            && let Some((node, holder)) = running(&mut conn, &options.node).await.map_err(failed)?
        {
            return Err(OpenError::OlderRuns { store: place, found, known: schema::NEWEST, node, holder });
        }
        schema::rehearse(&mut conn, &place).await?;
        let is_new = kept.is_none();
        let key = kept.unwrap_or_else(|| {
            let mut key = [0; KEY_LEN];
            rand::fill(&mut key);
            PinKey::new(key)
        });
        if pin::fit(&mut conn, &key, is_new).await.map_err(failed)? == Fit::Another {
            let file = io::key_file_of(url, &options.folder).display().to_string();
            return Err(OpenError::OtherKey { store: place, file });
        }
        let facts = facts::load(&mut conn, key, 1, None).await.map_err(|fault| match fault {
            StoreError::Broken(why) => OpenError::Unreadable(why),
            fault => OpenError::Database { store: place.clone(), reason: fault.to_string() },
        })?;
        // It has no life, so that it takes nothing from one that runs.
        let books = Books::new(conn, facts.into(), options.node.clone(), 0, options.cooling_ms());
        let editions = Editions { found, newest: schema::NEWEST };
        Ok(Rehearsal { books, editions, place, _lock: lock })
    }

    pub const fn editions(&self) -> Editions {
        self.editions
    }

    /// What the store is called where people read it.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What there is, before anything was tried.
    pub fn facts(&self) -> &Facts {
        &self.books.facts
    }

    /// What a file would change, or every mistake.
    pub async fn preview(
        &mut self,
        document: Document,
        now: Wall,
    ) -> Result<Result<Preview, Vec<Mistake>>, StoreError> {
        apply::preview(&mut self.books, &(document, now)).await
    }

    /// What an order would change of a list of hot numbers.
    pub async fn hot_differences(&mut self, order: &HotOrder) -> Result<HotReport, StoreError> {
        hot::differences(&mut self.books.conn, order).await
    }

    /// What legs would cost by the prices in use now.
    pub async fn rerate(&mut self, which: &Which) -> Result<Rerating, StoreError> {
        correct::look(&mut self.books.conn, &self.books.facts, which).await
    }

    /// Our legs by a carrier, and when its file was brought in first: as a store tells them.
    pub async fn legs_by(
        &mut self,
        carrier: &CarrierId,
        period: (Wall, Wall),
        hash: &str,
    ) -> Result<(Vec<Ours>, Option<Wall>), StoreError> {
        let ours = reconcile::ours(&mut self.books.conn, carrier, period, hash).await?;
        Ok((ours, reconcile::known(&mut self.books.conn, hash).await?))
    }

    /// How many records would be emptied.
    pub async fn keep(&mut self, asked: Keep) -> Result<u64, StoreError> {
        person::keep(&mut self.books, &Keep { dry_run: true, ..asked }).await
    }

    /// What there is of a person.
    pub async fn forget(&mut self, whom: Whom) -> Result<Forgotten, StoreError> {
        person::forget(&mut self.books, &Forget { whom, dry_run: true }).await
    }
}

/// A node that runs on these books, but for ours, and where.
async fn running(conn: &mut Connection, own: &str) -> Result<Option<(String, String)>, sql::Error> {
    if conn.columns("node").await?.is_empty() {
        return Ok(None);
    }
    for row in sql::query("SELECT name FROM node ORDER BY name").fetch_all(conn).await? {
        let name: String = row.try_get(0)?;
        if name != own
            && let Some(holder) = conn.holder_of(&name).await?
        {
            return Ok(Some((name, holder)));
        }
    }
    Ok(None)
}
