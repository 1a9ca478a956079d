//! What is told of the money, to whom and how often; and money that is fetched.

use super::*;
use crate::notice::{Errand, Kind, Letter, Payment, Report, Target, alert};

const WISHES: &str = r#"credits = "1.00"
[organisation.alerts]
emails = ["ops@example.com"]
webhook = "https://hooks.example.com/x"
webhook_secret = "env:HOOK"
low_balance = "0.50"
"#;

const RECHARGE: &str = r#"[organisation.recharge]
trigger = "0.90"
amount = "2.00"
max_per_day = "5.00"
hook = "https://pay.example.com/"
hook_secret = "env:HOOK"
"#;

fn file(more: &str) -> String {
    FILE.replacen("credits = \"1.00\"\n", &format!("{WISHES}{more}"), 1)
}

async fn bench(more: &str) -> Bench {
    let bench = Bench::empty().await;
    bench.apply(&file(more)).await.unwrap();
    bench
}

fn house() -> AlertSettings {
    AlertSettings { mails: vec!["house@example.com".parse().unwrap()], ..AlertSettings::default() }
}

async fn claim(bench: &Bench, now: Wall) -> (Vec<Letter>, Vec<Payment>) {
    let claimed = bench.store.claim(Claim { now, letters: 16, payments: 16, house: house() }).await.unwrap();
    let (mut letters, mut payments) = (Vec::new(), Vec::new());
    for errand in claimed.errands {
        match errand {
            Errand::Letter(letter) => letters.push(letter),
            Errand::Payment(payment) => payments.push(payment),
        }
    }
    (letters, payments)
}

async fn report(bench: &Bench, report: Report, now: Wall) -> Option<OrganisationId> {
    bench.store.report(report, now).await.unwrap()
}

/// Kinds of all alerts so far, the earliest first.
async fn told(bench: &Bench) -> Vec<Kind> {
    let mut alerts = bench.store.alerts(None, 1_000).await.unwrap().alerts;
    alerts.reverse();
    alerts.iter().map(|view| view.alert.kind).collect()
}

async fn adjust(bench: &Bench, amount: &str, now: Wall) {
    let kind = if amount.starts_with('-') { FundsKind::Adjustment } else { FundsKind::Funding };
    let (organisation, amount) = ("aurora".parse().unwrap(), micros(amount));
    let key = format!("k{}", now.micros());
    let funds = Funds { organisation, key, amount, kind, memo: String::new(), at: now };
    assert_eq!(bench.store.add_credits(funds).await.unwrap(), CreditsAdded::Booked);
}

const fn at(seconds: u64) -> Wall {
    NOON.plus_millis(seconds * 1_000)
}

#[tokio::test]
async fn a_threshold_is_told_once_and_again_when_it_was_left() {
    let bench = bench("").await;
    adjust(&bench, "-0.45", at(1)).await;
    assert_eq!(told(&bench).await, []);
    adjust(&bench, "-0.10", at(2)).await;
    adjust(&bench, "-0.05", at(3)).await;
    assert_eq!(told(&bench).await, [Kind::LowBalance]);
    adjust(&bench, "-0.40", at(4)).await;
    assert_eq!(told(&bench).await, [Kind::LowBalance, Kind::Zero]);
    // Nobody gets in, and that is not told again and again.
    for _ in 0..3 {
        let refused = bench.store.open_leg(toll(bench.leg())).await.unwrap();
        assert_eq!(refused, Opened::Refused(Cause::NoCredit));
    }
    assert_eq!(told(&bench).await.len(), 2);
    adjust(&bench, "5.00", at(5)).await;
    adjust(&bench, "-4.60", at(6)).await;
    assert_eq!(told(&bench).await, [Kind::LowBalance, Kind::Zero, Kind::LowBalance]);
    let bench = bench.reopened().await;
    adjust(&bench, "-0.10", at(7)).await;
    assert_eq!(told(&bench).await.len(), 3, "a start forgets nothing");
    bench.audited().await;
}

