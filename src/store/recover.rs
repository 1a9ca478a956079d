//! After a crash: legs that a life before this one left open are settled at their last proof of life, once.

use super::books::Books;
use super::dialog;
use super::door::{End, Orphan};
use super::fault::StoreError;
use super::leg::{self, LegRow};
use super::rows::Line;
use super::settle;
use super::sql;
use crate::clock::Wall;
use crate::rating::record::EndedBy;
use crate::types::{Cause, LegId};
use std::collections::HashMap;

/// Settles every orphan. Gives what is needed to end their dialogs, and those of legs that others have closed meanwhile.
pub(super) async fn recover(
    books: &mut Books,
    (proofs, now): &(HashMap<LegId, u64>, Wall),
) -> Result<Vec<Orphan>, StoreError> {
    let rows = sql::query("SELECT * FROM leg WHERE state = 'open' AND node = $1 AND life < $2 ORDER BY id")
        .bind(&books.node)
        .bind(books.life)
        .fetch_all(&mut books.conn)
        .await?;
    let read = |row| leg::read(&Line { row, table: "leg" }).map_err(StoreError::Broken);
    let legs = rows.iter().map(read).collect::<Result<Vec<LegRow>, _>>()?;
    for leg in legs {
        // The file has a proof a second; the leg's own row has the one of its last slice. The file is right where it is
        // behind the row too: silence is charged to its beginning, and that may be before the last slice was asked for.
        let elapsed_ms = proofs.get(&leg.id).copied().unwrap_or(leg.proven_ms);
        let end = End { owes_bye: true, ..End::new(Cause::NodeDied, EndedBy::Bridge, elapsed_ms, *now) };
        settle::close(books, &leg, end).await?;
    }
    // Their records are asked for.
    books.write().await?;
    dialog::left(books, *now).await
}
