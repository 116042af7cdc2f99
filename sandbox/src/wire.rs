//! What host, spawner and supervisor say to each other: all three are this crate at this version, so nothing here is negotiated.
//! Knows only shapes. Nothing from a cell ever passes through here.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
};

use serde::{Deserialize, Serialize};

use crate::{policy::Seccomp, sys::socket};

/// First of the host users given to sandboxes in root mode; nobody assigns users this high.
pub const FIRST_UID: u32 = 0x7000_0000;
/// Pairs of users from there.
pub const UID_SLOTS: u32 = 1 << 26;

/// How the spawner got its privileges, and so what its sandboxes look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// Real root: two host users per sandbox.
    Root,
    /// An ordinary user in a user namespace of its own: one host user for all.
    User,
    /// No namespaces at all.
    Bare,
}

/// First message of the spawner: what it could prepare.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Facts {
    pub outcome: Result<Ready, Missing>,
}

/// Preparation that succeeded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ready {
    pub mode: Mode,
    /// Landlock's ABI version; 0 is none.
    pub landlock: u32,
    /// Whether the kernel has cgroup namespaces.
    pub cgroup_namespace: bool,
}

/// Preparation that failed: nothing can be started.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Missing {
    pub stage: Stage,
    pub errno: i32,
}

/// One request to the spawner. Descriptors come with it in the order of [`Launch::roles`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Launch {
    /// First of the two host users (Root mode).
    pub first_uid: u32,
    pub filter: Filter,
    /// Whether it gets a network namespace of its own.
    pub doors: bool,
    /// Whether there are terminals to be made.
    pub terminals: bool,
    /// Folder of the host's that is the cell's own file system, if it is not in memory.
    pub folder: Option<serde_bytes::ByteBuf>,
    /// Source and target of each bind, as bytes.
    pub binds: Vec<(serde_bytes::ByteBuf, serde_bytes::ByteBuf)>,
    /// Source, target, and whether it may be changed.
    pub openings: Vec<(serde_bytes::ByteBuf, serde_bytes::ByteBuf, bool)>,
    /// Targets of the files of dead cells, in the order of their descriptors.
    pub hot: Vec<serde_bytes::ByteBuf>,
    pub roles: Vec<Role>,
}

/// Which system call filter a cell gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Filter {
    pub calls: Seccomp,
    /// Memory that no process maps is counted by nobody, so the calls that make it are refused.
    pub uncounted: bool,
    /// Internet sockets are let be: its network namespace is its own.
    pub internet: bool,
    /// No local sockets with names, or to them.
    pub unnamed: bool,
    /// No file may lend its owner's user or group: the cell makes files that are somebody's.
    pub plain_modes: bool,
}

/// Entries of the cell's file system that are not the cell's: our own directories, the files it was given and the directories they are in.
pub fn own_inodes(files: usize) -> u64 {
    16 + 2 * files as u64
}

/// What a passed descriptor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// The sealed memfd with the [`Order`].
    Order,
    /// The supervisor's end of S.
    Control,
    Stdin,
    Stdout,
    Stderr,
    /// The cell's end of the worker socket.
    Worker,
    /// A mount to be the cell's own file system.
    Files,
    /// The mount namespace of a dead cell; its file follows.
    HotSpace,
    /// A file in it.
    HotFile,
    /// v2 directory the supervisor is born in.
    Home,
    /// A file by which the cell joins a control group right before exec: `tasks`, in version 2 `cgroup.procs`.
    Join,
    /// The supervisor's end of the line to its zygote; the zygote's is [`Role::Worker`].
    Line,
    /// The host's end of S to the supervisor of a parked sandbox: the request is for its next cell.
    Next,
    /// A mount that is seen by the next cell of a parked sandbox, in the order of [`Next::binds`].
    Bind,
}

/// Spawner → supervisor, or host → supervisor where there is nothing to be mounted, on S: the next cell. Descriptors come with it in the order of `roles`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Next {
    /// Targets of the mounts, and whether each is of a directory; or why there is none.
    pub binds: Result<Vec<(serde_bytes::ByteBuf, bool)>, Missing>,
    pub roles: Vec<Role>,
}

