//! `polyloom daemon`: a process that keeps interpreters and sandboxes waiting from one run to the next.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use polyloom_model::parse_duration;
use polyloom_report::{Align, Table, duration};
use polyloom_worker::Workplace;
use polyloom_worker::daemon::{self, Client, Keeper, Patience, ServeError, Status, socket};
use serde_json::json;

use super::socket::Signals;
use crate::args::{DaemonCommand, Format};
use crate::failure::{Exit, Failure, Outcome};
use crate::world::World;

/// What the process in the background says once runs can come.
const READY: &[u8] = b"ready\n";
/// As `--idle` is where nothing is said.
const IDLE: &str = "1h";
/// How long its end is waited for, and its beginning where another one was begun at the same time.
const ENDING: Duration = Duration::from_secs(10);
const BEGINNING: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(5);

/// The command.
pub fn daemon(world: &World, command: DaemonCommand) -> Outcome {
    match command {
        DaemonCommand::Start { idle } => start(world, &idle),
        DaemonCommand::Run { idle, detached } => serve(world, &idle, detached),
        DaemonCommand::Stop => stop(world),
        DaemonCommand::Status { format } => status(world, format),
    }
}

fn environment(error: &dyn std::error::Error) -> Failure {
    Failure::of(Exit::Environment, error)
}

/// Where its socket is, if there is one: as the store has its folder, which nothing of is opened.
fn place(world: &World) -> Result<PathBuf, Failure> {
    let folder = world.store_folder()?;
    Ok(socket(&folder.canonicalize().unwrap_or(folder)))
}

/// The connection to the daemon, where there is one.
pub(super) fn present(world: &World) -> Result<Option<Client>, Failure> {
    there(world, client(world)?)
}

/// The same, for who has nothing made by it.
pub(super) fn visited(world: &World) -> Result<Option<Client>, Failure> {
    there(world, Client::visit(&place(world)?))
}

fn there(world: &World, client: std::io::Result<Client>) -> Result<Option<Client>, Failure> {
    match client {
        Ok(client) => Ok(Some(client)),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(stranger(&place(world)?, &error)),
    }
}

/// The same, and one is started where there is none.
pub(super) fn needed(world: &World) -> Result<Client, Failure> {
    if let Some(client) = present(world)? {
        return Ok(client);
    }
    start(world, IDLE)?;
    present(world)?.ok_or_else(|| {
        Failure::new(Exit::Environment, "the daemon could not be started")
            .hint("polyloom daemon run")
    })
}

fn client(world: &World) -> Result<std::io::Result<Client>, Failure> {
    Ok(Client::connect(&place(world)?, Patience::Person))
}

/// Begins one in the background, and ends once it is there.
fn start(world: &World, idle: &str) -> Outcome {
    parse_duration(idle).map_err(|error| Failure::of(Exit::Usage, &error))?;
    let at = place(world)?;
    match Client::connect(&at, Patience::Person) {
        Ok(client) => return Ok(runs_already(world, &client)),
        Err(error) if is_absent(&error) => {}
        Err(error) => return Err(stranger(&at, &error)),
    }
    let binary = std::env::current_exe().map_err(|error| environment(&error))?;
    // What this process was given is not for one that outlives it.
    polyloom_sandbox::keep_descriptors();
    let begun = Command::new(binary)
        .args(["daemon", "run", "--detached", "--idle", idle])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut begun = begun.map_err(|error| environment(&error))?;
    let mut said = [0; READY.len()];
    let heard = begun.stdout.take().is_some_and(|mut out| out.read_exact(&mut said).is_ok());
    if heard && said == READY {
        world.screen.note(&format!("the daemon runs (process {})\n", begun.id()));
        return Ok(Exit::Ok);
    }
    // Somebody else may have been faster.
    let began = Instant::now();
    while began.elapsed() < BEGINNING {
        if let Ok(client) = Client::connect(&at, Patience::Person) {
            let _ = begun.wait();
            return Ok(runs_already(world, &client));
        }
        std::thread::sleep(PAUSE);
    }
    let mut why = String::new();
    if let Some(mut stderr) = begun.stderr.take() {
        let _ = stderr.read_to_string(&mut why);
    }
    // It has told everything already, in the form of a failure.
    world.screen.tell(&why);
    let _ = begun.wait();
    Ok(Exit::Environment)
}

fn runs_already(world: &World, client: &Client) -> Exit {
    if let Some(Status { pid, idle_ms, .. }) = client.status() {
        let idle = duration(idle_ms as f64);
        let text = format!(
            "the daemon runs already (process {pid}), and ends after {idle} without a run; `polyloom daemon stop` ends it\n"
        );
        world.screen.note(&text);
    }
    Exit::Ok
}

/// A daemon that does not speak with this program, or a socket that can't be one's.
fn stranger(at: &Path, error: &std::io::Error) -> Failure {
    let place = polyloom_report::escape_line(&at.display().to_string()).into_owned();
    if std::os::unix::net::SocketAddr::from_pathname(at).is_err() {
        let text = format!("the path `{place}` is too long for a socket");
        return Failure::new(Exit::Environment, text)
            .hint("a store elsewhere (POLYLOOM_STORE) can have a daemon");
    }
    let text = format!("no daemon can be asked at `{place}`: {error}");
    let failure = Failure::new(Exit::Environment, text);
    match daemon::process(at) {
        Ok(_) => failure.hint("`polyloom daemon stop` ends it"),
        Err(_) => failure.hint("the store is a folder of your own; `POLYLOOM_STORE` names another"),
    }
}

