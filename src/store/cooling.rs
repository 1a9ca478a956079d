//! Cooling-off: a limit on spending that is raised is raised after a while. Whoever stole the way in raises limits first;
//! so the old limit holds on until somebody has had the time to see it, or says at once that it is meant. What is lowered
//! is lowered at once.

use super::books::Books;
use super::facts::{self, Facts, Limits, Organisation};
use super::fault::StoreError;
use super::rows::Line;
use super::sql::{self, Connection};
use super::trail::{self, Who};
use crate::clock::Wall;
use crate::rating::record::utc;
use crate::types::{Micros, OrganisationId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

macro_rules! cooled {
    ($($(#[$doc:meta])* $name:ident $key:literal [$($field:ident).+] $read:expr, $write:expr;)*) => {
        /// A limit whose raise waits.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum CooledLimit { $($(#[$doc])* $name,)* }

        impl CooledLimit {
            pub const ALL: &'static [CooledLimit] = &[$(CooledLimit::$name,)*];

            /// As a file for `apply` has it, below `limits`.
            pub const fn key(self) -> &'static str {
                match self { $(CooledLimit::$name => $key,)* }
            }

            /// In millionths, or percent; `None`: off.
            fn of(self, limits: &Limits) -> Option<i64> {
                match self { $(CooledLimit::$name => limits.$($field).+.map($read),)* }
            }

            fn put(self, limits: &mut Limits, amount: i64) {
                match self { $(CooledLimit::$name => limits.$($field).+ = Some($write(amount)),)* }
            }
        }
    };
}

const fn same(micros: i64) -> i64 {
    micros
}

const fn amount(micros: Micros) -> i64 {
    micros.0
}

fn percent(amount: i64) -> u32 {
    u32::try_from(amount).unwrap_or(0)
}

cooled! {
    Day "max_spend_per_day" [max_spend_per_day] amount, Micros;
    Leg "max_spend_per_leg" [max_spend_per_leg] amount, Micros;
    FirstDay "max_spend_first_day" [caps.first_day_micros] same, same;
    OrganiserDay "organiser_spend_per_day" [caps.organiser_day_micros] same, same;
    MeetingDay "meeting_spend_per_day" [caps.meeting_day_micros] same, same;
    Rate "max_rate_per_minute" [caps.rate_micros] same, same;
    Quiet "quiet_percent" [caps.quiet_percent] i64::from, percent;
}

impl CooledLimit {
    /// For people and programs; `None` is no limit.
    fn shown(self, amount: Option<i64>) -> Option<String> {
        amount.map(|amount| match self {
            CooledLimit::Quiet => format!("{amount}%"),
            _ => Micros(amount).to_text(),
        })
    }
}

impl std::str::FromStr for CooledLimit {
    type Err = String;
    fn from_str(text: &str) -> Result<CooledLimit, String> {
        let found = CooledLimit::ALL.iter().copied().find(|limit| limit.key() == text);
        let known = || CooledLimit::ALL.iter().map(|limit| limit.key()).collect::<Vec<_>>().join(", ");
        found.ok_or_else(|| format!("expected one of {}", known()))
    }
}

/// A limit that holds on although it was raised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeldLimit {
    limit: CooledLimit,
    amount: i64,
    until: Wall,
}

impl HeldLimit {
    const fn holds(&self, at: Wall) -> bool {
        at.micros() < self.until.micros()
    }
}

/// A raise that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingLimit {
    pub limit: CooledLimit,
    /// What holds until then, and what from then on; `None`: no limit.
    pub now: Option<String>,
    pub then: Option<String>,
    pub at: Wall,
}

impl Organisation {
    /// Its limits at a moment: as they were set, but for raises that wait.
    pub fn limits_at(&self, at: Wall) -> Limits {
        let mut limits = self.limits;
        for held in self.held.iter().filter(|held| held.holds(at)) {
            held.limit.put(&mut limits, held.amount);
        }
        limits
    }

    /// Raises that wait at a moment.
    pub fn pending_limits(&self, at: Wall) -> Vec<PendingLimit> {
        let pending = |held: &HeldLimit| PendingLimit {
            limit: held.limit,
            now: held.limit.shown(Some(held.amount)),
            then: held.limit.shown(held.limit.of(&self.limits)),
            at: held.until,
        };
        self.held.iter().filter(|held| held.holds(at)).map(pending).collect()
    }
}

