//! From a flow as it is written to one of plain steps: maps become a step for each item and a cell that gathers them, cells that are
//! flows become the cells of these.
//!
//! Knows no files and no results: what is on an axis that the flow itself does not tell comes in as [`Found`]; an axis of which nothing
//! was found leaves its cell open.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polyloom_model::{
    Axis, Cell, CellId, Code, Flow, Input, Items, NameError, Origin, ParamName, PortName, Ports,
    Role, Settings, Source, SubFlow, Type, Value, When,
};
use thiserror::Error;

/// A flow may have this many steps once it is expanded.
pub const MAX_STEPS: usize = 1_000_000;
/// Flows within flows within flows: no deeper than this.
pub const MAX_DEPTH: usize = 16;
/// The longest label of one item, in characters; what is longer goes by its number.
const LONGEST_LABEL: usize = 40;

/// The items of an axis.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// Values.
    Values(Vec<Value>),
    /// Files, relative to the flow's root.
    Files(Vec<PathBuf>),
}

/// What was found, by cell and axis.
pub type AllFound = HashMap<(CellId, PortName), Found>;

/// An axis whose items are not known.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenAxis {
    /// The mapped cell.
    pub cell: CellId,
    /// The axis.
    pub axis: Axis,
    /// The folder of the cell's own flow, relative to that of the outermost one.
    pub folder: PathBuf,
}

/// A flow of plain steps.
#[derive(Debug, Clone)]
pub struct Expanded {
    /// The flow. Its cells are programs, gather what others gave, or are open.
    pub flow: Flow,
    /// The axes that keep cells open.
    pub open: Vec<OpenAxis>,
}

/// Why a flow can't be expanded.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExpandError {
    /// An axis is no list.
    #[error("the cell `{cell}` is mapped over `{axis}`, which is {found}, not a list")]
    NotAList {
        /// The cell.
        cell: CellId,
        /// The axis.
        axis: PortName,
        /// What it is.
        found: &'static str,
    },
    /// More steps than anybody can mean.
    #[error("the cell `{cell}` makes the flow larger than {MAX_STEPS} steps")]
    TooMany {
        /// The cell.
        cell: CellId,
    },
    /// Flows within flows, too deep.
    #[error("the cell `{cell}` is deeper than {MAX_DEPTH} flows within each other")]
    TooDeep {
        /// The cell.
        cell: CellId,
    },
    /// A step's id would be too long.
    #[error("a step of the cell `{cell}` can't be named")]
    Name {
        /// The cell.
        cell: CellId,
        /// Why.
        #[source]
        source: NameError,
    },
}

/// Whether expansion would change anything.
#[must_use]
pub fn is_plain(flow: &Flow) -> bool {
    flow.cells.iter().all(|cell| cell.map.is_empty() && cell.is_program())
}

/// The programs of a flow and of the flows in it as they are written: what is asked for and granted is asked for and granted for these.
/// Their maps are still there. A flow of programs alone is its own.
pub fn templates(flow: &Arc<Flow>) -> Result<Arc<Flow>, ExpandError> {
    if flow.cells.len() <= MAX_STEPS && flow.cells.iter().all(Cell::is_program) {
        return Ok(Arc::clone(flow));
    }
    let found = AllFound::new();
    let mut maker = Maker::new(flow, &found, Maps::Stay);
    for cell in &flow.cells {
        maker.cell(cell.clone(), 0)?;
    }
    Ok(Arc::new(flow.with_cells(maker.cells)))
}

/// Expands a flow.
pub fn expand(flow: &Flow, found: &AllFound) -> Result<Expanded, ExpandError> {
    let mut maker = Maker::new(flow, found, Maps::Expand);
    for cell in &flow.cells {
        maker.cell(cell.clone(), 0)?;
    }
    let Maker { mut cells, other_names, open, .. } = maker;
    for cell in &mut cells {
        for input in cell.inputs.values_mut() {
            rename(&mut input.source, &other_names);
        }
        for items in &mut cell.items {
            follow(&mut items.cell, &mut items.port, &other_names);
        }
    }
    let open = open.into_iter().map(|mut open| {
        if let Items::Of(source) = &mut open.axis.items {
            rename(source, &other_names);
        }
        open
    });
    let open = open.collect();
    Ok(Expanded { flow: flow.with_cells(cells), open })
}

