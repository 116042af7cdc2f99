//! The worker's end of the connection: whole messages out and in, credit kept. It knows no executor.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use polyloom_protocol::check::check_body;
use polyloom_protocol::frame::{Decoder, HEADER, PREAMBLE};
use polyloom_protocol::messages::EncodeError;
use polyloom_protocol::messages::worker::{Catalog, Kept};
use polyloom_protocol::state::START_CREDIT;
use polyloom_protocol::{FromHost, FromWorker, Value, Violation};
use thiserror::Error;

use crate::{Failure, InheritError, feature};

/// Why serving ended other than by the host's wish.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// There is no connection to a host.
    #[error(transparent)]
    Inherit(#[from] InheritError),
    /// The connection broke.
    #[error("connection to the host broke")]
    Io(#[from] io::Error),
    /// The host ended the connection in the middle of an exec.
    #[error("host went away during an exec")]
    HostGone,
    /// The host broke the protocol.
    #[error("host broke the protocol")]
    Violation(#[from] Violation),
    /// The host refused the handshake.
    #[error("host refused: {0}")]
    Refused(String),
    /// The host reported an error and closed.
    #[error("host reported `{code}`: {text}")]
    Reported {
        /// The error's short name.
        code: String,
        /// Its text.
        text: String,
    },
    /// The executor's catalog is none.
    #[error("there is no catalog: {0}")]
    Catalog(Failure),
    /// What cells left can be neither saved nor loaded.
    #[error("no state is saved or loaded: {0}")]
    Durable(Failure),
    /// A message of this side cannot be sent.
    #[error("message cannot be sent")]
    Encode(#[from] EncodeError),
}

/// The running exec as this side sees it.
struct Running {
    exec: u64,
    credit: i64,
    cancelled: bool,
}

/// The connection.
pub(crate) struct Connection {
    stream: UnixStream,
    decoder: Decoder,
    running: Option<Running>,
    /// Messages for after the exec that came during it.
    waiting: VecDeque<(u64, FromHost)>,
    /// What both sides may use.
    agreed: Vec<String>,
}

impl Connection {
    /// Greets the host.
    pub(crate) fn open(mut stream: UnixStream) -> Result<Self, ServeError> {
        stream.write_all(&PREAMBLE)?;
        Ok(Self {
            stream,
            decoder: Decoder::new(),
            running: None,
            waiting: VecDeque::new(),
            agreed: Vec::new(),
        })
    }

    /// The next message for the main loop; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u64, FromHost)>, ServeError> {
        match self.waiting.pop_front() {
            Some(message) => Ok(Some(message)),
            None => self.read(),
        }
    }

    /// Sends a message outside the running exec's books.
    pub(crate) fn send(&mut self, exec: u64, message: &FromWorker) -> Result<(), ServeError> {
        self.stream.write_all(&message.encode(exec)?)?;
        Ok(())
    }

    /// Sends a catalog, if it is one that a host takes.
    pub(crate) fn send_catalog(
        &mut self,
        entries: Vec<BTreeMap<String, Value>>,
    ) -> Result<(), ServeError> {
        let frame = FromWorker::Catalog(Catalog { entries }).encode(0);
        let frame = frame.map_err(|error| ServeError::Catalog(error.into()))?;
        check_body(&frame[HEADER..]).map_err(|error| ServeError::Catalog(error.into()))?;
        self.stream.write_all(&frame)?;
        Ok(())
    }

    /// Says whether a snapshot was taken, restored or dropped, to a host that wants to know.
    pub(crate) fn send_kept(
        &mut self,
        name: String,
        result: Result<(), Failure>,
    ) -> Result<(), ServeError> {
        if !self.has(feature::KEPT) {
            return Ok(());
        }
        let reason = result.as_ref().err().map_or_else(String::new, ToString::to_string);
        self.send(0, &FromWorker::Kept(Kept { name, ok: result.is_ok(), reason }))
    }

    /// Keeps what the handshake settled.
    pub(crate) fn agree(&mut self, features: Vec<String>) {
        self.agreed = features;
    }

    /// Whether messages of a feature may be sent.
    pub(crate) fn has(&self, feature: &str) -> bool {
        self.agreed.iter().any(|agreed| agreed == feature)
    }

    /// Begins the books of an exec.
    pub(crate) fn begin(&mut self, exec: u64) {
        let credit = i64::try_from(START_CREDIT).unwrap_or(i64::MAX);
        self.running = Some(Running { exec, credit, cancelled: false });
    }

    /// Closes the books of an exec.
    pub(crate) fn end(&mut self) {
        self.running = None;
    }

    /// Sends a message of the running exec; a metered one once there is credit for the whole of it.
    pub(crate) fn send_in_exec(&mut self, message: &FromWorker) -> Result<(), ServeError> {
        let Some(exec) = self.running.as_ref().map(|running| running.exec) else { return Ok(()) };
        let frame = message.encode(exec)?;
        let length = if message.is_metered() { frame.len() - HEADER } else { 0 };
        let cost = i64::try_from(length).unwrap_or(i64::MAX);
        loop {
            match &mut self.running {
                Some(running) if cost > 0 && running.credit < cost => {}
                Some(running) => {
                    running.credit -= cost;
                    break;
                }
                None => break,
            }
            let (exec, message) = self.read()?.ok_or(ServeError::HostGone)?;
            self.absorb(exec, message);
        }
        self.stream.write_all(&frame)?;
        Ok(())
    }

    /// Whether the running exec was cancelled, or the host told the worker to end, by now.
    pub(crate) fn cancelled(&mut self) -> Result<bool, ServeError> {
        self.stream.set_nonblocking(true)?;
        let read = self.drain();
        self.stream.set_nonblocking(false)?;
        read?;
        Ok(self.running.as_ref().is_some_and(|running| running.cancelled))
    }

    /// Reads what is there without waiting.
    fn drain(&mut self) -> Result<(), ServeError> {
        loop {
            match self.read() {
                Ok(Some((exec, message))) => self.absorb(exec, message),
                Ok(None) => return Err(ServeError::HostGone),
                Err(ServeError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes in a message that came during an exec.
    fn absorb(&mut self, exec: u64, message: FromHost) {
        let running = self.running.as_mut().filter(|running| running.exec == exec);
        match (message, running) {
            (FromHost::Credit(credit), Some(running)) => {
                let bytes = i64::try_from(credit.bytes).unwrap_or(i64::MAX);
                running.credit = running.credit.saturating_add(bytes);
            }
            (FromHost::Cancel(_), Some(running)) => running.cancelled = true,
            // They crossed the `Done` of an earlier exec.
            (FromHost::Credit(_) | FromHost::Cancel(_), None) => {}
            (message, _) => {
                if let (FromHost::Shutdown(_), Some(running)) = (&message, &mut self.running) {
                    running.cancelled = true;
                }
                self.waiting.push_back((exec, message));
            }
        }
    }

    fn read(&mut self) -> Result<Option<(u64, FromHost)>, ServeError> {
        let mut buffer = [0; 16 << 10];
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some((frame.header.exec, FromHost::from_frame(&frame)?)));
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    self.decoder.end()?;
                    return Ok(None);
                }
                Ok(length) => self.decoder.feed(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
