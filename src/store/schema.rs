//! Editions of the schema, one numbered file each, brought in order into a store that has not seen them.

use super::fault::OpenError;
use sqlx::{Connection, Row, SqliteConnection};
use std::path::Path;

/// Each edition's file. Never edited once released: a change is a further file.
const EDITIONS: &[&str] = &[
    include_str!("migrations/0001_books.sql"),
    include_str!("migrations/0002_carrier_sound.sql"),
    include_str!("migrations/0003_price_lists.sql"),
];

/// Brings the store to the newest edition; one transaction an edition, so that none is ever half there.
pub(super) async fn update(conn: &mut SqliteConnection, store: &Path) -> Result<(), OpenError> {
    let failed = |error: sqlx::Error| OpenError::Database { store: store.to_owned(), reason: error.to_string() };
    let known = EDITIONS.len() as i64;
    let found = edition(conn).await.map_err(failed)?;
    if found > known {
        return Err(OpenError::Newer { store: store.to_owned(), found, known });
    }
    for (number, edition) in (1_i64..).zip(EDITIONS).filter(|(number, _)| *number > found) {
        bring(conn, number, edition).await.map_err(failed)?;
    }
    Ok(())
}

async fn edition(conn: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS schema_edition (number INTEGER NOT NULL PRIMARY KEY) STRICT")
        .execute(&mut *conn)
        .await?;
    sqlx::query("SELECT COALESCE(MAX(number), 0) FROM schema_edition").fetch_one(conn).await?.try_get(0)
}

async fn bring(conn: &mut SqliteConnection, number: i64, edition: &'static str) -> Result<(), sqlx::Error> {
    let mut transaction = conn.begin().await?;
    sqlx::raw_sql(edition).execute(&mut *transaction).await?;
    sqlx::query("INSERT INTO schema_edition (number) VALUES ($1)").bind(number).execute(&mut *transaction).await?;
    transaction.commit().await
}
