//! Trials of which nothing stays.

use super::*;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Every file of the store and every row of its tables, by what stands in them.
async fn everything(folder: &TempDir, url: &str) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(folder.path().join("data")).into_iter().flatten().map(|file| file.unwrap());
    let mut all: BTreeMap<_, _> =
        files.map(|file| (file.path().display().to_string(), std::fs::read(file.path()).unwrap())).collect();
    if url.starts_with("postgres") {
        let mut conn = io::write_beside(url).await.unwrap();
        for table in conn.tables().await.unwrap() {
            let names: Vec<String> = conn.columns(&table).await.unwrap().into_iter().map(|(name, _)| name).collect();
            let table: &'static str = Box::leak(table.into_boxed_str());
            let mut hash = Sha256::new_with_prefix(names.join(","));
            for row in conn.page(table, "1", 0, i64::MAX).await.unwrap() {
                for at in 0..names.len() {
                    let text = row.try_get::<Option<String>, _>(at).map(|text| format!("{text:?}"));
                    hash.update(text.unwrap_or_else(|_| format!("{:?}", row.try_get::<Option<i64>, _>(at))));
                }
            }
            all.insert(table.to_owned(), hash.finalize().to_vec());
        }
        conn.close().await.unwrap();
    }
    all
}

async fn rehearsal(url: &str, options: Options) -> Result<Rehearsal, OpenError> {
    loop {
        match Rehearsal::open(url, &options).await {
            Err(OpenError::Held { .. }) => tokio::task::yield_now().await,
            other => return other,
        }
    }
}

fn next_file() -> Document {
    let text = FILE.to_owned() + "[[organisation]]\nid = \"corona\"\ncountry = \"IT\"\ncredits = \"3.00\"\n";
    document(&text).unwrap()
}

fn hot() -> HotOrder {
    let entries = [("39065551234".parse().unwrap(), String::new())].into();
    HotOrder { list: "bought".parse().unwrap(), step: HotStep::Replace { file: "hot.csv".to_owned(), entries } }
}

/// What is tried is told as a store tells it, and every byte is as it was.
#[tokio::test]
async fn a_trial_tells_what_would_be_and_leaves_no_trace() {
    let bench = Bench::new().await;
    let would = bench.store.preview(next_file(), NOON).await.unwrap().unwrap();
    let hot_would = bench.store.hot_order(hot(), true, NOON).await.unwrap();
    let super::Bench { folder, url, store, .. } = bench;
    assert!(matches!(Rehearsal::open(&url, &options(&folder)).await, Err(OpenError::Held { .. })));
    drop(store);
    drop(rehearsal(&url, options(&folder)).await.unwrap());
    let before = everything(&folder, &url).await;
    let mut tried = rehearsal(&url, options(&folder)).await.unwrap();
    assert_eq!(tried.editions(), Editions { found: schema::NEWEST, newest: schema::NEWEST });
    for _ in 0..2 {
        assert_eq!(tried.preview(next_file(), NOON).await.unwrap().unwrap(), would, "asked again it is the same");
        assert_eq!(tried.hot_differences(&hot()).await.unwrap(), hot_would);
        assert!(!tried.facts().organisations.contains_key(&"corona".parse().unwrap()));
    }
    let wrong = document(&FILE.replace("\"IT\"\nvolume_licensing = true", "\"IT\"")).unwrap();
    assert!(tried.preview(wrong, NOON).await.unwrap().is_err());
    drop(tried);
    assert_eq!(everything(&folder, &url).await, before);
    let store = open_when_free(&url, &folder).await;
    assert_eq!(store.apply(next_file(), NOON).await.unwrap().unwrap(), would.applied);
    assert_eq!(store.audit().await.unwrap(), []);
}

