//! Thresholds: what an organisation wants to be told when it is passed, and when money is fetched. Asked wherever what is
//! available changes, in the same transaction; of an organisation that wants nothing, nothing is asked, and of one whose
//! thresholds stand as they stood, no row.

use super::books::{Books, day_of, millis};
use super::door::{PoolState, Raise};
use super::facts::{AlertSettings, LowBalance, Organisation};
use super::fault::StoreError;
use super::grant::granted;
use super::outbox::raise;
use super::{recharge, sql};
use crate::clock::Wall;
use crate::notice::{Kind, alert};
use crate::rating::grant::{Part, Unit};
use crate::rating::{CallType, Grant};
use crate::types::{E164, Micros, OrganisationId};
use rust_decimal::Decimal;
use std::sync::Arc;

/// Money is fetched when what is there lasts no longer than this: the warning comes at five minutes, a hold is a minute,
/// and a payment takes a moment.
const FETCH_BEFORE_MS: u64 = 420_000;
/// What was looked at without effect (money is on its way, was declined) is looked at again after this.
const QUIET_US: i64 = 5 * 1_000_000;
/// A threshold is left when there is half as much again: holds that come and go about it must not tell it each time.
const LEFT: (i64, i64) = (3, 2);
/// Percent of the pool that are told of.
const POOL: [(i64, Kind); 2] = [(100, Kind::PoolGone), (80, Kind::PoolLow)];
/// Of a grant.
const GRANT: [(u64, Kind); 2] = [(100, Kind::GrantGone), (80, Kind::GrantLow)];
/// Days that a usual day is the middle one of, and the pace the mean, and with how many of them there is no usual.
const DAYS: usize = 7;
const TOO_FEW: usize = 3;

/// What was told of an organisation's thresholds, as its row is or will be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Levels {
    turn: i64,
    full: Micros,
    low: bool,
    days: bool,
    zero: bool,
    pool_month: i64,
    pool_told: i64,
    /// In memory alone.
    quiet_until: i64,
}

/// What has just been seen of an account.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// How long the money lasts a leg that has just been funded.
    pub funded_ms: Option<u64>,
    /// A leg was refused for want of credit.
    pub refused: bool,
}

/// What is available has changed.
pub(super) async fn money(
    books: &mut Books,
    organisation: &Organisation,
    seen: Seen,
    now: Wall,
) -> Result<(), StoreError> {
    if organisation.alerts.is_none() && organisation.recharge.is_none() {
        return Ok(());
    }
    let sums = books.sums(&organisation.id).await?;
    let available = sums.available();
    let mut levels = levels(books, &organisation.id).await?;
    let before = levels;
    // Who has never paid in lives on what is included: there is no balance to be low.
    if let Some(settings) = organisation.alerts.as_ref().filter(|_| sums.has_entries) {
        low(books, organisation, settings, available, &mut levels, now).await?;
        let is_zero = available <= Micros::ZERO || seen.refused;
        if is_zero && !levels.zero {
            levels.zero = true;
            let facts = account(organisation, available);
            tell(books, organisation, Kind::Zero, turn_key(Kind::Zero, organisation, &levels), facts, now).await?;
        }
    }
    let soon = seen.refused || seen.funded_ms.is_some_and(|funded_ms| funded_ms <= FETCH_BEFORE_MS);
    let is_due = organisation.recharge.as_ref().is_some_and(|settings| available < settings.trigger || soon);
    if is_due
        && levels.quiet_until <= now.micros()
        && let Some(settings) = organisation.recharge_at(now)
    {
        levels.quiet_until = now.micros() + QUIET_US;
        recharge::want(books, organisation, &settings, available, now).await?;
    }
    keep(books, &organisation.id, before, levels).await
}

async fn low(
    books: &mut Books,
    organisation: &Organisation,
    settings: &AlertSettings,
    available: Micros,
    levels: &mut Levels,
    now: Wall,
) -> Result<(), StoreError> {
    let Some(wanted) = settings.low_balance else { return Ok(()) };
    let threshold = wanted.of(levels.full);
    if levels.low && available.0 >= threshold.0.saturating_mul(LEFT.0) / LEFT.1 {
        (levels.low, levels.zero, levels.turn) = (false, false, levels.turn + 1);
    }
    if levels.low || available >= threshold {
        return Ok(());
    }
    levels.low = true;
    let mut facts = account(organisation, available);
    let words = match wanted {
        LowBalance::Amount(_) => format!("{threshold} {}", organisation.currency),
        LowBalance::Share(_) => {
            format!("{wanted} of the {} {} after the last payment", levels.full, organisation.currency)
        }
    };
    facts.extend(alert::facts([("threshold", words)]));
    tell(books, organisation, Kind::LowBalance, turn_key(Kind::LowBalance, organisation, levels), facts, now).await
}

