//! Charges given back and legs priced again: what comes back goes where it was, and the record stays as it was written.

use super::*;

/// Aurora has a price that falls with the month's minutes; borealis has a pool, and may spend credits after it.
const LIST: &str = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from,class,month_tiers\n\
    dial-in-toll,39,Italy,0.0100,0,60,60,2020-01-01,standard,\n\
    dial-in-toll-free,39,Italy,0.0500,0,60,60,2020-01-01,standard,\n\
    dial-out,39,Italy,0.0200,0.0100,60,60,2020-01-01,standard,3:0.0100\n\
    dial-out,44,United Kingdom,0.0300,0.0100,1,1,2020-01-01,standard,\n\
    dial-out,1,United States,0.0100,0,60,60,2020-01-01,standard,\n";

const ITALY: &str = "+390298765432";
const LONDON: &str = "+442079460123";

async fn bring(bench: &Bench, text: &str, list: &str) {
    let document = Document::parse("demo.toml", text, |_| Ok(list.to_owned())).unwrap();
    bench.store.apply(document, NOON).await.unwrap().unwrap();
}

fn spending() -> String {
    FILE.replace("licences = [\"audio-conferencing\"]", "licences = [\"audio-conferencing\", \"communications-credits\"]")
        .replace("time_zone = \"America/New_York\"", "time_zone = \"America/New_York\"\ncredits = \"1.00\"")
}

async fn books(text: &str) -> Bench {
    let bench = Bench::empty().await;
    bring(&bench, text, LIST).await;
    bench
}

/// A call out, from beginning to end.
async fn talked(bench: &Bench, to: &str, meeting: &str, ms: u64) -> LegId {
    let leg = bench.leg();
    let mut until = grant(bench.store.open_leg(dial(leg, to, meeting)).await.unwrap()).until_ms;
    bench.store.answered(answer(leg)).await.unwrap();
    let mut sequence = 1;
    while until < ms {
        until = grant(bench.store.extend(next(leg, sequence, until - 10_000)).await.unwrap()).until_ms;
        sequence += 1;
    }
    bench.store.settle(leg, over(ms)).await.unwrap();
    leg
}

fn back(leg: LegId, amount: Option<&str>, key: &str) -> Refund {
    Refund { leg, amount: amount.map(micros), key: key.to_owned(), reason: "bad line".to_owned(), at: NOON }
}

/// What can be counted: accounts, fundings, pools, minutes of months, spending of days.
async fn counted(bench: &Bench) -> Vec<String> {
    let conn = &mut bench.store.reader().await.unwrap();
    let mut counted = Vec::new();
    for sql in [
        "SELECT organisation || ' posted ' || posted || ' held ' || held || ' burn ' || burn_nanos FROM account ORDER BY 1",
        "SELECT key || ' ' || remaining || ' of ' || amount || ' until ' || expires FROM funding ORDER BY 1",
        "SELECT organisation || ' pool ' || used_ms || ' and ' || held_ms FROM pool ORDER BY 1",
        "SELECT organisation || ' ' || destination || ' ' || used_ms FROM month_use WHERE used_ms > 0 ORDER BY 1",
        "SELECT organisation || ' ' || day || ' ' || charged FROM spend WHERE charged > 0 ORDER BY 1",
    ] {
        for row in sql::query(sql).fetch_all(conn).await.unwrap() {
            counted.push(row.try_get::<String, _>(0).unwrap());
        }
    }
    counted
}

#[tokio::test]
async fn a_refund_restores_every_balance_exactly() {
    for (to, meeting, ms) in [
        (ITALY, "studio", 61_000),
        (ITALY, "studio", 290_000),
        (LONDON, "studio", 42_400),
        (ITALY, "watch", 50_000),
        (LONDON, "watch", 3_700_500),
    ] {
        let bench = books(&spending()).await;
        // Before it, others have used of everything; a second funding lies behind the first.
        bench.store.add_credits(funds("second", "0.50")).await.unwrap();
        talked(&bench, ITALY, "studio", 100_000).await;
        talked(&bench, ITALY, "watch", 10_000).await;
        let before = counted(&bench).await;
        let leg = talked(&bench, to, meeting, ms).await;
        let record = bench.store.record(leg).await.unwrap();
        assert_ne!(counted(&bench).await, before);
        let Corrected::Booked(correction) = bench.store.refund(back(leg, None, "k")).await.unwrap() else { panic!() };
        assert_eq!(counted(&bench).await, before, "{to} {meeting} {ms}");
        assert_eq!(correction.amount.0, -record.charge.0);
        assert_eq!(correction.pool_ms, -i64::try_from(record.beyond.pool_used_ms).unwrap());
        assert_eq!(bench.store.record(leg).await.unwrap(), record, "the record is never changed");
        bench.audited().await;
    }
}

