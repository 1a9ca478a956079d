//! Corrections: a leg's charge given back, whole or in part, and legs priced again under other prices. The usage record
//! stays as it was written; what changed is a further entry beside it, with its reason.

use super::books::{Books, millis};
use super::door::{Corrected, Correction, CorrectionKind, Refund, Reprice, Repriced, Rerating, Which};
use super::draw::Draws;
use super::facts::{Facts, Organisation};
use super::fault::StoreError;
use super::grant;
use super::leg::{self, LegRow};
use super::report;
use super::rows::Line;
use super::spending;
use super::sql::{self, Connection};
use super::threshold::{self, Seen};
use super::trail::{self, Told, Tried, Who};
use crate::clock::Wall;
use crate::rating::grant::{Bucket, Part, granted_money};
use crate::rating::ledger::Kind;
use crate::rating::{self, Book, CallType, Origin, Request, Tab, Terms, reprice};
use crate::types::{E164, GrantId, LegId, Micros};
use serde_json::json;

/// Legs that one request prices again at most: other requests wait for no more than some hundredths of a second.
pub(super) const MOST_AT_ONCE: usize = 200;

/// The longest reason.
const LONGEST_REASON: usize = 400;

/// A settled leg with all that was ever booked for it.
struct Settled {
    leg: LegRow,
    /// The outside party's number, of which the leg itself has nothing any more.
    outside: Option<E164>,
    /// Nobody asked that the outside party be forgotten: who has no number came without one.
    is_known: bool,
    charge: i64,
    pool_used_ms: i64,
    day: Option<String>,
    utc_day: Option<String>,
    /// What money of grants paid counts to its day too.
    counts_grants: bool,
    corrections: Vec<Correction>,
    /// What it has used of grants, all told.
    grants: Vec<(GrantId, u64)>,
}

const SELECT: &str = "SELECT leg.*, usage_record.charge AS record_charge, usage_record.pool_used_ms AS record_pool_used_ms, \
     usage_record.day AS record_day, usage_record.utc_day AS record_utc_day, \
     usage_record.granted AS record_granted, person.number AS person_number, person.call_id AS person_call_id \
     FROM leg JOIN usage_record ON usage_record.leg = leg.id JOIN person ON person.leg = leg.id WHERE leg.id = $1";

async fn settled(conn: &mut Connection, id: LegId) -> Result<Settled, StoreError> {
    let row = sql::query(SELECT).bind(id.to_string()).fetch_optional(conn).await?;
    let row = row.ok_or_else(|| StoreError::Unknown(format!("settled leg {id}")))?;
    let line = Line { row: &row, table: "leg" };
    let leg = leg::read(&line).map_err(StoreError::Broken)?;
    let outside = line.maybe("person_number").map_err(StoreError::Broken)?;
    Ok(Settled {
        leg,
        outside,
        is_known: outside.is_some() || !row.try_get::<String, _>("person_call_id")?.is_empty(),
        charge: row.try_get("record_charge")?,
        pool_used_ms: row.try_get("record_pool_used_ms")?,
        day: row.try_get("record_day")?,
        utc_day: row.try_get("record_utc_day")?,
        counts_grants: row.try_get::<Option<i64>, _>("record_granted")?.is_some(),
        corrections: of_leg(conn, id).await?,
        grants: grant::used_by(conn, id).await?,
    })
}

/// A leg's corrections, in their order.
pub(super) async fn of_leg(conn: &mut Connection, leg: LegId) -> Result<Vec<Correction>, StoreError> {
    let rows = sql::query(with_grants!("WHERE leg = $1 ORDER BY number")).bind(leg.to_string()).fetch_all(conn).await?;
    rows.iter().map(|row| read(&Line { row, table: "correction" }).map_err(StoreError::Broken)).collect()
}

