//! Copies of the books: one text form for both databases, taken from one moment while the bridge runs, and read back into
//! an empty store of either kind. The key of PINs is not in it, but which key it has to be is.
//!
//! A line of JSON each: what it is and of which edition; then, a table after the other, its name and columns, and its rows
//! as lists; at the end how many rows there were and the SHA-256 of all lines before. Two stores with the same books have
//! the same copy.

use super::fault::{OpenError, StoreError};
use super::pin;
use super::schema;
use super::sql::{self, Connection};
use super::{Options, Store, io};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::io::{BufRead, Write};

/// Rows that are read or written at a time.
const PAGE: i64 = 4_096;

/// The longest line: a deck of 200,000 rows is one value.
const LONGEST_LINE: usize = 256 << 20;

/// Every table of the books and the order of its rows, each after those that it refers to. (`node`, `schema_edition`,
/// `pin_key` and `guess` are the store's own.)
pub(super) const TABLES: &[(&str, &str)] = &[
    ("organisation", "id"),
    ("held_limit", "organisation, name"),
    ("token", "name"),
    ("seat", "organisation, kind"),
    ("organiser", "id"),
    ("licence", "organiser, kind"),
    ("meeting", "id"),
    ("number", "e164"),
    ("carrier", "id"),
    ("held_carrier_limit", "carrier"),
    ("country", "code"),
    ("deck", "edition"),
    ("exchange_rate", "base, quote, valid_from"),
    ("account", "organisation"),
    ("funding", "key"),
    ("pool", "organisation, month"),
    ("spend", "organisation, day"),
    ("spend_of", "whose, name, currency"),
    ("month_use", "organisation, month, call_type, destination"),
    ("grants", "id"),
    ("ledger_entry", "organisation, sequence"),
    ("leg", "id"),
    ("hold", "leg, step"),
    ("usage_record", "leg"),
    ("draw", "key, funding"),
    ("grant_use", "key"),
    ("correction", "key"),
    ("person", "leg"),
    ("dialog", "leg"),
    ("reconciliation", "hash"),
    ("reconciled", "leg"),
    ("alert_setting", "organisation"),
    ("recharge_setting", "organisation"),
    ("alert_level", "organisation"),
    ("alert", "key"),
    ("letter", "id"),
    ("hook_state", "owner, address"),
    ("recharge", "key"),
    ("trail", "sequence"),
    ("hot_number", "list, prefix"),
    ("dial_block", "organisation, destination"),
    ("hot_edition", "what"),
];

/// What a copy is: its first line.
const FORM: &str = "tollbridge books";

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    form: String,
    edition: i64,
    /// The fingerprint of the key of its PINs, where there are any.
    pin_key: Option<String>,
}

/// Before the rows of a table.
#[derive(Serialize, Deserialize)]
struct Table {
    table: String,
    columns: Vec<String>,
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    pub rows: u64,
    /// In hexadecimal.
    pub sha256: String,
}

/// A copy that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    pub sealed: Sealed,
    /// The fingerprint of the key without which its PINs are worth nothing; `None`: there is no PIN in it, or it is not noted
    /// of which key they are.
    pub pin_key: Option<String>,
    pub has_pins: bool,
}

/// What becomes of PINs when a copy is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pins {
    /// They stay, and the key has to be theirs.
    Kept,
    /// Nobody has one any more.
    Dropped,
}

/// A copy that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    pub sealed: Sealed,
    /// Users whose PIN was dropped.
    pub without_pin: u64,
}

/// Why there is no copy, or none was read back.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the copy cannot be written: {0}")]
    Write(std::io::Error),
    #[error("the copy cannot be read: {0}")]
    Read(std::io::Error),
    #[error("this is no whole copy of the books, line {line}: {why}")]
    Bad { line: u64, why: String },
    #[error("the copy is of schema {found}, and this program knows {known}: read it with the tollbridge that wrote it")]
    Edition { found: i64, known: i64 },
    #[error(
        "the PINs in this copy were hashed with another key than {file}: copy the pin-key file of the store that the copy was \
         taken from there, under that name, and read it again; or leave them out (--without-pins): then everybody gets a new PIN"
    )]
    OtherKey { file: String },
    #[error("the store {0} is not empty: a copy is read into a new one alone")]
    NotEmpty(String),
    #[error("{0} differences in the books that were read: nothing was kept")]
    Audit(usize),
}

