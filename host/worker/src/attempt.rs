//! What is asked of one attempt, and what comes back: plain data on both sides of `drive`.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use polyloom_model::{
    Call, CellId, Encoding, Limit, Limits, NetGrant, NetRule, Origin, Policy, PortName, Ports,
    SecretHandle, Type,
};
use polyloom_protocol::Outcome;
use polyloom_protocol::meta::{Diagnostic, ExecMeta};
use polyloom_sandbox::{Collector, HotFile, Refusal};

use crate::executor::Executor;
use crate::mask::Mask;
use crate::secrets::{Pin, Secrets};

/// One attempt of one phase of a step.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// The cell's id, for its environment and for messages.
    pub cell: CellId,
    /// Who runs it.
    pub executor: Arc<Executor>,
    /// What is to be done.
    pub phase: Phase,
    /// Name of the code file in `/cell/code`.
    pub code_name: String,
    /// The code.
    pub code: Arc<[u8]>,
    /// The function that is called, where the cell is a call of one.
    pub call: Option<Arc<Call>>,
    /// Where the code stands for its author; diagnostics are mapped to it.
    pub origin: Origin,
    /// The same for the code of the other cells of its session, whose functions it may call.
    pub beside: Origins,
    /// Inputs.
    pub inputs: Vec<InputFile>,
    /// Declared outputs.
    pub outputs: Ports<Type>,
    /// The cell's own environment.
    pub env: BTreeMap<String, String>,
    /// The cell's secrets: variables of its environment, hidden in all that comes back.
    pub secrets: Option<Arc<Secrets>>,
    /// The cell's arguments.
    pub argv: Vec<String>,
    /// Bytes given on stdin.
    pub stdin: Option<Vec<u8>>,
    /// Seed of random streams.
    pub seed: Option<i64>,
    /// Limits of this attempt.
    pub limits: Limits,
    /// How well it must be confined.
    pub policy: Policy,
    /// What it was granted beyond its inputs.
    pub granted: Granted,
    /// As many cells like it are coming, as far as that is known: workers may be started for them.
    pub coming: usize,
    /// Whether less runs than there are processors.
    pub spare: bool,
    /// What its worker said last time that it has loaded: a claim.
    pub learnt: Vec<String>,
    /// What follows it at once where all goes well, if that may have a program that was started ahead of it.
    pub then: Option<Arc<Attempt>>,
}

/// Where codes stand for their authors, by their names in `/cell/code`.
pub type Origins = Arc<BTreeMap<String, Origin>>;

/// What a cell was granted beyond its inputs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Granted {
    /// Hosts and ports.
    pub net: Vec<NetRule>,
    /// Hosts and ports that no name may lead to.
    pub denied: Vec<NetGrant>,
    /// Files and folders of the host.
    pub openings: Vec<Opening>,
    /// Variables of the host's environment.
    pub env: BTreeMap<String, String>,
    /// Where its secrets are had, by the names of their variables.
    pub secrets: BTreeMap<String, SecretHandle>,
    /// What those led to when they were granted.
    pub pins: BTreeMap<String, Vec<Pin>>,
    /// Whether programs are among the openings, so that they are on PATH.
    pub programs: bool,
    /// All of it for the record.
    pub texts: Vec<String>,
}

/// A file or folder of the host that comes into view of a cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// On the host; absolute and free of links.
    pub source: PathBuf,
    /// Where the cell finds it.
    pub target: PathBuf,
    /// Whether the cell may change it.
    pub writable: bool,
}

impl Attempt {
    /// What hides the cell's secrets, where it has any.
    #[must_use]
    pub fn mask(&self) -> Option<&Arc<Mask>> {
        self.secrets.as_ref().map(|secrets| secrets.mask())
    }
}

/// Compile a cell's code, or run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Run the manifest's argv for heads on a text that is the code of no cell; its product is a directory.
    Head,
    /// Run the manifest's compile argv; its product is one file or directory.
    Compile {
        /// A directory of the store: the compiled head of the code.
        head: Option<PathBuf>,
    },
    /// Run the cell, with the compiled program where the manifest compiles.
    Run {
        /// A file or directory of the store.
        program: Option<PathBuf>,
    },
}

impl Phase {
    /// Whether what runs is a compiler and not the cell.
    #[must_use]
    pub fn compiles(&self) -> bool {
        matches!(self, Self::Head | Self::Compile { .. })
    }
}

/// One input as it will lie in `/cell/in`.
#[derive(Debug, Clone)]
pub struct InputFile {
    /// The port.
    pub port: PortName,
    /// The type the cell sees.
    pub ty: Type,
    /// The content.
    pub content: Content,
    /// Extension of its file with the dot, `.csv`; empty when there is none.
    pub extension: String,
    /// Media type where one is known.
    pub media: Option<String>,
}

/// Content of an input.
#[derive(Debug, Clone)]
pub enum Content {
    /// Canonical MessagePack of a value.
    Value(Arc<[u8]>),
    /// A file of the store, bound read-only.
    File(PathBuf),
    /// What another cell wrote, mounted read-only from the memory it was written into.
    Hot(Arc<HotFile>),
    /// A directory of the store, bound read-only.
    Dir(PathBuf),
}

