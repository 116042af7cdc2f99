//! Descriptors of a sandbox as the async runtime waits for them.

use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::capture::Capture;

/// Watches a descriptor.
#[expect(
    deprecated,
    reason = "the new form is unsafe for types that lie about their descriptor; OwnedFd does not"
)]
pub fn watched(fd: OwnedFd, interest: Interest) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, interest)
}

pub fn asynchronous(fd: impl AsFd, interest: Interest) -> std::io::Result<AsyncFd<OwnedFd>> {
    watched(fd.as_fd().try_clone_to_owned()?, interest)
}

pub fn piped(pipe: Option<OwnedFd>) -> std::io::Result<AsyncFd<OwnedFd>> {
    let missing = || std::io::Error::other("the sandbox has no output pipe");
    watched(pipe.ok_or_else(missing)?, Interest::READABLE)
}

pub async fn ready_of(fd: Option<&AsyncFd<OwnedFd>>, interest: Interest) -> std::io::Result<()> {
    match fd {
        Some(fd) => fd.ready(interest).await.map(|_| ()),
        None => std::future::pending().await,
    }
}

/// Waits for the memory limit's signal and takes it: an event counter is read, a change of a counter file has no content.
pub async fn oom_of(fd: Option<&AsyncFd<OwnedFd>>) -> std::io::Result<()> {
    let Some(fd) = fd else { return std::future::pending().await };
    let mut guard = fd.ready(Interest::READABLE | Interest::PRIORITY).await?;
    let mut count = [0; 8];
    let _ = nix::unistd::read(fd.get_ref(), &mut count);
    guard.clear_ready();
    Ok(())
}

pub fn read(
    guard: &mut tokio::io::unix::AsyncFdReadyGuard<'_, OwnedFd>,
    capture: &mut Capture,
    buffer: &mut [u8],
) {
    let result = guard.try_io(|fd| nix::unistd::read(fd, buffer).map_err(std::io::Error::from));
    match result {
        Ok(Ok(0)) => capture.ended = true,
        Ok(Ok(count)) => capture.push(&buffer[..count]),
        Ok(Err(_)) => capture.ended = true,
        Err(_) => {}
    }
}
