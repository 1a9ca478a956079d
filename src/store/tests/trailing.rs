//! The trail of what was refused, of files field by field, of people forgotten; and licences given by two at once.

use super::*;
use serde_json::{Value, json};

fn paola() -> Who {
    Who { name: "paola".into(), door: TrailDoor::Api, role: Some(Role::Operator), organisation: None }
}

impl Bench {
    /// What the trail says since `from` rows: verb, what, detail.
    async fn told_since(&self, from: usize) -> Vec<(String, String, Value)> {
        let rows = self.store.trail(&TrailFilter::default()).await.unwrap();
        let told = |row: &TrailRow| {
            assert_eq!(row.who, "paola");
            (row.verb.clone(), row.what.clone(), serde_json::from_str(&row.detail).unwrap())
        };
        rows.iter().skip(from).map(told).collect()
    }
}

#[tokio::test]
async fn what_was_refused_is_told_once_and_nothing_else_of_it_stays() {
    let bench = Bench::new().await;
    let store = bench.store.by(paola());
    let from = store.trail(&TrailFilter::default()).await.unwrap().len();
    let before = bench.balance("aurora").await;
    let refused = |verb: &str, what: &str, why: &str| {
        (verb.to_owned(), what.to_owned(), json!({ "outcome": "refused", "reasons": [why] }))
    };

    let funds = |amount: &str, key: &str| Funds {
        key: key.into(),
        organisation: "aurora".parse().unwrap(),
        amount: micros(amount),
        kind: FundsKind::Funding,
        memo: String::new(),
        at: NOON,
    };
    assert!(store.add_credits(funds("0", "nothing")).await.is_err());
    assert!(store.add_credits(funds("1", "leg:x")).await.is_err());
    let end = EndGrant { id: "none".parse().unwrap(), organisation: "aurora".parse().unwrap(), at: NOON };
    // What is not there is no change.
    assert!(store.end_grant(end).await.is_err());
    let refund = Refund { leg: bench.leg(), amount: None, key: String::new(), reason: "r".into(), at: NOON };
    let name = format!("leg {}", refund.leg);
    let why = store.refund(refund).await.unwrap_err().to_string();
    let taken = ChangeStep::Put("{}".to_owned());
    let (entry, of) = (EntryId::User("carol".parse().unwrap()), Some("aurora".parse().unwrap()));
    assert!(store.change(Change { entry, of, step: taken }, NOON).await.is_err());
    let turned = Turned {
        verb: "apply",
        what: "file bad.toml".into(),
        organisation: None,
        reasons: vec!["webhook_secret: expected env:NAME or file:PATH, found \"hunter2\"".into()],
        at: NOON,
    };
    store.turn_away(turned).await.unwrap();
    let due = [
        refused("credits-add", "organisation aurora", "a funding is more than zero"),
        refused("credits-add", "organisation aurora", "a key of that form is taken"),
        refused("refund", &name, &why),
        refused("set", "user carol", "the name of user carol is taken: choose another"),
        refused("apply", "file bad.toml", "webhook_secret: expected env:NAME or file:PATH"),
    ];
    assert_eq!(bench.told_since(from).await, due);
    assert_eq!(bench.balance("aurora").await.posted, before.posted);
    bench.audited().await;
}

