//! Cooling-off: a limit on spending that is raised is raised after a while. Whoever stole the way in raises limits first;
//! so the old limit holds on until somebody has had the time to see it, or says at once that it is meant. What is lowered
//! is lowered at once. So it is with what an organisation or a carrier may spend, and with what recharges may fetch.

use super::books::Books;
use super::facts::{self, Facts, Limits, Organisation, RechargeSettings};
use super::fault::StoreError;
use super::rows::Line;
use super::sql::{self, Connection};
use super::trail::{self, Who};
use crate::clock::Wall;
use crate::rating::record::utc;
use crate::trunk::Carrier;
use crate::types::{CarrierId, Micros, OrganisationId};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

macro_rules! cooled {
    ($($(#[$doc:meta])* $name:ident $key:literal [$($field:ident).+] $read:expr, $write:expr;)*) => {
        /// A limit whose raise waits.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum CooledLimit {
            $($(#[$doc])* $name,)*
            /// What recharges fetch a day: none, where there are none.
            RechargeDay,
        }

        impl CooledLimit {
            pub const ALL: &'static [CooledLimit] = &[$(CooledLimit::$name,)* CooledLimit::RechargeDay];

            /// As a file for `apply` has it, below `limits` where nothing else is said.
            pub const fn key(self) -> &'static str {
                match self {
                    $(CooledLimit::$name => $key,)*
                    CooledLimit::RechargeDay => "recharge.max_per_day",
                }
            }

            /// In millionths, or percent; `None`: off.
            fn of(self, own: &Organisation) -> Option<i64> {
                match self {
                    $(CooledLimit::$name => own.limits.$($field).+.map($read),)*
                    CooledLimit::RechargeDay => Some(own.recharge.as_ref().map_or(0, |wish| wish.max_per_day.0)),
                }
            }

            fn put(self, limits: &mut Limits, amount: i64) {
                match self {
                    $(CooledLimit::$name => limits.$($field).+ = Some($write(amount)),)*
                    CooledLimit::RechargeDay => {}
                }
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

    /// That `then` comes in its place.
    fn pending(&self, then: Option<i64>) -> PendingLimit {
        let shown = |amount| self.limit.shown(amount);
        PendingLimit { limit: self.limit, now: shown(Some(self.amount)), then: shown(then), at: self.until }
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
        let held = self.held.iter().filter(|held| held.holds(at));
        held.map(|held| held.pending(held.limit.of(self))).collect()
    }

    fn held(&self, limit: CooledLimit, at: Wall) -> Option<&HeldLimit> {
        self.held.iter().find(|held| held.limit == limit && held.holds(at))
    }

    /// How money is fetched at a moment: as it was set, but for a raise of its cap that waits.
    pub fn recharge_at(&self, at: Wall) -> Option<RechargeSettings> {
        let set = self.recharge.clone()?;
        let held = self.held(CooledLimit::RechargeDay, at);
        Some(RechargeSettings { max_per_day: held.map_or(set.max_per_day, |held| Micros(held.amount)), ..set })
    }
}

impl Facts {
    fn held_of_carrier(&self, carrier: &CarrierId, at: Wall) -> Option<&HeldLimit> {
        self.held_of_carriers.get(carrier).filter(|held| held.holds(at))
    }

    /// What the legs of a carrier may spend a day, at a moment: as it was set, but for a raise that waits.
    pub fn carrier_day_limit(&self, carrier: &CarrierId, at: Wall) -> Option<Micros> {
        let set = self.directory.carrier(carrier)?.max_spend_per_day;
        self.held_of_carrier(carrier, at).map_or(set, |held| Some(Micros(held.amount)))
    }

    /// Raises that wait at a moment, of an organisation or a carrier that there is.
    pub fn pending_limits(&self, of: &LimitsOf, at: Wall) -> Option<Vec<PendingLimit>> {
        match of {
            LimitsOf::Organisation(id) => Some(self.open_organisation(id)?.pending_limits(at)),
            LimitsOf::Carrier(id) => {
                let then = self.directory.carrier(id)?.max_spend_per_day.map(amount);
                Some(self.held_of_carrier(id, at).map(|held| held.pending(then)).into_iter().collect())
            }
        }
    }
}

/// A limit that was `wanted`, and may be held lower still (`waits`), is to be `new`: what of it is held, and until when. A raise
/// that waits already and is not made greater waits no longer than it did.
fn held_after(
    limit: CooledLimit,
    (wanted, waits): (Option<i64>, Option<&HeldLimit>),
    new: Option<i64>,
    (now, cooling_ms): (Wall, u64),
) -> Option<HeldLimit> {
    let amount = waits.map(|held| held.amount).or(wanted)?;
    if new.is_some_and(|new| new <= amount) {
        return None;
    }
    let is_no_greater = wanted.is_none() || new.is_some_and(|new| wanted.is_some_and(|wanted| new <= wanted));
    let until = match waits {
        Some(waits) if is_no_greater => waits.until,
        _ => now.plus_millis(cooling_ms),
    };
    Some(HeldLimit { limit, amount, until })
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
    let of_one = |limit: &CooledLimit| {
        let was = (limit.of(before), before.held(*limit, now));
        held_after(*limit, was, limit.of(after), (now, cooling_ms))
    };
    let held: Vec<HeldLimit> = CooledLimit::ALL.iter().filter_map(of_one).collect();
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

/// Beside a carrier that is written.
pub(super) async fn write_of_carrier(
    conn: &mut Connection,
    before: &Facts,
    after: &Carrier,
    now: Wall,
    cooling_ms: u64,
) -> Result<(), StoreError> {
    // One that was removed a while ago has left its limit.
    let known = before.directory.carrier(&after.id).and_then(|known| known.max_spend_per_day);
    let was = (known.map(amount), before.held_of_carrier(&after.id, now));
    let held = held_after(CooledLimit::Day, was, after.max_spend_per_day.map(amount), (now, cooling_ms));
    let id = after.id.as_str();
    sql::query("DELETE FROM held_carrier_limit WHERE carrier = $1").bind(id).execute(&mut *conn).await?;
    if let Some(held) = held.filter(|held| held.holds(now)) {
        let insert = sql::query("INSERT INTO held_carrier_limit (carrier, amount, until) VALUES ($1, $2, $3)");
        insert.bind(id).bind(held.amount).bind(held.until.micros()).execute(&mut *conn).await?;
    }
    Ok(())
}

/// A carrier that is removed leaves its limit for as long as a raise of it would wait: made again, it has no higher one sooner.
pub(super) async fn leave_of_carrier(books: &mut Books, id: &CarrierId, now: Wall) -> Result<(), StoreError> {
    let limit = books.facts.carrier_day_limit(id, now);
    let old = sql::query("DELETE FROM held_carrier_limit WHERE carrier = $1 OR until <= $2");
    old.bind(id.as_str()).bind(now.micros()).execute(&mut books.conn).await?;
    let Some(limit) = limit.filter(|_| books.cooling_ms > 0) else { return Ok(()) };
    let insert = sql::query("INSERT INTO held_carrier_limit (carrier, amount, until) VALUES ($1, $2, $3)");
    let insert = insert.bind(id.as_str()).bind(limit.0).bind(now.plus_millis(books.cooling_ms).micros());
    insert.execute(&mut books.conn).await?;
    Ok(())
}

/// What is held of carriers' limits.
pub(super) async fn load_of_carriers(conn: &mut Connection) -> Result<HashMap<CarrierId, HeldLimit>, StoreError> {
    let rows = sql::query("SELECT * FROM held_carrier_limit").fetch_all(conn).await?;
    let read = |row| {
        let line = Line { row, table: "held_carrier_limit" };
        let (amount, until) = (line.number("amount")?, Wall::from_micros(line.number("until")?));
        Ok((line.parse("carrier")?, HeldLimit { limit: CooledLimit::Day, amount, until }))
    };
    rows.iter().map(read).collect::<Result<_, String>>().map_err(StoreError::Broken)
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
pub(super) fn told(facts: &Facts, of: &LimitsOf, now: Wall) -> Vec<Value> {
    let (kind, name) = of.words();
    let told = |raise: &PendingLimit| {
        json!({
            kind: name, "limit": raise.limit.key(), "now": raise.now, "then": raise.then, "at": utc(raise.at),
        })
    };
    facts.pending_limits(of, now).unwrap_or_default().iter().map(told).collect()
}

/// Whose limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitsOf {
    Organisation(OrganisationId),
    Carrier(CarrierId),
}

impl LimitsOf {
    fn words(&self) -> (&'static str, &str) {
        match self {
            LimitsOf::Organisation(id) => ("organisation", id.as_str()),
            LimitsOf::Carrier(id) => ("carrier", id.as_str()),
        }
    }
}

/// `organisation acme`, `carrier line`.
impl fmt::Display for LimitsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = self.words();
        write!(f, "{kind} {name}")
    }
}

/// Let raises that wait hold now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfirmLimits {
    pub of: LimitsOf,
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
    let pending = before.pending_limits(&asked.of, asked.at);
    let mut confirmed = pending.ok_or_else(|| StoreError::Unknown(asked.of.to_string()))?;
    confirmed.retain(|raise| asked.limit.is_none_or(|named| named == raise.limit));
    if let (Some(named), true) = (asked.limit, confirmed.is_empty()) {
        return Err(StoreError::Unknown(format!("raise of {} that waits for {}", named.key(), asked.of.words().1)));
    }
    for raise in &confirmed {
        let (delete, name) = match &asked.of {
            LimitsOf::Organisation(id) => {
                let of_one = sql::query("DELETE FROM held_limit WHERE name = $1 AND organisation = $2");
                (of_one.bind(raise.limit.key()), id.as_str())
            }
            LimitsOf::Carrier(id) => (sql::query("DELETE FROM held_carrier_limit WHERE carrier = $1"), id.as_str()),
        };
        delete.bind(name).execute(&mut books.conn).await?;
    }
    let loaded = facts::load(&mut books.conn, before.pins().clone(), before.version + 1, Some(&before)).await;
    books.facts = Arc::new(loaded?);
    let named: Vec<&str> = confirmed.iter().map(|raise| raise.limit.key()).collect();
    let detail = json!({ "limits": named, "reason": asked.reason });
    let organisation = match &asked.of {
        LimitsOf::Organisation(id) => Some(id),
        LimitsOf::Carrier(_) => None,
    };
    let step = trail::Step { at: asked.at, who, verb: "confirm", what: asked.of.to_string(), organisation, detail };
    trail::write(books, step).await?;
    Ok(confirmed)
}
