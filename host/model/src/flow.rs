//! The graph file once understood. Cells keep the order of the file; edges are inputs that name a cell's port.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    Ask, Call, CellId, ExecutorId, LimitLines, Limits, ParamName, Policy, PortName, Ports,
    SecretHandle, SessionName, Type, Value, When,
};

/// A flow: parameters, cells and how they are wired.
#[derive(Debug, Clone, PartialEq)]
pub struct Flow {
    /// The flow's name; the file's or folder's name when it gives none.
    pub name: String,
    /// One line for people.
    pub doc: Option<String>,
    /// The flow file, as it was named.
    pub path: PathBuf,
    /// The folder that `file =` and `file:` are relative to; nothing outside of it is read.
    pub root: PathBuf,
    /// Parameters and their values for this run (default or given).
    pub params: BTreeMap<ParamName, Param>,
    /// Whether coercions are off.
    pub strict: bool,
    /// What the streams of random numbers of its cells are derived from.
    pub seed: i64,
    /// Which program serves an executor's tool, where the flow says so.
    pub tools: Vec<ToolChoice>,
    /// The cells, in the file's order. Ids are unique.
    pub cells: Vec<Cell>,
    /// What it gives where it is a cell of another flow: its outputs by name, and where each comes from.
    pub outputs: BTreeMap<PortName, (CellId, PortName)>,
}

/// `[executors.python] python = ".venv/bin/python"`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolChoice {
    /// The executor.
    pub executor: ExecutorId,
    /// The tool's name in its manifest.
    pub tool: String,
    /// A program name or path, relative to the flow's root.
    pub program: PathBuf,
}

/// A parameter of the flow.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// Its type.
    pub ty: Type,
    /// Its value in this run; null without one.
    pub value: Value,
    /// Whether it has one. A param without is given one where the flow is a cell of another.
    pub has_value: bool,
    /// One line for people.
    pub doc: Option<String>,
}

/// One cell. What is said of it beside its code and its ports is in its settings, and is read as if it were its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Its id.
    pub id: CellId,
    /// Its id without labels: one name for all steps of a mapped cell. What is granted is granted to it.
    pub declared: CellId,
    /// What it is.
    pub role: Role,
    /// The executor that runs it; for a cell that is no program, what it is called instead.
    pub executor: ExecutorId,
    /// Its code; empty for a cell that is no program, and for a call of what is installed.
    pub code: Code,
    /// Its inputs by port.
    pub inputs: Ports<Input>,
    /// Its outputs by port.
    pub outputs: Ports<Type>,
    /// The line of the flow file where it begins, from 1.
    pub line: u32,
    /// The rest. Most cells of a large flow say nothing more, and have one of these together; whoever changes it has one of its own.
    pub settings: Arc<Settings>,
}

impl Deref for Cell {
    type Target = Settings;
    fn deref(&self) -> &Settings {
        &self.settings
    }
}

impl DerefMut for Cell {
    fn deref_mut(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }
}

/// What is said of a cell beside its code and its ports.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The folder of its own flow, relative to that of the outermost one; empty in that one. What it asks for, its secrets and the
    /// patterns of its map are relative to it.
    pub folder: PathBuf,
    /// The outputs that the list of items of a step came from: it goes after them, and is no other step for that.
    pub items: Vec<ItemsOf>,
    /// The gate it is behind.
    pub gate: Option<CellId>,
    /// The function that it calls, where it does.
    pub call: Option<Arc<Call>>,
    /// One step for each item, or for each combination of the items of several axes. None: it is one step.
    pub map: Vec<Axis>,
    /// It is left out where the answer is no.
    pub when: Option<When>,
    /// What is said of keeping outputs, by port. No part of the key.
    pub marks: BTreeMap<PortName, Mark>,
    /// Environment beyond the fixed one.
    pub env: BTreeMap<String, String>,
    /// Secrets by the variable that brings each to the cell: where they are to be had.
    pub secrets: BTreeMap<String, SecretHandle>,
    /// Arguments of the program.
    pub argv: Vec<String>,
    /// What stdin gives; nothing when absent.
    pub stdin: Option<Stdin>,
    /// Limits.
    pub limits: Limits,
    /// Where they are set.
    pub lines: LimitLines,
    /// Further attempts after a failed one.
    pub retries: Retries,
    /// Whether a result may be taken from and put into the store.
    pub cache: bool,
    /// How well it must be confined.
    pub policy: Policy,
    /// What it asks for beyond its inputs.
    pub asks: BTreeSet<Ask>,
    /// The seed of its random streams.
    pub seed: Option<i64>,
    /// The interpreter state that it shares.
    pub session: Option<Session>,
    /// Words to select by.
    pub tags: Vec<String>,
    /// One line for people.
    pub doc: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            folder: PathBuf::new(),
            items: Vec::new(),
            gate: None,
            call: None,
            map: Vec::new(),
            when: None,
            marks: BTreeMap::new(),
            env: BTreeMap::new(),
            secrets: BTreeMap::new(),
            argv: Vec::new(),
            stdin: None,
            limits: Limits::default(),
            lines: LimitLines::default(),
            retries: Retries::default(),
            cache: true,
            policy: Policy::default(),
            asks: BTreeSet::new(),
            seed: None,
            session: None,
            tags: Vec::new(),
            doc: None,
        }
    }
}

