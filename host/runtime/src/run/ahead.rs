//! What may run next, where workers are kept waiting for it: cells that did not have to run this time, as they would run with other code.

use std::sync::Arc;

use polyloom_model::Kind;
use polyloom_plan::{Action, StepIndex};

use super::Runner;

/// A cell that is given more than this is not prepared before it has to run.
const MOST_BYTES: u64 = 1 << 20;

impl Runner {
    /// Tells the workplace of attempts that may come.
    pub(super) fn look_ahead(&self) {
        let workplace = &self.job.place.workplace;
        let room = workplace.room();
        if room == 0 {
            return;
        }
        let prepared = &self.job.prepared;
        let fits = |step: &StepIndex| {
            let planned = &prepared.plan.steps[step.at()];
            let cell = &prepared.flow.cells[planned.index.at()];
            let executor = prepared.executors.get(&cell.executor);
            let worker = executor.is_some_and(|it| matches!(it.manifest.kind, Kind::Worker(_)));
            let given = planned.supplies.iter().filter_map(|supply| {
                let outputs = self.slots[supply.step.at()].outputs.as_ref()?;
                Some(outputs.get(&supply.output)?.size)
            });
            matches!(planned.action, Action::Cached(_))
                && cell.is_program()
                && worker
                && cell.asks.is_empty()
                && cell.secrets.is_empty()
                && given.sum::<u64>() < MOST_BYTES
        };
        let steps = (0..).map(StepIndex).take(prepared.plan.steps.len());
        for step in steps.filter(fits).take(room) {
            // What can't be prepared is told when it has to run.
            if let Ok(attempt) = self.step_run(step).attempt(None) {
                workplace.expect(&Arc::new(attempt));
            }
        }
    }
}
