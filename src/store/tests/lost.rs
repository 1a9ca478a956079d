//! The network between the books and their server: connections that end between any two statements, answers that are lost,
//! packets that are swallowed. Whoever asks again is given the first answer, and the books are right.

use super::wire::{At, Cut, Wire, moment, pass, pause, within};
use super::*;
use std::time::Duration;

/// Books by way of a wire.
struct Line {
    wire: Wire,
    store: Store,
    folder: TempDir,
    url: String,
}

impl Line {
    async fn new(patience: Duration) -> Line {
        let url = server::schema().await;
        let folder = tempfile::tempdir().unwrap();
        let wire = Wire::to(&url).await;
        let store = Store::open(&wire.url(&url), Options { patience, ..options(&folder) }).await.unwrap();
        store.apply(document(FILE).unwrap(), NOON).await.unwrap().unwrap();
        Line { wire, store, folder, url }
    }

    /// Asks until the books can be written: the answer, and how often they could not.
    async fn insist<T, F: Future<Output = Result<T, StoreError>>>(&self, ask: impl Fn() -> F) -> (T, u32) {
        for failed in 0..1_000 {
            match ask().await {
                Ok(answer) => return (answer, failed),
                Err(error) => assert!(error.is_passing(), "{error}"),
            }
            pause().await;
        }
        panic!("the books do not come back");
    }

    async fn available(&self) -> Micros {
        self.store.balance(&"aurora".parse().unwrap()).await.unwrap().available
    }
}

/// What is asked for money. Each takes or gives, of a leg in the state that it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Open,
    Extend,
    Settle,
    Fund,
    Refund,
}

impl Request {
    const ALL: [Request; 5] = [Request::Open, Request::Extend, Request::Settle, Request::Fund, Request::Refund];

    /// What has to have been before.
    async fn prepare(self, store: &Store, leg: LegId) {
        if matches!(self, Request::Open | Request::Fund) {
            return;
        }
        grant(store.open_leg(dial(leg, "+447700900123", "studio")).await.unwrap());
        store.answered(answer(leg)).await.unwrap();
        if self == Request::Refund {
            store.settle(leg, over(10_000)).await.unwrap();
        }
    }

    /// Its answer, but for the names that are in it.
    async fn ask(self, store: &Store, leg: LegId) -> Result<String, StoreError> {
        Ok(match self {
            Request::Open => format!("{:?}", store.open_leg(dial(leg, "+447700900123", "studio")).await?),
            Request::Extend => format!("{:?}", store.extend(next(leg, 1, 50_000)).await?),
            Request::Settle => format!("{:?}", store.settle(leg, over(30_000)).await?.charge),
            Request::Fund => match store.add_credits(funds(&format!("fund-{leg}"), "0.05")).await? {
                CreditsAdded::Booked | CreditsAdded::Repeated => "booked".to_owned(),
                other => panic!("{other:?}"),
            },
            Request::Refund => {
                let (key, reason) = (format!("refund-{leg}"), "a bad line".to_owned());
                let amount = Some(micros("0.001"));
                match store.refund(Refund { leg, amount, key, reason, at: NOON.plus_millis(60_000) }).await? {
                    Corrected::Booked(one) | Corrected::Repeated(one) => format!("{:?} {}", one.amount, one.number),
                    other => panic!("{other:?}"),
                }
            }
        })
    }

    /// Leaves nothing held, so that the next try finds what this one found.
    async fn clear(self, store: &Store, leg: LegId) {
        if matches!(self, Request::Open | Request::Extend) {
            store.settle(leg, over(0)).await.unwrap();
        }
    }
}

/// At each statement of each request in turn, its answer lost or itself; at COMMIT, too, whose answer nobody has.
#[tokio::test]
async fn a_crash_between_any_two_statements_changes_nothing_and_is_made_good_by_asking_again() {
    let line = Line::new(Duration::from_secs(5)).await;
    let store = &line.store;
    store.add_credits(funds("plenty", "1000")).await.unwrap();
    let mut legs = (1..).map(|n| LegId::new(1_781_611_200_000 + n, u128::from(n)));
    for request in Request::ALL {
        let mut moved = None;
        for cut in [Cut::Before, Cut::After] {
            for statement in 1.. {
                let leg = legs.next().unwrap();
                request.prepare(store, leg).await;
                let before = line.available().await;
                line.wire.cut(At::Statement(statement), cut);
                let (first, failed) = line.insist(|| request.ask(store, leg)).await;
                let was_cut = line.wire.was_cut();
                let after = line.available().await;
                let place = format!("{request:?}, statement {statement}, {cut:?}");
                assert_eq!(failed > 0, was_cut, "{place}: who was cut off is told");
                assert_eq!(request.ask(store, leg).await.unwrap(), first, "{place}: the first answer");
                assert_eq!(line.available().await, after, "{place}: a repeat moves nothing");
                // Each is the same as any other of its kind, whatever happened to it.
                assert_eq!(*moved.get_or_insert(after.0 - before.0), after.0 - before.0, "{place}: once");
                request.clear(store, leg).await;
                if !was_cut {
                    assert!(statement > 5, "{place}: a batch has more statements than that");
                    break;
                }
            }
        }
        assert_ne!(moved, Some(0), "{request:?} moves money");
        assert_eq!(store.audit().await.unwrap(), [], "{request:?}");
    }
    assert_eq!(store.live_legs().await.unwrap(), []);
}

