//! A run's side: asks for what waits. A daemon that does not answer, or not like one, is not asked again by this run.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::wire::{
    Answer, Ask, Identity, Line, SessionId, SessionStatus, Standing, Status, Surroundings,
};
use crate::order::Order;

/// How long who asks waits for what is answered from memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A run, which does as well without.
    Run,
    /// A person, who wants to know: a daemon that is slow is no daemon that is not there.
    Person,
}

impl Patience {
    fn time(self) -> Duration {
        match self {
            Self::Run => Duration::from_millis(500),
            Self::Person => BEGINNING,
        }
    }
}

/// What begins or ends an interpreter takes longer.
const BEGINNING: Duration = Duration::from_secs(10);

/// A session of the daemon's, if it could be had.
#[derive(Debug)]
pub enum Lent {
    /// It could.
    Session {
        /// Its number.
        id: u64,
        /// What is known of its sandbox.
        about: Vec<u8>,
        /// Its descriptors.
        fds: Vec<OwnedFd>,
        /// How it stands.
        standing: Option<Box<Standing>>,
    },
    /// Somebody else has it.
    InUse,
    /// There are too many to begin it.
    Full,
    /// There is none, and none could be begun.
    None,
}

/// A connection to a daemon.
#[derive(Debug)]
pub struct Client {
    line: Mutex<Option<Line>>,
    patience: Duration,
    prepared: Vec<u8>,
    but: Option<String>,
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
    pub fn connect(socket: &Path, patience: Patience) -> io::Result<Self> {
        Self::greet(socket, patience, Some(Surroundings::own()?))
    }

    /// Connects for a person who wants to know of what it has, or to change that. It makes nothing then: what it would be made in is not compared.
    pub fn visit(socket: &Path) -> io::Result<Self> {
        Self::greet(socket, Patience::Person, None)
    }

    fn greet(socket: &Path, patience: Patience, around: Option<Surroundings>) -> io::Result<Self> {
        let patience = patience.time();
        let line = Line::connect(socket)?;
        if line.peer().is_none() {
            return Err(io::Error::other("it is another user's"));
        }
        line.set_patience(Some(patience))?;
        // Who refuses may have done so before it heard anything.
        let sent = line.send(&Ask::Hello(Identity::own()?, around), &[]);
        match line.receive().or_else(|error| sent.and(Err(error)))? {
            Some((Answer::Welcome { prepared, but }, _)) => {
                Ok(Self { line: Mutex::new(Some(line)), patience, prepared, but })
            }
            Some((Answer::Refused(why), _)) => Err(io::Error::other(why)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Why it lends nothing to this process, where it does not.
    pub fn but(&self) -> Option<&str> {
        self.but.as_deref()
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
        self.say(&Ask::Back(id));
    }

    /// The session of a name, as it stands or begun by the order.
    pub fn session(&self, id: &SessionId, order: Option<&Order>) -> Lent {
        let order = match order {
            None => None,
            Some(order) => match order.told() {
                Some((bytes, _)) => Some(bytes),
                None => return Lent::None,
            },
        };
        self.lent(&Ask::Session(id.clone(), order))
    }

    /// A session that begins now as that of another name did.
    pub fn session_like(&self, of: &SessionId, id: &SessionId) -> Lent {
        self.lent(&Ask::Like(of.clone(), id.clone()))
    }

    fn lent(&self, ask: &Ask) -> Lent {
        match self.ask_for(ask, BEGINNING) {
            Some((Answer::Session { id, about, standing }, fds)) => {
                Lent::Session { id, about, fds, standing }
            }
            Some((Answer::InUse, _)) => Lent::InUse,
            Some((Answer::Full, _)) => Lent::Full,
            _ => Lent::None,
        }
    }

    /// Says something of a session that needs no answer.
    pub fn say(&self, what: &Ask) {
        let mut line = self.line();
        if line.as_ref().is_some_and(|line| line.send(what, &[]).is_err()) {
            *line = None;
        }
    }

    /// Every session that there is; nothing without an answer.
    pub fn sessions(&self) -> Option<Vec<SessionStatus>> {
        match self.ask(&Ask::Sessions)? {
            (Answer::Sessions(all), _) => Some(all),
            _ => None,
        }
    }

    /// Ends a session; whether there was one that nobody has.
    pub fn end_session(&self, id: &SessionId) -> Option<bool> {
        match self.ask_for(&Ask::End(id.clone()), BEGINNING)?.0 {
            Answer::Done => Some(true),
            Answer::InUse => None,
            _ => Some(false),
        }
    }

    /// How it is.
    pub fn status(&self) -> Option<Status> {
        match self.ask(&Ask::Status)? {
            (Answer::Status(status), _) => Some(status),
            _ => None,
        }
    }

    fn line(&self) -> std::sync::MutexGuard<'_, Option<Line>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, ask: &Ask) -> Option<(Answer, Vec<OwnedFd>)> {
        self.ask_for(ask, self.patience)
    }

    fn ask_for(&self, ask: &Ask, patience: Duration) -> Option<(Answer, Vec<OwnedFd>)> {
        let mut line = self.line();
        let there = line.as_ref()?;
        let answer = there
            .set_patience(Some(patience))
            .and_then(|()| there.send(ask, &[]))
            .and_then(|()| there.receive());
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

/// The process behind a socket, of whatever build it is; an error where there is nobody, or somebody else's.
pub fn process(socket: &Path) -> io::Result<i32> {
    let line = Line::connect(socket)?;
    line.peer().ok_or_else(|| io::Error::other("it is another user's"))
}

/// Asks the process behind a socket to end, which it does once nobody has anything of it; and which it is.
pub fn end(socket: &Path) -> io::Result<i32> {
    let line = Line::connect(socket)?;
    let pid = line.peer().ok_or_else(|| io::Error::other("it is another user's"))?;
    // As long as the line is there it is no other process's number.
    kill(Pid::from_raw(pid), Signal::SIGTERM)?;
    Ok(pid)
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
            match Client::connect(socket, Patience::Run) {
                Ok(client) => match client.but() {
                    None => Some(Arc::new(client)),
                    Some(why) => {
                        tracing::info!(why, "the daemon is not asked");
                        None
                    }
                },
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
