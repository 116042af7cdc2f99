//! One step from its inputs in the store to its outputs in the store: compile where the language compiles, run, keep.
//!
//! Knows one cell and where its inputs lie; not the graph, not other steps, not events.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use polyloom_model::{
    Cell, Digest, Encoding, Flow, Kind, Limits, Policy, PortName, Ports, Source, Stdin, Type,
    Value, conform,
};
use polyloom_plan::{Artifact, Feed, Key};
use polyloom_protocol::meta::{ArtifactMeta, ExecMeta, Severity, Times};
use polyloom_protocol::{Diagnostic, Outcome};
use polyloom_store::{Flight, History, Store, TreeEntry};
use polyloom_worker::attempt::{
    Attempt, Collected, Content, Granted, InputFile, Live, Output, Phase, Report, Start, Stop,
    TreeFile,
};
use polyloom_worker::executor::Executor;
use polyloom_worker::secrets::{self, SecretError, Secrets, Why};
use polyloom_worker::{MOST_HOT, check_file, extension_of, text_of};
use tokio::sync::{mpsc, watch};

use crate::files;
use crate::flight::{self, Known};
use crate::gather;
use crate::hot::{self, Copy};
use crate::permit::Permit;
use crate::place::Place;
use crate::sessions::{self, Played, Turn};
use crate::words::chain;

mod program;

use program::Made;
pub(crate) use program::compiling;

/// Larger values are refused as inputs: they would have to be in memory whole.
const LARGEST_VALUE: u64 = 256 << 20;
/// A value of no more bytes than this is with the results, in no file of its own.
const LIGHT: u64 = 8 << 10;
/// Larger content is refused on stdin.
const LARGEST_STDIN: u64 = 256 << 20;
/// A step about to run.
pub struct StepRun {
    /// The surroundings.
    pub place: Arc<Place>,
    /// The flow.
    pub flow: Arc<Flow>,
    /// The cell's place in it.
    pub cell: usize,
    /// Its executor.
    pub executor: Arc<Executor>,
    /// The identity of its executor and toolchain, for the key of a compiled program.
    pub identity: Digest,
    /// Artifacts of the inputs that are edges.
    pub edges: BTreeMap<PortName, Feed>,
    /// Digests of the files as planned.
    pub planned: BTreeMap<PortName, Digest>,
    /// The word on what its cell asks for.
    pub permit: Option<Permit>,
    /// How well it must be confined.
    pub policy: Policy,
    /// What this attempt may use.
    pub limits: Limits,
    /// The key by which others who make the same are kept from it, if its result is to be shared.
    pub flight: Option<Key>,
    /// As many cells like it are coming.
    pub coming: usize,
    /// Whether less runs than there are processors.
    pub spare: bool,
    /// Where it is known what cells have loaded, and the flow's name there.
    pub history: Option<(Arc<History>, Arc<str>)>,
    /// Its part in a session.
    pub turn: Option<Turn>,
    /// The time, milliseconds since 1970.
    pub unix_ms: u64,
    /// Tells that it is to end, once it runs.
    pub stop: Option<watch::Receiver<Stop>>,
}

/// How a step ended.
pub struct StepEnd {
    /// The uniform result, artifacts included.
    pub meta: ExecMeta,
    /// The outputs, when there are all of them.
    pub outputs: Option<BTreeMap<PortName, Artifact>>,
    /// Which limit was hit, in words.
    pub explanation: Option<String>,
    /// Whether it is this machine or an installation that failed, and not the cell.
    pub environment: bool,
    /// Whether a file that it reads was another one than when it was planned.
    pub moved: bool,
    /// Whether its worker came up.
    pub start: Start,
    /// Keeps others from making the same, until the result is committed.
    pub flight: Option<Flight>,
    /// The result, where another run made it meanwhile.
    pub known: Option<Known>,
    /// When it was begun.
    pub began: Option<Instant>,
    /// Outputs that are on their way to the disk. Nothing is said of the step before they are there.
    pub copies: Vec<Copy>,
}

/// Why a step could not be prepared or kept: the host's own trouble, told as the step's result.
pub(crate) struct Trouble {
    pub(crate) outcome: Outcome,
    pub(crate) text: String,
    pub(crate) environment: bool,
    pub(crate) moved: bool,
}

