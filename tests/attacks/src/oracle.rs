//! The oracle that every attack shares, whether it is a cell, a worker or a manifest.
//!
//! ```ignore
//! let stage = oracle::stage();                       // home, store, project in a fresh folder; canaries armed
//! stage.write("project/polyloom.toml", flow)?;
//! let ended = oracle::run(&stage, &["-k"]);          // panics with all that is to be said against the host
//! let (verdict, seen) = polyloom_attack::judge(&case, &ended.records);
//! ```
//!
//! Held against every run: it ended by itself, without a panic, with an exit code it may have; there is one result for each step and its facts
//! agree; no process, control group, mount, temporary file or shared memory is left; the canaries are untouched and unread.

use std::path::PathBuf;

use polyloom_attack::{Ended, Launch, Stage};

/// The `polyloom` under test: `POLYLOOM_BIN`, or the one in the target folder that this test was built into.
#[must_use]
pub fn binary() -> PathBuf {
    program("POLYLOOM_BIN", "polyloom")
}

/// A program that was built beside the tests.
#[must_use]
pub fn program(variable: &str, name: &str) -> PathBuf {
    if let Some(path) = std::env::var_os(variable) {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().unwrap();
    // target/debug/deps/TEST
    let found = test.ancestors().skip(1).map(|dir| dir.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "no `{name}` above {}: build it first (`tests/run`), or set {variable}",
            test.display()
        )
    })
}

/// A stage for the binary as it is, on this machine as it is.
#[must_use]
pub fn stage() -> Stage {
    Stage::new(Launch::plain(binary())).unwrap()
}

/// Runs the stage's flow and asserts all that holds of every run.
#[track_caller]
pub fn run(stage: &Stage, args: &[&str]) -> Ended {
    let ended = stage.run(args).unwrap();
    assert!(ended.complaints.is_empty(), "{:#?}\n{}", ended.complaints, ended.stderr);
    ended
}
