//! Grants in the books: given, held with each slice, used or given back at the end, lapsed once they are over. What holds
//! take is one conditional UPDATE under a CHECK; what is used is a row that is never changed, and, of money, an entry of
//! the ledger: from where the grant came into it, from it to earnings, and what lapses back or to breakage.

use super::books::{Books, Sums, millis};
use super::door::{EndGrant, GrantAdded, GrantRow, NewGrant};
use super::facts::Organisation;
use super::fault::StoreError;
use super::rows::Line;
use super::sql::{self, Connection};
use super::threshold::{self, Seen};
use super::trail::{self, Tried, Who};
use crate::clock::Wall;
use crate::rating::grant::{Filter, Part, Source, Unit};
use crate::rating::ledger::Kind;
use crate::rating::{Grant, Tab, Used, burn};
use crate::types::{GrantId, LegId, Micros, OrganisationId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Grants of one organisation that are not used up at most: each hold looks at all of them.
pub(super) const MOST: usize = 64;

/// The largest: a thousand years in milliseconds, or 31 million units of money.
pub(super) const LARGEST: u64 = 31_536_000_000_000;

/// Another node may have given one: a list is read again after this. (What another node took of one that is known here is
/// found out by the statement that takes it.)
const LOOK_AGAIN_US: u64 = 5_000_000;

const LONGEST_MEMO: usize = 400;

const DAY_MS: u64 = 86_400_000;

/// How keys of the ledger's entries begin that give a grant, and that take back what it had left.
pub(super) const KEY: &str = "grant:";
pub(super) const LAPSE: &str = "lapse:";

/// A leg's step that a grant paid.
pub(super) fn step(grant: &GrantId) -> String {
    format!("{KEY}{grant}")
}

/// Where the money of a grant comes from, and where it goes back to.
const fn origin(source: Source) -> Kind {
    match source {
        Source::Promo => Kind::Promo,
        Source::Paid => Kind::Funding,
    }
}

const fn end_of(source: Source) -> Kind {
    match source {
        Source::Promo => Kind::Promo,
        Source::Paid => Kind::Breakage,
    }
}

fn money(amount: u64) -> Micros {
    Micros(millis(amount))
}

/// Reads a row of `grants`.
pub(super) fn read(line: &Line<'_>) -> Result<GrantRow, String> {
    let (amount, used) = (line.count("amount")?, line.count("used")?);
    let (held, lapsed) = (line.count("held")?, line.count("lapsed")?);
    Ok(GrantRow {
        organisation: line.parse("organisation")?,
        used,
        held,
        lapsed,
        memo: line.text("memo")?,
        grant: Grant {
            id: line.parse("id")?,
            unit: line.parse("unit")?,
            amount,
            left: amount.saturating_sub(used.saturating_add(held).saturating_add(lapsed)),
            burn_nanos: line.number("burn_nanos")?,
            priority: u16::try_from(line.count("priority")?).unwrap_or(u16::MAX),
            from: Wall::from_micros(line.number("valid_from")?),
            until: line.maybe_number("valid_until")?.map(Wall::from_micros),
            source: line.parse("source")?,
            created: Wall::from_micros(line.number("created")?),
            filter: Filter::from_line(&line.text("filter")?)?,
        },
    })
}

pub(super) async fn find(conn: &mut Connection, id: &GrantId) -> Result<Option<GrantRow>, StoreError> {
    let row = sql::query("SELECT * FROM grants WHERE id = $1").bind(id.as_str()).fetch_optional(conn).await?;
    row.map(|row| read(&Line { row: &row, table: "grants" }).map_err(StoreError::Broken)).transpose()
}

/// Those of an organisation: with those that are over and used up (`all`), or without.
pub(super) async fn rows(
    conn: &mut Connection,
    organisation: &OrganisationId,
    all: bool,
) -> Result<Vec<GrantRow>, StoreError> {
    let rows = sql::query(
        "SELECT * FROM grants WHERE organisation = $1 AND ($2 = 1 OR used + lapsed < amount) ORDER BY created, id",
    )
    .bind(organisation.as_str())
    .bind(i64::from(all))
    .fetch_all(conn)
    .await?;
    rows.iter().map(|row| read(&Line { row, table: "grants" }).map_err(StoreError::Broken)).collect()
}

/// Whether a list that was read for a moment is good at another.
pub(super) const fn is_fresh(read: Wall, now: Wall) -> bool {
    now.micros().abs_diff(read.micros()) < LOOK_AGAIN_US
}

/// Those of many organisations (a JSON list of lists of one name) that are not used up, as [`rows`] has those of one.
pub(super) async fn of_many(
    conn: &mut Connection,
    organisations: String,
) -> Result<BTreeMap<OrganisationId, Vec<Grant>>, StoreError> {
    let rows = sql::query(
        "SELECT grants.* FROM json_each($1) JOIN grants ON grants.organisation = value ->> 0 \
         WHERE used + lapsed < amount ORDER BY created, grants.id",
    );
    let mut found: BTreeMap<OrganisationId, Vec<Grant>> = BTreeMap::new();
    for row in rows.bind(organisations).fetch_all(conn).await? {
        let row = read(&Line { row: &row, table: "grants" }).map_err(StoreError::Broken)?;
        found.entry(row.organisation).or_default().push(row.grant);
    }
    Ok(found)
}

// ------------------------------------------------------------------------------------------------------- give and end

/// As [`add`], and what was given, or refused, stands in the trail.
pub(super) async fn add_told(books: &mut Books, (asked, who): &(NewGrant, Who)) -> Result<GrantAdded, StoreError> {
    let (what, organisation) = (format!("grant {}", asked.id), Some(&asked.organisation));
    let tried = Tried { at: asked.at, who, verb: "grant-add", what, organisation };
    let added = add(books, asked).await;
    trail::told(books, tried, added, |tried, added| match added {
        GrantAdded::Booked(row) => vec![tried.done(fields(asked, row))],
        GrantAdded::TooMany { most } => vec![tried.done(trail::refusal(&[format!("there are {most} already")]))],
        GrantAdded::Repeated(_) => Vec::new(),
    })
    .await
}

/// What was given, as the trail tells it.
pub(super) fn fields(asked: &NewGrant, row: &GrantRow) -> Value {
    json!({
        "unit": asked.unit.slug(), "source": asked.source.slug(), "amount": row.grant.amount, "memo": asked.memo,
        "priority": asked.priority, "from": row.grant.from.micros(), "until": asked.until.map(Wall::micros),
        "filter": asked.filter.to_line(),
    })
}

/// Why it is none.
pub(super) fn check(asked: &NewGrant) -> Result<(), String> {
    let refuse = |why: String| Err(why);
    match () {
        () if asked.amount == 0 || asked.amount > LARGEST => refuse(format!(
            "a grant is more than zero, and at most {} h or {} of money",
            LARGEST / 3_600_000,
            money(LARGEST)
        )),
        () if asked.until.is_some_and(|until| until <= asked.at.max(asked.from.unwrap_or(asked.at))) => {
            refuse("a grant ends after it begins, and after now".to_owned())
        }
        () if asked.memo.len() > LONGEST_MEMO => refuse(format!("a memo has at most {LONGEST_MEMO} characters")),
        () => asked.filter.check(),
    }
}

/// Gives a grant, once an id.
pub(super) async fn add(books: &mut Books, asked: &NewGrant) -> Result<GrantAdded, StoreError> {
    check(asked).map_err(StoreError::Conflict)?;
    let organisation = books.organisation(&asked.organisation)?;
    if let Some(first) = find(&mut books.conn, &asked.id).await? {
        return repeated(asked, first);
    }
    if rows(&mut books.conn, &organisation.id, false).await?.len() >= MOST {
        return Ok(GrantAdded::TooMany { most: MOST });
    }
    books.sheet.grants.remove(&organisation.id);
    let is_first = sql::query(
        "INSERT INTO grants (id, organisation, unit, source, amount, priority, valid_from, valid_until, filter, created, \
         memo) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING",
    )
    .bind(asked.id.as_str())
    .bind(organisation.id.as_str())
    .bind(asked.unit.slug())
    .bind(asked.source.slug())
    .bind(millis(asked.amount))
    .bind(i64::from(asked.priority))
    .bind(asked.from.unwrap_or(asked.at).micros())
    .bind(asked.until.map(Wall::micros))
    .bind(asked.filter.to_line())
    .bind(asked.at.micros())
    .bind(&asked.memo)
    .execute(&mut books.conn)
    .await?;
    if is_first == 0 {
        // Another node gave it at the same moment.
        let first = find(&mut books.conn, &asked.id).await?;
        return repeated(asked, first.ok_or_else(|| StoreError::broken("a grant that is there is gone"))?);
    }
    if asked.unit == Unit::Money {
        let from_to = (origin(asked.source), Kind::Grant);
        books.book(&organisation, from_to, money(asked.amount), step(&asked.id), &asked.memo, asked.at).await?;
    }
    let row = find(&mut books.conn, &asked.id).await?;
    row.map(GrantAdded::Booked).ok_or_else(|| StoreError::broken("a grant that was just written is gone"))
}

/// The answer to whoever gives what there is already.
fn repeated(asked: &NewGrant, first: GrantRow) -> Result<GrantAdded, StoreError> {
    if asked.is(&first) {
        Ok(GrantAdded::Repeated(first))
    } else {
        Err(StoreError::Conflict(format!("there is a grant {} already, and it is another", asked.id)))
    }
}

/// As [`end`], and it stands in the trail.
pub(super) async fn end_told(books: &mut Books, (asked, who): &(EndGrant, Who)) -> Result<GrantRow, StoreError> {
    let (what, organisation) = (format!("grant {}", asked.id), Some(&asked.organisation));
    let tried = Tried { at: asked.at, who, verb: "grant-end", what, organisation };
    let ended = end(books, asked).await;
    let ended = trail::told(books, tried, ended, |tried, (before, _)| {
        let is_over = before.grant.until.is_some_and(|until| until <= asked.at);
        let detail = json!({ "left": before.grant.left, "held": before.held });
        if is_over { Vec::new() } else { vec![tried.done(detail)] }
    });
    ended.await.map(|(_, row)| row)
}

/// Ends a grant: what running calls hold of it stays theirs, the rest lapses now. One that is over stays as it is. Gives what
/// it was before, and what it is.
async fn end(books: &mut Books, asked: &EndGrant) -> Result<(GrantRow, GrantRow), StoreError> {
    let of_organisation = |row: &GrantRow| row.organisation == asked.organisation;
    let before = find(&mut books.conn, &asked.id).await?.filter(of_organisation);
    let unknown = || StoreError::Unknown(format!("grant {} of {}", asked.id, asked.organisation));
    let before = before.ok_or_else(unknown)?;
    let organisation = books.organisation(&asked.organisation)?;
    let is_over = before.grant.until.is_some_and(|until| until <= asked.at);
    if !is_over {
        sql::query("UPDATE grants SET valid_until = $1 WHERE id = $2")
            .bind(asked.at.micros())
            .bind(asked.id.as_str())
            .execute(&mut books.conn)
            .await?;
    }
    books.sheet.grants.remove(&organisation.id);
    books.lapse(&organisation, asked.at).await?;
    let row = find(&mut books.conn, &asked.id).await?.ok_or_else(unknown)?;
    Ok((before, row))
}

// --------------------------------------------------------------------------------------------------- hold, use, lapse

impl Books {
    /// Grants of an organisation that are not used up.
    pub async fn grants(&mut self, organisation: &OrganisationId, now: Wall) -> Result<Arc<Vec<Grant>>, StoreError> {
        let known = self.sheet.grants.get(organisation);
        if let Some((_, known)) = known.filter(|(read, _)| is_fresh(*read, now)) {
            return Ok(known.clone());
        }
        let rows = rows(&mut self.conn, organisation, false).await?;
        let grants = Arc::new(rows.into_iter().map(|row| row.grant).collect::<Vec<_>>());
        self.sheet.grants.insert(organisation.clone(), (now, grants.clone()));
        Ok(grants)
    }

    /// Sets aside what a hold takes of grants, and notes what the leg burns of which from now on. That it is there was just
    /// seen: the statement and the CHECK stand behind it.
    pub async fn reserve_grants(
        &mut self,
        organisation: &OrganisationId,
        taken: &[Part],
        (before, after): (Option<Burn>, Option<Burn>),
    ) -> Result<(), StoreError> {
        // By their names: two nodes that take of the same ones do not wait for each other.
        let mut changes: BTreeMap<&GrantId, (u64, i64)> = BTreeMap::new();
        for part in taken {
            let Some(grant) = part.bucket.grant() else { continue };
            let change = changes.entry(grant).or_default();
            change.0 = change.0.saturating_add(part.amount);
        }
        for (burn, sign) in [(&before, -1), (&after, 1)] {
            let Some(burn) = burn else { continue };
            changes.entry(&burn.grant).or_default().1 += sign * burn.nanos;
        }
        for (grant, (amount, nanos)) in changes {
            if amount == 0 && nanos == 0 {
                continue;
            }
            self.sheet.grants.remove(organisation);
            let changed = sql::query(
                "UPDATE grants SET held = held + $1, burn_nanos = burn_nanos + $4 \
                 WHERE id = $2 AND organisation = $3 AND used + held + lapsed + $1 <= amount",
            )
            .bind(millis(amount))
            .bind(grant.as_str())
            .bind(organisation.as_str())
            .bind(nanos)
            .execute(&mut self.conn)
            .await?;
            if changed != 1 {
                return Err(self.gone(grant));
            }
        }
        Ok(())
    }

    /// A grant has not left what was just seen there: another node took it, or, where there is none, the books are broken.
    fn gone(&self, grant: &GrantId) -> StoreError {
        match self.conn.kind() {
            sql::Kind::Postgres => StoreError::Raced("grants"),
            sql::Kind::Sqlite => StoreError::Broken(format!("what grant {grant} had left is gone")),
        }
    }

    /// What a leg held of grants is used in part, and the rest is theirs again; of one that is over, nobody's.
    pub async fn release_grants(
        &mut self,
        organisation: &Organisation,
        (leg, burn): (LegId, Option<Burn>),
        grants: &[Used],
        at: Wall,
    ) -> Result<(), StoreError> {
        if !grants.is_empty() {
            // Uses name the leg, which may be of this very batch.
            self.write().await?;
        }
        for used in grants {
            let Some(grant) = used.bucket.grant() else { continue };
            self.sheet.grants.remove(&organisation.id);
            let nanos = burn.as_ref().filter(|burn| burn.grant == *grant).map_or(0, |burn| burn.nanos);
            let changed = sql::query(
                "UPDATE grants SET held = held - $1, used = used + $2, burn_nanos = burn_nanos - $4 WHERE id = $3",
            )
            .bind(millis(used.held))
            .bind(millis(used.used))
            .bind(grant.as_str())
            .bind(nanos)
            .execute(&mut self.conn)
            .await?;
            if changed != 1 {
                return Err(StoreError::Broken(format!("no grant {grant}")));
            }
            let key = format!("leg:{leg}:{}", step(grant));
            let row = Row { key: &key, grant, kind: "use", leg: Some(leg), reopened: None, at };
            self.keep_use(row, millis(used.used)).await?;
            if !used.bucket.is_time() {
                self.book(organisation, (Kind::Grant, Kind::Earnings), money(used.used), key, "charge", at).await?;
            }
        }
        if grants.is_empty() { Ok(()) } else { self.lapse(organisation, at).await }
    }

    async fn keep_use(&mut self, row: Row<'_>, amount: i64) -> Result<(), StoreError> {
        if amount == 0 {
            return Ok(());
        }
        sql::query(
            "INSERT INTO grant_use (key, grant_id, kind, leg, amount, at, reopened) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(row.key)
        .bind(row.grant.as_str())
        .bind(row.kind)
        .bind(row.leg.map(|leg| leg.to_string()))
        .bind(amount)
        .bind(row.at.micros())
        .bind(row.reopened)
        .execute(&mut self.conn)
        .await?;
        Ok(())
    }

    /// Takes back what is left of grants that are over, once: what running legs hold lapses when they give it back.
    pub async fn lapse(&mut self, organisation: &Organisation, now: Wall) -> Result<(), StoreError> {
        let is_due = |grant: &&Grant| grant.left > 0 && grant.until.is_some_and(|until| until <= now);
        let grants = self.grants(&organisation.id, now).await?;
        for grant in grants.iter().filter(is_due) {
            self.sheet.grants.remove(&organisation.id);
            let lapsed = sql::query("SELECT lapsed FROM grants WHERE id = $1").bind(grant.id.as_str());
            let before: i64 = lapsed.fetch_one(&mut self.conn).await?.try_get(0)?;
            let changed = sql::query(
                "UPDATE grants SET lapsed = lapsed + $1 WHERE id = $2 AND used + held + lapsed + $1 <= amount",
            )
            .bind(millis(grant.left))
            .bind(grant.id.as_str())
            .execute(&mut self.conn)
            .await?;
            if changed != 1 {
                return Err(self.gone(&grant.id));
            }
            // Parts that lapse one after the other have keys of their own.
            let key = format!("{LAPSE}{}:after-{before}", grant.id);
            let row = Row { key: &key, grant: &grant.id, kind: "lapse", leg: None, reopened: None, at: now };
            self.keep_use(row, millis(grant.left)).await?;
            if grant.unit == Unit::Money {
                let from_to = (Kind::Grant, end_of(grant.source));
                self.book(organisation, from_to, money(grant.left), key, "lapsed", now).await?;
            }
        }
        Ok(())
    }

    /// Gives back to grants what a correction takes off a leg. One that is over is open again for the organisation's number
    /// of days, and at least for one: what comes back can be used.
    pub async fn give_back_to_grants(
        &mut self,
        organisation: &Organisation,
        leg: LegId,
        entry_key: &str,
        back: &[Part],
        now: Wall,
    ) -> Result<(), StoreError> {
        for part in back.iter().filter(|part| part.amount > 0) {
            let Some(id) = part.bucket.grant() else { continue };
            self.sheet.grants.remove(&organisation.id);
            let found = find(&mut self.conn, id).await?.ok_or_else(|| StoreError::Broken(format!("no grant {id}")))?;
            let is_over = found.grant.until.is_some_and(|until| until <= now);
            let open_until = now.plus_millis(u64::from(organisation.refund_days).max(1) * DAY_MS);
            let reopened = is_over.then(|| open_until.micros());
            let changed = sql::query(
                "UPDATE grants SET used = used - $1, valid_until = COALESCE($2, valid_until) WHERE id = $3 AND used >= $1",
            )
            .bind(millis(part.amount))
            .bind(reopened)
            .bind(id.as_str())
            .execute(&mut self.conn)
            .await?;
            if changed != 1 {
                return Err(StoreError::Broken(format!("grant {id} was never used so much")));
            }
            let key = format!("{entry_key}:{}", step(id));
            let row = Row { key: &key, grant: id, kind: "correction", leg: Some(leg), reopened, at: now };
            self.keep_use(row, -millis(part.amount)).await?;
            if !part.bucket.is_time() {
                let from_to = (Kind::Earnings, Kind::Grant);
                self.book(organisation, from_to, money(part.amount), key, "given back", now).await?;
            }
        }
        Ok(())
    }
}

/// What a running leg burns a minute of the grant that pays it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Burn {
    pub grant: GrantId,
    pub nanos: i64,
}

impl Burn {
    /// Of a leg that burns `nanos` of money.
    pub fn of(tab: &Tab, nanos: i64) -> Option<Burn> {
        let bucket = tab.bucket()?;
        Some(Burn { grant: bucket.grant()?.clone(), nanos: burn::of_bucket(bucket, nanos) })
    }
}

/// A row of `grant_use`, but for its amount.
struct Row<'a> {
    key: &'a str,
    grant: &'a GrantId,
    kind: &'static str,
    leg: Option<LegId>,
    reopened: Option<i64>,
    at: Wall,
}

