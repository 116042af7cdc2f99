//! What keeps a watch from running for ever on what its own cells write: cells that were granted a folder may change what the flow reads.
//!
//! A change is a cell's own if each of its files is where a cell of the run may write, and it was heard of before that run had ended. One by another program
//! that writes whenever a run goes on (`run --watch | tee FILE`) is like it, if the run failed by it.

use std::collections::{BTreeSet, HashMap};
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
    /// The run failed because files changed under it.
    moved: bool,
    runs: u32,
    /// What was changed under the runs that are counted, by nobody knows whom.
    files: BTreeSet<PathBuf>,
}

/// What makes a run begin again by its own doing.
pub struct Feeder<'c> {
    /// The cell that writes it, where it is one.
    pub cell: Option<CellId>,
    /// One of the files.
    pub file: &'c Path,
}

impl Brake {
    /// A run begins.
    pub fn begun(&mut self, prepared: &Prepared, permits: &HashMap<CellId, Permit>) {
        (self.places, self.ended, self.moved) = (Vec::new(), None, false);
        for step in prepared.plan.all().filter(|step| step.action.may_run()) {
            let cell = &prepared.flow.cells[step.index.at()];
            let Some(Permit::Granted(granted)) = permits.get(&cell.declared) else { continue };
            let written = granted.openings.iter().filter(|opening| opening.writable);
            self.places.extend(written.map(|opening| (cell.id.clone(), opening.source.clone())));
        }
    }

    /// It has ended. `moved`: it failed because files changed under it.
    pub fn ended(&mut self, moved: bool) {
        (self.ended, self.moved) = (Some(Instant::now()), moved);
    }

    fn meanwhile(&self, change: &Change) -> bool {
        self.ended.is_none_or(|ended| change.since < ended + LATE)
    }

    /// The cell that made a change, if it was one of the last run, and a file that it wrote.
    pub fn writer<'c>(&self, change: &'c Change) -> Option<(CellId, &'c Path)> {
        let cell = |path: &Path| self.places.iter().find(|(_, place)| path.starts_with(place));
        let all = change.paths.iter().all(|path| cell(path).is_some());
        let first = change.paths.first().filter(|_| all && self.meanwhile(change))?;
        Some((cell(first)?.0.clone(), first))
    }

    /// Takes notice of what begins a run; what makes it begin, if it is one too many that did so by itself.
    pub fn held<'c>(&mut self, change: &'c Change) -> Option<Feeder<'c>> {
        let feeder = self.feeder(change);
        match &feeder {
            None => (self.runs, self.files) = (0, BTreeSet::new()),
            Some(Feeder { cell: None, .. }) => self.files.extend(change.paths.iter().cloned()),
            Some(_) => {}
        }
        self.runs += u32::from(feeder.is_some());
        feeder.filter(|_| self.runs > MOST)
    }

    fn feeder<'c>(&self, change: &'c Change) -> Option<Feeder<'c>> {
        if let Some((cell, file)) = self.writer(change) {
            return Some(Feeder { cell: Some(cell), file });
        }
        // That a run is held is written there, too.
        let again = self.runs > MOST && change.paths.iter().all(|path| self.files.contains(path));
        let file = change.paths.first().filter(|_| self.moved)?;
        (again || self.meanwhile(change)).then_some(Feeder { cell: None, file })
    }
}
