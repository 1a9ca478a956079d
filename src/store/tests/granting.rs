//! Grants: what they pay, in which order, where the rest goes, and what comes back to them.

use super::*;
use crate::rating::grant::{Filter, Source, Unit};
use crate::rating::ledger::{Account, Kind, balances};
use tokio::task::JoinSet;

/// 0.03 a minute by the second, fee 0.01.
const LONDON: &str = "+442079460123";
const ITALY: &str = "+390298765432";

pub(in crate::store::tests) fn gift(id: &str, unit: Unit, amount: u64) -> NewGrant {
    NewGrant {
        id: id.parse().unwrap(),
        organisation: "aurora".parse().unwrap(),
        unit,
        source: Source::Promo,
        amount,
        priority: 100,
        from: None,
        until: None,
        filter: Filter::default(),
        memo: "test".to_owned(),
        at: NOON,
    }
}

fn seconds(id: &str, seconds: u64) -> NewGrant {
    gift(id, Unit::Seconds, seconds * 1_000)
}

fn money(id: &str, amount: &str) -> NewGrant {
    gift(id, Unit::Money, u64::try_from(micros(amount).0).unwrap())
}

async fn give(bench: &Bench, grants: impl IntoIterator<Item = NewGrant>) {
    for grant in grants {
        let added = bench.store.add_grant(grant).await.unwrap();
        assert!(matches!(added, GrantAdded::Booked(_)), "{added:?}");
    }
}

/// Used, held, lapsed and left of each, by its name.
async fn counters(bench: &Bench) -> Vec<(String, [u64; 4])> {
    let mut rows = bench.store.grants(&"aurora".parse().unwrap(), true).await.unwrap();
    rows.sort_by(|a, b| a.grant.id.cmp(&b.grant.id));
    rows.iter().map(|row| (row.grant.id.to_string(), [row.used, row.held, row.lapsed, row.grant.left])).collect()
}

async fn talk(bench: &Bench, to: &str, ms: u64) -> UsageRecord {
    let leg = begin(bench, to).await;
    go_on(bench, leg, ms).await;
    bench.store.settle(leg, over(ms)).await.unwrap()
}

async fn begin(bench: &Bench, to: &str) -> LegId {
    let leg = bench.leg();
    grant(bench.store.open_leg(dial(leg, to, "studio")).await.unwrap());
    bench.store.answered(answer(leg)).await.unwrap();
    leg
}

async fn go_on(bench: &Bench, leg: LegId, ms: u64) {
    let (mut until, mut sequence) = (60_000, 1);
    while until < ms {
        until = grant(bench.store.extend(next(leg, sequence, until - 10_000)).await.unwrap()).until_ms;
        sequence += 1;
    }
}

/// What the ledger has of an account of aurora.
async fn booked(bench: &Bench, kind: Kind) -> Micros {
    let aurora = "aurora".parse().unwrap();
    let entries = bench.store.ledger(&aurora, 1_000).await.unwrap();
    balances(&entries).unwrap().get(&Account::new(&aurora, kind)).copied().unwrap_or_default()
}

#[tokio::test]
async fn seconds_pay_first_then_money_of_grants_then_credits_and_the_record_says_which() {
    let bench = Bench::new().await;
    give(&bench, [money("welcome", "0.02"), seconds("spring", 70)]).await;
    let leg = begin(&bench, LONDON).await;
    assert_eq!(
        counters(&bench).await,
        [("spring".into(), [0, 60_000, 0, 10_000]), ("welcome".to_owned(), [0, 0, 0, 20_000])]
    );
    assert_eq!(bench.balance("aurora").await.held, Micros::ZERO);
    bench.audited().await;
    grant(bench.store.extend(next(leg, 1, 50_000)).await.unwrap());
    // 10 s of the grant; 50 s cost 0.035, of which money of a grant has 0.02.
    assert_eq!(
        counters(&bench).await,
        [("spring".into(), [0, 70_000, 0, 0]), ("welcome".to_owned(), [0, 20_000, 0, 0])]
    );
    assert_eq!(bench.balance("aurora").await.held, micros("0.015"));
    bench.audited().await;
    let record = bench.store.settle(leg, over(100_000)).await.unwrap();
    assert_eq!((record.charge, record.beyond.billed_ms), (micros("0.005"), 100_000));
    let told = record.beyond.explanation.join("\n");
    for line in ["grant spring: the first 70 s", "30 s × 0.0300 USD", "grant welcome pays 0.0200 USD of it", "charge 0.0050 USD"] {
        assert!(told.contains(line), "{line} in\n{told}");
    }
    let parts: Vec<_> = record.beyond.grants.iter().map(|part| (part.bucket.to_string(), part.amount)).collect();
    assert_eq!(parts, [("seconds:spring".to_owned(), 70_000), ("money:welcome".to_owned(), 20_000)]);
    assert!(record.beyond.ledger.contains(&format!("leg:{leg}:grant:welcome")), "{:?}", record.beyond.ledger);
    assert_eq!(bench.balance("aurora").await.available, micros("0.995"));
    assert_eq!(booked(&bench, Kind::Earnings).await, micros("0.025"));
    assert_eq!((booked(&bench, Kind::Promo).await, booked(&bench, Kind::Grant).await), (micros("-0.02"), Micros::ZERO));
    assert_eq!(bench.store.record(leg).await.unwrap(), record);
    bench.audited().await;
}

