//! Temporary outputs: whether all cells that read one are through, so that its bytes can go. Looked at when the run ends, and before that
//! whenever much of it has come together.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use polyloom_model::{Cell, CellId, Digest, Items, Mark, PortName};
use polyloom_plan::StepIndex;
use polyloom_protocol::Outcome;
use polyloom_protocol::meta::ArtifactMeta;
use polyloom_store::Spent;

use super::Runner;
use crate::sure::kind;
use crate::words::chain;

/// So many bytes of temporary outputs are looked through before the run ends. Each time costs a walk over the flow and the index.
const MUCH: u64 = 256 << 20;

/// What has ended, and how much there may be to remove.
#[derive(Default)]
pub(super) struct Temporary {
    /// Steps that ended with their outputs.
    through: BTreeSet<StepIndex>,
    /// Bytes since it was looked at last.
    bytes: u64,
}

impl Temporary {
    pub(super) fn came(&mut self, cell: &Cell, outputs: &BTreeMap<String, ArtifactMeta>) {
        for (port, mark) in &cell.marks {
            let size = outputs.get(port.as_str()).map_or(0, |output| output.size);
            self.bytes = self.bytes.saturating_add(if *mark == Mark::Temp { size } else { 0 });
        }
    }

    pub(super) fn ended(&mut self, step: StepIndex, outcome: Outcome) {
        if outcome.has_outputs() {
            self.through.insert(step);
        }
    }

    pub(super) fn is_much(&self) -> bool {
        self.bytes >= MUCH
    }
}

impl Runner {
    /// Removes what nobody in the flow needs any more.
    pub(super) fn drop_temporary(&mut self) {
        self.temporary.bytes = 0;
        let spent = self.spent();
        if spent.is_empty() {
            return;
        }
        match self.job.place.store.drop_temporary(&spent) {
            Ok(dropped) => tracing::info!(?dropped, "temporary outputs were removed"),
            Err(error) => {
                tracing::warn!(error = %chain(&error), "temporary outputs could not be removed");
            }
        }
    }

    /// Temporary outputs of which every reader in the flow has its result. What nobody in this run reads was wanted for itself.
    fn spent(&self) -> Vec<Spent> {
        let prepared = &self.job.prepared;
        let is_temp = |cell: &Cell| cell.marks.values().any(|mark| *mark == Mark::Temp);
        if self.job.no_cache || !prepared.flow.cells.iter().any(is_temp) {
            return Vec::new();
        }
        let mut readers: HashMap<(&CellId, &PortName), Vec<&Cell>> = HashMap::new();
        for cell in &prepared.flow.cells {
            for (id, port) in cell.inputs.values().flat_map(|input| input.source.ports()) {
                readers.entry((id, port)).or_default().push(cell);
            }
        }
        let again = self.read_by_plans();
        let steps: HashMap<&CellId, StepIndex> = (0..)
            .map(StepIndex)
            .zip(&prepared.plan.steps)
            .map(|(at, step)| (&step.cell, at))
            .collect();
        let known: HashSet<&CellId> = prepared
            .keyed
            .iter()
            .map(|it| (&prepared.flow.cells[it.cell.at()], prepared.answers.recorded.get(&it.key)))
            .filter(|(cell, recorded)| {
                let temp = |port| cell.marks.get(port) == Some(&Mark::Temp);
                recorded.is_some_and(|recorded| recorded.evicted.iter().all(temp))
            })
            .map(|(cell, _)| &cell.id)
            .collect();
        // A step of this run, or a cell outside of it that was through before.
        let is_through = |cell: &&Cell| match steps.get(&cell.id) {
            Some(step) => self.temporary.through.contains(step),
            None => known.contains(&cell.id),
        };
        let mut spent = Vec::new();
        for (at, step) in (0..).map(StepIndex).zip(&prepared.plan.steps) {
            let cell = &prepared.flow.cells[step.index.at()];
            let Some(outputs) = self.slots.get(at.at()).and_then(|slot| slot.outputs.as_ref())
            else {
                continue;
            };
            if !self.temporary.through.contains(&at) {
                continue;
            }
            let goes = |port: &PortName| {
                let readers = readers.get(&(&cell.id, port)).map_or(&[][..], Vec::as_slice);
                cell.marks.get(port) == Some(&Mark::Temp)
                    && !again.contains(&(&cell.declared, port))
                    && readers.iter().all(is_through)
                    && readers.iter().any(|reader| steps.contains_key(&reader.id))
                    && readers.iter().all(|reader| !asks_for(reader, &cell.id, port))
            };
            let stay: HashSet<Digest> =
                outputs.iter().filter(|(port, _)| !goes(port)).map(|(_, it)| it.digest).collect();
            for artifact in outputs.values().filter(|it| !stay.contains(&it.digest)) {
                let kind = kind(artifact);
                spent.push(Spent { key: step.key.0, digest: artifact.digest, kind });
            }
        }
        spent
    }

    /// Outputs that maps take their items from: every plan reads them.
    fn read_by_plans(&self) -> HashSet<(&CellId, &PortName)> {
        let templates = &self.job.prepared.templates.cells;
        let axes = templates.iter().chain(&self.job.prepared.written.cells).flat_map(|it| &it.map);
        let sources = axes.filter_map(|axis| match &axis.items {
            Items::Of(source) => Some(source.ports()),
            Items::Glob(_) => None,
        });
        sources.flatten().collect()
    }
}

/// Whether a cell's condition reads this output: every plan asks it.
fn asks_for(reader: &Cell, cell: &CellId, port: &PortName) -> bool {
    reader.condition().is_some_and(|when| {
        let read = |input: &&PortName| {
            let source = reader.inputs.get(*input).map(|input| &input.source);
            source.is_some_and(|source| source.ports().any(|it| it == (cell, port)))
        };
        when.inputs().iter().any(read)
    })
}
