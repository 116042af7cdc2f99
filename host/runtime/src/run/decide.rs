//! What a step has to do once its inputs are there: its condition, its result where one is known, and the words for why.

use std::collections::BTreeMap;
use std::sync::Arc;

use polyloom_events::Event;
use polyloom_model::{CellId, PortName};
use polyloom_plan::{
    Check, Feed, KeyParts, PartName, Previous, Reason, StepIndex, content_key, feeds,
};
use polyloom_protocol::Outcome;
use polyloom_schedule::{Because, Verdict};

use super::{Outputs, Runner};
use crate::conditions;
use crate::flight;
use crate::step::StepEnd;
use crate::words::chain;

impl Runner {
    /// The artifacts of a step's inputs that are edges of the plan.
    pub(super) fn edges(&self, step: StepIndex) -> BTreeMap<PortName, Feed> {
        let planned = &self.job.prepared.plan.steps[step.at()];
        let given = planned.supplies.iter().filter_map(|supply| {
            let outputs = self.slots[supply.step.at()].outputs.as_ref();
            Some((supply.input.clone(), outputs?.get(&supply.output)?.clone()))
        });
        feeds(self.cell(step), given)
    }

    pub(super) fn content_key(&self, step: StepIndex) -> polyloom_plan::Key {
        let edges = self.edges(step);
        content_key(&self.job.prepared.plan.steps[step.at()].parts, &edges)
    }

    /// What its condition says, and whether a result with these very inputs is known.
    pub(super) fn decide(&mut self, step: StepIndex) -> Verdict {
        let edges = self.edges(step);
        let prepared = &self.job.prepared;
        let cell = self.cell(step);
        let result = |_: &CellId, _: &PortName, port: &PortName| match edges.get(port) {
            Some(Feed::One(artifact)) => Some(artifact.clone()),
            Some(Feed::Several(_)) | None => None,
        };
        match conditions::ask(&self.job.place.store, &prepared.flow, cell, result) {
            Ok(Some(true)) => {}
            Ok(Some(false)) => return Verdict::LeftOut,
            // Its inputs are there when it is asked.
            Ok(None) => return self.unclear(step, "what it asks for is not there".to_owned()),
            Err(why) => return self.unclear(step, why),
        }
        if prepared.plan.steps[step.at()].check == Check::Condition || !self.known(step) {
            return Verdict::Run;
        }
        Verdict::Cached
    }

    fn unclear(&mut self, step: StepIndex, why: String) -> Verdict {
        let when = self.cell(step).condition().map(ToString::to_string).unwrap_or_default();
        let mut end = StepEnd::not_begun(format!("`when = \"{when}\"`: {why}"));
        end.meta.outcome = Outcome::Failed;
        self.slots[step.at()].end = Some(Box::new(end));
        Verdict::Failed
    }

    fn known(&mut self, step: StepIndex) -> bool {
        let key = self.content_key(step);
        let declared = &self.cell(step).outputs;
        let found = match flight::known(&self.job.place.store, &key, declared) {
            Ok(found) => found,
            Err(error) => {
                self.stream.say(Event::Warning { text: chain(&error) });
                None
            }
        };
        let Some(known) = found else { return false };
        let slot = &mut self.slots[step.at()];
        slot.outputs = Some(Outputs::Made(Arc::new(known.outputs.clone())));
        slot.known = Some(known);
        let planned = &self.job.prepared.plan.steps[step.at()];
        let reason = match self.is_wired_as_before(step) {
            true => "its inputs turned out the same".to_owned(),
            false => format!("{}; there is a result with the same inputs", planned.reason),
        };
        self.slots[step.at()].reason = reason;
        true
    }

    /// Whether what it was last read of the same cells, and as many steps: else a result with its inputs was made before that, or by another cell.
    fn is_wired_as_before(&self, step: StepIndex) -> bool {
        let planned = &self.job.prepared.plan.steps[step.at()];
        let last = self.job.prepared.answers.previous.get(&planned.cell);
        let words = |parts: &KeyParts, name| parts.get(name).map(|part| part.text.clone());
        let same = |last: &Previous| {
            let mut inputs =
                planned.parts.iter().filter(|(name, _)| matches!(name, PartName::Input(_)));
            inputs.all(|(name, part)| words(&last.parts, name).as_ref() == Some(&part.text))
        };
        !matches!(planned.reason, Reason::Changed(_)) && last.is_none_or(same)
    }

    /// Whether a result of another run would do for this step, and its own for another.
    pub(super) fn is_shared(&self, step: StepIndex) -> bool {
        let wanted = match self.job.prepared.plan.steps[step.at()].reason {
            Reason::Forced
            | Reason::NoCache
            | Reason::Denied(_)
            | Reason::Items(_)
            | Reason::When(_)
            | Reason::LeftOut(_) => false,
            Reason::UpToDate
            | Reason::NeverRan
            | Reason::Evicted
            | Reason::Temporary(_)
            | Reason::Changed(_)
            | Reason::Upstream(_)
            | Reason::SameOutput(_)
            | Reason::Failed(_)
            | Reason::Interrupted => true,
        };
        // A session goes on from cell to cell in one run: none of them waits for another run's.
        let alone = self.cell(step).session.is_none();
        wanted && alone && self.cell(step).cache && !self.job.no_cache
    }

    pub(super) fn because(&self, step: StepIndex, because: Because) -> String {
        match because {
            Because::Condition => {
                let when = self.cell(step).condition().map(ToString::to_string);
                format!("`{}` is false", when.unwrap_or_default())
            }
            Because::LeftOut(step) => format!("{} is left out", self.name(step)),
            Because::Upstream(step) => format!("needs {}, which did not end well", self.name(step)),
            Because::Stopped(step) => {
                format!("not started after {} failed; -k keeps going", self.name(step))
            }
            Because::Interrupted => "interrupted".to_owned(),
            Because::TimedOut => "the run's time was over".to_owned(),
            Because::Superseded => "a newer plan took over".to_owned(),
        }
    }
}
