//! Binds and mount points by descriptor. Knows paths inside the sandbox; does not know what is bound or why.

use std::{
    ffi::{CString, OsStr},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use crate::{
    CELL_ROOT,
    sys::{
        self, file,
        mount::{self, Reach},
    },
    wire::{At, Failure, Stage},
};

const RESOLVE_IN_ROOT: u64 = 0x10;

/// A detached read-only mount and where it belongs.
pub struct PreparedBind {
    mount: OwnedFd,
    /// Relative to the sandbox's root.
    target: Vec<u8>,
    directory: bool,
    writable: bool,
}

impl PreparedBind {
    /// Opens the source with the caller's rights.
    pub fn open(source: &[u8], target: &[u8]) -> io::Result<Self> {
        let source =
            CString::new(source).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        Self::read_only(mount::clone_tree(&source)?, target)
    }

    /// A detached mount, from now on read-only.
    pub fn read_only(mount: OwnedFd, target: &[u8]) -> io::Result<Self> {
        // `mount_setattr` with AT_RECURSIVE reaches submounts, which a classic read-only remount silently leaves writable.
        mount::add_attributes(
            mount.as_fd(),
            mount::RDONLY | mount::NOSUID | mount::NODEV,
            Reach::Tree,
        )?;
        Self::placed(mount, target, false)
    }

    /// Opens what was granted, without following any link on the way to it.
    pub fn open_granted(
        source: &[u8],
        target: &[u8],
        writable: bool,
        owners: impl FnOnce(&libc::stat) -> io::Result<Option<OwnedFd>>,
    ) -> Result<Self, Failure> {
        let found = find_plain(source).at(Stage::Opening)?;
        let mount = mount::clone_tree_of(found.as_fd()).at(Stage::Opening)?;
        let attributes = mount::NOSUID | mount::NODEV | if writable { 0 } else { mount::RDONLY };
        mount::add_attributes(mount.as_fd(), attributes, Reach::Tree).at(Stage::Opening)?;
        let stat = file::fstat(found.as_fd()).at(Stage::Opening)?;
        if let Some(namespace) = owners(&stat).at(Stage::OpeningOwner)? {
            mount::map_owners(mount.as_fd(), namespace.as_fd()).at(Stage::OpeningOwner)?;
        }
        Self::placed(mount, target, writable).at(Stage::Opening)
    }

    fn placed(mount: OwnedFd, target: &[u8], writable: bool) -> io::Result<Self> {
        let directory = file::fstat(mount.as_fd())?.st_mode & libc::S_IFMT == libc::S_IFDIR;
        let mut target: Vec<u8> = target.iter().copied().skip_while(|byte| *byte == b'/').collect();
        for link in [&b"tmp/"[..], b"var/tmp/"] {
            // Both are links into the cell's own file system, where the mount point has to be made.
            if let Some(rest) = target.strip_prefix(link) {
                target = [b"cell/tmp/", rest].concat();
            }
        }
        Ok(Self { mount, target, directory, writable })
    }

    /// One that was opened by somebody else, and its target below the cell's own file system.
    pub fn received(mount: OwnedFd, target: &[u8], directory: bool) -> Self {
        Self { mount, target: target.to_vec(), directory, writable: false }
    }

    /// What [`Self::received`] takes.
    pub fn parts(&self) -> (BorrowedFd<'_>, &[u8], bool) {
        (self.mount.as_fd(), &self.target, self.directory)
    }

    /// Whether the cell may change it.
    pub fn writable(&self) -> bool {
        self.writable
    }

    /// The target relative to the cell's own file system, if it is in there.
    pub fn in_cell(&self) -> Option<&Path> {
        let root = CELL_ROOT.trim_start_matches('/');
        Path::new(OsStr::from_bytes(&self.target)).strip_prefix(root).ok()
    }

    /// Attaches it below `root`, where its mount point exists.
    pub fn attach(&self, root: BorrowedFd<'_>) -> io::Result<()> {
        let point = lookup(root, Path::new(OsStr::from_bytes(&self.target)))?;
        attach_at(self.mount.as_fd(), point.as_fd())
    }

    /// Makes its mount point below `root`.
    pub fn make_point(&self, root: BorrowedFd<'_>, relative: &Path) -> io::Result<()> {
        make_point(root, relative, self.directory)
    }

    /// The target relative to the sandbox's root.
    pub fn target(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.target))
    }
}

/// Finds an absolute path in which no part is a link.
pub fn find_plain(path: &[u8]) -> io::Result<OwnedFd> {
    let root = file::open(c"/", libc::O_PATH)?;
    let relative: Vec<u8> = path.iter().copied().skip_while(|byte| *byte == b'/').collect();
    let relative = if relative.is_empty() { b".".to_vec() } else { relative };
    let relative =
        CString::new(relative).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    file::openat2(root.as_fd(), &relative, libc::O_PATH, 0, file::NO_ESCAPE)
}

/// A folder of the host's as a detached mount of its own. The host has made it; nothing on the way to it is a link.
pub fn open_folder(path: &[u8]) -> io::Result<OwnedFd> {
    let mount = mount::clone_tree_of(find_plain(path)?.as_fd())?;
    mount::add_attributes(mount.as_fd(), mount::NOSUID | mount::NODEV, Reach::Tree)?;
    Ok(mount)
}

/// Attaches a detached mount exactly on what `point` refers to.
pub fn attach_at(mount: BorrowedFd<'_>, point: BorrowedFd<'_>) -> io::Result<()> {
    const EMPTY_SOURCE: i32 = 0x04;
    const EMPTY_TARGET: i32 = 0x40;
    // SAFETY: both paths are NUL-terminated.
    sys::check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            point.as_raw_fd(),
            c"".as_ptr(),
            EMPTY_SOURCE | EMPTY_TARGET,
        )
    })
    .map(drop)
}

/// Finds a path below `root` as if `root` were `/`: absolute links stay inside.
pub fn lookup(root: BorrowedFd<'_>, relative: &Path) -> io::Result<OwnedFd> {
    file::openat2(root, &sys::c_path(relative)?, libc::O_PATH, 0, RESOLVE_IN_ROOT)
}

/// Makes an (empty) directory or file to mount on, and its parents; whatever exists already is fine.
pub fn make_point(root: BorrowedFd<'_>, relative: &Path, directory: bool) -> io::Result<()> {
    if lookup(root, relative).is_ok() {
        return Ok(());
    }
    let parent = relative.parent().unwrap_or(Path::new(""));
    let name = relative.file_name().ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    let name = sys::c_path(Path::new(name))?;
    let parent = if parent.as_os_str().is_empty() {
        root.try_clone_to_owned()?
    } else {
        make_point(root, parent, true)?;
        lookup(root, parent)?
    };
    if directory {
        file::mkdirat(parent.as_fd(), &name, 0o755)
    } else {
        file::openat(
            parent.as_fd(),
            &name,
            libc::O_CREAT | libc::O_WRONLY | libc::O_NOFOLLOW,
            0o644,
        )
        .map(drop)
    }
}
