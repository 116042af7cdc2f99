//! Cells and their edges as a graph: order, producers, consumers, reach. Knows no keys and no results.
//!
//! petgraph is the container; every walk here is iterative, because a chain of cells may be as long as its author likes.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use polyloom_model::{CellId, Flow, PortName};
use thiserror::Error;

use crate::suggest::nearest;

/// The place of a cell in `Flow::cells`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellIndex(pub u32);

impl CellIndex {
    /// As an index into a slice.
    #[must_use]
    pub fn at(self) -> usize {
        self.0 as usize
    }
}

/// One edge, seen from the cell it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge<'a> {
    /// The input it feeds.
    pub input: &'a PortName,
    /// The cell it comes from.
    pub producer: CellIndex,
    /// The output it comes from.
    pub output: &'a PortName,
}

/// Why the cells of a flow are no graph that can run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GraphError {
    /// An input names a cell that is not there.
    #[error("input `{input}` of cell `{cell}` comes from cell `{source_cell}`, which is not there{}", hint(suggestion.as_ref()))]
    UnknownCell {
        /// The cell.
        cell: CellId,
        /// Its input.
        input: PortName,
        /// The name that is not there.
        source_cell: CellId,
        /// A cell whose name is near.
        suggestion: Option<CellId>,
    },
    /// An input names an output that is not declared.
    #[error("input `{input}` of cell `{cell}` comes from `{source_cell}.{output}`, which is not declared{}", hint(suggestion.as_ref()))]
    UnknownOutput {
        /// The cell.
        cell: CellId,
        /// Its input.
        input: PortName,
        /// The cell it comes from.
        source_cell: CellId,
        /// The output that is not declared.
        output: PortName,
        /// An output whose name is near.
        suggestion: Option<PortName>,
    },
    /// Cells wait for each other.
    #[error("cells wait for each other: {}", path(cells))]
    Cycle {
        /// One shortest-known loop, each cell feeding the next and the last the first.
        cells: Vec<CellId>,
    },
}

pub(crate) fn hint<T: AsRef<str>>(suggestion: Option<&T>) -> String {
    suggestion.map_or_else(String::new, |name| format!("; did you mean `{}`?", name.as_ref()))
}

fn path(cells: &[CellId]) -> String {
    let shown = cells.iter().take(10).map(|id| format!("`{id}`"));
    let mut text = shown.collect::<Vec<_>>().join(" → ");
    if cells.len() > 10 {
        text.push_str(" → …");
    }
    if let Some(first) = cells.first() {
        text.push_str(&format!(" → `{first}`"));
    }
    text
}

/// What an edge carries.
#[derive(Debug, Clone)]
enum Wire {
    /// What an output gives to an input.
    Data {
        /// The output.
        output: PortName,
        /// The input.
        input: PortName,
    },
    /// Nothing: the producer says whether the cell runs at all.
    Gate,
    /// The state of a session, which the producer leaves to the cell.
    State,
    /// Nothing: the cell is there because of what its producer gave (it is a step for an item of that).
    Order,
}

impl Wire {
    /// Whether what becomes of the producer decides what becomes of the cell.
    fn counts(&self) -> bool {
        match self {
            Self::Data { .. } | Self::Gate | Self::State => true,
            Self::Order => false,
        }
    }
}

/// The graph of a flow. Without loops.
#[derive(Debug, Clone)]
pub struct Graph {
    /// Cell `i` is vertex `i`; an edge leads from producer to consumer.
    inner: DiGraph<CellId, Wire>,
    by_id: HashMap<CellId, CellIndex>,
    order: Vec<CellIndex>,
}

