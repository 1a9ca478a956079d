//! Permission taken back in mid-call: which legs end for it, what they cost, and that prices are never asked again.

use super::*;
use std::collections::HashMap;

/// A dollar for the first, a pool for the second, and a number of the first's own.
const PEOPLE: &str = r#"
[[organisation]]
id = "pooled"
country = "IT"
credits = "5.00"
[[organisation.user]]
id = "paola"
licences = ["audio-conferencing", "communications-credits", "extended-dial-out"]
[[organisation.meeting]]
id = "pool"
organiser = "paola"
conference_id = "1000009"
[[number]]
e164 = "+390687654321"
kind = "toll"
country = "IT"
organisation = "aurora"
"#;

const ROME: &str = "+390611111111";
const NEW_YORK: &str = "+12125550100";

impl Bench {
    async fn peopled() -> Bench {
        let bench = Bench::new().await;
        bench.apply(PEOPLE).await.unwrap();
        bench
    }

    async fn talks(&self, open: OpenLeg) -> LegId {
        let leg = open.leg;
        grant(self.store.open_leg(open).await.unwrap());
        self.store.answered(answer(leg)).await.unwrap();
        leg
    }

    async fn toll_to(&self, number: &str, meeting: &str) -> LegId {
        self.talks(asked(self.leg(), CallType::DialInToll, number, Some(meeting))).await
    }

    async fn withdrawn(&self, legs: &[LegId]) -> Vec<Option<Cause>> {
        let found: HashMap<LegId, Cause> =
            self.store.withdrawn(legs, NOON.plus_millis(20_000)).await.unwrap().into_iter().collect();
        legs.iter().map(|leg| found.get(leg).copied()).collect()
    }

    fn revoke(&self) -> Revoke {
        Revoke {
            organisation: "aurora".parse().unwrap(),
            dial_out: false,
            user: None,
            meeting: None,
            leg: None,
            reason: "a stolen PIN".to_owned(),
            lock: false,
            ends: None,
            at: NOON.plus_millis(20_000),
        }
    }
}

/// [`FILE`] and [`PEOPLE`] with something else in them.
async fn changed(bench: &Bench, before: &str, after: &str) {
    let text = format!("{FILE}{PEOPLE}");
    assert!(text.contains(before), "{before}");
    bench.apply(&text.replacen(before, after, 1)).await.unwrap();
}

