//! Descriptors of a sandbox as the async runtime waits for them.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
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

pub async fn readable(fd: Option<&AsyncFd<OwnedFd>>) -> std::io::Result<()> {
    match fd {
        Some(fd) => fd.readable().await.map(|_| ()),
        None => std::future::pending().await,
    }
}

/// A worker's socket, watched for what comes. That it can be written to is nearly always so, and would be told anew each time that the worker reads.
pub fn conversed(socket: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    never_wait(&socket)?;
    watched(socket, Interest::READABLE)
}

/// From now on reads and writes that would have to wait fail.
pub fn never_wait(fd: impl AsFd) -> std::io::Result<()> {
    let flags = fcntl(&fd, FcntlArg::F_GETFL).map_err(std::io::Error::from)?;
    let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
    fcntl(&fd, FcntlArg::F_SETFL(flags)).map_err(std::io::Error::from)?;
    Ok(())
}

/// Sends what a socket has room for. Where that is not all, [`room`] is to be waited for.
pub fn send(socket: &AsyncFd<OwnedFd>, unsent: &mut Vec<u8>) -> std::io::Result<()> {
    while !unsent.is_empty() {
        match nix::unistd::write(socket.get_ref(), unsent) {
            Ok(sent) => drop(unsent.drain(..sent)),
            Err(Errno::EAGAIN) => break,
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits until a socket can be written to.
pub async fn room(socket: Option<&AsyncFd<OwnedFd>>) -> std::io::Result<()> {
    let Some(socket) = socket else { return std::future::pending().await };
    asynchronous(socket.get_ref(), Interest::WRITABLE)?.writable().await.map(|_| ())
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

/// Whether a pipe that was readable has nothing now, and somebody may still write to it.
pub fn is_empty(pipe: &AsyncFd<OwnedFd>) -> bool {
    let looked = pipe.try_io(Interest::READABLE, |pipe| {
        let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::ZERO) {
            Ok(0) => Err(std::io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    });
    looked.is_err()
}

/// Reads what a pipe has, as far as it was readable.
pub fn read(pipe: &AsyncFd<OwnedFd>, capture: &mut Capture, buffer: &mut [u8]) {
    let result = pipe.try_io(Interest::READABLE, |pipe| {
        nix::unistd::read(pipe, &mut *buffer).map_err(std::io::Error::from)
    });
    match result {
        Ok(count @ 1..) => capture.push(&buffer[..count]),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
        Ok(0) | Err(_) => capture.ended = true,
    }
}
