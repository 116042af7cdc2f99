//! Blobs: bytes under their digest. Small ones are rows of the index, the others read-only files.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;

use cap_std::fs::OpenOptions;
use polyloom_model::Digest;
use thiserror::Error;

use crate::copying::{self, Copied};
use crate::fail::point;
use crate::fault::Fault;
use crate::layout;
use crate::seen;
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
    /// It takes long, and is not wanted any more.
    #[error("it is not wanted any more")]
    Unwanted,
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

    pub(crate) fn create_temporary(&self) -> Result<(String, File), Fault> {
        let name = self.temporary();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        match self.dir.open_with(&name, &options) {
            Ok(file) => {
                point("temporary made");
                Ok((name, file.into_std()))
            }
            Err(error) => Err(self.io("make", &name, error)),
        }
    }

    /// Moves a finished temporary file to its digest's place. Another thread or process may do the same at once: the
    /// first stands, since its file may be bound into a sandbox by now, and a replaced file can't be.
    pub(crate) fn place(&self, temporary: &str, file: File, digest: &Digest) -> Result<(), Fault> {
        point("blob written");
        let name = layout::blob(digest);
        let moved = rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o444))
            .and_then(|()| seen::set_times(&file, rustix::fs::UTIME_NOW))
            .map_err(std::io::Error::from)
            .and_then(|()| {
                let meta = file.metadata()?;
                self.put_in_place(temporary, &name, digest, meta.len())?;
                Ok((meta.dev(), meta.ino()))
            });
        let ours = match moved {
            Ok(ours) => ours,
            Err(error) => {
                let _ = self.dir.remove_file(temporary);
                return Err(self.io("make", &name, error));
            }
        };
        point("blob in place");
        // Opened again: as long as a descriptor may write to it, the kernel refuses to run it (ETXTBSY).
        drop(file);
        let file = match self.dir.open(&name) {
            Ok(file) => file.into_std(),
            Err(error) => return Err(self.io("open", &name, error)),
        };
        // What was just written needs no hashing; what somebody else put there does.
        if let Ok(meta) = file.metadata().as_ref()
            && (meta.dev(), meta.ino()) == ours
        {
            self.note_file(&file, *digest);
            let mut pending = self.pending();
            pending.placed = pending.placed.saturating_add(meta.len());
        }
        self.defer_sync(file)
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
            Err(Errno::EXIST) if self.refresh(digest, size) => self.dir.remove_file(temporary),
            // What was there is damaged, or the file system can't rename exclusively.
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
