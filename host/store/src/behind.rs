//! A store behind the store: results and artifacts that ours lacks are looked up there. It is never written to; what is used of it is
//! copied and hashed on its way. Whatever can't be read there counts as not there: it is only a cache of a cache.
//!
//! Today it is a folder. What is asked of it (a result by key, one by content, a program, a blob) is what a server would be asked.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use polyloom_model::Digest;
use rusqlite::{Connection, OpenFlags, OptionalExtension};
use thiserror::Error;

use crate::blobs::SMALL;
use crate::copying::{self, Copied};
use crate::fault::Fault;
use crate::index::{self, INDEX_VERSION};
use crate::layout;
use crate::results::{ResultRow, StoredResult};
use crate::store::Store;

/// Why a store can't be behind another.
#[derive(Debug, Error)]
pub enum BehindError {
    /// There is no store in that folder, or it can't be read.
    #[error("there is no store that can be read in `{}`", folder.display())]
    Unreadable {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It is of another version; it would have to be written to for bringing it up.
    #[error(
        "the store in `{}` has version {found}, this program reads version {known} only behind another",
        folder.display()
    )]
    Version {
        /// The folder.
        folder: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// It is this very store.
    #[error("the store `{}` can't be behind itself", folder.display())]
    Itself {
        /// The folder.
        folder: PathBuf,
    },
}

/// The store behind.
#[derive(Debug)]
pub(crate) struct Behind {
    folder: PathBuf,
    dir: Dir,
    index: Mutex<Connection>,
    /// Results that were given out and are not recorded in the first store.
    lent: Mutex<HashMap<Digest, StoredResult>>,
}

impl Behind {
    fn open(folder: &Path) -> Result<Self, BehindError> {
        let unreadable = |source: Box<dyn std::error::Error + Send + Sync>| {
            BehindError::Unreadable { folder: folder.to_owned(), source }
        };
        let dir = Dir::open_ambient_dir(folder, ambient_authority());
        let dir = dir.map_err(|error| unreadable(error.into()))?;
        let path = folder.join(layout::INDEX);
        std::fs::metadata(&path).map_err(|error| unreadable(error.into()))?;
        let (index, found) = connect(&path).map_err(|error| unreadable(error.into()))?;
        if found != INDEX_VERSION {
            let known = INDEX_VERSION;
            return Err(BehindError::Version { folder: folder.to_owned(), found, known });
        }
        let folder = folder.to_owned();
        Ok(Self { folder, dir, index: Mutex::new(index), lent: Mutex::default() })
    }

    /// Reads from its index. An error is an answer, too: nothing.
    pub(crate) fn query<T>(
        &self,
        body: impl FnOnce(&Connection) -> Result<T, rusqlite::Error>,
    ) -> Option<T> {
        body(&self.index.lock().unwrap_or_else(PoisonError::into_inner)).ok()
    }

    fn small(&self, digest: &Digest) -> Option<Vec<u8>> {
        let bytes: Option<Vec<u8>> = self.query(|index| {
            index
                .prepare_cached("SELECT data FROM blobs WHERE digest = ?1")?
                .query_row([digest.as_bytes()], |row| row.get(0))
                .optional()
        })?;
        bytes.filter(|bytes| Digest::of(bytes) == *digest)
    }

    fn file(&self, digest: &Digest) -> Option<File> {
        let file = self.dir.open(layout::blob(digest)).ok()?.into_std();
        file.metadata().is_ok_and(|meta| meta.is_file()).then_some(file)
    }

    /// Whether a blob is there, by its name and, where it is known, its size.
    pub(crate) fn has(&self, digest: &Digest, size: Option<u64>) -> bool {
        let file = self.dir.symlink_metadata(layout::blob(digest));
        let file = file.is_ok_and(|meta| meta.is_file() && size.is_none_or(|s| s == meta.len()));
        let row = || {
            self.query(|index| {
                index
                    .prepare_cached("SELECT 1 FROM blobs WHERE digest = ?1")?
                    .exists([digest.as_bytes()])
            })
        };
        file || (size.is_none_or(|size| size <= SMALL) && row() == Some(true))
    }

    pub(crate) fn lend(&self, result: &StoredResult) {
        let mut lent = self.lent.lock().unwrap_or_else(PoisonError::into_inner);
        lent.insert(result.key, result.clone());
    }

    fn take_lent(&self, key: &Digest) -> Option<StoredResult> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner).remove(key)
    }
}

