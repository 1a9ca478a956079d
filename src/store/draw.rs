//! Dated fundings, used first in, first out, and the path that money took: each entry that takes something out of them
//! says out of which, so that what comes back goes where it was.

use super::books::Books;
use super::facts::Organisation;
use super::fault::StoreError;
use super::sql::{self, Row};
use crate::clock::Wall;
use crate::rating::ledger::Kind;
use crate::types::{LegId, Micros, OrganisationId};
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use serde_json::json;
use std::collections::BTreeMap;

/// Fundings expire after this many months (research/microsoft-audio-conferencing.md, part 3).
const MONTHS: i64 = 12;

const DAY_MS: u64 = 86_400_000;

/// What no funding covers is drawn from the overdraft, under this name.
const OVERDRAFT: &str = "";

/// A funding as its row is, or will be once the sheet is written.
#[derive(Clone, Debug)]
pub(super) struct FundingCopy {
    pub key: String,
    pub remaining: i64,
    /// What the row has, as it was read or last written.
    pub written: i64,
}

impl FundingCopy {
    pub fn of((key, remaining): (String, i64)) -> FundingCopy {
        FundingCopy { key, remaining, written: remaining }
    }
}

/// What one entry takes out of fundings, or gives back to them.
pub(super) struct Draws<'a> {
    key: &'a str,
    leg: Option<LegId>,
    parts: BTreeMap<String, (i64, Option<i64>)>,
}

impl<'a> Draws<'a> {
    /// Of the ledger's entry `key`; `leg`, where a leg is what was paid.
    pub fn new(key: &'a str, leg: Option<LegId>) -> Draws<'a> {
        Draws { key, leg, parts: BTreeMap::new() }
    }

    fn put(&mut self, funding: &str, amount: i64, expires: Option<i64>) {
        let part = self.parts.entry(funding.to_owned()).or_default();
        part.0 += amount;
        part.1 = expires.or(part.1);
    }
}

/// A funding's key and an amount.
fn part(row: &Row) -> Result<(String, i64), StoreError> {
    Ok((row.try_get(0)?, row.try_get(1)?))
}

impl Books {
    fn keep(&mut self, draws: Draws<'_>) {
        let leg = draws.leg.map(|leg| leg.to_string());
        for (funding, (amount, expires)) in draws.parts.iter().filter(|(_, (amount, _))| *amount != 0) {
            self.sheet.draft.draws.push(json!([draws.key, funding, amount, leg, expires]));
        }
    }

    /// Fundings that are not used up, in the order of their use.
    async fn fundings(&mut self, organisation: &OrganisationId) -> Result<&mut Vec<FundingCopy>, StoreError> {
        if !self.sheet.fundings.contains_key(organisation) {
            // The account first: what another takes of the fundings shows there, when it is written.
            self.sums(organisation).await?;
            let rows = sql::query(
                "SELECT key, remaining FROM funding WHERE organisation = $1 AND remaining > 0 ORDER BY expires, key",
            );
            let rows = rows.bind(organisation.as_str()).fetch_all(&mut self.conn).await?;
            let copies = rows.iter().map(|row| part(row).map(FundingCopy::of)).collect::<Result<_, _>>()?;
            self.sheet.fundings.insert(organisation.clone(), copies);
        }
        Ok(self.sheet.fundings.entry(organisation.clone()).or_default())
    }

    /// Before rows of fundings are asked or changed themselves: they are what the copies were.
    async fn put_fundings_down(&mut self, organisation: &OrganisationId) -> Result<(), StoreError> {
        self.write().await?;
        self.sheet.fundings.remove(organisation);
        Ok(())
    }

    /// Takes `amount` out of a funding, or, below zero, gives it back.
    async fn draw(&mut self, funding: &str, amount: i64) -> Result<(), StoreError> {
        let changed = sql::query("UPDATE funding SET remaining = remaining - $1 WHERE key = $2")
            .bind(amount)
            .bind(funding)
            .execute(&mut self.conn)
            .await?;
        if changed == 1 { Ok(()) } else { Err(StoreError::Broken(format!("no funding {funding}"))) }
    }

    /// Uses up fundings, the oldest first. What they do not cover is the overdraft's.
    pub async fn use_fundings(
        &mut self,
        organisation: &OrganisationId,
        amount: Micros,
        mut draws: Draws<'_>,
    ) -> Result<(), StoreError> {
        let mut rest = amount.0;
        for funding in self.fundings(organisation).await? {
            let used = funding.remaining.min(rest);
            funding.remaining -= used;
            draws.put(&funding.key, used, None);
            rest -= used;
        }
        draws.put(OVERDRAFT, rest, None);
        self.keep(draws);
        Ok(())
    }

