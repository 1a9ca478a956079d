//! One entry at a time: shown, made, changed; and told in the trail.

use super::*;
use serde_json::{Value, json};

/// Every key of every kind, each at another value than the usual one.
const FULL: &str = r#"
[[organisation]]
id = "full"
name = "Full \"House\" \\ Ltd"
country = "IT"
currency = "EUR"
volume_licensing = true
require_credits_licence = true
on_empty = "finish"
overdraft = "2.50"
time_zone = "Europe/Rome"
allow_prefixes = ["81", "+852"]
discount = "12.5%"
pool_split = "increment"
refund_days = 12
[organisation.limits]
max_calls = 50
max_calls_per_second = 5
max_call_minutes = 90
max_spend_per_day = "20.00"
max_spend_per_leg = "0.000001"
organiser_calls = 30
organiser_calls_per_second = 4
meeting_calls = 29
meeting_calls_per_second = 3
block_calls = 10
max_rate_per_minute = "1.00"
max_spend_first_day = "19.00"
quiet_percent = 20
[organisation.seats]
audio-conferencing = 7
communications-credits = 1
[organisation.alerts]
emails = ["accounts@example.com", "ops@example.com"]
webhook = "https://hooks.example.com/a?token=b"
webhook_secret = "env:HOOK"
low_balance = "5.00"
low_days = 7
unusual_spend = 4
[organisation.recharge]
trigger = "5.00"
amount = "25.00"
max_per_day = "50.00"
hook = "https://pay.example.com/charge"
hook_secret = "file:/etc/secret"
[[organisation.user]]
id = "fay"
name = "Fay"
licences = ["pay-per-minute from 2026-01-01", "communications-credits from 2026-02-01 until 2099-12-31"]
dial_out = "zone-a"
toll_free = false
country = "FR"
pin = "4711"
[[organisation.meeting]]
id = "full-room"
organiser = "fay"
conference_id = "1000009"
lobby = true
callers_may_start = true
max_participants = 7
tones = false
confirm_join = true
language = "it"
[[number]]
e164 = "+390699999991"
kind = "toll"
country = "IT"
city = "Roma"
languages = ["it", "en"]
organisation = "full"
meeting = "full-room"
alias = "full"
[[carrier]]
id = "second"
sources = ["203.0.113.0/24", "[2001:db8::1]:5060"]
route = "tcp:203.0.113.7:5060"
codecs = ["opus", "PCMA"]
max_calls = 9
max_calls_per_second = 2
number_format_in = "national:39"
number_format_out = "bare"
called_from = ["to", "request-uri"]
advertise = "198.51.100.1:5060"
old_syntax = true
srtp = "required"
learn_source = true
tls_name = "sbc.carrier.example"
tls_only = false
digest = { username = "full-1", password = "env:FULL", realm = "full.example", challenge = "all", algorithm = "sha-256" }
register = { registrar = "udp:203.0.113.8:5060", aor = "sip:full-1@full.example", expires_s = 600 }
ping_s = 30
prefixes = ["39", "!3906"]
hours = ["mon-fri 08:00-19:00"]
time_zone = "Europe/Rome"
priority = 7
weight = 30
caller_format = "bare"
domain = "trunk.carrier.example"
trusted_identity = true
stir = "refuse-broken"
dtmf = ["info"]
quirks = ["own-domain"]
conference_number = "+390612345678"
[carrier.failure_map]
no-credit = "403/21"
busy = "486"
[carrier.answer_map]
403 = "limit-reached/next"
"#;

/// What [`FILE`] is told by: a row for the house, and one for each of its organisations.
const FILE_ROWS: usize = 3;

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

fn change(entry: EntryId, of: &str, step: ChangeStep) -> Change {
    let of = Some(of).filter(|of| !of.is_empty()).map(|of| of.parse().unwrap());
    Change { entry, of, step }
}

fn put(keys: &Value) -> ChangeStep {
    ChangeStep::Put(keys.to_string())
}

