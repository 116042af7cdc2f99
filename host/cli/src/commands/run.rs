//! `polyloom run`: plans, starts what has to run, and lets the sinks tell.

mod brake;
mod files;
pub mod live;
mod names;
mod output;
mod planned;
mod same;
mod streams;
mod watch;

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use polyloom_events::{Sink, UNRECORDED};
use polyloom_load::Loaded;
use polyloom_model::{CellId, Flow, Policy, Role, parse_duration, processors};
use polyloom_report::{
    Document, Options, Progress, Prompt, Terminal, Verbosity, escape_line, quote,
};
use polyloom_runtime::{
    Carried, Failures, Job, Permit, Place, PolicyWord, Prepared, Runner, Stream, Summary,
};
use polyloom_schedule::{KeepGoing, RunOutcome};
use polyloom_store::{Bounds, History, HistoryPlace, NewRun, Retention, RunWriter, Store};
use tokio::sync::mpsc;

use self::streams::Streams;
pub use self::streams::trace;
use super::retention;
use super::socket::{Interrupts, Signals, Watched};
use crate::args::{FlowArgs, Format, Progress as ProgressFlag, RunArgs, Select};
use crate::failure::{Exit, Failure, Outcome};
use crate::permission::{self, Settled};
use crate::screen::Screen;
use crate::world::{World, argument, flow_name, unix_ms};

/// The command.
pub fn run(world: &World, mut args: RunArgs) -> Outcome {
    args.select.settle(&mut args.flow);
    if args.dry_run {
        let RunArgs { flow, select, permissions, format, .. } = &args;
        return super::plan::plan(world, flow, select, permissions, *format);
    }
    if let Some(cell) = args.interactive.clone() {
        return super::repl::within(world, &args, &cell);
    }
    let wanted = output::Wanted::of(&args)?;
    let exit = go(world, args)?;
    match wanted {
        Some(wanted) if exit == Exit::Ok => wanted.write(world),
        _ => Ok(exit),
    }
}

fn go(world: &World, args: RunArgs) -> Outcome {
    let mut asked = Asked::new(args)?;
    if asked.args.watch {
        return watch::watch(world, asked);
    }
    let store = world.store()?;
    let place = world.place_that_writes(Arc::clone(&store), streams::files(&asked.args))?;
    let same = asked.key(world);
    if let Some(key) = &same
        && let Some(exit) = asked.same(world, &place, key)?
    {
        return Ok(exit);
    }
    if is_long(&asked.args.flow) {
        // It gets ready while the flow is read. What is wrong with it is told when there is something to run.
        let _ = place.workplace.begin();
    }
    let loaded = world.read(&asked.args.flow);
    asked.warned = !loaded.report.is_empty();
    let flow = asked.told(world, loaded)?;
    // Held to the end of the process: to free a large one takes a while.
    let _held = std::mem::ManuallyDrop::new(Arc::clone(&flow));
    let ready = asked.ready(world, flow, &place, World::begin)?;
    let done = ready.prepared.plan.is_done();
    if !done {
        // The spawner must be there before the runtime's threads are.
        able(&place, &ready.prepared, &ready.policy)?;
    }
    let fresh = if done { asked.fresh(world, &place, &ready) } else { None };
    let one = ready.prepared.is_one();
    let begun = asked.begin(world, ready, &place, Before::default(), world.started)?;
    let Begun { runner, terminal, watched, after } = begun;
    let (summary, runtime) = if done {
        (runner.run_cached(), None)
    } else {
        let runtime = if one { live::runtime_of_one()? } else { live::runtime()? };
        let (sender, words) = mpsc::channel(4);
        let (stops, asked_for) = mpsc::channel(1);
        let summary = runtime.block_on(async {
            let interrupts = Interrupts::new(Signals::listen(), asked_for);
            let interrupts = tokio::spawn(interrupts.pass_on(sender, terminal.clone()));
            let shown = live::Shown { terminal, watched, screen: world.screen, stops };
            let summary = shown.run(runner, words, asked.args.keep_going).await;
            interrupts.abort();
            summary
        });
        (summary, Some(runtime))
    };
    let exit = asked.end(world, &store, &after, &summary);
    if let Some(runtime) = runtime {
        if exit != Exit::Interrupted && place.heads.any() {
            runtime.block_on(heads(&place));
        }
        // Blocking tasks of attempts that were killed may still be reading; nobody waits for them.
        runtime.shutdown_background();
    }
    if let Some((fresh, key)) = fresh.zip(same) {
        after.keep(fresh, &store, &key);
    }
    // The process ends here.
    summary.rest.forget();
    Ok(exit)
}

