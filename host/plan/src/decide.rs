//! Which cells run: from selection, keys and answers to a plan. One walk over the graph, no cell is looked at twice.
//!
//! A selected cell is brought up to date. A cell that is not selected is touched only when one that runs reads from it and its
//! result is not there, so a cached cell needs none of its ancestors. Whatever is planned and made from a cell
//! that runs is asked again, so that the results of one run fit together even when a cell gives another result each time.

use std::collections::HashSet;
use std::sync::Arc;

use polyloom_model::{CellId, Flow, Mark, PortName, Role};
use polyloom_protocol::meta::Outcome;
use thiserror::Error;

use crate::{
    Action, Answers, CellIndex, Check, Edge, Graph, KeyParts, Keyed, PartName, Plan, Previous,
    Producer, Reason, Recorded, Scope, Selected, Step, StepIndex, Supply, comes_in, diff,
};

/// What runs though its result is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Force {
    /// Nothing.
    #[default]
    Nothing,
    /// `--force`: the selected cells.
    Selected,
    /// `--force-all`: these and all that they are made from.
    All,
    /// `--no-cache`: as `All`; the reason given is that the cache is off.
    NoCache,
}

/// What a plan is made from.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The flow.
    pub flow: &'a Flow,
    /// Its graph.
    pub graph: &'a Graph,
    /// Its keys, in topological order.
    pub keys: &'a [Keyed],
    /// The cells selected.
    pub selected: &'a Selected,
    /// What the store knows of the keys and the cells.
    pub answers: &'a Answers,
    /// What runs though its result is there.
    pub force: Force,
    /// Cells that have run, or will, in the run that this plan goes on with. Empty for a new run.
    pub ran: &'a HashSet<CellId>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// `--only` leaves out a cell whose result is not there.
    #[error(
        "`--only {cell}` needs the result of `{needs}`, which is not in the store; run `+{cell}` or `{needs}` first"
    )]
    Missing {
        /// The cell that would run.
        cell: CellId,
        /// The cell it reads from.
        needs: CellId,
    },
}

/// The plan for a request.
pub fn plan(request: &Request<'_>) -> Result<Plan, PlanError> {
    let mut decision = Decision::new(request);
    decision.spread()?;
    Ok(decision.plan())
}

/// Cells that are known to be left out.
struct LeftOut {
    cells: Vec<bool>,
    /// Whether there is one.
    some: bool,
}

struct Decision<'a> {
    on: &'a Request<'a>,
    /// By cell: its place in `on.keys`.
    keyed: Vec<usize>,
    /// Selected, or an ancestor of a selected cell that may be run for it.
    within: Vec<bool>,
    /// It runs, surely or maybe.
    runs: Vec<bool>,
    /// Cells that run and read a temporary output of it that is gone, if it would stand otherwise.
    wanted_by: Vec<Vec<CellIndex>>,
    /// It runs because a cell that it reads from does.
    follows: Vec<bool>,
    /// It is a step of the plan.
    listed: Vec<bool>,
    /// Its result stands, but a later cell of its session runs, for which it may have to be done again: what it reads has to be there.
    replayed: Vec<bool>,
    /// Whether its result may be taken from the store: not if it was made in a session in which a cell before it has the cache off.
    cacheable: Vec<bool>,
    /// It ran already in this run.
    ran: Vec<bool>,
    /// Cells that run and whose neighbours have not heard of it.
    open: Vec<CellIndex>,
}

impl<'a> Decision<'a> {
    fn new(on: &'a Request<'a>) -> Self {
        let count = on.graph.len();
        let mut within = on.selected.marked.clone();
        if on.selected.scope == Scope::Needed {
            on.graph.add_ancestors(&mut within);
        }
        let mut keyed = vec![0; count];
        for (place, entry) in on.keys.iter().enumerate() {
            keyed[entry.cell.at()] = place;
        }
        let listed = on.selected.marked.clone();
        let mut cacheable = vec![true; count];
        for &cell in on.graph.order() {
            let before = on.graph.before(cell).is_none_or(|before| cacheable[before.at()]);
            cacheable[cell.at()] = before && on.flow.cells[cell.at()].cache;
        }
        let ran = on.flow.cells.iter().map(|cell| on.ran.contains(&cell.id)).collect();
        Self {
            on,
            keyed,
            within,
            runs: vec![false; count],
            wanted_by: vec![Vec::new(); count],
            follows: vec![false; count],
            listed,
            replayed: vec![false; count],
            cacheable,
            ran,
            open: Vec::new(),
        }
    }