impl Trouble {
    /// An input that does not fit: the cell's (or its author's) fault.
    pub(crate) fn input(text: String) -> Self {
        Self { outcome: Outcome::Failed, text, environment: false, moved: false }
    }

    /// It asks for something it was not granted.
    fn denied(text: String) -> Self {
        Self { outcome: Outcome::Denied, ..Self::input(text) }
    }

    /// It was to end before it ran.
    pub(crate) fn stopped() -> Self {
        Self { outcome: Outcome::Cancelled, ..Self::input(String::new()) }
    }

    /// A task of the host's own did not come to its end.
    pub(crate) fn internal(error: &dyn std::fmt::Display) -> Self {
        Self::host(format!("an internal step failed: {error}"))
    }

    /// The store or the machine failed.
    pub(crate) fn host(text: String) -> Self {
        Self { outcome: Outcome::WorkerError, environment: true, ..Self::input(text) }
    }
}

impl Trouble {
    fn end(self) -> StepEnd {
        let mut meta = ExecMeta::new(self.outcome);
        if !self.text.is_empty() {
            meta.diagnostics.push(Diagnostic::new(Severity::Error, self.text));
        }
        let Self { environment, moved, .. } = self;
        let start = Start::None;
        StepEnd { environment, moved, ..StepEnd::new(meta, None, None, start) }
    }
}

impl StepEnd {
    /// The end of a step that may not use what it would use.
    pub fn denied(text: String) -> Self {
        Trouble::denied(text).end()
    }

    pub(crate) fn new(
        meta: ExecMeta,
        outputs: Option<BTreeMap<PortName, Artifact>>,
        explanation: Option<String>,
        start: Start,
    ) -> Self {
        let (environment, moved, flight, known) = (false, false, None, None);
        let copies = Vec::new();
        let began = None;
        Self { meta, outputs, explanation, environment, moved, start, flight, known, began, copies }
    }

    /// The end of a step whose result another run has made.
    fn shared(known: Known) -> Self {
        let meta = ExecMeta::new(Outcome::Cached);
        let outputs = Some(known.outputs.clone());
        Self { known: Some(known), ..Self::new(meta, outputs, None, Start::None) }
    }

    /// The end of a step that was not begun.
    pub fn not_begun(text: String) -> Self {
        Trouble { outcome: Outcome::WorkerError, ..Trouble::input(text) }.end()
    }

    /// The end of a step that was to end before it began.
    pub fn stopped() -> Self {
        Trouble::stopped().end()
    }

    /// The end of a step whose task did not come to one.
    pub fn broken(error: &dyn std::fmt::Display) -> Self {
        Trouble::internal(error).end()
    }
}

/// The parts of a step's time, one after the other.
struct Laps {
    last: Instant,
    times: Times,
}

impl Laps {
    /// Milliseconds since it was asked last.
    fn lap(&mut self) -> f64 {
        let now = Instant::now();
        (now - std::mem::replace(&mut self.last, now)).as_secs_f64() * 1e3
    }

    /// Takes in an attempt that has ended; what was still to be told of it counts to its end.
    fn attempt(&mut self, of: Option<Times>) {
        let took = self.lap();
        let Times { prepare_ms, spawn_ms, hello_ms, run_ms, .. } = of.unwrap_or_default();
        let collect_ms = (took - prepare_ms - spawn_ms - hello_ms - run_ms).max(0.0);
        let prepare_ms = self.times.prepare_ms + prepare_ms;
        self.times = Times { prepare_ms, spawn_ms, hello_ms, run_ms, collect_ms, ..self.times };
    }
}

impl StepRun {
    pub(crate) fn cell(&self) -> &Cell {
        &self.flow.cells[self.cell]
    }

    /// Runs it. `seen` hears what goes on; `stop` may end it.
    pub async fn run(mut self, seen: mpsc::Sender<Live>, stop: watch::Receiver<Stop>) -> StepEnd {
        self.stop = Some(stop.clone());
        let began = Instant::now();
        let mut laps = Laps { last: began, times: Times::default() };
        let mut end = match Arc::new(self).go(seen, stop, &mut laps).await {
            Ok(end) => end,
            Err(trouble) => trouble.end(),
        };
        // One that ended early did so while it was made ready.
        laps.times.prepare_ms += laps.lap();
        end.began = Some(began);
        end.meta.times = Some(laps.times);
        end
    }

