//! A user namespace as a table: whose files, seen through a mount, are whose. Knows no mount.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use super::write_file;
use crate::sys::{self, file, process};

/// A namespace in which the host's `uid` and `gid` stand for the user and group `seen_as`, for a mount that shows the files of the one as those of the
/// other. Nobody lives in it: the process that makes it ends at once.
pub fn map(uid: u32, gid: u32, seen_as: u32) -> io::Result<OwnedFd> {
    let (wait, release) = file::pipe()?;
    // SAFETY: the spawner never starts a thread, and the child makes system calls only.
    let (pid, pidfd) = match unsafe { process::clone_into(libc::CLONE_NEWUSER as u64, None) }? {
        process::Cloned::Child => {
            // The end of the spawner is the end of this, too.
            super::close(release.as_fd());
            let _ = sys::poll(&mut [sys::interest(wait.as_fd(), libc::POLLIN)], -1);
            process::exit_now(0)
        }
        process::Cloned::Parent(pid, pidfd) => (pid, pidfd),
    };
    let made = (|| {
        for (file, id) in [("uid_map", uid), ("gid_map", gid)] {
            let path = sys::c_path(std::path::Path::new(&format!("/proc/{pid}/{file}")))?;
            write_file(&path, &format!("{id} {seen_as} 1"))?;
        }
        let path = sys::c_path(std::path::Path::new(&format!("/proc/{pid}/ns/user")))?;
        file::open(&path, libc::O_RDONLY)
    })();
    let _ = process::signal_pidfd(pidfd.as_fd(), libc::SIGKILL);
    made
}
