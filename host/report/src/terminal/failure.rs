//! One failed cell, told at the end: where, what, the lines around it, what it printed last, why, and what to type next.

use std::fmt::Write;

use polyloom_events::UNRECORDED;
use polyloom_protocol::Value;
use polyloom_protocol::meta::{Diagnostic, ExecMeta, Outcome, Severity};

use super::{Screen, log};
use crate::escape::{escape, escape_line, quote};
use crate::paint::Style;
use crate::units;

/// Diagnostics told per cell; compilers are generous with them.
pub(super) const MAX_DIAGNOSTICS: usize = 5;
/// Lines of stderr told.
const TAIL: usize = 12;

/// A cell that failed.
pub(super) struct Failure {
    pub(super) cell: String,
    lang: String,
    meta: ExecMeta,
    errors: Vec<Diagnostic>,
    /// Where it called what the first error is in.
    called: Option<Diagnostic>,
}

/// Whether an outcome counts as a failure.
pub(super) fn is_failure(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Ok | Outcome::Cached | Outcome::Skipped | Outcome::Cancelled => false,
        Outcome::Failed
        | Outcome::TimedOut
        | Outcome::OutOfMemory
        | Outcome::CpuExceeded
        | Outcome::OutputExceeded
        | Outcome::DiskExceeded
        | Outcome::PidsExceeded
        | Outcome::FilesExceeded
        | Outcome::ArtifactsExceeded
        | Outcome::Killed
        | Outcome::OutputMissing
        | Outcome::Denied
        | Outcome::WorkerError => true,
    }
}

/// What programs say of a file that is not there: the first thing a cell misses is the folder its flow lies in.
const MISSING_FILE: [&str; 4] =
    ["No such file or directory", "FileNotFoundError", "ENOENT", "NoSuchFileException"];
/// What the host says of a limit that was set on the command line.
const SET_BY_FLAG: &str = "(set by `--limit`)";
/// What they say where no more files can be opened.
const MANY_FILES: [&str; 2] = ["Too many open files", "EMFILE"];
/// What the host says where the disk of its store is full.
const NO_SPACE: [&str; 1] = ["no space left on the disk of"];
/// What Node says of a module that lies beside no cell.
const MISSING_BESIDE: [&str; 1] = ["Cannot find module '/cell/code/"];
/// What Python says of a module that is not there.
const MISSING_MODULE: [&str; 1] = ["ModuleNotFoundError"];
/// What they say where there is no network.
const NO_NETWORK: [&str; 5] = [
    "Name or service not known",
    "Temporary failure in name resolution",
    "Network is unreachable",
    "EAI_AGAIN",
    "UnknownHostException",
];

/// The code of an info that says where a cell called what an error is in.
const CALLER: &str = "caller";

/// Whether a diagnostic says where the cell called what its error is in: the code of an earlier cell of its session.
#[must_use]
pub fn is_caller(diagnostic: &Diagnostic) -> bool {
    diagnostic.severity == Severity::Info && diagnostic.code.as_deref() == Some(CALLER)
}

/// Whether every output is there, and one of them can't be taken as what it is declared as.
fn malformed(meta: &ExecMeta) -> bool {
    let mut told = meta.diagnostics.iter().filter(|it| it.severity == Severity::Error).peekable();
    told.peek().is_some() && told.all(|it| !it.message.contains("was not written"))
}

/// Whether the trouble was the host's own: no process of the cell ended, well or badly.
pub(super) fn never_ran(meta: &ExecMeta) -> bool {
    meta.exit_code.is_none() && meta.signal.is_none() && meta.wall_ms == 0.0
}

/// Whether there was no program to run, or none that the system runs.
fn not_started(meta: &ExecMeta) -> bool {
    let says = |it: &Diagnostic| it.message.starts_with("the program could not be started");
    meta.exit_code.is_none() && meta.signal.is_none() && meta.diagnostics.iter().any(says)
}

/// Whether the manifest's `[compile]` left no program.
fn not_compiled(meta: &ExecMeta) -> bool {
    meta.diagnostics.iter().any(|it| it.message.starts_with("`[compile]` of "))
}

