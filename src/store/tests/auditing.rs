//! What was changed behind the store's back is found.

use super::*;
use crate::rating::ledger::{self, Account, Kind};

/// Books with a settled paid leg, a settled pool leg, one of each still open, and a funding by hand.
async fn lived_in() -> Bench {
    let bench = Bench::new().await;
    let store = &bench.store;
    for (to, meeting) in [("+447700900123", "studio"), ("+447700900123", "watch")] {
        for is_over in [true, false] {
            let leg = bench.leg();
            grant(store.open_leg(dial(leg, to, meeting)).await.unwrap());
            store.answered(answer(leg)).await.unwrap();
            grant(store.extend(next(leg, 1, 50_000)).await.unwrap());
            if is_over {
                store.settle(leg, over(70_000)).await.unwrap();
            }
        }
    }
    store.add_credits(funds("by-hand", "3")).await.unwrap();
    bench.audited().await;
    bench
}

/// Each planted change, with the invariant that must tell of it.
const PLANTED: &[(&str, u8)] = &[
    ("UPDATE account SET posted = posted + 1 WHERE organisation = 'aurora'", 1),
    ("UPDATE account SET held = held + 1 WHERE organisation = 'aurora'", 4),
    ("UPDATE account SET burn_nanos = 0", 4),
    ("UPDATE account SET head = '00' WHERE organisation = 'aurora'", 10),
    ("UPDATE account SET entries = entries + 1 WHERE organisation = 'aurora'", 10),
    ("UPDATE funding SET remaining = remaining - 1 WHERE key = 'opening:aurora'", 1),
    ("INSERT INTO funding VALUES ('made-up', 'aurora', 5, 0, 0, 0)", 1),
    ("UPDATE pool SET used_ms = used_ms - 1 WHERE organisation = 'borealis'", 1),
    ("UPDATE pool SET held_ms = held_ms - 1 WHERE organisation = 'borealis'", 4),
    ("UPDATE leg SET credit_held = credit_held + 1 WHERE state = 'open' AND credit_held > 0", 4),
    ("UPDATE leg SET state = 'open' WHERE state = 'settled' AND credit_held > 0", 3),
    ("UPDATE leg SET state = 'settled' WHERE state = 'open' AND credit_held > 0", 3),
    ("UPDATE leg SET elapsed_ms = elapsed_ms + 5000 WHERE state = 'settled' AND credit_held > 0", 6),
    ("UPDATE leg SET terms = REPLACE(terms, '0.0300', '0.0400') WHERE state = 'settled'", 6),
    ("UPDATE hold SET credit = credit + 1 WHERE credit > 0", 4),
    ("DELETE FROM hold WHERE step = 'extend:1'", 4),
    ("DROP TRIGGER ledger_entry_is_not_changed", 9),
    ("DROP TRIGGER usage_record_is_not_removed", 9),
    ("DROP TRIGGER ledger_entry_is_not_changed; UPDATE ledger_entry SET amount = amount + 1 WHERE sequence = 1", 10),
    ("DROP TRIGGER ledger_entry_is_not_changed; UPDATE ledger_entry SET memo = 'x' WHERE sequence = 0", 10),
    (
        "DROP TRIGGER ledger_entry_is_not_changed; UPDATE ledger_entry SET credit = 'breakage' WHERE key LIKE '%charge'",
        10,
    ),
    ("DROP TRIGGER ledger_entry_is_not_removed; DELETE FROM ledger_entry WHERE sequence = 1", 10),
    ("DROP TRIGGER ledger_entry_is_not_removed; DELETE FROM ledger_entry WHERE key = 'by-hand'", 10),
    ("DROP TRIGGER trail_is_not_changed", 9),
    ("DROP TRIGGER trail_is_not_changed; UPDATE trail SET who = 'x' WHERE sequence = 0", 10),
    ("DROP TRIGGER trail_is_not_removed; DELETE FROM trail WHERE sequence = 0", 10),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET charge = charge - 1 WHERE charge > 0", 6),
    ("DROP TRIGGER usage_record_is_not_changed; UPDATE usage_record SET record = REPLACE(record, '70000', '60000')", 6),
    ("DROP TRIGGER usage_record_is_not_removed; DELETE FROM usage_record WHERE charge > 0", 3),
];

