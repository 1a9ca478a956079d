//! What organisations pay by: lists of their own, discounts, exchange, tiers of the month.

use super::*;

const HEAD: &str =
    "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from,class,currency,month_tiers\n";

/// Aurora has two lists of its own before the house's, of which it pays nine tenths.
fn file(more: &str) -> String {
    let lists = "price_lists = [\"aurora\", \"islands\"]\ndiscount = \"10%\"\n";
    let organisation = FILE.replacen("volume_licensing = true\n", &format!("volume_licensing = true\n{lists}"), 1);
    organisation
        + "[[price_list]]\nname = \"aurora\"\nrates = \"aurora.csv\"\n[[price_list]]\nname = \"islands\"\nrates = \"islands.csv\"\n"
        + more
}

fn beside(name: &str) -> Result<String, String> {
    Ok(match name {
        "rates.csv" => RATES.to_owned(),
        "aurora.csv" => format!("{HEAD}dial-out,39,Italy,0.0120,0,60,60,2020-01-01,,USD,3:0.0060\n"),
        "islands.csv" => {
            format!(
                "{HEAD}dial-out,44,United Kingdom,0.0200,0,60,60,2020-01-01,,EUR,\ndial-out,449,Premium,1,0,60,60,2020-01-01,premium,EUR,\n"
            )
        }
        other => return Err(format!("{other} is not there")),
    })
}

async fn apply(bench: &Bench, text: &str) -> Result<Applied, Vec<Mistake>> {
    bench.store.apply(Document::parse("demo.toml", text, beside)?, NOON).await.unwrap()
}

const ITALY: &str = "+390298765432";
const LONDON: &str = "+442079460123";

/// What a call out of so many minutes costs aurora, by a quote and by a leg.
async fn costs(bench: &Bench, to: &str, minutes: u64) -> String {
    let asked = QuoteRequest {
        organiser: "anna".parse().unwrap(),
        call_type: CallType::DialOut,
        number: number(to),
        caller: None,
        minutes: u32::try_from(minutes).unwrap(),
        now: NOON,
    };
    let quoted = bench.store.quote(&asked).await.unwrap().unwrap();
    let leg = bench.leg();
    let held = grant(bench.store.open_leg(dial(leg, to, "studio")).await.unwrap());
    bench.store.answered(answer(leg)).await.unwrap();
    let mut until = held.until_ms;
    let mut sequence = 1;
    while until < minutes * 60_000 {
        until = grant(bench.store.extend(next(leg, sequence, until - 10_000)).await.unwrap()).until_ms;
        sequence += 1;
    }
    let record = bench.store.settle(leg, over(minutes * 60_000)).await.unwrap();
    assert_eq!(record.charge, quoted.charge, "a quote is what the leg is charged");
    assert_eq!(record.beyond.explanation, quoted.lines);
    bench.audited().await;
    record.charge.to_text()
}

#[tokio::test]
async fn its_own_lists_come_first_then_the_house_with_its_discount() {
    let bench = Bench::empty().await;
    apply(&bench, &file("[[exchange]]\nfrom = \"EUR\"\nto = \"USD\"\nrate = \"1.25\"\n")).await.unwrap();
    assert_eq!(costs(&bench, ITALY, 2).await, "0.0240", "aurora's own price has no discount");
    assert_eq!(costs(&bench, LONDON, 2).await, "0.0500", "0.04 EUR are 0.05 USD");
    let house = FILE.replacen(
        "volume_licensing = true\n",
        "volume_licensing = true\ndiscount = \"10%\"\nprice_lists = []\n",
        1,
    );
    apply(&bench, &house).await.unwrap();
    assert_eq!(costs(&bench, ITALY, 2).await, "0.0360", "nine tenths of the house's price");
    assert_eq!(costs(&bench, LONDON, 2).await, "0.0640", "the fee of 0.01 has no discount");
    let bench = bench.reopened().await;
    assert_eq!(costs(&bench, ITALY, 2).await, "0.0360");
}

