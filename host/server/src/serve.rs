//! The run's side of the socket: lets clients in, and reads the record out to each at the pace it takes it.
//!
//! Nothing here is waited for by the run. Each client is a task with one buffer; what it has not taken yet stays in the
//! record.

use std::io;
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use interprocess::local_socket::tokio::{Listener, Stream};
use interprocess::local_socket::traits::StreamCommon;
use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, Name, ToFsName};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::feed::{Feed, Progress, Recorded};
use crate::wire::{Line, MAX_REQUEST, Request, Stop, Word, line, read_line};

/// Clients at once.
pub const MAX_CLIENTS: usize = 16;
/// A run that has ended waits so long for its clients to take the rest; whoever is slower reads the record itself.
pub const GRACE: Duration = Duration::from_secs(1);
/// A client has so long to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// Chatter is gathered for so long: a run that says a lot is not read line by line.
const GATHER: Duration = Duration::from_millis(25);
/// A client's buffer.
const CHUNK: usize = 64 << 10;

/// Why a run has no socket.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The system allows about a hundred bytes.
    #[error("the path `{}` is too long for a socket", path.display())]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// The folder can't hold one, or may not.
    #[error("can't open the socket `{}`", path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// What a server needs.
pub struct Config {
    /// Where the socket is to be; its folder should let nobody else in.
    pub path: PathBuf,
    /// The run's progress; a clone of it is among the run's sinks.
    pub feed: Feed,
    /// The run's record.
    pub record: Arc<dyn Recorded>,
    /// Where wishes to stop go. Repeated ones are passed on, too.
    pub stops: mpsc::Sender<Stop>,
}

/// An open socket.
#[derive(Debug)]
pub struct Server {
    feed: Feed,
    task: JoinHandle<()>,
}

impl Server {
    /// Opens the socket, for this user only, and lets clients in. To be called inside a tokio runtime.
    pub fn open(config: Config) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Open { path: config.path.clone(), source };
        let name = name(&config.path).map_err(|source| match source {
            None => OpenError::TooLong { path: config.path.clone() },
            Some(source) => failed(source),
        })?;
        let listener = ListenerOptions::new().name(name).mode(0o600).create_tokio();
        let listener = listener.map_err(failed)?;
        let feed = config.feed.clone();
        Ok(Self { feed, task: tokio::spawn(accept(listener, config)) })
    }

    /// The run has ended with this exit code: nobody is let in any more, the socket is removed, and those who are in
    /// have [`GRACE`] to take the rest.
    pub async fn finish(self, exit: u8) {
        self.feed.end(exit);
        // A task that has panicked has no clients left.
        let _ = self.task.await;
    }
}

/// The name of a socket with this path; no error where it is too long.
pub(crate) fn name(path: &Path) -> Result<Name<'_>, Option<io::Error>> {
    if SocketAddr::from_pathname(path).is_err() {
        return Err(None);
    }
    path.to_fs_name::<GenericFilePath>().map_err(Some)
}

/// Whether the other side is a process of this user.
pub(crate) fn is_same_user(stream: &Stream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_creds().is_ok_and(|peer| peer.euid() == Some(own))
}

async fn accept(listener: Listener, config: Config) {
    let mut clients = JoinSet::new();
    let mut progress = config.feed.follow();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = progress.wait_for(|progress| progress.exit.is_some()) => break,
        };
        while clients.try_join_next().is_some() {}
        match accepted {
            Ok(stream) if !is_same_user(&stream) => {
                refuse(stream, "only the user who started the run may attach to it").await;
            }
            Ok(stream) if clients.len() >= MAX_CLIENTS => {
                refuse(stream, &format!("{MAX_CLIENTS} clients are attached already")).await;
            }
            Ok(stream) => {
                let client = Client {
                    stream: BufReader::with_capacity(MAX_REQUEST, stream),
                    progress: config.feed.follow(),
                    record: Arc::clone(&config.record),
                    stops: config.stops.clone(),
                };
                clients.spawn(async move {
                    // An error is the client's own: it has gone away.
                    let _ = client.serve().await;
                });
            }
            // Out of descriptors, or a client that left at once: not worth the socket.
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
    drop(listener);
    let _ = timeout(GRACE, async { while clients.join_next().await.is_some() {} }).await;
}

/// A line fits the empty buffer of a new connection: this waits for nobody.
async fn refuse(mut stream: Stream, why: &str) {
    let _ = stream.write_all(line(&Word::Error(why.to_owned())).as_bytes()).await;
}

/// One client.
struct Client {
    stream: BufReader<Stream>,
    progress: watch::Receiver<Progress>,
    record: Arc<dyn Recorded>,
    stops: mpsc::Sender<Stop>,
}

