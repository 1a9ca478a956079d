//! Numbers known from fraud: lists, what a call to one closes, and how that is opened again.

use super::*;
use crate::notice::Kind;
use crate::trunk::{HotChange, HotKey, MOST_SALTS, read_hot};
use sha2::{Digest, Sha256};

const LATVIA: &str = "+37123456789";
const RIGA: &str = "+37167000000";
const BRITAIN: &str = "+447700900123";
const DAY_MS: u64 = 86_400_000;

/// [`FILE`], with calls to Latvia allowed, and money enough.
fn file() -> String {
    let prices = FILE.replacen("credits = \"1.00\"", "credits = \"100.00\"\nallow_prefixes = [\"371\"]", 1);
    prices.replacen("[[carrier]]", "[[organisation]]\nid = \"corvus\"\ncountry = \"LV\"\n[[carrier]]", 1)
}

fn order(list: &str, step: HotStep) -> HotOrder {
    HotOrder { list: list.parse().unwrap(), step }
}

fn replace(text: &str) -> HotStep {
    HotStep::Replace { file: "hot.csv".into(), entries: read_hot("hot.csv", text).unwrap() }
}

fn add(prefix: &str) -> HotStep {
    HotStep::Add([(prefix.parse::<HotKey>().unwrap(), String::new())].into())
}

async fn bench() -> Bench {
    let bench = Bench::empty().await;
    let rates = format!("{RATES}dial-out,371,Latvia,0.0500,0,60,60,2020-01-01,standard\n");
    let document = Document::parse("demo.toml", &file(), |_| Ok(rates.clone())).unwrap();
    bench.store.apply(document, NOON).await.unwrap().unwrap();
    bench
}

impl Bench {
    async fn hot(&self, list: &str, step: HotStep) -> HotReport {
        self.store.hot_order(order(list, step), false, NOON).await.unwrap()
    }

    async fn ring(&self, to: &str, at: Wall) -> Opened {
        let leg = self.leg();
        let opened = self.store.open_leg(OpenLeg { invited: at, ..dial(leg, to, "studio") }).await.unwrap();
        self.store.settle(leg, over(0)).await.unwrap();
        opened
    }

    async fn trail_verbs(&self) -> Vec<String> {
        let rows = self.store.trail(&TrailFilter::default()).await.unwrap();
        rows.into_iter().filter(|row| row.verb != "apply").map(|row| format!("{} {}", row.verb, row.what)).collect()
    }

    async fn told_of(&self, kind: Kind) -> usize {
        let shown = self.store.alerts(None, 1_000).await.unwrap();
        shown.alerts.iter().filter(|view| view.alert.kind == kind).count()
    }
}

#[tokio::test]
async fn a_list_is_brought_in_whole_and_tells_what_changed() {
    let bench = bench().await;
    let first = "prefix,note\n3712345,test\n882990,test\n";
    let dry = bench.store.hot_order(order("bought", replace(first)), true, NOON).await.unwrap();
    assert_eq!((dry.count(HotChange::New), dry.entries), (2, 2));
    assert!(bench.store.hot_lists().await.unwrap().is_empty(), "a dry run writes nothing");
    assert_eq!(bench.hot("bought", replace(first)).await, dry);

    let second = "prefix,note\n3712345,gone over to another range\n97250001,new\n";
    let report = bench.hot("bought", replace(second)).await;
    let told: Vec<(&str, String)> = report.changes.iter().map(|(c, p, _)| (c.slug(), p.to_string())).collect();
    let expected = [("removed", "882990"), ("noted", "3712345"), ("new", "97250001")];
    assert_eq!(told, expected.map(|(change, digits)| (change, digits.to_owned())));
    assert_eq!(bench.hot("bought", replace(second)).await.changes, []);
    // Another list is not touched by it; one number may be in both, and is hot until it is in none.
    bench.hot("own", add("3712345")).await;
    bench.hot("bought", replace("prefix\n97250001\n")).await;
    let hot = |number: &str| bench.store.facts().hot(&number.parse().unwrap()).is_some();
    assert!(hot(LATVIA) && hot("+97250001234") && !hot("+88299012345"));
    bench.hot("own", HotStep::Remove("3712345".parse().unwrap())).await;
    assert!(!hot(LATVIA));
    let again = bench.store.hot_order(order("own", HotStep::Remove("3712345".parse().unwrap())), false, NOON).await;
    assert!(matches!(again, Err(StoreError::Unknown(_))), "{again:?}");

    let filter = HotFilter { number: Some("+97250001234".parse().unwrap()), ..HotFilter::default() };
    let found = bench.store.hot_rows(&filter).await.unwrap();
    assert_eq!(found.iter().map(|row| row.prefix.as_str()).collect::<Vec<_>>(), ["97250001"]);
    let told = ["import", "import", "add", "import", "remove"].iter().zip(["bought", "bought", "own", "bought", "own"]);
    let told: Vec<String> = told.map(|(verb, list)| format!("{verb} hot-list {list}")).collect();
    assert_eq!(bench.trail_verbs().await, told);
    bench.audited().await;
}