#[tokio::test]
async fn each_change_of_what_may_be_ends_the_legs_that_it_is_about_and_no_others() {
    let anna = "id = \"anna\"\nlicences = [\"pay-per-minute\"]";
    let paola = "id = \"paola\"\nlicences = [\"audio-conferencing\", \"communications-credits\", \"extended-dial-out\"]";
    let of_paola = |licences: &str| format!("id = \"paola\"\nlicences = [{licences}]");
    let (gone, denied) = (Some(Cause::LicenceGone), Some(Cause::DestinationNotAllowed));
    let (org, user) = (Some(Cause::OrganisationLocked), Some(Cause::OrganiserLocked));
    // Anna's: toll in, to a number of her own, toll-free in, a call out. Paola's: toll in (included), to Rome in the pool,
    // to New York by the add-on.
    type Seven = [Option<Cause>; 7];
    let cases: Vec<(&str, String, Seven)> = vec![
        (anna, "id = \"anna\"\nlicences = []".into(), [gone, gone, gone, gone, None, None, None]),
        (anna, format!("{anna}\nlocked = \"a stolen PIN\""), [user, user, user, user, None, None, None]),
        (anna, format!("{anna}\ndial_out = \"none\""), [None, None, None, denied, None, None, None]),
        (
            anna,
            format!("{anna}\ntoll_free = false"),
            [None, None, Some(Cause::TollFreeNotAllowed), None, None, None, None],
        ),
        ("id = \"aurora\"\n", "id = \"aurora\"\nlocked = \"x\"\n".into(), [org, org, org, org, None, None, None]),
        (
            "kind = \"toll\"\ncountry = \"IT\"\norganisation = \"aurora\"",
            "kind = \"toll\"\ncountry = \"IT\"\norganisation = \"pooled\"".into(),
            [None, Some(Cause::UnknownNumber), None, None, None, None, None],
        ),
        (
            "rates = \"rates.csv\"\n",
            "rates = \"rates.csv\"\n[[country]]\ncode = \"US\"\ndial_out = false\n".into(),
            [None, None, None, None, None, None, Some(Cause::CountryNotServed)],
        ),
        // The pool needs no licence but the user's own; the add-on's call could be paid otherwise.
        (paola, of_paola("\"audio-conferencing\", \"communications-credits\""), [None; 7]),
        (paola, of_paola("\"audio-conferencing\""), [None; 7]),
        (paola, of_paola("\"communications-credits\""), [None, None, None, None, gone, gone, gone]),
        (paola, format!("{paola}\ndial_out = \"zone-a\""), [None; 7]),
        (paola, format!("{paola}\ndial_out = \"same-country\""), [None, None, None, None, None, None, denied]),
        // What is asked of new calls alone.
        ("credits = \"5.00\"", "credits = \"5.00\"\nlimits = { max_calls = 1, max_spend_per_day = \"0.01\" }".into(), [None; 7]),
    ];
    for (before, after, expected) in cases {
        let bench = Bench::peopled().await;
        let legs = [
            bench.toll_to("+390612345678", "studio").await,
            bench.toll_to("+390687654321", "studio").await,
            bench.talks(asked(bench.leg(), CallType::DialInTollFree, "+39800123456", Some("studio"))).await,
            bench.talks(dial(bench.leg(), ROME, "studio")).await,
            bench.toll_to("+390612345678", "pool").await,
            bench.talks(dial(bench.leg(), ROME, "pool")).await,
            bench.talks(dial(bench.leg(), NEW_YORK, "pool")).await,
        ];
        assert_eq!(bench.withdrawn(&legs).await, [None; 7]);
        changed(&bench, before, &after).await;
        assert_eq!(bench.withdrawn(&legs).await, expected, "{before} -> {after}");
        for (leg, expected) in legs.iter().zip(expected) {
            let asked_for_more = bench.store.extend(next(*leg, 1, 50_000)).await.unwrap();
            match expected {
                Some(cause) => assert_eq!(asked_for_more, Opened::Refused(cause), "{after}"),
                None => assert!(matches!(asked_for_more, Opened::Granted(_)), "{after}: {asked_for_more:?}"),
            }
        }
        bench.audited().await;
        for (leg, cause) in legs.into_iter().zip(expected) {
            let cause = cause.unwrap_or(Cause::HungUp);
            let end = End::new(cause, EndedBy::Bridge, 50_000, NOON.plus_millis(50_000));
            assert_eq!(bench.store.settle(leg, end).await.unwrap().beyond.cause, cause);
        }
        assert_eq!(bench.balance("aurora").await.held, Micros::ZERO);
        bench.audited().await;
    }
}

#[tokio::test]
async fn new_prices_end_nothing_and_no_rate_at_all_ends_nothing() {
    let bench = Bench::peopled().await;
    let leg = bench.talks(dial(bench.leg(), ROME, "studio")).await;
    let dearer = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from,class\n\
                  dial-in-toll,39,Italy,9.0000,0,60,60,2020-01-01,standard\n";
    let document = Document::parse("dearer.toml", "rates = \"rates.csv\"\n", |_| Ok(dearer.to_owned())).unwrap();
    bench.store.apply(document, NOON).await.unwrap().unwrap();
    assert_eq!(bench.withdrawn(&[leg]).await, [None]);
    grant(bench.store.extend(next(leg, 1, 50_000)).await.unwrap());
    assert_eq!(bench.store.settle(leg, over(61_000)).await.unwrap().charge, micros("0.04"));
    assert_eq!(bench.store.open_leg(dial(bench.leg(), ROME, "studio")).await.unwrap(), Opened::Refused(Cause::NoRate));
    bench.audited().await;
}