    async fn go(
        self: Arc<Self>,
        seen: mpsc::Sender<Live>,
        stop: watch::Receiver<Stop>,
        laps: &mut Laps,
    ) -> Result<StepEnd, Trouble> {
        let granted = self.granted()?;
        // The default is as many as there may be.
        let most = polyloom_worker::most_open_files();
        let asked = self.limits.open_files != Limits::default().open_files
            || self.cell().lines.keys.contains_key("open_files");
        if asked && u64::from(self.limits.open_files) > most {
            return Err(Trouble::input(format!(
                "`open_files` is {}, more than the {most} that a process may have here (`ulimit -Hn`)",
                self.limits.open_files
            )));
        }
        let flight = match self.flight {
            None => None,
            Some(key) => {
                let declared = &self.cell().outputs;
                let turn = flight::turn(&self.place.store, key, declared, &seen, &stop).await;
                laps.times.wait_ms = laps.lap();
                match turn {
                    flight::Turn::Ours(flight) => flight,
                    flight::Turn::Made(known) => return Ok(StepEnd::shared(known)),
                    flight::Turn::Stopped => return Err(Trouble::stopped()),
                }
            }
        };
        let compiles =
            matches!(&self.executor.manifest.kind, Kind::Command(c) if c.compile.is_some());
        self.look_for_once().await;
        let mut program = None;
        let mut compiled = None;
        if compiles {
            let compiled_by = Arc::clone(&self).compile(&seen, &stop).await?;
            let took = laps.lap();
            match compiled_by {
                Ok((path, made)) => {
                    program = Some(path);
                    let part = match made {
                        Some(_) => &mut laps.times.compile_ms,
                        None => &mut laps.times.prepare_ms,
                    };
                    *part += took;
                    compiled = made;
                }
                Err(end) => {
                    laps.times.compile_ms = took;
                    return Ok(*end);
                }
            }
        }
        let secrets = self.read_secrets(&granted, &stop).await?;
        let mut attempt = match self.is_light() {
            true => self.attempt(program)?,
            false => {
                let step = Arc::clone(&self);
                blocking(move || step.attempt(program)).await??
            }
        };
        attempt.granted = granted;
        attempt.secrets = secrets;
        laps.times.prepare_ms += laps.lap();
        let mut report = match &self.turn {
            Some(turn) => self.play(turn, attempt, &seen, &stop).await?,
            None => self.attempt_once(attempt, &seen, &stop).await?,
        };
        laps.attempt(report.meta.times);
        if let Some(Made { ms, head, warnings, kept }) = compiled {
            kept.await.map_err(|error| Trouble::internal(&error))??;
            report.meta.diagnostics.splice(..0, warnings);
            let extras = &mut report.meta.extras;
            extras.insert("compiled_ms".to_owned(), Value::Float(ms));
            extras.extend(head.map(|lines| ("compiled_head".to_owned(), Value::Str(lines))));
        }
        let mut outputs = report.outputs.values().chain(report.extra.values());
        let is_light =
            |it: &Collected| matches!(it, Collected::Bytes(it) if it.len() as u64 <= LIGHT);
        let end = match outputs.all(|output| is_light(&output.content)) {
            true => self.keep(report)?,
            false => {
                let step = Arc::clone(&self);
                blocking(move || step.keep(report)).await??
            }
        };
        laps.times.store_ms = laps.lap();
        Ok(StepEnd { flight, ..end })
    }

    /// Whether to get its inputs takes no longer than to ask a thread for them that may wait.
    pub(crate) fn is_light(&self) -> bool {
        let light = |it: &Artifact| it.ty.encoding() == Encoding::Msgpack && it.size <= LIGHT;
        let is_light = |port| matches!(self.edges.get(port), Some(Feed::One(it)) if light(it));
        self.cell().inputs.iter().all(|(port, input)| match &input.source {
            Source::Param(_) | Source::Value(_) => true,
            Source::Port(..) => is_light(port),
            Source::Ports(_) | Source::Item | Source::File(_) => false,
        })
    }