#[tokio::test]
async fn a_grant_lets_in_who_has_no_credit_and_ends_the_call_with_it() {
    let bench = Bench::with_credits("0.0001").await;
    let refused = async || bench.store.open_leg(dial(bench.leg(), LONDON, "studio")).await.unwrap();
    assert_eq!(refused().await, Opened::Refused(Cause::NoCredit));
    let elsewhere = Filter { countries: vec!["FR".parse().unwrap()], ..Filter::default() };
    give(&bench, [NewGrant { filter: elsewhere, ..seconds("abroad", 600) }]).await;
    assert_eq!(refused().await, Opened::Refused(Cause::NoCredit), "it is for other calls");
    give(&bench, [seconds("spring", 61)]).await;
    let leg = begin(&bench, LONDON).await;
    let last = grant(bench.store.extend(next(leg, 1, 50_000)).await.unwrap());
    assert_eq!((last.until_ms, last.is_final), (61_000, true));
    assert_eq!(bench.store.extend(next(leg, 2, 55_000)).await.unwrap(), Opened::Refused(Cause::NoCredit));
    // What comes in mid-call is seen at once.
    give(&bench, [money("rescue", "0.05")]).await;
    let more = grant(bench.store.extend(next(leg, 3, 56_000)).await.unwrap());
    assert_eq!((more.until_ms, more.is_final), (121_000, false));
    bench.store.settle(leg, over(61_000)).await.unwrap();
    assert_eq!(counters(&bench).await[1..], [("rescue".into(), [0, 0, 0, 50_000]), ("spring".to_owned(), [61_000, 0, 0, 0])]);
    bench.audited().await;
}

#[tokio::test]
async fn what_was_never_answered_gives_all_back_and_a_crash_forgets_nothing() {
    let bench = Bench::new().await;
    give(&bench, [money("welcome", "0.02"), seconds("spring", 30)]).await;
    let before = counters(&bench).await;
    let leg = bench.leg();
    grant(bench.store.open_leg(dial(leg, LONDON, "studio")).await.unwrap());
    assert_ne!(counters(&bench).await, before);
    bench.store.settle(leg, over(0)).await.unwrap();
    assert_eq!(counters(&bench).await, before);
    let leg = begin(&bench, LONDON).await;
    let held = counters(&bench).await;
    let bench = bench.reopened().await;
    assert_eq!(counters(&bench).await, held);
    bench.audited().await;
    let record = bench.store.settle(leg, over(31_000)).await.unwrap();
    assert_eq!((record.charge, counters(&bench).await[0].1), (Micros::ZERO, [30_000, 0, 0, 0]));
    assert_eq!(counters(&bench).await[1].1, [10_500, 0, 0, 9_500]);
    bench.audited().await;
}

