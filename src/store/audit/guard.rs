//! What the schema itself forbids: the audit sees that it still does.

use super::{Audit, GUARDS};
use crate::store::fault::StoreError;
use crate::store::sql::{self, Kind as Database};

/// Guards that the schema has to have: what stands in the database's own catalogue under these names.
const GUARDED: [Guard; 13] = [
    Guard {
        table: "ledger_entry",
        name: "ledger_entry_is_not_changed",
        sqlite: "BEFORE UPDATE ON ledger_entry\nBEGIN SELECT RAISE(ABORT",
        postgres: &["BEFORE UPDATE ON", KEPT],
    },
    Guard {
        table: "ledger_entry",
        name: "ledger_entry_is_not_removed",
        sqlite: "BEFORE DELETE ON ledger_entry\nBEGIN SELECT RAISE(ABORT",
        postgres: &["BEFORE DELETE ON", KEPT],
    },
    Guard {
        table: "usage_record",
        name: "usage_record_is_not_changed",
        sqlite: "BEFORE UPDATE ON usage_record\nBEGIN SELECT RAISE(ABORT",
        postgres: &["BEFORE UPDATE ON", KEPT],
    },
    Guard {
        table: "usage_record",
        name: "usage_record_is_not_removed",
        sqlite: "BEFORE DELETE ON usage_record\nBEGIN SELECT RAISE(ABORT",
        postgres: &["BEFORE DELETE ON", KEPT],
    },
    Guard {
        table: "draw",
        name: "draw_is_not_changed",
        sqlite: "BEFORE UPDATE ON draw\nBEGIN SELECT RAISE(ABORT",
        postgres: &["BEFORE UPDATE ON", KEPT],
    },
    Guard {
        table: "draw",
        name: "draw_is_not_removed",
        sqlite: "BEFORE DELETE ON draw\nBEGIN SELECT RAISE(ABORT",
        postgres: &["BEFORE DELETE ON", KEPT],
    },
    Guard {
        table: "correction",
        name: "correction_is_not_changed",
        sqlite: "BEFORE UPDATE ON correction\nBEGIN SELECT RAISE(ABORT",
        postgres: &["BEFORE UPDATE ON", KEPT],
    },
    Guard {
        table: "correction",
        name: "correction_is_not_removed",
        sqlite: "BEFORE DELETE ON correction\nBEGIN SELECT RAISE(ABORT",
        postgres: &["BEFORE DELETE ON", KEPT],
    },
    Guard {
        table: "account",
        name: "account",
        sqlite: "CHECK (posted - held >= -overdraft)",
        postgres: &["CHECK (((posted - held) >= (- overdraft)))"],
    },
    Guard {
        table: "account",
        name: "account",
        sqlite: "held         INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0)",
        postgres: &["CHECK ((held >= 0))"],
    },
    Guard {
        table: "pool",
        name: "pool",
        sqlite: "CHECK (used_ms + held_ms <= granted_ms)",
        postgres: &["CHECK (((used_ms + held_ms) <= granted_ms))"],
    },
    Guard {
        table: "funding",
        name: "funding",
        sqlite: "CHECK (remaining >= 0 AND remaining <= amount)",
        postgres: &["CHECK (((remaining >= 0) AND (remaining <= amount)))"],
    },
    Guard {
        table: "usage_record",
        name: "usage_record",
        sqlite: "CHECK (charge <= credit_held)",
        postgres: &["CHECK ((charge <= credit_held))"],
    },
];

/// What a trigger of PostgreSQL has to do.
const KEPT: &str = "RAISE EXCEPTION";

/// A guard, and the words that tell it in either catalogue: SQLite's has what was written, PostgreSQL's what was understood.
struct Guard {
    table: &'static str,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static [&'static str],
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
        let database = self.conn.kind();
        for guard in GUARDED {
            let (catalogue, words) = match database {
                Database::Sqlite => (SQLITE_CATALOGUE, std::slice::from_ref(&guard.sqlite)),
                Database::Postgres => (POSTGRES_CATALOGUE, guard.postgres),
            };
            let rows = sql::query(catalogue).bind(guard.name).bind(guard.table).fetch_all(&mut *self.conn).await?;
            let defined = rows.iter().map(|row| row.try_get::<String, _>(0)).collect::<Result<Vec<_>, _>>()?;
            if !defined.iter().any(|text| words.iter().all(|words| text.contains(words))) {
                self.tell(GUARDS, guard.name, "this guard of the books is not there");
            }
        }
        Ok(())
    }
}
