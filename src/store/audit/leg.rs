//! Legs: what they hold, what their records say, what was charged and what was put right since. Legs, their steps, their
//! entries in the ledger and their corrections are walked together, in the order of the legs, a page at a time.

use super::{Audit, HOLDS, ONCE, PAGE, PRICE, SUMS};
use crate::rating::grant::{Part, granted_money, parts_of_line};
use crate::rating::ledger::Kind;
use crate::rating::{Tab, Terms, UsageRecord};
use crate::store::books::millis;
use crate::store::correct;
use crate::store::door::{Correction, CorrectionKind};
use crate::store::fault::StoreError;
use crate::store::grant;
use crate::store::leg::{self, LegRow};
use crate::store::rows::Line;
use crate::store::spending::{Name, Whose};
use crate::store::sql::{self, Row};
use crate::types::{GrantId, Micros, OrganisationId};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What the ledger says of one leg.
#[derive(Default)]
struct Booked {
    charge: Option<i64>,
    /// Held for it, release and charge taken off.
    held: i128,
    /// Entries between accounts that such a step has nothing to do with.
    strange: Vec<String>,
    /// What was charged after the end, with the words beside it, by its number; below zero, given back.
    corrections: HashMap<u32, (i64, String)>,
    /// What grants paid, by its step; below zero, what they had back.
    grants: BTreeMap<String, i64>,
}

/// What the steps of one leg took, all together.
#[derive(Default)]
struct Steps {
    credit: i64,
    pool_ms: i64,
    until_ms: i64,
    granted: i64,
    parts: Vec<Part>,
}

/// What stands beside the legs of one page.
#[derive(Default)]
struct Beside {
    booked: HashMap<String, Booked>,
    steps: HashMap<String, Steps>,
    corrections: HashMap<String, Vec<(Correction, Option<String>, String)>>,
    /// What was used of grants and given back to them, by its step.
    uses: HashMap<String, BTreeMap<String, i64>>,
}

const LEGS: &str = "SELECT leg.*, usage_record.elapsed_ms AS record_elapsed_ms, usage_record.charge AS record_charge, \
     usage_record.credit_held AS record_credit_held, usage_record.pool_used_ms AS record_pool_used_ms, \
     usage_record.pool_held_ms AS record_pool_held_ms, usage_record.record AS record, usage_record.at AS record_at, \
     usage_record.organisation AS record_organisation, usage_record.day AS record_day, usage_record.utc_day AS record_utc_day, usage_record.granted AS record_granted, \
     person.leg AS person_leg, person.organiser AS person_organiser \
     FROM leg LEFT JOIN usage_record ON usage_record.leg = leg.id LEFT JOIN person ON person.leg = leg.id \
     WHERE leg.id > $1 ORDER BY leg.id LIMIT $2";

/// The entries of legs after one and up to another. `;` is what comes after `:`.
const ENTRIES: &str = "SELECT key, debit, credit, amount, memo FROM ledger_entry \
     WHERE key >= 'leg:' || $1 AND key < 'leg' || $2 || ';'";

const STEPS: &str = "SELECT leg, CAST(SUM(credit) AS BIGINT), CAST(SUM(pool_ms) AS BIGINT), MAX(until_ms), \
     COUNT(CASE WHEN outcome = 'granted' THEN 1 END) FROM hold WHERE leg > $1 AND leg <= $2 GROUP BY leg";

const PARTS: &str =
    "SELECT leg, parts FROM hold WHERE leg > $1 AND leg <= $2 AND parts IS NOT NULL ORDER BY leg, until_ms";

const USES: &str = "SELECT leg, key, amount FROM grant_use WHERE leg > $1 AND leg <= $2";

const CORRECTIONS: &str = "SELECT correction.*, CAST(NULL AS TEXT) AS grants FROM correction WHERE leg > $1 AND leg <= $2 ORDER BY leg, number";

