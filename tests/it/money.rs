//! Every cent.

use crate::world::{DIRECT, PEOPLE, TOLL, World, tone};
use std::time::Duration;
use tollbridge::cli::phone::Phone;
use tollbridge::notice::Kind;
use tollbridge::types::Cause;

/// Straight into a meeting of an organisation with seven cents: seven seconds at a cent a second.
const POOR: &str = "+390687654323";

#[tokio::test(flavor = "multi_thread")]
async fn credit_ends_a_call_at_its_very_millisecond_and_never_goes_below_zero() {
    let world = World::start().await;
    let mut phone = world.call("+390611111111", POOR).await;
    phone.say(tone(500));
    let ended = phone.ended(Duration::from_secs(20)).await.expect("cut");
    assert_eq!(ended.reason.unwrap().text, Cause::CreditGone.words());
    let records = world.records().await;
    assert_eq!((records[0].duration_ms, records[0].charge.0), (7_000, 70_000));
    assert_eq!(records[0].beyond.cause, Cause::CreditGone);
    let balance = world.balance("poor").await;
    assert_eq!((balance.posted.0, balance.held.0, balance.available.0), (0, 0, 0));
    let refused = world.refused("+390611111111", POOR).await;
    assert_eq!(refused.status, 402);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_calls_at_once_on_credit_for_seven() {
    // A minute at a cent a minute each, held whole: seven cents hold seven.
    let rates = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from\n\
                 dial-in-toll,39,Italy,0.01,0,60,60,2020-01-01\n";
    let world = World::start().await;
    let document = tollbridge::store::Document::parse("r.toml", "rates = \"r.csv\"\n", |_| Ok(rates.to_owned()));
    world.node.store().apply(document.unwrap(), tollbridge::clock::wall()).await.unwrap().unwrap();
    let calls = (0..50).map(|n| {
        let carrier = world.carrier.clone();
        tokio::spawn(async move { carrier.call(&format!("+3906{:08}", n), POOR).await })
    });
    let calls: Vec<_> = calls.collect();
    let mut answered: Vec<Phone> = Vec::new();
    for call in calls {
        match call.await.unwrap() {
            Ok(phone) => answered.push(phone),
            Err(ended) => assert_eq!(ended.status, 402),
        }
    }
    assert_eq!(answered.len(), 7);
    let balance = world.balance("poor").await;
    assert_eq!((balance.held.0, balance.available.0), (70_000, 0));
    world.audit().await;
    for phone in &answered {
        phone.hang_up();
    }
    let records = world.records().await;
    assert_eq!(records.len(), 50);
    assert_eq!(records.iter().map(|record| record.charge.0).sum::<i64>(), 70_000);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_licence_by_the_user_includes_toll_calls_and_no_balance_touches_them() {
    let world = World::start().await;
    let phone = world.call_in("+390611111111", TOLL, "1000007", 500).await;
    world.inside("included", 1).await;
    phone.hang_up();
    let records = world.records().await;
    assert_eq!(records[0].charge.0, 0);
    assert_eq!(records[0].capability.unwrap().slug(), "MCOMEETADD");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_top_up_in_mid_call_lets_it_go_on() {
    let world = World::start().await;
    let mut phone = world.call("+390611111111", POOR).await;
    phone.say(tone(500));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let funds = tollbridge::store::Funds {
        organisation: "poor".parse().unwrap(),
        key: "top-up-1".into(),
        amount: "1.00".parse().unwrap(),
        kind: tollbridge::store::FundsKind::Funding,
        memo: "test".into(),
        at: tollbridge::clock::wall(),
    };
    world.node.store().add_credits(funds).await.unwrap();
    assert_eq!(phone.ended(Duration::from_secs(9)).await, None, "the money goes on, and so does the call");
    phone.hang_up();
    let records = world.records().await;
    assert!(records[0].charge.0 > 90_000, "{:?}", records[0].charge);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_bridge_closes_every_account() {
    let world = World::start().await;
    let mut phone = world.call("+390611111111", DIRECT).await;
    phone.say(tone(500));
    world.inside("open", 1).await;
    let store = world.node.store().clone();
    world.node.stop().await;
    let ended = phone.ended(Duration::from_secs(5)).await.expect("BYE");
    assert_eq!(ended.reason.unwrap().text, Cause::Drained.words());
    let records = store.usage(&Default::default()).await.unwrap();
    assert_eq!(records[0].beyond.cause, Cause::Drained);
    assert_eq!(store.live_legs().await.unwrap(), []);
    assert_eq!(store.audit().await.unwrap(), []);
}

/// Nobody has to ask whether the books are right: the house is told of a change behind the store's back, once a day.
#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_looks_after_its_own_books_and_tells_the_house() {
    let often = Duration::from_millis(200);
    let world = World::with(PEOPLE, |settings| settings.audit_every = Some(often)).await;
    let alerts = async |world: &World| world.node.store().alerts(None, 100).await.unwrap().alerts;
    tokio::time::sleep(often * 3).await;
    assert!(alerts(&world).await.is_empty(), "books that are right are no news");
    let path = world.folder.path().join("books.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(5));
    let mut by_hand = sqlx::ConnectOptions::connect(&options).await.unwrap();
    let more = "UPDATE account SET posted = posted + 1 WHERE organisation = 'poor'";
    sqlx::raw_sql(more).execute(&mut by_hand).await.unwrap();
    world.until(|| async { !alerts(&world).await.is_empty() }).await;
    tokio::time::sleep(often * 3).await;
    let told = alerts(&world).await;
    assert_eq!(told.len(), 1, "once, however often it is seen: {told:?}");
    assert!(told[0].alert.kind == Kind::AuditDifference && told[0].alert.text().contains("account poor"), "{told:?}");
    world.node.stop().await;
}
