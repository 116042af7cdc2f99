//! Why a cell failed, as its author is to read it. It knows no wire.

use std::fmt;

use polyloom_protocol::{Diagnostic, Severity};

/// The failure of a cell's code. It becomes an error diagnostic and a line on standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    diagnostic: Box<Diagnostic>,
    own: bool,
}

impl Failure {
    /// A failure in words, without a place.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self::told_by(Diagnostic::new(Severity::Error, message))
    }

    /// A fault of the executor itself: it is told without a place in the cell's code.
    #[must_use]
    pub fn of_executor(id: &str, message: impl fmt::Display) -> Self {
        Self { own: true, ..Self::new(format!("the executor `{id}` failed: {message}")) }
    }

    /// Names the line of the cell's code, from 1.
    #[must_use]
    pub fn at_line(mut self, line: u32) -> Self {
        self.diagnostic.line = Some(line);
        self
    }

    /// A failure that is told by this diagnostic.
    #[must_use]
    pub fn told_by(diagnostic: Diagnostic) -> Self {
        Self { diagnostic: Box::new(diagnostic), own: false }
    }

    /// Whether the cell's code has no part in it.
    pub(crate) fn is_own(&self) -> bool {
        self.own
    }

    /// The diagnostic it becomes.
    #[must_use]
    pub fn diagnostic(&self) -> &Diagnostic {
        &self.diagnostic
    }
}

/// Any error can end a cell; its causes are part of the message.
impl<E: std::error::Error> From<E> for Failure {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            message.push_str(&format!(": {inner}"));
            cause = inner.source();
        }
        Self::new(message)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.diagnostic.line {
            write!(out, "line {line}: ")?;
        }
        out.write_str(&self.diagnostic.message)
    }
}
