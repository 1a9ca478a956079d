//! Two nodes that write the same books at the same time, on a server: what one has taken the other cannot take again.

use super::*;
use tokio::task::JoinSet;

/// Two nodes beside each other.
struct Two {
    stores: [Store; 2],
    _folders: [TempDir; 2],
}

impl Two {
    async fn new(file: &str) -> Two {
        let folder = tempfile::tempdir().unwrap();
        let url = Postgres::url(&folder).await;
        let one = Store::open(&url, Options { node: "one".to_owned(), ..options(&folder) }).await.unwrap();
        let folders = [elsewhere(&folder), folder];
        one.apply(document(file).unwrap(), NOON).await.unwrap().unwrap();
        let other = Store::open(&url, Options { node: "other".to_owned(), ..options(&folders[0]) }).await.unwrap();
        Two { stores: [one, other], _folders: folders }
    }

    /// So many calls at once, by either node in turn: what became of them.
    async fn burst(&self, legs: std::ops::Range<u64>, meetings: [&'static str; 2]) -> Vec<(LegId, Opened)> {
        let mut tasks = JoinSet::new();
        for n in legs {
            let node = n as usize % 2;
            let (store, meeting) = (self.stores[node].clone(), meetings[node]);
            let leg = LegId::new(1_781_611_200_000 + n, u128::from(n));
            tasks.spawn(async move {
                (leg, insist(&store, OpenLeg { meeting: Some(meeting.parse().unwrap()), ..toll(leg) }).await)
            });
        }
        tasks.join_all().await
    }

    fn granted(told: &[(LegId, Opened)]) -> usize {
        told.iter().filter(|(_, opened)| matches!(opened, Opened::Granted(_))).count()
    }
}

/// Books of an older program on which another node runs: to try anything on them as they would be would lock its tables.
#[tokio::test]
async fn a_trial_on_older_books_holds_no_node_up() {
    let folder = tempfile::tempdir().unwrap();
    let url = Postgres::url(&folder).await;
    let one = Store::open(&url, Options { node: "one".to_owned(), ..options(&folder) }).await.unwrap();
    let other = Options { node: "other".to_owned(), folder: folder.path().join("other"), ..options(&folder) };
    let tried = Rehearsal::open(&url, &other).await.unwrap();
    assert_eq!(tried.editions().found, schema::NEWEST, "of this edition nothing is locked");
    drop(tried);
    let mut conn = io::write_beside(&url).await.unwrap();
    let newest = |sql| sql::query(sql).bind(schema::NEWEST);
    newest("DELETE FROM schema_edition WHERE number = $1").execute(&mut conn).await.unwrap();
    let refused = Rehearsal::open(&url, &other).await.map(|_| ()).unwrap_err();
    assert!(
        matches!(&refused, OpenError::OlderRuns { found, node, .. } if *found < schema::NEWEST && node == "one"),
        "{refused}"
    );
    assert!(!folder.path().join("other").exists());
    newest("INSERT INTO schema_edition VALUES ($1)").execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    drop(one);
}

/// Each node keeps what it has counted itself, beside what others have, and begins with all of it.
#[tokio::test]
async fn each_node_keeps_its_own_wrong_tries_and_begins_with_all() {
    use crate::trunk::{Caller, KeptTries, Tried};
    let two = Two::new(FILE).await;
    let tried = Tried::By(Caller::Number("+393339998877".parse().unwrap()));
    let kept = |seconds: &[u64], elsewhere| {
        let moments = seconds.iter().map(|second| NOON.plus_millis(second * 1_000)).collect();
        KeptTries { tried: tried.clone(), moments, elsewhere }
    };
    let [one, other] = &two.stores;
    one.keep_tries(vec![kept(&[1], false)], NOON).await.unwrap();
    other.keep_tries(vec![kept(&[2, 3], false)], NOON).await.unwrap();
    one.keep_tries(vec![kept(&[1, 4], false)], NOON).await.unwrap();
    assert_eq!(one.kept_tries(NOON).await.unwrap(), [kept(&[1, 4], false), kept(&[2, 3], true)]);
    assert_eq!(other.kept_tries(NOON).await.unwrap(), [kept(&[1, 4], true), kept(&[2, 3], false)]);
}

/// Whoever meets the other node too often asks again.
async fn insist(store: &Store, asked: OpenLeg) -> Opened {
    for _ in 0..100 {
        match store.open_leg(asked.clone()).await {
            Err(error) if error.is_passing() => tokio::task::yield_now().await,
            other => return other.unwrap(),
        }
    }
    panic!("the other node is always quicker");
}

/// [`FILE`] with a second organisation that pays, money enough, and these limits.
fn file(limits: &str, carrier: &str) -> String {
    let dora = "[[organisation]]\nid = \"corona\"\ncountry = \"IT\"\nvolume_licensing = true\ncredits = \"100.00\"\n\
         [[organisation.user]]\nid = \"dora\"\nlicences = [\"pay-per-minute\"]\n\
         [[organisation.meeting]]\nid = \"loft\"\norganiser = \"dora\"\nconference_id = \"1000004\"\n";
    let credits = format!("credits = \"100.00\"\n[organisation.limits]\n{limits}");
    let file = FILE.replacen("credits = \"1.00\"", &credits, 1);
    let file = file.replacen("[[number]]", &format!("{dora}[[number]]"), 1);
    file.replacen("id = \"local\"\n", &format!("id = \"local\"\n{carrier}\n"), 1)
}

/// A call's first minute is 0.01.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_at_once_do_not_both_pass_a_limit() {
    let of_carrier = ("", "max_spend_per_day = \"0.13\"", ["studio", "loft"]);
    let of_organiser = ("organiser_spend_per_day = \"0.13\"", "", ["studio", "studio"]);
    let of_meeting = ("meeting_spend_per_day = \"0.13\"", "", ["studio", "studio"]);
    for (limits, carrier, meetings) in [of_carrier, of_organiser, of_meeting] {
        let two = Two::new(&file(limits, carrier)).await;
        for round in 0..4 {
            let told = two.burst(round * 100..round * 100 + 60, meetings).await;
            let granted = Two::granted(&told);
            assert_eq!(granted, 13, "{limits}{carrier}");
            let live = two.stores[0].live_legs().await.unwrap();
            let held: Micros = live.iter().map(|leg| leg.credit_held).sum();
            assert_eq!(held, micros("0.13"));
            assert_eq!(two.stores[1].audit().await.unwrap(), []);
            // Each of them given back by the other node: there is room again.
            let mut ends = JoinSet::new();
            for (leg, _) in told {
                let store = two.stores[(leg.as_u128() as usize + 1) % 2].clone();
                ends.spawn(async move {
                    while let Err(error) = store.settle(leg, over(0)).await {
                        assert!(error.is_passing(), "{error}");
                    }
                });
            }
            ends.join_all().await;
            assert_eq!(two.stores[0].audit().await.unwrap(), []);
        }
    }
}

