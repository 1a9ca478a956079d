//! What is true of every price, whatever its clauses. The fourteen laws of the engine, and where each is tried:
//!
//! 1 an independent implementation in fractions agrees: `tests/exact`. 2 slices add up, 3 nothing falls, 4 twice the rates
//! is twice the price, 5 a cut at an edge changes the fee alone, 6 the day of a call without bands does not matter, 7 no
//! millisecond is lost when clocks are put forward or back: here. 8 the longest prefix is the one that brute force finds:
//! `deck`. 9 a deck written out is the same deck, 10 priced again by it nothing is due: here. 11 what is given back puts
//! the books back, 12 what is used first depends on no order of rows: `ledger`, `store`. 13 no float: `tests/tidy`. 14 a
//! repeat is given the first answer: `store`.

use super::worked::{changing, wall};
use crate::clock::Wall;
use crate::rating::clauses::Origin;
use crate::rating::export::{difference, moment};
use crate::rating::prices::{Answer, Prices};
use crate::rating::{CallType, Deck, Exact, Funding, Tab, Terms};
use crate::types::{Currency, Micros};
use jiff::Timestamp;
use proptest::prelude::*;
use rust_decimal::Decimal;

/// A plan as the cells of its row.
fn any_cells() -> impl Strategy<Value = Cells> {
    let price = |most: i64| (0..most).prop_map(|nanos| Decimal::new(nanos, 9).to_string());
    let seconds = |most: u32| prop_oneof![Just(0), 0..most].prop_map(|ms| format!("{}.{:03}", ms / 1_000, ms % 1_000));
    let step = || {
        prop_oneof![
            Just("60".to_owned()),
            Just("1".to_owned()),
            (1_u32..90_000).prop_map(|ms| format!("{}.{:03}", ms / 1_000, ms % 1_000))
        ]
    };
    let word = |words: &'static [&'static str]| proptest::sample::select(words).prop_map(str::to_owned);
    let shape = prop_oneof![
        Just(("tiers", String::new())),
        (1_u32..900, price(900_000_000)).prop_map(|(after, price)| ("tiers", format!("{after}:{price}"))),
        (1_u32..15, price(900_000_000)).prop_map(|(after, price)| ("month_tiers", format!("{after}:{price}"))),
        price(900_000_000)
            .prop_map(|price| ("bands", format!("mon-fri 17:00-18:03 {price} | sun 02:10-02:40 {price}"))),
    ];
    let at =
        word(&["2026-06-16T17:58:30Z", "2026-10-25T00:20:00.123456Z", "2026-03-29T00:55:00Z", "2026-03-04T12:00:00Z"]);
    let first = (at, price(1_000_000_000), step(), step(), shape, price(100_000_000));
    let second = (
        word(&["", "exact", "ceil-s", "floor-s", "nearest-s"]),
        word(&["", "minimum"]),
        seconds(8_000),
        seconds(40_000),
        word(&["", "answer", "split"]),
        (price(300_000_000), price(900_000_000)),
        (word(&["half-up", "half-even", "up", "down"]), word(&["", "0", "2", "6"])),
        (word(&["second", "increment"]), word(&["0%", "10%", "33.33%", "100%"])),
    );
    (first, second).prop_map(|((at, rate, initial, next, shape, fee), more)| {
        let (length, zero, short, free, on_change, (least, above), (rounding, places), (split, discount)) = more;
        let most = least.parse::<Decimal>().unwrap() + above.parse::<Decimal>().unwrap();
        let zone = if shape.0 == "bands" { "Europe/Paris" } else { "" };
        let more = vec![
            ("connect_fee", fee),
            ("length", length),
            ("zero_length", zero),
            ("short_s", short),
            ("free_s", free),
            ("on_change", on_change),
            ("minimum", least),
            ("maximum", most.to_string()),
            ("rounding", rounding),
            ("places", places),
            ("discount", discount),
            shape,
            ("zone", zone.to_owned()),
        ];
        Cells { at, rate, initial, next, more, split }
    })
}

#[derive(Clone, Debug)]
struct Cells {
    at: String,
    rate: String,
    initial: String,
    next: String,
    more: Vec<(&'static str, String)>,
    split: String,
}

impl Cells {
    fn cell(&self, name: &str) -> &str {
        self.more.iter().find(|(own, _)| *own == name).map_or("", |(_, cell)| cell)
    }

