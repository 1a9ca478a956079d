//! After a crash: legs that a life before this one left open are settled at their last proof of life, once.

use super::books::Books;
use super::door::{End, Orphan};
use super::fault::StoreError;
use super::leg::{self, LegRow};
use super::rows::Line;
use super::settle;
use super::sql;
use crate::clock::Wall;
use crate::rating::record::EndedBy;
use crate::types::{Cause, LegId, Micros};
use std::collections::HashMap;

/// Settles every orphan. Gives what is needed to end their dialogs: calls out that are paid first, then other paid ones.
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
    let mut orphans = Vec::with_capacity(legs.len());
    for leg in legs {
        // The file has a proof a second; the leg's own row has the one of its last slice. The file is right where it is
        // behind the row too: silence is charged to its beginning, and that may be before the last slice was asked for.
        let elapsed_ms = proofs.get(&leg.id).copied().unwrap_or(leg.proven_ms);
        let end = End::new(Cause::NodeDied, EndedBy::Bridge, elapsed_ms, *now);
        let record = settle::close(books, &leg, end).await?;
        let is_paid = leg.tab.as_ref().is_some_and(|tab| tab.credit_held() > Micros::ZERO);
        let (id, call_type, journal) = (leg.id, leg.call_type, leg.journal);
        orphans.push(Orphan { leg: id, call_type, journal, charge: record.charge, is_paid });
    }
    orphans.sort_by_key(|orphan| (!orphan.is_paid, orphan.call_type != crate::rating::CallType::DialOut));
    Ok(orphans)
}
