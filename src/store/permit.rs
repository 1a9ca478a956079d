//! Whether legs that run may go on: the decision, asked again without its prices. What there is has changed since they
//! were let be; what they pay by has not.

use super::facts::{Facts, Organisation};
use super::fault::StoreError;
use super::leg::{self, LegRow};
use super::rows::Line;
use super::sql::{self, Connection};
use crate::clock::Wall;
use crate::rating::decide::{Book, NumberFacts, may_go_on, may_go_over};
use crate::rating::{CallType, Funding, Origin, Request, Tab};
use crate::trunk::NumberKind;
use crate::types::{Cause, E164, LegId, Micros, OrganisationId};

/// Legs of one question at most: what a reader finds in some milliseconds.
pub const MOST_REVIEWED: usize = 500;

/// Our own number as the decision wants it, where this payer may use it.
pub(super) fn number(facts: &Facts, number: &E164, payer: &OrganisationId) -> Option<NumberFacts> {
    let ours = facts.directory.find(number)?;
    let is_usable = ours.organisation.as_ref().is_none_or(|owner| owner == payer);
    is_usable.then(|| NumberFacts { country: ours.country, toll_free: ours.kind == NumberKind::TollFree })
}

/// Why a leg that was funded may not go on; `has_entries`: its organisation has set up credits.
pub(super) fn of_leg(facts: &Facts, leg: &LegRow, tab: &Tab, has_entries: bool, at: Wall) -> Result<(), Cause> {
    if leg.call_type == CallType::DialOut && facts.hot(&leg.number).is_some() {
        return Err(Cause::HotNumber);
    }
    let asked =
        ask(facts, leg, has_entries, at, |book, request| may_go_on(book, request, tab.terms.funding, tab.spends()));
    asked.map_err(Cause::of_a_running_leg)
}

/// Why a leg that the pool pays may not go over to credits when that is used up.
pub(super) fn over_to_credits(facts: &Facts, leg: &LegRow, tab: &Tab, at: Wall) -> Result<(), Cause> {
    match tab.terms.funding {
        Funding::Pool { then_credits: true } if !tab.spends() => ask(facts, leg, true, at, may_go_over),
        _ => Ok(()),
    }
}

fn ask(
    facts: &Facts,
    leg: &LegRow,
    has_entries: bool,
    at: Wall,
    question: impl FnOnce(&Book<'_>, &Request) -> Result<(), Cause>,
) -> Result<(), Cause> {
    let (Some(organisation), Some(organiser)) = (&leg.organisation, &leg.organiser) else { return Ok(()) };
    let payer: Option<&Organisation> = facts.open_organisation(organisation);
    let (Some(payer), Some(user)) = (payer, facts.users.get(organiser)) else { return Err(Cause::NotLicensed) };
    let book = Book {
        payer: &payer.payer(has_entries),
        organiser: &user.organiser(payer, at),
        countries: &facts.countries,
        prices: facts.prices(payer),
        number: number(facts, &leg.number, organisation),
        // Not asked for: what is left decides who pays, and that was decided.
        pool_left_ms: 0,
        available: Micros::ZERO,
        grants: &[],
    };
    let (call_type, number, caller) = (leg.call_type, leg.number, leg.caller);
    question(&book, &Request { call_type, number, caller, origin: Origin::Fixed, at })
}

const ASKED: &str = "SELECT leg.*, account.entries FROM json_each($1) JOIN leg ON leg.id = value ->> 0 \
     JOIN account ON account.organisation = leg.organisation WHERE leg.terms IS NOT NULL";

/// Those of `legs` that may not go on by what there is now, and why. Whose account is closed has been revoked, if it goes on.
pub(super) async fn withdrawn(
    conn: &mut Connection,
    facts: &Facts,
    legs: &[LegId],
    at: Wall,
) -> Result<Vec<(LegId, Cause)>, StoreError> {
    let asked: Vec<[String; 1]> = legs.iter().map(|leg| [leg.to_string()]).collect();
    let asked = serde_json::to_string(&asked).map_err(StoreError::broken)?;
    let rows = sql::query(ASKED).bind(asked).fetch_all(conn).await?;
    let mut withdrawn = Vec::new();
    for row in &rows {
        let leg = leg::read(&Line { row, table: "leg" }).map_err(StoreError::Broken)?;
        let has_entries = row.try_get::<i64, _>("entries")? > 0;
        let Some(tab) = leg.tab.as_ref().filter(|_| leg.is_open) else {
            withdrawn.push((leg.id, Cause::Revoked));
            continue;
        };
        withdrawn.extend(of_leg(facts, &leg, tab, has_entries, at).err().map(|cause| (leg.id, cause)));
    }
    withdrawn.sort();
    Ok(withdrawn)
}