    /// What it would be started with, without starting it.
    pub(crate) async fn laid_out(self, stop: &watch::Receiver<Stop>) -> Result<Attempt, Trouble> {
        let granted = self.granted()?;
        let secrets = self.read_secrets(&granted, stop).await?;
        let step = Arc::new(self);
        step.look_for_once().await;
        let attempt = blocking(move || step.attempt(None)).await??;
        Ok(Attempt { granted, secrets, ..attempt })
    }

    /// The secrets that were granted, read anew for each attempt: from the user's environment and files, and by programs that run as the user.
    async fn read_secrets(
        &self,
        granted: &Granted,
        stop: &watch::Receiver<Stop>,
    ) -> Result<Option<Arc<Secrets>>, Trouble> {
        let cell = self.cell();
        let handles = &granted.secrets;
        if handles.is_empty() {
            return Ok(None);
        }
        let root = std::path::absolute(self.flow.root.join(&cell.folder));
        let root = root.map_err(|error| Trouble::host(format!("the flow's folder: {error}")))?;
        let host = secrets::Host {
            root: &root,
            home: self.place.around.home.as_deref(),
            variable: &|name| std::env::var_os(name),
            pins: &granted.pins,
            patience: secrets::PATIENCE,
        };
        match secrets::read(handles, &host, stop).await {
            Ok(secrets) => Ok(Some(Arc::new(secrets))),
            Err(SecretError { why: Why::Stopped, .. }) => Err(Trouble::stopped()),
            Err(error) => Err(Trouble::input(format!("cell `{}`: {error}", cell.id))),
        }
    }

    /// What the cell gets beyond its inputs; all it asks for, or it does not run.
    fn granted(&self) -> Result<Granted, Trouble> {
        let cell = self.cell();
        match &self.permit {
            Some(Permit::Denied(text)) => Err(Trouble::denied(text.clone())),
            _ if cell.asks.is_empty() && cell.secrets.is_empty() => Ok(Granted::default()),
            Some(Permit::Granted(granted)) => Ok(Granted::clone(granted)),
            None => Err(Trouble::denied("nobody was asked to grant what it asks for".to_owned())),
        }
    }

    async fn attempt_once(
        &self,
        attempt: Attempt,
        seen: &mpsc::Sender<Live>,
        stop: &watch::Receiver<Stop>,
    ) -> Result<Report, Trouble> {
        let _ = seen.send(Live::Phase(attempt.phase.clone())).await;
        let attempt = Arc::new(attempt);
        let report = self.place.workplace.attempt(&attempt, seen.clone(), stop.clone()).await;
        report.map_err(|error| Trouble::host(chain(&error)))
    }

    /// The same in the cell's session.
    async fn play(
        &self,
        turn: &Turn,
        attempt: Attempt,
        seen: &mpsc::Sender<Live>,
        stop: &watch::Receiver<Stop>,
    ) -> Result<Report, Trouble> {
        let _ = seen.send(Live::Phase(attempt.phase.clone())).await;
        match turn.play(&self.place, &Arc::new(attempt), seen.clone(), stop).await? {
            Played::Stopped => Err(Trouble::stopped()),
            Played::Spoilt(cell) => {
                let text = sessions::spoilt(&turn.name, &cell);
                Err(Trouble { outcome: Outcome::WorkerError, ..Trouble::input(text) })
            }
            Played::Ran(mut report, again) => {
                if !again.is_empty() {
                    let extras = &mut report.meta.extras;
                    extras.insert("replayed".to_owned(), sessions::names(&again));
                    extras.insert("session".to_owned(), Value::Str(turn.name.to_string()));
                }
                Ok(*report)
            }
            Played::NotAgain(cell, mut report) => {
                let explanation = report.explanation.take();
                let why = match report.meta.outcome {
                    // What it left, or what became of its process, is told of it.
                    Outcome::Ok => "ended the session with it".to_owned(),
                    outcome => {
                        let why = explanation.unwrap_or_else(|| outcome.to_string());
                        format!("did not end well: {why}")
                    }
                };
                let text = format!(
                    "for the state of session `{}`, `{cell}` was run again, and {why}; `polyloom run -f {cell}` makes its result anew",
                    turn.name
                );
                report.meta.diagnostics.insert(0, Diagnostic::new(Severity::Error, text));
                report.outputs.clear();
                report.extra.clear();
                if report.meta.outcome.has_outputs() {
                    report.meta.outcome = Outcome::WorkerError;
                }
                Ok(*report)
            }
        }
    }

