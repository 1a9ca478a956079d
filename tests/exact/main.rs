//! Prices against an independent exact implementation: random plans, each told to `exact.py` as the cells of its deck,
//! which works them out in fractions by walking increments, and says where it differs.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::io::{BufWriter, Write};
use std::process::{Command, Stdio};
use tollbridge::clock::Wall;
use tollbridge::rating::clauses::Origin;
use tollbridge::rating::{
    self, Answer, CallType, Capability, Deck, Discount, Exchange, Funding, PoolSplit, PriceList, Prices, Tariff, Terms,
};
use tollbridge::types::{Currency, Micros};

/// Plans of each of the two workers.
const PLANS: u64 = 500_000;

/// One plan of so many also has its explanation worked out again.
const EXPLAINED: u64 = 8;

const HEADER: &str = "call_type,prefix,destination,connect_fee,initial_s,next_s,length,zero_length,short_s,free_s,\
    on_change,tiers,month_tiers,bands,zone,minimum,maximum,rounding,places,mobile_surcharge,rate,valid_from";

/// Moments at which something turns: a band's end, clocks put back and forward, a plain noon.
const MOMENTS: [i64; 5] = [1_781_632_710, 1_792_887_600, 1_774_745_700, 1_772_625_600, 1_792_890_000];

const ZONES: [&str; 5] = ["Europe/London", "Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"];

/// A decimal of up to `places` places below `most`.
fn price(random: &mut StdRng, most: u64) -> String {
    let places = random.random_range(0..=9_u32);
    let units = random.random_range(0..most.saturating_mul(10_u64.pow(places)).max(1));
    rust_decimal::Decimal::new(i64::try_from(units).unwrap(), places).to_string()
}

fn below_one(random: &mut StdRng) -> String {
    let places = random.random_range(1..=9_u32);
    rust_decimal::Decimal::new(random.random_range(0..10_i64.pow(places)), places).to_string()
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1_000, ms % 1_000)
}

fn sometimes(random: &mut StdRng, share: f64, make: impl FnOnce(&mut StdRng) -> String) -> String {
    if random.random_bool(share) { make(random) } else { String::new() }
}

/// A plan's line, with the bridge's own answer in it.
fn line(random: &mut StdRng, explained: bool) -> String {
    let of = |random: &mut StdRng, words: &[&str]| (*words.choose(random).unwrap()).to_owned();
    let step = |random: &mut StdRng| match random.random_range(0..6) {
        0 => 1_000,
        1 => 6_000,
        2 => 30_000,
        3 | 4 => 60_000,
        _ => random.random_range(1..120_000_u64),
    };
    let (initial, next) = (step(random), step(random));
    let at = MOMENTS.choose(random).unwrap() * 1_000_000 + random.random_range(-900_000_000..900_000_000_i64);
    let (mut tiers, mut month, mut bands, mut zone, mut used) = Default::default();
    match random.random_range(0..5) {
        0 => tiers = format!("{}:{} 700:{}", random.random_range(1..600), below_one(random), below_one(random)),
        1 => {
            month = format!("1000:{} 1005:{}", below_one(random), below_one(random));
            used = random.random_range(980..1_010_u64);
        }
        2 | 3 => {
            bands = format!("mon-fri 08:00-19:00 {} | sun 01:10-02:40 {}", below_one(random), below_one(random));
            zone = of(random, &ZONES);
        }
        _ => {}
    }
    let least = sometimes(random, 0.2, below_one);
    let most = sometimes(random, 0.2, |random| format!("{}", 1 + random.random_range(0..3)));
    let cells = [
        ("fee", sometimes(random, 0.4, |random| price(random, 2))),
        ("initial", seconds(initial)),
        ("next", seconds(next)),
        ("length", of(random, &["", "exact", "ceil-s", "floor-s", "nearest-s"])),
        ("zero", of(random, &["", "zero", "minimum"])),
        ("short", sometimes(random, 0.2, |random| seconds(random.random_range(0..20_000)))),
        ("free", sometimes(random, 0.2, |random| seconds(random.random_range(0..90_000)))),
        ("change", of(random, &["", "increment-start", "answer", "split"])),
        ("tiers", tiers),
        ("month", month),
        ("bands", bands),
        ("zone", zone),
        ("least", least),
        ("most", most),
        ("rounding", of(random, &["", "half-up", "half-even", "up", "down"])),
        ("places", of(random, &["", "0", "1", "2", "3", "4", "5", "6"])),
        ("surcharge", sometimes(random, 0.3, |random| format!("{}/min {}/call", below_one(random), below_one(random)))),
    ];
    let rate = price(random, 3);
    let later = random.random_bool(0.4).then(|| (at + random.random_range(0..900_000_000), price(random, 3)));

    let mut csv = String::from(HEADER);
    let moment = |micros: i64| jiff::Timestamp::from_microsecond(micros).unwrap().to_string();
    let mut row = |rate: &str, from: String| {
        csv.push_str("\ndial-out,39,Italy");
        for (name, cell) in &cells {
            csv.push(',');
            csv.push_str(if *name == "fee" && cell.is_empty() { "0" } else { cell });
        }
        csv.push_str(&format!(",{rate},{from}"));
    };
    row(&rate, "2020-01-01".to_owned());
    if let Some((from, rate)) = &later {
        row(rate, moment(*from));
    }
    let deck = Deck::parse("random.csv", &csv).unwrap_or_else(|mistakes| panic!("{mistakes:?}\n{csv}"));

    let discount = of(random, &["0%", "0%", "10%", "33.33%", "100%"]);
    let exchange = sometimes(random, 0.3, |random| format!("{}", 1 + random.random_range(0..99_999)));
    let exchange = if exchange.is_empty() { exchange } else { format!("{}.{exchange}", random.random_range(0..200)) };
    let origin = of(random, &["fixed", "mobile"]);
    let split = of(random, &["second", "increment"]);
    let terms = frozen(deck, at, used, &discount, &exchange, &origin, &split);
    let pool = if random.random_bool(0.3) { terms.pool_floor(random.random_range(0..200_000)) } else { 0 };
    let elapsed = match random.random_range(0..20) {
        0 => 0,
        1..=8 => initial + random.random_range(0..6) * next + random.random_range(0..2),
        _ => random.random_range(0..(initial + next * 40).min(1_200_000)),
    };

    let amount = terms.amount(elapsed, pool).to_text();
    let billed = terms.sum(elapsed, pool).unwrap().billed_ms;
    if pool == 0 {
        // What a carrier takes is reckoned by the tariff alone.
        let tariff = terms.tariff.as_ref().unwrap();
        assert_eq!(tariff.amount(tariff.total(terms.from, elapsed)).to_text(), amount);
    }
    let lines = if explained && pool == 0 && elapsed > 0 {
        let settled = rating::quote(&terms, elapsed, &rating::Means::plain(Micros(i64::MAX), 0));
        assert_eq!(settled.charge.to_text(), amount);
        settled.lines.join("¦")
    } else {
        String::new()
    };
    let cell = |name: &str| cells.iter().find(|(own, _)| *own == name).unwrap().1.clone();
    let later = later.map_or(String::new(), |(from, rate)| format!("{from}={rate}"));
    [
        rate,
        if cell("fee").is_empty() { "0".to_owned() } else { cell("fee") },
        cell("initial"),
        cell("next"),
        cell("length"),
        cell("zero"),
        cell("short"),
        cell("free"),
        cell("change"),
        cell("tiers"),
        cell("month"),
        used.to_string(),
        cell("bands"),
        cell("zone"),
        cell("least"),
        cell("most"),
        cell("rounding"),
        cell("places"),
        cell("surcharge"),
        origin,
        discount,
        exchange,
        split,
        pool.to_string(),
        at.to_string(),
        later,
        elapsed.to_string(),
        amount,
        billed.to_string(),
        lines,
    ]
    .join("\t")
}