/// Host → supervisor: what was left for and by the last cell is to go. No signal has this number.
pub const CLEAR: i32 = 0;

/// What a supervisor tells its zygote when a cell may come: to fork now what will take the cell's message, and whether there is a processor for it to get ready
/// on. No cell's is as short.
pub fn ahead_message(spare: bool) -> [u8; AHEAD] {
    [spare.into()]
}

/// Bytes of that message.
pub const AHEAD: usize = 1;

/// What a supervisor tells its zygote before the variables of the environment, each of which ends with a zero byte: the user of the cell, and how many
/// files of control groups it is to join by; u32 each, little endian. Descriptors come with it: the three streams, W, and those.
pub fn fork_message(user: u32, joins: u32, env: &[serde_bytes::ByteBuf]) -> Vec<u8> {
    let mut bytes = [user.to_le_bytes(), joins.to_le_bytes()].concat();
    for pair in env {
        bytes.extend_from_slice(pair);
        bytes.push(0);
    }
    bytes
}

/// What a zygote tells its supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The cell's process, in the sandbox's count.
    Began(i32),
    /// The wait status of that.
    Ended(i32),
    /// It can be asked for cells; whether also to fork before there is one.
    Warm { ahead: bool },
}

impl Told {
    /// Bytes of a message: kind u32 (1 began, 2 ended, 3 warm), value i32, little endian. That of 3 is 1 if it forks ahead.
    pub const BYTES: usize = 8;

    pub fn bytes(self) -> [u8; Self::BYTES] {
        let (kind, value) = match self {
            Self::Began(pid) => (1_u32, pid),
            Self::Ended(status) => (2, status),
            Self::Warm { ahead } => (3, ahead.into()),
        };
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        bytes[4..].copy_from_slice(&value.to_le_bytes());
        bytes
    }

    pub fn parse(bytes: [u8; Self::BYTES]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = bytes;
        let value = i32::from_le_bytes([e, f, g, h]);
        match u32::from_le_bytes([a, b, c, d]) {
            1 if value > 1 => Some(Self::Began(value)),
            2 => Some(Self::Ended(value)),
            3 => Some(Self::Warm { ahead: value == 1 }),
            _ => None,
        }
    }
}

/// What the supervisor is to do: read from a memfd by the supervisor, so that the spawner never touches it.
/// Layout of the memfd: u64 length, MessagePack of this, then the bytes of all files one after the other.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub argv: Vec<serde_bytes::ByteBuf>,
    /// `NAME=value` each.
    pub env: Vec<serde_bytes::ByteBuf>,
    pub cwd: serde_bytes::ByteBuf,
    pub files: Vec<OrderFile>,
    /// Ports of the doors; nothing where it gets no network.
    pub doors: Option<Vec<u16>>,
    /// Whether there are terminals to be made.
    pub terminals: bool,
    /// Whether the sandbox serves one cell after the other, and is not itself one's.
    pub parked: bool,
    /// Whether its program makes cells by forking itself.
    pub zygote: bool,
    /// Whether the program of a parked sandbox's cell is started before the files of the cell are there: they come with an order of their own.
    pub ahead: bool,
    /// Whether a processor has nothing to do while what will be the next cell gets ready.
    pub spare: bool,
    pub limits: OrderLimits,
}

/// A file of the order.
#[derive(Debug, Serialize, Deserialize)]
pub struct OrderFile {
    /// Relative to the cell's root.
    pub path: serde_bytes::ByteBuf,
    pub mode: u32,
    pub length: u64,
}

/// The limits that are set inside.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OrderLimits {
    pub files: u64,
    pub disk: u64,
    pub inodes: u64,
    /// Bytes the files of the order take, on top of `disk`.
    pub given: u64,
    pub stack: u64,
    /// Backstop per process, seconds.
    pub cpu_seconds: Option<u64>,
    /// Backstop for processes of the cell's user, where that user is the sandbox's alone.
    pub processes: Option<u64>,
    /// Only where there is no memory cgroup.
    pub data: Option<u64>,
}

macro_rules! stages {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// A step of building a sandbox, for errors that say what was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Stage { $(#[doc = $text] $name = $number,)* }

        impl Stage {
            /// What was being done.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            pub(crate) fn from_number(number: u32) -> Option<Self> {
                match number { $($number => Some(Self::$name),)* _ => None }
            }
        }
    };
}