impl Graph {
    /// The graph of `flow`.
    pub fn new(flow: &Flow) -> Result<Self, GraphError> {
        let mut inner = DiGraph::with_capacity(flow.cells.len(), flow.cells.len() * 2);
        let mut by_id = HashMap::with_capacity(flow.cells.len());
        for cell in &flow.cells {
            let vertex = inner.add_node(cell.id.clone());
            by_id.insert(cell.id.clone(), from(vertex));
        }
        for (at, cell) in flow.cells.iter().enumerate() {
            let wires = cell
                .inputs
                .iter()
                .flat_map(|(input, wired)| wired.source.ports().map(move |from| (input, from)));
            for (input, (id, output)) in wires {
                let Some(&producer) = by_id.get(id) else {
                    let near = nearest(id.as_str(), flow.cells.iter().map(|c| c.id.as_str()));
                    return Err(GraphError::UnknownCell {
                        cell: cell.id.clone(),
                        input: input.clone(),
                        source_cell: id.clone(),
                        suggestion: near.and_then(|name| name.parse().ok()),
                    });
                };
                let outputs = &flow.cells[producer.at()].outputs;
                if !outputs.contains_key(output) {
                    let near = nearest(output.as_str(), outputs.keys().map(PortName::as_str));
                    return Err(GraphError::UnknownOutput {
                        cell: cell.id.clone(),
                        input: input.clone(),
                        source_cell: id.clone(),
                        output: output.clone(),
                        suggestion: near.and_then(|name| name.parse().ok()),
                    });
                }
                let ends = (to(producer), NodeIndex::new(at));
                let (output, input) = (output.clone(), input.clone());
                inner.add_edge(ends.0, ends.1, Wire::Data { output, input });
            }
            if let Some(&gate) = cell.gate.as_ref().and_then(|gate| by_id.get(gate)) {
                inner.add_edge(to(gate), NodeIndex::new(at), Wire::Gate);
            }
            let before = cell.session.as_ref().and_then(|session| session.before.as_ref());
            if let Some(&before) = before.and_then(|before| by_id.get(before)) {
                inner.add_edge(to(before), NodeIndex::new(at), Wire::State);
            }
            for items in cell.after() {
                // One that is not there any more gave its list before; that says nothing of what runs now.
                if let Some(&producer) = by_id.get(&items.cell) {
                    inner.add_edge(to(producer), NodeIndex::new(at), Wire::Order);
                }
            }
        }
        let order = order(&inner)?;
        Ok(Self { inner, by_id, order })
    }

    /// The number of cells.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.node_count()
    }

    /// Whether there is no cell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All cells, producers before consumers, else in the order of the file.
    #[must_use]
    pub fn order(&self) -> &[CellIndex] {
        &self.order
    }

    /// The place of a cell.
    #[must_use]
    pub fn index(&self, id: &str) -> Option<CellIndex> {
        self.by_id.get(id).copied()
    }

    /// The cell of that place.
    #[must_use]
    pub fn id(&self, cell: CellIndex) -> &CellId {
        &self.inner[to(cell)]
    }

    /// The edges into a cell that carry data, from its last input to its first, and of what an input gathers from the last to the first; two
    /// inputs may come from one producer.
    pub fn edges(&self, cell: CellIndex) -> impl Iterator<Item = Edge<'_>> {
        let all = self.inner.edges_directed(to(cell), Direction::Incoming);
        all.filter_map(|edge| match edge.weight() {
            Wire::Data { output, input } => {
                Some(Edge { input, producer: from(edge.source()), output })
            }
            Wire::Gate | Wire::State | Wire::Order => None,
        })
    }

    /// The cells that feed a cell, are its gate, or come before it in its session, each once, in the order of the file.
    #[must_use]
    pub fn producers(&self, cell: CellIndex) -> Vec<CellIndex> {
        let all = self.inner.edges_directed(to(cell), Direction::Incoming);
        sorted(all.filter(|edge| edge.weight().counts()).map(|edge| from(edge.source())))
    }

    /// The gate of a cell.
    #[must_use]
    pub fn gate(&self, cell: CellIndex) -> Option<CellIndex> {
        let mut all = self.inner.edges_directed(to(cell), Direction::Incoming);
        all.find(|edge| matches!(edge.weight(), Wire::Gate)).map(|edge| from(edge.source()))
    }

    /// The cell before it in its session.
    #[must_use]
    pub fn before(&self, cell: CellIndex) -> Option<CellIndex> {
        let mut all = self.inner.edges_directed(to(cell), Direction::Incoming);
        all.find(|edge| matches!(edge.weight(), Wire::State)).map(|edge| from(edge.source()))
    }

    /// The cells that a cell feeds, is the gate of, or comes before in a session, each once, in the order of the file.
    #[must_use]
    pub fn consumers(&self, cell: CellIndex) -> Vec<CellIndex> {
        let all = self.inner.edges_directed(to(cell), Direction::Outgoing);
        sorted(all.filter(|edge| edge.weight().counts()).map(|edge| from(edge.target())))
    }

    /// Those of its consumers for which `wanted` holds. Without any, it costs no memory.
    #[must_use]
    pub fn consumers_that(
        &self,
        cell: CellIndex,
        wanted: impl Fn(CellIndex) -> bool,
    ) -> Vec<CellIndex> {
        let all = self.inner.edges_directed(to(cell), Direction::Outgoing);
        let all = all.filter(|edge| edge.weight().counts()).map(|edge| from(edge.target()));
        sorted(all.filter(|cell| wanted(*cell)))
    }

    /// The cells that a cell goes after without reading from them, each once, in the order of the file.
    #[must_use]
    pub fn predecessors(&self, cell: CellIndex) -> Vec<CellIndex> {
        let all = self.inner.edges_directed(to(cell), Direction::Incoming);
        let bare = all.filter(|edge| matches!(edge.weight(), Wire::Order));
        sorted(bare.map(|edge| from(edge.source())))
    }

    /// Marks everything that the marked cells are made from, themselves included: also what the items of maps came from.
    pub fn add_ancestors(&self, marked: &mut [bool]) {
        self.spread(marked, Direction::Incoming);
    }

    /// Marks everything that is made from the marked cells, themselves included.
    pub fn add_descendants(&self, marked: &mut [bool]) {
        self.spread(marked, Direction::Outgoing);
    }

    fn spread(&self, marked: &mut [bool], direction: Direction) {
        let mut open: Vec<usize> = (0..marked.len()).filter(|&at| marked[at]).collect();
        while let Some(at) = open.pop() {
            for next in self.inner.neighbors_directed(NodeIndex::new(at), direction) {
                if !marked[next.index()] {
                    marked[next.index()] = true;
                    open.push(next.index());
                }
            }
        }
    }
}

