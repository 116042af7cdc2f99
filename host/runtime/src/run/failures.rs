//! Attempts that failed, for whoever makes run after run: made again with the same, they would fail again. What somebody else may have a part in is not
//! kept: a machine that lacks something, what a cell was granted, a cell that is to run each time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polyloom_model::CellId;
use polyloom_plan::{Key, StepIndex};
use polyloom_protocol::Outcome;
use polyloom_protocol::meta::ExecMeta;
use polyloom_schedule::{Cause, Finish};
use polyloom_worker::attempt::Start;

use super::carry::Made;
use super::{PolicyWord, Runner};
use crate::prepare::Prepared;
use crate::step::StepEnd;

/// More are not kept.
const MOST: usize = 1000;

/// The failures of runs that follow each other. Clones are the same.
#[derive(Clone, Default)]
pub struct Failures(Arc<Mutex<HashMap<CellId, Failed>>>);

struct Failed {
    made: Made,
    /// The key by what its inputs were.
    content: Key,
    run: String,
    meta: ExecMeta,
    explanation: Option<String>,
}

impl Failures {
    fn all(&self) -> MutexGuard<'_, HashMap<CellId, Failed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// Forgets them: what failed may be tried again.
    pub fn clear(&self) {
        self.all().clear();
    }

    /// The cells of a plan that would fail as before, if there is nothing else to be run in it.
    #[must_use]
    pub fn only(&self, prepared: &Prepared, word: &PolicyWord) -> Vec<CellId> {
        let all = self.all();
        let mut failed = Vec::new();
        let mut without = vec![false; prepared.plan.steps.len()];
        for (at, step) in prepared.plan.steps.iter().enumerate() {
            if !step.action.may_run() {
                continue;
            }
            let cell = &prepared.flow.cells[step.index.at()];
            let before = all.get(&cell.id);
            if before.is_some_and(|it| it.made == Made::of(cell, step.key, word)) {
                failed.push(cell.id.clone());
                without[at] = true;
            } else if step.needs.iter().any(|need| without[need.at()]) {
                without[at] = true;
            } else {
                return Vec::new();
            }
        }
        failed
    }
}

impl Runner {
    /// Keeps a failure.
    pub(super) fn keep_failure(&self, step: StepIndex, meta: &ExecMeta, why: Option<&String>) {
        let Some(failures) = &self.job.failures else { return };
        let cell = self.cell(step);
        // An attempt that was not made takes no time.
        let own =
            !matches!(meta.outcome, Outcome::WorkerError | Outcome::Denied) && meta.wall_ms > 0.0;
        let closed = cell.asks.is_empty() && cell.secrets.is_empty();
        if !own || !closed || !cell.is_program() || !cell.cache || self.job.no_cache {
            return;
        }
        let mut all = failures.all();
        if all.len() < MOST {
            let key = self.job.prepared.plan.steps[step.at()].key;
            let failed = Failed {
                made: Made::of(cell, key, &self.job.policy),
                content: self.content_key(step),
                run: self.job.run.clone(),
                meta: ExecMeta { times: None, ..meta.clone() },
                explanation: why.cloned(),
            };
            all.insert(cell.id.clone(), failed);
        }
    }

    /// Ends a step that would fail as it did before; false if that is not known.
    pub(super) fn fails_as_before(&mut self, step: StepIndex) -> bool {
        let Some(failures) = self.job.failures.clone() else { return false };
        if !self.is_shared(step) {
            return false;
        }
        let all = failures.all();
        let cell = self.cell(step);
        let key = self.job.prepared.plan.steps[step.at()].key;
        let made = Made::of(cell, key, &self.job.policy);
        let before = all.get(&cell.id).filter(|before| before.made == made);
        let Some(before) = before.filter(|before| before.content == self.content_key(step)) else {
            return false;
        };
        let explanation = before.explanation.clone();
        let end = StepEnd::new(before.meta.clone(), None, explanation, Start::None);
        let slot = &mut self.slots[step.at()];
        slot.reason = format!("failed as before, in run {}", before.run);
        (slot.end, slot.as_before) = (Some(Box::new(end)), true);
        let commands = self.schedule.on(Cause::Finished { step, finish: Finish::FailedBefore });
        self.commands.extend(commands);
        true
    }
}