stages! {
    UserNamespace = 1, "make a user namespace";
    MountNamespace = 2, "make a mount namespace";
    NetworkNamespace = 3, "make an empty network namespace";
    Template = 4, "build the read-only root";
    Message = 5, "read the request";
    BindSource = 6, "open a bind source";
    BindTarget = 7, "make a mount point";
    Clone = 8, "clone the supervisor";
    IdMap = 9, "map users into the user namespace";
    Identity = 10, "become the supervisor's user";
    Root = 11, "attach the root";
    Proc = 12, "mount a fresh `/proc`";
    CellFiles = 13, "make the cell's file system";
    WriteFiles = 14, "write the cell's files";
    Binds = 15, "attach a bind";
    Pivot = 16, "pivot into the root";
    Fork = 17, "fork the cell's process";
    JoinCgroup = 18, "join the cell's cgroups";
    Stdio = 19, "set up standard streams";
    Limits = 20, "set resource limits";
    Privileges = 21, "drop privileges";
    Landlock = 22, "restrict itself with Landlock";
    Descriptors = 23, "close descriptors";
    Seccomp = 24, "install the system call filter";
    WorkDirectory = 25, "enter the working directory";
    Exec = 26, "execute the program";
    Opening = 27, "open a granted path";
    Doors = 29, "open the doors of its network";
    HotFile = 30, "mount a file of a cell that has ended";
    Terminals = 31, "make a place for terminals";
    Zygote = 32, "ask the zygote for a cell";
    OpeningOwner = 28, "map the owner of a granted path to the cell's user";
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A stage that failed, on its way to the host.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    pub stage: Stage,
    pub errno: i32,
}

/// Attaches the stage to an error.
pub trait At<T> {
    fn at(self, stage: Stage) -> Result<T, Failure>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, stage: Stage) -> Result<T, Failure> {
        self.map_err(|error| Failure { stage, errno: error.raw_os_error().unwrap_or(libc::EIO) })
    }
}

/// Supervisor (and, for the first, spawner) → host on S.
#[derive(Debug)]
pub enum Report {
    /// The supervisor exists; its pidfd.
    Spawned { pid: i32, pidfd: OwnedFd },
    /// The cell's file system exists: its directory, those of its code and inputs as no cell sees them, and the bytes that given files take in it.
    Ready { root: OwnedFd, laid: Vec<OwnedFd>, given: u64 },
    /// The doors: the socket that names are asked of, then one listener a port.
    Doors(Vec<OwnedFd>),
    /// The sandbox could not be built.
    SetupFailed(Failure),
    /// The sandbox stands but the program could not be started.
    NotStarted(Failure),
    /// Its zygote can be asked for cells.
    Warm,
    /// The main process ended and nothing is left but the supervisor, whose mount namespace comes along if files in memory are to be
    /// kept there.
    Exited {
        status: i32,
        leftovers: u32,
        cpu_micros: u64,
        max_rss: u64,
        space: Option<OwnedFd>,
        /// Nobody is left, and another cell may come.
        stands: bool,
    },
}

const SPAWNED: u32 = 1;
const READY: u32 = 2;
const SETUP_FAILED: u32 = 3;
const NOT_STARTED: u32 = 4;
const EXITED: u32 = 5;
const DOORS: u32 = 6;
const WARM: u32 = 7;

/// Bytes of a report: kind u32, a i32, b u32, flag u32, c u64, d u64, little endian.
pub const REPORT_BYTES: usize = 32;

fn report(kind: u32, a: i32, b: u32, c: u64, d: u64) -> [u8; REPORT_BYTES] {
    let mut bytes = [0; REPORT_BYTES];
    bytes[0..4].copy_from_slice(&kind.to_le_bytes());
    bytes[4..8].copy_from_slice(&a.to_le_bytes());
    bytes[8..12].copy_from_slice(&b.to_le_bytes());
    bytes[16..24].copy_from_slice(&c.to_le_bytes());
    bytes[24..32].copy_from_slice(&d.to_le_bytes());
    bytes
}

