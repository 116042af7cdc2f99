//! What a run and the daemon say to each other. Both are the same file, or they do not speak: nothing here is negotiated.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use interprocess::ConnectWaitMode;
use interprocess::local_socket::prelude::*;
use interprocess::local_socket::{ConnectOptions, GenericFilePath, Listener, Name, Stream};
use polyloom_sandbox::stream;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::drive::Bounds;
use crate::session::Own;
use crate::talk::Pause;

/// The longest message.
const MOST: usize = 1 << 20;
/// Who is not let in within this is not asked.
const CONNECTING: Duration = Duration::from_millis(500);
/// Who does not take an answer within this is given up.
const SENDING: Duration = Duration::from_secs(5);

/// What is said of one that says nothing.
const SILENT: &str = "it gives no answer: it is stopped, or has no time";

/// What a run says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Ask {
    /// First of all. Who says nothing of its surroundings has nothing made by it: it asks, and deals with what is there.
    Hello(Identity, Option<Surroundings>),
    /// It wants what waits by this order, and the like of it next time.
    Take(Vec<u8>),
    /// What it took of this number can be used again. No answer.
    Back(u64),
    /// It wants the session of this name; one that begins now by the order where there is none that fits it. Without an order: the one that there is.
    Session(SessionId, Option<Vec<u8>>),
    /// It wants a session of the second name, which there must not be, that begins by the order of the first.
    Like(SessionId, SessionId),
    /// The session of this number does something: until it is noted how it stands, nobody can go on with it. No answer.
    Busy(u64),
    /// How the session of this number stands now. No answer.
    Stands(u64, Standing),
    /// The session of this number is left as it stands. No answer.
    Leave(u64),
    /// What sessions there are.
    Sessions,
    /// The session of this name ends, if nobody has it.
    End(SessionId),
    /// How things are.
    Status,
}

/// Whose a session is, and what it is called there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SessionId {
    /// The flow's file.
    pub flow: PathBuf,
    /// Its name in the flow.
    pub name: String,
}

/// How a session stands between two cells: what another process needs to go on with it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Standing {
    /// Its conversation.
    pub pause: Pause,
    /// Processes that are its worker's own.
    pub own: Own,
    /// What an answer of it may take.
    pub bounds: Bounds,
    /// Processor time so far.
    pub cpu: Duration,
    /// What of its file system is no use of the cells'.
    pub counted: (u64, u64),
    /// Its executor.
    pub executor: String,
    /// How many cells have run in it.
    pub cells: u64,
    /// The key of the last of them, in the form of whoever runs cells.
    pub lineage: Option<String>,
    /// Snapshots: name, and the lineage that each has.
    pub kept: Vec<(String, Option<String>)>,
}

/// A session as people are told of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Which.
    pub id: SessionId,
    /// How it stood last; nothing before its first cell.
    pub standing: Option<Standing>,
    /// Process 1 of its sandbox.
    pub pid: i32,
    /// Since when it is there, milliseconds.
    pub since_ms: u64,
    /// Whether somebody has it now.
    pub lent: bool,
}

/// What the daemon answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// To a hello.
    Welcome {
        /// What its spawner could prepare.
        #[serde(with = "serde_bytes")]
        prepared: Vec<u8>,
        /// Why it lends nothing to this one.
        but: Option<String>,
    },
    /// It does not speak with this one, and why.
    Refused(String),
    /// What waited: its number, and what [`polyloom_sandbox::Sandbox::receive`] needs besides the descriptors, of which the last is its standard input where it has one.
    Took {
        /// Its number.
        id: u64,
        /// What is known of it.
        #[serde(with = "serde_bytes")]
        about: Vec<u8>,
        /// Whether its standard input comes along.
        stdin: bool,
    },
    /// A session: its number, what [`polyloom_sandbox::Sandbox::receive`] needs, and how it stands; nothing where it has just begun.
    Session {
        /// Its number.
        id: u64,
        /// What is known of its sandbox.
        #[serde(with = "serde_bytes")]
        about: Vec<u8>,
        /// How it stands.
        standing: Option<Box<Standing>>,
    },
    /// Somebody else has that session.
    InUse,
    /// There are too many sessions to begin another one.
    Full,
    /// The sessions that there are.
    Sessions(Vec<SessionStatus>),
    /// It is done.
    Done,
    /// Nothing of the kind waits.
    Nothing,
    /// How things are.
    Status(Status),
}

