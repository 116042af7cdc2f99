//! A flow as a cell of another one: its file is read and checked, its params are the cell's inputs, its outputs the cell's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polyloom_model::{CellId, Flow, PortName, Ports, SubFlow, Type};

use super::files::{report_file_error, report_outside};
use super::wire::Board;
use super::{Check, Context, Purpose, check};
use crate::files::{Found, Root, relative};
use crate::findings::{shown, suggestion};
use crate::given::Given;
use crate::place;
use crate::problem::Code;
use crate::read::Document;
use crate::source::Span;
use crate::tree::{Map, Node};

/// The keys a cell that is a flow may have.
const OWN: [&str; 7] = ["flow", "inputs", "params", "map", "when", "tags", "doc"];
/// Flows within each other, no deeper than this.
const DEEPEST: usize = 16;
/// The file of a folder.
const USUAL: &str = "polyloom.toml";

/// What was read of flows that are cells, by file: each is read once, and told once.
#[derive(Default)]
pub(super) struct Read(BTreeMap<PathBuf, Option<Arc<SubFlow>>>);

impl Check<'_, '_> {
    /// The flow that a cell is.
    pub(super) fn sub_flow(&mut self, id: &CellId, map: &Map, node: &Node) -> Option<Arc<SubFlow>> {
        for entry in &map.entries {
            if !OWN.contains(&entry.key.text.as_str()) {
                let message =
                    format!("`{}` has no place in a cell that is a flow", shown(&entry.key.text));
                self.findings
                    .error(Code::BadFlow, &entry.key.span, message, "")
                    .also(&node.span, format!("`{id}` is this flow"))
                    .help(format!("it may have {}; the rest is said in the flow", OWN.join(", ")));
            }
        }
        let text = self.findings.text("flow", node)?;
        let Some(mut path) = relative(text) else {
            report_outside(&mut self.findings, &node.span, text);
            return None;
        };
        let root = self.context.root?;
        match self.seen.find(root, &path) {
            Ok(Found::Dir) => path.push(USUAL),
            Ok(Found::File) => {}
            Err(error) => {
                report_file_error(&mut self.findings, &node.span, text, &error);
                return None;
            }
        }
        if let Some(known) = self.read.0.get(&path) {
            return known.clone();
        }
        let found = self.read_flow(root, &path, text, &node.span);
        self.read.0.insert(path, found.clone());
        found
    }

