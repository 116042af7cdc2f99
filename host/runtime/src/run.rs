//! The only loop: causes come in (an attempt ended, a signal, a timer), the schedule says what to do, and it is done.
//!
//! Nothing here waits for work: attempts are tasks that send causes. What ended is committed to the store before it is said.

mod ahead;
mod carry;
mod commit;
mod decide;
mod failures;
mod late;
mod pace;
mod record;
mod recorder;
mod starts;
mod temporary;
mod turn;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use polyloom_events::{Event, Phase, Stage, Stream as Channel, Totals};
use polyloom_model::{
    Cell, CellId, Digest, Levels, Limit, Limits, Policy, PortName, Preset, SessionName, Source,
};
use polyloom_plan::{Action, Artifact, Recorded, StepIndex};
use polyloom_protocol::Outcome;
use polyloom_protocol::messages::worker::LogLevel;
use polyloom_protocol::meta::{Diagnostic, ExecMeta, Severity};
use polyloom_schedule::{
    Because, Cause, Command, Ended, Finish, Growth, KeepGoing, Options, Retry, RunOutcome,
    Schedule, StepSpec,
};
use polyloom_store::{Flight, History, KeptRow, ResultRow, RunWriter, StepRow};
use polyloom_worker::attempt::{self, Live, Stop};
use tokio::sync::{mpsc, oneshot, watch};

use self::carry::Running;
pub use self::carry::{Carried, Standing, Word, standing};
use self::commit::Commits;
pub use self::failures::Failures;
use self::late::Late;
use self::pace::Pace;
use self::record::explain;
use self::recorder::Recorder;
use self::starts::{Span, Starts};
use self::temporary::Temporary;
use crate::flight::Known;
use crate::gather::gather;
use crate::permit::Permit;
use crate::place::Place;
use crate::prepare::{PrepareError, Prepared, action_of};
use crate::step::{StepEnd, StepRun, artifact_meta};
use crate::stream::Stream;
use crate::words::chain;

/// So many events wait for a commit at most: of a hundred thousand that come together, not all are to be in memory. Each commit writes most pages of the
/// indexes anew, however few of their rows it adds.
const BATCH: usize = 4096;

/// So many steps of the plan are said before the first of them begins, and so many at a time while cells run: of a hundred thousand,
/// none waits for the last one to be said.
const SAID: usize = 512;

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
    /// The project's history, for the reasons of steps that are added.
    pub project: Option<Arc<History>>,
    /// Attempts of the run before this one that go on.
    pub carried: Vec<Carried>,
    /// The files whose change made it begin, for events.
    pub changed: Vec<String>,
    /// What failed in the runs before this one, where they follow each other: it is not tried again as it is.
    pub failures: Option<Failures>,
}

/// What is said about policies outside of the flow.
#[derive(Debug, Clone, Default, PartialEq)]
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
pub struct Summary {
    /// The schedule's word.
    pub outcome: RunOutcome,
    /// Counts.
    pub totals: Totals,
    /// Wall time in milliseconds.
    pub wall_ms: f64,
    /// Whether a failure was this machine's or an installation's.
    pub environment: bool,
    /// Whether cells failed because a file that they read was changed while the flow ran.
    pub moved: bool,
    /// Events that a sink could not write.
    pub unwritten: Option<std::io::Error>,
    /// Attempts that go on in the run that takes its place.
    pub carried: Vec<Carried>,
    /// What the run leaves in memory.
    pub rest: Rest,
}

/// The plan of a run that has ended and all that was known of its steps. To give back a large one piece by piece takes longer
/// than a run in which nothing happens: a process that ends may [`Rest::forget`] it.
#[must_use]
#[derive(Default)]
pub struct Rest {
    _held: Option<Box<Held>>,
}

type Held = (Prepared, Vec<Slot>, Schedule);

impl Rest {
    pub(crate) fn new(prepared: Prepared, slots: Vec<Slot>, schedule: Schedule) -> Self {
        Self { _held: Some(Box::new((prepared, slots, schedule))) }
    }

