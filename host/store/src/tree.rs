//! Directory artifacts: a canonical listing, itself a blob, that names one blob for every file.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use polyloom_model::{Digest, is_left_out};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::blobs::{PutError, ReadError};
use crate::fault::Fault;
use crate::layout;
use crate::share::make_parents;
use crate::stats::{ImportError, Root, StatKey};
use crate::store::Store;

/// A listing's own size limit; about 500,000 files.
const MAX_LISTING: u64 = 64 << 20;
const MAX_DEPTH: usize = 64;
const MAX_PATH: usize = 4000;

/// The files of a directory artifact by path. Paths are relative, with `/`, in Unicode; the order is that of their
/// bytes. `None` is a directory, listed only when it is empty.
pub type Listing = BTreeMap<String, Option<ListingEntry>>;

/// One file of a listing. The fields are in the order of their names, as canonical MessagePack wants them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListingEntry {
    /// Its blob.
    pub digest: Digest,
    /// Whether it may be run.
    pub exec: bool,
    /// Its size in bytes.
    pub size: u64,
}

/// An entry for [`Store::put_tree`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Path within the tree.
    pub path: String,
    /// The file, already stored; `None` for an empty directory.
    pub file: Option<ListingEntry>,
}

/// How large a directory may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeLimits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Files and directories together.
    pub entries: u64,
    /// Names that are passed over wherever they are; with a `/`, directly in the directory.
    pub left_out: &'static [&'static str],
}

