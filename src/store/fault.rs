//! What can go wrong with the books themselves. A call that may not be is no fault: that is a value of the answer.

use super::sql;
use crate::types::Cause;
use std::fmt;

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{0}: expected a store like sqlite:data/tollbridge.db or postgres://USER@HOST/DATABASE")]
    BadUrl(String),
    #[error("the store {store} is held by another tollbridge (pid {pid}); stop it, or let commands go through its API")]
    Held { store: String, pid: String },
    #[error(
        "the store {store} was written by a newer tollbridge (schema {found}, this one knows {known}); update this program"
    )]
    Newer { store: String, found: i64, known: i64 },
    #[error(
        "the store {store} is of an older tollbridge (schema {found}, this one knows {known}); start the bridge once, which \
         brings it up to date"
    )]
    Older { store: String, found: i64, known: i64 },
    #[error(
        "the store {store} is of an older tollbridge (schema {found}, this one knows {known}), and the node \"{node}\" of it \
         runs ({holder}): a trial on it would hold up calls. Try again when it has stopped, or with the program that it runs"
    )]
    OlderRuns { store: String, found: i64, known: i64, node: String, holder: String },
    #[error(
        "the PINs in the store {store} were hashed with another key than {file}: copy the pin-key file of the node that wrote \
         them there, under that name. Is it lost, `tollbridge backup` still copies the books, and `tollbridge restore \
         --without-pins` reads them into a new store, where everybody gets a new PIN"
    )]
    OtherKey { store: String, file: String },
    #[error("{what}: {error}")]
    File { what: String, error: std::io::Error },
    #[error("the store {store} cannot be opened: {reason}")]
    Database { store: String, reason: String },
    #[error("the store holds what this program cannot read: {0}")]
    Unreadable(String),
}

/// Why a request was not done. Nothing of it is in the books.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Disk, database or the store's task: the same request may be sent again.
    #[error("the books cannot be written: {0}")]
    Down(String),
    /// The database does not answer just now, so it was not asked: nothing of the request is in the books, nor ever will be.
    #[error("the books do not answer: nothing new is held until they do")]
    Unasked,
    /// Another process has taken this node's name: nothing that this one sends is written any more.
    #[error("the books are another's: the node \"{0}\" has been taken over")]
    Fenced(String),
    /// More requests wait than the queue holds: the same request may be sent again.
    #[error("the books cannot be written: too many requests wait")]
    Full,
    /// Another node has changed rows of this table while they were worked on, again and again: the same request may be
    /// sent again.
    #[error("the books cannot be written: another node writes there too ({0})")]
    Raced(&'static str),
    #[error("there is no {0}")]
    Unknown(String),
    /// The key was used before, for something else.
    #[error("{0}")]
    Conflict(String),
    /// What was asked for may not be, and nothing was changed.
    #[error("{}", .0.words())]
    Refused(Cause),
    /// The books hold what they never should: a fault of this program, told instead of guessed around.
    #[error("the books are not as they should be: {0}")]
    Broken(String),
}

impl StoreError {
    /// Whether the disk or the database failed, so that the whole batch has to be given up.
    pub(super) const fn is_down(&self) -> bool {
        matches!(self, StoreError::Down(_) | StoreError::Fenced(_))
    }

    /// Whether the same request, sent again, may be done.
    pub const fn is_passing(&self) -> bool {
        matches!(self, StoreError::Down(_) | StoreError::Unasked | StoreError::Full | StoreError::Raced(_))
    }

    pub(super) fn broken(why: impl fmt::Display) -> StoreError {
        StoreError::Broken(why.to_string())
    }
}

/// What a row holds and no reader understands.
impl From<String> for StoreError {
    fn from(why: String) -> StoreError {
        StoreError::Broken(why)
    }
}

/// A constraint that fails is our own fault in one request, and so is a value that is not what its column should hold;
/// anything else is the world failing.
impl From<sql::Error> for StoreError {
    fn from(error: sql::Error) -> StoreError {
        match error {
            _ if sql::is_race(&error) => StoreError::Raced("rows that each waits for"),
            _ if sql::is_refused(&error) => StoreError::broken(error),
            _ => StoreError::Down(error.to_string()),
        }
    }
}
