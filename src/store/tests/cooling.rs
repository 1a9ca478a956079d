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
    let recharge = "[organisation.recharge]\ntrigger = \"1\"\namount = \"5\"\nmax_per_day = \"5\"\n\
         hook = \"http://192.0.2.1/pay\"\nhook_secret = \"env:PAY\"\n";
    let lower = &format!("{lower}\n{recharge}");
    let higher = lower.replace("5\"", "6\"").replace("percent = 5", "percent = 6");
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
        of: LimitsOf::Organisation("aurora".parse().unwrap()),
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

/// A carrier's day: its raise waits as an organisation's does, is told, and can be confirmed.
#[tokio::test]
async fn a_carriers_raise_waits_too() {
    let bench = Bench::new().await;
    let hour = |hours: u64| NOON.plus_millis(hours * 3_600_000);
    let local = LimitsOf::Carrier("local".parse().unwrap());
    let set = async |limit: &str, at: Wall| {
        let step = ChangeStep::Patch(format!("{{\"max_spend_per_day\":{limit}}}"));
        let change = Change { entry: EntryId::Carrier("local".parse().unwrap()), of: None, step };
        bench.store.change(change, at).await.unwrap().unwrap();
    };
    let holds = |at: Wall| bench.store.facts().carrier_day_limit(&"local".parse().unwrap(), at).map(|most| most.to_text());
    let amount = |text: &str| Some(micros(text).to_text());
    assert_eq!(holds(hour(0)), None);
    set("\"0.02\"", hour(0)).await;
    assert_eq!((holds(hour(0)), holds(hour(24))), (amount("0.02"), amount("0.02")), "the first holds at once");
    let call = |at: Wall| OpenLeg { invited: at, ..dial(bench.leg(), "+390611111111", "studio") };
    grant(bench.store.open_leg(call(hour(0))).await.unwrap());
    set("\"9\"", hour(1)).await;
    assert_eq!((holds(hour(1)), holds(hour(25))), (amount("0.02"), amount("9")));
    assert_eq!(bench.store.open_leg(call(hour(2))).await.unwrap(), Opened::Refused(Cause::CarrierSpendLimit));
    let pending = bench.store.facts().pending_limits(&local, hour(2)).unwrap();
    let due = PendingLimit { limit: CooledLimit::Day, now: amount("0.02"), then: amount("9"), at: hour(25) };
    assert_eq!(pending, [due]);
    // A file that says the same does not begin anew, one that takes the limit away does.
    let file = FILE.replace("sources = [\"127.0.0.1\"]", "sources = [\"127.0.0.1\"]\nmax_spend_per_day = \"9\"");
    assert_eq!(bench.store.apply(document(&file).unwrap(), hour(3)).await.unwrap().unwrap().pending, 1);
    assert_eq!(holds(hour(25)), amount("9"));
    set("null", hour(4)).await;
    assert_eq!((holds(hour(27)), holds(hour(28))), (amount("0.02"), None));

    let bench = bench.reopened().await;
    let holds = |at: Wall| bench.store.facts().carrier_day_limit(&"local".parse().unwrap(), at).map(|most| most.to_text());
    assert_eq!(holds(hour(5)), amount("0.02"), "it stands after a restart");
    let confirm = |limit| ConfirmLimits { of: local.clone(), limit, reason: "agreed".into(), at: hour(5) };
    assert!(bench.store.confirm_limits(confirm(Some(CooledLimit::Leg))).await.is_err());
    assert_eq!(bench.store.confirm_limits(confirm(None)).await.unwrap().len(), 1);
    assert_eq!(holds(hour(5)), None);
    let rows = bench.store.trail(&TrailFilter { what: Some("carrier local".into()), ..TrailFilter::default() }).await.unwrap();
    let told: Vec<(&str, bool)> = rows.iter().map(|row| (&*row.verb, row.detail.contains("\"pending\""))).collect();
    assert_eq!(told, [("set", false), ("set", true), ("set", true), ("confirm", false)]);
    bench.audited().await;
    // A limit that waits is no reason for a carrier to stay.
    let call = |at: Wall| OpenLeg { invited: at, ..dial(bench.leg(), "+390611111111", "studio") };
    grant(bench.store.open_leg(call(hour(5))).await.unwrap());
}

