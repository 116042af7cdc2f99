//! Reading blobs: whatever is given out has the digest that was asked for.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use polyloom_model::Digest;
use rusqlite::OptionalExtension;

use crate::blobs::{ReadError, SMALL};
use crate::fault::Fault;
use crate::hashing;
use crate::layout;
use crate::store::Store;

impl Store {
    /// Whether a blob is in the store.
    pub fn has(&self, digest: &Digest) -> Result<bool, Fault> {
        if self.pending().small.contains_key(digest) || self.has_file(digest, None) {
            return Ok(true);
        }
        let row = self.query(|index| {
            index
                .prepare_cached("SELECT 1 FROM blobs WHERE digest = ?1")?
                .exists([digest.as_bytes()])
        })?;
        Ok(row || self.behind.as_ref().is_some_and(|behind| behind.has(digest, None)))
    }

    /// Whether a blob is in the store with all its bytes.
    #[must_use]
    pub fn holds(&self, digest: &Digest, size: u64) -> bool {
        if size <= SMALL && self.small(digest).is_ok_and(|bytes| bytes.is_some()) {
            return true;
        }
        self.refresh(digest, size)
    }

    /// The size of a blob.
    pub fn size(&self, digest: &Digest) -> Result<u64, ReadError> {
        if let Some(bytes) = self.small(digest)? {
            return Ok(bytes.len() as u64);
        }
        if let Ok(meta) = self.dir.metadata(layout::blob(digest)) {
            return Ok(meta.len());
        }
        let file = self.whole(digest)?.ok_or(ReadError::Missing { digest: *digest })?;
        let meta = file.metadata();
        Ok(meta.map_err(|error| self.io("read", &layout::blob(digest), error))?.len())
    }

    /// Opens a blob for reading.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, ReadError> {
        if let Some(file) = self.whole(digest)? {
            return Ok(file);
        }
        self.lay_small(digest)?;
        self.whole(digest)?.ok_or(ReadError::Missing { digest: *digest })
    }

    /// The path of a read-only file with a blob's bytes, for whoever binds it into a sandbox or names it to a user.
    /// A small blob gets its file here.
    pub fn path(&self, digest: &Digest) -> Result<PathBuf, ReadError> {
        if self.whole(digest)?.is_none() {
            self.lay_small(digest)?;
        }
        Ok(self.root.join(layout::blob(digest)))
    }

    fn lay_small(&self, digest: &Digest) -> Result<(), ReadError> {
        let bytes = self.small(digest)?.ok_or(ReadError::Missing { digest: *digest })?;
        let (temporary, mut file) = self.create_temporary()?;
        file.write_all(&bytes).map_err(|error| self.io("write", &temporary, error))?;
        Ok(self.place(&temporary, file, digest)?)
    }

    /// The bytes of a blob of at most `max` bytes.
    pub fn read(&self, digest: &Digest, max: u64) -> Result<Vec<u8>, ReadError> {
        let too_large = |size| ReadError::TooLarge { digest: *digest, size, max };
        if let Some(bytes) = self.small(digest)? {
            let size = bytes.len() as u64;
            return if size > max { Err(too_large(size)) } else { Ok(bytes.to_vec()) };
        }
        let Some(file) = self.whole(digest)? else {
            return Err(ReadError::Missing { digest: *digest });
        };
        let read = |error| self.io("read", &layout::blob(digest), error);
        let size = file.metadata().map_err(read)?.len();
        if size > max {
            return Err(too_large(size));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(max).read_to_end(&mut bytes).map_err(read)?;
        Ok(bytes)
    }

    /// Hashes a blob again, in every place where it is kept, whatever was seen of it before. Changes nothing.
    pub fn verify(&self, digest: &Digest) -> Result<(), ReadError> {
        let same = |found: Digest| {
            if found == *digest {
                Ok(())
            } else {
                Err(ReadError::Corrupt { digest: *digest, found })
            }
        };
        let small = self.small_row(digest)?;
        if let Some(bytes) = &small {
            same(Digest::of(bytes))?;
        }
        let name = layout::blob(digest);
        match self.open_quietly(&name)? {
            Some(file) => {
                let hashed = hashing::digest(&file);
                same(hashed.map_err(|error| self.io("read", &name, error))?.0)
            }
            None if small.is_some() => Ok(()),
            None => Err(ReadError::Missing { digest: *digest }),
        }
    }

    /// A small blob's bytes, from memory, from the index or from the store behind. A row with other bytes is removed and told.
    pub(crate) fn small(&self, digest: &Digest) -> Result<Option<Arc<[u8]>>, ReadError> {
        let bytes = match self.small_row(digest)? {
            Some(bytes) => bytes,
            None if self.has_file(digest, None) || !self.fetch(digest)? => return Ok(None),
            None => return Ok(self.small_row(digest)?),
        };
        let found = Digest::of(&bytes);
        if found != *digest {
            self.discard(digest);
            return match self.fetch(digest)? {
                true => Ok(self.small_row(digest)?),
                false => Err(ReadError::Corrupt { digest: *digest, found }),
            };
        }
        Ok(Some(bytes))
    }

    fn small_row(&self, digest: &Digest) -> Result<Option<Arc<[u8]>>, Fault> {
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
}
