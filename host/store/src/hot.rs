//! Content whose digest is wanted before its bytes are on the disk: large outputs that stay in memory for their consumers.
//! Does not know where they stay.

use std::fs::File;

use polyloom_model::Digest;

use crate::blobs::PutError;
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

    /// The same as [`Store::put_file`], and waits until all blobs are on the disk, so that a commit has nothing to wait for.
    pub fn put_whole(&self, source: &File, max: u64) -> Result<(Digest, u64), PutError> {
        let put = self.put_file(source, max)?;
        self.sync()?;
        Ok(put)
    }
}
