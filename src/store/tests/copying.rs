//! Copies of the books: the same from either database, read back by either, and never half; and what else two stores have
//! to agree on.

use super::*;
use crate::store::copy::TABLES;
use crate::store::io;
use std::collections::BTreeSet;

/// A day in the life of a store: calls of every funding, refusals, a top-up, a crash.
async fn a_day<D: Database>(bench: Bench<D>) -> Bench<D> {
    let store = &bench.store;
    for n in 0..40_u64 {
        let leg = bench.leg();
        let (to, meeting) = [
            ("+447700900123", "studio"),
            ("+447700900123", "watch"),
            ("+390655501234", "studio"),
            ("+881612345678", "studio"),
            ("+12125550100", "watch"),
        ][n as usize % 5];
        let Opened::Granted(_) = store.open_leg(dial(leg, to, meeting)).await.unwrap() else { continue };
        if n % 7 == 3 {
            store.settle(leg, over(0)).await.unwrap();
            continue;
        }
        store.answered(answer(leg)).await.unwrap();
        let more = store.extend(next(leg, 1, 50_000)).await.unwrap();
        if n % 4 != 0 {
            store
                .settle(leg, over(if matches!(more, Opened::Granted(_)) { 61_000 + n } else { 60_000 }))
                .await
                .unwrap();
        }
        if n == 20 {
            store.add_credits(funds("top-up", "3.5")).await.unwrap();
            store.add_credits(funds("correction", "-0.25")).await.unwrap();
        }
    }
    bench.audited().await;
    let bench = bench.reopened().await;
    assert!(!bench.store.recover(NOON.plus_millis(400_000)).await.unwrap().is_empty());
    bench.audited().await;
    bench
}

async fn copy_of(url: &str) -> Vec<u8> {
    let mut copy = Vec::new();
    backup(url, &mut copy, |_| {}).await.unwrap();
    copy
}

#[tokio::test]
async fn one_script_leaves_the_same_books_in_either_database() {
    let (one, other) = (Bench::<Sqlite>::empty().await, Bench::<Postgres>::empty().await);
    let file = FILE.replace("\"1.00\"", "\"5.00\"");
    // A hash of a PIN depends on a key of the store's own.
    let file = file.replace("pin = \"4711\"\n", "");
    one.apply(&file).await.unwrap();
    other.apply(&file).await.unwrap();
    let (one, other) = (a_day(one).await, a_day(other).await);
    let (left, right) = (lines_of(&one.url).await, lines_of(&other.url).await);
    for (left, right) in left.iter().zip(&right) {
        assert_eq!(left, right);
    }
    assert_eq!(left.len(), right.len());
    assert!(left.len() > 150);
}

/// The lines of a copy but for its seal, and for what a key of the store's own has hashed.
pub(super) async fn lines_of(url: &str) -> Vec<String> {
    const KEYED: &str = "\"keyed:";
    let copy = String::from_utf8(copy_of(url).await).unwrap();
    let unkeyed = |line: &str| match line.split_once(KEYED) {
        Some((before, after)) => format!("{before}{KEYED}{}", after.split_once('"').unwrap().1),
        None => line.to_owned(),
    };
    let mut lines: Vec<String> = copy.lines().map(unkeyed).collect();
    lines.pop();
    lines
}

#[tokio::test]
async fn a_copy_is_read_back_by_either_database_while_the_bridge_goes_on() {
    let bench = Bench::<Sqlite>::new().await;
    let live = bench.leg();
    grant(bench.store.open_leg(toll(live)).await.unwrap());
    bench.store.answered(answer(live)).await.unwrap();
    let bench = a_day(bench).await;
    let copy = copy_of(&bench.url).await;
    grant(bench.store.open_leg(toll(bench.leg())).await.unwrap());
    let folder = bench.elsewhere();
    let mut from = copy.clone();
    for url in [Postgres::url(&folder).await, Sqlite::url(&folder).await] {
        restore(&url, options(&folder), Pins::Kept, &*from, |_| {}).await.unwrap();
        assert_eq!(copy_of(&url).await, copy, "{url}");
        let again = loop {
            match restore(&url, options(&folder), Pins::Kept, &*from, |_| {}).await {
                Err(CopyError::Open(OpenError::Held { .. })) => tokio::task::yield_now().await,
                other => break other.unwrap_err(),
            }
        };
        assert!(matches!(again, CopyError::NotEmpty(_)), "{again}");
        let store = open_when_free(&url, &folder).await;
        let leg = LegId::new(1, 1);
        grant(store.open_leg(toll(leg)).await.unwrap());
        store.settle(leg, over(0)).await.unwrap();
        assert_eq!(store.audit().await.unwrap(), []);
        from.clone_from(&copy);
    }
}

