//! `polyloom run`: plans, starts what has to run, and lets the sinks tell.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use polyloom_events::Sink;
use polyloom_model::{Flow, parse_duration};
use polyloom_report::{Document, Jsonl, Options, Progress, Terminal, Verbosity};
use polyloom_runtime::{Job, Runner, Stream, Summary};
use polyloom_schedule::{KeepGoing, RunOutcome};
use polyloom_store::{History, HistoryPlace, NewRun, RunWriter, Store};
use tokio::sync::mpsc;

use super::socket::{self, Watched};
use crate::args::{Format, Progress as ProgressFlag, RunArgs};
use crate::failure::{Exit, Failure, Outcome};
use crate::screen::Screen;
use crate::world::{World, flow_name, unix_ms};

/// Runs of a project that are kept.
const KEEP_RUNS: usize = 100;

/// The command.
pub fn run(world: &World, mut args: RunArgs) -> Outcome {
    args.select.settle(&mut args.flow);
    if args.dry_run {
        return super::plan::plan(world, &args.flow, &args.select, args.format);
    }
    let timeout = args.timeout.as_deref().map(parse_duration).transpose();
    let timeout = timeout.map_err(|error| Failure::of(Exit::Usage, &error))?;
    let flow = Arc::new(world.flow(&args.flow)?);
    let store = world.store()?;
    let place = world.place(Arc::clone(&store))?;
    let history = open_history(world, &flow, &store);
    let prepared = world.prepare(&place, Arc::clone(&flow), history.as_deref(), &args.select)?;
    let writer = history.as_ref().and_then(|history| begin(world, history, &flow));
    let run_id = writer.as_ref().map_or_else(|| "unrecorded".to_owned(), |w| w.id().to_owned());
    let document = Document::new();
    let terminal =
        Terminal::new(Box::new(crate::screen::People), options(world.screen, &flow, args.progress));
    let watched = history.as_ref().zip(writer.as_ref());
    let watched = watched.map(|(history, writer)| Watched::new(history, writer)).transpose()?;
    let sinks = sinks(&args, &terminal, &document, watched.as_ref())?;
    let done = prepared.plan.is_done();
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let jobs = args.jobs.and_then(|jobs| NonZeroUsize::new(jobs as usize)).unwrap_or(cores);
    let job = Job {
        prepared,
        place: Arc::clone(&place),
        jobs,
        keep_going: if args.keep_going { KeepGoing::Yes } else { KeepGoing::No },
        timeout,
        no_cache: args.select.no_cache,
        run: run_id,
        history: writer,
    };
    let runner = Runner::new(job, Stream::new(sinks, world.started));
    let summary = if done {
        runner.run_cached()
    } else {
        // The spawner must be there before the runtime's threads are.
        place
            .workplace
            .spawner()
            .map_err(|error| Failure::of(Exit::Environment, &error).hint("polyloom doctor"))?;
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
        && let Err(error) = history.prune(KEEP_RUNS)
    {
        tracing::warn!(%error, "old runs could not be removed");
    }
    Ok(exit_of(&summary, args.keep_going))
}

/// Runs on the async runtime, with ticks for the terminal, a socket for other terminals, and signals for the runner.
fn live(
    world: &World,
    runner: Runner,
    terminal: Terminal,
    watched: Option<Watched>,
    keep_going: bool,
) -> Result<Summary, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::of(Exit::Environment, &error))?;
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
