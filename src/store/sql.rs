//! One SQL for two databases: SQLite in a file of ours, PostgreSQL on a server. Statements are the same text for both
//! (`$1` and BIGINT in either; the few that cannot be stand in this file), values are whole numbers and texts alone, and
//! what passes the room's other files is these types, never a driver's.

use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::postgres::{PgArguments, PgConnectOptions, PgPool, PgRow};
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteRow, SqliteSynchronous,
};
use sqlx::{
    Arguments, ColumnIndex, ConnectOptions, Connection as _, Decode, PgConnection, Postgres, Row as _, Sqlite,
    SqliteConnection, Type,
};
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(super) type Error = sqlx::Error;

/// The primary result code of a constraint that failed, a trigger's included (sqlite.org/rescode.html).
const SQLITE_CONSTRAINT: u32 = 19;

/// Whether the database refused what was asked (a constraint, a guard, a value that is none), rather than failed: asked
/// again it would refuse again. PostgreSQL's classes 22 and 23 (its manual, appendix A).
pub(super) fn is_refused(error: &Error) -> bool {
    if matches!(error, Error::ColumnDecode { .. } | Error::RowNotFound) {
        return true;
    }
    let Some(code) = error.as_database_error().and_then(|told| told.code()) else { return false };
    // PostgreSQL's have five characters, SQLite's are numbers of at most four.
    match code.parse::<u32>().ok().filter(|_| code.len() < 5) {
        Some(code) => code & 0xff == SQLITE_CONSTRAINT,
        None => code.starts_with("22") || code.starts_with("23"),
    }
}

/// Whether the database gave it up because of another's transaction (class 40: two that wait for each other).
pub(super) fn is_race(error: &Error) -> bool {
    error.as_database_error().and_then(|told| told.code()).is_some_and(|code| code.len() == 5 && code.starts_with("40"))
}

/// Whether SQLite was refused a lock that another holds (rescode.html again).
fn is_busy(error: &Error) -> bool {
    let code = error.as_database_error().and_then(|told| told.code());
    code.and_then(|code| code.parse::<u32>().ok()).is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Sqlite,
    Postgres,
}

impl Kind {
    /// A file of the schema in this database's words. The files are SQLite's; what differs is the name of a whole number,
    /// the order of texts (by their bytes, in either), STRICT, and how a trigger refuses.
    fn schema(self, text: &str) -> String {
        match self {
            Kind::Sqlite => text.to_owned(),
            Kind::Postgres => text
                .split_inclusive(';')
                .map(|statement| trigger(statement).unwrap_or_else(|| in_postgres(statement)))
                .collect(),
        }
    }
}

fn in_postgres(statement: &str) -> String {
    let words = [(" INTEGER", " BIGINT"), (" TEXT", " TEXT COLLATE \"C\""), (") STRICT;", ");")];
    words.iter().fold(statement.to_owned(), |text, (ours, theirs)| text.replace(ours, theirs))
}

/// `CREATE TRIGGER … BEGIN SELECT RAISE(ABORT, 'words'); END;` comes in two pieces, the second of them ` END;`.
fn trigger(statement: &str) -> Option<String> {
    if statement.trim() == "END;" {
        return Some(String::new());
    }
    let (head, rest) = statement.split_once("\nBEGIN SELECT RAISE(ABORT, ")?;
    let words = rest.strip_suffix(");")?;
    let each = format!("{head}\nFOR EACH ROW EXECUTE FUNCTION is_kept({words});");
    // SQLite empties a table by DELETE; PostgreSQL has a word more.
    let Some((before, table)) = head.split_once(" BEFORE DELETE ON ") else { return Some(each) };
    let all =
        format!("{before}_at_once BEFORE TRUNCATE ON {table}\nFOR EACH STATEMENT EXECUTE FUNCTION is_kept({words});");
    let all = &all[all.find("CREATE")?..];
    Some(format!("{each}\n{all}"))
}

/// Whether a connection waits for its database, seen from beside it: grows when a statement goes out, and again when its
/// answer is there (or is waited for no more), so that it is odd in between.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulse(Arc<AtomicU64>);

impl Pulse {
    /// Which statement is out; `None` where none is.
    pub fn waits_for(&self) -> Option<u64> {
        let count = self.0.load(Ordering::Relaxed);
        (count % 2 == 1).then_some(count)
    }