impl From<sql::Error> for CopyError {
    fn from(error: sql::Error) -> CopyError {
        CopyError::Store(error.into())
    }
}

/// Where lines go; counted and hashed on the way.
struct Out<W> {
    to: W,
    hash: Sha256,
    rows: u64,
}

impl<W: Write> Out<W> {
    fn line(&mut self, line: &impl Serialize) -> Result<(), CopyError> {
        let mut text = serde_json::to_vec(line).map_err(|error| CopyError::Write(error.into()))?;
        text.push(b'\n');
        self.hash.update(&text);
        self.to.write_all(&text).map_err(CopyError::Write)
    }
}

/// Copies the books that `url` names, as they are at one moment; whoever holds the store goes on. `tick` hears of each page,
/// with the rows so far.
pub async fn backup(url: &str, to: impl Write, mut tick: impl FnMut(u64)) -> Result<Copied, CopyError> {
    let mut conn = io::look(url).await?;
    let (pin_key, has_pins) = (pin::kept(&mut conn).await?, pin::has_any(&mut conn).await?);
    let mut out = Out { to, hash: Sha256::new(), rows: 0 };
    out.line(&Head { form: FORM.to_owned(), edition: schema::NEWEST, pin_key: pin_key.clone() })?;
    for (table, order) in TABLES.iter().copied() {
        write_table(&mut conn, &mut out, table, order, &mut tick).await?;
    }
    let Out { mut to, hash, rows } = out;
    let sealed = Sealed { rows, sha256: hex(&hash.finalize()) };
    let last = serde_json::to_string(&sealed).map_err(|error| CopyError::Write(error.into()))?;
    writeln!(to, "{last}").and_then(|()| to.flush()).map_err(CopyError::Write)?;
    Ok(Copied { sealed, pin_key, has_pins })
}

