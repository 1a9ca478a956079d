//! Entries taken away: what is needed stays, and what was paid is known for ever.

use super::*;
use serde_json::{Value, json};

fn spot(kind: &str, name: &str) -> EntryId {
    match kind {
        "organisation" => EntryId::Organisation(name.parse().unwrap()),
        "user" => EntryId::User(name.parse().unwrap()),
        "meeting" => EntryId::Meeting(name.parse().unwrap()),
        "number" => EntryId::Number(name.parse().unwrap()),
        "carrier" => EntryId::Carrier(name.parse().unwrap()),
        other => panic!("{other}"),
    }
}

impl Bench {
    async fn remove(&self, kind: &str, name: &str, of: &str) -> Result<Removed, String> {
        let of = Some(of).filter(|of| !of.is_empty()).map(|of| of.parse().unwrap());
        self.store.remove(Removal { entry: spot(kind, name), of }, NOON).await.unwrap()
    }

    async fn put(&self, kind: &str, name: &str, of: &str, keys: Value) -> Result<Changed, StoreError> {
        let of = Some(of).filter(|of| !of.is_empty()).map(|of| of.parse().unwrap());
        let change = Change { entry: spot(kind, name), of, step: ChangeStep::Put(keys.to_string()) };
        self.store.change(change, NOON).await.map(Result::unwrap)
    }
}

#[tokio::test]
async fn what_is_needed_is_not_removed_and_the_refusal_says_by_what() {
    let bench = Bench::new().await;
    let direct = json!({ "kind": "toll", "country": "IT", "meeting": "studio" });
    bench.put("number", "+390699999991", "", direct).await.unwrap();
    let leg = bench.leg();
    grant(bench.store.open_leg(toll(leg)).await.unwrap());
    let live = format!("leg {leg} runs by it: end that first");
    let cases = [
        ("organisation", "aurora", "", "user anna is its: remove that first"),
        ("user", "anna", "aurora", "meeting studio is theirs: remove it, or give it another organiser, first"),
        ("meeting", "studio", "aurora", "number +390699999991 leads to it: lead that elsewhere first"),
        ("number", "+390612345678", "", &live),
        ("carrier", "local", "", &live),
    ];
    let before = bench.store.facts();
    for (kind, name, of, why) in cases {
        assert_eq!(bench.remove(kind, name, of).await, Err(why.to_owned()));
        let row = bench.store.trail(&TrailFilter::default()).await.unwrap().pop().unwrap();
        let detail: Value = serde_json::from_str(&row.detail).unwrap();
        assert_eq!((&*row.verb, &*row.what), ("remove", &*format!("{kind} {name}")));
        assert_eq!(detail, json!({ "outcome": "refused", "reasons": [why] }));
    }
    bench.remove("number", "+390699999991", "").await.unwrap();
    assert_eq!(bench.remove("meeting", "studio", "aurora").await, Err(live.clone()));
    // The meeting is another's while the call goes on: its first organiser is needed until it ends.
    let meeting = json!({ "organiser": "bruno", "conference_id": "1000001" });
    bench.put("meeting", "studio", "aurora", meeting).await.unwrap();
    assert_eq!(bench.remove("user", "anna", "aurora").await, Err(live));
    bench.store.settle(leg, over(0)).await.unwrap();
    assert_eq!(bench.remove("user", "anna", "aurora").await, Ok(Removed::Closed));
    assert_eq!(before.organisations, bench.store.facts().organisations);
    for (kind, name, of) in [("user", "carol", "aurora"), ("user", "zoe", "aurora"), ("carrier", "x", "")] {
        let of = Some(of).filter(|of| !of.is_empty()).map(|of| of.parse().unwrap());
        let refused = bench.store.remove(Removal { entry: spot(kind, name), of }, NOON).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("there is no {kind} {name}"));
    }
    bench.audited().await;
}

/// Calls that name their meeting are calls to a number, which is there as long as there may be any.
#[tokio::test]
async fn the_number_of_calls_by_conference_id_is_one_of_many_meetings_and_stays() {
    let bench = Bench::new().await;
    let direct = json!({ "kind": "toll", "country": "IT", "meeting": "studio" });
    bench.put("number", "+390699999991", "", direct).await.unwrap();
    let carrier = |number: &str| {
        let keys = json!({ "sources": ["192.0.2.77"], "conference_number": number }).to_string();
        let entry = spot("carrier", "uri");
        async { bench.store.change(Change { entry, of: None, step: ChangeStep::Put(keys) }, NOON).await.unwrap() }
    };
    for (number, why) in [("+390699999992", "is no number of ours"), ("+390699999991", "leads to one meeting")] {
        let mistakes = carrier(number).await.unwrap_err();
        let wanted = format!("carrier uri: conference_number {number} {why}");
        assert!(mistakes.iter().any(|mistake| mistake.to_string().contains(&wanted)), "{mistakes:?}");
    }
    carrier("+390612345678").await.unwrap();
    let id = "uri".parse().unwrap();
    let known = bench.store.facts().directory.carrier(&id).unwrap().conference_number;
    assert_eq!(known.map(|number| number.to_string()).as_deref(), Some("+390612345678"));
    // Nor is it led to one meeting behind the back of a carrier that the change does not name.
    let led = json!({ "kind": "toll", "country": "IT", "meeting": "studio" }).to_string();
    let led = Change { entry: spot("number", "+390612345678"), of: None, step: ChangeStep::Put(led) };
    let mistakes = bench.store.change(led, NOON).await.unwrap().unwrap_err();
    let wanted = "number +390612345678: carrier uri has it as its conference_number";
    assert!(mistakes.iter().any(|mistake| mistake.to_string().contains(wanted)), "{mistakes:?}");
    let why = "carrier uri has it as its conference_number: name another first";
    assert_eq!(bench.remove("number", "+390612345678", "").await, Err(why.to_owned()));
    bench.remove("carrier", "uri", "").await.unwrap();
    bench.remove("number", "+390612345678", "").await.unwrap();
}

