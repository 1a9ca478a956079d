//! Editions of the schema, one numbered file each, brought in order into a store that has not seen them. They are written
//! once, for SQLite; [`Kind::schema`] says them in PostgreSQL's words.

use super::fault::OpenError;
use super::person;
use super::sql::{self, Connection, Kind};

/// Each edition's file. Never edited once released: a change is a further file.
const EDITIONS: &[&str] = &[
    include_str!("migrations/0001_books.sql"),
    include_str!("migrations/0002_carrier_sound.sql"),
    include_str!("migrations/0003_price_lists.sql"),
    include_str!("migrations/0004_node.sql"),
    include_str!("migrations/0005_reconciliation.sql"),
    include_str!("migrations/0006_person.sql"),
    include_str!("migrations/0007_notice.sql"),
    include_str!("migrations/0008_caps.sql"),
    include_str!("migrations/0009_trail.sql"),
    include_str!("migrations/0010_corrections.sql"),
    include_str!("migrations/0011_closed.sql"),
    include_str!("migrations/0012_grants.sql"),
    include_str!("migrations/0013_token.sql"),
    include_str!("migrations/0014_locks.sql"),
    include_str!("migrations/0015_seat.sql"),
    include_str!("migrations/0016_leading.sql"),
    include_str!("migrations/0017_spending.sql"),
    include_str!("migrations/0018_open_legs.sql"),
    include_str!("migrations/0019_lock_and_maker.sql"),
    include_str!("migrations/0020_hot.sql"),
    include_str!("migrations/0021_cooling.sql"),
    include_str!("migrations/0022_dialog.sql"),
    include_str!("migrations/0023_carrier_lock.sql"),
    include_str!("migrations/0024_running_sums.sql"),
    include_str!("migrations/0025_origin.sql"),
    include_str!("migrations/0026_granted.sql"),
    include_str!("migrations/0027_path.sql"),
    include_str!("migrations/0028_shared.sql"),
    include_str!("migrations/0029_pin_key.sql"),
    include_str!("migrations/0030_open_legs_of.sql"),
    include_str!("migrations/0031_tls_name.sql"),
    include_str!("migrations/0032_known.sql"),
    include_str!("migrations/0033_pool_legs.sql"),
    include_str!("migrations/0034_held_carrier_limit.sql"),
    include_str!("migrations/0035_dialog_offered.sql"),
    include_str!("migrations/0036_tls_only.sql"),
    include_str!("migrations/0037_manner.sql"),
    include_str!("migrations/0038_left_limit.sql"),
    include_str!("migrations/0039_guess.sql"),
];

/// What PostgreSQL wants before the first of them.
const BEFORE_ALL: &str = include_str!("migrations/postgres.sql");

/// The edition that parts people from records: row by row, between two files.
const PARTED: &str = include_str!("migrations/0006_person.sql");
const APART: &str = include_str!("migrations/0006_person_apart.sql");

/// Its number.
fn parted() -> i64 {
    (1_i64..).zip(EDITIONS).find(|(_, edition)| **edition == PARTED).map_or(0, |(number, _)| number)
}

/// The edition that this program knows.
pub(super) const NEWEST: i64 = EDITIONS.len() as i64;

/// Brings the store to the newest edition; one transaction an edition, so that none is ever half there.
pub(super) async fn update(conn: &mut Connection, store: &str) -> Result<(), OpenError> {
    bring_to(conn, store, NEWEST).await
}

/// Brings the store to the edition `last`, if it is below it.
pub(super) async fn bring_to(conn: &mut Connection, store: &str, last: i64) -> Result<(), OpenError> {
    let failed = |error: sql::Error| OpenError::Database { store: store.to_owned(), reason: error.to_string() };
    let found = found(conn, store).await?;
    for (number, edition) in missing(found, last) {
        if let Err(error) = bring(conn, number, edition).await {
            // Told below; the connection is closed by whoever opens the store.
            let _ = conn.run("ROLLBACK").await;
            return Err(failed(error));
        }
    }
    // What was parted still stands in pages that are free.
    if (1..parted()).contains(&found) && last >= parted() && conn.kind() == Kind::Sqlite {
        conn.run("VACUUM").await.map_err(failed)?;
    }
    Ok(())
}

/// Brings the store to the newest edition within the transaction that is open, for whoever takes all of it back: of which
/// edition it is, 0 where there is none.
pub(super) async fn rehearse(conn: &mut Connection, store: &str) -> Result<i64, OpenError> {
    let found = found(conn, store).await?;
    for (number, edition) in missing(found, NEWEST) {
        let brought = write(conn, number, edition).await;
        brought.map_err(|error| OpenError::Database { store: store.to_owned(), reason: error.to_string() })?;
    }
    Ok(found)
}

/// Of which edition a store is that is not newer than this program.
pub(super) async fn found(conn: &mut Connection, store: &str) -> Result<i64, OpenError> {
    match edition(conn).await {
        Ok(found) if found > NEWEST => Err(OpenError::Newer { store: store.to_owned(), found, known: NEWEST }),
        Ok(found) => Ok(found),
        Err(error) => Err(OpenError::Database { store: store.to_owned(), reason: error.to_string() }),
    }
}

/// The editions after `found`, to `last`.
fn missing(found: i64, last: i64) -> impl Iterator<Item = (i64, &'static str)> {
    (1_i64..).zip(EDITIONS.iter().copied()).filter(move |(number, _)| (found + 1..=last).contains(number))
}

/// Whether a store that this program may not change is of the newest edition.
pub(super) async fn is_newest(conn: &mut Connection, store: &str) -> Result<(), OpenError> {
    let newest = sql::query("SELECT COALESCE(MAX(number), 0) FROM schema_edition").fetch_one(conn).await;
    let found = newest.and_then(|row| row.try_get::<i64, _>(0));
    match found {
        Ok(NEWEST) => Ok(()),
        Ok(found) if found > NEWEST => Err(OpenError::Newer { store: store.to_owned(), found, known: NEWEST }),
        Ok(found) => Err(OpenError::Older { store: store.to_owned(), found, known: NEWEST }),
        Err(error) => Err(OpenError::Database { store: store.to_owned(), reason: error.to_string() }),
    }
}

async fn edition(conn: &mut Connection) -> Result<i64, sql::Error> {
    conn.define("CREATE TABLE IF NOT EXISTS schema_edition (number INTEGER NOT NULL PRIMARY KEY) STRICT;").await?;
    let newest = sql::query("SELECT COALESCE(MAX(number), 0) FROM schema_edition");
    newest.fetch_one(conn).await?.try_get(0)
}

async fn bring(conn: &mut Connection, number: i64, edition: &'static str) -> Result<(), sql::Error> {
    conn.run("BEGIN").await?;
    write(conn, number, edition).await?;
    conn.run("COMMIT").await
}

/// One edition, in the transaction that is open.
async fn write(conn: &mut Connection, number: i64, edition: &'static str) -> Result<(), sql::Error> {
    if number == 1 && conn.kind() == Kind::Postgres {
        conn.run(BEFORE_ALL).await?;
    }
    conn.define(edition).await?;
    if edition == PARTED {
        person::part(conn).await.map_err(sql::Error::Protocol)?;
        conn.define(APART).await?;
    }
    sql::query("INSERT INTO schema_edition (number) VALUES ($1)").bind(number).execute(conn).await?;
    Ok(())
}
