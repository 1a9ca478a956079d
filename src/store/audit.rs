//! Every invariant of the books, checked over the whole store from one snapshot: works while the bridge runs. The
//! numbers are those of research/reliability-security.md, M0.

mod draw;
mod grant;
mod guard;
mod leg;

use super::books::{hash_text, unhash};
use super::door::Difference;
use super::facts::OnEmpty;
use super::fault::StoreError;
use super::rows::Line;
use super::spending::{Counted, Name, Whose};
use super::sql::{self, Connection};
use super::trail;
use crate::clock::Wall;
use crate::rating::ledger::{self, Account, Entry, Kind};
use crate::types::{Currency, GrantId, Micros, OrganisationId};
use std::collections::BTreeMap;
use std::fmt::Display;

/// Rows read at a time: a store of years does not have to fit into memory.
const PAGE: i64 = 4_096;

const SUMS: u8 = 1;
const ZERO: u8 = 2;
const ONCE: u8 = 3;
const HOLDS: u8 = 4;
const FLOOR: u8 = 5;
const PRICE: u8 = 6;
const GUARDS: u8 = 9;
const CHAIN: u8 = 10;

/// Differences that are told: where there are more, the books are not right in one place but altogether.
const MOST_TOLD: usize = 10_000;

/// All differences: none, in books that are right.
pub(super) async fn audit(conn: &mut Connection) -> Result<Vec<Difference>, StoreError> {
    let mut audit = Audit {
        conn,
        differences: Vec::new(),
        left_out: 0,
        months: BTreeMap::new(),
        days: BTreeMap::new(),
        held: BTreeMap::new(),
        burning: BTreeMap::new(),
        counted: BTreeMap::new(),
        currencies: BTreeMap::new(),
    };
    audit.currencies().await?;
    audit.counts().await?;
    let ledger = audit.ledger().await?;
    audit.accounts(&ledger).await?;
    audit.legs().await?;
    audit.pools().await?;
    audit.months().await?;
    audit.days().await?;
    audit.counted();
    audit.fundings().await?;
    audit.draws().await?;
    audit.grants(&ledger).await?;
    audit.guards().await?;
    audit.trail().await?;
    if audit.left_out > 0 {
        let (place, text) = ("the books".to_owned(), format!("{} more differences", audit.left_out));
        audit.differences.push(Difference { invariant: ZERO, place, text });
    }
    Ok(audit.differences)
}

/// What the ledger says of one organisation.
#[derive(Default)]
struct Chain {
    entries: i64,
    head: Option<[u8; 32]>,
    balances: BTreeMap<Kind, i128>,
}

/// Organisation, the month's first moment, call type, destination.
type MonthUse = (String, i64, String, String);

struct Audit<'a> {
    conn: &'a mut Connection,
    differences: Vec<Difference>,
    left_out: usize,
    /// Minutes of months that decide prices, as legs have used and hold them.
    months: BTreeMap<MonthUse, i64>,
    /// What was charged on days of organisations, as records and corrections say.
    days: BTreeMap<(String, String), i64>,
    /// What running legs hold of grants.
    held: BTreeMap<GrantId, u64>,
    /// What open legs burn of each.
    burning: BTreeMap<GrantId, i64>,
    /// What counts towards limits of organisers, meetings and carriers, as legs, records and corrections say.
    counted: BTreeMap<Name, Due>,
    currencies: BTreeMap<OrganisationId, Currency>,
}

/// A running sum: its row, where there is one, and what it should be.
#[derive(Default)]
struct Due {
    row: Option<Counted>,
    held: i64,
    charged: i64,
    /// Charged on days after the row's.
    later: i64,
}

impl Due {
    fn charge(&mut self, day: &str, amount: i64) {
        match self.row.as_ref().map_or("", |row| row.day.as_str()) {
            latest if latest == day => self.charged += amount,
            latest if latest < day => self.later += amount,
            _ => {}
        }
    }
}

