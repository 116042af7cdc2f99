//! `attach`, `stop`: a live run, from another terminal.
//!
//! The socket is a convenience, the record is the truth: whatever a connection did not bring is read there, and a run
//! that has ended is shown as `replay` shows it. A watch (`run --watch`) has a socket of its own: between its runs there is something to stop and to wait for.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use polyloom_events::Sink;
use polyloom_protocol::meta::Outcome as RunOutcome;
use polyloom_report::{Options, Terminal, duration};
use polyloom_server::{Answer, AttachError, Client, Request, Stop};
use polyloom_store::{History, Home, RunRow, RunState};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::history;
use super::socket::{self, place};
use crate::args::{AttachArgs, LiveAt, LiveFormat, Progress};
use crate::failure::{Exit, Failure, Outcome};
use crate::screen::Screen;
use crate::world::{World, unix_ms};

/// A run that has just begun, or just ended, has no socket; for so long that is no reason to give up.
const RETRIES: u32 = 20;
const RETRY: Duration = Duration::from_millis(100);
/// So many runs of a watch may begin and end while nobody looks.
const RECENT: usize = 100;

/// The run that is meant, if there is one, and the project as it was given.
struct Found {
    history: Arc<History>,
    row: Option<RunRow>,
    project: Option<PathBuf>,
    /// No run was named: it is the newest that runs.
    newest: bool,
}

/// `[PROJECT] [RUN]`; without a run the newest that runs.
fn locate(world: &World, at: &LiveAt) -> Result<Found, Failure> {
    let mut words = at.words.iter();
    let mut project = at.project.clone();
    let mut run = words.next();
    if let Some(first) = run {
        let named = first.contains('/') || first == "." || Path::new(first).exists();
        if project.is_none() && named {
            project = Some(PathBuf::from(first));
            run = words.next();
        }
    }
    if let Some(word) = words.next() {
        let message = format!("`{}` is one word too many", word.escape_debug());
        return Err(Failure::new(Exit::Usage, message).hint("polyloom attach PROJECT RUN"));
    }
    let history = history::open(world, project.clone())?;
    let newest = run.is_none();
    let row = match run {
        Some(run) => Some(history::find(&history, run)?),
        None => {
            let rows = history.runs(usize::MAX);
            let rows = rows.map_err(|error| environment(&error))?;
            rows.into_iter().find(|row| row.state == RunState::Running)
        }
    };
    Ok(Found { history, row, project, newest })
}

fn nothing() -> Failure {
    Failure::new(Exit::Nothing, "no run is going on in this project, and nobody watches it")
        .hint("polyloom runs; another project is named with -C FOLDER")
}

fn state(history: &History, run: &str) -> Result<RunRow, Failure> {
    history::find(history, run)
}

fn environment(error: &dyn std::error::Error) -> Failure {
    Failure::of(Exit::Environment, error)
}

/// What a run that has ended tells of its exit code. That other cells went well (`-k`) is not in it.
fn exit_of(state: RunState) -> Exit {
    match state {
        RunState::Running | RunState::Ended(RunOutcome::Ok) => Exit::Ok,
        RunState::Interrupted | RunState::Ended(RunOutcome::Cancelled) => Exit::Interrupted,
        RunState::Ended(RunOutcome::TimedOut) => Exit::Timeout,
        RunState::Ended(_) => Exit::Failed,
    }
}

fn exit_from(code: u8) -> Exit {
    let all = [Exit::Ok, Exit::Environment, Exit::Partial, Exit::Timeout, Exit::Interrupted];
    all.into_iter().find(|exit| *exit as u8 == code).unwrap_or(Exit::Failed)
}

/// Where events go.
enum Face {
    Text(Terminal),
    Lines(io::Stdout),
}

impl Face {
    fn new(screen: Screen, format: LiveFormat, project: Option<&Path>, run: &str) -> Self {
        match format {
            LiveFormat::Text => {
                let options = Options {
                    project: project.map(|path| path.display().to_string()),
                    run: Some(run.to_owned()),
                    ..super::run::plain_options(screen, Progress::Auto)
                };
                Self::Text(Terminal::new(Box::new(crate::screen::People), options))
            }
            LiveFormat::Jsonl => Self::Lines(io::stdout()),
        }
    }

