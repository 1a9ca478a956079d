//! Where the store meets the world: the database, and the one task that writes.
//!
//! One writer takes up to [`Options::batch`] requests into one transaction, each behind a savepoint of its own, and
//! answers only when the transaction is on the disk. Requests of many legs thus share one sync of the disk, and two of
//! them never meet half-way.

use super::books::Books;
use super::door::{Options, PATIENCE};
use super::facts::{self, Facts};
use super::fault::{OpenError, StoreError};
use super::home::{self, Home};
use super::hot;
use super::job::{Done, Job, Reply};
use super::pin::{self, Fit, PinKey};
use super::schema;
use super::sql::{self, Address, Connection, Kind, Pool, Pulse, Session, shown};
use super::trail;
use crate::clock;
use crate::telemetry::name;
use crate::types::LegId;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, interval, timeout, timeout_at};

/// How long a batch may take with a file to apply or a life to bury in it, and how long facts may take to be read anew.
const LONGEST_WORK: Duration = Duration::from_secs(300);

/// A batch of so many waits for no more: it is worth its way to the disk.
const ENOUGH: usize = 64;

/// How often a batch, or one request, is done again because another node has changed what it worked on. Each time the
/// other has got on: with two nodes once is the usual.
const RACES: u32 = 8;

/// What a leg holds beyond the moment of its request, where that may wait: fifty times as long as it does.
const LEAST_REST_MS: u64 = 2_000;

/// How often whether there is an answer is looked at.
const BEAT: Duration = Duration::from_millis(50);

/// Where nothing is asked, a connection that is gone and a name that is another's are noticed all the same, within this.
const IDLE: Duration = Duration::from_secs(1);

/// How long a connection in the place of one that was lost may take: longer, and another is tried.
const CONNECTING: Duration = Duration::from_secs(2);

/// A log that somebody reads cannot be emptied: it is tried again so often, and after so long each.
const LOG_TURNS: u32 = 100;
const LOG_TURN: Duration = Duration::from_millis(100);

/// Everything that an open store owns.
#[derive(Debug)]
pub(super) struct Desk {
    jobs: mpsc::Sender<Job>,
    /// The database does not answer.
    silent: watch::Receiver<bool>,
    pub reads: Pool,
    pub facts: watch::Receiver<Arc<Facts>>,
    pub outbox: watch::Receiver<u64>,
    pub fenced: watch::Receiver<bool>,
    pub home: Arc<Home>,
    pub place: String,
    /// For what is done beside the writer.
    beside: Address,
}

/// A connection that sees the books as they are now, also while a bridge holds them; it can change nothing.
pub(super) async fn look(url: &str) -> Result<Connection, OpenError> {
    let place = Place::parse(url)?;
    let failed = |error: sql::Error| OpenError::Database { store: shown(url), reason: error.to_string() };
    let mut conn = Pool::new(place.reader(), 1, PATIENCE).snapshot().await.map_err(failed)?;
    schema::is_newest(&mut conn, &shown(url)).await?;
    Ok(conn)
}

/// The books of `url` for a trial, of which nothing stays: a connection with a transaction open that is never committed,
/// which key of PINs there is, and what keeps others from the books meanwhile. A file is tried on a copy of it, on a server
/// that transaction is all. Where there are no books it is empty ones.
pub(super) async fn try_out(
    url: &str,
    options: &Options,
) -> Result<(Connection, Option<PinKey>, Option<std::fs::File>), OpenError> {
    let place = Place::parse(url)?;
    let store = place.name(url);
    let (lock, key) = home::glance(&place.stem(&options.folder), &store)?;
    let failed = |error: sql::Error| OpenError::Database { store: store.clone(), reason: error.to_string() };
    let mut conn = match &place {
        Place::Sqlite(path) if path.exists() => {
            let double = home::Double::of(path, &std::env::temp_dir())?;
            connect(&Address::sqlite_apart(Some(&double.path())), options.patience).await
            // Its file has no name from here on: it is gone with the connection, however this process ends.
        }
        Place::Sqlite(_) => connect(&Address::sqlite_apart(None), options.patience).await,
        Place::Postgres(_) => connect(&place.writer(), options.patience).await,
    }
    .map_err(failed)?;
    if let Some(holder) = conn.take_name(&options.node).await.map_err(failed)? {
        return Err(OpenError::Held { store, pid: holder });
    }
    conn.run("BEGIN").await.map_err(failed)?;
    Ok((conn, key, lock))
}

