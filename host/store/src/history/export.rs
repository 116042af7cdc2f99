//! A run as one file: a tar archive with a manifest, the event log, the steps and, if wanted, the bytes of its outputs.
//!
//! Files in their order: `manifest.json`, `manifest.sum` with its digest, `events.jsonl`, `blobs/<64 hex>`…, `kept.jsonl`, `steps.jsonl`. The manifest
//! has the digests of the three logs; a blob's name is its digest.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use polyloom_model::{Digest, Encoding, Type};
use polyloom_protocol::meta::Outcome;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::open::History;
use super::tar::Writer;
use super::{OutputRow, RunRow, RunState};
use crate::blobs::ReadError;
use crate::fault::Fault;
use crate::store::Store;

pub(super) const SCHEMA: &str = "polyloom.exported-run/1";
pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const SUM: &str = "manifest.sum";
pub(super) const EVENTS: &str = "events.jsonl";
pub(super) const STEPS: &str = "steps.jsonl";
pub(super) const KEPT: &str = "kept.jsonl";
pub(super) const BLOBS: &str = "blobs/";

/// The first file of an exported run.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) schema: String,
    pub(super) run: String,
    pub(super) started_unix_ms: u64,
    pub(super) flow: String,
    pub(super) argv: Vec<String>,
    /// `None`: the run was interrupted.
    pub(super) outcome: Option<Outcome>,
    pub(super) wall_ms: Option<f64>,
    pub(super) totals: Option<String>,
    /// How many blobs there are.
    pub(super) blobs: u64,
    /// The digests of the logs by their names.
    pub(super) digests: BTreeMap<String, Digest>,
}

/// What was exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Steps, those whose results stood too.
    pub steps: u64,
    /// Blobs.
    pub blobs: u64,
    /// Outputs whose bytes are no longer in the store.
    pub gone: u64,
}

/// Why a run could not be exported.
#[derive(Debug, Error)]
pub enum ExportError {
    /// It has not ended.
    #[error("run `{run}` is still running")]
    Running {
        /// The run.
        run: String,
    },
    /// The file could not be written.
    #[error("the file can't be written")]
    Write(#[source] io::Error),
    /// A blob could not be read.
    #[error(transparent)]
    Blob(#[from] ReadError),
    /// The disk or the index failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl History {
    /// Writes a run to `out`; with the bytes of its outputs, as far as they are there, from `artifacts`.
    pub fn export(
        &self,
        row: &RunRow,
        artifacts: Option<&Store>,
        out: &mut dyn Write,
    ) -> Result<Exported, ExportError> {
        let outcome = match row.state {
            RunState::Running => return Err(ExportError::Running { run: row.id.clone() }),
            RunState::Interrupted => None,
            RunState::Ended(outcome) => Some(outcome),
        };
        let (steps, kept) = (self.steps(&row.id)?, self.kept(&row.id)?);
        let outputs = steps.iter().flat_map(|step| &step.outputs);
        let outputs = outputs.chain(kept.iter().flat_map(|step| &step.outputs));
        let (blobs, gone) = match artifacts {
            Some(store) => blobs(store, outputs)?,
            None => (BTreeMap::new(), 0),
        };
        let counted = (steps.len() + kept.len()) as u64;
        let (steps, kept) = (lines(&steps), lines(&kept));
        let (events, size) = self.event_digest(&row.id)?;
        let manifest = Manifest {
            schema: SCHEMA.to_owned(),
            run: row.id.clone(),
            started_unix_ms: row.started_unix_ms,
            flow: row.flow.clone(),
            argv: row.argv.clone(),
            outcome,
            wall_ms: row.wall_ms,
            totals: row.totals.clone(),
            blobs: blobs.len() as u64,
            digests: [
                (EVENTS.to_owned(), events),
                (KEPT.to_owned(), Digest::of(&kept)),
                (STEPS.to_owned(), Digest::of(&steps)),
            ]
            .into(),
        };
        let manifest = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
        let mut tar = Writer::new(out);
        let mut add = |name: &str, size: u64, from: &mut dyn Read| {
            tar.add(name, size, from).map_err(ExportError::Write)
        };
        add(MANIFEST, manifest.len() as u64, &mut &manifest[..])?;
        let sum = Digest::of(&manifest).to_string();
        add(SUM, sum.len() as u64, &mut sum.as_bytes())?;
        add(EVENTS, size, &mut self.read_events(&row.id)?)?;
        if let Some(store) = artifacts {
            for (digest, size) in &blobs {
                let mut file = store.open_blob(digest)?;
                add(&format!("{BLOBS}{}", digest.hex()), *size, &mut file)?;
            }
        }
        add(KEPT, kept.len() as u64, &mut &kept[..])?;
        add(STEPS, steps.len() as u64, &mut &steps[..])?;
        tar.finish().map_err(ExportError::Write)?;
        Ok(Exported { steps: counted, blobs: blobs.len() as u64, gone })
    }

    /// The digest and the size of a run's events.
    pub(super) fn event_digest(&self, run: &str) -> Result<(Digest, u64), Fault> {
        let mut reader = self.read_events(run)?;
        let mut hasher = blake3::Hasher::new();
        let copied = io::copy(&mut reader, &mut hasher);
        let size = copied.map_err(|error| Fault::io("read", &self.run_folder(run), error))?;
        Ok((Digest::from_bytes(*hasher.finalize().as_bytes()), size))
    }
}

fn lines<T: Serialize>(rows: &[T]) -> Vec<u8> {
    let mut text = Vec::new();
    for row in rows {
        text.extend(serde_json::to_vec(row).unwrap_or_default());
        text.push(b'\n');
    }
    text
}

/// The blobs of outputs with their sizes, each once, and how many outputs are no longer whole.
fn blobs<'a>(
    store: &Store,
    outputs: impl Iterator<Item = &'a OutputRow>,
) -> Result<(BTreeMap<Digest, u64>, u64), ReadError> {
    let mut found = BTreeMap::new();
    let mut gone = 0;
    for output in outputs {
        let Ok(digest) = output.digest.parse::<Digest>() else { continue };
        let folder = output.ty.parse::<Type>().is_ok_and(|ty| ty.encoding() == Encoding::Dir);
        let mut all = vec![digest];
        if folder {
            match store.listing(&digest) {
                Ok(listing) => all.extend(listing.values().flatten().map(|file| file.digest)),
                Err(ReadError::Missing { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let mut whole = true;
        for digest in all {
            match store.size(&digest) {
                Ok(size) => {
                    found.insert(digest, size);
                }
                Err(ReadError::Missing { .. }) => whole = false,
                Err(error) => return Err(error),
            }
        }
        gone += u64::from(!whole);
    }
    Ok((found, gone))
}