    /// Shows one; false if nobody looks any more (`| head`).
    fn show(&mut self, line: &[u8]) -> Result<bool, AttachError> {
        match self {
            Self::Text(terminal) => {
                terminal.record(&Answer::record(line)?);
                terminal.told();
                Ok(true)
            }
            Self::Lines(out) => {
                let written = out.write_all(line).and_then(|()| out.write_all(b"\n"));
                Ok(written.and_then(|()| out.flush()).is_ok())
            }
        }
    }

    fn tick(&self, at_ms: f64) {
        if let Self::Text(terminal) = self {
            terminal.tick(at_ms);
        }
    }

    fn finish(&mut self) {
        if let Self::Text(terminal) = self {
            // Of its errors nobody could be told: they are stderr's.
            let _ = terminal.finish();
        }
    }
}

/// How watching ended.
enum Watched {
    /// With the run.
    Ended(Exit),
    /// By the one who watched.
    Detached(Exit),
    /// The run does not run any more; the record has the rest.
    Over,
}

/// `polyloom attach`.
pub fn attach(world: &World, args: &AttachArgs) -> Outcome {
    let Found { history, row, project, newest } = locate(world, &args.at)?;
    let Some(row) = row else {
        let row = match runtime()?.block_on(next_run(world, &history, None))? {
            Next::Run(row) => row,
            Next::Left => return Ok(Exit::Interrupted),
            Next::None => return Err(nothing()),
        };
        return follow(world, args, &history, row, project.as_deref());
    };
    if newest {
        return follow(world, args, &history, row, project.as_deref());
    }
    show(world, args, &history, &row, project.as_deref(), args.from).map(|(exit, _)| exit)
}

/// Shows a run, and if it is a watch's, those that come after it.
fn follow(
    world: &World,
    args: &AttachArgs,
    history: &History,
    mut row: RunRow,
    project: Option<&Path>,
) -> Outcome {
    let mut from = args.from;
    loop {
        let (exit, left) = match show(world, args, history, &row, project, from) {
            // One in which no cell ran leaves nothing.
            Err(_) if history.find_run(&row.id).is_err() => (Exit::Ok, false),
            shown => shown?,
        };
        if left {
            return Ok(exit);
        }
        from = 1;
        row = match runtime()?.block_on(next_run(world, history, Some(&row)))? {
            Next::Run(row) => row,
            Next::Left => return Ok(Exit::Interrupted),
            Next::None => return Ok(exit),
        };
    }
}

/// What comes after a run.
enum Next {
    Run(RunRow),
    /// Nothing: there is no watch that would have one.
    None,
    /// Who waited for it has gone.
    Left,
}

/// Waits for the first run of a watch that begins from now on, or for the one after `last`, as long as that watch is there.
async fn next_run(
    world: &World,
    history: &History,
    last: Option<&RunRow>,
) -> Result<Next, Failure> {
    let after = last.map_or_else(unix_ms, |row| row.started_unix_ms);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| environment(&error))?;
    let Some((mut watch, argv)) = watch(history, last).await else { return Ok(Next::None) };
    let mut tick = tokio::time::interval(RETRY);
    let mut told = false;
    loop {
        let over = tokio::select! {
            _ = tick.tick() => false,
            _ = interrupt.recv() => return Ok(Next::Left),
            _ = watch.next() => true,
        };
        let rows = history.runs(RECENT).map_err(|error| environment(&error))?;
        let its = |row: &RunRow| argv.as_ref().is_none_or(|argv| *argv == row.argv);
        let later =
            |row: &RunRow| row.started_unix_ms > after && row.home == Home::Here && its(row);
        if let Some(row) = rows.into_iter().rfind(later) {
            return Ok(Next::Run(row));
        }
        if over {
            return Ok(Next::None);
        }
        if !std::mem::replace(&mut told, true) {
            world.screen.note("attached to a watch; its next run is waited for\n");
        }
    }
}

