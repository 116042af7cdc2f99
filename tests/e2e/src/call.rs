//! One call of the binary: what it is given, and what is known when it has ended.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;

use crate::{Place, Run, binary, screen};

/// No call takes as long; one that does is killed and fails its test.
const LIMIT: Duration = Duration::from_secs(180);

/// A call that has not begun.
#[derive(Debug)]
pub struct Call {
    command: Command,
    root: PathBuf,
    words: String,
}

impl Call {
    /// `through` is a program with arguments that is to start the binary, or nothing.
    pub(crate) fn new(place: &Place, through: &[&str], args: &[&str]) -> Self {
        let root = place.root().to_owned();
        let home = root.join("home");
        let mut command = match through {
            [] => Command::new(binary()),
            [program, words @ ..] => {
                let mut command = Command::new(program);
                command.args(words).arg(binary());
                command
            }
        };
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &home)
            .env("XDG_CACHE_HOME", home.join(".cache"))
            .env("XDG_CONFIG_HOME", home.join(".config"))
            .env("XDG_DATA_HOME", home.join(".local/share"))
            .env("XDG_RUNTIME_DIR", home.join("runtime"))
            .env("POLYLOOM_STORE", place.store())
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb")
            .env("NO_COLOR", "1")
            .current_dir(place.project())
            .args(args)
            .stdin(Stdio::null())
            // Its own group, so that a call that hangs can be ended with all it started.
            .process_group(0);
        if place.executors().read_dir().unwrap().next().is_some() {
            command.arg("--executor-dir").arg(place.executors());
        }
        Self { command, root, words: args.join(" ") }
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Goes to another folder first.
    #[must_use]
    pub fn cwd(mut self, folder: impl AsRef<std::path::Path>) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// Runs as an ordinary user.
    #[must_use]
    pub fn uid(mut self, uid: u32) -> Self {
        self.command.uid(uid).gid(uid);
        self
    }

    /// Has this on its stdin.
    #[must_use]
    pub fn typed(mut self, text: &str) -> Self {
        let path = self.root.join("stdin");
        std::fs::write(&path, text).unwrap();
        self.command.stdin(std::fs::File::open(path).unwrap());
        self
    }

    /// The command itself, for a test that looks after the process on its own.
    #[must_use]
    pub fn into_command(self) -> Command {
        self.command
    }

    /// Starts it. Its stdout is read by [`Running::until`] or at its end.
    #[must_use]
    pub fn start(mut self) -> Running {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap();
        let mut err = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = err.read_to_end(&mut text);
            text
        });
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let watchdog = Watchdog::new(&child);
        Running { child, stdout, stderr, watchdog, root: self.root, words: self.words }
    }

    /// Runs it to its end.
    #[must_use]
    pub fn end(self) -> Ended {
        self.start().end()
    }
}

/// Kills a call that takes too long.
#[derive(Debug)]
struct Watchdog(mpsc::Sender<()>);

impl Watchdog {
    fn new(child: &Child) -> Self {
        let pid = pid(child);
        let (sender, ended) = mpsc::channel();
        std::thread::spawn(move || {
            if ended.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
                let _ = kill_process_group(pid, Signal::KILL);
            }
        });
        Self(sender)
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
}

/// A call that has begun.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: JoinHandle<Vec<u8>>,
    watchdog: Watchdog,
    root: PathBuf,
    words: String,
}

impl Running {
    /// Reads events (of `--events -`) until one fits.
    pub fn until(&mut self, fits: impl Fn(&Value) -> bool) -> Value {
        let mut line = String::new();
        loop {
            line.clear();
            let size = self.stdout.read_line(&mut line).unwrap();
            assert!(size > 0, "`{}` ended before the event came", self.words);
            let event: Value = serde_json::from_str(&line).unwrap();
            if fits(&event) {
                return event;
            }
        }
    }

    /// Reads events until this cell has printed this text.
    pub fn until_printed(&mut self, cell: &str, text: &str) {
        self.until(|event| {
            event["event"] == "log"
                && event["cell"] == cell
                && event["text"].as_str().is_some_and(|said| said.contains(text))
        });
    }

    /// The process id of what was started.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the host alone.
    pub fn signal(&self, signal: Signal) {
        kill_process(pid(&self.child), signal).unwrap();
    }

    /// Stops reading its stdout.
    #[must_use]
    pub fn deaf(self) -> Ended {
        let Self { mut child, stdout, stderr, watchdog, root, words } = self;
        drop(stdout);
        let start = Instant::now();
        let status = child.wait().unwrap();
        ended(status, Vec::new(), stderr, watchdog, root, words, start)
    }

    /// Waits for its end.
    #[must_use]
    pub fn end(self) -> Ended {
        let Self { mut child, mut stdout, stderr, watchdog, root, words } = self;
        let start = Instant::now();
        let mut out = Vec::new();
        stdout.read_to_end(&mut out).unwrap();
        let status = child.wait().unwrap();
        ended(status, out, stderr, watchdog, root, words, start)
    }
}

fn ended(
    status: ExitStatus,
    out: Vec<u8>,
    stderr: JoinHandle<Vec<u8>>,
    watchdog: Watchdog,
    root: PathBuf,
    words: String,
    start: Instant,
) -> Ended {
    // Whether it still listens does not matter: it may have struck already.
    let _ = watchdog.0.send(());
    let err = stderr.join().unwrap();
    let took = start.elapsed();
    Ended { status, out, err, root, words, took }
}

/// A call that has ended.
#[derive(Debug)]
pub struct Ended {
    status: ExitStatus,
    out: Vec<u8>,
    err: Vec<u8>,
    root: PathBuf,
    words: String,
    /// Time from the wait for its end until then.
    pub took: Duration,
}

impl Ended {
    /// Its exit code; a signal as a shell says it, 128 + number.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Asserts its exit code.
    #[must_use]
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "exit code of `polyloom {}`\n{}", self.words, self.screen());
        self
    }

    /// The bytes it printed on stdout.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.out
    }

    /// Its stdout.
    #[must_use]
    pub fn stdout(&self) -> String {
        String::from_utf8(self.out.clone()).unwrap()
    }

    /// Its stderr.
    #[must_use]
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.err).into_owned()
    }

    /// Both streams and the exit code as one text without what differs from run to run.
    #[must_use]
    pub fn screen(&self) -> String {
        screen(&self.root, &self.stdout(), &self.stderr(), self.code())
    }

    /// Its stdout as one JSON document.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        let parsed = serde_json::from_slice(&self.out);
        parsed.unwrap_or_else(|error| panic!("`{}`: {error}\n{}", self.words, self.screen()))
    }

    /// Its stdout as JSON lines.
    #[must_use]
    #[track_caller]
    pub fn json_lines(&self) -> Vec<Value> {
        let text = self.stdout();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Its stdout as the document of a run.
    #[must_use]
    #[track_caller]
    pub fn run(self) -> Run {
        let document = self.json();
        Run { document, code: self.code(), stderr: self.stderr() }
    }
}