/// Organisations that one request looks at: other requests wait for no more than some hundredths of a second.
const AT_ONCE: i64 = 100;

/// Takes back what has expired, fundings and grants, also of organisations that nobody calls for; of those after one, in
/// their order. Gives those of which there was any, at most [`AT_ONCE`].
pub(super) async fn expire(
    books: &mut Books,
    (now, after): &(Wall, Option<OrganisationId>),
) -> Result<Vec<OrganisationId>, StoreError> {
    let due = sql::query(
        "SELECT organisation FROM grants \
         WHERE valid_until <= $1 AND used + held + lapsed < amount AND organisation > $2 \
         UNION SELECT organisation FROM funding WHERE expires <= $1 AND remaining > 0 AND organisation > $2 \
         ORDER BY 1 LIMIT $3",
    )
    .bind(now.micros())
    .bind(after.as_ref().map_or("", |id| id.as_str()))
    .bind(AT_ONCE)
    .fetch_all(&mut books.conn)
    .await?;
    let mut done = Vec::with_capacity(due.len());
    for row in due {
        let id = Line { row: &row, table: "grants" }.parse("organisation").map_err(StoreError::Broken)?;
        let organisation = books.organisation(&id)?;
        books.expire(&organisation, *now).await?;
        threshold::money(books, &organisation, Seen::default(), *now).await?;
        done.push(id);
    }
    Ok(done)
}

