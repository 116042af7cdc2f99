//! Taking over the descriptor the host left for the worker. The one place with `unsafe`; it knows no frame.

use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::{env, fs, io};

use thiserror::Error;

/// The environment variable that holds the descriptor's number.
const VARIABLE: &str = "POLYLOOM_W";

/// Why the worker has no connection to a host.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InheritError {
    /// The variable is not set: the program was not started by a host.
    #[error("`POLYLOOM_W` is not set; this program is an executor and is started by `polyloom`")]
    NotStartedByHost,
    /// The variable names no socket of this process.
    #[error("`POLYLOOM_W` is `{0}`, which is not the number of an inherited socket")]
    NotASocket(String),
    /// The program has several threads already, so its environment cannot be changed safely.
    #[error("the connection must be taken before the first thread is started")]
    Threads,
    /// The descriptor could not be duplicated.
    #[error("cannot take over the connection")]
    Io(#[from] io::Error),
}

/// Takes the connection to the host: removes `POLYLOOM_W` from the environment and gives the socket a
/// descriptor that no child process inherits. Call it first in `main`, before any thread is started.
///
/// # Errors
/// [`InheritError`].
pub fn take_stream() -> Result<UnixStream, InheritError> {
    let text = env::var(VARIABLE).map_err(|_| InheritError::NotStartedByHost)?;
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(InheritError::Threads);
    }
    let Ok(number) = text.parse::<u16>() else { return Err(InheritError::NotASocket(text)) };
    let link = fs::read_link(format!("/proc/self/fd/{number}")).unwrap_or_default();
    if !link.as_os_str().as_encoded_bytes().starts_with(b"socket:") {
        return Err(InheritError::NotASocket(text));
    }
    let inherited = own(number);
    // Duplicating through std sets close-on-exec; the inherited number is closed by the drop.
    Ok(UnixStream::from(inherited.try_clone()?))
}

#[expect(
    unsafe_code,
    reason = "std has no safe way to own an inherited descriptor or unset a variable"
)]
fn own(number: u16) -> OwnedFd {
    // SAFETY: `take_stream` has just seen that this is the only thread, so nobody reads the environment now.
    unsafe { env::remove_var(VARIABLE) };
    // SAFETY: the descriptor is open (its link in /proc was read) and nothing else in the process owns
    // it: the host made it for this purpose, and with the variable gone nobody takes it twice. A closed
    // number would show as EBADF in the `fcntl` that follows, not as undefined behaviour.
    unsafe { OwnedFd::from_raw_fd(i32::from(number)) }
}
