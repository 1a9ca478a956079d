//! A leg in the books: born, funded, answered, funded again. Each step has a key, and a repeat is given the first
//! answer.

use super::books::{Books, Sums, Taking, millis};
use super::cap::{self, Met};
use super::door::{Answered, Extend, Grant, NamePayer, OpenLeg, Opened, PoolState, Rerouted};
use super::facts::{OnEmpty, Organisation, User};
use super::fault::StoreError;
use super::grant;
use super::hot;
use super::permit;
use super::pin;
use super::rows::Line;
use super::settle;
use super::sheet::{Asked, Kept};
use super::spending::{self, Whose};
use super::sql::{self, Connection, Row};
use super::threshold::{self, Seen};
use crate::clock::Wall;
use crate::notice::Kind as Alarm;
use crate::rating::burn::Burning;
use crate::rating::decide::{Book, decide};
use crate::rating::grant::{Bucket, Part, Unit, granted_money, parts_line, parts_of_line, plain_parts};
use crate::rating::ledger::Kind;
use crate::rating::pool::month_of;
use crate::rating::{CallType, Funding, Grant as Granted, Hold, Means, Origin, Request, Tab, Terms, burn};
use crate::types::{CarrierId, Cause, E164, LegId, MeetingId, Micros, OrganisationId, UserId};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The key of a leg's first step, and the beginnings of those of others.
pub(super) const OPEN: &str = "open";
pub(super) const PAYER: &str = "payer:";
pub(super) const EXTEND: &str = "extend:";

/// A leg as its row has it.
#[derive(Clone, Debug)]
pub(super) struct LegRow {
    pub id: LegId,
    pub is_open: bool,
    pub call_type: CallType,
    pub number: E164,
    pub caller: Option<E164>,
    pub origin: Origin,
    pub carrier: Option<CarrierId>,
    pub call_id: String,
    pub journal: String,
    pub invited: Wall,
    pub answered: Option<Wall>,
    pub payer_known: Option<Wall>,
    /// Milliseconds since the answer, as far as they are known now.
    pub elapsed_ms: u64,
    /// Those of them that a crash may charge: of a leg that is acknowledged.
    pub proven_ms: u64,
    pub organisation: Option<OrganisationId>,
    pub organiser: Option<UserId>,
    pub meeting: Option<MeetingId>,
    /// What is held, where anything was granted.
    pub tab: Option<Tab>,
    pub pool_month: Option<Wall>,
    pub burn_nanos: i64,
    /// Of an organiser, by their PIN.
    pub leads: bool,
}

impl Kept {
    pub const fn new(row: LegRow) -> Kept {
        Kept { row, asked: 0, named: false }
    }

    /// It has asked a step.
    pub fn note(&mut self, step: &str) {
        let number = step.strip_prefix(EXTEND).and_then(|number| number.parse().ok());
        self.asked = self.asked.max(number.unwrap_or(0));
        self.named |= step.starts_with(PAYER);
    }
}

impl Asked {
    pub fn read(row: &Row) -> Result<Asked, StoreError> {
        Ok(Asked {
            step: row.try_get("step")?,
            request: row.try_get("request")?,
            credit: row.try_get("credit")?,
            until_ms: row.try_get("until_ms")?,
        })
    }
}

const SELECT: &str = "SELECT * FROM leg WHERE id = $1";

async fn find(conn: &mut Connection, leg: LegId) -> Result<LegRow, StoreError> {
    let row = sql::query(SELECT).bind(leg.to_string()).fetch_optional(conn).await?;
    let row = row.ok_or_else(|| StoreError::Unknown(format!("leg {leg}")))?;
    read(&Line { row: &row, table: "leg" }).map_err(StoreError::Broken)
}

impl Books {
    /// A leg as its row is, or will be.
    pub async fn leg(&mut self, leg: LegId) -> Result<LegRow, StoreError> {
        if let Some(kept) = self.sheet.leg(leg) {
            return Ok(kept.row.clone());
        }
        if self.sheet.is_over(leg) {
            self.write().await?;
        }
        let row = find(&mut self.conn, leg).await?;
        let steps = sql::query("SELECT step FROM hold WHERE leg = $1").bind(leg.to_string());
        let steps = steps.fetch_all(&mut self.conn).await?;
        let mut kept = Kept::new(row.clone());
        for step in steps {
            kept.note(&step.try_get::<String, _>(0)?);
        }
        self.sheet.keep(kept);
        Ok(row)
    }

    /// The steps of a leg that ends, in no order.
    pub async fn steps(&mut self, leg: LegId) -> Result<Vec<Asked>, StoreError> {
        if let Some(steps) = self.sheet.steps.remove(&leg) {
            return Ok(steps);
        }
        self.write().await?;
        let rows = sql::query("SELECT step, request, credit, until_ms FROM hold WHERE leg = $1").bind(leg.to_string());
        rows.fetch_all(&mut self.conn).await?.iter().map(Asked::read).collect()
    }

