//! Every invariant of the books, checked over the whole store from one snapshot: works while the bridge runs. The
//! numbers are those of research/reliability-security.md, M0.

use super::books::{hash_text, millis, unhash};
use super::door::Difference;
use super::fault::StoreError;
use super::leg::{self, LegRow};
use super::rows::Line;
use super::sql::{self, Connection, Kind as Database};
use super::trail;
use crate::clock::Wall;
use crate::rating::ledger::{self, Account, Entry, Kind};
use crate::rating::{Tab, UsageRecord};
use crate::types::{Micros, OrganisationId};
use std::collections::{BTreeMap, HashMap};
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

/// Guards that the schema has to have: what stands in the database's own catalogue under these names.
const GUARDED: [Guard; 8] = [
    Guard {
        table: "trail",
        name: "trail_is_not_changed",
        sqlite: "BEFORE UPDATE ON trail\nBEGIN SELECT RAISE(ABORT",
        postgres: &["BEFORE UPDATE ON", KEPT],
    },
    Guard {
        table: "trail",
        name: "trail_is_not_removed",
        sqlite: "BEFORE DELETE ON trail\nBEGIN SELECT RAISE(ABORT",
        postgres: &["BEFORE DELETE ON", KEPT],
    },
    Guard {
        table: "ledger_entry",
        name: "ledger_entry_is_not_changed",
        sqlite: "BEFORE UPDATE ON ledger_entry\nBEGIN SELECT RAISE(ABORT",
        postgres: &["BEFORE UPDATE ON", KEPT],
    },
    Guard {
        table: "ledger_entry",
        name: "ledger_entry_is_not_removed",
        sqlite: "BEFORE DELETE ON ledger_entry\nBEGIN SELECT RAISE(ABORT",
        postgres: &["BEFORE DELETE ON", KEPT],
    },
    Guard {
        table: "usage_record",
        name: "usage_record_is_not_changed",
        sqlite: "BEFORE UPDATE ON usage_record\nBEGIN SELECT RAISE(ABORT",
        postgres: &["BEFORE UPDATE ON", KEPT],
    },
    Guard {
        table: "usage_record",
        name: "usage_record_is_not_removed",
        sqlite: "BEFORE DELETE ON usage_record\nBEGIN SELECT RAISE(ABORT",
        postgres: &["BEFORE DELETE ON", KEPT],
    },
    Guard {
        table: "account",
        name: "account",
        sqlite: "CHECK (posted - held >= -overdraft)",
        postgres: &["CHECK (((posted - held) >= (- overdraft)))"],
    },
    Guard {
        table: "pool",
        name: "pool",
        sqlite: "CHECK (used_ms + held_ms <= granted_ms)",
        postgres: &["CHECK (((used_ms + held_ms) <= granted_ms))"],
    },
];

/// What a trigger of PostgreSQL has to do.
const KEPT: &str = "RAISE EXCEPTION";

/// A guard, and the words that tell it in either catalogue: SQLite's has what was written, PostgreSQL's what was understood.
struct Guard {
    table: &'static str,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static [&'static str],
}

const SQLITE_CATALOGUE: &str = "SELECT sql FROM sqlite_master WHERE name = $1 AND tbl_name = $2";

/// Triggers that are on, with what they do, and checks that hold for all rows.
const POSTGRES_CATALOGUE: &str = "SELECT pg_get_triggerdef(t.oid) || f.prosrc FROM pg_trigger t \
     JOIN pg_proc f ON f.oid = t.tgfoid \
     WHERE t.tgname = $1 AND t.tgrelid = CAST(CAST($2 AS TEXT) AS regclass) AND t.tgenabled IN ('O', 'A') \
     UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint \
     WHERE conrelid = CAST(CAST($2 AS TEXT) AS regclass) AND convalidated AND contype = 'c'";

