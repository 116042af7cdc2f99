//! The daemon: a process that keeps sandboxes waiting from one run to the next.
//!
//! It plans nothing, runs no cell and sees no code, not in the sessions that it keeps, either: it makes sandboxes by orders it was told before, and hands them over by descriptor to the runs of its user. What a run
//! took is the run's alone until it says that it can be used again, which it can be by the rules of [`polyloom_sandbox::Parked`]; what a run left when its connection
//! ended is ended. Without a daemon everything is as ever, only slower.

mod client;
mod keeper;
mod sessions;
mod wire;

pub(crate) use client::Lent;
pub use client::{Client, Daemon, Patience, Taken, end, process};
pub use keeper::{Keeper, ServeError};
pub(crate) use sessions::MOST as MOST_SESSIONS;
pub(crate) use wire::{Ask, Standing};
pub use wire::{SessionId, SessionStatus, Status};

use std::path::{Path, PathBuf};

/// The socket of the daemon that belongs to the store in `root`.
#[must_use]
pub fn socket(root: &Path) -> PathBuf {
    root.join("daemon")
}