    /// Whether a step was certainly never asked before: a leg that nobody knows is a new one (its row says so, should it
    /// not be), and numbers of slices go up.
    fn is_new(&self, leg: LegId, step: &str) -> bool {
        let number = step.strip_prefix(EXTEND).and_then(|number| number.parse::<u32>().ok());
        match (self.sheet.leg(leg), number) {
            (None, _) => step == OPEN && !self.careful,
            (Some(kept), Some(number)) => number > kept.asked,
            (Some(kept), None) => step.starts_with(PAYER) && !kept.named,
        }
    }
}

/// Reads a row of the journal.
pub(super) fn read(line: &Line<'_>) -> Result<LegRow, String> {
    let moment = |column: &str| Ok::<_, String>(line.maybe_number(column)?.map(Wall::from_micros));
    let tab = match line.maybe_text("terms")? {
        None => None,
        Some(terms) => Some(Tab {
            terms: Terms::from_line(&terms)?,
            held_until_ms: line.count("held_until_ms")?,
            held: match line.maybe_text("parts")? {
                Some(parts) => parts_of_line(&parts)?,
                None => plain_parts(line.count("pool_held_ms")?, line.count("credit_held")?),
            },
            sequence: u32::try_from(line.count("sequence")?).unwrap_or(u32::MAX),
            is_final: line.flag("is_final")?,
        }),
    };
    Ok(LegRow {
        id: line.parse("id")?,
        is_open: line.text("state")? == "open",
        call_type: line.parse("call_type")?,
        number: line.parse("number")?,
        caller: line.maybe("caller")?,
        origin: line.parse("origin")?,
        carrier: line.maybe("carrier")?,
        call_id: line.text("call_id")?,
        journal: line.text("journal")?,
        invited: Wall::from_micros(line.number("invited")?),
        answered: moment("answered")?,
        payer_known: moment("payer_known")?,
        elapsed_ms: line.count("elapsed_ms")?,
        proven_ms: line.count("elapsed_ms")?,
        organisation: line.maybe("organisation")?,
        organiser: line.maybe("organiser")?,
        meeting: line.maybe("meeting")?,
        tab,
        pool_month: moment("pool_month")?,
        burn_nanos: line.number("burn_nanos")?,
        leads: line.flag("leads")?,
    })
}

// ------------------------------------------------------------------------------------------------------------- the door

/// A leg is born: journaled first, then decided and funded if the payer is known.
pub(super) async fn open(books: &mut Books, asked: &OpenLeg) -> Result<Opened, StoreError> {
    let request =
        format!("{} {} {}", asked.call_type, asked.number, asked.meeting.as_ref().map_or("", MeetingId::as_str));
    if let Some(first) = first_answer(books, asked.leg, OPEN, &request).await? {
        return Ok(first);
    }
    let leg = journal(books, asked);
    let Some(meeting) = &asked.meeting else {
        let answer = Step { leg: asked.leg, step: OPEN, request: &request };
        return Ok(answer.keep(books, Opened::NoPayerYet, None, leg.tab.as_ref()));
    };
    let step = Step { leg: asked.leg, step: OPEN, request: &request };
    admit(books, leg, meeting, asked.invited, 0, step).await
}

/// The payer is known late: what has elapsed is covered too. Refused for one meeting, a caller may name another.
pub(super) async fn name_payer(books: &mut Books, asked: &NamePayer) -> Result<Opened, StoreError> {
    let name = format!("{PAYER}{}", asked.meeting);
    if let Some(first) = first_answer(books, asked.leg, &name, "").await? {
        return Ok(first);
    }
    let mut leg = open_leg(books, asked.leg).await?;
    if leg.tab.is_some() {
        return Err(StoreError::Conflict(format!("leg {} has a payer already", asked.leg)));
    }
    let at = leg.answered.unwrap_or(asked.now);
    leg.payer_known = Some(asked.now);
    books.sheet.change(&leg, true);
    admit(books, leg, &asked.meeting, at, asked.elapsed_ms, Step { leg: asked.leg, step: &name, request: "" }).await
}

/// Charged time begins. A second answer of the same leg changes nothing.
pub(super) async fn answered(books: &mut Books, asked: &Answered) -> Result<(), StoreError> {
    let mut leg = books.leg(asked.leg).await?;
    if leg.answered.is_some() || !leg.is_open {
        return Ok(());
    }
    if let Some(tab) = &mut leg.tab {
        tab.terms.answered(asked.at);
    }
    leg.answered = Some(asked.at);
    if let Some(journal) = &asked.journal {
        leg.journal.clone_from(journal);
    }
    books.sheet.change(&leg, true);
    Ok(())
}