#[tokio::test]
async fn parts_come_back_last_used_first_and_never_more_than_was_paid() {
    let bench = books(&FILE.replace("\"1.00\"", "\"0.10\"")).await;
    bench.store.add_credits(funds("second", "1.00")).await.unwrap();
    let leg = talked(&bench, LONDON, "studio", 300_000).await;
    assert_eq!(bench.store.record(leg).await.unwrap().charge, micros("0.16"));
    let rests = || async {
        bench.balance("aurora").await.fundings.iter().map(|row| row.remaining.to_text()).collect::<Vec<_>>()
    };
    assert_eq!(rests().await, ["0.0000", "0.9400"]);
    let one = bench.store.refund(back(leg, Some("0.05"), "one")).await.unwrap();
    assert_eq!(rests().await, ["0.0000", "0.9900"]);
    let Corrected::Booked(first) = one else { panic!("{one:?}") };
    assert_eq!(bench.store.refund(back(leg, Some("0.05"), "one")).await.unwrap(), Corrected::Repeated(first.clone()));
    assert!(matches!(bench.store.refund(back(leg, Some("0.04"), "one")).await, Err(StoreError::Conflict(_))));
    assert!(matches!(bench.store.refund(back(leg, Some("0"), "none")).await, Err(StoreError::Conflict(_))));
    assert!(matches!(bench.store.refund(Refund { reason: " ".into(), ..back(leg, None, "x") }).await, Err(StoreError::Conflict(_))));
    assert!(matches!(bench.store.refund(back(bench.leg(), None, "x")).await, Err(StoreError::Unknown(_))));
    let more = bench.store.refund(back(leg, Some("0.1101"), "more")).await.unwrap();
    assert_eq!(more, Corrected::TooMuch { left: micros("0.11") });
    bench.store.refund(back(leg, Some("0.03"), "two")).await.unwrap();
    assert_eq!(rests().await, ["0.0200", "1.0000"]);
    bench.store.refund(back(leg, None, "all")).await.unwrap();
    assert_eq!(rests().await, ["0.1000", "1.0000"]);
    assert_eq!(bench.store.refund(back(leg, None, "again")).await.unwrap(), Corrected::TooMuch { left: Micros::ZERO });
    let all = bench.store.corrections(&UsageFilter::default()).await.unwrap();
    let told: Vec<_> = all.iter().map(|one| (one.number, one.amount.to_text())).collect();
    assert_eq!(told, [(1, "-0.0500".into()), (2, "-0.0300".into()), (3, "-0.0800".to_owned())]);
    assert_eq!(bench.store.corrections_of(leg).await.unwrap(), all);
    bench.audited().await;
}

const YEAR_MS: u64 = 366 * 86_400_000;

#[tokio::test]
async fn a_refund_into_an_expired_funding_opens_it_again_or_is_a_new_one() {
    for days in [30_u64, 0] {
        let bench = books(&FILE.replace("credits = ", &format!("refund_days = {days}\ncredits = "))).await;
        let leg = talked(&bench, LONDON, "studio", 60_000).await;
        let late = NOON.plus_millis(YEAR_MS);
        bench.store.refund(Refund { at: late, ..back(leg, None, "late") }).await.unwrap();
        let balance = bench.balance("aurora").await;
        assert_eq!(balance.available, micros("0.04"), "what was left of it is breakage; what came back is not");
        let rests: Vec<_> = balance.fundings.iter().filter(|row| row.remaining > Micros::ZERO).collect();
        let due = if days > 0 {
            ("opening:aurora".to_owned(), late.plus_millis(days * 86_400_000))
        } else {
            (format!("leg:{leg}:correction:1"), late.plus_millis(YEAR_MS))
        };
        assert_eq!((rests[0].key.clone(), rests[0].expires), due);
        bench.audited().await;
        // And what was opened again closes again.
        let later = Funds { at: late.plus_millis(YEAR_MS), ..funds("fresh", "1.00") };
        bench.store.add_credits(later).await.unwrap();
        assert_eq!(bench.balance("aurora").await.available, micros("1.00"));
        bench.audited().await;
    }
}

