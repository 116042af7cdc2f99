//! Reading what a dead cell left behind, by descriptor, without following anything. Knows a directory; does not know who wrote it.

use std::{
    ffi::OsStr,
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use crate::{
    disk::Folder,
    hot::HotFile,
    parked::Lease,
    sys::{
        self,
        file::{self, NO_ESCAPE, RESOLVE_NO_XDEV},
    },
};

/// Reads files below one directory. Use it when nobody can change them any more.
#[derive(Debug)]
pub struct Collector {
    root: OwnedFd,
    /// Files on disk are there as long as somebody reads them.
    _folder: Option<Arc<Folder>>,
    /// The namespace in which the root is mounted, where its files may stay in memory.
    space: Option<Arc<OwnedFd>>,
    /// Whose such files become.
    owner: Option<u32>,
    /// Its sandbox is for no other cell as long as somebody reads.
    _lease: Option<Arc<Lease>>,
}

/// How much of a tree is looked at.
#[derive(Debug, Clone, Copy)]
pub struct ListingCaps {
    /// Entries visited in all.
    pub entries: usize,
    /// Levels of directories; 1 lists one directory and nothing below.
    pub depth: usize,
}

impl Default for ListingCaps {
    fn default() -> Self {
        Self { entries: 10_000, depth: 16 }
    }
}

/// What is in a directory.
#[derive(Debug, Default)]
pub struct Listing {
    /// Sorted by path; a directory comes before what is in it.
    pub entries: Vec<Entry>,
    /// What was left out, and why.
    pub refused: Vec<Refused>,
}

/// One thing in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the listed directory; valid UTF-8 without control characters.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Names it has; more than one for a file means a hard link, which [`Collector::open_file`] refuses.
    pub links: u64,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File {
        /// Apparent size in bytes.
        size: u64,
        /// Bytes that are really there; less than `size` for a sparse file.
        stored: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link; never followed.
    Symlink,
    /// A device, FIFO or socket.
    Other,
}

/// An entry that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its path with every unusual byte escaped: safe to print.
    pub path: String,
    /// Why.
    pub refusal: Refusal,
}

/// Why something is not collected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The name is not text.
    #[error("its name is not valid UTF-8")]
    NotUtf8,
    /// The name could attack a terminal.
    #[error("its name has control characters")]
    ControlCharacters,
    /// The path climbs or is absolute.
    #[error("it is not a plain relative path")]
    BadPath,
    /// There is a symbolic link at or on the way to it.
    #[error("it is, or is reached through, a symbolic link")]
    Symlink,
    /// It is not a regular file.
    #[error("it is not a regular file")]
    NotRegular,
    /// It has another name, whose content would be taken along.
    #[error("it has {0} hard links")]
    HardLink(u64),
    /// Too many levels.
    #[error("it is nested too deeply")]
    TooDeep,
    /// Too many entries; the rest was not looked at.
    #[error("there are too many entries")]
    TooMany,
    /// There is nothing of that name.
    #[error("it does not exist")]
    Missing,
    /// The host has too many files open; the cell's files are not at fault.
    #[error("this program has too many files open (`ulimit -n`)")]
    OutOfDescriptors,
    /// The system refused.
    #[error("it cannot be read: {0}")]
    Unreadable(io::ErrorKind),
}

impl Refusal {
    fn from_open(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::ELOOP) => Self::Symlink,
            Some(libc::EXDEV) => Self::BadPath,
            Some(libc::ENOENT | libc::ENOTDIR) => Self::Missing,
            Some(libc::EMFILE | libc::ENFILE) => Self::OutOfDescriptors,
            _ => Self::Unreadable(error.kind()),
        }
    }
}

impl Collector {
    /// Reads below this directory (an `O_PATH` descriptor will do).
    pub fn new(root: OwnedFd) -> Self {
        Self { root, _folder: None, space: None, owner: None, _lease: None }
    }

    pub(crate) fn of_cell(
        root: OwnedFd,
        folder: Option<Arc<Folder>>,
        space: Option<Arc<OwnedFd>>,
        owner: Option<u32>,
        lease: Option<Arc<Lease>>,
    ) -> Self {
        Self { root, _folder: folder, space, owner, _lease: lease }
    }

    /// Lists `directory` (relative to the cell's root, e.g. `out`) and what is below it, as far as the caps allow.
    pub fn list(&self, directory: &str, caps: ListingCaps) -> Result<Listing, Refusal> {
        let top = self.find(Path::new(directory))?;
        let mut walk = Walk { listing: Listing::default(), left: caps.entries };
        walk.directory(&top, &PathBuf::new(), caps.depth);
        walk.listing.entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(walk.listing)
    }

