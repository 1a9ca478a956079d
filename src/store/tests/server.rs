//! A PostgreSQL of the tests' own: `tests/run` starts one, and names it in the environment. Each store gets a schema.

use crate::store::sql::{self, Address};
use std::sync::atomic::{AtomicU32, Ordering};

/// The address of a server on which tests may do what they like: `postgres://user@host:port/database`.
const SERVER: &str = "TOLLBRIDGE_TEST_POSTGRES";

static SCHEMAS: AtomicU32 = AtomicU32::new(0);

/// The address of a new, empty schema.
pub async fn schema() -> String {
    let Ok(server) = std::env::var(SERVER) else {
        panic!("{SERVER} is not set: run `tests/postgres COMMAND`, which starts a server for COMMAND (tests/run does)")
    };
    let name = format!("t{}_{}", std::process::id(), SCHEMAS.fetch_add(1, Ordering::Relaxed));
    let address = Address::postgres(&server).unwrap();
    let mut conn = address.connect().await.unwrap();
    // Made by tests/postgres: a name cannot be a value of CREATE SCHEMA.
    sql::query("SELECT new_schema($1)").bind(&name).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    format!("{server}?options=-csearch_path%3D{name}")
}