/// What a cell is.
#[derive(Debug, Clone, PartialEq)]
pub enum Role {
    /// Code that an executor runs.
    Program,
    /// Another flow, whose params are this cell's inputs. Expansion puts that flow's cells in its place.
    Flow(Arc<SubFlow>),
    /// The steps of a mapped cell, gathered: its outputs are lists of theirs. Made by expansion.
    Gather,
    /// A mapped cell whose items are not known yet. Made by expansion.
    Open,
    /// The condition of a cell that is a flow: where it says no, the cells of that flow are left out. Made by expansion.
    Gate,
}

/// A flow that is a cell of another one.
#[derive(Debug, Clone, PartialEq)]
pub struct SubFlow {
    /// The flow.
    pub flow: Flow,
    /// Its folder, relative to the folder of the flow that it is a cell of.
    pub folder: PathBuf,
}

/// Where the items of an axis came from, as a step of the map knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemsOf {
    /// The axis.
    pub axis: PortName,
    /// The cell that gave the list.
    pub cell: CellId,
    /// The output.
    pub port: PortName,
}

/// Further attempts after a failed one, and how long each waits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retries {
    /// How many.
    pub count: u32,
    /// Before the first of them.
    pub delay: Duration,
    /// By what the delay grows from each to the next.
    pub factor: f64,
    /// The longest delay.
    pub max_delay: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        let (delay, max_delay) = (Duration::from_secs(1), Duration::from_secs(60));
        Self { count: 0, delay, factor: 2.0, max_delay }
    }
}

impl Retries {
    /// The delay after that many failed attempts (at least one). Without chance, so that a run can be repeated.
    #[must_use]
    pub fn delay(&self, failed: u32) -> Duration {
        let power = i32::try_from(failed.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.delay.as_secs_f64() * self.factor.powi(power);
        let longest = self.max_delay;
        Duration::try_from_secs_f64(seconds).map_or(longest, |delay| delay.min(longest))
    }
}

/// One axis of a map: an input of the cell that gets one item in each step.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// The input.
    pub port: PortName,
    /// Where its items come from.
    pub items: Items,
}

/// Where the items of an axis come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Items {
    /// A list: a constant, a param, an output of a cell, or a file with one (`.json`, or `.csv` and `.tsv` with a row for each item).
    Of(Source),
    /// The files that a pattern matches, relative to the flow's root, by name.
    Glob(String),
}

/// What a flow says of keeping an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// Its bytes go when every cell that reads it has what it needs, and before all others where room is wanted.
    Temp,
    /// No bound removes it.
    Keep,
}

impl Mark {
    /// As it is written in a flow.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Temp => "temp",
            Self::Keep => "keep",
        }
    }
}

/// A cell's place in a session: interpreter state that cells have in common, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub name: SessionName,
    /// The cell of the session that comes before this one; the first has a fresh interpreter.
    pub before: Option<CellId>,
}

/// A cell's source text.
#[derive(Debug, Clone, PartialEq)]
pub struct Code {
    /// Its file name in `/cell/code`, e.g. `load.py`.
    pub name: String,
    /// The bytes.
    pub bytes: Arc<[u8]>,
    /// Where it stands for the person who wrote it.
    pub origin: Origin,
}

/// Where a cell's code begins: line `n` of the code is line `first_line + n - 1` of `path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The flow file, or the file beside it, relative to the flow's root.
    pub path: Arc<Path>,
    /// From 1.
    pub first_line: u32,
    /// Characters before the code in that line; none where its columns are not those of the line, since something is written as an escape.
    pub indent: Option<u32>,
}

impl Origin {
    /// That of a code which is all of a file.
    #[must_use]
    pub fn whole(path: impl Into<Arc<Path>>) -> Self {
        Self { path: path.into(), first_line: 1, indent: Some(0) }
    }
}