/// The PIN was right: this is the organiser's own leg. And so is the key by which it was checked.
pub(super) async fn lead(books: &mut Books, asked: &LegId) -> Result<(), StoreError> {
    if !books.is_key_proven {
        pin::prove(&mut books.conn, books.facts.pins()).await?;
    }
    let leg = books.leg(*asked).await?;
    if leg.is_open && !leg.leads {
        books.sheet.change(&LegRow { leads: true, ..leg }, true);
    }
    Ok(())
}

/// Another carrier, and with it another call to end; who pays, and what is held, stay as they are. Refused, where that would
/// be more than may be spent by that carrier on one day: then the leg is as it was.
pub(super) async fn rerouted(books: &mut Books, asked: &Rerouted) -> Result<(), StoreError> {
    let mut leg = open_leg(books, asked.leg).await?;
    if leg.answered.is_some() {
        return Err(StoreError::Conflict(format!("leg {} is answered", asked.leg)));
    }
    // What it holds counts to the carrier that has the call.
    let held = leg.tab.as_ref().map_or(Micros::ZERO, |tab| tab.money_held());
    let organisation = leg.organisation.as_ref().map(|id| books.organisation(id)).transpose()?;
    if let Some(organisation) = &organisation {
        let by_it = LegRow { carrier: Some(asked.carrier.clone()), ..leg.clone() };
        // Another address of the same carrier: what is held is counted there already.
        if by_it.carrier != leg.carrier && held > Micros::ZERO {
            if !spending::fits_carrier(books, &by_it, organisation, held, leg.invited).await? {
                return Err(StoreError::Refused(Cause::CarrierSpendLimit));
            }
            books.count_held_by(Whose::Carrier, &leg, organisation, Micros(-held.0), None)?;
            books.count_held_by(Whose::Carrier, &by_it, organisation, held, Some(leg.invited))?;
        }
    }
    leg.carrier = Some(asked.carrier.clone());
    leg.call_id.clone_from(&asked.call_id);
    leg.journal.clone_from(&asked.journal);
    books.sheet.change(&leg, true);
    Ok(())
}

/// The next slice. What is refused ends at what it holds, and may ask again with a new number after a top-up.
pub(super) async fn extend(books: &mut Books, asked: &Extend) -> Result<Opened, StoreError> {
    let name = format!("{EXTEND}{}", asked.sequence);
    if let Some(first) = first_answer(books, asked.leg, &name, "").await? {
        return Ok(first);
    }
    let mut leg = books.leg(asked.leg).await?;
    if !leg.is_open {
        return closed(books, asked.leg).await;
    }
    let (Some(tab), Some(organisation)) = (leg.tab.take(), leg.organisation.clone()) else {
        return Err(StoreError::Conflict(format!("leg {} has no payer yet", asked.leg)));
    };
    let organisation = books.organisation(&organisation)?;
    leg.elapsed_ms = leg.elapsed_ms.max(asked.elapsed_ms);
    leg.proven_ms = leg.proven_ms.max(asked.proven_ms);
    let step = Step { leg: asked.leg, step: &name, request: "" };
    let has_entries = books.sums(&organisation.id).await?.has_entries;
    if let Err(cause) = permit::of_leg(&books.facts, &leg, &tab, has_entries, asked.now) {
        return Ok(step.keep(books, Opened::Refused(cause), None, Some(&tab)));
    }
    fund(books, leg, tab, &organisation, asked.now, step).await
}

// -------------------------------------------------------------------------------------------------------------- its parts

/// Somebody else closed the account of a leg that still talks: it is told why, and ends.
async fn closed(books: &mut Books, id: LegId) -> Result<Opened, StoreError> {
    // It may be of this very batch.
    books.write().await?;
    let cause = settle::record(&mut books.conn, id).await?.beyond.cause;
    match cause.is_withdrawal() {
        true => Ok(Opened::Refused(cause)),
        false => Err(StoreError::Conflict(format!("leg {id} is over"))),
    }
}

async fn open_leg(books: &mut Books, id: LegId) -> Result<LegRow, StoreError> {
    let leg = books.leg(id).await?;
    if leg.is_open { Ok(leg) } else { Err(StoreError::Conflict(format!("leg {id} is over"))) }
}

fn journal(books: &mut Books, asked: &OpenLeg) -> LegRow {
    let leg = LegRow {
        id: asked.leg,
        is_open: true,
        call_type: asked.call_type,
        number: asked.number,
        caller: asked.caller,
        origin: asked.origin,
        carrier: asked.carrier.clone(),
        call_id: asked.call_id.clone(),
        journal: asked.journal.clone(),
        invited: asked.invited,
        answered: None,
        payer_known: None,
        elapsed_ms: 0,
        proven_ms: 0,
        organisation: None,
        organiser: None,
        meeting: None,
        tab: None,
        pool_month: None,
        burn_nanos: 0,
        leads: false,
    };
    books.sheet.bear(leg.clone(), &books.node, books.life);
    leg
}