#[tokio::test]
async fn a_funding_that_expires_while_it_is_held_is_breakage_when_it_is_free() {
    let bench = books(FILE).await;
    let leg = bench.leg();
    grant(bench.store.open_leg(dial(leg, LONDON, "studio")).await.unwrap());
    bench.store.answered(answer(leg)).await.unwrap();
    let late = |key, days: u64| Funds { at: NOON.plus_millis(YEAR_MS + days * 86_400_000), ..funds(key, "1.00") };
    bench.store.add_credits(late("second", 0)).await.unwrap();
    let balance = bench.balance("aurora").await;
    assert_eq!((balance.held, balance.fundings[0].remaining), (micros("0.04"), micros("0.04")), "what is held stays");
    bench.audited().await;
    bench.store.settle(leg, over(20_000)).await.unwrap();
    bench.store.add_credits(late("third", 1)).await.unwrap();
    let balance = bench.balance("aurora").await;
    assert_eq!((balance.fundings[0].remaining, balance.available), (Micros::ZERO, micros("2.00")));
    bench.audited().await;
}

#[tokio::test]
async fn a_refund_pays_an_overdraft_back_first() {
    let finish = FILE.replace("credits = \"1.00\"", "credits = \"0.04\"\non_empty = \"finish\"\noverdraft = \"1.00\"");
    let bench = books(&finish).await;
    let (first, second) = (bench.leg(), bench.leg());
    for leg in [first, second] {
        let opened = bench.store.open_leg(dial(leg, LONDON, "studio")).await.unwrap();
        if leg == second {
            assert_eq!(opened, Opened::Refused(Cause::NoCredit), "a new leg needs credit");
            continue;
        }
        bench.store.answered(answer(leg)).await.unwrap();
        grant(bench.store.extend(next(leg, 1, 50_000)).await.unwrap());
    }
    bench.store.settle(first, over(120_000)).await.unwrap();
    assert_eq!(bench.balance("aurora").await.posted, micros("-0.03"));
    bench.audited().await;
    bench.store.refund(back(first, Some("0.02"), "part")).await.unwrap();
    assert_eq!(bench.balance("aurora").await.posted, micros("-0.01"));
    bench.audited().await;
    bench.store.add_credits(funds("pays-back", "0.01")).await.unwrap();
    bench.audited().await;
    bench.store.refund(back(first, None, "rest")).await.unwrap();
    let balance = bench.balance("aurora").await;
    assert_eq!(balance.available, micros("0.05"));
    assert_eq!(balance.fundings.iter().map(|row| row.remaining.0).sum::<i64>(), 50_000);
    bench.audited().await;
}

/// Legs of all sorts, priced again by the same list.
#[tokio::test]
async fn the_same_prices_give_the_same_charge() {
    let bench = books(&spending()).await;
    for (to, meeting, ms) in
        [(ITALY, "studio", 290_000), (LONDON, "studio", 42_400), (LONDON, "watch", 3_700_500), (ITALY, "watch", 50_000)]
    {
        talked(&bench, to, meeting, ms).await;
    }
    let toll_leg = bench.leg();
    grant(bench.store.open_leg(toll(toll_leg)).await.unwrap());
    bench.store.settle(toll_leg, End::new(Cause::Busy, EndedBy::FarSide, 0, NOON)).await.unwrap();
    let before = counted(&bench).await;
    for organisation in ["aurora", "borealis"] {
        let which = period(organisation);
        for order in [None, Some(("k", "no reason"))] {
            let told = bench.store.rerate(&which, order, NOON).await.unwrap();
            assert_eq!((told.changed, told.failed, told.amount, told.list), (0, 0, Micros::ZERO, vec![]));
            assert!(told.legs >= 2);
        }
    }
    assert_eq!(counted(&bench).await, before);
    assert_eq!(bench.store.corrections(&UsageFilter::default()).await.unwrap(), []);
    bench.audited().await;
}

fn period(organisation: &str) -> Which {
    Which::Period {
        organisation: organisation.parse().unwrap(),
        from: NOON,
        to: NOON.plus_millis(86_400_000),
    }
}

