//! Two nodes with the same books.

use super::*;
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