/// A connection that writes, beside the store's own: for whoever has opened the store and asks it nothing meanwhile.
pub(super) async fn write_beside(url: &str) -> Result<Connection, OpenError> {
    let failed = |error: sql::Error| OpenError::Database { store: shown(url), reason: error.to_string() };
    connect(&Place::parse(url)?.writer(), PATIENCE).await.map_err(failed)
}

/// A connection within `patience`: a network that swallows packets would be waited for until the kernel gives up.
async fn connect(address: &Address, patience: Duration) -> Result<Connection, sql::Error> {
    timeout(patience, address.connect()).await.unwrap_or_else(|_| Err(no_answer(patience)))
}

fn no_answer(patience: Duration) -> sql::Error {
    let text = format!("no answer within {patience:?}");
    sql::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text))
}

/// Whether `url` names a store.
pub fn check_url(url: &str) -> Result<(), OpenError> {
    Place::parse(url).map(|_| ())
}

/// What the store is called where people read it.
pub(super) fn name_of(url: &str) -> Result<String, OpenError> {
    Place::parse(url).map(|place| place.name(url))
}

/// The folder of the node's own files: where the file of the store stands, or, where the store is on a server, `folder`.
pub fn folder_of(url: &str, folder: &Path) -> PathBuf {
    let place = Place::parse(url);
    let stem = place.map_or(PathBuf::new(), |place| place.stem(folder));
    stem.parent().unwrap_or(Path::new("")).to_owned()
}

/// The file with the key of the store's PINs.
pub fn key_file_of(url: &str, folder: &Path) -> PathBuf {
    Place::parse(url).map_or(PathBuf::new(), |place| home::key_file(&place.stem(folder)))
}

/// The file that a store is, where it is one.
pub fn file_of(url: &str) -> Option<PathBuf> {
    match Place::parse(url) {
        Ok(Place::Sqlite(path)) => Some(path),
        Ok(Place::Postgres(_)) | Err(_) => None,
    }
}

/// A store's address, understood.
enum Place {
    Sqlite(PathBuf),
    Postgres(Address),
}

impl Place {
    fn parse(url: &str) -> Result<Place, OpenError> {
        let bad = || OpenError::BadUrl(shown(url));
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Address::postgres(url).map(Place::Postgres).ok_or_else(bad);
        }
        let rest = url.strip_prefix("sqlite:").ok_or_else(bad)?;
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path.is_empty() || path.contains(['?', '\0']) || path == ":memory:" {
            return Err(bad());
        }
        Ok(Place::Sqlite(PathBuf::from(path)))
    }

    /// What it is called where people read it.
    fn name(&self, url: &str) -> String {
        match self {
            Place::Sqlite(path) => path.display().to_string(),
            Place::Postgres(_) => shown(url),
        }
    }

    /// What the names of the node's files begin with.
    fn stem(&self, folder: &Path) -> PathBuf {
        match self {
            Place::Sqlite(path) => path.clone(),
            Place::Postgres(_) => folder.join("tollbridge"),
        }
    }

    fn writer(&self) -> Address {
        match self {
            Place::Sqlite(path) => Address::sqlite_writer(path, PATIENCE),
            Place::Postgres(address) => address.clone().by_keys(),
        }
    }

    /// It waits for nobody: whatever the writer does comes first.
    fn beside(&self) -> Address {
        match self {
            Place::Sqlite(path) => Address::sqlite_writer(path, Duration::ZERO),
            Place::Postgres(address) => address.clone(),
        }
    }

    fn reader(&self) -> Address {
        match self {
            Place::Sqlite(path) => Address::sqlite_reader(path, PATIENCE),
            Place::Postgres(address) => address.clone(),
        }
    }
}

