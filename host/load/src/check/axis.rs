//! `map`: what a cell is made a step for each item of.

use polyloom_model::{
    Axis, Connection, Input, Items, PortName, Source as From, Type, Value, can_connect, conform,
    glob,
};

use super::Check;
use super::cell::Taken;
use super::files::{report_file_error, report_outside};
use super::input::{Form, Wire, Wires, constant, form};
use super::wire::{Board, Edge, brief, wanted};
use crate::files::{Found, relative};
use crate::findings::{Findings, shown};
use crate::keys::INPUT;
use crate::problem::Code;
use crate::tree::{Data, Map, Node};

/// A pattern is not looked for any further than this.
const MOST: usize = 100_000;
/// Files of items, by their extension.
const LISTS: [&str; 4] = ["json", "csv", "tsv", "arrow"];

impl Check<'_, '_> {
    /// The axes as written. The type of each is that of an item, where it is declared.
    pub(super) fn axes<'d>(&mut self, map: &'d Map, taken: &mut Taken<'d>) -> Wires {
        let mut axes = Vec::new();
        let table = map.get("map").and_then(|node| self.findings.table("map", node));
        for entry in table.map_or(&[][..], |table| &table.entries) {
            if let Some(name) = self.port(entry, "an item of `map`", taken) {
                let axis = read(&mut self.findings, &entry.key.text, &entry.node);
                axes.push((name, axis));
            }
        }
        if let Some(node) = map.get("map")
            && table.is_some_and(|table| table.entries.is_empty())
        {
            self.findings
                .error(Code::BadMap, &node.span, "`map` has no axis", "")
                .help("valid: `map = { n = [1, 2, 3] }`");
        }
        axes.into_iter().collect()
    }

    /// An axis and the input it fills.
    pub(super) fn axis(
        &mut self,
        board: &Board<'_, '_>,
        own: usize,
        name: &PortName,
        wire: &Wire,
        edges: &mut Vec<Edge>,
    ) -> Option<(Axis, Input)> {
        let (items, found) = match wire.form.as_ref()? {
            Form::Value(value) | Form::List(value) => {
                let Value::List(list) = value else {
                    self.no_list(name, wire, "a constant");
                    return None;
                };
                let ty = wire.ty.clone()?;
                let list: Result<Vec<_>, _> =
                    list.iter().map(|item| conform(item.clone(), &ty)).collect();
                match list {
                    Ok(list) => (Items::Of(From::Value(Value::List(list))), ty),
                    Err(mismatch) => {
                        let message = format!("an item does not fit: {mismatch}");
                        self.findings.error(Code::BadValue, &wire.span, message, "");
                        return None;
                    }
                }
            }
            Form::Port(cell, port) => {
                let (source, ty) = self.port_of(board, own, (cell, port), wire, edges)?;
                (Items::Of(source), self.item(name, wire, &ty)?)
            }
            Form::Ports(_) => {
                let message = format!("the axis `{name}` lists several outputs");
                self.findings
                    .error(Code::BadInput, &wire.span, message, "")
                    .help("an axis takes one list: have a cell make one of them, whose input may list them");
                return None;
            }
            Form::Param(param) => {
                let (source, ty) = self.param_of(board, param, wire)?;
                (Items::Of(source), self.item(name, wire, &ty)?)
            }
            Form::File(path) => self.items_file(name, path, wire)?,
            Form::Other(text) => match text.strip_prefix("glob:") {
                Some(pattern) => (Items::Glob(self.pattern(pattern, wire)?), Type::File),
                None => {
                    self.not_an_input(board, text, wire);
                    return None;
                }
            },
        };
        let of_function =
            wanted(&board.drafts[own], name).filter(|_| board.drafts[own].function.is_some());
        let ty = of_function.or(wire.ty.as_ref()).unwrap_or(&found).clone();
        if can_connect(&found, &ty, board.strict) == Connection::Refused {
            let message = format!(
                "types don't fit: an item is {}, the input is {}",
                brief(&found),
                brief(&ty)
            );
            self.findings.error(Code::TypeMismatch, &wire.span, message, "");
            return None;
        }
        if let Items::Of(From::Value(Value::List(list))) = &items {
            for item in list {
                if self.left_out(&board.drafts[own], name, item, &wire.span) {
                    return None;
                }
            }
        }
        Some((Axis { port: name.clone(), items }, Input { source: From::Item, ty }))
    }

    /// The type of an item of a list.
    fn item(&mut self, name: &PortName, wire: &Wire, ty: &Type) -> Option<Type> {
        match ty {
            Type::List(item) => Some((**item).clone()),
            Type::Any => Some(Type::Any),
            // Its rows, by the names of the columns.
            Type::Table => Some(Type::Map(Box::new(Type::Any))),
            other => {
                self.no_list(name, wire, &brief(other));
                None
            }
        }
    }

    fn no_list(&mut self, name: &PortName, wire: &Wire, found: &str) {
        self.findings
            .error(
                Code::BadMap,
                &wire.span,
                format!("the cell is mapped over `{name}`, which is {found}, not a list"),
                "",
            )
            .help("valid: `[…]`, a `list<…>` of a param or a cell, a `table`, `file:ROWS.csv`, `glob:*.txt`");
    }

    fn items_file(&mut self, name: &PortName, text: &str, wire: &Wire) -> Option<(Items, Type)> {
        let Some(path) = relative(text) else {
            report_outside(&mut self.findings, &wire.span, text);
            return None;
        };
        let extension = path.extension().and_then(|ext| ext.to_str()).unwrap_or_default();
        let Some(kind) = LISTS.into_iter().find(|known| *known == extension) else {
            self.no_list(name, wire, "a file that is none of `.json`, `.csv`, `.tsv`, `.arrow`");
            return None;
        };
        if let Some(root) = self.context.root {
            match self.seen.find(root, &path) {
                Ok(Found::File) => {}
                Ok(Found::Dir) => {
                    self.no_list(name, wire, "a folder");
                    return None;
                }
                Err(error) => {
                    report_file_error(&mut self.findings, &wire.span, text, &error);
                    return None;
                }
            }
        }
        let ty = if kind == "json" { Type::Any } else { Type::Map(Box::new(Type::Any)) };
        Some((Items::Of(From::File(path)), ty))
    }

    /// A pattern of files: a relative path in which names may have `*` and `?`, and `**` is any number of folders.
    fn pattern(&mut self, text: &str, wire: &Wire) -> Option<String> {
        if relative(text).is_none() || text.is_empty() {
            report_outside(&mut self.findings, &wire.span, text);
            return None;
        }
        if !text.contains(['*', '?']) {
            self.findings
                .error(Code::BadMap, &wire.span, format!("`glob:{}` has no `*`", shown(text)), "")
                .help("valid: `glob:data/*.csv`, `glob:data/**/*.csv`");
            return None;
        }
        self.matches(text, wire);
        Some(text.to_owned())
    }

    /// What the pattern finds now, where that is not what anybody means.
    fn matches(&mut self, text: &str, wire: &Wire) {
        let Some(root) = self.context.root else { return };
        // What can't be read, or takes too long, is told when its items are wanted.
        let Ok(Some(found)) = glob(root, text, MOST) else { return };
        let name = shown(text);
        if found.files.is_empty() {
            self.findings
                .error(Code::NoMatch, &wire.span, format!("no file matches `glob:{name}`"), "")
                .warning()
                .help("the cell has no steps; links to folders are not followed, and names with a dot in front only match a pattern with one");
        }
        if let Some(first) = found.lost.first() {
            let first = shown(&first.display().to_string());
            let message = match found.lost.len() {
                1 => format!("`{first}` fits `glob:{name}` and is left out"),
                n => format!("`{first}` and {} more fit `glob:{name}` and are left out", n - 1),
            };
            self.findings.error(Code::NoMatch, &wire.span, message, "").warning().help(
                "a link that leads out of the flow's folder, or to nothing; copy the file there",
            );
        }
    }
}