#[tokio::test]
async fn a_list_of_another_currency_has_no_price_without_a_rate_of_exchange() {
    let bench = Bench::empty().await;
    apply(&bench, &file("")).await.unwrap();
    assert_eq!(costs(&bench, LONDON, 2).await, "0.0640", "the house's price, nine tenths, and its fee");
    apply(&bench, "[[exchange]]\nfrom = \"EUR\"\nto = \"USD\"\nrate = \"1.25\"\nvalid_from = \"2099-01-01\"\n")
        .await
        .unwrap();
    assert_eq!(costs(&bench, LONDON, 2).await, "0.0640", "not yet");
    apply(&bench, "[[exchange]]\nfrom = \"EUR\"\nto = \"USD\"\nrate = \"1.10\"\n").await.unwrap();
    assert_eq!(costs(&bench, LONDON, 2).await, "0.0440");
}

#[tokio::test]
async fn a_barred_range_of_any_list_is_barred() {
    let bench = Bench::empty().await;
    apply(&bench, &file("[[exchange]]\nfrom = \"EUR\"\nto = \"USD\"\nrate = \"1.10\"\n")).await.unwrap();
    let refused = bench.store.open_leg(dial(bench.leg(), "+449012345678", "studio")).await.unwrap();
    assert_eq!(refused, Opened::Refused(Cause::NumberBlocked));
}

#[tokio::test]
async fn the_months_minutes_move_with_what_legs_hold_and_give_back() {
    let bench = Bench::empty().await;
    apply(&bench, &file("")).await.unwrap();
    assert_eq!(costs(&bench, ITALY, 2).await, "0.0240", "two of three minutes at the first price");
    // Another leg holds the third minute and gives it back: the next finds it there.
    let leg = bench.leg();
    grant(bench.store.open_leg(dial(leg, ITALY, "studio")).await.unwrap());
    assert_eq!(costs(&bench, ITALY, 1).await, "0.0060", "the third minute is held by another");
    assert_eq!(bench.store.settle(leg, over(0)).await.unwrap().charge, Micros::ZERO);
    assert_eq!(costs(&bench, ITALY, 2).await, "0.0120", "three minutes are used");
    let bench = bench.reopened().await;
    assert_eq!(costs(&bench, ITALY, 1).await, "0.0060");
    for planted in ["UPDATE month_use SET used_ms = used_ms - 60000", "DELETE FROM month_use"] {
        bench.tamper(planted).await.unwrap();
        let found = bench.store.audit().await.unwrap();
        assert!(found.len() == 1 && found[0].place.starts_with("month aurora/"), "{planted}: {found:?}");
    }
}

#[tokio::test]
async fn mistakes_in_what_is_paid_by_are_told() {
    let bench = Bench::new().await;
    let told = |outcome: Result<Applied, Vec<Mistake>>| {
        outcome.unwrap_err().iter().map(|m| m.text.clone()).collect::<Vec<_>>()
    };
    let unknown = FILE.replacen("country = \"IT\"\n", "country = \"IT\"\nprice_lists = [\"gold\"]\n", 1);
    assert_eq!(told(apply(&bench, &unknown).await), ["organisation aurora: there is no price list gold"]);
    for (text, why) in [
        ("[[exchange]]\nfrom = \"EUR\"\nto = \"EUR\"\nrate = \"1.1\"\n", "a currency is not exchanged for itself"),
        ("[[exchange]]\nfrom = \"EUR\"\nto = \"USD\"\nrate = \"0\"\n", "expected a rate of exchange"),
        ("[[exchange]]\nfrom = \"EUR\"\nto = \"USD\"\n", "missing"),
        ("[[exchange]]\nfrom = \"EUR\"\nto = \"USD\"\nrate = \"1\"\nvalid_from = \"soon\"\n", "expected 2026-01-01"),
        ("[[price_list]]\nname = \"house\"\nrates = \"aurora.csv\"\n", "everybody has last"),
        ("[[price_list]]\nname = \"A b\"\nrates = \"aurora.csv\"\n", "expected small letters"),
        ("[[price_list]]\nname = \"a\"\nrates = \"none.csv\"\n", "none.csv cannot be read"),
        ("[[price_list]]\nname = \"cost:nobody\"\nrates = \"aurora.csv\"\n", "there is no carrier nobody"),
        ("[[price_list]]\nname = \"cost:No body\"\nrates = \"aurora.csv\"\n", "cost: and a carrier"),
        (
            "[[price_list]]\nname = \"a\"\nrates = \"aurora.csv\"\n[[price_list]]\nname = \"a\"\nrates = \"aurora.csv\"\n",
            "already",
        ),
    ] {
        let told = told(apply(&bench, text).await);
        assert!(told.len() == 1 && told[0].contains(why), "{text}: {told:?}");
    }
    for discount in ["10", "101%", "1.005%"] {
        let text = FILE.replacen("country = \"IT\"\n", &format!("country = \"IT\"\ndiscount = \"{discount}\"\n"), 1);
        assert!(told(apply(&bench, &text).await)[0].contains("expected a discount"), "{discount}");
    }
}

