//! From a flow to its plan: asks the disk, the store and the history what planning needs to know.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use polyloom_model::{Cell, CellId, Digest, ExecutorId, Flow, Input, Manifest, PortName, Source};
use polyloom_plan::{
    Action, Answers, Artifact, Check, ExecutorFacts, Facts, Force, Graph, GraphError, Key,
    KeyError, KeyParts, Keyed, Plan, PlanError, Previous, Recorded, Request, SelectError,
    Selection, keys, plan,
};
use polyloom_protocol::meta::ArtifactMeta;
use polyloom_store::{Fault, History, StoredResult};
use polyloom_worker::executor::Executor;
use polyloom_worker::tools::ToolError;
use thiserror::Error;

use crate::files::{self, FileError};
use crate::permit::{self, Permit};
use crate::place::Place;
use crate::sure;

/// A plan and all that running it needs.
pub struct Prepared {
    /// The flow.
    pub flow: Arc<Flow>,
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
}

impl Prepared {
    /// The cells of the plan, and those from which what they read came, that ask for something.
    #[must_use]
    pub fn asking(&self) -> Vec<&Cell> {
        let cells = &self.flow.cells;
        let asks = |cell: &Cell| !cell.asks.is_empty() || !cell.secrets.is_empty();
        if !cells.iter().any(asks) {
            return Vec::new();
        }
        let sources = sources(&self.flow);
        let mut met = vec![false; cells.len()];
        let mut todo: Vec<usize> = self.plan.steps.iter().map(|step| step.index.at()).collect();
        while let Some(at) = todo.pop() {
            if !std::mem::replace(&mut met[at], true) {
                todo.extend(&sources[at]);
            }
        }
        let met = cells.iter().zip(met).filter(|(_, met)| *met);
        met.map(|(cell, _)| cell).filter(|cell| asks(cell)).collect()
    }

    /// Lets the plan use no result of a cell that was denied what it asks for, and make or use none of what that gave: such cells
    /// are started, and refused there.
    pub fn refuse(&mut self, permits: &mut HashMap<CellId, Permit>) {
        let flow = &self.flow;
        let denied = |id: &CellId| matches!(permits.get(id), Some(Permit::Denied(_)));
        let mut todo: Vec<usize> =
            (0..flow.cells.len()).filter(|at| denied(&flow.cells[*at].id)).collect();
        if todo.is_empty() {
            return;
        }
        let mut readers = vec![Vec::new(); flow.cells.len()];
        for (at, sources) in sources(flow).iter().enumerate() {
            sources.iter().for_each(|source| readers[*source].push(at));
        }
        let mut because: HashMap<usize, usize> = todo.iter().map(|at| (*at, *at)).collect();
        while let Some(at) = todo.pop() {
            for reader in &readers[at] {
                if !because.contains_key(reader) {
                    because.insert(*reader, because[&at]);
                    todo.push(*reader);
                }
            }
        }
        for step in &mut self.plan.steps {
            let Some(first) = because.get(&step.index.at()) else { continue };
            let first = &flow.cells[*first].id;
            if let (true, Some(Permit::Denied(why))) = (*first != step.cell, permits.get(first)) {
                let text = format!("it is made of what `{first}` gave, which {why}");
                permits.insert(step.cell.clone(), Permit::Denied(text));
            }
            step.action = Action::Run;
            step.check = Check::Nothing;
        }
    }
}