/// Whether reading the flow takes longer than starting the spawner.
fn is_long(flow: &FlowArgs) -> bool {
    const LONG: u64 = 1 << 20;
    let file = polyloom_load::find_flow(&argument(flow)).ok();
    file.and_then(|file| file.metadata().ok()).is_some_and(|meta| meta.len() >= LONG)
}

/// Waits for the heads that are being compiled for the next run: all that is to be said has been said. Whoever is in a hurry says so with Ctrl-C.
async fn heads(place: &Place) {
    /// Half a second is usual. What is not made by then is begun anew by the next run that wants it.
    const PATIENCE: Duration = Duration::from_secs(5);
    let mut signals = Signals::listen();
    tokio::select! {
        () = place.heads.settle() => {}
        () = signals.next() => {}
        () = tokio::time::sleep(PATIENCE) => {}
    }
}

/// What was asked for, understood.
struct Asked {
    args: RunArgs,
    timeout: Option<Duration>,
    retention: Retention,
    bounds: Bounds,
    /// Where events are written, once there are any.
    streams: Option<Streams>,
    /// Whether there were warnings of the flow.
    warned: bool,
}

/// A plan, and the word on what its cells ask for.
struct Ready {
    flow: Arc<Flow>,
    history: Option<Arc<History>>,
    prepared: Prepared,
    permits: HashMap<CellId, Permit>,
    policy: PolicyWord,
}

/// A way to make a plan.
type Prepare =
    fn(&World, &Place, Arc<Flow>, Option<&History>, &Select) -> Result<Prepared, Failure>;

/// What there was before a run.
#[derive(Default)]
struct Before {
    /// Attempts that go on.
    carried: Vec<Carried>,
    /// Files that were changed.
    changed: Vec<String>,
    /// What failed.
    failures: Option<Failures>,
    /// Whether it is to be a run of the history.
    record: Record,
}

impl Ready {
    /// Whether the results that stand are those that the history has of their cells.
    fn is_known(&self) -> bool {
        let Some(history) = &self.history else { return true };
        let known = self.prepared.is_known(history);
        known.unwrap_or_else(|error| {
            tracing::warn!(%error, "the history can't be read");
            true
        })
    }
}

/// Whether what happens is a run of the history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Record {
    /// It is.
    #[default]
    Always,
    /// It is if a cell runs.
    IfSomeRan,
    /// It is not.
    Never,
}

/// A run that is about to begin, and what shows it.
struct Begun {
    runner: Runner,
    terminal: Terminal,
    watched: Option<Watched>,
    after: After,
}

/// What is needed when it is over.
struct After {
    history: Option<Arc<History>>,
    /// Its id, where it is recorded.
    run: Option<String>,
    record: Record,
    document: Document,
}

/// Who sees a run.
struct Faces {
    terminal: Terminal,
    document: Document,
    watched: Option<Watched>,
    sinks: Vec<Box<dyn Sink>>,
}

impl Asked {
    fn new(args: RunArgs) -> Result<Self, Failure> {
        let timeout = args.timeout.as_deref().map(parse_duration).transpose();
        let timeout = timeout.map_err(|error| Failure::of(Exit::Usage, &error))?;
        let retention = retention::retention(None, None)?;
        let bounds = super::cache::bounds(|name| std::env::var(name).ok())?;
        Ok(Self { args, timeout, retention, bounds, streams: None, warned: false })
    }

    /// The flow as it is now.
    fn flow(&self, world: &World) -> Result<Arc<Flow>, Failure> {
        self.told(world, world.read(&self.args.flow))
    }

    /// Tells what was found in a flow that was read.
    fn told(&self, world: &World, loaded: Loaded) -> Result<Arc<Flow>, Failure> {
        world.tell(&loaded);
        self.flow_of(world, loaded)
    }

