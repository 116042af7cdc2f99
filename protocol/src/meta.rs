//! What is known about one attempt after it ended: plain data. It does not know how it was found out.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Value;
use crate::achieved::Achieved;
use crate::messages::text_enum;

/// How an attempt ended, or why there was none. Decided by the host from its own evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It ended well and every declared output is there.
    Ok,
    /// It was not run: the store held the result.
    Cached,
    /// It was not run: not selected, switched off, or something it needs failed.
    Skipped,
    /// The cell's own code failed.
    Failed,
    /// It ran longer than its time limit.
    TimedOut,
    /// It used more memory than its limit.
    OutOfMemory,
    /// It used more processor time than its limit.
    CpuExceeded,
    /// It printed more than its limit.
    OutputExceeded,
    /// It wrote more than its disk limit.
    DiskExceeded,
    /// It started more processes than its limit.
    PidsExceeded,
    /// It opened as many files as its limit, and failed.
    FilesExceeded,
    /// It left more results, or larger ones, than its limit.
    ArtifactsExceeded,
    /// It died of a signal that the host did not send for any reason listed here.
    Killed,
    /// It ended well but a declared output is not there.
    OutputMissing,
    /// It needs a permission that was not granted.
    Denied,
    /// The worker broke the protocol or died outside the cell's code.
    WorkerError,
    /// The user or the host stopped it.
    Cancelled,
}

impl Outcome {
    /// The name on the wire and in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Cached => "cached",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::OutOfMemory => "out_of_memory",
            Self::CpuExceeded => "cpu_exceeded",
            Self::OutputExceeded => "output_exceeded",
            Self::DiskExceeded => "disk_exceeded",
            Self::PidsExceeded => "pids_exceeded",
            Self::FilesExceeded => "files_exceeded",
            Self::ArtifactsExceeded => "artifacts_exceeded",
            Self::Killed => "killed",
            Self::OutputMissing => "output_missing",
            Self::Denied => "denied",
            Self::WorkerError => "worker_error",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the step's outputs are there: `ok` and `cached`.
    #[must_use]
    pub fn has_outputs(self) -> bool {
        matches!(self, Self::Ok | Self::Cached)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

text_enum! {
    /// How bad a diagnostic is.
    pub enum Severity {
        /// The code cannot run, or stopped.
        Error = "error",
        /// Probably wrong.
        Warning = "warning",
        /// Worth knowing.
        Info = "info",
        /// A suggestion.
        Hint = "hint",
    }
}

/// A message about a place in a cell's code. Shown, never believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The message, without place and severity.
    pub message: String,
    /// The compiler's or runtime's own code for it, such as `E0308`.
    #[serde(default)]
    pub code: Option<String>,
    /// The file, as the executor names it.
    #[serde(default)]
    pub file: Option<String>,
    /// First line, from 1.
    #[serde(default)]
    pub line: Option<u32>,
    /// First column, from 1, in characters.
    #[serde(default)]
    pub col: Option<u32>,
    /// Last line, from 1.
    #[serde(default)]
    pub end_line: Option<u32>,
    /// Column behind the last character, from 1.
    #[serde(default)]
    pub end_col: Option<u32>,
}

impl Diagnostic {
    /// A diagnostic that names no place yet.
    #[must_use]
    pub fn new(severity: Severity, message: impl Into<String>) -> Self {
        Self {
            severity,
            message: message.into(),
            code: None,
            file: None,
            line: None,
            col: None,
            end_line: None,
            end_col: None,
        }
    }
}

/// One stored result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ArtifactMeta {
    /// Digest of its bytes, with the function's name where the store writes one.
    pub digest: String,
    /// Port type, as the flow spells it.
    #[serde(rename = "type")]
    pub r#type: String,
    /// Size in bytes.
    pub size: u64,
    /// Media type.
    #[serde(default)]
    pub media_type: Option<String>,
    /// Where the cell left it, relative to its output folder.
    #[serde(default)]
    pub path: Option<String>,
}