/// Who pays is known: notes it, decides, and takes the first hold.
async fn admit(
    books: &mut Books,
    mut leg: LegRow,
    meeting: &MeetingId,
    at: Wall,
    elapsed_ms: u64,
    step: Step<'_>,
) -> Result<Opened, StoreError> {
    let facts = books.facts.clone();
    let Some((user, organisation)) = facts.payer_of(meeting) else {
        return Ok(step.keep(books, Opened::Refused(Cause::UnknownMeeting), None, None));
    };
    (leg.organisation, leg.organiser) = (Some(organisation.id.clone()), Some(user.id.clone()));
    leg.meeting = Some(meeting.clone());
    books.sheet.change(&leg, true);
    // Covered by the hold, but proof of nothing: the answer may not be acknowledged yet, and then costs nothing.
    leg.elapsed_ms = leg.elapsed_ms.max(elapsed_ms);
    if let Err(cause) = hot::admits(books, &leg, organisation, at).await? {
        return Ok(step.keep(books, Opened::Refused(cause), None, None));
    }
    books.expire(organisation, at).await?;
    let mut decided = terms(books, &leg, user, organisation, at).await?;
    if decided.as_ref().is_err_and(|cause| *cause == Cause::NoCredit) && books.look_again(&organisation.id).await? {
        decided = terms(books, &leg, user, organisation, at).await?;
    }
    let mut terms = match decided {
        Ok(terms) => terms,
        Err(cause) => {
            match cause {
                Cause::NoRate => {
                    threshold::price(books, organisation, Alarm::NoRate, (leg.call_type, &leg.number), at).await?
                }
                Cause::NoCredit => {
                    let seen = Seen { refused: true, ..Seen::default() };
                    threshold::money(books, organisation, seen, at).await?;
                }
                _ => {}
            }
            return Ok(step.keep(books, Opened::Refused(cause), None, None));
        }
    };
    if let Some(answered) = leg.answered {
        terms.answered(answered);
    }
    if organisation.limits_at(at).caps.rate_micros.is_some_and(|most| dearest_nanos(&terms) > i128::from(most) * 1_000)
    {
        return Ok(step.keep(books, Opened::Refused(Cause::RateTooHigh), None, None));
    }
    if terms.funding == Funding::Free {
        threshold::price(books, organisation, Alarm::FreeCall, (leg.call_type, &leg.number), at).await?;
        tracing::error!(leg = %leg.id, "a row of the deck is broken: this call is let in free");
    }
    fund(books, leg, Tab::new(terms), organisation, at, step).await
}

/// The dearest minute that credits may have to pay, of a call of one day.
fn dearest_nanos(terms: &Terms) -> i128 {
    let steps = terms.tariff.iter().flat_map(|tariff| &tariff.later);
    let moments = steps.filter_map(|step| u64::try_from(step.from.micros() - terms.from.micros()).ok());
    let within_a_day = moments.map(|micros| micros.div_ceil(1_000)).filter(|ms| *ms <= 86_400_000);
    [0].into_iter().chain(within_a_day).map(|ms| burn::paid_nanos(terms, ms)).max().unwrap_or(0)
}

/// The accountant's decision, on what this transaction sees.
async fn terms(
    books: &mut Books,
    leg: &LegRow,
    user: &User,
    organisation: &Organisation,
    at: Wall,
) -> Result<Result<Terms, Cause>, StoreError> {
    let facts = books.facts.clone();
    let sums = books.sums(&organisation.id).await?;
    let pool = books.pool(organisation, at).await?;
    let grants = books.grants(&organisation.id, at).await?;
    let number = permit::number(&facts, &leg.number, &organisation.id);
    let book = Book {
        payer: &organisation.payer(sums.has_entries),
        organiser: &user.organiser(organisation, at),
        countries: &facts.countries,
        prices: facts.prices(organisation),
        number,
        pool_left_ms: pool_left_ms(&pool),
        available: sums.available(),
        grants: &grants,
    };
    let request = Request { call_type: leg.call_type, number: leg.number, caller: leg.caller, origin: leg.origin, at };
    let mut terms = match decide(&book, &request) {
        Ok(terms) => terms,
        Err(cause) => return Ok(Err(cause)),
    };
    count_from(&mut books.conn, organisation, &mut terms, at).await?;
    Ok(Ok(terms))
}

/// Where a price falls with the month's minutes, the leg begins where they are now.
pub(super) async fn count_from(
    conn: &mut Connection,
    organisation: &Organisation,
    terms: &mut Terms,
    at: Wall,
) -> Result<(), StoreError> {
    let Some(destination) = terms.month_destination() else { return Ok(()) };
    let (month, _) = month_of(at, &organisation.time_zone).map_err(StoreError::broken)?;
    let row = sql::query(
        "SELECT used_ms FROM month_use \
         WHERE organisation = $1 AND month = $2 AND call_type = $3 AND destination = $4",
    )
    .bind(organisation.id.as_str())
    .bind(month.micros())
    .bind(terms.call_type.slug())
    .bind(destination)
    .fetch_optional(conn)
    .await?;
    let used: i64 = row.map_or(Ok(0), |row| row.try_get(0))?;
    terms.month_used(month, u64::try_from(used).unwrap_or(0));
    Ok(())
}