fn sorted(cells: impl Iterator<Item = CellIndex>) -> Vec<CellIndex> {
    let mut all: Vec<_> = cells.collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn to(cell: CellIndex) -> NodeIndex {
    NodeIndex::from(cell.0)
}

fn from(vertex: NodeIndex) -> CellIndex {
    // petgraph's default index is u32.
    CellIndex(u32::try_from(vertex.index()).expect("a vertex index is a u32"))
}

/// Kahn's algorithm; of the cells that could come next, the first of the file does.
fn order(inner: &DiGraph<CellId, Wire>) -> Result<Vec<CellIndex>, GraphError> {
    // Nearly every flow is written in such an order.
    if inner.edge_references().all(|edge| edge.source() < edge.target()) {
        return Ok(inner.node_indices().map(from).collect());
    }
    let mut missing: Vec<u32> = vec![0; inner.node_count()];
    for edge in inner.edge_references() {
        missing[edge.target().index()] += 1;
    }
    let mut ready: BinaryHeap<Reverse<NodeIndex>> =
        inner.node_indices().filter(|v| missing[v.index()] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(missing.len());
    while let Some(Reverse(vertex)) = ready.pop() {
        order.push(from(vertex));
        for next in inner.neighbors(vertex) {
            missing[next.index()] -= 1;
            if missing[next.index()] == 0 {
                ready.push(Reverse(next));
            }
        }
    }
    if order.len() < missing.len() {
        return Err(GraphError::Cycle { cells: a_loop(inner, &missing) });
    }
    Ok(order)
}

/// A loop among the cells that never became ready: each of them has a producer among them, so walking back must meet itself.
fn a_loop(inner: &DiGraph<CellId, Wire>, missing: &[u32]) -> Vec<CellId> {
    let mut walk: Vec<NodeIndex> = Vec::new();
    let mut place: HashMap<NodeIndex, usize> = HashMap::new();
    let mut at = inner.node_indices().find(|v| missing[v.index()] > 0);
    while let Some(vertex) = at {
        if let Some(&start) = place.get(&vertex) {
            walk.drain(..start);
            break;
        }
        place.insert(vertex, walk.len());
        walk.push(vertex);
        at = inner
            .neighbors_directed(vertex, Direction::Incoming)
            .filter(|v| missing[v.index()] > 0)
            .min();
    }
    walk.reverse();
    // The loop is told from the cell that stands first in the file.
    let first = (0..walk.len()).min_by_key(|&i| walk[i]).unwrap_or(0);
    walk.rotate_left(first);
    walk.into_iter().map(|vertex| inner[vertex].clone()).collect()
}
