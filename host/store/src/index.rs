//! The index: one SQLite file in WAL mode, shared by processes. Holds the schema and the transactions' manners;
//! knows nothing of what the rows mean.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use crate::fail::point;
use crate::fault::{Fault, is_full};
use crate::layout;

/// The version of the index's schema that this program reads and writes.
pub const INDEX_VERSION: i64 = 4;

/// Small blobs live here instead of in files: ten thousand tiny artifacts are one transaction, not as many syncs.
const FIRST: &str = "
CREATE TABLE blobs (
    digest BLOB PRIMARY KEY, size INTEGER NOT NULL, used INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE results (
    key BLOB PRIMARY KEY, content BLOB, cell TEXT NOT NULL, executor TEXT NOT NULL,
    outcome TEXT NOT NULL, created INTEGER NOT NULL, used INTEGER NOT NULL,
    evicted INTEGER NOT NULL DEFAULT 0, outputs TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX results_by_content ON results (content, created) WHERE content IS NOT NULL;
CREATE TABLE metas (key BLOB PRIMARY KEY, meta TEXT NOT NULL);
CREATE TABLE programs (key BLOB PRIMARY KEY, digest BLOB NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    path BLOB PRIMARY KEY, dev INTEGER NOT NULL, ino INTEGER NOT NULL, size INTEGER NOT NULL,
    mtime INTEGER NOT NULL, ctime INTEGER NOT NULL, digest BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE tools (key TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;
";

/// What leads from each version to the next. Never edited once released: a store may be at any of them.
const STEPS: &[&str] =
    &[FIRST, "ALTER TABLE results ADD COLUMN wall REAL NOT NULL DEFAULT 0", THIRD, FOURTH];

/// Checksums of rows (none for those written before), what flows say of outputs, and the size that the store counts of itself.
const THIRD: &str = "
ALTER TABLE results ADD COLUMN marks TEXT NOT NULL DEFAULT '';
ALTER TABLE results ADD COLUMN sum BLOB;
ALTER TABLE metas ADD COLUMN sum BLOB;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
";

/// How often what was known of a result became untrue, and what was known of whole flows at such a count. Triggers count: no statement,
/// here or in a later version, can forget to.
const FOURTH: &str = "
INSERT OR IGNORE INTO counters (name, value) VALUES ('changes', 0);
CREATE TRIGGER result_replaced BEFORE INSERT ON results WHEN EXISTS (SELECT 1 FROM results WHERE key = NEW.key)
    BEGIN UPDATE counters SET value = value + 1 WHERE name = 'changes'; END;
CREATE TRIGGER result_changed AFTER UPDATE OF key, outcome, evicted, outputs, marks ON results
    WHEN OLD.key IS NOT NEW.key OR OLD.outcome IS NOT NEW.outcome OR OLD.evicted IS NOT NEW.evicted
        OR OLD.outputs IS NOT NEW.outputs OR OLD.marks IS NOT NEW.marks
    BEGIN UPDATE counters SET value = value + 1 WHERE name = 'changes'; END;
CREATE TRIGGER result_gone AFTER DELETE ON results
    BEGIN UPDATE counters SET value = value + 1 WHERE name = 'changes'; END;
CREATE TRIGGER blob_gone AFTER DELETE ON blobs
    BEGIN UPDATE counters SET value = value + 1 WHERE name = 'changes'; END;
CREATE TABLE unchanged (key BLOB PRIMARY KEY, used INTEGER NOT NULL, sum BLOB NOT NULL, data BLOB NOT NULL);
";

/// Why a database could not be opened.
pub(crate) enum IndexError {
    /// It was written by a newer program.
    Newer(i64),
    /// It is no database, or a damaged one.
    Unreadable(rusqlite::Error),
    /// Anything else, a full disk among it.
    Other(rusqlite::Error),
}

fn sort(error: rusqlite::Error) -> IndexError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => IndexError::Unreadable(error),
        _ => IndexError::Other(error),
    }
}

/// Opens the store's index, making it if it is not there.
pub(crate) fn open(path: &Path) -> Result<Connection, IndexError> {
    open_with(path, STEPS)
}

/// Opens a database and brings it to the version that `steps` lead to. The caller holds a lock that keeps others from doing the same at
/// once: the switch to WAL is the one moment when SQLite answers "busy" without waiting.
pub(crate) fn open_with(path: &Path, steps: &[&str]) -> Result<Connection, IndexError> {
    match open_in(path, steps, Sharing::Shared) {
        // The shared memory of a WAL is a file, too. Who has the index alone needs none: reading goes on.
        Err(IndexError::Other(error)) if is_full(path.parent().unwrap_or(path), &error) => {
            open_in(path, steps, Sharing::Alone)
        }
        other => other,
    }
}

/// The same of a database that somebody else may have made: it must hold what was put there and do nothing of its own.
pub(crate) fn open_plain(path: &Path, steps: &[&str]) -> Result<Connection, IndexError> {
    let connection = open_with(path, steps)?;
    let doing: i64 = connection
        .query_row(
            "SELECT count(*) FROM sqlite_schema
             WHERE type NOT IN ('table', 'index') OR sql LIKE 'CREATE VIRTUAL%'",
            [],
            |row| row.get(0),
        )
        .map_err(sort)?;
    if doing > 0 {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        let why = Some("it has views, triggers or virtual tables".to_owned());
        return Err(IndexError::Unreadable(rusqlite::Error::SqliteFailure(code, why)));
    }
    Ok(connection)
}

/// The index of a store, held open beside those who use it: who closes it is not the last one, who would have to carry its log over into the file, wait for
/// the disk twice and remove the log, which the next one would make anew.
#[derive(Debug)]
pub struct HeldOpen(#[allow(dead_code, reason = "it is there to be there")] Connection);

/// Holds the index of the store in `root` open, if there is one. No lock goes with it.
#[must_use]
pub fn hold_open(root: &Path) -> Option<HeldOpen> {
    let path = root.join(layout::INDEX);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).ok()?;
    leave_log(&connection).ok()?;
    // The log is opened by the first who reads.
    user_version(&connection).ok()?;
    Some(HeldOpen(connection))
}

/// How long who wants to write waits for another who does.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a log may be, in pages, before it is carried over by who made it so: what is in a log is read page by page.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Log {
    /// That of a history is left to whoever comes next, who reads it.
    History,
    /// That of a store is carried over by the last one who closes it, unless a daemon goes on.
    Store,
    /// That of who goes on to write: to carry it over waits for the disk twice, and what is written again before is carried over once.
    Growing,
}

impl Log {
    const fn pages(self) -> u32 {
        match self {
            Self::History => 100,
            Self::Store => 1000,
            Self::Growing => 8192,
        }
    }
}

/// Bytes of a page in a log, with what is said of it.
const LOG_PAGE: u64 = 4096 + 24;

/// Has a connection leave the log as it is when it is closed: the next one reads it, and whoever makes it long carries it over. Whatever is at its name by
/// then is not touched.
pub(crate) fn leave_log(connection: &Connection) -> Result<(), rusqlite::Error> {
    let_log_grow(connection, Log::History)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(drop)
}

/// Lets the log grow as far as this, from the next commit of this connection on.
pub(crate) fn let_log_grow(connection: &Connection, most: Log) -> Result<(), rusqlite::Error> {
    connection.pragma_update(None, "wal_autocheckpoint", most.pages())
}

/// Takes away the log of the database in a folder where it has grown: who opens that next reads a log as long as it ever was. It is left where somebody
/// uses it, and where its content can't be carried over: nothing is lost then.
pub(crate) fn shorten_log(
    connection: &Connection,
    folder: &Path,
    most: Log,
) -> Result<(), rusqlite::Error> {
    let log = folder.join(layout::INDEX).with_extension("db-wal");
    let is_long = std::fs::symlink_metadata(log)
        .is_ok_and(|meta| meta.len() > 2 * u64::from(most.pages()) * LOG_PAGE);
    if is_long {
        connection.busy_timeout(Duration::ZERO)?;
        let _ = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        connection.busy_timeout(PATIENCE)?;
    }
    Ok(())
}

/// Whether other processes may have the index open at the same time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Shared,
    Alone,
}