/// Asks again while the store is still being let go.
async fn read_back(url: &str, folder: &TempDir, pins: Pins, copy: &[u8]) -> Result<Restored, CopyError> {
    loop {
        match restore(url, options(folder), pins, copy, |_| {}).await {
            Err(CopyError::Open(OpenError::Held { .. })) => tokio::task::yield_now().await,
            other => return other,
        }
    }
}

/// Without its key a PIN is worth nothing: whoever reads a copy brings the key, or says that there are to be no PINs.
#[tokio::test]
async fn a_copy_wants_the_key_of_its_pins() {
    let bench = Bench::<Sqlite>::new().await;
    let mut copy = Vec::new();
    let copied = backup(&bench.url, &mut copy, |_| {}).await.unwrap();
    assert_eq!(copied.pin_key, Some(bench.store.facts().pins().fingerprint()));
    let key = std::fs::read(io::key_file_of(&bench.url, bench.folder.path())).unwrap();
    assert!(!String::from_utf8_lossy(&copy).contains(&*String::from_utf8_lossy(&key)));
    let folder = tempfile::tempdir().unwrap();
    for url in [Postgres::url(&folder).await, Sqlite::url(&folder).await] {
        let file = io::key_file_of(&url, &options(&folder).folder);
        let refused = read_back(&url, &folder, Pins::Kept, &copy).await.unwrap_err();
        assert!(refused.to_string().contains(&format!("another key than {}: copy", file.display())), "{refused}");
        // Nothing was kept, and as soon as the key is there the same copy is read.
        std::fs::write(&file, &key).unwrap();
        let restored = read_back(&url, &folder, Pins::Kept, &copy).await.unwrap();
        assert_eq!(restored, Restored { sealed: copied.sealed.clone(), without_pin: 0 });
        assert_eq!(copy_of(&url).await, copy);
    }
    let lost = tempfile::tempdir().unwrap();
    for url in [Postgres::url(&lost).await, Sqlite::url(&lost).await] {
        let restored = read_back(&url, &lost, Pins::Dropped, &copy).await.unwrap();
        assert_eq!(restored.without_pin, 1);
        let again = backup(&url, &mut Vec::new(), |_| {}).await.unwrap();
        assert_eq!(again.pin_key, None);
        let store = open_when_free(&url, &lost).await;
        assert!(store.facts().users.values().all(|user| user.pin.is_none()));
        store.apply(document(FILE).unwrap(), NOON).await.unwrap().unwrap();
        let again = backup(&url, &mut Vec::new(), |_| {}).await.unwrap();
        assert_eq!(again.pin_key, Some(store.facts().pins().fingerprint()));
    }
}