/// Money came in: what is available now is the full balance, and every threshold of it was left.
pub(super) async fn paid_in(books: &mut Books, organisation: &Organisation, now: Wall) -> Result<(), StoreError> {
    if organisation.alerts.is_none() && organisation.recharge.is_none() {
        return Ok(());
    }
    let full = books.sums(&organisation.id).await?.available();
    let before = levels(books, &organisation.id).await?;
    let turn = before.turn + 1;
    let after = Levels { turn, full, low: false, days: false, zero: false, quiet_until: 0, ..before };
    keep(books, &organisation.id, before, after).await?;
    money(books, organisation, Seen::default(), now).await
}

/// Something was charged: is the day like others, and how many such days does the balance last?
pub(super) async fn spent(books: &mut Books, organisation: &Organisation, now: Wall) -> Result<(), StoreError> {
    let Some(settings) = &organisation.alerts else { return Ok(()) };
    if settings.low_days.is_none() && settings.unusual_spend.is_none() {
        return Ok(());
    }
    let today = day_of(now, &organisation.time_zone)?;
    let of_today = books.spent_on(organisation, now).await?.0;
    let before = before(books, &organisation.id, &today).await?;
    if before.len() < TOO_FEW {
        return Ok(());
    }
    let mean = before.iter().map(|charged| i128::from(*charged)).sum::<i128>() / before.len() as i128;
    let mean = Micros(i64::try_from(mean).unwrap_or(i64::MAX));
    // One dear day must not hide the next: the day in the middle is the usual one, of two the cheaper.
    let mut before = before.to_vec();
    before.sort_unstable();
    let usual = Micros(before[(before.len() - 1) / 2]);
    if let Some(times) = settings.unusual_spend
        && i128::from(of_today) > i128::from(usual.0) * i128::from(times)
    {
        let facts = alert::facts([
            ("spent", Micros(of_today).to_text()),
            ("currency", organisation.currency.to_string()),
            ("usual", usual.to_text()),
            ("times", times.to_string()),
        ]);
        let key = format!("{}:{}:{today}", Kind::SpendUnusual, organisation.id);
        tell(books, organisation, Kind::SpendUnusual, key, facts, now).await?;
    }
    match settings.low_days {
        Some(days) => few_days(books, organisation, days, mean, now).await,
        None => Ok(()),
    }
}

/// What the latest days but `today` have cost.
async fn before(books: &mut Books, organisation: &OrganisationId, today: &str) -> Result<Arc<Vec<i64>>, StoreError> {
    if let Some((_, known)) = books.sheet.usual.get(organisation).filter(|(day, _)| day == today) {
        return Ok(known.clone());
    }
    if books.sheet.unwritten(organisation, None) != books.sheet.unwritten(organisation, Some(today)) {
        books.write().await?;
    }
    let rows = sql::query("SELECT charged FROM spend WHERE organisation = $1 AND day <> $2 ORDER BY day DESC LIMIT $3");
    let rows = rows.bind(organisation.as_str()).bind(today).bind(DAYS as i64).fetch_all(&mut books.conn).await?;
    let days = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<i64>, _>>()?;
    let days = Arc::new(days);
    books.sheet.usual.insert(organisation.clone(), (today.to_owned(), days.clone()));
    Ok(days)
}

async fn few_days(
    books: &mut Books,
    organisation: &Organisation,
    days: u32,
    usual: Micros,
    now: Wall,
) -> Result<(), StoreError> {
    // Days are counted by what they cost, whoever paid it.
    let granted = granted(&books.grants(&organisation.id, now).await?, now);
    let available = books.sums(&organisation.id).await?.with(granted);
    let before = levels(books, &organisation.id).await?;
    let needed = i128::from(usual.0) * i128::from(days);
    let mut after = before;
    if before.days && i128::from(available.0) * i128::from(LEFT.1) >= needed * i128::from(LEFT.0) {
        (after.days, after.turn) = (false, before.turn + 1);
    }
    if !after.days && i128::from(available.0) < needed {
        after.days = true;
        let mut facts = account(organisation, available);
        facts.extend(alert::facts([("days", days.to_string()), ("a_day", usual.to_text())]));
        tell(books, organisation, Kind::LowDays, turn_key(Kind::LowDays, organisation, &after), facts, now).await?;
    }
    keep(books, &organisation.id, before, after).await
}