/// Whether a plugin crashed: what ended is its program.
fn crashed(meta: &ExecMeta) -> bool {
    let says = |it: &Diagnostic| it.message.starts_with("the executor `");
    meta.signal.is_some() && meta.diagnostics.iter().any(says)
}

/// Whether a kernel of Jupyter did, by the word of its worker.
fn kernel_ended(meta: &ExecMeta) -> bool {
    meta.diagnostics.iter().any(|it| it.message.starts_with("the kernel ended with "))
}

/// What an outcome is called: of a step that was not begun, no worker has done anything wrong.
pub(super) fn word(meta: &ExecMeta) -> &'static str {
    match meta.outcome {
        Outcome::WorkerError if never_ran(meta) => "not run",
        outcome => outcome.as_str(),
    }
}

/// What the host saw, in a few words.
pub(super) fn evidence(meta: &ExecMeta) -> String {
    let peak = || match meta.peak_memory {
        Some(peak) => format!("peak memory {}", units::size(peak)),
        None => "over its memory limit".to_owned(),
    };
    match meta.outcome {
        Outcome::TimedOut => format!("stopped after {}", units::duration(meta.wall_ms)),
        Outcome::OutOfMemory => peak(),
        Outcome::CpuExceeded => format!("{} of processor time", units::duration(meta.cpu_ms)),
        Outcome::OutputExceeded => {
            format!("printed {}", units::size(meta.stdout.bytes.saturating_add(meta.stderr.bytes)))
        }
        Outcome::DiskExceeded if meta.limit.as_ref().is_some_and(|it| it.name == "inodes") => {
            "made more files than its limit".to_owned()
        }
        Outcome::DiskExceeded => "wrote more than its disk limit".to_owned(),
        Outcome::PidsExceeded => "too many processes".to_owned(),
        Outcome::FilesExceeded => "too many open files".to_owned(),
        Outcome::ArtifactsExceeded => "too many or too large results".to_owned(),
        Outcome::OutputMissing if malformed(meta) => {
            "an output is not what it is declared as".to_owned()
        }
        Outcome::OutputMissing => "a declared output is missing".to_owned(),
        // It ran, and what it left may not be kept.
        Outcome::Denied if !never_ran(meta) => "its results were refused".to_owned(),
        Outcome::Denied => "a permission is missing".to_owned(),
        Outcome::WorkerError if never_ran(meta) => "the host could not begin it".to_owned(),
        Outcome::WorkerError if not_started(meta) => "its program could not be started".to_owned(),
        Outcome::WorkerError if not_compiled(meta) => "its code was not compiled".to_owned(),
        Outcome::WorkerError => "the executor broke off".to_owned(),
        Outcome::Ok
        | Outcome::Cached
        | Outcome::Skipped
        | Outcome::Failed
        | Outcome::Killed
        | Outcome::Cancelled => match (meta.signal, meta.exit_code) {
            (Some(signal), _) => signal_name(signal),
            _ if meta.extras.get("did_not_compile") == Some(&Value::Bool(true)) => {
                "did not compile".to_owned()
            }
            // It may be missing a part of its own, or the code ended it.
            (None, Some(0)) if kernel_ended(meta) => "its kernel ended".to_owned(),
            // A worker ends well after it has told of an error.
            (None, Some(0)) if meta.outcome == Outcome::Failed => {
                "its code ended in an error".to_owned()
            }
            (None, Some(code)) => format!("exit code {code}"),
            (None, None) => String::new(),
        },
    }
}

/// The same; of what did not begin, why.
pub(super) fn what(meta: &ExecMeta) -> String {
    let evidence = evidence(meta);
    let mut errors = meta.diagnostics.iter().filter(|it| it.severity == Severity::Error);
    match errors.next() {
        Some(error) if evidence.is_empty() => {
            log::cut(&escape_line(error.message.lines().next().unwrap_or_default()))
        }
        _ => evidence,
    }
}

fn signal_name(signal: i32) -> String {
    // Numbers of Linux on x86-64 and arm64.
    let name = match signal {
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        31 => "SIGSYS",
        _ => return format!("signal {signal}"),
    };
    format!("signal {signal} ({name})")
}

