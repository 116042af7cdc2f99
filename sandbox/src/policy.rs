//! What is wanted of a sandbox, as plain data. Does not know what this machine can do: that is [`crate::Enforcement`].

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    enforcement::{Level, Mechanism},
    spec::SpecError,
};

/// What a cell may use and how well it must be confined.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Amounts the cell may use.
    pub limits: Limits,
    /// What the cell may reach over the network.
    pub network: Network,
    /// Which system calls are refused.
    pub seccomp: Seccomp,
    /// The least level of each mechanism below which nothing is started. Mechanisms that are not named may be at any level,
    /// which is then only reported.
    pub require: BTreeMap<Mechanism, Level>,
}

impl Policy {
    /// The policy for code that is not trusted: everything that keeps a cell from the host is required whole;
    /// memory and process limits may be held by the weaker means, since the host ends a cell that exceeds them.
    pub fn untrusted(limits: Limits) -> Self {
        let require = BTreeMap::from([
            (Mechanism::Namespaces, Level::Full),
            (Mechanism::Files, Level::Full),
            (Mechanism::Network, Level::Full),
            (Mechanism::Privileges, Level::Full),
            (Mechanism::Seccomp, Level::Full),
            (Mechanism::Memory, Level::Partial),
            (Mechanism::Processes, Level::Partial),
            (Mechanism::Kill, Level::Partial),
        ]);
        Self { limits, network: Network::None, seccomp: Seccomp::Default, require }
    }
}

impl Policy {
    /// The same for code that is to share nothing at all: every limit is held by the kernel, and what could carry messages between cells
    /// and can be refused is.
    pub fn strict(limits: Limits) -> Self {
        let mut policy = Self::untrusted(limits);
        let whole = Mechanism::ALL.into_iter().filter(|mechanism| {
            // A share is for who asks for one, and an ordinary user has no second user to give.
            !matches!(mechanism, Mechanism::CpuShare | Mechanism::TwoUsers)
        });
        policy.require = whole.map(|mechanism| (mechanism, Level::Full)).collect();
        policy.seccomp = Seccomp::Strict;
        policy
    }

    /// The policy for one's own code: whatever this machine has takes hold, and nothing is required.
    pub fn trusted(limits: Limits) -> Self {
        Self { require: BTreeMap::new(), ..Self::untrusted(limits) }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::untrusted(Limits::default())
    }
}

/// Amounts. Wall time and bytes of output are the caller's to watch: it holds the clock and the pipes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Physical memory of all the cell's processes together, in bytes, its temporary files included.
    pub memory: u64,
    /// Processes and threads that may exist at the same time.
    pub pids: u32,
    /// Processor time of all processes together. Reported by [`crate::Sandbox::usage`] and enforced by the caller; a limit
    /// per process is set as a backstop.
    pub cpu_time: Option<Duration>,
    /// How many processors' worth of time per wall second; none is no bound.
    pub cpus: Option<f64>,
    /// Open files per process.
    pub files: u64,
    /// Bytes the cell may add to its own file system; files given to it do not count.
    pub disk: u64,
    /// Files and directories the cell may add.
    pub inodes: u64,
    /// Stack of the main thread, in bytes.
    pub stack: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 512 << 20,
            pids: 128,
            cpu_time: None,
            cpus: None,
            files: 1024,
            disk: 256 << 20,
            inodes: 65_536,
            stack: 64 << 20,
        }
    }
}

/// What a cell may reach over the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Network {
    /// Nothing: an empty network namespace, and no internet sockets at all.
    None,
    /// A network namespace of its own in which every address leads to the host, at these ports (see [`crate::Doors`]). Nothing in it leads
    /// anywhere else: what the cell reaches through a door is the caller's to decide and to carry.
    Doors(Vec<u16>),
}

impl Network {
    /// The ports of its doors, checked.
    pub(crate) fn ports(&self) -> Result<&[u16], SpecError> {
        match self {
            Self::None => Ok(&[]),
            Self::Doors(ports) => {
                let different: BTreeSet<u16> = ports.iter().copied().collect();
                let fit = ports.len() <= MOST_DOORS && different.len() == ports.len();
                if fit && !different.contains(&0) {
                    Ok(ports)
                } else {
                    Err(SpecError::BadDoors(ports.len()))
                }
            }
        }
    }
}

/// More doors than this are refused: each is a socket of the host's.
pub const MOST_DOORS: usize = 16;

/// Which system calls are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Seccomp {
    /// A deny-list that lets ordinary compilers and interpreters run unchanged.
    Default,
    /// The same, and what could carry messages between cells: locks on files that all see, sockets with names.
    Strict,
    /// An allow-list of what our own runner of WebAssembly needs: files, memory, threads and clocks; no processes, no sockets.
    Runner,
}