impl Client {
    async fn serve(mut self) -> io::Result<()> {
        let mut text = Vec::new();
        let read = read_line(&mut self.stream, &mut text, MAX_REQUEST);
        let request = match timeout(PATIENCE, read).await {
            Ok(Ok(Line::Whole)) => Request::parse(&text),
            Ok(Ok(Line::TooLong)) => Err(format!("the request is longer than {MAX_REQUEST} bytes")),
            Ok(Ok(Line::Closed)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) => Err("no request came".to_owned()),
        };
        match request {
            Ok(Request::Watch { from }) => self.watch(from).await,
            Ok(Request::Stop(stop)) => self.stop(stop).await,
            Err(error) => self.say(&Word::Error(error)).await,
        }
    }

    async fn say(&mut self, word: &Word) -> io::Result<()> {
        self.stream.get_mut().write_all(line(word).as_bytes()).await
    }

    async fn stop(mut self, stop: Stop) -> io::Result<()> {
        // A run that does not take it is ending anyway.
        let _ = self.stops.send(stop).await;
        self.say(&Word::Stopping(stop)).await?;
        let exit = tokio::select! {
            ended = self.progress.wait_for(|progress| progress.exit.is_some()) => {
                ended.ok().and_then(|progress| progress.exit)
            }
            _ = self.stream.fill_buf() => None,
        };
        match exit {
            Some(exit) => self.say(&Word::Exit(exit)).await,
            None => Ok(()),
        }
    }

    async fn watch(mut self, from: u64) -> io::Result<()> {
        let mut reading = Reading { at: 0, next: 1, from };
        loop {
            let progress = *self.progress.borrow_and_update();
            while reading.next <= progress.seq {
                if self.pass(&mut reading).await? == 0 {
                    // The disk was full, as a rule; the run goes on and its own terminal says so.
                    let error = format!("the record ends before event {}", reading.next);
                    return self.say(&Word::Error(error)).await;
                }
            }
            if let Some(exit) = progress.exit {
                return self.say(&Word::Exit(exit)).await;
            }
            if !(self.more().await? && self.gather().await?) {
                return Ok(());
            }
        }
    }

    /// Waits until there is more to say; false if the client has gone, or talks though it was not asked.
    async fn more(&mut self) -> io::Result<bool> {
        tokio::select! {
            changed = self.progress.changed() => Ok(changed.is_ok()),
            said = self.stream.fill_buf() => said.map(|_| false),
        }
    }

    /// Waits a moment for what comes along with it, unless that was the end.
    async fn gather(&mut self) -> io::Result<bool> {
        tokio::select! {
            () = sleep(GATHER) => Ok(true),
            ended = self.progress.wait_for(|progress| progress.exit.is_some()) => Ok(ended.is_ok()),
            said = self.stream.fill_buf() => said.map(|_| false),
        }
    }

    /// Sends the next part of the record. Gives the number of bytes read.
    async fn pass(&mut self, reading: &mut Reading) -> io::Result<usize> {
        let (record, at) = (Arc::clone(&self.record), reading.at);
        // The record is a file, on whatever disk: not on the threads that the run has.
        let read = tokio::task::spawn_blocking(move || {
            let mut chunk = vec![0; CHUNK];
            let size = record.read(at, &mut chunk)?;
            chunk.truncate(size);
            io::Result::Ok(chunk)
        });
        let chunk = read.await.map_err(io::Error::other)??;
        self.stream.get_mut().write_all(reading.wanted(&chunk)).await?;
        Ok(chunk.len())
    }
}

/// A place in the record.
struct Reading {
    /// In bytes.
    at: u64,
    /// The number of the record it is in. Numbers have no gaps and every record has its line, so lines are counted.
    next: u64,
    /// The first number wanted.
    from: u64,
}

impl Reading {
    /// Goes over the next part of the record; gives what of it is wanted.
    fn wanted<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        self.at += chunk.len() as u64;
        let mut skip = 0;
        for (i, _) in chunk.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
            if self.next < self.from {
                skip = i + 1;
            }
            self.next += 1;
        }
        if self.next < self.from {
            skip = chunk.len();
        }
        &chunk[skip..]
    }
}

#[cfg(test)]
mod tests {
    use super::Reading;

    #[test]
    fn what_is_wanted_does_not_depend_on_how_it_is_cut() {
        let record = b"1\n22\n\n4444\n5";
        for from in 0..7 {
            let whole = Reading { at: 0, next: 1, from }.wanted(record).to_vec();
            let first = usize::try_from(from.max(1)).unwrap() - 1;
            let lines: Vec<&[u8]> = record.split_inclusive(|byte| *byte == b'\n').collect();
            assert_eq!(whole, lines.get(first..).unwrap_or_default().concat(), "from {from}");
            for size in 1..record.len() {
                let mut reading = Reading { at: 0, next: 1, from };
                let parts: Vec<u8> =
                    record.chunks(size).flat_map(|part| reading.wanted(part).to_vec()).collect();
                assert_eq!(parts, whole, "from {from} in parts of {size}");
                assert_eq!((reading.at, reading.next), (record.len() as u64, 5));
            }
        }
    }
}