#[tokio::test]
async fn a_corrected_list_books_the_differences_both_ways() {
    let bench = books(FILE).await;
    let (italy, london) = (talked(&bench, ITALY, "studio", 290_000).await, talked(&bench, LONDON, "studio", 60_000).await);
    assert_eq!(bench.store.record(italy).await.unwrap().charge, micros("0.09"), "a fee, three minutes, two cheaper ones");
    assert_eq!(bench.store.record(london).await.unwrap().charge, micros("0.04"));
    let before = counted(&bench).await;
    // Italy was too cheap, London too dear.
    let corrected = LIST.replace("Italy,0.0200,", "Italy,0.0300,").replace("United Kingdom,0.0300,", "United Kingdom,0.0200,");
    bring(&bench, FILE, &corrected).await;
    let due = |leg, before, price| (leg, micros(before), micros(price));
    let looked = bench.store.rerate(&period("aurora"), None, NOON).await.unwrap();
    assert_eq!((looked.legs, looked.changed, looked.failed, looked.amount), (2, 2, 0, micros("0.02")));
    assert_eq!(counted(&bench).await, before, "a look moves nothing");
    let order = Some(("spring", "the list had old prices"));
    let told = bench.store.rerate(&period("aurora"), order, NOON).await.unwrap();
    assert_eq!(told, looked, "what was looked at is what is booked");
    let mut list: Vec<_> = told.list.iter().map(|one| (one.leg, one.before, one.price)).collect();
    list.sort();
    let mut wanted = [due(italy, "0.09", "0.12"), due(london, "0.04", "0.03")];
    wanted.sort();
    assert_eq!(list, wanted);
    assert_eq!(bench.balance("aurora").await.posted, micros("0.85"));
    assert_eq!(bench.store.rerate(&period("aurora"), order, NOON).await.unwrap().amount, told.amount, "a repeat");
    assert_eq!(bench.balance("aurora").await.posted, micros("0.85"), "books nothing");
    assert_eq!(bench.store.record(italy).await.unwrap().charge, micros("0.09"), "the old price is kept");
    bench.audited().await;
    // Back to the first list: the second correction takes the first back, and all that was charged can be refunded.
    bring(&bench, FILE, LIST).await;
    let again = bench.store.rerate(&Which::Leg(italy), Some(("back", "it was right")), NOON).await.unwrap();
    assert_eq!(again.amount, micros("-0.03"));
    for leg in [italy, london] {
        bench.store.refund(back(leg, None, &format!("all-{leg}"))).await.unwrap();
    }
    assert_eq!(bench.balance("aurora").await.available, micros("1.00"));
    bench.audited().await;
}

/// The number called decides the price: without it there is none. What was booked stands in the trail.
#[tokio::test]
async fn a_leg_whose_number_is_forgotten_keeps_its_price() {
    let bench = books(FILE).await;
    let (italy, london) = (talked(&bench, ITALY, "studio", 60_000).await, talked(&bench, LONDON, "studio", 60_000).await);
    bring(&bench, FILE, &LIST.replace(",0.0200,", ",0.0300,").replace(",0.0300,0.0100,1", ",0.0200,0.0100,1")).await;
    let forget = Forget { whom: Whom::Number(number(LONDON)), dry_run: false };
    bench.store.forget(forget, NOON).await.unwrap();
    let by_paula = bench.store.by(Who { name: "paula".to_owned(), door: TrailDoor::Cli, role: None, organisation: None });
    let told = by_paula.rerate(&period("aurora"), Some(("k", "an old list")), NOON).await.unwrap();
    let of = |leg| told.list.iter().find(|one| one.leg == leg).unwrap();
    assert_eq!((of(italy).amount, of(italy).why_not.as_deref()), (micros("0.01"), None));
    assert!(of(london).amount == Micros::ZERO && of(london).why_not.as_deref().unwrap().contains("forgotten"));
    // Its money can be given back all the same.
    by_paula.refund(back(london, None, "all")).await.unwrap();
    by_paula.refund(back(london, None, "all")).await.unwrap();
    let trail = bench.store.trail(&TrailFilter::default()).await.unwrap();
    let by_her: Vec<_> = trail.iter().filter(|row| row.who == "paula").map(|row| (&*row.verb, row.what.clone())).collect();
    let mut wanted = vec![("refund", format!("leg {london}")), ("re-rate", format!("leg {italy}"))];
    wanted.sort();
    let mut found = by_her.clone();
    found.sort();
    assert_eq!(found, wanted);
    bench.audited().await;
}

#[tokio::test]
async fn a_price_that_falls_never_gives_back_what_was_refunded() {
    let bench = books(FILE).await;
    let leg = talked(&bench, LONDON, "studio", 60_000).await;
    bench.store.refund(back(leg, Some("0.03"), "half")).await.unwrap();
    bring(&bench, FILE, &LIST.replace("United Kingdom,0.0300,", "United Kingdom,0.0050,")).await;
    let told = bench.store.rerate(&Which::Leg(leg), Some(("k", "too dear")), NOON).await.unwrap();
    assert_eq!((told.list[0].price, told.amount), (micros("0.015"), micros("-0.01")));
    assert_eq!(bench.balance("aurora").await.available, micros("1.00"));
    bench.audited().await;
}