/// Of a number whose list tells nothing but its hash, all is as of one that is told.
#[tokio::test]
async fn a_number_is_known_by_its_hash() {
    let bench = bench().await;
    let hash = |text: &str| Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let file = |salt: &str| {
        let salted = hash(&format!("{salt}447700900123"));
        format!("number,salt,note\n{},,test\n{salted},{salt},\n37167,,prefix\n", hash(LATVIA))
    };
    let first = file("pep/per+");
    let dry = bench.store.hot_order(order("shared", replace(&first)), true, NOON).await.unwrap();
    assert_eq!((dry.count(HotChange::New), dry.entries), (3, 3));
    assert_eq!(bench.hot("shared", replace(&first)).await, dry);
    let report = bench.hot("shared", replace(&file("salt"))).await;
    assert_eq!((report.count(HotChange::New), report.count(HotChange::Removed), report.same), (1, 1, 2));
    let hot = |number: &str| bench.store.facts().hot(&number.parse().unwrap()).is_some();
    assert!(hot(LATVIA) && hot(RIGA) && hot(BRITAIN) && !hot("+37123456780") && !hot("+3712345678901"));
    let shown = async |number: &str| {
        let filter = HotFilter { number: Some(number.parse().unwrap()), ..HotFilter::default() };
        let rows = bench.store.hot_rows(&filter).await.unwrap();
        rows.into_iter().map(|row| row.prefix).collect::<Vec<_>>()
    };
    let salted = format!("sha256:salt:{}", hash("salt447700900123"));
    assert_eq!(shown(LATVIA).await, [format!("sha256:{}", hash(LATVIA))]);
    assert_eq!(shown(BRITAIN).await.first(), Some(&salted));
    assert_eq!(bench.ring(LATVIA, NOON).await, Opened::Refused(Cause::HotNumber));
    assert_eq!(bench.told_of(Kind::HotNumber).await, 1);
    let closed = bench.store.facts().dial_blocks(None, NOON);
    assert_eq!(closed.iter().map(|block| block.destination.to_string()).collect::<Vec<_>>(), ["LV"]);
    bench.hot("shared", HotStep::Remove(salted.parse().unwrap())).await;
    assert!(!hot(BRITAIN));

    // Each salt costs every call: there are few, of all lists together.
    for n in 0..MOST_SALTS {
        bench.hot("own", add(&format!("sha256:{n}:{}", hash("x")))).await;
    }
    let another = order("shared", add(&format!("sha256:more:{}", hash("x"))));
    let refused = bench.store.hot_order(another, false, NOON).await;
    assert!(matches!(&refused, Err(StoreError::Conflict(why)) if why.contains("17 salts")), "{refused:?}");
    bench.hot("own", add(&format!("sha256:1:{}", hash("y")))).await;
    bench.hot("own", replace(&format!("hash,salt\n{},more\n", hash("x")))).await;
    bench.audited().await;
}

#[tokio::test]
async fn entries_are_told_part_after_part_and_none_is_left_out() {
    let bench = bench().await;
    let rows: String = (0..1_500).map(|n| format!("{}\n", 37_120_000 + n)).collect();
    for list in ["one", "two"] {
        bench.hot(list, replace(&format!("prefix\n{rows}"))).await;
    }
    let (mut told, mut after) = (Vec::new(), None);
    loop {
        let part = bench.store.hot_rows(&HotFilter { after, ..HotFilter::default() }).await.unwrap();
        after = part.last().map(|row| (row.prefix.clone(), row.list.clone()));
        let is_last = part.len() < MOST_HOT_ROWS as usize;
        told.extend(part);
        if is_last {
            break;
        }
    }
    assert_eq!(told.len(), 3_000);
    assert!(told.is_sorted_by_key(|row| (row.prefix.clone(), row.list.clone())));
}

