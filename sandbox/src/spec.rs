//! What is to be run: program, environment, files, binds. Plain data plus the rules for paths. Does not know limits.

use std::{
    ffi::OsString,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use crate::{CELL_ROOT, hot::HotFile, view::View};

/// One command and everything it finds when it starts.
#[derive(Debug, Default)]
pub struct Spec {
    /// The program and its arguments. A program without `/` is looked up in the `PATH` of `env`.
    pub argv: Vec<OsString>,
    /// The whole environment; nothing is inherited.
    pub env: Vec<(String, OsString)>,
    /// Working directory; empty means `/cell/work`.
    pub cwd: PathBuf,
    /// Files written before the start, owned by the supervisor.
    pub files: Vec<File>,
    /// Host trees and files mounted read-only.
    pub binds: Vec<Bind>,
    /// Files of cells that have ended, mounted read-only from the memory they were written into.
    pub hot: Vec<HotBind>,
    /// Files and folders of somebody's that were granted to the cell.
    pub openings: Vec<Opening>,
    /// How the paths in `argv`, `env` and `cwd` were spelled; see [`crate::Spawner::view`].
    pub view: View,
    /// Standard input.
    pub stdin: Stdin,
    /// Whether the cell gets a stream socket to the caller as fd 3, announced as `POLYLOOM_W`.
    pub worker_socket: bool,
    /// Whether the cell gets a pipe to the caller as fd 3, announced as `POLYLOOM_SAY`. Not together with a worker socket.
    pub words: bool,
    /// Whether the program makes cells by forking itself: a line to its supervisor is its fd 3, announced as `POLYLOOM_ZYGOTE`. See
    /// [`crate::Spawner::park`]. With [`crate::Seccomp::Runner`] it has to be a program of ours: its copies apply that filter themselves ([`crate::zygote`]).
    pub zygote: bool,
    /// Whether the program is started before its files are there, in a parked sandbox; see [`crate::Spawner::fill`].
    pub ahead: bool,
    /// Whether a processor is likely to have nothing to do after this cell, so that a zygote's next one may get ready on it.
    pub spare: bool,
    /// Whether its programs can make terminals (`/dev/ptmx`, `/dev/pts`), which are nobody else's. Without a mount namespace there are none.
    pub terminals: bool,
}

/// A file the cell finds and cannot change.
#[derive(Debug, Clone)]
pub struct File {
    /// Absolute, below `/cell`. Parent directories are made.
    pub path: PathBuf,
    /// Its content.
    pub bytes: Vec<u8>,
    /// Permission bits, e.g. `0o644`.
    pub mode: u32,
}

/// A host path seen read-only inside.
#[derive(Debug, Clone)]
pub struct Bind {
    /// On the host; symbolic links are followed.
    pub source: PathBuf,
    /// Absolute, in the sandbox. A bind below `/cell` belongs to this sandbox alone; a bind elsewhere leaves the (empty) name of
    /// its mount point visible to other sandboxes of the same spawner.
    pub target: PathBuf,
}

/// A file of a cell that has ended, seen read-only inside.
#[derive(Debug, Clone)]
pub struct HotBind {
    /// The file.
    pub file: Arc<HotFile>,
    /// Absolute, in the sandbox; the rules of a bind's target hold.
    pub target: PathBuf,
}

/// A file or folder of somebody's that comes into view as if the cell's user owned it.
///
/// Unlike a [`Bind`] its source is walked without following any link, so that nothing else than what was granted can be meant by it, and
/// files of its owner that nobody else may read are readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// On the host; absolute and free of symbolic links.
    pub source: PathBuf,
    /// Absolute, in the sandbox; the rules of a bind's target hold.
    pub target: PathBuf,
    /// Whether the cell may change it.
    pub access: Access,
}

/// What may be done with an [`Opening`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading and executing.
    Read,
    /// Everything but making devices.
    Write,
}

/// Standard input of the main process.
#[derive(Debug, Default)]
pub enum Stdin {
    /// `/dev/null`.
    #[default]
    Null,
    /// These bytes, then end of file.
    Bytes(Vec<u8>),
    /// This descriptor.
    Fd(OwnedFd),
}

