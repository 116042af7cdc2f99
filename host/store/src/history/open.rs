//! Where a history is, and its index.

use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use polyloom_model::Digest;
use rusqlite::{Connection, OptionalExtension};
use rustix::fs::OFlags;

use super::run::RUNS;
use super::{HISTORY_VERSION, HistoryError, Previous};
use crate::fault::Fault;
use crate::index::{self, IndexError, Log};
use crate::layout;
use crate::results::outcome;
use crate::store::Store;

/// See the store's own index: what leads from each version to the next.
const STEPS: &[&str] = &[FIRST, SECOND, THIRD, FOURTH, FIFTH];

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

/// What was made of what, by digest. `kept` has what plans found in the store, each once however many runs found it;
/// `kept_in` names them by id, little endian in four bytes each, since ten thousand rows for a run in which nothing
/// happened would be most of the index.
const SECOND: &str = "
ALTER TABLE runs ADD COLUMN imported TEXT;
ALTER TABLE steps ADD COLUMN content TEXT NOT NULL DEFAULT '';
CREATE INDEX steps_by_key ON steps (key);
CREATE INDEX steps_by_content ON steps (content) WHERE content <> '';
CREATE TABLE outputs (
    run TEXT NOT NULL, cell TEXT NOT NULL, port TEXT NOT NULL, digest TEXT NOT NULL, type TEXT NOT NULL,
    size INTEGER NOT NULL, made INTEGER NOT NULL, PRIMARY KEY (run, cell, port)) WITHOUT ROWID;
CREATE INDEX outputs_by_digest ON outputs (digest);
CREATE TABLE inputs (
    run TEXT NOT NULL, cell TEXT NOT NULL, port TEXT NOT NULL, source TEXT NOT NULL, digest TEXT,
    PRIMARY KEY (run, cell, port)) WITHOUT ROWID;
CREATE INDEX inputs_by_digest ON inputs (digest) WHERE digest IS NOT NULL;
CREATE TABLE kept (
    id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, cell TEXT NOT NULL, key TEXT NOT NULL, parts TEXT NOT NULL,
    outputs TEXT NOT NULL);
CREATE INDEX kept_by_cell ON kept (cell);
CREATE TABLE kept_in (run TEXT NOT NULL, ids BLOB NOT NULL);
CREATE INDEX kept_in_by_run ON kept_in (run);
INSERT OR IGNORE INTO outputs
    SELECT steps.run, steps.cell, a.key, json_extract(a.value, '$.digest'), json_extract(a.value, '$.type'),
        json_extract(a.value, '$.size'), json_extract(meta, '$.outcome') = 'ok'
    FROM steps, json_each(iif(json_valid(meta), meta, '{}'), '$.artifacts') a
    WHERE a.type = 'object';
";

/// The digest of all that a run kept: a run that keeps the same needs no look at each. Rows of older versions have none.
const THIRD: &str = "
ALTER TABLE kept_in ADD COLUMN sum BLOB;
CREATE INDEX kept_in_by_sum ON kept_in (sum) WHERE sum IS NOT NULL;
";

/// What is gathered of a map comes from steps that no part of its key names.
const FOURTH: &str = "
ALTER TABLE kept ADD COLUMN inputs TEXT NOT NULL DEFAULT '[]';
";

/// What the steps of a run have in common, each once; see `shared`.
const FIFTH: &str = "
CREATE TABLE shared (run TEXT NOT NULL, id INTEGER NOT NULL, text TEXT NOT NULL, PRIMARY KEY (run, id)) WITHOUT ROWID;
ALTER TABLE steps ADD COLUMN shared BLOB;
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
    /// Every path below the folder goes through this handle: a project may come from anybody, with links and pipes in its history.
    pub(super) dir: Dir,
    connection: Mutex<Connection>,
}

impl History {
    /// Whether anything has been recorded for a project; reading should not make folders where nothing was.
    #[must_use]
    pub fn is_there(project: &Path, store: &Store) -> bool {
        let mut folders = Self::folders(project, store).into_iter();
        folders.any(|folder| folder.join(layout::INDEX).is_file())
    }

    /// Where a project's history may be: in the project, or else in the store.
    #[must_use]
    pub fn folders(project: &Path, store: &Store) -> [PathBuf; 2] {
        [project.join(".polyloom"), beside(project, store)]
    }