    /// Something is asked of the database until this is dropped. One at a time.
    pub fn wait(&self) -> impl Drop + use<> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Waiting(self.clone())
    }
}

struct Waiting(Pulse);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection: the writer's own, or one that a pool has lent.
pub(super) enum Connection {
    Sqlite(Box<SqliteConnection>, Pulse),
    Postgres(Box<PgConnection>, Pulse),
    LentSqlite(PoolConnection<Sqlite>),
    LentPostgres(PoolConnection<Postgres>),
}

/// Does the same on whichever connection it is: `$values` puts values into its driver's words, `$row` its rows into ours.
macro_rules! on {
    ($conn:expr, |$it:ident, $values:ident, $row:ident| $done:expr) => {
        match $conn {
            Connection::Sqlite(conn, pulse) => {
                let ($it, $values, $row) = (&mut **conn, sqlite, Row::Sqlite);
                let _waiting = pulse.wait();
                $done
            }
            Connection::LentSqlite(conn) => {
                let ($it, $values, $row) = (&mut **conn, sqlite, Row::Sqlite);
                $done
            }
            Connection::Postgres(conn, pulse) => {
                let ($it, $values, $row) = (&mut **conn, postgres, Row::Postgres);
                let _waiting = pulse.wait();
                $done
            }
            Connection::LentPostgres(conn) => {
                let ($it, $values, $row) = (&mut **conn, postgres, Row::Postgres);
                $done
            }
        }
    };
}

/// A connection as its server knows it.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pid: i64,
    since: String,
}

/// How to reach a database.
#[derive(Clone, Debug)]
pub(super) enum Address {
    Sqlite(Box<SqliteConnectOptions>),
    Postgres(Box<PgConnectOptions>),
}

impl Address {
    /// A database of SQLite in a file, for the one who writes. FULL, not NORMAL: what was answered must survive the power
    /// plug. With batches it costs nothing (a sync a batch).
    pub fn sqlite_writer(path: &Path, patience: Duration) -> Address {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // What is deleted or emptied is overwritten: a caller's number may not stay in a page that is free.
            .pragma("secure_delete", "ON")
            .busy_timeout(patience);
        Address::Sqlite(Box::new(options))
    }

    /// A database that nobody else will ever see: no file is made beside it. Without a path it is empty, and in memory.
    pub fn sqlite_apart(path: Option<&Path>) -> Address {
        let options = SqliteConnectOptions::new()
            .filename(path.unwrap_or(Path::new(":memory:")))
            .journal_mode(SqliteJournalMode::Memory)
            .synchronous(SqliteSynchronous::Off)
            .foreign_keys(true)
            .pragma("temp_store", "MEMORY");
        Address::Sqlite(Box::new(options))
    }

    pub fn sqlite_reader(path: &Path, patience: Duration) -> Address {
        Address::Sqlite(Box::new(SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(patience)))
    }

    /// `postgres://user:password@host:5432/database?sslmode=…`; what is left out is taken from the environment and the
    /// password file that PostgreSQL's own programs read. `None` where it is no such address.
    pub fn postgres(url: &str) -> Option<Address> {
        let options: PgConnectOptions = url.parse().ok()?;
        let options = options
            .application_name("tollbridge")
            // A lock that another holds, or a statement that does not end, is an error in time, not a call that waits.
            .options([("lock_timeout", "5s"), ("idle_in_transaction_session_timeout", "60s")])
            .log_statements(log::LevelFilter::Off);
        Some(Address::Postgres(Box::new(options)))
    }

    /// The same, for the one who writes: all that it asks and changes it finds by keys, a few rows at a time, however large
    /// the tables are. A planner that does not know how many items a list has would read a whole table for them.
    pub fn by_keys(self) -> Address {
        const BY_KEYS: [(&str, &str); 5] = [
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("plan_cache_mode", "force_generic_plan"),
            // What is switched off is planned all the same where nothing else will do, at a cost that looks enormous.
            ("jit", "off"),
        ];
        match self {
            Address::Postgres(options) => Address::Postgres(Box::new(options.options(BY_KEYS))),
            Address::Sqlite(options) => Address::Sqlite(options),
        }
    }