/// A question for corrections, with what grants had back beside each.
macro_rules! with_grants {
    ($which:literal) => {
        concat!(
            "SELECT correction.*, (SELECT string_agg(grants.unit || ':' || grants.id || ' ' || (0 - grant_use.amount), ',') \
             FROM grant_use JOIN grants ON grants.id = grant_use.grant_id WHERE grant_use.leg = correction.leg \
             AND grant_use.key = 'leg:' || correction.leg || ':correction:' || correction.number || ':grant:' || grants.id) \
             AS grants FROM correction ",
            $which
        )
    };
}
pub(super) use with_grants;

fn grants(line: &Line<'_>) -> Result<Vec<Part>, String> {
    let text = line.maybe_text("grants")?.unwrap_or_default();
    let part = |text: &str| {
        let (bucket, amount) = text.split_once(' ')?;
        Some(Part { bucket: bucket.parse().ok()?, amount: amount.parse().ok()? })
    };
    let mut parts: Vec<Part> = text
        .split(',')
        .filter(|part| !part.is_empty())
        .map(|text| part(text).ok_or_else(|| format!("correction.grants: expected a grant's part, found \"{text}\"")))
        .collect::<Result<_, _>>()?;
    parts.sort_by(|a, b| a.bucket.cmp(&b.bucket));
    Ok(parts)
}

/// Reads a row of `correction`, asked for by [`with_grants`].
pub(super) fn read(line: &Line<'_>) -> Result<Correction, String> {
    Ok(Correction {
        key: line.text("key")?,
        leg: line.parse("leg")?,
        number: u32::try_from(line.count("number")?).unwrap_or(u32::MAX),
        organisation: line.parse("organisation")?,
        kind: line.parse("kind")?,
        amount: Micros(line.number("amount")?),
        pool_ms: line.number("pool_ms")?,
        month_ms: line.number("month_ms")?,
        grants: grants(line)?,
        at: Wall::from_micros(line.number("at")?),
        reason: line.text("reason")?,
        price: line.maybe_number("price")?.map(Micros),
        terms: line.maybe_text("terms")?,
        by_path: line.flag("by_path")?,
    })
}

impl Settled {
    fn sum(&self, of: impl Fn(&Correction) -> i64) -> i64 {
        self.corrections.iter().map(of).sum()
    }

    /// What the leg has cost, all told: never below zero.
    fn net(&self) -> i64 {
        self.charge + self.sum(|correction| correction.amount.0)
    }

    /// The price that the last pricing gave it: refunds are not of it.
    fn price(&self) -> i64 {
        self.corrections
            .iter()
            .filter_map(|correction| correction.price)
            .next_back()
            .map_or(self.charge, |price| price.0)
    }

    /// What money of grants paid by the last pricing: refunds are not of it.
    fn paid_by_grants(&self) -> Result<Vec<Part>, StoreError> {
        let Some(tab) = &self.leg.tab else { return Ok(Vec::new()) };
        let mut paid = first_paid(tab, &self.leg);
        for line in self.corrections.iter().filter_map(|correction| correction.terms.as_deref()) {
            let terms = Terms::from_line(line).map_err(StoreError::Broken)?;
            paid = priced(tab, &terms, &paid, &self.leg).1;
        }
        Ok(paid)
    }

    /// All that grants have not had back yet.
    fn grants_left(&self) -> Vec<Part> {
        let used = |bucket: &Bucket| {
            let own = self.grants.iter().find(|(grant, _)| bucket.grant() == Some(grant));
            own.map_or(0, |(_, amount)| *amount)
        };
        let held = self.leg.tab.iter().flat_map(|tab| &tab.held);
        let buckets = held.map(|part| &part.bucket).filter(|bucket| bucket.grant().is_some());
        buckets.map(|bucket| Part { bucket: bucket.clone(), amount: used(bucket) }).collect()
    }

    /// The money that has not gone back yet: of credits and of grants.
    fn money_left(&self) -> Vec<Part> {
        let credits = Part { bucket: Bucket::Credits, amount: u64::try_from(self.net()).unwrap_or(0) };
        let grants = self.grants_left().into_iter().filter(|part| matches!(part.bucket, Bucket::Money(_)));
        let mut left = vec![credits];
        for part in grants {
            if left.iter().all(|known| known.bucket != part.bucket) {
                left.push(part);
            }
        }
        left
    }

