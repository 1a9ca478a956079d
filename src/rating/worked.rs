//! The worked cases of the law, each from the row of a deck as a person would write it. Cases 22 to 24, of holds, are
//! beside the tab; case 21, of what is used first, is with grants.

use crate::clock::Wall;
use crate::rating::clauses::Origin;
use crate::rating::deck::Lookup;
use crate::rating::prices::{PriceList, Quoted};
use crate::rating::terms::{Exchange, PoolSplit};
use crate::rating::{CallType, Deck, Funding, Means, Tariff, Terms};
use crate::types::{Currency, Micros};
use jiff::Timestamp;

pub(super) fn wall(text: &str) -> Wall {
    Wall::from_micros(text.parse::<Timestamp>().unwrap().as_microsecond())
}

/// The plan of a call that is answered at `at`, from a row of a rate, increments in seconds, and further cells.
fn plan(at: &str, rate: &str, increments: (&str, &str), more: &[(&str, &str)]) -> Terms {
    let rows = [("2020-01-01", rate)];
    changing(at, &rows, increments, more)
}

/// As [`plan`], from rows that are valid from one moment after another.
pub(super) fn changing(at: &str, rows: &[(&str, &str)], (initial, next): (&str, &str), more: &[(&str, &str)]) -> Terms {
    let fee = more.iter().find(|(name, _)| *name == "connect_fee").map_or("0", |(_, fee)| fee);
    let discount = more.iter().find(|(name, _)| *name == "discount").map_or("0%", |(_, discount)| discount);
    let more: Vec<_> = more.iter().filter(|(name, _)| !["connect_fee", "discount"].contains(name)).collect();
    let mut csv = String::from("call_type,prefix,destination,connect_fee,initial_s,next_s,rate,valid_from");
    more.iter().for_each(|(name, _)| csv.extend([",", name]));
    for (valid_from, rate) in rows {
        csv.push_str(&format!("\ndial-out,39,Italy,{fee},{initial},{next},{rate},{valid_from}"));
        more.iter().for_each(|(_, cell)| csv.extend([",\"", cell, "\""]));
    }
    let deck = Deck::parse("worked.csv", &csv).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let list = PriceList { deck: deck.into(), discount: discount.parse().unwrap() };
    let at = wall(at);
    let Lookup::Found(row) = list.deck.rate(CallType::DialOut, "390612345678", at) else { panic!("no row") };
    let quoted = Quoted { list: &list, row, exchange: None };
    let (price, later) = quoted.schedule(CallType::DialOut, "390612345678", at);
    let mut terms = Terms::sample(Funding::Credits, "0", "0", 1, 1);
    let plain = Tariff::plain(list.deck.version(), row.clone());
    terms.from = at;
    terms.tariff = Some(Tariff { price, later, discount: list.discount, ..plain });
    // What is frozen is what is charged by.
    assert_eq!(Terms::from_line(&terms.to_line()).as_ref(), Ok(&terms));
    terms
}

const NOON: &str = "2026-03-03T12:00:00Z";

/// What a call of so many milliseconds costs.
fn charge(terms: &Terms, elapsed_ms: u64) -> String {
    terms.amount(elapsed_ms, 0).to_text()
}

/// Of the plainest kind: rate, increments, further cells, milliseconds, charge.
type Case<'a> = (&'a str, &'a str, (&'a str, &'a str), &'a [(&'a str, &'a str)], u64, &'a str);

