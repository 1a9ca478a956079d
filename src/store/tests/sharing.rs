//! Two nodes with the same books.

use super::*;
use crate::rating::grant::Unit;
use crate::trunk::HotEntries;

/// What one learns of fraud the other knows at its next request, lists and blocks alike.
#[tokio::test]
async fn what_one_node_learns_of_fraud_stops_the_thief_at_the_other() {
    let bench = Bench::<Postgres>::new().await;
    let elsewhere = bench.elsewhere();
    let start = Options { node: "other".to_owned(), ..options(&elsewhere) };
    let other = Store::open(&bench.url, start).await.unwrap();
    let call = |number: u64, to: &str| dial(LegId::new(1_781_611_300_000, u128::from(number)), to, "studio");
    let step = HotStep::Add(HotEntries::from([("4477009001".parse().unwrap(), String::new())]));
    let order = HotOrder { list: "own".parse().unwrap(), step };
    bench.store.hot_order(order, false, NOON).await.unwrap();
    let hit = other.open_leg(call(1, "+447700900123")).await.unwrap();
    assert_eq!(hit, Opened::Refused(Cause::HotNumber));
    let refused = bench.store.open_leg(call(2, "+442079460123")).await.unwrap();
    assert_eq!(refused, Opened::Refused(Cause::HotDestination));
    let aurora: OrganisationId = "aurora".parse().unwrap();
    let lift = Lift { organisation: aurora.clone(), destination: None, reason: "known".into(), at: NOON };
    assert_eq!(bench.store.lift(lift).await.unwrap().len(), 1);
    grant(other.open_leg(call(3, "+442079460123")).await.unwrap());
    assert_eq!(other.facts().dial_blocks(None, NOON), []);
    bench.audited().await;
}

/// Two nodes with a key each that set the first PIN at the same moment: one of them does, whoever it is, and the other is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_keys_one_sets_the_first_pin() {
    let bench = Bench::<Postgres>::empty().await;
    let file = FILE.replace("pin = \"4711\"\n", "");
    bench.apply(&file).await.unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let start = Options { node: "other".to_owned(), ..options(&elsewhere) };
    let other = Store::open(&bench.url, start).await.unwrap();
    assert_ne!(other.facts().pins().fingerprint(), bench.store.facts().pins().fingerprint());
    let set = async |store: &Store, pin: &str| {
        let step = ChangeStep::Patch(format!("{{\"pin\":{pin}}}"));
        let entry = EntryId::User("anna".parse().unwrap());
        store.change(Change { entry, of: Some("aurora".parse().unwrap()), step }, NOON).await.map(Result::unwrap)
    };
    for round in 0..20 {
        let (one, two) = tokio::join!(set(&bench.store, "\"1234\""), set(&other, "\"5678\""));
        let winner = match (&one, &two) {
            (Ok(_), Err(refused)) | (Err(refused), Ok(_)) => {
                assert!(refused.to_string().contains("another node has set PINs"), "round {round}: {refused}");
                if one.is_ok() { &bench.store } else { &other }
            }
            both => panic!("round {round}: {both:?}"),
        };
        let kept = backup(&bench.url, &mut Vec::new(), |_| {}).await.unwrap().pin_key;
        assert_eq!(kept, Some(winner.facts().pins().fingerprint()), "round {round}");
        set(winner, "null").await.unwrap();
    }
}

/// Two nodes that give a grant of one name at the same moment: it is given once, and who gives another is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_nodes_one_gives_a_grant() {
    let bench = Bench::<Postgres>::new().await;
    let elsewhere = bench.elsewhere();
    let other = Store::open(&bench.url, Options { node: "other".to_owned(), ..options(&elsewhere) }).await.unwrap();
    for round in 0..20 {
        let new = |amount| NewGrant { ..postgres::granting::gift(&format!("gift-{round}"), Unit::Money, amount) };
        let same = round % 2 == 0;
        let (one, two) =
            tokio::join!(bench.store.add_grant(new(1_000)), other.add_grant(new(if same { 1_000 } else { 2_000 })));
        match (one, two) {
            (Ok(GrantAdded::Booked(_)), Ok(GrantAdded::Repeated(_)))
            | (Ok(GrantAdded::Repeated(_)), Ok(GrantAdded::Booked(_)))
                if same => {}
            (Ok(GrantAdded::Booked(_)), Err(StoreError::Conflict(_)))
            | (Err(StoreError::Conflict(_)), Ok(GrantAdded::Booked(_)))
                if !same => {}
            both => panic!("round {round}: {both:?}"),
        }
    }
    bench.audited().await;
}