    /// Leaves it to the end of the process. It holds memory only: no file, no lock, no thread.
    pub fn forget(self) {
        std::mem::forget(self);
    }
}

impl std::fmt::Debug for Rest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rest")
    }
}

/// What the loop waits for.
enum Happened {
    Seen(StepIndex, Live),
    Ended(StepIndex, Box<StepEnd>),
    /// A step's outputs are on the disk, or the reason why they are not.
    Copied(StepIndex, Option<String>),
    Waited(StepIndex),
    /// A commit beside the loop is over.
    Committed,
    /// An attempt goes on without this run.
    Released(StepIndex, Running),
    /// All cells are planned, of which the first run already.
    Planned(Result<Box<Prepared>, PrepareError>),
}

/// What a step gave: made in this run, or part of a recorded result, which is not copied for it.
#[derive(Clone)]
pub(crate) enum Outputs {
    Made(Arc<BTreeMap<PortName, Artifact>>),
    Recorded(Arc<Recorded>),
}

impl Deref for Outputs {
    type Target = BTreeMap<PortName, Artifact>;
    fn deref(&self) -> &Self::Target {
        match self {
            Self::Made(outputs) => outputs,
            Self::Recorded(recorded) => &recorded.outputs,
        }
    }
}

impl Outputs {
    /// As those who plan anew need them.
    pub(crate) fn to_shared(&self) -> Arc<BTreeMap<PortName, Artifact>> {
        match self {
            Self::Made(outputs) => Arc::clone(outputs),
            Self::Recorded(recorded) => Arc::new(recorded.outputs.clone()),
        }
    }
}

/// One step's place in the run.
#[derive(Default)]
pub(crate) struct Slot {
    pub(crate) outputs: Option<Outputs>,
    /// Its last result, waiting for the schedule to say that it is final.
    end: Option<Box<StepEnd>>,
    stop: Option<watch::Sender<Stop>>,
    /// Lets its attempt go on without this run.
    release: Option<oneshot::Sender<()>>,
    attempt: u32,
    /// Attempts that ran out of memory.
    starved: u32,
    started_ms: Option<f64>,
    /// When its present attempt was begun.
    begun_ms: f64,
    ended_ms: Option<f64>,
    reason: String,
    /// It was not tried: it failed so before.
    as_before: bool,
    /// Its result, where it was found while the run went on.
    known: Option<Known>,
}

/// A run of a plan.
pub struct Runner {
    pub(crate) job: Job,
    stream: Stream,
    pub(crate) schedule: Schedule,
    pub(crate) slots: Vec<Slot>,
    /// Steps whose plan has been said, in the plan's order.
    said: usize,
    starts: Starts,
    pub(crate) commands: VecDeque<Command>,
    /// Writes the run into the history.
    recorder: Option<Recorder>,
    rows: Vec<StepRow>,
    kept: Vec<(StepIndex, KeptRow)>,
    results: Vec<ResultRow>,
    commits: Commits,
    /// When the next commit is due.
    pace: Pace,
    /// Whether every step's result stands.
    nothing_runs: bool,
    /// Rights to make results, kept until these are committed.
    flights: Vec<Flight>,
    environment: bool,
    /// Whether it goes on without cells that could not be planned.
    unplanned: bool,
    moved: bool,
    late: Late,
    /// Attempts of the run before, by cell.
    carried: HashMap<CellId, Carried>,
    /// What the plan of the next run has, once there is one.
    standing: Option<Standing>,
    /// Attempts for the next run.
    released: Vec<Carried>,
    /// What was made in this run, by key.
    made: HashMap<Digest, CellId>,
    temporary: Temporary,
    pub(crate) outcome: Option<RunOutcome>,
    /// Open cells, and the steps that give their items.
    pub(crate) awaited: Vec<(CellId, Vec<StepIndex>)>,
    /// Why there is no further plan.
    pub(crate) unknown: Option<String>,
    sender: mpsc::Sender<Happened>,
    receiver: mpsc::Receiver<Happened>,
    /// Where the code of cells stands that are in sessions, once somebody asks.
    origins: OnceLock<HashMap<SessionName, attempt::Origins>>,
}

pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Runner {
    /// A run that is ready to start; says `run.started`.
    #[must_use]
    pub fn new(mut job: Job, mut stream: Stream) -> Self {
        let carried = std::mem::take(&mut job.carried).into_iter();
        let carried = carried.map(|carried| (carried.cell().clone(), carried)).collect();
        let plan = &job.prepared.plan;
        let flow = &job.prepared.flow;
        let options = Options { jobs: job.jobs, keep_going: job.keep_going };
        let mut schedule = Schedule::of_plan(plan, options);
        if !plan.later.is_empty() || job.prepared.others.is_some() {
            schedule = schedule.growing();
        }
        stream.say(Event::RunStarted {
            schema: polyloom_events::SCHEMA.to_owned(),
            run: job.run.clone(),
            flow: flow.name.clone(),
            path: flow.path.display().to_string(),
            started_unix_ms: unix_ms(),
            cells: job.prepared.count() as u64,
            written: job.prepared.written_cells(),
            jobs: u32::try_from(job.jobs.get()).unwrap_or(u32::MAX),
            version: job.place.version.to_owned(),
            changed: job.changed.clone(),
        });
        let (sender, receiver) = mpsc::channel(256);
        let slots = Vec::with_capacity(plan.steps.len());
        let recorder = job.history.take().map(Recorder::new);
        let mut runner = Self {
            stream,
            schedule,
            slots,
            said: 0,
            starts: Starts::default(),
            commands: VecDeque::new(),
            recorder,
            rows: Vec::new(),
            kept: Vec::new(),
            results: Vec::new(),
            commits: Commits::default(),
            pace: Pace::default(),
            nothing_runs: false,
            flights: Vec::new(),
            environment: false,
            unplanned: false,
            moved: false,
            late: Late::default(),
            carried,
            standing: None,
            released: Vec::new(),
            made: HashMap::new(),
            temporary: Temporary::default(),
            outcome: None,
            awaited: Vec::new(),
            unknown: None,
            sender,
            receiver,
            origins: OnceLock::new(),
            job,
        };
        runner.take_note();
        runner.make_room();
        runner.await_items();
        runner
    }

    /// Notes which results are used, and says what the person has to hear of the plan.
    fn take_note(&mut self) {
        let (place, prepared) = (&self.job.place, &mut self.job.prepared);
        if let Err(error) = place.store.touch(&prepared.long_unused, place.unix_ms) {
            tracing::warn!(error = %chain(&error), "the use of results could not be noted");
        }
        if let Err(error) = place.store.mark(&prepared.marks) {
            tracing::warn!(error = %chain(&error), "what the flow says of keeping outputs could not be noted");
        }
        for text in std::mem::take(&mut prepared.warnings) {
            self.stream.say(Event::Warning { text });
        }
    }

    pub(crate) fn warn(&mut self, text: String) {
        self.stream.say(Event::Warning { text });
    }

    /// Gives each step that has none a place.
    fn make_room(&mut self) {
        for step in &self.job.prepared.plan.steps[self.slots.len()..] {
            let outputs = match &step.action {
                Action::Cached(recorded) => Some(Outputs::Recorded(Arc::clone(recorded))),
                Action::Run | Action::Maybe | Action::Skip => None,
            };
            self.slots.push(Slot { outputs, ..Slot::default() });
        }
    }

    /// Says what is planned of steps that were added, and gives each a place.
    pub(crate) fn announce(&mut self) {
        self.make_room();
        self.say_planned(self.slots.len());
    }

    /// Says what is planned of the first so many steps, as far as it has not been. Nothing else is said of a step before this.
    fn say_planned(&mut self, count: usize) {
        let prepared = &self.job.prepared;
        let count = count.min(self.slots.len());
        for at in self.said..count {
            let step = &prepared.plan.steps[at];
            let reason = step.reason.to_string();
            self.slots[at].reason.clone_from(&reason);
            self.stream.say(Event::StepPlanned {
                cell: step.cell.to_string(),
                lang: prepared.flow.cells[step.index.at()].executor.to_string(),
                action: action_of(&step.action),
                reason,
            });
        }
        self.said = self.said.max(count);
    }

    /// Runs a plan in which nothing has to run: no thread, no task, no process.
    #[must_use]
    pub fn run_cached(mut self) -> Summary {
        self.nothing_runs = true;
        self.say_planned(self.slots.len());
        let first = self.schedule.start();
        self.commands.extend(first);
        self.obey();
        self.commit();
        self.look_ahead();
        self.finish()
    }

    /// Runs the plan. `words` are what is said to it meanwhile.
    pub async fn run(mut self, mut words: mpsc::Receiver<Word>) -> Summary {
        let deadline = self.job.timeout.map(|timeout| Instant::now() + timeout);
        let mut timer_open = deadline.is_some();
        let mut words_open = true;
        let first = self.schedule.start();
        self.begin_with(first);
        self.settle();
        self.plan_others();
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
                word = words.recv(), if words_open && self.outcome.is_none() => match word {
                    Some(word) => self.hear(word),
                    None => words_open = false,
                },
                () = std::future::ready(()), if self.said < self.slots.len() => {
                    self.say_planned(self.said + SAID);
                }
                () = until(Some(self.pace.due())), if self.stream.held() > 0 && self.commits.under_way.is_none() => {}
                () = until(deadline), if timer_open => {
                    timer_open = false;
                    let commands = self.schedule.on(Cause::Timeout);
                    self.commands.extend(commands);
                }
            }
            self.settle();
        }
        self.say_planned(self.slots.len());
        self.job.place.workplace.run_is_over();
        // Where runs follow each other, the next one may go on in them.
        if self.job.place.workplace.room() == 0 {
            self.job.place.sessions.end().await;
        }
        self.look_ahead();
        self.finish()
    }

    /// Says what is planned of steps that are to be begun or ended.
    fn begin_with(&mut self, commands: Vec<Command>) {
        // Where results stand, all of them end at once.
        let ends = commands.iter().any(|command| matches!(command, Command::End { .. }));
        self.say_planned(if ends { self.slots.len() } else { SAID });
        self.commands.extend(commands);
    }

    /// Has the others planned, where these are the first cells of a large flow.
    fn plan_others(&mut self) {
        let Some(others) = self.job.prepared.take_others() else { return };
        let (place, history) = (Arc::clone(&self.job.place), self.job.project.clone());
        let sender = self.sender.clone();
        tokio::task::spawn_blocking(move || {
            let planned = others.plan(&place, history.as_deref());
            // Nobody listens where the run is over.
            let _ = sender.blocking_send(Happened::Planned(planned));
        });
    }

    /// Adds the others to the first cells.
    fn on_planned(&mut self, planned: Result<Box<Prepared>, PrepareError>) {
        let first = self.slots.len();
        match planned {
            Ok(prepared) => {
                self.job.prepared = *prepared;
                self.take_note();
                self.make_room();
            }
            Err(error) => {
                self.warn(format!("the other cells could not be planned: {}", chain(&error)));
                self.environment = true;
                self.unplanned = true;
            }
        }
        let steps = &self.job.prepared.plan.steps[first..];
        let specs: Vec<_> = steps.iter().map(StepSpec::from).collect();
        let commands = self.schedule.grow(specs, Growth::Over);
        self.begin_with(commands);
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
            // That is looked at after all that has happened.
            Happened::Committed => {}
            Happened::Released(step, running) => self.on_released(step, running),
            Happened::Planned(planned) => self.on_planned(planned),
        }
    }

    fn cell(&self, step: StepIndex) -> &Cell {
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

    fn on_seen(&mut self, step: StepIndex, seen: Live) {
        let cell = self.name(step);
        let log = |cell, stream, text| Event::Log { cell, stream, text };
        let event = match seen {
            Live::Phase(phase) => {
                let phase = match phase {
                    attempt::Phase::Head | attempt::Phase::Compile { .. } => Phase::Compile,
                    attempt::Phase::Run { .. } => Phase::Run,
                };
                Event::StepStarted { cell, attempt: self.slots[step.at()].attempt, phase }
            }
            Live::Text { stderr, text } => {
                log(cell, if stderr { Channel::Stderr } else { Channel::Stdout }, text)
            }
            Live::Log { level, text } => {
                let stream = match level {
                    LogLevel::Debug => Channel::Debug,
                    LogLevel::Info | LogLevel::Other(_) => Channel::Info,
                    LogLevel::Warn => Channel::Warn,
                    LogLevel::Error => Channel::Error,
                };
                log(cell, stream, text)
            }
            Live::Progress { fraction, text } => Event::Progress { cell, fraction, text },
            Live::Display { media, data } => {
                let text = match String::from_utf8(data) {
                    Ok(text) => text,
                    Err(error) => format!("{} bytes", error.as_bytes().len()),
                };
                Event::Display { cell, media, text }
            }
            Live::Diagnostic(diagnostic) => Event::Diagnostic { cell, diagnostic },
            Live::Limit { limit, stage, used } => {
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
        if let Some((times, began)) = end.meta.times.as_mut().zip(end.began) {
            times.start_ms = self.stream.ms_of(began);
        }
        let index = self.job.prepared.plan.steps[step.at()].index;
        let cell = &self.job.prepared.flow.cells[index.at()];
        let span =
            Span { begun_ms: self.slots[step.at()].begun_ms, ended_ms: self.stream.now_ms() };
        self.starts.saw(&cell.executor, &cell.id, &end, span);
        let given_up = self.starts.given_up(&cell.executor, &self.job.run).is_some();
        let finish = match (&end.outputs, end.meta.outcome) {
            (Some(_), _) if end.known.is_some() => Finish::Shared,
            (Some(_), _) => Finish::Ok,
            (None, Outcome::Cancelled) => Finish::Cancelled,
            (None, Outcome::OutputMissing | Outcome::Denied) => Finish::Failed(Retry::Never),
            (None, _) if given_up => Finish::Failed(Retry::Never),
            (None, _) => Finish::Failed(Retry::Allowed),
        };
        let slot = &mut self.slots[step.at()];
        slot.starved += u32::from(end.meta.outcome == Outcome::OutOfMemory);
        slot.stop = None;
        slot.outputs = end.outputs.clone().map(|outputs| Outputs::Made(Arc::new(outputs)));
        // Others may go on once its result is in the store; if there is none, one of them tries, or this step once more.
        self.flights.extend(end.flight.take().filter(|_| end.outputs.is_some()));
        if let Some(known) = end.known.take() {
            slot.reason = match self.made.get(&known.key) {
                Some(twin) => format!("{twin} of this run has the same inputs and made it"),
                None => "another run made it meanwhile".to_owned(),
            };
            slot.known = Some(known);
        } else if slot.outputs.is_some() {
            let planned = &self.job.prepared.plan.steps[step.at()];
            self.made.insert(planned.key.0, planned.cell.clone());
        }
        slot.end = Some(end);
        let commands = self.schedule.on(Cause::Finished { step, finish });
        self.commands.extend(commands);
    }

    /// Does what is to be done; commits what ended where that is due, and only then says so.
    fn settle(&mut self) {
        self.obey();
        self.look_at_commit();
        if self.outcome.is_some() {
            self.commit();
        } else if self.pace.is_due() {
            self.commit_beside();
        }
        self.grow();
    }

    pub(crate) fn obey(&mut self) {
        while let Some(command) = self.commands.pop_front() {
            if let Some(step) = command.step() {
                self.say_planned(step.at() + 1);
            }
            match command {
                Command::Decide { step } => {
                    let verdict = self.decide(step);
                    let commands = self.schedule.on(Cause::Decided { step, verdict });
                    self.commands.extend(commands);
                }
                Command::Start { step, attempt } => {
                    self.slots[step.at()].attempt = attempt;
                    self.start(step);
                }
                Command::Wait { step, attempt, delay } => {
                    self.say_retried(step, attempt - 1, delay);
                    self.wait(step, delay);
                }
                Command::Hold { step, delay } => self.wait(step, delay),
                Command::Cancel { step } => self.cancel(step),
                Command::Kill { step } => self.stop(step, Stop::Now),
                Command::End { step, ended, attempts } if self.is_late(step) => {
                    self.late.keep(step, ended, attempts);
                }
                Command::End { step, ended, attempts } => {
                    self.end(step, ended, attempts);
                    if self.stream.held() >= BATCH {
                        self.commit();
                    }
                }
                Command::Finish(outcome) => self.outcome = Some(outcome),
            }
        }
    }

    fn wait(&self, step: StepIndex, delay: Duration) {
        let sender = self.sender.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let _ = sender.send(Happened::Waited(step)).await;
        });
    }

    /// Says how an attempt failed after which there is another.
    fn say_retried(&mut self, step: StepIndex, attempt: u32, delay: Duration) {
        // It stays the step's end, should the next attempt never begin.
        let Some(end) = &self.slots[step.at()].end else { return };
        let (mut meta, explanation) = (end.meta.clone(), end.explanation.clone());
        explain(&mut meta, explanation, self.cell(step));
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let (cell, meta) = (self.name(step), Box::new(meta));
        self.stream.say(Event::StepRetried { cell, attempt, delay_ms, meta });
    }

    fn stop(&self, step: StepIndex, stop: Stop) {
        if let Some(sender) = &self.slots[step.at()].stop {
            sender.send_replace(stop);
        }
    }

    fn start(&mut self, step: StepIndex) {
        if !self.cell(step).is_program() {
            return self.start_own(step);
        }
        if self.adopt(step) || self.fails_as_before(step) {
            return;
        }
        let prepared = &self.job.prepared;
        let planned = &prepared.plan.steps[step.at()];
        let cell = &prepared.flow.cells[planned.index.at()];
        if let Some(text) = self.starts.given_up(&cell.executor, &self.job.run) {
            self.on_ended(step, Box::new(StepEnd::not_begun(text)));
            return;
        }
        let now = self.stream.now_ms();
        if let Some(delay) = self.starts.wait(&cell.executor, now) {
            let finish = Finish::PutOff(delay);
            let commands = self.schedule.on(Cause::Finished { step, finish });
            self.commands.extend(commands);
            return;
        }
        let mut run = self.step_run(step);
        run.turn = self.turn(step);
        let (stop, stopped) = watch::channel(Stop::No);
        let slot = &mut self.slots[step.at()];
        slot.stop = Some(stop);
        slot.started_ms.get_or_insert(now);
        slot.begun_ms = now;
        let (seen, heard) = mpsc::channel(64);
        // Whatever becomes of it, the loop hears of an end.
        if run.turn.is_none() || self.job.place.workplace.room() > 0 {
            // It may go on without this run.
            let work = carry::apart(run.run(seen, stopped));
            self.follow(step, Running { heard, work });
        } else {
            let work = carry::caught(run.run(seen, stopped));
            self.look_at(step, Running { heard, work });
        }
    }

    /// All that an attempt at a step needs.
    fn step_run(&self, step: StepIndex) -> StepRun {
        let prepared = &self.job.prepared;
        let planned = &prepared.plan.steps[step.at()];
        let cell = &prepared.flow.cells[planned.index.at()];
        let files = cell.inputs.iter().filter(|(_, input)| matches!(input.source, Source::File(_)));
        let (Some(executor), Some(identity)) =
            (prepared.executors.get(&cell.executor), prepared.identities.get(&cell.executor))
        else {
            // `prepare` refuses a plan that runs a cell without its executor.
            unreachable!("the executor of a step that runs is there");
        };
        StepRun {
            stop: None,
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
            permit: self.job.permits.get(&cell.declared).cloned(),
            policy: self.job.policy.over(&cell.policy),
            limits: self.limits(step),
            flight: self.is_shared(step).then(|| self.content_key(step)),
            coming: self.coming(step, executor),
            spare: self.schedule.live() < polyloom_model::processors(),
            history: self.job.project.clone().zip(Some(prepared.name())),
            turn: None,
            unix_ms: unix_ms(),
        }
    }

    /// Starts what no executor runs.
    fn start_own(&mut self, step: StepIndex) {
        if self.is_open(step) {
            let mut end = StepEnd::not_begun(self.why_open(step));
            end.meta.outcome = Outcome::Failed;
            return self.on_ended(step, Box::new(end));
        }
        if let Some(Permit::Denied(text)) = self.job.permits.get(&self.cell(step).declared) {
            let end = StepEnd::denied(text.clone());
            return self.on_ended(step, Box::new(end));
        }
        let now = self.stream.now_ms();
        self.slots[step.at()].started_ms.get_or_insert(now);
        let (stop, stopped) = watch::channel(Stop::No);
        self.slots[step.at()].stop = Some(stop);
        let place = Arc::clone(&self.job.place);
        let (cell, feeds) = (self.cell(step).clone(), self.edges(step));
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let work = tokio::task::spawn_blocking(move || gather(&place, &cell, &feeds, &stopped));
            let end = work.await.unwrap_or_else(|error| StepEnd::broken(&error));
            let _ = sender.send(Happened::Ended(step, Box::new(end))).await;
        });
    }

    fn end(&mut self, step: StepIndex, ended: Ended, attempts: u32) {
        let cell = self.cell(step);
        let (id, lang) = (cell.id.to_string(), cell.executor.to_string());
        let now = self.stream.now_ms();
        let slot = &mut self.slots[step.at()];
        let end = slot.end.take();
        let mut reason = std::mem::take(&mut slot.reason);
        let as_before = slot.as_before;
        let attempts = if as_before { 0 } else { attempts };
        if slot.started_ms.is_some() {
            slot.ended_ms = Some(now);
        }
        let mut outputs = slot.outputs.clone();
        let mut meta = match (ended, end) {
            (Ended::Ok | Ended::Failed | Ended::Cancelled, Some(end)) => {
                self.environment |= end.environment;
                self.moved |= end.moved;
                let StepEnd { mut meta, explanation, environment, .. } = *end;
                if ended == Ended::Failed && !environment && !as_before {
                    self.keep_failure(step, &meta, explanation.as_ref());
                }
                let index = self.job.prepared.plan.steps[step.at()].index;
                explain(&mut meta, explanation, &self.job.prepared.flow.cells[index.at()]);
                meta
            }
            (Ended::Cached, _) => ExecMeta::new(Outcome::Cached),
            (Ended::Skipped(because), _) => {
                let planned = &self.job.prepared.plan.steps[step.at()];
                if planned.action != Action::Skip || because != Because::Condition {
                    reason = self.because(step, because);
                }
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
        self.temporary.ended(step, meta.outcome);
        // What was not tried is no new knowledge of its cell.
        if !as_before {
            self.remember(step, &meta, &reason, outputs.as_deref());
        }
        if ended == Ended::Ok {
            for (port, artifact) in &meta.artifacts {
                let (cell, port, artifact) = (id.clone(), port.clone(), artifact.clone());
                self.stream.hold(Event::Artifact { cell, port, artifact });
            }
        }
        let meta = Box::new(meta);
        let event = Event::StepFinished { cell: id, lang, reason, attempts, meta };
        if ended == Ended::Cached && self.nothing_runs {
            // Its result was committed by an earlier run; ten thousand of these are not held.
            self.stream.say(event);
        } else {
            self.stream.hold(event);
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}
