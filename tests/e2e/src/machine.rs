//! Facts about the machine the tests run on: where the binaries are, which programs are missing, what was left behind.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The `polyloom` under test: `POLYLOOM_BIN`, or the one in the target folder that this test was built into.
#[must_use]
pub fn binary() -> PathBuf {
    program("POLYLOOM_BIN", "polyloom")
}

/// The executor that misbehaves to order.
#[must_use]
pub fn fake() -> PathBuf {
    program("POLYLOOM_FAKE_BIN", "polyloom-fake")
}

fn program(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().unwrap();
    // target/debug/deps/TEST
    let found = test.ancestors().skip(2).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "no `{name}` above {}: build it first (`tests/run`), or set {variable}",
            test.display()
        )
    })
}

/// Whether the tests run as root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether one of the programs is not on PATH. Tells it and appends it to the file `POLYLOOM_SKIPS`, which counts.
#[must_use]
pub fn missing(programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let there = |name: &&&str| {
        if name.starts_with('/') {
            return Path::new(name).exists();
        }
        std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
    };
    let absent: Vec<&str> = programs.iter().filter(|name| !there(name)).copied().collect();
    if absent.is_empty() {
        return false;
    }
    skip(&format!("{} is not installed", absent.join(", ")));
    true
}

/// An environment of Python's with numpy, pandas and others, which `tests/run python` makes, or `POLYLOOM_VENV` names. Tells it where there is none.
#[must_use]
pub fn libraries() -> Option<PathBuf> {
    let venv = std::env::var_os("POLYLOOM_VENV").map(PathBuf::from).unwrap_or_else(|| {
        let test = std::env::current_exe().unwrap();
        // target/debug/deps/TEST
        test.ancestors().nth(3).unwrap().join("venv")
    });
    if venv.join("bin/python").exists() {
        return Some(venv);
    }
    skip("there is no Python with numpy (`tests/run python` makes one)");
    None
}

/// Says that the current test can't be done here, and why.
pub fn skip(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    eprintln!("skipped {test}: {why}");
    if let Some(file) = std::env::var_os("POLYLOOM_SKIPS") {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(file).unwrap();
        file.write_all(format!("{test}: {why}\n").as_bytes()).unwrap();
    }
}

/// Asks until it is so, for at most `limit`. What is asked for is something the kernel does after a process has ended.
#[must_use]
pub fn eventually(limit: Duration, so: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !so() {
        if start.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// Running processes whose command line or (where it may be read) environment has the text: `PID: COMMAND LINE`.
#[must_use]
pub fn processes_with(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
        else {
            continue;
        };
        if pid == std::process::id().to_string() {
            continue;
        }
        let read = |file: &str| fs::read(entry.path().join(file)).unwrap_or_default();
        let (line, environment) = (read("cmdline"), read("environ"));
        if holds(&line, text) || holds(&environment, text) {
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            found.push(format!("{pid}: {line}"));
        }
    }
    found
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Control groups of sandboxes whose owner is not alive any more. Of one in another namespace of process ids nothing is known.
#[must_use]
pub fn groups_of_the_dead() -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), 6, &mut found);
    found
}

fn walk(folder: &Path, depth: u32, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if owner(&entry.file_name()).is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            found.push(entry.path());
        } else if depth > 0 {
            walk(&entry.path(), depth - 1, found);
        }
    }
}

fn owner(name: &OsStr) -> Option<String> {
    let mut parts = name.to_str()?.strip_prefix("polyloom-")?.split('-');
    let (pid, there) = (parts.next()?, parts.nth(3));
    let here = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let here = there.is_none_or(|there| here == Path::new(&format!("pid:[{there}]")));
    here.then(|| pid.to_owned())
}

/// Carries what is in the log of an SQLite database over into its file, as whoever makes the log long does. Takes Python.
pub fn carry_log_over(database: &Path) {
    let code = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('pragma wal_checkpoint(truncate)')";
    let ended = std::process::Command::new("python3").args(["-c", code]).arg(database).status();
    assert!(ended.unwrap().success());
}
