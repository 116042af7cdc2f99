//! Secrets on the host: read from their handles just before a cell runs, kept where nothing prints them.
//!
//! Asks nobody whether a flow may do that: the caller has. Knows no graph and no store.

mod command;
mod pin;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use polyloom_model::{SecretHandle, format_size};
use thiserror::Error;
use tokio::sync::watch;

use crate::attempt::Stop;
use crate::mask::{Mask, SHORTEST};

pub use pin::{Pin, Pinned, pin};

/// A longer secret is refused.
pub const LONGEST: usize = 64 << 10;
/// All secrets of a cell together: what hides them takes a thousand times that at the worst.
const TOGETHER: usize = 128 << 10;
/// How long a program may take to give a secret.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The bytes of a secret. They are overwritten when it goes.
pub struct Secret(Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.fill(0);
        // Keeps the writes from being left out as useless.
        std::hint::black_box(&self.0);
    }
}

/// The secrets of one attempt, and the mask that hides them.
#[derive(Debug)]
pub struct Secrets {
    by_name: Vec<(String, Secret)>,
    mask: Arc<Mask>,
}

impl Secrets {
    fn new(by_name: Vec<(String, Secret)>) -> Self {
        let named = by_name.iter().map(|(name, secret)| (name.as_str(), secret.0.as_slice()));
        let mask = Arc::new(Mask::new(named));
        Self { by_name, mask }
    }

    /// What hides them.
    #[must_use]
    pub fn mask(&self) -> &Arc<Mask> {
        &self.mask
    }

    /// The variables of the cell's environment.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (String, OsString)> {
        let named = self.by_name.iter();
        named.map(|(name, secret)| (name.clone(), OsString::from_vec(secret.0.clone())))
    }
}

/// Where handles lead on this host.
pub struct Host<'a> {
    /// The flow's folder.
    pub root: &'a Path,
    /// What `~` is.
    pub home: Option<&'a Path>,
    /// The environment.
    pub variable: &'a (dyn Fn(&str) -> Option<OsString> + Sync),
    /// What the handles led to when they were granted, by secret.
    pub pins: &'a BTreeMap<String, Vec<Pin>>,
    /// How long a program may take: [`PATIENCE`].
    pub patience: Duration,
}

/// A secret that can't be had.
#[derive(Debug, Error)]
#[error("secret `{name}`: {why}")]
pub struct SecretError {
    /// The secret's name.
    pub name: String,
    /// Why.
    pub why: Why,
}

/// Why a secret can't be had.
#[derive(Debug, Error)]
pub enum Why {
    /// Its variable is not there.
    #[error("the environment variable `{0}` is not set where polyloom runs")]
    Unset(String),
    /// `~` without a home.
    #[error("`~` stands for nothing, since HOME is not set")]
    Homeless,
    /// Its file can't be read.
    #[error("`{}` can't be read: {error}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's word.
        error: std::io::Error,
    },
    /// Its file is no regular file.
    #[error("`{}` is not a regular file", .0.display())]
    NotAFile(PathBuf),
    /// It is another file than the one that was granted.
    #[error("`{}` was replaced since it was granted; run it again", .0.display())]
    Replaced(PathBuf),
    /// Its program can't be started.
    #[error("`{0}` could not be started: {1}")]
    NotStarted(String, std::io::Error),
    /// Its program ended badly: how, and the last line of its stderr.
    #[error("`{program}` gave none ({how}): {last}")]
    Failed {
        /// The program.
        program: String,
        /// Exit code or signal.
        how: String,
        /// The last line of its stderr.
        last: String,
    },
    /// Its program took too long.
    #[error(
        "`{0}` did not end within {1} s and was killed; it is given no terminal and no stdin, so it can't ask"
    )]
    Slow(String, u64),
    /// Nothing is there.
    #[error("it is empty")]
    Empty,
    /// So short that hiding it would leave no output.
    #[error("it is shorter than {SHORTEST} bytes, which can't be hidden in what a cell prints")]
    Short,
    /// Larger than a secret may be.
    #[error("it is larger than {}", format_size(LONGEST as u64))]
    Long,
    /// With the others larger than they may be.
    #[error("with the secrets before it, it is larger than {}", format_size(TOGETHER as u64))]
    Together,
    /// A NUL, which no variable can hold.
    #[error("it has a NUL byte, which no environment variable can hold")]
    Nul,
    /// The run was stopped meanwhile.
    #[error("stopped")]
    Stopped,
}