/// Opens the store, brings it to the newest schema, takes the node's name, and starts its writer.
pub(super) async fn open(url: &str, options: &Options) -> Result<Desk, OpenError> {
    let place = Place::parse(url)?;
    let store = place.name(url);
    let (home, key) = Home::open(&place.stem(&options.folder), &options.node, &store)?;
    if let Place::Sqlite(path) = &place {
        home::database(path)?;
    }
    let failed = |error: sql::Error| OpenError::Database { store: store.clone(), reason: error.to_string() };
    let (address, beside) = (place.writer(), place.beside());
    let mut conn = connect(&address, options.patience).await.map_err(failed)?;
    // On a server a node of this name may run elsewhere: its connection holds the name. (A file's lock is the kernel's.)
    if !options.take_over
        && let Some(holder) = conn.take_name(&options.node).await.map_err(failed)?
    {
        return Err(OpenError::Held { store, pid: holder });
    }
    schema::update(&mut conn, &store).await?;
    // Whoever could check no PIN takes nothing over.
    let fit = pin::fit(&mut conn, &key, home.has_new_key()).await.map_err(failed)?;
    match fit {
        Fit::Own => {}
        Fit::Another => return Err(home.is_another_key(&store)),
        Fit::Unproven => tracing::warn!(
            key = %home.key_file().display(),
            "it is not noted by which key the PINs of these books were hashed: if nobody is let in by their PIN, this is another"
        ),
    }
    let life = begin_life(&mut conn, &options.node).await.map_err(failed)?;
    let session = conn.session().await.map_err(failed)?;
    let pulse = conn.pulse();
    let facts = facts::load(&mut conn, key, 1, None).await.map_err(|fault| match fault {
        StoreError::Broken(why) => OpenError::Unreadable(why),
        fault => OpenError::Database { store: store.clone(), reason: fault.to_string() },
    })?;
    let facts = Arc::new(facts);
    let reads = Pool::new(place.reader(), options.readers, options.patience);
    let (jobs, queue) = mpsc::channel(options.queue.max(1));
    let (publish, facts_seen) = watch::channel(facts.clone());
    let (outbox, outbox_seen) = watch::channel(0);
    let (fence, fenced) = watch::channel(false);
    let (silence, silent) = watch::channel(false);
    let mut books = Books::new(conn, facts, options.node.clone(), life, options.cooling_ms());
    books.is_key_proven = fit == Fit::Own;
    let home = Arc::new(home);
    let writer = Writer {
        books,
        publish,
        outbox,
        address,
        batch: options.batch.max(1),
        linger: options.linger,
        silent_after: options.silent_after,
        patience: options.patience,
        session,
        pulse,
        silence,
        is_lost: false,
        is_unclear: false,
        is_untouched: false,
        refused: Vec::new(),
        fenced: None,
        fence,
        _home: home.clone(),
    };
    tokio::spawn(writer.work(queue));
    Ok(Desk { jobs, silent, reads, facts: facts_seen, outbox: outbox_seen, fenced, home, place: store, beside })
}

/// The number of the life that begins: what earlier ones of this node left open is to be settled, and what they still send
/// is refused. Books that were restored have legs and dialogs of lives that the row of their node never saw: it goes beyond
/// those too.
async fn begin_life(conn: &mut Connection, node: &str) -> Result<i64, sql::Error> {
    let row = sql::query(
        "INSERT INTO node (name, life, since) VALUES ($1, (SELECT COALESCE(MAX(life), 0) + 1 FROM \
         (SELECT MAX(life) AS life FROM leg WHERE node = $1 UNION ALL SELECT MAX(offered) FROM dialog WHERE node = $1) AS seen), $2) \
         ON CONFLICT (name) DO UPDATE SET life = CASE WHEN excluded.life > node.life THEN excluded.life \
         ELSE node.life + 1 END, since = excluded.since RETURNING life",
    );
    row.bind(node).bind(clock::wall().micros()).fetch_one(conn).await?.try_get(0)
}

