//! The only loop: causes come in (an attempt ended, a signal, a timer), the schedule says what to do, and it is done.
//!
//! Nothing here waits for work: attempts are tasks that send causes. What ended is committed to the store before it is said.

mod late;
mod record;
mod starts;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use polyloom_events::{Event, Phase, Stage, Stream as Channel, Totals};
use polyloom_model::{CellId, Levels, Limit, LimitLines, Limits, Policy, PortName, Preset, Source};
use polyloom_plan::{Action, Artifact, StepIndex, content_key};
use polyloom_protocol::Outcome;
use polyloom_protocol::messages::worker::LogLevel;
use polyloom_protocol::meta::{Diagnostic, ExecMeta, Severity};
use polyloom_schedule::{
    Backoff, Because, Cause, Command, Ended, Finish, KeepGoing, Options, Retry, RunOutcome,
    Schedule, StepSpec,
};
use polyloom_store::{ResultRow, RunWriter, StepRow};
use polyloom_worker::attempt::{self, Live, Stop};
use tokio::sync::{mpsc, watch};

use self::late::Late;
use self::starts::Starts;
use crate::permit::Permit;
use crate::place::Place;
use crate::prepare::{Prepared, action_of, to_recorded};
use crate::step::{Seen, StepEnd, StepRun, artifact_meta};
use crate::stream::Stream;
use crate::words::chain;

/// How a run is to be made.
pub struct Job {
    /// The plan.
    pub prepared: Prepared,
    /// The surroundings.
    pub place: Arc<Place>,
    /// Attempts at once.
    pub jobs: NonZeroUsize,
    /// What a failure means for the others.
    pub keep_going: KeepGoing,
    /// The whole run may take this long.
    pub timeout: Option<Duration>,
    /// Results are not put into the store for later runs.
    pub no_cache: bool,
    /// The word on each cell of the plan that asks for something.
    pub permits: HashMap<CellId, Permit>,
    /// The person's word on how well cells must be confined, over that of the flow.
    pub policy: PolicyWord,
    /// The run's id, for events.
    pub run: String,
    /// Where the run is recorded.
    pub history: Option<RunWriter>,
}

/// What is said about policies outside of the flow.
#[derive(Debug, Clone, Default)]
pub struct PolicyWord {
    /// The project's, which can only tighten.
    pub project: (Option<Preset>, Levels),
    /// The person's, which replaces what files say.
    pub person: (Option<Preset>, Levels),
}

