//! What can go wrong with the books themselves. A call that may not be is no fault: that is a value of the answer.

use std::fmt;
use std::path::PathBuf;

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0}: expected a store like sqlite:data/tollbridge.db (PostgreSQL is not supported yet)")]
    BadUrl(String),
    #[error("the store {store} is held by another tollbridge (pid {pid}); stop it, or let commands go through its API")]
    Held { store: PathBuf, pid: String },
    #[error(
        "the store {store} was written by a newer tollbridge (schema {found}, this one knows {known}); update this program"
    )]
    Newer { store: PathBuf, found: i64, known: i64 },
    #[error("{what}: {error}")]
    File { what: String, error: std::io::Error },
    #[error("the store {store} cannot be opened: {reason}")]
    Database { store: PathBuf, reason: String },
    #[error("the store holds what this program cannot read: {0}")]
    Unreadable(String),
}

/// Why a request was not done. Nothing of it is in the books.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Disk, database or the store's task: the same request may be sent again.
    #[error("the books cannot be written: {0}")]
    Down(String),
    /// More requests wait than the queue holds: the same request may be sent again.
    #[error("the books cannot be written: too many requests wait")]
    Full,
    #[error("there is no {0}")]
    Unknown(String),
    /// The key was used before, for something else.
    #[error("{0}")]
    Conflict(String),
    /// The books hold what they never should: a fault of this program, told instead of guessed around.
    #[error("the books are not as they should be: {0}")]
    Broken(String),
}

impl StoreError {
    /// Whether the disk or the database failed, so that the whole batch has to be given up.
    pub(super) const fn is_down(&self) -> bool {
        matches!(self, StoreError::Down(_))
    }

    pub(super) fn broken(why: impl fmt::Display) -> StoreError {
        StoreError::Broken(why.to_string())
    }
}

/// The primary result code of a constraint that failed, a trigger's included (sqlite.org/rescode.html).
const SQLITE_CONSTRAINT: u32 = 19;

/// A constraint that fails is our own fault in one request; anything else is the world failing.
impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> StoreError {
        let code = error.as_database_error().and_then(|e| e.code()).and_then(|code| code.parse::<u32>().ok());
        let constraint = code.is_some_and(|code| code & 0xff == SQLITE_CONSTRAINT);
        let decoding = matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::RowNotFound);
        if constraint || decoding { StoreError::broken(error) } else { StoreError::Down(error.to_string()) }
    }
}
