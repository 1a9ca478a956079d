//! Opening, the lock, crashes, a full disk.

use super::*;
use crate::store::io::Desk;
use std::collections::BTreeSet;

#[tokio::test]
async fn a_store_is_held_by_one_and_free_when_it_is_gone() {
    let bench = Bench::new().await;
    let second = Store::open(&url(&bench.folder), Options::default()).await.unwrap_err();
    let told = second.to_string();
    assert!(told.contains("is held by another tollbridge") && told.contains(&std::process::id().to_string()), "{told}");
    let bench = bench.reopened().await;
    assert_eq!(bench.balance("aurora").await.posted, micros("1.00"));
    bench.audited().await;
}

#[tokio::test]
async fn what_is_no_store_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for bad in ["postgres://x", "sqlite:", "sqlite::memory:", "/tmp/x.db", "sqlite:a?mode=ro"] {
        assert!(matches!(Store::open(bad, Options::default()).await, Err(OpenError::BadUrl(_))), "{bad}");
    }
    let path = folder.path().join("noise.db");
    std::fs::write(&path, "this is not a database, and it is long enough to be none".repeat(50)).unwrap();
    let error = Store::open(&format!("sqlite:{}", path.display()), Options::default()).await.unwrap_err();
    assert!(matches!(error, OpenError::Database { .. }), "{error}");
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let bench = Bench::new().await;
    tamper(&bench.store, "INSERT INTO schema_edition (number) VALUES (99)").await;
    let Bench { folder, store, .. } = bench;
    drop(store);
    loop {
        match Store::open(&url(&folder), Options::default()).await {
            Err(OpenError::Held { .. }) => tokio::task::yield_now().await,
            Err(OpenError::Newer { found: 99, known: 3, .. }) => return,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn secrets_and_books_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new().await;
    let folder = bench.folder.path().join("data");
    let files = || std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let names: BTreeSet<String> =
        files().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    let made = ["", "-wal", "-shm", ".lock", ".pin-key", ".life-bridge-0", ".life-bridge-1"];
    assert_eq!(names, made.map(|suffix| format!("store.db{suffix}")).into_iter().collect());
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    files().for_each(|file| assert_eq!(mode(&file), 0o600, "{}", file.display()));
    let books = std::fs::read(bench.store.path()).unwrap();
    assert!(!books.windows(4).any(|window| window == b"4711"));

    // Files that somebody copied here, or an older umask made, are drawn in.
    files().for_each(|file| std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap());
    let _bench = bench.reopened().await;
    files().for_each(|file| assert_eq!(mode(&file), 0o600, "{}", file.display()));
}

pub async fn tamper(store: &Store, sql: &'static str) {
    let desk: &Desk = &store.desk;
    desk.ask(sql, Job::Tamper).await.unwrap();
}

#[tokio::test]
async fn legs_of_a_dead_life_are_settled_once_at_their_last_proof() {
    let bench = Bench::new().await;
    let (in_toll, out, ringing) = (bench.leg(), bench.leg(), bench.leg());
    let store = &bench.store;
    grant(store.open_leg(toll(in_toll)).await.unwrap());
    grant(store.open_leg(dial(out, "+447700900123", "studio")).await.unwrap());
    grant(store.open_leg(toll(ringing)).await.unwrap());
    store.answered(answer(in_toll)).await.unwrap();
    store.answered(Answered { journal: Some("dialog".to_owned()), ..answer(out) }).await.unwrap();
    grant(store.extend(next(in_toll, 1, 50_000)).await.unwrap());
    store.prove_life(vec![(in_toll, 60_500), (out, 10_000)]).await.unwrap();
    store.prove_life(vec![(in_toll, 61_500), (out, 11_000)]).await.unwrap();
    let life = bench.folder.path().join("data/store.db.life-bridge-0");
    // The power goes while the next proof is written.
    let bench = bench.reopened().await;
    let mut torn = std::fs::read(&life).unwrap();
    torn[30] ^= 1;
    std::fs::write(&life, torn).unwrap();
    let orphans = bench.store.recover(NOON.plus_millis(300_000)).await.unwrap();
    let found: Vec<_> = orphans.iter().map(|o| (o.leg, o.charge.to_text(), o.journal.as_str())).collect();
    assert_eq!(found[0], (out, "0.0150".to_owned(), "dialog"));
    assert_eq!((found[1].0, found[1].1.as_str()), (in_toll, "0.0200"));
    assert_eq!((found[2].0, found[2].1.as_str()), (ringing, "0.0000"));
    assert_eq!(bench.store.record(in_toll).await.unwrap().duration_ms, 60_500);
    assert_eq!(bench.store.record(in_toll).await.unwrap().beyond.cause, Cause::NodeDied);
    assert_eq!(bench.store.recover(NOON).await.unwrap(), []);
    assert_eq!(bench.balance("aurora").await.held, Micros::ZERO);
    bench.audited().await;
}

/// What stands in the files the moment an answer is given is what a killed process leaves behind.
#[tokio::test]
async fn whatever_was_answered_is_in_the_files_of_a_killed_process() {
    let bench = Bench::new().await;
    let (settled, live) = (bench.leg(), bench.leg());
    for leg in [settled, live] {
        grant(bench.store.open_leg(toll(leg)).await.unwrap());
        bench.store.answered(answer(leg)).await.unwrap();
    }
    bench.store.settle(settled, over(61_000)).await.unwrap();
    bench.store.prove_life(vec![(live, 59_000)]).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    for file in std::fs::read_dir(bench.folder.path().join("data")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.path().join("data").join(file.file_name())).unwrap();
    }
    let after = Store::open(&url(&folder), Options::default()).await.unwrap();
    assert_eq!(after.record(settled).await.unwrap(), bench.store.record(settled).await.unwrap());
    let orphans = after.recover(NOON).await.unwrap();
    assert_eq!((orphans.len(), orphans[0].leg, orphans[0].charge), (1, live, micros("0.01")));
    assert_eq!(after.audit().await.unwrap(), []);
}

