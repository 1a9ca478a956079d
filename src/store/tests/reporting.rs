//! Reports, statements and carriers' files, from books that were lived in.

use super::*;
use crate::rating::report::statement::{Draft, Heading, Pool};
use crate::rating::report::{Excess, Period, Statement};
use std::convert::Infallible;

/// Aurora pays for calls in and out, one by one; one is settled by a later life, one costs nothing, one still talks.
async fn lived_in() -> Bench {
    let bench = Bench::with_credits("25.00").await;
    let store = &bench.store;
    for n in 0..5_u64 {
        let leg = bench.leg();
        let asked = if n % 2 == 0 { toll(leg) } else { dial(leg, "+447700900123", "studio") };
        grant(store.open_leg(asked).await.unwrap());
        store.answered(answer(leg)).await.unwrap();
        if n < 4 {
            store.settle(leg, over(10_000 + n * 13_333)).await.unwrap();
        }
    }
    let unanswered = bench.leg();
    grant(store.open_leg(toll(unanswered)).await.unwrap());
    store.settle(unanswered, End::new(Cause::Busy, EndedBy::FarSide, 0, NOON)).await.unwrap();
    store.add_credits(funds("by-hand", "3")).await.unwrap();
    store.add_credits(funds("taken", "-1.5")).await.unwrap();
    bench.audited().await;
    bench
}

async fn statement(store: &Store, month: &str) -> Statement {
    let facts = store.facts();
    let own = &facts.organisations[&"aurora".parse::<OrganisationId>().unwrap()];
    let period = Period::month(&own.time_zone, month).unwrap();
    let times = (period.from.unwrap(), period.to.unwrap());
    let (name, country, currency) = (own.name.clone(), own.country, own.currency);
    let month = month.to_owned();
    let made = period.to.unwrap();
    let mut draft = Draft::new(Heading { organisation: own.id.clone(), name, country, currency, period, month, made });
    let visit = |row: MonthRow| match row {
        MonthRow::Entry(entry) => draft.entry(&entry),
        MonthRow::Record(record) => draft.record(&record),
    };
    store.each_of_month(&own.id, times, visit).await.unwrap().unwrap();
    draft.finish(Pool::default()).unwrap()
}

/// 16 June 2026 is noon of the suite.
#[tokio::test]
async fn a_statement_ties_to_the_ledger_to_the_millionth() {
    let bench = lived_in().await;
    let june = statement(&bench.store, "2026-06").await;
    let balance = bench.balance("aurora").await;
    let (into, out) = june.sums().unwrap();
    assert_eq!(june.opening.0 + into.0 - out.0, june.closing.0);
    assert_eq!((june.opening, june.closing, june.held), (Micros::ZERO, balance.posted, balance.held));
    assert!(june.held > Micros::ZERO && out > micros("1.5"), "{june:?}");
    // What the records say is what the ledger took, whichever way it is cut.
    let charges = -june.movement(crate::rating::report::balance::Flow::Charge).amount.0;
    assert_eq!((june.total.charge.0, june.unexplained), (charges, Micros::ZERO));
    for groups in [&june.by_capability, &june.by_country, &june.by_organiser, &june.by_day] {
        assert_eq!(groups.iter().map(|(_, sums)| sums.charge.0).sum::<i64>(), charges);
        assert_eq!(groups.iter().map(|(_, sums)| sums.legs).sum::<u64>(), 5);
    }
    assert_eq!(june.rounding.charged.0, charges);
    let july = statement(&bench.store, "2026-07").await;
    assert_eq!((july.opening, july.closing, july.total.legs), (june.closing, june.closing, 0));
    assert_eq!(statement(&bench.store, "2026-05").await.closing, Micros::ZERO);
}

/// A leg that ended in one month and was settled, by a later life, in the next is charged in the next.
#[tokio::test]
async fn what_the_next_life_settles_is_of_the_month_in_which_it_was_charged() {
    let bench = Bench::with_credits("25.00").await;
    let leg = bench.leg();
    grant(bench.store.open_leg(toll(leg)).await.unwrap());
    bench.store.answered(answer(leg)).await.unwrap();
    bench.store.prove_life(vec![(leg, 5_000)]).await.unwrap();
    let bench = bench.reopened().await;
    let later = Wall::from_seconds(NOON.seconds() + 20 * 86_400);
    assert_eq!(bench.store.recover(later).await.unwrap().len(), 1);
    let (june, july) = (statement(&bench.store, "2026-06").await, statement(&bench.store, "2026-07").await);
    assert_eq!((june.total.legs, june.unexplained, june.closing), (0, Micros::ZERO, micros("25")));
    assert_eq!((july.total.legs, july.total.charge, july.unexplained), (1, micros("0.01"), Micros::ZERO));
    assert_eq!(july.closing, micros("24.99"));
}

#[tokio::test]
async fn records_are_walked_as_they_are_listed_and_a_refusal_ends_the_walk() {
    let bench = lived_in().await;
    let filter = UsageFilter { organisation: "aurora".parse().ok(), ..UsageFilter::default() };
    let mut seen = Vec::new();
    let walked = bench.store.each_record(&filter, |record| {
        seen.push(record);
        Ok::<(), Infallible>(())
    });
    let Ok(()) = walked.await.unwrap();
    assert_eq!(seen, bench.store.usage(&filter).await.unwrap());
    let mut steps = 0;
    let walked = bench.store.each_record(&filter, |_| {
        steps += 1;
        Err(Excess::Rows)
    });
    assert_eq!((walked.await.unwrap(), steps), (Err(Excess::Rows), 1));
}

#[tokio::test]
async fn a_carriers_file_is_remembered_once_and_what_it_charged_is_known() {
    let bench = lived_in().await;
    let (store, carrier) = (&bench.store, "local".parse().unwrap());
    let all = (Wall::from_micros(0), Wall::from_micros(i64::MAX));
    let ours = store.legs_by(&carrier, all, "one").await.unwrap();
    assert_eq!(ours.len(), 5);
    assert_eq!(ours.iter().filter(|leg| leg.answered.is_some()).count(), 4);
    assert!(ours.iter().all(|leg| !leg.charged_before && !leg.call_id.is_empty() && leg.called.starts_with(['3', '4'])));
    let file = |hash: &str, legs: &[crate::rating::reconcile::Ours]| Reconciled {
        hash: hash.into(),
        carrier: "local".parse().unwrap(),
        file: "june.csv".into(),
        at: NOON,
        theirs: 2,
        matched: 2,
        differences: 0,
        legs: legs.iter().flat_map(|call| call.legs.clone()).collect(),
    };
    assert_eq!(store.reconciled_at("one").await.unwrap(), None);
    assert!(store.remember(file("one", &ours[..2])).await.unwrap());
    assert!(!store.remember(file("one", &ours[..2])).await.unwrap(), "the same file again is no other");
    assert_eq!(store.reconciled_at("one").await.unwrap(), Some(NOON));
    let marked = |legs: Vec<crate::rating::reconcile::Ours>| legs.iter().filter(|leg| leg.charged_before).count();
    assert_eq!(marked(store.legs_by(&carrier, all, "one").await.unwrap()), 0, "its own charges are no other file's");
    assert_eq!(marked(store.legs_by(&carrier, all, "two").await.unwrap()), 2);
    assert!(store.remember(file("two", &ours[1..])).await.unwrap());
    assert_eq!(marked(store.legs_by(&carrier, all, "two").await.unwrap()), 2, "the first file's");
    assert_eq!(store.legs_by(&"nobody".parse().unwrap(), all, "one").await.unwrap(), []);
    bench.audited().await;
}
