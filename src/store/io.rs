//! Where the store meets the world: files, the lock, the one task that writes.
//!
//! One writer takes up to [`Options::batch`] requests into one transaction, each behind a savepoint of its own, and
//! answers only when the transaction is on the disk. Requests of many legs thus share one sync of the disk, and two of
//! them never meet half-way.

use super::books::Books;
use super::door::Options;
use super::facts::{self, Facts};
use super::fault::{OpenError, StoreError};
use super::job::{Done, Job, Reply};
use super::leg;
use super::life;
use super::pin::{KEY_LEN, PinKey};
use super::schema;
use crate::telemetry::name;
use crate::types::LegId;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqlitePool};
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// How long a reader waits for the database: reports may wait, the writer never does (nobody else writes).
const BUSY: Duration = Duration::from_secs(5);

/// Mode of every file of a store: callers' numbers, hashes of PINs and money stand in them.
const OWNER_ALONE: u32 = 0o600;

/// Everything that an open store owns. The lock goes with the last of it.
#[derive(Debug)]
pub(super) struct Desk {
    jobs: mpsc::Sender<Job>,
    pub reads: SqlitePool,
    pub facts: watch::Receiver<Arc<Facts>>,
    life: Arc<Mutex<LifeFile>>,
    pub path: PathBuf,
}

/// Opens the store, brings it to the newest schema, and starts its writer.
pub(super) async fn open(url: &str, options: &Options) -> Result<Desk, OpenError> {
    let path = path_of(url)?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).map_err(|error| file_error(folder, error))?;
    }
    let lock = hold(&path)?;
    // Made here, so that the database and the log beside it, which takes its mode, are nobody else's to read.
    private(&path)?;
    draw_in_the_log(&path)?;
    let key = pin_key(&beside(&path, "pin-key"))?;
    let life = LifeFile::open(&path, &options.node)?;
    let failed = |error: sqlx::Error| OpenError::Database { store: path.clone(), reason: error.to_string() };
    let connect = writer_options(&path);
    let mut conn = connect.connect().await.map_err(failed)?;
    schema::update(&mut conn, &path).await?;
    let facts = Arc::new(facts::load(&mut conn, key, 1).await.map_err(OpenError::Unreadable)?);
    let reads = SqlitePoolOptions::new().max_connections(options.readers.max(1));
    let reads = reads.connect_with(reader_options(&path)).await.map_err(failed)?;
    let (jobs, queue) = mpsc::channel(options.queue.max(1));
    let (publish, facts_seen) = watch::channel(facts.clone());
    let life_now = leg::next_life(&mut conn).await.map_err(failed)?;
    let books = Books::new(conn, facts, options.node.clone(), life_now);
    let writer = Writer { books, publish, connect, batch: options.batch.max(1), _lock: lock };
    tokio::spawn(writer.work(queue));
    Ok(Desk { jobs, reads, facts: facts_seen, life: Arc::new(Mutex::new(life)), path })
}

fn path_of(url: &str) -> Result<PathBuf, OpenError> {
    let rest = url.strip_prefix("sqlite:").ok_or_else(|| OpenError::BadUrl(url.to_owned()))?;
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() || path.contains(['?', '\0']) || path == ":memory:" {
        return Err(OpenError::BadUrl(url.to_owned()));
    }
    Ok(PathBuf::from(path))
}

fn beside(store: &Path, suffix: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

fn file_error(path: &Path, error: std::io::Error) -> OpenError {
    OpenError::File { what: path.display().to_string(), error }
}

/// Files of the store are for its owner alone, also those that were copied here with a wider mode.
fn private(path: &Path) -> Result<File, OpenError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(OWNER_ALONE);
    let file = options.open(path).map_err(|error| file_error(path, error))?;
    draw_in(path, &file).map_err(|error| file_error(path, error))?;
    Ok(file)
}

fn draw_in(path: &Path, file: &File) -> std::io::Result<()> {
    if file.metadata()?.permissions().mode() & 0o777 == OWNER_ALONE {
        return Ok(());
    }
    tracing::warn!(file = %path.display(), "others could read a file of the store: now they cannot");
    file.set_permissions(Permissions::from_mode(OWNER_ALONE))
}