    fn pool_left_ms(&self) -> i64 {
        self.pool_used_ms + self.sum(|correction| correction.pool_ms)
    }

    /// The terms that gave it its price.
    fn terms(&self) -> Result<Option<Terms>, StoreError> {
        let last = self.corrections.iter().rev().find_map(|correction| correction.terms.as_deref());
        let of_leg = || self.leg.tab.as_ref().map(|tab| tab.terms.clone());
        last.map_or_else(|| Ok(of_leg()), |line| Terms::from_line(line).map(Some).map_err(StoreError::Broken))
    }

    /// The minutes that it still counts to its month.
    fn month_left_ms(&self) -> i64 {
        let counted = self.leg.tab.as_ref().filter(|tab| tab.terms.month.is_some() && tab.sequence > 0);
        let used =
            counted.map_or(0, |tab| millis(tab.settle(self.leg.answered.map(|_| self.leg.elapsed_ms)).priced_ms));
        used + self.sum(|correction| correction.month_ms)
    }
}

// --------------------------------------------------------------------------------------------------------------- refund

/// As [`refund`], and what was booked, or refused, stands in the trail.
pub(super) async fn refund_told(books: &mut Books, (asked, who): &(Refund, Who)) -> Result<Corrected, StoreError> {
    let tried = Tried { at: asked.at, who, verb: "refund", what: format!("leg {}", asked.leg), organisation: None };
    let outcome = refund(books, asked).await;
    trail::told(books, tried, outcome, |tried, outcome| match outcome {
        Corrected::Booked(correction) => vec![Told {
            organisation: Some(correction.organisation.clone()),
            ..tried.done(json!({
                "amount": correction.amount.to_text(), "pool_ms": correction.pool_ms, "month_ms": correction.month_ms,
                "grants": correction.grants, "key": asked.key, "reason": asked.reason,
            }))
        }],
        Corrected::TooMuch { left } => vec![tried.done(trail::refusal(&[format!("only {left} is left to give back")]))],
        Corrected::Repeated(_) => Vec::new(),
    })
    .await
}

/// Gives a charge back: a part of its money, to where it was drawn from last, or all that is left of it, and then its
/// time of pool and grants, and minutes of the month, too.
async fn refund(books: &mut Books, asked: &Refund) -> Result<Corrected, StoreError> {
    checked(&asked.key, &asked.reason)?;
    let request = request(CorrectionKind::Refund, asked.leg, asked.amount);
    if let Some(first) = repeated(&mut books.conn, &asked.key, &request).await? {
        return Ok(Corrected::Repeated(first));
    }
    if asked.amount.is_some_and(|amount| amount <= Micros::ZERO) {
        return Err(StoreError::Conflict("a refund is more than zero".to_owned()));
    }
    let settled = settled(&mut books.conn, asked.leg).await?;
    let left = settled.money_left();
    let most = sum(&left);
    if asked.amount.is_some_and(|amount| amount > most) {
        return Ok(Corrected::TooMuch { left: most });
    }
    let (back, pool_ms, month_ms, grants) = match asked.amount {
        None => (settled.net(), settled.pool_left_ms(), settled.month_left_ms(), settled.grants_left()),
        Some(amount) => {
            let parts = way_back(&settled.leg, &left, amount);
            (credits(&parts), 0, 0, parts.into_iter().filter(|part| part.bucket.grant().is_some()).collect())
        }
    };
    if back == 0 && pool_ms == 0 && month_ms == 0 && grants.iter().all(|part| part.amount == 0) {
        return Ok(Corrected::TooMuch { left: Micros::ZERO });
    }
    let new = New {
        key: asked.key.clone(),
        kind: CorrectionKind::Refund,
        request,
        amount: -back,
        pool_ms: -pool_ms,
        month_ms: -month_ms,
        at: asked.at,
        reason: asked.reason.clone(),
        price: None,
        terms: None,
        grants,
    };
    Ok(book(books, &settled, new).await?.map_or(Corrected::TooMuch { left: most }, Corrected::Booked))
}