/// Why a directory could not be stored or hashed.
#[derive(Debug, Error)]
pub enum TreeError {
    /// A path can't be an entry.
    #[error("`{path}` can't be a path in a directory artifact: {reason}")]
    Path {
        /// The path, escaped where it has to be.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Something that is neither a regular file nor a directory: a link, a pipe, a socket, a device.
    #[error("`{path}` is {kind}; a directory artifact holds regular files and directories only")]
    Special {
        /// The path, escaped where it has to be.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// More bytes or more entries than the caller allows.
    #[error("the directory holds more than {} bytes or {} entries", limits.bytes, limits.entries)]
    TooLarge {
        /// The caller's limits.
        limits: TreeLimits,
    },
    /// A file could not be read or stored.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The disk or the index failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

fn refuse(path: &str, reason: &'static str) -> TreeError {
    TreeError::Path { path: path.escape_debug().to_string(), reason }
}

/// Checks one path of a listing, from whatever source.
fn check(path: &str) -> Result<(), TreeError> {
    if path.len() > MAX_PATH || path.split('/').count() > MAX_DEPTH {
        return Err(refuse(path, "it is too long or too deep"));
    }
    for part in path.split('/') {
        if matches!(part, "" | "." | "..") || part.len() > 255 || part.contains('\0') {
            return Err(refuse(path, "it has an empty, dotted or overlong part"));
        }
    }
    Ok(())
}

/// Checks a whole listing: every path, and that no file is also a directory.
fn check_all(listing: &Listing) -> Result<(), TreeError> {
    for path in listing.keys() {
        check(path)?;
        for (at, _) in path.match_indices('/') {
            if listing.contains_key(&path[..at]) {
                return Err(refuse(path, "a part of it is also listed by itself"));
            }
        }
    }
    Ok(())
}

impl Store {
    /// Stores a listing. The blobs it names must be in the store. Gives its digest and the size of its files.
    pub fn put_tree(
        &self,
        entries: impl IntoIterator<Item = TreeEntry>,
    ) -> Result<(Digest, u64), TreeError> {
        let mut listing = Listing::new();
        for entry in entries {
            if listing.insert(entry.path.clone(), entry.file).is_some() {
                return Err(refuse(&entry.path, "it is listed twice"));
            }
        }
        check_all(&listing)?;
        let size = total(&listing);
        Ok((self.put_bytes(&self.encode(&listing)?)?, size))
    }

    /// Stores the directory that is open as `dir`: its regular files and directories, by descriptor, following
    /// nothing, on one file system.
    pub fn put_dir(
        &self,
        dir: BorrowedFd<'_>,
        limits: TreeLimits,
    ) -> Result<(Digest, u64), TreeError> {
        let (listing, size) = walk(dir, limits, &mut |_, file, left| {
            self.put_file(file, left).map_err(ImportError::from)
        })?;
        Ok((self.put_bytes(&self.encode(&listing)?)?, size))
    }

    /// Like [`Store::put_dir`] for a directory of the user's: files that are known by their stat are not read.
    pub fn import_dir(
        &self,
        root: &Root,
        path: &Path,
        limits: TreeLimits,
        unix_ms: u64,
    ) -> Result<(Digest, u64), TreeError> {
        let (dir, path) = root.folder(path)?;
        let (listing, size) = walk(dir.as_fd(), limits, &mut |name, file, left| {
            let stat = file.metadata().map_err(|error| Fault::io("read", &path, error))?;
            self.import_open(file, StatKey::of(&stat), &path.join(name), left, unix_ms)
        })?;
        Ok((self.put_bytes(&self.encode(&listing)?)?, size))
    }

    /// The digest that [`Store::import_dir`] would give, without storing anything.
    pub fn hash_dir(
        &self,
        root: &Root,
        path: &Path,
        limits: TreeLimits,
        unix_ms: u64,
    ) -> Result<(Digest, u64), TreeError> {
        let (digest, listing) = self.hash_listing(root, path, limits, unix_ms)?;
        Ok((digest, total(&listing)))
    }

    /// The same, and the listing that the digest is of.
    pub fn hash_listing(
        &self,
        root: &Root,
        path: &Path,
        limits: TreeLimits,
        unix_ms: u64,
    ) -> Result<(Digest, Listing), TreeError> {
        let (dir, path) = root.folder(path)?;
        let (listing, _) = walk(dir.as_fd(), limits, &mut |name, file, _| {
            let stat = file.metadata().map_err(|error| Fault::io("read", &path, error))?;
            self.hash_open(file, StatKey::of(&stat), &path.join(name), unix_ms)
        })?;
        Ok((Digest::of(&self.encode(&listing)?), listing))
    }

    /// The listing of a directory artifact.
    pub fn listing(&self, digest: &Digest) -> Result<Listing, ReadError> {
        let bytes = self.read(digest, MAX_LISTING)?;
        let listing: Listing =
            rmp_serde::from_slice(&bytes).map_err(|_| self.row("directory listing"))?;
        check_all(&listing).map_err(|_| self.row("directory listing"))?;
        Ok(listing)
    }

    /// A directory artifact laid out as a directory, made on first use. Its files are hard links to blobs where they
    /// can be: it is for reading only.
    pub fn tree_path(&self, digest: &Digest) -> Result<PathBuf, ReadError> {
        self.tree_path_while(digest, &|| true)
    }

    /// The same, as long as it is wanted: of hundreds of thousands of files that takes a minute.
    pub fn tree_path_while(
        &self,
        digest: &Digest,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<PathBuf, ReadError> {
        let name = layout::tree(digest);
        // One that does not stand was written to by somebody, or a blob was that it shares bytes with.
        if self.dir.is_dir(&name) && self.is_whole(digest, is_wanted) {
            return Ok(self.root.join(name));
        }
        if !is_wanted() {
            return Err(ReadError::Unwanted);
        }
        let listing = self.listing(digest)?;
        let temporary = self.temporary();
        // No disk is waited for: every process looks at all its bytes before it uses it, and lays it out again where a power cut took some.
        let made = self
            .lay_out(&temporary, &listing, is_wanted)
            .and_then(|()| Ok(self.settle(&temporary, &name)?));
        // To remove it would take as long: it goes with what killed processes left.
        if made.is_err() && is_wanted() {
            let _ = self.dir.remove_dir_all(&temporary);
        }
        made.map(|()| {
            self.seen.note_tree(*digest);
            self.root.join(name)
        })
    }

    /// A directory that was laid out before, by its name alone: what is made with it is worth nothing before [`Store::make_sure_of_tree`] has said yes.
    #[must_use]
    pub fn tree_there(&self, digest: &Digest) -> Option<PathBuf> {
        let name = layout::tree(digest);
        self.dir.is_dir(&name).then(|| self.root.join(name))
    }

    /// Whether a directory that was laid out before is whole. One that is not is removed.
    #[must_use]
    pub fn make_sure_of_tree(&self, digest: &Digest) -> bool {
        self.is_whole(digest, &|| true)
    }

    fn is_whole(&self, digest: &Digest, is_wanted: &dyn Fn() -> bool) -> bool {
        let name = layout::tree(digest);
        let stands = self.seen.knows_tree(digest) || self.tree_stands(digest, &name, is_wanted);
        if stands {
            self.seen.note_tree(*digest);
        } else if is_wanted() {
            let _ = self.dir.remove_dir_all(&name);
        }
        stands
    }

    /// Whether a directory laid out before holds what its digest says and nothing else.
    fn tree_stands(&self, digest: &Digest, name: &str, is_wanted: &dyn Fn() -> bool) -> bool {
        // Not `open_dir`, by whose descriptor nothing can be listed.
        let mut options = OpenOptions::new();
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
        options.read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or(0));
        let Ok(dir) = self.dir.open_with(name, &options) else { return false };
        let limits = TreeLimits { bytes: u64::MAX, entries: u64::MAX, left_out: &[] };
        let walked = walk(dir.as_fd(), limits, &mut |path, file, _| {
            if !is_wanted() {
                return Err(ImportError::Changing { path: path.into() });
            }
            let read = |error| self.io("read", path, error);
            let size = file.metadata().map_err(read)?.len();
            Ok((self.digest_of(file).map_err(read)?, size))
        });
        let encoded = walked.ok().and_then(|(listing, _)| self.encode(&listing).ok());
        encoded.is_some_and(|bytes| Digest::of(&bytes) == *digest)
    }

    fn lay_out(
        &self,
        temporary: &str,
        listing: &Listing,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<(), ReadError> {
        let dir = self.make_folder(temporary)?;
        let mut last_folder = "";
        for (path, entry) in listing {
            if !is_wanted() {
                return Err(ReadError::Unwanted);
            }
            let fault = |error| self.io("write", &format!("{temporary}/{path}"), error);
            let Some(entry) = entry else {
                make_parents(&dir, path).map_err(fault)?;
                continue;
            };
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            if folder != last_folder {
                make_parents(&dir, folder).map_err(fault)?;
                last_folder = folder;
            }
            self.path(&entry.digest)?;
            let blob = layout::blob(&entry.digest);
            // A link shares the inode and with it the mode, so what may be run needs a file of its own. So does a
            // blob that has as many links as the file system allows.
            if entry.exec || self.dir.hard_link(&blob, &dir, path).is_err() {
                self.copy_out(&blob, &dir, path, entry.exec).map_err(fault)?;
            } else if let Ok(file) = dir.open(path) {
                // A link changes the stat (ctime), not the bytes.
                self.note_file(&file.into_std(), entry.digest);
            }
        }
        Ok(())
    }

    fn copy_out(&self, blob: &str, dir: &Dir, path: &str, exec: bool) -> std::io::Result<()> {
        let source = self.dir.open(blob)?.into_std();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let mut target = dir.open_with(path, &options)?.into_std();
        crate::copying::copy(&source, &mut target, u64::MAX)?;
        let mode = if exec { 0o555 } else { 0o444 };
        Ok(rustix::fs::fchmod(&target, Mode::from_raw_mode(mode))?)
    }

    pub(crate) fn encode(&self, listing: &Listing) -> Result<Vec<u8>, Fault> {
        rmp_serde::to_vec_named(listing).map_err(|_| self.row("directory listing"))
    }
}

fn total(listing: &Listing) -> u64 {
    listing.values().flatten().map(|entry| entry.size).fold(0, u64::saturating_add)
}

/// Stores or hashes one file: its path within the walk, the file, and the bytes still allowed.
type Leaf<'a> = dyn FnMut(&str, &File, u64) -> Result<(Digest, u64), ImportError> + 'a;

struct Walk<'a, 'l> {
    limits: TreeLimits,
    leaf: &'a mut Leaf<'l>,
    device: u64,
    listing: Listing,
    bytes: u64,
    entries: u64,
}

fn walk(
    dir: BorrowedFd<'_>,
    limits: TreeLimits,
    leaf: &mut Leaf<'_>,
) -> Result<(Listing, u64), TreeError> {
    let stat = rustix::fs::fstat(dir).map_err(|errno| at(".", errno))?;
    let mut walk =
        Walk { limits, leaf, device: stat.st_dev, listing: Listing::new(), bytes: 0, entries: 0 };
    walk.folder(dir, "")?;
    Ok((walk.listing, walk.bytes))
}

fn at(path: &str, errno: rustix::io::Errno) -> Fault {
    Fault::io("read", Path::new(path), errno.into())
}

impl Walk<'_, '_> {
    fn folder(&mut self, dir: BorrowedFd<'_>, prefix: &str) -> Result<(), TreeError> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(dir).map_err(|errno| at(prefix, errno))? {
            let entry = entry.map_err(|errno| at(prefix, errno))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let Ok(name) = std::str::from_utf8(name) else {
                let shown = format!("{prefix}{}", name.escape_ascii());
                return Err(TreeError::Path { path: shown, reason: "its name is not Unicode" });
            };
            if is_left_out(self.limits.left_out, prefix, name) {
                continue;
            }
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(TreeError::TooLarge { limits: self.limits });
            }
            names.push(name.to_owned());
        }
        if names.is_empty() && !prefix.is_empty() {
            self.listing.insert(prefix.trim_end_matches('/').to_owned(), None);
        }
        for name in names {
            self.entry(dir, &name, format!("{prefix}{name}"))?;
        }
        Ok(())
    }

    fn entry(&mut self, dir: BorrowedFd<'_>, name: &str, path: String) -> Result<(), TreeError> {
        check(&path)?;
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| at(&path, errno))?;
        let special =
            |kind| Err(TreeError::Special { path: path.escape_debug().to_string(), kind });
        if stat.st_dev != self.device {
            return special("on another file system");
        }
        let kind = FileType::from_raw_mode(stat.st_mode);
        match kind {
            FileType::Directory | FileType::RegularFile => {}
            FileType::Symlink => return special("a symbolic link"),
            FileType::Fifo => return special("a pipe"),
            FileType::Socket => return special("a socket"),
            _ => return special("a device"),
        }
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::RDONLY;
        let fd = rustix::fs::openat(dir, name, flags, Mode::empty())
            .map_err(|errno| at(&path, errno))?;
        // What was opened may be another thing than what was looked at.
        let opened = rustix::fs::fstat(&fd).map_err(|errno| at(&path, errno))?;
        if (opened.st_dev, opened.st_ino) != (stat.st_dev, stat.st_ino) {
            return Err(ImportError::Changing { path: path.into() }.into());
        }
        if kind == FileType::Directory {
            return self.folder(fd.as_fd(), &format!("{path}/"));
        }
        let left = self.limits.bytes.saturating_sub(self.bytes);
        let limits = self.limits;
        let (digest, size) =
            (self.leaf)(&path, &File::from(fd), left).map_err(|error| match error {
                ImportError::Put(PutError::TooLarge { .. }) => TreeError::TooLarge { limits },
                other => other.into(),
            })?;
        self.bytes += size;
        if self.bytes > self.limits.bytes {
            return Err(TreeError::TooLarge { limits });
        }
        let exec = opened.st_mode & 0o100 != 0;
        self.listing.insert(path, Some(ListingEntry { digest, exec, size }));
        Ok(())
    }
}
