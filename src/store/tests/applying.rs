//! Files for `apply`.

use super::*;

fn told(mistakes: &[Mistake]) -> Vec<String> {
    mistakes.iter().map(|mistake| format!("{}: {}", mistake.line, mistake.text)).collect()
}

#[tokio::test]
async fn the_demo_of_the_house_is_sound_and_may_be_applied_again_over_live_legs() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let text = std::fs::read_to_string(root.join("demo.toml")).unwrap();
    let read =
        || Document::parse("demo.toml", &text, |n| std::fs::read_to_string(root.join(n)).map_err(|e| e.to_string()));
    let bench = Bench::empty().await;
    let first = bench.store.apply(read().unwrap(), NOON).await.unwrap().unwrap();
    assert_eq!((first.organisations, first.numbers, first.funded), (2, 7, 2));
    assert!(first.rates.unwrap() > 1_000);
    let leg = bench.leg();
    let asked = asked(leg, CallType::DialInToll, "+390687654321", Some("studio"));
    grant(bench.store.open_leg(asked).await.unwrap());
    let mut changes = bench.store.changes();
    let before = changes.borrow_and_update().version;
    let second = bench.store.apply(read().unwrap(), NOON).await.unwrap().unwrap();
    assert_eq!((second.rates, second.funded), (None, 0));
    assert!(changes.has_changed().unwrap() && changes.borrow().version > before);
    assert_eq!(bench.balance("aurora").await.posted, micros("25"));
    assert_eq!(bench.store.settle(leg, over(0)).await.unwrap().charge, Micros::ZERO);
    bench.audited().await;
}

#[tokio::test]
async fn facts_survive_a_restart() {
    let bench = Bench::new().await;
    let before = bench.store.facts();
    let bench = bench.reopened().await;
    let after = bench.store.facts();
    assert_eq!(
        (&before.organisations, &before.users, &before.meetings),
        (&after.organisations, &after.users, &after.meetings)
    );
    assert_eq!(before.directory.numbers(), after.directory.numbers());
    assert_eq!(before.directory.carriers(), after.directory.carriers());
    assert_eq!(before.deck.version(), after.deck.version());
    assert!(after.check_pin(&"studio".parse().unwrap(), "4711"));
}

#[tokio::test]
async fn a_price_list_imported_later_does_not_touch_a_running_leg() {
    let bench = Bench::new().await;
    let leg = bench.leg();
    grant(bench.store.open_leg(toll(leg)).await.unwrap());
    bench.store.answered(answer(leg)).await.unwrap();
    let dearer = RATES.replace("0.0100,0,60", "0.0900,0,60");
    let document = Document::parse("demo.toml", FILE, |_| Ok(dearer.clone())).unwrap();
    assert_eq!(bench.store.apply(document, NOON).await.unwrap().unwrap().rates, Some(5));
    grant(bench.store.extend(next(leg, 1, 50_000)).await.unwrap());
    assert_eq!(bench.store.settle(leg, over(100_000)).await.unwrap().charge, micros("0.02"));
    let after = bench.leg();
    grant(bench.store.open_leg(toll(after)).await.unwrap());
    assert_eq!(bench.balance("aurora").await.held, micros("0.09"));
    bench.audited().await;
}