async fn write_table<W: Write>(
    conn: &mut Connection,
    out: &mut Out<W>,
    table: &'static str,
    order: &'static str,
    tick: &mut impl FnMut(u64),
) -> Result<(), CopyError> {
    let mut columns = conn.columns(table).await?;
    let names = columns.iter().map(|(name, _)| name.clone()).collect();
    out.line(&Table { table: table.to_owned(), columns: names })?;
    let columns: Vec<(usize, bool)> = columns.drain(..).map(|(_, is_number)| is_number).enumerate().collect();
    let mut skip = 0;
    loop {
        let rows = conn.page(table, order, skip, PAGE).await?;
        for row in &rows {
            let cell = |(at, is_number): &(usize, bool)| -> Result<Value, sql::Error> {
                Ok(if *is_number {
                    row.try_get::<Option<i64>, _>(*at)?.map_or(Value::Null, Value::from)
                } else {
                    row.try_get::<Option<String>, _>(*at)?.map_or(Value::Null, Value::from)
                })
            };
            out.line(&columns.iter().map(cell).collect::<Result<Vec<Value>, _>>()?)?;
        }
        out.rows += rows.len() as u64;
        skip += rows.len() as i64;
        tick(out.rows);
        if (rows.len() as i64) < PAGE {
            return Ok(());
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Where lines come from.
struct In<R> {
    from: R,
    hash: Sha256,
    rows: u64,
    line: u64,
    text: Vec<u8>,
}

impl<R: BufRead> In<R> {
    /// The next line, without having counted it among those that are sealed.
    fn next(&mut self) -> Result<&[u8], CopyError> {
        self.line += 1;
        self.text.clear();
        let mut limited = std::io::Read::take(&mut self.from, LONGEST_LINE as u64);
        limited.read_until(b'\n', &mut self.text).map_err(CopyError::Read)?;
        if self.text.last() != Some(&b'\n') {
            return Err(self.bad("it ends here, before its seal"));
        }
        Ok(&self.text)
    }

    fn bad(&self, why: impl std::fmt::Display) -> CopyError {
        CopyError::Bad { line: self.line, why: why.to_string() }
    }

    fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, CopyError> {
        serde_json::from_slice(&self.text).map_err(|error| self.bad(error))
    }

    fn seal(&mut self) {
        self.hash.update(&self.text);
    }
}

/// Reads a copy into the empty store that `url` names, all of it or nothing, and audits what was read.
pub async fn restore(
    url: &str,
    options: Options,
    pins: Pins,
    from: impl BufRead,
    mut tick: impl FnMut(u64),
) -> Result<Restored, CopyError> {
    let key_file = io::key_file_of(url, &options.folder);
    // Opened once as a bridge would: it is made, brought up to date, and nobody else's.
    let store = Store::open(url, options).await?;
    let mut conn = io::write_beside(url).await?;
    for (table, order) in TABLES.iter().copied() {
        if !conn.page(table, order, 0, 1).await?.is_empty() {
            return Err(CopyError::NotEmpty(store.place().to_owned()));
        }
    }
    let mut lines = In { from, hash: Sha256::new(), rows: 0, line: 0, text: Vec::new() };
    conn.run("BEGIN").await?;
    let (head, sealed) = read(&mut conn, &mut lines, &mut tick).await?;
    let is_another = head.pin_key.as_ref().is_some_and(|key| *key != store.facts().pins().fingerprint());
    let without_pin = match pins {
        Pins::Dropped => pin::drop_all(&mut conn).await?,
        Pins::Kept if is_another => return Err(CopyError::OtherKey { file: key_file.display().to_string() }),
        Pins::Kept => 0,
    };
    let known = head.pin_key.as_deref().filter(|_| pins == Pins::Kept);
    pin::restore(&mut conn, known).await?;
    let differences = super::audit::audit(&mut conn).await?;
    if !differences.is_empty() {
        return Err(CopyError::Audit(differences.len()));
    }
    conn.run("COMMIT").await?;
    conn.close().await?;
    Ok(Restored { sealed, without_pin })
}

/// Dropped with its transaction open where anything fails: then nothing was read.
async fn read<R: BufRead>(
    conn: &mut Connection,
    lines: &mut In<R>,
    tick: &mut impl FnMut(u64),
) -> Result<(Head, Sealed), CopyError> {
    lines.next()?;
    let head: Head = lines.parse()?;
    if head.form != FORM {
        return Err(lines.bad("not a copy of books"));
    }
    if head.edition != schema::NEWEST {
        return Err(CopyError::Edition { found: head.edition, known: schema::NEWEST });
    }
    lines.seal();
    lines.next()?;
    for (table, _) in TABLES {
        read_table(conn, lines, table, tick).await?;
    }
    let sealed: Sealed = lines.parse()?;
    let found = hex(&lines.hash.clone().finalize());
    if (sealed.rows, sealed.sha256.as_str()) != (lines.rows, found.as_str()) {
        return Err(lines.bad("the seal does not fit: a line was changed, left out or put between"));
    }
    Ok((head, sealed))
}

/// The table's head has been read; on return the line behind its rows has.
async fn read_table<R: BufRead>(
    conn: &mut Connection,
    lines: &mut In<R>,
    table: &'static str,
    tick: &mut impl FnMut(u64),
) -> Result<(), CopyError> {
    let head: Table = lines.parse()?;
    let columns = conn.columns(table).await?;
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    if head.table != table || head.columns != names {
        return Err(lines.bad(format_args!("expected the table {table} with its columns")));
    }
    lines.seal();
    let mut page: Vec<u8> = b"[".to_vec();
    let mut rows = 0;
    loop {
        let is_row = lines.next()?.first() == Some(&b'[');
        if is_row {
            lines.parse::<Vec<Value>>()?;
            lines.seal();
            if rows > 0 {
                page.push(b',');
            }
            page.extend_from_slice(&lines.text);
            rows += 1;
        }
        if rows > 0 && (!is_row || rows == PAGE || page.len() > LONGEST_LINE) {
            page.push(b']');
            let text = std::str::from_utf8(&page).map_err(|error| lines.bad(error))?;
            let filled = conn.fill(table, &columns, text).await.map_err(|error| lines.bad(error))?;
            lines.rows += filled;
            tick(lines.rows);
            page.truncate(1);
            rows = 0;
        }
        if !is_row {
            return Ok(());
        }
    }
}
