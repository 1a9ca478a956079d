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

/// Every file of the store, searched for a text.
fn hits(bench: &Bench, text: &str) -> Vec<String> {
    let files = std::fs::read_dir(bench.folder.path().join("data")).unwrap().map(|entry| entry.unwrap().path());
    let holds = |path: &std::path::PathBuf| {
        std::fs::read(path).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
    };
    files.filter(holds).map(|path| path.display().to_string()).collect()
}

/// The bytes themselves are gone: from pages in use, from free ones, and from the log.
#[tokio::test]
async fn what_is_forgotten_is_in_no_byte_of_the_files() {
    let bench = Bench::with_credits("25.00").await;
    for n in 0..300_u64 {
        let leg = bench.leg();
        let other = Some(number(&format!("+39333{n:07}")));
        let asked = match n % 3 {
            0 => OpenLeg { journal: "INVITE sip:+393331234567@h".into(), ..toll(leg) },
            1 => OpenLeg { caller: Some(number("+390612345678")), ..dial(leg, "+393331234567", "studio") },
            _ => OpenLeg { caller: other, ..toll(leg) },
        };
        bench.store.open_leg(asked).await.unwrap();
        bench.store.settle(leg, End::new(Cause::Busy, EndedBy::FarSide, 0, NOON)).await.unwrap();
    }
    assert!(!hits(&bench, "393331234567").is_empty() && !hits(&bench, "3933300000").is_empty());
    let whom = Whom::Number(number("+393331234567"));
    assert_eq!(bench.store.forget(Forget { whom, dry_run: false }, NOON).await.unwrap().records, 200);
    assert_eq!(hits(&bench, "393331234567"), Vec::<String>::new());
    assert!(!hits(&bench, "3933300000").is_empty(), "others stay");
    bench
        .apply(
            &FILE
                .replace("\"1.00\"", "\"25.00\"")
                .replace("id = \"anna\"", "id = \"anna\"\nname = \"Annabella Uniquename\""),
        )
        .await
        .unwrap();
    assert!(!hits(&bench, "Annabella").is_empty());
    bench.store.forget(Forget { whom: Whom::User("anna".parse().unwrap()), dry_run: false }, NOON).await.unwrap();
    assert_eq!(hits(&bench, "Annabella"), Vec::<String>::new());
    bench.audited().await;
}

/// Retention overwrites as it empties, without writing the whole database anew.
#[tokio::test]
async fn what_is_too_old_is_overwritten_where_it_stands() {
    let bench = Bench::with_credits("25.00").await;
    let leg = bench.leg();
    bench.store.open_leg(OpenLeg { caller: Some(number("+393339876543")), ..toll(leg) }).await.unwrap();
    bench.store.settle(leg, End::new(Cause::Busy, EndedBy::FarSide, 0, NOON)).await.unwrap();
    let old = Some(NOON.plus_millis(1));
    assert_eq!(bench.store.keep(Keep { records: old, traces: old, dry_run: false }, NOON).await, Ok(1));
    let bench = bench.reopened().await;
    assert_eq!(hits(&bench, "393339876543"), Vec::<String>::new());
}

/// A store of an edition before this: records had their people in them, and legs that are over their dialogs.
#[tokio::test]
async fn an_older_store_is_parted_and_keeps_nothing_behind() {
    use crate::store::{schema, sql};
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let path = folder.path().join("data").join("store.db");
    let address = sql::Address::sqlite_writer(&path, std::time::Duration::from_secs(5));
    let mut conn = address.connect().await.unwrap();
    schema::bring_to(&mut conn, "old", 4).await.unwrap();
    let whole = crate::rating::record::sample();
    conn.run(
        "INSERT INTO organisation (id, name, country, currency, volume_licensing, require_credits_licence, on_empty, \
         overdraft, time_zone, allow_prefixes) VALUES ('acme', 'Acme', 'IT', 'USD', 1, 0, 'cut', 0, 'UTC', '[]')",
    )
    .await
    .unwrap();
    sql::query(
        "INSERT INTO leg (id, state, node, life, call_type, number, caller, call_id, journal, invited) \
         VALUES ($1, 'settled', 'bridge', 1, 'dial-in-toll', '+390612345678', '+393331234567', 'a84b4c76', \
         'From: <sip:+393331234567@h>', 0)",
    )
    .bind(whole.usage_id.to_string())
    .execute(&mut conn)
    .await
    .unwrap();
    sql::query(
        "INSERT INTO usage_record (leg, organisation, at, elapsed_ms, credit_held, charge, pool_held_ms, pool_used_ms, \
         record) VALUES ($1, 'acme', 0, 60001, 20000, 20000, 0, 0, $2)",
    )
    .bind(whole.usage_id.to_string())
    .bind(whole.to_line())
    .execute(&mut conn)
    .await
    .unwrap();
    conn.close().await.unwrap();
    let store = Store::open(&url(&folder), Options::default()).await.unwrap();
    let url = url(&folder);
    let bench = Bench { folder, url, store, legs: std::cell::Cell::new(0), database: PhantomData };
    assert_eq!(bench.store.record(whole.usage_id).await.unwrap(), whole);
    let whom = Whom::Number(number("+393331234567"));
    assert_eq!(bench.store.forget(Forget { whom, dry_run: false }, NOON).await.unwrap().records, 1);
    for text in ["393331234567", "a84b4c76"] {
        assert_eq!(hits(&bench, text), Vec::<String>::new(), "{text}");
    }
}