#[tokio::test]
async fn a_file_is_told_field_by_field_and_a_refused_one_too() {
    let bench = Bench::new().await;
    let store = bench.store.by(paola());
    let from = store.trail(&TrailFilter::default()).await.unwrap().len();
    let parse = |text: &str| {
        Document::parse("demo.toml", text, |_: &str| Ok(RATES.to_owned())).unwrap()
    };
    assert!(store.apply(parse(FILE), NOON).await.unwrap().is_ok());
    let richer = FILE.replacen("credits = \"1.00\"", "credits = \"2.00\"", 1);
    assert!(store.apply(parse(&richer), NOON).await.unwrap().is_err());
    let other = FILE.replacen("pin = \"4711\"", "pin = \"4712\"\nname = \"Anna F\"\ntoll_free = false", 1);
    assert!(store.apply(parse(&other), NOON).await.unwrap().is_ok());
    let told = bench.told_since(from).await;
    let outcomes: Vec<(&Value, &Value)> =
        told.iter().map(|(_, _, detail)| (&detail["outcome"], &detail["changed"])).collect();
    let anna = json!([{
        "what": "user anna",
        "before": { "name": "changed", "toll_free": true, "pin": "set" },
        "after": { "name": "changed", "toll_free": false, "pin": "changed" },
    }]);
    assert_eq!(outcomes[0], (&Value::Null, &Value::Null), "the same file again changes nothing");
    assert_eq!(outcomes[1].0, "refused");
    assert_eq!(outcomes[2], (&Value::Null, &anna));
    let all = told.iter().map(|(_, _, detail)| detail.to_string()).collect::<String>();
    assert!(!all.contains("4712") && !all.contains("Anna F"), "{all}");
    bench.audited().await;
}