/// A build of this program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    version: String,
    /// Device, inode, size and time of change of its file.
    file: (u64, u64, u64, i64, i64),
}

/// What processes hand down to those they start, and sandboxes have from the system, as far as neither is set for each cell. Who lends a sandbox has to have it in
/// common with who borrows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Surroundings {
    limits: String,
    nice: String,
    processors: String,
    groups: Vec<String>,
    /// Digest of what sandboxes have of `/etc`.
    system: [u8; 32],
}

impl Surroundings {
    /// Those of this process now.
    pub fn own() -> io::Result<Self> {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}"));
        // The first part is the program's name, which may hold anything. Nice, scheduling policy and priority.
        let stat = read("stat")?;
        let after = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let fields: Vec<&str> = after.split(' ').collect();
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or_default();
        let adjusted = read("oom_score_adj")?;
        let nice = format!("{} {} {} {adjusted}", field(19), field(40), field(41));
        let status = read("status")?;
        let processors = status.lines().find(|line| line.starts_with("Cpus_allowed:"));
        // The soft limit of open files is raised by whoever makes sandboxes.
        let limits = read("limits")?;
        let limits = limits.lines().filter(|line| !line.starts_with("Max open files"));
        // Cells join groups of these in any case.
        const JOINED: [&str; 4] = ["memory", "pids", "cpu", "cpuacct"];
        let groups = read("cgroup")?;
        let groups = groups.lines().filter(|line| {
            let controllers = line.split(':').nth(1).unwrap_or_default();
            !controllers.is_empty()
                && !controllers.starts_with("name=")
                && !controllers.split(',').all(|one| JOINED.contains(&one))
        });
        Ok(Self {
            limits: limits.collect::<Vec<_>>().join("\n"),
            nice,
            processors: processors.unwrap_or_default().to_owned(),
            groups: groups.map(str::to_owned).collect(),
            system: *blake3::hash(&polyloom_sandbox::system_stamp()).as_bytes(),
        })
    }

    /// What differs, for people.
    pub fn differs(&self, other: &Self) -> Option<&'static str> {
        [
            (self.limits != other.limits, "limits of resources (`ulimit`)"),
            (self.nice != other.nice, "priorities (`nice`)"),
            (self.processors != other.processors, "processors (`taskset`)"),
            (self.groups != other.groups, "control groups"),
            (self.system != other.system, "files of the system in `/etc`"),
        ]
        .into_iter()
        .find_map(|(differs, what)| differs.then_some(what))
    }
}

impl Identity {
    /// This one.
    pub fn own() -> io::Result<Self> {
        use std::os::unix::fs::MetadataExt;
        let meta = std::fs::metadata("/proc/self/exe")?;
        let file = (meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec());
        Ok(Self { version: env!("CARGO_PKG_VERSION").to_owned(), file })
    }
}

/// How a daemon is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// Its process.
    pub pid: u32,
    /// Since when it is there, milliseconds.
    pub up_ms: u64,
    /// What waits: for whom, of which kind, process, and since how many milliseconds.
    pub waiting: Vec<Waiting>,
    /// Whether something that was wanted is to be made still.
    pub making: bool,
    /// Sandboxes that runs have now.
    pub lent: usize,
    /// Sandboxes that runs wanted, and of these how many waited.
    pub wanted: u64,
    /// How many of those waited.
    pub found: u64,
    /// Sessions that it keeps.
    pub sessions: usize,
    /// After so many milliseconds without a run it ends, where it keeps no session.
    pub idle_ms: u64,
}

