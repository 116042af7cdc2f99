//! Words about a cell's code: what tools said, read as diagnostics, and places mapped to where the author wrote.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use polyloom_model::{CellId, DiagnosticsFormat, Kind, Manifest};
use polyloom_protocol::Diagnostic;
use polyloom_protocol::meta::{ExecMeta, Severity};
use polyloom_sandbox::{Exit, View};

use crate::attempt::Attempt;
use crate::diagnostics::{self, Diag, Format};
use crate::mask::{Found, Mask};

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

/// What is said of a worker that ended by itself before its cell was done. In a bundled one, that is the cell's doing, whose code runs in it.
pub fn ended_itself(manifest: &Manifest, code: i32) -> Option<Diagnostic> {
    manifest.path.as_ref()?;
    let what = format!("ended itself with exit code {code} before it said that the cell is done");
    Some(Diagnostic::new(Severity::Error, format!("the executor `{}` {what}", manifest.id)))
}

/// The same of one that a signal ended which nobody sent: the kernel's answer to what it did.
pub fn crashed(manifest: &Manifest, signal: i32) -> Option<String> {
    manifest.path.as_ref()?;
    let Kind::Worker(worker) = &manifest.kind else { return None };
    let library = match &worker.library {
        Some(library) => format!(" (its library `{library}`)"),
        None => String::new(),
    };
    let name = crate::outcome::signal_name(signal);
    let id = &manifest.id;
    Some(format!(
        "the executor `{id}`{library} was ended by {name} before it said that the cell is done"
    ))
}

/// What is said where `[compile]` ended well and `why`: the manifest is at fault, not the code.
pub fn not_compiled(manifest: &Manifest, why: &str) -> Diagnostic {
    let text = format!("`[compile]` of `{}` has to write `{{program}}`: {why}", manifest.id);
    let file = manifest.path.as_ref().map(|path| path.display().to_string());
    Diagnostic { file, ..Diagnostic::new(Severity::Error, text) }
}

/// Where the code of cells lies.
pub fn code_folder() -> &'static Path {
    Path::new("/cell/code")
}

/// Where a cell's code lies.
pub fn code_path(attempt: &Attempt) -> String {
    format!("/cell/code/{}", attempt.code_name)
}

/// Reads what compilers and interpreters said, as the manifest's `[diagnostics]` describes it.
pub fn of_tools(attempt: &Attempt, view: &View, stdout: &str, stderr: &str) -> Vec<Diagnostic> {
    let Some(spec) = &attempt.executor.manifest.diagnostics else { return Vec::new() };
    let text = if spec.stdout { stdout } else { stderr };
    if text.is_empty() {
        return Vec::new();
    }
    let format = match &spec.format {
        DiagnosticsFormat::Gcc => Format::Gcc,
        DiagnosticsFormat::Regex(pattern) => Format::Regex(pattern.clone()),
    };
    let found = diagnostics::parse(&format, text, &view.path(&code_path(attempt)));
    found.into_iter().map(|diag| of_diag(diag, attempt, view)).collect()
}

fn of_diag(diag: Diag, attempt: &Attempt, view: &View) -> Diagnostic {
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
    to_author(&mut diagnostic, attempt, view);
    diagnostic
}

/// Maps a place in `/cell/code` to the file and line where the author wrote it.
pub fn to_author(diagnostic: &mut Diagnostic, attempt: &Attempt, view: &View) {
    let code = view.path(&code_path(attempt));
    let own = match diagnostic.file.as_deref() {
        None => diagnostic.line.is_some() && !attempt.code_name.is_empty(),
        Some(file) => file == code || file == attempt.code_name,
    };
    let folder = view.path(&code_folder().to_string_lossy());
    let other = diagnostic.file.as_deref().filter(|_| !own);
    let below = other.and_then(|file| Path::new(file).strip_prefix(folder).ok());
    // The code of a cell before it in its session.
    let earlier = below.and_then(Path::to_str).and_then(|name| attempt.beside.get(name));
    // Another file of the project that a function reaches.
    let other = below.filter(|_| earlier.is_none()).and_then(|below| {
        attempt.call.as_ref()?.files.iter().find(|(path, _)| path == below)?;
        // The flow's own folder, as the person sees it.
        let root = attempt.origin.path.to_str()?.strip_suffix(&attempt.code_name)?;
        Some(Path::new(root).join(below))
    });
    if let Some(other) = other {
        diagnostic.file = Some(other.display().to_string());
        return;
    }
    let Some(origin) = earlier.or(own.then_some(&attempt.origin)) else { return };
    let shift = origin.first_line.saturating_sub(1);
    let column = |line: Option<u32>, col: u32| match line {
        Some(1) => Some(col.saturating_add(origin.indent?)),
        _ => Some(col),
    };
    diagnostic.col = diagnostic.col.and_then(|col| column(diagnostic.line, col));
    let last = diagnostic.end_line.or(diagnostic.line);
    diagnostic.end_col = diagnostic.end_col.and_then(|col| column(last, col));
    diagnostic.file = Some(origin.path.display().to_string());
    diagnostic.line = diagnostic.line.map(|line| line.saturating_add(shift));
    diagnostic.end_line = diagnostic.end_line.map(|line| line.saturating_add(shift));
}

/// What is kept of a compiler's stderr whose messages were meant for machines: the messages as text; or, where none was understood, what
/// it printed beside them, so that nothing goes without a word.
pub fn in_place_of(stderr: &str, told: &[Diagnostic]) -> String {
    if !told.is_empty() {
        return as_text(told);
    }
    let plain = stderr.lines().filter(|line| !line.starts_with('[') && !line.is_empty());
    plain.map(|line| format!("{line}\n")).collect()
}

/// Why nothing of a cell is kept whose results hold a secret.
pub fn secret_kept(what: &str, cell: &CellId, found: &Found) -> String {
    let Found { secret, form } = found;
    format!(
        "{what} of cell `{cell}` holds the secret `{secret}` ({form}), so nothing was kept; leave it out, or give on only what was made with it"
    )
}

/// Hides secrets in a result and its explanation: the last thing before it leaves. What came in streams was masked on its way.
pub fn hide(mask: &Mask, meta: &mut ExecMeta, explanation: &mut Option<String>) {
    for diagnostic in &mut meta.diagnostics {
        mask.hide_diagnostic(diagnostic);
    }
    if let Some(text) = explanation {
        mask.hide(text);
    }
}

/// Diagnostics as a compiler would print them.
fn as_text(diagnostics: &[Diagnostic]) -> String {
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
