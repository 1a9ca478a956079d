//! A leg in the books: born, funded, answered, funded again. Each step has a key, and a repeat is given the first
//! answer.

use super::books::{Books, Sums, Taking, millis};
use super::door::{Answered, Extend, Grant, NamePayer, OpenLeg, Opened, PoolState};
use super::facts::{OnEmpty, Organisation, User};
use super::fault::StoreError;
use super::rows::Line;
use crate::clock::Wall;
use crate::rating::decide::{Book, NumberFacts, decide};
use crate::rating::ledger::Kind;
use crate::rating::{CallType, Funding, Hold, Request, SLICE_MS, Tab, Terms, burn};
use crate::trunk::NumberKind;
use crate::types::{CarrierId, Cause, E164, LegId, MeetingId, Micros, OrganisationId, UserId};
use sqlx::{Row, SqliteConnection};

/// The key of a leg's first step.
const OPEN: &str = "open";

/// A leg as its row has it.
#[derive(Clone, Debug)]
pub(super) struct LegRow {
    pub id: LegId,
    pub is_open: bool,
    pub call_type: CallType,
    pub number: E164,
    pub caller: Option<E164>,
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
}

const SELECT: &str = "SELECT * FROM leg WHERE id = $1";

pub(super) async fn find(conn: &mut SqliteConnection, leg: LegId) -> Result<LegRow, StoreError> {
    let row = sqlx::query(SELECT).bind(leg.to_string()).fetch_optional(conn).await?;
    let row = row.ok_or_else(|| StoreError::Unknown(format!("leg {leg}")))?;
    read(&Line { row: &row, table: "leg" }).map_err(StoreError::Broken)
}