    /// Opens, and if need be makes, the history of the project in `project`.
    pub fn open(project: &Path, store: &Store) -> Result<Self, HistoryError> {
        let own = project.join(".polyloom");
        let (place, dir) = match prepare(&own) {
            Ok(dir) => (HistoryPlace::Project(own), dir),
            Err(fault) if fault.is_full() => return Err(fault.into()),
            Err(fault) => {
                let folder = beside(project, store);
                let dir = prepare(&folder)?;
                let reason = match &fault {
                    Fault::Io { source, .. } => format!("{fault}: {source}"),
                    other => other.to_string(),
                };
                (HistoryPlace::Store { folder, reason }, dir)
            }
        };
        let folder = place.folder().to_owned();
        let lock = opening(&dir).and_then(|lock| lock.lock().map(|()| lock));
        let _lock = lock.map_err(|error| Fault::io("lock", &folder.join(OPENING), error))?;
        let path = folder.join(layout::INDEX);
        let connection = index::open_plain(&path, STEPS).map_err(|e| match e {
            IndexError::Newer(found) => {
                HistoryError::Newer { folder: folder.clone(), found, known: HISTORY_VERSION }
            }
            IndexError::Unreadable(source) => {
                HistoryError::Unreadable { path: path.clone(), source }
            }
            IndexError::Other(source) => Fault::index("open", &folder, source).into(),
        })?;
        // Rows of a run are looked for by keys that lie all over its indexes, and what is in the log is read by a call for each page.
        let wide = connection.pragma_update(None, "cache_size", -(48 << 10));
        wide.map_err(|source| Fault::index("open", &folder, source))?;
        // Nobody reads a history without its log, as somebody may a store.
        index::leave_log(&connection).map_err(|source| Fault::index("open", &folder, source))?;
        Ok(Self { place, folder, dir, connection: Mutex::new(connection) })
    }

    /// A folder for other things than runs, below the history's own. Whatever has its name and is none is in the way.
    pub fn own_folder(&self, name: &str) -> Result<PathBuf, Fault> {
        let path = self.folder.join(name);
        make_folder(&self.dir, name).map_err(|error| Fault::io("make the folder", &path, error))?;
        Ok(path)
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

    /// What the last run of this flow that had the cell left of it.
    pub fn previous(&self, flow: &str, cell: &str) -> Result<Option<Previous>, Fault> {
        let row = self.query(|index| {
            let mut statement = index.prepare_cached(
                "SELECT run, outcome, key, parts FROM latest WHERE flow = ?1 AND cell = ?2",
            )?;
            let row = statement.query_row([flow, cell], |row| {
                let name: String = row.get(1)?;
                Ok((name, row.get(0)?, row.get(2)?, row.get(3)?))
            });
            row.optional()
        })?;
        Ok(row.and_then(|(name, run, key, parts)| {
            Some(Previous { run, outcome: outcome(&name)?, key, parts })
        }))
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
        self.write_of(false, body)
    }

    /// The same for a run that goes on to write.
    pub(super) fn write_on<T>(
        &self,
        body: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, Fault> {
        self.write_of(true, body)
    }

    fn write_of<T>(
        &self,
        goes_on: bool,
        body: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, Fault> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let fault = |error| Fault::index("write to", &self.folder, error);
        let most = if goes_on { Log::Growing } else { Log::History };
        index::let_log_grow(&connection, most).map_err(fault)?;
        let done = index::write(&mut connection, &self.folder, body)?;
        if !goes_on {
            index::shorten_log(&connection, &self.folder, most).map_err(fault)?;
        }
        Ok(done)
    }
}

/// Where the history of a project lies that can't hold its own.
fn beside(project: &Path, store: &Store) -> PathBuf {
    let path = project.canonicalize().unwrap_or_else(|_| project.to_owned());
    let name = Digest::of(path.as_os_str().as_bytes()).hex();
    store.root().join(layout::PROJECTS).join(&name[..32])
}

/// Held while the index is opened.
const OPENING: &str = "opening";

/// Makes the folder, tells git to leave it alone, and finds out whether it can be written to, and whether all is what it should be.
fn prepare(folder: &Path) -> Result<Dir, Fault> {
    let fault = |action, name: &str, error| Fault::io(action, &folder.join(name), error);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| Fault::io("make the folder", folder, error))?;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(bits(flags)).open(folder);
    let dir = Dir::from_std_file(opened.map_err(|error| Fault::io("open", folder, error))?);
    make_folder(&dir, RUNS).map_err(|error| fault("make the folder", RUNS, error))?;
    let ignore = ".gitignore";
    match dir.open_with(ignore, OpenOptions::new().write(true).create_new(true)) {
        Ok(mut file) => file.write_all(b"*\n").map_err(|error| fault("write", ignore, error))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(fault("write", ignore, error)),
    }
    // The mode bits don't tell of read-only mounts; the index would.
    opening(&dir).map_err(|error| fault("write", OPENING, error))?;
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let name = format!("{}{suffix}", layout::INDEX);
        match dir.symlink_metadata(&name) {
            Ok(meta) if meta.is_file() => {}
            Ok(_) => return Err(fault("open", &name, io::Error::other("it is no regular file"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(fault("open", &name, error)),
        }
    }
    Ok(dir)
}

/// Makes a folder, private to the user, or finds it.
fn make_folder(dir: &Dir, name: &str) -> io::Result<()> {
    let made = rustix::fs::mkdirat(dir, name, rustix::fs::Mode::RWXU).map_err(io::Error::from);
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let is_folder = dir.symlink_metadata(name)?.is_dir();
            if is_folder { Ok(()) } else { Err(io::ErrorKind::NotADirectory.into()) }
        }
        made => made,
    }
}

fn opening(dir: &Dir) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true);
    regular(dir, Path::new(OPENING), &mut options)
}

/// Opens a file that must be one: no link is followed, and no pipe waited for.
pub(super) fn regular(dir: &Dir, path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.custom_flags(bits(OFlags::NOFOLLOW | OFlags::NONBLOCK));
    let file = dir.open_with(path, options)?.into_std();
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

fn bits(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).unwrap_or(0)
}
