//! An open store: its folder, its index, and what waits to be written to the index in one go.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use polyloom_model::Digest;
use rusqlite::Connection;
use thiserror::Error;

use crate::behind::Behind;
use crate::fail::point;
use crate::fault::Fault;
use crate::index::{self, INDEX_VERSION, IndexError, Log};
use crate::layout;
use crate::seen::Seen;
use crate::stats::StatKey;

/// Why a store could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A newer polyloom has used this store.
    #[error(
        "the store `{}` has version {found}, this program reads versions up to {known}: \
         update polyloom, or set `POLYLOOM_STORE` to another folder",
        folder.display()
    )]
    Newer {
        /// The store.
        folder: PathBuf,
        /// The version found.
        found: i64,
        /// The newest version this program knows.
        known: i64,
    },
    /// The index is damaged. It is left as it is.
    #[error(
        "the index `{}` can't be read: move it away to start a new one (artifacts in `blobs` stay)",
        path.display()
    )]
    Unreadable {
        /// The index.
        path: PathBuf,
        /// SQLite's reason.
        #[source]
        source: rusqlite::Error,
    },
    /// The folder or a file in it can't be made or opened.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// An open store. Share it between threads by reference.
#[derive(Debug)]
pub struct Store {
    pub(crate) root: PathBuf,
    /// Every path below the root goes through this handle, so that a link planted inside leads nowhere.
    pub(crate) dir: Dir,
    index: Mutex<Connection>,
    pending: Mutex<Pending>,
    /// Held shared as long as the store is open; see `gc`.
    pub(crate) lock: File,
    token: u64,
    counter: AtomicU64,
    latest_ms: AtomicU64,
    pub(crate) seen: Seen,
    pub(crate) behind: Option<Behind>,
}

/// What is in memory until the next transaction. A crash loses it; nothing committed refers to it.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) small: HashMap<Digest, Arc<[u8]>>,
    pub(crate) small_bytes: usize,
    pub(crate) files: Vec<(Vec<u8>, StatKey, Digest)>,
    /// Blobs that are in place but perhaps not on the disk yet.
    pub(crate) unsynced: Vec<File>,
    /// Bytes of blobs that were put in place and not counted yet.
    pub(crate) placed: u64,
}

/// Small blobs are written once this many bytes or this many of them wait.
const PENDING_BYTES: usize = 4 << 20;
const PENDING_COUNT: usize = 4096;
/// Open files waiting for their sync; the usual limit of a process is 1024.
const PENDING_FILES: usize = 128;

impl Store {
    /// Opens the store in `root`, making what is missing. Folders are private to the user.
    pub fn open(root: impl AsRef<Path>) -> Result<Self, OpenError> {
        let root = root.as_ref();
        let fault = |action, path: &Path, error| Fault::io(action, path, error);
        let make = |path: &Path| DirBuilder::new().recursive(true).mode(0o700).create(path);
        make(root).map_err(|error| fault("make the folder", root, error))?;
        let root = root.canonicalize().map_err(|error| fault("open", root, error))?;
        for name in [layout::BLOBS, layout::TREES, layout::TMP, layout::CELLS, layout::SHARE] {
            let path = root.join(name);
            make(&path).map_err(|error| fault("make the folder", &path, error))?;
        }
        let dir = Dir::open_ambient_dir(&root, ambient_authority())
            .map_err(|error| fault("open", &root, error))?;
        let (lock, connection) = Self::open_index(&root)?;
        Ok(Self {
            root,
            dir,
            index: Mutex::new(connection),
            pending: Mutex::default(),
            lock,
            token: std::hash::RandomState::new().build_hasher().finish(),
            counter: AtomicU64::new(0),
            latest_ms: AtomicU64::new(0),
            seen: Seen::default(),
            behind: None,
        })
    }