/// The month's minutes move with what a leg holds: forward with a hold, back with what it did not use.
pub(super) async fn count_month(
    books: &mut Books,
    organisation: &Organisation,
    terms: &Terms,
    (before_ms, after_ms): (u64, u64),
) -> Result<(), StoreError> {
    let (Some(month), Some(tariff)) = (terms.month, &terms.tariff) else { return Ok(()) };
    if before_ms == after_ms {
        return Ok(());
    }
    sql::query(
        "INSERT INTO month_use (organisation, month, call_type, destination, used_ms) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (organisation, month, call_type, destination) DO UPDATE SET used_ms = month_use.used_ms + $6",
    )
    .bind(organisation.id.as_str())
    .bind(month.micros())
    .bind(terms.call_type.slug())
    .bind(&*tariff.row.destination)
    .bind(millis(after_ms))
    .bind(millis(after_ms).saturating_sub(millis(before_ms)))
    .execute(&mut books.conn)
    .await?;
    Ok(())
}

/// Paid time that a tab holds, brought up to its edge.
pub(super) fn paid_ms(tab: &Tab) -> u64 {
    tab.terms.sum(tab.held_until_ms, tab.time_held_ms()).map_or(0, |sum| sum.billed_ms)
}

const fn pool_left_ms(pool: &PoolState) -> u64 {
    pool.granted_ms.saturating_sub(pool.used_ms + pool.held_ms)
}

/// What a leg may take now.
struct Purse {
    /// Of credits, no more than limits on spending leave.
    available: Micros,
    /// Of credits, whatever the limits.
    balance: Micros,
    /// Of all money, what limits on spending leave, and the one that is tightest.
    room: (i64, Cause),
    floor: Micros,
    sums: Sums,
    /// Of a leg that the pool pays.
    pool: Option<PoolState>,
    grants: Arc<Vec<Granted>>,
    /// Days' limits on spending.
    met: Vec<Met>,
}

impl Purse {
    /// All that the leg may take.
    fn means(&self, leg: &LegRow, terms: &Terms, now: Wall) -> Means {
        let pool_left_ms = self.pool.map_or(0, |pool| pool_left_ms(&pool));
        let limit = Some(Micros(self.room.0.max(0)));
        let legs = self.pool.map_or(0, |pool| pool.legs);
        let plain = Means { limit, ..Means::plain(self.available, pool_left_ms).pooled_by(legs) };
        plain.with_grants(&self.grants, terms, &leg.number, now)
    }

    /// The limit that is short, where the money is not.
    fn limited(&self, means: &Means) -> Option<Cause> {
        let there = self.balance.0.max(0).saturating_add(means.granted_money().0);
        (self.room.0 < there).then_some(self.room.1)
    }
}

async fn purse(
    books: &mut Books,
    leg: &LegRow,
    tab: &Tab,
    organisation: &Organisation,
    now: Wall,
) -> Result<Purse, StoreError> {
    let sums = books.sums(&organisation.id).await?;
    // Only a leg that runs is let finish on the overdraft; a new one needs credit.
    let may_finish = organisation.on_empty == OnEmpty::Finish && tab.held_until_ms > 0;
    let floor = if may_finish { Micros(-sums.overdraft.0) } else { Micros::ZERO };
    let balance = Micros(sums.available().0.saturating_sub(floor.0));
    let mut met = Vec::new();
    let room = spending::room(books, leg, organisation, tab.money_held(), now, &mut met).await?;
    // The pool of the month in which the leg began stays its pool.
    let pool = match tab.terms.funding {
        Funding::Pool { .. } => Some(books.pool(organisation, leg.pool_month.unwrap_or(now)).await?),
        Funding::Included | Funding::Credits | Funding::Free => None,
    };
    let grants = books.grants(&organisation.id, now).await?;
    Ok(Purse { available: Micros(balance.0.min(room.0).max(0)), balance, room, floor, sums, pool, grants, met })
}