/// All differences: none, in books that are right.
pub(super) async fn audit(conn: &mut Connection) -> Result<Vec<Difference>, StoreError> {
    let mut audit =
        Audit { conn, differences: Vec::new(), charged: HashMap::new(), held: HashMap::new(), months: BTreeMap::new() };
    let ledger = audit.ledger().await?;
    audit.accounts(&ledger).await?;
    audit.open_legs().await?;
    audit.settled_legs().await?;
    audit.orphan_entries();
    audit.pools().await?;
    audit.months().await?;
    audit.fundings().await?;
    audit.guards().await?;
    audit.trail().await?;
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
    /// Charges in the ledger that no record has claimed yet, by leg.
    charged: HashMap<String, i64>,
    /// What the ledger says is held for each leg, release and charge taken off.
    held: HashMap<String, i128>,
    /// Minutes of months that decide prices, as legs have used and hold them.
    months: BTreeMap<MonthUse, u64>,
}

impl Audit<'_> {
    fn tell(&mut self, invariant: u8, place: impl Display, text: impl Display) {
        self.differences.push(Difference { invariant, place: place.to_string(), text: text.to_string() });
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
        self.of_leg(&entry);
    }

    /// Sums what the ledger says of each leg.
    fn of_leg(&mut self, entry: &Entry) {
        let Some((leg, step)) = entry.key.strip_prefix("leg:").and_then(|rest| rest.split_once(':')) else { return };
        let amount = i128::from(entry.amount.0);
        let held = self.held.entry(leg.to_owned()).or_default();
        match (entry.debit.kind, entry.credit.kind) {
            (Kind::Available, Kind::Held) => *held += amount,
            (Kind::Held, _) => *held -= amount,
            _ => {}
        }
        if step == "charge" {
            self.charged.insert(leg.to_owned(), entry.amount.0);
        }
    }

    /// The account of each organisation against its ledger, and against its legs.
    async fn accounts(&mut self, chains: &BTreeMap<OrganisationId, Chain>) -> Result<(), StoreError> {
        let rows = sql::query(
            "SELECT account.*, COALESCE(legs.hold, 0) AS legs_hold, COALESCE(legs.burn, 0) AS legs_burn FROM account \
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
            if posted - held < -overdraft || held < 0 {
                self.tell(FLOOR, place, format_args!("available is {}", Micros(posted - held)));
            }
        }
        Ok(())
    }

    /// Live legs: what they hold is what their steps took, and what the ledger set aside.
    async fn open_legs(&mut self) -> Result<(), StoreError> {
        let rows = sql::query(
            "SELECT leg.*, \
             (SELECT COALESCE(CAST(SUM(credit) AS BIGINT), 0) FROM hold WHERE hold.leg = leg.id) AS steps_credit, \
             (SELECT COALESCE(CAST(SUM(pool_ms) AS BIGINT), 0) FROM hold WHERE hold.leg = leg.id) AS steps_pool \
             FROM leg WHERE state = 'open'",
        )
        .fetch_all(&mut *self.conn)
        .await?;
        for row in rows {
            let id: String = row.try_get("id")?;
            let (credit, pool): (i64, i64) = (row.try_get("credit_held")?, row.try_get("pool_held_ms")?);
            let place = format!("leg {id}");
            self.equal(HOLDS, &place, "credit held", credit, row.try_get("steps_credit")?);
            self.equal(HOLDS, &place, "pool time held", pool, row.try_get("steps_pool")?);
            let booked = self.held.remove(&id).unwrap_or(0);
            self.equal(HOLDS, &place, "credit held", i128::from(credit), booked);
            if self.charged.contains_key(&id) {
                self.tell(ONCE, place, "was charged and is still open");
            }
        }
        Ok(())
    }

    /// Settled legs: one record each, whose price, worked out again from the frozen terms, is what was charged.
    async fn settled_legs(&mut self) -> Result<(), StoreError> {
        let mut after = String::new();
        loop {
            let rows = sql::query(
                "SELECT leg.*, usage_record.elapsed_ms AS record_elapsed_ms, usage_record.charge AS record_charge, \
                 usage_record.credit_held AS record_credit_held, usage_record.pool_used_ms AS record_pool_used_ms, \
                 usage_record.pool_held_ms AS record_pool_held_ms, usage_record.record AS record, \
                 usage_record.organisation AS record_organisation \
                 FROM leg LEFT JOIN usage_record ON usage_record.leg = leg.id \
                 WHERE leg.id > $1 ORDER BY leg.id LIMIT $2",
            )
            .bind(&after)
            .bind(PAGE)
            .fetch_all(&mut *self.conn)
            .await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.try_get("id")?;
            for row in &rows {
                let id: String = row.try_get("id")?;
                if let Err(why) = self.settled_leg(&id, &Line { row, table: "leg" }) {
                    self.tell(PRICE, format_args!("leg {id}"), why);
                }
            }
        }
    }

    fn settled_leg(&mut self, id: &str, line: &Line<'_>) -> Result<(), String> {
        let leg = leg::read(line)?;
        let place = format!("leg {id}");
        let Some(text) = line.maybe_text("record")? else {
            if !leg.is_open {
                self.tell(ONCE, place, "is settled and has no record");
            } else if let Some(tab) = leg.tab.as_ref().filter(|tab| tab.sequence > 0) {
                self.count_month(&leg, tab, leg::paid_ms(tab));
            }
            return Ok(());
        };
        if leg.is_open {
            self.tell(ONCE, &place, "has a record and is still open");
            return Ok(());
        }
        let record = UsageRecord::from_line(&text)?;
        let (credit, charge) = (line.number("record_credit_held")?, line.number("record_charge")?);
        self.equal(ONCE, &place, "the ledger's charge", self.charged.get(id).copied().unwrap_or(0), charge);
        self.charged.remove(id);
        let left = self.held.remove(id).unwrap_or(0);
        self.equal(HOLDS, &place, "credit still held", left, 0);
        self.equal(PRICE, &place, "the record's charge", record.charge.0, charge);
        self.equal(PRICE, &place, "credit held", credit, leg.tab.as_ref().map_or(0, |tab| tab.credit_held.0));
        self.equal(PRICE, &place, "the leg's time", leg.elapsed_ms, line.count("record_elapsed_ms")?);
        self.equal(
            PRICE,
            &place,
            "the record's pool time",
            record.beyond.pool_used_ms,
            line.count("record_pool_used_ms")?,
        );
        self.same_payer(&place, &leg, line, &record)?;
        self.price(&place, &leg, line, &record)
    }

    fn same_payer(&mut self, place: &str, leg: &LegRow, line: &Line<'_>, record: &UsageRecord) -> Result<(), String> {
        let by_column: Option<OrganisationId> = line.maybe("record_organisation")?;
        if record.beyond.organisation != leg.organisation || by_column != leg.organisation {
            self.tell(PRICE, place, "the record has another payer than the leg");
        }
        if record.usage_id != leg.id {
            self.tell(ONCE, place, "has the record of another leg");
        }
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
        self.equal(PRICE, place, "the pool time held", line.count("record_pool_held_ms")?, tab.pool_held_ms);
        self.equal(PRICE, place, "the charged time", record.duration_ms, due.charged_ms);
        self.equal(PRICE, place, "the connect fee", record.connection_fee.0, due.connect_fee.0);
        self.count_month(leg, tab, due.billed_ms - due.pool_used_ms);
        Ok(())
    }

    /// Notes what a leg has used or holds of the minutes of its month.
    fn count_month(&mut self, leg: &LegRow, tab: &Tab, ms: u64) {
        let (Some(month), Some(tariff), Some(organisation)) = (tab.terms.month, &tab.terms.tariff, &leg.organisation)
        else {
            return;
        };
        let call_type = tab.terms.call_type.to_string();
        let key = (organisation.to_string(), month.micros(), call_type, tariff.row.destination.to_string());
        *self.months.entry(key).or_default() += ms;
    }

    /// Minutes of months: what legs have used and hold.
    async fn months(&mut self) -> Result<(), StoreError> {
        let rows = sql::query("SELECT * FROM month_use").fetch_all(&mut *self.conn).await?;
        for row in rows {
            let text = |column: &str| row.try_get::<String, _>(column);
            let key = (text("organisation")?, row.try_get("month")?, text("call_type")?, text("destination")?);
            let place = format!("month {}/{}/{}/{}", key.0, key.1, key.2, key.3);
            let due = self.months.remove(&key).unwrap_or(0);
            self.equal(SUMS, place, "used", row.try_get::<i64, _>("used_ms")?, millis(due));
        }
        let missing: Vec<MonthUse> =
            std::mem::take(&mut self.months).into_iter().filter(|(_, ms)| *ms > 0).map(|(key, _)| key).collect();
        for (organisation, month, call_type, destination) in missing {
            self.tell(SUMS, format_args!("month {organisation}/{month}/{call_type}/{destination}"), "is not counted");
        }
        Ok(())
    }

    /// What the ledger says of legs that do not exist.
    fn orphan_entries(&mut self) {
        let charged: Vec<String> = self.charged.drain().map(|(leg, _)| leg).collect();
        for leg in charged {
            self.tell(ONCE, format_args!("leg {leg}"), "was charged and is not in the journal");
        }
        let held: Vec<String> = self.held.drain().filter(|(_, held)| *held != 0).map(|(leg, _)| leg).collect();
        for leg in held {
            self.tell(HOLDS, format_args!("leg {leg}"), "has credit held and is not in the journal");
        }
    }

    /// Pools: used and held are what legs used and hold.
    async fn pools(&mut self) -> Result<(), StoreError> {
        let rows = sql::query(
            "SELECT pool.*, COALESCE(legs.used, 0) AS legs_used, COALESCE(legs.hold, 0) AS legs_hold FROM pool \
             LEFT JOIN (SELECT leg.organisation, leg.pool_month, \
             CAST(SUM(COALESCE(usage_record.pool_used_ms, 0)) AS BIGINT) AS used, \
             CAST(SUM(CASE WHEN leg.state = 'open' THEN leg.pool_held_ms ELSE 0 END) AS BIGINT) AS hold \
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
            if used + held > granted {
                self.tell(FLOOR, place, "more is used and held than was granted");
            }
        }
        Ok(())
    }

    /// Dated fundings: what remains of them is the balance, but for an overdraft.
    async fn fundings(&mut self) -> Result<(), StoreError> {
        let rows = sql::query(
            "SELECT account.organisation, account.posted, \
             (SELECT COALESCE(CAST(SUM(remaining) AS BIGINT), 0) FROM funding \
              WHERE funding.organisation = account.organisation) AS remaining FROM account",
        )
        .fetch_all(&mut *self.conn)
        .await?;
        for row in rows {
            let place = format!("account {}", row.try_get::<String, _>(0)?);
            let (posted, remaining): (i64, i64) = (row.try_get(1)?, row.try_get(2)?);
            self.equal(SUMS, place, "the rest of its fundings", remaining, posted.max(0));
        }
        let strangers = sql::query(
            "SELECT funding.key FROM funding LEFT JOIN ledger_entry ON ledger_entry.key = funding.key \
             AND ledger_entry.amount = funding.amount AND ledger_entry.organisation = funding.organisation \
             WHERE ledger_entry.key IS NULL",
        )
        .fetch_all(&mut *self.conn)
        .await?;
        for row in strangers {
            self.tell(SUMS, format_args!("funding {}", row.try_get::<String, _>(0)?), "is not in the ledger");
        }
        Ok(())
    }

    /// Triggers and checks stand where they should.
    async fn guards(&mut self) -> Result<(), StoreError> {
        let database = self.conn.kind();
        for guard in GUARDED {
            let (catalogue, words) = match database {
                Database::Sqlite => (SQLITE_CATALOGUE, std::slice::from_ref(&guard.sqlite)),
                Database::Postgres => (POSTGRES_CATALOGUE, guard.postgres),
            };
            let rows = sql::query(catalogue).bind(guard.name).bind(guard.table).fetch_all(&mut *self.conn).await?;
            let defined = rows.iter().map(|row| row.try_get::<String, _>(0)).collect::<Result<Vec<_>, _>>()?;
            if !defined.iter().any(|text| words.iter().all(|words| text.contains(words))) {
                self.tell(GUARDS, guard.name, "this guard of the books is not there");
            }
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