/// What is kept of one output stream.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Tail {
    /// The last part of the stream, with what is not UTF-8 replaced.
    pub text: String,
    /// Bytes that came in all.
    #[serde(default)]
    pub bytes: u64,
    /// Bytes that came and are not in `text`.
    #[serde(default)]
    pub truncated: u64,
}

/// How far a mechanism of the sandbox took hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Not at all.
    None,
    /// In part; the detail says what is missing.
    Partial,
    /// As the policy asks.
    Full,
}

/// The sandbox's mechanisms by the names that results, policies and `enforce` in flows use.
pub const MECHANISMS: [&str; 13] = [
    "namespaces",
    "files",
    "network",
    "two_users",
    "privileges",
    "landlock",
    "seccomp",
    "memory",
    "processes",
    "cpu_time",
    "cpu_share",
    "disk",
    "kill",
];

/// A text that is no level.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a level; valid: `full`, `partial`, `none`")]
pub struct LevelError(pub String);

impl std::str::FromStr for Level {
    type Err = LevelError;
    fn from_str(text: &str) -> Result<Self, LevelError> {
        let known = [Self::None, Self::Partial, Self::Full];
        known
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| LevelError(text.chars().take(40).flat_map(char::escape_debug).collect()))
    }
}

impl Level {
    /// The name on the wire and in events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Partial => "partial",
            Self::Full => "full",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// What one mechanism of the sandbox achieved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Enforcement {
    /// Its name, such as `landlock`.
    pub mechanism: String,
    /// How far it took hold.
    pub level: Level,
    /// Why not fully, or how.
    #[serde(default)]
    pub detail: String,
}

/// How well an attempt had to be confined, and what it was granted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyMeta {
    /// The preset's name: `strict`, `default` or `trusted`.
    pub preset: String,
    /// Levels required beyond the preset's, by mechanism.
    #[serde(default)]
    pub enforce: BTreeMap<String, Level>,
    /// What was granted, each as `net example.com:443`.
    #[serde(default)]
    pub granted: Vec<String>,
}

/// A limit that ended an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LimitMeta {
    /// Its key, such as `memory`.
    pub name: String,
    /// How much there may be: milliseconds, bytes, or a number.
    pub limit: u64,
    /// The most there was, in the same unit, when it could be measured.
    #[serde(default)]
    pub peak: Option<u64>,
}

/// Where the time of an attempt went, in milliseconds: parts that follow each other without a gap, in this order. Facts of the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Times {
    /// When the first part began, since the start of the run, as the events' `at_ms`. Less than 0 of an attempt that was begun in the run before.
    #[serde(default)]
    pub start_ms: f64,
    /// Waiting for another run that makes the same.
    #[serde(default)]
    pub wait_ms: f64,
    /// Compiling its code, or the program that runs it; 0 where that was there.
    #[serde(default)]
    pub compile_ms: f64,
    /// Getting ready what it is given: inputs, secrets, arguments; and a process that cells of its kind are forks of from it on.
    #[serde(default)]
    pub prepare_ms: f64,
    /// Making its sandbox and starting its first process, or taking one that waited.
    #[serde(default)]
    pub spawn_ms: f64,
    /// From there to the greeting of its worker: the start of an interpreter, its imports. 0 of a plain program, and of a worker that waited.
    #[serde(default)]
    pub hello_ms: f64,
    /// From there to the end of its process. With `spawn_ms` and `hello_ms` it is the result's `wall_ms`.
    #[serde(default)]
    pub run_ms: f64,
    /// Reading what it printed last, taking down its sandbox, finding its outputs.
    #[serde(default)]
    pub collect_ms: f64,
    /// Putting its outputs into the store: hashing, copying.
    #[serde(default)]
    pub store_ms: f64,
    /// Until its end was told: outputs on their way to the disk, the commit, the turn of the run's loop.
    #[serde(default)]
    pub commit_ms: f64,
}

