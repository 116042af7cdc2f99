//! What is asked of one attempt, and what comes back: plain data on both sides of `drive`.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use polyloom_model::{CellId, Encoding, Limits, Origin, PortName, Type};
use polyloom_protocol::meta::{Diagnostic, ExecMeta};

use crate::executor::Executor;

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
    /// Where the code stands for its author; diagnostics are mapped to it.
    pub origin: Origin,
    /// Inputs.
    pub inputs: Vec<InputFile>,
    /// Declared outputs.
    pub outputs: BTreeMap<PortName, Type>,
    /// The cell's own environment.
    pub env: BTreeMap<String, String>,
    /// The cell's arguments.
    pub argv: Vec<String>,
    /// Bytes given on stdin.
    pub stdin: Option<Vec<u8>>,
    /// Seed of random streams.
    pub seed: Option<i64>,
    /// Limits of this attempt.
    pub limits: Limits,
}

/// Compile a cell's code, or run it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Run the manifest's compile argv; its product is one file or directory.
    Compile,
    /// Run the cell, with the compiled program where the manifest compiles.
    Run {
        /// A file or directory of the store.
        program: Option<PathBuf>,
    },
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
    },
    /// A directory tree: files by relative path.
    Tree(Vec<TreeFile>),
}

/// One file of a collected directory.
#[derive(Debug)]
pub struct TreeFile {
    /// Relative path with `/`.
    pub path: String,
    /// The file, open for reading.
    pub fd: OwnedFd,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it may be executed.
    pub executable: bool,
}

/// What is seen while an attempt goes on. Nothing of it is believed.
#[derive(Debug, Clone, PartialEq)]
pub enum Live {
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
}

/// What a person may ask of a running attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stop {
    /// Go on.
    #[default]
    No,
    /// End it gracefully: TERM, then KILL after the grace.
    Gracefully,
    /// End it at once.
    Now,
}