#[tokio::test]
async fn what_is_left_of_a_grant_lapses_once_when_it_is_over() {
    for (source, to) in [(Source::Promo, Kind::Promo), (Source::Paid, Kind::Breakage)] {
        let bench = Bench::new().await;
        let until = Some(NOON.plus_millis(90_000));
        give(&bench, [NewGrant { source, until, ..money("welcome", "0.50") }, NewGrant { until, ..seconds("spring", 40) }]).await;
        let leg = begin(&bench, LONDON).await;
        go_on(&bench, leg, 130_000).await;
        // 40 s in time; up to its end at 90 s, 50 s cost 0.035 of money; the rest is credits'.
        assert_eq!(counters(&bench).await[1], ("welcome".to_owned(), [0, 35_000, 0, 465_000]));
        assert_eq!(bench.balance("aurora").await.held, micros("0.045"));
        let late = |key, s: u64| Funds { at: NOON.plus_millis(s * 1_000), ..funds(key, "1.00") };
        bench.store.add_credits(late("first", 91)).await.unwrap();
        bench.store.add_credits(late("second", 92)).await.unwrap();
        assert_eq!(counters(&bench).await[1].1, [0, 35_000, 465_000, 0], "what is held stays");
        bench.audited().await;
        bench.store.settle(leg, over(70_000)).await.unwrap();
        // Settled before its end, by the call's own clock: what comes back is good until then.
        assert_eq!(counters(&bench).await[1].1, [25_000, 0, 465_000, 10_000]);
        bench.store.add_credits(late("third", 93)).await.unwrap();
        assert_eq!(counters(&bench).await[1].1, [25_000, 0, 475_000, 0]);
        assert_eq!(booked(&bench, Kind::Grant).await, Micros::ZERO);
        let due = if source == Source::Promo { "-0.025" } else { "0.475" };
        assert_eq!(booked(&bench, to).await, micros(due));
        bench.audited().await;
    }
}

#[tokio::test]
async fn a_grant_is_given_once_and_ended_once() {
    let bench = Bench::new().await;
    let store = bench.store.by(Who { name: "paola".to_owned(), door: TrailDoor::Cli, role: None, organisation: None });
    let given = store.add_grant(money("welcome", "0.50")).await.unwrap();
    let GrantAdded::Booked(first) = given else { panic!("{given:?}") };
    let later = NewGrant { at: NOON.plus_millis(5), ..money("welcome", "0.50") };
    assert_eq!(store.add_grant(later).await.unwrap(), GrantAdded::Repeated(first));
    for other in [
        money("welcome", "0.60"),
        seconds("welcome", 500),
        NewGrant { priority: 1, ..money("welcome", "0.50") },
        NewGrant { source: Source::Paid, ..money("welcome", "0.50") },
        NewGrant { organisation: "borealis".parse().unwrap(), ..money("welcome", "0.50") },
        NewGrant { amount: 0, ..money("nothing", "0.50") },
        NewGrant { amount: u64::MAX, ..money("everything", "0.50") },
        NewGrant { until: Some(NOON), ..money("over", "0.50") },
        NewGrant { from: Some(NOON.plus_millis(2)), until: Some(NOON.plus_millis(1)), ..money("backwards", "0.50") },
        NewGrant { filter: Filter { prefixes: vec!["x".into()], ..Filter::default() }, ..money("nowhere", "0.50") },
        NewGrant { memo: "x".repeat(401), ..money("long", "0.50") },
    ] {
        let refused = store.add_grant(other).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    }
    assert!(matches!(store.add_grant(NewGrant { organisation: "nobody".parse().unwrap(), ..seconds("x", 1) }).await, Err(StoreError::Unknown(_))));
    let leg = begin(&bench, LONDON).await;
    let end = |organisation: &str, ms| EndGrant {
        id: "welcome".parse().unwrap(),
        organisation: organisation.parse().unwrap(),
        at: NOON.plus_millis(ms),
    };
    assert!(matches!(store.end_grant(end("borealis", 1_000)).await, Err(StoreError::Unknown(_))));
    let ended = store.end_grant(end("aurora", 1_000)).await.unwrap();
    assert_eq!((ended.held, ended.lapsed, ended.grant.until), (40_000, 460_000, Some(NOON.plus_millis(1_000))));
    assert_eq!(store.end_grant(end("aurora", 2_000)).await.unwrap(), ended);
    assert_eq!(grant(store.extend(next(leg, 1, 50_000)).await.unwrap()).until_ms, 120_000);
    assert_eq!(counters(&bench).await[0].1, [0, 40_000, 460_000, 0], "credits pay what comes after its end");
    store.settle(leg, over(120_000)).await.unwrap();
    bench.audited().await;
    let told = bench.store.trail(&TrailFilter::default()).await.unwrap();
    let done = told.iter().filter(|row| !row.detail.contains("refused"));
    let verbs: Vec<_> = done.map(|row| (&*row.who, &*row.verb)).collect();
    assert_eq!(verbs[1..], [("paola", "grant-add"), ("paola", "grant-end")]);
    let many: Vec<_> = (0..super::super::grant::MOST).map(|n| seconds(&format!("many-{n}"), 1)).collect();
    give(&bench, many).await;
    assert!(matches!(store.add_grant(seconds("one-more", 1)).await.unwrap(), GrantAdded::TooMany { .. }));
}

