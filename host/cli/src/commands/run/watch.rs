//! `run --watch`: runs, waits for a change of what the flow is made of, and runs again what that change made stale.
//!
//! One process for all runs: the spawner, the store and waiting workers are kept. A change while a run goes on makes a new plan at once; what that plan
//! needs as it is goes on, the rest is ended. What the run's own cells write begins the next one when they are through.

mod rest;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use polyloom_events::{Totals, Waits};
use polyloom_load::{Code, Problem, Source, parse_manifest};
use polyloom_model::{CellId, Flow, Manifest};
use polyloom_protocol::meta::Diagnostic;
use polyloom_report::Terminal;
use polyloom_runtime::{Carried, Failures, Place, Sources, Summary, Word, sources, standing};
use polyloom_schedule::RunOutcome;
use polyloom_server::{Server, Stop};
use polyloom_store::History;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::brake::Brake;
use super::files::{Change, Files};
use super::live::{self, Shown};
use super::planned::Planned;
use super::streams::{Streams, diagnostic};
use super::{After, Asked, Before, Begun, Ready, Record, able, streams};
use crate::args::Format;
use crate::commands::socket::{self, Interrupts, Signals};
use crate::failure::{Exit, Failure, Outcome};
use crate::permission::POLICY;
use crate::world::World;

/// So many workers are kept waiting for the next change: of the cells that ran last.
const WAITING: usize = 8;

/// A run that goes on.
struct Going {
    task: JoinHandle<Summary>,
    words: mpsc::Sender<Word>,
    terminal: Terminal,
    after: After,
}

impl Going {
    /// The first interrupt ends it gently, the second at once.
    fn interrupt(&self, times: u32, interrupts: &Interrupts) {
        interrupts.tell(&self.terminal);
        for _ in 0..times {
            let _ = self.words.try_send(Word::Interrupt);
        }
    }
}

/// Why there is no run.
enum Trouble {
    /// Something that the next change may mend, and where it is in the flow's files.
    Mendable(Failure, Vec<Diagnostic>),
    /// The watch can't go on.
    Final(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Mendable(failure, Vec::new())
    }
}

/// What happened.
enum Next {
    Changed(Change),
    Ended(Result<Summary, tokio::task::JoinError>),
    Interrupted(u32),
}

struct Session<'w> {
    world: &'w World,
    asked: Asked,
    place: Arc<Place>,
    runtime: &'w Runtime,
    files: Files,
    streams: Streams,
    /// When what is done now was begun by a change.
    since: Instant,
    interrupts: Interrupts,
    stops: mpsc::Sender<Stop>,
    server: Option<Server>,
    going: Option<Going>,
    planned: Option<Planned>,
    brake: Brake,
    failures: Failures,
    /// The cells that failed as before in the last run, where it had nothing else to do.
    failed: Vec<CellId>,
    /// What begins the next run once this one is over: its own cells wrote what the flow reads, or something was lost under it.
    then: Option<Change>,
    /// The flow file, and the folder that it was named in.
    path: PathBuf,
    here: PathBuf,
    /// What the flow was made of when it was read last.
    wanted: Sources,
    /// The last plan was the first with a new store and a new spawner.
    renewed: bool,
    /// There was no plan the last time.
    broken: bool,
    /// What was found in the flow's files the last time.
    found: Vec<Diagnostic>,
    /// What is in the way of a run, as it was told. While it stays so, it is not told again.
    told: Option<(String, Vec<Diagnostic>)>,
    /// How the last run ended.
    last: Option<RunOutcome>,
    /// A signal was heard: there is no further run.
    leaving: bool,
}

