//! Limits on spending: one table of whose they are, what has counted towards each, and what a leg may still take under
//! it. What legs hold counts as spent, so that what is held never goes beyond a limit, whatever runs at once. Money is
//! what a call costs, whoever gave it: credits and money of grants count alike; time of the pool and of grants is none.

use super::books::{Books, day_of};
use super::cap::Met;
use super::facts::Organisation;
use super::fault::StoreError;
use super::leg::LegRow;
use super::sql;
use crate::clock::Wall;
use crate::types::{Cause, Currency, Micros};

/// Whose spending of a day is counted beside the organisation's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Whose {
    Organiser,
    Meeting,
    Carrier,
}

impl Whose {
    pub const ALL: [Whose; 3] = [Whose::Organiser, Whose::Meeting, Whose::Carrier];

    pub const fn slug(self) -> &'static str {
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

    /// Whose name that is on a leg.
    pub fn name(self, leg: &LegRow) -> Option<&str> {
        match self {
            Whose::Organiser => leg.organiser.as_ref().map(|id| id.as_str()),
            Whose::Meeting => leg.meeting.as_ref().map(|id| id.as_str()),
            Whose::Carrier => leg.carrier.as_ref().map(|id| id.as_str()),
        }
    }

    fn name_of(self, leg: &LegRow, organisation: &Organisation) -> Option<Name> {
        Some((self, self.name(leg)?.to_owned(), organisation.currency))
    }

    /// The limit that holds around `at`, where one is set.
    fn most(self, books: &Books, leg: &LegRow, organisation: &Organisation, at: Wall) -> Option<Micros> {
        let caps = organisation.limits_at(at).caps;
        let share = |micros: Option<i64>| micros.map(|most| organisation.share(Micros(most), at));
        match self {
            Whose::Organiser => share(caps.organiser_day_micros),
            Whose::Meeting => share(caps.meeting_day_micros),
            Whose::Carrier => books.facts.carrier_day_limit(leg.carrier.as_ref()?, at),
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
    let sums = books.sums(&organisation.id).await?;
    let held = sums.held.0.saturating_add(sums.granted_held.0);
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
        let name = whose.name_of(leg, organisation);
        let Some((most, name)) = whose.most(books, leg, organisation, now).zip(name) else { continue };
        let day = whose.day(organisation, now)?;
        let used = used(books, &name, &day).await?;
        meet(most.0 - used, whose.refusal());
        met.push(Met { cause: whose.refusal(), name: name.1, day, most, used });
    }
    Ok(tightest)
}

/// Whether what a leg holds fits under the limit of the carrier that it has.
pub(super) async fn fits_carrier(
    books: &mut Books,
    leg: &LegRow,
    organisation: &Organisation,
    held: Micros,
    at: Wall,
) -> Result<bool, StoreError> {
    let name = Whose::Carrier.name_of(leg, organisation);
    let Some((most, name)) = Whose::Carrier.most(books, leg, organisation, at).zip(name) else { return Ok(true) };
    let day = Whose::Carrier.day(organisation, at)?;
    Ok(used(books, &name, &day).await?.saturating_add(held.0) <= most.0)
}

/// What was charged on a day, and is held now.
async fn used(books: &mut Books, name: &Name, day: &str) -> Result<i64, StoreError> {
    if let Some(counted) = books.sheet.counted.get(name) {
        return Ok(counted.on(day));
    }
    let row = sql::query("SELECT day, charged, held FROM spend_of WHERE whose = $1 AND name = $2 AND currency = $3");
    let row = row.bind(name.0.slug()).bind(&name.1).bind(name.2.as_str()).fetch_optional(&mut books.conn).await?;
    let mut counted = Counted::default();
    if let Some(row) = row {
        counted = Counted { day: row.try_get(0)?, charged: row.try_get(1)?, held: row.try_get(2)? };
        books.sheet.named.insert(name.clone());
    }
    if let Some(counting) = books.sheet.counting.get(name) {
        counted.charge(&counting.day, counting.charge);
        counted.held += counting.held;
    }
    let used = counted.on(day);
    books.sheet.counted.insert(name.clone(), counted);
    Ok(used)
}

/// Whose spending is counted, by name and currency.
pub(super) type Name = (Whose, String, Currency);

/// What counts towards somebody's limit: what was charged on their latest day, and what their legs hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub day: String,
    pub charged: i64,
    pub held: i64,
}

impl Counted {
    fn on(&self, day: &str) -> i64 {
        let charged = if self.day.as_str() >= day { self.charged } else { 0 };
        charged.saturating_add(self.held)
    }

    /// A charge of a day that is over counts to none that anybody asks for.
    fn charge(&mut self, day: &str, charge: i64) {
        if self.day.as_str() < day {
            (self.day, self.charged) = (day.to_owned(), 0);
        }
        if self.day == day {
            self.charged += charge;
        }
    }
}

/// What is counted of somebody and not in their row yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counting {
    pub day: String,
    pub charge: i64,
    pub held: i64,
    /// What was taken was taken under this limit, of this day.
    pub limit: Option<(i64, String)>,
}