fn patch(keys: &Value) -> ChangeStep {
    ChangeStep::Patch(keys.to_string())
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

impl Bench {
    async fn change(&self, entry: EntryId, of: &str, step: ChangeStep) -> Result<Changed, Vec<String>> {
        self.store.change(change(entry, of, step), NOON).await.unwrap()
    }

    async fn trails(&self) -> Vec<TrailRow> {
        self.store.trail(&TrailFilter::default()).await.unwrap()
    }
}

#[tokio::test]
async fn every_entry_is_what_its_own_keys_make_of_it() {
    let bench = Bench::new().await;
    bench.apply(FULL).await.unwrap();
    let before = bench.store.facts();
    let rows = bench.trails().await;
    let kinds =
        [EntryKind::Organisation, EntryKind::User, EntryKind::Meeting, EntryKind::Number, EntryKind::Carrier];
    let all: Vec<EntryId> = kinds.into_iter().flat_map(|kind| before.entries(kind, None, None)).collect();
    assert_eq!(all.len(), 3 + 4 + 4 + 3 + 2);
    for entry in &all {
        let of = before.owner_of(entry).map_or(String::new(), ToString::to_string);
        let keys = parsed(&before.entry(entry).unwrap());
        for step in [put(&keys), patch(&keys), patch(&json!({}))] {
            let changed = bench.change(entry.clone(), &of, step).await.unwrap();
            assert_eq!((changed.is_new, changed.keys), (false, Vec::new()), "{entry}");
        }
    }
    assert_eq!(bench.trails().await, rows, "what changes nothing is not told");
    // Made anew in books that have none of it, they are the same.
    let other = Bench::new().await;
    for entry in &all {
        let of = before.owner_of(entry).map_or(String::new(), ToString::to_string);
        let keys = parsed(&before.entry(entry).unwrap());
        other.change(entry.clone(), &of, put(&keys)).await.unwrap();
    }
    let after = other.store.facts();
    for entry in &all {
        let (mut old, mut new) = (parsed(&before.entry(entry).unwrap()), parsed(&after.entry(entry).unwrap()));
        // A PIN is in none of the keys.
        for keys in [&mut old, &mut new] {
            keys.as_object_mut().unwrap().remove("has_pin");
        }
        assert_eq!(old, new, "{entry}");
    }
    bench.audited().await;
    other.audited().await;
    let reopened = other.reopened().await;
    assert_eq!(reopened.store.facts().organisations, after.organisations);
    assert_eq!(reopened.store.facts().directory.carriers(), after.directory.carriers());
}

#[tokio::test]
async fn a_change_is_told_field_by_field_and_secrets_are_not() {
    let bench = Bench::new().await;
    let bench = Bench { store: bench.store.by(Who { name: "paola".to_owned(), door: TrailDoor::Api, role: Some(Role::Admin), organisation: None }), ..bench };
    let anna = || spot("user", "anna");
    let keys = json!({ "name": "Anna Ferri", "dial_out": "none", "pin": "98765" });
    let changed = bench.change(anna(), "aurora", patch(&keys)).await.unwrap();
    assert_eq!(changed.keys, ["dial_out", "name", "pin"]);
    assert!(bench.store.facts().check_pin(&"studio".parse().unwrap(), "98765"));
    bench.change(anna(), "aurora", patch(&json!({ "pin": null }))).await.unwrap();
    let limits = json!({ "limits": { "max_calls": 9 }, "discount": "5%" });
    bench.change(spot("organisation", "aurora"), "", patch(&limits)).await.unwrap();
    let rows = bench.trails().await;
    let told: Vec<(&str, &str, &str, Option<&str>, Value)> = rows[FILE_ROWS..]
        .iter()
        .map(|row| (&*row.who, &*row.verb, &*row.what, row.organisation.as_deref(), parsed(&row.detail)))
        .collect();
    let of = Some("aurora");
    assert_eq!(
        told,
        [
            (
                "paola",
                "set",
                "user anna",
                of,
                json!({
                    "outcome": "done", "before": { "dial_out": "any", "name": "changed", "pin": "set" },
                    "after": { "dial_out": "none", "name": "changed", "pin": "changed" },
                })
            ),
            ("paola", "set", "user anna", of, json!({ "outcome": "done", "before": { "pin": "set" }, "after": {} })),
            (
                "paola",
                "set",
                "organisation aurora",
                of,
                json!({
                    "outcome": "done", "before": { "discount": "0%" },
                    "after": { "discount": "5%", "limits.max_calls": 9 },
                })
            ),
        ]
    );
    assert!(!rows.iter().any(|row| row.detail.contains("98765") || row.detail.contains("Ferri")));
    bench.audited().await;
}

#[tokio::test]
async fn a_pin_stays_unless_it_is_named() {
    let bench = Bench::new().await;
    let fits = |bench: &Bench, pin| bench.store.facts().check_pin(&"studio".parse().unwrap(), pin);
    let licences = json!(["pay-per-minute"]);
    let cases = [
        (patch(&json!({ "name": "A" })), "4711"),
        (put(&json!({ "licences": licences })), "4711"),
        (put(&json!({ "licences": licences, "pin": "1234" })), "1234"),
        (patch(&json!({ "pin": "5678" })), "5678"),
    ];
    for (step, pin) in cases {
        bench.change(spot("user", "anna"), "aurora", step).await.unwrap();
        assert!(fits(&bench, pin), "{pin}");
    }
    // In another's place nobody's PIN is kept.
    bench.change(spot("user", "new"), "aurora", put(&json!({}))).await.unwrap();
    assert!(!bench.store.facts().users[&"new".parse().unwrap()].has_pin());
    bench.change(spot("user", "anna"), "aurora", put(&json!({ "licences": licences, "pin": null }))).await.unwrap();
    assert!(!fits(&bench, "5678"));
    bench.audited().await;
}

#[tokio::test]
async fn what_may_not_be_is_refused_by_its_key_and_told_in_the_trail() {
    let bench = Bench::new().await;
    bench.apply(FULL).await.unwrap();
    let before = bench.store.facts();
    let cases = [
        ("user", "anna", "aurora", json!({ "pin": "12" }), "pin: expected 4 to 12 digits"),
        ("user", "anna", "aurora", json!({ "licence": ["x"] }), "licence: unknown key (did you mean \"licences\"?)"),
        ("user", "anna", "aurora", json!({ "licences": ["phone"] }), "licences: expected one of audio-conferencing"),
        ("user", "anna", "aurora", json!({ "licences": [null] }), "licences: expected texts in quotes"),
        ("user", "anna", "aurora", json!({ "toll_free": "yes" }), "toll_free: expected true or false"),
        ("user", "anna", "aurora", json!({ "id": "zoe" }), "id: it stays \"anna\""),
        ("user", "carol", "borealis", json!({ "licences": ["pay-per-minute"] }), "volume_licensing = true"),
        ("user", "bruno", "aurora", json!({ "country": "ZZ" }), "there is no such country"),
        ("organisation", "aurora", "", json!({ "volume_licensing": false }), "user anna has pay-per-minute"),
        ("organisation", "aurora", "", json!({ "currency": "EUR" }), "its books are in USD"),
        ("organisation", "aurora", "", json!({ "credits": "5" }), "the opening funding of aurora was booked as 1.0000"),
        ("organisation", "aurora", "", json!({ "limits": { "max_cals": 1 } }), "limits.max_cals: unknown key"),
        ("organisation", "aurora", "", json!({ "limits": { "max_spend_per_day": 5.5 } }), "a decimal in quotes"),
        ("organisation", "aurora", "", json!({ "price_lists": ["gold"] }), "there is no price list gold"),
        ("organisation", "aurora", "", json!({ "user": [{ "id": "zoe" }] }), "user: unknown key"),
        ("organisation", "aurora", "", json!({ "country": null }), "country: missing"),
        ("meeting", "studio", "aurora", json!({ "organiser": "zoe" }), "there is no user zoe"),
        // Nobody hears of another customer's names.
        ("meeting", "studio", "aurora", json!({ "organiser": "carol" }), "there is no user carol"),
        ("meeting", "studio", "aurora", json!({ "conference_id": "1000003" }), "conference ID 1000003 is taken"),
        ("meeting", "studio", "aurora", json!({ "conference_id": "1000002" }), "is meeting unlicensed's"),
        ("meeting", "studio", "aurora", json!({ "conference_id": 1_000_001 }), "expected a text in quotes"),
        ("number", "+390612345678", "", json!({ "kind": "free" }), "kind: expected toll or toll-free"),
        ("number", "+390612345678", "", json!({ "alias": "FULL" }), "alias \"FULL\" is +390699999991's"),
        ("carrier", "second", "", json!({ "sources": ["127.0.0.1"] }), "127.0.0.1 is carrier local's"),
        ("carrier", "second", "", json!({ "failure_map": { "hungry": "486" } }), "failure_map.hungry: no such cause"),
    ];
    let before_all = bench.trails().await.len();
    for (kind, name, of, keys, why) in &cases {
        let refused = bench.change(spot(kind, name), of, patch(keys)).await.unwrap_err();
        assert!(refused.iter().any(|reason| reason.contains(why)), "{keys}: {why}: {refused:#?}");
        let last = bench.trails().await.pop().unwrap();
        let detail = parsed(&last.detail);
        assert_eq!((&*last.what, &detail["outcome"]), (&*format!("{kind} {name}"), &json!("refused")));
        // What somebody wrote is not repeated.
        assert_eq!(detail["reasons"][0], refused[0].split(", found \"").next().unwrap_or_default());
    }
    assert_eq!(bench.trails().await.len(), before_all + cases.len());
    for text in ["[]", "1", "{", "\"x\"", ""] {
        let refused = bench.change(spot("user", "anna"), "aurora", ChangeStep::Patch(text.to_owned())).await;
        assert_eq!(refused.unwrap_err(), ["expected an object of keys and values"], "{text}");
    }
    let after = bench.store.facts();
    assert_eq!((before.version, &before.users), (after.version, &after.users));
    assert_eq!(bench.balance("aurora").await.posted, micros("1"));
    bench.audited().await;
}

#[tokio::test]
async fn an_entry_of_another_is_none_and_its_name_is_taken() {
    let bench = Bench::new().await;
    let change = |kind, name, of, step| bench.store.change(change(spot(kind, name), of, step), NOON);
    let keys = json!({ "organiser": "carol", "conference_id": "1000008" });
    for (kind, name, of, step, found) in [
        ("user", "anna", "borealis", patch(&json!({})), "there is no user anna"),
        ("user", "anna", "borealis", put(&json!({})), "the name of user anna is taken: choose another"),
        ("meeting", "studio", "borealis", patch(&keys), "there is no meeting studio"),
        ("meeting", "studio", "borealis", put(&keys), "the name of meeting studio is taken: choose another"),
        ("user", "zoe", "aurora", patch(&json!({})), "there is no user zoe"),
        ("user", "zoe", "nobody", put(&json!({})), "there is no organisation nobody"),
        ("organisation", "nobody", "", patch(&json!({})), "there is no organisation nobody"),
        ("carrier", "nobody", "", patch(&json!({})), "there is no carrier nobody"),
    ] {
        assert_eq!(change(kind, name, of, step).await.unwrap_err().to_string(), found);
    }
    // A name that is taken is told; what is not there was no change.
    assert_eq!(bench.trails().await.len(), FILE_ROWS + 2);
}

#[tokio::test]
async fn a_customer_is_made_key_by_key_and_pays_for_a_call() {
    let bench = Bench::new().await;
    let leg = bench.leg();
    grant(bench.store.open_leg(toll(leg)).await.unwrap());
    let organisation = json!({ "country": "IT", "volume_licensing": true, "credits": "3.00" });
    let made = bench.change(spot("organisation", "cirrus"), "", put(&organisation)).await.unwrap();
    assert!(made.is_new && bench.balance("cirrus").await.posted == micros("3"));
    let again = bench.change(spot("organisation", "cirrus"), "", put(&organisation)).await.unwrap();
    assert_eq!((again.is_new, again.keys, bench.balance("cirrus").await.posted), (false, vec![], micros("3")));
    let user = json!({ "licences": ["pay-per-minute"] });
    bench.change(spot("user", "zoe"), "cirrus", put(&user)).await.unwrap();
    let meeting = json!({ "organiser": "zoe", "conference_id": "1000007" });
    bench.change(spot("meeting", "zoes"), "cirrus", put(&meeting)).await.unwrap();
    let other = bench.leg();
    let asked = asked(other, CallType::DialInToll, "+390612345678", Some("zoes"));
    grant(bench.store.open_leg(asked).await.unwrap());
    assert_eq!(bench.balance("cirrus").await.held, micros("0.01"));
    // A licence less: what runs goes on by its frozen terms, and the next call is refused.
    bench.change(spot("user", "zoe"), "cirrus", patch(&json!({ "licences": [] }))).await.unwrap();
    bench.store.answered(answer(other)).await.unwrap();
    assert_eq!(bench.store.settle(other, over(60_000)).await.unwrap().charge, micros("0.01"));
    let late = super::asked(bench.leg(), CallType::DialInToll, "+390612345678", Some("zoes"));
    assert_eq!(bench.store.open_leg(late).await.unwrap(), Opened::Refused(Cause::NotLicensed));
    bench.store.settle(leg, over(0)).await.unwrap();
    // An opening funding that was not there at the first is booked, once.
    let bare = json!({ "country": "IT" });
    bench.change(spot("organisation", "dune"), "", put(&bare)).await.unwrap();
    let funded = bench.change(spot("organisation", "dune"), "", patch(&json!({ "credits": "2" }))).await.unwrap();
    assert_eq!((funded.keys, bench.balance("dune").await.posted), (vec!["credits".to_owned()], micros("2")));
    bench.audited().await;
}

#[tokio::test]
async fn lists_have_an_order_and_parts_and_an_organisation_sees_its_own() {
    let bench = Bench::new().await;
    bench.apply(FULL).await.unwrap();
    let facts = bench.store.facts();
    let names = |kind, of: Option<&str>, after| -> Vec<String> {
        let of = of.map(|of| of.parse().unwrap());
        facts.entries(kind, of.as_ref(), after).iter().map(EntryId::name).collect()
    };
    assert_eq!(names(EntryKind::User, Some("aurora"), None), ["anna", "bruno"]);
    assert_eq!(names(EntryKind::User, Some("aurora"), Some("anna")), ["bruno"]);
    assert_eq!(names(EntryKind::Meeting, Some("borealis"), None), ["watch"]);
    assert_eq!(names(EntryKind::Organisation, None, Some("aurora")), ["borealis", "full"]);
    assert_eq!(names(EntryKind::Number, Some("aurora"), None), ["+390612345678", "+39800123456"]);
    assert_eq!(names(EntryKind::Number, Some("full"), None).len(), 3);
}
