//! Permission taken back while people talk.

use crate::trouble::{Blow, Trouble};
use crate::world::{DIRECT, PEOPLE, TOLL, World, apply, tone};
use std::path::Path;
use std::time::{Duration, Instant};
use tollbridge::api::revoke::RevokeOrder;
use tollbridge::cli::phone::Phone;
use tollbridge::clock;
use tollbridge::rating::UsageRecord;
use tollbridge::store::{Change, ChangeStep, EntryId};
use tollbridge::switchboard::ask::Told;
use tollbridge::types::Cause;

/// From what was written to the BYE.
const SOON: Duration = Duration::from_secs(2);

/// Waits for the end of a call that has just been forbidden, and holds it against its record: charged to the end, a cent
/// each second begun.
async fn ends_soon(world: &World, mut phone: Phone, since: Instant, cause: Cause) -> UsageRecord {
    let ended = phone.ended(SOON.saturating_sub(since.elapsed())).await.expect("a BYE within two seconds");
    let reason = ended.reason.expect("a Reason");
    assert_eq!((reason.text.as_str(), reason.q850), (cause.words(), Some(cause.q850())));
    world.until(|| async { world.node.store().live_legs().await.unwrap().is_empty() }).await;
    let records = world.node.store().usage(&Default::default()).await.unwrap();
    let record = records.into_iter().find(|record| record.beyond.cause == cause).expect("a record that says why");
    assert_eq!(record.charge.0, i64::try_from(record.duration_ms.div_ceil(1_000)).unwrap() * 10_000);
    let balance = world.balance("acme").await;
    assert_eq!((balance.held.0, balance.burn_nanos), (0, 0));
    world.audit().await;
    record
}

async fn talks(world: &World) -> Phone {
    let phone = world.call("+390611111111", DIRECT).await;
    phone.say(tone(500));
    world.inside("open", 1).await;
    phone
}

