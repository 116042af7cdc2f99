//! Which cells need somebody's word before anything they made is used, and what follows from a denial.

use std::collections::{HashMap, HashSet};

use polyloom_model::{Cell, CellId, Flow, Role};
use polyloom_plan::{Action, Check, Reason};

use crate::permit::Permit;
use crate::prepare::Prepared;

impl Prepared {
    /// The cells of the plan, and those from which what they read came, that ask for something: as they are written, one for all steps
    /// of a map.
    #[must_use]
    pub fn asking(&self) -> Vec<&Cell> {
        let asks = |cell: &&Cell| !cell.asks.is_empty() || !cell.secrets.is_empty();
        if !self.templates.cells.iter().any(|cell| asks(&cell)) {
            return Vec::new();
        }
        let cells = &self.flow.cells;
        let sources = sources(&self.flow);
        let mut met = vec![false; cells.len()];
        let mut todo: Vec<usize> = self.plan.all().map(|step| step.index.at()).collect();
        while let Some(at) = todo.pop() {
            if !std::mem::replace(&mut met[at], true) {
                todo.extend(&sources[at]);
            }
        }
        let met = || cells.iter().zip(&met).filter(|(_, met)| **met).map(|(cell, _)| cell);
        let names: HashSet<&CellId> = met().map(|cell| &cell.declared).collect();
        // What steps these will have is not known; that they have some is.
        let open: Vec<&CellId> = met()
            .filter(|cell| matches!(cell.role, Role::Open))
            .map(|cell| &cell.declared)
            .collect();
        let within = |cell: &CellId, flow: &CellId| {
            let rest = cell.as_str().strip_prefix(flow.as_str());
            rest.is_some_and(|rest| rest.starts_with('/'))
        };
        let meant = |cell: &&Cell| {
            names.contains(&cell.declared) || open.iter().any(|flow| within(&cell.declared, flow))
        };
        self.templates.cells.iter().filter(meant).filter(asks).collect()
    }

    /// Lets the plan use no result of a cell that was denied what it asks for, and make or use none of what that gave: such cells
    /// are started, and refused there.
    pub fn refuse(&mut self, permits: &mut HashMap<CellId, Permit>) {
        let flow = &self.flow;
        let denied = |id: &CellId| matches!(permits.get(id), Some(Permit::Denied(_)));
        let mut todo: Vec<usize> = (0..flow.cells.len())
            .filter(|at| flow.cells[*at].is_program() && denied(&flow.cells[*at].declared))
            .collect();
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
        for step in self.plan.steps.iter_mut().chain(&mut self.plan.later) {
            let Some(first) = because.get(&step.index.at()) else { continue };
            let (first, own) = (&flow.cells[*first], &flow.cells[step.index.at()]);
            // What gathers its steps is refused as they are.
            let others = first.declared != own.declared;
            if others {
                let text = format!(
                    "it is made of what `{}` gave, which does not get what it asks for",
                    first.id
                );
                permits.insert(own.declared.clone(), Permit::Denied(text));
            }
            step.action = Action::Run;
            step.check = Check::Nothing;
            if let Some(why) = permits.get(&own.declared).and_then(Permit::denial) {
                step.reason = Reason::Denied(why.to_owned());
            }
        }
    }
}

/// For each cell, those whose outputs it reads.
fn sources(flow: &Flow) -> Vec<Vec<usize>> {
    let places: HashMap<&CellId, usize> =
        flow.cells.iter().enumerate().map(|(at, cell)| (&cell.id, at)).collect();
    let read = |cell: &Cell| {
        let from = cell.inputs.values().flat_map(|input| input.source.ports());
        from.filter_map(|(id, _)| places.get(id).copied()).collect()
    };
    flow.cells.iter().map(read).collect()
}
