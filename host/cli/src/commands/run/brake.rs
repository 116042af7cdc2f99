//! What keeps a watch from running for ever on what its own cells write: cells that were granted a folder may change what the flow reads.
//!
//! A change is a cell's own if each of its files is where a cell of the run may write, and it was heard of before that run had ended.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use polyloom_model::CellId;
use polyloom_runtime::{Permit, Prepared};

use super::files::Change;

/// So many runs in a row may begin by what the one before wrote.
const MOST: u32 = 3;
/// What was done before a run ended may be heard of a little later.
const LATE: Duration = Duration::from_millis(50);

/// What the cells of the last run may write, and how often that began the next.
#[derive(Debug, Default)]
pub struct Brake {
    places: Vec<(CellId, PathBuf)>,
    ended: Option<Instant>,
    runs: u32,
}

impl Brake {
    /// A run begins.
    pub fn begun(&mut self, prepared: &Prepared, permits: &HashMap<CellId, Permit>) {
        (self.places, self.ended) = (Vec::new(), None);
        for step in prepared.plan.all().filter(|step| step.action.may_run()) {
            let cell = &prepared.flow.cells[step.index.at()];
            let Some(Permit::Granted(granted)) = permits.get(&cell.declared) else { continue };
            let written = granted.openings.iter().filter(|opening| opening.writable);
            self.places.extend(written.map(|opening| (cell.id.clone(), opening.source.clone())));
        }
    }

    /// It has ended.
    pub fn ended(&mut self) {
        self.ended = Some(Instant::now());
    }

    /// The cell that made a change, if it was one of the last run, and a file that it wrote.
    pub fn writer<'c>(&self, change: &'c Change) -> Option<(CellId, &'c Path)> {
        let meanwhile = self.ended.is_none_or(|ended| change.since < ended + LATE);
        let cell = |path: &Path| self.places.iter().find(|(_, place)| path.starts_with(place));
        let all = change.paths.iter().all(|path| cell(path).is_some());
        let first = change.paths.first().filter(|_| meanwhile && all)?;
        Some((cell(first)?.0.clone(), first))
    }

    /// Takes notice of what begins a run, a cell's own change or another; false if it is one too many.
    pub fn lets(&mut self, own: bool) -> bool {
        self.runs = if own { self.runs + 1 } else { 0 };
        self.runs <= MOST
    }
}
