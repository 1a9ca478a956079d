//! Tokens of the API.

use super::*;

fn new(name: &str, role: Role, organisation: Option<&str>, expires: Option<Wall>) -> NewToken {
    let organisation = organisation.map(|id| id.parse().unwrap());
    let token = Token { name: name.parse().unwrap(), role, organisation, created: NOON, expires };
    NewToken { token, secret: format!("secret of {name}") }
}

fn revocation(name: &str, of: Option<&str>) -> Revocation {
    Revocation { name: name.parse().unwrap(), of: of.map(|id| id.parse().unwrap()) }
}

#[tokio::test]
async fn a_token_is_in_force_until_its_end_or_until_it_is_revoked() {
    let bench = Bench::new().await;
    let soon = NOON.plus_millis(1_000);
    bench.store.make_token(new("paola", Role::Admin, Some("aurora"), Some(soon))).await.unwrap();
    bench.store.make_token(new("robot", Role::Reader, None, None)).await.unwrap();
    let bench = bench.reopened().await;
    let role = |secret: &str, at| bench.store.facts().token(secret, at).map(|token| token.role);
    assert_eq!(role("secret of paola", NOON), Some(Role::Admin));
    assert_eq!(role("secret of paola", soon), None);
    assert_eq!(role("secret of robot", soon), Some(Role::Reader));
    for wrong in ["", "secret of", "secret of Paola", "paola"] {
        assert_eq!(role(wrong, NOON), None, "{wrong}");
    }
    let names = |of: Option<&str>| -> Vec<String> {
        let of = of.map(|id| id.parse().unwrap());
        bench.store.facts().tokens(of.as_ref()).iter().map(|token| token.name.to_string()).collect()
    };
    assert_eq!((names(None), names(Some("aurora"))), (vec!["paola".into(), "robot".into()], vec!["paola".into()]));
    // Another organisation's, and the house's, are not theirs to revoke.
    for (name, of) in [("paola", Some("borealis")), ("robot", Some("aurora")), ("zoe", None)] {
        let refused = bench.store.revoke_token(revocation(name, of), NOON).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("there is no token {name}"));
    }
    bench.store.revoke_token(revocation("paola", Some("aurora")), NOON).await.unwrap();
    assert_eq!(role("secret of paola", NOON), None);
    let again = bench.store.make_token(new("paola", Role::Reader, None, None)).await.unwrap_err();
    assert_eq!(again.to_string(), "the name of token paola is taken: choose another");
    let rows = bench.store.trail(&TrailFilter { what: Some("token".into()), ..TrailFilter::default() }).await.unwrap();
    let told: Vec<(&str, &str)> = rows.iter().map(|row| (&*row.verb, &*row.what)).collect();
    let due = [("token-make", "token paola"), ("token-make", "token robot"), ("token-revoke", "token paola")];
    assert_eq!(told, due);
    assert!(!rows.iter().any(|row| row.detail.contains("secret")));
    bench.audited().await;
}

#[tokio::test]
async fn what_no_token_may_be_is_refused() {
    let bench = Bench::new().await;
    let cases = [
        (new("owner", Role::Reader, None, None), "the name of token owner is taken: choose another"),
        (new("bridge", Role::Reader, None, None), "the name of token bridge is taken: choose another"),
        (new("x", Role::Operator, Some("aurora"), None), "an operator is the house's: give no organisation"),
        (new("x", Role::Reader, Some("nobody"), None), "there is no organisation nobody"),
        (new("x", Role::Reader, None, Some(NOON)), "its end is past: choose a later one"),
    ];
    for (token, why) in cases {
        let refused = bench.store.make_token(token).await.unwrap_err();
        assert!(refused.to_string().starts_with(why), "{why}: {refused}");
    }
    assert_eq!(bench.store.facts().tokens(None), Vec::<&Token>::new());
}

#[tokio::test]
async fn a_customer_that_leaves_takes_their_tokens_along() {
    let bench = Bench::new().await;
    bench.store.make_token(new("clerk", Role::Billing, Some("borealis"), None)).await.unwrap();
    for (entry, of) in [
        (EntryId::Meeting("watch".parse().unwrap()), Some("borealis".parse().unwrap())),
        (EntryId::User("carol".parse().unwrap()), Some("borealis".parse().unwrap())),
        (EntryId::Organisation("borealis".parse().unwrap()), None),
    ] {
        bench.store.remove(Removal { entry, of }, NOON).await.unwrap().unwrap();
    }
    assert!(bench.store.facts().token("secret of clerk", NOON).is_none());
    let entry = EntryId::Organisation("borealis".parse().unwrap());
    let again = ChangeStep::Put("{\"country\": \"US\"}".to_owned());
    bench.store.change(Change { entry, of: None, step: again }, NOON).await.unwrap().unwrap();
    assert!(bench.store.facts().token("secret of clerk", NOON).is_none(), "a token came back with its organisation");
    bench.audited().await;
}

#[tokio::test]
async fn the_trail_is_read_by_what_was_changed() {
    let bench = Bench::new().await;
    for (entry, of) in [("anna", "aurora"), ("bruno", "aurora"), ("anna", "aurora")] {
        let keys = ChangeStep::Patch(format!("{{\"toll_free\": {}}}", entry == "bruno"));
        let change = Change { entry: EntryId::User(entry.parse().unwrap()), of: Some(of.parse().unwrap()), step: keys };
        bench.store.change(change, NOON).await.unwrap().unwrap();
    }
    let count = |what: &str| {
        let filter = TrailFilter { what: Some(what.to_owned()), ..TrailFilter::default() };
        let store = bench.store.clone();
        async move { store.trail(&filter).await.unwrap().len() }
    };
    // What is as it was is not told: bruno's, and anna's second.
    assert_eq!((count("user anna").await, count("user").await, count("use").await), (1, 1, 0));
    assert_eq!((count("file demo.toml").await, count("file").await, count("%").await), (1, 1, 0));
}
