//! Blobs: bytes under their digest. Small ones are rows of the index, the others read-only files.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use cap_std::fs::OpenOptions;
use polyloom_model::Digest;
use rusqlite::OptionalExtension;
use thiserror::Error;

use crate::copying::{self, Copied};
use crate::fault::Fault;
use crate::layout;
use crate::store::Store;

/// Blobs up to this many bytes live in the index. About where a file of its own starts to be faster to read.
pub(crate) const SMALL: u64 = 8 << 10;

/// Why bytes could not be stored.
#[derive(Debug, Error)]
pub enum PutError {
    /// The source holds more bytes than the caller allows.
    #[error("more than {max} bytes")]
    TooLarge {
        /// The caller's limit.
        max: u64,
    },
    /// The disk or the index failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a blob could not be had.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It is not in the store, or was evicted.
    #[error("`{digest}` is not in the store")]
    Missing {
        /// What was asked for.
        digest: Digest,
    },
    /// Its bytes are not those that were stored.
    #[error("`{digest}` is damaged: its bytes have the digest `{found}`")]
    Corrupt {
        /// What was asked for.
        digest: Digest,
        /// What its bytes are.
        found: Digest,
    },
    /// It holds more bytes than the caller wants to read.
    #[error("`{digest}` holds {size} bytes, more than {max}")]
    TooLarge {
        /// What was asked for.
        digest: Digest,
        /// Its size.
        size: u64,
        /// The caller's limit.
        max: u64,
    },
    /// The disk or the index failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Store {
    /// Stores bytes. Bytes that are there already are not written again.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest, Fault> {
        let digest = Digest::of(bytes);
        if bytes.len() as u64 <= SMALL {
            self.defer_small(digest, bytes)?;
            return Ok(digest);
        }
        if self.refresh(&digest, bytes.len() as u64) {
            return Ok(digest);
        }
        let (name, mut file) = self.create_temporary()?;
        let written = file.write_all(bytes);
        if let Err(error) = written {
            let _ = self.dir.remove_file(&name);
            return Err(self.io("write", &name, error));
        }
        self.place(&name, file, &digest)?;
        Ok(digest)
    }

    /// Stores the contents of `source`, from its start to its end, if it holds at most `max` bytes. Shares blocks
    /// where the file system can.
    pub fn put_file(&self, source: &File, max: u64) -> Result<(Digest, u64), PutError> {
        let read = |error| Fault::io("read", &self.root, error);
        let size = source.metadata().map_err(read)?.len();
        if size > max {
            return Err(PutError::TooLarge { max });
        }
        if size <= SMALL {
            let mut bytes = Vec::new();
            // The source may grow while it is read; one byte more than small shows it.
            let mut reader = Positioned { file: source, at: 0 }.take(SMALL + 1);
            reader.read_to_end(&mut bytes).map_err(read)?;
            if bytes.len() as u64 <= SMALL.min(max) {
                return Ok((self.put_bytes(&bytes)?, bytes.len() as u64));
            }
        }
        let (name, mut file) = self.create_temporary()?;
        let copied = copying::copy(source, &mut file, max);
        let discard = || {
            let _ = self.dir.remove_file(&name);
        };
        match copied {
            Ok(Copied::Whole(digest, size)) => {
                if self.refresh(&digest, size) {
                    discard();
                } else {
                    self.place(&name, file, &digest)?;
                }
                Ok((digest, size))
            }
            Ok(Copied::TooLarge) => {
                discard();
                Err(PutError::TooLarge { max })
            }
            Err(error) => {
                discard();
                Err(self.io("write", &name, error).into())
            }
        }
    }

    /// Whether a blob is in the store.
    pub fn has(&self, digest: &Digest) -> Result<bool, Fault> {
        if self.pending().small.contains_key(digest) || self.has_file(digest, None) {
            return Ok(true);
        }
        self.query(|index| {
            index
                .prepare_cached("SELECT 1 FROM blobs WHERE digest = ?1")?
                .exists([digest.as_bytes()])
        })
    }

    /// The size of a blob.
    pub fn size(&self, digest: &Digest) -> Result<u64, ReadError> {
        if let Some(bytes) = self.small(digest)? {
            return Ok(bytes.len() as u64);
        }
        match self.dir.metadata(layout::blob(digest)) {
            Ok(meta) => Ok(meta.len()),
            Err(_) => Err(ReadError::Missing { digest: *digest }),
        }
    }

    /// Opens a blob for reading.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, ReadError> {
        match self.dir.open(layout::blob(digest)) {
            Ok(file) => Ok(file.into_std()),
            Err(_) => {
                self.path(digest)?;
                let name = layout::blob(digest);
                let file = self.dir.open(&name).map_err(|error| self.io("open", &name, error))?;
                Ok(file.into_std())
            }
        }
    }

    /// The path of a read-only file with a blob's bytes, for whoever binds it into a sandbox or names it to a user.
    /// A small blob gets its file here.
    pub fn path(&self, digest: &Digest) -> Result<PathBuf, ReadError> {
        let name = layout::blob(digest);
        if !self.has_file(digest, None) {
            let bytes = self.small(digest)?.ok_or(ReadError::Missing { digest: *digest })?;
            let (temporary, mut file) = self.create_temporary()?;
            file.write_all(&bytes).map_err(|error| self.io("write", &temporary, error))?;
            self.place(&temporary, file, digest)?;
        }
        Ok(self.root.join(name))
    }

    /// The bytes of a blob of at most `max` bytes. Not checked against the digest; see [`Store::verify`].
    pub fn read(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, ReadError> {
        let too_large = |size| ReadError::TooLarge { digest: *digest, size, max };
        if let Some(bytes) = self.small(digest)? {
            let size = bytes.len() as u64;
            return if size > max { Err(too_large(size)) } else { Ok(bytes.to_vec()) };
        }
        let name = layout::blob(digest);
        let Ok(file) = self.dir.open(&name) else {
            return Err(ReadError::Missing { digest: *digest });
        };
        let read = |error| self.io("read", &name, error);
        let size = file.metadata().map_err(read)?.len();
        if size > max {
            return Err(too_large(size));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(max).read_to_end(&mut bytes).map_err(read)?;
        Ok(bytes)
    }

    /// Hashes a blob again, in every place where it is kept.
    pub fn verify(&self, digest: &Digest) -> Result<(), ReadError> {
        let same = |found: Digest| {
            if found == *digest {
                Ok(())
            } else {
                Err(ReadError::Corrupt { digest: *digest, found })
            }
        };
        let small = self.small(digest)?;
        if let Some(bytes) = &small {
            same(Digest::of(bytes))?;
        }
        let name = layout::blob(digest);
        match self.dir.open(&name) {
            Ok(file) => {
                let hashed = copying::hash(&file.into_std());
                same(hashed.map_err(|error| self.io("read", &name, error))?.0)
            }
            Err(_) if small.is_some() => Ok(()),
            Err(_) => Err(ReadError::Missing { digest: *digest }),
        }
    }

    /// A small blob's bytes, from memory or from the index.
    pub(crate) fn small(&self, digest: &Digest) -> Result<Option<Arc<[u8]>>, Fault> {
        if let Some(bytes) = self.pending().small.get(digest) {
            return Ok(Some(bytes.clone()));
        }
        self.query(|index| {
            index
                .prepare_cached("SELECT data FROM blobs WHERE digest = ?1")?
                .query_row([digest.as_bytes()], |row| Ok(Arc::from(row.get_ref(0)?.as_blob()?)))
                .optional()
        })
    }

    /// Whether a blob's file is there and, where the size is known, whole. A power cut before the sync leaves an
    /// empty file, which counts as none.
    pub(crate) fn has_file(&self, digest: &Digest, size: Option<u64>) -> bool {
        let found = rustix::fs::statat(
            &self.dir,
            layout::blob(digest),
            rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
        );
        found.is_ok_and(|stat| match size {
            Some(size) => u64::try_from(stat.st_size) == Ok(size),
            None => stat.st_size > 0 || *digest == Digest::of(b""),
        })
    }

    /// Whether the blob's file is there; if so it counts as used now, which keeps a collection off it.
    pub(crate) fn refresh(&self, digest: &Digest, size: u64) -> bool {
        let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        let times = rustix::fs::Timestamps { last_access: now, last_modification: now };
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        self.has_file(digest, Some(size))
            && rustix::fs::utimensat(&self.dir, layout::blob(digest), &times, flags).is_ok()
    }

    pub(crate) fn create_temporary(&self) -> Result<(String, File), Fault> {
        let name = self.temporary();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        match self.dir.open_with(&name, &options) {
            Ok(file) => Ok((name, file.into_std())),
            Err(error) => Err(self.io("make", &name, error)),
        }
    }

    /// Moves a finished temporary file to its digest's place. Another thread or process may do the same at once: the
    /// first stands, since its file may be bound into a sandbox by now, and a replaced file can't be.
    pub(crate) fn place(&self, temporary: &str, file: File, digest: &Digest) -> Result<(), Fault> {
        let name = layout::blob(digest);
        let moved = rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o444))
            .map_err(std::io::Error::from)
            .and_then(|()| self.put_in_place(temporary, &name, digest, file.metadata()?.len()));
        if let Err(error) = moved {
            let _ = self.dir.remove_file(temporary);
            return Err(self.io("make", &name, error));
        }
        // Opened again: as long as a descriptor may write to it, the kernel refuses to run it (ETXTBSY).
        drop(file);
        match self.dir.open(&name) {
            Ok(file) => self.defer_sync(file.into_std()),
            Err(error) => Err(self.io("open", &name, error)),
        }
    }

    fn put_in_place(
        &self,
        temporary: &str,
        name: &str,
        digest: &Digest,
        size: u64,
    ) -> std::io::Result<()> {
        use rustix::fs::{RenameFlags, renameat_with};
        use rustix::io::Errno;
        let exclusive =
            || renameat_with(&self.dir, temporary, &self.dir, name, RenameFlags::NOREPLACE);
        let moved = match exclusive() {
            Err(Errno::NOENT) => {
                let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
                self.dir.create_dir_all(parent)?;
                exclusive()
            }
            other => other,
        };
        match moved {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) if self.has_file(digest, Some(size)) => {
                self.dir.remove_file(temporary)
            }
            // What is there is damaged, or the file system can't rename exclusively.
            Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS) => self.rename(temporary, name),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Renames within the store; the target's folder is made on demand.
    pub(crate) fn rename(&self, from: &str, to: &str) -> std::io::Result<()> {
        match self.dir.rename(from, &self.dir, to) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let parent = to.rsplit_once('/').map_or("", |(parent, _)| parent);
                self.dir.create_dir_all(parent)?;
                self.dir.rename(from, &self.dir, to)
            }
            other => other,
        }
    }
}

/// Reads a file by position, so that the caller's offset stays where it is.
struct Positioned<'f> {
    file: &'f File,
    at: u64,
}

impl Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = std::os::unix::fs::FileExt::read_at(self.file, buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
