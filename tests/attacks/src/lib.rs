//! What the attack suites share: the oracle, the ways to start a host whose machine lacks something, and tables of results.

#![allow(clippy::unwrap_used, reason = "a test that can't be set up may panic")]

pub mod files;
pub mod hostile;
pub mod oracle;
mod table;
mod variant;

pub use table::{note, print, table};
pub use variant::{Answer, USER, Variant, ordinary_user, variants, with_daemon};

/// Whether this is root; where it is not, says what is left out, and counts it for `tests/run`.
#[must_use]
pub fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: {what} needs root");
        if let Some(path) = std::env::var_os("POLYLOOM_SKIPS") {
            use std::io::Write;
            let mut file =
                std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
            writeln!(file, "attacks: {what} needs root").unwrap();
        }
    }
    root
}