    pub(crate) fn bare(&self, phase: Phase) -> Attempt {
        let cell = self.cell();
        Attempt {
            cell: cell.id.clone(),
            executor: Arc::clone(&self.executor),
            phase,
            code_name: cell.code.name.clone(),
            code: Arc::clone(&cell.code.bytes),
            call: None,
            origin: cell.code.origin.clone(),
            beside: self.turn.as_ref().map(|turn| turn.origins.clone()).unwrap_or_default(),
            inputs: Vec::new(),
            outputs: Ports::new(),
            env: BTreeMap::new(),
            secrets: None,
            argv: Vec::new(),
            stdin: None,
            seed: None,
            limits: Limits {
                open_files: u32::try_from(polyloom_worker::most_open_files())
                    .map_or(self.limits.open_files, |most| self.limits.open_files.min(most)),
                ..self.limits.clone()
            },
            policy: self.policy.clone(),
            granted: Granted::default(),
            coming: self.coming,
            spare: self.spare,
            learnt: Vec::new(),
            then: None,
        }
    }

    /// What its worker said last time that it has loaded, where that matters to its executor. What is not known is of no consequence.
    fn learnt(&self) -> Vec<String> {
        let learns = self.executor.manifest.kind.zygote().is_some_and(|it| it.learn.is_some());
        let known = self.history.as_ref().filter(|_| learns && self.turn.is_none());
        let known = known.map(|(history, flow)| history.loaded(flow, self.cell().id.as_str()));
        known.and_then(Result::ok).unwrap_or_default()
    }

    /// Whether it is to end: what takes long to get for it is not wanted any more.
    fn is_stopped(&self) -> bool {
        self.stop.as_ref().is_some_and(|stop| *stop.borrow() != Stop::No)
    }

    /// The whole attempt of the run phase.
    pub(crate) fn attempt(&self, program: Option<PathBuf>) -> Result<Attempt, Trouble> {
        let cell = self.cell();
        let mut attempt = self.bare(Phase::Run { program });
        attempt.learnt = self.learnt();
        for (port, input) in &cell.inputs {
            let hot = |file: &&InputFile| matches!(file.content, Content::Hot(_));
            let in_memory = attempt.inputs.iter().filter(hot).count();
            let file = self.input(port, &input.source, &input.ty, in_memory);
            if self.is_stopped() {
                return Err(Trouble::stopped());
            }
            attempt.inputs.push(file.map_err(|trouble| Trouble {
                text: format!("input `{port}`: {}", trouble.text),
                ..trouble
            })?);
        }
        attempt.call = cell.call.clone();
        attempt.outputs = cell.outputs.clone();
        attempt.env = cell.env.clone();
        attempt.argv = cell.argv.clone();
        attempt.seed = self.flow.seed_of(cell);
        attempt.stdin = match &cell.stdin {
            None => None,
            Some(Stdin::Text(text)) => Some(text.clone().into_bytes()),
            Some(Stdin::Input(port)) => Some(Self::stdin(&attempt.inputs, port)?),
        };
        Ok(attempt)
    }

    fn stdin(inputs: &[InputFile], port: &PortName) -> Result<Vec<u8>, Trouble> {
        let input = inputs.iter().find(|input| input.port == *port);
        let input = input.ok_or_else(|| Trouble::input(format!("stdin: no input `{port}`")))?;
        match &input.content {
            Content::Value(_) => Ok(text_of(input).unwrap_or_default()),
            Content::File(path) => {
                let size = std::fs::metadata(path).map_or(0, |m| m.len());
                if size > LARGEST_STDIN {
                    return Err(Trouble::input(format!(
                        "stdin: input `{port}` has {size} bytes, at most {LARGEST_STDIN} can be given"
                    )));
                }
                std::fs::read(path).map_err(|error| Trouble::host(format!("stdin: {error}")))
            }
            Content::Hot(_) => Err(Trouble::host(format!("stdin: input `{port}` is not on disk"))),
            Content::Dir(_) => Err(Trouble::input(format!("stdin: input `{port}` is a directory"))),
        }
    }