/// One input of a cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Where the value comes from.
    pub source: Source,
    /// The type the cell sees.
    pub ty: Type,
}

/// Where an input comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// An output of another cell: an edge.
    Port(CellId, PortName),
    /// A parameter of the flow.
    Param(ParamName),
    /// A file or directory below the flow's root (relative, no `..`).
    File(PathBuf),
    /// A constant from the flow file.
    Value(Value),
    /// An item of a map, by the axis of the input's name. Expansion puts the item in its place.
    Item,
    /// Outputs of several cells, in this order: what is gathered.
    Ports(Vec<(CellId, PortName)>),
}

/// What a cell reads on stdin.
#[derive(Debug, Clone, PartialEq)]
pub enum Stdin {
    /// A text of the flow file.
    Text(String),
    /// The content of one of the cell's inputs (its text twin for values, else the stored file).
    Input(PortName),
}

impl Source {
    /// The outputs of cells that it is made of.
    pub fn ports(&self) -> impl Iterator<Item = (&CellId, &PortName)> {
        let (one, several) = match self {
            Self::Port(cell, port) => (Some((cell, port)), &[][..]),
            Self::Ports(ports) => (None, &ports[..]),
            Self::Param(_) | Self::File(_) | Self::Value(_) | Self::Item => (None, &[][..]),
        };
        one.into_iter().chain(several.iter().map(|(cell, port)| (cell, port)))
    }
}

impl Axis {
    /// The outputs that its list is made of.
    pub fn items_of(&self) -> impl Iterator<Item = ItemsOf> {
        let source = match &self.items {
            Items::Of(source) => Some(source),
            Items::Glob(_) => None,
        };
        source.into_iter().flat_map(Source::ports).map(|(cell, port)| ItemsOf {
            axis: self.port.clone(),
            cell: cell.clone(),
            port: port.clone(),
        })
    }
}

impl Cell {
    /// What it goes after without reading it: what gave the items of its map.
    pub fn after(&self) -> impl Iterator<Item = ItemsOf> {
        // One that waits for its items reads them.
        let axes = if matches!(self.role, Role::Open) { &[][..] } else { &self.map };
        self.items.iter().cloned().chain(axes.iter().flat_map(Axis::items_of))
    }

    /// The condition on which it is left out or not. What is gathered was asked step by step.
    #[must_use]
    pub fn condition(&self) -> Option<&When> {
        self.when.as_ref().filter(|_| matches!(self.role, Role::Program | Role::Gate))
    }

    /// What is said of keeping its outputs, as results are recorded with.
    #[must_use]
    pub fn marks_by_name(&self) -> BTreeMap<String, Mark> {
        self.marks.iter().map(|(port, mark)| (port.to_string(), *mark)).collect()
    }

    /// The line to edit for another limit. Line 0 is the command line.
    #[must_use]
    pub fn limit_line(&self, key: &str) -> u32 {
        self.lines.keys.get(key).copied().unwrap_or(self.line)
    }

    /// Whether an executor runs it.
    #[must_use]
    pub fn is_program(&self) -> bool {
        matches!(self.role, Role::Program)
    }
}

impl Flow {
    /// The seed of a cell's stream of random numbers, where it has one: its own, or what a function that draws on one has of the flow's.
    #[must_use]
    pub fn seed_of(&self, cell: &Cell) -> Option<i64> {
        let derived = || polyloom_protocol::seed::cell_seed(self.seed, cell.id.as_str());
        cell.seed.or_else(|| cell.call.as_ref().filter(|call| call.seeded).map(|_| derived()))
    }

    /// The same flow with other cells.
    #[must_use]
    pub fn with_cells(&self, cells: Vec<Cell>) -> Self {
        Self {
            name: self.name.clone(),
            doc: self.doc.clone(),
            path: self.path.clone(),
            root: self.root.clone(),
            params: self.params.clone(),
            strict: self.strict,
            seed: self.seed,
            tools: self.tools.clone(),
            cells,
            outputs: self.outputs.clone(),
        }
    }

    /// The cell of that id.
    #[must_use]
    pub fn cell(&self, id: &CellId) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.id == *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_the_longest() {
        let retries = Retries::default();
        let seconds = |failed| retries.delay(failed).as_secs();
        assert_eq!([1, 2, 3, 6, 7, 33, u32::MAX].map(seconds), [1, 2, 4, 32, 60, 60, 60]);
        let even = Retries { factor: 1.0, ..retries };
        assert_eq!(even.delay(u32::MAX).as_secs(), 1);
        let none = Retries { delay: Duration::ZERO, ..retries };
        assert_eq!(none.delay(9), Duration::ZERO);
    }
}
