//! The folder of a flow, opened once: everything that a flow names is looked up below it and nowhere else.
//! The kernel refuses the way out (openat2 beneath the folder), so no path is ever compared as text.

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use polyloom_model::{Listed, Shelf, Target};
use thiserror::Error;

/// A code file may be this long.
pub const MAX_CODE: u64 = 4 << 20;

/// A flow's folder.
#[derive(Debug)]
pub struct Root {
    dir: Dir,
    path: PathBuf,
}

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    File,
    Dir,
}

/// Why a path below the root can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FileError {
    /// Nothing is there.
    #[error("there is no such file")]
    Missing,
    /// The path leads out of the folder, by its text or through a link.
    #[error("the path leads outside of the flow's folder")]
    Outside,
    /// A device, a socket or a pipe.
    #[error("neither a file nor a folder")]
    Special,
    /// A folder where a file is needed.
    #[error("a folder, not a file")]
    IsDir,
    /// Longer than the number of bytes allowed.
    #[error("longer than {0} bytes")]
    TooLarge(u64),
    /// What the system says.
    #[error("{0}")]
    Io(String),
}

impl Root {
    /// Opens a folder; the empty path is the current one.
    pub fn open(path: &Path) -> io::Result<Self> {
        let opened = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        Ok(Self { dir: Dir::open_ambient_dir(opened, ambient_authority())?, path: path.to_owned() })
    }

    /// The folder as it was named.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder below the folder.
    pub(crate) fn below(&self, path: &Path) -> Result<Self, FileError> {
        if path.as_os_str().is_empty() {
            return Ok(Self { dir: self.dir.try_clone().map_err(error)?, path: self.path.clone() });
        }
        Ok(Self { dir: self.dir.open_dir(path).map_err(error)?, path: self.path.join(path) })
    }

    /// The content of a file below the folder, at most [`MAX_CODE`] bytes.
    pub fn read(&self, path: &Path) -> Result<Vec<u8>, FileError> {
        let path = path.to_str().and_then(relative).ok_or(FileError::Outside)?;
        self.read_path(&path, MAX_CODE)
    }

    /// What `path`, a result of [`relative`], names.
    pub(crate) fn find(&self, path: &Path) -> Result<Found, FileError> {
        let metadata = self.dir.metadata(path).map_err(error)?;
        if metadata.is_dir() {
            Ok(Found::Dir)
        } else if metadata.is_file() {
            Ok(Found::File)
        } else {
            Err(FileError::Special)
        }
    }

    /// The first thing below a folder that is neither a file nor a folder, with the word for it: no directory artifact holds one.
    pub(crate) fn special(&self, folder: &Path) -> Option<(PathBuf, &'static str)> {
        /// So many entries a directory that is given as an input may have.
        const MOST: usize = 100_000;
        let mut left = MOST;
        let mut open = vec![folder.to_owned()];
        while let Some(folder) = open.pop() {
            // What can't be read is told when it is.
            for (name, kind) in self.list(&folder, left).unwrap_or_default() {
                left -= 1;
                match kind {
                    Listed::File => {}
                    Listed::Folder => open.push(folder.join(name)),
                    Listed::Link => return Some((folder.join(name), "a link")),
                    Listed::Other => return Some((folder.join(name), "no file")),
                }
            }
        }
        None
    }

    /// The content of a file.
    pub(crate) fn read_path(&self, path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
        // Asked before opening: to open a pipe is to wait for its other end.
        if self.find(path)? == Found::Dir {
            return Err(FileError::IsDir);
        }
        let file = self.dir.open(path).map_err(error)?;
        let mut bytes = Vec::new();
        file.take(most + 1).read_to_end(&mut bytes).map_err(error)?;
        if bytes.len() as u64 > most { Err(FileError::TooLarge(most)) } else { Ok(bytes) }
    }
}

impl Shelf for Root {
    type Error = io::Error;

    fn list(&self, folder: &Path, most: usize) -> io::Result<Vec<(String, Listed)>> {
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let entries = match self.dir.read_dir(here) {
            Ok(entries) => entries,
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => return Ok(Vec::new()),
                _ => return Err(error),
            },
        };
        let mut listed = Vec::new();
        for entry in entries.take(most) {
            let entry = entry?;
            let kind = entry.file_type()?;
            let kind = match () {
                () if kind.is_file() => Listed::File,
                () if kind.is_dir() => Listed::Folder,
                () if kind.is_symlink() => Listed::Link,
                () => Listed::Other,
            };
            listed.extend(entry.file_name().into_string().ok().map(|name| (name, kind)));
        }
        Ok(listed)
    }

    fn target(&self, link: &Path) -> Target {
        match self.find(link) {
            Ok(Found::File) => Target::File,
            Ok(Found::Dir) | Err(FileError::Special) => Target::Other,
            Err(_) => Target::Lost,
        }
    }
}

fn error(error: io::Error) -> FileError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => FileError::Missing,
        // cap-std's own refusal carries no errno; a real EACCES does.
        io::ErrorKind::PermissionDenied if error.raw_os_error().is_none() => FileError::Outside,
        _ => FileError::Io(error.to_string()),
    }
}

/// A path that stays below its folder as far as its text can tell: relative, without `..`, in normal form.
pub(crate) fn relative(text: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for component in Path::new(text).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    if path.as_os_str().is_empty() && !text.is_empty() {
        path.push(".");
    }
    (!path.as_os_str().is_empty()).then_some(path)
}
