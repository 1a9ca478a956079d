//! A day's limits on spending, and how near they are: people are told at half of one, at four fifths, and when it is used
//! up, each once a day. What legs hold counts as used, as it does for the limit itself.

use super::books::Books;
use super::door::Raise;
use super::facts::Organisation;
use super::fault::StoreError;
use super::outbox::raise;
use super::sql;
use crate::clock::Wall;
use crate::notice::{Kind, alert};
use crate::types::{Cause, Micros};
use serde_json::json;

/// Percent of a limit that are told of, the greatest first.
const TOLD: [i64; 3] = [100, 80, 50];
/// Limits of which is known in memory what was told; above it all are forgotten, and looked up again.
const MOST_KNOWN: usize = 4_096;

/// A day's limit that a leg meets.
#[derive(Clone, Debug)]
pub(super) struct Met {
    /// What a refusal for its sake is called: it tells whose limit it is.
    pub cause: Cause,
    pub name: String,
    /// Of the calendar that the limit goes by.
    pub day: String,
    pub most: Micros,
    /// Before the hold that is asked for.
    pub used: i64,
}

impl Met {
    const fn whose(&self) -> &'static str {
        match self.cause {
            Cause::OrganiserSpendLimit => "organiser",
            Cause::MeetingSpendLimit => "meeting",
            Cause::CarrierSpendLimit => "carrier",
            _ => "organisation",
        }
    }

    /// The greatest step that `used` has reached.
    fn step(&self, used: i64) -> Option<i64> {
        let reached = |percent: &i64| i128::from(used) * 100 >= i128::from(self.most.0) * i128::from(*percent);
        TOLD.into_iter().find(reached).filter(|_| self.most > Micros::ZERO)
    }

    /// One limit on one day; another amount is another limit (a night's share, a raise).
    fn key(&self, organisation: &Organisation) -> String {
        let (whose, name, currency) = (self.whose(), &self.name, organisation.currency);
        format!("{}:{whose}:{name}:{currency}:{}:{}", Kind::CapUsed, self.day, self.most.0)
    }
}

/// A hold was taken, or refused for one of these.
pub(super) async fn told(
    books: &mut Books,
    organisation: &Organisation,
    met: &[Met],
    outcome: Result<Micros, Cause>,
    now: Wall,
) -> Result<(), StoreError> {
    for met in met {
        let step = match outcome {
            Ok(taken) => met.step(met.used.saturating_add(taken.0)),
            Err(cause) if cause == met.cause => Some(100),
            Err(_) => None,
        };
        let Some(step) = step else { continue };
        let key = met.key(organisation);
        if books.sheet.caps_told.get(&key).is_some_and(|told| *told >= step) {
            continue;
        }
        let before = told_before(books, &key).await?;
        if books.sheet.caps_told.len() >= MOST_KNOWN {
            books.sheet.caps_told.clear();
        }
        books.sheet.caps_told.insert(key.clone(), before.max(step));
        if before < step {
            tell(books, organisation, met, (key, step), outcome.unwrap_or_default(), now).await?;
        }
    }
    Ok(())
}

/// The greatest step that the books know to have been told: memory begins anew with each life.
async fn told_before(books: &mut Books, key: &str) -> Result<i64, StoreError> {
    let keys: Vec<[String; 1]> = TOLD.iter().map(|percent| [format!("{key}:{percent}")]).collect();
    let sql = "SELECT key FROM alert WHERE key IN (SELECT value ->> 0 FROM json_each($1))";
    let rows = sql::query(sql).bind(json!(keys).to_string()).fetch_all(&mut books.conn).await?;
    let mut told = 0;
    for row in rows {
        let known: String = row.try_get(0)?;
        told = told.max(known.rsplit(':').next().and_then(|percent| percent.parse().ok()).unwrap_or(0));
    }
    Ok(told)
}

async fn tell(
    books: &mut Books,
    organisation: &Organisation,
    met: &Met,
    (key, step): (String, i64),
    taken: Micros,
    now: Wall,
) -> Result<(), StoreError> {
    let facts = alert::facts([
        ("whose", format!("{} {}", met.whose(), met.name)),
        ("percent", step.to_string()),
        ("used", Micros(met.used.saturating_add(taken.0)).to_text()),
        ("most", met.most.to_text()),
        ("currency", organisation.currency.to_string()),
    ]);
    // Carriers are the house's affair.
    let whose = (met.cause != Cause::CarrierSpendLimit).then(|| organisation.id.clone());
    let raised = Raise { key: format!("{key}:{step}"), kind: Kind::CapUsed, organisation: whose, at: now, facts };
    raise(books, &raised).await.map(drop)
}