#[tokio::test]
async fn a_refund_gives_back_to_grants_and_opens_one_that_is_over() {
    let bench = Bench::new().await;
    let until = Some(NOON.plus_millis(3_600_000));
    give(&bench, [money("welcome", "0.02"), NewGrant { until, ..seconds("spring", 70) }]).await;
    let before = (counters(&bench).await, bench.balance("aurora").await);
    let record = talk(&bench, LONDON, 130_000).await;
    let back = |amount: Option<&str>, key: &str, ms| Refund {
        leg: record.usage_id,
        amount: amount.map(micros),
        key: key.to_owned(),
        reason: "bad line".to_owned(),
        at: NOON.plus_millis(ms),
    };
    bench.store.refund(back(Some("0.01"), "part", 200_000)).await.unwrap();
    assert_eq!(counters(&bench).await[0].1, [70_000, 0, 0, 0], "a part is of the credits");
    bench.audited().await;
    let whole = bench.store.refund(back(None, "whole", 4_000_000)).await.unwrap();
    let Corrected::Booked(whole) = whole else { panic!("{whole:?}") };
    assert_eq!(crate::rating::grant::parts_line(&whole.grants), "[[\"seconds:spring\",70000],[\"money:welcome\",20000]]");
    assert_eq!(bench.store.corrections(&UsageFilter::default()).await.unwrap()[1], whole);
    let after = counters(&bench).await;
    assert_eq!((&after, bench.balance("aurora").await), (&before.0, before.1));
    let rows = bench.store.grants(&"aurora".parse().unwrap(), true).await.unwrap();
    let spring = rows.iter().find(|row| row.grant.unit == Unit::Seconds).unwrap();
    assert_eq!(spring.grant.until, Some(NOON.plus_millis(4_000_000 + 30 * 86_400_000)), "it can be used");
    bench.audited().await;
    let again = bench.store.refund(back(None, "again", 5_000_000)).await.unwrap();
    assert_eq!(again, Corrected::TooMuch { left: Micros::ZERO });
    bench.audited().await;
}

#[tokio::test]
async fn priced_again_for_less_credits_come_back_first_then_grants() {
    let bench = Bench::new().await;
    give(&bench, [money("welcome", "0.05")]).await;
    // 2 minutes: 0.07.
    let record = talk(&bench, LONDON, 120_000).await;
    assert_eq!((record.charge, counters(&bench).await[0].1), (micros("0.02"), [50_000, 0, 0, 0]));
    let bring = async |rate: &str| {
        let list = RATES.replace("0.0300,0.0100,1,1", rate);
        let document = Document::parse("demo.toml", FILE, |_| Ok(list.clone())).unwrap();
        bench.store.apply(document, NOON).await.unwrap().unwrap();
    };
    let again = async |key: &str| {
        let told = bench.store.rerate(&Which::Leg(record.usage_id), Some((key, "dear")), NOON).await.unwrap();
        bench.audited().await;
        told.amount
    };
    bring("0.0100,0.0100,1,1").await;
    assert_eq!(again("cheaper").await, micros("-0.02"));
    assert_eq!(counters(&bench).await[0].1, [30_000, 0, 0, 20_000]);
    // Dearer again: what a grant has had back is others'.
    bring("0.0200,0.0100,1,1").await;
    assert_eq!(again("dearer").await, micros("0.02"));
    assert_eq!(counters(&bench).await[0].1, [30_000, 0, 0, 20_000]);
    let whole = Refund { leg: record.usage_id, amount: None, key: "w".into(), reason: "r".into(), at: NOON };
    bench.store.refund(whole).await.unwrap();
    assert_eq!((counters(&bench).await[0].1, bench.balance("aurora").await.available), ([0, 0, 0, 50_000], micros("1.00")));
    bench.audited().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_for_seven_lets_exactly_seven_of_fifty_in() {
    let bench = Bench::with_credits("0.0001").await;
    give(&bench, [seconds("spring", 7 * 60)]).await;
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let (store, leg) = (bench.store.clone(), bench.leg());
        tasks.spawn(async move { store.open_leg(dial(leg, ITALY, "studio")).await.unwrap() });
    }
    let told = tasks.join_all().await;
    assert_eq!(told.iter().filter(|opened| matches!(opened, Opened::Granted(_))).count(), 7);
    assert_eq!(counters(&bench).await[0].1, [0, 420_000, 0, 0]);
    bench.audited().await;
}

