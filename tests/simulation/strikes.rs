//! A statement that fails takes its whole batch with it: SQLite may have taken all back by itself then, and whatever is
//! written after it would stay.

use crate::trouble::{Blow, Trouble};
use tollbridge::clock::Wall;
use tollbridge::rating::CallType;
use tollbridge::rating::record::EndedBy;
use tollbridge::store::{Document, End, OpenLeg, Options, Store, StoreError};
use tollbridge::types::{Cause, LegId};

const NOON: Wall = Wall::from_seconds(1_781_611_200);

const FILE: &str = "rates = \"rates.csv\"\n[[organisation]]\nid = \"house\"\ncountry = \"IT\"\ncredits = \"5\"\n\
    [[organisation.user]]\nid = \"owner\"\nlicences = [\"audio-conferencing\", \"communications-credits\"]\ndial_out = \"any\"\n\
    [[organisation.meeting]]\nid = \"studio\"\norganiser = \"owner\"\nconference_id = \"1000001\"\n";

const DECK: &str = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from\n\
    dial-out,44,Somewhere,0.01,0,60,60,2020-01-01\n";

fn call(n: u64) -> OpenLeg {
    OpenLeg {
        leg: LegId::new(n, u128::from(n)),
        call_type: CallType::DialOut,
        number: "+442079460000".parse().unwrap(),
        caller: None,
        carrier: None,
        call_id: format!("call-{n}"),
        journal: String::new(),
        invited: NOON,
        meeting: Some("studio".parse().unwrap()),
    }
}

/// Four calls at once, each of which takes of the pool: at each statement of theirs in turn, something goes wrong.
#[tokio::test]
async fn nothing_of_a_batch_stays_where_one_of_its_statements_failed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let trouble = Trouble::at(&path);
    let store = Store::open(&format!("sqlite:{}", path.display()), Options::default()).await.unwrap();
    let document = Document::parse("file", FILE, |_| Ok(DECK.to_owned())).unwrap();
    store.apply(document, NOON).await.unwrap().unwrap();
    let mut legs = 1..;
    for statement in 0.. {
        let calls: Vec<OpenLeg> = legs.by_ref().take(4).map(call).collect();
        trouble.aim(statement, Blow::Fails);
        let asked = calls.iter().cloned().map(|call| {
            let store = store.clone();
            tokio::spawn(async move { store.open_leg(call).await })
        });
        let asked: Vec<_> = asked.collect();
        let mut failed = 0;
        for answer in asked {
            failed += u32::from(answer.await.unwrap().is_err());
        }
        trouble.heal();
        let dealt = trouble.dealt();
        assert!(failed == 0 || !dealt.is_empty(), "{statement}");
        let pool = store.pool(&"house".parse().unwrap(), NOON).await.unwrap();
        let live = store.live_legs().await.unwrap();
        assert_eq!(pool.held_ms, live.len() as u64 * 60_000, "{statement}: {dealt:?}: held of the pool, and by legs");
        for call in calls {
            match store.settle(call.leg, End::new(Cause::HungUp, EndedBy::Bridge, 0, NOON)).await {
                Ok(_) | Err(StoreError::Unknown(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(store.audit().await.unwrap(), [], "{statement}: {dealt:?}");
        if dealt.is_empty() {
            assert!(statement > 5, "a batch has more statements than that");
            break;
        }
    }
    Trouble::gone(&path);
}