fn sum(parts: &[Part]) -> Micros {
    Micros(millis(parts.iter().fold(0, |sum, part| sum.saturating_add(part.amount))))
}

/// The part of it that is the credits'.
pub(super) fn credits(parts: &[Part]) -> i64 {
    let credits = parts.iter().filter(|part| part.bucket == Bucket::Credits);
    credits.fold(0, |sum, part| sum.saturating_add(millis(part.amount)))
}

/// Where a stated amount goes back to, of what is `left`: what the leg was paid from last first.
pub(super) fn way_back(leg: &LegRow, left: &[Part], amount: Micros) -> Vec<Part> {
    let elapsed_ms = leg.answered.map(|_| leg.elapsed_ms);
    let used = leg.tab.as_ref().map_or_else(Vec::new, |tab| tab.money_used(elapsed_ms));
    rating::back(&used, left, u64::try_from(amount.0).unwrap_or(0))
}

/// What was asked for, in words that another request under the same key is held against.
pub(super) fn request(kind: CorrectionKind, leg: LegId, amount: Option<Micros>) -> String {
    match (kind, amount) {
        (CorrectionKind::Refund, Some(amount)) => format!("refund {leg} {amount}"),
        (CorrectionKind::Refund, None) => format!("refund {leg} whole"),
        (CorrectionKind::Rerate, _) => format!("re-rate {leg}"),
    }
}

fn checked(key: &str, reason: &str) -> Result<(), StoreError> {
    let refuse = |why: String| Err(StoreError::Conflict(why));
    match () {
        () if key.is_empty() || key.len() > 128 => refuse("a key has 1 to 128 characters".to_owned()),
        () if reason.trim().is_empty() => refuse("a correction has a reason".to_owned()),
        () if reason.len() > LONGEST_REASON => refuse(format!("a reason has at most {LONGEST_REASON} characters")),
        () => Ok(()),
    }
}

/// What was booked under `key` before; for something else, a conflict.
async fn repeated(conn: &mut Connection, key: &str, request: &str) -> Result<Option<Correction>, StoreError> {
    let row = sql::query(with_grants!("WHERE key = $1")).bind(key).fetch_optional(conn).await?;
    let Some(row) = row else { return Ok(None) };
    if row.try_get::<String, _>("request")? != request {
        return Err(StoreError::Conflict(format!("\"{key}\" was used before, for something else")));
    }
    read(&Line { row: &row, table: "correction" }).map(Some).map_err(StoreError::Broken)
}

// -------------------------------------------------------------------------------------------------------------- re-rate

/// What legs would cost by the prices that are in use now, as they were at each one's start; no money moves.
pub(super) async fn look(conn: &mut Connection, facts: &Facts, which: &Which) -> Result<Rerating, StoreError> {
    let (mut sum, mut after) = (Rerating::default(), report::Place::default());
    loop {
        let legs = report::legs_to_rerate(conn, facts, which, &mut after).await?;
        if legs.is_empty() {
            return Ok(sum);
        }
        for id in legs {
            let settled = settled(conn, id).await?;
            sum.count(priced_again(facts, &settled)?.0);
        }
    }
}

/// Terms that change a price, and what grants then have back.
type Fresh = (Terms, Vec<Part>);