/// What would be found, counted or priced again is what a store tells, and every byte is as it was.
#[tokio::test]
async fn a_look_at_legs_tells_what_a_store_tells_and_leaves_no_trace() {
    let bench = Bench::with_credits("25.00").await;
    for n in 1..4 {
        let leg = bench.leg();
        grant(bench.store.open_leg(dial(leg, "+447700900123", "studio")).await.unwrap());
        bench.store.answered(answer(leg)).await.unwrap();
        bench.store.settle(leg, over(n * 10_000)).await.unwrap();
    }
    let (from, to) = (Wall::from_micros(0), Wall::from_micros(i64::MAX));
    let which = Which::Period { organisation: "aurora".parse().unwrap(), from, to };
    let carrier = "local".parse().unwrap();
    let old = Keep { records: Some(to), traces: Some(to), dry_run: true };
    let people = [Whom::Number("+447700900123".parse().unwrap()), Whom::User("anna".parse().unwrap())];
    let store = &bench.store;
    let ours = (store.legs_by(&carrier, (from, to), "a").await.unwrap(), store.reconciled_at("a").await.unwrap());
    let rerated = store.rerate(&which, None, NOON).await.unwrap();
    let kept = store.keep(old, NOON).await.unwrap();
    let mut forgotten = Vec::new();
    for whom in &people {
        forgotten.push(store.forget(Forget { whom: whom.clone(), dry_run: true }, NOON).await.unwrap());
    }
    assert_eq!((ours.0.len(), rerated.legs, kept, forgotten[0].records, forgotten[1].records), (3, 3, 3, 3, 3));
    let super::Bench { folder, url, store, .. } = bench;
    drop(store);
    drop(rehearsal(&url, options(&folder)).await.unwrap());
    let before = everything(&folder, &url).await;
    let mut tried = rehearsal(&url, options(&folder)).await.unwrap();
    assert_eq!(tried.legs_by(&carrier, (from, to), "a").await.unwrap(), ours);
    assert_eq!(tried.rerate(&which).await.unwrap(), rerated);
    assert_eq!(tried.keep(Keep { dry_run: false, ..old }).await.unwrap(), kept, "it is a trial, whatever is asked");
    for (whom, forgotten) in people.into_iter().zip(forgotten) {
        assert_eq!(tried.forget(whom).await.unwrap(), forgotten);
    }
    drop(tried);
    assert_eq!(everything(&folder, &url).await, before);
}

/// Books of an older program are brought up to date for the trial alone; where there are none, none are made.
#[tokio::test]
async fn a_trial_on_older_books_or_none_makes_nothing() {
    for edition in [0, 4, 20, 35] {
        let folder = tempfile::tempdir().unwrap();
        let url = Bench::url_in(&folder).await;
        if edition > 0 {
            std::fs::create_dir(folder.path().join("data")).unwrap();
            let mut conn = io::write_beside(&url).await.unwrap();
            schema::bring_to(&mut conn, "old", edition).await.unwrap();
            let known = sql::query("INSERT INTO country VALUES ('IT', 1, 1, 1, 0, 1, 1, 1)");
            known.execute(&mut conn).await.unwrap();
            conn.close().await.unwrap();
        }
        let before = everything(&folder, &url).await;
        let mut tried = Rehearsal::open(&url, &options(&folder)).await.unwrap();
        assert_eq!(tried.editions(), Editions { found: edition, newest: schema::NEWEST });
        let italy = tried.facts().countries.record("IT".parse().unwrap()).unwrap();
        assert_eq!(italy.toll_free, edition == 0, "what stands in them is heeded");
        assert_eq!(tried.preview(next_file(), NOON).await.unwrap().unwrap().applied.organisations, 3);
        assert_eq!(tried.hot_differences(&hot()).await.unwrap().entries, 1);
        assert_eq!(tried.keep(Keep { records: Some(NOON), traces: None, dry_run: true }).await.unwrap(), 0);
        let somebody = Whom::Number("+447700900123".parse().unwrap());
        assert_eq!(tried.forget(somebody).await.unwrap().records, 0);
        drop(tried);
        assert_eq!(everything(&folder, &url).await, before, "edition {edition}");
        assert_eq!(folder.path().join("data").exists(), edition > 0);
    }
}

/// A newer program's books are none of ours, for a trial either; and neither is one whose PINs have another key.
#[tokio::test]
async fn a_trial_is_refused_where_a_start_is() {
    let super::Bench { folder, url, store, .. } = Bench::new().await;
    drop(store);
    drop(rehearsal(&url, options(&folder)).await.unwrap());
    let key = io::key_file_of(&url, &options(&folder).folder);
    let kept = std::fs::read(&key).unwrap();
    for other in [Some(vec![7; 32]), None] {
        match &other {
            Some(other) => std::fs::write(&key, other).unwrap(),
            None => std::fs::remove_file(&key).unwrap(),
        }
        let refused = rehearsal(&url, options(&folder)).await.map(|_| ()).unwrap_err();
        assert!(matches!(refused, OpenError::OtherKey { .. }), "{refused}");
        assert_eq!(key.exists(), other.is_some());
    }
    std::fs::write(&key, kept).unwrap();
    let mut conn = io::write_beside(&url).await.unwrap();
    conn.run("INSERT INTO schema_edition (number) VALUES (99)").await.unwrap();
    conn.close().await.unwrap();
    let refused = rehearsal(&url, options(&folder)).await.map(|_| ()).unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 99, .. }), "{refused}");
}
