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
        Self::new(chain(&error))
    }
}

/// An error and its causes in one line: `message: cause: cause`. What was said already is not said again.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        // Some libraries repeat their cause in their own message.
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.diagnostic.line {
            write!(out, "line {line}: ")?;
        }
        out.write_str(&self.diagnostic.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fault(&'static str, Option<Box<Fault>>);

    impl fmt::Display for Fault {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str(self.0)
        }
    }

    impl std::error::Error for Fault {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.1.as_deref().map(|it| it as _)
        }
    }

    #[test]
    fn causes_are_told_once_each() {
        let of = |words, cause: Option<Fault>| Fault(words, cause.map(Box::new));
        let deep = of("no library", Some(of("can't open it", Some(of("no such file", None)))));
        assert_eq!(chain(&deep), "no library: can't open it: no such file");
        assert_eq!(
            Failure::from(deep).diagnostic().message,
            "no library: can't open it: no such file"
        );
        let again = of("can't open it: no such file", Some(of("no such file", None)));
        assert_eq!(chain(&again), "can't open it: no such file");
    }
}