/// The key is lost, or another node has its own: the start is refused and leaves no new key where the old one is to come.
#[tokio::test]
async fn a_start_with_another_key_is_refused() {
    let bench = Bench::<Sqlite>::new().await;
    let file = io::key_file_of(&bench.url, &options(&bench.folder).folder);
    let key = std::fs::read(&file).unwrap();
    let super::Bench { folder, url, store, .. } = bench;
    drop(store);
    drop(open_when_free(&url, &folder).await);
    let opened = async || loop {
        match Store::open(&url, options(&folder)).await {
            Err(OpenError::Held { .. }) => tokio::task::yield_now().await,
            other => return other,
        }
    };
    std::fs::write(&file, [7; 32]).unwrap();
    let refused = opened().await.unwrap_err();
    assert!(matches!(&refused, OpenError::OtherKey { .. }), "{refused}");
    std::fs::remove_file(&file).unwrap();
    let refused = opened().await.unwrap_err();
    assert!(refused.to_string().contains(&format!("another key than {}: copy", file.display())), "{refused}");
    assert!(!file.exists());
    std::fs::write(&file, key).unwrap();
    assert!(opened().await.is_ok());

    let bench = Bench::<Postgres>::new().await;
    let foreign = tempfile::tempdir().unwrap();
    for take_over in [false, true] {
        let start =
            Options { node: if take_over { "bridge" } else { "other" }.to_owned(), take_over, ..options(&foreign) };
        let refused = Store::open(&bench.url, start).await.unwrap_err();
        assert!(matches!(refused, OpenError::OtherKey { .. }), "{refused}");
    }
    // Nothing was taken over by it.
    grant(bench.store.open_leg(toll(bench.leg())).await.unwrap());
}

/// What a live leg holds is in the copy: the next life of the restored books settles it.
#[tokio::test]
async fn legs_that_were_open_are_settled_by_the_first_start_on_a_copy() {
    settled_on_a_copy::<Postgres, Sqlite>(0).await;
}

/// The copied books have lived before; the row of their node is the new store's, and young.
#[tokio::test]
async fn legs_of_a_later_life_are_settled_by_the_first_start_on_a_copy_too() {
    settled_on_a_copy::<Postgres, Sqlite>(3).await;
    settled_on_a_copy::<Sqlite, Postgres>(3).await;
}

async fn settled_on_a_copy<From: Database, Onto: Database>(lives: usize) {
    let mut bench = Bench::<From>::new().await;
    for _ in 0..lives {
        bench = bench.reopened().await;
    }
    let live = bench.leg();
    grant(bench.store.open_leg(toll(live)).await.unwrap());
    bench.store.answered(answer(live)).await.unwrap();
    grant(bench.store.extend(next(live, 1, 50_000)).await.unwrap());
    let copy = copy_of(&bench.url).await;
    let folder = bench.elsewhere();
    let url = Onto::url(&folder).await;
    restore(&url, options(&folder), Pins::Kept, &*copy, |_| {}).await.unwrap();
    let store = open_when_free(&url, &folder).await;
    let orphans = store.recover(NOON.plus_millis(100_000)).await.unwrap();
    assert_eq!((orphans.len(), orphans[0].leg, orphans[0].charge), (1, live, micros("0.01")));
    assert_eq!(store.audit().await.unwrap(), []);
}

#[tokio::test]
async fn a_copy_that_was_cut_or_changed_is_refused_whole() {
    let bench = Bench::<Sqlite>::with_credits("5").await;
    let bench = a_day(bench).await;
    let copy = copy_of(&bench.url).await;
    let folder = bench.elsewhere();
    let url = Sqlite::url(&folder).await;
    let text = String::from_utf8(copy.clone()).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let without = |at: usize| lines.iter().enumerate().filter(|(n, _)| *n != at).map(|(_, l)| *l).collect::<String>();
    let mut bad = vec![
        String::new(),
        "not a copy\n".to_owned(),
        text[..text.len() / 2].to_owned(),
        text[..text.len() - 1].to_owned(),
        lines[..lines.len() - 1].concat(),
        text.replacen("5000000", "6000000", 1),
        text.replacen("\"edition\":", "\"edition\":1", 1),
        text.replacen("\"funding\"", "\"fundings\"", 1),
    ];
    bad.extend((0..lines.len()).step_by(lines.len() / 25).map(without));
    for bad in bad {
        let refused = loop {
            match restore(&url, options(&folder), Pins::Kept, bad.as_bytes(), |_| {}).await {
                Err(CopyError::Open(OpenError::Held { .. })) => tokio::task::yield_now().await,
                other => break other.unwrap_err(),
            }
        };
        assert!(matches!(refused, CopyError::Bad { .. } | CopyError::Edition { .. }), "{refused}");
    }
    drop(open_when_free(&url, &folder).await);
    loop {
        match restore(&url, options(&folder), Pins::Kept, &*copy, |_| {}).await {
            Err(CopyError::Open(OpenError::Held { .. })) => tokio::task::yield_now().await,
            other => return drop(other.unwrap()),
        }
    }
}

