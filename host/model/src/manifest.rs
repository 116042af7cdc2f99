//! What `executor.toml` says: a language as data. Nothing of a plugin is run to learn it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{ExecutorId, Limits};

/// What lies in the folder of a manifest and is none of its content: what tools leave, wherever it is; and, with a `/`, what is about the
/// executor and not of it, directly in that folder. It is not copied, in no digest and in no key, and a manifest can't name it.
pub const LEFT_OUT: [&str; 18] = [
    ".git",
    "__pycache__",
    ".polyloom",
    "/.gitattributes",
    "/.github",
    "/.gitignore",
    "/.gitlab-ci.yml",
    "/CHANGELOG",
    "/CHANGELOG.md",
    "/README",
    "/README.md",
    "/doc",
    "/docs",
    "/examples",
    "/test",
    "/tests",
    "/try",
    CASES,
];

/// How cells are written in the language, for those who test the executor. It is copied, so that a copy can be tested.
const CASES: &str = "/conformance.toml";

/// Whether a list such as [`LEFT_OUT`] has a name that is below `folder`, empty for the manifest's own.
#[must_use]
pub fn is_left_out(list: &[&str], folder: &str, name: &str) -> bool {
    let here = |one: &&str| folder.is_empty() && one.strip_prefix('/') == Some(name);
    list.iter().any(|one| *one == name || here(one))
}

/// The same of what is not copied.
#[must_use]
pub fn is_not_copied(list: &[&str], folder: &str, name: &str) -> bool {
    is_left_out(list, folder, name) && CASES.strip_prefix('/') != Some(name)
}

/// An executor's manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// Its id.
    pub id: ExecutorId,
    /// The version of the executor (not of the language).
    pub version: String,
    /// For people.
    pub title: String,
    /// Other names of it in `lang =`.
    pub aliases: Vec<ExecutorId>,
    /// File extensions, without the dot; the first is that of a cell's inline code.
    pub extensions: Vec<String>,
    /// How it runs.
    pub kind: Kind,
    /// Programs it needs, by the name used in argv.
    pub tools: BTreeMap<String, Tool>,
    /// Limits that differ from the general defaults.
    pub limits: Limits,
    /// Fixed environment of its cells.
    pub env: BTreeMap<String, String>,
    /// Which system calls its programs are left.
    pub calls: Calls,
    /// An argv that gives codes a normal form, so that comments do not change a key; see the README of executors.
    pub normalise: Option<Vec<String>>,
    /// An argv that reads what typed functions there are, so that cells can be calls of them.
    pub catalog: Option<Vec<String>>,
    /// Extensions of the files that it reads.
    pub readable: Vec<String>,
    /// How its compiler's or interpreter's messages are read.
    pub diagnostics: Option<DiagnosticsSpec>,
    /// Where the manifest was found; a bundled one has none.
    pub path: Option<PathBuf>,
}

impl Manifest {
    /// Whether an argument of its command lines holds this placeholder.
    #[must_use]
    pub fn mentions(&self, placeholder: &str) -> bool {
        let holds = |argv: &[String]| argv.iter().any(|item| item.contains(placeholder));
        if self.catalog.as_deref().is_some_and(holds) {
            return true;
        }
        match &self.kind {
            Kind::Command(command) => {
                let head = command.head.as_ref();
                command.compile.as_deref().is_some_and(holds)
                    || command.once.as_deref().is_some_and(holds)
                    || head.is_some_and(|head| holds(&head.argv) || holds(&head.flags))
                    || holds(&command.run)
                    || command.ahead.as_deref().is_some_and(holds)
                    || command.instances.as_ref().is_some_and(|it| holds(&it.argv))
            }
            Kind::Worker(worker) => {
                holds(&worker.argv) || worker.once.as_deref().is_some_and(holds)
            }
        }
    }
}