    pub async fn connect(&self) -> Result<Connection, Error> {
        Ok(match self {
            Address::Sqlite(options) => Connection::Sqlite(Box::new(options.connect().await?), Pulse::default()),
            Address::Postgres(options) => Connection::Postgres(Box::new(options.connect().await?), Pulse::default()),
        })
    }
}

/// Connections for those who only read.
#[derive(Clone, Debug)]
pub(super) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Pool {
    /// At most `most` connections, each made when it is wanted. Whoever waits longer than `patience` for one is told so.
    pub fn new(address: Address, most: u32, patience: Duration) -> Pool {
        match address {
            Address::Sqlite(options) => Pool::Sqlite(pool(most, patience).connect_lazy_with(*options)),
            Address::Postgres(options) => Pool::Postgres(pool(most, patience).connect_lazy_with(*options)),
        }
    }

    pub async fn acquire(&self) -> Result<Connection, Error> {
        Ok(match self {
            Pool::Sqlite(pool) => Connection::LentSqlite(pool.acquire().await?),
            Pool::Postgres(pool) => Connection::LentPostgres(pool.acquire().await?),
        })
    }

    /// A connection that sees the database as it is now, whatever is written beside it; it ends with its last use.
    pub async fn snapshot(&self) -> Result<Connection, Error> {
        let mut conn = self.acquire().await?;
        let begin = match &mut conn {
            Connection::LentSqlite(conn) => {
                conn.close_on_drop();
                "BEGIN"
            }
            Connection::LentPostgres(conn) => {
                conn.close_on_drop();
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
            }
            Connection::Sqlite(..) | Connection::Postgres(..) => "BEGIN",
        };
        conn.run(begin).await?;
        Ok(conn)
    }
}

fn pool<DB: sqlx::Database>(most: u32, patience: Duration) -> PoolOptions<DB> {
    PoolOptions::new().max_connections(most.max(1)).acquire_timeout(patience)
}

impl Connection {
    pub const fn kind(&self) -> Kind {
        match self {
            Connection::Sqlite(..) | Connection::LentSqlite(_) => Kind::Sqlite,
            Connection::Postgres(..) | Connection::LentPostgres(_) => Kind::Postgres,
        }
    }

    /// Runs statements that have no values and no answer.
    pub async fn run(&mut self, sql: &'static str) -> Result<(), Error> {
        on!(self, |conn, _values, _row| sqlx::raw_sql(sql).execute(conn).await.map(|_| ()))
    }

