//! One leg at a time: each function of the door.

use super::*;

#[tokio::test]
async fn a_toll_call_is_held_charged_and_recorded() {
    let bench = Bench::new().await;
    let leg = bench.leg();
    let first = grant(bench.store.open_leg(toll(leg)).await.unwrap());
    assert_eq!((first.until_ms, first.is_final, first.funding), (60_000, false, Funding::Credits));
    // A minute is held; the rest of a dollar lasts 99 more at a cent a minute.
    assert_eq!(first.funded_ms, Some(60_000 + 99 * 60_000));
    assert_eq!(bench.balance("aurora").await.held, micros("0.0100"));
    bench.store.answered(answer(leg)).await.unwrap();
    let second = grant(bench.store.extend(next(leg, 1, 50_000)).await.unwrap());
    assert_eq!(second.until_ms, 120_000);
    bench.audited().await;
    let record = bench.store.settle(leg, over(61_000)).await.unwrap();
    assert_eq!((record.charge, record.duration_seconds()), (micros("0.0200"), 61));
    assert_eq!(record.beyond.cause, Cause::HungUp);
    assert_eq!(record.beyond.holds, ["open", "extend:1"]);
    let balance = bench.balance("aurora").await;
    assert_eq!((balance.posted, balance.held, balance.burn_nanos), (micros("0.98"), Micros::ZERO, 0));
    assert_eq!(balance.fundings[0].remaining, micros("0.98"));
    assert_eq!(bench.store.usage(&UsageFilter::default()).await.unwrap(), [record]);
    bench.audited().await;
}

#[tokio::test]
async fn every_request_repeated_is_given_the_first_answer() {
    let bench = Bench::new().await;
    let leg = bench.leg();
    let store = &bench.store;
    let first = store.open_leg(toll(leg)).await.unwrap();
    store.answered(answer(leg)).await.unwrap();
    let extended = store.extend(next(leg, 1, 50_000)).await.unwrap();
    for _ in 0..3 {
        assert_eq!(store.open_leg(toll(leg)).await.unwrap(), first);
        assert_eq!(store.extend(next(leg, 1, 55_000)).await.unwrap(), extended);
        store.answered(Answered { at: NOON.plus_millis(9), ..answer(leg) }).await.unwrap();
    }
    assert_eq!(bench.balance("aurora").await.held, micros("0.02"));
    let record = store.settle(leg, over(30_000)).await.unwrap();
    for elapsed_ms in [0, 90_000] {
        assert_eq!(store.settle(leg, over(elapsed_ms)).await.unwrap(), record);
        assert_eq!(store.open_leg(toll(leg)).await.unwrap(), first);
        assert_eq!(store.extend(next(leg, 1, 0)).await.unwrap(), extended);
    }
    assert!(matches!(store.extend(next(leg, 2, 0)).await, Err(StoreError::Conflict(_))));
    assert!(matches!(store.open_leg(dial(leg, "+390611111111", "studio")).await, Err(StoreError::Conflict(_))));
    assert_eq!(bench.balance("aurora").await.posted, micros("0.99"));
    bench.audited().await;
}

#[tokio::test]
async fn a_leg_that_was_never_answered_costs_nothing_and_has_a_record() {
    let bench = Bench::new().await;
    let leg = bench.leg();
    grant(bench.store.open_leg(dial(leg, "+447700900123", "studio")).await.unwrap());
    let end = End::new(Cause::Busy, EndedBy::FarSide, 20_000, NOON.plus_millis(20_000));
    let record = bench.store.settle(leg, end).await.unwrap();
    assert_eq!((record.charge, record.duration_ms, record.beyond.cause), (Micros::ZERO, 0, Cause::Busy));
    assert_eq!(bench.balance("aurora").await.available, micros("1.00"));
    bench.audited().await;
}