/// The new price, and the terms that give it, where they are others.
fn priced_again(facts: &Facts, settled: &Settled) -> Result<(Repriced, Option<Fresh>), StoreError> {
    let leg = &settled.leg;
    let net = settled.net();
    let told = |price: i64, amount: i64, why: Option<&str>| Repriced {
        leg: leg.id,
        before: Micros(settled.price()),
        price: Micros(price),
        amount: Micros(amount),
        why_not: why.map(str::to_owned),
    };
    let unchanged = |why| Ok((told(settled.price(), 0, why), None));
    let organisation = leg.organisation.as_ref().and_then(|id| facts.organisations.get(id));
    let (Some(tab), Some(organisation), Some(before)) = (&leg.tab, organisation, settled.terms()?) else {
        return unchanged(None);
    };
    let user = leg.organiser.as_ref().and_then(|id| facts.users.get(id));
    let Some(user) = user else { return unchanged(Some("its organiser is not there any more")) };
    let book = Book {
        payer: &organisation.payer(true),
        organiser: &user.organiser(organisation, decided(leg)),
        countries: &facts.countries,
        prices: facts.prices(organisation),
        number: None,
        pool_left_ms: 0,
        available: Micros::ZERO,
        grants: &[],
    };
    let (number, caller) = match (leg.call_type, settled.outside) {
        (CallType::DialInToll, caller) => (leg.number, caller),
        (CallType::DialInTollFree, caller) if settled.is_known => (leg.number, caller),
        (CallType::DialOut, Some(called)) => (called, None),
        _ => return unchanged(Some("whose call it was has been forgotten, and its price goes by that")),
    };
    let request = Request { call_type: leg.call_type, number, caller, origin: Origin::Fixed, at: decided(leg) };
    let terms = match reprice(&book, &request, &before) {
        Ok(terms) => terms,
        Err(why) => return unchanged(Some(why.words())),
    };
    if terms == before {
        return unchanged(None);
    }
    let paid = settled.paid_by_grants()?;
    let (price, now_paid) = priced(tab, &terms, &paid, leg);
    let amount = (price.0 - settled.price()).max(-net);
    let changed = price.0 != settled.price() || now_paid != paid;
    let back = given_back(&paid, &now_paid, &settled.grants);
    Ok((told(price.0, amount, None), changed.then_some((terms, back))))
}

/// What money of grants paid of a leg at its end.
pub(super) fn first_paid(tab: &Tab, leg: &LegRow) -> Vec<Part> {
    let paid = tab.settle(leg.answered.map(|_| leg.elapsed_ms)).grants_used();
    paid.into_iter().filter(|part| !part.bucket.is_time()).collect()
}

/// What a leg costs by `terms`, whatever was held for it, and what money of grants pays of it: not more than it has
/// `paid`. Time of the pool and of grants stays as it was.
pub(super) fn priced(tab: &Tab, terms: &Terms, paid: &[Part], leg: &LegRow) -> (Micros, Vec<Part>) {
    let settlement = tab.settle_again(terms, paid, leg.answered.map(|_| leg.elapsed_ms));
    let mut grants = settlement.grants_used();
    grants.retain(|part| !part.bucket.is_time());
    (settlement.charge, grants)
}

/// What grants have back where they paid `before` and pay `after`, never more than they have not had back yet.
pub(super) fn given_back(before: &[Part], after: &[Part], used: &[(GrantId, u64)]) -> Vec<Part> {
    let of = |parts: &[Part], bucket: &Bucket| {
        parts.iter().find(|part| part.bucket == *bucket).map_or(0, |part| part.amount)
    };
    let left =
        |bucket: &Bucket| used.iter().find(|(id, _)| bucket.grant() == Some(id)).map_or(0, |(_, amount)| *amount);
    let back = |part: &Part| {
        let amount = part.amount.saturating_sub(of(after, &part.bucket)).min(left(&part.bucket));
        Part { bucket: part.bucket.clone(), amount }
    };
    before.iter().map(back).collect()
}

/// The moment of the decision: the call's, or, where the payer was named later, the answer's.
fn decided(leg: &LegRow) -> Wall {
    match leg.payer_known {
        None => leg.invited,
        Some(named) => leg.answered.filter(|answered| *answered <= named).unwrap_or(named),
    }
}

