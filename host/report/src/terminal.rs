//! A run as a person watches it: a line for every step that ends, what cells print, what runs just now, and at the
//! end what failed and what to do about it. Replays look the same.
//!
//! It asks no clock: time comes with the events, and from whoever calls [`Terminal::tick`] between them.

mod failure;
mod fold;
mod live;
mod log;
mod options;
mod summary;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polyloom_events::{
    Action, Event, Phase, RESULTS_LOST, Record, Sink, Stage, Stream, UNRECORDED,
};
use polyloom_protocol::Value;
use polyloom_protocol::meta::{ExecMeta, Outcome, Severity};

use crate::escape::escape_line;
use crate::paint::{Paint, Style, fit, fit_ends, pad, width};
use crate::units;
use failure::Failure;
pub use failure::{excerpt, is_caller};
use log::Log;
pub use options::{Options, Progress, Prompt, SourceLines, Verbosity};

/// The terminal face. Clones share one screen: give one to the run as a sink, keep another for ticks and resizing.
#[derive(Clone)]
pub struct Terminal(Arc<Mutex<Screen>>);

/// Cached steps get a line of their own in runs up to this many cells.
const FEW_CELLS: u64 = 30;
/// Columns of the names of cells, and what stands beside them on a line.
const LEAST_NAME: usize = 24;
const WIDEST_NAME: usize = 48;
const BESIDE_NAME: usize = 40;
/// The longest language that is shown whole: `jupyter:python3` and longer names of kernels.
const WIDEST_LANG: usize = 24;
/// Bytes that wait at most to be written with what comes at the same moment.
const HOLD: usize = 64 << 10;
/// Failures told in full.
const MAX_FAILURES: usize = 10;

struct Screen {
    out: Box<dyn Write + Send>,
    options: Options,
    paint: Paint,
    live: Option<live::Live>,
    /// How long cells ran by their own account, in milliseconds.
    walls: HashMap<String, f64>,
    /// Lines ready to be written for good.
    ready: String,
    failed: Option<io::Error>,
    run: Run,
    cells: HashMap<String, Cell>,
    /// Those of them that run just now: what is drawn ten times a second is no look at each cell of a large flow.
    running: BTreeSet<String>,
    failures: Vec<Failure>,
    /// Whether there are results that the next run can't go on from.
    unrecorded: bool,
    /// Further failures, in a line each: a whole result is held for the ones told in full only.
    more_failures: Vec<String>,
    /// Columns of the longest name of a cell.
    longest: usize,
    /// Steps that were planned so far.
    planned: u64,
    lang_width: usize,
    folds: fold::Folds,
}

#[derive(Default)]
struct Run {
    id: String,
    path: String,
    cells: u64,
    /// Ended steps by outcome.
    ended: BTreeMap<Outcome, u64>,
}

#[derive(Default)]
struct Cell {
    lang: String,
    running: Option<Running>,
    log: Log,
    errors: Vec<polyloom_protocol::meta::Diagnostic>,
}

struct Running {
    since_ms: f64,
    attempt: u32,
    phase: Phase,
    fraction: Option<f64>,
    words: String,
}

impl Terminal {
    /// Writes to `out`, as a rule standard error.
    #[must_use]
    pub fn new(out: Box<dyn Write + Send>, options: Options) -> Self {
        let is_live = match options.progress {
            Progress::Auto => options.tty,
            Progress::Plain => false,
            Progress::Tty => true,
        };
        let live = (is_live && options.verbosity > Verbosity::Quiet).then(live::Live::default);
        Self(Arc::new(Mutex::new(Screen {
            out,
            paint: Paint { color: options.color },
            run: Run {
                id: options.run.as_deref().map(escape_line).unwrap_or_default().into_owned(),
                ..Run::default()
            },
            options,
            live,
            walls: HashMap::new(),
            ready: String::new(),
            failed: None,
            cells: HashMap::new(),
            running: BTreeSet::new(),
            failures: Vec::new(),
            unrecorded: false,
            more_failures: Vec::new(),
            longest: 0,
            planned: 0,
            lang_width: 0,
            folds: fold::Folds::default(),
        })))
    }

    /// Draws what runs just now, `at_ms` after the run's start. To be called some ten times a second; does nothing
    /// where progress is plain.
    pub fn tick(&self, at_ms: f64) {
        self.lock().draw(at_ms, live::When::Now);
    }