/// Books of the edition before draws: what was drawn is known by its sum alone, and money comes back as a new funding.
#[tokio::test]
async fn books_from_before_corrections_are_brought_along() {
    let bench = Bench::new().await;
    let leg = bench.leg();
    grant(bench.store.open_leg(toll(leg)).await.unwrap());
    bench.store.answered(answer(leg)).await.unwrap();
    bench.store.settle(leg, over(61_000)).await.unwrap();
    let bench = as_of_edition(bench, 9).await;
    bench.audited().await;
    let refund = Refund { leg, amount: None, key: "k".to_owned(), reason: "bad line".to_owned(), at: NOON };
    bench.store.refund(refund).await.unwrap();
    let balance = bench.balance("aurora").await;
    assert_eq!((balance.available, balance.fundings.len()), (micros("1.00"), 2));
    bench.audited().await;
}

/// Books of the edition before running sums: what legs hold and have been charged counts towards limits as before.
#[tokio::test]
async fn books_from_before_running_sums_are_brought_along() {
    let bench = Bench::with_credits("25.00").await;
    let [over_by_then, live] = [bench.leg(), bench.leg()];
    for leg in [over_by_then, live] {
        grant(bench.store.open_leg(dial(leg, "+447700900123", "studio")).await.unwrap());
        bench.store.answered(answer(leg)).await.unwrap();
    }
    bench.store.settle(over_by_then, over(60_000)).await.unwrap();
    let bench = as_of_edition(bench, 19).await;
    bench.audited().await;
    // 0.04 were charged, and 0.04 are held.
    let limit = "id = \"local\"\nmax_spend_per_day = \"0.12\"\n";
    bench.apply(&FILE.replace("credits = \"1.00\"\n", "").replace("id = \"local\"\n", limit)).await.unwrap();
    loop {
        match bench.store.open_leg(dial(bench.leg(), "+447700900123", "studio")).await.unwrap() {
            Opened::Granted(_) => {}
            told => break assert_eq!(told, Opened::Refused(Cause::CarrierSpendLimit)),
        }
    }
    let live_legs = bench.store.live_legs().await.unwrap();
    let held: Micros = live_legs.iter().map(|leg| leg.credit_held).sum();
    assert!(held > micros("0.04") && held <= micros("0.08"), "{held}");
    bench.store.settle(live, over(60_000)).await.unwrap();
    bench.audited().await;
}

/// Books of the edition before limits counted money of grants: what legs hold of it counts from now on, what was charged
/// before does not, and neither does its refund.
#[tokio::test]
async fn books_from_before_grants_counted_are_brought_along() {
    use crate::rating::grant::Unit;
    let bench = Bench::with_credits("25.00").await;
    let call = async |is_over: bool| {
        let leg = bench.leg();
        grant(bench.store.open_leg(dial(leg, "+447700900123", "studio")).await.unwrap());
        bench.store.answered(answer(leg)).await.unwrap();
        if is_over {
            bench.store.settle(leg, over(60_000)).await.unwrap();
        }
        leg
    };
    bench.store.add_grant(super::sqlite::granting::gift("welcome", Unit::Money, 60_000)).await.unwrap();
    let [before, live] = [call(true).await, call(false).await];
    // 0.04 of the grant is used; 0.02 of it and 0.02 of credits are held. What that edition counted is credits alone.
    bench
        .tamper("UPDATE spend SET charged = 0; UPDATE spend_of SET charged = 0, day = '', held = 20000")
        .await
        .unwrap();
    let bench = as_of_edition(bench, 25).await;
    bench.audited().await;
    let whole = Refund { leg: before, amount: None, key: "k".to_owned(), reason: "bad line".to_owned(), at: NOON };
    assert!(matches!(bench.store.refund(whole).await.unwrap(), Corrected::Booked(_)));
    bench.audited().await;
    let limit = "id = \"local\"\nmax_spend_per_day = \"0.08\"\n";
    bench.apply(&FILE.replace("credits = \"1.00\"\n", "").replace("id = \"local\"\n", limit)).await.unwrap();
    loop {
        match bench.store.open_leg(dial(bench.leg(), "+447700900123", "studio")).await.unwrap() {
            Opened::Granted(_) => {}
            told => break assert_eq!(told, Opened::Refused(Cause::CarrierSpendLimit)),
        }
    }
    let credits: i64 = bench.store.live_legs().await.unwrap().iter().map(|leg| leg.credit_held.0).sum();
    let grants = bench.store.grants(&"aurora".parse().unwrap(), true).await.unwrap();
    assert_eq!((credits, grants[0].held), (20_000, 60_000), "what came back of the grant pays first");
    bench.store.settle(live, over(60_000)).await.unwrap();
    bench.audited().await;
}

