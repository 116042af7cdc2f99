//! A flow that can be edited, a store that remembers, and a runtime that follows plans: all in memory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polyloom_model::{
    Cell, CellId, Code, Digest, Flow, Input, Origin, Param, PortName, Role, Source, Type, Value,
};
use polyloom_plan::{
    Action, Answers, Artifact, Check, ExecutorFacts, Facts, Feed, Force, Graph, Key, Keyed, Part,
    Plan, PlanError, Previous, Recorded, Request, Scope, Selection, Step, content_key, feeds, keys,
    plan,
};
use polyloom_protocol::meta::Outcome;

pub struct World {
    pub flow: Flow,
    pub facts: Facts,
    pub answers: Answers,
    pub content: HashMap<Key, Arc<Recorded>>,
    /// Cells whose next attempt ends otherwise than well.
    pub spoiled: HashMap<CellId, Option<Outcome>>,
}

pub fn port(name: &str) -> PortName {
    name.parse().unwrap()
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

impl World {
    /// `wires` is `b: a a c, c: a` (each cell has the output `out` and reads the producers as `in0`, `in1`, …).
    pub fn new(wires: &str) -> Self {
        let mut flow = Flow {
            name: "test".into(),
            doc: None,
            path: PathBuf::from("polyloom.toml"),
            root: PathBuf::new(),
            params: BTreeMap::new(),
            strict: false,
            seed: 0,
            tools: Vec::new(),
            cells: Vec::new(),
            outputs: BTreeMap::new(),
        };
        flow.params.insert(
            "year".parse().unwrap(),
            Param { ty: Type::Int, value: Value::Int(2012), has_value: true, doc: None },
        );
        for line in wires.split(',') {
            let (id, from) = line.trim().split_once(':').unwrap_or((line.trim(), ""));
            flow.cells.push(cell(id, &from.split_whitespace().collect::<Vec<_>>()));
        }
        let executor = ExecutorFacts {
            identity: Part::new(digest("python 1"), "python 1"),
            toolchain: Part::new(digest("Python 3.12"), "Python 3.12"),
            libraries: None,
        };
        let facts = Facts {
            executors: [("python".parse().unwrap(), executor)].into(),
            files: HashMap::new(),
            codes: HashMap::new(),
            env: HashMap::new(),
        };
        Self {
            flow,
            facts,
            answers: Answers::default(),
            content: HashMap::new(),
            spoiled: HashMap::new(),
        }
    }

    pub fn cell(&mut self, id: &str) -> &mut Cell {
        self.flow.cells.iter_mut().find(|cell| cell.id.as_str() == id).unwrap()
    }

    /// What stands after `#` is a comment: it changes the code but not what the code does.
    pub fn edit(&mut self, id: &str, code: &str) {
        self.cell(id).code.bytes = code.as_bytes().into();
    }

    pub fn keys(&self) -> (Graph, Vec<Keyed>) {
        let graph = Graph::new(&self.flow).unwrap();
        let keyed = keys(&self.flow, &graph, &self.facts).unwrap();
        (graph, keyed)
    }

    /// `--only` before the selectors is what it is on the command line.
    pub fn try_plan(&self, selectors: &str, force: Force) -> Result<Plan, PlanError> {
        let (graph, keyed) = self.keys();
        let mut selection = Selection::default();
        for word in selectors.split_whitespace() {
            match word {
                "--only" => selection.scope = Scope::Only,
                _ => selection.cells.push(word.parse().unwrap()),
            }
        }
        let selected = selection.resolve(&self.flow, &graph).unwrap();
        plan(&Request {
            flow: &self.flow,
            graph: &graph,
            keys: &keyed,
            selected: &selected,
            answers: &self.answers,
            force,
            ran: &HashSet::new(),
        })
    }

    pub fn plan(&self, selectors: &str) -> Plan {
        self.try_plan(selectors, Force::Nothing).unwrap()
    }

    /// Follows the plan; the cells that really ran. Stops at nothing: a cell whose producer failed is left out.
    pub fn follow(&mut self, plan: &Plan) -> Vec<String> {
        let mut results: Vec<Option<Arc<Recorded>>> = Vec::new();
        let mut ran = Vec::new();
        for step in &plan.steps {
            let result = self.step(step, &results, &mut ran);
            results.push(result);
        }
        ran
    }

    fn step(
        &mut self,
        step: &Step,
        results: &[Option<Arc<Recorded>>],
        ran: &mut Vec<String>,
    ) -> Option<Arc<Recorded>> {
        match &step.action {
            Action::Cached(recorded) => return Some(recorded.clone()),
            Action::Skip => return None,
            Action::Run | Action::Maybe => {}
        }
        let own = &self.flow.cells[step.index.at()];
        let mut given = Vec::new();
        for supply in &step.supplies {
            match results[supply.step.at()].as_ref() {
                Some(from) => {
                    given.push((supply.input.clone(), from.outputs[&supply.output].clone()))
                }
                None if matches!(own.role, Role::Gather) => {}
                None => return None,
            }
        }
        let inputs = feeds(own, given);
        let cached = self.flow.cells[step.index.at()].cache;
        let content = content_key(&step.parts, &inputs);
        if step.check == Check::Content
            && let Some(found) = self.content.get(&content)
        {
            let found = found.clone();
            self.answers.recorded.insert(step.key, found.clone());
            return Some(found);
        }
        ran.push(step.cell.to_string());
        let outcome = self.spoiled.remove(&step.cell).unwrap_or(Some(Outcome::Ok));
        let taken = inputs.iter().map(|(port, feed)| {
            let digests = match feed {
                Feed::One(artifact) => vec![artifact.digest],
                Feed::Several(all) => all.iter().map(|artifact| artifact.digest).collect(),
            };
            (port.clone(), digests)
        });
        let taken = Some(taken.collect());
        let parts = (*step.parts).clone();
        let previous = Previous { parts, outcome, wall_ms: 5.0, taken };
        self.answers.previous.insert(step.cell.clone(), previous);
        if outcome != Some(Outcome::Ok) {
            return None;
        }
        let digests = inputs.values().flat_map(|feed| match feed {
            Feed::One(artifact) => vec![artifact.digest],
            Feed::Several(all) => all.iter().map(|artifact| artifact.digest).collect(),
        });
        let result = recorded(&self.flow.cells[step.index.at()], digests);
        if cached {
            self.answers.recorded.insert(step.key, result.clone());
            self.content.insert(content, result.clone());
        }
        Some(result)
    }

    /// Plans and follows; the cells that ran, as words.
    pub fn run(&mut self, selectors: &str) -> String {
        let plan = self.plan(selectors);
        self.follow(&plan).join(" ")
    }

    /// `cell action: reason` per step.
    pub fn told(&self, selectors: &str) -> Vec<String> {
        told(&self.plan(selectors))
    }
}

pub fn told(plan: &Plan) -> Vec<String> {
    let line = |step: &Step| {
        let action = match step.action {
            Action::Cached(_) => "cached",
            Action::Run => "run",
            Action::Maybe => "maybe",
            Action::Skip => "skip",
        };
        format!("{} {action}: {}", step.cell, step.reason)
    };
    plan.steps.iter().map(line).collect()
}

/// What a cell makes of the digests of its inputs.
pub fn recorded(cell: &Cell, inputs: impl Iterator<Item = Digest>) -> Arc<Recorded> {
    let code = String::from_utf8_lossy(&cell.code.bytes).into_owned();
    let mut made = code.split('#').next().unwrap().to_owned();
    for input in cell.inputs.values() {
        if let Source::Value(value) = &input.source {
            made.push_str(&value.to_json());
        }
    }
    for input in inputs {
        made.push_str(&input.hex());
    }
    let artifact =
        Artifact { digest: digest(&made), ty: Type::Any, size: made.len() as u64, media: None };
    Arc::new(Recorded { outputs: [(port("out"), artifact)].into(), wall_ms: 5.0, evicted: vec![] })
}

pub fn cell(id: &str, from: &[&str]) -> Cell {
    let wire = |(i, from): (usize, &&str)| {
        let source = Source::Port(from.parse().unwrap(), port("out"));
        (port(&format!("in{i}")), Input { source, ty: Type::Any })
    };
    Cell {
        id: id.parse().unwrap(),
        declared: id.parse().unwrap(),
        role: Role::Program,
        executor: "python".parse().unwrap(),
        code: Code {
            name: format!("{id}.py"),
            bytes: id.as_bytes().into(),
            origin: Origin::whole(Path::new("polyloom.toml")),
        },
        inputs: from.iter().enumerate().map(wire).collect(),
        outputs: [(port("out"), Type::Any)].into(),
        line: 1,
        settings: Default::default(),
    }
}