#[tokio::test]
async fn what_the_account_cannot_pay_or_no_list_prices_is_told_and_left() {
    let bench = books(FILE).await;
    let (london, italy) = (talked(&bench, LONDON, "studio", 60_000).await, talked(&bench, ITALY, "studio", 60_000).await);
    let list = LIST.replace("United Kingdom,0.0300,", "United Kingdom,9.0000,").replace("dial-out,39,", "dial-out,33,");
    bring(&bench, FILE, &list).await;
    let told = bench.store.rerate(&period("aurora"), Some(("k", "r")), NOON).await.unwrap();
    assert_eq!((told.legs, told.changed, told.failed, told.amount), (2, 0, 2, Micros::ZERO));
    let why = |leg| told.list.iter().find(|one| one.leg == leg).unwrap().why_not.clone().unwrap();
    assert_eq!(why(london), "the account cannot pay the difference");
    assert_eq!(why(italy), "no rate in use now fits it");
    assert_eq!(bench.balance("aurora").await.available, micros("0.93"));
    bench.audited().await;
}

/// Whatever is refunded and priced again, in whatever order, the books are right, and refunded whole all is as before.
#[tokio::test]
async fn any_order_of_corrections_keeps_the_books_right() {
    for seed in 0..12_u64 {
        let text = FILE.replace("\"1.00\"", "\"0.20\"");
        let bench = books(&text).await;
        bench.store.add_credits(funds("more", "9.00")).await.unwrap();
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut draw = move |most: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % most
        };
        let mut legs = Vec::new();
        for step in 0..14_u64 {
            let key = format!("{seed}-{step}");
            match draw(4) {
                0 | 1 => {
                    let to = if draw(2) == 0 { ITALY } else { LONDON };
                    legs.push(talked(&bench, to, "studio", 1_000 + draw(400_000)).await);
                }
                2 if !legs.is_empty() => {
                    let leg = legs[usize::try_from(draw(legs.len() as u64)).unwrap()];
                    let amount = (draw(2) == 0).then(|| format!("0.0{}", 1 + draw(9)));
                    bench.store.refund(back(leg, amount.as_deref(), &key)).await.unwrap();
                }
                _ => {
                    let rate = format!("United Kingdom,0.0{}", 1 + draw(9));
                    bring(&bench, &text, &LIST.replace("United Kingdom,0.03", &rate)).await;
                    bench.store.rerate(&period("aurora"), Some((&key, "r")), NOON).await.unwrap();
                }
            }
            bench.audited().await;
        }
        for leg in legs {
            bench.store.refund(back(leg, None, &format!("end-{leg}"))).await.unwrap();
        }
        let balance = bench.balance("aurora").await;
        assert!(balance.fundings.iter().all(|row| row.remaining == row.amount), "{seed}: {balance:?}");
        bench.audited().await;
    }
}

/// A balance of any date: of the past what its entries made it, of the future what does not expire before it.
#[tokio::test]
async fn the_balance_of_any_date_is_a_question() {
    let bench = books(FILE).await;
    let leg = talked(&bench, LONDON, "studio", 60_000).await;
    let day = |days: u64| NOON.plus_millis(days * 86_400_000);
    bench.store.refund(Refund { at: day(10), ..back(leg, Some("0.01"), "part") }).await.unwrap();
    bench.store.add_credits(Funds { at: day(20), ..funds("second", "0.50") }).await.unwrap();
    let told = async |at, now| {
        let told = bench.store.as_of(&"aurora".parse().unwrap(), at, now).await.unwrap();
        let rests: i64 = told.fundings.iter().map(|row| row.remaining.0).sum();
        assert_eq!(rests, told.posted.0);
        (told.posted.to_text(), told.expiring.to_text())
    };
    for (at, posted, expiring) in [
        (Wall::from_micros(NOON.micros() - 1), "0.0000", "0.0000"),
        (NOON, "1.0000", "0.0000"),
        (day(9), "0.9600", "0.0000"),
        (day(10), "0.9700", "0.0000"),
        (day(20), "1.4700", "0.0000"),
        (day(366), "0.5000", "0.9700"),
        (day(400), "0.0000", "1.4700"),
    ] {
        assert_eq!(told(at, day(20)).await, (posted.to_owned(), expiring.to_owned()), "{at:?}");
    }
}