#[tokio::test]
async fn a_customer_that_left_stands_in_the_books_and_nowhere_else() {
    let bench = Bench::new().await;
    let leg = bench.leg();
    grant(bench.store.open_leg(toll(leg)).await.unwrap());
    bench.store.answered(answer(leg)).await.unwrap();
    bench.store.settle(leg, over(60_000)).await.unwrap();
    for (kind, name) in [("meeting", "studio"), ("meeting", "unlicensed"), ("user", "anna"), ("user", "bruno")] {
        assert_eq!(bench.remove(kind, name, "aurora").await, Ok(Removed::Closed), "{name}");
    }
    let why = bench.remove("organisation", "aurora", "").await.unwrap_err();
    assert!(why.starts_with("its account stands at 0.9900 USD: book what is left"), "{why}");
    bench.store.add_credits(funds("last", "-0.99")).await.unwrap();
    assert_eq!(bench.remove("organisation", "aurora", "").await, Ok(Removed::Closed));

    let bench = bench.reopened().await;
    let facts = bench.store.facts();
    let none: [EntryId; 0] = [];
    assert_eq!(facts.entries(EntryKind::User, Some(&"aurora".parse().unwrap()), None), none);
    assert_eq!(facts.entries(EntryKind::Organisation, None, None), [spot("organisation", "borealis")]);
    assert!(facts.entry(&spot("organisation", "aurora")).is_none() && facts.meeting_named("1000001").is_none());
    // The books know it.
    assert_eq!(bench.balance("aurora").await.posted, Micros::ZERO);
    let filter = UsageFilter { organisation: Some("aurora".parse().unwrap()), ..UsageFilter::default() };
    assert_eq!(bench.store.usage(&filter).await.unwrap()[0].charge, micros("0.01"));
    let called = bench.store.open_leg(toll(bench.leg())).await;
    assert!(matches!(called, Err(StoreError::Unknown(_)) | Ok(Opened::Refused(_))), "{called:?}");
    let detail = bench.store.trail(&TrailFilter::default()).await.unwrap().pop().unwrap().detail;
    assert!(detail.contains("\"outcome\":\"closed\"") && detail.contains("\"country\":\"IT\""), "{detail}");
    bench.audited().await;
}

#[tokio::test]
async fn a_name_that_was_removed_is_opened_by_its_own_and_taken_for_all_others() {
    let bench = Bench::new().await;
    bench.remove("meeting", "studio", "aurora").await.unwrap();
    bench.remove("meeting", "unlicensed", "aurora").await.unwrap();
    bench.remove("user", "anna", "aurora").await.unwrap();
    let room = json!({ "organiser": "carol", "conference_id": "1000001" });
    for (kind, name, keys) in [("user", "anna", json!({})), ("meeting", "studio", room.clone())] {
        let taken = bench.put(kind, name, "borealis", keys).await.unwrap_err();
        assert_eq!(taken.to_string(), format!("the name of {kind} {name} is taken: choose another"));
    }
    let moved = FILE.replace("[[organisation.user]]\nid = \"carol\"", "[[organisation.user]]\nid = \"anna\"");
    let moved = moved.replacen("[[organisation.user]]\nid = \"anna\"\nlicences = [\"pay-per-minute\"]\npin = \"4711\"\n", "", 1);
    let told = bench.apply(&moved).await.unwrap_err();
    assert!(told.iter().any(|mistake| mistake.text == "user anna belongs to organisation aurora"), "{told:#?}");
    // The conference ID is free, and the names are their own organisation's.
    assert!(bench.put("meeting", "other", "borealis", room).await.unwrap().is_new);
    let again = json!({ "licences": ["pay-per-minute"] });
    assert!(bench.put("user", "anna", "aurora", again).await.unwrap().is_new);
    assert!(!bench.store.facts().users[&"anna".parse().unwrap()].has_pin(), "an old PIN is not brought back");
    let room = json!({ "organiser": "anna", "conference_id": "1000011" });
    assert!(bench.put("meeting", "studio", "aurora", room).await.unwrap().is_new);
    grant(bench.store.open_leg(toll(bench.leg())).await.unwrap());
    bench.audited().await;
}

#[tokio::test]
async fn who_was_removed_can_be_forgotten_all_the_same() {
    let bench = Bench::new().await;
    let leg = bench.leg();
    grant(bench.store.open_leg(toll(leg)).await.unwrap());
    bench.store.settle(leg, over(0)).await.unwrap();
    bench.remove("meeting", "studio", "aurora").await.unwrap();
    bench.remove("user", "anna", "aurora").await.unwrap();
    let whom = Whom::User("anna".parse().unwrap());
    let forgotten = bench.store.forget(Forget { whom, dry_run: false }, NOON).await.unwrap();
    assert_eq!(forgotten.records, 1);
    let name = forgotten.name.unwrap();
    assert!(!bench.store.facts().users.contains_key(&name.parse().unwrap()), "what is closed stays closed");
    bench.audited().await;
}
