//! Ends that are not said yet: of steps whose outputs are still on their way to the disk, and of the steps after those. Their consumers run
//! meanwhile, from memory.

use std::collections::{BTreeMap, BTreeSet};

use polyloom_plan::StepIndex;
use polyloom_schedule::Ended;

use super::{Happened, Runner};
use crate::hot::Copy;

/// What waits.
#[derive(Default)]
pub(super) struct Late {
    copying: BTreeSet<StepIndex>,
    /// Steps whose outputs could not be stored, and why.
    failed: BTreeMap<StepIndex, String>,
    /// How many such ends were said.
    pub(super) lost: usize,
    /// Ends in the order in which the schedule said them.
    pub(super) ends: Vec<(StepIndex, Ended, u32)>,
    /// Whose ends these are.
    ended: BTreeSet<StepIndex>,
}

impl Late {
    /// Keeps an end for later.
    pub(super) fn keep(&mut self, step: StepIndex, ended: Ended, attempts: u32) {
        self.ended.insert(step);
        self.ends.push((step, ended, attempts));
    }

    fn waits(&self, step: StepIndex) -> bool {
        self.copying.contains(&step) || self.ended.contains(&step)
    }

    /// Why the outputs of a step are not in the store.
    pub(super) fn problem(&mut self, step: StepIndex) -> Option<String> {
        let problem = self.failed.remove(&step);
        self.lost += usize::from(problem.is_some());
        problem
    }
}

impl Runner {
    /// Notes that a step's outputs are being copied, and hears of their arrival.
    pub(super) fn await_copies(&mut self, step: StepIndex, copies: Vec<Copy>) {
        if copies.is_empty() {
            return;
        }
        self.late.copying.insert(step);
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let mut problem = None;
            for copy in copies {
                let copied = copy.await.unwrap_or_else(|error| Err(error.to_string()));
                problem = problem.or(copied.err());
            }
            let _ = sender.send(Happened::Copied(step, problem)).await;
        });
    }

    /// Whether the end of a step can't be said yet. An end is never said before those of the steps it needed.
    pub(super) fn is_late(&self, step: StepIndex) -> bool {
        // As a rule nothing is late; a step that gathers has as many supplies as there are steps.
        if self.late.copying.is_empty() && self.late.ended.is_empty() {
            return false;
        }
        let mut supplies = self.job.prepared.plan.steps[step.at()].supplies.iter();
        self.late.waits(step) || supplies.any(|supply| self.late.waits(supply.step))
    }

    /// Says the ends that waited for this step alone.
    pub(super) fn on_copied(&mut self, step: StepIndex, problem: Option<String>) {
        self.late.copying.remove(&step);
        if let Some(problem) = problem {
            self.late.failed.insert(step, problem);
        }
        self.late.ended.clear();
        for (step, ended, attempts) in std::mem::take(&mut self.late.ends) {
            if self.is_late(step) {
                self.late.keep(step, ended, attempts);
            } else {
                self.end(step, ended, attempts);
            }
        }
    }
}