/// A pool has been taken from: told once a month at each step.
pub(super) async fn pool(
    books: &mut Books,
    organisation: &Organisation,
    pool: PoolState,
    now: Wall,
) -> Result<(), StoreError> {
    if organisation.alerts.is_none() || pool.granted_ms == 0 {
        return Ok(());
    }
    let taken = u128::from(pool.used_ms + pool.held_ms) * 100;
    let reached = |(percent, _): &&(i64, Kind)| taken >= u128::from(pool.granted_ms) * percent.unsigned_abs() as u128;
    let Some((percent, kind)) = POOL.iter().find(reached) else { return Ok(()) };
    let before = levels(books, &organisation.id).await?;
    let told = if before.pool_month == pool.month.micros() { before.pool_told } else { 0 };
    if *percent <= told {
        return Ok(());
    }
    let after = Levels { pool_month: pool.month.micros(), pool_told: *percent, ..before };
    let minutes = |ms: u64| (ms / 60_000).to_string();
    let facts = alert::facts([
        ("used_minutes", minutes(pool.used_ms + pool.held_ms)),
        ("granted_minutes", minutes(pool.granted_ms)),
    ]);
    let key = format!("{kind}:{}:{}", organisation.id, pool.month.micros());
    tell(books, organisation, *kind, key, facts, now).await?;
    keep(books, &organisation.id, before, after).await
}

/// A hold has been taken from grants: told once a grant at each step, when the hold has passed it.
pub(super) async fn grants(
    books: &mut Books,
    organisation: &Organisation,
    (grants, taken): (&[Grant], &[Part]),
    now: Wall,
) -> Result<(), StoreError> {
    if organisation.alerts.is_none() {
        return Ok(());
    }
    for part in taken {
        let Some(grant) = grants.iter().find(|grant| Some(&grant.id) == part.bucket.grant()) else { continue };
        let left = grant.left.saturating_sub(part.amount);
        let is_past = |left: u64, percent: u64| {
            u128::from(grant.amount - left.min(grant.amount)) * 100 >= u128::from(grant.amount) * u128::from(percent)
        };
        let passed = |(percent, _): &&(u64, Kind)| is_past(left, *percent) && !is_past(grant.left, *percent);
        let Some((_, kind)) = GRANT.iter().find(passed) else { continue };
        let mut facts = alert::facts([("grant", grant.id.to_string())]);
        if *kind == Kind::GrantLow {
            let (left, unit) = match grant.unit {
                Unit::Seconds => ((left / 1_000).to_string(), "s".to_owned()),
                Unit::Money => (Micros(millis(left)).to_text(), organisation.currency.to_string()),
            };
            facts.extend(alert::facts([("left", left), ("unit", unit)]));
        }
        tell(books, organisation, *kind, format!("{kind}:{}", grant.id), facts, now).await?;
    }
    Ok(())
}

/// A call without a price, or with one that cannot be read: told once a day and country.
pub(super) async fn price(
    books: &mut Books,
    organisation: &Organisation,
    kind: Kind,
    (call_type, number): (CallType, &E164),
    now: Wall,
) -> Result<(), StoreError> {
    let number = number.to_string();
    let country: String = number.chars().take(4).collect();
    let day = day_of(now, &organisation.time_zone)?;
    let key = format!("{kind}:{}:{day}:{}:{country}", organisation.id, call_type.slug());
    let facts = alert::facts([(alert::NUMBER, number), ("call_type", call_type.slug().to_owned())]);
    tell(books, organisation, kind, key, facts, now).await
}

fn turn_key(kind: Kind, organisation: &Organisation, levels: &Levels) -> String {
    format!("{kind}:{}:{}", organisation.id, levels.turn)
}

fn account(organisation: &Organisation, available: Micros) -> alert::Facts {
    alert::facts([("available", available.to_text()), ("currency", organisation.currency.to_string())])
}

