//! Locks: who put one, and who may lift it.

use super::*;

/// One who is the house's, and one who is the organisation's.
fn house() -> Who {
    Who { name: "olga".into(), door: TrailDoor::Api, role: Some(Role::Admin), organisation: None }
}

fn own() -> Who {
    Who { organisation: Some("aurora".parse().unwrap()), name: "paola".into(), ..house() }
}

fn switch(user: Option<&str>, reason: &str) -> Revoke {
    Revoke {
        organisation: "aurora".parse().unwrap(),
        dial_out: false,
        user: user.map(|user| user.parse().unwrap()),
        meeting: None,
        leg: None,
        reason: reason.to_owned(),
        lock: true,
        ends: None,
        at: NOON,
    }
}

fn lock(bench: &Bench, user: Option<&str>) -> Option<(String, Locker)> {
    let facts = bench.store.facts();
    let lock = match user {
        Some(user) => facts.users[&user.parse().unwrap()].locked.clone(),
        None => facts.organisations[&"aurora".parse().unwrap()].locked.clone(),
    };
    lock.map(|lock| (lock.why, lock.by))
}

impl Bench {
    async fn set_by(&self, who: &Who, entry: &EntryId, step: ChangeStep) -> Result<Changed, Vec<String>> {
        let of = matches!(entry, EntryId::User(_)).then(|| "aurora".parse().unwrap());
        self.store.by(who.clone()).change(Change { entry: entry.clone(), of, step }, NOON).await.unwrap()
    }
}

fn patch(keys: &str) -> ChangeStep {
    ChangeStep::Patch(keys.to_owned())
}

/// Each hand on each lock, of a user and of the organisation: what stands afterwards.
#[tokio::test]
async fn what_the_house_locked_the_house_alone_opens() {
    let bench = Bench::new().await;
    let anna = EntryId::User("anna".parse().unwrap());
    let aurora = EntryId::Organisation("aurora".parse().unwrap());
    for (entry, user) in [(&anna, Some("anna")), (&aurora, None)] {
        for (puts, by) in [(house(), Locker::House), (own(), Locker::Organisation)] {
            bench.store.by(puts).revoke(switch(user, "a stolen PIN")).await.unwrap();
            let stands = Some(("a stolen PIN".to_owned(), by));
            assert_eq!(lock(&bench, user), stands);
            let told = bench.store.facts().entry(entry).unwrap();
            assert!(told.contains(&format!(r#""locked_by":"{}""#, by.slug())), "{told}");
            // Whatever else of the entry they change, the lock is as it was.
            bench.set_by(&own(), entry, patch(r#"{"name":"New"}"#)).await.unwrap();
            bench.set_by(&house(), entry, patch(r#"{"name":"Newer"}"#)).await.unwrap();
            assert_eq!(lock(&bench, user), stands, "{entry} {by:?}");
            for keys in [r#"{"locked":""}"#, r#"{"locked":null}"#, r#"{"locked":"another"}"#] {
                let done = bench.set_by(&own(), entry, patch(keys)).await;
                if by == Locker::House {
                    let why = format!("locked: {entry} was locked by whoever runs the bridge, who alone opens it");
                    assert_eq!(done, Err(vec![why]), "{keys}");
                    assert_eq!(lock(&bench, user), stands, "{keys}");
                } else {
                    done.unwrap();
                }
            }
            // The switch ends calls whoever turns it, and leaves the house's lock.
            bench.store.by(own()).revoke(switch(user, "mine")).await.unwrap();
            let left = if by == Locker::House { stands } else { Some(("mine".to_owned(), Locker::Organisation)) };
            assert_eq!(lock(&bench, user), left);
            bench.set_by(&house(), entry, patch(r#"{"locked":""}"#)).await.unwrap();
            assert_eq!(lock(&bench, user), None);
        }
        // An organisation's own it opens itself.
        bench.set_by(&own(), entry, patch(r#"{"locked":"ours"}"#)).await.unwrap();
        assert_eq!(lock(&bench, user), Some(("ours".to_owned(), Locker::Organisation)));
        bench.set_by(&own(), entry, patch(r#"{"locked":""}"#)).await.unwrap();
        assert_eq!(lock(&bench, user), None);
    }
    bench.audited().await;
}

/// Ways round a lock: all of the user anew, or away and made again; a restart; a person forgotten.
#[tokio::test]
async fn a_lock_of_the_house_is_not_got_round() {
    let bench = Bench::new().await;
    let (bruno, user) = (EntryId::User("bruno".parse().unwrap()), Some("bruno"));
    bench.set_by(&house(), &bruno, patch(r#"{"locked":"fraud"}"#)).await.unwrap();
    let stands = Some(("fraud".to_owned(), Locker::House));
    let anew = |keys: &str| ChangeStep::Put(keys.to_owned());
    bench.set_by(&own(), &bruno, anew("{}")).await.unwrap();
    assert_eq!(lock(&bench, user), stands);
    assert!(bench.set_by(&own(), &bruno, anew(r#"{"locked":""}"#)).await.is_err());
    // What was read is sent back as it is: no mistake, and no way to sign as the house.
    bench.set_by(&own(), &bruno, anew(r#"{"locked":"fraud","locked_by":"organisation","has_pin":true}"#)).await.unwrap();
    assert_eq!(lock(&bench, user), stands);
    let removal = Removal { entry: bruno.clone(), of: Some("aurora".parse().unwrap()) };
    let refused = bench.store.by(own()).remove(removal.clone(), NOON).await.unwrap().unwrap_err();
    assert_eq!(refused, "user bruno was locked by whoever runs the bridge, who alone opens it");
    let bench = bench.reopened().await;
    assert_eq!(lock(&bench, user), stands);
    let rows = bench.store.trail(&TrailFilter { what: Some("user bruno".into()), ..TrailFilter::default() }).await;
    let told: Vec<(String, bool)> =
        rows.unwrap().iter().map(|row| (row.who.clone(), row.detail.contains("refused"))).collect();
    let due = [("olga", false), ("paola", true), ("paola", true)].map(|(who, is)| (who.to_owned(), is));
    assert_eq!(told, due);
    let forget = Forget { whom: Whom::User("bruno".parse().unwrap()), dry_run: false };
    let name = bench.store.forget(forget, NOON).await.unwrap().name.unwrap();
    assert_eq!(lock(&bench, Some(&name)), stands);
    bench.audited().await;
}
