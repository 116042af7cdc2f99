//! A run that grows: once the items of a map are known, the plan is made anew, and what is new in it is added to what goes on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use polyloom_model::{CellId, Role};
use polyloom_plan::{Action, CellIndex, Step, StepIndex};
use polyloom_schedule::{Growth, StepSpec};

use crate::prepare::{PrepareError, Prepared, Progress};
use crate::run::Runner;
use crate::words::chain;

fn by_cell(steps: &[Step]) -> HashMap<&CellId, StepIndex> {
    (0..).map(StepIndex).zip(steps).map(|(at, step)| (&step.cell, at)).collect()
}

impl Prepared {
    /// The steps of the plan by their cells.
    pub(crate) fn places(&self) -> HashMap<&CellId, StepIndex> {
        by_cell(&self.plan.steps)
    }

    /// Takes over a plan that was made anew: steps that were there keep their places, the others follow them. What is left for later
    /// comes last.
    fn take_over(&mut self, next: Self) {
        let places: HashMap<&CellId, CellIndex> =
            (0..).map(CellIndex).zip(&next.flow.cells).map(|(at, cell)| (&cell.id, at)).collect();
        let mut steps = std::mem::take(&mut self.plan.steps);
        for step in &mut steps {
            if let Some(place) = places.get(&step.cell) {
                step.index = *place;
            }
        }
        let known = by_cell(&steps);
        let mut moved = Vec::with_capacity(next.plan.steps.len() + next.plan.later.len());
        let place = |at: usize| StepIndex(u32::try_from(at).expect("steps are counted in u32"));
        let mut added = Vec::new();
        for step in next.plan.steps {
            match known.get(&step.cell) {
                Some(there) => moved.push(*there),
                None => {
                    moved.push(place(steps.len() + added.len()));
                    added.push(step);
                }
            }
        }
        let total = steps.len() + added.len();
        moved.extend((0..next.plan.later.len()).map(|at| place(total + at)));
        let renumber = |mut step: Step| {
            step.needs.iter_mut().for_each(|need| *need = moved[need.at()]);
            step.needs.sort_unstable();
            step.supplies.iter_mut().for_each(|supply| supply.step = moved[supply.step.at()]);
            step
        };
        steps.extend(added.into_iter().map(renumber));
        self.plan.steps = steps;
        self.plan.later = next.plan.later.into_iter().map(renumber).collect();
        (self.flow, self.open) = (next.flow, next.open);
        (self.facts, self.keyed, self.answers) = (next.facts, next.keyed, next.answers);
        (self.found, self.broken) = (next.found, next.broken);
    }
}

impl Runner {
    /// Adds the steps that can be known by now, and at the end those that never will be, so that they are told why.
    pub(crate) fn grow(&mut self) {
        while !self.job.prepared.plan.later.is_empty() && self.outcome.is_none() {
            let ready = self.ready();
            if ready.is_empty() && !self.schedule.is_idle() {
                return;
            }
            let (first, growth) = if ready.is_empty() || !self.plan_again(&ready) {
                (self.give_up(), Growth::Over)
            } else {
                let first = self.slots.len();
                let over = self.job.prepared.plan.later.is_empty();
                (first, if over { Growth::Over } else { Growth::GoesOn })
            };
            self.announce();
            let specs: Vec<_> =
                self.job.prepared.plan.steps[first..].iter().map(StepSpec::from).collect();
            let commands = self.schedule.grow(specs, growth);
            self.commands.extend(commands);
            self.obey();
            self.commit();
        }
    }

    /// The open cells whose items can be had by now.
    fn ready(&self) -> Vec<CellId> {
        let there = |step: &StepIndex| self.slots[step.at()].outputs.is_some();
        let ready = self.awaited.iter().filter(|(_, steps)| steps.iter().all(there));
        ready.map(|(cell, _)| cell.clone()).collect()
    }

    /// The open cells, each with the steps that give its items: looked up once for each plan, asked after each end.
    pub(crate) fn await_items(&mut self) {
        let prepared = &self.job.prepared;
        self.awaited.clear();
        if prepared.open.is_empty() {
            return;
        }
        let places = prepared.places();
        // A cell is known once all its axes are: the lists of several may come at different times.
        let mut awaited: BTreeMap<&CellId, Option<Vec<StepIndex>>> = BTreeMap::new();
        for open in &prepared.open {
            let of = open.axis.items_of();
            let steps: Option<Vec<StepIndex>> =
                of.map(|items| places.get(&items.cell).copied()).collect();
            let all = awaited.entry(&open.cell).or_insert_with(|| Some(Vec::new()));
            // Without a place, the cell waits for one that is open itself.
            *all = all.take().zip(steps).map(|(all, steps)| [all, steps].concat());
        }
        for (cell, steps) in awaited {
            let fit = steps.filter(|_| !prepared.broken.contains_key(cell));
            self.awaited.extend(fit.map(|steps| (cell.clone(), steps)));
        }
    }

    /// Makes the plan anew and takes it over; false when nothing came of it.
    fn plan_again(&mut self, ready: &[CellId]) -> bool {
        let mut progress = Progress::default();
        for (step, slot) in self.job.prepared.plan.steps.iter().zip(&self.slots) {
            if !matches!(step.action, Action::Cached(_)) {
                progress.ran.insert(step.cell.clone());
            }
            if let Some(outputs) = &slot.outputs {
                progress.results.insert(step.cell.clone(), outputs.to_shared());
            }
        }
        let history = self.job.project.clone();
        let place = Arc::clone(&self.job.place);
        let again =
            self.job.prepared.again(&place, history.as_deref(), super::run::unix_ms(), &progress);
        match again {
            Ok(mut next)
                if ready.iter().any(|id| {
                    next.broken.contains_key(id) || next.open.iter().all(|open| open.cell != *id)
                }) =>
            {
                next.refuse(&mut self.job.permits);
                std::mem::take(&mut next.warnings).into_iter().for_each(|text| self.warn(text));
                self.job.prepared.take_over(next);
                self.await_items();
                true
            }
            Ok(_) => false,
            Err(error) => {
                self.unknown = Some(match &error {
                    PrepareError::Select(select) => chain(select),
                    error => format!("its items are not known: {}", chain(error)),
                });
                false
            }
        }
    }

    /// What was left for later is added as it is: its turn never comes, or it fails saying why.
    fn give_up(&mut self) -> usize {
        let first = self.slots.len();
        let later = std::mem::take(&mut self.job.prepared.plan.later);
        self.job.prepared.plan.steps.extend(later);
        first
    }

    /// Why a cell that is still open can't run.
    pub(crate) fn why_open(&self, step: StepIndex) -> String {
        let prepared = &self.job.prepared;
        let own = prepared.broken.get(&prepared.plan.steps[step.at()].cell);
        let own = own.map(|why| format!("its items are not known: {why}"));
        let none = || "its items are not known: what they come from did not end well".to_owned();
        own.or_else(|| self.unknown.clone()).unwrap_or_else(none)
    }

    /// Whether a step is one whose items never came to be known.
    pub(crate) fn is_open(&self, step: StepIndex) -> bool {
        let index = self.job.prepared.plan.steps[step.at()].index;
        matches!(self.job.prepared.flow.cells[index.at()].role, Role::Open)
    }
}
