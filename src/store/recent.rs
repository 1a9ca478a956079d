//! What the watch for fraud saw of the last hour, read back from the records: a watch that begins anew with its process
//! would let whoever waits for that begin anew too.

use super::door::UsageFilter;
use super::facts::Facts;
use super::fault::StoreError;
use super::report;
use super::sql::Connection;
use crate::clock::Wall;
use crate::rating::{CallType, UsageRecord};
use crate::trunk::Sight;
use crate::types::Cause;

/// The longest window of a pattern.
const BACK_MS: u64 = 3_600_000;
/// Records at most, the latest: some hundredths of a second at a start, and more than the watch remembers of anybody.
const MOST_RECORDS: u32 = 5_000;

/// What legs of the last hour did, as it was seen, in the order in which it was. Wrong tries are not in the books: of a call
/// that ended by them one is sure.
pub(super) async fn sights(conn: &mut Connection, facts: &Facts, now: Wall) -> Result<Vec<(Wall, Sight)>, StoreError> {
    let from = Wall::from_micros(now.micros() - Wall::from_micros(0).plus_millis(BACK_MS).micros());
    let filter = UsageFilter { from: Some(from), limit: Some(MOST_RECORDS), ..UsageFilter::default() };
    let records = report::usage(conn, &filter).await?;
    let mut seen: Vec<(Wall, Sight)> = records.iter().flat_map(|record| of(facts, record)).collect();
    seen.retain(|(at, _)| at.micros() > from.micros() && at.micros() <= now.micros());
    // The sort is stable: what was seen at one moment stays in the order of its legs.
    seen.sort_by_key(|(at, _)| at.micros());
    Ok(seen)
}

fn of(facts: &Facts, record: &UsageRecord) -> Vec<(Wall, Sight)> {
    let (beyond, to) = (&record.beyond, record.destination);
    let stamps = &beyond.stamps;
    let mut seen = Vec::new();
    let organisation = beyond.organisation.as_ref().and_then(|id| facts.organisations.get(id));
    match (record.call_type, organisation) {
        (CallType::DialOut, Some(organisation)) if !to.is_forgotten() => {
            let abroad = facts.countries.country_of(&to).filter(|country| *country != organisation.country);
            let (id, quiet) = (organisation.id.clone(), organisation.is_quiet(stamps.invited));
            seen.push((stamps.invited, Sight::Dialled { organisation: id.clone(), to, abroad, quiet }));
            if stamps.answered.is_some() {
                let (elapsed_ms, quiet) = (record.duration_ms, organisation.is_quiet(stamps.ended));
                seen.push((stamps.ended, Sight::DialledOver { organisation: id, to, elapsed_ms, quiet }));
            }
        }
        (CallType::DialInTollFree, _) if stamps.joined.is_none() => {
            if let Some(carrier) = beyond.carrier.clone() {
                let (caller, elapsed_ms) = (record.caller, record.duration_ms);
                seen.push((stamps.ended, Sight::NeverJoined { carrier, caller, elapsed_ms }));
            }
        }
        _ => {}
    }
    if let (Cause::TooManyTries, Some(carrier)) = (beyond.cause, beyond.carrier.clone()) {
        seen.push((stamps.ended, Sight::WrongTry { carrier }));
    }
    seen
}