/// A connection to a watch of the project, and its command line: by that its runs are told from others. With a run, it is the watch that made it.
async fn watch(history: &History, run: Option<&RunRow>) -> Option<(Client, Option<Vec<String>>)> {
    for path in socket::watchers(history) {
        let argv = socket::argv(&path);
        if argv.as_ref().zip(run).is_some_and(|(argv, run)| *argv != run.argv) {
            continue;
        }
        if let Ok(client) = Client::connect(&path, Request::Watch { from: 1 }).await {
            return Some((client, argv));
        }
    }
    None
}

/// Shows a run to its end. True if whoever looked has gone before.
fn show(
    world: &World,
    args: &AttachArgs,
    history: &History,
    row: &RunRow,
    project: Option<&Path>,
    from: u64,
) -> Result<(Exit, bool), Failure> {
    let face = Face::new(world.screen, args.format, project, &row.id);
    let mut view = View { history, run: &row.id, started: row.started_unix_ms, face, next: from };
    let watched = match row.state {
        RunState::Running => runtime()?.block_on(view.follow()),
        RunState::Interrupted | RunState::Ended(_) => Ok(Watched::Over),
    };
    let watched = match watched {
        Ok(Watched::Over) => view.rest().map(|()| Watched::Over),
        other => other,
    };
    view.face.finish();
    match watched? {
        Watched::Ended(exit) => Ok((exit, false)),
        Watched::Detached(exit) => {
            if exit == Exit::Interrupted {
                let text = format!("detached; run {} goes on, `polyloom stop` ends it\n", row.id);
                world.screen.note(&text);
            }
            Ok((exit, true))
        }
        Watched::Over => {
            let state = state(history, &row.id)?.state;
            if state == RunState::Interrupted {
                world.screen.note("this run was interrupted; `polyloom run` goes on with it\n");
            }
            Ok((exit_of(state), false))
        }
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| environment(&error))
}

/// What has been seen of a run.
struct View<'a> {
    history: &'a History,
    run: &'a str,
    started: u64,
    face: Face,
    /// The number of the next event.
    next: u64,
}

impl View<'_> {
    /// Follows the run to its end, through as many connections as it takes.
    async fn follow(&mut self) -> Result<Watched, Failure> {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| environment(&error))?;
        let socket = place(self.history, self.run);
        let mut vain = 0;
        loop {
            let before = self.next;
            let error = match Client::connect(&socket, Request::Watch { from: self.next }).await {
                Ok(client) => match self.connection(client, &mut interrupt).await {
                    Ok(Some(watched)) => return Ok(watched),
                    Ok(None) => None,
                    Err(error) => Some(error),
                },
                Err(error) => Some(error),
            };
            if state(self.history, self.run)?.state != RunState::Running {
                return Ok(Watched::Over);
            }
            vain = if self.next > before { 0 } else { vain + 1 };
            match error {
                Some(AttachError::Connect { .. } | AttachError::Broken(_)) | None
                    if vain <= RETRIES => {}
                Some(error @ (AttachError::Connect { .. } | AttachError::Broken(_))) => {
                    return Err(unreachable(self.run, &error));
                }
                Some(error) => return Err(environment(&error)),
                None => {
                    let message = format!("run `{}` keeps hanging up", self.run);
                    return Err(Failure::new(Exit::Environment, message));
                }
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                _ = interrupt.recv() => return Ok(Watched::Detached(Exit::Interrupted)),
            }
        }
    }

    /// Follows one connection. `None` if it ended before the run.
    async fn connection(
        &mut self,
        mut client: Client,
        interrupt: &mut Signal,
    ) -> Result<Option<Watched>, AttachError> {
        let mut tick = tokio::time::interval(RETRY);
        let mut shown = false;
        loop {
            let answer = tokio::select! {
                answer = client.next() => answer?,
                _ = interrupt.recv() => return Ok(Some(Watched::Detached(Exit::Interrupted))),
                // Before the first event there is nothing to draw.
                _ = tick.tick(), if shown => {
                    let since = unix_ms().saturating_sub(self.started);
                    #[expect(clippy::cast_precision_loss, reason = "milliseconds of a run")]
                    self.face.tick(since as f64);
                    continue;
                }
            };
            match answer {
                Some(Answer::Record(line)) => {
                    if !self.face.show(&line)? {
                        return Ok(Some(Watched::Detached(Exit::Ok)));
                    }
                    self.next += 1;
                    shown = true;
                }
                Some(Answer::Stopping) => {}
                Some(Answer::Ended { exit }) => return Ok(Some(Watched::Ended(exit_from(exit)))),
                None => return Ok(None),
            }
        }
    }

    /// Shows the rest from the record: it has a line for each event.
    fn rest(&mut self) -> Result<(), Failure> {
        let reader = self.history.read_events(self.run).map_err(|error| environment(&error))?;
        for (number, line) in (1..).zip(reader.split(b'\n')) {
            let line = line.map_err(|error| environment(&error))?;
            if number < self.next {
                continue;
            }
            self.next = number + 1;
            let shown = self.face.show(&line).map_err(|error| {
                let message = format!("line {number} of the record is no event this program knows");
                let mut failure = Failure::new(Exit::Environment, message);
                failure.messages.extend(Failure::of(Exit::Environment, &error).messages.pop());
                failure
            });
            if !shown? {
                break;
            }
        }
        Ok(())
    }
}

