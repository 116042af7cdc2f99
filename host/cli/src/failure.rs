//! The one edge where errors become words, hints and exit codes.

use std::error::Error;
use std::process::ExitCode;

use polyloom_report::{Paint, Style, escape_line};

/// Exit codes, as `--help` and the README list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All is well.
    Ok = 0,
    /// A cell failed.
    Failed = 1,
    /// Bad usage or a bad flow.
    Usage = 2,
    /// This machine or an installation.
    Environment = 3,
    /// Nothing was selected.
    Nothing = 4,
    /// Some cells failed, the others were run (`-k`).
    Partial = 5,
    /// The run's time was over.
    Timeout = 124,
    /// Interrupted.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// An error on its way to a person.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// `error:`, then `caused by:`.
    pub messages: Vec<String>,
    /// `hint:`.
    pub hint: Option<String>,
}

impl Failure {
    /// A message without causes.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, messages: vec![message.into()], hint: None }
    }

    /// An error with its causes.
    pub fn of(exit: Exit, error: &dyn Error) -> Self {
        let mut messages = vec![error.to_string()];
        let mut next = error.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if messages.last() != Some(&text) {
                messages.push(text);
            }
            next = cause.source();
        }
        Self { exit, messages, hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// As it is printed on stderr.
    pub fn render(&self, paint: Paint) -> String {
        let mut text = String::new();
        for (i, message) in self.messages.iter().enumerate() {
            let label = if i == 0 { "error:" } else { "caused by:" };
            text.push_str(&paint.text(Style::Bad, label));
            text.push(' ');
            text.push_str(&escape_line(message));
            text.push('\n');
        }
        if let Some(hint) = &self.hint {
            text.push_str(&paint.text(Style::Strong, "hint:"));
            text.push(' ');
            text.push_str(&escape_line(hint));
            text.push('\n');
        }
        text
    }
}

/// What every command gives.
pub type Outcome = Result<Exit, Failure>;
