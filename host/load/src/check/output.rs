//! The forms of an output: its type, or a table with that and what is said of keeping it.

use std::collections::BTreeMap;

use polyloom_model::{Mark, PortName, Ports, Type};

use super::Check;
use super::cell::Taken;
use crate::findings::{Findings, shown};
use crate::keys::OUTPUT;
use crate::problem::Code;
use crate::source::Span;
use crate::tree::{Data, Entry, Map, Node};

/// The outputs of a cell.
#[derive(Default)]
pub(super) struct Outputs {
    /// Nothing where the type can't be read.
    pub(super) types: Ports<Option<Type>>,
    /// What is said of keeping them.
    pub(super) marks: BTreeMap<PortName, Mark>,
    /// Whether every name was understood.
    pub(super) known: bool,
}

/// Whether an output has to say its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Typed {
    /// Nobody else says it.
    Must,
    /// A function says it.
    Maybe,
}

/// Reads `outputs` of a cell.
pub(super) fn read<'d>(
    check: &mut Check<'_, '_>,
    map: &'d Map,
    taken: &mut Taken<'d>,
    typed: Typed,
) -> Outputs {
    let mut outputs = Outputs { known: true, ..Outputs::default() };
    let Some(node) = map.get("outputs") else { return outputs };
    let Some(table) = check.findings.table("outputs", node) else {
        outputs.known = false;
        return outputs;
    };
    let mut types = Vec::with_capacity(table.entries.len());
    for entry in &table.entries {
        let Some(name) = check.port(entry, "an output", taken) else {
            outputs.known = false;
            continue;
        };
        let (ty, mark) = one(&mut check.findings, entry, typed);
        outputs.marks.extend(mark.map(|mark| (name.clone(), mark)));
        types.push((name, ty));
    }
    outputs.types = types.into_iter().collect();
    outputs
}

fn one(findings: &mut Findings, entry: &Entry, typed: Typed) -> (Option<Type>, Option<Mark>) {
    let Data::Map(map) = &entry.node.data else { return (findings.ty(&entry.node), None) };
    let place = format!("the output `{}`", shown(&entry.key.text));
    let meant = findings.known_keys(map, OUTPUT, &place);
    let ty = match map.get("type") {
        Some(node) => findings.ty(node),
        None => {
            if typed == Typed::Must && !meant.contains(&"type") {
                let message = format!("{place} has no `type`");
                findings
                    .error(Code::MissingKey, &entry.node.span, message, "")
                    .help("valid: `{ type = \"file\", keep = true }`");
            }
            None
        }
    };
    let mut flag = |key: &str| -> Option<Span> {
        let node: &Node = map.get(key)?;
        findings.flag(key, node)?.then(|| node.span.clone())
    };
    let mark = match (flag("keep"), flag("temp")) {
        (Some(keep), Some(temp)) => {
            findings
                .error(
                    Code::DoublyBound,
                    &temp,
                    format!("{place} is both `temp` and `keep`"),
                    "removed as soon as it can be",
                )
                .also(&keep, "and never")
                .help("take one of them away");
            None
        }
        (Some(_), None) => Some(Mark::Keep),
        (None, Some(_)) => Some(Mark::Temp),
        (None, None) => None,
    };
    (ty, mark)
}
