//! After the last call: each leg's record with its price explained, the ledger, the pool, and the audit.

use super::gathering::{ALDO, ANNA, BEA, DORA};
use super::price::by_hand;
use super::scene::{BEN, CIRO, GRACE, UGO};
use super::story::Story;
use crate::cli::Failure;
use crate::clock;
use crate::rating::ledger::Entry;
use crate::rating::record::utc;
use crate::rating::{CallType, UsageRecord};
use crate::store::{Balance, Difference, PoolState, Store, UsageFilter};
use crate::types::{Micros, OrganisationId};
use serde_json::{Value, json};
use std::collections::HashMap;

/// What each organisation paid in before the demo began.
const OPENINGS: [(&str, i64); 3] = [("aurora", 5_000_000), ("borealis", 0), ("comet", 15_000)];
/// Legs of the whole story: nine calls that were answered, and three that were not.
const LEGS: usize = 12;
/// Entries shown of each ledger; the story makes some thirty.
const ENTRIES: u32 = 1_000;

/// All that the books say.
pub(super) struct Accounts {
    records: Vec<UsageRecord>,
    houses: Vec<House>,
    differences: Vec<Difference>,
}

/// One organisation's part.
struct House {
    balance: Balance,
    pool: PoolState,
    ledger: Vec<Entry>,
}

impl Accounts {
    pub async fn read(store: &Store) -> Result<Accounts, Failure> {
        let mut records = store.usage(&UsageFilter::default()).await?;
        records.sort_by_key(|record| record.usage_id);
        let mut houses = Vec::new();
        for (id, _) in OPENINGS {
            let id: OrganisationId = id.parse()?;
            houses.push(House {
                balance: store.balance(&id).await?,
                pool: store.pool(&id, clock::wall()).await?,
                ledger: store.ledger(&id, ENTRIES).await?,
            });
        }
        Ok(Accounts { records, houses, differences: store.audit().await? })
    }

    pub fn print(&self, story: &Story) {
        story.print("\nlegs, in the order of their calls");
        for (number, record) in self.records.iter().enumerate() {
            leg(number + 1, record).iter().for_each(|line| story.print(line));
        }
        story.print("\nledger (double entry: out of one account, into another)");
        let numbers: HashMap<String, usize> =
            self.records.iter().enumerate().map(|(at, record)| (record.usage_id.to_string(), at + 1)).collect();
        for house in &self.houses {
            house.lines(&numbers).iter().for_each(|line| story.print(line));
        }
        story.print("");
    }

    /// Every charge, balance and minute against what was worked out apart from the bridge; then the bridge's own audit.
    pub fn check(&self, story: &Story) {
        let answered = self.records.iter().filter(|record| record.beyond.stamps.answered.is_some()).count();
        let told = format!("{} legs were recorded, {answered} of them answered", self.records.len());
        story.check("books", told, self.records.len() == LEGS);
        let wrong = self.records.iter().filter(|record| by_hand(record) != Some(record.charge)).count();
        let told = match wrong {
            0 => "each charge is the one worked out a second time, by hand".to_owned(),
            _ => format!("{wrong} charges are not the ones worked out by hand"),
        };
        story.check("books", told, wrong == 0);
        for (house, (_, opening)) in self.houses.iter().zip(OPENINGS) {
            self.check_balance(house, Micros(opening), story);
        }
        self.check_pool(story);
        for difference in &self.differences {
            story.print(format!("  {}: {}", difference.place, difference.text));
        }
        story.check("audit", format!("{} differences", self.differences.len()), self.differences.is_empty());
    }

    fn check_balance(&self, house: &House, opening: Micros, story: &Story) {
        let id = &house.balance.organisation;
        let theirs = self.records.iter().filter(|record| record.beyond.organisation.as_ref() == Some(id));
        let spent: Micros = theirs.filter_map(by_hand).sum();
        let left = house.balance.available;
        let right = left == Micros(opening.0 - spent.0) && house.balance.held == Micros::ZERO;
        story.check("books", format!("{id}: {opening} paid in, {spent} used, {left} left, nothing held"), right);
    }

    /// Calls out of the pool took their own seconds from it, and nobody else's.
    fn check_pool(&self, story: &Story) {
        let used_ms: u64 = self.houses.iter().map(|house| house.pool.used_ms).sum();
        let grace = |record: &&UsageRecord| record.destination.to_string() == GRACE.number;
        let due_ms = self.records.iter().find(grace).map_or(0, |record| record.duration_ms);
        let told = format!("{} of the pool's minutes were used, all by Grace's call", minutes(used_ms));
        story.check("books", told, used_ms == due_ms && used_ms > 0);
    }

