//! Auto-recharge: money that is fetched before it runs out. Wanted, asked, then paid or declined; one at a time for an
//! organisation, under one key whatever happens, and not more on a day than its people have agreed to.

use super::books::{Books, day_of};
use super::credits;
use super::door::{Claim, Funds, FundsKind, Raise};
use super::facts::{Organisation, RechargeSettings};
use super::fault::StoreError;
use super::outbox::{self, LEASE_MS, raise};
use super::sql;
use crate::clock::Wall;
use crate::notice::{Errand, Kind, Payment, alert};
use crate::trunk::Pattern;
use crate::types::{Micros, OrganisationId};

/// How the key of each begins; nobody else may book under one.
pub(super) const KEY: &str = "recharge:";
/// A card that was declined is declined again a minute later: the next try comes after this.
const AFTER_DECLINED_US: i64 = 3_600 * 1_000_000;
/// While calls look like fraud no money is fetched for them.
const AFTER_FRAUD_US: i64 = 3_600 * 1_000_000;
/// So often asked without an answer, people are told; it is asked on.
const TOLD_AFTER: i64 = 5;
/// Settings that are gone: looked for again after this.
const WITHOUT_SETTINGS_MS: u64 = 3_600_000;
/// Whether a destination is still closed is looked at again after this.
const PAUSED_MS: u64 = 60_000;

