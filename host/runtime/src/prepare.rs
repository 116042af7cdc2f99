//! From a flow to its plan: asks the disk, the store and the history what planning needs to know.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use polyloom_model::{
    Cell, CellId, Digest, ExecutorId, Flow, Manifest, Mark, PortName, Ports, Type,
};
use polyloom_plan::{
    Action, AllFound, Answers, Artifact, ExecutorFacts, ExpandError, Expanded, Facts, Force, Graph,
    GraphError, Key, KeyError, KeyParts, Keyed, OpenAxis, Plan, PlanError, Previous, Reason,
    Recorded, Request, SelectError, Selection, expand, is_plain, keys, plan, templates,
};
use polyloom_protocol::meta::{ArtifactMeta, Outcome};
use polyloom_store::{Fault, History, StoredResult};
use polyloom_worker::executor::Executor;
use polyloom_worker::tools::ToolError;
use thiserror::Error;

use crate::conditions;
use crate::files::{self, FileError};
use crate::inputs;
use crate::items::{self, ItemsError};
use crate::permit;
use crate::place::Place;
use crate::words::chain;
use crate::{libraries, normal, programs, sure};

/// A plan and all that running it needs.
pub struct Prepared {
    /// The flow as it is written.
    pub written: Arc<Flow>,
    /// Its programs, and those of flows in it, as they are written.
    pub templates: Arc<Flow>,
    /// The flow of plain steps, as far as they are known.
    pub flow: Arc<Flow>,
    /// The axes of maps whose items are not known.
    pub open: Vec<OpenAxis>,
    /// What was found on the others.
    pub(crate) found: AllFound,
    /// Open cells whose items can't be had, and why: found out while the run goes on.
    pub(crate) broken: HashMap<CellId, String>,
    /// What was asked for.
    wanted: Kept,
    /// The steps.
    pub plan: Plan,
    /// Executors that are ready.
    pub executors: HashMap<ExecutorId, Arc<Executor>>,
    /// Digest of an executor's and its toolchain's identity.
    pub identities: HashMap<ExecutorId, Digest>,
    /// The content of files as planned.
    pub facts: Facts,
    /// The keys of all cells.
    pub keyed: Vec<Keyed>,
    /// What is known of them.
    pub answers: Answers,
    /// What the person has to hear of before anything runs.
    pub warnings: Vec<String>,
    /// Keys of results whose last use was noted long ago.
    pub long_unused: Vec<Digest>,
    /// Results of which the flow says something else of keeping outputs than the store knows.
    pub marks: Marks,
    /// The store's count of changes before it was asked anything.
    pub(crate) changes: Option<u64>,
    /// Where this is the plan of the first cells of a large flow: what plans the whole flow.
    pub(crate) others: Option<Box<Prepared>>,
}

/// Why there is no plan.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// The graph does not hold together.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// The selection.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// A file the flow reads.
    #[error(transparent)]
    File(#[from] FileError),
    /// The keys.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Maps, and flows within the flow.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// What a cell is mapped over.
    #[error(transparent)]
    Items(#[from] ItemsError),
    /// Programs that cells to be run need.
    #[error("{}", missing(.0))]
    Tools(Vec<(ToolError, Vec<CellId>)>),
    /// The store or the history.
    #[error(transparent)]
    Store(#[from] Fault),
}

fn missing(errors: &[(ToolError, Vec<CellId>)]) -> String {
    const NAMED: usize = 5;
    let texts: Vec<_> = errors
        .iter()
        .map(|(error, cells)| {
            let names: Vec<_> = cells.iter().take(NAMED).map(|cell| format!("`{cell}`")).collect();
            let more = if cells.len() > NAMED { " and others" } else { "" };
            format!("{error}; cells that need it: {}{more}", names.join(", "))
        })
        .collect();
    texts.join("; ")
}

/// What was asked for, for planning anew when more is known.
#[derive(Debug, Clone)]
struct Kept {
    selection: Selection,
    force: Force,
    flow_name: Arc<str>,
}

/// What is asked for.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The cells.
    pub selection: &'a Selection,
    /// What runs though its result is there.
    pub force: Force,
    /// The time, milliseconds since 1970.
    pub unix_ms: u64,
    /// The project's history, for reasons.
    pub history: Option<&'a History>,
    /// The name of the flow in the history.
    pub flow_name: &'a str,
}

/// What has happened so far in the run that is planned anew.
#[derive(Default)]
pub struct Progress {
    /// Cells that ran, or will.
    pub ran: HashSet<CellId>,
    /// What has come out; empty for a run that has not begun.
    pub results: HashMap<CellId, Arc<BTreeMap<PortName, Artifact>>>,
}

/// Makes the plan.
pub fn prepare<'m>(
    place: &Place,
    flow: Arc<Flow>,
    manifest: impl Fn(&ExecutorId) -> Option<&'m Arc<Manifest>>,
    wanted: &Wanted<'_>,
) -> Result<Prepared, PrepareError> {
    let (mut prepared, missing) = unplanned(place, flow, manifest, wanted)?;
    prepared.settle(place, wanted, &Progress::default())?;
    prepared.with_tools(missing)
}