    pub fn to_json(&self) -> Result<Value, Failure> {
        // The demo's callers are nobody.
        let whole = |record: &UsageRecord| record.outside().map(|number| number.to_string()).unwrap_or_default();
        let legs = self.records.iter().map(|record| serde_json::from_str(&record.to_json(&whole(record))));
        let legs: Vec<Value> = legs.collect::<Result<_, _>>()?;
        let houses: Vec<Value> = self.houses.iter().map(House::to_json).collect();
        let difference = |found: &Difference| json!({"place": found.place, "text": found.text});
        let differences: Vec<Value> = self.differences.iter().map(difference).collect();
        Ok(json!({"legs": legs, "organisations": houses, "differences": differences}))
    }
}

impl House {
    fn lines(&self, numbers: &HashMap<String, usize>) -> Vec<String> {
        let Balance { organisation, currency, posted, held, available, .. } = &self.balance;
        let mut lines = vec![format!("  {organisation}")];
        lines.extend(self.ledger.iter().map(|entry| {
            let (from, to) = (entry.debit.kind, entry.credit.kind);
            format!("    {:26} {:>9} -> {:9} {:>10}", step(&entry.key, numbers), from, to, entry.amount)
        }));
        lines.push(format!("    posted {posted}, held {held}, available {available} {currency}"));
        if self.pool.granted_ms > 0 {
            let (granted, used) = (self.pool.granted_ms, self.pool.used_ms);
            lines.push(format!("    pool of this month: {} of {} used", minutes(used), minutes(granted)));
        }
        lines
    }

    fn to_json(&self) -> Value {
        let entry = |entry: &Entry| {
            json!({
                "key": entry.key,
                "out_of": entry.debit.kind.slug(),
                "into": entry.credit.kind.slug(),
                "amount": entry.amount.to_text(),
            })
        };
        let ledger: Vec<Value> = self.ledger.iter().map(entry).collect();
        json!({
            "organisation": self.balance.organisation.as_str(),
            "currency": self.balance.currency.as_str(),
            "posted": self.balance.posted.to_text(),
            "held": self.balance.held.to_text(),
            "available": self.balance.available.to_text(),
            "pool_granted_ms": self.pool.granted_ms,
            "pool_used_ms": self.pool.used_ms,
            "ledger": ledger,
        })
    }
}

/// A key of the ledger, its leg by the number that it has in the list above.
fn step(key: &str, numbers: &HashMap<String, usize>) -> String {
    let of_leg = key.strip_prefix("leg:").and_then(|rest| rest.split_once(':'));
    match of_leg.and_then(|(leg, step)| Some((numbers.get(leg)?, step))) {
        Some((number, step)) => format!("leg {number} {step}"),
        None => key.to_owned(),
    }
}

fn minutes(ms: u64) -> String {
    format!("{} min {}.{:03} s", ms / 60_000, ms / 1_000 % 60, ms % 1_000)
}

/// A leg's record, on a few lines.
fn leg(number: usize, record: &UsageRecord) -> Vec<String> {
    let beyond = &record.beyond;
    let caller = record.caller.map_or("anonymous".to_owned(), |caller| name_of(&caller.to_string()));
    let called = name_of(&record.destination.to_string());
    let kind = match record.call_type {
        CallType::DialInToll => "in, toll",
        CallType::DialInTollFree => "in, toll-free",
        CallType::DialOut => "out",
    };
    let payer = beyond.organisation.as_ref().map_or("nobody pays", OrganisationId::as_str);
    let meeting = record.conference_id.as_deref().map_or(String::new(), |id| format!(", conference ID {id}"));
    let at = beyond.stamps.answered.map_or("never answered".to_owned(), |at| format!("answered {}", utc(at)));
    let capability = record.capability.map_or(String::new(), |capability| format!("  {capability}"));
    let mut lines = vec![
        format!("  {number}  {caller} -> {called}  ({kind}; {payer}{meeting})"),
        format!(
            "     {at}, {} s, {} {}{capability}; ended by {}: {} (SIP {}, Q.850 {})",
            record.duration_seconds(),
            record.charge,
            record.currency,
            beyond.ended_by,
            beyond.cause.words(),
            beyond.sip,
            beyond.q850
        ),
    ];
    lines.extend(beyond.explanation.iter().map(|line| format!("       {line}")));
    lines
}

/// `Anna +390611111103`; a number alone where nobody of the story has it.
fn name_of(number: &str) -> String {
    let known = [&ALDO, &BEA, &ANNA, &DORA, &UGO, &CIRO, &BEN, &GRACE].into_iter().find(|who| who.number == number);
    known.map_or(number.to_owned(), |who| format!("{} {number}", who.name))
}