/// Taken away and made again, a carrier has the limit that it left, as if another had been set.
#[tokio::test]
async fn a_carrier_that_is_made_again_has_the_limit_that_it_left() {
    let bench = Bench::new().await;
    let hour = |hours: u64| NOON.plus_millis(hours * 3_600_000);
    let entry = EntryId::Carrier("local".parse().unwrap());
    let put = async |limit: &str, at: Wall| {
        let step = ChangeStep::Put(format!("{{\"sources\":[\"127.0.0.1\"]{limit}}}"));
        let change = Change { entry: entry.clone(), of: None, step };
        bench.store.change(change, at).await.unwrap().unwrap();
    };
    let remove = async |at: Wall| {
        let gone = bench.store.remove(Removal { entry: entry.clone(), of: None }, at).await.unwrap();
        assert_eq!(gone, Ok(Removed::Deleted));
    };
    let holds = |at: Wall| bench.store.facts().carrier_day_limit(&"local".parse().unwrap(), at).map(|most| most.to_text());
    let amount = |text: &str| Some(micros(text).to_text());
    put(",\"max_spend_per_day\":\"0.02\"", hour(0)).await;
    remove(hour(1)).await;
    assert_eq!(holds(hour(1)), None, "there is no such carrier");
    put(",\"max_spend_per_day\":\"500\"", hour(2)).await;
    assert_eq!((holds(hour(24)), holds(hour(25))), (amount("0.02"), amount("500")));
    // Once more, without any; and with a lower one, which holds at once.
    remove(hour(3)).await;
    put("", hour(4)).await;
    assert_eq!((holds(hour(26)), holds(hour(27))), (amount("0.02"), None));
    remove(hour(5)).await;
    put(",\"max_spend_per_day\":\"0.01\"", hour(6)).await;
    assert_eq!((holds(hour(6)), holds(hour(40))), (amount("0.01"), amount("0.01")));
    // Whoever waits as long as for a raise has what is said.
    remove(hour(7)).await;
    put(",\"max_spend_per_day\":\"500\"", hour(31)).await;
    assert_eq!(holds(hour(31)), amount("500"));
    bench.audited().await;
}

/// What recharges may fetch a day: from nothing, too.
#[tokio::test]
async fn a_recharges_cap_waits_too() {
    let bench = Bench::new().await;
    let recharge = |most: &str| {
        format!(
            "credits = \"1.00\"\n[organisation.recharge]\ntrigger = \"99\"\namount = \"5\"\nmax_per_day = \"{most}\"\n\
             hook = \"http://192.0.2.1/pay\"\nhook_secret = \"env:PAY\"\n"
        )
    };
    let hour = |hours: u64| NOON.plus_millis(hours * 3_600_000);
    let apply = async |text: &str, at: Wall| {
        let file = FILE.replacen("credits = \"1.00\"\n", text, 1);
        bench.store.apply(document(&file).unwrap(), at).await.unwrap().unwrap().pending
    };
    let most = |at: Wall| {
        let facts = bench.store.facts();
        facts.organisations[&"aurora".parse().unwrap()].recharge_at(at).map(|wish| wish.max_per_day.to_text())
    };
    let amount = |text: &str| Some(micros(text).to_text());
    let fetched = async || bench.store.alerts(None, 100).await.unwrap().recharges.len();
    assert_eq!(apply(&recharge("10"), hour(0)).await, 1);
    assert_eq!((most(hour(0)), most(hour(24)), fetched().await), (amount("0"), amount("10"), 0));
    let confirm = ConfirmLimits {
        of: LimitsOf::Organisation("aurora".parse().unwrap()),
        limit: Some(CooledLimit::RechargeDay),
        reason: "agreed".into(),
        at: hour(1),
    };
    assert_eq!(bench.store.confirm_limits(confirm).await.unwrap().len(), 1);
    assert_eq!(most(hour(1)), amount("10"));
    grant(bench.store.open_leg(OpenLeg { invited: hour(2), ..dial(bench.leg(), "+390611111111", "studio") }).await.unwrap());
    assert_eq!(fetched().await, 1);
    assert_eq!(apply(&recharge("50"), hour(3)).await, 1);
    assert_eq!((most(hour(3)), most(hour(26)), most(hour(27))), (amount("10"), amount("10"), amount("50")));
    // Taken away is no raise; given again it waits, from nothing.
    assert_eq!(apply("credits = \"1.00\"\n", hour(4)).await, 0);
    assert_eq!(apply(&recharge("50"), hour(5)).await, 1);
    assert_eq!((most(hour(5)), most(hour(29))), (amount("0"), amount("50")));
    bench.audited().await;
}