impl Audit<'_> {
    /// All legs, and what the ledger has of legs that are not in the journal.
    pub(super) async fn legs(&mut self) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let rows = sql::query(LEGS).bind(&after).bind(PAGE).fetch_all(&mut *self.conn).await?;
            let last: Option<String> = rows.last().map(|row| row.try_get("id")).transpose()?;
            let mut beside = self.beside(&after, last.as_deref()).await?;
            for row in &rows {
                let id: String = row.try_get("id")?;
                if let Err(why) = self.leg(&id, &Line { row, table: "leg" }, &mut beside) {
                    self.tell(PRICE, format_args!("leg {id}"), why);
                }
            }
            self.orphans(beside);
            match last {
                Some(last) => after = last,
                None => return Ok(()),
            }
        }
    }

    /// Of the legs after `after` up to `last`; of none, where there is none, all the rest.
    async fn beside(&mut self, after: &str, last: Option<&str>) -> Result<Beside, StoreError> {
        let mut beside = Beside::default();
        let from = if after.is_empty() { String::new() } else { format!("{after};") };
        let to = last.map_or(String::new(), |last| format!(":{last}"));
        for row in sql::query(ENTRIES).bind(from).bind(to).fetch_all(&mut *self.conn).await? {
            let key: String = row.try_get(0)?;
            let Some((leg, step)) = key.strip_prefix("leg:").and_then(|rest| rest.split_once(':')) else { continue };
            if !beside.booked.contains_key(leg) {
                beside.booked.insert(leg.to_owned(), Booked::default());
            }
            if let Some(booked) = beside.booked.get_mut(leg) {
                booked.add(step, &row)?;
            }
        }
        // Above every name of a leg, and above nothing else that is asked for.
        let last = last.unwrap_or("~");
        for row in sql::query(STEPS).bind(after).bind(last).fetch_all(&mut *self.conn).await? {
            let number = |column: usize| row.try_get::<i64, _>(column);
            let steps = Steps {
                credit: number(1)?,
                pool_ms: number(2)?,
                until_ms: number(3)?,
                granted: number(4)?,
                ..Steps::default()
            };
            beside.steps.insert(row.try_get(0)?, steps);
        }
        for row in sql::query(PARTS).bind(after).bind(last).fetch_all(&mut *self.conn).await? {
            let leg: String = row.try_get(0)?;
            match parts_of_line(&row.try_get::<String, _>(1)?) {
                Ok(parts) => beside.steps.entry(leg).or_default().parts.extend(parts),
                Err(why) => self.tell(HOLDS, format_args!("leg {leg}"), why),
            }
        }
        for row in sql::query(USES).bind(after).bind(last).fetch_all(&mut *self.conn).await? {
            let (leg, key, amount): (String, String, i64) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
            match key
                .strip_prefix("leg:")
                .and_then(|rest| rest.strip_prefix(&leg))
                .and_then(|rest| rest.strip_prefix(':'))
            {
                Some(step) => drop(beside.uses.entry(leg).or_default().insert(step.to_owned(), amount)),
                None => self.tell(SUMS, format_args!("use {key}"), "is of another leg"),
            }
        }
        for row in sql::query(CORRECTIONS).bind(after).bind(last).fetch_all(&mut *self.conn).await? {
            let leg: String = row.try_get("leg")?;
            match correct::read(&Line { row: &row, table: "correction" }) {
                Ok(correction) => {
                    let (day, request) = (row.try_get("day")?, row.try_get("request")?);
                    beside.corrections.entry(leg).or_default().push((correction, day, request));
                }
                Err(why) => self.tell(PRICE, format_args!("leg {leg}"), why),
            }
        }
        Ok(beside)
    }

    fn leg(&mut self, id: &str, line: &Line<'_>, beside: &mut Beside) -> Result<(), String> {
        let booked = beside.booked.remove(id).unwrap_or_default();
        let steps = beside.steps.remove(id).unwrap_or_default();
        let corrections = beside.corrections.remove(id).unwrap_or_default();
        let uses = beside.uses.remove(id).unwrap_or_default();
        let leg = leg::read(line)?;
        let place = format!("leg {id}");
        self.held(&place, &leg, line, &steps)?;
        for entry in &booked.strange {
            self.tell(SUMS, &place, format_args!("no entry of a leg goes there: {entry}"));
        }
        let Some(text) = line.maybe_text("record")? else {
            if leg.is_open {
                self.open_leg(&place, &leg, &booked);
            } else {
                self.tell(ONCE, place, "is settled and has no record");
            }
            return Ok(());
        };
        if leg.is_open {
            self.tell(ONCE, &place, "has a record and is still open");
            return Ok(());
        }
        let record = UsageRecord::from_line(&text)?;
        self.record(&place, &leg, line, &record)?;
        let (credit, charge) = (line.number("record_credit_held")?, line.number("record_charge")?);
        let granted = line.maybe_number("record_granted")?;
        self.equal(ONCE, &place, "the ledger's charge", booked.charge.unwrap_or(0), charge);
        self.equal(HOLDS, &place, "credit still held", booked.held, 0);
        self.equal(PRICE, &place, "the record's charge", record.charge.0, charge);
        self.equal(PRICE, &place, "credit held", credit, leg.tab.as_ref().map_or(0, |tab| tab.credit_held().0));
        let used_ms = line.number("record_pool_used_ms")?;
        self.equal(PRICE, &place, "the record's pool time", millis(record.beyond.pool_used_ms), used_ms);
        self.price(&place, &leg, line, &record)?;
        if let (Some(organisation), Some(day)) = (&leg.organisation, line.maybe_text("record_day")?) {
            let utc_day = line.maybe_text("record_utc_day")?;
            let spent = charge.saturating_add(granted.unwrap_or(0));
            self.count(&leg, &day, utc_day.as_deref(), spent);
            *self.days.entry((organisation.to_string(), day)).or_default() += spent;
        }
        let mut back = self.granted(&place, &leg, &record, &corrections, (&uses, &booked.grants))?;
        match granted {
            Some(granted) => {
                self.equal(PRICE, &place, "money of grants", granted, granted_money(&record.beyond.grants).0)
            }
            // Of an edition that did not count it.
            None => back.fill(0),
        }
        self.corrections(&place, &leg, line, &corrections, booked, &back)
    }

    /// What a leg holds is what its steps took.
    fn held(&mut self, place: &str, leg: &LegRow, line: &Line<'_>, steps: &Steps) -> Result<(), String> {
        self.equal(HOLDS, place, "credit held", line.number("credit_held")?, steps.credit);
        self.equal(HOLDS, place, "pool time held", line.number("pool_held_ms")?, steps.pool_ms);
        self.equal(HOLDS, place, "the time it may talk", line.number("held_until_ms")?, steps.until_ms);
        self.equal(HOLDS, place, "the number of its holds", line.number("sequence")?, steps.granted);
        if let Some(tab) = &leg.tab {
            self.equal(HOLDS, place, "credit among its parts", tab.credit_held().0, line.number("credit_held")?);
            self.equal(HOLDS, place, "pool time among its parts", tab.pool_held_ms(), line.count("pool_held_ms")?);
            for (grant, taken) in by_grant(&steps.parts) {
                self.equal(HOLDS, place, &format!("held of grant {grant}"), tab.grant_held(&grant), taken);
            }
            for (grant, held) in by_grant(&tab.held) {
                if by_grant(&steps.parts).contains_key(&grant) {
                    continue;
                }
                self.tell(HOLDS, place, format_args!("holds {held} of grant {grant}, which no step took"));
            }
        }
        if leg.tab.is_none() && steps.granted > 0 {
            self.tell(HOLDS, place, "has holds and no terms");
        }
        Ok(())
    }

    fn open_leg(&mut self, place: &str, leg: &LegRow, booked: &Booked) {
        let credit = leg.tab.as_ref().map_or(0, |tab| tab.credit_held().0);
        self.equal(HOLDS, place, "credit held", i128::from(credit), booked.held);
        if booked.charge.is_some() {
            self.tell(ONCE, place, "was charged and is still open");
        }
        let money = leg.tab.as_ref().map_or(0, |tab| tab.money_held().0);
        for name in self.names(leg) {
            self.counted.entry(name).or_default().held += money;
        }
        if let Some(tab) = leg.tab.as_ref().filter(|tab| tab.sequence > 0) {
            self.count_month(leg, tab, millis(leg::paid_ms(tab)));
        }
        for (grant, held) in leg.tab.iter().flat_map(|tab| by_grant(&tab.held)) {
            let sum = self.held.entry(grant).or_default();
            *sum = sum.saturating_add(held);
        }
    }

    /// What grants paid is what the rule says, at the end and after each correction; of money, the ledger has the same.
    /// Gives the money that they had back by each correction.
    fn granted(
        &mut self,
        place: &str,
        leg: &LegRow,
        record: &UsageRecord,
        corrections: &[(Correction, Option<String>, String)],
        (found, booked): (&BTreeMap<String, i64>, &BTreeMap<String, i64>),
    ) -> Result<Vec<i64>, String> {
        let Some(tab) = &leg.tab else {
            if !found.is_empty() || !booked.is_empty() {
                self.tell(PRICE, place, "nothing was held for it, and grants paid it");
            }
            return Ok(vec![0; corrections.len()]);
        };
        let mut money = Vec::with_capacity(corrections.len());
        let first = tab.settle(leg.answered.map(|_| leg.elapsed_ms)).grants_used();
        if record.beyond.grants != first {
            self.tell(PRICE, place, "the record has other parts of grants");
        }
        let mut due: BTreeMap<String, (i64, bool)> = BTreeMap::new();
        let mut left: Vec<(GrantId, u64)> = Vec::new();
        for part in &first {
            let Some(grant) = part.bucket.grant() else { continue };
            left.push((grant.clone(), part.amount));
            due.insert(grant::step(grant), (millis(part.amount), part.bucket.is_time()));
        }
        let mut paid = correct::first_paid(tab, leg);
        for (correction, _, request) in corrections {
            let back = if correct::request(correction.kind, leg.id, None) == *request
                && correction.kind == CorrectionKind::Refund
            {
                let whole = |part: &Part| {
                    let own = left.iter().find(|(grant, _)| part.bucket.grant() == Some(grant));
                    Part { bucket: part.bucket.clone(), amount: own.map_or(0, |(_, amount)| *amount) }
                };
                first.iter().map(whole).collect()
            } else if let Some(terms) = &correction.terms {
                let (_, now) = correct::priced(tab, &Terms::from_line(terms)?, &paid, leg);
                let back = correct::given_back(&paid, &now, &left);
                paid = now;
                back
            } else {
                Vec::new()
            };
            money.push(granted_money(&back).0);
            for part in back.iter().filter(|part| part.amount > 0) {
                let Some(grant) = part.bucket.grant() else { continue };
                let step = format!("{}{}:{}", correct::CORRECTION, correction.number, grant::step(grant));
                due.insert(step, (-millis(part.amount), part.bucket.is_time()));
                left.iter_mut().filter(|(own, _)| own == grant).for_each(|(_, amount)| *amount -= part.amount);
            }
        }
        for step in due.keys().chain(found.keys()).chain(booked.keys()).collect::<BTreeSet<_>>() {
            let (amount, is_time) = due.get(step).copied().unwrap_or((0, false));
            let of = |rows: &BTreeMap<String, i64>| rows.get(step).copied().unwrap_or(0);
            self.equal(PRICE, place, &format!("the use {step}"), of(found), amount);
            self.equal(SUMS, place, &format!("the entry {step}"), of(booked), if is_time { 0 } else { amount });
        }
        Ok(money)
    }

    /// The record is of this leg, and its columns say what it says.
    fn record(&mut self, place: &str, leg: &LegRow, line: &Line<'_>, record: &UsageRecord) -> Result<(), String> {
        let by_column: Option<OrganisationId> = line.maybe("record_organisation")?;
        if record.beyond.organisation != leg.organisation || by_column != leg.organisation {
            self.tell(PRICE, place, "the record has another payer than the leg");
        }
        if record.usage_id != leg.id {
            self.tell(ONCE, place, "has the record of another leg");
        }
        let of_record = (record.call_type, record.destination, &record.beyond.carrier, &record.beyond.meeting);
        if of_record != (leg.call_type, leg.number, &leg.carrier, &leg.meeting) {
            self.tell(PRICE, place, "the record tells of another call than the leg");
        }
        let organiser = leg.organiser.as_ref().map(ToString::to_string);
        if line.maybe_text("person_leg")?.is_none() || line.maybe_text("person_organiser")? != organiser {
            self.tell(PRICE, place, "the record tells of other people than the leg");
        }
        let stamps = &record.beyond.stamps;
        if record.call_id != leg.call_id || stamps.invited != leg.invited || stamps.answered != leg.answered {
            self.tell(PRICE, place, "the record has other moments than the leg");
        }
        self.equal(PRICE, place, "the record's moment", line.number("record_at")?, record.end.micros());
        self.equal(PRICE, place, "the leg's time", leg.elapsed_ms, line.count("record_elapsed_ms")?);
        Ok(())
    }

    /// The price again, by the rule, from what was frozen.
    fn price(&mut self, place: &str, leg: &LegRow, line: &Line<'_>, record: &UsageRecord) -> Result<(), String> {
        let Some(tab) = &leg.tab else {
            self.equal(PRICE, place, "the charge of a leg that nothing was held for", record.charge.0, 0);
            return Ok(());
        };
        let due = tab.settle(leg.answered.map(|_| leg.elapsed_ms));
        self.equal(PRICE, place, "the charge", line.number("record_charge")?, due.charge.0);
        self.equal(PRICE, place, "the pool time used", line.count("record_pool_used_ms")?, due.pool_used_ms);
        self.equal(PRICE, place, "the pool time held", line.count("record_pool_held_ms")?, tab.pool_held_ms());
        self.equal(PRICE, place, "the charged time", record.duration_ms, due.charged_ms);
        self.equal(PRICE, place, "the connect fee", record.connection_fee.0, due.connect_fee.0);
        if tab.sequence > 0 {
            self.count_month(leg, tab, millis(due.priced_ms));
        }
        Ok(())
    }

    /// Whose spending a leg's is, beside its organisation's.
    fn names(&self, leg: &LegRow) -> Vec<Name> {
        let Some(currency) = leg.organisation.as_ref().and_then(|id| self.currencies.get(id)) else {
            return Vec::new();
        };
        let named = |whose: Whose| Some((whose, whose.name(leg)?.to_owned(), *currency));
        Whose::ALL.into_iter().filter_map(named).collect()
    }

    /// Notes what a leg was charged or given back on its days; of a leg that tells none of the world's calendar, nothing.
    fn count(&mut self, leg: &LegRow, day: &str, utc_day: Option<&str>, amount: i64) {
        let Some(utc_day) = utc_day else { return };
        for name in self.names(leg) {
            let day = if name.0 == Whose::Carrier { utc_day } else { day };
            self.counted.entry(name).or_default().charge(day, amount);
        }
    }

    /// Notes what a leg has used, holds or was given back of the minutes of its month.
    fn count_month(&mut self, leg: &LegRow, tab: &Tab, ms: i64) {
        let (Some(month), Some(tariff), Some(organisation)) = (tab.terms.month, &tab.terms.tariff, &leg.organisation)
        else {
            return;
        };
        let call_type = tab.terms.call_type.to_string();
        let key = (organisation.to_string(), month.micros(), call_type, tariff.row.destination.to_string());
        *self.months.entry(key).or_default() += ms;
    }

    /// What was put right since: each correction is in the ledger as it says, none gives back more than there was, and a
    /// price is the one that its terms give.
    fn corrections(
        &mut self,
        place: &str,
        leg: &LegRow,
        line: &Line<'_>,
        corrections: &[(Correction, Option<String>, String)],
        mut booked: Booked,
        granted: &[i64],
    ) -> Result<(), String> {
        let mut net = line.number("record_charge")?;
        let mut price = net;
        let mut pool_ms = line.number("record_pool_used_ms")?;
        let day_of_record = line.maybe_text("record_day")?;
        let mut paid = leg.tab.as_ref().map_or_else(Vec::new, |tab| correct::first_paid(tab, leg));
        let mut again = Micros::ZERO;
        for (due, ((correction, day, request), granted)) in (1..).zip(corrections.iter().zip(granted)) {
            let place = format!("{place}, correction {}", correction.number);
            self.equal(ONCE, &place, "its number", correction.number, due);
            let (amount, memo) = booked.corrections.remove(&correction.number).unwrap_or_default();
            self.equal(SUMS, &place, "its amount", correction.amount.0, amount);
            if amount != 0 && memo != format!("{}: {}", correction.kind, correction.reason) {
                self.tell(SUMS, &place, "the ledger has another reason");
            }
            if Some(&correction.organisation) != leg.organisation.as_ref() || *day != day_of_record {
                self.tell(PRICE, &place, "has another payer or another day than its leg");
            }
            if let (Some(terms), Some(tab)) = (&correction.terms, &leg.tab) {
                let priced = correct::priced(tab, &Terms::from_line(terms)?, &paid, leg);
                (again, paid) = (priced.0, priced.1);
            }
            let is_part = correction.pool_ms == 0 && correction.month_ms == 0;
            let part = Micros(-correction.amount.0);
            let asked = |amount| correct::request(correction.kind, leg.id, amount) == *request;
            if !(asked(None) || is_part && asked(Some(part))) {
                self.tell(PRICE, &place, "is not what was asked for");
            }
            if let Some(found) = correction.price {
                self.equal(PRICE, &place, "the price", found, again);
                self.equal(PRICE, &place, "the difference", correction.amount.0, (found.0 - price).max(-net));
                price = found.0;
            }
            (net, pool_ms) = (net + correction.amount.0, pool_ms + correction.pool_ms);
            if net < 0 || pool_ms < 0 || correction.kind == CorrectionKind::Refund && correction.amount.0 > 0 {
                self.tell(PRICE, &place, "gives back more than there was");
            }
            if let Some(tab) = &leg.tab {
                self.count_month(leg, tab, correction.month_ms);
            }
            if let (Some(organisation), Some(day)) = (&leg.organisation, day) {
                let spent = correction.amount.0.saturating_sub(*granted);
                self.count(leg, day, line.maybe_text("record_utc_day")?.as_deref(), spent);
                *self.days.entry((organisation.to_string(), day.clone())).or_default() += spent;
            }
        }
        for number in booked.corrections.into_keys() {
            self.tell(ONCE, place, format_args!("the ledger has a correction {number} that is not written"));
        }
        Ok(())
    }

    /// What stands in the books of legs that do not exist.
    fn orphans(&mut self, beside: Beside) {
        for leg in beside.booked.into_keys() {
            self.tell(ONCE, format_args!("leg {leg}"), "is in the ledger and not in the journal");
        }
        for leg in beside.uses.into_keys() {
            self.tell(SUMS, format_args!("leg {leg}"), "has used grants and is not in the journal");
        }
        for leg in beside.steps.into_keys() {
            self.tell(HOLDS, format_args!("leg {leg}"), "has holds and is not in the journal");
        }
    }
}

