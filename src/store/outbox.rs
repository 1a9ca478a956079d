//! The outbox: what is to be told stands here from the transaction that caused it until its letters have gone. A letter
//! that is given out is the carrier's for a while; whoever never reports is dead, and another gets it.

use super::books::Books;
use super::door::{AlertView, Claim, Claimed, LetterView, Raise, RechargeView, Shown, SwitchedOff};
use super::facts::{AlertSettings, Facts};
use super::fault::StoreError;
use super::recharge;
use super::sql::{self, Connection, Row};
use crate::clock::Wall;
use crate::notice::alert::{Facts as Said, Whom};
use crate::notice::{Alert, Errand, HookUrl, Kind, Letter, Report, SecretRef, Target, alert};
use crate::telemetry::name;
use crate::types::OrganisationId;
use sha2::{Digest, Sha256};

/// Alerts whose letters are not written yet, at most: nobody carries them. What comes beyond is counted and lost.
const MOST_WAITING: i64 = 10_000;
/// Alerts whose letters are written in one request.
const A_TIME: i64 = 64;
/// An alert is kept so long after it was raised.
const KEPT_US: i64 = 90 * 86_400 * 1_000_000;
/// Whoever was given a letter or a payment and does not report within this is dead: well above the longest that an
/// errand lasts (30 s, a mail).
pub(super) const LEASE_MS: u64 = 120_000;
/// Beside the name of a webhook that is off.
const OFF: &str = "the webhook is switched off";

/// Writes an alert, once a key; whether it is new.
pub(super) async fn raise(books: &mut Books, asked: &Raise) -> Result<bool, StoreError> {
    let facts = serde_json::to_string(&asked.facts).map_err(StoreError::broken)?;
    let written = sql::query(
        "INSERT INTO alert (key, id, organisation, kind, at, facts, posted) SELECT $1, $2, $3, $4, $5, $6, 0 \
         WHERE (SELECT COUNT(*) FROM alert WHERE posted = 0) < $7 ON CONFLICT (key) DO NOTHING",
    )
    .bind(&asked.key)
    .bind(id_of(&asked.key, asked.at))
    .bind(asked.organisation.as_ref().map(|id| id.as_str()))
    .bind(asked.kind.slug())
    .bind(asked.at.micros())
    .bind(facts)
    .bind(MOST_WAITING)
    .execute(&mut books.conn)
    .await?;
    if written == 1 {
        books.raised.push(asked.kind);
        books.outbox += 1;
        return Ok(true);
    }
    let known = sql::query("SELECT COUNT(*) FROM alert WHERE key = $1").bind(&asked.key);
    if known.fetch_one(&mut books.conn).await?.try_get::<i64, _>(0)? == 0 {
        metrics::counter!(name::ALERTS_DROPPED).increment(1);
        tracing::error!(kind = asked.kind.slug(), "an alert is lost: too many wait to be sent");
    }
    Ok(false)
}