/// The one task that writes.
struct Writer {
    books: Books,
    publish: watch::Sender<Arc<Facts>>,
    outbox: watch::Sender<u64>,
    address: Address,
    batch: usize,
    linger: Duration,
    silent_after: Duration,
    patience: Duration,
    /// The server's end of the connection, and of those before it that may not have ended.
    session: Option<Session>,
    /// Whether the database is waited for, of this connection and of the one that takes its place.
    pulse: Pulse,
    /// Told to whoever wants a hold.
    silence: watch::Sender<bool>,
    /// The connection is not to be used any more: nobody knows what became of what was sent on it, and a transaction may
    /// be open there, which the next COMMIT would carry along.
    is_lost: bool,
    /// A batch that changed the facts was given up, and may have been written all the same: they are to be read anew.
    is_unclear: bool,
    /// A transaction is open, and nothing was done in it yet.
    is_untouched: bool,
    /// What a batch that was given up leaves undone: told once the writer is on its feet again, as what was done is.
    refused: Vec<(Job, StoreError)>,
    /// Set for ever once another process has taken the node's name.
    fenced: Option<StoreError>,
    fence: watch::Sender<bool>,
    _home: Arc<Home>,
}

impl Writer {
    /// Works until every [`Desk`] is gone.
    async fn work(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(self.batch);
        loop {
            match timeout(IDLE, queue.recv_many(&mut batch, self.batch)).await {
                Ok(0) => break,
                Ok(_) => {
                    self.gather(&mut queue, &mut batch).await;
                    self.take(std::mem::take(&mut batch)).await;
                }
                Err(_) => self.look().await,
            }
            // Nothing is waited for now: the books answer, or there is no connection to them.
            self.silence.send_if_modified(|silent| std::mem::replace(silent, self.is_lost) != self.is_lost);
        }
        // The last connection folds the log into the database; a failure leaves the log, which the next start reads.
        let _ = self.books.conn.close().await;
    }

    /// Refreshes alone wait a moment for others, so that one transaction carries many; with anything else among them, for
    /// nobody.
    async fn gather(&self, queue: &mut mpsc::Receiver<Job>, batch: &mut Vec<Job>) {
        let until = Instant::now() + self.linger;
        let mut seen = 0;
        while !self.linger.is_zero()
            && batch.len() < ENOUGH.min(self.batch)
            && batch[seen..].iter().all(|job| self.may_wait(job))
        {
            seen = batch.len();
            if timeout_at(until, queue.recv_many(batch, self.batch - seen)).await.unwrap_or(0) == 0 {
                break;
            }
        }
    }

    /// The next slice of a leg that has enough of this one left.
    fn may_wait(&self, job: &Job) -> bool {
        let Job::Extend(asked, _) = job else { return false };
        let tab = self.books.sheet.leg(asked.leg).and_then(|kept| kept.row.tab.as_ref());
        tab.is_some_and(|tab| tab.held_until_ms.saturating_sub(asked.elapsed_ms) >= LEAST_REST_MS)
    }

    /// Writes a batch, or gives it up.
    async fn take(&mut self, batch: Vec<Job>) {
        let eyes = match batch.iter().all(Job::is_of_a_leg) {
            true => Eyes { longest: 2 * self.patience, statement: self.longest_statement(), ..self.eyes() },
            false => self.eyes(),
        };
        // Who waits for an answer that was given up is told so, by the end of its way back.
        if eyes.watch(self.write(batch)).await.is_none() {
            metrics::counter!(name::STORE_FAULTS).increment(1);
            tracing::error!("the books did not answer in time: their connection is given up");
            self.is_lost = true;
            self.eyes().watch(self.begin_anew()).await;
        }
        self.refused.drain(..).for_each(|(job, fault)| job.refuse(fault));
    }

    /// Nobody asks for anything: whether there is still a connection, and whether the name is still ours. (A file cannot be
    /// lost to another.)
    async fn look(&mut self) {
        if self.fenced.is_some() || self.books.conn.kind() == Kind::Sqlite {
            return;
        }
        if !self.is_lost {
            let eyes = Eyes { longest: self.patience, ..self.eyes() };
            match eyes.watch(self.is_ours(hot::WITH_LIFE)).await {
                Some(Ok(())) => return self.show_facts(),
                Some(Err(StoreError::Fenced(_))) => return,
                Some(Err(fault)) => tracing::error!(%fault, "the connection to the books is lost"),
                None => tracing::error!("the books do not answer: their connection is given up"),
            }
            metrics::counter!(name::STORE_FAULTS).increment(1);
            self.is_lost = true;
        }
        self.eyes().watch(self.begin_anew()).await;
    }

