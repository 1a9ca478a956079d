//! Tests of grants: the worked cases that speak of them, and their laws.

use crate::clock::Wall;
use crate::rating::grant::{
    Bucket, Filter, Grant, Means, Part, Source, Unit, in_burn_order, parts_line, parts_of_line,
};
use crate::rating::laws::any_plan;
use crate::rating::terms::PoolSplit;
use crate::rating::{Capability, Funding, SLICE_MS, Settlement, Tab, Terms};
use crate::types::{Cause, E164, Micros};
use proptest::prelude::*;

/// The moment of [`Terms::sample`].
const AT: Wall = Wall::from_seconds(1_700_000_000);

fn grant(id: &str, unit: Unit, left: u64) -> Grant {
    Grant {
        id: id.parse().unwrap(),
        unit,
        amount: left,
        left,
        burn_nanos: 0,
        priority: 0,
        from: Wall::from_seconds(0),
        until: None,
        source: Source::Promo,
        created: Wall::from_seconds(1_600_000_000),
        filter: Filter::default(),
    }
}

pub(super) fn seconds(id: &str, seconds: u64) -> Grant {
    grant(id, Unit::Seconds, seconds * 1_000)
}

pub(super) fn money(id: &str, amount: &str) -> Grant {
    grant(id, Unit::Money, u64::try_from(amount.parse::<Micros>().unwrap().0).unwrap())
}

fn number() -> E164 {
    "+390612345678".parse().unwrap()
}

/// The books beside a tab: credits, pool and grants.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Purse {
    credits: i64,
    pool_ms: u64,
    grants: Vec<Grant>,
}

impl Purse {
    fn of(credits: &str, pool_s: u64, grants: &[Grant]) -> Purse {
        Purse { credits: credits.parse::<Micros>().unwrap().0, pool_ms: pool_s * 1_000, grants: grants.to_vec() }
    }

    fn means(&self, tab: &Tab) -> Means {
        let at = tab.terms.from.plus_millis(tab.held_until_ms.saturating_sub(10_000));
        Means::plain(Micros(self.credits), self.pool_ms).with_grants(&self.grants, &tab.terms, &number(), at)
    }

    /// One slice: until when, and what it took, in words.
    fn hold(&mut self, tab: &mut Tab, slice_ms: u64) -> Result<(u64, String), Cause> {
        let hold = tab.next(&self.means(tab), slice_ms)?;
        for part in &hold.taken {
            match &part.bucket {
                Bucket::Pool => self.pool_ms = self.pool_ms.checked_sub(part.amount).expect("no more than there is"),
                Bucket::Credits => self.credits -= i64::try_from(part.amount).unwrap(),
                Bucket::Seconds(id) | Bucket::Money(id) => {
                    let grant = self.grants.iter_mut().find(|grant| grant.id == *id).unwrap();
                    grant.left = grant.left.checked_sub(part.amount).expect("no more than there is");
                }
            }
        }
        assert!(self.credits >= 0);
        let words: Vec<String> = hold.taken.iter().map(|part| format!("{} {}", part.bucket, part.amount)).collect();
        Ok((hold.until_ms, words.join(", ")))
    }

    fn settle(&mut self, tab: &Tab, elapsed_ms: u64) -> Settlement {
        let settled = tab.settle(Some(elapsed_ms));
        self.credits += settled.release_credit.0;
        self.pool_ms += settled.pool_release_ms;
        for used in &settled.grants {
            let grant = self.grants.iter_mut().find(|grant| Some(&grant.id) == used.bucket.grant()).unwrap();
            grant.left += used.held.checked_sub(used.used).expect("no more than was held");
        }
        settled
    }

    /// A call of `elapsed_ms` in slices of a minute.
    fn call(&mut self, terms: &Terms, elapsed_ms: u64) -> Settlement {
        let mut tab = Tab::new(terms.clone());
        while tab.held_until_ms < elapsed_ms && self.hold(&mut tab, SLICE_MS).is_ok() {}
        self.settle(&tab, elapsed_ms)
    }
}

fn terms(rate: &str, increments_ms: (u64, u64)) -> Terms {
    Terms {
        capability: Capability::Credits,
        ..Terms::sample(Funding::Credits, rate, "0", increments_ms.0, increments_ms.1)
    }
}

fn used(settled: &Settlement) -> Vec<(String, u64)> {
    settled.grants.iter().map(|used| (used.bucket.to_string(), used.used)).collect()
}

fn in_days(days: u64) -> Option<Wall> {
    Some(AT.plus_millis(days * 86_400_000))
}

