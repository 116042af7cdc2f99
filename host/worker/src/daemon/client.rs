//! A run's side: asks for what waits. A daemon that does not answer, or not like one, is not asked again by this run.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::wire::{Answer, Ask, Identity, Line, Status};
use crate::order::Order;

/// It answers from memory.
const PATIENCE: Duration = Duration::from_millis(500);
/// To end it may have to end others.
const STOPPING: Duration = Duration::from_secs(10);

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    line: Mutex<Option<Line>>,
    prepared: Vec<u8>,
}

/// What a run was given.
#[derive(Debug)]
pub struct Taken {
    /// Its number.
    pub id: u64,
    /// What is known of it.
    pub about: Vec<u8>,
    /// Its descriptors.
    pub fds: Vec<OwnedFd>,
    /// Its standard input.
    pub stdin: Option<OwnedFd>,
}

impl Client {
    /// Connects to the daemon of a socket, if there is one of this very build and user.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        let line = Line::connect(socket)?;
        if line.peer().is_none() {
            return Err(io::Error::other("it is another user's"));
        }
        line.set_patience(Some(PATIENCE))?;
        line.send(&Ask::Hello(Identity::own()?), &[])?;
        match line.receive()? {
            Some((Answer::Welcome(prepared), _)) => {
                Ok(Self { line: Mutex::new(Some(line)), prepared })
            }
            Some((Answer::Refused(why), _)) => Err(io::Error::other(why)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// What its spawner could prepare, as [`polyloom_sandbox::Spawner::expect`] takes it.
    pub fn prepared(&self) -> &[u8] {
        &self.prepared
    }

    /// What waits by an order. It is this run's to use or to end.
    pub fn take(&self, order: &Order) -> Option<Taken> {
        let (order, _) = order.told()?;
        match self.ask(&Ask::Take(order))? {
            (Answer::Took { id, about, stdin }, mut fds) => {
                let stdin = if stdin { Some(fds.pop()?) } else { None };
                Some(Taken { id, about, fds, stdin })
            }
            _ => None,
        }
    }

    /// What was taken can be used again.
    pub fn back(&self, id: u64) {
        let mut line = self.line();
        if line.as_ref().is_some_and(|line| line.send(&Ask::Back(id), &[]).is_err()) {
            *line = None;
        }
    }

    /// How it is.
    pub fn status(&self) -> Option<Status> {
        match self.ask(&Ask::Status)? {
            (Answer::Status(status), _) => Some(status),
            _ => None,
        }
    }

    /// Asks it to end; whether it says that it does.
    pub fn stop(&self) -> bool {
        if let Some(line) = &*self.line() {
            let _ = line.set_patience(Some(STOPPING));
        }
        matches!(self.ask(&Ask::Stop), Some((Answer::Stopping, _)))
    }

    fn line(&self) -> std::sync::MutexGuard<'_, Option<Line>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, ask: &Ask) -> Option<(Answer, Vec<OwnedFd>)> {
        let mut line = self.line();
        let there = line.as_ref()?;
        let answer = there.send(ask, &[]).and_then(|()| there.receive());
        match answer {
            Ok(Some(answer)) => Some(answer),
            Ok(None) | Err(_) => {
                // An answer that comes later would be taken for that of another question.
                tracing::info!("the daemon does not answer: it is not asked again");
                *line = None;
                None
            }
        }
    }
}

/// The daemon of a run, connected when it is first wanted.
#[derive(Debug, Default)]
pub struct Daemon {
    socket: Option<std::path::PathBuf>,
    client: std::sync::OnceLock<Option<Arc<Client>>>,
}

impl Daemon {
    /// The one of this socket.
    pub fn at(socket: &Path) -> Self {
        Self { socket: Some(socket.to_owned()), client: std::sync::OnceLock::new() }
    }

    /// The connection, if there is a daemon.
    pub fn client(&self) -> Option<&Arc<Client>> {
        let connect = || {
            let socket = self.socket.as_deref()?;
            match Client::connect(socket) {
                Ok(client) => Some(Arc::new(client)),
                Err(error) => {
                    if error.kind() != io::ErrorKind::NotFound {
                        tracing::info!(%error, "the daemon is not asked");
                    }
                    None
                }
            }
        };
        self.client.get_or_init(connect).as_ref()
    }
}