/// What outputs of cells that are flows are called inside of them.
type Names = HashMap<(CellId, PortName), (CellId, PortName)>;

/// An output of a cell that is a flow is one of that flow's cells'.
fn rename(source: &mut Source, names: &Names) {
    match source {
        Source::Port(cell, port) => follow(cell, port, names),
        Source::Ports(ports) => {
            ports.iter_mut().for_each(|(cell, port)| follow(cell, port, names));
        }
        Source::Param(_) | Source::File(_) | Source::Value(_) | Source::Item => {}
    }
}

fn follow(cell: &mut CellId, port: &mut PortName, names: &Names) {
    if names.is_empty() {
        return;
    }
    // A name leads deeper into flows with each step, and so to an end.
    while let Some((other, its)) = names.get(&(cell.clone(), port.clone())) {
        (*cell, *port) = (other.clone(), its.clone());
    }
}

/// What becomes of maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Maps {
    Expand,
    Stay,
}

struct Maker<'a> {
    maps: Maps,
    params: BTreeMap<ParamName, &'a Value>,
    found: &'a AllFound,
    cells: Vec<Cell>,
    /// Outputs of cells that are flows, by what they are called outside.
    other_names: Names,
    open: Vec<OpenAxis>,
}

impl<'a> Maker<'a> {
    fn new(flow: &'a Flow, found: &'a AllFound, maps: Maps) -> Self {
        Self {
            maps,
            params: flow.params.iter().map(|(name, param)| (name.clone(), &param.value)).collect(),
            found,
            cells: Vec::with_capacity(flow.cells.len()),
            other_names: HashMap::new(),
            open: Vec::new(),
        }
    }

    fn cell(&mut self, cell: Cell, depth: usize) -> Result<(), ExpandError> {
        if cell.map.is_empty() || self.maps == Maps::Stay {
            return self.one(cell, depth);
        }
        let mut axes = Vec::with_capacity(cell.map.len());
        for axis in &cell.map {
            match self.items(&cell, axis)? {
                Some(items) => axes.push(items),
                None => self.open.push(OpenAxis {
                    cell: cell.id.clone(),
                    axis: axis.clone(),
                    folder: cell.folder.clone(),
                }),
            }
        }
        if axes.len() < cell.map.len() {
            self.cells.push(open(cell));
            return Ok(());
        }
        let too_many = || ExpandError::TooMany { cell: cell.id.clone() };
        let count = axes.iter().try_fold(1_usize, |all, axis| all.checked_mul(axis.len()));
        let count = count.filter(|count| *count <= MAX_STEPS).ok_or_else(too_many)?;
        if self.cells.len().saturating_add(count) > MAX_STEPS {
            return Err(too_many());
        }
        let mut cell = cell;
        let given = cell.map.iter().flat_map(Axis::items_of).collect::<Vec<_>>();
        cell.items.extend(given);
        let mut steps = Vec::with_capacity(count);
        for number in 0..count {
            let step = item(&cell, &axes, number)?;
            steps.push(step.id.clone());
            self.one(step, depth)?;
        }
        self.cells.push(gather(cell, &steps));
        Ok(())
    }

    /// A cell that is not mapped.
    fn one(&mut self, cell: Cell, depth: usize) -> Result<(), ExpandError> {
        if self.cells.len() >= MAX_STEPS {
            return Err(ExpandError::TooMany { cell: cell.id });
        }
        match &cell.role {
            Role::Program | Role::Gather | Role::Open | Role::Gate => {
                self.cells.push(cell);
                Ok(())
            }
            Role::Flow(sub) => {
                let sub = Arc::clone(sub);
                self.flow(&cell, &sub, depth + 1)
            }
        }
    }