/// Makes the plan for a run. That of a large flow may be the plan of its first cells alone: the run plans the others while they run.
pub fn begin<'m>(
    place: &Place,
    flow: Arc<Flow>,
    manifest: impl Fn(&ExecutorId) -> Option<&'m Arc<Manifest>>,
    wanted: &Wanted<'_>,
) -> Result<Prepared, PrepareError> {
    let (mut prepared, missing) = unplanned(place, flow, manifest, wanted)?;
    if missing.is_empty()
        && let Some(first) = prepared.first(place, wanted)?
    {
        return Ok(first);
    }
    prepared.settle(place, wanted, &Progress::default())?;
    prepared.with_tools(missing)
}

/// What a plan is made of, and the executors whose programs are missing.
fn unplanned<'m>(
    place: &Place,
    flow: Arc<Flow>,
    manifest: impl Fn(&ExecutorId) -> Option<&'m Arc<Manifest>>,
    wanted: &Wanted<'_>,
) -> Result<(Prepared, BTreeMap<ExecutorId, ToolError>), PrepareError> {
    tracing::debug!(flow = wanted.flow_name, "a plan is made");
    let templates = templates(&flow)?;
    let executors = place.executors(&templates, &manifest);
    let mut facts = Facts {
        executors: HashMap::new(),
        files: HashMap::new(),
        codes: HashMap::new(),
        env: permit::variables(&templates),
    };
    let mut identities = HashMap::new();
    for (id, executor) in &executors.ready {
        let known = place.facts(executor);
        identities.insert(id.clone(), known.together());
        facts.executors.insert(id.clone(), known);
    }
    for id in executors.missing.keys() {
        // Its cells can't run, but the keys of the others can be known.
        if let Some(manifest) = manifest(id) {
            let toolchain = ExecutorFacts::toolchain([("missing", "missing")]);
            let known = ExecutorFacts::of_manifest(manifest, &place.sdk, toolchain);
            facts.executors.insert(id.clone(), known);
        }
    }
    if !is_plain(&flow) {
        // What the code of steps that are added later is known by is not asked for while a run goes on.
        normal::digests(place, &templates, executors.ready.iter(), &facts.executors);
    }
    let prepared = Prepared {
        written: flow.clone(),
        templates,
        flow,
        open: Vec::new(),
        found: AllFound::new(),
        broken: HashMap::new(),
        wanted: Kept {
            selection: wanted.selection.clone(),
            force: wanted.force,
            flow_name: wanted.flow_name.into(),
        },
        plan: Plan { steps: Vec::new(), later: Vec::new() },
        executors: executors.ready,
        identities,
        facts,
        keyed: Vec::new(),
        answers: Answers::default(),
        warnings: Vec::new(),
        long_unused: Vec::new(),
        marks: Vec::new(),
        changes: place.store.changes().ok(),
        others: None,
    };
    Ok((prepared, executors.missing))
}

impl Prepared {
    /// Whether it is one step, and never becomes more.
    #[must_use]
    pub fn is_one(&self) -> bool {
        self.open.is_empty() && self.plan.all().take(2).count() < 2
    }