/// The plan as a decision freezes it.
fn frozen(deck: Deck, at: i64, used: u64, discount: &str, exchange: &str, origin: &str, split: &str) -> Terms {
    let at = Wall::from_micros(at);
    let discount: Discount = discount.parse().unwrap();
    let prices = Prices { lists: vec![PriceList { deck: deck.into(), discount }], ..Prices::default() };
    let Answer::Found(quoted) = prices.rate(CallType::DialOut, "390612345678", at, Currency::USD) else {
        panic!("no row")
    };
    let (price, later) = quoted.schedule(CallType::DialOut, "390612345678", at);
    let plain = Tariff::plain(quoted.list.deck.version(), quoted.row.clone());
    let exchange = exchange.parse().ok().and_then(|rate| Exchange::new(Currency::USD, rate).ok());
    let origin: Origin = origin.parse().unwrap();
    let mut terms = Terms {
        call_type: CallType::DialOut,
        funding: Funding::Credits,
        capability: Capability::Credits,
        tariff: Some(Tariff { price, later, discount, exchange, origin, ..plain }),
        currency: if exchange.is_some() { "EUR".parse().unwrap() } else { Currency::USD },
        country: "IT".parse().unwrap(),
        priced_country: "IT".parse().unwrap(),
        zone_a: true,
        domestic: true,
        pool_split: split.parse::<PoolSplit>().unwrap(),
        month: None,
        month_used_ms: None,
        notes: Vec::new(),
        from: at,
    };
    terms.month_used(at, used * 60_000);
    terms
}

/// Tells `exact.py` plans, and gives back what it says of them.
fn told(seed: u64) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/exact/exact.py");
    let mut python = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed by tests/run");
    let mut random = StdRng::seed_from_u64(seed);
    let mut pipe = BufWriter::new(python.stdin.take().unwrap());
    for number in 0..PLANS {
        if writeln!(pipe, "{}", line(&mut random, number % EXPLAINED == 0)).is_err() {
            break;
        }
    }
    drop(pipe);
    String::from_utf8(python.wait_with_output().unwrap().stdout).unwrap()
}

#[test]
fn a_million_plans_cost_what_fractions_say() {
    let workers = [1, 2].map(|seed| std::thread::spawn(move || told(seed)));
    for worker in workers {
        let said = worker.join().unwrap();
        assert_eq!(said.trim_end(), format!("{PLANS} calls, 0 differences"));
    }
}