    /// The cells of a flow in the place of a cell.
    fn flow(&mut self, outer: &Cell, sub: &SubFlow, depth: usize) -> Result<(), ExpandError> {
        if depth > MAX_DEPTH {
            return Err(ExpandError::TooDeep { cell: outer.id.clone() });
        }
        let name = |source| ExpandError::Name { cell: outer.id.clone(), source };
        let gate = match (&outer.when, self.maps) {
            (Some(_), Maps::Expand) => {
                self.cells.push(gate(outer));
                Some(outer.id.clone())
            }
            (None, _) | (_, Maps::Stay) => outer.gate.clone(),
        };
        for inner in &sub.flow.cells {
            let mut cell = inner.clone();
            cell.gate.clone_from(&gate);
            cell.id = outer.id.within(&inner.id).map_err(name)?;
            cell.declared = outer.declared.within(&inner.declared).map_err(name)?;
            for input in cell.inputs.values_mut() {
                self::inside(&mut input.source, outer, sub).map_err(name)?;
            }
            for axis in &mut cell.map {
                if let Items::Of(source) = &mut axis.items {
                    self::inside(source, outer, sub).map_err(name)?;
                }
            }
            cell.folder = joined(&outer.folder, &sub.folder);
            cell.code.origin.path = cell.folder.join(&cell.code.origin.path).into();
            cell.lines.path = cell.folder.join(&cell.lines.path);
            cell.items.clone_from(&outer.items);
            if let Some(session) = &mut cell.session {
                session.name = session.name.within(&outer.id);
                if let Some(before) = &mut session.before {
                    *before = outer.id.within(before).map_err(name)?;
                }
            }
            self.cell(cell, depth)?;
        }
        for (port, (cell, output)) in &sub.flow.outputs {
            let inner = outer.id.within(cell).map_err(name)?;
            self.other_names.insert((outer.id.clone(), port.clone()), (inner, output.clone()));
        }
        Ok(())
    }

    /// The items of an axis, each with a label of its own.
    fn items(
        &self,
        cell: &Cell,
        axis: &Axis,
    ) -> Result<Option<Vec<(String, Source)>>, ExpandError> {
        let constant = match &axis.items {
            Items::Of(Source::Value(value)) => Some(value),
            Items::Of(Source::Param(name)) => self.params.get(name).copied(),
            Items::Of(Source::Port(..) | Source::Ports(_) | Source::File(_) | Source::Item)
            | Items::Glob(_) => None,
        };
        if let Some(value) = constant {
            let Value::List(items) = value else {
                return Err(ExpandError::NotAList {
                    cell: cell.id.clone(),
                    axis: axis.port.clone(),
                    found: value.kind(),
                });
            };
            return Ok(Some(values(items)));
        }
        Ok(self.found.get(&(cell.id.clone(), axis.port.clone())).map(|found| match found {
            Found::Values(items) => values(items),
            Found::Files(paths) => files(paths),
        }))
    }
}