    /// The plan, if no cell of it that may run is of an executor whose programs are missing.
    fn with_tools(self, missing: BTreeMap<ExecutorId, ToolError>) -> Result<Self, PrepareError> {
        let mut needed = Vec::new();
        for (id, error) in missing {
            let runs = self.plan.all().filter(|step| step.action.may_run());
            let cells: Vec<CellId> = runs
                .filter(|step| self.flow.cells[step.index.at()].executor == id)
                .map(|step| step.cell.clone())
                .collect();
            if !cells.is_empty() {
                needed.push((error, cells));
            }
        }
        if needed.is_empty() { Ok(self) } else { Err(PrepareError::Tools(needed)) }
    }

    /// Whether each result that stands is the one that its cell had last, as far as the history knows.
    pub fn is_known(&self, history: &History) -> Result<bool, Fault> {
        let stand = self.plan.steps.iter().filter(|step| matches!(step.action, Action::Cached(_)));
        let cells: Vec<&str> = stand.clone().map(|step| step.cell.as_str()).collect();
        let last = history.last(&self.wanted.flow_name, &cells)?;
        let mut known = stand.map(|step| {
            let last = last.get(step.cell.as_str()).filter(|last| last.outcome.has_outputs());
            last.is_some_and(|last| last.key == step.key.0.to_string())
        });
        Ok(known.all(|known| known))
    }

    /// The flow's name in the history.
    pub(crate) fn name(&self) -> Arc<str> {
        Arc::clone(&self.wanted.flow_name)
    }

    /// How many cells of the flow as it is written the steps of the plan are of, where it has maps or flows in it.
    #[must_use]
    pub fn written_cells(&self) -> Option<u64> {
        if is_plain(&self.written) {
            return None;
        }
        let names = self.plan.all().filter_map(|step| step.cell.as_str().split(['[', '/']).next());
        Some(names.collect::<HashSet<_>>().len() as u64)
    }

    /// The plan anew, now that more has come out; the cells of before are in it.
    pub fn again(
        &self,
        place: &Place,
        history: Option<&History>,
        unix_ms: u64,
        progress: &Progress,
    ) -> Result<Self, PrepareError> {
        let mut next = self.anew();
        next.settle_again(place, history, unix_ms, progress)?;
        Ok(next)
    }

    /// The same, not planned yet.
    pub(crate) fn anew(&self) -> Self {
        Self {
            written: Arc::clone(&self.written),
            templates: Arc::clone(&self.templates),
            flow: Arc::clone(&self.flow),
            open: Vec::new(),
            found: self.found.clone(),
            broken: self.broken.clone(),
            wanted: self.wanted.clone(),
            plan: Plan { steps: Vec::new(), later: Vec::new() },
            executors: self.executors.clone(),
            identities: self.identities.clone(),
            facts: self.facts.clone(),
            keyed: Vec::new(),
            answers: Answers::default(),
            warnings: Vec::new(),
            long_unused: Vec::new(),
            marks: Vec::new(),
            changes: None,
            others: None,
        }
    }

    /// Plans what was asked for, in a run that goes on.
    pub(crate) fn settle_again(
        &mut self,
        place: &Place,
        history: Option<&History>,
        unix_ms: u64,
        progress: &Progress,
    ) -> Result<(), PrepareError> {
        let Kept { selection, force, flow_name } = self.wanted.clone();
        let wanted =
            Wanted { selection: &selection, force, unix_ms, history, flow_name: &flow_name };
        self.settle(place, &wanted, progress)
    }

