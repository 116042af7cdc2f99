//! Single flight: a lock for each key, so that of all who need a result at once one makes it. The kernel's, of an open file
//! (`F_OFD_SETLK`, fcntl(2)): it ends with whoever holds it, however that ends.
//!
//! All keys share one file; a key's place in it is 62 bits of its digest. There is nothing to clean up, and two keys in one place
//! would only wait for each other.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use polyloom_model::Digest;

use crate::fault::Fault;
use crate::layout;
use crate::store::Store;

/// The right to make a result. Ends when it is dropped.
#[derive(Debug)]
pub struct Flight {
    _lock: File,
}

impl Store {
    /// The right to make what has this key, unless somebody has it: another thread, another process.
    pub fn try_flight(&self, key: &Digest) -> Result<Option<Flight>, Fault> {
        let path = self.root.join(layout::FLIGHTS);
        let fault = |action, error| Fault::io(action, &path, error);
        // Opened anew each time: the lock belongs to the open file, not to the process.
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path).map_err(|error| fault("open", error))?;
        let lock = libc::flock {
            l_type: libc::F_WRLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: place(key),
            l_len: 1,
            l_pid: 0,
        };
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&lock)) {
            Ok(_) => Ok(Some(Flight { _lock: file })),
            Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
            Err(errno) => Err(fault("lock", errno.into())),
        }
    }
}

fn place(key: &Digest) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&key.as_bytes()[..8]);
    i64::from_le_bytes(first) & (i64::MAX >> 1)
}
