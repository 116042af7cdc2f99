//! A place of its own for one run of the binary, with canaries in it, and what is to be said against the run afterwards.
//!
//! Knows the command line from outside. Does not know which attacks are run on it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use polyloom_events::Record;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::canary::VARIABLE;
use crate::{Canaries, Leftovers, Reaper, facts};

/// The stage itself failed: nothing is known about the sandbox.
#[derive(Debug, thiserror::Error)]
#[error("can't {doing}: {source}")]
pub struct Fault {
    doing: String,
    #[source]
    source: io::Error,
}

impl Fault {
    pub(crate) fn new(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self { doing, source }
    }
}

/// How the binary is started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The `polyloom` under attack.
    pub binary: PathBuf,
    /// A program with arguments that becomes the binary: it gets the path and the arguments as its last ones.
    pub through: Vec<OsString>,
    /// The ordinary user it runs as; none is the user of this process.
    pub user: Option<u32>,
    /// After this time it is killed, and that is a complaint.
    pub limit: Duration,
}

impl Launch {
    /// As it is, for at most three minutes.
    #[must_use]
    pub fn plain(binary: PathBuf) -> Self {
        Self { binary, through: Vec::new(), user: None, limit: Duration::from_secs(180) }
    }
}

/// One at a time: what is left over must be of the one run that just ended.
static ONE: Mutex<()> = Mutex::new(());

/// A home, a store and a project in a temporary folder, with canaries.
#[derive(Debug)]
pub struct Stage {
    folder: TempDir,
    canaries: Canaries,
    reaper: Reaper,
    launch: Launch,
    _one: MutexGuard<'static, ()>,
}

/// A call of the binary that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; a signal as a shell says it, 128 + number.
    pub code: i32,
    /// What it printed on stdout.
    pub stdout: String,
    /// What it printed on stderr.
    pub stderr: String,
    /// Its event stream, as far as there is one.
    pub records: Vec<Record>,
    /// How long it took.
    pub took: Duration,
    /// Everything that is to be said against the call: it crashed, it did not end, something is left, a canary was touched,
    /// its facts contradict each other.
    pub complaints: Vec<String>,
}

impl Stage {
    /// Sets it up in the folder for temporary files.
    pub fn new(launch: Launch) -> Result<Self, Fault> {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let setup = || -> io::Result<(TempDir, Canaries, Reaper)> {
            let folder = TempDir::with_prefix("polyloom-attack-")?;
            for name in ["home", "project", "tmp", "runtime", "logs"] {
                fs::create_dir(folder.path().join(name))?;
            }
            let mut canaries = Canaries::new(folder.path())?;
            if let Some(user) = launch.user {
                give(folder.path(), user)?;
            }
            canaries.arm()?;
            Ok((folder, canaries, Reaper::new()?))
        };
        let (folder, canaries, reaper) =
            setup().map_err(Fault::new("set up a folder for attacks"))?;
        Ok(Self { folder, canaries, reaper, launch, _one: one })
    }

    /// The folder of everything.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the flow.
    #[must_use]
    pub fn project(&self) -> PathBuf {
        self.root().join("project")
    }

    /// What no cell may touch.
    #[must_use]
    pub fn canaries(&self) -> &Canaries {
        &self.canaries
    }