    /// Expands and plans, as far as it goes: each time more items are known, there may be more to be known.
    pub(crate) fn settle(
        &mut self,
        place: &Place,
        wanted: &Wanted<'_>,
        progress: &Progress,
    ) -> Result<(), PrepareError> {
        loop {
            if is_plain(&self.written) {
                self.flow = Arc::clone(&self.written);
            } else {
                let Expanded { flow, open } = expand(&self.written, &self.found)?;
                (self.flow, self.open) = (Arc::new(flow), open);
            }
            if self.look(place, progress, |_, _| None)? {
                continue;
            }
            let flow = Arc::clone(&self.flow);
            let graph = Graph::new(&flow)?;
            let (selected, unresolved) = match wanted.selection.resolve(&flow, &graph) {
                Ok(selected) => (selected, None),
                // It may be one of the steps that are not known yet.
                Err(error) if !self.open.is_empty() => {
                    (Selection::default().resolve(&flow, &graph)?, Some(error))
                }
                Err(error) => return Err(error.into()),
            };
            self.facts.files = files::digests(&flow, &place.store, wanted.unix_ms)?;
            self.facts.codes =
                normal::digests(place, &flow, self.executors.iter(), &self.facts.executors);
            self.keyed = keys(&flow, &graph, &self.facts)?;
            (self.answers, self.long_unused, self.marks) =
                answers(place, &flow, &self.keyed, wanted)?;
            self.answers.when = conditions::answers(place, &flow, &self.keyed, &self.answers);
            // Ends: each time round, at least one more result counts as evicted, or one more cell was asked about.
            loop {
                let request = Request {
                    flow: &flow,
                    graph: &graph,
                    keys: &self.keyed,
                    selected: &selected,
                    answers: &self.answers,
                    force: wanted.force,
                    ran: &progress.ran,
                };
                self.plan = plan(&request)?;
                let struck = sure::strike(&self.plan, &mut self.answers.recorded, &place.store);
                let asked = match wanted.history {
                    Some(history) => {
                        inputs::ask(&self.plan, &mut self.answers, history, wanted.flow_name)?
                    }
                    None => false,
                };
                if !struck && !asked {
                    break;
                }
            }
            let damaged = place.store.take_damaged();
            self.warnings.extend(sure::told(&damaged, &flow, &self.keyed, &self.answers.recorded));
            for step in self.plan.steps.iter_mut().chain(&mut self.plan.later) {
                if let Reason::Changed(changes) = &mut step.reason
                    && let Some(previous) = self.answers.previous.get(&step.cell)
                {
                    libraries::tell(&place.store, &previous.parts, &step.parts, changes);
                    programs::tell(&place.store, &previous.parts, &step.parts, changes);
                }
            }
            if self.open.is_empty() {
                return Ok(());
            }
            let mut standing: HashMap<&CellId, &Recorded> = HashMap::new();
            for step in &self.plan.steps {
                if let Action::Cached(recorded) = &step.action {
                    standing.insert(&step.cell, recorded);
                }
            }
            let standing: HashMap<CellId, Recorded> =
                standing.into_iter().map(|(id, it)| (id.clone(), it.clone())).collect();
            let result = |cell: &CellId, port: &PortName| {
                let came = progress.results.get(cell).and_then(|outputs| outputs.get(port));
                let stood = || {
                    let there = standing.get(cell).filter(|it| !it.evicted.contains(port))?;
                    there.outputs.get(port)
                };
                came.or_else(stood).cloned()
            };
            if !self.look(place, progress, result)? {
                return unresolved.map_or(Ok(()), |error| Err(error.into()));
            }
        }
    }