#[tokio::test]
async fn more_requests_than_the_queue_holds_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { queue: 4, batch: 2, ..Options::default() };
    let store = Store::open(&url(&folder), options).await.unwrap();
    store.apply(document(FILE).unwrap(), NOON).await.unwrap().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..50 {
        let store = store.clone();
        tasks.spawn(async move { store.open_leg(toll(LegId::new(n, u128::from(n)))).await });
    }
    let told = tasks.join_all().await;
    // One thread: all fifty are asked before the writer is given its turn.
    assert_eq!(told.iter().filter(|answer| **answer == Err(StoreError::Full)).count(), 46);
    assert_eq!(told.iter().filter(|answer| answer.is_ok()).count(), 4);
    assert_eq!(store.audit().await.unwrap(), []);
}

/// Naming a meeting proves nothing: the answer may not be acknowledged, and the proof file has those alone that are.
/// What the file says of a leg is believed, also where its last slice was asked for later.
#[tokio::test]
async fn a_crash_charges_what_was_proven_and_no_more() {
    let bench = Bench::new().await;
    let (unheard, silent) = (bench.leg(), bench.leg());
    let store = &bench.store;
    store.open_leg(asked(unheard, CallType::DialInToll, "+390612345678", None)).await.unwrap();
    store.answered(answer(unheard)).await.unwrap();
    let (meeting, now) = ("studio".parse().unwrap(), NOON.plus_millis(20_000));
    grant(store.name_payer(NamePayer { leg: unheard, meeting, elapsed_ms: 20_000, now }).await.unwrap());
    grant(store.open_leg(toll(silent)).await.unwrap());
    store.answered(answer(silent)).await.unwrap();
    grant(store.extend(next(silent, 1, 50_000)).await.unwrap());
    grant(store.extend(next(silent, 2, 110_000)).await.unwrap());
    store.prove_life(vec![(silent, 90_000)]).await.unwrap();
    let bench = bench.reopened().await;
    bench.store.recover(NOON.plus_millis(300_000)).await.unwrap();
    let record = |leg| bench.store.record(leg);
    assert_eq!(record(unheard).await.unwrap().charge, Micros::ZERO);
    assert_eq!(record(silent).await.unwrap().duration_ms, 90_000);
    assert_eq!(bench.balance("aurora").await.posted, micros("0.98"));
    bench.audited().await;
}

#[tokio::test]
async fn recovery_leaves_the_legs_of_this_life_alone() {
    let bench = Bench::new().await;
    let leg = bench.leg();
    bench.store.open_leg(toll(leg)).await.unwrap();
    assert_eq!(bench.store.recover(NOON).await.unwrap(), []);
    assert_eq!(bench.store.live_legs().await.unwrap()[0].leg, leg);
    let bench = bench.reopened().await;
    let next = bench.leg();
    bench.store.open_leg(toll(next)).await.unwrap();
    let orphans: Vec<LegId> = bench.store.recover(NOON).await.unwrap().iter().map(|orphan| orphan.leg).collect();
    assert_eq!(orphans, [leg]);
    bench.audited().await;
}

#[tokio::test]
async fn a_full_disk_refuses_calls_and_the_books_go_on_when_there_is_space() {
    let bench = Bench::new().await;
    let store = &bench.store;
    let live = bench.leg();
    grant(store.open_leg(toll(live)).await.unwrap());
    store.answered(answer(live)).await.unwrap();
    tamper(store, "PRAGMA max_page_count = 1").await;
    let mut refused = 0;
    for _ in 0..200 {
        match store.open_leg(toll(bench.leg())).await {
            Err(StoreError::Down(_)) => refused += 1,
            Ok(_) if refused > 0 => break,
            Ok(_) => {}
            Err(other) => panic!("{other}"),
        }
        if refused == 1 {
            bench.audited().await;
        }
        if refused == 3 {
            tamper(store, "PRAGMA max_page_count = 1000000").await;
        }
    }
    assert!(refused >= 1, "the disk never was full");
    let record = store.settle(live, over(30_000)).await.unwrap();
    assert_eq!(record.charge, micros("0.01"));
    bench.audited().await;
}
