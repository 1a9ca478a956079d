//! Calls that are closed in the books and not ended on the wire: kept until a BYE was sent, whoever closed them.

use super::books::Books;
use super::door::Orphan;
use super::fault::StoreError;
use super::rows::Line;
use super::sql;
use crate::clock::Wall;
use crate::rating::CallType;
use crate::types::{LegId, Micros};

/// Of an open leg that others than its own life close: to be asked before it is closed, which empties its journal.
pub(super) async fn keep(books: &mut Books, leg: LegId, at: Wall) -> Result<(), StoreError> {
    let kept = sql::query(
        "INSERT INTO dialog (leg, node, call_type, is_paid, journal, at) \
         SELECT id, node, call_type, CASE WHEN credit_held > 0 THEN 1 ELSE 0 END, journal, $2 FROM leg WHERE id = $1",
    );
    kept.bind(leg.to_string()).bind(at.micros()).execute(&mut books.conn).await?;
    Ok(())
}

/// All that lives of this node before this one have left: paid calls out first, then other paid ones.
pub(super) async fn left(books: &mut Books) -> Result<Vec<Orphan>, StoreError> {
    let rows = sql::query(
        "SELECT dialog.leg AS leg, call_type, is_paid, journal, charge FROM dialog \
         JOIN usage_record ON usage_record.leg = dialog.leg WHERE node = $1 ORDER BY dialog.leg",
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
        })
    };
    let mut orphans = rows.iter().map(read).collect::<Result<Vec<Orphan>, String>>().map_err(StoreError::Broken)?;
    orphans.sort_by_key(|orphan| (!orphan.is_paid, orphan.call_type != CallType::DialOut));
    Ok(orphans)
}

/// BYEs were sent.
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