    fn set(&mut self, name: &str, to: &str) {
        self.more.iter_mut().filter(|(own, _)| *own == name).for_each(|(_, cell)| to.clone_into(cell));
    }

    /// The plan of a call that begins so many milliseconds after the moment of the cells; a second row of the deck is
    /// valid from a moment near.
    fn plan(&self, after_ms: u64) -> Terms {
        let at = moment(wall(&self.at).plus_millis(after_ms));
        self.changing(&at, &[("2020-01-01", &self.rate), ("2026-03-04T12:04:10.5Z", "0.3")])
    }

    fn changing(&self, at: &str, rows: &[(&str, &str)]) -> Terms {
        let more: Vec<(&str, &str)> = self.more.iter().map(|(name, cell)| (*name, cell.as_str())).collect();
        let mut terms = changing(at, rows, (&self.initial, &self.next), &more);
        terms.pool_split = self.split.parse().unwrap();
        terms
    }

    /// Every price twice.
    fn twice(&self) -> Cells {
        let twice = |text: &str| (text.parse::<Decimal>().unwrap() * Decimal::TWO).to_string();
        let mut double = Cells { rate: twice(&self.rate), ..self.clone() };
        for name in ["connect_fee", "minimum", "maximum"] {
            double.set(name, &twice(self.cell(name)));
        }
        for name in ["tiers", "month_tiers"] {
            if let Some((after, price)) = self.cell(name).split_once(':') {
                double.set(name, &format!("{after}:{}", twice(price)));
            }
        }
        double
    }
}

pub(super) fn any_plan() -> impl Strategy<Value = Terms> {
    any_cells().prop_map(|cells| cells.plan(0))
}

/// A row of a deck: type, prefix, the day of its beginning and how many days it is valid, the cells.
fn any_row() -> impl Strategy<Value = (CallType, String, u8, Option<u8>, Cells)> {
    let call_type = proptest::sample::select(CallType::ALL);
    (call_type, "[1-9][0-9]{0,3}", 1_u8..28, proptest::option::of(1_u8..28), any_cells())
}

const COLUMNS: [&str; 13] = [
    "connect_fee",
    "length",
    "zero_length",
    "short_s",
    "free_s",
    "on_change",
    "minimum",
    "maximum",
    "rounding",
    "places",
    "tiers",
    "month_tiers",
    "bands",
];

/// The rows as a person writes them, those left out that their own deck would refuse.
fn any_deck() -> impl Strategy<Value = Deck> {
    proptest::collection::vec(any_row(), 1..12).prop_map(|rows| {
        let mut csv = format!("call_type,prefix,destination,rate,initial_s,next_s,valid_from,valid_to,zone,{}", COLUMNS.join(","));
        for (call_type, prefix, day, days, cells) in rows {
            let until = days.map_or(String::new(), |days| format!("2026-06-{:02}", days.max(day) + 1));
            let (rate, initial, next) = (&cells.rate, &cells.initial, &cells.next);
            let zone = cells.cell("zone");
            let mut row = format!("\n{call_type},{prefix},\"to \"\"{prefix}\"\"; all\",{rate},{initial},{next},2026-06-{day:02},{until},{zone}");
            COLUMNS.iter().for_each(|name| row.extend([",\"", cells.cell(name), "\""]));
            if Deck::parse("some.csv", &format!("{csv}{row}")).is_ok() {
                csv.push_str(&row);
            }
        }
        Deck::parse("some.csv", &csv).unwrap()
    })
}

proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_024))]

        #[test]
        fn a_price_never_falls(terms in any_plan(), pool in 0_u64..300_000, a in 0_u64..900_000, more in 0_u64..100_000) {
            let pool = terms.pool_floor(pool);
            prop_assert!(terms.charge(a, pool) <= terms.charge(a + more, pool));
            prop_assert!(terms.amount(a, pool) <= terms.amount(a + more, pool));
        }

        #[test]
        fn an_edge_costs_what_the_moment_costs_and_is_the_last_that_must(terms in any_plan(), pool in 0_u64..300_000, a in 0_u64..900_000) {
            let pool = terms.pool_floor(pool);
            let edge = terms.edge(a, pool);
            prop_assert!(edge >= a);
            prop_assert_eq!(terms.charge(a, pool), terms.charge(edge, pool));
            prop_assert_eq!(terms.edge(edge, pool), edge);
            let billed = |ms| terms.sum(ms, pool).unwrap().billed_ms;
            if billed(a) > 0 {
                prop_assert!(billed(edge + 1) > billed(edge) || billed(edge) == billed(a), "{} {}", billed(edge), billed(edge + 1));
                prop_assert!(billed(edge + 1) > billed(a));
            }
        }

        #[test]
        fn a_leg_is_charged_what_it_costs_and_never_more_than_it_held(mut terms in any_plan(), pooled in any::<bool>(), available in 0_i64..3_000_000, pool in 0_u64..200_000, elapsed in 0_u64..600_000) {
            terms.funding = if pooled { Funding::Pool { then_credits: true } } else { Funding::Credits };
            let mut tab = Tab::new(terms);
            let (mut money, mut minutes) = (available, if pooled { pool } else { 0 });
            while tab.held_until_ms < elapsed {
                let Ok(hold) = tab.next(&crate::rating::Means::plain(Micros(money), minutes), 60_000) else { break };
                money -= hold.credit.0;
                minutes -= hold.pool_ms;
                prop_assert!(money >= 0);
            }
if tab.sequence > 0 {
                let due = tab.terms.amount(tab.held_until_ms, tab.pool_held_ms());
                prop_assert!(due <= tab.credit_held(), "{} of {}", due, tab.credit_held());
            }
            let settled = tab.settle(Some(elapsed));
            prop_assert!(settled.charge <= tab.credit_held() && settled.pool_used_ms <= tab.pool_held_ms());
            prop_assert!(settled.connect_fee <= settled.charge);
            if tab.sequence > 0 {
                prop_assert_eq!(settled.charge, tab.terms.amount(settled.charged_ms, tab.pool_held_ms()));
            }
        }

        #[test]
        fn slices_of_any_plan_add_up(terms in any_plan(), pool in 0_u64..100_000, mut cuts in proptest::collection::vec(0_u64..900_000, 1..12)) {
            let pool = terms.pool_floor(pool);
            cuts.sort_unstable();
            let at = |ms: u64| terms.amount(ms, pool).0;
            let slices: i64 = cuts.windows(2).map(|cut| at(cut[1]) - at(cut[0])).sum();
            prop_assert_eq!(at(cuts[0]) + slices, at(*cuts.last().unwrap()));
        }

        #[test]
        fn twice_every_price_is_twice_the_sum(mut cells in any_cells(), elapsed in 0_u64..900_000) {
            // Bands and the other row have prices of their own, which are not doubled here.
            cells.set("bands", "");
            cells.set("zone", "");
                        let once = cells.changing(&cells.at, &[("2020-01-01", &cells.rate)]);
            let double = cells.twice();
            let twice = double.changing(&cells.at, &[("2020-01-01", &double.rate)]);
            prop_assert_eq!(once.charge(elapsed, 0).parts() * 2, twice.charge(elapsed, 0).parts());
        }

        #[test]
        fn cut_at_an_edge_a_call_costs_the_fee_more(mut cells in any_cells(), count in 1_u64..9, more in 1_u64..300_000) {
            // What counts the length of the whole call is left out: two calls are not one.
            let counted = ["tiers", "month_tiers", "free_s", "short_s", "minimum", "maximum", "length", "zero_length", "on_change"];
            counted.iter().for_each(|name| cells.set(name, ""));
            cells.next.clone_from(&cells.initial);
            let one = cells.plan(0);
            let rate = one.tariff.as_ref().unwrap().row.rate;
            let first = rate.initial_ms() * count;
            let two = cells.plan(first);
            let parts = one.charge(first, 0).plus(two.charge(more, 0));
            let fee = Exact::of_fee(rate.connect_fee_nanos());
            prop_assert_eq!(parts, one.charge(first + more, 0).plus(fee));
        }

        #[test]
        fn without_bands_the_day_does_not_matter(mut cells in any_cells(), days in 0_u64..4_000, ms in 0_u64..86_400_000, change in 1_u64..900_000, elapsed in 0_u64..900_000) {
            cells.set("bands", "");
            cells.set("zone", "");
            let shift = days * 86_400_000 + ms;
            let priced = |by: u64| {
                let at = wall(&cells.at).plus_millis(by);
                let from = moment(at.plus_millis(change));
                cells.changing(&moment(at), &[("2020-01-01", &cells.rate), (&from, "0.3")])
            };
            let (one, two) = (priced(0), priced(shift));
            prop_assert_eq!(one.charge(elapsed, 0), two.charge(elapsed, 0));
            prop_assert_eq!(one.amount(elapsed, 0), two.amount(elapsed, 0));
        }
    }

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_deck_written_out_is_the_same_deck_and_prices_the_same(deck in any_deck(), digits in "[1-9][0-9]{0,5}", day in 1_i64..30, elapsed in 0_u64..900_000) {
        let written = deck.to_csv();
        let again = Deck::parse("again.csv", &written).unwrap();
        prop_assert_eq!(&again.to_csv(), &written);
        prop_assert_eq!(again.len(), deck.len());
        for (call_type, row) in deck.rows() {
            prop_assert_eq!(again.row(call_type, &row.prefix, row.valid_from), Some(row));
        }
        let at = Wall::from_seconds(wall("2026-06-01T00:00:00Z").seconds() + day * 86_400);
        prop_assert_eq!(difference(&deck, &again, at).0, vec![]);
        // Priced again by the same deck, nothing is due and nothing is given back.
        let priced = |deck: Deck, call_type| match Prices::of(deck.into()).rate(call_type, &digits, at, Currency::USD) {
            Answer::Found(quoted) => {
                let tariff = quoted.tariff(call_type, &digits, at, Origin::Mobile);
                Some(tariff.amount(tariff.total(at, elapsed)))
            }
            Answer::Absent | Answer::Broken(_) => None,
        };
        for call_type in CallType::ALL {
            prop_assert_eq!(priced(deck.clone(), *call_type), priced(again.clone(), *call_type));
        }
    }
}