#[test]
fn case_21_burn_order() {
    let a = Grant { until: in_days(2), ..seconds("a", 60) };
    let b = Grant { until: in_days(10), ..seconds("b", 120) };
    let c = Grant { priority: 1, ..seconds("c", 540) };
    for grants in [[&a, &b, &c], [&c, &b, &a], [&b, &c, &a]] {
        let mut purse = Purse::of("0", 0, &grants.map(Clone::clone));
        let settled = purse.call(&terms("0.10", (60_000, 60_000)), 240_000);
        assert_eq!(
            used(&settled),
            [("seconds:a".to_owned(), 60_000), ("seconds:b".to_owned(), 120_000), ("seconds:c".to_owned(), 60_000)]
        );
        assert_eq!((settled.charge, settled.billed_ms, settled.charged_ms), (Micros::ZERO, 240_000, 240_000));
    }
}

#[test]
fn the_order_has_a_reason_at_each_step() {
    let plain = || seconds("m", 60);
    let order = [
        Grant { until: in_days(9), ..plain() },
        Grant { until: in_days(10), ..plain() },
        Grant { created: Wall::from_seconds(1), ..plain() },
        plain(),
        Grant { id: "n".parse().unwrap(), ..plain() },
        Grant { source: Source::Paid, created: Wall::from_seconds(1), ..plain() },
        Grant { priority: 1, until: in_days(1), ..plain() },
        Grant { until: in_days(1), ..money("a", "1") },
    ];
    let mut shuffled = order.to_vec();
    shuffled.reverse();
    in_burn_order(&mut shuffled);
    assert_eq!(shuffled, order);
}

/// As with the pool: 150 s of a grant, a call of 310 s, then 0.04 a minute.
#[test]
fn case_20_a_grant_ends_in_mid_call() {
    let of = |increments, split| {
        let terms = Terms { pool_split: split, ..terms("0.04", increments) };
        let settled = Purse::of("1", 0, &[seconds("spring", 150)]).call(&terms, 310_000);
        (settled.charge.to_text(), used(&settled)[0].1, settled.billed_ms)
    };
    assert_eq!(of((60_000, 60_000), PoolSplit::Second), ("0.1200".to_owned(), 150_000, 330_000));
    assert_eq!(of((60_000, 60_000), PoolSplit::Increment), ("0.1600".to_owned(), 120_000, 360_000));
    assert_eq!(of((1_000, 1_000), PoolSplit::Second), ("0.1067".to_owned(), 150_000, 310_000));
}

#[test]
fn a_slice_takes_the_last_of_a_grant_and_the_rest_in_credits() {
    let mut purse = Purse::of("1", 0, &[seconds("spring", 73)]);
    let mut tab = Tab::new(terms("0.10", (30_000, 6_000)));
    assert_eq!(purse.hold(&mut tab, SLICE_MS), Ok((60_000, "seconds:spring 60000".into())));
    // 13 s, then a grid of its own: 30 s and three times 6 reach beyond 120 s.
    assert_eq!(purse.hold(&mut tab, SLICE_MS), Ok((121_000, "seconds:spring 13000, credits 80000".into())));
    let settled = purse.settle(&tab, 75_000);
    assert_eq!((settled.charge.to_text().as_str(), settled.release_credit.to_text().as_str()), ("0.0500", "0.0300"));
    assert_eq!((settled.billed_ms, settled.priced_ms), (103_000, 30_000));
    assert_eq!(purse, Purse::of("0.9500", 0, &[Grant { left: 0, ..seconds("spring", 73) }]));
}

#[test]
fn time_and_money_that_are_not_used_go_back_where_they_came_from() {
    let mut purse = Purse::of("1", 0, &[seconds("spring", 50), money("welcome", "0.15")]);
    let before = purse.clone();
    let mut tab = Tab::new(terms("0.10", (60_000, 60_000)));
    assert_eq!(purse.hold(&mut tab, SLICE_MS), Ok((110_000, "seconds:spring 50000, money:welcome 100000".into())));
    assert_eq!(purse.hold(&mut tab, SLICE_MS), Ok((170_000, "money:welcome 50000, credits 50000".into())));
    let mut early = purse.clone();
    let settled = early.settle(&tab, 49_999);
    assert_eq!(used(&settled), [("seconds:spring".to_owned(), 49_999), ("money:welcome".to_owned(), 0)]);
    assert_eq!((early.credits, early.grants[0].left, early.grants[1].left), (1_000_000, 1, 150_000));
    let settled = purse.settle(&tab, 110_001);
    assert_eq!(used(&settled), [("seconds:spring".to_owned(), 50_000), ("money:welcome".to_owned(), 150_000)]);
    assert_eq!((settled.charge.to_text().as_str(), purse.credits), ("0.0500", 950_000));
    assert_eq!(tab.settle(None).charge, Micros::ZERO);
    assert!(tab.settle(None).grants.iter().all(|grant| grant.used == 0));
    assert_eq!(before.grants[1].left, 150_000);
}

