//! The store as the rooms above meet it: one suite, run on SQLite and on PostgreSQL.

use super::*;
use crate::rating::record::EndedBy;
use crate::rating::{CallType, Funding, Origin};
use crate::types::{Cause, Country, E164, Micros};
use std::marker::PhantomData;
use std::time::Duration;
use tempfile::TempDir;

mod copying;
mod files;
mod lost;
mod nodes;
mod server;
mod sharing;
#[path = "../../tests/it/wire.rs"]
mod wire;

/// The suite, once a database.
macro_rules! suite {
    ($($database:ident $which:ident),*) => {$(
        #[allow(clippy::duplicate_mod)] // The same tests, meant to be there twice.
        #[path = "tests"]
        mod $database {
            use super::*;

            type Bench = super::Bench<super::$which>;

            #[path = "applying.rs"]
            mod applying;
            #[path = "auditing.rs"]
            mod auditing;
            #[path = "batching.rs"]
            mod batching;
            #[path = "burning.rs"]
            mod burning;
            #[path = "capping.rs"]
            mod capping;
            #[path = "cooling.rs"]
            mod cooling;
            #[path = "correcting.rs"]
            mod correcting;
            #[path = "forgetting.rs"]
            mod forgetting;
            #[path = "changing.rs"]
            mod changing;
            #[path = "fraud.rs"]
            mod fraud;
            #[path = "granted.rs"]
            mod granted;
            #[path = "granting.rs"]
            pub(super) mod granting;
            #[path = "guessing.rs"]
            mod guessing;
            #[path = "hot.rs"]
            mod hot;
            #[path = "leading.rs"]
            mod leading;
            #[path = "keying.rs"]
            mod keying;
            #[path = "last.rs"]
            mod last;
            #[path = "legs.rs"]
            mod legs;
            #[path = "licensing.rs"]
            mod licensing;
            #[path = "locking.rs"]
            mod locking;
            #[path = "opening.rs"]
            mod opening;
            #[path = "pooling.rs"]
            mod pooling;
            #[path = "pricing.rs"]
            mod pricing;
            #[path = "recounting.rs"]
            mod recounting;
            #[path = "rehearsing.rs"]
            mod rehearsing;
            #[path = "removing.rs"]
            mod removing;
            #[path = "reporting.rs"]
            mod reporting;
            #[path = "running.rs"]
            mod running;
            #[path = "tokens.rs"]
            mod tokens;
            #[path = "telling.rs"]
            mod telling;
            #[path = "trailing.rs"]
            mod trailing;
            #[path = "withdrawing.rs"]
            mod withdrawing;
        }
    )*};
}

suite!(sqlite Sqlite, postgres Postgres);

/// A database that the suite runs on.
trait Database {
    /// A new, empty one; its own files, if it has any, in `folder`.
    async fn url(folder: &TempDir) -> String;
    /// A statement of the suite in its words.
    fn words(sql: &'static str) -> &'static str {
        sql
    }
}

struct Sqlite;

impl Database for Sqlite {
    async fn url(folder: &TempDir) -> String {
        format!("sqlite:{}", folder.path().join("data").join("store.db").display())
    }
}

struct Postgres;

impl Database for Postgres {
    async fn url(_: &TempDir) -> String {
        server::schema().await
    }

