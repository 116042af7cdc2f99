//! A step's turn in its session: which cells come before it, and what their process may use.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use polyloom_model::{Cell, Limits, Origin, SessionName};
use polyloom_plan::StepIndex;
use polyloom_worker::attempt::Origins;

use super::Runner;
use crate::sessions::Turn;

impl Runner {
    /// The turn of a step that is about to run, with the cells that may have to be run again for it.
    pub(super) fn turn(&self, step: StepIndex) -> Option<Turn> {
        let mut turn = self.bare_turn(step)?;
        if self.job.place.sessions.stands_at(&turn.name, turn.before) {
            return Some(turn);
        }
        turn.limits = self.limits_of(step, &turn);
        let mut earlier = self.step_before(step);
        while let Some(step) = earlier {
            let mut run = self.step_run(step);
            run.turn = self.bare_turn(step);
            turn.replays.push(run);
            earlier = self.step_before(step);
        }
        turn.replays.reverse();
        Some(turn)
    }

    fn bare_turn(&self, step: StepIndex) -> Option<Turn> {
        let cell = self.cell(step);
        let session = cell.session.as_ref()?;
        let steps = &self.job.prepared.plan.steps;
        let earlier = self.step_before(step);
        let before = earlier.map(|before| steps[before.at()].key);
        let previous = earlier.map(|before| self.cell(before).id.clone());
        let limits = self.limits(step);
        let (name, key) = (session.name.clone(), steps[step.at()].key);
        let flow = self.job.prepared.flow.path.clone();
        let origins = self.origins(&name);
        Some(Turn { name, flow, key, before, previous, replays: Vec::new(), limits, origins })
    }

    /// Where the code of a session's cells stands. A name that two of them have says nothing.
    fn origins(&self, session: &SessionName) -> Origins {
        let all = self.origins.get_or_init(|| {
            let mut all = HashMap::<SessionName, BTreeMap<String, Option<Origin>>>::new();
            for cell in &self.job.prepared.flow.cells {
                let Some(session) = &cell.session else { continue };
                let of_session = all.entry(session.name.clone()).or_default();
                let code = of_session.entry(cell.code.name.clone());
                code.and_modify(|it| *it = None).or_insert(Some(cell.code.origin.clone()));
            }
            let known = |(name, origin): (String, Option<Origin>)| Some((name, origin?));
            let known = |of: BTreeMap<_, _>| Arc::new(of.into_iter().filter_map(known).collect());
            all.into_iter().map(|(session, of)| (session, known(of))).collect()
        });
        all.get(session).cloned().unwrap_or_default()
    }

    /// What its process may use.
    fn limits_of(&self, step: StepIndex, turn: &Turn) -> Limits {
        let mut limits = self.limits(step);
        let of_session =
            |cell: &&Cell| cell.session.as_ref().is_some_and(|session| session.name == turn.name);
        for cell in self.job.prepared.flow.cells.iter().filter(of_session) {
            widen(&mut limits, &cell.limits);
        }
        limits
    }

    fn step_before(&self, step: StepIndex) -> Option<StepIndex> {
        let before = self.cell(step).session.as_ref()?.before.as_ref()?;
        // As a rule it is the one before this.
        let mut earlier = (0..u32::try_from(step.at()).ok()?).rev().map(StepIndex);
        earlier.find(|it| self.job.prepared.plan.steps[it.at()].cell == *before)
    }
}

/// A process that may run either of two cells may use what one of them may.
fn widen(limits: &mut Limits, other: &Limits) {
    limits.memory = limits.memory.max(other.memory);
    limits.pids = limits.pids.max(other.pids);
    limits.disk = limits.disk.max(other.disk);
    limits.disk_asked |= other.disk_asked;
    limits.inodes = limits.inodes.max(other.inodes);
    limits.open_files = limits.open_files.max(other.open_files);
    limits.cpus = match (limits.cpus, other.cpus) {
        (Some(one), Some(other)) => Some(one.max(other)),
        _ => None,
    };
    // That is counted for each of them, by the host.
    limits.cpu_time = None;
}
