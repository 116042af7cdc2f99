//! Which of the store's bytes are what they should be: each file is hashed before its bytes are first used, once for each open
//! store, and again if its stat has changed since. What is damaged goes at once, so that it is made again.
//!
//! Every blob's file has the same modification time. One with another time was written to by somebody, which a look at
//! its stat shows without reading it: a plan of a thousand results that nobody reads costs a thousand stats, as before.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cap_std::fs::{OpenOptions, OpenOptionsExt};
use polyloom_model::Digest;
use rustix::fs::{OFlags, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use crate::blobs::ReadError;
use crate::fail::point;
use crate::fault::Fault;
use crate::hashing;
use crate::layout;
use crate::stats::StatKey;
use crate::store::Store;

/// The modification time of every blob's file, in seconds: the start of 2000. Not 1970: ZIP knows no year before 1980.
pub(crate) const STILL: i64 = 946_684_800;

/// What this process has hashed or written itself.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    files: HashMap<(u64, u64), (StatKey, Digest)>,
    trees: HashSet<Digest>,
    damaged: Vec<Digest>,
}

impl Seen {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, stat: &StatKey) -> Option<Digest> {
        let inner = self.inner();
        let (then, digest) = inner.files.get(&(stat.dev, stat.ino))?;
        (then == stat).then_some(*digest)
    }

    fn note(&self, stat: StatKey, digest: Digest) {
        self.inner().files.insert((stat.dev, stat.ino), (stat, digest));
    }

    /// Whether a laid-out directory was looked at.
    pub(crate) fn knows_tree(&self, digest: &Digest) -> bool {
        self.inner().trees.contains(digest)
    }

    pub(crate) fn note_tree(&self, digest: Digest) {
        self.inner().trees.insert(digest);
    }

    fn forget_trees(&self) {
        self.inner().trees.clear();
    }
}

impl Store {
    /// What was found damaged since this was asked last, and is gone now.
    #[must_use]
    pub fn take_damaged(&self) -> Vec<Digest> {
        std::mem::take(&mut self.seen.inner().damaged)
    }

    /// Makes sure of all bytes of an artifact: of a directory's listing and its files where it is one. What is damaged goes.
    pub fn make_sure(&self, digest: &Digest, kind: ArtifactKind) -> Result<(), ReadError> {
        match kind {
            ArtifactKind::Blob => self.make_sure_of_blob(digest),
            ArtifactKind::Dir => {
                let listing = self.listing(digest)?;
                let mut files = listing.values().flatten();
                files.try_for_each(|entry| self.make_sure_of_blob(&entry.digest))
            }
        }
    }

    fn make_sure_of_blob(&self, digest: &Digest) -> Result<(), ReadError> {
        if self.whole(digest)?.is_some() || self.small(digest)?.is_some() {
            return Ok(());
        }
        Err(ReadError::Missing { digest: *digest })
    }

    /// A blob's file, open, from here or from the store behind.
    pub(crate) fn whole(&self, digest: &Digest) -> Result<Option<File>, ReadError> {
        match self.whole_here(digest) {
            // What is damaged here may be whole there.
            Ok(None) | Err(ReadError::Corrupt { .. }) if self.fetch(digest)? => {
                self.whole_here(digest)
            }
            other => other,
        }
    }

    /// A blob's file, open, if it is there and has its bytes. One that has others is removed and told.
    pub(crate) fn whole_here(&self, digest: &Digest) -> Result<Option<File>, ReadError> {
        let name = layout::blob(digest);
        let Some(file) = self.open_quietly(&name)? else { return Ok(None) };
        let meta = file.metadata().map_err(|error| self.io("read", &name, error))?;
        if !meta.is_file() || (meta.len() == 0 && *digest != Digest::of(b"")) {
            // What a power cut leaves, or somebody else's folder.
            return Ok(None);
        }
        let found = self.digest_of(&file).map_err(|error| self.io("read", &name, error))?;
        if found == *digest {
            return Ok(Some(file));
        }
        self.discard(digest);
        Err(ReadError::Corrupt { digest: *digest, found })
    }