/// One more hold for a tab: the accountant says how much, the books either have it or not.
async fn fund(
    books: &mut Books,
    mut leg: LegRow,
    mut tab: Tab,
    organisation: &Organisation,
    now: Wall,
    step: Step<'_>,
) -> Result<Opened, StoreError> {
    let mut purse = purse(books, &leg, &tab, organisation, now).await?;
    if let Err(cause) = permit::over_to_credits(&books.facts, &leg, &tab, now) {
        (purse.available, purse.room, purse.grants) = (Micros::ZERO, (i64::MIN, cause), Arc::default());
    }
    let before = tab.clone();
    // All there is for this leg, and its share of it.
    let mut whole = purse.means(&leg, &tab.terms, now);
    let mut means = whole.clone();
    let burning = burning(&purse, &leg, &tab);
    let shared = burn::share(&mut means, &tab, leg.elapsed_ms, burning);
    if leg.leads {
        means = whole.clone();
    } else if shared.is_short {
        let hold = tab.clone().cover(leg.elapsed_ms, &whole, shared.slice_ms);
        let until = leg.answered.unwrap_or(now).plus_millis(hold.map_or(tab.held_until_ms, |hold| hold.until_ms));
        whole = whole.without(&first_claims(books, &leg, &purse, until).await?);
        means = means.within(&whole);
    }
    let wanted = tab.cover(leg.elapsed_ms, &means, shared.slice_ms);
    // A share that pays no increment gives way to one increment, as long as there is one.
    let wanted = match wanted {
        Err(Cause::NoCredit) if means != whole => {
            tab = before.clone();
            tab.cover(leg.elapsed_ms, &whole, 1)
        }
        Ok(hold) if hold.is_final => match burn::staying(&means, &before) {
            Some(means) => {
                let mut staying = before.clone();
                let mut stays = staying.cover(leg.elapsed_ms, &means, shared.slice_ms);
                if stays.is_err() {
                    // As above: rather one increment of the grant than out of it for good by a few credits.
                    staying = before.clone();
                    let means = Means { available: Micros::ZERO, ..whole.clone() };
                    stays = staying.cover(leg.elapsed_ms, &means, 1);
                }
                stays.map_or(Ok(hold), |stays| {
                    tab = staying;
                    Ok(stays)
                })
            }
            None => Ok(hold),
        },
        wanted => wanted,
    };
    let (taken, capped) = match wanted {
        Ok(hold) => (
            take(books, &mut leg, (&before, &tab), organisation, (&purse, &hold), now).await?.map(|sums| (hold, sums)),
            false,
        ),
        Err(cause) => (None, cause == Cause::SpendLimit),
    };
    let Some((hold, sums)) = taken else {
        if books.look_again(&organisation.id).await? {
            return Box::pin(fund(books, leg, before, organisation, now, step)).await;
        }
        let cause = purse.limited(&whole).unwrap_or(if capped { Cause::SpendLimit } else { Cause::NoCredit });
        let kept = Tab { is_final: true, ..before };
        let begun = kept.held_until_ms > 0;
        leg.tab = begun.then_some(kept);
        if begun {
            books.sheet.change(&leg, false);
        }
        cap::told(books, organisation, &purse.met, Err(cause), now).await?;
        threshold::money(books, organisation, Seen { refused: cause == Cause::NoCredit, ..Seen::default() }, now)
            .await?;
        return Ok(step.keep(books, Opened::Refused(cause), None, leg.tab.as_ref()));
    };
    if tab.terms.month.is_some() {
        let before_ms = if before.sequence > 0 { paid_ms(&before) } else { 0 };
        count_month(books, organisation, &tab.terms, (before_ms, paid_ms(&tab))).await?;
    }
    let key = format!("leg:{}:{}", leg.id, step.step);
    books.book(organisation, (Kind::Available, Kind::Held), hold.credit, key, "hold", now).await?;
    leg.pool_month = purse.pool.map(|pool| pool.month);
    let granted = Micros(whole.granted_money().0 - granted_money(&hold.taken).0);
    let funded_ms = funded_ms(&leg, sums.with(granted), sums.burn_nanos, hold.until_ms);
    let funding = tab.terms.funding;
    // Terms are frozen with the first hold.
    let first = before.held_until_ms == 0;
    leg.tab = Some(tab);
    if first {
        books.sheet.change(&leg, true);
    }
    books.sheet.change(&leg, false);
    if let Some(pool) = purse.pool.filter(|_| hold.pool_ms > 0) {
        let pool = PoolState { held_ms: pool.held_ms + hold.pool_ms, ..pool };
        threshold::pool(books, organisation, pool, now).await?;
    }
    threshold::grants(books, organisation, (&purse.grants, &hold.taken), now).await?;
    if hold.spent() > Micros::ZERO {
        cap::told(books, organisation, &purse.met, Ok(hold.spent()), now).await?;
    }
    if hold.credit > Micros::ZERO {
        threshold::money(books, organisation, Seen { funded_ms, ..Seen::default() }, now).await?;
    }
    let grant = Grant { until_ms: hold.until_ms, is_final: hold.is_final, funding, funded_ms };
    Ok(step.keep(books, Opened::Granted(grant), Some(&hold), leg.tab.as_ref()))
}