/// In the gate one change of clocks in so many is tried, in each zone from another one on; all with
/// `TOLLBRIDGE_TEST_LONG=1`.
const SAMPLE: usize = 23;

/// Every zone, every change of its clock from 1970 to 2037.
#[test]
fn no_millisecond_is_lost_where_clocks_are_put_forward_or_back() {
    let sample = if std::env::var_os("TOLLBRIDGE_TEST_LONG").is_some() { 1 } else { SAMPLE };
    let (mut zones, mut jumps) = (0_usize, 0_usize);
    let last: Timestamp = "2037-12-31T00:00:00Z".parse().unwrap();
    for name in jiff::tz::db().available() {
        let zone = jiff::tz::TimeZone::get(name.as_str()).unwrap();
        let changes = zone.following(Timestamp::UNIX_EPOCH).map(|change| change.timestamp());
        zones += 1;
        for change in changes.take_while(|change| *change < last).skip(zones % sample).step_by(sample) {
            jumps += 1;
            whole(name.as_str(), Wall::from_micros(change.as_microsecond()));
        }
    }
    assert!(zones > 300 && jumps * sample > 10_000, "{zones} zones, {jumps} jumps");
}

/// A call of seven hours around a moment: its stretches, laid end to end, are as long as it is, each at the price of the
/// band that is in force where it begins and where it ends.
fn whole(zone: &str, around: Wall) {
    const LENGTH_MS: u64 = 7 * 3_600_000 + 1;
    let at = Wall::from_micros(around.micros() - 3 * 3_600_000_000 - 500);
    let csv = format!(
        "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from,bands,zone\n\
         dial-out,39,Italy,0.01,0,0.001,0.001,1960-01-01,daily 00:30-02:30 0.02 | daily 23:00-23:59 0.03,{zone}\n"
    );
    let prices = Prices::of(Deck::parse("zone.csv", &csv).unwrap().into());
    let Answer::Found(quoted) = prices.rate(CallType::DialOut, "39", at, Currency::USD) else { panic!("{zone}") };
    let tariff = quoted.tariff(CallType::DialOut, "39", at, Origin::Fixed);
    let bands = quoted.row.clauses().bands.as_ref().unwrap();
    let paid = crate::rating::price::Paid { from: at, begin_ms: 0, grid_ms: 0, ms: LENGTH_MS };
    let mut begin = at;
    for part in tariff.parts(&paid) {
        let end = begin.plus_millis(part.ms);
        for inside in [begin, Wall::from_micros(end.micros() - 1_000)] {
            let price = bands.at(inside).map_or(10_000_000, |band| band.per_minute_nanos());
            assert_eq!(part.per_minute_nanos, price, "{zone} {}", moment(inside));
        }
        begin = end;
    }
    assert_eq!(begin, at.plus_millis(LENGTH_MS), "{zone} {}", moment(around));
}