impl PolicyWord {
    /// What holds for a cell.
    #[must_use]
    pub fn over(&self, cell: &Policy) -> Policy {
        let ((project, levels), (person, last)) = (&self.project, &self.person);
        cell.clone().tightened(*project, levels).replaced(*person, last)
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Summary {
    /// The schedule's word.
    pub outcome: RunOutcome,
    /// Counts.
    pub totals: Totals,
    /// Wall time in milliseconds.
    pub wall_ms: f64,
    /// Whether a failure was this machine's or an installation's.
    pub environment: bool,
    /// Events that a sink could not write.
    pub unwritten: Option<std::io::Error>,
}

/// What the loop waits for.
enum Happened {
    Seen(StepIndex, Seen),
    Ended(StepIndex, Box<StepEnd>),
    /// A step's outputs are on the disk, or the reason why they are not.
    Copied(StepIndex, Option<String>),
    Waited(StepIndex),
}

/// One step's place in the run.
#[derive(Default)]
struct Slot {
    outputs: Option<Arc<BTreeMap<PortName, Artifact>>>,
    /// Its last result, waiting for the schedule to say that it is final.
    end: Option<Box<StepEnd>>,
    stop: Option<watch::Sender<Stop>>,
    attempt: u32,
    /// Attempts that ran out of memory.
    starved: u32,
    started_ms: Option<f64>,
    ended_ms: Option<f64>,
    reason: String,
}

/// A run of a plan.
pub struct Runner {
    job: Job,
    stream: Stream,
    schedule: Schedule,
    specs: Vec<StepSpec>,
    slots: Vec<Slot>,
    starts: Starts,
    commands: VecDeque<Command>,
    rows: Vec<StepRow>,
    results: Vec<ResultRow>,
    /// Events that may be said only after the next commit.
    held: Vec<Event>,
    environment: bool,
    late: Late,
    outcome: Option<RunOutcome>,
    sender: mpsc::Sender<Happened>,
    receiver: mpsc::Receiver<Happened>,
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Runner {
    /// A run that is ready to start; says `run.started` and the plan.
    #[must_use]
    pub fn new(job: Job, mut stream: Stream) -> Self {
        let plan = &job.prepared.plan;
        let flow = &job.prepared.flow;
        let options =
            Options { jobs: job.jobs, keep_going: job.keep_going, backoff: Backoff::default() };
        let specs: Vec<StepSpec> = plan.steps.iter().map(StepSpec::from).collect();
        let schedule = Schedule::new(&specs, options);
        stream.say(Event::RunStarted {
            schema: polyloom_events::SCHEMA.to_owned(),
            run: job.run.clone(),
            flow: flow.name.clone(),
            path: flow.path.display().to_string(),
            started_unix_ms: unix_ms(),
            cells: plan.steps.len() as u64,
            jobs: u32::try_from(job.jobs.get()).unwrap_or(u32::MAX),
            version: job.place.version.to_owned(),
        });
        let mut slots = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            let reason = step.reason.to_string();
            stream.say(Event::StepPlanned {
                cell: step.cell.to_string(),
                lang: flow.cells[step.index.at()].executor.to_string(),
                action: action_of(&step.action),
                reason: reason.clone(),
            });
            let outputs = match &step.action {
                Action::Cached(recorded) => Some(Arc::new(recorded.outputs.clone())),
                Action::Run | Action::Maybe => None,
            };
            slots.push(Slot { outputs, reason, ..Slot::default() });
        }
        let (sender, receiver) = mpsc::channel(256);
        Self {
            stream,
            schedule,
            specs,
            slots,
            starts: Starts::default(),
            commands: VecDeque::new(),
            rows: Vec::new(),
            results: Vec::new(),
            held: Vec::new(),
            environment: false,
            late: Late::default(),
            outcome: None,
            sender,
            receiver,
            job,
        }
    }

    /// Runs a plan in which nothing has to run: no thread, no task, no process.
    #[must_use]
    pub fn run_cached(mut self) -> Summary {
        let first = self.schedule.start();
        self.commands.extend(first);
        self.obey();
        self.commit();
        self.finish()
    }

    /// Runs the plan. `interrupts` gives a word for each Ctrl-C.
    pub async fn run(mut self, mut interrupts: mpsc::Receiver<()>) -> Summary {
        let deadline = self.job.timeout.map(|timeout| Instant::now() + timeout);
        let mut timer_open = deadline.is_some();
        let mut interrupts_open = true;
        let first = self.schedule.start();
        self.commands.extend(first);
        self.settle();
        while self.outcome.is_none() || !self.late.ends.is_empty() {
            tokio::select! {
                happened = self.receiver.recv() => {
                    if let Some(happened) = happened {
                        self.on(happened);
                    }
                    // Whatever else is there goes into the same commit.
                    while let Ok(happened) = self.receiver.try_recv() {
                        self.on(happened);
                    }
                }
                word = interrupts.recv(), if interrupts_open && self.outcome.is_none() => match word {
                    Some(()) => {
                        let commands = self.schedule.on(Cause::Interrupt);
                        self.commands.extend(commands);
                    }
                    None => interrupts_open = false,
                },
                () = until(deadline), if timer_open => {
                    timer_open = false;
                    let commands = self.schedule.on(Cause::Timeout);
                    self.commands.extend(commands);
                }
            }
            self.settle();
        }
        self.finish()
    }

    fn on(&mut self, happened: Happened) {
        match happened {
            Happened::Seen(step, seen) => self.on_seen(step, seen),
            Happened::Waited(step) => {
                let commands = self.schedule.on(Cause::Waited { step });
                self.commands.extend(commands);
            }
            Happened::Ended(step, end) => self.on_ended(step, end),
            Happened::Copied(step, problem) => self.on_copied(step, problem),
        }
    }

    fn cell(&self, step: StepIndex) -> &polyloom_model::Cell {
        let index = self.job.prepared.plan.steps[step.at()].index;
        &self.job.prepared.flow.cells[index.at()]
    }

    /// The limits of its present attempt.
    fn limits(&self, step: StepIndex) -> Limits {
        self.cell(step).limits.grown(self.slots[step.at()].starved)
    }

    fn name(&self, step: StepIndex) -> String {
        self.job.prepared.plan.steps[step.at()].cell.to_string()
    }

    fn on_seen(&mut self, step: StepIndex, seen: Seen) {
        let cell = self.name(step);
        let log = |cell, stream, text| Event::Log { cell, stream, text };
        let event = match seen {
            Seen::Phase(phase) => {
                let phase = match phase {
                    attempt::Phase::Compile => Phase::Compile,
                    attempt::Phase::Run { .. } => Phase::Run,
                };
                Event::StepStarted { cell, attempt: self.slots[step.at()].attempt, phase }
            }
            Seen::Live(Live::Text { stderr, text }) => {
                log(cell, if stderr { Channel::Stderr } else { Channel::Stdout }, text)
            }
            Seen::Live(Live::Log { level, text }) => {
                let stream = match level {
                    LogLevel::Debug => Channel::Debug,
                    LogLevel::Info | LogLevel::Other(_) => Channel::Info,
                    LogLevel::Warn => Channel::Warn,
                    LogLevel::Error => Channel::Error,
                };
                log(cell, stream, text)
            }
            Seen::Live(Live::Progress { fraction, text }) => {
                Event::Progress { cell, fraction, text }
            }
            Seen::Live(Live::Display { media, data }) => {
                let text = match String::from_utf8(data) {
                    Ok(text) => text,
                    Err(error) => format!("{} bytes", error.as_bytes().len()),
                };
                Event::Display { cell, media, text }
            }
            Seen::Live(Live::Diagnostic(diagnostic)) => Event::Diagnostic { cell, diagnostic },
            Seen::Live(Live::Limit { limit, stage, used }) => {
                let amount = match (stage, limit) {
                    (attempt::Stage::Warning, Limit::Timeout) => {
                        let soft = self.cell(step).limits.soft_timeout;
                        soft.and_then(|soft| u64::try_from(soft.as_millis()).ok())
                    }
                    _ => self.limits(step).amount(limit),
                };
                let stage = match stage {
                    attempt::Stage::Warning => Stage::Warning,
                    attempt::Stage::Term => Stage::Term,
                    attempt::Stage::Kill => Stage::Kill,
                };
                let name = limit.key().to_owned();
                Event::Limit { cell, name, stage, used, limit: amount.unwrap_or(0) }
            }
        };
        self.stream.say(event);
    }

    fn on_ended(&mut self, step: StepIndex, mut end: Box<StepEnd>) {
        self.await_copies(step, std::mem::take(&mut end.copies));
        let index = self.job.prepared.plan.steps[step.at()].index;
        let cell = &self.job.prepared.flow.cells[index.at()];
        self.starts.saw(&cell.executor, &cell.id, &end);
        let given_up = self.starts.given_up(&cell.executor, &self.job.run).is_some();
        let finish = match (&end.outputs, end.meta.outcome) {
            (Some(_), _) => Finish::Ok,
            (None, Outcome::Cancelled) => Finish::Cancelled,
            (None, Outcome::OutputMissing | Outcome::Denied) => Finish::Failed(Retry::Never),
            (None, _) if given_up => Finish::Failed(Retry::Never),
            (None, _) => Finish::Failed(Retry::Allowed),
        };
        let slot = &mut self.slots[step.at()];
        slot.starved += u32::from(end.meta.outcome == Outcome::OutOfMemory);
        slot.stop = None;
        slot.outputs = end.outputs.clone().map(Arc::new);
        slot.end = Some(end);
        let commands = self.schedule.on(Cause::Finished { step, finish });
        self.commands.extend(commands);
    }

    /// Does what is to be done, commits what ended, and only then says so.
    fn settle(&mut self) {
        self.obey();
        self.commit();
    }

    fn obey(&mut self) {
        while let Some(command) = self.commands.pop_front() {
            match command {
                Command::Decide { step } => {
                    let cached = self.decide(step);
                    let commands = self.schedule.on(Cause::Decided { step, cached });
                    self.commands.extend(commands);
                }
                Command::Start { step, attempt } => {
                    self.slots[step.at()].attempt = attempt;
                    self.start(step);
                }
                Command::Wait { step, delay, .. } => {
                    let sender = self.sender.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(delay).await;
                        let _ = sender.send(Happened::Waited(step)).await;
                    });
                }
                Command::Cancel { step } => self.stop(step, Stop::Gracefully),
                Command::Kill { step } => self.stop(step, Stop::Now),
                Command::End { step, ended, attempts } if self.is_late(step) => {
                    self.late.ends.push((step, ended, attempts));
                }
                Command::End { step, ended, attempts } => self.end(step, ended, attempts),
                Command::Finish(outcome) => self.outcome = Some(outcome),
            }
        }
    }

