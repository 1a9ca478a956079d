//! Money that is fetched while a call runs, and people who are told where it is not.

use crate::notice::{SECRET, secret};
use crate::sink::{Does, Got, Mail, Temper, Web};
use crate::world::{PEOPLE, World, tone};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tollbridge::config::{MailServer, Settings};
use tollbridge::notice::Tls;
use tollbridge::notice::sign::signature;
use tollbridge::store::{RechargeView, Shown};
use tollbridge::types::Cause;

/// Straight into a meeting of an organisation with seven cents: seven seconds at a cent a second.
const POOR: &str = "+390687654323";

/// The poor, with wishes: told by mail and webhook, and fed by a hook as soon as less than five cents is left.
fn people(web: &Web, secret: &str) -> String {
    let wishes = format!(
        "credits = \"0.07\"\n[organisation.alerts]\nemails = [\"paula@example.com\"]\nwebhook = \"{}\"\n\
         webhook_secret = \"{secret}\"\n[organisation.recharge]\ntrigger = \"0.05\"\namount = \"20.00\"\n\
         max_per_day = \"60.00\"\nhook = \"{}\"\nhook_secret = \"{secret}\"\n",
        web.url("/told"),
        web.url("/pay")
    );
    PEOPLE.replacen("credits = \"0.07\"\n", &wishes, 1)
}

fn settings(mail: &Mail) -> impl FnOnce(&mut Settings) {
    let server = MailServer { host: "127.0.0.1".into(), port: mail.address.port() };
    move |settings| {
        settings.notice.smtp = Some(server);
        settings.notice.smtp_tls = Tls::Off;
        settings.notice.from = Some("bridge@example.com".parse().unwrap());
        settings.notice.allow_addresses = vec!["127.0.0.1/32".parse().unwrap()];
    }
}

async fn shown(world: &World) -> Shown {
    world.node.store().alerts(Some(&"poor".parse().unwrap()), 100).await.unwrap()
}

fn at<'a>(got: &'a [Got], path: &str) -> Vec<&'a Got> {
    got.iter().filter(|got| got.path == path).collect()
}

/// Of which kinds the webhook was told.
fn kinds(got: &[Got]) -> Vec<String> {
    at(got, "/told").iter().map(|got| got.json()["kind"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_that_falls_is_recharged_once_and_the_call_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (_, named) = secret(&folder);
    // The first answer is lost on its way: the money is there, and nobody knows.
    let lost = AtomicBool::new(false);
    let web = Web::start(move |got, _| match got.path.as_str() {
        "/pay" if !lost.swap(true, Ordering::SeqCst) => Does::Close,
        "/pay" => Does::json(r#"{"status": "paid"}"#),
        _ => Does::Answer(204, String::new()),
    });
    let mail = Mail::start(Temper::Good);
    let world = World::with(&people(&web, &named), settings(&mail)).await;
    let phone = world.call("+390611111111", POOR).await;
    phone.say(tone(500));
    // Well beyond the seven seconds that there was money for.
    world.until(|| async { world.legs().await.iter().any(|leg| leg.elapsed_ms > 9_500) }).await;
    phone.hang_up();
    let is_done = || mail.got().iter().any(|mail| mail.contains("20.0000 USD was paid in"));
    world.until(|| async { is_done() && kinds(&web.got()).iter().any(|kind| kind == "recharge-done") }).await;

    let paid: Vec<RechargeView> = shown(&world).await.recharges;
    assert_eq!((paid.len(), paid[0].state.as_str(), paid[0].tries), (1, "paid", 2), "{paid:?}");
    let got = web.got();
    let asked = at(&got, "/pay");
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked.iter().all(|got| got.header("idempotency-key") == paid[0].key), "{asked:?}");
    assert_eq!(asked[0].json()["amount"], "20.00");
    let balance = world.balance("poor").await;
    assert_eq!(balance.fundings.iter().filter(|funding| funding.key == paid[0].key).count(), 1);
    assert_eq!(kinds(&got).iter().filter(|kind| *kind == "recharge-done").count(), 1);
    assert!(mail.got()[0].contains("RCPT TO:<paula@example.com>"), "{:?}", mail.got());
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_is_declined_people_are_told_and_the_call_ends_with_its_money() {
    let folder = tempfile::tempdir().unwrap();
    let (_, named) = secret(&folder);
    let web = Web::start(|got, _| match got.path.as_str() {
        "/pay" => Does::json(r#"{"status": "declined", "reason": "card expired"}"#),
        _ => Does::Answer(200, String::new()),
    });
    let mail = Mail::start(Temper::Good);
    let world = World::with(&people(&web, &named), settings(&mail)).await;
    let mut phone = world.call("+390611111111", POOR).await;
    phone.say(tone(500));
    let ended = phone.ended(Duration::from_secs(20)).await.expect("cut");
    assert_eq!(ended.reason.unwrap().text, Cause::CreditGone.words());
    world.until(|| async { mail.got().len() == 3 && kinds(&web.got()).len() == 3 }).await;
    let got = web.got();
    let mut told = kinds(&got);
    told.sort();
    assert_eq!(told, ["low-balance", "recharge-failed", "zero-balance"]);
    assert_eq!(at(&got, "/pay").len(), 1, "a card that was declined is not tried again at once");
    for got in at(&got, "/told") {
        let timestamp = got.header("tollbridge-timestamp").parse().unwrap();
        let expected = signature(SECRET.as_bytes(), timestamp, got.header("tollbridge-id"), got.body.as_bytes());
        assert_eq!(got.header("tollbridge-signature"), expected);
        assert_eq!(got.header("tollbridge-id"), got.json()["id"]);
    }
    assert!(mail.got().iter().any(|mail| mail.contains("card expired")), "{:?}", mail.got());
    world.end().await;
}

/// Nobody answers out there: calls come, talk and go as ever, and the node stops in good time.
#[tokio::test(flavor = "multi_thread")]
async fn far_ends_that_hang_make_no_call_wait() {
    let folder = tempfile::tempdir().unwrap();
    let (_, named) = secret(&folder);
    let web = Web::start(|_, _| Does::Hang);
    let mail = Mail::start(Temper::Hangs);
    let world = World::with(&people(&web, &named), settings(&mail)).await;
    let mut phone = world.call("+390611111111", POOR).await;
    phone.say(tone(500));
    world.until(|| async { !at(&web.got(), "/pay").is_empty() }).await;
    let begun = std::time::Instant::now();
    let other = world.call("+390611111112", crate::world::DIRECT).await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    phone.ended(Duration::from_secs(20)).await.expect("cut");
    other.hang_up();
    let records = world.records().await;
    let poor = records.iter().find(|record| record.beyond.cause == Cause::CreditGone).expect("settled");
    assert_eq!((poor.duration_ms, poor.charge.0), (7_000, 70_000), "to the millisecond, as ever");
    let waiting = shown(&world).await;
    assert_eq!(waiting.recharges[0].state, "asked");
    let begun = std::time::Instant::now();
    world.end().await;
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}