/// Whether money runs away to numbers by which somebody earns. Other alarms may be a busy day, and stop nothing.
async fn looks_drained(books: &mut Books, organisation: &str, now: Wall) -> Result<bool, StoreError> {
    let told = sql::query("SELECT facts FROM alert WHERE organisation = $1 AND kind = $2 AND at > $3");
    let told = told.bind(organisation).bind(Kind::Fraud.slug()).bind(now.micros() - AFTER_FRAUD_US);
    for row in told.fetch_all(&mut books.conn).await? {
        let pattern = outbox::facts_of(&row)?.remove("pattern").unwrap_or_default();
        if Pattern::DRAINS.iter().any(|drain| drain.slug() == pattern) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Money is wanted, unless it is on its way, was declined, may be drained, a destination is closed for fraud, or it is
/// enough for a day.
pub(super) async fn want(
    books: &mut Books,
    organisation: &Organisation,
    settings: &RechargeSettings,
    available: Micros,
    now: Wall,
) -> Result<(), StoreError> {
    let id = organisation.id.as_str();
    let waits = sql::query(
        "SELECT COUNT(*) FROM recharge WHERE organisation = $1 \
         AND (state IN ('wanted', 'asked') OR (state = 'declined' AND ended > $2))",
    );
    let waits = waits.bind(id).bind(now.micros() - AFTER_DECLINED_US).fetch_one(&mut books.conn).await?;
    if waits.try_get::<i64, _>(0)? > 0 {
        return Ok(());
    }
    let day = day_of(now, &organisation.time_zone)?;
    if books.facts.is_blocked(&organisation.id, now) {
        let why =
            "a number known from fraud was called, and no money is fetched while a destination is closed for that";
        return refuse(books, organisation, settings, available, ("blocked", &day), why, now).await;
    }
    if looks_drained(books, id, now).await? {
        let why = "calls looked like fraud within the last hour, and no money is fetched for those";
        return refuse(books, organisation, settings, available, ("paused", &day), why, now).await;
    }
    let fetched = sql::query(
        "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM recharge \
         WHERE organisation = $1 AND day = $2 AND state <> 'declined'",
    );
    let fetched: i64 = fetched.bind(id).bind(&day).fetch_one(&mut books.conn).await?.try_get(0)?;
    if fetched.saturating_add(settings.amount.0) > settings.max_per_day.0 {
        let waits = organisation.recharge.as_ref().is_some_and(|set| set.max_per_day > settings.max_per_day);
        let until = if waits { " until a raise of it holds or is confirmed (tollbridge limits)" } else { "" };
        let why = format!("{} {} a day is the most{until}", settings.max_per_day, organisation.currency);
        return refuse(books, organisation, settings, available, ("capped", &day), &why, now).await;
    }
    // Two nodes may want it at once: the index lets one.
    let wanted = sql::query(
        "INSERT INTO recharge (key, organisation, amount, currency, state, day, at, next_at) \
         VALUES ($1, $2, $3, $4, 'wanted', $5, $6, $6) ON CONFLICT DO NOTHING",
    )
    .bind(format!("{KEY}{id}:{}", now.micros()))
    .bind(id)
    .bind(settings.amount.0)
    .bind(organisation.currency.as_str())
    .bind(&day)
    .bind(now.micros())
    .execute(&mut books.conn)
    .await?;
    books.outbox += wanted;
    Ok(())
}

/// Not even asked; told once a day.
async fn refuse(
    books: &mut Books,
    organisation: &Organisation,
    settings: &RechargeSettings,
    available: Micros,
    (word, day): (&str, &str),
    why: &str,
    now: Wall,
) -> Result<(), StoreError> {
    let failure = Failure { amount: settings.amount, available, key: "none: the hook was not asked", why };
    tell(books, organisation, format!("recharge-{word}:{}:{day}", organisation.id), failure, now).await
}

/// Why no money came.
struct Failure<'a> {
    amount: Micros,
    available: Micros,
    /// Of the attempt.
    key: &'a str,
    why: &'a str,
}

/// Told once an alert's key.
async fn tell(
    books: &mut Books,
    organisation: &Organisation,
    key: String,
    failure: Failure<'_>,
    now: Wall,
) -> Result<(), StoreError> {
    let facts = alert::facts([
        ("amount", failure.amount.to_text()),
        ("currency", organisation.currency.to_string()),
        ("available", failure.available.to_text()),
        ("reason", failure.why.to_owned()),
        ("key", failure.key.to_owned()),
    ]);
    let organisation = Some(organisation.id.clone());
    raise(books, &Raise { key, kind: Kind::RechargeFailed, organisation, at: now, facts }).await.map(drop)
}

/// Gives out payments to ask for. They are noted as asked before they are: after a crash the same key is asked again.
pub(super) async fn claim(books: &mut Books, asked: &Claim) -> Result<Vec<Errand>, StoreError> {
    let rows = sql::query(
        "SELECT key, organisation, amount, currency, tries, next_at, state FROM recharge \
         WHERE state IN ('wanted', 'asked') AND next_at <= $1 ORDER BY next_at, key LIMIT $2",
    );
    let rows = rows.bind(asked.now.micros()).bind(i64::from(asked.payments)).fetch_all(&mut books.conn).await?;
    let facts = books.facts.clone();
    let mut errands = Vec::new();
    for row in rows {
        let (key, next_at): (String, i64) = (row.try_get(0)?, row.try_get(5)?);
        let organisation: OrganisationId = row.try_get::<String, _>(1)?.parse().map_err(StoreError::broken)?;
        let settings = facts.organisations.get(&organisation).and_then(|known| known.recharge.as_ref());
        // What was asked is asked on, under its key: it may be paid. What was not waits until nothing is closed any more.
        let state: String = row.try_get(6)?;
        let is_paused = state == "wanted" && facts.is_blocked(&organisation, asked.now);
        let (wait_ms, state) = match settings {
            _ if is_paused => (PAUSED_MS, "wanted"),
            Some(_) => (LEASE_MS, "asked"),
            None => (WITHOUT_SETTINGS_MS, "asked"),
        };
        let ours = sql::query("UPDATE recharge SET state = $4, next_at = $1 WHERE key = $2 AND next_at = $3");
        let ours = ours.bind(asked.now.plus_millis(wait_ms).micros()).bind(&key).bind(next_at).bind(state);
        let ours = ours.execute(&mut books.conn).await? == 1;
        let Some(settings) = settings.filter(|_| ours && !is_paused) else { continue };
        errands.push(Errand::Payment(Payment {
            key,
            organisation,
            amount: Micros(row.try_get(2)?),
            currency: row.try_get::<String, _>(3)?.parse().map_err(StoreError::broken)?,
            hook: settings.hook.clone(),
            secret: settings.secret.clone(),
            tries: u32::try_from(row.try_get::<i64, _>(4)?).unwrap_or(u32::MAX),
        }));
    }
    Ok(errands)
}

/// An attempt that is not settled.
struct Running {
    organisation: Organisation,
    amount: Micros,
    tries: i64,
}

async fn running(books: &mut Books, key: &str) -> Result<Option<Running>, StoreError> {
    let row =
        sql::query("SELECT organisation, amount, tries FROM recharge WHERE key = $1 AND state IN ('wanted', 'asked')");
    let Some(row) = row.bind(key).fetch_optional(&mut books.conn).await? else { return Ok(None) };
    let organisation: OrganisationId = row.try_get::<String, _>(0)?.parse().map_err(StoreError::broken)?;
    let organisation = books.organisation(&organisation)?;
    Ok(Some(Running { organisation, amount: Micros(row.try_get(1)?), tries: row.try_get(2)? }))
}

/// Books what was paid, once: the funding has the attempt's key. Gives whose it is.
pub(super) async fn paid(books: &mut Books, key: &str, now: Wall) -> Result<Option<OrganisationId>, StoreError> {
    let Some(attempt) = running(books, key).await? else { return Ok(None) };
    let organisation = attempt.organisation;
    let funds = Funds {
        organisation: organisation.id.clone(),
        key: key.to_owned(),
        amount: attempt.amount,
        kind: FundsKind::Funding,
        memo: "recharge".to_owned(),
        at: now,
    };
    credits::book(books, &funds).await?;
    let done = sql::query(
        "UPDATE recharge SET state = 'paid', tries = tries + 1, ended = $1, last_error = NULL WHERE key = $2",
    );
    done.bind(now.micros()).bind(key).execute(&mut books.conn).await?;
    let available = books.sums(&organisation.id).await?.available();
    let raised = Raise {
        key: format!("recharge-done:{key}"),
        kind: Kind::RechargeDone,
        organisation: Some(organisation.id.clone()),
        at: now,
        facts: alert::facts([
            ("amount", attempt.amount.to_text()),
            ("currency", organisation.currency.to_string()),
            ("available", available.to_text()),
            ("key", key.to_owned()),
        ]),
    };
    raise(books, &raised).await?;
    Ok(Some(organisation.id))
}

pub(super) async fn declined(books: &mut Books, key: &str, why: &str, now: Wall) -> Result<(), StoreError> {
    let Some(attempt) = running(books, key).await? else { return Ok(()) };
    let why = alert::cut(why, 300);
    let done = sql::query(
        "UPDATE recharge SET state = 'declined', tries = tries + 1, ended = $1, last_error = $2 WHERE key = $3",
    );
    done.bind(now.micros()).bind(&why).bind(key).execute(&mut books.conn).await?;
    failed(books, &attempt, key, format!("it was declined ({why})"), now).await
}

/// It is not known whether it was paid.
pub(super) async fn open(books: &mut Books, key: &str, why: &str, again: Wall, now: Wall) -> Result<(), StoreError> {
    let Some(attempt) = running(books, key).await? else { return Ok(()) };
    let why = alert::cut(why, 300);
    let noted = sql::query("UPDATE recharge SET tries = tries + 1, next_at = $1, last_error = $2 WHERE key = $3");
    noted.bind(again.micros()).bind(&why).bind(key).execute(&mut books.conn).await?;
    if attempt.tries + 1 != TOLD_AFTER {
        return Ok(());
    }
    let why = format!("the payment hook gives no clear answer ({why}); it is asked again with the same key");
    failed(books, &attempt, key, why, now).await
}

async fn failed(books: &mut Books, attempt: &Running, key: &str, why: String, now: Wall) -> Result<(), StoreError> {
    let organisation = &attempt.organisation;
    let available = books.sums(&organisation.id).await?.available();
    let failure = Failure { amount: attempt.amount, available, key, why: &why };
    tell(books, organisation, format!("recharge-failed:{key}:{}", attempt.tries), failure, now).await
}