    /// Whether what was opened is what is there: a store may be deleted at any time, also under whoever has it open.
    #[must_use]
    pub fn is_there(&self) -> bool {
        let same = |open: io::Result<fs::Metadata>, there: io::Result<fs::Metadata>| {
            open.ok().zip(there.ok()).is_some_and(|(a, b)| (a.dev(), a.ino()) == (b.dev(), b.ino()))
        };
        let folders = [
            layout::BLOBS,
            layout::TREES,
            layout::TMP,
            layout::CELLS,
            layout::SHARE,
            layout::INDEX,
        ];
        same(self.lock.metadata(), self.root.join(layout::LOCK).metadata())
            && folders.iter().all(|name| self.root.join(name).exists())
    }

    fn open_index(root: &Path) -> Result<(File, Connection), OpenError> {
        let shared = lock_file(root, layout::LOCK)?;
        let _turn = turn(root)?;
        // To have it alone means that no other process is here: whoever began the files in `tmp` is dead. It is kept alone until they
        // are gone, or a newcomer's files could be among them.
        let alone = shared.try_lock().is_ok();
        let share = || shared.lock_shared().map_err(|error| Fault::io("lock", root, error));
        if !alone {
            share()?;
        }
        let path = root.join(layout::INDEX);
        let connection = index::open(&path).map_err(|error| match error {
            IndexError::Newer(found) => {
                OpenError::Newer { folder: root.to_owned(), found, known: INDEX_VERSION }
            }
            IndexError::Unreadable(source) => OpenError::Unreadable { path: path.clone(), source },
            IndexError::Other(source) => Fault::index("open", root, source).into(),
        })?;
        if alone {
            clear(&root.join(layout::TMP));
            point("temporary files cleared");
            share()?;
        }
        Ok((shared, connection))
    }

    /// The store's folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder for the files of living cells, on the store's disk.
    #[must_use]
    pub fn scratch(&self) -> PathBuf {
        self.root.join(layout::CELLS)
    }

    /// Where things may lie that nobody needs after this process: what is left there is cleared by who opens the store alone, and by collections a day later.
    #[must_use]
    pub fn temporary_folder(&self) -> PathBuf {
        self.root.join(layout::TMP)
    }

    /// Writes what waits in memory: small blobs and digests of files. Also done by every commit and on drop.
    pub fn flush(&self) -> Result<(), Fault> {
        self.write(|_| Ok(()))
    }

    /// Takes the log of the index to its usual length, once nothing more is to be committed for now: commits let it grow, so that what they write again and
    /// again is carried over once.
    pub fn carry_log_over(&self) -> Result<(), Fault> {
        self.let_log_grow(Log::Store)?;
        self.query(|index| index::shorten_log(index, &self.root, Log::Store))
    }

    pub(crate) fn let_log_grow(&self, most: Log) -> Result<(), Fault> {
        index::let_log_grow(&self.connection(), most)
            .map_err(|error| Fault::index("write to", &self.root, error))
    }

    /// Remembers the newest time that a caller has named; there is no other clock here.
    pub(crate) fn at(&self, unix_ms: u64) -> u64 {
        self.latest_ms.fetch_max(unix_ms, Ordering::Relaxed).max(unix_ms)
    }

    /// A name in `tmp` that no other process or thread uses.
    pub(crate) fn temporary(&self) -> String {
        let count = self.counter.fetch_add(1, Ordering::Relaxed);
        format!("{}/{:016x}-{count}", layout::TMP, self.token)
    }

    pub(crate) fn io(&self, action: &'static str, name: &str, error: io::Error) -> Fault {
        Fault::io(action, &self.root.join(name), error)
    }

    pub(crate) fn row(&self, what: &'static str) -> Fault {
        Fault::Row { what, folder: self.root.clone() }
    }