    /// Looks at the axes that are open; whether more is known now.
    fn look(
        &mut self,
        place: &Place,
        progress: &Progress,
        result: impl Fn(&CellId, &PortName) -> Option<Artifact>,
    ) -> Result<bool, ItemsError> {
        let mut more = false;
        for open in &self.open {
            if self.broken.contains_key(&open.cell) {
                continue;
            }
            match items::find(&self.written.root, &place.store, &place.writes, open, &result) {
                Ok(Some(found)) => {
                    self.found.insert((open.cell.clone(), open.axis.port.clone()), found);
                    more = true;
                }
                Ok(None) => {}
                // A run that goes on goes on without it.
                Err(error) if !progress.results.is_empty() => {
                    self.broken.insert(open.cell.clone(), chain(&error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(more)
    }
}

/// What is said of keeping the outputs of results, by key.
type Marks = Vec<(Digest, BTreeMap<String, Mark>)>;

fn answers(
    place: &Place,
    flow: &Flow,
    keyed: &[Keyed],
    wanted: &Wanted<'_>,
) -> Result<(Answers, Vec<Digest>, Marks), PrepareError> {
    /// A collection spares what was used within the last hour while others have the store open: uses are noted well before.
    const GRAIN_MS: u64 = 1_200_000;
    let mut long_unused = Vec::new();
    let mut marks = Vec::new();
    let places: HashMap<Digest, &Cell> = match flow.cells.iter().any(|it| !it.marks.is_empty()) {
        true => keyed.iter().map(|it| (it.key.0, &flow.cells[it.cell.at()])).collect(),
        false => HashMap::new(),
    };
    let asked: Vec<Digest> = keyed.iter().map(|entry| entry.key.0).collect();
    let mut recorded = HashMap::with_capacity(keyed.len());
    for (key, stored) in place.store.lookup_many(&asked)? {
        if stored.used_unix_ms.saturating_add(GRAIN_MS) < wanted.unix_ms {
            long_unused.push(key);
        }
        let said = places.get(&key).map(|cell| cell.marks_by_name()).unwrap_or_default();
        if said != stored.marks {
            marks.push((key, said));
        }
        if stored.outcome.has_outputs() {
            recorded.insert(Key(key), Arc::new(to_recorded(stored)));
        }
    }
    // An archive may have brought a result that lacks an output.
    for entry in keyed {
        let declared = &flow.cells[entry.cell.at()].outputs;
        if recorded.get(&entry.key).is_some_and(|result| !has_all(result, declared)) {
            recorded.remove(&entry.key);
        }
    }
    // A recorded result says more than the last attempt did: the parts of 10,000 fresh cells need not be read.
    let unknown: Vec<&CellId> = keyed
        .iter()
        .filter(|entry| !recorded.contains_key(&entry.key))
        .map(|entry| &flow.cells[entry.cell.at()].id)
        .collect();
    let previous = match wanted.history {
        // What is damaged in it makes reasons poorer, and no run impossible.
        Some(history) if !unknown.is_empty() => {
            previous(history, &unknown, wanted).unwrap_or_else(|error| {
                tracing::warn!(error = %chain(&error), "the history can't be read");
                HashMap::new()
            })
        }
        _ => HashMap::new(),
    };
    Ok((Answers { recorded, previous, when: HashMap::new() }, long_unused, marks))
}

fn previous(
    history: &History,
    cells: &[&CellId],
    wanted: &Wanted<'_>,
) -> Result<HashMap<CellId, Previous>, Fault> {
    let names: Vec<&str> = cells.iter().map(|cell| cell.as_str()).collect();
    let mut rows = history.last(wanted.flow_name, &names)?;
    let mut all = HashMap::new();
    for cell in cells {
        let Some(row) = rows.remove(cell.as_str()) else { continue };
        // Parts of another version of the key say nothing.
        let Ok(parts) = serde_json::from_str::<KeyParts>(&row.parts) else { continue };
        // A result that stood was a good one.
        let outcome = match row.outcome {
            Outcome::Cached => Outcome::Ok,
            outcome => outcome,
        };
        let previous = Previous { parts, outcome: Some(outcome), wall_ms: 0.0, taken: None };
        all.insert((*cell).clone(), previous);
    }
    Ok(all)
}

/// A stored result as the plan knows it. A row whose texts can't be read any more counts as evicted.
#[must_use]
pub fn to_recorded(stored: StoredResult) -> Recorded {
    let mut outputs = BTreeMap::new();
    let mut evicted = Vec::new();
    for (port, meta) in stored.outputs {
        let there = !stored.evicted && !stored.gone.contains(&port);
        let Ok(port) = port.parse::<PortName>() else { continue };
        match to_artifact(&meta) {
            Some(artifact) if there => {
                outputs.insert(port, artifact);
            }
            artifact => {
                evicted.push(port.clone());
                if let Some(artifact) = artifact {
                    outputs.insert(port, artifact);
                }
            }
        }
    }
    Recorded { outputs, wall_ms: stored.wall_ms, evicted }
}

/// Whether a result has every output that its cell declares.
pub fn has_all(result: &Recorded, declared: &Ports<Type>) -> bool {
    declared.keys().all(|port| result.outputs.contains_key(port))
}

fn to_artifact(meta: &ArtifactMeta) -> Option<Artifact> {
    Some(Artifact {
        digest: meta.digest.parse().ok()?,
        ty: meta.r#type.parse().ok()?,
        size: meta.size,
        media: meta.media_type.clone(),
    })
}

/// What a plan's action is called in events.
#[must_use]
pub fn action_of(action: &Action) -> polyloom_events::Action {
    match action {
        Action::Cached(_) => polyloom_events::Action::Cached,
        Action::Run => polyloom_events::Action::Run,
        Action::Maybe => polyloom_events::Action::Maybe,
        Action::Skip => polyloom_events::Action::Skip,
    }
}