#[tokio::test]
async fn a_hit_is_refused_before_any_hold_and_closes_the_country_for_a_day() {
    let bench = bench().await;
    bench.hot("own", add("3712345")).await;
    grant(bench.ring(RIGA, NOON).await);
    let before = bench.store.balance(&"aurora".parse().unwrap()).await.unwrap();
    assert_eq!(bench.ring(LATVIA, NOON).await, Opened::Refused(Cause::HotNumber));
    let after = bench.store.balance(&"aurora".parse().unwrap()).await.unwrap();
    assert_eq!((before.held, before.posted), (after.held, after.posted));

    // The country is closed, others are not; and to nobody else.
    assert_eq!(bench.ring(RIGA, NOON).await, Opened::Refused(Cause::HotDestination));
    grant(bench.ring(BRITAIN, NOON).await);
    let quote = |number: &str| {
        let (organiser, number) = ("anna".parse().unwrap(), number.parse().unwrap());
        let asked = QuoteRequest { organiser, call_type: CallType::DialOut, number, caller: None, minutes: 1, now: NOON };
        let store = bench.store.clone();
        async move { store.quote(&asked).await.unwrap().err() }
    };
    assert_eq!(quote(LATVIA).await, Some(Cause::HotNumber));
    assert_eq!(quote(RIGA).await, Some(Cause::HotDestination));
    assert_eq!(quote(BRITAIN).await, None);
    let facts = bench.store.facts();
    assert_eq!(facts.dial_blocks(Some(&"borealis".parse().unwrap()), NOON), []);
    let [block] = &facts.dial_blocks(None, NOON)[..] else { panic!("one block") };
    assert_eq!((block.destination.to_string().as_str(), block.until), ("LV", NOON.plus_millis(DAY_MS)));
    assert!(!block.number.contains("6789"), "{}", block.number);

    // Told once a block, however often it is rung; and another hit moves its end.
    let hour = NOON.plus_millis(3_600_000);
    for _ in 0..5 {
        assert_eq!(bench.ring(LATVIA, hour).await, Opened::Refused(Cause::HotNumber));
    }
    assert_eq!(bench.told_of(Kind::HotNumber).await, 1);
    assert_eq!(bench.trail_verbs().await, ["add hot-list own", "block organisation aurora"]);
    assert_eq!(bench.ring(RIGA, NOON.plus_millis(DAY_MS)).await, Opened::Refused(Cause::HotDestination));
    grant(bench.ring(RIGA, hour.plus_millis(DAY_MS)).await);
    // The next hit is another block.
    assert_eq!(bench.ring(LATVIA, hour.plus_millis(2 * DAY_MS)).await, Opened::Refused(Cause::HotNumber));
    assert_eq!(bench.told_of(Kind::HotNumber).await, 2);
    bench.audited().await;
}

#[tokio::test]
async fn at_home_a_hit_closes_the_block_of_numbers_alone() {
    let bench = bench().await;
    bench.hot("own", add("390655512345")).await;
    assert_eq!(bench.ring("+390655512345", NOON).await, Opened::Refused(Cause::HotNumber));
    assert_eq!(bench.ring("+390655599999", NOON).await, Opened::Refused(Cause::HotDestination));
    grant(bench.ring("+390611112222", NOON).await);
    assert_eq!(bench.store.facts().dial_blocks(None, NOON)[0].destination.to_string(), "+390655");
    bench.audited().await;
}

#[tokio::test]
async fn a_block_stands_after_a_restart_until_somebody_lifts_it() {
    let bench = bench().await;
    bench.hot("own", add("3712345")).await;
    assert_eq!(bench.ring(LATVIA, NOON).await, Opened::Refused(Cause::HotNumber));
    let bench = bench.reopened().await;
    assert_eq!(bench.ring(RIGA, NOON).await, Opened::Refused(Cause::HotDestination));
    assert_eq!(bench.ring(LATVIA, NOON).await, Opened::Refused(Cause::HotNumber));
    let lift = |destination: Option<&str>| Lift {
        organisation: "aurora".parse().unwrap(),
        destination: destination.map(|named| named.parse().unwrap()),
        reason: "a test of ours".into(),
        at: NOON,
    };
    assert!(matches!(bench.store.lift(lift(Some("EE"))).await, Err(StoreError::Unknown(_))));
    assert_eq!(bench.store.lift(lift(Some("LV"))).await.unwrap().len(), 1);
    grant(bench.ring(RIGA, NOON).await);
    assert_eq!(bench.store.lift(lift(None)).await.unwrap(), []);
    let bench = bench.reopened().await;
    grant(bench.ring(RIGA, NOON).await);
    // The number itself stays hot.
    assert_eq!(bench.ring(LATVIA, NOON).await, Opened::Refused(Cause::HotNumber));
    let verbs = bench.trail_verbs().await;
    assert_eq!(verbs[1..4], ["block organisation aurora", "lift organisation aurora", "lift organisation aurora"]);
    bench.audited().await;
}

