//! What a secret comes from, looked at when it is granted and again right before it is used: what was put in its place meanwhile is not taken.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use polyloom_model::{Digest, SecretHandle};

/// As many as the kernel follows.
const LINKS: usize = 40;

/// A file that a secret comes from, as it was when that was granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// The secret's own file.
    File {
        /// Its file system.
        device: u64,
        /// Its number there.
        inode: u64,
    },
    /// The program that gives the secret.
    Program {
        /// Where it really is.
        place: PathBuf,
        /// Of its content.
        digest: Digest,
    },
    /// A file among the program's arguments: a script, say.
    Argument {
        /// As the program finds it.
        named: PathBuf,
        /// Where it really is.
        place: PathBuf,
        /// Of its content.
        digest: Digest,
    },
}

/// A handle that was looked at.
#[derive(Debug, Clone)]
pub struct Pinned {
    /// The handle; a file's path is absolute and free of links.
    pub handle: SecretHandle,
    /// What must still be so when it is used.
    pub pins: Vec<Pin>,
    /// For a command, all that decides what is run: each link on the way to its files, and the files. Who may write there has the secret.
    pub ways: Vec<PathBuf>,
}

/// Looks at what a handle leads to. `path`: where programs are searched.
pub fn pin(
    handle: &SecretHandle,
    root: &Path,
    home: Option<&Path>,
    path: &[PathBuf],
) -> io::Result<Pinned> {
    let root = std::path::absolute(root)?;
    let mut pinned = Pinned { handle: handle.clone(), pins: Vec::new(), ways: Vec::new() };
    match handle {
        SecretHandle::Env(_) => {}
        SecretHandle::File(file) => {
            let full = match (file.strip_prefix("~"), home) {
                (Ok(rest), Some(home)) => home.join(rest),
                _ => root.join(file),
            };
            let place = full.canonicalize()?;
            let meta = fs::metadata(&place)?;
            pinned.pins.push(Pin::File { device: meta.dev(), inode: meta.ino() });
            pinned.handle = SecretHandle::File(place);
        }
        SecretHandle::Cmd(words) => {
            let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
            let found = if program.contains('/') {
                root.join(program)
            } else {
                let runs = |file: &PathBuf| {
                    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0)
                };
                let mut hits = path.iter().map(|folder| folder.join(program)).filter(runs);
                let none = || io::Error::other(format!("there is no program `{program}` on PATH"));
                hits.next().ok_or_else(none)?
            };
            let (place, ways) = way(&found)?;
            pinned.pins.push(Pin::Program { digest: digest(&place)?, place });
            pinned.ways.extend(ways);
            for word in arguments {
                // `--script=PATH` names a file, too.
                let values = [Some(word.as_str()), word.split_once('=').map(|(_, value)| value)];
                for named in values.into_iter().flatten().filter(|value| !value.is_empty()) {
                    let named = root.join(named);
                    let Ok((place, ways)) = way(&named) else { continue };
                    if place.is_file() {
                        pinned.pins.push(Pin::Argument { digest: digest(&place)?, named, place });
                    }
                    pinned.ways.extend(ways);
                }
            }
        }
    }
    Ok(pinned)
}

impl Pin {
    /// The place of a command's file that is not what it was.
    pub(super) fn changed(&self) -> Option<&Path> {
        let (named, place, before) = match self {
            Self::File { .. } => return None,
            Self::Program { place, digest } => (place, place, digest),
            Self::Argument { named, place, digest } => (named, place, digest),
        };
        let same = named.canonicalize().is_ok_and(|now| now == *place)
            && digest(place).is_ok_and(|now| now == *before);
        (!same).then_some(place)
    }
}

fn digest(path: &Path) -> io::Result<Digest> {
    match fs::read(path) {
        // Some may be run and not read (`sudo`): then whether it is the same file, unchanged.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let meta = fs::metadata(path)?;
            let changed = (meta.ctime(), meta.ctime_nsec(), meta.size());
            Ok(Digest::of(format!("{:?}", (meta.dev(), meta.ino(), changed)).as_bytes()))
        }
        read => Ok(Digest::of(&read?)),
    }
}

/// Where a path leads, and each link on the way with the end.
fn way(path: &Path) -> io::Result<(PathBuf, Vec<PathBuf>)> {
    let parts = |path: &Path| -> Vec<OsString> {
        path.components().rev().map(|part| part.as_os_str().to_owned()).collect()
    };
    let mut rest = parts(path);
    let mut at = PathBuf::new();
    let mut ways = Vec::new();
    while let Some(part) = rest.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        match fs::read_link(&next) {
            Ok(_) if ways.len() == LINKS => return Err(Errno::ELOOP.into()),
            Ok(target) => {
                rest.extend(parts(&target));
                ways.push(next);
            }
            // Not a link.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => at = next,
            Err(error) => return Err(error),
        }
    }
    ways.push(at.clone());
    Ok((at, ways))
}
