//! Proof that the auditor can fail: numbers of the product that are made wrong where it writes them, and words that it overlooks, one
//! kind of fault at a time. Each is found by one of the gate's seeds.

use crate::shrink::{Gone, attempt};
use crate::world::{Fault, Plant};
use bytes::Bytes;
use sqlx::{Connection, SqliteConnection};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use tollbridge::rating::report::Masking;

/// A fault that is not found by so many seeds is not found; from where on each of them has one among them that shows it.
const SEEDS: u64 = 40;
const FIRST: u64 = 11;

macro_rules! trigger {
    ($sql:expr) => {
        Fault::Books(concat!("CREATE TRIGGER planted AFTER ", $sql, "; END"))
    };
}

macro_rules! plants {
    ($($name:literal: $sql:expr;)*) => {
        const PLANTS: &[Plant] = &[$(Plant { name: $name, fault: trigger!($sql), found_by: "" },)*];
    };
}

plants! {
    "a slice is set aside twice":
        "UPDATE OF held ON account WHEN NEW.held > OLD.held AND NEW.posted - NEW.held >= NEW.held - OLD.held \
         BEGIN UPDATE account SET held = held + NEW.held - OLD.held WHERE organisation = NEW.organisation";
    "a slice is not set aside":
        "UPDATE OF held ON account WHEN NEW.held > OLD.held \
         BEGIN UPDATE account SET held = OLD.held WHERE organisation = NEW.organisation";
    "a rest is not given back":
        "UPDATE OF held ON account WHEN NEW.held < OLD.held AND NEW.posted > NEW.held \
         BEGIN UPDATE account SET held = held + 1 WHERE organisation = NEW.organisation";
    "a charge is taken twice":
        "UPDATE OF posted ON account WHEN NEW.posted < OLD.posted AND NEW.posted - NEW.held >= OLD.posted - NEW.posted \
         BEGIN UPDATE account SET posted = posted - (OLD.posted - NEW.posted) WHERE organisation = NEW.organisation";
    "a charge is forgotten":
        "UPDATE OF posted ON account WHEN NEW.posted < OLD.posted \
         BEGIN UPDATE account SET posted = OLD.posted WHERE organisation = NEW.organisation";
    "a charge is a millionth more":
        "UPDATE OF posted ON account WHEN NEW.posted < OLD.posted AND NEW.posted > NEW.held \
         BEGIN UPDATE account SET posted = posted - 1 WHERE organisation = NEW.organisation";
    "another house pays":
        "UPDATE OF posted ON account WHEN NEW.posted < OLD.posted \
         BEGIN UPDATE account SET posted = OLD.posted WHERE organisation = NEW.organisation; \
         UPDATE account SET posted = posted - (OLD.posted - NEW.posted) WHERE organisation = (SELECT MIN(organisation) \
         FROM account WHERE organisation <> NEW.organisation) AND posted - held >= OLD.posted - NEW.posted";
    "a payment is lost":
        "UPDATE OF posted ON account WHEN NEW.posted > OLD.posted \
         BEGIN UPDATE account SET posted = OLD.posted WHERE organisation = NEW.organisation";
    "a payment is booked twice":
        "UPDATE OF posted ON account WHEN NEW.posted > OLD.posted \
         BEGIN UPDATE account SET posted = posted + NEW.posted - OLD.posted WHERE organisation = NEW.organisation";
    "a payment is not dated":
        "INSERT ON funding BEGIN DELETE FROM funding WHERE key = NEW.key";
    "the newest money is used first":
        "UPDATE OF remaining ON funding WHEN NEW.remaining < OLD.remaining AND EXISTS (SELECT 1 FROM funding \
         WHERE organisation = NEW.organisation AND expires > NEW.expires AND remaining >= OLD.remaining - NEW.remaining) \
         BEGIN UPDATE funding SET remaining = OLD.remaining WHERE key = NEW.key; UPDATE funding SET remaining = remaining \
         - (OLD.remaining - NEW.remaining) WHERE key = (SELECT key FROM funding WHERE organisation = NEW.organisation \
         AND expires > NEW.expires AND remaining >= OLD.remaining - NEW.remaining ORDER BY expires DESC LIMIT 1)";
    "a refund is booked twice":
        "INSERT ON correction WHEN NEW.kind = 'refund' AND NEW.amount < 0 \
         BEGIN UPDATE account SET posted = posted - NEW.amount WHERE organisation = NEW.organisation";
    "a difference of prices is booked twice":
        "INSERT ON correction WHEN NEW.kind = 're-rate' AND NEW.amount < 0 \
         BEGIN UPDATE account SET posted = posted - NEW.amount WHERE organisation = NEW.organisation";
    "a refund gives the pool nothing back":
        "UPDATE OF used_ms ON pool WHEN NEW.used_ms < OLD.used_ms AND NEW.held_ms + OLD.used_ms <= NEW.granted_ms \
         BEGIN UPDATE pool SET used_ms = OLD.used_ms WHERE organisation = NEW.organisation AND month = NEW.month";
    "the pool is used twice":
        "UPDATE OF used_ms ON pool WHEN NEW.used_ms > OLD.used_ms \
         BEGIN UPDATE pool SET used_ms = used_ms + NEW.used_ms - OLD.used_ms \
         WHERE organisation = NEW.organisation AND month = NEW.month";
    "a rest of the pool is not given back":
        "UPDATE OF held_ms ON pool WHEN NEW.held_ms < OLD.held_ms \
         BEGIN UPDATE pool SET held_ms = held_ms + 1 WHERE organisation = NEW.organisation AND month = NEW.month";
    "a grant is used twice":
        "UPDATE OF used ON grants WHEN NEW.used > OLD.used AND NEW.used * 2 - OLD.used + NEW.held + NEW.lapsed <= NEW.amount \
         BEGIN UPDATE grants SET used = used + NEW.used - OLD.used WHERE id = NEW.id";
    "a grant's use is forgotten":
        "UPDATE OF used ON grants WHEN NEW.used > OLD.used BEGIN UPDATE grants SET used = OLD.used WHERE id = NEW.id";
    "a rest of a grant is not given back":
        "UPDATE OF held ON grants WHEN NEW.held < OLD.held AND NEW.used + NEW.held + NEW.lapsed < NEW.amount \
         BEGIN UPDATE grants SET held = held + 1 WHERE id = NEW.id";
    "a leg is never closed":
        "UPDATE OF state ON leg WHEN NEW.state = 'settled' BEGIN UPDATE leg SET state = 'open' WHERE id = NEW.id";
    "a call that is left is forgotten":
        "INSERT ON dialog BEGIN DELETE FROM dialog WHERE leg = NEW.leg";
    "a call that was left is forgotten before it is ended":
        "UPDATE OF life ON node BEGIN DELETE FROM dialog";
    "the last in order pays first":
        "INSERT ON grants BEGIN UPDATE grants SET priority = 9 - NEW.priority, \
         source = CASE NEW.source WHEN 'paid' THEN 'promo' ELSE 'paid' END WHERE id = NEW.id";
    "a grant pays nothing":
        "INSERT ON grants BEGIN UPDATE grants SET valid_from = 4000000000000000 WHERE id = NEW.id";
    "one takes all of the last money":
        "UPDATE OF held ON account WHEN NEW.held > OLD.held AND NEW.posted > NEW.held \
         AND (NEW.posted - NEW.held) * 3000 < NEW.burn_nanos \
         AND (SELECT COUNT(*) FROM leg WHERE organisation = NEW.organisation AND state = 'open' AND credit_held > 0) > 1 \
         BEGIN UPDATE leg SET credit_held = credit_held + NEW.posted - NEW.held WHERE id = (SELECT id FROM leg \
         WHERE organisation = NEW.organisation AND state = 'open' AND leads = 0 AND credit_held > 0 LIMIT 1); \
         UPDATE account SET held = posted WHERE organisation = NEW.organisation";
    "money is fetched beyond a day's most":
        "INSERT ON recharge BEGIN UPDATE recharge SET day = 'another' WHERE key = NEW.key";
    "more is fetched than was agreed":
        "INSERT ON recharge BEGIN UPDATE recharge SET amount = amount + 1 WHERE key = NEW.key";
}

