//! The end of a leg in the books: charged once, the rest given back, one record written; all of it or nothing.

use super::books::{Books, Taking, millis};
use super::dialog;
use super::door::{End, Settle};
use super::draft;
use super::draw::Draws;
use super::facts::{Facts, Organisation};
use super::fault::StoreError;
use super::grant;
use super::leg::{self, LegRow};
use super::person;
use super::sheet::Asked;
use super::sql::{self, Connection};
use super::threshold::{self, Seen};
use crate::clock::Wall;
use crate::rating::costs::{Call, LegCost};
use crate::rating::grant::granted_money;
use crate::rating::ledger::Kind;
use crate::rating::record::{Beyond, NumberType, Stamps, UsageRecord};
use crate::rating::{CallType, Settlement};
use crate::types::{Cause, Currency, LegId, Micros};
use serde_json::json;

/// Settles a leg, or gives the record of one that is settled.
pub(super) async fn settle(books: &mut Books, asked: &Settle) -> Result<UsageRecord, StoreError> {
    let mut leg = books.leg(asked.leg).await?;
    if !leg.is_open {
        // Closed by another, it has ended by itself, or our BYE is on its way.
        if !asked.end.owes_bye {
            dialog::gone(books, leg.id).await?;
        }
        // It may be of this very batch.
        books.write().await?;
        return record(&mut books.conn, asked.leg).await;
    }
    if asked.end.cause == Cause::Cancelled && leg.answered.take().is_some() {
        // Written down when our 200 was ordered; they gave up before it went out.
        books.sheet.change(&leg, true);
    }
    close(books, &leg, asked.end.clone()).await
}

/// The record of a settled leg.
pub(super) async fn record(conn: &mut Connection, leg: LegId) -> Result<UsageRecord, StoreError> {
    let row = sql::query(
        "SELECT * FROM usage_record JOIN person ON person.leg = usage_record.leg WHERE usage_record.leg = $1",
    )
    .bind(leg.to_string())
    .fetch_optional(conn)
    .await?;
    person::record(&row.ok_or_else(|| StoreError::Unknown(format!("settled leg {leg}")))?)
}

/// Closes an open leg.
pub(super) async fn close(books: &mut Books, leg: &LegRow, mut end: End) -> Result<UsageRecord, StoreError> {
    if leg.answered.is_none() {
        // Ringing costs nothing, nor does a 200 that nobody acknowledged.
        end.elapsed_ms = 0;
    }
    let mut steps = books.steps(leg.id).await?;
    books.sheet.close(leg.id, end.elapsed_ms);
    hide_request(books, leg.id, &steps);
    if end.owes_bye {
        books.sheet.draft.owed.push(draft::owed_row(leg.id, end.at));
    }
    let settlement = leg.tab.as_ref().map(|tab| tab.settle(leg.answered.map(|_| end.elapsed_ms)));
    let organisation = leg.organisation.as_ref().map(|id| books.organisation(id)).transpose()?;
    let mut days = None;
    if let (Some(settlement), Some(organisation)) = (&settlement, &organisation) {
        days = pay(books, leg, organisation, settlement, end.at).await?;
    }
    steps.sort_by(|a, b| (a.until_ms, &a.step).cmp(&(b.until_ms, &b.step)));
    let ledger = ledger_keys(&steps, leg.id, settlement.as_ref());
    let steps = steps.into_iter().map(|asked| asked.step).collect();
    let record = written(&books.facts, leg, &end, organisation.as_ref(), settlement.as_ref(), ledger, steps);
    keep(books, leg, &end, settlement.as_ref(), &record, days);
    Ok(record)
}

/// The first step names the number called: what is kept of it tells a repeat from another request, and nothing else.
fn hide_request(books: &mut Books, leg: LegId, steps: &[Asked]) {
    let Some(first) = steps.iter().find(|asked| asked.step == leg::OPEN) else { return };
    let alias = books.facts.pins().alias(&first.request);
    books.sheet.draft.hidden.push(json!([leg.to_string(), alias]));
}