    fn stop(&self, step: StepIndex, stop: Stop) {
        if let Some(sender) = &self.slots[step.at()].stop {
            sender.send_replace(stop);
        }
    }

    /// The artifacts of a step's inputs that are edges of the plan.
    fn edges(&self, step: StepIndex) -> BTreeMap<PortName, Artifact> {
        let mut edges = BTreeMap::new();
        for supply in &self.job.prepared.plan.steps[step.at()].supplies {
            let outputs = self.slots[supply.step.at()].outputs.as_ref();
            if let Some(artifact) = outputs.and_then(|outputs| outputs.get(&supply.output)) {
                edges.insert(supply.input.clone(), artifact.clone());
            }
        }
        edges
    }

    fn content_key(&self, step: StepIndex) -> polyloom_plan::Key {
        let edges = self.edges(step);
        content_key(&self.job.prepared.plan.steps[step.at()].parts, &edges)
    }

    /// Whether a result with these very inputs is known.
    fn decide(&mut self, step: StepIndex) -> bool {
        let key = self.content_key(step);
        let found = match self.job.place.store.lookup_content(&key.0) {
            Ok(found) => found.filter(|stored| stored.outcome.has_outputs() && !stored.evicted),
            Err(error) => {
                self.stream.say(Event::Warning { text: chain(&error) });
                None
            }
        };
        let Some(stored) = found else { return false };
        let recorded = to_recorded(stored);
        if !recorded.evicted.is_empty() {
            return false;
        }
        self.slots[step.at()].outputs = Some(Arc::new(recorded.outputs));
        "its inputs turned out the same".clone_into(&mut self.slots[step.at()].reason);
        true
    }

