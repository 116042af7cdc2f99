//! The one public event stream. Everything a face shows, a file keeps or a replay repeats is here as plain data.
//!
//! Knows no terminal, no file, no channel. Private causes of the runtime's loop are not events.

use polyloom_protocol::meta::{ArtifactMeta, Diagnostic, ExecMeta, Outcome};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of this stream's schema; raised when a reader of the old one would go wrong.
pub const SCHEMA: &str = "polyloom.events/1";

/// What a warning begins with after which not all results of the run are in the store.
pub const RESULTS_LOST: &str = "results could not be recorded";

/// The id of a run that leaves nothing in the history.
pub const UNRECORDED: &str = "unrecorded";

/// One event with its place in the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// Counts from 1 without gaps; a reader that reconnects continues from the last it saw. In the record of a run it counts the run's events, in a stream
    /// that has several runs (`run --watch`) those of the stream.
    pub seq: u64,
    /// Milliseconds since the run started, or since the change that began it; of what is said between runs, since the change that it is said of. In a stream
    /// that has several runs it begins anew with each.
    pub at_ms: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event")]
#[non_exhaustive]
pub enum Event {
    /// The first event of every run.
    #[serde(rename = "run.started")]
    RunStarted {
        /// The schema of the stream.
        schema: String,
        /// The run's id; `unrecorded` where it leaves nothing in the history.
        run: String,
        /// The flow's name.
        flow: String,
        /// The flow file.
        path: String,
        /// Start, milliseconds since 1970 (UTC).
        started_unix_ms: u64,
        /// Steps of the plan, as far as they are known: one for each selected cell, but where `written` says otherwise.
        cells: u64,
        /// How many cells of the flow as it is written these steps are of, where maps and flows in the flow make several of one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        written: Option<u64>,
        /// Cells that run at once.
        jobs: u32,
        /// The version of the host.
        version: String,
        /// Files whose change made it begin, where it watches them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        changed: Vec<String>,
    },
    /// What the plan says of a cell. One for each selected cell, in the plan's order.
    #[serde(rename = "step.planned")]
    StepPlanned {
        /// The cell.
        cell: String,
        /// Its executor.
        lang: String,
        /// What will be done.
        action: Action,
        /// Why, in words.
        reason: String,
    },
    /// An attempt has begun.
    #[serde(rename = "step.started")]
    StepStarted {
        /// The cell.
        cell: String,
        /// From 1.
        attempt: u32,
        /// `compile` or `run`.
        phase: Phase,
    },
    /// An attempt has failed, and there will be another.
    #[serde(rename = "step.retried")]
    StepRetried {
        /// The cell.
        cell: String,
        /// The attempt that failed, from 1.
        attempt: u32,
        /// How long the next one waits, in milliseconds.
        delay_ms: u64,
        /// Its result.
        meta: Box<ExecMeta>,
    },
    /// Something written or logged.
    #[serde(rename = "log")]
    Log {
        /// The cell.
        cell: String,
        /// Where it was written.
        stream: Stream,
        /// Text, as it came; control characters are not escaped here but by whoever shows it.
        text: String,
    },
    /// How far a cell says it is.
    #[serde(rename = "progress")]
    Progress {
        /// The cell.
        cell: String,
        /// 0 to 1, if the cell knows.
        fraction: Option<f64>,
        /// Its words.
        text: String,
    },
    /// Something to look at that is not an output.
    #[serde(rename = "display")]
    Display {
        /// The cell.
        cell: String,
        /// Media type, the cell's claim.
        media: String,
        /// The data, when it is text; else its size in words.
        text: String,
    },
    /// A message of a compiler, an interpreter or the host about a cell's code.
    #[serde(rename = "diagnostic")]
    Diagnostic {
        /// The cell.
        cell: String,
        /// The message.
        diagnostic: Diagnostic,
    },
    /// A cell comes to a limit.
    #[serde(rename = "limit")]
    Limit {
        /// The cell.
        cell: String,
        /// The limit's key, such as `timeout`.
        name: String,
        /// What is done about it.
        stage: Stage,
        /// How much there is by now: milliseconds, bytes, or a number.
        used: Option<u64>,
        /// How much there may be, in the same unit.
        limit: u64,
    },
    /// An output is in the store.
    #[serde(rename = "artifact")]
    Artifact {
        /// The cell.
        cell: String,
        /// The port.
        port: String,
        /// The stored thing.
        artifact: ArtifactMeta,
    },
    /// A step has its final result. Said only after the store has committed it.
    #[serde(rename = "step.finished")]
    StepFinished {
        /// The cell.
        cell: String,
        /// Its executor.
        lang: String,
        /// Why it ran, or why it did not.
        reason: String,
        /// Attempts made.
        attempts: u32,
        /// The uniform result.
        meta: Box<ExecMeta>,
    },
    /// Something a person should know: a mechanism that is missing, a history that could not be written.
    #[serde(rename = "warning")]
    Warning {
        /// The text.
        text: String,
    },
    /// The last event of every run that was not killed.
    #[serde(rename = "run.finished")]
    RunFinished {
        /// The whole run's outcome: ok, failed, cancelled or timed_out.
        outcome: Outcome,
        /// Wall time of the run in milliseconds.
        wall_ms: f64,
        /// Counts.
        totals: Totals,
        /// The chain of cells that determined the wall time, first to last.
        critical_path: Vec<Timed>,
        /// The cells that took longest, longest first, at most five.
        slowest: Vec<Timed>,
    },
    /// The flow as it is now can't be run. Said by whoever watches it, also while a run of the flow as it was goes on; in no run's record.
    #[serde(rename = "flow.broken")]
    FlowBroken {
        /// Why, and what to do about it.
        text: String,
        /// What is wrong in its files, each with its place. Empty where it is something else.
        diagnostics: Vec<Diagnostic>,
    },
    /// Nothing runs, and a change is waited for. Said by whoever watches a flow; in no run's record.
    #[serde(rename = "watch.waiting")]
    WatchWaiting {
        /// How it stands.
        state: Waits,
        /// What there is to say of it; may be empty.
        text: String,
        /// Files and folders that are watched.
        files: u64,
    },
    /// The last event of whoever watched a flow and was not killed; in no run's record.
    #[serde(rename = "watch.ended")]
    WatchEnded {
        /// The exit code: 130, or that of what was in the way of watching on.
        exit: u8,
    },
}

