//! Nested `key: value` lines, the part of YAML that Markdown's front matter and cell options need: tables by
//! indentation, lists by `- `, values on one line (see `inline`).

use std::collections::HashMap;

use super::inline;
use crate::problem::Code;
use crate::source::Span;
use crate::tree::{Data, Entry, Key, Map, Node};

const DEPTH: usize = 16;

/// A line and where it stands in the source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'t> {
    pub text: &'t str,
    pub offset: usize,
}

impl Line<'_> {
    fn indent(&self) -> usize {
        self.text.len() - self.text.trim_start_matches(' ').len()
    }

    /// Whether it says nothing.
    fn blank(&self) -> bool {
        let text = self.text.trim();
        text.is_empty() || text.starts_with('#')
    }

    fn span(&self) -> Span {
        let start = self.offset + self.indent();
        start..(self.offset + self.text.trim_end().len()).max(start)
    }
}

/// What could not be read.
pub(crate) struct Failure {
    pub code: Code,
    pub message: String,
    pub span: Span,
    pub first: Option<Span>,
}

/// Reads lines as a table. Keys of the outermost level that `wanted` refuses are left out unread, with all they hold.
pub(crate) fn read(
    lines: &[Line<'_>],
    wanted: &dyn Fn(&str) -> bool,
    failures: &mut Vec<Failure>,
) -> Map {
    let lines: Vec<Line<'_>> = lines.iter().copied().filter(|line| !line.blank()).collect();
    let mut reader = Reader { lines: &lines, at: 0, failures };
    let mut map = Map::default();
    let mut seen = HashMap::new();
    while let Some(line) = reader.peek() {
        let before = reader.at;
        reader.map(line.indent(), 0, Some(wanted), &mut map, &mut seen);
        if reader.at == before {
            // A line that is less indented than the first one, or no `key: value`.
            reader.at += 1;
        }
    }
    map
}

struct Reader<'r, 't> {
    lines: &'r [Line<'t>],
    at: usize,
    failures: &'r mut Vec<Failure>,
}

impl<'t> Reader<'_, 't> {
    fn peek(&self) -> Option<Line<'t>> {
        self.lines.get(self.at).copied()
    }

    fn fail(&mut self, span: Span, message: impl Into<String>) {
        let message = message.into();
        self.failures.push(Failure { code: Code::Syntax, message, span, first: None });
    }

    /// Passes over the lines below a key that nobody wants.
    fn skip(&mut self, indent: usize) {
        while self.peek().is_some_and(|line| {
            line.indent() > indent
                || (line.indent() == indent && line.text.trim_start().starts_with("- "))
        }) {
            self.at += 1;
        }
    }

    fn map(
        &mut self,
        indent: usize,
        depth: usize,
        wanted: Option<&dyn Fn(&str) -> bool>,
        map: &mut Map,
        seen: &mut HashMap<String, Span>,
    ) {
        while let Some(line) = self.peek().filter(|line| line.indent() == indent) {
            self.at += 1;
            let Some((key, rest)) = split(line) else {
                self.fail(line.span(), "expected `key: value`");
                self.skip(indent);
                continue;
            };
            if wanted.is_some_and(|wanted| !wanted(&key.text)) {
                self.skip(indent);
                continue;
            }
            let node = self.value(rest, &key, indent, depth);
            match seen.insert(key.text.to_string(), key.span.clone()) {
                Some(first) => self.failures.push(Failure {
                    code: Code::Duplicate,
                    message: format!("duplicate key `{}`", crate::findings::shown(&key.text)),
                    span: key.span,
                    first: Some(first),
                }),
                None => map.entries.push(Entry { key, node }),
            }
        }
        if let Some(line) = self.peek()
            && line.indent() > indent
        {
            self.fail(line.span(), "unexpected indentation");
            self.skip(indent);
        }
    }

    fn value(&mut self, rest: Line<'_>, key: &Key, indent: usize, depth: usize) -> Node {
        let null = Node { span: key.span.clone(), data: Data::Null };
        let text = rest.text.trim();
        if !text.is_empty() && !text.starts_with('#') {
            if matches!(text, "|" | ">" | "|-" | ">-" | "|+" | ">+") {
                self.fail(rest.span(), "texts of several lines can't stand here");
                self.skip(indent);
                return null;
            }
            return self.inline(rest).unwrap_or(null);
        }
        let Some(next) = self.peek() else { return null };
        if depth >= DEPTH {
            self.fail(next.span(), "nested too deep");
            self.skip(indent);
            return null;
        }
        let item = next.text.trim_start().starts_with("- ") || next.text.trim() == "-";
        if item && next.indent() >= indent {
            return Node { span: key.span.clone(), data: Data::List(self.list(next.indent())) };
        }
        if next.indent() > indent {
            let mut map = Map::default();
            self.map(next.indent(), depth + 1, None, &mut map, &mut HashMap::new());
            return Node { span: key.span.clone(), data: Data::Map(map) };
        }
        null
    }

    fn list(&mut self, indent: usize) -> Vec<Node> {
        let mut items = Vec::new();
        while let Some(line) = self.peek().filter(|line| line.indent() == indent) {
            let Some(rest) = line.text[indent..].strip_prefix('-') else { break };
            self.at += 1;
            let rest = Line { text: rest, offset: line.offset + indent + 1 };
            items.extend(self.inline(rest));
        }
        items
    }

    fn inline(&mut self, rest: Line<'_>) -> Option<Node> {
        match inline::value(rest.text.trim_end(), rest.offset) {
            Ok(node) => Some(node),
            Err(failure) => {
                self.fail(failure.span, failure.message);
                None
            }
        }
    }
}

/// `key: rest` or `key = rest`.
fn split(line: Line<'_>) -> Option<(Key, Line<'_>)> {
    let indent = line.indent();
    let text = &line.text[indent..];
    let end = text.find([':', '='])?;
    let raw = text[..end].trim_end();
    let name = raw
        .strip_prefix('"')
        .and_then(|name| name.strip_suffix('"'))
        .or_else(|| raw.strip_prefix('\'').and_then(|name| name.strip_suffix('\'')))
        .unwrap_or(raw);
    if name.is_empty() || name.contains([' ', '"', '\'', '{', '[']) {
        return None;
    }
    let start = line.offset + indent;
    let key = Key { text: name.into(), span: start..start + raw.len() };
    Some((key, Line { text: &text[end + 1..], offset: start + end + 1 }))
}