/// It is in the books, and whoever applied it does not know: what is in memory is what is in the books all the same.
#[tokio::test]
async fn facts_whose_commit_was_not_answered_are_those_of_the_books() {
    let line = Line::new(Duration::from_secs(5)).await;
    let more = FILE.replace("id = \"studio\"", "id = \"atelier\"").replace("1000001", "1000009");
    for (cut, is_there) in [(Cut::Before, false), (Cut::After, true)] {
        let version = line.store.facts().version;
        line.wire.cut(At::Commit, cut);
        let told = line.store.apply(document(&more).unwrap(), NOON).await;
        assert!(matches!(told, Err(StoreError::Down(_))), "{told:?}");
        // The next request finds a connection, and with it what is there.
        line.insist(|| line.store.open_leg(toll(LegId::new(1, 1)))).await;
        let facts = line.store.facts();
        assert_eq!(facts.meeting_named("1000009").is_some(), is_there, "{cut:?}");
        assert!(!is_there || facts.version > version, "whoever waits for changes hears of it");
    }
}

/// A network that swallows packets: nobody waits longer than twice the patience and a moment for anything, and what was
/// half done when the line fell silent is not in the books when it speaks again.
#[tokio::test]
async fn a_line_that_swallows_everything_holds_nobody_for_long() {
    let patience = Duration::from_millis(400);
    let line = Line::new(patience).await;
    let store = &line.store;
    let legs: Vec<LegId> = (1..=4).map(|n| LegId::new(n, u128::from(n))).collect();
    grant(store.open_leg(toll(legs[0])).await.unwrap());
    let before = line.available().await;
    line.wire.fall_silent();
    for leg in &legs[1..] {
        let began = moment();
        let told = store.open_leg(toll(*leg)).await;
        assert!(told.as_ref().is_err_and(StoreError::is_passing), "{told:?}");
        assert!(began.elapsed() < patience * 4, "{:?}", began.elapsed());
    }
    // Nor does a start wait for ever.
    let (began, elsewhere) = (moment(), tempfile::tempdir().unwrap());
    let start = Options { node: "other".to_owned(), patience, ..options(&elsewhere) };
    let told = Store::open(&line.wire.url(&line.url), start).await.unwrap_err();
    assert!(matches!(told, OpenError::Database { .. }) && began.elapsed() < patience * 4, "{told}");
    line.wire.mend();
    for leg in &legs[1..] {
        grant(line.insist(|| store.open_leg(toll(*leg))).await.0);
    }
    let taken = micros("0.01").0 * 3;
    assert_eq!(line.available().await.0, before.0 - taken);
    assert_eq!(store.audit().await.unwrap(), []);
}

/// The line falls silent in the middle of a batch, and no other connection can be had: when the old one speaks again, what
/// was half done on it is not carried along by the next COMMIT.
#[tokio::test]
async fn half_a_batch_is_never_committed_by_the_next() {
    let patience = Duration::from_millis(300);
    let line = Line::new(patience).await;
    let store = &line.store;
    for statement in 1..30 {
        let [half, whole] = [0, 1].map(|n| LegId::new(u64::from(statement), n));
        line.wire.cut(At::Statement(statement), Cut::Hold);
        let told = store.open_leg(toll(half)).await;
        let was_held = line.wire.was_cut();
        if was_held {
            assert!(told.as_ref().is_err_and(StoreError::is_passing), "{statement}: {told:?}");
            // It is tried, and cannot be reached.
            assert!(store.open_leg(toll(whole)).await.is_err());
        }
        line.wire.mend();
        line.insist(|| store.open_leg(toll(whole))).await;
        assert_eq!(store.audit().await.unwrap(), [], "{statement}");
        if !was_held {
            assert!(statement > 5, "a batch has more statements than that");
            break;
        }
    }
    let _kept = &line.folder;
}