#[tokio::test]
async fn an_answer_that_never_went_out_is_none() {
    let bench = Bench::new().await;
    let leg = bench.leg();
    grant(bench.store.open_leg(toll(leg)).await.unwrap());
    bench.store.answered(answer(leg)).await.unwrap();
    let end = End::new(Cause::Cancelled, EndedBy::FarSide, 0, NOON.plus_millis(2));
    let record = bench.store.settle(leg, end).await.unwrap();
    assert_eq!((record.charge, record.duration_ms, record.beyond.stamps.answered), (Micros::ZERO, 0, None));
    assert_eq!(bench.balance("aurora").await.available, micros("1.00"));
    bench.audited().await;
}

#[tokio::test]
async fn a_payer_named_late_also_pays_what_has_elapsed() {
    let bench = Bench::new().await;
    let leg = bench.leg();
    let store = &bench.store;
    let anonymous = asked(leg, CallType::DialInToll, "+390612345678", None);
    assert_eq!(store.open_leg(anonymous).await.unwrap(), Opened::NoPayerYet);
    store.answered(answer(leg)).await.unwrap();
    assert!(matches!(store.extend(next(leg, 1, 5_000)).await, Err(StoreError::Conflict(_))));
    let name = |meeting: &str, elapsed_ms| NamePayer {
        leg,
        meeting: meeting.parse().unwrap(),
        elapsed_ms,
        now: NOON.plus_millis(elapsed_ms),
    };
    assert_eq!(store.name_payer(name("nowhere", 9_000)).await.unwrap(), Opened::Refused(Cause::UnknownMeeting));
    assert_eq!(store.name_payer(name("unlicensed", 19_000)).await.unwrap(), Opened::Refused(Cause::NotLicensed));
    let named = store.name_payer(name("studio", 40_000)).await.unwrap();
    assert!(grant(named).until_ms >= 100_000, "{named:?}");
    assert_eq!(store.name_payer(name("studio", 45_000)).await.unwrap(), named);
    let record = store.settle(leg, over(45_000)).await.unwrap();
    assert_eq!((record.charge, record.conference_id.as_deref()), (micros("0.01"), Some("1000001")));
    assert_eq!(record.beyond.stamps.payer_known, Some(NOON.plus_millis(40_000)));
    bench.audited().await;
}

#[tokio::test]
async fn a_caller_who_never_names_a_payer_leaves_a_record_without_one() {
    let bench = Bench::new().await;
    let leg = bench.leg();
    bench.store.open_leg(asked(leg, CallType::DialInToll, "+390612345678", None)).await.unwrap();
    bench.store.answered(answer(leg)).await.unwrap();
    let end = End::new(Cause::NoPayer, EndedBy::Bridge, 60_000, NOON.plus_millis(60_000));
    let record = bench.store.settle(leg, end).await.unwrap();
    assert_eq!((record.charge, record.beyond.organisation), (Micros::ZERO, None));
    bench.audited().await;
}

#[tokio::test]
async fn refusals_name_their_cause_and_move_nothing() {
    let bench = Bench::new().await;
    let toll_free = |leg, meeting| asked(leg, CallType::DialInTollFree, "+39800123456", Some(meeting));
    let cases = [
        (toll(bench.leg()), None),
        (asked(bench.leg(), CallType::DialInToll, "+390612345678", Some("unlicensed")), Some(Cause::NotLicensed)),
        (asked(bench.leg(), CallType::DialInToll, "+390699999999", Some("studio")), Some(Cause::UnknownNumber)),
        (toll_free(bench.leg(), "watch"), Some(Cause::CreditsNotSetUp)),
        (dial(bench.leg(), "+4930123456", "studio"), Some(Cause::NoRate)),
        (toll_free(bench.leg(), "studio"), None),
    ];
    for (asked, cause) in cases {
        let leg = asked.leg;
        let opened = bench.store.open_leg(asked).await.unwrap();
        match cause {
            Some(cause) => assert_eq!(opened, Opened::Refused(cause)),
            None => assert!(matches!(opened, Opened::Granted(_)), "{opened:?}"),
        }
        let record = bench.store.settle(leg, over(0)).await.unwrap();
        assert_eq!(record.charge, Micros::ZERO);
    }
    assert_eq!(bench.balance("aurora").await.available, micros("1.00"));
    bench.audited().await;
}

