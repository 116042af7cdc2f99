//! Where a cell's own file system is: in memory, as long as it fits there, else on disk. Host side only.
//!
//! A tmpfs counts as the cell's memory, so that one larger than the memory limit could never be filled. On disk there are two ways: an image with a file
//! system of its own, whose size is the limit (root, loop devices, `mkfs.ext4`), or a plain folder whose content is summed up at intervals.
//! Knows limits and folders of the host; does not know mount namespaces, users inside, or what a cell writes.

mod folder;
mod image;
mod measure;

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

pub use folder::{Folder, sweep as sweep_folders};
pub use measure::Measure;

use crate::{
    enforcement::Status,
    policy::Limits,
    sys::{self, file},
    wire::Mode,
};

/// A folder of the host's in which cells keep what does not fit into memory.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
    directory: OwnedFd,
    /// Whether images work here; tried once.
    image: OnceLock<Result<(), String>>,
}

/// Which way was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Memory,
    Image,
    Folder,
}

/// What a sandbox is given.
#[derive(Debug)]
pub enum Disk {
    /// The supervisor makes a tmpfs.
    Memory,
    /// A detached mount.
    Image(OwnedFd),
    /// A folder, to be bound.
    Folder(Arc<Folder>),
}

impl Scratch {
    /// An existing folder; links on the way to it are followed once, now. An error is a text for people.
    pub fn open(path: &Path) -> Result<Self, String> {
        let told = |error: io::Error| format!("`{}`: {error}", path.display());
        let path = path.canonicalize().map_err(told)?;
        let c_path = sys::c_path(&path).map_err(told)?;
        let directory = file::open(&c_path, libc::O_RDONLY | libc::O_DIRECTORY).map_err(told)?;
        let kind = file::fstatfs(directory.as_fd()).map_err(told)?.f_type;
        if [libc::TMPFS_MAGIC, RAMFS_MAGIC].contains(&kind) {
            return Err(format!("`{}` is itself held in memory", path.display()));
        }
        Ok(Self { path, directory, image: OnceLock::new() })
    }

    fn image_works(&self) -> Result<(), &str> {
        let tried = self.image.get_or_init(|| {
            image::make(self.directory.as_fd(), 1 << 20, 16).map(drop).map_err(|e| e.to_string())
        });
        tried.as_ref().copied().map_err(String::as_str)
    }
}

const RAMFS_MAGIC: libc::__fsword_t = 0x8584_58f6_u32 as libc::__fsword_t;

/// A folder for a cell whose files are on the host whatever its limits are.
pub fn folder(scratch: &Result<Scratch, String>) -> io::Result<Arc<Folder>> {
    let scratch = scratch.as_ref().map_err(|why| io::Error::other(why.clone()))?;
    Folder::make(&scratch.path, &scratch.directory, None).map(Arc::new)
}

/// Where the files of a cell with these limits go, and how well its limit holds there.
pub fn plan(scratch: &Result<Scratch, String>, mode: Mode, limits: &Limits) -> (Kind, Status) {
    if mode == Mode::Bare {
        return match scratch {
            Ok(_) => (
                Kind::Folder,
                Status::partial(
                    "a folder on disk, summed up; RLIMIT_FSIZE",
                    "no mount namespace; bursts between two sums are missed",
                ),
            ),
            Err(why) => (Kind::Folder, Status::none(format!("no mount namespace, and {why}"))),
        };
    }
    if limits.disk <= limits.memory {
        return (Kind::Memory, Status::full("size of the private tmpfs, RLIMIT_FSIZE"));
    }
    let scratch = match scratch {
        Ok(scratch) => scratch,
        Err(why) => {
            let why = format!("it counts as memory, whose limit is lower, and not on disk: {why}");
            return (Kind::Memory, Status::partial("size of the private tmpfs", why));
        }
    };
    let why = match mode {
        Mode::User | Mode::Bare => "only root can mount an image",
        Mode::Root => match scratch.image_works() {
            Ok(()) => {
                return (Kind::Image, Status::full("its own ext4 on disk, RLIMIT_FSIZE"));
            }
            Err(why) => why,
        },
    };
    let why = format!("no file system of its own: {why}; bursts between two sums are missed");
    (Kind::Folder, Status::partial("a folder on disk, summed up; RLIMIT_FSIZE", why))
}

impl Disk {
    /// Makes what was planned, for a supervisor with this user (root mode). `given` bytes come on top of the limit.
    pub fn make(
        kind: Kind,
        scratch: &Result<Scratch, String>,
        limits: &Limits,
        given: u64,
        owner: Option<u32>,
    ) -> io::Result<Self> {
        if kind == Kind::Memory {
            return Ok(Self::Memory);
        }
        let scratch = scratch.as_ref().map_err(|why| io::Error::other(why.clone()))?;
        if kind == Kind::Folder {
            return Folder::make(&scratch.path, &scratch.directory, owner)
                .map(|folder| Self::Folder(Arc::new(folder)));
        }
        let mount = image::make(
            scratch.directory.as_fd(),
            limits.disk.saturating_add(given),
            limits.inodes.saturating_add(64),
        )?;
        if let Some(owner) = owner {
            file::chownat(mount.as_fd(), c".", owner, owner)?;
        }
        Ok(Self::Image(mount))
    }
}
