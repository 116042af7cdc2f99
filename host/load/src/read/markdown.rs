//! Markdown to tree: cells from fenced blocks, the flow's own tables from the front matter. What belongs to Quarto
//! (titles, formats, display options) is left to it.

use std::collections::HashMap;
use std::sync::Arc;

use super::block::{self, Failure};
use super::fence::{Fence, fences, front_matter};
use crate::problem::{Code, Problem};
use crate::source::{Source, Span};
use crate::tree::{Data, Entry, Key, Map, Node};

/// Keys of the front matter that are the flow's.
const OURS: &[&str] = &["title", "flow", "params", "executors", "defaults"];

/// Cell options that are Quarto's, besides those that begin with one of `DISPLAY`.
const QUARTOS: &[&str] = &[
    "echo",
    "output",
    "warning",
    "error",
    "message",
    "include",
    "results",
    "column",
    "panel",
    "classes",
    "class",
    "renderings",
    "fold",
    "eval",
    "label",
    "id",
];
const DISPLAY: &[&str] = &[
    "fig-", "fig.", "tbl-", "lst-", "code-", "layout", "output-", "cap-", "attr-", "html-", "dev",
    "out-", "out.",
];

/// Reads a document.
pub(crate) fn read(source: &Arc<Source>) -> Result<Node, Vec<Problem>> {
    let mut failures = Vec::new();
    let (lines, from) = front_matter(source);
    let mut top = block::read(&lines, &|key| OURS.contains(&key), &mut failures);
    title(&mut top);
    let mut cells = Map::default();
    let mut seen: HashMap<String, Span> = HashMap::new();
    for (index, fence) in fences(source, from).iter().enumerate() {
        let Some(entry) = cell(source, fence, index + 1, &mut failures) else { continue };
        if let Some(first) = seen.get(entry.key.text.as_str()) {
            failures.push(Failure {
                code: Code::Duplicate,
                message: format!(
                    "two cells are called `{}`",
                    crate::findings::shown(&entry.key.text)
                ),
                span: entry.key.span,
                first: Some(first.clone()),
            });
            continue;
        }
        seen.insert(entry.key.text.to_string(), entry.key.span.clone());
        cells.entries.push(entry);
    }
    if !cells.entries.is_empty() {
        top.entries.push(Entry {
            key: Key { text: "cells".into(), span: 0..0 },
            node: Node { span: 0..0, data: Data::Map(cells) },
        });
    }
    if failures.is_empty() {
        return Ok(Node { span: 0..0, data: Data::Map(top) });
    }
    failures.sort_by_key(|failure| failure.span.start);
    Err(failures.into_iter().map(|failure| problem(source, failure)).collect())
}

fn problem(source: &Arc<Source>, failure: Failure) -> Problem {
    let problem = Problem::error(failure.code, failure.message).at(source, failure.span, "");
    match failure.first {
        Some(first) => problem.at(source, first, "first here"),
        None => problem,
    }
}

/// The document's title is the flow's `doc`, where that says nothing itself.
fn title(top: &mut Map) {
    let Some(at) = top.entries.iter().position(|entry| entry.key.text == "title") else { return };
    let title = top.entries.remove(at);
    if title.node.as_str().is_none() {
        return;
    }
    let doc = Entry { key: Key { text: "doc".into(), span: title.key.span.clone() }, ..title };
    match top
        .entries
        .iter_mut()
        .find(|entry| entry.key.text == "flow")
        .map(|entry| &mut entry.node.data)
    {
        Some(Data::Map(flow)) if flow.get("doc").is_none() => flow.entries.push(doc),
        Some(_) => {}
        None => top.entries.push(Entry {
            key: Key { text: "flow".into(), span: doc.key.span.clone() },
            node: Node { span: doc.key.span.clone(), data: Data::Map(Map { entries: vec![doc] }) },
        }),
    }
}

fn cell(
    source: &Source,
    fence: &Fence<'_>,
    number: usize,
    failures: &mut Vec<Failure>,
) -> Option<Entry> {
    let fail = |span, message: String| Failure { code: Code::Syntax, message, span, first: None };
    if !fence.closed {
        let message = "the cell has no end: a closing fence is missing".to_owned();
        failures.push(fail(fence.lang_span.clone(), message));
    }
    let mut options = block::read(&fence.options, &|key| !display(key), failures);
    let mut take = |name: &str| {
        let at = options.entries.iter().position(|entry| entry.key.text == name)?;
        Some(options.entries.remove(at).node)
    };
    let (id, label, eval) = (take("id"), take("label"), take("eval"));
    if matches!(eval.map(|node| node.data), Some(Data::Bool(false))) {
        return None;
    }
    let attributes = fence.attributes.text.trim();
    let attribute = attributes.strip_prefix('#').filter(|id| !id.contains(char::is_whitespace));
    if !attributes.is_empty() && attribute.is_none() {
        let start = fence.attributes.offset;
        let message =
            "only `#ID` may follow the language; options are lines `#| key: value`".to_owned();
        failures.push(fail(start..start + fence.attributes.text.len(), message));
    }
    let key = match (id.or(label), attribute) {
        (Some(Node { span, data: Data::Str(text) }), _) => Key { text, span },
        (Some(node), _) => {
            failures.push(fail(
                node.span.clone(),
                format!("a cell's id is a text, not {}", node.kind()),
            ));
            return None;
        }
        (None, Some(id)) => Key { text: id.into(), span: fence.lang_span.clone() },
        // Unnamed cells are usual in documents; what nobody refers to needs no name of its own.
        (None, None) => {
            Key { text: format!("cell-{number}").into(), span: fence.lang_span.clone() }
        }
    };
    // Else the table would have one name twice, which no other form can write.
    for (name, own, what) in [
        ("code", &fence.body, "a cell's code is what stands in its block, not an option"),
        ("lang", &fence.lang_span, "a cell's language stands in the braces, not in an option"),
    ] {
        let Some(at) = options.entries.iter().position(|entry| entry.key.text == name) else {
            continue;
        };
        failures.push(Failure {
            code: Code::Duplicate,
            message: what.to_owned(),
            span: options.entries.remove(at).key.span,
            first: Some(own.clone()),
        });
    }
    let body = &source.text()[fence.body.clone()];
    let elsewhere = options.get("file").or_else(|| options.get("uses")).is_some();
    let mut push = |name: &str, span: &Span, data| {
        let key = Key { text: name.into(), span: span.clone() };
        options.entries.push(Entry { key, node: Node { span: span.clone(), data } });
    };
    push("lang", &fence.lang_span, Data::Str(fence.lang.into()));
    if !(elsewhere && body.trim().is_empty()) {
        push("code", &fence.body, Data::Str(unindent(body, fence.indent).into()));
    }
    Some(Entry { key, node: Node { span: fence.lang_span.clone(), data: Data::Map(options) } })
}

fn display(key: &str) -> bool {
    (QUARTOS.contains(&key) && !matches!(key, "id" | "label" | "eval"))
        || DISPLAY.iter().any(|start| key.starts_with(start))
}

fn unindent(body: &str, indent: usize) -> String {
    if indent == 0 {
        return body.to_owned();
    }
    body.split_inclusive('\n')
        .map(|line| {
            let blanks = line.len() - line.trim_start_matches(' ').len();
            &line[blanks.min(indent)..]
        })
        .collect()
}
