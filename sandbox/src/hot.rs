//! A file of a cell that has ended, kept in the memory it was written into and mounted read-only into other cells: no copy.
//!
//! Knows one file and how nobody can change it any more. Does not know what it holds, or for how long somebody wants it.

use std::{
    fs, io,
    marker::PhantomData,
    ops::Deref,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    ptr::NonNull,
    sync::Arc,
};

use crate::sys::{self, file};

/// Most such files of one sandbox: each takes two of the descriptors that one message carries.
pub const MOST_HOT: usize = 8;

/// Files from this size on may stay in memory for their consumers, in bytes; less is copied sooner than it is arranged.
pub const HOT_FROM: u64 = 4 << 20;

/// A file that stays in memory as long as this lives, and the whole file system of its dead cell with it.
#[derive(Debug)]
pub struct HotFile {
    /// A mount namespace in which the file is mounted; it keeps the file system alive.
    space: Arc<OwnedFd>,
    file: OwnedFd,
    held: u64,
}

impl HotFile {
    /// `file` is open for reading, below `root`, and every process that could write to it is dead.
    pub(crate) fn of(
        space: &Arc<OwnedFd>,
        root: &OwnedFd,
        file: &OwnedFd,
        owner: Option<u32>,
    ) -> Option<Self> {
        let file = file.try_clone().ok()?;
        freeze(&file, owner).ok()?;
        Some(Self { space: Arc::clone(space), file, held: file::bytes_used(root.as_fd()) })
    }

    /// Bytes that are in memory because of it: all of its file system. Several files of one cell hold the same.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Its bytes, mapped: what has them need not copy them out of the file first, which costs more than to hash them.
    pub fn bytes(&self) -> io::Result<HotBytes<'_>> {
        let size =
            usize::try_from(file::fstat(self.file.as_fd())?.st_size).map_err(io::Error::other)?;
        let map = file::map(self.file.as_fd(), size)?;
        Ok(HotBytes { map, size, _file: PhantomData })
    }

    pub(crate) fn handles(&self) -> (BorrowedFd<'_>, BorrowedFd<'_>) {
        (self.space.as_fd(), self.file.as_fd())
    }
}

/// The bytes of a [`HotFile`], mapped as long as this lives.
#[derive(Debug)]
pub struct HotBytes<'f> {
    map: NonNull<u8>,
    size: usize,
    _file: PhantomData<&'f HotFile>,
}

impl Deref for HotBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the map is readable over its size until this is dropped. Nobody writes to the file or makes it shorter, which would
        // be a SIGBUS here: there was no descriptor and no mapping that could when it was frozen, and nobody may open one since.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr(), self.size) }
    }
}

impl Drop for HotBytes<'_> {
    fn drop(&mut self) {
        // SAFETY: the map is ours, and what was lent of it is over. An error could only say that it is none.
        unsafe { libc::munmap(self.map.as_ptr().cast(), self.size) };
    }
}

// SAFETY: read-only memory that belongs to nobody else.
unsafe impl Send for HotBytes<'_> {}
// SAFETY: as above.
unsafe impl Sync for HotBytes<'_> {}

/// Nobody may open it for writing any more, and nobody has. The dead cell could have given a descriptor away, though no way to do
/// so is known: it has no socket to anybody but its host.
fn freeze(file: &OwnedFd, owner: Option<u32>) -> io::Result<()> {
    // The users of cells are used again; those of supervisors run our code alone.
    if let Some(owner) = owner {
        file::fchown(file.as_fd(), owner, owner)?;
    }
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    fs::set_permissions(link, fs::Permissions::from_mode(0o444))?;
    // A lease on reading is granted only while no descriptor and no mapping can write (fcntl(2), F_SETLEASE).
    let lease = |kind: i32| {
        // SAFETY: integers only.
        sys::check_int(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) })
    };
    lease(libc::F_RDLCK)?;
    lease(libc::F_UNLCK).map(drop)
}