#[tokio::test]
async fn who_wants_nothing_is_told_nothing() {
    let bench = Bench::new().await;
    let leg = bench.leg();
    grant(bench.store.open_leg(toll(leg)).await.unwrap());
    bench.store.settle(leg, over(61_000)).await.unwrap();
    adjust(&bench, "-0.99", at(1)).await;
    assert_eq!(told(&bench).await, []);
    assert_eq!(claim(&bench, at(2)).await, (vec![], vec![]));
}

#[tokio::test]
async fn a_pool_is_told_of_at_four_fifths_and_at_its_end_once_a_month() {
    // Keys of an organisation stand before its tables.
    let zone = "time_zone = \"America/New_York\"\n";
    let text = FILE.replacen(zone, &format!("{zone}[organisation.alerts]\nemails = [\"b@example.com\"]\n"), 1);
    let bench = Bench::empty().await;
    bench.apply(&text).await.unwrap();
    let (leg, to) = (bench.leg(), "+390298765432");
    let mut until = grant(bench.store.open_leg(dial(leg, to, "watch")).await.unwrap()).until_ms;
    bench.store.answered(answer(leg)).await.unwrap();
    let mut seen = Vec::new();
    for sequence in 1..60 {
        until = grant(bench.store.extend(next(leg, sequence, until - 1)).await.unwrap()).until_ms;
        seen.push((until / 60_000, told(&bench).await.len()));
    }
    assert_eq!(seen.iter().find(|(_, told)| *told == 1).unwrap().0, 48, "{seen:?}");
    assert_eq!(seen.iter().find(|(_, told)| *told == 2).unwrap().0, 60, "{seen:?}");
    assert_eq!(told(&bench).await, [Kind::PoolLow, Kind::PoolGone]);
}

#[tokio::test]
async fn a_call_without_a_price_is_told_once_a_day_to_the_house_too() {
    let bench = bench("").await;
    for _ in 0..2 {
        // France is in Zone A and has no rate.
        let refused = bench.store.open_leg(dial(bench.leg(), "+33142685300", "studio")).await.unwrap();
        assert_eq!(refused, Opened::Refused(Cause::NoRate));
    }
    let (letters, _) = claim(&bench, at(1)).await;
    let to: Vec<String> = letters.iter().map(|letter| address(&letter.target)).collect();
    assert_eq!(to, ["ops@example.com", "https://hooks.example.com/x", "house@example.com"]);
    assert!(letters.iter().all(|letter| letter.alert.id == letters[0].alert.id), "one id for all");
    assert!(letters[0].alert.text().contains("+33142685300"), "{}", letters[0].alert.text());
}

fn address(target: &Target) -> String {
    match target {
        Target::Mail(mailbox) => mailbox.to_string(),
        Target::Hook { url, .. } => url.to_string(),
    }
}

async fn raise(bench: &Bench, key: &str, kind: Kind, now: Wall) -> bool {
    let organisation = Some("aurora".parse().unwrap());
    let facts = alert::facts([("pattern", "x".into()), ("detail", "y".into())]);
    bench.store.raise(Raise { key: key.into(), kind, organisation, at: now, facts }).await.unwrap()
}

#[tokio::test]
async fn a_letter_is_with_one_carrier_at_a_time_and_with_another_when_that_one_is_dead() {
    let bench = bench("").await;
    assert!(raise(&bench, "one", Kind::Test, at(0)).await && raise(&bench, "two", Kind::Test, at(1)).await);
    assert!(!raise(&bench, "one", Kind::Test, at(2)).await, "once a key");
    let (first, _) = claim(&bench, at(3)).await;
    assert_eq!(first.len(), 2, "one a target");
    assert_eq!(claim(&bench, at(4)).await.0, [], "none to a target that one is on its way to");
    report(&bench, Report::Delivered { id: first[0].id.clone() }, at(5)).await;
    let (second, _) = claim(&bench, at(6)).await;
    assert_eq!(second.iter().map(|letter| &letter.target).collect::<Vec<_>>(), [&first[0].target]);
    assert_ne!(second[0].alert.id, first[0].alert.id);
    // The one to the webhook is never reported.
    let bench = bench.reopened().await;
    let (next, _) = claim(&bench, at(3 + 121)).await;
    assert_eq!(next[0].target, first[1].target, "what was not tried comes first");
    report(&bench, Report::Delivered { id: next[0].id.clone() }, at(125)).await;
    let (third, _) = claim(&bench, at(126)).await;
    assert_eq!(third[0], first[1], "the same letter with the same id");
    let again = Some(at(500));
    let undelivered = Report::Undelivered { id: third[0].id.clone(), why: "x".into(), again, disable_after: 9 };
    report(&bench, undelivered.clone(), at(130)).await;
    report(&bench, undelivered, at(131)).await;
    let (rest, _) = claim(&bench, at(501)).await;
    let mine = rest.iter().find(|letter| letter.id == third[0].id).expect("tried again");
    assert_eq!(mine.tries, 1, "a report that is repeated counts once");
}

