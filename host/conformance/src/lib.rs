//! The conformance kit: whether an executor, anybody's, keeps the contract of `protocol/SPEC.md` and `executors/README.md`.
//!
//! Executors are tried where cells run, in the sandbox and by the worker crate's own attempts; no language is known here. What a language's code
//! looks like is said by `conformance.toml` beside its manifest. Knows no store, no flow and no terminal.

mod bench;
mod case;
mod cells;
mod line;
mod report;
mod samples;
mod snippets;
mod talks;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polyloom_model::{Kind, Manifest, Policy};
use polyloom_sandbox::SpawnError;
use polyloom_worker::Workplace;
use polyloom_worker::executor::Executor;
use thiserror::Error;

use bench::{Bench, Got};
use case::Ask;

pub use case::{CASES, Case, Level};
pub use report::{Grade, Outcome, Report, Row, SCHEMA};
pub use snippets::{FILE, SnippetError, Snippets};

/// What an executor is tried with.
pub struct Kit<'a> {
    /// Sandboxes.
    pub workplace: &'a Arc<Workplace>,
    /// Where compiled programs and inputs are put meanwhile.
    pub scratch: &'a Path,
    /// How long one case may take.
    pub timeout: Duration,
}

/// Nothing could be tried.
#[derive(Debug, Error)]
pub enum KitError {
    /// This machine gives no sandbox.
    #[error("no cell can be run on this machine")]
    Sandbox(#[source] Box<SpawnError>),
    /// The kit's own files could not be written.
    #[error("the kit's files could not be written")]
    Files(#[source] std::io::Error),
}

impl Kit<'_> {
    /// Tries every case on an executor. `told` hears of each as it is over.
    pub fn test(
        &self,
        executor: &Arc<Executor>,
        snippets: &Snippets,
        mut told: impl FnMut(&Row),
    ) -> Result<Report, KitError> {
        let met = self.workplace.meets(&Policy::default());
        met.map_err(|error| KitError::Sandbox(Box::new(error)))?;
        let bench = Bench::new(self, executor, snippets).map_err(KitError::Files)?;
        let mut rows: Vec<Row> = Vec::new();
        // Who fails one of these fails all the others too, each after its whole time.
        let mut broken: Option<&str> = None;
        for case in CASES {
            if !case.concerns(&executor.manifest) {
                continue;
            }
            let began = Instant::now();
            // Nobody asks for an ability that the greeting left out, so what would come says nothing.
            let unoffered = case.feature.filter(|feature| bench.goes_without(feature));
            let row = match (broken, unoffered, case.lacks(snippets)) {
                (Some(first), _, _) => Row::not_tried(case, format!("`{first}` failed")),
                (None, Some(feature), _) => {
                    let words = format!(
                        "the greeting does not offer `{feature}`, which the manifest declares"
                    );
                    Row::tried(case, Err(Got::new(words)), Duration::ZERO)
                }
                (None, None, Some(snippet)) => {
                    Row::not_tried(case, format!("{FILE} has no `{snippet}`"))
                }
                (None, None, None) => {
                    bench.begin();
                    let found = match case.ask {
                        Ask::Cell(ask) | Ask::Worker(ask) => ask(&bench),
                        Ask::Value(kind) => samples::ask(&bench, kind),
                    };
                    Row {
                        transcript: bench.transcript(),
                        ..Row::tried(case, found, began.elapsed())
                    }
                }
            };
            if row.outcome == Outcome::Fail && case.is_first() {
                broken = Some(case.name);
            }
            told(&row);
            rows.push(row);
        }
        Ok(Report::new(executor, rows))
    }
}

/// Whether a manifest declares a feature; a command declares none.
fn declares(manifest: &Manifest, feature: &str) -> bool {
    match &manifest.kind {
        Kind::Command(_) => false,
        Kind::Worker(worker) => worker.features.iter().any(|declared| declared == feature),
    }
}