    /// Writes a file, relative to [`Self::root`]; its folders are made.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<(), Fault> {
        let full = self.root().join(path);
        let doing = || Fault::new(format!("write `{path}`"));
        if let Some(parent) = full.parent() {
            fs::create_dir_all(parent).map_err(doing())?;
        }
        fs::write(&full, content).map_err(doing())?;
        let Some(user) = self.launch.user else { return Ok(()) };
        // Folders that were made for it, too.
        let ours = full.ancestors().take_while(|path| *path != self.root());
        ours.into_iter()
            .try_for_each(|path| std::os::unix::fs::lchown(path, Some(user), Some(user)))
            .map_err(doing())
    }

    /// `polyloom run --events … ARGS` in the project, to its end, and all that is to be said against it.
    pub fn run(&self, args: &[&str]) -> Result<Ended, Fault> {
        let events = self.root().join("logs/events.jsonl");
        let mut words: Vec<OsString> = vec!["run".into(), "--events".into(), events.clone().into()];
        words.extend(args.iter().map(OsString::from));
        let mut ended = self.call(&words)?;
        match fs::read_to_string(&events) {
            Ok(text) => {
                for line in text.lines() {
                    match serde_json::from_str(line) {
                        Ok(record) => ended.records.push(record),
                        Err(error) => {
                            ended.complaints.push(format!("an event that is none: {error}"));
                        }
                    }
                }
                ended.complaints.extend(facts(&ended.records, ended.code));
                fs::remove_file(&events).map_err(Fault::new("remove the events"))?;
            }
            // It refused before there was a run.
            Err(error) if error.kind() == io::ErrorKind::NotFound && ended.code != 0 => {}
            Err(error) => ended.complaints.push(format!("its events can't be read: {error}")),
        }
        Ok(ended)
    }

    /// Any call of the binary, to its end, and all that is to be said against it but its events.
    pub fn call(&self, args: &[OsString]) -> Result<Ended, Fault> {
        let root = self.root();
        let leftovers = Leftovers::before(self.launch.user);
        let mut command = self.command();
        let log = |name: &str| {
            let path = root.join("logs").join(name);
            File::create(&path).map_err(Fault::new(format!("write `{}`", path.display())))
        };
        command.args(args).stdout(log("stdout")?).stderr(log("stderr")?);
        let start = Instant::now();
        let mut child = command.spawn().map_err(Fault::new("start polyloom"))?;
        let (pid, limit) = (child.id(), self.launch.limit);
        let (sender, over) = mpsc::channel::<()>();
        let watchdog = std::thread::spawn(move || {
            let late = over.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
            if late && let Some(group) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process_group(group, Signal::KILL);
            }
            late
        });
        let status = child.wait().map_err(Fault::new("wait for polyloom"))?;
        drop(sender);
        let took = start.elapsed();
        let mut complaints = Vec::new();
        if watchdog.join().unwrap_or(false) {
            complaints.push(format!("it did not end within {} s", limit.as_secs()));
        }
        let text = |name: &str| -> Result<String, Fault> {
            let bytes = fs::read(root.join("logs").join(name)).map_err(Fault::new("read logs"))?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let (stdout, stderr) = (text("stdout")?, text("stderr")?);
        if let Some(signal) = status.signal() {
            complaints.push(format!("it was ended by signal {signal}"));
        }
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        if code == 101 || stderr.contains("panicked at") {
            complaints.push(format!("it panicked: {}", tail(&stderr)));
        }
        if let Some(sign) = stderr.chars().find(|c| steers(*c)) {
            complaints.push(format!("it printed what steers a terminal: {sign:?}"));
        }
        complaints.extend(leftovers.after(&self.reaper, pid, root));
        complaints.extend(self.canaries.complaints());
        complaints.extend(self.strays().map_err(Fault::new("look through the stage"))?);
        Ok(Ended { code, stdout, stderr, records: Vec::new(), took, complaints })
    }

    fn command(&self) -> Command {
        let root = self.root();
        let home = root.join("home");
        let mut command = match self.launch.through.split_first() {
            None => Command::new(&self.launch.binary),
            Some((program, words)) => {
                let mut command = Command::new(program);
                command.args(words).arg(&self.launch.binary);
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
            .env("XDG_RUNTIME_DIR", root.join("runtime"))
            .env("TMPDIR", root.join("tmp"))
            .env("POLYLOOM_STORE", root.join("store"))
            .env("LANG", "C.UTF-8")
            .env("TERM", "dumb")
            .env("NO_COLOR", "1")
            .env(VARIABLE, self.canaries.secret())
            .current_dir(self.project())
            .stdin(Stdio::null())
            // Its own group, so that a call that hangs can be ended with all it started.
            .process_group(0);
        if let Some(user) = self.launch.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Files where none should be, and files that hold the secret.
    fn strays(&self) -> io::Result<Vec<String>> {
        let mut out = Vec::new();
        for folder in ["tmp", "runtime", "store/tmp"] {
            for entry in fs::read_dir(self.root().join(folder)).into_iter().flatten() {
                let path = entry?.path();
                // A folder that a host keeps for its sockets stays; what is in it must not.
                let empty = path.is_dir() && fs::read_dir(&path)?.next().is_none();
                if !empty {
                    out.push(format!("`{}` is left", path.display()));
                }
            }
        }
        out.extend(
            lending(self.root())?
                .iter()
                .map(|path| format!("`{}` would run as its owner for anybody", path.display())),
        );
        let leaks = self.canaries.leaks(self.root())?;
        out.extend(leaks.iter().map(|path| format!("the secret is in `{}`", path.display())));
        Ok(out)
    }
}

/// Files that run as their owner or group, whoever starts them; a canary is one.
fn lending(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let meta = fs::symlink_metadata(&path)?;
            if meta.is_dir() && path != root.join("home/canary") {
                folders.push(path);
            } else if meta.is_file() && meta.permissions().mode() & 0o6000 != 0 {
                found.push(path);
            }
        }
    }
    Ok(found)
}

/// Whether a terminal would obey it instead of showing it; marks that turn text around are such.
fn steers(sign: char) -> bool {
    (sign.is_control() && !"\n\t".contains(sign))
        || matches!(sign, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The end of a text, short.
pub(crate) fn tail(text: &str) -> String {
    let text = text.trim_end();
    let from = text.char_indices().rev().nth(600).map_or(0, |(at, _)| at);
    text[from..].to_owned()
}

fn give(path: &Path, user: u32) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    std::os::unix::fs::lchown(path, Some(user), Some(user))?;
    // The kernel takes away setuid with a change of owner.
    if meta.is_file() {
        fs::set_permissions(path, meta.permissions())?;
    }
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), user)?;
        }
    }
    Ok(())
}