#[tokio::test]
async fn a_webhook_that_fails_in_a_row_is_off_until_the_settings_are_applied_again() {
    let bench = bench("").await;
    let hook = |letters: Vec<Letter>| letters.into_iter().find(|letter| matches!(letter.target, Target::Hook { .. }));
    for (n, key) in ["one", "two", "three"].iter().enumerate() {
        raise(&bench, key, Kind::Test, at(n as u64 * 10)).await;
        let letter = hook(claim(&bench, at(n as u64 * 10 + 1)).await.0).expect("it is on");
        let told = Report::Undelivered { id: letter.id, why: "answered 500".into(), again: None, disable_after: 3 };
        report(&bench, told, at(n as u64 * 10 + 2)).await;
    }
    let shown = bench.store.alerts(None, 10).await.unwrap();
    assert_eq!(shown.switched_off.len(), 1);
    assert_eq!(shown.alerts[0].alert.kind, Kind::WebhookDisabled);
    raise(&bench, "four", Kind::Test, at(40)).await;
    assert!(hook(claim(&bench, at(41)).await.0).is_none());
    let shown = bench.store.alerts(None, 1).await.unwrap();
    assert!(shown.alerts[0].letters.iter().any(|letter| letter.state == "dropped"), "{shown:?}");
    bench.apply(&file("")).await.unwrap();
    raise(&bench, "five", Kind::Test, at(50)).await;
    assert!(hook(claim(&bench, at(300)).await.0).is_some());
}

#[tokio::test]
async fn money_is_fetched_under_one_key_whatever_happens_and_booked_once() {
    let bench = bench(RECHARGE).await;
    assert_eq!(claim(&bench, at(0)).await.1, []);
    let leg = bench.leg();
    grant(bench.store.open_leg(dial(leg, "+390298765432", "studio")).await.unwrap());
    adjust(&bench, "-0.30", at(10)).await;
    adjust(&bench, "-0.10", at(20)).await;
    let (_, payments) = claim(&bench, at(21)).await;
    assert_eq!(payments.len(), 1, "one at a time");
    let payment = payments[0].clone();
    assert_eq!((payment.amount, payment.currency.as_str()), (micros("2.00"), "USD"));
    // It is paid out there, and the process dies before it hears of it.
    let bench = bench.reopened().await;
    assert_eq!(claim(&bench, at(22)).await.1, []);
    let (_, again) = claim(&bench, at(200)).await;
    assert_eq!(again, payments, "asked again with the same key");
    let open = Report::Open { key: payment.key.clone(), why: "no answer".into(), again: at(210) };
    assert_eq!(report(&bench, open, at(201)).await, None);
    let (_, again) = claim(&bench, at(211)).await;
    assert_eq!((again[0].key.as_str(), again[0].tries), (payment.key.as_str(), 1));
    let paid = Report::Paid { key: payment.key.clone() };
    assert_eq!(report(&bench, paid.clone(), at(212)).await, Some("aurora".parse().unwrap()));
    assert_eq!(report(&bench, paid, at(213)).await, None);
    let declined = Report::Declined { key: payment.key.clone(), why: "late".into() };
    assert_eq!(report(&bench, declined, at(214)).await, None);
    let balance = bench.balance("aurora").await;
    assert_eq!(balance.fundings.iter().filter(|funding| funding.key == payment.key).count(), 1);
    assert_eq!(balance.posted, micros("2.60"));
    assert_eq!(told(&bench).await, [Kind::RechargeDone]);
    bench.audited().await;
}

