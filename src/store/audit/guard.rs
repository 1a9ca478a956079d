//! What the schema itself forbids: the audit sees that it still does.

use super::{Audit, GUARDS};
use crate::store::fault::StoreError;
use crate::store::sql::{self, Kind as Database};

/// Guards that the schema has to have: tables of which nothing is changed, nothing is removed, and the checks of others.
const UNCHANGED: [&str; 6] = ["ledger_entry", "usage_record", "draw", "correction", "grant_use", "trail"];

const CHECKS: [Check; 6] = [
    Check {
        table: "account",
        sqlite: "CHECK (posted - held >= -overdraft)",
        postgres: "CHECK (((posted - held) >= (- overdraft)))",
    },
    Check {
        table: "account",
        sqlite: "held         INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0)",
        postgres: "CHECK ((held >= 0))",
    },
    Check {
        table: "pool",
        sqlite: "CHECK (used_ms + held_ms <= granted_ms)",
        postgres: "CHECK (((used_ms + held_ms) <= granted_ms))",
    },
    Check {
        table: "grants",
        sqlite: "CHECK (used + held + lapsed <= amount)",
        postgres: "CHECK ((((used + held) + lapsed) <= amount))",
    },
    Check {
        table: "funding",
        sqlite: "CHECK (remaining >= 0 AND remaining <= amount)",
        postgres: "CHECK (((remaining >= 0) AND (remaining <= amount)))",
    },
    Check {
        table: "usage_record",
        sqlite: "CHECK (charge <= credit_held)",
        postgres: "CHECK ((charge <= credit_held))",
    },
];

/// A check, as either catalogue tells it: SQLite's has what was written, PostgreSQL's what was understood.
struct Check {
    table: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

const SQLITE_CATALOGUE: &str = "SELECT sql FROM sqlite_master WHERE name = $1 AND tbl_name = $2";

/// Triggers that are on, with what they do, and checks that hold for all rows.
const POSTGRES_CATALOGUE: &str = "SELECT pg_get_triggerdef(t.oid) || f.prosrc FROM pg_trigger t \
     JOIN pg_proc f ON f.oid = t.tgfoid \
     WHERE t.tgname = $1 AND t.tgrelid = CAST(CAST($2 AS TEXT) AS regclass) AND t.tgenabled IN ('O', 'A') \
     UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint \
     WHERE conrelid = CAST(CAST($2 AS TEXT) AS regclass) AND convalidated AND contype = 'c'";

impl Audit<'_> {
    /// Triggers and checks stand where they should.
    pub(super) async fn guards(&mut self) -> Result<(), StoreError> {
        for table in UNCHANGED {
            for (what, verb) in [("changed", "UPDATE"), ("removed", "DELETE")] {
                let (name, words) = (format!("{table}_is_not_{what}"), self.trigger(table, verb));
                self.guard(&name, table, &words).await?;
            }
        }
        for check in &CHECKS {
            let words = if self.is_sqlite() { check.sqlite } else { check.postgres };
            self.guard(check.table, check.table, &[words.to_owned()]).await?;
        }
        Ok(())
    }

    fn is_sqlite(&self) -> bool {
        self.conn.kind() == Database::Sqlite
    }

    /// What tells such a trigger: where it stands, and that it refuses.
    fn trigger(&self, table: &str, verb: &str) -> Vec<String> {
        if self.is_sqlite() {
            vec![format!("BEFORE {verb} ON {table}\nBEGIN SELECT RAISE(ABORT")]
        } else {
            vec![format!("BEFORE {verb} ON"), "RAISE EXCEPTION".to_owned()]
        }
    }

    async fn guard(&mut self, name: &str, table: &str, words: &[String]) -> Result<(), StoreError> {
        let catalogue = if self.is_sqlite() { SQLITE_CATALOGUE } else { POSTGRES_CATALOGUE };
        let rows = sql::query(catalogue).bind(name).bind(table).fetch_all(&mut *self.conn).await?;
        let defined = rows.iter().map(|row| row.try_get::<String, _>(0)).collect::<Result<Vec<_>, _>>()?;
        if !defined.iter().any(|text| words.iter().all(|words| text.contains(words))) {
            self.tell(GUARDS, name, "this guard of the books is not there");
        }
        Ok(())
    }
}