    /// A server that holds a statement up for a lock says so itself by then; beyond, the network has swallowed it. A file is
    /// not reached by a network.
    fn longest_statement(&self) -> Duration {
        match self.books.conn.kind() {
            Kind::Sqlite => LONGEST_WORK,
            Kind::Postgres => self.patience,
        }
    }

    fn eyes(&self) -> Eyes {
        Eyes {
            pulse: self.pulse.clone(),
            silence: self.silence.clone(),
            silent_after: self.silent_after,
            is_lost: self.is_lost,
            longest: LONGEST_WORK,
            statement: LONGEST_WORK,
        }
    }

    /// One batch: all that went well is durable before anybody hears of it.
    async fn write(&mut self, batch: Vec<Job>) {
        if let Err(fault) = self.begin().await {
            metrics::counter!(name::STORE_FAULTS).increment(1);
            tracing::error!(%fault, "the books cannot be opened for writing");
            self.give_up(batch, &fault);
            // Where no connection could be had, the next batch tries; a second try now would hold it up.
            if !self.is_lost {
                self.begin_anew().await;
            }
            return;
        }
        let mut done = Vec::with_capacity(batch.len());
        let mut jobs = VecDeque::from(batch);
        let mut fate = Ok(());
        while fate.is_ok()
            && let Some(job) = jobs.pop_front()
        {
            fate = if job.is_of_a_leg() {
                let more = jobs.iter().take_while(|job| job.is_of_a_leg()).count();
                let run = std::iter::once(job).chain(jobs.drain(..more)).collect();
                self.together(run, &mut done).await
            } else {
                self.one(job, &mut done).await
            };
        }
        if fate.is_ok() {
            fate = self.run("COMMIT").await;
        }
        self.conclude(&fate).await;
        done.into_iter().for_each(|done| done.tell(&fate));
        if let Err(fault) = fate {
            self.give_up(jobs, &fault);
        }
    }

    fn give_up(&mut self, jobs: impl IntoIterator<Item = Job>, fault: &StoreError) {
        self.refused.extend(jobs.into_iter().map(|job| (job, fault.clone())));
    }

    /// Opens a transaction, and sees that this node's name is still this process's.
    async fn begin(&mut self) -> Result<(), StoreError> {
        if let Some(fenced) = &self.fenced {
            return Err(fenced.clone());
        }
        if self.is_lost {
            self.reconnect().await?;
        }
        let found = self.books.conn.begin(&self.books.node, [hot::WITH_LIFE, hot::WITH_LIFE_HELD]).await?;
        self.is_found_ours(found).await?;
        self.is_untouched = true;
        Ok(())
    }

    /// Whether this node's name is still this process's, by the statement that says whose life it is.
    async fn is_ours(&mut self, life: &'static str) -> Result<(), StoreError> {
        let row = sql::query(life).bind(&self.books.node).fetch_optional(&mut self.books.conn).await?;
        let found = row.map(|row| Ok::<_, sql::Error>((row.try_get(0)?, row.try_get(1)?))).transpose()?;
        self.is_found_ours(found).await
    }

    async fn is_found_ours(&mut self, found: Option<(i64, i64)>) -> Result<(), StoreError> {
        if let Some((_, edition)) = found.filter(|(life, _)| *life == self.books.life) {
            // Another node of the same books has changed them.
            return if edition == self.books.facts.hot_edition() {
                Ok(())
            } else {
                hot::refresh(&mut self.books).await
            };
        }
        let fenced = StoreError::Fenced(self.books.node.clone());
        self.fenced = Some(fenced.clone());
        self.fence.send_replace(true);
        Err(fenced)
    }

