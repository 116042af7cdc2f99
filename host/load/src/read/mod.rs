//! From text to tree: one reader per format, one result. Knows nothing of what the keys mean, but for Markdown's
//! two conventions of where a cell's options and code stand.

mod block;
mod fence;
mod inline;
mod json;
mod markdown;
mod plain;
mod toml;

use std::path::Path;
use std::sync::Arc;

use crate::findings::Findings;
use crate::problem::{Code, Problem};
use crate::source::Source;
use crate::tree::{Data, Node};

pub(crate) use fence::{LEADERS, fences, front_matter, option};
pub(crate) use json::{parse as parse_json, read as read_json};
pub(crate) use toml::read as read_toml;

/// The format of a flow file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `*.toml`
    Toml,
    /// `*.json`
    Json,
    /// `*.md`, `*.qmd`
    Markdown,
}

impl Format {
    /// The format of a file by its extension.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "toml" => Some(Format::Toml),
            "json" => Some(Format::Json),
            "md" | "qmd" => Some(Format::Markdown),
            _ => None,
        }
    }
}

/// A flow file as a tree.
#[derive(Debug, Clone)]
pub struct Document {
    /// Its text.
    pub source: Arc<Source>,
    /// How it was written.
    pub format: Format,
    /// Its content: always a table.
    pub root: Node,
}

impl Document {
    /// Reads a text. With problems in the syntax there is no document.
    pub fn read(source: &Arc<Source>, format: Format) -> Result<Self, Vec<Problem>> {
        let root = match format {
            Format::Toml => toml::read(source),
            Format::Json => json::read(source),
            Format::Markdown => markdown::read(source),
        }?;
        let mut findings = Findings::new(source);
        if root.as_map().is_none() {
            findings
                .error(
                    Code::WrongKind,
                    &root.span,
                    format!("a flow is a table, not {}", root.kind()),
                    "",
                )
                .help("valid: `{ \"flow\": {…}, \"cells\": {…} }`");
        }
        if may_hold_nul(source.text()) {
            refuse_nul(&root, &mut findings);
        }
        if findings.count() == 0 {
            Ok(Self { source: Arc::clone(source), format, root })
        } else {
            Err(findings.into_report().problems)
        }
    }

    /// The line, from 1, on which the content of a text begins.
    pub(crate) fn first_line(&self, text: &Node) -> u32 {
        self.source.line(self.content(text))
    }

    /// Where the content of a text begins, or the quote before it.
    fn content(&self, text: &Node) -> usize {
        let mut at = text.span.start;
        if self.format == Format::Toml {
            let rest = self.source.text().get(at..).unwrap_or("");
            if rest.starts_with("'''") || rest.starts_with("\"\"\"") {
                at += 3;
                // TOML drops a line break that directly follows the opening quotes.
                if rest[3..].starts_with('\n') || rest[3..].starts_with("\r\n") {
                    at += rest[3..].find('\n').map_or(0, |end| end + 1);
                }
            }
        }
        at
    }
}

impl Document {
    /// How many characters are before a text in the line in which it begins, where that line of it is written as it is.
    pub(crate) fn indent(&self, node: &Node, text: &str) -> Option<u32> {
        if self.format == Format::Markdown {
            return Some(0);
        }
        let mut at = self.content(node);
        let rest = self.source.text().get(at..)?;
        at += usize::from(rest.starts_with(['"', '\'']));
        let first = text.lines().next().unwrap_or_default();
        let is_plain = self.source.text().get(at..)?.starts_with(first);
        is_plain.then(|| self.source.position(at).column - 1)
    }

    /// Whether each line of a text is a line of the file: no line break in it is written as an escape.
    pub(crate) fn is_line_by_line(&self, node: &Node, text: &str, first_line: u32) -> bool {
        let breaks = text.bytes().filter(|byte| *byte == b'\n').count();
        let last = self.source.line(node.span.end);
        self.format == Format::Markdown
            || u32::try_from(breaks).is_ok_and(|breaks| first_line.saturating_add(breaks) == last)
    }
}

/// Whether a text has the character itself, or what may be its escape in some format: most have neither, and their trees are not looked through.
fn may_hold_nul(text: &str) -> bool {
    let escape = |at: usize| matches!(text.as_bytes().get(at + 1), Some(b'u' | b'U' | b'x'));
    text.contains('\0') || text.match_indices('\\').any(|(at, _)| escape(at))
}

/// No argument, path or variable can carry a NUL, so that no text of a file may.
pub(crate) fn refuse_nul(node: &Node, findings: &mut Findings) {
    let mut refuse = |span, what| {
        findings.error(Code::Nul, span, format!("{what} holds the character U+0000"), "");
    };
    match &node.data {
        Data::Str(text) if text.contains('\0') => refuse(&node.span, "a text"),
        Data::List(items) => items.iter().for_each(|item| refuse_nul(item, findings)),
        Data::Map(map) => {
            for entry in &map.entries {
                if entry.key.text.contains('\0') {
                    findings.error(
                        Code::Nul,
                        &entry.key.span,
                        "a key holds the character U+0000",
                        "",
                    );
                }
                refuse_nul(&entry.node, findings);
            }
        }
        Data::Null | Data::Bool(_) | Data::Int(_) | Data::Float(_) | Data::Str(_) | Data::Date => {}
    }
}