    fn start(&mut self, step: StepIndex) {
        let prepared = &self.job.prepared;
        let planned = &prepared.plan.steps[step.at()];
        let cell = &prepared.flow.cells[planned.index.at()];
        if let Some(text) = self.starts.given_up(&cell.executor, &self.job.run) {
            self.on_ended(step, Box::new(StepEnd::not_begun(text)));
            return;
        }
        let files = cell.inputs.iter().filter(|(_, input)| matches!(input.source, Source::File(_)));
        let (Some(executor), Some(identity)) =
            (prepared.executors.get(&cell.executor), prepared.identities.get(&cell.executor))
        else {
            // `prepare` refuses a plan that runs a cell without its executor.
            unreachable!("the executor of a step that runs is there");
        };
        let run = StepRun {
            place: Arc::clone(&self.job.place),
            flow: Arc::clone(&prepared.flow),
            cell: planned.index.at(),
            executor: Arc::clone(executor),
            identity: *identity,
            edges: self.edges(step),
            planned: files
                .filter_map(|(port, _)| {
                    let digest = prepared.facts.files.get(&(cell.id.clone(), port.clone()))?;
                    Some((port.clone(), *digest))
                })
                .collect(),
            permit: self.job.permits.get(&cell.id).cloned(),
            policy: self.job.policy.over(&cell.policy),
            limits: self.limits(step),
            unix_ms: unix_ms(),
        };
        let (stop, stopped) = watch::channel(Stop::No);
        let now = self.stream.now_ms();
        let slot = &mut self.slots[step.at()];
        slot.stop = Some(stop);
        slot.started_ms.get_or_insert(now);
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let (seen, mut heard) = mpsc::channel(64);
            // A task of its own: whatever becomes of it, the loop hears of an end.
            let work = tokio::spawn(run.run(seen, stopped));
            while let Some(seen) = heard.recv().await {
                let _ = sender.send(Happened::Seen(step, seen)).await;
            }
            let end = work.await.unwrap_or_else(|error| StepEnd::broken(&error));
            let _ = sender.send(Happened::Ended(step, Box::new(end))).await;
        });
    }

    fn end(&mut self, step: StepIndex, ended: Ended, attempts: u32) {
        let cell = self.cell(step);
        let (id, lang) = (cell.id.to_string(), cell.executor.to_string());
        let lines = cell.lines.clone();
        let now = self.stream.now_ms();
        let slot = &mut self.slots[step.at()];
        let end = slot.end.take();
        let mut reason = std::mem::take(&mut slot.reason);
        if slot.started_ms.is_some() {
            slot.ended_ms = Some(now);
        }
        let mut outputs = slot.outputs.clone();
        let mut meta = match (ended, end) {
            (Ended::Ok | Ended::Failed | Ended::Cancelled, Some(end)) => {
                self.environment |= end.environment;
                let StepEnd { mut meta, explanation, .. } = *end;
                explain(&mut meta, explanation, &lines);
                meta
            }
            (Ended::Cached, _) => ExecMeta::new(Outcome::Cached),
            (Ended::Skipped(because), _) => {
                reason = self.because(because);
                ExecMeta::new(Outcome::Skipped)
            }
            (Ended::Cancelled, None) => ExecMeta::new(Outcome::Cancelled),
            (Ended::Ok | Ended::Failed, None) => ExecMeta::new(Outcome::WorkerError),
        };
        if let Some(problem) = self.late.problem(step) {
            // Who needed it had it from memory; the next run makes it again.
            let text = format!("its outputs could not be stored: {problem}");
            meta.outcome = Outcome::WorkerError;
            meta.artifacts.clear();
            meta.diagnostics.push(Diagnostic::new(Severity::Error, text));
            outputs = None;
            self.environment = true;
        }
        if let Some(outputs) = &outputs {
            for (port, artifact) in outputs.iter() {
                meta.artifacts.insert(port.to_string(), artifact_meta(artifact));
            }
        }
        self.remember(step, &meta, &reason, outputs.as_deref());
        if ended == Ended::Ok {
            for (port, artifact) in &meta.artifacts {
                let (cell, port, artifact) = (id.clone(), port.clone(), artifact.clone());
                self.held.push(Event::Artifact { cell, port, artifact });
            }
        }
        let meta = Box::new(meta);
        self.held.push(Event::StepFinished { cell: id, lang, reason, attempts, meta });
    }

    fn because(&self, because: Because) -> String {
        match because {
            Because::Upstream(step) => format!("needs {}, which did not end well", self.name(step)),
            Because::Stopped(step) => {
                format!("not started after {} failed; -k keeps going", self.name(step))
            }
            Because::Interrupted => "interrupted".to_owned(),
            Because::TimedOut => "the run's time was over".to_owned(),
        }
    }
}

/// The sentence about a limit goes with the diagnostics, first: it is what the person has to read.
/// It points to the line of the flow file that sets the limit.
fn explain(meta: &mut ExecMeta, explanation: Option<String>, lines: &LimitLines) {
    let Some(text) = explanation else { return };
    let told = meta.diagnostics.iter().any(|diagnostic| diagnostic.message == text);
    // An exit code is in the result already; beside the error that caused it, it says nothing.
    if !told && meta.outcome != Outcome::Failed {
        let mut diagnostic = Diagnostic::new(Severity::Error, text);
        match meta.limit.as_ref().map(|limit| lines.of(&limit.name)) {
            Some(0) => diagnostic.message.push_str(" (set by `--limit`)"),
            Some(line) => {
                diagnostic.file = Some(lines.path.display().to_string());
                diagnostic.line = Some(line);
            }
            None => {}
        }
        meta.diagnostics.insert(0, diagnostic);
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
