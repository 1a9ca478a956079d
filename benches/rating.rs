//! What the accountant costs. To be reached on one core of a small machine: a price in 0.2 µs, a look-up among 200 000
//! prefixes in 0.3 µs, a whole decision in 5 µs, a deck of 200 000 rows read in a second. A bridge of 10 000 legs on
//! slices of a minute asks for 170 prices and decisions a second: these numbers are there to stay far out of its way.

use criterion::{Criterion, criterion_group, criterion_main};
use std::fmt::Write;
use std::hint::black_box;
use tollbridge::clock::Wall;
use tollbridge::rating::{
    Book, CallType, Countries, Deck, DialOutPolicy, Exchange, Licences, Lookup, Means, Organiser, Origin, Payer,
    PoolSplit, Prices, Request, SLICE_MS, Tab, Terms, decide,
};
use tollbridge::types::{Currency, E164, Micros};

const AT: Wall = Wall::from_seconds(1_700_000_000);

/// 200 000 rows, most prefixes of 5 to 8 digits, as real decks have them; the sample deck's own rows among them.
fn large_deck() -> String {
    let mut text = String::from(include_str!("../config/rates.csv"));
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for row in 0..200_000_u64 {
        // An LCG walks the prefixes; the row's own number behind it keeps every prefix different.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let cents = state >> 40 & 0xfff;
        let prefix = 2_000_000 + row * 37 % 7_999_993;
        let _ = writeln!(text, "dial-out,{prefix},somewhere,0.{cents:04},0,60,60,2021-01-01,standard");
    }
    text
}

fn payer() -> Payer {
    Payer {
        organisation: "acme".parse().unwrap(),
        country: "IT".parse().unwrap(),
        currency: Currency::USD,
        volume_licensing: true,
        credits_set_up: true,
        require_credits_licence: false,
        pool_split: PoolSplit::Second,
        allow_prefixes: vec!["263".to_owned()],
        locked: false,
    }
}

fn organiser() -> Organiser {
    Organiser {
        user: "anna".parse().unwrap(),
        licences: Licences { pay_per_minute: true, ..Licences::default() },
        dial_out: DialOutPolicy::Any,
        toll_free: true,
        country: "IT".parse().unwrap(),
        locked: false,
    }
}

fn terms(prices: &Prices, countries: &Countries) -> Terms {
    let (payer, organiser) = (payer(), organiser());
    decide(&book(&payer, &organiser, prices, countries), &request()).unwrap()
}

/// A call that is cheaper every ten minutes, less a discount, paid in another currency.
fn five_segments(countries: &Countries) -> Terms {
    let text = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from,tiers,minimum,maximum\n\
                dial-out,44,UK,0.05,0.02,60,6,2020-01-01,600:0.04 1200:0.03 1800:0.02 2400:0.01,0.05,5\n";
    let mut terms = terms(&Prices::of(Deck::parse("tiers.csv", text).unwrap().into()), countries);
    let tariff = terms.tariff.as_mut().unwrap();
    tariff.discount = "12.5%".parse().unwrap();
    tariff.exchange = Exchange::new(Currency::USD, "0.92".parse().unwrap()).ok();
    terms
}

fn book<'a>(payer: &'a Payer, organiser: &'a Organiser, prices: &'a Prices, countries: &'a Countries) -> Book<'a> {
    Book {
        payer,
        organiser,
        countries,
        prices,
        number: None,
        pool_left_ms: 0,
        available: Micros(10_000_000),
        grants: &[],
    }
}

fn request() -> Request {
    Request {
        call_type: CallType::DialOut,
        number: "+442079460123".parse().unwrap(),
        caller: None,
        origin: Origin::Fixed,
        at: AT,
    }
}

fn rating(c: &mut Criterion) {
    let text = large_deck();
    let (deck, countries) = (Deck::parse("large.csv", &text).unwrap(), Countries::embedded());
    assert!(deck.len() > 200_000);
    let prices = Prices::of(deck.into());
    let deck = &*prices.lists[0].deck;
    let terms = terms(&prices, &countries);
    let segments = five_segments(&countries);
    assert_eq!(segments.sum(3_600_000, 0).unwrap().parts.len(), 5);
    let numbers: Vec<E164> = (0..1_000_u64)
        .map(|n| E164::from_digits(&format!("{}55501", 2_000_000 + n * 7_919 % 7_999_993)).unwrap())
        .collect();

    c.bench_function("price of a call", |b| b.iter(|| black_box(&terms).amount(black_box(310_123), 0)));
    c.bench_function("price of an hour in 5 segments, discounted and exchanged", |b| {
        b.iter(|| black_box(&segments).amount(black_box(3_600_000), 0))
    });
    c.bench_function("hold of a slice", |b| {
        let tab = Tab::new(terms.clone());
        b.iter_batched(
            || tab.clone(),
            |mut tab| tab.next(&Means::plain(Micros(10_000_000), 0), SLICE_MS),
            criterion::BatchSize::SmallInput,
        );
    });
    c.bench_function("settlement, explained", |b| {
        let mut tab = Tab::new(terms.clone());
        tab.next(&Means::plain(Micros(10_000_000), 0), 600_000).unwrap();
        b.iter(|| black_box(&tab).settle(Some(310_123)));
    });
    c.bench_function("1000 look-ups among 200 000 prefixes", |b| {
        let found = |number: &E164| matches!(deck.rate(CallType::DialOut, number.digits(), AT), Lookup::Found(_));
        b.iter(|| black_box(&numbers).iter().filter(|number| found(number)).count());
    });
    c.bench_function("decide", |b| {
        let (payer, organiser, request) = (payer(), organiser(), request());
        b.iter(|| decide(&book(&payer, &organiser, &prices, &countries), black_box(&request)));
    });
    let mut slow = c.benchmark_group("deck");
    slow.sample_size(10);
    slow.bench_function("read 200 000 rows", |b| b.iter(|| Deck::parse("large.csv", black_box(&text)).unwrap().len()));
    slow.finish();
}

criterion_group!(benches, rating);
criterion_main!(benches);