/// Who puts a number in at three in the morning ends the calls that run to it.
#[tokio::test]
async fn a_call_that_runs_to_a_number_that_becomes_hot_may_not_go_on() {
    let bench = bench().await;
    let leg = bench.leg();
    let until_ms = grant(bench.store.open_leg(dial(leg, LATVIA, "studio")).await.unwrap()).until_ms;
    bench.store.answered(answer(leg)).await.unwrap();
    assert_eq!(bench.store.withdrawn(&[leg], NOON).await.unwrap(), []);
    bench.hot("own", add("3712345")).await;
    assert_eq!(bench.store.withdrawn(&[leg], NOON).await.unwrap(), [(leg, Cause::HotNumber)]);
    assert_eq!(bench.store.extend(next(leg, 1, until_ms)).await.unwrap(), Opened::Refused(Cause::HotNumber));
    bench.store.settle(leg, over(until_ms)).await.unwrap();
    bench.audited().await;
}

#[tokio::test]
async fn nothing_is_recharged_while_a_destination_is_closed() {
    let bench = bench().await;
    let recharge = "[organisation.recharge]\ntrigger = \"99.00\"\namount = \"20.00\"\nmax_per_day = \"40.00\"\n\
         hook = \"https://93.184.215.14/pay\"\nhook_secret = \"env:HOOK\"\n";
    let text = file().replacen("credits = \"100.00\"\n", "", 1);
    let text = text.replacen("[[organisation.user]]", &format!("{recharge}[[organisation.user]]"), 1);
    bench.hot("own", add("3712345")).await;
    assert_eq!(bench.ring(LATVIA, NOON).await, Opened::Refused(Cause::HotNumber));
    bench.apply(&text).await.unwrap();
    // There were none before: a raise, which somebody says is meant.
    let aurora = LimitsOf::Organisation("aurora".parse().unwrap());
    let confirm = ConfirmLimits { of: aurora, limit: Some(CooledLimit::RechargeDay), reason: "agreed".into(), at: NOON };
    assert_eq!(bench.store.confirm_limits(confirm).await.unwrap().len(), 1);
    let adjust = Funds {
        organisation: "aurora".parse().unwrap(),
        key: "out".into(),
        amount: Micros(-90_000_000),
        kind: FundsKind::Adjustment,
        memo: String::new(),
        at: NOON,
    };
    bench.store.add_credits(adjust).await.unwrap();
    grant(bench.ring(BRITAIN, NOON).await);
    let shown = bench.store.alerts(None, 10).await.unwrap();
    assert!(shown.recharges.is_empty(), "{:?}", shown.recharges);
    assert_eq!(bench.told_of(Kind::RechargeFailed).await, 1);
    let lift = Lift { organisation: "aurora".parse().unwrap(), destination: None, reason: "known".into(), at: NOON };
    bench.store.lift(lift).await.unwrap();
    grant(bench.ring(BRITAIN, NOON.plus_millis(60_000)).await);
    assert_eq!(bench.store.alerts(None, 10).await.unwrap().recharges.len(), 1);
    // One that is wanted and not asked for yet waits, where a number is hit meanwhile.
    assert_eq!(bench.ring(LATVIA, NOON.plus_millis(60_000)).await, Opened::Refused(Cause::HotNumber));
    let claim = |at: Wall| Claim { now: at, letters: 0, payments: 9, house: AlertSettings::default() };
    let at = NOON.plus_millis(61_000);
    assert_eq!(bench.store.claim(claim(at)).await.unwrap().errands, []);
    let lift = Lift { organisation: "aurora".parse().unwrap(), destination: None, reason: "known".into(), at };
    bench.store.lift(lift).await.unwrap();
    assert_eq!(bench.store.claim(claim(at.plus_millis(61_000))).await.unwrap().errands.len(), 1);
    bench.audited().await;
}