const PLAIN: &[Case<'_>] = &[
    ("1", "0.0120", ("60", "60"), &[], 61_000, "0.0240"),
    ("2a", "0.0120", ("60", "1"), &[], 42_400, "0.0120"),
    ("2b", "0.0120", ("1", "1"), &[], 42_400, "0.0086"),
    ("2c", "0.0120", ("60", "1"), &[], 61_001, "0.0124"),
    ("3", "0.0120", ("6", "6"), &[], 6_100, "0.0024"),
    ("3 floor-s", "0.0120", ("6", "6"), &[("length", "floor-s")], 6_100, "0.0012"),
    ("3 nearest-s", "0.0120", ("6", "6"), &[("length", "nearest-s")], 6_499, "0.0012"),
    ("3 ceil-s", "0.0120", ("1", "1"), &[("length", "ceil-s")], 59_001, "0.0120"),
    ("4 a", "0.0060", ("30", "6"), &[], 32_000, "0.0036"),
    ("4 b", "0.0060", ("30", "6"), &[], 57_000, "0.0060"),
    ("4 c", "0.0060", ("30", "6"), &[], 75_000, "0.0078"),
    ("5 at the edge", "0.0120", ("60", "60"), &[], 120_000, "0.0240"),
    ("5 past it", "0.0120", ("60", "60"), &[], 120_001, "0.0360"),
    ("6", "0.0600", ("30", "18"), &[], 40_000, "0.0480"),
    ("7", "0.03", ("60", "60"), &[("connect_fee", "0.05")], 0, "0.0000"),
    ("7 minimum", "0.03", ("60", "60"), &[("connect_fee", "0.05"), ("zero_length", "minimum")], 0, "0.0800"),
    ("8 short", "0.03", ("6", "6"), &[("connect_fee", "0.05"), ("short_s", "5")], 4_900, "0.0000"),
    ("8 not short", "0.03", ("6", "6"), &[("connect_fee", "0.05"), ("short_s", "5")], 5_100, "0.0530"),
    ("9 within", "3.00", ("60", "1"), &[("free_s", "30")], 8_000, "0.0000"),
    ("9 just past", "3.00", ("60", "1"), &[("free_s", "30")], 31_000, "3.0000"),
    ("9 past", "3.00", ("60", "1"), &[("free_s", "30")], 95_000, "3.2500"),
    ("10 half-up", "0.0249", ("30", "30"), &[], 30_000, "0.0125"),
    ("10 half-up, down", "0.02482", ("30", "30"), &[], 30_000, "0.0124"),
    ("10 half-even", "0.0249", ("30", "30"), &[("rounding", "half-even")], 30_000, "0.0124"),
    ("10 half-even, down", "0.02482", ("30", "30"), &[("rounding", "half-even")], 30_000, "0.0124"),
    ("10 half-even, to the even above", "0.0247", ("30", "30"), &[("rounding", "half-even")], 30_000, "0.0124"),
    ("10 up", "0.0249", ("30", "30"), &[("rounding", "up")], 30_000, "0.0125"),
    ("10 up, up", "0.02482", ("30", "30"), &[("rounding", "up")], 30_000, "0.0125"),
    ("10 down", "0.0249", ("30", "30"), &[("rounding", "down")], 30_000, "0.0124"),
    ("10 down, down", "0.02482", ("30", "30"), &[("rounding", "down")], 30_000, "0.0124"),
    ("10 no places", "0.9", ("60", "60"), &[("places", "0")], 30_000, "1.0000"),
    ("10 six places", "0.0249", ("30", "30"), &[("places", "6")], 30_000, "0.012450"),
    ("11", "0.05", ("1", "1"), &[], 60_000, "0.0500"),
    ("11 anew", "0.05", ("1", "1"), &[("rounding", "up")], 60_000, "0.0500"),
    ("12 minimum", "0.03", ("6", "6"), &[("minimum", "0.05")], 6_000, "0.0500"),
    ("12 maximum", "0.25", ("60", "60"), &[("maximum", "2.00")], 1_800_000, "2.0000"),
    ("18a", "0.05", ("60", "60"), &[("tiers", "600:0.02")], 740_000, "0.5600"),
    ("18a at the edge", "0.05", ("60", "60"), &[("tiers", "600:0.02")], 600_000, "0.5000"),
    ("25", "0.12", ("60", "1"), &[], 95_000, "0.1900"),
    ("the dearest week", "1000", ("60", "60"), &[("connect_fee", "1000")], 604_800_000, "10081000.0000"),
];

#[test]
fn the_plain_cases() {
    for (case, rate, increments, more, elapsed, expected) in PLAIN {
        assert_eq!(charge(&plan(NOON, rate, *increments, more), *elapsed), *expected, "case {case}");
    }
}

#[test]
fn case_11_however_a_call_is_sliced_it_costs_the_same() {
    let terms = plan(NOON, "0.05", ("1", "1"), &[]);
    for slice in [1_000, 7_000, 10_000, 13_000, 60_000] {
        let ends = (0_u64..).map(|n| (n * slice).min(60_000)).take_while(|end| *end < 60_000).chain([60_000]);
        let ends: Vec<u64> = ends.collect();
        let sum: i64 = ends.windows(2).map(|w| terms.amount(w[1], 0).0 - terms.amount(w[0], 0).0).sum();
        assert_eq!(Micros(sum).to_text(), "0.0500", "slices of {slice} ms");
    }
}

#[test]
fn case_12_a_call_that_may_cost_no_more_is_ended_there() {
    let mut tab =
        crate::rating::Tab::new(plan(NOON, "0.25", ("60", "60"), &[("maximum", "2"), ("at_maximum", "disconnect")]));
    let hold = tab.next(&Means::plain(Micros(10_000_000), 0), 1_800_000).unwrap();
    assert_eq!((hold.until_ms, hold.credit.to_text(), hold.is_final), (480_000, "2.0000".to_owned(), true));
    assert_eq!(tab.next(&Means::plain(Micros(10_000_000), 0), 60_000), Err(crate::types::Cause::SpendLimit));
}