    /// A flow that was read, with the limits that were asked for.
    fn flow_of(&self, world: &World, loaded: Loaded) -> Result<Arc<Flow>, Failure> {
        let mut flow = world.flow_of(&self.args.flow, loaded)?;
        self.args.limits.iter().try_for_each(|words| limit(&mut flow, words))?;
        Ok(Arc::new(flow))
    }

    /// Its plan, made by one of the ways to make one.
    fn ready(
        &self,
        world: &World,
        flow: Arc<Flow>,
        place: &Arc<Place>,
        prepare: Prepare,
    ) -> Result<Ready, Failure> {
        if self.args.locked {
            super::lock::hold(world, place, &flow)?;
        }
        let history = open_history(world, &flow.root, &place.store);
        let select = &self.args.select;
        let mut prepared = prepare(world, place, Arc::clone(&flow), history.as_deref(), select)?;
        let folder = history.as_ref().map(|history| history.place().folder());
        let Settled { mut permits, policy, open: _ } =
            permission::settle(world, place, &prepared, &self.args.permissions, folder)?;
        prepared.refuse(&mut permits);
        Ok(Ready { flow, history, prepared, permits, policy })
    }

    /// Its run. Times count from `started`.
    fn begin(
        &mut self,
        world: &World,
        ready: Ready,
        place: &Arc<Place>,
        before: Before,
        started: Instant,
    ) -> Result<Begun, Failure> {
        let Ready { flow, history, prepared, permits, policy } = ready;
        // A file that can't be written is told before there is a run.
        streams(&mut self.streams, &self.args)?;
        let begins = history.as_ref().filter(|_| before.record != Record::Never);
        let writer = begins.and_then(|history| begin(world, history, &flow));
        let run = writer.as_ref().map(|writer| writer.id().to_owned());
        let recorded = history.as_ref().zip(writer.as_ref());
        let faces = self.faces(world, &flow.root, recorded)?;
        let Faces { terminal, document, watched, sinks } = faces;
        let jobs = self.jobs();
        let args = &self.args;
        let job = Job {
            prepared,
            place: Arc::clone(place),
            jobs,
            keep_going: if args.keep_going { KeepGoing::Yes } else { KeepGoing::No },
            timeout: self.timeout,
            no_cache: args.select.no_cache,
            permits,
            policy,
            run: run.clone().unwrap_or_else(|| UNRECORDED.to_owned()),
            history: writer,
            project: history.clone(),
            carried: before.carried,
            changed: before.changed,
            failures: before.failures,
        };
        let runner = Runner::new(job, Stream::new(sinks, started));
        let after = After { history, run, record: before.record, document };
        Ok(Begun { runner, terminal, watched, after })
    }

    /// Those who see a run of the flow in `root`.
    fn faces(
        &mut self,
        world: &World,
        root: &Path,
        recorded: Option<(&Arc<History>, &RunWriter)>,
    ) -> Result<Faces, Failure> {
        let args = &self.args;
        let document = Document::new();
        let options = Options {
            prompt: Some(prompt(world, args.flow.flow.clone())),
            ..options(world.screen, root, args.progress)
        };
        let terminal = Terminal::new(Box::new(crate::screen::People), options);
        let watched =
            recorded.map(|(history, writer)| Watched::new(history, writer)).transpose()?;
        let streams = streams(&mut self.streams, args)?;
        let sinks = sinks(args.format, streams, &terminal, &document, watched.as_ref());
        Ok(Faces { terminal, document, watched, sinks })
    }

    /// Cells that run at once.
    fn jobs(&self) -> NonZeroUsize {
        let cores = NonZeroUsize::new(processors()).unwrap_or(NonZeroUsize::MIN);
        self.args.jobs.and_then(|jobs| NonZeroUsize::new(jobs as usize)).unwrap_or(cores)
    }

    /// What is to be done when it is over.
    fn end(&self, world: &World, store: &Store, after: &After, summary: &Summary) -> Exit {
        if let Some(error) = &summary.unwritten {
            let text = format!("the run's events could not all be written: {error}");
            world.screen.tell(&Failure::new(Exit::Environment, text).render(world.screen.err));
        }
        if self.args.format != Format::Text {
            print_document(world, &after.document, store, self.args.format);
        }
        if let Some(history) = &after.history
            && let Err(error) = history.prune(&self.retention)
        {
            tracing::warn!(%error, "old runs could not be removed");
        }
        super::cache::tidy(store, self.bounds);
        exit_of(summary, self.args.keep_going)
    }
}