#[tokio::test]
async fn no_more_is_fetched_than_a_day_may_cost_and_not_again_at_once_after_a_no() {
    let bench = bench(RECHARGE).await;
    let mut fetched = 0;
    for n in 1..=4 {
        let take = -i64::from(bench.balance("aurora").await.available.0 > 100_000);
        assert_eq!(take, -1);
        let all = Micros(100_000 - bench.balance("aurora").await.available.0);
        adjust(&bench, &all.to_text(), at(n * 100)).await;
        if let [payment] = claim(&bench, at(n * 100 + 1)).await.1.as_slice() {
            fetched += 1;
            report(&bench, Report::Paid { key: payment.key.clone() }, at(n * 100 + 2)).await;
        } else {
            break;
        }
    }
    assert_eq!(fetched, 2, "2.00 a time, 5.00 a day");
    let last = bench.store.alerts(None, 100).await.unwrap().alerts;
    let failed = last.iter().find(|view| view.alert.kind == Kind::RechargeFailed).expect("told");
    assert!(failed.alert.text().contains("5.0000 USD a day is the most"), "{}", failed.alert.text());
    // The next day there is room again, and a no; then it is quiet for an hour.
    let day = 86_400;
    adjust(&bench, "-0.01", at(day)).await;
    let (_, payments) = claim(&bench, at(day + 1)).await;
    let no = Report::Declined { key: payments[0].key.clone(), why: "card expired".into() };
    report(&bench, no, at(day + 2)).await;
    adjust(&bench, "-0.01", at(day + 1_800)).await;
    assert_eq!(claim(&bench, at(day + 1_801)).await.1, []);
    adjust(&bench, "-0.01", at(day + 3_700)).await;
    let (_, payments) = claim(&bench, at(day + 3_701)).await;
    assert_eq!(payments.len(), 1);
    bench.audited().await;
}

#[tokio::test]
async fn no_money_is_fetched_while_it_runs_away_and_a_mere_warning_stops_none() {
    let warned = async |pattern: &str| {
        let bench = bench(RECHARGE).await;
        let facts = alert::facts([("pattern", pattern.to_owned()), ("detail", "y".into())]);
        let organisation = Some("aurora".parse().unwrap());
        let warning = Raise { key: "fraud".into(), kind: Kind::Fraud, organisation, at: at(0), facts };
        assert!(bench.store.raise(warning).await.unwrap());
        adjust(&bench, "-0.50", at(10)).await;
        let fetched = claim(&bench, at(11)).await.1.len();
        (bench, fetched)
    };
    for (pattern, due) in [("new-country", 1), ("calls-a-minute", 1), ("one-block", 0), ("sequence", 0)] {
        assert_eq!(warned(pattern).await.1, due, "{pattern}");
    }
    let (bench, _) = warned("block-minutes").await;
    assert!(told(&bench).await.contains(&Kind::RechargeFailed));
    adjust(&bench, "-0.01", at(3_700)).await;
    assert_eq!(claim(&bench, at(3_701)).await.1.len(), 1);
}

/// A call on a day that costs two cents a minute.
async fn call(bench: &Bench, day: u64, minutes: u64) {
    let leg = bench.leg();
    let open = OpenLeg { invited: at(day * 86_400), ..dial(leg, "+390298765432", "studio") };
    let mut until = grant(bench.store.open_leg(open).await.unwrap()).until_ms;
    bench.store.answered(Answered { leg, at: at(day * 86_400), journal: None }).await.unwrap();
    for sequence in 1..minutes as u32 {
        let extend = Extend { now: at(day * 86_400), ..next(leg, sequence, until - 1) };
        until = grant(bench.store.extend(extend).await.unwrap()).until_ms;
    }
    let end = End { at: at(day * 86_400), ..over(minutes * 60_000) };
    bench.store.settle(leg, end).await.unwrap();
}