/// What is wrong with a [`Spec`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// There is no program.
    #[error("`argv` is empty")]
    NoProgram,
    /// A string has a NUL byte or an environment name has `=`.
    #[error("`{0}` has a NUL byte, or is not a name for an environment variable")]
    BadText(String),
    /// A path that must be absolute and plain is not.
    #[error("`{0}` is not an absolute path without `.` and `..`")]
    BadPath(PathBuf),
    /// A file outside `/cell`.
    #[error("file `{0}` is not below `/cell`")]
    FileOutsideCell(PathBuf),
    /// Doors that can't be.
    #[error("{0} doors are too many, or one has no port; valid: at most {most} different ports from 1", most = crate::policy::MOST_DOORS)]
    BadDoors(usize),
    /// More files of ended cells than one sandbox can be given.
    #[error("{0} files of ended cells are too many; valid: at most {most}", most = crate::MOST_HOT)]
    TooManyHot(usize),
    /// A mount point that belongs to the sandbox itself.
    #[error("`{0}` cannot be a mount point: it belongs to the sandbox")]
    ReservedTarget(PathBuf),
}

/// Names that are the sandbox's own and cannot be mounted over.
const RESERVED: [&str; 13] = [
    "/",
    "/proc",
    "/dev",
    "/etc",
    "/tmp",
    "/sys",
    "/cell",
    "/cell/code",
    "/cell/in",
    "/cell/out",
    "/cell/work",
    "/cell/tmp",
    "/cell/shm",
];

impl Spec {
    /// Checks everything that can be checked without touching the system.
    pub fn validate(&self) -> Result<(), SpecError> {
        if self.argv.first().is_none_or(|program| program.is_empty()) {
            return Err(SpecError::NoProgram);
        }
        for argument in &self.argv {
            if argument.as_bytes().contains(&0) {
                return Err(SpecError::BadText(argument.to_string_lossy().into_owned()));
            }
        }
        for (name, value) in &self.env {
            let bad_name = name.is_empty() || name.bytes().any(|b| b == b'=' || b == 0);
            if bad_name || value.as_bytes().contains(&0) {
                return Err(SpecError::BadText(name.clone()));
            }
        }
        if !self.cwd.as_os_str().is_empty() {
            plain(&self.cwd)?;
        }
        for file in &self.files {
            plain(&file.path)?;
            let below =
                file.path.strip_prefix(CELL_ROOT).is_ok_and(|rest| rest.components().count() > 0);
            if !below {
                return Err(SpecError::FileOutsideCell(file.path.clone()));
            }
        }
        for opening in &self.openings {
            plain(&opening.source)?;
        }
        if self.hot.len() > crate::MOST_HOT {
            return Err(SpecError::TooManyHot(self.hot.len()));
        }
        let openings = self.openings.iter().map(|opening| &opening.target);
        let hot = self.hot.iter().map(|hot| &hot.target);
        for target in self.binds.iter().map(|bind| &bind.target).chain(hot).chain(openings) {
            plain(target)?;
            let inside_own = ["/proc", "/dev", "/sys"].iter().any(|own| target.starts_with(own));
            if inside_own || RESERVED.iter().any(|own| target == Path::new(own)) {
                return Err(SpecError::ReservedTarget(target.clone()));
            }
        }
        Ok(())
    }
}

/// Absolute, no `.`/`..`, no NUL: what can be walked by directory descriptors without surprises.
fn plain(path: &Path) -> Result<(), SpecError> {
    let mut parts = path.components();
    let absolute = parts.next() == Some(Component::RootDir);
    // `components` drops inner `.`; comparing lengths would be fragile, so look at the text.
    let dotted =
        path.as_os_str().as_bytes().split(|b| *b == b'/').any(|part| part == b"." || part == b"..");
    if absolute && !dotted && !path.as_os_str().as_bytes().contains(&0) {
        Ok(())
    } else {
        Err(SpecError::BadPath(path.to_path_buf()))
    }
}
