//! Where a history is, and its index.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use polyloom_model::Digest;
use rusqlite::Connection;

use super::{HISTORY_VERSION, HistoryError, Previous, StepRow};
use crate::fault::Fault;
use crate::index::{self, IndexError};
use crate::layout;
use crate::results::outcome;
use crate::store::Store;

/// See the store's own index: what leads from each version to the next.
const STEPS: &[&str] = &[FIRST];

const FIRST: &str = "
CREATE TABLE runs (
    id TEXT PRIMARY KEY, started INTEGER NOT NULL, flow TEXT NOT NULL, argv TEXT NOT NULL,
    outcome TEXT, wall REAL, totals TEXT);
CREATE INDEX runs_by_start ON runs (started);
CREATE TABLE steps (
    run TEXT NOT NULL, cell TEXT NOT NULL, key TEXT NOT NULL, parts TEXT NOT NULL, outcome TEXT NOT NULL,
    reason TEXT NOT NULL, wall REAL NOT NULL, meta TEXT NOT NULL, PRIMARY KEY (run, cell));
CREATE TABLE latest (
    flow TEXT NOT NULL, cell TEXT NOT NULL, run TEXT NOT NULL, outcome TEXT NOT NULL,
    key TEXT NOT NULL, parts TEXT NOT NULL, PRIMARY KEY (flow, cell)) WITHOUT ROWID;
";

/// Where a project's history is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HistoryPlace {
    /// In the project's own `.polyloom`.
    Project(PathBuf),
    /// In the store, because the project can't be written to.
    Store {
        /// The folder.
        folder: PathBuf,
        /// Why not in the project, for people.
        reason: String,
    },
}

impl HistoryPlace {
    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        match self {
            Self::Project(folder) | Self::Store { folder, .. } => folder,
        }
    }
}

/// A project's history. Several processes may write runs into it at once.
#[derive(Debug)]
pub struct History {
    place: HistoryPlace,
    pub(super) folder: PathBuf,
    connection: Mutex<Connection>,
}

impl History {
    /// Whether anything has been recorded for a project; reading should not make folders where nothing was.
    #[must_use]
    pub fn is_there(project: &Path, store: &Store) -> bool {
        [project.join(".polyloom"), beside(project, store)]
            .iter()
            .any(|folder| folder.join(layout::INDEX).is_file())
    }

    /// Opens, and if need be makes, the history of the project in `project`.
    pub fn open(project: &Path, store: &Store) -> Result<Self, HistoryError> {
        let own = project.join(".polyloom");
        let place = match prepare(&own) {
            Ok(()) => HistoryPlace::Project(own),
            Err(fault) if fault.is_full() => return Err(fault.into()),
            Err(fault) => {
                let folder = beside(project, store);
                prepare(&folder)?;
                let reason = match &fault {
                    Fault::Io { source, .. } => format!("{fault}: {source}"),
                    other => other.to_string(),
                };
                HistoryPlace::Store { folder, reason }
            }
        };
        let folder = place.folder().to_owned();
        let opening = folder.join("opening");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&opening);
        let locked = lock.and_then(|lock| lock.lock().map(|()| lock));
        let _lock = locked.map_err(|error| Fault::io("lock", &opening, error))?;
        let path = folder.join(layout::INDEX);
        let connection = index::open_with(&path, STEPS).map_err(|e| match e {
            IndexError::Newer(found) => {
                HistoryError::Newer { folder: folder.clone(), found, known: HISTORY_VERSION }
            }
            IndexError::Unreadable(source) => {
                HistoryError::Unreadable { path: path.clone(), source }
            }
            IndexError::Other(source) => Fault::index("open", &folder, source).into(),
        })?;
        Ok(Self { place, folder, connection: Mutex::new(connection) })
    }

    /// Where it is; not in the project if that can't be written to.
    #[must_use]
    pub fn place(&self) -> &HistoryPlace {
        &self.place
    }

    /// What the last run of this flow left of each cell, for telling why a cell has to run.
    pub fn previous_parts(
        &self,
        flow: &str,
    ) -> Result<std::collections::HashMap<String, Previous>, Fault> {
        let rows = self.query(|index| {
            let mut statement = index.prepare_cached(
                "SELECT cell, run, outcome, key, parts FROM latest WHERE flow = ?1",
            )?;
            let rows = statement.query_map([flow], |row| {
                Ok((
                    row.get::<_, String>(0)?,
                    row.get::<_, String>(1)?,
                    row.get::<_, String>(2)?,
                    row.get::<_, String>(3)?,
                    row.get::<_, String>(4)?,
                ))
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        // A row of an outcome that this program does not know is as good as none.
        let known = rows.into_iter().filter_map(|(cell, run, name, key, parts)| {
            Some((cell, Previous { run, outcome: outcome(&name)?, key, parts }))
        });
        Ok(known.collect())
    }

    /// The steps of a run, in the order in which they ended.
    pub fn steps(&self, run: &str) -> Result<Vec<StepRow>, Fault> {
        let rows = self.query(|index| {
            let mut statement = index.prepare_cached(
                "SELECT cell, key, parts, outcome, reason, wall, meta FROM steps
                 WHERE run = ?1 ORDER BY rowid",
            )?;
            let rows = statement.query_map([run], |row| {
                let name: String = row.get(3)?;
                Ok((
                    name,
                    StepRow {
                        cell: row.get(0)?,
                        key: row.get(1)?,
                        parts: row.get(2)?,
                        outcome: polyloom_protocol::meta::Outcome::WorkerError,
                        reason: row.get(4)?,
                        wall_ms: row.get(5)?,
                        meta: row.get(6)?,
                    },
                ))
            })?;
            rows.collect::<Result<Vec<_>, _>>()
        })?;
        let known = rows.into_iter().filter_map(|(name, mut row)| {
            row.outcome = outcome(&name)?;
            Some(row)
        });
        Ok(known.collect())
    }

    pub(super) fn query<T>(
        &self,
        body: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, Fault> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        body(&connection).map_err(|error| Fault::index("read", &self.folder, error))
    }

    pub(super) fn write<T>(
        &self,
        body: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, Fault> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        index::write(&mut connection, &self.folder, body)
    }
}

/// Makes the folder, tells git to leave it alone, and finds out whether it can be written to.
/// Where the history of a project lies that can't hold its own.
fn beside(project: &Path, store: &Store) -> PathBuf {
    let path = project.canonicalize().unwrap_or_else(|_| project.to_owned());
    let name = Digest::of(path.as_os_str().as_bytes()).hex();
    store.root().join(layout::PROJECTS).join(&name[..32])
}

fn prepare(folder: &Path) -> Result<(), Fault> {
    let runs = folder.join("runs");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&runs)
        .map_err(|error| Fault::io("make the folder", &runs, error))?;
    let ignore = folder.join(".gitignore");
    if !ignore.exists() {
        let written = File::create(&ignore).and_then(|mut file| file.write_all(b"*\n"));
        written.map_err(|error| Fault::io("write", &ignore, error))?;
    }
    // The mode bits don't tell of read-only mounts; the index would.
    let probe = folder.join("opening");
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&probe);
    opened.map_err(|error| Fault::io("write", &probe, error))?;
    fs::metadata(&runs).map(|_| ()).map_err(|error| Fault::io("open", &runs, error))
}