#[tokio::test]
async fn a_leg_of_the_pool_does_not_go_over_to_credits_that_may_not_be_spent_any_more() {
    let bench = Bench::peopled().await;
    let leg = bench.talks(dial(bench.leg(), ROME, "pool")).await;
    let paola = "\"audio-conferencing\", \"communications-credits\", \"extended-dial-out\"";
    changed(&bench, paola, "\"audio-conferencing\"").await;
    assert_eq!(bench.withdrawn(&[leg]).await, [None]);
    // An hour of the pool, all of it, in slices of a minute.
    let mut until_ms = 60_000;
    let mut answers = Vec::new();
    for sequence in 1..=61 {
        answers.push(bench.store.extend(next(leg, sequence, until_ms - 10_000)).await.unwrap());
        if let Opened::Granted(grant) = answers[answers.len() - 1] {
            until_ms = grant.until_ms;
        }
    }
    assert_eq!(until_ms, 3_600_000);
    assert_eq!(answers.pop(), Some(Opened::Refused(Cause::CreditsLicenceMissing)));
    let record = bench.store.settle(leg, over(3_600_000)).await.unwrap();
    assert_eq!((record.charge, record.beyond.pool_used_ms), (Micros::ZERO, 3_600_000));
    bench.audited().await;
}

#[tokio::test]
async fn who_is_locked_has_no_new_calls_and_is_unlocked_by_nobody_who_does_not_say_so() {
    let bench = Bench::peopled().await;
    changed(&bench, "id = \"aurora\"\n", "id = \"aurora\"\nlocked = \" a stolen PIN \"\n").await;
    let locked = |bench: &Bench| bench.store.facts().organisations[&"aurora".parse().unwrap()].locked.clone();
    let refused = async |bench: &Bench| bench.store.open_leg(toll(bench.leg())).await.unwrap();
    assert_eq!(refused(&bench).await, Opened::Refused(Cause::OrganisationLocked));
    bench.apply(&format!("{FILE}{PEOPLE}")).await.unwrap();
    assert_eq!(locked(&bench).map(|lock| lock.why).as_deref(), Some("a stolen PIN"), "the usual file");
    let entry = EntryId::Organisation("aurora".parse().unwrap());
    let change = |step| Change { entry: entry.clone(), of: None, step };
    let put = ChangeStep::Put(r#"{"country":"IT","volume_licensing":true}"#.into());
    bench.store.change(change(put), NOON).await.unwrap().unwrap();
    assert_eq!(refused(&bench).await, Opened::Refused(Cause::OrganisationLocked));
    let reopened = bench.reopened().await;
    assert_eq!(refused(&reopened).await, Opened::Refused(Cause::OrganisationLocked));
    let patch = ChangeStep::Patch(r#"{"locked":null}"#.into());
    let changed = reopened.store.change(change(patch), NOON).await.unwrap().unwrap();
    assert_eq!(changed.keys, ["locked"]);
    assert!(matches!(refused(&reopened).await, Opened::Granted(_)));
    // A user likewise; an empty text opens.
    let file = |locked: &str| FILE.replace("id = \"anna\"\n", &format!("id = \"anna\"\n{locked}"));
    reopened.apply(&file("locked = \"gone\"\n")).await.unwrap();
    assert_eq!(refused(&reopened).await, Opened::Refused(Cause::OrganiserLocked));
    reopened.apply(FILE).await.unwrap();
    assert_eq!(refused(&reopened).await, Opened::Refused(Cause::OrganiserLocked));
    reopened.apply(&file("locked = \"\"\n")).await.unwrap();
    assert!(matches!(refused(&reopened).await, Opened::Granted(_)));
    // And a carrier, whose calls that run are its own choice.
    let file = |locked: &str| FILE.replace("id = \"local\"\n", &format!("id = \"local\"\n{locked}"));
    let carrier = |bench: &Bench| bench.store.facts().directory.carrier(&"local".parse().unwrap()).unwrap().clone();
    reopened.apply(&file("locked = \"an attack\"\n")).await.unwrap();
    assert!(carrier(&reopened).cuts());
    reopened.apply(&file("on_lock = \"finish\"\n")).await.unwrap();
    let finishing = carrier(&reopened);
    assert_eq!((finishing.locked.as_deref(), finishing.cuts()), (Some("an attack"), false));
    assert!(reopened.apply(&file("on_lock = \"wait\"\n")).await.unwrap_err()[0].text.contains("cut finish"));
    reopened.apply(&file("locked = \"\"\n")).await.unwrap();
    assert_eq!(carrier(&reopened).locked, None);
    let long = format!("locked = \"{}\"\n", "x".repeat(LONGEST_LOCK + 1));
    assert!(reopened.apply(&file(&long)).await.unwrap_err()[0].text.contains("at most 300 bytes"));
}

#[tokio::test]
async fn revoked_legs_are_closed_all_at_once_as_they_stand() {
    let bench = Bench::peopled().await;
    let paid = bench.toll_to("+390612345678", "studio").await;
    let out = bench.talks(dial(bench.leg(), ROME, "studio")).await;
    let rings = bench.leg();
    grant(bench.store.open_leg(dial(rings, ROME, "studio")).await.unwrap());
    let others = bench.talks(dial(bench.leg(), ROME, "pool")).await;
    for leg in [paid, out] {
        grant(bench.store.extend(next(leg, 1, 50_000)).await.unwrap());
    }
    // Of the first the switchboard knows how long it has talked; of the others only their last proofs of life are known.
    let end = End::new(Cause::Revoked, EndedBy::Bridge, 65_000, NOON.plus_millis(65_000));
    let asked = Revoke { ends: Some(HashMap::from([(paid, end)])), ..bench.revoke() };
    let who = Who { name: "olga".into(), door: TrailDoor::Api, role: None, organisation: None };
    let store = bench.store.by(who);
    let first = store.revoke(asked.clone()).await.unwrap();
    assert_eq!((first.legs, first.charge), (vec![paid], micros("0.02")), "the ends of the others are on their way");
    let blind = Revoke { ends: None, ..asked.clone() };
    let revoked = store.revoke(blind.clone()).await.unwrap();
    assert_eq!(revoked.legs, [out, rings]);
    // One minute of two that were held, at two cents; one more that the ringing one held.
    assert_eq!((revoked.charge, revoked.released), (micros("0.02"), micros("0.04")));
    let balance = bench.balance("aurora").await;
    assert_eq!((balance.posted, balance.held, balance.burn_nanos), (micros("0.96"), Micros::ZERO, 0));
    bench.audited().await;
    for (leg, elapsed_ms) in [(paid, 65_000), (out, 50_000), (rings, 0)] {
        let record = bench.store.record(leg).await.unwrap();
        assert_eq!((record.beyond.cause, record.duration_ms), (Cause::Revoked, elapsed_ms));
        // It hears of it when it asks, and its own end changes nothing.
        assert_eq!(bench.store.extend(next(leg, 2, 70_000)).await.unwrap(), Opened::Refused(Cause::Revoked));
        assert_eq!(bench.store.settle(leg, over(70_000)).await.unwrap(), record);
    }
    assert_eq!(bench.store.live_legs().await.unwrap().iter().map(|leg| leg.leg).collect::<Vec<_>>(), [others]);
    assert_eq!(bench.store.revoke(blind).await.unwrap(), Revoked::default(), "nothing is left");
    assert!(matches!(bench.store.open_leg(toll(bench.leg())).await.unwrap(), Opened::Granted(_)), "not locked");
    let trail = bench.store.trail(&TrailFilter::default()).await.unwrap();
    let row = trail.iter().find(|row| row.verb == "revoke").unwrap();
    assert_eq!((row.who.as_str(), row.what.as_str()), ("olga", "organisation aurora"));
    assert!(row.detail.contains("a stolen PIN") && row.detail.contains("0.02"), "{}", row.detail);
    bench.audited().await;
}

#[tokio::test]
async fn what_is_revoked_is_what_was_named() {
    let pooled = |asked: Revoke| Revoke { organisation: "pooled".parse().unwrap(), ..asked };
    type Ask = fn(Revoke, &[LegId]) -> Revoke;
    // Toll in (included), out to Rome in the pool, out to New York by the add-on.
    let cases: [(&str, Ask, &[usize]); 6] = [
        ("what spends: nothing does", |asked, _| asked, &[]),
        ("calls out", |asked, _| Revoke { dial_out: true, ..asked }, &[1, 2]),
        ("a leg", |asked, legs| Revoke { leg: Some(legs[0]), ..asked }, &[0]),
        (
            "of a user",
            |asked, _| Revoke { dial_out: true, user: Some("paola".parse().unwrap()), ..asked },
            &[1, 2],
        ),
        (
            "of a meeting",
            |asked, _| Revoke { dial_out: true, meeting: Some("pool".parse().unwrap()), ..asked },
            &[1, 2],
        ),
        ("nobody's", |asked, _| Revoke { leg: Some(LegId::new(1, 1)), ..asked }, &[]),
    ];
    for (name, ask, expected) in cases {
        let bench = Bench::peopled().await;
        let legs = [
            bench.toll_to("+390612345678", "pool").await,
            bench.talks(dial(bench.leg(), ROME, "pool")).await,
            bench.talks(dial(bench.leg(), NEW_YORK, "pool")).await,
        ];
        let stranger = bench.toll_to("+390612345678", "studio").await;
        let revoked = bench.store.revoke(ask(pooled(bench.revoke()), &legs)).await.unwrap();
        let expected: Vec<LegId> = expected.iter().map(|at| legs[*at]).collect();
        assert_eq!(revoked.legs, expected, "{name}");
        assert!(bench.store.live_legs().await.unwrap().iter().any(|leg| leg.leg == stranger));
        bench.audited().await;
    }
    let bench = Bench::peopled().await;
    for asked in [
        Revoke { organisation: "nobody".parse().unwrap(), ..bench.revoke() },
        Revoke { user: Some("paola".parse().unwrap()), ..bench.revoke() },
        Revoke { meeting: Some("pool".parse().unwrap()), ..bench.revoke() },
    ] {
        assert!(matches!(bench.store.revoke(asked).await, Err(StoreError::Unknown(_))));
    }
}

#[tokio::test]
async fn revoked_and_locked_the_rest_may_not_go_on_either() {
    let bench = Bench::peopled().await;
    let legs = [bench.toll_to("+390612345678", "pool").await, bench.talks(dial(bench.leg(), ROME, "pool")).await];
    let by_user = Revoke {
        organisation: "pooled".parse().unwrap(),
        user: Some("paola".parse().unwrap()),
        lock: true,
        ..bench.revoke()
    };
    assert_eq!(bench.store.revoke(by_user.clone()).await.unwrap().legs, []);
    assert_eq!(bench.withdrawn(&legs).await, [Some(Cause::OrganiserLocked); 2]);
    bench.store.revoke(Revoke { user: None, ..by_user }).await.unwrap();
    assert_eq!(bench.withdrawn(&legs).await, [Some(Cause::OrganisationLocked); 2]);
    assert_eq!(
        bench.store.open_leg(dial(bench.leg(), ROME, "pool")).await.unwrap(),
        Opened::Refused(Cause::OrganisationLocked)
    );
    let why = bench.store.facts().users[&"paola".parse().unwrap()].locked.clone();
    assert_eq!(why, Some(Lock { why: "a stolen PIN".to_owned(), by: Locker::House }));
}

/// Opens the books under another node's name as soon as they are free.
async fn as_node(url: &str, folder: &TempDir, node: &str) -> Store {
    loop {
        match Store::open(url, Options { node: node.to_owned(), ..options(folder) }).await {
            Err(OpenError::Held { .. }) => tokio::task::yield_now().await,
            other => return other.unwrap(),
        }
    }
}

/// A node dies, and the switch is thrown elsewhere before it starts again: its next life still ends the calls, once, unless
/// their callers were forgotten meanwhile.
#[tokio::test]
async fn a_call_whose_account_another_node_closed_is_ended_by_the_next_life_of_its_own() {
    let bench = Bench::peopled().await;
    let toll = bench.toll_to("+390612345678", "studio").await;
    let out = bench.talks(dial(bench.leg(), "+447700900123", "studio")).await;
    let forgotten = OpenLeg { caller: Some(number("+393339999999")), ..asked(bench.leg(), CallType::DialInToll, "+390612345678", Some("studio")) };
    let forgotten = bench.talks(forgotten).await;
    let pooled = bench.toll_to("+390612345678", "pool").await;
    let revoke = bench.revoke();
    let super::Bench { folder, url, store, .. } = bench;
    drop(store);
    let other = as_node(&url, &folder, "other").await;
    let revoked = other.revoke(revoke).await.unwrap();
    assert_eq!(revoked.legs, [toll, out, forgotten]);
    other.forget(Forget { whom: Whom::Number(number("+393339999999")), dry_run: false }, NOON).await.unwrap();
    assert_eq!(other.recover(NOON).await.unwrap(), [], "they are not its calls");
    drop(other);
    let own = as_node(&url, &folder, "bridge").await;
    let left = own.recover(NOON.plus_millis(60_000)).await.unwrap();
    let told: Vec<_> = left.iter().map(|orphan| (orphan.leg, orphan.is_paid, orphan.journal.clone())).collect();
    let journal = |leg: LegId| format!("journal of {leg}");
    assert_eq!(told, [(out, true, journal(out)), (toll, true, journal(toll)), (pooled, false, journal(pooled))]);
    for leg in [toll, out] {
        assert_eq!(own.record(leg).await.unwrap().beyond.cause, Cause::Revoked, "it is charged once");
    }
    own.buried(vec![out, pooled]).await.unwrap();
    assert_eq!(own.recover(NOON).await.unwrap().iter().map(|orphan| orphan.leg).collect::<Vec<_>>(), [toll]);
    // It has ended by itself, and its node says so.
    own.settle(toll, over(20_000)).await.unwrap();
    assert_eq!(own.recover(NOON).await.unwrap(), []);
    assert_eq!(own.audit().await.unwrap(), []);
}

/// A call that the bridge itself hung up is owed its BYE until that was answered, and so is one that a switch has closed; not
/// for ever.
#[tokio::test]
async fn a_bye_is_owed_until_it_has_run_its_course_or_for_a_day() {
    let bench = Bench::new().await;
    let [heard, unheard, revoked, old, stepped] = [(); 5].map(|()| bench.leg());
    for leg in [heard, unheard, revoked, old, stepped] {
        grant(bench.store.open_leg(OpenLeg { journal: format!("journal of {leg}"), ..toll(leg) }).await.unwrap());
        bench.store.answered(answer(leg)).await.unwrap();
    }
    let owed = |end: End| End { owes_bye: true, ..end };
    bench.store.settle(heard, over(20_000)).await.unwrap();
    bench.store.settle(unheard, owed(over(20_000))).await.unwrap();
    // Said again, for want of an answer.
    bench.store.settle(unheard, owed(over(20_000))).await.unwrap();
    bench.store.settle(old, owed(End { at: Wall::from_micros(NOON.micros() - 1), ..over(20_000) })).await.unwrap();
    // By a clock that was put right only after it.
    bench.store.settle(stepped, owed(End { at: Wall::from_seconds(1_000), ..over(20_000) })).await.unwrap();
    let end = owed(End::new(Cause::Revoked, EndedBy::Bridge, 30_000, NOON.plus_millis(30_000)));
    let revoke = Revoke { leg: Some(revoked), ends: Some(HashMap::from([(revoked, end)])), ..bench.revoke() };
    assert_eq!(bench.store.revoke(revoke.clone()).await.unwrap().legs, [revoked]);
    // Its call has ended since, and the far side has yet to hear it.
    bench.store.settle(revoked, owed(over(31_000))).await.unwrap();
    let bench = bench.reopened().await;
    let left = bench.store.recover(NOON.plus_millis(40_000)).await.unwrap();
    let told: Vec<_> = left.iter().map(|orphan| (orphan.leg, orphan.journal.clone())).collect();
    assert_eq!(told, [unheard, revoked, old, stepped].map(|leg| (leg, format!("journal of {leg}"))), "none before it was said");
    assert_eq!(bench.store.recover(NOON.plus_millis(40_000)).await.unwrap(), left, "asked again");
    let bench = bench.reopened().await;
    let day_later = NOON.plus_millis(24 * 3_600_000);
    let left = bench.store.recover(day_later).await.unwrap();
    assert_eq!(left.iter().map(|orphan| orphan.leg).collect::<Vec<_>>(), [unheard, revoked], "two are too old");
    bench.store.buried(vec![unheard]).await.unwrap();
    // Whoever threw the switch and was not answered asks again, and is told what it has ended.
    let again = bench.store.revoke(revoke).await.unwrap();
    assert_eq!((again.legs, again.charge), (vec![revoked], micros("0.01")));
    bench.store.settle(revoked, over(31_000)).await.unwrap();
    assert_eq!(bench.store.recover(day_later).await.unwrap(), []);
    bench.audited().await;
}