impl Counting {
    /// Nothing that would change a row.
    pub fn is_nothing(&self) -> bool {
        self.charge == 0 && self.held == 0 && self.day.is_empty() && self.limit.is_none()
    }
}

impl Books {
    fn count(&mut self, name: Name, held: i64) -> &mut Counting {
        if let Some(counted) = self.sheet.counted.get_mut(&name) {
            counted.held += held;
        }
        let counting = self.sheet.counting.entry(name).or_default();
        counting.held += held;
        counting
    }

    /// A leg holds so much more, under the limits of the moment `at`, or so much less. All is counted, whether there is a
    /// limit or not: one that is set at noon knows the morning.
    pub fn count_held(
        &mut self,
        leg: &LegRow,
        organisation: &Organisation,
        held: Micros,
        at: Option<Wall>,
    ) -> Result<(), StoreError> {
        if held == Micros::ZERO {
            return Ok(());
        }
        Whose::ALL.into_iter().try_for_each(|whose| self.count_held_by(whose, leg, organisation, held, at))
    }

    /// The same of one of those whose spending is counted.
    pub fn count_held_by(
        &mut self,
        whose: Whose,
        leg: &LegRow,
        organisation: &Organisation,
        held: Micros,
        at: Option<Wall>,
    ) -> Result<(), StoreError> {
        let Some(name) = whose.name_of(leg, organisation) else { return Ok(()) };
        let limit = match at {
            Some(at) => whose
                .most(self, leg, organisation, at)
                .map(|most| whose.day(organisation, at).map(|day| (most.0, day)))
                .transpose()?,
            None => None,
        };
        let counting = self.count(name, held.0);
        counting.limit = limit.or(counting.limit.take());
        Ok(())
    }

    /// Counts what a leg cost to the day around `at`; gives the names of the days, of the organisation and of the world.
    pub fn count_charge(
        &mut self,
        leg: &LegRow,
        organisation: &Organisation,
        charge: Micros,
        at: Wall,
    ) -> Result<(String, String), StoreError> {
        for whose in Whose::ALL {
            let Some(name) = whose.name_of(leg, organisation) else { continue };
            let day = whose.day(organisation, at)?;
            if let Some(counted) = self.sheet.counted.get_mut(&name) {
                counted.charge(&day, charge.0);
            }
            let counting = self.count(name, 0);
            if counting.day < day {
                (counting.day, counting.charge) = (day, charge.0);
            } else if counting.day == day {
                counting.charge += charge.0;
            }
        }
        let day = day_of(at, &organisation.time_zone)?;
        self.sheet.spend(&organisation.id, &day, charge.0);
        Ok((day, day_of(at, "UTC")?))
    }

    /// Money charged on the day around `at`.
    pub async fn spent_on(&mut self, organisation: &Organisation, at: Wall) -> Result<Micros, StoreError> {
        let key = (organisation.id.clone(), day_of(at, &organisation.time_zone)?);
        if let Some(known) = self.sheet.days.get(&key) {
            return Ok(Micros(*known));
        }
        let row = sql::query("SELECT charged FROM spend WHERE organisation = $1 AND day = $2")
            .bind(organisation.id.as_str())
            .bind(&key.1)
            .fetch_optional(&mut self.conn)
            .await?;
        let written: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
        let all = written + self.sheet.unwritten(&organisation.id, Some(&key.1));
        self.sheet.days.insert(key, all);
        Ok(Micros(all))
    }

    /// All that was ever charged.
    async fn spent(&mut self, organisation: &Organisation) -> Result<Micros, StoreError> {
        if let Some(known) = self.sheet.charged.get(&organisation.id) {
            return Ok(Micros(*known));
        }
        let row = sql::query("SELECT CAST(COALESCE(SUM(charged), 0) AS BIGINT) FROM spend WHERE organisation = $1")
            .bind(organisation.id.as_str())
            .fetch_one(&mut self.conn)
            .await?;
        let all = row.try_get::<i64, _>(0)? + self.sheet.unwritten(&organisation.id, None);
        self.sheet.charged.insert(organisation.id.clone(), all);
        Ok(Micros(all))
    }
}

/// What a leg was charged has changed by `amount` since: its days have room again, or less of it.
pub(super) async fn correct(
    books: &mut Books,
    leg: &LegRow,
    organisation: &Organisation,
    (day, utc_day): (&str, &str),
    amount: i64,
) -> Result<(), StoreError> {
    for whose in Whose::ALL {
        let Some(name) = whose.name_of(leg, organisation) else { continue };
        let day = if whose == Whose::Carrier { utc_day } else { day };
        sql::query(
            "UPDATE spend_of SET charged = charged + $1 WHERE whose = $2 AND name = $3 AND currency = $4 AND day = $5",
        )
        .bind(amount)
        .bind(name.0.slug())
        .bind(&name.1)
        .bind(name.2.as_str())
        .bind(day)
        .execute(&mut books.conn)
        .await?;
    }
    Ok(())
}