    /// One input. `in_memory`: how many of the cell's inputs are mounted from memory already.
    fn input(
        &self,
        port: &PortName,
        source: &Source,
        ty: &Type,
        in_memory: usize,
    ) -> Result<InputFile, Trouble> {
        let store = &self.place.store;
        let host = |error: &dyn std::error::Error| Trouble::host(chain(error));
        let mut extension = String::new();
        let artifact = match source {
            Source::Port(cell, output) => match self.edges.get(port) {
                Some(Feed::One(artifact)) => artifact.clone(),
                Some(Feed::Several(_)) | None => {
                    let text = format!("the result of `{cell}.{output}` is not there");
                    return Err(Trouble::host(text));
                }
            },
            Source::Ports(sources) => match self.edges.get(port) {
                Some(Feed::Several(parts)) => {
                    let is_wanted = || !self.is_stopped();
                    gather::together(&self.place, sources, parts, &is_wanted)
                        .map_err(Trouble::input)?
                }
                Some(Feed::One(_)) | None => {
                    let text = format!("the results that `{port}` lists are not there");
                    return Err(Trouble::host(text));
                }
            },
            Source::Param(name) => {
                let param = self.flow.params.get(name);
                let param = param.ok_or_else(|| Trouble::input(format!("no param `{name}`")))?;
                return value_input(port, param.value.clone(), ty);
            }
            Source::Value(value) => return value_input(port, value.clone(), ty),
            Source::Item => {
                return Err(Trouble::host("an item of a map is not there".to_owned()));
            }
            Source::File(path) => {
                extension = files::extension(path);
                let artifact = files::import(&self.flow.root, path, ty, store, self.unix_ms)
                    .map_err(|error| Trouble::input(chain(&error)))?;
                if self.planned.get(port).is_some_and(|planned| *planned != artifact.digest) {
                    let text = format!(
                        "`{}` was changed while the flow ran; run it again",
                        path.display()
                    );
                    return Err(Trouble { moved: true, ..Trouble::input(text) });
                }
                artifact
            }
        };
        let content = match (artifact.ty.encoding(), ty.encoding()) {
            (Encoding::Msgpack, _) => {
                let bytes = store.read(&artifact.digest, LARGEST_VALUE).map_err(|e| host(&e))?;
                if artifact.ty == *ty {
                    Content::Value(bytes.into())
                } else {
                    let value = Value::from_msgpack(&bytes).map_err(|e| host(&e))?;
                    return value_input(port, value, ty);
                }
            }
            (Encoding::Dir, _) | (_, Encoding::Dir) => {
                let is_wanted = || !self.is_stopped();
                let path = store.tree_path_while(&artifact.digest, &is_wanted);
                Content::Dir(path.map_err(|e| host(&e))?)
            }
            _ => {
                // Files of the flow's are on disk; so is what is looked into before a cell sees it.
                let as_it_is = artifact.ty == *ty && matches!(source, Source::Port(..));
                let stdin =
                    matches!(&self.cell().stdin, Some(Stdin::Input(input)) if input == port);
                match self.place.hot.get(&artifact.digest) {
                    Some(file)
                        // Nothing is mounted in a session that goes on.
                        if as_it_is && !stdin && in_memory < MOST_HOT && self.turn.is_none() =>
                    {
                        Content::Hot(file)
                    }
                    _ => {
                        self.place.hot.wait(&artifact.digest);
                        Content::File(store.path(&artifact.digest).map_err(|e| host(&e))?)
                    }
                }
            }
        };
        let mut media = artifact.media.clone();
        if let Content::File(_) | Content::Hot(_) = &content {
            if let Content::File(path) = &content
                && (artifact.ty != *ty || matches!(source, Source::File(_)))
            {
                let known = check_file(path, ty).map_err(Trouble::input)?;
                media = known.map(str::to_owned).or(media);
            }
            extension = match ty {
                Type::Tensor(..) => ".npy".to_owned(),
                Type::Table => ".arrow".to_owned(),
                _ if !extension.is_empty() => extension,
                _ => extension_of(media.as_deref().unwrap_or_default()).to_owned(),
            };
        }
        Ok(InputFile { port: port.clone(), ty: ty.clone(), content, extension, media })
    }