/// Legs that the pool paid when nobody counted them.
#[tokio::test]
async fn legs_of_the_pool_are_counted_from_an_older_store_on() {
    let bench = Bench::new().await;
    let other = bench.leg();
    grant(bench.store.open_leg(dial(other, "+442079460123", "watch")).await.unwrap());
    let leg = bench.leg();
    grant(bench.store.open_leg(dial(leg, "+442079460123", "watch")).await.unwrap());
    bench.audited().await;
    let bench = as_of_edition(bench, 32).await;
    bench.audited().await;
    assert_eq!(bench.store.pool(&"borealis".parse().unwrap(), NOON).await.unwrap().legs, 2);
}

/// Carriers that were there keep what they had: they are believed, and known by what they were known by.
#[tokio::test]
async fn carriers_of_an_older_store_are_let_in_and_believed_as_before() {
    use crate::store::{schema, sql};
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let path = folder.path().join("data").join("store.db");
    let address = sql::Address::sqlite_writer(&path, std::time::Duration::from_secs(5));
    let mut conn = address.connect().await.unwrap();
    schema::bring_to(&mut conn, "old", 35).await.unwrap();
    let rows = [
        ("both", "[\"192.0.2.1\"]", Some("both.example"), false),
        ("certified", "[]", Some("certified.example"), true),
        ("plain", "[\"192.0.2.2\"]", None, true),
    ];
    for (id, sources, tls_name, _) in rows {
        let insert = sql::query(
            "INSERT INTO carrier (id, sources, codecs, number_format_in, number_format_out, called_from, old_syntax, \
             failure_map, tls_name) VALUES ($1, $2, '[\"PCMU\"]', 'plus', 'plus', '[]', 0, '{}', $3)",
        );
        insert.bind(id).bind(sources).bind(tls_name).execute(&mut conn).await.unwrap();
    }
    conn.close().await.unwrap();
    let store = Store::open(&url(&folder), Options::default()).await.unwrap();
    let facts = store.facts();
    for (id, _, _, tls_only) in rows {
        let carrier = facts.directory.carrier(&id.parse().unwrap()).unwrap();
        assert_eq!((carrier.tls_only, carrier.trusted_identity), (tls_only, true), "{id}");
    }
}

/// The same books as a program wrote them that knew no edition above `edition`.
async fn as_of_edition(bench: Bench, edition: i64) -> Bench {
    use crate::store::{copy, schema, sql};
    let Bench { folder, url, store, legs, database } = bench;
    drop(store);
    let data = folder.path().join("data");
    let (path, newer) = (data.join("store.db"), data.join("newer.db"));
    drop(open_when_free(&url, &folder).await);
    let patience = std::time::Duration::from_secs(5);
    let mut from = sql::Address::sqlite_writer(&path, patience).connect().await.unwrap();
    from.run("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE").await.unwrap();
    from.close().await.unwrap();
    std::fs::rename(&path, &newer).unwrap();
    let mut from = sql::Address::sqlite_writer(&newer, patience).connect().await.unwrap();
    let mut to = sql::Address::sqlite_writer(&path, patience).connect().await.unwrap();
    schema::bring_to(&mut to, "old", edition).await.unwrap();
    for (table, order) in copy::TABLES.iter().copied() {
        let columns = to.columns(table).await.unwrap();
        if columns.is_empty() {
            continue;
        }
        let rows = from.page(table, order, 0, i64::MAX).await.unwrap();
        let cell = |row: &sql::Row, (name, is_number): &(String, bool)| {
            if *is_number {
                serde_json::to_value(row.try_get::<Option<i64>, _>(name.as_str()).unwrap()).unwrap()
            } else {
                serde_json::to_value(row.try_get::<Option<String>, _>(name.as_str()).unwrap()).unwrap()
            }
        };
        let rows: serde_json::Value = rows
            .iter()
            .map(|row| columns.iter().map(|column| cell(row, column)).collect::<serde_json::Value>())
            .collect();
        to.fill(table, &columns, &rows.to_string()).await.unwrap();
    }
    from.close().await.unwrap();
    to.close().await.unwrap();
    std::fs::remove_file(newer).unwrap();
    let store = open_when_free(&url, &folder).await;
    Bench { folder, url, store, legs, database }
}