/// Puts a limit of the command line, `[CELL.]NAME=VALUE`, over those of the flow.
pub fn limit(flow: &mut Flow, words: &str) -> Result<(), Failure> {
    let wrong = |why: String| {
        Failure::new(Exit::Usage, format!("`--limit {}`: {why}", words.escape_debug()))
            .hint("`--limit timeout=30s` for every cell, `--limit CELL.memory=4GiB` for one")
    };
    let (place, value) =
        words.split_once('=').ok_or_else(|| wrong("it has no `=VALUE`".to_owned()))?;
    let (cell, key) = place.rsplit_once('.').map_or((None, place), |(cell, key)| (Some(cell), key));
    let meant = |id: &CellId| cell.is_none_or(|cell| id.as_str() == cell);
    if !flow.cells.iter().any(|cell| meant(&cell.id)) {
        let cells: Vec<_> = flow.cells.iter().take(20).map(|cell| cell.id.as_str()).collect();
        let cell = cell.unwrap_or_default().escape_debug();
        return Err(wrong(format!("the flow has no cell `{cell}`; it has {}", cells.join(", "))));
    }
    for cell in flow.cells.iter_mut().filter(|cell| meant(&cell.id)) {
        cell.limits.set(key, value).map_err(|error| wrong(error.to_string()))?;
        cell.lines.keys.insert(key.to_owned(), 0);
    }
    Ok(())
}

/// Starts the spawner. Where it can start no cell of the plan at all, that is told once and no run begins.
fn able(place: &Place, prepared: &Prepared, word: &PolicyWord) -> Result<(), Failure> {
    let mut policies: Vec<Policy> = Vec::new();
    let programs =
        prepared.may_run().filter(|cell| cell.is_program() || matches!(cell.role, Role::Open));
    // Cells that say nothing of it have the settings of their neighbours.
    let mut last = None;
    for settings in programs.map(|cell| &cell.settings) {
        if last.replace(settings).is_some_and(|last| Arc::ptr_eq(last, settings)) {
            continue;
        }
        let wanted = word.over(&settings.policy);
        if !policies.contains(&wanted) {
            policies.push(wanted);
        }
    }
    let mut first = prepared.may_run();
    let one = first.next();
    // A cell alone that has no inputs is as a rule all that an edit made stale, and may find everything waiting.
    if first.next().is_some() || one.is_some_and(|cell| !cell.inputs.is_empty()) {
        let _ = place.workplace.begin();
    }
    let refusals: Vec<_> =
        policies.iter().map(|policy| place.workplace.meets(policy).err()).collect();
    match refusals.first() {
        Some(Some(error)) if refusals.iter().all(Option::is_some) => {
            Err(Failure::of(Exit::Environment, error).hint("polyloom doctor"))
        }
        _ => Ok(()),
    }
}

fn open_history(world: &World, root: &Path, store: &Store) -> Option<Arc<History>> {
    let history = match world.history(root, store) {
        Ok(history) => history,
        Err(failure) => {
            world.screen.tell(&failure.render(world.screen.err));
            world.screen.note("warning: this run will not be recorded\n");
            return None;
        }
    };
    if let HistoryPlace::Store { folder, reason, .. } = history.place() {
        let text = format!(
            "warning: the project can't hold its history ({}); it is kept in {}\n",
            polyloom_report::escape_line(&reason.to_string()),
            folder.display()
        );
        world.screen.note(&text);
    }
    Some(history)
}

/// A run of a flow file that begins now.
fn new_run(path: &Path) -> NewRun {
    let argv = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    NewRun { started_unix_ms: unix_ms(), flow: flow_name(path), argv }
}

fn begin(world: &World, history: &Arc<History>, flow: &Flow) -> Option<RunWriter> {
    match history.begin(&new_run(&flow.path)) {
        Ok(writer) => Some(writer),
        Err(error) => {
            let failure = Failure::of(Exit::Environment, &error);
            world.screen.tell(&failure.render(world.screen.err));
            world.screen.note("warning: this run will not be recorded\n");
            None
        }
    }
}