fn open_in(path: &Path, steps: &[&str], sharing: Sharing) -> Result<Connection, IndexError> {
    let version = i64::try_from(steps.len()).unwrap_or(i64::MAX);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(sort)?;
    connection.busy_timeout(PATIENCE).map_err(sort)?;
    if sharing == Sharing::Alone {
        connection.execute_batch("PRAGMA locking_mode = EXCLUSIVE").map_err(sort)?;
    }
    let found = user_version(&connection).map_err(sort)?;
    if found > version {
        return Err(IndexError::Newer(found));
    }
    // With NORMAL a power cut can lose the last commits but never damages the file; what was lost is run again.
    connection
        .execute_batch(
            "PRAGMA trusted_schema = OFF; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY;
             PRAGMA mmap_size = 268435456; PRAGMA cache_size = -16384; PRAGMA foreign_keys = OFF;",
        )
        .map_err(sort)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Else a statement that an index with a condition might serve is prepared anew for each value.
    let stable = rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG;
    connection.set_db_config(stable, true).map_err(sort)?;
    if found < version {
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sort)?;
        // Another process may have been faster.
        let found = user_version(&transaction).map_err(sort)?;
        if found > version {
            return Err(IndexError::Newer(found));
        }
        for step in steps.iter().skip(usize::try_from(found).unwrap_or(0)) {
            transaction.execute_batch(step).map_err(sort)?;
            point("index brought up");
        }
        transaction.pragma_update(None, "user_version", version).map_err(sort)?;
        transaction.commit().map_err(sort)?;
    }
    Ok(connection)
}

fn user_version(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Runs `body` in one write transaction. Immediate, so that two processes queue instead of one failing half-way.
pub(crate) fn write<T>(
    connection: &mut Connection,
    folder: &Path,
    body: impl FnOnce(&Transaction<'_>) -> Result<T, rusqlite::Error>,
) -> Result<T, Fault> {
    let fault = |error| Fault::index("write to", folder, error);
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
    point("transaction begun");
    let value = body(&transaction).map_err(fault)?;
    point("transaction filled");
    transaction.commit().map_err(fault)?;
    point("transaction committed");
    Ok(value)
}

/// A digest out of a row.
pub(crate) fn digest(bytes: &[u8]) -> Option<polyloom_model::Digest> {
    Some(polyloom_model::Digest::from_bytes(bytes.try_into().ok()?))
}
