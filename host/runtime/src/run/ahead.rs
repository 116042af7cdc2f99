//! What is coming, for workers that are started ahead of their cells. And what may run next, where workers are kept waiting for it: cells that did not have to run this time, as they would run with other code.

use std::sync::Arc;

use polyloom_model::Kind;
use polyloom_plan::{Action, StepIndex};
use polyloom_schedule::State;
use polyloom_worker::WORTH_TWO;
use polyloom_worker::executor::Executor;

use super::Runner;

/// A cell that is given more than this is not prepared before it has to run.
const MOST_BYTES: u64 = 1 << 20;

/// Of how many steps after one it is asked whether they can take a worker like its own, and how many of those are enough.
const LOOKED_AT: usize = 1000;
const ENOUGH: usize = 4;

impl Runner {
    /// How many cells are coming that can take what is started like that of `step`, or a fork of its zygote; not more than it is of use to know.
    pub(super) fn coming(&self, step: StepIndex, executor: &Executor) -> usize {
        // A session has a worker of its own.
        if self.cell(step).session.is_some() {
            return 0;
        }
        let kind = &executor.manifest.kind;
        let enough = match kind {
            kind if kind.ahead().is_some() => ENOUGH,
            kind if kind.zygote().is_some() => WORTH_TWO,
            _ => return 0,
        };
        let prepared = &self.job.prepared;
        let limits = self.limits(step);
        let takes = |later: &StepIndex| {
            let planned = &prepared.plan.steps[later.at()];
            let cell = &prepared.flow.cells[planned.index.at()];
            let state = self.schedule.state(*later);
            matches!(planned.action, Action::Run)
                && matches!(state, Some(State::Waiting | State::Deciding | State::Ready))
                && cell.executor == executor.manifest.id
                && cell.env.is_empty()
                && cell.session.is_none()
                && cell.asks.is_empty()
                && cell.secrets.is_empty()
                && cell.stdin.is_none()
                && self.limits(*later) == limits
        };
        let first = step.at() + 1;
        let after = first..prepared.plan.steps.len().min(first + LOOKED_AT);
        let after = after.filter_map(|at| u32::try_from(at).ok()).map(StepIndex);
        after.filter(takes).take(enough).count()
    }

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
