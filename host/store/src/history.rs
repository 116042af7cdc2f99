//! The history of one project: a folder per run with its event log, and an index of runs and steps.
//!
//! It does not know what an event says: a run's log is bytes that somebody appends and somebody reads back. A run
//! whose log has no end and no living writer was interrupted; the writer's lock dies with it, so nobody has to tidy up.

mod export;
mod find;
mod import;
mod last;
mod lineage;
mod maker;
mod open;
mod prune;
mod run;
mod shared;
mod steps;
mod stood;
mod tar;

use std::path::PathBuf;

use polyloom_protocol::meta::Outcome;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::fault::Fault;

pub use export::{ExportError, Exported};
pub use find::FindError;
pub use import::{ImportRunError, Imported, is_exported_run};
pub use lineage::{Made, Taken};
pub use maker::Maker;
pub use open::{History, HistoryPlace};
pub use prune::Retention;
pub use run::{RunReader, RunWriter};
pub use stood::Stood;

/// The version of the history's index.
pub const HISTORY_VERSION: i64 = 5;

/// Why a history could not be used.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// A newer polyloom has written it.
    #[error(
        "the history `{}` has version {found}, this program reads versions up to {known}: update polyloom",
        folder.display()
    )]
    Newer {
        /// The history's folder.
        folder: PathBuf,
        /// The version found.
        found: i64,
        /// The newest version this program knows.
        known: i64,
    },
    /// Its index is damaged. It is left as it is.
    #[error("the index `{}` can't be read: move it away to start a new one", path.display())]
    Unreadable {
        /// The index.
        path: PathBuf,
        /// SQLite's reason.
        #[source]
        source: rusqlite::Error,
    },
    /// The disk or the index failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A run that begins.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// When, milliseconds since 1970.
    pub started_unix_ms: u64,
    /// The flow file, relative to the project where it can be.
    pub flow: String,
    /// The command line.
    pub argv: Vec<String>,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct RunEnd {
    /// The run's outcome.
    pub outcome: Outcome,
    /// Wall time in milliseconds.
    pub wall_ms: f64,
    /// Counts of steps, as JSON.
    pub totals: String,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRow {
    /// The cell.
    pub cell: String,
    /// The step's key, as text; empty if it never had one.
    pub key: String,
    /// Its key by content, as text; empty if its inputs were never all there.
    #[serde(default)]
    pub content: String,
    /// The parts of the key by name, as JSON.
    pub parts: String,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it ran, or did not.
    pub reason: String,
    /// Wall time in milliseconds.
    pub wall_ms: f64,
    /// The whole result, as JSON.
    pub meta: String,
    /// Whether its outputs were made by this step, or found by the content of its inputs.
    pub origin: Origin,
    /// What came in.
    #[serde(default)]
    pub inputs: Vec<InputRow>,
    /// What came out.
    #[serde(default)]
    pub outputs: Vec<OutputRow>,
}

/// Where the outputs of a step are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// It ran.
    Made,
    /// An earlier result with the same inputs stood in.
    Found,
}

/// One input of a step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InputRow {
    /// The port.
    pub port: String,
    /// `CELL.PORT`, `param:NAME`, `file:PATH` or `value`.
    pub source: String,
    /// The digest of its bytes, where they are an artifact or a file.
    #[serde(default)]
    pub digest: Option<String>,
}

/// One output of a step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OutputRow {
    /// The port.
    pub port: String,
    /// The digest.
    pub digest: String,
    /// The type.
    #[serde(rename = "type")]
    pub ty: String,
    /// The size in bytes.
    pub size: u64,
}

/// A step of a run whose result the plan found in the store: it was no attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptRow {
    /// The cell.
    pub cell: String,
    /// The step's key, as text.
    pub key: String,
    /// The parts of the key by name, as JSON.
    #[serde(default)]
    pub parts: String,
    /// What came in, where the parts do not say it: the steps that were gathered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<InputRow>,
    /// Its outputs.
    pub outputs: Vec<OutputRow>,
}

/// What is known of a cell from the last run that had it.
#[derive(Debug, Clone, PartialEq)]
pub struct Previous {
    /// The run.
    pub run: String,
    /// How the step ended.
    pub outcome: Outcome,
    /// The step's key.
    pub key: String,
    /// The parts of the key by name, as JSON.
    pub parts: String,
}

/// Where a run is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// A living process writes it.
    Running,
    /// Its writer died before the end.
    Interrupted,
    /// It ended so.
    Ended(Outcome),
}

impl RunState {
    /// One word: `running`, `interrupted` or the outcome's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Interrupted => "interrupted",
            Self::Ended(outcome) => outcome.as_str(),
        }
    }
}

/// A run as listed.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRow {
    /// Its id.
    pub id: String,
    /// Start, milliseconds since 1970.
    pub started_unix_ms: u64,
    /// The flow file.
    pub flow: String,
    /// The command line.
    pub argv: Vec<String>,
    /// Whether it runs, was interrupted, or how it ended.
    pub state: RunState,
    /// Wall time in milliseconds, once it has ended.
    pub wall_ms: Option<f64>,
    /// Counts of steps as JSON, once it has ended.
    pub totals: Option<String>,
    /// Whether it was made here, or is another machine's.
    pub home: Home,
}

/// Whose a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// This project's own.
    Here,
    /// Imported from a file.
    Elsewhere,
}

/// `20261121-031833`: a time as run ids begin with, in UTC, so that ids sort by start.
#[must_use]
pub fn format_run_time(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let (days, of_day) = (seconds / 86400, seconds % 86400);
    // Days to a civil date, after Howard Hinnant's "chrono-compatible low-level date algorithms": years that begin in
    // March put the leap day last.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let of_era = shifted % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
}

#[cfg(test)]
mod tests {
    use super::format_run_time;

    #[test]
    fn run_times_are_civil_dates() {
        for (seconds, text) in [
            (0, "19700101-000000"),
            (951_782_400, "20000229-000000"),
            (1_732_159_113, "20241121-031833"),
            (4_107_542_399, "21000228-235959"),
            (4_107_542_400, "21000301-000000"),
        ] {
            assert_eq!(format_run_time(seconds * 1000), text);
        }
    }
}