/// What parts have of each grant.
fn by_grant(parts: &[Part]) -> BTreeMap<GrantId, u64> {
    let mut sums = BTreeMap::new();
    for part in parts {
        if let Some(grant) = part.bucket.grant() {
            let sum: &mut u64 = sums.entry(grant.clone()).or_default();
            *sum = sum.saturating_add(part.amount);
        }
    }
    sums
}

impl Booked {
    fn add(&mut self, step: &str, row: &Row) -> Result<(), StoreError> {
        let (debit, credit): (String, String) = (row.try_get(1)?, row.try_get(2)?);
        let amount: i64 = row.try_get(3)?;
        let is = |text: &str, kind: Kind| text == kind.slug();
        if let Some((before, _)) = step.split_once(grant::KEY) {
            let (from, to, sign) =
                if before.is_empty() { (Kind::Grant, Kind::Earnings, 1) } else { (Kind::Earnings, Kind::Grant, -1) };
            if !is(&debit, from) || !is(&credit, to) {
                self.strange.push(format!("{step}: from {debit} to {credit}"));
            }
            self.grants.insert(step.to_owned(), sign * amount);
            return Ok(());
        }
        if is(&debit, Kind::Available) && is(&credit, Kind::Held) {
            self.held += i128::from(amount);
        } else if is(&debit, Kind::Held) {
            self.held -= i128::from(amount);
        }
        let usual: &[(Kind, Kind)] = match step {
            "charge" => &[(Kind::Held, Kind::Earnings)],
            "release" => &[(Kind::Held, Kind::Available)],
            step if step.starts_with(correct::CORRECTION) => {
                &[(Kind::Earnings, Kind::Available), (Kind::Available, Kind::Earnings)]
            }
            _ => &[(Kind::Available, Kind::Held)],
        };
        if !usual.iter().any(|(from, to)| is(&debit, *from) && is(&credit, *to)) {
            self.strange.push(format!("{step}: from {debit} to {credit}"));
        }
        if step == "charge" {
            self.charge = Some(amount);
        }
        if let Some(number) = step.strip_prefix(correct::CORRECTION) {
            let amount = if is(&debit, Kind::Earnings) { -amount } else { amount };
            self.corrections.insert(number.parse().unwrap_or(0), (amount, row.try_get(4)?));
        }
        Ok(())
    }
}
