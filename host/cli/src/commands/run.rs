//! `polyloom run`: plans, starts what has to run, and lets the sinks tell.

use std::any::Any;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::mem::ManuallyDrop;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use polyloom_events::Sink;
use polyloom_model::{CellId, Flow, Policy, Role, parse_duration};
use polyloom_report::{Document, Jsonl, Options, Progress, Terminal, Verbosity};
use polyloom_runtime::{Job, Place, PolicyWord, Prepared, Runner, Stream, Summary};
use polyloom_schedule::{KeepGoing, RunOutcome};
use polyloom_store::{History, HistoryPlace, NewRun, RunWriter, Store};
use tokio::sync::mpsc;

use super::retention;
use super::socket::{self, Watched};
use crate::args::{Format, Progress as ProgressFlag, RunArgs};
use crate::failure::{Exit, Failure, Outcome};
use crate::permission::{self, Settled};
use crate::screen::Screen;
use crate::world::{World, flow_name, unix_ms};

/// The command.
pub fn run(world: &World, mut args: RunArgs) -> Outcome {
    args.select.settle(&mut args.flow);
    if args.dry_run {
        return super::plan::plan(world, &args.flow, &args.select, args.format);
    }
    let timeout = args.timeout.as_deref().map(parse_duration).transpose();
    let timeout = timeout.map_err(|error| Failure::of(Exit::Usage, &error))?;
    let retention = retention::retention(None, None)?;
    let bounds = super::cache::bounds(|name| std::env::var(name).ok())?;
    let mut flow = world.flow(&args.flow)?;
    args.limits.iter().try_for_each(|words| limit(&mut flow, words))?;
    let flow = Arc::new(flow);
    let store = world.store()?;
    let place = world.place(Arc::clone(&store))?;
    let history = open_history(world, &flow, &store);
    let mut prepared =
        world.prepare(&place, Arc::clone(&flow), history.as_deref(), &args.select)?;
    let folder = history.as_ref().map(|history| history.place().folder());
    let Settled { mut permits, policy } =
        permission::settle(world, &place, &prepared, &args.permissions, folder)?;
    prepared.refuse(&mut permits);
    let done = prepared.plan.is_done();
    if !done {
        // The spawner must be there before the runtime's threads are.
        able(&place, &prepared, &policy)?;
    }
    let writer = history.as_ref().and_then(|history| begin(world, history, &flow));
    let run_id = writer.as_ref().map_or_else(|| "unrecorded".to_owned(), |w| w.id().to_owned());
    let document = Document::new();
    let terminal =
        Terminal::new(Box::new(crate::screen::People), options(world.screen, &flow, args.progress));
    let watched = history.as_ref().zip(writer.as_ref());
    let watched = watched.map(|(history, writer)| Watched::new(history, writer)).transpose()?;
    let sinks = sinks(&args, &terminal, &document, watched.as_ref())?;
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let jobs = args.jobs.and_then(|jobs| NonZeroUsize::new(jobs as usize)).unwrap_or(cores);
    let job = Job {
        prepared,
        place: Arc::clone(&place),
        jobs,
        keep_going: if args.keep_going { KeepGoing::Yes } else { KeepGoing::No },
        timeout,
        no_cache: args.select.no_cache,
        permits,
        policy,
        run: run_id,
        history: writer,
        project: history.clone(),
    };
    let runner = Runner::new(job, Stream::new(sinks, world.started));
    let summary = if done {
        runner.run_cached()
    } else {
        live(world, runner, terminal, watched, args.keep_going)?
    };
    if let Some(error) = &summary.unwritten {
        let text = format!("the run's events could not all be written: {error}");
        world.screen.tell(&Failure::new(Exit::Environment, text).render(world.screen.err));
    }
    if args.format != Format::Text {
        print_document(world, &document, &store, args.format);
    }
    if let Some(history) = &history
        && let Err(error) = history.prune(&retention)
    {
        tracing::warn!(%error, "old runs could not be removed");
    }
    super::cache::tidy(&store, bounds);
    let exit = exit_of(&summary, args.keep_going);
    // The process ends here.
    std::mem::forget(flow);
    summary.rest.forget();
    Ok(exit)
}

/// Puts a limit of the command line, `[CELL.]NAME=VALUE`, over those of the flow.
fn limit(flow: &mut Flow, words: &str) -> Result<(), Failure> {
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

/// Threads of the async runtime itself.
const WORKERS: usize = 2;
/// A thread for what waits for the disk is kept this long when there is nothing to do: another might not be had later.
const KEPT: Duration = Duration::from_secs(3600);

/// The async runtime and a first thread for what waits for the disk, where the machine has threads to give.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let held = Mutex::new(());
    let tried = std::thread::scope(|scope| {
        let _hold = held.lock();
        let thread = || {
            let waits = || drop(held.lock());
            std::thread::Builder::new().spawn_scoped(scope, waits).map(drop)
        };
        (0..=WORKERS).try_for_each(|_| thread())
    });
    let none = |error: io::Error| {
        Failure::new(Exit::Environment, format!("no thread could be started: {error}"))
            .hint("`ulimit -u` and `pids.max` of the control group say how many there may be")
    };
    tried.map_err(none)?;
    // Others may have taken them since, and where the runtime gets no thread it panics: that is the machine's fault, too. What
    // it has begun by then can't be ended, only left.
    let build = || -> io::Result<_> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .thread_keep_alive(KEPT)
            .enable_all()
            .build()
            .map(ManuallyDrop::new)?;
        let first = runtime.spawn_blocking(|| ());
        runtime.block_on(first).map_err(io::Error::other)?;
        Ok(runtime)
    };
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let built = std::panic::catch_unwind(build);
    std::panic::set_hook(told);
    let words = |why: Box<dyn Any + Send>| why.downcast_ref().cloned().unwrap_or_else(String::new);
    let built = built.unwrap_or_else(|why| Err(io::Error::other(words(why)))).map_err(none)?;
    Ok(ManuallyDrop::into_inner(built))
}