/// Who burns how much money, where this leg asks: of the others those that credits pay.
fn burning(purse: &Purse, leg: &LegRow, tab: &Tab) -> Burning {
    let own = burn::paid_nanos(&tab.terms, leg.elapsed_ms);
    let of_money = |grant: &&Granted| grant.unit == Unit::Money;
    let by_grants: i128 = purse.grants.iter().filter(of_money).map(|grant| i128::from(grant.burn_nanos)).sum();
    let by_grant = matches!(tab.bucket(), Some(Bucket::Money(_)));
    let of_this = if by_grant { 0 } else { leg.burn_nanos };
    let others = i128::from(purse.sums.burn_nanos) - by_grants - i128::from(of_this);
    Burning { before: leg.burn_nanos, own, credits: others.max(0) + own }
}

/// What organisers' own legs need to last as long as `until`, and as any other leg of the organisation, of each bucket:
/// nobody else takes of that. Where the grant that pays one has not got it, credits are to.
async fn first_claims(
    books: &mut Books,
    leg: &LegRow,
    purse: &Purse,
    until: Wall,
) -> Result<BTreeMap<Bucket, u64>, StoreError> {
    let mut claims: BTreeMap<Bucket, u64> = BTreeMap::new();
    let Some(organisation) = &leg.organisation else { return Ok(claims) };
    // Rows of this very batch count.
    books.write().await?;
    let rows = sql::query(
        "SELECT * FROM leg WHERE state = 'open' AND organisation = $1 AND leads = 1 \
         AND (burn_nanos > 0 OR pool_held_ms > 0 OR parts IS NOT NULL)",
    );
    let rows = rows.bind(organisation.as_str()).fetch_all(&mut books.conn).await?;
    if rows.is_empty() {
        return Ok(claims);
    }
    let last = sql::query(
        "SELECT COALESCE(MAX(answered + held_until_ms * 1000), 0) FROM leg \
         WHERE state = 'open' AND organisation = $1 AND (burn_nanos > 0 OR pool_held_ms > 0 OR parts IS NOT NULL)",
    );
    let last: i64 = last.bind(organisation.as_str()).fetch_one(&mut books.conn).await?.try_get(0)?;
    let last = until.micros().max(last);
    // A pool is one month's: that of an organiser may be another than this leg's, or this leg may have none.
    let mut left: BTreeMap<(Bucket, Option<Wall>), u64> =
        purse.grants.iter().map(|grant| ((grant.bucket(), None), grant.left)).collect();
    left.extend(purse.pool.map(|pool| ((Bucket::Pool, Some(pool.month)), pool_left_ms(&pool))));
    for row in &rows {
        let leader = read(&Line { row, table: "leg" }).map_err(StoreError::Broken)?;
        let (Some(mut tab), Some(answered)) = (leader.tab, leader.answered) else { continue };
        let until_ms = u64::try_from(last - answered.micros()).unwrap_or(0).div_ceil(1_000);
        let Some(bucket) = tab.bucket().cloned() else { continue };
        let month = leader.pool_month.filter(|_| bucket == Bucket::Pool);
        let source = (bucket.clone(), month);
        if let (Some(month), None) = (month, left.get(&source)) {
            let organisation = books.organisation(organisation)?;
            left.insert(source.clone(), pool_left_ms(&books.pool(&organisation, month).await?));
        }
        let there = left.get(&source).copied().unwrap_or(0);
        // Of the bucket that pays it, and of credits.
        let (own, credits) = match &bucket {
            Bucket::Credits => (0, needed(&tab, until_ms)),
            Bucket::Pool | Bucket::Seconds(_) => {
                let got = until_ms.saturating_sub(tab.held_until_ms).min(there);
                tab.held.push(Part { bucket: bucket.clone(), amount: got });
                tab.held_until_ms = tab.held_until_ms.saturating_add(got);
                (got, needed(&tab, until_ms))
            }
            Bucket::Money(_) => {
                let need = needed(&tab, until_ms);
                let got = need.min(there);
                (got, need - got)
            }
        };
        left.entry(source).and_modify(|left| *left -= own);
        let is_ours = month.is_none_or(|month| purse.pool.is_some_and(|pool| pool.month == month));
        let claimed = [(bucket, if is_ours { own } else { 0 }), (Bucket::Credits, credits)];
        for (bucket, claim) in claimed {
            let sum = claims.entry(bucket).or_default();
            *sum = sum.saturating_add(claim);
        }
    }
    Ok(claims)
}

fn needed(tab: &Tab, until_ms: u64) -> u64 {
    u64::try_from(tab.need(until_ms).0).unwrap_or(0)
}