/// As [`rerate`], and each difference that was booked stands in the trail.
pub(super) async fn rerate_told(books: &mut Books, (asked, who): &(Reprice, Who)) -> Result<Vec<Repriced>, StoreError> {
    let tried = Tried { at: asked.at, who, verb: "re-rate", what: format!("legs {}", asked.key), organisation: None };
    let done = rerate(books, asked).await;
    let done = trail::told(books, tried, done, |_, (_, booked)| {
        let row = |correction: &Correction| Told {
            what: format!("leg {}", correction.leg),
            organisation: Some(correction.organisation.clone()),
            detail: json!({
                "amount": correction.amount.to_text(), "price": correction.price.map(Micros::to_text),
                "key": asked.key, "reason": asked.reason,
            }),
        };
        booked.iter().map(row).collect()
    });
    done.await.map(|(told, _)| told)
}

/// Prices legs again, and books the differences.
async fn rerate(books: &mut Books, asked: &Reprice) -> Result<(Vec<Repriced>, Vec<Correction>), StoreError> {
    let (mut told, mut booked) = (Vec::with_capacity(asked.legs.len()), Vec::new());
    for id in asked.legs.iter().take(MOST_AT_ONCE) {
        let key = format!("{}:{id}", asked.key);
        checked(&key, &asked.reason)?;
        let request = request(CorrectionKind::Rerate, *id, None);
        if let Some(first) = repeated(&mut books.conn, &key, &request).await? {
            told.push(booked_before(&first));
            continue;
        }
        let settled = settled(&mut books.conn, *id).await?;
        let (mut repriced, terms) = priced_again(&books.facts, &settled)?;
        if let Some((terms, grants)) = terms {
            let new = New {
                key,
                kind: CorrectionKind::Rerate,
                request,
                amount: repriced.amount.0,
                pool_ms: 0,
                month_ms: 0,
                at: asked.at,
                reason: asked.reason.clone(),
                price: Some(repriced.price),
                terms: Some(terms.to_line()),
                grants,
            };
            match book(books, &settled, new).await? {
                Some(correction) => booked.push(correction),
                None => {
                    (repriced.price, repriced.amount) = (repriced.before, Micros::ZERO);
                    repriced.why_not = Some("the account cannot pay the difference".to_owned());
                }
            }
        }
        told.push(repriced);
    }
    Ok((told, booked))
}

fn booked_before(first: &Correction) -> Repriced {
    let price = first.price.unwrap_or_default();
    Repriced { leg: first.leg, before: Micros(price.0 - first.amount.0), price, amount: first.amount, why_not: None }
}

// ---------------------------------------------------------------------------------------------------------------- books

/// A correction before it is booked.
struct New {
    key: String,
    kind: CorrectionKind,
    request: String,
    amount: i64,
    pool_ms: i64,
    month_ms: i64,
    at: Wall,
    reason: String,
    price: Option<Micros>,
    terms: Option<String>,
    /// What goes back to grants.
    grants: Vec<Part>,
}

/// Moves money, pool time and minutes of the month, and writes the correction; `None` where more is charged than the
/// account has.
async fn book(books: &mut Books, settled: &Settled, new: New) -> Result<Option<Correction>, StoreError> {
    let Some(organisation) = &settled.leg.organisation else {
        return Err(StoreError::Conflict(format!("leg {} has no payer", settled.leg.id)));
    };
    let organisation = books.organisation(organisation)?;
    let number = settled.corrections.len() + 1;
    if new.amount != 0 && !money(books, settled, &organisation, number, &new).await? {
        return Ok(None);
    }
    give_back_time(books, settled, &organisation, &new).await?;
    let key = entry_key(settled.leg.id, number);
    books.give_back_to_grants(&organisation, settled.leg.id, &key, &new.grants, new.at).await?;
    count(books, settled, &organisation, &new).await?;
    sql::query(
        "INSERT INTO correction (key, leg, number, organisation, kind, request, amount, pool_ms, month_ms, day, at, \
         reason, price, terms, by_path) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 1)",
    )
    .bind(&new.key)
    .bind(settled.leg.id.to_string())
    .bind(i64::try_from(number).unwrap_or(i64::MAX))
    .bind(organisation.id.as_str())
    .bind(new.kind.slug())
    .bind(&new.request)
    .bind(new.amount)
    .bind(new.pool_ms)
    .bind(new.month_ms)
    .bind(&settled.day)
    .bind(new.at.micros())
    .bind(&new.reason)
    .bind(new.price.map(|price| price.0))
    .bind(&new.terms)
    .execute(&mut books.conn)
    .await?;
    let booked = repeated(&mut books.conn, &new.key, &new.request).await?;
    booked.map(Some).ok_or_else(|| StoreError::broken("a correction that was just written is gone"))
}

