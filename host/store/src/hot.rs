//! Content whose digest is wanted before its bytes are on the disk: large outputs that stay in memory for their consumers.
//! Does not know where they stay.

use std::fs::File;

use polyloom_model::Digest;
use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::direct;
use crate::fault::Fault;
use crate::store::Store;

impl Store {
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

    /// Stores bytes whose digest is known, and waits until they are on the disk, so that a commit has nothing to wait for.
    /// What turns out to have another digest is not stored; whether it had this one is the answer.
    pub fn put_whole(&self, room: Room, bytes: &[u8], digest: &Digest) -> Result<bool, Fault> {
        let Room { name, file } = room;
        match direct::write(bytes, &file) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_announced_content_gets_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("a store");
        let bytes = vec![7; 100_000];
        let (digest, size) = (Digest::of(&bytes), 100_000);
        assert!(!store.holds(&digest, size));
        let other = Digest::of(b"other");
        let room = store.room_for(size).expect("room");
        assert!(!store.put_whole(room, &bytes, &other).expect("written"));
        assert!(!store.has(&other).expect("looked") && !store.holds(&digest, size));
        let room = store.room_for(size).expect("room");
        assert!(store.put_whole(room, &bytes, &digest).expect("written"));
        assert!(store.holds(&digest, size));
        assert_eq!(store.read(&digest, size).expect("read"), bytes);
        let left = std::fs::read_dir(folder.path().join(crate::layout::TMP)).expect("there");
        assert_eq!(left.count(), 0);
    }
}
