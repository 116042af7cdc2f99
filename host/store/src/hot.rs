//! Content whose digest is wanted before its bytes are on the disk: large outputs that stay in memory for their consumers.
//! Does not know where they stay.

use std::fs::File;

use polyloom_model::Digest;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::direct;
use crate::fault::Fault;
use crate::hashing;
use crate::store::Store;

impl Store {
    /// The digest and size of an open file. The store keeps nothing of it.
    pub fn digest_of(&self, file: &File) -> Result<(Digest, u64), Fault> {
        hashing::digest(file).map_err(|error| Fault::io("read", &self.root, error))
    }

    /// Whether content is here already; if so it counts as used now.
    #[must_use]
    pub fn holds(&self, digest: &Digest, size: u64) -> bool {
        self.refresh(digest, size)
    }

    /// Takes the room on the disk that `size` bytes need, so that a full disk is told before anybody relies on what comes in there.
    pub fn room_for(&self, size: u64) -> Result<Room, Fault> {
        let (name, file) = self.create_temporary()?;
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size) {
            // Where a file system can't, the copy itself will tell.
            Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(Room { name, file }),
            Err(errno) => {
                let _ = self.dir.remove_file(&name);
                Err(self.io("write", &name, errno.into()))
            }
        }
    }

    /// Stores `size` bytes of a file whose digest is known, and waits until they are on the disk, so that a commit has nothing to wait for.
    /// What turns out to have another digest is not stored; whether it had this one is the answer.
    pub fn put_whole(
        &self,
        room: Room,
        source: &File,
        digest: &Digest,
        size: u64,
    ) -> Result<bool, Fault> {
        let Room { name, file } = room;
        match direct::copy(source, &file, size) {
            Ok(found) if found == *digest => {
                self.place(&name, file, digest)?;
                self.sync()?;
                Ok(true)
            }
            Ok(_) => {
                let _ = self.dir.remove_file(&name);
                Ok(false)
            }
            Err(error) => {
                let _ = self.dir.remove_file(&name);
                Err(self.io("write", &name, error))
            }
        }
    }
}

/// Room on the disk, for content that is coming.
#[derive(Debug)]
pub struct Room {
    name: String,
    file: File,
}