impl Manifest {
    /// Whether cells can be calls of typed functions: it has a reader of them, or a worker that says what there are.
    #[must_use]
    pub fn has_functions(&self) -> bool {
        use polyloom_protocol::handshake::feature::{CALL, CATALOG};
        let offers = |worker: &WorkerSpec, feature| worker.features.iter().any(|it| it == feature);
        self.catalog.is_some()
            || matches!(&self.kind, Kind::Worker(worker) if offers(worker, CALL) && offers(worker, CATALOG))
    }

    /// Whether cells can share a process of its, one after the other.
    #[must_use]
    pub fn holds_sessions(&self) -> bool {
        let session = |feature: &String| feature == polyloom_protocol::handshake::feature::SESSION;
        matches!(&self.kind, Kind::Worker(worker) if worker.features.iter().any(session))
    }
}

impl CommandSpec {
    /// Whether what is compiled is the cell's code, and not the executor itself.
    #[must_use]
    pub fn compiles_code(&self) -> bool {
        self.compile.iter().flatten().any(|item| item.contains("{code}"))
    }
}

/// The class of an executor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "there is one for each executor")]
pub enum Kind {
    /// Programs started by the host, results in files.
    Command(CommandSpec),
    /// A process that speaks the protocol.
    Worker(WorkerSpec),
}

impl Kind {
    /// The word of the manifest.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Command(CommandSpec { component: Some(_), .. }) => "wasm",
            Self::Command(_) => "command",
            Self::Worker(WorkerSpec { library: Some(_), .. }) => "native",
            Self::Worker(WorkerSpec { kernel: Some(_), .. }) => "jupyter",
            Self::Worker(_) => "worker",
        }
    }

    /// The language of a Jupyter kernel, where it is one.
    #[must_use]
    pub fn kernel(&self) -> Option<&str> {
        match self {
            Self::Command(_) => None,
            Self::Worker(worker) => worker.kernel.as_deref(),
        }
    }

    /// The argv of what may be started before there is a cell for it, if there is such a thing.
    #[must_use]
    pub fn ahead(&self) -> Option<&[String]> {
        match self {
            Self::Command(command) => command.ahead.as_deref(),
            Self::Worker(worker) => worker.ahead.then_some(worker.argv.as_slice()),
        }
    }

    /// The argv that makes, once for a toolchain, what all its programs have in view, if there is one.
    #[must_use]
    pub fn once(&self) -> Option<&[String]> {
        match self {
            Self::Command(command) => command.once.as_deref(),
            Self::Worker(worker) => worker.once.as_deref(),
        }
    }

    /// How it can be a zygote, if it can.
    #[must_use]
    pub fn zygote(&self) -> Option<&ZygoteSpec> {
        match self {
            Self::Command(command) => command.zygote.as_ref(),
            Self::Worker(worker) => worker.zygote.as_ref(),
        }
    }

    /// The worker that can run its cells' programs one after the other, if it has one.
    #[must_use]
    pub fn instances(&self) -> Option<&WorkerSpec> {
        match self {
            Self::Command(command) => command.instances.as_ref(),
            Self::Worker(_) => None,
        }
    }

    /// The argv that runs a cell.
    #[must_use]
    pub fn run(&self) -> &[String] {
        match self {
            Self::Command(command) => &command.run,
            Self::Worker(worker) => &worker.argv,
        }
    }

    /// Whether its cells find what a plain program finds: inputs as text in files, and variables of their names.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        matches!(self, Self::Command(_)) || self.kernel().is_some()
    }
}

/// Which system calls the programs of an executor are left: `seccomp` in `[sandbox]`. It can only take away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Calls {
    /// Those of ordinary programs.
    #[default]
    Ordinary,
    /// Only those that polyloom's own runner of WebAssembly needs.
    Runner,
}

