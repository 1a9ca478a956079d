//! Licences by days, and no more of them than were bought.

use super::*;
use serde_json::{Value, json};

/// A day: the day of [`NOON`] is 2026-06-16.
const DAY_MS: u64 = 86_400_000;

impl Bench {
    async fn set(&self, entry: EntryId, of: Option<&str>, keys: Value) -> Result<Changed, Vec<String>> {
        let step = ChangeStep::Patch(keys.to_string());
        let of = of.map(|of| of.parse().unwrap());
        self.store.change(Change { entry, of, step }, NOON).await.unwrap()
    }

    async fn user(&self, name: &str, of: &str, licences: &[&str]) -> Result<Changed, Vec<String>> {
        let entry = EntryId::User(name.parse().unwrap());
        self.set(entry, Some(of), json!({ "licences": licences })).await
    }

    async fn call(&self, at: Wall) -> Opened {
        self.store.open_leg(OpenLeg { invited: at, ..toll(self.leg()) }).await.unwrap()
    }
}

#[tokio::test]
async fn outside_its_days_a_licence_is_not_held() {
    let bench = Bench::new().await;
    let days = |days: i64| Wall::from_micros(NOON.micros() + days * DAY_MS as i64 * 1_000);
    let cases: &[(&str, &[i64], &[i64])] = &[
        ("pay-per-minute", &[-9, 0, 9], &[]),
        ("pay-per-minute from 2026-06-16", &[0, 1, 99], &[-1, -9]),
        ("pay-per-minute until 2026-06-16", &[-9, -1, 0], &[1, 9]),
        ("pay-per-minute from 2026-06-15 until 2026-06-17", &[-1, 0, 1], &[-2, 2]),
    ];
    for (licence, held, not_held) in cases {
        bench.user("anna", "aurora", &[licence]).await.unwrap();
        let entry = bench.store.facts().entry(&EntryId::User("anna".parse().unwrap())).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&entry).unwrap()["licences"], json!([licence]));
        for day in *held {
            let opened = bench.call(days(*day)).await;
            assert!(matches!(opened, Opened::Granted(_)), "{licence} {day}: {opened:?}");
        }
        for day in *not_held {
            assert_eq!(bench.call(days(*day)).await, Opened::Refused(Cause::NotLicensed), "{licence} {day}");
        }
    }
    // A day turns where the organisation is.
    let zone = json!({ "time_zone": "Pacific/Auckland" });
    bench.set(EntryId::Organisation("aurora".parse().unwrap()), None, zone).await.unwrap();
    bench.user("anna", "aurora", &["pay-per-minute until 2026-06-16"]).await.unwrap();
    let (before, after) = (NOON.plus_millis(0), NOON.plus_millis(1));
    assert!(matches!(bench.call(Wall::from_micros(before.micros() - 1)).await, Opened::Granted(_)));
    assert_eq!(bench.call(after).await, Opened::Refused(Cause::NotLicensed), "midnight of Auckland is noon of Greenwich");
    bench.reopened().await.audited().await;
}

/// A call that its last day ends in the middle of: the next slice is not held.
#[tokio::test]
async fn a_call_does_not_go_on_beyond_the_last_day_of_its_licence() {
    let bench = Bench::new().await;
    bench.user("anna", "aurora", &["pay-per-minute until 2026-06-16"]).await.unwrap();
    let leg = bench.leg();
    grant(bench.store.open_leg(toll(leg)).await.unwrap());
    bench.store.answered(answer(leg)).await.unwrap();
    grant(bench.store.extend(next(leg, 1, 50_000)).await.unwrap());
    let tomorrow = Extend { now: NOON.plus_millis(DAY_MS), ..next(leg, 2, 110_000) };
    let refused = bench.store.extend(tomorrow).await.unwrap();
    assert!(matches!(refused, Opened::Refused(_)), "{refused:?}");
    bench.store.settle(leg, over(120_000)).await.unwrap();
    bench.audited().await;
}