/// What a leg has used of each grant, all told: uses, less what corrections gave back.
pub(super) async fn used_by(conn: &mut Connection, leg: LegId) -> Result<Vec<(GrantId, u64)>, StoreError> {
    let rows = sql::query(
        "SELECT grant_id, CAST(SUM(amount) AS BIGINT) AS amount FROM grant_use WHERE leg = $1 GROUP BY grant_id \
         ORDER BY grant_id",
    )
    .bind(leg.to_string())
    .fetch_all(conn)
    .await?;
    let read = |row| {
        let line = Line { row, table: "grant_use" };
        Ok((line.parse("grant_id")?, line.count("amount")?))
    };
    rows.iter().map(|row| read(row).map_err(StoreError::Broken)).collect()
}

/// The money of grants that is good at `now`, for whatever call: what is for some calls alone may pay none that come.
pub(super) fn granted(grants: &[Grant], now: Wall) -> Micros {
    let good = grants.iter().filter(|grant| grant.unit == Unit::Money && grant.is_good(now));
    let good = good.filter(|grant| grant.filter == Filter::default());
    money(good.fold(0, |sum, grant| sum.saturating_add(grant.left)))
}

impl Sums {
    /// With so much money of grants beside it: for how long money lasts, not for what may be taken.
    pub fn with(&self, granted: Micros) -> Micros {
        Micros(self.available().0.max(0).saturating_add(granted.0))
    }
}