/// `stats.cpp:12:5: error: expected ';'`, safe and on one line.
pub(super) fn headline(diagnostic: &Diagnostic) -> String {
    let mut text = String::new();
    if let Some(file) = &diagnostic.file {
        text.push_str(file);
        for number in [diagnostic.line, diagnostic.col].into_iter().flatten() {
            let _ = write!(text, ":{number}");
        }
        text.push_str(": ");
    } else if let Some(line) = diagnostic.line {
        let _ = write!(text, "line {line}: ");
    }
    let _ = write!(text, "{}: ", diagnostic.severity);
    let message = diagnostic.message.trim_end();
    text.push_str(message.lines().next().unwrap_or_default());
    if let Some(code) = diagnostic.code.as_deref().filter(|code| *code != CALLER) {
        let _ = write!(text, " [{code}]");
    }
    log::cut(&escape_line(&text))
}

impl Failure {
    pub(super) fn new(cell: &str, lang: &str, meta: &ExecMeta, seen: Vec<Diagnostic>) -> Self {
        let mut errors: Vec<_> =
            meta.diagnostics.iter().filter(|d| d.severity == Severity::Error).cloned().collect();
        if errors.is_empty() {
            errors = seen;
        }
        let called = meta.diagnostics.iter().find(|it| is_caller(it)).cloned();
        Self { cell: cell.to_owned(), lang: lang.to_owned(), meta: meta.clone(), errors, called }
    }

    /// One line, for lists of many.
    pub(super) fn short(&self) -> String {
        let what = self.errors.first().map_or_else(|| evidence(&self.meta), headline);
        format!("{}: {}: {what}", escape_line(&self.cell), word(&self.meta))
    }

    /// The whole story.
    pub(super) fn tell(&self, screen: &Screen) -> String {
        let paint = screen.paint;
        let evidence = evidence(&self.meta);
        let mut out = String::new();
        let comma = if evidence.is_empty() { "" } else { ", " };
        let what = format!(
            "cell `{}` ({}): {}{comma}{evidence}",
            escape_line(&self.cell),
            escape_line(&self.lang),
            word(&self.meta)
        );
        let _ = writeln!(
            out,
            "{} {}",
            paint.text(Style::Bad, "error:"),
            paint.text(Style::Strong, &what)
        );
        for error in self.errors.iter().take(MAX_DIAGNOSTICS) {
            let _ = writeln!(out, "  {}", headline(error));
            for line in error.message.trim_end().lines().skip(1).take(TAIL) {
                let _ = writeln!(out, "    {}", log::cut(line));
            }
            if let Some(source) = &screen.options.source {
                out.push_str(&excerpt(source, error));
            }
        }
        if let Some(called) = &self.called {
            let _ = writeln!(out, "  {}", headline(called));
            if let Some(source) = &screen.options.source {
                out.push_str(&excerpt(source, called));
            }
        }
        if self.errors.len() > MAX_DIAGNOSTICS {
            let _ = writeln!(out, "  … {} more", self.errors.len() - MAX_DIAGNOSTICS);
        }
        self.tail(screen, &mut out);
        let (cause, hint) = self.cause();
        // What the host says about a limit names the figures; the general words are for want of those.
        let told = hint.is_some() && !self.errors.is_empty();
        if let Some(cause) = cause.filter(|_| !told) {
            let _ = writeln!(out, "{} {cause}", paint.text(Style::Warn, "caused by:"));
        }
        for hint in hint.into_iter().chain([self.next(screen)]) {
            let _ = writeln!(out, "{} {hint}", paint.text(Style::Good, "hint:"));
        }
        out
    }