#[test]
fn the_pool_then_grants_then_credits_and_each_is_told() {
    let mut terms = Terms::sample(Funding::Pool { then_credits: true }, "0.04", "0.05", 60_000, 60_000);
    let mut purse = Purse::of("1", 150, &[money("welcome", "0.08"), seconds("spring", 13)]);
    let settled = purse.call(&terms, 310_000);
    assert_eq!(
        settled.lines,
        [
            "310 s from answer to end",
            "pool: the first 150 s",
            "grant spring: the next 13 s",
            "credits: rate dial-out +39 Italy (standard), deck 0a1b2c",
            "increments 60 s then 60 s: 147 s brought up to 180 s (3 increments)",
            "180 s × 0.0400 USD a minute / 60 s = 0.1200",
            "connect fee 0.0500 USD",
            "sum 0.1700, rounded half up to 4 places: 0.1700",
            "grant welcome pays 0.0800 USD of it",
            "charge 0.0900 USD",
        ]
    );
    assert_eq!((settled.pool_used_ms, settled.billed_ms, settled.capability), (150_000, 343_000, Capability::Credits));
    let used_up = [money("welcome", "0.08"), seconds("spring", 13)].map(|grant| Grant { left: 0, ..grant });
    assert_eq!(purse, Purse::of("0.9100", 0, &used_up));
    // An organiser without the permission to spend has the pool, and nothing behind it.
    terms.funding = Funding::Pool { then_credits: false };
    let mut purse = Purse::of("1", 150, &[seconds("spring", 600)]);
    assert_eq!(purse.call(&terms, 310_000).charged_ms, 150_000);
    assert_eq!(purse.grants[0].left, 600_000);
}

#[test]
fn a_grant_that_expires_in_mid_call_pays_up_to_that_moment() {
    let until = Some(AT.plus_millis(90_000));
    let mut purse = Purse::of("1", 0, &[Grant { until, ..seconds("spring", 600) }]);
    let settled = purse.call(&terms("0.10", (60_000, 60_000)), 200_000);
    assert_eq!((used(&settled)[0].1, settled.charge.to_text().as_str()), (90_000, "0.2000"));
    // Under increments, the increment that has begun; of money, what the call has cost by then.
    let whole = Terms { pool_split: PoolSplit::Increment, ..terms("0.10", (60_000, 60_000)) };
    let mut purse = Purse::of("1", 0, &[Grant { until, ..seconds("spring", 600) }]);
    assert_eq!(used(&purse.call(&whole, 200_000))[0].1, 120_000);
    let mut purse = Purse::of("1", 0, &[Grant { until, ..money("welcome", "5") }]);
    let settled = purse.call(&terms("0.10", (60_000, 60_000)), 200_000);
    assert_eq!((used(&settled)[0].1, settled.charge.to_text().as_str()), (200_000, "0.2000"));
    let mut poor = Purse::of("0", 0, &[Grant { until, ..seconds("spring", 600) }]);
    assert_eq!(poor.call(&terms("0.10", (60_000, 60_000)), 200_000).charged_ms, 90_000, "and then it is over");
}

#[test]
fn what_comes_in_mid_call_pays_from_there_and_a_grant_that_was_left_is_not_entered_again() {
    let mut tab = Tab::new(terms("0.10", (60_000, 60_000)));
    let mut purse = Purse::of("0.10", 0, &[money("welcome", "0.05")]);
    assert_eq!(purse.hold(&mut tab, SLICE_MS), Ok((60_000, "money:welcome 50000, credits 50000".into())));
    purse.grants[0].left = 1_000_000;
    assert_eq!(purse.hold(&mut tab, SLICE_MS), Err(Cause::NoCredit), "given back by others: for the next leg");
    purse.grants.extend([money("rescue", "1"), seconds("late", 600)]);
    assert_eq!(purse.hold(&mut tab, SLICE_MS), Ok((120_000, "money:rescue 100000".into())));
    let settled = purse.settle(&tab, 61_000);
    assert_eq!(used(&settled), [("money:welcome".to_owned(), 50_000), ("money:rescue".to_owned(), 100_000)]);
    assert_eq!(settled.charge, Micros(50_000));
}