    /// Opens a transaction that writes, and asks a first question of two numbers about a name (`$1`), each database its
    /// own. One way to a server and back: it is on the path of every call.
    pub async fn begin(&mut self, name: &str, question: [&'static str; 2]) -> Result<Option<(i64, i64)>, Error> {
        let row = match self.kind() {
            Kind::Sqlite => {
                self.run("BEGIN IMMEDIATE").await?;
                query(question[0]).bind(name).fetch_optional(self).await?
            }
            // Two statements at once have no values: the name stands in them, as a text.
            Kind::Postgres => {
                let name = format!("'{}'", name.replace('\'', "''"));
                let text = sqlx::AssertSqlSafe(format!("BEGIN; {}", question[1].replace("$1", &name)));
                on!(self, |conn, _values, row| {
                    sqlx::raw_sql(text).fetch_all(conn).await?.into_iter().next().map(row)
                })
            }
        };
        row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose()
    }

    /// Runs a file of the schema.
    pub async fn define(&mut self, text: &'static str) -> Result<(), Error> {
        // Put together from our own files and nothing else.
        let text = sqlx::AssertSqlSafe(self.kind().schema(text));
        on!(self, |conn, _values, _row| sqlx::raw_sql(text).execute(conn).await.map(|_| ()))
    }

    /// Seen from beside it: whether an answer is waited for.
    pub fn pulse(&self) -> Pulse {
        match self {
            Connection::Sqlite(_, pulse) | Connection::Postgres(_, pulse) => pulse.clone(),
            Connection::LentSqlite(_) | Connection::LentPostgres(_) => Pulse::default(),
        }
    }

    /// It takes the place of the connection that this was of.
    pub fn beat(&mut self, with: Pulse) {
        if let Connection::Sqlite(_, pulse) | Connection::Postgres(_, pulse) = self {
            *pulse = with;
        }
    }

    /// The server's own end of this connection, by which another can end it. A file has none.
    pub async fn session(&mut self) -> Result<Option<Session>, Error> {
        if self.kind() == Kind::Sqlite {
            return Ok(None);
        }
        // Numbers of processes are used again: with its beginning it is this one and no other.
        let own = query(
            "SELECT CAST(pid AS BIGINT), CAST(backend_start AS TEXT) FROM pg_stat_activity \
             WHERE pid = pg_backend_pid()",
        );
        let row = own.fetch_one(self).await?;
        Ok(Some(Session { pid: row.try_get(0)?, since: row.try_get(1)? }))
    }

    /// Ends another connection of ours, and returns when what was open on it is rolled back: what the network still brings
    /// of it is not done any more.
    pub async fn end_session(&mut self, session: &Session) -> Result<(), Error> {
        let end = query(
            "SELECT COUNT(*) FROM (SELECT pg_terminate_backend(pid, 2000) AS ended FROM pg_stat_activity \
             WHERE CAST(pid AS BIGINT) = $1 AND CAST(backend_start AS TEXT) = $2) AS session WHERE NOT ended",
        );
        match end.bind(session.pid).bind(session.since.as_str()).fetch_one(self).await?.try_get::<i64, _>(0)? {
            0 => Ok(()),
            _ => Err(Error::Protocol("the connection before this one does not end".to_owned())),
        }
    }

    /// Takes a name for as long as this connection lives: `None`, or who has it. Only a server has names to take.
    pub async fn take_name(&mut self, name: &str) -> Result<Option<String>, Error> {
        if self.kind() == Kind::Sqlite {
            return Ok(None);
        }
        // Of this schema: tests and tenants share a database.
        let taken = query(
            "SELECT COUNT(*) FROM (SELECT pg_try_advisory_lock(hashtextextended(current_schema() || '/' || $1, 0)) AS ours) \
             AS taken WHERE ours",
        );
        if taken.bind(name).fetch_one(self).await?.try_get::<i64, _>(0)? == 1 {
            return Ok(None);
        }
        Ok(Some(self.holder_of(name).await?.unwrap_or("unknown".to_owned())))
    }

    /// Who has a name now. Only a server has names.
    pub async fn holder_of(&mut self, name: &str) -> Result<Option<String>, Error> {
        if self.kind() == Kind::Sqlite {
            return Ok(None);
        }
        let holder = query(
            "SELECT a.pid || COALESCE(' on ' || host(a.client_addr), '') FROM pg_locks l \
             JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.objsubid = 1 \
             AND (CAST(l.classid AS BIGINT) << 32 | CAST(l.objid AS BIGINT)) \
             = hashtextextended(current_schema() || '/' || $1, 0)",
        );
        holder.bind(name).fetch_optional(self).await?.map(|row| row.try_get(0)).transpose()
    }

    /// The columns of a table in their order: each one's name, and whether it holds whole numbers (else texts).
    pub async fn columns(&mut self, table: &str) -> Result<Vec<(String, bool)>, Error> {
        let columns = match self.kind() {
            Kind::Sqlite => query("SELECT name, type FROM pragma_table_info($1) ORDER BY cid"),
            Kind::Postgres => query(
                "SELECT CAST(attname AS TEXT), upper(format_type(atttypid, NULL)) FROM pg_attribute \
                 WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            ),
        };
        let rows = columns.bind(table).fetch_all(self).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<String, _>(1)?.contains("INT")))).collect()
    }

    /// A statement with a list goes from the list to the rows, by their keys: the other way round it reads the list anew for
    /// each row that there is, and a batch takes a second. SQLite's planner is asked, once a statement.
    #[cfg(test)]
    async fn is_led_by_its_list(&mut self, sql: &'static str) -> Result<(), Error> {
        static ASKED: std::sync::Mutex<std::collections::BTreeSet<&str>> =
            std::sync::Mutex::new(std::collections::BTreeSet::new());
        let (Connection::Sqlite(..) | Connection::LentSqlite(_)) = self else { return Ok(()) };
        if !sql.contains("FROM json_each($1)") || !ASKED.lock().unwrap().insert(sql) {
            return Ok(());
        }
        let text = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
        let rows: Vec<Row> = on!(self, |conn, _values, row| {
            sqlx::raw_sql(text).fetch_all(conn).await?.into_iter().map(row).collect()
        });
        let plan: Vec<String> = rows.iter().map(|row| row.try_get(3)).collect::<Result<_, _>>()?;
        let first = plan.iter().find(|step| ["SCAN", "SEARCH"].iter().any(|way| step.starts_with(way)));
        assert!(first.is_some_and(|step| step.contains("json_each")) || sql.contains(" IN ("), "{sql}: {plan:?}");
        Ok(())
    }

    /// The names of all tables.
    #[cfg(test)]
    pub async fn tables(&mut self) -> Result<Vec<String>, Error> {
        let tables = match self.kind() {
            Kind::Sqlite => query("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"),
            Kind::Postgres => query(
                "SELECT CAST(relname AS TEXT) FROM pg_class \
                 WHERE relkind = 'r' AND relnamespace = CAST(current_schema() AS regnamespace) ORDER BY 1",
            ),
        };
        tables.fetch_all(self).await?.iter().map(|row| row.try_get(0)).collect()
    }

    /// Puts whole rows, a JSON list each, into a table of ours, and says how many.
    pub async fn fill(&mut self, table: &'static str, columns: &[(String, bool)], rows: &str) -> Result<u64, Error> {
        let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
        let value = |(at, (_, is_number)): (usize, &(String, bool))| {
            if *is_number { format!("CAST(value ->> {at} AS BIGINT)") } else { format!("value ->> {at}") }
        };
        let values: Vec<String> = columns.iter().enumerate().map(value).collect();
        // Names of our own schema, as its catalogue has them.
        let text =
            format!("INSERT INTO {table} ({}) SELECT {} FROM json_each($1)", names.join(", "), values.join(", "));
        let text = sqlx::AssertSqlSafe(text);
        on!(self, |conn, values, _row| {
            let filled = sqlx::query_with(text, values(vec![rows.into()])?).execute(conn).await;
            filled.map(|done| done.rows_affected())
        })
    }

    /// A page of a table's rows in the order of its key, all columns, from the row `skip` on.
    pub async fn page(
        &mut self,
        table: &'static str,
        order: &'static str,
        skip: i64,
        most: i64,
    ) -> Result<Vec<Row>, Error> {
        let text = sqlx::AssertSqlSafe(format!("SELECT * FROM {table} ORDER BY {order} LIMIT $1 OFFSET $2"));
        Ok(on!(self, |conn, values, row| {
            let rows = sqlx::query_with(text, values(vec![most.into(), skip.into()])?).fetch_all(conn).await?;
            rows.into_iter().map(row).collect()
        }))
    }

    /// Copies the log into the database and empties it; `false` where somebody still reads what is in it. On a server: what
    /// is emptied goes out of the tables.
    pub async fn tidy_up(&mut self) -> Result<bool, Error> {
        if self.kind() == Kind::Postgres {
            // Every table whose rows have told of somebody. A page then gives the place of a row that is gone to the next
            // one; until then its bytes stand there, and in the server's log. To write a table anew would lock all out of it.
            self.run("VACUUM person, leg, hold, organiser, licence, meeting, spend_of, dialog, guess").await?;
            return Ok(true);
        }
        // Most of it beside whoever writes, and what is left while they wait a moment.
        self.run("PRAGMA wal_checkpoint(PASSIVE)").await?;
        match query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(self).await {
            Ok(row) => Ok(row.try_get::<i64, _>(0)? == 0),
            Err(error) if is_busy(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Says good-bye.
    pub async fn close(self) -> Result<(), Error> {
        match self {
            Connection::Sqlite(conn, _) => conn.close().await,
            Connection::Postgres(conn, _) => conn.close().await,
            Connection::LentSqlite(conn) => conn.close().await,
            Connection::LentPostgres(conn) => conn.close().await,
        }
    }
}

/// An address as it may be shown.
pub fn shown(url: &str) -> String {
    let hidden = || {
        let (scheme, rest) = url.split_once("://")?;
        let (user, host) = rest.rsplit_once('@')?;
        let (name, _) = user.split_once(':')?;
        Some(format!("{scheme}://{name}:…@{host}"))
    };
    hidden().unwrap_or_else(|| url.to_owned())
}

/// What a statement is given.
#[derive(Clone, Debug)]
pub(super) enum Value<'q> {
    Number(Option<i64>),
    Text(Option<Cow<'q, str>>),
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Value::Number(Some(number))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(number: Option<i64>) -> Self {
        Value::Number(number)
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Value::Number(Some(number.into()))
    }
}

impl From<Option<u32>> for Value<'_> {
    fn from(number: Option<u32>) -> Self {
        Value::Number(number.map(i64::from))
    }
}

/// Yes is 1, no is 0, in both databases.
impl From<bool> for Value<'_> {
    fn from(yes: bool) -> Self {
        Value::Number(Some(yes.into()))
    }
}