/// How the steps of corrections begin.
pub(super) const CORRECTION: &str = "correction:";

/// The key of a correction's entry in the ledger.
pub(super) fn entry_key(leg: LegId, number: usize) -> String {
    format!("leg:{leg}:{CORRECTION}{number}")
}

/// Whether the account has it.
async fn money(
    books: &mut Books,
    settled: &Settled,
    organisation: &Organisation,
    number: usize,
    new: &New,
) -> Result<bool, StoreError> {
    let leg = settled.leg.id;
    books.expire(organisation, new.at).await?;
    let debt = books.sums(&organisation.id).await?.debt();
    if !books.shift(&organisation.id, Micros(-new.amount)).await? {
        return Ok(false);
    }
    let key = entry_key(leg, number);
    let amount = Micros(new.amount.abs());
    let memo = format!("{}: {}", new.kind, new.reason);
    if new.amount > 0 {
        books.book(organisation, (Kind::Available, Kind::Earnings), amount, key.clone(), &memo, new.at).await?;
        books.use_fundings(&organisation.id, amount, Draws::new(&key, Some(leg))).await?;
    } else {
        books.book(organisation, (Kind::Earnings, Kind::Available), amount, key.clone(), &memo, new.at).await?;
        books.give_back(organisation, leg, &key, amount, debt, new.at).await?;
    }
    threshold::money(books, organisation, Seen::default(), new.at).await?;
    Ok(true)
}

/// The days on which the leg was paid have room again, or less of it: by credits and, where they counted, by grants.
async fn count(books: &mut Books, settled: &Settled, organisation: &Organisation, new: &New) -> Result<(), StoreError> {
    let granted = if settled.counts_grants { granted_money(&new.grants).0 } else { 0 };
    let amount = new.amount.saturating_sub(granted);
    let Some(day) = settled.day.as_ref().filter(|_| amount != 0) else { return Ok(()) };
    sql::query("UPDATE spend SET charged = charged + $1 WHERE organisation = $2 AND day = $3")
        .bind(amount)
        .bind(organisation.id.as_str())
        .bind(day)
        .execute(&mut books.conn)
        .await?;
    match &settled.utc_day {
        Some(utc_day) => spending::correct(books, &settled.leg, organisation, (day, utc_day), amount).await,
        None => Ok(()),
    }
}

/// Pool time and minutes of the month go back to the months from which they were taken.
async fn give_back_time(
    books: &mut Books,
    settled: &Settled,
    organisation: &Organisation,
    new: &New,
) -> Result<(), StoreError> {
    let leg = &settled.leg;
    if let Some(month) = leg.pool_month.filter(|_| new.pool_ms != 0) {
        sql::query("UPDATE pool SET used_ms = used_ms + $1 WHERE organisation = $2 AND month = $3")
            .bind(new.pool_ms)
            .bind(organisation.id.as_str())
            .bind(month.micros())
            .execute(&mut books.conn)
            .await?;
    }
    if let Some(tab) = leg.tab.as_ref().filter(|_| new.month_ms != 0) {
        let back = u64::try_from(-new.month_ms).unwrap_or(0);
        leg::count_month(books, organisation, &tab.terms, (back, 0)).await?;
    }
    Ok(())
}
