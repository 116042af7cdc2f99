//! Words about a cell's code: what tools said, read as diagnostics, and places mapped to where the author wrote.

use std::error::Error;
use std::fmt::Write as _;

use polyloom_model::DiagnosticsFormat;
use polyloom_protocol::Diagnostic;
use polyloom_protocol::meta::Severity;
use polyloom_sandbox::Exit;

use crate::attempt::Attempt;
use crate::diagnostics::{self, Diag, Format};

/// An error and its causes in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let _ = write!(text, ": {cause}");
        next = cause.source();
    }
    text
}

/// The last line that is not empty, at most 200 characters.
pub fn last_line(text: &str) -> String {
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message");
    line.trim().chars().take(200).collect()
}

/// How a program ended, in words.
pub fn exit_words(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) => format!("ended by {}", crate::outcome::signal_name(signal)),
        Exit::NotStarted(stage, errno) => {
            let cause = std::io::Error::from_raw_os_error(errno);
            format!("the program could not be started ({}): {cause}", stage.name())
        }
        Exit::SupervisorLost => "the sandbox ended without a report".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Reads what compilers and interpreters said, as the manifest's `[diagnostics]` describes it.
pub fn of_tools(attempt: &Attempt, stdout: &str, stderr: &str) -> Vec<Diagnostic> {
    let Some(spec) = &attempt.executor.manifest.diagnostics else { return Vec::new() };
    let text = if spec.stdout { stdout } else { stderr };
    if text.is_empty() {
        return Vec::new();
    }
    let format = match &spec.format {
        DiagnosticsFormat::Gcc => Format::Gcc,
        DiagnosticsFormat::Regex(pattern) => Format::Regex(pattern.clone()),
    };
    let code = format!("/cell/code/{}", attempt.code_name);
    let found = diagnostics::parse(&format, text, &code);
    found.into_iter().map(|diag| of_diag(diag, attempt)).collect()
}

fn of_diag(diag: Diag, attempt: &Attempt) -> Diagnostic {
    let severity = match diag.severity.as_str() {
        "warning" => Severity::Warning,
        "note" | "info" => Severity::Info,
        _ => Severity::Error,
    };
    let mut diagnostic = Diagnostic {
        severity,
        message: diag.message,
        code: diag.code,
        file: diag.file,
        line: diag.line,
        col: diag.col,
        end_line: diag.end_line,
        end_col: diag.end_col,
    };
    to_author(&mut diagnostic, attempt);
    diagnostic
}

/// Maps a place in `/cell/code` to the file and line where the author wrote it.
pub fn to_author(diagnostic: &mut Diagnostic, attempt: &Attempt) {
    let code = format!("/cell/code/{}", attempt.code_name);
    let own = match diagnostic.file.as_deref() {
        None => diagnostic.line.is_some(),
        Some(file) => file == code || file == attempt.code_name,
    };
    if !own {
        return;
    }
    let shift = attempt.origin.first_line.saturating_sub(1);
    diagnostic.file = Some(attempt.origin.path.display().to_string());
    diagnostic.line = diagnostic.line.map(|line| line.saturating_add(shift));
    diagnostic.end_line = diagnostic.end_line.map(|line| line.saturating_add(shift));
}

/// Diagnostics as a compiler would print them.
pub fn as_text(diagnostics: &[Diagnostic]) -> String {
    let mut text = String::new();
    for d in diagnostics {
        if let Some(file) = &d.file {
            let _ = write!(text, "{file}:");
            for number in [d.line, d.col].into_iter().flatten() {
                let _ = write!(text, "{number}:");
            }
            text.push(' ');
        }
        let _ = writeln!(text, "{}: {}", d.severity, d.message);
    }
    text
}