/// Moves the money and the minutes; gives the days to whose spending the charge counts.
async fn pay(
    books: &mut Books,
    leg: &LegRow,
    organisation: &Organisation,
    settlement: &Settlement,
    at: Wall,
) -> Result<Option<(String, String)>, StoreError> {
    let Some(tab) = &leg.tab else { return Ok(None) };
    let taken = Taking {
        credit: tab.credit_held(),
        granted: granted_money(&tab.held),
        burn_nanos: leg.burn_nanos,
        floor: Micros::ZERO,
    };
    if tab.money_held() > Micros::ZERO || leg.burn_nanos > 0 {
        books.release(&organisation.id, taken, settlement.charge).await?;
    }
    let key = |what: &str| format!("leg:{}:{what}", leg.id);
    let charged = (Kind::Held, Kind::Earnings);
    books.book(organisation, charged, settlement.charge, key("charge"), "charge", at).await?;
    let given_back = (Kind::Held, Kind::Available);
    books.book(organisation, given_back, settlement.release_credit, key("release"), "rest of the hold", at).await?;
    books.count_held(leg, organisation, Micros(-tab.money_held().0), None)?;
    if settlement.charge > Micros::ZERO {
        let key = key("charge");
        books.use_fundings(&organisation.id, settlement.charge, Draws::new(&key, Some(leg.id))).await?;
    }
    let mut days = None;
    if settlement.spent() > Micros::ZERO {
        days = Some(books.count_charge(leg, organisation, settlement.spent(), at)?);
        threshold::spent(books, organisation, at).await?;
    }
    if tab.terms.month.is_some() && tab.sequence > 0 {
        leg::count_month(books, organisation, &tab.terms, (leg::paid_ms(tab), settlement.priced_ms)).await?;
    }
    let burn = grant::Burn::of(tab, leg.burn_nanos);
    books.release_grants(organisation, (leg.id, burn), &settlement.grants, at).await?;
    if let Some(month) = leg.pool_month.filter(|_| tab.pool_held_ms() > 0) {
        let parts = (tab.pool_held_ms(), settlement.pool_used_ms);
        books.release_pool(&organisation.id, month, parts, tab.is_in_pool()).await?;
    }
    threshold::money(books, organisation, Seen::default(), at).await?;
    Ok(days)
}

fn ledger_keys(steps: &[Asked], leg: LegId, settlement: Option<&Settlement>) -> Vec<String> {
    let holds = steps.iter().filter(|asked| asked.credit > 0).map(|asked| asked.step.as_str());
    let charge = settlement.filter(|s| s.charge > Micros::ZERO).map(|_| "charge");
    let release = settlement.filter(|s| s.release_credit > Micros::ZERO).map(|_| "release");
    let grants = settlement.into_iter().flat_map(|settlement| &settlement.grants);
    let grants = grants.filter(|used| used.used > 0 && !used.bucket.is_time());
    let grants = grants.filter_map(|used| used.bucket.grant()).map(|grant| format!("leg:{leg}:{}", grant::step(grant)));
    let own = holds.chain(charge).chain(release).map(|what| format!("leg:{leg}:{what}"));
    own.chain(grants).collect()
}

fn written(
    facts: &Facts,
    leg: &LegRow,
    end: &End,
    organisation: Option<&Organisation>,
    settlement: Option<&Settlement>,
    ledger: Vec<String>,
    holds: Vec<String>,
) -> UsageRecord {
    let terms = leg.tab.as_ref().map(|tab| &tab.terms);
    let user = leg.organiser.as_ref().and_then(|id| facts.users.get(id));
    let meeting = leg.meeting.as_ref().and_then(|id| facts.meeting(id));
    let country = terms.map(|terms| terms.country).or_else(|| facts.countries.country_of(&leg.number));
    let location = user.and_then(|user| user.country).or(organisation.map(|o| o.country));
    let start = leg.answered.unwrap_or(leg.invited);
    let ended = leg.answered.map_or(end.at, |answered| answered.plus_millis(end.elapsed_ms));
    UsageRecord {
        usage_id: leg.id,
        call_id: leg.call_id.clone(),
        conference_id: meeting.map(|meeting| meeting.settings.conference_id.clone()),
        user_location: location,
        user: leg.organiser.clone(),
        user_principal_name: leg.organiser.as_ref().map(ToString::to_string).unwrap_or_default(),
        user_display_name: user.map(|user| user.name.clone()).unwrap_or_default(),
        caller: leg.caller,
        call_type: leg.call_type,
        number_type: if leg.call_type == CallType::DialInTollFree { NumberType::TollFree } else { NumberType::Service },
        domestic: terms.map_or(country.is_some() && country == location, |terms| terms.domestic),
        destination_country: country,
        destination: leg.number,
        start,
        end: ended,
        duration_ms: settlement.map_or(end.elapsed_ms, |settlement| settlement.charged_ms),
        connection_fee: settlement.map_or(Micros::ZERO, |settlement| settlement.connect_fee),
        charge: settlement.map_or(Micros::ZERO, |settlement| settlement.charge),
        currency: organisation.map_or(Currency::USD, |organisation| organisation.currency),
        capability: settlement.map(|settlement| settlement.capability),
        beyond: Beyond {
            cost: cost(facts, leg, end, organisation),
            ..beyond(leg, end, ended, settlement, ledger, holds)
        },
    }
}