pub fn send_spawned(s: BorrowedFd<'_>, pid: i32, pidfd: BorrowedFd<'_>) -> io::Result<()> {
    socket::send(s, &report(SPAWNED, pid, 0, 0, 0), &[pidfd])
}

pub fn send_ready(
    s: BorrowedFd<'_>,
    root: BorrowedFd<'_>,
    laid: &[BorrowedFd<'_>],
    given: u64,
) -> io::Result<()> {
    socket::send(s, &report(READY, 0, 0, given, 0), &[laid, &[root]].concat())
}

pub fn send_doors(s: BorrowedFd<'_>, doors: &[BorrowedFd<'_>]) -> io::Result<()> {
    socket::send(s, &report(DOORS, 0, doors.len() as u32, 0, 0), doors)
}

pub fn send_setup_failed(s: BorrowedFd<'_>, failure: Failure) -> io::Result<()> {
    socket::send(s, &report(SETUP_FAILED, failure.errno, failure.stage as u32, 0, 0), &[])
}

pub fn send_not_started(s: BorrowedFd<'_>, failure: Failure) -> io::Result<()> {
    socket::send(s, &report(NOT_STARTED, failure.errno, failure.stage as u32, 0, 0), &[])
}

pub fn send_exited(
    s: BorrowedFd<'_>,
    status: i32,
    leftovers: u32,
    cpu_micros: u64,
    max_rss: u64,
    space: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let fds: Vec<_> = space.into_iter().collect();
    socket::send(s, &report(EXITED, status, leftovers, cpu_micros, max_rss), &fds)
}

pub fn send_warm(s: BorrowedFd<'_>) -> io::Result<()> {
    socket::send(s, &report(WARM, 0, 0, 0, 0), &[])
}

/// The end of a cell whose sandbox is for another.
pub fn send_ended(s: BorrowedFd<'_>, status: i32) -> io::Result<()> {
    let mut bytes = report(EXITED, status, 0, 0, 0);
    bytes[12] = 1;
    socket::send(s, &bytes, &[])
}

/// Receives one report; `None` when the other side is gone.
pub fn receive_report(s: BorrowedFd<'_>) -> io::Result<Option<Report>> {
    let mut bytes = [0; REPORT_BYTES];
    let mut received = match socket::receive(s, &mut bytes) {
        Ok(received) => received,
        // A supervisor killed with unread commands resets the connection.
        Err(error) if error.raw_os_error() == Some(libc::ECONNRESET) => return Ok(None),
        Err(error) => return Err(error),
    };
    if received.length == 0 {
        return Ok(None);
    }
    let bad = || io::Error::from_raw_os_error(libc::EBADMSG);
    if received.length != REPORT_BYTES {
        return Err(bad());
    }
    let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    let a = i32::from_le_bytes(word(4));
    let b = u32::from_le_bytes(word(8));
    let long = |at: usize| {
        u64::from(u32::from_le_bytes(word(at))) | u64::from(u32::from_le_bytes(word(at + 4))) << 32
    };
    let failure = || Stage::from_number(b).map(|stage| Failure { stage, errno: a }).ok_or_else(bad);
    Ok(Some(match u32::from_le_bytes(word(0)) {
        SPAWNED => Report::Spawned { pid: a, pidfd: received.fds.pop().ok_or_else(bad)? },
        READY => {
            let root = received.fds.pop().ok_or_else(bad)?;
            Report::Ready { root, laid: received.fds, given: long(16) }
        }
        DOORS if received.fds.len() == b as usize => Report::Doors(received.fds),
        WARM => Report::Warm,
        SETUP_FAILED => Report::SetupFailed(failure()?),
        NOT_STARTED => Report::NotStarted(failure()?),
        EXITED => {
            let space = received.fds.pop();
            Report::Exited {
                status: a,
                leftovers: b,
                cpu_micros: long(16),
                max_rss: long(24),
                space,
                stands: word(12) != [0; 4],
            }
        }
        _ => return Err(bad()),
    }))
}

/// Host → supervisor on S: deliver this signal to the main process's group, a negative one to all that are below it.
pub fn send_signal_command(s: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    socket::send(s, &signal.to_le_bytes(), &[])
}