    /// The digest of an open file of the store's, hashed unless it was before and its stat is the same.
    pub(crate) fn digest_of(&self, file: &File) -> std::io::Result<Digest> {
        let before = StatKey::of(&file.metadata()?);
        if let Some(known) = self.seen.known(&before) {
            return Ok(known);
        }
        let (digest, _) = hashing::digest_of_size(file, before.size)?;
        if StatKey::of(&file.metadata()?) == before {
            self.seen.note(before, digest);
        }
        Ok(digest)
    }

    /// Remembers that a file that was just written or checked has these bytes.
    pub(crate) fn note_file(&self, file: &File, digest: Digest) {
        if let Ok(meta) = file.metadata() {
            self.seen.note(StatKey::of(&meta), digest);
        }
    }

    /// Whether a blob's file is there and nobody has written to it, by its stat; where the stat is in doubt, by its bytes.
    pub(crate) fn stands(&self, digest: &Digest, size: u64) -> bool {
        let name = layout::blob(digest);
        let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
        let Ok(stat) = rustix::fs::statat(&self.dir, &name, flags) else { return false };
        if u64::try_from(stat.st_size) != Ok(size) {
            return false;
        }
        if (stat.st_mtime, stat.st_mtime_nsec) == (STILL, 0) {
            return true;
        }
        let Ok(Some(file)) = self.whole_here(digest) else { return false };
        self.still(&file, UTIME_OMIT, digest);
        true
    }

    /// Whether a blob's file is there with its bytes; if so it counts as used now, which keeps a collection off it.
    pub(crate) fn refresh(&self, digest: &Digest, size: u64) -> bool {
        if !self.has_file(digest, Some(size)) {
            return false;
        }
        let Ok(Some(file)) = self.whole_here(digest) else { return false };
        self.still(&file, UTIME_NOW, digest);
        true
    }

    fn still(&self, file: &File, used: i64, digest: &Digest) {
        if set_times(file, used).is_ok() {
            self.note_file(file, *digest);
        }
    }

    /// Opens a file of the store's for looking at it: not a use, so it leaves the access time alone where it may.
    pub(crate) fn open_quietly(&self, name: &str) -> Result<Option<File>, Fault> {
        let open = |flags: OFlags| {
            let mut options = OpenOptions::new();
            let flags = flags | OFlags::NONBLOCK;
            options.read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or(0));
            self.dir.open_with(name, &options)
        };
        // Only who owns a file may leave its access time alone.
        let opened = match open(OFlags::NOATIME) {
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                open(OFlags::empty())
            }
            other => other,
        };
        match opened {
            Ok(file) => Ok(Some(file.into_std())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.io("open", name, error)),
        }
    }

    /// Removes a damaged blob and marks the results that name it, so that they are made again. What can't be written (a store that
    /// is read-only for us) stays, and is found damaged again.
    pub(crate) fn discard(&self, digest: &Digest) {
        let _ = self.dir.remove_file(layout::blob(digest));
        point("damaged blob removed");
        // Laid-out directories may hold another link to the same bytes.
        self.seen.forget_trees();
        let _ = self.write(|index| {
            index.execute("DELETE FROM blobs WHERE digest = ?1", [digest.as_bytes()])?;
            index.execute(
                "UPDATE results SET evicted = 1 WHERE instr(outputs, ?1) > 0",
                [digest.to_string()],
            )?;
            Ok(())
        });
        self.seen.inner().damaged.push(*digest);
    }
}

/// Gives a blob's file its modification time and, with `UTIME_NOW`, says that it is used now.
pub(crate) fn set_times(file: &File, used: i64) -> rustix::io::Result<()> {
    rustix::fs::futimens(
        file,
        &Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: used },
            last_modification: Timespec { tv_sec: STILL, tv_nsec: 0 },
        },
    )
}

/// What an artifact is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArtifactKind {
    /// One blob.
    Blob,
    /// A listing and its files.
    Dir,
}