/// Starts the spawner. Where it can start no cell of the plan at all, that is told once and no run begins.
fn able(place: &Place, prepared: &Prepared, word: &PolicyWord) -> Result<(), Failure> {
    let mut policies: Vec<Policy> = Vec::new();
    let runs = prepared.plan.all().filter(|step| step.action.may_run());
    let cells = runs.map(|step| &prepared.flow.cells[step.index.at()]);
    for cell in cells.filter(|cell| cell.is_program() || matches!(cell.role, Role::Open)) {
        let wanted = word.over(&cell.policy);
        if !policies.contains(&wanted) {
            policies.push(wanted);
        }
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

/// Runs on the async runtime, with ticks for the terminal, a socket for other terminals, and signals for the runner.
fn live(
    world: &World,
    runner: Runner,
    terminal: Terminal,
    watched: Option<Watched>,
    keep_going: bool,
) -> Result<Summary, Failure> {
    let runtime = runtime()?;
    let summary = runtime.block_on(async {
        let (sender, interrupts) = mpsc::channel(4);
        let (stop, stops) = mpsc::channel(1);
        let server = watched.as_ref().and_then(|watched| watched.open(world, stop));
        tokio::spawn(socket::interrupts(stops, sender));
        let ticks = tokio::spawn(async move {
            let started = std::time::Instant::now();
            let mut tick = tokio::time::interval(std::time::Duration::from_millis(100));
            loop {
                tick.tick().await;
                terminal.tick(started.elapsed().as_secs_f64() * 1e3);
                if let Some(watched) = &watched {
                    watched.pass_on();
                }
            }
        });
        let summary = runner.run(interrupts).await;
        ticks.abort();
        if let Some(server) = server {
            server.finish(exit_of(&summary, keep_going) as u8).await;
        }
        summary
    });
    // Blocking tasks of attempts that were killed may still be reading; nobody waits for them.
    runtime.shutdown_background();
    Ok(summary)
}

fn open_history(world: &World, flow: &Flow, store: &Store) -> Option<Arc<History>> {
    let history = match world.history(&flow.root, store) {
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

fn begin(world: &World, history: &Arc<History>, flow: &Flow) -> Option<RunWriter> {
    let argv = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let run = NewRun { started_unix_ms: unix_ms(), flow: flow_name(flow), argv };
    match history.begin(&run) {
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
pub fn options(screen: Screen, flow: &Flow, progress: ProgressFlag) -> Options {
    let root = flow.root.clone();
    let here = root.as_os_str().is_empty() || root == Path::new(".");
    Options {
        project: (!here).then(|| root.display().to_string()),
        source: Some(Box::new(move |file, line, count| source_lines(&root, file, line, count))),
        ..plain_options(screen, progress)
    }
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
        project: None,
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

fn sinks(
    args: &RunArgs,
    terminal: &Terminal,
    document: &Document,
    watched: Option<&Watched>,
) -> Result<Vec<Box<dyn Sink>>, Failure> {
    let mut sinks: Vec<Box<dyn Sink>> = vec![Box::new(terminal.clone())];
    if let Some(path) = &args.events {
        let out: Box<dyn Write + Send> = if path.as_os_str() == "-" {
            Box::new(io::stdout())
        } else {
            let file = File::create(path).map_err(|error| {
                Failure::new(Exit::Usage, format!("`{}` can't be written: {error}", path.display()))
            })?;
            Box::new(BufWriter::new(file))
        };
        sinks.push(Box::new(Jsonl::new(out)));
    }
    match args.format {
        Format::Text => {}
        Format::Json => sinks.push(Box::new(document.clone())),
        Format::Jsonl => sinks.push(Box::new(Jsonl::new(Box::new(io::stdout())))),
    }
    // Behind the others: a face shows nothing later for being recorded.
    sinks.extend(watched.into_iter().flat_map(Watched::sinks));
    Ok(sinks)
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
        RunOutcome::Interrupted => Exit::Interrupted,
        RunOutcome::TimedOut => Exit::Timeout,
        RunOutcome::Failed if summary.environment => Exit::Environment,
        RunOutcome::Failed if keep_going && some_went_well => Exit::Partial,
        RunOutcome::Failed => Exit::Failed,
    }
}