    /// Tells something that is no event, above what is drawn.
    pub fn note(&self, line: &str) {
        let mut screen = self.lock();
        if screen.says(Verbosity::Normal) {
            let line = screen.paint.text(Style::Warn, line);
            screen.line(&line);
            // Over what is drawn it is laid with the next drawing.
            if screen.live.is_none() {
                screen.write();
            }
        }
    }

    /// The terminal has so many columns from now on.
    pub fn resize(&self, width: usize) {
        self.lock().options.width = width;
    }

    fn lock(&self) -> MutexGuard<'_, Screen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink for Terminal {
    fn record(&mut self, record: &Record) {
        let mut screen = self.lock();
        screen.take(record);
        if screen.live.is_some() || screen.ready.len() > HOLD {
            screen.draw(record.at_ms, live::When::Due);
        }
    }

    fn told(&mut self) {
        let mut screen = self.lock();
        if screen.live.is_none() {
            screen.write();
        }
    }

    fn stood(&mut self, count: u64) -> bool {
        let mut screen = self.lock();
        if screen.run.cells <= FEW_CELLS || screen.says(Verbosity::Verbose) {
            return false;
        }
        screen.planned += count;
        *screen.run.ended.entry(Outcome::Cached).or_default() += count;
        true
    }

    fn finish(&mut self) -> io::Result<()> {
        let mut screen = self.lock();
        if let Some(mut live) = screen.live.take() {
            let erase = live.erase();
            screen.ready.insert_str(0, &erase);
        }
        screen.write();
        screen.failed.take().map_or(Ok(()), Err)
    }
}