    /// Requests of legs, worked out one after the other and written at once. Where one of them fails nothing of the run is
    /// kept: those before it and those after it are done again. Where all of them can be done and not be written, nobody
    /// knows which it is: the halves are done again, until it is alone.
    async fn together(&mut self, run: Vec<Job>, done: &mut Vec<Done>) -> Result<(), StoreError> {
        let mut runs = vec![run];
        let mut fate = Ok(());
        let mut races = 0;
        while fate.is_ok()
            && let Some(run) = runs.pop()
        {
            fate = match self.all_or_none(run, done).await {
                Ok(None) => Ok(()),
                // With what the other has made of it; half of it would meet the other as well as all of it.
                Ok(Some((run, StoreError::Raced(_), _))) if races < RACES => {
                    races += 1;
                    runs.push(run);
                    Ok(())
                }
                Ok(Some((mut run, _, first))) if run.len() > 1 => {
                    let rest = match first {
                        // The first that cannot be done, where others stand before it; else it alone.
                        Some(first) => run.split_off(first.max(1)),
                        None => run.split_off(run.len() / 2),
                    };
                    runs.extend([rest, run]);
                    Ok(())
                }
                Ok(Some((run, ..))) => match run.into_iter().next() {
                    Some(job) => self.one(job, done).await,
                    None => Ok(()),
                },
                Err(fault) => Err(fault),
            };
        }
        self.give_up(runs.into_iter().flatten(), &StoreError::Down("the batch was given up".to_owned()));
        fate
    }

    /// All of a run, or, where one of it fails, nothing: then it is given back, with the reason, and the place of the first
    /// that could not be done. An error is the fault that ends the whole batch.
    async fn all_or_none(
        &mut self,
        run: Vec<Job>,
        done: &mut Vec<Done>,
    ) -> Result<Option<(Vec<Job>, StoreError, Option<usize>)>, StoreError> {
        // Before anything is done in it the transaction is as good as a savepoint, and is there already.
        let is_first = std::mem::take(&mut self.is_untouched);
        let (facts, raised) = (self.books.facts.clone(), self.books.raised.len());
        let mut fate = if is_first { Ok(()) } else { self.run("SAVEPOINT run").await };
        if fate.is_ok() {
            fate = self.books.look_ahead(&run).await;
        }
        let mut outcomes = Vec::with_capacity(run.len());
        let mut run = run.into_iter();
        // After a fault of its own SQLite may have taken all back already: what came then would be written at once, and stay.
        // After any other it would be taken back.
        while fate.is_ok()
            && outcomes.last().and_then(Done::fault).is_none()
            && let Some(job) = run.next()
        {
            outcomes.push(job.run(&mut self.books).await);
        }
        let failed = outcomes.last().and_then(Done::fault).cloned();
        let first = failed.is_some().then(|| outcomes.len() - 1);
        if fate.is_ok() {
            fate = match failed {
                Some(fault) => Err(fault),
                None => self.books.write().await,
            };
        }
        match fate {
            Ok(()) => {
                done.append(&mut outcomes);
                if is_first { Ok(None) } else { self.run("RELEASE run").await.map(|()| None) }
            }
            Err(fault) if fault.is_down() => {
                self.give_up(run, &fault);
                done.append(&mut outcomes);
                Err(fault)
            }
            Err(why) => {
                self.books.forget();
                self.books.facts = facts;
                self.books.raised.truncate(raised);
                let run: Vec<Job> = outcomes.into_iter().map(Done::again).chain(run).collect();
                let back = if is_first { self.afresh().await } else { self.run("ROLLBACK TO run; RELEASE run").await };
                if let Err(fault) = back {
                    self.give_up(run, &fault);
                    return Err(fault);
                }
                Ok(Some((run, why, first)))
            }
        }
    }

    /// The transaction from its beginning.
    async fn afresh(&mut self) -> Result<(), StoreError> {
        self.run("ROLLBACK").await?;
        self.begin().await
    }

    /// One request behind its savepoint. An error is the fault that ends the whole batch.
    async fn one(&mut self, mut job: Job, done: &mut Vec<Done>) -> Result<(), StoreError> {
        self.is_untouched = false;
        let keeps = job.leaves_the_sheet();
        for race in 1.. {
            if !keeps {
                self.books.forget();
            }
            self.books.careful = true;
            self.books.refused = None;
            let (facts, raised) = (self.books.facts.clone(), self.books.raised.len());
            // Where that fails there may be no transaction any more, and what is done would stay.
            if let Err(fault) = self.run("SAVEPOINT request").await {
                self.give_up([job], &fault);
                return Err(fault);
            }
            let outcome = job.run(&mut self.books).await;
            let written = match outcome.fault() {
                None => self.books.write().await,
                Some(fault) => Err(fault.clone()),
            };
            self.books.careful = false;
            if !keeps || written.is_err() {
                self.books.forget();
            }
            if written.is_err() {
                self.books.facts = facts;
                self.books.raised.truncate(raised);
            }
            let fate = match &written {
                Err(fault) if fault.is_down() => Err(fault.clone()),
                Ok(()) => self.run("RELEASE request").await,
                // Whoever raced is asked again: it was not refused.
                Err(StoreError::Raced(_)) if race <= RACES => self.undo().await,
                Err(_) => self.take_back().await,
            };
            if fate.is_err() || race > RACES || !matches!(written, Err(StoreError::Raced(_))) {
                done.push(outcome.failing(&written));
                return fate;
            }
            job = outcome.again();
        }
        Ok(())
    }

