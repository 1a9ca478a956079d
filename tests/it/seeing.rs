//! Who sees whole numbers: every page of the API that shows something, in the eyes of every role.

use crate::roles::{Client, token};
use crate::world::{DIRECT, World};
use serde_json::Value;
use std::time::Duration;
use tollbridge::api::permissions;
use tollbridge::cli::phone::Phone;
use tollbridge::clock;
use tollbridge::notice::{Kind, alert};
use tollbridge::store::{Raise, Role};
use tollbridge::switchboard::ask::Told;

/// Whoever calls in, and whoever is called: without the country, so that no spelling hides them.
const OUTSIDE: [&str; 2] = ["3331234567", "0699999999"];

/// A page with names that are there, in each of its forms.
fn spelt(path: &str, legs: &[String]) -> Vec<String> {
    let words = [
        ("{organisation}", "acme"),
        ("{number}", DIRECT),
        ("{user}", "anna"),
        ("{meeting}", "open"),
        ("{carrier}", "line"),
        ("{list}", "default"),
        ("{report}", "usage"),
        ("{month}", "2026-11"),
    ];
    let path = words.iter().fold(path.to_owned(), |path, (name, word)| path.replace(name, word));
    if path.contains("{leg}") {
        return legs.iter().map(|leg| path.replace("{leg}", leg)).collect();
    }
    assert!(!path.contains('{'), "a name that this test does not know: {path}");
    let forms: &[&str] = match path.rsplit('/').next() {
        Some("usage") if path.contains("/reports/") => &["?by=number", "?by=number,day&format=csv"],
        Some("usage") => &["", "?format=csv"],
        Some("quote") => &["?organiser=anna&type=dial-out&to=%2B390611112222"],
        Some("as-of") => &["?at=2099-01-01"],
        _ => &[""],
    };
    forms.iter().map(|form| format!("{path}{form}")).collect()
}

/// Two calls that are over, and two that run: one of each way in and out.
async fn calls(world: &World) -> (Vec<String>, Vec<Phone>) {
    let (mut legs, mut phones) = (Vec::new(), Vec::new());
    for runs in [false, true] {
        let caller = world.call("+393331234567", DIRECT).await;
        world.inside("open", 1).await;
        legs.push(world.legs().await[0].id.clone());
        let Told::Dialling(leg) = world.dial("open", "+390699999999").await else { panic!("refused") };
        legs.push(leg.to_string());
        let called = world.carrier.incoming(Duration::from_secs(10)).await.expect("it rings").answer().await.unwrap();
        world.inside("open", 2).await;
        if runs {
            phones.extend([caller, called]);
        } else {
            called.hang_up();
            caller.hang_up();
            world.records().await;
        }
    }
    (legs, phones)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_runs_calls_sees_whole_numbers_and_who_reads_along_does_not() {
    let world = World::start().await;
    let (legs, phones) = calls(&world).await;
    let facts = alert::facts([(alert::NUMBER, "+390699999999".to_owned()), ("call_type", "dial-out".to_owned())]);
    let organisation = Some("acme".parse().unwrap());
    let raised = Raise { key: "k".into(), kind: Kind::NoRate, organisation, at: clock::wall(), facts };
    world.node.store().raise(raised).await.unwrap();
    let mut callers = Vec::new();
    for role in Role::ALL {
        callers.push((role, false, token(&world, &format!("{role}-of-all"), role, None, None).await));
        if role != Role::Operator {
            let name = format!("{role}-of-own");
            callers.push((role, true, token(&world, &name, role, Some("acme"), None).await));
        }
    }
    let client = Client::new(&world);
    let asked = tokio::task::spawn_blocking(move || {
        let mut shown = Vec::new();
        for page in permissions().into_iter().filter(|page| page.method == "get") {
            for path in spelt(page.path, &legs) {
                for (role, own, secret) in &callers {
                    let (status, text) = client.ask("get", &path, Some(secret), "");
                    assert!(status != 500 && status != 503, "{path}: {text}");
                    let whole = OUTSIDE.iter().any(|number| text.contains(number));
                    let runs = matches!(role, Role::Operator | Role::Admin);
                    let sees = runs && !path.contains("/reports/");
                    assert!(sees || !whole, "{role} (own: {own}) sees a whole number at {path}: {text}");
                    if sees && whole {
                        shown.push((path.clone(), *role));
                    }
                    let starred = text.contains("****") || !text.contains("39333") && !text.contains("39069999");
                    assert!(starred || status != 200 || runs, "{role} at {path}: {text}");
                }
            }
        }
        // The same record, in two pairs of eyes: nothing else differs.
        let of = |role: Role| &callers.iter().find(|(known, own, _)| *known == role && *own).unwrap().2;
        let record = |role: Role, leg: &str| -> Value {
            let (status, text) = client.ask("get", &format!("/organisations/acme/usage/{leg}"), Some(of(role)), "");
            assert_eq!(status, 200, "{text}");
            serde_json::from_str(&text).unwrap()
        };
        for (leg, name, seen) in
            [(&legs[0], "caller_id", "+39333123****"), (&legs[1], "destination_number", "+39069999****")]
        {
            let (mut whole, masked) = (record(Role::Admin, leg), record(Role::Reader, leg));
            assert_eq!(masked["record"][name], seen);
            assert_ne!(whole["record"][name], seen);
            whole["record"][name] = seen.into();
            assert_eq!(whole, masked);
        }
        shown
    });
    let shown = asked.await.unwrap();
    for page in
        ["/legs", "/usage", "/usage?format=csv", "/alerts", "/organisations/acme/legs", "/organisations/acme/alerts"]
    {
        assert!(shown.contains(&(page.to_owned(), Role::Admin)), "{page}: an admin sees no number there");
    }
    phones.iter().for_each(Phone::hang_up);
    world.end().await;
}