#[test]
fn a_filter_says_which_legs() {
    let terms = Terms { zone_a: false, ..terms("0.10", (60_000, 60_000)) };
    let none = Filter::default();
    for (filter, fits) in [
        (none.clone(), true),
        (Filter { prefixes: vec!["41".into(), "3906".into()], ..none.clone() }, true),
        (Filter { prefixes: vec!["41".into()], ..none.clone() }, false),
        (Filter { countries: vec!["IT".parse().unwrap()], ..none.clone() }, true),
        (Filter { countries: vec!["FR".parse().unwrap()], ..none.clone() }, false),
        (Filter { call_types: vec![crate::rating::CallType::DialInTollFree], ..none.clone() }, false),
        (Filter { zone_a: true, ..none.clone() }, false),
        (Filter { capabilities: vec![Capability::Credits], ..none.clone() }, true),
        (Filter { capabilities: vec![Capability::PayPerMinute], ..none.clone() }, false),
    ] {
        assert_eq!(filter.fits(&terms, &number()), fits, "{filter:?}");
        assert_eq!(Filter::from_line(&filter.to_line()), Ok(filter));
    }
    for bad in ["{\"prefixes\":[\"+39\"]}", "{\"colour\":1}", "{\"countries\":[\"Italy\"]}", "{\"prefixes\":[\"\"]}"] {
        assert!(Filter::from_line(bad).is_err(), "{bad}");
    }
    let many = Filter { prefixes: vec!["39".into(); Filter::MOST + 1], ..none };
    assert!(many.check().is_err());
}