/// How a flow stands whose change is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Waits {
    /// All is up to date.
    Ok,
    /// The last run did not end well.
    Failed,
    /// It can't be run as it is.
    Broken,
    /// Its own cells make it stale again and again.
    Held,
}

/// What a plan does with a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It runs.
    Run,
    /// Its stored result stands.
    Cached,
    /// It runs unless what its inputs come from turns out the same as before.
    Maybe,
    /// It is left out: its condition, or that of a cell it reads from, says no.
    Skip,
}

/// The part of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Phase {
    Compile,
    Run,
}

/// Where a text was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Stream {
    Stdout,
    Stderr,
    Debug,
    Info,
    Warn,
    Error,
}

/// What is done about a cell that comes to a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Nothing yet: a soft limit is passed.
    Warning,
    /// It is asked to end, by SIGTERM and, if it is a worker, a message.
    Term,
    /// It is ended with all its processes.
    Kill,
}

/// A cell and its time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timed {
    /// The cell.
    pub cell: String,
    /// Wall time in milliseconds. Of a cell on the critical path, until the next one began.
    pub wall_ms: f64,
    /// When it began, in milliseconds since the run started.
    #[serde(default)]
    pub start_ms: f64,
}

/// Counts of a run's steps by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub struct Totals {
    pub ok: u64,
    pub cached: u64,
    pub failed: u64,
    pub skipped: u64,
    pub cancelled: u64,
}

/// A consumer of the stream. A sink that can't keep up drops for itself, never for others.
pub trait Sink: Send {
    /// Takes one record; called in order from the runtime's loop, so it must not block for long.
    fn record(&mut self, record: &Record);

    /// No further record comes at this moment: what was taken is to be passed on, if somebody waits for it.
    fn told(&mut self) {}

    /// Takes `count` steps whose results stand, where it need not see each of them; `false` where it does, and then gets their records.
    fn stood(&mut self, _count: u64) -> bool {
        false
    }

    /// The run is over; flush. Errors of writing were collected on the way and come out here.
    fn finish(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
