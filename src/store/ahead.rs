//! What the requests of a batch are going to ask of the rows, asked at once: a statement a table, however many legs and
//! organisations are in it. What is not found, or is asked all the same, each request asks for itself.

use super::books::{ACCOUNTS, Books, PoolCopy, account_copy, state_of};
use super::draw::FundingCopy;
use super::facts::Organisation;
use super::fault::StoreError;
use super::grant;
use super::job::Job;
use super::leg;
use super::rows::Line;
use super::sheet::{Asked, Kept};
use super::sql::{self, Row};
use super::threshold;
use crate::clock::Wall;
use crate::rating::pool::month_of;
use crate::types::{LegId, MeetingId, OrganisationId};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// With fewer of them each asks for itself: a list costs a little more than a name.
const FEW: usize = 2;

const LEGS: &str = "SELECT leg.* FROM json_each($1) JOIN leg ON leg.id = value ->> 0";

const STEPS: &str =
    "SELECT hold.leg, step, request, credit, until_ms FROM json_each($1) JOIN hold ON hold.leg = value ->> 0";

const POOLS: &str = "SELECT granted_ms, used_ms, held_ms, legs, pool.organisation, month FROM json_each($1) \
     JOIN pool ON pool.organisation = value ->> 0 AND pool.month = CAST(value ->> 1 AS BIGINT)";

const FUNDINGS: &str = "SELECT funding.key, remaining, funding.organisation FROM json_each($1) \
     JOIN funding ON funding.organisation = value ->> 0 WHERE remaining > 0 ORDER BY expires, funding.key";

/// Whom a request is about, and when.
struct About<'a> {
    leg: LegId,
    /// Of a leg that is there.
    is_known: bool,
    /// It ends.
    ends: bool,
    meeting: Option<&'a MeetingId>,
    at: Wall,
}

impl Job {
    fn about(&self) -> Option<About<'_>> {
        let running = |leg: LegId, at: Wall| About { leg, is_known: true, ends: false, meeting: None, at };
        Some(match self {
            Job::Open(asked, _) => {
                About { is_known: false, meeting: asked.meeting.as_ref(), ..running(asked.leg, asked.invited) }
            }
            Job::Payer(asked, _) => About { meeting: Some(&asked.meeting), ..running(asked.leg, asked.now) },
            Job::Answer(asked, _) => running(asked.leg, asked.at),
            Job::Lead(leg, _) => running(**leg, Wall::default()),
            Job::Reroute(asked, _) => running(asked.leg, Wall::default()),
            Job::Extend(asked, _) => running(asked.leg, asked.now),
            Job::Settle(asked, _) => About { ends: true, ..running(asked.leg, asked.end.at) },
            _ => return None,
        })
    }
}

/// Names as the statements above take them.
fn list<T>(names: impl IntoIterator<Item = T>, words: impl Fn(T) -> Value) -> String {
    Value::Array(names.into_iter().map(words).collect()).to_string()
}

impl Books {
    /// Reads what the requests of a run will need and nobody knows yet.
    pub async fn look_ahead(&mut self, run: &[Job]) -> Result<(), StoreError> {
        self.sheet.steps.clear();
        self.sheet.fresh.clear();
        if run.len() < FEW {
            return Ok(());
        }
        let about: Vec<About<'_>> = run.iter().filter_map(Job::about).collect();
        self.look_for_legs(&about).await?;
        let facts = self.facts.clone();
        // Whose accounts move, at which moment, and whether a new leg asks or one ends.
        let mut payers: BTreeMap<&OrganisationId, Payer<'_>> = BTreeMap::new();
        for one in &about {
            let of_leg = self.sheet.leg(one.leg).and_then(|kept| kept.row.organisation.as_ref());
            let of_leg = of_leg.and_then(|id| facts.organisations.get(id));
            let of_meeting = one.meeting.and_then(|meeting| facts.payer_of(meeting)).map(|(_, payer)| payer);
            let Some(organisation) = of_meeting.or(of_leg) else { continue };
            let payer = payers.entry(&organisation.id).or_insert(Payer::new(organisation, one.at));
            payer.begins |= of_meeting.is_some();
            payer.ends |= one.ends;
        }
        self.look_for_accounts(&payers).await?;
        self.look_for_pools(&payers).await?;
        self.look_for_grants(&payers).await?;
        self.look_for_fundings(&payers).await?;
        threshold::look_ahead(self, payers.values().map(|payer| payer.organisation)).await
    }