/// The terminal's options for a live run or a replay.
pub fn options(screen: Screen, root: &Path, progress: ProgressFlag) -> Options {
    let root = root.to_owned();
    let here = root.as_os_str().is_empty() || root == Path::new(".");
    Options {
        project: (!here).then(|| root.display().to_string()),
        source: Some(Box::new(move |file, line, count| source_lines(&root, file, line, count))),
        ..plain_options(screen, progress)
    }
}

/// What opens a cell of a flow as it was named, by languages that have a prompt.
fn prompt(world: &World, flow: Option<PathBuf>) -> Prompt {
    let opens = world.languages.all().filter(|it| super::repl::opens(it).is_ok());
    let opens: BTreeSet<String> = opens.map(|it| it.id.to_string()).collect();
    let flow = flow.map(|flow| format!(" {}", quote(&flow.to_string_lossy()))).unwrap_or_default();
    Box::new(move |cell, lang| {
        opens.contains(lang).then(|| format!("polyloom run -i {}{flow}", quote(&escape_line(cell))))
    })
}

/// The same without source lines.
pub fn plain_options(screen: Screen, progress: ProgressFlag) -> Options {
    Options {
        tty: screen.err_tty,
        color: screen.err.color,
        width: screen.columns.unwrap_or(100),
        verbosity: match screen.verbosity {
            i32::MIN..=-1 => Verbosity::Quiet,
            0 => Verbosity::Normal,
            1 => Verbosity::Verbose,
            2..=i32::MAX => Verbosity::Debug,
        },
        progress: match progress {
            ProgressFlag::Auto => Progress::Auto,
            ProgressFlag::Plain => Progress::Plain,
            ProgressFlag::Tty => Progress::Tty,
        },
        source: None,
        prompt: None,
        project: None,
        run: None,
    }
}

/// Lines of a file of the flow; a diagnostic may name any file, only those below the root are read.
fn source_lines(root: &Path, file: &str, line: u32, count: u32) -> Vec<String> {
    let path = Path::new(file);
    let path = path.strip_prefix(root).unwrap_or(path);
    let Ok(folder) = polyloom_load::Root::open(root) else { return Vec::new() };
    let Ok(bytes) = folder.read(path) else { return Vec::new() };
    let text = String::from_utf8_lossy(&bytes);
    let skip = line.saturating_sub(1) as usize;
    text.lines().skip(skip).take(count as usize).map(str::to_owned).collect()
}

/// Where events are written: opened once for all runs of a command.
fn streams(kept: &mut Option<Streams>, args: &RunArgs) -> Result<Streams, Failure> {
    let streams = match kept {
        Some(streams) => streams,
        None => kept.insert(Streams::open(args)?),
    };
    Ok(streams.clone())
}

fn sinks(
    format: Format,
    streams: Streams,
    terminal: &Terminal,
    document: &Document,
    watched: Option<&Watched>,
) -> Vec<Box<dyn Sink>> {
    let mut sinks: Vec<Box<dyn Sink>> = vec![Box::new(terminal.clone()), Box::new(streams)];
    if format == Format::Json {
        sinks.push(Box::new(document.clone()));
    }
    // Behind the others: a face shows nothing later for being recorded.
    sinks.extend(watched.into_iter().flat_map(Watched::sinks));
    sinks
}

/// Prints the document with the places of its outputs in the store.
fn print_document(world: &World, document: &Document, store: &Store, format: Format) {
    if format != Format::Json {
        return;
    }
    let Some(mut run) = document.get() else { return };
    for cell in &mut run.cells {
        for output in cell.outputs.values_mut() {
            output.path = super::show::place_of(store, &output.digest, &output.r#type)
                .map(|path| path.display().to_string());
        }
    }
    world.screen.json(&run);
}

fn exit_of(summary: &Summary, keep_going: bool) -> Exit {
    let some_went_well = summary.totals.ok + summary.totals.cached > 0;
    match summary.outcome {
        RunOutcome::Ok if summary.unwritten.is_some() => Exit::Environment,
        RunOutcome::Ok => Exit::Ok,
        RunOutcome::Interrupted | RunOutcome::Superseded => Exit::Interrupted,
        RunOutcome::TimedOut => Exit::Timeout,
        RunOutcome::Failed if summary.environment => Exit::Environment,
        RunOutcome::Failed if keep_going && some_went_well => Exit::Partial,
        RunOutcome::Failed => Exit::Failed,
    }
}
