//! What can be wrong with a file, as data: code, words, and the places they speak of. Knows no terminal.

use std::fmt;
use std::sync::Arc;

pub use crate::codes::Code;
use crate::source::{Position, Source, Span};

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file works; something in it is likely not what was meant.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// A place a problem speaks of. The first label of a problem is where it is.
#[derive(Debug, Clone)]
pub struct Label {
    /// The text it is in.
    pub source: Arc<Source>,
    /// The bytes meant.
    pub span: Span,
    /// What to say there; may be empty.
    pub text: String,
}

impl Label {
    /// The name of the file.
    #[must_use]
    pub fn file(&self) -> &str {
        self.source.name()
    }

    /// Line and column of its first byte.
    #[must_use]
    pub fn start(&self) -> Position {
        self.source.position(self.span.start)
    }

    /// Line and column after its last byte.
    #[must_use]
    pub fn end(&self) -> Position {
        self.source.position(self.span.end)
    }
}

/// A text in which no character steers a terminal: names of files and folders are in messages too.
fn plain(text: String) -> String {
    let steers = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if !text.contains(steers) {
        return text;
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if steers(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub struct Problem {
    /// What kind of thing; stable over versions.
    pub code: Code,
    /// The code of whoever found it, where that is a program of somebody else's: shown in place of ours.
    pub theirs: Option<String>,
    /// How bad.
    pub severity: Severity,
    /// One line: lower case, no full stop, names in backticks.
    pub message: String,
    /// What would be valid, or what to do.
    pub help: Option<String>,
    /// The places, the main one first. Empty only when there is no text to point into.
    pub labels: Vec<Label>,
}

impl Problem {
    /// An error without a place.
    #[must_use]
    pub fn error(code: Code, message: impl Into<String>) -> Self {
        let message = plain(message.into());
        let (theirs, help, labels) = (None, None, Vec::new());
        Self { code, theirs, severity: Severity::Error, message, help, labels }
    }

    /// The same, as a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// The code that is shown.
    #[must_use]
    pub fn shown_code(&self) -> &str {
        self.theirs.as_deref().unwrap_or_else(|| self.code.as_str())
    }

    /// The same, pointing at a place.
    #[must_use]
    pub fn at(mut self, source: &Arc<Source>, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { source: Arc::clone(source), span, text: text.into() });
        self
    }

    /// The same, with help.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(plain(help.into()));
        self
    }
}

/// `weather.toml:3:5: error[PL003]: unknown key …`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(label) = self.labels.first() {
            let at = label.start();
            write!(f, "{}:{}:{}: ", label.file().escape_debug(), at.line, at.column)?;
        }
        write!(f, "{}[{}]: {}", self.severity, self.shown_code(), self.message)
    }
}

/// Everything found in one or several files.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The problems, in the order of the text as far as one pass allows.
    pub problems: Vec<Problem>,
}

impl Report {
    /// Whether a problem is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// How many errors there are.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.problems.iter().filter(|problem| problem.severity == Severity::Error).count()
    }

    /// How many warnings there are.
    #[must_use]
    pub fn warnings(&self) -> usize {
        self.problems.len() - self.errors()
    }

    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// Puts the problems of one text in the order of the text.
    pub(crate) fn sort(&mut self) {
        let place = |problem: &Problem| problem.labels.first().map_or(0, |label| label.span.start);
        self.problems.sort_by_key(place);
    }

    /// Takes over another report's problems.
    pub fn extend(&mut self, other: Report) {
        self.problems.extend(other.problems);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_steers_no_terminal() {
        let problem =
            Problem::error(Code::Unreadable, "can't read `q\u{1b}[2J\u{202e}`").help("a\nb\u{7}");
        assert_eq!(problem.message, "can't read `q\\u{1b}[2J\\u{202e}`");
        assert_eq!(problem.help.as_deref(), Some("a\nb\\u{7}"));
    }
}