    async fn look_for_legs(&mut self, about: &[About<'_>]) -> Result<(), StoreError> {
        let known = about.iter().filter(|one| one.is_known);
        let new: BTreeSet<LegId> =
            known.clone().filter(|one| self.sheet.leg(one.leg).is_none()).map(|one| one.leg).collect();
        let end: BTreeSet<LegId> = known.filter(|one| one.ends).map(|one| one.leg).collect();
        let mut kept = BTreeMap::new();
        if new.len() >= FEW {
            let rows = sql::query(LEGS).bind(list(&new, |leg| json!([leg.to_string()])));
            for row in rows.fetch_all(&mut self.conn).await? {
                let leg = leg::read(&Line { row: &row, table: "leg" }).map_err(StoreError::Broken)?;
                kept.insert(leg.id, Kept::new(leg));
            }
        }
        let asked: BTreeSet<LegId> = kept.keys().chain(&end).copied().collect();
        if asked.len() >= FEW {
            let rows = sql::query(STEPS).bind(list(&asked, |leg| json!([leg.to_string()])));
            for leg in &end {
                self.sheet.steps.insert(*leg, Vec::new());
            }
            for row in rows.fetch_all(&mut self.conn).await? {
                let leg: LegId = Line { row: &row, table: "hold" }.parse("leg").map_err(StoreError::Broken)?;
                let asked = Asked::read(&row)?;
                if let Some(kept) = kept.get_mut(&leg) {
                    kept.note(&asked.step);
                }
                if let Some(steps) = self.sheet.steps.get_mut(&leg) {
                    steps.push(asked);
                }
            }
            kept.into_values().for_each(|kept| self.sheet.keep(kept));
        }
        Ok(())
    }

    async fn look_for_accounts(&mut self, payers: &BTreeMap<&OrganisationId, Payer<'_>>) -> Result<(), StoreError> {
        let unknown: Vec<_> = payers.keys().filter(|id| !self.sheet.accounts.contains_key(**id)).collect();
        if unknown.len() < FEW {
            return Ok(());
        }
        let rows = sql::query(ACCOUNTS).bind(list(unknown, |id| json!([id.as_str()])));
        for row in rows.fetch_all(&mut self.conn).await? {
            let id = payer(&row, "organisation")?;
            self.sheet.fresh.insert(id.clone());
            self.sheet.accounts.insert(id, account_copy(&row)?);
        }
        Ok(())
    }

    async fn look_for_pools(&mut self, payers: &BTreeMap<&OrganisationId, Payer<'_>>) -> Result<(), StoreError> {
        let mut unknown = Vec::new();
        for payer in payers.values().filter(|payer| payer.begins) {
            let organisation = payer.organisation;
            let (month, _) = month_of(payer.at, &organisation.time_zone).map_err(StoreError::broken)?;
            let key = (organisation.id.clone(), month.micros());
            if !self.sheet.pools.contains_key(&key) {
                unknown.push(key);
            }
        }
        if unknown.len() < FEW {
            return Ok(());
        }
        let rows = sql::query(POOLS).bind(list(unknown, |(id, month)| json!([id.as_str(), month])));
        for row in rows.fetch_all(&mut self.conn).await? {
            let month: i64 = row.try_get(5)?;
            let state = state_of(&row, Wall::from_micros(month))?;
            self.sheet.pools.insert((payer(&row, "organisation")?, month), PoolCopy::of(state));
        }
        Ok(())
    }

    async fn look_for_grants(&mut self, payers: &BTreeMap<&OrganisationId, Payer<'_>>) -> Result<(), StoreError> {
        let is_stale = |payer: &&Payer<'_>| {
            let known = self.sheet.grants.get(&payer.organisation.id);
            !known.is_some_and(|(read, _)| grant::is_fresh(*read, payer.at))
        };
        let unknown: Vec<&Payer<'_>> = payers.values().filter(is_stale).collect();
        if unknown.len() < FEW {
            return Ok(());
        }
        let asked = list(&unknown, |payer| json!([payer.organisation.id.as_str()]));
        let mut found = grant::of_many(&mut self.conn, asked).await?;
        for payer in unknown {
            let grants = found.remove(&payer.organisation.id).unwrap_or_default();
            self.sheet.grants.insert(payer.organisation.id.clone(), (payer.at, Arc::new(grants)));
        }
        Ok(())
    }

    async fn look_for_fundings(&mut self, payers: &BTreeMap<&OrganisationId, Payer<'_>>) -> Result<(), StoreError> {
        let ends = payers.values().filter(|payer| payer.ends).map(|payer| &payer.organisation.id);
        // After the account, as ever.
        let unknown: Vec<_> =
            ends.filter(|id| !self.sheet.fundings.contains_key(*id) && self.sheet.accounts.contains_key(*id)).collect();
        if unknown.len() < FEW {
            return Ok(());
        }
        let rows = sql::query(FUNDINGS).bind(list(&unknown, |id| json!([id.as_str()])));
        let rows = rows.fetch_all(&mut self.conn).await?;
        for id in unknown {
            self.sheet.fundings.insert(id.clone(), Vec::new());
        }
        for row in rows {
            let copy = FundingCopy::of((row.try_get(0)?, row.try_get(1)?));
            self.sheet.fundings.entry(payer(&row, "organisation")?).or_default().push(copy);
        }
        Ok(())
    }
}

fn payer(row: &Row, column: &str) -> Result<OrganisationId, StoreError> {
    Line { row, table: "organisation" }.parse(column).map_err(StoreError::Broken)
}

/// An organisation that a run asks for.
struct Payer<'a> {
    organisation: &'a Organisation,
    at: Wall,
    begins: bool,
    ends: bool,
}

impl<'a> Payer<'a> {
    const fn new(organisation: &'a Organisation, at: Wall) -> Payer<'a> {
        Payer { organisation, at, begins: false, ends: false }
    }
}