/// What is to be held when an organisation's limits become others. A raise that waits already and is not made greater
/// waits no longer than it did.
fn held_after(before: &Organisation, after: &Limits, now: Wall, cooling_ms: u64) -> Vec<HeldLimit> {
    let in_force = before.limits_at(now);
    let mut held = Vec::new();
    for limit in CooledLimit::ALL {
        let (wanted, new) = (limit.of(&before.limits), limit.of(after));
        let Some(amount) = limit.of(&in_force) else { continue };
        if new.is_some_and(|new| new <= amount) {
            continue;
        }
        let waits = before.held.iter().find(|held| held.limit == *limit && held.holds(now));
        let is_no_greater = wanted.is_none() || new.is_some_and(|new| wanted.is_some_and(|wanted| new <= wanted));
        let until = match waits {
            Some(waits) if is_no_greater => waits.until,
            _ => now.plus_millis(cooling_ms),
        };
        held.push(HeldLimit { limit: *limit, amount, until });
    }
    held
}

/// Beside an organisation that is written.
pub(super) async fn write(
    conn: &mut Connection,
    before: Option<&Organisation>,
    after: &Organisation,
    now: Wall,
    cooling_ms: u64,
) -> Result<(), StoreError> {
    let Some(before) = before else { return Ok(()) };
    let held = held_after(before, &after.limits, now, cooling_ms);
    if held == before.held {
        return Ok(());
    }
    sql::query("DELETE FROM held_limit WHERE organisation = $1").bind(after.id.as_str()).execute(&mut *conn).await?;
    for held in held.iter().filter(|held| held.holds(now)) {
        sql::query("INSERT INTO held_limit (organisation, name, amount, until) VALUES ($1, $2, $3, $4)")
            .bind(after.id.as_str())
            .bind(held.limit.key())
            .bind(held.amount)
            .bind(held.until.micros())
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// What is held, beside the organisations whose limits they are.
pub(super) async fn load(
    conn: &mut Connection,
    organisations: &mut BTreeMap<OrganisationId, Organisation>,
) -> Result<(), StoreError> {
    let rows = sql::query("SELECT * FROM held_limit ORDER BY organisation, name").fetch_all(conn).await?;
    for row in &rows {
        let line = Line { row, table: "held_limit" };
        let held = HeldLimit {
            limit: line.parse("name")?,
            amount: line.number("amount")?,
            until: Wall::from_micros(line.number("until")?),
        };
        if let Some(organisation) = organisations.get_mut(&line.parse::<OrganisationId>("organisation")?) {
            organisation.held.push(held);
        }
    }
    // In the order of the table above, in which they are written too.
    organisations.values_mut().for_each(|organisation| organisation.held.sort_by_key(|held| held.limit));
    Ok(())
}

/// Raises that wait, for the trail.
pub(super) fn told(facts: &Facts, organisation: &OrganisationId, now: Wall) -> Vec<Value> {
    let pending = facts.organisations.get(organisation).map(|own| own.pending_limits(now)).unwrap_or_default();
    let told = |raise: &PendingLimit| {
        json!({
            "organisation": organisation.as_str(), "limit": raise.limit.key(), "now": raise.now, "then": raise.then,
            "at": utc(raise.at),
        })
    };
    pending.iter().map(told).collect()
}

/// Let raises that wait hold now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfirmLimits {
    pub organisation: OrganisationId,
    /// Which; all where none is named.
    pub limit: Option<CooledLimit>,
    pub reason: String,
    pub at: Wall,
}

/// Confirms them: those that there were.
pub(super) async fn confirm(
    books: &mut Books,
    (asked, who): &(ConfirmLimits, Who),
) -> Result<Vec<PendingLimit>, StoreError> {
    let before = books.facts.clone();
    let organisation = before.open_organisation(&asked.organisation);
    let organisation =
        organisation.ok_or_else(|| StoreError::Unknown(format!("organisation {}", asked.organisation)))?;
    let mut confirmed = organisation.pending_limits(asked.at);
    confirmed.retain(|raise| asked.limit.is_none_or(|named| named == raise.limit));
    if let (Some(named), true) = (asked.limit, confirmed.is_empty()) {
        return Err(StoreError::Unknown(format!("raise of {} that waits for {}", named.key(), asked.organisation)));
    }
    for raise in &confirmed {
        sql::query("DELETE FROM held_limit WHERE organisation = $1 AND name = $2")
            .bind(asked.organisation.as_str())
            .bind(raise.limit.key())
            .execute(&mut books.conn)
            .await?;
    }
    let loaded = facts::load(&mut books.conn, before.pins().clone(), before.version + 1, Some(&before)).await;
    books.facts = Arc::new(loaded?);
    let named: Vec<&str> = confirmed.iter().map(|raise| raise.limit.key()).collect();
    let detail = json!({ "limits": named, "reason": asked.reason });
    let (what, owner) = (format!("organisation {}", asked.organisation), Some(&asked.organisation));
    let step = trail::Step { at: asked.at, who, verb: "confirm", what, organisation: owner, detail };
    trail::write(books, step).await?;
    Ok(confirmed)
}
