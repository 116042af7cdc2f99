//! Running one untrusted command in a sandbox of its own, and saying honestly how well it was confined.
//!
//! Knows processes, namespaces, cgroups, mounts and file descriptors. Does not know flows, cells' languages,
//! protocols, stores, clocks or async runtimes: every call is synchronous, every deadline is the caller's,
//! and what a caller may wait for is a file descriptor. See `README.md` for the process picture.
#![cfg(target_os = "linux")]
#![allow(
    unsafe_code,
    reason = "the kernel interfaces this crate is about have no safe wrapper; each use is in `sys` or says why not"
)]

mod cgroup;
mod collect;
mod disk;
mod enforcement;
mod hot;
mod inside;
mod launch;
mod living;
mod missing;
mod owner;
mod parked;
mod passing;
mod policy;
mod probe;
mod sandbox;
mod spawner;
mod spec;
mod survey;
mod sys;
mod usage;
mod view;
mod wire;
pub mod zygote;

pub use cgroup::{SweepReport, sweep};
pub use collect::{Collector, Entry, Kind, Listing, ListingCaps, Refusal, Refused};
pub use disk::sweep_folders;
pub use enforcement::{Enforcement, Level, Mechanism, Status};
pub use hot::{HOT_FROM, HotBytes, HotFile, MOST_HOT};
pub use inside::spawner_main;
pub use parked::Parked;
pub use passing::Passed;
pub use policy::{Limits, MOST_DOORS, Network, Policy, Seccomp};
pub use probe::probe;
pub use sandbox::{Doors, Exit, ExitFact, OomSignal, Sandbox, Teardown};
pub use spawner::{SpawnError, Spawner};
pub use spec::{Access, Bind, File, HotBind, Opening, Spec, SpecError, Stdin};
pub use survey::{Row, Survey, survey};
pub use usage::Usage;
pub use view::View;
pub use wire::Stage;

/// The host's end of a worker's socket, and descriptors over a stream.
pub mod stream {
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

    /// More descriptors than this do not go along with one message.
    pub const MOST_FDS: usize = crate::sys::socket::MAX_FDS;

    /// Sends bytes and, with the first of them, descriptors.
    pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if fds.len() > MOST_FDS {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        crate::sys::socket::send(socket.as_fd(), bytes, fds)
    }

    /// Receives what is there, at least a byte, and descriptors that came with it. No bytes: the other end is closed.
    pub fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        let received = crate::sys::socket::receive(socket.as_fd(), buffer)?;
        Ok((received.length, received.fds))
    }

    /// Whether the other end has taken all that was sent to it.
    pub fn all_taken(socket: impl AsFd) -> io::Result<bool> {
        crate::sys::socket::all_taken(socket.as_fd())
    }

    /// Reads without waiting. Descriptors that come along are closed unseen; whether there were some is the second value.
    pub fn read(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, bool)> {
        crate::sys::socket::read_bare(socket.as_fd(), buffer)
    }
}

/// From now on no program that this process starts gets a descriptor of its own but the standard streams it is given.
pub fn keep_descriptors() {
    // The kernel refuses it only where it does not know it: then they go along, as ever.
    let _ = sys::process::close_range(3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
}

/// What all sandboxes of a spawner have of the host's `/etc` is a copy that was made when it started. Equal to what this was then as long as a copy made now
/// would be the same; some thousand bytes, read without any contents.
#[must_use]
pub fn system_stamp() -> Vec<u8> {
    inside::stamp(std::path::Path::new("/etc"))
}

/// The hidden first argument under which the binary becomes the spawner (see [`spawner_main`]).
pub const SPAWNER_ARG: &str = "__spawner";

/// Where a cell's own file system is mounted inside the sandbox.
pub const CELL_ROOT: &str = "/cell";

/// The number of the worker socket inside the cell, announced in the environment as `POLYLOOM_W`, or of
/// the pipe for words, announced as `POLYLOOM_SAY`.
pub const WORKER_FD: i32 = 3;

/// A host shares these between its threads.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Spawner>();
    shared::<Sandbox>();
    shared::<Collector>();
    shared::<HotFile>();
    shared::<Parked>();
};
