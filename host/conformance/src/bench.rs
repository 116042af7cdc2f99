//! The bench on which cases are tried: attempts of cells, compiled where the language compiles, within the time of a case. Knows no case.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use polyloom_model::{Call, Kind, Limits, Origin, Policy, PortName, Ports, Type};
use polyloom_protocol::Diagnostic;
use polyloom_protocol::meta::Severity;
use polyloom_worker::attempt::{
    Attempt, Collected, Granted, InputFile, Live, Phase, Report, Stop, TreeFile,
};
use polyloom_worker::executor::Executor;
use polyloom_worker::{AttemptError, Workplace};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};

use crate::{Kit, Snippets};

/// So many of the last lines of standard error are shown.
const LINES: usize = 6;
/// Of one case so many lines are noted.
const NOTED: usize = 500;
/// A manifest may give its cells more time to end; no case waits for that.
const GRACE: Duration = Duration::from_secs(2);
/// An attempt is given no less, however late it begins.
const LEAST: Duration = Duration::from_millis(200);

/// What came instead of what was expected.
#[derive(Debug, Clone, Default)]
pub struct Got {
    /// In words.
    pub words: String,
    /// The last lines of standard error.
    pub stderr: String,
}

impl Got {
    pub fn new(words: impl Into<String>) -> Self {
        Self { words: words.into(), ..Self::default() }
    }
}

/// How a case ended: nothing to say where all was as expected.
pub type Check = Result<(), Got>;

/// A cell that is to be run.
#[derive(Default)]
pub struct Order<'a> {
    pub code: &'a str,
    pub inputs: Vec<InputFile>,
    pub outputs: Vec<(&'a str, Type)>,
    pub argv: Vec<String>,
    pub stdin: Option<Vec<u8>>,
    /// A limit of its own.
    pub timeout: Option<Duration>,
    /// How it is stopped when it has printed something.
    pub stop: Option<Stop>,
    /// The function of this name is called; the code is its module.
    pub function: Option<&'a str>,
}

/// The end of a cell.
pub struct Seen {
    pub report: Report,
    /// What it showed, with the time since it began.
    pub heard: Vec<(Duration, Live)>,
    /// When it was asked to stop.
    pub stopped: Option<Duration>,
    pub took: Duration,
}

/// The bench.
pub struct Bench<'a> {
    pub workplace: &'a Arc<Workplace>,
    pub executor: &'a Arc<Executor>,
    pub snippets: &'a Snippets,
    /// How long one case may take.
    pub timeout: Duration,
    runtime: Runtime,
    folder: TempDir,
    /// Compiled programs by their code.
    programs: RefCell<BTreeMap<String, PathBuf>>,
    began: Cell<Instant>,
    /// What was said on the wire in this case.
    transcript: RefCell<Vec<String>>,
    /// The features that the last greeting offered.
    offered: RefCell<Option<Vec<String>>>,
}

impl<'a> Bench<'a> {
    pub fn new(
        kit: &Kit<'a>,
        executor: &'a Arc<Executor>,
        snippets: &'a Snippets,
    ) -> io::Result<Self> {
        std::fs::create_dir_all(kit.scratch)?;
        Ok(Self {
            workplace: kit.workplace,
            executor,
            snippets,
            timeout: kit.timeout,
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
            folder: tempfile::Builder::new().prefix("conformance-").tempdir_in(kit.scratch)?,
            programs: RefCell::default(),
            began: Cell::new(Instant::now()),
            transcript: RefCell::default(),
            offered: RefCell::default(),
        })
    }

    /// A case begins: its time counts from now.
    pub fn begin(&self) {
        self.began.set(Instant::now());
    }

    /// Remembers what a greeting offers.
    pub fn greeted(&self, features: &[String]) {
        self.offered.replace(Some(features.to_vec()));
    }

    /// Whether a greeting came, and without that feature.
    pub fn goes_without(&self, feature: &str) -> bool {
        let offered = self.offered.borrow();
        offered.as_ref().is_some_and(|all| !all.iter().any(|one| one == feature))
    }

    /// Notes a line of what is said on the wire; what is said beyond measure is not noted.
    pub fn note(&self, line: String) {
        let mut lines = self.transcript.borrow_mut();
        if lines.len() < NOTED {
            lines.push(line);
        }
    }

    /// What was said on the wire since it was last asked for.
    pub fn transcript(&self) -> Vec<String> {
        self.transcript.take()
    }

