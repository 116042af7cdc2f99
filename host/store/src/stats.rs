//! Digests of files that are not the store's: remembered by their stat, computed when in doubt.
//!
//! Nothing is trusted by its time alone: all of device, inode, size, mtime and ctime must be as they were, and a file
//! that was changed within the clock's grain of the moment it was hashed is hashed again.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use polyloom_model::Digest;
use rusqlite::OptionalExtension;
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::blobs::PutError;
use crate::fault::Fault;
use crate::hashing;
use crate::index;
use crate::store::Store;

/// A change this close to the hashing might be followed by another one that the times don't show (the "racy git"
/// problem): two seconds is the coarsest grain of the file systems in use (FAT).
const RACY_MS: i64 = 2000;

/// What `stat` says of a file; equal keys mean the same contents for all we can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatKey {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Last change of the contents, nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Last change of the contents or the inode, nanoseconds since 1970.
    pub ctime_ns: i64,
}

impl StatKey {
    /// The key of a file whose metadata is at hand.
    #[must_use]
    pub fn of(meta: &Metadata) -> Self {
        let ns = |seconds: i64, ns: i64| seconds.saturating_mul(1_000_000_000).saturating_add(ns);
        Self {
            dev: meta.dev(),
            ino: meta.ino(),
            size: meta.size(),
            mtime_ns: ns(meta.mtime(), meta.mtime_nsec()),
            ctime_ns: ns(meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// Whether a later change must show in this key, for a file hashed at `unix_ms`.
    #[must_use]
    pub fn is_settled(&self, unix_ms: u64) -> bool {
        let last = self.mtime_ns.max(self.ctime_ns) / 1_000_000;
        i64::try_from(unix_ms).is_ok_and(|now| now.saturating_sub(last) >= RACY_MS)
    }

    /// As columns; SQLite's integers are signed, so the bits of large ids are kept and not their values.
    pub(crate) fn columns(&self) -> [i64; 5] {
        [
            self.dev.cast_signed(),
            self.ino.cast_signed(),
            self.size.cast_signed(),
            self.mtime_ns,
            self.ctime_ns,
        ]
    }
}

/// Why a file outside of the store could not be hashed or brought in.
#[derive(Debug, Error)]
pub enum ImportError {
    /// It is not a regular file.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// The path as given.
        path: PathBuf,
    },
    /// It changed again and again while it was read.
    #[error("`{}` keeps changing while it is read", path.display())]
    Changing {
        /// The path as given.
        path: PathBuf,
    },
    /// It could not be stored.
    #[error(transparent)]
    Put(#[from] PutError),
    /// The disk or the index failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// How often a file that changes under our hands is read before we give up.
const TRIES: u32 = 5;

impl Store {
    /// The remembered digest of the file at `path`, if it still has this stat.
    pub fn file_digest(&self, path: &Path, stat: &StatKey) -> Result<Option<Digest>, Fault> {
        let bytes = path.as_os_str().as_bytes();
        let waiting = self.pending().files.iter().rev().find(|f| f.0 == bytes).map(|f| (f.1, f.2));
        if let Some((found, digest)) = waiting {
            return Ok((found == *stat).then_some(digest));
        }
        let found = self.query(|index| {
            index
                .prepare_cached(
                    "SELECT digest FROM files WHERE path = ?1 AND dev = ?2 AND ino = ?3
                     AND size = ?4 AND mtime = ?5 AND ctime = ?6",
                )?
                .query_row(
                    {
                        let [dev, ino, size, mtime, ctime] = stat.columns();
                        (bytes, dev, ino, size, mtime, ctime)
                    },
                    |row| Ok(index::digest(row.get_ref(0)?.as_blob()?)),
                )
                .optional()
        })?;
        Ok(found.flatten())
    }

    /// Remembers the digest of a file that was hashed at `unix_ms`, if its stat is settled by then. Written with
    /// the next transaction.
    pub fn remember_file(&self, path: &Path, stat: StatKey, digest: Digest, unix_ms: u64) {
        self.at(unix_ms);
        if stat.is_settled(unix_ms) {
            let bytes = path.as_os_str().as_bytes().to_vec();
            self.pending().files.push((bytes, stat, digest));
        }
    }

    /// The digest and size of the regular file at `path` below `root`, remembered or computed. Stores no contents.
    pub fn hash_file(
        &self,
        root: &Root,
        path: &Path,
        unix_ms: u64,
    ) -> Result<(Digest, u64), ImportError> {
        let (file, stat) = root.regular(path)?;
        self.hash_open(&file, stat, &root.path.join(path), unix_ms)
    }

    /// Like [`Store::hash_file`] for a file that is open; `path` is only the name it is remembered by.
    pub(crate) fn hash_open(
        &self,
        file: &File,
        mut stat: StatKey,
        path: &Path,
        unix_ms: u64,
    ) -> Result<(Digest, u64), ImportError> {
        if let Some(digest) = self.file_digest(path, &stat)? {
            return Ok((digest, stat.size));
        }
        for _ in 0..TRIES {
            let read = |error| Fault::io("read", path, error);
            let (digest, size) = hashing::digest(file).map_err(read)?;
            let after = StatKey::of(&file.metadata().map_err(read)?);
            if after == stat && size == stat.size {
                self.remember_file(path, stat, digest, unix_ms);
                return Ok((digest, size));
            }
            stat = after;
        }
        Err(ImportError::Changing { path: path.to_owned() })
    }

    /// Stores a snapshot of the regular file at `path` below `root`, unless its contents are in the store already. What is
    /// stored always has the returned digest, whatever happens to the file meanwhile.
    pub fn import_file(
        &self,
        root: &Root,
        path: &Path,
        max: u64,
        unix_ms: u64,
    ) -> Result<(Digest, u64), ImportError> {
        let (file, stat) = root.regular(path)?;
        self.import_open(&file, stat, &root.path.join(path), max, unix_ms)
    }

    /// Like [`Store::import_file`] for a file that is open; `path` is only the name it is remembered by.
    pub(crate) fn import_open(
        &self,
        file: &File,
        stat: StatKey,
        path: &Path,
        max: u64,
        unix_ms: u64,
    ) -> Result<(Digest, u64), ImportError> {
        if stat.size > max {
            return Err(PutError::TooLarge { max }.into());
        }
        if let Some(digest) = self.file_digest(path, &stat)?
            && self.holds(&digest, stat.size)
        {
            return Ok((digest, stat.size));
        }
        let (digest, size) = self.put_file(file, max)?;
        let after = file.metadata().map_err(|error| Fault::io("read", path, error))?;
        if StatKey::of(&after) == stat {
            self.remember_file(path, stat, digest, unix_ms);
        }
        Ok((digest, size))
    }
}

/// A folder of the user's, opened once. No path below it leads out of it, also not by a link: who may write in there could make one
/// after the path was checked.
#[derive(Debug)]
pub struct Root {
    dir: Dir,
    path: PathBuf,
}

impl Root {
    /// Opens a folder; the empty path is the current one.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let opened = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let dir = Dir::open_ambient_dir(opened, ambient_authority());
        let dir = dir.map_err(|error| Fault::io("open", path, error))?;
        Ok(Self { dir, path: path.to_owned() })
    }

    /// A folder below it, and the name it goes by.
    pub(crate) fn folder(&self, path: &Path) -> Result<(File, PathBuf), Fault> {
        let name = self.path.join(path);
        let opened = self.open_with(path, OFlags::DIRECTORY);
        Ok((opened.map_err(|error| Fault::io("open", &name, error))?, name))
    }

    /// Opens a regular file. Not blocking: opening a pipe would wait for its writer for ever.
    fn regular(&self, path: &Path) -> Result<(File, StatKey), ImportError> {
        let name = self.path.join(path);
        let open = |error| Fault::io("open", &name, error);
        let file = self.open_with(path, OFlags::NONBLOCK).map_err(open)?;
        let meta = file.metadata().map_err(open)?;
        if !meta.is_file() {
            return Err(ImportError::NotAFile { path: name });
        }
        Ok((file, StatKey::of(&meta)))
    }

    fn open_with(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or(0));
        match self.dir.open_with(path, &options) {
            Ok(file) => Ok(file.into_std()),
            // cap-std's own refusal carries no errno; a real EACCES does.
            Err(error) if is_refusal(&error) => {
                Err(io::Error::new(error.kind(), "it leads out of the folder"))
            }
            Err(error) => Err(error),
        }
    }
}

fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none()
}