    fn read_flow(
        &mut self,
        root: &Root,
        path: &Path,
        text: &str,
        span: &Span,
    ) -> Option<Arc<SubFlow>> {
        let whole = root.path().join(path);
        let same = |other: &PathBuf| other.canonicalize().ok() == whole.canonicalize().ok();
        let mut within = self.context.within.to_vec();
        within.push(self.path.to_owned());
        let message = if within.iter().any(same) {
            format!("`{}` contains itself", shown(text))
        } else if within.len() > DEEPEST {
            format!("`{}` is deeper than {DEEPEST} flows within each other", shown(text))
        } else {
            String::new()
        };
        if !message.is_empty() {
            self.findings.error(Code::BadFlow, span, message, "");
            return None;
        }
        let bytes = match root.read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                report_file_error(&mut self.findings, span, text, &error);
                return None;
            }
        };
        let read = place::format(path).map_err(|problem| vec![problem]).and_then(|format| {
            let source =
                place::text(&whole.to_string_lossy(), bytes).map_err(|problem| vec![problem])?;
            Document::read(&source, format)
        });
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        let (document, below) = match (read, root.below(&folder)) {
            (Ok(document), Ok(below)) => (document, below),
            (Err(problems), _) => {
                self.findings.extend(problems);
                return None;
            }
            (_, Err(error)) => {
                report_file_error(&mut self.findings, span, text, &error);
                return None;
            }
        };
        let given = Given::default();
        let context = Context {
            languages: self.context.languages,
            root: Some(&below),
            purpose: Purpose::Part,
            given: &given,
            functions: self.context.functions,
            within: &within,
        };
        let loaded = check(&document, &whole, &context);
        self.findings.extend(loaded.report.problems);
        Some(Arc::new(SubFlow { flow: loaded.flow?, folder }))
    }

    /// `outputs` of the flow itself: each is an output of a cell.
    pub(super) fn flow_outputs(
        &mut self,
        node: &Node,
        board: &Board<'_, '_>,
    ) -> BTreeMap<PortName, (CellId, PortName)> {
        let mut outputs = BTreeMap::new();
        let Some(table) = self.findings.table("outputs", node) else { return outputs };
        for entry in &table.entries {
            let name: PortName = match entry.key.text.parse() {
                Ok(name) => name,
                Err(error) => {
                    let error = format!("{error}");
                    self.findings.error(Code::BadName, &entry.key.span, error, "");
                    continue;
                }
            };
            let Some(text) = self.findings.text("outputs", &entry.node) else { continue };
            let span = &entry.node.span;
            let Some((cell, port)) = text.split_once('.') else {
                let message = format!("`{}` is not an output of a cell", shown(text));
                self.findings.error(Code::BadInput, span, message, "expected `CELL.PORT`");
                continue;
            };
            let draft = match board.by_id.get(cell) {
                Some(Some(index)) => &board.drafts[*index],
                Some(None) => continue,
                None => {
                    let ids: Vec<_> = board.drafts.iter().map(|it| it.id.as_str()).collect();
                    let near = self.findings.nearest(cell, ids.iter().copied());
                    let message = format!("there is no cell `{}`", shown(cell));
                    self.findings
                        .error(Code::UnknownCell, span, message, "")
                        .help_opt(suggestion(near, &[]));
                    continue;
                }
            };
            match draft.outputs.get_key_value(port) {
                Some((port, _)) => {
                    outputs.insert(name, (draft.id.clone(), port.clone()));
                }
                None if draft.outputs_known => {
                    let ports: Vec<&str> = draft.outputs.keys().map(PortName::as_str).collect();
                    let near = self.findings.nearest(port, ports.iter().copied());
                    let message = format!("the cell `{cell}` has no output `{}`", shown(port));
                    self.findings
                        .error(Code::UnknownPort, span, message, "")
                        .help_opt(suggestion(near, &ports));
                }
                None => {}
            }
        }
        outputs
    }

    /// Whether the inputs of a cell that is a flow are that flow's params, and all that need a value have one.
    pub(super) fn bound(&mut self, board: &Board<'_, '_>, own: usize) {
        let draft = &board.drafts[own];
        let Some(sub) = &draft.sub else { return };
        let params = &sub.flow.params;
        let names: Vec<&str> = params.keys().map(|name| name.as_str()).collect();
        let inputs = || draft.wires.iter().chain(draft.axes.iter());
        for (port, wire) in inputs() {
            if !names.contains(&port.as_str()) {
                let near = self.findings.nearest(port.as_str(), names.iter().copied());
                let message = format!("the flow of `{}` has no param `{port}`", draft.id);
                let help = suggestion(near, &names)
                    .unwrap_or_else(|| "its params are what it takes: `[params]`".to_owned());
                self.findings.error(Code::UnknownParam, &wire.span, message, "").help(help);
            }
        }
        for (name, param) in params {
            let given = inputs().any(|(port, _)| port.as_str() == name.as_str());
            if !given && !param.has_value {
                let message = format!("`{}` gives the flow no `{name}`", draft.id);
                self.findings
                    .error(Code::NoValue, &draft.span, message, "")
                    .help(format!("add `{name}` ({}) to its `inputs`", param.ty));
            }
        }
    }
}

/// The outputs of a flow with their types.
pub(super) fn types(flow: &Flow) -> Ports<Option<Type>> {
    let ty = |(cell, port): &(CellId, PortName)| {
        let cell = flow.cell(cell)?;
        let ty = cell.outputs.get(port)?;
        Some(if cell.map.is_empty() { ty.clone() } else { ty.gathered() })
    };
    flow.outputs.iter().map(|(name, from)| (name.clone(), ty(from))).collect()
}
