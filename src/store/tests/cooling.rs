//! Raised limits wait; lowered ones do not.

use super::*;

const DAY_MS: u64 = 86_400_000;

fn file(limits: &str) -> String {
    let limits = format!("credits = \"100.00\"\n[organisation.limits]\n{limits}");
    FILE.replacen("credits = \"1.00\"", &limits, 1)
}

impl Bench {
    /// Applies limits of aurora at so many hours past noon.
    async fn limit(&self, hours: u64, limits: &str) -> usize {
        let at = NOON.plus_millis(hours * 3_600_000);
        self.store.apply(document(&file(limits)).unwrap(), at).await.unwrap().unwrap().pending
    }

    /// What holds of its day at so many hours past noon.
    fn day(&self, hours: u64) -> Option<String> {
        let facts = self.store.facts();
        let aurora = &facts.organisations[&"aurora".parse().unwrap()];
        let limits = aurora.limits_at(NOON.plus_millis(hours * 3_600_000));
        limits.max_spend_per_day.map(|amount| amount.to_text())
    }
}

fn day(amount: &str) -> String {
    format!("max_spend_per_day = \"{amount}\"")
}

/// Each step: at so many hours past noon a file says so much a day; what holds at once, and a day and two later.
#[tokio::test]
async fn a_raise_holds_a_day_later_and_what_is_lowered_holds_at_once() {
    let amount = |amount: &str| Some(micros(amount).to_text());
    let table: &[(u64, &str, &str, &str, &str)] = &[
        (0, "5", "5", "5", "5"),         // The first: nothing to wait for.
        (1, "50", "5", "50", "50"),      // Raised.
        (2, "50", "5", "50", "50"),      // The same file again does not begin anew: from hour 25 on.
        (3, "20", "5", "20", "20"),      // A smaller raise waits no longer …
        (26, "20", "20", "20", "20"),    // … and holds.
        (27, "10", "10", "10", "10"),    // Lowered.
        (28, "20", "10", "20", "20"),    // Back up is up.
        (29, "30", "10", "30", "30"),    // Greater than what waits: begins anew.
        (30, "8", "8", "8", "8"),        // Below what holds: nothing waits any more.
    ];
    let bench = Bench::empty().await;
    for (hours, limit, at_once, a_day, two_days) in table {
        bench.limit(*hours, &day(limit)).await;
        let then = [0, 24, 48].map(|later| bench.day(hours + later));
        assert_eq!(then, [amount(at_once), amount(a_day), amount(two_days)], "hour {hours}: {limit}");
    }
    // The clock of a raise that was made greater began anew.
    bench.limit(40, &day("9")).await;
    bench.limit(50, &day("99")).await;
    assert_eq!([63, 65, 73, 74].map(|hours| bench.day(hours)), [amount("8"), amount("8"), amount("8"), amount("99")]);
    // A limit taken away is a raise.
    assert_eq!(bench.limit(80, "").await, 1);
    assert_eq!([80, 103, 104].map(|hours| bench.day(hours)), [amount("99"), amount("99"), None]);
    bench.audited().await;
}

/// All that limits spending, by file: each of them waits, and holds for calls meanwhile.
#[tokio::test]
async fn every_limit_on_spending_waits() {
    let lower = "max_spend_per_day = \"5\"\nmax_spend_per_leg = \"5\"\nmax_spend_first_day = \"5\"\n\
         organiser_spend_per_day = \"5\"\nmeeting_spend_per_day = \"5\"\nmax_rate_per_minute = \"5\"\nquiet_percent = 5";
    let higher = lower.replace('5', "6");
    let bench = Bench::empty().await;
    assert_eq!(bench.limit(0, lower).await, 0);
    assert_eq!(bench.limit(1, &higher).await, CooledLimit::ALL.len());
    let facts = bench.store.facts();
    let aurora = &facts.organisations[&"aurora".parse().unwrap()];
    let at = |hours: u64| NOON.plus_millis(hours * 3_600_000);
    for raise in aurora.pending_limits(at(2)) {
        let is = |amount: &Option<String>, digit: char| amount.as_ref().is_some_and(|text| text.starts_with(digit));
        assert!(is(&raise.now, '5') && is(&raise.then, '6'), "{raise:?}");
        assert_eq!(raise.at, at(25));
    }
    assert_eq!(aurora.limits_at(at(25)), aurora.limits);
    assert_eq!(aurora.pending_limits(at(25)), []);
    bench.audited().await;
}

#[tokio::test]
async fn a_call_meets_the_old_limit_until_the_raise_holds_or_is_confirmed() {
    let bench = Bench::empty().await;
    bench.limit(0, "max_rate_per_minute = \"0.0100\"").await;
    let call = |at: Wall| OpenLeg { invited: at, ..dial(bench.leg(), "+447700900123", "studio") };
    assert_eq!(bench.store.open_leg(call(NOON)).await.unwrap(), Opened::Refused(Cause::RateTooHigh));
    // By one entry, as the command line and the API change it.
    let change = Change {
        entry: EntryId::Organisation("aurora".parse().unwrap()),
        of: None,
        step: ChangeStep::Patch("{\"limits\":{\"max_rate_per_minute\":\"1.00\"}}".into()),
    };
    bench.store.change(change, NOON).await.unwrap().unwrap();
    assert_eq!(bench.store.open_leg(call(NOON)).await.unwrap(), Opened::Refused(Cause::RateTooHigh));
    grant(bench.store.open_leg(call(NOON.plus_millis(DAY_MS))).await.unwrap());

    // It stands after a restart; then somebody says that it is meant.
    let bench = bench.reopened().await;
    let call = |at: Wall| OpenLeg { invited: at, ..dial(bench.leg(), "+447700900123", "studio") };
    assert_eq!(bench.store.open_leg(call(NOON)).await.unwrap(), Opened::Refused(Cause::RateTooHigh));
    let confirm = |limit: CooledLimit| ConfirmLimits {
        organisation: "aurora".parse().unwrap(),
        limit: Some(limit),
        reason: "agreed by telephone".into(),
        at: NOON,
    };
    assert!(matches!(bench.store.confirm_limits(confirm(CooledLimit::Day)).await, Err(StoreError::Unknown(_))));
    assert_eq!(bench.store.confirm_limits(confirm(CooledLimit::Rate)).await.unwrap().len(), 1);
    grant(bench.store.open_leg(call(NOON)).await.unwrap());
    let rows = bench.store.trail(&TrailFilter::default()).await.unwrap();
    let last: Vec<&str> = rows.iter().rev().take(2).map(|row| row.verb.as_str()).collect();
    assert_eq!(last, ["confirm", "set"]);
    assert!(rows[rows.len() - 2].detail.contains("\"pending\""), "{}", rows[rows.len() - 2].detail);
    bench.audited().await;
}

/// Where the house sets no time nothing waits.
#[tokio::test]
async fn without_a_time_to_wait_a_raise_holds_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("data").join("store.db").display());
    let options = Options { cooling_off: std::time::Duration::ZERO, ..options(&folder) };
    let store = Store::open(&url, options).await.unwrap();
    for (limit, pending) in [("5", 0), ("50", 0)] {
        let applied = store.apply(document(&file(&day(limit))).unwrap(), NOON).await.unwrap().unwrap();
        assert_eq!(applied.pending, pending);
    }
    let facts = store.facts();
    let aurora = &facts.organisations[&"aurora".parse().unwrap()];
    assert_eq!(aurora.limits_at(NOON).max_spend_per_day, Some(micros("50")));
}