/// The same alert has the same id, whoever sends it and however often; another time the same key has another.
fn id_of(key: &str, at: Wall) -> String {
    let sum = Sha256::digest(format!("{key} {}", at.micros()));
    sum.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// What a claim would give where nothing is due: `None` where something is.
pub(super) async fn idle(conn: &mut Connection, now: Wall) -> Result<Option<Claimed>, StoreError> {
    let due = sql::query(
        "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM alert WHERE posted = 0 LIMIT 1) AS a) \
         + (SELECT COUNT(*) FROM (SELECT 1 FROM letter WHERE state IN ('wanted', 'going') AND next_at <= $1 LIMIT 1) AS l) \
         + (SELECT COUNT(*) FROM (SELECT 1 FROM recharge WHERE state IN ('wanted', 'asked') AND next_at <= $1 LIMIT 1) \
         AS r)",
    );
    if due.bind(now.micros()).fetch_one(conn).await?.try_get::<i64, _>(0)? > 0 {
        return Ok(None);
    }
    Ok(Some(Claimed { errands: Vec::new(), next: next(conn, now).await? }))
}

/// When the next of what waits becomes due, later than now.
async fn next(conn: &mut Connection, now: Wall) -> Result<Option<Wall>, StoreError> {
    let next = sql::query(
        "SELECT MIN(next_at) FROM (\
         SELECT next_at FROM letter WHERE state IN ('wanted', 'going') AND next_at > $1 UNION ALL \
         SELECT next_at FROM recharge WHERE state IN ('wanted', 'asked') AND next_at > $1) AS waiting",
    );
    let next = next.bind(now.micros()).fetch_one(conn).await?.try_get::<Option<i64>, _>(0)?;
    Ok(next.map(Wall::from_micros))
}

/// Writes the letters of new alerts, and gives out what is due.
pub(super) async fn claim(books: &mut Books, asked: &Claim) -> Result<Claimed, StoreError> {
    post_new(books, asked).await?;
    let mut errands = letters(books, asked).await?;
    errands.extend(recharge::claim(books, asked).await?);
    Ok(Claimed { errands, next: next(&mut books.conn, asked.now).await? })
}

async fn post_new(books: &mut Books, asked: &Claim) -> Result<(), StoreError> {
    let rows = sql::query("SELECT key, organisation, kind FROM alert WHERE posted = 0 ORDER BY at, key LIMIT $1");
    let rows = rows.bind(A_TIME).fetch_all(&mut books.conn).await?;
    if rows.is_empty() {
        return Ok(());
    }
    // More than one request writes: the next is asked at once.
    if rows.len() as i64 == A_TIME {
        books.outbox += 1;
    }
    let facts = books.facts.clone();
    for row in rows {
        let (key, kind): (String, String) = (row.try_get(0)?, row.try_get(2)?);
        let organisation: Option<String> = row.try_get(1)?;
        let kind: Kind = kind.parse().map_err(StoreError::broken)?;
        for (number, (owner, target)) in targets(&facts, asked, organisation.as_deref(), kind).iter().enumerate() {
            write_letter(books, &key, number, owner, target, asked.now).await?;
        }
        let done = sql::query("UPDATE alert SET posted = 1 WHERE key = $1").bind(&key);
        done.execute(&mut books.conn).await?;
    }
    let old = asked.now.micros().saturating_sub(KEPT_US);
    let letters = "DELETE FROM letter WHERE alert IN (SELECT key FROM alert WHERE at < $1)";
    sql::query(letters).bind(old).execute(&mut books.conn).await?;
    sql::query("DELETE FROM alert WHERE at < $1").bind(old).execute(&mut books.conn).await?;
    Ok(())
}

/// Who is told, each once.
fn targets(facts: &Facts, asked: &Claim, organisation: Option<&str>, kind: Kind) -> Vec<(String, Target)> {
    let own = organisation.and_then(|id| facts.organisations.get(&id.parse::<OrganisationId>().ok()?));
    let own = own.and_then(|organisation| Some((organisation.id.as_str(), organisation.alerts.as_ref()?)));
    let house = || Some(("", &asked.house));
    let told: Vec<(&str, &AlertSettings)> = match kind.whom() {
        Whom::Organisation => own.into_iter().collect(),
        Whom::House => house().into_iter().collect(),
        Whom::Both => own.into_iter().chain(house()).collect(),
    };
    let mut targets: Vec<(String, Target)> = Vec::new();
    for (owner, settings) in told {
        let mails = settings.mails.iter().cloned().map(Target::Mail);
        let hook = settings.hook.clone().map(|(url, secret)| Target::Hook { url, secret });
        for target in mails.chain(hook) {
            if !targets.iter().any(|(_, known)| *known == target) {
                targets.push((owner.to_owned(), target));
            }
        }
    }
    targets
}

async fn write_letter(
    books: &mut Books,
    alert: &str,
    number: usize,
    owner: &str,
    target: &Target,
    now: Wall,
) -> Result<(), StoreError> {
    let (way, address, secret) = match target {
        Target::Mail(mailbox) => ("mail", mailbox.to_string(), None),
        Target::Hook { url, secret } => ("webhook", url.as_str().to_owned(), Some(secret.to_string())),
    };
    let off = way == "webhook" && is_off(books, owner, &address).await?;
    sql::query(
        "INSERT INTO letter (id, alert, owner, way, address, secret, state, next_at, last_error) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(format!("{alert}/{number}"))
    .bind(alert)
    .bind(owner)
    .bind(way)
    .bind(address)
    .bind(secret)
    .bind(if off { "dropped" } else { "wanted" })
    .bind(now.micros())
    .bind(off.then(|| OFF.to_owned()))
    .execute(&mut books.conn)
    .await?;
    Ok(())
}

async fn is_off(books: &mut Books, owner: &str, address: &str) -> Result<bool, StoreError> {
    let off = sql::query("SELECT COUNT(*) FROM hook_state WHERE owner = $1 AND address = $2 AND is_off = 1");
    let off = off.bind(owner).bind(address).fetch_one(&mut books.conn).await?;
    Ok(off.try_get::<i64, _>(0)? > 0)
}

/// Of each target the first that is due, unless one is on its way to it: what hangs holds up itself alone, and what
/// failed waits behind what was not tried.
const DUE: &str = "SELECT l.id, l.way, l.address, l.secret, l.tries, l.state, l.next_at, a.id AS alert_id, a.kind, a.at, \
     a.organisation, a.facts FROM letter l JOIN alert a ON a.key = l.alert \
     WHERE l.state IN ('wanted', 'going') AND l.next_at <= $1 AND NOT EXISTS (SELECT 1 FROM letter o \
     WHERE o.way = l.way AND o.address = l.address AND o.state IN ('wanted', 'going') \
     AND ((o.state = 'going' AND o.next_at > $1) \
     OR (o.next_at < l.next_at) OR (o.next_at = l.next_at AND o.id < l.id))) \
     ORDER BY l.next_at, l.id LIMIT $2";

async fn letters(books: &mut Books, asked: &Claim) -> Result<Vec<Errand>, StoreError> {
    let due = sql::query(DUE).bind(asked.now.micros()).bind(i64::from(asked.letters));
    let mut errands = Vec::new();
    for row in due.fetch_all(&mut books.conn).await? {
        let letter = letter(&row, &books.facts)?;
        let ours =
            sql::query("UPDATE letter SET state = 'going', next_at = $1 WHERE id = $2 AND state = $3 AND next_at = $4")
                .bind(asked.now.plus_millis(LEASE_MS).micros())
                .bind(&letter.id)
                .bind(row.try_get::<String, _>("state")?)
                .bind(row.try_get::<i64, _>("next_at")?)
                .execute(&mut books.conn)
                .await?;
        // Another node was quicker.
        if ours == 1 {
            errands.push(Errand::Letter(letter));
        }
    }
    Ok(errands)
}

fn letter(row: &Row, facts: &Facts) -> Result<Letter, StoreError> {
    let text = |column: &'static str| row.try_get::<String, _>(column);
    let target = match text("way")?.as_str() {
        "mail" => Target::Mail(text("address")?.parse().map_err(StoreError::broken)?),
        _ => Target::Hook {
            url: text("address")?.parse::<HookUrl>().map_err(StoreError::broken)?,
            secret: text("secret")?.parse::<SecretRef>().map_err(StoreError::broken)?,
        },
    };
    Ok(Letter {
        id: text("id")?,
        alert: written(row, facts, "alert_id")?,
        target,
        tries: u32::try_from(row.try_get::<i64, _>("tries")?).unwrap_or(u32::MAX),
    })
}

/// What an alert's row says of its matter.
pub(super) fn facts_of(row: &Row) -> Result<Said, StoreError> {
    serde_json::from_str(&row.try_get::<String, _>("facts")?).map_err(StoreError::broken)
}

/// An alert as its row has it; `id` is the column of its id.
fn written(row: &Row, facts: &Facts, id: &'static str) -> Result<Alert, StoreError> {
    let organisation: Option<String> = row.try_get("organisation")?;
    let organisation: Option<OrganisationId> =
        organisation.map(|id| id.parse()).transpose().map_err(StoreError::broken)?;
    let known = organisation.as_ref().and_then(|id| facts.organisations.get(id));
    let said = facts_of(row)?;
    Ok(Alert {
        id: row.try_get(id)?,
        kind: row.try_get::<String, _>("kind")?.parse().map_err(StoreError::broken)?,
        at: Wall::from_micros(row.try_get("at")?),
        name: known
            .map(|known| known.name.clone())
            .or(organisation.as_ref().map(ToString::to_string))
            .unwrap_or_default(),
        organisation,
        facts: said,
    })
}

/// What came of an errand. Gives whose account was paid into, where one was.
pub(super) async fn report(
    books: &mut Books,
    (report, now): &(Report, Wall),
) -> Result<Option<OrganisationId>, StoreError> {
    match report {
        Report::Delivered { id } => delivered(books, id).await.map(|()| None),
        Report::Undelivered { id, why, again, disable_after } => {
            undelivered(books, id, why, *again, *disable_after, *now).await.map(|()| None)
        }
        Report::Paid { key } => recharge::paid(books, key, *now).await,
        Report::Declined { key, why } => recharge::declined(books, key, why, *now).await.map(|()| None),
        Report::Open { key, why, again } => recharge::open(books, key, why, *again, *now).await.map(|()| None),
    }
}

async fn delivered(books: &mut Books, id: &str) -> Result<(), StoreError> {
    let sent =
        "UPDATE letter SET state = 'sent', tries = tries + 1, last_error = NULL WHERE id = $1 AND state = 'going'";
    sql::query(sent).bind(id).execute(&mut books.conn).await?;
    sql::query(
        "UPDATE hook_state SET failures = 0 WHERE failures > 0 AND is_off = 0 AND EXISTS (SELECT 1 FROM letter l \
         WHERE l.id = $1 AND l.way = 'webhook' AND l.owner = hook_state.owner AND l.address = hook_state.address)",
    )
    .bind(id)
    .execute(&mut books.conn)
    .await?;
    Ok(())
}

async fn undelivered(
    books: &mut Books,
    id: &str,
    why: &str,
    again: Option<Wall>,
    disable_after: u32,
    now: Wall,
) -> Result<(), StoreError> {
    let why = alert::cut(why, 300);
    let changed = sql::query(
        "UPDATE letter SET state = $1, tries = tries + 1, next_at = $2, last_error = $3 WHERE id = $4 AND state = 'going'",
    )
    .bind(if again.is_some() { "wanted" } else { "failed" })
    .bind(again.unwrap_or(now).micros())
    .bind(&why)
    .bind(id)
    .execute(&mut books.conn)
    .await?;
    let row = sql::query("SELECT owner, address FROM letter WHERE id = $1 AND way = 'webhook'").bind(id);
    let Some(row) = row.fetch_optional(&mut books.conn).await?.filter(|_| changed == 1) else { return Ok(()) };
    let (owner, address): (String, String) = (row.try_get(0)?, row.try_get(1)?);
    sql::query(
        "INSERT INTO hook_state (owner, address, failures, is_off) VALUES ($1, $2, 1, 0) \
         ON CONFLICT (owner, address) DO UPDATE SET failures = hook_state.failures + 1",
    )
    .bind(&owner)
    .bind(&address)
    .execute(&mut books.conn)
    .await?;
    let off = sql::query(
        "UPDATE hook_state SET is_off = 1 WHERE owner = $1 AND address = $2 AND is_off = 0 AND failures >= $3",
    );
    let off = off.bind(&owner).bind(&address).bind(disable_after).execute(&mut books.conn).await?;
    if off == 1 { switch_off(books, &owner, &address, &why, disable_after, now).await } else { Ok(()) }
}

async fn switch_off(
    books: &mut Books,
    owner: &str,
    address: &str,
    why: &str,
    failures: u32,
    now: Wall,
) -> Result<(), StoreError> {
    let rest = "UPDATE letter SET state = 'dropped', last_error = $1 \
         WHERE owner = $2 AND way = 'webhook' AND address = $3 AND state = 'wanted'";
    sql::query(rest).bind(OFF).bind(owner).bind(address).execute(&mut books.conn).await?;
    // Of the address only where it leads: what follows may be a token.
    let webhook = address.split('?').next().unwrap_or_default().to_owned();
    let facts = [("webhook", webhook), ("failures", failures.to_string()), ("reason", why.to_owned())];
    let raised = Raise {
        key: format!("webhook-disabled:{owner}:{}", now.micros()),
        kind: Kind::WebhookDisabled,
        organisation: (!owner.is_empty()).then(|| owner.parse()).transpose().map_err(StoreError::broken)?,
        at: now,
        facts: alert::facts(facts),
    };
    raise(books, &raised).await.map(drop)
}

/// Webhooks of an owner ('' is the house) are tried again.
pub(super) async fn switch_on(conn: &mut Connection, owner: &str) -> Result<(), StoreError> {
    sql::query("DELETE FROM hook_state WHERE owner = $1").bind(owner).execute(conn).await?;
    Ok(())
}

/// The house's, at a start.
pub(super) async fn switch_on_the_house(books: &mut Books, _: &()) -> Result<(), StoreError> {
    switch_on(&mut books.conn, "").await
}

// ------------------------------------------------------------------------------------------------------------ for people

/// The latest alerts, the newest first, with their letters; recharges; and webhooks that are off.
pub(super) async fn show(
    conn: &mut Connection,
    facts: &Facts,
    organisation: Option<&OrganisationId>,
    limit: u32,
) -> Result<Shown, StoreError> {
    let of = || organisation.map(OrganisationId::as_str);
    let rows = sql::query(
        "SELECT key, id, kind, at, organisation, facts, posted FROM alert \
         WHERE (CAST($1 AS TEXT) IS NULL OR organisation = $1) ORDER BY at DESC, key DESC LIMIT $2",
    );
    let mut alerts = Vec::new();
    for row in rows.bind(of()).bind(limit).fetch_all(conn).await? {
        let alert = written(&row, facts, "id")?;
        let letters = sql::query(
            "SELECT owner, way, address, state, tries, next_at, last_error FROM letter WHERE alert = $1 ORDER BY id",
        );
        let letters = letters.bind(row.try_get::<String, _>("key")?).fetch_all(conn).await?;
        let letters = letters.iter().map(letter_view).collect::<Result<_, _>>()?;
        alerts.push(AlertView { alert, posted: row.try_get::<i64, _>("posted")? == 1, letters });
    }
    let rows = sql::query(
        "SELECT owner, address, failures FROM hook_state WHERE is_off = 1 \
         AND (CAST($1 AS TEXT) IS NULL OR owner = $1) ORDER BY owner, address",
    );
    let off = |row: &Row| -> Result<SwitchedOff, StoreError> {
        Ok(SwitchedOff { owner: row.try_get(0)?, webhook: row.try_get(1)?, failures: row.try_get(2)? })
    };
    let switched_off = rows.bind(of()).fetch_all(conn).await?.iter().map(off).collect::<Result<_, _>>()?;
    let rows = sql::query(
        "SELECT key, organisation, amount, currency, state, at, tries, last_error FROM recharge \
         WHERE (CAST($1 AS TEXT) IS NULL OR organisation = $1) ORDER BY at DESC, key DESC LIMIT $2",
    );
    let rows = rows.bind(of()).bind(limit).fetch_all(conn).await?;
    let recharges = rows.iter().map(recharge_view).collect::<Result<_, _>>()?;
    Ok(Shown { alerts, switched_off, recharges })
}

fn letter_view(row: &Row) -> Result<LetterView, StoreError> {
    Ok(LetterView {
        owner: row.try_get(0)?,
        way: row.try_get(1)?,
        address: row.try_get(2)?,
        state: row.try_get(3)?,
        tries: row.try_get(4)?,
        next: Wall::from_micros(row.try_get(5)?),
        error: row.try_get(6)?,
    })
}

fn recharge_view(row: &Row) -> Result<RechargeView, StoreError> {
    Ok(RechargeView {
        key: row.try_get(0)?,
        organisation: row.try_get(1)?,
        amount: crate::types::Micros(row.try_get(2)?),
        currency: row.try_get(3)?,
        state: row.try_get(4)?,
        at: Wall::from_micros(row.try_get(5)?),
        tries: row.try_get(6)?,
        error: row.try_get(7)?,
    })
}
