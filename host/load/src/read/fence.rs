//! Which parts of a Markdown text are cells: fenced blocks whose info string is `{LANGUAGE}`, as Quarto has it.
//! Knows no option's meaning.

use super::block::Line;
use crate::source::{Source, Span};

/// What can begin an option line: a comment of the cell's language and a bar.
pub(crate) const LEADERS: [&str; 4] = ["#|", "//|", "--|", ";|"];

/// A cell's block.
#[derive(Debug)]
pub(crate) struct Fence<'t> {
    /// The language, as written, and its place.
    pub lang: &'t str,
    pub lang_span: Span,
    /// What follows the language inside the braces.
    pub attributes: Line<'t>,
    /// The option lines without their leader.
    pub options: Vec<Line<'t>>,
    /// The code, below the options and above the closing fence.
    pub body: Span,
    /// Blanks before the opening fence, taken off the code's lines as well.
    pub indent: usize,
    /// Whether there is a closing fence.
    pub closed: bool,
}

/// The front matter's lines, between two `---` at the very beginning; and the line after it.
pub(crate) fn front_matter(source: &Source) -> (Vec<Line<'_>>, usize) {
    let text = |index| {
        let span = source.line_span(index);
        Line { text: &source.text()[span.clone()], offset: span.start }
    };
    if text(0).text.trim_end() != "---" {
        return (Vec::new(), 0);
    }
    let mut lines = Vec::new();
    for index in 1..source.line_count() {
        let line = text(index);
        if matches!(line.text.trim_end(), "---" | "...") {
            return (lines, index + 1);
        }
        lines.push(line);
    }
    // Without an end it is a ruler, and what follows it is prose.
    (Vec::new(), 0)
}

/// The cells' blocks from a line on.
pub(crate) fn fences(source: &Source, from: usize) -> Vec<Fence<'_>> {
    let mut found: Vec<Fence<'_>> = Vec::new();
    // The open fence: its character, its length, whether it is a cell's.
    let mut open: Option<(char, usize, bool)> = None;
    let mut comment = false;
    let mut heading = false;
    for index in from..source.line_count() {
        let span = source.line_span(index);
        let line = &source.text()[span.clone()];
        match open {
            None if comment => comment = !line.contains("-->"),
            None => {
                if let Some((c, length, info)) = opening(line) {
                    let cell = cell(line, info, span.start);
                    open = Some((c, length, cell.is_some()));
                    heading = true;
                    if let Some(mut cell) = cell {
                        let start = (span.end..=source.text().len())
                            .find(|at| source.text()[..*at].ends_with('\n'))
                            .unwrap_or(source.text().len());
                        cell.body = start..source.text().len();
                        found.push(cell);
                    }
                } else if let Some(at) = line.rfind("<!--") {
                    comment = !line[at..].contains("-->");
                }
            }
            Some((c, length, is_cell)) => {
                let closes = opening(line).is_some_and(|(with, long, info)| {
                    with == c && long >= length && info.trim().is_empty()
                });
                if closes {
                    open = None;
                }
                let Some(fence) = found.last_mut().filter(|_| is_cell) else { continue };
                if closes {
                    fence.body.end = span.start.max(fence.body.start);
                    fence.closed = true;
                    continue;
                }
                let option = option(line).filter(|_| heading);
                match option {
                    Some((text, before)) => {
                        fence.options.push(Line { text, offset: span.start + before });
                        fence.body.start = (span.end + 1).min(source.text().len());
                        if source.text()[span.end..].starts_with("\r\n") {
                            fence.body.start = span.end + 2;
                        }
                    }
                    None => heading = false,
                }
            }
        }
    }
    found
}

/// An option line's text after the leader, and how many bytes come before it.
pub(crate) fn option(line: &str) -> Option<(&str, usize)> {
    let start = line.trim_start();
    let rest = LEADERS.iter().find_map(|leader| start.strip_prefix(leader))?;
    let rest = rest.strip_prefix(' ').unwrap_or(rest);
    Some((rest, line.len() - rest.len()))
}

/// An opening (or closing) fence: its character, its length and its info string.
fn opening(line: &str) -> Option<(char, usize, &str)> {
    let start = line.trim_start_matches(' ');
    if line.len() - start.len() > 3 {
        return None;
    }
    let c = start.chars().next().filter(|c| matches!(c, '`' | '~'))?;
    let info = start.trim_start_matches(c);
    let length = start.len() - info.len();
    (length >= 3 && !(c == '`' && info.contains('`'))).then_some((c, length, info))
}

/// A cell, if the info string is one's: `{python}`, but not `python`, `{.python}`, `{=html}`, `{{python}}`.
fn cell<'t>(line: &'t str, info: &'t str, offset: usize) -> Option<Fence<'t>> {
    let inner = info.trim().strip_prefix('{')?.strip_suffix('}')?;
    let trimmed = inner.trim_start();
    let end = trimmed
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '.')))
        .unwrap_or(trimmed.len());
    let (lang, rest) = trimmed.split_at(end);
    if !lang.starts_with(|c: char| c.is_ascii_alphanumeric()) || matches!(lang, "mermaid" | "dot") {
        return None;
    }
    let place = |part: &str| offset + (part.as_ptr() as usize - line.as_ptr() as usize);
    let start = place(lang);
    Some(Fence {
        lang,
        lang_span: start..start + lang.len(),
        attributes: Line { text: rest, offset: place(rest) },
        options: Vec::new(),
        body: 0..0,
        indent: line.len() - line.trim_start_matches(' ').len(),
        closed: false,
    })
}