/// Reads a row of the journal.
pub(super) fn read(line: &Line<'_>) -> Result<LegRow, String> {
    let moment = |column: &str| Ok::<_, String>(line.maybe_number(column)?.map(Wall::from_micros));
    let tab = match line.maybe_text("terms")? {
        None => None,
        Some(terms) => Some(Tab {
            terms: Terms::from_line(&terms)?,
            held_until_ms: line.count("held_until_ms")?,
            credit_held: Micros(line.number("credit_held")?),
            pool_held_ms: line.count("pool_held_ms")?,
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
    })
}

/// The number of the life that begins: above those of all open legs.
pub(super) async fn next_life(conn: &mut SqliteConnection) -> Result<i64, sqlx::Error> {
    let sql = "SELECT COALESCE(MAX(life), 0) + 1 FROM leg WHERE state = 'open'";
    sqlx::query(sql).fetch_one(conn).await?.try_get(0)
}

// ------------------------------------------------------------------------------------------------------------- the door

/// A leg is born: journaled first, then decided and funded if the payer is known.
pub(super) async fn open(books: &mut Books, asked: OpenLeg) -> Result<Opened, StoreError> {
    let request =
        format!("{} {} {}", asked.call_type, asked.number, asked.meeting.as_ref().map_or("", MeetingId::as_str));
    if let Some(first) = first_answer(books, asked.leg, OPEN, &request).await? {
        return Ok(first);
    }
    journal(books, &asked).await?;
    let leg = find(&mut books.conn, asked.leg).await?;
    let Some(meeting) = asked.meeting else {
        let answer = Step { leg: asked.leg, step: OPEN, request: &request };
        return answer.keep(books, Opened::NoPayerYet, None, leg.tab.as_ref()).await;
    };
    let step = Step { leg: asked.leg, step: OPEN, request: &request };
    admit(books, leg, &meeting, asked.invited, 0, step).await
}

/// The payer is known late: what has elapsed is covered too. Refused for one meeting, a caller may name another.
pub(super) async fn name_payer(books: &mut Books, asked: NamePayer) -> Result<Opened, StoreError> {
    let name = format!("payer:{}", asked.meeting);
    if let Some(first) = first_answer(books, asked.leg, &name, "").await? {
        return Ok(first);
    }
    let leg = open_leg(books, asked.leg).await?;
    if leg.tab.is_some() {
        return Err(StoreError::Conflict(format!("leg {} has a payer already", asked.leg)));
    }
    let at = leg.answered.unwrap_or(asked.now);
    sqlx::query("UPDATE leg SET payer_known = $1 WHERE id = $2")
        .bind(asked.now.micros())
        .bind(asked.leg.to_string())
        .execute(&mut books.conn)
        .await?;
    admit(books, leg, &asked.meeting, at, asked.elapsed_ms, Step { leg: asked.leg, step: &name, request: "" }).await
}

/// Charged time begins. A second answer of the same leg changes nothing.
pub(super) async fn answered(books: &mut Books, asked: Answered) -> Result<(), StoreError> {
    let mut leg = find(&mut books.conn, asked.leg).await?;
    if leg.answered.is_some() || !leg.is_open {
        return Ok(());
    }
    if let Some(tab) = &mut leg.tab {
        tab.terms.answered(asked.at);
    }
    sqlx::query("UPDATE leg SET answered = $1, terms = $2, journal = $3 WHERE id = $4")
        .bind(asked.at.micros())
        .bind(leg.tab.as_ref().map(|tab| tab.terms.to_line()))
        .bind(asked.journal.as_deref().unwrap_or(&leg.journal))
        .bind(asked.leg.to_string())
        .execute(&mut books.conn)
        .await?;
    Ok(())
}

/// The next slice. What is refused ends at what it holds, and may ask again with a new number after a top-up.
pub(super) async fn extend(books: &mut Books, asked: Extend) -> Result<Opened, StoreError> {
    let name = format!("extend:{}", asked.sequence);
    if let Some(first) = first_answer(books, asked.leg, &name, "").await? {
        return Ok(first);
    }
    let mut leg = open_leg(books, asked.leg).await?;
    let (Some(tab), Some(organisation)) = (leg.tab.take(), leg.organisation.clone()) else {
        return Err(StoreError::Conflict(format!("leg {} has no payer yet", asked.leg)));
    };
    let organisation = books.organisation(&organisation)?;
    leg.elapsed_ms = leg.elapsed_ms.max(asked.elapsed_ms);
    leg.proven_ms = leg.elapsed_ms;
    let step = Step { leg: asked.leg, step: &name, request: "" };
    fund(books, leg, tab, &organisation, asked.now, step).await
}

// -------------------------------------------------------------------------------------------------------------- its parts

async fn open_leg(books: &mut Books, id: LegId) -> Result<LegRow, StoreError> {
    let leg = find(&mut books.conn, id).await?;
    if leg.is_open { Ok(leg) } else { Err(StoreError::Conflict(format!("leg {id} is over"))) }
}

async fn journal(books: &mut Books, asked: &OpenLeg) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO leg (id, state, node, life, call_type, number, caller, carrier, call_id, journal, invited) \
         VALUES ($1, 'open', $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(asked.leg.to_string())
    .bind(&books.node)
    .bind(books.life)
    .bind(asked.call_type.slug())
    .bind(asked.number.to_string())
    .bind(asked.caller.map(|caller| caller.to_string()))
    .bind(asked.carrier.as_ref().map(CarrierId::as_str))
    .bind(&asked.call_id)
    .bind(&asked.journal)
    .bind(asked.invited.micros())
    .execute(&mut books.conn)
    .await?;
    Ok(())
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
        return step.keep(books, Opened::Refused(Cause::UnknownMeeting), None, None).await;
    };
    sqlx::query("UPDATE leg SET organisation = $1, organiser = $2, meeting = $3 WHERE id = $4")
        .bind(organisation.id.as_str())
        .bind(user.id.as_str())
        .bind(meeting.as_str())
        .bind(leg.id.to_string())
        .execute(&mut books.conn)
        .await?;
    (leg.organisation, leg.organiser) = (Some(organisation.id.clone()), Some(user.id.clone()));
    // Covered by the hold, but proof of nothing: the answer may not be acknowledged yet, and then costs nothing.
    leg.elapsed_ms = leg.elapsed_ms.max(elapsed_ms);
    books.expire(organisation, at).await?;
    let mut terms = match terms(books, &leg, user, organisation, at).await? {
        Ok(terms) => terms,
        Err(cause) => return step.keep(books, Opened::Refused(cause), None, None).await,
    };
    if let Some(answered) = leg.answered {
        terms.answered(answered);
    }
    if terms.funding == Funding::Free {
        tracing::error!(leg = %leg.id, "a row of the deck is broken: this call is let in free");
    }
    fund(books, leg, Tab::new(terms), organisation, at, step).await
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
    let ours = facts.directory.find(&leg.number);
    let usable = ours.filter(|number| number.organisation.as_ref().is_none_or(|owner| *owner == organisation.id));
    let number =
        usable.map(|number| NumberFacts { country: number.country, toll_free: number.kind == NumberKind::TollFree });
    let book = Book {
        payer: &organisation.payer(sums.has_entries),
        organiser: &user.organiser(organisation),
        countries: &facts.countries,
        deck: &facts.deck,
        number,
        pool_left_ms: pool.granted_ms.saturating_sub(pool.used_ms + pool.held_ms),
        available: sums.available(),
    };
    let request = Request { call_type: leg.call_type, number: leg.number, caller: leg.caller, at };
    Ok(decide(&book, &request))
}

