//! Content whose digest is wanted before its bytes are on the disk: large outputs that stay in memory for their consumers.
//! Does not know where they stay.

use std::fs::File;

use polyloom_model::Digest;

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

    /// Stores `size` bytes of a file whose digest is known, and waits until they are on the disk, so that a commit has nothing to wait for.
    /// What turns out to have another digest is not stored; whether it had this one is the answer.
    pub fn put_whole(&self, source: &File, digest: &Digest, size: u64) -> Result<bool, Fault> {
        if self.refresh(digest, size) {
            return Ok(true);
        }
        let (name, file) = self.create_temporary()?;
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