    /// A trigger is dropped with its table's name.
    fn words(sql: &'static str) -> &'static str {
        let Some((_, rest)) = sql.split_once("DROP TRIGGER ") else { return sql };
        let name = rest.split(';').next().unwrap_or_default();
        let table = name.split("_is_").next().unwrap_or_default();
        Box::leak(sql.replace(name, &format!("{name} ON {table}")).into_boxed_str())
    }
}

const RATES: &str = "call_type,prefix,destination,rate,connect_fee,initial_s,next_s,valid_from,class\n\
    dial-in-toll,39,Italy,0.0100,0,60,60,2020-01-01,standard\n\
    dial-in-toll-free,39,Italy,0.0500,0,60,60,2020-01-01,standard\n\
    dial-out,39,Italy,0.0200,0,60,60,2020-01-01,standard\n\
    dial-out,44,United Kingdom,0.0300,0.0100,1,1,2020-01-01,standard\n\
    dial-out,1,United States,0.0100,0,60,60,2020-01-01,standard\n";

const FILE: &str = r#"rates = "rates.csv"
[[organisation]]
id = "aurora"
country = "IT"
volume_licensing = true
credits = "1.00"
[[organisation.user]]
id = "anna"
licences = ["pay-per-minute"]
pin = "4711"
[[organisation.user]]
id = "bruno"
[[organisation.meeting]]
id = "studio"
organiser = "anna"
conference_id = "1000001"
callers_may_start = true
[[organisation.meeting]]
id = "unlicensed"
organiser = "bruno"
conference_id = "1000002"
[[organisation]]
id = "borealis"
country = "US"
time_zone = "America/New_York"
[[organisation.user]]
id = "carol"
licences = ["audio-conferencing"]
[[organisation.meeting]]
id = "watch"
organiser = "carol"
conference_id = "1000003"
[[number]]
e164 = "+390612345678"
kind = "toll"
country = "IT"
[[number]]
e164 = "+39800123456"
kind = "toll-free"
country = "IT"
[[carrier]]
id = "local"
sources = ["127.0.0.1"]
"#;

/// Noon, UTC, of a day in the middle of a month.
const NOON: Wall = Wall::from_seconds(1_781_611_200);

struct Bench<D> {
    folder: TempDir,
    url: String,
    store: Store,
    legs: std::cell::Cell<u64>,
    database: PhantomData<D>,
}

fn document(text: &str) -> Result<Document, Vec<Mistake>> {
    Document::parse("demo.toml", text, |_| Ok(RATES.to_owned()))
}

fn options(folder: &TempDir) -> Options {
    Options { folder: folder.path().join("data"), linger: Duration::ZERO, ..Options::default() }
}

/// The same for tests that have nothing to do with silence: of a busy machine the store's own time is none.
fn patient(folder: &TempDir) -> Options {
    Options { silent_after: Duration::from_secs(60), ..options(folder) }
}

/// Another node's folder, with the same key of PINs.
fn elsewhere(folder: &TempDir) -> TempDir {
    let other = tempfile::tempdir().unwrap();
    let stems = ["store.db.pin-key", "tollbridge.pin-key"];
    let data = |folder: &TempDir, stem: &str| folder.path().join("data").join(stem);
    let key = stems.iter().find_map(|stem| std::fs::read(data(folder, stem)).ok()).expect("the folder has a key");
    std::fs::create_dir(other.path().join("data")).unwrap();
    stems.iter().for_each(|stem| std::fs::write(data(&other, stem), &key).unwrap());
    other
}

impl<D: Database> Bench<D> {
    fn elsewhere(&self) -> TempDir {
        elsewhere(&self.folder)
    }

    /// Of a store that nobody has made.
    async fn url_in(folder: &TempDir) -> String {
        D::url(folder).await
    }

    async fn empty() -> Bench<D> {
        let folder = tempfile::tempdir().unwrap();
        let url = D::url(&folder).await;
        let store = Store::open(&url, patient(&folder)).await.unwrap();
        Bench { folder, url, store, legs: std::cell::Cell::new(0), database: PhantomData }
    }

    /// The customers of [`FILE`].
    async fn new() -> Bench<D> {
        let bench = Bench::empty().await;
        bench.apply(FILE).await.unwrap();
        bench
    }

    /// With another opening funding of aurora.
    async fn with_credits(credits: &str) -> Bench<D> {
        let bench = Bench::empty().await;
        bench.apply(&FILE.replace("\"1.00\"", &format!("\"{credits}\""))).await.unwrap();
        bench
    }

