//! How near a day's limits are, told at half, at four fifths, and at the end.

use super::*;
use crate::notice::Kind;
use std::collections::BTreeMap;

impl Bench {
    /// What was told of limits: whose, and the steps in their order.
    async fn caps_told(&self) -> BTreeMap<String, Vec<String>> {
        let shown = self.store.alerts(None, 1_000).await.unwrap();
        let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for view in shown.alerts.iter().rev().filter(|view| view.alert.kind == Kind::CapUsed) {
            told.entry(view.alert.facts["whose"].clone()).or_default().push(view.alert.facts["percent"].clone());
        }
        told.values_mut().for_each(|steps| steps.sort_by_key(|step| step.parse::<u32>().unwrap()));
        told
    }

    /// A call of one minute to Britain, 1.81 cents; whether it was let be. Settled where `ends`.
    async fn capped(&self, at: Wall, ends: bool) -> bool {
        let leg = self.leg();
        let open = OpenLeg {
            invited: at,
            carrier: Some("local".parse().unwrap()),
            ..dial(leg, "+447700900123", "studio")
        };
        let opened = self.store.open_leg(open).await.unwrap();
        if ends {
            self.store.settle(leg, End { at, ..over(0) }).await.unwrap();
        }
        matches!(opened, Opened::Granted(_))
    }
}

fn file(limits: &str, carrier: &str) -> String {
    let limits = format!("credits = \"100.00\"\n[organisation.limits]\n{limits}");
    let text = FILE.replacen("credits = \"1.00\"", &limits, 1);
    text.replacen("id = \"local\"\n", &format!("id = \"local\"\n{carrier}\n"), 1)
}

/// Each of the four limits tells each of its steps, once, and to whom it belongs.
#[tokio::test]
async fn each_days_limit_tells_its_steps_once() {
    let table = [
        ("max_spend_per_day = \"0.40\"", "", "organisation aurora"),
        ("organiser_spend_per_day = \"0.40\"", "", "organiser anna"),
        ("meeting_spend_per_day = \"0.40\"", "", "meeting studio"),
        ("", "max_spend_per_day = \"0.40\"", "carrier local"),
    ];
    for (limits, carrier, whose) in table {
        let bench = Bench::empty().await;
        bench.apply(&file(limits, carrier)).await.unwrap();
        // Holds of 4 cents: 40 % tell nothing, 50 % and 80 % tell once each, and whoever is refused the end.
        let mut seen = Vec::new();
        for _ in 0..30 {
            bench.capped(NOON, false).await;
            seen.push(bench.caps_told().await.remove(whose).unwrap_or_default().len());
        }
        assert!(seen.is_sorted() && seen[0] == 0, "{whose}: {seen:?}");
        let all = BTreeMap::from([(whose.to_owned(), ["50", "80", "100"].map(str::to_owned).to_vec())]);
        assert_eq!(bench.caps_told().await, all);
        // Neither what goes back nor another life tells again …
        let bench = bench.reopened().await;
        bench.capped(NOON, true).await;
        assert_eq!(bench.caps_told().await, all);
        bench.audited().await;
        // … but the house is told of carriers, and the organisation of its own.
        let shown = bench.store.alerts(Some(&"aurora".parse().unwrap()), 100).await.unwrap();
        let own = shown.alerts.iter().filter(|view| view.alert.kind == Kind::CapUsed).count();
        assert_eq!(own, if carrier.is_empty() { 3 } else { 0 });
    }
}

/// Where the first carrier does not take a call, the next one has it only within its own limit; else nothing has changed.
#[tokio::test]
async fn a_call_goes_to_no_other_carrier_that_has_no_room_for_what_is_held() {
    let bench = Bench::empty().await;
    let others = "[[carrier]]\nid = \"small\"\nroute = \"udp:192.0.2.1:5060\"\nmax_spend_per_day = \"0.07\"\n";
    bench.apply(&(file("", "") + others)).await.unwrap();
    let ask = |leg, carrier: &str| Rerouted {
        leg,
        carrier: carrier.parse().unwrap(),
        call_id: "second".to_owned(),
        journal: "second".to_owned(),
    };
    let carrier = |leg: LegId| {
        let store = bench.store.clone();
        async move {
            let all = store.usage(&UsageFilter::default()).await.unwrap();
            all.into_iter().find(|record| record.usage_id == leg).unwrap().beyond.carrier.unwrap().to_string()
        }
    };
    // Holds of 4 cents: the small one has room for one of them.
    let mut legs = Vec::new();
    for refused in [false, true, true] {
        let leg = bench.leg();
        let open = OpenLeg { invited: NOON, carrier: Some("local".parse().unwrap()), ..dial(leg, "+447700900123", "studio") };
        assert!(matches!(bench.store.open_leg(open).await.unwrap(), Opened::Granted(_)));
        let done = bench.store.rerouted(ask(leg, "small")).await;
        assert_eq!(matches!(done, Err(StoreError::Refused(Cause::CarrierSpendLimit))), refused, "{done:?}");
        assert!(refused || done.is_ok(), "{done:?}");
        // Another address of the carrier that it has: what it holds is no more for that.
        let by = if refused { "local" } else { "small" };
        bench.store.rerouted(ask(leg, by)).await.unwrap();
        legs.push((leg, by));
        bench.audited().await;
    }
    for (leg, by) in legs {
        bench.store.settle(leg, End { at: NOON, ..over(0) }).await.unwrap();
        assert_eq!(carrier(leg).await, by);
    }
    // What was held is back, and there is room again.
    let leg = bench.leg();
    let open = OpenLeg { invited: NOON, carrier: Some("local".parse().unwrap()), ..dial(leg, "+447700900123", "studio") };
    bench.store.open_leg(open).await.unwrap();
    bench.store.rerouted(ask(leg, "small")).await.unwrap();
    bench.audited().await;
}

/// A hold that goes back and comes again crosses the same line: told once. The next day tells anew.
#[tokio::test]
async fn a_line_that_is_crossed_again_is_told_once_a_day() {
    let bench = Bench::empty().await;
    bench.apply(&file("max_spend_per_day = \"0.07\"", "")).await.unwrap();
    for _ in 0..5 {
        assert!(bench.capped(NOON, true).await);
    }
    let half = |days: usize| BTreeMap::from([("organisation aurora".to_owned(), vec!["50".to_owned(); days])]);
    assert_eq!(bench.caps_told().await, half(1));
    assert!(bench.capped(NOON.plus_millis(86_400_000), true).await);
    assert_eq!(bench.caps_told().await, half(2));
    bench.audited().await;
}