    pub(crate) fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A thread that panicked inside left no half transaction: rusqlite rolls back when it is dropped.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads from the index.
    pub(crate) fn query<T>(
        &self,
        body: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Result<T, Fault> {
        body(&self.connection()).map_err(|error| Fault::index("read", &self.root, error))
    }

    /// One transaction: what waits, then `body`. Blobs reach the disk before the rows that refer to them.
    pub(crate) fn write<T>(
        &self,
        body: impl FnOnce(&rusqlite::Transaction<'_>) -> Result<T, rusqlite::Error>,
    ) -> Result<T, Fault> {
        self.sync()?;
        let (small, files, placed) = {
            let pending = self.pending();
            let small: Vec<_> = pending.small.iter().map(|(d, b)| (*d, b.clone())).collect();
            (small, pending.files.clone(), pending.placed)
        };
        let used = i64::try_from(self.at(0)).unwrap_or(i64::MAX);
        let value = index::write(&mut self.connection(), &self.root, |transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO blobs (digest, size, used, data) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (digest) DO UPDATE SET used = max(used, excluded.used)",
            )?;
            let mut more = i64::try_from(placed).unwrap_or(i64::MAX);
            for (digest, bytes) in &small {
                let size = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
                insert.execute((digest.as_bytes(), size, used, &bytes[..]))?;
                more = more.saturating_add(size);
            }
            // Where it was never counted, a collection is the first to.
            let mut count = transaction
                .prepare_cached("UPDATE counters SET value = value + ?1 WHERE name = 'bytes'")?;
            if more > 0 {
                count.execute([more])?;
            }
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO files (path, dev, ino, size, mtime, ctime, digest)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
            for (path, stat, digest) in &files {
                let [dev, ino, size, mtime, ctime] = stat.columns();
                insert.execute((path, dev, ino, size, mtime, ctime, digest.as_bytes()))?;
            }
            body(transaction)
        })?;
        // Only now: a reader that finds a blob in neither place would take it for lost.
        let mut pending = self.pending();
        for (digest, bytes) in small {
            if pending.small.remove(&digest).is_some() {
                pending.small_bytes -= bytes.len();
            }
        }
        let written = files.len().min(pending.files.len());
        pending.files.drain(..written);
        pending.placed = pending.placed.saturating_sub(placed);
        Ok(value)
    }

    /// Waits until blobs that were only renamed into place are on the disk. In a row, since one journal commit of
    /// the file system then serves them all.
    pub(crate) fn sync(&self) -> Result<(), Fault> {
        let files = std::mem::take(&mut self.pending().unsynced);
        for file in files {
            file.sync_data().map_err(|error| self.io("sync", layout::BLOBS, error))?;
            point("blob synced");
        }
        Ok(())
    }

    /// Keeps a small blob for the next transaction.
    pub(crate) fn defer_small(&self, digest: Digest, bytes: &[u8]) -> Result<(), Fault> {
        let full = {
            let mut pending = self.pending();
            if pending.small.insert(digest, bytes.into()).is_none() {
                pending.small_bytes += bytes.len();
            }
            pending.small_bytes > PENDING_BYTES || pending.small.len() > PENDING_COUNT
        };
        if full { self.flush() } else { Ok(()) }
    }

    /// Keeps a blob's file for the sync before the next transaction.
    pub(crate) fn defer_sync(&self, file: File) -> Result<(), Fault> {
        let full = {
            let mut pending = self.pending();
            pending.unsynced.push(file);
            pending.unsynced.len() > PENDING_FILES
        };
        if full { self.sync() } else { Ok(()) }
    }
}

fn lock_file(root: &Path, name: &str) -> Result<File, Fault> {
    let path = root.join(name);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(&path).map_err(|error| Fault::io("open", &path, error))
}

/// The right to ask whether one has the store alone. One at a time: who asks in vain holds no lock at all for a moment (flock(2),
/// "converting a lock"), in which somebody else could think to be alone.
pub(crate) fn turn(root: &Path) -> Result<File, Fault> {
    let opening = lock_file(root, layout::OPENING)?;
    opening.lock().map_err(|error| Fault::io("lock", root, error))?;
    Ok(opening)
}

/// Empties a folder as far as that is possible: what stays is in nobody's way.
pub(crate) fn clear(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let path = entry.path();
        let _ = if is_dir { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // What could not be written here is computed again some day; a drop has nobody to tell.
        let _ = self.flush();
    }
}