#[tokio::test]
async fn the_pool_pays_first_and_turns_with_the_month() {
    let bench = Bench::new().await;
    let leg = bench.leg();
    let borealis = "borealis".parse().unwrap();
    let first = grant(bench.store.open_leg(dial(leg, "+447700900123", "watch")).await.unwrap());
    assert_eq!((first.until_ms, first.funded_ms), (60_000, None));
    bench.store.answered(answer(leg)).await.unwrap();
    let pool = bench.store.pool(&borealis, NOON).await.unwrap();
    assert_eq!((pool.granted_ms, pool.used_ms, pool.held_ms), (3_600_000, 0, 60_000));
    bench.audited().await;
    let record = bench.store.settle(leg, over(30_500)).await.unwrap();
    assert_eq!((record.charge, record.beyond.pool_used_ms), (Micros::ZERO, 30_500));
    let pool = bench.store.pool(&borealis, NOON).await.unwrap();
    assert_eq!((pool.used_ms, pool.held_ms), (30_500, 0));
    let later = NOON.plus_millis(40 * 24 * 3_600_000);
    assert_eq!(bench.store.pool(&borealis, later).await.unwrap().used_ms, 0);
    // The licence is taken away: the pool shrinks, but not below what is used.
    bench.apply(&FILE.replace("[\"audio-conferencing\"]", "[]")).await.unwrap();
    assert_eq!(bench.store.pool(&borealis, NOON).await.unwrap().granted_ms, 30_500);
    bench.audited().await;
}

#[tokio::test]
async fn credit_used_up_is_a_last_slice_then_a_refusal_and_a_top_up_helps() {
    let bench = Bench::with_credits("0.02").await;
    let leg = bench.leg();
    let store = &bench.store;
    grant(store.open_leg(toll(leg)).await.unwrap());
    store.answered(answer(leg)).await.unwrap();
    let second = grant(store.extend(next(leg, 1, 50_000)).await.unwrap());
    assert_eq!((second.until_ms, second.funded_ms), (120_000, Some(70_000)));
    assert_eq!(store.extend(next(leg, 2, 110_000)).await.unwrap(), Opened::Refused(Cause::NoCredit));
    assert_eq!(store.add_credits(funds("more", "0.01")).await.unwrap(), CreditsAdded::Booked);
    assert_eq!(store.extend(next(leg, 2, 111_000)).await.unwrap(), Opened::Refused(Cause::NoCredit));
    assert_eq!(grant(store.extend(next(leg, 3, 112_000)).await.unwrap()).until_ms, 180_000);
    // The BYE came late: what was not held is nobody's debt.
    let record = store.settle(leg, over(200_000)).await.unwrap();
    assert_eq!((record.charge, record.duration_ms), (micros("0.03"), 180_000));
    assert_eq!(bench.balance("aurora").await.posted, Micros::ZERO);
    bench.audited().await;
}

#[tokio::test]
async fn an_organisation_may_let_its_legs_finish_up_to_an_overdraft() {
    let bench = Bench::empty().await;
    let more = "on_empty = \"finish\"\noverdraft = \"0.01\"\ncredits = \"0.01\"";
    bench.apply(&FILE.replace("credits = \"1.00\"", more)).await.unwrap();
    let store = &bench.store;
    let (leg, other) = (bench.leg(), bench.leg());
    grant(store.open_leg(toll(leg)).await.unwrap());
    store.answered(answer(leg)).await.unwrap();
    assert_eq!(store.open_leg(toll(other)).await.unwrap(), Opened::Refused(Cause::NoCredit));
    assert_eq!(grant(store.extend(next(leg, 1, 50_000)).await.unwrap()).until_ms, 120_000);
    assert_eq!(store.extend(next(leg, 2, 110_000)).await.unwrap(), Opened::Refused(Cause::NoCredit));
    bench.audited().await;
    store.settle(leg, over(120_000)).await.unwrap();
    assert_eq!(bench.balance("aurora").await.posted, micros("-0.01"));
    // A funding pays the debt first.
    store.add_credits(funds("top-up", "0.05")).await.unwrap();
    assert_eq!(bench.balance("aurora").await.fundings[1].remaining, micros("0.04"));
    bench.audited().await;
}

