//! The first cells of a large flow: they are planned by themselves and begin while the others are planned.
//!
//! Only where nothing that is planned later can change what is done with them, or keep the run from beginning: then the whole plan
//! begins with theirs.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use polyloom_model::{Cell, CellId, Flow, Source};
use polyloom_plan::{Previous, Selection, Step, is_plain};
use polyloom_store::History;

use crate::place::Place;
use crate::prepare::{PrepareError, Prepared, Progress, Wanted};
use crate::run::unix_ms;

/// Of a flow of fewer cells, all are planned in a moment.
const MANY: usize = 10_000;
/// So many cells are first.
const FIRST: usize = 512;

/// A flow of the first cells, if they may begin before the others are planned.
fn flow_of(flow: &Flow, selection: &Selection) -> Option<Flow> {
    let suits = flow.cells.len() >= MANY
        && selection.is_all()
        && is_plain(flow)
        && flow.cells.iter().all(is_simple);
    let cells = flow.cells.get(..FIRST).filter(|_| suits)?;
    let ids: HashSet<&CellId> = cells.iter().map(|cell| &cell.id).collect();
    let mut sources = cells.iter().flat_map(|cell| cell.inputs.values().map(|it| &it.source));
    let closed = sources.all(|source| source.ports().all(|(id, _)| ids.contains(id)));
    closed.then(|| Flow { outputs: BTreeMap::new(), ..flow.with_cells(cells.to_vec()) })
}

/// Whether nothing has to be asked before a run in which there is such a cell, and no other cell runs for what this one wants of it.
fn is_simple(cell: &Cell) -> bool {
    let settings = &*cell.settings;
    settings.asks.is_empty()
        && settings.secrets.is_empty()
        && settings.marks.is_empty()
        && settings.when.is_none()
        && settings.session.is_none()
        && !cell.inputs.values().any(|input| matches!(input.source, Source::File(_)))
}

impl Prepared {
    /// The plan of the first cells of a large flow, if all of them are to run: nobody has to wait for what does not.
    pub(crate) fn first(
        &mut self,
        place: &Place,
        wanted: &Wanted<'_>,
    ) -> Result<Option<Self>, PrepareError> {
        let Some(flow) = flow_of(&self.written, wanted.selection) else { return Ok(None) };
        let mut first = self.anew();
        first.written = Arc::new(flow);
        first.settle(place, wanted, &Progress::default())?;
        if !first.plan.steps.iter().all(|step| step.action.may_run()) {
            self.warnings.append(&mut first.warnings);
            return Ok(None);
        }
        tracing::debug!("the first cells are planned");
        first.written = Arc::clone(&self.written);
        first.flow = Arc::clone(&self.written);
        first.changes = self.changes;
        first.others = Some(Box::new(self.anew()));
        Ok(Some(first))
    }

    /// What plans the whole flow, where this is the plan of its first cells, which run from now on.
    pub(crate) fn take_others(&mut self) -> Option<Others> {
        let whole = self.others.take()?;
        let (steps, previous) = (self.plan.steps.clone(), self.answers.previous.clone());
        Some(Others { whole, steps, previous })
    }

    /// How many steps there will be, if no map adds to them.
    pub(crate) fn count(&self) -> usize {
        match &self.others {
            Some(others) => others.written.cells.len(),
            None => self.plan.all().count(),
        }
    }

    /// The cells that may run. Of a large flow, it may not be known yet that some will not.
    pub fn may_run(&self) -> impl Iterator<Item = &Cell> {
        let others = self.others.as_ref().map(|others| &others.written.cells[..]);
        let is_whole = others.is_none();
        let steps = self.plan.all().filter(move |step| is_whole && step.action.may_run());
        others.unwrap_or_default().iter().chain(steps.map(|step| &self.flow.cells[step.index.at()]))
    }
}

/// A plan to be made while the first cells run.
pub(crate) struct Others {
    whole: Box<Prepared>,
    /// Those of the first cells, and what was known of them.
    steps: Vec<Step>,
    previous: HashMap<CellId, Previous>,
}

impl Others {
    /// Makes the plan of the whole flow, in which the steps of the first cells are as they were.
    pub fn plan(
        self,
        place: &Place,
        history: Option<&History>,
    ) -> Result<Box<Prepared>, PrepareError> {
        let Self { mut whole, steps, previous } = self;
        let ran = steps.iter().map(|step| step.cell.clone()).collect();
        whole.settle_again(place, history, unix_ms(), &Progress { ran, ..Progress::default() })?;
        // What the history has of these by now may be of this run.
        for step in &steps {
            whole.answers.previous.remove(&step.cell);
        }
        whole.answers.previous.extend(previous);
        for (own, step) in whole.plan.steps.iter_mut().zip(steps) {
            debug_assert_eq!(own.cell, step.cell, "the whole plan begins with theirs");
            *own = step;
        }
        Ok(whole)
    }
}