/// Takes a hold out of account and pool, both or neither; gives the account's sums after it.
async fn take(
    books: &mut Books,
    leg: &mut LegRow,
    (before, tab): (&Tab, &Tab),
    organisation: &Organisation,
    (purse, hold): (&Purse, &Hold),
    now: Wall,
) -> Result<Option<Sums>, StoreError> {
    let burn = i64::try_from(burn::burn_nanos(tab, leg.elapsed_ms)).map_err(StoreError::broken)?;
    let burn_nanos = burn - leg.burn_nanos;
    let taking = Taking { credit: hold.credit, granted: hold.granted(), burn_nanos, floor: purse.floor };
    let moves = hold.spent() > Micros::ZERO || burn_nanos != 0;
    let sums = if moves { books.reserve(&organisation.id, taking).await? } else { Some(purse.sums) };
    let Some(sums) = sums else { return Ok(None) };
    let joins = i64::from(tab.is_in_pool()) - i64::from(before.is_in_pool());
    let pool = purse.pool.filter(|_| hold.pool_ms > 0 || joins != 0);
    if let Some(pool) = pool
        && !books.reserve_pool(&organisation.id, pool.month, (hold.pool_ms, joins)).await?
    {
        // The one writer has just seen it there: the books contradict themselves, and the savepoint takes all back.
        return Err(StoreError::broken("pool time that was there is gone"));
    }
    let burns = (grant::Burn::of(before, leg.burn_nanos), grant::Burn::of(tab, burn));
    books.reserve_grants(&organisation.id, &hold.taken, burns).await?;
    books.count_held(leg, organisation, hold.spent(), Some(now))?;
    leg.burn_nanos = burn;
    Ok(Some(sums))
}

/// How long the money lasts; `None` where credits do not pay.
fn funded_ms(leg: &LegRow, money: Micros, burn_nanos: i64, until_ms: u64) -> Option<u64> {
    let rest = until_ms.saturating_sub(leg.elapsed_ms);
    (leg.burn_nanos > 0).then(|| burn::funded_ms(rest, money, i128::from(burn_nanos)))
}

/// Parts as a row keeps them: where no grant is among them, other columns say it all.
pub(super) fn kept_parts(parts: &[Part]) -> Option<String> {
    parts.iter().any(|part| part.bucket.grant().is_some()).then(|| parts_line(parts))
}

// ---------------------------------------------------------------------------------------------------------------- keys

/// One step of a leg: its key, and what was asked under it.
#[derive(Clone, Copy)]
struct Step<'a> {
    leg: LegId,
    step: &'a str,
    request: &'a str,
}

impl Step<'_> {
    /// Keeps the answer under its key, with what it took.
    fn keep(self, books: &mut Books, answer: Opened, hold: Option<&Hold>, tab: Option<&Tab>) -> Opened {
        let (outcome, cause) = match answer {
            Opened::Granted(_) => ("granted", None),
            Opened::Refused(cause) => ("refused", Some(cause.slug())),
            Opened::NoPayerYet => ("no-payer", None),
        };
        let grant = if let Opened::Granted(grant) = answer { Some(grant) } else { None };
        let row = json!([
            self.leg.to_string(),
            self.step,
            self.request,
            outcome,
            cause,
            grant.map(|grant| grant.funding.slug()),
            hold.map_or(0, |hold| hold.credit.0),
            hold.map_or(0, |hold| millis(hold.pool_ms)),
            tab.map_or(0, |tab| millis(tab.held_until_ms)),
            i64::from(grant.is_some_and(|grant| grant.is_final)),
            grant.and_then(|grant| grant.funded_ms).map(millis),
            hold.and_then(|hold| kept_parts(&hold.taken)),
        ]);
        let asked = Asked {
            step: self.step.to_owned(),
            request: self.request.to_owned(),
            credit: hold.map_or(0, |hold| hold.credit.0),
            until_ms: tab.map_or(0, |tab| millis(tab.held_until_ms)),
        };
        books.sheet.answer(self.leg, asked, row);
        answer
    }
}

/// The answer that this step was given before, if it was asked before; asked for something else, a conflict.
async fn first_answer(books: &mut Books, leg: LegId, step: &str, request: &str) -> Result<Option<Opened>, StoreError> {
    if books.is_new(leg, step) {
        return Ok(None);
    }
    // It may be of this very batch.
    books.write().await?;
    let row = sql::query("SELECT * FROM hold WHERE leg = $1 AND step = $2")
        .bind(leg.to_string())
        .bind(step)
        .fetch_optional(&mut books.conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let before: String = row.try_get("request")?;
    // Of a leg that is over an alias is kept, and of one that is forgotten, nothing.
    if before != request && !before.is_empty() && before != books.facts.pins().alias(request) {
        return Err(StoreError::Conflict(format!("leg {leg}: \"{step}\" was asked before, for something else")));
    }
    kept(&Line { row: &row, table: "hold" }).map(Some).map_err(StoreError::Broken)
}

fn kept(line: &Line<'_>) -> Result<Opened, String> {
    Ok(match (line.maybe("cause")?, line.maybe("funding")?) {
        (Some(cause), _) => Opened::Refused(cause),
        (None, None) => Opened::NoPayerYet,
        (None, Some(funding)) => Opened::Granted(Grant {
            until_ms: line.count("until_ms")?,
            is_final: line.flag("is_final")?,
            funding,
            funded_ms: line.maybe_number("funded_ms")?.map(|ms| u64::try_from(ms).unwrap_or(0)),
        }),
    })
}