    /// Marks what runs and what is listed.
    fn spread(&mut self) -> Result<(), PlanError> {
        for &cell in self.on.graph.order() {
            let runs = if self.ran[cell.at()] {
                true
            } else if self.says_no(cell) {
                false
            } else if self.on.selected.contains(cell) {
                self.result(cell).is_none()
            } else {
                self.within[cell.at()] && (self.forced(cell) || !self.cacheable(cell))
            };
            if runs {
                self.run(cell);
            }
        }
        while let Some(cell) = self.open.pop() {
            let producers = match self.ran[cell.at()] {
                // What it read is there.
                true => Vec::new(),
                false => self.on.graph.producers(cell),
            };
            let before = self.on.graph.before(cell);
            for producer in producers {
                let there = match self.result(producer) {
                    Some(result) => !self.lacks(cell, producer, result),
                    None => self.says_no(producer),
                };
                if !there && !self.within[producer.at()] {
                    return Err(PlanError::Missing {
                        cell: self.on.graph.id(cell).clone(),
                        needs: self.on.graph.id(producer).clone(),
                    });
                }
                self.listed[producer.at()] = true;
                if !there {
                    // Where it runs anyway, who runs because of that gives no reason.
                    let first = !self.follows[cell.at()] || !self.runs[producer.at()];
                    if first && self.result(producer).is_some() {
                        self.wanted_by[producer.at()].push(cell);
                    }
                    self.run(producer);
                } else if before == Some(producer) && !self.runs[producer.at()] {
                    self.replay(producer);
                }
            }
            // What is only done again has the result it had.
            if !self.runs[cell.at()] {
                continue;
            }
            let waits = |it: CellIndex| self.within[it.at()] && !self.runs[it.at()];
            for consumer in self.on.graph.consumers_that(cell, waits) {
                self.follows[consumer.at()] = true;
                self.run(consumer);
            }
        }
        Ok(())
    }

    fn run(&mut self, cell: CellIndex) {
        self.listed[cell.at()] = true;
        if !std::mem::replace(&mut self.runs[cell.at()], true) {
            self.open.push(cell);
        }
    }

    fn replay(&mut self, cell: CellIndex) {
        if !self.says_no(cell) && !std::mem::replace(&mut self.replayed[cell.at()], true) {
            self.open.push(cell);
        }
    }

    fn forced(&self, cell: CellIndex) -> bool {
        match self.on.force {
            Force::Nothing => false,
            Force::Selected => self.on.selected.contains(cell),
            Force::All | Force::NoCache => self.within[cell.at()],
        }
    }

    fn cacheable(&self, cell: CellIndex) -> bool {
        self.cacheable[cell.at()]
    }

    /// Whether its condition is known to say no, as long as nothing runs that it reads from.
    fn says_no(&self, cell: CellIndex) -> bool {
        let own = &self.on.flow.cells[cell.at()];
        own.condition().is_some() && self.on.answers.when.get(&own.id) == Some(&false)
    }

