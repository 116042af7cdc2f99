//! A folder as one value: the names, modes and bytes of all that is in it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirEntry, OpenOptions, OpenOptionsExt, Permissions, PermissionsExt};
use polyloom_model::{Digest, LEFT_OUT, is_not_copied};
use rustix::fs::OFlags;
use thiserror::Error;

/// What a folder may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of all files.
    pub bytes: u64,
    /// Files and folders.
    pub entries: u64,
}

impl Default for Limits {
    /// 1 GiB, 50,000 files and folders: a Python package with what it needs is within that.
    fn default() -> Self {
        Self { bytes: 1 << 30, entries: 50_000 }
    }
}

/// Folders are this deep at most.
pub(crate) const DEEPEST: usize = 64;

/// Why a folder is no value.
#[derive(Debug, Error)]
pub enum TreeError {
    /// The system's word.
    #[error("can't read `{}`", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A link, a pipe or a device.
    #[error("`{}` is {kind}; a plugin has files and folders only", path.display())]
    Special {
        /// Where.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// A name that is not UTF-8, or has control characters.
    #[error("{:?} has a name that is not UTF-8, or has control characters", path.display().to_string())]
    Name {
        /// Where.
        path: PathBuf,
    },
    /// More than is allowed.
    #[error("it has more than {what}")]
    TooMuch {
        /// The limit.
        what: String,
    },
}

/// What was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// The digest of the folder.
    pub digest: Digest,
    /// Its files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The digest of a folder: of `PATH NUL x|- NUL SIZE NUL DIGEST LF` for each file in the order of the paths' bytes, folders
/// ending in `/` and without size and digest. Links are errors. What a plugin is not copied with ([`LEFT_OUT`]) is not in it.
pub fn digest(folder: &Path, limits: Limits) -> Result<Digest, TreeError> {
    let dir = open(folder)?;
    Ok(Walk::new(folder, limits, None).all(&dir)?.digest)
}

/// What is made of the sources in a folder, beside them.
const MADE: [&str; 9] = [
    ".git",
    "__pycache__",
    ".polyloom",
    ".venv",
    "venv",
    "build",
    "dist",
    "target",
    "node_modules",
];

/// The same of a folder that a plugin is built of, without what is made there.
pub(crate) fn digest_of_sources(folder: &Path) -> Result<Digest, TreeError> {
    let dir = open(folder)?;
    Ok(Walk { left_out: &MADE, ..Walk::new(folder, Limits::default(), None) }.all(&dir)?.digest)
}

/// The same of a copy, in which nothing is left out: what is there and was not copied was put there, and an interpreter may well read it.
pub(crate) fn digest_of_copy(folder: &Path, limits: Limits) -> Result<Digest, TreeError> {
    let dir = open(folder)?;
    Ok(Walk { left_out: &[], ..Walk::new(folder, limits, None) }.all(&dir)?.digest)
}

/// Copies a folder into one that is empty; the digest is that of what was written. Files are read-only. In what is wrong, it goes by the name `shown`.
pub(crate) fn copy(
    folder: &Path,
    shown: &Path,
    to: &Path,
    limits: Limits,
) -> Result<Copied, TreeError> {
    let (dir, to_dir) = (open(folder)?, open(to)?);
    Walk::new(shown, limits, Some(&to_dir)).all(&dir)
}

/// Copies one folder or file of a folder into one that is empty, or all of it.
pub(crate) fn copy_part(
    folder: &Path,
    part: Option<&str>,
    to: &Path,
    limits: Limits,
) -> Result<(), TreeError> {
    let Some(part) = part else {
        return copy(folder, folder, to, limits).map(|_| ());
    };
    let (dir, to_dir) = (open(folder)?, open(to)?);
    let path = folder.join(part);
    let failed = |source| TreeError::Io { path: path.clone(), source };
    let mut walk = Walk::new(folder, limits, Some(&to_dir));
    let kind = dir.symlink_metadata(part).map_err(failed)?.file_type();
    if !kind.is_dir() {
        return walk.file(&dir, part, part, &path);
    }
    to_dir.create_dir(part).map_err(failed)?;
    let inner = dir.open_dir(part).map_err(failed)?;
    walk.folder(&inner, &format!("{part}/"), 1)
}

fn open(folder: &Path) -> Result<Dir, TreeError> {
    Dir::open_ambient_dir(folder, ambient_authority())
        .map_err(|source| TreeError::Io { path: folder.to_owned(), source })
}

/// Opens a file to be read. No pipe is waited for, nor is a device asked for anything.
pub(crate) fn open_file(path: &Path, more: OFlags) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | more;
    let flags = i32::try_from(flags.bits()).unwrap_or(0);
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    regular(file)
}