#[tokio::test]
async fn a_day_unlike_others_and_days_that_are_left_are_told() {
    let bench = bench("").await;
    let wishes = file("low_days = 30\nunusual_spend = 2\n");
    bench.apply(&wishes).await.unwrap();
    adjust(&bench, "2.00", at(1)).await;
    for day in 0..3 {
        call(&bench, day, 2).await;
    }
    assert_eq!(told(&bench).await, [], "too few days to say what is usual");
    call(&bench, 3, 4).await;
    assert_eq!(told(&bench).await, [], "twice is not more than twice");
    call(&bench, 3, 1).await;
    call(&bench, 3, 1).await;
    assert_eq!(told(&bench).await, [Kind::SpendUnusual], "once a day");
    // Four cents a day: 30 days want 1.20.
    adjust(&bench, "-1.50", at(3 * 86_400 + 60)).await;
    call(&bench, 4, 1).await;
    assert_eq!(told(&bench).await, [Kind::SpendUnusual, Kind::LowDays]);
}

#[tokio::test]
async fn one_dear_day_does_not_hide_the_next() {
    let bench = bench("").await;
    bench.apply(&file("unusual_spend = 2\n")).await.unwrap();
    adjust(&bench, "2.00", at(1)).await;
    for (day, minutes) in [(0, 2), (1, 20), (2, 2), (3, 4)] {
        call(&bench, day, minutes).await;
    }
    assert_eq!(told(&bench).await, [], "twice the middle day");
    call(&bench, 3, 1).await;
    assert_eq!(told(&bench).await, [Kind::SpendUnusual], "more, though less than the mean");
}

#[tokio::test]
async fn mistakes_in_wishes_are_told_and_a_secret_is_not_repeated() {
    for (text, expected) in [
        ("[organisation.alerts]\n", "else nobody is told"),
        ("[organisation.alerts]\nwebhook = \"https://h.example.com/\"\n", "webhook_secret: missing"),
        ("[organisation.alerts]\nemails = [\"nobody\"]\n", "expected an address for mail"),
        ("[organisation.alerts]\nemails = [\"a@b.example\"]\nlow_balance = \"120%\"\n", "expected a share"),
        (
            "[organisation.alerts]\nwebhook = \"ftp://h.example.com/\"\nwebhook_secret = \"env:X\"\n",
            "expected https:// or http://",
        ),
        ("[organisation.recharge]\ntrigger = \"1.00\"\n", "amount: missing"),
        (
            "[organisation.recharge]\ntrigger = \"1.00\"\namount = \"9.00\"\nmax_per_day = \"8.00\"\n\
             hook = \"https://p.example.com/\"\nhook_secret = \"env:X\"\n",
            "at least the amount",
        ),
    ] {
        let mistakes = document(&format!("[[organisation]]\nid = \"x\"\ncountry = \"IT\"\n{text}")).unwrap_err();
        assert!(mistakes.iter().any(|mistake| mistake.text.contains(expected)), "{text}: {mistakes:?}");
    }
    let written = "[organisation.alerts]\nwebhook = \"https://h.example.com/\"\nwebhook_secret = \"hunter2hunter2\"\n";
    let mistakes = document(&format!("[[organisation]]\nid = \"x\"\ncountry = \"IT\"\n{written}")).unwrap_err();
    assert!(!format!("{mistakes:?}").contains("hunter2"), "{mistakes:?}");
}

#[tokio::test]
async fn keys_of_recharges_are_the_stores_own() {
    let bench = bench(RECHARGE).await;
    let (organisation, amount) = ("aurora".parse().unwrap(), micros("1.00"));
    let (kind, memo) = (FundsKind::Funding, String::new());
    let funds = Funds { organisation, key: "recharge:aurora:1".into(), amount, kind, memo, at: NOON };
    assert!(matches!(bench.store.add_credits(funds).await, Err(StoreError::Conflict(_))));
}