#[tokio::test]
async fn limits_on_spending_hold_a_day_and_a_leg() {
    let bench = Bench::empty().await;
    let limits =
        "credits = \"1.00\"\n[organisation.limits]\nmax_spend_per_day = \"0.03\"\nmax_spend_per_leg = \"0.02\"";
    bench.apply(&FILE.replace("credits = \"1.00\"", limits)).await.unwrap();
    let store = &bench.store;
    let leg = bench.leg();
    grant(store.open_leg(toll(leg)).await.unwrap());
    store.answered(answer(leg)).await.unwrap();
    grant(store.extend(next(leg, 1, 50_000)).await.unwrap());
    assert_eq!(store.extend(next(leg, 2, 110_000)).await.unwrap(), Opened::Refused(Cause::SpendLimit));
    store.settle(leg, over(120_000)).await.unwrap();
    let (second, third) = (bench.leg(), bench.leg());
    grant(store.open_leg(toll(second)).await.unwrap());
    assert_eq!(store.open_leg(toll(third)).await.unwrap(), Opened::Refused(Cause::SpendLimit));
    let tomorrow = OpenLeg { invited: NOON.plus_millis(86_400_000), ..toll(bench.leg()) };
    store.settle(second, over(0)).await.unwrap();
    grant(store.open_leg(tomorrow).await.unwrap());
    bench.audited().await;
}

#[tokio::test]
async fn credits_are_booked_once_a_key_and_corrections_take_only_what_is_free() {
    let bench = Bench::new().await;
    let store = &bench.store;
    assert_eq!(store.add_credits(funds("a", "5")).await.unwrap(), CreditsAdded::Booked);
    assert_eq!(store.add_credits(funds("a", "5")).await.unwrap(), CreditsAdded::Repeated);
    assert!(matches!(store.add_credits(funds("a", "6")).await, Err(StoreError::Conflict(_))));
    let short = CreditsAdded::NotAvailable { available: micros("6") };
    assert_eq!(store.add_credits(funds("b", "-6.01")).await.unwrap(), short);
    assert_eq!(store.add_credits(funds("b", "-5.5")).await.unwrap(), CreditsAdded::Booked);
    let balance = bench.balance("aurora").await;
    assert_eq!(balance.available, micros("0.5"));
    // First in, first out.
    let left: Vec<Micros> = balance.fundings.iter().map(|funding| funding.remaining).collect();
    assert_eq!(left.iter().copied().sum::<Micros>(), micros("0.5"));
    for (key, amount) in [("leg:x", "1"), ("", "1"), ("c", "0")] {
        assert!(matches!(store.add_credits(funds(key, amount)).await, Err(StoreError::Conflict(_))), "{key}");
    }
    let nobody = Funds { organisation: "nobody".parse().unwrap(), ..funds("n", "1") };
    assert!(matches!(store.add_credits(nobody).await, Err(StoreError::Unknown(_))));
    bench.audited().await;
}