/// A file of the house names two organisations: each finds in its own trail what was changed of its own, and nothing else.
#[tokio::test]
async fn a_file_is_told_to_each_organisation_that_it_changes() {
    let bench = Bench::empty().await;
    let two = |limit: &str, name: &str| {
        format!(
            "[[organisation]]\nid = \"acme\"\ncountry = \"IT\"\nlimits.max_spend_per_day = \"{limit}\"\n\
             [[organisation]]\nid = \"omega\"\ncountry = \"IT\"\n[[organisation.user]]\nid = \"olga\"\nname = \"{name}\"\n"
        )
    };
    bench.apply(&two("1.00", "Olga")).await.unwrap();
    let own = async |of: &str| -> Vec<Value> {
        let filter = TrailFilter { organisation: Some(of.parse().unwrap()), ..TrailFilter::default() };
        let rows = bench.store.trail(&filter).await.unwrap();
        rows.iter().map(|row| serde_json::from_str(&row.detail).unwrap()).collect()
    };
    let made = (own("acme").await, own("omega").await);
    let names = |row: &Value| -> Vec<String> {
        row["changed"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!((made.0.len(), names(&made.0[0])), (1, vec!["organisation acme".to_owned()]));
    assert_eq!((made.1.len(), names(&made.1[0])), (1, vec!["organisation omega".to_owned(), "user olga".to_owned()]));
    bench.apply(&two("2.00", "Olga")).await.unwrap();
    let acme = own("acme").await;
    assert_eq!((acme.len(), acme[1]["pending"].as_array().unwrap().len(), own("omega").await.len()), (2, 1, 1));
    let number = |of: &str| format!("[[number]]\ne164 = \"+390655500001\"\nkind = \"toll\"\ncountry = \"IT\"\nlanguages = [\"it\"]\norganisation = \"{of}\"\n");
    bench.apply(&number("acme")).await.unwrap();
    bench.apply(&number("omega")).await.unwrap();
    let acme = own("acme").await;
    assert_eq!((acme.len(), &acme[3]["changed"][0]["after"]), (4, &Value::Null));
    bench.apply(&two("2.00", "Olga B")).await.unwrap();
    let omega = own("omega").await;
    assert_eq!((omega.len(), names(&omega[1]), &omega[1]["changed"][0]["before"]), (3, vec!["number +390655500001".to_owned()], &Value::Null));
    assert_eq!(names(&omega[2]), ["user olga"]);
    assert!(!format!("{omega:?}").contains("acme") && !format!("{acme:?}").contains("omega"));
    bench.audited().await;
}

#[tokio::test]
async fn who_had_a_person_forgotten_is_told_and_not_whom() {
    let bench = Bench::new().await;
    let store = bench.store.by(paola());
    let from = store.trail(&TrailFilter::default()).await.unwrap().len();
    let bruno = |dry_run| Forget { whom: Whom::User("bruno".parse().unwrap()), dry_run };
    store.forget(bruno(true), NOON).await.unwrap();
    let name = store.forget(bruno(false), NOON).await.unwrap().name.unwrap();
    let number = Forget { whom: Whom::Number("+390611112222".parse().unwrap()), dry_run: false };
    store.forget(number, NOON).await.unwrap();
    let told = bench.told_since(from).await;
    let detail = json!({ "records": 0, "meetings": told[0].2["meetings"] });
    assert_eq!(told[0], ("forget".to_owned(), format!("user {name}"), detail));
    assert_eq!(told[1], ("forget".to_owned(), "number".to_owned(), json!({ "records": 0, "meetings": 0 })));
    assert_eq!(told.len(), 2);
    assert!(!format!("{told:?}").contains("bruno"));
    bench.audited().await;
}

#[tokio::test]
async fn what_was_too_old_is_told_by_how_many() {
    let bench = Bench::new().await;
    let leg = bench.leg();
    bench.store.open_leg(toll(leg)).await.unwrap();
    bench.store.answered(Answered { leg, at: NOON, journal: None }).await.unwrap();
    bench.store.settle(leg, over(61_000)).await.unwrap();
    let store = bench.store.by(paola());
    let from = store.trail(&TrailFilter::default()).await.unwrap().len();
    let later = NOON.plus_millis(86_400_000);
    let keep = |dry_run| Keep { records: Some(later), traces: None, dry_run };
    assert_eq!(store.keep(keep(true), later).await.unwrap(), 1);
    assert_eq!(store.keep(keep(false), later).await.unwrap(), 1);
    assert_eq!(store.keep(keep(false), later).await.unwrap(), 0);
    let told = bench.told_since(from).await;
    assert_eq!((told.len(), &*told[0].0, &told[0].2["emptied"]), (1, "retention", &json!(1)));
    bench.audited().await;
}

/// Two who give licences at once: neither loses what the other gave, whichever comes first.
#[tokio::test]
async fn licences_given_at_once_are_all_there() {
    let bench = Bench::new().await;
    let step = |step: ChangeStep| {
        let change =
            Change { entry: EntryId::User("bruno".parse().unwrap()), of: Some("aurora".parse().unwrap()), step };
        let store = bench.store.clone();
        async move { store.change(change, NOON).await }
    };
    let held = || -> Value {
        let entry = bench.store.facts().entry(&EntryId::User("bruno".parse().unwrap())).unwrap();
        serde_json::from_str::<Value>(&entry).unwrap()["licences"].clone()
    };
    step(ChangeStep::Patch(r#"{"licences":[]}"#.into())).await.unwrap().unwrap();
    let give = |text: &str| step(ChangeStep::Give(text.to_owned()));
    let all = tokio::join!(
        give("audio-conferencing from 2026-01-01 until 2026-12-31"),
        give("communications-credits"),
        give("extended-dial-out"),
    );
    for done in [all.0, all.1, all.2] {
        done.unwrap().unwrap();
    }
    let due =
        json!(["audio-conferencing from 2026-01-01 until 2026-12-31", "communications-credits", "extended-dial-out"]);
    assert_eq!(held(), due);
    // Other days in place of the first, and one taken away.
    give("audio-conferencing until 2027-01-31").await.unwrap().unwrap();
    step(ChangeStep::Take("extended-dial-out".into())).await.unwrap().unwrap();
    assert_eq!(held(), json!(["audio-conferencing until 2027-01-31", "communications-credits"]));
    let gone = step(ChangeStep::Take("extended-dial-out".into())).await.unwrap_err();
    assert_eq!(gone.to_string(), "there is no licence extended-dial-out of user bruno");
    for wrong in ["gold", "audio-conferencing until never", ""] {
        assert!(give(wrong).await.unwrap().is_err(), "{wrong}");
    }
    let strange = Change {
        entry: EntryId::User("carol".parse().unwrap()),
        of: Some("aurora".parse().unwrap()),
        step: ChangeStep::Give("communications-credits".into()),
    };
    assert!(matches!(bench.store.change(strange, NOON).await, Err(StoreError::Unknown(_))));
    bench.audited().await;
}