/// Who wants in is told so within a second, also the first, and while a new connection is looked for; who is in has time.
#[tokio::test]
async fn whoever_can_go_elsewhere_does_not_wait_for_a_silent_line() {
    let line = Line::new(Duration::from_secs(2)).await;
    let store = &line.store;
    let leg = LegId::new(1, 1);
    grant(store.open_leg(toll(leg)).await.unwrap());
    store.answered(answer(leg)).await.unwrap();
    line.wire.fall_silent();
    let (mut refresh, mut settled) = (tokio::task::JoinSet::new(), tokio::task::JoinSet::new());
    refresh.spawn({
        let store = store.clone();
        async move { store.extend(next(leg, 1, 50_000)).await }
    });
    settled.spawn({
        let (store, over_already) = (store.clone(), LegId::new(1, 2));
        async move { store.settle(over_already, over(0)).await }
    });
    let fell = moment();
    let mut told = Vec::new();
    // Longer than the statement is waited for, and the search for another connection with it.
    while fell.elapsed() < Duration::from_secs(5) {
        let began = moment();
        let fault = store.open_leg(toll(LegId::new(2, told.len() as u128))).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(1), "{fault}: {:?}", began.elapsed());
        told.push(fault);
        pass(Duration::from_millis(50)).await;
    }
    assert!(matches!(told[0], StoreError::Down(_)), "it was on its way: {}", told[0]);
    assert!(told[1..].iter().all(|fault| *fault == StoreError::Unasked), "nothing is sent: {told:?}");
    line.wire.mend();
    // What was given up is asked again under its key.
    let refresh = refresh.join_next().await.unwrap().unwrap();
    assert!(refresh.is_ok() || refresh.is_err_and(|fault| fault.is_passing()));
    grant(line.insist(|| store.extend(next(leg, 1, 50_000))).await.0);
    let settled = settled.join_next().await.unwrap().unwrap().unwrap_err();
    assert!(settled.is_passing() || matches!(settled, StoreError::Unknown(_)), "{settled}");
    let back = moment();
    grant(line.insist(|| store.open_leg(toll(LegId::new(3, 3)))).await.0);
    assert!(back.elapsed() < Duration::from_secs(3), "{:?}", back.elapsed());
    assert_eq!(store.audit().await.unwrap(), []);
}

/// The network swallows a COMMIT, and brings it when others have long been through: it is not done any more, and what it
/// locked is free at once.
#[tokio::test]
async fn a_commit_that_comes_too_late_is_not_done() {
    let line = Line::new(Duration::from_secs(1)).await;
    let store = &line.store;
    let [late, prompt] = [LegId::new(1, 1), LegId::new(1, 2)];
    line.wire.cut(At::Commit, Cut::Keep);
    let told = store.open_leg(toll(late)).await;
    assert!(told.as_ref().is_err_and(StoreError::is_passing), "{told:?}");
    line.wire.carry_others();
    let back = moment();
    grant(line.insist(|| store.open_leg(toll(prompt))).await.0);
    assert!(back.elapsed() < Duration::from_secs(4), "{:?}", back.elapsed());
    // Its asker was told that it is not there, and closes an account that is not: that stays true.
    assert_eq!(line.insist(|| settled(store, late)).await.0, None);
    line.wire.mend();
    pass(Duration::from_millis(300)).await;
    let live = store.live_legs().await.unwrap();
    assert_eq!(live.iter().map(|leg| leg.leg).collect::<Vec<_>>(), [prompt]);
    assert_eq!(store.audit().await.unwrap(), []);
}

/// Its charge, or nothing where there is no such leg.
async fn settled(store: &Store, leg: LegId) -> Result<Option<Micros>, StoreError> {
    match store.settle(leg, over(0)).await {
        Ok(record) => Ok(Some(record.charge)),
        Err(StoreError::Unknown(_)) => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Nobody asks for anything, and all the same: a connection that ended is made anew, and a name that was taken is noticed.
#[tokio::test]
async fn who_has_nothing_to_write_notices_what_becomes_of_the_line() {
    let line = Line::new(Duration::from_secs(5)).await;
    let store = &line.store;
    line.wire.pull_out();
    pass(Duration::from_millis(2_500)).await;
    assert_eq!(store.open_leg(toll(LegId::new(1, 1))).await, Err(StoreError::Unasked));
    line.wire.mend();
    pass(Duration::from_millis(2_500)).await;
    grant(store.open_leg(toll(LegId::new(1, 2))).await.unwrap());
    let elsewhere = elsewhere(&line.folder);
    let over = Options { take_over: true, ..options(&elsewhere) };
    let other = Store::open(&line.url, over).await.unwrap();
    within(Duration::from_secs(3), store.taken_over()).await.expect("it is noticed");
    assert!(matches!(store.open_leg(toll(LegId::new(1, 3))).await, Err(StoreError::Fenced(_))));
    assert_eq!(other.recover(NOON).await.unwrap().len(), 1);
}