    /// Opens a regular file with exactly one name, for reading, without ever blocking on what is there.
    pub fn open_file(&self, path: &str) -> Result<OwnedFd, Refusal> {
        let found = self.find(Path::new(path))?;
        let stat = file::fstat(found.as_fd()).map_err(|error| Refusal::from_open(&error))?;
        match stat.st_mode & libc::S_IFMT {
            libc::S_IFREG => {}
            libc::S_IFLNK => return Err(Refusal::Symlink),
            _ => return Err(Refusal::NotRegular),
        }
        if stat.st_nlink != 1 {
            return Err(Refusal::HardLink(stat.st_nlink as u64));
        }
        reopen(&found, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY)
            .map_err(|error| Refusal::from_open(&error))
    }

    /// Keeps a file that [`Self::open_file`] gave where it is, for other sandboxes to be given. Nobody can change it from now on;
    /// where that can't be had, or its file system is not in memory, the answer is none.
    #[must_use]
    pub fn keep(&self, file: &OwnedFd) -> Option<HotFile> {
        HotFile::of(self.space.as_ref()?, &self.root, file, self.owner)
    }

    /// Finds without opening: no links on the way, no other mounts, not above the root.
    fn find(&self, path: &Path) -> Result<OwnedFd, Refusal> {
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !plain || path.as_os_str().is_empty() {
            return Err(Refusal::BadPath);
        }
        let path = sys::c_path(path).map_err(|_| Refusal::BadPath)?;
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        file::openat2(self.root.as_fd(), &path, flags, 0, NO_ESCAPE | RESOLVE_NO_XDEV)
            .map_err(|error| Refusal::from_open(&error))
    }
}

/// Opens what an `O_PATH` descriptor refers to. The link in `/proc` leads to exactly that, whatever its name is by now.
fn reopen(found: &OwnedFd, flags: i32) -> io::Result<OwnedFd> {
    let link = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
    let path = sys::c_path(&link)?;
    match file::open(&path, flags) {
        // Without root, a cell that took its own permissions away took them from us too. Its mode is not kept anyway.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            fs::set_permissions(&link, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
            file::open(&path, flags)
        }
        other => other,
    }
}

struct Walk {
    listing: Listing,
    left: usize,
}

impl Walk {
    fn refuse(&mut self, path: &Path, refusal: Refusal) {
        // Bounded like the entries themselves, which were counted before this.
        // The listed directory itself has no name in its own listing.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        self.listing.refused.push(Refused { path: escape(path.as_os_str()), refusal });
    }

    fn directory(&mut self, directory: &OwnedFd, prefix: &Path, depth: usize) {
        if depth == 0 {
            return self.refuse(prefix, Refusal::TooDeep);
        }
        let opened = match reopen(directory, libc::O_RDONLY | libc::O_DIRECTORY) {
            Ok(opened) => opened,
            Err(error) => return self.refuse(prefix, Refusal::from_open(&error)),
        };
        let entries = match fs::read_dir(format!("/proc/self/fd/{}", opened.as_raw_fd())) {
            Ok(entries) => entries,
            Err(error) => return self.refuse(prefix, Refusal::from_open(&error)),
        };
        for entry in entries.flatten() {
            if self.left == 0 {
                return self.refuse(prefix, Refusal::TooMany);
            }
            self.left -= 1;
            let path = prefix.join(entry.file_name());
            if let Err(refusal) = self.entry(&opened, &entry.file_name(), &path, depth) {
                self.refuse(&path, refusal);
            }
        }
    }

    fn entry(
        &mut self,
        directory: &OwnedFd,
        name: &OsStr,
        path: &Path,
        depth: usize,
    ) -> Result<(), Refusal> {
        let text = path.to_str().ok_or(Refusal::NotUtf8)?;
        if text.chars().any(char::is_control) {
            return Err(Refusal::ControlCharacters);
        }
        let name = sys::c_path(Path::new(name)).map_err(|_| Refusal::BadPath)?;
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        let found = file::openat2(directory.as_fd(), &name, flags, 0, NO_ESCAPE | RESOLVE_NO_XDEV)
            .map_err(|error| Refusal::from_open(&error))?;
        let stat = file::fstat(found.as_fd()).map_err(|error| Refusal::from_open(&error))?;
        let kind = match stat.st_mode & libc::S_IFMT {
            libc::S_IFREG => {
                Kind::File { size: stat.st_size as u64, stored: stat.st_blocks as u64 * 512 }
            }
            libc::S_IFDIR => Kind::Directory,
            libc::S_IFLNK => Kind::Symlink,
            _ => Kind::Other,
        };
        self.listing.entries.push(Entry {
            path: text.to_owned(),
            kind,
            links: stat.st_nlink as u64,
        });
        // Depth 1 lists one directory: its subdirectories are entries, not refusals.
        if kind == Kind::Directory && depth > 1 {
            self.directory(&found, path, depth - 1);
        } else if kind == Kind::Directory && path.components().count() > 1 {
            return Err(Refusal::TooDeep);
        }
        Ok(())
    }
}

/// Printable form of any name.
fn escape(name: &OsStr) -> String {
    name.as_bytes().escape_ascii().to_string()
}
