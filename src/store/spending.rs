//! Limits on spending: one table of whose they are, what has counted towards each, and what a leg may still take under
//! it. What legs hold counts as spent, so that what is held never goes beyond a limit, whatever runs at once.

use super::books::{Books, day_of};
use super::cap::Met;
use super::facts::Organisation;
use super::fault::StoreError;
use super::leg::LegRow;
use super::sql;
use crate::clock::Wall;
use crate::types::{Cause, Currency, Micros};
use serde_json::{Value, json};

/// Whose spending of a day is counted beside the organisation's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Organiser,
    Meeting,
    Carrier,
}

impl Whose {
    const ALL: [Whose; 3] = [Whose::Organiser, Whose::Meeting, Whose::Carrier];

    const fn slug(self) -> &'static str {
        match self {
            Whose::Organiser => "organiser",
            Whose::Meeting => "meeting",
            Whose::Carrier => "carrier",
        }
    }

    const fn refusal(self) -> Cause {
        match self {
            Whose::Organiser => Cause::OrganiserSpendLimit,
            Whose::Meeting => Cause::MeetingSpendLimit,
            Whose::Carrier => Cause::CarrierSpendLimit,
        }
    }

    /// What the open legs of one of them hold, in one currency.
    const fn held(self) -> &'static str {
        match self {
            Whose::Organiser => {
                "SELECT CAST(COALESCE(SUM(leg.credit_held), 0) AS BIGINT) FROM leg \
                 JOIN organisation ON organisation.id = leg.organisation \
                 WHERE leg.state = 'open' AND leg.organiser = $1 AND organisation.currency = $2"
            }
            Whose::Meeting => {
                "SELECT CAST(COALESCE(SUM(leg.credit_held), 0) AS BIGINT) FROM leg \
                 JOIN organisation ON organisation.id = leg.organisation \
                 WHERE leg.state = 'open' AND leg.meeting = $1 AND organisation.currency = $2"
            }
            Whose::Carrier => {
                "SELECT CAST(COALESCE(SUM(leg.credit_held), 0) AS BIGINT) FROM leg \
                 JOIN organisation ON organisation.id = leg.organisation \
                 WHERE leg.state = 'open' AND leg.carrier = $1 AND organisation.currency = $2"
            }
        }
    }

    /// Whose name that is on a leg.
    fn name(self, leg: &LegRow) -> Option<&str> {
        match self {
            Whose::Organiser => leg.organiser.as_ref().map(|id| id.as_str()),
            Whose::Meeting => leg.meeting.as_ref().map(|id| id.as_str()),
            Whose::Carrier => leg.carrier.as_ref().map(|id| id.as_str()),
        }
    }

    /// The limit that holds around `at`, where one is set.
    fn most(self, books: &Books, leg: &LegRow, organisation: &Organisation, at: Wall) -> Option<Micros> {
        let caps = organisation.limits_at(at).caps;
        let share = |micros: Option<i64>| micros.map(|most| organisation.share(Micros(most), at));
        match self {
            Whose::Organiser => share(caps.organiser_day_micros),
            Whose::Meeting => share(caps.meeting_day_micros),
            Whose::Carrier => books.facts.directory.carrier(leg.carrier.as_ref()?)?.max_spend_per_day,
        }
    }

    /// The day around `at`: carriers serve organisations of many calendars, and have the world's.
    fn day(self, organisation: &Organisation, at: Wall) -> Result<String, StoreError> {
        match self {
            Whose::Organiser | Whose::Meeting => day_of(at, &organisation.time_zone),
            Whose::Carrier => day_of(at, "UTC"),
        }
    }
}

/// The tightest limit that a leg meets: what is left under it (below zero where it was lowered since), and its name.
/// Without any, all the money there is. Days' limits are noted in `met`.
pub(super) async fn room(
    books: &mut Books,
    leg: &LegRow,
    organisation: &Organisation,
    leg_held: Micros,
    now: Wall,
    met: &mut Vec<Met>,
) -> Result<(i64, Cause), StoreError> {
    let held = books.sums(&organisation.id).await?.held.0;
    let mut tightest = (i64::MAX, Cause::SpendLimit);
    let mut meet = |left: i64, cause: Cause| {
        if left < tightest.0 {
            tightest = (left, cause);
        }
    };
    if let Some(most) = organisation.day_limit(now) {
        let used = books.spent_on(organisation, now).await?.0 + held;
        meet(most.0 - used, Cause::SpendLimit);
        let day = day_of(now, &organisation.time_zone)?;
        met.push(Met { cause: Cause::SpendLimit, name: organisation.id.to_string(), day, most, used });
    }
    if let Some(most) = organisation.limits_at(now).max_spend_per_leg {
        meet(most.0 - leg_held.0, Cause::SpendLimit);
    }
    if let Some(most) = organisation.first_day_limit(now) {
        meet(most.0 - books.spent(organisation).await?.0 - held, Cause::FirstDayLimit);
    }
    for whose in Whose::ALL {
        let Some((most, name)) = whose.most(books, leg, organisation, now).zip(whose.name(leg)) else { continue };
        let day = whose.day(organisation, now)?;
        let used = used(books, whose, name, organisation.currency, &day).await?;
        meet(most.0 - used, whose.refusal());
        met.push(Met { cause: whose.refusal(), name: name.to_owned(), day, most, used });
    }
    Ok(tightest)
}

/// What was charged on a day, and is held now.
async fn used(books: &mut Books, whose: Whose, name: &str, currency: Currency, day: &str) -> Result<i64, StoreError> {
    // Holds of this batch may not be in their rows yet.
    books.write().await?;
    let held = sql::query(whose.held()).bind(name).bind(currency.as_str()).fetch_one(&mut books.conn).await?;
    let charged =
        sql::query("SELECT charged FROM spend_of WHERE whose = $1 AND name = $2 AND currency = $3 AND day >= $4");
    let charged = charged.bind(whose.slug()).bind(name).bind(currency.as_str()).bind(day);
    let charged: Option<i64> = charged.fetch_optional(&mut books.conn).await?.map(|row| row.try_get(0)).transpose()?;
    Ok(charged.unwrap_or(0).saturating_add(held.try_get(0)?))
}

/// Counts a leg's charge for whom it is, whether they have a limit or not: one that is set at noon knows the morning. A row
/// each, of its latest day.
pub(super) async fn note(
    books: &mut Books,
    leg: &LegRow,
    organisation: &Organisation,
    charge: Micros,
    at: Wall,
) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(Whose::ALL.len());
    for whose in Whose::ALL {
        let Some(name) = whose.name(leg) else { continue };
        let day = whose.day(organisation, at)?;
        rows.push(json!([whose.slug(), name, organisation.currency.as_str(), day, charge.0]));
    }
    sql::query(
        "INSERT INTO spend_of (whose, name, currency, day, charged) \
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, CAST(value ->> 4 AS BIGINT) FROM json_each($1) \
         WHERE true ON CONFLICT (whose, name, currency) DO UPDATE SET \
         charged = excluded.charged + CASE WHEN spend_of.day >= excluded.day THEN spend_of.charged ELSE 0 END, \
         day = CASE WHEN spend_of.day >= excluded.day THEN spend_of.day ELSE excluded.day END",
    )
    .bind(Value::Array(rows).to_string())
    .execute(&mut books.conn)
    .await?;
    Ok(())
}