impl Screen {
    /// What is said of the next run, where that is so.
    fn goes_on(&self) -> &'static str {
        if self.unrecorded { "" } else { "; the next run goes on from here" }
    }

    fn says(&self, verbosity: Verbosity) -> bool {
        self.options.verbosity >= verbosity
    }

    fn line(&mut self, line: &str) {
        self.ready.push_str(line);
        self.ready.push('\n');
    }

    /// A cell's name as wide as the column of names. On a terminal that leaves room for the rest of the line, and what tells the steps
    /// of a map apart stands at the end of their names; elsewhere nothing is cut.
    fn name(&self, cell: &str) -> String {
        let cell = escape_line(cell);
        if !self.options.tty && self.live.is_none() {
            return pad(&cell, self.longest.min(WIDEST_NAME));
        }
        let room = self.options.width.saturating_sub(BESIDE_NAME).clamp(LEAST_NAME, WIDEST_NAME);
        pad(&fit_ends(&cell, room), self.longest.min(room))
    }

    fn draw(&mut self, at_ms: f64, when: live::When) {
        let Some(mut live) = self.live.take() else { return self.write() };
        if live.is_due(at_ms, when) {
            let mut screen = live.erase();
            screen.push_str(&std::mem::take(&mut self.ready));
            screen.push_str(&live.picture(self, at_ms));
            self.ready = screen;
            self.write();
        }
        self.live = Some(live);
    }

    fn write(&mut self) {
        if !self.ready.is_empty() && self.failed.is_none() {
            let written = self.out.write_all(self.ready.as_bytes()).and_then(|()| self.out.flush());
            self.failed = written.err();
        }
        self.ready.clear();
    }

    fn cell(&mut self, cell: &str) -> &mut Cell {
        if !self.cells.contains_key(cell) {
            self.cells.insert(cell.to_owned(), Cell::default());
        }
        self.cells.entry(cell.to_owned()).or_default()
    }

    fn take(&mut self, record: &Record) {
        match &record.event {
            Event::RunStarted { run, flow, path, cells, written, jobs, changed, .. } => {
                self.run.id = escape_line(run).into_owned();
                self.run.path = escape_line(path).into_owned();
                self.run.cells = *cells;
                if self.says(Verbosity::Normal) {
                    let cells = match written {
                        Some(written) => format!(
                            "{} in {}",
                            summary::count(*written, "cell", "cells"),
                            summary::count(*cells, "step", "steps")
                        ),
                        None => summary::count(*cells, "cell", "cells"),
                    };
                    let about = format!(
                        "{} ({}), {cells}, {jobs} at once",
                        escape_line(flow),
                        self.run.path
                    );
                    let why = summary::changed(changed);
                    let run = match run.as_str() {
                        UNRECORDED => "not recorded".to_owned(),
                        _ => format!("run {}", self.run.id),
                    };
                    let line = format!("{run}: {about}{why}");
                    let line = self.paint.text(Style::Dim, &line);
                    self.line(&line);
                }
            }
            Event::StepPlanned { cell, lang, action, .. } => {
                self.longest = self.longest.max(width(&escape_line(cell)));
                self.lang_width = self.lang_width.max(lang.len()).min(WIDEST_LANG);
                self.planned += 1;
                // Steps join a run while it goes on.
                self.run.cells = self.run.cells.max(self.planned);
                // What the plan means to do shows in how the step ends; only what may run has more to be remembered.
                match action {
                    Action::Run | Action::Maybe => self.cell(cell).lang.clone_from(lang),
                    Action::Cached | Action::Skip => {}
                }
            }
            Event::StepStarted { cell, attempt, phase } => {
                self.started(record, cell, *attempt, *phase)
            }
            Event::Log { cell, stream, text } => self.logged(cell, *stream, text),
            Event::Progress { cell, fraction, text } => {
                if let Some(running) = &mut self.cell(cell).running {
                    running.fraction =
                        fraction.filter(|f| f.is_finite()).map(|f| f.clamp(0.0, 1.0));
                    running.words = escape_line(text).into_owned();
                }
            }
            Event::Display { cell, media, text } => {
                let text = match media.starts_with("text/") {
                    true => text.clone(),
                    false => format!("[{media}] {text}"),
                };
                self.logged(cell, Stream::Info, &(text.trim_end().to_owned() + "\n"));
            }
            // What ends a cell is told with its end.
            Event::Limit { stage: Stage::Term | Stage::Kill, .. } => {}
            Event::Limit { cell, name, stage: Stage::Warning, used, limit } => {
                if !self.says(Verbosity::Normal) {
                    return;
                }
                let time =
                    |ms: u64| units::duration(u32::try_from(ms).map_or(f64::INFINITY, f64::from));
                let used = used.map_or_else(String::new, time);
                let soft = time(*limit);
                let name = escape_line(name);
                let text =
                    format!("it takes long: {used} by now, {soft} expected (`soft_{name}`)\n");
                self.logged(cell, Stream::Warn, &text);
            }
            Event::Diagnostic { cell, diagnostic } => match &diagnostic.severity {
                Severity::Error => {
                    let errors = &mut self.cell(cell).errors;
                    // The same ones come with the step's end; these serve where they don't.
                    if errors.len() < failure::MAX_DIAGNOSTICS {
                        errors.push(diagnostic.clone());
                    }
                }
                severity => {
                    let wanted = match severity {
                        Severity::Warning => Verbosity::Normal,
                        _ => Verbosity::Verbose,
                    };
                    if self.says(wanted) {
                        let text = failure::headline(diagnostic);
                        self.logged(cell, Stream::Info, &(text + "\n"));
                    }
                }
            },
            Event::Artifact { cell, port, artifact } if self.says(Verbosity::Verbose) => {
                let (ty, size) = (&artifact.r#type, units::size(artifact.size));
                let digest: String = artifact.digest.chars().take(15).collect();
                let text = format!("{port} = {ty}, {size}, {digest}");
                self.prefixed(cell, Style::Dim, &escape_line(&text));
            }
            Event::StepRetried { cell, attempt, delay_ms, meta } => {
                self.retried(cell, *attempt, *delay_ms, meta);
            }
            Event::StepFinished { cell, lang, reason, attempts, meta } => {
                if meta.wall_ms > 0.0 {
                    self.walls.insert(cell.clone(), meta.wall_ms);
                }
                self.finished(cell, lang, reason, *attempts, meta);
            }
            Event::Warning { text } => {
                self.unrecorded |= text.starts_with(RESULTS_LOST);
                let word = self.paint.text(Style::Warn, "warning:");
                self.line(&format!("{word} {}", escape_line(text)));
            }
            Event::RunFinished { outcome, wall_ms, totals, critical_path, slowest } => {
                self.live = self.live.take().map(live::Live::ended);
                let folds = self.folds.take();
                self.unfold(folds);
                let text = summary::failures(self);
                self.ready.push_str(&text);
                if self.says(Verbosity::Normal) {
                    let end = summary::End {
                        outcome: *outcome,
                        wall_ms: *wall_ms,
                        totals: *totals,
                        critical_path,
                        slowest,
                    };
                    let text = summary::end(self, &end);
                    self.ready.push_str(&text);
                }
            }
            // An artifact when nobody asks, or an event of a later minor version.
            _ => {}
        }
    }

    fn started(&mut self, record: &Record, cell: &str, attempt: u32, phase: Phase) {
        let verbose = self.says(Verbosity::Verbose);
        if !self.running.contains(cell) {
            self.running.insert(cell.to_owned());
        }
        let entry = self.cell(cell);
        // A cell that is compiled and then run has one clock.
        let since_ms = entry.running.as_ref().map_or(record.at_ms, |running| running.since_ms);
        entry.running =
            Some(Running { since_ms, attempt, phase, fraction: None, words: String::new() });
        if verbose {
            let what = match (phase, attempt) {
                (Phase::Compile, _) => "compiling".to_owned(),
                (Phase::Run, 1) => "running".to_owned(),
                (Phase::Run, attempt) => format!("running, attempt {attempt}"),
            };
            self.prefixed(cell, Style::Dim, &what);
        }
    }

    /// `load │ attempt 1 failed: exit code 3; the next begins in 2.0s`.
    fn retried(&mut self, cell: &str, attempt: u32, delay_ms: u64, meta: &ExecMeta) {
        if !self.says(Verbosity::Normal) {
            return;
        }
        let evidence = failure::evidence(meta);
        let why = match meta.outcome {
            Outcome::Failed => evidence,
            outcome if evidence.is_empty() => outcome.to_string(),
            outcome => format!("{outcome}, {evidence}"),
        };
        let wait = u32::try_from(delay_ms).map_or(f64::INFINITY, f64::from);
        let next = match delay_ms {
            0 => "trying again".to_owned(),
            _ => format!("the next begins in {}", units::duration(wait)),
        };
        self.prefixed(cell, Style::Warn, &format!("attempt {attempt} failed: {why}; {next}"));
    }

    fn logged(&mut self, cell: &str, stream: Stream, text: &str) {
        if self.options.verbosity < Verbosity::Normal
            || (stream == Stream::Debug && self.options.verbosity < Verbosity::Debug)
        {
            return;
        }
        let limit = log::limit(self.options.verbosity);
        let lines = self.cell(cell).log.take(stream, text, limit);
        for (style, line) in lines {
            self.prefixed(cell, style, &line);
        }
    }

    /// A line of a cell: `load │ text`. The text must be safe already.
    fn prefixed(&mut self, cell: &str, style: Style, text: &str) {
        let name = self.name(cell);
        let line = format!(
            "{} {}",
            self.paint.cell(cell, &format!("{name} │")),
            self.paint.text(style, text)
        );
        let line = line.trim_end().to_owned();
        self.line(&line);
    }

    fn finished(&mut self, cell: &str, lang: &str, reason: &str, attempts: u32, meta: &ExecMeta) {
        let limit = log::limit(self.options.verbosity);
        let (errors, (rest, hidden)) = match self.cells.get_mut(cell) {
            Some(entry) => {
                entry.running = None;
                self.running.remove(cell);
                (std::mem::take(&mut entry.errors), entry.log.end(limit))
            }
            None => Default::default(),
        };
        if self.says(Verbosity::Normal) {
            for (style, line) in rest {
                self.prefixed(cell, style, &line);
            }
            if hidden > 0 {
                let more = summary::count(hidden, "line", "lines");
                let logs = failure::logs(self, cell);
                let text = format!("… {more} more, `{logs}`");
                self.prefixed(cell, Style::Dim, &escape_line(&text));
            }
        }
        *self.run.ended.entry(meta.outcome).or_default() += 1;
        let wanted = match meta.outcome {
            Outcome::Cached if self.run.cells > FEW_CELLS => Verbosity::Verbose,
            Outcome::Skipped if self.run.cells > FEW_CELLS => Verbosity::Verbose,
            _ => Verbosity::Normal,
        };
        if meta.outcome == Outcome::Skipped && !self.says(wanted) {
            self.folds.add(cell, lang, reason);
        }
        // What gathers the steps of a map ends after all of them.
        let folds = self.folds.of(cell);
        self.unfold(folds);
        if self.says(wanted) {
            let line = self.step_line(cell, lang, reason, attempts, meta);
            self.line(&line);
            if let Some(text) = replayed(meta) {
                self.prefixed(cell, Style::Dim, &text);
            }
        }
        if failure::is_failure(meta.outcome) {
            let failure = Failure::new(cell, lang, meta, errors);
            if self.failures.len() < MAX_FAILURES {
                self.failures.push(failure);
            } else {
                self.more_failures.push(failure.short());
            }
        }
    }

    /// A line for all steps of a mapped cell that were left out.
    fn unfold(&mut self, folds: Vec<(String, fold::Fold)>) {
        for (name, fold) in folds {
            if self.says(Verbosity::Normal) {
                let meta = ExecMeta::new(Outcome::Skipped);
                let line = self.step_line(&name, &fold.lang, &fold.words(), 0, &meta);
                self.line(&line);
            }
        }
    }

    /// `ok      load     python   123ms  never ran`.
    fn step_line(
        &self,
        cell: &str,
        lang: &str,
        reason: &str,
        attempts: u32,
        meta: &ExecMeta,
    ) -> String {
        let ran = !matches!(meta.outcome, Outcome::Cached | Outcome::Skipped);
        let style = match meta.outcome {
            Outcome::Ok => Style::Good,
            Outcome::Cached | Outcome::Skipped => Style::Dim,
            Outcome::Cancelled => Style::Warn,
            _ => Style::Bad,
        };
        // The column has room for one short word; which failure it was stands with the evidence.
        let failed = failure::is_failure(meta.outcome);
        let word = match meta.outcome {
            _ if failed => Outcome::Failed.as_str(),
            Outcome::Cancelled => "stopped",
            outcome => outcome.as_str(),
        };
        let mut line = self.paint.text(style, &pad(word, 7));
        let name = self.name(cell);
        let lang = pad(&fit(&escape_line(lang), WIDEST_LANG), self.lang_width);
        // A failure without an attempt is that of an earlier run, and its time that run's.
        let before = failed && attempts == 0 && meta.wall_ms > 0.0;
        let began = !failed || !failure::never_ran(meta);
        let wall =
            if ran && !before && began { units::duration(meta.wall_ms) } else { "-".to_owned() };
        let name = self.paint.text(Style::Strong, &name);
        let mut about = match failed {
            true if meta.outcome != Outcome::Failed => {
                format!("{}, {}", failure::word(meta), failure::evidence(meta))
            }
            true => failure::what(meta),
            false if meta.outcome == Outcome::Cancelled => {
                format!("{}, {}", meta.outcome, escape_line(reason))
            }
            false => escape_line(reason).into_owned(),
        };
        if before {
            let _ = write!(about, ", {}", escape_line(reason));
        }
        if attempts > 1 {
            let _ = write!(about, ", {attempts} attempts");
        }
        if let Some(Value::Float(ms)) = meta.extras.get("compiled_ms") {
            let _ = write!(about, ", compiled in {}", units::duration(*ms));
        }
        if let Some(Value::List(names)) = meta.extras.get("preloaded") {
            let names = names.iter().filter_map(|name| match name {
                Value::Str(name) => Some(escape_line(name)),
                _ => None,
            });
            let names: Vec<_> = names.take(4).collect();
            let _ = write!(about, ", loaded ahead: {}", names.join(" "));
        }
        let _ = write!(line, " {name}  {lang}  {wall:>6}  {}", self.paint.text(Style::Dim, &about));
        line.trim_end().to_owned()
    }
}

/// The cells that were run again for the state of a cell's session: `ran again for session `main`: a, b`.
fn replayed(meta: &ExecMeta) -> Option<String> {
    /// More names than that are a number.
    const MOST: usize = 8;
    let Some(Value::List(cells)) = meta.extras.get("replayed") else { return None };
    let text = |value: &Value| match value {
        Value::Str(text) => escape_line(text).into_owned(),
        _ => String::new(),
    };
    let mut names = cells.iter().take(MOST).map(text).collect::<Vec<_>>().join(", ");
    if cells.len() > MOST {
        let _ = write!(names, " and {} more", cells.len() - MOST);
    }
    let session = meta
        .extras
        .get("session")
        .map_or_else(|| "its session".to_owned(), |name| format!("session `{}`", text(name)));
    Some(format!("ran again for {session}: {names}"))
}
