//! A whole run as one JSON document, built from its events.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polyloom_events::{Event, Record, Sink};
use polyloom_protocol::achieved::Achieved;
use polyloom_protocol::meta::{ArtifactMeta, Diagnostic, LimitMeta, Outcome};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the document.
pub const RUN_SCHEMA: &str = "polyloom.run/1";

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunDocument {
    /// The version of this document.
    pub schema: String,
    /// The run's id.
    pub run: String,
    /// How the run ended; null if its end was not recorded.
    pub outcome: Option<Outcome>,
    /// Wall time in milliseconds, up to the last event if the end was not recorded.
    pub wall_ms: f64,
    /// The cells in the plan's order.
    pub cells: Vec<CellDocument>,
}

/// One cell of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CellDocument {
    /// The cell.
    pub id: String,
    /// Its executor.
    pub lang: String,
    /// How its step ended; null if it did not end.
    pub outcome: Option<Outcome>,
    /// Why it ran, or did not.
    pub reason: String,
    /// Wall time in milliseconds.
    pub wall_ms: f64,
    /// Processor time in milliseconds.
    pub cpu_ms: f64,
    /// Most memory of all its processes together in bytes, where it could be measured.
    pub peak_memory: Option<u64>,
    /// Exit code, if it exited.
    pub exit_code: Option<i32>,
    /// The limit that ended it, with the most there was of it.
    pub limit: Option<LimitMeta>,
    /// Messages about its code.
    pub diagnostics: Vec<Diagnostic>,
    /// What the sandbox achieved.
    pub enforcement: Achieved,
    /// Its outputs by port.
    pub outputs: BTreeMap<String, OutputDocument>,
}

/// One output of a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutputDocument {
    /// Port type, as the flow spells it.
    #[serde(rename = "type")]
    pub r#type: String,
    /// Digest of its bytes.
    pub digest: String,
    /// Size in bytes.
    pub size: u64,
    /// Media type.
    pub media_type: Option<String>,
    /// A file with its bytes, where the run named one.
    pub path: Option<String>,
}

impl From<&ArtifactMeta> for OutputDocument {
    fn from(meta: &ArtifactMeta) -> Self {
        Self {
            r#type: meta.r#type.clone(),
            digest: meta.digest.clone(),
            size: meta.size,
            media_type: meta.media_type.clone(),
            path: meta.path.clone(),
        }
    }
}

/// Builds the document. Clones share what they gather: give one to the run as a sink and keep another.
#[derive(Debug, Clone, Default)]
pub struct Document(Arc<Mutex<Gathered>>);

#[derive(Debug, Default)]
struct Gathered {
    run: Option<RunDocument>,
    places: BTreeMap<String, usize>,
}

impl Document {
    /// An empty document.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What was gathered; none before the run's first event.
    #[must_use]
    pub fn get(&self) -> Option<RunDocument> {
        self.lock().run.clone()
    }

    /// The document as JSON with a line feed at its end; empty before the run's first event.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = self.lock().run.as_ref().and_then(|run| serde_json::to_string_pretty(run).ok());
        text.map_or_else(String::new, |text| text + "\n")
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathered {
    fn cell(&mut self, id: &str) -> Option<&mut CellDocument> {
        let run = self.run.as_mut()?;
        let place = *self.places.entry(id.to_owned()).or_insert_with(|| {
            run.cells.push(CellDocument {
                id: id.to_owned(),
                lang: String::new(),
                outcome: None,
                reason: String::new(),
                wall_ms: 0.0,
                cpu_ms: 0.0,
                peak_memory: None,
                exit_code: None,
                limit: None,
                diagnostics: Vec::new(),
                enforcement: Achieved::default(),
                outputs: BTreeMap::new(),
            });
            run.cells.len() - 1
        });
        run.cells.get_mut(place)
    }

    fn take(&mut self, record: &Record) {
        if let Event::RunStarted { run, .. } = &record.event {
            self.run = Some(RunDocument {
                schema: RUN_SCHEMA.to_owned(),
                run: run.clone(),
                outcome: None,
                wall_ms: 0.0,
                cells: Vec::new(),
            });
        }
        if let Some(run) = &mut self.run {
            run.wall_ms = record.at_ms;
        }
        match &record.event {
            Event::StepPlanned { cell, lang, reason, .. } => {
                if let Some(cell) = self.cell(cell) {
                    cell.lang.clone_from(lang);
                    cell.reason.clone_from(reason);
                }
            }
            Event::Artifact { cell, port, artifact } => {
                if let Some(cell) = self.cell(cell) {
                    cell.outputs.insert(port.clone(), artifact.into());
                }
            }
            Event::StepFinished { cell, lang, reason, meta, .. } => {
                let Some(cell) = self.cell(cell) else { return };
                cell.lang.clone_from(lang);
                cell.reason.clone_from(reason);
                cell.outcome = Some(meta.outcome);
                cell.wall_ms = meta.wall_ms;
                cell.cpu_ms = meta.cpu_ms;
                cell.peak_memory = meta.peak_memory;
                cell.exit_code = meta.exit_code;
                cell.limit.clone_from(&meta.limit);
                cell.diagnostics.clone_from(&meta.diagnostics);
                cell.enforcement.clone_from(&meta.enforcement);
                for (port, artifact) in &meta.artifacts {
                    cell.outputs.entry(port.clone()).or_insert_with(|| artifact.into());
                }
            }
            Event::RunFinished { outcome, wall_ms, .. } => {
                if let Some(run) = &mut self.run {
                    run.outcome = Some(*outcome);
                    run.wall_ms = *wall_ms;
                }
            }
            // A step's diagnostics come with its end; the rest is not in the document.
            _ => {}
        }
    }
}

impl Sink for Document {
    fn record(&mut self, record: &Record) {
        self.lock().take(record);
    }
}