    fn tail(&self, screen: &Screen, out: &mut String) {
        let (name, tail) = match self.meta.stderr.text.trim().is_empty() {
            true => ("stdout", &self.meta.stdout),
            false => ("stderr", &self.meta.stderr),
        };
        let lines: Vec<_> = tail.text.trim_end().lines().collect();
        if lines.iter().all(|line| line.trim().is_empty()) {
            return;
        }
        let _ = writeln!(out, "  {name}, last lines:");
        for line in &lines[lines.len().saturating_sub(TAIL)..] {
            let line =
                format!("    {} {}", screen.paint.text(Style::Dim, "│"), log::cut(&escape(line)));
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }

    /// The likely cause, where the diagnostics don't say it, and what to change.
    fn cause(&self) -> (Option<String>, Option<String>) {
        let limit = |usual: &str, cause: &str| {
            let cell = escape_line(&self.cell);
            let key = self.meta.limit.as_ref().map_or(usual, |limit| limit.name.as_str());
            let key = escape_line(key);
            // What the command line sets stands in no file.
            let hint = if self.says(&[SET_BY_FLAG]) {
                format!("give more, if it really needs it: `--limit {cell}.{key}=…`")
            } else {
                format!(
                    "raise `{key}` under `[cells.{cell}]`, if it really needs more; for one run, `--limit {cell}.{key}=…`"
                )
            };
            (Some(cause.to_owned()), Some(hint))
        };
        let only = |cause: &str| (Some(cause.to_owned()), None);
        let hint = |hint: &str| (None, Some(hint.to_owned()));
        match self.meta.outcome {
            Outcome::TimedOut => limit("timeout", "it ran longer than its time limit"),
            Outcome::OutOfMemory => {
                limit("memory", "its processes together used more memory than its limit")
            }
            Outcome::CpuExceeded => limit("cpu_time", "it used more processor time than its limit"),
            Outcome::OutputExceeded => limit("output_limit", "it printed more than its limit"),
            Outcome::DiskExceeded => limit("disk", "it wrote more than its disk limit"),
            Outcome::PidsExceeded => {
                limit("pids", "it started more processes and threads than its limit")
            }
            Outcome::FilesExceeded => {
                limit("open_files", "it opened as many files as its limit, and failed")
            }
            Outcome::ArtifactsExceeded => {
                limit("artifacts", "it left more results, or larger ones, than its limit")
            }
            Outcome::OutputMissing if malformed(&self.meta) => (
                Some("it ended well, but gave something else than `outputs` declares".to_owned()),
                Some(
                    "change what it writes, or the type in `outputs`; `any` takes every value"
                        .to_owned(),
                ),
            ),
            Outcome::OutputMissing => (
                Some("it ended well but left a declared output out".to_owned()),
                Some(
                    "write the file `$OUT/NAME`; in Python and JavaScript, set a variable of that name"
                        .to_owned(),
                ),
            ),
            Outcome::Denied if self.says(&["--allow-"]) => hint(
                "the flags above grant it for one run, `-A` grants all but commands for secrets; on a terminal you are asked",
            ),
            Outcome::Denied if !never_ran(&self.meta) => (None, None),
            Outcome::Denied => only("it needs a permission that was not granted"),
            Outcome::WorkerError if self.says(&NO_SPACE) => hint(
                "`polyloom cache gc` removes what was not used for longest; POLYLOOM_STORE names a folder for the store on another disk",
            ),
            Outcome::WorkerError if never_ran(&self.meta) => (None, None),
            Outcome::WorkerError if not_started(&self.meta) => match self.says(&["os error 13"]) {
                true => hint(
                    "`chmod +x` makes a file executable; or name what runs it before it, in the manifest's `argv`",
                ),
                false => (None, None),
            },
            Outcome::WorkerError if not_compiled(&self.meta) => hint(
                "`{program}` in the argv of `[compile]` is the path to write to, often behind `-o`",
            ),
            Outcome::WorkerError => {
                only("the executor broke the protocol, or ended outside of the cell's code")
            }
            Outcome::Failed if self.says(&MANY_FILES) => hint(
                "it may have run into its limit of open files: `open_files`, 1024 without it",
            ),
            Outcome::Failed if self.says(&MISSING_MODULE) => hint(
                "modules are those of the interpreter that ran, which is that of VIRTUAL_ENV, else the one on PATH; `[executors.python]` \
                 `python = \".venv/bin/python\"` in the flow names another. Files of the project can be imported by functions (`uses`) alone",
            ),
            Outcome::Failed if self.says(&MISSING_BESIDE) => hint(
                "a cell is its one file: files of the project can be imported by functions (`uses`) alone",
            ),
            Outcome::Failed if self.says(&MISSING_FILE) => hint(
                "cells see only their inputs: give it the file, `inputs = { name = \"file:PATH\" }`; a granted program is on PATH by its name",
            ),
            Outcome::Failed if self.says(&NO_NETWORK) => hint(
                "cells have no network but what they ask for and are granted: `allow = { net = [\"HOST:PORT\"] }`; or bring what they need as inputs",
            ),
            Outcome::Killed if crashed(&self.meta) => only(
                "a mistake in the plugin, or in the cell's code where that runs in the plugin's process",
            ),
            Outcome::Killed | Outcome::Failed => match (self.meta.signal, self.meta.exit_code) {
                (Some(11 | 7), _) => {
                    only("it used memory that is not its own: a wrong index or pointer, or a write to an input, which is read-only")
                }
                (Some(6), _) => only(
                    "it gave up by itself (abort), often a failed check or an uncaught exception",
                ),
                (Some(8), _) => {
                    only("an impossible calculation, such as a division of integers by zero")
                }
                (Some(31), _) => only("it made a system call that the sandbox does not allow"),
                (Some(9 | 15), _) => only(
                    "something other than polyloom ended it, perhaps the system for want of memory",
                ),
                (None, Some(127)) => only("a program it calls is not in the sandbox"),
                (None, Some(126)) => only("a program it calls can't be run"),
                _ => (None, None),
            },
            Outcome::Ok | Outcome::Cached | Outcome::Skipped | Outcome::Cancelled => (None, None),
        }
    }

    /// Whether an error or the end of stderr holds one of these words.
    fn says(&self, words: &[&str]) -> bool {
        let errors = self.errors.iter().map(|error| error.message.as_str());
        let mut texts = errors.chain([self.meta.stderr.text.as_str()]);
        texts.any(|text| words.iter().any(|word| text.contains(word)))
    }

    fn next(&self, screen: &Screen) -> String {
        if never_ran(&self.meta) {
            return format!("it did not begin{}", screen.goes_on());
        }
        let logs = logs(screen, &escape_line(&self.cell));
        let prompt = screen.options.prompt.as_ref();
        let prompt = prompt.and_then(|prompt| prompt(&self.cell, &self.lang));
        let prompt = prompt.map(|it| format!("; `{it}` opens its sandbox")).unwrap_or_default();
        format!("`{logs}` shows all it printed{prompt}{}", screen.goes_on())
    }
}

/// The command that shows what a cell printed.
pub(super) fn logs(screen: &Screen, cell: &str) -> String {
    let project = screen.options.project.as_deref();
    let project = project.map_or_else(String::new, |path| format!(" -C {}", quote(path)));
    // What it printed in the last run that had it.
    let run = match screen.run.id.as_str() {
        UNRECORDED | "" => String::new(),
        id => format!(" {id}"),
    };
    format!("polyloom logs{project}{run} {}", quote(cell))
}

/// The lines around a place, the place marked.
#[must_use]
pub fn excerpt(source: impl Fn(&str, u32, u32) -> Vec<String>, diagnostic: &Diagnostic) -> String {
    let (Some(file), Some(line)) = (&diagnostic.file, diagnostic.line) else {
        return String::new();
    };
    let first = line.saturating_sub(2).max(1);
    let lines = source(file, first, 4);
    let mut out = String::new();
    for (number, text) in (first..).zip(&lines) {
        let mark = if number == line { '>' } else { ' ' };
        let text = log::cut(text);
        let _ = writeln!(out, "  {mark} {number:>4} │ {text}");
        if number == line
            && let Some(col) = diagnostic.col
            && (1..=160).contains(&col)
        {
            // Tabs are shown as four blanks.
            let before = lines.get((number - first) as usize).map_or(0, |text| {
                text.chars().take(col as usize - 1).map(|c| if c == '\t' { 4 } else { 1 }).sum()
            });
            let _ = writeln!(out, "         │ {}^", " ".repeat(before));
        }
    }
    out.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}