    fn keyed(&self, cell: CellIndex) -> &'a Keyed {
        &self.on.keys[self.keyed[cell.at()]]
    }

    fn recorded(&self, cell: CellIndex) -> Option<&'a Arc<Recorded>> {
        self.on.answers.recorded.get(&self.keyed(cell).key)
    }

    /// Whether a cell that runs reads an output of a result whose bytes are gone.
    fn lacks(&self, cell: CellIndex, producer: CellIndex, result: &Recorded) -> bool {
        let mut edges = self.on.graph.edges(cell).filter(|edge| edge.producer == producer);
        !result.evicted.is_empty() && edges.any(|edge| result.evicted.contains(edge.output))
    }

    /// Whether all that is gone of a result is what the flow calls temporary.
    fn is_spared(&self, cell: CellIndex, result: &Recorded) -> bool {
        let marks = &self.on.flow.cells[cell.at()].marks;
        result.evicted.iter().all(|port| marks.get(port) == Some(&Mark::Temp))
    }

    /// The result that stands if nothing the cell is made from runs. Temporary outputs of it may be gone.
    fn result(&self, cell: CellIndex) -> Option<&'a Arc<Recorded>> {
        if self.forced(cell) || !self.cacheable(cell) {
            return None;
        }
        let own = &self.on.flow.cells[cell.at()];
        if own.condition().is_some() && self.on.answers.when.get(&own.id) != Some(&true) {
            return None;
        }
        self.recorded(cell).filter(|recorded| self.is_spared(cell, recorded))
    }

    fn plan(&self) -> Plan {
        let count = self.listed.len();
        let mut later = vec![false; count];
        let open = self.on.flow.cells.iter().any(|cell| matches!(cell.role, Role::Open));
        for &cell in self.on.graph.order().iter().filter(|_| open) {
            let own = &self.on.flow.cells[cell.at()];
            later[cell.at()] = self.listed[cell.at()]
                && (matches!(own.role, Role::Open)
                    || self.on.graph.producers(cell).iter().any(|it| later[it.at()]));
        }
        let mut place: Vec<Option<StepIndex>> = vec![None; count];
        let mut left = LeftOut { cells: vec![false; count], some: false };
        let mut all = Vec::with_capacity(self.listed.iter().filter(|&&listed| listed).count());
        let mut now = 0;
        for wanted in [false, true] {
            for &cell in self.on.graph.order() {
                if !self.listed[cell.at()] || later[cell.at()] != wanted {
                    continue;
                }
                let next = u32::try_from(all.len()).expect("there are no more steps than cells");
                let step = self.step(cell, &place, &left);
                left.cells[cell.at()] = step.action == Action::Skip;
                left.some |= step.action == Action::Skip;
                all.push(step);
                place[cell.at()] = Some(StepIndex(next));
            }
            if !wanted {
                now = all.len();
            }
        }
        let later = all.split_off(now);
        Plan { steps: all, later }
    }

    /// Why a cell is left out, if it is known already that it is.
    fn left_out(&self, cell: CellIndex, left: &LeftOut) -> Option<Reason> {
        let own = &self.on.flow.cells[cell.at()];
        // What gathers goes without those of its steps that are left out.
        let decisive = match own.role {
            _ if !left.some => Vec::new(),
            Role::Gather => self.on.graph.gate(cell).into_iter().collect(),
            _ => self.on.graph.producers(cell),
        };
        if let Some(producer) = decisive.into_iter().find(|it| left.cells[it.at()]) {
            return Some(Reason::LeftOut(self.on.graph.id(producer).clone()));
        }
        let when = own.condition().filter(|_| self.says_no(cell))?;
        // What it reads may come out otherwise.
        let sure =
            |edge: Edge<'_>| !self.runs[edge.producer.at()] || !when.inputs().contains(edge.input);
        let sure = self.on.graph.edges(cell).all(sure);
        sure.then(|| Reason::When(when.to_string()))
    }

    fn step(&self, cell: CellIndex, place: &[Option<StepIndex>], left: &LeftOut) -> Step {
        let keyed = self.keyed(cell);
        let own = &self.on.flow.cells[cell.at()];
        let mut supplies = Vec::new();
        let (action, check, reason) = match (self.left_out(cell, left), self.result(cell)) {
            (Some(reason), _) => (Action::Skip, Check::Nothing, reason),
            (None, Some(result)) if !self.runs[cell.at()] => {
                if self.replayed[cell.at()] {
                    supplies = self.supplies(cell, place);
                }
                (Action::Cached(result.clone()), Check::Nothing, Reason::UpToDate)
            }
            (None, _) => {
                supplies = self.supplies(cell, place);
                // What the cell before it in its session gives is in both of its keys: under the one there is what was found under the other.
                let follows = self.follows_one(cell)
                    && (self.on.graph.gate(cell).is_some() || self.recorded(cell).is_some());
                let fed = follows || !supplies.is_empty();
                let (action, check, reason) = self.why(cell, fed);
                let check = match (check, own.condition()) {
                    (Check::Nothing, Some(_)) => Check::Condition,
                    (check, _) => check,
                };
                (action, check, reason)
            }
        };
        let mut needs = Vec::new();
        if action.may_run() {
            needs.extend(supplies.iter().map(|supply| supply.step));
            // What gave its items, its gate, and what left it a session, come before it, though it reads nothing of them.
            let before = self.on.graph.predecessors(cell).into_iter();
            let before = before.chain(self.on.graph.gate(cell)).chain(self.on.graph.before(cell));
            needs.extend(before.filter_map(|cell| place[cell.at()]));
        }
        needs.sort_unstable();
        needs.dedup();
        let expected_ms = self
            .recorded(cell)
            .map(|recorded| recorded.wall_ms)
            .or_else(|| self.on.answers.previous.get(&own.id).map(|previous| previous.wall_ms));
        Step {
            cell: own.id.clone(),
            index: cell,
            key: keyed.key,
            parts: keyed.parts.clone(),
            action,
            check,
            reason,
            needs,
            supplies,
            selected: self.on.selected.contains(cell),
            gathers: matches!(own.role, Role::Gather),
            gates: matches!(own.role, Role::Gate),
            retries: own.retries,
            expected_ms,
        }
    }

    /// Where its inputs come from, in the order in which they are gathered.
    fn supplies(&self, cell: CellIndex, place: &[Option<StepIndex>]) -> Vec<Supply> {
        let supply = |edge: Edge<'_>| {
            let step = place[edge.producer.at()]?;
            Some(Supply { input: edge.input.clone(), step, output: edge.output.clone() })
        };
        let mut all: Vec<Supply> = self.on.graph.edges(cell).filter_map(supply).collect();
        all.reverse();
        all
    }

    /// Whether its gate, or the cell before it in its session, runs.
    fn follows_one(&self, cell: CellIndex) -> bool {
        let (gate, before) = (self.on.graph.gate(cell), self.on.graph.before(cell));
        gate.into_iter().chain(before).any(|it| self.runs[it.at()])
    }

    /// Inputs by which the very bytes come in that came in before, from cells that are not what they were.
    fn same_bytes(&self, cell: CellIndex, previous: &Previous) -> HashSet<&'a PortName> {
        let Some(taken) = &previous.taken else { return HashSet::new() };
        let producer = |id: &CellId| match self.on.graph.index(id.as_str()) {
            Some(at) if self.runs[at.at()] => Producer::Unknown,
            Some(at) if self.says_no(at) => Producer::LeftOut,
            Some(at) => self.recorded(at).map_or(Producer::Unknown, |it| Producer::Stands(it)),
            None => Producer::Unknown,
        };
        let parts = &self.keyed(cell).parts;
        let differs = |port: &PortName| {
            let part = PartName::Input(port.clone());
            let digest = |parts: &KeyParts| parts.get(&part).map(|part| part.digest);
            digest(&previous.parts) != digest(parts)
        };
        let own = &self.on.flow.cells[cell.at()];
        let ports = own.inputs.iter().filter(|(port, input)| {
            let before = taken.get(*port);
            before.is_some()
                && differs(port)
                && comes_in(&input.source, producer).as_ref() == before
        });
        ports.map(|(port, _)| port).collect()
    }

    /// What a cell that runs does, and why.
    fn why(&self, cell: CellIndex, fed: bool) -> (Action, Check, Reason) {
        if matches!(self.on.flow.cells[cell.at()].role, Role::Open) {
            let cells = self.on.graph.producers(cell);
            let ids = cells.into_iter().filter(|it| self.runs[it.at()]);
            let ids = ids.map(|cell| self.on.graph.id(cell).clone()).collect();
            return (Action::Run, Check::Nothing, Reason::Items(ids));
        }
        if self.on.force == Force::NoCache || !self.cacheable(cell) {
            return (Action::Run, Check::Nothing, Reason::NoCache);
        }
        if self.forced(cell) {
            return (Action::Run, Check::Nothing, Reason::Forced);
        }
        let check = if fed { Check::Content } else { Check::Nothing };
        let recorded = self.recorded(cell);
        if recorded.is_some_and(|recorded| !self.is_spared(cell, recorded)) {
            return (Action::Run, check, Reason::Evicted);
        }
        let wanted_by = &self.wanted_by[cell.at()];
        if !wanted_by.is_empty() {
            let cells = self.on.graph.order().iter().filter(|it| wanted_by.contains(it));
            let ids = cells.map(|cell| self.on.graph.id(*cell).clone()).collect();
            return (Action::Run, check, Reason::Temporary(ids));
        }
        let running = |cell: &CellIndex| self.runs[cell.at()];
        let upstream = || {
            let cells = self.on.graph.producers(cell).into_iter().filter(running);
            Reason::Upstream(cells.map(|cell| self.on.graph.id(cell).clone()).collect())
        };
        let Some(previous) = self.on.answers.previous.get(self.on.graph.id(cell)) else {
            // A result may be known from another flow; it is in doubt only because a producer runs.
            return match recorded {
                Some(_) => (Action::Maybe, check, upstream()),
                None => (Action::Run, check, Reason::NeverRan),
            };
        };
        let mut changes = diff(&previous.parts, &self.keyed(cell).parts);
        let same_bytes = self.same_bytes(cell, previous);
        changes.retain(|change| match &change.part {
            PartName::Input(port) => !same_bytes.contains(port),
            _ => true,
        });
        let ended = previous.outcome;
        if recorded.is_none() && changes.is_empty() && ended != Some(Outcome::Ok) {
            let reason = ended.map_or(Reason::Interrupted, Reason::Failed);
            return (Action::Run, check, reason);
        }
        let wired: HashSet<&str> =
            self.on.graph.edges(cell).map(|edge| edge.input.as_str()).collect();
        let own = |part: &PartName| match part {
            PartName::Input(port) => !wired.contains(port.as_str()),
            _ => true,
        };
        // A recorded result under this very key says more than the last attempt, which may have had another.
        let same = recorded.is_some() || !changes.iter().any(|change| own(&change.part));
        // That its items are known, or are to be asked for again, says all; the rest follows from it.
        if let Some(change) = changes.iter().find(|change| change.is_of_map()) {
            return (Action::Run, check, Reason::Changed(vec![change.clone()]));
        }
        let from_running: HashSet<&str> = self
            .on
            .graph
            .edges(cell)
            .filter(|edge| self.runs[edge.producer.at()])
            .map(|edge| edge.input.as_str())
            .collect();
        let before_runs = self.on.graph.before(cell).is_some_and(|it| self.runs[it.at()]);
        let told: Vec<_> = changes
            .into_iter()
            .filter(|change| match &change.part {
                PartName::Input(port) => !from_running.contains(port.as_str()),
                PartName::Session => !before_runs,
                _ => true,
            })
            .collect();
        let reason = if recorded.is_none() && !told.is_empty() {
            Reason::Changed(told)
        } else if !from_running.is_empty() || self.follows_one(cell) {
            upstream()
        } else if recorded.is_none() && !same_bytes.is_empty() {
            let edges = self.on.graph.edges(cell).filter(|edge| same_bytes.contains(edge.input));
            let mut cells: Vec<_> = edges.map(|edge| edge.producer).collect();
            cells.sort_unstable();
            cells.dedup();
            let ids = cells.into_iter().map(|cell| self.on.graph.id(cell).clone());
            Reason::SameOutput(ids.collect())
        } else {
            return (Action::Run, check, Reason::Evicted);
        };
        let action = if fed && same && (recorded.is_some() || ended == Some(Outcome::Ok)) {
            Action::Maybe
        } else {
            Action::Run
        };
        (action, check, reason)
    }
}