/// Each is for one check alone.
const OF_TRANSFERS: [Plant; 4] = [
    Plant {
        name: "another meeting pays for whom a REFER had rung",
        fault: trigger!(
            "UPDATE OF meeting ON leg WHEN OLD.meeting IS NULL AND NEW.call_type = 'dial-out' AND NEW.number LIKE '%50__' \
             BEGIN UPDATE leg SET meeting = (SELECT MIN(id) FROM meeting WHERE id <> NEW.meeting) WHERE id = NEW.id"
        ),
        found_by: "and was asked for in",
    },
    Plant {
        name: "whoever comes for another leaves it where it is",
        fault: Fault::Overlooks("Replaces"),
        found_by: "came for another at",
    },
    Plant {
        name: "whoever watches sees numbers",
        fault: Fault::Set(|config| config.masking = Masking::off()),
        found_by: "is told to whoever watches",
    },
    Plant {
        name: "a moved caller is paid for by whom they have left",
        fault: trigger!(
            "UPDATE OF meeting ON leg WHEN OLD.meeting IS NULL \
             AND EXISTS (SELECT 1 FROM leg WHERE call_id = NEW.call_id AND meeting <> NEW.meeting) \
             BEGIN UPDATE leg SET meeting = (SELECT MIN(meeting) FROM leg WHERE call_id = NEW.call_id \
             AND meeting <> NEW.meeting) WHERE id = NEW.id"
        ),
        found_by: "not the ID of meeting",
    },
];

/// A request as it is read where one of its headers is overlooked.
pub fn without(packet: &Bytes, header: &str) -> Bytes {
    let text = String::from_utf8_lossy(packet);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return packet.clone() };
    let is_seen = |line: &&str| line.strip_prefix(header).is_none_or(|rest| !rest.starts_with(':'));
    let head: Vec<&str> = head.split("\r\n").filter(is_seen).collect();
    format!("{}\r\n\r\n{body}", head.join("\r\n")).into()
}

/// Writes a fault into the schema.
pub async fn plant(path: &Path, sql: &'static str) {
    let mut conn = SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.expect("the books");
    sqlx::raw_sql(sql).execute(&mut conn).await.expect("a fault");
    conn.close().await.expect("the books");
}

/// Why it was found, and by which seed.
fn found(plant: Plant) -> Option<(u64, String)> {
    let fails = |seed| Some((seed, attempt(seed, &Gone::new(), Some(plant)).err()?.why().to_owned()));
    (FIRST..FIRST + SEEDS).filter_map(fails).find(|(_, why)| why.contains(plant.found_by))
}

#[test]
fn every_planted_fault_is_found() {
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let missed: Vec<&str> = std::thread::scope(|scope| {
        let work = || {
            let mut missed = Vec::new();
            let plants = || OF_TRANSFERS.iter().chain(PLANTS);
            while let Some(plant) = plants().nth(next.fetch_add(1, Ordering::Relaxed)) {
                match found(*plant) {
                    Some((seed, why)) => {
                        println!("{}: seed {seed}, {}", plant.name, why.chars().take(160).collect::<String>())
                    }
                    None => missed.push(plant.name),
                }
            }
            missed
        };
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no worker fails")).collect()
    });
    assert!(missed.is_empty(), "not found: {missed:?}");
}
