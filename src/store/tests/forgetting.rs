//! People are forgotten, by asking or by age: nothing of them is left, and the books are as they were.

use super::*;

const CALLER: &str = "+393331234567";
const CALLED: &str = "+447700900123";

fn whom(text: &str) -> Whom {
    if text.starts_with('+') { Whom::Number(number(text)) } else { Whom::User(text.parse().unwrap()) }
}

async fn forget(bench: &Bench, text: &str, dry_run: bool) -> Result<Forgotten, StoreError> {
    bench.store.forget(Forget { whom: whom(text), dry_run }, NOON).await
}

async fn call(bench: &Bench, asked: impl Fn(LegId) -> OpenLeg) -> LegId {
    let leg = bench.leg();
    grant(bench.store.open_leg(asked(leg)).await.unwrap());
    bench.store.answered(answer(leg)).await.unwrap();
    bench.store.settle(leg, over(61_000)).await.unwrap();
    leg
}

#[tokio::test]
async fn a_forgotten_number_is_nowhere_and_the_books_are_as_they_were() {
    let bench = Bench::with_credits("25.00").await;
    let inward = call(&bench, toll).await;
    let outward = call(&bench, |leg| OpenLeg { caller: Some(number("+390612345678")), ..dial(leg, CALLED, "studio") }).await;
    let (aurora, before) = ("aurora".parse().unwrap(), bench.balance("aurora").await);
    let entries = bench.store.ledger(&aurora, 1_000).await.unwrap();
    let dry = Forgotten { records: 1, meetings: 0, name: None };
    assert_eq!(forget(&bench, CALLER, true).await, Ok(dry.clone()));
    assert_eq!(bench.store.record(inward).await.unwrap().caller, Some(number(CALLER)), "a dry run changes nothing");
    assert_eq!(forget(&bench, CALLER, false).await, Ok(dry.clone()));
    assert_eq!(forget(&bench, CALLED, false).await, Ok(dry));
    let (inward, outward) = (bench.store.record(inward).await.unwrap(), bench.store.record(outward).await.unwrap());
    assert_eq!((inward.caller, inward.call_id.as_str()), (None, ""));
    assert_eq!((outward.destination, outward.caller), (E164::FORGOTTEN, Some(number("+390612345678"))));
    assert!(inward.charge > Micros::ZERO && outward.charge > Micros::ZERO);
    assert_eq!(bench.balance("aurora").await, before);
    assert_eq!(bench.store.ledger(&aurora, 1_000).await.unwrap(), entries, "and with it the hash chain");
    assert_eq!(forget(&bench, CALLER, false).await.unwrap().records, 0);
    bench.audited().await;
}

#[tokio::test]
async fn who_is_in_a_call_is_forgotten_when_it_is_over() {
    let bench = Bench::with_credits("25.00").await;
    let leg = bench.leg();
    grant(bench.store.open_leg(toll(leg)).await.unwrap());
    for name in [CALLER, "anna"] {
        assert!(matches!(forget(&bench, name, false).await, Err(StoreError::Conflict(_))), "{name}");
    }
    bench.store.settle(leg, over(0)).await.unwrap();
    assert_eq!(forget(&bench, CALLER, false).await.unwrap().records, 1);
    assert!(matches!(forget(&bench, "nobody", true).await, Err(StoreError::Unknown(_))));
    bench.audited().await;
}

#[tokio::test]
async fn a_forgotten_user_leaves_meetings_that_nobody_enters() {
    let bench = Bench::with_credits("25.00").await;
    let leg = call(&bench, toll).await;
    let forgotten = forget(&bench, "anna", false).await.unwrap();
    assert_eq!((forgotten.records, forgotten.meetings), (1, 1));
    let name = forgotten.name.unwrap();
    assert!(name.starts_with("forgotten-") && name.len() == 26, "{name}");
    let record = bench.store.record(leg).await.unwrap();
    assert_eq!((record.user.unwrap().as_str(), record.user_display_name.as_str()), (name.as_str(), ""));
    assert_eq!(record.user_principal_name, name);
    let facts = bench.store.facts();
    assert!(!facts.users.contains_key(&"anna".parse().unwrap()));
    assert!(!facts.users[&name.parse().unwrap()].has_pin());
    let opened = bench.store.open_leg(toll(bench.leg())).await.unwrap();
    assert_eq!(opened, Opened::Refused(Cause::NotLicensed));
    bench.audited().await;
}

#[tokio::test]
async fn what_is_old_is_emptied_and_what_is_young_stays() {
    let bench = Bench::with_credits("25.00").await;
    let leg = call(&bench, toll).await;
    let keep = |records, traces, dry_run| bench.store.keep(Keep { records, traces, dry_run }, NOON);
    let (before, after) = (Some(NOON), Some(NOON.plus_millis(3_600_000)));
    assert_eq!(keep(before, before, false).await, Ok(0));
    assert_eq!(keep(None, None, false).await, Ok(0), "for ever");
    assert_eq!(keep(before, after, true).await, Ok(1));
    assert_eq!(keep(before, after, false).await, Ok(1));
    let record = bench.store.record(leg).await.unwrap();
    assert_eq!((record.call_id.as_str(), record.caller), ("", Some(number(CALLER))));
    assert_eq!(keep(after, after, false).await, Ok(1));
    let record = bench.store.record(leg).await.unwrap();
    assert_eq!((record.caller, record.conference_id, record.user.unwrap().as_str()), (None, None, "anna"));
    assert_eq!(keep(after, after, false).await, Ok(0));
    bench.audited().await;
}

/// A step that is asked again after the end is given its first answer still.
#[tokio::test]
async fn a_leg_that_is_over_answers_repeats() {
    let bench = Bench::with_credits("25.00").await;
    let leg = bench.leg();
    let first = bench.store.open_leg(toll(leg)).await.unwrap();
    bench.store.settle(leg, over(0)).await.unwrap();
    assert_eq!(bench.store.open_leg(toll(leg)).await.unwrap(), first);
}
