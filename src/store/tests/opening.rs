//! Opening, the lock, crashes.

use super::*;

#[tokio::test]
async fn a_store_is_held_by_one_and_free_when_it_is_gone() {
    let bench = Bench::new().await;
    let second = Store::open(&bench.url, options(&bench.folder)).await.unwrap_err();
    let told = second.to_string();
    assert!(told.contains("is held by another tollbridge") && told.contains(&std::process::id().to_string()), "{told}");
    let bench = bench.reopened().await;
    assert_eq!(bench.balance("aurora").await.posted, micros("1.00"));
    bench.audited().await;
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let bench = Bench::new().await;
    bench.tamper("INSERT INTO schema_edition (number) VALUES (99)").await.unwrap();
    let super::Bench { folder, url, store, .. } = bench;
    drop(store);
    loop {
        match Store::open(&url, options(&folder)).await {
            Err(OpenError::Held { .. }) => tokio::task::yield_now().await,
            Err(OpenError::Newer { found: 99, known: schema::NEWEST, .. }) => return,
            other => panic!("{other:?}"),
        }
    }
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
    let files = std::fs::read_dir(bench.folder.path().join("data")).unwrap().map(|entry| entry.unwrap().path());
    let life = files.into_iter().find(|path| path.to_string_lossy().ends_with(".life-bridge-0")).unwrap();
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
    // It may die again before its BYEs were answered: nothing is charged again, and the calls are still to be ended.
    assert_eq!(bench.store.recover(NOON).await.unwrap(), orphans);
    bench.store.buried(vec![in_toll, out]).await.unwrap();
    assert_eq!(bench.store.recover(NOON).await.unwrap(), orphans[2..]);
    bench.store.buried(vec![ringing]).await.unwrap();
    assert_eq!(bench.store.recover(NOON).await.unwrap(), []);
    assert_eq!(bench.balance("aurora").await.held, Micros::ZERO);
    bench.audited().await;
}

/// Its slices are held from the answer on, for the ACK may still come; what is held is not yet owed.
#[tokio::test]
async fn a_leg_that_was_never_acknowledged_costs_nothing_when_its_life_dies() {
    let bench = Bench::new().await;
    let leg = bench.leg();
    grant(bench.store.open_leg(toll(leg)).await.unwrap());
    bench.store.answered(answer(leg)).await.unwrap();
    grant(bench.store.extend(Extend { proven_ms: 0, ..next(leg, 1, 50_000) }).await.unwrap());
    let bench = bench.reopened().await;
    let orphans = bench.store.recover(NOON.plus_millis(70_000)).await.unwrap();
    assert_eq!(orphans.iter().map(|one| (one.leg, one.charge)).collect::<Vec<_>>(), [(leg, Micros::ZERO)]);
    assert_eq!(bench.store.record(leg).await.unwrap().duration_ms, 0);
    assert_eq!(bench.balance("aurora").await.held, Micros::ZERO);
    bench.audited().await;
}

#[tokio::test]
async fn more_requests_than_the_queue_holds_are_refused() {
    let super::Bench { folder, url, store, .. } = Bench::new().await;
    drop(store);
    drop(open_when_free(&url, &folder).await);
    let store = loop {
        match Store::open(&url, Options { queue: 4, batch: 2, ..options(&folder) }).await {
            Err(OpenError::Held { .. }) => tokio::task::yield_now().await,
            opened => break opened.unwrap(),
        }
    };
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

