//! In which order a leg uses pool, grants and credits, against a small model of its own: it walks the call second by
//! second and asks at each who pays, and knows nothing of holds.

use super::granting::gift;
use super::*;
use crate::rating::grant::{Filter, Source, Unit};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// 0.01, and 0.03 a minute by the second: half a thousandth each.
const LONDON: &str = "+442079460123";
const FEE: u64 = 10_000;
const A_SECOND: u64 = 500;

/// A grant as the model knows it.
#[derive(Clone, Debug)]
struct Gift {
    number: usize,
    is_time: bool,
    /// Seconds, or so many of money's.
    amount: u64,
    priority: u16,
    /// Seconds after the answer.
    until: Option<u64>,
    is_paid: bool,
    /// Given so many seconds before the call.
    age: u64,
    /// Which filter of [`filters`].
    filter: usize,
}

/// Filters, and whether calls to London are meant.
fn filters() -> Vec<(Filter, bool)> {
    let none = Filter::default;
    vec![
        (none(), true),
        (Filter { prefixes: vec!["39".into(), "4420".into()], ..none() }, true),
        (Filter { prefixes: vec!["39".into()], ..none() }, false),
        (Filter { countries: vec!["GB".parse().unwrap()], ..none() }, true),
        (Filter { countries: vec!["FR".parse().unwrap()], ..none() }, false),
        (Filter { call_types: vec![CallType::DialOut], zone_a: true, ..none() }, true),
        (Filter { call_types: vec![CallType::DialInTollFree], ..none() }, false),
    ]
}

fn gifts() -> impl Strategy<Value = Vec<Gift>> {
    let until = proptest::option::of(prop_oneof![Just(60_u64), Just(90), 1_u64..400]);
    let gift = (any::<bool>(), 1_u64..150, 0_u16..3, until, any::<bool>(), 0_u64..3, 0_usize..7);
    let one = gift.prop_map(|(is_time, amount, priority, until, is_paid, age, filter)| Gift {
        number: 0,
        is_time,
        amount,
        priority,
        until,
        is_paid,
        age,
        filter,
    });
    proptest::collection::vec(one, 0..7).prop_map(|mut gifts| {
        gifts.iter_mut().enumerate().for_each(|(number, gift)| gift.number = number);
        gifts
    })
}

/// What each grant, the pool and credits pay of a call of so many seconds: seconds, seconds, and money.
fn model(gifts: &[Gift], mut pool: u64, seconds: u64) -> (BTreeMap<usize, u64>, u64, u64) {
    let mut left: Vec<Gift> = gifts.iter().filter(|gift| filters()[gift.filter].1).cloned().collect();
    // The lower priority, what ends sooner, gifts of the house, the older, the name.
    left.sort_by_key(|gift| {
        (gift.priority, gift.until.unwrap_or(u64::MAX), gift.is_paid, u64::MAX - gift.age, gift.number)
    });
    let mut used = BTreeMap::new();
    let (mut of_pool, mut credits) = (0, 0);
    let mut is_in_money = false;
    for second in 0..seconds {
        if !is_in_money && pool > 0 {
            (pool, of_pool) = (pool - 1, of_pool + 1);
            continue;
        }
        let good = |gift: &&mut Gift| gift.amount > 0 && gift.until.is_none_or(|until| second < until);
        if !is_in_money && let Some(gift) = left.iter_mut().filter(|gift| gift.is_time).find(good) {
            gift.amount -= 1;
            *used.entry(gift.number).or_default() += 1_000;
            continue;
        }
        let mut price = A_SECOND + if is_in_money { 0 } else { FEE };
        if !is_in_money {
            left.iter_mut().filter(|gift| !gift.is_time).for_each(|gift| gift.amount *= A_SECOND);
        }
        is_in_money = true;
        while let Some(gift) = left.iter_mut().filter(|gift| !gift.is_time).find(good).filter(|_| price > 0) {
            let part = gift.amount.min(price);
            (gift.amount, price) = (gift.amount - part, price - part);
            *used.entry(gift.number).or_default() += part;
        }
        credits += price;
    }
    (used, of_pool, credits)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn who_pays_is_what_a_small_model_says(
        gifts in gifts(), pool in proptest::option::of(0_u64..100), seconds in 1_u64..400,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let spending = FILE
                .replace("licences = [\"audio-conferencing\"]", "licences = [\"audio-conferencing\", \"communications-credits\"]")
                .replace("time_zone = \"America/New_York\"", "time_zone = \"America/New_York\"\ncredits = \"1.00\"");
            let bench = Bench::empty().await;
            bench.apply(&spending).await.unwrap();
            let (payer, meeting) = if pool.is_some() { ("borealis", "watch") } else { ("aurora", "studio") };
            let talk = async |seconds: u64| {
                let leg = bench.leg();
                let mut until = grant(bench.store.open_leg(dial(leg, LONDON, meeting)).await.unwrap()).until_ms;
                bench.store.answered(answer(leg)).await.unwrap();
                let mut sequence = 1;
                while until < seconds * 1_000 {
                    until = grant(bench.store.extend(next(leg, sequence, until.saturating_sub(10_000))).await.unwrap()).until_ms;
                    sequence += 1;
                }
                bench.store.settle(leg, over(seconds * 1_000)).await.unwrap()
            };
            if let Some(pool) = pool {
                talk(3_600 - pool).await;
            }
            for one in &gifts {
                let (unit, amount) =
                    if one.is_time { (Unit::Seconds, one.amount * 1_000) } else { (Unit::Money, one.amount * A_SECOND) };
                let given = NewGrant {
                    organisation: payer.parse().unwrap(),
                    priority: one.priority,
                    until: one.until.map(|until| NOON.plus_millis(until * 1_000)),
                    source: if one.is_paid { Source::Paid } else { Source::Promo },
                    filter: filters()[one.filter].0.clone(),
                    at: Wall::from_micros(NOON.micros() - i64::try_from(one.age).unwrap() * 1_000_000),
                    ..gift(&format!("gift-{}", one.number), unit, amount)
                };
                assert!(matches!(bench.store.add_grant(given).await.unwrap(), GrantAdded::Booked(_)));
            }
            let record = talk(seconds).await;
            let (used, of_pool, credits) = model(&gifts, pool.unwrap_or(0), seconds);
            let told: BTreeMap<usize, u64> = record
                .beyond
                .grants
                .iter()
                .map(|part| (part.bucket.grant().unwrap().as_str()[5..].parse().unwrap(), part.amount))
                .collect();
            assert_eq!(told, used, "{record:?}");
            assert_eq!(record.beyond.pool_used_ms, of_pool * 1_000);
            assert_eq!(record.charge.0, i64::try_from(credits).unwrap());
            for row in bench.store.grants(&payer.parse().unwrap(), true).await.unwrap() {
                let number: usize = row.grant.id.as_str()[5..].parse().unwrap();
                assert_eq!(row.used, used.get(&number).copied().unwrap_or(0), "{row:?}");
            }
            bench.audited().await;
        });
    }
}