    /// Uses up the pool of borealis, but for so much.
    async fn pool_of(&self, left_ms: u64) {
        let leg = self.leg();
        grant(self.store.open_leg(dial(leg, "+442079460123", "watch")).await.unwrap());
        self.store.answered(answer(leg)).await.unwrap();
        let used_ms = 3_600_000 - left_ms;
        grant(self.store.extend(next(leg, 1, used_ms - 60_000)).await.unwrap());
        assert_eq!(self.store.settle(leg, over(used_ms)).await.unwrap().beyond.pool_used_ms, used_ms);
    }

    async fn apply(&self, text: &str) -> Result<Applied, Vec<Mistake>> {
        self.store.apply(document(text)?, NOON).await.unwrap()
    }

    fn leg(&self) -> LegId {
        self.legs.set(self.legs.get() + 1);
        LegId::new(1_781_611_200_000 + self.legs.get(), u128::from(self.legs.get()))
    }

    async fn audited(&self) {
        assert_eq!(self.store.audit().await.unwrap(), []);
    }

    async fn balance(&self, organisation: &str) -> Balance {
        self.store.balance(&organisation.parse().unwrap()).await.unwrap()
    }

    /// Does behind the store's back what no request may.
    async fn tamper(&self, sql: &'static str) -> Result<(), StoreError> {
        self.store.desk.ask(D::words(sql), Job::Tamper).await
    }

    /// What the audit finds after that, which is then taken back.
    async fn planted(&self, sql: &'static str) -> Result<Vec<Difference>, StoreError> {
        self.store.desk.ask(D::words(sql), Job::Plant).await
    }

    /// The process dies and starts again: nothing of it is said good-bye to, but for the lock.
    async fn reopened(self) -> Bench<D> {
        let Bench { folder, url, store, legs, database } = self;
        drop(store);
        Bench { store: open_when_free(&url, &folder).await, folder, url, legs, database }
    }
}

/// The lock is free once the writer has seen that nobody is left to write for.
async fn open_when_free(url: &str, folder: &TempDir) -> Store {
    loop {
        match Store::open(url, patient(folder)).await {
            Err(OpenError::Held { .. }) => tokio::task::yield_now().await,
            other => return other.unwrap(),
        }
    }
}

fn number(text: &str) -> E164 {
    text.parse().unwrap()
}

fn micros(text: &str) -> Micros {
    text.parse().unwrap()
}

fn asked(leg: LegId, call_type: CallType, to: &str, meeting: Option<&str>) -> OpenLeg {
    OpenLeg {
        leg,
        call_type,
        number: number(to),
        caller: Some(number("+393331234567")),
        origin: Origin::Fixed,
        carrier: Some("local".parse().unwrap()),
        meeting: meeting.map(|id| id.parse().unwrap()),
        call_id: format!("call-{leg}"),
        journal: format!("journal of {leg}"),
        invited: NOON,
    }
}

fn toll(leg: LegId) -> OpenLeg {
    asked(leg, CallType::DialInToll, "+390612345678", Some("studio"))
}

fn dial(leg: LegId, to: &str, meeting: &str) -> OpenLeg {
    asked(leg, CallType::DialOut, to, Some(meeting))
}

fn answer(leg: LegId) -> Answered {
    Answered { leg, at: NOON, journal: None }
}

fn next(leg: LegId, sequence: u32, elapsed_ms: u64) -> Extend {
    Extend { leg, sequence, elapsed_ms, proven_ms: elapsed_ms, now: NOON.plus_millis(elapsed_ms) }
}

fn over(elapsed_ms: u64) -> End {
    End::new(Cause::HungUp, EndedBy::FarSide, elapsed_ms, NOON.plus_millis(elapsed_ms))
}

fn grant(opened: Opened) -> Grant {
    match opened {
        Opened::Granted(grant) => grant,
        other => panic!("{other:?}"),
    }
}

fn funds(key: &str, amount: &str) -> Funds {
    let kind = if amount.starts_with('-') { FundsKind::Adjustment } else { FundsKind::Funding };
    let organisation = "aurora".parse().unwrap();
    Funds { organisation, key: key.to_owned(), amount: micros(amount), kind, memo: "test".to_owned(), at: NOON }
}
