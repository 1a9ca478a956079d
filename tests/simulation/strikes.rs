//! A statement that fails takes its whole batch with it: SQLite may have taken all back by itself then, and whatever is
//! written after it would stay.

use crate::trouble::{Blow, Trouble};
use tempfile::TempDir;
use tollbridge::clock::Wall;
use tollbridge::rating::record::EndedBy;
use tollbridge::rating::{CallType, Origin};
use tollbridge::store::{
    Answered, Corrected, CreditsAdded, Document, End, Extend, Funds, FundsKind, OpenError, OpenLeg, Options, Refund,
    Store, StoreError,
};
use tollbridge::types::{Cause, LegId, Micros};

const NOON: Wall = Wall::from_seconds(1_781_611_200);

const FILE: &str = "rates = \"rates.csv\"\n[[organisation]]\nid = \"house\"\ncountry = \"IT\"\ncredits = \"5\"\n\
    [[organisation.user]]\nid = \"owner\"\nlicences = [\"audio-conferencing\", \"communications-credits\"]\ndial_out = \"any\"\n\
    [[organisation.meeting]]\nid = \"studio\"\norganiser = \"owner\"\nconference_id = \"1000001\"\n\
    [[organisation]]\nid = \"till\"\ncountry = \"IT\"\nvolume_licensing = true\ncredits = \"5000\"\n\
    [[organisation.user]]\nid = \"clerk\"\nlicences = [\"pay-per-minute\"]\ndial_out = \"any\"\n\
    [[organisation.meeting]]\nid = \"desk\"\norganiser = \"clerk\"\nconference_id = \"1000002\"\n";

const DECK: &str = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from\n\
    dial-out,44,Somewhere,0.01,0,60,60,2020-01-01\n";

fn call(n: u64) -> OpenLeg {
    call_of(n, "studio")
}