    /// When the time of the case is over.
    pub fn deadline(&self) -> Instant {
        self.began.get() + self.timeout
    }

    fn left(&self) -> Duration {
        self.deadline().saturating_duration_since(Instant::now()).max(LEAST)
    }

    /// The code of a snippet that the case needs: it is not tried without.
    pub fn code(&self, name: &str) -> &'a str {
        self.snippets.code(name).unwrap_or_default()
    }

    /// The extension of a cell's code.
    pub fn extension(&self) -> &str {
        self.executor.manifest.extensions.first().map_or("code", String::as_str)
    }

    /// A file of the kit's own, for a cell to read.
    pub fn file(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, Got> {
        let path = self.folder.path().join(name);
        let written = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let written = written.and_then(|()| std::fs::write(&path, bytes));
        written.map_err(|error| {
            Got::new(format!("the kit can't write {}: {error}", path.display()))
        })?;
        Ok(path)
    }

    /// Runs a cell, compiled before where the language compiles; a compilation that fails is its end.
    pub fn run(&self, order: Order<'_>) -> Result<Seen, Got> {
        let mut program = None;
        if let Kind::Command(command) = &self.executor.manifest.kind
            && command.compile.is_some()
        {
            match self.program(order.code)? {
                Ok(path) => program = Some(path),
                Err(seen) => return Ok(*seen),
            }
        }
        let mut attempt = self.attempt(order.code, Phase::Run { program })?;
        attempt.inputs = order.inputs;
        for (port, ty) in order.outputs {
            attempt.outputs.insert(port_name(port)?, ty);
        }
        attempt.argv = order.argv;
        attempt.stdin = order.stdin;
        if let Some(name) = order.function {
            attempt.code_name = format!("{name}.{}", self.extension());
            attempt.call = Some(Arc::new(Call {
                id: format!("{}:{}:{name}", self.executor.manifest.id, attempt.code_name),
                module: name.to_owned(),
                object: name.to_owned(),
                digest: String::new(),
                files: Vec::new(),
                seeded: false,
                pure: false,
            }));
        }
        if let Some(timeout) = order.timeout {
            attempt.limits.timeout = timeout;
        }
        self.watch(attempt, order.stop)
    }

    /// The attempt of a cell with this code.
    pub fn attempt(&self, code: &str, phase: Phase) -> Result<Attempt, Got> {
        let manifest = &self.executor.manifest;
        let bad = |error: &dyn std::error::Error| Got::new(error.to_string());
        Ok(Attempt {
            cell: "case".parse().map_err(|error| bad(&error))?,
            executor: Arc::clone(self.executor),
            phase,
            code_name: format!("case.{}", self.extension()),
            call: None,
            code: code.as_bytes().into(),
            origin: Origin::whole(Path::new(crate::FILE)),
            beside: Default::default(),
            inputs: Vec::new(),
            outputs: Ports::new(),
            env: BTreeMap::new(),
            secrets: None,
            argv: Vec::new(),
            stdin: None,
            seed: None,
            limits: Limits {
                timeout: self.left(),
                grace: manifest.limits.grace.min(GRACE),
                open_files: u32::try_from(polyloom_worker::most_open_files())
                    .map_or(manifest.limits.open_files, |most| {
                        manifest.limits.open_files.min(most)
                    }),
                ..manifest.limits.clone()
            },
            policy: Policy::default(),
            granted: Granted::default(),
            coming: 0,
            spare: true,
            learnt: Vec::new(),
            then: None,
        })
    }

    /// Has an executor make what it makes without any code.
    pub fn make(&self, maker: Arc<Executor>) -> Result<Seen, Got> {
        let mut attempt = self.attempt("", Phase::Head)?;
        attempt.executor = maker;
        self.compiling(&mut attempt);
        self.watch(attempt, None)
    }

    /// A compiler is no cell: it has the whole time for itself.
    fn compiling(&self, attempt: &mut Attempt) {
        attempt.limits.timeout = self.timeout;
        attempt.limits.memory = attempt.limits.memory.max(2 << 30);
        attempt.limits.pids = attempt.limits.pids.max(64);
    }

    /// The compiled program, or the end of a compilation that failed.
    fn program(&self, code: &str) -> Result<Result<PathBuf, Box<Seen>>, Got> {
        if let Some(path) = self.programs.borrow().get(code) {
            return Ok(Ok(path.clone()));
        }
        let mut attempt = self.attempt(code, Phase::Compile { head: None })?;
        self.compiling(&mut attempt);
        let mut seen = self.watch(attempt, None)?;
        let Some(collected) = seen.report.program.take() else { return Ok(Err(Box::new(seen))) };
        let mut programs = self.programs.borrow_mut();
        let path = self.folder.path().join(format!("program-{}", programs.len()));
        let kept = keep(collected, &path);
        kept.map_err(|error| Got::new(format!("the kit can't keep a program: {error}")))?;
        programs.insert(code.to_owned(), path.clone());
        drop(programs);
        // What follows has its own time.
        self.begin();
        Ok(Ok(path))
    }

    fn watch(&self, attempt: Attempt, stop: Option<Stop>) -> Result<Seen, Got> {
        let watched = self.runtime.block_on(follow(self.workplace, Arc::new(attempt), stop));
        watched.map_err(|error| Got::new(chain(&error)))
    }
}

