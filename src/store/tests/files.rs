//! A store in files: whose they are, what is in them when a process is killed, and a disk that is full.

use super::*;
use std::collections::BTreeSet;

type Bench = super::Bench<Sqlite>;

fn url(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("data").join("store.db").display())
}

#[tokio::test]
async fn what_is_no_store_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for bad in ["mysql://x", "sqlite:", "sqlite::memory:", "/tmp/x.db", "sqlite:a?mode=ro"] {
        assert!(matches!(Store::open(bad, Options::default()).await, Err(OpenError::BadUrl(_))), "{bad}");
    }
    let path = folder.path().join("noise.db");
    std::fs::write(&path, "this is not a database, and it is long enough to be none".repeat(50)).unwrap();
    let error = Store::open(&format!("sqlite:{}", path.display()), Options::default()).await.unwrap_err();
    assert!(matches!(error, OpenError::Database { .. }), "{error}");
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
    let books = std::fs::read(folder.join("store.db")).unwrap();
    assert!(!books.windows(4).any(|window| window == b"4711"));

    // Files that somebody copied here, or an older umask made, are drawn in.
    files().for_each(|file| std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap());
    let _bench = bench.reopened().await;
    files().for_each(|file| assert_eq!(mode(&file), 0o600, "{}", file.display()));
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
async fn a_full_disk_refuses_calls_and_the_books_go_on_when_there_is_space() {
    let bench = Bench::new().await;
    let store = &bench.store;
    let live = bench.leg();
    grant(store.open_leg(toll(live)).await.unwrap());
    store.answered(answer(live)).await.unwrap();
    bench.tamper("PRAGMA max_page_count = 1").await.unwrap();
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
            bench.tamper("PRAGMA max_page_count = 1000000").await.unwrap();
        }
    }
    assert!(refused >= 1, "the disk never was full");
    let record = store.settle(live, over(30_000)).await.unwrap();
    assert_eq!(record.charge, micros("0.01"));
    bench.audited().await;
}

/// Books of the edition before draws: what was drawn is known by its sum alone, and money comes back as a new funding.
#[tokio::test]
async fn books_from_before_corrections_are_brought_along() {
    let bench = Bench::new().await;
    let leg = bench.leg();
    grant(bench.store.open_leg(toll(leg)).await.unwrap());
    bench.store.answered(answer(leg)).await.unwrap();
    bench.store.settle(leg, over(61_000)).await.unwrap();
    bench
        .tamper(
            "DROP TABLE draw; DROP TABLE correction; ALTER TABLE account DROP COLUMN undrawn; \
             ALTER TABLE organisation DROP COLUMN refund_days; ALTER TABLE usage_record DROP COLUMN day; \
             ALTER TABLE spend DROP COLUMN earlier; DELETE FROM schema_edition WHERE number >= 5",
        )
        .await
        .unwrap();
    let bench = bench.reopened().await;
    bench.audited().await;
    let refund = Refund { leg, amount: None, key: "k".to_owned(), reason: "bad line".to_owned(), at: NOON };
    bench.store.refund(refund).await.unwrap();
    let balance = bench.balance("aurora").await;
    assert_eq!((balance.available, balance.fundings.len()), (micros("1.00"), 2));
    bench.audited().await;
}
