//! The other side of the socket: asks, and reads answers of a server it does not have to trust.

use std::io;
use std::path::{Path, PathBuf};

use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::traits::tokio::Stream as _;
use polyloom_events::Record;
use serde::Deserialize;
use thiserror::Error;
use tokio::io::{AsyncWriteExt, BufReader};

use crate::serve::{is_same_user, name};
use crate::wire::{Line, Request, Word, read_line};

/// Longest answer read; a frame of a worker is at most a mebibyte, and JSON can make six bytes of one.
const MAX_ANSWER: usize = 16 << 20;

/// Why a run can't be asked, or not understood.
#[derive(Debug, Error)]
pub enum AttachError {
    /// There is no socket, or nobody behind it. The run may have ended, or may not have one.
    #[error("can't connect to `{}`", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The socket is another user's.
    #[error("the run behind `{}` is not yours", path.display())]
    Foreign {
        /// The socket.
        path: PathBuf,
    },
    /// The connection broke. What was read stands; ask again from the next number.
    #[error("the connection to the run broke")]
    Broken(#[source] io::Error),
    /// The run has refused, in its words.
    #[error("the run refuses: {0}")]
    Refused(String),
    /// An answer is none that this program knows: it may be of a newer one.
    #[error("the run answers with something that this program does not know")]
    Unknown(#[source] Option<serde_json::Error>),
}

/// What a run answers.
#[derive(Debug)]
pub enum Answer {
    /// An event: its line as it came, without the end.
    Record(Vec<u8>),
    /// The wish to stop has been passed on.
    Stopping,
    /// The run has ended with this exit code.
    Ended {
        /// The code.
        exit: u8,
    },
}

impl Answer {
    /// The record that a line is.
    pub fn record(line: &[u8]) -> Result<Record, AttachError> {
        serde_json::from_slice(line).map_err(|error| AttachError::Unknown(Some(error)))
    }
}

/// A connection to a run.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<Stream>,
    line: Vec<u8>,
}

impl Client {
    /// Connects to the socket `path` and asks.
    pub async fn connect(path: &Path, request: Request) -> Result<Self, AttachError> {
        let failed = |source| AttachError::Connect { path: path.to_owned(), source };
        let name = name(path).map_err(|source| {
            failed(source.unwrap_or_else(|| io::Error::from(io::ErrorKind::InvalidInput)))
        })?;
        let mut stream = Stream::connect(name).await.map_err(failed)?;
        if !is_same_user(&stream) {
            return Err(AttachError::Foreign { path: path.to_owned() });
        }
        stream.write_all(request.line().as_bytes()).await.map_err(AttachError::Broken)?;
        Ok(Self { stream: BufReader::with_capacity(64 << 10, stream), line: Vec::new() })
    }

    /// The next answer. `None` when the run has closed the connection without saying that it ended. Can be given up and
    /// called again.
    pub async fn next(&mut self) -> Result<Option<Answer>, AttachError> {
        match read_line(&mut self.stream, &mut self.line, MAX_ANSWER).await {
            Ok(Line::Whole) => {}
            // Half a line is of a process that was killed.
            Ok(Line::Closed) => return Ok(None),
            Ok(Line::TooLong) => return Err(AttachError::Unknown(None)),
            Err(error) => return Err(AttachError::Broken(error)),
        }
        parse(std::mem::take(&mut self.line)).map(Some)
    }
}

#[derive(Deserialize)]
struct Numbered {
    seq: Option<serde::de::IgnoredAny>,
}

fn parse(line: Vec<u8>) -> Result<Answer, AttachError> {
    let unknown = |error| AttachError::Unknown(Some(error));
    let numbered: Numbered = serde_json::from_slice(&line).map_err(unknown)?;
    if numbered.seq.is_some() {
        return Ok(Answer::Record(line));
    }
    match serde_json::from_slice(&line).map_err(unknown)? {
        Word::Error(text) => Err(AttachError::Refused(text)),
        Word::Stopping(_) => Ok(Answer::Stopping),
        Word::Exit(exit) => Ok(Answer::Ended { exit }),
    }
}