/// A table that is not in the list would be left out of every copy.
#[tokio::test]
async fn every_table_of_the_books_is_copied() {
    for url in [Bench::<Sqlite>::new().await.url_kept(), Bench::<Postgres>::new().await.url_kept()] {
        let (url, _kept) = url;
        let tables: BTreeSet<String> = io::look(&url).await.unwrap().tables().await.unwrap().into_iter().collect();
        let own = ["guess", "node", "pin_key", "schema_edition"];
        let copied = TABLES.iter().map(|(table, _)| *table).chain(own).map(str::to_owned).collect();
        assert_eq!(tables, copied, "{url}");
    }
}

impl<D> Bench<D> {
    fn url_kept(self) -> (String, (TempDir, Store)) {
        (self.url, (self.folder, self.store))
    }
}

/// A process that was stopped for long, and whose node was started elsewhere meanwhile, writes nothing any more.
#[tokio::test]
async fn a_zombie_is_fenced_off() {
    let bench = Bench::<Postgres>::new().await;
    let (old, new) = (bench.leg(), bench.leg());
    grant(bench.store.open_leg(toll(old)).await.unwrap());
    bench.store.answered(answer(old)).await.unwrap();
    let elsewhere = bench.elsewhere();
    let held = Store::open(&bench.url, options(&elsewhere)).await.unwrap_err();
    assert!(matches!(held, OpenError::Held { .. }), "{held}");
    let taken = Store::open(&bench.url, Options { take_over: true, ..options(&elsewhere) }).await.unwrap();
    for refused in [
        bench.store.extend(next(old, 1, 50_000)).await.map(|_| ()),
        bench.store.settle(old, over(59_000)).await.map(|_| ()),
        bench.store.open_leg(toll(new)).await.map(|_| ()),
        bench.store.add_credits(funds("late", "5")).await.map(|_| ()),
    ] {
        assert_eq!(refused, Err(StoreError::Fenced("bridge".to_owned())));
    }
    let orphans = taken.recover(NOON.plus_millis(60_000)).await.unwrap();
    assert_eq!(orphans.iter().map(|orphan| orphan.leg).collect::<Vec<_>>(), [old]);
    assert_eq!(taken.audit().await.unwrap(), []);
    assert_eq!(taken.balance(&"aurora".parse().unwrap()).await.unwrap().posted, micros("1.00"), "nothing was proven");
}

/// The server throws the connection out, as when it is started again: whoever asks meanwhile is told, whoever asks after
/// is served, and what was written stays.
#[tokio::test]
async fn a_connection_that_is_lost_is_made_anew() {
    let bench = Bench::<Postgres>::new().await;
    let leg = bench.leg();
    grant(bench.store.open_leg(toll(leg)).await.unwrap());
    bench.store.answered(answer(leg)).await.unwrap();
    let out = "SELECT pg_terminate_backend(pg_backend_pid())";
    assert!(matches!(bench.tamper(out).await, Err(StoreError::Down(_))));
    let mut tries = 0;
    let second = loop {
        match bench.store.extend(next(leg, 1, 50_000)).await {
            Ok(opened) => break grant(opened),
            Err(StoreError::Down(_)) if tries < 100 => tries += 1,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(second.until_ms, 120_000);
    assert_eq!(bench.store.settle(leg, over(61_000)).await.unwrap().charge, micros("0.02"));
    // The name is held by the new connection.
    let elsewhere = bench.elsewhere();
    assert!(matches!(Store::open(&bench.url, options(&elsewhere)).await, Err(OpenError::Held { .. })));
    bench.audited().await;
}