/// `kind = "command"`, and `kind = "wasm"`: polyloom's own runner, which runs a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandSpec {
    /// An argv that turns `{code}` into `{program}`; run in a sandbox of its own and cached.
    pub compile: Option<Vec<String>>,
    /// What codes begin with and is compiled once for all of them.
    pub head: Option<HeadSpec>,
    /// The argv that makes, once for a toolchain and of no cell's code, what its compilers and programs have in view: an archive of the compiler's classes.
    pub once: Option<Vec<String>>,
    /// The argv that runs the cell.
    pub run: Vec<String>,
    /// The argv of what does the same and may be started before there is a cell for it, which it is told then.
    pub ahead: Option<Vec<String>>,
    /// That it can be a zygote, which makes each cell by forking itself.
    pub zygote: Option<ZygoteSpec>,
    /// That a worker can do what `run` does, for one cell after the other.
    pub instances: Option<WorkerSpec>,
    /// Of kind `wasm`: the component, a path below the manifest's folder.
    pub component: Option<String>,
}

/// `[compile.head]`: lines that codes begin with, compiled ahead of them. It makes compiling faster and changes nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadSpec {
    /// A pattern: a line that belongs to it, whose group `name` is one of `names`.
    pub line: String,
    /// A pattern: a line that may stand among them and means nothing.
    pub skip: String,
    /// What the group `name` may be.
    pub names: BTreeSet<String>,
    /// What stands in the head for a line; `{name}` is the group.
    pub text: String,
    /// Programs of the toolchain, one of which has to be there; if none is named, any can do it.
    pub with: Vec<String>,
    /// An argv that compiles the text `{head}` into files in `{out}`.
    pub argv: Vec<String>,
    /// What `{head.flags}` of the compile argv stands for where there is a compiled head.
    pub flags: Vec<String>,
}

/// `kind = "worker"`; `kind = "native"`: polyloom's own worker, which loads a library; a Jupyter kernel: the same, which runs one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerSpec {
    /// The argv that starts the worker.
    pub argv: Vec<String>,
    /// Protocol majors it speaks.
    pub protocol: Vec<u16>,
    /// Features it may use; the handshake can only shrink them.
    pub features: Vec<String>,
    /// That it can be a zygote, which makes each cell by forking itself.
    pub zygote: Option<ZygoteSpec>,
    /// That it may be started before there is a cell for it: what is the cell's own it takes from the `Exec`.
    pub ahead: bool,
    /// The argv that makes, once for a toolchain and of no cell's code, what its workers have in view: its bytecode.
    pub once: Option<Vec<String>>,
    /// Of kind `native`: the shared library, a path below the manifest's folder.
    pub library: Option<String>,
    /// Of a Jupyter kernel, which no `executor.toml` is: its language as its kernelspec says it.
    pub kernel: Option<String>,
}

/// A program that can make each cell by forking itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZygoteSpec {
    /// What of a cell's first lines names a library that may be loaded before the fork: the groups of a line, joined by dots. It ends at the first line
    /// that does not match.
    pub preload: Option<String>,
    /// What a worker says that a cell has loaded may be loaded before the fork of that cell's next attempt, where this finds its name.
    pub learn: Option<String>,
}

/// A program an executor needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Where it is looked for before all else, absolute; only kernels have such places.
    pub at: Vec<PathBuf>,
    /// Candidate program names, best first.
    pub any: Vec<String>,
    /// An environment variable that names a prefix whose `bin` is searched first.
    pub env: Option<String>,
    /// Arguments that make it print its identity; part of the key.
    pub version: Vec<String>,
    /// Arguments that differ by candidate (`{tool.flags}`).
    pub flags: BTreeMap<String, Vec<String>>,
    /// How to get it, for the message when it is missing.
    pub install: Option<String>,
}

/// `[diagnostics]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiagnosticsSpec {
    /// The format.
    pub format: DiagnosticsFormat,
    /// Read stdout instead of stderr.
    pub stdout: bool,
}

/// A longer pattern of a manifest is refused.
pub const MAX_PATTERN: usize = 4 << 10;
/// So is one that is larger when compiled (bytes): the time of a search grows with it, for each character.
pub const MAX_PATTERN_PROGRAM: usize = 32 << 10;
/// So is one with more groups: their places are copied with every step.
pub const MAX_PATTERN_GROUPS: usize = 16;

/// How messages are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiagnosticsFormat {
    /// GCC's JSON, with its and clang's text form as the fallback.
    Gcc,
    /// Named groups file, line (or line2), col, severity, code, message.
    Regex(String),
}
