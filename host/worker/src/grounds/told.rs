//! A program of kind `command` that waits for its cell: it says when it is ready, and is told its cell on its standard input (executors/README.md, "Ahead of
//! a command"). What it is told is what another would have been started with.

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use polyloom_sandbox as sandbox;
use tokio::io::Interest;

use crate::drive::HELLO;
use crate::pipes::{asynchronous, never_wait};

/// What it says on the pipe for its words before it has a cell.
const READY: &[u8] = b"ready\n";
/// What a pipe holds.
const MOST: usize = 64 << 10;

/// The two ends of what it is told on: its own, and the host's, which never waits for it.
pub fn pipe() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let (theirs, ours) = std::io::pipe()?;
    let ours = OwnedFd::from(ours);
    never_wait(&ours)?;
    Ok((theirs.into(), ours))
}

/// Whether it says that it is ready, and nothing else.
pub async fn is_ready(cell: &sandbox::Sandbox) -> bool {
    tokio::time::timeout(HELLO, said(cell, READY)).await.ok().flatten().is_some()
}

async fn said(cell: &sandbox::Sandbox, words: &[u8]) -> Option<()> {
    let pipe = asynchronous(cell.worker()?, Interest::READABLE).ok()?;
    let mut left = words;
    let mut buffer = [0; 16];
    while !left.is_empty() {
        let mut ready = pipe.readable().await.ok()?;
        let read = ready.try_io(|fd| Ok(nix::unistd::read(fd, &mut buffer[..left.len()])?));
        match read {
            Err(_) => {}
            Ok(Ok(count @ 1..)) => left = left.strip_prefix(&buffer[..count])?,
            Ok(_) => return None,
        }
    }
    Some(())
}

/// What it is told of its cell; nothing where that is more than a pipe holds.
pub fn text(spec: &sandbox::Spec) -> Option<Vec<u8>> {
    let say = OsString::from(sandbox::WORKER_FD.to_string());
    let own = [("POLYLOOM_SAY".to_owned(), say)];
    let mut text = spec.argv.len().to_string().into_bytes();
    text.push(0);
    for argument in &spec.argv {
        text.extend_from_slice(argument.as_bytes());
        text.push(0);
    }
    for (name, value) in spec.env.iter().chain(&own) {
        text.extend([name.as_bytes(), b"=", value.as_bytes(), b"\0"].concat());
    }
    (text.len() <= MOST).then_some(text)
}

/// Tells it that. An error where it does not take all of it at once.
pub fn tell(pipe: OwnedFd, text: &[u8]) -> std::io::Result<()> {
    std::fs::File::from(pipe).write_all(text)
}