impl<'q> From<&'q str> for Value<'q> {
    fn from(text: &'q str) -> Self {
        Value::Text(Some(Cow::Borrowed(text)))
    }
}

impl<'q> From<&'q String> for Value<'q> {
    fn from(text: &'q String) -> Self {
        Value::Text(Some(Cow::Borrowed(text)))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Value::Text(Some(Cow::Owned(text)))
    }
}

impl<'q> From<Option<&'q str>> for Value<'q> {
    fn from(text: Option<&'q str>) -> Self {
        Value::Text(text.map(Cow::Borrowed))
    }
}

impl<'q> From<&'q Option<String>> for Value<'q> {
    fn from(text: &'q Option<String>) -> Self {
        Value::Text(text.as_deref().map(Cow::Borrowed))
    }
}

impl From<Option<String>> for Value<'_> {
    fn from(text: Option<String>) -> Self {
        Value::Text(text.map(Cow::Owned))
    }
}

/// What a row may be asked for: `i64`, `String`, and either of them or nothing.
pub(super) trait Cell:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

impl<T> Cell for T where T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres> {}

/// A column's name or its place.
pub(super) trait Column: ColumnIndex<SqliteRow> + ColumnIndex<PgRow> {}

impl<T> Column for T where T: ColumnIndex<SqliteRow> + ColumnIndex<PgRow> {}