#[tokio::test(flavor = "multi_thread")]
async fn a_licence_that_is_taken_away_ends_the_call_and_a_given_one_lets_others_in() {
    let world = World::start().await;
    let included = world.call_in("+390633333333", TOLL, "1000007", 700).await;
    world.inside("included", 1).await;
    let phone = talks(&world).await;
    let without = PEOPLE.replacen("licences = [\"pay-per-minute\"]", "licences = []", 1);
    let since = Instant::now();
    apply(world.node.store(), &without).await;
    let mut phone = phone;
    let ended = phone.ended(SOON.saturating_sub(since.elapsed())).await.expect("a BYE within two seconds");
    assert_eq!(ended.reason.unwrap().text, Cause::LicenceGone.words());
    assert_eq!(world.refused("+390611111111", DIRECT).await.status, 403);
    world.inside("included", 1).await;
    included.hang_up();
    let records = world.records().await;
    let record = records.iter().find(|record| record.beyond.cause == Cause::LicenceGone).unwrap();
    assert_eq!(record.charge.0, i64::try_from(record.duration_ms.div_ceil(1_000)).unwrap() * 10_000);
    assert_eq!(world.balance("acme").await.posted.0, 10_000_000 - record.charge.0);
    apply(world.node.store(), PEOPLE).await;
    talks(&world).await.hang_up();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_organisation_is_out_of_every_call_and_gets_into_none() {
    let world = World::start().await;
    let phone = talks(&world).await;
    let since = Instant::now();
    apply(world.node.store(), &PEOPLE.replacen("id = \"acme\"\n", "id = \"acme\"\nlocked = \"a stolen PIN\"\n", 1))
        .await;
    ends_soon(&world, phone, since, Cause::OrganisationLocked).await;
    let refused = world.refused("+390611111111", DIRECT).await;
    assert_eq!((refused.status, refused.reason.unwrap().text.as_str()), (403, Cause::OrganisationLocked.words()));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switch_ends_what_spends_at_once_by_the_page_that_it_has() {
    let world = World::start().await;
    let included = world.call_in("+390633333333", TOLL, "1000007", 700).await;
    world.inside("included", 1).await;
    let phone = talks(&world).await;
    let since = Instant::now();
    let order = RevokeOrder { lock: true, reason: "a stolen PIN".into(), ..RevokeOrder::default() };
    let answer = world.post("/organisations/acme/revoke", &order).await;
    let mut phone = phone;
    let ended = phone.ended(SOON.saturating_sub(since.elapsed())).await.expect("a BYE within two seconds");
    assert_eq!(ended.reason.unwrap().text, Cause::Revoked.words());
    assert_eq!((answer["legs"].as_array().unwrap().len(), answer["locked"].as_bool()), (1, Some(true)), "{answer}");
    let refused = world.refused("+390611111111", DIRECT).await;
    assert_eq!(refused.reason.unwrap().text, Cause::OrganisationLocked.words());
    world.inside("included", 1).await;
    included.hang_up();
    let records = world.records().await;
    let record = records.iter().find(|record| record.beyond.cause == Cause::Revoked).unwrap();
    assert_eq!(record.charge.0, i64::try_from(record.duration_ms.div_ceil(1_000)).unwrap() * 10_000);
    assert_eq!(answer["charge"], record.charge.to_text());
    assert_eq!((record.beyond.codec.is_some(), record.beyond.stamps.joined.is_some()), (true, true));
    let balance = world.balance("acme").await;
    assert_eq!((balance.posted.0, balance.held.0), (10_000_000 - record.charge.0, 0));
    world.end().await;
}

/// The books have done it, and their answer is lost: whoever asked is answered all the same, and nobody talks on.
#[tokio::test(flavor = "multi_thread")]
async fn a_switch_whose_answer_is_lost_ends_the_calls_and_says_so() {
    let mut trouble = None;
    let world = World::with(PEOPLE, |settings| {
        trouble = settings.store_url.strip_prefix("sqlite:").map(|path| Trouble::at(Path::new(path)));
    })
    .await;
    let trouble = trouble.expect("books in a file");
    let mut phone = talks(&world).await;
    trouble.aim_at_commit_of("INSERT INTO trail", Blow::Fails);
    let since = Instant::now();
    let order = RevokeOrder { reason: "a stolen PIN".into(), ..RevokeOrder::default() };
    let answer = world.post("/organisations/acme/revoke", &order).await;
    assert_eq!(trouble.dealt(), [(Blow::Fails, "COMMIT".to_owned())]);
    let ended = phone.ended(SOON.saturating_sub(since.elapsed())).await.expect("a BYE within two seconds");
    assert_eq!(ended.reason.unwrap().text, Cause::Revoked.words());
    let records = world.records().await;
    let record = records.iter().find(|record| record.beyond.cause == Cause::Revoked).unwrap();
    assert_eq!(answer["legs"], serde_json::json!([record.usage_id.to_string()]));
    assert_eq!(answer["charge"], record.charge.to_text());
    world.end().await;
}

/// What the page of the API, and the command line by it, asks the books for.
async fn lock_carrier(world: &World, keys: &str) {
    let entry = EntryId::Carrier("line".parse().unwrap());
    let change = Change { entry, of: None, step: ChangeStep::Patch(keys.to_owned()) };
    world.node.store().change(change, clock::wall()).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_carrier_has_no_new_calls_and_keeps_or_loses_those_that_run() {
    let world = World::start().await;
    let mut phone = talks(&world).await;
    // Nobody pays for this one yet.
    let mut waiting = world.call("+390622222222", TOLL).await;
    lock_carrier(&world, r#"{"locked": "an attack", "on_lock": "finish"}"#).await;
    let is_locked = || async {
        match world.carrier.call("+390633333333", DIRECT).await {
            // The lock was on its way: whoever was let in meanwhile is none of those that it is to cut.
            Ok(phone) => {
                phone.hang_up();
                false
            }
            Err(ended) => ended.reason.is_some_and(|reason| reason.text == Cause::CarrierLocked.words()),
        }
    };
    world.until(is_locked).await;
    assert_eq!(world.refused("+390633333333", DIRECT).await.status, 403);
    let told = world.dial("open", "+390699999999").await;
    assert!(matches!(told, Told::Refused(Cause::CarrierLocked)), "{told:?}");
    for phone in [&mut phone, &mut waiting] {
        assert!(phone.ended(Duration::from_millis(500)).await.is_none(), "they may finish");
    }
    // Whoever is not let finish is out.
    let since = Instant::now();
    lock_carrier(&world, r#"{"on_lock": "cut"}"#).await;
    for phone in [&mut phone, &mut waiting] {
        let ended = phone.ended(SOON.saturating_sub(since.elapsed())).await.expect("a BYE within two seconds");
        assert_eq!(ended.reason.unwrap().text, Cause::CarrierLocked.words());
    }
    let mut cut = world.records().await;
    cut.retain(|record| record.beyond.cause == Cause::CarrierLocked);
    let charged = |record: &UsageRecord| i64::try_from(record.duration_ms.div_ceil(1_000)).unwrap() * 10_000;
    let paid: Vec<&UsageRecord> = cut.iter().filter(|record| record.charge.0 > 0).collect();
    assert_eq!((cut.len(), paid.len(), paid[0].charge.0), (2, 1, charged(paid[0])), "charged to the end");
    lock_carrier(&world, r#"{"locked": null}"#).await;
    world
        .until(|| async { world.carrier.call("+390644444444", DIRECT).await.map(|phone| phone.hang_up()).is_ok() })
        .await;
    world.end().await;
}