fn call_of(n: u64, meeting: &str) -> OpenLeg {
    OpenLeg {
        leg: LegId::new(n, u128::from(n)),
        call_type: CallType::DialOut,
        number: "+442079460000".parse().unwrap(),
        caller: None,
        origin: Origin::Fixed,
        carrier: None,
        call_id: format!("call-{n}"),
        journal: String::new(),
        invited: NOON,
        meeting: Some(meeting.parse().unwrap()),
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

/// Books that can be struck, and closed and opened again.
struct Desk {
    folder: TempDir,
    trouble: &'static Trouble,
    store: Option<Store>,
}

impl Desk {
    async fn new() -> Desk {
        let folder = tempfile::tempdir().unwrap();
        let trouble = Trouble::at(&folder.path().join("store.db"));
        let mut desk = Desk { folder, trouble, store: None };
        desk.open().await;
        let document = Document::parse("file", FILE, |_| Ok(DECK.to_owned())).unwrap();
        desk.store().apply(document, NOON).await.unwrap().unwrap();
        desk
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("it is open")
    }

    async fn open(&mut self) {
        let url = format!("sqlite:{}", self.folder.path().join("store.db").display());
        let store = loop {
            match Store::open(&url, Options::default()).await {
                Err(OpenError::Held { .. }) => tokio::task::yield_now().await,
                other => break other.unwrap(),
            }
        };
        self.store = Some(store);
    }

    async fn posted(&self) -> i64 {
        self.store().balance(&"till".parse().unwrap()).await.unwrap().posted.0
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        Trouble::gone(&self.folder.path().join("store.db"));
    }
}

/// What is asked at one moment.
#[derive(Clone)]
enum Ask {
    Open(OpenLeg),
    Extend(Extend),
    Settle(LegId),
    Pay(Funds),
    Refund(Refund),
}

impl Ask {
    /// Whether there is an answer of the books, as it should be.
    async fn of(self, store: &Store) -> Result<(), StoreError> {
        match self {
            Ask::Open(call) => store.open_leg(call).await.map(drop),
            Ask::Extend(extend) => store.extend(extend).await.map(drop),
            Ask::Settle(leg) => store.settle(leg, over(30_000)).await.map(drop),
            Ask::Pay(funds) => match store.add_credits(funds).await? {
                CreditsAdded::Booked | CreditsAdded::Repeated => Ok(()),
                other => panic!("{other:?}"),
            },
            Ask::Refund(refund) => match store.refund(refund).await? {
                Corrected::Booked(_) | Corrected::Repeated(_) => Ok(()),
                other => panic!("{other:?}"),
            },
        }
    }

    /// Whoever asks this lives on when the node is dead.
    fn is_of_people(&self) -> bool {
        matches!(self, Ask::Pay(_) | Ask::Refund(_))
    }
}

fn over(elapsed_ms: u64) -> End {
    End::new(Cause::HungUp, EndedBy::FarSide, elapsed_ms, NOON.plus_millis(elapsed_ms))
}

const PAID: i64 = 50_000;
const BACK: i64 = 1_000;

/// A birth, a slice, an end, a payment and a refund at one moment, and something goes wrong at each of their statements in
/// turn: who asks again has each of them done once.
async fn struck(blow: Blow) {
    let mut desk = Desk::new().await;
    let mut numbers = 1..;
    for statement in 0.. {
        let [talks, ends, over_already, comes] = [(); 4].map(|()| numbers.next().unwrap());
        let id = |n: u64| LegId::new(n, u128::from(n));
        for n in [talks, ends, over_already] {
            desk.store().open_leg(call_of(n, "desk")).await.unwrap();
            desk.store().answered(Answered { leg: id(n), at: NOON, journal: None }).await.unwrap();
        }
        desk.store().settle(id(over_already), over(10_000)).await.unwrap();
        let before = desk.posted().await;
        let organisation = "till".parse().unwrap();
        let (key, memo) = (format!("paid-{comes}"), String::new());
        let asks = [
            Ask::Open(call_of(comes, "desk")),
            Ask::Extend(Extend {
                leg: id(talks),
                sequence: 1,
                elapsed_ms: 50_000,
                proven_ms: 50_000,
                now: NOON.plus_millis(50_000),
            }),
            Ask::Settle(id(ends)),
            Ask::Pay(Funds { organisation, key, amount: Micros(PAID), kind: FundsKind::Funding, memo, at: NOON }),
            Ask::Refund(Refund {
                leg: id(over_already),
                amount: Some(Micros(BACK)),
                key: format!("back-{comes}"),
                reason: "a bad line".to_owned(),
                at: NOON.plus_millis(60_000),
            }),
        ];
        desk.trouble.aim(statement, blow);
        let asked = asks.clone().map(|ask| {
            let store = desk.store().clone();
            tokio::spawn(async move { ask.of(&store).await })
        });
        for answer in asked {
            let answer = answer.await.unwrap();
            assert!(answer.as_ref().err().is_none_or(StoreError::is_passing), "{statement}: {answer:?}");
        }
        let (dealt, died) = (desk.trouble.dealt(), desk.trouble.is_dead());
        if died {
            desk.store = None;
            let lock = std::fs::File::open(desk.folder.path().join("store.db.lock")).unwrap();
            while lock.try_lock().is_err() {
                tokio::task::yield_now().await;
            }
            drop(lock);
        }
        desk.trouble.heal();
        if died {
            desk.open().await;
            desk.store().recover(NOON.plus_millis(70_000)).await.unwrap();
        }
        for ask in asks.into_iter().filter(|ask| !died || ask.is_of_people()) {
            ask.of(desk.store()).await.unwrap_or_else(|error| panic!("{statement}, {dealt:?}: {error}"));
        }
        let mut charged = 0;
        for n in [talks, ends, comes] {
            match desk.store().settle(id(n), over(0)).await {
                Ok(record) => charged += record.charge.0,
                Err(error) => assert!(died && n == comes, "{statement}, {dealt:?}: {error}"),
            }
        }
        assert_eq!(desk.posted().await, before + PAID + BACK - charged, "{statement}, {dealt:?}");
        let balance = desk.store().balance(&"till".parse().unwrap()).await.unwrap();
        assert_eq!(balance.held, Micros::ZERO, "{statement}, {dealt:?}");
        assert_eq!(desk.store().live_legs().await.unwrap(), [], "{statement}, {dealt:?}");
        if dealt.is_empty() {
            assert!(statement > 20, "so much has more statements than that");
            break;
        }
    }
    assert_eq!(desk.store().audit().await.unwrap(), []);
}

#[tokio::test]
async fn a_lost_answer_at_any_statement_of_a_batch_is_made_good_by_asking_again() {
    struck(Blow::Fails).await;
}

#[tokio::test]
async fn a_death_before_any_statement_of_a_batch_loses_and_doubles_nothing() {
    struck(Blow::DiesBefore).await;
}

#[tokio::test]
async fn a_death_after_any_statement_of_a_batch_loses_and_doubles_nothing() {
    struck(Blow::DiesAfter).await;
}

/// A file is brought in, and books are opened, and something goes wrong at each of their statements in turn: it is told as
/// what it is, and not as books that are not as they should be.
#[tokio::test]
async fn a_fault_while_a_file_is_brought_in_or_books_are_opened_is_no_broken_book() {
    let mut desk = Desk::new().await;
    for statement in 0.. {
        let file = FILE.replace("1000001", &format!("{}", 1_000_100 + statement));
        let document = Document::parse("file", &file, |_| Ok(DECK.to_owned())).unwrap();
        desk.trouble.aim(statement, Blow::Fails);
        let told = desk.store().apply(document, NOON).await;
        let dealt = desk.trouble.dealt();
        desk.trouble.heal();
        assert!(told.as_ref().err().is_none_or(StoreError::is_passing), "{statement}, {dealt:?}: {told:?}");
        // Whatever came of it, what is in memory is what is in the books.
        desk.store().expire(NOON).await.unwrap();
        let shown = desk.store().facts().meeting_named(&(1_000_100 + statement).to_string()).is_some();
        assert!(shown || told.is_err(), "{statement}, {dealt:?}");
        desk.store = None;
        desk.open().await;
        let kept = desk.store().facts().meeting_named(&(1_000_100 + statement).to_string()).is_some();
        assert_eq!(kept, shown, "{statement}, {dealt:?}: in the books, and in memory");
        if dealt.is_empty() {
            assert!(statement > 20, "so much has more statements than that");
            break;
        }
    }
    for statement in 0.. {
        desk.store = None;
        let url = format!("sqlite:{}", desk.folder.path().join("store.db").display());
        let opened = loop {
            desk.trouble.aim(statement, Blow::Fails);
            match Store::open(&url, Options::default()).await {
                Err(OpenError::Held { .. }) => tokio::task::yield_now().await,
                other => break other,
            }
        };
        let dealt = desk.trouble.dealt();
        desk.trouble.heal();
        match opened {
            Ok(store) => desk.store = Some(store),
            Err(error) => assert!(matches!(error, OpenError::Database { .. }), "{statement}, {dealt:?}: {error}"),
        }
        if dealt.is_empty() {
            break;
        }
    }
}