/// What the carrier takes for Italy and for calls in, in a currency of its own.
async fn with_costs(bench: &Bench, italy: &str) {
    let text = "[[price_list]]\nname = \"cost:local\"\nrates = \"cost.csv\"\n\
                [[exchange]]\nfrom = \"EUR\"\nto = \"USD\"\nrate = \"1.25\"\n";
    let csv = format!(
        "{HEAD}dial-out,39,Italy,{italy},0,1,1,2020-01-01,,EUR,\ndial-in-toll-free,39,Italy,0.01,0,60,60,2020-01-01,,EUR,\n"
    );
    let document = Document::parse("costs.toml", text, |_| Ok(csv.clone())).unwrap();
    bench.store.apply(document, NOON).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_record_keeps_what_the_carrier_takes_and_nobody_pays_by_it() {
    let bench = Bench::new().await;
    let call = async |to: &str, elapsed_ms: u64| {
        let leg = bench.leg();
        grant(bench.store.open_leg(dial(leg, to, "studio")).await.unwrap());
        bench.store.answered(answer(leg)).await.unwrap();
        let record = bench.store.settle(leg, over(elapsed_ms)).await.unwrap();
        let cost = record.beyond.cost.clone();
        let cost = cost.map(|c| format!("+{} {} {} {:?}", c.prefix, c.amount, c.currency, c.compared.map(|c| c.to_text())));
        (record.charge.to_text(), cost.unwrap_or_default())
    };
    assert_eq!(call(ITALY, 30_000).await, ("0.0200".to_owned(), String::new()), "nobody has said what it takes");
    with_costs(&bench, "0.0120").await;
    assert_eq!(call(ITALY, 30_000).await, ("0.0200".to_owned(), "+39 0.0060 EUR Some(\"0.0075\")".to_owned()));
    assert_eq!(call(LONDON, 30_000).await.1, "", "of this number it does not say");
    let ours = bench.store.legs_by(&"local".parse().unwrap(), (Wall::from_micros(0), NOON.plus_millis(90_000)), "").await;
    let expected: Vec<_> = ours.unwrap().iter().map(|leg| leg.expected.map(|amount| (amount, leg.currency))).collect();
    assert_eq!(expected, [None, Some((micros("0.006"), "EUR".parse().ok())), None], "what a file of theirs is held against");
    let records = bench.store.usage(&UsageFilter::default()).await.unwrap();
    with_costs(&bench, "0.9000").await;
    assert_eq!(bench.store.usage(&UsageFilter::default()).await.unwrap(), records, "what was written stays");
    assert_eq!(call(ITALY, 1_000).await, ("0.0200".to_owned(), "+39 0.0150 EUR Some(\"0.018750\")".to_owned()));
    assert!(records.iter().all(|record| !record.to_json("").contains("\"cost\"")), "it is not for whoever pays");
    let named = FILE.replacen("country = \"IT\"\n", "country = \"IT\"\nprice_lists = [\"cost:local\"]\n", 1);
    let refused = bench.apply(&named).await.unwrap_err();
    assert!(refused[0].text.contains("no price of anybody"), "{refused:?}");
    let facts = bench.store.facts();
    assert!(facts.price_lists.is_empty() && facts.deck_named("cost:local").is_some());
    bench.audited().await;
}

/// Worked case 21 with fundings: what expires first is used first, in whatever order it came.
#[tokio::test]
async fn case_21_what_expires_first_is_used_first() {
    const DAY_MS: i64 = 86_400_000;
    // A year less so many days ago: it has that many left.
    let dated = [("c", "0.02", 2), ("a", "0.04", 10), ("b", "0.18", 365)];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let bench = Bench::with_credits("0").await;
        for (key, amount, days) in order.map(|place| dated[place]) {
            let at = Wall::from_micros(NOON.micros() - (365 - days) * DAY_MS * 1_000);
            bench.store.add_credits(Funds { at, ..funds(key, amount) }).await.unwrap();
        }
        let leg = bench.leg();
        grant(bench.store.open_leg(dial(leg, ITALY, "studio")).await.unwrap());
        bench.store.answered(answer(leg)).await.unwrap();
        for (sequence, until) in [(1, 50_000), (2, 110_000), (3, 170_000)] {
            grant(bench.store.extend(next(leg, sequence, until)).await.unwrap());
        }
        assert_eq!(bench.store.settle(leg, over(240_000)).await.unwrap().charge, micros("0.08"));
        let left = bench.balance("aurora").await.fundings;
        let left: Vec<String> = left.iter().map(|row| format!("{} {}", row.key, row.remaining)).collect();
        assert_eq!(left, ["c 0.0000", "a 0.0000", "b 0.1600"], "booked in the order {order:?}");
        bench.audited().await;
    }
}

