//! What can go wrong beneath every operation: the disk is full, a file or the index can't be used.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A failure of the disk or of the index that no argument of the call is to blame for.
#[derive(Debug, Error)]
pub enum Fault {
    /// No space is left where this folder is, or its quota is used up.
    #[error("no space left on the disk of `{}`", folder.display())]
    Full {
        /// The folder that could not grow.
        folder: PathBuf,
    },
    /// A file operation failed.
    #[error("can't {action} `{}`", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The index refused a statement.
    #[error("can't {action} the index of `{}`", folder.display())]
    Index {
        /// What was tried, as a verb.
        action: &'static str,
        /// The folder that holds the index.
        folder: PathBuf,
        /// SQLite's reason.
        #[source]
        source: rusqlite::Error,
    },
    /// A row of the index holds something that no version of this program writes.
    #[error("the index of `{}` holds an unreadable {what}", folder.display())]
    Row {
        /// What was to be read.
        what: &'static str,
        /// The folder that holds the index.
        folder: PathBuf,
    },
}

/// Whether an error of SQLite's means that the disk is full.
pub(crate) fn is_full(folder: &Path, error: &rusqlite::Error) -> bool {
    let room = || {
        rustix::fs::statvfs(folder)
            .is_ok_and(|stat| stat.f_bavail.saturating_mul(stat.f_frsize) < 64 << 10)
    };
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => true,
        // Some files of SQLite's say only that a write failed (its shared memory, for one).
        Some(rusqlite::ErrorCode::SystemIoFailure) => room(),
        _ => false,
    }
}

impl Fault {
    /// Sorts an error of the system: a full disk is told apart.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        let full = [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT]
            .iter()
            .any(|errno| source.raw_os_error() == Some(errno.raw_os_error()));
        if full {
            return Self::Full { folder: path.parent().unwrap_or(path).to_owned() };
        }
        Self::Io { action, path: path.to_owned(), source }
    }

    /// Sorts an error of SQLite: a full disk is told apart.
    pub(crate) fn index(action: &'static str, folder: &Path, source: rusqlite::Error) -> Self {
        if is_full(folder, &source) {
            return Self::Full { folder: folder.to_owned() };
        }
        Self::Index { action, folder: folder.to_owned(), source }
    }

    /// Whether the disk is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// Whether the index is damaged: only a new one helps.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        let Self::Index { source, .. } = self else { return false };
        matches!(source.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
    }
}
