//! What `when` asks for: the values of a cell's inputs, as far as they are there, and the answers that follow.

use std::collections::{BTreeMap, HashMap};

use polyloom_model::{Cell, CellId, Flow, PortName, Source, Value, conform};
use polyloom_plan::{Answers, Artifact, Keyed};
use polyloom_store::Store;

use crate::place::Place;
use crate::sure::kind;
use crate::words::chain;

/// A larger value is not asked about.
const LARGEST: u64 = 16 << 20;

/// Why a condition could not be asked, or has no answer.
pub(crate) type NoAnswer = String;

/// The answers that are known before anything runs, if nothing does.
pub(crate) fn answers(
    place: &Place,
    flow: &Flow,
    keyed: &[Keyed],
    answers: &Answers,
) -> HashMap<CellId, bool> {
    let mut known = HashMap::new();
    if flow.cells.iter().all(|cell| cell.condition().is_none()) {
        return known;
    }
    let keys: HashMap<&CellId, _> =
        keyed.iter().map(|entry| (&flow.cells[entry.cell.at()].id, entry.key)).collect();
    for cell in flow.cells.iter().filter(|cell| cell.condition().is_some()) {
        let result = |from: &CellId, port: &PortName, _: &PortName| {
            let recorded = answers.recorded.get(keys.get(from)?)?;
            recorded.outputs.get(port).filter(|_| !recorded.evicted.contains(port)).cloned()
        };
        // One without an answer is asked again when its turn comes, and fails then.
        if let Ok(Some(answer)) = ask(&place.store, flow, cell, result) {
            known.insert(cell.id.clone(), answer);
        }
    }
    known
}

/// Asks a cell's condition. `result` gives the output that comes in at a port; `None`: something is not there yet.
pub(crate) fn ask(
    store: &Store,
    flow: &Flow,
    cell: &Cell,
    result: impl Fn(&CellId, &PortName, &PortName) -> Option<Artifact>,
) -> Result<Option<bool>, NoAnswer> {
    let Some(when) = cell.condition() else { return Ok(Some(true)) };
    let mut values = BTreeMap::new();
    for port in when.inputs() {
        // The loader has seen to it that it is there.
        let Some(input) = cell.inputs.get(port) else { continue };
        let value = match &input.source {
            Source::Value(value) => value.clone(),
            Source::Param(name) => {
                flow.params.get(name).map(|param| param.value.clone()).unwrap_or_default()
            }
            Source::Port(from, output) => match result(from, output, port) {
                Some(artifact) if store.make_sure(&artifact.digest, kind(&artifact)).is_err() => {
                    return Ok(None);
                }
                Some(artifact) => {
                    let bytes = store.read(&artifact.digest, LARGEST);
                    let bytes = bytes.map_err(|error| format!("`{port}`: {}", chain(&error)))?;
                    Value::from_msgpack(&bytes).map_err(|error| format!("`{port}`: {error}"))?
                }
                None => return Ok(None),
            },
            Source::Ports(_) | Source::File(_) | Source::Item => continue,
        };
        let value = conform(value, &input.ty).map_err(|error| format!("`{port}`: {error}"))?;
        values.insert(port.clone(), value);
    }
    when.ask(&values).map(Some).map_err(|error| error.to_string())
}