#[tokio::test]
async fn a_funding_expires_after_twelve_months_but_not_what_a_leg_holds() {
    let bench = Bench::new().await;
    let store = &bench.store;
    let a_year = 366 * 24 * 3_600_000;
    let leg = bench.leg();
    grant(store.open_leg(toll(leg)).await.unwrap());
    let later = NOON.plus_millis(a_year);
    store.add_credits(Funds { at: later, ..funds("new", "2") }).await.unwrap();
    let balance = bench.balance("aurora").await;
    assert_eq!((balance.available, balance.held), (micros("2"), micros("0.01")));
    bench.audited().await;
    store.settle(leg, over(0)).await.unwrap();
    store.add_credits(Funds { at: later, ..funds("newer", "1") }).await.unwrap();
    assert_eq!(bench.balance("aurora").await.available, micros("3"));
    bench.audited().await;
}

#[tokio::test]
async fn a_quote_moves_nothing() {
    let bench = Bench::new().await;
    let ask = |organiser: &str, to: &str, minutes| QuoteRequest {
        organiser: organiser.parse().unwrap(),
        call_type: CallType::DialOut,
        number: number(to),
        caller: None,
        minutes,
        now: NOON,
    };
    let quote = bench.store.quote(&ask("anna", "+447700900123", 10)).await.unwrap().unwrap();
    assert_eq!((quote.charge, quote.connect_fee, quote.until_ms), (micros("0.31"), micros("0.01"), 600_000));
    assert!(!quote.lines.is_empty());
    let free = bench.store.quote(&ask("carol", "+447700900123", 10)).await.unwrap().unwrap();
    assert_eq!((free.charge, free.pool_used_ms), (Micros::ZERO, 600_000));
    assert_eq!(bench.store.quote(&ask("bruno", "+447700900123", 1)).await.unwrap(), Err(Cause::NotLicensed));
    assert!(matches!(bench.store.quote(&ask("nobody", "+447700900123", 1)).await, Err(StoreError::Unknown(_))));
    assert_eq!(bench.balance("aurora").await.available, micros("1"));
}

#[tokio::test]
async fn pins_are_checked_against_the_organiser() {
    let bench = Bench::new().await;
    let facts = bench.store.facts();
    let meeting = |id: &str| id.parse().unwrap();
    assert!(facts.check_pin(&meeting("studio"), "4711"));
    for (id, pin) in [("studio", "4712"), ("studio", ""), ("watch", "4711"), ("nowhere", "4711")] {
        assert!(!facts.check_pin(&meeting(id), pin), "{id} {pin}");
    }
    assert_eq!(facts.meeting_named("1000001").unwrap().settings.id, meeting("studio"));
    assert_eq!(facts.conference_id_len(), Some(7));
    assert_eq!(
        facts.organisations.values().map(|o| o.country).collect::<Vec<_>>(),
        [Country::US, "IT".parse().unwrap()].into_iter().rev().collect::<Vec<_>>()
    );
}

/// What a guess costs in work: one keyed hash, whatever it is a guess of and whether it is right.
#[tokio::test]
async fn every_guess_costs_the_same_work() {
    let bench = Bench::new().await;
    let facts = bench.store.facts();
    let meeting = |id: &str| id.parse::<crate::types::MeetingId>().unwrap();
    let cost = |guess: &dyn Fn() -> bool| {
        let before = crate::store::pin::made();
        (guess(), crate::store::pin::made() - before)
    };
    let named = |digits: &str| cost(&|| facts.meeting_named(digits).is_some());
    let pin = |id: &str, pin: &str| cost(&|| facts.check_pin(&meeting(id), pin));
    assert_eq!([named("1000001"), named("1000009"), named("1"), named("")], [(true, 1), (false, 1), (false, 1), (false, 1)]);
    // Right; wrong in its first digit, its last, its length; of whoever has none; of no meeting at all.
    assert_eq!(pin("studio", "4711"), (true, 1));
    for (id, guess) in [("studio", "5711"), ("studio", "4712"), ("studio", "471"), ("unlicensed", "4711"), ("nowhere", "4711")]
    {
        assert_eq!(pin(id, guess), (false, 1), "{id} {guess}");
    }
}