#[tokio::test]
async fn the_pool_has_the_licences_of_the_day_and_is_not_taken_back_below_what_is_used() {
    let bench = Bench::new().await;
    let borealis: OrganisationId = "borealis".parse().unwrap();
    let pool = |days: u64| bench.store.pool(&borealis, NOON.plus_millis(days * DAY_MS));
    bench.user("carol", "borealis", &["audio-conferencing until 2026-06-17"]).await.unwrap();
    let step = ChangeStep::Put(json!({ "licences": ["audio-conferencing from 2026-06-18"] }).to_string());
    let entry = EntryId::User("dan".parse().unwrap());
    bench.store.change(Change { entry, of: Some(borealis.clone()), step }, NOON).await.unwrap().unwrap();
    assert_eq!(pool(0).await.unwrap().granted_ms, 3_600_000);
    assert_eq!(pool(2).await.unwrap().granted_ms, 3_600_000);
    bench.user("dan", "borealis", &[]).await.unwrap();
    let leg = bench.leg();
    let asked = asked(leg, CallType::DialOut, "+442079460000", Some("watch"));
    grant(bench.store.open_leg(asked).await.unwrap());
    bench.store.answered(answer(leg)).await.unwrap();
    bench.store.settle(leg, over(50_000)).await.unwrap();
    assert_eq!(pool(0).await.unwrap().granted_ms, 3_600_000);
    let used = pool(0).await.unwrap().used_ms;
    assert!(used > 0);
    assert_eq!(pool(2).await.unwrap().granted_ms, used);
    bench.audited().await;
}

#[tokio::test]
async fn no_more_licences_are_given_than_were_bought() {
    let bench = Bench::new().await;
    let aurora = || EntryId::Organisation("aurora".parse().unwrap());
    let seats = |seats: Value| bench.set(aurora(), None, json!({ "seats": seats }));
    let refused = seats(json!({ "pay-per-minute": 0 })).await.unwrap_err();
    let why = "organisation aurora: 1 licences pay-per-minute would be given, and 0 are bought: buy more (seats), or take one back";
    assert_eq!(refused, [why]);
    seats(json!({ "pay-per-minute": 1, "audio-conferencing": 2 })).await.unwrap();
    let refused = bench.user("bruno", "aurora", &["pay-per-minute"]).await.unwrap_err();
    assert!(refused[0].contains("2 licences pay-per-minute would be given, and 1 are bought"), "{refused:?}");
    bench.user("bruno", "aurora", &["audio-conferencing"]).await.unwrap();
    // One that is over takes no seat; one that is to come does.
    bench.user("anna", "aurora", &["pay-per-minute until 2026-06-15"]).await.unwrap();
    bench.user("bruno", "aurora", &["pay-per-minute from 2027-01-01"]).await.unwrap();
    assert!(bench.user("anna", "aurora", &["pay-per-minute"]).await.is_err());
    // By a file it is the same: who gives one back and who is given it stand in one file.
    let moved = FILE.replace("credits = \"1.00\"", "credits = \"1.00\"\n[organisation.seats]\npay-per-minute = 1\n");
    let moved = moved.replace("id = \"bruno\"\n", "id = \"bruno\"\nlicences = [\"pay-per-minute\"]\n");
    let told = bench.apply(&moved).await.unwrap_err();
    assert!(told.iter().any(|mistake| mistake.text.contains("2 licences pay-per-minute")), "{told:#?}");
    bench.apply(&moved.replacen("licences = [\"pay-per-minute\"]\npin", "licences = []\npin", 1)).await.unwrap();
    // What is not counted is not limited, and a seat elsewhere is none here.
    seats(json!({ "pay-per-minute": null })).await.unwrap();
    bench.user("anna", "aurora", &["pay-per-minute"]).await.unwrap();
    let filter = TrailFilter { what: Some("organisation aurora".into()), ..TrailFilter::default() };
    let rows = bench.store.trail(&filter).await.unwrap();
    assert!(rows.iter().any(|row| row.detail.contains("\"seats.pay-per-minute\":1")));
    bench.reopened().await.audited().await;
}

#[tokio::test]
async fn a_licence_that_is_not_understood_is_refused() {
    let bench = Bench::new().await;
    for (text, why) in [
        ("phone", "licences: expected one of audio-conferencing"),
        ("", "licences: expected one of audio-conferencing"),
        ("pay-per-minute since 2026-01-01", "expected LICENCE, from DAY and until DAY"),
        ("pay-per-minute until 2026-01-01 from 2026-01-01", "expected LICENCE, from DAY and until DAY"),
        ("pay-per-minute from", "expected a day like 2026-12-31 behind from"),
        ("pay-per-minute from 2026-02-30", "expected a day like 2026-12-31 behind from"),
        ("pay-per-minute from 2026-02-02 until 2026-02-01", "its last day is before its first"),
    ] {
        let refused = bench.user("anna", "aurora", &[text]).await.unwrap_err();
        assert!(refused[0].contains(why), "{text}: {refused:?}");
    }
    let twice = bench.user("anna", "aurora", &["pay-per-minute", "pay-per-minute until 2030-01-01"]).await.unwrap_err();
    assert!(twice[0].contains("pay-per-minute is given twice"), "{twice:?}");
}
