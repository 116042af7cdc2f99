//! What was achieved, mechanism by mechanism, with the means and the reason. Does not know how it was achieved.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One independent wall or limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mechanism {
    /// Own user, process, mount, ipc, host-name and cgroup namespaces.
    Namespaces,
    /// Own root of read-only toolchains, private work directory, nothing else of the host.
    Files,
    /// Own empty network namespace.
    Network,
    /// The supervisor and the cell run under different users.
    TwoUsers,
    /// No capabilities, none to be gained.
    Privileges,
    /// Landlock as a second wall behind the mount namespace.
    Landlock,
    /// System call filter.
    Seccomp,
    /// Limit on memory of all processes together.
    Memory,
    /// Limit on the number of processes.
    Processes,
    /// Processor time counted over all processes together.
    CpuTime,
    /// Share of the processors.
    CpuShare,
    /// Bytes and files in the cell's own file system.
    Disk,
    /// Ending every process at once, verified.
    Kill,
}

impl Mechanism {
    /// Every mechanism, in the order in which they are shown.
    pub const ALL: [Self; 13] = [
        Self::Namespaces,
        Self::Files,
        Self::Network,
        Self::TwoUsers,
        Self::Privileges,
        Self::Landlock,
        Self::Seccomp,
        Self::Memory,
        Self::Processes,
        Self::CpuTime,
        Self::CpuShare,
        Self::Disk,
        Self::Kill,
    ];

    /// The name that is shown and stored.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Files => "files",
            Self::Network => "network",
            Self::TwoUsers => "two_users",
            Self::Privileges => "privileges",
            Self::Landlock => "landlock",
            Self::Seccomp => "seccomp",
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::CpuTime => "cpu_time",
            Self::CpuShare => "cpu_share",
            Self::Disk => "disk",
            Self::Kill => "kill",
        }
    }
}

impl std::fmt::Display for Mechanism {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// How far a mechanism holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Not enforced.
    None,
    /// Enforced by weaker means; the reason says what they miss.
    Partial,
    /// Enforced as promised in `THREATS.md`.
    Full,
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::None => "none",
            Self::Partial => "partial",
            Self::Full => "full",
        })
    }
}

/// What became of one mechanism.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// How far it holds.
    pub level: Level,
    /// What it is held by, e.g. `cgroup v1 memory`; empty at [`Level::None`].
    pub used: String,
    /// Why it is not full, or empty.
    pub reason: String,
}

impl Status {
    pub(crate) fn full(used: impl Into<String>) -> Self {
        Self { level: Level::Full, used: used.into(), reason: String::new() }
    }

    pub(crate) fn partial(used: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { level: Level::Partial, used: used.into(), reason: reason.into() }
    }

    pub(crate) fn none(reason: impl Into<String>) -> Self {
        Self { level: Level::None, used: String::new(), reason: reason.into() }
    }
}

/// What was achieved for one sandbox (or could be on this machine, from [`crate::probe()`]).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Enforcement {
    /// One status per mechanism.
    pub mechanisms: BTreeMap<Mechanism, Status>,
}

impl Enforcement {
    /// The level of one mechanism; unknown is not enforced.
    pub fn level(&self, mechanism: Mechanism) -> Level {
        self.mechanisms.get(&mechanism).map_or(Level::None, |status| status.level)
    }

    /// The weakest level over all mechanisms that keep a cell away from the host, and the memory and process limits:
    /// the one word shown where there is room for one word. Share of the processors, Landlock and the second user do not count.
    pub fn overall(&self) -> Level {
        Mechanism::ALL
            .into_iter()
            .filter(|mechanism| {
                !matches!(
                    mechanism,
                    Mechanism::CpuShare | Mechanism::Landlock | Mechanism::TwoUsers
                )
            })
            .map(|mechanism| self.level(mechanism))
            .min()
            .unwrap_or(Level::None)
    }

    pub(crate) fn set(&mut self, mechanism: Mechanism, status: Status) {
        self.mechanisms.insert(mechanism, status);
    }
}