/// Nor by calls that come to a carrier from another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_reroute_at_once_do_not_both_pass_a_limit() {
    let small = "[[carrier]]\nid = \"small\"\nroute = \"udp:192.0.2.1:5060\"\nmax_spend_per_day = \"0.13\"\n";
    let two = Two::new(&(file("", "") + small)).await;
    let told = two.burst(0..60, ["studio", "loft"]).await;
    assert_eq!(Two::granted(&told), 60);
    let mut tasks = JoinSet::new();
    for (leg, _) in told {
        let store = two.stores[leg.as_u128() as usize % 2].clone();
        let asked = move || Rerouted {
            leg,
            carrier: "small".parse().unwrap(),
            call_id: "second".to_owned(),
            journal: "second".to_owned(),
        };
        tasks.spawn(async move {
            loop {
                match store.rerouted(asked()).await {
                    Ok(()) => return true,
                    Err(StoreError::Refused(Cause::CarrierSpendLimit)) => return false,
                    Err(error) => assert!(error.is_passing(), "{error}"),
                }
            }
        });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|moved| *moved).count(), 13);
    assert_eq!(two.stores[0].audit().await.unwrap(), []);
}

/// Money of a grant counts too, whichever node takes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_at_once_do_not_both_pass_a_limit_on_a_grant() {
    use crate::rating::grant::Unit;
    let of_organisation = ("max_spend_per_day = \"0.13\"", "");
    let of_meeting = ("meeting_spend_per_day = \"0.13\"", "");
    let of_carrier = ("", "max_spend_per_day = \"0.13\"");
    for (limits, carrier) in [of_organisation, of_meeting, of_carrier] {
        let two = Two::new(&file(limits, carrier)).await;
        let given = super::postgres::granting::gift("welcome", Unit::Money, 5_000_000);
        two.stores[0].add_grant(given).await.unwrap();
        for round in 0..2 {
            let told = two.burst(round * 100..round * 100 + 40, ["studio", "studio"]).await;
            assert_eq!(Two::granted(&told), 13, "{limits}{carrier}");
            assert_eq!(two.stores[1].audit().await.unwrap(), []);
            for (leg, _) in told {
                let store = &two.stores[(leg.as_u128() as usize + 1) % 2];
                while let Err(error) = store.settle(leg, over(0)).await {
                    assert!(error.is_passing(), "{error}");
                }
            }
            assert_eq!(two.stores[0].audit().await.unwrap(), []);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_at_once_do_not_both_take_the_last_of_an_account() {
    let two = Two::new(&FILE.replace("\"1.00\"", "\"0.07\"")).await;
    let told = two.burst(0..100, ["studio", "studio"]).await;
    assert_eq!(Two::granted(&told), 7);
    // Money that comes in by one is seen by the other.
    two.stores[0].add_credits(funds("more", "0.02")).await.unwrap();
    let told = two.burst(100..140, ["studio", "studio"]).await;
    assert_eq!(Two::granted(&told), 2);
    assert_eq!(two.stores[0].audit().await.unwrap(), []);
}