/// For each cell, those whose outputs it reads.
fn sources(flow: &Flow) -> Vec<Vec<usize>> {
    let places: HashMap<&CellId, usize> =
        flow.cells.iter().enumerate().map(|(at, cell)| (&cell.id, at)).collect();
    let read = |input: &Input| match &input.source {
        Source::Port(cell, _) => places.get(cell).copied(),
        Source::Param(_) | Source::File(_) | Source::Value(_) => None,
    };
    flow.cells.iter().map(|cell| cell.inputs.values().filter_map(read).collect()).collect()
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

/// What is asked for.
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

/// Makes the plan.
pub fn prepare<'m>(
    place: &Place,
    flow: Arc<Flow>,
    manifest: impl Fn(&ExecutorId) -> Option<&'m Arc<Manifest>>,
    wanted: &Wanted<'_>,
) -> Result<Prepared, PrepareError> {
    let graph = Graph::new(&flow)?;
    let selected = wanted.selection.resolve(&flow, &graph)?;
    let executors = place.executors(&flow, &manifest);
    let mut facts = Facts {
        executors: HashMap::new(),
        files: files::digests(&flow, &place.store, wanted.unix_ms)?,
        env: permit::variables(&flow),
    };
    let mut identities = HashMap::new();
    for (id, executor) in &executors.ready {
        let known = place.facts(executor);
        let identity = format!("{} {}", known.identity.digest, known.toolchain.digest);
        identities.insert(id.clone(), Digest::of(identity.as_bytes()));
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
    let keyed = keys(&flow, &graph, &facts)?;
    let (mut answers, long_unused) = answers(place, &flow, &keyed, wanted)?;
    // Ends: each time round, at least one more result counts as evicted.
    let plan = loop {
        let request = Request {
            flow: &flow,
            graph: &graph,
            keys: &keyed,
            selected: &selected,
            answers: &answers,
            force: wanted.force,
        };
        let plan = plan(&request)?;
        if !sure::strike(&plan, &mut answers.recorded, &place.store) {
            break plan;
        }
    };
    let damaged = place.store.take_damaged();
    let warnings = sure::told(&damaged, &flow, &keyed, &answers.recorded);
    let mut needed = Vec::new();
    for (id, error) in executors.missing {
        let runs = plan.steps.iter().filter(|step| step.action.may_run());
        let cells: Vec<CellId> = runs
            .filter(|step| flow.cells[step.index.at()].executor == id)
            .map(|step| step.cell.clone())
            .collect();
        if !cells.is_empty() {
            needed.push((error, cells));
        }
    }
    if !needed.is_empty() {
        return Err(PrepareError::Tools(needed));
    }
    let executors = executors.ready;
    Ok(Prepared { plan, executors, identities, facts, keyed, answers, flow, warnings, long_unused })
}

fn answers(
    place: &Place,
    flow: &Flow,
    keyed: &[Keyed],
    wanted: &Wanted<'_>,
) -> Result<(Answers, Vec<Digest>), PrepareError> {
    /// A collection spares what was used within the last hour while others have the store open: uses are noted well before.
    const GRAIN_MS: u64 = 1_200_000;
    let mut long_unused = Vec::new();
    let asked: Vec<Digest> = keyed.iter().map(|entry| entry.key.0).collect();
    let mut recorded = HashMap::with_capacity(keyed.len());
    for (key, stored) in place.store.lookup_many(&asked)? {
        if stored.used_unix_ms.saturating_add(GRAIN_MS) < wanted.unix_ms {
            long_unused.push(key);
        }
        if stored.outcome.has_outputs() {
            recorded.insert(Key(key), Arc::new(to_recorded(stored)));
        }
    }
    let all_known = keyed.iter().all(|entry| recorded.contains_key(&entry.key));
    // When nothing is out of date nobody asks for reasons, and the parts of 10,000 cells need not be read.
    let previous = match wanted.history {
        Some(history) if !all_known || wanted.force == Force::All => {
            previous(history, flow, wanted)?
        }
        _ => HashMap::new(),
    };
    Ok((Answers { recorded, previous }, long_unused))
}

fn previous(
    history: &History,
    flow: &Flow,
    wanted: &Wanted<'_>,
) -> Result<HashMap<CellId, Previous>, PrepareError> {
    let mut rows = history.previous_parts(wanted.flow_name)?;
    let mut all = HashMap::new();
    for cell in &flow.cells {
        let Some(row) = rows.remove(cell.id.as_str()) else { continue };
        // Parts of another version of the key say nothing.
        let Ok(parts) = serde_json::from_str::<KeyParts>(&row.parts) else { continue };
        let previous = Previous { parts, outcome: Some(row.outcome), wall_ms: 0.0 };
        all.insert(cell.id.clone(), previous);
    }
    Ok(all)
}

/// A stored result as the plan knows it. A row whose texts can't be read any more counts as evicted.
#[must_use]
pub fn to_recorded(stored: StoredResult) -> Recorded {
    let mut outputs = BTreeMap::new();
    let mut evicted = Vec::new();
    for (port, meta) in stored.outputs {
        let Ok(port) = port.parse::<PortName>() else { continue };
        match to_artifact(&meta) {
            Some(artifact) if !stored.evicted => {
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
    }
}
