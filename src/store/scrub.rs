//! What was forgotten is overwritten where it stood, a few rows a step, so that no call waits for it long.
//!
//! SQLite overwrites what is deleted or emptied (`secure_delete`), but not the copies that rows leave in the slack of a page
//! when they move to another because a neighbour grew. A page that has become empty, it overwrites whole. So the rows of
//! every table whose rows grow or go are moved, from the last to the first: before those that there are, where pages are
//! new. From that end a tree gives its emptied pages back one by one; from the other it would keep the first for ever.

use super::books::Books;
use super::fault::StoreError;
use super::sql::{self, Kind};

/// Rows of one step: some milliseconds. More than one page holds.
const STEP: i64 = 256;

/// How far it has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// A user was forgotten, not a number.
    of_user: bool,
    turn: usize,
    /// The first row of this turn's table when the turn began.
    first: Option<i64>,
}

impl Place {
    pub fn start(of_user: bool) -> Place {
        Place { of_user, turn: 0, first: None }
    }

    fn next(self) -> Place {
        Place { turn: self.turn + 1, first: None, ..self }
    }
}

#[derive(Clone, Copy)]
enum Turn {
    /// A table's rows are moved: how to ask for its first and last, for the first of the last [`STEP`], and to move those.
    Rows { ends: &'static str, last: &'static str, to_front: &'static str },
    /// An index is written anew, in one piece: of few rows, or of rows that are open.
    Index(&'static str),
}

macro_rules! rows {
    ($table:literal) => {
        Turn::Rows {
            ends: concat!("SELECT MIN(rowid), MAX(rowid) FROM ", $table),
            last: concat!(
                "SELECT MIN(place) FROM (SELECT rowid AS place FROM ",
                $table,
                " ORDER BY rowid DESC LIMIT $1)"
            ),
            to_front: concat!("UPDATE ", $table, " SET rowid = rowid - $1 WHERE rowid >= $2"),
        }
    };
}

/// Where callers' numbers have stood.
const OF_NUMBER: &[Turn] = &[rows!("leg"), rows!("person"), rows!("dialog")];

/// Where users' names have stood: besides, in what they own and in the indices of it.
const OF_USER: &[Turn] = &[
    rows!("leg"),
    rows!("person"),
    rows!("dialog"),
    rows!("organiser"),
    rows!("licence"),
    rows!("meeting"),
    rows!("spend_of"),
    Turn::Index("REINDEX organiser"),
    Turn::Index("REINDEX licence"),
    Turn::Index("REINDEX spend_of"),
];

/// One step; `None` when all is done. A server's pages are its own affair.
pub(super) async fn step(books: &mut Books, place: &Place) -> Result<Option<Place>, StoreError> {
    let turns = if place.of_user { OF_USER } else { OF_NUMBER };
    let Some(turn) = turns.get(place.turn).filter(|_| books.conn.kind() == Kind::Sqlite) else { return Ok(None) };
    let (ends, last, to_front) = match turn {
        Turn::Rows { ends, last, to_front } => (ends, last, to_front),
        Turn::Index(anew) => {
            books.conn.run(anew).await?;
            return Ok(Some(place.next()));
        }
    };
    let row = sql::query(ends).fetch_one(&mut books.conn).await?;
    let (Some(lowest), Some(highest)): (Option<i64>, Option<i64>) = (row.try_get(0)?, row.try_get(1)?) else {
        return Ok(Some(place.next()));
    };
    let first = place.first.unwrap_or(lowest);
    let from: i64 = sql::query(last).bind(STEP).fetch_one(&mut books.conn).await?.try_get(0)?;
    sql::query(to_front).bind(highest - lowest + 1).bind(from).execute(&mut books.conn).await?;
    // All that stood there has been moved, and with this step the first that were moved once more: the page that they shared
    // with the last of the others is gone too.
    Ok(Some(if highest < first { place.next() } else { Place { first: Some(first), ..*place } }))
}