/// An error and its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

pub fn port_name(port: &str) -> Result<PortName, Got> {
    port.parse().map_err(|_| Got::new(format!("`{port}` is no name of a port")))
}

async fn follow(
    workplace: &Arc<Workplace>,
    attempt: Arc<Attempt>,
    stop: Option<Stop>,
) -> Result<Seen, AttemptError> {
    let (live, mut hears) = mpsc::channel(64);
    let (tell, told) = watch::channel(Stop::No);
    let began = Instant::now();
    let mut heard = Vec::new();
    let mut stopped = None;
    let report = {
        let attempted = workplace.attempt(&attempt, live, told);
        tokio::pin!(attempted);
        loop {
            tokio::select! {
                report = &mut attempted => break report?,
                Some(live) = hears.recv() => {
                    if let (Live::Text { stderr: false, .. }, Some(how), None) = (&live, stop, stopped) {
                        stopped = Some(began.elapsed());
                        // It may have ended by itself meanwhile.
                        let _ = tell.send(how);
                    }
                    heard.push((began.elapsed(), live));
                }
            }
        }
    };
    let took = began.elapsed();
    while let Ok(live) = hears.try_recv() {
        heard.push((took, live));
    }
    Ok(Seen { report, heard, stopped, took })
}

fn keep(collected: Collected, path: &Path) -> io::Result<()> {
    match collected {
        Collected::Bytes(bytes) => std::fs::write(path, bytes)?,
        Collected::File { fd, .. } => {
            io::copy(&mut File::from(fd), &mut File::create(path)?)?;
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o755))?;
        }
        Collected::Tree { files, .. } => {
            std::fs::create_dir_all(path)?;
            for file in files {
                let to = path.join(&file.path);
                to.parent().map_or(Ok(()), std::fs::create_dir_all)?;
                std::fs::write(&to, content(&file)?)?;
                let mode = if file.executable { 0o755 } else { 0o644 };
                std::fs::set_permissions(&to, PermissionsExt::from_mode(mode))?;
            }
        }
    }
    Ok(())
}

/// The content of a file of a collected folder.
pub fn content(file: &TreeFile) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut opened = File::from(file.open().map_err(|error| io::Error::other(error.to_string()))?);
    io::Read::read_to_end(&mut opened, &mut bytes)?;
    Ok(bytes)
}

impl Seen {
    /// How it ended, in words.
    pub fn end(&self) -> String {
        let meta = &self.report.meta;
        let mut text = meta.outcome.to_string();
        let error = self.errors().next().map(|diagnostic| diagnostic.message.as_str());
        for more in [self.report.explanation.as_deref(), error].into_iter().flatten() {
            // The message is often a part of the explanation.
            if !text.contains(more) {
                text.push_str(": ");
                text.push_str(more);
            }
        }
        text
    }

    /// Its error messages.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        let all = self.report.meta.diagnostics.iter();
        all.filter(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// What it printed, as far as it was kept.
    pub fn stdout(&self) -> &str {
        &self.report.meta.stdout.text
    }

    /// What came instead of what was expected.
    pub fn got(&self, words: impl Into<String>) -> Got {
        Got { stderr: last_lines(&self.report.meta.stderr.text), ..Got::new(words) }
    }
}

/// The last lines of a text.
pub fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// A text as it is quoted: short, and whole on its line.
pub fn quoted(text: &str) -> String {
    let mut shown: String = text.chars().take(120).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}