#[tokio::test]
async fn every_planted_change_is_found() {
    for (sql, invariant) in PLANTED {
        let bench = lived_in().await;
        bench.tamper(sql).await.unwrap();
        let found = bench.store.audit().await.unwrap();
        assert!(found.iter().any(|difference| difference.invariant == *invariant), "{sql}: {found:#?}");
    }
}

#[tokio::test]
async fn entries_and_records_cannot_be_changed_and_balances_cannot_be_overdrawn() {
    let bench = lived_in().await;
    for sql in [
        "UPDATE ledger_entry SET amount = 1",
        "DELETE FROM ledger_entry",
        "UPDATE usage_record SET charge = 0",
        "DELETE FROM usage_record",
        "UPDATE trail SET who = 'x'",
        "DELETE FROM trail",
        "UPDATE account SET posted = held - 1 WHERE organisation = 'aurora'",
        "UPDATE account SET held = -1",
        "UPDATE pool SET held_ms = granted_ms + 1",
        "INSERT INTO leg (id, state, node, life, call_type, number, call_id, journal, invited) \
         SELECT id, 'open', '', 0, '', '', '', '', 0 FROM leg",
    ] {
        let refused = bench.tamper(sql).await;
        assert!(matches!(refused, Err(StoreError::Broken(_))), "{sql}: {refused:?}");
    }
    bench.audited().await;
}

#[tokio::test]
async fn the_ledger_is_read_in_its_order() {
    let bench = lived_in().await;
    let aurora = "aurora".parse().unwrap();
    let all = bench.store.ledger(&aurora, 1_000).await.unwrap();
    let balances = ledger::balances(&all).unwrap();
    let balance = bench.store.balance(&aurora).await.unwrap();
    assert_eq!(balances[&Account::new(&aurora, Kind::Available)], balance.available);
    assert_eq!(balances[&Account::new(&aurora, Kind::Held)], balance.held);
    assert_eq!(all[0].key, "opening:aurora");
    assert_eq!(bench.store.ledger(&aurora, 2).await.unwrap(), all[all.len() - 2..], "the latest, in order");
    assert!(bench.store.ledger(&"nobody".parse().unwrap(), 1).await.is_err());
}

#[tokio::test]
async fn who_changed_what_stands_in_the_trail_and_secrets_do_not() {
    let bench = Bench::new().await;
    let store = bench.store.by(Who { name: "paola".to_owned(), door: TrailDoor::Cli });
    store.add_credits(funds("more", "3")).await.unwrap();
    store.add_credits(funds("more", "3")).await.unwrap();
    store.add_credits(funds("less", "-1000")).await.unwrap();
    assert!(bench.apply(&FILE.replace("organiser = \"anna\"", "organiser = \"nobody\"")).await.is_err());
    let all = bench.store.trail(&TrailFilter::default()).await.unwrap();
    let told: Vec<(&str, &str, &str)> = all.iter().map(|row| (&*row.who, &*row.door, &*row.verb)).collect();
    // A repeat and a file that was not applied have changed nothing.
    assert_eq!(
        told,
        [("bridge", "bridge", "apply"), ("paola", "cli", "credits-add"), ("paola", "cli", "credits-adjust")]
    );
    assert!(all[0].detail.contains("\"anna\"") && !all[0].detail.contains("4711"), "{}", all[0].detail);
    assert!(all[2].detail.contains("not-available"), "{}", all[2].detail);
    let of = TrailFilter { organisation: Some("aurora".parse().unwrap()), limit: Some(1), ..TrailFilter::default() };
    assert_eq!(bench.store.trail(&of).await.unwrap(), all[2..]);
    bench.audited().await;
}
