//! A step's turn in its session: which cells come before it, and what their process may use.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use polyloom_model::{Cell, Encoding, Limits, Origin, SessionName};
use polyloom_plan::{Action, Check, StepIndex};
use polyloom_schedule::State;
use polyloom_worker::attempt::Origins;

use super::Runner;
use crate::sessions::Turn;
use crate::step::StepRun;

/// Among how many steps after one the next of its session is looked for.
const LOOKED_AT: usize = 64;

impl Runner {
    /// The turn of a step that is about to run, with the cells that may have to be run again for it.
    pub(super) fn turn(&self, step: StepIndex) -> Option<Turn> {
        let mut turn = self.bare_turn(step)?;
        if let Some(wanted) = self.job.place.sessions.stands_at(&turn.name, turn.before, turn.key) {
            turn.behind = self.behind(step, wanted);
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
        let (replays, behind) = Default::default();
        Some(Turn { name, flow, key, before, previous, replays, behind, limits, origins })
    }

    /// Steps so far behind a step which may be sent to the session's worker before their turn.
    fn behind(&self, step: StepIndex, wanted: Range<usize>) -> Vec<StepRun> {
        // Where states are kept for later runs, each cell waits until that of the one before is.
        if wanted.is_empty() || self.job.place.workplace.room() > 0 {
            return Vec::new();
        }
        let all = std::iter::successors(Some(step), |last| self.step_behind(*last)).skip(1);
        let wanted = all.take(wanted.end).skip(wanted.start);
        let run = |step| StepRun { turn: self.bare_turn(step), ..self.step_run(step) };
        wanted.map(run).take_while(StepRun::is_light).collect()
    }

    /// The next step of a session, where nothing but what becomes of the one before it decides whether it runs, and all that it is given is there: small values.
    fn step_behind(&self, step: StepIndex) -> Option<StepIndex> {
        let cell = self.cell(step);
        let steps = &self.job.prepared.plan.steps;
        let first = step.at() + 1;
        let later = first..steps.len().min(first + LOOKED_AT);
        let follows = |at: &usize| {
            let session = self.job.prepared.flow.cells[steps[*at].index.at()].session.as_ref();
            session.is_some_and(|session| session.before.as_ref() == Some(&cell.id))
        };
        let at = later.into_iter().find(follows)?;
        let (planned, next) = (&steps[at], StepIndex(u32::try_from(at).ok()?));
        let own = self.cell(next);
        let sure = planned.action == Action::Run
            && planned.check == Check::Nothing
            && planned.needs.contains(&step)
            && planned.needs.iter().all(|it| *it == step || self.slots[it.at()].outputs.is_some())
            && self.schedule.state(next) == Some(State::Waiting);
        let bare = own.is_program()
            && own.call.is_none()
            && own.outputs.iter().all(|(_, ty)| ty.encoding() == Encoding::Msgpack)
            && own.stdin.is_none()
            && own.asks.is_empty()
            && own.secrets.is_empty();
        (sure && bare && !self.job.permits.contains_key(&own.declared)).then_some(next)
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
