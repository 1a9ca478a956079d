//! Wrong tries beside the books: what the brakes on guessing have counted, written a moment later and read at a start, so
//! that whoever guesses does not begin anew with the process. No more than a day of it, and no more rows than there is a bound.

use super::books::Books;
use super::fault::StoreError;
use super::rows::Line;
use super::sql::{self, Connection};
use crate::clock::Wall;
use crate::trunk::{Caller, KNOWN_FOR, KeptTries, Tried};
use crate::types::E164;
use serde_json::json;

/// Rows at most, of all nodes; the oldest go first. Four times what the brakes of one node remember of one kind.
pub(super) const MOST: i64 = 65_536;

/// Kind, who and meeting of a row.
fn key(tried: &Tried) -> (&'static str, String, String) {
    let nobody = String::new;
    match tried {
        Tried::By(Caller::Number(number)) => ("caller", number.to_string(), nobody()),
        Tried::By(Caller::Withheld(carrier)) => ("withheld", carrier.to_string(), nobody()),
        Tried::At(meeting) => ("meeting", nobody(), meeting.to_string()),
        Tried::Of(carrier) => ("carrier", carrier.to_string(), nobody()),
        Tried::Slipped(number, meeting) => ("slip", number.to_string(), meeting.to_string()),
        Tried::Overall => ("overall", nobody(), nobody()),
        Tried::Friend(number, meeting) => ("friend", number.to_string(), meeting.to_string()),
        Tried::Named(number, meeting) => ("named", number.to_string(), meeting.to_string()),
    }
}

fn tried(line: &Line<'_>) -> Result<Tried, String> {
    let number = || line.parse::<E164>("who");
    Ok(match line.text("kind")?.as_str() {
        "caller" => Tried::By(Caller::Number(number()?)),
        "withheld" => Tried::By(Caller::Withheld(line.parse("who")?)),
        "meeting" => Tried::At(line.parse("meeting")?),
        "carrier" => Tried::Of(line.parse("who")?),
        "slip" => Tried::Slipped(number()?, line.parse("meeting")?),
        "overall" => Tried::Overall,
        "friend" => Tried::Friend(number()?, line.parse("meeting")?),
        "named" => Tried::Named(number()?, line.parse("meeting")?),
        other => return Err(line.unreadable("kind", format!("there is no {other}"))),
    })
}

/// Writes what has changed of a node's tries, each in the place of what was known of it, and forgets what is old.
pub(super) async fn keep(books: &mut Books, (kept, now): &(Vec<KeptTries>, Wall)) -> Result<(), StoreError> {
    let row = |one: &KeptTries| {
        let ((kind, who, meeting), moments) = (key(&one.tried), &one.moments);
        let moments: Vec<i64> = moments.iter().map(|at| at.micros()).collect();
        Some(json!([kind, who, meeting, json!(moments).to_string(), moments.last()?]))
    };
    let rows: Vec<_> = kept.iter().filter_map(row).collect();
    sql::query(
        "INSERT INTO guess (node, kind, who, meeting, moments, last) SELECT CAST($1 AS TEXT), value ->> 0, value ->> 1, \
         value ->> 2, value ->> 3, CAST(value ->> 4 AS BIGINT) FROM json_each($2) WHERE true \
         ON CONFLICT (node, kind, who, meeting) DO UPDATE SET moments = excluded.moments, last = excluded.last",
    )
    .bind(&books.node)
    .bind(json!(rows).to_string())
    .execute(&mut books.conn)
    .await?;
    let old = sql::query("DELETE FROM guess WHERE last <= $1");
    old.bind(since(*now).micros()).execute(&mut books.conn).await?;
    let many = "DELETE FROM guess WHERE last < (SELECT last FROM guess ORDER BY last DESC LIMIT 1 OFFSET $1)";
    sql::query(many).bind(MOST - 1).execute(&mut books.conn).await?;
    Ok(())
}

/// What is kept, of all nodes; that of others than `node` is marked.
pub(super) async fn kept(conn: &mut Connection, node: &str, now: Wall) -> Result<Vec<KeptTries>, StoreError> {
    let sql = "SELECT node, kind, who, meeting, moments FROM guess WHERE last > $1 ORDER BY last DESC LIMIT $2";
    let rows = sql::query(sql).bind(since(now).micros()).bind(MOST).fetch_all(conn).await?;
    let read = |row| -> Result<KeptTries, String> {
        let line = Line { row, table: "guess" };
        let moments: Vec<i64> =
            serde_json::from_str(&line.text("moments")?).map_err(|error| line.unreadable("moments", error))?;
        let moments = moments.into_iter().map(Wall::from_micros).collect();
        Ok(KeptTries { tried: tried(&line)?, moments, elsewhere: line.text("node")? != node })
    };
    Ok(rows.iter().map(read).collect::<Result<_, _>>()?)
}

/// A number is forgotten.
pub(super) async fn forget(conn: &mut Connection, number: &str) -> Result<(), StoreError> {
    sql::query("DELETE FROM guess WHERE who = $1").bind(number).execute(conn).await?;
    Ok(())
}

/// What was before is too old.
fn since(now: Wall) -> Wall {
    let day = i64::try_from(KNOWN_FOR.as_micros()).unwrap_or(i64::MAX);
    Wall::from_micros(now.micros().saturating_sub(day))
}