#[tokio::test]
async fn mistakes_of_reading_are_told_all_at_once_with_their_lines() {
    let text = r#"rates = "none.csv"
colour = 1
[[organisation]]
country = "Italy"
credits = 25.0
time_zone = "Rome"
overdraft = "1"
[organisation.limits]
max_cals = 3
[[organisation.user]]
id = "Anna"
licences = ["phone"]
dial_out = "all"
pin = "12"
[[organisation.meeting]]
id = "m"
organiser = "anna"
conference_id = "12"
[[number]]
e164 = "0612345678"
kind = "free"
country = "IT"
[[carrier]]
id = "c"
digest = { username = "", password = "hunter2", challenge = "some" }
register = { aor = "bob", expires_s = 1 }
ping_s = 0
route = "tls:1.2.3.4"
[carrier.failure_map]
hungry = "486"
busy = "200"
"#;
    let mistakes = Document::parse("demo.toml", text, |_| Err("no such file".to_owned())).unwrap_err();
    let told = told(&mistakes);
    let due = [
        (1, "rates: none.csv cannot be read: no such file"),
        (2, "colour: unknown key"),
        (3, "organisation.id: missing"),
        (4, "organisation.country: expected an ISO 3166 code"),
        (5, "organisation.credits: expected a decimal in quotes"),
        (6, "organisation.time_zone: expected an IANA time zone"),
        (7, "organisation.overdraft: only with on_empty"),
        (9, "organisation.limits.max_cals: unknown key (did you mean \"max_calls\"?)"),
        (11, "organisation.user.id: expected 1 to 64"),
        (12, "organisation.user.licences: expected one of audio-conferencing"),
        (13, "organisation.user.dial_out: expected any"),
        (14, "organisation.user.pin: expected 4 to 12 digits"),
        (18, "organisation.meeting.conference_id: expected 7 to 12 digits"),
        (20, "number.e164: expected a number in international form"),
        (21, "number.kind: expected toll or toll-free"),
        (25, "carrier.digest.username: expected 1 to 128 characters"),
        (25, "carrier.digest.password: expected where the secret is"),
        (25, "carrier.digest.challenge: expected one of: off calls all"),
        (26, "carrier.register.registrar: missing"),
        (26, "carrier.register.aor: expected an address like sip:"),
        (26, "carrier.register.expires_s: expected a whole number from 60"),
        (27, "carrier.ping_s: expected a whole number from 1"),
        (28, "carrier.route: expected transport"),
        (30, "carrier.failure_map.hungry: no such cause"),
        (31, "carrier.failure_map.busy: expected a final response"),
    ];
    for (line, words) in due {
        assert!(told.iter().any(|t| t.starts_with(&format!("{line}: {words}"))), "{line}: {words}\n{told:#?}");
    }
    assert_eq!(told.len(), due.len(), "{told:#?}");
    assert!(!told.iter().any(|t| t.contains("\"12\"") && t.contains("pin")), "a PIN is repeated");
    assert!(!told.iter().any(|t| t.contains("hunter2")), "a password is repeated");
}

#[tokio::test]
async fn carriers_that_call_from_anywhere_are_told_apart_by_their_names_under_one_realm() {
    let bench = Bench::with_credits("1.00").await;
    let one = |id: &str, name: &str, more: &str| {
        format!("[[carrier]]\nid = \"{id}\"\ndigest = {{ username = \"{name}\", password = \"env:X\"{more} }}\n")
    };
    bench.apply(&one("first", "ali", "")).await.unwrap();
    let cases = [
        (one("second", "ali", ""), "carrier second: digest.username ali is carrier first's"),
        (one("second", "baba", ", realm = \"other\""), "carrier second: digest.realm is not that of carrier first"),
    ];
    for (file, expected) in cases {
        let told = told(&bench.apply(&file).await.unwrap_err());
        assert!(told.len() == 1 && told[0].contains(expected), "{told:?}");
    }
    bench.apply(&one("second", "baba", "")).await.unwrap();
    // Whoever is not asked, or has a place of its own, is told apart by that.
    let file = one("third", "ali", ", realm = \"other\"");
    bench.apply(&format!("{file}sources = [\"192.0.2.9\"]\n")).await.unwrap();
    let file = one("fourth", "ali", ", realm = \"other\", challenge = \"off\"");
    bench.apply(&format!("{file}route = \"udp:192.0.2.10:5060\"\n")).await.unwrap();
}

#[tokio::test]
async fn what_contradicts_the_bridge_is_told_and_nothing_is_applied() {
    let cases: &[(&str, &str, usize, &str)] = &[
        ("credits = \"1.00\"", "credits = \"2.00\"", 6, "the opening funding of aurora was booked as 1.0000"),
        ("credits = \"1.00\"", "credits = \"0\"", 6, "credits add --org aurora"),
        ("volume_licensing = true", "volume_licensing = false", 7, "pay-per-minute needs"),
        ("organiser = \"carol\"", "organiser = \"anna\"", 29, "its organiser anna belongs to organisation aurora"),
        ("organiser = \"carol\"", "organiser = \"zoe\"", 29, "there is no user zoe"),
        ("\"1000003\"", "\"1000001\"", 29, "conference ID 1000001 is meeting studio's"),
        ("\"1000003\"", "\"10000003\"", 29, "all conference IDs of a bridge have one length"),
        ("id = \"carol\"", "id = \"anna\"", 26, "user anna stands in line 7 already"),
        ("kind = \"toll\"", "kind = \"toll\"\nmeeting = \"nowhere\"", 33, "there is no meeting nowhere"),
        ("kind = \"toll\"", "kind = \"toll\"\norganisation = \"nobody\"", 33, "there is no organisation nobody"),
        ("country = \"US\"", "country = \"US\"\ncurrency = \"EUR\"", 22, "its books are in USD"),
        ("country = \"US\"", "country = \"ZZ\"", 22, "there is no country ZZ"),
        (
            "sources = [\"127.0.0.1\"]",
            "sources = [\"127.0.0.1\"]\n[[carrier]]\nid = \"b\"\nsources = [\"127.0.0.1\"]",
            44,
            "127.0.0.1 is carrier local's",
        ),
        ("+39800123456", "+390612345678", 37, "number +390612345678 stands in line 33 already"),
    ];
    let bench = Bench::new().await;
    let before = bench.store.facts();
    for (from, to, line, words) in cases {
        let mistakes = bench.apply(&FILE.replace(from, to)).await.unwrap_err();
        let told = told(&mistakes);
        assert!(
            told.iter().any(|t| t.starts_with(&format!("{line}: ")) && t.contains(words)),
            "{line} {words} {told:#?}"
        );
    }
    assert!(Arc::ptr_eq(&before, &bench.store.facts()));
    bench.audited().await;
}