/// Is one, to its end.
fn serve(world: &World, idle: &str, detached: bool) -> Outcome {
    let idle = parse_duration(idle).map_err(|error| Failure::of(Exit::Usage, &error))?;
    let store = world.store()?;
    let binary = std::env::current_exe().map_err(|error| environment(&error))?;
    let at = socket(store.root());
    let scratch = store.scratch();
    // It needs neither the store nor the folder it was started in; that somebody has the index open spares those who do some waiting for the disk.
    let _held = polyloom_store::hold_open(store.root());
    drop(store);
    if detached {
        // Only a leader of a group can't, and then it is alone already.
        let _ = nix::unistd::setsid();
    }
    std::env::set_current_dir("/").map_err(|error| environment(&error))?;
    let screen = world.screen;
    let ready = move |keeper: Arc<Keeper>| {
        let listening = listen(keeper);
        if let Err(error) = listening {
            tracing::warn!(%error, "signals end the daemon at once");
        }
        if detached {
            let mut out = std::io::stdout().lock();
            let _ = out.write_all(READY).and_then(|()| out.flush());
        } else {
            screen.note("runs can come; Ctrl-C ends the daemon\n");
        }
    };
    let place = Workplace::new(binary, PathBuf::new(), scratch);
    match Keeper::serve(&at, place, idle, ready) {
        Ok(()) => Ok(Exit::Ok),
        Err(error @ ServeError::Running) => {
            Err(environment(&error).hint("`polyloom daemon status` shows it"))
        }
        Err(error @ ServeError::Spawner(_)) => Err(environment(&error).hint("polyloom doctor")),
        Err(error) => Err(environment(&error)),
    }
}

/// Ends it at the first signal.
fn listen(keeper: Arc<Keeper>) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        Signals::listen()
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(signals.next());
        keeper.stop();
    })?;
    Ok(())
}

fn stop(world: &World) -> Outcome {
    let at = place(world)?;
    let status = Client::connect(&at, Patience::Run).ok().and_then(|client| client.status());
    let (lent, sessions) = status.map_or((0, 0), |status| (status.lent, status.sessions));
    // Whatever build it is of.
    let pid = match daemon::end(&at) {
        Ok(pid) => pid,
        Err(error) if is_absent(&error) => {
            world.screen.note("no daemon runs\n");
            return Ok(Exit::Ok);
        }
        Err(error) => return Err(stranger(&at, &error)),
    };
    let process = Path::new("/proc").join(pid.to_string());
    let began = Instant::now();
    while lent == 0 && process.exists() && began.elapsed() < ENDING {
        std::thread::sleep(PAUSE);
    }
    world.screen.note(&match process.exists() {
        false => "the daemon has ended\n".to_owned(),
        true => format!(
            "the daemon (process {pid}) ends once the runs that have something of it have\n"
        ),
    });
    if sessions > 0 {
        let kept = if sessions == 1 { "the session" } else { "the sessions" };
        world.screen.note(&format!(
            "{kept} that it kept ({sessions}), with their snapshots, go with it; `polyloom session save` keeps one in a file\n"
        ));
    }
    Ok(Exit::Ok)
}

fn is_absent(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    matches!(error.kind(), NotFound | ConnectionRefused)
}

fn status(world: &World, format: Format) -> Outcome {
    let mut but = None;
    let status = match client(world)? {
        Ok(client) => {
            but = client.but().map(str::to_owned);
            client.status()
        }
        Err(error) if is_absent(&error) => None,
        Err(error) => return Err(stranger(&place(world)?, &error)),
    };
    if format != Format::Text {
        world.screen.json(&json!({ "schema": "polyloom.daemon/1", "daemon": status, "but": but }));
        return Ok(Exit::Ok);
    }
    let Some(status) = status else {
        world.screen.print("no daemon runs: `polyloom daemon start` starts one\n");
        return Ok(Exit::Ok);
    };
    world.screen.print(&text(world, &status));
    if let Some(but) = but {
        world.screen.note(&format!("note: it lends nothing to runs from here: {but}\n"));
    }
    Ok(Exit::Ok)
}

fn text(world: &World, status: &Status) -> String {
    let told = |ms: u64| duration(ms as f64);
    let Status { pid, found, wanted, lent, .. } = status;
    let mut text = format!("the daemon runs (process {pid}), for {} now\n", told(status.up_ms));
    text.push_str(&match wanted {
        0 => "no run has asked for a sandbox yet\n".to_owned(),
        _ => format!(
            "runs have asked for {wanted} sandboxes, and found {found} of them waiting; {lent} are in use now\n"
        ),
    });
    let idle = told(status.idle_ms);
    text.push_str(&match status.sessions {
        0 => format!("it ends after {idle} without a run\n"),
        count => format!(
            "it keeps {count} {} (`polyloom session list`), and ends after {idle} without a run once there are none\n",
            if count == 1 { "session" } else { "sessions" },
        ),
    });
    if !status.waiting.is_empty() {
        let heads = ["waits", "program", "process", "for"].map(|head| (head, Align::Left));
        let mut table = Table::new(&heads);
        for one in &status.waiting {
            let program = polyloom_report::escape_line(&one.program).into_owned();
            let what = one.what.clone();
            table.row([what, program, one.pid.to_string(), told(one.since_ms)]);
        }
        text.push_str(&table.render(world.screen.out, world.screen.columns));
    }
    text
}
