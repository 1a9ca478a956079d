//! Who may ask which page: every page of the table, every role, its own organisation and another's.

use crate::world::World;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use tollbridge::api::permissions;
use tollbridge::clock;
use tollbridge::store::{NewToken, Role, Token, TrailFilter};

const OWN: &str = "acme";
const OTHER: &str = "omega";

/// A caller of the matrix: a role, of the house or of [`OWN`].
struct Caller {
    role: Role,
    own: bool,
    secret: String,
}

/// What came of a request.
#[derive(Debug, PartialEq, Eq)]
enum Door {
    Open,
    Unauthorized,
    Forbidden,
    NoPage,
}

pub struct Client {
    agent: ureq::Agent,
    base: String,
}

impl Client {
    pub fn new(world: &World) -> Client {
        let config = ureq::Agent::config_builder().proxy(None).http_status_as_error(false).max_redirects(0);
        // Who is refused before the body is read loses the connection.
        let config = config.max_idle_connections(0);
        let agent = config.timeout_global(Some(Duration::from_secs(20))).build().new_agent();
        Client { agent, base: format!("http://{}/api/v1", world.node.api()) }
    }

    pub fn ask(&self, method: &str, path: &str, secret: Option<&str>, body: &str) -> (u16, String) {
        let mut request = ureq::http::Request::builder().method(method.to_uppercase().as_str());
        request = request.uri(format!("{}{path}", self.base)).header("Content-Type", "application/json");
        if let Some(secret) = secret {
            request = request.header("Authorization", format!("Bearer {secret}"));
        }
        let config =
            self.agent.configure_request(request.body(body.to_owned()).unwrap()).allow_non_standard_methods(true);
        let mut answer = self.agent.run(config.build()).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    fn door(&self, method: &str, path: &str, secret: Option<&str>) -> Door {
        // A body of no page: whoever is let in is told so, and nothing is done.
        let (status, text) = self.ask(method, path, secret, "[]");
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        match status {
            401 => Door::Unauthorized,
            403 => Door::Forbidden,
            404 if body["message"] == "there is no such page" => Door::NoPage,
            500.. => panic!("{method} {path}: {status} {text}"),
            _ => Door::Open,
        }
    }
}

/// Names that lead to nothing, but for the organisation.
fn filled(path: &str, organisation: &str) -> String {
    let words = [
        ("{organisation}", organisation),
        ("{leg}", "018bcfe5-687b-7000-8000-000000000007"),
        ("{number}", "+390600000000"),
        ("{user}", "nobody"),
        ("{meeting}", "nobody"),
        ("{carrier}", "nobody"),
        ("{licence}", "nothing"),
        ("{token}", "nobody"),
        ("{grant}", "nobody"),
        ("{list}", "nobody"),
        ("{prefix}", "37123456"),
        ("{report}", "nothing"),
        ("{month}", "nothing"),
    ];
    let filled = words.iter().fold(path.to_owned(), |path, (name, word)| path.replace(name, word));
    assert!(!filled.contains('{'), "a name that this test does not know: {path}");
    filled
}

/// What must come of it, said once more and by itself.
fn due(caller: &Caller, need: &str, of: Option<&str>) -> Door {
    if need == "known" {
        return Door::Open;
    }
    if caller.own && of != Some(OWN) {
        return Door::NoPage;
    }
    let may = match (caller.role, need) {
        (Role::Operator, _) => true,
        (_, "books") => true,
        (Role::Billing, "pay") => !caller.own,
        (Role::Admin | Role::Reader, "read") => true,
        (Role::Admin, "manage") => true,
        _ => false,
    };
    if may { Door::Open } else { Door::Forbidden }
}

pub async fn token(
    world: &World,
    name: &str,
    role: Role,
    organisation: Option<&str>,
    expires_in_ms: Option<i64>,
) -> String {
    let now = clock::wall();
    let shifted = |ms: i64| tollbridge::clock::Wall::from_micros(now.micros() + ms * 1_000);
    let token = Token {
        name: name.parse().unwrap(),
        role,
        organisation: organisation.map(|id| id.parse().unwrap()),
        created: shifted(-60_000),
        expires: expires_in_ms.map(shifted),
        maker: None,
    };
    let secret = format!("secret-of-{name}");
    world.node.store().make_token(NewToken { token, secret: secret.clone() }).await.unwrap();
    secret
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_opens_to_its_roles_in_their_own_organisation_and_to_nobody_else() {
    let world = World::start().await;
    let mut callers = Vec::new();
    for role in Role::ALL {
        callers.push(Caller {
            role,
            own: false,
            secret: token(&world, &format!("{role}-of-all"), role, None, None).await,
        });
        if role != Role::Operator {
            let secret = token(&world, &format!("{role}-of-own"), role, Some(OWN), Some(3_600_000)).await;
            callers.push(Caller { role, own: true, secret });
        }
    }
    let owner = std::fs::read_to_string(world.node.token_file()).unwrap();
    callers.push(Caller { role: Role::Operator, own: false, secret: owner.trim().to_owned() });
    let expired = token(&world, "expired", Role::Operator, None, Some(-1)).await;
    let revoked = token(&world, "revoked", Role::Operator, None, None).await;
    let revocation = tollbridge::store::Revocation { name: "revoked".parse().unwrap(), of: None };
    world.node.store().revoke_token(revocation, clock::wall()).await.unwrap();

    let before = world.node.store().facts();
    let client = Client::new(&world);
    let asked = tokio::task::spawn_blocking(move || {
        let mut asked = 0;
        for page in permissions() {
            let is_below = page.path.contains("{organisation}");
            for of in [OWN, OTHER].into_iter().take(if is_below { 2 } else { 1 }) {
                let (path, of) = (filled(page.path, of), is_below.then_some(of));
                for secret in [None, Some(""), Some("wrong"), Some(&*expired), Some(&*revoked)] {
                    assert_eq!(client.door(page.method, &path, secret), Door::Unauthorized, "{} {path}", page.method);
                }
                for caller in &callers {
                    let door = client.door(page.method, &path, Some(&caller.secret));
                    let due = due(caller, page.need.slug(), of);
                    assert_eq!(door, due, "{} {path} by {} (own: {})", page.method, caller.role, caller.own);
                    asked += 1;
                }
            }
        }
        // Whoever guesses a token is not told how near they were: no page, no known name, no token that was once good.
        let answers: BTreeSet<(u16, String)> = [None, Some(""), Some("wrong"), Some(&*expired), Some(&*revoked)]
            .into_iter()
            .flat_map(|secret| {
                ["/legs", "/organisations/acme/users", "/organisations/nobody/users"].map(|path| (path, secret))
            })
            .map(|(path, secret)| client.ask("get", path, secret, ""))
            .collect();
        assert_eq!(answers.len(), 1, "{answers:?}");
        // Ways round: other spellings of a path, other methods.
        let own = callers.iter().find(|caller| caller.own && caller.role == Role::Admin).unwrap();
        for path in [
            "/organisations/acme%2F..%2Fomega/users",
            "/organisations/acme/../omega/users",
            "/organisations//omega/users",
            "/organisations/acme%00/users",
            "/organisations/ACME/users",
        ] {
            assert_eq!(client.door("get", path, Some(&own.secret)), Door::NoPage, "{path}");
        }
        assert_eq!(client.ask("head", "/organisations/omega/users", Some(&own.secret), "").0, 404);
        assert_eq!(client.ask("head", "/organisations/acme/users", Some(&own.secret), "").0, 200);
        assert_eq!(client.ask("head", "/legs", None, "").0, 401);
        assert_eq!(client.ask("options", "/organisations/omega/users", None, "").0, 405);
        asked
    });
    let asked = asked.await.unwrap();
    assert!(asked > 8 * permissions().len(), "{asked}");
    let after = world.node.store().facts();
    assert_eq!((&before.organisations, &before.users), (&after.organisations, &after.users), "something was done");
    world.audit().await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_works_in_their_own_house_and_the_trail_names_them() {
    let world = World::start().await;
    let owner = std::fs::read_to_string(world.node.token_file()).unwrap().trim().to_owned();
    let client = Client::new(&world);
    let work = tokio::task::spawn_blocking(move || {
        let ask = |method: &str, path: &str, secret: &str, body: Value, status: u16| -> Value {
            let (found, text) = client.ask(method, path, Some(secret), &body.to_string());
            assert_eq!(found, status, "{method} {path}: {text}");
            serde_json::from_str(&text).unwrap_or(Value::Null)
        };
        let order = json!({ "name": "paola", "role": "admin" });
        let made = ask("post", "/organisations/acme/tokens", &owner, order.clone(), 201);
        ask("post", "/organisations/omega/tokens", &owner, order, 409);
        ask("post", "/organisations/acme/tokens", &owner, json!({ "name": "x", "role": "operator" }), 409);
        let past = json!({ "name": "x", "role": "admin", "expires": "2020-01-01" });
        ask("post", "/tokens", &owner, past, 409);
        ask("post", "/tokens", &owner, json!({ "name": "owner", "role": "reader" }), 409);
        ask("post", "/tokens", &owner, json!({ "name": "X", "role": "reader" }), 400);
        ask("post", "/tokens", &owner, json!({ "name": "x", "role": "king" }), 400);

        let paola = made["token"].as_str().unwrap();
        ask("put", "/organisations/acme/users/zoe", paola, json!({ "licences": ["pay-per-minute"] }), 201);
        ask("patch", "/organisations/acme/users/zoe", paola, json!({ "name": "Zoe" }), 200);
        ask("patch", "/organisations/acme", paola, json!({ "discount": "100%" }), 403);
        ask("post", "/organisations/acme/credits", paola, json!({}), 403);
        ask("get", "/organisations/acme/usage?costs=true", paola, json!({}), 403);
        ask("get", "/organisations/acme/usage?org=omega", paola, json!({}), 400);
        let quote = |organiser: &str| {
            format!("/organisations/acme/quote?organiser={organiser}&type=dial-out&to=%2B390611112222")
        };
        assert!(ask("get", &quote("zoe"), paola, json!({}), 200)["allowed"].is_boolean());
        ask("get", &quote("nobody"), paola, json!({}), 404);
        // Whom they let in may read, and no longer than they want.
        let made = ask("post", "/organisations/acme/tokens", paola, json!({ "name": "books", "role": "billing" }), 201);
        let books = made["token"].as_str().unwrap();
        ask("get", "/organisations/acme/balance", books, json!({}), 200);
        ask("get", "/organisations/acme/users", books, json!({}), 403);
        let listed = ask("get", "/organisations/acme/tokens", paola, json!({}), 200);
        assert_eq!(listed.as_array().unwrap().len(), 2);
        assert!(!listed.to_string().contains(books) && !listed.to_string().contains(paola));
        // None is stronger than its maker, or in force for longer.
        ask("post", "/organisations/acme/tokens", books, json!({ "name": "y", "role": "reader" }), 403);
        ask("post", "/tokens", paola, json!({ "name": "y", "role": "reader" }), 404);
        let order = json!({ "name": "guest", "role": "admin", "expires": "2099-01-01" });
        let made = ask("post", "/organisations/acme/tokens", &owner, order, 201);
        let guest = made["token"].as_str().unwrap();
        let order = |expires: &str| json!({ "name": "late", "role": "reader", "expires": expires });
        ask("post", "/organisations/acme/tokens", guest, order("2099-01-02"), 409);
        let made = ask("post", "/organisations/acme/tokens", guest, json!({ "name": "late", "role": "reader" }), 201);
        assert_eq!((&made["expires"], &made["maker"]), (&json!("2099-01-01T00:00:00.000Z"), &json!("guest")));
        let late = made["token"].as_str().unwrap();
        ask("get", "/organisations/acme/users", late, json!({}), 200);
        let ended = ask("delete", "/organisations/acme/tokens/guest", paola, json!({}), 200);
        assert_eq!(ended["revoked"], json!(["guest", "late"]));
        ask("get", "/organisations/acme/users", late, json!({}), 401);

        ask("delete", "/organisations/acme/tokens/books", paola, json!({}), 200);
        ask("get", "/organisations/acme/balance", books, json!({}), 401);
        let trail = ask("get", "/organisations/acme/trail?what=user%20zoe", paola, json!({}), 200);
        let told: Vec<(&Value, &Value)> =
            trail.as_array().unwrap().iter().map(|row| (&row["who"], &row["role"])).collect();
        assert_eq!(told, [(&json!("paola"), &json!("admin")), (&json!("paola"), &json!("admin"))]);
        ask("delete", "/tokens/paola", &owner, json!({}), 200);
        ask("get", "/organisations/acme/users", paola, json!({}), 401);
        (paola.to_owned(), books.to_owned())
    });
    let (paola, books) = work.await.unwrap();
    let rows = world.node.store().trail(&TrailFilter::default()).await.unwrap();
    let told: Vec<(&str, &str)> =
        rows.iter().filter(|row| row.verb != "apply").map(|row| (&*row.verb, &*row.what)).collect();
    assert_eq!(
        told,
        [
            ("token-make", "token paola"),
            ("set", "user zoe"),
            ("set", "user zoe"),
            ("token-make", "token books"),
            ("token-make", "token guest"),
            ("token-make", "token late"),
            ("token-revoke", "token guest"),
            ("token-revoke", "token late"),
            ("token-revoke", "token books"),
            ("token-revoke", "token paola"),
        ]
    );
    assert!(!rows.iter().any(|row| row.detail.contains(&paola) || row.detail.contains(&books)));
    world.audit().await;
    world.end().await;
}

/// Each hand on each lock, over the API: the house lifts all, an organisation its own, and it keeps its doors in any case.
#[tokio::test(flavor = "multi_thread")]
async fn an_organisation_locks_and_opens_itself_and_never_what_the_house_locked() {
    let world = World::start().await;
    let house = std::fs::read_to_string(world.node.token_file()).unwrap().trim().to_owned();
    let own = token(&world, "paola", Role::Admin, Some(OWN), None).await;
    let eyes = token(&world, "eyes", Role::Reader, Some(OWN), None).await;
    let client = Client::new(&world);
    let work = tokio::task::spawn_blocking(move || {
        let ask = |method: &str, path: &str, secret: &str, body: Value, status: u16| -> Value {
            let (found, text) = client.ask(method, path, Some(secret), &body.to_string());
            assert_eq!(found, status, "{method} {path}: {text}");
            serde_json::from_str(&text).unwrap_or(Value::Null)
        };
        ask("put", "/organisations/acme/users/zoe", &own, json!({}), 201);
        for (user, shown) in [(None, "/organisations/acme"), (Some("zoe"), "/organisations/acme/users/zoe")] {
            let lock = json!({ "lock": true, "user": user, "reason": "a stolen PIN" });
            let lifted = format!("/organisations/acme/lock{}", user.map(|u| format!("?user={u}")).unwrap_or_default());
            let stands = |secret: &str| {
                let entry = ask("get", shown, secret, json!({}), 200);
                (entry["locked"].as_str().map(str::to_owned), entry["locked_by"].as_str().map(str::to_owned))
            };
            let locked = |by: &str| (Some("a stolen PIN".to_owned()), Some(by.to_owned()));
            ask("post", "/organisations/acme/revoke", &eyes, lock.clone(), 403);
            // The organisation's own: it has no calls, and its administrator still has the key.
            ask("post", "/organisations/acme/revoke", &own, lock.clone(), 200);
            assert_eq!(stands(&own), locked("organisation"));
            ask("delete", &lifted, &eyes, json!({}), 403);
            assert_eq!(ask("delete", &lifted, &own, json!({}), 200), json!({ "was_locked": true }));
            assert_eq!(stands(&own), (None, None));
            assert_eq!(ask("delete", &lifted, &own, json!({}), 200), json!({ "was_locked": false }));
            // The house's.
            ask("post", "/organisations/acme/revoke", &house, lock.clone(), 200);
            assert_eq!(stands(&own), locked("house"));
            let refused = ask("delete", &lifted, &own, json!({}), 409);
            assert!(refused["message"].as_str().unwrap().contains("locked by whoever runs the bridge"), "{refused}");
            ask("post", "/organisations/acme/revoke", &own, lock.clone(), 200);
            assert_eq!(stands(&own), locked("house"), "the switch took the house's lock over");
            if let Some(user) = user {
                let path = format!("/organisations/acme/users/{user}");
                ask("patch", &path, &own, json!({ "locked": "" }), 422);
                ask("put", &path, &own, json!({ "locked": null }), 422);
                ask("delete", &path, &own, json!({}), 409);
                assert_eq!(stands(&own), locked("house"));
            }
            ask("delete", &lifted, &house, json!({}), 200);
            // The house lifts an organisation's too.
            ask("post", "/organisations/acme/revoke", &own, lock, 200);
            assert_eq!(ask("delete", &lifted, &house, json!({}), 200), json!({ "was_locked": true }));
        }
        ask("delete", "/organisations/omega/lock", &own, json!({}), 404);
        ask("delete", "/organisations/acme/lock?user=nobody", &own, json!({}), 404);
        ask("delete", "/organisations/acme/lock?whom=zoe", &own, json!({}), 400);
    });
    work.await.unwrap();
    world.audit().await;
    world.end().await;
}

/// Whoever was not let in stands in the trail, once for all their tries: the house reads of all, an organisation of its own.
#[tokio::test(flavor = "multi_thread")]
async fn who_was_not_let_in_is_told_once() {
    let world = World::start().await;
    let house = std::fs::read_to_string(world.node.token_file()).unwrap().trim().to_owned();
    let eyes = token(&world, "eyes", Role::Reader, Some(OWN), None).await;
    let late = token(&world, "late", Role::Admin, Some(OTHER), Some(-1)).await;
    let gone = token(&world, "gone", Role::Admin, Some(OTHER), None).await;
    let client = Client::new(&world);
    let work = tokio::task::spawn_blocking(move || {
        for _ in 0..50 {
            assert_eq!(client.door("get", "/legs", Some("a guess")), Door::Unauthorized);
        }
        assert_eq!(client.door("get", "/organisations/acme/users", Some(&late)), Door::Unauthorized);
        assert_eq!(client.door("get", "/organisations/omega/users", Some(&eyes)), Door::NoPage);
        for _ in 0..3 {
            assert_eq!(client.door("delete", "/organisations/acme/lock", Some(&eyes)), Door::Forbidden);
        }
        assert_eq!(client.door("get", "/organisations/omega/users", Some(&gone)), Door::Open);
        assert_eq!(client.door("delete", "/tokens/gone", Some(&house)), Door::Open);
        assert_eq!(client.door("get", "/organisations/omega/users", Some(&gone)), Door::Unauthorized);
        assert_eq!(client.door("get", "/legs", Some(&house)), Door::Open);
    });
    work.await.unwrap();
    let (store, node) = (world.node.store().clone(), world.node);
    node.stop().await;
    let told = async |of: Option<&str>| -> Vec<(String, String, Value)> {
        let filter = TrailFilter { organisation: of.map(|of| of.parse().unwrap()), ..TrailFilter::default() };
        let rows = store.trail(&filter).await.unwrap();
        let of_doors = rows.into_iter().filter(|row| row.verb == "enter");
        let reason = |detail: &str| serde_json::from_str::<Value>(detail).unwrap()["reasons"][0].clone();
        of_doors.map(|row| (row.who, row.what, reason(&row.detail))).collect()
    };
    let row = |who: &str, what: &str, reason: &str| (who.to_owned(), what.to_owned(), json!(reason));
    let from = "within a minute from 127.0.0.1";
    let all = [
        row("?", "token", &format!("50 requests {from}: no token that there is")),
        row("gone", "token gone", &format!("1 request {from}: a token that was revoked")),
        row("late", "token late", &format!("1 request {from}: a token that is not in force any more")),
        row("eyes", "token eyes", &format!("1 request {from}: a page that is not theirs")),
        row("eyes", "token eyes", &format!("3 requests {from}: more than the role may")),
    ];
    assert_eq!(told(None).await, all);
    assert_eq!(told(Some(OWN)).await, all[3..]);
    assert_eq!(told(Some(OTHER)).await, all[1..3]);
    assert_eq!(store.audit().await.unwrap(), []);
}