#[tokio::test]
async fn names_may_be_exchanged() {
    let bench = Bench::new().await;
    let swapped = FILE.replace("1000001", "x").replace("1000002", "1000001").replace('x', "1000002");
    // The file's text has an x elsewhere only if somebody edits it: then this fails first.
    assert!(swapped.contains("\"1000002\"\ncallers_may_start"));
    bench.apply(&swapped.replace("1000002000002", "1000002")).await.unwrap();
    assert_eq!(bench.store.facts().meeting_named("1000002").unwrap().settings.id.as_str(), "studio");
    assert_eq!(bench.store.facts().meeting_named("1000001").unwrap().settings.id.as_str(), "unlicensed");
}

/// [`FILE`] with grants of aurora.
fn with_grants(grants: &str) -> String {
    FILE.replacen("[[organisation]]\nid = \"borealis\"", &format!("{grants}[[organisation]]\nid = \"borealis\""), 1)
}

const SPRING: &str = "[[organisation.grant]]\nid = \"spring\"\nseconds = 600\nuntil = \"2026-12-01\"\ncall_types = [\"dial-out\"]\n\
     prefixes = [\"+44\"]\nmemo = \"a campaign\"\n";
const BOUGHT: &str =
    "[[organisation.grant]]\nid = \"bought\"\nmoney = \"5.00\"\npaid = true\npriority = 7\nfrom = \"2026-01-01\"\n";

#[tokio::test]
async fn grants_of_a_file_are_given_once_and_stand_in_the_trail() {
    use crate::rating::grant::{Source, Unit};
    let bench = Bench::empty().await;
    let file = with_grants(&format!("{SPRING}{BOUGHT}"));
    assert_eq!(bench.apply(&file).await.unwrap().granted, 2);
    let aurora: OrganisationId = "aurora".parse().unwrap();
    let rows = bench.store.grants(&aurora, true).await.unwrap();
    let told: Vec<_> = rows.iter().map(|row| (row.grant.id.as_str(), row.grant.unit, row.grant.amount, row.grant.source, row.grant.priority)).collect();
    let due = [("spring", Unit::Seconds, 600_000, Source::Promo, 100), ("bought", Unit::Money, 5_000_000, Source::Paid, 7)];
    assert_eq!(told, due, "in the order of their use");
    let spring = rows.iter().find(|row| row.grant.id.as_str() == "spring").unwrap();
    assert_eq!((spring.grant.filter.prefixes.as_slice(), spring.memo.as_str()), (["44".to_owned()].as_slice(), "a campaign"));
    // Used, it is given by no further file; neither is one that was ended by hand.
    let leg = bench.leg();
    grant(bench.store.open_leg(dial(leg, "+447700900123", "studio")).await.unwrap());
    bench.store.answered(answer(leg)).await.unwrap();
    bench.store.settle(leg, over(30_000)).await.unwrap();
    let end = EndGrant { id: "spring".parse().unwrap(), organisation: aurora.clone(), at: NOON.plus_millis(60_000) };
    bench.store.end_grant(end).await.unwrap();
    let before = bench.store.grants(&aurora, true).await.unwrap();
    let later = NOON.plus_millis(120_000);
    let again = bench.store.apply(document(&file).unwrap(), later).await.unwrap().unwrap();
    assert_eq!(again.granted, 0);
    assert_eq!(bench.store.grants(&aurora, true).await.unwrap(), before);
    bench.audited().await;
    // A file that does not name them leaves them.
    bench.apply(FILE).await.unwrap();
    assert_eq!(bench.store.grants(&aurora, true).await.unwrap(), before);
    let trail = bench.store.trail(&TrailFilter::default()).await.unwrap();
    let first = trail.iter().find(|row| row.verb == "apply" && row.detail.contains("grant spring")).unwrap();
    for field in ["\"amount\":600000", "\"memo\":\"a campaign\"", "\"source\":\"promo\"", "grant bought"] {
        assert!(first.detail.contains(field), "{field} in {}", first.detail);
    }
    // The house's row, and the organisation's own part of it.
    let is_given = |row: &&TrailRow| row.detail.contains("\"before\":null") && row.detail.contains("grant spring");
    let mut whose: Vec<bool> = trail.iter().filter(is_given).map(|row| row.organisation.is_some()).collect();
    whose.sort_unstable();
    assert_eq!(whose, [false, true]);
}