/// Opens an index for reading, so that not even the files beside it are written to.
fn connect(path: &Path) -> Result<(Connection, i64), rusqlite::Error> {
    let mut name = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(byte) {
            name.push(char::from(*byte));
        } else {
            let _ = write!(name, "%{byte:02x}");
        }
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = |how: &str| {
        let connection = Connection::open_with_flags(format!("{name}?{how}"), flags)?;
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok::<_, rusqlite::Error>((connection, version))
    };
    let wal = path.with_file_name(format!("{}-wal", layout::INDEX));
    // What another program commits to it meanwhile is in its log. Without one, or where the log can't be read without being
    // prepared first (that would be writing), what is in the file itself has to do.
    if std::fs::metadata(wal).is_ok_and(|meta| meta.len() > 0)
        && let Ok(opened) = open("mode=ro&readonly_shm=1")
    {
        return Ok(opened);
    }
    open("mode=ro&immutable=1")
}

impl Store {
    /// The same store with another behind it.
    pub fn with_behind(mut self, folder: &Path) -> Result<Self, (Box<Self>, BehindError)> {
        let same = folder.canonicalize().is_ok_and(|folder| folder == self.root);
        let opened = if same {
            Err(BehindError::Itself { folder: folder.to_owned() })
        } else {
            Behind::open(folder)
        };
        match opened {
            Ok(behind) => {
                self.behind = Some(behind);
                Ok(self)
            }
            Err(error) => Err((Box::new(self), error)),
        }
    }

    /// The folder of the store behind this one.
    #[must_use]
    pub fn behind_root(&self) -> Option<&Path> {
        self.behind.as_ref().map(|behind| behind.folder.as_path())
    }

    /// Copies a blob from the store behind into this one, if it is there and whole.
    pub(crate) fn fetch(&self, digest: &Digest) -> Result<bool, Fault> {
        let Some(behind) = &self.behind else { return Ok(false) };
        if let Some(bytes) = behind.small(digest) {
            self.put_bytes(&bytes)?;
            return Ok(true);
        }
        let Some(source) = behind.file(digest) else { return Ok(false) };
        let (name, mut file) = self.create_temporary()?;
        let copied = copying::copy(&source, &mut file, u64::MAX);
        if let Ok(Copied::Whole(found, _)) = &copied
            && found == digest
        {
            self.place(&name, file, digest)?;
            return Ok(true);
        }
        let _ = self.dir.remove_file(&name);
        match copied {
            // Damaged there, or unreadable: it is made again here.
            Ok(Copied::Whole(..) | Copied::TooLarge) => Ok(false),
            Err(error) => match self.io("write", &name, error) {
                full @ Fault::Full { .. } => Err(full),
                _ => Ok(false),
            },
        }
    }

    /// Records those of these results that were lent from the store behind, with their small outputs. Large ones come when they are read.
    pub(crate) fn take_over(&self, keys: &[Digest]) -> Result<(), Fault> {
        let Some(behind) = &self.behind else { return Ok(()) };
        let mut rows = Vec::new();
        for result in keys.iter().filter_map(|key| behind.take_lent(key)) {
            for (_, output) in &result.outputs {
                if let Ok(digest) = output.digest.parse()
                    && (output.size <= SMALL || output.r#type == "dir")
                {
                    self.fetch(&digest)?;
                }
            }
            let text: Option<String> = behind
                .query(|index| {
                    index
                        .prepare_cached("SELECT meta FROM metas WHERE key = ?1")?
                        .query_row([result.key.as_bytes()], |row| row.get(0))
                        .optional()
                })
                .flatten();
            let meta = text.and_then(|text| serde_json::from_str(&text).ok());
            let mut meta =
                meta.unwrap_or_else(|| polyloom_protocol::meta::ExecMeta::new(result.outcome));
            meta.wall_ms = result.wall_ms;
            rows.push(ResultRow {
                key: result.key,
                content_key: result.content_key,
                cell: result.cell,
                executor: result.executor,
                outcome: result.outcome,
                outputs: result.outputs.into_iter().collect(),
                meta,
                created_unix_ms: result.created_unix_ms,
                marks: result.marks,
            });
        }
        if rows.is_empty() { Ok(()) } else { self.commit(&rows) }
    }

    /// The digest of a program that the store behind knows by this key.
    pub(crate) fn program_behind(&self, key: &Digest) -> Option<Digest> {
        let behind = self.behind.as_ref()?;
        let found = behind.query(|index| {
            index
                .prepare_cached("SELECT digest FROM programs WHERE key = ?1")?
                .query_row([key.as_bytes()], |row| Ok(index::digest(row.get_ref(0)?.as_blob()?)))
                .optional()
        });
        found.flatten().flatten()
    }
}