#[test]
fn case_13_peak_ends_in_mid_call() {
    let peak = |increments, on_change| {
        let cells = [("bands", "mon-fri 08:00-19:00 0.03"), ("zone", "Europe/London"), ("on_change", on_change)];
        charge(&plan("2026-06-16T17:58:30Z", "0.01", increments, &cells), 300_000)
    };
    assert_eq!(peak(("60", "60"), "increment-start"), "0.0900");
    assert_eq!(peak(("60", "60"), ""), "0.0900");
    assert_eq!(peak(("60", "60"), "answer"), "0.1500");
    assert_eq!(peak(("1", "1"), "split"), "0.0800");
    // 90 s and 210 s, each on a grid of its own: 2 × 0.03 + 4 × 0.01.
    assert_eq!(peak(("60", "60"), "split"), "0.1000");
}

#[test]
fn case_14_the_deck_changes_in_mid_call() {
    let rows = [("2026-01-01", "0.0200"), ("2026-03-01", "0.0240")];
    let change = |on_change| {
        charge(&changing("2026-02-28T23:58:00Z", &rows, ("60", "60"), &[("on_change", on_change)]), 300_000)
    };
    assert_eq!(change("increment-start"), "0.1120");
    assert_eq!(change("answer"), "0.1000");
    assert_eq!(change("split"), "0.1120");
}

#[test]
fn cases_15_to_17_clocks_are_put_forward_and_back() {
    let hour = plan("2026-10-25T00:30:00Z", "0.01", ("60", "60"), &[]);
    assert_eq!(charge(&hour, 3_600_000), "0.6000");
    let late = [("bands", "daily 02:30-24:00 0.02"), ("zone", "Europe/Paris")];
    assert_eq!(charge(&plan("2026-03-29T00:59:00Z", "0.01", ("60", "60"), &late), 120_000), "0.0300");
    assert_eq!(charge(&plan("2026-10-25T00:00:00Z", "0.01", ("60", "60"), &late), 7_200_000), "1.8000");
}

#[test]
fn case_18b_a_tier_of_the_month_is_reached_in_mid_call() {
    let begun = |used_minutes: u64| {
        let mut terms = plan(NOON, "0.02", ("60", "60"), &[("month_tiers", "1000:0.015")]);
        terms.month_used(wall("2026-03-01T00:00:00Z"), used_minutes * 60_000);
        charge(&terms, 300_000)
    };
    assert_eq!(begun(998), "0.0850");
    assert_eq!(begun(0), "0.1000");
    assert_eq!(begun(1_000), "0.0750");
}

#[test]
fn case_19_discount_surcharge_and_exchange() {
    let mut terms = plan(
        NOON,
        "0.0650",
        ("60", "60"),
        &[("mobile_surcharge", "0.03/min"), ("payphone_surcharge", "0.494/call"), ("discount", "10%"), ("places", "6")],
    );
    terms.tariff.as_mut().unwrap().origin = Origin::Mobile;
    assert_eq!(charge(&terms, 432_000), "0.7080");
    terms.tariff.as_mut().unwrap().exchange = Exchange::new(Currency::USD, "0.92".parse().unwrap()).ok();
    terms.currency = "EUR".parse().unwrap();
    assert_eq!(charge(&terms, 432_000), "0.651360");
    let settled = crate::rating::quote(&terms, 432_000, &Means::plain(Micros(1_000_000), 0));
    let told = settled.lines.join("\n");
    for line in [
        "480 s × 0.0650 USD a minute / 60 s = 0.5200",
        "less 10% of 0.5200: 0.4680",
        "mobile surcharge: 480 s × 0.0300 USD a minute / 60 s = 0.2400",
        "sum 0.7080 USD × 0.92 EUR a USD, rounded half up to 6 places: 0.651360",
        "charge 0.651360 EUR",
    ] {
        assert!(told.contains(line), "{line} in\n{told}");
    }
    terms.tariff.as_mut().unwrap().origin = Origin::Payphone;
    terms.tariff.as_mut().unwrap().exchange = None;
    assert_eq!(charge(&terms, 432_000), "0.9620");
}

#[test]
fn case_20_the_pool_ends_in_mid_call() {
    let of = |increments, split| {
        let mut terms = plan(NOON, "0.04", increments, &[]);
        terms.funding = Funding::Pool { then_credits: true };
        terms.pool_split = split;
        let settled = crate::rating::quote(&terms, 310_000, &Means::plain(Micros(1_000_000), 150_000));
        (settled.charge.to_text(), settled.pool_used_ms, settled.billed_ms)
    };
    assert_eq!(of(("60", "60"), PoolSplit::Second), ("0.1200".to_owned(), 150_000, 330_000));
    assert_eq!(of(("60", "60"), PoolSplit::Increment), ("0.1600".to_owned(), 120_000, 360_000));
    let mut fine = plan(NOON, "0.04", ("1", "1"), &[("places", "6")]);
    fine.funding = Funding::Pool { then_credits: true };
    assert_eq!(fine.amount(310_000, 150_000).to_text(), "0.106667");
}