#[tokio::test]
async fn all_that_is_wrong_with_grants_of_a_file_is_told_at_once() {
    let bench = Bench::empty().await;
    bench.apply(&with_grants(&format!("{SPRING}{BOUGHT}"))).await.unwrap();
    let told = async |grants: &str| -> Vec<String> {
        let mistakes = bench.apply(&with_grants(grants)).await.unwrap_err();
        mistakes.into_iter().map(|mistake| mistake.text).collect()
    };
    // What was given is not changed: each field is named.
    let other = SPRING.replace("600", "700").replace("+44", "39").replace("a campaign", "another").replace("2026-12-01", "2026-12-02");
    let other = format!("{other}{}", BOUGHT.replace("paid = true\npriority = 7\nfrom = \"2026-01-01\"", "from = \"2026-01-02\""));
    let changed = told(&other).await;
    for words in [
        "grant spring: amount was given as 600 seconds, and is not changed to 700 seconds by a file; end it with \
         `tollbridge grant end` and give another",
        "grant spring: filter was given as",
        "grant spring: memo was given as a campaign",
        "grant spring: until was given as",
        "grant bought: source was given as paid",
        "grant bought: priority was given as 7",
        "grant bought: from was given as",
    ] {
        assert!(changed.iter().any(|text| text.starts_with(words)), "{words} in {changed:?}");
    }
    assert_eq!(changed.len(), 7, "{changed:?}");
    let twice = told(&format!("{SPRING}{SPRING}")).await;
    assert!(twice[0].starts_with("grant spring stands in line"), "{twice:?}");
    let wrong = "[[organisation.grant]]\nid = \"both\"\nseconds = 1\nmoney = \"1\"\ncolour = 1\n\
         [[organisation.grant]]\nid = \"neither\"\npriority = 70000\nuntil = \"soon\"\ncountries = [\"Italy\"]\n\
         [[organisation.grant]]\nid = \"nothing\"\nmoney = \"0\"\nprefixes = [\"x\"]\n\
         [[organisation.grant]]\nseconds = 1\n";
    let all = told(wrong).await;
    for words in [
        "organisation.grant.seconds: a grant is of seconds, or of money",
        "organisation.grant.colour: unknown key",
        "organisation.grant.priority: expected",
        "organisation.grant.until: expected",
        "organisation.grant.countries:",
        "organisation.grant.money: expected more than zero",
        "organisation.grant.prefixes: expected a prefix",
        "organisation.grant.id: missing",
    ] {
        assert!(all.iter().any(|text| text.starts_with(words)), "{words} in {all:?}");
    }
    let ends = |until: &str| format!("[[organisation.grant]]\nid = \"b\"\nseconds = 1\nfrom = \"2027-01-01\"\nuntil = \"{until}\"\n");
    for until in ["2020-01-01", "2026-12-31"] {
        assert_eq!(told(&ends(until)).await, ["grant b: a grant ends after it begins, and after now"]);
    }
    let most = super::super::grant::MOST - 1;
    let many: String = (0..most).map(|n| format!("[[organisation.grant]]\nid = \"many-{n}\"\nseconds = 1\n")).collect();
    let many = told(&many).await;
    assert_eq!(many.len(), 1, "{many:?}");
    assert!(many[0].contains("at most 64 grants"), "{many:?}");
    let elsewhere = FILE.to_owned() + "[[organisation]]\nid = \"corona\"\ncountry = \"IT\"\n" + SPRING;
    let mistakes = bench.apply(&elsewhere).await.unwrap_err();
    assert!(mistakes[0].text.contains("organisation was given as aurora"), "{mistakes:?}");
    assert_eq!(bench.store.grants(&"aurora".parse().unwrap(), true).await.unwrap().len(), 2, "nothing was given");
    bench.audited().await;
}

