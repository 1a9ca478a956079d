//! Attacks on a whole node, over real sockets: each is let have what its limit is, and no more, refused under its own name,
//! counted, and told.

use crate::world::{PEOPLE, TOLL_FREE, World, settings};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;
use tollbridge::clock;
use tollbridge::notice::Kind;
use tollbridge::store::{Document, Store};
use tollbridge::switchboard::ask::{Ask, Told};
use tollbridge::types::{Cause, LegId, Micros};

/// Of all nodes of this process together: what is asked is how much a counter has grown at least.
fn counters() -> &'static PrometheusHandle {
    static COUNTERS: OnceLock<PrometheusHandle> = OnceLock::new();
    COUNTERS.get_or_init(|| PrometheusBuilder::new().install_recorder().expect("nobody else counts in this process"))
}

/// Legs that ended, or calls that got no leg, for a cause.
fn counted(cause: Cause) -> u64 {
    let label = format!("cause=\"{}\"", cause.slug());
    let text = counters().render();
    let lines = text.lines().filter(|line| {
        ["tollbridge_legs_ended_total", "tollbridge_calls_refused_total"].iter().any(|name| line.starts_with(name))
            && line.contains(&label)
    });
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// A minute abroad is 1.85 in its first minute, whatever of it is used.
const ABROAD: &str = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from\n\
    dial-in-toll,39,Italy,0.60,0,1,1,2020-01-01\n\
    dial-in-toll-free,39,Italy,1.20,0,60,60,2020-01-01\n\
    dial-out,39,Italy,1.80,0.05,1,1,2020-01-01\n\
    dial-out,44,United Kingdom,1.80,0.05,60,60,2020-01-01\n";

const MINUTE: Micros = Micros(1_850_000);

/// [`PEOPLE`], with these limits of acme and so much credit.
fn people(credits: &str, limits: &str) -> String {
    let limits = format!("credits = \"{credits}\"\n[organisation.limits]\n{limits}\n");
    PEOPLE.replacen("credits = \"10.00\"\n", &limits, 1)
}

async fn world(people: &str) -> World {
    counters();
    let world = World::with(people, |settings| settings.patterns.block_calls = 3).await;
    let rates = Document::parse("rates.toml", "rates = \"rates.csv\"\n", |_| Ok(ABROAD.to_owned())).unwrap();
    world.node.store().apply(rates, clock::wall()).await.unwrap().unwrap();
    world
}

/// So many calls out at once, each to a number of its own: those that ring, and how many were refused for what.
async fn burst(
    world: &World,
    meeting: &str,
    calls: usize,
    number: impl Fn(usize) -> String,
) -> (Vec<LegId>, BTreeMap<Cause, usize>) {
    let asked = (0..calls).map(|call| {
        let to = number(call);
        async move { world.dial(meeting, &to).await }
    });
    let (mut ringing, mut refused) = (Vec::new(), BTreeMap::new());
    for told in futures_of(asked).await {
        match told {
            Told::Dialling(leg) => ringing.push(leg),
            Told::Refused(cause) => *refused.entry(cause).or_default() += 1,
            other => panic!("{other:?}"),
        }
    }
    (ringing, refused)
}

/// All at once, in their order.
pub async fn futures_of<T>(all: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut waiting: Vec<_> = all.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|context| {
        let mut is_done = true;
        for (one, told) in waiting.iter_mut().filter(|(_, told)| told.is_none()) {
            match one.as_mut().poll(context) {
                std::task::Poll::Ready(answer) => *told = Some(answer),
                std::task::Poll::Pending => is_done = false,
            }
        }
        if is_done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    waiting.into_iter().filter_map(|(_, told)| told).collect()
}

async fn hang_up(world: &World, legs: Vec<LegId>) {
    for leg in legs {
        world.ask(Ask::Remove { leg }).await;
    }
}

async fn alerts(world: &World, kind: Kind) -> Vec<BTreeMap<String, String>> {
    let shown = world.node.store().alerts(None, 100).await.unwrap();
    shown
        .alerts
        .into_iter()
        .map(|view| view.alert)
        .filter(|alert| alert.kind == kind)
        .map(|alert| alert.facts)
        .collect()
}

fn britain(call: usize) -> String {
    format!("+4477009{call:05}")
}

/// Fifty calls out race for each limit on spending a day: as many are let be as it pays, not one more, and people are told
/// that it is used up.
#[tokio::test(flavor = "multi_thread")]
async fn fifty_calls_at_once_get_what_a_cap_pays_and_no_more() {
    for (limit, cause) in [
        ("max_spend_per_day = \"6.00\"", Cause::SpendLimit),
        ("organiser_spend_per_day = \"6.00\"", Cause::OrganiserSpendLimit),
        ("meeting_spend_per_day = \"6.00\"", Cause::MeetingSpendLimit),
    ] {
        let world = world(&people("500.00", limit)).await;
        let before = counted(cause);
        let (ringing, refused) = burst(&world, "open", 50, britain).await;
        assert_eq!((ringing.len(), &refused), (3, &BTreeMap::from([(cause, 47)])), "{limit}");
        assert_eq!(world.balance("acme").await.held, Micros(3 * MINUTE.0), "{limit}");
        let told = alerts(&world, Kind::CapUsed).await;
        assert!(told.iter().any(|facts| facts["percent"] == "100"), "{limit}: {told:?}");
        hang_up(&world, ringing).await;
        let records = world.records().await;
        assert!(records.iter().all(|record| record.charge == Micros::ZERO), "{limit}: nobody answered");
        assert!(counted(cause) >= before + 47, "{limit}");
        world.end().await;
    }
}

/// Calls to numbers of one block, by which somebody would earn: so many lines, each further one refused; told as a pattern.
#[tokio::test(flavor = "multi_thread")]
async fn pumping_of_one_block_of_numbers_has_so_many_lines() {
    let world = world(&people("500.00", "block_calls = 4")).await;
    let before = counted(Cause::PrefixLimit);
    let (ringing, refused) = burst(&world, "open", 50, britain).await;
    assert_eq!((ringing.len(), refused), (4, BTreeMap::from([(Cause::PrefixLimit, 46)])));
    world
        .until(|| async { alerts(&world, Kind::Fraud).await.iter().any(|facts| facts["pattern"] == "one-block") })
        .await;
    hang_up(&world, ringing).await;
    world.records().await;
    assert!(counted(Cause::PrefixLimit) >= before + 46);
    world.end().await;
}

/// The test call before an attack: refused, and nobody of the organisation calls that country until somebody opens it again.
/// Others are not held by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_of_a_hot_number_closes_the_country_before_the_attack() {
    let world = world(&people("500.00", "")).await;
    let hot = serde_json::json!({ "name": "hot.csv", "text": "number,note\n+44 7700 900 012,test number\n" });
    let report = world.post("/hot-list/bought/import", &hot).await;
    assert_eq!((&report["new"], &report["applied"]), (&1.into(), &true.into()), "{report}");
    let before = [Cause::HotNumber, Cause::HotDestination].map(counted);
    assert!(matches!(world.dial("open", "+447700900012").await, Told::Refused(Cause::HotNumber)));
    // The attack.
    let (ringing, refused) = burst(&world, "open", 50, |call| format!("+44208{call:06}")).await;
    assert_eq!((ringing.len(), refused), (0, BTreeMap::from([(Cause::HotDestination, 50)])));
    assert_eq!(world.balance("acme").await.held, Micros::ZERO);
    let [told] = &alerts(&world, Kind::HotNumber).await[..] else { panic!("told once") };
    assert_eq!((told["number"].as_str(), told["destination"].as_str()), ("+447700900012", "GB"));
    // At home people still call.
    let Told::Dialling(leg) = world.dial("open", "+390611112222").await else { panic!("refused") };
    hang_up(&world, vec![leg]).await;
    let lift = serde_json::json!({ "destination": "GB", "reason": "the PIN was changed" });
    let lifted = world.post("/organisations/acme/blocks/lift", &lift).await;
    assert_eq!(lifted["lifted"].as_array().unwrap().len(), 1, "{lifted}");
    let Told::Dialling(leg) = world.dial("open", "+442080000001").await else { panic!("refused") };
    hang_up(&world, vec![leg]).await;
    world.records().await;
    assert!(counted(Cause::HotNumber) > before[0] && counted(Cause::HotDestination) >= before[1] + 50);
    // Who shows a hot number is taken as any other (it may be forged), and told of.
    world.call("+447700900012", TOLL_FREE).await.hang_up();
    world
        .until(|| async { alerts(&world, Kind::Fraud).await.iter().any(|facts| facts["pattern"] == "hot-caller") })
        .await;
    world.end().await;
}

/// What is paid in is all that there is: fifty at once get as many first minutes as it pays, and the account is never below
/// zero; people are told that it is used up.
#[tokio::test(flavor = "multi_thread")]
async fn a_prepaid_account_is_drained_to_zero_and_not_below() {
    let people = people("4.00", "").replacen(
        "[organisation.limits]",
        "[organisation.alerts]\nemails = [\"ops@example.com\"]",
        1,
    );
    let world = world(&people).await;
    let before = counted(Cause::NoCredit);
    let (ringing, refused) = burst(&world, "open", 50, britain).await;
    assert_eq!((ringing.len(), refused), (2, BTreeMap::from([(Cause::NoCredit, 48)])));
    let balance = world.balance("acme").await;
    assert_eq!((balance.held, balance.available), (Micros(2 * MINUTE.0), Micros(300_000)));
    assert_eq!(alerts(&world, Kind::Zero).await.len(), 1);
    hang_up(&world, ringing).await;
    world.records().await;
    assert_eq!(world.balance("acme").await.posted, Micros(4_000_000), "nobody answered");
    assert!(counted(Cause::NoCredit) >= before + 48);
    world.end().await;
}

/// A thief who waits for a restart waits in vain: what the last life saw counts. (At night half as many are enough, so that
/// the first three must be less than that.)
#[tokio::test(flavor = "multi_thread")]
async fn the_watch_goes_on_after_a_restart() {
    // Of one pattern alone: at night two of them are met at once.
    let patterns = |settings: &mut tollbridge::config::Settings| {
        (settings.patterns.sequence_numbers, settings.patterns.block_calls) = (8, 1_000);
    };
    let world = World::with(&people("500.00", ""), patterns).await;
    for call in 0..3 {
        let Told::Dialling(leg) = world.dial("open", &format!("+3906999900{call:02}")).await else { panic!("refused") };
        hang_up(&world, vec![leg]).await;
    }
    world.records().await;
    assert!(alerts(&world, Kind::Fraud).await.is_empty());
    let folder = world.end().await;

    let mut settings = settings(&folder);
    patterns(&mut settings);
    let store = open(&settings.store_url, &settings).await;
    let node = tollbridge::node::Node::start_on(store, &settings, None).await.unwrap();
    for call in 3..8 {
        let ask = Ask::Dial { meeting: "open".parse().unwrap(), to: format!("+3906999900{call:02}").parse().unwrap() };
        let Some(Told::Dialling(leg)) = node.switchboard().ask(ask).await else { panic!("refused") };
        node.switchboard().ask(Ask::Remove { leg }).await;
    }
    let mut patterns = Vec::new();
    for _ in 0..500 {
        let shown = node.store().alerts(None, 100).await.unwrap();
        patterns = shown.alerts.into_iter().filter(|view| view.alert.kind == Kind::Fraud).collect();
        if !patterns.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(patterns.len(), 1, "{patterns:?}");
    assert_eq!(patterns[0].alert.facts["pattern"], "sequence");
    node.stop().await;
}

/// The lock is free once the last life has let go of it.
async fn open(url: &str, settings: &tollbridge::config::Settings) -> Store {
    for _ in 0..500 {
        if let Ok(store) = Store::open(url, settings.store_options()).await {
            return store;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the store stays held")
}