/// How often a text stands in the files of a store: its database, its log, and what else there is.
fn found(bench: &Bench, text: &str) -> usize {
    let files = std::fs::read_dir(bench.folder.path().join("data")).unwrap();
    let bytes = files.map(|file| std::fs::read(file.unwrap().path()).unwrap());
    bytes.map(|bytes| bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count()).sum()
}

/// A call whose rows grow while it lasts, so that its neighbours move from page to page.
async fn lively(store: Store, leg: LegId, caller: &'static str) -> Result<(), StoreError> {
    let grown = format!("dialog of {caller} {}", "x".repeat(200 + (leg.as_u128() % 7) as usize * 90));
    store.open_leg(OpenLeg { caller: Some(number(caller)), journal: format!("call of {caller}"), ..toll(leg) }).await?;
    store.answered(Answered { journal: Some(grown), ..answer(leg) }).await?;
    store.extend(next(leg, 1, 50_000)).await?;
    store.settle(leg, over(61_000)).await.map(drop)
}

/// Nothing of a number that is forgotten is left in any file, and calls go on meanwhile: for each step there is time for
/// a hold. It is a count, and holds on any machine.
#[tokio::test]
async fn a_forgotten_number_is_in_no_file_and_nobody_waits_for_that() {
    const FORGOTTEN: &str = "+393339876543";
    const OTHERS: [&str; 3] = ["+393331111111", "+393332222222", "+393334444444"];
    let bench = Bench::with_credits("1000.00").await;
    for round in 0..12_u128 {
        let mut calls = tokio::task::JoinSet::new();
        for n in 0..60_u128 {
            let caller = if n % 9 == 4 { FORGOTTEN } else { OTHERS[n as usize % 3] };
            calls.spawn(lively(bench.store.clone(), LegId::new(1_781_611_200_000 + round as u64, n), caller));
        }
        calls.join_all().await.into_iter().for_each(|done| done.unwrap());
    }
    assert!(found(&bench, FORGOTTEN) >= 80);
    let (store, talking) = (bench.store.clone(), LegId::new(1_781_611_300_000, 1));
    grant(store.open_leg(OpenLeg { caller: Some(number(OTHERS[0])), ..toll(talking) }).await.unwrap());
    store.answered(answer(talking)).await.unwrap();
    let mut forgetting = tokio::task::JoinSet::new();
    forgetting.spawn({
        let store = store.clone();
        async move { store.forget(Forget { whom: Whom::Number(number(FORGOTTEN)), dry_run: false }, NOON).await }
    });
    let mut held = 0_u32;
    let forgotten = loop {
        if let Some(forgotten) = forgetting.try_join_next() {
            break forgotten.unwrap().unwrap();
        }
        held += 1;
        store.open_leg(toll(LegId::new(1_781_611_400_000, u128::from(held)))).await.unwrap();
    };
    assert_eq!(forgotten.records, 12 * 7);
    // 720 calls are three steps of each table that keeps them, and more.
    assert!(held >= 6, "{held} holds while it was forgotten");
    assert_eq!(found(&bench, FORGOTTEN), 0, "it is nowhere");
    assert!(found(&bench, OTHERS[0]) > 200, "others are where they were");
    bench.audited().await;
}

/// A user's name stands in more places: rows of their own, and the indices that find them.
#[tokio::test]
async fn a_forgotten_user_is_in_no_file() {
    let file = FILE.replace("anna", "annunziata-di-san-gennaro").replace("credits = \"1.00\"", "credits = \"1000.00\"");
    let bench = Bench::empty().await;
    bench.apply(&file).await.unwrap();
    for n in 0..150_u128 {
        let leg = LegId::new(1_781_611_200_000, n);
        lively(bench.store.clone(), leg, "+393331111111").await.unwrap();
    }
    let user = "annunziata-di-san-gennaro";
    assert!(found(&bench, user) > 150);
    let forgotten =
        bench.store.forget(Forget { whom: Whom::User(user.parse().unwrap()), dry_run: false }, NOON).await.unwrap();
    assert_eq!(forgotten.records, 150);
    // The trail alone says what it was called: it is never changed.
    let trail = bench.store.trail(&TrailFilter::default()).await.unwrap();
    let told = trail.iter().map(|row| format!("{row:?}").matches(user).count()).sum::<usize>();
    assert!(told > 0);
    assert_eq!(found(&bench, user), told);
    bench.audited().await;
}