impl Times {
    /// The parts by name, in the order in which they follow each other.
    #[must_use]
    pub fn parts(&self) -> [(&'static str, f64); 9] {
        [
            ("wait", self.wait_ms),
            ("compile", self.compile_ms),
            ("prepare", self.prepare_ms),
            ("spawn", self.spawn_ms),
            ("hello", self.hello_ms),
            ("run", self.run_ms),
            ("collect", self.collect_ms),
            ("store", self.store_ms),
            ("commit", self.commit_ms),
        ]
    }

    /// When the last part ended, on the clock of `start_ms`.
    #[must_use]
    pub fn end_ms(&self) -> f64 {
        self.parts().iter().fold(self.start_ms, |end, (_, ms)| end + ms)
    }

    /// Lets the last part go on until `at_ms`, on the clock of `start_ms`.
    pub fn told(&mut self, at_ms: f64) {
        self.commit_ms = (self.commit_ms + at_ms - self.end_ms()).max(0.0);
    }
}

/// The uniform result of an attempt, whatever the language.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExecMeta {
    /// How it ended.
    pub outcome: Outcome,
    /// The process's exit code, when it exited.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    #[serde(default)]
    pub signal: Option<i32>,
    /// Time on the wall in milliseconds.
    #[serde(default)]
    pub wall_ms: f64,
    /// Processor time of all its processes in milliseconds.
    #[serde(default)]
    pub cpu_ms: f64,
    /// Most memory of all its processes together in bytes, when it could be measured.
    #[serde(default)]
    pub peak_memory: Option<u64>,
    /// What it printed.
    #[serde(default)]
    pub stdout: Tail,
    /// What it printed as errors.
    #[serde(default)]
    pub stderr: Tail,
    /// Results by port, and extra ones by name.
    #[serde(default)]
    pub artifacts: BTreeMap<String, ArtifactMeta>,
    /// Messages about the code.
    #[serde(default)]
    pub diagnostics: Vec<Diagnostic>,
    /// Whether the executor says that session state changed. A claim.
    #[serde(default)]
    pub session_changed: bool,
    /// The executor's own results. Claims.
    #[serde(default)]
    pub extras: BTreeMap<String, Value>,
    /// What the sandbox achieved, mechanism by mechanism.
    #[serde(default)]
    pub enforcement: Achieved,
    /// What was asked of the sandbox, and what was granted.
    #[serde(default)]
    pub policy: Option<PolicyMeta>,
    /// The limit that ended it.
    #[serde(default)]
    pub limit: Option<LimitMeta>,
    /// Where its time went, if it was made in this run.
    #[serde(default)]
    pub times: Option<Times>,
}

impl ExecMeta {
    /// A result that knows only how it ended.
    #[must_use]
    pub fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            exit_code: None,
            signal: None,
            wall_ms: 0.0,
            cpu_ms: 0.0,
            peak_memory: None,
            stdout: Tail::default(),
            stderr: Tail::default(),
            artifacts: BTreeMap::new(),
            diagnostics: Vec::new(),
            session_changed: false,
            extras: BTreeMap::new(),
            enforcement: Achieved::default(),
            policy: None,
            limit: None,
            times: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_before_there_were_times_is_read() {
        let meta = ExecMeta { wall_ms: 2.5, ..ExecMeta::new(Outcome::Ok) };
        let mut bytes = rmp_serde::to_vec(&meta).unwrap();
        // An array of sixteen: the last one is null and goes.
        assert_eq!((&bytes[..3], bytes.last()), (&[0xdc, 0, 16][..], Some(&0xc0)));
        bytes[2] -= 1;
        bytes.pop();
        assert_eq!(rmp_serde::from_slice::<ExecMeta>(&bytes).unwrap(), meta);
    }

    #[test]
    fn the_last_part_goes_on_until_the_end_is_told() {
        let mut times = Times { start_ms: 10.0, run_ms: 5.0, store_ms: 1.0, ..Times::default() };
        times.told(20.0);
        assert_eq!((times.commit_ms, times.end_ms()), (4.0, 20.0));
        times.told(21.0);
        assert_eq!(times.end_ms(), 21.0);
        // A clock that is behind takes nothing away from the others.
        times.told(3.0);
        assert_eq!((times.commit_ms, times.end_ms()), (0.0, 16.0));
    }
}