/// One collected output, not yet in the store.
#[derive(Debug)]
pub struct Output {
    /// Its type as declared.
    pub ty: Type,
    /// Its encoding.
    pub encoding: Encoding,
    /// Its content.
    pub content: Collected,
    /// Media type.
    pub media: String,
    /// Extension of the file as the cell named it, with the dot, or empty.
    pub extension: String,
}

/// The bytes of an output.
#[derive(Debug)]
pub enum Collected {
    /// In memory: values.
    Bytes(Vec<u8>),
    /// A regular file, open for reading at its start; the tree that wrote it is dead.
    File {
        /// The file.
        fd: OwnedFd,
        /// Its size in bytes.
        size: u64,
        /// The same file, to be given to other cells, where it is large and in memory.
        hot: Option<HotFile>,
    },
    /// A directory tree.
    Tree {
        /// Its files, by relative path.
        files: Vec<TreeFile>,
        /// Relative paths of the folders in it that have nothing.
        empty: Vec<String>,
    },
}

/// One file of a collected directory; opened only when it is read, since a directory may have more files than a process may
/// have open.
#[derive(Debug)]
pub struct TreeFile {
    /// Relative path with `/`.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it may be executed.
    pub executable: bool,
    lies: Lies,
}

/// Where a file of a collected directory is.
#[derive(Debug)]
enum Lies {
    /// Where its cell wrote it; the tree that did is dead.
    There(Arc<Collector>, String),
    /// In a copy, since the process that wrote it goes on.
    Copied(OwnedFd),
}

impl TreeFile {
    /// The file that `collector` finds under `at`; the tree that wrote it is dead.
    pub(crate) fn new(
        collector: &Arc<Collector>,
        at: String,
        path: String,
        size: u64,
        executable: bool,
    ) -> Self {
        Self { path, size, executable, lies: Lies::There(Arc::clone(collector), at) }
    }

    /// A copy that nobody changes.
    pub(crate) fn copied(copy: OwnedFd, path: String, size: u64, executable: bool) -> Self {
        Self { path, size, executable, lies: Lies::Copied(copy) }
    }

    /// Opens it for reading.
    pub fn open(&self) -> Result<OwnedFd, Refusal> {
        match &self.lies {
            Lies::There(collector, at) => collector.open_file(at),
            Lies::Copied(copy) => copy.try_clone().map_err(|_| Refusal::OutOfDescriptors),
        }
    }
}

/// What is seen while an attempt goes on. Nothing of it is believed.
#[derive(Debug, Clone, PartialEq)]
pub enum Live {
    /// A phase of it has begun.
    Phase(Phase),
    /// Bytes written to stdout or stderr, whole lines where possible.
    Text {
        /// Whether it is stderr.
        stderr: bool,
        /// The text, lossily decoded.
        text: String,
    },
    /// A log line.
    Log {
        /// Its level.
        level: polyloom_protocol::messages::worker::LogLevel,
        /// Its text.
        text: String,
    },
    /// Progress.
    Progress {
        /// 0 to 1.
        fraction: Option<f64>,
        /// Words.
        text: String,
    },
    /// Something to look at.
    Display {
        /// Media type.
        media: String,
        /// Bytes.
        data: Vec<u8>,
    },
    /// A message about the code, already mapped to its author's file.
    Diagnostic(Diagnostic),
    /// It comes to a limit.
    Limit {
        /// Which.
        limit: Limit,
        /// What is done about it.
        stage: Stage,
        /// How much there is by now, in the limit's unit.
        used: Option<u64>,
    },
}

/// What is done about a cell that comes to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A soft limit is passed: nothing yet.
    Warning,
    /// It is asked to end.
    Term,
    /// It is ended.
    Kill,
}

/// The end of an attempt.
#[derive(Debug)]
pub struct Report {
    /// The uniform result; its artifacts are filled in by whoever stores them.
    pub meta: ExecMeta,
    /// The collected outputs; empty unless the outcome is ok.
    pub outputs: BTreeMap<PortName, Output>,
    /// Results beyond the declared outputs, by the name the cell gave them.
    pub extra: BTreeMap<String, Output>,
    /// The compiled program of a compile phase.
    pub program: Option<Collected>,
    /// Which limit was hit and by how much, for people: `limit 64 MiB, peak 64 MiB`.
    pub explanation: Option<String>,
    /// Whether its worker came up.
    pub start: Start,
    /// Whether its sandbox ended without a word, and was lent by another process.
    pub vanished: bool,
}

/// Whether a worker came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// There was none, or it was ended before it could: by a person or by a limit of the cell's.
    #[default]
    None,
    /// It greeted, and was understood.
    Greeted,
    /// It ended, was silent too long or was refused before the greeting was over.
    Failed,
}

impl Report {
    /// The end of an attempt that was called off before it had begun.
    #[must_use]
    pub fn cancelled() -> Self {
        Self {
            meta: ExecMeta::new(Outcome::Cancelled),
            outputs: BTreeMap::new(),
            extra: BTreeMap::new(),
            program: None,
            explanation: None,
            start: Start::None,
            vanished: false,
        }
    }
}

/// What a person may ask of a running attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stop {
    /// Go on.
    #[default]
    No,
    /// Have the worker of a session end what it does, and go on with the session; KILL after the grace.
    Interrupt,
    /// End it gracefully: TERM, then KILL after the grace.
    Gracefully,
    /// End it at once.
    Now,
}
