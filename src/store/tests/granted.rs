//! Limits on spending count what a call costs, whoever gave the money: credits and money of grants alike.

use super::fraud::{crowded, limited};
use super::granting::gift;
use super::*;
use crate::rating::grant::{Unit, granted_money};

const BRITAIN: &str = "+447700900123";

async fn give(bench: &Bench, id: &str, unit: Unit, amount: u64) {
    let added = bench.store.add_grant(gift(id, unit, amount)).await.unwrap();
    assert!(matches!(added, GrantAdded::Booked(_)), "{added:?}");
}

/// A call that talks until it may not: how long that is, and why.
async fn talk_on(bench: &Bench) -> (LegId, u64, Cause) {
    let leg = bench.leg();
    let mut until_ms = grant(bench.store.open_leg(dial(leg, BRITAIN, "studio")).await.unwrap()).until_ms;
    bench.store.answered(answer(leg)).await.unwrap();
    for sequence in 1..100 {
        match bench.store.extend(next(leg, sequence, until_ms)).await.unwrap() {
            Opened::Granted(grant) => until_ms = grant.until_ms,
            Opened::Refused(cause) => return (leg, until_ms, cause),
            Opened::NoPayerYet => unreachable!("it has a payer"),
        }
    }
    panic!("a hundred slices, and none was refused")
}

/// Each limit, with grants that pay all of it, and with grants that pay a part of it.
#[tokio::test]
async fn money_of_grants_counts_towards_each_limit() {
    let table = [
        ("max_spend_per_day = \"0.50\"", "", Cause::SpendLimit),
        ("max_spend_first_day = \"0.50\"", "", Cause::FirstDayLimit),
        ("organiser_spend_per_day = \"0.50\"", "", Cause::OrganiserSpendLimit),
        ("meeting_spend_per_day = \"0.50\"", "", Cause::MeetingSpendLimit),
        ("", "max_spend_per_day = \"0.50\"", Cause::CarrierSpendLimit),
    ];
    for (limits, carrier, limit) in table {
        for granted in [100_000_000, 200_000] {
            let bench = Bench::empty().await;
            bench.apply(&crowded(limits, carrier)).await.unwrap();
            give(&bench, "welcome", Unit::Money, granted).await;
            let (cost, cause) = bench.talk_until_cut(|leg| dial(leg, BRITAIN, "studio")).await;
            assert_eq!(cause, limit);
            assert!(cost <= micros("0.50") && cost > micros("0.40"), "{limit}, {granted}: {cost}");
            let refused = bench.store.open_leg(dial(bench.leg(), BRITAIN, "studio")).await.unwrap();
            assert_eq!(refused, Opened::Refused(limit), "{granted}");
            bench.audited().await;
            let bench = bench.reopened().await;
            let refused = bench.store.open_leg(dial(bench.leg(), BRITAIN, "studio")).await.unwrap();
            assert_eq!(refused, Opened::Refused(limit), "another life knows it too");
            bench.audited().await;
        }
    }
}

#[tokio::test]
async fn a_leg_spends_no_more_than_its_own_limit_whoever_pays() {
    for granted in [100_000_000, 50_000] {
        let bench = Bench::empty().await;
        bench.apply(&limited("max_spend_per_leg = \"0.10\"")).await.unwrap();
        give(&bench, "welcome", Unit::Money, granted).await;
        let (leg, until_ms, cause) = talk_on(&bench).await;
        assert_eq!(cause, Cause::SpendLimit);
        // 0.01 and 0.03 a minute.
        assert_eq!(until_ms, 180_000);
        let record = bench.store.settle(leg, over(until_ms)).await.unwrap();
        assert_eq!(record.charge.0 + granted_money(&record.beyond.grants).0, 100_000);
        bench.audited().await;
    }
}

/// What grants have back is room again, whole or in part; what legs hold of them and do not use, likewise.
#[tokio::test]
async fn what_comes_back_to_grants_is_room_again() {
    let bench = Bench::empty().await;
    bench.apply(&crowded("meeting_spend_per_day = \"0.08\"\nmax_spend_per_day = \"0.08\"", "")).await.unwrap();
    give(&bench, "welcome", Unit::Money, 50_000).await;
    let talk = async |to: &str| {
        let leg = bench.leg();
        let opened = bench.store.open_leg(dial(leg, to, "studio")).await.unwrap();
        bench.store.answered(answer(leg)).await.unwrap();
        (leg, opened)
    };
    // 0.04 each.
    let (first, opened) = talk(BRITAIN).await;
    grant(opened);
    bench.store.settle(first, over(60_000)).await.unwrap();
    let (second, opened) = talk(BRITAIN).await;
    grant(opened);
    assert!(matches!(talk(BRITAIN).await.1, Opened::Refused(Cause::SpendLimit | Cause::MeetingSpendLimit)));
    bench.audited().await;
    // A second of it: 0.0105 in all.
    bench.store.settle(second, over(1_000)).await.unwrap();
    let (third, opened) = talk(BRITAIN).await;
    assert_eq!(grant(opened).until_ms, 39_000, "0.0295 is left");
    bench.store.settle(third, over(39_000)).await.unwrap();
    bench.audited().await;
    let back = Refund { leg: first, amount: None, key: "k".into(), reason: "r".into(), at: NOON };
    assert!(matches!(bench.store.refund(back).await.unwrap(), Corrected::Booked(_)));
    bench.audited().await;
    grant(talk(BRITAIN).await.1);
    bench.audited().await;
}

/// Time is no money: grants of seconds count towards nothing, and neither does the pool.
#[tokio::test]
async fn seconds_of_grants_count_towards_no_limit() {
    let bench = Bench::empty().await;
    bench.apply(&crowded("max_spend_per_day = \"0.05\"\nmeeting_spend_per_day = \"0.05\"", "")).await.unwrap();
    give(&bench, "spring", Unit::Seconds, 600_000).await;
    let (leg, until_ms, cause) = talk_on(&bench).await;
    assert!(matches!(cause, Cause::SpendLimit | Cause::MeetingSpendLimit));
    // Ten minutes of time, then 0.05 of money: 0.01 and 80 seconds.
    assert_eq!(until_ms, 680_000);
    bench.store.settle(leg, over(until_ms)).await.unwrap();
    bench.audited().await;
}

/// A leg that grants pay does not ask how much credit there is, not even where the overdraft has been used.
#[tokio::test]
async fn a_debt_keeps_no_grant_from_paying() {
    let finish = "credits = \"0.04\"\non_empty = \"finish\"\noverdraft = \"1.00\"";
    let bench = Bench::empty().await;
    bench.apply(&FILE.replacen("credits = \"1.00\"", finish, 1)).await.unwrap();
    let first = bench.leg();
    grant(bench.store.open_leg(dial(first, BRITAIN, "studio")).await.unwrap());
    bench.store.answered(answer(first)).await.unwrap();
    grant(bench.store.extend(next(first, 1, 50_000)).await.unwrap());
    bench.store.settle(first, over(120_000)).await.unwrap();
    assert!(bench.balance("aurora").await.posted < Micros::ZERO);
    give(&bench, "welcome", Unit::Money, 500_000).await;
    let second = bench.leg();
    grant(bench.store.open_leg(dial(second, BRITAIN, "studio")).await.unwrap());
    bench.audited().await;
    bench.store.settle(second, over(0)).await.unwrap();
    bench.audited().await;
}