/// Reads one axis: as an input, but a constant is a list and a type is that of an item.
fn read(findings: &mut Findings, name: &str, node: &Node) -> Wire {
    let bare = Wire { form: None, ty: None, span: node.span.clone() };
    match &node.data {
        Data::Str(text) => Wire { form: Some(form(text)), ..bare },
        Data::Map(map) if map.get("from").is_some() || map.get("value").is_some() => {
            findings.known_keys(map, INPUT, format_args!("the axis `{}`", shown(name)));
            let ty = map.get("type").map(|node| findings.ty(node));
            if ty == Some(None) {
                return bare;
            }
            let declared = ty.flatten();
            match (map.get("from"), map.get("value")) {
                (Some(from), None) => {
                    let form = findings.text("from", from).map(form);
                    Wire { form, ty: declared, span: from.span.clone() }
                }
                (None, Some(node)) => {
                    let list = list(findings, node);
                    Wire { ty: declared.or(list.ty), ..list }
                }
                (Some(from), Some(also)) => {
                    let message = format!("the axis `{}` has both `from` and `value`", shown(name));
                    findings.error(Code::DoublyBound, &from.span, message, "").also(&also.span, "");
                    bare
                }
                (None, None) => bare,
            }
        }
        _ => list(findings, node),
    }
}

/// A constant list, with the type of its items.
fn list(findings: &mut Findings, node: &Node) -> Wire {
    let wire = constant(findings, node);
    let ty = match wire.ty {
        Some(Type::List(item)) => Some(*item),
        other => other,
    };
    Wire { ty, ..wire }
}