    async fn undo(&mut self) -> Result<(), StoreError> {
        self.run("ROLLBACK TO request; RELEASE request").await
    }

    /// Nothing of a request stays but that it was refused, where that is told.
    async fn take_back(&mut self) -> Result<(), StoreError> {
        self.undo().await?;
        trail::tell_refused(&mut self.books).await
    }

    async fn conclude(&mut self, fate: &Result<(), StoreError>) {
        match fate {
            Ok(()) => {
                metrics::counter!(name::STORE_COMMITS).increment(1);
                self.show_facts();
                for kind in self.books.raised.drain(..) {
                    metrics::counter!(name::ALERTS, "kind" => kind.slug()).increment(1);
                }
                let written = self.books.outbox;
                self.outbox.send_if_modified(|shown| std::mem::replace(shown, written) != written);
            }
            Err(fault) => {
                metrics::counter!(name::STORE_FAULTS).increment(1);
                tracing::error!(%fault, "the books could not be written: asked again, each request learns what came of it");
                self.begin_anew().await;
            }
        }
    }

    fn show_facts(&self) {
        let fresh = self.books.facts.clone();
        self.publish.send_if_modified(|shown| {
            let changed = shown.version != fresh.version;
            *shown = fresh;
            changed
        });
    }

    /// After a fault: back to what is durable, on a connection that is sound.
    async fn begin_anew(&mut self) {
        self.books.forget();
        self.books.raised.clear();
        self.books.careful = false;
        let shown = self.publish.borrow().clone();
        self.is_unclear |= self.books.facts.version != shown.version;
        self.books.facts = shown;
        // Where no transaction is open, or the connection is no use, a new one tells. Where none can be had now, the next
        // batch looks for one.
        self.is_lost = self.is_lost || self.run("ROLLBACK").await.is_err();
        if self.is_lost
            && let Err(fault) = self.reconnect().await
        {
            tracing::error!(%fault, "the books cannot be reached");
        }
    }

    /// A new connection in the place of the one that was lost, and what there is as it says.
    async fn reconnect(&mut self) -> Result<(), StoreError> {
        let _waiting = self.pulse.wait();
        let mut conn = connect(&self.address, CONNECTING.min(self.patience)).await?;
        let greeted = timeout(self.patience, self.greet(&mut conn)).await;
        let session = greeted.unwrap_or_else(|_| Err(no_answer(self.patience)))?;
        if self.is_unclear {
            let known = &self.books.facts;
            let load = facts::load(&mut conn, known.pins().clone(), known.version + 1, None);
            let loaded = timeout(LONGEST_WORK, load).await.map_err(|_| no_answer(LONGEST_WORK))?;
            self.books.facts = Arc::new(loaded?);
            self.publish.send_replace(self.books.facts.clone());
            self.is_unclear = false;
        }
        conn.beat(self.pulse.clone());
        self.books.conn = conn;
        self.session = session;
        self.is_lost = false;
        Ok(())
    }

    /// Takes the place of the connection that was lost. A network that swallowed its last words may bring them yet: before
    /// anything is asked here, they are sure to come too late.
    async fn greet(&self, conn: &mut Connection) -> Result<Option<Session>, sql::Error> {
        if let Some(lost) = &self.session {
            conn.end_session(lost).await?;
        }
        // Another may have the name by now; then the next transaction finds that this life is over.
        conn.take_name(&self.books.node).await?;
        conn.session().await
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), StoreError> {
        Ok(self.books.conn.run(sql).await?)
    }
}