    /// Puts the outputs of an attempt into the store.
    fn keep(&self, report: Report) -> Result<StepEnd, Trouble> {
        let Report { mut meta, outputs, extra, explanation, start, .. } = report;
        let mut copies = Vec::new();
        if meta.outcome != Outcome::Ok {
            return Ok(StepEnd::new(meta, None, explanation, start));
        }
        let mut kept = BTreeMap::new();
        for (port, output) in outputs {
            let kept_one = keep_output(&self.place, output, &mut copies);
            let artifact = kept_one.map_err(|trouble| Trouble {
                text: format!("output `{port}`: {}", trouble.text),
                ..trouble
            })?;
            meta.artifacts.insert(port.to_string(), artifact_meta(&artifact));
            kept.insert(port, artifact);
        }
        for (name, output) in extra {
            let artifact = keep_output(&self.place, output, &mut copies)?;
            meta.artifacts.insert(name, artifact_meta(&artifact));
        }
        Ok(StepEnd { copies, ..StepEnd::new(meta, Some(kept), explanation, start) })
    }
}

fn tree_entry(
    store: &Store,
    path: String,
    file: File,
    size: u64,
    exec: bool,
) -> Result<TreeEntry, Trouble> {
    let (digest, size) =
        store.put_file(&file, size).map_err(|error| Trouble::host(chain(&error)))?;
    Ok(TreeEntry { path, file: Some(polyloom_store::ListingEntry { digest, exec, size }) })
}

pub(crate) fn tree_file(store: &Store, file: TreeFile) -> Result<TreeEntry, Trouble> {
    let fd = file.open().map_err(|refusal| Trouble::host(format!("`{}`: {refusal}", file.path)))?;
    tree_entry(store, file.path, File::from(fd), file.size, file.executable)
}

fn keep_output(
    place: &Arc<Place>,
    output: Output,
    copies: &mut Vec<Copy>,
) -> Result<Artifact, Trouble> {
    let store = &place.store;
    let host = |error: &dyn std::error::Error| Trouble::host(chain(error));
    let (digest, size) = match output.content {
        Collected::Bytes(bytes) => {
            (store.put_bytes(&bytes).map_err(|e| host(&e))?, bytes.len() as u64)
        }
        Collected::File { fd, size, hot: Some(hot) } => {
            let (digest, size, copy) =
                hot::keep(place, &File::from(fd), size, hot).map_err(|error| host(&error))?;
            copies.extend(copy);
            (digest, size)
        }
        Collected::File { fd, size, hot: None } => {
            store.put_file(&File::from(fd), size).map_err(|e| host(&e))?
        }
        Collected::Tree { files, empty } => {
            let folder = |path| TreeEntry { path, file: None };
            let mut entries: Vec<TreeEntry> = empty.into_iter().map(folder).collect();
            for file in files {
                entries.push(tree_file(store, file)?);
            }
            store.put_tree(entries).map_err(|e| host(&e))?
        }
    };
    let media = (output.encoding != Encoding::Dir).then_some(output.media);
    Ok(Artifact { digest, ty: output.ty, size, media })
}

/// An artifact as results show it.
#[must_use]
pub fn artifact_meta(artifact: &Artifact) -> ArtifactMeta {
    ArtifactMeta {
        digest: artifact.digest.to_string(),
        r#type: artifact.ty.to_string(),
        size: artifact.size,
        media_type: artifact.media.clone(),
        path: None,
    }
}

fn value_input(port: &PortName, value: Value, ty: &Type) -> Result<InputFile, Trouble> {
    let value = conform(value, ty).map_err(|mismatch| Trouble::input(mismatch.to_string()))?;
    Ok(InputFile {
        port: port.clone(),
        ty: ty.clone(),
        content: Content::Value(value.to_msgpack().into()),
        extension: String::new(),
        media: None,
    })
}

/// Runs what waits for the disk beside the loop.
pub(crate) async fn blocking<T: Send + 'static>(
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Trouble> {
    let joined = tokio::task::spawn_blocking(body).await;
    joined.map_err(|error| Trouble::internal(&error))
}