#[tokio::test]
async fn what_is_given_back_after_a_charge_puts_the_account_back() {
    let bench = Bench::new().await;
    let before = bench.balance("aurora").await;
    let leg = bench.leg();
    grant(bench.store.open_leg(dial(leg, LONDON, "studio")).await.unwrap());
    bench.store.answered(answer(leg)).await.unwrap();
    let record = bench.store.settle(leg, over(31_000)).await.unwrap();
    assert_ne!(bench.balance("aurora").await.posted, before.posted);
    let refund = Funds { kind: FundsKind::Adjustment, ..funds("refund", &record.charge.to_text()) };
    for booked in [CreditsAdded::Booked, CreditsAdded::Repeated] {
        assert_eq!(bench.store.add_credits(refund.clone()).await.unwrap(), booked);
        let after = bench.balance("aurora").await;
        assert_eq!((after.posted, after.held, after.available), (before.posted, before.held, before.available));
        let left = |balance: &Balance| balance.fundings.iter().map(|row| row.remaining).sum::<Micros>();
        assert_eq!(left(&after), left(&before));
    }
    bench.audited().await;
}

/// What the signalling said of the caller's telephone stands with the leg, also where the payer is known late, and whoever
/// is called toll-free pays what that costs more.
#[tokio::test]
async fn a_payphone_costs_more_and_a_telephone_at_home_does_not() {
    let bench = Bench::empty().await;
    let csv = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from,payphone_surcharge,mobile_surcharge\n\
               dial-in-toll-free,39,Italy,0.0500,0,60,60,2020-01-01,0.494/call,0.0300/min\n";
    let named = FILE.replacen("country = \"IT\"\n", "country = \"IT\"\nprice_lists = [\"free\"]\n", 1)
        .replace("credits = \"1.00\"", "credits = \"100.00\"")
        + "[[price_list]]\nname = \"free\"\nrates = \"free.csv\"\n";
    let beside = |name: &str| Ok(if name == "free.csv" { csv.to_owned() } else { RATES.to_owned() });
    bench.store.apply(Document::parse("demo.toml", &named, beside).unwrap(), NOON).await.unwrap().unwrap();
    for (origin, charge) in [(Origin::Fixed, "0.0500"), (Origin::Mobile, "0.0800"), (Origin::Payphone, "0.5440")] {
        for known_late in [false, true] {
            let leg = bench.leg();
            let meeting = (!known_late).then_some("studio");
            let open = OpenLeg { origin, ..asked(leg, CallType::DialInTollFree, "+39800123456", meeting) };
            bench.store.open_leg(open).await.unwrap();
            bench.store.answered(answer(leg)).await.unwrap();
            if known_late {
                let named = NamePayer { leg, meeting: "studio".parse().unwrap(), now: NOON, elapsed_ms: 1_000 };
                grant(bench.store.name_payer(named).await.unwrap());
            }
            let record = bench.store.settle(leg, over(50_000)).await.unwrap();
            assert_eq!(record.charge.to_text(), charge, "{origin} {known_late}");
        }
    }
    bench.audited().await;
}