#[test]
fn parts_are_kept_as_a_line() {
    let mut purse = Purse::of("1", 0, &[seconds("spring", 13), money("welcome", "0.01")]);
    let mut tab = Tab::new(terms("0.10", (1_000, 1_000)));
    purse.hold(&mut tab, SLICE_MS).unwrap();
    let line = parts_line(&tab.held);
    assert_eq!(line, r#"[["seconds:spring",13000],["money:welcome",10000],["credits",68300]]"#);
    assert_eq!(parts_of_line(&line), Ok(tab.held));
    for bad in [r#"[["seconds:",1]]"#, r#"[["purse",1]]"#, r#"[["pool",-1]]"#] {
        assert!(parts_of_line(bad).is_err(), "{bad}");
    }
}

fn any_grant() -> impl Strategy<Value = Grant> {
    let unit = prop_oneof![Just(Unit::Seconds), Just(Unit::Money)];
    let source = prop_oneof![Just(Source::Promo), Just(Source::Paid)];
    let left = prop_oneof![0_u64..200_000, 0_u64..2_000_000];
    // Milliseconds after the answer, and few different ones: what is equal elsewhere must be told apart too.
    let until = proptest::option::of(prop_oneof![Just(60_000_u64), 1_u64..600_000]);
    ("[a-d]{1,2}", unit, left, 0_u16..3, until, source, 0_i64..3).prop_map(
        |(id, unit, left, priority, until, source, created)| Grant {
            id: id.parse().unwrap(),
            unit,
            amount: left,
            left,
            burn_nanos: 0,
            priority,
            from: Wall::from_seconds(0),
            until: until.map(|ms| AT.plus_millis(ms)),
            source,
            created: Wall::from_seconds(created),
            filter: Filter::default(),
        },
    )
}

fn any_grants() -> impl Strategy<Value = Vec<Grant>> {
    proptest::collection::vec(any_grant(), 0..6).prop_map(|mut grants| {
        grants.sort_by(|a, b| a.id.cmp(&b.id));
        grants.dedup_by(|a, b| a.id == b.id);
        grants
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_024))]

    #[test]
    fn the_order_does_not_depend_on_the_order_of_rows(grants in any_grants(), seed in any::<u64>()) {
        let mut other = grants.clone();
        other.sort_by_key(|grant| (grant.left ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut ordered = grants.clone();
        in_burn_order(&mut ordered);
        in_burn_order(&mut other);
        prop_assert_eq!(&ordered, &other);
        let terms = terms("0.10", (60_000, 6_000));
        let (mut one, mut two) = (Purse { credits: 50_000, pool_ms: 0, grants }, Purse { credits: 50_000, pool_ms: 0, grants: other });
        prop_assert_eq!(one.call(&terms, 333_333), two.call(&terms, 333_333));
    }

    /// Whatever a leg is paid from, in whatever slices: nothing goes below zero, slices add up to R(C(T)), what is not
    /// used is back where it was, and no grant pays anything of what comes after its end.
    #[test]
    fn no_bucket_pays_more_than_it_has_or_after_its_end(
        plan in any_plan(), grants in any_grants(), pooled in any::<bool>(), pool_ms in 0_u64..200_000, credits in 0_i64..3_000_000,
        slices in proptest::collection::vec(1_u64..150_000, 1..12), elapsed in 0_u64..900_000,
    ) {
        let mut terms = Terms { from: AT, ..plan };
        terms.funding = if pooled { Funding::Pool { then_credits: true } } else { Funding::Credits };
        let mut purse = Purse { credits, pool_ms, grants };
        let before = purse.clone();
        let mut tab = Tab::new(terms);
        for slice in slices {
            let held = tab.clone();
            if purse.hold(&mut tab, slice).is_ok() {
                prop_assert!(tab.held_until_ms > held.held_until_ms);
                prop_assert_eq!(tab.terms.amount(tab.held_until_ms, tab.time_held_ms()), tab.money_held());
            } else {
                prop_assert_eq!(&Tab { is_final: true, ..held }, &tab);
            }
        }
        let settled = purse.settle(&tab, elapsed);
        let used: u64 = settled.grants.iter().filter(|used| !used.bucket.is_time()).map(|used| used.used).sum();
        let price = settled.charge.0 + i64::try_from(used).unwrap();
        if tab.sequence > 0 {
            prop_assert_eq!(Micros(price), tab.terms.amount(settled.charged_ms, tab.time_held_ms()));
        }
        prop_assert!(settled.connect_fee <= settled.charge && settled.charge <= tab.credit_held());
        prop_assert_eq!(purse.credits, before.credits - settled.charge.0);
        prop_assert_eq!(purse.pool_ms, before.pool_ms - settled.pool_used_ms);
        for (grant, was) in purse.grants.iter().zip(&before.grants) {
            let used: u64 = settled.grants.iter().filter(|used| used.bucket.grant() == Some(&grant.id)).map(|used| used.used).sum();
            prop_assert_eq!(grant.left + used, was.left);
            let Some(until) = grant.until else { continue };
            let end_ms = u64::try_from((until.micros() - AT.micros()) / 1_000).unwrap();
            let of = |settled: Settlement| -> u64 {
                settled.grants.iter().filter(|used| used.bucket.grant() == Some(&grant.id)).map(|used| used.used).sum()
            };
            prop_assert_eq!(of(tab.settle(Some(end_ms))), of(tab.settle(Some(u64::MAX))), "{:?} ends at {} ms", grant.id, end_ms);
        }
        // Kept and read back, it is settled the same.
        let again = Tab { held: parts_of_line(&parts_line(&tab.held)).unwrap(), ..tab.clone() };
        prop_assert_eq!(again.settle(Some(elapsed)), settled);
    }

    /// Refunds of any amounts, one after the other, take the path back coin by coin.
    #[test]
    fn parts_go_back_along_the_path(
        used in proptest::collection::vec((0_usize..4, 1_u64..20), 0..6), later in 0_u64..10, less in 0_usize..10,
        asked in proptest::collection::vec(1_u64..30, 1..8),
    ) {
        let bucket = |n: usize| match n {
            0 => Bucket::Credits,
            n => Bucket::Money(format!("grant-{n}").parse().unwrap()),
        };
        let used: Vec<Part> = used.into_iter().map(|(n, amount)| Part { bucket: bucket(n), amount }).collect();
        // A coin each; what a dearer price took came last, what a cheaper one gave back is gone from the end.
        let mut coins: Vec<Bucket> =
            used.iter().flat_map(|part| std::iter::repeat_n(part.bucket.clone(), part.amount as usize)).collect();
        if less > 0 {
            coins.truncate(coins.len().saturating_sub(less));
        } else {
            coins.extend(std::iter::repeat_n(Bucket::Credits, later as usize));
        }
        let count = |coins: &[Bucket]| -> Vec<Part> {
            let of = |n| Part { bucket: bucket(n), amount: coins.iter().filter(|coin| **coin == bucket(n)).count() as u64 };
            (0..4).map(of).collect()
        };
        for amount in asked {
            let told = crate::rating::back(&used, &count(&coins), amount);
            let gone = coins.split_off(coins.len().saturating_sub(amount as usize));
            let due: Vec<Part> = count(&gone).into_iter().filter(|part| part.amount > 0).collect();
            let mut told: Vec<Part> = told.into_iter().filter(|part| part.amount > 0).collect();
            told.sort_by_key(|part| (part.bucket != Bucket::Credits, part.bucket.to_string()));
            prop_assert_eq!(told, due);
        }
    }
}