/// The file, if it is a regular one.
pub(crate) fn regular(file: File) -> io::Result<File> {
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}

fn mode(bits: u32) -> Permissions {
    Permissions::from_std(std::fs::Permissions::from_mode(bits))
}

struct Walk<'a> {
    root: &'a Path,
    limits: Limits,
    to: Option<&'a Dir>,
    left_out: &'static [&'static str],
    lines: BTreeMap<String, String>,
    bytes: u64,
}

impl<'a> Walk<'a> {
    fn new(root: &'a Path, limits: Limits, to: Option<&'a Dir>) -> Self {
        Self { root, limits, to, left_out: &LEFT_OUT, lines: BTreeMap::new(), bytes: 0 }
    }

    fn all(mut self, dir: &Dir) -> Result<Copied, TreeError> {
        self.folder(dir, "", 0)?;
        let mut text = String::new();
        for (path, line) in &self.lines {
            text.push_str(path);
            text.push_str(line);
        }
        let files = self.lines.keys().filter(|path| !path.ends_with('/')).count() as u64;
        Ok(Copied { digest: Digest::of(text.as_bytes()), files, bytes: self.bytes })
    }

    fn folder(&mut self, dir: &Dir, prefix: &str, depth: usize) -> Result<(), TreeError> {
        let failed = |source| TreeError::Io { path: self.root.join(prefix), source };
        if depth > DEEPEST {
            return Err(TreeError::TooMuch { what: format!("{DEEPEST} folders in each other") });
        }
        let entries: Vec<DirEntry> =
            dir.entries().map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
        for entry in entries {
            let name = entry.file_name();
            let path = self.root.join(prefix).join(&name);
            let Some(name) = name.to_str().filter(|name| !name.contains(char::is_control)) else {
                return Err(TreeError::Name { path });
            };
            if is_not_copied(self.left_out, prefix, name) {
                continue;
            }
            let failed = |source| TreeError::Io { path: path.clone(), source };
            let below = format!("{prefix}{name}");
            if self.lines.len() as u64 >= self.limits.entries {
                let what = format!("{} files and folders", self.limits.entries);
                return Err(TreeError::TooMuch { what });
            }
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_dir() {
                let below = format!("{below}/");
                if let Some(to) = self.to {
                    to.create_dir(&below).map_err(failed)?;
                    to.set_permissions(&below, mode(0o755)).map_err(failed)?;
                }
                self.lines.insert(below.clone(), "\0\0\0\n".to_owned());
                let inner = dir.open_dir(name).map_err(failed)?;
                self.folder(&inner, &below, depth + 1)?;
            } else if kind.is_file() {
                self.file(dir, name, &below, &path)?;
            } else {
                let kind = if kind.is_symlink() { "a symbolic link" } else { "no regular file" };
                return Err(TreeError::Special { path, kind });
            }
        }
        Ok(())
    }

    fn file(&mut self, dir: &Dir, name: &str, below: &str, path: &Path) -> Result<(), TreeError> {
        let failed = |source| TreeError::Io { path: path.to_owned(), source };
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or(0));
        let mut file = dir.open_with(name, &options).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        // It may be another since it was listed.
        if !meta.is_file() {
            return Err(TreeError::Special { path: path.to_owned(), kind: "no regular file" });
        }
        let runs = meta.permissions().mode() & 0o100 != 0;
        let mut copy = match self.to {
            Some(to) => {
                let mut options = OpenOptions::new();
                options.write(true).create_new(true).mode(0o600);
                Some(to.open_with(below, &options).map_err(failed)?)
            }
            None => None,
        };
        let mut hasher = blake3::Hasher::new();
        let mut chunk = vec![0; 64 << 10];
        let mut size = 0_u64;
        loop {
            let count = file.read(&mut chunk).map_err(failed)?;
            if count == 0 {
                break;
            }
            size += count as u64;
            self.bytes += count as u64;
            if self.bytes > self.limits.bytes {
                return Err(TreeError::TooMuch { what: format!("{} bytes", self.limits.bytes) });
            }
            hasher.update(&chunk[..count]);
            if let Some(copy) = &mut copy {
                copy.write_all(&chunk[..count]).map_err(failed)?;
            }
        }
        if let Some(copy) = copy {
            // Whoever it is that runs it may read it, whatever the umask.
            copy.set_permissions(mode(if runs { 0o555 } else { 0o444 })).map_err(failed)?;
            copy.sync_all().map_err(failed)?;
        }
        let digest = Digest::from_bytes(*hasher.finalize().as_bytes());
        let runs = if runs { 'x' } else { '-' };
        self.lines.insert(below.to_owned(), format!("\0{runs}\0{size}\0{}\n", digest.hex()));
        Ok(())
    }
}