/// The database's log and its index, where a crash left them. What SQLite makes anew takes the database's mode.
fn draw_in_the_log(store: &Path) -> Result<(), OpenError> {
    for suffix in ["-wal", "-shm"] {
        let mut path = store.as_os_str().to_owned();
        path.push(suffix);
        match OpenOptions::new().write(true).open(&path) {
            Ok(file) => draw_in(path.as_ref(), &file).map_err(|error| file_error(path.as_ref(), error))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(file_error(path.as_ref(), error)),
        }
    }
    Ok(())
}

/// Takes the store for this process. The lock is the kernel's, so that it is free the moment the process is gone.
fn hold(store: &Path) -> Result<File, OpenError> {
    let path = beside(store, "lock");
    let mut file = private(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Who holds it may be writing its number just now: then it is told without.
            let _ = file.read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "unknown".to_owned() } else { pid.trim().to_owned() };
            return Err(OpenError::Held { store: store.to_owned(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(file_error(&path, error)),
    }
    let pid = format!("{}\n", std::process::id());
    let written =
        file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0))).and_then(|_| file.write_all(pid.as_bytes()));
    written.map(|()| file).map_err(|error| file_error(&path, error))
}

/// The key of PINs: made at the first start. A file of another length is no key: PINs hashed by it would fit nobody.
fn pin_key(path: &Path) -> Result<PinKey, OpenError> {
    let mut key = [0; KEY_LEN];
    let mut file = private(path)?;
    let mut found = Vec::new();
    file.read_to_end(&mut found).map_err(|error| file_error(path, error))?;
    if found.is_empty() {
        rand::fill(&mut key);
        file.write_all(&key).and_then(|()| file.sync_all()).map_err(|error| file_error(path, error))?;
        return Ok(PinKey::new(key));
    }
    let short = || OpenError::Unreadable(format!("{} is not a key of {KEY_LEN} bytes", path.display()));
    Ok(PinKey::new(found.try_into().map_err(|_| short())?))
}

/// FULL, not NORMAL: what was answered must survive the power plug. With batches it costs nothing (research/crates.md 5).
fn writer_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY)
}

fn reader_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY)
}

/// The one task that writes.
struct Writer {
    books: Books,
    publish: watch::Sender<Arc<Facts>>,
    connect: SqliteConnectOptions,
    batch: usize,
    _lock: File,
}

impl Writer {
    /// Works until every [`Desk`] is gone.
    async fn work(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut batch = Vec::with_capacity(self.batch);
        while queue.recv_many(&mut batch, self.batch).await > 0 {
            self.write(std::mem::take(&mut batch)).await;
        }
        // The last connection folds the log into the database; a failure leaves the log, which the next start reads.
        let _ = self.books.conn.close().await;
    }

    /// One batch: all that went well is durable before anybody hears of it.
    async fn write(&mut self, batch: Vec<Job>) {
        if let Err(fault) = self.run("BEGIN IMMEDIATE").await {
            metrics::counter!(name::STORE_FAULTS).increment(1);
            tracing::error!(%fault, "the books cannot be opened for writing");
            batch.into_iter().for_each(|job| job.refuse(fault.clone()));
            return self.begin_anew().await;
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
            jobs.into_iter().for_each(|job| job.refuse(fault.clone()));
        }
    }

    /// Requests of legs, worked out one after the other and written at once. Where one of them fails nothing of the run is
    /// kept: they are done again, each by itself.
    async fn together(&mut self, run: Vec<Job>, done: &mut Vec<Done>) -> Result<(), StoreError> {
        let mut fate = self.run("SAVEPOINT run").await;
        let mut outcomes = Vec::with_capacity(run.len());
        for job in run {
            outcomes.push(job.run(&mut self.books).await);
        }
        let failed = outcomes.iter().find_map(Done::fault).cloned();
        if fate.is_ok() {
            fate = match failed {
                Some(fault) => Err(fault),
                None => self.books.write().await,
            };
        }
        if fate.is_ok() {
            done.append(&mut outcomes);
            return self.run("RELEASE run").await;
        }
        if fate.as_ref().is_err_and(StoreError::is_down) {
            done.append(&mut outcomes);
            return fate;
        }
        self.books.forget();
        let mut fate = self.run("ROLLBACK TO run; RELEASE run").await;
        let mut again = outcomes.into_iter().map(Done::again);
        for job in again.by_ref() {
            if fate.is_ok() {
                fate = self.one(job, done).await;
            } else {
                job.refuse(StoreError::Down("the batch was given up".to_owned()));
            }
        }
        fate
    }