fn values(items: &[Value]) -> Vec<(String, Source)> {
    let short = |value: &Value| match value {
        Value::Null => Some("null".to_owned()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Int(number) => Some(number.to_string()),
        Value::Float(number) => Some(format!("{number:?}")),
        Value::Str(text) => Some(text.clone()),
        Value::Bytes(_) | Value::List(_) | Value::Map(_) => None,
    };
    labelled(items.iter().map(|value| (short(value), Source::Value(value.clone()))))
}

fn files(paths: &[PathBuf]) -> Vec<(String, Source)> {
    let name = |path: &PathBuf| Some(path.file_name()?.to_str()?.to_owned());
    labelled(paths.iter().map(|path| (name(path), Source::File(path.clone()))))
}

/// A label for each item: its text where that is short and no other's, else its number.
fn labelled(items: impl Iterator<Item = (Option<String>, Source)>) -> Vec<(String, Source)> {
    let mut taken = HashSet::new();
    let label = |(number, (text, source)): (usize, (Option<String>, Source))| {
        let safe = |c: char| if c.is_ascii_alphanumeric() || "._+-".contains(c) { c } else { '_' };
        let text =
            text.filter(|text| !text.is_empty() && text.chars().nth(LONGEST_LABEL).is_none());
        let text: String = text.unwrap_or_default().chars().map(safe).collect();
        let label = if text.is_empty() || !taken.insert(text.clone()) {
            format!("{text}#{number}")
        } else {
            text
        };
        (label, source)
    };
    items.enumerate().map(label).collect()
}

/// The step of that number: the last axis changes fastest.
fn item(cell: &Cell, axes: &[Vec<(String, Source)>], number: usize) -> Result<Cell, ExpandError> {
    let mut step = cell.clone();
    step.map = Vec::new();
    let mut rest = number;
    let mut labels = vec![String::new(); axes.len()];
    for (place, (axis, items)) in cell.map.iter().zip(axes).enumerate().rev() {
        let (label, source) = &items[rest % items.len()];
        rest /= items.len();
        labels[place] = format!("{}={label}", axis.port);
        if let Some(input) = step.inputs.get_mut(&axis.port) {
            input.source = source.clone();
        }
    }
    let id = cell.id.item(&labels.join(","));
    step.id = id.map_err(|source| ExpandError::Name { cell: cell.id.clone(), source })?;
    Ok(step)
}

/// The cell that makes one result of the steps'.
fn gather(cell: Cell, steps: &[CellId]) -> Cell {
    let input = |(port, ty): (&PortName, &Type)| {
        let ports = steps.iter().map(|step| (step.clone(), port.clone())).collect();
        (port.clone(), Input { source: Source::Ports(ports), ty: ty.clone() })
    };
    let inputs = cell.outputs.iter().map(input).collect();
    bare(cell, Role::Gather, inputs, "gather")
}

/// The cell that asks whether those of a flow run.
fn gate(outer: &Cell) -> Cell {
    let asked = outer.when.as_ref().map(When::inputs).unwrap_or_default();
    let mut inputs = outer.inputs.clone();
    inputs.retain(|port, _| asked.contains(port));
    let bare = bare(outer.clone(), Role::Gate, inputs, "when");
    Cell { outputs: Ports::new(), ..bare }
}

/// A cell whose items are not known: it reads what the axes come from, so that it comes after that.
fn open(cell: Cell) -> Cell {
    let mut inputs = cell.inputs.clone();
    for axis in &cell.map {
        let source = match &axis.items {
            Items::Of(source) => source.clone(),
            Items::Glob(_) => Source::Value(Value::Null),
        };
        inputs.insert(axis.port.clone(), Input { source, ty: Type::Any });
    }
    // Files are looked at once the items are known.
    inputs.retain(|_, input| !matches!(input.source, Source::File(_)));
    let lang = cell.executor.clone();
    let map = cell.map.clone();
    let mut open = bare(cell, Role::Open, inputs, lang.as_str());
    open.map = map;
    open
}

fn bare(cell: Cell, role: Role, inputs: Ports<Input>, lang: &str) -> Cell {
    let origin = Origin::whole(cell.code.origin.path.clone());
    let settings = Settings {
        folder: cell.folder.clone(),
        items: cell.items.clone(),
        gate: cell.gate.clone(),
        when: cell.when.clone(),
        marks: cell.marks.clone(),
        limits: cell.limits.clone(),
        lines: cell.lines.clone(),
        cache: cell.cache,
        policy: cell.policy.clone(),
        tags: cell.tags.clone(),
        doc: cell.doc.clone(),
        ..Settings::default()
    };
    Cell {
        role,
        executor: lang.parse().unwrap_or_else(|_| cell.executor.clone()),
        code: Code { name: String::new(), bytes: Arc::from([]), origin },
        inputs,
        outputs: cell.outputs.iter().map(|(port, ty)| (port.clone(), ty.gathered())).collect(),
        settings: Arc::new(settings),
        ..cell
    }
}

/// A folder in a folder; the empty path is the folder itself.
fn joined(folder: &Path, below: &Path) -> PathBuf {
    if below.as_os_str().is_empty() { folder.to_owned() } else { folder.join(below) }
}

/// A source as it is seen from outside of the flow that names it.
fn inside(source: &mut Source, outer: &Cell, sub: &SubFlow) -> Result<(), NameError> {
    match source {
        Source::Port(cell, _) => *cell = outer.id.within(cell)?,
        Source::Ports(ports) => {
            for (cell, _) in ports {
                *cell = outer.id.within(cell)?;
            }
        }
        Source::Param(name) => {
            let given = outer.inputs.iter().find(|(port, _)| port.as_str() == name.as_str());
            *source = match given {
                Some((_, input)) => input.source.clone(),
                None => Source::Value(
                    sub.flow.params.get(name).map(|param| param.value.clone()).unwrap_or_default(),
                ),
            };
        }
        Source::File(path) => *path = joined(&outer.folder, &sub.folder).join(&*path),
        Source::Value(_) | Source::Item => {}
    }
    Ok(())
}