/// New books are made of an old file: what is over by then is not given, and is no reason to refuse the rest.
#[tokio::test]
async fn grants_of_a_file_that_are_over_are_not_given() {
    let bench = Bench::empty().await;
    let over = "[[organisation.grant]]\nid = \"past\"\nmoney = \"5.00\"\npaid = true\nfrom = \"2025-01-01\"\nuntil = \"2026-01-01\"\n";
    let file = with_grants(&format!("{over}{SPRING}"));
    for granted in [1, 0] {
        let applied = bench.apply(&file).await.unwrap();
        assert_eq!((applied.granted, applied.over), (granted, 1), "neither is it by the same file again");
    }
    let rows = bench.store.grants(&"aurora".parse().unwrap(), true).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.grant.id.as_str()).collect::<Vec<_>>(), ["spring"]);
    bench.audited().await;
    // One that was given, and is over since, is there and no mistake.
    let later = NOON.plus_millis(400 * 86_400_000);
    let again = bench.store.apply(document(&with_grants(SPRING)).unwrap(), later).await.unwrap().unwrap();
    assert_eq!((again.granted, again.over), (0, 0));
}

/// What would change is told as the trail tells it afterwards, mistakes too, and until then nothing has.
#[tokio::test]
async fn a_preview_tells_what_a_file_would_change_and_changes_nothing() {
    let bench = Bench::new().await;
    let lower = FILE.replace("country = \"IT\"\nvolume", "country = \"IT\"\nlimits.max_spend_per_day = \"5.00\"\nvolume");
    bench.apply(&lower).await.unwrap();
    let live = bench.leg();
    grant(bench.store.open_leg(toll(live)).await.unwrap());
    let file = lower.replace("\"5.00\"", "\"50.00\"").replace("pin = \"4711\"", "pin = \"9876\"\ntoll_free = false")
        + "[[organisation]]\nid = \"corona\"\ncountry = \"IT\"\ncredits = \"3.00\"\n"
        + &SPRING.replace("spring", "summer");
    let dearer = RATES.replace("0.0100,0,60", "0.0900,0,60");
    let read = || Document::parse("new.toml", &file, |_| Ok(dearer.clone())).unwrap();
    let rows = async || bench.store.trail(&TrailFilter::default()).await.unwrap();
    let (facts, told) = (bench.store.facts(), rows().await);
    let mut first = None;
    for _ in 0..2 {
        let preview = bench.store.preview(read(), NOON).await.unwrap().unwrap();
        assert!(Arc::ptr_eq(&facts, &bench.store.facts()) && rows().await == told);
        assert!(bench.store.facts().check_pin(&"studio".parse().unwrap(), "4711"));
        assert!(bench.store.balance(&"corona".parse().unwrap()).await.is_err());
        bench.audited().await;
        assert_eq!(first.get_or_insert_with(|| preview.clone()), &preview, "asked again it is the same");
    }
    // The leg that runs is held on, by the copies that there were.
    bench.store.answered(answer(live)).await.unwrap();
    grant(bench.store.extend(next(live, 1, 55_000)).await.unwrap());
    let preview = first.unwrap();
    assert_eq!(bench.store.apply(read(), NOON).await.unwrap().unwrap(), preview.applied);
    let is_house = |row: &&TrailRow| row.verb == "apply" && row.organisation.is_none();
    let rows = rows().await;
    let last: serde_json::Value = serde_json::from_str(&rows.iter().rfind(is_house).unwrap().detail).unwrap();
    let detail: serde_json::Value = serde_json::from_str(&preview.detail).unwrap();
    let keys: Vec<&String> = detail.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["changed", "lists", "pending"]);
    for key in keys {
        assert_eq!(detail[key], last[key]);
    }
    assert_eq!((preview.applied.funded, preview.applied.granted, preview.applied.pending), (1, 1, 1));
    assert!(!preview.detail.contains("9876"), "{}", preview.detail);
    bench.audited().await;
    // What may not be is told as well.
    let wrong = FILE.replace("\"IT\"\nvolume_licensing = true", "\"IT\"");
    let mistakes = bench.store.preview(document(&wrong).unwrap(), NOON).await.unwrap().unwrap_err();
    assert!(mistakes[0].text.contains("volume_licensing"), "{mistakes:?}");
    let same = bench.store.preview(read(), NOON).await.unwrap().unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&same.detail).unwrap().get("changed"), None);
}