    /// One request behind its savepoint. An error is the fault that ends the whole batch.
    async fn one(&mut self, job: Job, done: &mut Vec<Done>) -> Result<(), StoreError> {
        let keeps = job.is_on_the_sheet();
        if !keeps {
            self.books.forget();
        }
        self.books.careful = true;
        let before = self.run("SAVEPOINT request").await;
        let outcome = job.run(&mut self.books).await;
        let written = match outcome.fault() {
            None => self.books.write().await,
            Some(fault) => Err(fault.clone()),
        };
        self.books.careful = false;
        if !keeps || written.is_err() {
            self.books.forget();
        }
        let outcome = outcome.failing(&written);
        let fate = match (before, written) {
            (Err(fault), _) => Err(fault),
            (Ok(()), Err(fault)) if fault.is_down() => Err(fault),
            (Ok(()), Ok(())) => self.run("RELEASE request").await,
            (Ok(()), Err(_)) => self.run("ROLLBACK TO request; RELEASE request").await,
        };
        done.push(outcome);
        fate
    }

    async fn conclude(&mut self, fate: &Result<(), StoreError>) {
        match fate {
            Ok(()) => {
                metrics::counter!(name::STORE_COMMITS).increment(1);
                let fresh = self.books.facts.clone();
                self.publish.send_if_modified(|shown| {
                    let changed = shown.version != fresh.version;
                    *shown = fresh;
                    changed
                });
            }
            Err(fault) => {
                metrics::counter!(name::STORE_FAULTS).increment(1);
                tracing::error!(%fault, "the books could not be written; nothing of the batch is in them");
                self.begin_anew().await;
            }
        }
    }

    /// After a fault: back to what is durable, on a connection that is sound.
    async fn begin_anew(&mut self) {
        self.books.forget();
        self.books.facts = self.publish.borrow().clone();
        if self.run("ROLLBACK").await.is_ok() {
            return;
        }
        // No transaction was open, or the connection is no use: a new one tells. Where even that fails the old one
        // stays, and the next batch comes here again.
        if let Ok(conn) = self.connect.connect().await {
            self.books.conn = conn;
        }
    }

    async fn run(&mut self, sql: &'static str) -> Result<(), StoreError> {
        sqlx::raw_sql(sql).execute(&mut self.books.conn).await?;
        Ok(())
    }
}

impl Desk {
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

    /// Writes how long each live leg has talked, and returns when it is on the disk.
    pub async fn prove(&self, legs: Vec<(LegId, u64)>) -> Result<(), StoreError> {
        let life = self.life.clone();
        let written = tokio::task::spawn_blocking(move || {
            let mut life = life.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            life.prove(&legs)
        });
        let result = written.await.map_err(|error| StoreError::Down(error.to_string()))?;
        result.map_err(|error| {
            metrics::counter!(name::STORE_FAULTS).increment(1);
            StoreError::Down(error.to_string())
        })
    }

    /// The last proofs, of whichever life wrote them.
    pub fn proofs(&self) -> Result<std::collections::HashMap<LegId, u64>, StoreError> {
        let life = self.life.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let pages = [life.page(0), life.page(1)].map(|page| page.map_err(|error| StoreError::Down(error.to_string())));
        let [first, second] = pages;
        Ok(life::newest([first?, second?]).legs)
    }
}

/// The two pages of proofs, a file each.
#[derive(Debug)]
struct LifeFile {
    pages: [File; 2],
    turn: u64,
}

impl LifeFile {
    fn open(store: &Path, node: &str) -> Result<LifeFile, OpenError> {
        let page = |number: u8| private(&beside(store, &format!("life-{node}-{number}")));
        let mut life = LifeFile { pages: [page(0)?, page(1)?], turn: 0 };
        let found = [life.page(0), life.page(1)].map(|page| page.ok().flatten());
        life.turn = life::newest(found).turn;
        Ok(life)
    }

    fn page(&self, number: usize) -> std::io::Result<Option<life::Page>> {
        let file = &self.pages[number];
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        let mut bytes = vec![0; length.min(life::LONGEST_PAGE)];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(life::read(&bytes))
    }

    fn prove(&mut self, legs: &[(LegId, u64)]) -> std::io::Result<()> {
        let turn = self.turn + 1;
        let file = &self.pages[(turn % 2) as usize];
        file.write_all_at(&life::write(turn, legs), 0)?;
        file.sync_data()?;
        self.turn = turn;
        Ok(())
    }
}
