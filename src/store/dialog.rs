//! Calls that are closed in the books and not ended on the wire: kept until a BYE has run its course, whoever closed them.

use super::books::Books;
use super::door::Orphan;
use super::fault::StoreError;
use super::life::MOST_LEGS;
use super::rows::Line;
use super::sql;
use crate::clock::Wall;
use crate::rating::CallType;
use crate::telemetry::name;
use crate::types::{LegId, Micros};
use std::time::Duration;

/// A call that was closed so long ago is over at the far side too, by the longest that any network lets one last.
const LONGEST_OWED: Duration = Duration::from_secs(24 * 3_600);

/// So many calls are ended at a start, the latest of them: as many as one proof of life tells of.
const MOST_OWED: i64 = MOST_LEGS as i64;

/// All that lives of this node before this one have left: paid calls out first, then other paid ones.
pub(super) async fn left(books: &mut Books, now: Wall) -> Result<Vec<Orphan>, StoreError> {
    let_go(books, now, MOST_OWED).await?;
    let rows = sql::query(
        "SELECT dialog.leg AS leg, dialog.call_type AS call_type, is_paid, dialog.journal AS journal, charge, leg.carrier AS carrier \
         FROM dialog JOIN usage_record ON usage_record.leg = dialog.leg JOIN leg ON leg.id = dialog.leg \
         WHERE dialog.node = $1 ORDER BY dialog.leg",
    );
    let rows = rows.bind(&books.node).fetch_all(&mut books.conn).await?;
    let read = |row| {
        let line = Line { row, table: "dialog" };
        Ok(Orphan {
            leg: line.parse("leg")?,
            call_type: line.parse("call_type")?,
            journal: line.text("journal")?,
            charge: Micros(line.number("charge")?),
            is_paid: line.flag("is_paid")?,
            carrier: line.maybe("carrier")?,
        })
    };
    let given = sql::query("UPDATE dialog SET offered = $1 WHERE node = $2 AND offered IS NULL");
    given.bind(books.life).bind(&books.node).execute(&mut books.conn).await?;
    let mut orphans = rows.iter().map(read).collect::<Result<Vec<Orphan>, String>>().map_err(StoreError::Broken)?;
    orphans.sort_by_key(|orphan| (!orphan.is_paid, orphan.call_type != CallType::DialOut));
    Ok(orphans)
}

/// What is too old, or of too many, is not ended any more: whoever counts knows.
async fn let_go(books: &mut Books, now: Wall, most: i64) -> Result<(), StoreError> {
    let longest = i64::try_from(LONGEST_OWED.as_micros()).unwrap_or(i64::MAX);
    // Not before an earlier life was given it: by a clock that was put forward since, all is old. What is left of a node that
    // never comes back goes with the people in it.
    let old = sql::query("DELETE FROM dialog WHERE at < $1 AND node = $2 AND offered < $3");
    let old = old.bind(now.micros().saturating_sub(longest)).bind(&books.node).bind(books.life);
    let old = old.execute(&mut books.conn).await?;
    let beyond = sql::query(
        "DELETE FROM dialog WHERE leg IN \
         (SELECT leg FROM dialog WHERE node = $1 ORDER BY at DESC, leg LIMIT $2 OFFSET $3)",
    );
    let beyond = beyond.bind(&books.node).bind(i64::MAX).bind(most).execute(&mut books.conn).await?;
    if old + beyond > 0 {
        metrics::counter!(name::DIALOGS_LET_GO).increment(old + beyond);
        tracing::error!(old, beyond, "calls of earlier lives are not ended any more");
    }
    Ok(())
}

/// Their BYEs have run their course.
pub(super) async fn ended(books: &mut Books, legs: &Vec<LegId>) -> Result<(), StoreError> {
    for leg in legs {
        gone(books, *leg).await?;
    }
    Ok(())
}

/// The call has ended by itself.
pub(super) async fn gone(books: &mut Books, leg: LegId) -> Result<(), StoreError> {
    let gone = sql::query("DELETE FROM dialog WHERE leg = $1");
    gone.bind(leg.to_string()).execute(&mut books.conn).await?;
    Ok(())
}