/// One row of an answer.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub fn try_get<T: Cell, C: Column>(&self, column: C) -> Result<T, Error> {
        match self {
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => row.try_get(column),
        }
    }
}

/// A statement and its values.
pub(super) struct Query<'q> {
    sql: &'static str,
    values: Vec<Value<'q>>,
}

/// A statement that both databases understand.
pub(super) fn query<'q>(sql: &'static str) -> Query<'q> {
    Query { sql, values: Vec::new() }
}

impl<'q> Query<'q> {
    pub fn bind(mut self, value: impl Into<Value<'q>>) -> Query<'q> {
        self.values.push(value.into());
        self
    }

    /// How many rows it changed.
    pub async fn execute(self, conn: &mut Connection) -> Result<u64, Error> {
        #[cfg(test)]
        conn.is_led_by_its_list(self.sql).await?;
        Ok(on!(conn, |conn, values, _row| {
            sqlx::query_with(self.sql, values(self.values)?).execute(conn).await?.rows_affected()
        }))
    }

    pub async fn fetch_all(self, conn: &mut Connection) -> Result<Vec<Row>, Error> {
        #[cfg(test)]
        conn.is_led_by_its_list(self.sql).await?;
        Ok(on!(conn, |conn, values, row| {
            let rows = sqlx::query_with(self.sql, values(self.values)?).fetch_all(conn).await?;
            rows.into_iter().map(row).collect()
        }))
    }

    /// The first row; `None` where there is none.
    pub async fn fetch_optional(self, conn: &mut Connection) -> Result<Option<Row>, Error> {
        Ok(self.fetch_all(conn).await?.into_iter().next())
    }

    /// The first row; an error where there is none.
    pub async fn fetch_one(self, conn: &mut Connection) -> Result<Row, Error> {
        self.fetch_optional(conn).await?.ok_or(Error::RowNotFound)
    }
}

fn sqlite(values: Vec<Value<'_>>) -> Result<SqliteArguments, Error> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        match value {
            Value::Number(number) => arguments.add(number),
            Value::Text(text) => arguments.add(text.map(Cow::into_owned)),
        }
        .map_err(Error::Encode)?;
    }
    Ok(arguments)
}

fn postgres(values: Vec<Value<'_>>) -> Result<PgArguments, Error> {
    let mut arguments = PgArguments::default();
    for value in values {
        match value {
            Value::Number(number) => arguments.add(number),
            Value::Text(text) => arguments.add(text.as_deref()),
        }
        .map_err(Error::Encode)?;
    }
    Ok(arguments)
}