    /// A new funding, good for a year. What pays back an overdraft is used already.
    pub async fn date(
        &mut self,
        organisation: &OrganisationId,
        key: &str,
        amount: Micros,
        debt: Micros,
        at: Wall,
    ) -> Result<(), StoreError> {
        self.put_fundings_down(organisation).await?;
        let paid_back = debt.0.min(amount.0).max(0);
        let expires = good_until(at).ok_or_else(|| StoreError::broken("a moment out of the calendar"))?;
        sql::query(
            "INSERT INTO funding (key, organisation, amount, remaining, at, expires) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(key)
        .bind(organisation.as_str())
        .bind(amount.0)
        .bind(amount.0 - paid_back)
        .bind(at.micros())
        .bind(expires.micros())
        .execute(&mut self.conn)
        .await?;
        let mut draws = Draws::new(key, None);
        draws.put(key, paid_back, None);
        draws.put(OVERDRAFT, -paid_back, None);
        self.keep(draws);
        Ok(())
    }

    /// Gives `amount` back to the fundings from which `leg` was paid, the one used last first. A debt is paid back before
    /// all else. A funding that has expired since is open again for the organisation's number of days; where that is
    /// none, and where nobody knows the path, the money comes back as a new funding: it is never dropped.
    pub async fn give_back(
        &mut self,
        organisation: &Organisation,
        leg: LegId,
        key: &str,
        amount: Micros,
        debt: Micros,
        now: Wall,
    ) -> Result<(), StoreError> {
        self.put_fundings_down(&organisation.id).await?;
        let mut draws = Draws::new(key, Some(leg));
        let paid_back = debt.0.min(amount.0).max(0);
        draws.put(OVERDRAFT, -paid_back, None);
        let mut rest = amount.0 - paid_back;
        let path = sql::query(
            "SELECT funding.key, CAST(SUM(draw.amount) AS BIGINT), funding.amount - funding.remaining, funding.expires \
             FROM draw JOIN funding ON funding.key = draw.funding WHERE draw.leg = $1 \
             GROUP BY funding.key, funding.amount, funding.remaining, funding.expires HAVING SUM(draw.amount) > 0 \
             ORDER BY funding.expires DESC, funding.key DESC",
        )
        .bind(leg.to_string())
        .fetch_all(&mut self.conn)
        .await?;
        for row in path {
            let ((funding, taken), room, expires): (_, i64, i64) = (part(&row)?, row.try_get(2)?, row.try_get(3)?);
            let is_over = expires <= now.micros();
            let back = rest.min(taken).min(room);
            if back <= 0 || is_over && organisation.refund_days == 0 {
                continue;
            }
            let open_until = now.plus_millis(u64::from(organisation.refund_days) * DAY_MS).micros();
            if is_over {
                sql::query("UPDATE funding SET expires = $1 WHERE key = $2")
                    .bind(open_until)
                    .bind(&funding)
                    .execute(&mut self.conn)
                    .await?;
            }
            self.draw(&funding, -back).await?;
            draws.put(&funding, -back, is_over.then_some(open_until));
            rest -= back;
        }
        self.keep(draws);
        if rest > 0 { self.date(&organisation.id, key, Micros(rest), Micros::ZERO, now).await } else { Ok(()) }
    }

    /// Takes back fundings and grants that have expired, as far as no running leg holds them.
    pub async fn expire(&mut self, organisation: &Organisation, now: Wall) -> Result<(), StoreError> {
        self.lapse(organisation, now).await?;
        if !self.has_expired(&organisation.id, now).await? {
            return Ok(());
        }
        self.put_fundings_down(&organisation.id).await?;
        let due = sql::query(
            "SELECT key, remaining FROM funding WHERE organisation = $1 AND remaining > 0 AND expires <= $2 \
             ORDER BY expires, key",
        )
        .bind(organisation.id.as_str())
        .bind(now.micros())
        .fetch_all(&mut self.conn)
        .await?;
        for row in due {
            let (key, remaining) = part(&row)?;
            let available = self.sums(&organisation.id).await?.available();
            let gone = Micros(remaining.min(available.0.max(0)));
            if gone == Micros::ZERO || !self.shift(&organisation.id, Micros(-gone.0)).await? {
                return Ok(());
            }
            self.draw(&key, gone.0).await?;
            let entry = self.expiry_key(&key).await?;
            let mut draws = Draws::new(&entry, None);
            draws.put(&key, gone.0, None);
            self.keep(draws);
            self.book(organisation, (Kind::Available, Kind::Breakage), gone, entry, "expired", now).await?;
        }
        let next = sql::query("SELECT MIN(expires) FROM funding WHERE organisation = $1 AND remaining > 0");
        let next = next.bind(organisation.id.as_str()).fetch_one(&mut self.conn).await?;
        self.expires_next(&organisation.id, next.try_get(0)?).await
    }

    /// What is held is left behind, and what comes back may expire again: each part has a key of its own.
    async fn expiry_key(&mut self, funding: &str) -> Result<String, StoreError> {
        let row = sql::query("SELECT COUNT(*) FROM draw WHERE funding = $1").bind(funding);
        let draws: i64 = row.fetch_one(&mut self.conn).await?.try_get(0)?;
        Ok(format!("expire:{funding}:after-{draws}"))
    }
}

/// Until when a funding of the moment `at` is good.
pub(super) fn good_until(at: Wall) -> Option<Wall> {
    let stamp = Timestamp::from_microsecond(at.micros()).ok()?;
    let later = stamp.to_zoned_datetime(TimeZone::UTC).checked_add(MONTHS.months()).ok()?;
    Some(Wall::from_micros(later.timestamp().as_microsecond()))
}