#[tokio::test]
async fn the_pool_comes_before_grants_and_a_quote_knows_all() {
    let spending = FILE
        .replace("licences = [\"audio-conferencing\"]", "licences = [\"audio-conferencing\", \"communications-credits\"]")
        .replace("time_zone = \"America/New_York\"", "time_zone = \"America/New_York\"\ncredits = \"1.00\"");
    let bench = Bench::empty().await;
    bench.apply(&spending).await.unwrap();
    give(&bench, [NewGrant { organisation: "borealis".parse().unwrap(), ..seconds("spring", 30) }]).await;
    let quote = |minutes| QuoteRequest {
        organiser: "carol".parse().unwrap(),
        call_type: CallType::DialOut,
        number: number(LONDON),
        caller: None,
        minutes,
        now: NOON,
    };
    let quoted = bench.store.quote(&quote(61)).await.unwrap().unwrap();
    assert_eq!((quoted.pool_used_ms, quoted.charge), (3_600_000, micros("0.025")), "30 s in money, and the fee");
    let leg = bench.leg();
    let mut until = grant(bench.store.open_leg(dial(leg, LONDON, "watch")).await.unwrap()).until_ms;
    bench.store.answered(answer(leg)).await.unwrap();
    let mut sequence = 1;
    while until < 3_660_000 {
        until = grant(bench.store.extend(next(leg, sequence, until - 10_000)).await.unwrap()).until_ms;
        sequence += 1;
    }
    let record = bench.store.settle(leg, over(3_660_000)).await.unwrap();
    assert_eq!((record.charge, record.beyond.explanation), (quoted.charge, quoted.lines));
    bench.audited().await;
}

#[tokio::test]
async fn a_grant_that_runs_out_is_told_once_at_each_step() {
    let bench = Bench::empty().await;
    bench.apply(&format!("{FILE}\n").replace("credits = \"1.00\"\n", "credits = \"1.00\"\n[organisation.alerts]\nemails = [\"a@aurora.example\"]\n")).await.unwrap();
    give(&bench, [seconds("spring", 150)]).await;
    let told = async || {
        let alerts = bench.store.alerts(None, 1_000).await.unwrap().alerts;
        let mut kinds: Vec<String> = alerts.iter().map(|view| view.alert.kind.to_string()).collect();
        kinds.sort_unstable();
        kinds
    };
    let leg = begin(&bench, LONDON).await;
    assert_eq!(told().await, Vec::<String>::new());
    grant(bench.store.extend(next(leg, 1, 50_000)).await.unwrap());
    assert_eq!(told().await, ["grant-80"]);
    grant(bench.store.extend(next(leg, 2, 110_000)).await.unwrap());
    assert_eq!(told().await, ["grant-100", "grant-80"]);
    bench.store.settle(leg, over(10_000)).await.unwrap();
    talk(&bench, LONDON, 170_000).await;
    assert_eq!(told().await, ["grant-100", "grant-80"], "once");
    bench.audited().await;
}

#[tokio::test]
async fn what_has_expired_is_taken_back_though_nobody_calls() {
    let bench = Bench::new().await;
    let until = Some(NOON.plus_millis(1_000));
    give(&bench, [NewGrant { until, ..seconds("spring", 150) }, money("welcome", "0.50")]).await;
    assert_eq!(bench.store.expire(NOON.plus_millis(999)).await.unwrap(), 0);
    assert_eq!(bench.store.expire(NOON.plus_millis(1_000)).await.unwrap(), 1);
    assert_eq!(counters(&bench).await[0].1, [0, 0, 150_000, 0]);
    assert_eq!(bench.store.expire(NOON.plus_millis(2_000)).await.unwrap(), 0, "once");
    bench.audited().await;
    // Fundings too, which are good for a year.
    assert_eq!(bench.store.expire(NOON.plus_millis(366 * 86_400_000)).await.unwrap(), 1);
    assert_eq!((bench.balance("aurora").await.posted, counters(&bench).await[1].1[3]), (Micros::ZERO, 500_000));
    bench.audited().await;
}
