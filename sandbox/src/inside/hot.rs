//! Mounting a file out of the namespace of a cell that has ended. Does not know what is in it or whose it was.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use crate::sys::{file, mount, process};

/// A detached mount of a file in another mount namespace. The kernel copies mounts of the caller's own namespace only, so this enters
/// the other one for the one call; it needs `setns(2)`'s rights over it, which a spawner has over whatever it made.
pub fn mount(space: BorrowedFd<'_>, file: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let ours = file::open(c"/proc/self/ns/mnt", libc::O_RDONLY)?;
    let root = file::open(c"/", libc::O_PATH | libc::O_DIRECTORY)?;
    process::enter_namespace(space, libc::CLONE_NEWNS)?;
    let mount = mount::clone_tree_of(file);
    // Entering resets the root to that of the namespace, which is not ours where the host lives below a `chroot`.
    let back = process::enter_namespace(ours.as_fd(), libc::CLONE_NEWNS)
        .and_then(|()| mount::enter(root.as_fd()))
        .and_then(|()| mount::root_here());
    if back.is_err() {
        // A spawner that is not where it believes to be must not make another sandbox.
        process::exit_now(70);
    }
    mount
}