/// What the carrier takes for all of it, by its list as it is now and the moment of the answer.
fn cost(facts: &Facts, leg: &LegRow, end: &End, organisation: Option<&Organisation>) -> Option<LegCost> {
    let tariff = leg.tab.as_ref().and_then(|tab| tab.terms.tariff.as_ref());
    let call = Call {
        call_type: leg.call_type,
        digits: leg.number.digits(),
        origin: tariff.map(|tariff| tariff.origin).unwrap_or_default(),
        at: leg.answered?,
        ms: end.elapsed_ms,
        currency: organisation.map_or(Currency::USD, |organisation| organisation.currency),
    };
    facts.costs.of(leg.carrier.as_ref()?, &call).map(|cost| cost.kept())
}

fn beyond(
    leg: &LegRow,
    end: &End,
    ended: Wall,
    settlement: Option<&Settlement>,
    ledger: Vec<String>,
    holds: Vec<String>,
) -> Beyond {
    let nothing_held = || vec![format!("no charge: nothing was held for this leg ({})", end.cause.words())];
    Beyond {
        organisation: leg.organisation.clone(),
        meeting: leg.meeting.clone(),
        carrier: leg.carrier.clone(),
        codec: end.codec.clone(),
        ended_by: end.by,
        cause: end.cause,
        sip: end.sip,
        q850: end.q850,
        stamps: Stamps {
            invited: leg.invited,
            ringing: end.ringing,
            answered: leg.answered,
            acknowledged: end.acknowledged,
            payer_known: leg.payer_known.or(leg.meeting.as_ref().map(|_| leg.invited)),
            joined: end.joined,
            ended,
        },
        quality: end.quality,
        pool_used_ms: settlement.map_or(0, |settlement| settlement.pool_used_ms),
        grants: settlement.map_or_else(Vec::new, Settlement::grants_used),
        billed_ms: settlement.map_or(0, |settlement| settlement.billed_ms),
        cost: None,
        tries: end.tries.clone(),
        identity: end.identity.clone(),
        explanation: settlement.map_or_else(nothing_held, |settlement| settlement.lines.clone()),
        ledger,
        holds,
    }
}

fn keep(
    books: &mut Books,
    leg: &LegRow,
    end: &End,
    settlement: Option<&Settlement>,
    record: &UsageRecord,
    days: Option<(String, String)>,
) {
    let tab = leg.tab.as_ref();
    let mut apart = record.clone();
    let person = apart.take_person();
    let (day, utc_day) = days.unzip();
    let draft = &mut books.sheet.draft;
    draft.records.push(json!([
        leg.id.to_string(),
        leg.organisation.as_ref().map(|id| id.as_str()),
        record.end.micros(),
        millis(end.elapsed_ms),
        tab.map_or(0, |tab| tab.credit_held().0),
        settlement.map_or(0, |settlement| settlement.charge.0),
        tab.map_or(0, |tab| millis(tab.pool_held_ms())),
        settlement.map_or(0, |settlement| millis(settlement.pool_used_ms)),
        apart.to_line(),
        day,
        utc_day,
        settlement.map_or(0, |settlement| settlement.granted().0),
    ]));
    draft.persons.push(person::row(leg.id, &person));
}