impl Audit<'_> {
    fn tell(&mut self, invariant: u8, place: impl Display, text: impl Display) {
        if self.differences.len() < MOST_TOLD {
            self.differences.push(Difference { invariant, place: place.to_string(), text: text.to_string() });
        } else {
            self.left_out += 1;
        }
    }

    fn equal<T: PartialEq + Display>(&mut self, invariant: u8, place: impl Display, what: &str, found: T, due: T) {
        if found != due {
            self.tell(invariant, place, format_args!("{what} is {found}, and should be {due}"));
        }
    }

    /// The trail: no row is missing, and each is as it was written.
    async fn trail(&mut self) -> Result<(), StoreError> {
        let (mut next, mut hash) = (0, String::new());
        loop {
            let rows = trail::page(self.conn, next, PAGE).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in rows {
                let place = format!("trail {}", row.sequence);
                self.equal(CHAIN, &place, "the place in the trail", row.sequence, next);
                self.equal(CHAIN, &place, "the hash", row.hash.as_str(), row.due(&hash).as_str());
                (next, hash) = (row.sequence + 1, row.hash);
            }
        }
    }

    /// Walks all chains, sums all accounts.
    async fn ledger(&mut self) -> Result<BTreeMap<OrganisationId, Chain>, StoreError> {
        let mut chains: BTreeMap<OrganisationId, Chain> = BTreeMap::new();
        let (mut organisation, mut sequence) = (String::new(), -1_i64);
        loop {
            let rows = sql::query(
                "SELECT * FROM ledger_entry WHERE (organisation, sequence) > ($1, $2) \
                 ORDER BY organisation, sequence LIMIT $3",
            )
            .bind(&organisation)
            .bind(sequence)
            .bind(PAGE)
            .fetch_all(&mut *self.conn)
            .await?;
            let Some(last) = rows.last() else { return Ok(chains) };
            (organisation, sequence) = (last.try_get("organisation")?, last.try_get("sequence")?);
            for row in &rows {
                let place =
                    format!("{}/{}", row.try_get::<String, _>("organisation")?, row.try_get::<i64, _>("sequence")?);
                match entry(&Line { row, table: "ledger_entry" }) {
                    Ok(link) => self.link(&mut chains, &place, link),
                    Err(why) => self.tell(CHAIN, place, why),
                }
            }
        }
    }

    fn link(&mut self, chains: &mut BTreeMap<OrganisationId, Chain>, place: &str, link: Link) {
        let Link { entry, sequence, hash } = link;
        let chain = chains.entry(entry.debit.organisation.clone()).or_default();
        let previous = chain.head.unwrap_or(ledger::GENESIS);
        let due = ledger::chain(&previous, &entry);
        let in_order = sequence == chain.entries;
        (chain.entries, chain.head) = (sequence + 1, hash);
        *chain.balances.entry(entry.debit.kind).or_default() -= i128::from(entry.amount.0);
        *chain.balances.entry(entry.credit.kind).or_default() += i128::from(entry.amount.0);
        if let Err(why) = entry.check() {
            self.tell(ZERO, place, why);
        }
        if !in_order {
            self.tell(CHAIN, place, "an entry before this one is gone");
        }
        if hash != Some(due) {
            self.tell(CHAIN, place, "the hash does not fit: this entry, or one before it, was changed");
        }
    }

    /// The account of each organisation against its ledger, and against its legs.
    async fn accounts(&mut self, chains: &BTreeMap<OrganisationId, Chain>) -> Result<(), StoreError> {
        let rows = sql::query(
            "SELECT account.*, organisation.on_empty, organisation.overdraft AS agreed, COALESCE(legs.hold, 0) AS legs_hold, COALESCE(legs.burn, 0) AS legs_burn FROM account \
             JOIN organisation ON organisation.id = account.organisation \
             LEFT JOIN (SELECT organisation, CAST(SUM(credit_held) AS BIGINT) AS hold, CAST(SUM(burn_nanos) AS BIGINT) AS burn FROM leg \
             WHERE state = 'open' GROUP BY organisation) AS legs ON legs.organisation = account.organisation",
        )
        .fetch_all(&mut *self.conn)
        .await?;
        let none = Chain::default();
        for row in rows {
            let name: String = row.try_get("organisation")?;
            let number = |column: &str| row.try_get::<i64, _>(column);
            let (posted, held, overdraft) = (number("posted")?, number("held")?, number("overdraft")?);
            let chain = name.parse().ok().and_then(|id: OrganisationId| chains.get(&id)).unwrap_or(&none);
            let balance = |kind| chain.balances.get(&kind).copied().unwrap_or(0);
            let place = format!("account {name}");
            self.equal(SUMS, &place, "available", i128::from(posted - held), balance(Kind::Available));
            self.equal(SUMS, &place, "held", i128::from(held), balance(Kind::Held));
            self.equal(ZERO, &place, "the sum of all its entries", chain.balances.values().sum::<i128>(), 0);
            self.equal(HOLDS, &place, "held", held, number("legs_hold")?);
            self.equal(HOLDS, &place, "burn", number("burn_nanos")?, number("legs_burn")?);
            self.equal(CHAIN, &place, "the number of entries", chain.entries, number("entries")?);
            let head = chain.head.unwrap_or(ledger::GENESIS);
            self.equal(CHAIN, &place, "the last hash", hash_text(&head), row.try_get("head")?);
            let may_finish = row.try_get::<String, _>("on_empty")? == OnEmpty::Finish.slug();
            let agreed = if may_finish { number("agreed")? } else { 0 };
            // More is there where legs had used it when less was agreed.
            if overdraft < agreed {
                self.tell(FLOOR, &place, format_args!("the overdraft is {}, less than agreed", Micros(overdraft)));
            }
            if posted - held < -overdraft || held < 0 {
                self.tell(FLOOR, place, format_args!("available is {}", Micros(posted - held)));
            }
        }
        Ok(())
    }

    /// Minutes of months: what legs have used and hold.
    async fn months(&mut self) -> Result<(), StoreError> {
        let rows = sql::query("SELECT * FROM month_use").fetch_all(&mut *self.conn).await?;
        for row in rows {
            let text = |column: &str| row.try_get::<String, _>(column);
            let key = (text("organisation")?, row.try_get("month")?, text("call_type")?, text("destination")?);
            let place = format!("month {}/{}/{}/{}", key.0, key.1, key.2, key.3);
            let due = self.months.remove(&key).unwrap_or(0);
            self.equal(SUMS, place, "used", row.try_get::<i64, _>("used_ms")?, due);
        }
        let missing: Vec<MonthUse> =
            std::mem::take(&mut self.months).into_iter().filter(|(_, ms)| *ms > 0).map(|(key, _)| key).collect();
        for (organisation, month, call_type, destination) in missing {
            self.tell(SUMS, format_args!("month {organisation}/{month}/{call_type}/{destination}"), "is not counted");
        }
        Ok(())
    }

    /// Spending of days: what records and corrections say, and what was counted before they did.
    async fn days(&mut self) -> Result<(), StoreError> {
        let rows = sql::query("SELECT * FROM spend").fetch_all(&mut *self.conn).await?;
        for row in rows {
            let key = (row.try_get("organisation")?, row.try_get("day")?);
            let due = self.days.remove(&key).unwrap_or(0) + row.try_get::<i64, _>("earlier")?;
            self.equal(SUMS, format_args!("day {}/{}", key.0, key.1), "charged", row.try_get("charged")?, due);
        }
        for ((organisation, day), _) in std::mem::take(&mut self.days).into_iter().filter(|(_, sum)| *sum != 0) {
            self.tell(SUMS, format_args!("day {organisation}/{day}"), "is not counted");
        }
        Ok(())
    }

    async fn currencies(&mut self) -> Result<(), StoreError> {
        for row in sql::query("SELECT id, currency FROM organisation").fetch_all(&mut *self.conn).await? {
            let line = Line { row: &row, table: "organisation" };
            match (line.parse("id"), line.parse("currency")) {
                (Ok(id), Ok(currency)) => drop(self.currencies.insert(id, currency)),
                (Err(why), _) | (_, Err(why)) => self.tell(SUMS, "organisation", why),
            }
        }
        Ok(())
    }

    /// Reads the running sums of organisers, meetings and carriers.
    async fn counts(&mut self) -> Result<(), StoreError> {
        for row in sql::query("SELECT * FROM spend_of").fetch_all(&mut *self.conn).await? {
            let text = |column: &str| row.try_get::<String, _>(column);
            let (whose, name, day) = (text("whose")?, text("name")?, text("day")?);
            let earlier = if text("earlier_day")? == day { row.try_get("earlier")? } else { 0 };
            let whose_is = Whose::ALL.into_iter().find(|one| one.slug() == whose);
            let Some((is, currency)) = whose_is.zip(text("currency")?.parse().ok()) else {
                self.tell(SUMS, format_args!("spending of {whose} {name}"), "is nobody's");
                continue;
            };
            let row = Counted { day, charged: row.try_get("charged")?, held: row.try_get("held")? };
            self.counted.insert((is, name, currency), Due { row: Some(row), charged: earlier, ..Due::default() });
        }
        Ok(())
    }

    /// Running sums: what open legs hold, and what was charged on the latest day.
    fn counted(&mut self) {
        for ((whose, name, _), due) in std::mem::take(&mut self.counted) {
            let place = format!("spending of {} {name}", whose.slug());
            let row = due.row.unwrap_or_default();
            self.equal(HOLDS, &place, "held", row.held, due.held);
            self.equal(SUMS, &place, "charged", row.charged, due.charged);
            self.equal(SUMS, &place, "charged after its latest day", 0, due.later);
        }
    }

    /// Pools: used and held are what legs used and hold, and those it pays are the legs whose last part is of it.
    async fn pools(&mut self) -> Result<(), StoreError> {
        let rows = sql::query(
            "SELECT pool.*, COALESCE(legs.used, 0) AS legs_used, COALESCE(legs.hold, 0) AS legs_hold, \
             COALESCE(legs.paid, 0) AS legs_paid FROM pool \
             LEFT JOIN (SELECT leg.organisation, leg.pool_month, \
             CAST(SUM(COALESCE(usage_record.pool_used_ms, 0) + COALESCE((SELECT CAST(SUM(pool_ms) AS BIGINT) \
             FROM correction WHERE correction.leg = leg.id), 0)) AS BIGINT) AS used, \
             CAST(SUM(CASE WHEN leg.state = 'open' THEN leg.pool_held_ms ELSE 0 END) AS BIGINT) AS hold, \
             CAST(SUM(CASE WHEN leg.state = 'open' AND (leg.parts IS NULL AND leg.credit_held = 0 \
             OR RTRIM(leg.parts, '0123456789]') LIKE '%[\"pool\",') THEN 1 ELSE 0 END) AS BIGINT) AS paid \
             FROM leg LEFT JOIN usage_record ON usage_record.leg = leg.id \
             WHERE leg.pool_held_ms > 0 GROUP BY leg.organisation, leg.pool_month) AS legs \
             ON legs.organisation = pool.organisation AND legs.pool_month = pool.month",
        )
        .fetch_all(&mut *self.conn)
        .await?;
        for row in rows {
            let number = |column: &str| row.try_get::<i64, _>(column);
            let place = format!("pool {}/{}", row.try_get::<String, _>("organisation")?, number("month")?);
            let (used, held, granted) = (number("used_ms")?, number("held_ms")?, number("granted_ms")?);
            self.equal(SUMS, &place, "used", used, number("legs_used")?);
            self.equal(HOLDS, &place, "held", held, number("legs_hold")?);
            self.equal(HOLDS, &place, "the number of legs", number("legs")?, number("legs_paid")?);
            if used + held > granted {
                self.tell(FLOOR, place, "more is used and held than was granted");
            }
        }
        let missing = sql::query(
            "SELECT DISTINCT leg.organisation, leg.pool_month FROM leg LEFT JOIN pool \
             ON pool.organisation = leg.organisation AND pool.month = leg.pool_month \
             WHERE leg.pool_held_ms > 0 AND pool.month IS NULL",
        )
        .fetch_all(&mut *self.conn)
        .await?;
        for row in missing {
            let month: Option<i64> = row.try_get(1)?;
            let place = format!("pool {}/{}", row.try_get::<String, _>(0)?, month.unwrap_or(0));
            self.tell(SUMS, place, "is not there, and legs have used it");
        }
        Ok(())
    }
}

/// An entry as its row has it.
pub(super) struct Link {
    pub entry: Entry,
    sequence: i64,
    hash: Option<[u8; 32]>,
}

pub(super) fn entry(line: &Line<'_>) -> Result<Link, String> {
    let organisation: OrganisationId = line.parse("organisation")?;
    let entry = Entry {
        key: line.text("key")?,
        debit: Account::new(&organisation, line.parse("debit")?),
        credit: Account::new(&organisation, line.parse("credit")?),
        amount: Micros(line.number("amount")?),
        currency: line.parse("currency")?,
        at: Wall::from_micros(line.number("at")?),
        memo: line.text("memo")?,
    };
    Ok(Link { entry, sequence: line.number("sequence")?, hash: unhash(&line.text("hash")?) })
}