/// What is seen of the writer from beside it, and told to whoever wants a hold.
struct Eyes {
    pulse: Pulse,
    silence: watch::Sender<bool>,
    silent_after: Duration,
    /// There is no connection: until there is one, a statement that moves is no answer.
    is_lost: bool,
    /// How long all of it may take, and one statement.
    longest: Duration,
    statement: Duration,
}

impl Eyes {
    /// Does `work`, and says meanwhile whether a statement waits too long for its answer. `None` where it was given up.
    async fn watch<T>(self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        let mut beat = interval(BEAT);
        let began = Instant::now();
        let (mut last, mut since) = (None, began);
        loop {
            let now = tokio::select! {
                biased;
                done = &mut work => return Some(done),
                now = beat.tick() => now,
            };
            let waits_for = self.pulse.waits_for();
            if waits_for != last {
                (last, since) = (waits_for, now);
            }
            let waited = waits_for.map_or(Duration::ZERO, |_| now.duration_since(since));
            if waited >= self.statement || now.duration_since(began) >= self.longest {
                return None;
            }
            let is_silent = self.is_lost && *self.silence.borrow() || waited >= self.silent_after;
            self.silence.send_if_modified(|silent| std::mem::replace(silent, is_silent) != is_silent);
        }
    }
}

impl Desk {
    /// Asks what somebody waits for who can go elsewhere: while the database does not answer it is not asked, and whoever
    /// waits for its answer when that comes out is let go. What came of it then they learn by asking again.
    pub async fn ask_or_go<I, A>(&self, input: I, as_job: fn(Box<I>, Reply<A>) -> Job) -> Result<A, StoreError> {
        let mut silent = self.silent.clone();
        if *silent.borrow_and_update() {
            metrics::counter!(name::HOLDS_UNASKED).increment(1);
            return Err(StoreError::Unasked);
        }
        tokio::select! {
            biased;
            answer = self.ask(input, as_job) => answer,
            Ok(_) = silent.wait_for(|silent| *silent) => Err(StoreError::Down("no answer within a moment".to_owned())),
        }
    }

    /// Sends a request to the writer and waits until its answer is durable. `as_job` puts input and reply together.
    pub async fn ask<I, A>(&self, input: I, as_job: fn(Box<I>, Reply<A>) -> Job) -> Result<A, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.try_send(as_job(Box::new(input), reply)).map_err(|refused| {
            metrics::counter!(name::STORE_FAULTS).increment(1);
            match refused {
                mpsc::error::TrySendError::Full(_) => StoreError::Full,
                mpsc::error::TrySendError::Closed(_) => StoreError::Down("the store is closed".to_owned()),
            }
        })?;
        answer.await.unwrap_or_else(|_| Err(StoreError::Down("the store was closed".to_owned())))
    }

    /// What was overwritten or emptied is out of the log too, or on a server out of its tables, on a connection of its own:
    /// the writer waits for no more than one short copy.
    pub async fn tidy_up(&self) -> Result<(), StoreError> {
        let mut conn = connect(&self.beside, PATIENCE).await?;
        let mut is_done = false;
        let mut turns = interval(LOG_TURN);
        for _ in 0..LOG_TURNS {
            turns.tick().await;
            is_done = conn.tidy_up().await?;
            if is_done {
                break;
            }
        }
        let _ = conn.close().await;
        let busy =
            || StoreError::Conflict("somebody reads the books for long: forget again when that is over".to_owned());
        is_done.then_some(()).ok_or_else(busy)
    }

    /// Writes how long each live leg has talked, and returns when it is on the disk.
    pub async fn prove(&self, legs: Vec<(LegId, u64)>) -> Result<(), StoreError> {
        // They are the new life's proofs by now.
        if *self.fenced.borrow() {
            return Err(StoreError::Down("the node has been taken over".to_owned()));
        }
        let home = self.home.clone();
        let written = tokio::task::spawn_blocking(move || home.prove(&legs)).await;
        let result = written.map_err(|error| StoreError::Down(error.to_string()))?;
        result.map_err(|error| {
            metrics::counter!(name::STORE_FAULTS).increment(1);
            StoreError::Down(error.to_string())
        })
    }
}