/// The command.
pub fn watch(world: &World, mut asked: Asked) -> Outcome {
    if asked.args.format == Format::Json {
        let text = "`--format json` is one document for one run; with `--watch` there are many";
        return Err(Failure::new(Exit::Usage, text).hint("--format jsonl"));
    }
    let argument = asked.args.flow.flow.clone().unwrap_or_else(|| ".".into());
    // A flow that is not there is a mistake of the command; one with mistakes can be mended.
    let path = match polyloom_load::find_flow(&argument) {
        Ok(path) => path,
        Err(_) => return asked.flow(world).map(|_| Exit::Usage),
    };
    let here = std::env::current_dir().map_err(|error| Failure::of(Exit::Environment, &error))?;
    let streams = streams(&mut asked.streams, &asked.args)?;
    // Before the runtime's threads are there.
    let place = place(world, &streams)?;
    // Its folder is there before anything in it is watched. What is wrong with it is told by the first run.
    let root = path.parent().unwrap_or(Path::new(""));
    let history = world.history(root, &place.store);
    let runtime = live::runtime()?;
    let (stops, asked_for) = mpsc::channel(1);
    let interrupts = runtime.block_on(async { Interrupts::new(Signals::listen(), asked_for) });
    let files = Files::new(here.clone(), streams.files())?;
    let mut session = Session {
        world,
        asked,
        place,
        runtime: &runtime,
        files,
        streams,
        since: world.started,
        interrupts,
        stops,
        server: None,
        going: None,
        planned: None,
        brake: Brake::default(),
        failures: Failures::default(),
        failed: Vec::new(),
        then: None,
        path,
        here,
        wanted: Sources::default(),
        renewed: false,
        broken: false,
        found: Vec::new(),
        told: None,
        last: None,
        leaving: false,
    };
    if let Ok(history) = history {
        session.open(&history);
    }
    let exit = session.go();
    let code = exit.as_ref().map_or_else(|failure| failure.exit, |exit| *exit);
    session.over(code);
    if let Some(server) = session.server.take() {
        runtime.block_on(server.finish(code as u8));
    }
    // Those of the daemon go on.
    runtime.block_on(session.place.sessions.end());
    // Blocking tasks of attempts that were killed may still be reading; nobody waits for them.
    runtime.shutdown_background();
    exit
}

/// The store and the spawner of sandboxes, for all runs.
fn place(world: &World, streams: &Streams) -> Result<Arc<Place>, Failure> {
    let place = world.place_that_writes(world.store()?, streams.files())?;
    let spawner = place.workplace.spawner().map(|_| ());
    spawner.map_err(|error| Failure::of(Exit::Environment, &error).hint("polyloom doctor"))?;
    place.workplace.keep_waiting(WAITING);
    Ok(place)
}