/// What a leg may take now.
struct Purse {
    available: Micros,
    /// A limit on spending, not the balance, is what is short.
    is_limited: bool,
    floor: Micros,
    sums: Sums,
    /// Of a leg that the pool pays.
    pool: Option<PoolState>,
}

impl Purse {
    fn pool_left_ms(&self) -> u64 {
        self.pool.map_or(0, |pool| pool.granted_ms.saturating_sub(pool.used_ms + pool.held_ms))
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
    let available = Micros(sums.available().0.saturating_sub(floor.0));
    let a_day = match organisation.limits.max_spend_per_day {
        Some(most) => most.0 - books.spent_on(organisation, now).await?.0 - sums.held.0,
        None => i64::MAX,
    };
    let a_leg = organisation.limits.max_spend_per_leg.map_or(i64::MAX, |most| most.0 - tab.credit_held.0);
    let limit = a_day.min(a_leg);
    // The pool of the month in which the leg began stays its pool.
    let pool = match tab.terms.funding {
        Funding::Pool { .. } => Some(books.pool(organisation, leg.pool_month.unwrap_or(now)).await?),
        Funding::Included | Funding::Credits | Funding::Free => None,
    };
    Ok(Purse { available: Micros(available.0.min(limit).max(0)), is_limited: limit < available.0, floor, sums, pool })
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
    let purse = purse(books, &leg, &tab, organisation, now).await?;
    let before = tab.clone();
    let wanted = tab.cover(leg.elapsed_ms, purse.available, purse.pool_left_ms(), SLICE_MS);
    let taken = match wanted {
        Ok(hold) => take(books, &mut leg, &tab, organisation, &purse, hold).await?.map(|sums| (hold, sums)),
        Err(_) => None,
    };
    let Some((hold, sums)) = taken else {
        let cause = if purse.is_limited { Cause::SpendLimit } else { Cause::NoCredit };
        let kept = Tab { is_final: true, ..before };
        let begun = kept.held_until_ms > 0;
        leg.tab = begun.then_some(kept);
        if begun {
            write_tab(books, &leg).await?;
        }
        return step.keep(books, Opened::Refused(cause), None, leg.tab.as_ref()).await;
    };
    let key = format!("leg:{}:{}", leg.id, step.step);
    books.book(organisation, (Kind::Available, Kind::Held), hold.credit, key, "hold", now).await?;
    leg.pool_month = purse.pool.map(|pool| pool.month);
    let funded_ms = funded_ms(&leg, &sums, hold.until_ms);
    let funding = tab.terms.funding;
    leg.tab = Some(tab);
    write_tab(books, &leg).await?;
    let grant = Grant { until_ms: hold.until_ms, is_final: hold.is_final, funding, funded_ms };
    step.keep(books, Opened::Granted(grant), Some(hold), leg.tab.as_ref()).await
}

/// Takes a hold out of account and pool, both or neither; gives the account's sums after it.
async fn take(
    books: &mut Books,
    leg: &mut LegRow,
    tab: &Tab,
    organisation: &Organisation,
    purse: &Purse,
    hold: Hold,
) -> Result<Option<Sums>, StoreError> {
    let burn = i64::try_from(burn::burn_nanos(tab, leg.elapsed_ms)).map_err(StoreError::broken)?;
    let burn_nanos = burn - leg.burn_nanos;
    let taking = Taking { credit: hold.credit, burn_nanos, floor: purse.floor };
    let needs_credit = hold.credit > Micros::ZERO || burn_nanos != 0;
    let sums = if needs_credit { books.reserve(&organisation.id, taking).await? } else { Some(purse.sums) };
    let Some(sums) = sums else { return Ok(None) };
    let pool = purse.pool.filter(|_| hold.pool_ms > 0);
    if let Some(pool) = pool
        && !books.reserve_pool(&organisation.id, pool.month, hold.pool_ms).await?
    {
        // The one writer has just seen it there: the books contradict themselves, and the savepoint takes all back.
        return Err(StoreError::broken("pool time that was there is gone"));
    }
    leg.burn_nanos = burn;
    Ok(Some(sums))
}

/// How long the money lasts; `None` where credits do not pay.
fn funded_ms(leg: &LegRow, sums: &Sums, until_ms: u64) -> Option<u64> {
    let rest = until_ms.saturating_sub(leg.elapsed_ms);
    (leg.burn_nanos > 0).then(|| burn::funded_ms(rest, sums.available(), i128::from(sums.burn_nanos)))
}

async fn write_tab(books: &mut Books, leg: &LegRow) -> Result<(), StoreError> {
    let Some(tab) = &leg.tab else { return Ok(()) };
    sqlx::query(
        "UPDATE leg SET terms = $1, pool_month = $2, held_until_ms = $3, credit_held = $4, pool_held_ms = $5, \
         burn_nanos = $6, sequence = $7, is_final = $8, elapsed_ms = $9 WHERE id = $10",
    )
    .bind(tab.terms.to_line())
    .bind(leg.pool_month.map(Wall::micros))
    .bind(millis(tab.held_until_ms))
    .bind(tab.credit_held.0)
    .bind(millis(tab.pool_held_ms))
    .bind(leg.burn_nanos)
    .bind(i64::from(tab.sequence))
    .bind(tab.is_final)
    .bind(millis(leg.proven_ms))
    .bind(leg.id.to_string())
    .execute(&mut books.conn)
    .await?;
    Ok(())
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
    async fn keep(
        self,
        books: &mut Books,
        answer: Opened,
        hold: Option<Hold>,
        tab: Option<&Tab>,
    ) -> Result<Opened, StoreError> {
        let (outcome, cause) = match answer {
            Opened::Granted(_) => ("granted", None),
            Opened::Refused(cause) => ("refused", Some(cause.slug())),
            Opened::NoPayerYet => ("no-payer", None),
        };
        let grant = if let Opened::Granted(grant) = answer { Some(grant) } else { None };
        let funded_ms = grant.and_then(|grant| grant.funded_ms).map(millis);
        sqlx::query(
            "INSERT INTO hold \
             (leg, step, request, outcome, cause, funding, credit, pool_ms, until_ms, is_final, funded_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(self.leg.to_string())
        .bind(self.step)
        .bind(self.request)
        .bind(outcome)
        .bind(cause)
        .bind(grant.map(|grant| grant.funding.slug()))
        .bind(hold.map_or(0, |hold| hold.credit.0))
        .bind(hold.map_or(0, |hold| millis(hold.pool_ms)))
        .bind(tab.map_or(0, |tab| millis(tab.held_until_ms)))
        .bind(grant.is_some_and(|grant| grant.is_final))
        .bind(funded_ms)
        .execute(&mut books.conn)
        .await?;
        Ok(answer)
    }
}

/// The answer that this step was given before, if it was asked before; asked for something else, a conflict.
async fn first_answer(books: &mut Books, leg: LegId, step: &str, request: &str) -> Result<Option<Opened>, StoreError> {
    let row = sqlx::query("SELECT * FROM hold WHERE leg = $1 AND step = $2")
        .bind(leg.to_string())
        .bind(step)
        .fetch_optional(&mut books.conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    if row.try_get::<String, _>("request")? != request {
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