fn unreachable(run: &str, error: &AttachError) -> Failure {
    let mut failure = Failure::new(Exit::Environment, format!("run `{run}` can't be reached"));
    failure.messages.extend(Failure::of(Exit::Environment, error).messages);
    failure
        .hint("a run says with -v why it has no socket; it can be interrupted where it was started")
}

/// `polyloom stop`.
pub fn stop(world: &World, at: &LiveAt, how: Stop) -> Outcome {
    let Found { history, row, .. } = locate(world, at)?;
    let Some(row) = row else { return stop_watch(world, &history, how) };
    if row.state != RunState::Running {
        let message = format!("run `{}` is not going on: {}", row.id, row.state.as_str());
        return Err(Failure::new(Exit::Nothing, message).hint("polyloom runs"));
    }
    runtime()?.block_on(async {
        let mut vain = 0;
        let socket = place(&history, &row.id);
        while state(&history, &row.id)?.state == RunState::Running {
            match ask(&socket, how).await {
                Ok(true) => return Ok(()),
                // It hung up: it has not seen that the run has ended, or it was killed.
                Ok(false) => {}
                Err(error @ (AttachError::Connect { .. } | AttachError::Broken(_))) => {
                    vain += 1;
                    if vain > RETRIES {
                        return Err(unreachable(&row.id, &error));
                    }
                }
                Err(error) => return Err(environment(&error)),
            }
            tokio::time::sleep(RETRY).await;
        }
        Ok(())
    })?;
    let row = state(&history, &row.id)?;
    let took = row.wall_ms.map(|wall_ms| format!(" in {}", duration(wall_ms)));
    let took = took.unwrap_or_default();
    let counts = history::counts(row.totals.as_deref());
    let counts = if counts.is_empty() { counts } else { format!(": {counts}") };
    world.screen.note(&format!("run {}: {}{took}{counts}\n", row.id, row.state.as_str()));
    Ok(Exit::Ok)
}

/// Ends the watches of a project that have no run just now.
fn stop_watch(world: &World, history: &History, how: Stop) -> Outcome {
    let mut ended = false;
    for path in socket::watchers(history) {
        match runtime()?.block_on(ask(&path, how)) {
            Ok(_) => {
                let process = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let process = polyloom_report::escape_line(&process);
                world.screen.note(&format!("the watch of process {process} has ended\n"));
                ended = true;
            }
            // Left by one that was killed.
            Err(AttachError::Connect { .. }) => {}
            Err(error) => return Err(environment(&error)),
        }
    }
    if ended { Ok(Exit::Ok) } else { Err(nothing()) }
}

/// Asks for the end and waits for it; false if the connection ended first.
async fn ask(socket: &Path, how: Stop) -> Result<bool, AttachError> {
    let mut client = Client::connect(socket, Request::Stop(how)).await?;
    while let Some(answer) = client.next().await? {
        match answer {
            Answer::Ended { .. } => return Ok(true),
            Answer::Stopping | Answer::Record(_) => {}
        }
    }
    Ok(false)
}