impl Session<'_> {
    fn go(&mut self) -> Outcome {
        let mut change = Change { paths: Vec::new(), since: self.world.started };
        loop {
            self.since = change.since;
            match self.plan(change) {
                Ok(()) => {}
                Err(Trouble::Mendable(failure, diagnostics)) => self.spoilt(failure, diagnostics),
                Err(Trouble::Final(failure)) => return Err(failure),
            }
            change = loop {
                match self.next() {
                    Next::Changed(change) if !self.leaving => {
                        let change = change.with(self.then.take());
                        if self.going.is_none() || self.brake.writer(&change).is_none() {
                            break change;
                        }
                        self.then = Some(change);
                    }
                    Next::Changed(_) => {}
                    Next::Ended(summary) => self.ended(summary)?,
                    Next::Interrupted(times) => self.interrupt(times),
                }
                if self.going.is_none()
                    && !self.leaving
                    && let Some(change) = self.then.take()
                {
                    break change;
                }
                if self.leaving && self.going.is_none() {
                    return Ok(Exit::Interrupted);
                }
            };
        }
    }

    /// Opens the socket by which others stop this watch, anew where it went with its folder.
    fn open(&mut self, history: &History) {
        if self.server.is_some() && socket::is_watched(history) {
            return;
        }
        let (screen, stops) = (self.world.screen, self.stops.clone());
        let old = self.server.take();
        self.server = self.runtime.block_on(async {
            if let Some(old) = old {
                old.finish(Exit::Ok as u8).await;
            }
            socket::watcher(history, screen, stops)
        });
    }

    fn next(&mut self) -> Next {
        let Self { runtime, files, interrupts, going, .. } = self;
        let ended = async {
            match going {
                Some(going) => (&mut going.task).await,
                None => std::future::pending().await,
            }
        };
        runtime.block_on(async {
            tokio::select! {
                biased;
                times = interrupts.next() => Next::Interrupted(times),
                summary = ended => Next::Ended(summary),
                change = files.changed() => Next::Changed(change),
            }
        })
    }

    /// What goes on is to end, and no further run begins.
    fn interrupt(&mut self, times: u32) {
        self.leaving = true;
        if let Some(going) = &self.going {
            going.interrupt(times, &self.interrupts);
        }
    }

    /// The flow as it is now, with all that it is made of watched before it was read.
    fn flow(&mut self) -> Result<Arc<Flow>, Trouble> {
        // A folder that was renamed is not the one that is meant.
        let _ = std::env::set_current_dir(&self.here);
        // Until it is read, what was read before may be what mends it, and so may be whatever is beside the flow.
        let mut wanted = self.wanted.clone();
        wanted.beside = self.path.parent().map(Path::to_owned);
        self.add(&mut wanted);
        self.files.watch(&wanted).map_err(Trouble::Final)?;
        loop {
            let loaded = self.world.read(&self.asked.args.flow);
            if let Some(flow) = &loaded.flow {
                self.wanted = sources(flow);
                let manifest = |id: &_| self.world.manifest(id);
                self.place.add_executors(flow, manifest, &mut self.wanted);
                wanted = self.wanted.clone();
                self.add(&mut wanted);
            }
            // What does not exist may come to be.
            wanted.files.extend(loaded.report.problems.iter().filter_map(missing));
            if self.files.watch(&wanted).map_err(Trouble::Final)? {
                continue;
            }
            let problems: Vec<_> = loaded.report.problems.iter().map(diagnostic).collect();
            let known = self.found == problems;
            self.found.clone_from(&problems);
            if !known {
                self.world.tell(&loaded);
            }
            let flow = self.asked.flow_of(self.world, loaded);
            return flow.map_err(|failure| Trouble::Mendable(failure, problems));
        }
    }

    /// Puts new ones in the place of a store that was deleted and of a spawner that is gone: true if there was need.
    fn renew(&mut self) -> Result<bool, Failure> {
        let Some(lost) = self.lost() else { return Ok(false) };
        self.world.screen.note(&format!("warning: {lost}; this watch begins anew\n"));
        let old = std::mem::replace(&mut self.place, place(self.world, &self.streams)?);
        self.runtime.block_on(old.sessions.end());
        // What waited there may take a while to end.
        self.runtime.spawn_blocking(move || drop(old));
        self.planned = None;
        Ok(true)
    }

    /// A run under which something was lost is made again, once.
    fn again(&self) -> Option<Change> {
        let failed = self.last.is_some_and(|outcome| outcome != RunOutcome::Ok);
        if !failed || self.renewed || self.lost().is_none() {
            return None;
        }
        Some(Change { paths: Vec::new(), since: Instant::now() })
    }

    /// What was lost that all runs need.
    fn lost(&self) -> Option<&'static str> {
        if !self.place.store.is_there() {
            return Some("the store was deleted");
        }
        (!self.place.workplace.is_there()).then_some("the process that starts sandboxes is gone")
    }

    /// Adds what counts whatever the flow says.
    fn add(&self, wanted: &mut Sources) {
        wanted.files.insert(self.path.clone());
        wanted.files.extend(self.asked.args.flow.params_file.clone());
        let root = self.path.parent().unwrap_or(Path::new(""));
        // A run makes the folder where there is none: that is no change.
        let folders = History::folders(root, &self.place.store);
        let there = folders.iter().filter(|folder| folder.is_dir());
        wanted.files.extend(there.map(|folder| folder.join(POLICY)));
        wanted.apart.extend(folders);
    }

    /// Plans what is there now and starts what has to run.
    fn plan(&mut self, change: Change) -> Result<(), Trouble> {
        self.renewed = self.renew().map_err(Trouble::Final)?;
        let flow = self.flow()?;
        let mut manifests = change.paths.iter().filter(|path| path.ends_with("executor.toml"));
        if let Some(manifest) = manifests.find(|path| !says_the_same(self.world, path)) {
            let manifest = self.shown(manifest);
            self.world.screen.note(&format!(
                "warning: `{manifest}` was changed; this watch goes on with what it said: start polyloom again\n"
            ));
        }
        let place = Arc::new(self.place.now(crate::world::unix_ms()));
        let ready = self.asked.ready(self.world, flow, &place, World::prepare)?;
        if let Some(history) = &ready.history {
            self.open(history);
        }
        let planned = Planned::of(&ready);
        let same = self.planned.as_ref().is_some_and(|before| before.is(&planned));
        if same && !self.wants_again(&change) {
            tracing::debug!("what was changed changes nothing");
            if std::mem::take(&mut self.broken) {
                self.told = None;
                self.mended();
            }
            return Ok(());
        }
        if let Some(held) = self.held(&change) {
            if self.is_news(&held, &[]) {
                self.rest(Waits::Held, &held);
            }
            return Ok(());
        }
        let done = ready.prepared.plan.is_done();
        if !done {
            able(&place, &ready.prepared, &ready.policy)?;
        }
        (self.planned, self.broken, self.told) = (Some(planned), false, None);
        let carried = self.supersede(&ready)?;
        if self.leaving {
            return Ok(());
        }
        let changed = change.paths.iter().map(|path| self.shown(path)).collect();
        self.brake.begun(&ready.prepared, &ready.permits);
        self.failed = match carried.is_empty() {
            true => self.failures.only(&ready.prepared, &ready.policy),
            false => Vec::new(),
        };
        let record = match done || !self.failed.is_empty() {
            false => Record::IfSomeRan,
            true if ready.is_known() => Record::Never,
            // An edit was taken back: what asks the history later has to hear of it.
            true => Record::Always,
        };
        let failures = Some(self.failures.clone());
        let before = Before { carried, changed, failures, record };
        let begun = self.asked.begin(self.world, ready, &place, before, change.since)?;
        // What was to run whatever is known has run: from now on a change decides.
        (self.asked.args.select.force, self.asked.args.select.force_all) = (false, false);
        Ok(self.start(begun, done)?)
    }

    /// A file that is saved as it was is a wish to try again what failed.
    fn wants_again(&self, change: &Change) -> bool {
        let saved = change.paths.iter().any(|path| self.files.has(path));
        let again = saved && self.going.is_none() && !self.failures.is_empty();
        if again {
            self.failures.clear();
        }
        again
    }

    /// Ends the run that goes on, but for what the new plan needs as it is.
    fn supersede(&mut self, ready: &Ready) -> Result<Vec<Carried>, Failure> {
        let Some(mut going) = self.going.take() else { return Ok(Vec::new()) };
        let stands = standing(&ready.prepared, &ready.policy);
        let (interrupts, leaving) = (&mut self.interrupts, &mut self.leaving);
        let summary = self.runtime.block_on(async {
            let _ = going.words.send(Word::Superseded(stands)).await;
            loop {
                tokio::select! {
                    summary = &mut going.task => return summary,
                    times = interrupts.next() => {
                        *leaving = true;
                        going.interrupt(times, interrupts);
                    }
                }
            }
        });
        let mut summary = summary.map_err(|error| broken(&error))?;
        let carried = std::mem::take(&mut summary.carried);
        self.end(&going.after, &summary);
        Ok(carried)
    }

    fn start(&mut self, begun: Begun, done: bool) -> Result<(), Failure> {
        let Begun { runner, terminal, watched, after } = begun;
        if done {
            let summary = runner.run_cached();
            self.end(&after, &summary);
            self.rest(self.stands(), "");
            return Ok(());
        }
        let (words, heard) = mpsc::channel(4);
        let (screen, stops) = (self.world.screen, self.stops.clone());
        let shown = Shown { terminal: terminal.clone(), watched, screen, stops };
        let run = shown.run(runner, heard, self.asked.args.keep_going);
        let task = self.runtime.spawn(run);
        self.going = Some(Going { task, words, terminal, after });
        Ok(())
    }

    fn ended(&mut self, summary: Result<Summary, tokio::task::JoinError>) -> Result<(), Failure> {
        let Some(going) = self.going.take() else { return Ok(()) };
        let summary = summary.map_err(|error| broken(&error))?;
        self.end(&going.after, &summary);
        self.then = self.then.take().or_else(|| self.again());
        if self.then.is_none() && !self.leaving {
            self.rest(self.stands(), &self.not_tried());
        }
        Ok(())
    }

    fn end(&mut self, after: &After, summary: &Summary) {
        self.brake.ended(summary.moved);
        self.last = Some(summary.outcome);
        self.asked.end(self.world, &self.place.store, after, summary);
        let Totals { ok, failed, cancelled, .. } = summary.totals;
        if ok + failed + cancelled == 0
            && after.record == Record::IfSomeRan
            && let Some((history, run)) = after.history.as_ref().zip(after.run.as_ref())
        {
            match history.forget(run) {
                // It was not known when its id was told.
                Ok(_) => self.world.screen.note("not recorded: no cell had to run\n"),
                Err(error) => {
                    tracing::warn!(%error, run, "a run in which no cell ran could not be removed");
                }
            }
        }
    }
}

/// The file that a problem says is missing, by what is written there.
fn missing(problem: &Problem) -> Option<PathBuf> {
    let label = problem.labels.first().filter(|_| problem.code == Code::MissingFile)?;
    let written = label.source.text().get(label.span.start..label.span.end)?;
    let folder = Path::new(label.file()).parent()?;
    Some(folder.join(written.trim_matches(['"', '\''])))
}

fn broken(error: &tokio::task::JoinError) -> Failure {
    Failure::new(Exit::Environment, format!("the run came to no end: {error}"))
}

/// Whether a manifest says what it said when it was read: it may be there again as it was.
fn says_the_same(world: &World, path: &Path) -> bool {
    let is = |other: &&Path| other.canonicalize().ok() == path.canonicalize().ok();
    let known = world.languages.all().find(|it| it.path.as_deref().filter(is).is_some());
    let now = std::fs::read_to_string(path).ok().and_then(|text| {
        let source = Source::new(path.display().to_string(), text.as_str());
        parse_manifest(&source, known?.path.as_deref()).0
    });
    let text = |manifest: &Manifest| serde_json::to_string(manifest).ok();
    known.zip(now.as_ref()).is_some_and(|(known, now)| text(known) == text(now))
}
