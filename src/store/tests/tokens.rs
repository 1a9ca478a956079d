//! Tokens of the API.

use super::*;

fn new(name: &str, role: Role, organisation: Option<&str>, expires: Option<Wall>) -> NewToken {
    let organisation = organisation.map(|id| id.parse().unwrap());
    let token = Token { name: name.parse().unwrap(), role, organisation, created: NOON, expires, maker: None };
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
    // The house's row, and those of two organisations.
    assert_eq!((count("file demo.toml").await, count("file").await, count("%").await), (1, 3, 0));
}

/// Whoever has a token and asks by it.
fn by(bench: &Bench, name: &str, role: Role, of: Option<&str>) -> Store {
    let organisation = of.map(|id| id.parse().unwrap());
    bench.store.by(Who { name: name.into(), door: TrailDoor::Api, role: Some(role), organisation })
}

#[tokio::test]
async fn a_token_makes_none_that_is_stronger_or_outlives_it() {
    let bench = Bench::new().await;
    let (soon, later) = (NOON.plus_millis(1_000), NOON.plus_millis(2_000));
    for (name, role, of, expires) in [
        ("boss", Role::Admin, Some("aurora"), Some(soon)),
        ("eyes", Role::Reader, Some("aurora"), None),
        ("till", Role::Billing, None, None),
        ("night", Role::Operator, None, Some(soon)),
    ] {
        bench.store.make_token(new(name, role, of, expires)).await.unwrap();
    }
    let (boss, eyes) =
        (by(&bench, "boss", Role::Admin, Some("aurora")), by(&bench, "eyes", Role::Reader, Some("aurora")));
    let (till, night) = (by(&bench, "till", Role::Billing, None), by(&bench, "night", Role::Operator, None));
    let outlives = "it would outlive token ";
    for (store, asked, why) in [
        (&boss, new("x", Role::Admin, Some("aurora"), Some(later)), outlives),
        (&night, new("x", Role::Operator, None, Some(later)), outlives),
        (&night, new("x", Role::Reader, Some("borealis"), Some(later)), outlives),
        (&boss, new("x", Role::Reader, Some("borealis"), None), "token boss is of another organisation"),
        (&boss, new("x", Role::Reader, None, None), "token boss is of another organisation"),
        (&eyes, new("x", Role::Admin, Some("aurora"), None), "reader lets nobody in as admin"),
        (&till, new("x", Role::Operator, None, None), "billing lets nobody in as operator"),
        (&till, new("x", Role::Reader, None, None), "billing lets nobody in as reader"),
        (&by(&bench, "gone", Role::Operator, None), new("x", Role::Reader, None, None), "token gone is revoked"),
    ] {
        let refused = store.make_token(asked.clone()).await.unwrap_err();
        assert!(refused.to_string().starts_with(why), "{asked:?}: {refused}");
    }
    // As long as its maker where nothing is said; never longer, and shorter where that is asked.
    let ends = async |store: &Store, name: &str, expires| {
        store.make_token(new(name, Role::Reader, Some("aurora"), expires)).await.unwrap().expires
    };
    assert_eq!(ends(&boss, "a", None).await, Some(soon));
    assert_eq!(ends(&boss, "b", Some(soon)).await, Some(soon));
    assert_eq!(ends(&boss, "c", Some(NOON.plus_millis(1))).await, Some(NOON.plus_millis(1)));
    assert_eq!(ends(&eyes, "d", None).await, None);
    assert_eq!(ends(&bench.store, "e", Some(later)).await, Some(later));
    bench.audited().await;
}

#[tokio::test]
async fn a_token_that_is_revoked_takes_along_what_it_let_in() {
    let bench = Bench::new().await;
    bench.store.make_token(new("root", Role::Operator, None, None)).await.unwrap();
    bench.store.make_token(new("other", Role::Admin, Some("aurora"), None)).await.unwrap();
    let root = by(&bench, "root", Role::Operator, None);
    root.make_token(new("admin", Role::Admin, Some("aurora"), None)).await.unwrap();
    root.make_token(new("aside", Role::Reader, Some("borealis"), None)).await.unwrap();
    let admin = by(&bench, "admin", Role::Admin, Some("aurora"));
    for name in ["books", "eyes"] {
        admin.make_token(new(name, Role::Reader, Some("aurora"), None)).await.unwrap();
    }
    drop((root, admin));
    let bench = bench.reopened().await;
    let names =
        |ended: Vec<crate::types::TokenName>| ended.iter().map(ToString::to_string).collect::<Vec<String>>().join(" ");
    let ended = bench.store.revoke_token(revocation("eyes", Some("aurora")), NOON).await.unwrap();
    assert_eq!(names(ended), "eyes", "its maker stays");
    let ended = bench.store.revoke_token(revocation("root", None), NOON).await.unwrap();
    assert_eq!(names(ended), "root admin aside books");
    let bench = bench.reopened().await;
    for name in ["root", "admin", "aside", "books", "eyes"] {
        assert!(bench.store.facts().token(&format!("secret of {name}"), NOON).is_none(), "{name}");
    }
    assert!(bench.store.facts().token("secret of other", NOON).is_some());
    // Each is told, and with what it ended.
    let rows = bench.store.trail(&TrailFilter { what: Some("token".into()), ..TrailFilter::default() }).await.unwrap();
    let told: Vec<String> = rows
        .iter()
        .filter(|row| row.verb == "token-revoke")
        .map(|row| format!("{} {}", row.what, row.detail.contains(r#""with":"root""#)))
        .collect();
    assert_eq!(
        told,
        ["token eyes false", "token root false", "token admin true", "token aside true", "token books true"]
    );
    // Who is out lets nobody in.
    let late = by(&bench, "admin", Role::Admin, Some("aurora"));
    assert!(late.make_token(new("x", Role::Reader, Some("aurora"), None)).await.is_err());
    bench.audited().await;
}