async fn tell(
    books: &mut Books,
    organisation: &Organisation,
    kind: Kind,
    key: String,
    facts: alert::Facts,
    at: Wall,
) -> Result<(), StoreError> {
    raise(books, &Raise { key, kind, organisation: Some(organisation.id.clone()), at, facts }).await.map(drop)
}

async fn levels(books: &mut Books, organisation: &OrganisationId) -> Result<Levels, StoreError> {
    if let Some(levels) = books.sheet.levels.get(organisation) {
        return Ok(*levels);
    }
    let row = sql::query(
        "SELECT turn, full_balance, low, days, zero, pool_month, pool_told FROM alert_level WHERE organisation = $1",
    );
    let row = row.bind(organisation.as_str()).fetch_optional(&mut books.conn).await?;
    let levels = match row {
        Some(row) => read(&row)?,
        // The first look: what there is now is the full balance.
        None => {
            let first = Levels { full: books.sums(organisation).await?.available(), ..Levels::default() };
            write(books, organisation, first).await?;
            first
        }
    };
    books.sheet.levels.insert(organisation.clone(), levels);
    Ok(levels)
}

fn read(row: &sql::Row) -> Result<Levels, StoreError> {
    let flag = |column: usize| row.try_get::<i64, _>(column).map(|flag| flag == 1);
    Ok(Levels {
        turn: row.try_get(0)?,
        full: Micros(row.try_get(1)?),
        low: flag(2)?,
        days: flag(3)?,
        zero: flag(4)?,
        pool_month: row.try_get(5)?,
        pool_told: row.try_get(6)?,
        quiet_until: 0,
    })
}

/// Reads what was told of many, where they want to be told.
pub(super) async fn look_ahead<'a>(
    books: &mut Books,
    organisations: impl Iterator<Item = &'a Organisation>,
) -> Result<(), StoreError> {
    let wants = |one: &&Organisation| one.alerts.is_some() || one.recharge.is_some();
    let unknown = organisations.filter(wants).map(|one| &one.id).filter(|id| !books.sheet.levels.contains_key(*id));
    let unknown: Vec<[&str; 1]> = unknown.map(|id| [id.as_str()]).collect();
    if unknown.len() < 2 {
        return Ok(());
    }
    let rows = sql::query(
        "SELECT turn, full_balance, low, days, zero, pool_month, pool_told, alert_level.organisation \
         FROM json_each($1) JOIN alert_level ON alert_level.organisation = value ->> 0",
    );
    let asked = serde_json::to_string(&unknown).map_err(StoreError::broken)?;
    for row in rows.bind(asked).fetch_all(&mut books.conn).await? {
        let organisation = row.try_get::<String, _>(7)?.parse().map_err(StoreError::broken)?;
        books.sheet.levels.insert(organisation, read(&row)?);
    }
    Ok(())
}

async fn keep(
    books: &mut Books,
    organisation: &OrganisationId,
    before: Levels,
    after: Levels,
) -> Result<(), StoreError> {
    books.sheet.levels.insert(organisation.clone(), after);
    if (Levels { quiet_until: 0, ..before }) == (Levels { quiet_until: 0, ..after }) {
        return Ok(());
    }
    write(books, organisation, after).await
}

async fn write(books: &mut Books, organisation: &OrganisationId, levels: Levels) -> Result<(), StoreError> {
    sql::query(
        "INSERT INTO alert_level (organisation, turn, full_balance, low, days, zero, pool_month, pool_told) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (organisation) DO UPDATE SET turn = excluded.turn, \
         full_balance = excluded.full_balance, low = excluded.low, days = excluded.days, zero = excluded.zero, \
         pool_month = excluded.pool_month, pool_told = excluded.pool_told",
    )
    .bind(organisation.as_str())
    .bind(levels.turn)
    .bind(levels.full.0)
    .bind(levels.low)
    .bind(levels.days)
    .bind(levels.zero)
    .bind(levels.pool_month)
    .bind(levels.pool_told)
    .execute(&mut books.conn)
    .await?;
    Ok(())
}

impl LowBalance {
    /// The threshold, of a full balance of so much.
    pub(super) fn of(self, full: Micros) -> Micros {
        match self {
            LowBalance::Amount(amount) => amount,
            LowBalance::Share(percent) => {
                let share = full.to_decimal() * Decimal::from(percent) / Decimal::ONE_HUNDRED;
                Micros::from_decimal(share.trunc_with_scale(6)).unwrap_or_default()
            }
        }
    }
}