/// Something that waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Waiting {
    /// What it is.
    pub what: String,
    /// The program's first words.
    pub program: String,
    /// Process 1 of its sandbox.
    pub pid: i32,
    /// Since when, milliseconds.
    pub since_ms: u64,
}

/// A connection.
#[derive(Debug)]
pub struct Line {
    stream: Stream,
    patience: Cell<Option<Duration>>,
}

impl Line {
    /// To the daemon of a socket.
    pub fn connect(socket: &Path) -> io::Result<Self> {
        // One that lets nobody in is none.
        let wait = ConnectWaitMode::Timeout(CONNECTING);
        let stream = ConnectOptions::new().name(name(socket)?).wait_mode(wait).connect_sync()?;
        stream.set_send_timeout(Some(SENDING))?;
        Ok(Self { stream, patience: Cell::new(None) })
    }

    /// One that was accepted.
    pub fn accepted(stream: Stream) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_send_timeout(Some(SENDING))?;
        Ok(Self { stream, patience: Cell::new(None) })
    }

    /// How long [`Self::receive`] waits for a whole message.
    pub fn set_patience(&self, patience: Option<Duration>) -> io::Result<()> {
        self.patience.set(patience);
        self.stream.set_recv_timeout(patience)
    }

    /// The process of the other end, if it is this user's.
    pub fn peer(&self) -> Option<i32> {
        let peer = self.stream.peer_creds().ok()?;
        let own = nix::unistd::geteuid().as_raw();
        (peer.euid() == Some(own)).then(|| peer.pid()).flatten()
    }

    /// Sends a message.
    pub fn send(&self, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let body = rmp_serde::to_vec(message).map_err(io::Error::other)?;
        if body.len() > MOST {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut bytes = (body.len() as u32).to_le_bytes().to_vec();
        bytes.extend(body);
        stream::send(self.as_fd(), &bytes, fds)
    }

    /// Waits for a message. Nothing: the other end is closed.
    pub fn receive<M: DeserializeOwned>(&self) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
        let mut fds = Vec::new();
        let mut length = [0; 4];
        let deadline = self.patience.get().map(|patience| Instant::now() + patience);
        if !self.fill(&mut length, &mut fds, deadline)? {
            return Ok(None);
        }
        let length = u32::from_le_bytes(length) as usize;
        if length > MOST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut body = vec![0; length];
        if !self.fill(&mut body, &mut fds, deadline)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let message = rmp_serde::from_slice(&body).map_err(io::Error::other)?;
        Ok(Some((message, fds)))
    }

    /// Whether there were bytes at all.
    fn fill(
        &self,
        buffer: &mut [u8],
        fds: &mut Vec<OwnedFd>,
        deadline: Option<Instant>,
    ) -> io::Result<bool> {
        let mut filled = 0;
        while filled < buffer.len() {
            if let Some(deadline) = deadline {
                // Whoever sends a byte now and then is not waited for any longer.
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, SILENT));
                }
                self.stream.set_recv_timeout(Some(left))?;
            }
            let received = stream::receive(self.as_fd(), &mut buffer[filled..]);
            let (count, more) = received.map_err(|error| match error.kind() {
                // As the system tells of a patience that is over.
                io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, SILENT),
                _ => error,
            })?;
            fds.extend(more);
            match (count, filled) {
                (0, 0) => return Ok(false),
                (0, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
                (count, _) => filled += count,
            }
            if fds.len() > stream::MOST_FDS {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
        Ok(true)
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // The only kind there is on this system.
        let Stream::UdSocket(socket) = &self.stream;
        socket.as_fd()
    }
}

/// What tells that somebody wants in.
pub fn incoming(listener: &Listener) -> BorrowedFd<'_> {
    let Listener::UdSocket(socket) = listener;
    socket.as_fd()
}

/// The name of a socket with this path.
pub fn name(path: &Path) -> io::Result<Name<'_>> {
    // A longer one is told as such.
    std::os::unix::net::SocketAddr::from_pathname(path)?;
    path.to_fs_name::<GenericFilePath>()
}