/// Reads all secrets of a cell.
pub async fn read(
    handles: &BTreeMap<String, SecretHandle>,
    host: &Host<'_>,
    stop: &watch::Receiver<Stop>,
) -> Result<Secrets, SecretError> {
    let mut by_name: Vec<(String, Secret)> = Vec::with_capacity(handles.len());
    let mut room = TOGETHER;
    for (name, handle) in handles {
        let secret = match one(name, handle, host, stop).await.and_then(checked) {
            Ok(secret) if secret.0.len() > room => Err(Why::Together),
            Ok(secret) => Ok(secret),
            // A program may say the secret of another one.
            Err(why) => Err(masked(why, &by_name)),
        };
        let secret = secret.map_err(|why| SecretError { name: name.clone(), why })?;
        room -= secret.0.len();
        by_name.push((name.clone(), secret));
    }
    Ok(Secrets::new(by_name))
}

async fn one(
    name: &str,
    handle: &SecretHandle,
    host: &Host<'_>,
    stop: &watch::Receiver<Stop>,
) -> Result<Vec<u8>, Why> {
    let pins = host.pins.get(name).cloned().unwrap_or_default();
    match handle {
        SecretHandle::Env(name) => {
            let value = (host.variable)(name).ok_or_else(|| Why::Unset(name.clone()))?;
            Ok(value.into_vec())
        }
        SecretHandle::File(path) => {
            let path = match path.strip_prefix("~") {
                Ok(rest) => host.home.ok_or(Why::Homeless)?.join(rest),
                Err(_) => host.root.join(path),
            };
            let shown = path.clone();
            // A file may lie on a disk that has to wake up first.
            let read = tokio::task::spawn_blocking(move || file(&path, &pins)).await;
            read.unwrap_or_else(|error| {
                Err(Why::Unreadable { path: shown, error: std::io::Error::other(error) })
            })
        }
        SecretHandle::Cmd(words) => command::output(words, pins, host, stop.clone()).await,
    }
}

fn file(path: &Path, pins: &[Pin]) -> Result<Vec<u8>, Why> {
    let unreadable = |error| Why::Unreadable { path: path.to_owned(), error };
    // Opening a FIFO or a device must not wait for its other end.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let resolve = ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let file = match openat2(AT_FDCWD, path, OpenHow::new().flags(flags).resolve(resolve)) {
        // A kernel before 5.6; links are found below.
        Err(Errno::ENOSYS) => open(path, flags | OFlag::O_NOFOLLOW, Mode::empty()),
        // The system's own word is about loops.
        Err(Errno::ELOOP) => {
            return Err(unreadable(std::io::Error::other("a link leads elsewhere")));
        }
        opened => opened,
    };
    let file = File::from(file.map_err(|errno| unreadable(errno.into()))?);
    // What was granted is this place: a link that was put on the way to it since then leads to another.
    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    let place = std::fs::read_link(link).map_err(unreadable)?;
    if path.is_absolute() && place != path {
        let moved = "a link leads elsewhere".to_owned();
        return Err(unreadable(std::io::Error::other(moved)));
    }
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err(Why::NotAFile(path.to_owned()));
    }
    let now = Pin::File { device: meta.dev(), inode: meta.ino() };
    if pins.iter().any(|pin| *pin != now) {
        return Err(Why::Replaced(path.to_owned()));
    }
    let mut bytes = Vec::new();
    // With room for a line break at its end.
    file.take(LONGEST as u64 + 3).read_to_end(&mut bytes).map_err(unreadable)?;
    cut(&mut bytes);
    Ok(bytes)
}

/// Cuts one line break from the end.
fn cut(bytes: &mut Vec<u8>) {
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
}

fn checked(bytes: Vec<u8>) -> Result<Secret, Why> {
    let secret = Secret(bytes);
    match &secret.0 {
        bytes if bytes.is_empty() => Err(Why::Empty),
        bytes if bytes.contains(&0) => Err(Why::Nul),
        bytes if bytes.len() < SHORTEST => Err(Why::Short),
        bytes if bytes.len() > LONGEST => Err(Why::Long),
        _ => Ok(secret),
    }
}

fn masked(why: Why, by_name: &[(String, Secret)]) -> Why {
    match why {
        Why::Failed { program, how, mut last } => {
            let named = by_name.iter().map(|(name, secret)| (name.as_str(), secret.0.as_slice()));
            Mask::new(named).hide(&mut last);
            Why::Failed { program, how, last }
        }
        other => other,
    }
}

impl Host<'_> {
    /// The program as it is to be started: a path is one of the flow's folder.
    fn program(&self, word: &str) -> PathBuf {
        if word.as_bytes().contains(&b'/') { self.root.join(word) } else { PathBuf::from(word) }
    }
}

#[cfg(test)]
mod tests;
